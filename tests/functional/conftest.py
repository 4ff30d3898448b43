"""The `pipeline` command as people run it: a process of its own, a job file, and an endpoint on a real socket."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from tests.support.commands import Result, command
from tests.support.forwarding import Forwarding
from tests.support.processes import COMMAND, Process, Warm
from tests.support.web import WebServer

KEY_VARIABLE = "FUNCTIONAL_TEST_KEY"
KEY = "sk-7f3b9c2e51d84a06b1c8e0d2f4a69358"
MODEL = "meta/llama-4-scout-17b-16e-instruct"
COST = "0.00001"
"""What one usual answer costs in USD: 10 prompt tokens at 0.32 and 20 completion tokens at 0.34 a million."""
RUN_KEYS = {
    "job",
    "run_id",
    "status",
    "rows",
    "succeeded",
    "failed",
    "pending",
    "requests",
    "retries",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "job_cost_usd",
    "unpriced_rows",
    "possibly_billed_usd",
    "possibly_billed_requests",
    "seconds",
    "rows_per_second",
    "output",
    "truncated",
    "empty",
    "failures",
    "accepted",
    "to_retry",
}
STATUS_KEYS = RUN_KEYS | {
    "running",
    "lock",
    "projected_cost_usd",
    "recent_rows_per_second",
    "eta_seconds",
    "in_flight",
    "concurrency",
    "waiting",
    "paused_seconds",
    "quota",
    "trouble",
    "paused",
    "set",
    "errors",
    "updated_at",
    "silent_seconds",
    "last_progress_at",
    "last_progress_seconds",
}
RESULT_COLUMNS = {
    "row_id": pa.string(),
    "status": pa.string(),
    "response": pa.string(),
    "response_type": pa.string(),
    "tool_calls": pa.string(),
    "prompt_tokens": pa.int64(),
    "completion_tokens": pa.int64(),
    "total_tokens": pa.int64(),
    "cost_usd": pa.decimal128(18, 12),
    "truncated": pa.bool_(),
    "finish_reason": pa.string(),
    "reasoning": pa.string(),
    "cached_tokens": pa.int64(),
    "reasoning_tokens": pa.int64(),
    "attempts": pa.int32(),
    "error_kind": pa.string(),
    "error_message": pa.string(),
    "http_status": pa.int32(),
    "model": pa.string(),
    "served_model": pa.string(),
    "latency_seconds": pa.float64(),
    "started_at": pa.timestamp("us", "UTC"),
    "finished_at": pa.timestamp("us", "UTC"),
    "request_hash": pa.string(),
}
"""The columns that CONTRACT section 3 adds, in its order."""


@dataclass(frozen=True)
class Asked:
    """One request as it came in; `at` is monotonic seconds, `prompt` the last message's content."""

    at: float
    prompt: str
    body: Any
    headers: Mapping[str, str]
    path: str


@dataclass(frozen=True)
class Reply:
    """What the endpoint sends: `body` is bytes or a JSON value. `cut` closes the connection half-way."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut: bool = False


USUAL_USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}


def answer(response: Any, *, usage: Any = USUAL_USAGE, wait: float = 0.0, **result: Any) -> Reply:
    """A sound reply of Dataoorts; `usage` None leaves it out."""
    counted = {} if usage is None else {"usage": usage}
    body = {"errors": [], "messages": [], "result": {"response": response, **result, **counted}, "success": True}
    return Reply(body, wait=wait)


def refusal(status: int, code: int | None = None, message: str = "no", wait: float = 0.0, **headers: str) -> Reply:
    """An error in Dataoorts' envelope; `Retry_After="1"` is the header Retry-After."""
    body = {"result": None, "success": False, "errors": [{"code": code, "message": message}], "messages": []}
    return Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()}, wait)


def usual(asked: Asked) -> Reply:
    """An answer that names its prompt."""
    return answer(f"answer to {asked.prompt}")


