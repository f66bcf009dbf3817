"""`modelzoo features`: what a network makes of pictures, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelzoo.cli.completion import MODEL, TAP
from modelzoo.cli.output import human_size
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current
from modelzoo.cli.taps import sides
from modelzoo.errors import UsageError

__all__ = ["features"]


@verb("features")
@click.argument("name", type=MODEL)
@click.argument("inputs", metavar="INPUTS...", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="FILE.npz, FILE.parquet, or FILE.npy for one tap.")
@click.option(
    "--tap", "taps", multiple=True, metavar="NAME", type=TAP, help="Which value; repeatable. 'all': end points."
)
@click.option("--pooling", type=click.Choice(["avg", "max"]), help="Over height and width; without it, whole maps.")
@click.option(
    "--weights", type=click.Path(), metavar="PATH", help="A weight file, folder or checkpoint prefix of your own."
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    default=32,
    show_default=True,
    help="Pictures computed at once.",
)
@click.option("--trust-first-use", is_flag=True, help="Take files without a strong digest; record the one they have.")
@click.pass_context
def features(
    ctx: click.Context,
    name: str,
    inputs: tuple[str, ...],
    out: str,
    taps: tuple[str, ...],
    pooling: str | None,
    weights: str | None,
    batch_size: int,
    trust_first_use: bool,
) -> None:
    """Write what model NAME computes from INPUTS (pictures, folders, glob patterns) to a file, in their order.

    \b
    FILE.npz      an array (pictures, ...) for each tap
    FILE.npy      one array
    FILE.parquet  a row for each picture: its path, and a column for each tap

    The file appears when it is complete. `modelzoo taps NAME` lists the taps.
    """
    # What is wrong with the command line is said before TensorFlow is imported and before anything is downloaded.
    from modelzoo.features.extract import check_output, find_pictures
    from modelzoo.registry import info

    settings = current(ctx)
    report = settings.reporter
    card = info(name, registries=settings.registries)
    if not taps:
        example = card.taps[-1] if card.taps else "all"
        raise UsageError(
            "No tap was asked for.", hint=f"--tap {example}, or --tap all; all their names: modelzoo taps {card.name}"
        )
    if "all" in taps and len(taps) > 1:
        raise UsageError("'all' are the end points; it goes with no other tap.", received=" ".join(taps))
    check_output(out, taps)
    pictures = find_pictures(inputs)
    from modelzoo.pretrained import load_pretrained

    extractor: Any = load_pretrained(
        name,
        weights=weights or "card",
        features="all" if taps == ("all",) else list(taps),
        pooling=pooling,
        registries=settings.registries,
        trust_first_use=trust_first_use,
        progress=report.progress,
    )
    if extractor.preprocess is None:
        raise UsageError(f"The card of {card.name!r} does not say how pictures become its input.")
    shapes = extractor.extract(pictures, out, batch_size=batch_size, progress=report.progress)
    size = Path(out).expanduser().stat().st_size
    report.data(
        {
            "model": card.name,
            "out": out,
            "size": size,
            "pictures": [str(path) for path in pictures],
            "taps": {tap: list(shape) for tap, shape in shapes.items()},
        }
    )
    report.bare(out)
    count = f"{len(pictures)} {'picture' if len(pictures) == 1 else 'pictures'}"
    report.say(f"{click.style(out, bold=True)}  {count}, {human_size(size)}")
    for tap, shape in shapes.items():
        report.say(f"  {tap}: {sides(shape)}")
