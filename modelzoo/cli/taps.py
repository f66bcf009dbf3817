"""`modelzoo taps`: what can be had from inside a model."""

from __future__ import annotations

from typing import Any

import click

from modelzoo.cli.completion import MODEL
from modelzoo.cli.licence import accepting_licences
from modelzoo.cli.output import table
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current

__all__ = ["sides", "taps"]


@verb("taps")
@click.argument("name", type=MODEL)
@click.option("--all", "inner", is_flag=True, help="Inner scopes too, not only the end points.")
@click.option("--trust-first-use", is_flag=True, help="Take files without a strong digest; record the one they have.")
@accepting_licences
@click.pass_context
def taps(ctx: click.Context, name: str, inner: bool, trust_first_use: bool) -> None:
    """List the taps of model NAME: name, shape (height x width x channels), stride in input pixels, channels.

    A network of modelzoo's own is built without its weights; a converted one is fetched first. What is listed goes
    after `--tap` of `modelzoo features`, and into `load_pretrained(NAME, features=[...])`.
    """
    from modelzoo.pretrained import load_pretrained
    from modelzoo.registry import card_to_use

    settings = current(ctx)
    report = settings.reporter
    # A network of ours is known without its weights; a converted one is what its file says.
    whole = card_to_use(name, registries=settings.registries).build.converter is not None
    model: Any = load_pretrained(
        name,
        weights="card" if whole else None,
        registries=settings.registries,
        trust_first_use=trust_first_use,
        progress=report.progress,
    )
    from modelzoo.features import describe_taps

    chosen = {tap: value for tap, value in model.taps.items() if inner or value.end_point}
    infos = describe_taps({tap: value.tensor for tap, value in chosen.items()})
    report.data(
        [
            {
                "name": one.name,
                "shape": list(one.shape[1:]),
                "stride": one.stride,
                "channels": one.channels,
                "end_point": chosen[one.name].end_point,
            }
            for one in infos.values()
        ]
    )
    rows = []
    for one in infos.values():
        report.bare(one.name)
        rows.append((one.name, sides(one.shape[1:]), str(one.stride or "-"), str(one.channels or "?")))
    for line in table(("TAP", "SHAPE", "STRIDE", "CHANNELS"), rows, right=(1, 2, 3)):
        report.say(line)
    hidden = len(model.taps) - len(chosen)
    if hidden:
        report.note(f"{len(chosen)} end points; --all shows {hidden} inner scopes too")


def sides(shape: tuple[int | None, ...]) -> str:
    """A shape without the batch axis as a person reads it: `28 x 28 x 256`."""
    return " x ".join("any" if side is None else str(side) for side in shape)
