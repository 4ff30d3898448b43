from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config.models import CsvConfig, InputConfig
from pipeline.errors import InvalidInput, InvalidJob
from pipeline.sources import Source, notes_of_files, open_source, scan


def write(directory: Path, content: bytes | str, name: str = "x.csv") -> InputConfig:
    path = directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return InputConfig(path=str(path), format="csv")


def rows_of(source: Source) -> list[dict[str, Any]]:
    return [row for batch in source.batches() for row in batch.to_pylist()]


def rows(directory: Path, content: bytes | str) -> list[dict[str, Any]]:
    return rows_of(open_source(write(directory, content)))


def refusal(directory: Path, content: bytes | str, **settings: Any) -> str:
    config = write(directory, content).model_copy(update={"csv": CsvConfig(**settings)})
    with pytest.raises(InvalidInput) as caught:
        rows_of(open_source(config))
    return str(caught.value)


@pytest.mark.parametrize(
    "cell",
    [
        "NA",
        "null",
        "None",
        "nan",
        "",
        "007",
        "1e3",
        "1.50",
        "True",
        " x ",
        "   ",
        "\t",
        "#a",
        '5" pipe',
        "a'b",
        "\\",
        "\\n",
        "\x1a",
        "\x0b\x0c",
        "\x85\u2028",
        "\ufeff",
        "\ufffd",
        "😀",
    ],
)
def test_a_bare_cell_comes_back_as_written(tmp_path: Path, cell: str) -> None:
    assert rows(tmp_path, f"a,b\n{cell},1\n2,{cell}\n") == [{"a": cell, "b": "1"}, {"a": "2", "b": cell}]


@pytest.mark.parametrize(
    "cell", ["a,b", 'say "hi"', '"', "a\nb", "a\r\nb", "a\rb", "\n", "\n\n\n", "\r", " x ", "", "NA"]
)
def test_a_quoted_cell_comes_back_as_written(tmp_path: Path, cell: str) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    assert rows(tmp_path, f"a,b\n{quoted},1\n2,{quoted}") == [{"a": cell, "b": "1"}, {"a": "2", "b": cell}]


def test_every_column_is_text(tmp_path: Path) -> None:
    schema = open_source(write(tmp_path, "n,t\n1,true\n")).schema
    assert schema == pa.schema([("n", pa.string()), ("t", pa.string())])


def test_a_header_without_rows_is_a_valid_input(tmp_path: Path) -> None:
    for content in ("a,b", "a,b\n", "a,b\r\n\r\n"):
        source = open_source(write(tmp_path, content))
        assert source.schema.names == ["a", "b"]
        assert list(source.batches()) == []


@pytest.mark.parametrize("content", ["", "\ufeff"])
def test_a_file_without_a_header_is_refused(tmp_path: Path, content: str) -> None:
    assert "x.csv" in refusal(tmp_path, content)


def test_a_byte_order_mark_is_dropped_once(tmp_path: Path) -> None:
    assert rows(tmp_path, "\ufeffa\n\ufeffx\n") == [{"a": "\ufeffx"}]
    assert rows(tmp_path, '\ufeff"a"\nx\n') == [{"a": "x"}]


def test_windows_line_ends_and_a_missing_last_one_are_read(tmp_path: Path) -> None:
    assert rows(tmp_path, "a,b\r\n1,2\r\n3,4") == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_blank_lines_at_the_end_are_no_rows(tmp_path: Path) -> None:
    assert rows(tmp_path, "a,b\n1,2\n\n\r\n\n") == [{"a": "1", "b": "2"}]


