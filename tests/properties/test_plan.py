"""A plan that takes rows over from the last one is the plan that joins every row with every event."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.models import InputConfig, ParametersConfig, PromptConfig
from pipeline.errors import InvalidJob
from pipeline.journal import EventHead, State
from pipeline.journal.places import EventPlaces
from pipeline.plan import KnownRows, Plan, Rows, Variant, draft_plan, load_plan, save_plan
from pipeline.plan.blocks import BlockReader
from pipeline.plan.keys import keys_of_ids
from pipeline.prompts import RequestBuilder
from pipeline.providers.dataoorts import PARAMETERS
from pipeline.sources import Source, TableSource, csv, open_source
from pipeline.sources.scan import Block

RowTuple = tuple[str, str]
OUTCOMES = (State.ANSWERED, State.ANSWERED, State.UNPRICED, State.FAILED, State.FAILED_PASSING, State.ATTEMPTED, None)
SENT = (State.NEW, State.ATTEMPTED, State.CHANGED)
small_blocks = patch.multiple("pipeline.plan.blocks", _BITS=1, _MAX_ROWS=5)

texts = st.sampled_from(["", "a", "b", "é"])
inputs = st.lists(st.lists(st.tuples(st.integers(0, 40).map(str), texts), max_size=12), min_size=1, max_size=4)
edits = st.tuples(
    st.integers(0, 60), st.integers(0, 6), st.lists(st.tuples(st.integers(0, 60).map(str), texts), max_size=5)
)
outcomes = st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=7)


class Job:
    """An input in several files, the events of the runs so far, and the plan that the last one left."""

    def __init__(self, directory: Path, *, with_id: bool, samples: int, in_memory: bool = False) -> None:
        self.directory, self.with_id, self.samples, self.in_memory = directory, with_id, samples, in_memory
        self.index: list[EventHead] = []
        self.parts: list[list[RowTuple]] = []
        self.number = 0
        (directory / "in").mkdir()

    def write(self, parts: Sequence[Sequence[RowTuple]]) -> None:
        """Write the files that changed, and no others."""
        seen: set[str] = set()
        for number, rows in enumerate(parts):
            taken = [row for row in rows if not self.with_id or not (row[0] in seen or seen.add(row[0]))]  # type: ignore[func-returns-value]
            if not self.in_memory and (number >= len(self.parts) or self.parts[number] != taken):
                path = self.directory / "in" / f"{number}.parquet"
                path.unlink(missing_ok=True)
                pq.write_table(self._table(taken), path)
            self.parts[number : number + 1] = [taken]

    @property
    def rows(self) -> Rows:
        config = InputConfig(path=str(self.directory / "in"), id="id" if self.with_id else None)
        source: Source = (
            TableSource(self._table([row for part in self.parts for row in part]))
            if self.in_memory
            else open_source(config)
        )
        builder = RequestBuilder(
            PromptConfig(user="{{ text }}"), ParametersConfig(), "m", source.schema.names, PARAMETERS, None
        )
        return Rows(source, ("id",) if self.with_id else (), (Variant(builder, "dataoorts", "m"),), self.samples)

    def _table(self, rows: Sequence[RowTuple]) -> pa.Table:
        columns = {"id": [row[0] for row in rows], "text": [row[1] for row in rows]}
        table = pa.table(columns, pa.schema([("id", pa.string()), ("text", pa.string())]))
        return table if self.with_id else table.select(["text"])

    def known(self) -> KnownRows | None:
        """What the last plan knows, if anything."""
        saved = load_plan(self.directory)
        if saved is None or saved.inventory is None or not saved.inventory.is_settled:
            return None
        columns = zip(*((head.plan, head.position, head.state, head.source) for head in self.index), strict=True)
        if self.index:
            saved.apply([EventPlaces(1, *(np.array(column, np.int64) for column in columns))])
        if saved.count(State.CHANGED):
            return None
        return KnownRows(saved, lambda numbers: [self.index[number - 1] for number in sorted(set(numbers))])

    def run(self, outcomes: Sequence[State | None]) -> tuple[bool, Plan, Plan]:
        """Plan the rows in both ways and do to each that is to be sent what its outcome says.

        Returns whether the first plan took rows over, and both.
        """
        self.number += 1
        rows, known, plans = self.rows, self.known(), []
        read: list[EventHead] = []
        for one in (known, None):
            # The other way comes first, for what is adopted is recorded with the plan that is kept.
            with draft_plan(
                rows, self._read(read), self.directory, number=self.number, fingerprint="f", rules="r", known=one
            ) as made:
                plans.append(made.plan)
                adoptions = list(made.adoptions())
                if one is known:
                    took_over = known is not None and not read
        carried, joined = plans
        for change in adoptions:
            state = State.ADOPTED if change.is_priced else State.ADOPTED_UNPRICED
            self._append(change.position, state, change.row_id, change.request_hash, change.content_key, change.source)
        save_plan(carried, self.directory)
        for start, batch in rows.batches():
            ids, contents = rows.identities(start, batch)
            positions = range(start, start + len(ids))
            asked = zip(positions, carried.row_ids(positions, ids), contents, strict=True)
            hashes = rows.request_hashes(start, batch, contents)
            for (position, row_id, content), request_hash in zip(asked, hashes, strict=True):
                outcome = outcomes[position % len(outcomes)]
                if outcome is not None and carried.state(position) in SENT:
                    self._append(position, outcome, row_id, request_hash, content, 0)
        return took_over, carried, joined

    def _read(self, read: list[EventHead]) -> Iterator[EventHead]:
        for head in list(self.index):
            read.append(head)
            yield head

    def _append(self, position: int, state: State, row_id: str, request: str, content: str, source: int) -> None:
        head = EventHead(len(self.index) + 1, self.number, position, int(state), row_id, request, 1, content, source)
        self.index.append(head)


def edited(parts: list[list[RowTuple]], at: int, cut: int, added: list[RowTuple]) -> list[list[RowTuple]]:
    """The same files, with some rows in one of them replaced."""
    changed = [list(part) for part in parts]
    part = changed[at % len(changed)]
    first = at // len(changed) % (len(part) + 1)
    part[first : first + cut] = added
    return changed


@settings(max_examples=25)
@given(
    with_id=st.booleans(),
    samples=st.integers(1, 2),
    parts=inputs,
    steps=st.lists(st.tuples(edits, outcomes), max_size=3),
)
def test_rows_taken_over_are_as_if_all_had_been_joined(
    with_id: bool,
    samples: int,
    parts: list[list[RowTuple]],
    steps: list[tuple[tuple[int, int, list[RowTuple]], list[State | None]]],
) -> None:
    with small_blocks, tempfile.TemporaryDirectory() as directory:
        job = Job(Path(directory), with_id=with_id, samples=samples, in_memory=True)
        for edit, states in [((0, 0, []), [State.ANSWERED, None, State.FAILED]), *steps]:
            parts = edited(parts, *edit)
            job.write(parts)
            _, carried, joined = job.run(states)
            assert carried.latest.tolist() == joined.latest.tolist()
            assert (carried.repeated.tolist(), carried.occurrences.tolist()) == (
                joined.repeated.tolist(),
                joined.occurrences.tolist(),
            )
            assert (carried.digest, carried.orphaned) == (joined.digest, joined.orphaned)


def test_rows_are_taken_over_where_a_file_grows_is_added_or_goes(tmp_path: Path) -> None:
    """So that the property above is not true of nothing."""
    job = Job(tmp_path, with_id=True, samples=1)
    many = [[(f"{part}-{row}", "text") for row in range(40)] for part in range(3)]
    grown = [*many[:2], [*many[2], ("new", "text")]]
    with small_blocks:
        for parts, took_over in ((many, False), (grown, True), ([*grown, [("more", "text")]], True), (many[:2], True)):
            for path in list((tmp_path / "in").iterdir())[len(parts) :]:
                path.unlink()
            job.write(parts)
            found, plan, _ = job.run([State.ANSWERED])
            assert found == took_over
            assert plan.count(State.NEW) == {3: 1 if took_over else 120, 4: 1, 2: 0}[len(parts)]


def test_of_a_csv_that_has_grown_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rows = tmp_path / "in.csv", [f"{number},text\n" for number in range(40_000)]
    variant = Variant(
        RequestBuilder(PromptConfig(user="x"), ParametersConfig(), "m", ["id"], PARAMETERS, None), "", "m"
    )
    read: list[int] = []
    parse = csv._parse

    def counted(path: str, block: Block, *rest: Any) -> Iterator[pa.RecordBatch]:
        read.append(block.rows)
        return parse(path, block, *rest)

    monkeypatch.setattr(csv, "_parse", counted)

    def plan(text: str, number: int) -> Plan:
        path.write_text("id,text\n" + text, encoding="utf-8")
        read.clear()
        source = open_source(InputConfig(path=str(path), id="id"))
        saved = load_plan(tmp_path)
        known = None if saved is None else KnownRows(saved, lambda numbers: ())
        with draft_plan(
            Rows(source, ("id",), (variant,)),
            iter(()),
            tmp_path,
            number=number,
            fingerprint="f",
            rules="r",
            known=known,
        ) as made:
            save_plan(made.plan, tmp_path)
            return made.plan

    whole = "".join(rows)
    plan(whole, 1)
    grown = plan(whole + "new,text\n", 2)
    assert len(grown) == 40_001
    assert sum(read) < 30_000
    changed = plan(whole.replace("5,text", "5,else", 1) + "new,text\n", 3)
    assert sum(read) >= 40_001
    assert changed.digest != grown.digest
    (tmp_path / "plan").unlink()
    assert plan(whole + "new,text\n", 4).digest == grown.digest


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["a", "b", "c", "\0", "a\0", "é"]), max_size=30), st.integers(1, 3))
def test_equal_rows_are_numbered_and_equal_ids_refused(values: list[str], samples: int) -> None:
    rows = Rows(TableSource(pa.table({"id": pa.array(values, pa.string())})), (), (), samples)
    counts: Counter[str] = Counter()
    expected = []
    for position, value in enumerate(values):
        counts[value] += 1
        if counts[value] > 1:
            expected += [(position * samples + sample, counts[value]) for sample in range(samples)]
    with tempfile.TemporaryDirectory() as directory:
        variant = Variant(
            RequestBuilder(PromptConfig(column="id"), ParametersConfig(), "m", ["id"], PARAMETERS, None),
            "dataoorts",
            "m",
        )
        plain = Rows(rows.source, (), (variant,), samples)
        with draft_plan(plain, iter(()), Path(directory), number=1, fingerprint="f") as made:
            assert list(zip(made.plan.repeated.tolist(), made.plan.occurrences.tolist(), strict=True)) == expected
        twice = [value for value, count in counts.items() if count > 1]
        try:
            with draft_plan(
                Rows(rows.source, ("id",), (variant,)), iter(()), Path(directory), number=1, fingerprint="f"
            ):
                assert not twice
        except InvalidJob as error:
            (mistake,) = error.mistakes
            assert all(repr(value) in mistake.message for value in twice[:5])
            assert twice


@settings(max_examples=25)
@given(st.lists(st.integers(1, 9), max_size=9), st.randoms(use_true_random=False))
def test_blocks_are_the_same_however_the_rows_are_read(sizes: list[int], chance: random.Random) -> None:
    count = sum(sizes)
    table = pa.table(
        {
            "text": pa.array([chance.choice([None, "", "a", "bc"]) for _ in range(count)], pa.string()),
            "list": pa.array([chance.choice([None, [], [1, None]]) for _ in range(count)], pa.list_(pa.int8())),
            "time": pa.array([chance.choice([None, 0, 1]) for _ in range(count)], pa.timestamp("s")),
            "flag": pa.array([chance.choice([None, True, False]) for _ in range(count)], pa.bool_()),
        }
    )
    keys = keys_of_ids([str(number) for number in range(count)])

    def blocks(bounds: Sequence[int]) -> object:
        reader, first = BlockReader(by_content=False), 0
        for size in bounds:
            for batch in table.slice(first, size).to_batches():
                reader.add(batch, keys[first : first + batch.num_rows])
                first += batch.num_rows
        return reader.finish()

    with small_blocks:
        assert blocks(sizes) == blocks([count]) == blocks([1] * count)
