"""A job at rest: its file, input, checkpoint and outputs, opened and checked."""
