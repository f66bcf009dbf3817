"""`check_entry`: every rule that a good card keeps, beyond what its JSON may look like.

One function a rule, all in one table, in the spirit of scikit-learn's `check_estimator`: a card passes or every
problem of it is listed. "error" is a card that would not work; "warning" is one that a user should know about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from modelzoo.errors import RegistryFormatError
from modelzoo.registry.card import Card
from modelzoo.registry.sources import ordered
from modelzoo.registry.validate import validate_card
from modelzoo.store.digests import checked
from modelzoo.store.names import why_unsafe
from modelzoo.store.paths import installed_root

__all__ = ["Problem", "check_entry", "check_registry"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a card: `rule` is the name of the function here that found it."""

    card: str
    rule: str
    level: Literal["error", "warning"]
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.card}: {self.text} ({self.rule})"


@dataclass(frozen=True)
class _Known:
    networks: Collection[str] | None
    converters: Collection[str] | None


_Rule = Callable[[Card, _Known], Iterator[tuple[Literal["error", "warning"], str]]]


def check_entry(
    name: str,
    raw: Mapping[str, object],
    *,
    networks: Collection[str] | None = None,
    converters: Collection[str] | None = None,
) -> list[Problem]:
    """Every problem of one card.

    Args:
        name: of the card.
        raw: its JSON object.
        networks: names of the networks that exist; None leaves that rule out.
        converters: the same for converters.
    """
    try:
        validate_card(name, raw)
        card = Card.from_dict(name, raw)
    except RegistryFormatError as error:
        return [Problem(name, "schema", "error", error.what)]
    known = _Known(networks, converters)
    return [
        Problem(name, rule.__name__.lstrip("_"), level, text) for rule in _RULES for level, text in rule(card, known)
    ]


def check_registry(
    models: Mapping[str, Mapping[str, object]],
    *,
    networks: Collection[str] | None = None,
    converters: Collection[str] | None = None,
) -> list[Problem]:
    """Every problem of all cards, and of their names and aliases together."""
    problems = [
        problem
        for name, raw in models.items()
        for problem in check_entry(name, raw, networks=networks, converters=converters)
    ]
    owners = {name: name for name in models}
    for name, raw in models.items():
        aliases = raw.get("aliases", ())
        for alias in aliases if isinstance(aliases, list | tuple) else ():
            other = owners.setdefault(str(alias), name)
            if other != name:
                problems.append(Problem(name, "aliases", "error", f"its alias {alias!r} is taken by {other!r}"))
        variants = raw.get("variants", ())
        for variant in variants if isinstance(variants, list | tuple) else ():
            if variant not in models:
                problems.append(Problem(name, "variants", "error", f"its variant {variant!r} is no card"))
    return problems


# -- the rules ----------------------------------------------------------------------------------------------------


def _urls(card: Card, known: _Known) -> Iterator[tuple[Literal["error", "warning"], str]]:
    for file in card.files:
        if not file.urls:
            yield "error", f"{file.name} has no URL"
        for url in file.urls:
            if url.url.startswith("package:"):
                if not (installed_root() / url.url.removeprefix("package:")).is_file():
                    yield "error", f"{url.url} does not lie in the package"
            elif not urlsplit(url.url).netloc and not url.url.startswith("file:"):
                yield "error", f"{url.url} has no host"
        if [url.url for url in file.urls] != [url.url for url in ordered(file.urls)]:
            yield "error", f"{file.name}: https comes before http, originals before mirrors"


def _digests(card: Card, known: _Known) -> Iterator[tuple[Literal["error", "warning"], str]]:
    for file in card.files:
        for digests in (file.digests, *(member.digests for member in file.members)):
            try:
                checked(digests, file.name)
            except RegistryFormatError as error:
                yield "error", error.what
    if card.files and card.trust != "pinned":
        yield "warning", f"{card.trust}: not every file has a size and a strong digest"


def _names(card: Card, known: _Known) -> Iterator[tuple[Literal["error", "warning"], str]]:
    targets: list[str] = []
    for file in card.files:
        names = [member.name or member.path for member in file.members] or [file.name]
        for name in (file.name, *names, *(member.path for member in file.members)):
            if reason := why_unsafe(name):
                yield "error", f"the file name {name!r} is unfit: {reason}"
        targets += names
        if file.role == "archive" and not file.members and not card.build.needs:
            yield "error", f"{file.name} is an archive of which no member is named"
    if len({target.casefold() for target in targets}) < len(targets):
        yield "error", "two of its files would get one name"


def _licence(card: Card, known: _Known) -> Iterator[tuple[Literal["error", "warning"], str]]:
    if not card.licence:
        yield "error", "its licence is missing; say 'unknown' where nobody states one"
    elif card.licence == "unknown":
        yield "warning", "nobody states a licence for its weights"


def _preprocessing(card: Card, known: _Known) -> Iterator[tuple[Literal["error", "warning"], str]]:
    if card.task != "classification":
        return
    if not card.inputs:
        yield "error", "a classifier needs an input"
    for one in card.inputs:
        if one.preprocess is None:
            yield "error", f"input {one.name!r} does not say how a picture becomes it"
            continue
        if one.colour is None:
            yield "error", f"input {one.name!r} does not say the order of its colours"
        how = one.preprocess
        channels = one.shape[-1] if one.shape else None
        for what, values in (("mean", how.mean), ("std", how.std)):
            if values is not None and channels is not None and len(values) not in (1, channels):
                yield "error", f"input {one.name!r}: {what} has {len(values)} values for {channels} channels"
        if how.size is not None and None not in one.shape[:2] and tuple(how.size) != tuple(one.shape[:2]):
            yield "error", f"input {one.name!r} is {one.shape[:2]}, its pictures become {how.size}"
        if how.mean_file is not None and how.mean_file not in [file.name for file in card.files if file.role == "mean"]:
            yield "error", f"no file of the card is the mean image {how.mean_file!r}"


def _labels(card: Card, known: _Known) -> Iterator[tuple[Literal["error", "warning"], str]]:
    if card.task == "classification" and not card.outputs:
        yield "error", "a classifier needs an output"
    labels = card.labels
    width = card.outputs[0].classes if card.outputs else None
    if labels is None:
        if card.task == "classification":
            yield "warning", "does not say what its classes are called"
        return
    if labels.count is not None and width is not None and labels.count != width:
        yield "error", f"labels for {labels.count} outputs, and the network has {width}"
    if labels.names is not None and width is not None and len(labels.names) + labels.offset != width:
        yield "error", f"{len(labels.names)} names and an offset of {labels.offset} for {width} outputs"
    if labels.dataset == "imagenet" and width is not None and width != 1000 + labels.offset:
        yield "error", f"ImageNet's 1000 names and an offset of {labels.offset} for {width} outputs"
    if labels.file is not None and labels.file not in [file.name for file in card.files if file.role == "labels"]:
        yield "error", f"no file of the card is the list of labels {labels.file!r}"


def _build(card: Card, known: _Known) -> Iterator[tuple[Literal["error", "warning"], str]]:
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


def _accuracy(card: Card, known: _Known) -> Iterator[tuple[Literal["error", "warning"], str]]:
    found = card.accuracy
    if found is not None and found.top1 is None and found.top5 is None and not found.metrics:
        yield "error", "its accuracy holds no figure"
    if found is not None and found.top1 is not None and found.top5 is not None and found.top1 > found.top5:
        yield "error", f"top-1 {found.top1} is above top-5 {found.top5}"


_RULES: tuple[_Rule, ...] = (_urls, _digests, _names, _licence, _preprocessing, _labels, _build, _accuracy)
