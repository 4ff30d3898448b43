"""Observers of a job: its figures, status, next steps, notifications and metrics."""
