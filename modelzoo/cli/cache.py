"""`modelzoo cache`: what is there, where it is, and how it goes away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from modelzoo.cli.output import human_size, table
from modelzoo.cli.root import noun
from modelzoo.cli.settings import Settings, current
from modelzoo.errors import ModelzooError

if TYPE_CHECKING:
    from modelzoo.store import Removal, Store

__all__ = ["CACHED", "Duration", "Size", "cache", "key_of"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Size(click.ParamType):
    """A number of bytes: `500MB`, `2GB`, `1.5GiB`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]I?)?B?", str(value).strip().upper())
        if found is None:
            self.fail(f"{value!r} is no size; for example 500MB, 2GB or 1.5GiB", param, ctx)
        return int(float(found[1]) * _UNITS[found[2] or ""])


class Duration(click.ParamType):
    """A span of time, in seconds when it is converted: `12h`, `30d`, `8w`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhdw])", str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is no span of time; for example 90m, 12h, 30d or 8w", param, ctx)
        return float(found[1]) * _SPANS[found[2]]


class CachedName(click.ParamType):
    """The name of a model in the cache; a shell completes it from there."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from modelzoo.cli.settings import apply_environment
        from modelzoo.store import Store

        try:
            with apply_environment(current(ctx)):
                keys = [entry.key for entry in Store().entries()]
        except (ModelzooError, OSError):
            return []  # a shell that waits for Tab is no place for messages
        return [CompletionItem(key) for key in keys if key.startswith(incomplete)]


CACHED = CachedName()


def key_of(name: str, store: Store, settings: Settings) -> str:
    """The name under which the cache holds a model: `name` itself, or that of the card whose alias it is."""
    if name in {entry.key for entry in store.entries()}:
        return name
    from modelzoo.registry import info

    try:
        return info(name, registries=settings.registries).name
    except ModelzooError:
        return name  # the store says best what it does not hold


@noun("cache")
def cache() -> None:
    """List, find, remove or prune the files that were fetched."""


@cache.command("list")
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List the models in the cache: name, size, number of files, day of last use."""
    import time

    from modelzoo.store import Store

    report = current(ctx).reporter
    store = Store()
    entries = store.entries()
    report.data(
        {
            "root": str(store.root),
            "size": sum(entry.size for entry in entries),
            "models": [
                {
                    "name": entry.key,
                    "path": str(entry.path),
                    "size": entry.size,
                    "files": list(entry.files),
                    "used": entry.used,
                    "verified": entry.verified,
                }
                for entry in entries
            ],
        }
    )
    for entry in entries:
        report.bare(entry.key)
    if entries:
        rows = [
            (e.key, human_size(e.size), str(len(e.files)), time.strftime("%Y-%m-%d", time.localtime(e.used)))
            for e in entries
        ]
        for line in table(("MODEL", "SIZE", "FILES", "LAST USED"), rows, right=(1, 2)):
            report.say(line)
        report.note(f"{human_size(sum(entry.size for entry in entries))} in {store.root}")
    else:
        report.note(f"The cache is empty: {store.root}")


@cache.command("size")
@click.pass_context
def size(ctx: click.Context) -> None:
    """Show what the cache takes on the disk, and what is free there."""
    from modelzoo.store import Store

    report = current(ctx).reporter
    store = Store()
    held = store.usage()
    parts = {
        "models": held.models,
        "blobs": held.blobs,
        "partial": held.partial,
        "quarantine": held.quarantine,
        "other": held.other,
        "total": held.total,
    }
    report.data({"root": str(store.root), **parts, "free": held.free})
    report.bare(str(held.total))
    for line in table(("PART", "SIZE"), [(name, human_size(count)) for name, count in parts.items()], right=(1,)):
        report.say(line)
    loose = held.blobs + held.partial + held.quarantine
    if loose:
        report.note(f"{human_size(loose)} of it may be freed: modelzoo cache prune")
    report.note(f"{'unknown space' if held.free is None else human_size(held.free)} free in {store.root}")


@cache.command("path")
@click.argument("name", required=False, type=CACHED)
@click.pass_context
def path(ctx: click.Context, name: str | None) -> None:
    """Print the folder of the cache, or that of model NAME in it."""
    from modelzoo.store import cache_root

    settings = current(ctx)
    report = settings.reporter
    found = cache_root()
    if name is not None:
        found = _folder(name, settings)
    report.data({"path": str(found)})
    report.bare(str(found))
    report.say(str(found))


def _folder(name: str, settings: Settings) -> Any:
    from modelzoo.errors import UnknownModelError
    from modelzoo.store import Store

    store = Store()
    key = key_of(name, store, settings)
    held = {entry.key: entry.path for entry in store.entries()}
    if key not in held:
        raise UnknownModelError(
            name, held, what=f"The model {name!r} is not in the cache.", hint=f"modelzoo fetch {name}"
        )
    return held[key]


@cache.command("rm")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=CACHED)
@click.pass_context
def rm(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Remove the files of each model NAME from the cache."""
    from modelzoo.store import Store

    settings = current(ctx)
    store = Store()
    held = {entry.key for entry in store.entries()}
    keys = list(dict.fromkeys(key_of(name, store, settings) for name in names))
    # Unknown names first: then a mistake is said before anything is gone.
    removals = [store.remove(key) for key in sorted(keys, key=held.__contains__)]
    freed = sum(one.size for one in removals)
    settings.reporter.data({"removed": keys, "freed": freed})
    for key in keys:
        settings.reporter.bare(key)
        settings.reporter.say(f"removed {key}")
    settings.reporter.note(f"{human_size(freed)} freed")


@cache.command("prune")
@click.option("--max-size", type=Size(), help="Bytes that may stay, e.g. 2GB; the least recently used goes first.")
@click.option("--older-than", type=Duration(), help="Remove what was not used for so long, e.g. 30d.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.pass_context
def prune(ctx: click.Context, max_size: int | None, older_than: float | None, dry_run: bool) -> None:
    """Remove what is not used any more.

    Without options only what nothing refers to goes: abandoned downloads, loose blobs, damaged files.
    """
    from modelzoo.store import Store

    report = current(ctx).reporter
    gone: Removal = Store().prune(max_size=max_size, older_than=older_than, dry_run=dry_run)
    report.data({"removed": list(gone.keys), "freed": gone.size, "partials": gone.partials, "dry_run": dry_run})
    for key in gone.keys:
        report.bare(key)
        report.say(f"{'would remove' if dry_run else 'removed'} {key}")
    if gone.partials:
        downloads = "abandoned download" if gone.partials == 1 else "abandoned downloads"
        report.say(f"{'would remove' if dry_run else 'removed'} {gone.partials} {downloads}")
    report.note(f"{human_size(gone.size)} {'would be freed' if dry_run else 'freed'}")
