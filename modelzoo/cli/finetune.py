"""`modelzoo finetune`: a classifier of one's own on a pretrained network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from modelzoo.cli.completion import MODEL, TAP
from modelzoo.cli.licence import accepting_licences
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current
from modelzoo.errors import UsageError

__all__ = ["finetune"]

_FEW_STEPS = 50
"""After so many gradient steps the running statistics of a head are those of its features: 0.9 ** 50 is nothing."""


@verb("finetune")
@click.argument("name", type=MODEL)
@click.argument("folder", metavar="FOLDER_BY_CLASS", type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder of the result: card, weights, report.")
@click.option(
    "--head", type=click.Choice(["linear", "mlp", "rnn"]), default="linear", show_default=True, help="What is trained."
)
@click.option("--tap", type=TAP, metavar="NAME", help="What the head stands on; default: what enters the classifier.")
@click.option("--epochs", type=click.IntRange(min=1), metavar="N", default=10, show_default=True, help="In all.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    default=32,
    show_default=True,
    help="Pictures, or clips, in a step.",
)
@click.option(
    "--learning-rate", type=click.FloatRange(min=0, min_open=True), default=1e-3, show_default=True, help="Of Adam."
)
@click.option("--hidden", type=click.IntRange(min=1), multiple=True, metavar="N", help="Widths of an mlp; repeatable.")
@click.option("--cell", type=click.Choice(["gru", "lstm", "simple"]), help="Of an rnn; default: gru.")
@click.option("--units", type=click.IntRange(min=1), metavar="N", help="Width of an rnn; default: 64.")
@click.option("--layers", type=click.IntRange(min=1), metavar="N", help="Of an rnn, one on the other; default: 1.")
@click.option("--bidirectional", is_flag=True, help="An rnn reads clips from both ends.")
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Cut clips into windows; default: whole clips.")
@click.option("--hop", type=click.IntRange(min=1), metavar="N", help="From window to window; default: --frames.")
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), help="Before the layers of the head.")
@click.option("--unfreeze", type=TAP, metavar="NAME", help="Train what lies behind this tap too; 'all': everything.")
@click.option("--unfreeze-at", type=click.IntRange(min=0), metavar="N", help="From this epoch on; default: half way.")
@click.option(
    "--decay",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Learning rate from a part of the network to the one before it.",
)
@click.option("--backbone-rate", type=click.FloatRange(min=0), default=0.1, show_default=True, help="Its last part's.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16", "mixed_float16"]),
    default="float32",
    show_default=True,
    help="What layers compute in.",
)
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of each class that is not trained on.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of split, head and order.")
@click.option("--weights", type=click.Path(), metavar="PATH", help="A weight file of your own for NAME.")
@click.option("--name", "result", metavar="NAME", help="Of the result; default: me/ and the folder's name.")
@click.option("--no-register", is_flag=True, help="Leave the user's list of registries as it is.")
@click.option("--trust-first-use", is_flag=True, help="Take files without a strong digest; record the one they have.")
@accepting_licences
@click.pass_context
def finetune(
    ctx: click.Context,
    name: str,
    folder: str,
    out: str,
    head: str,
    tap: str | None,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    hidden: tuple[int, ...],
    cell: str | None,
    units: int | None,
    layers: int | None,
    bidirectional: bool,
    frames: int | None,
    hop: int | None,
    dropout: float | None,
    unfreeze: str | None,
    unfreeze_at: int | None,
    decay: float,
    backbone_rate: float,
    precision: str,
    validation: float,
    seed: int,
    weights: str | None,
    result: str | None,
    no_register: bool,
    trust_first_use: bool,
) -> None:
    """Train a classifier for the pictures in FOLDER_BY_CLASS (a folder a class) on the pretrained model NAME.

    \b
    modelzoo finetune inception_v1 photos -o flowers
    modelzoo finetune inception_v1 photos -o flowers --head mlp --unfreeze Mixed_4f --epochs 20
    modelzoo classify me/flowers picture.jpg
    modelzoo finetune inception_v1 clips -o gestures --head rnn --cell lstm --frames 16

    With --head rnn each class holds a folder of frames a clip: clips/wave/0001/frame1.jpg. Frames follow one another
    in the natural order of their names; clips of different lengths are padded and masked unless --frames cuts them.

    While the model is frozen its features are computed once a picture and kept in OUT/training; an interrupted run
    goes on where it was when it is started again. OUT holds card.json, model.safetensors and report.html.
    """
    # What is wrong with the command line is said before TensorFlow is imported and before anything is downloaded.
    from modelzoo.finetune.result import check_name, check_output
    from modelzoo.registry import card_to_use

    settings = current(ctx)
    reporter = settings.reporter
    card = card_to_use(name, registries=settings.registries)
    if hidden and head != "mlp":
        raise UsageError("Only an mlp has hidden layers.", received=f"--hidden {hidden[0]}", hint="--head mlp")
    over_time = {"cell": cell, "units": units, "layers": layers, "frames": frames, "hop": hop}
    over_time["bidirectional"] = bidirectional or None
    _check_rnn(head, {key: value for key, value in over_time.items() if value is not None})
    if unfreeze_at is not None and unfreeze is None:
        raise UsageError("--unfreeze-at goes with --unfreeze TAP.", received=f"--unfreeze-at {unfreeze_at}")
    if unfreeze_at is not None and unfreeze_at >= epochs:
        raise UsageError("Nothing would be unfrozen.", received=f"--unfreeze-at {unfreeze_at}, --epochs {epochs}")
    if weights is not None and not _exists(weights):
        raise UsageError("There is no such weight file.", received=weights)
    called = check_name(result if result is not None else _name_of(Path(out)))
    examples = _read(folder, head, frames, hop)
    train, held = examples.split(validation, seed)
    target = check_output(out)
    from modelzoo.finetune import Backbone, FineTuner, Head, discriminative, register, write_result
    from modelzoo.finetune.report import mistakes, write_report

    # Networks differ in the scale of their features; one learning rate serves all where they are standardised.
    options: dict[str, Any] = {"norm": "batch"}
    options |= {"hidden": list(hidden)} if hidden else {}
    if head == "rnn":
        options |= {"cell": cell or "gru", "units": [units or 64] * (layers or 1), "bidirectional": bidirectional}
    options |= {"dropout": dropout} if dropout is not None else {}
    backbone = Backbone(
        name,
        tap=tap,
        pooling="avg",
        weights=weights or "card",
        registries=settings.registries,
        trust_first_use=trust_first_use,
        progress=reporter.progress,
    )
    if backbone.preprocess is None:
        raise UsageError(f"The card of {card.name!r} does not say how pictures become its input.")
    start = epochs // 2 if unfreeze_at is None else unfreeze_at
    schedule: dict[int, bool | str] | None = None
    if unfreeze is not None:
        schedule = {start: False if unfreeze == "all" else unfreeze}
    training: dict[str, Any] = {
        "learning_rate": learning_rate,
        "factors": discriminative(backbone, decay=decay, rate=backbone_rate),
        "precision": precision,
        "seed": seed,
    }
    if head == "rnn":
        from modelzoo.rnn import SequenceTuner

        made = Head("sequence", len(examples.names), options)
        tuner: FineTuner = SequenceTuner(backbone, made, steps=examples.steps, masked=examples.masked, **training)
        shown, what = held.as_folder().paths, "clips"
    else:
        tuner = FineTuner(backbone, Head(head, len(examples.names), options), **training)
        shown, what = held.paths, "pictures"
    reporter.note(f"{len(train)} {what} of {len(train.names)} classes to train on, {len(held)} to validate with")
    history = tuner.fit(
        train,
        held,
        epochs=epochs,
        batch_size=batch_size,
        schedule=schedule,
        folder=target / "training",
        progress=reporter.progress,
    )
    logits = tuner.logits(held if head == "rnn" else held.paths)
    wrong = mistakes(logits, held.labels)
    top1 = 100 * (1 - len(wrong) / len(held))
    protocol = f"{len(held)} validation {what}, seed {seed}"
    written = write_result(
        tuner,
        target,
        called,
        classes=examples.names,
        title=f"{card.title}, fine-tuned on {Path(folder).resolve().name}",
        base_files=_base_files(card, weights),
        metrics={"top1": round(top1, 2)},
        protocol=protocol,
    )
    facts = {
        "base": card.name,
        "tap": ", ".join(backbone.taps),
        "head": f"{head} {options}",
        what: f"{len(train)} to train on, {len(held)} to validate with",
        "epochs": epochs,
        "batch size": batch_size,
        "learning rate": learning_rate,
        "unfrozen": f"behind {unfreeze} from epoch {start}" if unfreeze else "nothing",
        "seed": seed,
    }
    page = write_report(
        target / "report.html",
        title=called,
        facts=facts,
        history=history,
        names=examples.names,
        pictures=shown,
        truth=held.labels,
        logits=logits,
    )
    if not no_register:
        register(written)
    reporter.data(
        {
            "model": called,
            "base": card.name,
            "out": str(target),
            "card": str(written),
            "report": str(page),
            "classes": list(examples.names),
            "top1": top1,
            "history": history,
            "registered": not no_register,
        }
    )
    reporter.bare(called)
    reporter.say(f"{click.style(called, bold=True)}  {top1:.1f} % of {len(held)} validation {what}")
    reporter.say(f"  report: {page}")
    use = f"modelzoo classify {called} {'CLIP_FOLDER' if head == 'rnn' else 'IMAGE'}"
    reporter.say(f"  {use}" if not no_register else f"  {use} --registry {shlex.quote(str(written))}")
    steps = epochs * -(-len(train) // batch_size)
    if steps < _FEW_STEPS:
        reporter.note(f"Only {steps} gradient steps were taken: --epochs N goes on, a smaller --batch-size takes more.")


def _read(folder: str, head: str, frames: int | None, hop: int | None) -> Any:
    """Pictures by class, or clips by class."""
    if head == "rnn":
        from modelzoo.rnn import read_clips

        return read_clips(folder, frames=frames, hop=hop)
    from modelzoo.finetune.pictures import ClassFolder

    return ClassFolder.read(folder)


def _check_rnn(head: str, given: dict[str, Any]) -> None:
    if given and head != "rnn":
        option = f"--{next(iter(given))}"
        raise UsageError(f"{option} is an option of recurrent heads.", received=option, hint="--head rnn")
    if "hop" in given and "frames" not in given:
        raise UsageError("A hop goes with windows of a size.", received=f"--hop {given['hop']}", hint="--frames N")


def _exists(path: str) -> bool:
    place = Path(path).expanduser()
    return place.exists() or any(place.parent.glob(f"{place.name}.*"))  # a checkpoint's prefix is no file


def _name_of(out: Path) -> str:
    import re

    own = re.sub(r"[^a-z0-9._-]+", "_", out.expanduser().absolute().name.lower()).lstrip("._-")
    return f"me/{own or 'model'}"


def _base_files(card: Any, weights: str | None) -> list[Path]:
    """Files of the user's own without which a converter could not build the base again."""
    if weights is None or card.build.converter is None:
        return []
    path = Path(weights).expanduser().absolute()
    if card.build.converter == "caffe":
        from modelzoo.converted import caffe_files

        return [item for item in caffe_files(path) if item is not None]
    if not path.is_file():
        raise UsageError(
            "The base network lies in a folder, which a result cannot take along.",
            received=weights,
            hint="use a single file, or the card's own weights",
        )
    return [path]
