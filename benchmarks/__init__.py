"""Measures whole runs beside the limits of the machine and beside other tools; docs/performance.md says how."""

from pathlib import Path

BUILD = Path(__file__).with_name(".build")
"""Everything that benchmarks make: the server, inputs, checkpoints, outputs, figures. It can be deleted at any time."""
