"""Names of classes, and scores turned into them."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import ArrayError, InputError
from modelzoo.preprocess import Labels
from tests.data_folder import DATA, needs_data

ABC = Labels(("a", "b", "c"), offset=1)


def test_imagenet_has_1000_names_each_once():
    labels = Labels.imagenet()
    assert len(labels) == len(labels.names) == len(set(labels.names)) == len(set(labels.synsets)) == 1000
    assert (labels[0], labels[258], labels[386], labels[999]) == (
        "tench",
        "Samoyed",
        "African elephant",
        "toilet tissue",
    )
    assert labels.synsets[0] == "n01440764"
    assert list(labels.synsets) == sorted(labels.synsets)


def test_a_background_comes_before_the_names():
    labels = Labels.imagenet(offset=1)
    assert len(labels) == 1001
    assert (labels[0], labels[1], labels[1000]) == ("background", "tench", "toilet tissue")
    assert list(labels)[:2] == ["background", "tench"]


@needs_data
def test_imagenets_names_are_those_of_its_synsets():
    assert DATA is not None
    lines = (DATA / "labels" / "synset_words.txt").read_text().splitlines()
    labels = Labels.imagenet()
    assert list(labels.synsets) == [line.split(" ", 1)[0] for line in lines]
    first = [line.split(" ", 1)[1].split(",")[0].strip() for line in lines]
    other = [(a, b) for a, b in zip(labels.names, first, strict=True) if a != b]
    assert other == [  # WordNet calls two cranes and two maillots alike
        ("crane (bird)", "crane"),
        ("crane (machine)", "crane"),
        ("maillot (tights)", "maillot"),
        ("maillot (tank suit)", "maillot"),
    ]


@pytest.mark.parametrize("name", ["imagenet", "imagenet_1000", "imagenet1k", "ilsvrc2012"])
def test_imagenet_goes_by_several_names(name):
    assert Labels.load(name).names == Labels.imagenet().names


def test_an_unknown_data_set_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'imagenet"):
        Labels.load("imagnet")


def test_logits_become_probabilities():
    ((first, second),) = ABC.decode(np.array([[0.0, 1.0, 3.0, 2.0]], np.float32), top=2)
    weights = np.exp([0.0, 1.0, 3.0, 2.0])
    assert (first.label, first.index) == ("b", 2)
    assert first.probability == pytest.approx(weights[2] / weights.sum())
    assert (second.label, second.index) == ("c", 3)


def test_probabilities_are_taken_as_they_are():
    ((best,),) = ABC.decode([0.1, 0.2, 0.6, 0.1], top=1, kind="probabilities")
    assert tuple(best) == ("b", 0.6, 2)


def test_large_logits_do_not_overflow():
    (row,) = ABC.decode([1e30, -1e30, 0.0, 0.0], top=4)
    assert (row[0].label, row[0].probability) == ("background", 1.0)


def test_equals_come_in_the_order_of_the_classes():
    (row,) = ABC.decode([1, 1, 1, 1], top=4)
    assert [guess.label for guess in row] == ["background", "a", "b", "c"]


def test_top_is_at_most_the_number_of_classes():
    assert [len(row) for row in ABC.decode(np.zeros((2, 4)), top=99)] == [4, 4]


@pytest.mark.parametrize(
    "scores",
    [np.zeros(3), np.zeros((1, 5)), np.zeros((1, 1, 4)), [np.nan, 0, 0, 0], [np.inf, 0, 0, 0], ["a"] * 4, 0.5],
    ids=repr,
)
def test_scores_that_do_not_fit_are_refused(scores):
    with pytest.raises(ArrayError):
        ABC.decode(scores)


@pytest.mark.parametrize("options", [{"kind": "features"}, {"top": 0}, {"top": True}, {"top": 1.5}], ids=str)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(InputError):
        ABC.decode(np.zeros(4), **options)


def test_a_file_has_a_name_a_line_with_or_without_synsets(tmp_path):
    (tmp_path / "plain.txt").write_text("# hash\nbee\n")
    assert Labels.from_file(tmp_path / "plain.txt").names == ("# hash", "bee")
    (tmp_path / "synsets.txt").write_text("n01440764 tench, Tinca tinca\nn01443537\tgoldfish\n")
    labels = Labels.from_file(tmp_path / "synsets.txt", offset=1)
    assert labels.names == ("tench, Tinca tinca", "goldfish")
    assert labels.synsets == ("n01440764", "n01443537")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xff\xfe\xff"], ids=repr)
def test_a_file_without_names_is_refused(tmp_path, data):
    (tmp_path / "labels.txt").write_bytes(data)
    with pytest.raises(InputError):
        Labels.from_file(tmp_path / "labels.txt")


def test_a_card_gives_a_data_set_names_or_a_file(tmp_path):
    (tmp_path / "labels.txt").write_text("x\ny\n")
    assert len(Labels.from_dict({"dataset": "imagenet", "offset": 1, "count": 1001})) == 1001
    assert Labels.from_dict({"names": ["x", "y"]}).names == ("x", "y")
    assert Labels.from_dict({"file": "labels.txt", "count": 2}, folder=tmp_path).names == ("x", "y")


@pytest.mark.parametrize(
    "said",
    [{}, {"names": ["x"], "count": 2}, {"file": "labels.txt"}, {"names": "xy"}, {"names": [1]}, {"dataset": "mnist"}],
    ids=str,
)
def test_a_card_that_contradicts_itself_is_refused(said):
    with pytest.raises(InputError):
        Labels.from_dict(said)


def test_labels_that_make_no_sense_are_refused():
    for arguments in (((),), (("a",), -1), (("a",), 0, ("s", "t"))):
        with pytest.raises(InputError):
            Labels(*arguments)
