"""Series and audio: files, front ends against a plain reference, and what is refused."""

from __future__ import annotations

import struct
import wave

import numpy as np
import pytest

from modelzoo.errors import ArrayError, InputError, UsageError
from modelzoo.rnn import LogMel, RawWindows, load_series, read_series, read_wav


def write_wav(path, samples, rate=8000, width=2, channels=1):
    """Samples in [-1, 1), (N,) or (N, channels)."""
    whole = np.round(np.asarray(samples) * (1 << (8 * width - 1))).astype(np.int64)
    if width == 1:
        data = (whole + 128).astype(np.uint8).tobytes()
    else:
        data = b"".join(int(v).to_bytes(width, "little", signed=True) for v in whole.ravel())
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_of_every_width(tmp_path, width):
    samples = np.array([0, 0.5, -0.5, 0.25, -1, 0.9921875], np.float32)
    found, rate = read_wav(write_wav(tmp_path / "a.wav", samples, 11025, width))
    assert rate == 11025 and found.dtype == np.float32
    np.testing.assert_array_equal(found, samples)


def test_channels_are_averaged(tmp_path):
    both = np.array([[0.5, 0.25], [-0.5, 0.5], [0, -1]])
    found, _ = read_wav(write_wav(tmp_path / "a.wav", both, channels=2))
    np.testing.assert_array_equal(found, [0.375, 0, -0.5])


