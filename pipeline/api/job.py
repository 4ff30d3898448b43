"""A job from Python: check it, plan it, run it, read its answers."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from operator import index
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

from pipeline.api.background import in_background
from pipeline.api.results import Result, Results
from pipeline.api.values import Diagnostic, Estimate, Plan
from pipeline.api.watch import logger, watching
from pipeline.api.words import python_words
from pipeline.app.jobs.job import load_job
from pipeline.app.jobs.sharding import shards_of
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from pipeline.app.use_cases import forecast
from pipeline.app.use_cases.validate import validate
from pipeline.config.reading.source import as_yaml
from pipeline.endings import Exit
from pipeline.errors import InvalidInput, InvalidJob, NoCheckpoint, RunStopped
from pipeline.journal import Journal
from pipeline.runner import StopRequest
from pipeline.sources import to_table
from pipeline.wording import range_text

if TYPE_CHECKING:
    from pipeline.app.observe.summary import Summary
    from pipeline.config import Job as JobFile


class Job:
    """A batch of prompts, as a job file describes it.

    Args:
        job: the path of a job file, or the mapping that it would hold.
        overrides: keys to replace: `{"limits.concurrency": 8}`.
        input: the rows, as a pandas DataFrame or an Arrow table, in place of `input.path`. `output.path` may then be
            left out, and no file is written. A DataFrame's index is left out.

    Nothing is read before a method is called. Methods may be called from any thread and many times; they print nothing,
    log under the name `pipeline`, and leave signal handlers and file limits as they are.

    Example:
        >>> job = pipeline.Job("job.yaml", {"limits.concurrency": 8})
        >>> result = job.run(limit=20)
        >>> result.frame()[["row_id", "response", "cost_usd"]]
    """

    def __init__(
        self,
        job: str | Path | Mapping[str, Any],
        overrides: Mapping[str, Any] | None = None,
        *,
        input: Any = None,
    ) -> None:
        if not isinstance(job, str | PathLike | Mapping):
            raise InvalidInput(f"job: the path of a job file or a mapping is needed, not {type(job).__name__}")
        if not isinstance(overrides, Mapping | None):
            raise InvalidInput(f"overrides: a mapping of keys to values is needed, not {type(overrides).__name__}")
        self._job = job
        self._overrides = tuple(f"{key}={_yaml(key, value)}" for key, value in (overrides or {}).items())
        self._table = None if input is None else to_table(input)

    def __repr__(self) -> str:
        shown = "{…}" if isinstance(self._job, Mapping) else repr(str(self._job))
        return f"Job({shown}{'' if self._table is None else ', input=…'})"

    def validate(self) -> list[Diagnostic]:
        """Return everything that is wrong with the job, its input and its templates; an empty list if it can run.

        Raises:
            errors.CheckpointFailed: the job is right, but its checkpoint cannot be trusted.
        """
        with python_words():
            try:
                validate(self._job, self._overrides, table=self._table)
            except InvalidJob as error:
                return [Diagnostic.of(mistake) for mistake in error.mistakes]
        return []

    def plan(self) -> Plan:
        """Return how many rows are done, new, changed, to retry and orphaned. Sends nothing.

        Raises:
            errors.InvalidJob: the job or its input is wrong.
            errors.JobLocked: a run of the job is under way.
        """
        with python_words():
            return Plan.of(forecast.row_counts(self._load()))

    def estimate(self, *, pilot: int | None = None, seed: int = 0) -> Estimate:
        """Return the plan with tokens, cost and time as ranges.

        Args:
            pilot: the number of random rows to send and learn from; their answers count as done.
            seed: draws other rows for the pilot.

        Raises:
            errors.PipelineError: as `plan` and `run` do; a pilot that was stopped raises `errors.RunStopped`.
        """
        pilot = None if pilot is None else _whole("pilot", pilot, 1)
        seed = _whole("seed", seed)
        with python_words():
            job = self._load()
            if pilot is None:
                return Estimate.of(forecast.plan_ahead(job, RunOptions()))
            run, summary = self._run(job, RunOptions(limit=pilot, seed=seed), progress=False)
            if summary.error is not None:
                raise RunStopped(f"the pilot stopped: {summary.error.message}", summary.exit_code)
            return Estimate.of(forecast.plan_ahead(job, RunOptions(), run.first_event), pilot=summary)

    def run(
        self,
        *,
        limit: int | None = None,
        on_change: Literal["refuse", "rerun", "keep"] = "refuse",
        engine: Literal["local", "ray"] = "local",
        address: str | None = None,
        no_wait: bool = False,
        progress: bool = False,
    ) -> Result:
        """Run the job from its present state, as `pipeline run` does, and return the result.

        It also returns if some rows failed or the run stopped early; `result.exit_code` and `result.summary.error` say
        so. The next run continues from there.

        Args:
            limit: the most rows to send, the first in input order.
            on_change: what to do about finished rows whose request changed.
            engine: what sends: this machine, or actors of a Ray cluster (extra `ray`).
            address: the address of the cluster; by default this machine's own, or one that is started here.
            no_wait: with `endpoint.batch`, submit, collect what is ready, and end. While rows are waiting in a batch,
                `exit_code` is 7.
            progress: show a bar on stderr.

        Raises:
            errors.InvalidInput: the job, its input or an argument is wrong; nothing was sent.
            errors.CheckpointFailed: the disk or the checkpoint failed; what was acknowledged is safe.
            errors.JobLocked: another run of the job is under way.
            KeyboardInterrupt: Ctrl-C; the requests in flight were waited for, and everything is saved.
        """
        limit = None if limit is None else _whole("limit", limit, 0)
        if on_change not in ("refuse", "rerun", "keep"):
            raise InvalidInput(f'on_change: "refuse", "rerun" or "keep" is needed, not {on_change!r}')
        if engine not in ("local", "ray"):
            raise InvalidInput(f'engine: "local" or "ray" is needed, not {engine!r}')
        with python_words():
            job = self._load()
            options = RunOptions(limit=limit, on_change=on_change, engine=engine, address=address, no_wait=no_wait)
            _, summary = self._run(job, options, progress=progress)
        return Result(job, summary=summary)

    def results(self) -> Results:
        """Return the answers so far without running anything. They are read when they are asked for.

        Raises:
            errors.NoCheckpoint: nothing was run yet.
        """
        with python_words():
            job = self._load()
            if not Journal.exists(job.checkpoint_path) and not shards_of(job):
                raise NoCheckpoint(f"the job {job.config.name!r} has no answers yet; call run() first")
        return Results(job)

    def _load(self) -> JobFile:
        return load_job(self._job, self._overrides, table=self._table)

    def _run(self, job: JobFile, options: RunOptions, *, progress: bool) -> tuple[Run, Summary]:
        with watching(progress=progress) as watcher:

            def execute(stop_request: StopRequest) -> tuple[Run, Summary]:
                run = Run(job, options, watcher, stop_request=stop_request)
                return run, run.execute()

            run, summary = in_background(execute)
        logger.info("%s: %s", summary.job, summary.status)
        if summary.exit_code == Exit.SIGNAL + signal.SIGINT:
            raise KeyboardInterrupt
        return run, summary


def _whole(name: str, value: object, least: int | None = None) -> int:
    """Return an argument that is an integer. Raises InvalidInput for anything else, and below the least."""
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        number = index(value)
        if least is None or number >= least:
            return number
    raise InvalidInput(f"{name} must be {range_text('an integer', least, None)}, not {value!r}")


def _yaml(key: str, value: Any) -> str:
    """Return a value as `--set` takes it: YAML, of which JSON is a part."""
    try:
        return as_yaml(value)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f'overrides["{key}"]: this has no place in a job: {error}') from None
