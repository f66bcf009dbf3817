"""What it costs to start: CPU time of the light commands, beside other Python tools.

Each command runs several times, in turns; user and system time of the child processes are added, and the medians are
printed as a Markdown table. One run before the first is not counted: it writes bytecode and the index of the registry.

    python benchmarks/startup.py [--runs 15]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LIMITS = {"modelzoo --help": 120, "modelzoo list": 120, "modelzoo info inception_v1": 120, "import modelzoo": 60}
"""Milliseconds that a row may take."""


def commands() -> dict[str, list[str]]:
    """Row of the table -> command line; tools that are not installed are left out."""
    here = str(Path(sys.executable).parent)

    def tool(name: str) -> str | None:
        return shutil.which(name, path=os.pathsep.join([here, os.environ.get("PATH", "")]))

    modelzoo = [tool("modelzoo") or sys.executable, *([] if tool("modelzoo") else ["-m", "modelzoo"])]
    rows = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import modelzoo": [sys.executable, "-c", "import modelzoo"],
        "modelzoo --help": [*modelzoo, "--help"],
        "modelzoo list": [*modelzoo, "list"],
        "modelzoo info inception_v1": [*modelzoo, "info", "inception_v1"],
        "modelzoo cache path": [*modelzoo, "cache", "path"],
        "import click": [sys.executable, "-c", "import click"],
        "pip --version": [sys.executable, "-m", "pip", "--version"],
    }
    if hf := tool("hf"):
        rows["hf --help"] = [hf, "--help"]
    return rows


def cpu_ms(command: list[str], environment: dict[str, str]) -> float:
    """User and system time of one run, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    rows = commands()
    times: dict[str, list[float]] = {name: [] for name in rows}
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "MODELZOO_CACHE": cache}
        for command in rows.values():
            cpu_ms(command, environment)
        for _ in range(runs):
            for name, command in rows.items():
                times[name].append(cpu_ms(command, environment))
    print(f"CPU time, user + system, milliseconds; {runs} runs each, Python {sys.version.split()[0]}\n")
    print("| command | median | smallest | largest | limit |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, all_of in times.items():
        limit = LIMITS.get(name, "")
        print(f"| `{name}` | {statistics.median(all_of):.0f} | {min(all_of):.0f} | {max(all_of):.0f} | {limit} |")


if __name__ == "__main__":
    main()
