"""The endpoint that a job names, as a run reaches it: where it is, the embedded one included, and with what headers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pipeline.config import AuthConfig, EndpointConfig, Job, api_key, variants
from pipeline.config.wire import make_endpoint, other_urls
from pipeline.engines import most_in_flight
from pipeline.engines.sender_config import SenderConfig
from pipeline.errors import InvalidInput
from pipeline.providers.gauges import Load
from pipeline.version import __version__

"""What an engine is made for. How many are in flight is the runner's to say, and `pipeline control` may raise it."""


def sender_config(job: Job, address: str | None, environ: Mapping[str, str]) -> SenderConfig:
    """Return the sender's settings for the job's endpoint. `address` is the embedded one's, whose key is no secret."""
    config = job.config
    key = "simulator" if address else api_key(config.endpoint, environ)
    headers = _request_headers(config.endpoint, key, address)
    return SenderConfig(
        make_endpoint(config.endpoint, address, config.known_models),
        headers,
        None if address else key,
        most_in_flight(config.endpoint),
        config.limits.timeout_seconds,
        config.endpoint.transport == "standard",
        tuple((config.endpoint.headers or {}).values()),
        math.inf if config.limits.idle_seconds is None else config.limits.idle_seconds,
        () if address else other_urls(config.endpoint),
        {
            endpoint.model: make_endpoint(endpoint, address, config.known_models)
            for endpoint in (variant.config.endpoint for variant in variants(config)[1:])
        },
        config.output.raw_reply,
    )


def _request_headers(endpoint: EndpointConfig, key: str | None, address: str | None) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": f"llm-batch-pipeline/{__version__}",
    }
    auth = endpoint.auth if endpoint.auth is not None and address is None else AuthConfig()
    if key is not None:
        headers[auth.header] = f"{auth.prefix}{key}"
    return {**headers, **(endpoint.headers or {})}


@contextmanager
def reading_load(urls: Sequence[str], *, is_told: bool) -> Iterator[Callable[[], Load | None]]:
    """Follow what servers tell of their load, where `is_told` says that they do and that it is needed."""
    if not is_told:
        yield lambda: None
        return
    from pipeline.engines.gauges import Gauges

    with Gauges(urls).reading() as gauges:
        yield gauges.latest


@contextmanager
def endpoint_address(job: Job) -> Iterator[str | None]:
    """Run the embedded endpoint and give its address; None if the job names another endpoint."""
    if not job.config.endpoint.is_simulator:
        yield None
        return
    from pipeline.simulator import Settings, Simulator

    found = job.config.simulator
    simulator = Simulator(Settings() if found is None else Settings(**found.model_dump(exclude_none=True)))
    try:
        address = simulator.start()
    except OSError as error:
        raise InvalidInput(f"simulator: the embedded endpoint cannot start: {error}") from error
    try:
        yield address
    finally:
        simulator.stop()
