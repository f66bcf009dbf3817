"""A program that fetches in child processes and has them killed (SIGKILL) at the n-th thing they do.

Each line on standard input is a JSON object: root, key, sources, at (0: not at all); the answer to each is one line:
how many things the child did, or -1 if it was killed. Things are: operations on files (audit events of Python) and
pieces of the download that arrived. One process imports everything once and forks for each line.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from modelzoo.store import Member, Policy, Source, Store
from tests.killing import answer_orders

POLICY = Policy(read_timeout=5.0, rounds=2, backoff=0.01, longest_wait=0.1, mark_every=1 << 15, lock_wait=10.0)
_EVENTS = {
    "open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.utime",
    "os.scandir", "os.listdir", "fcntl.flock", "socket.connect",
}  # fmt: skip


def main() -> None:
    """Answers line after line until the input ends."""
    warm_up()
    answer_orders(_work)


def sources_of(fields: list[dict[str, Any]]) -> list[Source]:
    """Sources from JSON."""
    return [
        Source(one["name"], one["role"], tuple(one["urls"]), one["size"], one["digests"],
               tuple(Member(*pair) for pair in one["members"]))
        for one in fields
    ]  # fmt: skip


def _work(order: dict[str, Any], answer: int) -> None:
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if done == order["at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        sys.addaudithook(lambda event, args: step() if event in _EVENTS else None)
        store = Store(Path(order["root"]), policy=POLICY, progress=lambda name, have, total: step())
        store.fetch(order["key"], sources_of(order["sources"]))
        os.write(answer, str(done).encode())
        code = 0
    finally:
        os._exit(code)


def warm_up() -> None:
    """Imports all that a fetch needs, so that neither a kill nor another user's rights come in between."""
    import importlib

    for name in ("requests", "filelock", "encodings.idna", "email.utils", "bz2", "lzma"):
        importlib.import_module(name)
    for path in (Path(__file__).resolve().parents[2] / "modelzoo" / "store").glob("*.py"):
        importlib.import_module(f"modelzoo.store.{path.stem}".removesuffix(".__init__"))


if __name__ == "__main__":
    main()
