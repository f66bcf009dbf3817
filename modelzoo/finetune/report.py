"""The page of a fine-tuning: curves, confusion matrix, and the worst mistakes as pictures, in one file."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import DiskError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Mistake", "confusion", "mistakes", "write_report"]

_MOST_MISTAKES = 24
_SIDE = 144  # pixels of a thumbnail
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#1c2028}"
    "table{border-collapse:collapse}td,th{padding:.25em .6em;text-align:left;border-bottom:1px solid #e2e6ec}"
    ".matrix td,.matrix th{text-align:right;border:1px solid #fff;min-width:1.6em}.matrix{font-size:13px}"
    ".matrix .top{writing-mode:vertical-rl;transform:rotate(180deg);text-align:left}"
    "figure{display:inline-block;margin:0 1em 1em 0;width:160px;vertical-align:top;font-size:13px}"
    "figure img{display:block;max-width:144px}svg{width:100%;height:auto}text{font-size:11px;fill:#707884}"
    ".wrap{overflow-x:auto}"
)

Mistake = tuple[int, int, float, float]
"""(index of the picture, predicted class, its probability, probability of the true class)."""


def confusion(truth: Sequence[int], predicted: Sequence[int], classes: int) -> np.ndarray:
    """(classes, classes) counts: row = true class, column = predicted class."""
    import numpy as np

    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(truth, int), np.asarray(predicted, int)), 1)
    return matrix


def mistakes(logits: np.ndarray, truth: Sequence[int]) -> list[Mistake]:
    """Wrong answers, the most confident first; (N, classes) logits."""
    import numpy as np

    from modelzoo.preprocess.labels import softmax

    shares = softmax(np.asarray(logits, np.float64))
    best = shares.argmax(axis=1)
    wrong = [
        (n, int(best[n]), float(shares[n, best[n]]), float(shares[n, label]))
        for n, label in enumerate(truth)
        if best[n] != label
    ]
    return sorted(wrong, key=lambda item: (-item[2], item[0]))


def write_report(
    path: str | Path,
    *,
    title: str,
    facts: Mapping[str, Any],
    history: Mapping[str, Sequence[float]],
    names: Sequence[str],
    pictures: Sequence[Path],
    truth: Sequence[int],
    logits: np.ndarray,
) -> Path:
    """Write the page, whole or not at all.

    Args:
        path: of the HTML file.
        title: its heading.
        facts: shown as a table.
        history: {"loss": [...], "val_loss": [...], "accuracy": ..., "val_accuracy": ...}, a number an epoch.
        names: of the classes.
        pictures, truth, logits: of the validation, (N), (N), (N, classes).

    Raises:
        DiskError: the page cannot be written.
    """
    wrong = mistakes(logits, truth)
    matrix = confusion(truth, logits.argmax(axis=1).tolist(), len(names))
    right = len(truth) - len(wrong)
    rows = "".join(f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items())
    shown = "".join(
        _figure(pictures[n], names[truth[n]], names[best], p, q) for n, best, p, q in wrong[:_MOST_MISTAKES]
    )
    more = f"<p>... and {len(wrong) - _MOST_MISTAKES} more</p>" if len(wrong) > _MOST_MISTAKES else ""
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>"
        f"<p>{right} of {len(truth)} validation pictures are classified correctly"
        f"{f' ({right / len(truth):.1%})' if truth else ''}.</p><table>{rows}</table>"
        f"<h2>Curves</h2>{_curves(history, 'loss', None)}{_curves(history, 'accuracy', 1.0)}"
        f"<h2>Confusion matrix</h2><p>Rows: true class; columns: answer.</p>"
        f"<div class='wrap'>{_matrix(matrix, names)}</div>"
        f"<h2>Worst mistakes</h2>{shown or '<p>none</p>'}{more}</html>"
    )
    out = Path(path)
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        beside.write_text(page, encoding="utf-8")
        beside.replace(out)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise DiskError(f"The report cannot be written: {error.strerror or error}.", received=str(out)) from error
    return out


def _figure(path: Path, truth: str, answer: str, share: float, own: float) -> str:
    return (
        f"<figure><img alt='' src='{_thumbnail(path)}'><figcaption>{html.escape(path.name)}<br>"
        f"is <b>{html.escape(truth)}</b> ({own:.0%}),<br>"
        f"answer {html.escape(answer)} ({share:.0%})</figcaption></figure>"
    )


def _thumbnail(path: Path) -> str:
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _matrix(matrix: np.ndarray, names: Sequence[str]) -> str:
    head = "".join(f"<th class='top'>{html.escape(name)}</th>" for name in names)
    lines = []
    for row, name in zip(matrix, names, strict=True):
        total = max(1, int(row.sum()))
        cells = []
        for column, count in enumerate(row):
            strength = count / total
            colour = "47,111,158" if names[column] == name else "196,66,63"
            style = f"background:rgba({colour},{strength:.2f});color:{'#fff' if strength > 0.5 else '#1c2028'}"
            cells.append(f"<td style='{style}'>{count or ''}</td>")
        lines.append(f"<tr><th>{html.escape(name)}</th>{''.join(cells)}</tr>")
    return f"<table class='matrix'><tr><th></th>{head}</tr>{''.join(lines)}</table>"


def _curves(history: Mapping[str, Sequence[float]], key: str, top: float | None) -> str:
    width, height, left, bottom = 960, 240, 60, 30
    series = {name: list(history.get(name, ())) for name in (key, f"val_{key}")}
    values = [value for one in series.values() for value in one if value == value]
    if not values:
        return ""
    high = top if top is not None else max(values) * 1.05 or 1.0
    longest = max(len(one) for one in series.values())

    def x(epoch: int) -> float:
        return left + (width - left - 20) * (epoch / max(1, longest - 1))

    def y(value: float) -> float:
        return 10 + (height - bottom - 10) * (1 - min(1.0, max(0.0, value / high)))

    grid = "".join(
        f"<line x1='{left}' x2='{width - 20}' y1='{y(high * k / 4):.1f}' y2='{y(high * k / 4):.1f}' stroke='#e2e6ec'/>"
        f"<text x='8' y='{y(high * k / 4) + 4:.1f}'>{high * k / 4:.3g}</text>"
        for k in range(5)
    )
    lines = ""
    for (name, one), colour in zip(series.items(), ("#2f6f9e", "#c4423f"), strict=True):
        points = " ".join(f"{x(n):.1f},{y(value):.1f}" for n, value in enumerate(one) if value == value)
        marks = "".join(
            f"<circle cx='{x(n):.1f}' cy='{y(v):.1f}' r='3' fill='{colour}'>"
            f"<title>{name}, epoch {n + 1}: {v:.4f}</title></circle>"
            for n, v in enumerate(one)
            if v == v
        )
        lines += f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2'/>{marks}"
    legend = (
        f"<text x='{left}' y='{height - 6}'>{key} by epoch (1 to {longest}): "
        f"<tspan fill='#2f6f9e'>training</tspan>, <tspan fill='#c4423f'>validation</tspan></text>"
    )
    return f"<svg viewBox='0 0 {width} {height}' role='img' aria-label='{key} by epoch'>{grid}{lines}{legend}</svg>"
