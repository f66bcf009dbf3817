"""`modelzoo completion`, and what a shell offers for a model's name.

The scripts are click's own; they ask this command again at every Tab, which is why the light verbs must stay light.
"""

from __future__ import annotations

from typing import Any

import click

from modelzoo.cli.log import warnings_heard
from modelzoo.cli.output import Reporter
from modelzoo.cli.root import root, verb
from modelzoo.cli.settings import current

__all__ = ["MODEL", "TAP", "ModelName", "TapName", "completion"]


class ModelName(click.ParamType):
    """The name of a model; a shell completes it from the registries of the command line."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from modelzoo.errors import ModelzooError
        from modelzoo.registry import list_models

        try:
            with warnings_heard(Reporter(quiet=True)):
                names = list_models(registries=current(ctx).registries)
        except ModelzooError:
            return []  # a shell that waits for Tab is no place for messages
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


MODEL = ModelName()


class TapName(click.ParamType):
    """The name of a tap; a shell completes it from the card of the model that stands before it."""

    name = "tap"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from modelzoo.errors import ModelzooError
        from modelzoo.registry import info

        # Behind a `--tap` without a value click stops parsing: the name is then still among the words.
        name = ctx.params.get("name") or next(iter(ctx.args), "")
        try:
            with warnings_heard(Reporter(quiet=True)):
                taps = info(name, registries=current(ctx).registries).taps
        except ModelzooError:
            return []
        return [CompletionItem(tap) for tap in ("all", *taps) if tap.startswith(incomplete)]


TAP = TapName()


@verb("completion")
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL on standard output.

    \b
    bash  modelzoo completion bash > ~/.local/share/bash-completion/completions/modelzoo
    zsh   modelzoo completion zsh > ~/.zfunc/_modelzoo   (a folder of your fpath)
    fish  modelzoo completion fish > ~/.config/fish/completions/modelzoo.fish

    Open a new shell afterwards. It completes commands, options and the names of models.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    text = found(root, {}, "modelzoo", "_MODELZOO_COMPLETE").source()
    report = current(ctx).reporter
    if report.json:
        report.data({"shell": shell, "script": text})
    else:
        click.echo(text)
