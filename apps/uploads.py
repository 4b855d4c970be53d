"""Files that somebody gives to the app: laid out for as long as they are read, in a folder of their own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from apps.exports import file_name

# Megabytes; the form reads a file whole.
MOST_MB = 50
TYPES = ("jsonl", "json", "csv", "tsv", "parquet")


class Upload(Protocol):
    """What `st.file_uploader` returns."""

    name: str
    file_id: str

    def getvalue(self) -> bytes:
        """The file's bytes."""
        ...


def safe_name(upload: Upload) -> str:
    """The file's name as one plain name: what it was called decides about no place."""
    given = PurePosixPath(upload.name.replace("\\", "/"))
    suffix = given.suffix.lower()
    return file_name(given.stem, suffix if suffix[1:] in TYPES else ".jsonl")


@contextlib.contextmanager
def laid_out(upload: Upload) -> Iterator[Path]:
    """The file on disk, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="workbench-upload-") as folder:
        path = Path(folder) / safe_name(upload)
        path.write_bytes(upload.getvalue())
        yield path


def without_folder(text: str, path: Path) -> str:
    """A message about a laid-out file, the folder taken from its name."""
    return text.replace(f"{path.parent}/", "")
