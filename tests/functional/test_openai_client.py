"""OpenAI's own client talks to the simulator; it refuses a reply that is not of the shape that OpenAI documents."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pipeline.simulator import Settings, Simulator

if TYPE_CHECKING:  # half a second, which every process that collects tests would pay
    import openai
    from openai.types.chat import ChatCompletionUserMessageParam

MODEL = "meta/llama-4-scout-17b-16e-instruct"
ASKED: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "What is 2 + 2?"}]


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    import openai

    with (
        Simulator(Settings()) as simulator,
        openai.OpenAI(
            base_url=f"{simulator.address}/v1", api_key="a-key", max_retries=0, _strict_response_validation=True
        ) as client,
    ):
        yield client


def test_a_chat_is_the_same_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=50)
    stream = client.chat.completions.create(
        model=MODEL, messages=ASKED, max_tokens=50, stream=True, stream_options={"include_usage": True}
    )
    events = list(stream)
    choices = [choice for event in events for choice in event.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == whole.choices[0].message.content
    assert choices[-1].finish_reason == whole.choices[0].finish_reason
    assert events[-1].usage == whole.usage
    assert whole.usage is not None and whole.usage.completion_tokens > 0


def test_a_refusal_has_openais_shape(client: openai.OpenAI) -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match="No such model 'other'"):
        client.chat.completions.create(model="other", messages=ASKED)


def test_a_batch_is_bought_from_its_file_to_its_answers(client: openai.OpenAI) -> None:
    body = {"model": MODEL, "messages": ASKED, "max_tokens": 50}
    lines = [{"custom_id": f"row {n}", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(3)]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    file = client.files.create(file=("requests.jsonl", content), purpose="batch")
    assert client.files.retrieve(file.id).filename == "requests.jsonl"
    assert client.files.content(file.id).content == content
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"key": "value"}
    )
    while batch.status == "in_progress":
        time.sleep(0.01)
        batch = client.batches.retrieve(batch.id)
    assert batch.request_counts is not None and batch.completed_at is not None
    assert batch.created_at <= batch.completed_at and batch.failed_at is None
    assert (batch.status, batch.request_counts.completed, batch.metadata) == ("completed", 3, {"key": "value"})
    assert [found.id for found in client.batches.list(limit=1)] == [batch.id]
    assert batch.output_file_id is not None
    answers = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    assert {answer["custom_id"] for answer in answers} == {"row 0", "row 1", "row 2"}
    assert {found.id for found in client.files.list()} == {file.id, batch.output_file_id}
    assert client.files.delete(file.id).deleted
    assert [found.id for found in client.files.list()] == [batch.output_file_id]
    assert client.batches.cancel(client.batches.retrieve(batch.id).id).status == "completed"


def test_an_open_batch_is_cancelled(client: openai.OpenAI) -> None:
    with Simulator(Settings(batch_seconds=60)) as simulator:
        slow = client.with_options(base_url=f"{simulator.address}/v1")
        file = slow.files.create(file=("requests.jsonl", b""), purpose="batch")
        batch = slow.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        assert slow.batches.cancel(batch.id).status == "cancelled"
