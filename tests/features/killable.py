"""A program that extracts in child processes and has them killed (SIGKILL) at the n-th thing they do.

Each line on standard input is a JSON object: folder, out, log, at (0: not at all); the answer to each is one line: how
many things the child did, or -1 if it was killed. Things are operations on files (audit events of Python) and computed
batches; each computed batch adds a line with its number of pictures to the log. One process imports everything once and
forks for each line; the network is a few lines of NumPy, since TensorFlow's threads do not outlive a fork.
"""

from __future__ import annotations

import os
import signal
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.features.extract import extract
from tests.killing import answer_orders

SIZE = 8
BATCH = 4
_EVENTS = {"open", "os.rename", "os.remove", "os.truncate", "tempfile.mkstemp"}


class Extractor:
    """The interface of `FeatureExtractor`: mean and corner of each picture."""

    taps = types.MappingProxyType({"mean": None, "corner/pixels": None})
    pooling = None
    model = types.SimpleNamespace(name="means", layers=(), weights=())

    def __init__(self, log: Path, step: Any) -> None:
        self._log, self._step = log, step

    def need_preprocess(self) -> None:
        """It has one."""

    def preprocess(self, picture: Any) -> np.ndarray:
        """(1, SIZE, SIZE, 3) float32."""
        from modelzoo.preprocess import Preprocess

        return Preprocess("inception", (SIZE, SIZE))(picture)

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Features of a batch; it is logged once they are there."""
        values = {"mean": batch.mean((1, 2), dtype=np.float32), "corner/pixels": batch[:, :2, :2]}
        result = {tap: values[tap] for tap in self.taps}
        self._step()
        with self._log.open("a") as log:
            log.write(f"{len(batch)}\n")
        return result


def main() -> None:
    """Answers line after line until the input ends."""
    import tensorflow

    assert tensorflow.__version__
    answer_orders(_work)


def _work(order: dict[str, Any], answer: int) -> None:
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if done == order["at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        name = Path(order["out"]).name
        sys.addaudithook(lambda event, args: step() if event in _EVENTS and name in str(args) else None)
        extract(Extractor(Path(order["log"]), step), order["folder"], order["out"], batch_size=BATCH, progress=False)  # type: ignore[arg-type]
        os.write(answer, str(done).encode())
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
