"""`similar`: nearest neighbours of a picture, and the contact sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelzoo.features.similar import cosines, draw_sheet
from tests.cli.conftest import Run, Tiny, draw


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A picture, a copy of it, one that is nearly the same, and two of other kinds."""
    folder = tmp_path / "album"
    folder.mkdir()
    draw(folder / "it.png", 1)
    (folder / "copy.png").write_bytes((folder / "it.png").read_bytes())
    pixels = np.asarray(Image.open(folder / "it.png")).copy()
    pixels[:20, :20] = 128
    Image.fromarray(pixels).save(folder / "touched.png")
    Image.new("RGB", (80, 60), (10, 200, 30)).save(folder / "green.png")
    ramp = np.linspace(0, 255, 80, dtype=np.uint8)
    Image.fromarray(np.broadcast_to(ramp[None, :, None], (60, 80, 3)).copy()).save(folder / "ramp.png")
    return folder


def test_the_nearest_come_first_and_the_picture_itself_not_at_all(run: Run, tiny: Tiny, album: Path) -> None:
    (album / "broken.png").write_bytes(b"no")
    ran = run(
        *("similar", album / "it.png", album, "--model", "tiny_v1", "--registry", tiny.registry),
        *("--tap", "Mixed_3c", "--json"),
    )
    assert ran.code == 0, ran.err
    near = ran.json["neighbours"]
    assert [Path(one["path"]).name for one in near[:2]] == ["copy.png", "touched.png"]
    assert {Path(one["path"]).name for one in near} == {"copy.png", "touched.png", "green.png", "ramp.png"}
    assert near[0]["cosine"] == pytest.approx(1.0, abs=1e-9)
    values = [one["cosine"] for one in near]
    assert values == sorted(values, reverse=True)
    assert values[1] < 1.0
    assert [Path(one["path"]).name for one in ran.json["skipped"]] == ["broken.png"]
    with Image.open("similar.png") as sheet:
        assert sheet.format == "PNG"


def test_the_model_of_the_package_needs_no_network(run: Run, album: Path) -> None:
    ran = run("similar", album / "it.png", album, "--top", "1", "-o", "sheet.png", "--offline", "-q")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{album / 'copy.png'}\t1.0000\n"
    assert [path.name for path in Path().iterdir()] == ["sheet.png"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["-o", "sheet.jpg"], 2, "PNG"),
        (["-o", "nowhere/sheet.png"], 10, "folder does not exist"),
        (["--model", "tiny_v2"], 3, "tiny_v1"),
        (["--top", "0"], 2, "--top"),
        (["--tap", "Mixed_9z", "--model", "tiny_v1"], 3, "Mixed_"),
    ],
)
def test_what_makes_no_sense_is_refused(
    run: Run, tiny: Tiny, album: Path, words: list[str], code: int, says: str
) -> None:
    ran = run("similar", album / "it.png", album, *words, "--registry", tiny.registry)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert list(Path().iterdir()) == []


def test_a_picture_that_is_none_and_a_folder_without_others(run: Run, tiny: Tiny, album: Path) -> None:
    assert run("similar", album / "missing.png", album).code == 15
    ran = run("similar", album / "it.png", album / "it.png", "--model", "tiny_v1", "--registry", tiny.registry)
    assert ran.code == 15
    assert "no other readable picture" in ran.err
    assert list(Path().iterdir()) == []


def test_cosines_are_those_of_the_angles() -> None:
    query = np.array([1.0, 0.0], np.float32)
    others = np.array([[2, 0], [0, 3], [-1, 0], [1, 1], [0, 0]], np.float32)
    np.testing.assert_allclose(cosines(query, others), [1, 0, -1, 0.5**0.5, 0], atol=1e-12)
    assert cosines(np.zeros(2, np.float32), others).tolist() == [0.0] * 5


@pytest.mark.parametrize("count", [1, 5, 6, 7, 13])
def test_every_neighbour_is_on_the_sheet(count: int) -> None:
    colours = [(20 * n + 10, 255 - 20 * n, 77) for n in range(count)]
    near = [(np.full((40, 40, 3), colour, np.uint8), "x" * 80, 0.5) for colour in colours]
    sheet = draw_sheet(np.zeros((40, 40, 3), np.uint8), near, title="t" * 200)
    seen = {colour for _, colour in sheet.getcolors(1 << 24)}
    assert set(colours) | {(0, 0, 0)} <= seen
