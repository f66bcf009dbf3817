"""`modelzoo compare`: models side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from modelzoo.cli.completion import MODEL
from modelzoo.cli.output import human_size, table
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current

if TYPE_CHECKING:
    from modelzoo.cli.settings import Settings
    from modelzoo.registry import Card

__all__ = ["compare"]

_SECONDS = 1.5  # of measuring each model
_FEWEST = 3  # runs that are timed at least
_OPEN_SIDE = 224  # of pictures for a network that takes any size


@dataclass
class _Row:
    """What the table and the document say of one model; None = not known."""

    name: str
    parameters: int | None = None
    multiply_adds: int | None = None
    uncounted: tuple[str, ...] = ()
    size: int | None = None
    top1: float | None = None
    top5: float | None = None
    dataset: str | None = None
    accuracy_source: str | None = None
    metrics: dict[str, float] | None = None
    licence: str = "unknown"
    images_per_second: float | None = None
    batch: int | None = None
    weights: str | None = None
    note: str | None = None


@verb("compare")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=MODEL)
@click.option("--measure/--no-measure", default=True, help="Whether to run each model and time it.", show_default=True)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="N",
    default=16,
    show_default=True,
    help="Pictures in each timed run.",
)
@click.pass_context
def compare(ctx: click.Context, names: tuple[str, ...], measure: bool, batch: int) -> None:
    """Compare models: parameters, multiply-adds, size of the files, accuracy, licence, images a second here.

    Nothing is downloaded: a network of modelzoo's own is built untrained unless the cache has its weights, a converted
    model is looked into only where it is cached. Multiply-adds are those of convolutions, dense layers, recurrence and
    attention, for one picture. Accuracy is what its source states, and images a second is the median of runs on this
    machine, preprocessing apart.
    """
    from modelzoo.registry import info

    settings = current(ctx)
    report = settings.reporter
    cards = [info(name, registries=settings.registries) for name in dict.fromkeys(names)]
    rows = [_row(card, settings, batch if measure else None) for card in dict.fromkeys(cards)]
    report.data([asdict(row) for row in rows])
    for row in rows:
        report.bare(row.name)
    header = ("NAME", "PARAMETERS", "MULT-ADDS", "SIZE", "TOP-1", "TOP-5", "LICENCE", "IMAGES/S")
    cells = [_cells(row) for row in rows]
    width = len(header) if measure else len(header) - 1
    for line in table(header[:width], [cell[:width] for cell in cells], right=(1, 2, 3, 4, 5, 7)):
        report.say(line)
    for line in _notes(rows, measure):
        report.note(line)


def _cells(row: _Row) -> tuple[str, ...]:
    return (
        row.name,
        _short(row.parameters),
        (">= " if row.uncounted else "") + _short(row.multiply_adds),
        "?" if row.size is None else human_size(row.size),
        _percent(row.top1),
        _percent(row.top5),
        row.licence,
        "-" if row.images_per_second is None else f"{row.images_per_second:.3g}",
    )


def _short(number: int | None) -> str:
    """`25.6 M`, `3.86 G`: three digits that count."""
    if number is None:
        return "-"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            value = number / size
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f} {unit}"
    return str(number)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:g} %"


def _notes(rows: list[_Row], measure: bool) -> Iterator[str]:
    """Where the figures come from, one line each."""
    for row in rows:
        if row.accuracy_source:
            others = [f"{key} {value:g}" for key, value in (row.metrics or {}).items()]
            what = ", ".join(filter(None, [row.dataset, *others]))
            yield f"{row.name}: accuracy{f' ({what})' if what else ''} from {row.accuracy_source}"
    for row in rows:
        if row.note:
            yield f"{row.name}: {row.note}"
        if row.uncounted:
            some = ", ".join(row.uncounted[:3]) + (", ..." if len(row.uncounted) > 3 else "")
            yield f"{row.name}: multiply-adds without {some}"
    if measure and any(row.images_per_second is not None for row in rows):
        batches = ", ".join(str(batch) for batch in dict.fromkeys(row.batch for row in rows if row.batch))
        yield f"images/s: median of runs, {batches} pictures at once, on {_machine()}"


def _machine() -> str:
    import os

    import tensorflow as tf

    devices = [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices("GPU")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ", ".join(devices) or f"{cores} CPU core{'' if cores == 1 else 's'}"


def _row(card: Card, settings: Settings, batch: int | None) -> _Row:
    """All that is known of a model; `batch` None = it is not run."""
    accuracy = card.accuracy
    row = _Row(card.name, size=card.size, licence=card.licence)
    if accuracy is not None:
        row.top1, row.top5, row.dataset = accuracy.top1, accuracy.top5, accuracy.dataset
        row.accuracy_source, row.metrics = accuracy.source, dict(accuracy.metrics) or None
    model = _model(card, settings, row)
    if model is None:
        return row
    from modelzoo.errors import UsageError
    from modelzoo.networks.multiply_adds import count_multiply_adds

    row.parameters = int(model.count_params())
    try:
        counted = count_multiply_adds(model)
        row.multiply_adds, row.uncounted = counted.count, counted.uncounted
    except UsageError as error:
        row.note = "; ".join(filter(None, [row.note, str(error.what)]))
    if batch is not None:
        row.images_per_second, row.batch = _measure(model, batch, row)
    return row


def _model(card: Card, settings: Settings, row: _Row) -> Any:
    """The network, from the cache or untrained; None, with the reason noted, where it cannot be had without network."""
    from modelzoo.errors import ModelzooError
    from modelzoo.pretrained import load_pretrained
    from modelzoo.registry.sources import card_sources
    from modelzoo.store import Store

    if not card.available:
        row.note = "this version cannot build it"
        return None
    cached = bool(card.files) and Store().locate(card.name, card_sources(card)) is not None
    if not cached and card.build.network is None:
        row.note = f"not cached, and its file says what it is: modelzoo fetch {card.name}"
        return None
    try:
        if cached:
            row.weights = "cached"
            return load_pretrained(card.name, registries=settings.registries, offline=True, progress=False)
        from modelzoo.networks.blank import blank_weights

        row.weights, row.note = "untrained", "weights not cached; the untrained network was built"
        with blank_weights():
            return load_pretrained(card.name, weights=None, registries=settings.registries)
    except ModelzooError as error:
        row.weights, row.note = None, f"{type(error).__name__}: {error.what}"
        return None


def _measure(model: Any, batch: int, row: _Row) -> tuple[float | None, int | None]:
    """(images a second, pictures at once): the median of runs, after one that is not timed."""
    import statistics
    import time

    import numpy as np
    import tensorflow as tf

    if len(model.inputs) != 1:
        row.note = "; ".join(filter(None, [row.note, "not run: it has several inputs"]))
        return None, None
    given = model.inputs[0]
    shape = [_OPEN_SIDE if size is None else int(size) for size in given.shape[1:]]
    count = batch if given.shape[0] is None else int(given.shape[0])
    x = tf.convert_to_tensor(np.random.default_rng(0).uniform(0, 1, (count, *shape)).astype(given.dtype))
    run = tf.function(lambda x: model(x, training=False))
    times: list[float] = []
    try:
        _finish(run(x))
        begin = time.perf_counter()
        while len(times) < _FEWEST or time.perf_counter() - begin < _SECONDS:
            start = time.perf_counter()
            _finish(run(x))
            times.append(time.perf_counter() - start)
    except tf.errors.OpError as error:
        row.note = "; ".join(filter(None, [row.note, f"not run: {type(error).__name__}"]))
        return None, None
    return count / statistics.median(times), count


def _finish(outputs: Any) -> None:
    """Wait for the device."""
    import tensorflow as tf

    for value in tf.nest.flatten(outputs):
        value.numpy()
