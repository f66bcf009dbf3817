"""What is done to those who read a signed registry, and what they see of it: an error that names it, nothing else."""

from __future__ import annotations

import errno
import json
import logging
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="signed registries need the extra `signed`")

from modelzoo import errors
from modelzoo.registry import cache, configured, list_models, trusted
from modelzoo.registry import verification as reading
from modelzoo.registry.signing import make_key, sign_registry
from tests.registry.publishing import Publisher, Served, put_clock, serving
from tests.store.fault_server import Fault


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publisher")


@pytest.fixture
def served(tmp_path, monkeypatch, publisher):
    """A registry of the card `one`, signed once, added with its root."""
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("MODELZOO_REGISTRY", "MODELZOO_OFFLINE", "MODELZOO_AUTH", "MODELZOO_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    with serving() as server:
        server.show(publisher.sign("one"))
        add(server, publisher)
        yield server


def add(served: Served, publisher: Publisher) -> None:
    reading.add_signed(served.url, root=publisher.root)
    configured.add(served.url, signed=True)


def refused(served: Served, error: type[errors.ModelzooError], names: list[str]) -> errors.ModelzooError:
    """A refresh raises `error`; without one the cards `names` are still what is seen."""
    with pytest.raises(error) as caught:
        served.names(refresh=True)
    assert type(caught.value) is error
    assert caught.value.hint
    assert served.names() == names
    return caught.value


# -- rollback -----------------------------------------------------------------------------------------------------


def test_rollback_of_everything(served, publisher):
    first = publisher.states[1]
    served.show(publisher.sign("one", "two"))
    assert served.names(refresh=True) == ["one", "two"]
    served.show(first)
    error = refused(served, errors.RollbackError, ["one", "two"])
    assert (error.role, error.seen, error.arrived) == ("timestamp", 2, 1)
    assert "version 1 came, and 2 was seen before" in error.what


def resigned(publisher: Publisher, role: str, change) -> dict[str, bytes]:
    """The newest state with one role changed, and everything above it signed anew by the real key."""
    from tuf.api.metadata import Metadata, MetaFile

    from modelzoo.registry.signing import _load

    version = max(publisher.states)
    state = dict(publisher.states[version])
    signer = _load(publisher.key)
    snapshot = Metadata.from_bytes(state[f"metadata/{version}.snapshot.json"])
    timestamp = Metadata.from_bytes(state["metadata/timestamp.json"])
    change(snapshot.signed if role == "snapshot" else timestamp.signed)
    if role == "snapshot":
        snapshot.signed.version += 1
        snapshot.sign(signer)
        data = snapshot.to_bytes()
        state[f"metadata/{snapshot.signed.version}.snapshot.json"] = data
        timestamp.signed.snapshot_meta = MetaFile.from_data(snapshot.signed.version, data, ["sha256"])
    timestamp.signed.version += 1
    timestamp.sign(signer)
    state["metadata/timestamp.json"] = timestamp.to_bytes()
    return state


def test_rollback_of_the_snapshot_below_a_new_timestamp(served, publisher):
    served.show(publisher.sign("one", "two"))
    served.names(refresh=True)

    def back(timestamp):
        timestamp.snapshot_meta.version = 1

    served.show(publisher.states[1], resigned(publisher, "timestamp", back))
    error = refused(served, errors.RollbackError, ["one", "two"])
    assert (error.role, error.seen, error.arrived) == ("snapshot", 2, 1)


def test_rollback_of_the_targets_below_a_new_snapshot(served, publisher):
    from tuf.api.metadata import MetaFile

    served.show(publisher.sign("one", "two"))
    served.names(refresh=True)

    def back(snapshot):
        snapshot.meta["targets.json"] = MetaFile(1)

    served.show(publisher.states[1], resigned(publisher, "snapshot", back))
    error = refused(served, errors.RollbackError, ["one", "two"])
    assert (error.role, error.seen, error.arrived) == ("targets", 2, 1)


def test_rollback_is_remembered_when_the_cache_is_gone(served, publisher, tmp_path, monkeypatch):
    served.show(publisher.sign("one", "two"))
    served.names(refresh=True)
    served.show(publisher.states[1])
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "another"))
    with pytest.raises(errors.RollbackError):
        served.names()


