"""Small weight files of every format, and what is in them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from modelzoo.checkpoints.write_v1 import write_v1
from modelzoo.checkpoints.write_v2 import write_v2

ARRAYS = {
    "conv/weights": np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7,
    "conv/biases": np.array([-1.5, np.inf, -0.0], dtype=np.float64),
    "step": np.array(-12345678901, dtype=np.int64),
}


def h5(path: Path, **settings: object) -> Path:
    import h5py

    with h5py.File(path, "w", **settings) as file:
        for name, array in ARRAYS.items():
            file[name] = array
        file.create_dataset("packed", data=np.arange(600, dtype=np.int16).reshape(20, 30), compression="gzip")
        file.attrs["model_config"] = '{"class_name": "Functional"}'
    return path


def make(folder: Path) -> dict[str, Path]:
    """One file (or prefix) of each format, by the name of its format; `npy` is a dictionary, `npz` is deflated."""
    import safetensors.numpy

    made = {
        "tf-v1": write_v1(folder / "model.ckpt", ARRAYS),
        "tf-v2": write_v2(folder / "v2.ckpt", ARRAYS),
        "keras-h5": h5(folder / "model.h5"),
        "keras-zip": folder / "model.keras",
        "npy": folder / "caffe.npy",
        "npz": folder / "model.npz",
        "safetensors": folder / "model.safetensors",
    }
    with zipfile.ZipFile(made["keras-zip"], "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(made["keras-h5"], "model.weights.h5")
    np.save(made["npy"], {"conv": {name[5:]: ARRAYS[name] for name in ARRAYS if "/" in name}}, allow_pickle=True)
    np.savez_compressed(made["npz"], **ARRAYS)
    safetensors.numpy.save_file(ARRAYS, made["safetensors"])
    return made
