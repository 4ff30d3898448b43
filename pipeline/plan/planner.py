"""The making of a plan: every row of the input is joined with every event of the journal.

The join runs in a scratch database beside the journal, so that memory does not grow with the number of rows.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import CheckpointFailed, InvalidJob, Mistake
from pipeline.journal import EventHead
from pipeline.journal.files import PLANNING_NAME
from pipeline.plan.cells import input_row_id
from pipeline.plan.draft import PlanDraft
from pipeline.plan.matching import INDEX_INPUT, SCHEMA, WITH_OCCURRENCE, load_journal, match
from pipeline.plan.plan import Plan
from pipeline.plan.rows import Rows, RowsDigest, UnsentFailure

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
    forget_kept: bool = False,
    former: Sequence[Rows] = (),
) -> Iterator[PlanDraft]:
    """Make a plan, and yield it with its scratch database, which is removed afterward.

    Args:
        rows: the rows of the job.
        index: every event of the journal, read to its end.
        directory: where the scratch database is created.
        number: the new plan's number.
        fingerprint: identifies the input and the settings.
        forget_kept: rows that were told to keep an answer to another request count as changed again.
        former: the same rows with earlier settings. An answer that was valid for a row then is valid for it now, and a
            row that had failed counts as failed, for a run that does not send it. Such a plan is for one run only.

    Raises:
        InvalidJob: duplicate or missing ids, or input that cannot be read.
        CheckpointFailed: the journal is damaged, or the scratch database cannot be written.
    """
    path = directory / PLANNING_NAME
    with _scratch_database(path) as scratch:
        try:
            plan = _make(scratch, rows, index, number, "" if former else fingerprint, forget_kept, former)
        except sqlite3.Error as error:
            raise _failed(path, error) from error
        yield PlanDraft(plan, rows, scratch)


@contextmanager
def _scratch_database(path: Path) -> Iterator[sqlite3.Connection]:
    with suppress(FileNotFoundError):
        path.unlink()
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        scratch = sqlite3.connect(path, isolation_level=None)
        # A long statement calls Python now and then, so that a signal can end it.
        scratch.set_progress_handler(lambda: 0, _STEPS_BETWEEN_SIGNALS)
        sorts_here = _sort_in(scratch, path.parent)
    except (OSError, sqlite3.Error) as error:
        raise _failed(path, error) from error
    try:
        yield scratch
    finally:
        if sorts_here:
            scratch.execute("PRAGMA temp_store_directory=''")
        scratch.close()
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
    number: int,
    fingerprint: str,
    forget_kept: bool,
    former: Sequence[Rows],
) -> Plan:
    scratch.executescript(
        f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{_CACHE_KIB}; BEGIN; {SCHEMA}"
    )
    has_events = load_journal(scratch, index)
    count, digest = _load_input(scratch, rows, former, with_requests=has_events or rows.deduplicate)
    scratch.executescript(INDEX_INPUT)
    if rows.id_columns:
        _refuse_duplicates(scratch, rows)
    repeated, occurrences = _tell_repeated_apart(scratch)
    plan = Plan(
        number=number,
        fingerprint=fingerprint,
        digest=digest,
        latest=np.zeros(count, np.uint64),
        repeated=repeated,
        occurrences=occurrences,
        orphaned=match(scratch, forget_kept=forget_kept) if has_events else 0,
    )
    for position, seq, state in scratch.execute("SELECT position, seq, state FROM matches"):
        plan.put(position, seq, state)
    return plan


def _load_input(
    scratch: sqlite3.Connection, rows: Rows, former: Sequence[Rows], *, with_requests: bool
) -> tuple[int, str]:
    digest, count = RowsDigest(), 0
    for position, batch in rows.batches():
        ids, contents = rows.identities(position, batch)
        hashes = _hashes(scratch, rows, position, batch, contents) if with_requests else [None] * len(ids)
        digest.update(ids, contents)
        scratch.executemany(
            "INSERT INTO input VALUES (?,?,?,?)",
            zip(range(position, position + len(ids)), ids, hashes, contents, strict=True),
        )
        for before in former:
            asked = before.request_hashes(position, batch, contents)
            scratch.executemany("INSERT INTO former VALUES (?,?)", enumerate(asked, position))
        count += len(ids)
    return count, digest.hexdigest()


def _hashes(
    scratch: sqlite3.Connection, rows: Rows, position: int, batch: pa.RecordBatch, contents: list[str]
) -> list[str]:
    if not rows.deduplicate:
        return rows.request_hashes(position, batch, contents)
    asked = list(rows.batch_requests(position, batch, contents))
    unsent = ((at,) for at, (request, _) in enumerate(asked, position) if isinstance(request, UnsentFailure))
    scratch.executemany("INSERT INTO unsent VALUES (?)", unsent)
    return [hashed for _, hashed in asked]


def _refuse_duplicates(scratch: sqlite3.Connection, rows: Rows) -> None:
    found = scratch.execute(
        "SELECT row_id, min(position), max(position) FROM input WHERE position % ? = 0"
        " GROUP BY row_id HAVING count(*) > 1 ORDER BY min(position) LIMIT 6",
        (rows.cells,),
    ).fetchall()
    if found:
        named = [
            f"{input_row_id(id_)!r} ({rows.place(first)} and {rows.place(last)})" for id_, first, last in found[:5]
        ]
        more = ", and more" if len(found) > 5 else ""
        of = f"column{'s' if len(rows.id_columns) > 1 else ''} {', '.join(map(repr, rows.id_columns))}"
        message = f"the {of} must be unique, but these ids stand twice: {', '.join(named)}{more}"
        hint = "give each row an id of its own; without `input.id`, rows of CSV, Parquet and JSONL are known by content"
        raise InvalidJob([Mistake(message, key="input.id", suggestion=hint)])


def _tell_repeated_apart(scratch: sqlite3.Connection) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    scratch.executescript(
        "CREATE TABLE repeated (position INTEGER PRIMARY KEY, nth INTEGER);"
        "INSERT INTO repeated SELECT position, nth FROM (SELECT position, row_number() OVER (PARTITION BY"
        " row_id ORDER BY position) AS nth FROM input WHERE row_id IN (SELECT row_id FROM input GROUP BY row_id"
        " HAVING count(*) > 1)) WHERE nth > 1 ORDER BY position;"
        f"UPDATE input SET row_id = {WITH_OCCURRENCE} FROM repeated r WHERE r.position = input.position;"
    )
    (count,) = scratch.execute("SELECT count(*) FROM repeated").fetchone()
    columns = [
        np.fromiter(
            (value for (value,) in scratch.execute(f"SELECT {name} FROM repeated ORDER BY position")),
            np.uint32,
            count,
        )
        for name in ("position", "nth")
    ]
    return columns[0], columns[1]


def _failed(path: Path, error: Exception) -> CheckpointFailed:
    return CheckpointFailed(f"{path}: cannot plan: {error}")
