"""The command tree: the table of verbs, how they are found and described, and how every failure ends.

The table holds the one line that `modelzoo --help` shows of each verb, so that help imports no verb at all.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from modelzoo import errors
from modelzoo.cli.log import warnings_heard
from modelzoo.cli.output import Reporter
from modelzoo.cli.settings import Settings, apply_environment, current, global_options

__all__ = ["EXIT_CODES", "VERBS", "Noun", "Verb", "noun", "root", "verb"]

VERBS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Look around": {
        "list": ("modelzoo.cli.list:list_", "List models: name, task, framework, licence, size."),
        "info": ("modelzoo.cli.info:info", "Show the card of a model: files, input, labels, accuracy, licence."),
        "taps": ("modelzoo.cli.taps:taps", "List the taps of a model: name, shape, stride, channels."),
        "compare": ("modelzoo.cli.compare:compare", "Compare models: size, multiply-adds, accuracy, licence, speed."),
    },
    "Use a model": {
        "demo": ("modelzoo.cli.demo:demo", "Fetch, restore, look inside and classify; all without network."),
        "classify": ("modelzoo.cli.classify:classify", "Say what is in pictures."),
        "features": ("modelzoo.cli.features:features", "Write the features of pictures to a file."),
        "similar": ("modelzoo.cli.similar:similar", "Find the pictures of a folder that look most like one."),
        "convert": ("modelzoo.cli.convert:convert", "Convert a Caffe, ONNX or TensorFlow model to Keras and more."),
        "finetune": ("modelzoo.cli.finetune:finetune", "Train a classifier of your own on a pretrained model."),
        "style": ("modelzoo.cli.style:style", "Draw a picture in the style of others."),
        "dqn": ("modelzoo.cli.dqn:dqn", "Train a deep Q-network on an environment, and let it play."),
        "export": ("modelzoo.cli.export:export", "Write a model as ONNX, a SavedModel, LiteRT or Python source."),
    },
    "Files": {
        "fetch": ("modelzoo.cli.fetch:fetch", "Download and verify the files of models."),
        "lock": ("modelzoo.cli.lock:lock", "Write modelzoo.lock: the digests of what a project uses."),
        "verify": ("modelzoo.cli.verify:verify", "Hash the cached files again and compare."),
        "cache": ("modelzoo.cli.cache:cache", "List, find, remove or prune cached files."),
    },
    "Set up": {
        "registry": ("modelzoo.cli.registry:registry", "List, add, check, mirror or sign registries; write a card."),
        "doctor": ("modelzoo.cli.doctor:doctor", "Report versions, cache, registries, proxies, extras."),
        "completion": ("modelzoo.cli.completion:completion", "Print the completion script of a shell."),
    },
}
"""Section -> verb -> (where its command is, its line in `modelzoo --help`)."""

EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "success"),
    (1, "a check failed: damaged files, accuracy of a conversion"),
    (2, "an option or argument makes no sense"),
    (3, "unknown name of a model, tap or network"),
    (4, "a registry cannot be read"),
    (5, "no URL delivered the file"),
    (6, "not cached, and the network must not be used"),
    (7, "bytes differ from the registry's digest or size"),
    (8, "no strong digest to verify against"),
    (9, "an archive is damaged or unsafe"),
    (10, "disk full, or not writable"),
    (11, "the cache is corrupt"),
    (12, "somebody else holds a lock"),
    (13, "a weight file is damaged or unsafe"),
    (14, "weights and architecture do not fit"),
    (15, "a picture or array does not fit the model"),
    (16, "an optional package is missing"),
    (17, "a model cannot be converted"),
    (18, "a licence has to be accepted"),
    (70, "a fault of modelzoo itself"),
    (130, "interrupted (Ctrl-C)"),
)
"""Exit code -> its meaning, as `modelzoo --help` prints it."""


class Described(click.Command):
    """A command whose help sets the options of every command apart from its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        everywhere: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            if not isinstance(parameter, click.Option):
                continue  # newer versions of click list arguments too; ours are explained in the text above
            record = parameter.get_help_record(ctx)
            if record is not None:
                (everywhere if getattr(parameter, "everywhere", False) else own).append(record)
        for title, records in (("Options", own), ("Options of every command", everywhere)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


_METAVARS = {"integer": "N", "integer range": "N", "float": "X", "float range": "X"}
"""Name of a type of click's -> what help calls its values."""


class Verb(Described):
    """A command that takes the global options after its name too."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        for parameter in self.params:
            if isinstance(parameter, click.Option) and parameter.metavar is None and not parameter.is_flag:
                parameter.metavar = _METAVARS.get(parameter.type.name)
        self.params.extend(global_options())

    def invoke(self, ctx: click.Context) -> Any:
        settings = current(ctx)
        with apply_environment(settings), warnings_heard(settings.reporter):
            return super().invoke(ctx)


class Noun(Described, click.Group):
    """A group of verbs (`cache list`), which explains a wrong name by the nearest right ones."""

    command_class = Verb

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(global_options())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):  # click cuts their first sentences off
            formatter.write_dl([(name, one.get_short_help_str(limit=1000)) for name, one in commands if one])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        Described.format_options(self, ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(errors.UsageError.exit_code)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = errors.nearest(args[0], self.list_commands(ctx))
            path = ctx.command_path
            raise errors.UsageError(
                f"There is no command '{path} {args[0]}'.",
                hint=_did_you_mean(near) or f"all commands: {path} --help",
            )
        return super().resolve_command(ctx, args)


class Root(Noun):
    """`modelzoo` itself: imports a verb when it is called, and turns every failure into a message and a code."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.where = {name: entry[0] for section in VERBS.values() for name, entry in section.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.where)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.where:
            return None
        import importlib

        module, _, attribute = self.where[cmd_name].partition(":")
        found = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.where))
        for section, verbs in VERBS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), line) for name, (_, line) in verbs.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code).rjust(3), meaning) for code, meaning in EXIT_CODES])
        formatter.write("\nA user's cards, the cache and what every verb prints are described in docs/cli.md.\n")

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run one command line and exit the process (`SystemExit`) with its documented code."""
        words = list(sys.argv[1:] if args is None else args)
        name = prog_name or "modelzoo"
        self._main_shell_completion(extra, name, complete_var)
        settings = Settings()
        try:
            code = self._run(words, name, settings, extra)
            sys.stdout.flush()
        except Exception as error:
            code = _end(error, settings, words)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            code = 130
        sys.exit(code)

    def _run(self, words: list[str], name: str, settings: Settings, extra: Mapping[str, Any]) -> int:
        try:
            with self.make_context(name, words, obj=settings, **extra) as ctx:
                self.invoke(ctx)
        except click.exceptions.Exit as stop:
            return stop.exit_code
        except click.Abort as stop:
            raise KeyboardInterrupt from stop
        except click.ClickException as error:
            raise _as_usage_error(error) from None
        return 0


def _end(error: Exception, settings: Settings, words: Sequence[str]) -> int:
    """Say what went wrong in the way the user asked for; return the exit code."""
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        # The reader (`| head`) has had enough, which is no fault.
        _drop_output()
        return 141
    options = words[: words.index("--")] if "--" in words else words
    # A command line that cannot be parsed has not set the flags that stand behind its mistake.
    reporter = Reporter(json=settings.json or "--json" in options, quiet=settings.quiet)
    debug = bool(os.environ.get("MODELZOO_DEBUG"))
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        _drop_output()  # it may be standard output that has no room
        error = errors.DiskFullError("The disk is full.", received=error.filename, hint="free space, then try again")
    elif isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        error = errors.ReadOnlyError(f"The system refused: {error.strerror}.", received=error.filename)
    elif not isinstance(error, errors.ModelzooError):
        error = _as_fault(error, debug=debug)
    reporter.error(error)
    return getattr(error, "exit_code", 70)


def _drop_output() -> None:
    """Nothing more goes to standard output: Python would complain about the rest of it at its last flush."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # it is no file, or closed


