"""Plans: every row of an input against what a journal holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.models import InputConfig, ParametersConfig, PromptConfig
from pipeline.errors import CheckpointFailed, InvalidInput
from pipeline.journal import Event, EventHead, Outcome, State
from pipeline.journal.places import EventPlaces
from pipeline.plan import Change, Plan, PlanDraft, Rows, Variant, draft_plan, load_plan, save_plan
from pipeline.prompts import RequestBuilder
from pipeline.providers.dataoorts import PARAMETERS
from pipeline.sources import open_source

NEW, ATTEMPTED, ANSWERED, UNPRICED = State.NEW, State.ATTEMPTED, State.ANSWERED, State.UNPRICED
FAILED, ADOPTED, CHANGED = State.FAILED, State.ADOPTED, State.CHANGED


class Job:
    """An input that can be rewritten, and the events of the runs so far."""

    def __init__(self, directory: Path, *, with_id: bool = True) -> None:
        self.directory = directory
        self.with_id = with_id
        self.system = "s"
        self.index: list[EventHead] = []
        self.settings = 1
        self.plans = 0

    def rows(self, *rows: tuple[str, str] | tuple[str, str, str]) -> Rows:
        """Rows of an id, a question, and a note that no prompt uses."""
        filled = [(*row, "")[:3] for row in rows]
        names = ("id", "question", "note")
        columns = {name: [row[at] for row in filled] for at, name in enumerate(names) if self.with_id or at}
        schema = pa.schema([(name, pa.string()) for name in columns])
        pq.write_table(pa.table(columns, schema), self.directory / "in.parquet")
        id_column = "id" if self.with_id else None
        source = open_source(InputConfig(path=str(self.directory / "in.parquet"), id=id_column))
        prompt = PromptConfig(system=self.system, column="question")
        builder = RequestBuilder(prompt, ParametersConfig(), "m", source.schema.names, PARAMETERS, None)
        return Rows(source, ("id",) if self.with_id else (), (Variant(builder, "dataoorts", "m"),))

    def planner(self, rows: Rows, **options: Any) -> AbstractContextManager[PlanDraft]:
        self.plans += 1
        return draft_plan(rows, iter(self.index), self.directory, number=self.plans, fingerprint="f", **options)

    def plan(self, *rows: tuple[str, str] | tuple[str, str, str], **options: Any) -> Plan:
        """The plan of the rows; what it adopts is recorded, as a run does."""
        return self._plan(self.rows(*rows), **options)

    def _plan(self, rows: Rows, **options: Any) -> Plan:
        with self.planner(rows, **options) as made:
            self.record(made.adoptions())
            return made.plan

    def record(self, changes: Any) -> None:
        for change in changes:
            state = State.ADOPTED if change.is_priced else State.ADOPTED_UNPRICED
            self._append(change.position, state, change.row_id, change.request_hash, change.content_key, change.source)

    def _happen(self, state: State, position: int, rows: Rows, plan: Plan) -> None:
        """An event of one row, as a run under `plan` would record it."""
        (_, batch), *_ = rows.batches()
        ids, contents = rows.identities(0, batch)
        row_id = plan.row_ids(range(len(ids)), ids)[position]
        request_hash = rows.request_hashes(0, batch, contents)[position]
        self._append(position, state, row_id, request_hash, contents[position], 0)

    def run(self, *rows: tuple[str, str] | tuple[str, str, str], states: Sequence[State | None] = ()) -> None:
        """Plan the rows, and answer each that has no answer (or do to it what `states` says)."""
        read = self.rows(*rows)
        plan = self._plan(read)
        for position in range(len(plan)):
            state = states[position] if states else State.ANSWERED
            if state is not None and plan.state(position) not in (ANSWERED, UNPRICED, ADOPTED):
                self._happen(state, position, read, plan)

    def _append(self, position: int, state: State, row_id: str, request: str, content: str, source: int) -> None:
        seq = len(self.index) + 1
        head = EventHead(seq, self.plans, position, int(state), row_id, request, self.settings, content, source)
        self.index.append(head)


def states(plan: Plan) -> list[State]:
    return [plan.state(position) for position in range(len(plan))]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture
def without_id(tmp_path: Path) -> Job:
    return Job(tmp_path, with_id=False)


def test_without_a_journal_every_row_is_new(job: Job) -> None:
    plan = job.plan(("a", "1"), ("b", "1"))
    assert states(plan) == [NEW, NEW]
    assert (plan.counts().total, plan.counts().new, plan.counts().done, plan.counts().orphaned) == (2, 2, 0, 0)


def test_what_is_sorted_on_disk_lies_beside_the_scratch_database(job: Job) -> None:
    """Where it would lie else may be read-only, or small."""
    place = "PRAGMA temp_store_directory"
    with closing(sqlite3.connect(":memory:")) as other:
        with job.planner(job.rows(("a", "q"))):
            assert other.execute(place).fetchone() == (str(job.directory.absolute()),)
        assert other.execute(place).fetchone() is None


@pytest.mark.parametrize("state", [ATTEMPTED, ANSWERED, UNPRICED, State.FAILED_PASSING, FAILED])
def test_a_row_stands_where_its_latest_event_leaves_it(job: Job, state: State) -> None:
    job.run(("a", "1"), ("b", "2"), states=[State.ATTEMPTED, None])
    job.run(("a", "1"), ("b", "2"), states=[state, None])
    plan = job.plan(("a", "1"), ("b", "2"))
    assert states(plan) == [state, NEW]
    assert plan.event(0) == 2


def test_rows_may_come_go_and_change_places(job: Job) -> None:
    job.run(("a", "1"), ("b", "2"), ("c", "3"))
    plan = job.plan(("c", "3"), ("d", "4"), ("a", "1"))
    assert states(plan) == [ANSWERED, NEW, ANSWERED]
    assert [plan.event(0), plan.event(2)] == [3, 1]
    assert plan.orphaned == 1
    assert states(job.plan(("b", "2"))) == [ANSWERED]


def test_with_an_id_only_the_request_counts_and_a_changed_carried_column_is_counted_apart(job: Job) -> None:
    job.run(("a", "1", "old"), ("b", "2", "old"))
    with job.planner(job.rows(("a", "1", "new"), ("b", "other", "old"))) as made:
        assert states(made.plan) == [ANSWERED, CHANGED]
        assert made.carried_changes() == 1
        assert made.changed_rows([1]) == (0, 1)
        assert made.answered_rows() == 2


def test_a_change_of_settings_is_told_from_a_change_of_rows(job: Job) -> None:
    job.run(("a", "1"), ("b", "2"))
    job.system = "other"
    with job.planner(job.rows(("a", "1"), ("b", "2"))) as made:
        assert states(made.plan) == [CHANGED, CHANGED]
        assert made.changed_rows([None]) == (2, 0)
        assert made.changed_rows([2]) == (2, 0)


def test_a_failed_row_whose_request_changed_is_new(job: Job) -> None:
    job.run(("a", "1"), states=[State.FAILED])
    assert states(job.plan(("a", "2"))) == [NEW]


def test_an_answer_before_a_failed_rerun_is_still_there_for_its_request(job: Job) -> None:
    job.run(("a", "1"))
    job.system = "other"
    job.run(("a", "1"), states=[State.FAILED_PASSING])
    assert states(job.plan(("a", "1"))) == [State.FAILED_PASSING]
    job.system = "s"
    assert states(job.plan(("a", "1"))) == [ANSWERED]


def test_a_kept_answer_stays_kept_until_it_is_to_be_forgotten(job: Job) -> None:
    job.run(("a", "1"), ("b", "2"))
    job.system = "other"
    with job.planner(job.rows(("a", "1"), ("b", "2"))) as made:
        job.record(made.changes())
    kept = job.plan(("a", "1"), ("b", "2"))
    assert states(kept) == [ADOPTED, ADOPTED]
    assert [kept.event(0), kept.event(1)] == [1, 2]
    assert states(job.plan(("a", "1"), ("b", "2"), forget_kept=True)) == [CHANGED, CHANGED]
    job.system = "a third"
    assert states(job.plan(("a", "1"), ("b", "2"))) == [CHANGED, CHANGED]


def test_a_kept_answer_moves_with_its_row_to_a_new_id(job: Job) -> None:
    job.run(("a", "1"), ("b", "2"))
    job.system = "other"
    with job.planner(job.rows(("a", "1"), ("b", "2"))) as made:
        job.record(made.changes())
    moved = job.plan(("x", "2"), ("y", "1"))
    assert states(moved) == [ADOPTED, ADOPTED]
    assert [moved.event(0), moved.event(1)] == [2, 1]
    forgotten = job.plan(("v", "1"), forget_kept=True)
    assert states(forgotten) == [CHANGED]
    assert states(job.plan(("x", "2"), ("y", "1"))) == [ADOPTED, ADOPTED], "a rerun that only looked took nothing"


def test_a_kept_answer_moves_again_and_again(job: Job) -> None:
    job.run(("a", "1"))
    job.system = "other"
    with job.planner(job.rows(("a", "1"))) as made:
        job.record(made.changes())
    for row_id in ("b", "c", "d"):
        assert states(job.plan((row_id, "1", f"note of {row_id}"))) == [ADOPTED]


def test_an_answer_that_an_edited_row_kept_goes_to_no_other_row(job: Job) -> None:
    job.run(("a", "1"))
    with job.planner(job.rows(("a", "2"))) as made:
        job.record(made.changes())
    assert states(job.plan(("a", "2"))) == [ADOPTED]
    assert states(job.plan(("b", "2"))) == [NEW]


def test_a_row_of_the_same_content_under_a_new_id_and_other_settings_is_changed_and_not_new(without_id: Job) -> None:
    without_id.run(("", "1"), ("", "2"))
    without_id.system = "other"
    with_id = Job(without_id.directory)
    with_id.index, with_id.plans, with_id.system = without_id.index, without_id.plans, "other"
    rows = without_id.rows(("", "1"), ("", "2"), ("", "3"))
    named = Rows(rows.source, ("question",), rows.variants)
    with with_id.planner(named) as made:
        assert states(made.plan) == [CHANGED, CHANGED, NEW]
        assert made.changed_rows([None]) == (2, 0)
        assert made.plan.orphaned == 0


def test_an_edited_row_under_settings_that_change_no_request_is_changed_by_its_content(job: Job) -> None:
    job.run(("a", "1"), ("b", "2"), ("c", "3"))
    with job.planner(job.rows(("a", "other"), ("b", "2"), ("c", "3"))) as made:
        assert states(made.plan) == [CHANGED, ANSWERED, ANSWERED]
        assert made.changed_rows([None]) == (0, 1)


def test_a_request_that_failed_before_its_row_was_answered_otherwise_keeps_its_history(job: Job) -> None:
    job.run(("a", "1"), states=[State.FAILED_PASSING])
    job.run(("a", "2"))
    again = job.plan(("a", "1"))
    assert states(again) == [State.FAILED_PASSING]
    assert again.event(0) == 1


def test_a_new_id_takes_over_the_orphaned_answer_to_its_request_one_to_one(job: Job) -> None:
    job.run(("a", "same"), ("b", "same"))
    plan = job.plan(("x", "same"), ("y", "same"), ("z", "same"))
    assert states(plan) == [ADOPTED, ADOPTED, NEW]
    assert {plan.event(0), plan.event(1)} == {1, 2}
    # Taken over for good: who had them first comes back without.
    assert states(job.plan(("a", "same"), ("x", "same"), ("y", "same"))) == [NEW, ADOPTED, ADOPTED]


def test_an_answer_that_stands_for_its_row_is_given_to_no_other(job: Job) -> None:
    job.run(("a", "same"))
    assert states(job.plan(("b", "same"), ("a", "same"))) == [NEW, ANSWERED]


def test_equal_rows_without_an_id_are_told_apart_and_each_has_an_answer_of_its_own(without_id: Job) -> None:
    rows = [("", "same"), ("", "other"), ("", "same"), ("", "same")]
    plan = without_id.plan(*rows)
    ids = plan.row_ids(range(4), ["k", "o", "k", "k"])
    assert ids == ["k", "o", "k#2", "k#3"]
    assert plan.row_ids([2], ["k"]) == ["k#2"]
    without_id.run(*rows)
    again = without_id.plan(*rows, ("", "same"))
    assert states(again) == [ANSWERED] * 4 + [NEW]
    assert len({again.event(position) for position in range(4)}) == 4


def test_a_new_column_buys_no_answer_twice(without_id: Job) -> None:
    without_id.run(("", "1"), ("", "2"))
    plan = without_id.plan(("", "1", "more"), ("", "2", "more"))
    assert states(plan) == [ADOPTED, ADOPTED]


def test_duplicate_ids_are_named_with_their_places_five_at_most(job: Job) -> None:
    rows = [(f"r{number % 7}", "q") for number in range(14)]
    with pytest.raises(InvalidInput) as caught:
        job.plan(*rows)
    message = str(caught.value)
    assert "'r0'" in message and "row 1 and " in message and "row 8" in message
    assert "'r4'" in message and "'r5'" not in message and "more" in message
    assert not (job.directory / "planning.sqlite").exists()


def test_a_row_without_an_id_is_named_with_its_place(job: Job) -> None:
    with pytest.raises(InvalidInput, match=r"in\.parquet: row 2: the id column 'id' is empty"):
        job.plan(("a", "1"), ("", "2"))


def test_nothing_is_left_of_the_scratch_database(job: Job) -> None:
    (job.directory / "planning.sqlite").write_bytes(b"what a kill left")
    job.plan(("a", "1"))
    assert [path.name for path in job.directory.iterdir()] == ["in.parquet"]


def test_a_disk_that_takes_no_scratch_database_is_a_failed_checkpoint(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_connect = sqlite3.connect

    def connect(path: Path, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = really_connect(path, **options)
        connection.execute("PRAGMA max_page_count=2")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(CheckpointFailed, match=r"planning\.sqlite: cannot plan: .*full"):
        job.plan(("a", "1"))


# ---- the plan itself


def make_plan(rows: int = 4, **facts: Any) -> Plan:
    given: dict[str, Any] = {
        "number": 1,
        "fingerprint": "f",
        "digest": "d",
        "latest": np.zeros(rows, np.uint64),
        "repeated": np.zeros(0, np.uint32),
        "occurrences": np.zeros(0, np.uint32),
        "orphaned": 0,
        **facts,
    }
    return Plan(**given)


def make_event(position: int, state: State, plan: int = 1) -> Event:
    return Event(plan, position, state, "r", "h", 1, "c", Outcome())


def test_counts_are_the_same_whether_kept_up_or_counted_anew() -> None:
    plan = make_plan()
    assert plan.count(NEW) == 4
    plan.take(1, [make_event(0, State.ANSWERED), make_event(1, State.FAILED), make_event(0, State.UNPRICED)])
    plan.mark(1, State.RETRY)
    kept_up = [plan.count(state) for state in State]
    fresh = make_plan(latest=np.array([(3 << 4) | 3, (2 << 4) | 9, 0, 0], np.uint64))
    assert kept_up == [fresh.count(state) for state in State]
    assert plan.event(1) == 2


def test_events_of_another_plan_do_not_touch_this_one() -> None:
    plan = make_plan()
    plan.take(1, [make_event(0, State.ANSWERED, plan=2)])
    columns = ([2, 1, 1], [0, 3, 3], [State.ANSWERED, State.FAILED, State.ADOPTED], [0, 0, 1])
    plan.apply([EventPlaces(1, *(np.array(column, np.int64) for column in columns))])
    assert states(plan) == [NEW, NEW, NEW, ADOPTED]
    assert plan.event(3) == 1


def test_what_reads_the_same_in_the_output_has_the_same_digest() -> None:
    plan = make_plan()
    plan.put(0, 7, State.FAILED_PASSING)
    before = plan.state_digest()
    plan.mark(0, State.RETRY)
    assert plan.state_digest() == before
    plan.put(0, 8, State.FAILED_PASSING)
    assert plan.state_digest() != before


def test_a_saved_plan_comes_back_whole(tmp_path: Path) -> None:
    plan = make_plan(
        70_000,
        orphaned=3,
        kept_empty=True,
        repeated=np.array([5, 69_999], np.uint32),
        occurrences=np.array([2, 3], np.uint32),
    )
    plan.put(69_999, 12, ANSWERED)
    save_plan(plan, tmp_path)
    found = load_plan(tmp_path)
    assert found is not None
    assert (found.number, found.fingerprint, found.digest, found.orphaned, found.kept_empty) == (1, "f", "d", 3, True)
    assert (found.states() == plan.states()).all()
    assert found.row_ids([5, 69_999], ["k", "k"]) == ["k#2", "k#3"]


def test_a_plan_that_is_damaged_anywhere_is_none(tmp_path: Path) -> None:
    save_plan(make_plan(), tmp_path)
    file = tmp_path / "plan"
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at])
        assert load_plan(tmp_path) is None, f"cut at {at}"
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert load_plan(tmp_path) is None, f"flipped at {at}"
    file.write_bytes(whole + b"\0")
    assert load_plan(tmp_path) is None
    file.unlink()
    assert load_plan(tmp_path) is None


def test_a_change_says_whose_answer_under_which_settings(job: Job) -> None:
    job.run(("a", "1"), states=[State.UNPRICED])
    job.system = "other"
    with job.planner(job.rows(("a", "1"))) as made:
        (change,) = made.changes()
    assert isinstance(change, Change)
    assert (change.position, change.row_id, change.source, change.is_priced, change.settings_id) == (
        0,
        "a",
        1,
        False,
        1,
    )
