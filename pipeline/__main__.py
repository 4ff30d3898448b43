"""The `pipeline` command, and `python -m pipeline`. A signal ends it well from here on, while the rest is imported."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_STOPPED = b'{"error": {"kind": "interrupted", "message": "stopped by a signal"}}\n'


def main() -> None:
    """Run the command line, and exit with one of the documented codes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
    from pipeline.cli import main as command

    command()


def _stop(number: int, frame: FrameType | None) -> None:
    """End the process at once: nothing was begun, and an exception would be an import's fault."""
    try:
        if "--json" in sys.argv:
            os.write(1, _STOPPED)
    finally:
        os._exit(128 + number)


if __name__ == "__main__":
    main()
