"""A limit shared through a file: the joint window, the line of those who wait, the pause, and what befalls the file."""

from __future__ import annotations

import errno
import heapq
import math
import signal
import stat
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.errors import CheckpointFailed
from pipeline.limits.limit_file import LimitFile, boot_id
from pipeline.limits.shared import SharedEntry, SharedLimit

START = 1000.0
TICK = 0.5


class Members:
    """Jobs that share one limit, by number; those that are left at the end are closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1e9
        self.open: list[SharedLimit] = []

    def join(self, requests: float | None = None, tokens: float | None = None, boot: str = "one") -> SharedLimit:
        self.open.append(
            SharedLimit(
                self.path, requests_per_minute=requests, tokens_per_minute=tokens, boot=boot, clock=lambda: self.now
            )
        )
        return self.open[-1]


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    found = Members(tmp_path / "shared" / "account")
    yield found
    for one in found.open:
        one.close()


def entry(found: SharedEntry | float) -> SharedEntry:
    assert isinstance(found, SharedEntry)
    return found


def let_in(limit: SharedLimit, now: float, tokens: int = 1) -> float:
    """When the limit lets a request in, asked as the runner asks: again after the wait, or each half second."""
    while not isinstance(found := limit.reserve(tokens, now), SharedEntry):
        now += min(found, TICK)
    return now


def test_what_one_job_sends_counts_for_the_other(members: Members) -> None:
    one, other = members.join(requests=2), members.join(requests=2)
    times = [let_in(one, START), let_in(other, START), let_in(one, START), let_in(other, START)]
    assert times[0] == START
    for earlier, later in zip(times, times[2:], strict=False):
        assert 60.0 <= later - earlier <= 60.5


def test_tokens_count_as_reserved_and_then_as_billed(members: Members) -> None:
    one, other = members.join(tokens=1000), members.join(tokens=1000)
    first = entry(one.reserve(900, START))
    assert isinstance(other.reserve(200, START), float)
    one.settle(first, 100, START)
    assert let_in(other, START + 10, 200) == START + 10
    assert isinstance(other.reserve(750, START + 20), float)


def test_a_request_counts_from_when_it_was_sent(members: Members) -> None:
    one, other = members.join(requests=1), members.join(requests=1)
    one.settle(entry(one.reserve(1, START)), 1, START + 30)
    assert let_in(other, START + 31) >= START + 90


def test_a_request_that_was_never_sent_gives_its_place_back(members: Members) -> None:
    one, other = members.join(requests=20, tokens=100), members.join(requests=20, tokens=100)
    one.withdraw(entry(one.reserve(100, START)))
    assert let_in(other, START + 4, 100) == START + 4


def test_what_a_killed_process_had_reserved_counts_for_a_minute(members: Members) -> None:
    killed = members.join(requests=1, tokens=500)
    killed.reserve(400, START)
    heir = members.join(requests=1, tokens=500)
    assert START + 60.0 <= let_in(heir, START + 1, 400) <= START + 60.5


def test_a_rate_below_one_a_minute_holds_beside_a_fast_one(members: Members) -> None:
    slow, fast = members.join(requests=0.2), members.join(requests=600)
    now = START
    for _ in range(50):
        now = let_in(fast, now + 2)
    assert now + 300 <= let_in(slow, now + 1) <= now + 301


def test_a_single_request_above_all_tokens_of_a_minute_waits_for_an_empty_window(members: Members) -> None:
    one, other = members.join(tokens=100), members.join(tokens=100)
    assert let_in(one, START, 5000) == START
    assert START + 60.0 <= let_in(other, START, 5000) <= START + 60.5


# ---- the line


def race(limits: list[SharedLimit], seconds: float, late: list[float], tokens: list[int]) -> list[tuple[float, int]]:
    """Let jobs that always have something to send go side by side: each comes `late` by so many seconds after a wait.
    Returns who was let in when.
    """
    turns = [(START + number / 1000, number) for number in range(len(limits))]
    sent = []
    while turns[0][0] < START + seconds:
        now, number = heapq.heappop(turns)
        found = limits[number].reserve(tokens[number], now)
        if isinstance(found, SharedEntry):
            sent.append((now, number))
            heapq.heappush(turns, (now + 0.001, number))
        else:
            heapq.heappush(turns, (now + min(found, TICK) + late[number], number))
    return sent


def test_jobs_get_equal_shares_however_late_they_wake_and_nearly_all_of_the_rate(members: Members) -> None:
    sent = race([members.join(requests=120) for _ in range(4)], 300, [0.0, 0.001, 0.02, 0.1], [1] * 4)
    shares = Counter(number for _, number in sent)
    assert len(sent) >= 0.97 * 600
    assert max(shares.values()) <= 1.15 * min(shares.values()), shares


def test_a_job_that_needs_many_tokens_is_not_passed_over_by_those_that_need_few(members: Members) -> None:
    sent = race([members.join(tokens=1000) for _ in range(3)], 300, [0.0] * 3, [10, 10, 800])
    shares = Counter(number for _, number in sent)
    assert shares[2] >= 4
    assert min(shares[0], shares[1]) >= 4


def test_a_job_with_a_stricter_rate_does_not_starve_and_its_rate_holds_while_it_waits(members: Members) -> None:
    sent = race([members.join(requests=600), members.join(requests=30)], 300, [0.0, 0.0], [1, 1])
    strict = [now for now, number in sent if number == 1]
    assert len(strict) >= 30
    for now in strict:
        assert sum(now - 60.0 < at <= now for at, _ in sent) <= 30


def test_the_place_of_a_job_that_does_not_come_back_is_given_up_after_two_seconds(members: Members) -> None:
    gone, other = members.join(tokens=100), members.join(tokens=100)
    assert let_in(other, START, 60) == START
    assert isinstance(gone.reserve(100, START + 1), float)
    assert isinstance(other.reserve(10, START + 2.9), float)
    assert let_in(other, START + 61, 10) == START + 61


def test_many_jobs_all_get_their_turn(members: Members) -> None:
    shares = Counter(
        number for _, number in race([members.join(requests=600) for _ in range(80)], 30, [0.0] * 80, [1] * 80)
    )
    assert min(shares[number] for number in range(80)) >= 3


# ---- the pause


def test_a_pause_that_one_job_was_asked_for_holds_all(members: Members) -> None:
    one, other = members.join(requests=10), members.join(requests=10)
    assert other.paused_until() == 0.0
    one.pause(START + 40)
    one.pause(START + 20)
    assert other.paused_until() == one.paused_until() == START + 40
    assert members.join(requests=10).paused_until() == START + 40


# ---- the file


def test_only_the_user_can_read_the_file(members: Members) -> None:
    members.join(requests=1)
    assert stat.S_IMODE(members.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 100_000, b"limit-1\0" + bytes(5)])
def test_a_file_that_holds_anything_else_is_begun_anew(members: Members, content: bytes) -> None:
    members.path.parent.mkdir()
    members.path.write_bytes(content)
    one, other = members.join(requests=1), members.join(requests=1)
    assert let_in(one, START) == START
    assert isinstance(other.reserve(1, START), float)


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_file_that_was_cut_counts_as_full_until_a_minute_after_the_start_of_the_machine(
    members: Members, cut: int
) -> None:
    one = members.join(requests=60)
    entry(one.reserve(1, START))
    with open(members.path, "r+b") as file:
        file.truncate(cut)
    assert let_in(members.join(requests=60), 20.0) >= 60.0


@pytest.mark.parametrize(
    ("at", "content"),
    [
        (56, struct.pack("<d", math.nan)),  # the pause
        (56, struct.pack("<d", 1e300)),
        (56, struct.pack("<d", -1.0)),
        (64, struct.pack("<d", math.nan)),  # until when requests are spread
        (72, struct.pack("<d", math.inf)),
        (48, struct.pack("<Q", 2**64 - 1)),  # the last ticket
        (128, struct.pack("<Qdddd", 1, 1e9, 1.0, 60.0, 60.0)),  # who asked in the future never gives up the place
        (128, struct.pack("<Qdddd", 1, START, math.nan, 60.0, 60.0)),
        (128, struct.pack("<Qdddd", 1, START, 1.0, 0.0, math.nan)),
        (128 + 256 * 64, struct.pack("<IIQ", 2**32 - 1024, 1, 1)),  # a bucket of the future
        (128 + 256 * 64 + 16, struct.pack("<IIQ", 1, 1, 2**64 - 1)),
    ],
)
def test_a_file_that_no_process_can_have_written_counts_as_full_for_a_minute(
    members: Members, at: int, content: bytes
) -> None:
    members.now = START
    one = members.join(requests=60)
    entry(one.reserve(1, START))
    with open(members.path, "r+b") as file:
        file.seek(at)
        file.write(content)
    assert one.paused_until() == 0.0
    assert START + 60 <= let_in(members.join(requests=60), START) <= START + 61


@pytest.mark.parametrize("content", [b"x" * 60, b"x" * 100_000, b"\xff\n", b"", b"\0"])
def test_a_boot_id_of_any_kind_is_told_again_by_the_next_process(
    members: Members, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "boot_id"
    path.write_bytes(content)
    monkeypatch.setattr("pipeline.limits.limit_file._BOOT_ID", path)
    boot = boot_id()
    assert 0 < len(boot) <= 40
    one, other = [LimitFile(tmp_path / "limit", clock=lambda: START) for _ in range(2)]
    with one.locked() as is_locked:
        assert is_locked
        one.count(16_000, 5, 5)
    with other.locked():
        assert other.buckets[16_000 % 1024]["requests"] == 5
    one.close()
    other.close()


def test_after_a_restart_of_the_machine_what_was_sent_before_counts_until_a_minute_after_it(members: Members) -> None:
    before = members.join(requests=60, boot="one")
    before.reserve(1, 500_000.0)
    before.pause(600_000.0)
    after = members.join(requests=60, boot="two")
    assert after.paused_until() == 600_000.0
    assert 60.0 <= let_in(after, 12.0) <= 61.0
    assert after.paused_until() == 0.0


def test_a_turn_that_began_before_another_process_sent_is_no_restart(members: Members) -> None:
    one, other = members.join(requests=10), members.join(requests=10)
    for number in range(10):
        let_in(one, START + 100 + 6 * number)
    assert let_in(other, START) >= START + 160


def test_what_is_let_in_counts_from_the_latest_moment_that_any_process_knows(members: Members) -> None:
    one, other = members.join(requests=60), members.join(requests=60)
    known = entry(one.reserve(1, START + 100))
    assert entry(other.reserve(1, START)).number == known.number


def test_a_process_that_was_stopped_with_the_lock_in_hand_holds_up_nobody_for_longer_than_a_moment(
    members: Members,
) -> None:
    one, stopped = members.join(requests=60), LimitFile(members.path, "one", clock=lambda: members.now)
    taken = entry(one.reserve(5, START))
    with stopped.locked() as is_locked:
        assert is_locked
        began = time.monotonic()
        wait = one.reserve(1, START + 1)
        one.settle(taken, 7, START)
        one.pause(START + 9)
        assert time.monotonic() - began < 2
        assert isinstance(wait, float)
        assert 0 < wait < 1
    assert let_in(one, START + 1) == START + 1
    assert one.paused_until() == START + 9
    with stopped.locked():
        assert stopped.buckets["tokens"].tolist().count(7) == 1
    stopped.close()


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointFailed, match=r"limits\.shared.*account"):
        SharedLimit(tmp_path / "file" / "account", requests_per_minute=1, tokens_per_minute=None)


def test_what_the_disk_did_not_take_is_written_by_the_next_that_can(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = members.join(tokens=1000), members.join(tokens=1000)
    taken = entry(one.reserve(900, START))
    with monkeypatch.context() as patched:
        patched.setattr("os.pwrite", full_disk)
        one.settle(taken, 100, START)
        one.pause(START + 9)
        with pytest.raises(CheckpointFailed, match="free some space"):
            one.reserve(1, START)
    assert isinstance(one.reserve(1, START + 5), SharedEntry)
    assert let_in(other, START + 15, 200) == START + 15
    assert other.paused_until() == START + 9


def full_disk(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


# ---- processes

SENDER = """
import sys, time
from pathlib import Path
from pipeline.limits.shared import SharedEntry, SharedLimit

limit = SharedLimit(Path(sys.argv[1]), requests_per_minute=1200, tokens_per_minute=None)
while True:
    now = time.monotonic()
    found = limit.reserve(1, now)
    if isinstance(found, SharedEntry):
        print(now, flush=True)
    else:
        time.sleep(min(found, 0.5))
"""


def test_processes_of_which_some_are_killed_keep_one_rate(tmp_path: Path) -> None:
    def start() -> subprocess.Popen[str]:
        words = [sys.executable, "-c", SENDER, str(tmp_path / "account")]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    senders = [start() for _ in range(4)]
    for _ in range(3):
        time.sleep(0.7)
        senders[-1].send_signal(signal.SIGKILL)
        senders.append(start())
    time.sleep(0.7)
    times: list[float] = []
    for sender in senders:
        sender.kill()
        # A line that the kill cut off was let in all the same, and stands in no reader's hands.
        times += map(float, sender.communicate()[0].splitlines())
    times.sort()
    seconds = times[-1] - times[0]
    assert len(times) <= 60 + 20 * seconds + 1
    assert len(times) >= 40
    assert all(earlier <= later for earlier, later in pairwise(times))
