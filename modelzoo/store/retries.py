"""When and after what pause a failed transfer is tried again."""

from __future__ import annotations

import random
import threading
import time


class TransferFailed(Exception):
    """One attempt at one URL failed. It never leaves the store.

    Attributes:
        cause: a phrase for the user.
        again: True if the same URL may succeed later.
        after: seconds that the server asks to wait.
        kind: "network", "size" or "digest".
        difference: for wrong bytes, what was found and what was expected.
        missing: the package that is not installed and would be needed.
    """

    def __init__(self, cause: str, *, again: bool, after: float = 0.0, kind: str = "network", hint: str | None = None):
        super().__init__(cause)
        self.cause = cause
        self.again = again
        self.after = after
        self.kind = kind
        self.hint = hint
        self.difference = ""
        self.missing = ""


class Stopped(Exception):
    """Another file of the model failed, or the user interrupts. It never leaves the store."""


def rest(seconds: float, stop: threading.Event) -> None:
    """Sleeps.

    Raises:
        Stopped: it should stop.
    """
    if stop.wait(seconds):
        raise Stopped


def retry_after(value: str | None, date: str | None, longest: float) -> float:
    """Seconds to wait by a `Retry-After` header (RFC 9110, 10.2.3), between 0 and `longest`.

    A date counts from the server's own `Date`, so that a wrong clock on either side does no harm.
    Nonsense counts as 0.
    """
    if not value:
        return 0.0
    text = value.strip()
    if text.isdecimal():
        return min(float(text[:12]), longest)
    from email.utils import parsedate_to_datetime

    try:
        until = parsedate_to_datetime(text).timestamp()
        now = parsedate_to_datetime(date).timestamp() if date else time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return min(max(until - now, 0.0), longest)


def pause(round_number: int, backoff: float, longest: float) -> float:
    """Seconds before round `round_number` (1, 2, ...): doubling, with jitter so that clients do not march in step."""
    bound = min(backoff * 2.0 ** min(round_number - 1, 30), longest)
    return bound * random.uniform(0.5, 1.0)
