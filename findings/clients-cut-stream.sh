#!/bin/sh
# openai 3.57.0 and anthropic 2.14.0: a stream that ends early is returned as the final answer.
#
# A server or gateway that loses the model in mid-answer may still end its reply in good order: the last chunk says how
# the answer ended, and it never came. `get_final_completion` and `get_final_message` wait for the end of the reply
# alone. finish_reason or stop_reason is None, and Anthropic's usage is that of the first event.
#
# For a batch: half an answer is kept as a whole one, and its tokens are counted as 1 or not at all.
#
#> openai 3.57.0
#>   returned: 'The half of', finish_reason None, usage None
#> anthropic 2.14.0
#>   returned: 'The half of', stop_reason None, output_tokens 1
. "$(dirname "$0")/support/check.sh"
install openai==3.57.0 anthropic==2.14.0
check <<'EOF'
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from anthropic import Anthropic
from openai import OpenAI


def chat_events():
    for text in ("The half", " of"):
        choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
        yield {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "small", "choices": [choice]}


def message_events():
    usage = {"input_tokens": 10, "output_tokens": 1}
    message = {"id": "1", "type": "message", "role": "assistant", "model": "small", "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": usage}  # fmt: skip
    yield {"type": "message_start", "message": message}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for text in ("The half", " of"):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


@contextmanager
def streaming():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for event in message_events() if self.path.endswith("/messages") else chat_events():
                name = f"event: {event['type']}\n" if "type" in event else ""
                data = f"{name}data: {json.dumps(event)}\n\n".encode()
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


MESSAGES = [{"role": "user", "content": "Hello"}]
with streaming() as url:
    print("openai", version("openai"))
    client = OpenAI(api_key="unused", base_url=f"{url}/v1", max_retries=0)
    with client.chat.completions.stream(model="small", messages=MESSAGES) as stream:
        answer = stream.get_final_completion()
    choice = answer.choices[0]
    print(f"  returned: {choice.message.content!r}, finish_reason {choice.finish_reason}, usage {answer.usage}")
    print("anthropic", version("anthropic"))
    client = Anthropic(api_key="unused", base_url=url, max_retries=0)
    with client.messages.stream(model="small", max_tokens=100, messages=MESSAGES) as stream:
        answer = stream.get_final_message()
    print(f"  returned: {answer.content[0].text!r}, stop_reason {answer.stop_reason},",
          f"output_tokens {answer.usage.output_tokens}")  # fmt: skip
EOF
