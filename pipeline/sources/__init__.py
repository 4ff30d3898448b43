"""CSV, Parquet, JSONL and request files of OpenAI's Batch API as one stream of typed rows with stable identities.

| module | does |
|---|---|
| source | the files together: `open_source` |
| chosen | `input.where`, or a shard -> the rows that count |
| copies | rows that were read once, on disk |
| shards, hashes | a row -> its shard, by the hash of its id |
| files | `input.path` -> the files, their order, format and facts |
| csv, parquet, jsonl | a file -> its columns and its rows in chunks |
| batch_requests | a request file -> its ids and bodies, in chunks of jsonl |
| tables | directories of table formats, which are refused |
| widening | types that differ only in storage -> the wider one |
| utf8 | text columns that hold other bytes |
| scan | text -> blocks of whole CSV rows, checked against the grammar |
| memory | rows that a Python caller holds |
| streams | a file -> pieces of bytes, unpacked |
| places | where a row is, and what is wrong there |
| json_columns | JSON values that are kept as they are, beside the one type of the output |
| identity | rows -> values for prompts, content keys, ids |
| canonical, values, nested | Arrow values -> bytes to hash, or Python values, however deep |
"""

from __future__ import annotations

from pipeline.sources.chosen import ChosenRows, Undecided
from pipeline.sources.chunks import Mark, pick, taken
from pipeline.sources.files import InputFile, digest_of_beginning, file_facts
from pipeline.sources.json_columns import written_column
from pipeline.sources.memory import TableSource, to_table
from pipeline.sources.shards import rows_of, shard_numbers
from pipeline.sources.source import Source, Watched, column_mistakes, fingerprint, notes_of_files, open_source

__all__ = [
    "ChosenRows",
    "InputFile",
    "Mark",
    "Source",
    "TableSource",
    "Undecided",
    "Watched",
    "column_mistakes",
    "digest_of_beginning",
    "file_facts",
    "fingerprint",
    "notes_of_files",
    "open_source",
    "pick",
    "rows_of",
    "shard_numbers",
    "taken",
    "to_table",
    "written_column",
]
