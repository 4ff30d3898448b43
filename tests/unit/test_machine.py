"""How many threads the limits on a process still allow, by what the system says of them."""

from __future__ import annotations

import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.app.jobs import machine
from pipeline.app.jobs.machine import free_threads
from pipeline.app.use_cases.doctor import default_job, run_checks
from pipeline.engines import Demand
from pipeline.engines.sender_config import free_files


def limited(groups: Path, path: str, most: str, current: int) -> None:
    group = groups / path
    group.mkdir(parents=True, exist_ok=True)
    (group / "pids.max").write_text(f"{most}\n")
    (group / "pids.current").write_text(f"{current}\n")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A /proc and a /sys/fs/cgroup without limits, where this user has 7 threads in two processes."""
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    processes, groups = tmp_path / "proc", tmp_path / "cgroup"
    for number, user, threads in ((1, 0, 50), (2, 1000, 3), (3, 1000, 4)):
        (processes / str(number)).mkdir(parents=True)
        (processes / str(number) / "status").write_text(f"Name:\tx\nUid:\t{user}\t{user}\t0\t0\nThreads:\t{threads}\n")
    (processes / "self").mkdir()
    return processes, groups


def test_without_a_limit_nothing_is_known(places: tuple[Path, Path]) -> None:
    assert free_threads(*places) is None


def test_the_users_limit_counts_the_users_threads_and_not_for_root(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (100, 100))
    assert free_threads(*places) == 93
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert free_threads(*places) is None


@pytest.mark.parametrize(("line", "group"), [("0::/a/b", "a"), ("4:pids:/a/b", "pids/a"), ("0::/a/b", "a/b")])
def test_the_least_room_in_any_control_group_above_counts(places: tuple[Path, Path], line: str, group: str) -> None:
    processes, groups = places
    (processes / "self/cgroup").write_text(f"9:memory:/elsewhere\n{line}\n")
    limited(groups, "elsewhere", "5", 5)
    limited(groups, "a/b", "max", 1)
    limited(groups, group, "64", 14)
    assert free_threads(*places) == 50


def test_doctor_says_how_many_there_are_for_a_transport_that_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_threads", lambda: 20)
    assert not [check for check in run_checks(default_job(), {"DATAOORTS_API_KEY": "k"}) if not check.is_ok]
    job = default_job()
    endpoint = job.config.endpoint.model_copy(update={"transport": "standard"})
    job = replace(job, config=job.config.model_copy(update={"endpoint": endpoint}))
    (found,) = [check for check in run_checks(job, {"DATAOORTS_API_KEY": "k"}) if not check.is_ok]
    assert found.name == "threads"
    assert "32 requests at a time need a thread each with endpoint.transport: standard" in found.message
    assert "the system allows about 20 more" in found.message
    assert "limits.concurrency to 12" in (found.remedy or "")


@pytest.mark.parametrize(
    ("processes", "url", "needed", "most"),
    [
        (1, "https://example.com/v1", 96, 32),
        (1, "simulator", 160, 16),
        (3, "https://example.com/v1", 64, None),
        (3, "simulator", 96, 32),
    ],
)
def test_the_embedded_endpoint_holds_an_end_of_every_connection(
    monkeypatch: pytest.MonkeyPatch, processes: int, url: str, needed: int, most: int | None
) -> None:
    job = default_job()
    limits = job.config.limits.model_copy(update={"concurrency": 64, "processes": processes})
    endpoint = job.config.endpoint.model_copy(update={"url": url})
    job = replace(job, config=job.config.model_copy(update={"limits": limits, "endpoint": endpoint}))
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (64, 64))
    lack = machine.too_few_files(Demand.of(job.config, 1000))
    if most is None:
        assert lack is None
        return
    assert lack is not None
    assert f"need about {needed} open files" in lack.message
    assert f"limits.concurrency to {most} at most" in lack.remedy


def test_a_process_has_no_more_slots_than_it_may_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    used = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (used + 30, 4096))
    assert 1 <= free_files() <= 30
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (8, 8))
    assert free_files() == 1
