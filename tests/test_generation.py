"""Generation: shared beginnings, pieces and shrinking batches give what plain `generate` gives."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from validators.assets import fetch
from validators.examples import Message
from workbench.backends import Request
from workbench.backends.batches import Shared, arrange
from workbench.backends.generation import Reader, Row, greedy, likeliest, reply_nats
from workbench.backends.hf import HfBackend as Backend
from workbench.backends.memory import rows_that_fit, token_bytes
from workbench.records import Prompt
from workbench.settings import HfBackend

VOCABULARY, END = 97, 1
STOPS = frozenset(range(3, 20)) | {END}
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": END,
    "pad_token_id": 2,
}
WINDOW = {"sliding_window": 9}
# Configuration class, its settings, and whether caches of that kind are shared.
FAMILIES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "llama": ("LlamaConfig", {}, True),
    "qwen3": ("Qwen3Config", {}, True),
    "mistral, all layers slide": ("MistralConfig", WINDOW, True),
    "gemma3, some layers slide": (
        "Gemma3TextConfig",
        WINDOW | {"layer_types": ["sliding_attention", "full_attention"]},
        True,
    ),
    "gemma2, capped scores": (
        "Gemma2Config",
        WINDOW | {"layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 8},
        True,
    ),
    "gpt-oss, sinks and experts": (
        "GptOssConfig",
        WINDOW
        | {
            "layer_types": ["sliding_attention", "full_attention"],
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
        },
        True,
    ),
    "lfm2, convolutions": ("Lfm2Config", {"layer_types": ["conv", "full_attention"]}, False),
    "qwen3-next, linear attention": (
        "Qwen3NextConfig",
        {
            "layer_types": ["linear_attention", "full_attention"],
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
        False,
    ),
}


def tiny(family: str) -> Any:
    import torch
    import transformers

    name, settings, _ = FAMILIES[family]
    torch.manual_seed(3)
    config = getattr(transformers, name)(**SMALL | settings)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in model.parameters():  # spread, so that a wrong column changes the answer
            if weight.ndim > 1:
                weight.normal_(0, 0.3)
    return model


def some_prompts(count: int = 9) -> list[list[int]]:
    """Three beginnings of 20, 33 and no shared tokens, then tails of very different lengths; two are the same."""
    rng = random.Random(5)
    system = [rng.randrange(3, VOCABULARY) for _ in range(20)]
    passage = system + [rng.randrange(3, VOCABULARY) for _ in range(13)]
    begins = [system, passage, []]
    made = [
        begins[k % 3] + [rng.randrange(3, VOCABULARY) for _ in range(rng.choice([2, 3, 7, 19]))]
        for k in range(count)
    ]
    return [*made, made[1], passage]


def read(model: Any, prompts: list[list[int]], size: int, worth: int) -> list[tuple[list[int], Any, Reader]]:
    """(indices, batch, reader) of every batch."""
    import torch

    reader, places = Reader(model, "cpu", 2), arrange(prompts, worth)
    read = []
    with torch.inference_mode():
        for begin in range(0, len(places), size):
            part = places[begin : begin + size]
            batch = reader.read([Row(prompts[p.index], p.path) for p in part])
            read.append(([p.index for p in part], batch, reader))
    return read


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("size", "tokens"), [(4, 1024), (11, 24)])
def test_batches_answer_as_generate_does_one_by_one(
    family: str, size: int, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr("workbench.backends.generation._PASS_CPU", tokens)
    model, prompts = tiny(family), some_prompts()
    found: dict[int, list[int]] = {}
    with torch.inference_mode():
        for indices, batch, reader in read(model, prompts, size, worth=10):
            assert reader.shares is FAMILIES[family][2]
            found |= dict(zip(indices, greedy(reader, batch, 12, STOPS), strict=True))
        for index, prompt in enumerate(prompts):
            out = model.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=12,
                do_sample=False,
                eos_token_id=sorted(STOPS),
            )
            assert found[index] == out[0, len(prompt) :].tolist(), (index, len(prompt))
    assert len({len(answer) for answer in found.values()}) > 1  # rows did leave at different times


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihoods_after_shared_beginnings_are_those_of_a_plain_pass(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr("workbench.backends.generation.LOGITS", 3 * 4 * VOCABULARY)  # three columns at once
    model, prompts, rng = tiny(family), some_prompts(), random.Random(8)
    replies = [[rng.randrange(3, VOCABULARY) for _ in range(k % 5)] for k in range(len(prompts))]
    with torch.inference_mode():
        for indices, batch, reader in read(model, prompts, 4, worth=10):
            nats = reply_nats(reader, batch, [replies[i] for i in indices])
            if reader.shares:  # answering leaves the prompts as they are
                greedy(reader, batch, 6, {END})
            assert nats == reply_nats(reader, batch, [replies[i] for i in indices])
            for index, found in zip(indices, nats, strict=True):
                prompt, reply = prompts[index], replies[index]
                if not reply:
                    assert found is None
                    continue
                logits = model(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
                wanted = torch.nn.functional.cross_entropy(logits, torch.tensor(reply), reduction="sum")
                assert found == pytest.approx(float(wanted), rel=1e-4)


def test_the_likeliest_choice_is_found_where_a_search_by_tokens_would_lose_it() -> None:
    import torch

    model, prompts = tiny("llama"), some_prompts()
    choices = [[a, b, END] for a in (3, 4) for b in range(5, 17)] + [[9, END]]
    lost = 0
    with torch.inference_mode():
        for indices, batch, reader in read(model, prompts, 4, worth=10):
            best = likeliest(reader, batch, [choices] * len(indices))
            for index, chosen in zip(indices, best, strict=True):
                prompt = prompts[index]
                steps = [model(torch.tensor([prompt + c])).logits[0, len(prompt) - 1 : -1] for c in choices]
                nats = [
                    float(torch.nn.functional.cross_entropy(logits, torch.tensor(c), reduction="sum"))
                    for logits, c in zip(steps, choices, strict=True)
                ]
                assert chosen == nats.index(min(nats))
                lost += choices[chosen][0] != max((3, 4, 9), key=lambda t: float(steps[0][0, t]))
    assert lost


# -- order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompts", "worth", "placed"),
    [
        ([], 1, []),
        (["abcdef"], 1, [(0, ())]),
        # Two tokens of the shortest are left over; the longest comes first.
        (["abcde", "abcdefg"], 1, [(1, (Shared(3, 2),)), (0, (Shared(3, 2),))]),
        (["abcde", "abcdefg"], 4, [(1, ()), (0, ())]),  # three tokens saved are not worth it
        (["xyz", "abc"], 1, [(0, ()), (1, ())]),
        (
            ["sys one a", "sys two b", "sys one c", "other"],
            3,
            [
                (0, (Shared(4, 3), Shared(7, 2))),
                (2, (Shared(4, 3), Shared(7, 2))),
                (1, (Shared(4, 3),)),
                (3, ()),
            ],
        ),
        (["aaaa"] * 3, 1, [(k, (Shared(2, 3),)) for k in range(3)]),
        (["a", "ab", "abc"], 1, [(2, ()), (1, ()), (0, ())]),
    ],
)
def test_prompts_that_begin_alike_stand_together(prompts: list[str], worth: int, placed: Any) -> None:
    tokens = [[ord(c) for c in p] for p in prompts]
    assert [(p.index, p.path) for p in arrange(tokens, worth)] == placed


def test_every_prompt_is_placed_once_and_shares_what_its_group_shares() -> None:
    for seed in range(200):
        rng = random.Random(seed)
        prompts = [[rng.randrange(3) for _ in range(rng.randint(2, 12))] for _ in range(rng.randint(1, 30))]
        places = arrange(prompts, rng.randint(1, 12))
        assert sorted(p.index for p in places) == list(range(len(prompts)))
        by_beginning: dict[tuple[int, ...], set[tuple[int, int]]] = {}
        for place in places:
            lengths = [s.length for s in place.path]
            assert lengths == sorted(set(lengths))
            assert not lengths or lengths[-1] <= len(prompts[place.index]) - 2
            for shared in place.path:
                key = tuple(prompts[place.index][: shared.length])
                by_beginning.setdefault(key, set()).add((shared.length, shared.rows))
        assert all(len(said) == 1 for said in by_beginning.values())


def test_a_thousand_prompts_that_part_one_after_another_are_no_trouble() -> None:
    assert len(arrange([[1] * k + [2, 3] for k in range(1000)], 50)) == 1000


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("available", "rows"), [(None, 16), (10**12, 16), (0, 1), (2 * 100 * 1000 * 5, 4)])
def test_rows_that_fit(available: int | None, rows: int) -> None:
    # 2 (keys, values) × 5 layers × 5 heads × 5 numbers × 4 bytes = 1000 bytes a token.
    config = SimpleNamespace(
        num_hidden_layers=5, num_attention_heads=10, num_key_value_heads=5, hidden_size=50
    )
    assert token_bytes(config, 4) == 1000
    assert rows_that_fit(config, 4, 100, available, 16) == rows


def test_time_of_a_shared_beginning_is_divided_over_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr("workbench.backends.generation.clock", lambda device: float(next(ticks)))
    prompts = [[5] * 30 + [k, 9, 9] for k in range(10, 14)]
    batches = read(tiny("llama"), prompts, 2, worth=10)
    seconds = [s for _, batch, _ in batches for s in batch.seconds]
    # The clock goes on by one each time it is read. The beginning's pass takes one tick, a quarter for each
    # row whichever batch it came with; of their own work the clock is read twice, by two rows in each batch.
    assert seconds == [1.25] * 4


# -- a real model ----------------------------------------------------------------------------------


def test_a_real_models_few_shot_answers_are_those_of_generate(tmp_path: Path) -> None:
    import torch

    folder = fetch("smollm2-135m-instruct")
    settings = HfBackend(kind="hf", model=str(folder), dtype="float32", device="cpu", batch_size=3)
    backend = Backend(settings.model_copy(update={"max_new_tokens": 5}), tmp_path)
    shots = [
        ("My pump is silent.", "bench/water"),
        ("Charged twice!", "till/charge"),
        ("No parcel.", "post/late"),
    ]
    block = [Message(r, t) for shot in shots for r, t in zip(("user", "assistant"), shot, strict=True)]
    asked = ["It leaks.", "My invoice is wrong, and nobody answers.", "Where is my order?", "It leaks again!"]
    prompts = [Prompt(id=t, messages=(Message("system", "Sort."), *block, Message("user", t))) for t in asked]
    rows = {p.id: p for p in backend.answer([Request(prompt=p, references=("post/late",)) for p in prompts])}
    for prompt in prompts:
        ids = torch.tensor([backend.tokenizer.prompt_ids(prompt.messages)])
        out = backend._weights.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False
        )
        wanted = backend.tokenizer.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        assert rows[prompt.id].prediction == wanted
