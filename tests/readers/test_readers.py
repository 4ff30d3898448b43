"""The exports in the hands of those that they are for: `datasets`, TRL, OpenAI's client, pandas, Excel, LibreOffice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.commands import command

READERS = Path(__file__).resolve().parents[2] / ".venv" / "readers" / "bin" / "python"
SCRIPT = Path(__file__).with_name("read.py")
FORMULAS = ['=HYPERLINK("https://example.invalid")', "+1 day", "@here", "-3", "- a list", "\ttab", "a,b", 'says "no"']
TEXTS = ["Grüße, 漢字 🎉", "two\nlines", "  blanks  ", "007", "1e5", "NULL", *FORMULAS]

Read = Callable[..., Any]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Has a reader's own environment read an export, with no network for the hub's libraries."""

    def run(kind: str, *paths: Path) -> Any:
        home = tmp_path_factory.mktemp("home")  # a cache of an earlier test might answer for this one
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(home)}
        done = subprocess.run(
            [READERS, SCRIPT, kind, *paths],
            env={**os.environ, **offline},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


class Job:
    """A job on the simulator, run to its end in a directory of its own."""

    def __init__(self, directory: Path, texts: Sequence[str], **sections: Any) -> None:
        self.directory = directory
        lines = [json.dumps({"id": f"r{number}", "text": text}) for number, text in enumerate(texts)]
        (directory / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        job = {
            "name": "job",
            "input": {"path": "in.jsonl", "id": "id"},
            "prompt": {"system": "Be brief.", "user": "{{ text }}"},
            "endpoint": {"url": "simulator", "model": "meta/llama-4-scout-17b-16e-instruct"},
            "parameters": {"max_tokens": 200},
            "output": {"path": "out.parquet"},
            **sections,
        }
        (directory / "job.yaml").write_text(json.dumps(job), encoding="utf-8")
        self.command("run", "job.yaml")

    def command(self, *words: str) -> None:
        done = command(*words, directory=self.directory, environment={**os.environ, "DATAOORTS_API_KEY": "a-key"})
        assert done.code in (0, 3), done.err

    def export(self, to: str, name: str, *flags: str) -> Path:
        self.command("export", "job.yaml", "--to", to, *flags, name)
        return self.directory / name

    @property
    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = pq.read_table(self.directory / "out.parquet").to_pylist()
        return found


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path, TEXTS)


def test_datasets_loads_the_folder_for_the_hub_and_its_card(tmp_path: Path, read: Read) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}},
    }
    job = Job(tmp_path, TEXTS * 3, expect={"json_schema": schema}, prompt={"user": "{{ id }} {{ text }}", "samples": 2})
    found = read("hub", job.export("hf", "hub", "--split", "train=0.7,test=0.3"))
    by_id = {(row["row_id"], row["sample_index"]): row for row in job.rows if not row["truncated"]}
    assert sum(map(len, found["splits"].values())) == len(by_id)
    for split in found["splits"].values():
        for row in split:
            ours = by_id[row["row_id"], row["sample_index"]]
            assert (row["parsed"], row["response"], row["text"]) == (ours["parsed"], ours["response"], ours["text"])
    card = found["card"]
    assert card["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train-*.parquet"},
        {"split": "test", "path": "data/test-*.parquet"},
    ]
    assert (card["tags"], card["size_categories"]) == (["synthetic"], ["n<1K"])
    assert "cost of these rows" in found["text"]


def test_a_split_without_rows_loads_too(tmp_path: Path, read: Read) -> None:
    job = Job(tmp_path, ["one"])
    path = job.export("hf", "hub", "--split", "train=0.5,test=0.5")
    found = read("hub", path)
    assert [len(split) for split in found["splits"].values()] == [1]
    assert " | 0 |" in found["text"]


def test_trl_reads_conversations_and_completions(job: Job, read: Read) -> None:
    found = read("chat", job.export("messages", "messages.jsonl"))
    assert found["columns"] == ["messages"]
    assert all(found["conversational"])
    answers = [row for row in job.rows if not row["truncated"]]
    assert [one["text"] for one in found["texts"]] == [
        f"<system>Be brief.<user>{row['text']}<assistant>{row['response']}" for row in answers
    ]
    found = read("chat", job.export("prompt-completion", "pairs.jsonl"))
    assert [one["completion"] for one in found["texts"]] == [row["response"] for row in answers]
    assert found["texts"][0]["prompt"] == f"<system>Be brief.<user>{answers[0]['text']}<assistant>"


