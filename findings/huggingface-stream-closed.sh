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
from importlib.metadata import version

from huggingface_hub import InferenceClient
from openai import OpenAI
from wire import chunk, serving, stream

answered = []


def count(path, body):
    answered.append(path)
    return stream(chunk("One "), chunk("two"))


def opened(client):
    messages = [{"role": "user", "content": "Count"}]
    return client.chat.completions.create(model="small", messages=messages, stream=True)


def text_of(pieces) -> str:
    try:
        return "".join(piece.choices[0].delta.content for piece in pieces)
    except Exception as error:
        return type(error).__name__


clients = {"openai": OpenAI, "huggingface_hub": InferenceClient}
with serving(count) as url:
    address = {"base_url": url, "api_key": "unused"}
    print("the client is held:")
    for package, made in clients.items():
        client = made(**address)
        print(f"  {package} {version(package)}: {text_of(opened(client))}")
    print("only its stream is held:")
    for package, made in clients.items():
        print(f"  {package} {version(package)}: {text_of(opened(made(**address)))}")
print("requests answered:", len(answered))
EOF
