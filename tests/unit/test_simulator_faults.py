from __future__ import annotations

import email.utils
import json
import math
import re
import statistics
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse, IncompleteRead, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest

from pipeline.simulator import FAULTS, Settings, Simulator, chance
from pipeline.simulator.faults import TABLE

DOCUMENT = Path(__file__).parents[2] / "docs" / "simulator.md"
HEADERS = {"Authorization": "Bearer key", "Content-Type": "application/json"}
FORMS = ["/api/v1", "/v1/chat/completions"]


def request(address: str, text: str, path: str = "/api/v1", timeout: float = 10) -> tuple[HTTPConnection, HTTPResponse]:
    connection = HTTPConnection("127.0.0.1", int(address.rpartition(":")[2]), timeout=timeout)
    data = {"messages": [{"role": "user", "content": text}]}
    model = {"model": "openai/gpt-oss-120b"}
    try:
        connection.request(
            "POST", path, json.dumps({**model, "data": data} if path == "/api/v1" else {**model, **data}), HEADERS
        )
        return connection, connection.getresponse()
    except BaseException:
        connection.close()
        raise


def ask(address: str, text: str, path: str = "/api/v1") -> tuple[int, dict[str, str], bytes]:
    connection, reply = request(address, text, path)
    try:
        return reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.read()
    finally:
        connection.close()


def result(body: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(body)["result"]
    return value


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Simulator() as simulator:
        yield simulator.address


def test_the_document_holds_the_table_to_the_letter() -> None:
    found = re.findall(r"^\| `(\w+)` \| (.+) \| (yes)? ?\| (\d*) ?\|$", DOCUMENT.read_text(), re.MULTILINE)
    rows = [(fault.name, fault.description, "yes" if fault.is_billed else "", fault.weight) for fault in TABLE.values()]
    assert [(name, text, billed, int(weight or 0)) for name, text, billed, weight in found] == rows
    assert [name for name, *_ in found] == list(FAULTS)


STATUSES = {
    "429": (429, 3021),
    "429_seconds": (429, 3021),
    "429_date": (429, 3021),
    "429_huge": (429, 3021),
    "429_negative": (429, 3021),
    "429_nan": (429, 3021),
    "429_garbage": (429, 3021),
    "out_of_capacity": (429, 3040),
    "daily_quota": (429, 4006),
    "400": (400, 5006),
    "401": (401, 10000),
    "402": (402, None),
    "403": (403, 3023),
    "model_not_found": (404, 5007),
    "too_large": (413, 3006),
    "schema_not_supported": (400, 5025),
    "408": (408, 3007),
    "500": (500, 3043),
    "500_code_in_text": (500, None),
    "success_false": (200, 3043),
    "json_mode_not_met": (200, None),
}


@pytest.mark.parametrize("name", STATUSES)
def test_errors_have_their_status_and_code_in_both_forms(address: str, name: str) -> None:
    status, code = STATUSES[name]
    got, _, body = ask(address, f"[[fault: {name}]]")
    envelope = json.loads(body)
    assert (got, envelope["success"], envelope["errors"][0].get("code")) == (status, False, code)
    got, _, body = ask(address, f"[[fault: {name}]]", FORMS[1])
    assert (got, json.loads(body)["error"]["code"]) == (status, None if code is None else str(code))


@pytest.mark.parametrize(
    ("marker", "value"),
    [
        ("429", None),
        ("429 retry_after=17", "17"),
        ("500 retry_after=3", "3"),
        ("429_seconds", "1"),
        ("429_huge", "1000000000"),
        ("429_negative", "-5"),
        ("429_nan", "nan"),
        ("429_garbage", "soon"),
    ],
)
def test_retry_after_comes_in_every_form(address: str, marker: str, value: str | None) -> None:
    assert ask(address, f"[[fault: {marker}]]")[1].get("retry-after") == value


def test_retry_after_as_a_date_lies_ahead(address: str) -> None:
    date = ask(address, "[[fault: 429_date seconds=100]]")[1]["retry-after"]
    assert date.endswith(" GMT")
    assert 90 < email.utils.parsedate_to_datetime(date).timestamp() - time.time() < 101


PAGES = [name for name in FAULTS if name.isdigit() and int(name) in {503, 504, *range(520, 528), 530}]


@pytest.mark.parametrize("name", [*PAGES, "html_502", "challenge_403"])
def test_gateways_answer_in_html(address: str, name: str) -> None:
    status, headers, body = ask(address, f"[[fault: {name}]]")
    assert status == int(re.sub(r"\D", "", name))
    assert headers["content-type"].startswith("text/html")
    assert b"<html>" in body


def test_every_documented_gateway_status_has_a_fault() -> None:
    assert len(PAGES) == 2 + 8 + 1


def test_a_gateway_answers_in_sixteen_bytes_of_text(address: str) -> None:
    status, headers, body = ask(address, "[[fault: text_530]]")
    assert (status, len(body), headers["content-type"][:10]) == (530, 16, "text/plain")


def test_a_redirect_points_elsewhere(address: str) -> None:
    status, headers, _ = ask(address, "[[fault: redirect]]")
    assert (status, headers["location"]) == (302, "https://example.invalid/elsewhere")


@pytest.mark.parametrize(
    ("name", "response"),
    [
        ("empty_response", ""),
        ("null_response", None),
        ("object_response", {"answer": 4, "unit": "é"}),
        ("list_response", [1, "two", None]),
        ("number_response", 42),
        ("tool_calls_flat", None),
        ("tool_calls_wrapped", None),
    ],
)
def test_a_response_is_of_any_type_in_both_forms(address: str, name: str, response: object) -> None:
    assert result(ask(address, f"[[fault: {name}]]")[2])["response"] == response
    body = json.loads(ask(address, f"[[fault: {name}]]", FORMS[1])[2])
    assert body["choices"][0]["message"]["content"] == response


def test_tool_calls_come_flat_and_wrapped(address: str) -> None:
    assert result(ask(address, "[[fault: tool_calls_flat]]")[2])["tool_calls"][0]["name"] == "add"
    assert result(ask(address, "[[fault: tool_calls_wrapped]]")[2])["tool_calls"][0]["function"]["name"] == "add"


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("usage_missing", None),
        ("usage_zero", (0, 0)),
        ("usage_negative", (-30, -759)),
        ("usage_fractional", (30.5, 759.25)),
        ("usage_text", ("30", "759")),
        ("usage_absurd", (2**63, 10**30)),
    ],
)
def test_usage_is_unsound_beside_a_good_answer(address: str, name: str, usage: tuple[object, object] | None) -> None:
    made = result(ask(address, f"[[fault: {name}]]")[2])
    told = made.get("usage")
    assert made["response"].startswith("[")
    assert (told and (told["prompt_tokens"], told["completion_tokens"])) == usage


