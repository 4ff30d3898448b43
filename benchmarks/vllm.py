"""A run against vLLM on the CPU beside a bare aiohttp loop, whole processes in turns:
python -m benchmarks.vllm [--rows N] [--tokens N] [--turns N] [--document]
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq

from benchmarks import BUILD
from benchmarks.bench import say
from benchmarks.document import put_table
from benchmarks.inputs import prompts
from benchmarks.job import COMMAND, KEY
from benchmarks.process import Measured, measure
from benchmarks.table import Row, as_text, at_most, save
from tests.servers.servers import Server, tiny_model

CONCURRENCY = 16
_BAR = 1.03
_DIRECTORY = BUILD / "jobs" / "vllm"


def main() -> None:
    """Run both in turns; exits with 1 where the bar was not reached."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.vllm")
    parser.add_argument("-n", "--rows", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=64, help="in each answer")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--document", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    shutil.rmtree(_DIRECTORY, ignore_errors=True)
    _DIRECTORY.mkdir(parents=True)
    file = prompts(arguments.rows)
    server = Server("vllm", tiny_model(pq.read_table(file)["prompt"].to_pylist(), "measured-model"))
    try:
        server.start()
        _loop(server, file, arguments.tokens)  # the server is warm from here on
        turns = [
            (_ours(server, file, arguments.tokens), _loop(server, file, arguments.tokens))
            for _ in range(arguments.turns)
        ]
    finally:
        server.kill()
    row = _row(turns, arguments.rows, arguments.tokens, server.version)
    print(as_text([row]))
    save([row], BUILD / "results" / "vllm.jsonl")
    if arguments.document:
        put_table("vllm", [row])
    sys.exit(row.is_missed)


def _row(turns: Sequence[tuple[Measured, Measured]], rows: int, tokens: int, version: str) -> Row:
    wall = median(ours.wall / loop.wall for ours, loop in turns)
    cpu = median(ours.cpu / loop.cpu for ours, loop in turns)
    return Row(
        f"vLLM {version} on the CPU, {rows:,} rows of {tokens} tokens, {CONCURRENCY} in flight",
        f"{median(ours.wall for ours, _ in turns):.1f} s, {wall:.3f} of the loop's time, {cpu:.2f} of its CPU",
        f"aiohttp loop {median(loop.wall for _, loop in turns):.1f} s",
        f"≤ {_BAR} of the loop's time",
        at_most(wall, _BAR),
    )


def _ours(server: Server, file: Path, tokens: int) -> Measured:
    shutil.rmtree(_DIRECTORY / "checkpoint", ignore_errors=True)
    output = _DIRECTORY / "answers.parquet"
    output.unlink(missing_ok=True)
    endpoint = {"kind": "openai", "url": server.url, "model": server.model_name, "api_key_env": next(iter(KEY))}
    job = {
        "name": "vllm",
        "input": {"path": str(file), "id": "id"},
        "prompt": {"column": "prompt"},
        "endpoint": {**endpoint, "extra_body": {"ignore_eos": True}},
        "parameters": {"max_tokens": tokens, "temperature": 0},
        "limits": {"concurrency": CONCURRENCY},
        "checkpoint": {"path": str(_DIRECTORY / "checkpoint")},
        "output": {"path": str(output)},
    }
    (_DIRECTORY / "job.yaml").write_text(json.dumps(job), encoding="utf-8")  # JSON is YAML
    return _measured("ours", [COMMAND, "run", _DIRECTORY / "job.yaml"])


def _loop(server: Server, file: Path, tokens: int) -> Measured:
    output = _DIRECTORY / "loop.parquet"
    body = json.dumps({"max_tokens": tokens, "temperature": 0, "ignore_eos": True})
    words: list[str | Path] = [file, output, f"{server.url}/chat/completions", server.model_name, str(CONCURRENCY)]
    return _measured("loop", [sys.executable, "-m", "benchmarks.limits.aiohttp_loop", *words, body])


def _measured(name: str, command: Sequence[str | Path]) -> Measured:
    """Run a program that asks for every row. Raises RuntimeError where it has not all answers."""
    found = measure(command, _DIRECTORY / "log", environment=KEY)
    say(f"{name}: {found.wall:.1f} s, {found.cpu:.1f} s of CPU")
    if found.exit_code:
        raise RuntimeError(f"{name} ended with exit code {found.exit_code}; see {_DIRECTORY / 'log'}")
    return found


if __name__ == "__main__":
    main()
