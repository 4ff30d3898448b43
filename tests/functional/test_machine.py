"""What a machine may lack, told before the first call or done without: open files, a place for temporary files."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from tests.functional.conftest import Endpoint, Workspace
from tests.support.namespaces import namespace


def test_too_few_open_files_are_exit_2_before_anything_is_sent(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(200))
    ws.job(limits={"concurrency": 150})
    ws.before = [("resource:setrlimit", (resource.RLIMIT_NOFILE, (128, 128)))]
    said = "150 requests at a time need about 182 open files, and the system allows a process 128"
    message = ws.run(code=2)["error"]["message"]
    assert said in message
    (error,) = ws.command("validate", code=2)["errors"]
    assert (error["key"], error["message"]) == ("limits.concurrency", said)
    assert "to 96 at most" in error["suggestion"]
    (check,) = [check for check in ws.command("doctor", code=2)["checks"] if not check["ok"]]
    assert (check["name"], check["message"]) == ("files", f"limits.concurrency: {said}")
    assert "limits.concurrency to 96 at most, or limits.processes to 3" in message
    assert not endpoint.asked
    assert ws.run("--set", "limits.processes=3", "--limit", "100")["succeeded"] == 100
    assert ws.run("--set", "limits.concurrency=96")["succeeded"] == 200


def test_only_rows_that_are_sent_need_open_files(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(20))
    ws.job(limits={"concurrency": 2000})
    ws.before = [("resource:setrlimit", (resource.RLIMIT_NOFILE, (64, 64)))]
    ws.command("validate")
    assert ws.run()["succeeded"] == len(endpoint.asked) == 20


@pytest.fixture
def nowhere_temporary(ws: Workspace) -> Iterator[Workspace]:
    """A workspace where nothing can be written to but `data`: not in /tmp, /var/tmp, /dev/shm, nor where it runs."""
    script = (
        "here=$PWD && mount --make-rprivate / && mount --bind data data && cd / &&"
        " for one in /tmp /var/tmp /dev/shm;"
        " do mount --rbind $one $one && mount -o remount,bind,ro $one || exit 99; done;"
        ' cd "$here" && ! touch here 2>/dev/null && touch data/there'
    )
    (ws.path / "data").mkdir()
    with namespace(script, ws.path) as process:
        ws.before = [("tests.support.namespaces:enter", (process, str(ws.path)))]
        yield ws


@pytest.mark.parametrize("processes", [1, 3])
def test_a_run_needs_no_place_for_temporary_files(nowhere_temporary: Workspace, processes: int) -> None:
    ws = nowhere_temporary
    ws.questions(*range(20))
    ws.job(limits={"processes": processes}, checkpoint={"path": "data/cp"}, output={"path": "data/out.parquet"})
    assert ws.run()["succeeded"] == 20
    assert ws.run()["requests"] == 0


def test_nor_does_any_other_command(nowhere_temporary: Workspace) -> None:
    ws = nowhere_temporary
    ws.questions(*range(20))
    ws.job(checkpoint={"path": "data/cp"}, output={"path": "data/out.parquet"})
    ws.command("validate")
    ws.run("--limit", "5")
    for name in ("validate", "estimate", "status", "show", "report", "doctor"):
        ws.command(name)
    ws.command("export", "--to", "csv", "data/out.csv")
    ws.command("retry-failed", "--list")
    ws.job(checkpoint={"path": "data/cp"}, output={"path": "data/out.parquet"}, prompt={"user": "{{ question }}?"})
    assert ws.command("estimate")["rows"]["changed"] == 5
    left = {path.name for path in (ws.path / "data").iterdir()}
    assert left == {"there", "cp", "out.partial.parquet", "out.csv", "out.html"}


def test_too_little_address_space_is_exit_2_before_anything_is_sent(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    ws.prefix = ("prlimit", f"--as={600 * 2**20}")
    refused = ws.pipeline("run", "job.yaml")
    assert (refused.code, endpoint.asked) == (2, [])
    assert "a process may use 600 MiB of address space, and a run needs 640 MiB: raise that limit" in refused.err
