"""Tasks that need order, solved by a recurrent head and not by a linear probe on the mean; a text network trained on.

Clips are made of photos: a window that pans over them or zooms into them, forwards or backwards; sounds are played
forwards or backwards. Both heads see the same frozen features, epochs and learning rate, stated here, for several
seeds; dropout and the length of the sounds were chosen on seed 0 of the sounds. The character network that read
Shakespeare is trained on another text: perplexities before and after.

    python benchmarks/sequences.py [--photos FOLDER] [--sounds FOLDER] [--shakespeare FOLDER] [--text FILE] [--seeds 3]
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
REPOSITORY = Path(__file__).resolve().parents[1]
FRAMES = 6
HEADS = {
    "recurrent": ("sequence", {"cell": "gru", "units": [32], "norm": "batch", "dropout": 0.3}),
    "mean": ("mean", {"norm": "batch", "dropout": 0.3}),
}
HOW = {"epochs": 30, "batch_size": 16}
RATE = 3e-3


def write_clips(photos: list[Path], folder: Path, movement: str, count: int, seed: int) -> None:
    """`count` clips a photo and direction; every clip has a path of its own."""
    import numpy as np
    from PIL import Image

    for number, path in enumerate(photos):
        with Image.open(path) as image:
            picture = image.convert("RGB")
        generator = np.random.default_rng([seed, number])
        for direction in ("forwards", "backwards"):
            for clip in range(count):
                place = folder / direction / f"{path.stem}-{clip}"
                place.mkdir(parents=True)
                boxes = list(_path(picture.size, movement, generator))
                for k, box in enumerate(boxes if direction == "forwards" else boxes[::-1]):
                    picture.resize((224, 224), Image.Resampling.BILINEAR, box).save(place / f"{k}.png")


def _path(size: tuple[int, int], movement: str, generator):
    """Boxes (left, upper, right, lower) of a window that moves."""
    width, height = size
    if movement == "pan":
        side = generator.uniform(0.5, 0.7) * min(width, height)
        upper = generator.uniform(0, height - side)
        first, last = generator.uniform(0, 0.1), generator.uniform(0.9, 1)
        for share in (first + (last - first) * k / (FRAMES - 1) for k in range(FRAMES)):
            left = share * (width - side)
            yield left, upper, left + side, upper + side
        return
    centre = [generator.uniform(0.4, 0.6) * width, generator.uniform(0.4, 0.6) * height]
    largest, smallest = generator.uniform(0.75, 0.8), generator.uniform(0.2, 0.3)
    for k in range(FRAMES):
        half = 0.5 * min(width, height) * largest * (smallest / largest) ** (k / (FRAMES - 1))
        yield centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half


def by_photo(data, held: set[str]):
    """(training, test): clips of the photos that are held back are tested with."""
    inside = [n for n, title in enumerate(data.titles) if title.split("/")[1].rpartition("-")[0] in held]
    return data.take(n for n in range(len(data)) if n not in set(inside)), data.take(inside)


def as_features(clips, backbone):
    """The clips with the features of their frames in the frames' place: computed once for all heads and seeds."""
    from dataclasses import replace

    from modelzoo.finetune import FeatureCache

    cache = FeatureCache(backbone)
    return replace(clips, items=tuple(cache.features(item) for item in clips.items))


def scores(train, test, seeds: int) -> dict[str, list[float]]:
    """Test accuracy of both heads, percent, a number a seed."""
    from modelzoo.finetune import Head
    from modelzoo.rnn import SequenceTuner, raw_steps

    found: dict[str, list[float]] = {}
    for name, (kind, options) in HEADS.items():
        for seed in range(seeds):
            head = Head(kind, len(train.names), options)
            steps = raw_steps(train.items[0].shape[1])
            tuner = SequenceTuner(steps, head, steps=train.steps, masked=train.masked, learning_rate=RATE, seed=seed)
            history = tuner.fit(train, test, **HOW)
            found.setdefault(name, []).append(100 * history["val_accuracy"][-1])
    return found