@pytest.mark.parametrize("path", FORMS)
def test_http_200_comes_without_a_usable_result(address: str, path: str) -> None:
    bodies = {}
    for name in ("bad_json", "empty_body", "result_null", "deep_json", "success_false_billed"):
        status, _, bodies[name] = ask(address, f"[[fault: {name}]]", path)
        assert status == 200
    with pytest.raises(ValueError):
        json.loads(bodies["bad_json"])
    assert bodies["empty_body"] == b""
    assert not json.loads(bodies["result_null"]).get("result")
    assert not json.loads(bodies["result_null"]).get("choices")
    assert bodies["deep_json"].startswith(b"[" * 1_200)
    assert b'"usage": {"completion_tokens": ' in bodies["success_false_billed"]


def test_the_charset_is_wrong_in_the_header_or_in_the_body(address: str) -> None:
    _, headers, body = ask(address, "[[fault: wrong_charset]]")
    assert headers["content-type"] == "application/json; charset=iso-8859-1"
    assert result(body)["response"].endswith("Grüße, 漢字")
    with pytest.raises(UnicodeDecodeError):
        ask(address, "[[fault: invalid_utf8]]")[2].decode()


def test_a_hostile_response_has_markup_escapes_and_a_formula(address: str) -> None:
    response = result(ask(address, "[[fault: hostile_response]]")[2])["response"]
    assert all(piece in response for piece in ("<script>", "\x1b[2J", "\r=HYPERLINK"))


def test_a_reset_comes_before_the_reply(address: str) -> None:
    with pytest.raises(ConnectionResetError):
        ask(address, "[[fault: reset_before]]")


@pytest.mark.parametrize(
    ("name", "error"),
    [("reset_amid", ConnectionResetError), ("truncated", IncompleteRead), ("truncated_chunked", IncompleteRead)],
)
def test_a_reply_breaks_off_amid_its_body(address: str, name: str, error: type[Exception]) -> None:
    connection, reply = request(address, f"[[fault: {name}]]")
    assert reply.status == 200
    with pytest.raises(error):
        reply.read()
    connection.close()


def test_a_hang_sends_nothing(address: str) -> None:
    with pytest.raises(TimeoutError):
        request(address, "[[fault: hang]]", timeout=0.2)


def test_a_drip_comes_byte_by_byte_and_whole(address: str) -> None:
    connection, reply = request(address, "[[fault: slow_drip seconds=0.0002]]")
    first = reply.read1(65_536)
    assert len(first) < 100
    assert result(first + reply.read())["response"].startswith("[")
    connection.close()


def test_a_drip_takes_a_second_for_each_byte_unless_told(address: str) -> None:
    connection, reply = request(address, "[[fault: slow_drip]]", timeout=0.2)
    with pytest.raises(TimeoutError):
        reply.read(2)
    connection.close()


def test_an_endless_body_has_no_end(address: str) -> None:
    connection, reply = request(address, "[[fault: endless]]")
    assert len(reply.read(20_000_000)) == 20_000_000
    connection.close()


