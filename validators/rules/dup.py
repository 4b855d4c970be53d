"""DUP: duplicates within a file and leakage between files. Docstrings are the rules' pages, as in `fmt`.

Exact ones are told by the rows' digests; for near ones the files are read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..findings import Fault, Severity
from ..leakage import Asked, Index, near_duplicates_of, triples, verbatim_answers
from ..passages import exchange, spoken
from ..targets import Target
from .classes import split_of
from .subjects import Collection, FileFacts, row_format

# A shorter prompt ("hello", "thanks!") may stand in two splits by chance.
TELLING_WORDS = 8
# To a greeting of two words different answers are right.
ASKING_WORDS = 3
# In a larger file near-duplicates are not looked for: the triples of all rows are held in memory.
NEAR_BYTES = 16 * 1024 * 1024
NEAR_ROWS = 20_000

Place = tuple[str, int]

KEEP_APART = "Keep it in one split only; split by group, with duplicates together."


def exact_duplicate(data: Collection, target: Target) -> Iterator[Fault]:
    """The same example stands in the file again (case, width and white space aside).

    Why: repeated rows weigh more than the rest, and across a later split they leak.
    Bad:
        {"messages": [{"role": "user", "content": "Is mint thirsty?"}, {"role": "assistant", "content": "Very."}]}
        {"messages": [{"role": "user", "content": "is mint  THIRSTY?"}, {"role": "assistant", "content": "Very."}]}
    Good:
        {"messages": [{"role": "user", "content": "Is mint thirsty?"}, {"role": "assistant", "content": "Very."}]}
        {"messages": [{"role": "user", "content": "Is dill thirsty?"}, {"role": "assistant", "content": "Less so."}]}
    """
    for file in data.files:
        lines = file.fingerprints.line
        for row, first in _repeats(file):
            cure = "Keep one; if it matters more than others, say so with more varied rows."
            yield Fault(f"the same example as line {lines[first]}", cure, path=file.path, line=lines[row])


def near_duplicate(data: Collection, target: Target) -> Iterator[Fault]:
    """An example is nearly the same as an earlier one: 80 % of their runs of three words are shared.

    Why: near copies weigh like repeated rows, and a random split puts one in training and one in the test.
    Runs that a fifth of the rows share are the form's and do not count. Each pair is verified, and without
    the rows told of no two alike are left; files over 16 MiB or 20,000 rows are not looked at.
    Bad:
        {"messages": [{"role": "user", "content": "The pump of my Sprig Duo has been humming all night since I refilled the tank on Monday, and the mint beside the window droops. What should I look at first?"}, {"role": "assistant", "content": "At the float sensor."}]}
        {"messages": [{"role": "user", "content": "The pump of my Sprig Duo has been humming all night since I refilled the tank on Monday, and the dill beside the window droops. What should I look at first?"}, {"role": "assistant", "content": "At the float sensor."}]}
    Good:
        {"messages": [{"role": "user", "content": "The pump of my Sprig Duo has been humming all night. What should I look at first?"}, {"role": "assistant", "content": "At the float sensor."}]}
        {"messages": [{"role": "user", "content": "The lamp of my Sprig Mini has been blinking all day. What should I look at first?"}, {"role": "assistant", "content": "At the plug."}]}
    """
    for file in data.files:
        if file.reread is None or (file.size or 0) > NEAR_BYTES or len(file.fingerprints) > NEAR_ROWS:
            continue
        again = {file.fingerprints.line[row] for row, _ in _repeats(file)}
        rows = ((line, found.prompt | found.reply) for line, found in _documents(file) if line not in again)
        for match in near_duplicates_of(rows):
            cure = "Keep one, or make them differ in what counts; at least keep them in one split."
            message = f"{match.similarity:.0%} the same as line {match.other}"
            yield Fault(message, cure, path=file.path, line=match.key)


def split_leak(data: Collection, target: Target) -> Iterator[Fault]:
    """An example, or its prompt, stands in two splits.

    Why: a test row that was trained on measures memory; every score of that split is then too good.
    Bad:
        {"messages": [{"role": "user", "content": "How often should the tank be cleaned in summer?"}, {"role": "assistant", "content": "Every two weeks."}]}
        == test.jsonl
        {"messages": [{"role": "user", "content": "How often should the tank be cleaned in summer?"}, {"role": "assistant", "content": "Twice a month."}]}
    Good:
        {"messages": [{"role": "user", "content": "How often should the tank be cleaned in summer?"}, {"role": "assistant", "content": "Every two weeks."}]}
        == test.jsonl
        {"messages": [{"role": "user", "content": "Does the pump have to run at night as well?"}, {"role": "assistant", "content": "Yes."}]}
    """
    for file, earlier in _pairs(data):
        prints = file.fingerprints
        for row, what, place in _exact_leaks(file, earlier):
            by_chance = what == "prompt" and prints.words[row] < TELLING_WORDS
            severity: Severity | None = "warning" if by_chance else None
            message = f"the same {what} stands in another split ({_name(place)})"
            yield Fault(message, KEEP_APART, path=file.path, line=prints.line[row], severity=severity)


def near_leak(data: Collection, target: Target) -> Iterator[Fault]:
    """An example, or its prompt of 8 words or more, stands in two splits in nearly the same words.

    Why: a test row that was trained on in other words still measures memory.
    Counted as for near-duplicates in one file, whatever the size of the files.
    Bad:
        {"messages": [{"role": "user", "content": "The pump of my Sprig Duo has been humming all night since I refilled the tank on Monday, and the mint beside the window droops. What should I look at first?"}, {"role": "assistant", "content": "At the float sensor."}]}
        == test.jsonl
        {"messages": [{"role": "user", "content": "The pump of my Sprig Duo has been humming all night since I refilled the tank on Monday, and the dill beside the window droops. What should I look at first?"}, {"role": "assistant", "content": "The tank."}]}
    Good:
        {"messages": [{"role": "user", "content": "The pump of my Sprig Duo has been humming all night. What should I look at first?"}, {"role": "assistant", "content": "At the float sensor."}]}
        == test.jsonl
        {"messages": [{"role": "user", "content": "The lamp of my Sprig Mini has been blinking all day. What should I look at first?"}, {"role": "assistant", "content": "At the plug."}]}
    """
    for file, earlier in _pairs(data):
        exact = {file.fingerprints.line[row] for row, _, _ in _exact_leaks(file, earlier)}
        best: dict[int, tuple[float, str, Place]] = {}
        for other in earlier:
            for line, similarity, what, place in _near(file, other):
                if line not in exact and (line not in best or similarity > best[line][0]):
                    best[line] = (similarity, what, (other.path, place))
        for line, (similarity, what, where) in sorted(best.items()):
            message = f"the {what} is {similarity:.0%} the same as one in another split ({_name(where)})"
            yield Fault(message, KEEP_APART, path=file.path, line=line)


def conflicting_answers(data: Collection, target: Target) -> Iterator[Fault]:
    """One prompt has different answers. Prompts of one or two words are left out.

    Why: the model cannot learn both; where several answers are right, train on preferences or say what decides.
    Bad:
        {"messages": [{"role": "user", "content": "How tall is dill?"}, {"role": "assistant", "content": "60 cm."}]}
        {"messages": [{"role": "user", "content": "how tall is  dill?"}, {"role": "assistant", "content": "A metre."}]}
    Good:
        {"messages": [{"role": "user", "content": "How tall is dill?"}, {"role": "assistant", "content": "60 cm."}]}
        {"messages": [{"role": "user", "content": "How tall is mint?"}, {"role": "assistant", "content": "50 cm."}]}
    """
    import numpy as np

    for file in data.files:
        prints = file.fingerprints
        prompt, reply = _column(prints.prompt), _column(prints.reply)
        if "preference" in file.formats or not len(again := _repeated(prompt)):
            continue
        asked = (prompt != 0) & (reply != 0) & (_column(prints.words) >= ASKING_WORDS)
        firsts: dict[int, int] = {}
        for row in np.flatnonzero(asked & _among(prompt, again)).tolist():
            other = firsts.setdefault(int(prompt[row]), row)
            if reply[row] != reply[other]:
                cure = "Keep the right answer, or put what decides between them into the prompt."
                message = f"the same prompt as line {prints.line[other]}, and another answer"
                yield Fault(message, cure, path=file.path, line=prints.line[row])


def padded_to_minimum(data: Collection, target: Target) -> Iterator[Fault]:
    """There are rows enough for the target, but fewer distinct rows than its minimum.

    Why: the target takes the file, but copies teach nothing; the minimum is there since fewer are too few.
    With: select=DUP006; target=openai
    Bad:
        6 × {"messages": [{"role": "user", "content": "How tall is plant <n>?"}, {"role": "assistant", "content": "About <n> cm."}]}
        6 × {"messages": [{"role": "user", "content": "How tall is plant <n>?"}, {"role": "assistant", "content": "About <n> cm."}]}
    Good:
        12 × {"messages": [{"role": "user", "content": "How tall is plant <n>?"}, {"role": "assistant", "content": "About <n> cm."}]}
    """
    for file in data.files:
        rows = len(file.fingerprints)
        # A long file with so few distinct rows is seen as well, and its digests are counted only then.
        if rows < max(target.min_examples, 2):
            continue
        distinct = _distinct(file)
        if distinct < target.min_examples:
            message = (
                f"{rows} rows, but only {distinct} distinct; {target.title} asks for {target.min_examples}"
            )
            yield Fault(message, "Write more examples that differ.", path=file.path)


def answer_in_corpus(data: Collection, target: Target) -> Iterator[Fault]:
    """A test question stands with its answer, word for word, in a document of the retrieval corpus.

    Why: right for an FAQ; elsewhere the corpus was made from the test, and retrieval looks better than it is.
    The corpus is a file of rows with a "text". Files named train are not asked for.
    With: against=corpus.jsonl
    Bad (file=test.jsonl):
        {"prompt": "How often should the tank be cleaned?", "completion": "Every two weeks."}
        == corpus.jsonl
        {"text": "Questions of the week. How often should the tank be cleaned? Every two weeks."}
    Good (file=test.jsonl):
        {"prompt": "How often should the tank be cleaned?", "completion": "Every two weeks."}
        == corpus.jsonl
        {"text": "Clean the tank every two weeks in summer, and once a month in winter."}
    """
    corpus = [file for file in (*data.files, *data.against) if _is_corpus(file) and file.reread]
    for file in data.files if corpus else ():
        if _is_corpus(file) or file.reread is None or split_of(file) == "train":
            continue
        asked = [
            Asked(line, said.prompt, said.reply)
            for line, value in file.reread()
            if (said := exchange(value, row_format(value))).reply
        ]
        for documents in corpus:
            texts = (
                (n, value["text"]) for n, value in _values(documents) if isinstance(value.get("text"), str)
            )
            for line, place in verbatim_answers(asked, texts):
                message = f"question and answer stand in the corpus ({_name((documents.path, place))})"
                cure = "Right for an FAQ; else take the page out of the corpus, or the row out of the test."
                yield Fault(message, cure, path=file.path, line=line)


# -- digests -----------------------------------------------------------------------------------------


def _column(values: Any) -> Any:
    """A column of fingerprints as an array."""
    import numpy as np

    return np.asarray(values)


def _repeats(file: FileFacts) -> list[tuple[int, int]]:
    """Rows whose example stood in the file before, with the first such row."""
    import numpy as np

    # Only what comes again is looked up: most files have few copies, and a row should cost few bytes.
    column = _column(file.fingerprints.example)
    rows = np.flatnonzero(_among(column, _repeated(column)))
    places: dict[int, int] = {}
    found = []
    for row, digest in zip(rows.tolist(), column[rows].tolist(), strict=True):
        if (first := places.setdefault(digest, row)) != row:
            found.append((row, first))
    return found


def _repeated(column: Any) -> Any:
    """The values that stand in a column more than once, in order."""
    import numpy as np

    ordered = np.sort(column)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _among(column: Any, ordered: Any) -> Any:
    """Which values of a column are among some that are in order."""
    import numpy as np

    if not len(ordered):
        return np.zeros(len(column), bool)
    return ordered[np.minimum(np.searchsorted(ordered, column), len(ordered) - 1)] == column


def _distinct(file: FileFacts) -> int:
    import numpy as np

    ordered = np.sort(_column(file.fingerprints.example))
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + bool(len(ordered))


def _pairs(data: Collection) -> Iterator[tuple[FileFacts, list[FileFacts]]]:
    """Each linted file with the files it is held against: those given for that, and the linted ones before it."""
    earlier = list(data.against)
    for file in data.files:
        if earlier:
            yield file, list(earlier)
        earlier.append(file)


def _exact_leaks(file: FileFacts, earlier: Sequence[FileFacts]) -> Iterator[tuple[int, str, Place]]:
    """Rows that stand in an earlier file: the row, whether as a whole or by its prompt, and where there."""
    examples, prompts = (_places(file, earlier, column) for column in ("example", "prompt"))
    if not examples and not prompts:
        return
    prints = file.fingerprints
    for row in range(len(prints)):
        example, prompt = prints.example[row], prints.prompt[row]
        if example in examples:
            yield row, "example", examples[example]
        elif prompt in prompts:
            yield row, "prompt", prompts[prompt]


def _places(file: FileFacts, earlier: Sequence[FileFacts], column: str) -> dict[int, Place]:
    """Where the digests of a file's column first stand in earlier files."""
    import numpy as np

    own = _column(getattr(file.fingerprints, column))
    places: dict[int, Place] = {}
    for other in earlier:
        theirs = _column(getattr(other.fingerprints, column))
        shared = np.intersect1d(own, theirs)
        shared = shared[shared != 0]
        for row in np.flatnonzero(np.isin(theirs, shared)) if len(shared) else ():
            places.setdefault(int(theirs[row]), (other.path, other.fingerprints.line[row]))
    return places


