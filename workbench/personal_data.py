"""What would leave this machine: personal data in it is named before the first request.

Servers on loopback and local models are not concerned. What models will answer is not known yet, so a
judge elsewhere is looked at for questions and references only.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from validators.findings import printable
from validators.json_scanner import join_path
from validators.passages import strings
from validators.personal import Kind, find_personal
from validators.redaction import NAMES, Placeholders

from .backends import OPENAI, server_of
from .data import Division
from .experiment import Experiment
from .records import Sample
from .retrieval import corpus_of
from .settings import Brought, Contender, Hosted, chooses, embeds, likens, needs_train, retrieves

# The linter's rules, by what they find.
RULES: Final[dict[Kind, tuple[str, str]]] = {
    "secret": ("PII001", "secret"),
    "email": ("PII002", "email-address"),
    "card": ("PII003", "card-number"),
    "phone": ("PII004", "phone-number"),
    "iban": ("PII005", "bank-or-national-id"),
    "ssn": ("PII005", "bank-or-national-id"),
}
PLACES = 3
AROUND = 24


class LeavingError(ValueError):
    """Personal data would leave this machine, and nobody has said that it may; the message names both cures."""


@dataclass(frozen=True, slots=True)
class Found:
    """One find: the rule's code, the place, and the text around it, masked."""

    code: str
    place: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """Personal data that would be sent: to which servers, for whom, and what was found."""

    servers: dict[str, tuple[str, ...]]
    found: tuple[Found, ...]

    def text(self) -> str:
        """What was found, a line a rule."""
        names = dict(RULES.values())
        counts = Counter(f.code for f in self.found)
        to = "; ".join(f"{url} ({', '.join(who)})" for url, who in self.servers.items())
        lines = [f"personal data would leave this machine for {to}:"]
        for code, count in sorted(counts.items()):
            first = [f"{f.place} {f.excerpt}" for f in self.found if f.code == code][:PLACES]
            more = f" and {count - PLACES:,} more" if count > PLACES else ""
            lines.append(f"  {code} {names[code]} {count:,}: {'; '.join(first)}{more}")
        return "\n".join(lines)


def leaving(experiment: Experiment, division: Division, only: Sequence[str] = ()) -> Leaving | None:
    """Personal data that these contenders (all, where none is named) and the judge would send away; None without any.

    Raises CorpusError.
    """
    servers, parts = _sent(experiment, only)
    if not servers:
        return None
    found = tuple(_find(dict.fromkeys(_texts(experiment, division, parts))))
    return Leaving({url: tuple(dict.fromkeys(who)) for url, who in servers.items()}, found) if found else None


def check_leaving(experiment: Experiment, division: Division, only: Sequence[str] = ()) -> str:
    """What was redacted, or leaves with the person's consent, in one line; "" where nothing does.

    Raises LeavingError where nobody has said that it may leave, CorpusError.
    """
    found = leaving(experiment, division, only)
    if found is not None and experiment.personal_data != "send":
        raise LeavingError(
            f"{found.text()}\nNothing was sent. Run again with --redact (placeholders stand for all of it, in what is "
            "sent and in the run folder), or with --send-personal-data where it may leave; in the experiment file: "
            "personal_data: redact, or send."
        )
    if found is not None:
        return f"{_listed(Counter(f.code for f in found.found))} may leave for {', '.join(found.servers)}"
    replaced = experiment.placeholders.distinct if experiment.personal_data == "redact" else Counter[str]()
    return f"placeholders for {_listed(replaced)}" if replaced else ""


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def is_elsewhere(url: str) -> bool:
    """Whether an address is another machine's."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True
    return not (address.is_loopback or address.is_unspecified)


# -- what is sent --------------------------------------------------------------------------------------


def _sent(experiment: Experiment, only: Sequence[str]) -> tuple[dict[str, list[str]], set[str]]:
    """Servers elsewhere with what asks them, and which parts of the data go there."""
    servers: dict[str, list[str]] = {}
    parts: set[str] = set()

    def send(url: str | None, who: str, what: set[str]) -> None:
        if url is not None and is_elsewhere(url):
            servers.setdefault(url, []).append(who)
            parts.update(what)

    qdrant, embedder = experiment.retrieval.qdrant, _embedder_of(experiment)
    for c in (c for c in experiment.contenders if not only or c.name in only):
        if isinstance(c, Brought):
            continue
        tried = {"questions", "dev"} if chooses(c) else {"questions"}
        send(server_of(experiment.backend_of(c)), c.name, tried | _shown_by(c))
        if retrieves(c):
            send(qdrant, f"{c.name}'s passages", {"corpus"})
            if embeds(c):
                send(embedder, f"{c.name}'s vectors", {"corpus", *tried})
        if likens(c):
            send(embedder, f"{c.name}'s vectors", {"train", *tried})
    if experiment.judge is not None and "judge" in experiment.metric_names:
        asked = {"questions", "answers", *(("dev",) if experiment.primary == "judge" else ())}
        send(server_of(experiment.backends[experiment.judge.backend]), "the judge", asked)
    return servers, parts


def _shown_by(contender: Contender) -> set[str]:
    """What a contender's own backend is sent besides the questions."""
    if isinstance(contender, Hosted):
        return {"train", "dev", "conversations"}
    found = {"corpus"} if retrieves(contender) else set()
    if needs_train(contender.model_copy(update={"constrain": None})):
        return found | {"train"}
    return found | {"labels"} if contender.constrain else found


