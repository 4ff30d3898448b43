"""`notify` and `metrics`: who is told how runs go."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.models.paths import MetricsPath
from pipeline.config.models.section import Section
from pipeline.config.models.values import Text


class NotifyConfig(Section):
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


class MetricsConfig(Section):
    """Figures for Prometheus."""

    textfile: MetricsPath | None = Field(
        default=None,
        description="A .prom file of the job's own, replaced at the end of each run, for node_exporter's textfile "
        "collector; needs the extra `metrics`.",
        examples=["/var/lib/node_exporter/answers.prom"],
    )
