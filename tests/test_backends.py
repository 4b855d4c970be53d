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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_resumed_run_forms_the_same_batches(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr("workbench.backends.hf.worth", lambda device: 5)  # beginnings are shared
    requests = [ask(q) for q in QUESTIONS]
    whole = answers(local(tiny_model, batch_size=2, dtype=dtype), requests)
    for count in range(len(QUESTIONS)):
        for given in (requests, requests[::-1]):
            sizes: list[int] = []
            backend = local(tiny_model, batch_size=2, dtype=dtype)
            original = backend._answered

            def counted(reader: Any, batch: Any, original: Any = original, sizes: Any = sizes) -> Any:
                sizes.append(len(batch))
                return original(reader, batch)

            backend._answered = counted  # type: ignore[method-assign]
            done = frozenset(list(whole)[:count])
            resumed = answers(backend, given, done=done)
            assert set(resumed) == set(QUESTIONS) - done
            assert all(resumed[q] == whole[q] for q in resumed)  # bit by bit, likelihoods too
            assert sizes == [2, 2, 1][count // 2 :]  # whole batches, but for those that are done
    assert answers(local(tiny_model), requests, done=frozenset(QUESTIONS)) == {}


def test_answers_do_not_depend_on_the_references(tiny_model: Path) -> None:
    backend = local(tiny_model, dtype="bfloat16")
    said = [
        {p.id: (p.prediction, p.completion_tokens) for p in backend.answer([ask(q, r) for q in QUESTIONS])}
        for r in ("", "till", "the tank leaks and the pump is silent / post late")
    ]
    assert said[0] == said[1] == said[2]


# -- choices ---------------------------------------------------------------------------------------

LABELS = ("till", "the tank", "the tank leaks", "post/late")


def chosen(question: str, reference: str) -> Request:
    return msgspec.structs.replace(ask(question, reference), choices=LABELS)


def test_of_choices_the_likeliest_is_the_answer(tiny_model: Path) -> None:
    backend = local(tiny_model)
    nats = [answers(backend, [ask(q, label) for q in QUESTIONS]) for label in LABELS]
    rows = answers(backend, [chosen(q, "the tank") for q in QUESTIONS])
    for question, row in rows.items():
        scores = [found[question].reference_nats or 0.0 for found in nats]
        best = scores.index(min(scores))
        assert row.prediction == LABELS[best] and row.finish_reason == "stop"
        assert row.completion_tokens == nats[best][question].reference_tokens
        assert row.reference_nats == pytest.approx(scores[1], rel=1e-5)
    assert {
        row.prediction for row in answers(local(tiny_model), [chosen(q, "") for q in QUESTIONS]).values()
    } <= {*LABELS}


def test_requests_with_and_without_choices_are_answered_side_by_side(tiny_model: Path) -> None:
    free, bound = [ask(q) for q in QUESTIONS[:2]], [chosen(q, "till") for q in QUESTIONS[2:]]
    apart = answers(local(tiny_model), free) | answers(local(tiny_model), bound)
    assert answers(local(tiny_model), [bound[0], *free, *bound[1:]]) == apart


# -- memory ----------------------------------------------------------------------------------------


def test_a_batch_that_does_not_fit_is_halved_and_no_row_is_lost(
    tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    requests = [ask(q) for q in QUESTIONS]
    whole = answers(local(tiny_model), requests)
    backend = local(tiny_model)
    original, tried = backend._answered, []

    def tight(reader: Any, batch: Any) -> Any:
        tried.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(reader, batch)

    backend._answered = tight  # type: ignore[method-assign]
    rows = answers(backend, requests)
    assert {q: r.prediction for q, r in rows.items()} == {q: r.prediction for q, r in whole.items()}
    assert tried == [4, 2, 1, 1, 1, 1, 1]
    assert backend.notes() == {"batch size": "1 instead of 4: memory held no more"}
    assert "batch size 2 from here on: 4 rows do not fit the memory of cpu" in caplog.text


@pytest.mark.parametrize(
    "error", [RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), MemoryError()]
)
def test_one_row_that_does_not_fit_is_told_with_a_cure(tiny_model: Path, error: Exception) -> None:
    backend = local(tiny_model)

    def never(reader: Any, batch: Any) -> Any:
        raise error

    backend._answered = never  # type: ignore[method-assign]
    with pytest.raises(BackendError, match=r"even one row at a time.*finished answers are kept"):
        answers(backend, [ask("till"), ask("the pump")])


def test_other_errors_of_the_model_are_not_taken_for_a_lack_of_memory(tiny_model: Path) -> None:
    backend = local(tiny_model)

    def broken(reader: Any, batch: Any) -> Any:
        raise RuntimeError("shape mismatch")

    backend._answered = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="shape mismatch"):
        answers(backend, [ask("till")])


def test_batches_are_lowered_beforehand_to_what_the_memory_holds(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("workbench.backends.hf.available_bytes", lambda: 100_000)
    backend = local(tiny_model)
    rows = answers(backend, [ask(q) for q in QUESTIONS])
    assert set(rows) == set(QUESTIONS) and 0 < backend.batch_size < 4
    assert f"batch size {backend.batch_size} instead of 4" in caplog.text
    assert backend.notes() and local(tiny_model).notes() == {}


# -- tools -----------------------------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize(("tools", "calls"), [((TOOL,), 1), ((), 0)])
def test_generated_calls_are_read_where_the_prompt_has_tools(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tools: Any, calls: int
) -> None:
    backend = local(tiny_model)
    said = 'I look.<tool_call>{"name": "f", "arguments": {"a": "b"}}</tool_call>'
    ids = [*backend.tokenizer.plain_ids(said), backend.tokenizer.tokenizer.eos_token_id]
    monkeypatch.setattr("workbench.backends.hf.greedy", lambda *_: [ids])
    request = ask("till")
    prompt = msgspec.structs.replace(request.prompt, tools=tools)
    row = answers(backend, [msgspec.structs.replace(request, prompt=prompt)])["till"]
    assert len(row.tool_calls) == calls and row.completion_tokens == len(ids)
    assert row.prediction == ("I look." if calls else said)
    if calls:
        assert row.tool_calls[0] == {
            "type": "function",
            "function": {"name": "f", "arguments": '{"a": "b"}'},
        }


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


def test_the_base_is_the_same_to_the_bit_after_adapters(
    tiny_model: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    import torch

    backend, ids = local(tiny_model), torch.arange(20)[None]
    answers(backend, [ask("till")])
    model = backend._weights.model
    with torch.inference_mode():
        before, names = model(ids).logits, [n for n, _ in model.named_parameters()]
        for rank in (4, 8, 4):
            adapter = make_adapter(tiny_model, tmp_path / str(rank), rank=rank)
            answers(backend, [ask("till")], adapter=adapter)
        assert backend._weights.model is model  # one loaded base, and no wrapper around it
        assert torch.equal(model(ids).logits, before)
    assert [n for n, _ in model.named_parameters()] == names
    assert not any("lora" in type(m).__module__ for m in model.modules())
    assert not [w for w in recwarn if "second time" in str(w.message)]


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
