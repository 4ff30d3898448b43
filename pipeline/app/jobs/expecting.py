"""From `expect` of a job to the check of its answers, and to what the endpoint is sent about it."""

from __future__ import annotations

from functools import partial
from typing import Any

from pipeline.config import JobConfig
from pipeline.errors import Mistake
from pipeline.expect import Expected, Form, SchemaFault, Telling, forms, load_schema
from pipeline.expect.expectation import ChoiceExpectation, Expectation, PatternExpectation, SchemaExpectation
from pipeline.prompts.parameters import moved_seed
from pipeline.records import JsonObject


def expected_of(config: JobConfig) -> tuple[Expected | None, list[Mistake]]:
    """Return what a job expects of its answers, None where nothing or where it cannot be told; and what is wrong."""
    expect = config.expect
    if expect is None:
        return None, []
    expectation: Expectation
    schema: JsonObject | None = None
    if expect.json_schema is not None:
        try:
            schema = load_schema(expect.json_schema)
        except SchemaFault as fault:
            return None, [Mistake(str(fault), key="expect.json_schema", suggestion="correct the schema")]
        said: Any = schema
        expectation, paragraph = SchemaExpectation(schema), forms.schema_paragraph(schema)
    elif expect.choices is not None:
        said = list(expect.choices)
        schema = {"type": "string", "enum": said}
        expectation, paragraph = ChoiceExpectation(said), forms.choices_paragraph(said)
    elif expect.regex is not None:
        said = expect.regex
        expectation, paragraph = PatternExpectation(said), forms.pattern_paragraph(said)
    else:
        return None, []
    telling = _telling(config, schema, paragraph)
    kind = "json_schema" if expect.json_schema is not None else "choices" if expect.choices is not None else "regex"
    facts = {kind: said, "send": telling.form.value, "attempts": expect.attempts, "feedback": expect.feedback}
    seeds = partial(moved_seed, steps=0, allowed=config.endpoint.provider.parameters["seed"])
    return Expected(expectation, telling, expect.attempts, expect.feedback, seeds, facts), []


def _telling(config: JobConfig, schema: JsonObject | None, paragraph: str) -> Telling:
    assert config.expect is not None
    provider, send = config.endpoint.provider, config.expect.send
    is_auto = send == "auto" and not config.input.has_bodies
    if config.input.has_bodies:
        send = "none"
    elif is_auto:
        model = config.model_facts
        takes_schemas = provider.always_takes_schemas or (model is not None and model.takes_schemas)
        send = "response_format" if schema is not None and takes_schemas else "prompt"
    form = Form(send)
    if form is not Form.RESPONSE_FORMAT or schema is None or provider.schema_form is None:
        return Telling(form, paragraph, may_fall_back=is_auto)
    return Telling(form, paragraph, provider.schema_form(schema), may_fall_back=is_auto)
