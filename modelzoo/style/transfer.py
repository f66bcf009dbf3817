"""`StyleTransfer`: a backbone, what counts how much, and `run`, which optimises the pixels of one picture."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import DiskError, UsageError, nearest
from modelzoo.style.checkpoint import Saved, load_run, save_run
from modelzoo.style.colour import COLOURS, chroma, luminance, match_colours, match_luminance, with_chroma
from modelzoo.style.interrupts import interrupt_between_steps
from modelzoo.style.network import TapNetwork, open_network
from modelzoo.style.objective import Objective, Weights
from modelzoo.style.optimizers import OPTIMIZERS
from modelzoo.style.pictures import (
    checked_blend,
    enlarged,
    fitted,
    initial_picture,
    read_picture,
    scaled_size,
    sizes_of_levels,
)
from modelzoo.style.taps import style_taps as default_taps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

_log = logging.getLogger("modelzoo")

__all__ = ["LAYER_WEIGHTS", "RATES", "StyleTransfer"]

LAYER_WEIGHTS = ("auto", "published")
"""`auto`: each loss relative to its target. `published`: the formulas of the paper, whose layers differ in size."""

RATES = {"adam": 10.0, "lbfgs": 2.0}
"""Optimiser -> the learning rate that is used where none is given, in grey levels."""

POOLINGS = ("auto", "own", "avg", "max")

_TapShares = Sequence[str] | Mapping[str, float] | str | None


class StyleTransfer:
    """Style transfer on the taps of any pretrained network.

    Args:
        backbone: a model of `load_pretrained`, or a functional Keras model, feature extractor, `Backbone` or name.
        content_taps: where content is compared: names, or {name: share}; None: see `modelzoo.style.taps.style_taps`.
        style_taps: where style is compared, likewise.
        content_weight, style_weight, variation_weight: factors of the three parts of the loss.
        layer_weights: `auto` or `published`, see `modelzoo.style.losses`. With `auto` a weight means the same for
            every network; with `published` the useful ratio of content to style differs by orders of magnitude.
        pooling: `avg` or `max` in the place of the network's own; `own`; `auto`: averages, as the paper prefers, where
            the network has pooling over windows.
        optimizer: `lbfgs` or `adam`.
        learning_rate: of Adam, or the first step of L-BFGS, in grey levels; None: see `RATES`.
        memory: pairs of differences that L-BFGS keeps.
        size: pixels along the longer side of the result; None: as the content.
        style_size: pixels along the longer side of the styles: smaller gives finer strokes; None: as `size`. Styles are
            never enlarged.
        levels: resolutions, each twice the one before; the last is `size`.
        preserve_colours: `luminance` keeps the content's chroma, `match` recolours the styles beforehand.
        preprocess: where the backbone has none.
        **options: of `load_pretrained`, where `backbone` is a name.

    Attributes:
        network: the `TapNetwork` of all taps.
        weights: the `Weights` of the parts.
        history: of the latest run, one mapping a step: `level`, `step` (steps made before, in that level), `total`, and
            each term by its name, `content TAP`, `style TAP` and `variation`, before its weight.
        interrupted: whether the latest run was ended by Ctrl-C or `stop`.
        traces: of the latest run, how often the step was traced: once a level.

    Raises:
        UnknownTapError: a name is no tap of the network.
        UsageError: another argument makes no sense, alone or for this network.
        Whatever `load_pretrained` raises.

    Example:
        >>> transfer = StyleTransfer(modelzoo.load_pretrained("inception_v1"))  # doctest: +SKIP
        >>> picture = transfer.run("harbour.jpg", ["wave.jpg"])  # doctest: +SKIP
    """

    def __init__(
        self,
        backbone: Any,
        *,
        content_taps: _TapShares = None,
        style_taps: _TapShares = None,
        content_weight: float = 1.0,
        style_weight: float = 10.0,
        variation_weight: float = 1.0,
        layer_weights: str = "auto",
        pooling: str = "auto",
        optimizer: str = "lbfgs",
        learning_rate: float | None = None,
        memory: int = 10,
        size: int | None = 512,
        style_size: int | None = None,
        levels: int = 1,
        preserve_colours: str | None = None,
        preprocess: Any = None,
        **options: Any,
    ) -> None:
        _one_of("layer_weights", layer_weights, LAYER_WEIGHTS)
        _one_of("pooling", pooling, POOLINGS)
        _one_of("optimizer", optimizer, tuple(OPTIMIZERS))
        if preserve_colours is not None:
            _one_of("preserve_colours", preserve_colours, COLOURS)
        factors = {"content": content_weight, "style": style_weight, "variation": variation_weight}
        for part, factor in factors.items():
            _number(f"{part}_weight", factor, zero=True)
        if not content_weight and not style_weight:
            raise UsageError("Neither content nor style counts.", received="content_weight=0, style_weight=0")
        rate = RATES[optimizer] if learning_rate is None else learning_rate
        _number("learning_rate", rate)
        for what, number in {"memory": memory, "size": size, "style_size": style_size, "levels": levels}.items():
            if number is not None or what in ("memory", "levels"):
                _whole(what, number)
        network, own, card = open_network(backbone, options)
        name = card.name if card is not None else network.name
        if content_taps is None or style_taps is None:
            content, style = default_taps(network, card, name)
            content_taps = content if content_taps is None else content_taps
            style_taps = style if style_taps is None else style_taps
        shares = [_shares("content_taps", content_taps), _shares("style_taps", style_taps)]
        taps = list(dict.fromkeys([*shares[0], *shares[1]]))
        preprocess = own if preprocess is None else preprocess
        self.network = TapNetwork(network, taps, preprocess=preprocess, name=name)
        if pooling in ("avg", "max") or (pooling == "auto" and self.network.has_pooling):
            self.network.exchange_pooling("max" if pooling == "max" else "avg")
        self.weights = Weights(
            **factors, content_taps=shares[0], style_taps=shares[1], relative=layer_weights == "auto"
        )
        self.optimizer, self.learning_rate, self.memory = optimizer, float(rate), memory
        self.size, self.style_size, self.levels = size, style_size, levels
        self.preserve_colours = preserve_colours
        self.history: list[dict[str, float]] = []
        self.interrupted = False
        self.traces = 0

    def __repr__(self) -> str:
        return f"StyleTransfer({self.network.name!r}, {self.optimizer}, style={list(self.weights.style_taps)})"

    def run(
        self,
        content: Any,
        styles: Any,
        *,
        steps: int = 300,
        blend: Sequence[float] | None = None,
        init: Any = "content",
        seed: int = 0,
        every: int = 0,
        on_picture: Callable[[int, Picture], None] | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 50,
        resume: bool = False,
        progress: bool | None = False,
        stop: Callable[[], bool] | None = None,
    ) -> Picture:
        """Make a picture.

        Args:
            content: path, bytes of a file, or uint8 array (H, W, 3) RGB.
            styles: one of these, or several; sizes may differ.
            steps: of the optimiser, at each resolution.
            blend: weight of each style; None: all alike. Only their ratios count.
            init: `content`, `style`, `noise`, or a picture.
            seed: of the noise.
            every: `on_picture(steps so far, picture)` is called every so many steps; 0: never.
            on_picture: takes intermediate pictures.
            checkpoint: a `.safetensors` file that the run is put down in, when it is interrupted and every
                `checkpoint_every` steps. The same run with `resume=True` then gives the same picture as one that was
                not interrupted: to the bit, on the same processors.
            checkpoint_every: see there.
            resume: go on from `checkpoint`.
            progress: a bar on standard error; None: only on a terminal.
            stop: asked after each step whether to stop there, as Ctrl-C does.

        Returns:
            uint8 (H, W, 3) RGB. After Ctrl-C, the picture so far, and `interrupted` is True.

        Raises:
            ImageError: a file that cannot be read, or a picture that is too small for the taps.
            ArrayError: an array that is no picture.
            UsageError: another argument makes no sense, or the loss ran away.
            CheckpointFormatError: there is no checkpoint to resume from, or one of another run.

        A checkpoint that cannot be written is a warning in the log.
        """
        _whole("steps", steps)
        _whole("checkpoint_every", checkpoint_every)
        if every:
            _whole("every", every)
        if resume and checkpoint is None:
            raise UsageError("There is nothing to resume from without a checkpoint.", hint="checkpoint=PATH")
        file = None if checkpoint is None else Path(checkpoint).expanduser()
        given = styles if isinstance(styles, list | tuple) else [styles]
        if not given:
            raise UsageError("There is no style.", received="an empty list")
        shares = checked_blend(blend, len(given))
        base = read_picture(content, "content picture")
        looks = [read_picture(style, "style picture") for style in given]
        start = init if isinstance(init, str) and init in ("content", "style", "noise") else None
        first = start or read_picture(init, "initial picture")
        sides = sizes_of_levels(self.size or max(base.shape[:2]), self.levels)
        self._check_sizes(base, looks, sides)
        settings = self._settings(base, looks, first, shares, seed, steps) if file is not None else {}
        saved = load_run(file, settings) if resume and file is not None else Saved(0, 0, [], {})
        self.history, self.interrupted, self.traces = list(saved.history), False, 0
        pixels: Any = None
        done = saved.level * steps + saved.step
        with interrupt_between_steps() as asked, _bar(progress, done, steps * self.levels) as bar:
            for level in range(saved.level, self.levels):
                size = scaled_size(base, sides[level])
                scene = fitted(base, size)
                objective = self._objective(scene, self._scaled(looks, sides, level), shares)
                if pixels is None:
                    pixels = self._seen(initial_picture(first, base, looks, size, seed))
                run = OPTIMIZERS[self.optimizer](
                    objective, enlarged(pixels, size), learning_rate=self.learning_rate, memory=self.memory
                )
                begin = 0
                if saved.state and level == saved.level:
                    run.restore(saved.state)
                    begin = saved.step
                for step in range(begin, steps):
                    if run.converged:
                        break
                    total, terms = run.step()
                    named = dict(zip(objective.names, terms, strict=True))
                    self.history.append({"level": level, "step": step, "total": total, **named})
                    if not math.isfinite(total):
                        raise UsageError(
                            f"The loss is not finite after {step} steps.",
                            received=f"{self.optimizer}, learning_rate={self.learning_rate:g}",
                            hint="a smaller learning rate or smaller weights",
                        )
                    done += 1
                    if bar is not None:
                        bar.set_postfix(loss=f"{total:.4g}", refresh=False)
                        bar.update()
                    if every and on_picture is not None and done % every == 0:
                        on_picture(done, self._picture(run.pixels, scene))
                    self.interrupted = asked() or (stop is not None and stop())
                    if file is not None and (self.interrupted or done % checkpoint_every == 0):
                        _put_down(file, Saved(level, step + 1, self.history, run.state()), settings)
                    if self.interrupted:
                        break
                pixels = run.pixels
                self.traces += objective.traces
                if self.interrupted:
                    break
        return self._picture(pixels, scene)

    def _check_sizes(self, content: Picture, styles: Sequence[Picture], sides: Sequence[int]) -> None:
        """Every picture, as it is and at every resolution, must be large enough for the taps."""
        sizes = [content.shape[:2], *(scaled_size(content, side) for side in sides)]
        for level in range(len(sides)):
            sizes += [self._style_size(style, sides, level) for style in styles]
        for height, width in dict.fromkeys(sizes):
            self.network.map_sizes(height, width)

    def _style_size(self, style: Picture, sides: Sequence[int], level: int) -> tuple[int, int]:
        wanted = round((self.style_size or sides[-1]) * sides[level] / sides[-1])
        return scaled_size(style, min(max(1, wanted), max(style.shape[:2])))

    def _scaled(self, styles: Sequence[Picture], sides: Sequence[int], level: int) -> list[Picture]:
        return [fitted(style, self._style_size(style, sides, level)) for style in styles]

    def _objective(self, content: Picture, styles: Sequence[Picture], shares: Sequence[float]) -> Objective:
        """The objective of one resolution, colours kept as the user wants."""
        import numpy as np

        scene: Any = content
        looks: list[Any] = list(styles)
        if self.preserve_colours == "match":
            looks = [match_colours(style, content) for style in styles]
        elif self.preserve_colours == "luminance":
            light = luminance(content)
            grey = [light, *(match_luminance(luminance(style), light) for style in styles)]
            scene, *looks = [np.repeat(plane[..., None], 3, axis=-1) for plane in grey]
        return Objective(self.network, scene, looks, shares, self.weights, grey=self.preserve_colours == "luminance")

    def _seen(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is optimised of a picture (H, W, 3): all of it, or (H, W, 1), its luminance."""
        import numpy as np

        return luminance(pixels).astype(np.float32)[..., None] if self.preserve_colours == "luminance" else pixels

    def _picture(self, pixels: NDArray[np.float32], content: Picture) -> Picture:
        """Pixels as bytes; `content` is of the same size and gives its chroma where that is kept."""
        import numpy as np

        if self.preserve_colours == "luminance":
            return with_chroma(np.clip(pixels[..., 0].astype(np.float64), 0, 255), chroma(content))
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    def _settings(
        self,
        content: Picture,
        styles: Sequence[Picture],
        init: Any,
        shares: Sequence[float],
        seed: int,
        steps: int,
    ) -> dict[str, Any]:
        """What a resumed run must have in common with the one that was put down, as JSON values."""
        weights = self.weights
        settings: dict[str, Any] = {
            "network": self.network.digest(),
            "content": _digest(content),
            "styles": [_digest(style) for style in styles],
            "init": init if isinstance(init, str) else _digest(init),
            "blend": list(shares),
            "weights": [weights.content, weights.style, weights.variation, weights.relative],
            "content taps": weights.content_taps,
            "style taps": weights.style_taps,
            "optimizer": [self.optimizer, self.learning_rate, self.memory],
            "size": [self.size, self.style_size, self.levels],
            "colours": self.preserve_colours,
            "seed": seed,
        }
        # More steps than first wanted are fine where no later resolution began from fewer.
        return settings | ({"steps": steps} if self.levels > 1 else {})


