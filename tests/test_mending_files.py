"""Mending files: whole or not at all, compressed or not, and the command."""

import errno
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import zstandard
from typer.testing import CliRunner, Result

from validators import writing as writing_module
from validators.mending import mend_file, plan_mending
from validators.parts import Source
from validators.reading import DataError
from workbench.cli.lint import lint as lint_verb

HI = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}'


def reply(**keys: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yo", **keys},
        ]
    }


# -- files: whole or not at all ------------------------------------------------------------------------

DIRTY = b"\n" + json.dumps(reply(weight=1.0)).encode() + b"\n" + HI.replace(b"Hi", b"Ho") + b"\n"
CLEAN = DIRTY[1:].replace(b"1.0", b"1")


def source(path: Path) -> Source:
    return Source(path, str(path))


def test_a_file_is_mended_and_keeps_its_mode(tmp_path: Path) -> None:
    path, link = tmp_path / "a.jsonl", tmp_path / "link.jsonl"
    path.write_bytes(DIRTY)
    path.chmod(0o640)
    link.symlink_to(path)
    assert mend_file(source(link), plan_mending()).fixed == {"FMT006": 1, "MSG016": 1}
    assert path.read_bytes() == CLEAN and path.stat().st_mode & 0o777 == 0o640 and link.is_symlink()
    before = path.stat()
    assert mend_file(source(path), plan_mending()).fixed == {}
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "link.jsonl"]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_compressed_files_stay_compressed(name: str, tmp_path: Path) -> None:
    pack, unpack = (
        (gzip.compress, gzip.decompress)
        if name.endswith("gz")
        else (zstandard.compress, lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data))
    )
    path = tmp_path / name
    path.write_bytes(pack(DIRTY))
    assert mend_file(source(path), plan_mending()).fixed == {"FMT006": 1, "MSG016": 1}
    assert unpack(path.read_bytes()) == CLEAN
    torn = pack(DIRTY)[:-9]
    path.write_bytes(torn)
    with pytest.raises(DataError, match="broken or cut short"):
        mend_file(source(path), plan_mending())
    assert path.read_bytes() == torn and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b"[" + HI + b"]", "JSON array"),
        ("a.csv", b"a,b\n1,2\n", "table"),
        ("a.jsonl", b"PK\x03\x04", "zip"),
        ("a.jsonl", HI.decode().encode("utf-16"), "UTF-16"),
        ("a.jsonl", b'{\n "messages": []\n}\n', "spread over lines"),
    ],
)
def test_what_cannot_be_mended_is_refused_by_name(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in (mend_file(source(tmp_path / name), plan_mending()).refused or "")
    assert (tmp_path / name).read_bytes() == content


def failing(error: int, after: int) -> Any:
    calls = iter(range(after))

    def fail(*arguments: Any) -> Any:
        if next(calls, None) is None:
            raise OSError(error, os.strerror(error))

    return fail


@pytest.mark.parametrize("point", ["write", "fsync", "replace", "gzip"])
def test_a_full_or_broken_disk_leaves_the_original_whole(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("a.jsonl.gz" if point == "gzip" else "a.jsonl")
    data = gzip.compress(DIRTY) if point == "gzip" else DIRTY
    path.write_bytes(data)
    with monkeypatch.context() as patch:
        if point == "write":
            patch.setattr(writing_module.Replacement, "write", failing(errno.ENOSPC, 1))
        elif point == "replace":
            patch.setattr(Path, "replace", failing(errno.EROFS, 0))
        elif point == "fsync":
            patch.setattr(os, "fsync", failing(errno.EIO, 0))
        else:
            patch.setattr(gzip.GzipFile, "close", failing(errno.ENOSPC, 1))
        with pytest.raises(OSError, match=r"No space|Read-only|Input/output"):
            mend_file(source(path), plan_mending())
    assert path.read_bytes() == data and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(DIRTY)
    path.chmod(0o444)
    with pytest.raises(DataError, match=r"read-only\. Make it writable"):
        mend_file(source(path), plan_mending())
    assert path.read_bytes() == DIRTY and len(list(tmp_path.iterdir())) == 1


def test_a_file_that_another_process_changes_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(DIRTY)
    keep = writing_module.Replacement.keep

    def race(self: writing_module.Replacement) -> None:
        path.write_bytes(HI)
        keep(self)

    monkeypatch.setattr(writing_module.Replacement, "keep", race)
    with pytest.raises(DataError, match="another process changed"):
        mend_file(source(path), plan_mending())
    assert path.read_bytes() == HI and len(list(tmp_path.iterdir())) == 1


# -- the command ---------------------------------------------------------------------------------------


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    app = typer.Typer()
    app.command()(lint_verb)
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


@pytest.fixture
def dirty(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "a.jsonl").write_bytes(DIRTY + HI.replace(b"Hi", b"Ho") + b"\n")
    yield tmp_path / "a.jsonl"


def test_fix_mends_and_then_lints_what_is_left(dirty: Path) -> None:
    result = run(dirty, "--fix")
    assert result.exit_code == 0 and result.stderr == "Mended 2 (FMT006 1, MSG016 1).\n"
    assert "DUP001" in result.stdout and "FMT006" not in result.stdout
    result = run(dirty, "--unsafe-fixes", "--format", "json")
    assert json.loads(result.stdout)["findings"] == [] and "Mended 1 (DUP001 1)." in result.stderr
    assert dirty.read_bytes() == CLEAN
    assert run(dirty, "--fix").stderr == "Nothing was mended.\n"


def test_diff_writes_nothing_and_says_by_its_status(dirty: Path) -> None:
    before = dirty.read_bytes()
    result = run(dirty, "--diff")
    assert result.exit_code == 1 and dirty.read_bytes() == before
    assert result.stdout.startswith(f"--- {dirty}\n+++ {dirty}\n@@ -1,4 +1,3 @@\n-\n-")
    run(dirty, "--fix")
    assert (run(dirty, "--diff").exit_code, run(dirty, "--diff").stdout) == (0, "")
    assert run("-", "--diff", stdin=DIRTY).exit_code == 1


def test_rules_that_are_off_mend_nothing(dirty: Path) -> None:
    before = dirty.read_bytes()
    run(dirty, "--fix", "--select", "TOOL")
    run(dirty, "--fix", "--per-file-ignores", "a*:FMT,MSG")
    assert dirty.read_bytes() == before
    assert "standard input has no file" in run("-", "--fix", stdin=DIRTY).stderr
