"""`--accept-licence`, and the question on a terminal, for every verb that fetches."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import click

from modelzoo.cli.settings import current

__all__ = ["accepting_licences"]


def accepting_licences(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of a verb's function: gives the verb `--accept-licence`, and answers for it.

    A model whose licence restricts its use is fetched for the first time only when the user accepts: by the option, or
    by `y` on a terminal, after the licence was shown. With `--json` or `--quiet`, and where nobody sits before a
    terminal, no question is asked: without the option, modelzoo.errors.LicenceError (exit code 18) ends the verb.
    """

    @functools.wraps(function)
    def asking(*args: Any, accept_licence: bool, **options: Any) -> Any:
        from modelzoo.registry.licences import answering

        with answering(lambda statement: _answer(statement, accepted=accept_licence)):
            return function(*args, **options)

    option = click.option(
        "--accept-licence", is_flag=True, help="Accept licences that restrict the use of the weights; asked for once."
    )
    return option(asking)


def _answer(statement: str, *, accepted: bool) -> bool:
    report = current().reporter
    asked = not (accepted or report.json or report.quiet) and sys.stdin.isatty() and sys.stderr.isatty()
    if accepted or asked:
        report.note(f"Licence of {statement}")
    return click.confirm("Do you accept it?", default=False, err=True) if asked else accepted
