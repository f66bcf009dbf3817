"""Children that are killed at a chosen step, ordered line by line: the loop of the programs called `killable`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["answer_orders"]


def answer_orders(work: Callable[[dict[str, Any], int], None]) -> None:
    """Answer JSON lines on standard input until it ends.

    For each a child is forked, which runs `work(order, descriptor to answer on)`. The answer is one line: what the
    child wrote there, -1 if it was killed by SIGKILL, or `failed`.
    """
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            work(order, writing)
        os.close(writing)
        with os.fdopen(reading) as stream:
            told = stream.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write(f"{-1 if killed else told or 'failed'}\n")
        sys.stdout.flush()
