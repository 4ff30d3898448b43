"""A row becomes a request: template, column or messages, with the row's parameters."""

from pipeline.prompts.builder import RequestBuilder, condition_mistakes, template_mistakes
from pipeline.prompts.failures import PromptFailure
from pipeline.prompts.trial import Trial

__all__ = ["PromptFailure", "RequestBuilder", "Trial", "condition_mistakes", "template_mistakes"]
