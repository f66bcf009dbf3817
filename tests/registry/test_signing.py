"""Signing a registry: what is written, what is kept, and what is refused before anything is written."""

from __future__ import annotations

import datetime
import json
import logging
import stat
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="signed registries need the extra `signed`")

from modelzoo import errors
from modelzoo.registry import validate_registry
from modelzoo.registry.signing import make_key, rotate_key, sign_registry
from tests.registry.publishing import CARD, Publisher

DAY = datetime.timedelta(days=1)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publisher")


def versions(folder: Path) -> dict[str, int]:
    return {
        path.name: json.loads(path.read_text())["signed"]["version"] for path in (folder / "metadata").glob("*.json")
    }


def test_a_key_is_for_its_owner_and_never_overwritten(tmp_path):
    fingerprint = make_key(tmp_path / "key")
    assert len(fingerprint) == 64
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(errors.UsageError, match="never overwritten"):
        make_key(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(errors.UsageError):
        make_key(tmp_path / "link")
    with pytest.raises(errors.DiskError):
        make_key(tmp_path / "no" / "such" / "folder")


def test_signing_leaves_the_registry_and_the_state_before(publisher):
    for count in (1, 2, 3):
        publisher.sign(*"abc"[:count])
        validate_registry(publisher.folder / "registry.json")
    assert versions(publisher.folder) == {
        "1.root.json": 1,
        "root.json": 1,
        "2.snapshot.json": 2,
        "2.targets.json": 2,
        "3.snapshot.json": 3,
        "3.targets.json": 3,
        "timestamp.json": 3,
    }
    assert len(list((publisher.folder / "targets").iterdir())) == 2
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in publisher.folder.rglob("*") if path.is_file())
    assert not list(publisher.folder.rglob("*.part"))


def test_the_fingerprint_is_the_id_that_the_root_states(publisher):
    publisher.sign("a")
    root = json.loads(publisher.root)["signed"]
    assert root["roles"]["root"]["keyids"] == [publisher.fingerprint]


def test_the_root_is_renewed_in_time(publisher):
    now = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    publisher.write("a")
    for after, root_version in ((0, 1), (100, 1), (190, 2), (300, 2), (400, 3), (2000, 4)):
        done = sign_registry(publisher.folder, publisher.key, now=now + after * DAY)
        assert done.root_version == root_version
        assert done.expires == now + (after + 30) * DAY
        assert done.root_expires > done.expires
    done = sign_registry(publisher.folder, publisher.key, now=now + 2001 * DAY, expires=900 * DAY)
    assert done.root_expires >= done.expires
    assert {name for name in versions(publisher.folder) if "root" in name} == {
        "root.json",
        *(f"{n}.root.json" for n in range(1, 6)),
    }


def test_rotating_takes_the_old_key_out(publisher):
    publisher.sign("a")
    old = publisher.key
    publisher.rotate("second")
    first, second = (json.loads((publisher.folder / "metadata" / f"{n}.root.json").read_text()) for n in (1, 2))
    assert len(first["signatures"]) == 1
    assert len(second["signatures"]) == 2
    assert set(first["signed"]["keys"]) & set(second["signed"]["keys"]) == set()
    before = versions(publisher.folder)
    with pytest.raises(errors.UsageError, match="signed with another key"):
        sign_registry(publisher.folder, old)
    with pytest.raises(errors.UsageError, match="signed with another key"):
        rotate_key(publisher.folder, old, publisher.key)
    with pytest.raises(errors.UsageError, match="the old one"):
        rotate_key(publisher.folder, publisher.key, publisher.key)
    assert versions(publisher.folder) == before


def test_what_cannot_be_signed(publisher, tmp_path):
    with pytest.raises(errors.UsageError, match="no registry"):
        sign_registry(publisher.folder, publisher.key)
    with pytest.raises(errors.UsageError, match="no registry"):
        sign_registry(tmp_path / "nowhere", publisher.key)
    publisher.write("a")
    with pytest.raises(errors.UsageError, match="not signed yet"):
        make_key(tmp_path / "other")
        rotate_key(publisher.folder, publisher.key, tmp_path / "other")
    (publisher.folder / "registry.json").write_text('{"schema_version": 1, "models": {"a": {"title": 3}}}')
    with pytest.raises(errors.RegistryFormatError):
        sign_registry(publisher.folder, publisher.key)
    deep = {**CARD, "inputs": [{"name": "x", "shape": "wide"}]}
    (publisher.folder / "registry.json").write_text(json.dumps({"schema_version": 1, "models": {"a": deep}}))
    with pytest.raises(errors.RegistryFormatError, match=r"inputs\[0\]"):
        sign_registry(publisher.folder, publisher.key)
    assert not (publisher.folder / "metadata").exists()


