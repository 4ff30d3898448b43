"""The paths that a job file names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from pipeline.config.models.section import Section
from pipeline.config.models.values import JOB_TAG, MANY_TAG, ONE_TAG, one_or_many

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def _check_path(path: str) -> str:
    if "\0" in path:
        raise PydanticCustomError("path", "a path cannot hold the character NUL")
    return path


def _check_written_path(path: str) -> str:
    if scheme := _SCHEME.match(path):
        raise PydanticCustomError(
            "path",
            "writing to {scheme}:// is not built yet",
            {"scheme": scheme[1], "suggestion": "give a path on this machine, and copy from there"},
        )
    return path


def _check_output_path(path: str) -> str:
    if path.endswith("/"):
        if path.rstrip("/").rpartition("/")[2] in ("", ".", ".."):
            raise PydanticCustomError(
                "path",
                "the output's directory needs a name, for its manifest stands beside it",
                {"suggestion": "name a directory of its own, such as `data/out/answers/`"},
            )
        return path
    if not path.endswith(".parquet") or path.rpartition("/")[2] == ".parquet":
        raise PydanticCustomError(
            "path",
            "the output is a Parquet file, whose name ends in .parquet, or a directory of them, which ends in /",
            {"suggestion": "let it end in `.parquet`; `pipeline export` writes other formats"},
        )
    return path


def _check_metrics_path(path: str) -> str:
    if not path.endswith(".prom"):
        raise PydanticCustomError(
            "path", "node_exporter reads only files whose names end in .prom", {"suggestion": "let it end in `.prom`"}
        )
    return path


def _check_input_path(path: str) -> str:
    if scheme := _SCHEME.match(path):
        raise PydanticCustomError(
            "path",
            "reading from {scheme}:// is not built yet",
            {"scheme": scheme[1], "suggestion": "copy the files to this machine and name them here"},
        )
    return path


PathText = Annotated[str, Field(min_length=1), AfterValidator(_check_path)]
InputPath = Annotated[PathText, AfterValidator(_check_input_path)]
WrittenPath = Annotated[PathText, AfterValidator(_check_written_path)]
MetricsPath = Annotated[WrittenPath, AfterValidator(_check_metrics_path)]
OutputPath = Annotated[WrittenPath, AfterValidator(_check_output_path)]


class OtherJob(Section):
    """Another job, whose output is the input."""

    job: PathText = Field(description="The job file of the job whose output is read.", examples=["generate.yaml"])


def _input_tag(given: object) -> str:
    return JOB_TAG if isinstance(given, Mapping | OtherJob) else one_or_many(given)


InputPaths = Annotated[
    Annotated[InputPath, Tag(ONE_TAG)]
    | Annotated[tuple[InputPath, ...], Field(min_length=1), Tag(MANY_TAG)]
    | Annotated[OtherJob, Tag(JOB_TAG)],
    Discriminator(_input_tag),
]
