"""DataTrove's inference runner against an endpoint that runs already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task, messages

_ROWS_A_FILE = 1000  # its writer keeps the last thousand rows of a file alone


async def ask(document: Any, generate: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """One prompt."""
    reply = await generate({"messages": messages(document.text), "max_tokens": MAX_TOKENS, "temperature": TEMPERATURE})
    return {"id": int(document.id), "response": reply.text}


def main(task: Task) -> None:
    """Run the whole job; the rows that it leaves are brought into the common shape at the end."""
    written = task.directory / "written"
    config = InferenceConfig(
        server_type="endpoint",
        model_name_or_path=task.model,
        endpoint_url=task.base.removesuffix("/v1"),
        api_key=KEY,
        max_concurrent_generations=task.concurrency,
    )
    writer = ParquetWriter(str(written), output_filename="${rank}_${chunk_index}.parquet")
    runner = InferenceRunner(
        rollout_fn=ask,
        config=config,
        output_writer=writer,
        checkpoints_local_dir=str(task.directory / "checkpoints"),
        records_per_chunk=_ROWS_A_FILE,
    )
    reader = ParquetReader(str(task.prompts.parent), glob_pattern=task.prompts.name, text_key="prompt", id_key="id")
    LocalPipelineExecutor(pipeline=[reader, runner], tasks=1, logging_dir=str(task.directory / "logs")).run()

    import pyarrow.dataset as ds

    documents = ds.dataset(written).to_table(columns=["metadata"])["metadata"].to_pylist()
    found = [document["rollout_results"][0] for document in documents]
    task.write([result["id"] for result in found], [result["response"] for result in found])


if __name__ == "__main__":
    main(Task.of_command_line())
