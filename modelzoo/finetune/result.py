"""A fine-tuned model as a folder: a card (base card, tap, head) and safetensors; its place in the registry."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import DiskError, UsageError
from modelzoo.finetune.checkpoint import write_arrays

if TYPE_CHECKING:
    from modelzoo.finetune.training import FineTuner

__all__ = ["CARD", "NETWORK", "WEIGHTS", "check_name", "check_output", "register", "write_result"]

CARD = "card.json"
"""The registry file in the folder: one card, whose files are named by file: URLs."""

WEIGHTS = "model.safetensors"

NETWORK = "finetuned"
"""What the card's `build.network` says."""

_NAME = re.compile(r"([a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*")


def check_name(name: str) -> str:
    """A name that a card may have.

    Raises:
        UsageError: it is none.
    """
    if not _NAME.fullmatch(name) or len(name) > 200:
        raise UsageError(
            "A model's name is of small letters, digits, '.', '_' and '-', with one 'namespace/' in front.",
            received=name,
            hint="for example me/my_model",
        )
    return name


def check_output(folder: str | Path) -> Path:
    """A folder that can be written: one that is not there yet, empty, or an earlier run's.

    Raises:
        UsageError: it is a file, or holds something else.
        DiskError: it cannot be made.
    """
    path = Path(folder).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise UsageError("The result is a folder, and a file lies there.", received=str(folder))
    if path.is_dir():
        others = [item.name for item in path.iterdir() if item.name not in (CARD, WEIGHTS, "training", "report.html")]
        ours = (path / CARD).exists() or (path / "training").exists()
        if others and not ours:
            raise UsageError(
                "The folder for the result holds something else.",
                received=f"{folder}: {others[0]}",
                hint="choose another -o",
            )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"The folder cannot be made: {error.strerror or error}.", received=str(folder)) from error
    if not os.access(path, os.W_OK):
        raise DiskError("The folder may not be written.", received=str(folder))
    return path


def write_result(
    tuner: FineTuner,
    folder: str | Path,
    name: str,
    *,
    classes: Sequence[str],
    title: str | None = None,
    base_files: Sequence[Path] = (),
    metrics: Mapping[str, float] | None = None,
    protocol: str | None = None,
) -> Path:
    """Write weights and card.

    Args:
        tuner: trained; its backbone has a card.
        folder: of the result.
        name: of the card.
        classes: their names, in the order of the logits.
        title: what a person calls it.
        base_files: files of the user's own that the network was built of (`weights=PATH`) and that a converter needs
            to build it again; they are copied beside the weights.
        metrics: {"top1": percent} and others, for the card.
        protocol: how they were measured.

    Returns:
        The path of the card.

    Raises:
        UsageError: the backbone has no card, so nobody could build the network again.
        DiskError: the folder cannot be written.
    """
    import numpy as np

    from modelzoo.networks.model_weights import model_weights

    check_name(name)
    out = check_output(folder)
    base = tuner.backbone.card
    if base is None:
        raise UsageError(
            "The backbone has no card, so a card of the result could not say how it is built.",
            hint="keep the model itself: tuner.model.save('NAME.keras')",
        )
    arrays = {weight.name: np.asarray(weight.variable) for weight in model_weights(tuner.model)}
    write_arrays(out / WEIGHTS, arrays, {"format": "keras"})
    files = [_file(out / WEIGHTS, "weights")]
    for path in base_files:
        target = out / path.name
        if not (target.exists() and target.samefile(path)):
            shutil.copyfile(path, target)
        files.append(_file(target, "graph"))
    mean = getattr(tuner.backbone.preprocess, "mean_image", None)
    if mean is not None:
        np.save(out / "mean.npy", mean)
        files.append(_file(out / "mean.npy", "mean"))
    card = _card(tuner, files, classes, title, [path.name for path in base_files], metrics, protocol)
    text = json.dumps({"schema_version": 1, "models": {name: card}}, indent=1, ensure_ascii=False) + "\n"
    beside = out / f".{CARD}.{os.getpid()}.part"
    beside.write_text(text, encoding="utf-8")
    beside.replace(out / CARD)
    return out / CARD


def register(card: str | Path) -> None:
    """Put a result's card among the user's registries, so that `load_pretrained(name)` finds it.

    Raises:
        DiskError: the list of registries cannot be written.
    """
    from modelzoo.registry import configured

    configured.add(str(card))


