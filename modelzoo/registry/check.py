"""`check_entry`: every rule that a good card keeps, beyond what its JSON may look like.

One function a rule, all in one table, in the spirit of scikit-learn's `check_estimator`: a card passes or every
problem of it is listed. "error" is a card that would not work, or that is silent about its licence; "warning" is one
that a user should know about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from modelzoo.errors import RegistryFormatError, nearest
from modelzoo.registry.card import Card, Input, Preprocessing
from modelzoo.registry.sources import ordered
from modelzoo.registry.validate import validate_card
from modelzoo.store.digests import checked
from modelzoo.store.names import first_collision, why_unsafe
from modelzoo.store.paths import installed_root

__all__ = ["Problem", "check_entry", "check_registry"]

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a card: `rule` is the name of the function here that found it."""

    card: str
    rule: str
    level: Level
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.card}: {self.text} ({self.rule})"


@dataclass(frozen=True)
class _Known:
    """What a rule may look at besides the card."""

    raw: Mapping[str, Any]
    networks: Collection[str] | None
    converters: Collection[str] | None
    taps: Callable[[Card], Collection[str] | None] | None = None


_Found = Iterator[tuple[Level, str]]
_Rule = Callable[[Card, _Known], _Found]


def check_entry(
    name: str,
    raw: Mapping[str, Any],
    *,
    networks: Collection[str] | None = None,
    converters: Collection[str] | None = None,
    taps: Callable[[Card], Collection[str] | None] | None = None,
) -> list[Problem]:
    """Every problem of one card; where its JSON is not what the schema says, that is the only one.

    Args:
        name: of the card.
        raw: its JSON object.
        networks: names of the networks that exist; None leaves that rule out.
        converters: the same for converters.
        taps: the taps that the card's model has, None where that is not known without its files; None instead of the
            function leaves the rule out.
    """
    try:
        validate_card(name, raw)
        card = Card.from_dict(name, raw)
    except RegistryFormatError as error:
        return [Problem(name, "schema", "error", error.what)]
    known = _Known(raw, networks, converters, taps)
    return [
        Problem(name, rule.__name__.lstrip("_"), level, text) for rule in _RULES for level, text in rule(card, known)
    ]


def check_registry(
    models: Mapping[str, Mapping[str, Any]],
    *,
    networks: Collection[str] | None = None,
    converters: Collection[str] | None = None,
    taps: Callable[[Card], Collection[str] | None] | None = None,
) -> list[Problem]:
    """Every problem of all cards, and of their names, aliases and variants together.

    Args:
        models: {name: card as JSON}, the `models` object of a registry.
        networks, converters, taps: as for `check_entry`.
    """
    problems = [
        problem
        for name, raw in models.items()
        for problem in check_entry(name, raw, networks=networks, converters=converters, taps=taps)
    ]
    refused = {problem.card for problem in problems if problem.rule == "schema"}
    owners = {name: name for name in models}
    aliases = [(alias, name) for name in models if name not in refused for alias in models[name].get("aliases", ())]
    for alias, name in aliases:
        other = owners.setdefault(alias, name)
        if other != name:
            problems.append(Problem(name, "aliases", "error", f"its alias {alias!r} is taken by {other!r}"))
    for name in models:
        if name not in refused:
            for variant in models[name].get("variants", ()):
                if variant not in owners:
                    # It may be a card of another registry, so it is no error.
                    problems.append(Problem(name, "variants", "warning", f"its variant {variant!r} is no card here"))
    return problems


# -- the rules ----------------------------------------------------------------------------------------------------


def _aliases(card: Card, known: _Known) -> _Found:
    for alias in card.aliases:
        if alias == card.name:
            yield "error", f"its alias {alias!r} is its own name"


