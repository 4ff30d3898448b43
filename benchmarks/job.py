"""A job of ours against the server, and how its command is run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks import BUILD
from benchmarks.process import Measured, measure
from benchmarks.server import Server, Stats

COMMAND = Path(sys.executable).with_name("pipeline")
MODELS = {"dataoorts": "meta/llama-4-scout-17b-16e-instruct", "openai": "gpt-4o-mini"}
PARAMETERS = {"max_tokens": 256, "temperature": 0.7}
KEY = {"BENCHMARK_KEY": "sk-benchmark-0123456789"}


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what it took, what the server counted, and the rows that it sent."""

    measured: Measured
    stats: Stats
    rows: int

    @property
    def wall(self) -> float:
        """Seconds from the command's start to its end."""
        return self.measured.wall

    @property
    def rows_per_second(self) -> float:
        """Over the whole process."""
        return self.rows / self.wall

    @property
    def cpu_per_row(self) -> float:
        """CPU seconds, all included."""
        return self.measured.cpu / self.rows

    @property
    def to_first_request(self) -> float:
        """Seconds from the command's start to its first request."""
        assert self.stats.first is not None
        return self.stats.first - self.measured.started


@dataclass(frozen=True, slots=True)
class Job:
    """A job with a directory of its own below `BUILD`.

    `prefix` is the server's (latency, length of the answers), `columns` the input columns to carry, None for all,
    `endpoint` further settings of the endpoint, and `sections` what further sections of the job file hold, or hold
    instead.
    """

    name: str
    server: Server
    prompts: Path
    rows: int
    concurrency: int = 64
    prefix: str = ""
    kind: str = "dataoorts"
    columns: tuple[str, ...] | None = None
    sections: Mapping[str, Any] = field(default_factory=dict)
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    directory: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", BUILD / "jobs" / self.name)

    @property
    def file(self) -> Path:
        """The job file."""
        return self.directory / "job.yaml"

    @property
    def output(self) -> Path:
        """Where the answers go."""
        return self.directory / "answers.parquet"

    @property
    def checkpoint(self) -> Path:
        """The directory of its journal."""
        return self.directory / "checkpoint"

    def begin(self) -> None:
        """Write the job file; whatever an earlier run left is removed."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        document: dict[str, Any] = {
            "name": self.name,
            "input": {"path": str(self.prompts), "id": "id"},
            "prompt": {"column": "prompt"},
            "endpoint": {
                "kind": self.kind,
                "url": self.server.url(self.kind, self.prefix),
                "model": MODELS[self.kind],
                "api_key_env": next(iter(KEY)),
                **self.endpoint,
            },
            "parameters": PARAMETERS,
            "limits": {"concurrency": self.concurrency},
            "pricing": {"input_usd_per_million": 0.32, "output_usd_per_million": 0.34},
            "checkpoint": {"path": str(self.checkpoint)},
            "output": {"path": str(self.output)},
        }
        if self.columns is not None:
            document["input"]["columns"] = list(self.columns)
        document |= self.sections
        self.file.write_text(json.dumps(document, indent=2), encoding="utf-8")  # JSON is YAML

    def command(self, *words: str | Path, wrapper: Sequence[str | Path] = ()) -> list[str | Path]:
        """Return the command line of `pipeline run`, or of the words given, for this job."""
        name, *rest = words or ("run",)
        return [*(wrapper or [COMMAND]), name, self.file, *rest]

    def run(
        self,
        *words: str | Path,
        seed: int = 0,
        wrapper: Sequence[str | Path] = (),
        allowed: Sequence[int] = (0,),
        environment: Mapping[str, str] = MappingProxyType({}),
        **watching: Any,
    ) -> Run:
        """Run it, from wherever it stands. Raises RuntimeError where it ends with an exit code that is not `allowed`.

        `watching` is given to `benchmarks.process.measure`.
        """
        self.server.reset(seed)
        log = self.directory / "log"
        command = self.command(*(words or ("run", "--json")), wrapper=wrapper)
        measured = measure(command, log, environment={**KEY, **environment}, **watching)
        if measured.exit_code not in allowed:
            raise RuntimeError(f"{self.name} ended with exit code {measured.exit_code}; see {log}\n{measured.output}")
        stats = self.server.stats()
        return Run(measured, stats, stats.requests)
