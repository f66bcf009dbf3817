"""The options that every verb takes, before or after its name, and what they are worth together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from modelzoo.cli.output import Reporter

__all__ = ["Settings", "apply_environment", "current", "global_options"]


@dataclass
class Settings:
    """What the global options say; one object for the whole command line.

    Attributes:
        json: print one JSON document on standard output and nothing else there.
        quiet: print the bare result; no notes, no warnings, no progress.
        registries: files, folders or URLs that go before the built-in registry, first one first.
        offline: never open a connection.
        cache: the folder of the cache, None for the usual one.
        mirror: URL of a mirror that is asked before the URLs of a card.
    """

    json: bool = False
    quiet: bool = False
    registries: tuple[str, ...] = ()
    offline: bool = False
    cache: str | None = None
    mirror: str | None = None

    @property
    def reporter(self) -> Reporter:
        return Reporter(json=self.json, quiet=self.quiet)


def current(ctx: click.Context | None = None) -> Settings:
    """The settings of the command line that `ctx` (or the running verb) belongs to."""
    found = (ctx or click.get_current_context()).find_root().ensure_object(Settings)
    assert isinstance(found, Settings)
    return found


def _store(field: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        settings = current(ctx)
        if field == "registries":
            settings.registries += tuple(value)
        elif value:
            setattr(settings, field, value)

    return callback


def global_options() -> list[click.Option]:
    """New option objects for one command; their values go to `Settings`, not to the verb's function."""

    def option(*names: str, field: str, **attributes: Any) -> click.Option:
        made = click.Option(list(names), expose_value=False, is_eager=True, callback=_store(field), **attributes)
        made.everywhere = True  # type: ignore[attr-defined]
        return made

    return [
        option("--json", field="json", is_flag=True, help="Print one JSON document on standard output."),
        option("-q", "--quiet", field="quiet", is_flag=True, help="Print the bare result: no notes, no progress."),
        option(
            "--registry",
            field="registries",
            multiple=True,
            metavar="FILE|DIR|URL",
            help="Cards that go before the built-in ones; repeatable. Also: MODELZOO_REGISTRY.",
        ),
        option("--offline", field="offline", is_flag=True, help="Open no connection. Also: MODELZOO_OFFLINE=1."),
        option("--cache", field="cache", metavar="DIR", help="Where files are kept. Also: MODELZOO_CACHE."),
        option("--mirror", field="mirror", metavar="URL", help="Fetch from there first. Also: MODELZOO_MIRROR."),
    ]


@contextmanager
def apply_environment(settings: Settings) -> Iterator[None]:
    """Say global options to the library, and to processes it starts, the way a user would: by variables."""
    wanted = {}
    if settings.offline:
        wanted["MODELZOO_OFFLINE"] = "1"
    if settings.cache:
        wanted["MODELZOO_CACHE"] = os.path.abspath(os.path.expanduser(settings.cache))  # noqa: PTH100, PTH111
    if settings.mirror:
        wanted["MODELZOO_MIRROR"] = settings.mirror
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
