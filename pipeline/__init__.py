"""Offline batch inference: prompts from CSV, Parquet or JSONL, answers, usage and exact cost in one Parquet file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.app.summary import Summary

__version__ = "0.1.0"
__all__ = ["__version__", "run"]


def run(path: str | Path, overrides: Sequence[str] = (), *, limit: int | None = None) -> Summary:
    """Run the job of a YAML file, as `pipeline run` does, and return its summary.

    Args:
        path: the job file.
        overrides: keys of the job file set otherwise, as `a.b=value`.
        limit: the most rows to send; None for all.

    Raises:
        pipeline.errors.PipelineError: the job or its input is wrong, another run is under way, or the checkpoint
            failed. A run that stops early, or that leaves failed rows, returns: see `Summary.exit_code`.
    """
    from pipeline.app.job import load_job
    from pipeline.app.options import RunOptions
    from pipeline.app.run import Run

    return Run(load_job(path, overrides), RunOptions(limit=limit)).execute()
