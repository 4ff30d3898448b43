"""Debian's cron daemon starts a job every minute over an input that grows: `make cron`.

The daemon runs in a mount namespace of its own, where it finds one crontab and a sendmail that keeps the mails. Nothing
of the machine's own cron is touched, and nothing is left.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes
from email.message import Message
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.functional.conftest import Asked, Endpoint, Reply, answer, refusal

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "crontab"
COMMAND = Path(sys.executable).with_name("pipeline")
KEY = "cron-test-key-93f1"
MINUTES = int(os.environ.get("CRON_MINUTES") or 10)
BATCH = 5
SLOW_SECONDS = 75.0
"""Longer than a minute, so that one start of cron meets a run that is under way."""
NAMESPACE = """\
set -e
mount -t tmpfs -o mode=1730 tmpfs /var/spool/cron/crontabs
install -m 600 crontab /var/spool/cron/crontabs/root
mount --bind empty /etc/cron.d
mount --bind /dev/null /etc/crontab
mount -t tmpfs tmpfs /run
install -m 755 "$(command -v cron)" daemon
mount -t tmpfs tmpfs /usr/sbin
install -m 755 sendmail /usr/sbin/sendmail
exec ./daemon -f
"""


class Batches:
    """Files that are put into the input's directory whole, as they should be while runs may read it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()
        self.rows: list[str] = []

    def add(self, prompts: list[str]) -> None:
        number = len(self.rows)
        draft = self._directory.with_name("draft.csv")
        draft.write_text("".join(f"{line}\n" for line in ("question", *prompts)), encoding="utf-8")
        draft.rename(self._directory / f"batch-{number:05}.csv")
        self.rows += prompts


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    served = Endpoint()
    yield served
    served.close()


@pytest.fixture
def mails(tmp_path: Path) -> Path:
    directory = tmp_path / "mails"
    directory.mkdir()
    return directory


@pytest.fixture
def job(tmp_path: Path, endpoint: Endpoint, mails: Path) -> Iterator[Path]:
    """A directory with the job of the example's crontab, and the daemon at work in it."""
    for tool, package in (("cron", "cron"), ("unshare", "util-linux")):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is not here. Debian, Ubuntu: apt install {package}")
    if os.geteuid() != 0:
        pytest.fail("only root can run the cron daemon in a mount namespace of its own")
    path = tmp_path / "batch"
    path.mkdir()
    (path / ".env").write_text(f"DATAOORTS_API_KEY={KEY}\n", encoding="utf-8")
    (path / "answers.yaml").write_text(
        json.dumps(
            {
                "name": "answers",
                "input": {"path": "inbox"},
                "prompt": {"column": "question"},
                "endpoint": {"url": endpoint.url, "model": "meta/llama-4-scout-17b-16e-instruct"},
                "limits": {"concurrency": 2},
                "output": {"path": "answers.parquet"},
                "metrics": {"textfile": "answers.prom"},
            }
        ),
        encoding="utf-8",
    )
    text = EXAMPLE.read_text(encoding="utf-8").replace("/srv/batch", str(path)).replace("configs/", "")
    for example, here in ((".venv/bin/pipeline", str(COMMAND)), ("--log-file", "--log-format json --log-file")):
        assert example in text
        text = text.replace(example, here)
    (tmp_path / "crontab").write_text(text, encoding="utf-8")
    (tmp_path / "sendmail").write_text(f'#!/bin/sh\nexec cat > "$(mktemp {mails}/XXXXXX)"\n', encoding="utf-8")
    (tmp_path / "empty").mkdir()
    time.sleep(max(0.0, time.time() % 60 - 50) and 15)  # the daemon is to be ready well before the next minute begins
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", NAMESPACE], cwd=tmp_path) as daemon:
        yield path
        daemon.terminate()


def ends(log: Path) -> list[dict[str, float]]:
    """What the log says of each run that ended: its exit code, and its first and last second."""
    found = []
    for line in log.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        if "summary" in data:
            at = datetime.fromisoformat(data["time"]).timestamp()
            found.append({"code": data["exit_code"], "from": at - data["summary"]["seconds"], "to": at})
    return found


def read_mails(directory: Path) -> list[Message]:
    return [message_from_bytes(path.read_bytes()) for path in sorted(directory.iterdir())]


@pytest.mark.timeout((MINUTES + 5) * 60)
def test_a_job_that_cron_starts_every_minute_asks_each_row_once_and_writes_only_of_what_went_wrong(
    job: Path, endpoint: Endpoint, mails: Path
) -> None:
    assert MINUTES >= 7, "CRON_MINUTES has to leave time for a long run, a failure and what comes after them"
    payment_due = MINUTES - 2

    def reply(asked: Asked) -> Reply:
        if asked.prompt.startswith("unpaid") and minute < payment_due:
            return refusal(402, message="payment required")
        return answer(f"answer to {asked.prompt}", wait=SLOW_SECONDS if asked.prompt == "slow" else 0.2)

    endpoint.reply = reply
    batches = Batches(job / "inbox")
    begin = (time.time() // 60 + 1) * 60
    batches.add([f"0-{number}" for number in range(BATCH)])
    for minute in range(MINUTES):  # cron starts a run as each of them begins
        time.sleep(max(0.0, begin + 60 * minute + 30 - time.time()))
        if minute < MINUTES - 1:
            kind = "unpaid" if minute == payment_due - 2 else minute + 1
            batches.add([f"{kind}-{number}" for number in range(BATCH)] + (["slow"] if minute == 0 else []))

    found = ends(job / "logs" / "answers.log")
    codes = Counter(int(one["code"]) for one in found)
    sent = Counter(endpoint.prompts)
    received = read_mails(mails)
    print(
        f"\n{MINUTES} minutes: {len(found)} runs by exit code {dict(codes)}; {len(batches.rows)} rows,"
        f" {len(endpoint.asked)} requests; {len(received)} mails"
    )
    for mail in received:
        print(f"To: {mail['To']}; Subject: {mail['Subject']}\n  {str(mail.get_payload()).strip()}")

    assert codes[75] >= 1 and codes[5] == 1 and set(codes) == {0, 5, 75}
    assert len(found) == MINUTES
    runs = sorted((one for one in found if one["code"] != 75), key=lambda one: one["from"])
    assert all(one["to"] <= later["from"] for one, later in pairwise(runs))
    rows = pq.read_table(job / "answers.parquet").to_pylist()
    assert [row["question"] for row in rows] == batches.rows
    assert {row["status"] for row in rows} == {"succeeded"}
    assert all(row["response"] == f"answer to {row['question']}" for row in rows)
    again = {prompt for prompt, times in sent.items() if times > 1}
    assert again and all(prompt.startswith("unpaid") and sent[prompt] == 2 for prompt in again)
    assert len(received) == 1
    (line,) = str(received[0].get_payload()).splitlines()
    message = json.loads(line)["message"]
    assert message.startswith("answers: HTTP 402") and f"{BATCH} pending of" in message
    assert received[0]["To"] == "operator@example.com"
    assert (
        f'llm_batch_rows{{job="answers",status="succeeded"}} {float(len(rows))}' in (job / "answers.prom").read_text()
    )
    assert not [
        path for path in job.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes() and path.name != ".env"
    ]
