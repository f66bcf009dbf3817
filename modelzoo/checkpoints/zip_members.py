"""Members of a zip archive as views of the mapped file: stored ones are read in place, deflated ones unpacked.

Python's `zipfile` reads the directory; offsets and sizes are checked here before anything of their size is made.
Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass

from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.mapped_file import MappedFile

__all__ = ["Member", "ViewStream", "members"]

_LOCAL_HEADER = 30
_LARGEST_RATIO = 1100  # deflate cannot do better than about 1030 : 1


@dataclass(frozen=True)
class Member:
    """One file of an archive: `size` bytes, once unpacked."""

    file: MappedFile
    name: str
    offset: int
    packed_size: int
    size: int
    checksum: int
    deflated: bool

    def start(self, count: int) -> bytes:
        """At most the first `count` bytes, unchecked."""
        packed = self._packed()
        if not self.deflated:
            return bytes(packed[:count])
        try:
            # The smallest pieces that a header needs: most of a member is not unpacked for it.
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed[: count + 1024], count)
        except zlib.error as error:
            raise Damage(f"it cannot be unpacked ({error})") from None

    def read(self) -> memoryview:
        """All bytes, after their checksum; a view of the file where the member is stored plainly."""
        data = self._packed()
        if self.deflated:
            unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = memoryview(unpacker.decompress(data, self.size + 1))
            except zlib.error as error:
                raise Damage(f"it cannot be unpacked ({error})") from None
        if len(data) != self.size:
            raise Damage("it has another length than the archive says")
        if zlib.crc32(data) != self.checksum:
            raise Damage("checksum of its values does not match")
        return data

    def _packed(self) -> memoryview:
        local = bytes(self.file.window(self.offset, _LOCAL_HEADER, "a member's header"))
        if local[:4] != b"PK\x03\x04":
            raise Damage("a member's header is not where the archive says")
        names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        return self.file.window(self.offset + _LOCAL_HEADER + names, self.packed_size, "a member")


def members(file: MappedFile) -> dict[str, Member]:
    """The files of an archive by name, folders left out, in the order in which they lie in it.

    Raises:
        Damage: the directory is damaged; members are encrypted, packed otherwise than by deflate, overlap, unfold
            beyond what deflate can do, or share a name.
    """
    try:
        with zipfile.ZipFile(io.BufferedReader(ViewStream(file.window(0, file.size, "the archive")))) as archive:
            listed = sorted(archive.infolist(), key=lambda info: info.header_offset)
    except Exception as error:  # zipfile meets damage with many kinds of errors
        raise Damage(f"a damaged zip archive ({error})") from None
    found: dict[str, Member] = {}
    behind = 0
    for info in listed:
        # Members that lie in each other would let a small file unfold into a large one.
        if info.header_offset < behind:
            raise Damage("members of the archive overlap")
        behind = info.header_offset + _LOCAL_HEADER + info.compress_size
        if info.is_dir():
            continue
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        if info.flag_bits & 1 or not (deflated or info.compress_type == zipfile.ZIP_STORED):
            raise Damage(f"{info.filename!r} is encrypted, or packed otherwise than by deflate")
        largest = info.compress_size * _LARGEST_RATIO if deflated else info.compress_size
        if info.file_size > largest:
            raise Damage(f"{info.filename!r} claims {info.file_size} bytes out of {info.compress_size}")
        if info.filename in found:
            raise Damage(f"the archive holds {info.filename!r} twice")
        found[info.filename] = Member(
            file, info.filename, info.header_offset, info.compress_size, info.file_size, info.CRC, deflated
        )
    return found


class ViewStream(io.RawIOBase):
    """A read-only, seekable file object over bytes in memory that copies none of them but what is read."""

    def __init__(self, view: memoryview) -> None:
        super().__init__()
        self._view = view
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        if base + offset < 0:
            raise ValueError("a position before the start of the file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        piece = self._view[self._at : self._at + len(target)]
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