class Endpoint:
    """A server whose `reply` decides every answer; None closes the connection without one."""

    def __init__(self) -> None:
        self.reply: Callable[[Asked], Reply | None] = usual
        self.gate = threading.Event()
        """Replies are held back while it is not set."""
        self.gate.set()
        self.asked: list[Asked] = []
        self.answered: list[Asked] = []
        self._server = WebServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/api/v1"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def prompts(self) -> list[str]:
        """Every prompt asked so far, in order of arrival."""
        return [asked.prompt for asked in self.asked]

    def forget(self) -> None:
        """Begin the record anew."""
        self.asked, self.answered = [], []

    def wait_for(self, requests: int, seconds: float = 15.0) -> None:
        """Until so many requests came in."""
        wait_until(lambda: len(self.asked) >= requests, seconds)

    def close(self) -> None:
        self.gate.set()
        with suppress(OSError):  # closed before
            self._server.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.server_close()

    def _accept(self) -> None:
        # Blocks where `serve_forever` would look every few milliseconds whether it is to end.
        with suppress(OSError):
            while True:
                self._server.process_request(*self._server.get_request())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # a reply goes out in one piece

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                messages = body["data"]["messages"] if "data" in body else body["messages"]
                asked = Asked(time.monotonic(), messages[-1]["content"], body, dict(self.headers), self.path)
                endpoint.asked.append(asked)
                reply = endpoint.reply(asked)
                if reply is None:
                    self.close_connection = True
                    return
                time.sleep(reply.wait)
                endpoint.gate.wait(30)
                content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if reply.cut else content)
                self.close_connection = self.close_connection or reply.cut
                endpoint.answered.append(asked)

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    self.close_connection = True

        return Handler


