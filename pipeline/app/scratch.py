"""A place for what is worked out and then thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import CheckpointFailed


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory of its own, that nobody else can read, for as long as something is worked out."""
    try:
        directory = tempfile.TemporaryDirectory()
    except OSError as error:
        raise CheckpointFailed(f"no scratch directory can be made (TMPDIR names where): {error.strerror}") from error
    with directory as path:
        yield Path(path)
