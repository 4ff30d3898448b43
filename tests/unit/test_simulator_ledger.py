from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from pipeline import catalogue
from pipeline.providers import PROVIDERS, ParameterRange
from pipeline.simulator import Exchange, Settings, Simulator, prompt_digest, read_ledger
from pipeline.simulator.faults import TABLE
from pipeline.simulator.ledger import Ledger
from pipeline.simulator.models import GUARD_PARAMETERS, MODELS, PARAMETERS

SCOUT = "meta/llama-4-scout-17b-16e-instruct"
SECRET = "very-secret-key"
ROOT = Path(__file__).parents[2]
SERVE = """
import sys
from pipeline.simulator import Settings, serve
serve(Settings(ledger=sys.argv[1], latency_seconds=float(sys.argv[2])), lambda address: print(address, flush=True))
"""


def ask(address: str, text: str, *, model: str = SCOUT, timeout: float = 10, **parameters: Any) -> bytes | None:
    """The body; None where the reply did not come whole."""
    connection = HTTPConnection("127.0.0.1", int(address.rpartition(":")[2]), timeout=timeout)
    headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
    body = {"model": model, "data": {"messages": [{"role": "user", "content": text}], **parameters}}
    try:
        connection.request("POST", "/api/v1", json.dumps(body), headers)
        return connection.getresponse().read()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def billed(exchange: Exchange) -> dict[str, Any]:
    assert exchange.answered is not None
    return exchange.answered


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ledger.jsonl"


def start_process(path: Path, latency: float = 0.0) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(path), str(latency)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen[str], number: int) -> int:
    process.send_signal(number)
    status = process.wait(10)
    assert process.stdout is not None
    process.stdout.close()
    return status


def test_an_answer_is_recorded_as_asked_and_as_billed(path: Path) -> None:
    with Simulator(Settings(ledger=str(path))) as simulator:
        before = time.time()
        body = ask(simulator.address, "Hello", temperature=0.5, max_tokens=100)
    assert body is not None
    result = json.loads(body)["result"]
    (exchange,) = read_ledger(path)
    asked, answered = exchange.asked, billed(exchange)
    assert asked["path"] == "/api/v1"
    assert asked["model"] == SCOUT
    assert asked["prompt"] == prompt_digest([{"role": "user", "content": "Hello"}])
    assert asked["parameters"] == {"temperature": 0.5, "max_tokens": 100}
    assert asked["key_present"] is True
    assert before <= asked["at"] <= answered["at"] <= time.time()
    assert (answered["status"], answered["fault"], answered["delivered"]) == (200, None, True)
    assert answered["usage"] == result["usage"]
    assert answered["response"] == result["response"]
    assert answered["billed_prompt_tokens"] == result["usage"]["prompt_tokens"]
    assert answered["billed_completion_tokens"] == result["usage"]["completion_tokens"]


@pytest.mark.parametrize("name", MODELS)
def test_the_cost_is_exact_for_every_model(path: Path, name: str) -> None:
    with Simulator(Settings(ledger=str(path))) as simulator:
        ask(simulator.address, "Hello", model=name)
    (exchange,) = read_ledger(path)
    answered = billed(exchange)
    micros = (
        answered["billed_prompt_tokens"] * MODELS[name].input_usd
        + answered["billed_completion_tokens"] * MODELS[name].output_usd
    )
    assert Decimal(answered["cost_usd"]) * 1_000_000 == micros > 0
    assert re.fullmatch(r"0\.\d+", answered["cost_usd"])


def test_two_transcriptions_of_the_models_agree() -> None:
    """The catalogue and the simulator were written apart from one document: a slip in either shows here."""
    found = {model.name: model for model in catalogue.built_in().models}
    assert set(found) == set(MODELS)
    for name, ours in MODELS.items():
        theirs = found[name]
        assert (theirs.input_usd_per_million, theirs.output_usd_per_million) == (ours.input_usd, ours.output_usd)
        assert theirs.context_window == ours.window
        ranges = GUARD_PARAMETERS if ours.is_guard else PARAMETERS
        assert {
            parameter: (bounds.minimum, bounds.maximum, bounds.integer)
            for parameter, bounds in PROVIDERS["dataoorts"].ranges(theirs).items()
            if isinstance(bounds, ParameterRange)
        } == {parameter: (bounds.low, bounds.high, bounds.integer) for parameter, bounds in ranges.items()}


