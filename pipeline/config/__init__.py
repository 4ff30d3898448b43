"""The job file as frozen models: read from YAML with its variables, checked, every mistake at its place.

| module | does |
|---|---|
| reading | the text of a job file -> plain values that know their place |
| models | a frozen model for each section |
| checks | what needs several keys, or the catalogue, to be judged |
| validation | values -> the models, and every mistake |
| loader | all of that in order: `read_job`, `load_job` |
| job | a valid job file, with the place of each key |
| resolved | the configuration as it is recorded, without secrets |
| schema | what a job file may hold, as JSON Schema and in words |
| explain, hints | what is wrong and what was meant, in words |
| formatting | a mistake as people read it |
| variants | the jobs that a sweep makes |
| wire | the wire form of a job's endpoint |
| commands | a suggested command, with the `--set`s of this one |
| shard | a part of a job, with its share of the limits |
"""

from pipeline.config.checks.addresses import shown_address
from pipeline.config.checks.credentials import api_key, key_note
from pipeline.config.commands import JobCall
from pipeline.config.formatting import format_mistake, format_mistake_line
from pipeline.config.job import Job
from pipeline.config.loader import environment_mistakes, in_order, load_job, read_job
from pipeline.config.models import (
    SIMULATOR_URL,
    AuthConfig,
    CheckpointConfig,
    ColumnReference,
    CsvConfig,
    EndpointConfig,
    InputConfig,
    JobConfig,
    LimitsConfig,
    MetricsConfig,
    NotifyConfig,
    OutputConfig,
    ParametersConfig,
    PricingConfig,
    PromptConfig,
    RetryConfig,
    SimulatorConfig,
    TelemetryConfig,
)
from pipeline.config.schema import job_schema
from pipeline.config.shard import CAPS, RATES, Shard
from pipeline.config.variants import JobVariant, variants
from pipeline.errors import InvalidJob, Mistake

__all__ = [
    "CAPS",
    "RATES",
    "SIMULATOR_URL",
    "AuthConfig",
    "CheckpointConfig",
    "ColumnReference",
    "CsvConfig",
    "EndpointConfig",
    "InputConfig",
    "InvalidJob",
    "Job",
    "JobCall",
    "JobConfig",
    "JobVariant",
    "LimitsConfig",
    "MetricsConfig",
    "Mistake",
    "NotifyConfig",
    "OutputConfig",
    "ParametersConfig",
    "PricingConfig",
    "PromptConfig",
    "RetryConfig",
    "Shard",
    "SimulatorConfig",
    "TelemetryConfig",
    "api_key",
    "environment_mistakes",
    "format_mistake",
    "format_mistake_line",
    "in_order",
    "job_schema",
    "key_note",
    "load_job",
    "read_job",
    "shown_address",
    "variants",
]
