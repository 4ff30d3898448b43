"""The job file as a whole."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pipeline.catalogue import Catalogue, Model, built_in
from pipeline.config.models.cache import CacheConfig
from pipeline.config.models.catalogue import CatalogueConfig
from pipeline.config.models.endpoint import EndpointConfig
from pipeline.config.models.expect import ExpectConfig
from pipeline.config.models.input import InputConfig
from pipeline.config.models.limits import LimitsConfig, RetryConfig
from pipeline.config.models.observers import MetricsConfig, NotifyConfig, TelemetryConfig
from pipeline.config.models.output import CheckpointConfig, OutputConfig
from pipeline.config.models.parameters import ParametersConfig
from pipeline.config.models.pricing import PricingConfig
from pipeline.config.models.prompt import PromptConfig
from pipeline.config.models.section import Section
from pipeline.config.models.simulator import SimulatorConfig
from pipeline.config.models.sweep import SweepConfig
from pipeline.config.models.values import Name


def _or_path(schema: dict[str, Any]) -> None:
    """Let a path take the place of the section: the loader reads the file that it names."""
    schema["anyOf"].insert(0, {"type": "string", "minLength": 1})


class JobConfig(Section):
    """A batch of prompts sent to one model: the job file of `pipeline run`."""

    name: Name = Field(
        description="Names the checkpoint; letters, digits, - and _.",
        examples=["my-answers"],
    )
    input: InputConfig = Field(description="Where the rows come from.", examples=[{"path": "data/problems.parquet"}])
    prompt: PromptConfig = Field(
        default=PromptConfig(),
        description="What is asked of each row; needed unless `input.format` is `openai-batch`.",
        examples=[{"user": "{{ question }}"}],
    )
    endpoint: EndpointConfig = Field(
        description="Who is asked.", examples=[{"model": "meta/llama-4-scout-17b-16e-instruct"}]
    )
    sweep: SweepConfig | None = Field(
        default=None,
        description="Settings that every row is asked under in turn.",
        examples=[{"parameters.temperature": [0.2, 1.0]}],
    )
    cache: CacheConfig | None = Field(
        default=None,
        description="Answers that several jobs have in common.",
        examples=[{"path": ".cache/answers"}],
    )
    deduplicate: bool = Field(
        default=False,
        description="Whether rows that make the same request share one answer, which the first of them pays for; never "
        "samples of one row, or rows of different variants.",
    )
    parameters: ParametersConfig = Field(default=ParametersConfig(), description="Generation parameters.")
    expect: ExpectConfig | None = Field(
        default=None,
        description="What every answer has to be: exactly one of `json_schema`, `choices` and `regex`. One that is not "
        "is asked for again, and billed like any other.",
    )
    limits: LimitsConfig = Field(default=LimitsConfig(), description="Rates, cost and time.")
    retry: RetryConfig = Field(default=RetryConfig(), description="What happens after a transient failure.")
    checkpoint: CheckpointConfig = Field(default=CheckpointConfig(), description="Where the progress is kept.")
    output: OutputConfig = Field(description="Where the answers go.", examples=[{"path": "data/out/answers.parquet"}])
    notify: NotifyConfig = Field(default=NotifyConfig(), description="Who is notified of runs.")
    metrics: MetricsConfig = Field(default=MetricsConfig(), description="Metrics for Prometheus.")
    telemetry: TelemetryConfig = Field(default=TelemetryConfig(), description="Traces for OpenTelemetry.")
    pricing: PricingConfig | None = Field(default=None, description="Prices; without them, those of the catalogue.")
    catalogue: CatalogueConfig | None = Field(
        default=None,
        json_schema_extra=_or_path,
        description="A YAML file with models of your own, or other facts about known ones: prices, windows and the "
        "rest of what `pipeline models` shows.",
        examples=["models.yaml"],
    )
    simulator: SimulatorConfig | None = Field(default=None, description="How the embedded endpoint behaves.")

    @property
    def has_marks(self) -> bool:
        """Whether an input row makes several rows, which the journal tells apart by marks behind their ids."""
        return self.sweep is not None or self.prompt.samples > 1

    @property
    def model_facts(self) -> Model | None:
        """What is known of the job's model as its provider has it; None if nothing is."""
        model = self.known_models.find(self.endpoint.model)
        return model if model is not None and model.is_of(self.endpoint.kind) else None

    @property
    def known_models(self) -> Catalogue:
        """The catalogue that comes with the program, extended by the job's own."""
        return built_in() if self.catalogue is None else self.catalogue.extending(built_in())
