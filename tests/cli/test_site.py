"""`modelzoo registry site`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run, Tiny


def test_a_catalogue_of_chosen_cards(run: Run) -> None:
    ran = run("registry", "site", "out", "inception_v1", "googlenet-v1-tf", "alexnet_v2", "--title", "Ours & theirs")
    assert ran.code == 0
    assert ran.out.startswith("out: 2 cards, 3 pages, ")
    assert ran.err == f"open {Path('out/index.html').resolve()}\n"
    assert "<h1>Ours &amp; theirs</h1>" in Path("out/index.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in Path("out/models").iterdir()) == ["alexnet_v2.html", "inception_v1.html"]


def test_a_catalogue_of_every_registry(run: Run, tiny: Tiny) -> None:
    run("registry", "add", tiny.registry, "--as", "mine")
    ran = run("registry", "site", "out", "--json")
    names = run("list", "--quiet").out.split()
    assert "mine/tiny_v1" in names
    assert ran.json["cards"] == len(names)
    assert ran.json["files"] == len(names) + 1
    files = [path for path in Path("out").rglob("*") if path.is_file() and path.name != "site.json"]
    assert ran.json["size"] == sum(path.stat().st_size for path in files)
    assert Path("out/models/mine+tiny_v1.html").is_file()
    assert 'href="models/mine%2Btiny_v1.html"' in Path("out/index.html").read_text(encoding="utf-8")


def test_quiet_says_the_first_page(run: Run) -> None:
    ran = run("registry", "site", "out", "lenet", "--quiet")
    assert (ran.out, ran.err) == (f"{Path('out/index.html').resolve()}\n", "")


def test_a_folder_of_the_user_and_a_wrong_name_are_refused(run: Run) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    ran = run("registry", "site", "out")
    assert ran.code == 2
    assert "mine.txt" in ran.err
    assert [path.name for path in Path("out").iterdir()] == ["mine.txt"]
    ran = run("registry", "site", "other", "inception_v9")
    assert ran.code == 3
    assert not Path("other").exists()
