"""`modelzoo export`: a model of the zoo as a file that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelzoo.cli.completion import MODEL
from modelzoo.cli.licence import accepting_licences
from modelzoo.cli.output import human_size
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current
from modelzoo.errors import UsageError

__all__ = ["export"]

_ENDINGS = {"onnx": ".onnx", "litert": ".tflite", "python": ".py", "savedmodel": ""}


@verb("export")
@click.argument("name", type=MODEL)
@click.option("--to", type=click.Choice(list(_ENDINGS)), default="onnx", show_default=True, help="What to make.")
@click.option("-o", "--out", type=click.Path(), required=True, help="NAME.onnx, NAME.tflite, NAME.py or a folder.")
@click.option("--weights", type=click.Path(), metavar="PATH", help="A weight file of your own.")
@click.option("--size", type=(click.IntRange(min=1), click.IntRange(min=1)), metavar="H W", help="Of the input.")
@click.option("--rtol", type=float, default=1e-4, show_default=True, help="Largest error of an output, relative.")
@click.option("--no-verify", is_flag=True, help="Do not compare the result with the model.")
@click.option("--report", type=click.Path(), help="A page or JSON with the errors (.html or .json).")
@click.option("--trust-first-use", is_flag=True, help="Take files without a strong digest; record the one they have.")
@accepting_licences
@click.pass_context
def export(
    ctx: click.Context,
    name: str,
    to: str,
    out: str,
    weights: str | None,
    size: tuple[int, int] | None,
    rtol: float,
    no_verify: bool,
    report: str | None,
    trust_first_use: bool,
) -> None:
    """Write model NAME in another format, channels last, and compare what it computes with the model.

    \b
    modelzoo export inception_v1 -o inception_v1.onnx
    modelzoo export me/flowers --to litert -o flowers.tflite

    In ONNX the BatchNormalization of the network is folded into its convolutions. The result is compared on random
    inputs; exit code 1 past --rtol. Python source is written with its weights beside it.
    """
    from modelzoo.registry import card_to_use

    settings = current(ctx)
    reporter = settings.reporter
    card = card_to_use(name, registries=settings.registries)
    _check(to, out, report, no_verify)
    from modelzoo.pretrained import load_pretrained

    shape = None
    if size is not None:
        shape = (*size, (card.inputs[0].shape[-1] if card.inputs else 3) or 3)
    model: Any = load_pretrained(
        name,
        weights=weights or "card",
        input_shape=shape,
        registries=settings.registries,
        trust_first_use=trust_first_use,
        progress=reporter.progress,
    )
    from modelzoo.exporting import export_model

    path, parity = export_model(model, to, Path(out).expanduser(), rtol=rtol, verify=not no_verify, name=card.name)
    if parity is not None and report is not None:
        _write(parity, Path(report))
    if parity is not None:
        if not parity.passed:
            reporter.note(parity.as_table())
        parity.raise_if_failed()
    amount = _size(path)
    reporter.data(
        {
            "model": card.name,
            "to": to,
            "out": str(path),
            "size": amount,
            "parity": parity.as_dict() if parity is not None else None,
        }
    )
    reporter.bare(str(path))
    reporter.say(f"{click.style(str(path), bold=True)}  {human_size(amount)}")
    if parity is not None:
        reporter.say(parity.as_table())


def _check(to: str, out: str, report: str | None, no_verify: bool) -> None:
    ending = _ENDINGS[to]
    if ending and Path(out).suffix != ending:
        raise UsageError(f"--to {to} writes a {ending} file.", received=out, hint=f"name it NAME{ending}")
    place = Path(out).expanduser()
    if ending and place.is_dir():
        raise UsageError("A folder lies where the file goes.", received=out, hint="choose another -o")
    if not ending and place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError("The folder for the SavedModel is not empty.", received=out, hint="choose another -o")
    if report is not None and no_verify:
        raise UsageError("There is nothing to report without the comparison.", received="--report and --no-verify")
    if report is not None and Path(report).suffix not in (".html", ".json"):
        raise UsageError("The report is a page or JSON.", received=report, hint="name it NAME.html or NAME.json")


def _write(parity: Any, path: Path) -> None:
    if path.suffix == ".html":
        parity.write_html(path)
        return
    import json

    path.write_text(json.dumps(parity.as_dict(), indent=1) + "\n", encoding="utf-8")


def _size(out: Path) -> int:
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    beside = out.with_suffix(".safetensors")
    if out.suffix == ".py" and beside.is_file():
        files.append(beside)
    return sum(path.stat().st_size for path in files)
