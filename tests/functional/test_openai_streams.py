"""CONTRACT section 5, `stream`: replies as server-sent events, put together, cut off, silent or broken."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.functional.conftest import MODEL, Workspace

USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
CHUNKED = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
Steps = Sequence[bytes | float | None]
"""Bytes to send, seconds to wait, or None for a reset."""


class Wire:
    """A server that says word for word what it is told: for each request the steps of its reply."""

    def __init__(self) -> None:
        self.reply: Callable[[int, dict[str, Any]], Steps] = lambda n, body: done("4")
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        except OSError:
            pass

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            try:
                while line := file.readline():
                    length = 0
                    while line not in (b"\r\n", b""):
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                        line = file.readline()
                    body = json.loads(file.read(length))
                    self.bodies.append(body)
                    self.times.append(time.monotonic())
                    for step in self.reply(len(self.bodies), body):
                        if isinstance(step, bytes):
                            connection.sendall(step)
                        elif step is None:
                            return
                        else:
                            time.sleep(step)
            except (OSError, ValueError):
                pass


def event(value: object) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"data: {text}\n\n".encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"model": "served", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


USAGE_CHUNK = {"choices": [], "usage": USAGE}
SHORT = event(delta("stop", content="4")) + event(USAGE_CHUNK)
END = b"0\r\n\r\n"


def stream(*values: object, end: Steps = (END,)) -> list[bytes | float | None]:
    return [CHUNKED.encode(), *(chunk(event(value)) for value in values), *end]


def done(text: str) -> Steps:
    return stream(delta(role="assistant", content=""), delta(content=text), delta("stop"), USAGE_CHUNK, "[DONE]")


@pytest.fixture
def wire() -> Iterator[Wire]:
    server = Wire()
    yield server
    server.close()


@pytest.fixture(params=["lean", "standard"])
def job(request: pytest.FixtureRequest, ws: Workspace, wire: Wire) -> Callable[..., None]:
    """Writes a job that asks the wire for streams."""

    def write(*questions: str, **sections: Any) -> None:
        ws.questions(*questions)
        price = {"input_usd_per_million": 1, "output_usd_per_million": 1}
        endpoint = {"kind": "openai", "url": wire.url, "model": "m", "stream": True, "transport": request.param}
        ws.job(endpoint=endpoint, pricing=price, **sections)

    return write


def test_deltas_are_put_together_and_usage_is_asked_for(ws: Workspace, wire: Wire, job: Callable[..., None]) -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}
    wire.reply = lambda n, body: stream(
        delta(role="assistant", reasoning_content="2 + "),
        delta(reasoning_content="2"),
        delta(content="fo"),
        delta(content="ur ü"),
        delta(tool_calls=[call]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
        delta("stop"),
        USAGE_CHUNK,
        "[DONE]",
    )
    job("a", "b")
    summary = ws.run()
    assert (wire.bodies[0]["stream"], wire.bodies[0]["stream_options"]) == (True, {"include_usage": True})
    row = ws.rows()[0]
    assert (row["response"], row["reasoning"], row["finish_reason"]) == ("four ü", "2 + 2", "stop")
    assert json.loads(row["tool_calls"])[0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert (row["served_model"], row["total_tokens"], str(row["cost_usd"])) == ("served", 30, "0.000030000000")
    assert (summary["requests"], summary["possibly_billed_usd"]) == (2, "0")


@pytest.mark.parametrize(
    "steps",
    [
        stream(delta(content="4"), delta("stop"), USAGE_CHUNK),
        stream(delta(content="4"), delta("stop"), USAGE_CHUNK, end=(None,)),
        stream(delta(content="4"), USAGE_CHUNK, "[DONE]"),
        [CHUNKED.encode(), *(chunk(bytes([byte])) for byte in SHORT), END],
        [
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
            event(delta("stop", content="4")),
            event(USAGE_CHUNK)[:-2],
            None,
        ],
    ],
    ids=["no [DONE]", "cut behind the end", "no finish_reason", "byte by byte", "until the connection ends"],
)
def test_a_stream_with_its_end_or_a_finish_reason_is_whole(
    ws: Workspace, wire: Wire, job: Callable[..., None], steps: Steps
) -> None:
    wire.reply = lambda n, body: steps
    job("a")
    summary = ws.run()
    assert (summary["requests"], summary["possibly_billed_usd"]) == (1, "0")
    assert (ws.rows()[0]["response"], ws.rows()[0]["total_tokens"]) == ("4", 30)


def test_a_gateway_that_never_ends_the_body_holds_nothing_up(
    ws: Workspace, wire: Wire, job: Callable[..., None]
) -> None:
    wire.reply = lambda n, body: stream(delta("stop", content="4"), USAGE_CHUNK, "[DONE]", end=(20.0,))
    job("a")
    assert ws.run()["seconds"] < 10
    assert ws.rows()[0]["response"] == "4"


@pytest.mark.parametrize(
    "steps",
    [stream(delta(content="fo")), stream(delta(content="fo"), end=(None,)), stream(), stream(delta(role="assistant"))],
    ids=["tidy", "torn", "empty", "no words"],
)
def test_a_stream_with_neither_is_cut_off_possibly_billed_and_asked_again(
    ws: Workspace, wire: Wire, job: Callable[..., None], steps: Steps
) -> None:
    wire.reply = lambda n, body: steps if n == 1 else done("4")
    job("a")
    summary = ws.run()
    assert (summary["requests"], summary["retries"]) == (2, 1)
    assert float(summary["possibly_billed_usd"]) > 0
    assert (ws.rows()[0]["response"], ws.rows()[0]["attempts"]) == ("4", 2)


@pytest.mark.parametrize(("words", "is_billed"), [((), False), ((delta(content="fo"),), True)])
@pytest.mark.parametrize(
    "form",
    [
        event({"error": {"message": "out of memory", "type": "server_error", "code": 500}}),
        event({"object": "error", "message": "out of memory", "code": 500}),
        b'event: error\ndata: {"message": "out of memory"}\n\n',
    ],
)
def test_an_error_event_is_an_error_reply(
    ws: Workspace, wire: Wire, job: Callable[..., None], words: tuple[Any, ...], is_billed: bool, form: bytes
) -> None:
    wire.reply = lambda n, body: [*stream(*words, end=()), chunk(form), END]
    job("a", retry={"max_attempts": 2, "initial_seconds": 0.05})
    summary = ws.run(code=3)
    row = ws.rows()[0]
    assert (row["error_kind"], row["http_status"], row["attempts"]) == (
        "server_error" if b"500" in form else "invalid_reply",
        200,
        2,
    )
    assert "out of memory" in row["error_message"]
    assert (float(summary["possibly_billed_usd"]) > 0) == is_billed


def test_an_error_event_counts_as_the_status_that_it_names(ws: Workspace, wire: Wire, job: Callable[..., None]) -> None:
    wire.reply = lambda n, body: stream({"error": {"message": "no such key", "code": "401"}})
    job("a", "b", limits={"concurrency": 1})
    assert ws.run(code=5)["requests"] == 1


@pytest.mark.parametrize("steps", [[5.0], [*stream(delta(content="fo"), end=()), 5.0]], ids=["from the start", "amid"])
def test_silence_ends_an_attempt(ws: Workspace, wire: Wire, job: Callable[..., None], steps: Steps) -> None:
    wire.reply = lambda n, body: steps if n == 1 else done("4")
    job("a", limits={"idle_seconds": 0.5})
    summary = ws.run()
    assert summary["requests"] == 2 and summary["seconds"] < 4.5
    assert 0.45 < wire.times[1] - wire.times[0] < 4  # the server gets a request a little after it was sent
    assert float(summary["possibly_billed_usd"]) > 0


def test_a_byte_now_and_then_is_no_silence(ws: Workspace, wire: Wire, job: Callable[..., None]) -> None:
    pings: list[bytes | float | None] = [0.3, chunk(b": ping\n\n")] * 4
    wire.reply = lambda n, body: [CHUNKED.encode(), *pings, *done("4")[1:]]
    job("a", limits={"idle_seconds": 0.9})
    assert ws.run()["requests"] == 1


def test_a_server_that_does_not_stream_is_read_as_one_that_answers_whole(
    ws: Workspace, wire: Wire, job: Callable[..., None]
) -> None:
    body = json.dumps({"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}], "usage": USAGE}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    wire.reply = lambda n, _: [head + body]
    job("a")
    ws.run()
    assert ws.rows()[0]["response"] == "4"


def test_silence_and_streams_are_refused_where_nothing_streams(ws: Workspace) -> None:
    ws.questions("a")
    ws.job(limits={"idle_seconds": 5})
    assert [error["key"] for error in ws.command("validate", code=2)["errors"]] == ["limits.idle_seconds"]
    ws.job(endpoint={"stream": True})
    assert [error["key"] for error in ws.command("validate", code=2)["errors"]] == ["endpoint.stream"]


def test_streaming_changes_no_request_and_the_simulator_streams(ws: Workspace) -> None:
    ws.questions(
        *(f"q{n}" for n in range(8)),
        "[[fault: refusal]]",
        "[[fault: reasoning]]",
        "[[fault: stream_cut x1]]",
        "[[fault: stream_error x1]]",
    )
    endpoint = {"url": "simulator", "kind": "openai", "model": MODEL}
    ws.job(endpoint=endpoint)
    ws.run()
    whole = [(row["response"], row["total_tokens"], row["request_hash"]) for row in ws.rows()]
    ws.job(endpoint={**endpoint, "stream": True})
    assert ws.run()["requests"] == 0
    ws.job(name="streamed", endpoint={**endpoint, "stream": True})
    ws.run("--set", "output.overwrite=true")
    rows = ws.rows()
    assert [(row["response"], row["total_tokens"], row["request_hash"]) for row in rows] == whole
    assert [row["response_type"] for row in rows[8:10]] == ["refusal", "text"]
    assert (rows[9]["reasoning"], [row["attempts"] for row in rows[10:]]) == ("2 + 2 is 4.", [2, 2])
