"""The providers: what each one documents, and its wire form (a request as JSON, a reply as one typed value).

No network code. `registry` lists them; a provider's own module holds its envelope and its ranges, and what all of them
share is read by the other modules here.
"""

from pipeline.providers.interface import Endpoint, Provider, WireSettings
from pipeline.providers.parameters import UNBOUNDED, ParameterRange, ParameterText, ParameterValues
from pipeline.providers.registry import DEFAULT, PROVIDERS, kinds

__all__ = [
    "DEFAULT",
    "PROVIDERS",
    "UNBOUNDED",
    "Endpoint",
    "ParameterRange",
    "ParameterText",
    "ParameterValues",
    "Provider",
    "WireSettings",
    "kinds",
]
