"""The records that lie in a run folder: samples, predictions, the verdict."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from validators.examples import Message

SCHEMAS = {
    "run": "workbench.run/1",
    "lint": "workbench.lint/1",
    "cost": "workbench.cost/1",
    "splits": "workbench.splits/1",
    "contender": "workbench.contender/1",
    "job": "workbench.job/1",
    "first-batch": "workbench.batch/1",
    "scores": "workbench.scores/1",
    "comparison": "workbench.comparisons/1",
    "verdict": "workbench.verdict/1",
}
# What every file of a kind holds, of whatever version.
NEEDED = {
    "contender": ("name", "kind", "tuned", "backend", "settings", "status"),
    "job": ("key", "mark", "model", "status", "train"),
    "first-batch": ("tokenizer", "batching", "sequences"),
    "scores": ("ids", "groups", "metrics", "operations"),
}


class RowLength(msgspec.Struct, frozen=True, kw_only=True):
    """A training row as the model counts it: the line it begins in, its tokens, and where trained ones stand."""

    line: int
    tokens: int
    trained: tuple[tuple[int, int], ...]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One question put to every contender. `id` is a hash of its content."""

    id: str
    messages: tuple[Message, ...]
    references: tuple[str, ...]
    group: str | None = None
    tags: dict[str, str] = {}
    tools: tuple[dict[str, Any], ...] = ()
    sources: tuple[str, ...] = ()
    """The documents of the corpus that answer it, where the data names them."""
    line: int = 0

    @property
    def question(self) -> str:
        """The text of the last user message: what a person would call the question."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")


class Passage(msgspec.Struct, frozen=True):
    """A retrieved piece of the corpus."""

    document: str
    text: str
    score: float


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """What a contender sends for one sample. It never holds the sample's reference."""

    id: str
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    passages: tuple[Passage, ...] = ()


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. A failed one has `error` and no prediction: it is not a wrong answer.

    `seconds` is wall time; in a batch, the batch's time divided by its rows. `reference_nats` is the
    negative log-likelihood of the first reference under this contender's prompt.
    """

    id: str
    prediction: str | None = None
    references: tuple[str, ...]
    group: str | None = None
    tool_calls: tuple[dict[str, Any], ...] = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    cached_tokens: int | None = None
    usd: float | None = None
    attempts: int | None = None
    """Requests that a server was sent for it."""
    logprob: float | None = None
    """Mean natural log-probability of the answer's tokens, where the backend was asked for it."""
    finish_reason: str | None = None
    reference_nats: float | None = None
    reference_tokens: int | None = None
    reference_bytes: int | None = None
    reused: bool | None = None
    """True where a kept answer to the same request stands here: its cost and time are those of when it was asked."""
    citations: tuple[str, ...] | None = None
    """The documents that the answer named as its sources, where it was asked for them."""
    error: str | None = None


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What the judge said of one answer; `rating` is 0–1, higher where this contender is better.

    `order` says where its answer stood: alone, or shown first or second of a pair. `key` is a hash of all
    that the rating depends on. A reply that could not be read is not rated and has its `reason`; an `error`
    is a failure of the judge's backend, which the next run asks again.
    """

    id: str
    order: Literal["alone", "first", "second"]
    repeat: int
    key: str
    rating: float | None = None
    text: str | None = None
    calls: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    usd: float | None = None
    reused: bool | None = None
    reason: str | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """What tells it from the others about one contender."""
        return f"{self.id}.{self.order}.{self.repeat}"


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One request that a server was paid for, whatever became of its answer.

    `usd` is by the price that its backend stated then, None without one. `lost` where the answer never came
    whole: then the tokens are its worst case.
    """

    server: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    usd: float | None = None
    lost: bool | None = None


class Rating(msgspec.Struct, frozen=True, kw_only=True):
    """What one person said of a sample: a `rating` (0–1) of one contender, or which of `a` and `b` is better.

    A `rater` is a name; ratings without one each count as a person's of their own. `answers` is a mark of the
    answers that were rated: where they have changed since, the rating no longer counts.
    """

    id: str
    contender: str | None = None
    rating: float | None = None
    a: str | None = None
    b: str | None = None
    winner: Literal["a", "b", "tie"] | None = None
    rater: str | None = None
    time: str | None = None
    answers: str | None = None
    withdrawn: bool | None = None
    """True takes the rater's earlier rating of the same answers back."""


class ContenderSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the decision: a contender, its primary score, what a request costs."""

    name: str
    kind: str
    tuned: bool
    score: float | None
    interval: tuple[float, float] | None
    n: int
    errors: int
    reason: str | None = None
    usd_per_1000: float | None = None
    seconds_per_request: float | None = None
    tokens_per_request: float | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Tuned minus alternative on the primary metric, positive where tuned is better."""

    against: str
    estimate: float
    interval: tuple[float, float] | None
    p: float | None
    method: str


class SliceChange(msgspec.Struct, frozen=True, kw_only=True):
    """The tuned contender against `Harm.against` on one slice, positive where tuned is better.

    The interval is simultaneous over all slices; None with a reason where the slice is too small to tell.
    """

    slice: str
    n: int
    estimate: float
    interval: tuple[float, float] | None
    reason: str | None = None


class Forgetting(msgspec.Struct, frozen=True, kw_only=True):
    """Bits per byte of a general text sample before and after tuning; `change` is relative, + is worse."""

    before: float
    after: float
    change: float
    interval: tuple[float, float] | None
    passages: int


class Harm(msgspec.Struct, frozen=True, kw_only=True):
    """Did it get worse anywhere? None in `forgetting`: the model's weights are not here."""

    against: str | None
    slices: tuple[SliceChange, ...] = ()
    forgetting: Forgetting | None = None

    @property
    def worse(self) -> tuple[SliceChange, ...]:
        """Slices on which the tuned contender is surely worse."""
        return tuple(s for s in self.slices if s.interval is not None and s.interval[1] < 0)


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What twice the training data would bring, from the learning curve; no value is None with a reason."""

    sizes: tuple[int, ...]
    scores: tuple[float, ...]
    at: int
    value: float | None
    interval: tuple[float, float] | None
    slope_interval: tuple[float, float] | None
    probability: float | None
    """That the gain over every alternative then exceeds the margin."""
    reason: str | None = None


Headline = Literal["tune", "dont-tune", "cant-tell"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The decision of one run, everything the card shows."""

    headline: Headline
    reason: str
    sentence: str
    experiment: str
    metric: str
    higher_is_better: bool
    margin: float
    equivalent_within: float
    tuned: str | None
    """The tuned contender that was judged; among several, the one best on dev."""
    choice: str | None
    against: str | None
    difference: Difference | None
    differences: tuple[Difference, ...]
    contenders: tuple[ContenderSummary, ...]
    n: int
    groups: int | None
    seeds: int
    smallest_detectable_effect: float | None
    costs: dict[str, float | None]
    payback_months: float | None
    if_you_must: dict[str, dict[str, float]]
    flips: tuple[str, ...]
    caveats: tuple[str, ...]
    next: str
    export: str | None = None
    """The command that ships the tuned choice, where its weights are here."""
    exploratory: bool = False
    harm: Harm | None = None
    forecast: Forecast | None = None
    usd_per_point: float | None = None
    """What a point of the metric costs a month: fixed costs over the horizon and dearer requests, where it never pays back."""
