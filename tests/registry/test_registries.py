"""Several registries: precedence, hidden cards, versions, damaged files, the index."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelzoo import errors
from modelzoo.registry import info, list_models, load_registries, validate_card, validate_registry
from modelzoo.registry.loading import Registry, split_locations

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


def test_the_variable_mixes_urls_and_paths():
    value = "http://host:8080/a.json:/home/b,https://h/c.json"
    assert split_locations(value) == ["http://host:8080/a.json", "/home/b", "https://h/c.json"]


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
    "text", ["", "{", "[]", "3", '{"schema_version": 1}', '{"schema_version": 1, "models": []}', "\x00\xff", "[" * 9999]
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


def test_missing_files_and_empty_folders_are_said(tmp_path):
    with pytest.raises(errors.RegistryError):
        list_models(registries=[str(tmp_path / "nothing.json")])
    with pytest.raises(errors.RegistryError):
        list_models(registries=[str(tmp_path)])


@pytest.mark.parametrize(
    "change,field",
    [
        ({"title": 3}, "title"),
        ({"files": [{"name": "f", "role": "wieghts"}]}, "files[0].role"),
        ({"files": [{"name": "f", "role": "weights", "urls": [{"url": "ftp://h/f"}]}]}, "files[0].urls[0].url"),
        ({"inputs": [{"name": "x", "shape": ["a"]}]}, "inputs[0].shape[0]"),
        ({"build": {"network": "a", "converter": "b"}}, "build"),
        ({"aliases": ["A B"]}, "aliases[0]"),
    ],
)
def test_an_error_names_the_card_and_the_field(change, field):
    with pytest.raises(errors.RegistryFormatError) as caught:
        validate_card("mine", {**CARD, **change})
    assert "'mine'" in caught.value.what
    assert field in caught.value.what


def test_a_slip_of_the_pen_gets_the_right_word():
    with pytest.raises(errors.RegistryFormatError) as caught:
        validate_card("mine", {**CARD, "files": [{"name": "f", "role": "wieghts"}]})
    assert "weights" in (caught.value.hint or "")


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
    assert list_models(cached=True) == []
    assert list_models(cached=False) == list_models()


def test_the_index_is_rebuilt_when_the_registry_changes_or_the_index_is_damaged(tmp_path):
    own = tmp_path / "own.json"
    registry(own)
    assert "mine" in list_models(registries=[str(own)])
    registry(own, {"yours": CARD})
    assert "yours" in list_models(registries=[str(own)])
    for index in (tmp_path / "cache" / "registry" / "index").iterdir():
        index.write_bytes(b'{"format": 1, "models": {"x": [1]}}')
    assert "yours" in list_models(registries=[str(own)])


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
    Registry("x", "file", json.dumps({"schema_version": 1, "models": {name: card}}).encode()).card(name).as_dict()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_taken_or_refused_by_our_own_error(data):
    try:
        assert isinstance(Registry("x", "file", data).models, dict)
    except errors.RegistryError:
        pass
