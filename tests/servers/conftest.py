"""The prompts and the model of this suite."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.servers.servers import tiny_model

ROWS = 500


@pytest.fixture(scope="session")
def questions(data: Path) -> list[str]:
    """The first questions of GSM8K."""
    found: list[str] = pq.read_table(data / "gsm8k_test.parquet").column("question").to_pylist()
    return found[:ROWS]


@pytest.fixture(scope="session")
def model(questions: list[str]) -> Path:
    """A tiny model with random weights, and a tokenizer trained on the questions."""
    return tiny_model(questions)