def test_a_quoted_empty_cell_alone_is_a_row(tmp_path: Path) -> None:
    assert rows(tmp_path, 'a\n""\nx\n""') == [{"a": ""}, {"a": "x"}, {"a": ""}]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("a,b\n1,2\n3\n", 3, "1 cell where the header has 2"),
        ("a,b\n1,2,3\n", 2, "3 cells where the header has 2"),
        ("a,b\n1,2,\n", 2, "3 cells"),
        ('a,b\n"1\n2",2\n"3\n4"\n', 4, "1 cell"),
        ("a,b\n1,2\n  \n3,4\n", 3, "1 cell"),
        ("a,b\n1,2\n\n3,4\n", 3, "blank line"),
        ("a,b\n1,2\n\r\n3,4\n", 3, "blank line"),
        ("a\n1\n\n3\n", 3, "blank line"),
        ("a\n1\n\n", 3, "blank line"),
        ("\na,b\n1,2\n", 1, "blank line"),
        ("a,a\n1,2\n", 1, 'the column "a" twice'),
        (",a\n0,1\n", 1, "column 1 of the header has no name"),
        ('""\n1\n', 1, "has no name"),
        ('a,b\n1,2\n"3,4\n5,6\n', 3, "not closed"),
        ('a,b\n1,"2\n', 2, "not closed"),
        ('a,b\n1,2\n"3"x,4\n', 3, "after a closing quote"),
        ('a,b\n"3" ,4\n', 2, "after a closing quote"),
        ("a,b\n1,2\n3,\x004\n", 3, "NUL"),
        ('a,b\n1,"2\n\x00"\n', 3, "NUL"),
        ("a,b\r1,2\r", 1, "carriage return"),
        ("a,b\n1\r2,3\n", 2, "carriage return"),
        ("a,b\n1,2\r", 2, "carriage return"),
        ("a,b\n1,2\n\r", 3, "carriage return"),
        ("a,b\n1,2\n\n\r", 4, "carriage return"),
        ("a,b\n\rx,2\n", 2, "carriage return"),
    ],
)
def test_what_is_no_sound_csv_is_refused_with_its_line(tmp_path: Path, content: str, line: int, words: str) -> None:
    config = write(tmp_path, content)
    with pytest.raises(InvalidJob) as caught:
        rows_of(open_source(config))
    (mistake,) = caught.value.mistakes
    assert (mistake.file, mistake.line, mistake.key) == (config.path, line, "input.path")
    assert words in mistake.message
    assert mistake.suggestion
    assert f"x.csv, line {line}: " in str(caught.value)


def test_a_fault_beyond_the_first_pieces_of_the_file_has_its_line(tmp_path: Path) -> None:
    content = "a,b\n" + 'x,"two\nlines"\n' * 200_000 + "short\n"
    assert f"line {2 + 400_000}: 1 cell" in refusal(tmp_path, content)


def test_bad_bytes_are_refused_with_their_line_and_the_setting_to_fix_it(tmp_path: Path) -> None:
    message = refusal(tmp_path, b"a,b\n" + b"x,y\n" * 500_000 + b"caf\xe9,1\n")
    assert "line 500002: not utf-8" in message
    assert "input.csv.encoding" in message
    assert "line 2" in refusal(tmp_path, b"a,b\nx,\xe2\x82")


def test_another_encoding_and_delimiter_are_read(tmp_path: Path) -> None:
    for encoding in ("latin-1", "utf-16", "utf-8-sig"):
        config = InputConfig(
            path=write(tmp_path, "é;b\nü,1;2\n".encode(encoding)).path, csv=CsvConfig(delimiter=";", encoding=encoding)
        )
        assert rows_of(open_source(config)) == [{"é": "ü,1", "b": "2"}]


@pytest.mark.parametrize("delimiter", ["\t", " ", "|", ";", "1", "\\", "^", "]", "-", "a", "'"])
def test_any_ascii_delimiter_is_taken_as_it_is(tmp_path: Path, delimiter: str) -> None:
    content = delimiter.join("xy") + "\n" + delimiter + "\n" + delimiter.join(["7", f'"{delimiter}"']) + "\n"
    config = InputConfig(path=write(tmp_path, content).path, csv=CsvConfig(delimiter=delimiter))
    assert rows_of(open_source(config)) == [{"x": "", "y": ""}, {"x": "7", "y": delimiter}]


