"""A small training as a process of its own, which a test may kill: `python -m tests.rl.run_in_process FOLDER ...`."""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("environment")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--torso", action="store_true")
    parser.add_argument("--unfreeze-at", type=int)
    parser.add_argument("--settings", default="{}")
    given = parser.parse_args()
    from modelzoo.rl.environment import make
    from modelzoo.rl.settings import DQNSettings
    from modelzoo.rl.training import train_dqn
    from tests.rl.environments import register

    register()
    environment = make(given.environment)
    torso = None
    if given.torso:
        from modelzoo.rl.torso import Torso
        from tests.finetune.networks import small_network

        torso = Torso(small_network(), tap="two", grid=None)
    train_dqn(
        given.environment,
        given.folder,
        settings=DQNSettings.for_kind(environment.kind, **json.loads(given.settings)),
        torso=torso,
        unfreeze=None if given.unfreeze_at is None else (given.unfreeze_at, "one"),
        resume=given.resume,
    )


if __name__ == "__main__":
    main()
