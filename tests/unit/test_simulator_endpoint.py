from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from pipeline.simulator import Settings, Simulator, prompt_digest
from pipeline.simulator.models import MODELS
from pipeline.simulator.rate import RateWindow

FIXTURES = Path(__file__).parents[1] / "fixtures" / "wire"
SCOUT = "meta/llama-4-scout-17b-16e-instruct"
HEADERS = {"Authorization": "Bearer key", "Content-Type": "application/json"}
REQUESTS = json.loads((FIXTURES / "dataoorts_requests.json").read_text())


def connect(address: str) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", int(address.rpartition(":")[2]), timeout=10)


def post(address: str, body: Any, path: str = "/api/v1", headers: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = connect(address)
    try:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, text, HEADERS if headers is None else headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def asking(text: str = "What is 2 + 2?", model: str = SCOUT, **parameters: Any) -> dict[str, Any]:
    return {"model": model, "data": {"messages": [{"role": "user", "content": text}], **parameters}}


def raw(address: str, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=10) as link:
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        parts = []
        while part := link.recv(65_536):
            parts.append(part)
    return b"".join(parts)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Simulator(Settings(seed=7)) as simulator:
        yield simulator.address


@pytest.mark.parametrize("case", REQUESTS, ids=[case["name"] for case in REQUESTS])
def test_every_documented_request_is_answered(address: str, case: dict[str, Any]) -> None:
    status, reply = post(address, case["body"])
    assert (status, reply["success"], reply["errors"]) == (200, True, [])
    usage = reply["result"]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_an_answer_begins_with_its_prompts_digest(address: str) -> None:
    messages = [{"role": "user", "content": "Grüße, 漢字"}]
    _, reply = post(address, {"model": SCOUT, "data": {"messages": messages}})
    assert reply["result"]["response"].startswith(f"[{prompt_digest(messages)}] ")


def test_one_request_gets_the_same_bytes_again_and_from_another_server_with_the_seed(address: str) -> None:
    first = post(address, asking(temperature=0.1))
    with Simulator(Settings(seed=7)) as other, Simulator(Settings(seed=8)) as third:
        assert post(address, asking(temperature=0.1)) == first == post(other.address, asking(temperature=0.1))
        assert post(third.address, asking(temperature=0.1)) != first
    assert post(address, asking(temperature=0.2)) != first


def test_answers_differ_each_time_where_a_model_s_would() -> None:
    with Simulator(Settings(varies=True)) as simulator:
        for parameters, different in (({}, 3), ({"temperature": 0.7}, 3), ({"temperature": 0}, 1), ({"seed": 5}, 1)):
            found = [post(simulator.address, asking(**parameters))[1]["result"]["response"] for _ in range(3)]
            assert len(set(found)) == different
            assert {text[:18] for text in found} == {found[0][:18]}


def test_answers_vary_in_length(address: str) -> None:
    lengths = {len(post(address, asking(f"question {number}"))[1]["result"]["response"]) for number in range(50)}
    assert len(lengths) > 25
    assert max(lengths) > 3 * min(lengths)


def test_the_prompt_is_counted_as_stated(address: str) -> None:
    messages = [{"role": "system", "content": "ü" * 5}, {"role": "user", "content": ""}]
    _, reply = post(address, {"model": SCOUT, "data": {"messages": messages}})
    assert reply["result"]["usage"]["prompt_tokens"] == 3 + 4 + 0 + 4


@pytest.mark.parametrize("max_tokens", [1, 7, 12])
def test_an_answer_cut_short_counts_exactly_max_tokens(address: str, max_tokens: int) -> None:
    _, reply = post(address, asking(max_tokens=max_tokens))
    assert reply["result"]["usage"]["completion_tokens"] == max_tokens
    assert len(reply["result"]["response"].encode()) <= 4 * max_tokens


def test_a_large_max_tokens_cuts_nothing(address: str) -> None:
    _, reply = post(address, asking(max_tokens=4_096))
    assert reply["result"]["usage"]["completion_tokens"] < 4_096
    assert reply["result"]["response"].endswith(".")


@pytest.mark.parametrize("name", MODELS)
def test_tool_calls_are_shown_by_the_noted_models_only(address: str, name: str) -> None:
    _, reply = post(address, asking(model=name))
    noted = {SCOUT, "google/gemma-3-12b-it", "qwen/qwen2.5-coder-32b-instruct"}
    assert reply["result"].get("tool_calls") == ([] if name in noted else None)


@pytest.mark.parametrize("name", ["qwen/qwq-32b", "deepseek-ai/deepseek-r1-distill-qwen-32b"])
def test_reasoning_models_close_a_thought_they_never_opened(address: str, name: str) -> None:
    _, reply = post(address, asking(model=name))
    assert reply["result"]["response"].count("</think>") == 1
    assert "<think>" not in reply["result"]["response"]


def test_the_guard_says_safe_or_unsafe(address: str) -> None:
    replies = [post(address, asking(str(n), "meta/llama-guard-3-8b"))[1]["result"]["response"] for n in range(30)]
    assert "\n\nsafe" in replies
    assert any(reply.startswith("\n\nunsafe\nS") for reply in replies)


def test_openai_clients_get_the_same_answer_in_their_own_form(address: str) -> None:
    body = {"model": SCOUT, "messages": asking()["data"]["messages"], "max_tokens": 5}
    status, reply = post(address, body, "/v1/chat/completions")
    _, envelope = post(address, asking(max_tokens=5))
    choice = reply["choices"][0]
    assert status == 200
    assert choice["message"] == {"role": "assistant", "content": envelope["result"]["response"]}
    assert choice["finish_reason"] == "length"
    assert reply["usage"] == envelope["result"]["usage"]
    renamed = {**body, "max_completion_tokens": 5}
    del renamed["max_tokens"]
    assert post(address, renamed, "/v1/chat/completions") == (200, reply)


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer ", "Basic abc", "key", "Bearer a b"])
def test_a_key_of_no_form_is_refused(address: str, value: str | None) -> None:
    headers = {"Content-Type": "application/json"} | ({} if value is None else {"Authorization": value})
    status, reply = post(address, asking(), headers=headers)
    assert (status, reply["errors"][0]["code"], reply["success"]) == (401, 10000, False)


MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, 8001),
        (b"{", 400, 8001),
        (b"[]", 400, 8001),
        (b'{"model": NaN}', 400, 8001),
        (b"\xff{}", 400, 8001),
        (b"[" * 100_000, 400, 8001),
        ({}, 400, 5006),
        ({"model": SCOUT}, 400, 5006),
        ({"model": SCOUT, "data": [], "extra": 1}, 400, 5006),
        ({"model": SCOUT, "data": {"messages": MESSAGES}, "max_tokens": 1}, 400, 5006),
        ({"data": {"messages": MESSAGES}}, 400, 7003),
        (asking(model="meta/none"), 400, 5007),
        ({"model": SCOUT, "data": {}}, 400, 5006),
        ({"model": SCOUT, "data": {"messages": []}}, 400, 5006),
        ({"model": SCOUT, "data": {"messages": "Hello"}}, 400, 5006),
        ({"model": SCOUT, "data": {"messages": ["Hello"]}}, 400, 5006),
        ({"model": SCOUT, "data": {"messages": [{"role": "robot", "content": "Hello"}]}}, 400, 5006),
        ({"model": SCOUT, "data": {"messages": [{"role": ["user"], "content": "Hello"}]}}, 400, 5006),
        ({"model": SCOUT, "data": {"messages": [{"role": "user", "content": None}]}}, 400, 5006),
        ({"model": SCOUT, "data": {"messages": [{"role": "user", "content": [{"type": "audio"}]}]}}, 400, 5006),
        (asking("x" * 40_000, "meta/llama-3.1-8b-instruct"), 413, 5021),
    ],
)
def test_a_request_of_the_wrong_form_is_refused(address: str, body: Any, status: int, code: int) -> None:
    got, reply = post(address, body)
    assert (got, reply["errors"][0]["code"]) == (status, code)


