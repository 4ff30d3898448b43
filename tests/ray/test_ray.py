"""Jobs that actors of a real Ray cluster send, held to the endpoint's own ledger."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import KEY
from tests.ray.conftest import RAY, SMALL, Cluster, Job, command_of, processes, wait_until

MakeJob = Callable[..., Job]


def test_five_hundred_rows_are_exact_and_the_key_is_nowhere(cluster: Cluster, make_job: MakeJob) -> None:
    job = make_job(500, latency_seconds=0.2)
    run = job.run("--engine", "ray", "--address", cluster.address)
    wait_until(lambda: job.asked() > 50)
    assert len(cluster.senders) == 2
    environs = {one: Path(f"/proc/{one}/environ") for one in processes() if one not in (run.pid, os.getpid())}
    for one, environ in environs.items():
        if one in cluster.senders or "pipeline.engines.ray" in command_of(one):
            assert KEY.encode() not in environ.read_bytes(), command_of(one)
    assert not [one for one in processes() if KEY in command_of(one)]
    job.check(job.ended(run))
    for path in (*cluster.directory.rglob("*"), *job.directory.rglob("*")):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    wait_until(lambda: not cluster.senders)


def test_what_looks_at_a_cluster_while_it_is_left_starts_no_other(cluster: Cluster) -> None:
    script = f"""
from pipeline.engines.ray.process import _connected
left = _connected({cluster.address!r})
import ray
sender = ray.put(1)
ray.shutdown()
try:
    list(left.ended([(None, sender)]))
except Exception as error:
    print(type(error).__name__, ray.is_initialized())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "RaySystemError False\n", done.stdout + done.stderr
    assert not (Path.home() / ".ray").exists()


def test_a_small_cluster_is_started_where_there_is_none_and_ends_with_the_run(make_job: MakeJob) -> None:
    before = set(processes())
    job = make_job(50)
    job.check(job.ended(job.run("--engine", "ray", "--address", "local")))
    wait_until(lambda: not [one for one in set(processes()) - before if "ray" in command_of(one).split("/")[-1]])


def test_gsm8k_ten_times_over_with_an_actor_killed_a_node_killed_and_one_added(
    cluster: Cluster, make_job: MakeJob, data: Path
) -> None:
    questions = pq.read_table(data / "gsm8k_test.parquet")["question"].to_pylist()
    # Slow enough for a node to come while it goes on.
    job = make_job([f"{question} ({copy})" for copy in range(10) for question in questions], 64, latency_seconds=0.4)
    first = cluster.add_node()
    run = job.run("--engine", "ray", "--address", cluster.address)
    wait_until(lambda: job.asked() > 1000)
    assert len(cluster.senders) == 2
    os.kill(cluster.senders[0], signal.SIGKILL)
    at_kill = job.asked()
    wait_until(lambda: job.asked() > at_kill + 2000)  # the others went on
    wait_until(lambda: len(cluster.senders) == 2)  # another one took its place
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(cluster.senders) == 2)  # another one stands in
    cluster.add_node()
    wait_until(lambda: len(cluster.senders) == 3)
    summary = job.ended(run)
    assert summary["possibly_billed_requests"] > 0
    job.check(summary, lost=2 * job.slots)


def test_a_sender_that_is_frozen_is_replaced_and_sends_nothing_when_it_wakes(
    cluster: Cluster, make_job: MakeJob
) -> None:
    job = make_job(4000, latency_seconds=0.2)
    run = job.run("--engine", "ray", "--address", cluster.address)
    wait_until(lambda: job.asked() > 100)
    frozen = cluster.senders[0]
    os.kill(frozen, signal.SIGSTOP)
    wait_until(lambda: len(set(cluster.senders) - {frozen}) == 2)
    with suppress(ProcessLookupError):  # Ray may have killed it meanwhile
        os.kill(frozen, signal.SIGCONT)
    job.check(job.ended(run), lost=job.slots)


def test_the_rate_holds_over_all_actors_together(cluster: Cluster, make_job: MakeJob) -> None:
    job = make_job(900, limits=", requests_per_minute: 600")
    job.check(job.ended(job.run("--engine", "ray", "--address", cluster.address)))
    at = sorted(one.asked["at"] for one in job.ledger.exchanges)
    assert all(later - earlier > 60 for earlier, later in zip(at, at[600:], strict=False))
    assert at[-1] - at[0] < 100


def test_a_refused_rate_is_learned_and_its_retry_after_kept_by_all(cluster: Cluster, make_job: MakeJob) -> None:
    job = make_job(300, requests_per_minute=240)
    summary = job.ended(job.run("--engine", "ray", "--address", cluster.address))
    assert summary["succeeded"] == 300
    refused = [one.answered["at"] for one in job.ledger.exchanges if one.answered and one.answered["status"] == 429]
    assert refused and len(refused) <= job.slots * 4
    # What arrives within a pause was on its way when it was asked for.
    asked = sorted(one.asked["at"] for one in job.ledger.exchanges)
    gap = max(later - earlier for earlier, later in pairwise(asked))
    assert gap > 5


def test_a_job_goes_from_engine_to_engine(cluster: Cluster, make_job: MakeJob) -> None:
    job = make_job(300)
    job.ended(job.run("--limit", "100"))
    job.ended(job.run("--limit", "100", "--engine", "ray", "--address", cluster.address))
    job.check(job.ended(job.run()))
    assert job.ended(job.run("--engine", "ray", "--address", cluster.address))["requests"] == 0


