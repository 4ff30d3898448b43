"""Where files are kept: the one place that looks at them, opens them, and puts a complete one where another was."""

from pipeline.storage.atomic import replacing, sync_directory, sync_file, sync_path
from pipeline.storage.interface import Storage, Version
from pipeline.storage.local import LOCAL, draft_path

__all__ = [
    "LOCAL",
    "Storage",
    "Version",
    "draft_path",
    "replacing",
    "sync_directory",
    "sync_file",
    "sync_path",
]