class Fault(errors.ModelzooError):
    """Something that modelzoo did not foresee."""

    exit_code = 70


def _as_fault(error: Exception, *, debug: bool) -> Fault:
    from modelzoo import __version__

    text = " ".join(str(error).split())
    short = text if len(text) <= 500 else text[:497] + "..."
    report_it = "run it again with MODELZOO_DEBUG=1 to see the traceback, and please report it with that and "
    return Fault(
        f"modelzoo {__version__} met something it did not foresee, and stopped.",
        received=f"{type(error).__name__}: {short}" if short else type(error).__name__,
        hint=None if debug else f"{report_it}`modelzoo doctor`",
    )


def _as_usage_error(error: click.ClickException) -> errors.UsageError:
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "modelzoo"
    hint = f"all options: {path} --help"
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        message = f"{path} has no option '{error.option_name}'."
        known = [name for p in ctx.command.get_params(ctx) for name in p.opts] if ctx is not None else []
        near = errors.nearest(error.option_name, [name for name in known if name.startswith("-")])
        hint = _did_you_mean(near) or hint
    elif isinstance(error, click.MissingParameter) and ctx is not None:
        hint = ctx.command.get_usage(ctx)
        hint = hint[0].lower() + hint[1:]
    return errors.UsageError(message, hint=hint)


def _did_you_mean(near: Sequence[str]) -> str | None:
    quoted = [f"'{name}'" for name in near]
    if not quoted:
        return None
    return "did you mean " + (quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}") + "?"


def verb(name: str | None = None, **attributes: Any) -> Any:
    """Decorator: make a function the verb `name`."""
    return click.command(name, cls=Verb, **attributes)


def noun(name: str | None = None, **attributes: Any) -> Any:
    """Decorator: make a function the noun `name`, a group of verbs."""
    return click.group(name, cls=Noun, **attributes)


def _show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from modelzoo import __version__

        click.echo(f"modelzoo {__version__}")
        ctx.exit()


root = Root(
    name="modelzoo",
    help="Pretrained models of TF-Slim, Caffe, ONNX and Keras: fetched, verified, and here as Keras models "
    "with named taps.",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version.",
        )
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="COMMAND [ARGUMENTS]...",
    options_metavar="[OPTIONS]",
)
