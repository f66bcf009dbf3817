"""Every built-in card keeps every rule; nothing of a card is lost when it is read and written again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelzoo.networks import NETWORKS
from modelzoo.registry import Card, check_entry, check_registry
from modelzoo.registry.loading import builtin_registry

MODELS = builtin_registry().models
CONVERTERS: tuple[str, ...] = ()


@pytest.mark.parametrize("name", MODELS)
def test_a_built_in_card_has_no_error(name):
    problems = check_entry(name, MODELS[name], networks=NETWORKS, converters=CONVERTERS)
    assert [str(problem) for problem in problems if problem.level == "error"] == []


def test_names_and_aliases_are_unique_and_variants_are_cards():
    assert [str(problem) for problem in check_registry(MODELS) if problem.level == "error"] == []


def test_no_name_stands_twice_in_the_file():
    pairs = json.loads(builtin_registry().data, object_pairs_hook=list)
    names = [name for name, _ in dict(pairs)["models"]]
    assert len(names) == len(set(names)) >= 40
    assert names == sorted(names)


@pytest.mark.parametrize("name", MODELS)
def test_a_card_survives_a_round_trip(name):
    card = Card.from_dict(name, MODELS[name])
    again = Card.from_dict(name, card.as_dict())
    assert again == card
    assert again.as_dict() == card.as_dict()
    assert card.extra == {}


def test_inception_v1_is_complete():
    card = Card.from_dict("inception_v1", MODELS["inception_v1"])
    assert card.trust == "pinned"
    assert card.files[0].members[0].role == "weights"
    assert card.inputs[0].preprocess is not None and card.inputs[0].preprocess.crop_fraction == 0.875
    assert (card.labels.offset, card.labels.count, card.outputs[0].classes) == (1, 1001, 1001)  # type: ignore[union-attr]
    assert card.accuracy is not None and card.accuracy.source and card.accuracy.protocol
    assert card.taps and card.paper and card.sources and card.licence == "Apache-2.0"
    assert card.available


def good() -> dict:
    return json.loads(json.dumps(MODELS["inception_v1"]))


def rules(card: dict, **options) -> set[str]:
    found = check_entry("mine", card, networks=NETWORKS, converters=CONVERTERS, **options)
    return {problem.rule for problem in found if problem.level == "error"}


def test_each_rule_finds_what_it_is_for():
    assert rules(good()) == set()
    card = good()
    card["files"][0]["urls"].reverse()
    assert rules(card) == {"urls"}
    card = good()
    card["files"][0]["members"][0]["path"] = "../../evil"
    assert rules(card) == {"names"}
    card = good()
    card["labels"]["offset"] = 0
    assert "labels" in rules(card)
    card = good()
    card["build"] = {"network": "resnet_of_nobody"}
    assert rules(card) == {"build"}
    card = good()
    card["build"]["needs"] = ["network inception_v1"]
    assert rules(card) == {"build"}
    card = good()
    del card["inputs"][0]["preprocess"]
    assert rules(card) == {"preprocessing"}
    card = good()
    card["inputs"][0]["preprocess"]["mean"] = [1.0, 2.0]
    assert rules(card) == {"preprocessing"}
    card = good()
    card["accuracy"]["top1"] = 95.0
    assert rules(card) == {"accuracy"}
    card = good()
    card["files"][0]["urls"] = [{"url": "package:modelzoo/bundled/nothing.tar.gz", "kind": "package"}]
    assert rules(card) == {"urls"}
    card = good()
    card["files"][0]["digests"]["sha256"] = "../../etc/passwd"
    assert rules(card) == {"schema"}


def test_weak_trust_and_unknown_licences_are_warnings():
    card = good()
    card["licence"] = "unknown"
    card["files"][0]["digests"] = {"md5": "0" * 32}
    levels = {(p.rule, p.level) for p in check_entry("mine", card, networks=NETWORKS)}
    assert {("licence", "warning"), ("digests", "warning")} <= levels
    assert "error" not in {level for _, level in levels}


def test_the_schema_is_one_and_refers_only_to_what_it_defines():
    import jsonschema

    from modelzoo.registry.validate import schema

    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator(schema()).validate({"schema_version": 1, "models": MODELS})


def test_the_example_of_the_documentation_is_a_registry():
    from modelzoo.registry import validate_registry

    text = (Path(__file__).resolve().parents[2] / "docs" / "registry.md").read_text()
    examples = [part.split("```")[0] for part in text.split("```json\n")[1:]]
    assert examples
    for example in examples:
        validate_registry(json.loads(example))
        for name, card in json.loads(example)["models"].items():
            assert [str(p) for p in check_entry(name, card, networks=NETWORKS) if p.level == "error"] == []
