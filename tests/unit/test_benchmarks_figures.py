"""The pure parts of the benchmarks: schedules, trees of processes, tables, profiles, and the comparison of answers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.document import replace_between
from benchmarks.inputs import answer, marker, text
from benchmarks.job import Run
from benchmarks.kills import outcome
from benchmarks.latencies import perfect_schedule
from benchmarks.peers.__main__ import OURS, Result, right_rows, rows_of
from benchmarks.process import Measured, Tree, descendants, held_bytes, measure
from benchmarks.profile import count_frames
from benchmarks.server import Stats
from benchmarks.table import Row, as_text, at_least, at_most

STATS = Stats(
    requests=10, unique=10, connections=1, first=0.0, span=1.0, in_flight_mean=1.0, in_flight_peak=1, latency_total=0.0
)


def result(wall: float, right: int = 10) -> Result:
    measured = Measured(started=0.0, wall=wall, cpu=1.0, peak_bytes=10**8, exit_code=0, output="")
    return Result(Run(measured, STATS, 10), right)


@pytest.mark.parametrize(
    ("latencies", "slots", "seconds"),
    [([], 2, 0), ([1, 1, 1, 1], 2, 2), ([3, 1, 1, 1], 2, 3), ([1, 1, 1, 3], 2, 4), ([2.5], 8, 2.5)],
)
def test_each_slot_takes_the_next_request_when_it_is_free(latencies: list[float], slots: int, seconds: float) -> None:
    assert perfect_schedule(latencies, slots) == pytest.approx(seconds)


@given(st.lists(st.floats(0, 10), min_size=1), st.integers(1, 8))
def test_a_schedule_has_its_slots_busy_until_the_last_request_begins(latencies: list[float], slots: int) -> None:
    span = perfect_schedule(latencies, slots)
    assert span >= max(*latencies, sum(latencies) / slots) - 1e-9
    assert span <= sum(latencies) / slots + max(latencies) + 1e-9


def test_descendants_are_found_at_any_depth_and_in_any_order() -> None:
    assert descendants({5: 4, 4: 3, 3: 2, 9: 1, 2: 1}, 3) == {4, 5}
    assert descendants({5: 4}, 3) == set()


def test_what_outlives_its_parent_counts_towards_the_cpu(tmp_path: Path) -> None:
    spin = "import os, time\nif os.fork() == 0:\n    while time.process_time() < 0.3: pass"
    measured = measure([sys.executable, "-c", spin], tmp_path / "log")
    assert measured.exit_code == 0
    assert measured.cpu >= 0.3


def test_the_memory_of_a_child_counts_beside_that_of_its_parent(tmp_path: Path) -> None:
    hold = "import os, time\nos.fork()\nheld = os.urandom(30_000_000)\ntime.sleep(60)"
    seen: list[int] = []

    def end_when_both_hold_it(tree: Tree) -> None:
        seen.append(held_bytes(tree.pids()))
        if seen[-1] >= 60_000_000:
            tree.kill()

    measured = measure(
        [sys.executable, "-c", hold], tmp_path / "log", look_seconds=0.02, most_seconds=30, watch=end_when_both_hold_it
    )
    assert max(seen) >= 60_000_000
    assert measured.exit_code == -9


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    measured = measure(["sleep", "60"], tmp_path / "log", look_seconds=0.01, most_seconds=0.02)
    assert measured.exit_code == -9
    assert measured.wall < 30


def test_a_bar_is_missed_by_the_worst_of_its_parts() -> None:
    assert not Row("a", "1", used=max(at_most(1, 1), at_least(3, 3))).is_missed
    assert Row("a", "1", used=max(at_most(0.5, 1), at_least(2, 3))).is_missed
    assert Row("a", "0", used=at_least(0, 3)).is_missed
    assert not Row("a", "1").is_missed


def test_a_table_names_what_was_reached_and_what_was_not() -> None:
    lines = as_text([Row("one", "1 s", "", "≤ 2 s", 0.5), Row("longer", "3 s", "", "≤ 2 s", 1.5)]).splitlines()
    assert lines[2].split() == ["one", "1", "s", "≤", "2", "s", "yes"]
    assert lines[3].split() == ["longer", "3", "s", "≤", "2", "s", "NO"]
    assert lines[2].index("1 s") == lines[3].index("3 s")


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    document = "before\n<!-- full -->\nold\n<!-- /full -->\nafter\n<!-- peers -->\n<!-- /peers -->\n"
    replaced = replace_between(document, "full", "new")
    assert replaced == document.replace("old", "new")
    assert replace_between(replaced, "full", "new") == replaced
    with pytest.raises(ValueError, match="scale"):
        replace_between(document, "scale", "new")


def test_a_profile_counts_a_recursive_function_once_for_each_stack() -> None:
    alone, within = count_frames(["main (a.py);walk (a.py);walk (a.py) 3\n", 'process 7:"run";main (a.py) 2\n'])
    assert alone == {"walk (a.py)": 3, "main (a.py)": 2}
    assert within == {"walk (a.py)": 3, "main (a.py)": 5}


def test_prompts_differ_in_every_row_and_have_the_length_that_is_asked_for() -> None:
    texts = {text(row, 300) for row in range(500)}
    assert len(texts) == 500
    assert {len(one.encode()) for one in texts} == {300}
    assert len(text(123, 50_000)) == 50_000


def test_answers_that_are_missing_doubled_or_of_another_row_are_not_right(tmp_path: Path) -> None:
    responses = [answer(0), answer(1), answer(1), answer(3), answer(5)]
    pq.write_table(pa.table({"id": [0, 1, 1, 3, 4], "response": responses}), tmp_path / "answers.parquet")
    assert right_rows(tmp_path / "answers.parquet", 6) == 2  # rows 0 and 3
    assert right_rows(tmp_path / "none.parquet", 6) == 0


def test_answers_begin_with_the_marker_of_their_row() -> None:
    assert answer(12, 40).startswith(marker(12))
    assert len(answer(12, 40)) == 40


def test_only_a_peer_that_answered_every_row_is_compared_with_ours() -> None:
    results = {OURS: [result(1.0)], "slow": [result(9.0)], "wrong": [result(0.1, right=9)]}
    rows = {row.what: row for row in rows_of(results, 10, {"absent": "it is not there"})}
    assert list(rows) == [OURS, "slow", "wrong", "absent"]
    assert rows[OURS].bar.endswith("slow: 9.00")
    assert not rows[OURS].is_missed
    assert rows["wrong"].measured.startswith("failed: 9 of 10")


def test_the_ratio_to_the_best_peer_is_that_of_the_same_turns() -> None:
    quiet, noisy = [result(1.0), result(2.0), result(3.0)], [result(4.0), result(8.0), result(12.0)]
    (ours, _) = rows_of({OURS: quiet, "peer": noisy}, 10, {})
    assert ours.bar.endswith("4.00")
    slower = [replace(one, run=replace(one.run, measured=replace(one.run.measured, wall=1.5))) for one in noisy]
    assert next(iter(rows_of({OURS: quiet, "peer": slower}, 10, {}))).what == "peer"


def test_rows_that_are_lost_doubled_or_wrong_after_a_kill_are_counted(tmp_path: Path) -> None:
    output = tmp_path / "answers.parquet"
    assert outcome(output, 5) == (0, 5, 0)
    ids = [0, 1, 1, 3]
    responses = [answer(0), answer(1), answer(1), "something else"]
    pq.write_table(pa.table({"id": ids, "response": responses}), output)
    assert outcome(output, 5) == (1, 2, 1)
