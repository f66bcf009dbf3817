"""Registries that were added for good, and namespaces."""

from __future__ import annotations

import json
import logging

import pytest

from modelzoo import errors
from modelzoo.registry import check_registry, configured, info, list_models, load_registries
from modelzoo.registry.loading import builtin_registry

CARD = {"title": "Mine", "task": "embedding", "framework": "onnx", "licence": "MIT"}


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MODELZOO_REGISTRY", raising=False)


def registry(path, **models):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema_version": 1, "models": models}, ensure_ascii=False), encoding="utf-8")
    return str(path)


def kinds(loaded):
    return [one.location.rpartition("/")[2] for one in loaded.registries]


def test_what_is_added_is_read_newest_first_and_before_the_built_in_one(tmp_path):
    for name in ("a", "b"):
        configured.add(registry(tmp_path / f"{name}.json", **{name: CARD}))
    assert kinds(load_registries()) == ["b.json", "a.json", "registry.json"]
    assert {"a", "b", "inception_v1"} <= set(list_models())
    configured.add(str(tmp_path / "a.json"))  # again: it moves to the front
    assert kinds(load_registries()) == ["a.json", "b.json", "registry.json"]


def test_arguments_and_the_environment_go_before_it_and_nothing_is_read_twice(tmp_path, monkeypatch):
    paths = [registry(tmp_path / f"{name}.json", **{name: CARD}) for name in "abc"]
    configured.add(paths[0])
    monkeypatch.setenv("MODELZOO_REGISTRY", paths[1])
    assert kinds(load_registries([paths[2]])) == ["c.json", "b.json", "a.json", "registry.json"]
    assert kinds(load_registries([paths[0]])) == ["a.json", "b.json", "registry.json"]
    assert kinds(load_registries(environment=False)) == ["registry.json"]


def test_the_folder_of_registries_is_read_last_of_what_is_configured(tmp_path):
    registry(tmp_path / "config" / "registries" / "z.json", z=CARD)
    registry(tmp_path / "config" / "registries" / "y.json", y=CARD)
    (tmp_path / "config" / "registries" / "notes.txt").write_text("no registry")
    configured.add(registry(tmp_path / "a.json", a=CARD))
    assert kinds(load_registries()) == ["a.json", "y.json", "z.json", "registry.json"]


def test_a_relative_path_is_remembered_whole(tmp_path, monkeypatch):
    registry(tmp_path / "here" / "mine.json", mine=CARD)
    monkeypatch.chdir(tmp_path / "here")
    configured.add("mine.json")
    monkeypatch.chdir(tmp_path)
    assert info("mine").title == "Mine"
    monkeypatch.chdir(tmp_path / "here")
    assert configured.remove("mine.json").location == str(tmp_path / "here" / "mine.json")
    assert "mine" not in list_models()


def test_a_namespace_goes_before_names_aliases_and_variants(tmp_path):
    cards = {"net": {**CARD, "aliases": ["n", "far/n"], "variants": ["small"]}, "small": CARD, "other/net": CARD}
    configured.add(registry(tmp_path / "own.json", **cards), namespace="me")
    for _ in range(2):  # built, then from its index
        loaded = load_registries()
        assert {"me/net", "me/small", "other/net"} <= set(loaded.names())
        assert "net" not in loaded.names()
        card = loaded.card("me/n")
        assert (card.name, card.aliases, card.variants) == ("me/net", ("me/n", "far/n"), ("me/small",))
        assert loaded.card("far/n").name == "me/net"
    assert check_registry(load_registries().registries[0].models) == check_registry(
        {"me/net": loaded.registries[0].models["me/net"], "me/small": CARD, "other/net": CARD}
    )


