"""Write the pages that are made from the code: docs/job-file.md and configs/job.schema.json. Run by `make docs`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.catalogue import DEFAULT_PARAMETERS, OPENAI_PARAMETERS, ParameterRange
from pipeline.config import job_schema, schema
from pipeline.config.models import JobConfig
from pipeline.config.schema import KeyPath, shown

ROOT = Path(__file__).parents[1]

INTRODUCTION = """\
# The job file

Every key, with what it takes, its default and an example. This page is made from the code by `make docs`.

- The file is YAML 1.2: `no` is text, and `1e-3` is a number. Unknown keys, duplicate keys and values out of range are
  errors. `pipeline validate JOB.yaml` names all of them at once, with line and column.
- `${NAME}` and `${NAME:-default}` are filled in from the environment, in any value. `$${` gives a plain `${`.
- Relative paths are relative to the directory the command runs in.
- `--set a.b=value` on the command line replaces any key: `--set limits.concurrency=8`.
- An editor that reads `configs/job.schema.json` completes and checks keys while you type. Put this line first:
  `# yaml-language-server: $schema=job.schema.json`.
"""


def job_reference() -> str:
    """Return the text of docs/job-file.md."""
    fields = JobConfig.model_fields
    top = [name for name in fields if not _is_section((name,))]
    parts = [INTRODUCTION, "\n".join(_table([(name,) for name in top]))]
    for name in fields:
        if _is_section((name,)):
            parts.append("\n".join(_section((name,), fields[name].description or "")))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def written_pages() -> Mapping[Path, str]:
    """Return every generated file with its text."""
    return {
        ROOT / "docs" / "job-file.md": job_reference(),
        ROOT / "configs" / "job.schema.json": json.dumps(job_schema(), indent=2) + "\n",
    }


def _section(path: KeyPath, description: str) -> Iterator[str]:
    yield f"## `{shown(path)}`"
    yield ""
    yield description
    if path == ("parameters",):
        yield "Each is a number, or `{column: NAME}` to take it from a column of each row."
        yield ""
        yield from _parameters()
        return
    yield ""
    yield from _table(list(_leaves(path)))


def _leaves(path: KeyPath) -> Iterator[KeyPath]:
    for key in schema.keys_at(path):
        if _is_section((*path, key)):
            yield from _leaves((*path, key))
        else:
            yield (*path, key)


def _is_section(path: KeyPath) -> bool:
    return bool(schema.keys_at(path)) and schema.describe(path).startswith("a mapping")


def _table(paths: list[KeyPath]) -> Iterator[str]:
    yield "| key | takes | default | example | |"
    yield "|---|---|---|---|---|"
    for path in paths:
        given = schema.field(path)
        default = "required" if schema.is_required(path) else _code(given.get("default"))
        yield _line(f"`{shown(path)}`", schema.describe(path), default, _example(path), given["description"])


def _parameters() -> Iterator[str]:
    yield "| key | `kind: dataoorts` | `kind: openai` | example | |"
    yield "|---|---|---|---|---|"
    for name in schema.keys_at(("parameters",)):
        path = ("parameters", name)
        ranges = (_range(DEFAULT_PARAMETERS[name]), _range(OPENAI_PARAMETERS[name]))
        yield _line(f"`{shown(path)}`", *ranges, _example(path), schema.field(path)["description"])


def _range(allowed: ParameterRange) -> str:
    kind = "a whole number" if allowed.integer else "a number"
    if allowed.maximum is None:
        return kind if allowed.minimum is None else f"{kind} of at least {allowed.minimum:,}"
    return f"{kind} from {allowed.minimum:,} to {allowed.maximum:,}"


def _example(path: KeyPath) -> str:
    given = schema.field(path)
    value = given["examples"][0] if "examples" in given else given["default"]
    return f"`{path[-1]}: {json.dumps(value, ensure_ascii=False) if _needs_quotes(value) else _plain(value)}`"


def _needs_quotes(value: object) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and (value == "" or value[0] in "{,$\"'" or " " in value))


def _plain(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _code(value: object) -> str:
    return "" if value is None else f"`{json.dumps(value) if _needs_quotes(value) else _plain(value)}`"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    for path, text in written_pages().items():
        path.write_text(text, encoding="utf-8")
