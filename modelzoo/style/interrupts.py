"""Ctrl-C between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interrupt_between_steps"]


@contextmanager
def interrupt_between_steps() -> Iterator[Callable[[], bool]]:
    """Inside the block the first Ctrl-C only sets a flag, and the second one interrupts at once.

    Yields a function that says whether the flag is set. The handler from before is put back at the end. In other
    threads than the main one, where Python allows no handlers, and where the process ignores Ctrl-C, nothing changes.
    """
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if before is None or before == signal.SIG_IGN:
        yield lambda: asked
        return
    signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
