"""Deep Q-learning: CartPole for several seeds, wall time beside stable-baselines3, and a pretrained torso on pixels.

    python benchmarks/dqn.py cartpole [--seeds 0 1 2 3 4]
    python benchmarks/dqn.py speed --peer PYTHON [--runs 3]     # PYTHON: of an environment with stable-baselines3
    python benchmarks/dqn.py acting
    python benchmarks/dqn.py torso [--frames 20000] [--seeds 0 1]

The default numbers were chosen on the seeds 100 to 102 of CartPole-v1, and none of the seeds reported here was looked
at before. `cartpole` reports the policy that the stated rule keeps (highest mean of 10 episodes, of equal ones the
later, tried every 2500 steps) and that of the last step, on 100 episodes that were in none of these.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

POLE, STEPS = "CartPole-v1", 50_000

PEER = """
import json, sys, time
import gymnasium as gym
import torch
from stable_baselines3 import DQN
given = json.loads(sys.argv[1])
torch.set_num_threads(1)  # more threads are slower for so small a network
env = gym.make("CartPole-v1")
start = time.perf_counter()
model = DQN("MlpPolicy", env, learning_rate=given["learning_rate"], buffer_size=given["buffer_size"],
    learning_starts=given["learning_starts"], batch_size=given["batch_size"], gamma=given["discount"],
    train_freq=given["train_every"], gradient_steps=given["updates"], target_update_interval=given["train_every"],
    exploration_fraction=given["exploration"]["steps"] / given["steps"],
    n_steps=given["n_step"], exploration_final_eps=given["exploration"]["end"], max_grad_norm=given["clip_norm"],
    policy_kwargs={"net_arch": given["hidden"]}, seed=given["seed"], device="cpu")
model.learn(given["steps"])
print(json.dumps({"seconds": time.perf_counter() - start, "updates": model._n_updates}))
"""


def cartpole(seeds: list[int]) -> None:
    from modelzoo.rl import DQNSettings, evaluate, train_dqn

    print("| seed | kept at step | kept: mean of 100 (smallest) | last step: mean of 100 (smallest) | seconds |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    passed = 0
    for seed in seeds:
        start = time.perf_counter()
        trained = train_dqn(POLE, settings=DQNSettings.for_kind("vector", steps=STEPS, seed=seed))
        seconds = time.perf_counter() - start
        last = evaluate(trained.agent.new_actor(), POLE, episodes=100, seed=seed)
        best = evaluate(trained.best_actor(), POLE, episodes=100, seed=seed)
        passed += best.mean >= 475
        print(
            f"| {seed} | {trained.best_step} | {best.mean:.1f} ({min(best.returns):g}) "
            f"| {last.mean:.1f} ({min(last.returns):g}) | {seconds:.0f} |",
            flush=True,
        )
    print(f"\n{passed} of {len(seeds)} seeds reach a mean of 475.")


def ours(seed: int, steps: int) -> None:
    """One timed run in a process of its own; without evaluations, since the peer makes none."""
    from modelzoo.rl import DQNSettings, train_dqn

    settings = DQNSettings.for_kind("vector", steps=steps, seed=seed, evaluate_every=0, checkpoint_every=0)
    start = time.perf_counter()
    trained = train_dqn(POLE, settings=settings)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "updates": int(trained.agent.learner.updates.numpy())}))


def speed(peer: str, runs: int, steps: int) -> None:
    from modelzoo.rl import Architecture, DQNSettings

    times: dict[str, list[dict[str, float]]] = {}
    for seed in range(runs):
        settings = DQNSettings.for_kind("vector", steps=steps, seed=seed)
        given = {**settings.as_dict(), "hidden": list(Architecture().hidden)}
        commands = {
            "modelzoo": [sys.executable, __file__, "one", "--seeds", str(seed), "--steps", str(steps)],
            "stable-baselines3": [peer, "-c", PEER, json.dumps(given)],
        }
        for name, command in commands.items():
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            times.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
    print("| | seconds (median) | runs | gradient steps |")
    print("| --- | ---: | --- | ---: |")
    medians = {name: statistics.median(run["seconds"] for run in found) for name, found in times.items()}
    for name, found in times.items():
        each = ", ".join(f"{run['seconds']:.1f}" for run in found)
        print(f"| {name} | {medians[name]:.1f} | {each} | {found[0]['updates']:.0f} |")
    print(f"\nratio: {medians['modelzoo'] / medians['stable-baselines3']:.2f}")


def acting(count: int = 2000) -> None:
    import numpy as np

    from modelzoo.rl import Architecture
    from modelzoo.rl.policy import TracedPolicy, policy_of

    network = Architecture().build((4,), "float32", 1.0, 2, 0)
    seen = np.random.default_rng(0).normal(size=4).astype(np.float32)
    ways = {
        "NumPy on the variables' numbers": policy_of(network).values,
        "one traced function": TracedPolicy(network).values,
        "an eager call": lambda x: network(x[None]).numpy()[0],
    }
    print("| acting once, network 4 - 128 - 128 - 2 | microseconds |")
    print("| --- | ---: |")
    for name, act in ways.items():
        act(seen)
        start = time.perf_counter()
        for _ in range(count if "eager" not in name else 100):
            act(seen)
        print(f"| {name} | {1e6 * (time.perf_counter() - start) / (count if 'eager' not in name else 100):.0f} |")


def torso(frames: int, seeds: list[int]) -> None:
    """MinAtar's Breakout: dense layers on a frozen pretrained torso beside a convolution from scratch."""
    import numpy as np

    from modelzoo.rl import DQNSettings, Torso, evaluate, train_dqn

    game = "MinAtar/Breakout-v1"
    print(f"| {game}, {frames} frames | seed | kept policy, 100 episodes | last 100 episodes of training | seconds |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for seed in seeds:
        for name in ("from scratch", "frozen torso"):
            made = Torso("inception_v1_scenes", tap="Conv2d_2c_3x3", side=40, grid=10) if "torso" in name else None
            settings = DQNSettings.for_kind("planes", steps=frames, seed=seed, buffer_size=frames + frames // 2)
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                trained = train_dqn(game, Path(folder) / "run", settings=settings, torso=made)
                seconds = time.perf_counter() - start
            late = float(np.mean([row.total for row in trained.rows if row.total is not None][-100:]))
            found = evaluate(trained.best_actor(), game, episodes=100, seed=seed, exploration=0.01)
            print(f"| {name} | {seed} | {found.mean:.2f} | {late:.2f} | {seconds:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cartpole", "speed", "acting", "torso", "one"])
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--peer", help="a Python with stable-baselines3")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--frames", type=int, default=20_000)
    given = parser.parse_args()
    if given.what == "cartpole":
        cartpole(given.seeds or [0, 1, 2, 3, 4])
    elif given.what == "one":
        ours(given.seeds[0], given.steps)
    elif given.what == "speed":
        if given.peer is None:
            parser.error("--peer PYTHON: stable-baselines3 runs in an environment of its own")
        speed(given.peer, given.runs, given.steps)
    elif given.what == "acting":
        acting()
    else:
        torso(given.frames, given.seeds or [0, 1])


if __name__ == "__main__":
    main()
