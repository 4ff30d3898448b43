"""The Python interface, in process: what it returns, raises and leaves alone."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import resource
import signal
import subprocess
import sys
import threading
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline import errors
from pipeline.app.jobs.locking import locked
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from pipeline.config import Shard, load_job, read_job

MODEL = "meta/llama-4-scout-17b-16e-instruct"
JOB: dict[str, Any] = {
    "name": "asked",
    "prompt": {"user": "{{ q }}"},
    "endpoint": {"url": "simulator", "model": MODEL},
    "parameters": {"max_tokens": 20},
}
FILE = """\
name: asked
input: {path: rows.csv, id: n}
prompt: {user: "{{ q }}"}
endpoint: {url: simulator, model: meta/llama-4-scout-17b-16e-instruct}
parameters: {max_tokens: 20}
output: {path: answers.parquet}
"""


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def frame(rows: int = 5) -> pd.DataFrame:
    return pd.DataFrame({"n": range(rows), "q": [f"question {number}" for number in range(rows)]})


def job_file(rows: int = 5) -> Path:
    frame(rows).to_csv("rows.csv", index=False)
    Path("job.yaml").write_text(FILE, encoding="utf-8")
    return Path("job.yaml")


def test_every_public_name_is_there_and_described() -> None:
    for name in pipeline.__all__:
        assert getattr(pipeline, name).__doc__, name
    assert set(pipeline.__all__) <= set(dir(pipeline))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pipeline.nothing


def test_a_job_file_runs_and_its_answers_are_read_in_every_form() -> None:
    result = pipeline.Job(job_file(), {"limits.concurrency": 2}).run()
    assert (result.exit_code, result.summary.succeeded, result.summary.status) == (0, 5, "succeeded")
    assert isinstance(result.summary.cost_usd, Decimal) and result.summary.output == "answers.parquet"
    table = result.table()
    assert table.equals(pq.read_table("answers.parquet").replace_schema_metadata(None))
    assert result.frame()["n"].tolist() == ["0", "1", "2", "3", "4"]
    assert str(result.frame()["cost_usd"].dtype) == "decimal128(18, 12)[pyarrow]"
    assert result.failed().empty and list(result.failed().columns) == table.schema.names
    assert sum(batch.num_rows for batch in result.batches()) == 5


def test_a_mapping_and_a_frame_run_without_any_file_but_the_checkpoint() -> None:
    job = pipeline.Job(JOB, input=frame())
    assert (job.validate(), job.plan().new) == ([], 5)
    result = job.run(limit=2)
    assert (result.summary.succeeded, result.summary.pending, result.summary.output) == (2, 3, None)
    assert result.table().num_rows == 2
    assert job.run().table()["q"].to_pylist() == frame()["q"].tolist()
    assert job.plan() == pipeline.Plan(5, 5, 0, 0, 0, 0)
    assert {path.name for path in Path.cwd().iterdir()} == {".checkpoints"}


def test_the_rows_of_a_table_may_grow_and_only_new_ones_are_sent() -> None:
    pipeline.Job(JOB, input=frame(3)).run()
    result = pipeline.Job(JOB, input=pa.Table.from_pandas(frame(5), preserve_index=False)).run()
    assert (result.summary.requests, result.summary.rows) == (2, 5)


def test_an_output_is_written_where_the_job_names_one() -> None:
    result = pipeline.Job({**JOB, "output": {"path": "out.parquet"}}, input=frame()).run()
    assert result.summary.output == "out.parquet" and pq.read_table("out.parquet").num_rows == 5


def test_an_estimate_is_made_of_values() -> None:
    job = pipeline.Job(JOB, input=frame(60))
    found = job.estimate()
    assert found.rows.new == 60 and found.cost_usd is not None and isinstance(found.cost_usd.high, Decimal)
    learned = job.estimate(pilot=20)
    assert learned.pilot is not None and learned.pilot.succeeded == 20 and learned.requests == 40
    with pytest.raises(dataclasses.FrozenInstanceError):
        learned.requests = 0  # type: ignore[misc]


def test_everything_wrong_is_listed_with_places_in_a_file_and_without_in_a_mapping() -> None:
    path = job_file()
    path.write_text(FILE.replace("user:", "usr:"), encoding="utf-8")
    (found,) = pipeline.Job(path).validate()
    assert (found.file, found.line, found.column, found.key) == ("job.yaml", 3, 10, "prompt.usr")
    for found in pipeline.Job({**JOB, "colour": 1}, {"limits.concurency": 3}, input=frame()).validate():
        assert (found.file, found.line, found.column) == (None, None, None)
    (found,) = pipeline.Job({**JOB, "input": {"path": "rows.csv"}}, input=frame()).validate()
    assert (found.key, found.message) == ("input.path", "the rows are given already")


def test_refusals_name_the_argument_and_not_the_flag() -> None:
    pipeline.Job(JOB, input=frame()).run()
    changed = pipeline.Job(JOB, {"prompt.user": "{{ q }}!"}, input=frame())
    with pytest.raises(errors.InvalidInput, match='on_change="rerun"') as refused:
        changed.run()
    assert "--" not in str(refused.value)
    assert changed.run(on_change="keep").summary.requests == 0
    with pytest.raises(errors.InvalidJob, match=r'overrides\["limits.concurency"\]'):
        pipeline.Job(JOB, {"limits.concurency": 3}, input=frame()).run()


def test_a_job_given_as_a_mapping_has_no_lines_to_tell_of() -> None:
    with pytest.raises(errors.InvalidJob) as refused:
        pipeline.Job({**JOB, "colour": 1}, input=frame()).run()
    assert "colour: the job: unknown key" in str(refused.value) and "line" not in str(refused.value)


def test_no_message_names_a_flag() -> None:
    def with_longest(tokens: int) -> pipeline.Job:
        return pipeline.Job(JOB, {"parameters.max_tokens": tokens}, input=frame())

    assert "pilot=N learns" in with_longest(20).estimate().assumptions
    assert "--" not in with_longest(20).estimate().assumptions
    with_longest(20).run()
    with pytest.raises(errors.InvalidInput, match="max_tokens: 20 -> 30") as refused:
        with_longest(30).run()
    assert "--" not in str(refused.value)
    Path(".checkpoints/asked").rename("elsewhere")
    Run(load_job(job_file()).in_shard(Shard(1, 2)), RunOptions()).execute()
    with pytest.raises(errors.InvalidInput, match="in 1 of 2 shards, and would be run as a whole") as refused:
        pipeline.Job(job_file()).run()
    assert "--" not in str(refused.value)


def test_what_is_no_job_is_refused_by_the_argument() -> None:
    for job, overrides, named in [(5, None, "job"), (None, None, "job"), (JOB, ["limits.concurrency=3"], "overrides")]:
        with pytest.raises(errors.InvalidInput, match=f"^{named}: "):
            pipeline.Job(cast("Any", job), cast("Any", overrides))
    for options in ({"pilot": 0}, {"pilot": -5}, {"pilot": "x"}, {"pilot": 1, "seed": "x"}):
        with pytest.raises(errors.InvalidInput, match=f"^{list(options)[-1]} must be an integer"):
            pipeline.Job(JOB, input=frame()).estimate(**options)
    assert not Path(".checkpoints").exists()


@pytest.mark.parametrize("options", [{"limit": -1}, {"limit": 1.5}, {"limit": True}, {"on_change": "ask"}])
def test_an_argument_out_of_range_is_refused_before_anything_is_sent(options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidInput):
        pipeline.Job(JOB, input=frame()).run(**options)
    assert not Path(".checkpoints").exists()


def test_rows_that_are_no_table_are_refused_by_their_type() -> None:
    with pytest.raises(errors.InvalidInput, match="not list"):
        pipeline.Job(JOB, input=[{"q": "a"}])
    with pytest.raises(errors.InvalidInput, match="column name 0"):
        pipeline.Job(JOB, input=pd.DataFrame([["a"]]))


UNION = pa.UnionArray.from_dense(pa.array([0, 0], pa.int8()), pa.array([0, 1], pa.int32()), [pa.array([1, 2])])
RUNS = pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["a"]))


@pytest.mark.parametrize(
    "rows",
    [
        pa.table({"q": ["a", "b"], "odd": UNION}),
        pa.table({"q": ["a", "b"], "odd": RUNS}),
        pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["odd", "odd"]),
        pd.DataFrame([["a", 1, 2]], columns=["q", "odd", "odd"]),
        pd.DataFrame({"q": ["a"], "odd": [2**70]}),
        pd.DataFrame({"q": ["a", "b"], "odd": [1, "x"]}),
    ],
)
def test_a_column_that_no_job_can_have_is_refused_by_name(rows: Any) -> None:
    with pytest.raises(errors.InvalidInput, match='"odd"'):
        pipeline.Job(JOB, input=rows)


@pytest.mark.parametrize("kind", [pa.month_day_nano_interval(), pa.struct([]), pa.list_(pa.struct([]))])
def test_a_column_that_parquet_cannot_hold_is_refused_before_anything_is_sent(kind: pa.DataType) -> None:
    rows = pa.table({"q": ["a"], "odd": pa.nulls(1, kind)})
    with_output = pipeline.Job({**JOB, "output": {"path": "answers.parquet"}}, input=rows)
    (mistake,) = with_output.validate()
    assert mistake.key == "output.path" and "'odd'" in mistake.message
    with pytest.raises(errors.InvalidJob):
        with_output.run()
    without_it = pipeline.Job({**JOB, "input": {"columns": ["q"]}, "output": {"path": "answers.parquet"}}, input=rows)
    assert without_it.validate() == []
    assert pipeline.Job(JOB, input=rows).run().table().schema.field("odd").type == kind


def test_dictionaries_that_parquet_cannot_hold_are_carried_as_their_values() -> None:
    indices = pa.array([0, 1, None], pa.int32())
    values = {"null": pa.array(["a", None]), "nested": pa.array([{"x": 1}, {"x": 2}])}
    odd = {name: pa.DictionaryArray.from_arrays(indices, found) for name, found in values.items()}
    rows = pa.table({"q": ["a", "b", "c"], **odd})
    pipeline.Job({**JOB, "output": {"path": "answers.parquet"}}, input=rows).run()
    found = pq.read_table("answers.parquet").select(["null", "nested"])
    assert found.to_pydict() == {"null": ["a", None, None], "nested": [{"x": 1}, {"x": 2}, None]}


def test_a_stop_and_failed_rows_return_and_anything_worse_raises() -> None:
    rows = frame()
    rows.loc[2, "q"] = ""
    result = pipeline.Job(JOB, input=rows).run()
    assert (result.exit_code, result.failed()["n"].tolist()) == (3, [2])
    capped = pipeline.Job({**JOB, "name": "capped"}, {"limits.max_cost_usd": 1e-6}, input=frame()).run()
    assert capped.exit_code == 4 and capped.summary.error is not None
    assert isinstance(capped.summary.error, pipeline.RunError) and capped.summary.error.kind == "cost_cap"
    with locked(load_job(job_file())), pytest.raises(errors.JobLocked):
        pipeline.Job("job.yaml").run()


def test_a_job_that_the_endpoint_refuses_returns_with_the_reason() -> None:
    result = pipeline.Job({**JOB, "prompt": {"user": "{{ q }} [[fault: 401]]"}}, input=frame()).run()
    assert result.exit_code == 5 and result.summary.error is not None
    assert (result.summary.error.kind, result.summary.pending) == ("bad_credentials", 5)


def test_a_job_that_is_wrong_raises_with_every_mistake() -> None:
    with pytest.raises(errors.InvalidJob) as raised:
        pipeline.Job({**JOB, "colour": 1}, {"limits.concurency": 3}, input=frame()).run()
    assert raised.value.exit_code == 2 and isinstance(raised.value, errors.PipelineError)
    assert "colour" in str(raised.value) and "concurency" in str(raised.value)


def test_changed_rows_are_refused_unless_the_caller_decides() -> None:
    pipeline.Job(JOB, input=frame()).run()
    changed = pipeline.Job({**JOB, "prompt": {"user": "{{ q }}?"}}, input=frame())
    with pytest.raises(errors.InvalidInput, match="on_change="):
        changed.run()
    assert changed.run(on_change="keep").summary.requests == 0
    again = pipeline.Job({**JOB, "prompt": {"user": "{{ q }}!"}}, input=frame()).run(on_change="rerun")
    assert (again.exit_code, again.summary.requests) == (0, 5)


def test_an_engine_that_cannot_be_used_is_refused_in_python_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    job = pipeline.Job(JOB, input=frame())
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(errors.InvalidInput, match=r'^engine="ray": Ray is not installed'):
        job.run(engine="ray")
    with pytest.raises(errors.InvalidInput, match=r'^address names a Ray cluster; add engine="ray", or leave it out'):
        job.run(address="10.0.0.1:6379")
    with pytest.raises(errors.InvalidInput, match=r"engine: .*'rey'"):
        job.run(engine="rey")  # type: ignore[arg-type]


def test_a_model_that_is_not_known_is_refused_with_what_python_takes() -> None:
    asked: dict[str, Any] = {"user": "{{ q }}", "checkpoint": "cp"}
    with pytest.raises(errors.InvalidJob) as refused:
        pipeline.ask(frame(), model="nothing", **asked)
    with pytest.raises(errors.InvalidJob) as of_job:
        pipeline.Job({**JOB, "endpoint": {"model": "nothing"}}, input=frame()).run()
    for message in map(str, (refused.value, of_job.value)):
        assert "meta/llama-3.1-8b-instruct, " in message and "pipeline models" not in message
    server = {"kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key_env": None}
    asked |= {"limits": {"max_cost_usd": 1}, "parameters": {"max_tokens": 5}}
    with pytest.raises(errors.InvalidJob, match=r"leave it out; only `Job` takes a price of your own"):
        pipeline.ask(frame(), model="mine", endpoint=server, **asked)


def test_money_is_decimal_and_a_time_is_a_datetime() -> None:
    result = pipeline.Job(JOB, input=frame()).run()
    (batch,) = result.batches()
    assert isinstance(batch, pa.RecordBatch)
    row = batch.to_pylist()[0]
    assert isinstance(row["cost_usd"], Decimal)
    assert isinstance(row["started_at"], datetime) and row["started_at"].tzinfo is not None
    assert isinstance(result.frame()["started_at"].iloc[0], datetime)


def test_the_calls_take_what_is_promised() -> None:
    named = inspect.signature(pipeline.ask).parameters
    assert set(named) == {
        "frame",
        "user",
        "model",
        "system",
        "endpoint",
        "parameters",
        "checkpoint",
        "expect",
        "samples",
        "limits",
        "id",
    }
    assert all(one.kind is one.KEYWORD_ONLY for name, one in named.items() if name != "frame")
    assert named["samples"].default == 1
    assert [field.name for field in dataclasses.fields(pipeline.Diagnostic)] == [
        "file",
        "line",
        "column",
        "key",
        "message",
        "suggestion",
    ]
    assert inspect.signature(pipeline.Job.run).parameters["progress"].default is False


def test_rows_that_wait_in_a_batch_are_told_by_the_exit_code() -> None:
    bought = {**JOB, "endpoint": {**JOB["endpoint"], "kind": "openai", "batch": {"poll_seconds": 0.1}}}
    result = pipeline.Job({**bought, "simulator": {"batch_seconds": 60}}, input=frame()).run(no_wait=True)
    assert (result.exit_code, result.summary.pending) == (7, 5)
    assert result.summary.error is not None and result.summary.error.kind == "batch_waiting"
    with pytest.raises(errors.InvalidInput, match=r"^no_wait is for"):
        pipeline.Job({**JOB, "name": "online"}, input=frame()).run(no_wait=True)


def test_run_is_short_for_a_job_that_runs() -> None:
    result = pipeline.run(job_file(), {"limits.concurrency": 2}, limit=2)
    assert (result.summary.succeeded, result.summary.pending) == (2, 3)
    assert pipeline.run(JOB, input=frame(2)).summary.succeeded == 2


def test_answers_of_a_job_that_never_ran_are_refused() -> None:
    with pytest.raises(errors.NoCheckpoint, match="run"):
        pipeline.Job(JOB, input=frame()).results()
    pipeline.Job(JOB, input=frame()).run()
    assert pipeline.Job(JOB, input=frame()).results().table().num_rows == 5


def test_a_fault_of_the_program_is_an_error_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.app.use_cases.forecast.row_counts", lambda job: 1 / 0)
    with pytest.raises(errors.PipelineError, match="division by zero") as raised:
        pipeline.Job(JOB, input=frame()).plan()
    assert raised.value.exit_code == 1 and isinstance(raised.value.__cause__, ZeroDivisionError)


def test_ask_returns_the_callers_frame_with_the_answers_beside_it() -> None:
    asked = frame().set_index(pd.Index(list("edcba")))
    options: dict[str, Any] = {
        "user": "{{ q }}",
        "model": MODEL,
        "endpoint": {"url": "simulator"},
        "checkpoint": "kept",
        "parameters": {"max_tokens": 20},
    }
    answered = pipeline.ask(asked, **options)
    assert answered.index.tolist() == list("edcba")
    pd.testing.assert_frame_equal(answered[["n", "q"]], asked)
    assert answered["response"].notna().all() and answered["attempts"].tolist() == [1] * 5
    again = pipeline.ask(asked, **options)
    assert again["finished_at"].tolist() == answered["finished_at"].tolist()
    table = pipeline.ask(pa.Table.from_pandas(asked, preserve_index=False), **options)
    assert isinstance(table, pa.Table) and table["response"].to_pylist() == answered["response"].tolist()


def test_ask_names_its_own_arguments_in_refusals() -> None:
    options: dict[str, Any] = {"model": MODEL, "endpoint": {"url": "simulator"}, "checkpoint": "kept"}
    pipeline.ask(frame(), user="{{ q }}", **options)
    for asked, user, named in [
        (frame(), "{{ q }}!", "name another `checkpoint`"),
        (frame().assign(status=1), "{{ q }}", "rename it in the frame"),
        (None, "{{ q }}", "^frame: a pandas DataFrame"),
        ([{"q": "a"}], "{{ q }}", "^frame: a pandas DataFrame"),
    ]:
        with pytest.raises(errors.InvalidInput, match=named) as refused:
            pipeline.ask(asked, user=user, **options)
        assert not [word for word in ("on_change", "set output.prefix", "`name:`") if word in str(refused.value)]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"samples": 0}, "samples: 0 is out of range"),
        ({"id": "m"}, 'id: the input has no column "m"'),
        ({"user": "{{ m }}"}, "user: template line 1"),
        ({"user": "all the same"}, "user: uses no column, so every row would be asked the same (use one"),
        ({"system": "{{ m }}"}, "system: template line 1"),
        ({"model": ""}, "model: this is empty"),
        ({"model": "no/such-model"}, "model: the catalogue has no such model"),
        ({"checkpoint": "s3://bucket/kept"}, "checkpoint: a checkpoint is on a disk"),
        ({"limits": {"concurrency": 0}}, "limits.concurrency: 0 is out of range"),
        ({"id": "same"}, "names `id`"),
        ({"frame": frame().assign(status=1)}, "frame: the input already has a column 'status'"),
    ],
)
def test_ask_names_no_key_of_a_job_file_that_is_no_argument(wrong: dict[str, Any], named: str) -> None:
    usual: dict[str, Any] = {
        "user": "{{ q }}",
        "model": MODEL,
        "endpoint": {"url": "simulator"},
        "checkpoint": "kept",
    }
    with pytest.raises(errors.InvalidJob) as refused:
        pipeline.ask(**{"frame": frame().assign(same=1), **usual, **wrong})
    said = str(refused.value)
    assert named in said
    others = ("the job:", "prompt.", "input.id", "endpoint.model", "checkpoint.path", "the key", "pricing:", "backup")
    assert not [word for word in others if word in said], said
    (mistake,) = refused.value.mistakes
    assert mistake.key == ".".join([*wrong, *(key for one in wrong.values() if isinstance(one, dict) for key in one)])


def test_ask_returns_a_table_for_record_batches() -> None:
    batch = pa.RecordBatch.from_pydict({"q": ["a", "b"]})
    reader = pa.RecordBatchReader.from_batches(batch.schema, [batch])
    for rows in (batch, reader):
        answers = pipeline.ask(
            cast("pa.Table", rows), user="{{ q }}", model=MODEL, endpoint={"url": "simulator"}, checkpoint="asked"
        )
        assert isinstance(answers, pa.Table) and answers.column_names[:2] == ["q", "row_id"]
        assert answers.column("status").to_pylist() == ["succeeded"] * 2


def test_ask_takes_mappings_for_sections_and_nothing_else() -> None:
    for section, wrong in {"endpoint": "simulator", "parameters": [1], "limits": 5, "expect": ["yes"]}.items():
        arguments: Any = {"user": "{{ q }}", "model": MODEL, "checkpoint": "asked", section: wrong}
        with pytest.raises(errors.InvalidInput, match=f"^{section}: a mapping"):
            pipeline.ask(frame(), **arguments)


def test_ask_takes_the_model_once() -> None:
    endpoint = {"url": "simulator", "model": "meta/llama-3.1-8b-instruct"}
    with pytest.raises(errors.InvalidInput, match=r"^endpoint\.model: "):
        pipeline.ask(frame(), user="{{ q }}", model=MODEL, endpoint=endpoint, checkpoint="asked")


def test_ask_takes_no_checkpoint_that_is_no_path() -> None:
    with pytest.raises(errors.InvalidInput, match=r"^checkpoint: the path"):
        pipeline.ask(frame(), user="{{ q }}", model=MODEL, endpoint={"url": "simulator"}, checkpoint=cast("Any", None))
    assert not Path("None").exists()


def test_ask_raises_where_a_row_is_left_without_an_outcome() -> None:
    with pytest.raises(errors.RunStopped, match="5 rows of 5") as stopped:
        pipeline.ask(
            frame(),
            user="{{ q }}",
            model=MODEL,
            endpoint={"url": "simulator"},
            checkpoint="kept",
            parameters={"max_tokens": 20},
            limits={"max_cost_usd": 0.000001},
        )
    assert stopped.value.exit_code == 4
    with pytest.raises(errors.InvalidInput, match="expect"):
        pipeline.ask(
            frame(),
            user="{{ q }}",
            model=MODEL,
            endpoint={"url": "simulator"},
            checkpoint="kept",
            expect={"choices": ["a"], "regex": "a"},
        )


def test_signals_limits_and_streams_stay_as_they_are(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def state() -> list[Any]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        return [handlers, resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE)]

    before, streams = state(), (sys.stdout, sys.stderr)
    with caplog.at_level(logging.INFO, "pipeline"):
        pipeline.Job(JOB, input=frame()).run()
    assert state() == before and (sys.stdout, sys.stderr) == streams
    assert capfd.readouterr() == ("", "")
    assert any("5 new" in record.getMessage() for record in caplog.records)
    assert not any("question" in record.getMessage() for record in caplog.records)
    pipeline.Job({**JOB, "name": "shown"}, input=frame()).run(progress=True)
    out, err = capfd.readouterr()
    assert out == "" and "5/5" in err


def test_a_warning_prints_nothing_where_nobody_listens() -> None:
    script = Path("script.py")
    script.write_text(
        f"""
