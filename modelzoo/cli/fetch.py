"""`modelzoo fetch`: files of models, downloaded, verified and in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelzoo.cli.completion import MODEL
from modelzoo.cli.licence import accepting_licences
from modelzoo.cli.output import human_size
from modelzoo.cli.root import verb
from modelzoo.cli.settings import Settings, current
from modelzoo.errors import ModelzooError, UsageError

if TYPE_CHECKING:
    from modelzoo.registry import Card
    from modelzoo.store import PlannedFile

__all__ = ["fetch"]


@verb("fetch")
@click.argument("names", metavar="NAME...", nargs=-1, type=MODEL)
@click.option("--locked", is_flag=True, help="Take only what modelzoo.lock names, exactly as it was locked.")
@click.option("--lockfile", metavar="FILE", type=click.Path(path_type=Path), help="Instead of modelzoo.lock.")
@click.option("--dry-run", is_flag=True, help="Only say what would be downloaded, and from where.")
@click.option("--trust-first-use", is_flag=True, help="Take files without a strong digest; record the one they have.")
@accepting_licences
@click.pass_context
def fetch(
    ctx: click.Context,
    names: tuple[str, ...],
    locked: bool,
    lockfile: Path | None,
    dry_run: bool,
    trust_first_use: bool,
) -> None:
    """Bring the files of each model NAME into the cache, and say where they are.

    A download that was interrupted goes on where it stopped. A file is seen under its name only after its digest
    has matched the registry's. When one model of several fails the others are fetched all the same; the exit code is
    that of the first failure. With --locked and no NAME, all models of modelzoo.lock are fetched.
    """
    from modelzoo.registry import info, load_registries

    settings = current(ctx)
    report = settings.reporter
    if (lockfile is not None or locked) and trust_first_use:
        raise UsageError("What is locked has its digest already: --locked or --trust-first-use.")
    held = _locked(lockfile) if locked or lockfile is not None else None
    if not names and not held:
        raise click.MissingParameter(ctx=ctx, param_hint="'NAME...'", param_type="argument")
    wanted = dict.fromkeys(names or held or ())
    registries = load_registries(settings.registries, use=wanted)
    cards = [info(name, registries=registries) for name in wanted]
    if held is not None:
        from modelzoo.registry.lockfile import locked_card

        cards = [locked_card(card, held) for card in cards]  # all are checked before the first is fetched
    documents: list[dict[str, Any]] = []
    failures: list[ModelzooError] = []
    for card in cards:
        try:
            documents.append(_plan(card, settings) if dry_run else _fetch(card, settings, trust_first_use))
        except ModelzooError as error:
            if len(cards) == 1:
                raise
            failures.append(error)
            documents.append({"name": card.name, **error.as_dict()})
            if not report.json:
                report.error(error)
    report.data(documents)
    if failures:
        ctx.exit(failures[0].exit_code)


def _locked(path: Path | None) -> dict[str, Any]:
    from modelzoo.registry.lockfile import LOCK_NAME, read_lock

    return dict(read_lock(path or Path(LOCK_NAME)))


def _fetch(card: Card, settings: Settings, trust_first_use: bool) -> dict[str, Any]:
    from modelzoo.pretrained import fetch_card
    from modelzoo.registry import card_sources
    from modelzoo.store import Store

    report = settings.reporter
    before = Store().locate(card.name, card_sources(card)) if card.files else None
    fetched = fetch_card(card, trust_first_use=trust_first_use, progress=report.progress)
    files: list[dict[str, Any]] = [
        {"role": role, "name": name, "path": str(path), "size": path.stat().st_size} for role, name, path in fetched.all
    ]
    report.bare(str(fetched.path))
    how = "was in the cache" if before is not None else "fetched and verified"
    report.say(f"{click.style(card.name, bold=True)}  {how}: {fetched.path}")
    for file in files:
        report.say(f"  {file['name']}  {file['role']}, {human_size(file['size'])}")
    return {"name": card.name, "path": str(fetched.path), "cached": before is not None, "files": files}


def _plan(card: Card, settings: Settings) -> dict[str, Any]:
    from modelzoo.pretrained import licence_to_accept
    from modelzoo.registry import card_sources
    from modelzoo.store import Store

    if not card.files:
        raise UsageError(f"The card {card.name!r} names no files: nobody published weights for it.")
    report = settings.reporter
    store = Store()
    planned = store.plan(card.name, card_sources(card))
    report.say(f"{click.style(card.name, bold=True)}  would go into {store.root}")
    asked = licence_to_accept(card)
    if asked:
        report.say(f"  its licence restricts its use ({card.licence}): --accept-licence is needed")
    for file in planned:
        for line in _explained(file):
            report.say(f"  {line}")
        if not file.cached:
            report.bare(f"{card.name}\t{file.name}\t{file.urls[0]}")
    return {
        "name": card.name,
        "licence_to_accept": asked,
        "files": [
            {
                "name": file.name,
                "role": file.role,
                "size": file.size,
                "urls": list(file.urls),
                "cached": file.cached,
                "kept": file.kept,
                "pinned": file.pinned,
            }
            for file in planned
        ],
    }


def _explained(file: PlannedFile) -> list[str]:
    if file.cached:
        return [f"{file.name}  is in the cache"]
    whole = file.size is not None and file.kept >= file.size
    rest = ", all of it is kept" if whole else f", {human_size(file.kept)} of it kept" if file.kept else ""
    lines = [f"{file.name}  {human_size(file.size)}{rest}"]
    if not file.pinned:
        lines.append("  no strong digest verifies it: --trust-first-use is needed")
    return [*lines, *(f"  {'from' if n == 0 else 'else'} {url}" for n, url in enumerate(file.urls))]
