"""TensorFlow 1's recurrent cells in Keras' layout: the same function, other gate orders and biases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelzoo.errors import ArrayError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["basic_lstm", "basic_rnn", "gru"]


def basic_lstm(kernel: np.ndarray, bias: np.ndarray, *, forget_bias: float = 1.0) -> list[np.ndarray]:
    """`BasicLSTMCell` and `LSTMCell` without peepholes -> kernel, recurrent kernel, bias of keras.layers.LSTM.

    Args:
        kernel: (C + H, 4H), inputs above states; gates i (input), j (new), f (forget), o (output).
        bias: (4H,).
        forget_bias: what the cell adds to f; it is no variable of the file, but an argument of the cell (1.0 unless
            the program said otherwise).

    Returns:
        (C, 4H), (H, 4H), (4H,), gates i, f, c, o.

    Raises:
        ArrayError: shapes that are no such cell's.
    """
    import numpy as np

    width = _width(kernel, bias, 4)
    i, j, f, o = (slice(n * width, (n + 1) * width) for n in range(4))
    order = [i, f, j, o]
    values = np.array(bias, np.float32)
    values[f] += np.float32(forget_bias)
    split = kernel.shape[0] - width
    turned = np.concatenate([kernel[:, gate] for gate in order], axis=1)
    return [turned[:split], turned[split:], np.concatenate([values[gate] for gate in order])]


def gru(
    gates_kernel: np.ndarray, gates_bias: np.ndarray, candidate_kernel: np.ndarray, candidate_bias: np.ndarray
) -> list[np.ndarray]:
    """`GRUCell` -> kernel, recurrent kernel, bias of keras.layers.GRU(reset_after=False).

    Args:
        gates_kernel: (C + H, 2H), gates r (reset), u (update); gates_bias: (2H,).
        candidate_kernel: (C + H, H); candidate_bias: (H,).

    Returns:
        (C, 3H), (H, 3H), (3H,), gates z (update), r, h.

    Raises:
        ArrayError: shapes that are no such cell's.
    """
    import numpy as np

    width = _width(gates_kernel, gates_bias, 2)
    if candidate_kernel.shape != (gates_kernel.shape[0], width) or candidate_bias.shape != (width,):
        raise ArrayError("Gates and candidate are of different cells.", received=str(candidate_kernel.shape))
    kernel = np.concatenate([gates_kernel[:, width:], gates_kernel[:, :width], candidate_kernel], axis=1)
    bias = np.concatenate([gates_bias[width:], gates_bias[:width], candidate_bias])
    split = kernel.shape[0] - width
    return [kernel[:split], kernel[split:], bias]


def basic_rnn(kernel: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    """`BasicRNNCell` -> kernel (C, H), recurrent kernel (H, H), bias (H,) of keras.layers.SimpleRNN.

    Raises:
        ArrayError: shapes that are no such cell's.
    """
    import numpy as np

    width = _width(kernel, bias, 1)
    split = kernel.shape[0] - width
    return [np.asarray(kernel[:split]), np.asarray(kernel[split:]), np.asarray(bias)]


def _width(kernel: np.ndarray, bias: np.ndarray, gates: int) -> int:
    """H of a kernel (C + H, gates * H)."""
    width = bias.shape[0] // gates if bias.ndim == 1 else 0
    if kernel.ndim != 2 or width < 1 or kernel.shape[1] != gates * width or bias.shape[0] != gates * width:
        raise ArrayError(f"That is no cell of {gates} gates.", received=f"kernel {kernel.shape}, bias {bias.shape}")
    if kernel.shape[0] <= width:
        raise ArrayError("The kernel has no rows for the cell's input.", received=f"kernel {kernel.shape}")
    return width
