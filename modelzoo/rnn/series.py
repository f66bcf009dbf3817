"""Series over time by class: `folder/CLASS/series.npy`, `.csv` or `.wav`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import ArrayError, InputError, UsageError
from modelzoo.rnn.frames import SERIES, class_folders, natural_key
from modelzoo.rnn.sequences import Sequences

if TYPE_CHECKING:
    import numpy as np

    from modelzoo.rnn.audio import FrontEnd

__all__ = ["load_series", "read_series"]


def read_series(
    folder: str | Path,
    *,
    window: int | None = None,
    hop: int | None = None,
    front_end: FrontEnd | None = None,
) -> Sequences:
    """Read series by class.

    Args:
        folder: with one folder a class, each with its series: `.npy`, `.csv` or `.wav`, one kind in all; hidden
            names are passed over.
        window: cut windows of so many steps; None = whole series, the shorter ones padded and masked.
        hop: steps from one window to the next; None = `window`.
        front_end: from the samples of audio to steps: `LogMel(...)` or `RawWindows(...)`.

    Returns:
        Sequences whose items are (T, channels) float32.

    Raises:
        UsageError: no such folder, fewer than two classes, a class without series, mixed kinds, a series shorter
            than the window, audio without a front end.
        InputError: a file cannot be read; ArrayError: it is no series of numbers, or of other channels than the rest.
    """
    root, classes = class_folders(folder, "series")
    found: list[tuple[Path, int]] = []
    for label, one in enumerate(classes):
        inside = [path for path in one.iterdir() if not path.name.startswith(".")]
        deeper = [path for path in inside if path.is_dir()]
        if deeper:
            raise UsageError(
                "A class of series holds files, and a folder lies there.",
                received=deeper[0].relative_to(root).as_posix(),
                hint="read_clips reads folders of frames",
            )
        series = [path for path in inside if path.suffix.lower() in SERIES]
        if not series:
            raise UsageError(
                f"The class {one.name!r} has no series.",
                received=str(one),
                hint=f"series end in {' '.join(sorted(SERIES))}",
            )
        found += [(path, label) for path in sorted(series, key=lambda path: natural_key(path.name))]
    kinds = sorted({path.suffix.lower() for path, _ in found})
    if len(kinds) > 1:
        raise UsageError(
            "The folder mixes kinds of series.", received=" and ".join(kinds), hint="one kind of file in all classes"
        )
    sources: list[tuple[str, Any, int]] = []
    for path, label in found:
        values = load_series(path, front_end=front_end)
        if sources and values.shape[1] != sources[0][1].shape[1]:
            raise ArrayError(
                "The series have different numbers of channels.",
                received=f"{path}: {values.shape[1]}",
                hint=f"{sources[0][0]} has {sources[0][1].shape[1]}",
            )
        sources.append((path.relative_to(root).as_posix(), values, label))
    return Sequences.cut(sources, [one.name for one in classes], size=window, hop=hop)


def load_series(path: str | Path, *, front_end: FrontEnd | None = None) -> np.ndarray:
    """One series, (T, channels) float32, one step or more.

    Args:
        path: `.npy` with an array (T,) or (T, channels); `.csv` with a line a step, a header is passed over; `.wav`.
        front_end: of `.wav`.

    Raises:
        UsageError: another kind of file, audio without a front end or a front end without audio.
        InputError: the file cannot be read.
        ArrayError: not numbers, another rank, an empty series, values that are not finite.
    """
    import numpy as np

    place = Path(path).expanduser()
    kind = place.suffix.lower()
    if kind not in SERIES:
        raise UsageError("That is no kind of series.", received=str(path), hint=" | ".join(sorted(SERIES)))
    if (kind == ".wav") != (front_end is not None):
        raise UsageError(
            "Audio becomes steps by a front end." if kind == ".wav" else "A front end is for audio.",
            received=str(path),
            hint="front_end=LogMel(rate=16000)" if kind == ".wav" else "leave front_end out",
        )
    if front_end is not None:
        values = _sound(place, front_end)
    else:
        values = _table(place) if kind == ".csv" else _array(place)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.dtype.kind not in "fiub" or 0 in values.shape:
        raise ArrayError(
            "A series is an array of numbers (time, channels), with one step or more.",
            received=f"{path}: {values.dtype} {values.shape}",
        )
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise ArrayError("A series has values that are not finite.", received=f"{path}: step {row}")
    return values


def _sound(path: Path, front_end: FrontEnd) -> np.ndarray:
    from modelzoo.rnn.audio import read_wav

    samples, rate = read_wav(path)
    if rate != front_end.rate:
        raise InputError(
            "The sound has another rate than the front end is made for.",
            received=f"{path}: {rate} samples a second",
            hint=f"ffmpeg -i IN -ar {front_end.rate} OUT.wav, or a front end of rate={rate}",
        )
    try:
        return front_end(samples)
    except ArrayError as error:
        raise ArrayError(error.what, received=f"{path}: {error.received}", hint=error.hint) from error


def _array(path: Path) -> np.ndarray:
    import numpy as np

    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, TypeError, OverflowError, SyntaxError) as error:
        raise InputError("A series cannot be read.", received=f"{path}: {error}") from error


def _table(path: Path) -> np.ndarray:
    import csv

    import numpy as np

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [(number, line) for number, line in enumerate(csv.reader(file), 1) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("A series cannot be read.", received=f"{path}: {error}") from error
    if lines and not any(_number(cell) is not None for cell in lines[0][1]):
        del lines[0]
    rows = []
    for number, line in lines:
        row = [_number(cell) for cell in line]
        if None in row or len(row) != len(lines[0][1]):
            raise ArrayError(
                "A line of the table is not as many numbers as the first one.",
                received=f"{path}, line {number}: {','.join(line)[:80]}",
            )
        rows.append(row)
    return np.asarray(rows, np.float64)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
