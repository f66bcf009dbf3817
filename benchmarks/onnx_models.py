"""Converted ONNX models beside onnxruntime: seconds to convert, memory, and time a batch, in the same process.

The networks are Keras applications with random weights, exported to ONNX by tf2onnx. Both run on two threads; ours is
`tf.function(model)` with BatchNorm folded, XLA off. Figures are medians over turns that alternate.

    python benchmarks/onnx_models.py [--runs 20] [--models ResNet50 MobileNetV2]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

THREADS = 2

EXPORT = """
import keras, tensorflow as tf, tf2onnx, onnx
model = getattr(keras.applications, {name!r})(weights=None)
size = model.input.shape[1:]
spec = [tf.TensorSpec((None, *size), tf.float32, name="x")]
run = tf.function(lambda x: model(x, training=False))
proto, _ = tf2onnx.convert.from_function(run, input_signature=spec, opset=17)
onnx.save(proto, {path!r})
"""

MEASURE = """
import json, os, resource, statistics, time
import numpy as np, tensorflow as tf, onnxruntime
tf.config.threading.set_intra_op_parallelism_threads({threads})
tf.config.threading.set_inter_op_parallelism_threads(1)
from converters.keras import to_keras
import converters.keras.stock
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
model = to_keras({path!r}, inference=True)
seconds = time.perf_counter() - start
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {threads}
options.log_severity_level = 3
session = onnxruntime.InferenceSession({path!r}, options, providers=["CPUExecutionProvider"])
feed = session.get_inputs()[0].name
run = tf.function(lambda x: model(x, training=False))
result = dict(convert=seconds, memory=memory * 1024, size=os.path.getsize({path!r}), layers=len(model.layers),
              permutes=sum(type(l).__name__ in ("Permute", "Transpose") for l in model.layers), stock=model.stock_only)
for batch in (1, 8):
    x = np.random.default_rng(0).standard_normal((batch, *model.input.shape[1:])).astype(np.float32)
    source = x.transpose(0, 3, 1, 2) if model.layouts[feed] == "channels_last" else x
    tensor = tf.constant(x)
    ours, theirs = np.asarray(run(tensor)), session.run(None, {{feed: source}})[0]
    result[f"error_{{batch}}"] = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    times = [[], []]
    for _ in range({runs}):
        start = time.perf_counter(); run(tensor).numpy(); times[0].append(time.perf_counter() - start)
        start = time.perf_counter(); session.run(None, {{feed: source}}); times[1].append(time.perf_counter() - start)
    result[f"ours_{{batch}}"], result[f"theirs_{{batch}}"] = map(statistics.median, times)
print(json.dumps(result))
"""


def run(code: str) -> str:
    """Run `code` in a fresh interpreter; its last line is the result."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[1]
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return (done.stdout.strip().splitlines() or [""])[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--models", nargs="*", default=["ResNet50", "InceptionV3", "MobileNetV2", "VGG19"])
    arguments = parser.parse_args()
    print("| model | weights, MB | convert, s | memory / weights | layers | layout changes | error | ", end="")
    print("ms, batch 1 | / onnxruntime | ms, batch 8 | / onnxruntime |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            path = str(Path(folder) / f"{name}.onnx")
            run(EXPORT.format(name=name, path=path))
            row = json.loads(run(MEASURE.format(path=path, threads=THREADS, runs=arguments.runs)))
            speeds = " | ".join(
                f"{1000 * row[f'ours_{batch}']:.1f} | {row[f'ours_{batch}'] / row[f'theirs_{batch}']:.2f}"
                for batch in (1, 8)
            )
            print(
                f"| {name} | {row['size'] / 1e6:.0f} | {row['convert']:.2f} | {row['memory'] / row['size']:.2f} | "
                f"{row['layers']} | {row['permutes']} | {max(row['error_1'], row['error_8']):.0e} | {speeds} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
