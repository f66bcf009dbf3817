"""`features`: what is read, what is written, how it is resumed, and what is said about pictures that are none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run, Tiny, draw


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(["b.png", "a.png", "c.png"]):
        draw(folder / name, seed)
    return folder


def words(tiny: Tiny, *more: str | Path) -> list[str | Path]:
    return ["features", "tiny_v1", *more, "--tap", "Mixed_3c", "--pooling", "avg", "--registry", tiny.registry]


def test_unreadable_pictures_are_listed_and_the_exit_code_says_so(run: Run, tiny: Tiny, photos: Path) -> None:
    (photos / "b.png").write_bytes(b"not a picture")
    ran = run(*words(tiny, photos, "-o", "f.npz"))
    assert ran.code == 15
    assert ran.out.splitlines()[0].startswith("f.npz  2 pictures, ")
    first, header, row = ran.err.splitlines()
    assert first == "warning: 1 picture could not be read and has no row:"
    assert header.split() == ["picture", "reason"]
    assert row.split() == [str(photos / "b.png"), *["it", "is", "not", "a", "picture", "of", "a", "known", "format."]]
    assert np.load("f.npz")["Mixed_3c"].shape == (2, 60)
    assert [path.name for path in Path().iterdir()] == ["f.npz"]


def test_json_lists_rows_and_skipped_pictures(run: Run, tiny: Tiny, photos: Path) -> None:
    (photos / "b.png").write_bytes(b"")
    ran = run(*words(tiny, photos, "-o", "f.npz", "--json"))
    assert ran.code == 15
    assert [Path(path).name for path in ran.json["pictures"]] == ["a.png", "c.png"]
    (skipped,) = ran.json["skipped"]
    assert skipped["path"] == str(photos / "b.png")
    assert "0 bytes" in skipped["reason"]
    assert ran.json["resumed"] == 0


def test_a_file_that_a_list_names_and_that_is_gone_is_skipped(run: Run, tiny: Tiny, photos: Path) -> None:
    (photos / "list.txt").write_text("a.png\n\ngone.png\nc.png\n")
    ran = run(*words(tiny, photos / "list.txt", "-o", "f.npz", "--json"))
    assert ran.code == 15
    assert [Path(path).name for path in ran.json["pictures"]] == ["a.png", "c.png"]
    assert [Path(one["path"]).name for one in ran.json["skipped"]] == ["gone.png"]
    assert ran.err == "warning: 1 picture could not be read and has no row.\n"


def test_many_unreadable_pictures_do_not_fill_the_screen(run: Run, tiny: Tiny, photos: Path) -> None:
    for number in range(25):
        (photos / f"x{number:02}.png").write_bytes(b"not a picture")
    ran = run(*words(tiny, photos, "-o", "f.npz"))
    assert "25 pictures could not be read and have no row" in ran.err
    assert ran.err.splitlines()[-1].strip() == "... and 5 more; --json lists all"
    assert len(ran.err.splitlines()) == 23


def test_no_readable_picture_is_an_error(run: Run, tiny: Tiny, photos: Path) -> None:
    (photos / "b.png").write_bytes(b"not a picture")
    ran = run(*words(tiny, photos / "b.png", "-o", "f.npz"))
    assert (ran.code, ran.out) == (15, "")
    assert "b.png" in ran.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_a_list_of_pictures(run: Run, tiny: Tiny, photos: Path, name: str) -> None:
    (photos / name).write_text("c.png\na.png\n" if name == "list.txt" else "id,picture\n1,c.png\n2,a.png\n")
    column = [] if name == "list.txt" else ["--column", "picture"]
    ran = run(*words(tiny, photos / name, "-o", "f.npy", "--json"), *column)
    assert ran.code == 0, ran.err
    assert ran.json["pictures"] == [str(photos / "c.png"), str(photos / "a.png")]


def test_a_table_without_a_column_of_paths_is_refused(run: Run, tiny: Tiny, photos: Path, tmp_path: Path) -> None:
    (photos / "list.csv").write_text("id,picture\n1,c.png\n")
    ran = run(*words(tiny, photos / "list.csv", "-o", "f.npy"))
    assert (ran.code, ran.out) == (2, "")
    assert "--column" in ran.err
    assert not (tmp_path / "cache" / "models").exists()


def interrupted(run: Run, tiny: Tiny, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that Ctrl-C ends after its second batch."""
    from modelzoo.features.journal import Journal

    whole, calls = Journal.append, []

    def append(self: Journal, frame: bytes) -> object:
        result = whole(self, frame)
        calls.append(frame)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", append)
        ran = run(*words(tiny, photos, "-o", "f.npz", "--batch-size", "1"))
    assert (ran.code, "goes on from there" in ran.err) == (130, True)
    assert [path.name for path in Path().iterdir()] == [".f.npz.journal"]


def test_an_interrupted_run_goes_on(run: Run, tiny: Tiny, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(*words(tiny, photos, "-o", "whole.npz", "--batch-size", "1")).code == 0
    expected = Path("whole.npz").read_bytes()
    Path("whole.npz").unlink()
    interrupted(run, tiny, photos, monkeypatch)
    ran = run(*words(tiny, photos, "-o", "f.npz", "--batch-size", "1"))
    assert ran.code == 0, ran.err
    assert "2 pictures of an interrupted run were not computed again." in ran.err
    assert Path("f.npz").read_bytes() == expected


def test_an_interrupted_run_of_other_settings_is_not_lost(
    run: Run, tiny: Tiny, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(run, tiny, photos, monkeypatch)
    other = words(tiny, photos, "-o", "f.npz", "--batch-size", "2")
    ran = run(*other)
    assert (ran.code, ran.out) == (2, "")
    assert "the batch size changed" in ran.err
    assert "--restart" in ran.err
    assert run(*other, "--restart").code == 0
    assert [path.name for path in Path().iterdir()] == ["f.npz"]


@pytest.mark.parametrize("option", [["--address", "auto"], ["--workers", "2"]])
def test_options_of_ray_need_ray(run: Run, tiny: Tiny, photos: Path, option: list[str]) -> None:
    ran = run(*words(tiny, photos, "-o", "f.npz"), *option)
    assert (ran.code, ran.out) == (2, "")
    assert "--engine ray" in ran.err


def test_ray_that_is_not_installed_is_said_before_anything_is_fetched(
    run: Run, tiny: Tiny, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    ran = run(*words(tiny, photos, "-o", "f.npz", "--engine", "ray"))
    assert (ran.code, ran.out) == (16, "")
    assert 'pip install "modelzoo[ray]"' in ran.err
    assert not (tmp_path / "cache" / "models").exists()


@pytest.mark.slow
def test_ray_writes_the_same_bytes(run: Run, tiny: Tiny, photos: Path) -> None:
    pytest.importorskip("ray.data", reason='pip install "modelzoo[ray]"')
    assert run(*words(tiny, photos, "-o", "one.parquet", "--batch-size", "1")).code == 0
    ran = run(*words(tiny, photos, "-o", "two.parquet", "--batch-size", "1", "--engine", "ray", "--workers", "2"))
    assert ran.code == 0, ran.err
    assert Path("one.parquet").read_bytes() == Path("two.parquet").read_bytes()
