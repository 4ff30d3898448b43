"""Jobs over stores that others wrote: from store to store, refused, copied and restored, killed at every request."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.stores.conftest import Proxy, Store

ROWS = 36
SOURCE, OUTPUT, BACKUP = "in/questions.parquet", "out/answers.parquet", "copies/job"


class Workspace:
    """A job over a store, whose output is larger than what is sent in one piece, and the command."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.path = directory
        self.store = store
        random.seed(7)
        rows = [random.randbytes(500_000).hex() for _ in range(ROWS)]
        table = pa.table({"id": [f"q{number}" for number in range(ROWS)], "noise": rows})
        pq.write_table(table, directory / "questions.parquet")
        store.put(SOURCE, directory / "questions.parquet")

    def job(self, **sections: Any) -> None:
        job = {
            "name": "job",
            "input": {"path": self.store.path(SOURCE), "id": "id"},
            "prompt": {"user": "What is {{ id }}?"},
            "endpoint": {"url": "simulator", "model": "meta/llama-4-scout-17b-16e-instruct"},
            "parameters": {"max_tokens": 50},
            "simulator": {"ledger": "ledger.jsonl", "seed": 3},
            "output": {"path": self.store.path(OUTPUT)},
            **sections,
        }
        (self.path / "job.yaml").write_text(json.dumps(job))

    def start(self, *arguments: str, port: int | None = None) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self.store.environment(port or self.store.port)}
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=self.path,
            env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, code: int = 0, name: str = "run") -> dict[str, Any]:
        process = self.start(name, "job.yaml", "--json", *arguments)
        out, err = process.communicate(timeout=400)
        assert process.returncode == code, (process.returncode, out, err)
        found: dict[str, Any] = json.loads(out)
        return found

    def asked(self) -> list[str]:
        """The prompts that were answered, as the endpoint counts them."""
        lines = (self.path / "ledger.jsonl").read_text().splitlines()
        return [line for line in lines if '"event":"asked"' in line.replace(" ", "")]

    def forget(self) -> None:
        (self.path / "ledger.jsonl").unlink(missing_ok=True)


@pytest.fixture
def ws(tmp_path: Path, store: Store) -> Workspace:
    found = Workspace(tmp_path, store)
    found.job()
    return found


def answers(data: bytes | None) -> list[str]:
    assert data is not None
    found: list[str] = pq.read_table(io.BytesIO(data), columns=["response"])["response"].to_pylist()
    return found


def test_a_job_from_store_to_store(ws: Workspace) -> None:
    ws.run()
    table = pq.read_table(io.BytesIO(ws.store.get(OUTPUT) or b""))
    assert table["id"].to_pylist() == [f"q{number}" for number in range(ROWS)]
    assert table["status"].to_pylist() == ["succeeded"] * ROWS
    assert len(ws.asked()) == ROWS
    assert ws.run()["requests"] == 0


def test_inputs_by_a_pattern(ws: Workspace) -> None:
    ws.job(input={"path": ws.store.path("in/*.parquet"), "id": "id"}, output={"path": "out.parquet"})
    assert ws.run("--limit", "1")["rows"] == ROWS


def test_a_bucket_that_is_not_there(ws: Workspace) -> None:
    ws.job(output={"path": f"{ws.store.scheme}://nowhere/out.parquet"})
    assert "output.path" in ws.run(code=2)["error"]["message"]
    ws.job(input={"path": f"{ws.store.scheme}://nowhere/in.parquet"})
    assert "input.path" in ws.run(code=2)["error"]["message"]
    assert not (ws.path / "ledger.jsonl").exists()


def test_an_object_of_somebody_else(ws: Workspace) -> None:
    (ws.path / "other").write_bytes(b"of somebody else")
    ws.store.put(OUTPUT, ws.path / "other")
    ws.run(code=2)
    assert ws.store.get(OUTPUT) == b"of somebody else"


def test_a_store_that_is_not_there(ws: Workspace) -> None:
    process = ws.start("run", "job.yaml", port=9)
    process.communicate(timeout=60)
    assert process.returncode == 6


def test_an_upload_is_for_the_version_that_was_looked_at(ws: Workspace, request: pytest.FixtureRequest) -> None:
    if "s3rver" in request.node.name or "google" in request.node.name:
        pytest.skip("this server knows no conditional writes")
    from pipeline.storage import storage_of

    file = ws.path / "questions.parquet"
    with ws.store.known():
        path = ws.store.stored("x", ws.path / "work")
        storage = storage_of(path)
        assert storage.put(path, file, None)
        first = storage.facts(path)
        assert first is not None
        assert not storage.put(path, file, None)
        (ws.path / "small").write_bytes(b"small")
        assert storage.put(path, ws.path / "small", first.version)
        (ws.path / "other").write_bytes(b"other")
        assert not storage.put(path, ws.path / "other", first.version)
        assert storage.open(path).read() == b"small"
    assert not ws.store.open_uploads()


def test_a_lost_checkpoint_is_restored(ws: Workspace) -> None:
    ws.job(checkpoint={"backup": ws.store.path(BACKUP)})
    ws.run("--limit", "20")
    (ws.path / ".checkpoints").rename(ws.path / "lost")
    ws.forget()
    found = ws.run(name="estimate")
    assert found["rows"]["done"] == 20
    assert found["restored_from"] == ws.store.path(f"{BACKUP}/journal.sqlite")
    ws.run()
    assert len(ws.asked()) == ROWS - 20


def test_killed_at_every_request_that_changes_the_store(
    ws: Workspace, proxy: Callable[..., Proxy], request: pytest.FixtureRequest
) -> None:
    counting = proxy()
    process = ws.start("run", "job.yaml", port=counting.port)
    _, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    wanted = answers(ws.store.get(OUTPUT))
    assert len(counting.writes) >= 3, counting.writes
    for number, write in enumerate(counting.writes):
        for is_after in (False, True):
            _restart(ws)
            killing = proxy(number, is_after)
            killing.victim = ws.start("run", "job.yaml", port=killing.port)
            _, err = killing.victim.communicate(timeout=400)
            print(f"killed at {write}, {'done' if is_after else 'not done'}")
            assert killing.victim.returncode == -9, (write, is_after, err)
            found = ws.store.get(OUTPUT)
            assert found is None or answers(found) == wanted, f"a half object after {write}"
            ws.run()
            assert answers(ws.store.get(OUTPUT)) == wanted
            assert len(ws.asked()) == ROWS, (write, is_after)
            assert not ws.store.open_uploads(), (write, is_after)
            assert not (ws.path / ".checkpoints/job/uploads").exists()


def _restart(ws: Workspace) -> None:
    """Begin anew: no checkpoint, no output."""
    import shutil

    from pipeline.storage import storage_of

    shutil.rmtree(ws.path / ".checkpoints", ignore_errors=True)
    ws.forget()
    with ws.store.known():
        path = ws.store.stored(OUTPUT, ws.path)
        storage_of(path).remove(path)
