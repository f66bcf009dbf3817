"""`modelzoo demo`: the whole way from a card to an answer, on a checkpoint that comes with the package."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelzoo.cli.output import human_size, wrapped
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current
from modelzoo.cli.taps import sides
from modelzoo.errors import DiskError, DiskFullError, ReadOnlyError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from modelzoo.cli.output import Reporter
    from modelzoo.registry import Card

__all__ = ["demo"]

NAME = "inception_v1_scenes"
TAP_COUNT = 3


@verb("demo")
@click.option(
    "-o",
    "--out",
    type=click.Path(),
    default="modelzoo-demo.png",
    show_default=True,
    help="Where the picture goes; a .png.",
)
@click.pass_context
def demo(ctx: click.Context, out: str) -> None:
    """Fetch a small model that comes with the package, restore it, look inside at three taps, classify a picture.

    The checkpoint takes the path of any other: card, digest, archive, cache, arrays, network. No network is needed.
    """
    settings = current(ctx)
    report = settings.reporter
    target = _writable(out)
    steps = _Steps(report)

    from modelzoo.registry import card_to_use
    from modelzoo.registry.sources import card_sources
    from modelzoo.store import Store

    card = card_to_use(NAME, registries=settings.registries)
    steps.done("card", f"{card.name}: {card.title}")

    from modelzoo.pretrained import fetch_card, load_pretrained

    store = Store()
    cached = store.locate(card.name, card_sources(card)) is not None
    fetched = fetch_card(card, progress=report.progress)
    url = card.files[0].urls[0].url
    how = "from the cache, verified when it came" if cached else f"fetched from {url}, SHA-256 verified"
    steps.done("files", f"{human_size(card.size)}, {how}\n{fetched.path}")

    import tensorflow as tf

    steps.done("TensorFlow", f"{tf.__version__} imported")
    model: Any = load_pretrained(card.name, registries=settings.registries)
    arrays = len(model.weights)
    steps.done("model", f"{arrays} arrays, {model.count_params():,} numbers restored into a Keras model")

    from modelzoo.features import FeatureExtractor
    from modelzoo.preprocess.decode import decode_image

    taps = card.taps[:TAP_COUNT]
    output = card.outputs[0].name
    extractor = FeatureExtractor(model, [*taps, output], preprocess=model.preprocess, labels=model.labels, card=card)
    sample = _sample()
    picture = decode_image(sample)
    values = extractor(picture)
    maps = {tap: values[tap][0] for tap in taps}
    steps.done("features", "\n".join(f"{tap}: {sides(maps[tap].shape)}" for tap in taps))
    ranked = model.decode(values[output], top=5)[0]
    steps.done("classes", "\n".join(f"{probability:6.1%}  {label}" for label, probability, _ in ranked))

    from modelzoo.features.picture import draw_report

    page = draw_report(
        picture,
        [(label, probability) for label, probability, _ in ranked],
        maps,
        title=f"{ranked[0][0]}, says {card.name}",
        subtitle=_honest(card),
        caption=f"{sample.name}, {picture.shape[0]} x {picture.shape[1]} pixels",
    )
    _save(page, target)
    steps.done("picture", str(target))
    report.data(
        {
            "model": card.name,
            "path": str(fetched.path),
            "cached": cached,
            "sample": str(sample),
            "taps": {tap: list(maps[tap].shape) for tap in taps},
            "classes": [{"label": label, "probability": p, "index": index} for label, p, index in ranked],
            "out": str(target),
            "seconds": steps.seconds,
        }
    )
    report.bare(str(target))
    report.say()
    report.say(f"{sum(steps.seconds.values()):.1f} s in all. {_honest(card)}".rstrip())
    for note in card.notes:
        report.say(note)
    report.note(f"Next: modelzoo info {card.name}, modelzoo classify {card.name} PICTURE, modelzoo list")


class _Steps:
    """What was done, each with the seconds since the step before it."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._since = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def done(self, step: str, text: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = round(now - self._since, 3)
        self._since = now
        first, *rest = wrapped(f"{step:<12}", text, indent=12, width=88)
        self._report.say(f"{first:<88} {self.seconds[step]:6.2f} s")
        for line in rest:
            self._report.say(line)


def _honest(card: Card) -> str:
    """How good the model is, by its card, in one line."""
    accuracy = card.accuracy
    if accuracy is None or accuracy.top1 is None:
        return ""
    on = f" on {accuracy.dataset}" if accuracy.dataset else ""
    return f"Its accuracy{on}: {accuracy.top1:g} %."


def _sample() -> Path:
    import modelzoo

    return Path(modelzoo.__file__).parent / "bundled" / "demo.png"


def _writable(out: str) -> Path:
    """`out` as a path that can be written, checked before TensorFlow is imported."""
    path = Path(out).expanduser()
    if path.suffix.lower() != ".png":
        raise UsageError("The demo draws a PNG.", received=out, hint="name it FILE.png")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ReadOnlyError("The picture's folder does not exist.", received=str(folder), hint="create it first")
    if not os.access(folder, os.W_OK):
        raise ReadOnlyError(
            "The picture's folder may not be written.", received=str(folder), hint="choose another by --out"
        )
    return path


def _save(page: Image, target: Path) -> None:
    """Write the page beside its place and rename it, so that no half picture is ever there."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        page.save(beside, format="PNG")
        beside.replace(target)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind: type[DiskError] = DiskFullError if full else DiskError
        raise kind(f"The picture could not be written: {error.strerror}.", received=str(target)) from error
    finally:
        beside.unlink(missing_ok=True)
