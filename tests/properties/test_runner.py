"""The runner against endpoints that do anything at any time, in virtual time: it ends, and every promise holds."""

from __future__ import annotations

import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ErrorKind
from pipeline.journal import Journal, State
from pipeline.plan import SUCCEEDED
from pipeline.records import Failure, Reply, Usage
from pipeline.runner import Stop
from pipeline.runner.feed import History
from tests.support.virtual import Answer, Bench

USAGE = Usage(10, 5, 15, "{}")
ANSWER = Reply("yes", "text", None, USAGE)
REPLIES: list[Answer | None] = [
    *[ANSWER] * 6,
    Reply("yes", "text", None, Usage()),
    None,
    Failure(ErrorKind.RATE_LIMITED, "no", http_status=429),
    Failure(ErrorKind.RATE_LIMITED, "no", http_status=429, retry_after=2.0),
    Failure(ErrorKind.RATE_LIMITED, "no", http_status=429, retry_after=40.0),
    Failure(ErrorKind.OUT_OF_CAPACITY, "no", http_status=429),
    Failure(ErrorKind.SERVER_ERROR, "no", http_status=503, retry_after=0.5),
    Failure(ErrorKind.SERVER_ERROR, "no", http_status=500),
    Failure(ErrorKind.GATEWAY_ERROR, "no", http_status=504, possibly_billed=True),
    Failure(ErrorKind.TIMEOUT, "no", possibly_billed=True),
    Failure(ErrorKind.CONNECTION_ERROR, "no", sent=False),
    Failure(ErrorKind.INVALID_REPLY, "no", http_status=200, usage=USAGE),
    Failure(ErrorKind.BAD_REQUEST, "no", http_status=400),
    Failure(ErrorKind.GATEWAY_ERROR, "no", http_status=503),
]
FATAL = [
    Failure(ErrorKind.BAD_CREDENTIALS, "no", http_status=401),
    Failure(ErrorKind.NOT_ALLOWED, "no", http_status=403),
    Failure(ErrorKind.RATE_LIMITED, "no", http_status=429, retry_after=9e9),
]
STOPS = {
    "outage": 5,
    "bad_credentials": 5,
    "retry_after": 5,
    "no_progress": 5,
    "deadline": 4,
    "cost_cap": 4,
    "interrupted": 143,
    "all_refused": 5,
    "not_allowed": 5,
}

replies = st.tuples(st.sampled_from(REPLIES), st.floats(0.0, 60.0))
scripts = st.lists(st.one_of(replies, replies.map(lambda one: [one] * 12)), max_size=60).map(
    lambda parts: [one for part in parts for one in (part if isinstance(part, list) else [part])]
)
"""What the endpoint replies to the first requests, in the order in which they come; runs of one reply among them."""


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    limits: dict[str, Any] = {"concurrency": draw(st.integers(1, 40)), "timeout_seconds": 61.0}
    for name, values in (
        ("requests_per_minute", st.floats(5.0, 600.0)),
        ("tokens_per_minute", st.floats(500.0, 50_000.0)),
        ("deadline_seconds", st.floats(1.0, 2000.0)),
        ("max_cost_usd", st.decimals("0.0001", "0.01", places=5)),
    ):
        if draw(st.booleans()):
            limits[name] = draw(values)
    retry = {"max_attempts": draw(st.integers(1, 4)), "max_elapsed_seconds": draw(st.floats(30.0, 900.0))}
    return {"retry": retry, **limits}


class Endpoint:
    """Replies by a script, and from then on with what is `lasting`."""

    def __init__(self, bench: Bench, script: list[tuple[Answer | None, float]], lasting: Answer) -> None:
        self.bench = bench
        self.script = script
        self.lasting = lasting
        self.replies: Counter[str] = Counter()
        self.pauses_until = 0.0

    def __call__(self, prompt: str, attempt: int, now: float) -> tuple[Answer | None, float]:
        result, latency = self.script.pop(0) if self.script else (self.lasting, 1.0)
        if result is None:
            # Held back, as a sender does where another one met a pause just before.
            self.bench.pause.extend(now + 1.0)
            return None, 0.0
        return result, latency