def test_a_delimiter_beyond_ascii_is_refused(tmp_path: Path) -> None:
    assert "input.csv.delimiter" in refusal(tmp_path, "a\n1\n", delimiter="é")


def test_cells_of_ten_megabytes_are_read(tmp_path: Path) -> None:
    long = 'x"\n,' * 2_500_000
    quoted = '"' + long.replace('"', '""') + '"'
    source = open_source(write(tmp_path, f"a,b\n{quoted},1\n2,{quoted}\n3,4\n"))
    assert [row["a"] == long or row["b"] == long for row in rows_of(source)] == [True, True, False]


def test_a_quote_that_swallows_the_file_is_refused_before_memory_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "ROW_CHARACTERS", 2**20)
    content = 'a,b\n1,"2\n' + "1,2\n" * 2**20
    assert "line 2: the row is longer than 1 Mi characters; is a closing quote missing?" in refusal(tmp_path, content)


def test_batches_are_bounded_in_rows_and_bytes(tmp_path: Path) -> None:
    many = list(open_source(write(tmp_path, "a,b\n" + "1,2\n" * 10_000)).batches())
    assert max(batch.num_rows for batch in many) == 4096
    assert sum(batch.num_rows for batch in many) == 10_000
    wide = list(open_source(write(tmp_path, "a,b\n" + f"1,{'é' * 50_000}\n" * 500)).batches())
    assert max(batch.nbytes for batch in wide) <= 16 * 2**20
    assert sum(batch.num_rows for batch in wide) == 500


def test_the_number_of_rows_does_not_show_in_memory(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        config = write(tmp_path, "a,b\n" + "some text,some more text\n" * count)
        tracemalloc.start()
        pool_peak = 0
        for _ in open_source(config).batches():
            pool_peak = max(pool_peak, pa.total_allocated_bytes())
        _, python_peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return python_peak + pool_peak

    peak(1_000)  # imports
    assert peak(120_000) < peak(50_000) * 1.2


def test_reading_begins_at_any_row(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, "a\n" + "".join(f"{number}\n" for number in range(9_000))))
    for start in (0, 1, 4095, 4096, 4097, 8999, 9000, 10_000):
        values = [value for batch in source.batches(start) for value in batch.column(0).to_pylist()]
        assert values == [str(number) for number in range(start, 9_000)]


def test_a_place_is_the_line_on_which_the_row_begins(tmp_path: Path) -> None:
    config = write(tmp_path, 'a,b\n1,"x\ny"\n2,z\n' + "3,4\n" * 5_000)
    source = open_source(config)
    assert str(source.place(0)) == f"{config.path}, line 2"
    assert str(source.place(1)) == f"{config.path}, line 4"
    assert str(source.place(5_001)) == f"{config.path}, line 5004"
    with pytest.raises(IndexError):
        source.place(5_002)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_reading_goes_on_at_a_mark(tmp_path: Path, bom: bytes) -> None:
    """So that a file that is long done with is not scanned up to its end."""
    rows = [f'{number},"é\n{number}"\r\n' for number in range(10_000)]
    path = tmp_path / "in.csv"
    path.write_bytes(bom + ("id,text\r\n" + "".join(rows)).encode())
    source = open_source(InputConfig(path=str(path)))
    (notes,) = notes_of_files(source)
    whole = pa.Table.from_batches(source.batches())
    assert (notes.rows, len(notes.marks)) == (10_000, 3)
    for start in (0, 1, 4095, 4096, 4097, 9_999):
        assert pa.Table.from_batches(source.batches(start)) == whole.slice(start)
        assert str(source.place(start)).endswith(f"line {2 * start + 2}")
    path.write_bytes(path.read_bytes().replace(b'9999"\r\n', b'9999"x\r\n'))
    again = open_source(InputConfig(path=str(path)))
    notes_of_files(again)[0].marks = notes.marks
    with pytest.raises(InvalidInput, match="line 20001: text after a closing quote"):
        list(again.batches(9_000))
