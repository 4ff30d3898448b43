"""What inference servers say of their load at `/metrics`, in Prometheus' text format.

Sources: vLLM, docs/usage/metrics.md (`vllm:num_requests_running`, `vllm:num_requests_waiting`); SGLang,
docs/references/production_metrics.md (`sglang:num_running_reqs`, `sglang:num_queue_reqs`); llama.cpp, tools/server
README.md (`llamacpp:requests_processing`, `llamacpp:requests_deferred`).
"""

from __future__ import annotations

import math
import re
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

_RUNNING = frozenset({"vllm:num_requests_running", "sglang:num_running_reqs", "llamacpp:requests_processing"})
_WAITING = frozenset({"vllm:num_requests_waiting", "sglang:num_queue_reqs", "llamacpp:requests_deferred"})
_SAMPLE = re.compile(r'([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?\s+(\S+)')
_API = re.compile(r"/v1(/.*)?$")


class Load(Struct, frozen=True):
    """How many requests a server works on, and how many wait for that, at a moment in monotonic seconds."""

    running: float
    waiting: float
    at: float


def metrics_url(url: str) -> str:
    """Return where the server of an endpoint's address has its metrics: beside `/v1`."""
    parts = urlsplit(url)
    path = _API.sub("", parts.path.rstrip("/"))
    return urlunsplit((parts.scheme, parts.netloc, f"{path}/metrics", "", ""))


def read_load(text: str, at: float) -> Load | None:
    """Return the load that metrics tell, summed over the models and engines of the server; None if they tell none."""
    running: list[float] = []
    waiting: list[float] = []
    for line in text.splitlines():
        if (sample := _SAMPLE.match(line)) is None:
            continue
        values = running if sample[1] in _RUNNING else waiting if sample[1] in _WAITING else None
        if values is not None and (value := _number(sample[2])) is not None:
            values.append(value)
    return Load(sum(running), sum(waiting), at) if running and waiting else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
