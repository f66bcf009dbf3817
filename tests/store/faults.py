"""The faults that the store and the registries have to survive, each with the tests that show it.

`python -m tests.store.faults` runs them and prints one line a fault: its number, what happens, what came of it.
"""

from __future__ import annotations

import fnmatch
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).resolve().parents[1]


class Fault(NamedTuple):
    """One fault. A test is an id below tests/, all of its cases unless one is named; `*` and `?` stand for anything."""

    what: str
    tests: tuple[str, ...]


def _healed(case: str) -> str:
    return f"store/test_bodies.py::test_a_fault_that_passes_is_healed[[]{case}-*]"


def _refused(case: str) -> str:
    return f"store/test_bodies.py::test_a_fault_that_stays_is_an_error_that_names_it_and_keeps_nothing[[]{case}]"


def _rest(case: str) -> str:
    return f"store/test_resume.py::test_a_wrong_answer_to_a_request_for_the_rest_does_no_harm[[]{case}]"


def _archive(case: str) -> str:
    return f"store/test_archives.py::test_an_archive_that_is_not_safe_is_refused_whole[[]{case}]"


def _damaged(case: str) -> str:
    return f"store/test_archives.py::test_an_archive_that_is_damaged_is_refused_whole[[]{case}]"


GROUPS = {"Body": 1, "Resume": 11, "Network": 19, "Process": 31, "Disk": 38, "Archive": 49, "Registry": 60}
"""Group -> its first number."""