def run(
    script: list[tuple[Answer | None, float]],
    lasting: Answer,
    rows: int,
    failed_before: int,
    job: dict[str, Any],
    signal_at: int | None,
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        bench = Bench(Path(directory), rows)
        bench.engine.script = Endpoint(bench, list(script), lasting)
        bench.histories = {row: History(1, None, 1) for row in range(failed_before)}
        if signal_at is not None:
            bench.engine.at_send = lambda: bench.stop_request.ask(15) if len(bench.engine.sent) == signal_at else None
        check(bench, bench.run(**job), job)
        bench.journal.close()
        Journal.read(Path(directory)).close()


def check(bench: Bench, stop: Stop | None, job: dict[str, Any]) -> None:
    """The engine has seen to it that no claim was missing, no slot used early, and nothing sent amid a pause."""
    rows = len(bench.plan)
    ended = bench.count(*SUCCEEDED, State.FAILED, State.FAILED_PASSING)
    progress, totals = bench.runner.progress, bench.journal.totals
    if stop is None:
        assert ended == rows, "every row ends in an outcome"
    else:
        assert STOPS[stop.kind] == stop.exit_code
    assert bench.journal.claims() == []
    assert ended == progress.succeeded + progress.failed
    assert bench.engine.most_in_flight <= job["concurrency"]
    assert max((at for at, _ in bench.engine.sent), default=0.0) <= 1000 + job.get("deadline_seconds", 1e9)
    assert totals.cost_usd + totals.possibly_billed_usd <= job.get("max_cost_usd", Decimal(10**6))
    if "requests_per_minute" in job:
        places = max(1, int(job["requests_per_minute"]))
        sent = [at for at, _ in bench.engine.sent]
        unsent = len(sent) - progress.requests
        assert all(later - first >= 60 for first, later in zip(sent, sent[places + unsent :], strict=False))
    asked = Counter(prompt for _, prompt in bench.engine.sent)
    for row in range(rows):
        if bench.plan.event(row):
            assert bench.record(row).attempts <= asked[f"p{row}"] + bench.histories.get(row, History()).attempts


@settings(max_examples=60)
@given(
    scripts,
    st.sampled_from([ANSWER, ANSWER, *FATAL, REPLIES[13], REPLIES[8], REPLIES[16]]),
    st.integers(1, 40),
    st.integers(0, 3),
    jobs(),
    st.one_of(st.none(), st.integers(1, 50)),
)
def test_whatever_an_endpoint_replies_every_row_ends_or_the_run_says_why_not(
    script: list[tuple[Answer | None, float]],
    lasting: Answer,
    rows: int,
    failed_before: int,
    job: dict[str, Any],
    signal_at: int | None,
) -> None:
    run(script, lasting, rows, min(failed_before, rows), job, signal_at)


@settings(max_examples=60)
@given(scripts, st.integers(1, 40), st.integers(1, 8), st.integers(1, 4))
def test_an_endpoint_that_recovers_ends_every_row_and_none_fails_for_an_outage(
    script: list[tuple[Answer | None, float]], rows: int, concurrency: int, max_attempts: int
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        bench = Bench(Path(directory), rows)
        bench.engine.script = Endpoint(bench, list(script), ANSWER)
        stop = bench.run(
            concurrency=concurrency,
            timeout_seconds=61.0,
            retry={"max_attempts": max_attempts, "max_elapsed_seconds": 1e6},
        )
        if stop is None:
            assert bench.count(*SUCCEEDED, State.FAILED, State.FAILED_PASSING) == rows
        else:  # the script began with a long row of refusals
            assert stop.kind == "all_refused"
        bench.journal.close()
