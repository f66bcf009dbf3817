"""The catalogue as Chromium shows it: searched, filtered, used by keyboard, without scripts, and asking nobody."""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelzoo.registry import Registries, load_registries
from modelzoo.registry.site import write_site
from tests.registry.browser import PROGRAM, Browser
from tests.registry.test_site import HOSTILE, hostile, registry_of

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here (on Debian: apt-get install chromium)")

SHOWN = (
    "[...document.querySelectorAll('#cards li')].filter(l => !l.hidden && l.offsetParent)"
    ".map(l => l.querySelector('a').textContent)"
)
COUNT = "document.getElementById('count').textContent"


@pytest.fixture(scope="module")
def built_in(tmp_path_factory: pytest.TempPathFactory) -> Registries:
    return load_registries(environment=False)


@pytest.fixture(scope="module")
def site(built_in: Registries, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("catalogue") / "site", built_in).folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.resize(1280)
        yield opened


@pytest.fixture
def index(browser: Browser, site: Path) -> Browser:
    browser.requests.clear()
    browser.errors.clear()
    browser.open("about:blank")
    browser.open((site / "index.html").as_uri())
    return browser


def choose(browser: Browser, name: str, value: str) -> None:
    browser.run(
        f"(() => {{ const c = document.getElementById('{name}'); c.value = {value!r};"
        "c.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def test_searching_as_one_types(index: Browser, built_in: Registries) -> None:
    everything = index.run(SHOWN)
    assert everything == built_in.names()
    assert index.run(COUNT) == f"{len(everything)} models"
    index.run("document.getElementById('q').focus()")
    index.type("Inception tf-slim")
    found = index.run(SHOWN)
    wanted = [
        name
        for name in everything
        for card in [built_in.card(name)]
        if "inception" in f"{name} {card.title} {' '.join(card.aliases)}".lower() and card.framework == "tf-slim"
    ]
    assert "inception_v1" in found
    assert found == wanted
    assert index.run(COUNT) == f"{len(found)} of {len(everything)} models"
    index.run("document.querySelector('form [type=reset]').click()")
    index.until(f"{COUNT} === '{len(everything)} models'")
    index.type("googlenet-v1-tf")  # an alias, which is not shown
    assert index.run(SHOWN) == ["inception_v1"]


@pytest.mark.parametrize("facet", ["task", "framework", "licence"])
def test_filtering_by_what_the_cards_say(index: Browser, built_in: Registries, facet: str) -> None:
    values: dict[str, list[str]] = {}
    for name, summary, _ in built_in:
        values.setdefault(getattr(summary, facet), []).append(name)
    options = index.run(f"[...document.getElementById('{facet}').options].map(o => o.value)")
    assert options == ["", *sorted(values, key=str.casefold)]
    for value, names in values.items():
        choose(index, facet, value)
        assert index.run(SHOWN) == sorted(names)


def test_filtering_by_size_and_trust_together_with_words(index: Browser, built_in: Registries) -> None:
    cards = [built_in.card(name) for name in built_in.names()]
    choose(index, "size", "10")
    small = [card.name for card in cards if card.files and card.size is not None and card.size <= 10_000_000]
    assert index.run(SHOWN) == small
    index.run("document.getElementById('pinned').click()")
    pinned = [card.name for card in cards if card.name in small and card.trust == "pinned"]
    assert index.run(SHOWN) == pinned
    index.run("document.getElementById('built').click()")
    assert index.run(SHOWN) == [name for name in pinned if built_in.card(name).available]
    choose(index, "q", "no such model anywhere")
    assert index.run(SHOWN) == []
    assert index.run("!document.getElementById('none').hidden")
    assert index.run(COUNT).startswith("0 of ")
    index.run("document.querySelector('#none button').click()")
    index.until(f"{COUNT} === '{len(cards)} models'")


def test_ordering(index: Browser, built_in: Registries) -> None:
    cards = [built_in.card(name) for name in built_in.names()]
    choose(index, "order", "size")
    known = [card for card in cards if card.files and card.size is not None]
    assert index.run(SHOWN)[: len(known)] == [card.name for card in sorted(known, key=lambda card: card.size or 0)]
    choose(index, "order", "top1")
    measured = [card for card in cards if card.accuracy is not None and card.accuracy.top1 is not None]
    best = sorted(measured, key=lambda card: -card.accuracy.top1)  # type: ignore[union-attr,operator]
    assert index.run(SHOWN)[: len(best)] == [card.name for card in best]
    choose(index, "order", "")
    assert index.run(SHOWN) == built_in.names()


def test_a_search_survives_the_way_to_a_card_and_back(index: Browser) -> None:
    choose(index, "q", "scenes")
    choose(index, "framework", "tf-slim")
    found = index.run(SHOWN)
    assert found == ["inception_v1_scenes"]
    index.leave("document.querySelector('#cards li:not([hidden]) a').click()")
    index.until("document.querySelector('h1')?.textContent === 'inception_v1_scenes'")
    index.leave("history.back()")
    index.until("document.getElementById('cards') && document.readyState === 'complete'")
    assert index.run(SHOWN) == found


@pytest.mark.parametrize("hash", ["#q=%", "#length=1&submit=2&__proto__=3", "#task=nobody&size=x&order=y", "#main"])
def test_an_address_that_somebody_made_up_breaks_nothing(
    index: Browser, site: Path, built_in: Registries, hash: str
) -> None:
    index.open("about:blank")
    index.open((site / "index.html").as_uri() + hash)
    assert index.errors == []
    assert index.run("!document.getElementById('find').hidden")
    if "q=" not in hash:
        assert len(index.run(SHOWN)) == len(built_in.names())


def test_the_keyboard_alone_is_enough(index: Browser) -> None:
    focused = "document.activeElement.id || document.activeElement.textContent"
    index.press("Tab")
    assert index.run(focused) == "Skip to the content"
    assert index.run("document.activeElement.getBoundingClientRect().left >= 0")  # it is seen now
    index.press("Enter")
    assert index.run(focused) == "main"
    order = []
    for _ in range(9):
        index.press("Tab")
        order.append(index.run(focused))
    assert order == ["q", "task", "framework", "licence", "size", "order", "pinned", "built", "Clear"]
    index.press("Tab")
    assert index.run(focused) == index.run(SHOWN)[0]
    index.run("document.getElementById('q').focus()")
    index.type("inception_v1")
    found = index.run(SHOWN)
    assert len(found) > 2
    index.press("ArrowDown")
    index.press("ArrowDown")
    assert index.run(focused) == found[1]
    index.press("ArrowUp")
    index.press("ArrowUp")
    assert index.run(focused) == "q"
    index.press("ArrowDown")
    index.press("Enter")
    index.until(f"document.querySelector('h1')?.textContent === '{found[0]}'")


def test_every_control_has_a_name_for_those_who_do_not_see_it(index: Browser, site: Path) -> None:
    controls = {"searchbox", "combobox", "checkbox", "button", "link"}
    for address in ("index.html", "models/inception_v1.html"):
        index.open((site / address).as_uri())
        nodes = index.call("Accessibility.getFullAXTree")["nodes"]
        seen = [node for node in nodes if node.get("role", {}).get("value") in controls and not node.get("ignored")]
        assert len(seen) > 5
        assert [node for node in seen if not node.get("name", {}).get("value")] == []
        roles = {node["role"]["value"] for node in nodes if "role" in node}
        assert {"main", "banner", "heading", "status", "list"} <= roles


@pytest.mark.parametrize("clipboard", ["allowed", "refused"])
def test_a_button_copies_the_lines(index: Browser, site: Path, clipboard: str) -> None:
    index.open((site / "models" / "inception_v1.html").as_uri())
    if clipboard == "refused":
        index.run("navigator.clipboard.writeText = () => Promise.reject(new Error('no'))")
        index.run("document.addEventListener('copy', () => { window.copied = String(getSelection()); })")
    else:
        index.run("navigator.clipboard.writeText = async (t) => { window.copied = t; }")
    for name, start in (("python", "import modelzoo as mz\nmodel = mz.load"), ("shell", "modelzoo classify")):
        index.run("window.copied = undefined")
        index.run(f"document.querySelector('[data-copies={name}]').click()")
        index.until("window.copied !== undefined")
        assert index.run("window.copied").startswith(start)
        index.until("document.getElementById('said').textContent.startsWith('Copied')")
        assert index.run(f"document.querySelector('[data-copies={name}]').textContent") == "Copied"


def test_nobody_is_asked_for_anything(index: Browser, site: Path) -> None:
    pages = [site / "index.html", *(site / "models" / f"{name}.html" for name in ("inception_v1", "alexnet_v2"))]
    for page in pages:
        index.open(page.as_uri())
    # A reset page, a search and a copy later:
    index.open(pages[0].as_uri())
    choose(index, "q", "vgg")
    assert set(index.requests) - {"about:blank"} == {page.as_uri() for page in pages}
    assert index.errors == []


def _asked(listening: socket.socket, patience: float) -> bytes | None:
    """The beginning of what the next caller sends, b"" if that is nothing; None if nobody calls."""
    if not select.select([listening], [], [], patience)[0]:
        return None
    with listening.accept()[0] as connection:
        connection.settimeout(patience)
        try:
            return connection.recv(99)
        except TimeoutError:
            return b""


@pytest.mark.parametrize("policy", [True, False])
def test_the_policy_of_a_page_stops_what_would_get_in_all_the_same(
    index: Browser, site: Path, tmp_path: Path, policy: bool
) -> None:
    page = (site / "models" / "inception_v1.html").read_text(encoding="utf-8")
    if not policy:  # what follows does run and call, but for the policy
        page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        evil = (
            f"<script>window.ran = 1</script><img src='{address}/x' onerror='window.ran = 2'>"
            f"<iframe src='{address}/y'></iframe><style>h1 {{ color: rgb(1, 2, 3) }}</style>"
        )
        (tmp_path / "evil.html").write_text(page.replace("<h1>", evil + "<h1>", 1), encoding="utf-8")
        index.call("Page.navigate", url=(tmp_path / "evil.html").as_uri())
        index.until("document.querySelector('h1') && document.querySelector('h1').textContent === 'inception_v1'")
        asked = [_asked(listening, 1.0 if policy else 60.0)]
        while policy and asked[-1] is not None:  # Chromium opens connections in advance, and then sends nothing
            asked.append(_asked(listening, 1.0))
        assert any(asked) != policy
        assert (index.run("window.ran") is None) == policy
        assert (index.run("getComputedStyle(document.querySelector('h1')).color") != "rgb(1, 2, 3)") == policy
        index.call("Page.stopLoading")
    index.errors.clear()


def test_hostile_cards_are_only_shown(index: Browser, built_in: Registries, tmp_path: Path) -> None:
    models: dict[str, Any] = {name: hostile(built_in.card(name).as_dict()) for name in ("inception_v1", "alexnet_v2")}
    models["inception_v1"] |= {"paper": "javascript:window.ran = 1", "licence_url": "javascript:window.ran = 2"}
    evil = write_site(tmp_path / "site", Registries([registry_of(models)]), title=HOSTILE).folder
    index.requests.clear()
    for page in (evil / "index.html", *(evil / "models").iterdir()):
        index.run("window.alert = undefined")
        index.open(page.as_uri())
        assert index.run("document.body.textContent").count(HOSTILE) >= 2
        assert index.run("document.images.length + document.scripts.length") == 1
        assert index.run("[...document.links].every(a => /^(https?|file):/.test(a.protocol))")
        assert index.run("window.ran") is None
    assert all(one.startswith(evil.as_uri()) for one in index.requests)
    assert index.errors == []
    index.open((evil / "index.html").as_uri())
    choose(index, "q", "<SCRIPT>alert(1)")
    assert len(index.run(SHOWN)) == 2


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_nothing_is_wider_than_the_window(index: Browser, site: Path, width: int) -> None:
    try:
        index.resize(width)
        for address in ("index.html", "models/inception_v1.html", "models/finetune_flickr_style.html"):
            index.open((site / address).as_uri())
            assert index.run("document.documentElement.scrollWidth") <= width
            controls = "[...document.querySelectorAll('button, select, input[type=search]')]"
            assert index.run(f"{controls}.every(e => !e.offsetParent || e.offsetHeight >= 24)")
    finally:
        index.resize(1280)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(index: Browser, site: Path, scheme: str) -> None:
    """Contrast of every text against what lies behind it: at least 4.5 (WCAG 2.1, 1.4.3)."""
    measure = """
    (() => {
      const parts = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
      const light = (c) => {
        const [r, g, b] = parts(c).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = (e) => {
        for (; e; e = e.parentElement) {
          const c = getComputedStyle(e).backgroundColor;
          if (parts(c).length === 3 || parts(c)[3] > 0) return c;
        }
        return "rgb(255, 255, 255)";
      };
      let worst = [99, ""];
      for (const e of document.querySelectorAll("main *")) {
        if (!e.offsetParent || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 80)];
      }
      return worst;
    })()"""
    index.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        for address in ("index.html", "models/inception_v1.html", "models/finetune_flickr_style.html"):
            index.open((site / address).as_uri())
            ratio, where = index.run(measure)
            assert ratio >= 4.5, f"{address}: {where}"
            dark = index.run("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
            assert dark == (scheme == "dark")
    finally:
        index.call("Emulation.setEmulatedMedia", features=[])


def test_without_scripts_it_is_a_plain_list(site: Path, built_in: Registries, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile", scripts=False) as plain:
        plain.resize(1280)
        plain.open((site / "index.html").as_uri())
        assert plain.run(SHOWN) == built_in.names()
        assert plain.run("document.getElementById('find').offsetParent === null")
        assert plain.run(COUNT) == f"{len(built_in.names())} models"
        plain.open((site / "models" / "inception_v1.html").as_uri())
        assert plain.run("document.getElementById('python').textContent.startsWith('import modelzoo')")
        assert plain.run("[...document.querySelectorAll('button')].every(b => b.offsetParent === null)")
