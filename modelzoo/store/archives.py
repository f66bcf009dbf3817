"""Taking named files out of an archive, and nothing else.

What comes in: a verified archive and the list of members wanted. What goes out: those members as regular files
under names that we choose. It never creates a link, a device or a folder that the archive asks for.
"""

from __future__ import annotations

import bz2
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from modelzoo.errors import ArchiveError, CacheError, DigestError, SizeError
from modelzoo.store import disk, tar
from modelzoo.store import zip as zipped
from modelzoo.store.digests import Hasher
from modelzoo.store.names import folded, why_unsafe
from modelzoo.store.policy import Policy
from modelzoo.store.source import Member

_CHUNK = 1 << 20
_UNPACKERS = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError)


class _Entry(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def size(self) -> int: ...


Content = Callable[[int], bytes]


def extract(archive: Path, members: Sequence[Member], targets: Sequence[Path], policy: Policy) -> list[Hasher]:
    """Writes each of `members` of the archive to the file at the same place in `targets`.

    Returns the digests of each. Nothing is left behind after an error.

    Raises:
        ArchiveError: damaged, hostile, or a member is missing.
        DigestError, SizeError: a member differs from what the registry says of it.
        DiskError: it cannot be written.
        CacheError: the archive is gone.
    """
    wanted = {_plain(member.path): index for index, member in enumerate(members)}
    hashers: list[Hasher | None] = [None] * len(members)
    seen: dict[str, str] = {}
    try:
        try:
            for entry, content in _entries(archive, policy):
                name = _check(entry, seen)
                index = wanted.get(name)
                if index is not None and entry.kind == "folder":
                    raise ArchiveError(f"The wanted member {name!r} is a folder.")
                if index is not None:
                    hashers[index] = _write(content, entry, members[index], targets[index])
        except FileNotFoundError as error:
            raise CacheError(
                f"The archive {archive.name} is gone; was the cache deleted meanwhile?",
                received=archive,
                hint="run it again",
            ) from error
        except _UNPACKERS as error:
            raise ArchiveError(f"The archive {archive.name} is damaged: {error}.") from error
        missing = [member.path for member, hasher in zip(members, hashers, strict=True) if hasher is None]
        if missing:
            some = ", ".join(repr(name[:100]) for name in list(seen.values())[:10]) or "nothing"
            raise ArchiveError(f"The archive has no member {', '.join(map(repr, missing))}.", hint=f"it holds {some}")
    except BaseException:
        for target in targets:
            target.unlink(missing_ok=True)
        raise
    return [hasher for hasher in hashers if hasher is not None]


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _check(entry: _Entry, seen: dict[str, str]) -> str:
    """The entry's name, which is safe and new; every entry is looked at, wanted or not."""
    name = _plain(entry.name)
    if entry.kind == "folder":
        name = name.rstrip("/")
        if name in ("", "."):
            return ""
    reason = why_unsafe(name)
    if reason:
        raise ArchiveError(f"The archive is not safe: the name of an entry is unfit, {reason}.", received=name[:200])
    if entry.kind not in ("file", "folder"):
        raise ArchiveError(f"The archive is not safe: it holds {entry.kind}.", received=name[:200])
    if entry.kind == "file":
        other = seen.setdefault(folded(name), name)
        if other is not name:
            what = "twice the same name" if other == name else f"two names that some systems take for one ({other!r})"
            raise ArchiveError(f"The archive is not safe: it holds {what}.", received=name[:200])
    return name


def _write(content: Content, entry: _Entry, member: Member, target: Path) -> Hasher:
    if member.size is not None and entry.size != member.size:
        raise SizeError(
            f"The member {member.path!r} has another size than the registry says.",
            received=f"{entry.size:,} bytes instead of {member.size:,}",
        )
    hasher = Hasher(member.digests)
    with disk.guard(f"write {target.name}", target, needed=entry.size):
        target.parent.mkdir(parents=True, exist_ok=True)
        stream: BinaryIO = target.open("xb", buffering=0)
    with stream:
        while hasher.length < entry.size:
            data = content(min(_CHUNK, entry.size - hasher.length))
            if not data:
                raise ArchiveError(f"The member {member.path!r} is shorter than the archive says.")
            with disk.guard(f"write {target.name}", target, needed=entry.size - hasher.length):
                rest = memoryview(data)
                while rest:
                    rest = rest[stream.write(rest) :]
            hasher.update(data)
        with disk.guard(f"write {target.name}", target):
            import os

            os.fsync(stream.fileno())
    difference = hasher.differs_from(member.digests)
    if difference:
        raise DigestError(f"The member {member.path!r} differs from what the registry says.", received=difference)
    return hasher


def _entries(archive: Path, policy: Policy) -> Iterator[tuple[_Entry, Content]]:
    with archive.open("rb") as file:
        start = file.read(tar._BLOCK)
        file.seek(0)
        length = archive.stat().st_size
        most_bytes = int(length * policy.unpacked_ratio) + policy.unpacked_slack
        if start[:4] in (b"PK\3\4", b"PK\5\6"):
            yield from _zip_entries(archive, policy.most_members, most_bytes)
            return
        yield from tar.entries(_unpacker(file, start, most_bytes), policy.most_members)


def _zip_entries(archive: Path, most: int, most_bytes: int) -> Iterator[tuple[_Entry, Content]]:
    total = 0
    for entry, stream in zipped.entries(archive, most):
        total += entry.size
        if total > most_bytes:
            raise ArchiveError(f"The archive unpacks to more than {most_bytes:,} bytes; it may be a bomb.")
        yield entry, stream.read
        if entry.kind == "file" and stream.read(1):
            while stream.read(_CHUNK):  # the check sum comes with the last byte
                pass


def _unpacker(file: BinaryIO, start: bytes, most: int) -> tar.Read:
    """Exact reads from the tar stream inside `file`, whatever it is compressed with, up to `most` bytes in all."""
    if start[:2] == b"\x1f\x8b":
        pieces = _decompressed(file, lambda: zlib.decompressobj(31), b"\x1f\x8b")
    elif start[:3] == b"BZh":
        pieces = _decompressed(file, bz2.BZ2Decompressor, b"BZh")
    elif start[:6] == b"\xfd7zXZ\0":
        pieces = _decompressed(file, lambda: lzma.LZMADecompressor(memlimit=256 << 20), b"\xfd7zXZ\0")
    elif tar.is_tar(start):
        return file.read
    else:
        raise ArchiveError(
            "This is no archive of a known kind (tar, tar.gz, tar.bz2, tar.xz, zip).", received=start[:16]
        )
    held = bytearray()
    total = 0

    def read(amount: int) -> bytes:
        nonlocal total
        while len(held) < amount:
            piece = next(pieces, b"")
            if not piece:
                break
            held.extend(piece)
            total += len(piece)
            if total > most:
                raise ArchiveError(f"The archive unpacks to more than {most:,} bytes; it may be a bomb.")
        data = bytes(held[:amount])
        del held[:amount]
        return data

    return read


def _decompressed(file: BinaryIO, new: Callable[[], object], magic: bytes) -> Iterator[bytes]:
    """The content in pieces of at most 1 MiB; several compressed streams may follow each other, nothing else may."""
    decoder, data, first = None, b"", True
    while True:
        if not data:
            data = file.read(1 << 18)
        if not data:
            if decoder is not None:
                raise ArchiveError("The archive is cut off.")
            return
        if decoder is None:
            if not first and not data.strip(b"\0"):
                data = b""
                continue
            if len(data) < len(magic):
                data += file.read(1 << 18)
            if not data.startswith(magic):
                raise ArchiveError("There is data after the end of the archive.")
            decoder, first = new(), False
        if hasattr(decoder, "unconsumed_tail"):  # zlib's own interface
            piece = decoder.decompress(data, _CHUNK)  # type: ignore[attr-defined]
            data = decoder.unconsumed_tail
        else:
            piece = decoder.decompress(data if decoder.needs_input else b"", _CHUNK)  # type: ignore[attr-defined]
            data = b"" if decoder.needs_input or decoder.eof else data  # type: ignore[attr-defined]
        if decoder.eof:  # type: ignore[attr-defined]
            data = decoder.unused_data  # type: ignore[attr-defined]
            decoder = None
        if piece:
            yield piece
