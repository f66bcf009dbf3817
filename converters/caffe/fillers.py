"""What Caffe fills a learned array with where no weight file has it: include/caffe/filler.hpp.

Constants and the bilinear kernel are Caffe's to the bit. The random ones follow Caffe's distributions, from a seed that
the array's name decides: the same network is filled the same way each time.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from modelzoo.errors import ConversionError, nearest

__all__ = ["fill"]


def fill(name: str, shape: tuple[int, ...], filler: Any = None) -> np.ndarray:
    """A filled array.

    Args:
        name: of the array, `<layer>/<index>`: the seed of what is random.
        shape: of the result.
        filler: a `FillerParameter`; None fills with zeros.

    Returns:
        float32 array of that shape.

    Raises:
        ConversionError: an unknown filler, or one that does not fit the shape.
    """
    if filler is None:
        return np.zeros(shape, np.float32)
    kind = str(filler.type)
    if kind not in _FILLERS:
        close = nearest(kind, _FILLERS)
        raise ConversionError(
            f"The filler {kind!r} of {name!r} is unknown.",
            received=kind,
            hint=f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_FILLERS)}",
        )
    if not math.prod(shape):
        raise ConversionError(f"The array {name!r} has no elements to fill.", received=f"shape {list(shape)}")
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode("utf-8", "replace"))))
    return np.asarray(_FILLERS[kind](name, shape, filler, rng), np.float32).reshape(shape)


def _constant(name: str, shape: tuple[int, ...], filler: Any, rng: np.random.Generator) -> np.ndarray:
    return np.full(shape, filler.value, np.float32)


def _uniform(name: str, shape: tuple[int, ...], filler: Any, rng: np.random.Generator) -> np.ndarray:
    if not filler.min <= filler.max:
        raise ConversionError(f"The uniform filler of {name!r} has no range.", received=f"{filler.min} .. {filler.max}")
    return rng.uniform(filler.min, filler.max, shape)


def _gaussian(name: str, shape: tuple[int, ...], filler: Any, rng: np.random.Generator) -> np.ndarray:
    if not filler.std >= 0:
        raise ConversionError(f"The gaussian filler of {name!r} has no width.", received=f"std {filler.std}")
    values = rng.normal(filler.mean, filler.std, shape)
    if filler.sparse >= 0:
        if not shape or filler.sparse > shape[0]:
            raise ConversionError(
                f"The sparse filler of {name!r} keeps more than there is.",
                received=f"sparse {filler.sparse}, shape {list(shape)}",
            )
        values *= rng.random(shape) < filler.sparse / shape[0]
    return values


def _positive_unitball(name: str, shape: tuple[int, ...], filler: Any, rng: np.random.Generator) -> np.ndarray:
    rows = rng.random((shape[0] if shape else 1, math.prod(shape[1:])))
    return rows / rows.sum(axis=1, keepdims=True)


def _fan(shape: tuple[int, ...], filler: Any) -> float:
    """By what xavier and msra divide: inputs of an output, outputs of an input, or the mean of both."""
    count = math.prod(shape)
    inputs = count // (shape[0] if shape else 1)
    outputs = count // shape[1] if len(shape) > 1 else count
    return (inputs, outputs, (inputs + outputs) / 2)[filler.variance_norm]


def _xavier(name: str, shape: tuple[int, ...], filler: Any, rng: np.random.Generator) -> np.ndarray:
    """Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010."""
    limit = math.sqrt(3 / _fan(shape, filler))
    return rng.uniform(-limit, limit, shape)


def _msra(name: str, shape: tuple[int, ...], filler: Any, rng: np.random.Generator) -> np.ndarray:
    """He et al., "Delving deep into rectifiers", 2015."""
    return rng.normal(0, math.sqrt(2 / _fan(shape, filler)), shape)


def _bilinear(name: str, shape: tuple[int, ...], filler: Any, rng: np.random.Generator) -> np.ndarray:
    """The kernel with which a deconvolution enlarges bilinearly, for every pair of channels."""
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ConversionError(
            f"The bilinear filler of {name!r} needs four axes and a square kernel.", received=f"shape {list(shape)}"
        )
    half = math.ceil(shape[3] / 2)
    centre = np.float32((shape[3] - 1) / (2 * half))
    ramp = 1 - np.abs(np.arange(shape[3], dtype=np.float32) / np.float32(half) - centre)
    return np.broadcast_to((ramp[:, None] * ramp[None, :]).astype(np.float32), shape)


_FILLERS: dict[str, Callable[[str, tuple[int, ...], Any, np.random.Generator], np.ndarray]] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
