"""A reader of zip archives in which the central directory, the local headers and the bytes have to agree.

The format is PKWARE's APPNOTE.TXT. Python's zipfile does the decompression; what it takes on trust is checked here.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from modelzoo.errors import ArchiveError

_LONGEST_DIRECTORY = 16 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_LOCAL = struct.Struct("<4s5H3I2H")
_END = struct.Struct("<4s4H2IH")


@dataclass(frozen=True)
class ZipEntry:
    """One entry. `kind` is "file", "folder", or a phrase for what else it is."""

    name: str
    kind: str
    size: int


def entries(path: Path, most: int) -> Iterator[tuple[ZipEntry, IO[bytes]]]:
    """Every entry with a stream of its content.

    Raises:
        ArchiveError: damage, encryption, overlaps, trailing data, headers that contradict each other.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        _check_end(file, length, most)
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            if len(infos) > most:
                raise ArchiveError(f"The archive has more than {most:,} entries.")
            _check_layout(file, infos, archive.start_dir)
            for info in infos:
                if info.flag_bits & 0x2041:
                    raise ArchiveError("The zip archive is encrypted.", received=info.filename)
                if info.compress_type not in _METHODS:
                    raise ArchiveError(f"The zip archive uses compression method {info.compress_type}.")
                with archive.open(info) as stream:
                    yield ZipEntry(info.filename, _kind(info), info.file_size), stream


def _kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        return "a symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a device or FIFO"
    return "folder" if info.filename.endswith("/") else "file"


def _check_end(file: BinaryIO, length: int, most: int) -> None:
    """The end record must be the last thing in the file, and describe a directory of bearable size."""
    file.seek(max(0, length - _END.size))
    tail = file.read()
    if len(tail) < _END.size or tail[:4] != b"PK\5\6":
        file.seek(max(0, length - _END.size - 65535))
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < _END.size:
            raise ArchiveError("The zip archive is cut off, or is none.")
        tail = tail[at:]
        if _END.unpack_from(tail)[7] != len(tail) - _END.size:
            raise ArchiveError("There is data after the end of the zip archive.")
    _, _, _, _, count, size, _, _ = _END.unpack_from(tail)
    if count != 0xFFFF and count > most:
        raise ArchiveError(f"The archive has more than {most:,} entries.")
    if size != 0xFFFFFFFF and size > _LONGEST_DIRECTORY:
        raise ArchiveError(f"The zip archive has a directory of {size:,} bytes.")
    if size == 0xFFFFFFFF:
        raise ArchiveError("The zip archive has a directory of more than 4 GiB.")


def _check_layout(file: BinaryIO, infos: list[zipfile.ZipInfo], directory: int) -> None:
    """Local headers say what the directory says, and entries follow each other without overlap."""
    at = 0
    for info in sorted(infos, key=lambda item: item.header_offset):
        if info.header_offset != at and info.header_offset < at:
            raise ArchiveError("The zip archive has overlapping entries.", received=info.filename)
        if at == 0 and info.header_offset != 0:
            raise ArchiveError("There is data before the begin of the zip archive.")
        file.seek(info.header_offset)
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
            raise ArchiveError("The zip archive has an entry without its header.", received=info.filename)
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(header)
        name = file.read(name_length)
        encoded = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437", "replace")
        if name != encoded or method != info.compress_type or (flags ^ info.flag_bits) & 0x0809:
            raise ArchiveError("The zip archive's directory and an entry's header differ.", received=info.filename)
        if not flags & 0x8:
            stated = [(crc, info.CRC), (packed, info.compress_size), (size, info.file_size)]
            if any(local not in (central, 0xFFFFFFFF) for local, central in stated):
                raise ArchiveError("The zip archive's directory and an entry's header differ.", received=info.filename)
        at = info.header_offset + _LOCAL.size + name_length + extra_length + info.compress_size
        if at > directory:
            raise ArchiveError("The zip archive has overlapping entries.", received=info.filename)
