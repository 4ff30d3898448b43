"""A strict scan of CSV text: it cuts it into blocks of complete rows, and refuses what is not CSV, with its line.

The grammar is that of RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180), with any delimiter of one character, rows that
end in `\\n` or `\\r\\n`, and quotes allowed within a cell that does not begin with one: a cell either begins with no
quote and holds no delimiter and no line break, or is in quotes, with each quote inside doubled. Readers of CSV
agree on text of this form. On anything else (text after a closing quote, a carriage return alone, NUL, a short row,
a blank line) each repairs it in its own way, so it is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from pipeline.errors import InvalidJob
from pipeline.sources.chunks import BATCH_BYTES, BATCH_ROWS
from pipeline.sources.places import Place

BLOCK_CHARACTERS = BATCH_BYTES // 4  # a character takes at most four bytes
ROW_CHARACTERS = 64 * 2**20

_BLANK_LINES = re.compile(r"(?:\r?\n)++")

_DOUBLED = "a quote within a quoted cell is written twice"
_LINE_ENDS = "rows end in a line feed, or in carriage return and line feed"


class Block(Struct, frozen=True):
    """Complete rows, each with its line break: their text, how many, and the number of the first one's line."""

    text: str
    rows: int
    line: int


class _Fault(Exception):
    """What is wrong, at which index of the text, and what to do about it."""

    def __init__(self, message: str, at: int, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.at = at
        self.suggestion = suggestion


class _Unfinished(_Fault):
    """The text ends before the row does: wrong only where no more text follows."""


class Grammar:
    """The patterns of one delimiter."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self._cell_start = re.compile("|".join(self._cells("\\0")))

    def _cells(self, refused: str) -> tuple[str, str]:
        """Return the patterns of a cell in quotes, without the last one, and of one without quotes."""
        # Possessive (`*+`): the grammar never has to step back, and a long cell must not cost a stack.
        quoted = rf'"[^"{refused}]*+(?:""[^"{refused}]*+)*+'
        inside = rf"{re.escape(self._delimiter)}\r\n{refused}"
        return quoted, rf'(?:[^"{inside}][^{inside}]*+)?+'

    def row(self, cells: int, *, may_hold_nul: bool = True) -> re.Pattern[str]:
        """Return the pattern of one valid row of so many cells, with its line break; never of a blank line.

        Text that is known to hold no NUL is matched three times as fast: then one character alone ends a quoted cell.
        """
        quoted, bare = self._cells("\\0" if may_hold_nul else "")
        cell = rf'(?:{quoted}"|{bare})'
        return re.compile(rf"(?!\r?\n)(?:{cell}{re.escape(self._delimiter)}){{{cells - 1}}}{cell}\r?\n")

    def split(self, text: str) -> tuple[list[str], int]:
        """Return the cells of the row that `text` begins with, and the index at which it ends. Raises _Fault."""
        cells: list[str] = []
        at = 0
        while True:
            match = self._cell_start.match(text, at)
            end = match.end() if match else at
            quoted = text.startswith('"', at)
            if not quoted:
                cells.append(text[at:end])
            elif text.startswith('"', end):
                cells.append(text[at + 1 : end].replace('""', '"'))
                end += 1
            elif end == len(text):
                raise _Unfinished("a quote that is not closed before the end of the file", at, _DOUBLED)
            following = text[end : end + 2]
            if following[:1] == self._delimiter:
                at = end + 1
            elif following[:1] == "\n":
                return cells, end + 1
            elif following == "\r\n":
                return cells, end + 2
            elif following == "":
                raise _Unfinished("the file ends where the names of the columns should be", end)
            elif following[0] == "\0":
                raise _Fault("a NUL character", end, "the file is damaged, or has another `input.csv.encoding`")
            elif following[0] == "\r":
                fault = _Unfinished if following == "\r" else _Fault
                raise fault("a carriage return alone", end, _LINE_ENDS)
            else:
                raise _Fault("text after a closing quote", end, _DOUBLED)


class Scan:
    """One pass over the decoded text of one file: first `header`, then `blocks`; or, from a later `line` on, `blocks`
    alone.
    """

    def __init__(self, path: str, delimiter: str, texts: Iterator[str], line: int = 1) -> None:
        self._path = path
        self._grammar = Grammar(delimiter)
        self._texts = texts
        self._buffer = ""
        self._line = line
        self.header_bytes = 0
        """How long the header is in UTF-8, with its line break."""
        self._ended = False

    def header(self) -> list[str]:
        """Return the names of the columns. Raises InvalidJob if one is empty or a duplicate, or the row is invalid."""
        while (row := self._split()) is None:
            pass
        names, end = row
        if self._buffer[0] in "\r\n":
            message = "a blank line where the names of the columns should be"
            raise self._refusal(message, suggestion="take it out")
        seen: set[str] = set()
        for number, name in enumerate(names, start=1):
            if not name:
                raise self._refusal(
                    f"column {number} of the header has no name",
                    suggestion="give it one; an index written by pandas is left out with index=False",
                )
            if name in seen:
                message = f'the header names the column "{name}" twice'
                raise self._refusal(message, suggestion="rename one of the two")
            seen.add(name)
        self.header_bytes = len(self._buffer[:end].encode())
        self._consume(end)
        return names

    def blocks(self, cells: int) -> Iterator[Block]:
        """Yield all further rows, each of so many cells. Blank lines at the end of the file are not rows.

        A block has at most 4,096 rows and 4 Mi characters, unless a single row is longer. Raises InvalidJob at the
        first error, once the rows before it have been yielded.
        """
        strict, fast = self._grammar.row(cells), self._grammar.row(cells, may_hold_nul=False)
        while self._buffer or not self._ended:
            row = strict if "\0" in self._buffer else fast
            rows = at = 0
            while rows < BATCH_ROWS and (match := row.match(self._buffer, at)) is not None:
                if rows and match.end() > BLOCK_CHARACTERS:
                    break
                at = match.end()
                rows += 1
            if rows:
                block = Block(self._buffer[:at], rows, self._line)
                self._consume(at)
                yield block
            elif _BLANK_LINES.match(self._buffer):
                self._pass_blank_lines(cells)
            elif (split := self._split()) is not None:
                found = len(split[0])
                raise self._refusal(
                    f"{found} cell{'s' if found > 1 else ''} where the header has {cells}",
                    suggestion="put a cell that holds the delimiter or a line break in quotes",
                )

    def _pass_blank_lines(self, cells: int) -> None:
        """Read on over blank lines, and drop them if nothing else follows."""
        match = _BLANK_LINES.match(self._buffer)
        end = match.end() if match else 0
        rest = self._buffer[end:]
        if cells == 1:
            message = "a blank line, which may mean an empty cell or nothing"
            raise self._refusal(message, suggestion='write an empty cell as "", or take the line out')
        if rest not in ("", "\r"):
            raise self._refusal("a blank line between the rows", suggestion="take it out")
        if not self._ended:
            self._read_on()
        elif rest:
            raise self._refusal("a carriage return alone", end, _LINE_ENDS)
        else:
            self._consume(end)

    def _split(self) -> tuple[list[str], int] | None:
        """Return the first row of the buffer; None if more had to be read first."""
        try:
            return self._grammar.split(self._buffer)
        except _Unfinished as fault:
            if self._ended:
                raise self._refusal(str(fault), fault.at, fault.suggestion) from fault
            self._read_on()
            return None
        except _Fault as fault:
            raise self._refusal(str(fault), fault.at, fault.suggestion) from fault

    def _read_on(self) -> None:
        """Add at least as much text as there is, so that a long cell is not scanned once for each piece."""
        if len(self._buffer) > ROW_CHARACTERS:
            limit = ROW_CHARACTERS // 2**20
            raise self._refusal(f"the row is longer than {limit} Mi characters; is a closing quote missing?")
        parts = [self._buffer]
        wanted = max(1, len(self._buffer))
        while wanted > 0 and not self._ended:
            text = next(self._texts, None)
            if text is None:
                self._ended = True
            else:
                parts.append(text)
                wanted -= len(text)
        self._buffer = "".join(parts)
        if self._ended and self._buffer and not self._buffer.endswith(("\n", "\r")):
            self._buffer += "\n"  # the last row may lack its line break

    def _consume(self, end: int) -> None:
        self._line += self._buffer.count("\n", 0, end)
        self._buffer = self._buffer[end:]

    def _refusal(self, message: str, at: int = 0, suggestion: str | None = None) -> InvalidJob:
        line = self._line + self._buffer.count("\n", 0, at)
        return Place(self._path, line).error(message, suggestion)
