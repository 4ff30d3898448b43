"""Many events at once, as an output needs them: in Arrow's arrays, without a Python object for each field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct
from msgspec.json import decode as from_json
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv

from pipeline.arrays import strings

_WANTED = pa.schema([("row_id", pa.string()), ("request_hash", pa.string()), ("settings_id", pa.int64())])
_FIELDS = ["plan", "position", "state", "row_id", "request_hash", "settings_id", "content_key", "source"]
"""The fields of a head in their order, as `EventHead` has them."""


class EventTexts(Struct, frozen=True):
    """Many events in the order of their numbers: what an output needs of their heads, and their records as JSON."""

    row_ids: pa.StringArray
    request_hashes: pa.StringArray
    settings_ids: npt.NDArray[np.int64]
    records: Sequence[bytes]


def texts_of(heads: Sequence[bytes], records: Sequence[bytes]) -> EventTexts:
    """Return the events with these heads, given as they are stored. Raises ValueError if one is damaged."""
    whole = b"\n".join(heads)
    if b"\\" in whole:
        _, _, _, ids, hashes, settings, _, _ = zip(*map(from_json, heads), strict=True)
        return EventTexts(strings(ids), strings(hashes), np.array(settings, np.int64), records)
    # An array of JSON without an escape is a line of CSV, which Arrow reads three times as fast. The brackets stand in
    # the first and the last field.
    table = read_csv(
        pa.BufferReader(whole),
        read_options=ReadOptions(column_names=_FIELDS, use_threads=False, block_size=len(whole) + 1),  # in one piece
        parse_options=ParseOptions(double_quote=False),
        convert_options=ConvertOptions(
            include_columns=_WANTED.names, column_types=_WANTED, strings_can_be_null=False, null_values=[]
        ),
    )
    if table.num_rows != len(heads):
        raise ValueError("the head of an event is damaged")
    (batch,) = table.to_batches()
    ids, hashes, settings = batch.columns
    numbers = np.frombuffer(settings.buffers()[1], np.int64, len(heads))  # `to_numpy` imports pandas
    return EventTexts(ids, hashes, numbers, records)
