"""Structured answers: what an answer has to be, how the endpoint is told, and what is read out of a reply."""

from pipeline.expect.expectation import Expectation, Invalid
from pipeline.expect.forms import Form, Telling
from pipeline.expect.schemas import SchemaFault, load_schema
from pipeline.expect.verdict import Expected, Objection

__all__ = [
    "Expectation",
    "Expected",
    "Form",
    "Invalid",
    "Objection",
    "SchemaFault",
    "Telling",
    "load_schema",
]