def test_an_image_by_web_address_is_refused(address: str) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    status, reply = post(address, {"model": SCOUT, "data": {"messages": [{"role": "user", "content": [part]}]}})
    assert (status, reply["errors"][0]["code"]) == (400, 5006)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("max_tokens", True),
        ("max_tokens", None),
        ("max_tokens", "10"),
        ("temperature", -0.1),
        ("temperature", 5.1),
        ("top_p", 2.1),
        ("top_k", 0),
        ("top_k", 51),
        ("top_k", 40.0),
        ("seed", 0),
        ("seed", 10_000_000_000),
        ("repetition_penalty", 2.1),
        ("frequency_penalty", -1),
        ("presence_penalty", 3),
        ("max_new_tokens", 10),
        ("stream", True),
    ],
)
def test_a_parameter_that_is_unknown_or_out_of_range_is_refused_by_name(address: str, name: str, value: Any) -> None:
    status, reply = post(address, asking(**{name: value}))
    assert (status, reply["errors"][0]["code"]) == (400, 5006)
    assert name in reply["errors"][0]["message"]


def test_the_guard_takes_only_its_two_parameters(address: str) -> None:
    assert post(address, asking(model="meta/llama-guard-3-8b", max_tokens=8, temperature=0))[0] == 200
    assert post(address, asking(model="meta/llama-guard-3-8b", top_p=0.5))[0] == 400


def test_other_addresses_are_unknown_and_health_is_told(address: str) -> None:
    assert post(address, asking(), "/api/v2")[0] == 404
    connection = connect(address)
    for path, status in (("/health", 200), ("/api/v1", 405), ("/", 404)):
        connection.request("GET", path)
        reply = connection.getresponse()
        body = json.loads(reply.read())
        assert reply.status == status
        assert body["status"] == "ok" if status == 200 else body["errors"][0]["code"] == 7000
    connection.close()


