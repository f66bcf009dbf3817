"""What extraction of features adds to the network itself, and what kills cost.

`rate`: the bare network on batches that lie in memory, then `fx.extract` from JPEG files, in turns in one process; the
ratio of their pictures a second is the figure. Beside it: what decoding alone would cost, since on a machine without an
accelerator decoding and network share the processors. The weights are random numbers: they do not change the time.

`kills`: extraction in child processes that are killed (SIGKILL) three times and continued; the file is compared, byte
for byte, with that of a run that nobody killed, and every computed picture is counted.

    python benchmarks/features.py rate [--network inception_v1] [--size 224] [--pictures 512] [--rounds 3]
    python benchmarks/features.py kills [--pictures 10000] [--network inception_v1] [--width 0.125] [--size 64]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np


def draw_jpegs(folder: Path, count: int, height: int, width: int) -> None:
    """JPEGs of smooth shapes with some noise, sizes within a quarter of the given ones, each different."""
    from PIL import Image

    rng = np.random.default_rng(7)
    for number in range(count):
        h, w = int(height * rng.uniform(0.75, 1.25)), int(width * rng.uniform(0.75, 1.25))
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize((w, h), Image.Resampling.BICUBIC)).astype(np.int16)
        pixels += rng.integers(-12, 13, (h, w, 1), np.int16)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.save(folder / f"{number:06}.jpg", quality=90)


def extractor_of(network: str, size: int, options: dict[str, Any]) -> Any:
    """A network with fixed random weights, one pooled tap."""
    import keras

    from modelzoo import networks
    from modelzoo.features import FeatureExtractor
    from modelzoo.preprocess import Preprocess

    keras.utils.set_random_seed(3)
    model = networks.build(network, input_shape=(size, size, 3), include_top=False, **options)
    tap = [name for name, value in model.taps.items() if value.end_point and len(value.tensor.shape) == 4][-1]
    preprocess = Preprocess.from_dict({"family": "inception", "size": [size, size]})
    return FeatureExtractor(model, tap, pooling="avg", preprocess=preprocess)


def rate(arguments: argparse.Namespace) -> None:
    """Prints the table of the ratio."""
    from modelzoo.features.decoding import prepared_ahead
    from modelzoo.features.extract import find_pictures

    fx = extractor_of(arguments.network, arguments.size, {})
    count, step = arguments.pictures, arguments.batch_size
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        folder.mkdir()
        draw_jpegs(folder, count, 375, 500)
        paths = find_pictures(folder)
        batch = fx.preprocess(paths[:step])
        fx.run(batch)  # traced outside the measurement
        seconds: dict[str, list[float]] = {"bare network": [], "decoding alone": [], "extract": []}
        cpu: dict[str, list[float]] = {name: [] for name in seconds}
        for _ in range(arguments.rounds):
            for name, times in seconds.items():
                begin, begin_cpu = time.perf_counter(), time.process_time()
                if name == "bare network":
                    for _ in range(count // step):
                        fx.run(batch)
                elif name == "decoding alone":
                    for _ in prepared_ahead(fx.preprocess, paths, step, range(count // step)):
                        pass
                else:
                    fx.extract(paths[: count // step * step], Path(place) / "out.npy", batch_size=step, progress=False)
                times.append(time.perf_counter() - begin)
                cpu[name].append(time.process_time() - begin_cpu)
        done = count // step * step
        print(f"{arguments.network}, {arguments.size} pixels, batches of {step}, {done} JPEGs of about 500 x 375, ")
        print(f"{os.cpu_count()} processors, medians of {arguments.rounds} rounds in turns\n")
        print("| what | pictures/s | share of the bare network | CPU ms/picture |")
        print("| --- | ---: | ---: | ---: |")
        rates = {name: done / statistics.median(times) for name, times in seconds.items()}
        for name, value in rates.items():
            cost = statistics.median(cpu[name]) / done
            print(f"| {name} | {value:.1f} | {value / rates['bare network']:.1%} | {1000 * cost:.1f} |")
        both = 1 / (1 / rates["bare network"] + 1 / rates["decoding alone"])
        print(f"\nNetwork and decoding one after the other would give {both:.1f} pictures/s ", end="")
        print(f"({both / rates['bare network']:.1%}).")


def work(arguments: argparse.Namespace) -> None:
    """The child of `kills`: extracts, and logs each batch that the network computed."""
    fx = extractor_of(arguments.network, arguments.size, {"width": arguments.width})
    run = fx.run

    def logged(batch: np.ndarray) -> dict[str, np.ndarray]:
        result = run(batch)
        with Path(arguments.log).open("a") as log:
            log.write(f"{len(batch)}\n")
        return result

    fx.run = logged
    result = fx.extract(arguments.folder, arguments.out, batch_size=arguments.batch_size, progress=False)
    print(json.dumps({"shapes": result, "skipped": len(result.skipped), "resumed": result.resumed}))


def kills(arguments: argparse.Namespace) -> None:
    """Kills a run three times, at about a quarter, a half and three quarters of the work; exits 1 on any difference."""
    count = arguments.pictures
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        folder.mkdir()
        draw_jpegs(folder, count, 96, 128)
        bad = folder / f"{count // 2:06}.jpg"
        bad.write_bytes(bad.read_bytes()[:300])

        def start(out: Path, log: Path) -> subprocess.Popen[str]:
            words = ["--network", arguments.network, "--size", arguments.size, "--width", arguments.width]
            words += ["--batch-size", arguments.batch_size]
            command = [sys.executable, __file__, "work", *map(str, words), str(folder), str(out), str(log)]
            return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

        def computed(log: Path) -> int:
            return sum(map(int, log.read_text().split())) if log.exists() else 0

        whole, log = Path(place) / "whole.npz", Path(place) / "whole.log"
        begin = time.perf_counter()
        told, _ = start(whole, log).communicate()
        alone = time.perf_counter() - begin
        print(f"nobody kills: {alone:.0f} s, {computed(log)} pictures computed, {told.strip()}")
        out, log = Path(place) / "out.npz", Path(place) / "out.log"
        begin = time.perf_counter()
        for share in (0.25, 0.5, 0.75):
            process = start(out, log)
            while computed(log) < share * count and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"killed after {computed(log)} pictures")
        told, _ = start(out, log).communicate()
        print(f"three kills: {time.perf_counter() - begin:.0f} s, {computed(log)} pictures computed, {told.strip()}")
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (whole, out)]
        twice = computed(log) - (count - 1)
        print(f"same bytes: {digests[0] == digests[1]}; computed twice: {twice} (at most {3 * arguments.batch_size})")
        sys.exit(0 if digests[0] == digests[1] and 0 <= twice <= 3 * arguments.batch_size else 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for name, function, pictures, size in (
        ("rate", rate, 512, 224),
        ("kills", kills, 10_000, 64),
        ("work", work, 0, 64),
    ):
        verb = verbs.add_parser(name)
        verb.set_defaults(function=function)
        verb.add_argument("--network", default="inception_v1")
        verb.add_argument("--size", type=int, default=size)
        verb.add_argument("--batch-size", type=int, default=32)
        if name != "work":
            verb.add_argument("--pictures", type=int, default=pictures)
        if name == "rate":
            verb.add_argument("--rounds", type=int, default=3)
        else:
            verb.add_argument("--width", type=float, default=0.125)
        if name == "work":
            for place in ("folder", "out", "log"):
                verb.add_argument(place)
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