def test_rollback_to_what_was_verified_but_never_used(served, publisher):
    """The newest timestamp counts as seen even where its registry did not arrive."""
    second, third = publisher.sign("one", "two"), publisher.sign("one", "three")
    served.show({path: data for path, data in third.items() if not path.startswith("targets/")})
    assert served.names(refresh=True) == ["one"]  # warned
    served.show(second)
    error = refused(served, errors.RollbackError, ["one"])
    assert (error.role, error.seen, error.arrived) == ("timestamp", 3, 2)
    served.show(third)
    assert served.names(refresh=True) == ["one", "three"]


def test_rollback_is_remembered_when_it_is_added_again(served, publisher):
    served.show(publisher.sign("one", "two"))
    served.names(refresh=True)
    served.show(publisher.states[1])
    for how in ({"root": publisher.root}, {"fingerprint": publisher.fingerprint}):
        with pytest.raises(errors.RollbackError):
            reading.add_signed(served.url, **how)
    assert served.names() == ["one", "two"]
    configured.remove(served.url)
    add(served, publisher)
    assert served.names() == ["one"]


# -- freeze -------------------------------------------------------------------------------------------------------


def test_freeze_ends_with_the_date(served, monkeypatch):
    asked = len(served.asked())
    put_clock(monkeypatch, 29)
    assert served.names() == ["one"]
    assert len(served.asked()) == asked
    put_clock(monkeypatch, 31)
    for refresh in (True, False):
        with pytest.raises(errors.ExpiredError) as caught:
            served.names(refresh=refresh)
        assert caught.value.expires in caught.value.what
        assert "timestamp" in caught.value.what


def test_freeze_of_one_who_is_offline(served, publisher, monkeypatch):
    put_clock(monkeypatch, 31)
    with pytest.raises(errors.ExpiredError, match="the network must not be used") as caught:
        served.names(offline=True)
    assert "list --refresh" in str(caught.value.hint)
    assert "registry remove" in str(caught.value.hint)
    served.show(publisher.sign("one", "two", days=90))
    assert served.names() == ["one", "two"]  # renewed by itself
    assert served.names(offline=True) == ["one", "two"]


def test_freeze_by_a_server_that_fails(served, monkeypatch, caplog):
    served.show({})
    with caplog.at_level(logging.WARNING, logger="modelzoo"):
        assert served.names(refresh=True) == ["one"]
    assert "the copy in the cache is used up to 20" in caplog.text
    put_clock(monkeypatch, 31)
    with pytest.raises(errors.ExpiredError, match="cannot be renewed"):
        served.names()


def test_freeze_of_the_root(served, publisher, monkeypatch):
    """A root of a year is renewed in time; where it was not, nothing below it counts."""
    served.show(publisher.sign("one", days=9999))
    assert served.names(refresh=True) == ["one"]
    put_clock(monkeypatch, 300)
    assert served.names(refresh=True) == ["one"]
    put_clock(monkeypatch, 10001)
    with pytest.raises(errors.ExpiredError):
        served.names(refresh=True)


def test_freeze_shows_at_the_first_fetch(served, publisher, monkeypatch):
    configured.remove(served.url)
    put_clock(monkeypatch, 31)
    with pytest.raises(errors.ExpiredError):
        add(served, publisher)
    assert configured.added() == []
    assert not trusted.is_signed(served.url)


# -- mix and match ------------------------------------------------------------------------------------------------


def test_mix_and_match_of_a_new_snapshot_and_old_targets(served, publisher):
    first, second = publisher.states[1], publisher.sign("one", "two")
    served.show(first, second, {"metadata/2.targets.json": first["metadata/1.targets.json"]})
    error = refused(served, errors.MixedMetadataError, ["one"])
    assert error.file == "2.targets.json"


def test_mix_and_match_of_a_new_timestamp_and_an_old_snapshot(served, publisher):
    first, second = publisher.states[1], publisher.sign("one", "two")
    served.show(first, second, {"metadata/2.snapshot.json": first["metadata/1.snapshot.json"]})
    error = refused(served, errors.MixedMetadataError, ["one"])
    assert error.file == "2.snapshot.json"


