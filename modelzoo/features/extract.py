"""Features of many pictures into one file, resumable: computed batches go to a journal, the file is written from it.

The file appears under its name only when it is complete. Its bytes are the same however often the run was interrupted,
and whichever engine computed it: batch `k` always holds the inputs from `k * batch_size` on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.errors import (
    ImageError,
    LockTimeoutError,
    ReadOnlyError,
    UsageError,
)
from modelzoo.features.files import complete_or_nothing, disk_errors
from modelzoo.features.inputs import PICTURES, find_pictures
from modelzoo.features.writers import WRITERS, check_taps

if TYPE_CHECKING:
    from modelzoo.features.extractor import FeatureExtractor
    from modelzoo.features.journal import Journal

__all__ = ["ENGINES", "PICTURES", "Extraction", "check_output", "extract", "find_pictures"]

ENGINES = ("local", "ray")
"""What computes: this process, or actors of a Ray cluster."""

_log = logging.getLogger("modelzoo")


class Extraction(dict[str, tuple[int, ...]]):
    """What was written: {tap: shape}, (N, ...).

    Attributes:
        paths: the picture of each of the N rows.
        skipped: (file, what is wrong) of the inputs that are no readable pictures; they have no row.
        resumed: how many inputs an interrupted run had done already.
    """

    paths: list[Path]
    skipped: list[tuple[Path, str]]
    resumed: int


def check_output(out: str | Path, taps: Iterable[str]) -> Path:
    """`out` as a path that can be written; raised before any picture is read.

    Raises:
        UsageError: an ending that no writer knows, several taps for `.npy`, or a tap called as another column.
        MissingExtraError: parquet without pyarrow.
        ReadOnlyError: its folder does not exist or may not be written.
    """
    path = Path(out).expanduser()
    if path.suffix not in WRITERS:
        raise UsageError("The output's ending chooses its format.", received=str(out), hint=" | ".join(WRITERS))
    check_taps(path.suffix, list(taps))
    if not path.parent.is_dir():
        raise ReadOnlyError("The output's folder does not exist.", received=str(path.parent), hint="create it first")
    if not os.access(path.parent, os.W_OK):
        raise ReadOnlyError("The output's folder may not be written.", received=str(path.parent))
    return path


def extract(
    extractor: FeatureExtractor,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    batch_size: int = 32,
    progress: bool | None = None,
    column: str | None = None,
    restart: bool = False,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
) -> Extraction:
    """Write the features of pictures to a file, in the order of the inputs.

    A run that was interrupted, killed even, is continued by the same call: no finished batch is computed again.

    Args:
        extractor: what computes them.
        inputs: pictures, folders, glob patterns and lists, see `modelzoo.features.inputs.find_pictures`.
        out: `.npz`, `.npy` (one tap), `.parquet` or `.tfrecord`, see `modelzoo.features.writers`.
        batch_size: how many pictures go through the network at once.
        progress: a bar with rate and time left; None = only on a terminal.
        column: the column of paths in lists that are tables.
        restart: throw away what an interrupted run left.
        engine: `local`, or `ray` for actors that each hold the model; the bytes are the same.
        address: of a Ray cluster, or `auto`; None starts one on this machine unless one is connected already.
        workers: actors of the Ray engine; None = as many as the cluster has room for.

    Returns:
        {tap: shape of what was written}, (N, ...), with `paths`, `skipped` and `resumed`.

    Raises:
        ImageError: no input is a readable picture. Unreadable ones among others are skipped and returned.
        InputError: pictures give maps of different sizes.
        UsageError: an argument makes no sense, or an interrupted run of other settings or inputs left its journal.
        LockTimeoutError: another process writes the same output.
        ReadOnlyError, DiskFullError, DiskError, MissingExtraError: the output cannot be written.
    """
    from modelzoo.features.extractor import checked_batch_size

    checked_batch_size(batch_size)
    if engine not in ENGINES:
        raise UsageError(f"There is no engine {engine!r}.", hint=" | ".join(ENGINES))
    if engine == "local" and (address is not None or workers is not None):
        raise UsageError("address and workers belong to the engine 'ray'.", hint="engine='ray', --engine ray")
    extractor.need_preprocess()
    path = check_output(out, extractor.taps)
    pictures = find_pictures(inputs, column=column)
    if engine == "ray":
        from modelzoo.features.ray_engine import frames_by_ray, need_ray

        need_ray()

    def frames(numbers: Sequence[int]) -> Iterator[bytes]:
        if engine == "ray":
            return frames_by_ray(extractor, pictures, batch_size, numbers, address=address, workers=workers)
        from modelzoo.features.compute import frames

        return frames(extractor, pictures, batch_size, numbers)

    with _alone(path), _journal(path, extractor, pictures, batch_size, restart) as journal:
        resumed = sum(journal.done.values())
        if resumed:
            _log.info("%d of %d pictures were done already", resumed, len(pictures))
        count = -(-len(pictures) // batch_size)
        left = [number for number in range(count) if number not in journal.done]
        _fill(journal, frames(left) if left else iter(()), len(pictures), progress)
        result = _described(journal, pictures)
        result.resumed = resumed
        if not result.paths:
            journal.close()
            journal.path.unlink(missing_ok=True)
            raise ImageError(
                "None of the inputs is a readable picture.", received=result.skipped[0][1], hint="check the paths"
            )
        with complete_or_nothing(path) as beside:
            WRITERS[path.suffix](beside, journal, pictures, result)
        journal.close()
        journal.path.unlink(missing_ok=True)
    return result


def _fill(journal: Journal, frames: Iterator[bytes], total: int, progress: bool | None) -> None:
    """Appends what an engine yields."""
    from tqdm import tqdm

    from modelzoo.features.compute import mixed_maps

    shapes = {tap: shape[1:] for tap, shape in next((o.shapes for o in journal.outlines() if o.shapes), {}).items()}
    skipped = 0
    disable = None if progress is None else not progress
    done = sum(journal.done.values())
    with tqdm(total=total, initial=done, unit="img", disable=disable, desc="features", smoothing=0.05) as bar:
        for frame in frames:
            batch = journal.append(frame)
            for tap, values in batch.features.items():
                if shapes.setdefault(tap, values.shape[1:]) != values.shape[1:]:
                    raise mixed_maps(tap, shapes[tap], values.shape[1:])
            bar.update(len(batch.rows) + len(batch.skipped))
            if batch.skipped:
                skipped += len(batch.skipped)
                bar.set_postfix(skipped=skipped)


def _described(journal: Journal, pictures: Sequence[Path]) -> Extraction:
    result = Extraction()
    result.paths, result.skipped = [], []
    for outline in journal.outlines():
        result.paths += [pictures[position] for position in outline.rows]
        result.skipped += [(pictures[position], what) for position, what in outline.skipped]
        for tap, shape in outline.shapes.items():
            result.setdefault(tap, shape)
    for tap, shape in result.items():
        result[tap] = (len(result.paths), *shape[1:])
    return result


@contextmanager
def _journal(
    path: Path, extractor: FeatureExtractor, pictures: Sequence[Path], batch_size: int, restart: bool
) -> Iterator[Journal]:
    """The journal of the output `path`, a new one or that of an interrupted run with the same settings."""
    from modelzoo.features.fingerprint import differences, settings_of
    from modelzoo.features.journal import Journal, read_settings

    beside = path.with_name(f".{path.name}.journal")
    settings = settings_of(extractor, pictures, batch_size)
    with disk_errors(path):
        if restart:
            beside.unlink(missing_ok=True)
        old = read_settings(beside)
        if old is not None and (changed := differences(old, settings)):
            raise UsageError(
                f"An interrupted run left {beside}, and this run would not continue it: {_listed(changed)} changed.",
                hint="run it again as it was, or throw away what was computed: --restart, restart=True",
            )
        journal = Journal(beside, settings)
        try:
            yield journal
        finally:
            journal.close()
            if not journal.done:
                beside.unlink(missing_ok=True)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else writes this output meanwhile."""
    from modelzoo.store.locks import held

    lock = path.with_name(f".{path.name}.lock")
    try:
        with held(lock, wait=0.5):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    except LockTimeoutError as error:
        raise LockTimeoutError(
            "Another process writes this output.", received=str(path), hint="wait for it, or choose another name"
        ) from error