FAULTS: dict[int, Fault] = {
    1: Fault("cut, with Content-Length", (_healed("cut with a length"), _refused("cut again and again"))),
    2: Fault("cut while chunked", (_healed("cut while chunked"),)),
    3: Fault("cut without any length", (_healed("cut without a length"),)),
    4: Fault("Content-Length too short or too long", (_healed("length too short"), _healed("length too long"))),
    5: Fault("one byte flipped", (_healed("one byte flipped"), _refused("one byte flipped"))),
    6: Fault("an HTML page with status 200", (_healed("a page once"), _refused("a page of HTML"))),
    7: Fault("a Git LFS pointer", (_refused("a Git LFS pointer"),)),
    8: Fault(
        "encoded by a proxy, or decoded twice",
        (
            _healed("encoded by a proxy"),
            "store/test_bodies.py::test_an_archive_said_to_be_encoded_is_not_decoded_twice",
            "store/test_bodies.py::test_an_archive_that_a_proxy_encodes_again_is_decoded_once",
        ),
    ),
    9: Fault("an encoding bomb", ("store/test_bodies.py::test_an_encoding_bomb_is_stopped",)),
    10: Fault(
        "a body that never ends",
        (
            _refused("a body that never ends"),
            "store/test_bodies.py::test_a_body_that_never_ends_is_stopped_where_no_size_is_known",
        ),
    ),
    11: Fault("Range ignored", (_rest("ignored"),)),
    12: Fault("Content-Range of another offset", (_rest("later"), _rest("earlier"), _rest("no range stated"))),
    13: Fault(
        "416 when complete",
        (
            "store/test_resume.py::test_what_is_complete_already_costs_no_request",
            "store/test_resume.py::test_a_server_that_says_that_nothing_is_left_is_believed_only_by_the_digest",
        ),
    ),
    14: Fault("416 when the part is longer", (_rest("416 of a shorter file"), _rest("416 bare"))),
    15: Fault(
        "ETag changed in between",
        ("store/test_resume.py::test_a_file_that_changed_in_between_is_fetched_from_its_start", _rest("new etag")),
    ),
    16: Fault("weak ETag", ("store/test_resume.py::test_a_weak_etag_is_not_sent_as_a_condition",)),
    17: Fault(
        "the part longer than the size", ("store/test_resume.py::test_what_is_longer_than_the_file_is_thrown_away",)
    ),
    18: Fault(
        "the part corrupted on disk",
        ("store/test_resume.py::test_a_partial_file_damaged_on_the_disk_is_cut_back_or_fetched_again",),
    ),
    19: Fault("reset", (_healed("reset"),)),
    20: Fault(
        "stall",
        (
            "store/test_network.py::test_a_stall_ends_and_the_download_goes_on",
            "store/test_network.py::test_a_server_without_an_answer_is_given_up",
        ),
    ),
    21: Fault(
        "one byte a second",
        (
            "store/test_network.py::test_one_byte_a_second_is_left_for_a_mirror_and_the_bytes_are_kept",
            "store/test_network.py::test_a_trickle_is_given_up",
        ),
    ),
    22: Fault(
        "429 or 503 with Retry-After",
        (
            "store/test_network.py::test_a_server_that_asks_to_wait_is_given_the_time_but_not_all_of_it",
            "store/test_network.py::test_the_wait_that_a_server_asks_for_is_named",
            "store/test_network.py::test_a_busy_server_is_left_for_its_mirror_at_once",
        ),
    ),
    23: Fault("name not found", ("store/test_network.py::test_a_name_that_is_not_known_is_said_so",)),
    24: Fault(
        "expired certificate, own CA bundle",
        (
            "store/test_secure.py::test_an_expired_certificate_is_refused_though_its_authority_is_known",
            "store/test_secure.py::test_an_unknown_certificate_is_refused_until_the_user_names_its_authority",
        ),
    ),
    25: Fault(
        "proxy 407, NO_PROXY",
        (
            "store/test_network.py::test_a_proxy_that_asks_for_a_login_is_named",
            "store/test_secure.py::test_a_proxy_that_refuses_a_tunnel_is_named[[]407]",
            "store/test_network.py::test_no_proxy_is_honoured",
        ),
    ),
    26: Fault("redirect loop", ("store/test_network.py::test_redirects_are_followed_and_counted",)),
    27: Fault(
        "https leads to http",
        (
            "store/test_secure.py::test_without_a_strong_digest_no_redirect_leaves_tls",
            "store/test_secure.py::test_headers_for_a_host_are_not_sent_without_encryption",
        ),
    ),
    28: Fault(
        "redirect to file:// or a private address",
        (
            "store/test_network.py::test_redirects_to_what_is_no_web_server_are_refused",
            "store/test_network.py::test_a_public_server_leads_nobody_to_the_loopback_interface",
            "store/test_network.py::test_no_redirect_leads_from_outside_into_the_own_network",
        ),
    ),
    29: Fault(
        "credentials sent on to another host",
        (
            "store/test_fetch.py::test_credentials_go_to_their_host_and_into_no_message",
            "store/test_fetch.py::test_netrc_and_cookies_are_never_sent",
            "store/test_auth.py::test_a_redirect_takes_no_header_along_to_another_host",
        ),
    ),
    30: Fault(
        "a mirror down, a mirror that lies",
        (
            "store/test_network.py::test_a_mirror_serves_what_the_original_does_not",
            "store/test_network.py::test_a_mirror_that_lies_does_no_harm",
            "store/test_network.py::test_a_mirror_that_is_down_and_one_that_lies_are_both_named",
        ),
    ),
    31: Fault(
        "SIGKILL at any moment",
        (
            "store/test_processes.py::test_after_a_kill_midway_one_request_brings_the_rest",
            "store/test_processes.py::test_kills_at_random_moments_leave_nothing_wrong_and_lose_nothing_verified",
        ),
    ),
    32: Fault(
        "Ctrl-C",
        (
            "store/test_processes.py::test_a_process_that_is_told_to_end_leaves_its_bytes_to_the_next",
            "store/test_processes.py::test_an_interrupt_keeps_what_has_arrived",
            "store/test_parallel.py::test_an_interrupt_stops_all",
        ),
    ),
    33: Fault("two processes at once", ("store/test_processes.py::test_processes_that_race_download_a_file_once",)),
    34: Fault(
        "the lock's holder dies",
        (
            "store/test_processes.py::test_when_the_holder_of_a_lock_dies_whoever_waits_goes_on_with_its_bytes",
            "store/test_processes.py::test_whoever_holds_a_lock_without_getting_on_is_named",
        ),
    ),
    35: Fault(
        "locks that do nothing",
        (
            "store/test_processes.py::test_file_systems_without_locks_cost_downloads_but_no_bytes",
            "store/test_processes.py::test_locks_that_do_nothing_cost_downloads_but_no_bytes",
        ),
    ),
    36: Fault(
        "fork",
        (
            "store/test_processes.py::test_a_child_forked_in_the_middle_of_a_download_waits_for_it",
            "store/test_processes.py::test_the_child_of_a_process_that_was_killed_goes_on",
            "store/test_processes.py::test_a_forked_child_takes_nothing_from_its_parent",
        ),
    ),
    37: Fault(
        "clock skew",
        (
            "store/test_processes.py::test_a_clock_that_is_years_off_changes_nothing",
            "store/test_processes.py::test_what_another_machine_is_writing_is_not_taken_from_it_whatever_the_clocks",
            "store/test_processes.py::test_times_of_the_future_are_no_reason_to_keep_or_to_trust",
        ),
    ),
    38: Fault(
        "disk full midway, at rename, at fsync",
        (
            "store/test_disk.py::test_a_disk_that_fills_up_midway_costs_nothing_that_was_fetched[[]full]",
            "store/test_disk.py::test_a_failure_while_publishing_shows_nothing_wrong",
            "store/test_disks.py::test_a_disk_that_fills_up_midway_is_an_error_and_what_came_is_kept",
            "store/test_disks.py::test_a_disk_that_is_too_small_is_known_before_the_first_byte",
            "store/test_disks.py::test_a_disk_that_is_full_when_all_has_come_loses_nothing",
            "store/test_disks.py::test_a_disk_without_inodes_is_full_too",
        ),
    ),
    39: Fault(
        "quota",
        (
            "store/test_disk.py::test_a_disk_that_fills_up_midway_costs_nothing_that_was_fetched[[]quota]",
            "store/test_disk.py::test_a_limit_of_the_system_is_an_error_of_ours",
        ),
    ),
    40: Fault(
        "read-only cache",
        (
            "store/test_disk.py::test_a_cache_that_may_not_be_written_serves_what_it_has",
            "store/test_disks.py::test_a_read_only_disk_serves_what_it_has",
        ),
    ),
    41: Fault(
        "a cache of someone else",
        (
            "store/test_disk.py::test_a_cache_that_may_not_be_written_serves_what_it_has",
            "store/test_disks.py::test_a_cache_of_another_user_serves_and_says_whose_it_is",
            "store/test_disks.py::test_users_of_one_group_share_a_cache",
        ),
    ),
    42: Fault(
        "no symbolic links",
        (
            "store/test_disk.py::test_neither_symbolic_nor_hard_links_are_needed",
            "store/test_disks.py::test_no_symbolic_link_is_needed",
        ),
    ),
    43: Fault(
        "rename across devices",
        (
            "store/test_disk.py::test_a_failure_while_publishing_shows_nothing_wrong[[]rename across devices]",
            "store/test_disks.py::test_a_cache_of_several_disks_shows_nothing_wrong_and_says_what_to_do",
            "store/test_disks.py::test_a_model_of_a_lower_layer_is_replaced",
        ),
    ),
    44: Fault(
        "case-insensitive names",
        (
            "store/test_names.py::test_names_that_are_one_on_some_system_collide",
            "store/test_fetch.py::test_requests_without_sense_are_refused_before_anything_is_touched[[]names collide*]",
            "store/test_disk.py::test_names_that_a_disk_takes_for_one_never_meet",
        ),
    ),
    45: Fault(
        "reserved names, long paths, NFC and NFD",
        (
            "store/test_names.py::test_names_that_some_system_misunderstands_are_unsafe",
            "store/test_names.py::test_names_that_are_one_on_some_system_collide",
            "store/test_disks.py::test_a_path_that_is_too_long_for_the_system_is_named",
            "store/test_disks.py::test_a_path_that_becomes_too_long_midway_leaves_nothing_wrong",
        ),
    ),
    46: Fault(
        "the cache deleted underneath",
        ("store/test_disk.py::test_a_cache_deleted_underneath_is_an_error_and_the_next_fetch_works",),
    ),
    47: Fault(
        "bit rot at rest",
        (
            "store/test_upkeep.py::test_verify_finds_what_is_damaged_or_missing_and_fetch_mends_it",
            "store/test_disk.py::test_a_file_changed_in_the_cache_is_fetched_anew",
        ),
    ),
    48: Fault(
        "an entry replaced by a symbolic link",
        (
            "store/test_disk.py::test_a_link_in_the_place_of_an_entry_is_not_followed",
            "store/test_disk.py::test_no_link_that_somebody_leaves_in_the_cache_is_written_through",
        ),
    ),
    49: Fault(
        "`..`, absolute, UNC and drive paths",
        (
            _archive("leads out"),
            _archive("leads out within"),
            _archive("absolute"),
            _archive("UNC"),
            _archive("drive"),
            _archive("backslashes"),
            _archive("zip leads out"),
        ),
    ),
    50: Fault(
        "symbolic link",
        (
            _archive("symbolic link"),
            _archive("link first"),
            "store/test_archives.py::test_no_link_is_made_or_followed[[]symbolic*]",
        ),
    ),
    51: Fault(
        "hard link, target and name",
        (_archive("hard link"), "store/test_archives.py::test_no_link_is_made_or_followed[[]hard*]"),
    ),
    52: Fault(
        "a path longer than PATH_MAX",
        (
            _archive("long path"),
            "store/test_archives.py::test_the_archive_that_escapes_tarfiles_data_filter_is_stopped",
        ),
    ),
    53: Fault(
        "device, FIFO, setuid",
        (
            _archive("FIFO"),
            _archive("device"),
            "store/test_archives.py::test_modes_and_owners_of_members_do_not_count",
        ),
    ),
    54: Fault(
        "decompression bomb, sparse file",
        ("store/test_archives.py::test_a_bomb_is_stopped", "store/test_archives.py::test_sparse_files_are_refused"),
    ),
    55: Fault(
        "a million members",
        (
            "store/test_archives.py::test_a_million_members_are_not_waited_for",
            "store/test_archives.py::test_a_zip_that_states_a_million_members_is_refused_unread",
            "store/test_archives.py::test_an_archive_of_too_many_members_is_stopped",
        ),
    ),
    56: Fault(
        "duplicate names, case collisions",
        (_archive("twice the same"), _archive("collide by case"), _archive("zip collides by case")),
    ),
    57: Fault("zip headers that differ", (_damaged("zip's headers differ"),)),
    58: Fault(
        "trailing data",
        (
            _damaged("data after the end"),
            _damaged("data after the tar"),
            _damaged("data after the zip"),
            _damaged("data before the zip"),
        ),
    ),
    59: Fault(
        "an archive inside an archive",
        ("store/test_archives.py::test_an_archive_inside_an_archive_is_just_a_file",),
    ),
    60: Fault("rollback to an older version", ("registry/*rollback*",)),
    61: Fault("freeze", ("registry/*freeze*",)),
    62: Fault("mix and match", ("registry/*mix_and_match*",)),
    63: Fault("key rotation", ("registry/*rotat*",)),
    64: Fault("an unknown schema version", ("registry/test_registries.py::test_an_unknown_version_is_refused",)),
}
"""Number -> fault."""


