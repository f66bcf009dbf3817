"""TF-slim networks beside their cousins of Keras applications: loading a file, images a second, a training step.

Loading is measured in fresh processes, after TensorFlow, Keras and ours were imported; ours reads a TF V1 checkpoint,
Keras its `.weights.h5`. Memory is what is copied (RssAnon) until the model is returned, as a multiple of the weights.
Speeds come from one process in which the two take turns: batch 8, `tf.function`, two threads, the published input size;
a training step is forward, backward and SGD at batch 4. Above 1 ours is quicker.

    python benchmarks/slim_networks.py [--runs 5] [resnet_v1_50 inception_v3]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from load_time import OUR_FILES, run

PAIRS = {
    "resnet_v1_50": "ResNet50",
    "resnet_v2_50": "ResNet50V2",
    "inception_v3": "InceptionV3",
    "inception_resnet_v2": "InceptionResNetV2",
    "vgg_16": "VGG16",
    "mobilenet_v1": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_large": "MobileNetV3Large",
    "nasnet_mobile": "NASNetMobile",
}
"""Ours -> theirs; both are built as published, at the same input size."""

THEIR_FILE = """
import keras
keras.applications.{theirs}(weights=None).save_weights({folder!r} + "/theirs.weights.h5")
print("{{}}")
"""

LOADED = """
import json, threading, time
import numpy as np, tensorflow as tf, keras
import modelzoo.checkpoints.tf_v1, modelzoo.networks.separable   # Keras' modules are all there, too
keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])     # lazy parts of Keras itself
tf.zeros(3) + 1
def held():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))
peak, stop, before = [0], threading.Event(), held()
def watch():
    while not stop.wait(0.002):
        peak[0] = max(peak[0], held())
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
start = time.perf_counter()
model = {load}
total = time.perf_counter() - start
stop.set()
weights = sum(int(np.prod(w.shape)) * 4 for w in model.weights)
print(json.dumps(dict(total=total, memory=(max(peak[0], held()) - before) / weights)))
"""

SPEED = """
import json, statistics, time
import numpy as np, tensorflow as tf, keras
tf.config.threading.set_intra_op_parallelism_threads(2)
tf.config.threading.set_inter_op_parallelism_threads(1)
from modelzoo import networks
ours = networks.build({ours!r})
size = ours.input.shape[1:]
theirs = keras.applications.{theirs}(weights=None, input_shape=tuple(size), classifier_activation=None)
x = tf.constant(np.random.default_rng(0).uniform(-1, 1, (8, *size)).astype(np.float32))
def inference(model):
    f = tf.function(lambda x: model(x, training=False))
    return lambda: f(x).numpy()
def training(model):
    optimizer = keras.optimizers.SGD(1e-4)
    optimizer.build(model.trainable_variables)
    y = tf.zeros(4, tf.int32)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(y, model(x[:4], training=True))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value
    return lambda: step().numpy()
result = {{}}
for kind, make in (("inference", inference), ("training", training)):
    pair = [make(ours), make(theirs)]
    for f in pair: f(); f()
    times = [[], []]
    for turn in range({turns}):
        for which in ((0, 1) if turn % 2 else (1, 0)):
            start = time.perf_counter(); pair[which](); times[which].append(time.perf_counter() - start)
    a, b = map(statistics.median, times)
    result[kind], result[kind + "_rate"] = b / a, (8 if kind == "inference" else 4) / a
print(json.dumps(result))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", default=list(PAIRS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    print("| network | Keras' | load, s | Keras' load, s | ratio | memory / weights | Keras' | ", end="")
    print("images/s | speed, of Keras' | training speed, of Keras' |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for ours in arguments.names:
        theirs = PAIRS[ours]
        with tempfile.TemporaryDirectory() as folder:
            run(OUR_FILES.format(name=ours, path=folder + "/ours"))
            run(THEIR_FILE.format(theirs=theirs, folder=folder))
            codes = [
                LOADED.format(
                    load=f"modelzoo.networks.build({ours!r}, "
                    f"arrays=modelzoo.checkpoints.open_checkpoint({folder + '/ours.ckpt'!r}))"
                ),
                LOADED.format(load=f"keras.applications.{theirs}(weights={folder + '/theirs.weights.h5'!r})"),
            ]
            turns = [[run(code) for code in codes] for _ in range(arguments.runs)]
        speed = run(SPEED.format(ours=ours, theirs=theirs, turns=arguments.turns))

        def median(which: int, key: str, turns: list[list[dict[str, float]]] = turns) -> float:
            return statistics.median(turn[which][key] for turn in turns)

        print(
            f"| {ours} | {theirs} | {median(0, 'total'):.2f} | {median(1, 'total'):.2f} | "
            f"{median(0, 'total') / median(1, 'total'):.2f} | {median(0, 'memory'):.2f} | {median(1, 'memory'):.2f} | "
            f"{speed['inference_rate']:.1f} | {speed['inference']:.2f} | {speed['training']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
