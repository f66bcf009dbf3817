"""The command `modelzoo`: arguments come in; text or one JSON document and an exit code go out.

One file a noun; each is imported only when its verb is called, and imports what computes only when it computes:
`--help`, `list`, `info` and `cache path` never see TensorFlow or NumPy. Nothing is decided here that a Python
caller could not decide too: every verb is a few lines around the public functions.
"""

from __future__ import annotations

import os
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Entry point of the console script: run the command line of this process and exit with its code."""
    if not os.environ.get("MODELZOO_DEBUG"):
        # TensorFlow writes banners and guesses about GPUs to stderr while it is imported. This process is ours
        # alone, so it may be told to be silent; the library itself never touches this.
        from modelzoo.cli.silence import silence_tensorflow

        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        silence_tensorflow()
    from modelzoo.cli.root import root

    root.main(prog_name="modelzoo")
    raise AssertionError("root.main always exits")  # pragma: no cover
