"""From a name to the first prediction, step by step, beside Keras applications built and loaded in the usual way.

Every figure comes from a fresh process, after TensorFlow and Keras were imported; the kinds take turns, and the
medians of the runs are printed. Weights are random numbers of the right shapes in files of the right format.

With `--timm PYTHON`, an interpreter that has timm (`pip install timm safetensors`), another table: four of TF-slim's
networks beside `timm.create_model(NAME, checkpoint_path=FILE)`, after both sides' imports. Memory is what is copied
(RssAnon, Linux only) at its peak, above what it was after the imports, in a run of its own that is not timed.

    python benchmarks/load_time.py [--runs 5] [--timm PYTHON]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

KERAS = ("MobileNetV2", "DenseNet121", "InceptionV3")

OURS = """
import json, sys, time
import numpy as np, tensorflow as tf, keras
import modelzoo as mz, modelzoo.networks, modelzoo.pretrained, modelzoo.preprocess
from modelzoo.checkpoints import open_checkpoint
keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])     # lazy parts of Keras itself
start = time.perf_counter()
class Reading(dict):
    spent = 0.0
    def __init__(self, checkpoint):
        self.checkpoint = checkpoint
        self.entries = checkpoint.entries
    def __contains__(self, name): return name in self.checkpoint
    def __iter__(self): return iter(self.checkpoint)
    def __getitem__(self, name):
        t = time.perf_counter()
        array = self.checkpoint[name]
        Reading.spent += time.perf_counter() - t
        return array
from modelzoo.networks import weights
copy = weights.FromArray.__call__
spent = [0.0]
def timed(self, *args, **kwargs):
    t = time.perf_counter()
    value = copy(self, *args, **kwargs)
    spent[0] += time.perf_counter() - t
    return value
weights.FromArray.__call__ = timed
if {split!r} == "split":
    opened = time.perf_counter()
    checkpoint = open_checkpoint({path!r})
    reading = Reading(checkpoint)
    Reading.spent += time.perf_counter() - opened
    model = modelzoo.networks.build("inception_v1", arrays=reading)
else:
    weights.FromArray.__call__ = copy
    model = mz.load_pretrained("inception_v1", weights={path!r})
total = time.perf_counter() - start
t = time.perf_counter()
np.asarray(model(np.zeros((1, 224, 224, 3), np.float32), training=False))
first = time.perf_counter() - t
print(json.dumps(dict(total=total, read=Reading.spent, copy=spent[0], first=first, layers=len(model.layers),
                      parameters=model.count_params())))
"""

THEIRS = """
import json, time
import numpy as np, tensorflow as tf, keras
keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
builder = keras.applications.{name}
start = time.perf_counter()
model = builder(weights={path!r})
total = time.perf_counter() - start
size = model.input.shape[1]
t = time.perf_counter()
np.asarray(model(np.zeros((1, size, size, 3), np.float32), training=False))
first = time.perf_counter() - t
print(json.dumps(dict(total=total, first=first, layers=len(model.layers), parameters=model.count_params())))
"""

TIMM = {
    "resnet_v1_50": "resnet50",
    "inception_v3": "inception_v3",
    "vgg_16": "vgg16",
    "mobilenet_v2": "mobilenetv2_100",
}
"""Ours -> the same network in timm."""

OUR_FILES = """
import numpy as np
from modelzoo import networks
from modelzoo.checkpoints.write_v1 import write_v1
from safetensors.numpy import save_file
model = networks.build({name!r})
weights = {{variable.path: variable for variable in model.variables}}
arrays = {{name: np.array(weights[path]) for path, name in model.variable_names.items() if path in weights}}
write_v1({path!r} + ".ckpt", arrays)
save_file(arrays, {path!r} + ".safetensors")
print("{{}}")
"""

TIMM_FILES = """
import timm, torch
from safetensors.torch import save_file
weights = timm.create_model({name!r}).state_dict()
torch.save(weights, {path!r} + ".pth")
save_file(weights, {path!r} + ".safetensors")
print("{{}}")
"""

OUR_IMPORTS = """
import tensorflow as tf, keras
import modelzoo.checkpoints.tf_v1, modelzoo.networks.separable
keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])     # lazy parts of Keras itself
tf.zeros(3) + 1
"""

TIMM_IMPORTS = """
import torch, timm
torch.nn.Sequential(torch.nn.Linear(4, 2))(torch.zeros(1, 4))
"""

LOADED = """
import json, threading, time
{imports}
def held():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))
peak, stop, before = [0], threading.Event(), held()
def watch():
    while not stop.wait(0.002):
        peak[0] = max(peak[0], held())
watcher = threading.Thread(target=watch, daemon=True)
if {memory}:
    watcher.start()