def _embedder_of(experiment: Experiment) -> str | None:
    """The address that texts are sent to for their vectors; None where that is done here."""
    embedder = experiment.retrieval.embedder
    return None if isinstance(embedder, str) else embedder.base_url or OPENAI


def _texts(experiment: Experiment, division: Division, parts: set[str]) -> Iterator[tuple[str, str, str]]:
    """(file and line, JSON path, text) of everything in these parts of the data."""
    files = experiment.data.files

    def place(sample: Sample, split: str) -> str:
        name = files.get("all") or files.get(split) or files.get("train", "")
        return f"{name}:{sample.line}"

    for s in division.whole.test:
        if "questions" in parts:
            yield from _of(place(s, "test"), _asked(s))
        if "answers" in parts:
            yield from _of(place(s, "test"), {"reference": list(s.references)})
    for fit in division.fits:
        for split, samples in (("train", fit.train), ("dev", fit.dev)):
            for s in samples if split in parts else ():
                yield from _of(place(s, split), _asked(s))
                if split == "train":
                    yield from _of(place(s, split), {"reference": list(s.references)})
                if "conversations" in parts and (whole := fit.conversations.get(s.id)) is not None:
                    yield from _of(place(s, split), {"messages": [m.as_dict() for m in whole.messages]})
        for s in fit.train if "labels" in parts else ():
            yield from _of(place(s, "train"), {"reference": list(s.references)})
    if "corpus" in parts:
        for document in corpus_of(experiment).documents:
            yield (f"{experiment.data.corpus}/{document.name}", "", document.text)


def _asked(sample: Sample) -> dict[str, Any]:
    return {"messages": [m.as_dict() for m in sample.messages], "tools": list(sample.tools)}


def _of(place: str, value: Any) -> Iterator[tuple[str, str, str]]:
    yield from ((place, join_path([*parts]), text) for parts, text in strings(value))


def _find(texts: dict[tuple[str, str, str], None]) -> Iterator[Found]:
    """What stands in the texts, each with its surroundings in which everything found is masked."""
    for place, where, text in texts:
        finds = find_personal(text)
        masked = Placeholders().redact(text) if finds else ""
        for each in finds:
            yield Found(RULES[each.kind][0], f"{place} {where}".rstrip(), _excerpt(masked, each.kind))


def _excerpt(masked: str, kind: Kind) -> str:
    """The first placeholder of a kind with the text around it; nothing found can be cut in two there."""
    mark = re.search(rf"<{NAMES[kind]}_\d+>", masked)
    if mark is None:
        return ""
    start, end = max(0, mark.start() - AROUND), min(len(masked), mark.end() + AROUND)
    before, after = "…" if start else "", "…" if end < len(masked) else ""
    return printable(f'"{before}{masked[start:end]}{after}"'.replace("\n", " "))
