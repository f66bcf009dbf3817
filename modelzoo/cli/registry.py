"""`modelzoo registry`: which registries are read, and whether a registry of one's own is right."""

from __future__ import annotations

import click

from modelzoo.cli.output import table
from modelzoo.cli.root import noun
from modelzoo.cli.settings import current

__all__ = ["registry"]


@noun("registry")
def registry() -> None:
    """List the registries that are read, or validate one of your own."""


@registry.command("list")
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List the registries in the order in which a name is looked up, and the cards that hide others."""
    from modelzoo.registry import load_registries

    settings = current(ctx)
    report = settings.reporter
    loaded = load_registries(settings.registries)
    report.data(
        {
            "registries": [
                {"location": one.location, "kind": one.kind, "cards": len(one.summaries), "sha256": one.digest}
                for one in loaded.registries
            ],
            "hidden": [
                {"name": hidden.name, "by": hidden.by.location, "of": hidden.of.location} for hidden in loaded.hidden
            ],
        }
    )
    rows = []
    for one in loaded.registries:
        report.bare(one.location)
        rows.append((one.kind, str(len(one.summaries)), one.location))
    for line in table(("KIND", "CARDS", "LOCATION"), rows, right=(1,)):
        report.say(line)


@registry.command("validate")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.pass_context
def validate(ctx: click.Context, files: tuple[str, ...]) -> None:
    """Check each FILE (or folder) against the schema, and its cards against the rules that the built-in ones follow.

    Exit code 4 says that modelzoo cannot read it; 1 that it can, but that a card would not work. Warnings, such as a
    licence that nobody states, leave the exit code alone.
    """
    from modelzoo.networks import NETWORKS
    from modelzoo.registry import check_registry, load_registries

    report = current(ctx).reporter
    loaded = load_registries(files, environment=False, builtin=False)
    documents = []
    failed = False
    for one in loaded.registries:
        cards = len(one.summaries)  # parses and validates
        problems = check_registry(one.models, networks=NETWORKS)
        errors = sum(problem.level == "error" for problem in problems)
        failed = failed or errors > 0
        documents.append({"location": one.location, "cards": cards, "problems": [vars(p) for p in problems]})
        count = f"{cards} {'card' if cards == 1 else 'cards'}"
        verdict = "valid" if not errors else f"{errors} {'error' if errors == 1 else 'errors'}"
        report.say(f"{one.location}: {count}, {verdict}")
        for problem in problems:
            report.say(f"  {problem}")
            if problem.level == "error":
                report.bare(str(problem))
    report.data(documents)
    if failed:
        ctx.exit(1)
