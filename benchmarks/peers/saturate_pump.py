"""saturate's pump, with as many requests in flight as the others."""

from __future__ import annotations

from typing import Any

from saturate import Fixed, pump, read_output

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task, messages


def main(task: Task) -> None:
    """Run the whole job."""
    ids, prompts = task.read()

    def body(row: dict[str, Any]) -> dict[str, Any]:
        return {
            "model": task.model,
            "messages": messages(row["prompt"]),
            "max_tokens": MAX_TOKENS,
            "temperature": TEMPERATURE,
        }

    def keep(row: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        return {"row": row["row"], "response": reply["choices"][0]["message"]["content"]}

    answers = str(task.directory / "answers")
    rows = [{"row": row, "prompt": prompt} for row, prompt in zip(ids, prompts, strict=True)]
    pump(
        rows,
        body,
        keep,
        task.base,
        answers,
        window=Fixed(task.concurrency),
        signal_source="none",
        headers={"Authorization": f"Bearer {KEY}"},
    )
    found = [one for _, one in read_output(answers)]
    task.write([one["row"] for one in found], [one["response"] for one in found])


if __name__ == "__main__":
    main(Task.of_command_line())
