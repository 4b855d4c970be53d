"""Backends: local generation against transformers' own, echo and replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import make_tiny_model
from validators.examples import Message
from workbench.backends import BackendError, Request, open_backend
from workbench.backends.hf import HfBackend
from workbench.records import Prediction, Prompt
from workbench.settings import EchoBackend, ReplayBackend
from workbench.settings import HfBackend as HfSettings

QUESTIONS = [
    "the pump",
    "the pump is silent and the tank leaks and the pump is silent",
    "route: bench",
    "till",
    "the tank leaks / post late",
]


def ask(text: str, reference: str = "the tank", name: str | None = None) -> Request:
    prompt = Prompt(id=name or text, messages=(Message("user", text),))
    return Request(prompt=prompt, references=(reference,), group="g")


def local(folder: Path, **changed: Any) -> HfBackend:
    settings = {"device": "cpu", "dtype": "float32", "batch_size": 4, "max_new_tokens": 12} | changed
    return HfBackend(HfSettings(kind="hf", model=str(folder), **settings), folder)


def answers(backend: Any, requests: list[Request], **more: Any) -> dict[str, Prediction]:
    return {p.id: msgspec.structs.replace(p, seconds=None) for p in backend.answer(requests, **more)}


# -- local ---------------------------------------------------------------------------------------


def test_greedy_answers_equal_those_of_transformers(tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    backend = local(tiny_model, max_new_tokens=20)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    ours = answers(backend, [ask(q) for q in QUESTIONS])
    tokenizer = backend.tokenizer.tokenizer
    for question in QUESTIONS:
        ids = torch.tensor([backend.tokenizer.prompt_ids([Message("user", question)])])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
        new = out[0, ids.shape[1] :]
        assert ours[question].prediction == tokenizer.decode(new, skip_special_tokens=True)
        assert ours[question].completion_tokens == len(new)
        assert ours[question].prompt_tokens == ids.shape[1]


@pytest.mark.parametrize("size", [2, 5])
def test_a_batch_answers_as_one_at_a_time(tiny_model: Path, size: int) -> None:
    requests = [
        ask(q, r) for q, r in zip(QUESTIONS, ["a", "the tank leaks", "till", "b c", "silent"], strict=True)
    ]
    alone = answers(local(tiny_model, batch_size=1), requests)
    batched = answers(local(tiny_model, batch_size=size), requests)
    for question in QUESTIONS:
        a, b = alone[question], batched[question]
        assert a.reference_nats == pytest.approx(b.reference_nats, rel=1e-5)
        assert msgspec.structs.replace(a, reference_nats=None) == msgspec.structs.replace(
            b, reference_nats=None
        )


def test_reference_nats_equal_a_plain_forward(tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    reference = "the tank leaks"
    backend = local(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    rows = answers(backend, [ask(q, reference) for q in QUESTIONS])
    reply = [*backend.tokenizer.plain_ids(reference), backend.tokenizer.tokenizer.eos_token_id]
    for question, row in rows.items():
        prompt = backend.tokenizer.prompt_ids([Message("user", question)])
        with torch.no_grad():
            logits = model(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
        nats = torch.nn.functional.cross_entropy(logits, torch.tensor(reply), reduction="sum")
        assert row.reference_nats == pytest.approx(float(nats), rel=1e-5)
        assert row.reference_tokens == len(reply)
        assert row.reference_bytes == len(reference.encode())


class _Scripted:
    """A stand-in for a model that says one token after another, whatever it is asked."""

    def __init__(self, tokens: list[int], size: int) -> None:
        self.tokens, self.size = tokens, size

    def __call__(self, **_: Any) -> Any:
        import torch

        logits = torch.zeros(1, 1, self.size)
        logits[0, 0, self.tokens.pop(0)] = 1.0
        return type("Out", (), {"logits": logits, "past_key_values": None})()


@pytest.mark.parametrize(
    ("tokens", "stop", "limit", "kept"),
    [
        ([5, 6, 2, 7], {2}, 10, [5, 6, 2]),  # the end of turn is kept, and nothing after it
        ([2, 7, 7], {2}, 10, [2]),
        ([5, 6, 7, 2], {2}, 3, [5, 6, 7]),  # cut by length
        ([5, 3, 6], {2, 3}, 10, [5, 3]),  # any of several stops
    ],
)
def test_generation_stops_at_the_end_of_turn(
    tokens: list[int], stop: set[int], limit: int, kept: list[int]
) -> None:
    import torch

    from workbench.backends.hf import _greedy

    model = _Scripted(list(tokens), 10)
    first = model().logits[:, -1]
    prompt = {"attention_mask": torch.ones(1, 3, dtype=torch.long), "position_ids": torch.arange(3)[None]}
    assert _greedy(model, first, None, prompt, limit, stop) == [kept]


def test_the_reason_for_stopping_is_told(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    rows = answers(local(tiny_model, max_new_tokens=3), [ask("till")])
    assert (rows["till"].finish_reason, rows["till"].completion_tokens) == ("length", 3)
    # A head of zeros always picks token 0, which the generation settings name as a stop.
    folder = make_tiny_model(tmp_path / "stops")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.norm.weight.fill_(1.0)
        model.lm_head.weight.zero_()
        model.generation_config.eos_token_id = [0, model.config.eos_token_id]
    model.save_pretrained(folder)
    rows = answers(local(folder), [ask("till")])
    assert (rows["till"].finish_reason, rows["till"].completion_tokens, rows["till"].prediction) == (
        "stop",
        1,
        "",
    )


def test_the_token_that_ends_a_turn_in_training_stops_though_no_setting_names_it(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, GenerationConfig

    folder = make_tiny_model(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    turn_end = tokenizer.eos_token_id
    tokenizer.eos_token = "<|im_start|>"
    tokenizer.save_pretrained(folder)
    GenerationConfig(eos_token_id=tokenizer.eos_token_id).save_pretrained(folder)
    backend = local(folder)
    answers(backend, [ask("till")])
    assert backend._stop_ids() == {turn_end, tokenizer.eos_token_id} and turn_end != tokenizer.eos_token_id


def test_a_resumed_run_forms_the_same_batches(tiny_model: Path) -> None:
    requests = [ask(q) for q in QUESTIONS]
    whole = answers(local(tiny_model, batch_size=2), requests)
    widths: list[tuple[int, ...]] = []
    backend = local(tiny_model, batch_size=2)
    original = backend._answer_batch
    backend._answer_batch = lambda model, batch: (
        widths.append(tuple(len(j.prompt) for j in batch)) or original(model, batch)
    )  # type: ignore[method-assign,func-returns-value]
    done = frozenset(list(whole)[:3])
    resumed = answers(backend, requests, done=done)
    assert set(resumed) == set(QUESTIONS) - done
    assert all(resumed[q] == whole[q] for q in resumed)  # bit by bit, likelihoods too
    assert [len(w) for w in widths] == [2, 1]  # the first batch is done; the second is formed whole
    assert answers(backend, requests, done=frozenset(QUESTIONS)) == {}


def test_what_cannot_be_asked_becomes_an_error_row(tiny_model: Path) -> None:
    long = "the pump is silent " * 300
    rows = answers(local(tiny_model), [ask(long, name="long"), ask("till")])
    assert "the model takes 500" in (rows["long"].error or "")
    assert rows["long"].prediction is None and rows["till"].error is None
    done = answers(local(tiny_model), [ask(long, name="long")], done=frozenset(["long"]))
    assert done == {}


def test_a_template_that_refuses_becomes_an_error_row(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path, template="{{ raise_exception('users only') }}")
    rows = answers(local(folder), [ask("till")])
    assert "users only" in (rows["till"].error or "")
    base = make_tiny_model(tmp_path / "base", template=None)
    assert "no chat template" in (answers(local(base), [ask("till")])["till"].error or "")


def test_a_reference_longer_than_the_context_has_no_likelihood(tiny_model: Path) -> None:
    rows = answers(local(tiny_model), [ask("till", "the pump is silent " * 300), ask("the pump")])
    assert rows["till"].error is None and rows["till"].reference_nats is None
    assert rows["till"].reference_tokens is None and rows["till"].reference_bytes is None
    assert rows["the pump"].reference_nats is not None


def make_adapter(model_folder: Path, folder: Path, *, rank: int = 4) -> Path:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = peft.LoraConfig(
        r=rank, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
    )
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(model_folder), config)
    model.save_pretrained(folder)
    return folder


def test_an_adapter_leaves_no_trace(tiny_model: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny_model, tmp_path / "adapter")
    requests = [ask(q) for q in QUESTIONS]
    backend = local(tiny_model)
    base = answers(backend, requests)
    tuned = answers(backend, requests, adapter=adapter)
    assert all(tuned[q].reference_nats != base[q].reference_nats for q in QUESTIONS)
    assert answers(backend, requests) == base
    half_way = backend.answer(requests, adapter=adapter)
    next(half_way)
    half_way.close()  # type: ignore[attr-defined]
    assert answers(backend, requests) == base
    assert answers(backend, requests, adapter=adapter) == tuned


def test_an_adapter_of_another_model_is_refused_and_the_base_stays_clean(
    tiny_model: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    adapter = make_adapter(tiny_model, tmp_path / "adapter")
    weights = adapter / "adapter_model.safetensors"
    save_file({k: torch.zeros(3, 3) for k in load_file(weights)}, weights)
    backend = local(tiny_model)
    base = answers(backend, [ask("till")])
    with pytest.raises(BackendError, match="cannot be put on"):
        answers(backend, [ask("till")], adapter=adapter)
    assert answers(backend, [ask("till")]) == base


def test_identity_follows_weights_and_template(tiny_model: Path, tmp_path: Path) -> None:
    same, other = make_tiny_model(tmp_path / "same"), make_tiny_model(tmp_path / "other", seed=1)
    one, two, three = (local(f).identity() for f in (tiny_model, same, other))
    assert (one.sha256, one.template) == (two.sha256, two.template)
    assert one.sha256 != three.sha256
    assert one.hardware["dtype"] == "float32"


# -- echo and replay -----------------------------------------------------------------------------


def test_echo_answers_with_the_question() -> None:
    backend = open_backend(EchoBackend(kind="echo"), base=Path())
    rows = answers(backend, [ask("one two"), ask("three")], done=frozenset(["three"]))
    assert set(rows) == {"one two"}
    assert (rows["one two"].prediction, rows["one two"].prompt_tokens, rows["one two"].group) == (
        "one two",
        2,
        "g",
    )


def test_replay_answers_what_was_recorded(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"input": "a", "answer": "x"}\n{"input": "b", "answer": ""}\n')
    backend = open_backend(ReplayBackend(kind="replay", path="answers.jsonl"), base=tmp_path)
    rows = answers(backend, [ask("a"), ask("b"), ask("c")])
    assert [rows[k].prediction for k in "abc"] == ["x", "", None]
    assert "answers.jsonl holds no answer" in (rows["c"].error or "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file"),
        ("", "no rows"),
        ('{"input": "a"}\n', "answer"),
        ('{"input": ["a"], "answer": "b"}\n', "text"),
    ],
)
def test_a_broken_recording_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "answers.jsonl").write_text(text)
    with pytest.raises(BackendError, match=words):
        open_backend(ReplayBackend(kind="replay", path="answers.jsonl"), base=tmp_path)
