#!/bin/sh
# fireworks-ai 1.2.30: an error that ends a stream is handed on as a chunk without choices.
#
# A server that fails within a stream has sent its 200 already, so it says so in an event: `{"error": {...}}`. The
# clients of openai and groq raise APIError. This one makes a chunk of it whose `choices` is None. A loop that skips
# chunks without choices, as it must for the chunk with the usage, ends as if the answer were whole.
#
# For a batch: half an answer is kept as a whole one, and nothing tells that the server gave up.
#
#> openai 3.57.0: APIError: the model was lost
#> groq 1.7.0: APIError: the model was lost
#> fireworks-ai 1.2.30: 'The half of'
. "$(dirname "$0")/support/check.sh"
install openai==3.57.0 groq==1.7.0 fireworks-ai==1.2.30
check <<'EOF'
from importlib.metadata import version

import fireworks
import groq
import openai
from wire import chunk, serving, stream

ERROR = {"error": {"message": "the model was lost", "type": "server_error", "code": 500}}


def text_of(client) -> str:
    messages = [{"role": "user", "content": "Tell"}]
    pieces = client.chat.completions.create(model="small", messages=messages, stream=True)
    return repr("".join(piece.choices[0].delta.content for piece in pieces if piece.choices))


with serving(lambda path, body: stream(chunk("The half of"), ERROR)) as address:
    url = address.removesuffix("/v1")
    for package, client in (
        ("openai", openai.OpenAI(api_key="unused", base_url=url)),
        ("groq", groq.Groq(api_key="unused", base_url=url)),
        ("fireworks-ai", fireworks.Fireworks(api_key="unused", base_url=url)),
    ):
        try:
            seen = text_of(client)
        except (openai.APIError, groq.APIError) as error:
            seen = f"{type(error).__name__}: {error}"
        print(f"{package} {version(package)}: {seen}")
EOF
