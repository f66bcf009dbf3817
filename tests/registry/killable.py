"""A program that refreshes a signed registry in children, each killed (SIGKILL) at the n-th thing that it does.

Each line on standard input is a JSON object: url, config, cache, at (0: not at all); the answer to each is one line:
how many things the child did, or -1 if it was killed. Things are operations on files and connections (audit events of
Python). One process imports everything once and forks for each line.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from tests.killing import answer_orders

_EVENTS = {
    "open", "os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.scandir",
    "os.listdir", "fcntl.flock", "socket.connect",
}  # fmt: skip


def main() -> None:
    """Answers line after line until the input ends."""
    warm_up()
    answer_orders(_work)


def _work(order: dict[str, Any], answer: int) -> None:
    from modelzoo.registry import load_registries

    done = 0

    def step(event: str) -> None:
        nonlocal done
        if event in _EVENTS:
            done += 1
            if done == order["at"]:
                os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        os.environ["MODELZOO_CONFIG"], os.environ["MODELZOO_CACHE"] = order["config"], order["cache"]
        sys.addaudithook(lambda event, args: step(event))
        load_registries([order["url"]], refresh=True, environment=False, builtin=False).names()
        os.write(answer, str(done).encode())
        code = 0
    finally:
        os._exit(code)


def warm_up() -> None:
    """Import all that a refresh needs, so that a kill comes in the work and not in an import."""
    import importlib

    for name in ("requests", "filelock", "encodings.idna", "email.utils", "jsonschema", "http.cookiejar", "platform"):
        importlib.import_module(name)
    for name in ("verification", "index", "scan", "validate", "cache", "trusted", "remote"):
        importlib.import_module(f"modelzoo.registry.{name}")
    for name in ("http", "locks", "transport", "contents", "policy", "retries", "auth", "disk"):
        importlib.import_module(f"modelzoo.store.{name}")


if __name__ == "__main__":
    main()
