"""ai.onnx.ml: ensembles of decision trees, all samples and trees at once.

A step takes every sample in every tree from a node to one of its children, (N, T); leaves lead to themselves, so as
many steps as the deepest tree has levels end everywhere in a leaf. Nothing loops over nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.lookup import positions_in
from converters.function.ml_scores import labelled, transformed, two_classes, with_rows
from converters.function.table import Tensor, op

__all__: list[str] = []

_ML = "ai.onnx.ml"

_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF")
_LEAF = _MODES.index("LEAF")
_MEMBER = _MODES.index("BRANCH_MEMBER")
_COMPARISONS = (tf.less_equal, tf.less, tf.greater_equal, tf.greater, tf.equal, tf.not_equal)

_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")

#: Up to this many levels the steps are written out.
_WRITTEN_OUT = 32


@dataclass(frozen=True)
class _Forest:
    """Trees as tables over their nodes.

    Attributes:
        modes, features, splits, on_true, on_false, missing_true: of each node; a leaf is its own child.
        roots: the first node of each tree.
        leaf_targets, leaf_weights: (nodes, W): what a leaf adds to which targets; -1 where it adds no more.
        members: (node, value) pairs for which a membership test holds, as positions; see `_is_member`.
    """

    modes: np.ndarray
    features: np.ndarray
    splits: np.ndarray
    on_true: np.ndarray
    on_false: np.ndarray
    missing_true: np.ndarray
    roots: np.ndarray
    leaf_targets: np.ndarray
    leaf_weights: np.ndarray
    members: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def depth(self) -> int:
        """Levels of the deepest tree."""
        levels, front = 0, np.unique(self.roots)
        while (front := front[self.modes[front] != _LEAF]).size:
            if levels > len(self.modes):
                raise ValueError("the nodes of a tree form a cycle")
            levels += 1
            front = np.unique(np.concatenate([self.on_true[front], self.on_false[front]]))
        return levels

    def leaves(self, x: tf.Tensor) -> tf.Tensor:
        """The leaf of each sample in each tree, (N, T), for x (N, F)."""
        start = tf.tile(tf.constant(self.roots[None], tf.int32), tf.stack([tf.shape(x)[0], 1]))
        depth = self.depth
        if depth > _WRITTEN_OUT:
            found = tf.while_loop(lambda _: True, lambda n: (self._step(x, n),), (start,), maximum_iterations=depth)[0]
            return tf.ensure_shape(found, start.shape)
        for _ in range(depth):
            start = self._step(x, start)
        return start

    def _step(self, x: tf.Tensor, nodes: tf.Tensor) -> tf.Tensor:
        features, on_true, on_false = tf.unstack(tf.gather(self._steps, nodes), axis=-1)
        values = tf.gather(x, features, batch_dims=1)
        splits = tf.cast(tf.gather(self.splits, nodes), x.dtype)
        kinds = np.unique(self.modes)
        modes = tf.gather(self.modes, nodes) if (kinds != _LEAF).sum() > 1 else None
        holds: Any = None
        for kind in kinds[kinds != _LEAF]:
            made = self._is_member(values, nodes) if kind == _MEMBER else _COMPARISONS[kind](values, splits)
            holds = made if holds is None else tf.where(modes == kind, made, holds)
        if holds is None:
            return nodes
        if self.missing_true.any():
            holds |= tf.math.is_nan(values) & tf.gather(self.missing_true, nodes)
        return tf.where(holds, on_true, on_false)

    @cached_property
    def _steps(self) -> np.ndarray:
        """Feature and children of each node in one table, (nodes, 3), so that one gather finds them."""
        return np.stack([self.features, self.on_true, self.on_false], 1).astype(np.int32)

    def _is_member(self, values: tf.Tensor, nodes: tf.Tensor) -> tf.Tensor:
        assert self.members is not None
        listed, pairs = self.members
        place = positions_in(values, listed)
        return (place >= 0) & (positions_in(tf.cast(nodes, tf.int64) * len(listed) + place, pairs) >= 0)

    def totals(self, x: tf.Tensor, count: int, aggregate: str) -> tf.Tensor:
        """The aggregated weights for each target, (N, count); 0 for one that no leaf speaks of."""
        leaves = self.leaves(x)
        kind = tf.float64 if tf.float64 in (x.dtype, tf.as_dtype(self.leaf_weights.dtype)) else tf.float32
        weights = tf.cast(tf.gather(self.leaf_weights, leaves), kind)
        if count == 1 and aggregate in ("SUM", "AVERAGE"):
            made = tf.reduce_sum(weights, (1, 2))[:, None]
        else:
            batch = tf.shape(leaves, out_type=tf.int64)[0]
            targets = tf.gather(self.leaf_targets, leaves)
            cells = tf.where(targets < 0, targets, targets + (tf.range(batch) * count)[:, None, None])
            reduce = {"MIN": tf.math.unsorted_segment_min, "MAX": tf.math.unsorted_segment_max}.get(
                aggregate, tf.math.unsorted_segment_sum
            )
            flat = reduce(weights, cells, batch * count)
            if aggregate in ("MIN", "MAX"):
                met = tf.math.unsorted_segment_sum(tf.ones_like(weights), cells, batch * count) > 0
                flat = tf.where(met, flat, tf.zeros((), kind))
            made = tf.reshape(flat, tf.stack([batch, count]))
        made = tf.ensure_shape(made, [x.shape[0], count])
        return made / len(self.roots) if aggregate == "AVERAGE" else made


def _leaf_tables(nodes: np.ndarray, targets: Any, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Tables (count, W) of the targets and weights of each node, in the order given, W the most that one has."""
    order = np.argsort(nodes, kind="stable")
    ordered = nodes[order]
    column = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    width = int(column.max(initial=0)) + 1
    found_targets = np.full((count, width), -1, np.int64)
    found_weights = np.zeros((count, width), weights.dtype)
    found_targets[ordered, column] = np.asarray(targets, np.int64)[order]
    found_weights[ordered, column] = weights[order]
    return found_targets, found_weights


