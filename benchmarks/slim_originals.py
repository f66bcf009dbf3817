"""TF-slim's networks through our code beside slim's own code: images a second, and a training step.

Both sides are concrete functions of TensorFlow 2 in one process that take turns: ours of the Keras model, slim's of
its model file by `tf.compat.v1.wrap_function`, so that both are called alike and optimised by the same passes;
`--session` runs slim's graph in a session of TensorFlow 1 instead. Both get the same weights (ours, by their names in
slim) and pictures, and their logits are compared first. A training step is forward, softmax cross-entropy, backward,
the moving averages of BatchNorm and TensorFlow's operator of gradient descent, without slim's auxiliary heads and
drop paths, which are no part of our models. Two threads, the published input size; every timed call follows an
untimed one of the same side, and the quickest counts, since others on the machine only add. Above 1 ours is quicker.
One process differs from the next by some percent, so each network is measured in several: the median of their ratios
is printed, and in brackets the least and the greatest.

slim's model files are a folder of the repository tensorflow/models; its library is tf_slim:

    git clone --depth 1 --filter=blob:none --sparse https://github.com/tensorflow/models
    git -C models sparse-checkout set research/slim
    pip install tf_slim tf_keras
    python benchmarks/slim_originals.py --slim models/research/slim [resnet_v1_50 mobilenet_v1_0.25_128]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Call = Callable[[], Any]


class Pair(NamedTuple):
    """One network on both sides.

    Attributes:
        ours: name of the network here.
        slim: its name in slim's `nets_factory`.
        size: side of the input.
        width: multiplier of the depth, where there is one.
        batch: pictures of an inference; a training step takes half as many.
        auxiliary: whether slim's function asks if it shall build an auxiliary head.
        config: the function of slim's module that gives its configuration (NASNet, PNASNet).
    """

    ours: str
    slim: str
    size: int = 224
    width: float | None = None
    batch: int = 8
    auxiliary: bool = False
    config: str | None = None


PAIRS = {
    "lenet": Pair("lenet", "lenet", 28, batch=100),  # trained with 50 at a time
    "cifarnet": Pair("cifarnet", "cifarnet", 32, batch=256),  # trained with 128
    "alexnet_v2": Pair("alexnet_v2", "alexnet_v2"),
    "overfeat": Pair("overfeat", "overfeat", 231, batch=4),
    "vgg_16": Pair("vgg_16", "vgg_16", batch=4),
    "vgg_19": Pair("vgg_19", "vgg_19", batch=4),
    "inception_v1": Pair("inception_v1", "inception_v1"),
    "inception_v2": Pair("inception_v2", "inception_v2"),
    "inception_v3": Pair("inception_v3", "inception_v3", 299, auxiliary=True),
    "inception_v4": Pair("inception_v4", "inception_v4", 299, auxiliary=True, batch=4),
    "inception_resnet_v2": Pair("inception_resnet_v2", "inception_resnet_v2", 299, auxiliary=True, batch=4),
    "resnet_v1_50": Pair("resnet_v1_50", "resnet_v1_50"),
    "resnet_v1_101": Pair("resnet_v1_101", "resnet_v1_101", batch=4),
    "resnet_v1_152": Pair("resnet_v1_152", "resnet_v1_152", batch=4),
    "resnet_v2_50": Pair("resnet_v2_50", "resnet_v2_50", 299, batch=4),
    "resnet_v2_101": Pair("resnet_v2_101", "resnet_v2_101", 299, batch=4),
    "resnet_v2_152": Pair("resnet_v2_152", "resnet_v2_152", 299, batch=4),
    "mobilenet_v1_0.25_128": Pair("mobilenet_v1", "mobilenet_v1_025", 128, 0.25),
    "mobilenet_v1_0.5_160": Pair("mobilenet_v1", "mobilenet_v1_050", 160, 0.5),
    "mobilenet_v1_1.0_224": Pair("mobilenet_v1", "mobilenet_v1"),
    "mobilenet_v2_0.35_96": Pair("mobilenet_v2", "mobilenet_v2_035", 96, 0.35),
    "mobilenet_v2_1.0_224": Pair("mobilenet_v2", "mobilenet_v2"),
    "mobilenet_v2_1.4_224": Pair("mobilenet_v2", "mobilenet_v2_140", 224, 1.4),
    "mobilenet_v3_large": Pair("mobilenet_v3_large", "mobilenet_v3_large"),
    "mobilenet_v3_small": Pair("mobilenet_v3_small", "mobilenet_v3_small"),
    "nasnet_mobile": Pair("nasnet_mobile", "nasnet_mobile", config="nasnet.mobile_imagenet_config"),
    "nasnet_large": Pair("nasnet_large", "nasnet_large", 331, batch=2, config="nasnet.large_imagenet_config"),
    "pnasnet_mobile": Pair("pnasnet_mobile", "pnasnet_mobile", config="pnasnet.mobile_imagenet_config"),
    "pnasnet_large": Pair("pnasnet_large", "pnasnet_large", 331, batch=2, config="pnasnet.large_imagenet_config"),
}


class HParams(types.SimpleNamespace):
    """What slim's NASNet needs of `tf.contrib.training.HParams`, which went with TensorFlow 1."""

    def set_hparam(self, name: str, value: Any) -> None:
        setattr(self, name, value)