def test_the_prices_are_the_published_ones() -> None:
    assert MODELS[SCOUT].cost(1_000_000, 1_000_000) == Decimal("0.66")
    assert MODELS["openai/gpt-oss-120b"].cost(10, 1) == Decimal("0.00000345")


def test_the_key_stands_nowhere(path: Path) -> None:
    with Simulator(Settings(ledger=str(path))) as simulator:
        ask(simulator.address, "Hello")
        ask(simulator.address, "Hello", nonsense=1)
    assert SECRET not in path.read_text()


def test_a_refused_request_is_recorded_and_free(path: Path) -> None:
    with Simulator(Settings(ledger=str(path), requests_per_minute=1)) as simulator:
        ask(simulator.address, "Hello", nonsense=1)
        ask(simulator.address, "Hello")
        ask(simulator.address, "Hello")
    refused, first, second = map(billed, read_ledger(path))
    assert [refused["status"], first["status"], second["status"]] == [400, 200, 429]
    assert refused["cost_usd"] == second["cost_usd"] == "0"
    assert read_ledger(path)[0].asked["prompt"] is None


LASTING = ("slow_drip", "endless", "gzip_bomb", "hang")


@pytest.mark.parametrize("name", [name for name in TABLE if name not in LASTING])
def test_a_fault_is_named_and_billed_as_its_table_says(path: Path, name: str) -> None:
    with Simulator(Settings(ledger=str(path))) as simulator:
        body = ask(simulator.address, f"Hello [[fault: {name}]]")
    (exchange,) = read_ledger(path)
    answered = billed(exchange)
    assert answered["fault"] == name
    assert (Decimal(answered["cost_usd"]) > 0) is TABLE[name].is_billed
    assert (answered["billed_completion_tokens"] > 0) is TABLE[name].is_billed
    assert answered["delivered"] is (body is not None)
    told = None
    if body is not None and answered["status"] == 200 and body.startswith(b"{"):
        try:
            told = (json.loads(body.decode("utf-8", "replace"))["result"] or {}).get("usage")
        except ValueError:
            told = None
    assert answered["usage"] == told


@pytest.mark.parametrize("name", LASTING)
def test_a_reply_the_client_does_not_wait_for_is_undelivered(path: Path, name: str) -> None:
    with Simulator(Settings(ledger=str(path))) as simulator:
        connection = HTTPConnection("127.0.0.1", int(simulator.address.rpartition(":")[2]), timeout=10)
        body = {"model": SCOUT, "data": {"messages": [{"role": "user", "content": f"[[fault: {name} seconds=0.05]]"}]}}
        headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1", json.dumps(body), headers)
        wait_for(lambda: any(exchange.answered for exchange in read_ledger(path)))
        connection.close()
        wait_for(lambda: not billed(read_ledger(path)[0])["delivered"])


def test_an_answer_made_for_a_client_that_left_is_billed_and_undelivered(path: Path) -> None:
    with Simulator(Settings(ledger=str(path), latency_seconds=0.3)) as simulator:
        assert ask(simulator.address, "Hello", timeout=0.1) is None
        wait_for(lambda: read_ledger(path)[0].answered is not None)
    answered = billed(read_ledger(path)[0])
    assert answered["delivered"] is False
    assert Decimal(answered["cost_usd"]) > 0
    assert "undelivered" not in path.read_text().replace('"delivered"', "")  # known before sending, so not taken back


def test_the_sum_of_the_bills_is_what_the_clients_were_told(path: Path) -> None:
    with Simulator(Settings(ledger=str(path))) as simulator, ThreadPoolExecutor(16) as pool:
        bodies = list(pool.map(lambda number: ask(simulator.address, f"question {number}"), range(200)))
    usages = [json.loads(body)["result"]["usage"] for body in bodies if body is not None]
    told = sum(MODELS[SCOUT].cost(usage["prompt_tokens"], usage["completion_tokens"]) for usage in usages)
    exchanges = read_ledger(path)
    assert len(usages) == len(exchanges) == len({exchange.asked["n"] for exchange in exchanges}) == 200
    assert sum(Decimal(billed(exchange)["cost_usd"]) for exchange in exchanges) == told


