"""Inspect in its batch mode, with so many lines in a batch; `eval_set` is what it resumes with."""

from __future__ import annotations

from benchmarks.peers.task import BATCH_MAX_TOKENS, TEMPERATURE, Task


def main(task: Task) -> None:
    """Run the whole job."""
    from inspect_ai import Task as Evaluation
    from inspect_ai import eval_set
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.log import read_eval_log
    from inspect_ai.model import BatchConfig, get_model
    from inspect_ai.solver import generate

    ids, prompts = task.read()
    samples = [Sample(id=row, input=prompt) for row, prompt in zip(ids, prompts, strict=True)]
    lines = task.concurrency
    _, logs = eval_set(
        Evaluation(dataset=MemoryDataset(samples), solver=generate(), name="batch"),
        log_dir=str(task.directory / "logs"),
        model=get_model(f"openai/{task.model}", base_url=task.base, responses_api=False),
        max_tokens=BATCH_MAX_TOKENS,
        temperature=TEMPERATURE,
        batch=BatchConfig(size=lines, max_size=lines, send_delay=1, tick=1),
        display="none",
    )
    found = {
        int(sample.id): sample.output.completion
        for log in logs
        for sample in read_eval_log(log.location).samples or []
        if sample.error is None
    }
    task.write(list(found), list(found.values()))


if __name__ == "__main__":
    main(Task.of_command_line())
