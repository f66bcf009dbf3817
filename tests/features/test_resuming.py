"""A run that is killed goes on where it stopped: no finished batch is computed again, none is lost, same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelzoo import errors
from modelzoo.features.extract import extract, find_pictures
from tests.features.killable import BATCH, Extractor

PICTURES = 18
FORMATS = ["npz", "parquet", "tfrecord"]

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    rng = np.random.default_rng(5)
    for number in range(PICTURES):
        Image.fromarray(rng.integers(0, 256, (9 + number, 12, 3), np.uint8)).save(root / f"{number:03}.png")
    (root / "005.png").write_bytes(b"<html>not found</html>")
    return root


@pytest.fixture(scope="module")
def child():
    """Sends one order to the program that is killed, returns its answer."""
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.features.killable"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root,
    )  # fmt: skip

    def ask(**order: object) -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order, default=str) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    yield ask
    process.stdin.close()
    process.stdout.close()
    assert process.wait(30) == 0


def here(folder, out, log, **options):
    return extract(Extractor(log, lambda: None), folder, out, batch_size=BATCH, progress=False, **options)


def computed(log: Path) -> int:
    return sum(map(int, log.read_text().split())) if log.exists() else 0


@forking
@pytest.mark.parametrize("ending", FORMATS)
def test_killed_at_any_moment(child, folder, tmp_path, ending):
    expected = tmp_path / f"whole.{ending}"
    log = tmp_path / "log"
    things = child(folder=folder, out=expected, log=log, at=0)
    assert things > 10
    assert computed(log) == PICTURES - 1
    complete = 0
    for at in range(1, things + 1):
        place = tmp_path / str(at)
        place.mkdir()
        order = {"folder": folder, "out": place / f"o.{ending}", "log": place.parent / f"log{at}"}
        assert child(**order, at=at) == -1
        if (place / f"o.{ending}").exists() and not (place / f".o.{ending}.journal").exists():
            complete += 1  # killed while it tidied up: whoever asks again wants it again
            continue
        assert child(**order, at=0) > 0
        assert (place / f"o.{ending}").read_bytes() == expected.read_bytes(), at
        assert [path.name for path in place.iterdir()] == [f"o.{ending}"], at
        # Only the batch that was computed and not yet written may be computed twice.
        assert computed(order["log"]) <= PICTURES - 1 + BATCH, at
    assert complete <= 3


@forking
def test_killed_again_and_again(child, folder, tmp_path):
    expected = tmp_path / "whole.npz"
    here(folder, expected, tmp_path / "log")
    order = {"folder": folder, "out": tmp_path / "o.npz", "log": tmp_path / "log2"}
    kills = 0
    for at in range(4, 100):
        if child(**order, at=at) > 0:
            break
        kills += 1
    assert kills >= 2
    assert (tmp_path / "o.npz").read_bytes() == expected.read_bytes()
    assert computed(tmp_path / "log2") <= PICTURES - 1 + kills * BATCH


@pytest.fixture
def journal(child, folder, tmp_path):
    """The journal of a run that was killed while it wrote its output, so with every batch; and the whole output."""
    whole = tmp_path / "whole.npz"
    things = child(folder=folder, out=whole, log=tmp_path / "log", at=0)
    place = tmp_path / "killed"
    place.mkdir()
    for at in range(things, 0, -1):
        assert child(folder=folder, out=place / "o.npz", log=tmp_path / "log1", at=at) == -1
        if (place / ".o.npz.journal").exists():
            return place / ".o.npz.journal", whole.read_bytes()
        (place / "o.npz").unlink()
    raise AssertionError("no journal was left")


@forking
def test_a_torn_journal_is_cut_at_its_last_whole_batch(journal, folder, tmp_path):
    path, expected = journal
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    out = path.with_name("o.npz")
    for cut in [0, 1, 15, 20, len(data) - 1, *rng.integers(0, len(data), 12).tolist()]:
        path.write_bytes(data[:cut])
        here(folder, out, tmp_path / "log2")
        assert out.read_bytes() == expected, cut
        assert not path.exists()


@forking
def test_damage_in_a_journal_is_computed_again(journal, folder, tmp_path):
    path, expected = journal
    data = path.read_bytes()
    out = path.with_name("o.npz")
    first = data.index(b"MZFJ", 4)
    for place in np.random.default_rng(1).integers(first, len(data), 12).tolist():
        changed = bytearray(data)
        changed[place] ^= 0x40
        path.write_bytes(changed)
        here(folder, out, tmp_path / "log2")
        assert out.read_bytes() == expected, place


@forking
def test_what_was_done_is_counted(journal, folder, tmp_path):
    path, _ = journal
    result = here(folder, path.with_name("o.npz"), tmp_path / "log2")
    assert result.resumed == PICTURES
    assert computed(tmp_path / "log2") == 0
    assert len(result.paths) == PICTURES - 1
    assert [skipped.name for skipped, _ in result.skipped] == ["005.png"]


@forking
@pytest.mark.parametrize("change", ["batch size", "picture", "one more", "taps"])
def test_other_settings_or_inputs_are_refused_until_the_old_work_is_thrown_away(
    journal, folder, tmp_path, monkeypatch, change
):
    path, expected = journal
    before = path.read_bytes()
    out = path.with_name("o.npz")
    options = {}
    if change == "picture":
        (folder / "003.png").write_bytes((folder / "004.png").read_bytes())
    elif change == "one more":
        (folder / "zzz.png").write_bytes((folder / "004.png").read_bytes())
    elif change == "taps":
        monkeypatch.setattr(Extractor, "taps", {"mean": None})
    else:
        options["batch_size"] = BATCH + 1
    extractor = Extractor(tmp_path / "log2", lambda: None)
    options = {"batch_size": BATCH, "progress": False, **options}
    with pytest.raises(errors.UsageError) as caught:
        extract(extractor, folder, out, **options)
    assert {"picture": "the pictures", "one more": "how many pictures"}.get(change, change) in caught.value.what
    assert "--restart" in (caught.value.hint or "")
    assert path.read_bytes() == before
    extract(extractor, folder, out, restart=True, **options)
    assert (out.read_bytes() == expected) == (change == "batch size")
    assert not path.exists()


def test_two_at_once_do_not_write_one_file(folder, tmp_path):
    from modelzoo.store.locks import held

    with held(tmp_path / ".o.npz.lock", wait=1.0), pytest.raises(errors.LockTimeoutError) as caught:
        here(folder, tmp_path / "o.npz", tmp_path / "log")
    assert str(tmp_path / "o.npz") in str(caught.value)
    assert not (tmp_path / "o.npz").exists()


def test_the_order_of_the_rows_is_that_of_the_inputs(folder, tmp_path):
    backwards = find_pictures(folder)[::-1]
    result = here(backwards, tmp_path / "o.npz", tmp_path / "log")
    assert result.paths == [path for path in backwards if path.name != "005.png"]
    one = Extractor(tmp_path / "log", lambda: None)
    with np.load(tmp_path / "o.npz") as out:
        for row, path in enumerate(result.paths):
            np.testing.assert_array_equal(out["mean"][row], one.run(one.preprocess(path))["mean"][0])
