"""The making of a plan: every row of the input is joined with every event of the journal.

The join runs in a scratch database beside the journal, so that memory does not grow with the number of rows.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pyarrow as pa
from msgspec.structs import replace

from pipeline.errors import CheckpointFailed
from pipeline.journal import Claim, EventHead
from pipeline.journal.files import PLANNING_NAME
from pipeline.plan.carrying import KnownRows, carry
from pipeline.plan.draft import PlanDraft
from pipeline.plan.matching import (
    SCHEMA,
    index_input,
    load_journal,
    load_lines,
    match,
    number_repeated,
    put_matches,
    spare_events,
)
from pipeline.plan.plan import Plan
from pipeline.plan.rows import Rows
from pipeline.plan.survey import Survey
from pipeline.plan.variants import UnsentFailure

# For any number of rows. Sorting takes as much again. With four times as much, a million rows are not faster.
_CACHE_KIB = 8 * 1024
_STEPS_BETWEEN_SIGNALS = 1_000_000


@contextmanager
def draft_plan(
    rows: Rows,
    index: Iterable[EventHead],
    directory: Path,
    *,
    number: int,
    fingerprint: str,
    rules: str = "",
    known: KnownRows | None = None,
    forget_kept: bool = False,
    former: Sequence[Rows] = (),
    lines_out: Collection[Claim] = (),
) -> Iterator[PlanDraft]:
    """Make a plan, and yield it with its scratch database, which is removed afterward.

    Args:
        rows: the rows of the job.
        index: every event of the journal, read to its end, or not at all where what is known is enough.
        directory: where the scratch database is created.
        number: the new plan's number.
        fingerprint: identifies the input and the settings.
        rules: identifies the settings, and how the input is read.
        known: the rows of a plan under the same rules, whose states hold where their content is the same.
        forget_kept: rows that were told to keep an answer to another request count as changed again.
        former: the same rows with earlier settings. An answer that was valid for a row then is valid for it now, and a
            row that had failed counts as failed, for a run that does not send it. Such a plan is for one run only.
        lines_out: the requests that wait in batches; they are compared with what their rows ask now.

    Raises:
        InvalidJob: duplicate or missing ids, or input that cannot be read.
        CheckpointFailed: the journal is damaged, or the scratch database cannot be written.
    """
    path = directory / PLANNING_NAME
    with ExitStack() as stack:
        carried = None
        if known is not None:
            scratch = stack.enter_context(_scratch_database(path, lines_out))
            with _reported(path):
                carried = carry(scratch, rows, known, directory, number=number, fingerprint=fingerprint)
        if carried is not None:
            yield PlanDraft(carried.plan, rows, scratch, carried.answers)
            return
        scratch = stack.enter_context(_scratch_database(path, lines_out))
        with _reported(path):
            if former:
                fingerprint = rules = ""
            joins = rows.deduplicate or bool(lines_out)
            plan = _make(scratch, rows, index, directory, number, fingerprint, rules, forget_kept, former, joins)
        yield PlanDraft(plan, rows, scratch)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise _failed(path, error) from error


@contextmanager
def _scratch_database(path: Path, lines_out: Iterable[Claim]) -> Iterator[sqlite3.Connection]:
    with suppress(FileNotFoundError):
        path.unlink()
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        scratch = sqlite3.connect(path, isolation_level=None)
        # A long statement calls Python now and then, so that a signal can end it.
        scratch.set_progress_handler(lambda: 0, _STEPS_BETWEEN_SIGNALS)
        sorts_here = _sort_in(scratch, path.parent)
        scratch.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{_CACHE_KIB}; BEGIN; {SCHEMA}"
        )
        load_lines(scratch, lines_out)
    except (OSError, sqlite3.Error) as error:
        raise _failed(path, error) from error
    try:
        yield scratch
    finally:
        scratch.close()
        if sorts_here:
            with closing(sqlite3.connect(":memory:")) as other:
                other.execute("PRAGMA temp_store_directory=''")
        with suppress(FileNotFoundError):
            path.unlink()


def _sort_in(scratch: sqlite3.Connection, directory: Path) -> bool:
    """Make SQLite sort beside the scratch database: the default temporary directory may be read-only or small.

    The setting is global to the program (https://www.sqlite.org/pragma.html#pragma_temp_store_directory). If it is set
    already, it is kept. Returns whether it has to be reset.
    """
    if "SQLITE_TMPDIR" in os.environ or scratch.execute("PRAGMA temp_store_directory").fetchone():
        return False
    place = str(directory.absolute()).replace("'", "''")
    scratch.execute(f"PRAGMA temp_store_directory='{place}'")
    return True


def _make(
    scratch: sqlite3.Connection,
    rows: Rows,
    index: Iterable[EventHead],
    directory: Path,
    number: int,
    fingerprint: str,
    rules: str,
    forget_kept: bool,
    former: Sequence[Rows],
    joins: bool,
) -> Plan:
    has_events = load_journal(scratch, index)
    survey = Survey(rows, directory)
    for position, batch in rows.batches():
        # A row that nothing is known of, and that shares with no other, is joined with nothing.
        contents = _load(scratch, rows, former, position, batch) if has_events or joins else None
        survey.add(position, batch, contents)
    plan = survey.plan(number, fingerprint, rules)
    assert plan.inventory is not None
    spare = 0
    if has_events or joins:
        number_repeated(scratch, plan.repeated, plan.occurrences)
        index_input(scratch)
    if has_events:
        plan.orphaned = match(scratch, forget_kept=forget_kept)
        put_matches(scratch, plan)
        spare, _ = spare_events(scratch)
    plan.inventory = replace(plan.inventory, is_settled=not (spare or former or rows.deduplicate))
    return plan


def _load(
    scratch: sqlite3.Connection, rows: Rows, former: Sequence[Rows], position: int, batch: pa.RecordBatch
) -> list[str]:
    """Load the rows that a batch makes, and return their content keys."""
    ids, contents = rows.identities(position, batch)
    hashes = _hashes(scratch, rows, position, batch, contents)
    scratch.executemany(
        "INSERT INTO input VALUES (?,?,?,?)",
        zip(range(position, position + len(ids)), ids, hashes, contents, strict=True),
    )
    for before in former:
        asked = before.request_hashes(position, batch, contents)
        scratch.executemany("INSERT INTO former VALUES (?,?)", enumerate(asked, position))
    return contents


def _hashes(
    scratch: sqlite3.Connection, rows: Rows, position: int, batch: pa.RecordBatch, contents: list[str]
) -> list[str]:
    if not rows.deduplicate:
        return rows.request_hashes(position, batch, contents)
    asked = list(rows.batch_requests(position, batch, contents))
    unsent = ((at,) for at, (request, _) in enumerate(asked, position) if isinstance(request, UnsentFailure))
    scratch.executemany("INSERT INTO unsent VALUES (?)", unsent)
    return [hashed for _, hashed in asked]


def _failed(path: Path, error: Exception) -> CheckpointFailed:
    return CheckpointFailed(f"{path}: cannot plan: {error}")
