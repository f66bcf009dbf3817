"""A folder with one folder of pictures a class: read, split, and given out in an order that a seed decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import ImageError, UsageError
from modelzoo.features.extract import PICTURES

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Batches", "ClassFolder", "check_pictures", "epoch_order"]


@dataclass(frozen=True)
class ClassFolder:
    """Pictures and their classes.

    Attributes:
        paths: of the pictures, by class and name.
        labels: index of the class of each picture.
        names: of the classes: the folders' names, in alphabetical order.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @classmethod
    def read(cls, folder: str | Path, *, check: bool = True) -> ClassFolder:
        """Read `folder/CLASS/**/picture`.

        Args:
            folder: with one folder a class; hidden files and folders are passed over.
            check: open the head of every picture, so that a file that is none is found before any work.

        Raises:
            UsageError: there is no such folder, fewer than two classes, a class without pictures, or pictures that
                lie beside the classes' folders.
            ImageError: a file is no picture.
        """
        root = Path(folder).expanduser()
        if not root.is_dir():
            raise UsageError("There is no such folder.", received=str(folder), hint="FOLDER holds a folder a class")
        inside = sorted(path for path in root.iterdir() if not path.name.startswith("."))
        classes = [path for path in inside if path.is_dir()]
        loose = [path for path in inside if path.is_file() and path.suffix.lower() in PICTURES]
        if loose:
            raise UsageError(
                f"{len(loose)} pictures lie beside the classes' folders, so their class is not known.",
                received=loose[0].name,
                hint="move them into the folder of their class",
            )
        if len(classes) < 2:
            raise UsageError(
                "A classifier needs two classes or more: a folder of pictures for each.",
                received=f"{root}: {len(classes)} folders",
                hint="FOLDER/cat/1.jpg FOLDER/dog/1.jpg",
            )
        paths: list[Path] = []
        labels: list[int] = []
        for label, one in enumerate(classes):
            found = sorted(
                p for p in one.rglob("*") if p.suffix.lower() in PICTURES and p.is_file() and not p.name.startswith(".")
            )
            if not found:
                raise UsageError(
                    f"The class {one.name!r} has no picture.",
                    received=str(one),
                    hint=f"pictures end in {' '.join(sorted(PICTURES))}",
                )
            paths += found
            labels += [label] * len(found)
        if check:
            check_pictures(paths)
        return cls(tuple(paths), tuple(labels), tuple(path.name for path in classes))

    def split(self, share: float, seed: int) -> tuple[ClassFolder, ClassFolder]:
        """(training, validation): the same share of every class, at least one picture of it on either side.

        Args:
            share: of the pictures that are validated with, in (0, 1).
            seed: of the choice; the same seed chooses the same pictures.

        Raises:
            UsageError: a share out of range, or a class with one picture only.
        """
        import numpy as np

        if not 0 < share < 1:
            raise UsageError("The share of validation pictures lies between 0 and 1.", received=share)
        counts = np.bincount(self.labels, minlength=len(self.names))
        if counts.min() < 2:
            few = self.names[int(counts.argmin())]
            raise UsageError(f"The class {few!r} has one picture, which cannot be both trained and validated with.")
        generator = np.random.default_rng([seed, 0x5911])
        held: set[int] = set()
        for label in range(len(self.names)):
            mine = np.flatnonzero(np.asarray(self.labels) == label)
            number = min(len(mine) - 1, max(1, round(share * len(mine))))
            held.update(generator.permutation(mine)[:number].tolist())
        return self.take([n for n in range(len(self)) if n not in held]), self.take(sorted(held))

    def take(self, indices: Sequence[int]) -> ClassFolder:
        """Some of the pictures; the classes stay."""
        return ClassFolder(tuple(self.paths[n] for n in indices), tuple(self.labels[n] for n in indices), self.names)


def check_pictures(paths: Sequence[Path], what: str = "A file in the folder") -> None:
    """Raise ImageError for the first file that is no picture; only heads are read. `what` the file is, for messages."""
    from PIL import Image

    for path in paths:
        try:
            with Image.open(path) as image:
                image.verify()
        except Exception as error:  # Pillow's plugins raise whatever their format makes of bad bytes
            raise ImageError(
                f"{what} is no picture that can be read.",
                received=f"{path}: {error}",
                hint="mend or remove it; nothing has been computed yet",
            ) from error


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of examples in an epoch: the same for the same numbers, whatever ran before."""
    import numpy as np

    return np.random.default_rng([seed, epoch]).permutation(count)


class Batches:
    """Examples in shuffled batches for Keras' `fit`; an epoch's order depends on seed and epoch alone.

    Args:
        count: how many examples there are.
        fetch: indices -> (inputs, targets) as arrays with a batch axis.
        batch_size: examples in a batch; the last one of an epoch may be smaller.
        seed: of the order.

    Set `epoch` before an epoch begins (`callback` does).
    """

    def __init__(self, count: int, fetch: Callable[[Sequence[int]], tuple[Any, Any]], batch_size: int, seed: int):
        self.count, self.fetch, self.batch_size, self.seed = count, fetch, batch_size, seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        order = epoch_order(self.count, self.seed, self.epoch)
        for start in range(0, self.count, self.batch_size):
            yield self.fetch(order[start : start + self.batch_size].tolist())

    def dataset(self) -> Any:
        """A tf.data.Dataset of one epoch, the next batch made while one is computed."""
        import tensorflow as tf

        x, y = self.fetch([0])
        spec = tuple(tf.TensorSpec((None, *item.shape[1:]), item.dtype) for item in (x, y))
        data = tf.data.Dataset.from_generator(lambda: iter(self), output_signature=spec).prefetch(1)
        return data.apply(tf.data.experimental.assert_cardinality(len(self)))

    def callback(self) -> Any:
        """Tells the batches which epoch begins."""
        from modelzoo.finetune.hooks import Hooks

        return Hooks(before_epoch=lambda epoch, _: setattr(self, "epoch", epoch))
