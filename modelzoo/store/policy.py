"""Every limit and waiting time of the store in one place, so that tests can make them small."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """Limits and times. All times are seconds, all sizes bytes.

    Args:
        connect_timeout: for a connection to be made.
        read_timeout: without a single byte, after which a transfer counts as stalled.
        rate_window: length of the periods over which the rate is measured.
        minimum_rate: bytes a second below which a transfer is given up (and resumed or taken elsewhere).
        rounds: how often the list of URLs is gone through.
        backoff: before the second round; doubled for each further one, with jitter.
        longest_wait: bound of every single wait, whatever `Retry-After` says.
        redirects: how many are followed.
        longest_body: for a file whose size nobody knows.
        parallel: files of one model that are downloaded at the same time.
        mark_every: distance of the digests noted beside a partial file.
        lock_wait: how long to wait for another process that makes no progress.
        stray_age: after which a partial file of a process on another machine counts as abandoned.
        most_members: of an archive, wanted or not.
        unpacked_ratio: how many times larger than the archive its content may be, ...
        unpacked_slack: ... beyond this many bytes.
    """

    connect_timeout: float = 15.0
    read_timeout: float = 30.0
    rate_window: float = 30.0
    minimum_rate: float = 1024.0
    rounds: int = 5
    backoff: float = 0.5
    longest_wait: float = 60.0
    redirects: int = 10
    longest_body: int = 256 << 30
    parallel: int = 4
    mark_every: int = 8 << 20
    lock_wait: float = 300.0
    stray_age: float = 24 * 3600.0
    most_members: int = 10_000
    unpacked_ratio: float = 100.0
    unpacked_slack: int = 64 << 20
