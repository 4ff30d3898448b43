"""Inputs and outputs in an object store: what is read, what stands there after each end, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage import client, s3, stores
from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, refusal, usual, wait_until
from tests.support.object_store import ObjectStore, Refusal

KEY, PARTIAL = "answers/out.parquet", "answers/out.partial.parquet"
SOURCE, OUTPUT = "s3://data/in/questions.csv", f"s3://data/{KEY}"


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    found = ObjectStore()
    yield found
    found.close()


@pytest.fixture
def store(server: ObjectStore, ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The store, with three questions in it, and known to the commands, which do not wait long for it."""
    server.objects.clear()
    server.uploads.clear()
    server.asked.clear()
    server.fault = lambda operation, key: None
    server.put("in/questions.csv", b"question\none\ntwo\nthree\n")
    ws.environment |= server.environment()
    ws.job(input={"path": SOURCE}, output={"path": OUTPUT})
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.3)
    return server


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of more than a kilobyte are sent in parts of that size."""
    monkeypatch.setattr(s3, "PART_BYTES", 2**10)


def table(store: ObjectStore, key: str = KEY) -> pa.Table:
    return pq.read_table(io.BytesIO(store.objects[key].data))


def fails(operation: str, refusal: Refusal, key: str = "") -> Any:
    return lambda asked, name: refusal if asked == operation and name.startswith(key) else None


def said(ws: Workspace, *arguments: str, code: int) -> str:
    result = ws.pipeline("run", "job.yaml", *arguments)
    assert result.code == code, (result.code, result.err)
    return result.err


class TestReadingAndWriting:
    def test_rows_come_from_a_store_and_answers_go_there(self, store: ObjectStore, ws: Workspace) -> None:
        assert ws.run()["output"] == OUTPUT
        assert table(store)["response"].to_pylist() == ["answer to one", "answer to two", "answer to three"]
        assert not store.uploads
        assert {path.name for path in ws.path.iterdir()} == {"job.yaml", ".checkpoints"}
        assert ws.command("status")["output"] == OUTPUT
        assert ws.run()["requests"] == 0
        assert ws.command("validate")["valid"]

    @pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.jsonl.gz"])
    def test_each_format_is_read(self, store: ObjectStore, ws: Workspace, name: str) -> None:
        rows, lines = pa.table({"question": ["one", "two"]}), b'{"question": "one"}\n{"question": "two"}\n'
        buffer = io.BytesIO()
        if name.endswith(".parquet"):
            pq.write_table(rows, buffer)
        else:
            buffer.write(gzip.compress(lines) if name.endswith(".gz") else lines)
        store.put(f"in/{name}", buffer.getvalue())
        ws.run("--set", f"input.path=s3://data/in/{name}")
        assert table(store)["response"].to_pylist() == ["answer to one", "answer to two"]

    @pytest.mark.parametrize("path", ["parts", "parts/", "parts/*.csv", "**/q-?.csv"])
    def test_a_folder_and_a_pattern_mean_their_objects_in_order(
        self, store: ObjectStore, ws: Workspace, path: str
    ) -> None:
        for name, text in (("q-2.csv", "two"), ("q-1.csv", "one"), (".hidden.csv", "no"), ("deep/x.csv", "no")):
            store.put(f"parts/{name}", f"question\n{text}\n".encode())
        ws.run("--set", f"input.path=s3://data/{path}")
        assert table(store)["question"].to_pylist() == ["one", "two"]

    def test_a_large_output_goes_up_in_parts(self, store: ObjectStore, ws: Workspace, parts: None) -> None:
        ws.run()
        assert [operation for operation, _ in store.asked].count("part") > 3
        assert table(store).num_rows == 3
        assert not store.uploads

    def test_an_output_in_several_files_has_its_manifest_there(self, store: ObjectStore, ws: Workspace) -> None:
        flags = ("--set", "output.path=s3://data/wide/", "--set", "output.rows_per_file=2")
        assert ws.run(*flags)["output"] == "s3://data/wide/"
        assert set(store.objects) == {
            "in/questions.csv",
            "wide/part-00000.parquet",
            "wide/part-00001.parquet",
            "wide.manifest.json",
        }
        store.put("in/questions.csv", store.objects["in/questions.csv"].data + b"four\n")
        store.asked.clear()
        ws.run(*flags)
        assert [key for operation, key in store.asked if operation == "put"] == [
            "wide/part-00001-1.parquet",
            "wide.manifest.json",
        ]
        assert table(store, "wide/part-00001-1.parquet")["question"].to_pylist() == ["three", "four"]
        assert "wide/part-00001.parquet" not in store.objects

    def test_a_run_that_stops_early_leaves_the_partial_output_beside_it(
        self, store: ObjectStore, ws: Workspace
    ) -> None:
        assert ws.run("--limit", "1")["output"] == f"s3://data/{PARTIAL}"
        assert table(store, PARTIAL)["response"].to_pylist() == ["answer to one"]
        ws.run()
        assert set(store.objects) == {"in/questions.csv", KEY}

    def test_another_job_reads_it(self, store: ObjectStore, ws: Workspace) -> None:
        ws.run()
        ws.job(
            "next.yaml",
            name="next",
            input={"path": {"job": "job.yaml"}},
            prompt={"user": "{{ response }}"},
            output={"path": "s3://data/next.parquet", "prefix": "next_"},
        )
        result = ws.pipeline("run", "next.yaml", "--json")
        assert result.code == 0, result.err
        assert table(store, "next.parquet")["next_response"][0].as_py() == "answer to answer to one"

    def test_a_lost_checkpoint_is_rebuilt_from_it(self, store: ObjectStore, ws: Workspace, endpoint: Endpoint) -> None:
        ws.run()
        (ws.path / ".checkpoints/job/journal.sqlite").write_bytes(b"damaged")
        assert ws.command("recover")["recovered"] == 3
        endpoint.forget()
        ws.run()
        assert not endpoint.asked

    def test_shards_are_gathered_there(self, store: ObjectStore, ws: Workspace) -> None:
        for shard in ("1/2", "2/2"):
            ws.run("--shard", shard)
        assert ws.command("gather", "--shards", "2")["output"] == OUTPUT
        assert table(store)["question"].to_pylist() == ["one", "two", "three"]

    def test_only_this_machine_is_written_to_by_export_and_report(self, store: ObjectStore, ws: Workspace) -> None:
        ws.run()
        for arguments in (("export", "job.yaml", "--to", "jsonl", "s3://data/x.jsonl"), ("report", "job.yaml")):
            result = ws.pipeline(*arguments)
            assert result.code == 2
            assert "on this machine" in result.err
        assert ws.pipeline("report", "job.yaml", "--out", "job.html").code == 0
        assert ws.command("clean", "--yes")["removed"]

    def test_doctor_says_whether_the_stores_answer(self, store: ObjectStore, ws: Workspace) -> None:
        found = ws.command("doctor")["checks"]
        assert [check["message"] for check in found if check["name"] == "store"] == [
            "input.path: s3://data answers",
            "output.path: s3://data answers",
        ]
        store.fault = fails("head", Refusal(503, "SlowDown"), "answers")
        assert ws.pipeline("doctor", "job.yaml").code == 6


class TestRefusals:
    """Nothing is sent, and the store's own words are there."""

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("s3a://data/x.parquet", "write s3://"),
            ("s3://id:secret@data/x.parquet", "credentials do not belong in a path"),
            ("s3:///x.parquet", "no bucket is named"),
            ("hdfs://data/x.parquet", "no store that is known"),
        ],
    )
    @pytest.mark.parametrize("key", ["input.path", "output.path"])
    def test_of_paths(self, ws: Workspace, key: str, path: str, words: str) -> None:
        ws.questions("one")
        ws.job()
        assert words in said(ws, "--set", f"{key}={path}", code=2)

    def test_of_a_checkpoint_in_a_store(self, store: ObjectStore, ws: Workspace) -> None:
        assert "on a disk of this machine" in said(ws, "--set", "checkpoint.path=s3://data/checkpoint", code=2)

    @pytest.mark.parametrize("key", ["input.path", "output.path"])
    def test_of_a_missing_bucket(self, store: ObjectStore, ws: Workspace, endpoint: Endpoint, key: str) -> None:
        name = "out.parquet" if key == "output.path" else "in.csv"
        words = said(ws, "--set", f"{key}=s3://nowhere/{name}", code=2)
        assert "The specified bucket does not exist" in words
        assert key in words
        assert not endpoint.asked

    @pytest.mark.parametrize("section", ["input", "output"])
    def test_of_wrong_credentials(self, store: ObjectStore, ws: Workspace, endpoint: Endpoint, section: str) -> None:
        local = {"input": ("output.path", "out.parquet"), "output": ("input.path", "in.csv")}[section]
        ws.questions("one")
        ws.environment["AWS_ACCESS_KEY_ID"] = "AKIDOFANOTHER"
        words = said(ws, "--set", f"{local[0]}={local[1]}", code=2)
        assert "The key ID you provided is not in our records." in words
        assert not endpoint.asked

    def test_of_a_machine_without_credentials(self, store: ObjectStore, ws: Workspace) -> None:
        ws.environment |= {"HOME": str(ws.path)}
        del ws.environment["AWS_ACCESS_KEY_ID"], ws.environment["AWS_SECRET_ACCESS_KEY"]
        assert "no credentials were found" in said(ws, code=2)

    def test_of_a_bucket_that_may_only_be_read(self, store: ObjectStore, ws: Workspace, endpoint: Endpoint) -> None:
        store.fault = fails("begin", Refusal(403, "AccessDenied", "You shall not put"))
        assert "You shall not put" in said(ws, code=2)
        assert not endpoint.asked

    def test_of_an_object_that_is_not_this_jobs(self, store: ObjectStore, ws: Workspace, endpoint: Endpoint) -> None:
        store.put(KEY, b"of somebody else")
        assert "was not written from this job's checkpoint" in said(ws, code=2)
        assert not endpoint.asked
        ws.run("--set", "output.overwrite=true")
        assert table(store).num_rows == 3

    def test_of_an_object_that_is_not_there(self, store: ObjectStore, ws: Workspace) -> None:
        assert "no such object: s3://data/in/none.csv" in said(ws, "--set", "input.path=s3://data/in/none.csv", code=2)

    def test_of_a_job_whose_extra_is_not_installed(
        self, store: ObjectStore, ws: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stores, "find_spec", lambda name: None)
        stores._remote.cache_clear()
        assert "pip install 'llm-batch-pipeline[s3]'" in said(ws, code=2)


