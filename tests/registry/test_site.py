"""The catalogue: a page a card, what a card says is only text, and the folder is replaced whole or not at all."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from modelzoo import errors
from modelzoo.registry import Card, Registries, Registry, load_registries
from modelzoo.registry.site import write_site
from modelzoo.registry.site.card_page import card_page, python_lines, shell_lines
from modelzoo.registry.site.index_page import page_name, size_text
from modelzoo.registry.site.markup import element, link, text

HOSTILE = "</title></script><script>alert(1)</script><img src=x onerror='alert(2)'>\"'>&amp;"


class Page(HTMLParser):
    """What a page consists of: tags with attributes, texts by the innermost tag, and whether all tags are closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def hostile(value: Any, key: str = "") -> Any:
    """The card's JSON with every text replaced that the schema leaves free; it is a valid card still."""
    kept = (
        "role",
        "kind",
        "colour",
        "layout",
        "dataset",
        "interpolation",
        "digests",
        "url",
        "commit",
        "aliases",
        "needs",
    )
    if isinstance(value, dict):
        return {key: item if key in kept else hostile(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item, f"{n}") for n, item in enumerate(value)]
    return HOSTILE + key if isinstance(value, str) else value


def built_in() -> Registries:
    return load_registries(environment=False)


def registry_of(
    models: dict[str, Any], location: str = "/home/me/own.json", kind: str = "file", **more: Any
) -> Registry:
    return Registry(location, kind, json.dumps({"schema_version": 1, "models": models}).encode(), **more)


