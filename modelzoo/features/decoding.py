"""Pictures decoded ahead of the network by a pool of threads, in order, in batches, the unreadable ones set apart.

Pillow and NumPy give up the interpreter's lock while they decode and resize, so threads keep several cores busy.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.errors import InputError

__all__ = ["Prepared", "prepare", "prepare_batch", "prepared_ahead"]

_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Prepared:
    """The pictures of one batch.

    Attributes:
        number: of the batch; it holds the inputs from `number * batch_size` on.
        rows: positions, among all inputs, of the pictures that could be read, ascending.
        digests: SHA-256 of the file of each row, 32 bytes.
        groups: (places in `rows`, network's own input (N, H, W, C)) of pictures of one size each; one group unless
            the preprocessing keeps sizes.
        skipped: (position, what is wrong) of the others.
    """

    number: int
    rows: list[int]
    digests: list[bytes]
    groups: list[tuple[list[int], np.ndarray]]
    skipped: list[tuple[int, str]]


def prepare(preprocess: Callable[[Any], np.ndarray], path: Path) -> tuple[np.ndarray, bytes] | str:
    """The network's own input (1, H, W, C) of a file and the SHA-256 of its bytes, or what is wrong with the file."""
    from modelzoo.preprocess.decode import decode_image

    try:
        try:
            data = path.read_bytes()
        except (OSError, ValueError):
            decode_image(path)  # it knows what to say about a folder, a missing file, a lack of permission
            raise
        try:
            return preprocess(data), hashlib.sha256(data).digest()
        except InputError:
            decode_image(path)  # the same failure, with the file's name in its message
            raise
    except InputError as error:
        return error.what
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {error}."


def _assemble(number: int, first: int, futures: Sequence[Future[Any]]) -> Prepared:
    rows: list[int] = []
    digests: list[bytes] = []
    skipped: list[tuple[int, str]] = []
    by_shape: dict[tuple[int, ...], tuple[list[int], list[np.ndarray]]] = {}
    for position, future in enumerate(futures, start=first):
        result = future.result()
        if isinstance(result, str):
            skipped.append((position, result))
            continue
        pixels, digest = result
        places, arrays = by_shape.setdefault(pixels.shape[1:], ([], []))
        places.append(len(rows))
        arrays.append(pixels)
        rows.append(position)
        digests.append(digest)
    groups = [(places, np.concatenate(arrays)) for places, arrays in by_shape.values()]
    return Prepared(number, rows, digests, groups, skipped)


def prepare_batch(preprocess: Callable[[Any], np.ndarray], paths: Sequence[Path], number: int, first: int) -> Prepared:
    """One batch, its pictures decoded by several threads; `first` is the position of `paths[0]` among all inputs."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return _assemble(number, first, [pool.submit(prepare, preprocess, path) for path in paths])


def prepared_ahead(
    preprocess: Callable[[Any], np.ndarray],
    paths: Sequence[Path],
    batch_size: int,
    numbers: Iterable[int],
    *,
    workers: int | None = None,
) -> Iterator[Prepared]:
    """The batches `numbers` of `paths`, in that order, some of them decoded before they are asked for.

    Args:
        preprocess: bytes of a file -> (1, H, W, C); called from several threads.
        paths: all pictures; batch `k` is `paths[k * batch_size : (k + 1) * batch_size]`.
        batch_size: pictures a batch.
        numbers: of the batches.
        workers: threads; None = one a processor.
    """
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool, ThreadPoolExecutor(1) as assembling:
        waiting: deque[Future[Prepared]] = deque()
        try:
            for number in numbers:
                first = number * batch_size
                futures = [pool.submit(prepare, preprocess, path) for path in paths[first : first + batch_size]]
                waiting.append(assembling.submit(_assemble, number, first, futures))
                if len(waiting) > _BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            assembling.shutdown(wait=False, cancel_futures=True)
