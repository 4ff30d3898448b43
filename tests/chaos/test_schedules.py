"""Random schedules by seed: kills, signals, rivals, outages and changes of input, one upon the other, over one job.

`CHAOS_SEEDS=7,8,9` or `CHAOS_SEEDS=0-99` picks other schedules; a failure names its seed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.records import Request, request_hash
from pipeline.simulator import prompt_digest
from tests.support.oracle import Kill, Ledger, check_job, look_after_kill

Start = Callable[..., subprocess.Popen[str]]

MODEL = "meta/llama-4-scout-17b-16e-instruct"
MAX_TOKENS = 64
STARTING_SECONDS = 0.7
SETTLED_SECONDS = 2.0


def seeds() -> list[int]:
    named = os.environ.get("CHAOS_SEEDS", "0-7")
    first, dash, last = named.partition("-")
    return list(range(int(first), int(last) + 1)) if dash else [int(seed) for seed in named.split(",")]


class Schedule:
    """One job under one random schedule."""

    def __init__(self, seed: int, start: Start, directory: Path) -> None:
        self.chance = random.Random(seed)
        self.start, self.directory = start, directory
        self.ledger = directory / "ledger.jsonl"
        self.slots = self.chance.choice([2, 4, 16])
        self.with_id = self.chance.random() < 0.5
        self.rows: list[int] = []
        self.parked: list[int] = []
        self.next_row = 0
        self.prompt_of: dict[str, str] = {}
        self.kills: list[Kill] = []
        self.events: Counter[str] = Counter()
        self.port = 0
        self.server: subprocess.Popen[str]
        self.serve()
        self.append(self.chance.randint(100, 250))

    # ---- the endpoint

    def serve(self) -> None:
        settings = {
            "latency-seconds": self.chance.choice([0.02, 0.05, 0.2]),
            "latency-spread": 0.5,
            "seed": 3,
            "fault-rate": self.chance.choice([0.0, 0.05, 0.2]),
            "port": self.port,
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        self.server = self.start("simulate", "--ledger", self.ledger, *words, cwd=self.directory)
        assert self.server.stdout is not None
        address = self.server.stdout.readline().strip()
        self.port = int(address.rpartition(":")[2])

    # ---- the job

    def append(self, count: int) -> None:
        self.rows += range(self.next_row, self.next_row + count)
        self.next_row += count
        self._write()

    def messages(self, row: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"Say something about {row} things."}]

    def _write(self) -> None:
        lines = []
        for row in self.rows:
            messages = self.messages(row)
            request = Request(MODEL, tuple(messages), {"max_tokens": MAX_TOKENS})  # type: ignore[arg-type]
            self.prompt_of[request_hash("dataoorts", request)] = prompt_digest(messages)
            lines.append(json.dumps({"id": f"r{row}", "prompt": messages[0]["content"]}) + "\n")
        draft = self.directory / "prompts.new"
        draft.write_text("".join(lines))
        draft.rename(self.directory / "prompts.jsonl")
        (self.directory / "job.yaml").write_text(f"""
name: chaos
input: {{path: prompts.jsonl{", id: id" if self.with_id else ""}}}
prompt: {{column: prompt}}
endpoint: {{url: "http://127.0.0.1:{self.port}/api/v1", model: {MODEL}}}
parameters: {{max_tokens: {MAX_TOKENS}}}
limits: {{concurrency: {self.slots}, drain_seconds: 10}}
retry: {{initial_seconds: 0.05, max_seconds: 0.3, max_elapsed_seconds: 30, max_runs: 50}}
output: {{path: answers.parquet}}
""")

    def run(self, *words: str) -> subprocess.Popen[str]:
        # Without ids, rows that left and rows that came look like an edit of most rows, which is refused until said so.
        change = () if self.with_id else ("--on-change", "rerun")
        return self.start("run", "job.yaml", "--json", *change, *words, cwd=self.directory)

    def ended(self, process: subprocess.Popen[str], *codes: int) -> dict[str, Any]:
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode in codes, (process.returncode, stderr)
        assert "Traceback" not in stderr, stderr
        found: dict[str, Any] = json.loads(stdout)
        return found

    # ---- what may happen

    def wait(self) -> None:
        time.sleep(self.chance.uniform(0.0, STARTING_SECONDS + 1.0))

    def is_killed(self) -> None:
        process = self.run()
        self.wait()
        process.kill()
        process.wait()
        self.kills.append(look_after_kill(self.directory / ".checkpoints" / "chaos", self.ledger, self.prompt_of))

    def is_told_to_stop(self) -> None:
        number = self.chance.choice([signal.SIGINT, signal.SIGTERM])
        process = self.run()
        time.sleep(STARTING_SECONDS)
        self.wait()
        process.send_signal(number)
        self.ended(process, 0, 3, 128 + number)

    def has_a_rival(self) -> None:
        one, other = self.run(), self.run()
        self.ended(one, 0, 3, 75)
        self.ended(other, 0, 3, 75)

    def has_an_outage(self) -> None:
        process = self.run()
        self.wait()
        self.server.terminate()  # no SIGKILL: it would leave open whether the last replies went out
        self.server.wait()
        time.sleep(self.chance.uniform(0.0, 2.0))
        self.serve()
        self.ended(process, 0, 3)

    def grows(self) -> None:
        self.append(self.chance.randint(1, 60))

    def is_shuffled(self) -> None:
        self.chance.shuffle(self.rows)
        self._write()

    def loses_rows(self) -> None:
        cut = self.chance.randint(0, len(self.rows) // 4)
        self.parked += self.rows[:cut]
        self.rows = self.rows[cut:]
        self._write()

    def gets_rows_back(self) -> None:
        self.rows += self.parked
        self.parked = []
        self._write()

    def is_watched(self) -> None:
        process = self.run("--limit", "40")
        for command in ("status", "estimate", "status"):
            watcher = self.start(command, "job.yaml", "--json", cwd=self.directory)
            self.ended(watcher, 0, 75)
        self.ended(process, 0, 3)

    def happen(self) -> None:
        event = self.chance.choices(
            [
                self.is_killed,
                self.is_told_to_stop,
                self.has_a_rival,
                self.has_an_outage,
                self.grows,
                self.is_shuffled,
                self.loses_rows,
                self.gets_rows_back,
                self.is_watched,
            ],
            [8, 2, 1, 2, 3, 2, 2, 2, 1],
        )[0]
        self.events[event.__name__] += 1
        event()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", seeds())
def test_a_job_comes_whole_out_of_a_random_schedule(
    seed: int, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = Schedule(seed, start, tmp_path)
    for _ in range(schedule.chance.randint(5, 12)):
        schedule.happen()
    schedule.gets_rows_back()
    for _ in range(10):  # a row that met faults by chance is tried again by the next run
        summary = schedule.ended(schedule.run(), 0, 3)
        if not summary["failed"]:
            break
    time.sleep(SETTLED_SECONDS)
    prompts = [prompt_digest(schedule.messages(row)) for row in schedule.rows]
    check_job(Ledger(schedule.ledger), prompts, summary, tmp_path / "answers.parquet", schedule.kills, schedule.slots)
    assert summary["succeeded"] == len(schedule.rows)
    before = schedule.ledger.stat().st_size
    assert schedule.ended(schedule.run(), 0)["requests"] == 0
    assert schedule.ledger.stat().st_size == before, "a run of a finished job asked something"
    with capsys.disabled():
        print(f"\nseed {seed}: {len(prompts)} rows, {schedule.slots} slots, {dict(schedule.events)}", file=sys.stderr)
