"""`demo`: from the card to a picture, told step by step; the second time from the cache."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from modelzoo.cli import demo
from tests.cli import invented
from tests.cli.conftest import NAMES, Run, Tiny, draw

STEPS = ["card", "files", "TensorFlow", "model", "features", "classes", "picture"]


@pytest.fixture
def registry(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry whose small model stands in for the bundled one; its sample picture is noise."""
    sample = draw(tmp_path / "sample.png")
    monkeypatch.setattr(demo, "_sample", lambda: sample)
    card = tiny.card | {"notes": ["It knows nothing."]}
    return invented.registry_file(tmp_path / "registry.json", **{demo.NAME: card})


def test_the_demo_says_what_it_did_and_draws_a_page(run: Run, registry: Path, tiny: Tiny, tmp_path: Path) -> None:
    ran = run("demo", "--registry", registry)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    steps = [line for line in lines if re.search(r" \d+\.\d\d s$", line)]
    assert [line.split()[0] for line in steps] == STEPS
    # A long path is broken over lines, wherever the test's folder lies.
    assert f"fetchedfrom{tiny.archive.as_uri()}" in re.sub(r"\s+|\d+\.\d\d s$", "", ran.out, flags=re.MULTILINE)
    assert any(line.strip() == str(tmp_path / "cache" / "models" / demo.NAME) for line in lines)
    assert "Mixed_4f: 4 x 4 x 104" in ran.out
    assert len(re.findall(r"^[a-z ]{10} +\d+\.\d%  \w+", ran.out, flags=re.MULTILINE)) == len(NAMES)
    assert re.search(r"^\d+\.\d s in all\.", lines[-2])
    assert lines[-1] == "It knows nothing."
    with Image.open("modelzoo-demo.png") as page:
        assert page.size[0] == 2080
    assert [path.name for path in Path().iterdir()] == ["modelzoo-demo.png"]


def test_the_second_demo_takes_the_files_from_the_cache(run: Run, registry: Path, tiny: Tiny) -> None:
    first = run("demo", "--registry", registry, "--json").json
    tiny_is_gone = invented.registry_file(registry, **{demo.NAME: tiny.card | {"files": moved(tiny.card["files"])}})
    again = run("demo", "--registry", tiny_is_gone, "--json", "--offline", "--out", "again.png").json
    assert (first["cached"], again["cached"]) == (False, True)
    assert again["classes"] == first["classes"]
    assert set(again["seconds"]) == set(STEPS)
    assert len(again["taps"]) == 3
    assert {one["label"] for one in again["classes"]} == set(NAMES)
    assert Path("again.png").read_bytes() == Path("modelzoo-demo.png").read_bytes()


def moved(files: list[dict]) -> list[dict]:
    return [file | {"urls": [{"url": "file:///nowhere/tiny.tar.gz", "kind": "original"}]} for file in files]


@pytest.mark.parametrize(("out", "code"), [("demo.jpg", 2), ("nowhere/demo.png", 10)])
def test_a_place_that_cannot_take_the_picture_is_said_first(run: Run, registry: Path, out: str, code: int) -> None:
    ran = run("demo", "--registry", registry, "--out", out)
    assert (ran.code, ran.out) == (code, "")
    assert "Hint: " in ran.err


def test_quiet_prints_the_path_of_the_picture(run: Run, registry: Path) -> None:
    ran = run("demo", "-q", "--registry", registry)
    assert (ran.out, ran.err) == ("modelzoo-demo.png\n", "")