def _card(
    tuner: FineTuner,
    files: list[dict[str, Any]],
    classes: Sequence[str],
    title: str | None,
    base_files: list[str],
    metrics: Mapping[str, float] | None,
    protocol: str | None,
) -> dict[str, Any]:
    backbone = tuner.backbone
    base = backbone.card
    raw = base.as_dict()
    shape = tuple(backbone.network.inputs[0].shape[1:])
    (tap,) = backbone.taps
    steps = getattr(tuner, "steps", None)
    sequence = {} if steps is None else {"sequence": {"steps": steps, "masked": bool(getattr(tuner, "masked", False))}}
    card: dict[str, Any] = {
        "title": title or f"{base.title}, fine-tuned",
        "task": "classification" if steps is None else "sequence_classification",
        "framework": base.framework,
        "format": "safetensors",
        "licence": base.licence,
        "licence_note": f"made from the weights of {base.name}",
        "files": files,
        "build": {
            "network": NETWORK,
            "args": {
                "base": {"name": base.name, "card": raw, "input_shape": list(shape), "files": base_files},
                "tap": tap,
                "pooling": backbone.pooling,
                "head": tuner.head.as_dict(),
                **sequence,
            },
        },
        "inputs": _inputs(raw, shape, files) if not sequence else _over_time(raw, shape, files, sequence["sequence"]),
        "outputs": [{"name": "Logits", "kind": "logits", "classes": tuner.head.classes}],
        "labels": {"names": [_line(item) for item in classes], "count": len(classes)},
        "taps": [tap, "Logits"],
        "sources": [{"note": f"fine-tuned from {base.name} by modelzoo finetune"}],
    }
    if "licence_url" in raw:
        card["licence_url"] = raw["licence_url"]
    if metrics:
        top1 = metrics.get("top1")
        others = {key: value for key, value in metrics.items() if key != "top1"}
        card["accuracy"] = {"source": "measured by modelzoo finetune", "protocol": protocol or "validation pictures"}
        card["accuracy"] |= {"top1": top1} if top1 is not None else {}
        card["accuracy"] |= {"metrics": others} if others else {}
    return card


def _inputs(raw: Mapping[str, Any], shape: tuple[int | None, ...], files: list[dict[str, Any]]) -> list[Any]:
    """The base's input with the size and the mean picture that were used."""
    inputs = json.loads(json.dumps(raw.get("inputs") or [{"name": "input", "shape": list(shape)}]))
    first = inputs[0]
    before = first.get("shape")
    if len(shape) != 3:
        return inputs
    first["shape"] = list(shape)
    how = first.get("preprocess")
    if how is None:
        return inputs
    if any(file["role"] == "mean" for file in files):
        how["mean_file"] = "mean.npy"
    old = how.get("size") or (before[:2] if before and None not in before[:2] else None)
    if None not in shape[:2] and old is not None and list(old) != list(shape[:2]):
        how["size"] = list(shape[:2])
        largest = max(int(side or 0) for side in shape[:2])
        grown = [round(side * largest / max(old)) for side in how.get("resize") or ()]
        if grown and min(how["resize"]) < largest:
            how["resize"] = grown
        if how.get("resize_side") and how["resize_side"] < largest:
            how["resize_side"] = round(how["resize_side"] * largest / max(old))
    return inputs


def _over_time(
    raw: Mapping[str, Any], shape: tuple[int | None, ...], files: list[dict[str, Any]], sequence: Mapping[str, Any]
) -> list[Any]:
    """The inputs of a model over sequences: steps that are prepared as the base's input is, and their number."""
    from modelzoo.finetune.over_time import LENGTHS, STEPS

    first = _inputs(raw, shape, files)[0]
    how = first.get("preprocess")
    if how is not None and len(shape) == 3 and None not in shape[:2]:
        how.setdefault("size", list(shape[:2]))  # the card's shape begins with the steps now
    first |= {"name": STEPS, "shape": [sequence["steps"], *shape]}
    lengths = {"name": LENGTHS, "shape": [], "dtype": "int32"}
    return [first, lengths] if sequence["masked"] else [first]


def _file(path: Path, role: str) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "name": path.name,
        "role": role,
        "urls": [{"url": path.as_uri()}],
        "size": path.stat().st_size,
        "digests": {"sha256": digest},
    }


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