def test_mix_and_match_of_new_targets_and_an_old_registry(served, publisher):
    first, second = publisher.states[1], publisher.sign("one", "two")
    (old,) = [path for path in first if path.startswith("targets/")]
    (new,) = [path for path in second if path.startswith("targets/") and path != old]
    served.show(second, {new: first[old]})
    assert "not what was signed" in refused(served, errors.SignatureError, ["one"]).what


def test_mix_and_match_where_digests_are_not_stated(served, publisher):
    """Versions alone tell it too: the framework leaves it to the publisher whether digests are there."""
    from tuf.api.metadata import MetaFile

    publisher.sign("one", "two")

    def bare(snapshot):
        snapshot.meta["targets.json"] = MetaFile(2)

    state = resigned(publisher, "snapshot", bare)
    served.show(state, {"metadata/2.targets.json": publisher.states[1]["metadata/1.targets.json"]})
    assert refused(served, errors.MixedMetadataError, ["one"]).file == "2.targets.json"


# -- change of keys -----------------------------------------------------------------------------------------------


def test_a_rotated_key_is_followed(served, publisher):
    for name in ("second", "third"):  # the reader misses the one in between
        served.show(publisher.rotate(name))
    served.show(publisher.sign("one", "two"))
    assert served.names(refresh=True) == ["one", "two"]
    assert trusted.read(served.url).fingerprint == publisher.fingerprint
    assert {"metadata/2.root.json", "metadata/3.root.json"} <= set(served.asked())


def test_a_key_that_was_rotated_out_signs_nothing_any_more(served, publisher, tmp_path):
    old = publisher.key
    before = publisher.states[1]
    served.show(publisher.rotate("second"))
    assert served.names(refresh=True) == ["one"]
    rotated = publisher.states[2]
    thief = Publisher(tmp_path / "thief")
    thief.key = old
    for _ in range(3):
        stolen = thief.sign("one", "evil")
    served.show(rotated, {path: data for path, data in stolen.items() if "root" not in path})
    error = refused(served, errors.SignatureError, ["one"])
    assert "timestamp.json" in error.what
    served.show(before)  # the chain as it was: its timestamp is of the old key
    refused(served, errors.SignatureError, ["one"])


def test_a_root_that_an_unknown_key_rotated_is_refused(served, publisher, tmp_path):
    thief = Publisher(tmp_path / "thief")
    thief.sign("evil")
    forged = thief.rotate("more")
    served.show(publisher.states[1], forged)
    error = refused(served, errors.SignatureError, ["one"])
    assert "2.root.json" in error.what
    assert "root was signed by 0/1 keys" in str(error.received)


def test_a_root_that_only_the_old_key_rotated_is_refused(served, publisher, tmp_path):
    """A root needs its own keys too, or one could put in keys that nobody has."""
    from tuf.api.metadata import Metadata

    from modelzoo.registry.signing import _load

    rotated = dict(publisher.rotate("second"))
    root = Metadata.from_bytes(rotated["metadata/2.root.json"])
    root.sign(_load(tmp_path / "publisher" / "first.key"))
    rotated["metadata/2.root.json"] = root.to_bytes()
    served.show(rotated)
    assert "2.root.json" in refused(served, errors.SignatureError, ["one"]).what


def test_a_chain_of_rotated_roots_with_one_left_out_is_refused(served, publisher):
    publisher.rotate("second")
    third = publisher.rotate("third")
    served.show(third, {"metadata/2.root.json": third["metadata/3.root.json"]})
    refused(served, errors.SignatureError, ["one"])


def test_rotated_to_an_earlier_root(served, publisher):
    served.show(publisher.rotate("second"))
    served.names(refresh=True)
    state = publisher.states[2]
    served.show(state, {"metadata/3.root.json": state["metadata/2.root.json"]})
    refused(served, errors.MixedMetadataError, ["one"])
    served.show(state, {"metadata/3.root.json": state["metadata/1.root.json"]})
    refused(served, errors.SignatureError, ["one"])


# -- who is trusted -----------------------------------------------------------------------------------------------


def test_the_fingerprint_of_a_key_that_has_signed_the_root_is_enough(served, publisher):
    configured.remove(served.url)
    reading.add_signed(served.url, fingerprint=publisher.fingerprint.upper())
    assert served.names() == ["one"]