def import_slim(folder: str) -> Any:
    """slim's `nets_factory`, with the parts of TensorFlow 1 that its files import and TensorFlow 2 has not."""
    import tensorflow as tf
    from tf_keras.src.legacy_tf_layers import normalization

    # Where TensorFlow looks for the layer behind slim.batch_norm, and tf_keras has it no more.
    layers = types.ModuleType("tf_keras.legacy_tf_layers")
    sys.modules |= {layers.__name__: layers, f"{layers.__name__}.normalization": normalization}
    contrib, training = types.ModuleType("tensorflow.contrib"), types.ModuleType("tensorflow.contrib.training")
    training.HParams = HParams  # type: ignore[attr-defined]
    contrib.training = training  # type: ignore[attr-defined]
    sys.modules |= {contrib.__name__: contrib, training.__name__: training}
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    sys.path.insert(0, folder)
    from nets import nets_factory

    return nets_factory


def slim_network(pair: Pair, classes: int, folder: str, training: bool) -> Callable[[Any], Any]:
    """slim's function from pictures to logits."""
    factory = import_slim(folder)
    options: dict[str, Any] = {"create_aux_logits": False} if pair.auxiliary else {}
    if pair.config is not None:
        module, _, function = pair.config.partition(".")
        config = getattr(getattr(factory, module), function)()
        config.use_aux_head, config.drop_path_keep_prob = 0, 1.0
        options["config"] = config
    network = factory.get_network_fn(pair.slim, num_classes=classes, is_training=training)
    return lambda x: network(x, **options)[0]


def slim_step(network: Callable[[Any], Any], x: Any, labels: Any) -> Any:
    """One step of training as `slim.learning.create_train_op` builds it: the loss after all updates."""
    import tensorflow.compat.v1 as tf

    logits = network(x)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    averages = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    if len(averages) != sum("/moving_" in variable.name for variable in tf.global_variables()):
        raise SystemExit(f"slim updates {len(averages)} moving averages, which are not all.")
    with tf.control_dependencies(averages):
        pairs = tf.train.GradientDescentOptimizer(1e-4).compute_gradients(loss)
    with tf.control_dependencies(descend(pairs)):
        return tf.identity(loss)


def descend(pairs: list[tuple[Any, Any]]) -> list[Any]:
    """Gradient descent as the optimiser of TensorFlow 1 writes it, in either side's graph: networks are compared.

    A variable is changed when all have read it. An update that starts earlier copies the variable first, and whether
    one does is up to the order in which the executor happens to come upon two operators that are both ready.

    Args:
        pairs: gradients, and the variables of TensorFlow that they are of.

    Returns:
        The operators of the updates.
    """
    import tensorflow as tf

    graph = tf.compat.v1.get_default_graph()
    reads: dict[int, list[Any]] = {}
    for operator in graph.get_operations():
        if operator.type == "ReadVariableOp":
            reads.setdefault(id(operator.inputs[0]), []).append(operator)
    updates = []
    for gradient, variable in pairs:
        handle = variable.handle
        inside = graph.capture(handle) if hasattr(graph, "capture") else handle  # a graph of TensorFlow 1 holds it
        with tf.control_dependencies(users(reads[id(inside)])):
            updates.append(tf.raw_ops.ResourceApplyGradientDescent(var=handle, alpha=1e-4, delta=gradient))
    return updates


def users(operators: list[Any]) -> list[Any]:
    """The operators that compute with outputs of others; those that only rename or reshape are looked through."""
    found = []
    for operator in operators:
        for user in (user for output in operator.outputs for user in output.consumers()):
            same_buffer = user.type in ("Identity", "Reshape", "Squeeze", "ExpandDims")
            found += users([user]) if same_buffer else [user]
    return found


def wrapped(build: Callable[..., Any], inputs: list[Any], weights: dict[str, Any]) -> Call:
    """slim's graph as a function of TensorFlow 2, with our weights."""
    import tensorflow as tf

    signature = [tf.TensorSpec(value.shape, value.dtype) for value in inputs]
    graph = tf.compat.v1.wrap_function(build, signature)
    for variable in graph.variables:
        # Where ours is a matrix product, slim's kernel is a convolution of one cell with the same numbers.
        variable.assign(weights[variable.name.removesuffix(":0")].reshape(variable.shape))
    # Python's part of a call is the same then as for ours.
    function = tf.function(lambda *values: graph(*values)).get_concrete_function(*inputs)
    return lambda: function(*inputs).numpy()


