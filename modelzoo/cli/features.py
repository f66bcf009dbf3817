"""`modelzoo features`: what a network makes of pictures, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelzoo.cli.completion import MODEL, TAP
from modelzoo.cli.licence import accepting_licences
from modelzoo.cli.output import human_size, table
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current
from modelzoo.cli.taps import sides
from modelzoo.errors import ImageError, UsageError

__all__ = ["features"]

_SHOWN = 20  # unreadable pictures that are listed


@verb("features")
@click.argument("name", type=MODEL)
@click.argument("inputs", metavar="INPUTS...", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="FILE.npz, .npy, .parquet or .tfrecord.")
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
@click.option("--column", metavar="NAME", help="Of a list that is a table: which column holds the paths.")
@click.option("--restart", is_flag=True, help="Throw away what an interrupted run left.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="What computes: this process, or actors of a Ray cluster.",
)
@click.option("--address", metavar="HOST:PORT|auto", help="The Ray cluster; without it, one on this machine alone.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Ray: how many actors hold the model.")
@click.option("--trust-first-use", is_flag=True, help="Take files without a strong digest; record the one they have.")
@accepting_licences
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
    column: str | None,
    restart: bool,
    engine: str,
    address: str | None,
    workers: int | None,
    trust_first_use: bool,
) -> None:
    """Write what model NAME computes from INPUTS to a file, in their order.

    INPUTS are pictures, folders, glob patterns, and lists: a path a line in .txt, a column of a .csv, .tsv or .parquet.

    \b
    FILE.npz       an array (pictures, ...) for each tap
    FILE.npy       one array, of one tap; can be mapped into memory
    FILE.parquet   a row for each picture: its path, a column for each tap, SHA-256 of the picture's file
    FILE.tfrecord  the same as tf.train.Example

    The file appears when it is complete. A run that was interrupted or killed goes on where it stopped when the same
    command is given again. Unreadable pictures are skipped and listed at the end; the exit code is then 15.
    `modelzoo taps NAME` lists the taps.
    """
    # What is wrong with the command line is said before TensorFlow is imported and before anything is downloaded.
    from modelzoo.features.extract import check_output, find_pictures
    from modelzoo.registry import card_to_use

    settings = current(ctx)
    report = settings.reporter
    card = card_to_use(name, registries=settings.registries)
    if not taps:
        example = card.taps[-1] if card.taps else "all"
        raise UsageError(
            "No tap was asked for.", hint=f"--tap {example}, or --tap all; all their names: modelzoo taps {card.name}"
        )
    if "all" in taps and len(taps) > 1:
        raise UsageError("'all' are the end points; it goes with no other tap.", received=" ".join(taps))
    if engine == "local" and (address is not None or workers is not None):
        raise UsageError("--address and --workers belong to --engine ray.")
    if engine == "ray":
        from modelzoo.features.ray_engine import need_ray

        need_ray()
    check_output(out, taps)
    find_pictures(inputs, column=column)
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
    try:
        result = extractor.extract(
            inputs,
            out,
            column=column,
            batch_size=batch_size,
            progress=report.progress,
            restart=restart,
            engine=engine,
            address=address,
            workers=workers,
        )
    except KeyboardInterrupt:
        if Path(out).expanduser().with_name(f".{Path(out).name}.journal").exists():
            report.note("What was computed is kept: the same command goes on from there.")
        raise
    size = Path(out).expanduser().stat().st_size
    report.data(
        {
            "model": card.name,
            "out": out,
            "size": size,
            "pictures": [str(path) for path in result.paths],
            "skipped": [{"path": str(path), "reason": reason} for path, reason in result.skipped],
            "resumed": result.resumed,
            "taps": {tap: list(shape) for tap, shape in result.items()},
        }
    )
    report.bare(out)
    report.say(f"{click.style(out, bold=True)}  {_counted(len(result.paths))}, {human_size(size)}")
    for tap, shape in result.items():
        report.say(f"  {tap}: {sides(shape)}")
    if result.resumed:
        report.note(f"{_counted(result.resumed)} of an interrupted run were not computed again.")
    if result.skipped:
        colon = "." if report.json else ":"  # the document lists them
        report.warn(f"{_counted(len(result.skipped))} could not be read and {_have(len(result.skipped))} no row{colon}")
        rows = [(str(path), reason.replace(str(path), "it", 1)) for path, reason in result.skipped[:_SHOWN]]
        for line in table(("picture", "reason"), rows):
            report.note(f"  {line}")
        if len(result.skipped) > _SHOWN:
            report.note(f"  ... and {len(result.skipped) - _SHOWN} more; --json lists all")
        ctx.exit(ImageError.exit_code)


def _counted(count: int) -> str:
    return f"{count} {'picture' if count == 1 else 'pictures'}"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
