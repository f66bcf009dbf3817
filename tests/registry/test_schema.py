"""The JSON Schema: what it takes, what it refuses, and that a refusal can be acted on."""

from __future__ import annotations

import dataclasses

import jsonschema
import pytest

from modelzoo import errors
from modelzoo.registry import Card, validate_card, validate_registry
from modelzoo.registry.card import Accuracy, Build, File, Input, Labels, Member, Output, Preprocessing, Provenance, Url
from modelzoo.registry.loading import builtin_registry
from modelzoo.registry.validate import schema

CARD = {"title": "Mine", "task": "embedding", "framework": "onnx", "licence": "MIT"}
FILE = {"name": "f", "role": "weights"}


def test_it_is_a_schema_and_the_built_in_registry_fits():
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator(schema()).validate(
        {"schema_version": 1, "models": builtin_registry().models},
    )


@pytest.mark.parametrize(
    "part,record",
    [
        ("card", Card),
        ("file", File),
        ("url", Url),
        ("member", Member),
        ("build", Build),
        ("input", Input),
        ("preprocess", Preprocessing),
        ("output", Output),
        ("labels", Labels),
        ("accuracy", Accuracy),
        ("provenance", Provenance),
    ],
)
def test_it_describes_every_field_that_a_card_has(part, record):
    described = schema()["$defs"][part]["properties"]
    assert set(described) == {one.name for one in dataclasses.fields(record)} - record._from_outside
    definitions = schema()["$defs"]
    for name, field in described.items():
        own = field if "description" in field else definitions[field["$ref"].rpartition("/")[2]]
        assert own["description"], name