class Workspace:
    """A directory with an input, a job file that asks `endpoint`, and the command run in it."""

    def __init__(self, path: Path, url: str, input: str = "in.csv", *, warm: Warm | None = None) -> None:
        self.path = path
        self.url = url
        self.warm = warm
        self.input = input
        self.prefix: tuple[str, ...] = ()
        """What every start of the command is to go through, such as `prlimit` with its flags."""
        self.before: list[tuple[str, Sequence[Any]]] = []
        """What every process does before the command begins, as for `Warm.start`."""
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and name != "DATAOORTS_API_KEY"
        } | {KEY_VARIABLE: KEY}

    def given(self, rows: Sequence[Sequence[object]], header: Sequence[str], name: str | None = None) -> None:
        """Write an input, all text, as CSV or Parquet by its name's ending."""
        name = name or self.input
        if name.endswith(".parquet"):
            columns = [[str(value) for value in column] for column in zip(*rows, strict=True)] or [[] for _ in header]
            schema = pa.schema([(column, pa.string()) for column in header])
            pq.write_table(pa.table(columns, schema=schema), self.path / name)
            return
        with (self.path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])

    def questions(self, *questions: object) -> None:
        """Write an input with one column."""
        self.given([[question] for question in questions], ["question"])

    def job(self, file: str = "job.yaml", /, **sections: Any) -> None:
        """Write the job file: the usual one, its sections changed key by key; `prompt` and plain values as a whole."""
        job: dict[str, Any] = {
            "name": "job",
            "input": {"path": self.input},
            "prompt": {"user": "{{ question }}"},
            "endpoint": {"url": self.url, "model": MODEL, "api_key_env": KEY_VARIABLE},
            "parameters": {"max_tokens": 100},
            "limits": {"concurrency": 4},
            "retry": {"initial_seconds": 0.05, "max_seconds": 0.2},
            "output": {"path": "out.parquet"},
        }
        for name, section in sections.items():
            merges = isinstance(section, dict) and name != "prompt"
            job[name] = {**job.get(name, {}), **section} if merges else section
        # JSON is YAML too.
        (self.path / file).write_text(json.dumps(job, indent=2), encoding="utf-8")

    def pipeline(self, *arguments: str) -> Result:
        """Run the command to its end, away from any terminal: in this process, unless it is to start otherwise."""
        if self.prefix or self.environment.get("PYTHONPATH") != os.environ.get("PYTHONPATH"):
            return self.process(*arguments)
        if self.before:
            assert self.warm is not None
            return self.warm.run(*arguments, directory=self.path, environment=self.environment, before=self.before)
        return command(*arguments, directory=self.path, environment=self.environment)

    def process(self, *arguments: str, seconds: float = 30.0) -> Result:
        """The same in a process of its own, where the command's start, its streams or the system's limits matter."""
        done = subprocess.run(
            [*self.prefix, COMMAND, *arguments],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def pipeline_with_imports(self, *arguments: str) -> tuple[str, set[str]]:
        """What the command says on stdout, and the names of all modules that it has imported by its end."""
        program = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        program += f"from pipeline.cli import main; sys.argv = {['pipeline', *arguments]}; main()"
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout, set(done.stderr.split())

    def command(self, name: str, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a command on the job with --json, and give its object."""
        result = self.pipeline(name, "job.yaml", "--json", *arguments)
        assert result.code == code, (result.code, result.out, result.err)
        return result.data

    def run(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """`pipeline run job.yaml --json`."""
        return self.command("run", *arguments, code=code)

    def start(self, *arguments: str, **streams: Any) -> Process:
        """The command as a process under way; `streams` are as for `Warm.start`."""
        assert self.warm is not None
        return self.warm.start(
            *arguments, directory=self.path, environment=self.environment, before=self.before, **streams
        )

    @contextmanager
    def running(self, *arguments: str, command: str = "run") -> Iterator[Process]:
        """`pipeline run job.yaml --json` as a process under way; it is killed if it is still there in the end."""
        with self.start(command, "job.yaml", "--json", *arguments) as process:
            try:
                yield process
            finally:
                process.kill()

    def table(self, name: str = "out.parquet") -> pa.Table:
        """An output, whole."""
        return pq.read_table(self.path / name)

    def rows(self, name: str = "out.parquet") -> list[dict[str, Any]]:
        """An output's rows."""
        found: list[dict[str, Any]] = self.table(name).to_pylist()
        return found

    def exists(self, name: str) -> bool:
        return (self.path / name).exists()

    def files(self) -> dict[str, bytes]:
        """Every file under the directory, with its content."""
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for path in sorted(self.path.rglob("*"))
            if path.is_file()
        }


def ended(process: Process, seconds: float = 20.0) -> Result:
    """How a process under way ends."""
    out, err = process.communicate(timeout=seconds)
    return Result(process.wait(), out.decode(), err.decode())


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Until the condition holds; a failure after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has no command find Ray, where it is installed: `make test-ray` is for what needs it."""
    monkeypatch.setitem(sys.modules, "ray", None)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    served = Endpoint()
    yield served
    served.close()


@pytest.fixture
def ws(tmp_path: Path, endpoint: Endpoint, warm: Warm, request: pytest.FixtureRequest) -> Workspace:
    # Parquet spares each of some thousand commands the import of pandas; a module that is about CSV says so.
    return Workspace(tmp_path, endpoint.url, getattr(request.module, "INPUT", "in.parquet"), warm=warm)


@pytest.fixture(scope="session")
def forwarding(warm: Warm) -> Iterator[Forwarding]:
    """What other programs can start as Python and as the command."""
    opened = Forwarding(warm)
    yield opened
    opened.close()


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Has the commands, here and in processes, make files under the umask that is the parameter."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def run_here(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Run]:
    """Makes runs of the job inside this process, in the workspace's directory."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.chdir(ws.path)
    return lambda: Run(load_job("job.yaml"), RunOptions())


@dataclass(frozen=True)
class Simulated:
    """A simulator of its own process, and its ledger."""

    url: str
    ledger: Path

    def records(self, event: str) -> list[dict[str, Any]]:
        *whole, _ = self.ledger.read_text(encoding="utf-8").split("\n")  # a line that is being written has no end yet
        return [record for record in map(json.loads, whole) if record["event"] == event]

    def wait_for_answers(self, more: int) -> None:
        """Until so many more requests are answered."""
        wanted = len(self.records("answered")) + more
        wait_until(lambda: len(self.records("answered")) >= wanted)


@pytest.fixture
def simulate(tmp_path: Path, warm: Warm) -> Iterator[Callable[..., Simulated]]:
    """Starts `pipeline simulate` with the flags that are given."""
    started: list[Process] = []

    def start(*flags: str) -> Simulated:
        ledger = tmp_path / "ledger.jsonl"
        words = ("simulate", "--port", "0", "--ledger", str(ledger), *flags)
        process = warm.start(*words, directory=tmp_path, environment=os.environ)
        started.append(process)
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        return Simulated(f"{address}/api/v1", ledger)

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=10)
        process.close()