def group_of(number: int) -> str:
    """The heading under which a fault stands."""
    return max((first, name) for name, first in GROUPS.items() if first <= number)[1]


def covers(pattern: str, test: str) -> bool:
    """True if a test of the table means the collected `test` (an id below tests/)."""
    return fnmatch.fnmatchcase(test, pattern) or fnmatch.fnmatchcase(test, f"{pattern}[[]*")


class Outcomes:
    """A plugin that notes what came of each test, by its id below tests/."""

    def __init__(self) -> None:
        self.collected: list[str] = []
        self.worst: dict[str, str] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self.collected = [_below_tests(item) for item in items]
        needed = [pattern for fault in FAULTS.values() for pattern in fault.tests]
        items[:] = [i for i, name in zip(items, self.collected, strict=True) if any(covers(p, name) for p in needed)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.removeprefix("tests/")
        if report.outcome != "passed" or name not in self.worst:
            self.worst[name] = report.outcome


def _below_tests(item: pytest.Item) -> str:
    return item.nodeid.removeprefix("tests/")


def rows(outcomes: Outcomes) -> Iterable[tuple[int, str, str, str]]:
    """(number, group, what, outcome) for each fault; outcomes are `survived`, `FAILED`, `MISSING`, `skipped`."""
    for number, fault in FAULTS.items():
        found: dict[str, int] = defaultdict(int)
        absent = False
        for pattern in fault.tests:
            own = [outcome for name, outcome in outcomes.worst.items() if covers(pattern, name)]
            absent |= not own
            for outcome in own:
                found[outcome] += 1
        if found["failed"]:
            text = f"FAILED ({found['failed']} of {sum(found.values())} tests)"
        elif absent:
            text = "MISSING: a test of it was not found"
        else:
            text = f"survived ({found['passed']} {'test' if found['passed'] == 1 else 'tests'}"
            text += f", {found['skipped']} skipped here)" if found["skipped"] else ")"
            text = text if found["passed"] else "skipped here"
        yield number, group_of(number), fault.what, text


def main() -> int:
    """Runs the tests and prints the table. Returns 1 if a fault was not survived, or has no test."""
    outcomes = Outcomes()
    folders = [str(TESTS / name) for name in ("store", "registry")]
    options = ["-q", "-p", "no:cacheprovider", "--no-header", "--no-summary", "--tb=short", "-m", "not slow"]
    pytest.main([f"--rootdir={TESTS.parent}", *options, *folders], plugins=[outcomes])
    good = True
    lines = [""]
    for number, group, what, outcome in rows(outcomes):
        if number in GROUPS.values():
            lines.append(group)
        lines.append(f"  {number:2}  {what:42} {outcome}")
        good &= outcome.startswith(("survived", "skipped"))
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
