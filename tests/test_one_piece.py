"""LoRA layers in one piece: peft's sums, and peft's own way wherever they would not be."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import peft
import pytest
import torch

from tests.test_training_models import FAMILIES, SETTINGS, family, gradients, rows_of
from workbench.training.loss import attach_loss
from workbench.training.methods import with_method
from workbench.training.one_piece import in_one_piece
from workbench.training.rows import collate


def adapted(name: str, dtype: Any = torch.float32, **changed: Any) -> Any:
    """A tiny model as peft makes it, with an adapter whose two halves are random."""
    torch.manual_seed(1)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, **changed
    )
    model = family(name).to(dtype)
    made = peft.get_peft_model(model, config)
    for weight in made.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float() * 0.3
    assert attach_loss(model)
    return made.train()


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "gpt2"])
def test_loss_and_gradients_are_peft_s(name: str) -> None:
    batch = collate(rows_of(), 0)
    theirs, ours = adapted(name), adapted(name)
    assert in_one_piece(ours) > 0
    with torch.no_grad():
        losses = [float(model(**batch, use_cache=False).loss) for model in (theirs, ours)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    wanted, found = gradients(theirs, batch), gradients(ours, batch)
    assert set(found) == set(wanted) and found
    largest = max(float(g.abs().max()) for g in wanted.values())
    assert all(float((found[n] - wanted[n]).abs().max()) <= 1e-5 * largest for n in wanted)


def test_mixed_precision_rounds_no_more_than_peft_s() -> None:
    """Gradients of a bf16 base under autocast, against those of the same weights in float32."""
    batch = collate(rows_of(), 0)
    low = [adapted("llama", torch.bfloat16) for _ in range(2)]
    assert in_one_piece(low[1]) == 14
    exact = adapted("llama", torch.bfloat16).float()
    wanted = torch.cat([g.flatten() for g in gradients(exact, batch).values()])
    apart = []
    for model in low:
        with torch.autocast("cpu", torch.bfloat16):
            found = gradients(model, batch)
        assert {g.dtype for g in found.values()} == {torch.float32}
        apart.append(
            float((torch.cat([g.flatten() for g in found.values()]) - wanted).norm() / wanted.norm())
        )
    assert apart[1] <= 1.2 * apart[0] < 0.1, apart


@pytest.mark.parametrize("how", ["scored", "switched off"])
def test_outside_training_a_layer_is_peft_s_to_the_bit(how: str) -> None:
    ids = {"input_ids": torch.tensor([[5, 6, 7, 8]])}
    theirs, ours = adapted("llama"), adapted("llama")
    in_one_piece(ours)
    logits = []
    for model in (theirs, ours):
        with torch.no_grad(), model.disable_adapter() if how != "scored" else contextlib.nullcontext():
            logits.append(model.train(how != "scored")(**ids).logits)
    assert torch.equal(*logits)


@pytest.mark.parametrize(
    ("name", "changed", "count"),
    [
        ("llama", {}, 14),
        ("llama", {"dropout": 0.1}, 0),
        ("llama", {"dora": True}, 0),
        ("llama", {"rslora": True}, 14),
        ("llama", {"target_modules": ("q_proj", "v_proj")}, 4),
        ("llama", {"modules_to_save": ("lm_head",)}, 14),
        ("gpt2", {}, 0),
    ],
    ids=str,
)
def test_which_layers_are_in_one_piece(name: str, changed: dict[str, Any], count: int) -> None:
    model = with_method(family(name, tie_word_embeddings=False), replace(SETTINGS, **changed))
    layers = [m for m in model.modules() if isinstance(m, peft.tuners.lora.Linear)]
    assert sum("forward" in vars(layer) for layer in layers) == count
    assert changed or name != "llama" or len(layers) == count


def test_a_bias_of_the_adapter_and_a_second_adapter_are_left_to_peft() -> None:
    assert in_one_piece(adapted("llama", lora_bias=True)) == 0
    two = adapted("llama")
    two.add_adapter("other", peft.LoraConfig(r=2, target_modules="all-linear"))
    assert in_one_piece(two) == 0
    # One that comes later, too.
    later, batch = adapted("llama"), collate(rows_of(), 0)
    in_one_piece(later)
    before = float(later(**batch, use_cache=False).loss)
    later.add_adapter("other", peft.LoraConfig(r=2, target_modules="all-linear"))
    assert float(later(**batch, use_cache=False).loss) == pytest.approx(before, rel=1e-6)


def test_a_layer_without_tokens_has_no_answer() -> None:
    """As an expert that nothing is sent to."""
    model = adapted("llama")
    in_one_piece(model)
    layer = next(m for m in model.modules() if isinstance(m, peft.tuners.lora.Linear))
    assert layer(torch.empty(0, layer.in_features)).shape == (0, layer.out_features)
