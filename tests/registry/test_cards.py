"""Every built-in card keeps every rule; nothing of a card is lost when it is read and written again."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modelzoo import errors
from modelzoo.networks import KNOWN_NETWORKS, NETWORKS
from modelzoo.registry import Card, check_entry, check_registry, validate_registry
from modelzoo.registry.card import DEEPEST
from modelzoo.registry.loading import builtin_registry

MODELS = builtin_registry().models
CONVERTERS = ("caffe", "onnx", "tensorflow")


@pytest.mark.parametrize("name", MODELS)
def test_a_built_in_card_has_no_error(name):
    problems = check_entry(name, MODELS[name], networks=KNOWN_NETWORKS, converters=CONVERTERS)
    assert [str(problem) for problem in problems if problem.level == "error"] == []
    assert {problem.rule for problem in problems} <= {"digests", "licence", "labels", "preprocessing", "urls"}
    if "network" in MODELS[name].get("build", {}):  # of what our code builds, all is known
        assert {problem.rule for problem in problems} <= {"digests", "licence"}


def test_names_and_aliases_are_unique_and_variants_are_cards():
    found = check_registry(MODELS, networks=KNOWN_NETWORKS, converters=CONVERTERS)
    assert [str(problem) for problem in found if problem.level == "error" or problem.rule == "variants"] == []


def test_the_registry_is_as_large_and_as_trustworthy_as_it_says():
    cards = [Card.from_dict(name, raw) for name, raw in MODELS.items()]
    trust = [card.trust for card in cards]
    assert len(cards) >= 684
    assert trust.count("pinned") >= 365
    assert {card.framework for card in cards} == {"caffe", "keras", "onnx", "tensorflow", "tf-slim"}
    assert sum(card.available for card in cards) >= 460
    for card in cards:
        assert card.sources, card.name
        assert card.licence == "unknown" or card.licence.isprintable()
        assert (
            all(file.pinned for file in card.files if not file.optional) == (card.trust == "pinned") or not card.files
        )


def test_a_built_in_card_can_preprocess_what_it_says_it_takes():
    from modelzoo.attributes import card_preprocess

    image = np.random.default_rng(0).integers(0, 256, (47, 61, 3), np.uint8)
    seen = 0
    for name in sorted(MODELS)[::5]:
        card = Card.from_dict(name, MODELS[name])
        preprocess = card_preprocess(card) if not any(f.role == "mean" for f in card.files) else None
        shape = card.inputs[0].shape if card.inputs else ()
        if preprocess is not None and None not in shape:
            seen += 1
            assert preprocess(image).shape[-3:] == shape, name
    assert seen >= 60


def test_no_name_stands_twice_in_the_file_and_they_are_sorted():
    def refuse_doubles(pairs):
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    names = list(json.loads(builtin_registry().data, object_pairs_hook=refuse_doubles)["models"])
    assert len(names) >= 40
    assert names == sorted(names)


@pytest.mark.parametrize("name", MODELS)
def test_a_card_is_written_as_it_was_read(name):
    card = Card.from_dict(name, MODELS[name])
    assert card.as_dict() == MODELS[name]
    assert Card.from_dict(name, card.as_dict()) == card
    assert card.extra == {}


def test_a_card_can_be_copied_pickled_hashed_and_not_changed():
    card = Card.from_dict("inception_v1", MODELS["inception_v1"])
    for twin in (pickle.loads(pickle.dumps(card)), copy.deepcopy(card)):
        assert twin == card
        assert hash(twin) == hash(card)
        assert twin.as_dict() == MODELS["inception_v1"]
    with pytest.raises(AttributeError):
        card.title = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        card.files[0].digests["sha256"] = "0" * 64  # type: ignore[index]


def test_a_card_made_in_python_leaves_out_what_is_the_default():
    assert Card("mine", "Mine", "embedding", "onnx").as_dict() == {
        "title": "Mine",
        "task": "embedding",
        "framework": "onnx",
    }


def test_inception_v1_is_complete():
    card = Card.from_dict("inception_v1", MODELS["inception_v1"])
    assert card.trust == "pinned"
    assert card.files[0].members[0].role == "weights"
    assert card.inputs[0].preprocess is not None and card.inputs[0].preprocess.crop_fraction == 0.875
    assert (card.labels.offset, card.labels.count, card.outputs[0].classes) == (1, 1001, 1001)  # type: ignore[union-attr]
    assert card.accuracy is not None and card.accuracy.source and card.accuracy.protocol
    assert card.licence == "Apache-2.0"
    assert card.available
    empty = {key for key in vars(card) if not getattr(card, key)} - {"extra", "style", "_given"}
    assert empty == set()


FACTS = {
    "inception": {"crop_fraction", "interpolation", "half_pixel_centers", "mean", "std"},
    "vgg": {"resize_side", "interpolation", "half_pixel_centers", "mean"},
    "torch": {"resize_side", "interpolation", "mean", "std"},
    "keras_tf": {"interpolation", "mean", "std"},
    "keras_caffe": {"interpolation", "mean"},
    "keras_torch": {"interpolation", "mean", "std"},
    "caffe": {"interpolation", "mean"},
    "inside": {"interpolation"},
    "rescale": {"interpolation", "mean", "std"},
    "lenet": {"mean", "std"},
    "cifarnet": set(),
}


def test_built_in_cards_of_one_family_state_the_same_numbers():
    numbers: dict[str, set[str]] = {}
    for name, raw in MODELS.items():
        for one in raw.get("inputs", ()):
            how = one.get("preprocess")
            if how is None:
                continue
            assert FACTS[how["family"]] <= set(how), name
            said = {key: how[key] for key in ("crop_fraction", "half_pixel_centers", "mean", "std") if key in how}
            numbers.setdefault(how["family"], set()).add(json.dumps(said, sort_keys=True))
    varied = {family for family, said in numbers.items() if len(said) > 1}
    assert varied <= {"caffe", "rescale", "inside"}  # whose networks were trained with numbers of their own


def good() -> dict:
    return copy.deepcopy(MODELS["inception_v1"])


def rules(card: dict, level: str = "error") -> set[str]:
    found = check_entry("mine", card, networks=KNOWN_NETWORKS, converters=CONVERTERS)
    return {problem.rule for problem in found if problem.level == level}


def test_a_good_card_breaks_no_rule():
    assert rules(good()) == set()


def _urls(*urls, kind="original"):
    return lambda card: card["files"][0].update(urls=[{"url": url, "kind": kind} for url in urls])


def _how(**facts):
    return lambda card: card["inputs"][0]["preprocess"].update(facts)


def _members(*members):
    return lambda card: card["files"][0].update(members=list(members))


BREAKS = {
    "http before https": ("urls", lambda card: card["files"][0]["urls"].reverse()),
    "no URL": ("urls", _urls()),
    "half an IPv6 address": ("urls", _urls("http://[bad/x")),
    "no such port": ("urls", _urls("http://host:99999/x")),
    "no host": ("urls", _urls("https:///x")),
    "not in the package": ("urls", _urls("package:modelzoo/bundled/nothing.tar.gz", kind="package")),
    "out of the package": ("urls", _urls("package:../../etc/passwd", kind="package")),
    "not of its kind": ("urls", _urls("package:modelzoo/py.typed", kind="mirror")),
    "a path as digest": ("schema", lambda card: card["files"][0]["digests"].update(sha256="../../etc/passwd")),
    "an unknown digest": ("schema", lambda card: card["files"][0]["digests"].update(sha_256="0" * 64)),
    "a member outside": ("names", _members({"path": "../../evil", "role": "weights"})),
    "a device of Windows": ("names", _members({"path": "a", "name": "aux.h5", "role": "weights"})),
    "one name in two cases": ("names", _members({"path": "A", "role": "weights"}, {"path": "a", "role": "index"})),
    "nothing taken out": ("names", _members()),
    "members of a plain file": ("names", lambda card: card["files"][0].update(role="weights")),
    "silence about the licence": ("licence", lambda card: card.pop("licence")),
    "an alias that is its name": ("aliases", lambda card: card.update(aliases=["mine"])),
    "labels without the background": ("labels", lambda card: card["labels"].update(offset=0)),
    "labels of another width": ("labels", lambda card: card["labels"].update(count=1000)),
    "too few names": ("labels", lambda card: card.update(labels={"names": ["cat", "dog"]})),
    "no names at all": ("labels", lambda card: card.update(labels={"offset": 1})),
    "a file of labels that is none": ("labels", lambda card: card.update(labels={"file": "labels.txt"})),
    "no output": ("labels", lambda card: card.pop("outputs")),
    "a network of nobody": ("build", lambda card: card.update(build={"network": "resnet_of_nobody"})),
    "a converter of nobody": ("build", lambda card: card.update(build={"converter": "torch"})),
    "nothing builds it": ("build", lambda card: card.pop("build")),
    "a need that is met": ("build", lambda card: card["build"].update(needs=["network inception_v1"])),
    "no input": ("preprocessing", lambda card: card.pop("inputs")),
    "no preprocessing": ("preprocessing", lambda card: card["inputs"][0].pop("preprocess")),
    "no order of colours": ("preprocessing", lambda card: card["inputs"][0].pop("colour")),
    "two means": ("preprocessing", _how(mean=[1.0, 2.0])),
    "another size": ("preprocessing", _how(size=[299, 299])),
    "a crop that does not fit": ("preprocessing", _how(resize_side=192)),
    "two resizes": ("preprocessing", _how(resize_side=256, resize=[256, 256])),
    "a resize to no square": ("preprocessing", _how(resize=[256, 300])),
    "a mean image that is no file": ("preprocessing", _how(mean_file="mean.npy")),
    "one name for two inputs": ("preprocessing", lambda card: card["inputs"].append(card["inputs"][0])),
    "top-1 above top-5": ("accuracy", lambda card: card["accuracy"].update(top1=95.0)),
    "an accuracy of nothing": ("accuracy", lambda card: card.update(accuracy={"source": "hearsay"})),
    "a tap of a space": ("taps", lambda card: card.update(taps=["Mixed_4f "])),
}


@pytest.mark.parametrize("case", BREAKS)
def test_each_rule_finds_what_it_is_for(case):
    rule, change = BREAKS[case]
    card = good()
    change(card)
    assert rules(card) == {rule}


def test_a_converted_file_may_say_itself_what_goes_in_and_comes_out():
    card = good() | {"build": {"converter": "onnx"}}
    for field in ("inputs", "outputs"):
        del card[field]
    assert rules(card) == set()
    assert {"preprocessing", "labels"} <= rules(card, "warning")
    card = good() | {"build": {"converter": "onnx"}}
    del card["inputs"][0]["preprocess"]
    assert rules(card) == set()
    assert "preprocessing" in rules(card, "warning")


def test_taps_are_compared_with_those_that_the_model_has():
    def taps(card):
        return ["Conv2d_1a_7x7", "Mixed_4f"] if card.name == "mine" else None

    card = good() | {"taps": ["Mixed_4f", "Mixed_4g"]}
    (problem,) = [one for one in check_entry("mine", card, taps=taps) if one.rule == "taps"]
    assert problem.level == "error"
    assert "'Mixed_4g'" in problem.text
    assert "'Mixed_4f'" in problem.text  # the nearest that there is
    assert not [one for one in check_entry("other", card, taps=taps) if one.rule == "taps"]


@pytest.mark.slow
def test_the_taps_of_the_built_in_cards_are_those_of_their_networks():
    from modelzoo import networks

    known: dict[str, set[str]] = {}

    def taps(card):
        if card.build.network not in NETWORKS or card.build.needs:
            return None
        key = json.dumps([card.build.network, card.build.args])
        if key not in known:
            known[key] = set(networks.build(card.build.network, **card.build.args).taps)
        if set(card.taps) <= known[key]:
            return known[key]
        shape = tuple(card.inputs[0].shape)  # some end points have another name at another size
        return set(networks.build(card.build.network, input_shape=shape, **card.build.args).taps)

    found = check_registry(MODELS, taps=taps)
    assert [str(problem) for problem in found if problem.rule == "taps"] == []
    assert len(known) >= 33


def test_several_inputs_and_mean_files_and_labels_from_an_archive_are_right():
    card = good()
    card["files"][0]["members"] += [{"path": "a/mean.npy", "name": "mean.npy", "role": "mean"}]
    card["files"][0]["members"] += [{"path": "labels.txt", "role": "labels"}]
    card["inputs"].append(copy.deepcopy(card["inputs"][0]) | {"name": "right eye", "colour": "BGR"})
    card["inputs"][1]["preprocess"] = {"family": "caffe", "resize": [256, 256], "mean_file": "mean.npy"}
    card["labels"] = {"file": "labels.txt", "offset": 1}
    assert rules(card) == set()


def test_weak_trust_unknown_licences_and_http_alone_are_warnings():
    card = good()
    card["licence"] = "unknown"
    card["files"][0]["digests"] = {"md5": "0" * 32}
    card["files"][0]["urls"] = card["files"][0]["urls"][-1:]
    assert rules(card) == set()
    assert rules(card, "warning") == {"licence", "digests", "urls"}


def test_doubled_aliases_and_strange_variants_are_found_over_all_cards():
    one, two = good(), good()
    one["aliases"], two["aliases"] = ["twin"], ["twin", "one"]
    one["variants"] = ["nobody"]
    found = check_registry({"one": one, "two": two, "broken": 3}, networks=KNOWN_NETWORKS)  # type: ignore[dict-item]
    texts = [(problem.card, problem.rule, problem.level) for problem in found if problem.rule != "digests"]
    assert texts.count(("two", "aliases", "error")) == 2
    assert ("one", "variants", "warning") in texts
    assert ("broken", "schema", "error") in texts


def test_a_value_without_a_bottom_is_refused():
    deep: dict = {}
    for _ in range(DEEPEST + 500):
        deep = {"deeper": deep}
    for card in (good() | {"more": deep}, good() | {"build": {"args": deep}}, good() | {"title": deep}):
        assert rules(card) == {"schema"}
        with pytest.raises(errors.RegistryFormatError):
            Card.from_dict("mine", card)


def test_the_example_of_the_documentation_is_a_registry():
    text = (Path(__file__).resolve().parents[2] / "docs" / "registry.md").read_text(encoding="utf-8")
    examples = [part.split("```")[0] for part in text.split("```json\n")[1:]]
    assert examples
    for example in map(json.loads, examples):
        validate_registry(example)
        assert [str(problem) for problem in check_registry(example["models"], networks=KNOWN_NETWORKS)] == []


def test_checking_cards_needs_neither_numpy_nor_tensorflow():
    program = (
        "import sys; from modelzoo.networks import KNOWN_NETWORKS; from modelzoo.registry import check_registry;"
        "from modelzoo.registry.loading import builtin_registry as own;"
        "assert not any(p.level == 'error' for p in check_registry(own().models, networks=KNOWN_NETWORKS));"
        "print({'numpy', 'tensorflow', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
