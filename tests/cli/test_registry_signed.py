"""`registry keygen|sign|rotate`, and `add`, `list`, `remove` of signed registries: what they say and do."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="signed registries need the extra `signed`")

from tests.cli import invented
from tests.cli.conftest import Run
from tests.registry.publishing import CARD, Publisher, put_clock, serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "served").mkdir()
    invented.registry_file(tmp_path / "served" / "registry.json", far=CARD)
    return tmp_path / "served"


def state(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_from_a_key_to_its_successor(run: Run, folder: Path, tmp_path: Path) -> None:
    made = run("registry", "keygen", tmp_path / "key", "--json").json
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert run("registry", "keygen", tmp_path / "key").code == 2
    new = run("registry", "keygen", tmp_path / "new", "-q").out.strip()
    signed = run("registry", "sign", folder, "--key", tmp_path / "key", "--json").json
    assert (signed["fingerprint"], signed["version"], signed["root_version"]) == (made["fingerprint"], 1, 1)
    with serving() as server:
        server.show(state(folder))
        added = run("registry", "add", server.url, "--fingerprint", made["fingerprint"], "--as", "me", "--json")
        assert added.json["signed"] == {
            "version": 1,
            "expires": signed["expires"],
            "fingerprint": made["fingerprint"],
        }
        assert "me/far" in run("list", "-q").out.split()
        rotated = run("registry", "rotate", folder, "--old", tmp_path / "key", "--new", tmp_path / "new", "--json").json
        assert (rotated["fingerprint"], rotated["version"], rotated["root_version"]) == (new, 2, 2)
        server.show(state(folder))
        assert run("list", "--refresh").code == 0
        rows = run("registry", "list", "--json").json["registries"]
        assert [one["signed"] and one["signed"]["version"] for one in rows] == [2, None]
        assert re.search(rf"version 2, up to {signed['expires'][:8]}", run("registry", "list").out)
        assert run("registry", "remove", "me").code == 0
        assert not list((tmp_path / "config" / "trusted").glob("*.json"))


def test_a_root_from_a_file_and_an_address_that_ends_with_a_folder(run: Run, folder: Path, tmp_path: Path) -> None:
    run("registry", "keygen", tmp_path / "key")
    run("registry", "sign", folder, "--key", tmp_path / "key", "--expires", "1d")
    with serving() as server:
        server.show(state(folder))
        url = server.url.removesuffix("registry.json")
        added = run("registry", "add", url, "--root", folder / "metadata" / "root.json")
        assert added.code == 0
        assert added.out.startswith(f"{server.url}: added, 1 card, signed up to ")
        assert run("registry", "add", server.url, "--as", "again", "--json").json["signed"]["version"] == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--fingerprint", "0" * 64), 4),
        (("--fingerprint", "0" * 9), 2),
        (("--root", "nowhere.json"), 2),
        (("--root", "served/registry.json"), 2),
        (("--root", "served/metadata/root.json", "--fingerprint", "0" * 64), 2),
        (("--root", "served/metadata/root.json", "--as", "A B"), 2),
    ],
)
def test_what_is_not_trusted_is_not_added(run: Run, folder: Path, tmp_path: Path, monkeypatch, words, code) -> None:
    run("registry", "keygen", tmp_path / "key")
    run("registry", "sign", folder, "--key", tmp_path / "key")
    monkeypatch.chdir(tmp_path)
    with serving() as server:
        server.show(state(folder))
        ran = run("registry", "add", server.url, *words)
        assert (ran.code, ran.out) == (code, "")
        assert "Traceback" not in ran.err
        assert len(run("registry", "list", "--json").json["registries"]) == 1
        assert not (tmp_path / "config" / "trusted").exists()


def test_a_file_is_not_added_as_signed(run: Run, folder: Path) -> None:
    ran = run("registry", "add", folder / "registry.json", "--fingerprint", "0" * 64)
    assert ran.code == 2
    assert "behind a URL" in ran.err


def test_an_attack_is_named(run: Run, tmp_path: Path, monkeypatch) -> None:
    publisher = Publisher(tmp_path / "publisher")
    with serving() as server:
        server.show(publisher.sign("one"))
        run("registry", "add", server.url, "--fingerprint", publisher.fingerprint)
        server.show(publisher.sign("one", "two"))
        assert run("list", "--refresh").code == 0
        server.show(publisher.states[1])
        ran = run("list", "--refresh", "--json")
        assert ran.code == 4
        assert (ran.json["error"], ran.json["role"], ran.json["seen"], ran.json["arrived"]) == (
            "RollbackError",
            "timestamp",
            2,
            1,
        )
        assert "two" in run("list", "-q").out.split()


def test_past_its_date_it_is_shown_without_asking_and_used_once_it_is_renewed(run: Run, tmp_path: Path, monkeypatch):
    publisher = Publisher(tmp_path / "publisher")
    with serving() as server:
        server.show(publisher.sign("one"))
        added = run("registry", "add", server.url, "--fingerprint", publisher.fingerprint, "--json").json
        expires = added["signed"]["expires"]
        put_clock(monkeypatch, 40)
        server.server.seen.clear()
        for words in (("list",), ("list", "--json"), ("info", "one"), ("registry", "list"), ("--offline", "list")):
            ran = run(*words)
            assert ran.code == 0
            (line,) = [line for line in ran.err.splitlines() if "expired" in line]
            assert line.startswith(f"warning: the signed registry {server.url} expired at {expires}: ")
            assert "`modelzoo list --refresh`" in line
        assert re.search(r"^one .* expired$", run("list").out, re.MULTILINE)
        assert "signed up to " + expires in run("info", "one").out
        assert f"expired {expires[:10]}" in run("registry", "list").out
        listed = {row["name"]: row["expired"] for row in run("list", "--json").json}
        assert (listed["one"], listed["inception_v1"]) == (expires, None)
        assert run("info", "one", "--json").json["expired"] == expires
        assert [one["expired"] for one in run("registry", "list", "--json").json["registries"]] == [expires, None]
        assert run("fetch", "inception_v1", "--dry-run").code == 0
        assert run("registry", "add", invented.registry_file(tmp_path / "own.json", own=CARD)).code == 0
        assert run("list", "--quiet").err == ""
        assert server.asked() == []
        ran = run("--offline", "fetch", "one", "--json")
        assert (ran.code, ran.json["error"], server.asked()) == (4, "ExpiredError", [])
        server.show(publisher.sign("one", days=90))
        ran = run("fetch", "one", "--dry-run")
        assert (ran.code, "names no files" in ran.err, "expired" in ran.err) == (2, True, False)


@pytest.mark.parametrize("span", ["0s", "1s", "soon", "-3d", "99999w"])
def test_spans_that_no_signature_can_have(run: Run, folder: Path, tmp_path: Path, span: str) -> None:
    run("registry", "keygen", tmp_path / "key")
    assert run("registry", "sign", folder, "--key", tmp_path / "key", "--expires", span).code == 2
    assert not (folder / "metadata").exists()


def test_a_mirror_that_is_signed_says_when_it_has_to_be_signed_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    urls = [{"url": (tmp_path / "net.bin").as_uri()}]
    file = {"name": "net.bin", "role": "weights", "urls": urls, "size": 3, "digests": {"sha256": digest}}
    own = invented.registry_file(tmp_path / "own.json", net={**CARD, "files": [file]})
    words = ("--registry", own, "registry", "mirror", tmp_path / "mirror", "net")
    assert "signs it anew" not in run(*words).err
    run("registry", "keygen", tmp_path / "key")
    assert run("registry", "sign", tmp_path / "mirror", "--key", tmp_path / "key").code == 0
    again = run(*words)
    assert again.code == 0
    assert "signs it anew" in again.err


PROGRAM = """
import sys
sys.modules["tuf"] = sys.modules["cryptography"] = None
from modelzoo.cli.root import root
root.main(sys.argv[1:], prog_name="modelzoo")
"""


def test_without_the_extra_its_name_is_said_and_what_is_verified_is_still_read(run: Run, tmp_path: Path) -> None:
    def bare(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PROGRAM, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    publisher = Publisher(tmp_path / "publisher")
    with serving() as server:
        server.show(publisher.sign("one"))
        run("registry", "add", server.url, "--fingerprint", publisher.fingerprint)
        assert "one" in bare("list", "-q").stdout.split()
        for words in (
            ("list", "--refresh"),
            ("registry", "keygen", str(tmp_path / "k")),
            ("registry", "sign", str(publisher.folder), "--key", str(publisher.key)),
            ("registry", "add", f"{server.server.url}/other.json", "--fingerprint", "0" * 64),
        ):
            done = bare(*words)
            assert done.returncode == 16
            assert 'pip install "modelzoo[signed]"' in done.stderr
        assert json.loads(bare("registry", "list", "--json").stdout)["registries"][0]["signed"]["version"] == 1
