"""Where files are kept: the one place that looks at them, opens them, and puts a complete one where another was."""

from pipeline.storage.atomic import replacing, sync_directory, sync_file, sync_path
from pipeline.storage.destination import Destination
from pipeline.storage.interface import Storage, Version
from pipeline.storage.json_file import read_json
from pipeline.storage.local import LOCAL, draft_path, led_to, stands
from pipeline.storage.location import (
    DEFAULT_OPTIONS,
    SCHEMES,
    UPLOADS_NAME,
    Location,
    StoreOptions,
    StorePath,
    location,
    split_uri,
)
from pipeline.storage.stores import is_taken, storage_of

__all__ = [
    "DEFAULT_OPTIONS",
    "LOCAL",
    "SCHEMES",
    "UPLOADS_NAME",
    "Destination",
    "Location",
    "Storage",
    "StoreOptions",
    "StorePath",
    "Version",
    "draft_path",
    "is_taken",
    "led_to",
    "location",
    "read_json",
    "replacing",
    "split_uri",
    "stands",
    "storage_of",
    "sync_directory",
    "sync_file",
    "sync_path",
]
