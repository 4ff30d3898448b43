"""The paths that a job file names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from pipeline.config.models.section import Section
from pipeline.config.models.values import JOB_TAG, MANY_TAG, ONE_TAG, one_or_many
from pipeline.storage import SCHEMES, split_uri

_OTHER_NAMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs", "az": "abfs", "azure": "abfs"}
"""What other tools call the schemes that are known."""


def _check_path(path: str) -> str:
    if "\0" in path:
        raise PydanticCustomError("path", "a path cannot hold the character NUL")
    return path


def _check_written_path(path: str) -> str:
    if found := split_uri(path):
        raise PydanticCustomError(
            "path",
            "this file is written on this machine, not to {scheme}://",
            {"scheme": found[0], "suggestion": "give a path on this machine"},
        )
    return path


def _check_checkpoint_path(path: str) -> str:
    if found := split_uri(path):
        raise PydanticCustomError(
            "path",
            "a checkpoint is on a disk of this machine, not in {scheme}://",
            {"scheme": found[0], "suggestion": "give a path on this machine; `backup` puts copies into a store"},
        )
    return path


def _check_stored_path(path: str) -> str:
    """Check the path of a file that may be in a store."""
    found = split_uri(path)
    if found is None:
        return path
    scheme, bucket, _ = found
    if scheme not in SCHEMES:
        near = _OTHER_NAMES.get(scheme.lower(), scheme.lower())
        hint = f"write {near}://" if near in SCHEMES else "copy the files to this machine, or to a store"
        raise PydanticCustomError(
            "path",
            "{scheme}:// is no store that is known; those are s3://, gs:// and abfs://",
            {"scheme": scheme, "suggestion": hint},
        )
    if not bucket:
        raise PydanticCustomError("path", "no bucket is named", {"suggestion": f"write {scheme}://BUCKET/NAME"})
    if "@" in bucket and (scheme != "abfs" or ":" in bucket):
        hint = "set them in the environment, as for the store's own tools"
        raise PydanticCustomError("path", "credentials do not belong in a path", {"suggestion": hint})
    return path


def _check_backup_path(path: str) -> str:
    found = split_uri(path)
    if found is None or not found[2].strip("/"):
        raise PydanticCustomError(
            "path", "a backup goes into a folder of a store", {"suggestion": "such as `s3://my-bucket/backups/answers`"}
        )
    return path


def _check_output_path(path: str) -> str:
    if path.endswith("/"):
        found = split_uri(path)
        if (path if found is None else found[2]).rstrip("/").rpartition("/")[2] in ("", ".", ".."):
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


PathText = Annotated[str, Field(min_length=1), AfterValidator(_check_path)]
InputPath = Annotated[PathText, AfterValidator(_check_stored_path)]
BackupPath = Annotated[PathText, AfterValidator(_check_stored_path), AfterValidator(_check_backup_path)]
CheckpointPath = Annotated[PathText, AfterValidator(_check_checkpoint_path)]
WrittenPath = Annotated[PathText, AfterValidator(_check_written_path)]
MetricsPath = Annotated[WrittenPath, AfterValidator(_check_metrics_path)]
OutputPath = Annotated[PathText, AfterValidator(_check_stored_path), AfterValidator(_check_output_path)]


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
