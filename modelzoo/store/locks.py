"""Locks between processes. They only save work: nothing becomes wrong where they silently do nothing (NFS, Lustre)."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modelzoo.errors import LockTimeoutError
from modelzoo.store import disk

_log = logging.getLogger("modelzoo")
_POLL = 0.05


@contextmanager
def held(path: Path, wait: float, progress: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Holds the lock file `path`.

    Args:
        path: the lock file; `path` with `.holder` beside it says who holds it.
        wait: seconds without progress of the holder after which waiting ends.
        progress: anything that changes as long as the holder gets on with its work.

    Raises:
        LockTimeoutError: it names the holder.
        DiskError: the file cannot be made.
    """
    import filelock

    with disk.guard("lock the cache", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(str(path), thread_local=False)
    mine = path.with_name(path.name + ".holder")
    seen, since, told = progress(), time.monotonic(), False
    while True:
        try:
            with disk.guard("lock the cache", path):
                lock.acquire(timeout=_POLL, poll_interval=_POLL)
            break
        except NotImplementedError:
            _log.debug("no file locks here: %s", path)
            yield
            return
        except filelock.Timeout:
            now = progress()
            if now != seen:
                seen, since = now, time.monotonic()
            if not told:
                _log.info("waiting for %s, which fetches the same file", _holder(mine))
                told = True
            if time.monotonic() - since > wait:
                raise LockTimeoutError(
                    f"Waited {wait:g} s for a lock that {_holder(mine)} holds without getting on.",
                    received=path,
                    hint="end that process if it hangs; its verified bytes are kept and used",
                ) from None
    try:
        _introduce(mine)
        yield
    finally:
        mine.unlink(missing_ok=True)
        lock.release()


def _introduce(path: Path) -> None:
    import platform

    text = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S%z")}
    try:
        path.write_text(json.dumps(text))
    except OSError:
        pass  # only for messages


def _holder(path: Path) -> str:
    try:
        text = json.loads(path.read_text())
        return f"process {text['pid']} on {text['host']} (since {text['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
