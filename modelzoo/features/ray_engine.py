"""The engine of a cluster: Ray Data over actors that each hold the model; the same frames as the engine of one process.

A batch is one row: its number and its paths go to an actor, its frame comes back, in whatever order. Actors and tasks
that die are started again by Ray; a batch that is computed twice is written once. The pictures must be readable under
their paths on every machine of the cluster.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import MissingExtraError, ModelzooError, UsageError

if TYPE_CHECKING:
    from modelzoo.features.extractor import FeatureExtractor

__all__ = ["frames_by_ray", "need_ray"]

_MOST_BLOCKS = 10_000


def need_ray() -> Any:
    """The package `ray` with `ray.data`.

    Raises:
        MissingExtraError: it is not installed.
    """
    import importlib

    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError as error:
        raise MissingExtraError("ray", "ray[data]", "The engine 'ray'") from error
    return ray


class _Worker:
    """What an actor does: one model for all the batches that it is given."""

    def __init__(self, extractor: Any, folder: str | None) -> None:
        import ray  # type: ignore[import-not-found, import-untyped, unused-ignore]

        if folder is not None:
            os.chdir(folder)  # relative paths mean what they mean where the work was ordered
        self._extractor: FeatureExtractor = ray.get(extractor)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        from modelzoo.features.compute import computed
        from modelzoo.features.decoding import prepare_batch
        from modelzoo.features.journal import as_frame

        paths = [Path(os.fsdecode(path)) for path in row["paths"]]
        prepared = prepare_batch(self._extractor.preprocess, paths, row["number"], row["first"])
        return {"frame": as_frame(computed(self._extractor, prepared))}


def frames_by_ray(
    extractor: FeatureExtractor,
    paths: Sequence[Path],
    batch_size: int,
    numbers: Sequence[int],
    *,
    address: str | None = None,
    workers: int | None = None,
) -> Iterator[bytes]:
    """The batches `numbers` of `paths`, as they become ready.

    Args:
        extractor: it is sent to each actor as a `.keras` archive.
        paths: all pictures.
        batch_size: pictures a batch.
        numbers: of the batches.
        address: of the cluster; `auto` finds a running one; None: what is connected, else one on this machine.
        workers: actors; None = one a GPU, or one a machine where there is none.
    """
    if workers is not None and workers < 1:
        raise UsageError("workers is a positive whole number.", received=repr(workers))
    ray = need_ray()
    folder = str(Path.cwd()) if any(not path.is_absolute() for path in paths) else None
    with _connected(ray, address):
        gpus = int(ray.cluster_resources().get("GPU", 0))
        size = min(workers or gpus or sum(node["Alive"] for node in ray.nodes()), len(numbers))
        rows = [
            {
                "number": number,
                "first": number * batch_size,
                "paths": [os.fsencode(path) for path in paths[number * batch_size : (number + 1) * batch_size]],
            }
            for number in numbers
        ]
        data = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS))
        data.context.enable_progress_bars = False
        computed = data.map(
            _Worker,
            fn_constructor_args=(ray.put(extractor), folder),
            compute=ray.data.ActorPoolStrategy(size=size),
            num_gpus=1 if gpus else None,
        )
        try:
            for row in computed.iter_rows():
                yield row["frame"]
        except Exception as error:
            raise _ours(error) from error


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """A cluster; one that is begun here ends here."""
    if ray.is_initialized():
        yield
        return
    options = {} if address else {"include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **options)
    except (ConnectionError, ValueError) as error:
        raise UsageError(
            f"There is no Ray cluster to connect to: {str(error).splitlines()[0]}",
            received=address,
            hint="start one with `ray start --head`, or leave --address out to use this machine alone",
        ) from error
    logger = logging.getLogger("ray.data")  # tells of each step of its plan
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        ray.shutdown()


def _ours(error: Exception) -> Exception:
    """The error that an actor met, where it is one of ours."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        if isinstance(current, ModelzooError):
            return current
        seen.add(id(current))
        current = getattr(current, "cause", None) or current.__cause__
    return error