def _urls(card: Card, known: _Known) -> _Found:
    for file in card.files:
        if not file.urls:
            yield "error", f"{file.name} has no URL"
        for url in file.urls:
            if reason := _why_unusable(url.url):
                yield "error", f"{url.url} {reason}"
            if url.url.startswith("package:") != (url.kind == "package"):
                yield "error", f"{url.url} is said to be of kind {url.kind!r}"
        if list(file.urls) != ordered(file.urls):
            yield "error", f"{file.name}: https comes before http, originals before mirrors"
        if file.urls and all(url.url.startswith("http://") for url in file.urls) and not file.pinned:
            yield "warning", f"{file.name} comes by http alone, and nothing strong verifies it"


def _why_unusable(url: str) -> str | None:
    if url.startswith("package:"):
        path = url.removeprefix("package:")
        if reason := why_unsafe(path):
            return f"is unfit: {reason}"
        return None if (installed_root() / path).is_file() else "does not lie in the package"
    try:
        parts = urlsplit(url)
        if not parts.hostname and parts.scheme != "file":
            return "has no host"
        _ = parts.port  # raises where it is no port
    except ValueError as error:
        return f"is malformed: {error}"
    return None


def _digests(card: Card, known: _Known) -> _Found:
    for file in card.files:
        for digests in (file.digests, *(member.digests for member in file.members)):
            try:
                checked(digests, file.name)
            except RegistryFormatError as error:
                yield "error", error.what
    if card.files and card.trust != "pinned":
        yield "warning", f"{card.trust}: not every file has a size and a strong digest"


def _names(card: Card, known: _Known) -> _Found:
    targets: list[str] = []
    for file in card.files:
        names = [member.name or member.path for member in file.members] or [file.name]
        for name in dict.fromkeys([file.name, *names, *(member.path for member in file.members)]):
            if reason := why_unsafe(name):
                yield "error", f"the file name {name!r} is unfit: {reason}"
        targets += names
        if file.role == "archive" and not file.members and not card.build.needs:
            yield "error", f"{file.name} is an archive of which no member is named"
        if file.role != "archive" and file.members:
            yield "error", f"{file.name} has members and is no archive"
    if pair := first_collision(targets):
        yield "error", f"two of its files would be one on some systems: {pair[0]!r} and {pair[1]!r}"


def _licence(card: Card, known: _Known) -> _Found:
    if "licence" not in known.raw:
        yield "error", "its licence is missing; say 'unknown' where nobody states one"
    elif card.licence == "unknown":
        yield "warning", "nobody states a licence for its weights"


def _silence(card: Card) -> Level:
    """What it is to say nothing of input and output: a graph that is converted has its own, our networks have not."""
    return "error" if card.build.converter is None and not card.build.needs else "warning"


def _preprocessing(card: Card, known: _Known) -> _Found:
    if len({one.name for one in card.inputs}) < len(card.inputs):
        yield "error", "two of its inputs have one name"
    if card.task == "classification" and not card.inputs:
        yield _silence(card), "a classifier needs an input"
    for one in card.inputs:
        if one.preprocess is not None:
            for level, text in _pixels(one, one.preprocess, card):
                yield level, f"input {one.name!r}: {text}"
        elif card.task == "classification":
            yield _silence(card), f"input {one.name!r} does not say how a picture becomes it"


def _pixels(one: Input, how: Preprocessing, card: Card) -> _Found:
    """What a card leaves out its family says; what it says must fit together."""
    if one.colour is None:
        yield "error", "does not say the order of its colours"
    channels = one.shape[-1] if one.shape else None
    for what, values in (("mean", how.mean), ("std", how.std)):
        if values is not None and channels is not None and len(values) not in (1, channels):
            yield "error", f"{what} has {len(values)} values for {channels} channels"
    sides = one.shape[-3:-1]  # a clip has its steps in front
    if how.size is None and None in sides:
        yield "error", "neither its shape nor its preprocessing says how large a picture is"
    elif how.size is not None and None not in sides and how.size != sides:
        yield "error", f"takes {_by(sides)}, and its pictures become {_by(how.size)}"
    if how.resize is not None and how.resize_side is not None:
        yield "error", "a picture is resized to a size or by its shorter side, not both"
    if how.resize is not None and how.resize[0] != how.resize[1]:
        yield "error", f"the resize before a central crop is to a square, not to {_by(how.resize)}"
    before = min(how.resize) if how.resize is not None else how.resize_side
    if before is not None and how.size is not None and before < max(how.size):
        yield "error", f"a crop of {_by(how.size)} does not fit into a side of {before}"
    if how.mean_file is not None and how.mean_file not in _files_of(card, "mean"):
        yield "error", f"no file of the card is the mean image {how.mean_file!r}"


