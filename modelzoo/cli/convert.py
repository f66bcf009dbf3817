"""`modelzoo convert`: a model file of another framework becomes a Keras model, a SavedModel or ONNX."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from modelzoo.cli.output import human_size
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current
from modelzoo.errors import ParityError, UsageError

__all__ = ["convert"]


@verb("convert")
@click.argument("model", type=click.Path())
@click.argument("weights", type=click.Path(), required=False)
@click.option(
    "--to",
    type=click.Choice(["keras", "savedmodel", "onnx", "litert", "python"]),
    default="keras",
    show_default=True,
    help="What to make.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(),
    required=True,
    help="Where: NAME.keras, a folder, NAME.onnx, NAME.tflite, NAME.py.",
)
@click.option("--verify", is_flag=True, help="Compare with the source on random inputs; exit code 1 past --rtol.")
@click.option("--rtol", type=float, default=1e-4, show_default=True, help="Largest error of an output, relative.")
@click.option(
    "--data-format",
    type=click.Choice(["channels_last", "source"]),
    default="channels_last",
    show_default=True,
    help="How pictures lie at inputs and outputs.",
)
@click.option(
    "--inputs",
    "shapes",
    multiple=True,
    metavar="NAME=SHAPE",
    help="Shape of an input: data=1,3,224,224; ? = any, nothing = a scalar; repeatable.",
)
@click.option("--outputs", "outputs", multiple=True, metavar="NAME", help="A tensor or node to end in; repeatable.")
@click.option("--report", type=click.Path(), help="With --verify: a page with the error of every tap (.html or .json).")
@click.option("--phase", type=click.Choice(["test", "train"]), default="test", show_default=True, help="Of Caffe.")
@click.option("--stage", "stages", multiple=True, metavar="NAME", help="A stage of a Caffe network; repeatable.")
@click.option("--level", type=int, default=0, metavar="N", help="Level of a Caffe network.")
@click.pass_context
def convert(
    ctx: click.Context,
    model: str,
    weights: str | None,
    to: str,
    out: str,
    verify: bool,
    rtol: float,
    data_format: str,
    shapes: tuple[str, ...],
    outputs: tuple[str, ...],
    report: str | None,
    phase: str,
    stages: tuple[str, ...],
    level: int,
) -> None:
    """Convert MODEL to Keras layers that train, a SavedModel, ONNX, LiteRT, or Python source.

    MODEL is an .onnx file, a Caffe .prototxt with its caffemodel as WEIGHTS, a frozen TensorFlow graph (.pb), a
    MetaGraph (.meta), or the folder of a SavedModel.

    \b
    modelzoo convert deploy.prototxt net.caffemodel -o net.keras --verify
    modelzoo convert net.onnx -o net.keras --verify --report parity.html
    modelzoo convert net.onnx --to savedmodel -o net --inputs data=?,3,320,320
    """
    settings = current(ctx)
    reporter = settings.reporter
    if weights is not None and Path(model).suffix == ".caffemodel" and Path(weights).suffix != ".caffemodel":
        raise UsageError(
            "WEIGHTS come behind the network that they belong to.",
            received=f"{model} {weights}",
            hint=f"modelzoo convert {shlex.join([weights, model, '-o', out])}",
        )
    if report is not None and not verify:
        raise UsageError("--report is written by --verify.", received=report, hint="add --verify")
    if report is not None and Path(report).suffix not in (".html", ".json"):
        raise UsageError("The report is a page or JSON.", received=report, hint="name it NAME.html or NAME.json")
    from converters.conversion import convert_and_report

    try:
        made, parity = convert_and_report(
            model,
            weights,
            to=to,
            out=out,
            inputs=dict(map(_shape, shapes)) or None,
            outputs=list(outputs) or None,
            phase=phase,
            stages=stages,
            level=level,
            data_format=data_format,
            verify=verify,
            rtol=rtol,
        )
    except ParityError as error:
        _write(error.report, report)
        if error.report is not None:
            reporter.note(error.report.as_table(taps=True))
        raise
    if weights is None and Path(model).suffix == ".prototxt":
        reporter.warn("no WEIGHTS were given: the network is untrained, its layers filled as the prototxt says.")
    _write(parity, report)
    size = _size(Path(out))
    document: dict[str, Any] = {"model": model, "to": to, "out": out, "size": size}
    if hasattr(made, "layouts"):
        document["stock_only"] = made.stock_only
        document["layouts"] = {name: made.layouts[name] for name in (*made.input_sources, *made.output_sources)}
    document["parity"] = parity.as_dict() if parity is not None else None
    reporter.data(document)
    reporter.bare(out)
    reporter.say(f"{out}  {human_size(size)}")
    for name, layout in document.get("layouts", {}).items():
        reporter.say(f"  {name}: {'channels last' if layout == 'channels_last' else 'as in the source'}")
    if document.get("stock_only") is False:
        reporter.say("  holds operators that Keras has no layer for: it opens where modelzoo is installed")
    if parity is not None:
        reporter.say(parity.as_table())
    if report is not None:
        reporter.say(f"report: {report}")


def _shape(text: str) -> tuple[str, tuple[int | None, ...]]:
    name, equals, sizes = text.rpartition("=")
    try:
        if not (name and equals):
            raise ValueError
        items = [item.strip() for item in sizes.split(",")] if sizes.strip() else []
        return name, tuple(None if item in ("?", "None", "-1") else int(item) for item in items)
    except ValueError:
        raise UsageError(
            "--inputs takes NAME=SHAPE.", received=text, hint="for example --inputs data=1,3,224,224, ? for any size"
        ) from None


def _write(parity: Any, path: str | None) -> None:
    if parity is None or path is None:
        return
    if Path(path).suffix == ".html":
        parity.write_html(path)
        return
    import json

    Path(path).write_text(json.dumps(parity.as_dict(), indent=1) + "\n", encoding="utf-8")


def _size(out: Path) -> int:
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)
