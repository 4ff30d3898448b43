"""Every provider there is. A new one is a module with one `PROVIDER`, and its name here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pipeline.providers import dataoorts, openai
from pipeline.providers.interface import Provider

DEFAULT = dataoorts.PROVIDER
"""The provider of a job that names none."""

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {provider.name: provider for provider in (dataoorts.PROVIDER, openai.PROVIDER)}
)
"""By the word of `endpoint.kind`."""


def kinds(holds: Callable[[Provider], bool], key: str = "kind") -> str:
    """Return the providers for which something holds, as a job file names them: "`kind: openai`"."""
    return " or ".join(f"`{key}: {provider.name}`" for provider in PROVIDERS.values() if holds(provider))
