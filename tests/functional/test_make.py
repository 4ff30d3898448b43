"""`make data/out/NAME.parquet` and `make all`: what is made again when, and what is left alone. A script stands for the
command, so that only make's own part is tried here; `make acceptance` kills real runs below make.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.functional.conftest import wait_until
from tests.support.forwarding import Forwarding

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = """#!/bin/sh
# run JOB: what it is told by files beside it; a line in `calls` for each start.
name=$(basename "$2" .yaml)
echo "$name" >>calls
mkdir -p data/out
trap 'echo "$name" >>stopped; exit 143' TERM
trap 'echo "$name" >>stopped; exit 130' INT
if [ -e "publishes-$name" ]; then echo new >"data/out/$name.parquet"; fi
if [ -e "holds-$name" ]; then touch "started-$name"; while [ -e "holds-$name" ]; do sleep 0.02; done; fi
if [ -e "fails-$name" ]; then exit "$(cat "fails-$name")"; fi
if [ -e "elsewhere-$name" ]; then exit 0; fi
[ -e "data/out/$name.parquet" ] || echo new >"data/out/$name.parquet"
"""
JOB = """name: {name}
input: {{path: {path}}}
prompt: {{user: x}}
endpoint: {{url: simulator, model: meta/llama-3.1-8b-instruct}}
output: {{path: data/out/{name}.parquet}}
"""


class Project:
    """A directory with configs, data and the repository's Makefile."""

    def __init__(self, path: Path, python: Path) -> None:
        self.path = path
        for name in ("configs", "data", "bin"):
            (path / name).mkdir()
        shutil.copy(REPOSITORY / "Makefile", path)
        (path / ".ci").symlink_to(REPOSITORY / ".ci")
        self.script("pipeline", COMMAND)
        (path / "bin" / "python").symlink_to(python)
        self.words = ["make", "bin=bin", "installed="]

    def script(self, name: str, text: str) -> None:
        (self.path / "bin" / name).write_text(text)
        (self.path / "bin" / name).chmod(0o755)

    def job(self, name: str, path: str | None = None) -> None:
        (self.path / "configs" / f"{name}.yaml").write_text(JOB.format(name=name, path=path or f"data/{name}.csv"))
        if path is None:
            self.file(f"data/{name}.csv", age=100)
        os.utime(self.path / "configs" / f"{name}.yaml", (time.time() - 100,) * 2)

    def file(self, name: str, text: str = "q\n", age: float = 0.0) -> None:
        (self.path / name).write_text(text)
        if age:  # else the time that the kernel gives, as it does to what make touches
            os.utime(self.path / name, (time.time() - age,) * 2)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.words, *words],
            cwd=self.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def make(self, *words: str) -> int:
        """The exit code."""
        done = subprocess.run([*self.words, *words], cwd=self.path, capture_output=True, timeout=60, check=False)
        return done.returncode

    def calls(self, *words: str, code: int = 0) -> list[str]:
        """The jobs that were started by one make."""
        (self.path / "calls").unlink(missing_ok=True)
        assert self.make(*words) == code
        return sorted(self.lines("calls"))

    def lines(self, name: str) -> list[str]:
        return (self.path / name).read_text().split() if (self.path / name).exists() else []


@pytest.fixture
def project(tmp_path: Path, forwarding: Forwarding) -> Project:
    return Project(tmp_path, forwarding.python)


@pytest.mark.parametrize("target", ["data/out/a/", "data/out/a", "data/out/a.manifest.json", "all"])
def test_a_job_whose_output_is_a_directory_is_made_by_its_manifest(project: Project, target: str) -> None:
    project.job("a")
    job = project.path / "configs" / "a.yaml"
    job.write_text(job.read_text().replace("data/out/a.parquet", "data/out/a/"))
    project.script("pipeline", COMMAND.replace("$name.parquet", "$name.manifest.json"))
    assert project.calls(target) == ["a"]
    (project.path / "data" / "out" / "a").mkdir()
    assert project.calls(target) == []
    project.file("data/a.csv", "q\nnew\n")
    assert project.calls(target) == ["a"]
    assert project.calls(target) == []


def test_an_output_is_made_again_only_when_its_job_file_or_its_input_has_changed(project: Project) -> None:
    project.job("a")
    target = "data/out/a.parquet"
    assert project.calls(target) == ["a"]
    assert project.calls(target) == []
    project.file("data/other.csv")
    assert project.calls(target) == []
    project.file("data/a.csv", "q\nnew\n")
    assert project.calls(target) == ["a"]
    assert project.calls(target) == []
    os.utime(project.path / "configs/a.yaml")
    assert project.calls(target) == ["a"]
    assert project.calls(target) == []


def test_an_input_that_the_job_file_names_anew_is_watched(project: Project) -> None:
    project.job("a")
    project.calls("data/out/a.parquet")
    project.file("data/b.csv", age=50)
    project.file("configs/a.yaml", JOB.format(name="a", path="data/b.csv"))
    assert project.calls("data/out/a.parquet") == ["a"]
    project.file("data/a.csv")
    assert project.calls("data/out/a.parquet") == []
    project.file("data/b.csv")
    assert project.calls("data/out/a.parquet") == ["a"]


