"""Small files that the registry keeps between runs, below `<cache>/registry/`: indexes and copies of URL registries.

Nothing here is needed for a right answer, only for a quick or an offline one: what cannot be read is None, what
cannot be written is left out without a word.
"""

from __future__ import annotations

import os

CACHE_VARIABLE = "MODELZOO_CACHE"


def folder() -> str:
    """The cache folder, as `modelzoo.store.paths.cache_root` says it, without the cost of pathlib."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return os.path.abspath(os.path.expanduser(chosen))  # noqa: PTH100, PTH111
    shared = os.environ.get("XDG_CACHE_HOME")
    if shared and os.path.isabs(shared):  # noqa: PTH117
        return os.path.join(shared, "modelzoo")  # noqa: PTH118
    import platformdirs

    return platformdirs.user_cache_dir("modelzoo", appauthor=False)


def path(name: str) -> str:
    """Where the small file `name` ("index/....json") lies."""
    return os.path.join(folder(), "registry", *name.split("/"))  # noqa: PTH118


def read(name: str) -> bytes | None:
    """The bytes of a small file, None where it is absent or unreadable."""
    try:
        with open(path(name), "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return None


def write(name: str, data: bytes) -> bool:
    """Write a small file whole or not at all; False where the cache cannot be written."""
    final = path(name)
    partial = f"{final}.{os.getpid()}.part"
    try:
        os.makedirs(os.path.dirname(final), exist_ok=True)  # noqa: PTH103, PTH120
        with open(partial, "wb") as file:  # noqa: PTH123
            file.write(data)
        os.replace(partial, final)  # noqa: PTH105
    except OSError:
        try:
            os.unlink(partial)  # noqa: PTH108
        except OSError:
            pass
        return False
    return True


def remove(name: str) -> None:
    """Remove a small file, if it is there and can be removed."""
    try:
        os.unlink(path(name))  # noqa: PTH108
    except OSError:
        pass
