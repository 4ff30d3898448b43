"""The answers of a job in other shapes. Each format writes what `Chosen` gives it, and knows nothing of the rest."""

from pipeline.exports.batch_files import write_batch_results
from pipeline.exports.beside import Answers, OtherOutput, Standing, WithOther
from pipeline.exports.chats import preference_writer, write_messages, write_prompt_completion
from pipeline.exports.files import Writer, write_file, write_stream
from pipeline.exports.hub import JobFacts, publish_folder, read_splits
from pipeline.exports.selection import Chosen, Selection
from pipeline.exports.tables import csv_writer, write_jsonl, write_parquet

__all__ = [
    "Answers",
    "Chosen",
    "JobFacts",
    "OtherOutput",
    "Selection",
    "Standing",
    "WithOther",
    "Writer",
    "csv_writer",
    "preference_writer",
    "publish_folder",
    "read_splits",
    "write_batch_results",
    "write_file",
    "write_jsonl",
    "write_messages",
    "write_parquet",
    "write_prompt_completion",
    "write_stream",
]
