"""Help, the tree of verbs, and what happens to a command line that makes no sense."""

from __future__ import annotations

import inspect
from pathlib import Path

import click
import pytest

from modelzoo import errors
from modelzoo.cli.root import EXIT_CODES, VERBS, root
from tests.cli.conftest import Run
from tests.cli.snapshot import assert_snapshot

ALL_VERBS = [name for section in VERBS.values() for name in section]


def command_paths() -> list[tuple[str, ...]]:
    """Every verb, and the verbs of nouns: ("list",), ("cache", "rm"), ..."""
    paths: list[tuple[str, ...]] = []
    for name in ALL_VERBS:
        command = root.get_command(click.Context(root), name)
        paths.append((name,))
        if isinstance(command, click.Group):
            paths += [(name, inner) for inner in command.commands]
    return paths


def test_help_of_the_command(run: Run) -> None:
    ran = run("--help")
    assert (ran.code, ran.err) == (0, "")
    assert_snapshot("help", ran.out)


@pytest.mark.parametrize("name", ["list", "fetch", "features", "cache"])
def test_help_of_a_verb(run: Run, name: str) -> None:
    assert_snapshot(f"help-{name}", run(name, "--help").out)


@pytest.mark.parametrize("path", command_paths(), ids=" ".join)
def test_every_verb_has_help_and_takes_the_global_options(run: Run, path: tuple[str, ...]) -> None:
    ran = run(*path, "-h")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: modelzoo {' '.join(path)}")
    for option in ("--json", "--quiet", "--registry", "--offline", "--cache"):
        assert option in ran.out


@pytest.mark.parametrize("path", command_paths(), ids=" ".join)
def test_help_says_everything_of_every_option(path: tuple[str, ...]) -> None:
    command: click.Command = root
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    for option in (one for one in command.params if isinstance(one, click.Option)):
        assert option.help, option.name
        assert "RANGE" not in option.make_metavar(click.Context(command)), option.name
        if "--out" in option.opts:
            assert "-o" in option.opts


def test_help_of_a_noun_is_not_cut_off(run: Run) -> None:
    for name in ("cache", "registry", "dqn"):
        assert "..." not in run(name, "--help").out.replace("[ARGS]...", "")


def test_the_table_of_verbs_names_commands_that_exist_under_their_own_names() -> None:
    for name in ALL_VERBS:
        command = root.get_command(click.Context(root), name)
        assert command is not None
        assert command.name == name


def test_every_exit_code_of_the_errors_is_in_the_help() -> None:
    documented = {code for code, _ in EXIT_CODES}
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]
    raised = {cls.exit_code for cls in classes if issubclass(cls, errors.ModelzooError)}
    assert raised <= documented
    assert {0, 70, 130} <= documented


def test_without_a_verb_the_help_goes_to_standard_error(run: Run) -> None:
    ran = run()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: modelzoo")


def test_a_noun_without_a_verb_shows_its_verbs(run: Run) -> None:
    ran = run("cache")
    assert ran.code == 2
    assert all(name in ran.err for name in ("list", "path", "rm", "prune"))


def test_version(run: Run) -> None:
    import modelzoo

    assert run("--version").out == f"modelzoo {modelzoo.__version__}\n"


@pytest.mark.parametrize(
    ("words", "snapshot"),
    [
        (["lsit"], "error-unknown-verb"),
        (["cache", "prnue"], "error-unknown-inner-verb"),
        (["list", "--licnece", "MIT"], "error-unknown-option"),
        (["info"], "error-missing-argument"),
        (["classify", "inception_v1", "a.jpg", "--top", "0"], "error-bad-value"),
        (["cache", "prune", "--max-size", "much"], "error-bad-size"),
        (["cache", "prune", "--older-than", "5"], "error-bad-duration"),
        (["completion", "tcsh"], "error-bad-choice"),
    ],
)
def test_a_command_line_that_makes_no_sense(run: Run, words: list[str], snapshot: str) -> None:
    ran = run(*words)
    assert (ran.code, ran.out) == (2, "")
    assert_snapshot(snapshot, ran.err)


def test_a_mistake_under_json_is_a_document_too(run: Run) -> None:
    ran = run("list", "--licnece", "MIT", "--json")
    assert ran.code == 2
    assert ran.err == ""
    assert ran.json["error"] == "UsageError"
    assert "--licence" in ran.json["hint"]


def test_the_document_of_the_command_line_names_every_verb_and_every_exit_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in ALL_VERBS:
        assert f"### `modelzoo {name}" in text
    for code, meaning in EXIT_CODES:
        assert f"| {code} | {meaning}" in text
