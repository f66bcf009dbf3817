"""A run of deep Q-learning: everything checked, then trained, tried, logged, kept, and written as a folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelzoo.errors import CheckpointFormatError, DiskError, UsageError
from modelzoo.rl.architecture import Architecture
from modelzoo.rl.checkpoint import RunCheckpoint, write_whole
from modelzoo.rl.dqn import DQN, check_torso, usual_architecture, usual_settings
from modelzoo.rl.environment import SELECTION, Environment, EnvironmentSpec, make
from modelzoo.rl.evaluation import evaluate
from modelzoo.rl.folder import AGENT, CURVE, LOG, TRAINING, WEIGHTS, read_description, write_description
from modelzoo.rl.log import Row, RunLog
from modelzoo.rl.runner import Episode, Runner
from modelzoo.rl.settings import DQNSettings

if TYPE_CHECKING:
    from modelzoo.rl.policy import Actor
    from modelzoo.rl.torso import Torso

__all__ = ["Trained", "train_dqn"]

_log = logging.getLogger("modelzoo")


@dataclass(frozen=True)
class Trained:
    """What came of a run.

    Attributes:
        agent: with the weights of its last step.
        best: {name: array} of the policy that was kept.
        best_step, best_score: when it was tried, and the mean return then; the score is None without evaluations.
        last_score: of the last step's policy, None without evaluations.
        rows: of the log.
        folder: of the result, or None.
    """

    agent: DQN
    best: Mapping[str, np.ndarray]
    best_step: int
    best_score: float | None
    last_score: float | None
    rows: Sequence[Row]
    folder: Path | None

    def best_actor(self) -> Actor:
        """Takes the best actions of the policy that was kept; the agent's network has its weights from then on."""
        from modelzoo.rl.dqn import assign_all, named_weights

        assign_all(named_weights(self.agent.network), self.best, "The policy is of another network.")
        self.agent.policy.refresh()
        return self.agent.new_actor()


def train_dqn(
    spec: EnvironmentSpec | str,
    folder: str | Path | None = None,
    *,
    settings: DQNSettings | None = None,
    architecture: Architecture | None = None,
    torso: Torso | None = None,
    unfreeze: tuple[int, bool | str] | None = None,
    resume: bool = False,
    progress: bool | None = False,
) -> Trained:
    """Train a deep Q-network.

    After every `settings.evaluate_every` steps the greedy policy plays `settings.evaluate_episodes` episodes, of which
    nothing is learned. The policy with the highest mean return is kept, of equal ones the later. Without evaluations it
    is the last one.

    Args:
        spec: of the environment, or its id.
        folder: of the result; None = nothing is written.
        settings: None = the usual ones for what the environment shows.
        architecture: of the network, or of the head on a torso; None = the usual one.
        torso: a pretrained network that frames go through; see `Torso`.
        unfreeze: (step, tap), see `DQN`.
        resume: go on with the run in the folder, with the same settings; `settings.steps` may be larger. On a CPU it
            ends with the same bits as a run that was not interrupted.
        progress: a bar; None = on a terminal.

    Raises:
        MissingExtraError, NotFoundError, UsageError: see `make`; a torso that does not fit; a folder that holds
            something else, or a run that is not to be gone on with.
        CheckpointFormatError: the run in the folder is damaged, or has other settings.
        DiskError: the folder cannot be written.
        DivergedError: the loss is no finite number any more.
    """
    spec = EnvironmentSpec(spec) if isinstance(spec, str) else spec
    if torso is not None and spec.stack is None:
        spec = _with_usual_stack(spec)
    environment = make(spec)
    try:
        check_torso(environment, torso, unfreeze)
        settings = settings if settings is not None else usual_settings(environment, torso, unfreeze)
        architecture = architecture or usual_architecture(environment, torso)
        description = describe(environment, settings, architecture, torso, unfreeze)
        root = None if folder is None else _opened(Path(folder).expanduser(), description, resume)
        agent = DQN(environment, settings, architecture=architecture, torso=torso, unfreeze=unfreeze)
    finally:
        environment.close()
    run = _Run(spec, agent, description, root)
    if root is not None and resume:
        run.restore()
    return run.go_on(progress)


