"""The wire form of a job's endpoint."""

from __future__ import annotations

from urllib.parse import urlencode

from pipeline.catalogue import Catalogue, built_in
from pipeline.config.models import EndpointConfig
from pipeline.providers import Endpoint, WireSettings


def make_endpoint(config: EndpointConfig, address: str | None = None, catalogue: Catalogue | None = None) -> Endpoint:
    """Return the wire form of a job's endpoint, at its first address.

    Args:
        config: the job's endpoint.
        address: that of the embedded endpoint, which takes the place of the job's `url`.
        catalogue: the models that are known; those that come with the program if not given.
    """
    embedded = None if address is None else address.rstrip("/") + config.provider.embedded_path
    return _endpoint(config, embedded or config.urls[0], built_in() if catalogue is None else catalogue)


def other_urls(config: EndpointConfig) -> tuple[str, ...]:
    """Return the full addresses of the servers beside the first one."""
    return tuple(_endpoint(config, url, built_in()).url for url in config.urls[1:])


def _endpoint(config: EndpointConfig, url: str, catalogue: Catalogue) -> Endpoint:
    model = catalogue.find(config.model)
    reasons_in_text = model is not None and model.reasons_in_text
    return config.provider.wire(
        WireSettings(
            f"{url}?{urlencode(config.query)}" if config.query else url,
            config.max_tokens_field,
            splits_reasoning=config.reasoning == "split" or (config.reasoning == "auto" and reasons_in_text),
            streams=config.stream,
        )
    )
