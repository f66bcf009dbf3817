"""Names that are safe on every system, and digests that may become names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelzoo.errors import RegistryFormatError
from modelzoo.store.digests import Hasher, checked, is_pinned
from modelzoo.store.names import first_collision, folded, folder_key, is_key, key_folder, why_unsafe

UNSAFE = [
    "", ".", "..", "a/..", "../a", "/a", "\\a", "\\\\server\\share", "C:", "C:a", "c:\\a", "a//b", "a/", "a/./b",
    "a\\b", "a:b", "a*", "a?", 'a"', "a<b", "a|b", "a\0b", "a\nb", "a\x7f", "a.", "a ", "a./b", "con", "CON.txt",
    "a/nul", "com1", "LPT9.bin", "com\u00b9", "CONIN$", "prn .txt", "x" * 201, "\ud800", "d/" * 600 + "x",
]  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE, ids=lambda name: ascii(name)[:30])
def test_names_that_some_system_misunderstands_are_unsafe(name):
    assert why_unsafe(name)


@pytest.mark.parametrize("name", ["a", "a b", ".a", "a/b/c.ckpt", "console", "com10", "ä/ñ", "x" * 200, "a+b~c"])
def test_other_names_are_safe(name):
    assert why_unsafe(name) is None


def test_names_that_are_one_on_some_system_collide():
    assert first_collision(["a", "b/c", "b/d"]) is None
    assert first_collision(["Net", "net"]) == ("Net", "net")
    assert first_collision(["\u00e9", "e\u0301"]) is not None
    assert first_collision(["stra\u00dfe", "STRASSE"]) is not None
    assert first_collision(["a", "a"]) is not None
    assert first_collision(["a", "A/b"]) == ("a", "A/b")


@given(st.text(max_size=30))
def test_folding_is_stable(name):
    assert folded(folded(name)) == folded(name)


keys = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,10}(/[a-z0-9][a-z0-9._-]{0,10})?", fullmatch=True)


@given(keys)
def test_a_key_becomes_one_safe_folder_and_back(key):
    assert is_key(key)
    folder = key_folder(key)
    assert "/" not in folder and why_unsafe(folder) is None
    assert folder_key(folder) == key


@pytest.mark.parametrize(
    "key", ["", "A", "a/", "/a", "a//b", "../a", "a/../b", ".a", "a b", "a+b", "a\n", "ä", "a" * 201]
)
def test_other_texts_are_no_keys(key):
    assert not is_key(key)


@pytest.mark.parametrize(
    "digests",
    [{"sha256": "../../../../etc/passwd"}, {"sha256": "0" * 63}, {"sha256": "G" * 64}, {"sha256": "A" * 64},
     {"sha256": "0" * 64 + "\n"}, {"md6": "00"}, {"md5": None}],
)  # fmt: skip
def test_digests_are_hexadecimal_of_their_length_or_refused(digests):
    with pytest.raises(RegistryFormatError):
        checked(digests, "net")


def test_only_strong_digests_pin():
    assert not is_pinned({"md5": "", "sha1": "", "crc32": "", "sha224": ""})
    assert all(is_pinned({name: ""}) for name in ("sha256", "sha384", "sha512"))


def test_a_hasher_computes_all_that_is_asked_for_and_can_be_copied():
    hasher = Hasher({"md5": "", "crc32": ""})
    hasher.update(b"ab")
    twin = hasher.copy()
    twin.update(b"c")
    assert twin.digests["md5"] == "900150983cd24fb0d6963f7d28e17f72" and twin.length == 3
    assert set(twin.digests) == {"sha256", "md5"} and hasher.length == 2
    assert twin.differs_from({"md5": "900150983cd24fb0d6963f7d28e17f72"}) is None
    assert "expected 0" in (twin.differs_from({"md5": "0" * 32}) or "")
