"""The wheel, installed into an empty environment away from the clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    _call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, REPOSITORY, cwd=directory)
    (found,) = directory.glob("*.whl")
    return found


def test_everything_the_program_reads_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    needed = {
        "py.typed",
        "catalogue/models.json",
        "cli/starter/job.yaml",
        "cli/starter/prompts.csv",
        "cli/starter/real.yaml",
    }
    assert {f"pipeline/{name}" for name in needed} <= names
    assert all(name.startswith(("pipeline/", "llm_batch_pipeline-")) for name in names)


def test_an_installed_wheel_runs_the_starter_job(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    _call(sys.executable, "-m", "venv", environment, cwd=tmp_path)
    pip = (environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _call(*pip, "--require-hashes", "-r", REPOSITORY / "requirements" / "core.txt", cwd=tmp_path)
    _call(*pip, "--no-deps", wheel, cwd=tmp_path)
    command = environment / "bin" / "pipeline"
    where = _call(environment / "bin" / "python", "-c", "import pipeline; print(pipeline.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(environment)
    _call(command, "init", "x", cwd=tmp_path)
    _call(command, "run", "job.yaml", cwd=tmp_path / "x")
    answers = pq.read_table(tmp_path / "x" / "answers.parquet")
    assert answers.num_rows > 0 and set(answers["status"].to_pylist()) == {"succeeded"}


def _call(*words: str | Path, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=clean, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, f"{words[0]}: {done.stdout}\n{done.stderr}"
    return done.stdout
