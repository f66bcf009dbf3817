"""The page of one card: how to use it, what goes in and comes out, who measured it, its licence, its files."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from modelzoo.registry.card import STRONG_DIGESTS, Card, File, Input, Preprocessing, Url
from modelzoo.registry.licences import is_restricted, terms
from modelzoo.registry.registry_file import Registry
from modelzoo.registry.site.index_page import address, size_text
from modelzoo.registry.site.markup import Markup, document, element, joined, link, text

__all__ = ["card_page"]

_MOST_NAMES = 40  # labels that are shown
_TRUST = {
    "pinned": "pinned: every file has a size and a strong digest in the registry, and is verified against them",
    "weak": "weak: its digests can be forged (MD5, SHA-1, CRC); it is fetched with --trust-first-use only",
    "unpinned": "unpinned: nothing to verify it against; it is fetched with --trust-first-use only",
}


def card_page(card: Card, registry: Registry, known: Collection[str]) -> str:
    """The HTML of a card's page.

    Args:
        card: shown.
        registry: where it is from.
        known: names of the cards that have a page too.
    """
    sections = [
        _section("Use it", *_use(card, registry)),
        _section("Input and output", *_tensors(card)),
        _section("Taps", *_taps(card)),
        _section("Accuracy", *_accuracy(card)),
        _section("Licence", *_licence(card)),
        _section("Files", *_files(card)),
        _section("About this card", *_about(card, registry, known)),
    ]
    facts = [card.task.replace("_", " "), card.framework, card.format, card.licence, size_text(card.size)]
    body = element(
        "main",
        element("p", element("a", "All models", href="../index.html"), class_="up"),
        element("h1", card.name),
        element("p", card.title, class_="lead"),
        element("ul", *(element("li", fact) for fact in facts if fact), class_="facts"),
        *sections,
        element("p", id="said", role="status", aria_live="polite", class_="unseen"),
        id="main",
        tabindex="-1",
    )
    return document(f"{card.name} - modelzoo", body, script="card.js", home="../index.html")


def _section(title: str, *content: object) -> Markup:
    if not content:
        return Markup()
    name = "s-" + title.lower().replace(" ", "-")
    return element("section", element("h2", title, id=name), *content, aria_labelledby=name)


def _rows(rows: Iterable[tuple[str, object]]) -> Markup:
    pairs = [element("div", element("dt", label), element("dd", value)) for label, value in rows]
    return element("dl", *pairs) if pairs else Markup()


def _lines(values: Iterable[object]) -> Markup:
    return joined(values, element("br"))


# -- how to use it ---------------------------------------------------------------------------------------------------


def _use(card: Card, registry: Registry) -> Iterator[Markup]:
    if is_restricted(card):
        yield element(
            "p",
            "Its licence restricts its use: read it below. ",
            joined(
                [element("code", "--accept-licence"), " and ", element("code", "accept_licence=True"), " accept it."]
            ),
            class_="notice",
        )
    if not card.files:
        yield element("p", "Nobody published weights for it: it can be built untrained, or with a checkpoint of yours.")
    yield _copied("python", "Python", python_lines(card, registry))
    yield _copied("shell", "Shell", shell_lines(card, registry))


def python_lines(card: Card, registry: Registry) -> str:
    """Three lines of Python that use the model as far as this version can."""
    arguments = [f'"{card.name}"']
    location = _location(registry)
    if location is not None and registry.namespace is None:
        arguments.append(f"registries=[{json.dumps(location)}]")
    if card.files and card.trust != "pinned":
        arguments.append("trust_first_use=True")
    if not card.available:
        called = f"files = mz.fetch({', '.join(arguments)})"
        return f"import modelzoo as mz\n{called}\nprint(files.path, files.files)"
    if not card.files:
        arguments.append("weights=None")
    called = f"model = mz.load_pretrained({', '.join(arguments)})"
    pictures = len(card.inputs) == 1 and card.inputs[0].preprocess is not None
    if card.files and pictures and card.labels is not None:
        use = 'print(model.decode(model(model.preprocess("cat.jpg"))))'
    else:
        use = 'print(model(model.preprocess("cat.jpg")))' if pictures else "model.summary()"
    return f"import modelzoo as mz\n{called}\n{use}"


def shell_lines(card: Card, registry: Registry) -> str:
    """The command that does it; before it the one that adds a registry under its namespace."""
    import shlex

    location = _location(registry)
    command = ["modelzoo"]
    before = ""
    if location is not None and registry.namespace is not None:
        before = shlex.join(["modelzoo", "registry", "add", location, "--as", registry.namespace]) + "\n"
    elif location is not None:
        command += ["--registry", location]
    trust = [] if card.trust == "pinned" or not card.files else ["--trust-first-use"]
    if not card.files:
        command += ["info", card.name]
    elif card.available and card.labels is not None and card.task == "classification":
        command += ["classify", *trust, card.name, "cat.jpg"]
    else:
        command += ["fetch", *trust, card.name]
    return before + shlex.join(command)


def _location(registry: Registry) -> str | None:
    """What readers have to name to find the card: a URL without a key in it. Files of ours they cannot reach."""
    from modelzoo.store.http import shown

    return registry.location if registry.kind == "url" and shown(registry.location) == registry.location else None


def _copied(name: str, label: str, lines: str) -> Markup:
    button = element(
        "button", "Copy", type="button", class_="copy", hidden=True, data_copies=name, aria_label=f"Copy {label}"
    )
    code = element("pre", element("code", lines, id=name), tabindex="0", role="region", aria_label=label)
    return element("div", code, button, class_="code")


# -- what goes in and comes out --------------------------------------------------------------------------------------


def _tensors(card: Card) -> Iterator[Markup]:
    rows: list[tuple[str, object]] = []
    for one in card.inputs:
        rows.append((f"input {one.name}", _input(one)))
        if one.preprocess is not None:
            rows.append(("preprocessing", _lines(_preprocessing(one.preprocess))))
    for out in card.outputs:
        width = f", {out.classes} classes" if out.classes else ""
        shape = f", {_shape(out.shape)}" if out.shape else ""
        rows.append((f"output {out.name}", f"{out.kind}{width}{shape}"))
    if card.labels is not None:
        rows.append(("labels", _lines(_labels(card))))
    if rows:
        yield _rows(rows)


def _shape(sides: Iterable[int | None]) -> str:
    return " x ".join("any" if side is None else str(side) for side in sides) or "a single value"


def _input(one: Input) -> str:
    layout = f"(source {one.layout})" if one.layout else None
    return " ".join(filter(None, [_shape(one.shape), one.dtype, one.colour, layout]))


def _preprocessing(how: Preprocessing) -> Iterator[str]:
    yield f"family {how.family}" + (": the model does it itself" if how.family == "inside" else "")
    if how.resize:
        yield "resize to {} x {}".format(*how.resize)
    if how.resize_side:
        yield f"resize the shorter side to {how.resize_side}"
    if how.crop_fraction:
        yield f"crop the central {how.crop_fraction * 100:g} % of each side"
    if how.size:
        yield "{} x {} pixels go in".format(*how.size)
    if how.interpolation:
        yield how.interpolation + (" without half-pixel centres" if how.half_pixel_centers is False else "")
    if how.mean_file:
        yield f"minus the mean picture of {how.mean_file}"
    if how.mean:
        yield f"minus {_numbers(how.mean)}"
    if how.std:
        yield f"divided by {_numbers(how.std)}"
    if how.note:
        yield how.note


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _labels(card: Card) -> Iterator[str]:
    labels = card.labels
    assert labels is not None
    if labels.dataset:
        yield f"those of {labels.dataset}"
    if labels.file:
        yield f"in the file {labels.file}"
    if labels.names:
        more = len(labels.names) - _MOST_NAMES
        yield ", ".join(labels.names[:_MOST_NAMES]) + (f", and {more} more" if more > 0 else "")
    if labels.count:
        yield f"{labels.count} outputs" + (f", the first real class is number {labels.offset}" if labels.offset else "")
    if labels.note:
        yield labels.note


def _taps(card: Card) -> Iterator[Markup]:
    if card.taps:
        yield element("ul", *(element("li", element("code", tap)) for tap in card.taps), class_="taps")
        if card.available:
            yield element("p", "All of them: ", element("code", f"modelzoo taps {card.name}"))


# -- what is known of it ---------------------------------------------------------------------------------------------


def _accuracy(card: Card) -> Iterator[Markup]:
    accuracy = card.accuracy
    if accuracy is None:
        return
    rows: list[tuple[str, object]] = []
    if accuracy.top1 is not None:
        rows.append(("top-1", f"{accuracy.top1:g} %"))
    if accuracy.top5 is not None:
        rows.append(("top-5", f"{accuracy.top5:g} %"))
    rows += [(name, f"{value:g}") for name, value in accuracy.metrics.items()]
    rows += [("on", accuracy.dataset), ("how", accuracy.protocol), ("source", link(accuracy.source))]
    yield _rows((label, value) for label, value in rows if value)


def _licence(card: Card) -> Iterator[Markup]:
    found = terms(card.licence, card.licence_note)
    if card.licence == "unknown":
        yield element(
            "p",
            "Nobody states a licence for these weights: ask their authors before you pass them on "
            "or sell what they do.",
            class_="notice",
        )
    rows: list[tuple[str, object]] = [("licence", card.licence)]
    rows += [("restricts", _lines(found.restrictions))] if found.restrictions else []
    rows += [("text", link(card.licence_url))] if card.licence_url else []
    rows += [("who says so", card.licence_note)] if card.licence_note else []
    yield _rows(rows)


def _files(card: Card) -> Iterator[Markup]:
    if not card.files:
        return
    yield element("p", _TRUST[card.trust])
    for file in card.files:
        yield element("h3", file.name)
        yield _rows(_file(file))


def _file(file: File) -> Iterator[tuple[str, object]]:
    yield "role", file.role + (", optional: not fetched with the model" if file.optional else "")
    yield "size", size_text(file.size)
    strong = [name for name in STRONG_DIGESTS if name in file.digests]
    shown = strong or list(file.digests)
    for name in shown:
        yield name, element("code", file.digests[name])
    if not strong:
        yield "pinned", "no: it has no strong digest"
    if file.urls:
        yield "from", _lines(map(_address, file.urls))
    if file.members:
        yield "holds", _lines(f"{member.path} ({member.role})" for member in file.members)
    if file.note:
        yield "note", file.note


def _address(one: Url) -> Markup:
    from modelzoo.store.http import shown

    place = one.url if "@" not in one.url else shown(one.url)  # a registry may hold a password, a page does not
    return joined([link(place), f" ({one.kind})"])


def _about(card: Card, registry: Registry, known: Collection[str]) -> Iterator[Markup]:
    rows: list[tuple[str, object]] = [("built by", _built_by(card))]
    if registry.kind != "builtin":
        rows.append(("registry", _location(registry) or "not a public one"))
    if card.build.needs:
        rows.append(("this version lacks", ", ".join(card.build.needs)))
    if card.aliases:
        rows.append(("also called", ", ".join(card.aliases)))
    if card.variants:
        rows.append(("variants", joined((_variant(name, known) for name in card.variants), ", ")))
    if card.paper:
        rows.append(("paper", link(card.paper)))
    for source in card.sources:
        place = "/".join(filter(None, [source.repo, source.path])) or source.url or ""
        at = f" at {source.commit[:12]}" if source.commit else ""
        shown = link(source.url, place) if source.url else text(place)
        rows.append(("facts from", joined([shown, at, f" ({source.note})" if source.note else ""])))
    rows += [("note", note) for note in card.notes]
    yield _rows(rows)


def _variant(name: str, known: Collection[str]) -> Markup:
    return element("a", name, href=address(name, from_page=True)) if name in known else text(name)


def _built_by(card: Card) -> str:
    build = card.build
    arguments = ", ".join(f"{key}={_short(value)}" for key, value in build.args.items())
    how = (
        f"network {build.network}"
        if build.network
        else f"converter {build.converter}: the files hold the architecture"
        if build.converter
        else "nothing: its files can be fetched, not built"
    )
    return how + (f" ({arguments})" if arguments else "")


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{...}"
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 100 else shown[:97] + "..."
