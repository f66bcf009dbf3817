"""OpenCV 4 as the reference for a Caffe network: it still reads Caffe's files itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["run_opencv"]

_log = logging.getLogger("modelzoo")


def run_opencv(
    prototxt: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None,
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
) -> tuple[str, dict[str, np.ndarray]] | None:
    """Run a deploy network in OpenCV.

    Args:
        prototxt, weights: the files.
        inputs: by blob, (N, C, H, W) float32.
        outputs: blobs that some layer of the same name gives.

    Returns:
        ("OpenCV <version>", blob -> array), or None where OpenCV is not installed, cannot read the network (it needs a
        caffemodel and knows fewer layers than Caffe), or has no layer of an output's name.
    """
    try:
        import cv2
    except ImportError:
        return None
    if weights is None or not hasattr(cv2.dnn, "readNetFromCaffe"):
        return None
    net: Any
    try:
        net = cv2.dnn.readNetFromCaffe(os.fspath(prototxt), os.fspath(weights))
        for name, array in inputs.items():
            net.setInput(array, name)
        values = net.forward(list(outputs))
    except cv2.error as error:
        _log.info("OpenCV cannot run the network, onnxruntime is asked instead: %s", str(error).strip())
        return None
    return f"OpenCV {cv2.__version__}", dict(zip(outputs, map(np.asarray, values), strict=True))
