"""The loss over time of L-BFGS and of Adam on the same pictures, as a PNG.

    python examples/style_curves.py cat.jpg tiles.png --backbone bvlc_googlenet=weights.caffemodel -o curves.png

Both begin at the content and see the same loss; time is that of whole steps, line searches included. Needs
matplotlib: pip install "modelzoo[plots]".
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import modelzoo as mz
from modelzoo.errors import MissingExtraError
from modelzoo.style import StyleTransfer

RUNS = (("lbfgs", None), ("adam", 1.0), ("adam", 4.0), ("adam", 10.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("--backbone", default="inception_v1_scenes", metavar="NAME[=FILE]")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("-o", "--out", type=Path, default=Path("style-curves.png"))
    arguments = parser.parse_args()
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        raise MissingExtraError("plots", "matplotlib", "Drawing curves") from None
    name, _, file = arguments.backbone.partition("=")
    backbone = mz.load_pretrained(name, weights=file or "card")
    figure, (by_step, by_time) = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for optimizer, rate in RUNS:
        transfer = StyleTransfer(backbone, optimizer=optimizer, learning_rate=rate, size=arguments.size)
        times: list[float] = []
        transfer.run(
            arguments.content,
            arguments.style,
            steps=arguments.steps,
            every=1,
            on_picture=lambda step, picture, times=times: times.append(time.perf_counter()),
        )
        totals = [entry["total"] for entry in transfer.history]
        label = optimizer if rate is None else f"{optimizer}, rate {rate:g}"
        # The first step holds the tracing.
        seconds = [moment - times[0] for moment in times]
        by_step.plot(totals, label=label)
        by_time.plot(seconds, totals, label=label)
        print(f"{label}: {totals[0]:.4g} -> {totals[-1]:.4g} in {seconds[-1]:.1f} s", flush=True)
    by_step.set(xlabel="steps", ylabel="loss", yscale="log")
    by_time.set(xlabel="seconds")
    by_time.legend()
    for axes in (by_step, by_time):
        axes.grid(alpha=0.3, which="both")
    figure.suptitle(f"{arguments.content.name} in the style of {arguments.style.name}, {name}, {arguments.size} pixels")
    figure.savefig(arguments.out, dpi=140)
    print(arguments.out)


if __name__ == "__main__":
    main()
