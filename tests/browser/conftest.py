"""A browser, and reports to be looked at in it."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.journal import Changes, Event, Journal, State
from pipeline.journal.outcome import decode
from pipeline.plan import Plan, save_plan
from tests.browser.devtools import Browser

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ROWS = 100_000
_ROWS_A_COMMIT = 2_000
_NOON = 1_764_072_000.0
_JOB = """
name: large
input: {path: in.csv}
prompt: {user: "{{ question }}"}
endpoint: {url: simulator, model: meta/llama-4-scout-17b-16e-instruct}
parameters: {max_tokens: 256}
limits: {concurrency: 160}
output: {path: large.parquet}
"""


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless browser; without one the tests fail by its name."""
    executable = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if executable is None:
        pytest.fail("no chromium found: these tests need it (Debian: apt-get install chromium)")
    with Browser(executable, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a job of 100,000 rows, with failures and lost attempts among them."""
    directory = tmp_path_factory.mktemp("large")
    (directory / "job.yaml").write_text(_JOB, encoding="utf-8")
    checkpoint = directory / ".checkpoints" / "large"
    checkpoint.mkdir(parents=True)
    Journal.create(checkpoint, job="large", simulated=True)
    journal = Journal.write(checkpoint)
    journal.register_run("20251125T120000Z-abcdef")
    events, cost = [], Decimal(0)
    for event in _events(random.Random(1)):
        events.append(event)
        cost += event.record.billed_usd or 0
        if len(events) == _ROWS_A_COMMIT:
            journal.commit(Changes(events, cost_usd=cost, plan=1))
            events, cost = [], Decimal(0)
    journal.commit(Changes(events, cost_usd=cost, plan=1))
    journal.close()
    nothing = np.zeros(0, np.uint32)
    save_plan(
        Plan(
            number=1,
            fingerprint="",
            digest="",
            latest=np.zeros(_ROWS, np.uint64),
            repeated=nothing,
            occurrences=nothing,
            orphaned=0,
        ),
        checkpoint,
    )
    subprocess.run([sys.executable, "-m", "pipeline", "report", "job.yaml"], cwd=directory, check=True)
    return directory / "large.html"


def _events(chance: random.Random) -> Iterator[Event]:
    at = _NOON
    for row in range(_ROWS):
        at += chance.expovariate(60)
        latency, tokens = chance.lognormvariate(0.5, 0.6), min(256, int(chance.lognormvariate(4.6, 0.5)))
        cost = (Decimal(80) * Decimal("0.32") + tokens * Decimal("0.34")) / 1_000_000
        record: dict[str, Any] = {
            "attempts": 1,
            "cost_usd": str(cost),
            "failed_runs": 0,
            "latency_seconds": latency,
            "started_at": at,
            "finished_at": at + latency,
            "billed_usd": str(cost),
            "tokens": 80 + tokens,
            "prompt_tokens": 80,
            "completion_tokens": tokens,
            "price": ["0.32", "0.34", "2025-06-11"],
            "response": "word " * 40,
            "response_type": "text",
            "truncated": tokens == 256,
        }
        state = State.ANSWERED
        if chance.random() < 0.06:
            kind = chance.choice(["timeout", "server_error", "gateway_error", "bad_request"])
            state = State.FAILED if kind == "bad_request" else State.FAILED_PASSING
            failure = {
                "error_kind": kind,
                "error_message": f"HTTP 400: <b>{kind}</b>",
                "cost_usd": None,
                "billed_usd": None,
                "tokens": 0,
            }
            record = {**record, **failure}
        yield Event(1, row, state, f"row-{row:06d}", f"{row:032x}", 1, "", decode(record))
