"""Converted ONNX models beside onnxruntime: seconds to convert, memory, and time a batch, in the same process.

The networks are Keras applications with random weights and random statistics of their BatchNorm, exported to ONNX by
tf2onnx; Inception V1 and SqueezeNet are the light networks that onnx carries, VGG19 is written down here. Both run on
two threads; ours is `tf.function(model)` with BatchNorm folded, XLA off, its weights variables, and once more frozen:
the same graph with constants for them. Figures are medians over turns that alternate: in each, four calls one after the
other, after two that are not timed.

    python benchmarks/onnx_models.py [--runs 20] [--models ResNet50 MobileNetV2] [--onnx2tf PYTHON]

`--onnx2tf` names a Python where onnx2tf is installed, which wants an older TensorFlow: the same files through it, whole
processes with their imports (also those of ours, beside them), and the resident memory at its peak.
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
KERAS = ("ResNet50", "InceptionV3", "MobileNetV2", "VGG19")
ONNX = ("light_inception_v1", "light_squeezenet")

EXPORT = """
import keras, tensorflow as tf, tf2onnx, onnx
import numpy as np
draw = np.random.default_rng(0)
model = getattr(keras.applications, {name!r})(weights=None)
for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.set_weights([draw.uniform(0.6, 1.4, v.shape) if v.name in ("gamma", "moving_variance")
                           else draw.normal(0, 0.2, v.shape) for v in layer.weights])
size = model.input.shape[1:]
spec = [tf.TensorSpec((None, *size), tf.float32, name="x")]
run = tf.function(lambda x: model(x, training=False))
proto, _ = tf2onnx.convert.from_function(run, input_signature=spec, opset=17)
onnx.save(proto, {path!r})
"""

LIGHT = """
import pathlib, numpy as np, onnx
from onnx import numpy_helper
folder = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
model = onnx.load(folder / {name!r})
draw = np.random.default_rng(0)
made = {{}}
for node in list(model.graph.node):
    if node.op_type == "ConstantOfShape" and node.input[0] in {{i.name for i in model.graph.initializer}}:
        shape = numpy_helper.to_array(next(i for i in model.graph.initializer if i.name == node.input[0]))
        bound = np.sqrt(6 / max(1, np.prod(shape[1:])))
        array = draw.uniform(-bound, bound, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
        model.graph.node.remove(node)
given = {{i.name for i in model.graph.initializer}}
for value in (*(i for i in model.graph.input if i.name not in given), *model.graph.output):
    value.type.tensor_type.shape.dim[0].dim_param = "N"
for initializer in model.graph.initializer:  # the classifier's flattening counts pictures
    if initializer.data_type == onnx.TensorProto.INT64 and initializer.dims == [2]:
        first, rest = numpy_helper.to_array(initializer)
        if first == 1:
            initializer.CopyFrom(numpy_helper.from_array(np.asarray([-1 if rest > 0 else 1, rest]), initializer.name))
del model.graph.value_info[:]
onnx.save(model, {path!r})
"""

VGG19 = """
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
draw = np.random.default_rng(0)
nodes, weights, x, width = [], [], "x", 3
def weight(name, *shape):
    array = draw.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    weights.append(numpy_helper.from_array(array, name))
    return name
for block, (count, filters) in enumerate([(2, 64), (2, 128), (4, 256), (4, 512), (4, 512)], 1):
    for number in range(1, count + 1):
        name = f"conv{{block}}_{{number}}"
        kernel, bias = weight(name + "_w", filters, width, 3, 3), weight(name + "_b", filters)
        nodes += [helper.make_node("Conv", [x, kernel, bias], [name], pads=[1] * 4, kernel_shape=[3, 3]),
                  helper.make_node("Relu", [name], ["relu_" + name])]
        x, width = "relu_" + name, filters
    nodes.append(helper.make_node("MaxPool", [x], [f"pool{{block}}"], kernel_shape=[2, 2], strides=[2, 2]))
    x = f"pool{{block}}"
nodes.append(helper.make_node("Flatten", [x], ["flat"]))
x, width = "flat", 512 * 49
for name, units in (("fc6", 4096), ("fc7", 4096), ("fc8", 1000)):
    nodes.append(helper.make_node("Gemm", [x, weight(name + "_w", units, width), weight(name + "_b", units)], [name],
                                  transB=1))
    x, width = name, units
    if name != "fc8":
        nodes.append(helper.make_node("Relu", [name], ["relu_" + name]))
        x = "relu_" + name
graph = helper.make_graph(nodes, "vgg19", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 224, 224])],
                          [helper.make_tensor_value_info("fc8", TensorProto.FLOAT, ["N", 1000])], weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), {path!r})
"""

MEASURE = """
import json, os, statistics, threading, time
import numpy as np, tensorflow as tf, onnxruntime
tf.config.threading.set_intra_op_parallelism_threads({threads})
tf.config.threading.set_inter_op_parallelism_threads(1)
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from converters.keras import to_keras
import converters.keras.stock

def memory():
    fields = dict(line.split(":") for line in open("/proc/self/status"))
    return sum(1024 * int(fields[key].split()[0]) for key in {counted!r})

