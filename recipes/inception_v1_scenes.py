"""How the bundled checkpoint `inception_v1_scenes` was made: an Inception V1 of reduced width, trained on drawn scenes.

    python -m recipes.inception_v1_scenes --out modelzoo/bundled

draws the pictures, trains, and writes a TF-slim style V1 checkpoint in a tar.gz and a sample picture. The checkpoint
is then restored from its file and measured, on seeds and on a style of drawing that training never saw; the numbers
that the card states are printed. No network is needed.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import math
import tarfile
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recipes.scenes import CLASSES, HELD_OUT_STYLE, scene

__all__ = ["ARCHIVE", "HELD_OUT_SEED", "MEMBER", "SAMPLE", "Settings", "main", "pack", "run", "top1"]

ARCHIVE = "inception_v1_scenes_2026_11_25.tar.gz"
MEMBER = "inception_v1_scenes.ckpt"

HELD_OUT_SEED = 1_000_000
"""The first of the seeds that measure the accuracy; training counts from 0 and never comes here."""

SAMPLE = ("cat", 2_000_002, 256)
"""Class, seed and side of the picture that `modelzoo demo` looks at; neither training nor measuring sees it."""

_WORKERS = 2


@dataclass(frozen=True)
class Settings:
    """What a run does.

    Args:
        pictures: drawn for each class to train with.
        held_out: drawn for each class to measure with.
        drawn: side of the drawn pictures, pixels.
        size: side of the network's input, pixels.
        width: of the network; 1 is the paper's.
        epochs: through all pictures.
        batch: pictures a step.
        rate: peak of the learning rate.
        seed: of everything that is random.
    """

    pictures: int = 1000
    held_out: int = 100
    drawn: int = 160
    size: int = 112
    width: float = 0.25
    epochs: int = 16
    batch: int = 64
    rate: float = 4e-3
    seed: int = 20261125


def _draw(job: tuple[int, int, int]) -> np.ndarray:
    label, seed, size = job
    return scene(CLASSES[label], seed, size)


def draw(settings: Settings, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """The training pictures, drawn once.

    Args:
        settings: `pictures` and `drawn` matter.
        work: folder that keeps them for the next run.

    Returns:
        uint8 (N, drawn, drawn, 3) RGB, a memory map of a file in `work`, and their labels, int32 (N,).
    """
    from tqdm import tqdm

    jobs = [(label, seed, settings.drawn) for seed in range(settings.pictures) for label in range(len(CLASSES))]
    labels = np.array([label for label, _, _ in jobs], np.int32)
    path = work / f"{settings.pictures}x{settings.drawn}.npy"
    if not path.is_file():
        partial = path.with_suffix(".part")
        shape = (len(jobs), settings.drawn, settings.drawn, 3)
        pictures = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
        with ProcessPoolExecutor(_WORKERS) as pool:
            drawn = pool.map(_draw, jobs, chunksize=32)
            for number, picture in enumerate(tqdm(drawn, "drawing", len(jobs), mininterval=2)):
                pictures[number] = picture
        pictures.flush()
        del pictures
        partial.replace(path)
    return np.load(path, mmap_mode="r"), labels


def moved(pictures: Any, draws: Any, size: int) -> Any:
    """Crops of 60 to 100 % of the side, turned by up to 12 degrees, stretched by up to 10 % and half of them mirrored.

    Args:
        pictures: float32 (N, H, H, 3).
        draws: (N, 6) in [0, 1).
        size: side of the result, pixels.

    Returns:
        float32 (N, size, size, 3); what lies outside a picture is its reflection.
    """
    import tensorflow as tf

    side = pictures.shape[1]
    share = 0.6 + 0.4 * tf.sqrt(draws[:, 0])
    scale = share * side / size
    stretch = tf.exp((draws[:, 1] - 0.5) * 0.2)
    angle = (draws[:, 2] - 0.5) * math.radians(24)
    mirror = tf.where(draws[:, 3] < 0.5, -1.0, 1.0)
    a, b = scale * stretch * mirror * tf.cos(angle), -scale / stretch * tf.sin(angle)
    c, d = scale * stretch * mirror * tf.sin(angle), scale / stretch * tf.cos(angle)
    centre = (side - 1) / 2 + (draws[:, 4:6] - 0.5) * ((1 - share) * side)[:, None]
    middle = (size - 1) / 2
    x, y = centre[:, 0] - (a + b) * middle, centre[:, 1] - (c + d) * middle
    zero = tf.zeros_like(x)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=tf.stack([a, b, x, c, d, y, zero, zero], 1),
        output_shape=(size, size),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def lit(pictures: Any, draws: Any) -> Any:
    """Other light and colours: contrast, brightness, gains of the channels, saturation down to grey.

    Args:
        pictures: float32 (N, H, W, 3) in [-1, 1].
        draws: (N, 6) in [0, 1).

    Returns:
        float32 (N, H, W, 3) in [-1, 1].
    """
    import tensorflow as tf

    draws = draws[:, None, None, :]
    pictures = pictures * (0.75 + 0.5 * draws[..., 0:1]) * (0.85 + 0.3 * draws[..., 1:4])
    grey = tf.reduce_mean(pictures, -1, keepdims=True)
    saturation = tf.maximum(0.0, 1.5 * draws[..., 4:5] - 0.2)
    pictures = grey + (pictures - grey) * saturation + (draws[..., 5:6] - 0.5) * 0.4
    return tf.clip_by_value(pictures, -1.0, 1.0)


def batches(pictures: np.ndarray, labels: np.ndarray, settings: Settings) -> Any:
    """An endless tf.data pipeline of (float32 (batch, size, size, 3) in [-1, 1], one-hot float32 (batch, classes))."""
    import tensorflow as tf

    def augmented(step: Any, numbers: Any) -> Any:
        raw = tf.numpy_function(lambda chosen: pictures[chosen], [numbers], tf.uint8, stateful=False)
        raw = tf.ensure_shape(raw, (settings.batch, *pictures.shape[1:]))
        draws = tf.random.stateless_uniform(
            (settings.batch, 12), tf.stack([tf.constant(settings.seed, tf.int64), step])
        )
        batch = moved(tf.cast(raw, tf.float32) / 127.5 - 1.0, draws[:, :6], settings.size)
        return lit(batch, draws[:, 6:]), tf.one_hot(tf.gather(labels, numbers), len(CLASSES))

    count = len(labels)
    numbers = tf.data.Dataset.range(count).shuffle(count, seed=settings.seed).repeat().batch(settings.batch)
    steps = tf.data.Dataset.zip((tf.data.Dataset.counter(), numbers))
    return steps.map(augmented, num_parallel_calls=2, deterministic=True).prefetch(4)


def train(settings: Settings, work: Path) -> Any:
    """The trained network, a Keras model as `modelzoo.networks.build` makes it."""
    import keras

    from modelzoo import networks

    keras.utils.set_random_seed(settings.seed)
    pictures, labels = draw(settings, work)
    model = networks.build(
        "inception_v1",
        input_shape=(settings.size, settings.size, 3),
        card_classes=len(CLASSES),
        width=settings.width,
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.99  # slim's 0.9997 is for runs of half a million steps
    steps = max(1, len(labels) // settings.batch)
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.rate / 20,
        settings.epochs * steps,
        warmup_target=settings.rate,
        warmup_steps=min(steps, settings.epochs * steps // 2),
    )
    model.compile(
        keras.optimizers.AdamW(schedule, weight_decay=5e-3, clipnorm=5.0),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        metrics=["accuracy"],
    )
    model.fit(batches(pictures, labels, settings), epochs=settings.epochs, steps_per_epoch=steps, verbose=2)
    return model


def arrays_of(model: Any) -> dict[str, np.ndarray]:
    """{slim's variable name: array} of a trained network, its moving averages and `global_step` included."""
    found = {}
    for layer in model.layers:
        for variable in layer.weights:
            name = model.variable_names.get(f"{layer.name}/{variable.name}")
            assert name is not None, variable.path
            found[name] = np.asarray(variable)
    found["global_step"] = np.asarray(int(model.optimizer.iterations), np.int64)
    return found


def restored(checkpoint: Path, settings: Settings) -> Any:
    """The network as a user gets it: built from nothing but the file."""
    from modelzoo import networks
    from modelzoo.checkpoints import open_checkpoint

    with open_checkpoint(checkpoint) as arrays:
        return networks.build(
            "inception_v1",
            arrays=arrays,
            input_shape=(settings.size, settings.size, 3),
            card_classes=len(CLASSES),
            width=settings.width,
        )


def top1(model: Any, preprocess: Any, seeds: Sequence[int], side: int, style: int | None = None) -> float:
    """Share of pictures, in percent, whose likeliest class is the right one.

    Args:
        model: gives logits (N, classes).
        preprocess: from a uint8 (H, W, 3) picture to the model's input.
        seeds: each is drawn in every class.
        side: of the pictures, pixels.
        style: of the drawings; None = as the seed chooses among those of the training.
    """
    right = 0
    for label, name in enumerate(CLASSES):
        inputs = np.concatenate([preprocess(scene(name, seed, side, style=style)) for seed in seeds])
        right += int((np.asarray(model(inputs, training=False)).argmax(-1) == label).sum())
    return 100.0 * right / (len(CLASSES) * len(seeds))


def pack(checkpoint: Path, archive: Path) -> None:
    """A tar.gz of one checkpoint that is the same, byte for byte, whoever makes it and when."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(checkpoint.name)  # owner 0, no time
        info.size, info.mode = checkpoint.stat().st_size, 0o644
        with checkpoint.open("rb") as file:
            tar.addfile(info, file)
    partial = archive.with_name(archive.name + ".part")
    with partial.open("wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(raw.getvalue())
    partial.replace(archive)


def run(settings: Settings, out: Path, work: Path) -> dict[str, Any]:
    """Train, write archive and sample into `out`, measure what was written.

    Args:
        settings: what is done.
        out: folder of the results.
        work: folder that keeps the drawn pictures.

    Returns:
        What the card states: `file` (sizes and digests), `accuracy` in percent, and how it came about.
    """
    from PIL import Image

    from modelzoo.checkpoints.write_v1 import write_v1
    from modelzoo.preprocess import Preprocess
    from modelzoo.store.digests import hash_file

    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    trained = train(settings, work)
    minutes = (time.monotonic() - begun) / 60
    archive = out / ARCHIVE
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = write_v1(Path(scratch) / MEMBER, arrays_of(trained))
        member = {"path": MEMBER, "size": checkpoint.stat().st_size, "sha256": hash_file(checkpoint).sha256}
        pack(checkpoint, archive)
        model = restored(checkpoint, settings)
    Image.fromarray(scene(*SAMPLE)).save(out / "demo.png", optimize=True)
    size = [settings.size, settings.size]
    preprocess = Preprocess.from_dict({"family": "inception", "size": size, "crop_fraction": 0.875})
    seeds = range(HELD_OUT_SEED, HELD_OUT_SEED + settings.held_out)
    return {
        "file": {
            "name": ARCHIVE,
            "size": archive.stat().st_size,
            "sha256": hash_file(archive).sha256,
            "member": member,
        },
        "accuracy": {
            "top1": round(top1(model, preprocess, seeds, settings.drawn), 2),
            "top1_at_256_pixels": round(top1(model, preprocess, seeds, 256), 2),
            "top1_in_the_held_out_style": round(top1(model, preprocess, seeds, settings.drawn, HELD_OUT_STYLE), 2),
            "pictures": len(CLASSES) * settings.held_out,
        },
        "parameters": model.count_params(),
        "settings": asdict(settings),
        "minutes_of_training": round(minutes, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: every setting is an option."""
    parser = argparse.ArgumentParser(prog="python -m recipes.inception_v1_scenes", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where archive and sample picture go")
    parser.add_argument("--work", type=Path, help="where the drawn pictures are kept; default: thrown away")
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"default: {value}")
    given = vars(parser.parse_args(arguments))
    out, work = given.pop("out"), given.pop("work")

    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    with tempfile.TemporaryDirectory() as scratch:
        numbers = run(Settings(**given), out, work or Path(scratch))
    print(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()
