"""The job file as frozen models, a module for each section. Field names are the keys of the file; docs and JSON Schema
are made from them.

What a single value decides (type, range) is here; what needs several keys or the catalogue is in `checks`.
"""

from pipeline.config.models.batch import BatchConfig
from pipeline.config.models.cache import CacheConfig
from pipeline.config.models.endpoint import SIMULATOR_URL, AuthConfig, EndpointConfig
from pipeline.config.models.expect import ExpectConfig
from pipeline.config.models.input import BATCH_FORMAT, CsvConfig, InputConfig
from pipeline.config.models.job import JobConfig
from pipeline.config.models.limits import LimitsConfig, RetryConfig
from pipeline.config.models.observers import MetricsConfig, NotifyConfig, TelemetryConfig
from pipeline.config.models.output import CheckpointConfig, OutputConfig
from pipeline.config.models.parameters import ParametersConfig
from pipeline.config.models.paths import OtherJob
from pipeline.config.models.pricing import PricingConfig
from pipeline.config.models.prompt import PROMPT_KEYS, Example, ExamplesFile, PromptConfig
from pipeline.config.models.simulator import SimulatorConfig
from pipeline.config.models.sweep import SweepConfig, SweptValue
from pipeline.config.models.values import PRICE_DECIMALS, TAGS, ColumnReference

__all__ = [
    "BATCH_FORMAT",
    "PRICE_DECIMALS",
    "PROMPT_KEYS",
    "SIMULATOR_URL",
    "TAGS",
    "AuthConfig",
    "BatchConfig",
    "CacheConfig",
    "CheckpointConfig",
    "ColumnReference",
    "CsvConfig",
    "EndpointConfig",
    "Example",
    "ExamplesFile",
    "ExpectConfig",
    "InputConfig",
    "JobConfig",
    "LimitsConfig",
    "MetricsConfig",
    "NotifyConfig",
    "OtherJob",
    "OutputConfig",
    "ParametersConfig",
    "PricingConfig",
    "PromptConfig",
    "RetryConfig",
    "SimulatorConfig",
    "SweepConfig",
    "SweptValue",
    "TelemetryConfig",
]