def sounds_of(folder: Path, piece: float = 0.5, hop: float = 0.02):
    """(training, test): pieces of sounds through a log-mel front end, played forwards or backwards.

    The last quarter of every sound is tested with.
    """
    from modelzoo.rnn import LogMel, Sequences, read_wav

    parts: dict[bool, list] = {False: [], True: []}
    for path in sorted(folder.rglob("*.wav")):
        samples, rate = read_wav(path)
        front = LogMel(rate=rate, bands=24, highest=min(4000, rate / 2), floor=1e-3)
        border = int(0.75 * len(samples))
        size = int(piece * rate)
        for start in range(0, len(samples) - size, int(hop * rate)):
            if start < border < start + size:
                continue
            cut = samples[start : start + size]
            if abs(cut).max() < 0.05:  # silence has no direction
                continue
            for label, sound in enumerate((cut, cut[::-1].copy())):
                parts[start >= border].append((f"{path.stem}-{start}-{label}", front(sound), label))
    return tuple(Sequences.cut(parts[test], ["forwards", "backwards"]) for test in (False, True))


def shakespeare(folder: Path, text: str) -> None:
    """Perplexities before and after training on, and what the network writes."""
    from modelzoo.rnn import CharRNN

    network = CharRNN.load(folder)
    text = network.vocabulary.filter(text)
    border = int(0.8 * len(text))
    train, test = text[:border], text[border:]
    own = "O Romeo, Romeo! wherefore art thou Romeo?\nDeny thy father and refuse thy name;\n"
    before = network.perplexity(test), network.perplexity(own)
    wrote = network.generate("The ", 160, temperature=0.5, seed=0)
    start = time.perf_counter()
    history = network.fit(train, test, epochs=12, batch_size=8, window=40, learning_rate=3e-3)
    took = time.perf_counter() - start
    after = network.perplexity(test), network.perplexity(own)
    print(f"\n{len(train)} characters trained on, {len(test)} tested with, 12 epochs, {took:.0f} s\n")
    print("| perplexity of | before | after |\n| --- | ---: | ---: |")
    print(f"| the new text's last fifth | {before[0]:.2f} | {after[0]:.2f} |")
    print(f"| a line of Shakespeare | {before[1]:.2f} | {after[1]:.2f} |")
    print(f"\nafter each epoch: {', '.join(f'{value:.2f}' for value in history['val_perplexity'])}")
    print(f"\nbefore: {('The ' + wrote)!r}")
    print(f"after: {('The ' + network.generate('The ', 160, temperature=0.5, seed=0))!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, default=DATA / "photos")
    parser.add_argument("--sounds", type=Path, default=DATA / "data" / "cwrnn_audio")
    parser.add_argument("--shakespeare", type=Path, default=DATA / "models" / "char_rnn_shakespeare")
    parser.add_argument("--text", type=Path, default=REPOSITORY / "LICENSE")
    parser.add_argument("--model", default="inception_v1_scenes")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for folder in (options.photos, options.sounds, options.shakespeare):
        if not folder.is_dir():
            raise SystemExit(f"needs {folder}; give another one")
    from modelzoo.finetune import Backbone
    from modelzoo.rnn import read_clips

    print("| task | training | test | recurrent, % | mean, % |\n| --- | ---: | ---: | ---: | ---: |")

    def row(task: str, train, test, found: dict[str, list[float]]) -> None:
        shown = [f"{statistics.mean(one):.1f} ({min(one):.0f}-{max(one):.0f})" for one in found.values()]
        print(f"| {task} | {len(train)} | {len(test)} | {' | '.join(shown)} |", flush=True)

    photos = sorted(path for path in options.photos.iterdir() if path.suffix in (".jpg", ".jpeg"))
    backbone = Backbone(options.model, pooling="avg")
    for movement in ("pan", "zoom"):
        with tempfile.TemporaryDirectory() as folder:
            write_clips(photos, Path(folder), movement, 10, seed=0)
            data = as_features(read_clips(folder), backbone)
        train, test = data.split(0.3, 0)
        row(f"{movement}, new windows", train, test, scores(train, test, options.seeds))
        train, test = by_photo(data, {path.stem for path in photos[::3]})
        row(f"{movement}, new photos", train, test, scores(train, test, options.seeds))
    train, test = sounds_of(options.sounds)
    row("sound, the rest of it", train, test, scores(train, test, options.seeds))
    shakespeare(options.shakespeare, options.text.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
