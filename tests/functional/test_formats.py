"""Journals of every format that the program ever wrote open, plan and publish. tests/fixtures/journals/make.py made
them; a new format gets a fixture of its own beside the old ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from pipeline.app.use_cases.recover import recover
from pipeline.journal import Journal, database

JOURNALS = Path(__file__).parents[1] / "fixtures/journals"
FORMATS = sorted(path.name for path in JOURNALS.glob("format-*"))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A copy of the fixture, as the place where the commands are run."""
    place = tmp_path / "kept"
    shutil.copytree(JOURNALS / request.param, place)
    monkeypatch.chdir(place)
    return place


def run(**options: Any) -> Mapping[str, Any]:
    return Run(load_job("job.yaml"), RunOptions(**options)).execute().as_json()


def rows(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(json.dumps(pq.read_table(name).to_pylist(), default=str))
    return found


def fits(shown: list[dict[str, Any]], expected: list[dict[str, Any]]) -> bool:
    """Return whether rows are as they were then; columns that came later are null."""
    later = [{name: row[name] for name in row.keys() - one.keys()} for row, one in zip(shown, expected, strict=True)]
    then = [{name: row[name] for name in one} for row, one in zip(shown, expected, strict=True)]
    return then == expected and {value for one in later for value in one.values()} <= {None}


def test_there_is_a_journal_of_every_format_up_to_the_one_that_is_written_now() -> None:
    assert [f"format-{number}" for number in range(1, database.FORMAT + 1)] == FORMATS


@pytest.mark.parametrize("kept", FORMATS, indirect=True)
def test_a_journal_of_an_older_version_opens_plans_and_publishes(kept: Path) -> None:
    expected = json.loads((kept / "expected.json").read_text(encoding="utf-8"))
    with closing(Journal.read(Path("checkpoint"))) as journal:
        assert journal.verify() == 6
        (claim,) = journal.claims()
        assert (claim.row_id, claim.worst_cost) == ("k9", "0.00002")
        cost = journal.totals.cost_usd
    planned = run(limit=0)
    assert (planned["rows"], planned["succeeded"], planned["failed"], planned["pending"]) == (9, 6, 2, 1)
    assert (planned["requests"], planned["unpriced_rows"]) == (0, 1)
    assert Decimal(planned["job_cost_usd"]) == cost == sum(Decimal(row["cost_usd"] or 0) for row in expected)
    assert fits(rows("output.partial.parquet"), expected)
    finished = run()
    assert (finished["requests"], finished["succeeded"], finished["pending"]) == (1, 7, 0)
    assert fits([row for row in rows("output.parquet") if row["key"] != "k9"], expected)


@pytest.mark.parametrize("kept", FORMATS, indirect=True)
def test_a_damaged_journal_of_an_older_version_is_recovered(kept: Path) -> None:
    expected = json.loads((kept / "expected.json").read_text(encoding="utf-8"))
    Path("checkpoint/acknowledged").unlink()
    log = Path("checkpoint/journal.sqlite-wal")
    log.write_bytes(b"\0" * 32 + log.read_bytes()[32:])
    found = recover(load_job("job.yaml"))
    assert (found.answers, found.lost) == (6, 0)
    planned = run(limit=0)
    assert (planned["succeeded"], planned["failed"], planned["pending"]) == (6, 2, 1)
    assert fits(rows("output.partial.parquet"), expected)
    assert Decimal(planned["possibly_billed_usd"]) > Decimal("0.00002")
