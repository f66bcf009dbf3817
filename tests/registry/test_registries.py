"""Several registries: precedence, hidden cards, versions, damaged files, the index."""

from __future__ import annotations

import hashlib
import json
import logging
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelzoo import errors
from modelzoo.registry import cache, card_sources, info, list_models, load_registries, validate_registry
from modelzoo.registry.loading import split_locations
from modelzoo.registry.registry_file import Registry
from modelzoo.store import Store
from modelzoo.store.paths import cache_root

CARD = {"title": "Mine", "task": "embedding", "framework": "onnx", "licence": "MIT"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MODELZOO_REGISTRY", raising=False)


def registry(path, models=None, **fields):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema_version": 1, "models": models or {"mine": CARD}, **fields}))
    return str(path)


def test_a_users_registry_comes_before_the_built_in_one_and_hiding_is_said(tmp_path, caplog):
    own = registry(tmp_path / "own.json", {"inception_v1": CARD})
    with caplog.at_level(logging.WARNING, "modelzoo"):
        assert info("inception_v1", registries=[own]).title == "Mine"
    assert "hides the built-in one" in caplog.text
    assert info("inception_v1").title != "Mine"


def test_the_first_registry_wins_and_a_folder_is_all_its_files(tmp_path):
    first = registry(tmp_path / "first.json", {"same": {**CARD, "title": "First"}})
    registry(tmp_path / "folder" / "b.json", {"b": CARD})
    registry(tmp_path / "folder" / "a.json", {"same": CARD, "a": CARD})
    found = load_registries([first, str(tmp_path / "folder")])
    assert found.card("same").title == "First"
    assert {"a", "b"} <= set(found.names())


def test_the_environment_variable_adds_registries(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELZOO_REGISTRY", registry(tmp_path / "own.json"))
    assert "mine" in list_models()


@pytest.mark.skipif(os.pathsep != ":", reason="POSIX separates paths by a colon")
@pytest.mark.parametrize(
    "value,locations",
    [
        ("", []),
        (":,: ,", []),
        ("a.json", ["a.json"]),
        ("/a:/b,/c", ["/a", "/b", "/c"]),
        (
            "http://host:8080/a.json:/home/b,https://h/c.json",
            ["http://host:8080/a.json", "/home/b", "https://h/c.json"],
        ),
        ("https://h:/b", ["https://h", "/b"]),
        ("HTTP://[::1]:80/a.json:b", ["HTTP://[::1]:80/a.json", "b"]),
        ("https://h/a%3Ab.json", ["https://h/a%3Ab.json"]),
    ],
)
def test_the_variable_mixes_urls_and_paths(value, locations):
    assert split_locations(value) == locations


def test_what_is_given_goes_before_the_variable(tmp_path, monkeypatch):
    given = registry(tmp_path / "given.json", {"mine": {**CARD, "title": "Given"}})
    monkeypatch.setenv("MODELZOO_REGISTRY", registry(tmp_path / "variable.json"))
    assert info("mine", registries=[given]).title == "Given"
    assert [one.kind for one in load_registries([given]).registries] == ["file", "file", "builtin"]
    assert [one.location for one in load_registries([given], environment=False, builtin=False).registries] == [given]


def test_an_alias_of_an_earlier_registry_hides_too_and_is_reported(tmp_path, caplog):
    first = registry(tmp_path / "first.json", {"mine": {**CARD, "aliases": ["theirs"]}})
    later = registry(tmp_path / "later.json", {"theirs": CARD, "other": CARD})
    with caplog.at_level(logging.WARNING, "modelzoo"):
        found = load_registries([first, later], builtin=False)
    assert [(one.name, one.by.location, one.of.location) for one in found.hidden] == [("theirs", first, later)]
    assert "theirs" in caplog.text
    assert found.names() == ["mine", "other"]
    assert found.card("theirs").name == "mine"
    assert found.registry_of("other").location == later


def test_aliases_and_namespaces_name_a_card(tmp_path):
    own = registry(tmp_path / "own.json", {"me/net": {**CARD, "aliases": ["my-net"]}})
    assert info("me/net", registries=[own]).name == "me/net"
    assert info("my-net", registries=[own]).name == "me/net"


def test_an_alias_that_is_taken_is_refused(tmp_path):
    own = registry(tmp_path / "own.json", {"a": {**CARD, "aliases": ["b"]}, "b": CARD})
    with pytest.raises(errors.RegistryFormatError) as caught:
        list_models(registries=[own])
    assert caught.value.received == "b"


@pytest.mark.parametrize("version", [2, "2.0", "one", None, True])
def test_an_unknown_version_is_refused(tmp_path, version):
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"schema_version": version, "models": {}}))
    with pytest.raises(errors.RegistryVersionError):
        list_models(registries=[str(own)])


def test_a_minor_version_with_new_fields_is_read_and_the_fields_are_kept(tmp_path):
    card = {**CARD, "colour_of_the_sky": "blue", "build": {"network": "inception_v1", "speed": 3}}
    own = registry(tmp_path / "own.json", {"mine": card}, schema_version="1.7", more=1)
    read = info("mine", registries=[own])
    assert read.extra["colour_of_the_sky"] == "blue"
    assert read.as_dict() == card


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"schema_version": 1}',
        '{"schema_version": 1, "models": []}',
        '{"schema_version": 1, "models": {"a": 3}}',
        '{"schema_version": 1, "models": {}, "more": NaN}',
        '{"schema_version": 1, "models": {}, "more": -Infinity}',
        "\x00\xff",
        "[" * 9999,
    ],
)
def test_what_is_no_registry_is_refused(tmp_path, text):
    own = tmp_path / "own.json"
    own.write_text(text)
    with pytest.raises(errors.RegistryError):
        list_models(registries=[str(own)])


