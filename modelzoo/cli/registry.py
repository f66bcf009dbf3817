"""`modelzoo registry`: which registries are read, adding one, checking one, writing a card or a mirror, signing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelzoo.cli.cache import Duration
from modelzoo.cli.completion import MODEL
from modelzoo.cli.licence import accepting_licences
from modelzoo.cli.output import human_size, table
from modelzoo.cli.root import noun
from modelzoo.cli.settings import current
from modelzoo.cli.site import site
from modelzoo.errors import UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from modelzoo.registry import Registry
    from modelzoo.registry.mirror import Mirrored
    from modelzoo.registry.signing import Signed

__all__ = ["registry"]


@noun("registry")
def registry() -> None:
    """List, add, check, mirror and sign registries, and write a card for a file of your own."""


registry.add_command(site)


@registry.command("list")
@click.option("--refresh", is_flag=True, help="Ask registries that are URLs for their newest version.")
@click.pass_context
def list_(ctx: click.Context, refresh: bool) -> None:
    """List the registries in the order in which a name is looked up, and the cards that hide others."""
    from modelzoo.registry import load_registries

    settings = current(ctx)
    report = settings.reporter
    loaded = load_registries(settings.registries, refresh=refresh, use=())
    report.data(
        {
            "registries": [
                {
                    "location": one.location,
                    "kind": one.kind,
                    "namespace": one.namespace,
                    "cards": len(one.summaries),
                    "sha256": one.digest,
                    "signed": _signature(one),
                    "expired": one.expired,
                }
                for one in loaded.registries
            ],
            "hidden": [
                {"name": hidden.name, "by": hidden.by.location, "of": hidden.of.location} for hidden in loaded.hidden
            ],
        }
    )
    rows = []
    for one in loaded.registries:
        report.bare(one.location)
        signed = _signature(one)
        until = "expired" if one.expired else "up to"
        until = f"version {signed['version']}, {until} {signed['expires'][:10]}" if signed else "-"
        rows.append((one.kind, str(len(one.summaries)), one.namespace or "-", until, one.location))
    for line in table(("KIND", "CARDS", "NAMESPACE", "SIGNED", "LOCATION"), rows, right=(1,)):
        report.say(line)


def _signature(one: Registry) -> dict[str, Any] | None:
    """What is trusted of a registry that was added as signed; None for others."""
    from modelzoo.registry import trusted

    if one.kind != "url" or not trusted.is_signed(one.location):
        return None
    known = trusted.read(one.location)
    return {"version": known.version, "expires": known.expires, "fingerprint": known.fingerprint}


@registry.command("add")
@click.argument("location", metavar="FILE|DIR|URL")
@click.option("--as", "namespace", metavar="NAMESPACE", help="Put NAMESPACE/ before each of its names.")
@click.option(
    "--root",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="It is signed, and FILE is its root.json, which came by another way than from its server.",
)
@click.option("--fingerprint", metavar="HEX", help="It is signed, by the key of this fingerprint.")
@click.pass_context
def add(ctx: click.Context, location: str, namespace: str | None, root: Path | None, fingerprint: str | None) -> None:
    """Read a registry in every command from now on, before those that were added earlier and the built-in one.

    It is loaded first; one behind a URL is fetched. One that is added as signed (--root, --fingerprint) is never read
    without its signatures again: what is older than before, out of date, or put together of several states is refused.
    """
    from modelzoo.registry import configured, load_registries

    report = current(ctx).reporter
    signed = root is not None or fingerprint is not None
    configured.check_namespace(namespace)
    if signed:
        location = _add_signed(location, root, fingerprint)
    loaded = load_registries([location], environment=False, builtin=False)
    cards = sum(len(one.summaries) for one in loaded.registries)
    one = configured.add(location, namespace, signed=signed)
    signature = _signature(loaded.registries[0])
    report.data({"location": one.location, "namespace": one.namespace, "cards": cards, "signed": signature})
    report.bare(one.location)
    said = f", signed up to {signature['expires'][:10]}" if signature else ""
    report.say(f"{one.location}: added, {cards} {'card' if cards == 1 else 'cards'}{said}")
    load_registries(current(ctx).registries, use=())  # says which cards hide others now


def _add_signed(location: str, root: Path | None, fingerprint: str | None) -> str:
    """Trust a signed registry; its address, with the name of its file."""
    from modelzoo.registry.loading import is_url

    if not is_url(location):
        raise UsageError(
            "Only a registry behind a URL is added as signed.",
            received=location,
            hint="what lies on a disk of yours is as safe as the disk",
        )
    if location.endswith("/"):
        location += "registry.json"
    from modelzoo.registry.verification import add_signed

    data = None
    if root is not None:
        try:
            data = root.read_bytes()
        except OSError as error:
            raise UsageError(f"The root cannot be read: {error.strerror}.", received=str(root)) from error
    add_signed(location, root=data, fingerprint=fingerprint)
    return location


@registry.command("remove")
@click.argument("location", metavar="FILE|DIR|URL|NAMESPACE")
@click.pass_context
def remove(ctx: click.Context, location: str) -> None:
    """Read an added registry no longer. Its file stays where it is, and so does what was fetched by its cards."""
    from modelzoo.registry import configured

    report = current(ctx).reporter
    one = configured.remove(location)
    report.data({"location": one.location, "namespace": one.namespace})
    report.bare(one.location)
    report.say(f"{one.location}: removed")


@registry.command("validate")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.pass_context
def validate(ctx: click.Context, files: tuple[str, ...]) -> None:
    """Check each FILE (or folder) against the schema, and its cards against the rules that the built-in ones follow.

    Exit code 4 says that modelzoo cannot read it; 1 that it can, but that a card would not work. Warnings, such as a
    licence that nobody states, leave the exit code alone.
    """
    from modelzoo.networks import KNOWN_NETWORKS
    from modelzoo.registry import check_registry, load_registries, validate_registry

    report = current(ctx).reporter
    loaded = load_registries(files, environment=False, builtin=False)
    documents = []
    failed = False
    for one in loaded.registries:
        cards = len(one.summaries)
        if not one.valid:
            validate_registry({"schema_version": 1, "models": one.models}, where=one.location)
        problems = check_registry(one.models, networks=KNOWN_NETWORKS)
        errors = sum(problem.level == "error" for problem in problems)
        failed = failed or errors > 0
        documents.append({"location": one.location, "cards": cards, "problems": [vars(p) for p in problems]})
        count = f"{cards} {'card' if cards == 1 else 'cards'}"
        verdict = "valid" if not errors else f"{errors} {'error' if errors == 1 else 'errors'}"
        report.say(f"{one.location}: {count}, {verdict}")
        for problem in problems:
            report.say(f"  {problem}")
            if problem.level == "error":
                report.bare(str(problem))
    report.data(documents)
    if failed:
        ctx.exit(1)


@registry.command("new-card")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Name of the card; by default made of the file's.")
@click.option("--url", metavar="URL", help="Where FILE will be found; by default where it lies now (file:).")
@click.option("--task", metavar="NAME", help="What the model does: classification, detection, embedding, ...")
@click.option("--licence", metavar="NAME", help="Licence of the weights, as an SPDX identifier.")
@click.option("-o", "--out", "--output", "output", type=click.Path(path_type=Path), help="A new file.")
@click.pass_context
def new_card_(
    ctx: click.Context,
    file: Path,
    name: str | None,
    url: str | None,
    task: str | None,
    licence: str | None,
    output: Path | None,
) -> None:
    """Write a registry of one card for FILE: a model's file, the folder of a SavedModel, or a TF checkpoint's prefix.

    Sizes and digests are computed; network, inputs, outputs and layers are what the file itself tells. A prototxt and
    a caffemodel find each other, and so do the files of a checkpoint. What only a person knows (preprocessing, labels,
    accuracy, licence) is left for you to add: warnings say what is missing.
    """
    from modelzoo.cli.new_card import card_name, new_card
    from modelzoo.networks import KNOWN_NETWORKS
    from modelzoo.registry import check_entry, validate_card

    report = current(ctx).reporter
    card = new_card(file, url=url, task=task, licence=licence)
    chosen = name or card_name(card)
    validate_card(chosen, card, where="the new card")
    document = {"schema_version": 1, "models": {chosen: card}}
    text = _formatted(document)
    if output is None:
        report.data(document)
        report.say(text)
        report.bare(text)
    else:
        _write_new(output, text + "\n")
        report.data({"name": chosen, "path": str(output)})
        report.bare(str(output))
        report.say(f"{output}: one card, {click.style(chosen, bold=True)}")
    for problem in check_entry(chosen, card, networks=KNOWN_NETWORKS):
        report.warn(f"{problem.text} ({problem.rule})")


def _formatted(document: object) -> str:
    import json

    return json.dumps(document, indent=2, ensure_ascii=False)


def _write_new(path: Path, text: str) -> None:
    from modelzoo.errors import DiskError

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(
            "There is a file of that name.", received=str(path), hint="choose another -o, or copy the card into it"
        ) from None
    except OSError as error:
        raise DiskError(f"The card cannot be written: {error.strerror}.", received=str(path)) from error


@registry.command("mirror")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("names", metavar="[NAME...]", nargs=-1, type=MODEL)
@click.option("--trust-first-use", is_flag=True, help="Mirror files without a strong digest too, and pin them there.")
@accepting_licences
@click.pass_context
def mirror(ctx: click.Context, folder: Path, names: tuple[str, ...], trust_first_use: bool) -> None:
    """Write the files of each model NAME (by default of all pinned ones) into DIR, for any web server to serve.

    DIR holds the files by their digests, and a registry.json with the cards. `--mirror URL` then fetches from there
    first; what comes is verified by the user's own registry all the same. Running it again adds and repairs.
    """
    from modelzoo.registry import info, load_registries
    from modelzoo.registry.mirror import write_mirror

    settings = current(ctx)
    report = settings.reporter
    registries = load_registries(settings.registries, use=names or None)
    chosen = names or [name for name, summary, _ in registries if summary.trust == "pinned"]
    cards = [info(name, registries=registries) for name in dict.fromkeys(chosen)]

    def tell(one: Mirrored) -> None:
        if one.error is not None:
            if not report.json:
                report.error(one.error)
            return
        report.bare(one.name)
        new = f"{one.fetched} new" if one.fetched else "were there"
        report.say(f"{click.style(one.name, bold=True)}  {human_size(one.size)}, {len(one.files)} files, {new}")

    done = write_mirror(folder, cards, trust_first_use=trust_first_use, report=tell)
    report.data(
        [
            {"name": one.name, "files": list(one.files), "fetched": one.fetched, "size": one.size}
            if one.error is None
            else {"name": one.name, **one.error.as_dict()}
            for one in done
        ]
    )
    failed = [one.error for one in done if one.error is not None]
    if failed:
        ctx.exit(failed[0].exit_code)
    if (folder / "metadata" / "timestamp.json").is_file():
        report.warn(
            f"{folder} is signed, as it was before: `modelzoo registry sign {folder} --key KEYFILE` signs it anew"
        )
    report.note(f"serve {folder}, then: modelzoo --mirror URL fetch {cards[0].name if cards else 'NAME'}")


@registry.command("keygen")
@click.argument("file", metavar="KEYFILE", type=click.Path(path_type=Path))
@click.pass_context
def keygen(ctx: click.Context, file: Path) -> None:
    """Make an Ed25519 key to sign registries with, in a new file that only you may read. Its fingerprint is printed.

    Keep KEYFILE where the web server is not: whoever has it signs in your name.
    """
    from modelzoo.registry.signing import make_key

    report = current(ctx).reporter
    fingerprint = make_key(file)
    report.data({"path": str(file), "fingerprint": fingerprint})
    report.bare(fingerprint)
    report.say(f"{file}: a key, fingerprint {click.style(fingerprint, bold=True)}")


_EXPIRES = click.option(
    "--expires", type=Duration(), default="30d", show_default=True, help="Readers need a newer signature after this."
)


@registry.command("sign")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--key", metavar="KEYFILE", required=True, type=click.Path(path_type=Path), help="Sign with this key.")
@_EXPIRES
@click.pass_context
def sign(ctx: click.Context, folder: Path, key: Path, expires: float) -> None:
    """Sign DIR/registry.json, for the first time or again: after each change of it, and before it expires.

    The signatures lie in DIR/metadata and DIR/targets, for any web server to serve. Keep them: begun anew, they would
    look like an old state to whoever knows them.
    """
    from modelzoo.registry.signing import sign_registry

    _tell(ctx, folder, sign_registry(folder, key, expires=_span(expires)))


@registry.command("rotate")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--old", metavar="KEYFILE", required=True, type=click.Path(path_type=Path), help="The key until now.")
@click.option("--new", metavar="KEYFILE", required=True, type=click.Path(path_type=Path), help="The key from now on.")
@_EXPIRES
@click.pass_context
def rotate(ctx: click.Context, folder: Path, old: Path, new: Path, expires: float) -> None:
    """Replace the key of a signed registry, and sign it with the new one.

    Whoever added it follows by himself; what the old key signs is refused from then on.
    """
    from modelzoo.registry.signing import rotate_key

    _tell(ctx, folder, rotate_key(folder, old, new, expires=_span(expires)))


def _span(seconds: float) -> timedelta:
    """A span of time as signatures have it.

    Raises:
        UsageError: it is too short or too long for one.
    """
    from datetime import timedelta

    if not 60 <= seconds <= 10 * 365 * 86400:
        raise UsageError("A signature holds for a minute at least, and ten years at most.", received=f"{seconds:g} s")
    return timedelta(seconds=int(seconds))


def _tell(ctx: click.Context, folder: Path, signed: Signed) -> None:
    report = current(ctx).reporter
    report.data(
        {
            "path": str(folder),
            "fingerprint": signed.fingerprint,
            "version": signed.version,
            "root_version": signed.root_version,
            "expires": f"{signed.expires:%Y-%m-%dT%H:%M:%SZ}",
            "root_expires": f"{signed.root_expires:%Y-%m-%dT%H:%M:%SZ}",
        }
    )
    report.bare(signed.fingerprint)
    report.say(
        f"{folder}: signed, version {signed.version}, up to {signed.expires:%Y-%m-%d %H:%M} UTC, "
        f"root version {signed.root_version}"
    )
    report.note(f"to read it: modelzoo registry add URL/registry.json --fingerprint {signed.fingerprint}")
