"""The Python interface in a real Jupyter kernel, which runs an event loop in its main thread."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

SETUP = """
import pandas as pd
import pipeline

frame = pd.DataFrame({"n": range(40), "q": [f"question {n}" for n in range(40)]})
job = pipeline.Job(
    {
        "name": "asked",
        "prompt": {"user": "{{ q }}"},
        "endpoint": {"url": "simulator", "model": "meta/llama-4-scout-17b-16e-instruct"},
        "parameters": {"max_tokens": 20},
        "simulator": {"latency_seconds": 0.5},
        "limits": {"concurrency": 2},
    },
    input=frame,
)
"""


def test_cells_run_a_job_and_show_its_answers(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(SETUP),
            nbformat.v4.new_code_cell("result = job.run(limit=4); result.summary.succeeded"),
            nbformat.v4.new_code_cell("result.frame()[['n', 'response', 'cost_usd']]"),
            nbformat.v4.new_code_cell("job.run(limit=2); len(job.results().table())"),
        ]
    )
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [cell.outputs[-1]["data"]["text/plain"] for cell in notebook.cells[1:]]
    assert (shown[0], shown[2]) == ("4", "6")
    assert "cost_usd" in shown[1] and "text/html" in notebook.cells[2].outputs[-1]["data"]
    assert [output.output_type for cell in notebook.cells for output in cell.outputs] == ["execute_result"] * 3


def test_interrupting_the_kernel_drains_the_run_and_keeps_its_answers(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(SETUP),
            nbformat.v4.new_code_cell(
                "try:\n    job.run()\nexcept KeyboardInterrupt:\n    print('interrupted', job.plan().done)"
            ),
            nbformat.v4.new_code_cell("job.run().summary.requests"),
        ]
    )
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})

    def interrupt() -> None:
        while not (tmp_path / ".checkpoints/asked/progress.json").exists():
            time.sleep(0.05)
        time.sleep(1)
        asyncio.run(client.km.interrupt_kernel())

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    client.execute()
    word, done = notebook.cells[1].outputs[0]["text"].split()
    assert word == "interrupted" and 0 < int(done) < 40
    assert int(notebook.cells[2].outputs[0]["data"]["text/plain"]) == 40 - int(done)