ACCEPTED = {
    "nothing but what is required": {},
    "fields of a later version, at every level": {
        "mood": {"deep": [1, None]},
        "files": [{**FILE, "torrent": "x", "urls": [{"url": "https://h/f", "speed": 3}]}],
        "inputs": [{"name": "x", "shape": [3], "unit": "m", "preprocess": {"family": "new", "tone": 1}}],
        "labels": {"names": ["a"], "tongue": "de"},
    },
    "an offset of the labels": {"labels": {"dataset": "imagenet", "offset": 1, "count": 1001}},
    "a mean file, BGR and a crop": {
        "inputs": [
            {
                "name": "data",
                "shape": [227, 227, 3],
                "colour": "BGR",
                "layout": "NCHW",
                "preprocess": {"family": "caffe", "resize": [256, 256], "size": [227, 227], "mean_file": "mean.npy"},
            }
        ]
    },
    "variants and aliases": {"aliases": ["me/other", "o.t-h_er"], "variants": ["small"]},
    "several inputs of any size": {"inputs": [{"name": "a", "shape": [None, None, 3]}, {"name": "b", "shape": []}]},
    "an accuracy with source and protocol": {
        "accuracy": {"top1": 57.1, "metrics": {"mAP": 0.5}, "source": "its authors", "protocol": "one crop"}
    },
    "a network and a converter that are not there yet": {
        "build": {"network": "x", "args": {"width": 0.25}, "needs": ["network x", "converter caffe", "archive members"]}
    },
    "local and packaged files": {
        "files": [{**FILE, "urls": [{"url": "file:///a/b"}, {"url": "package:modelzoo/f", "kind": "package"}]}]
    },
    "text in any script": {"title": "模型 Größe ☕", "notes": ["ё"]},
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_it_takes(case):
    card = {**CARD, **ACCEPTED[case]}
    validate_card("mine", card)
    assert Card.from_dict("mine", card).as_dict() == card


# change, the field that the message names, a part of the sentence
REFUSED = {
    "a number as title": ({"title": 3}, "title", "must be a string"),
    "no title": ({"title": ""}, "title", "must not be empty"),
    "two lines": ({"title": "a\nb"}, "title", "one line of text"),
    "a line and its end": ({"title": "a\n"}, "title", "one line of text"),
    "what moves the cursor": ({"notes": ["\x1b[2J"]}, "notes[0]", "without control characters"),
    "half a character": ({"licence_note": "\ud800"}, "licence_note", "without control characters"),
    "a field that moves the cursor": ({"\x1b[2J": 1}, "", "without control characters"),
    "null": ({"paper": None}, "paper", "must be a string"),
    "an unknown role": ({"files": [{"name": "f", "role": "wieghts"}]}, "files[0].role", "must be one of 'weights'"),
    "a file without a role": ({"files": [{"name": "f"}]}, "files[0]", "lacks 'role'"),
    "a negative size": ({"files": [{**FILE, "size": -1}]}, "files[0].size", "must be at least 0"),
    "half a byte": ({"files": [{**FILE, "size": 1.5}]}, "files[0].size", "must be a whole number"),
    "a short digest": ({"files": [{**FILE, "digests": {"md5": "ab"}}]}, "files[0].digests.md5", "32 lower-case hex"),
    "a digest in capitals": (
        {"files": [{**FILE, "digests": {"crc32": "ABCDEF01"}}]},
        "files[0].digests.crc32",
        "8 lower-case hex",
    ),
    "an unknown digest": (
        {"files": [{**FILE, "digests": {"sha_256": "0" * 64}}]},
        "files[0].digests",
        "not known there: 'sha_256'",
    ),
    "ftp": (
        {"files": [{**FILE, "urls": [{"url": "ftp://h/f"}]}]},
        "files[0].urls[0].url",
        "an https:, http:, file:///",
    ),
    "a URL of two lines": (
        {"files": [{**FILE, "urls": [{"url": "https://h/f\n"}]}]},
        "files[0].urls[0].url",
        "without spaces",
    ),
    "a word as shape": ({"inputs": [{"name": "x", "shape": ["a"]}]}, "inputs[0].shape[0]", "a whole number or null"),
    "one side": (
        {"inputs": [{"name": "x", "shape": [3], "preprocess": {"family": "vgg", "size": [1]}}]},
        "inputs[0].preprocess.size",
        "at least 2 values, not 1",
    ),
    "three sides": (
        {"inputs": [{"name": "x", "shape": [3], "preprocess": {"family": "vgg", "size": [1, 2, 3]}}]},
        "inputs[0].preprocess.size",
        "at most 2 values, not 3",
    ),
    "division by nothing": (
        {"inputs": [{"name": "x", "shape": [3], "preprocess": {"family": "vgg", "std": [0]}}]},
        "inputs[0].preprocess.std[0]",
        "must be more than 0",
    ),
    "network and converter": ({"build": {"network": "a", "converter": "b"}}, "build", "both network and converter"),
    "a need without a kind": ({"build": {"needs": ["luck"]}}, "build.needs[0]", "must be 'network NAME'"),
    "a name with spaces": ({"aliases": ["A B"]}, "aliases[0]", "a name of small letters"),
    "a name and a line's end": ({"aliases": ["a\n"]}, "aliases[0]", "a name of small letters"),
    "an alias twice": ({"aliases": ["a", "a"]}, "aliases", "names something twice"),
    "an empty tap": ({"taps": [""]}, "taps[0]", "must not be empty"),
    "more than all": ({"accuracy": {"source": "x", "top1": 101}}, "accuracy.top1", "must be at most 100"),
    "an accuracy of nobody": ({"accuracy": {"top1": 1}}, "accuracy", "lacks 'source'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_and_says_where_and_what_is_allowed(case):
    change, field, sentence = REFUSED[case]
    with pytest.raises(errors.RegistryFormatError) as caught:
        validate_card("mine", {**CARD, **change}, where="my.json")
    assert caught.value.what.startswith("my.json: card 'mine'" + (f", field {field}: " if field else ": "))
    assert sentence in caught.value.what
    assert caught.value.received is not None
    assert caught.value.hint
    str(caught.value).encode()  # can be printed


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b/c", "../a", "a\n", "-a", "a/", "x" * 201, "é", 3])
def test_it_refuses_names_that_are_none(name):
    with pytest.raises(errors.RegistryFormatError, match="the name of a card"):
        validate_card(name, CARD)


def test_a_slip_of_the_pen_gets_the_right_word():
    for change, meant in (
        ({"files": [{"name": "f", "role": "wieghts"}]}, "weights"),
        ({"files": [{**FILE, "digests": {"sha_256": "0" * 64}}]}, "sha256"),
    ):
        with pytest.raises(errors.RegistryFormatError) as caught:
            validate_card("mine", {**CARD, **change})
        assert meant in (caught.value.hint or "")


def test_the_hint_says_what_the_field_is():
    with pytest.raises(errors.RegistryFormatError) as caught:
        validate_card("mine", {**CARD, "licence": 3})
    assert "SPDX" in (caught.value.hint or "")


def test_a_registry_is_validated_by_its_path_too(tmp_path):
    path = tmp_path / "own.json"
    path.write_text('{"schema_version": 1, "models": {"mine": {"title": 1}}}')
    with pytest.raises(errors.RegistryFormatError, match=r"own\.json: card 'mine'"):
        validate_registry(path)
    path.write_text('{"schema_version": 1, "models": {}}')
    validate_registry(str(path))
    with pytest.raises(errors.RegistryError):
        validate_registry(tmp_path / "nothing.json")
