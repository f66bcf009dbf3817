"""A signed registry past its date: looking asks nobody and says so, using renews it or is refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="signed registries need the extra `signed`")

from modelzoo import errors
from modelzoo.registry import cache, card_to_use, configured, info, list_models, load_registries, trusted
from modelzoo.registry import verification as reading
from tests.registry.publishing import Publisher, Served, put_clock, serving


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publisher")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publisher: Publisher) -> Iterator[Served]:
    """A registry of the card `one`, added with the namespace `me`, whose date has passed since."""
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("MODELZOO_REGISTRY", "MODELZOO_OFFLINE", "MODELZOO_AUTH", "MODELZOO_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    with serving() as server:
        server.show(publisher.sign("one"))
        reading.add_signed(server.url, root=publisher.root)
        configured.add(server.url, "me", signed=True)
        put_clock(monkeypatch, 31)
        server.server.seen.clear()
        yield server


def test_looking_asks_nobody_and_says_what_to_type(served, caplog):
    with caplog.at_level(logging.WARNING, logger="modelzoo"):
        assert "me/one" in list_models()
        assert "inception_v1" in list_models()
        assert info("me/one").title == "Mine"
    assert served.asked() == []
    expires = trusted.read(served.url).expires
    assert set(caplog.messages) == {
        f"the signed registry {served.url} expired at {expires}: its models are shown, and not fetched "
        "until `modelzoo list --refresh` renews it"
    }
    with pytest.raises(errors.ExpiredError):
        list_models(refresh=True)
    assert served.asked()


def test_using_what_others_have_asks_nobody_either(served):
    assert card_to_use("inception_v1").name == "inception_v1"
    assert served.asked() == []


def test_a_card_of_it_is_refused_offline_and_where_nothing_newer_is_signed(served, monkeypatch):
    with pytest.raises(errors.ExpiredError):
        card_to_use("me/one")
    assert served.asked()
    served.server.seen.clear()
    monkeypatch.setenv("MODELZOO_OFFLINE", "1")
    with pytest.raises(errors.ExpiredError, match="the network must not be used"):
        card_to_use("me/one")
    assert served.asked() == []
    assert "me/one" in list_models()


def test_a_card_of_it_is_used_once_it_is_renewed(served, publisher, caplog):
    served.show(publisher.sign("one", "two", days=90))
    with caplog.at_level(logging.WARNING, logger="modelzoo"):
        assert card_to_use("me/one").name == "me/one"
    assert not caplog.messages
    assert {"me/one", "me/two"} <= set(list_models())


def test_a_card_that_the_renewed_registry_has_no_more_is_that_of_the_next_one(served, publisher, monkeypatch):
    configured.remove(served.url)
    put_clock(monkeypatch, 0)
    served.show(publisher.sign("inception_v1"))
    reading.add_signed(served.url, root=publisher.root)
    configured.add(served.url, signed=True)
    assert card_to_use("inception_v1").title == "Mine"
    put_clock(monkeypatch, 31)
    served.show(publisher.sign("two", days=90))
    assert info("inception_v1").title == "Mine"
    assert card_to_use("inception_v1").title != "Mine"


def test_without_a_copy_nothing_is_shown_of_it_and_nobody_knows_what_it_would_hide(served, publisher, caplog):
    cache.remove(f"signed/{trusted.read(served.url).sha256}.json")
    with caplog.at_level(logging.WARNING, logger="modelzoo"):
        assert [name for name in list_models() if name.startswith("me/")] == []
    assert "no copy" in caplog.text
    assert served.asked() == []
    with pytest.raises(errors.ExpiredError):
        card_to_use("inception_v1")
    served.show(publisher.sign("one", days=90))
    assert card_to_use("inception_v1").name == "inception_v1"
    assert "me/one" in list_models()


def test_whoever_does_not_say_what_he_uses_gets_nothing_that_expired(served):
    with pytest.raises(errors.ExpiredError):
        load_registries()
    (registry, _) = load_registries(use=()).registries
    assert registry.expired == trusted.read(served.url).expires
