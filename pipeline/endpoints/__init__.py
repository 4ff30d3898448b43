"""What the endpoints' wire forms are: a request as JSON, a reply as one typed value. No network code."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from pipeline.endpoints.dataoorts import Dataoorts
from pipeline.endpoints.interface import Endpoint
from pipeline.endpoints.openai import OpenAI

if TYPE_CHECKING:  # a process that only sends does without the job file
    from pipeline.config.models import EndpointConfig

__all__ = ["Endpoint", "make_endpoint", "other_urls"]


def make_endpoint(config: EndpointConfig, address: str | None = None) -> Endpoint:
    """The endpoint of a job. `address` is the base of the embedded one and takes the place of the job's `url`."""
    from pipeline.catalogue import find_model  # not needed by a process that only sends

    model = find_model(config.model)
    splits = config.reasoning == "split" or (config.reasoning == "auto" and model is not None and model.reasons_in_text)
    query = _query(config)
    if config.kind == "openai":
        url = config.urls[0] if address is None else f"{address.rstrip('/')}/v1"
        return OpenAI(url + query, config.max_tokens_field, splits_reasoning=splits, streams=config.stream)
    url = config.urls[0] if address is None else f"{address.rstrip('/')}/api/v1"
    return Dataoorts(url + query, splits_reasoning=splits)


def other_urls(config: EndpointConfig) -> tuple[str, ...]:
    """The whole addresses of the servers beside the first one."""
    return tuple(OpenAI(url + _query(config)).url for url in config.urls[1:])


def _query(config: EndpointConfig) -> str:
    return f"?{urlencode(config.query)}" if config.query else ""
