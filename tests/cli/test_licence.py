"""`--accept-licence`, the question on a terminal, and exit code 18 where nobody accepts."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Run, draw
from tests.cli.snapshot import assert_snapshot
from tests.registry.test_licences import registry


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("MODELZOO_ACCEPT_LICENCE", raising=False)
    return registry(tmp_path, nc="CC-BY-NC-4.0", agpl="AGPL-3.0-only", free="MIT")


def test_without_a_terminal_nobody_is_asked(run: Run, own: str) -> None:
    ran = run("--registry", own, "fetch", "nc")
    assert (ran.code, ran.out) == (18, "")
    assert_snapshot("error-licence", ran.err)
    assert run("cache", "list", "-q").out == ""


def test_the_option_shows_the_licence_and_accepts_it_once(run: Run, own: str) -> None:
    ran = run("--registry", own, "fetch", "--accept-licence", "nc", "free")
    assert ran.code == 0
    assert ran.err == "Licence of nc: CC-BY-NC-4.0\n  no commercial use\n  https://example.org/text\n"
    run("cache", "rm", "nc")
    again = run("--registry", own, "fetch", "nc")
    assert (again.code, again.err) == (0, "")


def test_one_that_is_not_accepted_does_not_keep_the_others(run: Run, own: str) -> None:
    ran = run("--registry", own, "fetch", "nc", "free", "--json")
    assert ran.code == 18
    refused, fetched = ran.json
    assert (refused["error"], refused["exit_code"]) == ("LicenceError", 18)
    assert fetched["name"] == "free"


def test_the_environment_accepts(run: Run, own: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELZOO_ACCEPT_LICENCE", "AGPL-*, MIT")
    assert run("--registry", own, "fetch", "agpl").code == 0
    assert run("--registry", own, "fetch", "nc").code == 18
    assert not (tmp_path / "config" / "licences").exists()


def test_a_plan_says_what_will_be_asked_for(run: Run, own: str) -> None:
    ran = run("--registry", own, "fetch", "--dry-run", "nc", "free")
    assert ran.code == 0
    assert ran.out.count("--accept-licence") == 1
    documents = run("--registry", own, "fetch", "--dry-run", "nc", "free", "--json").json
    assert [one["licence_to_accept"] for one in documents] == [True, False]


@pytest.mark.parametrize("answer,code", [("y", 0), ("n", 18), ("", 18)])
def test_on_a_terminal_one_is_asked_and_no_is_the_default(own: str, tmp_path: Path, answer: str, code: int) -> None:
    main, side = pty.openpty()
    command = [sys.executable, "-m", "modelzoo", "--registry", own, "fetch", "nc"]
    with subprocess.Popen(command, stdin=side, stdout=subprocess.PIPE, stderr=side, env={**os.environ}) as asked:
        os.close(side)
        said = b""
        end = time.monotonic() + 60
        while b"[y/N]" not in said:
            assert time.monotonic() < end
            if select.select([main], [], [], 1)[0]:
                said += os.read(main, 4096)
        os.write(main, f"{answer}\n".encode())
        assert asked.wait(60) == code
    os.close(main)
    assert b"no commercial use" in said
    assert b"https://example.org/text" in said
    record = tmp_path / "config" / "licences" / "nc.json"
    assert record.exists() == (code == 0)
    if code == 0:
        assert json.loads(record.read_text())["licence"] == "CC-BY-NC-4.0"


@pytest.mark.parametrize(
    "words",
    [
        "classify nc cat.png",
        "features nc cat.png -o f.npz --tap x",
        "similar cat.png . --model nc --tap x",
        "taps nc",
        "export nc --to onnx -o net.onnx",
        "registry mirror m nc",
    ],
)
def test_every_verb_that_fetches_asks_too(run: Run, own: str, words: str, tmp_path: Path) -> None:
    draw(Path("cat.png"))
    assert run("--registry", own, *words.split()).code == 18
    ran = run("--registry", own, *words.split(), "--accept-licence")
    assert ran.code != 18
    assert "Licence of nc: CC-BY-NC-4.0" in ran.err
    assert (tmp_path / "config" / "licences" / "nc.json").exists()


def test_the_card_says_what_its_licence_restricts(run: Run, own: str) -> None:
    assert "restricts its use (no commercial use)" in run("--registry", own, "info", "nc").err
    assert run("--registry", own, "info", "free").err == ""
