#!/bin/sh
# instructor 1.17.0: in its JSON modes, a refusal is taken for broken JSON, and bought four times.
#
# A model that refuses sends no content and says so in `refusal`. The modes that use tools see that, and stop after one
# request. The JSON modes parse the missing content, and ask the model to correct its JSON, three times by default.
#
# For a batch: each moderated row costs more than four times its prompt, and is reported as a fault of its JSON.
#
#> instructor 1.17.0
#> TOOLS: requests 1
#>   Unable to generate a response due to I cannot help with that.
#> JSON: requests 4
#>   last question: Correct your JSON ONLY RESPONSE, based on the following errors:
#> JSON_SCHEMA: requests 4
#>   last question: Correct your JSON ONLY RESPONSE, based on the following errors:
. "$(dirname "$0")/support/check.sh"
install instructor==1.17.0
check <<'EOF'
import logging
from importlib.metadata import version

import instructor
from instructor import Mode
from openai import OpenAI
from pydantic import BaseModel
from wire import completion, serving

asked = []


class Rating(BaseModel):
    score: int


def refuse(path, body):
    asked.append(body["messages"][-1]["content"])
    reply = completion(None)
    reply["choices"][0]["message"]["refusal"] = "I cannot help with that."
    return 200, {}, reply


print("instructor", version("instructor"))
logging.disable()
with serving(refuse) as url:
    for mode in (Mode.TOOLS, Mode.JSON, Mode.JSON_SCHEMA):
        asked.clear()
        client = instructor.from_openai(OpenAI(api_key="unused", base_url=url, max_retries=0), mode=mode)
        try:
            client.create(model="small", messages=[{"role": "user", "content": "Rate it"}], response_model=Rating)
        except Exception as error:
            said = str(error)
        print(f"{mode.name}: requests {len(asked)}")
        print(f"  {said}" if len(asked) == 1 else f"  last question: {asked[-1].splitlines()[0]}")
EOF
