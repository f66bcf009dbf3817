"""Seconds for each iteration of style transfer, and peak memory, beside plain loops of the published formulation.

All sides use the same network (untouched, from the same file), the same taps, the same pictures of the same size, and
Adam; ours is `StyleTransfer`. The peers:

* `plain loop`: the formulation as papers and tutorials print it: a Keras model of the taps, targets computed once, and
  in every iteration, eagerly, a `tf.GradientTape` over the model, Gram matrices, and `optimizer.apply_gradients`.
* `keras example`: as the neural style transfer example of keras.io does it: one `tf.function`, which puts content,
  style and result through the network as a batch of three in every iteration.
* `plain loop, traced`: the plain loop with its step inside `tf.function`.

They are timed in turns, a few iterations each, after their first call; the ratio is of medians. Memory is the most that
a fresh process for each side had (VmHWM), before and after. Without `--weights` the network is Inception V1 with random
numbers, whose time is the same.

    python benchmarks/style.py [--backbone bvlc_googlenet --weights FILE] [--size 512] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

SIDES = ("plain loop", "keras example", "plain loop, traced", "ours, adam", "ours, lbfgs")


def pictures(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Content and style, uint8 (size, size, 3): smooth colours, and stripes."""
    from PIL import Image

    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (cells, cells, 3), np.uint8) for cells in (8, 40)]
    content, style = (np.asarray(Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC)) for c in coarse)
    return content, style


def network(arguments: argparse.Namespace) -> Any:
    """The backbone; random numbers without a file."""
    import modelzoo as mz

    if arguments.weights:
        return mz.load_pretrained(arguments.backbone, weights=arguments.weights)
    return mz.load_pretrained(arguments.backbone, weights=None, include_top=False)


def taps_of(model: Any) -> tuple[str, list[str]]:
    from modelzoo.style import style_taps

    content, style = style_taps(model, model.card)
    return content[0], style


def peer(model: Any, size: int, kind: str) -> Callable[[], Any]:
    """One iteration of a peer; targets, where it keeps them, are computed here."""
    import keras
    import tensorflow as tf

    content_tap, style_tap_names = taps_of(model)
    names = list(dict.fromkeys([content_tap, *style_tap_names]))
    # A model of the taps for the size of the pictures, of the same layers.
    given = keras.Input((size, size, 3))
    inside = keras.Function(list(model.inputs), {name: model.taps[name].tensor for name in names})
    extractor = keras.Model(given, inside._run_through_graph([given]))
    preprocess = model.preprocess
    bgr = preprocess.colour == "BGR"
    mean = np.array(preprocess.mean, np.float32) if preprocess.mean else np.float32(0)
    content, style = (picture[None].astype(np.float32) for picture in pictures(size))

    def prepared(x: Any) -> Any:
        x = x[..., ::-1] if bgr else x
        return (x * (preprocess.multiply / preprocess.divide) - mean) * preprocess.scale

    def gram(maps: Any) -> Any:
        flat = tf.reshape(maps, (-1, maps.shape[-1]))
        return tf.matmul(flat, flat, transpose_a=True)

    def style_distance(maps: Any, target: Any) -> Any:
        positions, channels = float(maps.shape[0] * maps.shape[1]), float(maps.shape[-1])
        return tf.reduce_sum(tf.square(gram(maps) - target)) / (4.0 * positions**2 * channels**2)

    image = tf.Variable(content)
    optimizer = keras.optimizers.Adam(4.0)
    weight = 1.0 / len(style_tap_names)

    if kind == "keras example":

        @tf.function
        def gradient_of(base: Any, reference: Any, combination: Any) -> Any:
            with tf.GradientTape() as tape:
                batch = tf.concat([prepared(base), prepared(reference), prepared(combination)], axis=0)
                features = extractor(batch)
                loss = 1e-4 * tf.reduce_sum(tf.square(features[content_tap][2] - features[content_tap][0]))
                for name in style_tap_names:
                    loss += weight * style_distance(features[name][2], gram(features[name][1]))
            return loss, tape.gradient(loss, combination)

        def example() -> Any:
            loss, gradient = gradient_of(tf.constant(content), tf.constant(style), image)
            optimizer.apply_gradients([(gradient, image)])
            return loss

        return example

    content_target = extractor(prepared(tf.constant(content)))[content_tap]
    style_maps = extractor(prepared(tf.constant(style)))
    style_targets = {name: gram(style_maps[name][0]) for name in style_tap_names}

    def plain() -> Any:
        with tf.GradientTape() as tape:
            features = extractor(prepared(image))
            loss = 1e-4 * tf.reduce_sum(tf.square(features[content_tap] - content_target))
            for name in style_tap_names:
                loss += weight * style_distance(features[name][0], style_targets[name])
        optimizer.apply_gradients([(tape.gradient(loss, image), image)])
        image.assign(tf.clip_by_value(image, 0.0, 255.0))
        return loss

    if kind == "plain loop":
        return plain
    optimizer.build([image])
    return tf.function(plain)


def ours(model: Any, size: int, optimizer: str) -> Callable[[], Any]:
    """One step of `StyleTransfer`'s own run, variation left out as the peers do."""
    from modelzoo.style import StyleTransfer
    from modelzoo.style.optimizers import OPTIMIZERS

    content, style = pictures(size)
    transfer = StyleTransfer(model, optimizer=optimizer, size=size, variation_weight=0.0, pooling="own")
    objective = transfer._objective(content, [style], [1.0])
    start = content.astype(np.float32)
    return OPTIMIZERS[optimizer](objective, start, learning_rate=transfer.learning_rate, memory=10).step


def side(name: str, model: Any, size: int) -> Callable[[], Any]:
    return ours(model, size, name.split()[-1]) if name.startswith("ours") else peer(model, size, name)


def high_water() -> int:
    """The most memory that this process ever had, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def memory(arguments: argparse.Namespace) -> None:
    """The child: one side for a few iterations, and the memory before and after."""
    model = network(arguments)
    before = high_water()
    step = side(arguments.only, model, arguments.size)
    for _ in range(arguments.iterations):
        step()
    print(json.dumps({"before": before, "after": high_water()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="inception_v1")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--only", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        memory(arguments)
        return
    model = network(arguments)
    steps = {name: side(name, model, arguments.size) for name in SIDES}
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    for step in steps.values():
        step()  # traced, and slots made, outside the measurement
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            begin = time.perf_counter()
            for _ in range(arguments.iterations):
                step()
            seconds[name].append((time.perf_counter() - begin) / arguments.iterations)
    peaks = {}
    for name in SIDES:
        words = [
            sys.executable,
            __file__,
            "--only",
            name,
            "--size",
            str(arguments.size),
            "--backbone",
            arguments.backbone,
        ]
        words += ["--weights", str(arguments.weights)] if arguments.weights else []
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        peaks[name] = json.loads(told.splitlines()[-1])
    print(
        f"{arguments.backbone}, {arguments.size} x {arguments.size} pixels, medians of {arguments.rounds} rounds of ",
        end="",
    )
    print(f"{arguments.iterations} iterations in turns, {os.cpu_count()} processors\n")
    print("| what | s/iteration | / plain loop | / keras example | peak memory, MB | added by style, MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, value in medians.items():
        ratios = f"{value / medians['plain loop']:.2f} | {value / medians['keras example']:.2f}"
        peak = peaks[name]
        added = (peak["after"] - peak["before"]) / 1e6
        print(f"| {name} | {value:.3f} | {ratios} | {peak['after'] / 1e6:.0f} | {added:.0f} |")


if __name__ == "__main__":
    main()
