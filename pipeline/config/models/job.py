"""The whole job file."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.models.endpoint import EndpointConfig
from pipeline.config.models.input import InputConfig
from pipeline.config.models.limits import LimitsConfig, RetryConfig
from pipeline.config.models.observers import MetricsConfig, NotifyConfig
from pipeline.config.models.output import CheckpointConfig, OutputConfig
from pipeline.config.models.parameters import ParametersConfig
from pipeline.config.models.pricing import PricingConfig
from pipeline.config.models.prompt import PromptConfig
from pipeline.config.models.section import Section
from pipeline.config.models.simulator import SimulatorConfig
from pipeline.config.models.values import Name


class JobConfig(Section):
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
