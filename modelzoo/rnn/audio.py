"""Audio as sequences: WAV files, and front ends from samples to steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modelzoo.errors import ArrayError, InputError, UsageError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FrontEnd", "LogMel", "RawWindows", "read_wav"]


class FrontEnd(Protocol):
    """From samples to steps."""

    @property
    def rate(self) -> int:
        """Samples a second that it is made for."""

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """(samples,) float32 in [-1, 1] -> (steps, channels) float32."""


def read_wav(path: str | Path) -> tuple[np.ndarray, int]:
    """Read a WAV file of 8, 16, 24 or 32 bit PCM.

    Args:
        path: of the file.

    Returns:
        ((samples,) float32 in [-1, 1], samples a second); several channels are averaged.

    Raises:
        InputError: it cannot be read, is damaged or of another coding.
    """
    import wave

    import numpy as np

    try:
        with Path(path).expanduser().open("rb") as file, wave.open(file) as sound:
            channels, width, rate, count = sound.getparams()[:4]
            data = sound.readframes(count)
    except (OSError, EOFError, wave.Error, RuntimeError, ValueError) as error:
        raise InputError(
            "An audio file cannot be read.",
            received=f"{path}: {error or type(error).__name__}",
            hint="WAV with PCM of 8, 16, 24 or 32 bit; ffmpeg -i IN -c:a pcm_s16le OUT.wav writes one",
        ) from error
    if len(data) != count * channels * width or width not in (1, 2, 3, 4) or rate < 1:
        raise InputError(
            "An audio file ends before it should.",
            received=f"{path}: {len(data)} of {count * channels * width} bytes",
        )
    if width == 1:  # the only width without a sign
        values = np.frombuffer(data, np.uint8).astype(np.float32) - 128
    elif width == 3:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        whole = parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16
        values = (whole - ((whole & 0x800000) << 1)).astype(np.float32)
    else:
        values = np.frombuffer(data, f"<i{width}").astype(np.float32)
    mono = values.reshape(-1, channels).mean(axis=1) / np.float32(1 << (8 * width - 1))
    return mono.astype(np.float32), int(rate)


@dataclass(frozen=True)
class LogMel:
    """log(mel spectrum + floor): magnitudes of a Hann-windowed Fourier transform in triangular bands of equal width
    on the HTK mel scale. The last samples that fill no window are left out.

    Attributes:
        rate: samples a second.
        window, hop: of the transform, seconds.
        bands: number of mel bands, the channels of a step.
        lowest, highest: Hz, edges of the bands; None = half the rate.
        floor: what is added before the logarithm.

    Raises:
        UsageError: numbers out of range.
    """

    rate: int = 16_000
    window: float = 0.025
    hop: float = 0.010
    bands: int = 40
    lowest: float = 20.0
    highest: float | None = None
    floor: float = 1e-6

    def __post_init__(self) -> None:
        top = self.rate / 2 if self.highest is None else self.highest
        wrong = [
            f"{key}={value}"
            for key, value, fine in (
                ("rate", self.rate, self.rate >= 1),
                ("window", self.window, self.window * self.rate >= 2),
                ("hop", self.hop, self.hop * self.rate >= 1),
                ("bands", self.bands, self.bands >= 1),
                ("lowest", self.lowest, 0 <= self.lowest < top),
                ("highest", self.highest, top <= self.rate / 2),
                ("floor", self.floor, self.floor > 0),
            )
            if not fine
        ]
        if wrong:
            raise UsageError("A number of the front end is out of range.", received=", ".join(wrong))

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"kind": "log_mel", **asdict(self)}

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """(samples,) -> (steps, bands) float32.

        Raises:
            ArrayError: fewer samples than a window has.
        """
        import numpy as np
        import tensorflow as tf

        size, hop = round(self.window * self.rate), round(self.hop * self.rate)
        _check_samples(samples, size)
        length = 1 << (size - 1).bit_length()
        spectrum = tf.abs(tf.signal.stft(tf.constant(samples, tf.float32), size, hop, length))
        top = self.rate / 2 if self.highest is None else self.highest
        matrix = tf.signal.linear_to_mel_weight_matrix(self.bands, length // 2 + 1, self.rate, self.lowest, top)
        return np.asarray(tf.math.log(spectrum @ matrix + self.floor))


@dataclass(frozen=True)
class RawWindows:
    """Windows of samples as they are: for networks that take the wave itself.

    Attributes:
        rate: samples a second.
        size, hop: samples of a window, and from one to the next.

    Raises:
        UsageError: numbers out of range.
    """

    rate: int
    size: int
    hop: int

    def __post_init__(self) -> None:
        for key in ("rate", "size", "hop"):
            value = getattr(self, key)
            if not isinstance(value, int) or value < 1:
                raise UsageError("A number of the front end is out of range.", received=f"{key}={value!r}")

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"kind": "raw", **asdict(self)}

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """(samples,) -> (steps, size) float32.

        Raises:
            ArrayError: fewer samples than a window has.
        """
        import numpy as np

        from modelzoo.rnn.sequences import window_starts

        _check_samples(samples, self.size)
        starts = window_starts(len(samples), self.size, self.hop)
        return np.stack([samples[start : start + self.size] for start in starts]).astype(np.float32)


def _check_samples(samples: np.ndarray, size: int) -> None:
    if samples.ndim != 1 or len(samples) < size:
        raise ArrayError(
            "The sound is shorter than a window of the front end.",
            received=f"{samples.shape} samples, a window of {size}",
        )
