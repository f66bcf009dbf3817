"""Signing a registry: keys, and the metadata of The Update Framework (specification 1.0.31) beside `registry.json`.

::

    <folder>/registry.json
    <folder>/metadata/1.root.json ... root.json   which keys sign, each root signed by the keys of the one before too
    <folder>/metadata/timestamp.json              the newest snapshot
    <folder>/metadata/<n>.snapshot.json           the newest targets
    <folder>/metadata/<n>.targets.json            the digest of the registry
    <folder>/targets/<sha256>.registry.json       the registry, under a name that no other state of it has

Any web server can serve it, and any client of the framework can read it. One Ed25519 key signs all four roles. What is
new is written before `timestamp.json` names it, and the state before it is kept, so that whoever reads in between finds
one state or the other.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from modelzoo.errors import DiskError, MissingExtraError, RegistryError, SignatureError, UsageError
from modelzoo.registry.mirror import write_whole
from modelzoo.registry.registry_file import Registry
from modelzoo.registry.validate import validate_registry

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
    from tuf.api.serialization.json import JSONSerializer
except ImportError as error:
    raise MissingExtraError("signed", "tuf", "Signing a registry") from error

from modelzoo.registry.verification import fingerprint_of

__all__ = ["Signed", "make_key", "rotate_key", "sign_registry"]

_log = logging.getLogger("modelzoo")

NAME = "registry.json"
MONTH = datetime.timedelta(days=30)
YEAR = datetime.timedelta(days=365)
_ROLES = ("root", "timestamp", "snapshot", "targets")


class Signed:
    """What was signed.

    Attributes:
        fingerprint: of the key.
        version: how often this registry was signed.
        root_version: how many roots it has had.
        expires: up to when it can be used without being signed again.
        root_expires: up to when its root can; `sign_registry` renews it in time.
    """

    def __init__(
        self,
        fingerprint: str,
        version: int,
        root_version: int,
        expires: datetime.datetime,
        root_expires: datetime.datetime,
    ) -> None:
        self.fingerprint = fingerprint
        self.version = version
        self.root_version = root_version
        self.expires = expires
        self.root_expires = root_expires


def make_key(path: str | os.PathLike[str]) -> str:
    """Make an Ed25519 key and write it to a new file that only its owner may read (PEM, PKCS #8, not encrypted).

    Returns:
        Its fingerprint.

    Raises:
        UsageError: there is a file of that name.
        DiskError: it cannot be written.
    """
    signer = CryptoSigner.generate_ed25519()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(signer.private_bytes)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            Path(path).unlink(missing_ok=True)
            raise
    except FileExistsError:
        raise UsageError(
            "There is a file of that name, and a key is never overwritten.",
            received=str(path),
            hint="whoever loses the key of a registry cannot sign it any more: choose another name",
        ) from None
    except OSError as error:
        raise DiskError(f"The key cannot be written: {error.strerror}.", received=str(path)) from error
    return fingerprint_of(signer.public_key)


def sign_registry(
    folder: str | os.PathLike[str],
    key: str | os.PathLike[str],
    *,
    expires: datetime.timedelta = MONTH,
    root_expires: datetime.timedelta = YEAR,
    now: datetime.datetime | None = None,
) -> Signed:
    """Sign `registry.json` in a folder, for the first time or again.

    Args:
        folder: that holds it; a mirror of `modelzoo.registry.mirror` too.
        key: the file of the key, as `make_key` writes it.
        expires: after this time whoever reads the registry needs a newer signature.
        root_expires: the same for a new root; one is made when half of this is over.
        now: for what time; None: now.

    Raises:
        UsageError: there is no registry, the key is none, or not the one that signed before.
        RegistryFormatError: the registry is not valid; nothing is signed then.
        SignatureError: the metadata that is there is damaged.
        DiskError: the folder cannot be written.
    """
    root_folder = Path(folder)
    signer = _load(key)
    now = _now(now)
    data = _registry(root_folder)
    state = _State(root_folder)
    if state.root is None:
        state.new_root(signer, [signer], now + max(root_expires, expires))
    else:
        state.check(signer, key)
        # Its date would come before that of the rest, or soon: renewed while the old one is still good for everybody.
        if state.root.signed.expires < now + max(root_expires / 2, expires):
            state.new_root(signer, [signer], now + max(root_expires, expires))
    return state.publish(data, signer, now + expires)


def rotate_key(
    folder: str | os.PathLike[str],
    old: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *,
    expires: datetime.timedelta = MONTH,
    root_expires: datetime.timedelta = YEAR,
    now: datetime.datetime | None = None,
) -> Signed:
    """Replace the key of a signed registry: a root that both keys sign takes the old one out and the new one in.

    Whoever trusts the old key follows by himself; what the old key alone signs is refused from then on.

    Args:
        folder: of the registry, signed by `old`.
        old, new: files of the keys.
        expires, root_expires, now: as for `sign_registry`, which this ends with.

    Raises:
        As `sign_registry`; UsageError also where the registry is not signed yet, or both keys are the same.
    """
    root_folder = Path(folder)
    before, after = _load(old), _load(new)
    now = _now(now)
    data = _registry(root_folder)
    state = _State(root_folder)
    if state.root is None:
        raise UsageError("This registry is not signed yet.", received=str(folder), hint="`modelzoo registry sign` it")
    state.check(before, old)
    if before.public_key.keyid == after.public_key.keyid:
        raise UsageError("The new key is the old one.", received=str(new), hint="`modelzoo registry keygen` makes one")
    state.new_root(after, [before, after], now + max(root_expires, expires))
    return state.publish(data, after, now + expires)


class _State:
    """The metadata of a folder: the newest root, and versions of the rest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._metadata = folder / "metadata"
        self.root: Metadata[Root] | None = self._newest_root()
        self._roots: list[Metadata[Root]] = []  # that are not written yet

    def check(self, signer: CryptoSigner, path: str | os.PathLike[str]) -> None:
        """Raise UsageError unless the key, and it alone, signs every role of this registry."""
        assert self.root is not None
        for role in _ROLES:
            known = {fingerprint_of(self.root.signed.keys[one]) for one in self.root.signed.roles[role].keyids}
            if known != {fingerprint_of(signer.public_key)}:
                raise UsageError(
                    "This registry is signed with another key.",
                    received=f"{path} ({fingerprint_of(signer.public_key)}); its {role} has {', '.join(sorted(known))}",
                    hint="`modelzoo registry rotate` replaces a key by a new one, with both at hand",
                )

    def new_root(self, signer: CryptoSigner, signers: list[CryptoSigner], expires: datetime.datetime) -> None:
        """The next root: the key of `signer` for all roles, signed by `signers`."""
        root = Root(version=1 if self.root is None else self.root.signed.version + 1, expires=expires)
        for role in _ROLES:
            root.add_key(signer.public_key, role)
        made = Metadata(root)
        for one in signers:
            made.sign(one, append=True)
        self.root = made
        self._roots.append(made)

    def publish(self, data: bytes, signer: CryptoSigner, expires: datetime.datetime) -> Signed:
        """Sign everything below the root anew and write it, the timestamp last."""
        assert self.root is not None
        timestamp_before = self._read("timestamp")
        before = 0 if timestamp_before is None else int(timestamp_before.signed.version)
        # A signing that was stopped, or a timestamp that was lost, has left higher numbers: none is given twice.
        version = 1 + max([before, *self._numbers("snapshot"), *self._numbers("targets")])
        digest = hashlib.sha256(data).hexdigest()
        targets = _signed(Targets(version, expires=expires, targets={NAME: _target(data)}), signer)
        snapshot = _signed(Snapshot(version, expires=expires, meta={"targets.json": _meta(version, targets)}), signer)
        timestamp = _signed(Timestamp(version, expires=expires, snapshot_meta=_meta(version, snapshot)), signer)
        _put(self._folder / "targets" / f"{digest}.{NAME}", data)
        _put(self._metadata / f"{version}.targets.json", targets)
        _put(self._metadata / f"{version}.snapshot.json", snapshot)
        for root in self._roots:
            text = _bytes(root)
            _put(self._metadata / f"{root.signed.version}.root.json", text)
            _put(self._metadata / "root.json", text)
        _put(self._metadata / "timestamp.json", timestamp)
        self._tidy({version, before})
        return Signed(
            fingerprint_of(signer.public_key),
            version,
            self.root.signed.version,
            expires,
            self.root.signed.expires,
        )

    def _newest_root(self) -> Metadata[Root] | None:
        """The root with the highest number, which may be newer than `root.json`: each number is given once."""
        newest = max(self._numbers("root"), default=None)
        if newest is None:
            if self._read("timestamp") is not None:
                raise self._damaged(self._metadata / "1.root.json")
            return None
        root = self._read(f"{newest}.root")
        if root is None or root.signed.type != "root" or root.signed.version != newest:
            raise self._damaged(self._metadata / f"{newest}.root.json")
        return root

    def _numbers(self, role: str) -> list[int]:
        """Of the files of a role that are there."""
        found = [path.name.partition(".")[0] for path in self._metadata.glob(f"*.{role}.json")]
        return [int(number) for number in found if number.isdecimal()]

    def _read(self, role: str) -> Metadata[Any] | None:
        path = self._metadata / f"{role}.json"
        try:
            return Metadata.from_bytes(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DiskError(f"The signatures of a registry cannot be read: {error.strerror}.", received=path) from error
        except (RepositoryError, ValueError) as error:
            raise self._damaged(path) from error

    def _damaged(self, path: Path) -> SignatureError:
        return SignatureError(
            "The signatures of a registry are damaged.",
            received=str(path),
            hint="bring the folder `metadata` back from a backup: whoever trusts it would refuse one that begins anew",
        )

    def _tidy(self, versions: set[int]) -> None:
        """Remove what is of other states than these; all roots stay, for those who missed some."""
        kept = set()
        for number in versions:
            found = self._read(f"{number}.targets")
            if found is not None:
                kept.add(f"{found.signed.targets[NAME].hashes['sha256']}.{NAME}")
        old = [one for one in (self._folder / "targets").glob(f"*.{NAME}") if one.name not in kept]
        for role in ("targets", "snapshot"):
            old += [self._metadata / f"{n}.{role}.json" for n in self._numbers(role) if n not in versions]
        for path in old:
            try:
                path.unlink()
            except OSError as error:
                _log.warning("an old file of the signed registry stays: %s (%s)", path, error.strerror)


def _registry(folder: Path) -> bytes:
    path = folder / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"There is no {NAME} to be signed.", received=str(folder)) from None
    except OSError as error:
        raise RegistryError(f"A registry cannot be read: {error.strerror}.", received=str(path)) from error
    validate_registry({"schema_version": 1, "models": Registry(str(path), "file", data).models}, where=str(path))
    return data


def _load(path: str | os.PathLike[str]) -> CryptoSigner:
    where = Path(path)
    try:
        data = where.read_bytes()
        loose = os.name == "posix" and where.stat().st_mode & 0o077
    except OSError as error:
        raise UsageError(f"The key cannot be read: {error.strerror}.", received=str(path)) from error
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(
            "This is not the file of a key: Ed25519, PEM, PKCS #8, without a password.",
            received=str(path),
            hint="`modelzoo registry keygen FILE` writes one",
        )
    if loose:
        _log.warning("%s can be read by other users; chmod 600 keeps the key yours", path)
    return CryptoSigner(key)


def _now(now: datetime.datetime | None) -> datetime.datetime:
    return (now or datetime.datetime.now(datetime.UTC)).replace(microsecond=0)


def _signed(signed: Any, signer: CryptoSigner) -> bytes:
    made = Metadata(signed)
    made.sign(signer)
    return _bytes(made)


def _bytes(made: Metadata[Any]) -> bytes:
    return made.to_bytes(JSONSerializer(compact=False))


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile.from_data(version, data, ["sha256"])


def _target(data: bytes) -> TargetFile:
    return TargetFile.from_data(NAME, data, ["sha256"])


def _put(path: Path, data: bytes) -> None:
    write_whole(path, lambda partial: partial.write_bytes(data), "The signed registry")
