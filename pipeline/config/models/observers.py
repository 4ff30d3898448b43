"""`notify`, `metrics` and `telemetry`: who is notified of runs, and how they are measured and traced."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.models.paths import MetricsPath
from pipeline.config.models.section import Section
from pipeline.config.models.values import Text


class NotifyConfig(Section):
    """Who is notified of runs over HTTP. The addresses are secrets: whoever knows one can speak for the job."""

    ping_url: Text | None = Field(
        default=None,
        repr=False,
        description="A check in the style of healthchecks.io: it gets a POST at the start of a run (…/start), at its "
        "success (the address itself) and at any other end (…/fail).",
        examples=["${PING_URL}"],
    )
    webhook_url: Text | None = Field(
        default=None,
        repr=False,
        description="An address that gets the summary of each run that sent something or went wrong.",
        examples=["${WEBHOOK_URL}"],
    )
    allow_insecure_http: bool = Field(default=False, description="Whether plain http:// to another machine is allowed.")


class MetricsConfig(Section):
    """Metrics for Prometheus."""

    textfile: MetricsPath | None = Field(
        default=None,
        description="A .prom file of the job's own, replaced at the end of each run, for node_exporter's textfile "
        "collector; needs the extra `metrics`.",
        examples=["/var/lib/node_exporter/answers.prom"],
    )


class TelemetryConfig(Section):
    """Traces for OpenTelemetry: figures, names and stable words, never a prompt or an answer."""

    otlp: Text | None = Field(
        default=None,
        repr=False,
        description="A collector's address for OTLP over HTTP, which is a secret: it gets a span of each run and of a "
        "sample of its rows; needs the extra `otel`.",
        examples=["${OTLP_URL}"],
    )
    sample_rate: float = Field(
        default=0.01, ge=0, le=1, allow_inf_nan=False, description="The share of rows that get a span of their own."
    )
    allow_insecure_http: bool = Field(default=False, description="Whether plain http:// to another machine is allowed.")
