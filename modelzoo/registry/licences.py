"""Licences of weights: which restrict their use, and that the user has accepted one before its first fetch.

`terms` reads SPDX licence expressions (SPDX 2.3, annex D) and the phrases that cards use instead of an identifier.
An acceptance is a small file in the folder `licences` of the configuration folder, one a model, so that two processes
never overwrite each other's. It holds the digest of the statement that was accepted: where a card states something else
later, the user is asked again.

This library asks nobody. `answering` lets a program ask in its own way; without it a licence that was not accepted is
an error that says how to accept it.
"""

from __future__ import annotations

import contextvars
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from modelzoo.errors import DiskError, LicenceError, ModelzooError
from modelzoo.registry import configured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modelzoo.registry.card import Card

ENVIRONMENT_VARIABLE = "MODELZOO_ACCEPT_LICENCE"
"""Licences, models, or globs of either, separated by commas: they count as accepted as long as it says so."""

NON_COMMERCIAL = "no commercial use"
RESEARCH = "research, teaching or evaluation only"
NETWORK = "who offers it over a network has to publish the source of what is made with it"
PRODUCTION = "not every use in production or for sale is allowed"
FIELDS = "some uses are forbidden by its text"

_RESTRICTING: tuple[tuple[str, str], ...] = (
    (r"cc(-.+)?-nc(-.+)?|(.+-)?nc(-.+)?", NON_COMMERCIAL),
    (r"polyform-(noncommercial|strict)-.+|prosperity-.+|aladdin|nvidia-source-code.*|nscl.*|rcsl-.+", NON_COMMERCIAL),
    (r"ms-rsl|msr-la.*|apple-amlr|apple-ascl-research|mrl-.+|mnpl-.+|polyform-free-trial-.+|imagenet.*", RESEARCH),
    (r"agpl-.+|sspl-.+|osl-.+|rpl-.+|cpal-.+|eupl-.+|cal-.+", NETWORK),
    (r"busl-.+|elastic-.+|polyform-.+|commons-clause.*|fsl-.+|sustainable-use-.+", PRODUCTION),
    (r"(.+-)?(open)?rail(-.+|\+\+-m)?|creativeml-.+|bigscience-.+|bigcode-.+|deepfloyd-.+", FIELDS),
    (r"llama.*|gemma.*|falcon-llm.*|tongyi-.+|qwen-.+|hippocratic-.+|json|.+-no-nuclear-.+|intel-research.*", FIELDS),
)
"""Patterns of identifiers in lower case, the first that fits counts -> what they restrict."""

_FREE = re.compile(
    r"apache-.+|mit(-.+)?|x11(-.+)?|0bsd|bsd-.+|isc|zlib|libpng.*|ncsa|hpnd.*|unlicense|wtfpl|bsl-1\.0|upl-.+|afl-.+"
    r"|cc0-.+|cc-by-.+|cc-pddc|pddl-.+|odc-by-.+|odbl-.+|ofl-.+|cdla-(permissive|sharing)-.+|openmdw-.+|blueoak-.+"
    r"|l?gpl-.+|gfdl-.+|mpl-.+|epl-.+|cddl-.+|artistic-.+|ms-(pl|rl)|ecl-.+|mulanpsl-.+|python-.+|psf-.+|postgresql"
    r"|openssl.*|curl|unrestricted|public-domain"
)
"""Identifiers that let everybody use the weights for anything; what they ask of those who pass them on is another
matter."""

_UNSTATED = {"", "unknown", "noassertion", "none"}

_PHRASES: tuple[tuple[str, str], ...] = (
    (r"non[-\s]?commercial|not for (commercial|sale)|no commercial", NON_COMMERCIAL),
    (r"research[-\s](use[-\s]|purposes?[-\s])?only|only for [\w\s,-]*(research|evaluation|education)", RESEARCH),
    (r"(academic|evaluation|educational)[-\s](use|only|purposes?)|research use", RESEARCH),
)
"""What authors write instead of an identifier."""

_TOKEN = re.compile(r"\s*([()]|[\w.+:-]+)\s*")
_LONGEST = 1000  # characters of an expression that are looked at

_log = logging.getLogger("modelzoo")


class Terms(NamedTuple):
    """What a licence means for somebody who uses the weights.

    Attributes:
        kind: "free", "restricted", "unknown" (nobody states one) or "unlisted" (a text that this table does not have).
        restrictions: what is restricted, in words; empty unless `kind` is "restricted".
    """

    kind: str
    restrictions: tuple[str, ...] = ()


