"""Whether the model is known, and takes the parameters of the job."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.checks.findings import Finding, path
from pipeline.config.checks.pricing import has_price
from pipeline.config.models import JobConfig, ParametersConfig
from pipeline.providers import ParameterRange, kinds
from pipeline.suggest import did_you_mean, nearest
from pipeline.wording import listed

_MODEL, _KIND, _PRICING = path("endpoint.model"), path("endpoint.kind"), path("pricing")
_CATALOGUE = path("catalogue")


def check_model(config: JobConfig) -> Iterator[Finding]:
    """Yield what is wrong with the name of the model, and with its parameters."""
    yield from _check_parameters(config)
    name, provider = config.endpoint.model, config.endpoint.provider
    if not provider.lists_models or has_price(config):
        return
    # Names are often written without their maker; too little is left then to resemble the full name.
    names = config.known_models.names
    endings = {known.rpartition("/")[2]: known for known in names}
    near = nearest(name, names) or [endings[one] for one in nearest(name.rpartition("/")[2], endings)]
    hint = did_you_mean([f"`{one}`" for one in near]) or "`pipeline models` lists what it has."
    hint += (
        f" A model of another server needs {kinds(lambda one: not one.lists_models, 'endpoint.kind')} and its"
        f" `endpoint.url`; for one that {provider.title} has and this list lacks, give its prices under `pricing:`"
    )
    yield Finding(_MODEL, "the catalogue has no such model", hint, (_KIND, _PRICING, _CATALOGUE))


def _check_parameters(config: JobConfig) -> Iterator[Finding]:
    endpoint = config.endpoint
    model = config.model_facts
    ranges = endpoint.provider.ranges(model)
    for name in ParametersConfig.model_fields:
        value = getattr(config.parameters, name)
        if value is None:
            continue
        allowed = ranges.get(name)
        if allowed is None:
            takes = f"the model takes {listed(list(ranges))}"
            if name not in endpoint.provider.parameters:
                takes = f"only servers of {_kinds_that_take(name)} may know it"
            hint = f"leave it out; {takes}"
            yield Finding(
                ("parameters", name), f"{endpoint.model} takes no `{name}`", hint, (_MODEL, _KIND, _CATALOGUE)
            )
        elif isinstance(allowed, ParameterRange) and isinstance(value, int | float) and not allowed.holds(value):
            whose = f"for {endpoint.model}" if model else f"for `kind: {endpoint.kind}`"
            message = f"{value:,} is out of range; {whose} it is {allowed}"
            yield Finding(("parameters", name), message, f"use {allowed}", (_MODEL, _KIND, _CATALOGUE))


def _kinds_that_take(parameter: str) -> str:
    return kinds(lambda provider: parameter in provider.parameters)
