"""`modelzoo doctor`: everything that whoever answers a question about this installation asks for first."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from modelzoo.cli.output import human_size, wrapped
from modelzoo.cli.root import verb
from modelzoo.cli.settings import Settings, current
from modelzoo.errors import ModelzooError

__all__ = ["doctor"]

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "ssl_cert_file")
_VARIABLES = (
    "MODELZOO_CACHE",
    "MODELZOO_SHARED_CACHE",
    "MODELZOO_CONFIG",
    "MODELZOO_REGISTRY",
    "MODELZOO_MIRROR",
    "MODELZOO_OFFLINE",
    "MODELZOO_AUTH_FILE",
    "MODELZOO_ACCEPT_LICENCE",
    "MODELZOO_DEBUG",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
)
_PASSWORD = re.compile(r"//[^/@]*@")


@verb("doctor")
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Report versions, the cache and its disk, registries, proxies and optional packages.

    No connection is opened (but for a registry that is a URL and was never read). Exit code 1 says that something
    keeps modelzoo from working; it is named at the end.
    """
    settings = current(ctx)
    report = settings.reporter
    problems: list[str] = []
    document = {
        "versions": _versions(problems),
        "cache": _cache(problems),
        "registries": _registries(settings, problems),
        "environment": {name: _PASSWORD.sub("//***@", os.environ[name]) for name in _VARIABLES if name in os.environ},
        "proxies": _proxies(),
        "extras": _extras(),
        "problems": problems,
    }
    report.data(document)
    for label, text in _lines(document):
        for line in wrapped(label, text, indent=14):
            report.say(line)
    for problem in problems:
        report.bare(problem)
        report.warn(problem)
    if problems:
        ctx.exit(1)
    report.note("Nothing is wrong.")


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    versions = dict(found["versions"])
    yield "modelzoo", f"{versions.pop('modelzoo')} in {Path(__file__).resolve().parents[1]}"
    yield "python", f"{versions.pop('python')} on {versions.pop('platform')}"
    yield "packages", ", ".join(f"{name} {version or 'MISSING'}" for name, version in versions.items())
    cache = found["cache"]
    what = f"{cache['models']} {'model' if cache['models'] == 1 else 'models'}, {human_size(cache['size'])}"
    access = "writable" if cache["writable"] else "NOT writable"
    yield "cache", f"{cache['path']}\n{what}, {access}, {human_size(cache['free'])} free on its disk"
    registries = [f"{one['location']}: " + (one["error"] or f"{one['cards']} cards") for one in found["registries"]]
    yield "registries", "\n".join(registries)
    yield "environment", "\n".join(f"{key}={value}" for key, value in found["environment"].items()) or "nothing set"
    yield "proxies", "\n".join(f"{key}={value}" for key, value in found["proxies"].items()) or "none"
    for extra, packages in found["extras"].items():
        what = ", ".join(f"{name} {version or 'not installed'}" for name, version in packages.items())
        yield f"[{extra}]", what


def _versions(problems: list[str]) -> dict[str, str | None]:
    import platform

    from modelzoo import __version__

    versions: dict[str, str | None] = {
        "modelzoo": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name, extra in _requirements():
        if extra is None:
            versions[name] = _version(name)
            if versions[name] is None:
                problems.append(f"the package {name} is not installed: pip install {name}")
    return versions


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> list[tuple[str, str | None]]:
    """(package, the extra that asks for it or None) as the installed metadata say."""
    from importlib import metadata

    try:
        lines = metadata.requires("modelzoo") or []
    except metadata.PackageNotFoundError:
        return []  # run from a folder without having been installed
    found = []
    for line in lines:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if name is not None:
            found.append((name[0], extra[1] if extra else None))
    return found


def _extras() -> dict[str, dict[str, str | None]]:
    extras: dict[str, dict[str, str | None]] = {}
    for name, extra in _requirements():
        if extra is not None and extra != "test":
            extras.setdefault(extra, {})[name] = _version(name)
    return extras


def _cache(problems: list[str]) -> dict[str, Any]:
    import shutil

    from modelzoo.store import Store

    store = Store()
    try:
        entries = store.entries()
    except ModelzooError as error:
        entries = ()
        problems.append(str(error).splitlines()[0])
    there = store.root
    while not there.exists() and there != there.parent:
        there = there.parent
    writable = there.is_dir() and os.access(there, os.W_OK)
    if not writable:
        problems.append(f"the cache cannot be written: {there}; choose another folder by MODELZOO_CACHE or --cache")
    try:
        free: int | None = shutil.disk_usage(there).free
    except OSError:
        free = None
    if free is not None and free < 10**9:
        problems.append(f"only {human_size(free)} are free on the cache's disk")
    return {
        "path": str(store.root),
        "models": len(entries),
        "size": sum(entry.size for entry in entries),
        "writable": writable,
        "free": free,
    }


def _registries(settings: Settings, problems: list[str]) -> list[dict[str, Any]]:
    """Each location by itself, so that a broken one does not hide what the others hold."""
    from modelzoo.registry import load_registries
    from modelzoo.registry.configured import configured
    from modelzoo.registry.loading import ENVIRONMENT_VARIABLE, split_locations

    found: list[dict[str, Any]] = []
    wanted = [*settings.registries, *split_locations(os.environ.get(ENVIRONMENT_VARIABLE, ""))]
    try:
        wanted += [one.location for one in configured()]
    except ModelzooError as error:
        problems.append(str(error).splitlines()[0])
    for location in [*dict.fromkeys(wanted), None]:
        shown = "built in" if location is None else _PASSWORD.sub("//***@", location)
        try:
            loaded = load_registries(
                () if location is None else (location,), environment=False, builtin=location is None, use=()
            )
            for one in loaded.registries:
                name = one.location if one.kind == "file" else shown
                found.append({"location": name, "cards": len(one.summaries), "error": None})
        except ModelzooError as error:
            what = str(error).splitlines()[0]
            found.append({"location": shown, "cards": None, "error": what})
            problems.append(f"the registry {shown} cannot be used: {what}")
    return found


def _proxies() -> dict[str, str]:
    found = {}
    for name in _PROXIES:
        for spelling in (name, name.upper()):
            if value := os.environ.get(spelling):
                found[spelling] = _PASSWORD.sub("//***@", value)
    return found
