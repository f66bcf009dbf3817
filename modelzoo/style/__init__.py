"""Style transfer: a picture with the content of one photograph and the style of others, by optimising its pixels.

In come a pretrained network with taps and pictures; out goes a uint8 picture (H, W, 3), with the losses of every step
as data. The method is Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016).
No weight of the network is changed and nothing is trained that outlives a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelzoo.style.lbfgs import LBFGS as LBFGS
    from modelzoo.style.network import TapNetwork as TapNetwork
    from modelzoo.style.taps import style_taps as style_taps
    from modelzoo.style.transfer import StyleTransfer as StyleTransfer

_HOME = {"LBFGS": "lbfgs", "StyleTransfer": "transfer", "TapNetwork": "network", "style_taps": "taps"}

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modelzoo.style' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"modelzoo.style.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