@pytest.fixture
def models() -> dict[str, Any]:
    found = built_in()
    return {name: found.card(name).as_dict() for name in ("inception_v1", "finetune_flickr_style", "alexnet_v2")}


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogue of all built-in cards."""
    return write_site(tmp_path_factory.mktemp("whole") / "site", built_in()).folder


# -- what is on the pages --------------------------------------------------------------------------------------------


def test_every_card_has_a_line_and_a_page(whole: Path) -> None:
    names = built_in().names()
    index = Page((whole / "index.html").read_text(encoding="utf-8"))
    links = [one["href"] for one in index.all("a") if (one["href"] or "").startswith("models/")]
    assert len(links) == len(set(links)) == len(names) > 600
    assert {unquote(one or "") for one in links} == {page_name(name) for name in names}
    pages = sorted(path.name for path in (whole / "models").iterdir())
    assert pages == sorted(page_name(name).removeprefix("models/") for name in names)
    listed = json.loads((whole / "site.json").read_text())
    assert listed["cards"] == len(names)
    assert listed["files"] == {
        name: hashlib.sha256(data).hexdigest() for name, data in files_of(whole).items() if name != "site.json"
    }


def test_no_page_of_the_built_in_cards_loads_or_runs_anything_but_its_own(whole: Path) -> None:
    count = 0
    for path in whole.rglob("*.html"):
        page = Page(path.read_text(encoding="utf-8"))
        assert_harmless(page)
        count += 1
    assert count > 600


def assert_harmless(page: Page) -> None:
    assert not {name for name, _ in page.tags} & {"link", "img", "iframe", "object", "embed", "base", "video", "svg"}
    assert len(page.all("script")) == len(page.all("style")) == 1
    for name, attributes in page.tags:
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "style", "srcset", "action")]
        if "href" in attributes:
            assert name == "a"
            assert re.match(
                r"https?://|(\.\./)?index\.html$|(models/)?[\w.%~-]+\.html$|#main$", attributes["href"] or ""
            )
    (policy,) = [one["content"] or "" for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    for kind in ("script", "style"):
        (inside,) = page.texts[kind]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert allowed[f"{kind}-src"] == f"'sha256-{digest}'"


def test_the_pages_can_be_used_without_a_mouse_and_without_seeing_them(whole: Path) -> None:
    index = Page((whole / "index.html").read_text(encoding="utf-8"))
    card = Page((whole / "models" / "inception_v1.html").read_text(encoding="utf-8"))
    for page in (index, card):
        assert page.all("html")[0]["lang"] == "en"
        assert page.tags[[name for name, _ in page.tags].index("body") + 1][1]["href"] == "#main"
        assert "main" in page.ids
        assert len(page.ids) == len(set(page.ids))
        assert len(page.all("h1")) == 1
        levels = [int(name[1]) for name, _ in page.tags if re.fullmatch(r"h\d", name)]
        assert all(later <= before + 1 for before, later in itertools.pairwise(levels))
    labelled = {one.get("for") for one in index.all("label")}
    for control in [*index.all("select"), *index.all("input")]:
        assert control["id"] in labelled or control.get("type") == "checkbox"
    assert {one["id"] for one in index.all("select")} >= {"task", "framework", "licence", "size"}
    (count,) = [one for one in index.all("p") if one.get("id") == "count"]
    assert (count["role"], count["aria-live"]) == ("status", "polite")
    assert "hidden" in index.all("form")[0]  # without scripts there is a plain list and nothing that does nothing
    assert all("hidden" in one for one in card.all("button"))


def test_a_page_says_what_the_card_says(whole: Path) -> None:
    page = Page((whole / "models" / "inception_v1.html").read_text(encoding="utf-8"))
    said = " ".join(one for texts in page.texts.values() for one in texts)
    card = built_in().card("inception_v1")
    wanted = [
        card.title,
        *card.taps,
        *card.aliases,
        *card.notes,
        "Apache-2.0",
        "69.8 %",
        "89.6 %",
        card.accuracy.source,
    ]  # type: ignore[union-attr]
    wanted += [*card.files[0].digests.values(), "24.6 MB", "crop the central 87.5 % of each side", "pinned: every file"]
    wanted += ["224 x 224 x 3 float32 RGB (source NHWC)", "logits, 1001 classes", "inception_v1.ckpt (weights)"]
    for one in wanted:
        assert one in said, one
    links = {one["href"] for one in page.all("a")}
    assert {card.paper, card.licence_url, *(url.url for url in card.files[0].urls)} <= links
    assert "inception_v1_scenes.html" in links  # its variant


def test_a_page_warns_of_a_licence_and_of_loose_files(models: dict[str, Any]) -> None:
    own = registry_of(models)
    nc = card_page(own.card("finetune_flickr_style"), own, models)
    assert "no commercial use" in nc
    assert "accept_licence=True" in nc
    assert "weak: its digests can be forged" in nc
    silent = dataclasses.replace(own.card("inception_v1"), licence="unknown")
    assert "Nobody states a licence" in card_page(silent, own, models)


# -- what readers copy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name,lines",
    [
        (
            "inception_v1",
            'import modelzoo as mz\nmodel = mz.load_pretrained("inception_v1")\n'
            'print(model.decode(model(model.preprocess("cat.jpg"))))',
        ),
        (
            "finetune_flickr_style",
            'import modelzoo as mz\nmodel = mz.load_pretrained("finetune_flickr_style", trust_first_use=True)\n'
            'print(model(model.preprocess("cat.jpg")))',
        ),
        (
            "alexnet_v2",
            'import modelzoo as mz\nmodel = mz.load_pretrained("alexnet_v2", weights=None)\n'
            'print(model(model.preprocess("cat.jpg")))',
        ),
    ],
)
def test_three_lines_of_python(models: dict[str, Any], name: str, lines: str) -> None:
    own = registry_of(models)
    assert python_lines(own.card(name), own) == lines
    assert lines.count("\n") == 2


def test_the_lines_of_every_built_in_card_are_python() -> None:
    found = built_in()
    for name in found.names():
        lines = python_lines(found.card(name), found.registry_of(name))
        compile(lines, name, "exec")
        assert lines.count("\n") == 2


def test_a_registry_behind_a_url_is_named_and_a_file_or_a_key_is_not(models: dict[str, Any]) -> None:
    public = registry_of(models, "https://example.org/r.json", "url")
    card = public.card("inception_v1")
    assert 'registries=["https://example.org/r.json"]' in python_lines(card, public)
    assert shell_lines(card, public) == "modelzoo --registry https://example.org/r.json classify inception_v1 cat.jpg"
    spaced = registry_of(models, "https://example.org/r.json", "url", namespace="ours")
    card = spaced.card("ours/inception_v1")
    assert "registries" not in python_lines(card, spaced)
    assert shell_lines(card, spaced).splitlines() == [
        "modelzoo registry add https://example.org/r.json --as ours",
        "modelzoo classify ours/inception_v1 cat.jpg",
    ]
    for location, kind in (
        ("/home/me/own.json", "file"),
        ("https://me:key@host/r.json", "url"),
        ("https://h/r?k=1", "url"),
    ):
        own = registry_of(models, location, kind)
        page = card_page(own.card("inception_v1"), own, models)
        assert "registries" not in page
        assert "--registry" not in page
        for secret in ("/home/me", "me:key", "k=1"):
            assert secret not in page


# -- hostile cards ---------------------------------------------------------------------------------------------------


def test_what_a_card_says_is_never_markup(models: dict[str, Any], tmp_path: Path) -> None:
    evil = {name: hostile(card) for name, card in models.items()}
    for card in evil.values():
        card["extra field"] = HOSTILE
    site = write_site(tmp_path / "site", Registries([registry_of(evil)]), title=HOSTILE)
    assert site.cards == len(models)
    for path in site.folder.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        page = Page(html)
        assert_harmless(page)
        assert "<script>alert" not in html
        said = "".join(one for texts in page.texts.values() for one in texts)
        assert HOSTILE in said


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "file:///etc/passwd",
        "//example.org/x",
        "https:example.org",
        "https://",
        "https:///x",
        "https://user:key@example.org/x",
        "https://example.org/a b",
        "https://exa\\mple.org",
        "https://[::1/x",
        "https://example.org/\nx",
    ],
)
def test_only_web_addresses_are_links(address: str) -> None:
    assert "<a " not in link(address)
    assert "href" not in link(address, "shown")


def test_a_web_address_is_a_link_that_says_nothing_of_where_it_is_followed() -> None:
    assert link('https://example.org/?a=1&b="') == (
        '<a href="https://example.org/?a=1&amp;b=&quot;" rel="noopener noreferrer nofollow">'
        "https://example.org/?a=1&amp;b=&quot;</a>"
    )


def test_addresses_of_a_card_that_run_something_stay_text(models: dict[str, Any]) -> None:
    raw = models["inception_v1"]
    bad = "javascript:alert(document.domain)"
    raw |= {"paper": bad, "licence_url": bad, "sources": [{"url": bad}], "accuracy": {"source": bad, "top1": 1.0}}
    raw["files"][0]["urls"] = [{"url": bad}, {"url": "https://me:secret@example.org/x?token=1"}]
    own = registry_of(models)
    html = card_page(Card.from_dict("inception_v1", raw), own, models)
    assert html.count(bad) == 5
    assert not [one for one in Page(html).all("a") if "javascript" in (one["href"] or "")]
    assert "secret" not in html


@pytest.mark.parametrize(
    "sign", ["\u202e", "\u2066", "\u200f", "\u0000", "\u001b", "\u0085", "\u2028", "\ud800", "\ufeff"]
)
def test_signs_that_deceive_the_eye_are_shown_as_what_they_are(sign: str) -> None:
    assert text(f"a{sign}b") == "a\N{REPLACEMENT CHARACTER}b"
    assert (
        element("p", f"a{sign}b", title=f"{sign}")
        == '<p title="\N{REPLACEMENT CHARACTER}">a\N{REPLACEMENT CHARACTER}b</p>'
    )
    assert text("é 漢 🙂\n") == "é 漢 🙂\n"


@pytest.mark.parametrize("name", ["con", "a.", "ns/net", "aux.v1"])
def test_names_that_are_no_file_names_everywhere_get_some(name: str, models: dict[str, Any], tmp_path: Path) -> None:
    own = registry_of({name: models["alexnet_v2"]}, kind="builtin")
    site = write_site(tmp_path / "site", Registries([own]))
    index = Page((site.folder / "index.html").read_text(encoding="utf-8"))
    (href,) = [one["href"] or "" for one in index.all("a") if (one["href"] or "").startswith("models/")]
    assert re.fullmatch(r"models/[\w.%~-]+\.html", href)
    assert (site.folder / unquote(href)).is_file()


# -- the folder ------------------------------------------------------------------------------------------------------


def test_the_same_cards_give_the_same_bytes(models: dict[str, Any], tmp_path: Path) -> None:
    one = write_site(tmp_path / "one", Registries([registry_of(models)]))
    turned = dict(reversed(models.items()))
    two = write_site(tmp_path / "two", Registries([registry_of(turned)]))
    assert files_of(one.folder) == files_of(two.folder)
    assert (one.cards, one.files, one.size) == (two.cards, two.files, two.size) == (3, 4, one.size)
    assert one.size == sum(len(data) for name, data in files_of(one.folder).items() if name != "site.json")


def test_names_choose_cards_and_an_alias_is_its_card(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", built_in(), ["googlenet-v1-tf", "inception_v1", "alexnet_v2"])
    assert sorted(files_of(site.folder)) == [
        "index.html",
        "models/alexnet_v2.html",
        "models/inception_v1.html",
        "site.json",
    ]
    page = (site.folder / "models" / "inception_v1.html").read_text(encoding="utf-8")
    assert "inception_v1_scenes" in page
    assert "inception_v1_scenes.html" not in page  # a variant without a page is no link
    with pytest.raises(errors.UnknownModelError):
        write_site(tmp_path / "none", built_in(), ["inception_v9"])
    with pytest.raises(errors.UsageError):
        write_site(tmp_path / "none", Registries([registry_of({})]))
    assert not (tmp_path / "none").exists()


def test_a_site_is_replaced_as_a_whole(models: dict[str, Any], tmp_path: Path) -> None:
    write_site(tmp_path / "site", Registries([registry_of(models)]))
    del models["alexnet_v2"]
    write_site(tmp_path / "site", Registries([registry_of(models)]))
    assert "models/alexnet_v2.html" not in files_of(tmp_path / "site")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_empty_folder_is_taken_and_a_link_is_followed(models: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    write_site(tmp_path / "link", Registries([registry_of(models)]))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "empty" / "index.html").is_file()


@pytest.mark.parametrize(
    "inside", ["notes.txt", "index.html", "site.json", "models/mine.html", ".git/config", "empty folder/"]
)
def test_a_folder_that_is_no_site_of_ours_is_refused_and_left_alone(
    inside: str, models: dict[str, Any], tmp_path: Path
) -> None:
    place = tmp_path / "place" / inside
    place.parent.mkdir(parents=True)
    if inside.endswith("/"):
        place.mkdir()
    else:
        place.write_text('{"made_by": "me", "files": {}}')
    before = files_of(tmp_path / "place")
    with pytest.raises(errors.UsageError, match="not a catalogue"):
        write_site(tmp_path / "place", Registries([registry_of(models)]))
    assert files_of(tmp_path / "place") == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_site_with_a_file_of_the_user_is_refused_by_its_name(models: dict[str, Any], tmp_path: Path) -> None:
    write_site(tmp_path / "site", Registries([registry_of(models)]))
    for name in ("models/CNAME", "empty", "elsewhere"):
        place = tmp_path / "site" / name
        {"models/CNAME": place.touch, "empty": place.mkdir, "elsewhere": lambda p=place: p.symlink_to(tmp_path)}[name]()
        with pytest.raises(errors.UsageError) as caught:
            write_site(tmp_path / "site", Registries([registry_of(models)]))
        assert caught.value.received == f"{tmp_path / 'site'}: {name}"
        assert os.path.lexists(place)
        place.rmdir() if name == "empty" else place.unlink()
    write_site(tmp_path / "site", Registries([registry_of(models)]))


def test_a_file_in_the_way_is_refused(models: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "site").write_text("mine")
    with pytest.raises(errors.UsageError):
        write_site(tmp_path / "site", Registries([registry_of(models)]))
    with pytest.raises(errors.DiskError):
        write_site(tmp_path / "site" / "below", Registries([registry_of(models)]))
    assert (tmp_path / "site").read_text() == "mine"


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_failure_at_any_write_leaves_the_old_site_as_it_was(
    exchanges: bool, models: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelzoo.store import posix

    site = write_site(tmp_path / "site", Registries([registry_of(models)]))
    before = files_of(site.folder)
    if not exchanges:
        monkeypatch.setattr(posix, "exchange", lambda one, other: False)
    # The first rename would meet the site that is there; it fails anyway.
    operations = [(Path, "write_bytes", 0), (Path, "write_text", 0), *([] if exchanges else [(Path, "rename", 1)])]
    failures = 0
    for owner, name, first in operations:
        real = getattr(owner, name)
        for at in range(first, 9):
            calls = iter(range(99))

            def failing(*args: Any, real: Any = real, at: int = at, calls: Any = calls, **options: Any) -> Any:
                if next(calls) == at:
                    raise OSError(28, os.strerror(28))
                return real(*args, **options)

            with monkeypatch.context() as patched:
                patched.setattr(owner, name, failing)
                try:
                    write_site(tmp_path / "site", Registries([registry_of(models)]), title="other")
                    break
                except errors.DiskFullError:
                    failures += 1
            assert files_of(site.folder) == before
            assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
        write_site(tmp_path / "site", Registries([registry_of(models)]))
    assert failures == (5 if exchanges else 7)
    assert files_of(site.folder) == before


def test_what_a_killed_run_left_goes_with_the_next_one(models: dict[str, Any], tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", Registries([registry_of(models)])).folder
    before = files_of(site)
    program = f"""
import os, signal, sys
from pathlib import Path
from modelzoo.registry import load_registries
from modelzoo.registry.site import write_site
real, left = Path.write_bytes, [5]
def dying(self, data):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, data)
Path.write_bytes = dying
write_site({str(site)!r}, load_registries(environment=False))
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    hidden = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert len(hidden) == 1
    assert files_of(site) == before
    (tmp_path / ".site.mine.part").mkdir()
    write_site(site, Registries([registry_of(models)]))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [".site.mine.part"]
    assert files_of(site) == before


@pytest.mark.parametrize(
    "count,shown",
    [
        (None, "size unknown"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (24_642_554, "24.6 MB"),
        (99_949_999, "99.9 MB"),
        (99_950_000, "100 MB"),
        (999_499_999, "999 MB"),
        (999_500_000, "1.0 GB"),
        (5.0, "5 B"),
        (10**15, "1000 TB"),
        (10**400, "1" + "0" * 388 + " TB"),
    ],
)
def test_sizes(count: int | None, shown: str) -> None:
    assert size_text(count) == shown
