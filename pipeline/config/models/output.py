"""`output` and `checkpoint`: where answers and progress are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.config.models.paths import BackupPath, CheckpointPath, OutputPath
from pipeline.config.models.section import Section
from pipeline.config.models.storage import StorageConfig


class CheckpointConfig(Section):
    """Where the progress is kept."""

    path: CheckpointPath | None = Field(
        default=None,
        description="A directory of the job's own; without it, .checkpoints/<name>.",
        examples=[".checkpoints/answers"],
    )
    backup: BackupPath | None = Field(
        default=None,
        description="A folder in a store for a copy of the progress, from which a missing checkpoint is restored; the "
        "store is reached as `output.storage` says.",
        examples=["s3://my-bucket/backups/answers"],
    )
    backup_seconds: float = Field(
        default=300, gt=0, description="The least time between two copies; the last one is made when a run stops."
    )


class OutputConfig(Section):
    """Where the answers go."""

    path: OutputPath = Field(
        description="The Parquet file that is written once every row has an outcome, here or in a store (s3://, gs://,"
        " abfs://). With a slash at the end it is a directory of such files, beside which a manifest lists them.",
        examples=["data/out/answers.parquet"],
    )
    compression: Literal["zstd", "snappy", "gzip", "none"] = Field(
        default="zstd", description="The Parquet file's compression."
    )
    rows_per_file: int = Field(
        default=1_000_000, ge=1, description="The most rows of each file in a directory.", examples=[100_000]
    )
    prefix: str = Field(default="", description="Put before the names of the columns that are added.")
    storage: StorageConfig = Field(
        default=StorageConfig(), description="How the store of an s3://, gs:// or abfs:// path is reached."
    )
    raw_reply: bool = Field(
        default=False,
        description="Whether the last column holds each reply as it came, at most 1 MiB. Replies from before are null.",
    )
    overwrite: bool = Field(
        default=False,
        description="Whether a file at the path that this job did not write may be replaced: in a directory, any file.",
    )

    @property
    def is_directory(self) -> bool:
        """Whether the output is a directory of part files."""
        return self.path.endswith("/")
