"""Images on their way from the input to the endpoint."""

from __future__ import annotations

import base64
import gc
import json
import threading
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.images import Image
from pipeline.runner import rows as row_queue
from tests.functional.conftest import Asked, Endpoint, Reply, Workspace, answer, refusal

PNG = b"\x89PNG\r\n\x1a\n"
HF = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def given(ws: Workspace, photos: list[Any], type: pa.DataType) -> None:
    numbers = [f"q{number}" for number in range(len(photos))]
    pq.write_table(pa.table({"q": numbers, "photo": pa.array(photos, type)}), ws.path / "in.parquet")


def job(ws: Workspace, **sections: Any) -> None:
    ws.job(**{"prompt": {"user": "{{ q }}", "images": ["photo"]}, **sections})


def sent(asked: Asked) -> list[bytes]:
    content = asked.body["data"]["messages"][-1]["content"]
    if isinstance(content, str):
        return []
    assert content[0]["type"] == "text"
    urls = [part["image_url"]["url"] for part in content[1:]]
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    return [base64.b64decode(url.partition(",")[2]) for url in urls]


def question(asked: Asked) -> str:
    content = asked.body["data"]["messages"][-1]["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


@pytest.mark.parametrize("form", ["bytes", "struct", "list", "paths", "data"])
def test_images_of_each_form_arrive_byte_for_byte(form: str, ws: Workspace, endpoint: Endpoint) -> None:
    data = [PNG + bytes([number]) * 100 for number in range(3)]
    for number, one in enumerate(data):
        (ws.path / f"{number}.png").write_bytes(one)
    forms: dict[str, tuple[list[Any], pa.DataType]] = {
        "bytes": (list(data), pa.binary()),
        "struct": ([{"bytes": one, "path": None} for one in data], HF),
        "list": ([[{"bytes": one, "path": "x"}] for one in data], pa.list_(HF)),
        "paths": ([f"{number}.png" for number in range(3)], pa.string()),
        "data": (["data:image/png;base64," + base64.b64encode(one).decode() for one in data], pa.string()),
    }
    given(ws, *forms[form])
    job(ws)
    endpoint.reply = lambda asked: answer("seen")
    ws.run()
    assert {question(one): sent(one) for one in endpoint.asked} == {f"q{n}": [one] for n, one in enumerate(data)}
    assert ws.table().schema.names[:2] == ["q", "row_id"], "images are not carried"
    endpoint.forget()
    ws.run()
    assert not endpoint.asked


@pytest.mark.parametrize("transport", ["lean", "standard"])
def test_large_images_arrive_whole_over_each_transport(transport: str, ws: Workspace, endpoint: Endpoint) -> None:
    data = [PNG + bytes([number]) * (700_000 + number) for number in range(4)]
    given(ws, [data[:2], data[2:]], pa.list_(pa.binary()))
    job(ws, endpoint={"transport": transport})
    endpoint.reply = lambda asked: answer("seen")
    ws.run()
    assert {question(one): sent(one) for one in endpoint.asked} == {"q0": data[:2], "q1": data[2:]}


def test_several_images_keep_their_order_and_a_null_is_none(ws: Workspace, endpoint: Endpoint) -> None:
    data = [PNG + bytes([number]) for number in range(4)]
    given(ws, [data, [], None, [data[3], data[0]]], pa.list_(pa.binary()))
    job(ws, input={"columns": ["photo"]})
    endpoint.reply = lambda asked: answer("seen")
    ws.run()
    assert {question(one): sent(one) for one in endpoint.asked} == {
        "q0": data,
        "q1": [],
        "q2": [],
        "q3": [data[3], data[0]],
    }
    assert ws.table().column("photo").to_pylist() == [data, [], None, [data[3], data[0]]], "named, so carried"


def test_the_bytes_make_the_request_and_not_the_path(ws: Workspace, endpoint: Endpoint) -> None:
    (ws.path / "a.png").write_bytes(PNG + b"a")
    given(ws, ["a.png"], pa.string())
    job(ws, input={"id": "q"})
    endpoint.reply = lambda asked: answer("seen")
    ws.run()
    (before,) = ws.rows()
    (ws.path / "a.png").rename(ws.path / "b.png")
    given(ws, ["b.png"], pa.string())
    assert ws.run()["requests"] == 0
    given(ws, [PNG + b"a"], pa.binary())
    assert ws.run()["requests"] == 0
    assert ws.rows()[0]["request_hash"] == before["request_hash"]
    given(ws, [PNG + b"b"], pa.binary())
    ws.run("--on-change", "rerun")
    assert ws.rows()[0]["request_hash"] != before["request_hash"]


@pytest.mark.parametrize("type", [pa.string(), HF])
def test_a_file_that_is_put_in_place_or_replaced_is_asked_about_by_the_next_run(
    ws: Workspace, endpoint: Endpoint, type: pa.DataType
) -> None:
    names = ["gone.png", "a.png", "b.png", "c.png"]
    for name in names[1:]:
        (ws.path / name).write_bytes(PNG + name.encode())
    given(ws, names if type == pa.string() else [{"bytes": None, "path": name} for name in names], type)
    job(ws, input={"id": "q"})
    endpoint.reply = lambda asked: answer("seen")
    assert ws.run(code=3)["failures"] == {"image_error": 1}
    endpoint.forget()
    assert ws.run(code=3)["requests"] == 0
    (ws.path / "gone.png").write_bytes(PNG + b"found")
    (ws.path / "b.png").write_bytes(PNG + b"other")
    assert ws.command("estimate")["requests"] == 2
    assert ws.run()["succeeded"] == 4
    assert sorted(sent(asked)[0] for asked in endpoint.asked) == [PNG + b"found", PNG + b"other"]


def test_a_replaced_file_beside_a_changed_setting_is_told_too(ws: Workspace, endpoint: Endpoint) -> None:
    for name in ("a.png", "b.png"):
        (ws.path / name).write_bytes(PNG + name.encode())
    given(ws, ["a.png", "b.png"], pa.string())
    job(ws, input={"id": "q"})
    endpoint.reply = lambda asked: answer("seen")
    ws.run()
    job(ws, input={"id": "q"}, parameters={"temperature": 0.5})
    assert "image file" not in ws.run(code=2)["error"]["message"]
    (ws.path / "b.png").write_bytes(PNG + b"other")
    said = ws.run(code=2)["error"]["message"]
    assert "parameters.temperature" in said and "and 1 image file changed since the last run" in said
    assert len(endpoint.asked) == 2


def test_what_is_no_image_fails_its_row_and_nothing_is_sent_for_it(ws: Workspace, endpoint: Endpoint) -> None:
    given(ws, ["gone.png", "https://example.org/a.png", "data:image/png;base64,AAAA"], pa.string())
    job(ws)
    assert ws.command("validate")["unsendable"] == {"image_error": 3}
    assert ws.run(code=3)["failures"] == {"image_error": 3}
    assert not endpoint.asked
    assert all(row["attempts"] == 0 and row["cost_usd"] is None for row in ws.rows())
    job(ws, prompt={"user": "{{ q }}", "images": ["photo"], "image_urls": "send"})
    endpoint.reply = lambda asked: answer("seen")
    ws.run(code=3)
    (asked,) = endpoint.asked
    assert asked.body["data"]["messages"][-1]["content"][1]["image_url"] == {"url": "https://example.org/a.png"}


def test_addresses_in_conversations_are_passed_on_where_the_job_says_so(ws: Workspace, endpoint: Endpoint) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    plain = [{"role": "user", "content": "hi"}]
    ws.given([[json.dumps([{"role": "user", "content": [image]}])], [json.dumps(plain)]], ["chat"])
    ws.job(prompt={"messages": "chat"})
    endpoint.reply = lambda asked: answer("seen")
    assert ws.run(code=3)["failures"] == {"prompt_error": 1}
    ws.job(prompt={"messages": "chat", "image_urls": "send"})
    ws.run()
    assert endpoint.asked[-1].body["data"]["messages"][0]["content"] == [image]


def test_images_are_shown_in_words_and_exported_whole(ws: Workspace, endpoint: Endpoint) -> None:
    given(ws, [PNG + b"a" * 92], pa.binary())
    job(ws)
    shown = ws.command("validate", "--show", "1")["requests"][0]
    assert "… (100 bytes)" in json.dumps(shown, ensure_ascii=False)
    endpoint.reply = lambda asked: answer("seen")
    ws.run()
    assert "[image_url]" in ws.pipeline("show", "job.yaml").out
    result = ws.pipeline("export", "job.yaml", "--to", "messages", "-")
    assert base64.b64encode(PNG + b"a" * 92).decode() in result.out


def test_images_go_to_senders_of_other_processes_and_to_the_simulator(ws: Workspace) -> None:
    given(ws, [PNG + bytes([number]) * 300_000 for number in range(8)], pa.binary())
    job(ws, endpoint={"url": "simulator"}, limits={"processes": 2})
    assert ws.run()["succeeded"] == 8


def test_the_images_in_flight_are_bounded(ws: Workspace, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runner.dispatcher.MAX_IMAGE_BYTES", 250_000)
    monkeypatch.setattr(row_queue, "MAX_IMAGE_BYTES", 250_000)
    given(ws, [PNG + bytes([number]) * 100_000 for number in range(10)], pa.binary())
    job(ws, limits={"concurrency": 8, "processes": 1})
    lock, under_way, most = threading.Lock(), 0, 0

    def reply(asked: Asked) -> Reply:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        threading.Event().wait(0.05)
        with lock:
            under_way -= 1
        return refusal(500) if len(endpoint.asked) == 3 else answer("seen")

    endpoint.reply = reply
    assert ws.run()["succeeded"] == 10
    assert most == 2


def test_a_structured_answer_to_an_image_is_asked_for_again_with_the_image(ws: Workspace, endpoint: Endpoint) -> None:
    given(ws, [PNG + b"a"], pa.binary())
    job(ws, expect={"choices": ["cat", "dog"]})
    replies = ["bird", "cat"]
    endpoint.reply = lambda asked: answer(replies.pop(0))
    ws.run()
    contents = [one.body["data"]["messages"][1]["content"] for one in endpoint.asked]
    assert contents[0] == contents[1]
    assert ws.rows()[0]["parsed"] == "cat"


def test_images_are_held_only_while_their_row_is_in_flight(
    ws: Workspace, endpoint: Endpoint, run_here: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = range(30)
    table = pa.table(
        {"q": [f"q{number}" for number in numbers], "photo": [PNG + bytes([number]) for number in numbers]}
    )
    pq.write_table(table, ws.path / "in.parquet", row_group_size=1)
    job(ws, limits={"concurrency": 2})
    endpoint.reply = lambda asked: answer("seen")
    held: list[int] = []
    of = Image.of

    def counted(data: bytes) -> Image:
        held.append(sum(type(one) is Image for one in gc.get_objects()))
        return of(data)

    monkeypatch.setattr(Image, "of", counted)
    assert run_here().execute().succeeded == len(numbers)
    assert len(held) > len(numbers)
    assert max(held) <= 6
