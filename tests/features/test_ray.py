"""The engine of a cluster gives the bytes of the engine of one process, though its workers die. Needs `ray[data]`."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelzoo import errors, networks
from modelzoo.features import FeatureExtractor
from modelzoo.preprocess import Preprocess

TAPS = ["Mixed_4b", "Mixed_5c"]


@pytest.fixture(scope="module")
def fx():
    model = networks.build("inception_v1", input_shape=(64, 64, 3), classes=7, width=0.125)
    preprocess = Preprocess.from_dict({"family": "inception", "size": [64, 64]})
    return FeatureExtractor(model, [*TAPS, "Logits"], preprocess=preprocess)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    for number in range(41):
        Image.fromarray(rng.integers(0, 256, (30 + number, 40, 3), np.uint8)).save(root / f"{number:03}.jpg")
    (root / "007.jpg").write_bytes(b"<html>not found</html>")
    return root


@pytest.fixture(scope="module")
def cluster():
    """Two workers on this machine."""
    ray = pytest.importorskip("ray", reason='pip install "modelzoo[ray]"')
    pytest.importorskip("ray.data")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20)
    yield ray
    ray.shutdown()


class KillsItsWorker:
    """A preprocessing that ends the process it runs in, at the 9th picture, once; never this one."""

    def __init__(self, inner: Preprocess, marker: Path) -> None:
        self.inner, self.marker, self.driver, self.calls = inner, marker, os.getpid(), 0

    def __call__(self, picture: bytes) -> np.ndarray:
        self.calls += 1
        if self.calls == 9 and os.getpid() != self.driver and not self.marker.exists():
            self.marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner(picture)


@pytest.mark.parametrize("pooling", [None, "avg", "max"])
def test_an_extractor_crosses_a_process_border(pooling):
    model = networks.build("inception_v1", input_shape=(64, 64, 3), classes=7, width=0.125)
    preprocess = Preprocess.from_dict({"family": "inception", "size": [64, 64]})
    here = FeatureExtractor(model, ["Mixed_3c", "Mixed_4b", "Logits"], pooling=pooling, preprocess=preprocess)
    there = pickle.loads(pickle.dumps(here))
    batch = np.random.default_rng(0).standard_normal((3, 64, 64, 3), np.float32)
    expected = here.run(batch)
    for tap, values in there.run(batch).items():
        np.testing.assert_array_equal(values, expected[tap])
    assert (list(there.taps), there.pooling, there.preprocess) == (list(here.taps), here.pooling, here.preprocess)


def test_without_ray_the_extra_is_named(fx, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(errors.MissingExtraError) as caught:
        fx.extract(folder, tmp_path / "out.npz", engine="ray", progress=False)
    assert 'pip install "modelzoo[ray]"' in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"engine": "spark"}, {"workers": 2}, {"address": "auto"}, {"engine": "ray", "workers": 0}]
)
def test_options_of_the_engine_that_make_no_sense(fx, folder, tmp_path, options):
    with pytest.raises((errors.UsageError, errors.MissingExtraError)):
        fx.extract(folder, tmp_path / "out.npz", progress=False, **options)
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.slow
def test_two_workers_write_the_bytes_of_one_process(fx, folder, tmp_path, cluster):
    for ending in ("npz", "tfrecord"):
        one, two = tmp_path / f"one.{ending}", tmp_path / f"two.{ending}"
        here = fx.extract(folder, one, batch_size=4, progress=False)
        there = fx.extract(folder, two, batch_size=4, progress=False, engine="ray", workers=2)
        assert one.read_bytes() == two.read_bytes()
        assert there == here
        assert (there.paths, there.skipped) == (here.paths, here.skipped)
        assert [path.name for path, _ in there.skipped] == ["007.jpg"]


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(fx, folder, tmp_path, cluster):
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    fx.extract(folder, one, batch_size=2, progress=False)
    deadly = pickle.loads(pickle.dumps(fx))
    deadly.preprocess = KillsItsWorker(fx.preprocess, tmp_path / "killed")
    deadly.extract(folder, two, batch_size=2, progress=False, engine="ray", workers=2)
    assert int((tmp_path / "killed").read_text()) != os.getpid()
    assert one.read_bytes() == two.read_bytes()
