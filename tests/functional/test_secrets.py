"""CONTRACT sections 2 and 4, promise 9: keys stand nowhere, prompts and answers in no log; `${NAME}`."""

from __future__ import annotations

import json

import pytest

from tests.functional.conftest import KEY, KEY_VARIABLE, Asked, Endpoint, Reply, Workspace, refusal, usual
from tests.support.commands import Result


def assert_no_key(ws: Workspace, *results: Result) -> None:
    parts = (KEY, KEY[3:19], KEY[-16:])
    for name, content in ws.files().items():
        assert not [part for part in parts if part.encode() in content], name
    for result in results:
        assert not [part for part in parts if part in result.out + result.err]


def test_the_key_goes_to_the_endpoint_and_nowhere_else(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    ws.job()
    commands = (
        "validate job.yaml --show 1",
        "run job.yaml --verbose --limit 1",
        "run job.yaml --json -v --log-format json",
        "status job.yaml --json",
    )
    results = [ws.pipeline(*command.split()) for command in commands]
    assert [result.code for result in results] == [0, 0, 0, 0]
    assert {asked.headers["Authorization"] for asked in endpoint.asked} == {f"Bearer {KEY}"}
    assert_no_key(ws, *results)


@pytest.mark.parametrize("before", [0, 240, 260, 280])
def test_a_key_that_the_endpoint_echoes_in_an_error_is_kept_nowhere_wherever_it_stands(
    ws: Workspace, endpoint: Endpoint, before: int
) -> None:
    def reply(asked: Asked) -> Reply:
        return refusal(400, 5006, "x" * before + " headers: " + asked.headers["Authorization"])

    endpoint.reply = reply
    ws.questions("a")
    ws.job()
    shown = ws.pipeline("run", "job.yaml", "--verbose")
    assert shown.code == 3
    assert_no_key(ws, shown)


def test_a_key_echoed_by_what_stops_the_run_is_not_shown(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: refusal(401, 10000, f"the key {KEY} is not valid")
    ws.questions("a")
    ws.job()
    results = [ws.pipeline("run", "job.yaml"), ws.pipeline("run", "job.yaml", "--json", "--verbose")]
    assert [result.code for result in results] == [5, 5]
    assert_no_key(ws, *results)


@pytest.mark.parametrize(
    "prompt",
    [
        "tell nobody that\nmy dog can fly over the garden wall",
        "my secret",
        "Ünïcödé über alles und noch viel mehr davon",
    ],
)
def test_a_prompt_echoed_by_what_stops_the_run_is_not_shown(ws: Workspace, endpoint: Endpoint, prompt: str) -> None:
    endpoint.reply = lambda asked: refusal(402, message=f"no credit left for: {asked.prompt}")
    ws.questions(prompt)
    ws.job()
    shown = [ws.pipeline("run", "job.yaml"), ws.pipeline("run", "job.yaml", "--json", "--log-format", "json", "-v")]
    for result in shown:
        assert result.code == 5 and "HTTP 402" in result.err
        assert not [word for word in prompt.split() if len(word) > 5 and word in result.out + result.err]
    endpoint.reply = lambda asked: refusal(402, message="no credit left")
    assert "no credit left" in ws.pipeline("run", "job.yaml").err


def test_words_that_share_a_few_letters_with_a_short_prompt_are_shown(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: refusal(401, message="Authentication error: no such key")
    ws.questions("question 1")
    ws.job()
    assert "Authentication error: no such key" in ws.pipeline("run", "job.yaml").err


def test_a_redirect_takes_the_key_nowhere(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: Reply(b"", 307, {"Location": f"http://localhost:{endpoint.port}/elsewhere"})
    ws.questions("a")
    ws.job()
    ws.run(code=5)
    assert {asked.path for asked in endpoint.asked} == {"/api/v1"}


def test_a_key_that_is_not_set_is_exit_2_and_names_its_variable(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    del ws.environment[KEY_VARIABLE]
    refused = ws.pipeline("run", "job.yaml")
    assert (refused.code, len(refused.lines)) == (2, 1)
    assert KEY_VARIABLE in refused.err
    assert not endpoint.asked


def test_a_key_over_plain_http_to_another_machine_is_exit_2(ws: Workspace) -> None:
    ws.questions("a")
    ws.job(endpoint={"url": "http://192.0.2.1/api/v1"})
    assert "allow_insecure_http" in ws.pipeline("run", "job.yaml").err
    assert ws.run(code=2)["requests"] == 0


def test_prompts_and_answers_stand_in_no_log(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("hyacinth", "bad hyacinth", "down hyacinth")
    ws.job(retry={"max_attempts": 2})
    bad = {"bad hyacinth": refusal(400, 5006), "down hyacinth": refusal(500)}
    endpoint.reply = lambda asked: bad.get(asked.prompt) or usual(asked)
    for command in ("run --verbose", "run --verbose --json", "retry-failed", "status", "estimate"):
        name, *flags = command.split()
        shown = ws.pipeline(name, "job.yaml", *flags)
        assert "hyacinth" not in shown.out + shown.err
        assert "answer to" not in shown.out + shown.err


def test_variables_are_filled_in_after_parsing_in_any_string(ws: Workspace, endpoint: Endpoint) -> None:
    ws.environment |= {"WORDS": 'two: words # "quoted"', "EMPTY": "", "OUT": "named"}
    ws.questions("a")
    ws.job(
        prompt={"system": "${WORDS}|${MISSING:-fall back}|${EMPTY:-x}|$${WORDS}|$5 $ {}", "user": "{{ question }}"},
        output={"path": "${OUT}.parquet"},
    )
    ws.run()
    system = endpoint.asked[0].body["data"]["messages"][0]["content"]
    assert system.startswith('two: words # "quoted"|fall back|')
    assert system.endswith("|${WORDS}|$5 $ {}")
    assert ws.exists("named.parquet")


def test_variables_that_are_not_set_are_exit_2_all_at_once(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job(prompt={"system": "${FIRST_MISSING}", "user": "{{ question }} ${SECOND_MISSING}"})
    errors = ws.command("validate", code=2)["errors"]
    assert len(errors) == 2
    assert all(error["line"] for error in errors)
    assert "FIRST_MISSING" in json.dumps(errors)
    assert "SECOND_MISSING" in json.dumps(errors)
    assert ws.pipeline("run", "job.yaml").code == 2
    assert not endpoint.asked