def test_a_signal_drains_and_ray_sees_nothing_of_it(cluster: Cluster, make_job: MakeJob) -> None:
    job = make_job(500, latency_seconds=0.5)
    run = job.run("--engine", "ray", "--address", cluster.address)
    wait_until(lambda: job.asked() > 30)
    run.send_signal(signal.SIGTERM)
    summary = job.ended(run, 143)
    assert summary["possibly_billed_requests"] == 0
    assert summary["succeeded"] == job.asked()
    job.check(job.ended(job.run("--engine", "ray", "--address", cluster.address)))


def test_a_run_that_is_killed_takes_its_senders_along(cluster: Cluster, make_job: MakeJob) -> None:
    job = make_job(500, latency_seconds=0.5)
    run = job.run("--engine", "ray", "--address", cluster.address)
    wait_until(lambda: job.asked() > 30)
    run.kill()
    run.communicate()
    wait_until(lambda: not cluster.senders)
    time.sleep(1)
    job.check(job.ended(job.run()), lost=job.slots)


def test_an_address_where_there_is_no_cluster_is_refused(make_job: MakeJob) -> None:
    job = make_job(5)
    summary = job.ended(job.run("--engine", "ray", "--address", "127.0.0.1:1"), 2)
    assert summary["error"]["message"].startswith("--engine ray: no cluster can be joined at 127.0.0.1:1: ")
    assert not job.asked()


def test_where_the_control_store_dies_what_is_in_flight_ends_and_the_run_stops(make_job: MakeJob) -> None:
    job = make_job(6000, latency_seconds=0.5)
    cluster = Cluster()
    try:
        run = job.run("--engine", "ray", "--address", cluster.address)
        wait_until(lambda: job.asked() > 50)
        os.kill(cluster.control_store, signal.SIGKILL)
        summary = job.ended(run, 5)
    finally:
        cluster.stop()
    assert summary["error"]["kind"] == "no_senders"
    assert "control store" in summary["error"]["message"]
    assert (summary["possibly_billed_requests"], summary["succeeded"]) == (0, job.asked())
    assert summary["pending"] > 0


# ---- within namespaces of their own, for `ray stop` ends every cluster that it sees

APART = ("unshare", "--pid", "--net", "--fork", "--mount-proc", "--kill-child")
PIPELINE = shlex.join([sys.executable, "-m", "pipeline"])


def apart(script: str, job: Job) -> subprocess.CompletedProcess[str]:
    """Run a script in namespaces of its own, with the endpoint inside; skip where that is not allowed."""
    if subprocess.run([*APART, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces are not allowed here")
    (job.directory / "script.sh").write_text(f"set -eu\nip link set lo up\n{script}")
    return subprocess.run(
        [*APART, "bash", "script.sh"],
        cwd=job.directory,
        env={**os.environ, "DATAOORTS_API_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def served_inside(job: Job, flags: str) -> str:
    """The beginning of a script that serves the endpoint and leaves `$set`, the flags that name it."""
    (job.directory / "ledger.jsonl").unlink(missing_ok=True)
    return f"""
{PIPELINE} simulate --ledger ledger.jsonl {flags} >address &
until [ -s address ]; do sleep 0.1; done
set="--set endpoint.url=$(cat address)/api/v1"
asked() {{ grep -c '"asked"' ledger.jsonl || true; }}
"""


def test_ray_stop_amid_a_run_is_a_stop_that_the_local_engine_continues(make_job: MakeJob) -> None:
    job = make_job(600)
    done = apart(
        served_inside(job, "--latency-seconds 0.3")
        + f"""
{RAY} start --head {shlex.join(SMALL)} --include-dashboard=false >&2
{PIPELINE} run job.yaml --json $set --engine ray >stopped.json 2>stopped.err & run=$!
until [ $(asked) -gt 60 ]; do sleep 0.1; done
{RAY} stop >&2
code=0; wait $run || code=$?
echo $code
{PIPELINE} run job.yaml --json $set
""",
        job,
    )
    assert done.returncode == 0, done.stderr
    code, summary = done.stdout.split("\n", 1)
    stopped = json.loads((job.directory / "stopped.json").read_text())
    assert (code, stopped["error"]["kind"]) == ("5", "no_senders")
    assert stopped["pending"] > 0
    assert (job.directory / "stopped.err").read_text().splitlines()[-1].count("Ray")
    job.check(json.loads(summary), lost=job.slots)


def test_under_ray_job_submit_the_exit_code_and_the_key_are_as_they_should_be(make_job: MakeJob) -> None:
    job = make_job(300)
    session = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # its sockets allow no long path
    done = apart(
        served_inside(job, "--latency-seconds 0.1")
        + f"""
key=$DATAOORTS_API_KEY
unset DATAOORTS_API_KEY
{RAY} start --head {shlex.join(SMALL)} --include-dashboard=true --dashboard-port=8265 --temp-dir={session} >&2
umask 077; echo "export DATAOORTS_API_KEY=$key" >key; unset key
export RAY_ADDRESS=http://127.0.0.1:8265
run="exec {PIPELINE} run job.yaml --json $set --engine ray"
{RAY} job submit -- sh -c ". $PWD/key && cd $PWD && $run" >job.out
{RAY} job list >jobs.out 2>&1
curl -s http://127.0.0.1:8265/api/jobs/ >>jobs.out
{RAY} list actors --detail >>jobs.out 2>&1
""",
        job,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = (job.directory / "job.out").read_text()
    (line,) = [line for line in said.splitlines() if line.startswith("{")]
    job.check(json.loads(line))
    assert "SenderActor" in (job.directory / "jobs.out").read_text()
    for path in (*session.rglob("*"), *job.directory.rglob("*")):
        if path.is_file() and path != job.directory / "key":
            assert KEY.encode() not in path.read_bytes(), path
    shutil.rmtree(session)
