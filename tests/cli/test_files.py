"""`fetch`, `verify` and `cache`: files that come, are looked after, and go."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.cli import invented
from tests.cli.conftest import Run, Tiny


@pytest.fixture
def fetched(run: Run, tiny: Tiny) -> Path:
    """The folder of the small model, after `fetch`."""
    ran = run("fetch", "tiny_v1", "-q", "--registry", tiny.registry)
    assert ran.code == 0, ran.err
    return Path(ran.out.strip())


def damage(file: Path) -> None:
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    before = file.stat()
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_fetch_says_where_the_files_are_and_that_the_second_time_they_were_there(run: Run, tiny: Tiny) -> None:
    first = run("fetch", "tiny_v1", "--registry", tiny.registry)
    again = run("fetch", "tiny", "--registry", tiny.registry)
    assert first.code == again.code == 0
    assert first.out.startswith("tiny_v1  fetched and verified: ")
    assert "  tiny.ckpt  weights, " in first.out
    assert again.out == first.out.replace("fetched and verified", "was in the cache")


def test_fetch_json_and_quiet_name_the_folder(run: Run, tiny: Tiny) -> None:
    (document,) = run("fetch", "tiny_v1", "--json", "--registry", tiny.registry).json
    assert document["cached"] is False
    (file,) = document["files"]
    assert file["role"] == "weights"
    assert Path(file["path"]).read_bytes() == tiny.checkpoint.read_bytes()
    assert run("fetch", "tiny_v1", "-q", "--registry", tiny.registry).out == document["path"] + "\n"


def test_fetch_dry_run_uses_no_network_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    ran = run("fetch", "--dry-run", "inception_v1", "--offline")
    assert ran.code == 0
    assert "inception_v1_2016_08_28.tar.gz  24.6 MB" in ran.out
    assert ran.out.index("from https://") < ran.out.index("else http://")
    assert not (tmp_path / "cache" / "models").exists()
    (document,) = run("fetch", "--dry-run", "inception_v1", "--json").json
    assert document["files"][0]["pinned"] is True
    assert document["files"][0]["cached"] is False


def test_fetch_dry_run_of_what_is_there(run: Run, tiny: Tiny, fetched: Path) -> None:
    assert "is in the cache" in run("fetch", "--dry-run", "tiny_v1", "--registry", tiny.registry).out
    assert run("fetch", "--dry-run", "tiny_v1", "-q", "--registry", tiny.registry).out == ""


def test_one_failure_of_several_does_not_keep_the_others(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    lying = json.loads(json.dumps(tiny.card)) | {"aliases": []}
    lying["files"][0]["digests"]["sha256"] = "0" * 64
    path = invented.registry_file(tmp_path / "two.json", liar=lying, tiny_v1=tiny.card)
    ran = run("fetch", "liar", "tiny_v1", "--json", "--registry", path)
    assert ran.code == 7
    liar, good = ran.json
    assert (liar["name"], liar["error"]) == ("liar", "DigestError")
    assert Path(good["path"]).is_dir()
    shown = run("fetch", "liar", "tiny_v1", "--registry", path)
    assert shown.code == 7
    assert shown.err.startswith("error: ")
    assert shown.out.startswith("tiny_v1  was in the cache")


def test_an_unknown_name_among_several_is_said_before_anything_is_fetched(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    assert run("fetch", "tiny_v1", "tinny_v1", "--registry", tiny.registry).code == 3
    assert not (tmp_path / "cache" / "models").exists()


def test_trust_first_use(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    loose = json.loads(json.dumps(tiny.card))
    loose["files"][0]["digests"] = {}
    path = invented.registry_file(tmp_path / "loose.json", tiny_v1=loose)
    refused = run("fetch", "tiny_v1", "--registry", path)
    assert refused.code == 8
    assert "--trust-first-use" in refused.err
    assert run("fetch", "tiny_v1", "--trust-first-use", "--registry", path).code == 0
    assert run("cache", "rm", "tiny_v1").code == 0
    assert run("fetch", "tiny_v1", "--registry", path).code == 0, "the recorded digest binds from now on"


def test_verify_is_content_with_what_is_right(run: Run, fetched: Path) -> None:
    ran = run("verify")
    assert ran.code == 0
    assert ran.out.splitlines()[1].split() == ["tiny_v1", "tiny.ckpt", "ok"]
    assert run("verify", "tiny_v1", "--json").json["ok"] is True
    assert run("verify", "-q").out == ""


def test_verify_finds_damage_and_the_next_fetch_mends_it(run: Run, tiny: Tiny, fetched: Path) -> None:
    damage(fetched / "tiny.ckpt")
    ran = run("verify", "tiny", "--registry", tiny.registry)
    assert ran.code == 1
    assert ran.out.splitlines()[1].split() == ["tiny_v1", "tiny.ckpt", "DAMAGED"]
    assert "To have them again: modelzoo fetch tiny_v1" in ran.err
    document = run("verify", "--json").json
    assert document["ok"] is False
    assert document["files"][0]["status"] == "missing"
    assert run("fetch", "tiny_v1", "--registry", tiny.registry).code == 0
    assert (fetched / "tiny.ckpt").read_bytes() == tiny.checkpoint.read_bytes()
    assert run("verify").code == 0


@pytest.mark.parametrize("words", [["verify"], ["cache", "rm"], ["cache", "path"]])
def test_what_is_not_in_the_cache(run: Run, fetched: Path, words: list[str]) -> None:
    ran = run(*words, "tiny_v2")
    assert ran.code == 3
    assert "'tiny_v2' is not in the cache" in ran.err
    assert "Hint" in run("cache", "rm", "zzzz").err


@pytest.mark.parametrize("words", [["verify"], ["cache", "list"]])
def test_an_empty_cache_is_no_failure(run: Run, words: list[str]) -> None:
    ran = run(*words)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("The cache is empty: ")


def test_cache_list(run: Run, fetched: Path, tmp_path: Path) -> None:
    document = run("cache", "list", "--json").json
    assert document["root"] == str(tmp_path / "cache")
    (model,) = document["models"]
    assert model["name"] == "tiny_v1"
    assert model["size"] == document["size"] == (fetched / "tiny.ckpt").stat().st_size
    header, row = run("cache", "list").out.splitlines()
    assert header.split() == ["MODEL", "SIZE", "FILES", "LAST", "USED"]
    assert row.split()[0] == "tiny_v1"
    assert run("cache", "list", "-q").out == "tiny_v1\n"


def test_cache_path_of_the_cache_and_of_a_model(run: Run, tiny: Tiny, fetched: Path, tmp_path: Path) -> None:
    assert run("cache", "path").out == f"{tmp_path / 'cache'}\n"
    assert run("cache", "path", "-q", "--cache", tmp_path / "other").out == f"{tmp_path / 'other'}\n"
    assert run("cache", "path", "tiny", "--registry", tiny.registry).out == f"{fetched}\n"
    assert run("cache", "path", "--json").json == {"path": str(tmp_path / "cache")}


def test_cache_rm(run: Run, fetched: Path) -> None:
    size = (fetched / "tiny.ckpt").stat().st_size
    document = run("cache", "rm", "tiny_v1", "--json").json
    assert document["removed"] == ["tiny_v1"]
    assert document["freed"] >= size
    assert not fetched.exists()


def test_cache_rm_with_a_wrong_name_removes_nothing(run: Run, fetched: Path) -> None:
    assert run("cache", "rm", "tiny_v1", "tiny_v9").code == 3
    assert fetched.is_dir()


def test_cache_prune_by_size_and_age_and_only_on_paper(run: Run, tiny: Tiny, fetched: Path, tmp_path: Path) -> None:
    assert run("cache", "prune", "--max-size", "1GB", "-q").out == ""
    assert run("cache", "prune", "--older-than", "1d", "-q").out == ""
    planned = run("cache", "prune", "--max-size", "10kB", "--dry-run")
    assert planned.out == "would remove tiny_v1\n"
    assert fetched.is_dir()
    (manifest,) = (tmp_path / "cache" / "manifests").glob("*.json")
    long_ago = time.time() - 40 * 86400
    os.utime(manifest, (long_ago, long_ago))
    ran = run("cache", "prune", "--older-than", "30d", "--json")
    assert ran.json["removed"] == ["tiny_v1"]
    assert not fetched.exists()


@pytest.mark.parametrize(
    ("text", "value"), [("500", 500), ("2GB", 2 * 10**9), ("1.5GiB", 3 * 2**29), ("10 kb", 10_000), ("3M", 3 * 10**6)]
)
def test_sizes_as_people_write_them(text: str, value: int) -> None:
    from modelzoo.cli.cache import Size

    assert Size().convert(text, None, None) == value


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90), ("5m", 300), ("12h", 43200), ("30d", 2592000), ("1w", 604800)]
)
def test_spans_of_time_as_people_write_them(text: str, value: float) -> None:
    from modelzoo.cli.cache import Duration

    assert Duration().convert(text, None, None) == value


def test_verify_fetches_again_what_is_damaged(run: Run, tiny: Tiny, fetched: Path) -> None:
    damage(fetched / "tiny.ckpt")
    ran = run("verify", "--all", "--fetch", "--registry", tiny.registry)
    assert ran.code == 0
    assert "DAMAGED" in ran.out and "Fetched again: tiny_v1" in ran.err
    assert (fetched / "tiny.ckpt").read_bytes() == tiny.checkpoint.read_bytes()
    document = run("verify", "--fetch", "--json", "--registry", tiny.registry).json
    assert document["ok"] is True and document["fetched"] == []


def test_verify_takes_names_or_all(run: Run, fetched: Path) -> None:
    ran = run("verify", "--all", "tiny_v1")
    assert ran.code == 2 and "--all" in ran.err


def test_cache_size_says_what_is_where(run: Run, tiny: Tiny, fetched: Path) -> None:
    document = run("cache", "size", "--json").json
    assert document["models"] == tiny.checkpoint.stat().st_size
    assert document["total"] == sum(document[name] for name in ("models", "blobs", "partial", "quarantine", "other"))
    assert run("cache", "size", "-q").out == f"{document['total']}\n"
    assert run("cache", "size").out.splitlines()[0].split() == ["PART", "SIZE"]
    damage(fetched / "tiny.ckpt")
    run("verify")
    assert "may be freed: modelzoo cache prune" in run("cache", "size").err