def test_a_namespace_keeps_a_card_from_hiding_the_built_in_one(tmp_path, caplog):
    path = registry(tmp_path / "own.json", inception_v1=CARD)
    configured.add(path, namespace="me")
    with caplog.at_level(logging.WARNING, logger="modelzoo"):
        assert info("inception_v1").title != "Mine"
        assert info("me/inception_v1").title == "Mine"
    assert not caplog.messages
    configured.add(path)
    with caplog.at_level(logging.WARNING, logger="modelzoo"):
        assert info("inception_v1").title == "Mine"
    assert "hides the built-in one" in caplog.text


def test_one_file_in_two_namespaces_has_an_index_for_each(tmp_path):
    path = registry(tmp_path / "own.json", net=CARD)
    for namespace in ("one", "two"):
        configured.add(path, namespace=namespace)
        assert f"{namespace}/net" in list_models()


@pytest.mark.parametrize("namespace", ["", "A", "a/b", "-a", "a b", "..", "a\n"])
def test_what_is_no_namespace(tmp_path, namespace):
    with pytest.raises(errors.UsageError):
        configured.add(registry(tmp_path / "own.json", net=CARD), namespace=namespace)


def test_removing_by_namespace_and_by_a_name_that_is_nearly_right(tmp_path):
    path = registry(tmp_path / "own.json", net=CARD)
    configured.add(path, namespace="me")
    with pytest.raises(errors.UsageError) as caught:
        configured.remove(path.replace("own", "owm"))
    assert path in str(caught.value.hint)
    with pytest.raises(errors.UsageError, match="did you mean 'me'"):
        configured.remove("mee")
    configured.remove("me")
    with pytest.raises(errors.UsageError):
        configured.remove("me")


def test_a_registry_that_went_away_says_how_to_forget_it(tmp_path):
    path = registry(tmp_path / "own.json", net=CARD)
    configured.add(path)
    (tmp_path / "own.json").unlink()
    with pytest.raises(errors.RegistryError) as caught:
        list_models()
    assert f"registry remove {path}" in str(caught.value.hint)
    configured.remove(path)
    assert "inception_v1" in list_models()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"registries": 3}', '{"registries": [{"location": 1}]}', "[" * 9999])
def test_a_list_that_is_none_is_said_to_be_so(tmp_path, text):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "registries.json").write_text(text)
    with pytest.raises(errors.RegistryFormatError):
        list_models()


def test_a_list_that_cannot_be_written_is_a_disk_error(tmp_path):
    (tmp_path / "config").write_text("a file where the folder should be")
    with pytest.raises(errors.DiskError):
        configured.add("https://example.org/registry.json")


def test_one_registry_may_be_a_path_and_a_pattern_is_a_string(tmp_path):
    path = registry(tmp_path / "own.json", net=CARD)
    assert info("net", registries=tmp_path / "own.json").title == "Mine"
    assert "net" in list_models("net", registries=path)
    for words in ({"pattern": 3}, {"task": b"x"}, {"licence": ["MIT"]}):
        with pytest.raises(errors.UsageError):
            list_models(**words)


def test_one_card_is_read_without_the_others(tmp_path):
    text = '  {"models": {"a": {"title": "ä ☕ \\" }", "task": "t", "framework": "f"} ,\n"b\\u002d1":%s}, "more": [{}],'
    path = tmp_path / "own.json"
    path.write_text(text % json.dumps({**CARD, "title": "Zwei"}) + ' "schema_version": 1 }\n', encoding="utf-8")
    load_registries([str(path)], builtin=False).registries[0].summaries  # noqa: B018 - writes the index
    (own,) = load_registries([str(path)], builtin=False).registries
    assert own.card("a").title == 'ä ☕ " }'
    assert own.card("b-1").title == "Zwei"
    assert own._models is None
    builtin = builtin_registry()
    builtin.summaries  # noqa: B018
    again = builtin_registry()
    assert [again.card(name).as_dict() for name in list(again.summaries)[::20]] == [
        builtin.models[name] for name in list(builtin.summaries)[::20]
    ]
    assert again._models is None
