"""Locks between processes. They only save work: nothing becomes wrong where they silently do nothing (NFS, Lustre)."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelzoo.errors import LockTimeoutError
from modelzoo.store import disk

_log = logging.getLogger("modelzoo")
_POLL = 0.05
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


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
    import inspect

    import filelock

    with disk.guard("lock the cache", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"thread_local": False}
    if "fallback_to_soft" in inspect.signature(filelock.FileLock.__init__).parameters:
        options["fallback_to_soft"] = False  # the soft lock of a killed process would be held for ever
    lock = filelock.FileLock(str(path), **options)
    mine = path.with_name(path.name + ".holder")
    seen, since, told = progress(), time.monotonic(), False
    while True:
        try:
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
        except OSError as error:  # after Timeout, which is one too
            if error.errno in _NO_LOCKS:
                _log.debug("no file locks here: %s", path)
                yield
                return
            with disk.guard("lock the cache", path):
                raise
    try:
        _introduce(mine)
        yield
    finally:
        with contextlib.suppress(OSError):
            mine.unlink(missing_ok=True)
        lock.release()


def _introduce(path: Path) -> None:
    import platform

    text = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S%z")}
    try:
        path.unlink(missing_ok=True)  # of a killed process, perhaps another user's: then it could not be written
        path.write_text(json.dumps(text))
    except OSError:
        pass  # only for messages


def _holder(path: Path) -> str:
    try:
        text = json.loads(path.read_text())
        return f"process {text['pid']} on {text['host']} (since {text['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
