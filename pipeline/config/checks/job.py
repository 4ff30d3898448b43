"""What needs several keys, or the catalogue, to be judged."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.checks.addresses import check_observers
from pipeline.config.checks.credentials import check_endpoint
from pipeline.config.checks.expect import check_expect
from pipeline.config.checks.findings import Finding, path
from pipeline.config.checks.input import check_input
from pipeline.config.checks.limits import check_limits
from pipeline.config.checks.model import check_model
from pipeline.config.checks.pricing import check_pricing
from pipeline.config.checks.prompt import check_prompt
from pipeline.config.checks.request import check_additions
from pipeline.config.models import JobConfig


def check_variant(config: JobConfig) -> Iterator[Finding]:
    """Yield everything that is wrong with a variant of a job in which each single value is right."""
    yield from check_input(config)
    yield from check_prompt(config)
    yield from check_endpoint(config.endpoint)
    yield from check_additions(config)
    yield from check_expect(config)
    yield from check_observers(config)
    yield from check_model(config)
    yield from check_pricing(config)
    yield from check_limits(config)
    if config.simulator is not None and not config.endpoint.is_simulator:
        hint = "leave the section out, or set `endpoint.url: simulator`"
        yield Finding(path("simulator"), "the endpoint is not the simulator", hint, (path("endpoint.url"),))
