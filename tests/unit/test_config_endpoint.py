"""Where requests may go, which key goes there, and that no key is ever shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.config import (
    InvalidJob,
    Job,
    Mistake,
    api_key,
    environment_mistakes,
    format_mistake,
    key_note,
    load_job,
)
from pipeline.config.checks.credentials import key_findings

JOB = """\
name: answers
input: {path: data/problems.parquet}
prompt: {user: "{{ question }}"}
output: {path: data/out/answers.parquet}
endpoint:
  model: meta/llama-4-scout-17b-16e-instruct
"""


def load(tmp_path: Path, endpoint: Mapping[str, str], environ: Mapping[str, str] | None = None, more: str = "") -> Job:
    path = tmp_path / "job.yaml"
    path.write_text(JOB + "".join(f"  {key}: {value}\n" for key, value in endpoint.items()) + more, encoding="utf-8")
    return load_job(path, environ=environ or {})


def only(
    tmp_path: Path, endpoint: Mapping[str, str], environ: Mapping[str, str] | None = None, more: str = ""
) -> Mistake:
    with pytest.raises(InvalidJob) as refused:
        load(tmp_path, endpoint, environ, more)
    assert len(refused.value.mistakes) == 1, refused.value.mistakes
    return refused.value.mistakes[0]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com",
        "example.com/v1",
        "http://",
        "https:///v1",
        "http://[::1",
        "http://localhost:port/v1",
        "http://localhost:99999/v1",
        "https://exa mple.com",
        r"http://localhost\@example.com/",
        "https://exämple.com",
        "https://example.com/v1?version=2",
        "https://example.com/v1#part",
        "Simulator",
        "https://user@example.com/v1",
        "https://user:password@example.com/v1",
        '"https://example.com/\\n"',
        "//example.com",
    ],
)
def test_what_is_no_plain_address_is_refused(tmp_path: Path, url: str) -> None:
    assert only(tmp_path, {"url": url, "api_key_env": "KEY"}).key == "endpoint.url"


@pytest.mark.parametrize("secret", ["https://me:hunter2@example.com", "https://example.com/v1?key=hunter2"])
def test_a_secret_in_the_address_is_not_shown(tmp_path: Path, secret: str) -> None:
    for found in (only(tmp_path, {"url": secret}), only(tmp_path, {"url": "${URL}"}, {"URL": secret})):
        assert "hunter2" not in repr(found)
        assert found.suggestion is not None
        assert "`api_key_env`" in found.suggestion


@pytest.mark.parametrize("key", ["api_key", "key", "token", "authorization", "api-key", "Authorization", "apiKey"])
@pytest.mark.parametrize("separator", [" ", "\n    ", " |\n    "])
def test_a_literal_key_is_refused_and_not_shown(tmp_path: Path, key: str, separator: str) -> None:
    found = only(tmp_path, {key: f"{separator}hunter2-hunter2-hunter2".lstrip(" ")})
    assert found.suggestion == (
        "a key is never written here: name the environment variable that holds it in `api_key_env`"
    )
    assert (found.line, found.column, found.source) == (7, 3, None)
    assert "hunter2" not in format_mistake(found)


def test_a_key_beside_another_mistake_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    for endpoint in (
        "{model: x, kind: y, api_key: hunter2}",
        "{model: x, kind: y, api_key_env: hunter-2}",
        '{"model": 5, "api_key":\n"hunter2", "kind": 5}',
        "{model: x, kind: y, api_key: hunter2",
        "{model: x, kind: y, headers: {Authorization: Bearer hunter2}}",
    ):
        path.write_text(JOB.replace("endpoint:\n  model: meta/llama-4-scout-17b-16e-instruct", f"endpoint: {endpoint}"))
        with pytest.raises(InvalidJob) as refused:
            load_job(path, environ={})
        assert "hunter" not in repr(refused.value.mistakes)


@pytest.mark.parametrize("name", ["KEY", '"KEY"', "null", "~", "${NAME:-KEY}", "KEY   # ours"])
def test_a_line_that_only_names_the_variable_is_shown(tmp_path: Path, name: str) -> None:
    job = load(tmp_path, {"kind": "openai", "url": "https://x/v1", "api_key_env": name})
    assert job.placed(Mistake("m", key="endpoint.api_key_env")).source == f"  api_key_env: {name}"


@pytest.mark.parametrize("name", ["sk-live-1234", "a b", '""', "$KEY", "Bearer x"])
def test_a_key_in_place_of_its_variables_name_is_refused_and_not_shown(tmp_path: Path, name: str) -> None:
    found = only(tmp_path, {"api_key_env": name})
    assert found.key == "endpoint.api_key_env"
    assert found.source is None


def test_a_key_that_looks_like_a_name_is_not_repeated(tmp_path: Path) -> None:
    job = load(tmp_path, {"api_key_env": "abcdef0123456789"})
    (found,) = environment_mistakes(job, {})
    assert "abcdef" not in repr(found)


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        ({"url": "https://cloud.dataoorts.com/api/v1"}, None),
        ({"url": "https://CLOUD.dataoorts.com:443/api/v1"}, None),
        ({"url": "http://127.0.0.1:8000/api/v1"}, None),
        ({"url": "http://127.9.9.9/api/v1"}, None),
        ({"url": "http://[::1]:8000/api/v1"}, None),
        ({"url": "http://localhost:8000/api/v1"}, None),
        ({"url": "https://api.example.com/v1", "api_key_env": "KEY"}, None),
        ({"kind": "openai", "url": "http://api.example.com/v1", "api_key_env": "null"}, None),
        ({"url": "http://api.example.com/v1", "api_key_env": "KEY", "allow_insecure_http": "true"}, None),
        ({"url": "simulator"}, None),
        ({"url": "https://api.example.com/v1"}, None),
        ({"url": "http://api.example.com/v1"}, "unencrypted"),
        ({"url": "http://localhost.example.com"}, "unencrypted"),
        ({"url": "http://127.1/v1"}, "unencrypted"),
        ({"url": "http://cloud.dataoorts.com/api/v1"}, "unencrypted"),
        ({"url": "http://api.example.com/v1", "api_key_env": "KEY"}, "unencrypted"),
        ({"url": "http://10.0.0.1/v1", "api_key_env": "DATAOORTS_API_KEY"}, "unencrypted"),
    ],
)
@pytest.mark.parametrize("kind", ["dataoorts", "openai"])
def test_a_key_goes_over_plain_http_to_this_machine_only(
    tmp_path: Path, endpoint: dict[str, str], fault: str | None, kind: str
) -> None:
    if fault is None:
        load(tmp_path, {"kind": kind, **endpoint})
    else:
        assert fault in only(tmp_path, {"kind": kind, **endpoint}).message


@pytest.mark.parametrize(
    ("endpoint", "environ", "note"),
    [
        (
            {"url": "https://api.example.com:8443/v1"},
            {"DATAOORTS_API_KEY": "k"},
            "the key in DATAOORTS_API_KEY goes to api.example.com",
        ),
        (
            {"url": "https://cloud.dataoorts.com.example.com"},
            {"DATAOORTS_API_KEY": "k"},
            "the key in DATAOORTS_API_KEY goes to cloud.dataoorts.com.example.com",
        ),
        ({"url": "https://api.example.com/v1", "api_key_env": "DATAOORTS_API_KEY"}, {"DATAOORTS_API_KEY": "k"}, None),
        (
            {"kind": "openai", "url": "https://api.example.com/v1"},
            {"DATAOORTS_API_KEY": "k"},
            "the key in DATAOORTS_API_KEY goes to api.example.com",
        ),
        ({"kind": "openai", "url": "http://localhost/v1"}, {"DATAOORTS_API_KEY": "k"}, None),
        ({"url": "simulator"}, {"DATAOORTS_API_KEY": "k"}, None),
        ({}, {"DATAOORTS_API_KEY": "k"}, None),
    ],
)
def test_a_key_that_goes_elsewhere_unsaid_is_worth_a_note(
    tmp_path: Path, endpoint: dict[str, str], environ: dict[str, str], note: str | None
) -> None:
    assert key_note(load(tmp_path, endpoint).config.endpoint, environ) == note


def test_no_other_servers_key_is_asked_for_under_the_name_of_the_default_providers(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"kind": "openai", "url": "https://api.example.com/v1"})
    (found,) = key_findings(loaded.config.endpoint, {})
    assert found.suggestion == "name the variable that holds this server's key, or null where it needs none"


def test_an_openai_server_has_to_be_named(tmp_path: Path) -> None:
    found = only(tmp_path, {"kind": "openai"})
    assert (found.key, found.line) == ("endpoint.url", 5)


def test_the_simulator_section_needs_the_simulator(tmp_path: Path) -> None:
    assert only(tmp_path, {}, more="simulator: {seed: 1}").key == "simulator"
    load(tmp_path, {"url": "simulator"}, more="simulator: {seed: 1}")


@pytest.mark.parametrize(
    ("endpoint", "environ", "key", "fault"),
    [
        ({}, {"DATAOORTS_API_KEY": "k"}, "k", None),
        ({}, {}, None, "the environment variable DATAOORTS_API_KEY is not set"),
        ({}, {"DATAOORTS_API_KEY": ""}, None, "the environment variable DATAOORTS_API_KEY is empty"),
        ({"api_key_env": "OTHER"}, {"OTHER": "o", "DATAOORTS_API_KEY": "k"}, "o", None),
        ({"url": "simulator"}, {"DATAOORTS_API_KEY": "k"}, None, None),
        ({"kind": "openai", "url": "https://x/v1", "api_key_env": "null"}, {"DATAOORTS_API_KEY": "k"}, None, None),
        ({"kind": "openai", "url": "http://localhost/v1"}, {}, None, None),
        ({"kind": "openai", "url": "http://localhost/v1"}, {"DATAOORTS_API_KEY": "k"}, "k", None),
        ({"url": "http://localhost/v1"}, {}, None, "the environment variable DATAOORTS_API_KEY is not set"),
        (
            {"kind": "openai", "url": "http://localhost/v1", "api_key_env": "K"},
            {},
            None,
            "the environment variable K is not set",
        ),
    ],
)
def test_the_key_comes_from_the_named_variable(
    tmp_path: Path, endpoint: dict[str, str], environ: dict[str, str], key: str | None, fault: str | None
) -> None:
    job = load(tmp_path, endpoint)
    assert api_key(job.config.endpoint, environ) == key
    assert [found.message for found in environment_mistakes(job, environ)] == ([fault] if fault else [])


@pytest.mark.parametrize(
    "key", ["hunter2\n", " hunter2", "hunter2\r\nX: y", "hunter2\x00", "hunter2 ключ", "hunter2\x7f"]
)
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    job = load(tmp_path, {"api_key_env": "KEY"})
    (found,) = environment_mistakes(job, {"KEY": key})
    assert (found.key, found.line) == ("endpoint.api_key_env", 7)
    assert "hunter2" not in repr(found)
