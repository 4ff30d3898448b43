"""`input`: where the rows come from."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pipeline.config.models.paths import InputPaths, OtherJob
from pipeline.config.models.section import Section
from pipeline.config.models.storage import StorageConfig
from pipeline.config.models.values import OneOrManyColumns, Text

BATCH_FORMAT = "openai-batch"


def _check_delimiter(delimiter: str) -> str:
    if delimiter in '"\r\n\0':
        raise PydanticCustomError(
            "delimiter",
            "a quote or a line break cannot separate cells",
            {"suggestion": 'the usual ones are "," ";" and "\\t"'},
        )
    return delimiter


def _check_encoding(encoding: str) -> str:
    try:
        codecs.lookup(encoding)
        "a".encode(encoding)
    except (LookupError, ValueError):
        raise PydanticCustomError(
            "encoding",
            "not an encoding of text that Python knows",
            {"suggestion": "the usual ones are `utf-8`, `latin-1`, `cp1252` and `utf-16`"},
        ) from None
    return encoding


class CsvConfig(Section):
    """How CSV files are written."""

    delimiter: Annotated[str, AfterValidator(_check_delimiter)] = Field(
        default=",", min_length=1, max_length=1, description="The character between cells."
    )
    encoding: Annotated[str, AfterValidator(_check_encoding)] = Field(
        default="utf-8", description="The files' encoding, by its Python name."
    )


class InputConfig(Section):
    """Where the rows come from."""

    path: InputPaths = Field(
        description="A file, a list of files, a glob or a directory, here or in a store (s3://, gs://, abfs://); CSV, "
        "Parquet or JSONL, also as .gz or .zst. Or `{job: JOB.yaml}` for the output of another job, which has to be "
        "complete.",
        examples=["data/problems.parquet"],
    )
    format: Literal["csv", "parquet", "jsonl", "openai-batch"] | None = Field(
        default=None,
        description="The files' format; without it, by their ending. `openai-batch` is for request files of OpenAI's "
        "Batch API, whose bodies are sent as they are.",
        examples=["parquet"],
    )
    id: OneOrManyColumns | None = Field(
        default=None,
        description="A column of unique ids, or several whose values make one together, joined by `/`; without it, a "
        "row is identified by its content.",
        examples=["problem_id"],
    )
    where: Text | None = Field(
        default=None,
        description="An expression over the columns, in the language of the templates; a row for which it is false or "
        "rests on a column that the row lacks is left out.",
        examples=["score | int >= 4"],
    )
    columns: tuple[Text, ...] | None = Field(
        default=None,
        description="The input columns carried to the output; without it, all of them.",
        examples=[["problem_id", "topic"]],
    )
    storage: StorageConfig = Field(
        default=StorageConfig(), description="How the store of s3://, gs:// and abfs:// paths is reached."
    )
    csv: CsvConfig = Field(default=CsvConfig(), description="How CSV files are written.")

    @property
    def has_bodies(self) -> bool:
        """Whether the rows bring the bodies of their requests."""
        return self.format == BATCH_FORMAT

    @property
    def file_format(self) -> Literal["csv", "parquet", "jsonl"] | None:
        """How the files are written; None where their ending says it."""
        return "jsonl" if self.format == "openai-batch" else self.format

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The columns that make the id; none where rows are known by their content."""
        if self.has_bodies and self.id is None:
            return ("custom_id",)
        return () if self.id is None else (self.id,) if isinstance(self.id, str) else self.id

    @property
    def paths(self) -> tuple[str, ...]:
        """The entries of `path`; none while it names another job."""
        return (self.path,) if isinstance(self.path, str) else () if isinstance(self.path, OtherJob) else self.path
