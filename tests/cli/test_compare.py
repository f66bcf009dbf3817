"""`modelzoo compare`: facts of the cards, counts of the networks, speed here, and nothing downloaded."""

from __future__ import annotations

import pytest

from modelzoo.cli.compare import _percent, _short
from tests.cli import invented
from tests.cli.conftest import Run, Tiny


@pytest.fixture
def registry(tiny: Tiny, tmp_path):
    """`tiny_v1`, the same at half its width with accuracy on its card, and one that has to be converted."""
    half = tiny.card | {
        "aliases": [],
        "licence": "MIT",
        "build": {"network": "inception_v1", "args": {"width": 0.25}},
        "accuracy": {"top1": 69.8, "top5": 89.6, "dataset": "ILSVRC-2012 validation", "source": "a page",
                     "metrics": {"mAP": 33.1}},
    }  # fmt: skip
    onnx = tiny.card | {"aliases": [], "build": {"converter": "onnx"}, "framework": "onnx", "format": "onnx"}
    return invented.registry_file(tmp_path / "three.json", tiny_v1=tiny.card, half=half, graph=onnx)


def test_the_table(run: Run, registry) -> None:
    ran = run("compare", "tiny", "half", "--no-measure", "--registry", registry)
    assert ran.code == 0
    header, *lines = [line.split() for line in ran.out.splitlines()]
    assert header == ["NAME", "PARAMETERS", "MULT-ADDS", "SIZE", "TOP-1", "TOP-5", "LICENCE"]
    assert [line[0] for line in lines] == ["tiny_v1", "half"]
    assert lines[0][-1] == "Apache-2.0" and lines[0][-3:-1] == ["-", "-"]
    assert lines[1][-5:] == ["69.8", "%", "89.6", "%", "MIT"]
    assert "half: accuracy (ILSVRC-2012 validation, mAP 33.1) from a page" in ran.err
    assert ran.err.count("weights not cached; the untrained network was built") == 2


def test_json_holds_what_the_table_holds_in_full(run: Run, registry) -> None:
    import modelzoo
    from modelzoo.networks.multiply_adds import count_multiply_adds

    tiny, half = run("compare", "tiny_v1", "half", "--no-measure", "--json", "--registry", registry).json
    model = modelzoo.load_pretrained("half", weights=None, registries=[registry])
    assert half["parameters"] == model.count_params()
    assert half["multiply_adds"] == count_multiply_adds(model).count > tiny["multiply_adds"] > 0
    assert half["top1"] == 69.8 and half["accuracy_source"] == "a page" and half["metrics"] == {"mAP": 33.1}
    assert tiny["top1"] is None and tiny["accuracy_source"] is None
    assert tiny["images_per_second"] is None and tiny["weights"] == "untrained"
    assert tiny["size"] == modelzoo.info("tiny_v1", registries=[registry]).size


def test_speed_is_measured_here(run: Run, registry) -> None:
    ran = run("compare", "tiny_v1", "--batch", "3", "--json", "--registry", registry)
    (row,) = ran.json
    assert row["images_per_second"] > 0 and row["batch"] == 3
    shown = run("compare", "tiny_v1", "--batch", "2", "--registry", registry)
    assert shown.out.splitlines()[0].endswith("IMAGES/S")
    assert float(shown.out.split()[-1]) > 0
    assert "images/s: median of runs, 2 pictures at once, on " in shown.err


def test_cached_weights_are_used(run: Run, registry) -> None:
    assert run("fetch", "tiny_v1", "--registry", registry).code == 0
    ran = run("compare", "tiny_v1", "half", "--no-measure", "--json", "--registry", registry)
    assert [row["weights"] for row in ran.json] == ["cached", "untrained"]
    assert [row["note"] is None for row in ran.json] == [True, False]


def test_nothing_is_fetched(run: Run, registry) -> None:
    assert run("compare", "tiny_v1", "graph", "--no-measure", "--registry", registry).code == 0
    assert run("list", "--cached", "-q", "--registry", registry).out == ""


def test_what_cannot_be_built_is_listed_with_the_reason(run: Run, registry) -> None:
    ran = run("compare", "graph", "tiny_v1", "--no-measure", "--registry", registry)
    assert ran.code == 0
    first, second = ran.out.splitlines()[1:]
    assert first.split()[:3] == ["graph", "-", "-"] and second.split()[1] != "-"
    assert "graph: not cached, and its file says what it is: modelzoo fetch graph" in ran.err


def test_a_name_counts_once_and_quiet_prints_names(run: Run, registry) -> None:
    ran = run("compare", "tiny", "half", "tiny_v1", "-q", "--no-measure", "--registry", registry)
    assert (ran.out, ran.err) == ("tiny_v1\nhalf\n", "")


def test_an_unknown_name_is_said_before_anything_is_built(run: Run, registry) -> None:
    ran = run("compare", "tiny_v1", "tiny_v2", "--registry", registry)
    assert (ran.code, ran.out) == (3, "")
    assert "tiny_v1" in ran.err
    assert run("compare").code == 2
    assert run("compare", "tiny_v1", "--batch", "0").code == 2


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "-"), (0, "0"), (999, "999"), (1000, "1.00 k"), (25_636_712, "25.6 M"), (999_600, "1.00 M"),
     (3_857_973_248, "3.86 G"), (138_357_544, "138 M"), (15_470_264_320, "15.5 G")],
)  # fmt: skip
def test_numbers_have_three_digits(number, text) -> None:
    assert _short(number) == text


def test_percent() -> None:
    assert [_percent(None), _percent(69.8), _percent(92.0)] == ["-", "69.8 %", "92 %"]