before, peak, done = memory(), [0], threading.Event()
def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], memory() - before)
watcher = threading.Thread(target=watch); watcher.start()
start = time.perf_counter()
model = to_keras({path!r}, inference=True)
seconds = time.perf_counter() - start
done.set(); watcher.join()
result = dict(convert=seconds, memory=peak[0], size=os.path.getsize({path!r}), layers=len(model.layers),
              permutes=sum(type(l).__name__ in ("Permute", "Transpose") for l in model.layers), stock=model.stock_only)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {threads}
options.log_severity_level = 3
session = onnxruntime.InferenceSession({path!r}, options, providers=["CPUExecutionProvider"])
feed = session.get_inputs()[0].name
run = tf.function(lambda x: model(x, training=False))
for batch in (1, 8):
    x = np.random.default_rng(0).standard_normal((batch, *model.input.shape[1:])).astype(np.float32)
    source = x.transpose(0, 3, 1, 2) if model.layouts[feed] == "channels_last" and {transposed!r} else x
    tensor = tf.constant(x)
    frozen = convert_variables_to_constants_v2(run.get_concrete_function(tensor))
    ways = dict(ours=lambda: np.asarray(run(tensor)), frozen=lambda: np.asarray(frozen(tensor)[0]),
                theirs=lambda: session.run(None, {{feed: source}})[0])
    values = {{name: way() for name, way in ways.items()}}
    if values["ours"].shape != values["theirs"].shape:
        values["ours"] = values["ours"].transpose(0, 3, 1, 2)
    result[f"error_{{batch}}"] = float(np.abs(values["ours"] - values["theirs"]).max() / np.abs(values["theirs"]).max())
    times = {{name: [] for name in ways}}
    for _ in range({runs}):
        for name, way in ways.items():
            way(); way()   # onnxruntime's threads spin on for a while after a call; nobody is timed beside them
            for _ in range(4):
                start = time.perf_counter(); way(); times[name].append(time.perf_counter() - start)
    result.update({{f"{{name}}_{{batch}}": statistics.median(taken) for name, taken in times.items()}})
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


def whole(python: str, code: str) -> tuple[float, int]:
    """Seconds and peak resident bytes of a process that runs `code`."""
    measured = """
import resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
print(time.perf_counter() - start, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.returncode)
sys.exit(done.stderr[-2000:] if done.returncode else 0)
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", measured, python, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, peak, _ = done.stdout.split()
    return float(seconds), int(peak)


def beside_onnx2tf(python: str, path: str, out: str) -> str:
    """`ours / onnx2tf`: seconds and peak memory of both."""
    ours = whole(sys.executable, f"from converters.keras import to_keras; to_keras({path!r})")
    theirs = whole(python, f"import onnx2tf; onnx2tf.convert({path!r}, output_folder_path={out!r}, verbosity='error')")
    return (
        f"{ours[0]:.1f} / {theirs[0]:.1f} = {ours[0] / theirs[0]:.2f} | "
        f"{ours[1] / 2**20:.0f} / {theirs[1] / 2**20:.0f} = {ours[1] / theirs[1]:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--models", nargs="*", default=[*KERAS, *ONNX])
    parser.add_argument("--onnx2tf", metavar="PYTHON")
    arguments = parser.parse_args()
    if arguments.onnx2tf:
        print("| model | whole process, s: ours / onnx2tf | peak memory, MiB: ours / onnx2tf |\n| --- | --- | --- |")
    else:
        head()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            path = str(Path(folder) / f"{name}.onnx")
            write(name, path)
            if arguments.onnx2tf:
                print(f"| {name} | {beside_onnx2tf(arguments.onnx2tf, path, folder + '/out')} |", flush=True)
            else:
                print(f"| {name} | {measure(name, path, arguments.runs)} |", flush=True)


def head() -> None:
    print("| model | weights, MB | convert, s | memory / weights | layers | layout changes | error | ", end="")
    print("batch 1, ms | / onnxruntime | frozen / ort | batch 8, ms | / onnxruntime | frozen / ort |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")


def write(name: str, path: str) -> None:
    """Make the ONNX file of a network."""
    code = VGG19 if name == "VGG19" else LIGHT if name in ONNX else EXPORT
    run(code.format(name=f"{name}.onnx" if name in ONNX else name, path=path))


def measure(name: str, path: str, runs: int) -> str:
    """One row of the table."""
    # What the kernel keeps of the mapped file can be dropped at any time; what is copied cannot.
    code = MEASURE.format(
        path=path, threads=THREADS, runs=runs, counted=("RssAnon",), transposed=name == "VGG19" or name in ONNX
    )
    row = json.loads(run(code))
    speeds = " | ".join(
        f"{1000 * row[f'ours_{batch}']:.1f} | {row[f'ours_{batch}'] / row[f'theirs_{batch}']:.2f} | "
        f"{row[f'frozen_{batch}'] / row[f'theirs_{batch}']:.2f}"
        for batch in (1, 8)
    )
    return (
        f"{row['size'] / 1e6:.0f} | {row['convert']:.2f} | {row['memory'] / row['size']:.2f} | {row['layers']} | "
        f"{row['permutes']} | {max(row['error_1'], row['error_8']):.0e} | {speeds}"
    )


if __name__ == "__main__":
    main()
