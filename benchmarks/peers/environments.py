"""Virtual environments of other software, each with what its requirements file pins."""

from __future__ import annotations

import compileall
import subprocess
import sys
from pathlib import Path

from benchmarks import BUILD
from benchmarks.bench import say


def python_of(name: str) -> Path:
    """Return the interpreter of a peer's environment, as `environment` does."""
    return environment(Path(__file__).with_name(f"{name}.txt"), BUILD / "peers" / name)


def environment(requirements: Path, directory: Path, *flags: str) -> Path:
    """Return the interpreter of an environment, which is made if it is missing or its pins have changed; the flags are
    those of pip's installation.

    Raises subprocess.CalledProcessError where it cannot be made.
    """
    python, installed = directory / "bin" / "python", directory / "installed.txt"
    pins = requirements.read_text(encoding="utf-8")
    if not installed.exists() or installed.read_text(encoding="utf-8") != pins:
        say(f"{directory.name}: making its environment")
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        install: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-compile",
        ]
        subprocess.run([*install, *flags, "-r", requirements], check=True)
        # Or each start would compile everything anew where the shell keeps Python from writing bytecode.
        compileall.compile_dir(directory / "lib", quiet=2, workers=0)
        installed.write_text(pins, encoding="utf-8")
    return python
