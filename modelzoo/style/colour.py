"""Keeping the colours of the content: luminance-only transfer, or style pictures recoloured beforehand.

Gatys, Bethge, Hertzmann and Shechtman, "Preserving Color in Neural Artistic Style Transfer" (2016), sections 2 and 3.
Luminance is ITU-R 601-2 luma, as everywhere in modelzoo; chroma is what each channel has beyond it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelzoo.style.pixels import LUMA

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

__all__ = ["COLOURS", "chroma", "luminance", "match_colours", "match_luminance", "with_chroma"]

COLOURS = ("luminance", "match")
"""How colours are kept: only luminance is transferred, or the style pictures take the content's colours first."""


def luminance(picture: NDArray[np.generic]) -> NDArray[np.float64]:
    """(H, W) in 0..255 of a picture (H, W, 3), RGB; not rounded."""
    import numpy as np

    return np.asarray(picture, np.float64) @ np.array(LUMA)


def chroma(picture: NDArray[np.generic]) -> NDArray[np.float64]:
    """(H, W, 3): how much more each channel is than the luminance; zero where the picture is grey."""
    import numpy as np

    return np.asarray(picture, np.float64) - luminance(picture)[..., None]


def with_chroma(light: NDArray[np.floating], colours: NDArray[np.floating]) -> Picture:
    """The picture of a luminance and a chroma.

    Where a pixel would leave 0..255, its luminance gives way and its chroma stays: clipping the channels one by one
    would change the hue. There is always such a luminance for the chroma of a picture, that picture's own.

    Args:
        light: (H, W), 0..255.
        colours: (H, W, 3), from `chroma`.

    Returns:
        uint8 (H, W, 3).
    """
    import numpy as np

    # Rounding luminance and chroma together keeps the result within half a grey level of both.
    fitted = np.clip(light, -colours.min(axis=-1), 255.0 - colours.max(axis=-1))
    return np.clip(np.rint(fitted[..., None] + colours), 0, 255).astype(np.uint8)


def match_luminance(style: NDArray[np.floating], content: NDArray[np.floating]) -> NDArray[np.float64]:
    """The luminance of a style picture with mean and standard deviation of the content's (section 3 of the paper).

    Args:
        style, content: (H, W), sizes may differ.

    Returns:
        (H, W) of the style's size, cut to 0..255.
    """
    import numpy as np

    spread = max(float(style.std()), 1e-6)
    return np.clip((style - style.mean()) * (float(content.std()) / spread) + content.mean(), 0, 255)


def match_colours(style: NDArray[np.generic], content: NDArray[np.generic]) -> NDArray[np.float64]:
    """The style picture with mean and covariance of the content's colours (section 2 of the paper).

    The linear map is A = Sc^(1/2) Ss^(-1/2), the principal square roots of both covariances ("image analogies" in the
    paper): it is symmetric in the channels and of all such maps turns colours the least.

    Args:
        style, content: (H, W, 3) RGB in 0..255, sizes may differ.

    Returns:
        (H, W, 3) of the style's size, cut to 0..255.
    """
    import numpy as np

    source = np.asarray(style, np.float64).reshape(-1, 3)
    goal = np.asarray(content, np.float64).reshape(-1, 3)
    to, back = _root(np.cov(goal.T), 0.5), _root(np.cov(source.T), -0.5)
    moved = (source - source.mean(axis=0)) @ (to @ back).T + goal.mean(axis=0)
    return np.clip(moved, 0, 255).reshape(np.asarray(style).shape)


def _root(covariance: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """A power of a covariance (3, 3); directions without any variance, as in a grey picture, stay without."""
    import numpy as np

    values, vectors = np.linalg.eigh(covariance)
    floor = max(float(values.max()) * 1e-6, 1e-9)
    scaled = np.where(values > floor, np.maximum(values, floor) ** power, 0.0)
    return (vectors * scaled) @ vectors.T
