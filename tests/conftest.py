"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A deadline for each example measures the machine, not the code; pytest-timeout stops what hangs. The parent is the
# profile in force, so that CI keeps the fixed seed that Hypothesis gives it there.
settings.register_profile("repository", settings(), deadline=None)
settings.load_profile("repository")
