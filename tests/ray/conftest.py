"""A Ray cluster on loopback for the tests of this suite, and jobs that run on it.

Only processes that belong to the cluster are ended: those whose command line has its directory, and their children.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.simulator import prompt_digest
from tests.support.oracle import Ledger, billed, is_usable

Start = Callable[..., subprocess.Popen[str]]
Simulate = Callable[..., str]

RAY = str(Path(sys.executable).with_name("ray"))
MODEL = "meta/llama-4-scout-17b-16e-instruct"
SMALL = ("--num-cpus=2", "--object-store-memory=80000000", "--disable-usage-stats", "--node-ip-address=127.0.0.1")


def command_of(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def parent_of(process: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def processes() -> list[int]:
    return [int(one.name) for one in Path("/proc").glob("[0-9]*")]


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, "it did not come to that"
        time.sleep(0.02)
    return found


class Cluster:
    """A head on a port of its own, and nodes that are added."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # its sockets allow no long path
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        self._start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.directory}")

    @property
    def raylets(self) -> list[int]:
        return self._named("raylet")

    @property
    def control_store(self) -> int:
        (process,) = self._named("gcs_server")
        return process

    @property
    def senders(self) -> list[int]:
        """The actors that send."""
        raylets = self.raylets
        return [one for one in processes() if "SenderActor" in command_of(one) and parent_of(one) in raylets]

    def add_node(self) -> int:
        """Start a further raylet, and return its process."""
        before = self.raylets
        self._start(f"--address={self.address}")
        (raylet,) = [one for one in self.raylets if one not in before]
        return raylet

    def stop(self) -> None:
        for one in [*self._own(), *(one for one in processes() if parent_of(one) in self.raylets)]:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        wait_until(lambda: not self._own())
        shutil.rmtree(self.directory, ignore_errors=True)

    def _named(self, name: str) -> list[int]:
        return [one for one in self._own() if Path(command_of(one).split(" ")[0]).name == name]

    def _own(self) -> list[int]:
        return [one for one in processes() if str(self.directory) in command_of(one)]

    def _start(self, *words: str) -> None:
        done = subprocess.run([RAY, "start", *SMALL, *words], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session", autouse=True)
def _at_home() -> Iterator[None]:
    """Ray writes its token into the home directory."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", home)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_raylet_start_wait_time_s", "120")  # on a busy machine
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    started = Cluster()
    yield started
    started.stop()


@dataclass
class Job:
    """A job over `rows` rows at a simulated endpoint, in a directory of its own."""

    directory: Path
    start: Start
    prompts: list[str]
    slots: int

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.directory / "ledger.jsonl")

    def asked(self) -> int:
        """How many requests have arrived."""
        with suppress(FileNotFoundError):
            return len(re.findall(rb'"event":"asked"', (self.directory / "ledger.jsonl").read_bytes()))
        return 0

    def run(self, *flags: str) -> subprocess.Popen[str]:
        return self.start("run", "job.yaml", "--json", *flags, cwd=self.directory)

    def ended(self, process: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, f"{process.returncode}: {out}{err}"
        summary: dict[str, Any] = json.loads(out)
        return summary

    def check(self, summary: dict[str, Any], lost: int = 0) -> None:
        """Every row has its own answer, at most `lost` requests were sent twice, and every cost is exact."""
        ledger = self.ledger
        rows = pq.read_table(self.directory / "out.parquet", columns=["status", "response", "cost_usd"]).to_pylist()
        assert (summary["rows"], summary["succeeded"], len(rows)) == (len(self.prompts),) * 3
        cost = Decimal(0)
        for row, prompt in zip(rows, self.prompts, strict=True):
            answers = [one for one in ledger.by_prompt[prompt] if is_usable(one)]
            assert row["response"] in [one.answered["response"] for one in answers if one.answered]
            assert row["cost_usd"] == billed(answers[0])  # the endpoint answers a prompt always in the same way
            cost += billed(answers[0])
        assert Decimal(summary["job_cost_usd"]) == cost
        again = len(ledger.exchanges) - len(rows)
        assert 0 <= again <= summary["possibly_billed_requests"] <= lost
        assert cost + Decimal(summary["possibly_billed_usd"]) >= ledger.billed


@pytest.fixture
def make_job(tmp_path: Path, start: Start, simulate: Simulate) -> Callable[..., Job]:
    def make(texts: int | list[str], slots: int = 16, limits: str = "", **simulator: float) -> Job:
        questions = [f"What is {n} times {n + 7}?" for n in range(texts)] if isinstance(texts, int) else texts
        with (tmp_path / "in.jsonl").open("w") as file:
            for number, question in enumerate(questions):
                file.write(json.dumps({"id": number, "question": question}) + "\n")
        address = simulate(tmp_path / "ledger.jsonl", **simulator)
        (tmp_path / "job.yaml").write_text(
            f"""
name: on-ray
input: {{path: in.jsonl, id: id}}
prompt: {{column: question}}
endpoint: {{url: "{address}", model: {MODEL}}}
parameters: {{max_tokens: 64}}
limits: {{concurrency: {slots}{limits}}}
retry: {{initial_seconds: 0.05, max_seconds: 1}}
output: {{path: out.parquet}}
"""
        )
        digests = [prompt_digest([{"role": "user", "content": question}]) for question in questions]
        return Job(tmp_path, start, digests, slots)

    return make
