"""`modelzoo style`: the content of one picture in the style of others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from modelzoo.cli.completion import MODEL, TAP
from modelzoo.cli.licence import accepting_licences
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current
from modelzoo.errors import ReadOnlyError, UsageError

__all__ = ["style"]

_DEFAULT = "inception_v1_scenes"  # comes with the package
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@verb("style")
@click.argument("content", type=click.Path())
@click.argument("styles", metavar="STYLE...", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="The picture; .png, .jpg, .webp, .bmp or .tif.")
@click.option(
    "--backbone",
    "name",
    metavar="NAME",
    type=MODEL,
    default=_DEFAULT,
    show_default=True,
    help="Whose taps.",
)
@click.option("--weights", type=click.Path(), metavar="PATH", help="A weight file of your own.")
@click.option("--content-tap", type=TAP, metavar="NAME", multiple=True, help="Where content is compared; repeatable.")
@click.option("--style-tap", type=TAP, metavar="NAME", multiple=True, help="Where style is compared; repeatable.")
@click.option(
    "--content-weight", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Of the content's loss."
)
@click.option(
    "--style-weight", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Of the styles' loss."
)
@click.option(
    "--variation-weight", type=click.FloatRange(min=0), default=1.0, show_default=True, help="More is smoother."
)
@click.option(
    "--layer-weights",
    type=click.Choice(["auto", "published"]),
    default="auto",
    show_default=True,
    help="Losses relative to their targets, or the formulas of the paper.",
)
@click.option("--blend", metavar="A,B,...", help="How much each STYLE counts: 1,2 = one third, two thirds.")
@click.option(
    "--optimizer",
    type=click.Choice(["lbfgs", "adam"]),
    default="lbfgs",
    show_default=True,
    help="What moves the pixels.",
)
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Of a step, in grey levels.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", default=300, show_default=True, help="Per level.")
@click.option("--size", type=click.IntRange(min=1), metavar="N", default=512, show_default=True, help="Longer side.")
@click.option("--style-size", type=click.IntRange(min=1), metavar="N", help="Of the styles; default: --size.")
@click.option(
    "--levels",
    type=click.IntRange(1, 8),
    metavar="N",
    default=1,
    show_default=True,
    help="Resolutions, up to --size.",
)
@click.option("--init", default="content", show_default=True, metavar="content|style|noise|FILE", help="The beginning.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the noise.")
@click.option(
    "--preserve-colours",
    type=click.Choice(["luminance", "match"]),
    is_flag=False,
    flag_value="luminance",
    help="Keep the content's colours: transfer luminance only, or recolour the styles first.",
)
@click.option(
    "--pooling",
    type=click.Choice(["auto", "own", "avg", "max"]),
    default="auto",
    show_default=True,
    help="In the place of the network's; auto: avg where it can be.",
)
@click.option("--every", type=click.IntRange(min=1), metavar="N", help="Write OUT-000N.png too, every N steps.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted run was put down.")
@click.option("--trust-first-use", is_flag=True, help="Take files without a strong digest; record the one they have.")
@accepting_licences
@click.pass_context
def style(
    ctx: click.Context,
    content: str,
    styles: tuple[str, ...],
    out: str,
    name: str,
    weights: str | None,
    content_tap: tuple[str, ...],
    style_tap: tuple[str, ...],
    content_weight: float,
    style_weight: float,
    variation_weight: float,
    layer_weights: str,
    blend: str | None,
    optimizer: str,
    learning_rate: float | None,
    steps: int,
    size: int,
    style_size: int | None,
    levels: int,
    init: str,
    seed: int,
    preserve_colours: str | None,
    pooling: str,
    every: int | None,
    resume: bool,
    trust_first_use: bool,
) -> None:
    """Draw CONTENT in the style of STYLE..., by optimising its pixels (Gatys, Ecker, Bethge 2016).

    \b
    modelzoo style harbour.jpg wave.jpg -o out.png --backbone bvlc_googlenet
    modelzoo style harbour.jpg wave.jpg night.jpg --blend 1,2 -o out.png --preserve-colours

    Any model with taps will do; the one that is used without --backbone comes with the package and is small. Ctrl-C
    keeps the picture so far, and --resume goes on from there to the same picture as without it.
    """
    # What is wrong with the command line is said before TensorFlow is imported and before anything is downloaded.
    from modelzoo.registry import card_to_use

    settings = current(ctx)
    report = settings.reporter
    target = _writable(out)
    card = card_to_use(name, registries=settings.registries)
    if not content_weight and not style_weight:
        raise UsageError("Neither content nor style counts.", received="--content-weight 0 --style-weight 0")
    from modelzoo.style.pictures import checked_blend, read_picture

    shares = checked_blend(_numbers(blend), len(styles))
    scene = read_picture(Path(content).expanduser(), "content picture")
    looks = [read_picture(Path(path).expanduser(), "style picture") for path in styles]
    begin = init if init in ("content", "style", "noise") else read_picture(Path(init).expanduser(), "initial picture")
    checkpoint = target.with_name(f"{target.name}.safetensors")
    from modelzoo.pretrained import load_pretrained
    from modelzoo.style import StyleTransfer

    if resume and not checkpoint.is_file():
        raise UsageError("No run was put down there.", received=str(checkpoint), hint="start without --resume")
    backbone = load_pretrained(
        name,
        weights=weights or "card",
        registries=settings.registries,
        trust_first_use=trust_first_use,
        progress=report.progress,
    )
    transfer = StyleTransfer(
        backbone,
        content_taps=content_tap or None,
        style_taps=style_tap or None,
        content_weight=content_weight,
        style_weight=style_weight,
        variation_weight=variation_weight,
        layer_weights=layer_weights,
        pooling=pooling,
        optimizer=optimizer,
        learning_rate=learning_rate,
        size=size,
        style_size=style_size,
        levels=levels,
        preserve_colours=preserve_colours,
    )
    written: list[str] = []

    def keep(step: int, picture: Any) -> None:
        path = target.with_name(f"{target.stem}-{step:06d}{target.suffix}")
        _save(picture, path)
        written.append(str(path))

    picture = transfer.run(
        scene,
        looks,
        steps=steps,
        blend=shares,
        init=begin,
        seed=seed,
        every=every or 0,
        on_picture=keep,
        checkpoint=checkpoint,
        resume=resume,
        progress=report.progress,
    )
    _save(picture, target)
    if transfer.interrupted:
        made = len(transfer.history)
        report.note(f"{target} is the picture after {made} steps; the same command with --resume goes on from there.")
        raise KeyboardInterrupt
    checkpoint.unlink(missing_ok=True)
    last = transfer.history[-1]
    report.data(
        {
            "out": str(target),
            "size": [picture.shape[1], picture.shape[0]],
            "model": card.name,
            "content_taps": transfer.weights.content_taps,
            "style_taps": transfer.weights.style_taps,
            "blend": shares,
            "pictures": written,
            "history": transfer.history,
        }
    )
    report.bare(str(target))
    first = transfer.history[0]["total"]
    report.say(f"{click.style(str(target), bold=True)}  {picture.shape[1]} x {picture.shape[0]}")
    report.say(f"  loss {first:.4g}, then {last['total']:.4g} after {len(transfer.history) - 1} steps, by {card.name}")


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise UsageError("Blend weights are numbers with commas between.", received=text, hint="--blend 1,2") from None


def _writable(out: str) -> Path:
    """`out` as a path that can be written, checked before anything long begins."""
    path = Path(out).expanduser()
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError("The ending says which format the picture has.", received=out, hint=" ".join(_ENDINGS))
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ReadOnlyError("The picture's folder does not exist.", received=str(folder), hint="create it first")
    if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK) or not os.access(folder, os.W_OK):
        raise ReadOnlyError("The picture may not be written there.", received=str(path), hint="choose another place")
    return path


def _save(picture: Any, target: Path) -> None:
    from PIL import Image

    from modelzoo.features.files import complete_or_nothing, disk_errors

    kind = Image.registered_extensions()[target.suffix.lower()]
    quality = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    with disk_errors(target), complete_or_nothing(target) as beside:
        Image.fromarray(picture).save(beside, format=kind, **quality)
