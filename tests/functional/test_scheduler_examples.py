"""The examples for schedulers that run N commands, each with real runs as far as the tool is here.

The runs are forked from one process, except where they get signals.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.functional.conftest import KEY_VARIABLE, Endpoint, Workspace
from tests.support.forwarding import Forwarding
from tests.support.processes import COMMAND, REPOSITORY

EXAMPLES = REPOSITORY / "examples"
INSTALLED = "/srv/batch/.venv/bin/pipeline"
ROWS, SHARDS = 60, 3


@pytest.fixture
def desk(ws: Workspace) -> Workspace:
    """A job at the place that the examples name."""
    ws.given([[f"id-{n}", f"q{n}"] for n in range(ROWS)], ["id", "question"])
    (ws.path / "configs").mkdir()
    (ws.path / "logs").mkdir()
    ws.job("configs/answers.yaml", input={"id": "id"})
    return ws


def example(desk: Workspace, name: str, command: str | Path) -> Path:
    """Copy an example for three shards of the given command."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert INSTALLED in text
    text = text.replace(INSTALLED, str(command)).replace("shards=16", f"shards={SHARDS}")
    path = desk.path / Path(name).name
    path.write_text(text, encoding="utf-8")
    return path


def call(desk: Workspace, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, words)],
        cwd=desk.path,
        env=desk.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def check_whole(desk: Workspace, endpoint: Endpoint) -> None:
    assert [row["row_id"] for row in desk.rows()] == [f"id-{n}" for n in range(ROWS)]
    assert len(endpoint.asked) == ROWS


def test_make_runs_the_shards_and_gathers_them(desk: Workspace, endpoint: Endpoint, forwarding: Forwarding) -> None:
    (desk.path / "configs/answers.yaml").rename(desk.path / "job.yaml")
    given = ["JOB=job.yaml", f"SHARDS={SHARDS}", f"PIPELINE={forwarding.pipeline}"]
    ran = call(desk, "make", "-f", EXAMPLES / "shards.mk", *given, "-j", "2", "-k")
    assert (ran.returncode, ran.stdout) == (0, ""), ran
    assert call(desk, "make", "-f", EXAMPLES / "shards.mk", *given, "gather").returncode == 0
    check_whole(desk, endpoint)


@pytest.mark.skipif(shutil.which("parallel") is None, reason="needs GNU parallel")
def test_gnu_parallel_runs_the_shards_and_gathers_them(
    desk: Workspace, endpoint: Endpoint, forwarding: Forwarding
) -> None:
    done = call(desk, "sh", example(desk, "shards.sh", forwarding.pipeline))
    assert done.returncode == 0, done
    check_whole(desk, endpoint)


def test_the_slurm_script_ends_as_the_run_does(desk: Workspace, endpoint: Endpoint, forwarding: Forwarding) -> None:
    path = example(desk, "slurm/shards.sbatch", forwarding.pipeline)
    for task in range(1, SHARDS + 1):
        desk.environment |= {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_ID": f"10{task}"}
        assert call(desk, "bash", path).returncode == 0
    assert desk.pipeline("gather", "configs/answers.yaml", "--shards", str(SHARDS)).code == 0
    check_whole(desk, endpoint)


@pytest.mark.parametrize(("warned", "requeued"), [(signal.SIGUSR1, ["requeue 101"]), (signal.SIGTERM, [])])
def test_the_slurm_script_drains_and_goes_back_into_the_queue_only_when_it_was_warned(
    desk: Workspace, endpoint: Endpoint, warned: signal.Signals, requeued: list[str]
) -> None:
    path = example(desk, "slurm/shards.sbatch", COMMAND)
    tools = desk.path / "tools"
    tools.mkdir()
    (tools / "scontrol").write_text('#!/bin/sh\necho "$@" >> requeued\n', encoding="utf-8")
    (tools / "scontrol").chmod(0o755)
    environment = desk.environment | {
        "SLURM_ARRAY_TASK_ID": "1",
        "SLURM_JOB_ID": "101",
        "PATH": f"{tools}:{desk.environment['PATH']}",
    }
    endpoint.gate.clear()
    with subprocess.Popen(["bash", str(path)], cwd=desk.path, env=environment, start_new_session=True) as script:
        endpoint.wait_for(4)
        if warned == signal.SIGUSR1:
            script.send_signal(warned)  # the shell alone
        else:
            os.killpg(script.pid, warned)  # as scancel does: every process at once
        time.sleep(0.5)
        endpoint.gate.set()
        assert script.wait(30) == 143
    found = desk.path / "requeued"
    assert (found.read_text().splitlines() if found.exists() else []) == requeued
    assert len(endpoint.answered) == 4  # what was in flight was waited for
    assert len(desk.rows("out.shard-1-of-3.partial.parquet")) == 4


def test_the_kubernetes_job_keeps_the_rules_that_only_its_server_checks() -> None:
    path = EXAMPLES / "kubernetes" / "shards.yaml"
    job = YAML(typ="safe", pure=True).load(path)["spec"]
    rules = job["podFailurePolicy"]["rules"]
    values = next(rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule)
    assert values == sorted(set(values))
    assert 0 not in values
    assert {rule["action"] for rule in rules} <= {"FailJob", "FailIndex", "Ignore", "Count"}
    assert job["completionMode"] == "Indexed"  # which backoffLimitPerIndex needs, which FailIndex needs
    assert job["backoffLimitPerIndex"] > 0
    assert job["podReplacementPolicy"] == "Failed"
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    (container,) = job["template"]["spec"]["containers"]
    assert f"$((JOB_COMPLETION_INDEX + 1))/{job['completions']} " in container["command"][-1]


def test_the_kubernetes_command_runs_its_shard(desk: Workspace, endpoint: Endpoint, forwarding: Forwarding) -> None:
    job = YAML(typ="safe", pure=True).load(EXAMPLES / "kubernetes" / "shards.yaml")["spec"]
    (container,) = job["template"]["spec"]["containers"]
    words = [
        word.replace("exec pipeline", f"exec {forwarding.pipeline}").replace("/config/", "configs/")
        for word in container["command"]
    ]
    desk.environment["JOB_COMPLETION_INDEX"] = "15"
    assert KEY_VARIABLE in desk.environment
    assert call(desk, *words).returncode == 0
    assert desk.exists("out.shard-16-of-16.parquet")
