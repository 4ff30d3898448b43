"""A row becomes a request: template, column or messages, with the row's parameters."""

from pipeline.prompts.builder import RequestBuilder, condition_mistakes, template_mistakes
from pipeline.prompts.failures import PromptFailure, missing_column
from pipeline.prompts.trial import Trial

__all__ = ["PromptFailure", "RequestBuilder", "Trial", "condition_mistakes", "missing_column", "template_mistakes"]