def _name(place: Place) -> str:
    return f"{place[0]}:{place[1]}"


# -- texts -------------------------------------------------------------------------------------------


class _Triples(NamedTuple):
    """A row's runs of three words: those of the user's texts, and those of the replies."""

    prompt: set[int]
    reply: set[int]


def _near(file: FileFacts, other: FileFacts) -> Iterator[tuple[int, float, str, int]]:
    """Lines of `file` that are like one of `other`: how alike, as what, and the line there."""
    if file.reread is None or other.reread is None:
        return
    turned = len(file.fingerprints) < len(other.fingerprints)
    small, big = (file, other) if turned else (other, file)
    held = list(_documents(small))
    fewest = TELLING_WORDS - 2
    indexes = {
        "prompt": Index((line, each.prompt) for line, each in held if len(each.prompt) >= fewest),
        "example": Index((line, each.prompt | each.reply) for line, each in held),
    }
    del held
    done: dict[str, set[int]] = {"prompt": set(), "example": set()}
    for line, each in _documents(big):
        found = {"prompt": each.prompt if len(each.prompt) >= fewest else set()}
        found["example"] = each.prompt | each.reply
        for what, index in indexes.items():
            if turned:
                for place, similarity in index.matches(found[what], done[what]):
                    done[what].add(place)
                    yield place, similarity, what, line
            elif first := next(index.matches(found[what]), None):
                yield line, first[1], what, first[0]


def _documents(file: FileFacts) -> Iterator[tuple[int, _Triples]]:
    for line, value in _values(file):
        said = spoken(value, row_format(value))
        prompt, reply = (
            "\n".join(text for speaker, text in said if speaker == wanted) for wanted in ("user", "assistant")
        )
        yield line, _Triples(triples(prompt), triples(reply))


def _values(file: FileFacts) -> Iterator[tuple[int, dict[str, Any]]]:
    if file.reread is not None:
        yield from ((line, value) for line, value in file.reread() if isinstance(value, dict))


def _is_corpus(file: FileFacts) -> bool:
    return max(file.formats, key=lambda name: file.formats[name][0], default=None) == "text"
