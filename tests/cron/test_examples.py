"""The examples, as far as they can be tried without the machines that they are for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COMMAND = Path(sys.executable).with_name("pipeline")


def call(tool: str, *words: str | Path) -> str:
    if shutil.which(tool) is None:
        pytest.fail(f"{tool} is not here")
    done = subprocess.run([tool, *map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_systemd_accepts_the_service_and_the_timer(tmp_path: Path) -> None:
    for kind in ("service", "timer"):
        text = (EXAMPLES / "systemd" / f"pipeline@.{kind}").read_text(encoding="utf-8")
        text = text.replace("/srv/batch/.venv/bin/pipeline", str(COMMAND))
        (tmp_path / f"pipeline@answers.{kind}").write_text(text, encoding="utf-8")
    call("systemd-analyze", "verify", *sorted(tmp_path.iterdir()))


def test_kubernetes_knows_every_key_of_the_cron_job() -> None:
    path = EXAMPLES / "kubernetes" / "cronjob.yaml"
    # The one way through kubectl's own types that asks no server: what they do not know is missing afterwards.
    read = json.loads(call("kubectl", "set", "image", "--local", "-f", path, "pipeline=tried", "-o", "json"))
    written = YAML(typ="safe", pure=True).load(path)
    written["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"] = "tried"
    assert missing(written, read) == []


def missing(written: Any, read: Any, place: str = "") -> list[str]:
    """The places of what is written and was not read the same."""
    if isinstance(written, dict) and isinstance(read, dict):
        return [one for key, value in written.items() for one in missing(value, read.get(key), f"{place}.{key}")]
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        pairs = zip(written, read, strict=True)
        return [one for number, (a, b) in enumerate(pairs) for one in missing(a, b, f"{place}[{number}]")]
    return [] if written == read else [place]
