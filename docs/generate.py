"""Write what the documentation takes from the code: docs/job-file.md, docs/api.md, the JSON Schema, and the tables of
endings in README.md and docs/errors.md. Run by `make docs`.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pipeline
from pipeline.config import job_schema, schema
from pipeline.config.models import JobConfig
from pipeline.config.schema import KeyPath, shown
from pipeline.endings import Exit, StopKind
from pipeline.providers import PROVIDERS

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


CATALOGUE = """\
## The file that `catalogue` names

Models that `pipeline models` does not have, or other facts about those that it has. They count for prices, caps,
estimates, context windows and reasoning in the text of answers, whatever the server. A job's own `pricing` comes first.

```yaml
# models.yaml
priced_on: 2026-11-28              # optional: the date of the prices
models:
  - name: my-team/my-model
    input_usd_per_million: 0.20
    output_usd_per_million: 0.60
    context_window: 32768
```
"""


def job_reference() -> str:
    """Return the text of docs/job-file.md."""
    fields = JobConfig.model_fields
    top = [name for name in fields if not _is_section((name,))]
    parts = [INTRODUCTION, "\n".join(_table([(name,) for name in top]))]
    for name in fields:
        if _is_section((name,)):
            parts.append("\n".join(_section((name,), fields[name].description or "")))
    parts += [CATALOGUE, "\n".join(_table(list(_leaves(("catalogue", "models", 0))), above=3))]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


API_INTRODUCTION = """\
# The Python interface

The command `pipeline` and this interface are the same program: the same job file, checkpoint, promises and answers.
This page is made from the docstrings by `make docs`.

```python
import pipeline

job = pipeline.Job("job.yaml", {"limits.concurrency": 8})  # or a mapping; or input=frame for rows in memory
problems = job.validate()
result = job.run(limit=20)
result.frame()[["row_id", "response", "cost_usd"]]

answers = pipeline.ask(frame, user="{{ question }}", model="meta/llama-3.1-8b-instruct", checkpoint="qa")
```
"""


def api_reference() -> str:
    """Return the text of docs/api.md."""
    parts = [API_INTRODUCTION]
    for name in pipeline.__all__:
        found = getattr(pipeline, name)
        if inspect.isclass(found):
            parts += _class(name, found)
        elif inspect.isfunction(found):
            parts += [f"## `pipeline.{name}`", _signature(f"pipeline.{name}", found), _docstring(found)]
    parts += ["## `pipeline.errors`", f"```text\n{inspect.getdoc(pipeline.errors)}\n```"]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _class(name: str, found: type) -> Iterator[str]:
    yield f"## `pipeline.{name}`"
    if not dataclasses.is_dataclass(found):
        yield _signature(f"pipeline.{name}", found)
    yield _docstring(found)
    fields = [one for one in dataclasses.fields(found) if one.name[0] != "_"] if dataclasses.is_dataclass(found) else []
    if fields:
        yield "\n".join(["| field | type |", "|---|---|", *(_line(f"`{one.name}`", f"`{one.type}`") for one in fields)])
    if found.__module__.startswith("pipeline.api.") and "values" not in found.__module__:
        for method, member in vars(found).items():
            if method[0] != "_" and inspect.isfunction(member):
                yield f"### `{name}.{method}`"
                yield _signature(method, member)
                yield _docstring(member)
            elif method[0] != "_" and isinstance(member, property):
                yield f"### `{name}.{method}`"
                yield _docstring(member)


def _signature(name: str, found: Any) -> str:
    signature = inspect.signature(found)
    parameters = [one for one in signature.parameters.values() if one.name != "self"]
    text = f"{name}{signature.replace(parameters=parameters)}"
    # Annotations are text, which is shown in quotes; those within it belong to it.
    text = re.sub(r"(: |-> )(?:'([^']*)'|\"([^\"]*)\")", lambda quoted: quoted[1] + (quoted[2] or quoted[3]), text)
    text = text.removesuffix(" -> None")
    if len(text) > 100:
        text = text.replace(f"{name}(", f"{name}(\n    ", 1).replace(") ->", ",\n) ->")
        text = re.sub(r", (?=\w+: |\*, |\*\*)", ",\n    ", text)
    return f"```python\n{text}\n```"


def _docstring(found: Any) -> str:
    """Return a docstring as Markdown: each section's name in bold, its entries as a list, an example as code."""
    lines: list[str] = []
    section = ""
    for line in (inspect.getdoc(found) or "").split("\n"):
        if line in ("Args:", "Returns:", "Raises:", "Example:"):
            section = line[:-1]
            lines += [f"**{section}**", ""]
        elif line and line[0] != " ":
            section = ""
            lines.append(line)
        elif section == "Example":
            lines += ["```python"] * (lines[-1] == "" and line != "") + [line[8:]] * (line != "")
        elif section in ("Args", "Raises") and (entry := re.fullmatch(r" {4}(\w[\w., ]*): (.*)", line)):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            lines.append(f"  {line.strip()}" if section in ("Args", "Raises") and line else line.strip())
    return "\n".join([*lines, "```"] if section == "Example" else lines)


