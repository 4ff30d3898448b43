"""The ids of the rows that one input row makes: one for each sample, in each variant of a sweep.

In the journal the id of such a row is that of its input row, followed by the mark of its cell. Sample 0 without a sweep
has no mark: it is the row that a job without samples would have.
"""

from __future__ import annotations

SEPARATOR = "\x1f"
"""Parts a row's id from its cell's mark; no id may hold it where rows have such marks."""


def cell_marks(variants: tuple[str, ...], samples: int) -> list[str]:
    """Return the mark of each cell with its separator, in the order variant, then sample.

    `variants` are the marks of the variants, empty without a sweep.
    """
    return [cell_mark(variant, sample) for variant in variants for sample in range(samples)]


def cell_mark(variant: str, sample: int) -> str:
    """Return the mark of one cell with its separator; empty for sample 0 without a sweep."""
    parts = [variant] if variant else []
    parts += [str(sample)] if sample else []
    return SEPARATOR + ",".join(parts) if parts else ""


def input_row_id(row_id: str, *, has_marks: bool) -> str:
    """Return the id of the input row of a row in the journal; `has_marks` says whether the job's rows have such marks.
    Without them the id is whole, whatever it holds.
    """
    return row_id.partition(SEPARATOR)[0] if has_marks else row_id


def variant_mark(row_id: str) -> str:
    """Return the mark of the variant that a row of the journal belongs to, empty without a sweep."""
    mark, _, _ = row_id.partition(SEPARATOR)[2].partition(",")
    return "" if mark.isdecimal() else mark


def with_occurrence(row_id: str, occurrence: int) -> str:
    """Return the id of a row whose content occurs for the `occurrence`-th time."""
    own, separator, mark = row_id.partition(SEPARATOR)
    return f"{own}#{occurrence}{separator}{mark}"
