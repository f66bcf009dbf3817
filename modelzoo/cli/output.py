"""One reporter for the three ways to speak: to a person, to a program (`--json`), to a pipe (`--quiet`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import click

from modelzoo.errors import ModelzooError

__all__ = ["Reporter", "human_size", "table", "wrapped"]


class Reporter:
    """Where a verb says things. Results go to standard output, everything else to standard error.

    ========== ======================= ========================= =====================
    call       for a person            `--json`                  `--quiet`
    ========== ======================= ========================= =====================
    `say`      stdout                  nothing                   nothing
    `bare`     nothing                 nothing                   stdout
    `data`     nothing                 one JSON document, stdout nothing
    `note`     stderr                  nothing                   nothing
    `warn`     stderr                  stderr                    nothing
    `error`    stderr                  one JSON document, stdout stderr
    ========== ======================= ========================= =====================
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet

    @property
    def progress(self) -> bool:
        """Whether a progress bar has somebody who looks at it."""
        return not (self.json or self.quiet) and sys.stderr.isatty()

    def say(self, text: str = "") -> None:
        """A line of the result, written for a person."""
        if not (self.json or self.quiet):
            click.echo(text, color=_colour(sys.stdout))

    def bare(self, text: str) -> None:
        """A line of the bare result: what a script would cut out of `say`'s lines."""
        if self.quiet and not self.json:
            click.echo(text)

    def data(self, document: Any) -> None:
        """The whole result as one JSON document; to be called once."""
        if self.json:
            click.echo(_as_json(document))

    def note(self, text: str) -> None:
        """What is good to know besides the result."""
        if not (self.json or self.quiet):
            click.echo(text, err=True, color=_colour(sys.stderr))

    def warn(self, text: str) -> None:
        """What the user should act upon although the verb goes on."""
        if not self.quiet:
            click.echo(f"{click.style('warning:', fg='yellow', bold=True)} {text}", err=True, color=_colour(sys.stderr))

    def error(self, error: ModelzooError) -> None:
        """Why the verb ends here."""
        if self.json:
            click.echo(_as_json(error.as_dict()))
            return
        # The hint comes last: it is what the user acts upon.
        hint = f"Hint: {error.hint}" if error.hint else ""
        body = [line for line in str(error).replace(hint, "", 1).splitlines() if line]
        first, *rest = body or [type(error).__name__]
        lines = [f"{click.style('error:', fg='red', bold=True)} {first}"]
        lines += [f"  {line}" for line in rest]
        lines += [f"  Caused by: {line}" for line in _causes(error)]
        if hint:
            first, *rest = hint.splitlines()
            lines += [f"  {click.style('Hint:', fg='cyan')} {first[6:]}", *(f"  {line}" for line in rest)]
        click.echo("\n".join(lines), err=True, color=_colour(sys.stderr))


def _causes(error: BaseException) -> list[str]:
    """One line for each exception that led to `error`, where it says something that `error` does not."""
    lines: list[str] = []
    seen = str(error)
    cause = error.__cause__
    while cause is not None and len(lines) < 5:
        text = str(cause).strip().splitlines()
        line = f"{type(cause).__name__}: {text[0]}" if text else type(cause).__name__
        if not text or text[0] not in seen:
            lines.append(line if len(line) <= 300 else line[:297] + "...")
        cause = cause.__cause__
    return lines


def _as_json(document: Any) -> str:
    import json

    return json.dumps(document, indent=2, ensure_ascii=False, default=str)


def _colour(stream: TextIO) -> bool | None:
    # None lets click decide by isatty(); https://no-color.org asks for "present and not empty".
    return False if os.environ.get("NO_COLOR") else None


def human_size(count: int | None) -> str:
    """A number of bytes as a person reads it, in powers of 1000 as disks and downloads are sold: `27.5 MB`."""
    if count is None:
        return "?"
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.1f} {unit}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Lines of a table with aligned columns; those whose index is in `right` are flush right."""
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if n in right else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return [click.style(line(header), bold=True), *map(line, rows)]


def wrapped(label: str, text: str, *, indent: int = 14, width: int = 100) -> list[str]:
    """`label` and `text` beside it, folded to `width` columns; lines of `text` stay lines."""
    import textwrap

    lines: list[str] = []
    for part in text.splitlines() or [""]:
        lines += textwrap.wrap(part, width - indent, break_long_words=False, break_on_hyphens=False) or [""]
    labels = [f"{label:<{indent}}", *[" " * indent] * (len(lines) - 1)]
    return [(a + b).rstrip() for a, b in zip(labels, lines, strict=True)]
