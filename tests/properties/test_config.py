"""Whatever a job file holds, it is read or refused with places: never another error, never slowly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.config import InvalidJob, Job, format_mistake, format_mistake_line, job_schema, load_job
from pipeline.config.reading.environment import fill_text

JOB = """\
name: answers
input: {path: [a.csv, "${B:-b}.csv"], id: id, columns: [id, &topic topic]}
prompt:
  system: |
    You are careful.
  user: "{{ question }}"
endpoint: {kind: dataoorts, model: meta/llama-4-scout-17b-16e-instruct, api_key_env: KEY}
parameters: {temperature: 0.5, top_k: {column: *topic}, max_tokens: 100}
limits:
  concurrency: 64
  requests_per_minute: ${RPM:-300}
  max_cost_usd: 5.00   # all runs
retry: {max_attempts: 6, initial_seconds: 1}
output: {path: out.parquet, overwrite: false}
pricing: {input_usd_per_million: 0.32, output_usd_per_million: 0.34}
"""
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "- ",
    "? ",
    "\n",
    "  ",
    "\t",
    '"',
    "'",
    "|",
    ">",
    "#",
    "&a",
    "*a",
    "!",
    "!!str ",
    "%",
    "@",
    "---\n",
    "...\n",
    "${A}",
    "${",
    "$${",
    "{{ x }}",
    "null",
    "~",
    "true",
    "no",
    "0",
    "-1",
    "1e999",
    ".nan",
    "9" * 400,
    "\\",
    "\\u",
    '"\\ud800"',
    "\x00",
    "\x1b",
    "\x85",
    "\u2028",
    "\ufeff",
    "😀",
    "a number",
    "name",
    "limits",
    "api_key: x",
    "<<",
    "column",
    "",
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs") / "job.yaml"


def keys() -> list[str]:
    schema = job_schema()
    nested = [
        f"{name}.{inner}"
        for name, field in schema["properties"].items()
        if "$ref" in field
        for inner in schema["$defs"][field["$ref"].rpartition("/")[2]]["properties"]
    ]
    return [*schema["properties"], *nested, "parameters.seed.column", "nothing", "limits.nothing", "", "."]


def read(path: Path, content: bytes, overrides: list[str] | None = None) -> Job | None:
    path.write_bytes(content)
    try:
        return load_job(path, overrides or [], environ={"A": "1"})
    except InvalidJob as refused:
        assert refused.mistakes
        for mistake in refused.mistakes:
            assert mistake.message
            assert mistake.file
            assert (mistake.line is None) == (mistake.column is None)
            assert format_mistake_line(mistake).isprintable()
            assert format_mistake(mistake)
        return None


@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(here: Path, content: bytes) -> None:
    read(here, content)


@given(pieces=st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=40))
@example(pieces=["a number", ": ", "0"])
def test_any_text_is_read_or_refused(here: Path, pieces: list[str]) -> None:
    read(here, "".join(pieces).encode("utf-8", "surrogatepass"))


@given(data=st.data())
def test_a_mutated_job_is_read_or_refused(here: Path, data: st.DataObject) -> None:
    text = JOB
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(st.sampled_from(PIECES) | st.text(max_size=3)) + text[end:]
    job = read(here, text.encode("utf-8", "surrogatepass"))
    if job is not None:
        json.dumps(job.document, allow_nan=False).encode("utf-8")


@given(
    st.lists(st.tuples(st.sampled_from(keys()), st.sampled_from(PIECES) | st.text(max_size=8)), min_size=1, max_size=4)
)
def test_any_overrides_are_applied_or_refused(here: Path, overrides: list[tuple[str, str]]) -> None:
    job = read(here, JOB.encode(), [f"{key}={value}" for key, value in overrides])
    if job is not None:
        json.dumps(job.document, allow_nan=False).encode("utf-8")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["column", "path", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(values=st.dictionaries(st.sampled_from(keys()), VALUES, max_size=4))
def test_any_value_at_any_key_is_taken_or_refused(here: Path, values: dict[str, object]) -> None:
    read(here, JOB.encode(), [f"{key}={json.dumps(value)}" for key, value in values.items()])


@given(st.text(st.characters(exclude_characters="$")))
def test_text_without_dollars_is_left_alone(text: str) -> None:
    assert fill_text(text, {}) == (text, [])


@given(
    st.text(st.characters(exclude_characters="$", exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_a_variable_gives_its_value_whatever_it_holds(before: str, value: str) -> None:
    assert fill_text(before + "${NAME}", {"NAME": value}) == (before + value, [])
