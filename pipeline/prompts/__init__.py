"""A row becomes a request: template, column or messages, with the row's parameters."""

from pipeline.prompts.bodies import BodyBuilder
from pipeline.prompts.builder import RequestBuilder, condition_mistakes, template_mistakes
from pipeline.prompts.failures import PromptFailure, missing_column
from pipeline.prompts.images import paths_of
from pipeline.prompts.interface import Builder
from pipeline.prompts.trial import Trial

__all__ = [
    "BodyBuilder",
    "Builder",
    "PromptFailure",
    "RequestBuilder",
    "Trial",
    "condition_mistakes",
    "missing_column",
    "paths_of",
    "template_mistakes",
]
