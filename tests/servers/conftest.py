"""The prompts and the model of this suite."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.servers.servers import BUILD, installed

ROWS = 500


@pytest.fixture(scope="session")
def questions(data: Path) -> list[str]:
    """The first questions of GSM8K."""
    found: list[str] = pq.read_table(data / "gsm8k_test.parquet").column("question").to_pylist()
    return found[:ROWS]


@pytest.fixture(scope="session")
def model(questions: list[str]) -> Path:
    """A tiny model with random weights, and a tokenizer trained on the questions."""
    directory = BUILD / "model"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "prompts.txt").write_text("\n".join(questions), encoding="utf-8")
    script = Path(__file__).with_name("tiny_model.py")
    words = [installed("transformers") / "python", script, directory / "prompts.txt", directory]
    subprocess.run(words, check=True, capture_output=True)
    return directory
