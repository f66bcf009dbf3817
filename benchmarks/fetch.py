"""What it costs to fetch a large file: CPU seconds a GiB, beside a bare loop and other downloaders.

Another process serves a file that is made for the run from this machine's own memory over the loopback. Each
downloader runs in a fresh process, in turns; the user and system time of its call are counted (the whole process, for
curl), so imports that the call makes are in and the start of Python is not. The bare loop reads by urllib and hashes
and writes nothing, so it is less than any download can do.

    python benchmarks/fetch.py [--runs 5] [--mib 1024]

Rows whose package or program is not installed are left out (`pip install pooch huggingface_hub`). The indexes of the
registries, which the first command of all writes, are there before.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LIMIT = 1.5
"""What `modelzoo.fetch` may cost, in bare loops."""

CALLS = {
    "bare urllib, read + SHA-256": """
import hashlib, urllib.request
state = hashlib.sha256()
with urllib.request.urlopen(url) as reply:
    while data := reply.read(1 << 20):
        state.update(data)
assert state.hexdigest() == digest
""",
    "modelzoo.fetch": """
import modelzoo
assert modelzoo.fetch("large", registries=[registry]).files["weights"].stat().st_size == size
""",
    "bare urllib, read + SHA-256 + write": """
import hashlib, urllib.request
state = hashlib.sha256()
with urllib.request.urlopen(url) as reply, open(folder + "/file", "wb") as file:
    while data := reply.read(1 << 20):
        state.update(data)
        file.write(data)
assert state.hexdigest() == digest
""",
    "requests, iter_content(8192) + SHA-256": """
import hashlib, requests
state = hashlib.sha256()
with requests.get(url, stream=True) as reply, open(folder + "/file", "wb") as file:
    for data in reply.iter_content(8192):
        state.update(data)
        file.write(data)
assert state.hexdigest() == digest
""",
    "pooch.retrieve": """
import pooch
pooch.get_logger().disabled = True
pooch.retrieve(url, "sha256:" + digest, fname="file", path=folder)
""",
    "huggingface_hub (no digest)": """
import huggingface_hub
huggingface_hub.hf_hub_download("a/b", "file", cache_dir=folder)
""",
    "huggingface_hub + hashlib.file_digest": """
import hashlib, huggingface_hub
with open(huggingface_hub.hf_hub_download("a/b", "file", cache_dir=folder), "rb") as file:
    assert hashlib.file_digest(file, "sha256").hexdigest() == digest
""",
    "curl | sha256sum": """
import subprocess
said = subprocess.run("curl -sS $URL | tee $FOLDER/file | sha256sum", shell=True, capture_output=True, text=True,
    env={**os.environ, "URL": url, "FOLDER": folder}, check=True)
assert said.stdout.startswith(digest)
""",
}
"""Row of the table -> Python that brings the file at `url` (and proves its digest, where the tool does that)."""

NEEDED = {"pooch.retrieve": "pooch", "huggingface_hub (no digest)": "huggingface_hub"}
NEEDED["huggingface_hub + hashlib.file_digest"] = "huggingface_hub"

MEASURED = """
import json, os, resource, sys
def spent():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)
url, digest, size, registry, folder = json.loads(sys.argv[1])
before = spent()
{call}
print(spent() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, path: Path, digest: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.path, self.digest = path, digest


class _Handler(http.server.BaseHTTPRequestHandler):
    """The file under every address, with what huggingface_hub wants to know of it."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def _head(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.path.stat().st_size))
        self.send_header("ETag", f'"{self.server.digest}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        self._head()
        with self.server.path.open("rb") as file:
            try:
                self.connection.sendfile(file)
            except OSError:
                pass  # the other side has gone

    def log_message(self, *said: Any) -> None:
        pass


def serve(path: Path, digest: str) -> None:
    """Say the port, then serve until standard input ends."""
    import threading

    server = _Server(path, digest)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


def make(path: Path, mib: int) -> str:
    """Write a file of `mib` MiB that does not compress; returns its SHA-256."""
    state = hashlib.sha256()
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(mib):
            data = number.to_bytes(8, "little") + block[8:]
            state.update(data)
            file.write(data)
    return state.hexdigest()


def card(url: str, digest: str, size: int) -> dict[str, Any]:
    """A registry of one pinned card."""
    file = {"name": "file", "role": "weights", "urls": [{"url": url}], "size": size, "digests": {"sha256": digest}}
    about = {"title": "A large file", "task": "none", "framework": "none", "licence": "MIT", "files": [file]}
    return {"schema_version": 1, "models": {"large": about}}


def rows() -> list[str]:
    """The rows that can run here."""
    found = [name for name in CALLS if name not in NEEDED or importlib.util.find_spec(NEEDED[name])]
    return [
        name for name in found if name != "curl | sha256sum" or (shutil.which("curl") and shutil.which("sha256sum"))
    ]


def measure(name: str, place: Path, facts: tuple[str, str, int, str]) -> tuple[float, float]:
    """CPU seconds of one call, and the peak of its process's memory in MB."""
    os.sync()  # nobody pays for what the one before has left to be written or discarded
    with tempfile.TemporaryDirectory(dir=place) as folder:
        environment = {key: value for key, value in os.environ.items() if not key.upper().endswith("_PROXY")}
        environment |= {"MODELZOO_CACHE": f"{folder}/cache", "MODELZOO_CONFIG": f"{folder}/config", "HF_HOME": folder}
        environment |= {"HF_ENDPOINT": facts[0].rpartition("/")[0], "HF_HUB_DISABLE_TELEMETRY": "1"}
        environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}
        prime = f"import modelzoo; modelzoo.list_models(registries=[{facts[3]!r}])"
        subprocess.run([sys.executable, "-c", prime], env=environment, check=True)
        program = MEASURED.replace("{call}", CALLS[name])
        command = [sys.executable, "-c", program, json.dumps([*facts, folder])]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        seconds, memory = done.stdout.split()
        return float(seconds), float(memory) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--serve", nargs=2, metavar=("FILE", "DIGEST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(Path(options.serve[0]), options.serve[1])
        return
    names = rows()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    memory: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        digest = make(place / "large", options.mib)
        command = [sys.executable, __file__, "--serve", str(place / "large"), digest]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert server.stdin is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/file"
            registry = place / "registry.json"
            registry.write_text(json.dumps(card(url, digest, options.mib << 20)))
            facts = (url, digest, options.mib << 20, str(registry))
            for _ in range(options.runs):
                for name in names:
                    spent, peak = measure(name, place, facts)
                    seconds[name].append(spent * 1024 / options.mib)
                    memory[name].append(peak)
            server.stdin.close()
    bare = statistics.median(seconds[names[0]])
    print(
        f"CPU seconds a GiB, user + system; file of {options.mib} MiB, {options.runs} runs, limit {LIMIT} bare loops\n"
    )
    print("| downloader | median | smallest | largest | / bare loop | peak memory, MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        all_of = seconds[name]
        middle = statistics.median(all_of)
        shown = " | ".join(f"{value:.2f}" for value in (middle, min(all_of), max(all_of), middle / bare))
        print(f"| `{name}` | {shown} | {max(memory[name]):.0f} |")


if __name__ == "__main__":
    main()
