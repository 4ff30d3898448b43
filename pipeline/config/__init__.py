"""The job file as frozen models: read from YAML with its variables, checked, every mistake at its place."""

from pipeline.config.addresses import shown_address
from pipeline.config.commands import JobCall
from pipeline.config.credentials import api_key, key_note
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
)
from pipeline.config.schema import job_schema
from pipeline.config.variants import JobVariant, variants
from pipeline.errors import InvalidJob, Mistake

__all__ = [
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
    "SimulatorConfig",
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
