#!/bin/sh
# huggingface_hub 2.4.0, ollama 0.6.3 and aiosseclient 0.1.8 lose a streamed answer with a rare line separator in it.
#
# U+2028 and U+0085 need no escape in JSON, and end no line of an event stream
# (html.spec.whatwg.org/multipage/server-sent-events.html). A server that sends UTF-8 as it is, such as vLLM, sends them
# so. These three split their lines where Python's str.splitlines does. The line is cut in two, and is JSON no more.
# The same answer reaches the client of openai whole.
#
# For a batch: answers that quote web pages or PDF files fail each time that they are bought.
#
#> openai 3.57.0: 'One\u2028two'
#> huggingface_hub 2.4.0: JSONDecodeError: Unterminated string starting at
#> ollama 0.6.3: JSONDecodeError: Unterminated string starting at
#> aiosseclient 0.1.8: the data of the first event ends with 'One'
. "$(dirname "$0")/support/check.sh"
install openai==3.57.0 huggingface_hub==2.4.0 ollama==0.6.3 aiosseclient==0.1.8
check <<'EOF'
import asyncio
import json
from importlib.metadata import version

import aiosseclient
import ollama
from huggingface_hub import InferenceClient
from openai import OpenAI
from wire import chunk, serving, stream

MESSAGES = [{"role": "user", "content": "Quote the page"}]
TEXT = "One\u2028two"
MESSAGE = {"role": "assistant", "content": TEXT}
LINE = {"model": "small", "created_at": "2026-01-01T00:00:00Z", "message": MESSAGE, "done": True}


def reply(path, body):
    if path == "/api/chat":
        return 200, {"content-type": "application/x-ndjson"}, json.dumps(LINE, ensure_ascii=False) + "\n"
    return stream(chunk(TEXT, "stop"))


def with_openai() -> str:
    pieces = OpenAI(api_key="unused", base_url=f"{url}/v1").chat.completions.create(
        model="small", messages=MESSAGES, stream=True)  # fmt: skip
    return ascii("".join(piece.choices[0].delta.content for piece in pieces))


def with_huggingface_hub() -> str:
    client = InferenceClient(base_url=f"{url}/v1", api_key="unused")
    pieces = client.chat_completion(MESSAGES, model="small", stream=True)
    return ascii("".join(piece.choices[0].delta.content for piece in pieces))


def with_ollama() -> str:
    parts = ollama.Client(host=url).chat(model="small", messages=MESSAGES, stream=True)
    return ascii("".join(part.message.content for part in parts))


async def first_event() -> str:
    async for event in aiosseclient.aiosseclient(f"{url}/v1/chat/completions"):
        return str(event.data)
    return ""


def with_aiosseclient() -> str:
    return f"the data of the first event ends with {asyncio.run(first_event()).rpartition(chr(34))[2]!r}"


with serving(reply) as address:
    url = address.removesuffix("/v1")
    for package in ("openai", "huggingface_hub", "ollama", "aiosseclient"):
        try:
            seen = globals()[f"with_{package}"]()
        except ValueError as error:
            seen = f"{type(error).__name__}: {str(error).partition(':')[0]}"
        print(f"{package} {version(package)}: {seen}")
EOF
