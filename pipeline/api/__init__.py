"""The Python interface: what `import pipeline` offers.

| module | holds |
|---|---|
| job | `Job`: check, plan, estimate and run a job |
| results | `Results`, `Result`: the answers as Arrow or pandas |
| ask | `ask`: a frame in, a frame out |
| values | what a job tells: `Diagnostic`, `Plan`, `Estimate`, `Range` |
| watch | a run's progress as log records and as a bar |
| background | a run in a thread of its own, so that Ctrl-C drains it |
| words | messages that name Python's arguments instead of the command's flags |
"""
