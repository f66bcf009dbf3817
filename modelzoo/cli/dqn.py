"""`modelzoo dqn`: train a deep Q-network, try it, and watch it play."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from modelzoo.cli.completion import MODEL, TAP
from modelzoo.cli.licence import accepting_licences
from modelzoo.cli.root import noun
from modelzoo.cli.settings import current
from modelzoo.errors import UsageError

__all__ = ["dqn"]


@noun("dqn")
def dqn() -> None:
    """Train deep Q-networks on Gymnasium's environments, and let them play."""


@dqn.command("train")
@click.argument("environment", metavar="ENV")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder of the result.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Of the environment; default: 50000.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of weights, actions, replay; default: 0.")
@click.option("--double/--no-double", default=None, help="Double Q-learning; default: yes.")
@click.option("--dueling/--no-dueling", default=None, help="Two streams, value and advantage; default: no.")
@click.option("--n-step", type=click.IntRange(min=1), metavar="N", help="Rewards in a return; default: 3.")
@click.option(
    "--stack", type=click.IntRange(1, 64), metavar="N", help="Frames in an observation; default: 4 of pictures."
)
@click.option("--torso", type=MODEL, metavar="NAME", help="A pretrained model that pictures go through, frozen.")
@click.option("--tap", type=TAP, metavar="NAME", help="Of the torso; default: what enters its classifier.")
@click.option("--side", type=click.IntRange(min=1), metavar="PX", help="Of the torso's pictures; default: its own.")
@click.option("--unfreeze", type=TAP, metavar="TAP", help="Train what lies behind this tap too; 'all': all of it.")
@click.option("--unfreeze-at", type=click.IntRange(min=0), metavar="N", help="From this step on; default: half way.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Of Adam.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Transitions in a gradient step.")
@click.option("--buffer", type=click.IntRange(min=3), metavar="N", help="Frames that are kept to learn from.")
@click.option("--evaluate-every", type=click.IntRange(min=0), metavar="N", help="Steps between evaluations; 0: none.")
@click.option("--checkpoint-every", type=click.IntRange(min=0), metavar="N", help="Steps between states; 0: none.")
@click.option("--resume", is_flag=True, help="Go on with the run in OUT.")
@accepting_licences
@click.pass_context
def train(
    ctx: click.Context,
    environment: str,
    out: str,
    steps: int | None,
    seed: int | None,
    double: bool | None,
    dueling: bool | None,
    n_step: int | None,
    stack: int | None,
    torso: str | None,
    tap: str | None,
    side: int | None,
    unfreeze: str | None,
    unfreeze_at: int | None,
    learning_rate: float | None,
    batch_size: int | None,
    buffer: int | None,
    evaluate_every: int | None,
    checkpoint_every: int | None,
    resume: bool,
) -> None:
    """Train a deep Q-network for the environment ENV of Gymnasium.

    \b
    modelzoo dqn train CartPole-v1 -o pole
    modelzoo dqn train ALE/Pong-v5 -o pong --steps 1000000 --double --dueling --n-step 3
    modelzoo dqn train ALE/Pong-v5 -o pong --torso inception_v1_scenes --side 64

    OUT holds agent.json, policy.safetensors (the best evaluated policy), log.csv, curve.png and, to go on from,
    training/. A run that was interrupted goes on with --resume, from its last kept state.
    """
    from modelzoo.rl.environment import EnvironmentSpec, make

    settings = current(ctx)
    reporter = settings.reporter
    given: dict[str, Any] = {
        "steps": steps,
        "seed": seed,
        "double": double,
        "n_step": n_step,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "buffer_size": buffer,
        "evaluate_every": evaluate_every,
        "checkpoint_every": checkpoint_every,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    for option, value in (("--tap", tap), ("--side", side), ("--unfreeze", unfreeze)):
        if value is not None and torso is None and not resume:
            raise UsageError(f"{option} goes with --torso NAME.", received=f"{option} {value}")
    if unfreeze_at is not None and unfreeze is None:
        raise UsageError("--unfreeze-at goes with --unfreeze TAP.", received=f"--unfreeze-at {unfreeze_at}")
    said = _said(out, resume)
    spec = EnvironmentSpec(environment, stack=stack)
    if said is not None:
        there = EnvironmentSpec.from_dict(said["environment"])
        if environment != there.id:
            raise UsageError(
                "The run in the folder is one of another environment.",
                received=f"{environment}, and {there.id} in {out}",
                hint=f"modelzoo dqn train {there.id} -o {shlex.quote(out)} --resume",
            )
        spec = there if stack is None else spec
    seen = make(spec)
    seen.close()
    chosen, architecture, plan = _chosen(seen, said, changes, dueling, torso is not None)
    if unfreeze is not None:
        start = chosen.steps // 2 if unfreeze_at is None else unfreeze_at
        plan = (start, False if unfreeze == "all" else unfreeze)
    if (torso is not None or (said is not None and said["torso"])) and seen.kind not in ("picture", "planes"):
        raise UsageError(
            "A torso looks at pictures, and the environment shows none.",
            received=f"observations {seen.observation_shape} of {environment}",
            hint="train without --torso, or choose an environment of pixels (ALE, MinAtar)",
        )
    from modelzoo.rl.folder import load_torso
    from modelzoo.rl.training import train_dqn

    options: dict[str, Any] = {"registries": settings.registries, "progress": reporter.progress}
    standing = None
    if torso is not None:
        from modelzoo.rl.torso import Torso

        standing = Torso(torso, tap=tap, side=side, **options)
    elif said is not None:
        standing = load_torso(said["torso"], **options)
    if said is None:
        from modelzoo.rl.dqn import usual_settings

        chosen = usual_settings(seen, standing, plan, **changes)
    trained = train_dqn(
        spec,
        out,
        settings=chosen,
        architecture=architecture,
        torso=standing,
        unfreeze=plan,
        resume=resume,
        progress=reporter.progress,
    )
    if trained.agent.loss is None:
        reporter.warn(f"nothing was learned: learning starts after {chosen.learning_starts} steps")
    episodes = sum(row.total is not None for row in trained.rows)
    reporter.data(
        {
            "environment": environment,
            "out": str(Path(out)),
            "steps": chosen.steps,
            "episodes": episodes,
            "best_step": trained.best_step,
            "best_score": trained.best_score,
            "last_score": trained.last_score,
        }
    )
    reporter.bare(str(out))
    score = "not evaluated" if trained.best_score is None else f"mean return {trained.best_score:.1f}"
    reporter.say(f"{click.style(environment, bold=True)}  {score} after {trained.best_step} of {chosen.steps} steps")
    quoted = shlex.quote(out)
    reporter.say(f"  modelzoo dqn eval {quoted}")
    reporter.say(f"  modelzoo dqn play {quoted} --gif episode.gif")


def _said(out: str, resume: bool) -> dict[str, Any] | None:
    """The description of the run in OUT, where it is to be gone on with."""
    if not resume:
        return None
    from modelzoo.rl.folder import read_description

    return read_description(out)


def _chosen(seen: Any, said: Any, changes: dict[str, Any], dueling: bool | None, torso: bool) -> tuple[Any, Any, Any]:
    """Settings, architecture and schedule: the usual ones, or those of the run in the folder, with what was given."""
    from dataclasses import replace

    from modelzoo.rl.architecture import Architecture
    from modelzoo.rl.settings import DQNSettings

    if said is None:
        usual = (
            Architecture((256,), (), bool(dueling))
            if torso
            else Architecture.for_kind(seen.kind, seen.observation_shape, dueling=bool(dueling))
        )
        return DQNSettings.for_kind(seen.kind, **changes), usual, None
    architecture = Architecture.from_dict(said["network"])
    if dueling is not None:
        architecture = replace(architecture, dueling=dueling)
    plan = None if said["unfreeze"] is None else tuple(said["unfreeze"])
    return replace(DQNSettings.from_dict(said["settings"]), **changes), architecture, plan


def _of_a_policy(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the argument and options that say which policy, a folder of ours or a Keras file."""
    for option in (
        click.option("--newest-first", is_flag=True, help="The .h5 file's network saw stacked frames in that order."),
        click.option(
            "--action",
            "actions",
            type=click.IntRange(min=0),
            multiple=True,
            metavar="N",
            help="An action that an output of the .h5 file stands for; repeatable, in their order.",
        ),
        click.option("--env", "environment", metavar="ENV", help="The environment of a Keras .h5 file."),
        click.argument("out", metavar="OUT", type=click.Path()),
    ):
        function = option(function)
    return function


@dqn.command("eval")
@_of_a_policy
@click.option("--episodes", type=click.IntRange(min=1), metavar="N", default=100, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of their starts.")
@click.option(
    "--exploration",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of random actions.",
)
@click.pass_context
def evaluate(
    ctx: click.Context,
    out: str,
    environment: str | None,
    actions: tuple[int, ...],
    newest_first: bool,
    episodes: int,
    seed: int,
    exploration: float,
) -> None:
    """Play whole episodes with the policy of a run, and report the mean return.

    \b
    modelzoo dqn eval pole
    modelzoo dqn eval cartpole-dqn.h5 --env CartPole-v1

    OUT is the folder of a run, or a Keras .h5 file of convolutions and dense layers that somebody else trained.
    """
    from modelzoo.rl.evaluation import evaluate as evaluate_actor

    reporter = current(ctx).reporter
    actor, spec = _loaded(ctx, out, environment, actions, newest_first)
    from tqdm import tqdm

    with tqdm(total=episodes, unit="episode", disable=not reporter.progress) as bar:
        found = evaluate_actor(actor, spec, episodes=episodes, seed=seed, exploration=exploration, after=bar.update)
    reporter.data(
        {
            "policy": out,
            "environment": spec.id,
            "episodes": episodes,
            "seed": seed,
            "exploration": exploration,
            "mean": found.mean,
            "std": found.spread,
            "min": min(found.returns),
            "max": max(found.returns),
            "returns": list(found.returns),
        }
    )
    reporter.bare(repr(found.mean))
    reporter.say(
        f"{click.style(spec.id, bold=True)}  mean return {found.mean:.2f} of {episodes} episodes "
        f"(standard deviation {found.spread:.2f}, {min(found.returns):g} to {max(found.returns):g})"
    )


@dqn.command("play")
@_of_a_policy
@click.option("--gif", type=click.Path(), metavar="FILE", help="Where the episode is drawn; default: OUT/episode.gif.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of its start.")
@click.option("--rate", type=click.IntRange(1, 50), default=30, show_default=True, help="Pictures a second.")
@click.pass_context
def play(
    ctx: click.Context,
    out: str,
    environment: str | None,
    actions: tuple[int, ...],
    newest_first: bool,
    gif: str | None,
    seed: int,
    rate: int,
) -> None:
    """Play one episode and draw it as a GIF.

    \b
    modelzoo dqn play pole --gif episode.gif
    """
    from modelzoo.rl.drawing import write_gif
    from modelzoo.rl.environment import make
    from modelzoo.rl.evaluation import play as play_episode

    reporter = current(ctx).reporter
    if gif is None and not Path(out).is_dir():
        raise UsageError("Say where the episode is drawn.", received=out, hint="--gif episode.gif")
    target = Path(gif) if gif is not None else Path(out) / "episode.gif"
    if not target.expanduser().parent.is_dir():
        raise UsageError("There is no such folder for the GIF.", received=str(target))
    actor, spec = _loaded(ctx, out, environment, actions, newest_first)
    # Nothing is shown on a screen, and SDL complains of one that it cannot have.
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    drawn = make(spec, draw=True)
    try:
        pictures, total = play_episode(actor, drawn, seed=seed)
    finally:
        drawn.close()
    write_gif(pictures, target.expanduser(), rate=rate)
    reporter.data(
        {"policy": out, "environment": spec.id, "return": total, "steps": len(pictures) - 1, "gif": str(target)}
    )
    reporter.bare(str(target))
    reporter.say(f"{click.style(spec.id, bold=True)}  return {total:g} in {len(pictures) - 1} steps")
    reporter.say(f"  {target}")


def _loaded(
    ctx: click.Context, out: str, environment: str | None, actions: tuple[int, ...], newest_first: bool
) -> tuple[Any, Any]:
    """The policy of a folder or file, and its environment."""
    from modelzoo.rl.environment import make

    path = Path(out).expanduser()
    if not path.exists():
        raise UsageError("There is no such folder or file.", received=out)
    if path.is_dir():
        if actions or newest_first:
            raise UsageError("--action and --newest-first go with a Keras .h5 file.", received=out)
        from modelzoo.rl.folder import load_agent

        settings = current(ctx)
        given = None if environment is None else make(environment)
        try:
            agent = load_agent(
                path, environment=given, registries=settings.registries, progress=settings.reporter.progress
            )
        finally:
            if given is not None:
                given.close()
        return agent.actor, agent.spec
    if environment is None:
        raise UsageError("A file does not say its environment.", received=out, hint="--env CartPole-v1")
    from modelzoo.rl.keras_policies import load_keras_policy

    seen = make(environment)
    seen.close()
    return load_keras_policy(path, seen, actions=actions or None, newest_first=newest_first), seen.spec