@pytest.mark.parametrize("kind", ["nothing", "empty", "text", "rsa", "public", "password"])
def test_what_is_no_key(publisher, tmp_path, kind):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    own = ed25519.Ed25519PrivateKey.generate()

    def pem(key, encryption=serialization.NoEncryption()):  # noqa: B008
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)

    made = {
        "empty": lambda: b"",
        "text": lambda: b"a key\n\xff",
        "rsa": lambda: pem(rsa.generate_private_key(65537, 1024)),
        "public": lambda: own.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "password": lambda: pem(own, serialization.BestAvailableEncryption(b"secret")),
    }
    if kind in made:
        (tmp_path / "key").write_bytes(made[kind]())
    publisher.write("a")
    with pytest.raises(errors.UsageError):
        sign_registry(publisher.folder, tmp_path / "key")


def test_a_key_that_others_can_read_is_told(publisher, caplog):
    publisher.write("a")
    publisher.key.chmod(0o644)
    with caplog.at_level(logging.WARNING, logger="modelzoo"):
        sign_registry(publisher.folder, publisher.key)
    assert "chmod 600" in caplog.text


@pytest.mark.parametrize("data", [b'{"signed": {}}', b"", None])
@pytest.mark.parametrize("name", ["1.root.json", "timestamp.json"])
def test_damaged_signatures_are_not_begun_anew(publisher, name, data):
    publisher.sign("a")
    path = publisher.folder / "metadata" / name
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    elif name == "timestamp.json":  # lost, or not written yet: the numbers go on all the same
        assert sign_registry(publisher.folder, publisher.key).version == 2
        return
    with pytest.raises(errors.SignatureError, match="damaged"):
        sign_registry(publisher.folder, publisher.key)
    assert not (publisher.folder / "metadata" / "2.snapshot.json").exists()


def test_a_root_that_was_written_is_never_written_otherwise(publisher, monkeypatch):
    """Stopped between the root and what names it, the next one goes on from there: somebody may have read it."""
    from modelzoo.registry import signing

    publisher.sign("a")
    put, old = signing._put, publisher.key

    def failing(path, data):
        if path.name in ("root.json", "timestamp.json"):
            raise errors.DiskFullError("The signed registry cannot be written.", received=path)
        put(path, data)

    monkeypatch.setattr(signing, "_put", failing)
    new = publisher.folder.parent / "new.key"
    make_key(new)
    with pytest.raises(errors.DiskFullError):
        rotate_key(publisher.folder, old, new)
    monkeypatch.setattr(signing, "_put", put)
    second = (publisher.folder / "metadata" / "2.root.json").read_bytes()
    with pytest.raises(errors.UsageError, match="another key"):
        rotate_key(publisher.folder, old, new)
    assert sign_registry(publisher.folder, new).root_version == 2
    assert (publisher.folder / "metadata" / "2.root.json").read_bytes() == second


def test_signing_that_stops_midway_leaves_a_registry_that_can_be_read(publisher, monkeypatch):
    """The timestamp comes last: until then everything that it names is there as it was."""
    from modelzoo.registry import signing

    first = publisher.sign("a")
    put = signing._put
    for stop in range(1, 5):
        calls = 0

        def failing(path, data, stop=stop):
            nonlocal calls
            calls += 1
            if calls == stop:
                raise errors.DiskFullError("The signed registry cannot be written.", received=path)
            put(path, data)

        monkeypatch.setattr(signing, "_put", failing)
        publisher.write("a", "b")
        with pytest.raises(errors.DiskFullError):
            sign_registry(publisher.folder, publisher.key)
        for path, data in first.items():
            if path != "registry.json":
                assert (publisher.folder / path).read_bytes() == data
    monkeypatch.setattr(signing, "_put", put)
    last = sign_registry(publisher.folder, publisher.key).version
    assert last > 2  # no number is given twice
    assert {n for n in range(9) if (publisher.folder / "metadata" / f"{n}.snapshot.json").exists()} == {1, last}
    assert {n for n in range(9) if (publisher.folder / "metadata" / f"{n}.targets.json").exists()} == {1, last}
