"""A deep Q-network as an agent: replay, policy and learner put together, with or without a pretrained torso."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from modelzoo.errors import UsageError, WeightsMismatchError
from modelzoo.rl.architecture import Architecture, head_layers
from modelzoo.rl.frames import FrameStack
from modelzoo.rl.learner import QLearner
from modelzoo.rl.policy import Actor, DensePolicy, EpsilonGreedy, policy_of
from modelzoo.rl.replay import ReplayBuffer
from modelzoo.rl.settings import DQNSettings

if TYPE_CHECKING:
    from modelzoo.rl.environment import Environment
    from modelzoo.rl.torso import Torso

__all__ = ["DQN", "named_weights", "whole_network"]

_FEATURES = Architecture((256,))  # on a torso
_COMPILED = 8  # gradient steps in a call
_BUFFER_BYTES, _LEAST_BUFFER = 2**30, 5_000


class DQN:
    """Deep Q-learning (Mnih et al. 2015) for the frames and actions of an environment.

    While a torso stays frozen its features are computed once a step and kept in the replay buffer in the place of
    pixels, so that the network that is trained is small. With `unfreeze` the frames are kept from the start, and the
    torso is part of the network.

    Args:
        environment: whose frames and actions these are; it is only looked at.
        settings: of the run.
        architecture: of the network, or of the head on a torso; None = the usual one.
        torso: a pretrained network that frames go through.
        unfreeze: (step, tap): from this step on what lies behind the tap of the torso is trained; False for the tap =
            all of it.

    Attributes:
        network: keras.Model that is trained.
        learner, replay, actor: its parts.
        loss: of the newest gradient steps, or None.

    Raises:
        UsageError: a torso that the observations do not fit, a schedule without a torso.
        UnknownTapError: `unfreeze` names no tap.
    """

    def __init__(
        self,
        environment: Environment,
        settings: DQNSettings,
        *,
        architecture: Architecture | None = None,
        torso: Torso | None = None,
        unfreeze: tuple[int, bool | str] | None = None,
    ) -> None:
        self.settings, self.torso, self.unfreeze = settings, torso, unfreeze
        self.actions = environment.actions
        self.architecture = architecture or usual_architecture(environment, torso)
        check_torso(environment, torso, unfreeze)
        self._shown = (environment.frame_shape, environment.frame_dtype, environment.stack)
        self.encode: Any = None
        kept = self._shown  # what the replay buffer stores
        trainable = None
        if torso is None:
            shape, dtype = environment.observation_shape, environment.frame_dtype.name
            self.network, target = (
                self.architecture.build(shape, dtype, environment.scale, self.actions, settings.seed) for _ in range(2)
            )
        elif unfreeze is None:
            self.encode = torso.encode(environment)
            kept = ((torso.width,), np.dtype(np.float32), 1)
            self.network, target = (
                self.architecture.build((torso.width,), "float32", 1.0, self.actions, settings.seed) for _ in range(2)
            )
        else:
            self.network = whole_network(environment, torso, self.architecture, settings.seed)
            target = whole_network(environment, torso.again(), self.architecture, settings.seed)
            trainable = [
                *torso.backbone.variables,
                *(variable for layer in head_layers(self.network) for variable in layer.trainable_variables),
            ]
        self.policy = policy_of(self.network)
        # Compiling takes a second or two, and pays where many small steps are taken in one call.
        compiled = isinstance(self.policy, DensePolicy) and settings.updates >= _COMPILED
        self.learner = QLearner(self.network, target, settings, trainable=trainable, compiled=compiled)
        frame, kind, stack = kept
        self.replay = ReplayBuffer(
            settings.buffer_size, frame, kind, stack=stack, n_step=settings.n_step, discount=settings.discount
        )
        self.actor = self.new_actor()
        self._drawing = np.random.default_rng([settings.seed, 1])
        self._explorer = EpsilonGreedy(
            self.actor, self.actions, settings.exploration, np.random.default_rng([settings.seed, 0])
        )
        self.loss: float | None = None

    def new_actor(self) -> Actor:
        """One with frames of its own that takes the best actions of the network as it is trained."""
        return Actor(self.policy, FrameStack(*self._shown), self.encode)

    def exploration(self, step: int) -> float:
        """The share of random actions at a step."""
        return self.settings.exploration(step)

    def begin(self, frame: np.ndarray) -> None:
        self.actor.begin(frame)
        self.replay.begin(frame if self.encode is None else self.actor.observation)

    def act(self, step: int) -> int:
        return self._explorer.act(step)

    def see(self, action: int, reward: float, frame: np.ndarray, terminated: bool, truncated: bool) -> None:
        self.actor.see(frame)
        kept = frame if self.encode is None else self.actor.observation
        learned = float(np.sign(reward)) if self.settings.clip_rewards else reward
        self.replay.add(action, learned, kept, terminated, truncated)

    def learn(self, step: int) -> None:
        settings = self.settings
        if step < settings.learning_starts or step % settings.train_every:
            return
        self.follow_schedule(step)
        batch = self.replay.sample((settings.updates, settings.batch_size), self._drawing)
        self.loss = self.learner.update(batch)
        self.policy.refresh()

    def follow_schedule(self, step: int) -> None:
        """Unfreeze the torso where it is time to."""
        if self.unfreeze is None or self.torso is None or step < self.unfreeze[0]:
            return
        if self.torso.backbone.frozen_until != self.unfreeze[1]:
            self.torso.backbone.freeze(self.unfreeze[1])
            self.learner.retrace()

    def weights(self) -> dict[str, np.ndarray]:
        """{name: array} of the network as it is now."""
        return {name: variable.numpy() for name, variable in named_weights(self.network).items()}

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and JSON values that `restore` needs, besides those of the replay buffer."""
        arrays = {name: np.asarray(variable) for name, variable in self.learner.variables().items()}
        facts = {
            "loss": self.loss,
            "exploring": self._explorer.generator.bit_generator.state,
            "drawing": self._drawing.bit_generator.state,
        }
        return arrays, facts

    def restore(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], step: int) -> None:
        """Go on from a state that was kept after `step` steps.

        Raises:
            WeightsMismatchError: it is of another network or optimiser.
        """
        own = self.learner.variables()
        assign_all(own, arrays, "The state that was kept is of another network or optimiser.")
        self.loss = facts["loss"]
        self._explorer.generator.bit_generator.state = facts["exploring"]
        self._drawing.bit_generator.state = facts["drawing"]
        self.follow_schedule(step)
        self.policy.refresh()


