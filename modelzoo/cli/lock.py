"""`modelzoo lock`: which models a project uses, with the digests of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelzoo.cli.completion import MODEL
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current
from modelzoo.errors import UsageError

__all__ = ["lock"]


@verb("lock")
@click.argument("names", metavar="[NAME...]", nargs=-1, type=MODEL)
@click.option("--lockfile", metavar="FILE", type=click.Path(path_type=Path), help="Instead of modelzoo.lock.")
@click.option("--remove", is_flag=True, help="Take each NAME out of the lockfile.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if the registries say something else.")
@click.pass_context
def lock(ctx: click.Context, names: tuple[str, ...], lockfile: Path | None, remove: bool, check: bool) -> None:
    """Write modelzoo.lock: the digests that the files of each model NAME have now.

    Names are added to those that are there; without any, all that are there are locked anew. `modelzoo fetch --locked`
    then takes exactly these files, whatever the registries say later. A model whose card has no strong digest can be
    locked once `fetch --trust-first-use` has recorded one.
    """
    from modelzoo.registry.lockfile import LOCK_NAME, read_lock, write_lock

    if remove and check:
        raise UsageError("Removing and checking are two things: --remove or --check.")
    settings = current(ctx)
    report = settings.reporter
    path = lockfile or Path(LOCK_NAME)
    before = read_lock(path) if path.exists() or not names or remove or check else {}
    if remove:
        unknown = [name for name in names if name not in before]
        if unknown or not names:
            raise UsageError("No such model is in the lockfile.", received=", ".join(unknown) or "no name")
        after: dict[str, Any] = {name: entry for name, entry in before.items() if name not in names}
        changed = dict.fromkeys(names, "removed")
    else:
        fresh = _entries(settings, names or tuple(before))
        after = {**before, **fresh}
        changed = {
            name: "added" if name not in before else "unchanged" if before[name] == entry else "changed"
            for name, entry in fresh.items()
        }
    if not check and after != before:
        write_lock(path, after)
    stale = [name for name, what in changed.items() if what != "unchanged"]
    report.data({"path": str(path), "models": changed, "current": not stale})
    for name, what in changed.items():
        report.bare(f"{name}\t{what}")
        said = {"added": "not locked", "changed": "locked otherwise"} if check else {}
        report.say(f"{click.style(name, bold=True)}  {said.get(what, what)}")
    if check and stale:
        ctx.exit(1)


def _entries(settings: Any, names: tuple[str, ...]) -> dict[str, Any]:
    from modelzoo.registry import load_registries
    from modelzoo.registry.lockfile import entry_of
    from modelzoo.store import cache_root, trust
    from modelzoo.store.layout import Layout

    registries = load_registries(settings.registries, use=names)
    trusted = Layout(cache_root()).trusted
    found = {}
    for name in names:
        card = registries.card(name)
        origin = registries.registry_of(name)
        recorded = {
            file.name: known
            for file in card.files
            if not file.pinned and (known := trust.recorded(trusted, card.name, file.name)) is not None
        }
        found[card.name] = entry_of(card, "built-in" if origin.kind == "builtin" else origin.location, recorded)
    return found