def test_a_gzip_bomb_is_small_on_the_wire_and_has_no_end(address: str) -> None:
    connection, reply = request(address, "[[fault: gzip_bomb]]")
    assert reply.headers["Content-Encoding"] == "gzip"
    data = reply.read(100_000)
    size = 0
    while data:
        member = zlib.decompressobj(31)
        size += len(member.decompress(data))
        data = member.unused_data
    assert size > 64 * 1024 * 1024
    connection.close()


def test_other_requests_are_served_beside_the_endless_ones(address: str) -> None:
    slow = [request(address, f"[[fault: {name}]]")[0] for name in ("endless", "gzip_bomb", "slow_drip")]
    assert ask(address, "quick")[0] == 200
    for connection in slow:
        connection.close()


def test_a_marker_with_a_count_holds_for_the_first_askings_of_its_prompt(address: str) -> None:
    assert [ask(address, "one [[fault: 500 x2]]")[0] for _ in range(4)] == [500, 500, 200, 200]
    assert [ask(address, "two [[fault: 500 retry_after=1 x1]]")[0] for _ in range(2)] == [500, 200]
    assert [ask(address, "three [[fault: 500]]")[0] for _ in range(3)] == [500] * 3


@pytest.mark.parametrize(
    "marker", ["[[fault: nonsense]]", "[[fault: 500 x]]", "[[fault:]]", "[[fault: 500 seconds=soon]]", "[[fault: 500"]
)
def test_a_marker_that_cannot_be_followed_is_refused(address: str, marker: str) -> None:
    status, _, body = ask(address, marker)
    assert (status, json.loads(body)["errors"][0]["code"]) == (400, 5006)


def outcomes(settings: Settings, askings: list[str]) -> list[str]:
    found = []
    with Simulator(settings) as simulator:
        for text in askings:
            try:
                status, _, body = ask(simulator.address, text)
                found.append(f"{status} {body[:80]!r}")
            except (ConnectionResetError, RemoteDisconnected, IncompleteRead) as error:
                found.append(type(error).__name__)
    return found


def test_two_servers_with_one_seed_agree_on_every_fault_in_any_order() -> None:
    settings = Settings(fault_rate=0.5, seed=3)
    texts = [f"prompt {number}" for number in range(40)] * 2
    forward = outcomes(settings, texts)
    assert outcomes(settings, texts) == forward
    backward = outcomes(settings, texts[::-1])
    assert Counter(backward) == Counter(forward)
    assert outcomes(Settings(fault_rate=0.5, seed=4), texts) != forward


def test_a_retry_can_succeed() -> None:
    with Simulator(Settings(fault_rate=0.5, seed=1)) as simulator:
        for _ in range(30):
            try:
                body = ask(simulator.address, "again")[2]
            except (ConnectionError, IncompleteRead):
                continue
            if b'"success": true' in body and b'"response"' in body:
                return
    pytest.fail("thirty askings, all of them with a fault")


def test_faults_by_chance_come_at_their_rate_and_in_their_shares() -> None:
    draws = [chance.draw(5, f"{number:016x}", 0) for number in range(20_000)]
    found = Counter(fault.name for drawn in draws if (fault := chance.fault_by_chance(drawn, 0.25)))
    weights = {fault.name: fault.weight for fault in TABLE.values() if fault.weight}
    assert found.total() == pytest.approx(5_000, abs=5 * math.sqrt(20_000 * 0.25 * 0.75))
    assert set(found) == set(weights)
    for name, weight in weights.items():
        expected = found.total() * weight / sum(weights.values())
        assert found[name] == pytest.approx(expected, abs=5 * math.sqrt(expected))


def test_no_rate_brings_no_fault_and_a_rate_of_one_always() -> None:
    draws = [chance.draw(0, f"{number:016x}", 0) for number in range(1_000)]
    assert not any(chance.fault_by_chance(drawn, 0.0) for drawn in draws)
    assert all(chance.fault_by_chance(drawn, 1.0) for drawn in draws)


def test_latency_is_log_normal_with_the_stated_mean() -> None:
    draws = [chance.draw(1, f"{number:016x}", 0) for number in range(20_000)]
    seconds = [chance.latency(drawn, 0.2, 0.5) for drawn in draws]
    assert statistics.fmean(seconds) == pytest.approx(0.2, rel=0.03)
    assert statistics.stdev(map(math.log, seconds)) == pytest.approx(0.5, rel=0.03)
    assert chance.latency(draws[0], 0.2, 0.0) == 0.2
    assert chance.latency(draws[0], 0.0, 0.5) == 0.0


def test_an_answer_waits_for_its_latency_and_an_unbilled_error_does_not() -> None:
    with Simulator(Settings(latency_seconds=0.3)) as simulator:
        seconds = {}
        for text in ("x", "[[fault: 504]]", "[[fault: 500]]"):
            start = time.monotonic()
            ask(simulator.address, text)
            seconds[text] = time.monotonic() - start
    assert seconds["x"] >= 0.3
    assert seconds["[[fault: 504]]"] >= 0.3
    assert seconds["[[fault: 500]]"] < 0.3
