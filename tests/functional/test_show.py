"""`pipeline show`: the first rows as a person reads them."""

from __future__ import annotations

from tests.functional.conftest import COST, Asked, Endpoint, Reply, Workspace, answer, refusal, usual


def reply(asked: Asked) -> Reply:
    return refusal(400, 5006, "not this") if asked.prompt.startswith("bad") else usual(asked)


def test_the_first_rows_are_shown_with_prompt_answer_tokens_and_cost(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([[f"r{n}", text] for n, text in enumerate(["a", "bad", "c", "d"])], ["id", "question"])
    ws.job(input={"id": "id"}, prompt={"system": "be brief", "user": "say {{ question }}"})
    endpoint.reply = lambda asked: refusal(400, 5006, "not this") if "bad" in asked.prompt else usual(asked)
    before = ws.pipeline("show", "job.yaml", "--set", "limits.concurrency=2")
    assert (before.code, before.out) == (2, "")
    assert "run it first: pipeline run job.yaml --set limits.concurrency=2" in before.err
    ws.run(code=3)
    sent, files = len(endpoint.asked), ws.files()
    rows = ws.command("show")["rows"]
    assert [(row["row_id"], row["prompt"], row["response"]) for row in rows] == [
        ("r0", "say a", "answer to say a"),
        ("r1", "say bad", None),
        ("r2", "say c", "answer to say c"),
    ]
    expected = [{**row, "cost_usd": None if row["cost_usd"] is None else COST} for row in ws.rows()[:3]]
    for row, wanted in zip(rows, expected, strict=True):
        stamps = {name: wanted[name].isoformat() for name in ("started_at", "finished_at")}
        assert row == {**wanted, **stamps, "prompt": row["prompt"]}
    text = ws.pipeline("show", "job.yaml", "-n", "2").out
    assert "r0: succeeded\n  prompt: say a\n  answer: answer to say a\n" in text
    assert f"10 prompt tokens, 20 completion tokens, ${COST}, 1 request" in text
    assert "r1: failed\n  prompt: say bad\n  failed: bad_request: " in text
    assert "r2" not in text
    assert [row["row_id"] for row in ws.command("show", "--failed")["rows"]] == ["r1"]
    assert [row["row_id"] for row in ws.command("show", "--id", "r3")["rows"]] == ["r3"]
    unknown = ws.pipeline("show", "job.yaml", "--id", "r9")
    assert (unknown.code, "no row with the id 'r9'" in unknown.err) == (2, True)
    assert (len(endpoint.asked), ws.files()) == (sent, files)


def test_rows_are_shown_while_a_run_is_under_way_and_nothing_in_them_moves_the_terminal(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("\x1b[2Ja", "b")
    ws.job(limits={"concurrency": 1})

    def held(asked: Asked) -> Reply:
        if asked.prompt == "b":
            endpoint.gate.clear()
        return answer("\x1b]0;owned\x07 two\nlines")

    endpoint.reply = held
    with ws.running():
        endpoint.wait_for(2)
        text = ws.pipeline("show", "job.yaml").out
        assert "\x1b" not in text and "\x07" not in text
        assert "  prompt: \\x1b[2Ja\n  answer:\n    \\x1b]0;owned\\x07 two\n    lines\n" in text
        endpoint.gate.set()


def test_columns_of_the_input_that_share_a_name_with_one_of_the_answers_are_shown_too(ws: Workspace) -> None:
    ws.given([["7", "why", "done", "mine"]], ["n", "prompt", "status", "input"])
    ws.job(prompt={"user": "say {{ prompt }}"}, output={"prefix": "my_"})
    ws.run()
    (row,) = ws.command("show")["rows"]
    assert (row["prompt"], row["status"], row["n"]) == ("say why", "succeeded", "7")
    assert row["input"] == {"prompt": "why", "status": "done", "input": "mine"}
    ws.given([["7", "mine"]], ["n", "input"])
    ws.job(prompt={"user": "say {{ n }}"}, checkpoint={"path": "other"}, output={"path": "b.parquet"})
    ws.run()
    (row,) = ws.command("show")["rows"]
    assert (row["n"], row["input"]) == ("7", "mine")


def test_a_number_of_rows_beyond_all_measure_means_all(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job(output={"path": "parts/", "rows_per_file": 10**30})
    most = str(10**30)
    assert ws.run("--limit", most)["succeeded"] == 2
    assert len(ws.command("show", "-n", most)["rows"]) == 2
    assert len(ws.command("validate", "--show", most)["requests"]) == 2
    assert ws.command("retry-failed", "--list", "--limit", most)["failed"] == []
    assert len(endpoint.asked) == 2
