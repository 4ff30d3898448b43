"""Coverage-guided fuzzing of what reads foreign bytes: `make fuzz TARGET=replies` or `TARGET=jobs`.

The property tests say what has to hold of any bytes; here libFuzzer, through atheris, looks for bytes that break it,
led by the branches that they reach. Arguments after the target are libFuzzer's own (-max_total_time=600, a corpus).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pipeline", "ruamel", "json"]):
    from tests.properties import test_config, test_endpoints

STATUSES = (200, 201, 204, 302, 400, 401, 403, 404, 408, 413, 429, 500, 502, 504, 524, 530)
CONTENT_TYPES = ("application/json", "text/html", "text/plain; charset=iso-8859-1", "")


def fuzz_replies(data: bytes) -> None:
    """Any status, content type and body become one typed value."""
    choice = data[0] if data else 0
    status, content_type = STATUSES[choice % len(STATUSES)], CONTENT_TYPES[choice // len(STATUSES) % len(CONTENT_TYPES)]
    for kind in test_endpoints.KINDS:
        test_endpoints.check(kind, status, {"Content-Type": content_type}, data[1:])


def job_target(directory: Path) -> Callable[[bytes], None]:
    """Any bytes of a job file are read, or refused with every mistake in its place."""

    def fuzz_jobs(data: bytes) -> None:
        test_config.read(directory / "job.yaml", data)

    return fuzz_jobs


def seeds(target: str) -> list[bytes]:
    """Where libFuzzer begins: one sound example of each kind."""
    if target == "jobs":
        return [test_config.JOB.encode()]
    usage = b'"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}'
    return [
        b'\x00{"errors":[],"messages":[],"result":{"response":"a","tool_calls":[],' + usage + b'},"success":true}',
        b'\x00{"choices":[{"message":{"content":"a","tool_calls":[]},"finish_reason":"stop"}],' + usage + b"}",
        b'\x0a{"result":null,"success":false,"errors":[{"code":3040,"message":"AiError: 3040: busy"}],"messages":[]}',
        b"\x1c<html>error code: 502</html>",
    ]


def main() -> None:
    """Fuzz the target that the first argument names, until libFuzzer ends or something breaks."""
    target, options = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(seeds(target)):
            (corpus / str(number)).write_bytes(seed)
        function = {"replies": fuzz_replies, "jobs": job_target(Path(directory))}[target]
        atheris.Setup([sys.argv[0], *options, str(corpus)], function)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
