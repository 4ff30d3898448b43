"""What a row of JSONL is depends on that row alone: values, key and id are those of a file that holds it alone."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.models import InputConfig
from pipeline.sources import open_source
from pipeline.sources.identity import content_keys, id_texts, row_values

NAMES = st.sampled_from(["a", "b", "c", "é"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.integers(-2, 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 1.0, 2**63, -(2**63), "", "1", "1.0", "null", "[]", '["x"]', "{}", '"x"', "x"])
    | st.text(st.characters(codec="utf-8"), max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4).map(lambda row: {"q": "text", **row})


def known(files: list[list[dict[str, Any]]]) -> list[tuple[dict[str, Any], str, str | None]]:
    """Of each row, in order: its values (as a template sees them, and as it goes through them), key and id."""
    with tempfile.TemporaryDirectory() as directory:
        for number, rows in enumerate(files):
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            Path(directory, f"{number}.jsonl").write_bytes(lines.encode("utf-8", "surrogatepass"))
        found: list[tuple[dict[str, Any], str, str | None]] = []
        for batch in open_source(InputConfig(path=directory)).batches():
            ids = id_texts(batch, ("a",)) if "a" in batch.schema.names else [None] * batch.num_rows
            for values, key, id_ in zip(row_values(batch), content_keys(batch), ids, strict=True):
                alone = dict(getattr(values, "alone", values))
                found.append((alone, key, id_ if type(alone.get("a")) in (str, int) else None))
        return found


def exact(value: Any) -> str:
    """Text that tells 1 from 1.0 and from true, and a list from its text."""
    return json.dumps(value, sort_keys=True)


@given(st.lists(st.lists(ROWS, min_size=1, max_size=4), min_size=1, max_size=3))
def test_a_row_is_what_it_is_alone(files: list[list[dict[str, Any]]]) -> None:
    rows = [row for file in files for row in file]
    together = known(files)
    alone = [one for row in rows for one in known([[row]])]
    assert [(exact(values), key, id_) for values, key, id_ in together] == [
        (exact(values), key, id_) for values, key, id_ in alone
    ]
    assert [exact(values) for values, _, _ in together] == [exact(row) for row in rows]


@given(st.lists(ROWS, min_size=2, max_size=6))
def test_rows_have_one_key_where_they_are_equal_and_only_there(rows: list[dict[str, Any]]) -> None:
    keys = [key for _, key, _ in known([rows])]
    texts = [json.dumps(row, sort_keys=True) for row in rows]
    assert all((keys[i] == keys[j]) == (texts[i] == texts[j]) for i in range(len(rows)) for j in range(i))
