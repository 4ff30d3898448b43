"""A namespace of its own, where file systems can be mounted that nobody else sees; Linux."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def namespace(script: str, directory: Path) -> Iterator[int]:
    """Run a shell script in new user and mount namespaces, and yield the id of a process that stays in them. Skips the
    test where the system allows no namespaces.
    """
    words = ["unshare", "-Urm", "sh", "-c", f"{script} && echo && exec sleep 600"]
    held = subprocess.Popen(words, cwd=directory, stdout=subprocess.PIPE)
    try:
        assert held.stdout is not None
        if not held.stdout.readline():
            pytest.skip("no user namespaces here (unshare -Urm)")
        yield held.pid
    finally:
        held.kill()
        held.communicate()


def enter(process: int, directory: str) -> None:
    """Enter the namespaces of a process, and a directory there: one that was entered before would still be the one
    below what is mounted on it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptors = [os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY) for name in ("user", "mnt")]
    for descriptor in descriptors:
        if libc.setns(descriptor, 0):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(descriptor)
    os.chdir(directory)
