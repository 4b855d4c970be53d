"""The file that goes to the provider: chat rows in its form, linted by its rules, named by their content."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from validators import lint
from validators.examples import Example
from validators.parts import Source
from validators.reading import BOM
from validators.targets import load_target

from .errors import HostedError

_SHOWN = 10
# Minima are for what trains: three rows are enough to watch the loss on.
_OF_TRAINING_ALONE = ("FMT005", "DUP")


@dataclass(frozen=True, slots=True)
class Upload:
    """One split as the provider takes it. `lines` are where its rows stand in the data file."""

    split: str
    target: str
    content: bytes
    lines: tuple[int, ...]

    @property
    def sha256(self) -> str:
        """Hash (hex) of the bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def name(self) -> str:
        """Its name at the provider, by which the same bytes are found there again."""
        return f"{self.split}-{self.sha256[:16]}.jsonl"


def make_upload(examples: Sequence[Example], split: str, target: str) -> Upload:
    """Write conversations as JSON Lines, with the byte-order mark where the target asks for one."""
    rows = [
        {"messages": [m.as_dict() for m in e.messages], **({"tools": list(e.tools)} if e.tools else {})}
        for e in examples
    ]
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    mark = BOM if load_target(target).bom == "required" else b""
    return Upload(
        split, target, mark + text.encode("utf-8", "surrogatepass"), tuple(e.line for e in examples)
    )


def check_upload(upload: Upload, *, source: str, ignore: Sequence[str] = ()) -> None:
    """Lint the very bytes by the target's rules. Raises HostedError naming every row the provider would refuse.

    `source` is the data file that the rows come from, `ignore` rules that the experiment has turned off.
    """
    skipped = () if upload.split == "train" else _OF_TRAINING_ALONE
    with tempfile.TemporaryDirectory() as spool:
        path = Path(spool) / upload.name
        path.write_bytes(upload.content)
        report = lint([Source(path, upload.name)], target=upload.target, ignore=(*ignore, *skipped))
    errors = [f for f in report.findings if f.severity == "error"]
    if not errors:
        return
    title = load_target(upload.target).title
    more = f"\n… and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    told = "\n".join(
        f"{_place(upload, f.line, source)}: {f.code} {f.message}. {f.help}" for f in errors[:_SHOWN]
    )
    raise HostedError(
        f"{title} would refuse the {upload.split} split:\n{told}{more}\n"
        "Nothing was sent. Mend the rows (workbench lint --fix shows how), then run again."
    )


def _place(upload: Upload, line: int | None, source: str) -> str:
    return source if line is None else f"{source}:{upload.lines[line - 1]}"
