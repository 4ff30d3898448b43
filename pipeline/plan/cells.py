"""What tells the rows apart that one input row makes: its samples, in each variant of a sweep.

In the journal such a row has the id of its input row, and behind it the mark of its cell. Sample 0 without a sweep has
no mark: it is the row that a job without samples would have.
"""

from __future__ import annotations

SEPARATOR = "\x1f"
"""Parts a row's id from its cell's mark; no id may hold it where rows have such marks."""


def cell_marks(variants: tuple[str, ...], samples: int) -> list[str]:
    """Return the mark of each cell with its separator, in the order variant, then sample. `variants` are the marks of
    the variants, empty without a sweep.
    """
    return [cell_mark(variant, sample) for variant in variants for sample in range(samples)]


def cell_mark(variant: str, sample: int) -> str:
    """Return the mark of one cell with its separator, empty where there is nothing to tell apart."""
    parts = [variant] if variant else []
    parts += [str(sample)] if sample else []
    return SEPARATOR + ",".join(parts) if parts else ""


def input_row_id(row_id: str) -> str:
    """Return the id of the input row that a row of the journal was made of."""
    return row_id.partition(SEPARATOR)[0]


def with_turn(row_id: str, turn: int) -> str:
    """Return the id of a row whose content stands for the `turn`-th time."""
    own, separator, mark = row_id.partition(SEPARATOR)
    return f"{own}#{turn}{separator}{mark}"
