"""Object stores (`s3:`, `gs:`, ...) by fsspec, where it and the package for that store are installed.

Accounts, endpoints and regions are set as those packages say (variables, files); nothing of them passes through here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelzoo.store.http import Body
from modelzoo.store.retries import TransferFailed

PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
}
"""Scheme -> the package that fsspec needs for it."""

_CHUNK = 1 << 20
_BLOCK = 8 << 20  # what is asked for at once


def is_cloud(url: str) -> bool:
    """True for URLs of an object store."""
    return url.partition(":")[0].lower() in PACKAGES


@contextmanager
def get(url: str, start: int) -> Iterator[Body]:
    """The object at `url`, from byte `start` on.

    Raises:
        TransferFailed: it is not there, not for us, or a package is missing (then `missing` names it).
    """
    scheme = url.partition(":")[0].lower()
    files = _file_system(scheme)
    stream = None
    try:
        # Not `fsspec.open`: that one follows chains (`s3://a::file:///etc/passwd`) to other places.
        path = files._strip_protocol(url)
        facts = files.info(path)
        size, etag = facts.get("size"), _etag(facts)
        if facts.get("type") != "file" or not isinstance(size, int):
            raise TransferFailed("it is no single object", again=False)
        if start < size or not size:
            stream = files.open(path, "rb", block_size=_BLOCK)
            stream.seek(start)
    except Exception as error:
        raise _failure(error) from error

    if stream is None:  # there is no such byte
        yield Body(416, 0, 0, size, True, etag, "", lambda: b"")
        return

    def read() -> bytes:
        try:
            return stream.read(_CHUNK) or b""
        except Exception as error:
            raise _failure(error) from error

    try:
        yield Body(206 if start else 200, start, size - start, size, True, etag, "", read)
    finally:
        _close(stream)


def _file_system(scheme: str) -> Any:
    try:
        import fsspec  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise _missing("fsspec") from None
    try:
        return fsspec.filesystem(scheme)
    except ImportError:
        raise _missing(PACKAGES[scheme]) from None
    except Exception as error:
        raise _failure(error) from error


def _missing(package: str) -> TransferFailed:
    failure = TransferFailed(f"it needs the package {package}", again=False, hint='pip install "modelzoo[cloud]"')
    failure.missing = package
    return failure


def _failure(error: Exception) -> TransferFailed:
    if isinstance(error, TransferFailed):
        return error
    text = " ".join(str(error).split())[:200]
    if isinstance(error, FileNotFoundError):
        return TransferFailed("there is no such object", again=False)
    if isinstance(error, PermissionError) or "credential" in text.lower():
        hint = "give fsspec's package for this store an account (its variables and files), or take another URL"
        return TransferFailed(f"access is refused: {text}", again=False, hint=hint)
    return TransferFailed(f"{type(error).__name__}: {text}", again=not isinstance(error, ValueError | TypeError))


def _etag(facts: Any) -> str:
    """A strong tag of the object's content, as HTTP writes it; "" if the store names none."""
    tag = next((facts[name] for name in ("ETag", "etag", "generation") if facts.get(name)), "")
    return f'"{tag}"' if isinstance(tag, str) and tag and not tag.startswith(('"', "W/")) else str(tag)


def _close(stream: Any) -> None:
    try:
        stream.close()
    except Exception:  # everything that was wanted has been read
        pass
