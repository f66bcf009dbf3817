"""The log of a run as CSV: a row for each episode and each evaluation."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import IO, Any

from modelzoo.errors import CheckpointFormatError, DiskError
from modelzoo.rl.checkpoint import write_whole

__all__ = ["Row", "RunLog", "read_log"]


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes:
        step: of the run.
        episode: number of the episode that ended there, or None.
        total: sum of its rewards, or None.
        length: its steps, or None.
        exploration: share of random actions.
        loss: of the newest gradient steps, or None.
        evaluation: mean return of the greedy policy there, or None.
    """

    step: int
    episode: int | None = None
    total: float | None = None
    length: int | None = None
    exploration: float | None = None
    loss: float | None = None
    evaluation: float | None = None


_HEADER = ["step", "episode", "return", "length", "exploration", "loss", "evaluation"]
_WHOLE = ("step", "episode", "length")


class RunLog:
    """Rows of a run, in memory and in a file.

    Args:
        path: of the file, written row by row; None = in memory only.
        until: rows of an earlier part of the run that are kept: those up to this step. None = begin anew.

    Raises:
        CheckpointFormatError: the file there is no such log.
        DiskError: it cannot be written.
    """

    def __init__(self, path: Path | None = None, *, until: int | None = None) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._file: IO[str] | None = None
        if path is None:
            return
        if until is not None and path.exists():
            self.rows = [row for row in read_log(path) if row.step <= until]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_HEADER, *(_texts(row) for row in self.rows)])
        write_whole(path, text.getvalue().encode())
        try:
            self._file = path.open("a", newline="", encoding="utf-8")
        except OSError as error:
            raise DiskError(f"The log cannot be written: {error.strerror or error}.", received=str(path)) from error

    def add(self, row: Row) -> None:
        """Append a row."""
        self.rows.append(row)
        if self._file is not None:
            try:
                csv.writer(self._file, lineterminator="\n").writerow(_texts(row))
                self._file.flush()
            except OSError as error:
                raise DiskError(
                    f"The log cannot be written: {error.strerror or error}.", received=str(self.path)
                ) from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def read_log(path: str | Path) -> list[Row]:
    """The rows of a file that `RunLog` wrote; a last row that was cut off is left out.

    Raises:
        CheckpointFormatError: it is none.
    """
    names = [field.name for field in fields(Row)]
    rows: list[Row] = []
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            text = file.read()
        lines = list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))
        if not lines or lines[0] != _HEADER:
            raise ValueError("another header")
        for line in lines[1:]:
            values: list[Any] = [
                None if cell == "" else int(cell) if name in _WHOLE else float(cell)
                for name, cell in zip(names, line, strict=True)
            ]
            rows.append(Row(*values))
    except (OSError, ValueError, csv.Error) as error:
        raise CheckpointFormatError("The file is no log of a run.", received=f"{path}: {error}") from error
    return rows


def _texts(row: Row) -> list[str]:
    # repr of a float is the shortest text that gives the same number again.
    return ["" if value is None else repr(value) for value in astuple(row)]
