"""`restore`: the arrays of a weight file into a Keras model of somebody's own, with a report of what went where."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from modelzoo.errors import ArrayError, UsageError, WeightsMismatchError
from modelzoo.networks.name_rules import Rename, exclusion, renaming

if TYPE_CHECKING:
    import keras
    import numpy as np

    from modelzoo.networks.model_weights import ModelWeight

__all__ = ["Mismatch", "RestoreReport", "restore"]

_log = logging.getLogger("modelzoo")


class Mismatch(NamedTuple):
    """A weight whose array is of another shape or type.

    Attributes:
        name: of the weight in the model.
        file_shape: of the array in the file.
        model_shape: of the weight.
        source: the array's name in the file.
        reason: what else is wrong, where the shapes agree; else empty.
    """

    name: str
    file_shape: tuple[int, ...]
    model_shape: tuple[int, ...]
    source: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name}: file {self.file_shape}, model {self.model_shape}" + (
            f" ({self.reason})" if self.reason else ""
        )


@dataclass(frozen=True)
class RestoreReport:
    """What `restore` did; `str(report)` is a table.

    Attributes:
        checkpoint: what was read.
        matched: weight of the model -> array of the file that it has now.
        missing: weights of the model that the file does not give.
        unexpected: arrays of the file that no weight wants.
        mismatched: weights whose arrays are of another shape: (name, file_shape, model_shape, ...).
        excluded: names, of weights and of arrays, that `exclude` or `rename` left out.
        ignored: arrays that are no weights: optimiser slots, `global_step`, metrics.
        averaged: weights that were given their moving average.
    """

    checkpoint: str
    matched: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[Mismatch, ...] = ()
    excluded: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    averaged: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether model and file agreed on everything that was not excluded."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        head = f"{self.checkpoint}: {len(self.matched)} restored, {len(self.missing)} missing, " + (
            f"{len(self.unexpected)} unexpected, {len(self.mismatched)} of another shape, "
            f"{len(self.excluded)} excluded, {len(self.ignored)} ignored"
        )
        rows = [("restored", name, source) for name, source in self.matched.items()]
        rows += [("other shape", one.name, f"{one.source} {_rest(one)}") for one in self.mismatched]
        rows += [("missing", name, "") for name in self.missing]
        rows += [("unexpected", "", name) for name in self.unexpected]
        rows += [("excluded", "", name) for name in self.excluded]
        if not rows:
            return head
        header = ("", "model", "file")
        widths = [max(len(row[n]) for row in [header, *rows]) for n in range(2)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in [header, *rows]]
        return "\n".join([head, *lines])


def _rest(one: Mismatch) -> str:
    return one.reason or f"{one.file_shape}, model {one.model_shape}"


def restore(
    model: keras.Model,
    checkpoint: str | PathLike[str] | Mapping[str, np.ndarray],
    *,
    rename: Rename | None = None,
    exclude: str | Iterable[str] = (),
    strict: bool = True,
    by: str = "name",
    layout: str | None = None,
) -> RestoreReport:
    """Put the arrays of a weight file into a model of your own.

    Names are matched as every framework writes them: `conv1/kernel` (Keras 3), `conv1/conv1/kernel:0` (Keras 2),
    `conv1/conv1_W:0` (Keras 1), `vgg_16/conv1/weights` and `.../BatchNorm/moving_mean` (slim), `conv1/weights`
    (caffe-tensorflow), `conv1/0` (Caffe), `layers/dense/vars/0` (Keras 3's own files) and
    `model/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE` (TensorFlow's object-based checkpoints). Scopes in
    front that only one side has do not matter where what is left is unique. Optimiser slots and `global_step` are
    passed over; where there is a moving average, it is taken. Everything is checked, and read, before the first
    weight changes.

    Args:
        model: a built model; it is changed in place.
        checkpoint: the path of anything that `modelzoo.checkpoints.open_checkpoint` reads, or a mapping from names
            to arrays.
        rename: from names in the file to names in the model: a dictionary (whole names, or scopes: `"softmax": "out"`
            renames all below `softmax/`), a list of (regular expression, replacement) applied one after the other,
            or a function; None as a new name leaves the array out.
        exclude: what is neither restored nor missed: beginnings of names, or regular expressions found anywhere in
            them; of the file's names or the model's.
        strict: whether everything has to agree; False restores what does.
        by: `"name"`, or `"order"`: the first weight gets the first array, whatever they are called.
        layout: `"tf"`: arrays are as TensorFlow has them; `"caffe"`: (out, in, height, width) of convolutions and
            (out, in) of dense layers are turned; None: as the file's format has them. A dense layer behind a
            flattened map needs its inputs reordered too, which is the caller's: Caffe flattens (C, H, W), Keras
            (H, W, C).

    Returns:
        The report.

    Raises:
        WeightsMismatchError: with `strict`, and names or shapes disagree; all are listed and nothing was assigned.
        CheckpointError: the file cannot be read; nothing was assigned.
        UsageError: arguments that make no sense, or a model without weights.
        ArrayError: a mapping holds something that is no array.
    """
    from modelzoo.networks.matching import by_name, by_order, take_arrays

    _check(model, by, layout)
    renamed = renaming(rename)
    excluded = exclusion(exclude)
    with _opened(checkpoint) as arrays:
        shown = getattr(getattr(arrays, "path", None), "name", "arrays")
        taken = take_arrays(arrays, renamed)
        caffe = (layout or getattr(arrays, "format", "")) in ("caffe", "caffemodel")
        if by == "name":
            pairs, left = by_name(model, taken, caffe=caffe)
        else:
            pairs, left = by_order(model, taken, lambda name: not excluded(name))
        plan = _Plan(arrays, caffe=caffe)
        out = list(taken.dropped)
        for weight, name in pairs:
            if excluded(weight.name) or excluded(weight.path) or excluded(name):
                out += [weight.name, taken.sources[name]]
            else:
                plan.add(weight, name, taken.sources[name])
        paired = {id(weight.variable) for weight, _ in pairs}
        missing = []
        for weight in _weights(model):
            if id(weight.variable) in paired:
                continue
            if excluded(weight.name) or excluded(weight.path):
                out.append(weight.name)
            else:
                missing.append(weight.name)
        unexpected = [taken.sources[name] for name in left if not excluded(name)]
        out += [taken.sources[name] for name in left if excluded(name)]
        if by == "order":
            out += [source for name, source in taken.sources.items() if excluded(name)]
        report = RestoreReport(
            checkpoint=shown,
            matched=MappingProxyType({weight.name: source for weight, source, _ in plan.steps}),
            missing=tuple(missing),
            unexpected=tuple(unexpected),
            mismatched=tuple(plan.mismatched),
            excluded=tuple(dict.fromkeys(out)),
            ignored=taken.ignored,
            averaged=tuple(plan.averaged),
        )
        if strict and not report.complete:
            raise _refusal(model, report, plan)
        plan.carry_out()
    _log.info("%s: %d weights restored from %s", model.name, len(report.matched), shown)
    return report


def _check(model: Any, by: str, layout: str | None) -> None:
    import keras

    if not isinstance(model, keras.Model):
        raise UsageError("restore takes a Keras model.", received=type(model).__name__)
    if by not in ("name", "order"):
        raise UsageError("by is 'name' or 'order'.", received=repr(by))
    if layout not in (None, "tf", "caffe"):
        raise UsageError("layout is 'tf', 'caffe' or None.", received=repr(layout))
    if not model.weights:
        raise UsageError(
            f"The model {model.name!r} has no weights yet.",
            received=type(model).__name__,
            hint="call it once on an input, or model.build(input_shape), then restore",
        )


def _weights(model: Any) -> list[ModelWeight]:
    from modelzoo.networks.model_weights import model_weights

    return model_weights(model)


def _opened(checkpoint: Any) -> Any:
    """The checkpoint as a context manager; a mapping stays open."""
    if isinstance(checkpoint, Mapping):
        import numpy as np

        if hasattr(checkpoint, "entries"):
            return nullcontext(checkpoint)
        arrays = {}
        for name, array in checkpoint.items():
            try:
                arrays[str(name)] = np.asarray(array)
            except Exception as error:  # whatever an array-like object may raise
                raise ArrayError(f"{name!r} is no array.", received=type(array).__name__) from error
            if arrays[str(name)].dtype.kind in "OSUMm":
                raise ArrayError(f"{name!r} is no array of numbers.", received=type(array).__name__)
        return nullcontext(arrays)
    if not isinstance(checkpoint, (str, PathLike)) or not str(checkpoint):
        raise UsageError(
            "checkpoint is the path of a weight file, or a mapping from names to arrays.", received=repr(checkpoint)
        )
    from pathlib import Path

    from modelzoo.checkpoints import open_checkpoint

    return open_checkpoint(Path(checkpoint).expanduser())


# -- the plan ---------------------------------------------------------------------------------------------------------


class _Plan:
    """What will be assigned: checked by shapes first, read whole, then carried out."""

    def __init__(self, arrays: Mapping[str, Any], *, caffe: bool) -> None:
        self._arrays = arrays
        self._entries = getattr(arrays, "entries", None)
        self._caffe = caffe
        self.steps: list[tuple[ModelWeight, str, tuple[int, ...] | None]] = []
        self.mismatched: list[Mismatch] = []
        self.averaged: list[str] = []

    def add(self, weight: ModelWeight, name: str, source: str) -> None:
        """Take a pair in, or note why it cannot be."""
        if self._entries is not None:
            shape, dtype = tuple(self._entries[source].shape), self._entries[source].dtype
        else:
            shape, dtype = tuple(self._arrays[source].shape), self._arrays[source].dtype.name
        from modelzoo.networks.weights import covers_map

        turn: tuple[int, ...] | None = None
        fits = shape == weight.shape or covers_map(shape, weight.shape)
        if self._caffe and weight.shape:
            from modelzoo.networks.caffe_layout import blob_shape

            turn = blob_shape(weight, shape)
            fits = turn is not None
        if not fits:
            self.mismatched.append(Mismatch(weight.name, shape, weight.shape, source))
        elif not _can_hold(weight.variable.dtype, dtype):
            reason = f"{dtype} in the file, {weight.variable.dtype} in the model"
            self.mismatched.append(Mismatch(weight.name, shape, weight.shape, source, reason))
        else:
            self.steps.append((weight, source, turn))
            if source != name:
                self.averaged.append(weight.name)

    def carry_out(self) -> None:
        """Read every array, so that damage shows before a weight changes; then assign them."""
        read = [self._read(weight, source, turn) for weight, source, turn in self.steps]
        for (weight, _, _), array in zip(self.steps, read, strict=True):
            assign(weight.variable, array)

    def _read(self, weight: ModelWeight, source: str, turn: tuple[int, ...] | None) -> np.ndarray:
        import numpy as np

        array = np.asarray(self._arrays[source])
        if turn is None:
            return array.reshape(weight.shape)
        from modelzoo.networks.caffe_layout import turned_blob

        return turned_blob(weight, array, turn)


def assign(variable: keras.Variable, array: np.ndarray) -> None:
    """Give a variable a copy of an array of its shape."""
    from modelzoo.networks.weights import FromArray

    value: Any = variable.value
    value.assign(FromArray(array)(variable.shape, value.dtype), read_value=False)


def _can_hold(wanted: str, found: str) -> bool:
    """Whether numbers of a file's type may become those of a variable: never a fraction in whole numbers."""
    import numpy as np

    if wanted == found or (wanted.startswith(("float", "bfloat")) and found.startswith(("float", "bfloat"))):
        return True
    try:
        return bool(np.can_cast(np.dtype(found), np.dtype(wanted), "same_kind"))
    except TypeError:
        return False


def _refusal(model: Any, report: RestoreReport, plan: _Plan) -> WeightsMismatchError:
    return WeightsMismatchError(
        f"{report.checkpoint} does not fit the model {model.name!r}: {len(report.missing)} missing, "
        f"{len(report.mismatched)} of another shape, {len(report.unexpected)} unknown to it; nothing was assigned.",
        missing=report.missing,
        unexpected=report.unexpected,
        mismatched=[str(one) for one in report.mismatched],
        hint="exclude=(...) leaves names out, rename={...} says what a scope is called in the model, strict=False "
        "restores what fits, by='order' goes by the order of the layers",
    )
