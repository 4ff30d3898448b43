"""A row becomes a request: template, column or messages, with the row's parameters."""

from pipeline.prompts.failures import PromptFailure
from pipeline.prompts.prompter import Prompter, template_mistakes

__all__ = ["PromptFailure", "Prompter", "template_mistakes"]
