"""Every family of causal models: rows packed in isolation, the loss in chunks, what is trained found by name."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from tests.conftest import make_tiny_model
from tests.test_training import QUIET, examples, loss_by_hand, settings_for
from validators.encoding import encode
from validators.tokens import load_hf_tokenizer
from workbench.adapters import check_adapter
from workbench.runs import Run
from workbench.training import TrainingError, TrainingSettings, encode_rows, fine_tune
from workbench.training.attention import set_packed_attention, why_not_packed
from workbench.training.loss import attach_loss
from workbench.training.methods import linear_names, load_base, with_method
from workbench.training.packing import collate_packed, pack, pack_rows
from workbench.training.rows import IGNORED, collate

WIDTH: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {**WIDTH, "num_key_value_heads": 2}
# Windows and caps that bind on the rows of these tests.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", GROUPED),
    "qwen2": ("Qwen2", {**GROUPED, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {**GROUPED, "head_dim": 8}),
    "gemma": ("Gemma", {**GROUPED, "head_dim": 8}),
    "gemma2": ("Gemma2", {**GROUPED, "head_dim": 8, "sliding_window": 7, "final_logit_softcapping": 3.0}),
    "gemma3": ("Gemma3Text", {**GROUPED, "head_dim": 8, "sliding_window": 7}),
    "phi": ("Phi", WIDTH),
    "phi3": ("Phi3", GROUPED),
    "mistral": ("Mistral", {**GROUPED, "head_dim": 8, "sliding_window": 6}),
    "cohere": ("Cohere", GROUPED),
    "granite": ("Granite", {**GROUPED, "logits_scaling": 4.0}),
    "gpt-neox": ("GPTNeoX", WIDTH),
    "gpt2": ("GPT2", {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
}


def family(name: str, seed: int = 0, **changed: Any) -> Any:
    """A tiny model with random weights that are wide enough for its logits to differ."""
    kind, settings = FAMILIES[name]
    config = getattr(transformers, f"{kind}Config")(**(settings | changed))
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(3)
    return model


def rows_of(
    lengths: tuple[int, ...] = (5, 23, 11, 3, 17), vocabulary: int = 97
) -> list[dict[str, list[int]]]:
    chance = random.Random(4)
    rows = []
    for length in lengths:
        ids = [chance.randrange(3, vocabulary) for _ in range(length)]
        rows.append({"input_ids": ids, "labels": [IGNORED] * (length // 2) + ids[length // 2 :]})
    return rows


# -- packing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 8, 32])
def test_as_many_bins_as_batches_and_every_row_once(batch_size: int) -> None:
    chance = random.Random(1)
    lengths = [max(1, int(chance.lognormvariate(4, 0.7))) for _ in range(1000)]
    bins = pack(lengths, batch_size, seed=5)
    assert sorted(index for one in bins for index in one) == list(range(1000))
    assert len(bins) == math.ceil(1000 / batch_size)
    assert bins == pack(lengths, batch_size, seed=5) != pack(lengths, batch_size, seed=6)


@pytest.mark.parametrize(("batch_size", "spread"), [(16, 0.5), (16, 0.6), (32, 0.9), (64, 1.0)])
def test_bins_are_equally_full(batch_size: int, spread: float) -> None:
    chance = random.Random(1)
    lengths = [min(4096, max(8, int(chance.lognormvariate(4, spread)))) for _ in range(4000)]
    filled = [sum(lengths[i] for i in one) for one in pack(lengths, batch_size)]
    assert sum(filled) / (len(filled) * max(filled)) >= 0.98


def test_no_rows_are_no_bins() -> None:
    assert pack_rows([], 8, 1) == [] and pack([], 8) == []


# -- attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_packed_rows_have_the_logits_they_have_alone(name: str) -> None:
    model, rows = family(name), rows_of()
    alone = [model(input_ids=torch.tensor([row["input_ids"]])).logits[0] for row in rows]
    assert why_not_packed(model, rows) is None
    batch = collate_packed([rows[:2], rows[2:]])
    batch.pop("labels")
    together = model(**batch, use_cache=False).logits[0]
    assert (together - torch.cat(alone)).abs().max() <= 1e-5 * max(1.0, float(together.abs().max()))


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_a_row_moves_no_gradient_of_another(name: str) -> None:
    """Also through gradient checkpointing."""
    model, rows = family(name), rows_of()
    set_packed_attention(model)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    states = model.get_input_embeddings()(collate_packed([rows])["input_ids"]).detach().requires_grad_()
    batch = collate_packed([rows])
    del batch["labels"], batch["input_ids"]
    logits = model.train()(inputs_embeds=states, **batch, use_cache=False).logits
    second = slice(5, 28)
    logits[0, second].sum().backward()
    moved = states.grad[0].abs().sum(-1) > 0
    assert moved[second].all() and not moved[: second.start].any() and not moved[second.stop :].any()


@pytest.mark.parametrize("kind", ["Mamba", "Bloom"])
def test_models_that_cannot_be_packed_are_told_by_their_logits(kind: str) -> None:
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=97, hidden_size=32, num_hidden_layers=2, n_layer=2, n_head=4, state_size=4
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    before = model.config._attn_implementation
    told = why_not_packed(model, rows_of())
    assert told is not None and kind in told
    assert model.config._attn_implementation == before


def test_a_window_that_is_not_honoured_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.training import attention

    plain = attention._row
    monkeypatch.setattr(attention, "_row", lambda s, d, c, _window, cap: plain(s, d, c, None, cap))
    assert "read otherwise" in str(why_not_packed(family("mistral"), rows_of()))
    # Rows that are shorter than the window lose nothing by it.
    assert why_not_packed(family("mistral"), rows_of((3, 5, 6))) is None


# -- the loss ------------------------------------------------------------------------------------


def gradients(model: Any, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(**batch, use_cache=False).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_in_chunks_is_the_model_s_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads with bias, tied, scaled and capped ones; in loss and in every gradient, all weights trained."""
    monkeypatch.setattr("workbench.training.loss.CHUNK", 97 * 4)
    model, rows = family(name), rows_of()
    batch = collate(rows, 0)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    plain = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )
    plain.backward()
    wanted = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    assert attach_loss(model)
    found = gradients(model, batch)
    with torch.no_grad():
        assert model(**batch, use_cache=False).loss.item() == pytest.approx(plain.item(), rel=1e-6)
    assert set(found) == set(wanted)
    for key, gradient in wanted.items():
        assert torch.allclose(found[key], gradient, rtol=1e-4, atol=1e-4 * float(gradient.abs().max())), key


