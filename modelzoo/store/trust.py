"""`lock.json`: the digests of files that nothing strong verified when they were first fetched, and which bind since.

::

    {"version": 1, "models": {"<key>": {"<file>": {"sha256": "...", "size": 123, "url": "...", "first": "..."}}}}
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from modelzoo.errors import CacheError
from modelzoo.store import disk, locks
from modelzoo.store.digests import checked
from modelzoo.store.layout import Layout

_VERSION = 1


def recorded(path: Path, key: str, name: str) -> tuple[str, int] | None:
    """(SHA-256, bytes) of the first use of a file; None if there was none.

    Raises:
        CacheError: the file cannot be understood: what it recorded would be lost silently.
    """
    try:
        entry = _read(path)["models"][key][name]
    except KeyError:
        return None
    try:
        digest, size = checked({"sha256": entry["sha256"]}, f"{path.name}: {key}")["sha256"], entry["size"]
        if not isinstance(size, int):
            raise ValueError(size)
    except Exception as error:
        raise _unreadable(path) from error
    return digest, size


def record(layout: Layout, key: str, name: str, *, sha256: str, size: int, url: str, wait: float) -> None:
    """Notes the digest of a first use; an existing one stays.

    Raises:
        DiskError, LockTimeoutError: it cannot be noted.
    """
    path = layout.trusted
    with locks.held(layout.locks / "trust.lock", wait):
        content = _read(path)
        entry = {"sha256": sha256, "size": size, "url": url, "first": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        content["models"].setdefault(key, {}).setdefault(name, entry)
        disk.write_whole(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {"version": _VERSION, "models": {}}
    except OSError as error:
        raise disk.refusal(error, "read the recorded digests", path) from error
    except ValueError as error:
        raise _unreadable(path) from error
    models = content.get("models") if isinstance(content, dict) and content.get("version") == _VERSION else None
    if not isinstance(models, dict) or not all(isinstance(files, dict) for files in models.values()):
        raise _unreadable(path)
    return content


def _unreadable(path: Path) -> CacheError:
    return CacheError(
        "The digests recorded at first use cannot be read.",
        received=path,
        hint="mend the file from a backup, or delete it to trust the next fetch anew",
    )
