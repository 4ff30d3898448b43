"""A small job with faults, an endpoint that outlives its runs, and the oracle of what has to hold in the end.

The oracle is the endpoint's ledger: what it was asked and what it billed, beside what the job says.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.journal import ANSWERS, Journal
from pipeline.simulator import Exchange, Settings, Simulator, prompt_digest, read_ledger
from tests.support.oracle import billed, is_known

CONCURRENCY = 4
FAULTS = {
    2: "500 x1",
    5: "reset_amid x1",
    8: "usage_missing",
    11: "400",
    14: "bad_json x1",
    17: "429 x1",
    20: "truncated x1",
    23: "empty_response",
}
"""What the endpoint does with some rows; the others are answered at once."""
_LATENCY_SECONDS = 0.01
_ARRIVAL_SECONDS = 0.05
"""What a killed run had sent is in the ledger by then, and the next run has not begun to send."""
_UNPRICED = "usage_missing"
CHECKPOINT_ID = "0" * 16
"""That of every checkpoint a warm process makes."""
_LASTING_FILES = {
    "journal.sqlite",
    "journal.sqlite-wal",
    "journal.sqlite-shm",
    "acknowledged",
    "plan",
    "progress.json",
    "lock",
}
_MANIFEST = "answers.manifest.json"
_DRAFTS = {
    "journal.sqlite.new",
    "journal.sqlite.new-journal",
    "acknowledged.new",
    "plan.new",
    "planning.sqlite",
    "progress.json.new",
}


def known_cost(exchange: Exchange) -> Decimal:
    """What a request cost, in USD, as far as its reply told; 0 where it did not tell."""
    return billed(exchange) if is_known(exchange) else Decimal(0)


@dataclass
class _Cut:
    """What the journal held when a run had been cut off: how often each answered row had been asked, and the requests
    that were under way, each since when.
    """

    answered: dict[str, int]
    open_since: dict[str, float]
    until: float = field(default_factory=time.time)


class Job:
    """A job of `rows` rows in a directory of its own. Its checkpoint and output may stand elsewhere, in `disk`. A
    `wide` output has several files.
    """

    def __init__(self, directory: Path, rows: int, *, disk: Path | None = None, wide: bool = False) -> None:
        self.directory = directory
        self.disk = disk or directory
        self.wide = wide
        self.rows = {str(n): f"question {n}" + (f" [[fault: {FAULTS[n]}]]" if n in FAULTS else "") for n in range(rows)}
        self.prompts = {row: prompt_digest([{"role": "user", "content": text}]) for row, text in self.rows.items()}
        self._cuts: list[_Cut] = []
        directory.mkdir(parents=True, exist_ok=True)
        self._ledger = directory / "ledger.jsonl"
        self._endpoint = Simulator(Settings(latency_seconds=_LATENCY_SECONDS, ledger=str(self._ledger)))
        self._write(self._endpoint.start())

    @property
    def checkpoint(self) -> Path:
        return self.disk / "state" / "job"

    @property
    def output(self) -> Path:
        return self.disk / "out" / ("answers" if self.wide else "answers.parquet")

    @property
    def files(self) -> list[Path]:
        """Every path that a run may change, drafts included, with the directories."""
        directories = (self.checkpoint.parent, self.checkpoint, self.output.parent)
        drafts = (".answers.parquet." + CHECKPOINT_ID + ".writing", "answers.partial.parquet")
        outputs = (self.output, *(self.output.parent / name for name in drafts))
        return [*directories, *(self.checkpoint / name for name in _LASTING_FILES | _DRAFTS), *outputs]

    @property
    def exit_code(self) -> int:
        """What a run to the end exits with: 3 where a row asks for what the endpoint refuses."""
        return 3 if any("[[fault: 400]]" in text for text in self.rows.values()) else 0

    def close(self) -> None:
        self._endpoint.stop()

    def exchanges(self) -> dict[str, list[Exchange]]:
        """Every request so far, by row, in order of arrival."""
        rows = {prompt: row for row, prompt in self.prompts.items()}
        found = defaultdict(list)
        for exchange in read_ledger(self._ledger):
            found[rows[exchange.asked["prompt"]]].append(exchange)
        return found

    def cut_off(self) -> None:
        """Take down what the journal holds after a run that did not end by itself. It must be sound.

        Waits until what was on its way has arrived, so that no request of the next run is taken for one of this one.
        """
        time.sleep(_ARRIVAL_SECONDS)
        if not Journal.exists(self.checkpoint):
            self._cuts.append(_Cut({}, {}))
            return
        copy = self.directory / "as-it-was"
        shutil.copytree(self.checkpoint, copy)
        journal = Journal.read(copy)
        asked = self.exchanges()
        self._cuts.append(
            _Cut(
                {entry.row_id: len(asked[entry.row_id]) for entry in journal.index() if entry.state in ANSWERS},
                {claim.row_id: claim.claimed_at for claim in journal.claims()},
            )
        )
        journal.close()
        shutil.rmtree(copy)
        assert len(self._cuts[-1].open_since) <= CONCURRENCY

    def check(self, summary: dict[str, Any]) -> None:
        """The job has come to its end: every row has its own answer, nothing was lost, doubled or miscounted."""
        asked = self.exchanges()
        self._check_requests(self.check_output(), asked)
        self._check_money(summary, asked)
        standing = [*self.checkpoint.iterdir(), *self.output.parent.iterdir()]
        outputs = {self.output.name, *([_MANIFEST] if self.wide else [])}
        leftover = {path.name for path in standing} - _LASTING_FILES - outputs
        assert not leftover
        if self.wide:
            manifest = json.loads((self.output.parent / _MANIFEST).read_text())
            assert [one["path"] for one in manifest["files"]] == sorted(path.name for path in self.output.iterdir())

    def check_output(self) -> list[dict[str, Any]]:
        """The output's rows, which are those of the input, in order, each with its own answer or failure."""
        output: list[dict[str, Any]] = pq.read_table(self.output).to_pylist()
        assert [(line["id"], line["question"]) for line in output] == list(self.rows.items())
        for line in output:
            fault = FAULTS.get(int(line["id"]))
            if fault == "400":
                assert (line["status"], line["error_kind"], line["response"]) == ("failed", "bad_request", None)
            elif fault == "empty_response":
                assert (line["status"], line["response_type"]) == ("succeeded", "empty")
            else:
                assert line["status"] == "succeeded"
                assert line["response"].startswith(f"[{self.prompts[line['id']]}]")
        return output

    def _check_requests(self, output: list[dict[str, Any]], asked: dict[str, list[Exchange]]) -> None:
        for line in output:
            assert 1 <= len(asked[line["id"]]) <= line["attempts"], line["id"]
        needed = len(self.rows) + sum(fault.endswith("x1") for n, fault in FAULTS.items() if str(n) in self.rows)
        for total in (sum(map(len, asked.values())), sum(line["attempts"] for line in output)):
            assert needed <= total <= needed + CONCURRENCY * len(self._cuts)
        for cut in self._cuts:
            for row, times in cut.answered.items():
                assert len(asked[row]) == times, f"row {row} was answered, and asked again"

    def _check_money(self, summary: dict[str, Any], asked: dict[str, list[Exchange]]) -> None:
        lost = {
            (row, exchange.asked["n"])
            for cut in self._cuts
            for row, since in cut.open_since.items()
            for exchange in asked[row]
            if since <= exchange.asked["at"] <= cut.until
        }
        recorded = in_all = Decimal(0)
        for row, exchanges in asked.items():
            for exchange in exchanges:
                in_all += billed(exchange)
                if (row, exchange.asked["n"]) not in lost:
                    recorded += known_cost(exchange)
        assert Decimal(summary["job_cost_usd"]) == recorded
        assert recorded + Decimal(summary["possibly_billed_usd"]) >= in_all
        assert summary["unpriced_rows"] == sum(_UNPRICED in text for text in self.rows.values())

    def _write(self, address: str) -> None:
        lines = "".join(f'{row},"{text}"\n' for row, text in self.rows.items())
        (self.directory / "in.csv").write_text(f"id,question\n{lines}", encoding="utf-8")
        job = {
            "name": "crash",
            "input": {"path": str(self.directory / "in.csv"), "id": "id"},
            "prompt": {"column": "question"},
            "endpoint": {"url": f"{address}/api/v1", "model": "meta/llama-4-scout-17b-16e-instruct"},
            "parameters": {"max_tokens": 64},
            "limits": {"concurrency": CONCURRENCY},
            "retry": {"initial_seconds": 0.01, "max_seconds": 0.05},
            "checkpoint": {"path": str(self.checkpoint)},
            "output": {"path": f"{self.output}/", "rows_per_file": 2} if self.wide else {"path": str(self.output)},
        }
        (self.directory / "job.yaml").write_text(json.dumps(job), encoding="utf-8")