def test_a_head_that_cannot_be_told_leaves_the_model_s_own_logits() -> None:
    model, rows = family("llama"), rows_of()
    batch = collate(rows, 0)
    plain, own = loss_by_hand(model, rows, 0), model.forward

    def shifted(*args: Any, **inputs: Any) -> Any:
        """Like a model that adds something to its logits which depends on the prompt."""
        out = own(*args, **inputs)
        return out if inputs["input_ids"].sum() == 0 else replace_logits(out)

    def replace_logits(out: Any) -> Any:
        out.logits = out.logits + torch.arange(97.0)
        return out

    model.forward = shifted
    assert not attach_loss(model)
    trained = sum(label != IGNORED for row in rows for label in row["labels"])
    assert model(**batch).loss.item() / trained != pytest.approx(plain, rel=1e-3)


def test_whole_logits_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head sees trained positions alone, and no more of them at once than a chunk holds."""
    monkeypatch.setattr("workbench.training.loss.CHUNK", 97 * 16)
    model, rows = family("llama"), rows_of()
    seen: list[int] = []
    assert attach_loss(model)
    model.lm_head.register_forward_hook(lambda _m, given, _o: seen.append(given[0].shape[-2]))
    model(**collate_packed([rows]), use_cache=False).loss.backward()
    assert sum(seen) == sum(label != IGNORED for row in rows for label in row["labels"])
    assert max(seen) == 16


# -- what is trained -----------------------------------------------------------------------------

LINEAR = {
    "llama": "down_proj gate_proj k_proj o_proj q_proj up_proj v_proj",
    "phi": "dense fc1 fc2 k_proj q_proj v_proj",
    "phi3": "down_proj gate_up_proj o_proj qkv_proj",
    "gpt-neox": "dense dense_4h_to_h dense_h_to_4h query_key_value",
    "gpt2": "c_attn c_fc c_proj",
}
SETTINGS = TrainingSettings(
    *("lora", "tiny", Path(), "cpu", "float32"),
    epochs=1,
    learning_rate=1e-3,
    rank=4,
    alpha=8,
    batch_size=2,
    max_length=128,
    seed=3,
)


@pytest.mark.parametrize("name", FAMILIES)
def test_adapters_find_every_linear_layer_but_the_head(name: str) -> None:
    model = family(name)
    names = linear_names(model)
    assert names == LINEAR.get(name, " ".join(names)).split() and "lm_head" not in names
    adapted = with_method(model, SETTINGS)
    layers = {n.rsplit(".", 1)[-1] for n, m in adapted.named_modules() if hasattr(m, "lora_A")}
    assert layers == set(names)
    trained = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in n for n in trained)


def losses_of(model: Any, batch: dict[str, Any], steps: int) -> list[float]:
    """The loss before each of so many steps of a plain optimiser on one batch."""
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = model(**batch, use_cache=False).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_packed_rows_train_under_mixed_precision(name: str, dtype: torch.dtype) -> None:
    """All weights in float32 have queries and keys in float32 beside values in bf16."""
    model, batch = family(name).to(dtype), collate_packed([rows_of()])
    assert attach_loss(model)
    set_packed_attention(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(model, batch)
    exact = family(name).to(dtype).float()
    assert attach_loss(exact)
    set_packed_attention(exact)
    wanted = gradients(exact, batch)
    apart = torch.cat([(found[n].float() - wanted[n]).flatten() for n in wanted])
    assert apart.norm() < 0.1 * torch.cat([g.flatten() for g in wanted.values()]).norm()


METHODS: list[dict[str, Any]] = [{}, {"dora": True}, {"rslora": True}, {"modules_to_save": ("lm_head",)}]


@pytest.mark.parametrize("changed", METHODS, ids=str)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_packed_step_lowers_the_loss(name: str, changed: dict[str, Any]) -> None:
    model = family(name, tie_word_embeddings=False)
    rows = rows_of()
    assert why_not_packed(model, rows) is None
    adapted = with_method(model, replace(SETTINGS, **changed))
    assert attach_loss(model)
    losses = losses_of(adapted, collate_packed([rows]), steps=6)
    assert all(p.grad is not None for p in adapted.parameters() if p.requires_grad)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"target_modules": ("q_prj",)},
            r"target_modules: LlamaForCausalLM has no 'q_prj'\. Did you mean 'q_proj'\?",
        ),
        (
            {"target_modules": ("lm_head",)},
            r"Choose from down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj",
        ),
        ({"modules_to_save": ("embeddings",)}, r"modules_to_save: .*no 'embeddings'.*embed_tokens"),
    ],
)
def test_odd_names_are_refused_with_the_names_to_choose_from(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        with_method(family("llama"), replace(SETTINGS, **changed))


def tuned(folder: Path, run: Path, **changed: Any) -> Any:
    tokenizer = load_hf_tokenizer("tiny", folder)
    return fine_tune(settings_for(folder, **changed), examples(), {}, tokenizer, Run(run), QUIET)


@pytest.mark.filterwarnings("error:Unable to fetch remote file")
def test_an_adapter_is_trained_further(tiny_model: Path, tmp_path: Path) -> None:
    tuned(tiny_model, tmp_path / "first", rank=3, alpha=5, epochs=4, learning_rate=1e-2)
    earlier = Run(tmp_path / "first").adapter_folder("lora")
    tuned(tiny_model, tmp_path / "second", continue_from=earlier, epochs=1)
    later = Run(tmp_path / "second").adapter_folder("lora")
    config = json.loads((later / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (3, 5)
    logs = [Run(tmp_path / part).training("lora") for part in ("first", "second")]
    assert logs[1][0]["loss"] < 0.98 * logs[0][0]["loss"]  # it begins where the other ended


def test_an_adapter_with_a_pattern_of_modules_keeps_it(tiny_model: Path, tmp_path: Path) -> None:
    earlier, pattern = tmp_path / "earlier", r".*\.(q|v)_proj"
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    config = peft.LoraConfig(r=3, target_modules=pattern, task_type="CAUSAL_LM")
    peft.get_peft_model(base, config).save_pretrained(earlier)
    told = json.loads((earlier / "adapter_config.json").read_text())
    (earlier / "adapter_config.json").write_text(json.dumps(told | {"base_model_name_or_path": "tiny"}))
    tuned(tiny_model, tmp_path / "run", continue_from=earlier, epochs=1)
    later = Run(tmp_path / "run").adapter_folder("lora")
    assert json.loads((later / "adapter_config.json").read_text())["target_modules"] == pattern
    check_adapter(later, "tiny", tiny_model)


def test_an_adapter_of_another_base_is_refused_by_name(tiny_model: Path, tmp_path: Path) -> None:
    tuned(tiny_model, tmp_path / "first", epochs=1)
    earlier = Run(tmp_path / "first").adapter_folder("lora")
    other = make_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(
        TrainingError, match=r"is an adapter of tiny with the weights \w+, .* here is tiny with other"
    ):
        tuned(other, tmp_path / "second", continue_from=earlier)
    with pytest.raises(TrainingError, match=r"continue_from: .* holds no adapter_config.json"):
        tuned(tiny_model, tmp_path / "third", continue_from=tmp_path)


def test_all_weights_train_and_the_folder_is_a_whole_model(tiny_model: Path, tmp_path: Path) -> None:
    summary = tuned(tiny_model, tmp_path, method="full", epochs=8, learning_rate=3e-3)
    log = [row["loss"] for row in Run(tmp_path).training("lora") if "loss" in row]
    assert summary.packing == "packed" and log[-1] < 0.9 * log[0]
    folder = Run(tmp_path).contender_folder("lora") / "model"
    assert not Run(tmp_path).adapter_folder("lora").exists()
    again = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert again.config.use_cache, "who loads it would answer slowly"
    tokenizer = load_hf_tokenizer("tiny", folder)
    rows = encode_rows(examples(), tokenizer, 128)
    assert loss_by_hand(again, rows, 1) < 0.9 * log[0]
    assert tokenizer.tokenizer.chat_template == load_hf_tokenizer("tiny", tiny_model).tokenizer.chat_template


def test_four_bits_learn_also_after_a_generate(tmp_path: Path) -> None:
    """On CPUs with bf16 products, a forward without gradients would else repack the weights and stop all learning."""
    import bitsandbytes

    folder = make_tiny_model(tmp_path / "base", hidden_size=128, intermediate_size=256)
    settings = settings_for(folder, method="qlora", dtype="bfloat16", rank=8)
    model = load_base(settings)
    layers = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14 and all(m.support_avx512bf16_for_cpu is False for m in layers)
    assert all(m.weight.quant_state.nested for m in layers)
    rows = encode_rows(examples(), load_hf_tokenizer("tiny", folder), 128)
    model.generate(input_ids=torch.tensor([rows[0]["input_ids"][:5]]), max_new_tokens=2, do_sample=False)
    assert why_not_packed(model, rows) is None
    adapted = with_method(model, settings)
    attach_loss(model)
    losses = losses_of(adapted, collate_packed([rows]), steps=16)
    assert losses[-1] < 0.9 * losses[0]


# -- rows as they are asked ----------------------------------------------------------------------


def test_the_training_prompt_is_the_inference_prompt(tiny_model: Path) -> None:
    """Its ids are a prefix of the training row, up to the first token that trains; BOS stands once."""
    tokenizer = load_hf_tokenizer("tiny", tiny_model)
    for example in examples().values():
        encoding = encode(example, tokenizer)
        prompt = tokenizer.prompt_ids(example.messages[:-1])
        begin = encoding.loss_mask.index(1)
        assert list(encoding.ids[:begin]) == list(prompt)
        assert encoding.ids.count(tokenizer.tokenizer.bos_token_id) == len(
            example.messages
        )  # a turn's mark here


def test_a_template_that_writes_bos_gets_no_second_one(tmp_path: Path) -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    folder = make_tiny_model(tmp_path, template=template)
    tokenizer = load_hf_tokenizer("tiny", folder)
    (row, *_) = encode_rows(examples(1), tokenizer, 128)
    assert row["input_ids"].count(tokenizer.tokenizer.bos_token_id) == 1
    assert row["labels"][-1] == row["input_ids"][-1] == tokenizer.tokenizer.eos_token_id


def trl_loss(model: Any, rows: list[dict[str, list[int]]], folder: Path) -> float:
    """The loss of TRL's SFTTrainer over rows, padded in one batch."""
    import datasets
    import trl

    arguments = trl.SFTConfig(
        output_dir=str(folder / "out"),
        use_cpu=True,
        bf16=False,
        report_to="none",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        per_device_train_batch_size=len(rows),
        remove_unused_columns=False,
    )
    theirs = trl.SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=load_hf_tokenizer("tiny", make_tiny_model(folder / "base")).tokenizer,
    )
    loss: float = theirs.compute_loss(model, next(iter(theirs.get_train_dataloader()))).item()
    return loss


def test_the_loss_is_that_of_trl(tmp_path: Path) -> None:
    """Ours packed, theirs padded."""
    model, rows = family("llama"), rows_of()
    expected = trl_loss(model, rows, tmp_path)
    assert why_not_packed(model.eval(), rows) is None and attach_loss(model)
    trained = sum(label != IGNORED for row in rows for label in row["labels"])
    found = model(**collate_packed([rows]), use_cache=False).loss.item() / trained
    assert found == pytest.approx(expected, abs=1e-4)
