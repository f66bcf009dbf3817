"""`modelzoo similar`: the pictures of a folder that look most like one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelzoo.cli.completion import MODEL, TAP
from modelzoo.cli.licence import accepting_licences
from modelzoo.cli.output import table
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current
from modelzoo.errors import ReadOnlyError, UsageError

__all__ = ["similar"]

_DEFAULT = "inception_v1_scenes"  # comes with the package


@verb("similar")
@click.argument("image", type=click.Path())
@click.argument("inputs", metavar="FOLDER...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--model",
    "name",
    metavar="NAME",
    type=MODEL,
    default=_DEFAULT,
    show_default=True,
    help="Whose features are compared.",
)
@click.option("--tap", metavar="NAME", type=TAP, help="Which; without it, the last on the model's card.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", default=12, show_default=True, help="How many to show.")
@click.option(
    "-o",
    "--out",
    type=click.Path(),
    default="similar.png",
    show_default=True,
    help="Where the contact sheet goes; a .png.",
)
@click.option("--weights", type=click.Path(), metavar="PATH", help="A weight file of your own.")
@click.option("--trust-first-use", is_flag=True, help="Take files without a strong digest; record the one they have.")
@accepting_licences
@click.pass_context
def similar(
    ctx: click.Context,
    image: str,
    inputs: tuple[str, ...],
    name: str,
    tap: str | None,
    top: int,
    out: str,
    weights: str | None,
    trust_first_use: bool,
) -> None:
    """Find the pictures in FOLDER that look most like IMAGE, and draw them on a contact sheet.

    Alike means: the features of a network, averaged over the picture, point in the same direction (cosine). The model
    that is used without --model comes with the package and is small; `--model inception_v1` knows photographs.
    FOLDER may also be pictures, glob patterns and lists, as for `modelzoo features`.
    """
    from modelzoo.features.extract import find_pictures
    from modelzoo.registry import card_to_use

    settings = current(ctx)
    report = settings.reporter
    target = Path(out).expanduser()
    if target.suffix.lower() != ".png":
        raise UsageError("The contact sheet is a PNG.", received=out, hint="-o NAME.png")
    if not target.parent.is_dir():
        raise ReadOnlyError("The output's folder does not exist.", received=str(target.parent), hint="create it first")
    card = card_to_use(name, registries=settings.registries)
    tap = tap or (card.taps[-1] if card.taps else None)
    if tap is None:
        raise UsageError("The card names no tap.", received=card.name, hint=f"--tap NAME: modelzoo taps {card.name}")
    others = find_pictures(inputs)
    from modelzoo.preprocess.decode import decode_image

    picture = decode_image(Path(image).expanduser())
    from modelzoo.features.similar import draw_sheet, neighbours
    from modelzoo.pretrained import load_pretrained

    extractor: Any = load_pretrained(
        name,
        weights=weights or "card",
        features=[tap],
        pooling="avg",
        registries=settings.registries,
        trust_first_use=trust_first_use,
        progress=report.progress,
    )
    extractor.need_preprocess()
    near, skipped = neighbours(extractor, Path(image).expanduser(), others, count=top, progress=report.progress)
    page = draw_sheet(
        picture,
        [(decode_image(path), path.name, cosine) for path, cosine in near],
        title=f"Most like {Path(image).name}",
        subtitle=f"{len(others)} pictures, cosine of {tap} of {card.name}",
    )
    _save(page, target)
    report.data(
        {
            "model": card.name,
            "tap": tap,
            "image": image,
            "neighbours": [{"path": str(path), "cosine": cosine} for path, cosine in near],
            "skipped": [{"path": str(path), "reason": reason} for path, reason in skipped],
            "out": out,
        }
    )
    for path, cosine in near:
        report.bare(f"{path}\t{cosine:.4f}")
    for line in table(("cosine", "picture"), [(f"{cosine:.4f}", str(path)) for path, cosine in near]):
        report.say(line)
    report.say(f"\n{click.style(out, bold=True)}")
    if skipped:
        what = f"{len(skipped)} of them, {skipped[0][0]} first," if len(skipped) > 1 else str(skipped[0][0])
        report.warn(f"{what} could not be read.")


def _save(page: Any, target: Path) -> None:
    from modelzoo.features.files import complete_or_nothing, disk_errors

    with disk_errors(target), complete_or_nothing(target) as beside:
        page.save(beside, format="PNG")
