"""Few-shot: training examples shown as earlier turns, chosen at random, by class or by similarity."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest

from validators.examples import Message

from ..records import Prompt, Sample
from ..settings import FewShot, Rag, one
from . import ContenderError, Fitted, Setting, needed_backend, plain_prompt, reply_of, with_system

Chooser = Callable[[Sequence[Sample]], list[list[Sample]]]


def fit_few_shot(settings: FewShot, setting: Setting) -> Fitted:
    """Pick (or prepare to pick) examples from the training split."""
    check_enough(settings, setting)
    choose = _CHOOSERS[one(settings.choose)](one(settings.examples), setting)

    def prompts(samples: Sequence[Sample]) -> list[Prompt]:
        made = []
        for sample, shots in zip(samples, choose(samples), strict=True):
            messages = with_system(sample.messages, settings.system)
            system = tuple(m for m in messages if m.role == "system")
            asked = tuple(m for m in messages if m.role != "system")
            turns = chain.from_iterable(_as_turns(shot, setting) for shot in shots)
            made.append(plain_prompt(sample, (*system, *turns, *asked)))
        return made

    return Fitted(prompts, needed_backend(setting))


def check_enough(settings: FewShot | Rag, setting: Setting) -> None:
    """Raise ContenderError where the training split has fewer samples than are to be shown."""
    if len(setting.train) < one(settings.examples):
        raise ContenderError(
            f"contender {settings.name!r} shows {one(settings.examples)} examples, the training split has "
            f"{len(setting.train)}. Lower `examples`."
        )


def _as_turns(sample: Sample, setting: Setting) -> tuple[Message, ...]:
    """A training sample as turns, its answer included."""
    turns = tuple(m for m in sample.messages if m.role != "system")
    return (*turns, reply_of(sample, setting))


def _random(count: int, setting: Setting) -> Chooser:
    seed = setting.experiment.data.split.seed
    shots = random.Random(seed).sample(list(setting.train), count)
    return lambda samples: [shots] * len(samples)


def _stratified(count: int, setting: Setting) -> Chooser:
    """One example of each answer in turn, the commonest answers first."""
    shuffled = list(setting.train)
    random.Random(setting.experiment.data.split.seed).shuffle(shuffled)
    by_answer: dict[str, list[Sample]] = defaultdict(list)
    for sample in shuffled:
        by_answer[sample.references[0]].append(sample)
    columns = sorted(by_answer.values(), key=len, reverse=True)
    dealt = [s for rank in zip_longest(*columns) for s in rank if s is not None]
    shots = dealt[:count]
    return lambda samples: [shots] * len(samples)


def similar_examples(count: int, setting: Setting) -> Chooser:
    """The `count` training questions nearest to each question, the nearest last, next to the question."""
    embedder = setting.embedder()
    known = embedder.embed([s.question for s in setting.train])

    def choose(samples: Sequence[Sample]) -> list[list[Sample]]:
        if not samples:
            return []
        # Rounded, so that equal texts tie exactly and the earlier one wins on every machine.
        nearness = (embedder.embed([s.question for s in samples]) @ known.T).round(5)
        order = (-nearness).argsort(axis=1, kind="stable")[:, :count]
        return [[setting.train[i] for i in row[::-1]] for row in order]

    return choose


_CHOOSERS: dict[str, Callable[[int, Setting], Chooser]] = {
    "random": _random,
    "stratified": _stratified,
    "similar": similar_examples,
}
