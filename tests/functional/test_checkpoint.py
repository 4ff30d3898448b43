"""CONTRACT section 1, exit 6, and section 4, promise 10: a checkpoint that cannot be trusted is left as it is."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.functional.conftest import Endpoint, Workspace, refusal, usual


def empty(journal: Path) -> None:
    journal.write_bytes(b"")


def garbage(journal: Path) -> None:
    journal.write_bytes(b"not a journal at all\n" * 400)


def truncated(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes()[: journal.stat().st_size // 2])


def deleted(journal: Path) -> None:
    journal.unlink()


def flipped(journal: Path) -> None:
    content = bytearray(journal.read_bytes())
    at = content.rindex(b"answer to")
    content[at] ^= 1
    journal.write_bytes(bytes(content))


def newer(journal: Path) -> None:
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("PRAGMA user_version = 99")


def shortened(journal: Path) -> None:
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)")
        connection.commit()


def journal_of(ws: Workspace) -> Path:
    return max((ws.path / ".checkpoints/job").iterdir(), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
    ("damage", "is_finished"),
    [
        (empty, True),
        (garbage, False),
        (truncated, True),
        (deleted, True),
        (deleted, False),
        (flipped, True),
        (flipped, False),
        (newer, True),
        (shortened, True),
    ],
)
def test_exit_6_at_every_run_names_it_leaves_it_as_it_is_and_sends_nothing(
    ws: Workspace, endpoint: Endpoint, damage: Callable[[Path], None], is_finished: bool
) -> None:
    ws.questions(*range(6))
    ws.job()
    ws.run(*(() if is_finished else ("--limit", "4")))
    journal = journal_of(ws)
    damage(journal)
    before, asked = ws.files(), len(endpoint.asked)
    for command in ("run", "retry-failed"):
        result = ws.pipeline(command, "job.yaml", "--json")
        assert result.code == 6
        assert result.data["error"]["kind"] == "checkpoint_failed"
        assert ".checkpoints/job" in result.data["error"]["message"]
        assert len(result.lines) == 1
    after = ws.files()
    assert {name: after.get(name) for name in before if "lock" not in name} == {
        name: content for name, content in before.items() if "lock" not in name
    }
    assert len(endpoint.asked) == asked


@pytest.mark.parametrize("command", ["status", "estimate"])
def test_commands_that_look_find_the_damage_too(ws: Workspace, command: str) -> None:
    ws.questions(*range(6))
    ws.job()
    ws.run()
    garbage(journal_of(ws))
    assert ws.command(command, code=6)["error"]["kind"] == "checkpoint_failed"


def test_a_deleted_checkpoint_is_exit_6_while_its_output_stands(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run()
    shutil.rmtree(ws.path / ".checkpoints")
    ws.run(code=6)
    ws.run(code=6)
    assert len(endpoint.asked) == 2
    for command in (["estimate"], ["plan"], ["retry-failed", "--list"]):
        refused = ws.pipeline(command[0], "job.yaml", *command[1:])
        assert (refused.code, refused.out) == (6, ""), "no run would begin"
        assert "pipeline recover job.yaml" in refused.err
    assert ws.command("estimate", "--set", "name=other")["rows"]["new"] == 2


def test_nothing_is_planned_by_a_checkpoint_older_than_its_output(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run("--limit", "1")
    shutil.copytree(ws.path / ".checkpoints", ws.path / "older")
    ws.run()
    shutil.rmtree(ws.path / ".checkpoints")
    shutil.copytree(ws.path / "older", ws.path / ".checkpoints")
    for command in ("run", "validate", "estimate"):
        assert "an older copy was put back" in ws.pipeline(command, "job.yaml").err
    assert ws.command("estimate", code=6)["error"]["kind"] == "checkpoint_failed"
    assert len(endpoint.asked) == 2


def test_a_deleted_checkpoint_is_exit_6_while_its_partial_output_stands(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run("--limit", "1")
    shutil.rmtree(ws.path / ".checkpoints")
    ws.run(code=6)
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("command", [["show"], ["inspect"], ["report"], ["export", "--to", "csv", "answers.csv"]])
def test_a_deleted_checkpoint_is_made_anew_before_the_answers_are_looked_at(ws: Workspace, command: list[str]) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run()
    shutil.rmtree(ws.path / ".checkpoints")
    refused = ws.pipeline(command[0], "job.yaml", *command[1:])
    assert (refused.code, refused.out) == (2, "")
    assert "out.parquet" in refused.err and "pipeline recover job.yaml" in refused.err
    ws.command("recover")
    assert ws.pipeline(command[0], "job.yaml", *command[1:]).code == 0


@pytest.mark.parametrize("path", ["in.parquet/out.parquet", f"{'x' * 300}.parquet", "in.parquet/parts/"])
def test_an_output_where_nobody_can_look_is_none(ws: Workspace, path: str) -> None:
    ws.questions("a")
    ws.job(output={"path": path})
    assert ws.command("status")["output"] is None
    for command in ("show", "inspect"):
        assert ws.pipeline(command, "job.yaml").code == 2
    ws.job()
    ws.run()
    there = ["--set", f"output.path={path}"]
    for command in ("status", "show", "inspect"):
        assert ws.pipeline(command, "job.yaml", *there).code == 0
    assert ws.pipeline("export", "job.yaml", *there, "--to", "jsonl", "-").out.count("\n") == 1
    assert ws.pipeline("clean", "job.yaml", *there, "--yes").code == 2


@pytest.mark.parametrize("key", ["checkpoint.path", "output.path", "cache.path"])
def test_a_directory_where_nobody_may_look_is_no_fault_of_the_program(ws: Workspace, key: str) -> None:
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may look everywhere, unless setpriv takes that away")
        ws.prefix = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    ws.questions("a")
    ws.job()
    (ws.path / "closed").mkdir(mode=0o000)
    closed = ["--set", f"{key}=closed/deep/x.parquet"]
    codes = {name: ws.pipeline(name, "job.yaml", *closed).code for name in ("validate", "run", "status", "estimate")}
    assert codes["validate"] in (2, 6) and codes["run"] in (2, 6)
    assert codes["status"] == codes["estimate"] == (6 if key == "checkpoint.path" else 0)
    assert ws.pipeline("doctor", "job.yaml", *closed).code == (0 if key == "cache.path" else 6)
    assert ws.pipeline("clean", "job.yaml", *closed, "--yes").code == 2
    assert ws.pipeline("init", "closed/deep").code == 2


def test_a_cache_whose_name_is_too_long_is_a_mistake_and_none_for_an_estimate(ws: Workspace) -> None:
    ws.questions("a")
    ws.job(cache={"path": "x" * 300})
    assert ws.pipeline("validate", "job.yaml").code in (2, 6)
    assert ws.pipeline("estimate", "job.yaml").code == 0


def test_a_deleted_checkpoint_is_exit_6_also_where_its_partial_output_has_no_row(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    ws.job(limits={"deadline_seconds": 0.1, "drain_seconds": 0.1})
    endpoint.gate.clear()
    ws.run(code=4)
    assert pq.read_metadata(ws.path / "out.partial.parquet").num_rows == 0
    shutil.rmtree(ws.path / ".checkpoints")
    asked = len(endpoint.asked)
    ws.run("--set", "limits=null", code=6)  # answers may have come later, and requests may be billed
    assert len(endpoint.asked) == asked
    assert ws.command("recover")["recovered"] == 0
    endpoint.gate.set()
    ws.run("--set", "limits=null")


def test_a_damaged_plan_is_made_anew_and_costs_nothing(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job()
    ws.run()
    for path in (ws.path / ".checkpoints/job").iterdir():
        if path != journal_of(ws) and path.name in ("plan", "progress.json"):
            path.write_bytes(b"garbage")
    assert ws.run()["requests"] == 0


def test_a_checkpoint_made_with_the_simulator_is_exit_2_for_another_endpoint_and_the_reverse(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    ws.job(endpoint={"url": "simulator"})
    ws.run("--limit", "1")
    ws.job()
    assert "simulator" in ws.run(code=2)["error"]["message"]
    assert not endpoint.asked
    ws.job(name="real", output={"path": "real.parquet"})
    ws.run("--limit", "1")
    ws.job(name="real", output={"path": "real.parquet"}, endpoint={"url": "simulator"})
    assert "real endpoint" in ws.run(code=2)["error"]["message"]


def test_two_jobs_on_one_checkpoint_path_are_exit_2(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job(checkpoint={"path": "shared"})
    ws.run()
    ws.job(name="other", checkpoint={"path": "shared"}, output={"path": "other.parquet"})
    assert "shared" in ws.run(code=2)["error"]["message"]
    assert len(endpoint.asked) == 2


def test_the_endpoints_address_limits_retries_and_paths_may_change_between_runs(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b", "c", "d", "e", "f")
    ws.job()
    endpoint.reply = lambda asked: refusal(402) if asked.prompt == "d" else usual(asked)
    ws.run(code=5)
    endpoint.reply = usual
    address = endpoint.url.replace("127.0.0.1", "localhost")
    (ws.path / "in.parquet").rename(ws.path / "renamed.parquet")
    ws.job(
        endpoint={"url": address},
        input={"path": "renamed.parquet"},
        limits={"concurrency": 9},
        retry={"max_attempts": 2},
        output={"path": "elsewhere.parquet"},
    )
    ws.run()
    assert sorted(endpoint.prompts) == ["a", "b", "c", "d", "d", "e", "f"]
    assert ws.table("elsewhere.parquet").num_rows == 6


@pytest.mark.parametrize("overwrite", [False, True])
def test_in_another_directory_a_job_does_not_buy_again_what_its_output_holds(
    ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    ws.questions("a", "b")
    ws.job(
        input={"path": str(ws.path / "in.parquet")},
        output={"path": str(ws.path / "out.parquet"), "overwrite": overwrite},
    )
    ws.run("--limit", "1")
    (ws.path / "elsewhere").mkdir()
    there = Workspace(ws.path / "elsewhere", endpoint.url, "in.parquet")
    for _ in range(2):
        refused = there.pipeline("run", "../job.yaml")
        assert refused.code == 6
        assert "elsewhere" in refused.err and "move" in refused.err and "another `name:`" in refused.err
        ws.run()
    assert len(endpoint.asked) == 2
