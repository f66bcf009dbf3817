"""`registry`, `doctor` and `completion`: what one looks at once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli import invented
from tests.cli.conftest import Ran, Run, Tiny


def test_registry_list_is_in_order_of_lookup(run: Run, tiny: Tiny) -> None:
    document = run("registry", "list", "--json", "--registry", tiny.registry).json
    assert [one["kind"] for one in document["registries"]] == ["file", "builtin"]
    assert document["registries"][0]["cards"] == 1
    assert document["hidden"] == []
    assert run("registry", "list", "-q", "--registry", tiny.registry).out.splitlines()[0] == str(tiny.registry)


def test_registry_list_names_what_is_hidden(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    path = invented.registry_file(tmp_path / "mine.json", inception_v1=tiny.card | {"aliases": []})
    ran = run("registry", "list", "--registry", path)
    assert "hides the built-in one" in ran.err
    (hidden,) = run("registry", "list", "--json", "--registry", path).json["hidden"]
    assert (hidden["name"], hidden["by"]) == ("inception_v1", str(path))


def test_registry_validate_accepts_what_is_right(run: Run, tiny: Tiny) -> None:
    ran = run("registry", "validate", tiny.registry)
    assert (ran.code, ran.out) == (0, f"{tiny.registry}: 1 card, valid\n")


def test_registry_validate_names_the_rule_that_a_card_breaks(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    wrong = tiny.card | {"labels": {"names": ["cat", "dog"]}}
    path = invented.registry_file(tmp_path / "wrong.json", tiny_v1=wrong)
    ran = run("registry", "validate", path)
    assert ran.code == 1
    assert ran.out.splitlines() == [
        f"{path}: 1 card, 1 error",
        "  error: tiny_v1: 2 names and an offset of 0 for 5 outputs (labels)",
    ]
    (problem,) = run("registry", "validate", path, "--json").json[0]["problems"]
    assert (problem["card"], problem["rule"], problem["level"]) == ("tiny_v1", "labels", "error")


def test_registry_validate_looks_at_nothing_but_what_it_is_given(
    run: Run, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELZOO_REGISTRY", str(tmp_path / "missing.json"))
    assert run("registry", "validate", tiny.registry).code == 0


def test_registry_validate_says_where_a_card_is_wrong(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    path = invented.registry_file(tmp_path / "wrong.json", tiny_v1=tiny.card | {"inputs": "a picture"})
    ran = run("registry", "validate", path)
    assert ran.code == 4
    assert "tiny_v1" in ran.err
    assert "inputs" in ran.err
    assert run("registry", "validate", tmp_path / "missing.json").code == 4


def test_doctor_reports_everything_without_tensorflow_being_asked(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    ran = run("doctor", "--json", "--registry", tiny.registry)
    assert ran.code == 0
    document = ran.json
    assert {"modelzoo", "python", "platform", "tensorflow", "numpy"} <= set(document["versions"])
    assert document["cache"]["path"] == str(tmp_path / "cache")
    assert document["cache"]["free"] > 0
    assert [one["location"] for one in document["registries"]] == [str(tiny.registry), "built in"]
    assert "pyarrow" in document["extras"]["parquet"]
    assert document["problems"] == []


def test_doctor_looks_at_what_was_added_too(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    own = invented.registry_file(tmp_path / "own.json")
    for path in (tiny.registry, own):
        run("registry", "add", path)
    assert [one["location"] for one in run("doctor", "--json").json["registries"]] == [
        str(own),
        str(tiny.registry),
        "built in",
    ]
    own.unlink()
    ran = run("doctor")
    assert (ran.code, str(own) in ran.err) == (1, True)
    assert f"MODELZOO_CONFIG={tmp_path / 'config'}" in ran.out


def test_doctor_for_a_person_shows_proxies_without_passwords(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
    ran = run("doctor")
    assert ran.code == 0
    assert "HTTPS_PROXY=http://***@proxy:3128" in ran.out
    assert "secret" not in ran.out
    assert ran.err == "Nothing is wrong.\n"


def test_doctor_names_what_is_wrong(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MODELZOO_REGISTRY", str(tmp_path / "missing.json"))
    ran = run("doctor", "--cache", tmp_path / "file")
    assert ran.code == 1
    assert "missing.json" in ran.err
    assert "the cache cannot be written" in ran.err
    assert len(run("doctor", "--json", "--cache", tmp_path / "file").json["problems"]) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_what_their_shell_reads(run: Run, shell: str, tmp_path: Path) -> None:
    script = run("completion", shell).out
    assert "_MODELZOO_COMPLETE" in script
    assert run("completion", shell, "--json").json == {"shell": shell, "script": script.removesuffix("\n")}
    program = shutil.which(shell)
    if program is None:
        return  # the words above are all that can be said without the shell
    path = tmp_path / f"modelzoo.{shell}"
    path.write_text(script)
    done = subprocess.run([program, "-n", str(path)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(params=["bash", "zsh", "fish"])
def complete(request: pytest.FixtureRequest, run: Run, monkeypatch: pytest.MonkeyPatch):
    """What a shell gets for a line whose last word is incomplete: a list of words."""

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_MODELZOO_COMPLETE", f"{request.param}_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", words[-1] if request.param == "fish" else str(len(words) - 1))
        ran: Ran = run()
        assert (ran.code, ran.err) == (0, "")
        lines = ran.out.strip().splitlines()
        if request.param == "zsh":
            return lines[1::3]  # kind, word, help
        return [one.split(",", 1)[1].split("\t")[0] for one in lines]

    return complete


def test_a_shell_completes_verbs_options_models_and_taps(complete, tiny: Tiny) -> None:
    assert complete("modelzoo fe") == ["features", "fetch"]
    assert complete("modelzoo cache pr") == ["prune"]
    assert "--framework" in complete("modelzoo list --f")
    assert {"inception_v1", "inception_v3"} <= set(complete("modelzoo info inception_v"))
    assert complete(f"modelzoo --registry {tiny.registry} info tiny_v") == ["tiny_v1"]
    assert "Mixed_5c" in complete("modelzoo features inception_v1 --tap Mixed_5")


def test_a_shell_completes_what_is_cached(complete, run: Run, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    run("fetch", "tiny_v1", "--registry", tiny.registry)
    assert complete("modelzoo cache rm t") == ["tiny_v1"]
    assert complete("modelzoo verify i") == []


def test_a_shell_gets_no_warning_of_cards_that_hide_others(complete, tmp_path: Path) -> None:
    own = invented.registry_file(tmp_path / "own.json", inception_v1={"title": "x", "task": "t", "framework": "f"})
    assert "inception_v1" in complete(f"modelzoo --registry {own} info inception_v")


def test_a_shell_gets_no_message_from_a_broken_registry(complete) -> None:
    assert complete("modelzoo --registry /nowhere.json info i") == []
