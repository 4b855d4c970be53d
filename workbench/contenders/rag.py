"""RAG: passages of the corpus, found for each question, put before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from ..records import Prompt, Sample
from ..settings import Rag, one
from . import Fitted, Setting, needed_backend, with_system
from .few_shot import check_enough, similar_examples
from .passages import Library, answered_with, asked_with, open_library, open_oracle, read_citations


def fit_rag(settings: Rag, setting: Setting) -> Fitted:
    """Index the corpus (or open its index) and prepare to retrieve."""
    check_enough(settings, setting)
    if settings.context == "none":
        # Without passages there is nothing to say of them.
        settings = settings.model_copy(update={"no_answer": None, "citations": False})
    count, top_k = one(settings.examples), one(settings.top_k)
    library = _LIBRARIES[settings.context](settings, setting)
    choose = similar_examples(count, setting) if count else None

    def prompts(samples: Sequence[Sample]) -> list[Prompt]:
        chosen = choose(samples) if choose else [[] for _ in samples]
        shown = {shot.id: shot for shots in chosen for shot in shots}
        beside = dict(zip(shown, library.find(list(shown.values()), top_k), strict=True))
        made = []
        for sample, shots, found in zip(samples, chosen, library.find(samples, top_k), strict=True):
            turns = [
                turn for shot in shots for turn in answered_with(shot, beside[shot.id], settings, setting)
            ]
            prompt = asked_with(sample, found, settings)
            messages = with_system(prompt.messages, settings.system)
            before = tuple(m for m in messages if m.role == "system")
            asked = tuple(m for m in messages if m.role != "system")
            made.append(msgspec.structs.replace(prompt, messages=(*before, *turns, *asked)))
        return made

    fitted = Fitted(prompts, needed_backend(setting), notes=library.notes)
    return replace(fitted, read=read_citations) if settings.citations else fitted


def _open_nothing(settings: Rag, setting: Setting) -> Library:
    """No corpus at all: nothing is found for anything."""
    return Library((), lambda samples, _: [[] for _ in samples])


_LIBRARIES: dict[str, Callable[[Rag, Setting], Library]] = {
    "retrieved": open_library,
    "oracle": open_oracle,
    "none": _open_nothing,
}
