"""A linear probe on pretrained features beside a small network from scratch, on few faces of 40 people (ORL).

Every person has ten pictures; 5, 7 or 9 of them are trained on and the others are tested with, for several splits.
One learning rate and number of epochs a method, stated here; the head's normalisation was chosen on a split of these
pictures (5 a person, seed 0, bundled features).

    python benchmarks/finetune.py [--faces FILE.mat] [--googlenet FILE.caffemodel] [--splits 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

DATA = Path(os.environ.get("MODELZOO_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared")
COUNTS = (5, 7, 9)
PROBE = {"epochs": 60, "batch_size": 32}
SCRATCH = {"epochs": 60, "batch_size": 32}


def write_faces(path: Path, folder: Path) -> None:
    """Pictures of 64 x 64 pixels, column-major in the file, ten a person one after the other."""
    import numpy as np
    import scipy.io
    from PIL import Image

    faces = scipy.io.loadmat(path)["faces"]
    for number in range(faces.shape[1]):
        picture = faces[:, number].reshape(64, 64, order="F")
        low, high = float(picture.min()), float(picture.max())
        scaled = picture if high > 2 else picture * 255
        assert low >= 0
        place = folder / f"person {number // 10:02d}"
        place.mkdir(exist_ok=True)
        Image.fromarray(np.clip(np.round(scaled), 0, 255).astype(np.uint8)).save(place / f"{number % 10}.png")


def splits(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and to test with: `count` of each person's ten pictures."""
    import numpy as np

    train: list[int] = []
    for person in range(40):
        order = np.random.default_rng([seed, person]).permutation(10)
        train += (10 * person + order[:count]).tolist()
    return sorted(train), sorted(set(range(400)) - set(train))


def probe(backbone, faces, count: int, seed: int, cache: Path) -> float:
    """Accuracy of a linear probe, in percent."""
    import numpy as np

    from modelzoo.finetune import FeatureCache, FineTuner, Head

    train, test = splits(count, seed)
    tuner = FineTuner(backbone, Head("linear", 40, {"norm": "batch"}), learning_rate=3e-3, seed=seed)
    # The features lie on disk for all splits; only the head is trained.
    store = FeatureCache(backbone, cache)
    features = store.features(faces.paths)
    labels = np.asarray(faces.labels)
    tuner.head_model.compile(tuner.optimizer, tuner.loss, jit_compile=False)
    tuner.head_model.fit(features[train], labels[train], verbose=0, **PROBE)
    answers = np.asarray(tuner.head_model(features[test])).argmax(1)
    return 100 * float((answers == labels[test]).mean())


def scratch(faces, count: int, seed: int) -> float:
    """Accuracy of a small convolutional network trained from nothing, in percent."""
    import keras
    import numpy as np
    from PIL import Image

    from modelzoo.finetune.seeding import seed_layers

    train, test = splits(count, seed)
    pictures = np.stack([np.asarray(Image.open(path), np.float32) for path in faces.paths])[..., None] / 255
    labels = np.asarray(faces.labels)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((64, 64, 1)),
            *[
                layer
                for width in (16, 32, 64)
                for layer in (layers.Conv2D(width, 3, padding="same", activation="relu"), layers.MaxPooling2D())
            ],
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(128, activation="relu"),
            layers.Dense(40),
        ]
    )
    seed_layers(model.layers, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    model.fit(pictures[train], labels[train], verbose=0, **SCRATCH)
    return 100 * float((np.asarray(model(pictures[test])).argmax(1) == labels[test]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=Path, default=DATA / "data" / "orl_faces_olivettifaces.mat")
    parser.add_argument(
        "--googlenet", type=Path, default=DATA / "models" / "bvlc_googlenet" / "bvlc_googlenet.caffemodel"
    )
    parser.add_argument("--splits", type=int, default=3)
    options = parser.parse_args()
    if not options.faces.is_file():
        raise SystemExit(f"needs the ORL faces ({options.faces}); give --faces FILE.mat")
    from modelzoo.finetune import Backbone, ClassFolder

    with tempfile.TemporaryDirectory() as scratch_folder:
        folder = Path(scratch_folder)
        (folder / "faces").mkdir()
        write_faces(options.faces, folder / "faces")
        faces = ClassFolder.read(folder / "faces")
        methods = {}
        for tap in ("Mixed_4f", "global_pool"):
            backbone = Backbone("inception_v1_scenes", tap=tap, pooling="avg")
            methods[f"bundled, probe on {tap}"] = lambda c, s, b=backbone: probe(b, faces, c, s, folder / "cache")
        if options.googlenet.is_file():
            for tap in ("inception_4e/output", "pool5/7x7_s1"):
                backbone = Backbone("bvlc_googlenet", tap=tap, pooling="avg", weights=options.googlenet)
                methods[f"GoogLeNet, probe on {tap}"] = lambda c, s, b=backbone: probe(b, faces, c, s, folder / "cache")
        methods["small CNN from scratch"] = lambda c, s: scratch(faces, c, s)
        print(f"top-1 in percent, mean of {options.splits} splits (lowest - highest), training pictures a person")
        print(f"{'method':<38}" + "".join(f"{count:>22}" for count in COUNTS) + f"{'seconds':>10}")
        for name, method in methods.items():
            start = time.perf_counter()
            cells = []
            for count in COUNTS:
                found = [method(count, seed) for seed in range(options.splits)]
                cells.append(f"{statistics.mean(found):.1f} ({min(found):.1f} - {max(found):.1f})")
            seconds = time.perf_counter() - start
            print(f"{name:<38}" + "".join(f"{cell:>22}" for cell in cells) + f"{seconds:>10.0f}", flush=True)


if __name__ == "__main__":
    main()