def _by_names(
    nodes: dict[str, Any], treeids: Any, nodeids: Any, targets: Any, weights: np.ndarray, splits: np.ndarray
) -> _Forest:
    """A forest whose nodes are named by (tree, node) numbers, as before TreeEnsemble."""
    trees, names = np.asarray(nodes["treeids"], np.int64), np.asarray(nodes["nodeids"], np.int64)
    stride = int(names.max(initial=0)) + 1
    codes = trees * stride + names
    order = np.argsort(codes, kind="stable")

    def index(tree: Any, node: Any, what: str) -> np.ndarray:
        wanted = np.asarray(tree, np.int64) * stride + np.asarray(node, np.int64)
        place = np.minimum(np.searchsorted(codes[order], wanted), len(codes) - 1)
        if (codes[order][place] != wanted).any():
            raise ValueError(f"{what} name nodes that do not exist")
        return order[place].astype(np.int64)

    kinds, inverse = np.unique(np.asarray(nodes["modes"], dtype=str), return_inverse=True)
    unknown = set(kinds.tolist()) - set(_MODES)
    if unknown:
        raise ValueError(f"unknown modes {sorted(unknown)}; known: {', '.join(_MODES)}")
    modes = np.array([_MODES.index(kind) for kind in kinds.tolist()], np.int64)[inverse]
    inner, own = modes != _LEAF, np.arange(len(modes), dtype=np.int64)
    on_true, on_false = own.copy(), own.copy()
    for children, names_ in ((on_true, "truenodeids"), (on_false, "falsenodeids")):
        children[inner] = index(trees[inner], np.asarray(nodes[names_], np.int64)[inner], f"nodes_{names_}")
    is_child = np.zeros(len(modes), bool)
    is_child[on_true[inner]] = is_child[on_false[inner]] = True
    _, firsts = np.unique(trees[~is_child], return_index=True)
    roots = own[~is_child][np.sort(firsts)]
    missing = np.zeros(len(modes), bool)
    given = np.asarray(nodes["missing_value_tracks_true"] or [], bool)
    missing[: len(given)] = given
    leaf_targets, leaf_weights = _leaf_tables(index(treeids, nodeids, "leaves"), targets, weights, len(modes))
    features = np.asarray(nodes["featureids"], np.int64) * inner
    return _Forest(modes, features, splits, on_true, on_false, missing, roots, leaf_targets, leaf_weights)


