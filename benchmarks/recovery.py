"""How soon a run is over where each row is refused once with a Retry-After, beside other tools:
python -m benchmarks.recovery [--repeats N] [--only NAME]… [--document]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import BUILD
from benchmarks.bench import say
from benchmarks.document import put_table
from benchmarks.job import COMMAND, KEY, MODELS, PARAMETERS
from benchmarks.peers.environments import python_of
from benchmarks.process import measure
from benchmarks.table import Row, as_text, at_most, save

OURS = "this program"
PEERS = {"flexllm_batch": "flexllm", "accrue_step": "accrue", "saturate_pump": "saturate"}
"""The environment of each peer, by the name of its module."""
SERVERS: dict[str, tuple[int, tuple[float, ...]]] = {
    "20 rows, each refused once with Retry-After: 1": (20, (1.0,)),
    "24 rows, each refused once with Retry-After: 1 to 4": (24, (1.0, 2.0, 3.0, 4.0)),
}
"""The rows, and the seconds that are asked for in turn."""
CONCURRENCY = 10  # the default of flexllm and accrue
_MOST_OF_BEST = 1.2
_MOST_SECONDS = 120
_ON_THE_WAY_SECONDS = 0.25
_ROW = re.compile(r"row (\d+)")


@dataclass
class Refusing:
    """What the server does, and what it saw. `early` counts the requests of a row within the wait that it was asked
    for, `amid` those of any row within anybody's wait, but for what was on its way when the wait was asked for.
    """

    waits: Sequence[float]
    requests: int = 0
    early: int = 0
    amid: int = 0
    ends: dict[int, float] = field(default_factory=dict)
    asked: list[tuple[float, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_for(self, row: int) -> float | None:
        """Take in a request; returns the wait to ask for, None where it is to be answered."""
        now = time.monotonic()
        with self.lock:
            self.requests += 1
            self.amid += any(at + _ON_THE_WAY_SECONDS < now < end for at, end in self.asked)
            if row in self.ends:
                self.early += now < self.ends[row]
                return None
            wait = self.waits[len(self.ends) % len(self.waits)]
            self.ends[row] = now + wait
            self.asked.append((now, now + wait))
            return wait


@dataclass(frozen=True, slots=True)
class Result:
    """One run: seconds from its start to its end, how many rows are right, and what the server saw."""

    wall: float
    right: int
    seen: Refusing


class Seller(Protocol):
    """What decides over each request."""

    def wait_for(self, row: int) -> float | None:
        """Take in a request; returns the wait to ask for, None where it is to be answered."""


@contextmanager
def serving(seen: Seller) -> Iterator[str]:
    """Return the server's base address (`…/v1`)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Refuse or answer."""
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found = _ROW.findall(body)
            row = int(found[-1]) if found else -1
            wait = seen.wait_for(row)
            if wait is None:
                self._reply(200, _answered(row), {})
            else:
                self._reply(
                    429, {"error": {"message": "slow down", "type": "rate_limit"}}, {"Retry-After": f"{wait:g}"}
                )

        def _reply(self, status: int, document: dict[str, Any], headers: dict[str, str]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
                self.send_header(name, str(value))
            with suppress(ConnectionError):  # a client that was killed
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def answer_to(row: int) -> str:
    """Return the text that a row's prompt is answered with, a JSON object."""
    # Curator first asks for a person, to see whether a server can answer by a schema.
    return json.dumps({"answer": f"answer to row {row}"} if row >= 0 else {"name": "Ana", "age": 40})


def _answered(row: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer_to(row)}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": MODELS["openai"],
        "choices": [choice],
        "usage": usage,
    }