def test_a_name_twice_in_one_file_is_refused(tmp_path):
    own = tmp_path / "own.json"
    own.write_text('{"schema_version": 1, "models": {"a": {}, "a": {}}}')
    with pytest.raises(errors.RegistryFormatError) as caught:
        list_models(registries=[str(own)])
    assert "twice" in str(caught.value)


@pytest.mark.parametrize("location", ["a\x00b", "http://[bad/x", "~nobody-at-all/x.json"])
def test_a_location_that_cannot_be_is_our_own_error(location):
    with pytest.raises(errors.RegistryError) as caught:
        list_models(registries=[location])
    assert caught.value.received


def test_missing_files_and_empty_folders_are_said(tmp_path):
    with pytest.raises(errors.RegistryError):
        list_models(registries=[str(tmp_path / "nothing.json")])
    with pytest.raises(errors.RegistryError):
        list_models(registries=[str(tmp_path)])


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(errors.UnknownModelError) as caught:
        info("inceptoin_v1")
    assert "inception_v1" in caught.value.suggestions
    with pytest.raises(errors.UnknownModelError) as caught:
        info("qqqqqqqq")
    assert "modelzoo list" in (caught.value.hint or "")


def test_the_filters_of_list():
    assert "inception_v1" in list_models("inception*")
    assert set(list_models("inception*")) < set(list_models())
    assert all(name.startswith("inception") or "inception" in name for name in list_models("inception"))
    assert set(list_models(framework="caffe")) & set(list_models(framework="onnx")) == set()
    assert "inception_v1" in list_models(licence="apache*", task="classification", framework="tf*")
    assert list_models("no-such-*") == []
    assert "inception_v1" in list_models("GOOGLENET-V1*")  # an alias, in any case
    loaded = load_registries()
    licences = {info(name, registries=loaded).licence for name in list_models(licence="apache*", registries=loaded)}
    assert licences == {"Apache-2.0"}


def test_cached_means_complete_in_the_cache(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    file = {
        "name": "a.bin",
        "role": "weights",
        "urls": [{"url": (tmp_path / "a.bin").as_uri()}],
        "size": 3,
        "digests": {"sha256": hashlib.sha256(b"abc").hexdigest()},
    }
    own = registry(tmp_path / "own.json", {"held": {**CARD, "files": [file]}, "not-held": {**CARD, "files": [file]}})
    assert list_models(cached=True, registries=[own]) == []
    Store().fetch("held", card_sources(info("held", registries=[own])))
    assert list_models(cached=True, registries=[own]) == ["held"]
    assert "held" not in list_models(cached=False, registries=[own])
    assert "not-held" in list_models("*held", cached=False, registries=[own])


def test_a_card_gives_its_files_in_the_best_order(tmp_path):
    urls = [
        {"url": "http://h/f", "kind": "original"},
        {"url": "https://m/f", "kind": "mirror"},
        {"url": "https://h/f"},
        {"url": "package:modelzoo/f", "kind": "package"},
    ]
    files = [
        {"name": "f", "role": "weights", "urls": urls},
        {"name": "top", "role": "weights", "optional": True},
    ]
    card = info("mine", registries=[registry(tmp_path / "own.json", {"mine": {**CARD, "files": files}})])
    (source,) = card_sources(card)
    assert source.urls == ("package:modelzoo/f", "https://h/f", "https://m/f", "http://h/f")
    assert [one.name for one in card_sources(card, optional=True)] == ["f", "top"]


def test_the_index_is_rebuilt_when_the_registry_changes_or_the_index_is_damaged(tmp_path):
    own = tmp_path / "own.json"
    registry(own)
    assert "mine" in list_models(registries=[str(own)])
    registry(own, {"yours": CARD})
    assert "yours" in list_models(registries=[str(own)])
    for damage in (b'{"format": 1, "models": {"x": [1]}}', b"", b"\xff", b"[]", b'{"format": 999, "models": {}}'):
        for index in (tmp_path / "cache" / "registry" / "index").iterdir():
            index.write_bytes(damage)
        assert "yours" in list_models(registries=[str(own)])


def test_small_files_lie_where_the_store_lies(tmp_path, monkeypatch):
    for variables in (
        {"MODELZOO_CACHE": str(tmp_path)},
        {"XDG_CACHE_HOME": str(tmp_path)},
        {"XDG_CACHE_HOME": "x"},
        {},
    ):
        for name in ("MODELZOO_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert cache.folder() == str(cache_root())


def test_listing_works_where_the_cache_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "file"))
    assert "inception_v1" in list_models()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
FIELDS = ("title", "task", "framework", "files", "build", "inputs", "labels", "aliases", "accuracy", "licence")


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5), st.text(max_size=12))
def test_any_card_is_taken_or_refused_by_our_own_error(change, name):
    card = {**CARD, **change}
    try:
        validate_registry({"schema_version": 1, "models": {name: card}})
    except errors.RegistryError:
        return
    data = json.dumps({"schema_version": 1, "models": {name: card}}).encode()
    assert Registry("x", "file", data).card(name).as_dict() == card


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="htps:/.,[]@%a1 \x00\n", max_size=24))
def test_any_value_of_the_variable_is_split_and_any_location_is_refused_by_our_own_error(value):
    for location in split_locations(value):
        assert location.strip() == location
        try:
            load_registries([location], offline=True, builtin=False)
        except (errors.RegistryError, errors.OfflineError):
            pass


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_taken_or_refused_by_our_own_error(data):
    try:
        assert isinstance(Registry("x", "file", data).models, dict)
    except errors.RegistryError:
        pass
