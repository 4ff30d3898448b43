"""Observers of a job: its figures, status, next steps, notifications, metrics and traces."""
