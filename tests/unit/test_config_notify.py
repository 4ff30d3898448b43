"""`notify`, `metrics` and `telemetry`: addresses that are secrets, and a place for figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.config import InvalidJob, Job, Mistake, format_mistake, load_job

JOB = """\
name: answers
input: {path: data/problems.parquet}
prompt: {user: "{{ question }}"}
output: {path: data/out/answers.parquet}
endpoint: {model: meta/llama-4-scout-17b-16e-instruct}
"""


def load(tmp_path: Path, more: str, *overrides: str, **environ: str) -> Job:
    path = tmp_path / "job.yaml"
    path.write_text(JOB + more, encoding="utf-8")
    return load_job(path, overrides, environ=environ)


def only(tmp_path: Path, more: str, *overrides: str, **environ: str) -> Mistake:
    with pytest.raises(InvalidJob) as refused:
        load(tmp_path, more, *overrides, **environ)
    (mistake,) = refused.value.mistakes
    return mistake


@pytest.mark.parametrize("name", ["ping_url", "webhook_url"])
@pytest.mark.parametrize(
    "url",
    [
        "https://hc.example.com/ping/6f1c?create=1",
        "https://user:word@hc.example.com:8443/x",
        "http://127.0.0.1:8000/ping",
        "http://localhost/x",
        "http://[::1]/x",
    ],
)
def test_whole_addresses_are_taken(tmp_path: Path, name: str, url: str) -> None:
    assert getattr(load(tmp_path, f'notify: {{{name}: "{url}"}}').config.notify, name) == url


@pytest.mark.parametrize("name", ["ping_url", "webhook_url"])
@pytest.mark.parametrize(
    "url",
    [
        "ftp://hc.example.com/hush",
        "hc.example.com/hush",
        "https:///hush",
        "http://[::1/hush",
        "https://a b/hush",
        "http://h:port/hush",
    ],
)
def test_what_is_no_address_is_a_mistake_at_its_key_that_shows_no_line(tmp_path: Path, name: str, url: str) -> None:
    found = only(tmp_path, f'notify:\n  {name}: "{url}"\n')
    assert (found.key, found.line) == (f"notify.{name}", 7)
    assert "hush" not in format_mistake(found)


def test_plain_http_to_another_machine_has_to_be_allowed(tmp_path: Path) -> None:
    notify = "notify:\n  ping_url: http://10.0.0.1/ping/hush\n"
    found = only(tmp_path, notify)
    assert (found.key, found.line) == ("notify.ping_url", 7)
    assert "allow_insecure_http: true" in str(found.suggestion) and "hush" not in format_mistake(found)
    load(tmp_path, notify + "  allow_insecure_http: true\n")
    assert "hush" not in format_mistake(only(tmp_path, "", "notify.webhook_url=http://10.0.0.1/hush"))


def test_of_an_address_nothing_but_a_variables_name_stands_in_the_document(tmp_path: Path) -> None:
    notify = "notify: {ping_url: '${PING}', webhook_url: 'https://hooks.example.com/hush?token=${TOKEN}'}"
    job = load(tmp_path, notify, PING="https://hc.example.com/hush", TOKEN="hush")
    assert "hush" not in json.dumps(job.document) + repr(job)
    assert job.document["notify"]["ping_url"] == "${PING}"
    written = load(tmp_path, "", "notify.ping_url=${X:-https://hush}", "notify.webhook_url=https://hush").document
    assert written["notify"]["ping_url"] == written["notify"]["webhook_url"] == "(not shown)"
    assert load(tmp_path, "").document["notify"] == {
        "ping_url": None,
        "webhook_url": None,
        "allow_insecure_http": False,
    }


def test_a_collector_s_address_is_checked_and_kept_secret_too(tmp_path: Path) -> None:
    found = only(tmp_path, "telemetry:\n  otlp: ftp://hush\n")
    assert (found.key, found.line) == ("telemetry.otlp", 7) and "hush" not in format_mistake(found)
    exposed = "telemetry:\n  otlp: http://10.0.0.1:4318/hush\n"
    found = only(tmp_path, exposed)
    assert "below `telemetry:`" in str(found.suggestion) and "hush" not in format_mistake(found)
    job = load(tmp_path, exposed + "  allow_insecure_http: true\n  sample_rate: 0.5\n")
    assert job.document["telemetry"] == {"otlp": "(not shown)", "sample_rate": 0.5, "allow_insecure_http": True}
    assert "hush" not in json.dumps(job.document) + repr(job)
    assert (
        load(tmp_path, "telemetry: {otlp: '${OTLP}'}", OTLP="https://hush").document["telemetry"]["otlp"] == "${OTLP}"
    )


@pytest.mark.parametrize("rate", ["-0.1", "1.5", ".nan", "often"])
def test_a_sample_rate_is_a_share(tmp_path: Path, rate: str) -> None:
    assert only(tmp_path, f"telemetry: {{sample_rate: {rate}}}").key == "telemetry.sample_rate"


def test_a_textfile_has_the_ending_that_node_exporter_reads(tmp_path: Path) -> None:
    assert only(tmp_path, "metrics: {textfile: figures.txt}").key == "metrics.textfile"
    assert load(tmp_path, "metrics: {textfile: figures.prom}").config.metrics.textfile == "figures.prom"
