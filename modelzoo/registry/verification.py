"""Signed registries, as one reads them: The Update Framework (specification 1.0.31) by its own client, python-tuf.

A registry lies beside two folders: `metadata` (root, timestamp, snapshot, targets) and `targets` (the registry again,
under its digest). The client workflow (section 5.3) finds a rollback, a freeze, a mix of several states, and follows
the root through changes of keys. Here are the bytes for it, by the store's way of asking, and what its errors mean.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from modelzoo.errors import (
    ExpiredError,
    MissingExtraError,
    MixedMetadataError,
    NetworkError,
    RegistryFormatError,
    RollbackError,
    SignatureError,
    UsageError,
)
from modelzoo.registry import cache, remote, trusted
from modelzoo.registry.registry_file import Registry
from modelzoo.registry.trusted import ROLES, Trusted

try:
    import cryptography as _needed  # noqa: F401 - securesystemslib imports without it, and verifies nothing then
    from securesystemslib.exceptions import Error as SecureSystemsError
    from securesystemslib.formats import encode_canonical
    from tuf.api.exceptions import (
        BadVersionNumberError,
        DownloadError,
        DownloadHTTPError,
        DownloadLengthMismatchError,
        ExpiredMetadataError,
        LengthOrHashMismatchError,
        RepositoryError,
        UnsignedMetadataError,
    )
    from tuf.api.metadata import Key, Metadata, Root
    from tuf.ngclient import Updater, UpdaterConfig
    from tuf.ngclient.fetcher import FetcherInterface
except ImportError as error:
    raise MissingExtraError("signed", "tuf", "Verifying a signed registry") from error

__all__ = ["add_signed", "fingerprint_of", "renew"]

_LIMITS = UpdaterConfig()
_LARGEST = 64 << 20
_LOCK_WAIT = 120.0
_PUBLISHER = "tell its publisher; until it is mended, a copy that is not expired stays in use without --refresh."


def add_signed(url: str, *, root: bytes | None = None, fingerprint: str | None = None) -> Trusted:
    """Trust a registry from now on, by its root or by the fingerprint of a key; it is fetched and verified whole first.

    Args:
        url: of the registry (`.../registry.json`).
        root: a `root.json` that came from its publisher by another way than the server.
        fingerprint: of a key that signs the root, 64 hex digits; then the root comes from the server.

    Raises:
        UsageError: not exactly one of them, or one that is none.
        SignatureError: the root is not signed by that key, or the registry not by the root's keys, or it is older than
            what was seen since it was added before.
        NetworkError: the server does not give it.
    """
    if (root is None) == (fingerprint is None):
        raise UsageError("A signed registry is added with its root or with a fingerprint, one of both.")
    pinned = _root_from_server(url, _hex(fingerprint)) if fingerprint is not None else root
    assert pinned is not None
    try:
        first = _root(pinned)
    except (RepositoryError, ValueError) as error:
        raise UsageError(
            f"What should be the root of a signed registry is none: {_short(error)}.",
            hint="`modelzoo registry sign` writes it as metadata/root.json",
        ) from error
    # Added again, it may not go back either; what the keys of this root did not sign does not count.
    seen = trusted.read(url).metadata if trusted.is_signed(url) else {}
    before = Trusted(url, _fingerprints(first.signed)[0], {**seen, "root": pinned.decode()})
    client = _Client(before)
    data = client.run()
    _keep(client, data)
    return client.after


def renew(url: str) -> bytes:
    """Ask the server of a signed registry for something newer, verify it, and trust it from now on.

    Returns:
        The bytes of the registry.

    Raises:
        SignatureError: what came is not what its keys have signed. What was verified before stays as it was, but for
            newer metadata that was verified on the way: nothing older is taken afterwards.
        RegistryFormatError, RegistryVersionError: what was signed is no registry, or none for this version.
        NetworkError: the server does not give it.
        DiskError, LockTimeoutError: what is trusted cannot be written.
    """
    from modelzoo.store import locks

    place = Path(trusted.path(url))
    with locks.held(place.with_suffix(".lock"), _LOCK_WAIT):
        client = _Client(trusted.read(url))
        try:
            data = client.run()
        except Exception:
            if client.after.metadata != client.before.metadata:
                trusted.write(client.after)
            raise
        _keep(client, data)
        return data


def fingerprint_of(key: Key) -> str:
    """SHA-256 of a public key in canonical JSON, in hex. The id that a file states is only what its writer says."""
    text = encode_canonical({"keytype": key.keytype, "scheme": key.scheme, "keyval": key.keyval})
    return hashlib.sha256(str(text).encode()).hexdigest()


def _keep(client: _Client, data: bytes) -> None:
    """The copy first: what is trusted then names only what is there."""
    cache.write(f"signed/{client.after.sha256}.json", data)
    trusted.write(client.after)
    if client.before.sha256 not in ("", client.after.sha256):
        cache.remove(f"signed/{client.before.sha256}.json")


class _Client:
    """One run of the client workflow, from what was trusted `before` to `after`, in a folder that is thrown away."""

    def __init__(self, before: Trusted) -> None:
        parts = urlsplit(before.url)
        folder, _, name = parts.path.rpartition("/")
        self.before = before
        self.after = before
        self._name = name or "registry.json"
        self._shown = remote.shown(before.url)
        self._base = urlunsplit((parts.scheme, parts.netloc, folder, "", ""))
        self._fetcher = _Fetcher(parts.query)

    def run(self) -> bytes:
        """The registry. `after` is right in any case, also where this raises."""
        from modelzoo.store import disk

        with disk.guard("verify a registry", Path("the folder for temporary files")), TemporaryDirectory() as name:
            folder = Path(name)
            for role in ROLES[1:]:
                if role in self.before.metadata:
                    (folder / f"{role}.json").write_bytes(self.before.metadata[role].encode())
            try:
                data = self._updated(folder)
            except (RepositoryError, DownloadError, SecureSystemsError) as error:
                raise self._meaning(error, folder) from error
            except (ValueError, KeyError, TypeError, RecursionError) as error:  # of metadata nobody foresaw
                raise SignatureError(
                    f"{self._fetcher.name} of a signed registry cannot be understood: {_short(error)}.",
                    received=self._shown,
                    hint=_PUBLISHER,
                ) from error
            finally:
                self.after = self._verified(folder)
            _ = Registry(self._shown, "url", data).summaries  # what is no registry is signed for nothing
            self.after = self._whole(folder, data)
            return data

    def _updated(self, folder: Path) -> bytes:
        updater = Updater(
            str(folder),
            f"{self._base}/metadata/",
            target_base_url=f"{self._base}/targets/",
            fetcher=self._fetcher,
            config=_LIMITS,
            bootstrap=self.before.metadata["root"].encode(),
        )
        updater.refresh()
        target = updater.get_targetinfo(self._name)
        if target is None:
            raise SignatureError(
                f"The signatures of a registry do not speak of {self._name}.",
                received=self._shown,
                hint="the address of a signed registry ends with the name of its file, registry.json as a rule",
            )
        if target.length > _LARGEST:
            raise RegistryFormatError(f"A registry has more than {_LARGEST >> 20} MiB.", received=self._shown)
        copy = trusted.copy(self.before)
        if copy is not None:
            try:
                target.verify_length_and_hashes(copy)
                return copy
            except LengthOrHashMismatchError:
                pass
        self._fetcher.name = self._name
        path = updater.download_target(target, str(folder / "registry"))
        return Path(path).read_bytes()

    def _verified(self, folder: Path) -> Trusted:
        """What was trusted before, with the files that the client found right."""
        metadata = dict(self.before.metadata)
        for role in ROLES:
            place = folder / f"{role}.json"
            if place.is_file():
                metadata[role] = place.read_bytes().decode()
        old = self.before
        return Trusted(old.url, old.fingerprint, metadata, old.sha256, old.size, old.version, old.expires)

    def _whole(self, folder: Path, data: bytes) -> Trusted:
        signed = {role: Metadata.from_bytes((folder / f"{role}.json").read_bytes()).signed for role in ROLES}
        return Trusted(
            self.before.url,
            _fingerprints(signed["root"])[0],
            self.after.metadata,
            hashlib.sha256(data).hexdigest(),
            len(data),
            signed["timestamp"].version,
            min(one.expires for one in signed.values()).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def _meaning(self, error: Exception, folder: Path) -> Exception:
        """What an error of the client means to the user."""
        file, received = self._fetcher.name, self._shown
        if isinstance(error, DownloadHTTPError):
            return NetworkError(
                f"The server of a signed registry does not have {file} (HTTP {error.status_code}).",
                received=received,
                hint="it is not read without its signatures; is it still published there, and signed?",
            )
        if isinstance(error, DownloadLengthMismatchError):
            if file.endswith((".snapshot.json", ".targets.json")):  # whose lengths are signed too
                return self._mixed(file)
            return SignatureError(
                f"{file} of a signed registry has more bytes than it may have.", received=received, hint=_PUBLISHER
            )
        if isinstance(error, ExpiredMetadataError):
            return self._expired(error, folder)
        if isinstance(error, BadVersionNumberError):
            return self._wrong_version()
        if isinstance(error, UnsignedMetadataError):
            return SignatureError(
                f"{file} of a signed registry is not signed by the keys that are trusted for it.",
                received=f"{_short(error)}, at {received}",
                hint="somebody else has written it, or the keys changed without a root that the old ones sign; "
                "ask its publisher before you `registry remove` it and add it with the new key.",
            )
        if isinstance(error, LengthOrHashMismatchError) and file == self._name:
            return SignatureError(
                f"{file} is not what was signed: its size or digest differs.", received=received, hint=_PUBLISHER
            )
        if isinstance(error, LengthOrHashMismatchError):
            return self._mixed(file)
        return SignatureError(
            f"{file} of a signed registry cannot be used: {_short(error)}.", received=received, hint=_PUBLISHER
        )

    def _expired(self, error: Exception, folder: Path) -> ExpiredError:
        role = next((role for role in ROLES if role in str(error)), "timestamp")
        signed = self._fetcher.parsed(role)
        if signed is None and (folder / f"{role}.json").is_file():
            signed = Metadata.from_bytes((folder / f"{role}.json").read_bytes()).signed
        until = signed.expires.strftime("%Y-%m-%dT%H:%M:%SZ") if signed is not None else "an earlier date"
        return ExpiredError(
            f"A signed registry is out of date: its {role} was signed up to {until}.",
            expires=until,
            received=self._shown,
            hint="its publisher has to sign it again; if he did, somebody keeps the new files from you. "
            "Is your clock right?",
        )

    def _wrong_version(self) -> SignatureError:
        """A rollback where something is older than what was seen, else files that do not belong together."""
        seen = {role: Metadata.from_bytes(text.encode()).signed.version for role, text in self.before.metadata.items()}
        arrived: list[tuple[str, int]] = []
        timestamp, snapshot = self._fetcher.parsed("timestamp"), self._fetcher.parsed("snapshot")
        if timestamp is not None:
            arrived += [("timestamp", timestamp.version), ("snapshot", timestamp.snapshot_meta.version)]
        if snapshot is not None:
            arrived += [(name.removesuffix(".json"), meta.version) for name, meta in snapshot.meta.items()]
        root = self._fetcher.parsed("root")
        if root is not None:
            arrived.append(("root", root.version))
        for role, version in arrived:
            if version < seen.get(role, 0):
                return RollbackError(
                    f"A signed registry went back: {role} version {version} came, and {seen[role]} was seen before.",
                    role=role,
                    seen=seen[role],
                    arrived=version,
                    received=self._shown,
                    hint=_PUBLISHER,
                )
        return self._mixed(self._fetcher.name)

    def _mixed(self, file: str) -> MixedMetadataError:
        return MixedMetadataError(
            f"{file} of a signed registry is not the one that those before it speak of: they are of several states.",
            file=file,
            received=self._shown,
            hint="it may be in the middle of being published: try again in a minute. Else " + _PUBLISHER,
        )


class _Fetcher(FetcherInterface):
    """The client's files by the store's way of asking. `name` is the one that was asked for last."""

    def __init__(self, query: str = "") -> None:
        self.name = "root.json"
        self._query = query
        self._received: dict[str, bytes] = {}

    def parsed(self, role: str) -> Any:
        """The signed part of the last file of a role that came, verified or not; None where it is none."""
        try:
            return Metadata.from_bytes(self._received[role]).signed
        except (KeyError, RepositoryError):
            return None

    def download_bytes(self, url: str, max_length: int) -> bytes:
        self.name = urlsplit(url).path.rpartition("/")[2]
        data = super().download_bytes(url, max_length)
        self._received[re.sub(r"^\d+\.|\.json$", "", self.name)] = data
        return data

    def _fetch(self, url: str) -> Iterator[bytes]:
        if self._query:
            url = f"{url}?{self._query}"
        with remote.ask(url, expected=(403, 404)) as answer:
            if answer.status != 200:
                raise DownloadHTTPError("not there", answer.status)
            yield from answer.pieces


def _root_from_server(url: str, fingerprint: str) -> bytes:
    """The newest root of a registry, if the key of that fingerprint has signed it."""
    client = _Client(Trusted(url, fingerprint, {}))
    try:
        data = client._fetcher.download_bytes(f"{client._base}/metadata/root.json", _LIMITS.root_max_length)
        root = _root(data)
    except (RepositoryError, DownloadError) as error:
        raise client._meaning(error, Path()) from error
    except ValueError as error:
        raise SignatureError(f"The root of a registry is none: {_short(error)}.", received=client._shown) from error
    for key_id in root.signed.roles["root"].keyids:
        key = root.signed.keys[key_id]
        # Its writer lists whatever keys he likes: only a key that has signed it says anything.
        if fingerprint_of(key) == fingerprint and key_id in root.signatures and _has_signed(key, key_id, root):
            return data
    raise SignatureError(
        "The root of a registry is not signed by the key of that fingerprint.",
        received=f"{fingerprint}; its keys are {', '.join(_fingerprints(root.signed)) or 'none'}",
        hint="compare it with what the publisher says; after a change of keys it is another one.",
    )


def _has_signed(key: Key, key_id: str, root: Metadata[Root]) -> bool:
    from securesystemslib.exceptions import UnverifiedSignatureError

    try:
        key.verify_signature(root.signatures[key_id], root.signed_bytes)
    except UnverifiedSignatureError:
        return False
    return True


def _root(data: bytes) -> Metadata[Root]:
    """A root that is signed by enough of its own keys.

    Raises:
        RepositoryError: it is not, or no root.
        ValueError: it is not even text.
    """
    found: Metadata[Root] = Metadata.from_bytes(data)
    if found.signed.type != "root":
        raise RepositoryError(f"it is the {found.signed.type}")
    found.signed.verify_delegate("root", found.signed_bytes, found.signatures)
    return found


def _fingerprints(root: Any) -> list[str]:
    return [fingerprint_of(root.keys[key_id]) for key_id in root.roles["root"].keyids]


def _hex(fingerprint: str) -> str:
    text = re.sub(r"[:\s]", "", fingerprint).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise UsageError(
            "A fingerprint has 64 hexadecimal digits.",
            received=fingerprint,
            hint="`modelzoo registry sign` and `keygen` print it",
        )
    return text


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