def usual_architecture(environment: Environment, torso: Torso | None, *, dueling: bool = False) -> Architecture:
    """The network for an environment's observations, or the head on a torso's features."""
    if torso is not None:
        return Architecture(_FEATURES.hidden, (), dueling)
    return Architecture.for_kind(environment.kind, environment.observation_shape, dueling=dueling)


def usual_settings(
    environment: Environment, torso: Torso | None, unfreeze: tuple[int, bool | str] | None, **changes: Any
) -> DQNSettings:
    """The usual numbers with changes; no more features than fit into a gigabyte, where these are kept.

    Raises:
        UsageError: there is no such number, or it makes no sense.
    """
    settings = DQNSettings.for_kind(environment.kind, **changes)
    if torso is None or unfreeze is not None or "buffer_size" in changes:
        return settings
    most = max(_LEAST_BUFFER, _BUFFER_BYTES // (4 * torso.width))
    return replace(settings, buffer_size=min(settings.buffer_size, most))


def check_torso(environment: Environment, torso: Torso | None, unfreeze: tuple[int, bool | str] | None) -> None:
    """Raise what does not fit together before anything is trained; see `DQN`."""
    if torso is not None:
        torso.check(environment)
    if unfreeze is None:
        return
    if torso is None:
        raise UsageError("There is no torso to unfreeze.", received=repr(unfreeze), hint="torso=")
    step, what = unfreeze
    if type(step) is not int or step < 0 or what is True or not isinstance(what, bool | str):
        raise UsageError("unfreeze is a step and a tap, or False for all.", received=repr(unfreeze))
    if isinstance(what, str):
        from modelzoo.features.taps import choose_taps

        choose_taps([what], torso.backbone._known, (), torso.name)


def whole_network(environment: Environment, torso: Torso, architecture: Architecture, seed: int) -> Any:
    """keras.Model: stacked frames -> torso -> head -> Q values; the head's weights are drawn from the seed."""
    import keras

    from modelzoo.finetune.seeding import seed_layers

    shape, dtype = environment.observation_shape, environment.frame_dtype.name
    inputs = keras.Input(shape, dtype=dtype, name="observation")
    outputs = architecture(torso.features(inputs, environment.kind), environment.actions)
    model = keras.Model(inputs, outputs, name="q_network")
    seed_layers(head_layers(model), seed)
    return model


def named_weights(network: Any) -> dict[str, Any]:
    """{name: variable} of a network: `layer/variable` of what `Architecture` made, `torso/number/...` of the rest."""
    heads = head_layers(network)
    named = {f"{layer.name}/{variable.name}": variable for layer in heads for variable in layer.weights}
    known = {id(variable) for variable in named.values()}
    others = [variable for variable in network.weights if id(variable) not in known]
    return {**named, **{f"torso/{number:05d}/{variable.name}": variable for number, variable in enumerate(others)}}


def assign_all(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray], what: str) -> None:
    """Give variables the values of arrays of the same names and shapes.

    Raises:
        WeightsMismatchError: `what`, with all names that differ.
    """
    missing = [name for name in variables if name not in arrays]
    unexpected = [name for name in arrays if name not in variables]
    mismatched = [
        f"{name}: file {arrays[name].shape}, network {tuple(variable.shape)}"
        for name, variable in variables.items()
        if name in arrays and arrays[name].shape != tuple(variable.shape)
    ]
    if missing or unexpected or mismatched:
        raise WeightsMismatchError(what, missing=missing, unexpected=unexpected, mismatched=mismatched)
    for name, variable in variables.items():
        variable.assign(arrays[name])
