#!/bin/sh
# huggingface_hub 2.4.0: a stream is closed as soon as nothing holds the client that opened it.
#
# The client keeps the open reply, and the stream that it returns does not keep the client. Where the client goes out of
# scope, as in a function that returns the stream, the first chunk raises StreamClosed. The client of openai, whose
# interface InferenceClient copies, reads on.
#
# For a batch: the request was sent and is billed, and every streamed answer is lost before its first word.
#
#> the client is held:
#>   openai 3.57.0: One two
#>   huggingface_hub 2.4.0: One two
#> only its stream is held:
#>   openai 3.57.0: One two
#>   huggingface_hub 2.4.0: StreamClosed
#> requests answered: 4
. "$(dirname "$0")/support/check.sh"
install huggingface_hub==2.4.0 openai==3.57.0
check <<'EOF'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from huggingface_hub import InferenceClient
from openai import OpenAI

answered = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for text in ("One ", "two"):
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "small",
                     "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}  # fmt: skip
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
        answered.append(self.path)

    def log_message(self, format: str, *args: object) -> None:
        pass


def opened(client):
    messages = [{"role": "user", "content": "Count"}]
    return client.chat.completions.create(model="small", messages=messages, stream=True)


def text_of(stream) -> str:
    try:
        return "".join(chunk.choices[0].delta.content for chunk in stream)
    except Exception as error:
        return type(error).__name__


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "api_key": "unused"}
clients = {"openai": OpenAI, "huggingface_hub": InferenceClient}
print("the client is held:")
for package, made in clients.items():
    client = made(**address)
    print(f"  {package} {version(package)}: {text_of(opened(client))}")
print("only its stream is held:")
for package, made in clients.items():
    print(f"  {package} {version(package)}: {text_of(opened(made(**address)))}")
print("requests answered:", len(answered))
server.shutdown()
EOF
