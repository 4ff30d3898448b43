"""The servers of this suite, each in an environment of its own, with what its requirements file pins."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

from benchmarks.peers.environments import environment

BUILD = Path(__file__).with_name(".build")
REQUIREMENTS = Path(__file__).with_name("requirements")
KEY = "sk-of-the-proxy-0123456789"
_READY_SECONDS = 900
_QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PYTHONDONTWRITEBYTECODE": "",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@dataclass(frozen=True)
class Kind:
    """A server: the package whose version is told, the model's name there, and the words that start it."""

    package: str
    words: Callable[[Path, Path, int], Sequence[str | Path]]
    """From the environment's programs, the model's directory and a port."""
    model: str = "tiny"
    behind: str | None = None
    """The server that it stands in front of."""


def installed(name: str) -> Path:
    """Return where the programs of a server are, which is installed if need be.

    Raises subprocess.CalledProcessError where it cannot be installed.
    """
    return environment(REQUIREMENTS / f"{name}.txt", BUILD / name, "--no-deps").parent


def tiny_model(questions: Sequence[str], name: str = "model") -> Path:
    """Make a tiny model with random weights, and a tokenizer trained on the questions; return its directory."""
    directory = BUILD / name
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "prompts.txt").write_text("\n".join(questions), encoding="utf-8")
    script = Path(__file__).with_name("tiny_model.py")
    words = [installed("transformers") / "python", script, directory / "prompts.txt", directory]
    subprocess.run(words, check=True, capture_output=True)
    return directory


def _transformers(programs: Path, model: Path, port: int) -> Sequence[str | Path]:
    return [programs / "transformers", "serve", model, "--port", str(port), "--device", "cpu"]


def _llama(programs: Path, model: Path, port: int) -> Sequence[str | Path]:
    words: list[str | Path] = [
        "--model",
        model / "tiny.gguf",
        "--model_alias",
        "tiny",
        "--n_ctx",
        "512",
        "--n_threads",
        "1",
    ]
    return [programs / "python", "-m", "llama_cpp.server", "--port", str(port), *words]


def _litellm(programs: Path, model: Path, port: int) -> Sequence[str | Path]:
    return [programs / "litellm", "--config", model / "litellm.yaml", "--port", str(port), "--telemetry", "False"]


def _vllm(programs: Path, model: Path, port: int) -> Sequence[str | Path]:
    words = ["--served-model-name", "tiny", "--max-model-len", "512", "--dtype", "float32", "--enforce-eager"]
    # The command `vllm` of this package asks for the version of a package named `vllm`, and ends.
    return [
        programs / "python",
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        model,
        "--port",
        str(port),
        *words,
    ]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


KINDS: Mapping[str, Kind] = {
    "transformers": Kind("transformers", _transformers, model=""),
    "llama-cpp-python": Kind("llama_cpp_python", _llama),
    "litellm": Kind("litellm", _litellm, behind="llama-cpp-python"),
    "vllm": Kind("vllm-cpu", _vllm),
}


@dataclass
class Server:
    """A server on loopback, which can be killed and started again at the same address."""

    name: str
    model: Path
    port: int = field(default_factory=_free_port)
    _process: subprocess.Popen[bytes] | None = None
    _behind: Server | None = None

    @property
    def kind(self) -> Kind:
        """What it is."""
        return KINDS[self.name]

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def model_name(self) -> str:
        """What requests call the model."""
        return self.kind.model or str(self.model)

    @property
    def version(self) -> str:
        """The version of its package."""
        pins = (REQUIREMENTS / f"{self.name}.txt").read_text(encoding="utf-8").splitlines()
        return next(pin.partition("==")[2] for pin in pins if pin.startswith(f"{self.kind.package}=="))

    def start(self) -> None:
        """Start it, with the server that it stands in front of, and wait until it answers."""
        if self.kind.behind is not None:
            self._behind = self._behind or Server(self.kind.behind, self.model)
            self._behind.start()
            parameters = {"model": "openai/tiny", "api_base": self._behind.url, "api_key": "none"}
            models = [{"model_name": "tiny", "litellm_params": parameters}]
            (self.model / "litellm.yaml").write_text(str({"model_list": models}))
        words = [*self.kind.words(installed(self.name), self.model, self.port), "--host", "127.0.0.1"]
        with (BUILD / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                words,
                env={**os.environ, **_QUIET, "LITELLM_MASTER_KEY": KEY},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        give_up = time.monotonic() + _READY_SECONDS
        while not self._is_ready():
            assert self._process.poll() is None, f"{self.name} has ended: see {log.name}"
            assert time.monotonic() < give_up, f"{self.name} does not answer: see {log.name}"
            time.sleep(0.2)

    def kill(self) -> None:
        """End all of its processes by SIGKILL, and the server behind it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._behind is not None:
            self._behind.kill()

    def _is_ready(self) -> bool:
        headers = {"Authorization": f"Bearer {KEY}"}
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/models", headers=headers, timeout=5).status_code == 200
        return False
