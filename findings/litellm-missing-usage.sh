#!/bin/sh
# litellm 1.110.2: where a server reports no usage, an answer used 0 tokens, and the same answer streamed used a guess.
#
# Some servers leave `usage` out. LiteLLM fills it in: with zeros in a plain reply, and with counts of its own tokenizer
# in a streamed one, where stream_options={"include_usage": True} is documented to show the token usage of the entire
# request (docs.litellm.ai/docs/completion/usage). Nothing in the reply tells either from what a server has counted.
#
# For a batch: a cost that is not known is reported as nothing, or as a figure that no invoice will have.
#
#> litellm 1.110.2, a server without usage
#> plain:    prompt 0, completion 0, total 0
#> streamed: prompt 8, completion 2, total 10
. "$(dirname "$0")/support/check.sh"
install litellm==1.110.2
check <<'EOF'
import json
import logging
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

logging.disable()
MESSAGE = {"role": "assistant", "content": "Hello there"}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        streamed = json.loads(self.rfile.read(int(self.headers["content-length"]))).get("stream", False)
        said = {"delta" if streamed else "message": MESSAGE}
        reply = {"id": "1", "object": "chat.completion.chunk" if streamed else "chat.completion", "created": 1,
                 "model": "small", "choices": [{"index": 0, "finish_reason": "stop", **said}]}  # fmt: skip
        text = f"data: {json.dumps(reply)}\n\ndata: [DONE]\n\n" if streamed else json.dumps(reply)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if streamed else "application/json")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def show(name: str, usage) -> None:
    print(f"{name:9} prompt {usage.prompt_tokens}, completion {usage.completion_tokens}, total {usage.total_tokens}")


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
asked = {"model": "hosted_vllm/small", "api_base": f"http://127.0.0.1:{server.server_port}/v1", "api_key": "unused",
         "messages": [{"role": "user", "content": "hi"}]}  # fmt: skip
print(f"litellm {version('litellm')}, a server without usage")
show("plain:", litellm.completion(**asked).usage)
*_, last = litellm.completion(**asked, stream=True, stream_options={"include_usage": True})
show("streamed:", last.usage)
server.shutdown()
EOF
