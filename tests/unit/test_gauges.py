"""What servers say of their load at /metrics, and that a run hears of it without waiting for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from pipeline.engines.gauges import Gauges
from pipeline.providers.gauges import Load, metrics_url, read_load
from tests.support.web import WebServer

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="meta/llama {3}"} 60.0
vllm:num_requests_running{engine="1",model_name="meta/llama"} 4
vllm:num_requests_waiting{engine="0",model_name="meta/llama"} 7.0
vllm:num_requests_waiting{engine="1",model_name="meta/llama"} 0.0
vllm:num_requests_waiting_by_reason{reason="capacity"} 7.0
vllm:generation_tokens_total{model_name="meta/llama"} 1.2e+06
"""
SGLANG = 'sglang:num_running_reqs{model_name="m"} 162.0\nsglang:num_queue_reqs{model_name="m"} 2826.0\n'
LLAMA = "llamacpp:requests_processing 4\nllamacpp:requests_deferred 12\n"


@pytest.mark.parametrize(
    ("text", "load"),
    [(VLLM, (64.0, 7.0)), (SGLANG, (162.0, 2826.0)), (LLAMA, (4.0, 12.0))],
    ids=["vllm", "sglang", "llama"],
)
def test_the_load_is_summed_over_engines(text: str, load: tuple[float, float]) -> None:
    assert read_load(text, 5.0) == Load(*load, 5.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>404</html>",
        "vllm:num_requests_running 3\n",
        "vllm:num_requests_running NaN\nvllm:num_requests_waiting +Inf\n",
        "vllm:num_requests_running x\nvllm:num_requests_waiting -1\n",
        "my_vllm:num_requests_running 3\nmy_vllm:num_requests_waiting 3\n",
    ],
)
def test_what_tells_no_load_is_none(text: str) -> None:
    assert read_load(text, 5.0) is None


@pytest.mark.parametrize(
    ("url", "metrics"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/metrics"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/metrics"),
        ("https://host/team/v1/chat/completions?key=1", "https://host/team/metrics"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/metrics"),
    ],
)
def test_metrics_are_beside_the_api(url: str, metrics: str) -> None:
    assert metrics_url(url) == metrics


@contextmanager
def serving(status: int, text: str, asked: list[dict[str, str]], wait: float = 0.0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
            time.sleep(wait)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with WebServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)


def test_the_load_of_all_servers_is_read_without_the_key() -> None:
    asked: list[dict[str, str]] = []
    with (
        serving(200, VLLM, asked) as one,
        serving(200, LLAMA, asked) as other,
        Gauges([one, other]).reading() as gauges,
    ):
        wait_for(gauges.latest)
        load = gauges.latest()
    assert load is not None
    assert (load.running, load.waiting) == (68.0, 19.0)
    assert [request["path"] for request in asked[:2]] == ["/metrics", "/metrics"]
    assert all("authorization" not in request for request in asked)


def test_a_server_without_metrics_is_left_alone_after_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engines.gauges._SECONDS_A_LOOK", 0.01)
    asked: list[dict[str, str]] = []
    with serving(404, VLLM, asked) as url, Gauges([url]).reading() as gauges:
        wait_for(lambda: len(asked) > 3, 1.0)
        assert gauges.latest() is None
    assert len(asked) == 3


def test_a_server_that_says_nothing_holds_nobody_up() -> None:
    with serving(200, VLLM, [], wait=3.0) as url:
        begun = time.monotonic()
        with Gauges([url]).reading() as gauges:
            assert gauges.latest() is None
        assert time.monotonic() - begun < 1.0
