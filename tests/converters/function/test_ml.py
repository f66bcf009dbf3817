"""ai.onnx.ml agrees with onnxruntime on random models, eagerly and traced with an open batch size."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, helper

from converters.function import load
from converters.function.values import as_numpy
from modelzoo.errors import InvalidGraphError


def node_model(operator: str, x: np.ndarray, outputs: str, *, version: int = 3, **attributes: Any) -> onnx.ModelProto:
    """A model of one ai.onnx.ml node; `outputs` has the kind of each output: f(loat), i(nt64) or s(tring)."""
    code = TensorProto.STRING if x.dtype == object else helper.np_dtype_to_tensor_dtype(x.dtype)
    given = helper.make_tensor_value_info("x", code, [None, *x.shape[1:]])
    codes = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "s": TensorProto.STRING, "d": TensorProto.DOUBLE}
    made = [helper.make_tensor_value_info(f"y{i}", codes[kind], None) for i, kind in enumerate(outputs)]
    names = [item.name for item in made]
    node = helper.make_node(operator, ["x"], names, name="node", domain="ai.onnx.ml", **attributes)
    versions = [helper.make_opsetid("ai.onnx.ml", version), helper.make_opsetid("", 17)]
    return helper.make_model(helper.make_graph([node], "g", [given], made), opset_imports=versions, ir_version=8)


def by_runtime(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def both_ways(model: onnx.ModelProto, x: np.ndarray) -> list[list[np.ndarray]]:
    """The outputs of the function called eagerly, and of its trace with an open batch size."""
    function = load(model)
    tensor = tf.constant(x.tolist() if x.dtype == object else x)
    traced = tf.function(
        lambda t: function({"x": t}), input_signature=[tf.TensorSpec([None, *x.shape[1:]], tensor.dtype)]
    )
    return [
        [as_numpy(result[name]) for name in function.output_names] for result in (function({"x": x}), traced(tensor))
    ]


def agrees(operator: str, x: np.ndarray, outputs: str, *, rtol: float = 1e-5, atol: float = 1e-6, **kw: Any) -> None:
    model = node_model(operator, x, outputs, **kw)
    expected = by_runtime(model, x)
    for computed in both_ways(model, x):
        for wanted, got in zip(expected, computed, strict=True):
            assert got.shape == wanted.shape
            if wanted.dtype.kind in "OUS":
                assert got.tolist() == wanted.tolist()
            else:
                assert got.dtype == wanted.dtype
                np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)


def random_trees(rng: np.random.Generator, *, trees: int, depth: int, features: int, mode: str) -> dict[str, list[Any]]:
    """Node attributes of random trees, and their leaves as "leaves": (tree, node) pairs."""
    children_of = ["truenodeids", "falsenodeids"]
    others = ["treeids", "nodeids", "modes", "featureids", "values", "missing_value_tracks_true"]
    made: dict[str, list[Any]] = {f"nodes_{name}": [] for name in (*others, *children_of)}
    made["leaves"] = []
    for tree in range(trees):
        levels, number = {0: 0}, 0
        pending = [0]
        while pending:
            node = pending.pop(0)
            ends = levels[node] == depth or (levels[node] > 0 and rng.random() < 0.2)
            children = (0, 0) if ends else (number + 1, number + 2)
            if ends:
                made["leaves"].append((tree, node))
            else:
                number += 2
                levels.update(dict.fromkeys(children, levels[node] + 1))
                pending.extend(children)
            chosen = rng.choice(["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"]) if mode == "mixed" else mode
            made["nodes_treeids"].append(tree)
            made["nodes_nodeids"].append(node)
            made["nodes_modes"].append("LEAF" if ends else str(chosen))
            made["nodes_featureids"].append(0 if ends else int(rng.integers(features)))
            made["nodes_values"].append(0.0 if ends else float(np.float32(rng.integers(-3, 4) / 4)))
            made["nodes_truenodeids"].append(children[0])
            made["nodes_falsenodeids"].append(children[1])
            made["nodes_missing_value_tracks_true"].append(0 if ends else int(rng.integers(2)))
    return made


def samples(rng: np.random.Generator, rows: int = 17, features: int = 4) -> np.ndarray:
    """Random features, of which some stand exactly on a threshold and some are missing."""
    x = np.round(rng.normal(size=(rows, features)) * 4).astype(np.float32) / 4
    x[0, 0] = np.nan
    return x


def leaf_weights(trees: dict[str, list[Any]], prefix: str, ids: list[int], weights: np.ndarray) -> dict[str, list[Any]]:
    """For each leaf one weight for each of the ids."""
    leaves = trees.pop("leaves")
    return {
        f"{prefix}_treeids": [tree for tree, _ in leaves for _ in ids],
        f"{prefix}_nodeids": [node for _, node in leaves for _ in ids],
        f"{prefix}_ids": ids * len(leaves),
        f"{prefix}_weights": weights[: len(leaves) * len(ids)].astype(np.float32).tolist(),
    }


@pytest.mark.parametrize(("aggregate", "targets"), [("SUM", 1), ("AVERAGE", 1), ("SUM", 3), ("MIN", 3), ("MAX", 1)])
def test_a_regressor_of_trees_agrees(aggregate: str, targets: int) -> None:
    rng = np.random.default_rng(targets)
    trees = random_trees(rng, trees=7, depth=5, features=4, mode="mixed")
    weights = leaf_weights(trees, "target", list(range(targets)), rng.normal(size=2000))
    base = rng.normal(size=targets).astype(np.float32).tolist()
    extra = {"n_targets": targets, "aggregate_function": aggregate, "base_values": base}
    agrees("TreeEnsembleRegressor", samples(rng), "f", **trees, **weights, **extra)


def test_a_tree_deeper_than_what_is_written_out_agrees() -> None:
    rng = np.random.default_rng(3)
    depth = 40
    numbers = list(range(2 * depth + 1))
    inner = [n for n in numbers if n % 2 == 0 and n < 2 * depth]
    trees = {
        "nodes_treeids": [0] * len(numbers),
        "nodes_nodeids": numbers,
        "nodes_modes": ["BRANCH_LEQ" if n in inner else "LEAF" for n in numbers],
        "nodes_featureids": [n % 4 if n in inner else 0 for n in numbers],
        "nodes_values": [float(np.float32(-n / 20)) if n in inner else 0.0 for n in numbers],
        "nodes_truenodeids": [n + 2 if n in inner else 0 for n in numbers],
        "nodes_falsenodeids": [n + 1 if n in inner else 0 for n in numbers],
    }
    leaves = [n for n in numbers if n not in inner]
    x = np.concatenate([samples(rng), np.linspace(-9, 1, 30, dtype=np.float32)[:, None].repeat(4, 1)])
    agrees(
        "TreeEnsembleRegressor",
        x,
        "f",
        n_targets=1,
        target_treeids=[0] * len(leaves),
        target_nodeids=leaves,
        target_ids=[0] * len(leaves),
        target_weights=rng.normal(size=len(leaves)).tolist(),
        **trees,
    )


@pytest.mark.parametrize(
    ("transform", "strings"),
    [("NONE", True), ("SOFTMAX", False), ("LOGISTIC", False), ("SOFTMAX_ZERO", False)],
)
def test_a_classifier_of_trees_agrees_on_three_classes(transform: str, strings: bool) -> None:
    rng = np.random.default_rng(5)
    trees = random_trees(rng, trees=6, depth=4, features=4, mode="BRANCH_LEQ")
    weights = leaf_weights(trees, "class", [0, 1, 2], rng.normal(size=2000))
    labels = {"classlabels_strings": ["a", "b", "ç"]} if strings else {"classlabels_int64s": [7, -2, 5]}
    extra = {"post_transform": transform, "base_values": [0.5, -0.25, 0.0]}
    agrees("TreeEnsembleClassifier", samples(rng), "sf" if strings else "if", **trees, **weights, **labels, **extra)


@pytest.mark.parametrize(
    ("transform", "positive", "base"),
    [
        ("NONE", True, []),
        ("NONE", False, []),
        ("LOGISTIC", False, []),
        ("LOGISTIC", False, [0.125]),
        ("NONE", False, [0.3]),
    ],
)
def test_a_classifier_of_trees_agrees_on_two_classes_with_one_weight(
    transform: str, positive: bool, base: list[float]
) -> None:
    rng = np.random.default_rng(6)
    trees = random_trees(rng, trees=5, depth=4, features=4, mode="BRANCH_LT")
    drawn = rng.random(size=2000) / 5 if positive else rng.normal(size=2000)
    weights = leaf_weights(trees, "class", [0], drawn)
    extra = {"base_values": base} if base else {}
    agrees(
        "TreeEnsembleClassifier",
        samples(rng),
        "if",
        post_transform=transform,
        classlabels_int64s=[3, 9],
        **trees,
        **weights,
        **extra,
    )


@pytest.mark.parametrize(
    ("targets", "transform"), [(1, "NONE"), (3, "NONE"), (3, "SOFTMAX"), (3, "LOGISTIC"), (3, "SOFTMAX_ZERO")]
)
def test_a_linear_regressor_agrees(targets: int, transform: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 5)).astype(np.float32)
    coefficients = rng.normal(size=5 * targets).astype(np.float32).tolist()
    intercepts = rng.normal(size=targets).astype(np.float32).tolist()
    extra = {"coefficients": coefficients, "intercepts": intercepts, "targets": targets}
    agrees("LinearRegressor", x, "f", post_transform=transform, **extra)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX"])
def test_a_linear_classifier_agrees(transform: str) -> None:
    rng = np.random.default_rng(1)
    coefficients = rng.normal(size=15).astype(np.float32).tolist()
    intercepts = rng.normal(size=3).astype(np.float32).tolist()
    for x in (rng.normal(size=(9, 5)).astype(np.float32), rng.integers(-3, 4, size=(9, 5))):
        agrees(
            "LinearClassifier",
            x,
            "sf",
            coefficients=coefficients,
            intercepts=intercepts,
            classlabels_strings=["x", "y", "z"],
            post_transform=transform,
        )


def test_a_single_score_is_transformed_as_onnx_says() -> None:
    # onnxruntime leaves a single score as it is, for every transform but PROBIT.
    x = np.array([[0.25], [-1.5]], np.float32)
    extra = {"coefficients": [1.0], "intercepts": [0.5], "targets": 1}
    for transform, expected in {
        "LOGISTIC": 1 / (1 + np.exp(-(x + 0.5))),
        "SOFTMAX": np.ones_like(x),
    }.items():
        for (made,) in both_ways(node_model("LinearRegressor", x, "f", post_transform=transform, **extra), x):
            np.testing.assert_allclose(made, expected, rtol=1e-6)
    # PROBIT is the inverse of the normal distribution: 0.975 is at 1.959964 standard deviations.
    chance = np.array([[0.475]], np.float32)
    for (made,) in both_ways(node_model("LinearRegressor", chance, "f", post_transform="PROBIT", **extra), chance):
        np.testing.assert_allclose(made, [[1.959964]], rtol=1e-5)


def test_a_linear_classifier_with_one_score_for_two_classes_agrees() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(9, 5)).astype(np.float32)
    coefficients = rng.normal(size=5).astype(np.float32).tolist()
    agrees("LinearClassifier", x, "if", coefficients=coefficients, intercepts=[0.25], classlabels_ints=[4, 8])


@pytest.mark.parametrize(
    ("kernel", "classes", "chances"),
    [("LINEAR", 2, False), ("POLY", 4, False), ("RBF", 4, True), ("SIGMOID", 2, True)],
)
def test_a_support_vector_classifier_agrees(kernel: str, classes: int, chances: bool) -> None:
    rng = np.random.default_rng(classes)
    sizes = [3, 2, 4, 1][:classes]
    pairs = classes * (classes - 1) // 2

    def drawn(count: int) -> list[float]:
        return rng.normal(size=count).astype(np.float32).tolist()

    extra = {"prob_a": (-np.abs(drawn(pairs))).tolist(), "prob_b": drawn(pairs)} if chances else {}
    agrees(
        "SVMClassifier",
        rng.normal(size=(11, 3)).astype(np.float32),
        "if",
        rtol=1e-4,
        atol=1e-5,
        kernel_type=kernel,
        kernel_params=[0.3, 0.5, 3.0],
        support_vectors=drawn(3 * sum(sizes)),
        vectors_per_class=sizes,
        coefficients=drawn((classes - 1) * sum(sizes)),
        rho=drawn(pairs),
        classlabels_ints=[5, 6, 7, 8][:classes],
        **extra,
    )


@pytest.mark.parametrize(("kernel", "one_class"), [("LINEAR", 0), ("POLY", 0), ("RBF", 1), ("SIGMOID", 0)])
def test_a_support_vector_regressor_agrees(kernel: str, one_class: int) -> None:
    rng = np.random.default_rng(4)
    agrees(
        "SVMRegressor",
        rng.normal(size=(11, 3)).astype(np.float32),
        "f",
        rtol=1e-4,
        atol=1e-5,
        kernel_type=kernel,
        kernel_params=[0.3, 0.5, 2.0],
        support_vectors=rng.normal(size=15).astype(np.float32).tolist(),
        n_supports=5,
        coefficients=rng.normal(size=5).astype(np.float32).tolist(),
        rho=[0.2],
        one_class=one_class,
    )


def test_features_are_prepared_as_onnxruntime_does() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(6, 3)).astype(np.float32)
    agrees("Scaler", x, "f", offset=[0.5, 1.0, -1.0], scale=[2.0, 3.0, 0.1])
    agrees("Scaler", rng.integers(-5, 5, size=(6, 3)), "f", offset=[0.5], scale=[2.0])
    for norm in ("MAX", "L1", "L2"):
        agrees("Normalizer", np.abs(x), "f", norm=norm)
    agrees("Normalizer", x, "f", norm="MAX")
    agrees("Normalizer", x, "f", norm="L1")
    agrees("Binarizer", x, "f", threshold=0.25)
    holed = np.where(rng.random(size=x.shape) < 0.3, np.float32("nan"), x)
    missing = float("nan")
    agrees("Imputer", holed, "f", imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=missing)
    agrees("Imputer", rng.integers(-1, 2, size=(6, 3)), "i", imputed_value_int64s=[9], replaced_value_int64=-1)


def test_a_vector_of_zeros_is_normalised_to_itself() -> None:
    x = np.zeros((2, 3), np.float32)
    for norm in ("MAX", "L1", "L2"):
        for (computed,) in both_ways(node_model("Normalizer", x, "f", norm=norm), x):
            np.testing.assert_array_equal(computed, x)


WORDS = np.array([["a", "bb"], ["ç", "none"], ["", "a"]], dtype=object)
NUMBERS = np.array([[1, 5], [-7, 2], [5, 1]], np.int64)
FLOATS = np.array([[1, np.nan], [np.inf, -0.0], [2.5, 3]], np.float32)


@pytest.mark.parametrize(
    ("x", "kind", "keys"),
    [
        (WORDS, "strings", ["a", "ç", "", "q"]),
        (NUMBERS, "int64s", [1, -7, 2, 9]),
        (FLOATS, "floats", [1.0, float("nan"), 2.5, 0.0]),
    ],
)
def test_labels_are_encoded_as_onnxruntime_does(x: np.ndarray, kind: str, keys: list[Any]) -> None:
    attributes = {f"keys_{kind}": keys}
    agrees("LabelEncoder", x, "i", version=4, values_int64s=[3, 4, 5, 6], default_int64=-3, **attributes)
    agrees("LabelEncoder", x, "s", version=4, values_strings=["u", "v", "ü", ""], default_string="?", **attributes)
    if kind != "int64s":
        agrees("LabelEncoder", x, "f", version=4, values_floats=[0.5, 1.5, 2.5, 3.5], default_float=9.0, **attributes)


def test_the_last_of_equal_keys_counts() -> None:
    model = node_model("LabelEncoder", NUMBERS, "i", version=4, keys_int64s=[1, 5, 1], values_int64s=[10, 20, 30])
    for (computed,) in both_ways(model, NUMBERS):
        assert computed.tolist() == [[30, 20], [-1, -1], [20, 30]]


def test_categories_are_mapped_as_onnxruntime_does() -> None:
    pairs = {"cats_strings": ["a", "ç", "bb"], "cats_int64s": [1, 5, -7]}
    agrees("CategoryMapper", WORDS, "i", default_int64=-9, **pairs)
    agrees("CategoryMapper", NUMBERS, "s", default_string="?", **pairs)
    agrees("OneHotEncoder", WORDS, "f", cats_strings=["a", "", "bb"])
    agrees("OneHotEncoder", NUMBERS, "f", cats_int64s=[5, 1, 0])
    agrees("LabelEncoder", WORDS, "i", version=1, classes_strings=["a", "", "bb"], default_int64=-4)
    agrees("LabelEncoder", np.abs(NUMBERS), "s", version=1, classes_strings=["a", "b", "c"], default_string="?")


def test_a_category_that_is_none_fails_where_zeros_are_forbidden() -> None:
    model = node_model("OneHotEncoder", NUMBERS, "f", cats_int64s=[5, 1], zeros=0)
    with pytest.raises(Exception, match="none of the categories"):
        load(model)({"x": NUMBERS})


def test_maps_go_to_tensors_and_back() -> None:
    x = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    zipped = load(node_model("ZipMap", x, "f", classlabels_strings=["no", "yes"]))({"x": x})["y0"]
    assert zipped == [{"no": 0.25, "yes": 0.75}, {"no": 1.0, "yes": 0.0}]
    vectors = load(_map_model("DictVectorizer", TensorProto.STRING, string_vocabulary=["yes", "never", "no"]))
    assert as_numpy(vectors({"x": zipped[0]})["y0"]).tolist() == [[0.75, 0.0, 0.25]]
    cast = load(_map_model("CastMap", TensorProto.INT64, map_form="SPARSE", max_map=4, cast_to="TO_INT64"))
    assert as_numpy(cast({"x": {2: 7.5, 0: 1.0}})["y0"]).tolist() == [[1, 0, 7, 0]]
    dense = load(_map_model("CastMap", TensorProto.INT64, cast_to="TO_FLOAT"))
    assert as_numpy(dense({"x": {9: "2.5", 0: "1"}})["y0"]).tolist() == [[1.0, 2.5]]


def _map_model(operator: str, key: int, **attributes: Any) -> onnx.ModelProto:
    kind = helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    node = helper.make_node(operator, ["x"], ["y0"], name="node", domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph([node], "g", [helper.make_value_info("x", kind)], [onnx.ValueInfoProto(name="y0")])
    versions = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def test_a_model_that_ends_in_maps_loads_and_gives_them() -> None:
    x = np.array([[0.5], [-2.0]], np.float32)
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "scores"],
            domain="ai.onnx.ml",
            coefficients=[1.0, -1.0],
            intercepts=[0.0, 0.25],
            classlabels_ints=[3, 4],
            post_transform="SOFTMAX",
        ),
        helper.make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[3, 4]),
    ]
    value = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_value_info("maps", helper.make_sequence_type_proto(value)),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])]
    versions = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 17)]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs), opset_imports=versions, ir_version=8)
    labels, maps = by_runtime(model, x)
    made = load(model)({"x": x})
    assert as_numpy(made["label"]).tolist() == labels.tolist()
    for got, wanted in zip(made["maps"], maps, strict=True):
        assert got.keys() == wanted.keys()
        assert [float(got[key]) for key in wanted] == pytest.approx(list(wanted.values()), rel=1e-6)


def test_features_are_picked_and_joined() -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    node = helper.make_node("ArrayFeatureExtractor", ["x", "i"], ["picked"], domain="ai.onnx.ml")
    joined = helper.make_node("FeatureVectorizer", ["picked", "x"], ["y"], domain="ai.onnx.ml", inputdimensions=[2, 3])
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])
    held = [onnx.numpy_helper.from_array(np.array([3, 0]), "i")]
    graph = helper.make_graph([node, joined], "g", [info], [onnx.ValueInfoProto(name="y")], held)
    versions = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=8)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None]))
    (expected,) = by_runtime(model, x)
    for (made,) in both_ways(model, x):
        np.testing.assert_array_equal(made, expected)


def test_two_classes_with_two_base_values_take_that_of_the_class_that_is_weighed() -> None:
    rng = np.random.default_rng(8)
    x = samples(rng)
    trees = random_trees(rng, trees=3, depth=3, features=4, mode="BRANCH_LEQ")
    weights = leaf_weights(trees, "class", [0], rng.normal(size=500))
    extra = {"classlabels_int64s": [3, 9], "post_transform": "LOGISTIC"}
    one = node_model("TreeEnsembleClassifier", x, "if", base_values=[0.5], **trees, **weights, **extra)
    two = node_model("TreeEnsembleClassifier", x, "if", base_values=[0.5, 7.0], **trees, **weights, **extra)
    for computed, same in zip(both_ways(two, x), both_ways(one, x), strict=True):
        np.testing.assert_array_equal(computed[0], same[0])
        np.testing.assert_array_equal(computed[1], same[1])


def test_a_tree_whose_nodes_are_missing_is_named() -> None:
    rng = np.random.default_rng(9)
    trees = random_trees(rng, trees=1, depth=2, features=4, mode="BRANCH_LEQ")
    weights = leaf_weights(trees, "target", [0], rng.normal(size=50))
    trees["nodes_truenodeids"][0] = 99
    model = node_model("TreeEnsembleRegressor", samples(rng), "f", n_targets=1, **trees, **weights)
    with pytest.raises(InvalidGraphError, match="nodes_truenodeids name nodes that do not exist"):
        load(model)({"x": samples(rng)})
