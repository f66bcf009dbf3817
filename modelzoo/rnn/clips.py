"""What a model over sequences says about whole clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import UsageError
from modelzoo.finetune.over_time import LENGTHS, STEPS
from modelzoo.finetune.pictures import check_pictures
from modelzoo.rnn.frames import read_clip

if TYPE_CHECKING:
    import numpy as np

__all__ = ["clip_logits"]


def clip_logits(model: Any, clips: Sequence[str | Path], *, batch_size: int = 8) -> np.ndarray:
    """Logits of clips of any length: the mean over the windows of the model's length that lie one behind the other.

    Args:
        model: of `load_pretrained` or `load_folder`, fine-tuned on clips; its `preprocess` prepares the frames.
        clips: folders of frames.
        batch_size: windows that are computed together.

    Returns:
        (clips, classes) float32. What is left behind the last whole window counts where the model is masked.

    Raises:
        UsageError: the model takes no clips, a folder has no frames, or fewer than a window that is not masked.
        ImageError: a frame is no picture.
    """
    import numpy as np

    names = [tensor.name for tensor in model.inputs]
    if set(names) not in ({STEPS}, {STEPS, LENGTHS}) or getattr(model, "preprocess", None) is None:
        raise UsageError(
            "The model takes no clips.",
            received=", ".join(names),
            hint="one of `modelzoo finetune NAME CLIPS --head rnn`, with its preprocessing",
        )
    masked = LENGTHS in names
    size = int(model.inputs[names.index(STEPS)].shape[1])
    windows: list[tuple[int, tuple[Path, ...]]] = []
    for number, clip in enumerate(clips):
        frames = read_clip(clip)
        if len(frames) < size and not masked:
            raise UsageError(
                f"A clip is shorter than the {size} frames that the model was trained on.",
                received=f"{clip}: {len(frames)} frames",
            )
        last = len(frames) if masked else len(frames) - size + 1
        windows += [(number, frames[start : start + size]) for start in range(0, last, size)]
    check_pictures([path for _, frames in windows for path in frames], "A frame")
    total: Any = None
    counts = np.zeros((len(clips), 1), np.float32)
    for start in range(0, len(windows), batch_size):
        some = windows[start : start + batch_size]
        steps = np.stack([_padded(model.preprocess(list(frames)), size) for _, frames in some])
        lengths = np.asarray([len(frames) for _, frames in some], np.int32)
        found = np.asarray(model({STEPS: steps, LENGTHS: lengths} if masked else steps, training=False), np.float32)
        if total is None:
            total = np.zeros((len(clips), found.shape[1]), np.float32)
        for (number, _), row in zip(some, found, strict=True):
            total[number] += row
            counts[number] += 1
    return total / counts if total is not None else np.zeros((0, int(model.outputs[0].shape[-1])), np.float32)


def _padded(steps: np.ndarray, size: int) -> np.ndarray:
    """As a batch of training is padded: the last step again."""
    import numpy as np

    return np.concatenate([steps, np.repeat(steps[-1:], size - len(steps), axis=0)]) if len(steps) < size else steps
