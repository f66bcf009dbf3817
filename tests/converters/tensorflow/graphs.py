"""Small TensorFlow graphs and SavedModels, made as TensorFlow 1 and 2 make them, and the session that judges them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


def graph_of(build: Callable[[], Any]) -> Any:
    """The GraphDef of what `build` makes, with the control flow of TensorFlow 1."""
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            build()
    finally:
        v1.enable_control_flow_v2()
    return graph.as_graph_def()


def write(graph: Any, path: Path) -> Path:
    path.write_bytes(graph.SerializeToString())
    return path


def frozen(build: Callable[[], Any], path: Path) -> Path:
    return write(graph_of(build), path)


def session_values(path: Path, feeds: Mapping[str, Any], names: list[str]) -> dict[str, np.ndarray]:
    """What the untouched graph gives, in a session of TensorFlow 1."""
    graph = v1.GraphDef.FromString(path.read_bytes())
    full = [name if ":" in name else f"{name}:0" for name in names]
    with tf.Graph().as_default(), v1.Session() as session:
        tf.graph_util.import_graph_def(graph, name="")
        fed = {(key if ":" in key else f"{key}:0"): value for key, value in feeds.items()}
        return dict(zip(names, session.run(full, fed), strict=True))


def saved_model_values(folder: Path, feeds: Mapping[str, Any], signature: str = "serving_default") -> dict[str, Any]:
    """What a SavedModel gives when TensorFlow restores and runs it."""
    with tf.Graph().as_default(), v1.Session() as session:
        meta = v1.saved_model.load(session, ["serve"], str(folder))
        chosen = meta.signature_def[signature]
        fed = {chosen.inputs[key].name: value for key, value in feeds.items()}
        return {key: session.run(info.name, fed) for key, info in chosen.outputs.items()}


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convnet() -> None:
    """x (N, 8, 8, 3) -> `probabilities` (N, 5): convolution, normalisation, pool, dense."""
    x = v1.placeholder(tf.float32, [None, 8, 8, 3], name="x")
    y = tf.nn.conv2d(x, tf.constant(random(3, 3, 3, 4), name="conv/weights"), 2, "SAME", name="conv/Conv2D")
    y, *_ = v1.nn.fused_batch_norm(
        y,
        tf.constant(random(4, seed=1) / 9 + 1, name="norm/gamma"),
        tf.constant(random(4, seed=2)),
        mean=tf.constant(random(4, seed=3)),
        variance=tf.constant(np.full(4, 2, np.float32)),
        is_training=False,
        name="norm/FusedBatchNorm",
    )
    y = tf.nn.relu(y, name="conv/Relu")
    y = tf.reshape(tf.nn.max_pool2d(y, 2, 2, "VALID", name="pool"), [-1, 16], name="flat")
    logits = tf.add(tf.matmul(y, tf.constant(random(16, 5, seed=4), name="dense/kernel")), 0.5, name="logits")
    tf.nn.softmax(logits, name="probabilities")


def loop() -> None:
    """x (N, 4) -> `last` (N, 4): a recurrent network over five steps, with arrays, written by TensorFlow 1."""
    x = v1.placeholder(tf.float32, [None, 5, 4], name="x")
    kernel = tf.constant(random(4, 5) / 3, name="kernel")
    recurrent = tf.constant(random(5, 5, seed=1) / 3, name="recurrent")
    steps = tf.TensorArray(tf.float32, 5, clear_after_read=False).unstack(tf.transpose(x, [1, 0, 2]))
    states = tf.TensorArray(tf.float32, 5)

    def body(step: Any, state: Any, out: Any) -> Any:
        state = tf.tanh(tf.matmul(steps.read(step), kernel) + tf.matmul(state, recurrent))
        return step + 1, state, out.write(step, state)

    start = tf.zeros([tf.shape(x)[0], 5])
    _, last, out = v1.while_loop(lambda step, *_: step < 5, body, [0, start, states], name="rnn")
    tf.identity(last, name="last")
    tf.transpose(out.stack(), [1, 0, 2], name="states")


def branches() -> None:
    """x (N, 4), limit () -> `y`, `z`: nested conditionals with two results each."""
    x = v1.placeholder(tf.float32, [None, 4], name="x")
    limit = v1.placeholder(tf.float32, [], name="limit")
    weights = tf.constant(random(4, 6), name="weights")
    total = tf.reduce_sum(x)

    def inner() -> Any:
        return v1.cond(total > 2 * limit, lambda: tf.matmul(x, weights) * 2, lambda: tf.matmul(x, weights) - 1)

    y, z = v1.cond(total > limit, lambda: (inner(), x + 1), lambda: (tf.matmul(x * x, weights), x - 1))
    tf.identity(y, name="y")
    tf.identity(z, name="z")
