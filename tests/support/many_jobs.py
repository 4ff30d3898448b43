"""Many jobs side by side under one shared limit, killed with `make all` half-way and finished by a second one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.records import Request, request_hash
from pipeline.simulator import prompt_digest
from tests.conftest import KEY
from tests.support.oracle import Kill, Ledger, check_job, look_after_kill

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = "meta/llama-4-scout-17b-16e-instruct"
MAX_TOKENS = 64


class ManyJobs:
    """A project with the repository's Makefile and jobs `j0`, `j1`, … of so many rows each, all under one limit."""

    def __init__(self, path: Path, url: str, jobs: int, rows: int, per_minute: int, slots: int) -> None:
        self.path, self.slots = path, slots
        self.names = [f"j{number}" for number in range(jobs)]
        self.prompts: dict[str, list[str]] = {}
        self.prompt_of: dict[str, str] = {}
        for name in ("configs", "data"):
            (path / name).mkdir()
        shutil.copy(REPOSITORY / "Makefile", path)
        (path / ".ci").symlink_to(REPOSITORY / ".ci")
        for name in self.names:
            messages = [[{"role": "user", "content": f"{name}: what is {row} times {row + 7}?"}] for row in range(rows)]
            lines = [json.dumps({"id": row, "prompt": one[0]["content"]}) for row, one in enumerate(messages)]
            (path / "data" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
            self.prompts[name] = [prompt_digest(one) for one in messages]
            for one, digest in zip(messages, self.prompts[name], strict=True):
                request = Request(MODEL, tuple(one), {"max_tokens": MAX_TOKENS})  # type: ignore[arg-type]
                self.prompt_of[request_hash("dataoorts", request)] = digest
            (path / "configs" / f"{name}.yaml").write_text(
                f"name: {name}\ninput: {{path: data/{name}.jsonl, id: id}}\nprompt: {{column: prompt}}\n"
                f'endpoint: {{url: "{url}", model: {MODEL}}}\nparameters: {{max_tokens: {MAX_TOKENS}}}\n'
                f"limits: {{concurrency: {slots}, requests_per_minute: {per_minute}, shared: account}}\n"
                f"retry: {{initial_seconds: 0.05, max_seconds: 0.5}}\noutput: {{path: data/out/{name}.parquet}}\n"
            )

    def make_all(self) -> subprocess.Popen[bytes]:
        """`make all -j4`, in a process group of its own."""
        return subprocess.Popen(
            ["make", "all", "-j4", f"bin={Path(sys.executable).parent}", "installed="],
            cwd=self.path,
            env={**os.environ, "DATAOORTS_API_KEY": KEY},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def status(self, name: str) -> dict[str, Any]:
        words = [sys.executable, "-m", "pipeline", "status", f"configs/{name}.yaml", "--json"]
        done = subprocess.run(words, cwd=self.path, capture_output=True, timeout=120, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def kill_and_finish(work: ManyJobs, ledger: Path, half: int, seconds: float) -> list[float]:
    """Kill `make all` and all below it once the endpoint was asked `half` times, make all again, and hold every job to
    what the ledger says. Gives the times of all requests.
    """
    with work.make_all() as first:
        wait_for(lambda: asked(ledger) >= half, seconds)
        assert first.poll() is None, "the jobs were over before the kill"
        os.killpg(first.pid, signal.SIGKILL)
    kills: dict[str, Kill] = {
        name: look_after_kill(work.path / ".checkpoints" / name, ledger, work.prompt_of) for name in work.names
    }
    assert any(kill.answered for kill in kills.values())
    with work.make_all() as second:
        _, stderr = second.communicate(timeout=seconds)
    assert second.returncode == 0, stderr
    books = Ledger(ledger)
    for name in work.names:
        mine = Ledger(ledger)
        mine.exchanges = [one for one in books.exchanges if one.asked["prompt"] in set(work.prompts[name])]
        mine.by_prompt = {prompt: books.by_prompt[prompt] for prompt in work.prompts[name]}
        summary = work.status(name)
        check_job(mine, work.prompts[name], summary, work.path / f"data/out/{name}.parquet", [kills[name]], work.slots)
        assert summary["succeeded"] == len(work.prompts[name])
    with work.make_all() as third:
        third.communicate(timeout=seconds)
    assert third.returncode == 0
    assert len(Ledger(ledger).exchanges) == len(books.exchanges), "what was up to date was run again"
    return sorted(one.asked["at"] for one in books.exchanges)


def most_within(seconds: float, times: list[float]) -> int:
    """The most requests within so many seconds, of sorted times."""
    return max(bisect_right(times, since + seconds) - first for first, since in enumerate(times))


def asked(ledger: Path) -> int:
    return ledger.read_text().count('"asked"') if ledger.exists() else 0


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
