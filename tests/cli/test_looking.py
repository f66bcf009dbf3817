"""`list`, `info` and `taps`: finding a model and seeing what it is."""

from __future__ import annotations

import pytest

import modelzoo
from tests.cli import invented
from tests.cli.conftest import Run, Tiny
from tests.cli.snapshot import assert_snapshot


def test_list_is_a_table_for_a_person(run: Run) -> None:
    ran = run("list", "inception_v[14]*")
    assert ran.code == 0
    assert_snapshot("list-inception", ran.out + "--- standard error\n" + ran.err)


def test_list_quiet_is_names(run: Run) -> None:
    assert run("list", "-q").out.split() == modelzoo.list_models()


def test_list_json_holds_what_the_table_holds(run: Run) -> None:
    (found,) = [one for one in run("list", "inception_v1", "--json").json if one["name"] == "inception_v1"]
    assert found["framework"] == "tf-slim"
    assert found["licence"] == "Apache-2.0"
    assert found["size"] == 24642554
    assert found["available"] is True


@pytest.mark.parametrize(
    ("option", "value", "key"),
    [("--framework", "caffe", "framework"), ("--licence", "BSD*", "licence"), ("--task", "class*", "task")],
)
def test_list_filters(run: Run, option: str, value: str, key: str) -> None:
    found = run("list", option, value, "--json").json
    everything = run("list", "--json").json
    expected = [one for one in everything if one[key].startswith(value.rstrip("*"))]
    assert found == expected
    assert found


def test_list_cached_shows_what_was_fetched(run: Run, tiny: Tiny) -> None:
    assert run("--registry", tiny.registry, "list", "--cached", "-q").out == ""
    assert run("--registry", tiny.registry, "fetch", "tiny_v1").code == 0
    assert run("--registry", tiny.registry, "list", "--cached", "-q").out == "tiny_v1\n"
    assert "tiny_v1" not in run("--registry", tiny.registry, "list", "--not-cached", "-q").out.split()


def test_a_pattern_without_a_match_names_similar_ones_and_is_no_failure(run: Run) -> None:
    ran = run("list", "incpetion_v1")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("No model matches. Similar names: inception_v1")
    assert run("list", "incpetion_v1", "--json").json == []


def test_a_facet_that_no_card_has_is_named_with_similar_ones(run: Run) -> None:
    assert run("list", "--framework", "cafe").err == "No model matches. No framework is 'cafe'; similar: caffe.\n"
    assert run("list", "zzzz", "--framework", "caffe").err == "No model matches.\n"
    assert "No licence is 'WTFPL-9'" in run("list", "--licence", "WTFPL-9").err


def test_info_is_the_card_as_a_person_reads_it(run: Run) -> None:
    ran = run("info", "inception_v1")
    assert (ran.code, ran.err) == (0, "")
    assert_snapshot("info-inception_v1", ran.out)


def test_info_json_is_the_card(run: Run) -> None:
    document = run("info", "inception_v1", "--json").json
    card = modelzoo.info("inception_v1")
    assert document["name"] == "inception_v1"
    assert document["trust"] == card.trust == "pinned"
    assert document["files"] == card.as_dict()["files"]
    assert run("info", "inception_v1", "-q").out == "inception_v1\n"


def test_info_warns_of_an_unknown_licence_and_of_what_cannot_be_built(run: Run) -> None:
    name = next(one["name"] for one in run("list", "--licence", "unknown", "--json").json if not one["available"])
    ran = run("info", name)
    assert ran.code == 0
    assert ran.err.count("warning: ") == 2
    assert run("info", name, "-q").err == ""


def test_info_did_you_mean(run: Run) -> None:
    ran = run("info", "incepton_v1")
    assert (ran.code, ran.out) == (3, "")
    assert_snapshot("error-unknown-model", ran.err)


def test_registry_before_and_after_the_verb_and_by_the_environment(
    run: Run, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--registry", tiny.registry, "info", "tiny_v1", "-q").out == "tiny_v1\n"
    assert run("info", "tiny_v1", "-q", "--registry", tiny.registry).out == "tiny_v1\n"
    assert run("info", "tiny_v1").code == 3
    monkeypatch.setenv("MODELZOO_REGISTRY", str(tiny.registry))
    assert run("info", "tiny", "-q").out == "tiny_v1\n"


def test_a_card_that_hides_a_built_in_one_is_said_once_on_standard_error(run: Run, tiny: Tiny, tmp_path) -> None:
    path = invented.registry_file(tmp_path / "mine.json", inception_v1=tiny.card | {"title": "Mine", "aliases": []})
    ran = run("--registry", path, "list", "inception_v1")
    assert "tf-slim" in ran.out
    assert [line for line in ran.err.splitlines() if "hides" in line] == [
        f"warning: card 'inception_v1' of {path} hides the built-in one"
    ]
    assert run("--registry", path, "info", "inception_v1", "--json").json["title"] == "Mine"
    assert run("--registry", path, "list", "-q", "inception_v1").err == ""


def test_taps_are_the_end_points(run: Run) -> None:
    ran = run("taps", "inception_v1")
    assert ran.code == 0
    assert_snapshot("taps-inception_v1", ran.out + "--- standard error\n" + ran.err)


def test_taps_all_names_inner_scopes_and_json_their_shapes(run: Run, tiny: Tiny) -> None:
    found = {one["name"]: one for one in run("taps", "tiny", "--all", "--json", "--registry", tiny.registry).json}
    assert found["Mixed_3c"] == {
        "name": "Mixed_3c",
        "shape": [8, 8, 60],
        "stride": 8,
        "channels": 60,
        "end_point": True,
    }
    assert found["Mixed_4e/Branch_1/Conv2d_0b_3x3"]["end_point"] is False
    assert run("taps", "tiny", "-q", "--registry", tiny.registry).out.split()[-1] == "Predictions"


def test_taps_of_what_this_version_cannot_build(run: Run) -> None:
    name = next(one["name"] for one in run("list", "--framework", "keras", "--json").json if not one["available"])
    ran = run("taps", name)
    assert (ran.code, ran.out) == (3, "")
    assert "does not have" in ran.err