def run_one(name: str, python: Path | None, rows: int, waits: Sequence[float]) -> Result:
    """One run of a peer, or of this program where there is no `python`, as a whole process."""
    directory = BUILD / "jobs" / f"recovery-{name.replace(' ', '-')}"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "home").mkdir(parents=True)
    prompts, output = directory / "prompts.parquet", directory / "answers.parquet"
    pq.write_table(pa.table({"id": range(rows), "prompt": [f"Say hello to row {row}" for row in range(rows)]}), prompts)
    seen = Refusing(waits)
    with serving(seen) as base:
        words: list[str | Path]
        if python is None:
            words = [COMMAND, "run", _job_file(directory, prompts, output, base)]
        else:
            module = f"benchmarks.peers.{name}"
            words = [python, "-m", module, prompts, output, base, MODELS["openai"], str(CONCURRENCY), directory]
        environment = {**KEY, "HOME": str(directory / "home")}
        measured = measure(words, directory / "log", environment=environment, most_seconds=_MOST_SECONDS)
    right = 0
    if output.exists():
        found = pq.read_table(output, columns=["id", "response"]).to_pylist()
        right = len({line["id"] for line in found if line["response"] == answer_to(line["id"])})
    result = Result(measured.wall, right, seen)
    say(f"{name}: {result.wall:.1f} s, {right} of {rows} right, {seen.requests} requests, {seen.early} early")
    return result


def _job_file(directory: Path, prompts: Path, output: Path, base: str) -> Path:
    document = {
        "name": "recovery",
        "input": {"path": str(prompts), "id": "id"},
        "prompt": {"column": "prompt"},
        "endpoint": {"kind": "openai", "url": base, "model": MODELS["openai"], "api_key_env": next(iter(KEY))},
        "parameters": PARAMETERS,
        "limits": {"concurrency": CONCURRENCY},
        "pricing": {"input_usd_per_million": 0.32, "output_usd_per_million": 0.34},
        "checkpoint": {"path": str(directory / "checkpoint")},
        "output": {"path": str(output)},
    }
    path = directory / "job.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return path


def least_seconds(rows: int, waits: Sequence[float]) -> float:
    """How long the waits alone take where each holds the whole job: the longest of each burst."""
    asked = [waits[row % len(waits)] for row in range(rows)]
    return sum(max(asked[first : first + CONCURRENCY]) for first in range(0, rows, CONCURRENCY))


def rows_of(server: str, rows: int, results: dict[str, list[Result]]) -> Iterator[Row]:
    """Return the table's lines for one server, the quickest first. Only tools with every row are compared with ours."""
    whole = {name: found for name, found in results.items() if min(one.right for one in found) == rows}
    quickest = sorted(whole, key=lambda name: median(one.wall for one in whole[name]))
    best = next((name for name in quickest if name != OURS), None)
    for name in quickest:
        found = whole[name]
        early, amid = max(one.seen.early for one in found), max(one.seen.amid for one in found)
        seconds = median(one.wall for one in found)
        figures = f"{seconds:.1f} s; asked too early: {early} rows again, {amid} requests amid a wait"
        limit = bar = ""
        used = None
        if name == OURS:
            limit = f"{least_seconds(*SERVERS[server]):g} s of waits that hold the whole job"
        if name == OURS and best is not None:
            ratio = median(our.wall / peer.wall for our, peer in zip(found, whole[best], strict=True))
            bar, used = f"≤ {_MOST_OF_BEST} times {best}: {ratio:.2f}", at_most(ratio, _MOST_OF_BEST)
        yield Row(f"{server}: {name}", figures, limit, bar, used)
    for name in results.keys() - whole.keys():
        yield Row(f"{server}: {name}", f"failed: {min(one.right for one in results[name])} of {rows} rows right")


def main() -> None:
    """Run all in turns; exits with 1 where the bar was not reached."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.recovery")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", action="append", choices=PEERS, help="this peer alone; repeatable")
    parser.add_argument("--document", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    pythons: dict[str, Path | None] = {OURS: None}
    table: list[Row] = []
    for name in arguments.only or PEERS:
        try:
            pythons[name] = python_of(PEERS[name])
        except subprocess.CalledProcessError as error:
            table.append(Row(name, f"skipped: its environment cannot be made: {error}"))
    for server, (rows, waits) in SERVERS.items():
        results: dict[str, list[Result]] = {name: [] for name in pythons}
        for _ in range(arguments.repeats):
            for name, python in pythons.items():
                results[name].append(run_one(name, python, rows, waits))
        table += rows_of(server, rows, results)
    print(as_text(table))
    save(table, BUILD / "results" / "recovery.jsonl")
    if arguments.document:
        put_table("recovery", table)
    sys.exit(any(row.is_missed for row in table))


if __name__ == "__main__":
    main()
