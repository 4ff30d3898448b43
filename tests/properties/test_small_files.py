"""The small files of a checkpoint: whatever stands in them is left out, refused by name, or read as it was written."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.app.observe.status import JobStatus
from pipeline.app.observe.summary import Summary
from pipeline.app.use_cases.own_exports import is_own_export
from pipeline.errors import CheckpointFailed
from pipeline.journal import read_holder, read_progress, replacement, write_progress
from pipeline.journal.count import read_count
from pipeline.plan import load_plan

_NAMES = (
    "job",
    "run_id",
    "status",
    "rows",
    "succeeded",
    "failed",
    "pending",
    "requests",
    "cost_usd",
    "job_cost_usd",
    "possibly_billed_usd",
    "seconds",
    "rows_per_second",
    "output",
    "error",
    "errors",
    "updated_at",
    "last_progress_at",
    "eta_seconds",
    "output_stamp",
    "events",
    "pid",
    "host",
    "since",
    "kind",
    "message",
    "example",
    "files",
    "answers",
    "failures",
    "accepted",
    "trouble",
    "where",
    "cause",
    "gives_up_in_seconds",
    "answers_of_run",
)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["0.5", "1E+9999"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=8),
    max_leaves=20,
)
_contents = st.binary(max_size=200) | _values.map(lambda value: json.dumps(value).encode()) | st.just(b"[" * 100_000)


@given(content=_contents)
def test_any_content_of_a_small_file_is_left_out_or_refused_by_name(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        for name in ("progress.json", "lock", "acknowledged", "plan", "exports.json"):
            (directory / name).write_bytes(content)
        found = read_progress(directory) or {}
        summary = Summary.of_json(found) or Summary()
        for is_running in (True, False):
            json.dumps(JobStatus(summary, is_running, read_holder(directory), found).as_json())
        str(read_holder(directory))
        with suppress(CheckpointFailed):
            read_count(directory)
        assert load_plan(directory) is None
        assert not is_own_export(directory, directory / "plan")


@given(result=_values)
def test_a_recovery_goes_on_only_from_a_result_that_is_one(result: Any) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place, "checkpoint")
        (directory / "recovery").mkdir(parents=True)
        (directory / "recovery/result.json").write_text(json.dumps(result))
        with suppress(OSError, ValueError):
            replacement.finish(directory)
        assert sorted(path.name for path in Path(place).iterdir()) == ["checkpoint"]


def test_what_a_run_writes_is_read_back_as_it_was(tmp_path: Path) -> None:
    summary = replace(
        Summary(), job="a", status="succeeded", rows=2, succeeded=2, failed=0, pending=0, output="a.parquet"
    )
    written = {**summary.as_json(), "events": 3, "pid": 4, "updated_at": 1.5, "errors": [], "output_stamp": [1, 2]}
    write_progress(tmp_path, written)
    assert read_progress(tmp_path) == written
