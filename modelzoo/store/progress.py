"""Saying how far a download is: a bar on a terminal, a function of the caller's, or nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = bool | Callable[[str, int, int | None], None] | None
"""True: a bar; None: a bar if standard error is a terminal; a function of file name, bytes done, bytes in all."""

Note = Callable[[int, int | None], None]
"""Takes the bytes done and the bytes in all (None: unknown)."""


def one_at_a_time(progress: Progress) -> Progress:
    """`progress`; a function is never called from two threads at once."""
    if not callable(progress):
        return progress
    tell, lock = progress, threading.Lock()

    def alone(name: str, done: int, total: int | None) -> None:
        with lock:
            tell(name, done, total)

    return alone


@contextmanager
def following(progress: Progress, name: str) -> Iterator[Note]:
    """What the download of the file `name` calls with its bytes done and in all; a bar appears with the first call."""
    if callable(progress):
        tell = progress
        yield lambda done, total: tell(name, done, total)
        return
    if progress is False or (progress is None and not _on_terminal()):
        yield lambda done, total: None
        return
    bar: Any = None

    def draw(done: int, total: int | None) -> None:
        nonlocal bar
        if bar is None:
            from tqdm import tqdm

            bar = tqdm(desc=name, total=total, initial=done, unit="B", unit_scale=True, unit_divisor=1024, leave=False)
        if total != bar.total:
            bar.total = total
        if done < bar.n:  # begun anew
            bar.reset(total)
        bar.update(done - bar.n)

    try:
        yield draw
    finally:
        if bar is not None:
            bar.close()


def _on_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed
        return False