def terms(licence: str, note: str | None = None) -> Terms:
    """The terms of a licence.

    Args:
        licence: an SPDX identifier or expression, or words. Of `A OR B` the user may choose, so the freer one counts;
            of `A AND B` both do.
        note: what else the card says of the licence; it counts where `licence` is not an expression of known parts.
    """
    text = licence.strip()[:_LONGEST]
    if text.casefold() in _UNSTATED:
        found = _phrases(note or "")
        return Terms("restricted", found) if found else Terms("unknown")
    parsed = _expression(text)
    if parsed is not None and parsed.kind != "unlisted":
        return parsed
    found = _phrases(f"{text}\n{note or ''}")
    return Terms("restricted", found) if found else Terms("unlisted")


def statement(card: Card) -> str:
    """What the user accepts, as text: the licence, what it restricts, where it is found and who says so."""
    lines = [f"{card.name}: {card.licence}"]
    lines += [f"  {one}" for one in terms(card.licence, card.licence_note).restrictions]
    lines += [f"  {one}" for one in (card.licence_url, card.licence_note) if one]
    return "\n".join(lines)


def is_restricted(card: Card) -> bool:
    """Whether the licence has to be accepted before a first fetch."""
    return terms(card.licence, card.licence_note).kind == "restricted"


def is_accepted(card: Card) -> bool:
    """Whether the user has accepted what the card states now, in a file or by `MODELZOO_ACCEPT_LICENCE`.

    A fine-tuned card is made of the weights of another one: what was accepted for that one holds for it.
    """
    return _by_environment(card) or _recorded(card) == _digest(card) or _base_is_accepted(card)


