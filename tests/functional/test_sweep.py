"""`sweep`: every row asked under several settings, each combination bought once."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.functional.conftest import COST, MODEL, Asked, Endpoint, Reply, Simulated, Workspace, answer, refusal
from tests.support.oracle import SOCKET_SECONDS, Ledger

SMALL = "meta/llama-3.1-8b-instruct"
OTHER = "google/gemma-3-12b-it"
MODELS = [MODEL, SMALL]


def numbered() -> Callable[[Asked], Reply]:
    """Answers that are all different, in the order they are asked for."""
    count = itertools.count(1)
    return lambda asked: answer(f"{asked.body['model']} {asked.prompt} {next(count)}")


def job(ws: Workspace, sweep: dict[str, Any] | None, **sections: Any) -> None:
    """The usual job with a sweep."""
    ws.job(**sections, **({} if sweep is None else {"sweep": sweep}))


def cells(ws: Workspace, name: str = "out.parquet") -> list[tuple[str, str]]:
    """The output's rows by question and variant."""
    return [(row["question"], row["variant"]) for row in ws.rows(name)]


@pytest.fixture(autouse=True)
def different(endpoint: Endpoint) -> None:
    endpoint.reply = numbered()


def test_each_combination_is_a_row_in_the_order_of_the_keys_with_its_own_request_and_price(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    (ws.path / "job.yaml").write_text(
        f"""
name: job
input: {{path: in.parquet}}
prompt: {{user: "{{{{ question }}}}"}}
endpoint: {{url: "{ws.url}", api_key_env: FUNCTIONAL_TEST_KEY}}
sweep:
  endpoint.model: [{MODEL}, {SMALL}]
  parameters.temperature: [0.20, 1]
parameters: {{max_tokens: 100}}
limits: {{max_cost_usd: 1}}
output: {{path: out.parquet}}
"""
    )
    found = ws.run()
    assert (found["rows"], found["succeeded"], found["requests"]) == (8, 8, 8)
    names = [f"model={model},temperature={text}" for model in MODELS for text in ("0.20", "1")]
    assert cells(ws) == [(question, name) for question in "ab" for name in names]
    rows = ws.rows()
    assert [row["model"] for row in rows] == [MODEL, MODEL, SMALL, SMALL] * 2
    assert all(row["response"].startswith(f"{row['model']} {row['question']} ") for row in rows)
    assert len({row["request_hash"] for row in rows}) == 8 and len({row["row_id"] for row in rows}) == 2
    asked = Counter((one.body["model"], one.body["data"]["temperature"]) for one in endpoint.asked)
    assert asked == {(model, temperature): 2 for model in MODELS for temperature in (0.2, 1.0)}
    small = (10 * Decimal("0.07") + 20 * Decimal("0.08")) / 1_000_000
    assert {row["model"]: row["cost_usd"] for row in rows} == {MODEL: Decimal(COST), SMALL: small}
    assert Decimal(found["job_cost_usd"]) == sum(row["cost_usd"] for row in rows)
    schema = ws.table().schema
    assert schema.field("variant") == pa.field("variant", pa.string(), nullable=False)
    assert schema.names[schema.names.index("row_id") + 1] == "variant"
    metadata = json.loads(pq.read_schema(ws.path / "out.parquet").metadata[b"llm-batch-pipeline"])
    assert list(metadata["prices"]) == MODELS
    assert metadata["configuration"]["sweep"] == {"endpoint.model": MODELS, "parameters.temperature": [0.2, 1.0]}


def test_a_variant_more_buys_it_alone_and_one_less_keeps_its_answers_for_later(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b", "c")
    job(ws, None)
    ws.run()
    plain = {row["question"]: row["response"] for row in ws.rows()}
    job(ws, {"endpoint.model": MODELS})
    plan = ws.command("estimate")
    assert (plan["rows"], plan["requests"]) == (
        {"total": 6, "done": 3, "new": 3, "changed": 0, "to_retry": 0, "orphaned": 0},
        3,
    )
    found = ws.pipeline("run", "job.yaml", "--verbose")
    assert "carried" not in found.err and found.code == 0, found.err
    assert Counter(one.body["model"] for one in endpoint.asked) == {MODEL: 3, SMALL: 3}
    assert {row["question"]: row["response"] for row in ws.rows() if row["model"] == MODEL} == plain
    two = ws.rows()
    job(ws, {"endpoint.model": [OTHER, SMALL, MODEL]})
    assert ws.run()["requests"] == 3
    assert cells(ws) == [(question, f"model={model}") for question in "abc" for model in (OTHER, SMALL, MODEL)]
    assert [row for model in MODELS for row in ws.rows() if row["model"] == model] == [
        row for model in MODELS for row in two if row["model"] == model
    ]
    job(ws, {"endpoint.model": [SMALL]})
    assert ws.command("estimate")["rows"]["orphaned"] == 6
    assert ws.run()["requests"] == 0
    job(ws, {"endpoint.model": {"large": MODEL, "small": SMALL}})
    assert ws.run()["requests"] == 0
    assert cells(ws) == [(question, name) for question in "abc" for name in ("large", "small")]
    job(ws, None)
    assert ws.run()["requests"] == 0
    assert {row["question"]: row["response"] for row in ws.rows()} == plain


def test_one_variant_in_the_place_of_another_is_new_and_the_rest_stands(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    job(ws, {"parameters.temperature": [0.1, 0.5, 1]})
    ws.run()
    job(ws, {"parameters.temperature": [0.1, 0.9, 1]})
    assert ws.command("estimate")["rows"] == {
        "total": 6,
        "done": 4,
        "new": 2,
        "changed": 0,
        "to_retry": 0,
        "orphaned": 2,
    }
    assert ws.run()["requests"] == 2
    job(ws, {"parameters.temperature": [0.2, 0.3, 0.4]})
    refused = ws.run(code=2)["error"]["message"]
    assert "6 of 6 finished rows" in refused and "--on-change rerun" in refused
    assert ws.run("--on-change", "rerun")["requests"] == 6


def test_a_setting_of_all_variants_makes_all_of_them_changed(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a", "b")
    job(ws, {"endpoint.model": MODELS})
    ws.run()
    job(ws, {"endpoint.model": MODELS}, parameters={"top_k": 7})
    refused = ws.run(code=2)["error"]["message"]
    assert "4 finished rows would be sent again" in refused and "(parameters.top_k: not set -> 7)" in refused
    assert ws.run("--on-change", "keep")["requests"] == 0
    assert ws.run()["requests"] == 0
    assert ws.run("--on-change", "rerun")["requests"] == 4


def test_variants_and_samples_together_are_ordered_and_told_apart(ws: Workspace, endpoint: Endpoint) -> None:
    ws.given([["x", "a"], ["y", "b"]], ["key", "question"])
    sweep = {"prompt.user": {"short": "{{ question }}", "long": "Please: {{ question }}"}, "parameters.seed": [1, 5]}
    ws.job(prompt={"system": "Be kind.", "samples": 2}, input={"id": "key"}, sweep=sweep)
    found = ws.run()
    assert found["requests"] == 16
    names = ["short,seed=1", "short,seed=5", "long,seed=1", "long,seed=5"]
    assert [(row["row_id"], row["variant"], row["sample_index"]) for row in ws.rows()] == [
        (key, name, sample) for key in "xy" for name in names for sample in (0, 1)
    ]
    asked = Counter((one.prompt, one.body["data"]["seed"]) for one in endpoint.asked)
    assert asked == {
        (f"{text}{question}", seed): 1 for text in ("", "Please: ") for question in "ab" for seed in (1, 2, 5, 6)
    }
    names = ws.table().schema.names
    assert names[names.index("row_id") + 1 : names.index("row_id") + 3] == ["variant", "sample_index"]
    (ws.path / ".checkpoints/job/journal.sqlite").write_bytes(b"")
    before = ws.rows()
    assert ws.command("recover")["recovered"] == 16
    assert ws.run()["requests"] == 0
    told = ("row_id", "variant", "sample_index", "response")
    assert [[row[name] for name in told] for row in ws.rows()] == [[row[name] for name in told] for row in before]
    shown = ws.command("show", "--id", "y")["rows"]
    assert [(row["variant"], row["prompt"]) for row in shown][::4] == [
        ("short,seed=1", "b"),
        ("long,seed=1", "Please: b"),
    ]


def test_a_limit_and_a_cap_hold_amid_the_variants(ws: Workspace) -> None:
    ws.questions("a", "b")
    job(ws, {"endpoint.model": MODELS})
    assert ws.run("--limit", "3")["succeeded"] == 3
    assert cells(ws, "out.partial.parquet") == [
        ("a", f"model={MODEL}"),
        ("a", f"model={SMALL}"),
        ("b", f"model={MODEL}"),
    ]
    job(ws, {"endpoint.model": [*MODELS, OTHER]}, limits={"concurrency": 1, "max_cost_usd": 0.00005})
    found = ws.run(code=4)
    assert Decimal(found["job_cost_usd"]) <= Decimal("0.00005") and found["pending"] > 0


@pytest.mark.parametrize(
    ("pricing", "costs"),
    [
        ({"by_model": {"a": {"input_usd_per_million": 1, "output_usd_per_million": 2}}}, [Decimal("0.00005"), None]),
        (
            {
                "by_model": {
                    "a": {"input_usd_per_million": 1, "output_usd_per_million": 2},
                    "b": {"input_usd_per_million": 0, "output_usd_per_million": 10},
                }
            },
            [Decimal("0.00005"), Decimal("0.0002")],
        ),
    ],
)
def test_each_model_has_its_own_price_and_one_without_is_unknown(
    ws: Workspace, endpoint: Endpoint, pricing: dict[str, Any], costs: list[Decimal | None]
) -> None:
    endpoint.reply = lambda asked: Reply(
        {
            "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
        }
    )
    ws.questions("q")
    openai = {"kind": "openai", "url": f"http://127.0.0.1:{endpoint.port}/v1"}
    job(ws, {"endpoint.model": ["a", "b"]}, endpoint=openai, pricing=pricing)
    found = ws.pipeline("run", "job.yaml", "--json", "--verbose")
    assert [row["cost_usd"] for row in ws.rows()] == costs
    assert ("no price is known for b" in found.err) == (None in costs)
    job(ws, {"endpoint.model": ["a", "b"]}, endpoint=openai, pricing=pricing, limits={"max_cost_usd": 1}, name="capped")
    capped = ws.pipeline("validate", "job.yaml")
    assert ("needs the model's price" in capped.err) == (None in costs), capped.err


def test_kills_amid_the_variants_buy_nothing_twice_and_the_sums_are_the_ledgers(
    ws: Workspace, simulate: Callable[..., Simulated]
) -> None:
    served = simulate("--latency-seconds", "0.02")
    ws.questions(*(f"question {number}" for number in range(10)))
    for models in ([MODEL], MODELS, [OTHER, *MODELS]):
        sweep = {"endpoint.model": models, "parameters.temperature": [0.3, 0.7]}
        job(ws, sweep, endpoint={"url": served.url}, limits={"concurrency": 8})
        with ws.running() as process:
            served.wait_for_answers(5)
            process.kill()
        time.sleep(SOCKET_SECONDS)
    found = ws.run()
    assert (found["rows"], found["succeeded"]) == (60, 60)
    ledger, rows = Ledger(served.ledger), ws.rows()
    cost, possibly = Decimal(found["job_cost_usd"]), Decimal(found["possibly_billed_usd"])
    assert sum(row["cost_usd"] for row in rows) == cost
    assert cost <= ledger.billed <= cost + possibly
    assert 60 <= len(ledger.exchanges) <= 60 + found["possibly_billed_requests"]


def test_validation_renders_the_requests_of_each_variant_and_places_what_is_wrong_in_the_sweep(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a", "b")
    job(ws, {"parameters.temperature": [0.1, 0.9]})
    assert "valid; 4 rows" in ws.pipeline("validate", "job.yaml").out
    shown = ws.command("validate", "--show", "3")["requests"]
    assert [one["data"]["temperature"] for one in shown] == [0.1, 0.9, 0.1]
    job(ws, {"prompt.user": {"good": "{{ question }}", "bad": "{{ quest }}"}, "parameters.top_k": [1, 999]})
    errors = ws.command("validate", code=2)["errors"]
    assert [one["key"] for one in errors] == ["sweep.prompt.user.bad", "sweep.parameters.top_k[1]"]
    assert not endpoint.asked


def test_the_estimate_adds_up_the_models_each_at_its_own_price(ws: Workspace) -> None:
    ws.questions(*range(20))
    costs: list[Decimal] = []
    for models in ([MODEL], [SMALL], MODELS):
        job(ws, {"endpoint.model": models}, name=f"job{len(costs)}")
        found = ws.command("estimate")
        costs.append(Decimal(found["cost_usd"]["high"]))
        assert found["requests"] == 20 * len(models)
    assert costs[0] + costs[1] == costs[2]


def test_reasoning_in_the_text_is_taken_out_for_the_models_that_write_it_there_alone(
    ws: Workspace, endpoint: Endpoint
) -> None:
    endpoint.reply = lambda asked: answer("I think.</think>Yes.")
    ws.questions("a")
    thinks = "qwen/qwq-32b"
    for number, models in enumerate([[MODEL, thinks], [thinks, MODEL]]):
        job(ws, {"endpoint.model": models}, name=f"job{number}", output={"path": f"{number}.parquet"})
        ws.run()
        found = {row["model"]: (row["response"], row["reasoning"]) for row in ws.rows(f"{number}.parquet")}
        assert found == {MODEL: ("I think.</think>Yes.", None), thinks: ("Yes.", "I think.")}


def test_a_key_given_on_the_command_line_sweeps_too(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    ws.job()
    assert ws.run("--set", "sweep.parameters.temperature=[0.25, 0.75]")["requests"] == 2
    assert [row["variant"] for row in ws.rows()] == ["temperature=0.25", "temperature=0.75"]
    assert ws.run("--set", 'sweep={"parameters.temperature": [0.75, 0.25]}')["requests"] == 0


def test_the_report_tells_of_each_variant_by_itself_and_of_no_prompt(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: answer("yes" if asked.body["model"] == MODEL else f"{asked.prompt} 1")
    ws.questions("a", "b", "c")
    ws.job(name="job")
    ws.run()
    prompts = {"brief": "{{ question }}", "polite": "Pray tell me: {{ question }}"}
    job(ws, {"endpoint.model": MODELS, "prompt.user": prompts})
    ws.run()
    page = Path(ws.command("report", "--set", 'sweep.prompt.system=["Be most secret."]', "--out", "a.html")["path"])
    assert "most secret" not in (ws.path / page).read_text()
    ws.command("report")
    text = (ws.path / "out.html").read_text()
    assert "Pray tell" not in text and f"{MODEL}, {SMALL}" in text
    rows = re.findall(r"<tr><td>\s*<bdi class=\"id\">(model=[^<]*)</bdi>\s*</td>(.*?)</tr>", text, re.DOTALL)
    found = {name: re.findall(r">([^<>]+)</td>", cells) for name, cells in rows}
    assert list(found) == [f"model={model},{name}" for model in MODELS for name in prompts]
    assert [found[f"model={model},brief"] for model in MODELS] == [
        ["3", "0", "0.000030", "30", "60", "0", "1"],
        ["3", "0", "0.000007", "30", "60", "0", "3"],
    ]


def test_inspect_tells_of_each_variant_by_itself(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: (
        refusal(400, 5006) if asked.prompt == "bad" else answer("yes" if asked.body["model"] == MODEL else asked.prompt)
    )
    ws.questions("a", "b", "bad")
    job(ws, {"endpoint.model": MODELS})
    ws.run(code=3)
    found = ws.command("inspect", "--no-near")["variants"]
    assert list(found) == [f"model={model}" for model in MODELS]
    usual = {"rows": 3, "failed": 1, "prompt_tokens": 20, "completion_tokens": 40, "truncated": 0}
    assert [one.items() >= usual.items() for one in found.values()] == [True, True]
    assert [(one["distinct_answers"], one["cost_usd"]) for one in found.values()] == [(1, "0.00002"), (2, "0.0000046")]
    assert f"model={SMALL}" in ws.pipeline("inspect", "job.yaml", "--no-near").out
    job(ws, None)
    assert "variants" not in ws.command("inspect", "--no-near")


def test_only_truncated_cells_are_asked_for_longer_answers_and_both_settings_stand_after_that(
    ws: Workspace, endpoint: Endpoint
) -> None:
    def reply(asked: Asked) -> Reply:
        wanted = 50 if asked.body["model"] == SMALL or asked.prompt == "b" else 10
        count = min(wanted, asked.body["data"]["max_tokens"])
        usage = {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": 10 + count}
        return answer(f"{asked.prompt} {count}", usage=usage)

    endpoint.reply = reply
    ws.questions("a", "b")
    prompt = {"user": "{{ question }}", "samples": 2}
    job(ws, {"endpoint.model": MODELS}, prompt=prompt, parameters={"max_tokens": 20})
    found = ws.run()
    assert (found["requests"], found["truncated"]) == (8, 6)
    longer = ("--set", "parameters.max_tokens=60")
    again = ws.command("retry-failed", "--kind", "truncated", *longer)
    assert (again["requests"], again["truncated"]) == (6, 0)
    assert ws.run(*longer)["requests"] == 0
    assert ws.run()["requests"] == 0
    assert [row["completion_tokens"] for row in ws.rows()] == [10, 10, *[50] * 6]


def test_each_model_is_told_what_is_expected_in_its_own_form_and_all_are_judged_alike(
    ws: Workspace, endpoint: Endpoint
) -> None:
    counts: Counter[str] = Counter()

    def reply(asked: Asked) -> Reply:
        counts[asked.body["model"]] += 1
        return answer("perhaps" if counts[asked.body["model"]] == 1 else "yes")

    endpoint.reply = reply
    ws.questions("a")
    for number, models in enumerate([MODELS, MODELS[::-1]]):
        counts.clear()
        endpoint.forget()
        output = {"path": f"{number}.parquet"}
        job(ws, {"endpoint.model": models}, expect={"choices": ["yes", "no"]}, name=f"job{number}", output=output)
        found = ws.run()
        assert (found["succeeded"], found["requests"]) == (2, 4)
        assert [(row["parsed"], row["answer_attempts"]) for row in ws.rows(f"{number}.parquet")] == [("yes", 2)] * 2
        told = {(one.body["model"], "response_format" in one.body["data"]) for one in endpoint.asked}
        assert told == {(SMALL, True), (MODEL, False)}


def test_another_order_of_models_asks_nothing_again_of_rows_without_a_valid_answer(
    ws: Workspace, endpoint: Endpoint
) -> None:
    endpoint.reply = lambda asked: answer("perhaps")
    ws.questions("a")
    for models, requests in ((MODELS, 4), (MODELS[::-1], 0)):
        job(ws, {"endpoint.model": models}, expect={"choices": ["yes", "no"], "attempts": 2})
        found = ws.run(code=3)
        assert (found["failed"], found["requests"]) == (2, requests)


def test_null_leaves_a_setting_out_also_one_that_the_job_sets(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions("a")
    sweep = {
        "prompt.examples": {"none": None, "few": [{"user": "2 + 2", "assistant": "4"}]},
        "parameters.temperature": [None, 0.5],
    }
    job(ws, sweep, parameters={"temperature": 0.2})
    ws.run()
    assert [variant for _, variant in cells(ws)] == [
        f"{examples},temperature={text}" for examples in ("none", "few") for text in ("null", "0.5")
    ]
    sent = [asked.body["data"] for asked in endpoint.asked]
    assert sorted((len(one["messages"]), one.get("temperature", 0)) for one in sent) == [
        (1, 0),
        (1, 0.5),
        (3, 0),
        (3, 0.5),
    ]
