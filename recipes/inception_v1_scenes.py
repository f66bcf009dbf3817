"""How the bundled checkpoint `inception_v1_scenes` was made: an Inception V1 of reduced width, trained on drawn scenes.

    python -m recipes.inception_v1_scenes --out modelzoo/bundled

draws the pictures, trains, measures on seeds and on a style of drawing that training never saw, and writes a TF-slim
style V1 checkpoint in a tar.gz, a sample picture, and the numbers that its card states. No network is needed.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
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

__all__ = ["Settings", "main", "pack", "run"]

NAME = "inception_v1_scenes"
MEMBER = f"{NAME}.ckpt"

#: Seeds that training never draws: the first of those that measure the accuracy.
HELD_OUT_SEED = 1_000_000

#: Class, seed and side of the picture that `modelzoo demo` looks at; training never saw it.
SAMPLE = ("cat", 2_000_002, 256)


@dataclass(frozen=True)
class Settings:
    """What a run does.

    Args:
        pictures: drawn for each class.
        held_out: for each class, to measure with.
        drawn: side of the drawn pictures, pixels.
        size: side of the network's input, pixels.
        width: of the network; 1 is the paper's.
        epochs: through all pictures.
        batch: pictures a step.
        rate: peak of the learning rate.
        seed: of everything that is random.
    """

    pictures: int = 640
    held_out: int = 40
    drawn: int = 128
    size: int = 96
    width: float = 0.25
    epochs: int = 14
    batch: int = 64
    rate: float = 4e-3
    seed: int = 20261125


def _draw(job: tuple[int, int, int, int | None]) -> np.ndarray:
    label, seed, size, style = job
    return scene(CLASSES[label], seed, size, style=style)


def draw(settings: Settings, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The training pictures, uint8 (N, drawn, drawn, 3), as a memory map in `folder`, and their labels (N,)."""
    jobs = [(label, seed, settings.drawn, None) for seed in range(settings.pictures) for label in range(len(CLASSES))]
    labels = np.array([job[0] for job in jobs], np.int32)
    path = folder / f"{settings.pictures}x{settings.drawn}.npy"
    if path.is_file():
        return np.load(path, mmap_mode="r"), labels
    partial = path.with_suffix(".part.npy")
    shape = (len(jobs), settings.drawn, settings.drawn, 3)
    pictures = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
    with ProcessPoolExecutor(2) as pool:
        for number, picture in enumerate(pool.map(_draw, jobs, chunksize=32)):
            pictures[number] = picture
    pictures.flush()
    partial.replace(path)
    return np.load(path, mmap_mode="r"), labels


def batches(pictures: np.ndarray, labels: np.ndarray, settings: Settings) -> Any:
    """A tf.data pipeline of augmented batches in [-1, 1]: crops of 60 to 100 %, flips, light, colour."""
    import tensorflow as tf

    size = settings.size

    def augment(number: Any, seed: Any) -> Any:
        picture = tf.numpy_function(lambda n: np.asarray(pictures[n]), [number], tf.uint8)
        picture = tf.cast(tf.ensure_shape(picture, pictures.shape[1:]), tf.float32) / 127.5 - 1.0
        draws = tf.random.stateless_uniform((8,), seed)
        side = 0.6 + 0.4 * tf.sqrt(draws[0])
        top, left = draws[1] * (1 - side), draws[2] * (1 - side)
        box = tf.stack([top, left, top + side, left + side])[None]
        picture = tf.image.crop_and_resize(picture[None], box, [0], (size, size))[0]
        picture = tf.where(draws[3] < 0.5, picture[:, ::-1], picture)
        picture = picture * (0.8 + 0.4 * draws[4]) + (draws[5] - 0.5) * 0.3
        grey = tf.reduce_mean(picture, -1, keepdims=True)
        picture = grey + (picture - grey) * (0.7 + 0.6 * draws[6])
        return tf.clip_by_value(picture, -1.0, 1.0), tf.one_hot(tf.gather(labels, number), len(CLASSES))

    count = len(labels)
    data = tf.data.Dataset.range(count).shuffle(count, seed=settings.seed).repeat()
    counter = tf.data.Dataset.counter()
    data = tf.data.Dataset.zip((data, counter)).map(
        lambda number, step: augment(number, tf.stack([tf.cast(settings.seed, tf.int64), step])),
        num_parallel_calls=2,
        deterministic=True,
    )
    return data.batch(settings.batch, drop_remainder=True).prefetch(4)


