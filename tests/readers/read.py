"""Reads an export with the library that it is for, in that library's own environment: read.py KIND PATH…

Prints what was read as one JSON object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% if tools %}<tools>{{ tools | tojson }}{% endif %}"
    "{% for message in messages %}<{{ message.role }}>{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}{{ call.function.name }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    found = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]")))
    found.chat_template = TEMPLATE
    return found


def hub(directory: str) -> Any:
    """Load a folder as the hub's users do, and its card as the hub does."""
    from datasets import load_dataset
    from huggingface_hub import DatasetCard

    found = load_dataset(directory)
    card = DatasetCard.load(Path(directory) / "README.md")
    splits = {name: json.loads(json.dumps(list(split), default=str)) for name, split in found.items()}
    return {"splits": splits, "card": card.data.to_dict(), "text": card.text}


def chat(path: str) -> Any:
    """Render conversations, or prompts and completions, as TRL does before it trains."""
    from datasets import load_dataset
    from trl.data_utils import apply_chat_template, is_conversational

    rows = load_dataset("json", data_files=path, split="train")
    tokenizer = _tokenizer()
    texts = [
        apply_chat_template(row, tokenizer, tools=row.get("tools")) if is_conversational(row) else dict(row)
        for row in rows
    ]
    return {"columns": rows.column_names, "conversational": [is_conversational(row) for row in rows], "texts": texts}


def preference(path: str) -> Any:
    """Read pairs as TRL's preference trainers do."""
    from datasets import load_dataset
    from trl.data_utils import (
        is_conversational,
        maybe_apply_chat_template,
        maybe_extract_prompt,
        unpair_preference_dataset,
    )

    rows = load_dataset("json", data_files=path, split="train")
    tokenizer = _tokenizer()
    texts = [maybe_apply_chat_template(maybe_extract_prompt(row), tokenizer) for row in rows]
    unpaired = unpair_preference_dataset(rows)
    return {
        "conversational": [is_conversational(row) for row in rows],
        "texts": texts,
        "labels": list(unpaired["label"]),
    }


def batch(requests: str, results: str) -> Any:
    """Check the lines of request files and of a result file against the types of OpenAI's client."""
    from openai.types.chat import ChatCompletion
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
    from pydantic import ConfigDict, TypeAdapter

    CompletionCreateParamsNonStreaming.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    request = TypeAdapter(CompletionCreateParamsNonStreaming)
    files = [file.read_text(encoding="utf-8") for file in sorted(Path(requests).iterdir())]
    asked = [json.loads(line) for text in files for line in text.splitlines()]
    for line in asked:
        request.validate_python(line["body"])
    answers = []
    for text in Path(results).read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["error"] is None:
            answers.append(
                ChatCompletion.model_validate(line["response"]["body"], strict=True).choices[0].message.content
            )
    return {"custom_ids": [line["custom_id"] for line in asked], "answers": answers}


def cells(path: str, book: str) -> Any:
    """Read CSV with pandas, and write and read it as a workbook by openpyxl."""
    import pandas as pd

    found = pd.read_csv(path, dtype=str, keep_default_na=False)
    found.to_excel(book, index=False, engine="openpyxl")
    return {"pandas": found.to_dict("records"), "excel": workbook(book)}


def workbook(path: str) -> Any:
    """Return the cells of a workbook, each with openpyxl's letter for its type."""
    from openpyxl import load_workbook

    (sheet,) = load_workbook(path).worksheets
    return [[[cell.value, cell.data_type] for cell in row] for row in sheet.iter_rows()]


if __name__ == "__main__":
    readers: dict[str, Any] = {
        "hub": hub,
        "chat": chat,
        "preference": preference,
        "batch": batch,
        "cells": cells,
        "workbook": workbook,
    }
    print(json.dumps(readers[sys.argv[1]](*sys.argv[2:]), default=str))