def _numbers(plain: list[float] | None, tensor: np.ndarray | None) -> np.ndarray:
    return np.array(plain or [], np.float32) if tensor is None else np.ravel(tensor)


@op("TreeEnsembleRegressor", domain=_ML)
def tree_ensemble_regressor(
    x: Tensor,
    *,
    aggregate_function: str = "SUM",
    base_values: list[float] | None = None,
    base_values_as_tensor: np.ndarray | None = None,
    n_targets: int = 1,
    nodes_falsenodeids: list[int],
    nodes_featureids: list[int],
    nodes_hitrates: list[float] | None = None,
    nodes_hitrates_as_tensor: np.ndarray | None = None,
    nodes_missing_value_tracks_true: list[int] | None = None,
    nodes_modes: list[str],
    nodes_nodeids: list[int],
    nodes_treeids: list[int],
    nodes_truenodeids: list[int],
    nodes_values: list[float] | None = None,
    nodes_values_as_tensor: np.ndarray | None = None,
    post_transform: str = "NONE",
    target_ids: list[int],
    target_nodeids: list[int],
    target_treeids: list[int],
    target_weights: list[float] | None = None,
    target_weights_as_tensor: np.ndarray | None = None,
) -> Tensor:
    nodes = {
        "treeids": nodes_treeids,
        "nodeids": nodes_nodeids,
        "modes": nodes_modes,
        "truenodeids": nodes_truenodeids,
        "falsenodeids": nodes_falsenodeids,
        "featureids": nodes_featureids,
        "missing_value_tracks_true": nodes_missing_value_tracks_true,
    }
    weights = _numbers(target_weights, target_weights_as_tensor)
    splits = _numbers(nodes_values, nodes_values_as_tensor)
    forest = _by_names(nodes, target_treeids, target_nodeids, target_ids, weights, splits)
    made = forest.totals(with_rows(x), n_targets, aggregate_function)
    made = _with_base(made, _numbers(base_values, base_values_as_tensor))
    return tf.cast(transformed(made, post_transform), tf.float32)


def _with_base(scores: tf.Tensor, base: np.ndarray) -> tf.Tensor:
    if base.size == 0:
        return scores
    if base.size not in (1, scores.shape[-1]):
        raise ValueError(f"{base.size} base values for {scores.shape[-1]} scores")
    return scores + tf.cast(base, scores.dtype)


@op("TreeEnsembleClassifier", domain=_ML)
def tree_ensemble_classifier(
    x: Tensor,
    *,
    base_values: list[float] | None = None,
    base_values_as_tensor: np.ndarray | None = None,
    class_ids: list[int],
    class_nodeids: list[int],
    class_treeids: list[int],
    class_weights: list[float] | None = None,
    class_weights_as_tensor: np.ndarray | None = None,
    classlabels_int64s: list[int] | None = None,
    classlabels_strings: list[str] | None = None,
    nodes_falsenodeids: list[int],
    nodes_featureids: list[int],
    nodes_hitrates: list[float] | None = None,
    nodes_hitrates_as_tensor: np.ndarray | None = None,
    nodes_missing_value_tracks_true: list[int] | None = None,
    nodes_modes: list[str],
    nodes_nodeids: list[int],
    nodes_treeids: list[int],
    nodes_truenodeids: list[int],
    nodes_values: list[float] | None = None,
    nodes_values_as_tensor: np.ndarray | None = None,
    post_transform: str = "NONE",
) -> tuple[Tensor, Tensor]:
    nodes = {
        "treeids": nodes_treeids,
        "nodeids": nodes_nodeids,
        "modes": nodes_modes,
        "truenodeids": nodes_truenodeids,
        "falsenodeids": nodes_falsenodeids,
        "featureids": nodes_featureids,
        "missing_value_tracks_true": nodes_missing_value_tracks_true,
    }
    weights = _numbers(class_weights, class_weights_as_tensor)
    splits = _numbers(nodes_values, nodes_values_as_tensor)
    base = _numbers(base_values, base_values_as_tensor)
    classes = len(classlabels_strings or classlabels_int64s or [])
    if classes == 2 and len(set(class_ids)) == 1:
        # Only the second class is spoken of. Weights without a negative one are its chances, else 0 is the border.
        forest = _by_names(nodes, class_treeids, class_nodeids, [0] * len(class_ids), weights, splits)
        own = base[class_ids[0] :][:1] if base.size == 2 else base
        score = _with_base(forest.totals(with_rows(x), 1, "SUM"), own)
        signed = bool((weights < 0).any()) or post_transform not in ("NONE", "PROBIT")
        index = tf.cast(score[:, 0] > (0.0 if signed else 0.5), tf.int64)
        made = two_classes(score, post_transform, signed=signed)
    else:
        forest = _by_names(nodes, class_treeids, class_nodeids, class_ids, weights, splits)
        score = _with_base(forest.totals(with_rows(x), classes, "SUM"), base)
        index = tf.argmax(score, -1)
        made = transformed(score, post_transform)
    return labelled(index, classlabels_int64s, classlabels_strings), tf.cast(made, tf.float32)


