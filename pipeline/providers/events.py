"""Server-sent events out of bytes that come in pieces, wherever those are cut.

Source: the HTML standard, 9.2.6, "Interpreting an event stream". Beyond it, an event that the end of the stream leaves
without its blank line counts too: servers close right behind their last event.
"""

from __future__ import annotations

from collections.abc import Iterable

Event = tuple[str, bytes]
"""An event's name, empty if it has none, and its data."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventReader:
    """Reads one stream of events. It takes a time in proportion to the bytes, however small their pieces are."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        """The beginning of a line whose end has not come yet, in pieces."""
        self._ended_in_return = False
        self._is_first = True
        self._name = ""
        self._data: list[bytes] = []

    @property
    def is_between(self) -> bool:
        """Whether an event has ended, and nothing of the next one has come."""
        return not (self._line or self._data or self._name or self._ended_in_return or self._is_first)

    def feed(self, piece: bytes) -> list[Event]:
        """Take in the next bytes, and give the events that they complete."""
        if self._ended_in_return and piece.startswith(b"\n"):  # the second half of one line break
            piece = piece[1:]
            self._ended_in_return = False
        if not piece:
            return []
        self._ended_in_return = piece.endswith(b"\r")
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = piece.split(b"\n")
        if lines and self._line:
            lines[0] = b"".join([*self._line, lines[0]])
            self._line.clear()
        if rest:
            self._line.append(rest)
        return self._take(lines)

    def end(self) -> list[Event]:
        """Give the event that the end of the stream leaves open, if there is one."""
        last = b"".join(self._line)
        self._line.clear()
        return self._take([last, b""])

    def _take(self, lines: Iterable[bytes]) -> list[Event]:
        found: list[Event] = []
        for whole_line in lines:
            line = whole_line
            if self._is_first:
                self._is_first = False
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if not line:
                if self._data:
                    found.append((self._name, b"\n".join(self._data)))
                    self._data = []
                self._name = ""
                continue
            name, _, value = line.partition(b":")  # without a name it is a comment
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            elif name == b"event":
                self._name = value.removeprefix(b" ").decode("utf-8", "replace")
        return found