def test_a_continued_ledger_remembers_how_often_a_prompt_was_asked(path: Path) -> None:
    settings = Settings(ledger=str(path), requests_per_minute=2)
    with Simulator(settings) as simulator:
        for _ in range(4):  # the last two are refused for the rate, and so no askings
            ask(simulator.address, "Hello [[fault: 500 x3]]")
    with Simulator(settings) as simulator:
        for _ in range(2):
            ask(simulator.address, "Hello [[fault: 500 x3]]")
    assert [billed(exchange)["status"] for exchange in read_ledger(path)] == [500, 500, 429, 429, 500, 200]


def test_faults_by_chance_go_on_where_they_were(path: Path, tmp_path: Path) -> None:
    def run(ledger: Path, count: int) -> None:
        with Simulator(Settings(ledger=str(ledger), fault_rate=0.5, seed=2)) as simulator:
            for _ in range(count):
                ask(simulator.address, "Hello")

    run(path, 12)
    for _ in range(4):
        run(tmp_path / "parts.jsonl", 3)
    faults = [
        [billed(exchange)["fault"] for exchange in read_ledger(file)] for file in (path, tmp_path / "parts.jsonl")
    ]
    assert faults[0] == faults[1]
    assert len(set(faults[0])) > 2


def test_a_torn_last_line_is_passed_over_and_closed_off(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"event":"asked","server":"1-a","n":1,"pro')
    with Simulator(Settings(ledger=str(path))) as simulator:
        ask(simulator.address, "Hello")
    assert len(read_ledger(path)) == 1
    assert len(path.read_text().splitlines()) == 3


def test_a_ledger_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        Simulator(Settings(ledger=str(tmp_path))).start()


def test_two_servers_share_a_ledger(path: Path) -> None:
    settings = Settings(ledger=str(path))
    with Simulator(settings) as one, Simulator(settings) as other, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: ask((one, other)[n % 2].address, f"question {n}"), range(100)))
    exchanges = read_ledger(path)
    assert len(exchanges) == 100
    assert all(billed(exchange)["delivered"] for exchange in exchanges)
    assert len({exchange.asked["server"] for exchange in exchanges}) == 2


def test_a_kill_leaves_a_readable_ledger_with_what_was_in_flight(path: Path) -> None:
    process, address = start_process(path, latency=0.2)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(ask, address, f"question {number}", timeout=5) for number in range(400)]
        wait_for(lambda: sum(exchange.answered is not None for exchange in read_ledger(path)) > 20)
        assert end(process, signal.SIGKILL) == -signal.SIGKILL
        answers = [answer for future in futures if (answer := future.result())]
    for line in path.read_text().splitlines():
        json.loads(line)
    exchanges = read_ledger(path)
    recorded = {exchange.answered["response"] for exchange in exchanges if exchange.answered}
    assert {json.loads(answer)["result"]["response"] for answer in answers} <= recorded
    assert any(exchange.answered is None for exchange in exchanges)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_quietly(path: Path, number: int) -> None:
    process, address = start_process(path)
    assert ask(address, "Hello") is not None
    assert end(process, number) == 0
    assert len(read_ledger(path)) == 1


def test_the_simulator_imports_nothing_else_of_ours() -> None:
    program = "import sys, pipeline.simulator as s; print([m for m in sys.modules if m.startswith('pipeline.')])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    # The package itself imports its version, which is one line of text.
    assert {name.split(".")[1] for name in re.findall(r"'(.+?)'", done.stdout)} == {"simulator", "version"}


@pytest.mark.parametrize("text", ['{"id": 1}\n', '{"event": "login", "user": "a"}\n', "{"])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(text)
    if text == "{":  # what a full disk leaves of a first record
        Ledger(str(path)).close()
        return
    with pytest.raises(FileExistsError, match="it exists and is no ledger"):
        Ledger(str(path))
    assert path.read_text() == text
