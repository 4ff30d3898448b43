"""The output: input rows and their results in one Parquet file, which is complete, checked and on disk before it is
renamed.
"""

from pipeline.sink.columns import RAW_REPLY, RESULT_FIELDS, RESULT_NAMES, result_fields, result_names
from pipeline.sink.gathered import GatheredResults
from pipeline.sink.metadata import JournalState, OutputMetadata, journals_together, read_metadata
from pipeline.sink.names import is_foreign, is_own, partial_path, shows
from pipeline.sink.parquet import OutOfTime
from pipeline.sink.publishing import publish, remove
from pipeline.sink.results import Joined, Results, output_schema

__all__ = [
    "RAW_REPLY",
    "RESULT_FIELDS",
    "RESULT_NAMES",
    "GatheredResults",
    "Joined",
    "JournalState",
    "OutOfTime",
    "OutputMetadata",
    "Results",
    "is_foreign",
    "is_own",
    "journals_together",
    "output_schema",
    "partial_path",
    "publish",
    "read_metadata",
    "remove",
    "result_fields",
    "result_names",
    "shows",
]
