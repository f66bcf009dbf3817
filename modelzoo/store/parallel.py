"""Several files at once: results in order, and one failure stops the others, which keep what they have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from modelzoo.store.retries import Stopped

_POLL = 0.2  # seconds: not every system interrupts a wait without a bound for Ctrl-C
_Result = TypeVar("_Result")


def run_all(tasks: Sequence[Callable[[], _Result]], workers: int, stop: threading.Event) -> list[_Result]:
    """The results of all `tasks`, of which up to `workers` run at the same time; a single one runs in this thread.

    Args:
        tasks: they look at `stop` now and then, and raise `Stopped` once it is set.
        workers: at least 1.
        stop: set after a failure or an interrupt; then what has not begun never does.

    Raises:
        Exception: that of the first task, in their order, that failed by itself.
    """
    if workers < 2 or len(tasks) < 2:
        return [task() for task in tasks]
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    with ThreadPoolExecutor(min(workers, len(tasks)), thread_name_prefix="modelzoo-fetch") as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            failed, left = False, set(futures)
            while left and not failed:
                done, left = wait(left, timeout=_POLL, return_when=FIRST_EXCEPTION)
                failed = any(future.exception() is not None for future in done)
            if failed:
                stop.set()
        except BaseException:  # Ctrl-C arrives here
            stop.set()
            raise
        finally:
            for future in futures:
                if stop.is_set():
                    future.cancel()
    failures = [future.exception() for future in futures if not future.cancelled()]
    for error in failures:
        if error is not None and not isinstance(error, Stopped):
            raise error
    return [future.result() for future in futures]
