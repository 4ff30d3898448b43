"""What needs several keys, or the catalogue, to be judged."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pipeline.config.checks.addresses import check_observers
from pipeline.config.checks.batch_input import check_batch_input
from pipeline.config.checks.credentials import check_endpoint
from pipeline.config.checks.expect import check_expect
from pipeline.config.checks.findings import Finding, path
from pipeline.config.checks.pricing import check_pricing, has_price
from pipeline.config.checks.request import check_additions
from pipeline.config.models import PROMPT_KEYS, InputConfig, JobConfig, OutputConfig, ParametersConfig
from pipeline.config.variants import check_sweep, moved, variants
from pipeline.providers import ParameterRange, kinds
from pipeline.suggest import did_you_mean, nearest
from pipeline.wording import listed

_MODEL, _KIND, _PRICING = path("endpoint.model"), path("endpoint.kind"), path("pricing")
_CATALOGUE = path("catalogue")


def check_job(config: JobConfig) -> Iterator[Finding]:
    """Yield everything that is wrong with a job in which each single value is right, in each of its variants."""
    yield from check_sweep(config)
    found = (moved(finding, variant) for variant in variants(config) for finding in _check_variant(variant.config))
    yield from dict.fromkeys(found)


def _check_variant(config: JobConfig) -> Iterator[Finding]:
    yield from _check_input(config.input)
    yield from check_batch_input(config)
    yield from _check_prompt(config)
    yield from check_endpoint(config.endpoint)
    yield from check_additions(config)
    yield from check_expect(config)
    yield from check_observers(config)
    yield from check_pricing(config)
    yield from _check_model(config)
    yield from _check_parameters(config)
    yield from _check_caps(config)
    yield from _check_tokens(config)
    yield from _check_shared(config)
    yield from _check_output(config)
    if config.simulator is not None and not config.endpoint.is_simulator:
        hint = "leave the section out, or set `endpoint.url: simulator`"
        yield Finding(path("simulator"), "the endpoint is not the simulator", hint, (path("endpoint.url"),))


def _check_input(section: InputConfig) -> Iterator[Finding]:
    columns = section.columns or ()
    for index, column in enumerate(columns):
        if column in columns[:index]:
            yield Finding(("input", "columns", index), "this column is listed already", "list it once")


def _check_prompt(config: JobConfig) -> Iterator[Finding]:
    if config.input.has_bodies:
        return
    if "prompt" not in config.model_fields_set:
        yield Finding(("prompt",), "required, but missing", 'add `prompt: {user: "{{ question }}"}`')
        return
    given = config.prompt.given
    others = tuple(("prompt", name) for name in PROMPT_KEYS)
    if not given:
        hint = 'add `user: "{{ question }}"`, or `column:` or `messages:` with the name of a column'
        yield Finding(("prompt",), f"one of {listed(PROMPT_KEYS, 'or')} is required", hint, others)
    for name in given[1:]:
        message = f"`{given[0]}` is set already; a prompt has one of {listed(PROMPT_KEYS, 'or')}"
        yield Finding(("prompt", name), message, "keep one of them", others)
    if config.prompt.examples is not None and config.prompt.messages is not None:
        hint = "put them into the messages, or leave one of the two out"
        message = "examples come before the user's message, and `messages` brings whole conversations"
        yield Finding(path("prompt.examples"), message, hint, (path("prompt.messages"),))
    if config.prompt.images is not None and config.prompt.messages is not None:
        hint = "put them into the messages, as parts of the type `image_url`"
        message = "`messages` brings whole conversations, with their images"
        yield Finding(path("prompt.images"), message, hint, (path("prompt.messages"),))
    if config.prompt.tools is not None and "tools" in (config.endpoint.extra_body or {}):
        hint = "keep one of the two"
        yield Finding(path("endpoint.extra_body.tools"), "`prompt.tools` is set already", hint, (path("prompt.tools"),))


def _check_model(config: JobConfig) -> Iterator[Finding]:
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


def _check_caps(config: JobConfig) -> Iterator[Finding]:
    # Where the model itself is unknown, that is said already.
    is_said = config.endpoint.provider.lists_models
    for name in ("max_cost_usd", "max_run_cost_usd"):
        if getattr(config.limits, name) is None:
            continue
        cap = ("limits", name)
        if config.parameters.max_tokens is None and not config.input.has_bodies:
            hint = "set `parameters.max_tokens`, so that requests in flight have a worst-case cost"
            yield Finding(cap, "a cap on cost needs `parameters.max_tokens`", hint, (path("parameters.max_tokens"),))
        if not has_price(config) and not is_said:
            own = "{input_usd_per_million: …, output_usd_per_million: …}"
            hint = f"add `pricing: {own}`"
            if config.sweep is not None:
                hint = f'add `pricing: {{by_model: {{"{config.endpoint.model}": {own}}}}}`'
            message = "a cap on cost needs the model's price, which the catalogue does not have"
            yield Finding(cap, message, hint, (_PRICING, _KIND, _CATALOGUE))


def _check_tokens(config: JobConfig) -> Iterator[Finding]:
    most, rate = config.parameters.max_tokens, config.limits.tokens_per_minute
    if isinstance(most, int) and rate is not None and most > rate:
        hint = f"lower it, or raise `limits.tokens_per_minute` to at least {most:,}"
        message = f"one answer may take more tokens than `limits.tokens_per_minute` allows, {rate:,g}"
        yield Finding(path("parameters.max_tokens"), message, hint, (path("limits.tokens_per_minute"),))


def _check_shared(config: JobConfig) -> Iterator[Finding]:
    limits = config.limits
    if limits.shared is not None and limits.requests_per_minute is None and limits.tokens_per_minute is None:
        rates = (path("limits.requests_per_minute"), path("limits.tokens_per_minute"))
        hint = "set `limits.requests_per_minute` or `limits.tokens_per_minute` to what all of them may send together"
        yield Finding(path("limits.shared"), "there is no rate that the jobs could share", hint, rates)


def _check_output(config: JobConfig) -> Iterator[Finding]:
    if os.path.normpath(config.output.path) in map(os.path.normpath, config.input.paths):
        hint = "write the answers to another file"
        yield Finding(path("output.path"), "this is the input", hint, (path("input.path"),))
    usual = OutputConfig.model_fields["rows_per_file"].default  # may stand in the file as any default
    if config.output.rows_per_file != usual and not config.output.is_directory:
        hint = "leave it out, or let `output.path` end in `/`, which makes it a directory of part files"
        message = "the output is one file, however many rows it has"
        yield Finding(path("output.rows_per_file"), message, hint, (path("output.path"),))
