"""Take each protection out, one at a time, and show the test that turns red: `make protections`.

A protection is a piece of source and what stands there without it. The change is made in a copy of the repository, so
nothing here is touched. Where the piece is gone from the source, or the test stays green, the command fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
COPIED = (".ci", "pipeline", "tests", "configs", "data", "docs", "pyproject.toml", "README.md", "Makefile")
_MOST_SECONDS = 600


@dataclass(frozen=True)
class Protection:
    """What is protected by which lines, and the test that has to notice when they are gone."""

    name: str
    file: str
    source: str
    without: str
    test: str


_RUNNER = "tests/unit/test_runner.py"
_POWER_LOSS = "tests/crash/test_power_loss.py"
_TRUNCATED = "tests/functional/test_truncated.py"

PROTECTIONS = (
    Protection(
        "the fsync of every commit",
        "pipeline/journal/database.py",
        'connection.execute("PRAGMA synchronous=FULL")',
        'connection.execute("PRAGMA synchronous=OFF")',
        _POWER_LOSS,
    ),
    Protection(
        "the fsync of the output before it is renamed",
        "pipeline/storage/atomic.py",
        "            sync_file(draft)\n",
        "            pass\n",
        _POWER_LOSS,
    ),
    Protection(
        "another program's file from standing among the parts of an output",
        "pipeline/sink/parts.py",
        "    _refuse_foreign(place, config, owner)\n    own = ",
        "    own = ",
        "tests/functional/test_wide_output.py",
    ),
    Protection(
        "the manifest from staying while rows are pending",
        "pipeline/sink/publishing.py",
        "            parts.withdraw(place, checkpoint_id)\n",
        "            pass\n",
        "tests/functional/test_wide_output.py",
    ),
    Protection(
        "the commit of an outcome before its slot is free",
        "pipeline/runner/pending.py",
        "group, self._group = self._group, _Group()",
        "group, self._group = (_Group(), self._group) if claims else (self._group, _Group())",
        _RUNNER,
    ),
    Protection(
        "the check of every answer",
        "pipeline/runner/asking.py",
        "objection = self._expected.objection(record.response, truncated=record.truncated)",
        "objection = None",
        "tests/functional/test_expect.py",
    ),
    Protection(
        "the answers before a failed attempt",
        "pipeline/runner/settler.py",
        "        record = with_answers(record, work.history)\n",
        "",
        "tests/functional/test_expect.py",
    ),
    Protection(
        "the bound on the images in flight",
        "pipeline/runner/dispatcher.py",
        "return held + needed <= MAX_IMAGE_BYTES",
        "return True",
        "tests/functional/test_images.py",
    ),
    Protection(
        "the claim before its request is sent",
        "pipeline/runner/runner.py",
        "        self._recorder.commit(claims)\n        if claims:\n",
        "        if claims:\n            self._engine.send("
        "[self._in_flight[claim.number].task(fresh=False) for claim in claims])\n"
        "        self._recorder.commit(claims)\n        if False:\n",
        _RUNNER,
    ),
    Protection(
        "identity by the request's hash",
        "pipeline/plan/matching.py",
        "ON i.row_id = a.row_id AND i.request_hash = a.request_hash",
        "ON i.row_id = a.row_id",
        "tests/unit/test_plan.py",
    ),
    Protection(
        "the pause that Retry-After asks for",
        "pipeline/runner/pace.py",
        "        return max(now, self.pause.until)\n",
        "        return now\n",
        _RUNNER,
    ),
    Protection(
        "the reservation of the worst case under the cap",
        "pipeline/runner/admission.py",
        "        self._budget.reserve(worst)\n",
        "",
        _RUNNER,
    ),
    Protection(
        "the checksum of each record",
        "pipeline/journal/events.py",
        "return zlib.crc32(packed, number)",
        "return 0",
        "tests/unit/test_journal.py",
    ),
    Protection(
        "the number of commits in a file apart",
        "pipeline/journal/store.py",
        "if commits < (acknowledged or 0):",
        "if False:",
        "tests/unit/test_journal.py",
    ),
    Protection(
        "the lock of a job",
        "pipeline/journal/lock.py",
        "fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX",
        "fcntl.LOCK_SH",
        "tests/unit/test_journal.py",
    ),
    Protection(
        "the key's removal from what an endpoint echoes",
        "pipeline/client.py",
        "body = self._redaction.clean(body)",
        "pass",
        "tests/unit/test_client.py",
    ),
    Protection(
        "the look whether the log began anew while a journal was copied",
        "pipeline/journal/snapshot.py",
        "if _generation(directory) != before:",
        "if False:",
        "tests/unit/test_journal_snapshot.py",
    ),
    Protection(
        "the escaping of what a report shows",
        "pipeline/report/page.py",
        "autoescape=True",
        "autoescape=False",
        "tests/unit/test_report.py",
    ),
    Protection(
        "the writing out of what a report would hide",
        "pipeline/report/page.py",
        "finalize=_visible",
        "finalize=None",
        "tests/unit/test_report.py",
    ),
    Protection(
        "the look for a foreign file right before a report takes its place",
        "pipeline/report/file.py",
        "        if not overwrite:\n            refuse_foreign(path, job)\n",
        "        pass\n",
        "tests/unit/test_report.py",
    ),
    Protection(
        "the lock between the look at the output's path and the renaming",
        "pipeline/storage/atomic.py",
        "            fcntl.flock(file, fcntl.LOCK_EX)\n",
        "            pass\n",
        "tests/functional/test_output.py::"
        "test_what_comes_to_stand_at_the_path_while_another_job_publishes_there_is_left",
    ),
    Protection(
        "the silence about prompts that the endpoint echoes",
        "pipeline/runner/verdict.py",
        "stop = Stop(StopKind[failure.kind.name], loggable(failure.message, work.request))",
        "stop = Stop(StopKind[failure.kind.name], failure.message)",
        "tests/functional/test_secrets.py::test_a_prompt_echoed_by_what_stops_the_run_is_not_shown",
    ),
    Protection(
        "figures and words alone for those who are told of a run",
        "pipeline/app/observe/notify.py",
        'return data if summary.error is None else {**data, "error": {"kind": summary.error.kind}}',
        "return data",
        "tests/functional/test_monitoring.py",
    ),
    Protection(
        "the answer that a row keeps while a longer one is asked for",
        "pipeline/runner/recorder.py",
        "kept_as = None if event.state in ANSWERS else event.record.kept_as",
        "kept_as = None",
        f"{_TRUNCATED}::test_a_failure_takes_no_answer_away_and_is_told",
    ),
    Protection(
        "the answer that a row keeps over a kill",
        "pipeline/journal/events.py",
        "state = State.ATTEMPTED if history.kept_as is None else State(history.kept_as)",
        "state = State.ATTEMPTED",
        f"{_TRUNCATED}::test_a_kill_half_way_loses_no_answer_and_asks_no_answered_row_again",
    ),
    Protection(
        "the longer answer under the settings before it",
        "pipeline/runner/recorder.py",
        "for request_hash in work.history.kept.stood_for:",
        "for request_hash in ():",
        f"{_TRUNCATED}::test_only_the_rows_cut_off_are_asked_again_and_later_runs_of_either_kind_send_nothing",
    ),
    Protection(
        "the lock of a shared limit",
        "pipeline/limits/limit_file.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        "tests/unit/test_limits_shared.py",
    ),
    Protection(
        "the line of those who wait for a shared limit",
        "pipeline/limits/shared.py",
        "before = float(np.minimum(ahead, rate.capacity).sum())",
        "before = 0.0",
        "tests/unit/test_limits_shared.py",
    ),
    Protection(
        "the pause that another job of a shared limit was asked for",
        "pipeline/runner/pace.py",
        "        self.pause.extend(self._admission.paused_until())\n",
        "",
        "tests/functional/test_shared_limit.py",
    ),
    Protection(
        "an output from make's own deletion when it is interrupted",
        "Makefile",
        ".PRECIOUS: data/out/%.parquet data/out/%.manifest.json .checkpoints/.make/%.d\n",
        "",
        "tests/functional/test_make.py",
    ),
    Protection(
        "a checkpoint whose output does not hold all of it, from clean",
        "pipeline/app/use_cases/clean.py",
        "if not _holds(output, results):",
        "if False:",
        "tests/functional/test_jobs.py",
    ),
    Protection(
        "the sample's own mark in the ids of the journal",
        "pipeline/plan/cells.py",
        "    parts += [str(sample)] if sample else []\n",
        "",
        "tests/functional/test_samples.py",
    ),
    Protection(
        "the cell in what rows have in common that share an answer",
        "pipeline/plan/draft.py",
        '"SELECT position % ? AS cell',
        '"SELECT 0 * ? AS cell',
        "tests/functional/test_deduplicate.py",
    ),
    Protection(
        "the answers that rows had before in what they may share",
        "pipeline/plan/sharing.py",
        "if position != payer and may_share(position):",
        "if position != payer:",
        "tests/functional/test_deduplicate.py",
    ),
    Protection(
        "the rows that are in a batch in what they may share",
        "pipeline/plan/sharing.py",
        " and position not in out",
        "",
        "tests/functional/test_batches.py",
    ),
    Protection(
        "the rows that are in a batch in what an estimate would send",
        "pipeline/app/use_cases/survey.py",
        " or (row_id, request_hash) in out",
        "",
        "tests/functional/test_batches.py",
    ),
    Protection(
        "the settings by which an answer out of a batch is judged",
        "pipeline/batches/book.py",
        ', "settings_id": work.settings_id',
        "",
        "tests/functional/test_batches.py",
    ),
    Protection(
        "the price of a batch whose model has left the job",
        "pipeline/batches/known.py",
        " or (batch.price and Price.of(batch.price))",
        "",
        "tests/functional/test_batches.py",
    ),
    Protection(
        "the endpoint's address in the key of a cache",
        "pipeline/cache/keys.py",
        "self.address, self.simulated",
        "self.simulated",
        "tests/functional/test_cache.py",
    ),
    Protection(
        "the checksum of the answers in a cache",
        "pipeline/cache/store.py",
        " or checksum != _checksum(key, number, record)",
        "",
        "tests/functional/test_cache.py",
    ),
)


def is_red(protection: Protection) -> tuple[bool, str]:
    """Whether the test fails without the protection, and pytest's last line."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        for name in COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        changed = copy / protection.file
        text = changed.read_text(encoding="utf-8")
        if text.count(protection.source) != 1:
            return False, f"{protection.file} does not hold its source once: bring tests/protections.py up to date"
        changed.write_text(text.replace(protection.source, protection.without), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", protection.test],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=_MOST_SECONDS,
            check=False,
        )
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    # 1 is pytest's code for tests that failed; anything else is no verdict.
    return done.returncode == 1 and bool(failed), (failed or done.stdout.splitlines() or [done.stderr])[-1]


def main() -> int:
    """Show every protection without which a test turns red; 1 where one does not."""
    names = sys.argv[1:]
    green = []
    for protection in PROTECTIONS:
        if names and not any(name in protection.name for name in names):
            continue
        red, line = is_red(protection)
        print(f"{'red  ' if red else 'GREEN'}  without {protection.name}: {line}", flush=True)
        green += [] if red else [protection.name]
    return 1 if green else 0


if __name__ == "__main__":
    sys.exit(main())
