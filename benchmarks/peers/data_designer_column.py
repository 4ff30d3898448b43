"""NeMo Data Designer with one structured column over a seed data set; a run continues what an earlier one has left."""

from __future__ import annotations

import json
import os
from typing import Any

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task

_KEY_VARIABLE = "PEER_KEY"


def main(task: Task) -> None:
    """Run the whole job."""
    os.environ[_KEY_VARIABLE] = KEY
    os.environ["DATA_DESIGNER_HOME"] = str(task.directory / "home")
    import data_designer.config as dd
    from data_designer.interface import DataDesigner, ResumeMode
    from pydantic import BaseModel

    class Answer(BaseModel):
        """What an answer has to be."""

        answer: str

    ids, _ = task.read()
    provider = dd.ModelProvider(name="peer", endpoint=task.base, provider_type="openai", api_key=_KEY_VARIABLE)
    parameters = dd.ChatCompletionInferenceParams(
        temperature=TEMPERATURE, max_tokens=MAX_TOKENS, max_parallel_requests=task.concurrency
    )
    model = dd.ModelConfig(
        alias="peer", model=task.model, provider="peer", inference_parameters=parameters, skip_health_check=True
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(task.prompts)))
    builder.add_column(
        dd.LLMStructuredColumnConfig(name="value", model_alias="peer", prompt="{{ prompt }}", output_format=Answer)
    )
    designer = DataDesigner(artifact_path=str(task.directory / "artifacts"), model_providers=[provider])
    made = designer.create(builder, num_records=len(ids), dataset_name="peer", resume=ResumeMode.IF_POSSIBLE)
    found = made.load_dataset()
    task.write(found["id"].tolist(), [json.dumps(_plain(value)) for value in found["value"]])


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else dict(value)


if __name__ == "__main__":
    main(Task.of_command_line())
