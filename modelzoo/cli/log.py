"""What the library logs as a warning, said to the user once and by the reporter."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from modelzoo.cli.output import Reporter

__all__ = ["warnings_heard"]


class _Heard(logging.Handler):
    """Passes each different message on once: a command may read the registries several times."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            self._reporter.warn(text)


@contextmanager
def warnings_heard(reporter: Reporter) -> Iterator[None]:
    """While it lasts, warnings of the logger `modelzoo` go through `reporter.warn`, and `--quiet` silences them."""
    logger = logging.getLogger("modelzoo")
    handler = _Heard(reporter)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
