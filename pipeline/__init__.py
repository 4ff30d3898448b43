"""Offline batch inference: prompts from CSV, Parquet, JSONL or a frame; answers, usage and exact cost.

    >>> import pipeline
    >>> result = pipeline.Job("job.yaml").run()
    >>> result.frame()

docs/api.md describes every public name. They are imported when they are first used, so that `import pipeline` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline import errors
    from pipeline.api.ask import ask
    from pipeline.api.job import Job
    from pipeline.api.results import Result, Results
    from pipeline.api.values import Diagnostic, Estimate, Plan, Range
    from pipeline.app.observe.summary import RunError, Summary

__all__ = [
    "Diagnostic",
    "Estimate",
    "Job",
    "Plan",
    "Range",
    "Result",
    "Results",
    "RunError",
    "Summary",
    "__version__",
    "ask",
    "errors",
    "run",
]

_HOMES = {
    "Diagnostic": "pipeline.api.values",
    "Estimate": "pipeline.api.values",
    "Job": "pipeline.api.job",
    "Plan": "pipeline.api.values",
    "Range": "pipeline.api.values",
    "Result": "pipeline.api.results",
    "Results": "pipeline.api.results",
    "RunError": "pipeline.app.observe.summary",
    "Summary": "pipeline.app.observe.summary",
    "ask": "pipeline.api.ask",
}


def run(
    job: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    input: Any = None,
    **options: Any,
) -> Result:
    """Run a job from its present state: short for `Job(job, overrides, input=input).run(**options)`."""
    from pipeline.api.job import Job

    return Job(job, overrides, input=input).run(**options)


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("pipeline.errors")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
