"""The installed command in processes of its own: pipes, signals, a server, and the whole way to an answer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from modelzoo.checkpoints.write_v1 import write_v1
from modelzoo.registry import info
from tests.cli import invented
from tests.cli.conftest import Tiny
from tests.store.fault_server import Fault, FaultServer, fault_server

INSTALLED = shutil.which("modelzoo", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
COMMAND = [INSTALLED] if INSTALLED else [sys.executable, "-m", "modelzoo"]


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr
    return done


def test_python_m_modelzoo_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "modelzoo", "list", "-q"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout == command("list", "-q").stdout
    assert "inception_v1" in done.stdout.split()


def test_a_reader_that_has_had_enough_is_no_fault() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "list"], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_standard_output_is_a_message() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 10
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_classify_in_a_process_of_its_own_says_nothing_but_the_answer(tiny: Tiny, picture: Path) -> None:
    done = command("classify", "tiny_v1", picture, "--registry", tiny.registry, "--top", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 4


def test_the_demo_works_without_a_network_and_takes_the_files_from_the_cache_the_second_time() -> None:
    first = command("demo", "--offline")
    assert first.returncode == 0, first.stderr
    assert "fetched from package:modelzoo/bundled/" in first.stdout
    with Image.open("modelzoo-demo.png") as page:
        assert page.format == "PNG"
    again = json.loads(command("demo", "--offline", "--json").stdout)
    assert again["cached"] is True
    assert again["classes"][0]["probability"] > 0.5, "the sample picture is one that the model knows"
    assert len(again["taps"]) == 3


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What `inception_v1_2016_08_28.tar.gz` is, with other numbers: a V1 checkpoint at full size."""
    checkpoint = write_v1(tmp_path_factory.mktemp("full") / "inception_v1.ckpt", invented.inception_v1_arrays())
    return invented.packed(checkpoint, level=1)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with fault_server() as running:
        yield running


def own_card_at(url: str, archive: bytes, path: Path) -> Path:
    """A registry with the built-in card of inception_v1, its URL pointed elsewhere."""
    card = json.loads(json.dumps(info("inception_v1").as_dict()))
    (file,) = card["files"]
    file["urls"] = [{"url": url, "kind": "original"}]
    file["size"] = len(archive)
    file["digests"] = {"sha256": sha256(archive).hexdigest()}
    return invented.registry_file(path, inception_v1=card)


def test_a_fetch_killed_midway_is_resumed_by_one_request_and_the_model_classifies(
    server: FaultServer, published: bytes, tmp_path: Path, picture: Path
) -> None:
    path = "/models/inception_v1_2016_08_28.tar.gz"
    half = len(published) // 2
    url = server.serve(path, published, faults=[Fault(stall=half)])
    registry = own_card_at(url, published, tmp_path / "registry.json")
    partial = tmp_path / "cache" / "partial"

    def received() -> int:
        return max((file.stat().st_size for file in partial.glob("**/*") if file.is_file()), default=0)

    first = subprocess.Popen(
        [*COMMAND, "--registry", str(registry), "fetch", "inception_v1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while received() < half * 3 // 4 and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=30)
    assert first.returncode == -signal.SIGKILL
    kept = received()
    assert kept >= half * 3 // 4
    assert not list((tmp_path / "cache").rglob("*.ckpt")), "nothing unverified may be seen"

    planned = json.loads(command("--registry", registry, "fetch", "inception_v1", "--dry-run", "--json").stdout)
    assert planned[0]["files"][0]["kept"] == kept
    done = command("--registry", registry, "fetch", "inception_v1", "--json")
    assert done.returncode == 0, done.stderr
    assert server.ranges(path) == [None, f"bytes={kept}-"]
    (document,) = json.loads(done.stdout)
    (file,) = document["files"]
    assert file["name"] == "inception_v1.ckpt"

    verified = json.loads(command("verify", "--json").stdout)
    assert verified["ok"] is True
    answer = command("--registry", registry, "classify", "inception_v1", picture, "--offline", "--json")
    assert answer.returncode == 0, answer.stderr
    (one,) = json.loads(answer.stdout)["pictures"]
    assert len(one["classes"]) == 5
    assert server.ranges(path) == [None, f"bytes={kept}-"], "classify used the cache"


def test_an_interrupt_while_downloading_ends_with_130_and_keeps_what_came(
    server: FaultServer, tiny: Tiny, tmp_path: Path
) -> None:
    data = tiny.archive.read_bytes()
    url = server.serve("/tiny.tar.gz", data, faults=[Fault(stall=len(data) // 2)])
    card = json.loads(json.dumps(tiny.card))
    card["files"][0]["urls"] = [{"url": url, "kind": "original"}]
    registry = invented.registry_file(tmp_path / "registry.json", tiny_v1=card)
    running = subprocess.Popen(
        [*COMMAND, "fetch", "tiny_v1", "--registry", str(registry)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    partial = tmp_path / "cache" / "partial"
    while time.monotonic() < deadline and running.poll() is None:
        if any(file.stat().st_size >= len(data) // 4 for file in partial.glob("**/*") if file.is_file()):
            break
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (130, "", "Interrupted.\n")
    assert command("fetch", "tiny_v1", "--registry", registry).returncode == 0
    assert server.ranges("/tiny.tar.gz")[1] is not None
