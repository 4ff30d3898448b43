"""CONTRACT section 7: an output of several files, with a manifest beside the directory."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.version import __version__
from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, answer, refusal, usual

DIRECTORY, MANIFEST, PARTIAL = "out/answers", "out/answers.manifest.json", "out/answers.partial.parquet"


def wide(ws: Workspace, rows: int, **sections: Any) -> None:
    """Write a job of so many rows whose parts have ten."""
    give(ws, rows)
    output = {"path": f"{DIRECTORY}/", "rows_per_file": 10, **sections.pop("output", {})}
    ws.job(input={"id": "id"}, output=output, **sections)


def give(ws: Workspace, rows: int, note: str = "") -> None:
    ws.given([[n, f"q{n}", f"{note}{n}"] for n in range(rows)], ["id", "question", "note"])


def parts(ws: Workspace) -> list[str]:
    return sorted(os.listdir(ws.path / DIRECTORY)) if ws.exists(DIRECTORY) else []


def manifest(ws: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ws.path / MANIFEST).read_text())
    return found


def stands(ws: Workspace) -> dict[str, tuple[int, int, bytes]]:
    """Every part as it is on disk: which file, since when, and its content."""
    files = {name: ws.path / DIRECTORY / name for name in parts(ws)}
    return {name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for name, path in files.items()}


def assert_whole(ws: Workspace, rows: int) -> None:
    """The directory, the manifest and the rows agree, and nothing is left beside them."""
    found = manifest(ws)
    assert list(found) == ["version", "job", "run_ids", "rows", "files"]
    assert (found["version"], found["job"], found["rows"]) == (__version__, "job", rows)
    assert sorted(one["path"] for one in found["files"]) == parts(ws) == [one["path"] for one in found["files"]]
    for one in found["files"]:
        path = ws.path / DIRECTORY / one["path"]
        assert one["bytes"] == path.stat().st_size
        assert one["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert one["rows"] == pq.read_metadata(path).num_rows
    assert [one["rows"] for one in found["files"][:-1]] == [10] * (len(found["files"]) - 1)
    assert [row["row_id"] for row in ws.rows(DIRECTORY)] == [str(n) for n in range(rows)]
    assert sorted(os.listdir(ws.path / "out")) == ["answers", "answers.manifest.json"]


def test_the_rows_are_in_part_files_that_a_manifest_beside_them_lists(ws: Workspace) -> None:
    wide(ws, 25)
    found = ws.run()
    assert found["output"] == "out/answers/"
    assert_whole(ws, 25)
    assert parts(ws) == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert manifest(ws)["run_ids"] == [found["run_id"]]
    assert ws.rows(DIRECTORY)[24]["response"] == "answer to q24"
    before = ws.files()
    assert (ws.run()["requests"], ws.files().keys()) == (0, before.keys())
    assert {name: text for name, text in ws.files().items() if name.startswith("out")} == {
        name: text for name, text in before.items() if name.startswith("out")
    }


@pytest.mark.parametrize("rows", [0, 10, 20])
def test_an_output_of_whole_parts_or_without_rows_has_no_part_too_many(ws: Workspace, rows: int) -> None:
    wide(ws, rows)
    ws.run()
    assert_whole(ws, rows)
    assert len(parts(ws)) == max(1, rows // 10)


def test_appended_rows_add_parts_and_whole_ones_stay_as_they_are(ws: Workspace, endpoint: Endpoint) -> None:
    wide(ws, 25)
    ws.run()
    before, runs = stands(ws), manifest(ws)["run_ids"]
    endpoint.forget()
    give(ws, 38)
    ws.run()
    assert len(endpoint.asked) == 13
    assert_whole(ws, 38)
    after = stands(ws)
    assert {name: after[name] for name in list(before)[:2]} == {name: before[name] for name in list(before)[:2]}
    assert parts(ws)[2:] == ["part-00002-1.parquet", "part-00003.parquet"]
    assert manifest(ws)["run_ids"][0] == runs[0]
    give(ws, 20)
    ws.run()
    assert_whole(ws, 20)
    assert parts(ws) == ["part-00000.parquet", "part-00001.parquet"]
    assert ws.run()["requests"] == 0


def test_only_a_part_whose_rows_changed_is_written_again(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: refusal(400) if asked.prompt == "q11" else usual(asked)
    wide(ws, 25)
    ws.run(code=3)
    before = stands(ws)
    endpoint.reply = usual
    ws.command("retry-failed")
    assert_whole(ws, 25)
    assert parts(ws) == ["part-00000.parquet", "part-00001-1.parquet", "part-00002.parquet"]
    assert all(stands(ws)[name] == before[name] for name in ("part-00000.parquet", "part-00002.parquet"))
    rows = [[n, f"q{n}", "other" if n == 24 else n] for n in range(25)]
    ws.given(rows, ["id", "question", "note"])  # a carried column alone
    assert ws.run()["requests"] == 0
    assert_whole(ws, 25)
    assert parts(ws) == ["part-00000.parquet", "part-00001-1.parquet", "part-00002-1.parquet"]
    assert ws.rows(DIRECTORY)[24]["note"] == "other"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("compression", "gzip", ["part-00000-1.parquet", "part-00001-1.parquet", "part-00002-1.parquet"]),
        ("prefix", "llm_", ["part-00000-1.parquet", "part-00001-1.parquet", "part-00002-1.parquet"]),
        ("rows_per_file", 5, ["part-00000-1.parquet", "part-00001-1.parquet", "part-00002-1.parquet"]),
        ("rows_per_file", 100, ["part-00000-1.parquet"]),
    ],
)
def test_how_the_parts_are_written_may_change(ws: Workspace, key: str, value: Any, expected: list[str]) -> None:
    wide(ws, 25)
    ws.run()
    wide(ws, 25, output={key: value})
    assert ws.run()["requests"] == 0
    assert parts(ws)[:3] == expected
    assert [one["path"] for one in manifest(ws)["files"]] == parts(ws)
    assert ws.table(DIRECTORY).num_rows == 25
    before = stands(ws)
    ws.run()
    assert stands(ws) == before


def test_while_rows_are_pending_there_is_a_partial_output_and_no_manifest(ws: Workspace) -> None:
    wide(ws, 25)
    found = ws.run("--limit", "7")
    assert (found["output"], found["pending"]) == (PARTIAL, 18)
    assert (ws.exists(MANIFEST), parts(ws), len(ws.rows(PARTIAL))) == (False, [], 7)
    assert ws.command("status")["output"] == PARTIAL
    assert ws.run()["output"] == "out/answers/"
    assert_whole(ws, 25)
    before = stands(ws)
    give(ws, 30)
    ws.run("--limit", "1")
    assert (ws.exists(MANIFEST), stands(ws), len(ws.rows(PARTIAL))) == (False, before, 26)
    assert ws.command("status")["output"] == PARTIAL
    ws.run()
    assert_whole(ws, 30)
    assert {name: stands(ws)[name] for name in list(before)[:2]} == {name: before[name] for name in list(before)[:2]}


@pytest.mark.parametrize("what", ["another job's part", "a file", "a directory", "another manifest"])
def test_what_this_checkpoint_did_not_write_is_kept_unless_it_may_be_replaced(
    ws: Workspace, endpoint: Endpoint, what: str
) -> None:
    wide(ws, 25)
    if what == "another job's part":
        ws.job("other.yaml", name="other", input={"id": "id"}, output={"path": f"{DIRECTORY}/"})
        assert ws.pipeline("run", "other.yaml").code == 0
    else:
        (ws.path / DIRECTORY).mkdir(parents=True)
        found = ws.path / {"a file": f"{DIRECTORY}/notes.txt", "a directory": f"{DIRECTORY}/x"}.get(what, MANIFEST)
        found.mkdir() if what == "a directory" else found.write_text("{}")
    endpoint.forget()
    before = ws.files()
    refused = ws.run(code=2)
    assert "not written from this job's checkpoint" in refused["error"]["message"]
    assert (endpoint.asked, ws.files()) == ([], before)
    ws.run("--set", "output.overwrite=true")
    assert [row["row_id"] for row in ws.rows(DIRECTORY)] == [str(n) for n in range(25)]
    assert parts(ws) == [one["path"] for one in manifest(ws)["files"]] + ["x"] * (what == "a directory")


def test_what_was_put_there_while_the_job_ran_stays_too(ws: Workspace, endpoint: Endpoint) -> None:
    def meanwhile(asked: Asked) -> Reply:
        (ws.path / DIRECTORY).mkdir(parents=True, exist_ok=True)
        (ws.path / DIRECTORY / "theirs").write_text("theirs")
        return usual(asked)

    endpoint.reply = meanwhile
    wide(ws, 25)
    assert "while the job ran" in ws.run(code=2)["error"]["message"]
    assert (parts(ws), ws.exists(MANIFEST)) == (["theirs"], False)
    (ws.path / DIRECTORY / "theirs").unlink()
    endpoint.forget()
    ws.run()
    assert endpoint.asked == []
    assert_whole(ws, 25)


def test_a_checkpoint_that_is_missing_or_older_is_not_paid_for_again(ws: Workspace) -> None:
    wide(ws, 25)
    ws.run()
    kept = ws.path / "kept"
    (ws.path / ".checkpoints").rename(kept)
    assert "was written from it" in ws.run("--set", "output.overwrite=true", code=6)["error"]["message"]
    assert ws.command("recover")["recovered"] == 25
    before = stands(ws)
    assert ws.run()["requests"] == 0
    assert stands(ws) == before


@pytest.mark.parametrize("damage", ["cut", "gone", "twice"])
def test_a_part_that_is_not_as_the_manifest_says_is_made_again(ws: Workspace, damage: str) -> None:
    wide(ws, 25)
    ws.run()
    part = ws.path / DIRECTORY / "part-00001.parquet"
    if damage == "cut":
        os.truncate(part, part.stat().st_size // 2)
    elif damage == "gone":
        part.unlink()
    else:  # a kill came between the manifest and the removal of what it no longer lists
        (ws.path / DIRECTORY / "part-00001-1.parquet").write_bytes(part.read_bytes())
    if damage == "cut":
        part.unlink()  # it is no output any more, and whose it was cannot be told
    assert ws.run()["requests"] == 0
    assert_whole(ws, 25)


def test_other_commands_know_an_output_of_several_files(ws: Workspace) -> None:
    wide(ws, 25)
    ws.run()
    assert ws.command("status")["output"] == "out/answers/"
    assert len(ws.command("show", "-n", "2")["rows"]) == 2
    assert ws.command("inspect")["rows"] == 25
    assert ws.pipeline("compare", "job.yaml", "job.yaml", "--json").data["same"] == 25
    assert ws.pipeline("export", "job.yaml", "--to", "jsonl", "out.jsonl").code == 0
    assert len((ws.path / "out.jsonl").read_text().splitlines()) == 25
    assert ws.pipeline("export", "job.yaml", "--to", "jsonl", f"{DIRECTORY}/x.jsonl").code == 2
    assert ws.pipeline("list", "--json").data["jobs"][0]["output"] == "out/answers/"
    assert ws.command("clean", "--yes")["removed"] is True
    assert_whole(ws, 25)


def test_clean_keeps_a_checkpoint_whose_output_lacks_something(ws: Workspace) -> None:
    wide(ws, 25)
    ws.run()
    (ws.path / MANIFEST).unlink()
    assert "is not there" in ws.command("clean", "--yes", code=2)["error"]["message"]
    assert ws.exists(".checkpoints/job/journal.sqlite")


def test_another_job_reads_the_parts_in_order_once_all_are_there(ws: Workspace, endpoint: Endpoint) -> None:
    wide(ws, 25)
    second = {"input": {"path": {"job": "job.yaml"}, "columns": ["row_id", "response"]}, "output": {"prefix": "b_"}}
    ws.job("second.yaml", name="second", prompt={"user": "{{ response }}"}, **second)
    assert ws.pipeline("run", "second.yaml", "--json").code == 2
    ws.run()
    manifest_hash = hashlib.sha256((ws.path / MANIFEST).read_bytes()).hexdigest()
    assert ws.pipeline("run", "second.yaml", "--json").data["succeeded"] == 25
    assert [row["row_id"] for row in ws.rows()] == [str(n) for n in range(25)]
    told = json.loads((pq.read_schema(ws.path / "out.parquet").metadata or {})[b"llm-batch-pipeline"])
    assert told["source_job"]["sha256"] == manifest_hash
    part = ws.path / DIRECTORY / "part-00001.parquet"
    part.with_name("part-00001-1.parquet").write_bytes(part.read_bytes())  # rows that would come twice
    refused = ws.pipeline("run", "second.yaml", "--json")
    assert (refused.code, "has not published" in refused.data["error"]["message"]) == (2, True)


def test_shards_have_directories_of_their_own_and_gather_makes_the_one(ws: Workspace) -> None:
    wide(ws, 25)
    for number in (1, 2):
        assert ws.run("--shard", f"{number}/2")["output"] == f"out/answers.shard-{number}-of-2/"
    assert ws.command("gather", "--shards", "2")["output"] == "out/answers/"
    rows = ws.rows(DIRECTORY)
    assert [row["row_id"] for row in rows] == [str(n) for n in range(25)]
    assert [one["rows"] for one in manifest(ws)["files"]] == [10, 10, 5]
    before = stands(ws)
    ws.command("gather", "--shards", "2")
    assert stands(ws) == before


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("./", "needs a name"),
        ("..//", "needs a name"),
        ("out/answers", "ends in /"),
        ("in.parquet/", "this is the input"),
        ("job.yaml/", "is the job file"),
    ],
)
def test_a_directory_that_cannot_be_the_output_is_named(ws: Workspace, path: str, words: str) -> None:
    wide(ws, 1, output={"path": path})
    found = ws.command("validate", code=2)
    assert words in json.dumps(found["errors"]), found
    assert not ws.exists(".checkpoints")


def test_the_size_of_parts_is_for_a_directory(ws: Workspace) -> None:
    wide(ws, 1, output={"path": "out.parquet"})
    found = ws.command("validate", code=2)["errors"][0]
    assert (found["key"], "one file" in found["message"]) == ("output.rows_per_file", True)


def test_a_directory_under_the_input_s_pattern_is_refused(ws: Workspace) -> None:
    wide(ws, 1)
    Path(ws.path / "data").mkdir()
    (ws.path / "in.parquet").rename(ws.path / "data" / "in.parquet")
    ws.job(input={"path": "data/**/*.parquet"}, output={"path": "data/out/answers/"})
    found = ws.command("validate", code=2)["errors"][0]
    assert "would be read as input" in found["message"]


def test_rows_that_hold_no_number_equal_themselves_stay_in_their_part(ws: Workspace) -> None:
    import pyarrow as pa

    table = pa.table({"question": ["a", "b"], "x": [float("nan"), 1.0]})
    pq.write_table(table, ws.path / "in.parquet")
    ws.job(output={"path": f"{DIRECTORY}/", "rows_per_file": 2})
    ws.run()
    before = stands(ws)
    more = pa.table({"question": ["c"], "x": [float("nan")]})
    pq.write_table(pa.concat_tables([table, more]), ws.path / "in.parquet")
    ws.run()
    assert stands(ws)["part-00000.parquet"] == before["part-00000.parquet"]
    assert len(parts(ws)) == 2


def test_an_answer_with_an_empty_text_is_counted_over_all_parts(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: answer("") if asked.prompt in ("q3", "q13") else usual(asked)
    wide(ws, 25)
    assert ws.run()["empty"] == 2