class TestShards:
    """What is gathered from shards."""

    def test_status_knows_what_was_gathered(self, store: ObjectStore, ws: Workspace) -> None:
        gather = "pipeline gather job.yaml --shards 2"
        for shard in ("1/2", "2/2"):
            ws.run("--shard", shard)
        assert ws.command("status")["output"] is None
        assert ws.pipeline("status", "job.yaml").out.rstrip().endswith(gather)
        ws.command("gather", "--shards", "2")
        assert ws.command("status")["output"] == OUTPUT
        told = ws.pipeline("status", "job.yaml").out
        assert OUTPUT in told and not told.rstrip().endswith(gather)
        store.fault = lambda operation, key: Refusal(503, "SlowDown")
        found = ws.command("status")
        assert (found["succeeded"], found["output"]) == (3, None)
        store.asked.clear()
        refused = ws.command("gather", "--shards", "3", code=2)  # tells what is known here, and no more
        assert refused["succeeded"] == 3
        assert not store.asked
        store.fault = lambda operation, key: None
        del store.objects[KEY]
        assert ws.command("status")["output"] is None


class TestFailures:
    """Exit 6 within a minute, with every answer in the checkpoint; another run goes on."""

    def test_a_store_that_is_not_there(self, store: ObjectStore, ws: Workspace, endpoint: Endpoint) -> None:
        ws.environment["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:9"
        result = ws.run(code=6)
        assert result["error"]["kind"] == "store_failed"
        assert not endpoint.asked

    def test_a_store_that_is_down_is_not_asked_again_for_the_summary(self, store: ObjectStore, ws: Workspace) -> None:
        store.fault = fails("head", Refusal(503, "SlowDown"))
        ws.job(input={"path": SOURCE}, output={"path": OUTPUT}, checkpoint={"backup": "s3://data/backup"})
        ws.run(code=6)
        assert {key for _, key in store.asked} == {"in/questions.csv"}

    @pytest.mark.parametrize("operation", ["put", "head"])
    def test_a_store_that_fails_once_all_is_answered(
        self, store: ObjectStore, ws: Workspace, endpoint: Endpoint, operation: str
    ) -> None:
        def reply(asked: Asked) -> Reply:
            store.fault = fails(operation, Refusal(500, "InternalError"), KEY)
            return usual(asked)

        endpoint.reply = reply
        result = ws.run(code=6)
        assert result["error"]["kind"] == "store_failed"
        assert result["succeeded"] == 3
        assert KEY not in store.objects
        store.fault = lambda operation, key: None
        endpoint.forget()
        assert ws.run()["succeeded"] == 3
        assert not endpoint.asked
        assert table(store).num_rows == 3

    def test_a_store_that_refuses_later(self, store: ObjectStore, ws: Workspace) -> None:
        store.fault = fails("put", Refusal(403, "AccessDenied", "no more"), KEY)
        result = ws.run(code=6)
        assert "no more" in result["error"]["message"]
        assert result["succeeded"] == 3

    def test_calls_are_made_again(
        self, store: ObjectStore, ws: Workspace, parts: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "PATIENCE_SECONDS", 10)
        failed: set[tuple[str, str]] = set()

        def once(operation: str, key: str) -> Refusal | None:
            if (operation, key) in failed:
                return None
            failed.add((operation, key))
            return Refusal(503, "SlowDown")

        store.fault = once
        ws.run()
        assert table(store).num_rows == 3
        assert not store.uploads
        assert {"head", "get", "begin", "part", "complete"} <= {operation for operation, _ in failed}

    @pytest.mark.parametrize("operation", ["put", "complete"])
    def test_an_upload_whose_reply_is_an_error_may_stand_all_the_same(
        self, store: ObjectStore, ws: Workspace, operation: str, request: pytest.FixtureRequest
    ) -> None:
        if operation == "complete":
            request.getfixturevalue("parts")
        store.fault = fails(operation, Refusal(500, "InternalError", after=True), KEY)
        ws.run()
        assert table(store).num_rows == 3

    def test_a_store_may_say_that_no_upload_is_found_where_none_is_open(
        self, store: ObjectStore, ws: Workspace, parts: None
    ) -> None:
        """As `rclone serve s3` does."""
        store.fault = fails("list_uploads", Refusal(404, "NoSuchUpload"))
        ws.run()
        assert table(store).num_rows == 3

    def test_an_upload_in_parts_that_fails_leaves_nothing(self, store: ObjectStore, ws: Workspace, parts: None) -> None:
        store.fault = fails("part", Refusal(500, "InternalError"))
        ws.run(code=6)
        assert not store.uploads
        assert not (ws.path / ".checkpoints/job/uploads").exists()


class TestMeetings:
    """Another program writes to the same object while the run is on."""

    @pytest.mark.parametrize("is_large", [False, True])
    def test_what_it_put_there_is_kept(
        self, store: ObjectStore, ws: Workspace, is_large: bool, request: pytest.FixtureRequest
    ) -> None:
        if is_large:
            request.getfixturevalue("parts")
        last = "complete" if is_large else "put"

        def arrives(operation: str, key: str) -> None:
            if operation == last and key == KEY and KEY not in store.objects:
                store.put(KEY, b"of somebody else")

        store.fault = arrives
        result = ws.run(code=2)
        assert "was put there by something else" in result["error"]["message"]
        assert store.objects[KEY].data == b"of somebody else"
        assert not store.uploads

    def test_a_store_without_conditions_is_written_to_without(self, store: ObjectStore, ws: Workspace) -> None:
        refused: list[str] = []

        def once(operation: str, key: str) -> Refusal | None:
            if operation == "put" and not refused:
                refused.append(key)
                return Refusal(501, "NotImplemented", "A header you provided implies functionality")
            return None

        store.fault = once
        ws.run()
        assert table(store).num_rows == 3

    def test_input_that_was_replaced_is_planned_anew(self, store: ObjectStore, ws: Workspace) -> None:
        ws.run("--limit", "1")
        store.put("in/questions.csv", b"question\none\nfour\n")
        assert ws.run()["rows"] == 2
        assert table(store)["question"].to_pylist() == ["one", "four"]

    def test_input_that_is_replaced_while_it_is_read_is_not_mixed(self, store: ObjectStore, ws: Workspace) -> None:
        def replaces(operation: str, key: str) -> None:
            if operation == "get" and key.startswith("in/"):
                store.put("in/questions.csv", b"question\nfour\n")

        store.fault = replaces
        assert "was replaced or removed while it was read" in said(ws, code=2)


class TestLeftovers:
    """What a killed upload left in the store is removed by the next run; the uploads of others are not."""

    @pytest.mark.parametrize("number", ["known", None])
    def test_the_leftovers_of_a_killed_upload_are_removed(
        self, store: ObjectStore, ws: Workspace, endpoint: Endpoint, number: str | None
    ) -> None:
        endpoint.reply = lambda asked: refusal(401)
        ws.run(code=5)
        for name in ("known", "other"):
            store.uploads[name] = type(store).upload_of(KEY)
        left = {"bucket": "data", "key": KEY, "endpoint_url": None, "number": number, "others": ["other"]}
        (ws.path / ".checkpoints/job/uploads").mkdir()
        (ws.path / ".checkpoints/job/uploads/open.json").write_text(json.dumps([left]))
        endpoint.reply = usual
        ws.run()
        assert set(store.uploads) == {"other"}
        assert not (ws.path / ".checkpoints/job/uploads/open.json").exists()


def test_nothing_of_it_is_imported_for_a_job_on_this_machine(ws: Workspace) -> None:
    ws.questions("one")
    ws.job()
    _, modules = ws.pipeline_with_imports("run", "job.yaml")
    assert not {name for name in modules if name.partition(".")[0] == "botocore"}
    assert "pipeline.storage.remote" not in modules


BACKUP = "backups/job/journal.sqlite"


@pytest.fixture
def lost(store: ObjectStore, ws: Workspace) -> Callable[[], None]:
    """The job keeps copies of its checkpoint; this loses the one on the machine."""
    ws.job(checkpoint={"backup": "s3://data/backups/job"}, input={"path": SOURCE}, output={"path": OUTPUT})
    return lambda: shutil.rmtree(ws.path / ".checkpoints")


class TestBackups:
    def test_a_missing_checkpoint_is_restored_from_the_copy(
        self, store: ObjectStore, ws: Workspace, endpoint: Endpoint, lost: Callable[[], None]
    ) -> None:
        ws.run("--limit", "2")
        assert BACKUP in store.objects
        lost()
        planned = ws.command("estimate")
        assert planned["rows"]["done"] == 2
        assert planned["restored_from"] == f"s3://data/{BACKUP}"
        lost()
        status = ws.command("status")
        assert (status["succeeded"], status["pending"]) == (None, None)  # the plan was not copied
        assert status["copied_at"] == planned["copied_at"]
        lost()
        endpoint.forget()
        result = ws.pipeline("run", "job.yaml", "--verbose")
        assert result.code == 0, result.err
        assert "answers that came after it are lost" in result.err
        assert endpoint.prompts == ["three"]
        assert table(store)["response"].to_pylist() == ["answer to one", "answer to two", "answer to three"]

    def test_the_first_copy_is_made_amid_the_run(
        self, store: ObjectStore, ws: Workspace, endpoint: Endpoint, lost: Callable[[], None]
    ) -> None:
        def reply(asked: Asked) -> Reply:
            if asked.prompt == "three":
                wait_until(lambda: BACKUP in store.objects)
            return usual(asked)

        endpoint.reply = reply
        ws.run()
        assert [key for operation, key in store.asked if operation == "put"].count(BACKUP) == 2

    def test_a_restored_job_has_the_cost_of_before(
        self, store: ObjectStore, ws: Workspace, lost: Callable[[], None]
    ) -> None:
        cost = ws.run()["job_cost_usd"]
        lost()
        assert ws.run()["job_cost_usd"] == cost
        assert table(store).num_rows == 3

    def test_a_restoring_that_was_cut_off_is_begun_again(
        self, store: ObjectStore, ws: Workspace, lost: Callable[[], None]
    ) -> None:
        ws.run()
        lost()
        ws.command("estimate")
        (ws.path / ".checkpoints/job/journal.sqlite").unlink()
        assert ws.command("estimate")["rows"]["done"] == 3

    def test_an_existing_checkpoint_is_never_replaced(
        self, store: ObjectStore, ws: Workspace, lost: Callable[[], None]
    ) -> None:
        ws.run()
        store.objects[BACKUP] = replace(store.objects[BACKUP], data=b"damaged")
        assert ws.run()["requests"] == 0
        (ws.path / ".checkpoints/job/journal.sqlite").unlink()
        assert ws.run(code=6)["error"]["kind"] == "checkpoint_failed"

    def test_a_damaged_copy_is_not_taken(self, store: ObjectStore, ws: Workspace, lost: Callable[[], None]) -> None:
        ws.run()
        lost()
        whole = store.objects[BACKUP]
        store.objects[BACKUP] = replace(whole, data=whole.data.replace(b"answer to two", b"answer to six"))
        ws.run(code=6)

    def test_a_store_that_cannot_be_reached_and_no_checkpoint(
        self, store: ObjectStore, ws: Workspace, endpoint: Endpoint, lost: Callable[[], None]
    ) -> None:
        store.fault = fails("head", Refusal(503, "SlowDown"), "backups")
        for name in ("run", "estimate", "status"):
            assert ws.pipeline(name, "job.yaml").code == 6
        assert not endpoint.asked

    def test_a_last_copy_that_fails_is_exit_6_and_the_output_stands(
        self, store: ObjectStore, ws: Workspace, lost: Callable[[], None]
    ) -> None:
        store.fault = fails("put", Refusal(500, "InternalError"), "backups")
        result = ws.run(code=6)
        assert "the last copy could not be made" in result["error"]["message"]
        assert table(store).num_rows == 3
        store.fault = lambda operation, key: None
        ws.run()
        assert BACKUP in store.objects

    def test_the_copy_of_another_checkpoint_is_kept(
        self, store: ObjectStore, ws: Workspace, endpoint: Endpoint, lost: Callable[[], None]
    ) -> None:
        ws.run()
        text = (ws.path / "job.yaml").read_text().replace('"name": "job"', '"name": "other"')
        (ws.path / "other.yaml").write_text(text.replace("out.parquet", "other.parquet"))
        endpoint.forget()
        result = ws.pipeline("run", "other.yaml")
        assert result.code == 2
        assert "is the copy of a checkpoint of the job 'job'" in result.err
        assert not endpoint.asked

    def test_a_checkpoint_older_than_its_copy_is_refused(
        self, store: ObjectStore, ws: Workspace, lost: Callable[[], None]
    ) -> None:
        ws.run("--limit", "1")
        shutil.copytree(ws.path / ".checkpoints/job", ws.path / "older")
        ws.run("--limit", "1")
        lost()
        shutil.move(ws.path / "older", ws.path / ".checkpoints/job")
        assert "move the checkpoint away" in said(ws, code=6)

    def test_each_shard_has_a_copy_of_its_own(
        self, store: ObjectStore, ws: Workspace, endpoint: Endpoint, lost: Callable[[], None]
    ) -> None:
        for shard in ("1/2", "2/2"):
            ws.run("--shard", shard)
        lost()
        endpoint.forget()
        ws.run("--shard", "1/2")
        assert not endpoint.asked
        assert f"backups/job/shard-2-of-2/{BACKUP.rpartition('/')[2]}" in store.objects

    @pytest.mark.parametrize(
        ("before", "then", "words"),
        [
            (["--shard", "1/2"], [], "copies of 2 shards (run --shard I/2)"),
            (["--shard", "1/2"], ["--shard", "1/3"], "copies of 2 shards (run --shard I/2)"),
            ([], ["--shard", "1/3"], "copies of runs without --shard"),
        ],
    )
    def test_rows_that_only_the_copies_know_to_be_divided_otherwise_are_not_bought_again(
        self,
        store: ObjectStore,
        ws: Workspace,
        endpoint: Endpoint,
        lost: Callable[[], None],
        before: list[str],
        then: list[str],
        words: str,
    ) -> None:
        ws.run(*before)
        lost()
        endpoint.forget()
        assert words in said(ws, *then, code=2)
        assert not endpoint.asked
        ws.run("--shard", "2/2", "--on-change", "rerun")
        assert endpoint.asked

    def test_a_backup_on_this_machine_is_refused(self, store: ObjectStore, ws: Workspace) -> None:
        assert "a backup goes into a folder of a store" in said(ws, "--set", "checkpoint.backup=copies", code=2)