start = time.perf_counter()
model = {load}
total = time.perf_counter() - start
stop.set()
print(json.dumps(dict(total=total, memory=max(peak[0], held()) - before)))
"""


def run(code: str, python: str = sys.executable) -> dict[str, float]:
    """Run `code` in a fresh interpreter; its last line is the result."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[1]
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def make_files(folder: Path) -> dict[str, str]:
    """A V1 checkpoint for ours, a weights.h5 for each of theirs."""
    code = f"""
import numpy as np, keras
from modelzoo import networks
from modelzoo.checkpoints.write_v1 import write_v1
model = networks.build("inception_v1")
arrays = dict()
for v in model.variables:
    name = model.variable_names.get(v.path)
    if name is not None:                       # Dropout's seed is no weight
        arrays[name] = np.asarray(v)
write_v1({str(folder / "inception_v1.ckpt")!r}, arrays)
for name in {KERAS!r}:
    getattr(keras.applications, name)(weights=None).save_weights({str(folder)!r} + "/" + name + ".weights.h5")
print("{{}}")
"""
    run(code)
    return {name: str(folder / f"{name}.weights.h5") for name in KERAS} | {"ours": str(folder / "inception_v1.ckpt")}


def beside_timm(python: str, runs: int) -> None:
    """Prints the table of loading beside timm."""
    print("| network | file | MB | load, s | / timm's safetensors | peak memory / file |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for ours, theirs in TIMM.items():
        with tempfile.TemporaryDirectory() as folder:
            mine, other = f"{folder}/ours", f"{folder}/timm"
            run(OUR_FILES.format(name=ours, path=mine))
            run(TIMM_FILES.format(name=theirs, path=other), python)
            build = f"modelzoo.networks.build({ours!r}, arrays=modelzoo.checkpoints.open_checkpoint({{path!r}}))"
            create = f"timm.create_model({theirs!r}, pretrained=False, checkpoint_path={{path!r}})"
            sides = {
                "modelzoo, TF V1": (sys.executable, OUR_IMPORTS, build, f"{mine}.ckpt"),
                "modelzoo, safetensors": (sys.executable, OUR_IMPORTS, build, f"{mine}.safetensors"),
                "timm, safetensors": (python, TIMM_IMPORTS, create, f"{other}.safetensors"),
                "timm, pth": (python, TIMM_IMPORTS, create, f"{other}.pth"),
            }
            rows: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
            for number in range(runs + 1):
                for side, (interpreter, imports, load, path) in sides.items():
                    code = LOADED.format(imports=imports, load=load.format(path=path), memory=number == 0)
                    rows[side].append(run(code, interpreter))
            sizes = {side: Path(path).stat().st_size for side, (*_, path) in sides.items()}
        medians = {side: statistics.median(row["total"] for row in rows[side][1:]) for side in sides}
        for side, median in medians.items():
            print(
                f"| {ours if side.startswith('modelzoo') else theirs} | {side} | {sizes[side] / 1e6:.1f} | "
                f"{median:.2f} | {median / medians['timm, safetensors']:.2f} | "
                f"{rows[side][0]['memory'] / sizes[side]:.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--timm", metavar="PYTHON", help="an interpreter that has timm: the table beside it")
    arguments = parser.parse_args()
    if arguments.timm is not None:
        beside_timm(arguments.timm, arguments.runs)
        return
    with tempfile.TemporaryDirectory() as temporary:
        files = make_files(Path(temporary))
        jobs = {"modelzoo inception_v1": OURS.format(path=files["ours"], split="whole")}
        jobs["its parts"] = OURS.format(path=files["ours"], split="split")
        for name in KERAS:
            jobs[f"keras {name}"] = THEIRS.format(name=name, path=files[name])
        results: dict[str, list[dict[str, float]]] = {job: [] for job in jobs}
        for _ in range(arguments.runs):
            for job, code in jobs.items():
                results[job].append(run(code))

    def median(job: str, key: str) -> float:
        return statistics.median(row[key] for row in results[job])

    ours = "modelzoo inception_v1"
    per_layer = {job: median(job, "total") / median(job, "layers") for job in jobs}
    print("| model | layers | parameters | build + load, s | ms a layer | ours / theirs, a layer | first call, s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for job in jobs:
        if job == "its parts":
            continue
        ratio = "" if job == ours else f"{per_layer[ours] / per_layer[job]:.2f}"
        print(
            f"| {job} | {median(job, 'layers'):.0f} | {median(job, 'parameters') / 1e6:.1f} M | "
            f"{median(job, 'total'):.2f} | {1000 * per_layer[job]:.2f} | {ratio} | {median(job, 'first'):.2f} |"
        )
    total, read, copy = (median("its parts", key) for key in ("total", "read", "copy"))
    print(
        f"\nOurs in parts: build {total - read - copy:.3f} s, read (map, checksums) {read:.3f} s, "
        f"copy into TensorFlow {copy:.3f} s, first prediction {median('its parts', 'first'):.2f} s."
    )


if __name__ == "__main__":
    main()
