"""Where the acceptance tests find their data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data() -> Path:
    """Where the real prompts are; the project does not carry them."""
    found = Path(os.environ.get("PIPELINE_ACCEPTANCE_DATA") or REPOSITORY.parent / "shared" / "data")
    missing = [name for name in ("gsm8k_test.parquet", "truthfulqa.csv") if not (found / name).is_file()]
    if missing:
        pytest.fail(f"{', '.join(missing)} not found: set PIPELINE_ACCEPTANCE_DATA to the directory that holds them")
    return found
