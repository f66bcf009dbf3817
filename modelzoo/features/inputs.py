"""Which pictures: folders, glob patterns, single files, and lists of paths (text, CSV, TSV, parquet)."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelzoo.errors import ImageError, MissingExtraError, UsageError, nearest

__all__ = ["LISTS", "PICTURES", "find_pictures"]

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
"""Endings that count as pictures when a folder is searched."""

LISTS = frozenset({".txt", ".lst", ".csv", ".tsv", ".parquet"})
"""Endings of files that name pictures instead of being one."""

_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path")


def find_pictures(inputs: str | Path | Iterable[str | Path], *, column: str | None = None) -> list[Path]:
    """Files of `inputs`, in their order.

    Args:
        inputs: each a picture, a folder (searched with all below it, by name), a glob pattern, or a list of pictures:
            `.txt` and `.lst` hold a path a line; `.csv`, `.tsv` and `.parquet` a column of paths. Relative paths in
            a list start at the list's own folder. Files that a list names are not looked for here: a missing one is
            an unreadable picture.
        column: the column of paths; None takes the first of path, file, filename, ... that there is.

    Raises:
        ImageError: an input does not exist, a list cannot be read, or nothing was found.
        UsageError: a table has no such column.
        MissingExtraError: a parquet list without pyarrow.
    """
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    found: list[Path] = []
    for item in given:
        path = Path(item).expanduser()
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
            found.extend(sorted(inside, key=lambda p: p.relative_to(path).parts))
        elif path.is_file() and path.suffix.lower() in LISTS:
            found.extend(path.parent / line for line in _listed(path, column))
        elif path.exists():
            found.append(path)
        elif glob.has_magic(str(item)):
            # Path.glob takes no absolute pattern.
            found.extend(sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file()))  # noqa: PTH207
        else:
            raise ImageError("There is no such picture or folder.", received=str(item), hint="check the path")
    if not found:
        raise ImageError(
            "No picture was found.",
            received=", ".join(str(item) for item in given) or "nothing",
            hint=f"pictures end in {' '.join(sorted(PICTURES))}",
        )
    return found


def _listed(path: Path, column: str | None) -> list[str]:
    """The paths that a list holds, as they stand there."""
    try:
        if path.suffix.lower() == ".parquet":
            return _parquet_column(path, column)
        # utf-8-sig: spreadsheets put a byte order mark in front.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(
            f"The list {path} cannot be read: {error}.", hint="lists are UTF-8 text, CSV, TSV or parquet"
        ) from error
    if path.suffix.lower() in (".csv", ".tsv"):
        return _table_column(path, text, column)
    return [line for line in (line.strip() for line in text.splitlines()) if line]


def _table_column(path: Path, text: str, column: str | None) -> list[str]:
    import csv

    # Not splitlines(): a quoted field may hold a line break.
    rows = csv.reader(text.split("\n"), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        header = next(rows, [])
        place = header.index(_column(path, header, column))
        return [row[place] for row in rows if len(row) > place and row[place]]
    except csv.Error as error:
        raise ImageError(f"The list {path} cannot be read: {error}.", hint="check its quotes") from error


def _parquet_column(path: Path, column: str | None) -> list[str]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("parquet", "pyarrow", "Reading parquet") from error
    try:
        name = _column(path, pyarrow.parquet.read_schema(path).names, column)
        values = pyarrow.parquet.read_table(path, columns=[name])[name].to_pylist()
    except pyarrow.ArrowException as error:
        raise ImageError(f"The list {path} cannot be read: {error}.", hint="is it a parquet file?") from error
    return [str(value) for value in values if value]


def _column(path: Path, names: Sequence[str], column: str | None) -> str:
    if column is not None:
        if column in names:
            return column
        close = nearest(column, names)
        hint = f"did you mean {close[0]!r}?" if close else f"its columns: {', '.join(names)}"
        raise UsageError(f"{path} has no column {column!r}.", hint=hint)
    for name in _COLUMNS:
        for known in names:
            if known.strip().lower() == name:
                return known
    raise UsageError(
        f"{path} has no column that is called {_COLUMNS[0]}.",
        received=", ".join(names) or "an empty file",
        hint="say which column holds the paths: --column NAME, column=NAME; its first line names the columns",
    )
