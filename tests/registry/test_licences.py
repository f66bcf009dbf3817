"""Licences: what they restrict, and that one which does is accepted once before anything is fetched."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from modelzoo import errors, fetch, load_pretrained
from modelzoo.registry import Card, load_registries
from modelzoo.registry.licences import (
    FIELDS,
    NETWORK,
    NON_COMMERCIAL,
    PRODUCTION,
    RESEARCH,
    accept,
    answering,
    is_accepted,
    require,
    statement,
    terms,
)

BUILT_IN = {
    "Apache-2.0": "free",
    "BSD-2-Clause": "free",
    "BSD-3-Clause": "free",
    "CC-BY-4.0": "free",
    "MIT": "free",
    "non-commercial": "restricted",
    "unknown": "unknown",
    "unrestricted": "free",
}
"""Every licence of the built-in registry."""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    for name in ("MODELZOO_ACCEPT_LICENCE", "MODELZOO_REGISTRY", "MODELZOO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def test_every_licence_of_the_built_in_registry_is_in_the_table() -> None:
    found = {summary.licence for _, summary, _ in load_registries(environment=False)}
    assert {licence: terms(licence).kind for licence in found} == BUILT_IN


@pytest.mark.parametrize(
    "licence,restriction",
    [
        ("CC-BY-NC-4.0", NON_COMMERCIAL),
        ("cc-by-nc-sa-3.0-de", NON_COMMERCIAL),
        ("CC-BY-ND-NC-1.0", NON_COMMERCIAL),
        ("PolyForm-Noncommercial-1.0.0", NON_COMMERCIAL),
        ("non-commercial", NON_COMMERCIAL),
        ("Custom, noncommercial", NON_COMMERCIAL),
        ("LicenseRef-Acme-Non-Commercial", NON_COMMERCIAL),
        ("research-only", RESEARCH),
        ("for research purposes only", RESEARCH),
        ("Academic use", RESEARCH),
        ("AGPL-3.0-only", NETWORK),
        ("AGPL-3.0-or-later", NETWORK),
        ("SSPL-1.0", NETWORK),
        ("BUSL-1.1", PRODUCTION),
        ("Apache-2.0 WITH Commons-Clause", PRODUCTION),
        ("CreativeML-OpenRAIL-M", FIELDS),
        ("openrail++-m", FIELDS),
        ("llama3.1", FIELDS),
        ("MIT AND CC-BY-NC-4.0", NON_COMMERCIAL),
        ("(MIT OR Apache-2.0) AND AGPL-3.0-only", NETWORK),
        ("CC-BY-NC-4.0 OR LicenseRef-Own", NON_COMMERCIAL),
    ],
)
def test_what_restricts_the_use(licence: str, restriction: str) -> None:
    assert terms(licence) == ("restricted", (restriction,))


@pytest.mark.parametrize(
    "licence",
    [
        *(one for one, kind in BUILT_IN.items() if kind == "free"),
        "GPL-3.0-or-later",
        "GPL-2.0+",
        "LGPL-2.1-only",
        "MPL-2.0",
        "CC0-1.0",
        "CC-BY-SA-4.0",
        "NCSA",
        "mit",
        "Apache-2.0 OR CC-BY-NC-4.0",
        "MIT OR LicenseRef-Own",
        "GPL-2.0-or-later WITH Classpath-exception-2.0",
        "(((MIT)))",
        "MIT OR Apache-2.0 AND AGPL-3.0-only",
    ],
)
def test_what_does_not(licence: str) -> None:
    assert terms(licence) == ("free", ())


@pytest.mark.parametrize(
    "licence",
    ["LicenseRef-Own", "MIT License", "see website", "MIT AND", "(MIT", "MIT)", "()", "AND", "MIT MIT", "(" * 9999],
)
def test_what_this_table_does_not_have_is_not_taken_for_free(licence: str) -> None:
    assert terms(licence).kind == "unlisted"


@pytest.mark.parametrize("licence", ["unknown", "UNKNOWN", "NOASSERTION", "none", " "])
def test_what_nobody_states(licence: str) -> None:
    assert terms(licence).kind == "unknown"
    assert terms(licence, "the README says: for non-commercial use").restrictions == (NON_COMMERCIAL,)


def test_a_note_adds_to_words_and_not_to_identifiers() -> None:
    assert terms("custom", "research only").restrictions == (RESEARCH,)
    assert terms("MIT", "the data set was for non-commercial use").kind == "free"


# -- accepting -------------------------------------------------------------------------------------------------------


def registry(folder: Path, **licences: str) -> str:
    models: dict[str, Any] = {}
    for name, licence in licences.items():
        data = name.encode() * 100
        (folder / f"{name}.bin").write_bytes(data)
        file = {
            "name": f"{name}.bin",
            "role": "weights",
            "urls": [{"url": (folder / f"{name}.bin").as_uri()}],
            "size": len(data),
            "digests": {"sha256": hashlib.sha256(data).hexdigest()},
        }
        about = {"title": name, "task": "t", "framework": "f", "build": {"converter": "onnx"}}
        models[name] = {**about, "licence": licence, "licence_url": "https://example.org/text", "files": [file]}
    path = folder / "registry.json"
    path.write_text(json.dumps({"schema_version": 1, "models": models}))
    return str(path)


@pytest.fixture
def own(tmp_path: Path) -> str:
    return registry(tmp_path, nc="CC-BY-NC-4.0", other="CC-BY-NC-4.0", free="MIT")


@pytest.fixture
def card(own: str) -> Card:
    return load_registries([own]).card("nc")


def records(tmp_path: Path) -> list[str]:
    folder = tmp_path / "config" / "licences"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_nothing_is_fetched_before_the_licence_is_accepted(own: str, tmp_path: Path) -> None:
    with pytest.raises(errors.LicenceError) as caught:
        fetch("nc", registries=[own])
    error = caught.value
    assert error.exit_code == 18
    assert NON_COMMERCIAL in error.what
    assert "https://example.org/text" in error.received
    for way in ("modelzoo fetch --accept-licence nc", "accept_licence=True", "MODELZOO_ACCEPT_LICENCE=CC-BY-NC-4.0"):
        assert way in (error.hint or "")
    assert not (tmp_path / "cache" / "models").exists()
    assert records(tmp_path) == []
    with pytest.raises(errors.LicenceError):
        load_pretrained("nc", registries=[own])


def test_it_is_accepted_once_and_recorded(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch("nc", registries=[own], accept_licence=True).files["weights"].read_bytes() == b"nc" * 100
    assert records(tmp_path) == ["nc.json"]
    record = json.loads((tmp_path / "config" / "licences" / "nc.json").read_text())
    assert (record["model"], record["licence"]) == ("nc", "CC-BY-NC-4.0")
    assert record["restrictions"] == [NON_COMMERCIAL]
    assert record["files"] == {"nc.bin": {"sha256": hashlib.sha256(b"nc" * 100).hexdigest()}}
    assert record["accepted"].endswith("+00:00")
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "another"))
    fetch("nc", registries=[own])
    with pytest.raises(errors.LicenceError):  # every model is shown once
        fetch("other", registries=[own])


def test_what_is_cached_is_never_asked_for(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELZOO_ACCEPT_LICENCE", "CC-BY-NC-4.0")
    place = fetch("nc", registries=[own]).files["weights"]
    monkeypatch.delenv("MODELZOO_ACCEPT_LICENCE")
    assert records(tmp_path) == []
    fetch("nc", registries=[own])
    os.utime(place, (1, 1))  # as in a copied cache: it only looks touched
    fetch("nc", registries=[own])


def test_a_free_licence_and_one_that_nobody_states_ask_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = registry(tmp_path, free="MIT", silent="unknown", words="ask Bob")
    fetch("free", registries=[own])
    assert caplog.text == ""
    fetch("silent", registries=[own])
    assert "nobody states the licence" in caplog.text
    fetch("words", registries=[own])
    assert "ask Bob" in caplog.text
    assert records(tmp_path) == []


@pytest.mark.parametrize("said", ["CC-BY-NC-4.0", "cc-by-nc-*", "MIT, nc", "*", " nc ,"])
def test_the_environment_accepts_by_licence_by_model_and_by_pattern(
    card: Card, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELZOO_ACCEPT_LICENCE", said)
    require(card)
    assert records(tmp_path) == []


@pytest.mark.parametrize("said", ["", ",", "MIT", "n", "CC-BY-NC"])
def test_the_environment_accepts_nothing_else(card: Card, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELZOO_ACCEPT_LICENCE", said)
    with pytest.raises(errors.LicenceError):
        require(card)


def test_a_program_may_ask_in_its_own_way(card: Card, tmp_path: Path) -> None:
    shown: list[str] = []

    def answer(text: str) -> bool:
        shown.append(text)
        return len(shown) > 1

    with answering(answer):
        with pytest.raises(errors.LicenceError):
            require(card)
        require(card)
        require(card)  # it is recorded by now: nobody asks
    assert shown == [statement(card)] * 2
    assert records(tmp_path) == ["nc.json"]


def test_a_card_that_states_something_else_later_is_asked_for_again(tmp_path: Path) -> None:
    before = load_registries([registry(tmp_path, nc="CC-BY-NC-4.0")]).card("nc")
    accept(before)
    assert is_accepted(before)
    after = load_registries([registry(tmp_path, nc="CC-BY-NC-ND-4.0")]).card("nc")
    assert not is_accepted(after)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b'{"model": "nc"}', b"[" * 100_000])
def test_a_damaged_record_accepts_nothing_and_is_replaced(card: Card, damage: bytes) -> None:
    path = Path(accept(card))
    path.write_bytes(damage)
    assert not is_accepted(card)
    require(card, accept_licence=True)
    assert is_accepted(card)
    assert [one.name for one in path.parent.iterdir()] == ["nc.json"]


def test_a_folder_that_cannot_be_written_costs_the_record_and_not_the_model(
    own: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "licences").write_text("a file where the folder should be")
    fetch("nc", registries=[own], accept_licence=True)
    assert "cannot be recorded" in caplog.text


def test_what_was_accepted_for_a_model_holds_for_what_is_fine_tuned_from_it(card: Card) -> None:
    raw = card.as_dict()
    base = {"name": "nc", "card": raw}
    tuned = Card.from_dict("mine", {**raw, "title": "mine", "build": {"network": "finetuned", "args": {"base": base}}})
    with pytest.raises(errors.LicenceError):
        require(tuned)
    accept(card)
    require(tuned)
    for wrong in ({}, [], {"name": "nc"}, {"name": "nc", "card": 3}):
        odd = Card.from_dict("odd", {**raw, "build": {"network": "finetuned", "args": {"base": wrong}}})
        with pytest.raises(errors.LicenceError):
            require(odd)
