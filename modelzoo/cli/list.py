"""`modelzoo list`: the models that there are, one a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modelzoo.cli.completion import MODEL
from modelzoo.cli.output import human_size, table
from modelzoo.cli.root import verb
from modelzoo.cli.settings import current
from modelzoo.errors import nearest

if TYPE_CHECKING:
    from modelzoo.registry import Registries

__all__ = ["list_"]


@verb("list")
@click.argument("pattern", type=MODEL, required=False)
@click.option("--task", metavar="NAME", help="Only models of this task, or a glob for it.")
@click.option("--framework", metavar="NAME", help="Only models of this framework: tf-slim, keras, caffe, onnx, 'tf*'.")
@click.option("--licence", metavar="NAME", help="Only weights under this licence: Apache-2.0, 'BSD*', unknown.")
@click.option("--cached/--not-cached", default=None, help="Only models whose files are (or are not) in the cache.")
@click.option("--refresh", is_flag=True, help="Ask registries that are URLs for their newest version.")
@click.pass_context
def list_(
    ctx: click.Context,
    pattern: str | None,
    task: str | None,
    framework: str | None,
    licence: str | None,
    cached: bool | None,
    refresh: bool,
) -> None:
    """List models, or those that match PATTERN: a glob such as 'inception*', or a part of the name.

    The last column says what this version does with a model: build it (classify, features, load_pretrained), or
    only fetch its files; of one whose signed registry is past its date, that it has expired.
    """
    from modelzoo.registry import load_registries, summaries

    settings = current(ctx)
    report = settings.reporter
    registries = load_registries(settings.registries, refresh=refresh, use=())
    found = summaries(pattern, task=task, framework=framework, licence=licence, cached=cached, registries=registries)
    expired = {name: registry.expired for name, _, registry in registries}
    if report.json:
        report.data([{"name": name, **summary.as_dict(), "expired": expired[name]} for name, summary in found.items()])
        return
    if found:
        report.bare("\n".join(found))
    if not found:
        report.note(_nothing(pattern, {"task": task, "framework": framework, "licence": licence}, registries))
        return
    rows = [
        (
            one,
            s.task,
            s.framework,
            s.licence,
            human_size(s.size),
            "expired" if expired[one] else "build" if s.available else "fetch",
        )
        for one, s in found.items()
    ]
    report.say("\n".join(table(("NAME", "TASK", "FRAMEWORK", "LICENCE", "SIZE", "USE"), rows, right=(4,))))
    report.note(f"{len(found)} {'model' if len(found) == 1 else 'models'}")


def _nothing(pattern: str | None, facets: dict[str, str | None], registries: Registries) -> str:
    near = nearest(pattern, registries.names()) if pattern else ()
    said = f" Similar names: {', '.join(near)}" if near else ""
    for facet, value in facets.items():
        if value is None or any(sign in value for sign in "*?["):
            continue
        known = {getattr(summary, facet) for _, summary, _ in registries}
        if value.casefold() not in {one.casefold() for one in known}:
            near = nearest(value, known)
            said += f" No {facet} is {value!r}" + (f"; similar: {', '.join(near)}." if near else ".")
    return "No model matches." + said
