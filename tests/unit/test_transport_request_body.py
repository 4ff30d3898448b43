"""Bodies of requests, whose images are made while they are sent."""

from __future__ import annotations

import json
import os
import tracemalloc

import pytest

from pipeline.images import Image
from pipeline.records import json_text
from pipeline.transport import JsonBodies
from pipeline.transport.session import Payload

PNG = b"\x89PNG\r\n\x1a\n"
PIECE = 3 * 2**16


def with_images(*images: Image) -> dict[str, object]:
    parts = [{"type": "image_url", "image_url": {"url": image}} for image in images]
    return {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "“ä \\udc00 \U0001f600"}, *parts]}],
        "n": 1,
    }


@pytest.mark.parametrize("size", [8, 9, 10, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 2])
def test_a_body_with_images_is_the_json_of_its_payload_and_as_long_as_it_says(size: int) -> None:
    images = [Image.of(PNG + os.urandom(size - 8)), Image.of(b"GIF8"), Image.of(PNG + bytes(size))]
    bodies = JsonBodies()
    for payload in (with_images(*images), with_images(), with_images(images[0], images[0])):
        body = bodies.of(payload)
        assert bytes(body) == json_text(payload).encode() == Payload(body)
        assert len(body) == len(bytes(body))
    assert json.loads(bytes(bodies.of(with_images()))) == with_images()


def test_only_a_piece_of_an_image_is_in_memory_as_text() -> None:
    body = JsonBodies().of(with_images(*[Image.of(PNG + bytes(2**22))] * 4))
    tracemalloc.start()
    try:
        size = sum(map(len, body))  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == len(body) > 4 * 2**22
    assert peak < 2**20