def reference(samples, front):
    """The same log-mel spectrum by NumPy's Fourier transform and triangles on the HTK scale."""
    size, hop = round(front.window * front.rate), round(front.hop * front.rate)
    length = 1 << (size - 1).bit_length()
    count = 1 + (len(samples) - size) // hop
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    frames = np.stack([samples[n * hop : n * hop + size] for n in range(count)]) * hann
    magnitude = np.abs(np.fft.rfft(frames, length))
    top = front.rate / 2 if front.highest is None else front.highest

    def mel(hertz):
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    edges = np.linspace(mel(front.lowest), mel(top), front.bands + 2)
    at = mel(np.arange(length // 2 + 1) * front.rate / length)
    up = (at[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - at[:, None]) / (edges[2:] - edges[1:-1])
    matrix = np.maximum(0, np.minimum(up, down))
    matrix[0] = 0
    return np.log(magnitude @ matrix + front.floor)


@pytest.mark.parametrize(
    "front",
    [
        LogMel(rate=8000, bands=12),
        LogMel(rate=16000),
        LogMel(rate=11025, window=0.0321, hop=0.016, bands=20, lowest=100, highest=4000, floor=1e-3),
    ],
)
def test_log_mel_is_the_plain_computation(front):
    samples = np.random.default_rng(0).uniform(-1, 1, 3000).astype(np.float32)
    found, wanted = front(samples), reference(samples.astype(np.float64), front)
    assert found.shape == wanted.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_a_tone_is_where_it_should_be():
    front = LogMel(rate=8000, bands=16, lowest=100)
    edges = 700 * np.expm1(np.linspace(*1127 * np.log1p(np.array([100, 4000]) / 700), 18) / 1127)
    for band in (3, 8, 12):
        tone = np.sin(2 * np.pi * edges[band + 1] * np.arange(4000) / 8000).astype(np.float32)
        assert set(front(tone).argmax(axis=1).tolist()) == {band}


def test_raw_windows():
    found = RawWindows(8000, 4, 3)(np.arange(11, dtype=np.float32))
    np.testing.assert_array_equal(found, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]])


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "series"
    for label, name in enumerate(("calm", "wild")):
        (root / name).mkdir(parents=True)
        for n in range(3):
            np.save(root / name / f"{n}.npy", np.full((5 + n, 2), label + 0.5, np.float64))
    return root


def test_arrays_by_class(folder):
    series = read_series(folder)
    assert (series.names, series.lengths, series.masked) == (("calm", "wild"), (5, 6, 7, 5, 6, 7), True)
    assert series.items[4].dtype == np.float32 and float(series.items[4][0, 0]) == 1.5
    windows = read_series(folder, window=3, hop=2)
    assert len(windows) == 2 * (2 + 2 + 3) and windows.items[0].shape == (3, 2)
    with pytest.raises(UsageError, match=r"shorter than a window of 6 steps"):
        read_series(folder, window=6)


def test_tables_with_and_without_a_header(tmp_path):
    (tmp_path / "a.csv").write_text("time,x\n0,1.5\n1,-2e3\n\n2,7\n")
    (tmp_path / "b.csv").write_text("\ufeff1\n2\n3\n", encoding="utf-8")
    np.testing.assert_array_equal(load_series(tmp_path / "a.csv"), [[0, 1.5], [1, -2000], [2, 7]])
    np.testing.assert_array_equal(load_series(tmp_path / "b.csv"), [[1], [2], [3]])


def test_audio_by_class(tmp_path):
    for name in ("low", "high"):
        (tmp_path / "audio" / name).mkdir(parents=True)
        for n in range(2):
            write_wav(tmp_path / "audio" / name / f"{n}.wav", np.zeros(1000))
    front = LogMel(rate=8000, bands=5)
    series = read_series(tmp_path / "audio", front_end=front, window=4)
    assert series.items[0].shape == (4, 5) and len(series) == 4 * ((1 + 800 // 80) // 4)
    with pytest.raises(UsageError, match="front end"):
        read_series(tmp_path / "audio")
    with pytest.raises(InputError, match="8000 samples a second"):
        read_series(tmp_path / "audio", front_end=LogMel(rate=16000))
    with pytest.raises(ArrayError, match=r"0\.wav"):
        read_series(tmp_path / "audio", front_end=RawWindows(8000, 2000, 10))


def _objects(path):
    np.save(path, np.array([{}, None], object), allow_pickle=True)


def _structured(path):
    np.save(path, np.zeros(3, [("a", "f4")]))


@pytest.mark.parametrize(
    "write,error",
    [
        (lambda p: p.write_bytes(b""), InputError),
        (lambda p: p.write_bytes(b"\x93NUMPY\x01\x00"), InputError),
        (lambda p: p.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': ][}    "), InputError),
        (_objects, InputError),
        (_structured, ArrayError),
        (lambda p: np.save(p, np.zeros((2, 2, 2))), ArrayError),
        (lambda p: np.save(p, np.float32(3)), ArrayError),
        (lambda p: np.save(p, np.array(["a", "b"])), ArrayError),
        (lambda p: np.save(p, np.zeros((3, 2), complex)), ArrayError),
        (lambda p: np.save(p, np.array([[1.0], [np.nan]])), ArrayError),
        (lambda p: np.save(p, np.array([[1.0], [np.inf]])), ArrayError),
        (lambda p: p.mkdir(), InputError),
    ],
)
def test_arrays_that_are_no_series(tmp_path, write, error):
    write(tmp_path / "a.npy")
    with pytest.raises(error, match=r"a\.npy"):
        load_series(tmp_path / "a.npy")


@pytest.mark.parametrize("text", ["", "time\n", "1,2\n3\n", "1,2\n3,x\n", "1,nan\n", "1\n\x00\n", "a,b\nc,d\n"])
def test_tables_that_are_no_series(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=r"a\.csv"):
        load_series(tmp_path / "a.csv")


def _float_wav(path):
    body = b"fmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8000, 32000, 4, 32) + b"data" + struct.pack("<I", 8) + b"\0" * 8
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)


def _cut_wav(path):
    write_wav(path, np.zeros(100))
    path.write_bytes(path.read_bytes()[:-51])


@pytest.mark.parametrize(
    "write",
    [lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"RIFF\0\0\0\0WAVE"), _float_wav, _cut_wav],
)
def test_audio_that_cannot_be_read(tmp_path, write):
    write(tmp_path / "a.wav")
    with pytest.raises(InputError, match=r"a\.wav"):
        read_wav(tmp_path / "a.wav")


def test_files_that_are_not_there(tmp_path):
    for name in ("a.npy", "a.csv"):
        with pytest.raises(InputError):
            load_series(tmp_path / name)
    with pytest.raises(InputError):
        read_wav(tmp_path / "a.wav")
    with pytest.raises(UsageError, match="no kind of series"):
        load_series(tmp_path / "a.mp3")
    with pytest.raises(UsageError, match="for audio"):
        load_series(tmp_path / "a.npy", front_end=LogMel())


def _mixed(root):
    (root / "wild" / "x.csv").write_text("1,2\n")


def _channels(root):
    np.save(root / "wild" / "x.npy", np.zeros((4, 3)))


def _beside(root):
    np.save(root / "x.npy", np.zeros((4, 3)))


def _folder(root):
    (root / "wild" / "x").mkdir()


def _nothing(root):
    (root / "none").mkdir()


@pytest.mark.parametrize(
    "spoil,error,says",
    [
        (_mixed, UsageError, "mixes kinds"),
        (_channels, ArrayError, "numbers of channels"),
        (_beside, UsageError, "beside the classes"),
        (_folder, UsageError, "a folder lies there"),
        (_nothing, UsageError, "no series"),
    ],
)
def test_folders_that_are_no_series_by_class(folder, spoil, error, says):
    spoil(folder)
    with pytest.raises(error, match=says):
        read_series(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0},
        {"bands": 0},
        {"hop": 0},
        {"window": 0.00001},
        {"lowest": 9000},
        {"highest": 9000},
        {"floor": 0},
        {"lowest": float("nan")},
    ],
)
def test_front_ends_out_of_range(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        LogMel(**options)


@pytest.mark.parametrize("numbers", [(0, 4, 2), (8000, 0, 2), (8000, 4, 0), (8000, 2.5, 1)])
def test_raw_windows_out_of_range(numbers):
    with pytest.raises(UsageError):
        RawWindows(*numbers)
