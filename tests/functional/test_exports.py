"""The answers in the shapes that people train and compare with."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.exports import batch_requests
from pipeline.journal.places import EventPlaces
from pipeline.journal.reader import JournalReader
from pipeline.sink import Joined, Results
from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, answer, refusal

TOO_LONG = {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110}


def usual(asked: Asked) -> Reply:
    match asked.prompt:
        case "fails":
            return refusal(400, 7, "no")
        case "long":
            return answer("and so on", usage=TOO_LONG)
        case _:
            return answer(f"to {asked.prompt}")


@pytest.fixture
def done(ws: Workspace, endpoint: Endpoint) -> Workspace:
    """A job with two answers, a truncated one and a failed row."""
    endpoint.reply = usual
    ws.given([["1", "a"], ["2", "fails"], ["3", "long"], ["4", "b"]], ["id", "question"])
    ws.job(input={"id": "id"})
    ws.run(code=3)
    return ws


def lines(ws: Workspace, name: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ws.path / name).read_text(encoding="utf-8").splitlines()]


def export(ws: Workspace, to: str, *flags: str, path: str = "out.jsonl") -> dict[str, Any]:
    return ws.command("export", "--to", to, *flags, path)


def test_failed_and_truncated_rows_stay_out_and_are_counted_unless_they_are_asked_for(done: Workspace) -> None:
    result = done.pipeline("export", "job.yaml", "--to", "jsonl", "out.jsonl", "--json")
    assert result.data["rows"] == 2
    assert result.data["left_out"] == {"failed": 1, "truncated": 1}
    assert result.err == "left out: 1 failed, 1 truncated\n"
    assert [row["row_id"] for row in lines(done)] == ["1", "4"]
    assert export(done, "jsonl", "--failed")["rows"] == 4
    assert [row["status"] for row in lines(done)] == ["succeeded", "failed", "succeeded", "succeeded"]


@pytest.mark.parametrize("to", ["messages", "prompt-completion"])
def test_a_row_without_any_answer_is_no_conversation_and_is_counted(done: Workspace, to: str) -> None:
    result = export(done, to, "--failed")
    assert (result["rows"], result["left_out"]) == (3, {"without a prompt or an answer": 1})
    assert len(lines(done)) == 3
    assert "null" not in (done.path / "out.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("to", ["jsonl", "csv", "parquet"])
def test_an_export_is_the_same_from_the_output_and_from_the_checkpoint(
    voted: Workspace, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    found = []
    joined: list[Results] = []
    rows = Results.joined

    def counted(results: Results) -> Iterator[Joined]:
        joined.append(results)
        return rows(results)

    monkeypatch.setattr(Results, "joined", counted)
    for stands in (True, False):
        export(voted, to, "--vote", "parsed.n", "--where", "id != '1'", path=f"{to}-{stands}")
        assert len(joined) == (not stands)
        path = voted.path / f"{to}-{stands}"
        found.append(pq.read_table(path).to_pylist() if to == "parquet" else path.read_text().splitlines())
        (voted.path / "out.parquet").unlink(missing_ok=True)
    assert found[0] == found[1]


def test_an_output_of_the_last_commit_is_read_without_the_journal(
    done: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = JournalReader.places
    looks: list[str] = []

    def look(self: JournalReader) -> Iterator[EventPlaces]:
        looks.append("")
        return places(self)

    monkeypatch.setattr(JournalReader, "places", look)
    export(done, "csv", path="first.csv")
    assert not looks
    export(done, "csv", "--set", "output.prefix=x_", path="second.csv")  # the output that stands has other columns
    assert len(looks) == 1
    first, second = ((done.path / name).read_text().splitlines() for name in ("first.csv", "second.csv"))
    assert first[1:] == second[1:]
    endpoint.reply = lambda asked: answer("all is well")
    (done.path / "out.parquet").rename(done.path / "older.parquet")
    done.command("retry-failed")
    (done.path / "older.parquet").rename(done.path / "out.parquet")
    looks.clear()
    assert export(done, "jsonl")["rows"] == 3
    assert looks


def test_rows_that_are_still_to_be_sent_are_counted(ws: Workspace) -> None:
    ws.questions("a", "b", "c")
    ws.job()
    ws.run("--limit", "1")
    assert export(ws, "jsonl") == {"path": "out.jsonl", "rows": 1, "left_out": {"pending": 2}}


def test_a_condition_sees_the_row_of_the_output(done: Workspace) -> None:
    result = export(done, "jsonl", "--where", "id | int > 1 and response != 'x'")
    assert result["left_out"] == {"failed": 1, "truncated": 1, "not chosen by --where": 1}
    assert [row["id"] for row in lines(done)] == ["4"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--where", "respons == 1"], "the output has no column 'respons'"),
        (["--where", "id >"], "--where"),
        (["--where", "id > 3"], "row 1: the expression of --where"),
        (["--columns", "id,respons"], "did you mean 'response'?"),
        (["--score", "id"], "--score is for --to preference"),
        (["--split", "train=1"], "--split is for --to hf"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(done: Workspace, flags: list[str], words: str) -> None:
    refused = done.pipeline("export", "job.yaml", "--to", "jsonl", "out.jsonl", *flags)
    assert (refused.code, words in refused.err) == (2, True), refused.err
    assert not done.exists("out.jsonl")


def test_columns_are_those_that_were_named_in_their_order(done: Workspace) -> None:
    export(done, "csv", "--columns", "response,id", path="out.csv")
    assert (done.path / "out.csv").read_bytes().decode() == "response,id\r\nto a,1\r\nto b,4\r\n"
    export(done, "parquet", "--columns", "cost_usd,response", path="export.parquet")
    table = pq.read_table(done.path / "export.parquet")
    assert table.to_pylist()[0] == {"cost_usd": Decimal("0.000010000000"), "response": "to a"}


def test_of_the_same_prompts_with_the_same_answers_the_first_stays(ws: Workspace, endpoint: Endpoint) -> None:
    words = "the quick brown fox jumps over the lazy dog and then runs home across the wide green field before dark "
    endpoint.reply = lambda asked: answer("yes")
    prompts = [words * 3, words * 3, words * 3 + "today", "something else"]
    ws.given([[str(n), prompt] for n, prompt in enumerate(prompts)], ["id", "question"])
    ws.job(input={"id": "id"})
    ws.run()
    assert export(ws, "jsonl", "--dedup", "exact")["left_out"] == {"duplicates": 1}
    assert [row["id"] for row in lines(ws)] == ["0", "2", "3"]
    assert export(ws, "jsonl", "--dedup", "near")["left_out"] == {"duplicates": 2}
    assert [row["id"] for row in lines(ws)] == ["0", "3"]


def test_cells_are_guarded_unless_they_are_wanted_raw_and_excel_gets_its_mark(
    ws: Workspace, endpoint: Endpoint
) -> None:
    endpoint.reply = lambda asked: answer("=1+1")
    ws.questions("a")
    ws.job()
    ws.run()
    found = []
    for flags in ([], ["--raw-cells"], ["--bom"]):
        export(ws, "csv", *flags, path="out.csv")
        raw = (ws.path / "out.csv").read_bytes()
        (row,) = csv.DictReader(raw.decode("utf-8-sig").splitlines())
        found.append((row["response"], raw.startswith(b"\xef\xbb\xbf")))
    assert found == [("'=1+1", False), ("=1+1", False), ("'=1+1", True)]


def test_conversations_have_the_system_prompt_and_the_answer(done: Workspace) -> None:
    export(done, "messages")
    assert lines(done)[0] == {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "to a"}]}
    export(done, "prompt-completion")
    assert lines(done) == [{"prompt": "a", "completion": "to a"}, {"prompt": "b", "completion": "to b"}]


def test_a_prompt_of_several_messages_stays_messages(ws: Workspace) -> None:
    ws.questions("a")
    ws.job(prompt={"system": "Be brief.", "user": "{{ question }}"})
    ws.run()
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"}]
    said = [{"role": "assistant", "content": ws.rows()[0]["response"]}]
    export(ws, "prompt-completion")
    assert lines(ws) == [{"prompt": prompt, "completion": said}]
    export(ws, "messages")
    assert lines(ws) == [{"messages": [*prompt, *said]}]


def test_the_best_and_the_worst_sample_of_a_row_make_a_pair(ws: Workspace, endpoint: Endpoint) -> None:
    seen: dict[str, int] = {}

    def reply(asked: Asked) -> Reply:
        seen[asked.prompt] = seen.get(asked.prompt, -1) + 1
        return answer("7" if asked.prompt == "same" else str(seen[asked.prompt]))

    endpoint.reply = reply
    ws.questions("a", "same", "b")
    ws.job(prompt={"user": "{{ question }}", "samples": 3})
    ws.run()
    result = export(ws, "preference", "--score", "response")
    assert result["left_out"] == {"without a best and a worst answer": 1}
    assert lines(ws) == [{"prompt": prompt, "chosen": "2", "rejected": "0"} for prompt in "ab"]
    refused = ws.pipeline("export", "job.yaml", "--to", "preference", "--score", "scor", "x.jsonl")
    assert (refused.code, "no column 'scor'" in refused.err) == (2, True)


def test_a_score_may_be_a_column_of_the_input_that_the_output_does_not_carry(ws: Workspace, endpoint: Endpoint) -> None:
    marks = [{"of": 7, "words": "x"}, {"of": 8, "words": "y"}]
    pq.write_table(pa.table({"question": ["a", "b"], "mark": [7, 8], "nested": marks}), ws.path / "in.parquet")
    ws.job(input={"path": "in.parquet", "columns": ["question"]}, prompt={"user": "{{ question }}", "samples": 2})
    ws.run()
    # The samples of a row have its one input row, so they tie.
    for score in ("mark", "nested.of"):
        assert export(ws, "preference", "--score", score)["left_out"] == {"without a best and a worst answer": 2}
    for score, words in {
        "nested": "is never a number",
        "marc": "'mark'",
        "nested.off": "'nested.of'",
        "mark.x": "'mark.x'\n",
    }.items():
        refused = ws.pipeline("export", "job.yaml", "--to", "preference", "--score", score, "x.jsonl")
        assert (refused.code, words in refused.err) == (2, True), refused.err


@pytest.mark.parametrize("score", ["truncated", "started_at", "nested"])
def test_a_score_that_is_never_a_number_is_refused(ws: Workspace, endpoint: Endpoint, score: str) -> None:
    table = pa.table({"question": ["a", "b"], "nested": [{"mark": 1}, {"mark": 2}]})
    pq.write_table(table, ws.path / "in.parquet")
    ws.job(input={"path": "in.parquet"}, prompt={"user": "{{ question }}", "samples": 2})
    ws.run()
    refused = ws.pipeline("export", "job.yaml", "--to", "preference", "--score", score, "x.jsonl")
    assert (refused.code, f"{score!r} is never a number" in refused.err) == (2, True), refused.err
    assert not ws.exists("x.jsonl")


def test_an_export_that_leaves_every_row_out_says_so(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job(prompt={"user": "{{ question }}", "samples": 2})
    endpoint.reply = lambda asked: answer("no number")
    ws.run()
    for flags, why in (
        (("preference", "--score", "response"), "2 with fewer than two answers that have a score"),
        (("preference", "--score", "attempts"), "2 without a best and a worst answer"),
        (("jsonl", "--where", "response == 'x'"), "4 not chosen by --where"),
    ):
        done = ws.pipeline("export", "job.yaml", "--to", *flags, "out.jsonl")
        assert done.code == 0, done.err
        assert done.err == f"left out: {why}; nothing is left to write\n"


def test_a_batch_s_result_file_has_every_row_in_input_order(done: Workspace) -> None:
    assert export(done, "openai-batch")["rows"] == 4
    found = lines(done)
    assert [line["custom_id"] for line in found] == ["1", "2", "3", "4"]
    assert found[1]["response"] is None
    assert found[1]["error"]["code"] == done.rows()[1]["error_kind"]
    body = found[0]["response"]["body"]
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "to a", "refusal": None}
    assert body["usage"] == {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    assert found[2]["response"]["body"]["choices"][0]["finish_reason"] == "length"


def test_a_folder_for_the_hub_has_a_card_and_splits_that_no_appended_row_moves(
    ws: Workspace, endpoint: Endpoint
) -> None:
    rows = [[str(n), f"q{n}"] for n in range(200)]
    ws.given(rows, ["id", "question"])
    ws.job(input={"id": "id"})
    ws.run()
    first = export(ws, "hf", "--split", "train=0.9,test=0.1", path="folder")
    assert first["rows"] == 200
    before = _splits(ws)
    assert 5 <= len(before["test"]) <= 40
    assert len(before["train"]) + len(before["test"]) == 200
    ws.given([*rows, *([str(n), f"q{n}"] for n in range(200, 260))], ["id", "question"])
    ws.run()
    export(ws, "hf", "--split", "train=0.9,test=0.1", path="folder")
    after = _splits(ws)
    assert all(before[name] <= after[name] for name in before)
    card = (ws.path / "folder/README.md").read_text()
    assert card.startswith("---\n")
    for part in ("- n<1K", "- synthetic", "- split: test", "$0.0026", "| failed, left out | 0 (0.0%) |"):
        assert part in card
    assert not [path.name for path in ws.path.iterdir() if path.name.startswith(".folder")]


@pytest.mark.parametrize("zeros", [5, 24])
def test_a_split_without_rows_has_no_file_for_datasets_would_load_nothing(done: Workspace, zeros: int) -> None:
    few = f"0.{'0' * zeros}1"
    export(done, "hf", "--split", f"train={1 - Decimal(few)},test={few}", path="folder")
    assert [path.name for path in (done.path / "folder/data").iterdir()] == ["train-00000-of-00001.parquet"]
    card = (done.path / "folder/README.md").read_text()
    assert "split: test" not in card
    assert "| rows in `test` | 0 |" in card
    export(done, "hf", "--where", "id == 'x'", path="folder")
    assert pq.read_metadata(done.path / "folder/data/train-00000-of-00001.parquet").num_rows == 0


def _splits(ws: Workspace) -> dict[str, set[str]]:
    names = {"train", "test"}
    files = {name: ws.path / f"folder/data/{name}-00000-of-00001.parquet" for name in names}
    return {name: set(pq.read_table(path).column("id").to_pylist()) for name, path in files.items()}


def test_a_card_says_that_the_answers_are_made_up(ws: Workspace) -> None:
    ws.questions("a")
    ws.job(endpoint={"url": "simulator"})
    ws.run()
    export(ws, "hf", path="folder")
    assert "simulated: the answers are made up, and nothing was paid" in (ws.path / "folder/README.md").read_text()


def test_a_card_tells_no_figure_that_is_not_known(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("known", "unknown")
    ws.job()
    endpoint.reply = lambda asked: answer("x", usage=None) if asked.prompt == "unknown" else usual(asked)
    ws.run()

    def card(*flags: str) -> str:
        export(ws, "hf", *flags, path="folder")
        return (ws.path / "folder/README.md").read_text()

    whole = card()
    assert "| cost of these rows | $0.00001, and unknown of 1 row |" in whole
    assert "| prompt tokens | 10, and unknown of 1 row |" in whole
    one = card("--where", "question == 'unknown'")
    assert "| cost of these rows | unknown |" in one and "| completion tokens | unknown |" in one
    assert "| cost of these rows | $0.00001 |" in card("--where", "question == 'known'")


def test_a_folder_that_holds_anything_else_is_left_alone(done: Workspace) -> None:
    (done.path / "folder").mkdir()
    assert export(done, "hf", path="folder")["rows"] == 2
    assert export(done, "hf", path="folder")["rows"] == 2
    (done.path / "folder/notes.txt").write_text("mine")
    before = done.files()
    refused = done.pipeline("export", "job.yaml", "--to", "hf", "folder")
    assert (refused.code, "name another directory" in refused.err) == (2, True)
    assert done.files() == before


@pytest.mark.parametrize("split", ["train=0.9", "train=0.9,train=0.1", "a b=1", "train=x", "train=1.5,test=-0.5"])
def test_shares_that_are_none_are_refused(done: Workspace, split: str) -> None:
    refused = done.pipeline("export", "job.yaml", "--to", "hf", "--split", split, "folder")
    assert (refused.code, "--split" in refused.err) == (2, True)


def batch_job(ws: Workspace, **sections: Any) -> None:
    url = ws.url.replace("/api/v1", "/v1")
    ws.job(endpoint={"kind": "openai", "url": url, "model": "some/model"}, input={"id": "id"}, **sections)


def test_requests_have_the_whole_id_of_their_row(ws: Workspace, endpoint: Endpoint) -> None:
    ids = ["a\x1f1", "a\x1f2"]  # the character that parts ids from samples, where there are any
    ws.given([[one, "x"] for one in ids], ["id", "question"])
    batch_job(ws)
    export(ws, "openai-batch-requests", path="requests")
    found = lines(ws, "requests/requests-00001.jsonl")
    assert [line["custom_id"] for line in found] == ids


def test_what_is_not_answered_is_written_as_requests_in_files_that_the_api_takes(
    ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.given([["1", "a"], ["2", ""], ["3", "b"], ["4", "c"], ["5", "d"]], ["id", "question"])
    batch_job(ws)
    first = ws.pipeline("export", "job.yaml", "--to", "openai-batch-requests", "requests", "--json")
    assert (first.data["rows"], first.data["left_out"]) == (4, {"without a request": 1})
    (ws.path / "requests/requests-00001.jsonl").unlink()
    choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
    endpoint.reply = lambda asked: Reply({"choices": [choice], "usage": TOO_LONG})
    ws.run("--limit", "1")
    monkeypatch.setattr(batch_requests, "MAX_LINES", 2)
    assert export(ws, "openai-batch-requests", path="requests")["rows"] == 3
    names = sorted(path.name for path in (ws.path / "requests").iterdir())
    assert names == ["requests-00001.jsonl", "requests-00002.jsonl"]
    found = [line for name in names for line in lines(ws, f"requests/{name}")]
    assert [line["custom_id"] for line in found] == ["3", "4", "5"]
    assert found[0] == {
        "custom_id": "3",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "some/model", "messages": [{"role": "user", "content": "b"}], "max_tokens": 100},
    }
    monkeypatch.setattr(batch_requests, "MAX_LINES", 50_000)
    export(ws, "openai-batch-requests", path="requests")
    assert [path.name for path in (ws.path / "requests").iterdir()] == ["requests-00001.jsonl"]


def test_each_request_file_asks_one_model(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["1", "a"], ["2", ""], ["3", "b"]], ["id", "question"])
    batch_job(ws, sweep={"endpoint.model": ["m1", "m2"]}, prompt={"user": "{{ question }}", "samples": 2})
    exported = export(ws, "openai-batch-requests", path="requests")
    assert (exported["rows"], exported["left_out"]) == (8, {"without a request": 4})
    for number, model in enumerate(["m1", "m2"], 1):
        found = lines(ws, f"requests/requests-{number:05}.jsonl")
        assert [line["custom_id"] for line in found] == [f"{id}/model={model}/{k}" for id in "13" for k in (0, 1)]
        assert {line["body"]["model"] for line in found} == {model}
    assert len(list((ws.path / "requests").iterdir())) == 2


def test_request_files_are_put_beside_others_only_when_told_to(ws: Workspace) -> None:
    ws.given([["1", "a"]], ["id", "question"])
    batch_job(ws)
    (ws.path / "requests").mkdir()
    (ws.path / "requests/notes.txt").write_text("mine")
    refused = ws.pipeline("export", "job.yaml", "--to", "openai-batch-requests", "requests")
    assert (refused.code, "another directory" in refused.err) == (2, True)
    assert ws.pipeline("export", "job.yaml", "--to", "openai-batch-requests", "requests", "--overwrite").code == 0
    assert (ws.path / "requests/notes.txt").read_text() == "mine"
    assert len(lines(ws, "requests/requests-00001.jsonl")) == 1


@pytest.fixture
def voted(ws: Workspace, endpoint: Endpoint) -> Workspace:
    """Five answers to each question: each digit of it is one; `x` fails."""
    said: dict[str, int] = {}

    def reply(asked: Asked) -> Reply:
        said[asked.prompt] = said.get(asked.prompt, -1) + 1
        one = asked.prompt[said[asked.prompt]]
        return refusal(400, 7, "no") if one == "x" else answer(json.dumps({"n": int(one), "why": str(said)}))

    endpoint.reply = reply
    questions = ["11211", "12121", "12345", "2211x", "333xx", "xxxxx"]
    ws.given([[str(n), question] for n, question in enumerate(questions)], ["id", "question"])
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "why": {"type": "string"}}}
    ws.job(
        input={"id": "id"},
        prompt={"user": "{{ question }}", "samples": 5},
        expect={"json_schema": schema, "send": "none", "attempts": 1},
        limits={"concurrency": 1},
    )
    ws.run(code=3)
    return ws


def test_the_majority_of_a_row_s_samples_is_kept_with_its_share(voted: Workspace) -> None:
    result = export(voted, "jsonl", "--vote", "parsed.n")
    assert result["rows"] == 3
    assert result["left_out"] == {"failed": 8, "tied": 2}
    found = [(row["id"], row["sample_index"], row["vote"], row["vote_share"]) for row in lines(voted)]
    assert found == [("0", 0, 1, 0.8), ("1", 0, 1, 0.6), ("4", 0, 3, 1.0)]
    # A condition says who has a vote; the share is of those.
    export(
        voted, "csv", "--vote", "parsed.n", "--where", "parsed.n != 1", "--columns", "id,vote,vote_share", path="o.csv"
    )
    assert (voted.path / "o.csv").read_text() == "id,vote,vote_share\n0,2,1.0\n1,2,1.0\n3,2,1.0\n4,3,1.0\n"
    export(voted, "parquet", "--vote", "parsed.n", path="o.parquet")
    assert str(pq.read_schema(voted.path / "o.parquet").field("vote").type) == "int64"
    export(voted, "messages", "--vote", "parsed.n")
    assert [json.loads(line["messages"][-1]["content"])["n"] for line in lines(voted)] == [1, 1, 3]
    export(voted, "hf", "--vote", "parsed.n", path="folder")
    card = (voted.path / "folder/README.md").read_text()
    assert "| failed, left out | 8 (26.7%) |" in card
    assert "the most frequent `parsed.n`; 2 ties |" in card


def test_a_vote_does_not_depend_on_how_rows_are_read(voted: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    export(voted, "jsonl", "--vote", "parsed.n")
    before = lines(voted)
    monkeypatch.setattr("pipeline.sink.results._ROWS_AT_FIRST", 2)
    monkeypatch.setattr("pipeline.sink.results._MAX_ROWS_PER_SLICE", 3)
    export(voted, "jsonl", "--vote", "parsed.n")
    assert lines(voted) == before


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--to", "jsonl", "--vote", "parsed.m"], "no column 'parsed.m'; did you mean 'parsed.n'?"),
        (["--to", "jsonl", "--vote", "respons"], "did you mean 'response'?"),
        (["--to", "preference", "--score", "parsed.n", "--vote", "parsed.n"], "--to preference needs them all"),
    ],
)
def test_votes_on_what_is_not_there_are_refused(voted: Workspace, flags: list[str], words: str) -> None:
    refused = voted.pipeline("export", "job.yaml", *flags, "x.jsonl")
    assert (refused.code, words in refused.err) == (2, True), refused.err


def test_rows_without_samples_have_no_vote(done: Workspace) -> None:
    refused = done.pipeline("export", "job.yaml", "--to", "jsonl", "--vote", "response", "x.jsonl")
    assert (refused.code, "prompt.samples" in refused.err) == (2, True), refused.err


@pytest.fixture
def namesakes(ws: Workspace) -> Workspace:
    """A job whose input has columns with names that other jobs add to the output."""
    ws.given(
        [["1", "a", "v", "5", "p"], ["2", "a", "v", "6", "p"]], ["id", "question", "variant", "sample_index", "parsed"]
    )
    ws.job(input={"id": "id"})
    ws.run()
    return ws


def test_columns_of_the_input_are_not_taken_for_the_output_s_own(namesakes: Workspace, endpoint: Endpoint) -> None:
    export(namesakes, "openai-batch")
    assert [line["custom_id"] for line in lines(namesakes)] == ["1", "2"]
    endpoint.reply = lambda asked: answer("another")
    names = ["id", "question", "variant", "sample_index", "parsed"]
    namesakes.given([["1", "a", "w", "7", "p"], ["2", "b", "w", "8", "p"]], names, "others.parquet")
    other = {"path": "others.parquet", "id": "id"}
    namesakes.job("other.yaml", name="other", input=other, output={"path": "other.parquet"})
    assert namesakes.pipeline("run", "other.yaml").code == 0
    found = namesakes.pipeline("compare", "job.yaml", "other.yaml", "--json").data
    assert (found["same"], found["changed"], found["agreement"]) == (0, 2, {"response": 0.0})


def test_each_line_of_a_result_file_has_an_id_of_its_own(ws: Workspace) -> None:
    ws.given([["1", "a"], ["2", "a"]], ["id", "question"])
    ws.job(input={"id": "id"}, prompt={"user": "{{ question }}", "samples": 3})
    ws.run()
    export(ws, "openai-batch")
    found = lines(ws)
    assert len({line["id"] for line in found}) == len({line["response"]["body"]["id"] for line in found}) == 6
    export(ws, "openai-batch", path="again.jsonl")
    assert lines(ws, "again.jsonl") == found


def test_a_column_that_would_be_there_twice_is_refused(ws: Workspace) -> None:
    ws.given([["1", "a"]], ["vote", "question"])
    ws.job(prompt={"user": "{{ question }}", "samples": 2})
    ws.run()
    message = ws.command("export", "--to", "jsonl", "--vote", "response", "x", code=2)["error"]["message"]
    assert "'vote'" in message and "output.prefix" in message
    message = ws.command("export", "--to", "jsonl", "--columns", "vote,row_id,vote", "x", code=2)["error"]["message"]
    assert "'vote' twice" in message
