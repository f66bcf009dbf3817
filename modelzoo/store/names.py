"""File names that are safe on every system: checked under POSIX and Windows rules alike, wherever we run.

Rules of "Naming Files, Paths, and Namespaces" (Microsoft) and of POSIX; names are compared after Unicode
normalisation (NFC) and case folding, as the file systems of macOS and Windows do.
"""

from __future__ import annotations

import re
import unicodedata

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])$", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_LONGEST_PART = 200  # UTF-8 bytes: file systems allow 255, and temporary names add a little
_LONGEST_NAME = 1000


def why_unsafe(name: str) -> str | None:
    """What makes `name` unfit as a relative path (parts separated by `/`); None if nothing does."""
    if not name:
        return "it is empty"
    if len(name) > _LONGEST_NAME:
        return f"it is longer than {_LONGEST_NAME} characters"
    if name.startswith(("/", "\\")):
        return "it is an absolute or UNC path"
    if len(name) > 1 and name[1] == ":":
        return "it begins with a drive"
    for part in name.split("/"):
        if part == "..":
            return "it leads out of its folder (..)"
        if part in ("", "."):
            return "it has an empty part"
        if _FORBIDDEN.search(part):
            return "it holds a character that some systems do not allow in names"
        if part[-1] in " .":
            return "a part ends with a dot or a space"
        if _RESERVED.match(part.split(".")[0].rstrip(" ")):
            return f"{part!r} is a device on Windows"
        try:
            encoded = part.encode()
        except UnicodeEncodeError:
            return "it is not valid Unicode"
        if len(encoded) > _LONGEST_PART:
            return f"a part is longer than {_LONGEST_PART} bytes"
    return None


def folded(name: str) -> str:
    """Two names with the same folded form are one file on some systems."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def first_collision(names: list[str]) -> tuple[str, str] | None:
    """Two of `names` that would be one file on some system, or of which one would have to lie in the other."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(folded(name), name)) is not name or names.count(name) > 1:
            return other, name
    for name in names:
        parts = folded(name).split("/")
        for depth in range(1, len(parts)):
            if (other := seen.get("/".join(parts[:depth]), "")) != "":
                return other, name
    return None


def is_key(key: str) -> bool:
    """True for a model's name as a registry may give it, with or without a namespace."""
    return len(key) <= _LONGEST_PART and _KEY.fullmatch(key) is not None


def key_folder(key: str) -> str:
    """The one-part folder name of a model: `ns/name` becomes `ns+name`; a `~` defuses device names and a last dot."""
    head, dot, tail = key.replace("/", "+").partition(".")
    folder = head + ("~" if _RESERVED.match(head) else "") + dot + tail
    return folder + "~" if folder.endswith(".") else folder


def folder_key(folder: str) -> str:
    """The inverse of `key_folder`."""
    return folder.replace("~", "").replace("+", "/")
