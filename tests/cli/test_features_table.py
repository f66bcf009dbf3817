"""docs/features.md: 35 features, each with a command that exists as it is written there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from modelzoo.cli.root import root
from tests.cli.conftest import Run

PAGE = Path(__file__).parents[2] / "docs" / "features.md"
LINES = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES]
FEATURES = [row for row in ROWS if row[0] not in ("feature", "---")]
COMMANDS = sorted(
    {code for row in FEATURES for code in re.findall(r"`([^`]*)`", row[2]) if re.match(r"(\w+=\S+ )?modelzoo ", code)}
)
RUN_HERE = [
    one
    for one in COMMANDS
    if re.search(r"modelzoo (list|info|doctor|cache|lock|completion|--help|verify$)|--dry-run", one)
]
"""Those that need neither network nor files, and compute nothing."""


def words_of(command: str) -> list[str]:
    words = shlex.split(command.split(" & ")[0])
    return words[words.index("modelzoo") + 1 :]


def test_there_are_35_features_and_each_says_whether_it_is_there() -> None:
    assert len(FEATURES) == 35
    assert len({row[0] for row in FEATURES}) == 35
    for row in FEATURES:
        assert len(row) == 4
        assert re.match(r"(Y|P|-)(\b|$|,)", row[1])
        assert bool(re.search("`", row[2])) == (row[1] != "-")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_table_exists(command: str) -> None:
    words = words_of(command)
    found: click.Command = root
    rest = [word for word in words if not word.startswith("-")]
    names = []
    while isinstance(found, click.Group) and rest:
        inner = found.get_command(click.Context(found), rest[0])
        if inner is None:
            rest.pop(0)  # the value of an option before the verb
            continue
        found = inner
        names.append(rest.pop(0))
    assert names or words == ["--help"], command
    known = {name for parameter in found.params for name in parameter.opts} | {"--help"}
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("command", RUN_HERE)
def test_the_commands_that_need_nothing_run(run: Run, command: str) -> None:
    words = [word for word in words_of(command) if word != "NAME"]
    if words[:1] == ["fetch"] and len(words) == 2:
        words.append("inception_v1")
    ran = run(*words)
    assert ran.code in ((0, 1) if words[0] == "doctor" else (0,)), ran.err


def test_most_of_the_table_was_run() -> None:
    assert len(RUN_HERE) >= 12