def describe(
    environment: Environment,
    settings: DQNSettings,
    architecture: Architecture,
    torso: Torso | None,
    unfreeze: tuple[int, bool | str] | None,
) -> dict[str, Any]:
    """What a run is, JSON values: two runs with the same description end with the same bits on a CPU."""
    said = {
        "environment": environment.as_dict(),
        "network": architecture.as_dict(),
        "torso": None if torso is None else torso.as_dict(),
        "unfreeze": None if unfreeze is None else list(unfreeze),
        "settings": settings.as_dict(),
    }
    return json.loads(json.dumps(said))


def _with_usual_stack(spec: EnvironmentSpec) -> EnvironmentSpec:
    """Three frames for a torso's three channels, where the environment shows pictures."""
    environment = make(spec)
    environment.close()
    return replace(spec, stack=3) if environment.kind == "picture" else spec


def _opened(folder: Path, description: Mapping[str, Any], resume: bool) -> Path:
    """The folder, made where it is not there, with nothing of another run in it."""
    if folder.exists() and not folder.is_dir():
        raise UsageError("The result is a folder, and a file lies there.", received=str(folder))
    if resume:
        _check_same_run(read_description(folder), description)
        write_description(folder, {**description, "result": None})
        return folder
    if folder.is_dir() and any(folder.iterdir()):
        ours = (folder / AGENT).exists()
        raise UsageError(
            "The folder holds a run already." if ours else "The folder for the result holds something else.",
            received=str(folder),
            hint="--resume goes on with it; or choose another -o" if ours else "choose another -o",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"The folder cannot be made: {error.strerror or error}.", received=str(folder)) from error
    write_description(folder, {**description, "result": None})
    return folder


