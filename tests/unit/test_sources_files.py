from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.models import InputConfig
from pipeline.errors import InvalidInput
from pipeline.sources import fingerprint, open_source


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, value: str = "1") -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(f"a\n{value}\n")


def values(path: str | tuple[str, ...], **settings: Any) -> list[str]:
    source = open_source(InputConfig(path=path, **settings))
    return [value for batch in source.batches() for value in batch.column(0).to_pylist()]


def refusal(path: str | tuple[str, ...], **settings: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        values(path, **settings)
    return str(caught.value)


def test_several_files_are_read_in_order_of_name(here: Path) -> None:
    for name in ("c", "a", "b"):
        write(f"data/{name}.csv", name)
    write("data/deep/down/d.csv", "d")
    write("data/.hidden.csv", "hidden")
    write("data/notes.txt", "note")
    assert values(("data/c.csv", "data/a.csv")) == ["a", "c"]
    assert values("data/*.csv") == ["a", "b", "c"]
    assert values("data/**/*.csv") == ["a", "b", "c", "d"]
    assert values("data") == ["a", "b", "c"]
    assert values(("data/b.csv", "data/deep/**")) == ["b", "d"]
    assert [file.path for file in open_source(InputConfig(path="data")).files] == [f"data/{n}.csv" for n in "abc"]


def test_a_name_with_glob_characters_is_a_file_where_it_exists(here: Path) -> None:
    write("x[1].csv", "bracket")
    write("x1.csv", "plain")
    assert values("x[1].csv") == ["bracket"]


def test_the_format_is_the_endings_or_the_one_given(here: Path) -> None:
    write("x.txt")
    write("X.CSV", "2")
    assert "its extension says no format" in refusal("x.txt")
    assert values("x.txt", format="csv") == ["1"]
    assert values("X.CSV") == ["2"]
    Path("y.jsonl").write_text('{"a": "3"}\n')
    assert "several formats (csv, jsonl)" in refusal(".")
    assert values(".", format="jsonl") == ["3"]


@pytest.mark.parametrize("codec", ["gz", "zst"])
@pytest.mark.parametrize(("ending", "row"), [("csv", b'"x","y"\n'), ("jsonl", b'{"a": "x", "b": "y"}\n')])
def test_packed_files_are_read_and_damaged_ones_refused_by_name(
    here: Path, codec: str, ending: str, row: bytes
) -> None:
    content = (b"a,b\n" if ending == "csv" else b"") + row * 10
    name = f"x.{ending}.{codec}"
    with pa.CompressedOutputStream(name, {"gz": "gzip", "zst": "zstd"}[codec]) as stream:
        stream.write(content)
    whole = Path(name).read_bytes()
    assert values(name) == ["x"] * 10
    Path(name).write_bytes(whole + (gzip.compress(row) if codec == "gz" else b""))
    assert len(values(name)) == 10 + (codec == "gz")  # members laid end to end are one file
    flipped = whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:]  # gzip's checksum; Arrow writes none for zstd
    for damaged in (whole[:-6], whole[:3], whole + b"more", content, *([flipped] if codec == "gz" else [])):
        Path(name).write_bytes(damaged)
        assert name in refusal(name)
        assert "unpacked" in refusal(name)
    with pa.CompressedOutputStream(name, {"gz": "gzip", "zst": "zstd"}[codec]):
        pass
    assert "holds no bytes at all" in refusal(name)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("missing.csv", "no such file: missing.csv"),
        ("*.csv", "no file matches *.csv"),
        ("empty", "the directory empty holds no file"),
        ("zero.parquet", "zero.parquet holds no bytes at all"),
        ("pipe.csv", "not a regular file"),
        (("x.txt", "./x.txt"), "the same file comes up twice"),
        (("x.txt", "link.txt"), "the same file comes up twice"),
        (("x.txt", "x.*"), "the same file comes up twice"),
        ("dangling.csv", "no such file"),
    ],
)
def test_what_cannot_be_an_input_is_refused_by_name(here: Path, path: str | tuple[str, ...], words: str) -> None:
    Path("empty").mkdir()
    Path("zero.parquet").touch()
    write("x.txt")
    os.mkfifo("pipe.csv")
    os.symlink("x.txt", "link.txt")
    os.symlink("nowhere", "dangling.csv")
    if path == "*.csv":
        Path("pipe.csv").unlink()
        Path("dangling.csv").unlink()
    assert words in refusal(path, format=None if "zero" in path else "csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused_by_name(here: Path) -> None:
    for name in ("x.csv", "x.parquet", "x.jsonl"):
        write(name)
        os.chmod(name, 0)
        assert f"{name} cannot be read" in refusal(name)


def test_missing_columns_are_named_together_with_the_near_ones(here: Path) -> None:
    Path("x.csv").write_text("problem_id,Topic,question\n1,2,3\n")
    message = refusal("x.csv", id="problemid", columns=("topic", "zzz", "question"))
    assert 'input.id: the input has no column "problemid" (did you mean `problem_id`?)' in message
    assert 'input.columns[0]: the input has no column "topic" (did you mean `Topic`?)' in message
    assert 'input.columns[1]: the input has no column "zzz" (it has problem_id, Topic, question)' in message


def test_an_id_is_text_or_an_integer(here: Path) -> None:
    pq.write_table(
        pa.table(
            {"text": ["x"], "number": [1], "short": pa.array(["x"]).dictionary_encode(), "half": [0.5], "yes": [True]}
        ),
        "x.parquet",
    )
    for name in ("text", "number", "short"):
        open_source(InputConfig(path="x.parquet", id=name))
    for name, kind in (("half", "double"), ("yes", "bool")):
        assert f'input.id: column "{name}" is {kind}; an id must be text or an integer' in refusal("x.parquet", id=name)


def test_csv_files_with_other_columns_are_refused_and_with_another_order_read(here: Path) -> None:
    Path("1.csv").write_text("a,b\n1,2\n")
    Path("2.csv").write_text("b,a\n4,3\n")
    source = open_source(InputConfig(path="*.csv"))
    assert [row for batch in source.batches() for row in batch.to_pylist()] == [
        {"a": "1", "b": "2"},
        {"a": "3", "b": "4"},
    ]
    Path("2.csv").write_text("a,c\n1,2\n")
    assert '2.csv: its columns differ from those of 1.csv: no column "b"; a further column "c"' in refusal("*.csv")


def test_reading_and_places_go_on_over_files(here: Path) -> None:
    for name in "abc":
        Path(f"{name}.csv").write_text("v\n" + "".join(f"{name}{number}\n" for number in range(3)))
    source = open_source(InputConfig(path="*.csv"))
    everything = [f"{name}{number}" for name in "abc" for number in range(3)]
    for start in range(11):
        assert [v for batch in source.batches(start) for v in batch.column(0).to_pylist()] == everything[start:]
    assert str(source.place(3)) == "b.csv, line 2"
    assert str(source.place(8)) == "c.csv, line 4"


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("change", ["grown", "touched", "replaced", "gone"])
def test_a_file_that_changes_while_it_is_read_is_refused(here: Path, ending: str, change: str) -> None:
    texts = {"csv": "a\n" + "1\n" * 5_000, "jsonl": '{"a": "1"}\n' * 5_000}
    name = f"x.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table({"a": ["1"] * 5_000}), name)
    else:
        Path(name).write_text(texts[ending])
    batches = open_source(InputConfig(path=name)).batches()
    next(batches)
    facts, content = os.stat(name), Path(name).read_bytes()
    if change == "grown":
        with open(name, "ab") as file:
            file.write(b"\n")
        os.utime(name, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    elif change == "touched":
        os.utime(name, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1_000_000))
    elif change == "replaced":
        Path("other").write_bytes(content)
        os.utime("other", ns=(facts.st_atime_ns, facts.st_mtime_ns))
        os.replace("other", name)
    else:
        os.remove(name)
    with pytest.raises(InvalidInput, match="while it was read"):
        list(batches)


def test_a_change_is_given_as_the_cause_of_the_fault_that_it_brings(here: Path) -> None:
    write("x.csv")
    source = open_source(InputConfig(path="x.csv"))
    Path("x.csv").write_text("a,b\n")
    with pytest.raises(InvalidInput, match="changed while it was read"):
        list(source.batches())


def test_the_first_file_is_looked_at_again_when_the_last_is_read(here: Path) -> None:
    write("1.csv")
    write("2.csv")
    batches = open_source(InputConfig(path="*.csv")).batches()
    next(batches), next(batches)
    write("1.csv", "changed")
    with pytest.raises(InvalidInput, match=r"1\.csv changed"):
        list(batches)


def test_the_fingerprint_changes_with_the_files_and_only_then(here: Path) -> None:
    write("x.csv")
    before = fingerprint(open_source(InputConfig(path="x.csv")))
    assert fingerprint(open_source(InputConfig(path="x.csv"))) == before
    os.rename("x.csv", "y.csv")
    renamed = fingerprint(open_source(InputConfig(path="y.csv")))
    os.utime("y.csv", ns=(0, 0))
    touched = fingerprint(open_source(InputConfig(path="y.csv")))
    assert len({before, renamed, touched}) == 3
