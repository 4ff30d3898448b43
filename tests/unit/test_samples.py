"""What tells the samples of a row apart: their ids in the journal, and their seeds."""

from __future__ import annotations

import pytest

from pipeline.plan.cells import cell_mark, cell_marks, input_row_id, with_occurrence
from pipeline.prompts.parameters import moved_seed
from pipeline.providers import UNBOUNDED
from pipeline.providers.dataoorts import PARAMETERS


def test_the_first_sample_has_no_mark_and_every_cell_another_one() -> None:
    assert cell_mark("", 0) == ""
    marks = cell_marks(("v1", "v2"), 12)
    assert len(set(marks)) == 24
    assert marks[0] == cell_mark("v1", 0) and marks[13] == cell_mark("v2", 1)


@pytest.mark.parametrize("mark", [cell_mark("", 0), cell_mark("", 3), cell_mark("v1", 0), cell_mark("v1", 3)])
def test_a_turn_belongs_to_the_input_row_and_not_to_its_cell(mark: str) -> None:
    assert input_row_id("key" + mark) == "key"
    assert with_occurrence("key" + mark, 2) == "key#2" + mark


@pytest.mark.parametrize(
    ("seed", "steps", "moved"),
    [(1, 0, 1), (7, 3, 10), (9_999_999_998, 1, 9_999_999_999), (9_999_999_999, 1, 1), (9_999_999_999, 10_000, 10_000)],
)
def test_a_seed_for_dataoorts_wraps_from_the_largest_to_1(seed: int, steps: int, moved: int) -> None:
    assert moved_seed(seed, steps, PARAMETERS["seed"]) == moved


@pytest.mark.parametrize(
    ("seed", "steps", "moved"),
    [(0, 2, 2), (-5, 3, -2), (2**63 - 1, 0, 2**63 - 1), (2**63 - 1, 1, 0), (2**63 - 2, 3, 1)],
)
def test_a_seed_for_other_servers_wraps_from_the_largest_int64_to_0(seed: int, steps: int, moved: int) -> None:
    assert moved_seed(seed, steps, UNBOUNDED["seed"]) == moved
