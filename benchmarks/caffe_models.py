"""Caffe networks of VGG's size: seconds to parse and to convert, and memory, beside OpenCV's import of the same files.

The caffemodels are written here, with random weights. Each figure comes from a process of its own; memory is what is
copied (anonymous memory above that after the imports), not what the kernel keeps of the mapped file.

    python benchmarks/caffe_models.py [--runs 3]
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

BLOCKS = {"vgg_16": (2, 2, 3, 3, 3), "vgg_19": (2, 2, 4, 4, 4)}

WRITE = """
import numpy as np
from pathlib import Path
from modelzoo.checkpoints.wire import pack_field, pack_varint
draw = np.random.default_rng(0)
text = ['input: "data" input_shape {{ dim: 1 dim: 3 dim: 224 dim: 224 }}']
out, blob, width = Path({caffemodel!r}).open("wb"), "data", 3
def weights(name, *shape):
    layer = pack_field(1, name.encode())
    for size in (shape, shape[:1]):
        array = draw.standard_normal(size, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        dims = pack_field(1, b"".join(map(pack_varint, size)))
        layer += pack_field(7, pack_field(7, dims) + pack_field(5, array.tobytes()))
    out.write(pack_field(100, layer))
for block, (count, filters) in enumerate(zip({blocks!r}, (64, 128, 256, 512, 512)), 1):
    for number in range(1, count + 1):
        name = f"conv{{block}}_{{number}}"
        text.append(f'layer {{{{ name: "{{name}}" type: "Convolution" bottom: "{{blob}}" top: "{{name}}" '
                    f'convolution_param {{{{ num_output: {{filters}} pad: 1 kernel_size: 3 }}}} }}}}')
        text.append(f'layer {{{{ name: "relu_{{name}}" type: "ReLU" bottom: "{{name}}" top: "{{name}}" }}}}')
        weights(name, filters, width, 3, 3)
        blob, width = name, filters
    text.append(f'layer {{{{ name: "pool{{block}}" type: "Pooling" bottom: "{{blob}}" top: "pool{{block}}" '
                f'pooling_param {{{{ pool: MAX kernel_size: 2 stride: 2 }}}} }}}}')
    blob = f"pool{{block}}"
width *= 49
for name, units in (("fc6", 4096), ("fc7", 4096), ("fc8", 1000)):
    text.append(f'layer {{{{ name: "{{name}}" type: "InnerProduct" bottom: "{{blob}}" top: "{{name}}" '
                f'inner_product_param {{{{ num_output: {{units}} }}}} }}}}')
    weights(name, units, width)
    blob, width = name, units
Path({prototxt!r}).write_text("\\n".join(text))
out.close()
"""

OURS = """
import json, threading, time
import tensorflow, onnx, onnx_ir
import converters.keras.stock
from converters.caffe.layers import load_all
from converters.caffe.network import read_network
from converters.caffe.translate import translate
from converters.keras import to_keras
load_all()
{watch}
start = time.perf_counter()
network = read_network({prototxt!r}, {caffemodel!r})
parsed = time.perf_counter()
model = to_keras(translate(network))
end = time.perf_counter()
print(json.dumps(dict(parse=parsed - start, convert=end - start, memory=finish())))
"""

THEIRS = """
import json, threading, time
import cv2
{watch}
start = time.perf_counter()
net = cv2.dnn.readNetFromCaffe({prototxt!r}, {caffemodel!r})
end = time.perf_counter()
print(json.dumps(dict(convert=end - start, memory=finish())))
"""

WATCH = """
def memory():
    return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
before, peak, done = memory(), [0], threading.Event()
def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], memory() - before)
watcher = threading.Thread(target=watch); watcher.start()
def finish():
    done.set(); watcher.join()
    return peak[0]
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
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print("| network | MB | parse, s | convert, s | memory / weights | OpenCV import, s | its memory | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name, blocks in BLOCKS.items():
            files = {"prototxt": f"{folder}/{name}.prototxt", "caffemodel": f"{folder}/{name}.caffemodel"}
            run(WRITE.format(blocks=blocks, **files))
            size = Path(files["caffemodel"]).stat().st_size
            turns = [
                [json.loads(run(code.format(watch=WATCH, **files))) for code in (OURS, THEIRS)]
                for _ in range(arguments.runs)
            ]
            ours, theirs = zip(*turns, strict=True)

            def middle(rows: tuple[dict[str, float], ...], key: str) -> float:
                return statistics.median(row[key] for row in rows)

            print(
                f"| {name} | {size / 1e6:.0f} | {middle(ours, 'parse'):.3f} | {middle(ours, 'convert'):.2f} | "
                f"{middle(ours, 'memory') / size:.2f} | {middle(theirs, 'convert'):.2f} | "
                f"{middle(theirs, 'memory') / size:.2f} | {middle(ours, 'convert') / middle(theirs, 'convert'):.2f} |",
                flush=True,
            )
            Path(files["caffemodel"]).unlink()


if __name__ == "__main__":
    main()
