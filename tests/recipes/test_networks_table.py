"""Every network that is written down has as many parameters as its source says, and the document says so."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from recipes.networks_table import PUBLISHED, SLIM, Row, agrees, counted, line, rows, stated
from tests.data_folder import needs_data
from tests.networks.golden import Golden

TABLE = Path(__file__).parents[2] / "docs" / "networks.md"
QUICK = ("inception_v1", "lenet", "mobilenet_v2_1.0_224", "mobilenet_v3_small", "mobilenetv2", "resnet50")
CARDS = counted()


def documented() -> dict[str, Row]:
    """The rows of docs/networks.md."""
    found = {}
    for text in TABLE.read_text().splitlines():
        if text.startswith("| `"):
            card, network, *counts, adds, _ = (cell.strip(" `") for cell in text.strip("|").split("|"))
            numbers = [int(count.replace(",", "")) for count in counts]
            millions = int(adds.split()[0].replace(",", "")) * 1_000_000 if adds else None
            found[card] = Row(card, network, *numbers, millions)
    return found


def test_the_document_has_every_card():
    assert sorted(documented()) == sorted(CARDS)
    assert len(CARDS) >= 150


def test_what_sources_state_is_met():
    checked = 0
    for row in documented().values():
        if row.card in SLIM:
            assert row.parameters == SLIM[row.card], row.card
        millions = stated(row.card)
        if millions is not None:
            assert agrees(row, millions[0]), (row, millions)
            checked += 1
    assert checked >= 130
    assert len(SLIM) == 29


@pytest.mark.parametrize("names", [pattern for pattern, _, _ in PUBLISHED])
def test_a_source_speaks_of_a_card(names):
    assert any(re.fullmatch(names, card) for card in CARDS)


@pytest.mark.parametrize("card", QUICK)
def test_the_document_is_right_about(card):
    (row,) = rows([card])
    documented_line = next(text for text in TABLE.read_text().splitlines() if text.startswith(f"| `{card}` |"))
    assert line(row) == documented_line


@needs_data
@pytest.mark.parametrize("net", sorted(SLIM))
def test_slims_graph_has_these_variables(net):
    inception = net.startswith("inception")
    shapes = Golden(net).shapes
    counted = [shape for name, shape in shapes.items() if not (inception and "AuxLogits" in name)]
    assert sum(math.prod(shape) for shape in counted) == SLIM[net]
