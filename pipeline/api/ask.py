"""A frame of rows in, the same frame with the answers out."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pipeline.api.job import Job
from pipeline.api.words import in_ask, python_words
from pipeline.errors import InvalidInput, RunStopped
from pipeline.sink import RESULT_NAMES
from pipeline.sources import to_table
from pipeline.wording import counted

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    Frame = TypeVar("Frame", pd.DataFrame, pa.Table)


def ask(
    frame: Frame,
    *,
    user: str,
    model: str,
    checkpoint: str | Path,
    system: str | None = None,
    endpoint: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    expect: Mapping[str, Any] | None = None,
    samples: int = 1,
    limits: Mapping[str, Any] | None = None,
    id: str | None = None,
) -> Frame:
    """Ask a model about every row of a frame, and return the frame with the answers.

    The checkpoint keeps the answers. The same call with the same frame sends nothing again, and continues after any
    stop.

    Args:
        frame: the rows, as a pandas DataFrame or a pyarrow.Table (or its record batch or reader).
        user: the user message, as a Jinja2 template over the row's columns: `"{{ question }}"`.
        model: the model's name, as the server knows it.
        checkpoint: the directory that keeps the answers, for this call only.
        system: the system message, also a template.
        endpoint: `endpoint` of the job file without the model; Dataoorts by default.
        parameters, limits: those sections of the job file.
        samples: the number of answers for each row; each answer is a row of the result, with its `sample_index`.
        expect: the `expect` section of the job file: what every answer must be.
        id: a column of unique ids; without it, a row is identified by its content.

    Returns:
        The caller's columns, index and order, then the columns that docs/output.md lists; a Table for a Table. With
        several samples, a row and its index are repeated for each sample.

    Raises:
        errors.RunStopped: the run ended before every row had an outcome (a cap, the endpoint refuses, …). Failed rows
            raise nothing: their `status` is `failed`.
        errors.PipelineError, KeyboardInterrupt: as `Job.run` does.

    Example:
        >>> answers = pipeline.ask(frame, user="{{ question }}", model="meta/llama-3.1-8b-instruct", checkpoint="qa")
        >>> answers["response"]
    """
    if not isinstance(checkpoint, str | PathLike):
        raise InvalidInput(f"checkpoint: the path of a directory is needed, not {type(checkpoint).__name__}")
    sections = {"endpoint": endpoint, "parameters": parameters, "limits": limits, "expect": expect}
    for name, section in sections.items():
        if not isinstance(section, Mapping | None):
            raise InvalidInput(f"{name}: a mapping is needed, not {type(section).__name__}")
    if "model" in (endpoint or {}):
        raise InvalidInput("endpoint.model: the model is an argument of its own; leave it out of `endpoint`")
    prompt: dict[str, object] = {"user": user} if system is None else {"system": system, "user": user}
    if samples != 1:
        prompt["samples"] = samples
    asked = {
        "name": "ask",
        "input": {} if id is None else {"id": id},
        "prompt": prompt,
        "endpoint": {**(endpoint or {}), "model": model},
        "parameters": dict(parameters or {}),
        "limits": dict(limits or {}),
        "checkpoint": {"path": str(checkpoint)},
        **({} if expect is None else {"expect": dict(expect)}),
    }
    with python_words(in_ask):
        table = to_table(frame)
        result = Job(asked, input=table).run()
    if result.summary.pending:
        error = result.summary.error
        why = f"{counted(result.summary.pending, 'row')} of {result.summary.rows:,} without an answer so far"
        raise RunStopped(f"{why}: {error.message}" if error else why, result.exit_code)
    found = result.table()
    answers = found.select(found.column_names[found.column_names.index(RESULT_NAMES[0]) :])
    # Rows of a record batch, or of a reader that has been read to its end, are returned as a table.
    has_place = isinstance(frame, type(table)) or hasattr(frame, "iloc")
    return cast("Frame", _beside(frame if has_place else table, answers, samples))


def _beside(frame: Any, answers: pa.Table, samples: int) -> Any:
    """Return the frame with the answers, each row repeated for each of its answers."""
    import numpy as np
    import pyarrow as pa

    own = np.repeat(np.arange(len(frame)), samples)
    if isinstance(frame, pa.Table):
        frame = frame if samples == 1 else frame.take(own)
        for field, column in zip(answers.schema, answers.columns, strict=True):
            frame = frame.append_column(field, column)
        return frame
    import pandas as pd

    frame = frame if samples == 1 else frame.iloc[own]
    added = answers.to_pandas(types_mapper=pd.ArrowDtype).set_axis(frame.index)
    return pd.concat([frame, added], axis=1)
