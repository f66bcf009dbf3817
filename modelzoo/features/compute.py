"""The engine of one process: prepared batches through the network, a frame of the journal for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.errors import InputError
from modelzoo.features.journal import Batch, as_frame

if TYPE_CHECKING:
    from modelzoo.features.decoding import Prepared
    from modelzoo.features.extractor import FeatureExtractor

__all__ = ["computed", "frames"]


def frames(
    extractor: FeatureExtractor, paths: Sequence[Path], batch_size: int, numbers: Iterable[int]
) -> Iterator[bytes]:
    """The batches `numbers` of `paths`, computed in order while the next are decoded."""
    from modelzoo.features.decoding import prepared_ahead

    for prepared in prepared_ahead(extractor.preprocess, paths, batch_size, numbers):
        yield as_frame(computed(extractor, prepared))


def computed(extractor: FeatureExtractor, prepared: Prepared) -> Batch:
    """The features of one batch.

    Raises:
        InputError: its pictures give maps of different sizes.
    """
    import numpy as np

    features: dict[str, np.ndarray] = {}
    for places, pixels in prepared.groups:
        for tap, values in extractor.run(pixels).items():
            if tap not in features:
                features[tap] = np.empty((len(prepared.rows), *values.shape[1:]), np.float32)
            if features[tap].shape[1:] != values.shape[1:]:
                raise mixed_maps(tap, features[tap].shape[1:], values.shape[1:])
            features[tap][places] = values
    digests = [digest.hex() for digest in prepared.digests]
    return Batch(prepared.number, prepared.rows, digests, prepared.skipped, features)


def mixed_maps(tap: str, one: tuple[int, ...], other: tuple[int, ...]) -> InputError:
    """Maps that make no array, since the preprocessing keeps the size of each picture."""
    return InputError(
        f"The pictures give maps of different sizes at {tap}, which make no array.",
        received=f"{one} and {other}",
        hint="pool them: pooling='avg' or 'max' (--pooling); or give the preprocessing a size",
    )