@op("TreeEnsemble", domain=_ML, since=5)
def tree_ensemble(
    x: Tensor,
    *,
    aggregate_function: int = 1,
    leaf_targetids: list[int],
    leaf_weights: np.ndarray,
    membership_values: np.ndarray | None = None,
    n_targets: int | None = None,
    nodes_falseleafs: list[int],
    nodes_falsenodeids: list[int],
    nodes_featureids: list[int],
    nodes_hitrates: np.ndarray | None = None,
    nodes_missing_value_tracks_true: list[int] | None = None,
    nodes_modes: np.ndarray,
    nodes_splits: np.ndarray,
    nodes_trueleafs: list[int],
    nodes_truenodeids: list[int],
    post_transform: int = 0,
    tree_roots: list[int],
) -> Tensor:
    inner, leaves = len(nodes_truenodeids), len(leaf_targetids)

    def children(names: list[int], leafs: list[int]) -> np.ndarray:
        # Leaves are numbered behind the inner nodes, and each is its own child.
        own = np.asarray(names, np.int64) + inner * np.asarray(leafs, np.int64)
        return np.concatenate([own, np.arange(inner, inner + leaves)])

    def filled(values: Any, last: Any, kind: Any) -> np.ndarray:
        return np.concatenate([np.asarray(values, kind), np.full(leaves, last, kind)])

    wide = np.float64 if x.dtype == tf.float64 else np.float32
    modes = filled(nodes_modes, _LEAF, np.int64)
    missing = np.zeros(inner, bool) if nodes_missing_value_tracks_true is None else nodes_missing_value_tracks_true
    numbers = np.arange(inner, inner + leaves)
    targets, weights = _leaf_tables(numbers, leaf_targetids, np.asarray(leaf_weights, wide), inner + leaves)
    forest = _Forest(
        modes,
        filled(nodes_featureids, 0, np.int64),
        filled(nodes_splits, 0, wide),
        children(nodes_truenodeids, nodes_trueleafs),
        children(nodes_falsenodeids, nodes_falseleafs),
        filled(missing, False, bool),
        np.asarray(tree_roots, np.int64),
        targets,
        weights,
        _memberships(modes, membership_values),
    )
    count = n_targets or max(leaf_targetids) + 1
    made = forest.totals(with_rows(x), count, _AGGREGATES[aggregate_function])
    return tf.cast(transformed(made, _TRANSFORMS[post_transform]), x.dtype)


def _memberships(modes: np.ndarray, values: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The values of all sets, and for each member `node * number of values + position` of its value.

    Raises:
        ValueError: there are more or fewer sets than nodes that test for one.
    """
    nodes = np.flatnonzero(modes == _MEMBER)
    if nodes.size == 0:
        return None
    given = np.ravel(values).astype(np.float64) if values is not None else np.array([])
    ends = np.isnan(given)
    # NaN ends a set; the last one may lack it.
    owner = np.cumsum(ends) - ends
    if owner.max(initial=-1) + 1 != nodes.size:
        raise ValueError(f"{owner.max(initial=-1) + 1} sets for {nodes.size} membership tests")
    listed, place = np.unique(given[~ends], return_inverse=True)
    return listed, nodes[owner[~ends]] * len(listed) + place
