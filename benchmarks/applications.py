"""keras.applications from a weight file: ours beside Keras' own builders with `weights=PATH`.

Every figure comes from a fresh process, after TensorFlow and Keras were imported; the two take turns, and the medians
are printed. Weights are random numbers of the right shapes in an HDF5 file of Keras' layout with layer names. Memory
is what the process itself holds (RssAnon of /proc/self/status, sampled; Linux only) above what it held before.

    python benchmarks/applications.py [--runs 5] [ResNet50 VGG16 MobileNetV2]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from load_time import run

MEASURED = """
import json, threading, time
import numpy as np, tensorflow as tf, keras
keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])     # lazy parts of Keras itself
tf.zeros(3) + 1
{prepare}
def held():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
peak, stop = [0], threading.Event()
def watch():
    while not stop.wait(0.003):
        peak[0] = max(peak[0], held())
before = held()
watcher = threading.Thread(target=watch, daemon=True)
if {memory}:
    watcher.start()
start, busy = time.perf_counter(), time.process_time()
model = {load}
total, cpu = time.perf_counter() - start, time.process_time() - busy
stop.set()
weights = sum(int(np.prod(w.shape)) * 4 for w in model.weights)
print(json.dumps(dict(total=total, cpu=cpu, memory=max(peak[0], held()) - before, weights=weights)))
"""
OURS = "import modelzoo as mz, modelzoo.pretrained, modelzoo.networks.applications as a, modelzoo.checkpoints as c"


def codes(name: str, path: str) -> dict[str, str]:
    """What loads a network: in our way, and in Keras'."""
    ours = f"a.build_application({name!r}, arrays=c.open_checkpoint({path!r}))"
    return {"ours": (OURS, ours), "keras": ("", f"keras.applications.{name}(weights={path!r})")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", default=["ResNet50", "VGG16", "MobileNetV2"])
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print("| model | weights, MB | Keras, s | ours, s | ours / Keras | CPU: Keras, s | ours, s | ", end="")
    print("peak memory / weights: Keras | ours |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        for name in arguments.names:
            path = str(Path(temporary) / f"{name}.h5")
            run(f"import keras\nkeras.applications.{name}(weights=None).save({path!r})\nprint('{{}}')")
            times: dict[str, list[float]] = {"ours": [], "keras": []}
            busy: dict[str, list[float]] = {"ours": [], "keras": []}
            memory: dict[str, float] = {}
            for number in range(arguments.runs + 1):
                for kind, (prepare, load) in codes(name, path).items():
                    row = run(MEASURED.format(prepare=prepare, load=load, memory=number == 0))
                    if number == 0:
                        memory[kind] = row["memory"] / row["weights"]
                    else:
                        times[kind].append(row["total"])
                        busy[kind].append(row["cpu"])
            ours, keras = statistics.median(times["ours"]), statistics.median(times["keras"])
            print(
                f"| {name} | {row['weights'] / 1e6:.1f} | {keras:.2f} | {ours:.2f} | {ours / keras:.2f} | "
                f"{statistics.median(busy['keras']):.2f} | {statistics.median(busy['ours']):.2f} | "
                f"{memory['keras']:.2f} | {memory['ours']:.2f} |",
                flush=True,
            )
            Path(path).unlink()


if __name__ == "__main__":
    main()
