"""Packed rows that begin alike: what they share is computed once, and nothing else changes."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.test_training_models import FAMILIES, family
from workbench.training import attention
from workbench.training.attention import set_packed_attention, why_not_packed
from workbench.training.loss import attach_loss
from workbench.training.packing import Row, apart, collate_packed, common_beginning, useful_tokens
from workbench.training.room import in_parts
from workbench.training.rows import IGNORED, collate

X = IGNORED


def rows_that_begin_alike(shared: int = 9, owns: tuple[int, ...] = (4, 14, 3, 8)) -> list[Row]:
    chance = random.Random(3)
    begin = [chance.randrange(3, 97) for _ in range(shared)]
    rows: list[Row] = []
    for number, own in enumerate(owns):
        ids = [*begin, 90 + number, *(chance.randrange(3, 97) for _ in range(own - 1))]
        rows.append({"input_ids": ids, "labels": [X] * (len(ids) - 2) + ids[-2:]})
    return rows


def row(ids: list[int], labels: list[int]) -> Row:
    return {"input_ids": ids, "labels": labels}


@pytest.mark.parametrize(
    ("rows", "shared"),
    [
        ([row([1, 2, 3, 4], [X, X, X, 4])], 0),  # nobody to share with
        ([row([1, 2, 3, 4], [X, X, X, 4]), row([1, 2, 5, 6], [X, X, X, 6])], 2),
        ([row([1, 2, 3, 4], [X, X, X, 4]), row([7, 2, 3, 4], [X, X, X, 4])], 0),
        # The state of 3 is judged by 4, in rows that are wholly alike too.
        ([row([1, 2, 3, 4], [X, X, X, 4])] * 2, 2),
        # In one row the state of 1 is judged.
        ([row([1, 2, 3, 4], [X, 2, X, 4]), row([1, 2, 3, 5], [X, X, X, 5])], 0),
        ([row([1, 2, 3, 4], [1, X, X, 4]), row([1, 2, 3, 5], [X, X, X, 5])], 2),
        ([row([0, 0], [X, X]), row([0, 0, 3, 5], [X, X, X, 5])], 1),  # rows that train nothing
    ],
)
def test_how_much_rows_share(rows: list[Row], shared: int) -> None:
    assert common_beginning(rows) == shared


def test_what_is_shared_stands_once() -> None:
    rows = [row([1, 2, 3, 4], [X, X, X, 4]), row([1, 2, 5, 6, 7], [X, X, X, 6, 7])]
    batch = collate_packed([rows])
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5, 6, 7]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 2, 3, 4]]
    assert batch["labels"].tolist() == [[X, X, X, 4, X, 6, 7]]
    assert batch["cu_seq_lens_q"].tolist() == [0, 2, 4, 7]
    assert batch["cu_seq_lens_k"].tolist() == [0, 2, 6, 11]
    assert batch["key_places"].tolist() == [0, 1, 0, 1, 2, 3, 0, 1, 4, 5, 6]
    assert int(useful_tokens(batch)) == 9


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_those_of_rows_alone(name: str) -> None:
    model, rows = family(name), rows_that_begin_alike()
    with torch.no_grad():
        alone = torch.cat([model(input_ids=torch.tensor([r["input_ids"]])).logits[0] for r in rows])
        assert why_not_packed(model, rows) is None
        batch = collate_packed([rows])
        del batch["labels"]
        together = apart(model(**batch, use_cache=False).logits[0], batch)
    assert batch["input_ids"].shape[1] == 9 + 4 + 14 + 3 + 8
    assert float((together - alone).abs().max()) <= 1e-5 * max(1.0, float(alone.abs().max()))


def kernel(q: Any, k: Any, v: Any, asked: Any, seen: Any, most: int, most_seen: int, **how: Any) -> Any:
    """What torch's variable-length attention computes [tokens, heads, size], where there is no GPU to do so."""
    assert how["window_size"][1] == 0
    assert (most, most_seen) == tuple(int(ends.diff().max()) for ends in (asked, seen))
    parts = []
    for number in range(len(asked) - 1):
        rows = slice(*asked[number : number + 2].tolist()), slice(*seen[number : number + 2].tolist())
        one, keys, values = (x[rows[i > 0]].transpose(0, 1) for i, x in enumerate((q, k, v)))
        # Causal by the last key.
        far = torch.ones(one.shape[1], keys.shape[1]).triu(keys.shape[1] - one.shape[1] + 1).bool()
        if (window := how["window_size"][0]) >= 0:
            far |= torch.ones_like(far).tril(keys.shape[1] - one.shape[1] - window - 1).bool()
        scores = (one @ keys.transpose(1, 2) * how["scale"]).masked_fill(far, -torch.inf)
        parts.append((scores.softmax(-1) @ values).transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen3"])
def test_a_gpu_is_told_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that share go through the variable-length kernel too: it takes other lengths of queries than of keys."""
    asked: Any = SimpleNamespace(is_cuda=True, dtype=torch.bfloat16, shape=(1, 4, 7, 8))
    assert attention._varlen(asked, torch.empty(1, 4, 19, 8)) is not None
    assert attention._varlen(asked, torch.empty(1, 4, 7, 16)) is None
    monkeypatch.setattr(attention, "_varlen", lambda *_: kernel)
    assert why_not_packed(family(name), rows_that_begin_alike()) is None


def gradients(model: Any, batches: list[dict[str, Any]]) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    losses = []
    for batch in batches:
        loss = model(**batch, use_cache=False).loss
        loss.backward()
        losses.append(loss.item())
    return sum(losses), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", ["llama", "gemma2", "mistral", "gpt-neox", "gpt2"])
def test_loss_and_gradients_are_those_of_padded_rows(name: str, recompute: bool) -> None:
    rows = rows_that_begin_alike()
    model = family(name)
    assert attach_loss(model)
    expected, wanted = gradients(model, [collate(rows, 0)])
    set_packed_attention(model)
    if recompute:
        model.train()
        model.gradient_checkpointing_enable({"use_reentrant": False})
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    batch = collate_packed([rows])
    for parts in (1, 2, 3):  # as where memory runs out
        found, gradient = gradients(model, in_parts(batch, parts))
        assert found == pytest.approx(expected, rel=1e-6)
        assert float((gradient - wanted).abs().max()) <= 2e-5 * float(wanted.abs().max())


@given(st.integers(0, 6), st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(1, 4))
def test_parts_hold_every_own_token_once(shared: int, owns: list[int], parts: int) -> None:
    rows = rows_that_begin_alike(shared, tuple(own + 1 for own in owns))
    batch = collate_packed([rows])
    begin = common_beginning(rows)
    cut = in_parts(batch, parts)
    own = [i for part in cut for i in part["input_ids"][0, begin:].tolist()]
    assert own == batch["input_ids"][0, begin:].tolist()
    assert sum(int(useful_tokens(part)) for part in cut) == sum(len(r["input_ids"]) for r in rows)
    assert all(part["input_ids"].shape == part["position_ids"].shape for part in cut)
