"""Where the cache and the settings lie."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """`MODELZOO_CACHE`, else `modelzoo` in `XDG_CACHE_HOME`, else the system's folder for caches."""
    if own := os.environ.get("MODELZOO_CACHE"):
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    if shared and Path(shared).is_absolute():  # the XDG specification says to ignore relative ones
        return Path(shared) / "modelzoo"
    import platformdirs

    return Path(platformdirs.user_cache_dir("modelzoo", appauthor=False))


def shared_roots() -> list[Path]:
    """The folders of `MODELZOO_SHARED_CACHE`, separated as in PATH."""
    named = os.environ.get("MODELZOO_SHARED_CACHE", "").split(os.pathsep)
    return [Path(one).expanduser().absolute() for one in named if one]


def config_root() -> Path:
    """`modelzoo` in `XDG_CONFIG_HOME`, else in the system's folder for settings."""
    shared = os.environ.get("XDG_CONFIG_HOME")
    if shared and Path(shared).is_absolute():
        return Path(shared) / "modelzoo"
    import platformdirs

    return Path(platformdirs.user_config_dir("modelzoo", appauthor=False))


def installed_root() -> Path:
    """The folder that holds the installed package, to which `package:` URLs are relative."""
    return Path(__file__).resolve().parents[2]


def is_offline(asked: bool | None) -> bool:
    """What the caller says, else whether `MODELZOO_OFFLINE` is set to anything but 0, false, no or off."""
    if asked is not None:
        return asked
    return os.environ.get("MODELZOO_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")
