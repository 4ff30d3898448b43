from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from itertools import count
from typing import Any

import pytest

from pipeline.client import Attempt, Client, Task
from pipeline.errors import ErrorKind
from pipeline.limits import Pause
from pipeline.providers.dataoorts import Dataoorts
from pipeline.providers.openai import OpenAI
from pipeline.records import Failure, Reply, Request
from pipeline.redaction import Redaction
from pipeline.transport import Transport
from tests.support.web import WebServer

KEY = "sk-very/secret-0123456789"
ANSWER = {"result": {"response": "42", "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}}
REQUEST = Request("m", ({"role": "user", "content": "six times seven, in “figures”"},), {"max_tokens": 5})


class Server:
    """Answers each POST with what `status`, `headers` and `body` say, and keeps what it was sent."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, dict[str, str](), json.dumps(ANSWER)
        self.raw: bytes | None = None
        self.received: list[tuple[str | None, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.received.append((self.headers["Authorization"], sent))
                if outer.raw is not None:
                    self.wfile.write(outer.raw)
                    self.close_connection = True
                    return
                body = outer.body.encode()
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = WebServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/api/v1"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def pause() -> Pause:
    return Pause()


@pytest.fixture
def client(server: Server, pause: Pause) -> Iterator[Client]:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    made = Client(
        Dataoorts(server.url), Transport(server.url, headers, connections=2, timeout_seconds=5), pause, Redaction(KEY)
    )
    yield made
    made.end()


def test_an_attempt_sends_the_request_and_types_the_answer(client: Client, server: Server) -> None:
    attempt = client.attempt(Task(7, REQUEST))
    assert attempt.number == 7
    assert isinstance(attempt.result, Reply)
    assert attempt.result.response == "42"
    assert attempt.finished_at == pytest.approx(attempt.started_at + attempt.latency)
    assert server.received == [
        (f"Bearer {KEY}", {"model": "m", "data": {"messages": list(REQUEST.messages), "max_tokens": 5}})
    ]


def test_nothing_is_sent_during_a_pause(client: Client, server: Server, pause: Pause) -> None:
    pause.extend(1e12)
    assert client.attempt(Task(1, REQUEST)).result is None
    assert server.received == []


def test_a_retry_after_pauses_every_sender_at_once(client: Client, server: Server, pause: Pause) -> None:
    server.status, server.headers, server.body = 429, {"Retry-After": "30"}, "{}"
    result = client.attempt(Task(1, REQUEST)).result
    assert isinstance(result, Failure)
    assert (result.kind, result.retry_after) == (ErrorKind.RATE_LIMITED, 30.0)
    assert client.attempt(Task(2, REQUEST)).result is None
    assert len(server.received) == 1


CUT = "Content-Length: 500\r\n\r\n{}"
BROKEN = {
    "cut off": CUT,
    "no gzip": "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "unknown encoding": "Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
    "too large": f"Content-Length: {65 * 2**20}\r\n\r\n",
    "a bad chunk": "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("standard", [False, True], ids=["lean", "standard"])
@pytest.mark.parametrize("rest", BROKEN.values(), ids=BROKEN)
def test_what_the_head_of_a_refusal_says_holds_whatever_becomes_of_its_body(
    server: Server, pause: Pause, rest: str, standard: bool
) -> None:
    server.raw = f"HTTP/1.1 429 Slow down\r\nRetry-After: 30\r\n{rest}".encode()
    transport = Transport(server.url, {}, connections=2, timeout_seconds=5, standard=standard)
    client = Client(Dataoorts(server.url), transport, pause, Redaction(KEY))
    result = client.attempt(Task(1, REQUEST)).result
    assert isinstance(result, Failure)
    assert (result.kind, result.http_status, result.retry_after) == (ErrorKind.RATE_LIMITED, 429, 30.0)
    assert result.sent and not result.possibly_billed
    assert client.attempt(Task(2, REQUEST)).result is None
    client.end()


def test_an_answer_that_was_cut_off_may_have_been_billed_and_its_wait_counts(
    client: Client, server: Server, pause: Pause
) -> None:
    server.raw = f"HTTP/1.1 200 OK\r\nRetry-After: 30\r\n{CUT}".encode()
    result = client.attempt(Task(1, REQUEST)).result
    assert isinstance(result, Failure)
    assert (result.kind, result.possibly_billed, result.retry_after) == (ErrorKind.CONNECTION_ERROR, True, 30.0)
    assert pause.until > 0


def test_a_server_error_that_was_cut_off_may_have_been_billed(client: Client, server: Server) -> None:
    server.raw = f"HTTP/1.1 500 Oops\r\n{CUT}".encode()
    result = client.attempt(Task(1, REQUEST)).result
    assert isinstance(result, Failure)
    assert (result.kind, result.http_status, result.possibly_billed) == (ErrorKind.SERVER_ERROR, 500, True)


@pytest.mark.parametrize(
    ("wire", "body", "seconds", "kind", "is_possible"),
    [
        (OpenAI, "", 0.0, ErrorKind.OUT_OF_CAPACITY, False),
        (OpenAI, "", 60.0, ErrorKind.TIMEOUT, True),
        (OpenAI, '{"error": "the model took too long"}', 0.0, ErrorKind.TIMEOUT, True),
        (Dataoorts, "", 0.0, ErrorKind.TIMEOUT, True),
    ],
    ids=["a full queue", "after a minute", "with words", "where 408 is documented"],
)
def test_a_408_that_comes_at_once_without_a_body_was_not_begun(
    server: Server,
    pause: Pause,
    wire: type[OpenAI | Dataoorts],
    body: str,
    seconds: float,
    kind: ErrorKind,
    is_possible: bool,
) -> None:
    server.status, server.body = 408, body
    client = Client(
        wire(server.url), Transport(server.url, {}, connections=1, timeout_seconds=5), pause, Redaction(KEY)
    )
    result = client.attempt(Task(1, REQUEST), count(step=seconds).__next__).result
    assert isinstance(result, Failure)
    assert (result.kind, result.http_status, result.possibly_billed) == (kind, 408, is_possible)
    client.end()


def test_an_answer_may_ask_for_a_wait_too(client: Client, server: Server) -> None:
    server.headers = {"Retry-After": "30"}
    result = client.attempt(Task(1, REQUEST)).result
    assert isinstance(result, Reply)
    assert result.retry_after == 30.0
    assert client.attempt(Task(2, REQUEST)).result is None


@pytest.mark.parametrize("standard", [False, True], ids=["lean", "standard"])
def test_a_pause_that_begins_while_the_connection_is_made_holds_the_request_back(
    server: Server, pause: Pause, standard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from urllib3.connection import HTTPConnection

    from pipeline.transport.dial import dial as original_dial

    async def dial(*arguments: Any) -> Any:
        found = await original_dial(*arguments)
        pause.extend(1e12)  # another request is told to wait
        return found

    original_connect = HTTPConnection.connect

    def connect(connection: HTTPConnection) -> None:
        original_connect(connection)
        pause.extend(1e12)

    monkeypatch.setattr("pipeline.transport.connection.dial", dial)
    monkeypatch.setattr(HTTPConnection, "connect", connect)
    transport = Transport(server.url, {}, connections=2, timeout_seconds=5, standard=standard)
    client = Client(Dataoorts(server.url), transport, pause, Redaction(KEY))
    assert client.attempt(Task(1, REQUEST)).result is None
    client.end()
    assert server.received == []


def test_a_request_that_cannot_go_out_in_time_is_held_back(client: Client, server: Server) -> None:
    assert client.attempt(Task(1, REQUEST, send_by=time.monotonic() - 1)).result is None
    assert server.received == []
    assert isinstance(client.attempt(Task(2, REQUEST, send_by=time.monotonic() + 60)).result, Reply)


@pytest.mark.parametrize("standard", [False, True], ids=["lean", "standard"])
def test_one_of_a_burst_that_is_never_sent_keeps_no_other_waiting(
    server: Server, pause: Pause, standard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from urllib3.connection import HTTPConnection

    from pipeline.transport import burst
    from pipeline.transport.dial import dial as original_dial

    original_connect = HTTPConnection.connect
    refusals = [ConnectionRefusedError("nobody is there")]

    async def dial(*arguments: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return await original_dial(*arguments)

    def connect(connection: HTTPConnection) -> None:
        if refusals:
            raise refusals.pop()
        original_connect(connection)

    monkeypatch.setattr("pipeline.transport.connection.dial", dial)
    monkeypatch.setattr(HTTPConnection, "connect", connect)
    monkeypatch.setattr(burst, "_UNTIL_READY_SECONDS", 60.0)
    monkeypatch.setattr(burst, "_UNTIL_SENT_SECONDS", 60.0)
    transport = Transport(server.url, {}, connections=2, timeout_seconds=50, standard=standard)
    client = Client(Dataoorts(server.url), transport, pause, Redaction(KEY))
    began = time.monotonic()
    attempts: list[Attempt] = []
    client.start([Task(1, REQUEST), Task(2, REQUEST)], attempts.append)
    while len(attempts) < 2:
        client.loop.turn(10)
    client.end()
    assert time.monotonic() - began < 30
    assert sorted(type(attempt.result).__name__ for attempt in attempts) == ["Failure", "Reply"]


def test_an_attempt_begins_when_its_first_byte_goes_out(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.transport.dial import dial

    async def slow(*arguments: Any) -> Any:
        time.sleep(0.3)  # a handshake far away
        return await dial(*arguments)

    monkeypatch.setattr("pipeline.transport.connection.dial", slow)
    begun = time.time()
    attempt = client.attempt(Task(1, REQUEST))
    assert attempt.started_at >= begun + 0.3
    assert attempt.latency < 0.3


def test_a_key_that_the_endpoint_echoes_is_taken_out(client: Client, server: Server) -> None:
    padding = "x" * 280
    server.status, server.body = 400, json.dumps({"errors": [{"message": f"{padding} bad header Bearer {KEY}"}]})
    refused = client.attempt(Task(1, REQUEST)).result
    assert isinstance(refused, Failure)
    assert "sk-" not in refused.message
    server.status, server.body = 200, json.dumps({"result": {"response": f"your key is {KEY}"}})
    answered = client.attempt(Task(2, REQUEST)).result
    assert isinstance(answered, Reply)
    assert answered.response == "your key is [key]"


def as_json_may_write_it(text: str) -> list[str]:
    every = "".join(f"\\u{ord(char):04X}" for char in text)
    return [text.replace("s", "\\u0073", 1), every, json.dumps(every)[1:-1], text.replace("/", "\\/")]


@pytest.mark.parametrize("written", as_json_may_write_it(KEY))
def test_a_key_that_is_echoed_in_escapes_is_taken_out_too(client: Client, server: Server, written: str) -> None:
    usage = '{"prompt_tokens": 3, "completion_tokens": 1, "note": "KEY"}'
    body = '{"result": {"response": "é KEY \\u00e9", "tool_calls": ["KEY"], "usage": USAGE}}'
    server.body = body.replace("USAGE", usage).replace("KEY", written)
    answered = client.attempt(Task(1, REQUEST)).result
    assert isinstance(answered, Reply)
    assert answered.response == "é [key] é"
    for padding in ("", "x" * 280):
        server.status, server.body = 400, '{"errors": [{"message": "' + padding + written + '"}]}'
        refused = client.attempt(Task(2, REQUEST)).result
        assert isinstance(refused, Failure)
        assert not [part for part in (KEY, "very", "\\u0073", "0123") if part in repr(answered) + repr(refused)]


def test_what_was_not_sent_is_not_possibly_billed(pause: Pause) -> None:
    url = "http://127.0.0.1:9/api/v1"
    refused = Client(Dataoorts(url), Transport(url, {}, connections=1, timeout_seconds=2), pause, Redaction(None))
    result = refused.attempt(Task(1, REQUEST)).result
    assert isinstance(result, Failure)
    assert (result.kind, result.sent, result.possibly_billed) == (ErrorKind.CONNECTION_ERROR, False, False)
    refused.end()


DUMMIES = [
    "password",
    "lm-studio",
    "changeme",
    "not-needed",
    "sk-no-key-required",
    "response",
    "PLACEHOLDER",
    "Dummy Key",
    "12345678",
    "--------",
    "short1",
]
SECRETS = [
    "sk-7f3b9c2e51d84a06",
    "acceptance-key-4b1d",
    "token-abc123",
    "kJhGfDsAqWeRtYuIoP",
    "pass1word",
    "a" * 17,
    "the-key-of-this-account-in-words",
]


def echoed(server: Server, pause: Pause, key: str) -> str | None:
    """Return what becomes of an answer that holds the key."""
    server.body = json.dumps({"result": {"response": f"your key is {key}"}})
    transport = Transport(server.url, {}, connections=1, timeout_seconds=5)
    client = Client(Dataoorts(server.url), transport, pause, Redaction(key))
    result = client.attempt(Task(1, REQUEST)).result
    client.end()
    assert isinstance(result, Reply), result
    return result.response


@pytest.mark.parametrize("key", DUMMIES)
def test_a_key_that_is_a_word_changes_no_answer(server: Server, pause: Pause, key: str) -> None:
    assert echoed(server, pause, key) == f"your key is {key}"


@pytest.mark.parametrize("key", SECRETS)
def test_any_other_key_is_taken_out(server: Server, pause: Pause, key: str) -> None:
    assert echoed(server, pause, key) == "your key is [key]"