def accept(card: Card) -> str:
    """Record that the user accepts what the card states; returns the path of the record.

    Raises:
        DiskError: the configuration folder cannot be written.
    """
    import datetime
    import json

    document = {
        "model": card.name,
        "licence": card.licence,
        "licence_url": card.licence_url,
        "restrictions": terms(card.licence, card.licence_note).restrictions,
        "statement_sha256": _digest(card),
        "files": {file.name: dict(file.digests) for file in card.files if not file.optional},
        "accepted": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    path = _path(card)
    _write(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
    return path


def require(card: Card, *, accept_licence: bool = False) -> None:
    """Let the first fetch of a model go on only where its licence restricts nothing, or the user accepts it.

    Args:
        card: whose files are about to be fetched.
        accept_licence: the user has read and accepts it; this is recorded.

    Raises:
        LicenceError: it restricts the use, and nobody has accepted it.
    """
    if not is_restricted(card) or is_accepted(card):
        return
    ask = _ASK.get()
    if accept_licence or (ask is not None and ask(statement(card))):
        try:
            accept(card)
        except DiskError as error:
            _log.warning("%s: that its licence was accepted cannot be recorded: %s", card.name, error.what)
        return
    restrictions = "; ".join(terms(card.licence, card.licence_note).restrictions)
    raise LicenceError(
        f"The licence of {card.name!r} restricts what its weights may be used for ({restrictions}): "
        "it has to be accepted before they are fetched.",
        received=" ".join(filter(None, [card.licence, card.licence_url, card.licence_note])),
        hint=f"read it, then: modelzoo fetch --accept-licence {card.name}\n"
        f"(accept_licence=True in Python, {ENVIRONMENT_VARIABLE}={_for_shell(card)} for programs)",
    )


@contextmanager
def answering(ask: Callable[[str], bool]) -> Iterator[None]:
    """While it lasts, `require` asks `ask` with the statement of a card that nobody has accepted: True accepts it."""
    token = _ASK.set(ask)
    try:
        yield
    finally:
        _ASK.reset(token)


_ASK: contextvars.ContextVar[Callable[[str], bool] | None] = contextvars.ContextVar("licence question", default=None)


# -- what was accepted -----------------------------------------------------------------------------------------------


def _by_environment(card: Card) -> bool:
    import fnmatch

    said = [one.strip().casefold() for one in os.environ.get(ENVIRONMENT_VARIABLE, "").split(",")]
    names = (card.licence.casefold(), card.name.casefold())
    return any(fnmatch.fnmatchcase(name, one) for one in said if one for name in names)


def _base_is_accepted(card: Card) -> bool:
    """A card that `modelzoo finetune` wrote holds the card of its base."""
    said = card.build.args.get("base")
    if said is None:
        return False
    try:
        from modelzoo.registry.card import Card

        base = Card.from_dict(said["name"], said["card"])
        return base.licence == card.licence and is_accepted(base)
    except (ModelzooError, TypeError, KeyError):
        return False  # it says nothing of a base that could be understood, so its own licence is asked for


def _digest(card: Card) -> str:
    import hashlib

    return hashlib.sha256(statement(card).encode()).hexdigest()


def _path(card: Card) -> str:
    from modelzoo.store.names import key_folder

    return os.path.join(configured.folder(), "licences", f"{key_folder(card.name)}.json")  # noqa: PTH118


def _recorded(card: Card) -> str | None:
    """The digest of the statement that was accepted; None where there is no record that can be read."""
    import json

    try:
        with open(_path(card), "rb") as file:  # noqa: PTH123
            found: Any = json.loads(file.read())
        return found["statement_sha256"] if found["model"] == card.name else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _write(final: str, data: bytes) -> None:
    partial = f"{final}.{os.getpid()}.part"
    try:
        os.makedirs(os.path.dirname(final), exist_ok=True)  # noqa: PTH103, PTH120
        with open(partial, "wb") as file:  # noqa: PTH123
            file.write(data)
        os.replace(partial, final)  # noqa: PTH105
    except OSError as error:
        with suppress(OSError):
            os.unlink(partial)  # noqa: PTH108
        raise DiskError(f"The acceptance cannot be written: {error.strerror}.", received=final) from error


def _for_shell(card: Card) -> str:
    import shlex

    return shlex.quote(card.licence)


# -- reading a licence -----------------------------------------------------------------------------------------------


def _phrases(text: str) -> tuple[str, ...]:
    text = text.casefold()
    return tuple(dict.fromkeys(what for pattern, what in _PHRASES if re.search(pattern, text)))


def _identifier(name: str) -> Terms:
    name = name.casefold().removeprefix("licenseref-")
    for pattern, what in _RESTRICTING:
        if re.fullmatch(pattern, name):
            return Terms("restricted", (what,))
    if _FREE.fullmatch(name):
        return Terms("free")
    found = _phrases(name)
    return Terms("restricted", found) if found else Terms("unlisted")


def _both(left: Terms, right: Terms) -> Terms:
    found = tuple(dict.fromkeys(left.restrictions + right.restrictions))
    if found:
        return Terms("restricted", found)
    return left if left.kind == "unlisted" else right


def _either(left: Terms, right: Terms) -> Terms:
    """The freer one; a text that nobody knows here is not taken for free."""
    order = {"free": 0, "unlisted": 2}
    return min(left, right, key=lambda one: (order.get(one.kind, 1), len(one.restrictions)))


def _expression(text: str) -> Terms | None:
    """The terms of an SPDX expression, None for what is not one. AND binds more than OR; WITH adds an exception."""
    words, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        words.append(match[1])
        at = match.end()
    values: list[Terms] = []  # no recursion: a card may nest brackets as deep as it likes
    waiting: list[str] = []
    rank = {"OR": 1, "AND": 2}
    value_next = True

    def join() -> None:
        right, left = values.pop(), values.pop()
        values.append(_both(left, right) if waiting.pop() == "AND" else _either(left, right))

    words_left = iter(words)
    for word in words_left:
        operator = word.upper()
        if value_next:
            if word == "(":
                waiting.append(word)
                continue
            if word == ")" or operator in (*rank, "WITH"):
                return None
            values.append(_identifier(word))
            value_next = False
        elif word == ")":
            while waiting and waiting[-1] != "(":
                join()
            if not waiting:
                return None
            waiting.pop()
        elif operator == "WITH":
            exception = next(words_left, "")
            added = _identifier(exception)
            if not re.fullmatch(r"[\w.+:-]+", exception):
                return None
            if added.kind == "restricted":
                values.append(_both(values.pop(), added))
        elif operator in rank:
            while waiting and rank.get(waiting[-1], 0) >= rank[operator]:
                join()
            waiting.append(operator)
            value_next = True
        else:
            return None  # words beside each other: a sentence
    while not value_next and waiting and waiting[-1] != "(":
        join()
    return None if value_next or waiting else values[0]