def test_trl_reads_texts_without_a_system_prompt(tmp_path: Path, read: Read) -> None:
    job = Job(tmp_path, TEXTS, prompt={"user": "{{ text }}"})
    found = read("chat", job.export("prompt-completion", "pairs.jsonl"))
    assert not any(found["conversational"])
    answers = [row for row in job.rows if not row["truncated"]]
    assert found["texts"] == [{"prompt": row["text"], "completion": row["response"]} for row in answers]


def test_trl_reads_tools_and_their_calls(tmp_path: Path, read: Read) -> None:
    tool = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {"type": "object"}}}
    texts = ["plain", "[[fault: tool_calls_wrapped]]", "again plain"]
    job = Job(tmp_path, texts, prompt={"user": "{{ text }}", "tools": [tool]})
    found = read("chat", job.export("messages", "messages.jsonl"))
    assert found["columns"] == ["messages", "tools"]
    assert found["texts"][1]["text"].endswith("<assistant>add")
    assert all('"name": "add"' in one["text"] for one in found["texts"])


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_trl_reads_preference_pairs(tmp_path: Path, read: Read, system: str | None) -> None:
    prompt = {"user": "{{ text }}", "samples": 3} | ({} if system is None else {"system": system})
    expect = {"json_schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}
    job = Job(tmp_path, TEXTS, prompt=prompt, expect=expect, simulator={"varies": True})
    path = job.export("preference", "pairs.jsonl", "--score", "parsed.n")
    found = read("preference", path)
    pairs = path.read_text(encoding="utf-8").splitlines()
    assert len(found["texts"]) == len(pairs) == len(TEXTS)
    assert all(one["chosen"] != one["rejected"] for one in found["texts"])
    assert len(set(found["conversational"])) == 1
    assert found["labels"].count(True) == found["labels"].count(False) == len(pairs)


def test_openai_s_client_takes_the_batch_files(tmp_path: Path, read: Read) -> None:
    endpoint = {"kind": "openai", "url": "simulator", "model": "meta/llama-4-scout-17b-16e-instruct"}
    job = Job(tmp_path, TEXTS, endpoint=endpoint, parameters={"max_tokens": 200, "temperature": 0.5, "seed": 1})
    result = job.export("openai-batch", "result.jsonl")
    job.command("run", "job.yaml", "--set", "name=unsent", "--set", "output.path=unsent.parquet", "--limit", "2")
    job.command(
        "export", "job.yaml", "--set", "name=unsent", "--set", "output.path=unsent.parquet", "--to",
        "openai-batch-requests", "requests",
    )  # fmt: skip
    found = read("batch", tmp_path / "requests", result)
    assert found["custom_ids"] == [f"r{number}" for number in range(2, len(TEXTS))]
    assert found["answers"] == [row["response"] for row in job.rows]


def test_pandas_and_excel_read_csv_as_it_was_meant(job: Job, read: Read, tmp_path: Path) -> None:
    path = job.export("csv", "out.csv", "--bom", "--columns", "id,text,response")
    found = read("cells", path, tmp_path / "book.xlsx")
    wanted = [
        {name: guarded(row[name]) for name in ("id", "text", "response")} for row in job.rows if not row["truncated"]
    ]
    assert found["pandas"] == wanted
    assert [[cell[0] for cell in row] for row in found["excel"][1:]] == [list(row.values()) for row in wanted]
    assert not [cell for row in found["excel"] for cell in row if cell[1] == "f"], "a formula"


def guarded(text: str) -> str:
    """What a cell holds: an apostrophe goes before what a spreadsheet would run, apart from numbers."""
    return f"'{text}" if text in FORMULAS[:3] + FORMULAS[4:6] else text


def test_libreoffice_opens_the_csv_without_formulas(job: Job, read: Read, tmp_path: Path) -> None:
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        pytest.skip("LibreOffice is not installed (Debian: apt install libreoffice-calc-nogui)")
    path = job.export("csv", "out.csv", "--bom", "--columns", "id,text")
    profile = f"-env:UserInstallation=file://{tmp_path / 'profile'}"
    words: list[str | Path] = [
        office,
        profile,
        "--headless",
        "--infilter=CSV:44,34,76,1",  # comma, double quote, UTF-8, from the first row; without a window it does not ask
        "--convert-to",
        "xlsx",
        "--outdir",
        tmp_path / "converted",
        path,
    ]
    subprocess.run(words, check=True, capture_output=True, timeout=300)
    cells = read("workbook", tmp_path / "converted" / "out.xlsx")
    assert not [cell for row in cells for cell in row if cell[1] == "f"], "a formula"
    texts = [str(row[1][0]) for row in cells[1:]]
    assert texts[0] == TEXTS[0]
    assert len(texts) == len([row for row in job.rows if not row["truncated"]])