def test_another_fingerprint_is_refused(served, publisher):
    configured.remove(served.url)
    with pytest.raises(errors.SignatureError, match="not signed by the key of that fingerprint"):
        reading.add_signed(served.url, fingerprint="0" * 64)
    with pytest.raises(errors.UsageError):
        reading.add_signed(served.url, fingerprint="0" * 63)
    assert not trusted.is_signed(served.url)


def test_a_root_that_only_names_the_trusted_key_is_refused(served, publisher, tmp_path):
    """An attacker lists the trusted key beside his own, or his own under its id, and signs alone."""
    from tuf.api.metadata import Key, Metadata

    from modelzoo.registry.signing import _load

    configured.remove(served.url)
    thief = Publisher(tmp_path / "thief")
    state = dict(thief.sign("evil"))
    own, good = _load(thief.key), _load(publisher.key).public_key
    listed = Metadata.from_bytes(state["metadata/root.json"])
    listed.signed.add_key(good, "root")
    listed.sign(own)
    renamed = json.loads(state["metadata/root.json"].replace(own.public_key.keyid.encode(), good.keyid.encode()))
    disguised = Metadata.from_dict(renamed)
    own.public_key.keyid = good.keyid
    disguised.sign(own)
    assert isinstance(disguised.signed.keys[good.keyid], Key)
    for root in (listed, disguised):
        served.show(state, {"metadata/root.json": root.to_bytes(), "metadata/1.root.json": root.to_bytes()})
        with pytest.raises(errors.SignatureError, match="not signed by the key of that fingerprint"):
            reading.add_signed(served.url, fingerprint=publisher.fingerprint)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b"[" * 99999, b'{"signed": 3, "signatures": []}'])
def test_what_is_no_root_is_refused(served, data):
    with pytest.raises(errors.UsageError):
        reading.add_signed(served.url, root=data)


def test_a_root_that_was_changed_or_is_another_role_is_refused(served, publisher):
    for data in (
        publisher.root.replace(b'"version": 1', b'"version": 2'),
        publisher.states[1]["metadata/timestamp.json"],
    ):
        with pytest.raises(errors.UsageError):
            reading.add_signed(served.url, root=data)


