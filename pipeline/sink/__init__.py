"""Input order x journal -> one Parquet file: complete, checked, on disk, and only then at its path."""

from pipeline.sink.columns import RESULT_FIELDS, RESULT_NAMES, result_fields, result_names
from pipeline.sink.names import is_foreign, is_own, partial_path, read_metadata, shows
from pipeline.sink.parquet import OutOfTime
from pipeline.sink.publishing import publish, remove
from pipeline.sink.results import Joined, Results

__all__ = [
    "RESULT_FIELDS",
    "RESULT_NAMES",
    "Joined",
    "OutOfTime",
    "Results",
    "is_foreign",
    "is_own",
    "partial_path",
    "publish",
    "read_metadata",
    "remove",
    "result_fields",
    "result_names",
    "shows",
]
