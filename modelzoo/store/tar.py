"""A reader of tar streams (POSIX.1-1988 ustar, pax, GNU long names) that trusts nothing.

Python's tarfile is not used: in versions that we support it can be made to loop or to recurse without end by
its headers (CVE-2025-8194), takes the whole of a pax header into memory, and ends silently at a damaged one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from modelzoo.errors import ArchiveError

_BLOCK = 512
_LONGEST_HEADER = 1 << 20  # of one pax or GNU long-name record
_REGULAR = (b"0", b"\0", b"7")
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"S": "a sparse file",
    b"M": "a continued file",
    b"V": "a volume label",
    b"D": "a dumped folder",
}


@dataclass(frozen=True)
class TarEntry:
    """One entry. `kind` is "file", "folder", or a phrase for what else it is."""

    name: str
    kind: str
    size: int


Read = Callable[[int], bytes]


def entries(read: Read, most: int) -> Iterator[tuple[TarEntry, Callable[[int], bytes]]]:
    """Every entry with a function that reads its content; unread content is skipped.

    Args:
        read: gives exactly the number of bytes asked for, fewer only at the end of the stream.
        most: the largest number of headers that is accepted.

    Raises:
        ArchiveError: for anything that contradicts the format, trailing data included.
    """
    extended: dict[str, str] = {}
    for_all: dict[str, str] = {}
    long_name: str | None = None
    count = 0
    while True:
        header = read(_BLOCK)
        if header == b"\0" * _BLOCK or not header:
            if extended or long_name is not None or (not header and count == 0):
                raise ArchiveError("The tar archive ends in the middle of an entry.")
            _expect_zeros(read)
            return
        if len(header) < _BLOCK:
            raise ArchiveError("The tar archive is cut off.")
        count += 1
        if count > most:
            raise ArchiveError(f"The archive has more than {most:,} entries.")
        _check_sum(header)
        kind = header[156:157]
        size = _number(header[124:136])
        if kind in (b"x", b"g", b"L", b"K", b"X"):
            content = _whole(read, size)
            if kind == b"x":
                extended = {**extended, **_pax(content)}
            elif kind == b"g":
                for_all.update(_pax(content))
            elif kind == b"L":
                long_name = _text(content.rstrip(b"\0"))
            continue
        facts = {**for_all, **extended}
        name = facts.get("path", long_name if long_name is not None else _name(header))
        if "size" in facts:
            if not facts["size"].isdecimal() or len(facts["size"]) > 18:
                raise ArchiveError("The tar archive has a malformed size.", received=facts["size"][:40])
            size = int(facts["size"])
        what = _kind(kind, name, facts)
        if what not in ("file", "folder") or (what == "folder" and kind == b"5"):
            size = size if what == "file" else 0
        extended, long_name = {}, None
        left = size

        def content_of(amount: int) -> bytes:
            nonlocal left
            data = read(min(amount, left))
            if len(data) < min(amount, left):
                raise ArchiveError("The tar archive is cut off.")
            left -= len(data)
            return data

        yield TarEntry(name, what, size), content_of
        while left:
            content_of(1 << 20)
        if len(read(-size % _BLOCK)) < -size % _BLOCK:
            raise ArchiveError("The tar archive is cut off.")


def is_tar(block: bytes) -> bool:
    """True if the first 512 bytes of a stream are a tar header."""
    try:
        _check_sum(block)
    except ArchiveError:
        return False
    return True


def _kind(flag: bytes, name: str, facts: dict[str, str]) -> str:
    if any(key.startswith("GNU.sparse") for key in facts):
        return "a sparse file"
    if flag in _REGULAR:
        return "folder" if name.endswith("/") else "file"
    if flag == b"5":
        return "folder"
    return _KINDS.get(flag, f"an entry of type {flag!r}")


def _check_sum(header: bytes) -> None:
    if len(header) < _BLOCK:
        raise ArchiveError("The tar archive is cut off.")
    stated = _number(header[148:156])
    blanked = header[:148] + b" " * 8 + header[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in blanked)
    if stated not in (sum(blanked), signed):
        raise ArchiveError("The tar archive is damaged: a header's checksum is wrong.")


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # GNU: big-endian binary
        value = int.from_bytes(field[1:], "big")
        if value >= 1 << 62:
            raise ArchiveError("The tar archive has a size out of all measure.")
        return value
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise ArchiveError("The tar archive has a malformed number.", received=field)
    return int(digits, 8)


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    return _text(name)


def _text(data: bytes) -> str:
    if b"\0" in data:
        raise ArchiveError("The tar archive has a name with a zero byte.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _whole(read: Read, size: int) -> bytes:
    if size > _LONGEST_HEADER:
        raise ArchiveError(f"The tar archive has an extended header of {size:,} bytes.")
    content = read(size)
    if len(content) < size or len(read(-size % _BLOCK)) < -size % _BLOCK:
        raise ArchiveError("The tar archive is cut off.")
    return content


def _pax(content: bytes) -> dict[str, str]:
    """`<length> <key>=<value>\\n`, repeated (POSIX.1-2001, pax extended header)."""
    records: dict[str, str] = {}
    at = 0
    while at < len(content) and content[at:].strip(b"\0"):
        space = content.find(b" ", at, at + 20)
        digits = content[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        record = content[space + 1 : end]
        if end <= space or end > len(content) or not record.endswith(b"\n") or b"=" not in record:
            raise ArchiveError("The tar archive has a malformed extended header.")
        key, _, value = record[:-1].partition(b"=")
        records[_text(key)] = _text(value) if key in (b"path", b"size") else ""
        at = end
    return records


def _expect_zeros(read: Read) -> None:
    while block := read(1 << 16):
        if block.strip(b"\0"):
            raise ArchiveError("There is data after the end of the tar archive.")
