"""A catalogue of one's own: what a job knows of its model by it, and every mistake at its place in that file."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.app.jobs.pricing import price_of
from pipeline.catalogue import built_in
from pipeline.config import InvalidJob, Job, Mistake, load_job
from pipeline.config.wire import make_endpoint
from pipeline.providers import PROVIDERS

JOB = """\
name: a
input: {path: in.csv}
prompt: {user: "{{ q }}"}
endpoint: {kind: openai, url: "http://localhost:1/v1", model: %s, api_key_env: null}
output: {path: out.parquet}
catalogue: %s
"""
MODELS = """\
priced_on: 2026-11-01
models:
  - name: my/model
    input_usd_per_million: 0.25
    output_usd_per_million: 1.5
    context_window: 4096
    reasons_in_text: true
  - name: qwen/qwq-32b
    input_usd_per_million: 9
    output_usd_per_million: 9
    context_window: 100
    parameters: [temperature, max_tokens]
"""


def load(folder: Path, models: str = MODELS, model: str = "my/model", job: str = JOB) -> Job:
    (folder / "models.yaml").write_text(models)
    (folder / "job.yaml").write_text(job % (model, folder / "models.yaml"))
    return load_job(folder / "job.yaml", environ={})


def mistakes(folder: Path, models: str, **given: Any) -> list[Mistake]:
    with pytest.raises(InvalidJob) as refused:
        load(folder, models, **given)
    return list(refused.value.mistakes)


def test_a_model_of_ones_own_has_its_price_its_window_and_its_way_to_reason(tmp_path: Path) -> None:
    config = load(tmp_path).config
    price = price_of(config)
    assert price is not None
    assert (price.input_usd_per_million, price.output_usd_per_million) == (Decimal("0.25"), Decimal("1.5"))
    assert price.as_of == "2026-11-01"
    assert config.model_facts is not None and config.model_facts.context_window == 4096
    body = b'{"choices": [{"message": {"content": "<think>why</think>because"}}], "usage": {}}'
    reply = make_endpoint(config.endpoint, catalogue=config.known_models).parse(200, {}, body)
    assert (getattr(reply, "reasoning", None), getattr(reply, "response", None)) == ("why", "because")


def test_a_known_model_takes_the_facts_of_the_file_and_others_keep_theirs(tmp_path: Path) -> None:
    known = load(tmp_path).config.known_models
    ours, theirs = known.find("qwen/qwq-32b"), built_in().find("qwen/qwq-32b")
    assert ours is not None and theirs is not None
    assert (ours.context_window, ours.input_usd_per_million) == (100, Decimal(9))
    assert theirs.context_window != 100
    assert sorted(known.names) == sorted([*built_in().names, "my/model"])
    scout = "meta/llama-4-scout-17b-16e-instruct"
    assert known.find(scout) == built_in().find(scout) is not None


def test_the_parameters_that_it_names_are_those_that_it_takes(tmp_path: Path) -> None:
    config = load(tmp_path, model="qwen/qwq-32b").config
    assert list(config.endpoint.provider.ranges(config.model_facts)) == ["temperature", "max_tokens"]
    with_top_p = JOB + "parameters: {top_p: 0.5}\n"
    [found] = mistakes(tmp_path, MODELS, model="qwen/qwq-32b", job=with_top_p)
    assert found.key == "parameters.top_p" and "takes no `top_p`" in found.message


def test_what_is_known_of_a_model_at_dataoorts_says_nothing_of_another_server(tmp_path: Path) -> None:
    config = load(tmp_path, model="meta/llama-guard-3-8b").config
    assert config.model_facts is None and price_of(config) is not None
    assert config.endpoint.provider.ranges(config.model_facts) == PROVIDERS["openai"].parameters


def test_dataoorts_takes_a_model_that_only_the_file_has(tmp_path: Path) -> None:
    at_home = JOB.replace('kind: openai, url: "http://localhost:1/v1", ', "").replace(", api_key_env: null", "")
    config = load(tmp_path, job=at_home).config
    assert config.model_facts is not None
    assert config.endpoint.provider.ranges(config.model_facts) == PROVIDERS["dataoorts"].parameters


def test_every_mistake_stands_at_its_place_in_the_file(tmp_path: Path) -> None:
    text = MODELS.replace("4096", "0").replace("output_usd_per_million: 9", "output_usd: 9").replace("2026-11", "26-11")
    found = {one.key: one for one in mistakes(tmp_path, text)}
    assert list(found) == [
        "catalogue.priced_on",
        "catalogue.models[0].context_window",
        "catalogue.models[1].output_usd",
    ]
    places = {key: (one.file, one.line) for key, one in found.items()}
    file = str(tmp_path / "models.yaml")
    assert places["catalogue.models[0].context_window"] == (file, 6)
    assert places["catalogue.models[1].output_usd"] == (file, 10)
    assert found["catalogue.priced_on"].suggestion == "write it as in `2026-11-28`"
    assert found["catalogue.models[1].output_usd"].suggestion == "did you mean `output_usd_per_million`?"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "the file is empty"),
        ("models: [", 1, "not valid YAML"),
        ("priced_on: 2026-11-01\n", 1, "required, but missing"),
        ("- a\n", None, "this is a list"),
        (MODELS + MODELS, 13, "this key is set already"),
    ],
)
def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    first = mistakes(tmp_path, text)[0]
    assert words in first.message
    if line is not None:
        assert (first.file, first.line) == (str(tmp_path / "models.yaml"), line)


def test_a_missing_key_of_a_model_is_asked_for_in_its_entry(tmp_path: Path) -> None:
    [found] = mistakes(tmp_path, MODELS.replace("    context_window: 100\n", ""))
    assert (found.key, found.file, found.line) == (
        "catalogue.models[1].context_window",
        str(tmp_path / "models.yaml"),
        8,
    )
    assert found.suggestion == "add `context_window: 32768` to `catalogue.models[1]`"


def test_a_missing_file_is_told_at_its_key_and_nothing_is_concluded_from_it(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    at_home = JOB.replace('kind: openai, url: "http://localhost:1/v1", ', "").replace(", api_key_env: null", "")
    path.write_text(at_home % ("no/such-model", "modells.yaml"))
    with pytest.raises(InvalidJob) as refused:
        load_job(path, environ={})
    [found] = refused.value.mistakes
    assert (found.key, found.file, found.line) == ("catalogue", str(path), 6)
    assert found.message == "modells.yaml: no such file"


def test_the_path_may_come_from_the_environment_and_from_a_flag(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(MODELS)
    (tmp_path / "job.yaml").write_text(JOB % ("my/model", "${MINE}"))
    environ = {"MINE": str(tmp_path / "models.yaml")}
    assert load_job(tmp_path / "job.yaml", environ=environ).config.model_facts is not None
    flags = [f"catalogue={tmp_path / 'models.yaml'}"]
    assert load_job(tmp_path / "job.yaml", flags, environ={}).config.model_facts is not None
    with pytest.raises(InvalidJob, match="MINE is not set"):
        load_job(tmp_path / "job.yaml", environ={})


@pytest.mark.parametrize("value", ["null", "~", ""])
def test_an_empty_key_is_no_catalogue(tmp_path: Path, value: str) -> None:
    (tmp_path / "job.yaml").write_text(JOB % ("my/model", value))
    assert load_job(tmp_path / "job.yaml", environ={}).config.known_models == built_in()