def _by(shape: Sequence[int | None]) -> str:
    return " x ".join(map(str, shape))


def _files_of(card: Card, role: str) -> set[str]:
    """Names, in the model's folder, of the files that play a role."""
    plain = {file.name for file in card.files if file.role == role and not file.members}
    return plain | {member.name or member.path for file in card.files for member in file.members if member.role == role}


def _labels(card: Card, known: _Known) -> _Found:
    if card.task == "classification" and not card.outputs:
        yield _silence(card), "a classifier needs an output"
    labels = card.labels
    width = card.outputs[0].classes if card.outputs else None
    if labels is None:
        if card.task == "classification":
            yield "warning", "does not say what its classes are called"
        return
    if not labels.dataset and not labels.names and not labels.file:
        yield "error", "labels need a dataset, names or a file"
    if labels.count is not None and width is not None and labels.count != width:
        yield "error", f"labels for {labels.count} outputs, and the network has {width}"
    if labels.names is not None and width is not None and len(labels.names) + labels.offset != width:
        yield "error", f"{len(labels.names)} names and an offset of {labels.offset} for {width} outputs"
    if labels.dataset == "imagenet" and width is not None and width != 1000 + labels.offset:
        yield "error", f"ImageNet's 1000 names and an offset of {labels.offset} for {width} outputs"
    if labels.file is not None and labels.file not in _files_of(card, "labels"):
        yield "error", f"no file of the card is the list of labels {labels.file!r}"


def _taps(card: Card, known: _Known) -> _Found:
    for tap in card.taps:
        if tap != tap.strip():
            yield "error", f"the tap {tap!r} begins or ends with a space"
    named = card.taps if card.style is None else (*card.taps, *card.style.content, *card.style.style)
    existing = known.taps(card) if known.taps is not None and named else None
    if existing is not None:
        for tap in named:
            if tap not in existing:
                near = nearest(tap, list(existing), 1)
                yield "error", f"its model has no tap {tap!r}" + (f", but {near[0]!r}" if near else "")


def _build(card: Card, known: _Known) -> _Found:
    for kind, name, existing in (
        ("network", card.build.network, known.networks),
        ("converter", card.build.converter, known.converters),
    ):
        if name is None or existing is None:
            continue
        missing = f"{kind} {name}" in card.build.needs
        if name not in existing and not missing:
            yield "error", f"there is no {kind} {name!r}, and build.needs does not say so"
        if name in existing and missing:
            yield "error", f"there is a {kind} {name!r}, and build.needs says there is none"
    if card.build.network is None and card.build.converter is None and not card.build.needs:
        yield "error", "says neither network nor converter"


def _accuracy(card: Card, known: _Known) -> _Found:
    found = card.accuracy
    if found is None:
        return
    if found.top1 is None and found.top5 is None and not found.metrics:
        yield "error", "its accuracy holds no figure"
    if found.top1 is not None and found.top5 is not None and found.top1 > found.top5:
        yield "error", f"top-1 {found.top1} is above top-5 {found.top5}"


_RULES: tuple[_Rule, ...] = (
    _aliases,
    _urls,
    _digests,
    _names,
    _licence,
    _preprocessing,
    _labels,
    _taps,
    _build,
    _accuracy,
)