def test_a_connection_serves_many_requests(address: str) -> None:
    connection = connect(address)
    for number in range(5):
        connection.request("POST", "/api/v1", json.dumps(asking(str(number))), HEADERS)
        link = connection.sock
        assert connection.getresponse().read()
        assert connection.sock is link is not None
    connection.close()


def test_a_chunked_request_is_read(address: str) -> None:
    connection = connect(address)
    body = json.dumps(asking()).encode()
    connection.request("POST", "/api/v1", iter([body[:10], body[10:]]), HEADERS, encode_chunked=True)
    assert json.loads(connection.getresponse().read()) == post(address, asking())[1]
    connection.close()


def test_a_prompt_of_many_megabytes_is_read_and_refused_for_its_size(address: str) -> None:
    assert post(address, asking("x" * 10_000_000))[0] == 413


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST /api/v1 HTTP/2.0\r\n\r\n", b"400"),
        (b"POST /api/v1 HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"POST /api/v1 HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST /api/v1 HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST /api/v1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"POST /api/v1 HTTP/1.1\r\nA: " + b"a" * 100_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_what_is_no_http_is_refused_and_the_connection_closed(address: str, data: bytes, status: bytes) -> None:
    try:
        reply = raw(address, data)
    except ConnectionResetError:  # closed with some of a large head unread
        return
    assert reply.startswith(b"HTTP/1.1 " + status)


def test_a_request_cut_short_gets_no_reply(address: str) -> None:
    assert raw(address, b"POST /api/v1 HTTP/1.1\r\nContent-Length: 50\r\n\r\n{}") == b""


def test_a_client_that_waits_for_100_continue_gets_it(address: str) -> None:
    reply = raw(address, b"GET /health HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_hundreds_of_connections_wait_side_by_side() -> None:
    with Simulator(Settings(latency_seconds=0.3)) as simulator, ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(lambda number: post(simulator.address, asking(str(number)))[0], range(200)))
    assert statuses == [200] * 200


def test_a_stopped_simulator_starts_again_and_stops_while_requests_wait() -> None:
    simulator = Simulator(Settings(latency_seconds=60))
    address = simulator.start()
    connection = connect(address)
    connection.request("POST", "/api/v1", json.dumps(asking()), HEADERS)
    while (
        json.loads(raw(address, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").partition(b"\r\n\r\n")[2])[
            "requests"
        ]
        == 0
    ):
        pass
    simulator.stop()
    with pytest.raises(OSError):
        connection.getresponse()
    connection.close()
    simulator.stop()
    assert simulator.start().startswith("http://127.0.0.1:")
    with pytest.raises(RuntimeError):
        simulator.start()
    simulator.stop()


def test_a_port_in_use_is_an_error_at_the_start(address: str) -> None:
    with pytest.raises(OSError):
        Simulator(Settings(port=int(address.rpartition(":")[2]))).start()


@pytest.mark.parametrize(
    "values",
    [
        {"latency_seconds": -1},
        {"latency_spread": float("nan")},
        {"fault_rate": 1.1},
        {"requests_per_minute": 0},
        {"port": 70_000},
    ],
)
def test_settings_out_of_range_are_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        Settings(**values)


def test_beyond_the_rate_a_429_says_when_a_place_is_free() -> None:
    with Simulator(Settings(requests_per_minute=3)) as simulator:
        connection = connect(simulator.address)
        replies = []
        for number in range(6):
            connection.request("POST", "/api/v1", json.dumps(asking(str(number))), HEADERS)
            reply = connection.getresponse()
            replies.append((reply.status, reply.headers["Retry-After"]))
            reply.read()
        connection.close()
    assert [status for status, _ in replies] == [200] * 3 + [429] * 3
    assert [retry_after for _, retry_after in replies] == [None] * 3 + ["60"] * 3


def test_a_fault_that_is_a_429_takes_no_place_in_the_rate() -> None:
    with Simulator(Settings(requests_per_minute=1)) as simulator:
        texts = ["[[fault: 429]]", "[[fault: out_of_capacity]]", "x", "y"]
        assert [post(simulator.address, asking(text))[0] for text in texts] == [429, 429, 200, 429]


def test_the_window_slides() -> None:
    window = RateWindow(2.9)
    assert [window.admit(now) for now in (0.0, 30.0, 59.0)] == [0.0, 0.0, 1.0]
    assert [window.admit(now) for now in (60.0, 60.0, 89.0, 90.0)] == [0.0, 30.0, 1.0, 0.0]


def test_less_than_one_request_a_minute_is_a_longer_window() -> None:
    window = RateWindow(0.5)
    assert [window.admit(now) for now in (0.0, 60.0, 120.0)] == [0.0, 60.0, 0.0]
