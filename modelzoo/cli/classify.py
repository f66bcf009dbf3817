"""`modelzoo classify`: what is in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelzoo.cli.completion import MODEL
from modelzoo.cli.licence import accepting_licences
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current
from modelzoo.errors import ImageError, UsageError

__all__ = ["classify"]

_AT_ONCE = 16  # pictures that go through the network together


@verb("classify")
@click.argument("name", type=MODEL)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--top", type=click.IntRange(min=1), metavar="N", default=5, show_default=True, help="How many classes to name."
)
@click.option(
    "--weights", type=click.Path(), metavar="PATH", help="A weight file, folder or checkpoint prefix of your own."
)
@click.option("--trust-first-use", is_flag=True, help="Take files without a strong digest; record the one they have.")
@accepting_licences
@click.pass_context
def classify(
    ctx: click.Context, name: str, images: tuple[str, ...], top: int, weights: str | None, trust_first_use: bool
) -> None:
    """Say what model NAME sees in each IMAGE: a picture, a folder of pictures, or a glob pattern.

    For a model that was fine-tuned on clips each IMAGE is a clip: the folder of its frames.
    The files of the model are fetched first unless the cache has them or --weights names others.
    Unreadable pictures among others are skipped and listed at the end; the exit code is then 15.
    """
    # What is wrong with the command line is said before TensorFlow is imported and before anything is downloaded.
    from modelzoo.features.extract import find_pictures
    from modelzoo.registry import card_to_use

    settings = current(ctx)
    report = settings.reporter
    card = card_to_use(name, registries=settings.registries)
    clips = card.task == "sequence_classification"
    pictures = [Path(image) for image in images] if clips else find_pictures(images)
    from modelzoo.pretrained import load_pretrained

    model: Any = load_pretrained(
        name,
        weights=weights or "card",
        registries=settings.registries,
        trust_first_use=trust_first_use,
        progress=report.progress,
    )
    if model.preprocess is None or model.decode is None:
        raise UsageError(
            f"The card of {card.name!r} does not say how pictures go in and what the classes are called.",
            hint=f"its values can be had all the same: modelzoo features {card.name} IMAGE... -o out.npz --tap NAME",
        )
    documents = []
    skipped: dict[Path, ImageError] = {}
    for start in range(0, len(pictures), _AT_ONCE):
        some = pictures[start : start + _AT_ONCE]
        try:
            logits = _logits(model, some, clips)
        except ImageError:
            unreadable = {path: error for path in some if (error := _error(model, path, clips)) is not None}
            skipped |= unreadable
            some = [path for path in some if path not in unreadable]
            if not some:
                continue
            logits = _logits(model, some, clips)
        answers = model.decode(logits, top=top)
        for path, ranked in zip(some, answers, strict=True):
            documents.append(
                {
                    "path": str(path),
                    "classes": [
                        {"label": label, "probability": probability, "index": index}
                        for label, probability, index in ranked
                    ],
                }
            )
            report.bare(f"{path}\t{ranked[0][0]}")
            report.say(click.style(str(path), bold=True))
            for label, probability, _ in ranked:
                report.say(f"  {probability:6.1%}  {label}")
    if skipped and not documents:
        raise next(iter(skipped.values()))
    passed_over = [{"path": str(path), "reason": error.what} for path, error in skipped.items()]
    report.data({"model": card.name, "pictures": documents, "skipped": passed_over})
    for error in skipped.values():
        report.warn(error.what)
    if skipped:
        ctx.exit(ImageError.exit_code)


def _logits(model: Any, some: list[Path], clips: bool) -> Any:
    if clips:
        from modelzoo.rnn import clip_logits

        return clip_logits(model, some)
    return model(model.preprocess(some), training=False)


def _error(model: Any, path: Path, clips: bool) -> ImageError | None:
    """Why a picture cannot be read."""
    try:
        _logits(model, [path], clips)
    except ImageError as error:
        return error
    return None