def test_it_never_becomes_unsigned_again(served, publisher, tmp_path):
    """The signatures vanish, the file of what is trusted vanishes, it is added again, or named by hand."""
    served.show({"registry.json": publisher.states[1]["registry.json"].replace(b"one", b"bad")})
    assert served.names(refresh=True) == ["one"]
    configured.add(served.url, namespace="me")  # without a root or a fingerprint
    assert "me/one" in list_models(refresh=True)
    Path(trusted.path(served.url)).unlink()
    for url in (served.url, served.url.replace("http://", "HTTP://me:secret@")):
        with pytest.raises(errors.SignatureError, match="gone or damaged"):
            list_models(registries=[url])
    with pytest.raises(errors.SignatureError, match="gone or damaged") as caught:
        list_models()
    assert "add it again with --root or --fingerprint" in str(caught.value.hint)
    configured.remove(served.url)
    assert list_models(registries=[served.url]) != ["one"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format": 99}', b'{"format": 1, "metadata": {}}', b"[" * 99999])
def test_damage_to_what_is_trusted_is_no_trust(served, data):
    Path(trusted.path(served.url)).write_bytes(data)
    with pytest.raises(errors.SignatureError):
        served.names()


@pytest.mark.parametrize(
    ("field", "value"), [("sha256", "../../../etc/passwd"), ("expires", "never"), ("size", "much"), ("version", None)]
)
def test_what_is_trusted_is_read_strictly(served, field, value):
    path = Path(trusted.path(served.url))
    document = json.loads(path.read_text())
    document["registry"][field] = value
    path.write_text(json.dumps(document))
    with pytest.raises(errors.SignatureError, match="gone or damaged"):
        served.names()


# -- bytes --------------------------------------------------------------------------------------------------------


def test_a_registry_that_was_changed_on_the_server(served, publisher):
    served.show(publisher.sign("one", "two"))
    (path,) = [path for path in publisher.states[2] if path.startswith("targets/") and path not in publisher.states[1]]
    served.show(publisher.states[2], {path: publisher.states[2][path].replace(b"Mine", b"Evil")})
    assert "not what was signed" in refused(served, errors.SignatureError, ["one"]).what
    served.show(publisher.states[2], {path: publisher.states[2][path] + b" "})
    refused(served, errors.SignatureError, ["one"])


def test_a_copy_that_was_changed_in_the_cache_is_fetched_anew(served):
    place = Path(cache.path(f"signed/{trusted.read(served.url).sha256}.json"))
    place.write_bytes(place.read_bytes().replace(b"one", b"two"))
    with pytest.raises(errors.OfflineError):
        served.names(offline=True)
    assert served.names() == ["one"]
    assert served.names(offline=True) == ["one"]


@pytest.mark.parametrize("file", ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", "registry"])
def test_a_file_without_an_end_is_given_up(served, publisher, file):
    served.show(publisher.sign("one", "two"))
    place = f"metadata/{file}"
    if file == "registry":
        (place,) = [path for path in publisher.states[2] if "targets/" in path and path not in publisher.states[1]]
    sent = served.server.sent
    served.server.serve(f"/models/{place}", b"x" * 999, always=Fault(endless=True, length="none"))
    with pytest.raises(errors.SignatureError) as caught:
        served.names(refresh=True)
    assert type(caught.value) in (errors.SignatureError, errors.MixedMetadataError)
    assert served.server.sent - sent < 16 << 20
    assert served.names() == ["one"]


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"<html>", b"\xff", b"[" * 99999, b'{"signed": {"_type": "root"}}', b"null"]
)
@pytest.mark.parametrize("file", ["2.root.json", "timestamp.json"])
def test_what_is_no_metadata(served, publisher, file, data):
    served.show(publisher.states[1], {f"metadata/{file}": data})
    refused(served, errors.SignatureError, ["one"])


def test_every_byte_of_the_metadata_counts(served, publisher):
    """Changed anywhere, a file is refused, or means what it meant before (white space, a digit of an unused id)."""
    state = publisher.sign("one", "two")
    changed = refusals = 0
    for path in ("metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json"):
        data = state[path]
        for position in range(0, len(data), max(1, len(data) // 12)):
            served.show(state, {path: data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]})
            changed += 1
            before = Path(trusted.path(served.url)).read_bytes()
            try:
                assert served.names(refresh=True) == ["one", "two"]
            except errors.SignatureError:
                refusals += 1
            Path(trusted.path(served.url)).write_bytes(before)
    assert changed >= 36
    assert refusals > changed * 3 // 4


def sealed(publisher: Publisher, signed: dict[str, object]) -> bytes:
    """Metadata that says anything at all, signed by the real key."""
    from securesystemslib.formats import encode_canonical

    from modelzoo.registry.signing import _load

    signer = _load(publisher.key)
    text = encode_canonical(signed)
    assert text is not None
    return json.dumps({"signed": signed, "signatures": [signer.sign(text.encode()).to_dict()]}).encode()


ODD = {
    "no digest of the registry": {"targets": {"registry.json": {"length": 3, "hashes": {}}}},
    "a digest of another kind": {"targets": {"registry.json": {"length": 3, "hashes": {"crc": "00"}}}},
    "a digest that is a path": {"targets": {"registry.json": {"length": 3, "hashes": {"sha256": "../../x"}}}},
    "a registry of a terabyte": {"targets": {"registry.json": {"length": 1 << 40, "hashes": {"sha256": "00"}}}},
    "a negative length": {"targets": {"registry.json": {"length": -1, "hashes": {"sha256": "00"}}}},
    "no registry": {"targets": {}},
    "no targets": {"targets": None},
    "a version without an end": {"version": 10**4000},
    "a version that is a text": {"version": "2"},
    "no day": {"expires": "2099-99-99T00:00:00Z"},
    "the first year": {"expires": "0001-01-01T00:00:00Z"},
    "another specification": {"spec_version": "9.0"},
    "another role": {"_type": "snapshot"},
    "a role that nobody knows": {"_type": "mirrors"},
    "delegations to nobody": {"targets": {}, "delegations": {"keys": {}, "roles": []}},
    "delegations to themselves": {
        "targets": {},
        "delegations": {
            "keys": {},
            "roles": [{"name": "targets2", "keyids": [], "threshold": 1, "terminating": False, "paths": ["*"]}],
        },
    },
}


@pytest.mark.parametrize("case", ODD)
def test_odd_targets_that_the_real_key_has_signed(served, publisher, case, caplog):
    state = dict(publisher.sign("one", "two"))
    targets = {**json.loads(state["metadata/2.targets.json"])["signed"], **ODD[case]}
    snapshot = json.loads(state["metadata/2.snapshot.json"])["signed"]
    timestamp = json.loads(state["metadata/timestamp.json"])["signed"]
    snapshot["meta"] = {"targets.json": {"version": 2}}
    timestamp["meta"] = {"snapshot.json": {"version": 2}}
    state["metadata/2.targets.json"] = sealed(publisher, targets)
    state["metadata/2.snapshot.json"] = sealed(publisher, snapshot)
    state["metadata/timestamp.json"] = sealed(publisher, timestamp)
    served.show(state)
    if case in ("a digest of another kind", "a digest that is a path"):  # then its name is one that is not there
        with caplog.at_level(logging.WARNING, logger="modelzoo"):
            assert served.names(refresh=True) == ["one"]
        assert "does not have registry.json (HTTP 404)" in caplog.text
        return
    with pytest.raises(errors.RegistryError) as caught:
        served.names(refresh=True)
    assert caught.value.received
    assert served.names() == ["one"]


def test_a_signed_file_that_is_no_registry_does_not_replace_one(served, publisher, monkeypatch):
    from modelzoo.registry import signing

    monkeypatch.setattr(signing, "_registry", lambda folder: b'{"schema_version": 9, "models": {}}')
    served.show(publisher.sign("one"))
    with pytest.raises(errors.RegistryVersionError):
        served.names(refresh=True)
    assert served.names() == ["one"]


def test_the_registry_may_have_another_name_or_none_that_was_signed(served, publisher):
    with pytest.raises(errors.SignatureError, match=r"do not speak of other\.json"):
        reading.add_signed(served.url.replace("registry.json", "other.json"), root=publisher.root)


def test_two_registries_of_one_key_are_kept_apart(served, publisher, tmp_path):
    other = Publisher(tmp_path / "other")
    other.key = publisher.key
    other.write("two")
    sign_registry(other.folder, other.key)
    with serving() as more:
        more.show(
            {p.relative_to(other.folder).as_posix(): p.read_bytes() for p in other.folder.rglob("*") if p.is_file()}
        )
        reading.add_signed(more.url, fingerprint=publisher.fingerprint)
        configured.add(more.url, signed=True)
        assert more.names() == ["two"]
        assert served.names() == ["one"]


def test_where_nothing_can_be_written_nothing_is_trusted(served, publisher, tmp_path, monkeypatch):
    served.show(publisher.sign("one", "two"))
    (tmp_path / "file").write_text("no folder")
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "file"))
        refused(served, errors.DiskError, ["one"])
    with monkeypatch.context() as patch:

        def full(*arguments):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr("os.fsync", full)
        with pytest.raises(errors.DiskFullError):
            served.names(refresh=True)
    assert served.names() == ["one"]
    assert not list((tmp_path / "config").rglob("*.part"))
    monkeypatch.setattr(cache, "write", lambda name, data: False)  # a cache that cannot be written is no error
    assert served.names(refresh=True) == ["one", "two"]
    assert served.names() == ["one", "two"]


def test_a_login_is_sent_with_every_file_and_to_no_other_host(served, publisher, monkeypatch):
    monkeypatch.setenv("MODELZOO_AUTH", json.dumps({served.server.url: "Bearer 0123"}))
    state = publisher.sign("one", "two")
    served.show(state)
    with serving() as other:
        other.show(state)
        where = f"{other.server.url}/models/metadata/2.targets.json"
        moved = Fault(status=302, headers={"Location": where})
        served.server.serve("/models/metadata/2.targets.json", b"", always=moved)
        asked = len(served.server.seen)
        assert served.names(refresh=True) == ["one", "two"]
        sent = [seen.headers.get("authorization") for seen in served.server.seen[asked:]]
        assert sent == ["Bearer 0123"] * 5
        assert [seen.headers.get("authorization") for seen in other.server.seen] == [None]


def test_a_key_in_hand_is_not_needed_to_read(served, publisher):
    publisher.key.unlink()
    make_key(publisher.key)
    assert served.names(refresh=True) == ["one"]