def in_session(build: Callable[..., Any], inputs: list[Any], weights: dict[str, Any]) -> Call:
    """slim's graph in a session of TensorFlow 1, with our weights."""
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default():
        holders = [tf.placeholder(value.dtype, value.shape) for value in inputs]
        result = build(*holders)
        threads = tf.ConfigProto(intra_op_parallelism_threads=2, inter_op_parallelism_threads=1)
        session = tf.Session(config=threads)
        for variable in tf.global_variables():
            variable.load(weights[variable.op.name].reshape(variable.shape), session)
        # A callable is what a session runs with the least of Python.
        run = session.make_callable(result, holders)
    arrays = [value.numpy() for value in inputs]
    return lambda: run(*arrays)


def our_inference(model: Any, x: Any) -> Call:
    import tensorflow as tf

    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(x)
    return lambda: function(x).numpy()


def our_step(model: Any, x: Any, labels: Any) -> Call:
    import keras
    import tensorflow as tf

    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function
    def step(x: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = cross_entropy(labels, model(x, training=True))
        descend(list(zip(tape.gradient(loss, variables), variables, strict=True)))
        return loss

    function = step.get_concrete_function(x, labels)
    return lambda: function(x, labels).numpy()


def timed_in_turns(sides: list[Call], seconds: float, clock: Callable[[], float]) -> list[float]:
    """Seconds of each side's quickest call of seven turns at least, more while `seconds` last."""
    for call in sides:
        call()
    times: list[list[float]] = [[] for _ in sides]
    end = time.perf_counter() + seconds
    while len(times[0]) < 7 or time.perf_counter() < end:
        order = range(len(sides)) if len(times[0]) % 2 else range(len(sides) - 1, -1, -1)
        for which in order:
            sides[which]()
            start = clock()
            sides[which]()
            times[which].append(clock() - start)
    return [min(each) for each in times]


def measure(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """One network in this process."""
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from modelzoo import networks

    clock = time.process_time if arguments.cpu else time.perf_counter
    pair = PAIRS[name]
    channels = networks.NETWORKS[pair.ours].channels
    options = {} if pair.width is None else {"width": pair.width}
    model = networks.build(pair.ours, input_shape=(pair.size, pair.size, channels), **options)
    names = {variable.path: variable for variable in model.variables}
    weights = {ours: np.asarray(names[path]) for path, ours in model.variable_names.items() if path in names}
    classes = model.output.shape[-1]
    rng = np.random.default_rng(0)
    x = tf.constant(rng.uniform(-1, 1, (pair.batch, *model.input.shape[1:])).astype(np.float32))
    labels = tf.constant(rng.integers(0, classes, pair.batch), tf.int64)
    run = in_session if arguments.session else wrapped
    sides = [
        our_inference(model, x),
        run(lambda x: slim_network(pair, classes, arguments.slim, False)(x), [x], weights),
    ]
    ours, theirs = (call().reshape(pair.batch, classes) for call in sides)
    result = {"difference": float(np.abs(ours - theirs).max() / theirs.std())}
    a, b = timed_in_turns(sides, arguments.seconds, clock)
    result |= {"rate": pair.batch / a, "original_rate": pair.batch / b, "inference": b / a}
    del sides
    half = pair.batch // 2
    sides = [
        our_step(model, x[:half], labels[:half]),
        run(
            lambda x, labels: slim_step(slim_network(pair, classes, arguments.slim, True), x, labels),
            [x[:half], labels[:half]],
            weights,
        ),
    ]
    a, b = timed_in_turns(sides, arguments.seconds, clock)
    return result | {"step_rate": half / a, "original_step_rate": half / b, "training": b / a}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NETWORK", help=f"of {', '.join(PAIRS)}; default: all")
    parser.add_argument("--slim", required=True, metavar="FOLDER", help="holds slim's package nets")
    parser.add_argument("--session", action="store_true", help="slim's graphs in sessions of TensorFlow 1")
    parser.add_argument("--cpu", action="store_true", help="seconds of the processors, where others load the machine")
    parser.add_argument("--seconds", type=float, default=10.0, help="for the turns of one figure (default: 10)")
    parser.add_argument("--processes", type=int, default=3, help="for each network (default: 3)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.names[0], arguments)))
        return
    print("| network | logits differ by | images/s | slim's | ratio | training, images/s | slim's | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in arguments.names or PAIRS:
        words = [sys.executable, __file__, "--child", "--slim", arguments.slim, "--seconds", str(arguments.seconds)]
        words += [f"--{switch}" for switch in ("session", "cpu") if getattr(arguments, switch)] + [name]
        # Nothing that one network left in memory or in caches of kernels costs the next.
        rows = []
        for _ in range(arguments.processes):
            done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[1])
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr}")
            rows.append(json.loads(done.stdout.splitlines()[-1]))
        median = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        ratio = {
            key: f"{median[key]:.2f} ({min(row[key] for row in rows):.2f}-{max(row[key] for row in rows):.2f})"
            for key in ("inference", "training")
        }
        print(
            f"| {name} | {median['difference']:.0e} | {median['rate']:.1f} | {median['original_rate']:.1f} | "
            f"{ratio['inference']} | {median['step_rate']:.1f} | {median['original_step_rate']:.1f} | "
            f"{ratio['training']} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
