"""Features of a frozen backbone, computed once a file and kept on disk under the fingerprint of its bytes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import DiskError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from modelzoo.finetune.backbone import Backbone

__all__ = ["FeatureCache", "fingerprint"]

_PART = 256  # pictures in a file of the cache


def fingerprint(backbone: Backbone) -> str:
    """SHA-256 over everything that features depend on: weights, taps, pooling, preprocessing, input shape."""
    import numpy as np

    digest = hashlib.sha256()
    for layer in backbone.layers:
        for variable in layer.weights:
            digest.update(f"{variable.path} {variable.dtype} {tuple(variable.shape)}\n".encode())
            digest.update(np.ascontiguousarray(np.asarray(variable)).data)
    preprocess = backbone.preprocess
    facts = {
        "taps": list(backbone.taps),
        "pooling": backbone.pooling,
        "input": [str(size) for size in backbone.model.inputs[0].shape],
        "preprocess": preprocess.as_dict() if hasattr(preprocess, "as_dict") else repr(preprocess),
    }
    mean = getattr(preprocess, "mean_image", None)
    if mean is not None:
        digest.update(np.ascontiguousarray(mean).data)
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    return digest.hexdigest()


class FeatureCache:
    """Features of pictures from a backbone with one tap.

    Args:
        backbone: its features; it should be frozen, since changed weights are another cache.
        folder: where the files lie, made when needed; None = in memory only.

    Every file is whole or not there, so that an interrupted run goes on where it was. A file that is damaged is
    computed again. Features are kept as float32.

    Raises:
        UsageError: several taps, or a backbone whose preprocessing nobody states.
    """

    def __init__(self, backbone: Backbone, folder: str | Path | None = None) -> None:
        if not backbone.single:
            raise UsageError("The cache holds the features of one tap.", received=", ".join(backbone.taps))
        if backbone.preprocess is None:
            raise UsageError(f"Nobody states how {backbone.name!r} wants its pictures prepared.")
        self.backbone = backbone
        self.key = fingerprint(backbone)
        self.folder = None if folder is None else Path(folder) / self.key[:16]
        self.computed = 0
        self._rows: dict[str, np.ndarray] = {}
        self._parts = 0
        self._run: Any = None
        if self.folder is not None and self.folder.is_dir():
            self._read(self.folder)

    def features(self, paths: Sequence[Path], *, batch_size: int = 32, progress: bool | None = False) -> np.ndarray:
        """Features in the order of the pictures, (N, ...) float32; what is not known yet is computed.

        Raises:
            ImageError: a file is no picture.
            DiskError: the cache cannot be written.
        """
        import numpy as np
        from tqdm import tqdm

        digests = [_digest(path) for path in paths]
        missing = {digest: path for digest, path in zip(digests, paths, strict=True) if digest not in self._rows}
        todo = list(missing.items())
        fresh: list[str] = []
        disable = None if progress is None else not progress
        with tqdm(total=len(todo), unit="img", disable=disable, desc="features") as bar:
            for start in range(0, len(todo), batch_size):
                some = todo[start : start + batch_size]
                values = self._compute([path for _, path in some])
                for (digest, _), value in zip(some, values, strict=True):
                    # A copy: a row must not hold on to the memory of its batch.
                    self._rows[digest] = np.array(value)
                    fresh.append(digest)
                bar.update(len(some))
                if len(fresh) >= _PART:
                    self._write(fresh)
                    fresh = []
        self._write(fresh)
        return np.stack([self._rows[digest] for digest in digests])

    def _compute(self, paths: Sequence[Path]) -> np.ndarray:
        import numpy as np
        import tensorflow as tf

        if self._run is None:
            model = self.backbone.model
            spec = tf.TensorSpec([None, *model.inputs[0].shape[1:]], model.inputs[0].dtype)
            self._run = tf.function(lambda x: model(x, training=False), input_signature=[spec])
        self.computed += len(paths)
        prepared = self.backbone.preprocess(list(paths))
        return np.asarray(tf.cast(self._run(tf.convert_to_tensor(prepared)), tf.float32))

    def _read(self, folder: Path) -> None:
        import zipfile
        import zlib

        import numpy as np

        damage = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
        for path in sorted(folder.glob("part-*.npz")):
            self._parts = max(self._parts, int(path.stem.removeprefix("part-")) + 1)
            try:
                with np.load(path, allow_pickle=False) as part:
                    digests, rows = part["sha256"], part["features"]
                    self._rows.update({bytes(d).hex(): row for d, row in zip(digests, rows, strict=True)})
            except damage:  # computed again
                continue

    def _write(self, digests: Sequence[str]) -> None:
        import numpy as np

        if self.folder is None or not digests:
            return
        target = self.folder / f"part-{self._parts:05d}.npz"
        beside = target.with_name(f".{target.name}.{os.getpid()}.part")
        names = np.stack([np.frombuffer(bytes.fromhex(digest), np.uint8) for digest in digests])
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                np.savez(file, sha256=names, features=np.stack([self._rows[digest] for digest in digests]))
            beside.replace(target)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise DiskError(f"The features cannot be kept: {error.strerror or error}.", received=str(target)) from error
        self._parts += 1


def _digest(path: Path) -> str:
    from modelzoo.errors import ImageError

    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"A picture cannot be read: {error.strerror or error}.", received=str(path)) from error