def _check_same_run(there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for part in ("environment", "network", "torso", "unfreeze", "settings"):
        pairs = [(part, there[part], now[part])]
        if isinstance(there[part], dict) and isinstance(now[part], dict):
            pairs = [(key, there[part].get(key), now[part].get(key)) for key in {**there[part], **now[part]}]
        for key, before, after in pairs:
            if key == "steps" and part == "settings":
                if isinstance(before, int) and after < before:
                    raise CheckpointFormatError(
                        "The run was started for more steps.", received=f"steps: {before} there, {after} now"
                    )
            elif before != after:
                raise CheckpointFormatError(
                    f"The run there was started with another {part if key == part else f'{key} ({part})'}.",
                    received=f"{key}: {before!r} there, {after!r} now",
                    hint="go on with the same settings, or choose another -o",
                )


class _Run:
    """The parts of a run that change while it goes on."""

    def __init__(self, spec: EnvironmentSpec, agent: DQN, description: dict[str, Any], folder: Path | None) -> None:
        self.spec, self.agent, self.description, self.folder = spec, agent, description, folder
        self.settings = agent.settings
        self.runner = Runner(
            lambda: make(spec), agent, seed=self.settings.seed, renew_every=self.settings.checkpoint_every
        )
        self.kept = None if folder is None else RunCheckpoint(folder / TRAINING)
        self.best: dict[str, np.ndarray] = agent.weights()
        self.best_step = 0
        self.best_score: float | None = None
        self.last_score: float | None = None
        self.tried_at = -1
        self._from: int | None = None
        self.log = RunLog()

    def restore(self) -> None:
        """Go on from the newest state that was kept; from the beginning where there is none."""
        assert self.kept is not None
        found = self.kept.latest()
        if found is None:
            _log.info("no state was kept yet: the run begins anew")
            return
        facts, arrays, replay = found
        try:
            best = {name.removeprefix("best/"): array for name, array in arrays.items() if name.startswith("best/")}
            own = {name: array for name, array in arrays.items() if not name.startswith("best/")}
            self.agent.replay.restore(replay)
            self.agent.restore(own, facts["agent"], facts["step"])
            self.runner.step, self.runner.episode = facts["step"], facts["episode"]
            self.runner.renewals = facts["renewals"]
            self.best_step, self.best_score = facts["best_step"], facts["best_score"]
            self.last_score, self.tried_at = facts["last_score"], facts["tried_at"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointFormatError("The state of the run is damaged.", received=str(self.kept.folder)) from error
        self.best = best
        self._from = self.runner.step
        _log.info("going on after step %d", self.runner.step)

    def go_on(self, progress: bool | None) -> Trained:
        """To the last step, then the result."""
        from tqdm import tqdm

        settings, root = self.settings, self.folder
        self.log = RunLog(None if root is None else root / LOG, until=-1 if self._from is None else self._from)
        try:
            with tqdm(
                total=settings.steps,
                initial=self.runner.step,
                unit="step",
                desc=self.spec.id,
                disable=None if progress is None else not progress,
            ) as bar:

                def on_episode(episode: Episode) -> None:
                    self._note(episode)
                    bar.update(episode.step - bar.n)

                self.runner.run(
                    settings.steps,
                    on_episode=on_episode,
                    every=settings.evaluate_every,
                    on_every=self._try,
                    on_renewal=self._keep,
                )
                bar.update(settings.steps - bar.n)
            if settings.evaluate_every and self.tried_at != self.runner.step:
                self._try()
        finally:
            self.log.close()
        if not settings.evaluate_every:
            self.best, self.best_step = self.agent.weights(), self.runner.step
        self._write()
        return Trained(
            self.agent, self.best, self.best_step, self.best_score, self.last_score, tuple(self.log.rows), root
        )

    def _note(self, episode: Episode) -> None:
        share = self.agent.exploration(episode.step - 1)
        self.log.add(Row(episode.step, episode.number, episode.total, episode.length, share, self.agent.loss))

    def _try(self) -> None:
        """Evaluate, and keep the policy if none was better."""
        settings, step = self.settings, self.runner.step
        score = evaluate(
            self.agent.new_actor(),
            self.spec,
            episodes=settings.evaluate_episodes,
            seed=settings.seed,
            stream=SELECTION,
            exploration=settings.evaluate_exploration,
        ).mean
        self.log.add(Row(step, loss=self.agent.loss, evaluation=score))
        self.last_score, self.tried_at = score, step
        if self.best_score is None or score >= self.best_score:
            self.best, self.best_step, self.best_score = self.agent.weights(), step, score

    def _keep(self) -> None:
        """The state of the run, between two episodes; and the best policy so far, so that it can be played."""
        if self.kept is None or self.folder is None:
            return
        arrays, agent = self.agent.state()
        facts = {
            "agent": agent,
            "episode": self.runner.episode,
            "renewals": self.runner.renewals,
            "best_step": self.best_step,
            "best_score": self.best_score,
            "last_score": self.last_score,
            "tried_at": self.tried_at,
        }
        arrays |= {f"best/{name}": array for name, array in self.best.items()}
        self.kept.save(self.runner.step, arrays, facts, self.agent.replay.state())
        self._write_weights()

    def _write_weights(self) -> None:
        from safetensors.numpy import save

        assert self.folder is not None
        write_whole(self.folder / WEIGHTS, save(self.best, {"format": "keras"}))

    def _write(self) -> None:
        from modelzoo.rl.drawing import draw_curve

        if self.folder is None:
            return
        self._write_weights()
        result = {
            "steps": self.runner.step,
            "episodes": self.runner.episode,
            "updates": int(self.agent.learner.updates.numpy()),
            "best_step": self.best_step,
            "best_score": self.best_score,
            "last_score": self.last_score,
            "rule": "highest mean return of the evaluations, of equal ones the later"
            if self.settings.evaluate_every
            else "the last policy",
        }
        write_description(self.folder, {**self.description, "result": result})
        if any(row.total is not None for row in self.log.rows):
            draw_curve(self.log.rows, self.folder / CURVE, title=self.spec.id)
