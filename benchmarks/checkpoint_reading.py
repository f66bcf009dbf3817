"""Reading a TensorFlow checkpoint, open to last value: our readers beside `tf.train.load_checkpoint`.

Both open the file, and make an array of their own of every tensor; both verify every checksum. They take turns in
one process, the file is in the page cache, and medians are compared. Ours are measured twice: with each array copied
once, as `get_tensor` does, and as the views of the file that they are (their checksums verified all the same). A
second table has the same work in new processes, imports included.

    python benchmarks/checkpoint_reading.py [--runs 9]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from modelzoo.checkpoints import open_checkpoint
from modelzoo.checkpoints.write_v1 import write_v1
from modelzoo.checkpoints.write_v2 import write_v2

DATA = Path(os.environ.get("MODELZOO_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared")
FIXTURES = ("v1_small.ckpt", "v2_small.ckpt", "v1_many.ckpt", "v2_many.ckpt", "v2_sharded.ckpt", "v2_slices.ckpt")
REAL = (
    "rl_tuner_note_rnn/model.ckpt-1994",
    "fsrcnn/fsrcnn_ckpt",
    "char_rnn_shakespeare/model-85340",
    "fast_style/wave/fns.ckpt",
    "ultraface_slim/slim/variables/variables",
)

OURS = """
from modelzoo.checkpoints import open_checkpoint
with open_checkpoint({path!r}) as checkpoint:
    arrays = {{name: array.copy() for name, array in checkpoint.items()}}
"""
THEIRS = """
import tensorflow as tf
reader = tf.train.load_checkpoint({path!r})
arrays = {{name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}}
"""


def ours(path: str) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as checkpoint:
        return {name: array.copy() for name, array in checkpoint.items()}


def views(path: str) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as checkpoint:
        return dict(checkpoint)


def theirs(path: str) -> dict[str, np.ndarray]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(path)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def network(megabytes: int) -> dict[str, np.ndarray]:
    """Arrays like those of a convolutional network: kernels of rising size, and short vectors between them."""
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    left = megabytes << 18
    while left > 0:
        number = len(arrays) // 5
        width = 32 << min(number // 16, 5)
        kernel = random.standard_normal((3, 3, width, width), np.float32).reshape(-1)[:left]
        arrays[f"layer_{number}/weights"] = kernel
        for part in ("beta", "gamma", "moving_mean", "moving_variance"):
            arrays[f"layer_{number}/{part}"] = random.standard_normal(width, np.float32)
        left -= kernel.size
    return arrays


def files(folder: Path) -> dict[str, str]:
    """Row of the table -> path or prefix."""
    arrays = network(100)
    rows = {
        "100 MB, V1": str(write_v1(folder / "large_v1.ckpt", arrays)),
        "100 MB, V2": str(write_v2(folder / "large_v2.ckpt", arrays)),
    }
    for parent, names in ((DATA / "slim" / "fixtures", FIXTURES), (DATA / "models", REAL)):
        if parent.is_dir():
            rows |= {name.removesuffix("/variables/variables"): str(parent / name) for name in names}
        else:
            print(f"{parent} is not there: its rows are left out.", file=sys.stderr)
    return rows


def timed(work: Callable[[str], dict[str, np.ndarray]], path: str, times: int) -> float:
    """Milliseconds of one of `times` readings in a row."""
    start = time.perf_counter()
    for _ in range(times):
        work(path)
    return 1000 * (time.perf_counter() - start) / times


def process(code: str) -> float:
    """Milliseconds of a new process, from its start to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        rows = files(Path(folder))
        print("| checkpoint | tensors | MB | TensorFlow, ms | ours, ms | ours / TF | views, ms | views / TF |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for row, path in rows.items():
            arrays, others = ours(path), theirs(path)
            others.pop("_CHECKPOINTABLE_OBJECT_GRAPH", None)
            if set(arrays) != set(others) or any(
                arrays[name].tobytes() != np.asarray(others[name]).tobytes()
                for name in arrays
                if arrays[name].dtype != object
            ):
                raise SystemExit(f"{row}: the two readers differ")
            size = sum(array.nbytes for array in arrays.values()) / 1e6
            times = 1 if size > 50 else 10
            taken: dict[str, list[float]] = {"theirs": [], "ours": [], "views": []}
            for _ in range(runs):
                for name, work in (("theirs", theirs), ("ours", ours), ("views", views)):
                    taken[name].append(timed(work, path, times))
            them, us, view = (statistics.median(taken[name]) for name in ("theirs", "ours", "views"))
            print(
                f"| {row} | {len(arrays)} | {size:.2f} | {them:.2f} | {us:.2f} | {us / them:.2f} "
                f"| {view:.2f} | {view / them:.2f} |",
                flush=True,
            )
        print("\nNew processes, imports included:\n")
        print("| checkpoint | TensorFlow, ms | ours, ms | ours / TF |")
        print("| --- | ---: | ---: | ---: |")
        for row in [row for row in rows if row.startswith("100 MB") or row in ("v1_small.ckpt", REAL[2])]:
            them, us = (
                statistics.median(process(code.format(path=rows[row])) for _ in range(max(3, runs // 2)))
                for code in (THEIRS, OURS)
            )
            print(f"| {row} | {them:.0f} | {us:.0f} | {us / them:.3f} |", flush=True)


if __name__ == "__main__":
    main()
