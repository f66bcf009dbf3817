"""`modelzoo registry site`: a catalogue of cards as static pages."""

from __future__ import annotations

from pathlib import Path

import click

from modelzoo.cli.completion import MODEL
from modelzoo.cli.output import human_size
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current

__all__ = ["site"]


@verb("site")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("names", metavar="[NAME...]", nargs=-1, type=MODEL)
@click.option(
    "--title", metavar="TEXT", default="Pretrained models", show_default=True, help="Heading of the first page."
)
@click.pass_context
def site(ctx: click.Context, folder: Path, names: tuple[str, ...], title: str) -> None:
    """Write a catalogue of models into DIR: a page to search in, and a page for each NAME (by default for all).

    The pages load nothing from anywhere: open index.html, or let any web server serve DIR. The same cards give the same
    bytes. A catalogue that is there already is replaced as a whole; a folder with anything else in it is refused.
    """
    from modelzoo.registry import load_registries
    from modelzoo.registry.site import write_site

    settings = current(ctx)
    report = settings.reporter
    made = write_site(folder, load_registries(settings.registries), names, title=title)
    index = made.folder / "index.html"
    report.data({"folder": str(made.folder), "cards": made.cards, "files": made.files, "size": made.size})
    report.bare(str(index))
    cards = f"{made.cards} {'card' if made.cards == 1 else 'cards'}"
    report.say(f"{folder}: {cards}, {made.files} pages, {human_size(made.size)}")
    report.note(f"open {index}")
