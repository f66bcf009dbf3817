"""Fourier transforms, windows and mel filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.table import Static, Tensor, op
from converters.function.values import element_dtype, shape_of, tf_dtype
from converters.function.wider import cast_back

__all__: list[str] = []


def _scalar(value: Any) -> Any:
    """A one-element value as an int where it is known, else as a scalar tensor."""
    if isinstance(value, np.ndarray):
        return int(value.reshape(()))
    return tf.reshape(value, ())


def _fitted(x: tf.Tensor, length: Any) -> tf.Tensor:
    """The last axis of `x` cut or filled with zeros to `length`."""
    have = x.shape[-1] if x.shape[-1] is not None else tf.shape(x)[-1]
    if isinstance(have, int) and isinstance(length, int):
        if length <= have:
            return x[..., :length]
        return tf.pad(x, [[0, 0]] * (x.shape.rank - 1) + [[0, length - have]])
    length = tf.cast(length, tf.int32)
    x = x[..., :length]
    return tf.pad(x, [[0, 0]] * (x.shape.rank - 1) + [[0, length - tf.shape(x)[-1]]])


def _complex(x: tf.Tensor) -> tf.Tensor:
    """(..., 1 or 2) real and imaginary parts -> complex (...)."""
    wide = tf.cast(x, tf.float64 if x.dtype == tf.float64 else tf.float32)
    # The sum is zero where there is no imaginary part, which with an open size only run time can tell.
    return tf.complex(wide[..., 0], tf.reduce_sum(wide[..., 1:], -1))


def _parts(x: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.math.real(x), tf.math.imag(x)], -1)


def _dft(x: tf.Tensor, length: Any, axis: int, inverse: bool, onesided: bool) -> tf.Tensor:
    rank = x.shape.rank - 1
    order = [*(i for i in range(rank) if i != axis), axis]
    back = [order.index(i) for i in range(rank)]
    signal = tf.transpose(_complex(x), order)
    have = signal.shape[-1] if signal.shape[-1] is not None else tf.shape(signal)[-1]
    if inverse and onesided:
        count = 2 * (have - 1) if length is None else length
        half = _fitted(signal, count // 2 + 1)
        real = tf.signal.irfft(half, tf.reshape(tf.cast(count, tf.int32), (1,)))
        return cast_back(tf.transpose(real, back)[..., None], x)
    count = have if length is None else length
    signal = _fitted(signal, count)
    if inverse:
        made = tf.signal.ifft(signal)
    elif x.shape[-1] == 1:
        made = _real_transform(tf.math.real(signal), count, onesided)
    else:
        made = tf.signal.fft(signal)
    if onesided and (inverse or x.shape[-1] != 1):
        made = made[..., : tf.shape(made)[-1] // 2 + 1]
    return cast_back(_parts(tf.transpose(made, back)), x)


def _real_transform(signal: tf.Tensor, count: Any, onesided: bool) -> tf.Tensor:
    """The transform of a real signal of `count` samples; its second half is the mirrored first one, exactly."""
    half = tf.signal.rfft(signal, tf.reshape(tf.cast(count, tf.int32), (1,)))
    if onesided:
        return half
    return tf.concat([half, tf.math.conj(tf.reverse(half[..., 1 : (count + 1) // 2], [-1]))], -1)


@op("DFT", since=17)
def dft_17(
    x: Tensor, dft_length: Static | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Tensor:
    length = None if dft_length is None else _scalar(dft_length)
    return _dft(x, length, axis % x.shape.rank, bool(inverse), bool(onesided))


@op("DFT", since=20)
def dft(
    x: Tensor,
    dft_length: Static | None = None,
    axis: Static | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    length = None if dft_length is None else _scalar(dft_length)
    chosen = -2 if axis is None else _scalar(axis)
    if isinstance(chosen, int):
        return _dft(x, length, chosen % x.shape.rank, bool(inverse), bool(onesided))
    rank = x.shape.rank
    branches = [lambda i=i: _dft(x, length, i, bool(inverse), bool(onesided)) for i in range(rank - 1)]
    return tf.switch_case(tf.cast(tf.math.floormod(chosen, rank), tf.int32), branches)


@op("STFT", since=17, constant=("window",))
def stft(
    signal: Tensor,
    frame_step: Static,
    window: Tensor | None = None,
    frame_length: Static | None = None,
    *,
    onesided: int = 1,
) -> Tensor:
    if frame_length is not None:
        length = _scalar(frame_length)
    else:
        length = shape_of(signal)[1] if window is None else shape_of(window)[0]
        length = length if isinstance(length, tf.Tensor) else int(length)
    step = _scalar(frame_step)
    count = (shape_of(signal)[1] - length) // step + 1
    places = tf.cast(tf.range(count) * step, tf.int32)[:, None] + tf.range(tf.cast(length, tf.int32))[None, :]
    frames = tf.gather(signal, places, axis=1)  # (N, frames, length, 1 or 2)
    if window is not None:
        frames *= window[:, None]
    half = bool(onesided) and signal.shape[-1] != 2
    return _dft(frames, None, 2, False, half)


def _cosines(*weights: float) -> Callable[..., Any]:
    """The window that is the sum of `weights[k] * cos(2 pi k n / N)`."""

    def row(size: Static, *, output_datatype: int = 1, periodic: int = 1) -> Tensor:
        wanted = tf_dtype(element_dtype(output_datatype))
        wide = tf.float64 if wanted == tf.float64 else tf.float32
        count = tf.cast(tf.reshape(size, ()), wide)
        angle = 2 * np.pi * tf.range(count) / (count if periodic else count - 1)
        terms = [tf.cast(weight, wide) * tf.cos(k * angle) for k, weight in enumerate(weights)]
        return tf.cast(tf.add_n(terms), wanted)

    return row


op("HannWindow", since=17)(_cosines(0.5, -0.5))
op("HammingWindow", since=17)(_cosines(25 / 46, -21 / 46))
op("BlackmanWindow", since=17)(_cosines(0.42, -0.5, 0.08))


@op("MelWeightMatrix", since=17)
def mel_weight_matrix(
    num_mel_bins: Tensor,
    dft_length: Tensor,
    sample_rate: Tensor,
    lower_edge_hertz: Tensor,
    upper_edge_hertz: Tensor,
    *,
    output_datatype: int = 1,
) -> Tensor:
    scalars = (num_mel_bins, dft_length, sample_rate, lower_edge_hertz, upper_edge_hertz)
    bands, length, rate, low, high = (tf.cast(tf.reshape(value, ()), tf.float64) for value in scalars)
    bins = tf.floor(length / 2) + 1
    edges = [_mel(low), _mel(high)]
    width = (edges[1] - edges[0]) / (bands + 2)
    centres = 700 * (tf.pow(tf.constant(10.0, tf.float64), (edges[0] + tf.range(bands + 2) * width) / 2595) - 1)
    cells = tf.floor((length + 1) * centres / rate)
    left, middle, right = cells[:-2], cells[1:-1], cells[2:]
    at = tf.range(bins)[:, None]
    zero, one = tf.zeros((), tf.float64), tf.ones((), tf.float64)
    rising = tf.where((at >= left) & (at <= middle), tf.math.divide_no_nan(at - left, middle - left), zero)
    rising = tf.where(tf.equal(left, middle) & tf.equal(at, middle), one, rising)
    falling = tf.where((at >= middle) & (at < right), tf.math.divide_no_nan(right - at, right - middle), zero)
    made = tf.where(at <= middle, rising, falling)
    return tf.cast(made, tf_dtype(element_dtype(output_datatype)))


def _mel(hertz: tf.Tensor) -> tf.Tensor:
    return 2595 * tf.math.log(1 + hertz / 700) / np.log(10.0)
