"""What tells the samples of a row apart: their ids in the journal, and their seeds."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

from pipeline.plan import Rows, Variant
from pipeline.plan.cells import cell_mark, cell_marks, input_row_id, with_occurrence
from pipeline.prompts.parameters import moved_seed
from pipeline.providers import UNBOUNDED
from pipeline.providers.dataoorts import PARAMETERS
from pipeline.records import Request, Row
from pipeline.sources import TableSource


def test_the_first_sample_has_no_mark_and_every_cell_another_one() -> None:
    assert cell_mark("", 0) == ""
    marks = cell_marks(("v1", "v2"), 12)
    assert len(set(marks)) == 24
    assert marks[0] == cell_mark("v1", 0) and marks[13] == cell_mark("v2", 1)


@pytest.mark.parametrize("mark", [cell_mark("", 0), cell_mark("", 3), cell_mark("v1", 0), cell_mark("v1", 3)])
def test_a_turn_belongs_to_the_input_row_and_not_to_its_cell(mark: str) -> None:
    assert input_row_id("key" + mark, has_marks=True) == "key"
    assert input_row_id("key" + mark, has_marks=False) == "key" + mark
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


class Builder:
    """Makes requests, with a seed or without, and counts how often it renders one."""

    def __init__(self, parameters: dict[str, int]) -> None:
        self.parameters = parameters
        self.rendered = 0

    def request(self, row: Row) -> Request:
        self.rendered += 1
        return Request("m", ({"role": "user", "content": str(row["q"])},), self.parameters)

    def sampled(self, request: Request, sample: int) -> Request:
        seed = request.parameters.get("seed")
        return request if seed is None else replace(request, parameters={"seed": int(str(seed)) + sample})


@pytest.mark.parametrize(("parameters", "different"), [({}, 1), ({"seed": 3}, 4)])
def test_the_samples_of_a_row_are_rendered_once_and_hashed_once_where_they_ask_the_same(
    parameters: dict[str, int], different: int
) -> None:
    builder: Any = Builder(parameters)
    rows = Rows(TableSource(pa.table({"q": ["a", "b"]})), (), (Variant(builder, "dataoorts", "m"),), 4)
    values = [{"q": text} for text in "ab" for _ in range(4)]
    asked = list(rows.requests(range(8), values, ["c"] * 8))
    assert builder.rendered == 2
    for own in (asked[:4], asked[4:]):
        assert len({id(request) for request, _ in own}) == len({hashed for _, hashed in own}) == different
    assert [rows.request(values[at], "c", at) for at in range(8)] == asked
