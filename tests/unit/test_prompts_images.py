"""Images of a row, in every form that a column may hold."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.models import ParametersConfig, PromptConfig
from pipeline.errors import ErrorKind, InvalidJob
from pipeline.images import MAX_BYTES, Image
from pipeline.prompts import PromptFailure, RequestBuilder
from pipeline.prompts.images import image_parts
from pipeline.records import canonical_json, json_text, request_hash

PNG = b"\x89PNG\r\n\x1a\n" + b"one"
JPEG = b"\xff\xd8\xff\xe0two"
GIF = b"GIF89athree"
WEBP = b"RIFF\x04\x00\x00\x00WEBPfour"


def embedded(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def urls(value: Any, *, sends_addresses: bool = False) -> list[str]:
    parts = image_parts({"photo": value}, ["photo"], sends_addresses=sends_addresses)
    assert all(part["type"] == "image_url" for part in parts)
    return [str(part["image_url"]["url"]) for part in parts]


def identity(value: Any) -> str:
    return canonical_json(image_parts({"photo": value}, ["photo"], sends_addresses=False))


@pytest.mark.parametrize(
    ("data", "kind"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")]
)
def test_the_type_is_told_by_the_content_whatever_is_said_of_it(data: bytes, kind: str) -> None:
    assert urls(data) == [embedded(data, kind)]
    assert urls(embedded(data, "image/x-icon")) == [embedded(data, kind)]


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, []),
        ([], []),
        ([None, []], []),
        ({"bytes": None, "path": None}, []),
        (PNG, [PNG]),
        (bytearray(PNG), [PNG]),
        ({"bytes": PNG, "path": "gone.png"}, [PNG]),
        ([PNG, None, {"bytes": PNG, "path": None}], [PNG, PNG]),
        ("data:,%89PNG%0D%0A%1A%0Aone", [PNG]),
    ],
)
def test_each_form_of_a_cell_gives_its_images_in_order(value: Any, data: list[bytes]) -> None:
    assert urls(value) == [embedded(one) for one in data]


def test_a_path_is_read_and_the_bytes_are_what_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.jpg").write_bytes(PNG)
    assert urls(["a.png", str(tmp_path / "b.jpg")]) == 2 * [embedded(PNG)]
    assert urls({"bytes": None, "path": "a.png"}) == [embedded(PNG)]
    hashes = {
        canonical_json(image_parts({"p": value}, ["p"], sends_addresses=False)) for value in ("a.png", "b.jpg", PNG)
    }
    assert len(hashes) == 1
    (tmp_path / "a.png").write_bytes(GIF)
    assert canonical_json(image_parts({"p": "a.png"}, ["p"], sends_addresses=False)) not in hashes


@pytest.mark.parametrize(
    "value",
    [
        "secret.png",
        "",
        "\0secret",
        b"secret",
        b"",
        "data:image/png;base64",
        "data:image/png;base64,secret!",
        embedded(b"secret"),
        7,
        {"secret": PNG},
        PNG + b"x" * MAX_BYTES,
        [PNG, "secret.png"],
        "https://example.org/secret.png",
    ],
)
def test_what_is_no_image_fails_its_row_without_quoting_it(value: Any) -> None:
    with pytest.raises(PromptFailure) as caught:
        urls(value)
    assert caught.value.kind is ErrorKind.IMAGE_ERROR
    assert "'photo'" in caught.value.message
    assert "secret" not in caught.value.message


def test_directories_and_pipes_are_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(PromptFailure, match="readable file"):
            urls(str(path))


def test_an_address_is_passed_on_where_the_job_says_so() -> None:
    assert urls("https://example.org/a.png", sends_addresses=True) == ["https://example.org/a.png"]


def builder(**prompt: Any) -> RequestBuilder:
    config = PromptConfig(user="{{ q }}", **prompt)
    return RequestBuilder(config, ParametersConfig(), "m", ["q", "photo", "more"], {}, None)


def test_images_stand_behind_the_text_column_by_column() -> None:
    made = builder(images=("more", "photo"))
    assert made.columns == {"q", "photo", "more"}
    request = made.request({"q": "What?", "photo": PNG, "more": [GIF, JPEG]})
    (message,) = request.messages
    assert [part["type"] for part in message["content"]] == ["text", "image_url", "image_url", "image_url"]  # type: ignore[index]
    assert [embedded(GIF, "image/gif") in json_text(message), request.image_bytes] == [True, len(GIF + JPEG + PNG)]


def test_a_row_without_images_asks_as_a_job_without_them() -> None:
    row: dict[str, Any] = {"q": "What?", "photo": None, "more": []}
    with_columns, without = builder(images=("photo", "more")).request(row), builder().request(row)
    assert request_hash("openai", with_columns) == request_hash("openai", without)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidJob) as caught:
        builder(images=("photo", "foto"))
    (mistake,) = caught.value.mistakes
    assert mistake.key == "prompt.images[1]"
    assert mistake.suggestion is not None
    assert "photo" in mistake.suggestion


def test_an_image_is_shown_by_its_type_and_not_by_its_bytes() -> None:
    assert "data" not in repr(Image.of(PNG))