@pytest.mark.parametrize("path", ["data/parts", "data/parts/*.csv", "[data/parts/1.csv, 'data/parts/?.csv']"])
def test_files_that_are_changed_added_or_taken_away_make_the_output_out_of_date(project: Project, path: str) -> None:
    (project.path / "data/parts").mkdir()
    project.file("data/parts/1.csv", age=100)
    os.utime(project.path / "data/parts", (time.time() - 100,) * 2)
    project.job("a", path)
    target = "data/out/a.parquet"
    assert project.calls(target) == ["a"]
    assert project.calls(target) == []
    project.file("data/parts/1.csv")
    assert project.calls(target) == ["a"]
    project.file("data/parts/2.csv", age=100)
    assert project.calls(target) == ["a"]
    (project.path / "data/parts/2.csv").unlink()
    assert project.calls(target) == ["a"]
    assert project.calls(target) == []


@pytest.mark.parametrize(
    "path", ["data/**/*.csv", "'data/a b.csv'", "'data/*/a.csv'", "${WHERE:-data/a.csv}", "'$a'", "5"]
)
def test_where_make_cannot_see_a_change_the_job_is_run_each_time(project: Project, path: str) -> None:
    project.job("a", path)
    assert project.calls("data/out/a.parquet") == ["a"]
    assert project.calls("data/out/a.parquet") == ["a"]


@pytest.mark.parametrize(
    "path",
    [
        "data/day=1/a.csv",
        "data/day=1",
        "SHELL=data/x.sh",
        "data/SHELL=data/x.sh",
        "clean",
        "./clean",
        "data/../clean",
    ],
)
def test_no_path_in_a_job_file_is_an_assignment_or_a_target_to_make(project: Project, path: str) -> None:
    (project.path / "data/day=1").mkdir()
    project.file("data/day=1/a.csv", age=100)
    project.file("clean", age=100)
    project.file("data/x.sh", '#!/bin/sh\ntouch mark\nexec /bin/sh "$@"\n')
    (project.path / "data/x.sh").chmod(0o755)
    (project.path / ".venv").mkdir()
    project.job("a", path)
    for _ in range(2):
        assert project.calls("data/out/a.parquet") == ["a"]
    assert not (project.path / "mark").exists()
    assert (project.path / ".venv").exists()


def test_no_name_of_a_file_is_a_command_to_make(project: Project) -> None:
    (project.path / "data/in").mkdir()
    project.file("data/in/a;touch mark;.csv")
    project.job("a", "data/in")
    project.job("b'; touch mark; '", "data/x.csv")
    assert project.make("data/out/a.parquet") == 2
    assert project.make("all") == 2
    assert not (project.path / "mark").exists()


def test_the_output_of_one_job_may_be_the_input_of_another(project: Project) -> None:
    project.job("a")
    project.job("b", "data/out/a.parquet")
    assert project.calls("all") == ["a", "b"]
    assert project.calls("all") == []
    project.file("data/a.csv")
    assert project.calls("all") == ["a", "b"]


@pytest.mark.parametrize("code", [2, 3])
def test_a_job_that_fails_leaves_the_others_running_and_is_run_again_also_where_it_has_an_output(
    project: Project, code: int
) -> None:
    for name in "abc":
        project.job(name)
    project.file("fails-a", str(code))
    project.file("publishes-a")
    assert project.calls("all", code=2) == ["a", "b", "c"]
    assert project.calls("all", "-j4", code=2) == ["a"]
    (project.path / "fails-a").unlink()
    assert project.calls("all") == ["a"]
    assert project.calls("all") == []


def test_all_is_what_is_in_configs_under_the_name_of_its_output_unless_jobs_says_otherwise(project: Project) -> None:
    project.job("a")
    project.job("b")
    (project.path / "configs/c.yaml").write_text(JOB.format(name="another", path="data/a.csv"))
    (project.path / "configs/notes.txt").write_text("data/out/notes.parquet")
    assert project.calls("all", "JOBS=b") == ["b"]
    assert project.calls("all") == ["a"]
    (project.path / "configs").rename(project.path / "elsewhere")
    assert project.calls("all") == []


def test_a_job_that_writes_its_output_elsewhere_fails(project: Project) -> None:
    project.job("a")
    project.file("elsewhere-a")
    assert project.make("data/out/a.parquet") == 2


def test_what_changes_while_a_job_runs_counts_as_newer(project: Project) -> None:
    project.job("a")
    project.file("holds-a")
    with project.start("data/out/a.parquet") as run:
        wait_until((project.path / "started-a").exists)
        project.file("data/a.csv", "q\nnew\n")
        (project.path / "holds-a").unlink()
        assert run.wait(20) == 0
    assert project.calls("data/out/a.parquet") == ["a"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_every_run_and_no_output_is_deleted(project: Project, number: signal.Signals) -> None:
    for name in "ab":
        project.job(name)
        project.file(f"holds-{name}")
        project.file(f"publishes-{name}")
    with project.start("all", "-j2") as run:
        wait_until(lambda: all((project.path / f"started-{name}").exists() for name in "ab"))
        if number is signal.SIGTERM:
            run.send_signal(number)
        else:  # as a terminal does, or a machine that goes down
            os.killpg(run.pid, number)
        assert run.wait(20) != 0
    assert sorted(project.lines("stopped")) == ([] if number is signal.SIGKILL else ["a", "b"])
    assert sorted(path.name for path in (project.path / "data/out").iterdir()) == ["a.parquet", "b.parquet"]
    for name in "ab":
        (project.path / f"holds-{name}").unlink()
    assert project.calls("all") == ["a", "b"]
