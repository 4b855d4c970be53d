r"""FMT: the file and its JSON.

Every rule is one function whose docstring is its page: a first sentence (what), `Why:`, `Bad:` and
`Good:`. An example is one row a line; `<0xFF>` stands for a byte; `With:` names options of the lint.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from ..findings import Fault, quoted
from ..json_scanner import ScanFault, join_path
from ..targets import Target
from .subjects import FORMATS, Collection, Line

SAVE_AS_UTF8 = "Save the file as UTF-8; for one converted file: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT."


def not_utf8(line: Line, target: Target) -> Iterator[Fault]:
    """The line holds bytes that are not UTF-8.

    Why: every target reads UTF-8; other bytes end the upload or turn into replacement characters.
    Bad:
        {"messages": [{"role": "user", "content": "Basil at 22 <0xB0>C?"}, {"role": "assistant", "content": "Fine."}]}
    Good:
        {"messages": [{"role": "user", "content": "Basil at 22 °C?"}, {"role": "assistant", "content": "Fine."}]}
    """
    for fault in line.scanned("not-utf8"):
        yield _from_scan(fault, f"{fault.message} (byte {fault.offset} of the line)", SAVE_AS_UTF8)


def bom_mismatch(data: Collection, target: Target) -> Iterator[Fault]:
    """The file begins with a byte-order mark where the target fails on it, or lacks one it asks for.

    Why: a parser that does not expect the mark takes it for part of the first row and refuses it.
    With: target=together
    Bad:
        <0xEF><0xBB><0xBF>{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    for file in data.files:
        if file.size == 0 or target.bom is None:
            continue
        if target.bom == "required" and not file.bom:
            cure = f"Save the file as UTF-8 with BOM, as {target.title}'s documentation asks."
            yield Fault(f"there is no byte-order mark, and {target.title} asks for one", cure, path=file.path)
        if target.bom == "refused" and file.bom:
            cure = "Save the file as UTF-8 without BOM."
            yield Fault(
                f"a byte-order mark begins the file, and {target.title} fails on it",
                cure,
                path=file.path,
                line=1,
            )


def wrong_extension(data: Collection, target: Target) -> Iterator[Fault]:
    """The file's name does not end as the target asks.

    Why: upload forms and clients go by the extension and refuse the file before reading it.
    With: target=together
    With: file=train.json
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    Good (file=train.jsonl):
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    for file in data.files:
        if target.extension and file.suffix is not None and file.suffix != target.extension:
            found = f"'{file.suffix}'" if file.suffix else "no extension"
            cure = f"Rename it to end in {target.extension} (CSV, Parquet and JSON arrays: convert it first)."
            yield Fault(
                f"{target.title} takes {target.extension} files, this has {found}", cure, path=file.path
            )


def file_too_large(data: Collection, target: Target) -> Iterator[Fault]:
    """The file has more bytes than the target takes.

    Why: the upload fails, often only after the whole file went over the wire.
    With: max_bytes=120
    Bad:
        {"messages": [{"role": "user", "content": "How often is the tank cleaned?"}, {"role": "assistant", "content": "Once a month."}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    for file in data.files:
        if target.max_bytes is not None and file.size is not None and file.size > target.max_bytes:
            message = f"{file.size:,} bytes, and {target.title} takes at most {target.max_bytes:,}"
            yield Fault(
                message, "Split it into several files, or drop rows that teach nothing new.", path=file.path
            )


def too_few_examples(data: Collection, target: Target) -> Iterator[Fault]:
    """The file has fewer rows than the target's minimum; an empty file is too few for every target.

    Why: the job is refused, and a handful of rows would not have changed the model anyway.
    With: target=fireworks
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
        {"messages": [{"role": "user", "content": "Is mint thirsty?"}, {"role": "assistant", "content": "Very."}]}
        {"messages": [{"role": "user", "content": "Is dill?"}, {"role": "assistant", "content": "Less so."}]}
    """
    for file in data.files:
        if file.rows == 0:
            yield Fault("the file has no rows", "Check that this is the file you meant.", path=file.path)
        elif file.rows < target.min_examples:
            message = f"{file.rows} rows, and {target.title} takes at least {target.min_examples}"
            cure = f"Write at least {target.min_examples - file.rows} more; repeating rows does not help."
            yield Fault(message, cure, path=file.path)


def blank_line(line: Line, target: Target) -> Iterator[Fault]:
    """A line is empty or holds white space only.

    Why: some readers skip it, others stop there, and line numbers stop matching row numbers.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}

        {"messages": [{"role": "user", "content": "Is mint thirsty?"}, {"role": "assistant", "content": "Very."}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
        {"messages": [{"role": "user", "content": "Is mint thirsty?"}, {"role": "assistant", "content": "Very."}]}
    """
    if line.raw is not None and not line.raw.strip(b" \t\r"):
        yield Fault("the line is blank", "Delete it.", offset=0)


def invalid_json(line: Line, target: Target) -> Iterator[Fault]:
    """The line is not one strict JSON value (RFC 8259).

    Why: one such line ends most uploads, usually without its number.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"},]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    for fault in line.scanned("invalid"):
        yield _from_scan(
            fault, f"not JSON: {fault.message}", "Write each row with a JSON library, one row a line."
        )


def not_an_object(line: Line, target: Target) -> Iterator[Fault]:
    """The row is JSON, but a list, text or number instead of an object.

    Why: formats are told by an object's keys; nothing else can be an example.
    Bad:
        ["Hi", "Hello!"]
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    if not isinstance(line.value, dict):
        cure = 'Wrap it: {"messages": [{"role": "user", …}, {"role": "assistant", …}]}.'
        yield Fault("the row is not a JSON object", cure, where="$", offset=0)


def duplicate_key(line: Line, target: Target) -> Iterator[Fault]:
    """An object has the same key twice.

    Why: readers keep one and drop the other without a word, and not all keep the same one.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!", "content": "Hey!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    for fault in line.scanned("duplicate-key"):
        yield _from_scan(fault, fault.message, "Keep the one that is meant.")


def non_finite_number(line: Line, target: Target) -> Iterator[Fault]:
    """A number is NaN, Infinity or too large to be read.

    Why: JSON has no such numbers; Python writes them happily and strict readers refuse the row.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "metadata": {"score": NaN}}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "metadata": {"score": null}}
    """
    for fault in line.scanned("not-finite"):
        yield _from_scan(
            fault, fault.message, "Use null, or leave the key out (json.dumps(…, allow_nan=False))."
        )


def lone_surrogate(line: Line, target: Target) -> Iterator[Fault]:
    r"""A string holds half of a surrogate pair.

    Why: half a pair is no character: the text cannot be written as UTF-8, and strict readers refuse the row.
    Bad:
        {"messages": [{"role": "user", "content": "Grow \ud83c it"}, {"role": "assistant", "content": "Sure."}]}
    Good:
        {"messages": [{"role": "user", "content": "Grow \ud83c\udf31 it"}, {"role": "assistant", "content": "Sure."}]}
    """
    for fault in line.scanned("lone-surrogate"):
        yield _from_scan(
            fault, fault.message, "Text was cut inside an emoji, probably: cut by characters, not by units."
        )


def mixed_formats(data: Collection, target: Target) -> Iterator[Fault]:
    """One file holds rows of several formats.

    Why: a target reads the whole file in one format and refuses, or skips, the rest.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
        {"prompt": "Is mint thirsty?", "completion": "Very."}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
        {"messages": [{"role": "user", "content": "Is mint thirsty?"}, {"role": "assistant", "content": "Very."}]}
    """
    for file in data.files:
        ranked = sorted(file.formats.items(), key=lambda item: (-item[1][0], item[1][1]))
        for name, (count, first) in ranked[1:]:
            main, (rows, _) = ranked[0]
            message = f"{count} of the rows are {name}, from this line on, beside {rows} of the format {main}"
            yield Fault(message, "Keep one format a file.", path=file.path, line=first)


def unknown_format(line: Line, target: Target) -> Iterator[Fault]:
    """The row has no key of any known format.

    Why: nothing says which part is the prompt and which is the reply to learn.
    Bad:
        {"mesages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    if line.refused is not None:
        nameless = line.refused.startswith("there is no column")
        cure = "Name a column that is there." if nameless else "Fill its cells, or drop the row."
        yield Fault(f"the row makes no chat: {line.refused}", cure, where="$")
        return
    if not isinstance(line.value, dict) or line.format is not None:
        return
    known = {key for _, needed, _ in FORMATS for key in needed}
    names = list(islice(line.value, 20))
    hint = next((hint for key in names if (hint := line.guess(key, known))), "")
    keys = ", ".join(quoted(key) for key in names[:6]) or "none"
    cure = f"A chat row has 'messages'.{hint} Turn table rows into chats: --columns input=…,output=…."
    yield Fault(f"no key of a known format (keys: {keys})", cure, where="$")


def extra_column(line: Line, target: Target) -> Iterator[Fault]:
    """The row has a top-level key that the target rejects.

    Why: the target refuses the whole file for one unknown column.
    With: target=together
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "source": "mail"}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    columns = (target.columns or {}).get(line.format or "")
    if columns is None or not isinstance(line.value, dict):
        return
    for key in line.value:
        if key not in columns:
            cure = f"Leave it out; {target.title} takes {', '.join(columns)} here."
            yield Fault(f"{target.title} rejects the key {quoted(key)}", cure, where=join_path([key]))


def too_many_examples(data: Collection, target: Target) -> Iterator[Fault]:
    """The file has more rows than the target takes.

    Why: the job is refused, or rows past the limit are dropped.
    With: max_examples=1
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
        {"messages": [{"role": "user", "content": "Is mint thirsty?"}, {"role": "assistant", "content": "Very."}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    for file in data.files:
        if target.max_examples is not None and file.rows > target.max_examples:
            message = f"{file.rows:,} rows, and {target.title} takes at most {target.max_examples:,}"
            yield Fault(message, "Keep the most varied rows; near-duplicates go first.", path=file.path)


def row_too_long(line: Line, target: Target) -> Iterator[Fault]:
    """The row has more bytes than anyone reads in one go; nothing else in it was looked at.

    Why: no target trains on such a row; most often newlines were lost, and the file became one line.
    With: max_row_bytes=120
    Bad:
        {"messages": [{"role": "user", "content": "How often is the tank cleaned?"}, {"role": "assistant", "content": "Once a month."}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    if line.length is not None:
        message = f"the row has {line.length:,} bytes, and at most {target.max_row_bytes:,} are read"
        yield Fault(message, "Write one example a line; split or drop this one.", offset=0)


def _from_scan(fault: ScanFault, message: str, cure: str) -> Fault:
    return Fault(message, cure, where=fault.where, offset=fault.offset)
