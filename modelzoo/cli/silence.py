"""TensorFlow's banners, kept off standard error while it is imported, and its deprecations afterwards.

Its C++ libraries write to the file descriptor before any logging level holds (TF_CPP_MIN_LOG_LEVEL comes too late for
them), so the descriptor itself is turned away for as long as the import lasts. What was written is shown when the
import fails.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["silence_tensorflow"]


def silence_tensorflow() -> None:
    """From now on an import of TensorFlow, whoever does it, is silent. For a process that is ours alone."""
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds `tensorflow` once, as the usual finder does, and wraps its loading."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "tensorflow":
            return None
        from importlib.machinery import PathFinder

        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def silently(module: Any) -> None:
                import logging
                import warnings

                with _standard_error_away():
                    load(module)
                # Deprecations of TensorFlow's own functions, which whoever types a command cannot do anything about.
                logging.getLogger("tensorflow").setLevel(logging.ERROR)
                warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite")

            spec.loader.exec_module = silently  # type: ignore[method-assign]
        return spec


@contextmanager
def _standard_error_away() -> Iterator[None]:
    import tempfile

    try:
        kept = os.dup(2)
    except OSError:  # it is closed: nobody is disturbed
        yield
        return
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(kept, 2)
            aside.seek(0)
            os.write(2, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
