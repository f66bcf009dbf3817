"""What a large registry costs: the first `modelzoo list` of 10,000 cards, later ones, and one card of it.

The cards are those of the built-in registry again and again under other names. The first run finds no index and makes
one; each run of it begins with an empty cache. Wall and CPU times of whole processes are printed as a Markdown table,
beside what it takes to validate every card against the JSON Schema.

    python benchmarks/registries.py [--cards 10000] [--runs 5]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from modelzoo.registry.loading import builtin_registry

LIMITS = {"first list": 1.0, "list": 0.3}
"""Seconds that a row may take."""


def write(path: Path, count: int) -> str:
    """Write a registry of so many cards; the name of one of them."""
    models = {}
    for number, (name, card) in zip(range(count), itertools.cycle(builtin_registry().models.items()), strict=False):
        models[f"{name.rpartition('/')[2]}-{number}"] = {
            k: v for k, v in card.items() if k not in ("aliases", "variants")
        }
    path.write_text(json.dumps({"schema_version": 1, "models": models}, indent=1))
    return next(reversed(models))


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds of one process."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, check=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - started
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    modelzoo = [sys.executable, "-c", "import sys; from modelzoo.cli import main; sys.exit(main())"]
    with tempfile.TemporaryDirectory() as name:
        path, cache = Path(name) / "large.json", Path(name) / "cache"
        card = write(path, chosen.cards)
        environment = {**os.environ, "MODELZOO_CACHE": str(cache), "MODELZOO_CONFIG": str(Path(name) / "config")}
        modelzoo += ["--registry", str(path)]
        rows = {"first list": ["list"], "list": ["list"], "info": ["info", card]}
        times: dict[str, list[tuple[float, float]]] = {row: [] for row in rows}
        timed([*modelzoo, "list"], environment)  # writes bytecode
        for _ in range(chosen.runs):
            shutil.rmtree(cache)
            for row, words in rows.items():
                times[row].append(timed([*modelzoo, *words], environment))
        program = f"from modelzoo.registry import validate_registry; validate_registry({str(path)!r})"
        times["every card validated"] = [timed([sys.executable, "-c", program], environment)]
        megabytes = path.stat().st_size / 1e6
    print(f"{chosen.cards} cards, {megabytes:.1f} MB; medians of {chosen.runs} runs, Python {sys.version.split()[0]}\n")
    print("| what | wall s | CPU s | limit |")
    print("| --- | ---: | ---: | ---: |")
    for row, all_of in times.items():
        wall, cpu = (statistics.median(one[n] for one in all_of) for n in (0, 1))
        print(f"| {row} | {wall:.2f} | {cpu:.2f} | {LIMITS.get(row, '')} |")


if __name__ == "__main__":
    main()
