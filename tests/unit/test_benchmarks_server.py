"""The endpoint of the benchmarks (benchmarks/server.c), built and asked over a real socket."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.inputs import answer, text
from benchmarks.latencies import lognormal
from benchmarks.limits import socket_loop
from benchmarks.server import PATHS, Server

REPOSITORY = Path(__file__).resolve().parents[2]
COMPILER = shutil.which("cc")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("no C compiler: cc is not here")
    executable = tmp_path_factory.mktemp("server") / "server"
    source = REPOSITORY / "benchmarks" / "server.c"
    subprocess.run([COMPILER, "-O1", "-Wall", "-Wextra", "-Werror", "-o", executable, source, "-lm"], check=True)
    return executable


@pytest.fixture
def server(built: Path) -> Iterator[Server]:
    with Server(built) as running:
        yield running


def connect(server: Server) -> http.client.HTTPConnection:
    parts = urlsplit(server.address)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)


def post(connection: http.client.HTTPConnection, path: str, prompt: str) -> Any:
    body = json.dumps({"messages": [{"role": "user", "content": prompt}]})
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    assert reply.status == 200
    return json.load(reply)


def test_both_envelopes_answer_with_the_marker_of_their_prompt(server: Server) -> None:
    connection = connect(server)
    dataoorts = post(connection, PATHS["dataoorts"], text(7, 100))
    openai = post(connection, PATHS["openai"], text(8, 100))
    connection.close()
    assert dataoorts["result"]["response"] == answer(7)
    assert openai["choices"][0]["message"]["content"] == answer(8)
    assert server.stats().connections <= 3  # the one above was kept; two more asked for the figures


def test_an_answer_beyond_what_the_kernel_buffers_comes_whole(server: Server) -> None:
    parts = urlsplit(server.address)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as client:
        body = json.dumps({"content": text(3, 100)}).encode()
        head = f"POST /bytes/20000000/api/v1 HTTP/1.1\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode()[:20])
        client.sendall(head.encode()[20:] + body)
        with client.makefile("rb") as file:
            _, _, received = file.read().partition(b"\r\n\r\n")
    assert json.loads(received)["result"]["response"] == answer(3, 20_000_000)


def test_latencies_are_those_that_can_be_computed_from_the_seed(server: Server) -> None:
    server.reset(seed=11)
    connection = connect(server)
    for row in range(20):
        post(connection, f"/lognormal/0.002/0.5{PATHS['openai']}", text(row, 50))
    connection.close()
    stats = server.stats()
    expected = [lognormal(11, request, 0.002, 0.5) for request in range(20)]
    assert stats.latency_total == pytest.approx(sum(expected), abs=1e-8)
    assert len(set(expected)) == 20
    assert stats.span >= sum(expected)


def test_requests_beyond_those_that_are_worked_on_at_once_wait(server: Server) -> None:
    connections = [connect(server) for _ in range(4)]
    for connection in connections:
        connection.request("POST", f"/at-once/2/fixed/0.3{PATHS['openai']}", json.dumps({"content": text(1, 50)}))
    for connection in connections:
        connection.getresponse().read()
        connection.close()
    stats = server.stats()
    assert stats.requests == 4
    assert stats.span >= 0.6


def test_requests_bodies_and_those_in_flight_are_counted_until_a_reset(server: Server) -> None:
    connections = [connect(server) for _ in range(3)]
    for connection in connections:
        body = json.dumps({"content": text(1, 50)})
        connection.request("POST", f"/fixed/0.3{PATHS['dataoorts']}", body)
    for connection in connections:
        connection.getresponse().read()
    post(connections[0], PATHS["dataoorts"], text(2, 50))
    stats = server.stats()
    assert (stats.requests, stats.unique, stats.in_flight_peak) == (4, 2, 3)
    assert stats.first is not None
    assert stats.span >= 0.3
    server.reset()
    stats = server.stats()
    assert (stats.requests, stats.unique, stats.first, stats.latency_total) == (0, 0, None, 0)
    for connection in connections:
        connection.close()


def test_an_unknown_path_and_a_body_without_length_are_refused(server: Server) -> None:
    parts = urlsplit(server.address)
    heads = {
        404: "POST /v2/answers HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        411: f"POST {PATHS['openai']} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    }
    for status, head in heads.items():
        with socket.create_connection((parts.hostname, parts.port), timeout=30) as client:
            client.sendall(head.encode())
            with client.makefile("rb") as file:
                assert file.read().startswith(f"HTTP/1.1 {status} ".encode())


def test_the_raw_socket_loop_sends_every_request_once(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"prompt": [text(row, 80) for row in range(200)]}), tmp_path / "prompts.parquet")
    server.reset()
    socket_loop.main(str(tmp_path / "prompts.parquet"), server.url("dataoorts"), "m", "16")
    assert (server.stats().requests, server.stats().unique) == (200, 200)
    assert json.loads(capsys.readouterr().out)["requests_per_second"] > 0


def test_a_missing_compiler_is_named(tmp_path: Path) -> None:
    target = tmp_path / "server"
    words = ["make", "--no-print-directory", "CC=no-such-compiler", f"mock_server={target}", str(target)]
    made = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert made.returncode != 0
    assert "need a C compiler; no-such-compiler is not here" in made.stderr
