"""The output: input rows and their results in Parquet, each file complete, checked and on disk before it is renamed."""

from pipeline.sink.columns import RAW_REPLY, RESULT_FIELDS, RESULT_NAMES, result_fields, result_names
from pipeline.sink.gathered import AnyResults, GatheredResults
from pipeline.sink.groups import RowGroup, row_groups, write_groups
from pipeline.sink.joined import Joined, fields_of
from pipeline.sink.metadata import JournalState, OutputMetadata, journals_together, read_metadata
from pipeline.sink.parquet import OutOfTime, unwritable
from pipeline.sink.parts import holds
from pipeline.sink.publishing import publish, supersede
from pipeline.sink.results import Results, output_schema
from pipeline.sink.standing import files_of, is_complete, is_foreign, is_own, is_there, metadata_at, parts_in, shows

__all__ = [
    "RAW_REPLY",
    "RESULT_FIELDS",
    "RESULT_NAMES",
    "AnyResults",
    "GatheredResults",
    "Joined",
    "JournalState",
    "OutOfTime",
    "OutputMetadata",
    "Results",
    "RowGroup",
    "fields_of",
    "files_of",
    "holds",
    "is_complete",
    "is_foreign",
    "is_own",
    "is_there",
    "journals_together",
    "metadata_at",
    "output_schema",
    "parts_in",
    "publish",
    "read_metadata",
    "result_fields",
    "result_names",
    "row_groups",
    "shows",
    "supersede",
    "unwritable",
    "write_groups",
]
