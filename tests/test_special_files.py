"""Files that are no files, lead elsewhere or unpack to too much: refused with a cause, never followed or waited for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from validators import lint
from validators.parquet_size import parquet_size
from validators.reading import DataError, read_rows
from workbench.cli import program

polars = pytest.importorskip("polars")
MENDABLE = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo", "weight": 1.0}]}\n'


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(program, [str(word) for word in words])
    return done.exit_code, done.output + str(done.exception or "")


# -- no files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/full"])
def test_a_device_is_not_read(device: str) -> None:
    if not Path(device).exists():
        pytest.skip("no such device here")
    for words in (("lint", device), ("show", device, "--line", "1", "--tokenizer", "o200k_base")):
        code, said = run(*words)
        assert code == 2 and f"{device}: this is a device or a socket; name a data file" in said
    with pytest.raises(DataError, match="device"):
        list(read_rows(device))


def test_a_device_as_standard_input_is_not_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from workbench.cli.lint import source_of

    with Path("/dev/zero").open("rb") as zero, Path(os.devnull).open("rb") as empty:
        for stream, endless in ((zero, True), (empty, False)):
            monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": stream}))
            if endless:
                with pytest.raises(ValueError, match="which may have no end"):
                    source_of("-", tmp_path)
            else:
                source_of("-", tmp_path)


def test_a_pipe_is_refused_where_it_would_be_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe, which can be read but once"):
        list(read_rows(tmp_path / "pipe"))


# -- links -------------------------------------------------------------------------------------------------------


def test_links_out_of_a_folder_are_read_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    outside, inside = tmp_path / "outside.jsonl", tmp_path / "data/inside.jsonl"
    outside.write_text(MENDABLE)
    inside.write_text(MENDABLE.replace("Hi", "Ho"))
    (tmp_path / "data/link.jsonl").symlink_to(outside)
    (tmp_path / "data/again.jsonl").symlink_to(inside)
    code, said = run("lint", tmp_path / "data", "--fix", "--select", "MSG016")
    assert code == 1 and "it is a link to a file outside the folder. Name that file to mend it." in said
    assert outside.read_text() == MENDABLE and '"weight": 1}' in inside.read_text()
    assert (tmp_path / "data/again.jsonl").is_symlink()
    # The link itself, named, is what was asked for.
    assert run("lint", tmp_path / "data/link.jsonl", "--fix", "--select", "MSG016")[0] == 0
    assert '"weight": 1}' in outside.read_text()


def test_a_redacted_copy_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(MENDABLE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    code, said = run("lint", tmp_path / "a.jsonl", "--redact", tmp_path / "out")
    assert code == 2 and "this is a link" in said and not (tmp_path / "elsewhere.jsonl").exists()


# -- tables ------------------------------------------------------------------------------------------------------


def test_what_a_parquet_file_unpacks_to_is_known_before(tmp_path: Path) -> None:
    questions = [f"How {i}?" * 20 for i in range(3000)]
    rows = {
        "q": questions,
        "m": [[{"role": "user"}]] * 3000,
        "n": [None] * 3000,
    }
    path = tmp_path / "a.parquet"
    for options in ({}, {"compression": "uncompressed"}, {"row_group_size": 500}, {"statistics": "full"}):
        polars.DataFrame(rows).write_parquet(path, **options)
        size = parquet_size(path)
        texts = sum(map(len, questions))
        assert size.rows == 3000 and texts < size.unpacked < 3 * texts
        assert len(list(read_rows(path))) == 3000


def test_parquet_files_that_unpack_to_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    polars.DataFrame({"text": ["x" * 1_000_000] * 60}).write_parquet(path, compression="zstd")
    monkeypatch.setattr("validators.tables.MAX_ROW_BYTES", 10_000)
    with pytest.raises(DataError, match=r"a\.parquet:1: the row is too long\. It has 1,000,000 bytes"):
        list(read_rows(path))
    for bound in ("MOST_HELD", "MOST_WRITTEN_OUT"):
        with monkeypatch.context() as bounded:
            bounded.setattr(f"validators.parquet_size.{bound}", 500_000)
            with pytest.raises(DataError, match=r"bytes of it unpack to [\d,]+ or more"):
                list(read_rows(path))
    monkeypatch.setattr("validators.parquet_size.MOST_ROWS", 50)
    monkeypatch.setattr("validators.parquet_size.MOST_ROWS_A_BYTE", 0)
    report = lint(path)
    assert [f.code for f in report.findings] == ["FMT007"]
    assert "it says that it has 60 rows in" in report.findings[0].message


def test_a_panic_of_the_reader_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    polars.DataFrame({"a": [1]}).write_parquet(path)

    def panics(*_: object) -> object:
        raise polars.exceptions.PanicException("index out of bounds")

    monkeypatch.setattr("polars.scan_parquet", panics)
    with pytest.raises(DataError, match="not a Parquet file that can be read: index out of bounds"):
        list(read_rows(path))


@pytest.mark.parametrize("cut", [4, 11, 40])
def test_parquet_files_cut_short_or_with_a_broken_footer(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    polars.DataFrame({"text": ["a", "b"]}).write_parquet(path)
    whole = path.read_bytes()
    for broken in (whole[:-cut], whole[: -cut - 8] + b"\x19" * cut + whole[-8:]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="not a Parquet file that can be read"):
            list(read_rows(path))
    assert json.dumps(lint(path).as_dict())
