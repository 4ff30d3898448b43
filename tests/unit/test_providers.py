"""The registry of providers, and that nothing outside of it asks which one a job names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import pipeline
from pipeline.config import EndpointConfig
from pipeline.config.models import endpoint
from pipeline.providers import PROVIDERS, WireSettings, kinds

PACKAGE = Path(pipeline.__file__).parent
AT_HOME = ("providers", "simulator")


def _strings(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_no_module_outside_of_the_registry_names_a_provider() -> None:
    named = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in AT_HOME
        for line, text in _strings(path)
        if text in PROVIDERS
    ]
    assert named == []


def test_the_job_file_takes_the_registered_names_and_no_other() -> None:
    assert get_args(endpoint.Kind) == tuple(PROVIDERS)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_wire_form_goes_by_the_name_of_its_provider(name: str) -> None:
    made = PROVIDERS[name].wire(WireSettings("http://127.0.0.1:1/v1"))
    assert made.kind == name and made.url.startswith("http://127.0.0.1:1/v1")


def test_a_job_without_a_kind_is_at_home_with_the_default() -> None:
    config = EndpointConfig(model="m")
    assert config.provider.url == config.url and config.provider.key_variable == config.api_key_env


def test_providers_are_named_as_a_job_file_does() -> None:
    assert kinds(lambda provider: True) == "`kind: dataoorts` or `kind: openai`"
    assert kinds(lambda provider: provider.takes_servers, "endpoint.kind") == "`endpoint.kind: openai`"
