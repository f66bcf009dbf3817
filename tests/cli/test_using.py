"""`classify` and `features`: what a network makes of pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import modelzoo
from tests.cli.conftest import NAMES, Run, Tiny, draw


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(["b.png", "a.png", "c.png"]):
        draw(folder / name, seed)
    return folder


def test_classify_names_classes_with_their_probabilities(run: Run, tiny: Tiny, picture: Path) -> None:
    ran = run("classify", "tiny_v1", picture, "--registry", tiny.registry, "--json")
    assert ran.code == 0
    (answer,) = ran.json["pictures"]
    assert answer["path"] == str(picture)
    assert [one["label"] for one in answer["classes"]] != []
    assert {one["label"] for one in answer["classes"]} == set(NAMES)
    probabilities = [one["probability"] for one in answer["classes"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1.0)


def test_classify_gives_what_python_gives(run: Run, tiny: Tiny, picture: Path) -> None:
    model = modelzoo.load_pretrained("tiny_v1", registries=[tiny.registry])
    ((expected, *_),) = model.decode(model(model.preprocess(picture)), top=1)
    ran = run("classify", "tiny_v1", picture, "--registry", tiny.registry, "--top", "1")
    assert ran.out == f"{picture}\n  {expected.probability:6.1%}  {expected.label}\n"
    assert run("classify", "tiny", picture, "-q", "--registry", tiny.registry).out == f"{picture}\t{expected.label}\n"


def test_classify_takes_folders_and_weights_of_ones_own(run: Run, tiny: Tiny, photos: Path, tmp_path: Path) -> None:
    ran = run(
        "classify", "tiny_v1", photos, "--weights", tiny.checkpoint, "--registry", tiny.registry, "--json", "--offline"
    )
    assert [Path(one["path"]).name for one in ran.json["pictures"]] == ["a.png", "b.png", "c.png"]
    assert not (tmp_path / "cache" / "models").exists(), "weights of one's own need no download"


@pytest.fixture(scope="module")
def extractor(tiny: Tiny):
    return modelzoo.load_pretrained(
        "tiny_v1", features=["Mixed_3c"], pooling="avg", weights=tiny.checkpoint, registries=[tiny.registry]
    )


@pytest.mark.parametrize("ending", [".npz", ".npy", ".parquet"])
def test_features_writes_what_python_gives(run: Run, tiny: Tiny, extractor, photos: Path, ending: str) -> None:
    out = Path(f"out{ending}")
    ran = run(
        *("features", "tiny_v1", photos, "-o", out, "--tap", "Mixed_3c", "--pooling", "avg"),
        *("--registry", tiny.registry, "--json"),
    )
    assert ran.code == 0, ran.err
    assert ran.json["taps"] == {"Mixed_3c": [3, 60]}
    assert ran.json["size"] == out.stat().st_size
    expected = extractor([photos / name for name in ("a.png", "b.png", "c.png")])["Mixed_3c"]
    np.testing.assert_allclose(read(out, "Mixed_3c"), expected, rtol=1e-6)


def read(path: Path, tap: str) -> np.ndarray:
    if path.suffix == ".npz":
        return np.load(path)[tap]
    if path.suffix == ".npy":
        return np.load(path)
    import pyarrow.parquet

    return np.stack(pyarrow.parquet.read_table(path)[tap].to_numpy())


def test_classify_skips_pictures_that_it_cannot_read(run: Run, tiny: Tiny, photos: Path) -> None:
    whole = run("classify", "tiny_v1", photos, "--registry", tiny.registry, "--json").json["pictures"]
    (photos / "b.png").write_bytes(b"not a picture")
    ran = run("classify", "tiny_v1", photos, "--registry", tiny.registry, "--json")
    assert (ran.code, len(whole)) == (15, 3)
    assert [one["path"] for one in ran.json["pictures"]] == [str(photos / "a.png"), str(photos / "c.png")]
    assert [one["classes"][0]["label"] for one in ran.json["pictures"]] == [
        whole[row]["classes"][0]["label"] for row in (0, 2)
    ]
    assert ran.json["skipped"] == [
        {"path": str(photos / "b.png"), "reason": f"{photos / 'b.png'} is not a picture of a known format."}
    ]
    assert "b.png is not a picture" in run("classify", "tiny_v1", photos, "--registry", tiny.registry).err
    ran = run("classify", "tiny_v1", photos / "b.png", "--registry", tiny.registry, "--json")
    assert (ran.code, ran.json["error"]) == (15, "ImageError")


def test_features_tells_a_person_what_is_in_the_file(run: Run, tiny: Tiny, photos: Path) -> None:
    ran = run(
        *("features", "tiny_v1", photos, "-o", "f.npz", "--tap", "Mixed_3c", "--tap", "Mixed_4f"),
        *("--weights", tiny.checkpoint, "--registry", tiny.registry, "--batch-size", "2"),
    )
    first, *rest = ran.out.splitlines()
    assert first.startswith("f.npz  3 pictures, ")
    assert rest == ["  Mixed_3c: 3 x 8 x 8 x 60", "  Mixed_4f: 3 x 4 x 4 x 104"]


def test_features_all_are_the_end_points(run: Run, tiny: Tiny, picture: Path) -> None:
    ran = run("features", "tiny", picture, "-o", "f.npz", "--tap", "all", "--registry", tiny.registry, "--json")
    assert len(ran.json["taps"]) == 19


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["-o", "f.npz"], 2, "--tap Mixed_4f"),
        (["-o", "f.npz", "--tap", "Mixed_9z"], 3, "Mixed_"),
        (["-o", "f.npz", "--tap", "all", "--tap", "Mixed_3c"], 2, "'all'"),
        (["-o", "f.txt", "--tap", "Mixed_3c"], 2, ".npz | .npy | .parquet | .tfrecord"),
        (["-o", "f.npy", "--tap", "Mixed_3c", "--tap", "Mixed_4f"], 2, "An .npy file holds one tap."),
        (["-o", "nowhere/f.npz", "--tap", "Mixed_3c"], 10, "folder does not exist"),
    ],
)
def test_features_refuses(run: Run, tiny: Tiny, picture: Path, words: list[str], code: int, says: str) -> None:
    ran = run("features", "tiny_v1", picture, *words, "--registry", tiny.registry)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("verb", [["classify"], ["features", "-o", "f.npz", "--tap", "Mixed_3c"]])
def test_a_missing_picture_is_said_before_anything_is_fetched(
    run: Run, tiny: Tiny, tmp_path: Path, verb: list[str]
) -> None:
    ran = run(*verb, "tiny_v1", "missing.jpg", "--registry", tiny.registry)
    assert ran.code == 15
    assert ran.err.splitlines()[:2] == ["error: There is no such picture or folder.", "  Received: missing.jpg"]
    assert not (tmp_path / "cache" / "models").exists()


def test_parquet_without_pyarrow_names_the_extra(
    run: Run, tiny: Tiny, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ran = run("features", "tiny", picture, "-o", "f.parquet", "--tap", "Mixed_3c", "--registry", tiny.registry)
    assert ran.code == 16
    assert 'pip install "modelzoo[parquet]"' in ran.err


def test_weights_of_another_width_are_listed(run: Run, tiny: Tiny, picture: Path) -> None:
    ran = run("classify", "inception_v1", picture, "--weights", tiny.checkpoint, "--registry", tiny.registry)
    assert ran.code == 14
    assert "of another shape" in ran.err
    assert "InceptionV1/Conv2d_1a_7x7/weights" in ran.err


def test_a_damaged_weight_file_is_refused(run: Run, tiny: Tiny, picture: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.ckpt"
    data = bytearray(tiny.checkpoint.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    ran = run("classify", "tiny_v1", picture, "--weights", damaged, "--registry", tiny.registry)
    assert ran.code == 13


def test_no_labels_no_classes_but_features(run: Run, tiny: Tiny, picture: Path, tmp_path: Path) -> None:
    from tests.cli.invented import registry_file

    bare = {key: value for key, value in tiny.card.items() if key != "labels"}
    path = registry_file(tmp_path / "r.json", tiny_v1=bare)
    ran = run("classify", "tiny_v1", picture, "--registry", path)
    assert ran.code == 2
    assert "modelzoo features tiny_v1" in ran.err