def train(settings: Settings, work: Path) -> Any:
    """The trained Keras model."""
    import keras

    from modelzoo import networks

    keras.utils.set_random_seed(settings.seed)
    pictures, labels = draw(settings, work)
    model = networks.build(
        "inception_v1", input_shape=(settings.size, settings.size, 3), card_classes=len(CLASSES), width=settings.width
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.98  # slim's 0.9997 is for runs of half a million steps
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
    """{slim's variable name: array} of a network that `modelzoo.networks` built."""
    found = {}
    for layer in model.layers:
        for variable in layer.weights:
            name = model.variable_names.get(f"{layer.name}/{variable.name}")
            assert name is not None, variable.path
            found[name] = np.asarray(variable)
    found["global_step"] = np.asarray(int(model.optimizer.iterations), np.int64)
    return found


def accuracy(model: Any, settings: Settings, style: int | None) -> float:
    """Top-1 in percent on pictures of seeds (and, with `style`, of a style) that training never saw."""
    from modelzoo.preprocess import Preprocess

    preprocess = Preprocess.from_dict(
        {"family": "inception", "size": [settings.size, settings.size], "crop_fraction": 0.875}
    )
    right = total = 0
    for label, name in enumerate(CLASSES):
        seeds = range(HELD_OUT_SEED, HELD_OUT_SEED + settings.held_out)
        inputs = np.concatenate([preprocess(scene(name, seed, settings.drawn, style=style)) for seed in seeds])
        right += int((np.asarray(model(inputs, training=False)).argmax(-1) == label).sum())
        total += len(inputs)
    return 100.0 * right / total


def pack(checkpoint: Path, archive: Path) -> None:
    """A tar.gz of one checkpoint that is the same, byte for byte, whoever makes it and when."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(checkpoint.name)
        info.size, info.mode = checkpoint.stat().st_size, 0o644
        with checkpoint.open("rb") as file:
            tar.addfile(info, file)
    partial = archive.with_name(archive.name + ".part")
    with partial.open("wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(raw.getvalue())
    partial.replace(archive)


def run(settings: Settings, out: Path, work: Path) -> dict[str, Any]:
    """Train, measure and write `inception_v1_scenes.tar.gz` and its numbers into `out`; returns the numbers."""
    from PIL import Image

    from modelzoo.checkpoints.write_v1 import write_v1
    from modelzoo.store.digests import hash_file

    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    model = train(settings, work)
    archive = out / f"{NAME}.tar.gz"
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = write_v1(Path(scratch) / MEMBER, arrays_of(model))
        member = {"size": checkpoint.stat().st_size, "sha256": hash_file(checkpoint).sha256}
        pack(checkpoint, archive)
    Image.fromarray(scene(*SAMPLE)).save(out / "demo.png", optimize=True)
    numbers = {
        "archive": {"size": archive.stat().st_size, "sha256": hash_file(archive).sha256},
        "member": member,
        "top1": round(accuracy(model, settings, None), 1),
        "top1_held_out_style": round(accuracy(model, settings, HELD_OUT_STYLE), 1),
        "classes": list(CLASSES),
        "settings": asdict(settings),
        "minutes": round((time.monotonic() - begun) / 60, 1),
    }
    return numbers


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: every setting is an option."""
    parser = argparse.ArgumentParser(prog="python -m recipes.inception_v1_scenes", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("modelzoo/bundled"))
    parser.add_argument("--work", type=Path, help="where the drawn pictures are kept; default: thrown away")
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = vars(parser.parse_args(arguments))
    out, work = given.pop("out"), given.pop("work")
    with tempfile.TemporaryDirectory() as scratch:
        numbers = run(Settings(**given), out, work or Path(scratch))
    print(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
