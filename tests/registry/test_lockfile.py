"""A lockfile binds a project's models to the digests that they had."""

from __future__ import annotations

import copy
import json

import pytest

from modelzoo import errors
from modelzoo.registry import Card
from modelzoo.registry.lockfile import card_digest, differences, entry_of, locked_card, read_lock, write_lock

A, B = "a" * 64, "b" * 64
RAW = {
    "title": "T",
    "task": "t",
    "framework": "f",
    "files": [
        {"name": "net", "role": "weights", "urls": [{"url": "https://h/net"}], "size": 5, "digests": {"sha256": A}},
        {"name": "extra", "role": "labels", "urls": [{"url": "https://h/e"}], "optional": True},
    ],
}


def card(**changes) -> Card:
    raw = copy.deepcopy(RAW)
    raw["files"][0].update(changes)
    return Card.from_dict("net", raw)


def test_what_is_locked_comes_back_and_is_written_the_same_in_any_order(tmp_path):
    one, two = entry_of(card(), "built-in"), entry_of(card(digests={"sha384": "c" * 96}), "own.json")
    write_lock(tmp_path / "a", {"one": one, "two": two})
    write_lock(tmp_path / "b", {"two": two, "one": one})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_lock(tmp_path / "a") == {"one": one, "two": two}
    assert one["files"] == [{"name": "net", "role": "weights", "size": 5, "sha256": A}]
    assert two["files"][0]["sha384"] == "c" * 96
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_the_digest_of_a_card_does_not_depend_on_the_order_of_its_fields():
    raw = copy.deepcopy(RAW)
    turned = dict(reversed(raw.items()))
    assert card_digest(Card.from_dict("x", raw)) == card_digest(Card.from_dict("x", turned))
    assert card_digest(card(size=6)) != card_digest(card())


@pytest.mark.parametrize(
    "changes",
    [
        {"digests": {"sha256": B}},
        {"size": 6},
        {"name": "other"},
    ],
)
def test_other_files_than_those_that_were_locked_are_refused(changes):
    lock = {"net": entry_of(card(), "built-in")}
    with pytest.raises(errors.DigestError, match="is not what was locked"):
        locked_card(card(**changes), lock)
    assert differences(lock["net"], card(**changes))


def test_other_urls_and_texts_are_no_other_files():
    lock = {"net": entry_of(card(), "built-in")}
    assert locked_card(card(urls=[{"url": "https://new/net"}]), lock).files[0].urls[0].url == "https://new/net"


def test_a_model_that_is_not_locked_is_refused_with_the_nearest_name():
    lock = {"nett": entry_of(card(), "built-in")}
    with pytest.raises(errors.UsageError) as caught:
        locked_card(card(), lock)
    assert "'nett'" in str(caught.value.hint)


def test_what_nothing_strong_verifies_is_locked_by_what_its_first_use_recorded():
    loose = card(digests={"md5": "d" * 32})
    with pytest.raises(errors.UnpinnedError):
        entry_of(loose, "built-in")
    entry = entry_of(loose, "built-in", {"net": (B, 5)})
    bound = locked_card(loose, {"net": entry})
    assert bound.trust == "pinned"
    assert bound.files[0].digests == {"md5": "d" * 32, "sha256": B}


def test_a_card_without_files_cannot_be_locked():
    with pytest.raises(errors.UsageError):
        entry_of(Card("x", "T", "t", "f"), "built-in")


GOOD = {"lock_version": 1, "models": {"net": {"files": [{"name": "net", "sha256": A}]}}}


def _without(*path):
    made = copy.deepcopy(GOOD)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return made


@pytest.mark.parametrize(
    "content,error",
    [
        ("", errors.RegistryFormatError),
        ("[]", errors.RegistryFormatError),
        ("[" * 99999, errors.RegistryFormatError),
        (_without("models"), errors.RegistryFormatError),
        (_without("lock_version"), errors.RegistryVersionError),
        ({**GOOD, "lock_version": 2}, errors.RegistryVersionError),
        ({**GOOD, "lock_version": True}, errors.RegistryVersionError),
        (_without("models", "net", "files"), errors.RegistryFormatError),
        (_without("models", "net", "files", 0), errors.RegistryFormatError),
        (_without("models", "net", "files", 0, "name"), errors.RegistryFormatError),
        (_without("models", "net", "files", 0, "sha256"), errors.RegistryFormatError),
        ({**GOOD, "models": {"net": {"files": [{"name": "x", "sha256": "../../etc"}]}}}, errors.RegistryFormatError),
        ({**GOOD, "models": {"net": {"files": [{"name": "x", "sha256": A, "size": -1}]}}}, errors.RegistryFormatError),
        ({**GOOD, "models": {"net": 3}}, errors.RegistryFormatError),
    ],
)
def test_what_is_no_lockfile(tmp_path, content, error):
    path = tmp_path / "modelzoo.lock"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(error):
        read_lock(path)


def test_one_that_is_absent_or_unreadable(tmp_path):
    with pytest.raises(errors.UsageError):
        read_lock(tmp_path / "none")
    with pytest.raises(errors.DiskError):
        read_lock(tmp_path)
    with pytest.raises(errors.DiskError):
        write_lock(tmp_path / "no" / "folder", {})
