"""The first page: every card as a line of a list, found by search and filters where scripts run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from modelzoo.registry.card import Card
from modelzoo.registry.licences import is_restricted
from modelzoo.registry.site.markup import Markup, document, element, joined, text
from modelzoo.store.names import key_folder

__all__ = ["address", "index_page", "page_name", "size_text"]

_SIZES = ((10, "up to 10 MB"), (50, "up to 50 MB"), (100, "up to 100 MB"), (500, "up to 500 MB"))


def page_name(name: str) -> str:
    """The file of a card, relative to the site's folder."""
    return f"models/{key_folder(name)}.html"


def address(name: str, from_page: bool = False) -> str:
    """The relative URL of a card's page, from the first page or from another card's."""
    file = quote(f"{key_folder(name)}.html", safe="")
    return file if from_page else f"models/{file}"


def size_text(count: int | None) -> str:
    """Bytes as a person reads them, in powers of 1000; `size unknown` for None."""
    if count is None:
        return "size unknown"
    count = int(count)  # JSON Schema takes 5.0 for an integer
    if count < 1000:
        return f"{count} B"
    power = 1
    while power < 4 and 2 * count >= 1999 * 1000**power:
        power += 1
    unit = 1000**power
    tenths = (20 * count // unit + 1) // 2  # whole numbers: a card may claim any size
    number = f"{tenths // 10}.{tenths % 10}" if tenths < 1000 else str((2 * count // unit + 1) // 2)
    return f"{number} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def index_page(cards: Sequence[Card], title: str) -> str:
    """The HTML of the first page.

    Args:
        cards: in the order in which they are shown.
        title: heading.
    """
    pinned = sum(card.trust == "pinned" for card in cards)
    built = sum(card.available for card in cards)
    many = "model" if len(cards) == 1 else "models"
    intro = element(
        "p",
        f"{pinned} of them pinned: every file has a size and a strong digest, so that what is fetched is what was "
        f"described. {built} can be built as Keras models, the others fetched.",
        class_="lead",
    )
    body = element(
        "main",
        element("h1", title),
        element("p", f"{len(cards)} {many}", id="count", role="status", aria_live="polite"),
        intro,
        _form(cards),
        element("p", *map(_heading, _COLUMNS), class_="columns", aria_hidden="true"),
        element("ul", Markup("\n"), joined(map(_line, cards), Markup("\n")), Markup("\n"), id="cards", class_="cards"),
        element(
            "p", "No model matches. ", element("button", "Show all", type="reset", form="find"), id="none", hidden=True
        ),
        id="main",
        tabindex="-1",
    )
    return document(title, body, script="index.js", home="index.html")


_COLUMNS = ("Model", "Task", "Framework", "Licence", "Size", "Top-1", "Files")


def _heading(name: str) -> Markup:
    return element("span", name)


def _line(card: Card) -> Markup:
    top1 = card.accuracy.top1 if card.accuracy is not None else None
    licence = "restricted" if is_restricted(card) else "unknown" if card.licence == "unknown" else ""
    return element(
        "li",
        element(
            "span",
            element("a", card.name, href=address(card.name)),
            " ",
            element("span", card.title, class_="title"),
            class_="model",
        ),
        *_cell("task", card.task.replace("_", " ")),
        *_cell("framework", card.framework),
        *_cell(f"licence {licence}".strip(), "licence unknown" if card.licence == "unknown" else card.licence),
        *_cell("size", size_text(card.size) if card.files else "no files"),
        *_cell("top1", "" if top1 is None else joined([element("span", "top-1 ", class_="label"), f"{top1:g} %"])),
        *_cell("trust", card.trust if card.files else "", "" if card.available else " fetch only"),
        data_task=card.task,
        data_framework=card.framework,
        data_licence=card.licence,
        data_size=None if card.size is None or not card.files else card.size,
        data_top1=None if top1 is None else f"{top1:g}",
        data_trust=card.trust,
        data_built=card.available,
        data_also=" ".join(card.aliases) or None,
    )


def _cell(name: str, *content: object) -> tuple[Markup, Markup]:
    return text(" "), element("span", *content, class_=name)


def _form(cards: Iterable[Card]) -> Markup:
    """Hidden until the script that it needs has begun."""
    cards = list(cards)
    return element(
        "form",
        _labelled(
            "q", "Search", element("input", id="q", name="q", type="search", autocomplete="off", spellcheck="false")
        ),
        _chooser("task", "Task", (card.task for card in cards)),
        _chooser("framework", "Framework", (card.framework for card in cards)),
        _chooser("licence", "Licence", (card.licence for card in cards)),
        _labelled("size", "Size", _select("size", [("", "any"), *((str(mb), name) for mb, name in _SIZES)])),
        _labelled(
            "order", "Order", _select("order", [("", "name"), ("size", "smallest first"), ("top1", "best top-1 first")])
        ),
        element(
            "div",
            _tick("pinned", "pinned only"),
            _tick("built", "can be built"),
            element("button", "Clear", type="reset"),
            class_="ticks",
        ),
        id="find",
        role="search",
        aria_label="Find models",
        hidden=True,
    )


def _labelled(name: str, label: str, control: Markup) -> Markup:
    return element("div", element("label", label, for_=name), control, class_=f"field {name}")


def _select(name: str, options: Iterable[tuple[str, str]]) -> Markup:
    return element("select", *(element("option", shown, value=value) for value, shown in options), id=name, name=name)


def _chooser(name: str, label: str, values: Iterable[str]) -> Markup:
    counted = sorted(Counter(values).items(), key=lambda one: one[0].casefold())
    return _labelled(
        name, label, _select(name, [("", "any"), *((value, f"{value} ({count})") for value, count in counted)])
    )


def _tick(name: str, label: str) -> Markup:
    return element("label", element("input", type="checkbox", id=name, name=name, value="1"), f" {label}")
