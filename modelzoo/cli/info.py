"""`modelzoo info`: a card as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from modelzoo.cli.completion import MODEL
from modelzoo.cli.output import human_size, wrapped
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current

if TYPE_CHECKING:
    from modelzoo.registry import Card, File, Input, Preprocessing

__all__ = ["info"]


@verb("info")
@click.argument("name", type=MODEL)
@click.option("--refresh", is_flag=True, help="Ask registries that are URLs for their newest version.")
@click.pass_context
def info(ctx: click.Context, name: str, refresh: bool) -> None:
    """Show the card of model NAME.

    What it is, where its files come from and how they are verified, what goes in and comes out, what the classes
    are called, its accuracy and who measured it, and the licence of its weights.
    """
    from modelzoo.registry import info as card_of
    from modelzoo.registry import load_registries

    settings = current(ctx)
    report = settings.reporter
    registries = load_registries(settings.registries, refresh=refresh, use=())
    card = card_of(name, registries=registries)
    expired = registries.registry_of(name).expired
    report.data({"name": card.name, **card.as_dict(), "trust": card.trust, "size": card.size, "expired": expired})
    report.bare(card.name)
    report.say(click.style(f"{card.name}", bold=True) + f"  {card.title}")
    for label, text in _lines(card):
        for line in wrapped(f"  {label}", text, indent=16):
            report.say(line)
    if expired:
        report.say("\n".join(wrapped("  expired", f"its registry was signed up to {expired}", indent=16)))
    for text in _warnings(card):
        report.warn(text)


def _lines(card: Card) -> Iterator[tuple[str, str]]:
    yield "task", card.task
    yield "framework", card.framework + (f" ({card.format})" if card.format else "")
    if card.aliases:
        yield "also called", ", ".join(card.aliases)
    if card.variants:
        yield "variants", ", ".join(card.variants)
    yield "built by", _built_by(card)
    for one in card.inputs:
        yield "input", _input(one)
        if one.preprocess is not None:
            yield "preprocessing", _preprocessing(one.preprocess)
    for out in card.outputs:
        width = f", {out.classes} classes" if out.classes else ""
        yield "output", f"{out.name}: {out.kind}{width}"
    if card.labels is not None:
        yield "labels", _labels(card)
    if card.taps:
        yield "taps", ", ".join(card.taps)
    if card.accuracy is not None:
        yield "accuracy", _accuracy(card)
    yield "licence", " ".join(filter(None, [card.licence, card.licence_url, card.licence_note]))
    yield "trust", _trust(card)
    yield "size", human_size(card.size)
    for file in card.files:
        yield "file", _file(file)
    if card.paper:
        yield "paper", card.paper
    for source in card.sources:
        place = "/".join(filter(None, [source.repo, source.path])) or source.url or ""
        at = f" at {source.commit[:12]}" if source.commit else ""
        note = f" ({source.note})" if source.note else ""
        yield "facts from", place + at + note
    for note in card.notes:
        yield "note", note
    if card.extra:
        yield "other fields", ", ".join(sorted(card.extra))


def _built_by(card: Card) -> str:
    build = card.build
    arguments = ", ".join(f"{key}={value!r}" for key, value in build.args.items())
    how = (
        f"network {build.network}"
        if build.network
        else f"converter {build.converter}"
        if build.converter
        else "nothing: its files can be fetched, not built"
    )
    return how + (f" ({arguments})" if arguments else "")


def _side(value: int | None) -> str:
    return "any" if value is None else str(value)


def _input(one: Input) -> str:
    shape = " x ".join(map(_side, one.shape))
    return " ".join(
        filter(None, [f"{one.name}: {shape}", one.dtype, one.colour, one.layout and f"(source {one.layout})"])
    )


def _preprocessing(how: Preprocessing) -> str:
    steps = []
    if how.resize:
        steps.append("resize to {} x {}".format(*how.resize))
    if how.resize_side:
        steps.append(f"shorter side to {how.resize_side}")
    if how.crop_fraction:
        steps.append(f"central {how.crop_fraction:.1%} of each side")
    if how.size:
        steps.append("{} x {}".format(*how.size))
    if how.interpolation:
        centres = "" if how.half_pixel_centers is not False else ", no half-pixel centres"
        steps.append(f"{how.interpolation}{centres}")
    if how.mean_file:
        steps.append(f"minus the mean image {how.mean_file}")
    if how.mean:
        steps.append("mean " + _numbers(how.mean))
    if how.std:
        steps.append("divided by " + _numbers(how.std))
    return "; ".join([how.family, *steps]) + (f" ({how.note})" if how.note else "")


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _labels(card: Card) -> str:
    labels = card.labels
    assert labels is not None
    where = labels.dataset or (f"file {labels.file}" if labels.file else "")
    if labels.names:
        shown = ", ".join(labels.names[:10]) + (", ..." if len(labels.names) > 10 else "")
        where = " ".join(filter(None, [where, shown]))
    count = f", {labels.count} outputs" if labels.count else ""
    offset = f", class {labels.offset} is the first name" if labels.offset else ""
    return where + count + offset + (f" ({labels.note})" if labels.note else "")


def _accuracy(card: Card) -> str:
    accuracy = card.accuracy
    assert accuracy is not None
    values = [
        *([f"top-1 {accuracy.top1:g} %"] if accuracy.top1 is not None else []),
        *([f"top-5 {accuracy.top5:g} %"] if accuracy.top5 is not None else []),
        *(f"{name} {value:g}" for name, value in accuracy.metrics.items()),
    ]
    on = f" on {accuracy.dataset}" if accuracy.dataset else ""
    how = f"; {accuracy.protocol}" if accuracy.protocol else ""
    return f"{', '.join(values)}{on}{how}\n(source: {accuracy.source})"


def _trust(card: Card) -> str:
    explained = {
        "pinned": "pinned: every file has a size and a strong digest in the registry",
        "weak": "weak: only MD5, SHA-1 or CRC; fetched with --trust-first-use",
        "unpinned": "unpinned: nothing to verify against; fetched with --trust-first-use",
    }
    return explained[card.trust] if card.files else "no files to fetch"


def _file(file: File) -> str:
    digests = [f"{name} {value}" for name, value in file.digests.items() if name.startswith("sha")] or [
        f"{name} {value}" for name, value in file.digests.items()
    ]
    lines = [f"{file.name} ({file.role}, {human_size(file.size)}{', optional' if file.optional else ''})", *digests[:1]]
    lines += [f"{url.kind}: {url.url}" for url in file.urls]
    lines += [f"holds {member.path} ({member.role})" for member in file.members]
    return "\n".join(lines)


def _warnings(card: Card) -> Iterator[str]:
    from modelzoo.registry.licences import terms

    if card.licence == "unknown":
        yield (
            "nobody states a licence for these weights: ask their authors before you pass them on or sell what they do."
        )
    restrictions = terms(card.licence, card.licence_note).restrictions
    if restrictions:
        yield f"its licence restricts its use ({'; '.join(restrictions)}): it has to be accepted before a first fetch."
    if card.build.needs:
        lacks = ", ".join(card.build.needs)
        yield f"this version of modelzoo cannot build it yet; it lacks: {lacks}. It can be fetched."
    if any(url.url.startswith("http://") for file in card.files for url in file.urls) and card.trust != "pinned":
        yield "a file comes over plain http and has no strong digest."
