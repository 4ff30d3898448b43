"""The job file as frozen models. Field names are the keys of the file; docs and JSON Schema are made from them.

What one value alone decides (type, range) stands here; what needs several keys or the catalogue is in `checks`.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from pipeline.config.scalars import FilledText, WrittenNumber, read_scalar

DATAOORTS_URL = "https://cloud.dataoorts.com/api/v1"
DATAOORTS_KEY_VARIABLE = "DATAOORTS_API_KEY"
SIMULATOR_URL = "simulator"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

PRICE_DECIMALS = 6
"""A price of this many decimals per million tokens gives costs that fit the 12 decimals of `cost_usd`."""


class _Section(BaseModel):
    """A mapping of the job file: no key but the fields, no value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        """Bring what YAML gives into the field's type where nothing is lost: lists, whole numbers, exact decimals.

        A section that may be left out may also be empty, as it is when all of its lines are commented out.
        """
        default = cls.model_fields[str(info.field_name)].default
        if value is None and isinstance(default, _Section):
            return default
        types = _types(cls.model_fields[str(info.field_name)].annotation)
        if isinstance(value, FilledText) and (str not in types or int in types):
            value = read_scalar(value.strip())
        if isinstance(value, list) and tuple in types:
            return tuple(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        if Decimal in types:
            return Decimal(value.text if isinstance(value, WrittenNumber) and math.isfinite(value) else repr(value))
        if float in types and isinstance(value, int):
            return _as_float(value)
        return value


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _types(annotation: Any) -> frozenset[Any]:
    """The plain types an annotation is made of; a literal counts as text."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _types(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return frozenset().union(*(_types(part) for part in get_args(annotation)))
    return frozenset({str if origin is Literal else origin or annotation})


def _check_path(path: str) -> str:
    if "\0" in path:
        raise PydanticCustomError("path", "a path cannot hold the character NUL")
    return path


def _check_written_path(path: str) -> str:
    if scheme := _SCHEME.match(path):
        raise PydanticCustomError(
            "path",
            "writing to {scheme}:// is not built yet",
            {"scheme": scheme[1], "suggestion": "give a path on this machine, and copy from there"},
        )
    return path


def _check_output_path(path: str) -> str:
    if path.endswith("/"):
        raise PydanticCustomError(
            "path",
            "an output of several files, in a directory, is not built yet",
            {"suggestion": "name one file, such as `data/out/answers.parquet`"},
        )
    if not path.endswith(".parquet") or path.rpartition("/")[2] == ".parquet":
        raise PydanticCustomError(
            "path",
            "the output is a Parquet file, whose name ends in .parquet",
            {"suggestion": "let it end in `.parquet`; `pipeline export` writes other formats"},
        )
    return path


def _check_metrics_path(path: str) -> str:
    if not path.endswith(".prom"):
        raise PydanticCustomError(
            "path", "node_exporter reads only files whose names end in .prom", {"suggestion": "let it end in `.prom`"}
        )
    return path


def _check_input_path(path: str) -> str:
    if scheme := _SCHEME.match(path):
        raise PydanticCustomError(
            "path",
            "reading from {scheme}:// is not built yet",
            {"scheme": scheme[1], "suggestion": "copy the files to this machine and name them here"},
        )
    return path


def _check_delimiter(delimiter: str) -> str:
    if delimiter in '"\r\n\0':
        raise PydanticCustomError(
            "delimiter",
            "a quote or a line end cannot part cells",
            {"suggestion": 'the usual ones are "," ";" and "\\t"'},
        )
    return delimiter


def _check_encoding(encoding: str) -> str:
    try:
        codecs.lookup(encoding)
        "a".encode(encoding)
    except (LookupError, ValueError):
        raise PydanticCustomError(
            "encoding",
            "not an encoding of text that Python knows",
            {"suggestion": "the usual ones are `utf-8`, `latin-1`, `cp1252` and `utf-16`"},
        ) from None
    return encoding


def _check_json(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _json_value(value) for key, value in values.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return _check_json(value)
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("json", "JSON has no infinite numbers and no NaN", {"suggestion": "write a number"})
    # Plain types: what is kept and sent must not depend on how the file writes them.
    return float(value) if isinstance(value, float) else str(value) if isinstance(value, str) else value


def _either(given: object) -> str:
    return COLUMN_TAG if isinstance(given, Mapping | ColumnReference) else NUMBER_TAG


def _text_or_column(given: object) -> str:
    if isinstance(given, tuple):
        return TEXTS_TAG
    return COLUMN_TAG if isinstance(given, Mapping | ColumnReference) else TEXT_TAG


def _number_or_word(given: object) -> str:
    return WORD_TAG if isinstance(given, str) else NUMBER_TAG


def _one_or_many(given: object) -> str:
    return MANY_TAG if isinstance(given, tuple) else ONE_TAG


# Blanks keep these words apart from any key where pydantic puts them into the place of an error.
NUMBER_TAG, COLUMN_TAG, WORD_TAG, ONE_TAG, MANY_TAG = "a number", "a column", "a word", "one path", "many paths"
TEXT_TAG, TEXTS_TAG = "a text", "many texts"
TAGS = frozenset({NUMBER_TAG, COLUMN_TAG, WORD_TAG, ONE_TAG, MANY_TAG, TEXT_TAG, TEXTS_TAG})


class ColumnReference(_Section):
    """A parameter's value taken from a column of each row."""

    column: str = Field(min_length=1, description="The input column that holds the value for each row.")


Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=200)]
PathText = Annotated[str, Field(min_length=1), AfterValidator(_check_path)]
InputPath = Annotated[PathText, AfterValidator(_check_input_path)]
WrittenPath = Annotated[PathText, AfterValidator(_check_written_path)]
MetricsPath = Annotated[WrittenPath, AfterValidator(_check_metrics_path)]
OutputPath = Annotated[WrittenPath, AfterValidator(_check_output_path)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Money = Annotated[Decimal, Field(gt=0), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
UsdPerMillion = Annotated[
    Decimal, Field(ge=0, decimal_places=PRICE_DECIMALS), WithJsonSchema({"type": "number", "minimum": 0})
]
NumberOrColumn = Annotated[
    Annotated[Finite, Tag(NUMBER_TAG)] | Annotated[ColumnReference, Tag(COLUMN_TAG)], Discriminator(_either)
]
IntegerOrColumn = Annotated[
    Annotated[int, Tag(NUMBER_TAG)] | Annotated[ColumnReference, Tag(COLUMN_TAG)], Discriminator(_either)
]
TextOrColumn = Annotated[
    Annotated[Text, Tag(TEXT_TAG)] | Annotated[ColumnReference, Tag(COLUMN_TAG)], Discriminator(_text_or_column)
]
TextsOrColumn = Annotated[
    Annotated[Text, Tag(TEXT_TAG)]
    | Annotated[tuple[Text, ...], Field(min_length=1), Tag(TEXTS_TAG)]
    | Annotated[ColumnReference, Tag(COLUMN_TAG)],
    Discriminator(_text_or_column),
]
Processes = Annotated[
    Annotated[int, Field(ge=1, le=64), Tag(NUMBER_TAG)] | Annotated[Literal["auto"], Tag(WORD_TAG)],
    Discriminator(_number_or_word),
]
OneOrManyPaths = Annotated[
    Annotated[InputPath, Tag(ONE_TAG)] | Annotated[tuple[InputPath, ...], Field(min_length=1), Tag(MANY_TAG)],
    Discriminator(_one_or_many),
]


OneOrManyUrls = Annotated[
    Annotated[Text, Tag(ONE_TAG)] | Annotated[tuple[Text, ...], Field(min_length=1), Tag(MANY_TAG)],
    Discriminator(_one_or_many),
]


class CsvConfig(_Section):
    """How CSV files are written."""

    delimiter: Annotated[str, AfterValidator(_check_delimiter)] = Field(
        default=",", min_length=1, max_length=1, description="The character between cells."
    )
    encoding: Annotated[str, AfterValidator(_check_encoding)] = Field(
        default="utf-8", description="The files' encoding, by its Python name."
    )


class InputConfig(_Section):
    """Where the rows come from."""

    path: OneOrManyPaths = Field(
        description="A file, a list of files, a glob or a directory; CSV, Parquet or JSONL, also as .gz or .zst.",
        examples=["data/problems.parquet"],
    )
    format: Literal["csv", "parquet", "jsonl"] | None = Field(
        default=None, description="The files' format; without it, by their ending.", examples=["parquet"]
    )
    id: Text | None = Field(
        default=None,
        description="A column of unique ids; without it, a row is known by its content.",
        examples=["problem_id"],
    )
    columns: tuple[Text, ...] | None = Field(
        default=None,
        description="The input columns carried to the output; without it, all of them.",
        examples=[["problem_id", "topic"]],
    )
    csv: CsvConfig = Field(default=CsvConfig(), description="How CSV files are written.")


class PromptConfig(_Section):
    """What is asked of each row: exactly one of `user`, `column` and `messages`."""

    system: str | None = Field(
        default=None, description="The system message, a template as `user` is.", examples=["You are a careful tutor."]
    )
    user: Text | None = Field(
        default=None,
        description="The user message, as a Jinja2 template over the row's columns.",
        examples=["{{ question }}"],
    )
    column: Text | None = Field(
        default=None, description="A column whose text is the user message as it is.", examples=["question"]
    )
    messages: Text | None = Field(
        default=None,
        description="A column with whole conversations: a list of {role, content}, or its JSON text.",
        examples=["chat"],
    )
    constant: bool = Field(
        default=False,
        description="Whether every row may be asked the same; else a prompt that uses no column is a mistake.",
    )


class AuthConfig(_Section):
    """How the key goes out."""

    header: Text = Field(default="Authorization", description="The header that carries the key.")
    prefix: str = Field(default="Bearer ", description="What stands before the key.")


class EndpointConfig(_Section):
    """Who is asked."""

    kind: Literal["dataoorts", "openai"] = Field(
        default="dataoorts", description="`dataoorts`, or `openai` for any OpenAI-compatible chat/completions server."
    )
    url: OneOrManyUrls = Field(
        default=DATAOORTS_URL,
        description="The server's address, or for `openai` a list of equal servers behind one queue; for `openai` its "
        "base (…/v1) or the whole address; `simulator` for the embedded endpoint, which needs no key and no network.",
    )
    model: Text = Field(
        description="The model's name, as the server knows it.", examples=["meta/llama-4-scout-17b-16e-instruct"]
    )
    api_key_env: str | None = Field(
        default=DATAOORTS_KEY_VARIABLE,
        description="The environment variable that holds the key, never the key itself; null for a server without one.",
    )
    allow_insecure_http: bool = Field(
        default=False, description="Whether the key may go over plain http:// to another machine."
    )
    auth: AuthConfig | None = Field(
        default=None, description="How the key goes out; without it, as `Authorization: Bearer KEY`."
    )
    headers: dict[str, str] | None = Field(
        default=None,
        repr=False,
        description="Further headers of every request. Their values are secrets: they are shown nowhere.",
        examples=[{"X-Team": "${TEAM}"}],
    )
    query: dict[str, str] | None = Field(
        default=None,
        description="What is added to the address of every request.",
        examples=[{"api-version": "2026-05-01"}],
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_check_json)] | None = Field(
        default=None,
        description="Further keys of every request's body, sent as they are (to Dataoorts within `data`). Part of what "
        "is asked: another value makes finished rows changed.",
        examples=[{"chat_template_kwargs": {"enable_thinking": False}}],
    )
    max_tokens_field: Text = Field(
        default="max_tokens",
        description="The name under which a server of `kind: openai` takes `parameters.max_tokens`.",
        examples=["max_completion_tokens"],
    )
    stream: bool = Field(
        default=False,
        description="Whether the reply comes as a stream of events, which is put together here: long answers then "
        "outlive gateways that cut silent connections. Not for Dataoorts.",
    )
    reasoning: Literal["auto", "split", "keep"] = Field(
        default="auto",
        description="What becomes of reasoning that stands in the answer's text, up to `</think>`: `auto` moves it to "
        "the column `reasoning` for models that the catalogue marks, `split` for every model, `keep` for none.",
    )
    transport: Literal["lean", "standard"] = Field(
        default="lean",
        description="What carries the requests: `lean`, or `standard` for the adapter of the requests library, which "
        "takes more CPU and has 256 requests in flight at most.",
    )

    @property
    def is_simulator(self) -> bool:
        """Whether the embedded endpoint answers."""
        return self.urls == (SIMULATOR_URL,)

    @property
    def urls(self) -> tuple[str, ...]:
        """The address of each server."""
        return (self.url,) if isinstance(self.url, str) else self.url


class ParametersConfig(_Section):
    """Generation parameters, each a value or `{column: NAME}`. Dataoorts has ranges; other servers have their own."""

    temperature: NumberOrColumn | None = Field(default=None, description="How freely tokens are drawn.", examples=[0.1])
    top_p: NumberOrColumn | None = Field(
        default=None, description="The share of probability tokens are drawn from.", examples=[0.9]
    )
    top_k: IntegerOrColumn | None = Field(
        default=None, description="How many of the likeliest tokens are drawn from.", examples=[40]
    )
    max_tokens: IntegerOrColumn | None = Field(
        default=None, description="The most tokens an answer may have.", examples=[1024]
    )
    seed: IntegerOrColumn | None = Field(
        default=None, description="Makes the drawing of tokens repeatable.", examples=[7]
    )
    repetition_penalty: NumberOrColumn | None = Field(
        default=None, description="Discourages repeated tokens.", examples=[1.1]
    )
    frequency_penalty: NumberOrColumn | None = Field(
        default=None, description="Discourages tokens used often so far.", examples=[0.2]
    )
    presence_penalty: NumberOrColumn | None = Field(
        default=None, description="Discourages tokens used at all so far.", examples=[0.2]
    )
    min_p: NumberOrColumn | None = Field(
        default=None, description="Draws from no token less likely than this share of the likeliest.", examples=[0.05]
    )
    stop: TextsOrColumn | None = Field(
        default=None, description="Ends the answer before this text, or the first of these texts.", examples=[["###"]]
    )
    reasoning_effort: TextOrColumn | None = Field(
        default=None, description="How long a reasoning model thinks, in the server's words.", examples=["low"]
    )


class LimitsConfig(_Section):
    """How fast, how dear and how long; no limit where a key is left out and has no default."""

    concurrency: int = Field(default=32, ge=1, le=20_000, description="The most requests in flight.")
    processes: Processes = Field(
        default="auto",
        description="The processes of a run: 1 does everything in one; of several, one plans and records, and the"
        " others send. auto: as many as are worth it.",
    )
    requests_per_minute: Positive | None = Field(
        default=None, description="The most requests sent over any minute.", examples=[300]
    )
    tokens_per_minute: Positive | None = Field(
        default=None, description="The most tokens over any minute, prompts and answers together.", examples=[200000]
    )
    shared: Name | None = Field(
        default=None,
        description="Holds these rates over everything that the jobs of this machine send together which name the same "
        "limit; needs requests_per_minute or tokens_per_minute.",
        examples=["my-account"],
    )
    max_cost_usd: Money | None = Field(
        default=None,
        description="The most the whole job may cost, over all runs; needs parameters.max_tokens.",
        examples=[50],
    )
    max_run_cost_usd: Money | None = Field(
        default=None, description="The most one run may cost; needs parameters.max_tokens.", examples=[5]
    )
    deadline_seconds: Positive | None = Field(default=None, description="How long one run may send.", examples=[7200])
    timeout_seconds: Positive = Field(
        default=300.0, description="How long one attempt may take, from connect to the last byte."
    )
    idle_seconds: Positive | None = Field(
        default=None,
        description="How long an attempt may go without a byte of the reply, from when the request was sent; needs "
        "endpoint.stream.",
        examples=[60],
    )
    drain_seconds: Positive = Field(
        default=60.0, description="How long a stop waits for the requests that are in flight."
    )


class RetryConfig(_Section):
    """What happens to a request that failed for a passing cause."""

    max_attempts: int = Field(default=6, ge=1, description="The most attempts for a row in one run.")
    initial_seconds: Positive = Field(
        default=1.0, description="The wait before the second attempt; it grows from there."
    )
    max_seconds: Positive = Field(default=60.0, description="The longest wait between two attempts.")
    max_elapsed_seconds: Positive = Field(
        default=900.0, description="How long the endpoint may go without a usable reply before the run stops."
    )
    max_runs: int = Field(default=3, ge=0, description="How many later runs send a failed row again.")


class CheckpointConfig(_Section):
    """Where the progress is kept."""

    path: WrittenPath | None = Field(
        default=None,
        description="A directory of the job's own; without it, .checkpoints/<name>.",
        examples=[".checkpoints/answers"],
    )


class OutputConfig(_Section):
    """Where the answers go."""

    path: OutputPath = Field(
        description="The Parquet file that is written once every row has an outcome.",
        examples=["data/out/answers.parquet"],
    )
    compression: Literal["zstd", "snappy", "gzip", "none"] = Field(
        default="zstd", description="The Parquet file's compression."
    )
    prefix: str = Field(default="", description="Put before the names of the columns that are added.")
    overwrite: bool = Field(
        default=False, description="Whether a file at the path that this job did not write may be replaced."
    )


class PricingConfig(_Section):
    """Prices of one's own; without them, those of the catalogue. At most 6 decimals."""

    input_usd_per_million: UsdPerMillion = Field(description="USD per million prompt tokens.", examples=[0.32])
    cached_input_usd_per_million: UsdPerMillion | None = Field(
        default=None,
        description="USD per million prompt tokens that the server had in its cache; without it, as other prompt "
        "tokens.",
        examples=[0.08],
    )
    output_usd_per_million: UsdPerMillion = Field(description="USD per million completion tokens.", examples=[0.34])


class SimulatorConfig(_Section):
    """How the embedded endpoint behaves; only with `endpoint.url: simulator`."""

    latency_seconds: NotNegative = Field(default=0.0, description="The mean time to an answer.")
    latency_spread: NotNegative = Field(
        default=0.0, description="How much that time varies: the standard deviation of its logarithm."
    )
    fault_rate: float = Field(
        default=0.0, ge=0, le=1, allow_inf_nan=False, description="The share of requests that meet a fault."
    )
    seed: int = Field(default=0, description="Decides which requests meet which fault and latency.")
    requests_per_minute: Positive | None = Field(
        default=None, description="The rate beyond which the simulator answers 429.", examples=[600]
    )
    ledger: WrittenPath | None = Field(
        default=None,
        description="A JSONL file to which the simulator adds what it was asked and what it billed.",
        examples=["sim.jsonl"],
    )


class NotifyConfig(_Section):
    """Who is told over HTTP how runs go. The addresses are secrets: whoever knows one can speak for the job."""

    ping_url: Text | None = Field(
        default=None,
        repr=False,
        description="A check in the style of healthchecks.io, told by POST of a run's start (…/start), of its success "
        "(the address itself) and of any other end (…/fail).",
        examples=["${PING_URL}"],
    )
    webhook_url: Text | None = Field(
        default=None,
        repr=False,
        description="Is sent the summary of each run that sent something or went wrong.",
        examples=["${WEBHOOK_URL}"],
    )
    allow_insecure_http: bool = Field(
        default=False, description="Whether these may be told over plain http:// on another machine."
    )


class MetricsConfig(_Section):
    """Figures for Prometheus."""

    textfile: MetricsPath | None = Field(
        default=None,
        description="A .prom file of the job's own, replaced at the end of each run, for node_exporter's textfile "
        "collector; needs the extra `metrics`.",
        examples=["/var/lib/node_exporter/answers.prom"],
    )


class JobConfig(_Section):
    """A batch of prompts sent to one model: the job file of `pipeline run`."""

    name: Name = Field(
        description="Names the checkpoint; letters, digits, - and _.",
        examples=["my-answers"],
    )
    input: InputConfig = Field(description="Where the rows come from.", examples=[{"path": "data/problems.parquet"}])
    prompt: PromptConfig = Field(description="What is asked of each row.", examples=[{"user": "{{ question }}"}])
    endpoint: EndpointConfig = Field(
        description="Who is asked.", examples=[{"model": "meta/llama-4-scout-17b-16e-instruct"}]
    )
    parameters: ParametersConfig = Field(default=ParametersConfig(), description="Generation parameters.")
    limits: LimitsConfig = Field(default=LimitsConfig(), description="How fast, how dear and how long.")
    retry: RetryConfig = Field(default=RetryConfig(), description="What happens after a passing failure.")
    checkpoint: CheckpointConfig = Field(default=CheckpointConfig(), description="Where the progress is kept.")
    output: OutputConfig = Field(description="Where the answers go.", examples=[{"path": "data/out/answers.parquet"}])
    notify: NotifyConfig = Field(default=NotifyConfig(), description="Who is told how runs go.")
    metrics: MetricsConfig = Field(default=MetricsConfig(), description="Figures for Prometheus.")
    pricing: PricingConfig | None = Field(default=None, description="Prices; without them, those of the catalogue.")
    simulator: SimulatorConfig | None = Field(default=None, description="How the embedded endpoint behaves.")
