"""A Slurm cluster of one node on loopback, in a directory of its own; nothing of the machine's own Slurm is touched."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_NODE = "node1"
_CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=30
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={daemon} CPUs=8 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster; its commands need `environment`."""

    environment: Mapping[str, str]

    def call(self, *words: str | Path, cwd: Path | None = None) -> str:
        """Run one of Slurm's commands and return its output. Raises CalledProcessError if it fails."""
        return subprocess.run(
            [*map(str, words)], env=self.environment, cwd=cwd, check=True, capture_output=True, text=True, timeout=60
        ).stdout.strip()

    def warn(self, task: str) -> None:
        """Send a task's script the USR1 that `--signal=B:USR1` sends it near its time limit.

        scancel 22.05 delivers it, may then be told to try again, and would go on until the job has ended.
        """
        with suppress(subprocess.TimeoutExpired):
            command = ["scancel", "--signal=USR1", "--batch", task]
            subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=3)

    def states(self, job: str) -> dict[int, str]:
        """Return the state of each task of an array job that is waiting or running, by its number."""
        lines = self.call("squeue", "--noheader", "--array", "--format=%K %T", "--jobs", job).splitlines()
        return {int(task): state for task, state in (line.split() for line in lines)}


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """Start munge, a controller and a node, and end them afterwards. Raises TimeoutError if the node never is idle."""
    configuration = directory / "slurm.conf"
    for name in ("state", "spool"):
        (directory / name).mkdir()
    controller, daemon = _free_ports(2)
    configuration.write_text(
        _CONFIGURATION.format(
            node=_NODE, host=socket.gethostname(), directory=directory, controller=controller, daemon=daemon
        ),
        encoding="utf-8",
    )
    key = directory / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    munge = [
        "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={directory}/munge.socket",
        f"--pid-file={directory}/munge.pid", f"--log-file={directory}/munge.log", f"--seed-file={directory}/munge.seed",
    ]  # fmt: skip
    commands = [munge, ["slurmctld", "-D", "-c"], ["slurmd", "-D", "-c", "-N", _NODE]]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            started.append(_start(command, environment, directory))
        found = Cluster(environment)
        _wait_for_node(found)
        yield found
    finally:
        for process in reversed(started):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            if process.poll() is None:
                process.kill()
                process.wait()


def _start(command: list[str], environment: Mapping[str, str], directory: Path) -> subprocess.Popen[bytes]:
    with open(directory / f"{command[0]}.out", "wb") as output:
        executable = shutil.which(command[0], path=f"{environment['PATH']}:/usr/sbin")
        assert executable is not None, f"{command[0]} is not here; Debian has it in slurm-wlm and munge"
        return subprocess.Popen([executable, *command[1:]], env=environment, stdout=output, stderr=output)


def _wait_for_node(found: Cluster) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(subprocess.CalledProcessError):
            if found.call("sinfo", "--noheader", "--format=%T") == "idle":
                return
        time.sleep(0.5)
    raise TimeoutError("Slurm's node did not become idle; see its logs")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
