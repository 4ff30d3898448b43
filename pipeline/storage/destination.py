"""Where an output goes: into one file, or into the part files of a directory with a manifest beside it."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from pipeline.storage.location import Location, StoreOptions, location


class Destination(Struct, frozen=True):
    """The place of an output: a Parquet file, or a directory of such files."""

    path: Location
    is_directory: bool = False

    @classmethod
    def of(cls, text: str, options: StoreOptions, work: Path) -> Destination:
        """Return the place that `output.path` names: a directory if it ends in a slash. See `location`."""
        return cls(location(text.rstrip("/"), options, work), text.endswith("/"))

    def __str__(self) -> str:
        return f"{self.path}/" if self.is_directory else str(self.path)

    @property
    def head(self) -> Location:
        """The file that is put in place last, and so shows that the output is complete: the file itself, or the
        manifest.
        """
        return self._beside(".manifest.json") if self.is_directory else self.path

    @property
    def partial(self) -> Destination:
        """Where a run that stops early writes what it has: one file, always."""
        return Destination(self._beside(".partial.parquet"))

    @property
    def places(self) -> tuple[Destination, Destination]:
        """Both places where a run may write rows."""
        return self, self.partial

    def file(self, name: str) -> Location:
        """Return where a file in the directory is."""
        path = self.path
        return path / name if isinstance(path, Path) else path.with_key(f"{path.key}/{name}")

    def _beside(self, ending: str) -> Location:
        return self.path.with_name(self.path.name.removesuffix(".parquet") + ending)
