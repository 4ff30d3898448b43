"""`pipeline list` and `pipeline clean`: every job that has a checkpoint here, and the end of one."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from pipeline.app.use_cases.clean import CleanupPlan, clean
from pipeline.app.use_cases.list_jobs import JobInfo, list_jobs
from pipeline.app.use_cases.recover import recover
from pipeline.errors import CheckpointDamaged, InvalidInput, JobLocked
from pipeline.journal import JobLock
from pipeline.journal.files import foreign_names
from tests.functional.conftest import Endpoint, Workspace, answer, ended, refusal, usual

RunHere = Callable[[], Run]


@pytest.fixture
def finish(ws: Workspace, run_here: RunHere) -> Callable[..., int]:
    """Writes an input and a job, and runs it here; gives the exit code."""

    def run(*questions: str, **sections: Any) -> int:
        ws.questions(*questions)
        ws.job(**sections)
        return run_here().execute().exit_code

    return run


def listed() -> dict[str | None, JobInfo]:
    return {one.job: one for one in list_jobs()}


# ---- list


def test_every_job_is_listed_with_its_state_cost_and_age(
    ws: Workspace, endpoint: Endpoint, finish: Callable[..., int]
) -> None:
    endpoint.reply = lambda asked: refusal(400, 5006) if asked.prompt == "bad" else usual(asked)
    assert finish("a", "b", name="done") == 0
    assert finish("a", "bad", name="flawed", output={"path": "flawed.parquet"}) == 3
    endpoint.reply = lambda asked: refusal(402)
    assert finish("a", name="refused", output={"path": "refused.parquet"}) == 5
    for name in ("done.damaged-20260101T000000Z", ".shared", "empty"):
        (ws.path / ".checkpoints" / name).mkdir()
    (ws.path / ".checkpoints/refused/lock").unlink()
    before = ws.files()
    found = ws.pipeline("list", "--json")
    assert ws.files() == before, "looking changed something"
    done, flawed, refused = found.data["jobs"]
    assert [one["state"] for one in (done, flawed, refused)] == ["succeeded", "failed_rows", "stopped"]
    assert (done["job"], done["job_cost_usd"], done["output"]) == ("done", "0.00002", "out.parquet")
    assert done["checkpoint"] == ".checkpoints/done"
    assert (flawed["rows"], flawed["succeeded"], flawed["failed"], flawed["pending"]) == (2, 1, 1, 0)
    assert 0 <= done["age_seconds"] < 120
    lines = ws.pipeline("list").out.splitlines()
    assert len(lines) == 4
    assert "failed rows" in lines[2]
    assert "  0.000020 " in lines[1]


def test_money_of_the_simulator_is_marked_where_costs_are_listed_and_estimated(
    ws: Workspace, finish: Callable[..., int]
) -> None:
    finish("a", "b", endpoint={"url": "simulator"})
    assert re.search(r"0\.0001 simulated", ws.pipeline("list").out)
    assert ws.pipeline("list", "--json").data["jobs"][0]["simulated"] is True
    text = ws.pipeline("estimate", "job.yaml").out
    assert "cost usd            0 (0 to 0) simulated" in text
    assert re.search(r"with \$0\.\d+ simulated spent so far", text)
    ws.job(name="real", output={"path": "real.parquet"})
    assert "simulated" not in ws.pipeline("estimate", "job.yaml").out


def test_a_job_under_way_is_listed_as_running_and_a_killed_one_as_interrupted(
    ws: Workspace, endpoint: Endpoint, run_here: RunHere
) -> None:
    ws.questions("a", "b")
    ws.job(limits={"concurrency": 1})
    endpoint.gate.clear()
    with ws.running() as run:
        endpoint.wait_for(1)
        assert listed()["job"].state == "running"
        run.kill()
        ended(run)
    endpoint.gate.set()
    found = listed()["job"]
    assert found.state == "interrupted"
    assert found.possibly_billed_usd


def test_a_damaged_checkpoint_is_listed_beside_the_others(ws: Workspace, finish: Callable[..., int]) -> None:
    finish("a", name="sound")
    finish("a", name="broken", output={"path": "broken.parquet"})
    (ws.path / ".checkpoints/broken/acknowledged").unlink()
    found = listed()
    assert (found["sound"].state, found["broken"].state) == ("succeeded", "damaged")
    assert "recover" in (found["broken"].error or "")


def test_without_checkpoints_there_is_nothing_to_list(ws: Workspace) -> None:
    found = ws.pipeline("list")
    assert found.code == 0
    assert "no job" in found.out
    assert not ws.exists(".checkpoints")


# ---- clean


def cleaned() -> CleanupPlan:
    found, is_removed = clean(load_job("job.yaml"), lambda finished: True)
    assert is_removed
    return found


def refused(ws: Workspace, words: str, error: type[Exception] = InvalidInput) -> None:
    before = ws.files()
    with pytest.raises(error, match=words):
        cleaned()
    assert ws.files() == before, "a refusal changed something"


def test_the_checkpoint_of_a_finished_job_goes_nothing_else_does_and_recover_brings_it_back(
    ws: Workspace, endpoint: Endpoint, run_here: RunHere, finish: Callable[..., int]
) -> None:
    finish("a", "b")
    output = (ws.path / "out.parquet").read_bytes()
    assert ws.pipeline("clean", "job.yaml").code == 2
    found = ws.command("clean", "--yes")
    assert (found["removed"], found["succeeded"], found["failed"]) == (True, 2, 0)
    assert (found["checkpoint"], found["output"]) == (".checkpoints/job", "out.parquet")
    assert sorted(path.name for path in ws.path.rglob("*")) == [".checkpoints", "in.parquet", "job.yaml", "out.parquet"]
    assert (ws.path / "out.parquet").read_bytes() == output
    with pytest.raises(CheckpointDamaged, match="pipeline recover"):
        run_here().execute()
    recover(load_job("job.yaml"))
    again = run_here().execute()
    assert (again.exit_code, str(again.job_cost_usd)) == (0, "0.000020000000")
    assert len(endpoint.asked) == 2


def test_without_a_checkpoint_there_is_nothing_to_clean(ws: Workspace, run_here: RunHere) -> None:
    ws.questions("a")
    ws.job()
    refused(ws, "nothing to clean")
    assert not ws.exists(".checkpoints")


def test_a_job_that_is_not_finished_keeps_its_checkpoint(
    ws: Workspace, endpoint: Endpoint, run_here: RunHere, finish: Callable[..., int]
) -> None:
    assert finish("a", "b") == 0
    ws.questions("a", "b", "c")
    refused(ws, "have changed since the last run")
    endpoint.reply = lambda asked: refusal(402)
    run_here().execute()
    refused(ws, "would send 1 row;")


def test_a_job_keeps_its_checkpoint_until_no_run_sends_its_failed_rows_any_more(
    ws: Workspace, endpoint: Endpoint, run_here: RunHere, finish: Callable[..., int]
) -> None:
    endpoint.reply = lambda asked: refusal(500) if asked.prompt == "a" else usual(asked)
    assert finish("a", *"bcdefg", retry={"max_attempts": 2, "max_runs": 1}) == 3
    refused(ws, "would send 1 row;")
    run_here().execute()
    assert cleaned().failed == 1


def test_a_job_that_is_running_keeps_its_checkpoint(ws: Workspace, finish: Callable[..., int]) -> None:
    finish("a")
    with JobLock(ws.path / ".checkpoints/job"), pytest.raises(JobLocked):
        cleaned()
    assert cleaned().succeeded == 1


def test_answers_that_no_output_holds_are_not_thrown_away(
    ws: Workspace, run_here: RunHere, finish: Callable[..., int]
) -> None:
    finish("a", "b", "c")
    ws.questions("a", "b")
    run_here().execute()
    refused(ws, "holds 1 paid answer of rows")


def test_attempts_for_a_longer_answer_that_were_in_vain_are_no_reason_to_keep_a_checkpoint(
    ws: Workspace, endpoint: Endpoint, run_here: RunHere, finish: Callable[..., int]
) -> None:
    endpoint.reply = lambda asked: answer("cut", usage={"prompt_tokens": 10, "completion_tokens": 100})
    finish("a")
    endpoint.reply = lambda asked: refusal(400, 5006)
    longer = load_job("job.yaml", ["parameters.max_tokens=200"])
    assert Run(longer, RunOptions(retry=True, retry_kind="truncated")).execute().exit_code == 3
    run_here().execute()
    assert cleaned().succeeded == 1


def test_without_a_sound_output_of_its_own_a_job_keeps_its_checkpoint(
    ws: Workspace, endpoint: Endpoint, run_here: RunHere, finish: Callable[..., int]
) -> None:
    output = ws.path / "out.parquet"
    finish("a", "b")
    sound, table = output.read_bytes(), pq.read_table(output)
    output.unlink()
    refused(ws, "is not there")
    output.write_bytes(sound[:-100])
    refused(ws, "was not written from the checkpoint")
    pq.write_table(table.replace_schema_metadata(None), output)
    refused(ws, "was not written from the checkpoint")
    pq.write_table(table.slice(1), output)
    refused(ws, "does not hold")
    at = table.schema.get_field_index("response")
    other = table.set_column(at, table.schema.field(at), [["answer to a", "another answer"]])
    pq.write_table(other, output)
    refused(ws, "does not hold")
    output.write_bytes(sound)
    endpoint.reply = lambda asked: refusal(400, 5006)
    ws.questions("a", "b", "c")
    run_here().execute()
    output.write_bytes(sound)
    refused(ws, "does not hold")


def test_clean_and_recover_leave_what_is_not_the_checkpoints_own(
    ws: Workspace, run_here: RunHere, finish: Callable[..., int]
) -> None:
    finish("a", checkpoint={"path": "work"})
    (ws.path / "work/notes").mkdir()
    for name in ("work/thesis.txt", "work/notes/a.txt", "work/in.jsonl"):
        (ws.path / name).write_text("mine")
    (ws.path / "work/acknowledged").unlink()
    kept = recover(load_job("job.yaml")).kept_at
    assert kept and sorted(path.name for path in (ws.path / kept).iterdir()) == [
        "journal.sqlite",
        "plan",
        "progress.json",
    ]
    assert run_here().execute().exit_code == 0
    found = ws.pipeline("clean", "job.yaml", "--yes")
    assert found.code == 0
    assert "left in work, for it is not the checkpoint's: in.jsonl, notes, thesis.txt" in found.out
    assert sorted(str(path.relative_to(ws.path)) for path in (ws.path / "work").rglob("*")) == [
        "work/in.jsonl",
        "work/notes",
        "work/notes/a.txt",
        "work/thesis.txt",
    ]


def test_every_file_of_a_checkpoint_is_known_as_its_own(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b", "c")
    ws.job()
    names = set()
    endpoint.gate.clear()
    with ws.running() as run:
        endpoint.wait_for(1, 60)
        names |= set(foreign_names(ws.path / ".checkpoints/job"))
        run.kill()
        ended(run)
    endpoint.gate.set()
    ws.run()
    ws.command("export", "--to", "csv", "a.csv")
    assert names | set(foreign_names(ws.path / ".checkpoints/job")) == set()


def test_a_checkpoint_behind_a_link_is_emptied_and_the_link_stays(ws: Workspace, finish: Callable[..., int]) -> None:
    (ws.path / "disk").mkdir()
    (ws.path / "work").symlink_to("disk")
    finish("a", checkpoint={"path": "work"})
    cleaned()
    assert (ws.path / "work").is_symlink()
    assert list((ws.path / "disk").iterdir()) == []


def test_what_an_interrupted_clean_has_left_goes_with_the_next(ws: Workspace, finish: Callable[..., int]) -> None:
    finish("a")
    (ws.path / ".checkpoints/job").rename(ws.path / ".checkpoints/.job.removed")
    (ws.path / ".checkpoints/.job.removed/progress.json").unlink()
    with pytest.raises(InvalidInput, match="interrupted"):
        cleaned()
    assert not list((ws.path / ".checkpoints").iterdir())
    refused(ws, "there is no checkpoint")


def test_a_person_is_asked_and_may_say_no(ws: Workspace, finish: Callable[..., int]) -> None:
    finish("a")

    def answered(word: str) -> bool:
        ours, theirs = pty.openpty()
        with ws.start("clean", "job.yaml", "--json", stdin=theirs, stderr=theirs) as process:
            os.write(ours, f"{word}\n".encode())
            out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        os.close(ours)
        os.close(theirs)
        return bool(json.loads(out)["removed"])

    assert answered("n") is False
    assert ws.exists(".checkpoints/job/journal.sqlite")
    assert answered("y") is True
    assert not ws.exists(".checkpoints/job")


def test_a_removal_that_a_kill_cut_off_is_finished_by_the_next(ws: Workspace, finish: Callable[..., int]) -> None:
    finish("a")
    shutil.copytree(ws.path / ".checkpoints/job", ws.path / ".checkpoints/.job.removed")
    assert [one.state for one in list_jobs()] == ["succeeded"]
    cleaned()
    assert list((ws.path / ".checkpoints").iterdir()) == []
