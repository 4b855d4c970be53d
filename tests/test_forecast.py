"""What a training takes, foretold and done: shapes, kept activations, what fits, and what happens when memory runs out."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.test_training import PAIRS, chat, train
from tests.trainings import Case, little_memory, make_base
from tests.trainings import train as train_case
from workbench.forecast import Pace, Workload, fitted, peak_bytes, training_seconds
from workbench.forecast import _kept_in_layer as kept_in_layer
from workbench.runs import Run
from workbench.shapes import model_size, size_of

GB = 10**9
HEADS: dict[str, Any] = {"num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 4}
WIDE: dict[str, Any] = {"hidden_size": 1024, "intermediate_size": 3584, "vocab_size": 32000, **HEADS}
PLAIN = {k: v for k, v in WIDE.items() if k != "num_key_value_heads"}
GPT2 = {"n_embd": 768, "n_layer": 4, "n_head": 12, "n_positions": 512, "vocab_size": 32000}
# Llama 3.1 8B, by its published config.
LLAMA_8B = {
    "model_type": "llama",
    **(
        WIDE
        | {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "vocab_size": 128256}
    ),
}
SMALL = Workload("lora", "float32", "cpu", batch_size=4, lengths=(64,) * 8, trained=256, rank=4)


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("llama", WIDE),
        ("mistral", WIDE),
        ("qwen2", WIDE),
        ("qwen3", WIDE | {"head_dim": 64}),
        ("gemma2", WIDE | {"head_dim": 64}),
        ("phi3", WIDE),
        ("phi", PLAIN),
        ("gpt_neox", PLAIN),
        ("gpt2", GPT2),
    ],
)
def test_a_config_tells_the_size(family: str, shape: dict[str, Any]) -> None:
    import torch
    import transformers
    from transformers.pytorch_utils import Conv1D

    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.AutoConfig.for_model(family, **shape, **ends)
    auto: Any = transformers.AutoModelForCausalLM
    with torch.device("meta"):
        model = auto.from_config(config)
    size = size_of(config.to_diff_dict())
    head = model.get_output_embeddings()
    linear = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear | Conv1D) and m is not head]
    assert size.parameters == pytest.approx(sum(p.numel() for p in model.parameters()), rel=5e-4)
    assert size.multiplied == sum(w.numel() for w in linear)
    assert size.linear == sum(sum(w.shape) for w in linear)


@pytest.mark.parametrize(
    ("family", "method", "dtype"),
    [
        ("llama", "lora", "bfloat16"),
        ("llama", "lora", "float32"),
        ("llama", "full", "float32"),
        ("qwen3", "lora", "bfloat16"),
        ("gpt_neox", "lora", "float32"),
        ("phi", "lora", "bfloat16"),
    ],
)
@pytest.mark.parametrize("changed", [{}, {"shared": 56}, {"dora": True}, {"dropout": 0.1}], ids=str)
def test_what_a_layer_keeps_is_what_torch_saves(
    family: str, method: Any, dtype: str, changed: dict[str, Any], tmp_path: Path
) -> None:
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "vocab_size": 512}
    shape |= {} if family in ("phi", "gpt_neox") else {"num_key_value_heads": 2}
    shape |= {"head_dim": 32} if family == "qwen3" else {}
    work = replace(SMALL, method=method, dtype=dtype, lengths=(64,) * 4, **changed)
    found = [_saved(family, shape | {"num_hidden_layers": n}, work, tmp_path / str(n)) for n in (1, 2)]
    size = size_of({"model_type": family, "num_hidden_layers": 2, **shape})
    assert kept_in_layer(size, work) == pytest.approx((found[1] - found[0]) / work.fullest, rel=0.12)


def _saved(family: str, shape: dict[str, Any], work: Workload, folder: Path) -> int:
    """Bytes that one packed micro-batch keeps for its backward pass, weights left out."""
    import torch
    import transformers

    from workbench.training.pace import _model
    from workbench.training.packing import collate_packed

    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = _model(
        transformers.AutoConfig.for_model(family, **shape, **ends), shape["num_hidden_layers"], work
    )
    own = {x.untyped_storage().data_ptr() for x in (*model.parameters(), *model.buffers())}
    held: dict[int, Any] = {}

    def hold(tensor: Any) -> Any:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            held[place] = tensor
        return tensor

    begin = list(range(work.shared))
    rows = [
        {"input_ids": begin + list(range(i + 100, i + 164 - len(begin))), "labels": [-100] * 60 + [3] * 4}
        for i in range(4)
    ]
    low = torch.autocast("cpu", torch.bfloat16) if work.low else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda t: t), low:
        model(**collate_packed([rows]), use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


def test_large_shapes_on_a_gpu() -> None:
    """One H200, rows packed to 8,192 tokens, 40 % trained: 75 GiB were measured, and 11.0 with 4 bits and checkpoints."""
    size = size_of(LLAMA_8B)
    work = Workload("lora", "bfloat16", "cuda", batch_size=1, lengths=(8192,), trained=3277)
    lean = replace(work, method="qlora", checkpointing=True)
    assert peak_bytes(size, work) / 2**30 == pytest.approx(75, rel=0.15)
    assert peak_bytes(size, lean) / 2**30 == pytest.approx(11.0, rel=0.15)


def test_the_first_way_that_fits() -> None:
    size = size_of(LLAMA_8B)
    work = Workload("lora", "bfloat16", "cuda", batch_size=8, lengths=(1024,) * 64, trained=32768)
    ways = [fitted(size, work, "auto", free * GB) for free in (200, 30, 20, 5)]
    assert [(way.checkpointing, way.parts, fits) for way, fits in ways] == [
        (False, 1, True),
        (True, 1, True),
        (True, 4, True),
        (True, 8, False),
    ]
    assert [fitted(size, work, switch, 30 * GB)[0].checkpointing for switch in ("on", "off")] == [True, False]  # type: ignore[arg-type]
    assert fitted(size, work, "auto", None) == (work, True)
    assert fitted(size, replace(work, batch_size=6), "auto", 5 * GB)[0].parts == 6


def test_ways_that_are_not_open() -> None:
    """A loss of one's own sees whole micro-batches, several processes stay in step and share a CPU's memory."""
    size = size_of(LLAMA_8B)
    work = Workload("lora", "bfloat16", "cpu", batch_size=8, lengths=(1024,) * 64, trained=32768)
    for closed in (replace(work, own_loss=True), replace(work, processes=2)):
        assert [fitted(size, closed, "auto", n * GB)[0].parts for n in (200, 5)] == [1, 1]
    own = replace(work, own_loss=True)
    # 8,192 tokens have logits at once instead of 130, of 16 bytes each with all that is made of them.
    assert peak_bytes(size, own) - peak_bytes(size, work) == 16 * (
        8 * 1024 * 128256 - 2**24 // 128256 * 128256
    )
    needed = peak_bytes(size, work) / 0.9 + 1
    assert fitted(size, work, "off", int(needed))[1]
    assert not fitted(size, replace(work, processes=2), "off", int(1.9 * needed))[1]
    assert fitted(size, replace(work, processes=2, device="cuda"), "off", int(needed))[1]


def test_what_rows_share_is_computed_once_a_batch() -> None:
    alike = replace(SMALL, shared=40)
    assert (SMALL.fullest, alike.fullest) == (256, 40 + 4 * 24)
    assert (SMALL.computed, alike.computed) == (512, 512 - 40 * 6)
    assert replace(alike, packed=False).fullest == 256


def test_seconds_by_hand() -> None:
    # 512 tokens at a hundredth of a second, two updates, and half as much for each token of 100 on dev; twice.
    pace = Pace(tokens=100, batch=1.0, update=0.1)
    assert training_seconds(SMALL, pace, epochs=2, dev_tokens=100) == pytest.approx(2 * (5.12 + 0.2 + 0.5))


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_the_pace_is_measured_by_real_steps(method: Any, tiny_model: Path) -> None:
    import torch

    from workbench.training.pace import measured_pace

    before = torch.random.get_rng_state()
    pace = measured_pace(tiny_model, replace(SMALL, method=method, shared=10))
    assert pace.tokens == 10 + 4 * 54
    assert min(pace.batch, pace.update) > 0
    assert torch.equal(before, torch.random.get_rng_state()), "a plan changes no training's chances"
    assert model_size(tiny_model) is not None


# -- running out ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def narrow(most: int) -> Iterator[None]:
    """Memory for so many tokens at once: a forward pass of more fails half way, as a real one would."""
    import torch

    from workbench.training import supervised

    whole = supervised.SupervisedTrainer.compute_loss

    def compute_loss(self: Any, model: Any, inputs: Any, *others: Any, **named: Any) -> Any:
        loss = whole(self, model, inputs, *others, **named)
        if inputs["input_ids"].numel() > most:
            loss.backward()  # what was reached of the backward pass is in the gradients
            raise torch.OutOfMemoryError("out of memory")
        return loss

    supervised.SupervisedTrainer.compute_loss = compute_loss  # type: ignore[method-assign]
    try:
        yield
    finally:
        supervised.SupervisedTrainer.compute_loss = whole  # type: ignore[method-assign]


@pytest.mark.parametrize("packing", ["on", "off"])
def test_less_memory_teaches_the_same(
    packing: str, tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Batches are cut into parts after half a backward pass, in the second micro-batch of a step too."""
    from safetensors.torch import load_file

    rows = {f"s{i}": chat(q, a * (1 + 2 * (i % 3)), i + 1) for i, (q, a) in enumerate(PAIRS)}
    settings: dict[str, Any] = {"batch_size": 4, "gradient_accumulation": 2, "packing": packing}
    whole = train(tiny_model, tmp_path / "whole", rows, **settings)
    with narrow(60), caplog.at_level(logging.WARNING):
        cut = train(tiny_model, tmp_path / "cut", rows, **settings)
    assert (whole.sparing, cut.steps, cut.tokens) == (None, whole.steps, whole.tokens)
    assert cut.sparing is not None
    assert cut.sparing.startswith("gradient checkpointing, micro-batches in ")
    assert "memory ran out at step 1; from now on gradient checkpointing" in caplog.text
    weights = [
        load_file(Run(tmp_path / n).adapter_folder("lora") / "adapter_model.safetensors")
        for n in ("whole", "cut")
    ]
    for name, tensor in weights[0].items():
        assert (tensor - weights[1][name]).abs().max() < 1e-6, name
    logs = [Run(tmp_path / n).training("lora")[-1]["loss"] for n in ("whole", "cut")]
    assert logs[0] == pytest.approx(logs[1], abs=1e-5)


def test_a_row_that_does_not_fit_is_an_error_with_its_cures(tiny_model: Path, tmp_path: Path) -> None:
    from workbench.training import TrainingError

    with narrow(3), pytest.raises(TrainingError) as error:
        train(tiny_model, tmp_path, gradient_checkpointing="off")
    said = str(error.value)
    assert said.startswith("training does not fit the memory of cpu (")
    for cure in (
        "gradient_checkpointing: auto",
        "lower max_length (the longest row has ",
        "method: qlora",
        "--dry-run",
    ):
        assert cure in said
    assert Run(tmp_path).training("lora")[-1]["broke"] == "memory"
    assert not Run(tmp_path).adapter_folder("lora").exists()


def test_address_space_that_is_really_short(tmp_path: Path) -> None:
    """The C allocator refuses: the same rows train in parts, or the lack is named; there is no other end."""
    base = make_base(tmp_path)
    wide = {"batch_size": 160, "gradient_checkpointing": "off", "epochs": 1}
    done = train_case(Case("short", words=60, changed=wide, around=little_memory), base, tmp_path / "run")
    if done.error is None:
        assert "micro-batches in " in done.facts["training"]["sparing"]
    else:
        assert done.error.startswith("training does not fit the memory of cpu")