import pandas as pd
import pipeline

job = {JOB!r} | {{"input": {{"id": "n"}}}}
for mark in (1, 2):
    found = pipeline.Job(job, input=pd.DataFrame({{"n": [1], "q": ["a"], "mark": [mark]}})).run()
print(found.summary.succeeded)
""",
        encoding="utf-8",
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("1\n", "")


def test_decimals_keep_all_their_digits() -> None:
    cap = Decimal("0.1000000000000000055511151231257827")
    written = pipeline.Job({**JOB, "limits": {"max_cost_usd": cap}}, {"limits.max_run_cost_usd": cap}, input=frame())
    assert not written.validate()
    written.run()
    read, _ = read_job({**JOB, "limits": {"max_cost_usd": cap}}, table=pa.Table.from_pandas(frame()))
    assert read is not None and read.config.limits.max_cost_usd == cap
    for wrong in (Decimal("NaN"), Decimal("-Infinity"), float("nan")):
        (mistake,) = pipeline.Job({**JOB, "limits": {"max_cost_usd": wrong}}, input=frame()).validate()
        assert mistake.key == "limits.max_cost_usd"


def test_numbers_of_numpy_are_numbers_of_a_job() -> None:
    three = np.int64(3)
    job = {**JOB, "limits": {"concurrency": three}, "parameters": {"max_tokens": np.int32(20), "top_p": np.float64(1)}}
    found = pipeline.Job(job, {"limits.drain_seconds": three, "retry": {"max_runs": three}}, input=frame())
    assert not found.validate()
    assert found.run().summary.succeeded == 5


def test_jobs_run_in_a_loop_and_in_threads_side_by_side() -> None:
    found: dict[str, int] = {}

    def work(name: str) -> None:
        found[name] = pipeline.Job({**JOB, "name": name}, input=frame()).run().table().num_rows

    threads = [threading.Thread(target=work, args=(f"job-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(3):
        work(f"loop-{number}")
    assert set(found.values()) == {5} and len(found) == 6


def test_ctrl_c_drains_saves_and_is_raised_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""\
import os, signal, threading, time
import pandas as pd
import pipeline

job = {JOB!r} | {{"simulator": {{"latency_seconds": 0.3}}, "limits": {{"concurrency": 4}}}}
frame = pd.DataFrame({{"q": [f"question {{n}}" for n in range(400)]}})

def interrupt():
    while not os.path.exists(".checkpoints/asked/progress.json"):
        time.sleep(0.02)
    time.sleep(0.8)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    pipeline.Job(job, input=frame).run()
except KeyboardInterrupt:
    saved = pipeline.Job(job, input=frame).results().table()
    counts = pipeline.Job(job, input=frame).plan()
    print("interrupted", saved.num_rows == counts.done, 0 < counts.done < 400)
""",
        encoding="utf-8",
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout.split(), ended.stderr) == (["interrupted", "True", "True"], "")