def _put_down(file: Path, saved: Saved, settings: Mapping[str, Any]) -> None:
    """Write the checkpoint; a full disk is no reason to lose the picture."""
    try:
        save_run(file, saved, settings)
    except DiskError as error:
        _log.warning("The run cannot be resumed from here: %s (%s)", error.what, error.received)


def _digest(picture: Any) -> str:
    return hashlib.sha256(f"{picture.shape} ".encode() + picture.tobytes()).hexdigest()


def _bar(progress: bool | None, done: int, total: int) -> Any:
    """A bar of tqdm, or None inside the block where nobody looks."""
    if progress is False:
        return nullcontext()
    from tqdm import tqdm

    disable = None if progress is None else not progress
    return tqdm(total=total, initial=done, unit="step", disable=disable, desc="style")


def _shares(what: str, taps: Any) -> dict[str, float]:
    """{tap: share}, summing to 1."""
    if isinstance(taps, str):
        taps = [taps]
    named = dict(taps) if isinstance(taps, Mapping) else dict.fromkeys(taps, 1.0)
    if not named or not all(isinstance(tap, str) for tap in named):
        raise UsageError(f"{what} are names of taps, or a mapping of names to shares.", received=repr(taps))
    for tap, share in named.items():
        _number(f"The share of {tap}", share)
    return {tap: float(share) / sum(named.values()) for tap, share in named.items()}


def _one_of(what: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        near = nearest(str(value), known)
        raise UsageError(
            f"{what} is {' or '.join(map(repr, known))}.",
            received=repr(value),
            hint=f"did you mean {near[0]!r}?" if near else None,
        )


def _number(what: str, value: Any, *, zero: bool = False) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < 0 or (value == 0 and not zero):
        raise UsageError(f"{what} is a finite number, {'0 or' if zero else 'and'} more than 0.", received=repr(value))


def _whole(what: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{what} is a whole number, 1 or more.", received=repr(value))
