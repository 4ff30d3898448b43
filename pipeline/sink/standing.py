"""What stands at an output's place, and who has written it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from pipeline.sink.manifest import PartFile, PartName, read_manifest
from pipeline.sink.metadata import OutputMetadata, read_footer, read_metadata
from pipeline.storage import Destination, Location, is_taken, storage_of


class Part(Struct, frozen=True):
    """A part file that stands in an output's directory."""

    path: Location
    name: PartName
    metadata: OutputMetadata
    rows: int


def is_there(place: Destination) -> bool:
    """Return whether anything stands where the output would go."""
    if not place.is_directory:
        return is_taken(place.path)
    return bool(names_in(place)) or _has_foreign_manifest(place)


def metadata_at(place: Destination) -> OutputMetadata | None:
    """Return what the output at a place records about itself, by the latest part of one in several files; None if
    there is none, or anything else.
    """
    if not place.is_directory:
        return read_metadata(place.path)
    found = {part.path.name: part.metadata for part in parts_in(place)}
    are_of_one = len({(one.job, one.checkpoint_id) for one in found.values()}) == 1
    if not are_of_one or found.keys() != set(names_in(place)) or _has_foreign_manifest(place):
        return None
    return max(found.values(), key=_age)


def is_own(place: Destination, checkpoint_id: str) -> bool:
    """Return whether what is at the place is an output that was written from this checkpoint."""
    return (metadata := metadata_at(place)) is not None and metadata.checkpoint_id == checkpoint_id


def is_foreign(place: Destination, checkpoint_id: str) -> bool:
    """Return whether there is anything else at the place."""
    return is_there(place) and not is_own(place, checkpoint_id)


def is_complete(place: Destination) -> bool:
    """Return whether the output is there as a whole: the file, or a manifest and the parts that it lists, no others. It
    is not where nobody can look.
    """
    try:
        if not place.is_directory:
            return storage_of(place.path).version(place.path) is not None
        manifest = read_manifest(place.head)
        return manifest is not None and _is_all_there(place, manifest.files)
    except OSError:  # below a file, say, or behind a name that is too long
        return False


def files_of(place: Destination) -> list[Location]:
    """Return the files of an output in the order of its rows, as the manifest lists them where there is one."""
    if not place.is_directory:
        return [place.path]
    manifest = read_manifest(place.head)
    return [] if manifest is None else [place.file(one.path) for one in manifest.files]


def shows(place: Destination, state: str, rows: int, rows_per_file: int) -> bool:
    """Return whether the output of this state, with so many rows, is at the place, its parts of this size.

    An output in several files may show it all the same where the answer is no: each part bears the state that there was
    when it was written.
    """
    if not place.is_directory:
        found = read_footer(place.path)
        return found is not None and found.metadata.state == state and found.rows == rows
    manifest = read_manifest(place.head)
    if manifest is None or [one.rows for one in manifest.files] != part_sizes(rows, rows_per_file):
        return False
    if not _is_all_there(place, manifest.files):
        return False
    parts = [part.metadata for part in parts_in(place)]
    latest = max(map(_age, parts), default=None)
    return len(parts) == len(manifest.files) and {one.state for one in parts if _age(one) == latest} == {state}


def part_sizes(rows: int, rows_per_file: int) -> list[int]:
    """Return how many rows each part file has; an output without rows has one part, for its columns."""
    whole, rest = divmod(rows, rows_per_file)
    return [rows_per_file] * whole + ([rest] if rest or not whole else [])


def parts_in(place: Destination) -> Iterator[Part]:
    """Yield the parts that stand in a directory, of whatever job, in the order of their rows, older ones first."""
    named = [(number, name) for name in names_in(place) if (number := PartName.parse(name)) is not None]
    for number, name in sorted(named, key=lambda one: (one[0].number, one[0].revision)):
        if (found := read_footer(place.file(name))) is not None:
            yield Part(place.file(name), number, found.metadata, found.rows)


def names_in(place: Destination) -> list[str]:
    """Return the names in an output's directory, apart from hidden ones, which readers pass over."""
    try:
        return [name for name in storage_of(place.path).names(place.path) if not name.startswith(".")]
    except NotADirectoryError:
        return [place.path.name]  # a file is in its place


def _is_all_there(place: Destination, files: tuple[PartFile, ...]) -> bool:
    sizes = {one.path: one.bytes for one in files}
    storage = storage_of(place.path)
    versions = {name: storage.version(place.file(name)) for name in names_in(place)}
    return {name: version and version.size for name, version in versions.items()} == sizes


def _has_foreign_manifest(place: Destination) -> bool:
    return is_taken(place.head) and read_manifest(place.head) is None


def _age(metadata: OutputMetadata) -> tuple[int, int]:
    return metadata.journal.commits, len(metadata.run_ids)
