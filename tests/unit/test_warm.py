"""A process of the command that was forked: it ends as one that was started does."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.processes import Warm


def test_threads_finish_their_work_and_an_idle_executor_holds_nothing_up(warm: Warm, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import threading, time\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "executor = ThreadPoolExecutor(1)\nexecutor.submit(int).result()\n"
        "def work():\n    time.sleep(0.2)\n    print('done')\n"
        "threading.Thread(target=work).start()\n"
    )
    script = ("tests.support.warm:run_script", [str(program)])
    ended = warm.run(directory=tmp_path, environment=os.environ, before=[script], seconds=20)
    assert (ended.code, ended.out) == (0, "done\n")
