"""The manifests for Kubernetes against its published schemas: `make schedulers`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "kubernetes"
VALIDATE = Path(sys.executable).with_name("kubernetes-validate")


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([VALIDATE, "--strict", path], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_kubernetes_knows_every_key_of_the_manifest(path: Path, tmp_path: Path) -> None:
    done = validate(path)
    assert done.returncode == 0, done.stderr
    misspelled = tmp_path / path.name
    misspelled.write_text(
        path.read_text(encoding="utf-8").replace("restartPolicy:", "restartsPolicy:"), encoding="utf-8"
    )
    assert validate(misspelled).returncode != 0