def written_pages() -> Mapping[Path, str]:
    """Return every generated file with its text."""
    return {
        ROOT / "docs" / "job-file.md": job_reference(),
        ROOT / "docs" / "api.md": api_reference(),
        ROOT / "configs" / "job.schema.json": json.dumps(job_schema(), indent=2) + "\n",
        ROOT / "README.md": _with_tables("README.md", {"exit codes": exit_codes()}),
        ROOT / "docs" / "errors.md": _with_tables(
            "docs/errors.md",
            {
                "refused jobs": stop_kinds([kind for kind in StopKind if kind.exit is Exit.REFUSED]),
                "other endings": stop_kinds([kind for kind in StopKind if kind.exit is not Exit.REFUSED]),
            },
        ),
    }


def exit_codes() -> str:
    """Return the table of exit codes."""
    lines = [_line(code.codes, code.meaning, code.remedy) for code in Exit]
    return "\n".join(["| exit | what happened | what to do |", "|---|---|---|", *lines])


def stop_kinds(kinds: Iterable[StopKind]) -> str:
    """Return a table of words of `error.kind`."""
    lines = [_line(f"`{kind}`", kind.exit.codes, kind.meaning, kind.remedy or "whenever you like") for kind in kinds]
    return "\n".join(["| kind | exit | what it means | run it again |", "|---|---|---|---|", *lines])


def _with_tables(page: str, tables: Mapping[str, str]) -> str:
    """Return a page with each table in the place that two comments with its name mark."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name}, by `make docs` -->\n", "\n<!-- end -->"
        before, _, rest = text.partition(begin)
        text = before + begin + table + end + rest.partition(end)[2]
    return text


def _section(path: KeyPath, description: str) -> Iterator[str]:
    yield f"## `{shown(path)}`"
    yield ""
    yield description
    if path == ("parameters",):
        yield "Each may be `{column: NAME}` instead, to take it from a column of each row."
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


def _table(paths: list[KeyPath], above: int = 0) -> Iterator[str]:
    """Return the lines of a table of keys, each by its name without the first `above` parts."""
    yield "| key | takes | default | example | |"
    yield "|---|---|---|---|---|"
    for path in paths:
        given = schema.field(path)
        default = "required" if schema.is_required(path) else _code(given.get("default"))
        yield _line(f"`{shown(path[above:])}`", schema.describe(path), default, _example(path), given["description"])


def _parameters() -> Iterator[str]:
    yield "| key | " + " | ".join(f"`kind: {name}`" for name in PROVIDERS) + " | example | |"
    yield "|---" * (3 + len(PROVIDERS)) + "|"
    for name in schema.keys_at(("parameters",)):
        path = ("parameters", name)
        ranges = (str(provider.parameters.get(name, "")) for provider in PROVIDERS.values())
        yield _line(f"`{shown(path)}`", *ranges, _example(path), schema.field(path)["description"])


def _example(path: KeyPath) -> str:
    given = schema.field(path)
    value = given["examples"][0] if "examples" in given else given.get("default")
    return f"`{path[-1]}: {json.dumps(value, ensure_ascii=False) if _needs_quotes(value) else _plain(value)}`"


def _needs_quotes(value: object) -> bool:
    if isinstance(value, str):
        return value == "" or value[0] in "{,$\"'" or " " in value
    return isinstance(value, list | dict)


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
