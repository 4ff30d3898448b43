"""`pipeline doctor`: what runs rest on, and one smallest request where it is asked for."""

from __future__ import annotations

import importlib.metadata
from collections import namedtuple
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from pipeline.app.use_cases import doctor
from pipeline.app.use_cases.doctor import Check, default_job, run_checks
from tests.functional.conftest import KEY, KEY_VARIABLE, Endpoint, Reply, Workspace, answer, refusal

SOUND = {"DATAOORTS_API_KEY": KEY}


def checks(ws: Workspace, *flags: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """What the command finds, by name; of several the one that is to be fixed, else the last."""
    found = ws.pipeline("doctor", "job.yaml", "--json", *flags)
    assert found.code == code, (found.code, found.out, found.err)
    assert found.data["ok"] is (code == 0)
    assert KEY not in found.out + found.err
    return {one["name"]: one for one in sorted(found.data["checks"], key=lambda one: -one["ok"])}


def wrong(environ: dict[str, str] | None = None) -> list[Check]:
    return [check for check in run_checks(default_job(), SOUND if environ is None else environ) if not check.is_ok]


def test_all_is_well_and_nothing_is_sent_or_left_behind(ws: Workspace, endpoint: Endpoint) -> None:
    ws.job()
    before = ws.files()
    found = checks(ws)
    assert set(found) == {"python", "packages", "disk", "memory", "files", "threads", "sqlite", "clock", "proxy", "key"}
    assert found["key"]["message"] == f"{KEY_VARIABLE} is set"
    assert "pyarrow" in found["packages"]["message"]
    assert ws.files() == before
    assert not endpoint.asked


def test_without_a_job_the_usual_endpoint_and_places_are_looked_at(ws: Workspace) -> None:
    found = ws.pipeline("doctor")
    assert found.code == 2
    assert "DATAOORTS_API_KEY is not set" in found.out
    assert "cloud.dataoorts.com" in found.out
    assert len([line for line in found.out.splitlines() if line.startswith("FIX")]) == 1
    assert ws.pipeline("doctor", "--set", "limits.concurrency=1").code == 2


def test_online_asks_for_one_token_once_and_says_what_that_costs(ws: Workspace, endpoint: Endpoint) -> None:
    endpoint.reply = lambda asked: answer("Hi", usage={"prompt_tokens": 10, "completion_tokens": 1})
    ws.job()
    found = ws.pipeline("doctor", "job.yaml", "--online")
    assert found.code == 0, found.out
    assert "at most $0.0000" in found.err
    assert "for $0.00000354" in found.out
    (asked,) = endpoint.asked
    assert asked.body["data"]["max_tokens"] == 1
    assert not ws.exists(".checkpoints")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal(401, 10000, f"not {KEY}"), "bad_credentials"),
        (refusal(429, 3021, Retry_After="9"), "rate_limited"),
        (None, "connection_error"),
    ],
    ids=["401", "429", "closed"],
)
def test_an_endpoint_that_gives_no_answer_is_exit_5(
    ws: Workspace, endpoint: Endpoint, reply: Reply | None, kind: str
) -> None:
    endpoint.reply = lambda asked: reply
    ws.job()
    assert checks(ws, "--online", code=5)["endpoint"]["message"].startswith(kind)
    assert len(endpoint.asked) == 1


def test_the_embedded_endpoint_is_asked_as_well(ws: Workspace) -> None:
    ws.job(endpoint={"url": "simulator"})
    assert checks(ws, "--online")["endpoint"]["ok"]


def test_a_clock_that_differs_from_the_endpoints_is_found(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = "Wed, 01 Jan 2020 00:00:00 GMT"
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda handler, timestamp=None: stamp)
    ws.job()
    assert "from the endpoint's" in checks(ws, "--online", code=2)["clock"]["message"]


def test_nothing_is_sent_without_a_key(ws: Workspace, endpoint: Endpoint) -> None:
    del ws.environment[KEY_VARIABLE]
    ws.job()
    found = checks(ws, "--online", code=2)
    assert KEY_VARIABLE in found["key"]["remedy"]
    assert not endpoint.asked


@pytest.mark.parametrize(("key", "words"), [("", "empty"), (" k ", "whitespace"), ("k\nk", "characters")])
def test_a_key_that_cannot_be_sent_is_found_and_not_shown(key: str, words: str) -> None:
    (found,) = wrong({"DATAOORTS_API_KEY": key})
    assert found.name == "key"
    assert words in found.message


def test_a_disk_that_cannot_be_written_or_is_full_is_exit_6(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ws.path)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    found = wrong()
    assert {one.exit_code for one in found} == {6}
    assert "1 MB free" in found[0].message
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(doctor, "nearest_existing", lambda path: Path("/proc"))
    found = wrong()
    assert {one.name for one in found} == {"disk", "sqlite"}
    assert {one.exit_code for one in found} == {6}


def test_a_clock_before_the_programs_own_prices_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    class Past(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Past:
            return cls(2001, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(doctor, "datetime", Past)
    assert [one.name for one in wrong()] == ["clock"]


def test_a_package_that_is_missing_or_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "tqdm":
            raise importlib.metadata.PackageNotFoundError
        return "2.0.9" if name == "pydantic" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    (found,) = wrong()
    assert "pydantic 2.0.9 is older than" in found.message
    assert "tqdm is missing" in found.message


def test_the_proxy_is_shown_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:3128")
    found = next(check for check in run_checks(default_job(), SOUND) if check.name == "proxy")
    assert found.message == "127.0.0.1:3128, to cloud.dataoorts.com"
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:secret@127.0.0.1:3128")
    (wrong_one,) = wrong()
    assert wrong_one.name == "proxy"
    assert "secret" not in wrong_one.message
    job = default_job()
    endpoint = job.config.endpoint.model_copy(update={"transport": "standard"})
    job = replace(job, config=job.config.model_copy(update={"endpoint": endpoint}))
    found = next(check for check in run_checks(job, SOUND) if check.name == "proxy")
    assert (found.is_ok, found.message) == (True, "127.0.0.1:3128, to cloud.dataoorts.com")


def test_a_job_with_mistakes_is_refused(ws: Workspace) -> None:
    ws.job(limits={"concurrency": 0})
    assert ws.pipeline("doctor", "job.yaml").code == 2
