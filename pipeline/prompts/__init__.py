"""A row becomes a request: template, column or messages, with the row's parameters."""

from pipeline.prompts.failures import PromptFailure
from pipeline.prompts.prompter import Prompter, condition_mistakes, template_mistakes
from pipeline.prompts.trial import Trial

__all__ = ["PromptFailure", "Prompter", "Trial", "condition_mistakes", "template_mistakes"]
