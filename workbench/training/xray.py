"""The first batch as the model sees it: template applied, which text trains, where rows border on each other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from validators.findings import printable
from validators.tokens import HuggingFaceTokenizer

from .job import Job
from .packing import Row
from .rows import IGNORED

FirstBatch = Callable[[Mapping[str, Any]], None]

# Signs that survive a terminal without colours, and a log file.
TRAINED = ("⟦", "⟧")
_GREEN, _PLAIN = "\x1b[32m", "\x1b[0m"


def x_ray(
    sequences: Sequence[Sequence[Row]], job: Job, tokenizer: HuggingFaceTokenizer, batching: str
) -> dict[str, Any]:
    """first-batch.json: sequences of rows of pieces; a piece is neighbouring tokens that all train, or all do not."""
    place = {id(row): index for index, row in enumerate(job.rows)}
    seen = [[(row, job.sources[place[id(row)]]) for row in rows if id(row) in place] for rows in sequences]
    return {
        "tokenizer": tokenizer.name,
        "batching": batching,
        "sequences": [
            {"rows": [_row(row, source, tokenizer) for row, source in rows]} for rows in seen if rows
        ],
    }


def _row(row: Row, source: tuple[str, int], tokenizer: HuggingFaceTokenizer) -> dict[str, Any]:
    mask = [label != IGNORED for label in row["labels"]]
    return {
        "id": source[0],
        "line": source[1],
        "tokens": len(mask),
        "trained": sum(mask),
        "pieces": list(_pieces(row["input_ids"], mask, tokenizer)),
    }


def _pieces(
    ids: Sequence[int], mask: Sequence[bool], tokenizer: HuggingFaceTokenizer
) -> Iterator[dict[str, Any]]:
    begin = 0
    for trained, run in itertools.groupby(mask):
        end = begin + len(list(run))
        # A character may straddle the border: each piece is what its own tokens say.
        yield {"text": tokenizer.tokenizer.decode(list(ids[begin:end])), "trained": trained}
        begin = end


def x_ray_text(batch: Mapping[str, Any], *, colour: bool) -> str:
    """The batch for people: trained text between ⟦ and ⟧, green where there is colour; sequences and rows under headings."""
    sequences = batch["sequences"]
    rows = [row for sequence in sequences for row in sequence["rows"]]
    trained, tokens = (sum(row[key] for row in rows) for key in ("trained", "tokens"))
    green, plain = (_GREEN, _PLAIN) if colour else ("", "")
    told = [
        f"first batch: {len(rows)} rows, {tokens:,} tokens, {trained:,} of them trained ({batch['batching']}); "
        f"{green}{TRAINED[0]}this{TRAINED[1]}{plain} trains"
    ]
    for number, sequence in enumerate(sequences, 1):
        if len(sequences) < len(rows):
            told.append(f"══ sequence {number}: {len(sequence['rows'])} rows, none of which sees another")
        for row in sequence["rows"]:
            told.append(f"── line {row['line']}: {row['tokens']:,} tokens, {row['trained']:,} trained")
            text = "".join(
                f"{green}{TRAINED[0]}{_shown(p['text'])}{TRAINED[1]}{plain}"
                if p["trained"]
                else _shown(p["text"])
                for p in row["pieces"]
            )
            told.append(text.rstrip("\n"))
    return "\n".join(told)


def _shown(text: str) -> str:
    """Text of the data: it must neither steer the terminal nor look like a border or a mark of ours."""
    signs = str.maketrans(dict.fromkeys("".join(TRAINED), "□"))
    lines = text.translate(signs).split("\n")
    return "\n".join(printable(line) for line in lines)
