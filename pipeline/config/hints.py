"""Suggestions for what people bring from other tools: key names, amounts, durations, sections written as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from pipeline.config.schema import KeyPath, shown
from pipeline.suggest import did_you_mean

_KEYS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("rpm", "max_requests_per_minute", "rate_limit"), "limits.requests_per_minute"),
        **dict.fromkeys(("tpm", "max_tokens_per_minute"), "limits.tokens_per_minute"),
        **dict.fromkeys(
            (
                "max_concurrency",
                "max_concurrent_requests",
                "max_connections",
                "max_parallel_requests",
                "max_workers",
                "num_workers",
                "workers",
                "threads",
                "batch_size",
                "parallelism",
            ),
            "limits.concurrency",
        ),
        **dict.fromkeys(("budget", "max_budget", "max_cost", "cost_limit"), "limits.max_cost_usd"),
        **dict.fromkeys(("timeout", "request_timeout", "timeout_s"), "limits.timeout_seconds"),
        **dict.fromkeys(("deadline", "max_runtime"), "limits.deadline_seconds"),
        **dict.fromkeys(("max_retries", "retries", "num_retries", "attempts"), "retry.max_attempts"),
        **dict.fromkeys(("base_url", "api_base", "api_url", "endpoint_url", "server_url"), "endpoint.url"),
        **dict.fromkeys(("type", "provider", "backend"), "endpoint.kind"),
        **dict.fromkeys(("model_name", "model_id"), "endpoint.model"),
        **dict.fromkeys(("prompt_template", "template", "user_prompt"), "prompt.user"),
        **dict.fromkeys(("system_prompt", "system_message"), "prompt.system"),
        **dict.fromkeys(("max_new_tokens", "max_output_tokens", "max_completion_tokens"), "parameters.max_tokens"),
        **dict.fromkeys(("dataset", "input_file", "input_path"), "input.path"),
        **dict.fromkeys(("id_column", "id_field"), "input.id"),
        **dict.fromkeys(("output_file", "output_path", "output_dir"), "output.path"),
        **dict.fromkeys(("checkpoint_dir", "checkpoint_path"), "checkpoint.path"),
    }
)
"""Names that other tools give one of our keys, in any section."""

_KEYS_WITHIN: Mapping[str, str] = MappingProxyType(
    {
        "pricing.input": "pricing.input_usd_per_million",
        "pricing.output": "pricing.output_usd_per_million",
        "pricing.cached_input": "pricing.cached_input_usd_per_million",
        "simulator.latency": "simulator.latency_seconds",
        "limits.shared_limit": "limits.shared",
    }
)
"""Names whose meaning depends on the section."""

_NOTES: Mapping[str, str] = MappingProxyType(
    {
        "timeout": "It takes a number of seconds",
        "deadline": "It takes a number of seconds",
        "max_completion_tokens": "For servers that want this name, set `endpoint.max_tokens_field`",
    }
)
"""What to know besides the name of the key that was meant."""

_MAIN_KEYS: Mapping[str, str] = MappingProxyType(
    {"input": "path", "output": "path", "checkpoint": "path", "cache": "path", "prompt": "user", "endpoint": "url"}
)
"""The key that is meant where a section is written as plain text."""

_UNITS = MappingProxyType({"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400})
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?(ms|s|sec|m|min|h|d)")
_AMOUNT = re.compile(r"(?:US)?[$€£]? ?([-+]?\d[\d.,'_ \u00a0\u202f]{0,40}) ?(?:USD|EUR|[$€£])?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:([.,'_ \u00a0\u202f])\d{3})(?:\1\d{3})*")
_COLUMN_TEMPLATE = re.compile(r"\{\{\s*([A-Za-z_]\w{0,200})\s*\}\}")


def our_key(path: KeyPath) -> KeyPath | None:
    """Return the place of the key that is meant by a name that other tools use, or None."""
    name = _plain(path[-1])
    ours = _KEYS_WITHIN.get(shown((*path[:-1], name))) or _KEYS.get(name)
    return None if ours is None else tuple(ours.split("."))


def key_meant(path: KeyPath) -> str | None:
    """Return what to write in place of a name that other tools use, or None."""
    name = _plain(path[-1])
    ours = our_key(path)
    if ours is None:
        return None
    question = did_you_mean([f"`{ours[-1] if ours[:-1] == path[:-1] else shown(ours)}`"])
    return f"{question} {_NOTES[name]}" if name in _NOTES else question


def section_meant(path: KeyPath, text: str) -> str | None:
    """Return how to write a section that is written as plain text: `input: {path: prompts.csv}`; None elsewhere."""
    key = _MAIN_KEYS.get(str(path[-1])) if len(path) == 1 else None
    if key is None:
        return None
    # A template would end the YAML mapping with its own braces, and a long text is not worth repeating.
    value = text if re.fullmatch(r"[\w./:*+@~-]{1,80}", text) else "…"
    return f"write `{path[0]}: {{{key}: {value}}}`"


def column_meant(text: str) -> str | None:
    """Return how to take a parameter from a column that is named as in a template: `{column: temp}`."""
    found = _COLUMN_TEMPLATE.fullmatch(text.strip())
    return f"write `{{column: {found[1]}}}` to take it from that column of each row" if found else None


def seconds_meant(text: str) -> str | None:
    """Return how to write a duration such as `2h` or `30s`: as a number of seconds; None if it is none."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        return None
    return f"write the number of seconds, {float(found[1]) * _UNITS[found[2]]:.15g}"


def number_meant(text: str, *, is_integer: bool) -> str | None:
    """Return how to write a number with marks or a currency sign, or None if the text is not a number.

    Each possible reading is named, and none is chosen: `5,00` is 5.00 where the comma is decimal, and 500 where it
    separates thousands.
    """
    found = _AMOUNT.fullmatch(text.strip())
    if not found:
        return None
    readings = [one for one in _readings(found[1].strip()) if not is_integer or float(one).is_integer()]
    if not readings:
        return None
    if len(readings) == 1:
        return f"write {readings[0]}: only digits, and a point before decimals"
    return f"write {' or '.join(readings)}, whichever is meant: only digits, and a point before decimals"


def _plain(key: str | int) -> str:
    return str(key).lower().replace("-", "_")


def _readings(digits: str) -> list[str]:
    """Return each number that the digits and marks can mean, decimal comma first."""
    marks = [mark for mark in digits if not mark.isdigit() and mark not in "+-"]
    decimal = [mark for mark in dict.fromkeys(marks) if mark in ".,"]
    readings = []
    for mark in decimal:
        before, _, after = digits.rpartition(mark)
        others = {one for one in before if not one.isdigit() and one not in "+-"}
        if after.isdigit() and mark not in before and len(others) <= 1:
            readings.append(f"{re.sub('[^0-9+-]', '', before)}.{after}")
    if len(set(marks)) == 1 and (_THOUSANDS.fullmatch(digits) or marks[0] != "."):
        whole = re.sub("[^0-9+-]", "", digits)
        readings += [] if whole.lstrip("+-").startswith("0") else [whole]
    if not marks:
        readings.append(digits)
    return list(dict.fromkeys(readings))
