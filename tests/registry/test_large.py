"""A registry of thousands of cards: listed by one scan of its file, each card validated when it is used."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelzoo import errors
from modelzoo.registry import Card, Registry, load_registries
from modelzoo.registry.index import WHOLE
from modelzoo.registry.loading import builtin_registry
from modelzoo.registry.scan import scan

CARD = {"title": "Mine", "task": "embedding", "framework": "onnx", "licence": "MIT"}
SHOWN = ("title", "task", "framework", "format", "licence", "size", "trust", "available", "aliases")


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MODELZOO_REGISTRY", raising=False)


def large(**odd: object) -> dict[str, object]:
    return {**{f"net-{n}": CARD for n in range(WHOLE + 1)}, **odd}


def written(tmp_path, models, **more):
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"schema_version": 1, "models": models, **more}, ensure_ascii=False), encoding="utf-8")
    return str(path)


def only(path: str) -> Registry:
    (one,) = load_registries([path], environment=False, builtin=False).registries
    return one


def test_the_index_says_what_the_cards_say(tmp_path):
    """Of every built-in card, however the index was made."""
    models = builtin_registry().models
    assert len(models) > 600
    for registry in (builtin_registry(), only(written(tmp_path, models)), only(written(tmp_path, models))):
        summaries = registry.summaries
        assert list(summaries) == list(models)
        for name, raw in models.items():
            card = Card.from_dict(name, raw)
            assert [getattr(summaries[name], field) for field in SHOWN] == [getattr(card, field) for field in SHOWN]


def test_listing_neither_validates_nor_reads_the_cards(tmp_path, monkeypatch):
    from modelzoo.registry import validate

    path = written(tmp_path, large())
    monkeypatch.setattr(validate, "validate_card", None)
    monkeypatch.setattr(Card, "from_dict", None)
    for _ in range(2):
        assert len(only(path).summaries) == WHOLE + 1
    assert only(path)._models is None


BROKEN = {
    "inputs": ({"inputs": [{"name": "x", "shape": "wide"}]}, r"inputs\[0\]\.shape"),
    "a URL": ({"files": [{"name": "f", "role": "weights", "urls": [{"url": "javascript:x"}]}]}, r"urls\[0\]\.url"),
    "too deep": ({"more": json.loads("[" * 70 + "]" * 70)}, "nested more than 64 levels"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_card_is_refused_when_it_is_used_and_the_others_are_not(tmp_path, case):
    more, says = BROKEN[case]
    path = written(tmp_path, large(broken={**CARD, **more}))
    for _ in range(2):
        one = only(path)
        assert not one.valid
        assert one.card("net-7").title == "Mine"
        with pytest.raises(errors.RegistryFormatError, match=says) as caught:
            one.card("broken")
        assert "card 'broken'" in caught.value.what
        assert path in caught.value.what


SHOWN_WRONG = {
    "no title": {"task": "t", "framework": "f"},
    "an empty title": {**CARD, "title": ""},
    "a title that is a number": {**CARD, "title": 3},
    "a title that moves the cursor": {**CARD, "title": "a\x1b[2J"},
    "a licence of two lines": {**CARD, "licence": "MIT\nor not"},
    "no object": 3,
    "null": None,
    "an alias that is none": {**CARD, "aliases": ["A B"]},
    "an alias that is taken": {**CARD, "aliases": ["net-7"]},
    "an alias that is its own": {**CARD, "aliases": ["broken"]},
    "aliases that are a text": {**CARD, "aliases": "net"},
    "a size below nothing": {**CARD, "files": [{"name": "f", "role": "weights", "size": -1}]},
    "a size that is a text": {**CARD, "files": [{"name": "f", "role": "weights", "size": "3"}]},
    "a size that is true": {**CARD, "files": [{"name": "f", "role": "weights", "size": True}]},
    "no size": {**CARD, "files": [{"name": "f", "role": "weights", "size": None}]},
    "a digest that is short": {**CARD, "files": [{"name": "f", "role": "weights", "digests": {"sha256": "0"}}]},
    "a digest nobody knows": {**CARD, "files": [{"name": "f", "role": "weights", "digests": {"sha3": "0"}}]},
    "perhaps optional": {**CARD, "files": [{"name": "f", "role": "weights", "optional": "no"}]},
    "files that are none": {**CARD, "files": [3]},
    "needs that are a text": {**CARD, "build": {"needs": "much"}},
    "a build that is a text": {**CARD, "build": "it"},
}


@pytest.mark.parametrize("case", SHOWN_WRONG)
def test_what_list_shows_is_always_checked(tmp_path, case):
    path = written(tmp_path, large(broken=SHOWN_WRONG[case]))
    for _ in range(2):
        with pytest.raises(errors.RegistryFormatError, match="'broken'"):
            _ = only(path).summaries


@pytest.mark.parametrize("name", ["", "A", "a b", "../a", "x" * 201, "a\n"])
def test_names_are_always_checked(tmp_path, name):
    with pytest.raises(errors.RegistryFormatError, match="the name of a card"):
        _ = only(written(tmp_path, large(**{name: CARD}))).summaries


def test_names_that_occur_twice(tmp_path):
    """Two cards of one name are refused at once, two fields of one name in a card when it is used."""
    path = written(tmp_path, large())
    text = (tmp_path / "own.json").read_text()
    (tmp_path / "own.json").write_text(text.replace('"net-7"', '"net-8"'))
    with pytest.raises(errors.RegistryFormatError, match="twice"):
        _ = only(path).summaries
    (tmp_path / "own.json").write_text(text.replace('"net-7": {', '"net-7": {"title": "Yours", '))
    one = only(path)
    assert len(one.summaries) == WHOLE + 1
    assert one.card("net-8").title == "Mine"
    with pytest.raises(errors.RegistryFormatError, match="'title' occurs twice"):
        one.card("net-7")


def test_a_namespace_goes_before_names_in_a_large_one_too(tmp_path):
    path = written(tmp_path, large(net={**CARD, "aliases": ["n"], "variants": ["net-1"]}))
    for _ in range(2):
        one = only(path)
        one.namespace = "me"
        assert one.find("me/n") == "me/net"
        assert one.card("me/net").variants == ("me/net-1",)


def test_a_small_one_is_validated_whole_at_once(tmp_path):
    models = {f"net-{n}": CARD for n in range(20)} | {"broken": {**CARD, **BROKEN["inputs"][0]}}
    with pytest.raises(errors.RegistryFormatError, match="broken"):
        _ = only(written(tmp_path, models)).summaries
    del models["broken"]
    assert only(written(tmp_path, models)).valid


def test_a_file_in_another_encoding_is_read_too(tmp_path):
    path = tmp_path / "own.json"
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        path.write_text(
            json.dumps({"schema_version": 1, "models": large(one={**CARD, "title": "ä"})}), encoding=encoding
        )
        for _ in range(2):
            assert only(str(path)).card("one").title == "ä"


TEXTS = st.text(max_size=6) | st.sampled_from(["models", "schema_version", "a", "ä☕", '"\\'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    models=st.dictionaries(TEXTS, VALUES, max_size=5),
    more=st.dictionaries(TEXTS, VALUES, max_size=3),
    ascii=st.booleans(),
    indent=st.sampled_from([None, 0, 1, "\t"]),
    first=st.booleans(),
)
def test_the_scan_finds_what_the_parser_finds(models, more, ascii, indent, first):
    more.pop("models", None)
    document = (
        {"models": models, **more, "schema_version": 1} if first else {**more, "schema_version": 1, "models": models}
    )
    text = json.dumps(document, ensure_ascii=ascii, indent=indent)
    data = text.encode("utf-8", "surrogatepass")
    places = scan(data)
    if places is None:
        assert any(0xD800 <= ord(sign) <= 0xDFFF for sign in text)  # then it is no UTF-8
        return
    assert {name: raw for name, (raw, _, _) in places.items()} == models
    assert {name: json.loads(data[at:end]) for name, (_, at, end) in places.items()} == models


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_the_scan_takes_nothing_that_the_parser_refuses(data):
    text = '{"schema_version": 1, "more": [1, {"a": 2}], "models": {"a": {"b": 1}, "c": [], "d": "x"} }'
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(len(text), at + 4)))
    changed = text[:at] + data.draw(st.text('{}[]":, a1N\\', max_size=3)) + text[end:]
    places = scan(changed.encode())
    if places is not None:
        parsed = json.loads(changed, parse_constant=lambda name: pytest.fail(name))
        assert {name: raw for name, (raw, _, _) in places.items()} == parsed["models"]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 99999, b'{"models":' * 9999, b"\xff", b" " * 10**6, b'{"models": {"a":']
)
def test_the_scan_of_what_is_no_registry(data):
    assert scan(data) is None
    assert sys.getrecursionlimit() < 99999
