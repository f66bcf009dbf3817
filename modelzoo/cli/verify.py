"""`modelzoo verify`: is what lies in the cache still what was fetched?"""

from __future__ import annotations

import click

from modelzoo.cli.cache import CACHED, key_of
from modelzoo.cli.output import table
from modelzoo.cli.root import verb
from modelzoo.cli.settings import Settings, current
from modelzoo.errors import UsageError

__all__ = ["verify"]


@verb("verify")
@click.argument("names", metavar="[NAME...]", nargs=-1, type=CACHED)
@click.option("--all", "everything", is_flag=True, help="Verify every model in the cache, as without NAME.")
@click.option("--fetch", "again", is_flag=True, help="Fetch anew what is damaged or missing.")
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...], everything: bool, again: bool) -> None:
    """Hash the cached files of each model NAME, or of all, and compare with what was verified when they came.

    Damaged files are moved to `quarantine/` in the cache, so that the next fetch brings them anew; with --fetch that
    happens at once. Exit code 1 says that a file is damaged or missing, and was not fetched again.
    """
    from modelzoo.store import Store

    settings = current(ctx)
    report = settings.reporter
    if names and everything:
        raise UsageError("--all says that every model is meant, and names say which.", received=", ".join(names))
    store = Store()
    verdicts = store.verify([key_of(name, store, settings) for name in names] or None)
    bad = [one for one in verdicts if one.status != "ok"]
    broken = tuple(dict.fromkeys(one.key for one in bad))
    if again:
        _fetch(broken, settings)
    report.data(
        {
            "ok": not bad,
            "fetched": list(broken) if again else [],
            "files": [
                {"model": v.key, "name": v.name, "path": str(v.path), "status": v.status, "detail": v.detail}
                for v in verdicts
            ],
        }
    )
    if not verdicts:
        report.note(f"The cache is empty: {store.root}")
        return
    for one in bad:
        report.bare(str(one.path))
    rows = [(v.key, v.name, v.status if v.status == "ok" else v.status.upper()) for v in verdicts]
    for line in table(("MODEL", "FILE", "STATUS"), rows):
        report.say(line)
    if not bad:
        report.note(f"{len(verdicts)} {'file' if len(verdicts) == 1 else 'files'}, all as they were when they came")
        return
    for one in bad:
        report.warn(f"{one.key}: {one.name} is {one.status}: {one.detail}")
    if again:
        report.note(f"Fetched again: {', '.join(broken)}")
        return
    report.note(f"To have them again: modelzoo fetch {' '.join(broken)}")
    ctx.exit(1)


def _fetch(names: tuple[str, ...], settings: Settings) -> None:
    from modelzoo.pretrained import fetch_card
    from modelzoo.registry import info, load_registries

    registries = load_registries(settings.registries, use=names)
    for name in names:
        fetch_card(info(name, registries=registries), progress=settings.reporter.progress)
