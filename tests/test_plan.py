"""The plan of a run: tokens from real rows, time and memory from sizes, money, what the test split can show."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from metrics import smallest_detectable_effect
from workbench import estimates
from workbench.data import Dataset, prepare, read_files
from workbench.estimates import (
    EFFICIENCY,
    PASS_SECONDS,
    seconds_to_answer,
)
from workbench.experiment import Experiment
from workbench.forecast import Pace, Workload
from workbench.means import Means, count_words
from workbench.plan import Plan, PlanError, plan, split_power
from workbench.plan_prompts import count_prompts
from workbench.plan_text import plan_text
from workbench.shapes import ModelSize, model_size, tensor_shapes

# Parameters of a 135M model, round; 100 GFLOP/s.
SIZE = ModelSize(135_000_000, 1_000_000, 30, 576, 1536, 192, 49152)
SPEED = 1e11
ECHO: dict[str, Any] = {"echo": {"kind": "echo"}}
ZERO: dict[str, Any] = {"name": "zero-shot", "kind": "prompting"}


def write(folder: Path, **settings: Any) -> Experiment:
    """An experiment over 100 rows of four words each, one group for every five rows."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"the pump is {i}"},
                {"role": "assistant", "content": "bench/water"},
            ],
            "metadata": {"customer": f"c{i // 5}"},
        }
        for i in range(100)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    tree = {"name": "triage", "data": {"path": "rows.jsonl"}, "backends": ECHO, "contenders": [ZERO]}
    tree |= {"metrics": {"primary": "exact_match"}} | settings
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return Experiment.load(path)


def prepared(experiment: Experiment) -> Dataset:
    return prepare(experiment, *read_files(experiment))


def planned(experiment: Experiment, **options: Any) -> Plan:
    return plan(experiment, *read_files(experiment), speed=lambda device, dtype: SPEED, pace=paced, **options)


def paced(folder: Path, work: Workload) -> Pace:
    """A second for every 100 tokens, a tenth of one for an update."""
    return Pace(tokens=100, batch=1.0, update=0.1)


@pytest.fixture(autouse=True)
def no_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty asset cache, and a hub that is not asked."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)


def local(folder: Path, **more: Any) -> dict[str, Any]:
    return {"local": {"kind": "hf", "model": str(folder), "device": "cpu", "dtype": "float32", **more}}


# -- estimates ---------------------------------------------------------------------------------------


def test_seconds_to_answer_by_hand() -> None:
    # 40 requests of 100 tokens in three batches of 16; 2 · 135e6 · 4000 / 60e9 = 18 s of prefill;
    # 3 batches · 10 tokens · 2 · 135e6 · 16 rows / 20e9 = 6.48 s of decoding.
    took = seconds_to_answer(SIZE, SPEED, prompt_tokens=4000, requests=40, batch_size=16, new_tokens=10)
    prefill = 2 * 135e6 * 4000 / (SPEED * EFFICIENCY["prefill"])
    decode = 30 * 2 * 135e6 * 16 / (SPEED * EFFICIENCY["decode"])
    assert took == pytest.approx(prefill + decode)
    assert (EFFICIENCY["prefill"], EFFICIENCY["decode"]) == (0.6, 0.2)
    assert took == pytest.approx(18 + 6.48)


def test_a_fast_device_is_bounded_by_its_passes() -> None:
    took = seconds_to_answer(SIZE, 1e18, prompt_tokens=4000, requests=40, batch_size=16, new_tokens=10)
    assert took == pytest.approx((3 + 30) * PASS_SECONDS)


def test_one_row_decodes_no_faster_than_the_weights_are_read() -> None:
    alone = seconds_to_answer(SIZE, SPEED, prompt_tokens=0, requests=1, batch_size=1, new_tokens=10)
    full = seconds_to_answer(SIZE, SPEED, prompt_tokens=0, requests=16, batch_size=16, new_tokens=10)
    assert alone == full


def test_model_size_reads_headers_only(tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(tiny_model)
    size = model_size(tiny_model)
    assert size is not None
    assert size.parameters == sum(p.numel() for p in loaded.parameters())
    assert (size.layers, size.hidden, size.intermediate, size.key_values) == (2, 32, 64, 16)
    linear = [m for n, m in loaded.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]
    assert size.linear == sum(m.in_features + m.out_features for m in linear)


@pytest.mark.parametrize("content", [b"", b"\x00" * 4, b"\xff" * 64, b"\x02" + b"\x00" * 7 + b"[]"])
def test_what_is_no_model_has_no_size(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(content)
    assert model_size(tmp_path) is None
    assert model_size(tmp_path / "gone") is None


def test_tensor_shapes(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(5)}, tmp_path / "x.safetensors", {"format": "pt"})
    assert tensor_shapes(tmp_path / "x.safetensors") == {"a": [2, 3], "b": [5]}


def test_the_probe_measures_something() -> None:
    assert estimates.measured_speed("cpu", "float32", seconds=0.01) > 0


# -- tokens ------------------------------------------------------------------------------------------


def test_words_and_sizes_without_a_model(tmp_path: Path) -> None:
    experiment = write(tmp_path)
    made = planned(experiment)
    assert made.splits == {"train": 70, "dev": 10, "test": 20}
    assert made.groups is None
    (zero,) = made.contenders
    assert (zero.requests, zero.prompt_tokens, zero.completion_tokens, zero.total_tokens) == (20, 4, None, 80)
    assert (zero.minutes, zero.usd, zero.exact) == (0.0, 0.0, True)
    assert (made.minutes, made.usd, made.over_budget) == (0.0, 0.0, None)


def test_few_shot_and_rag_by_hand(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/water.md").write_text("one two three four five six seven")
    (tmp_path / "pages/late.md").write_text("one two three")
    experiment = write(
        tmp_path,
        data={"path": "rows.jsonl", "corpus": "pages"},
        contenders=[
            {"name": "few-shot", "kind": "few-shot", "examples": 3, "system": "Be brief"},
            {"name": "rag", "kind": "rag", "top_k": 2},
        ],
    )
    few, rag = planned(experiment).contenders
    # 2 + 4 words of its own, and 3 shots of 4 + 1 words; 4 words and 2 passages of (7 + 3) / 2 words.
    assert few.prompt_tokens == 6 + 3 * 5
    assert rag.prompt_tokens == 4 + 2 * 5
    assert not few.exact
    assert not rag.exact
    # The same examples before every question are read once, not twenty times; similar ones differ.
    data, words = prepared(experiment), Means("m", count_words, exact=True)
    for choose, spared in (("similar", 0), ("random", 19 * 3 * 5)):
        settings = experiment.contenders[0].model_copy(update={"choose": choose})
        assert count_prompts(settings, experiment, data, data.test, words).spared == spared


def test_local_prompts_are_counted_to_the_token(tmp_path: Path, tiny_model: Path) -> None:
    from validators.tokens import load_hf_tokenizer

    experiment = write(tmp_path, backends=local(tiny_model, max_new_tokens=7))
    data = prepared(experiment)
    tokenizer = load_hf_tokenizer("tiny", tiny_model)
    made = planned(experiment, offline=True)
    (zero,) = made.contenders
    counts = [len(tokenizer.prompt_ids(s.messages)) for s in data.test]
    assert zero.prompt_tokens == pytest.approx(sum(counts) / 20)
    assert zero.total_tokens == sum(counts) + 20 * 7
    assert zero.minutes is not None
    assert zero.minutes > 0
    assert zero.memory_gb is not None
    assert (zero.usd, made.usd) == (None, None)


def test_training(tmp_path: Path, tiny_model: Path) -> None:
    from validators.encoding import encode
    from validators.tokens import load_hf_tokenizer

    lora = {"name": "lora", "kind": "fine-tuned", "epochs": 2, "batch_size": 8, "max_length": 4096}
    experiment = write(
        tmp_path,
        backends=local(tiny_model),
        contenders=[lora, lora | {"name": "short", "max_length": 12}],
        decision={"costs": {"gpu_usd_per_hour": 3.6}},
    )
    data = prepared(experiment)
    tokenizer = load_hf_tokenizer("tiny", tiny_model)
    encodings = [encode(e, tokenizer) for k, e in data.conversations.items() if k in data.ids["train"]]
    made = planned(experiment)
    whole, short = (c.training for c in made.contenders)
    assert whole is not None
    assert short is not None
    assert (whole.rows, whole.steps) == (70, 18)
    assert whole.tokens == 2 * sum(len(e.ids) for e in encodings)
    assert whole.trained_tokens == 2 * sum(e.trained for e in encodings)
    assert (whole.truncated_rows, short.truncated_rows, short.tokens) == (0, 70, 2 * 70 * 12)
    assert whole.minutes is not None
    # 3.6 USD an hour is a thousandth of a dollar a second.
    assert whole.usd == pytest.approx(whole.minutes * 60 / 1000)
    assert made.contenders[0].requests == 30, "two tuned contenders answer dev too"
    assert [(m.method, m.chosen, m.fits) for m in whole.methods] == [
        ("lora", True, True),
        ("qlora", False, True),
        ("full", False, True),
    ]
    table = plan_text(made).partition("method ")[2].splitlines()
    assert [line.split()[:2] for line in table[1:3]] == [["*", "lora"], ["qlora", "0.8"]]
    assert all("fits" in line and "$" in line for line in table[1:4])


def test_a_model_that_is_not_here_makes_a_guess(tmp_path: Path) -> None:
    backends = {"local": {"kind": "hf", "model": "smollm2-135m-instruct"}}
    made = planned(write(tmp_path, backends=backends))
    (zero,) = made.contenders
    assert not zero.exact
    assert zero.minutes is None
    assert made.untimed == ("zero-shot",)
    assert "workbench doctor --fetch" in zero.notes[0]
    assert "unknown: zero-shot" in plan_text(made)


def test_offline_servers_are_named(tmp_path: Path) -> None:
    experiment = write(tmp_path, backends={"api": {"kind": "openai", "model": "gpt-4o-mini"}})
    assert not any("--offline" in note for note in planned(experiment).contenders[0].notes)
    assert any("--offline" in note for note in planned(experiment, offline=True).contenders[0].notes)


def test_brought_answers_cost_nothing(tmp_path: Path) -> None:
    brought = {"name": "today", "kind": "predictions", "path": "answers.jsonl", "usd_per_1000": 5}
    (today,) = planned(write(tmp_path, contenders=[brought])).contenders
    assert (today.requests, today.total_tokens, today.minutes, today.usd) == (20, None, 0.0, 0.0)


# -- money -------------------------------------------------------------------------------------------


def test_usd_by_the_backends_price(tmp_path: Path) -> None:
    api = {"kind": "openai", "model": "some-model", "max_new_tokens": 50, "price": [10, 100]}
    made = planned(write(tmp_path, backends={"api": api}))
    (zero,) = made.contenders
    # 14 or 15 bytes of text: 3 tokens, and 4 around the message; 20 requests.
    assert zero.prompt_tokens == 7
    assert zero.usd == pytest.approx((10 * 7 * 20 + 100 * 50 * 20) / 1e6)
    assert made.usd == zero.usd


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (
            {"budget_usd": 0.01},
            "api may spend $0.01 and needs at most $0.10: what does not fit is asked once",
        ),
        ({"budget_usd": 5}, "api may spend $5.00 and needs at most $0.10\n"),
        ({"budget_tokens": 900}, "api may spend 900 tokens and needs at most 1,140 tokens: what does not"),
    ],
)
def test_what_a_server_may_spend_stands_beside_what_it_needs(
    limits: dict[str, Any], words: str, tmp_path: Path
) -> None:
    api = {"kind": "openai", "model": "some-model", "max_new_tokens": 50, "price": [10, 100]}
    assert words in plan_text(planned(write(tmp_path, backends={"api": api | limits}))) + "\n"


@pytest.mark.parametrize(("budget", "over"), [(200.0, True), (300.0, False), (None, None)])
def test_the_budget_takes_in_data_and_labour(budget: float | None, over: bool | None, tmp_path: Path) -> None:
    decision = {"budget_usd": budget, "costs": {"data_usd": 150, "labour_usd": 100}}
    made = planned(write(tmp_path, decision=decision))
    assert (made.usd, made.over_budget) == (250, over)
    assert ("OVER THE BUDGET" in plan_text(made)) is bool(over)


def test_a_budget_asks_for_missing_prices(tmp_path: Path, tiny_model: Path) -> None:
    backends = local(tiny_model) | {"api": {"kind": "openai", "model": "gpt-4o-mini"}}
    hosted = {"name": "hosted", "kind": "prompting", "backend": "api"}
    experiment = write(tmp_path, backends=backends, contenders=[ZERO, hosted], decision={"budget_usd": 5})
    with pytest.raises(PlanError) as error:
        planned(experiment)
    assert "set decision.costs.gpu_usd_per_hour" in str(error.value)
    assert "set backends.api.price" in str(error.value)


def test_a_free_machine_may_be_said_to_be_free(tmp_path: Path, tiny_model: Path) -> None:
    decision = {"budget_usd": 5, "costs": {"gpu_usd_per_hour": 0}}
    made = planned(write(tmp_path, backends=local(tiny_model), decision=decision))
    assert (made.usd, made.over_budget) == (0, False)


# -- the test split ----------------------------------------------------------------------------------


def test_what_the_split_can_show(tmp_path: Path) -> None:
    experiment = write(tmp_path, decision={"worth_it": 0.05})
    power = split_power(experiment, 100, None)
    # 12.1 points at 20 % discordant: the published figure for 100 samples.
    assert power.detectable == pytest.approx(0.121, abs=5e-4)
    assert power.surely == smallest_detectable_effect(100, discordant=0.2, margin=0.05)
    assert power.needed is not None
    shown = [smallest_detectable_effect(n, discordant=0.2) for n in (power.needed - 1, power.needed)]
    assert shown[0] > 0.05 >= shown[1]


def test_no_margin_and_no_average_have_their_reasons(tmp_path: Path) -> None:
    assert split_power(write(tmp_path, decision={"worth_it": 0}), 100, None).needed is None
    bleu = split_power(write(tmp_path, metrics={"primary": "bleu"}), 100, None)
    assert (bleu.detectable, bleu.needed) == (None, None)
    assert bleu.reason is not None
    assert "bleu" in bleu.reason


def test_alike_samples_count_for_less(tmp_path: Path) -> None:
    data = {"path": "rows.jsonl", "split": {"group_by": "metadata.customer"}}
    made = planned(write(tmp_path, data=data))
    assert made.groups is not None
    assert sum(made.groups.values()) == 20
    assert made.test.groups == made.groups["test"] == 4
    assert made.test.detectable == smallest_detectable_effect(20, discordant=0.2, groups=[5] * 4)
    assert f"these samples stand in {made.test.groups} groups" in plan_text(made)


# -- designs -------------------------------------------------------------------------------------------


def test_both_designs_are_shown(tmp_path: Path, tiny_model: Path) -> None:
    lora = {"name": "lora", "kind": "fine-tuned", "epochs": 1}
    experiment = write(
        tmp_path,
        backends=local(tiny_model),
        contenders=[ZERO, lora],
        decision={"costs": {"gpu_usd_per_hour": 3.6, "labour_usd": 100}},
    )
    made = planned(experiment)
    split, folds = made.designs
    assert (split.folds, split.chosen, split.samples) == (None, True, 20)
    assert (folds.folds, folds.chosen, folds.samples) == (5, False, 100)
    assert folds.detectable == smallest_detectable_effect(100, discordant=0.2)
    assert split.detectable == made.test.detectable and split.minutes == made.minutes
    # Five trainings, and each contender answers five times as much; labour is paid once.
    assert made.usd is not None and folds.usd is not None
    assert 3 < (folds.usd - 100) / (made.usd - 100) < 5.5  # fuller batches
    assert "one split: 20 samples tested" in plan_text(made)
    assert "5 folds: 100 samples tested" in plan_text(made) and "data.split.folds: 5" in plan_text(made)


def test_folds_are_planned_as_they_will_run(tmp_path: Path, tiny_model: Path) -> None:
    lora = {"name": "lora", "kind": "fine-tuned", "epochs": 1, "seeds": 2}
    data = {"path": "rows.jsonl", "split": {"folds": 4}}
    experiment = write(tmp_path, backends=local(tiny_model), contenders=[ZERO, lora], data=data)
    made = planned(experiment)
    assert made.splits == {"train": 67, "dev": 8, "test": 100} and made.folds == 4
    zero, tuned = made.contenders
    assert (zero.requests, tuned.requests) == (100, 200)
    assert tuned.training is not None and (tuned.training.rows, tuned.training.trainings) == (67, 8)
    assert [design.folds for design in made.designs] == [4, None]
    assert plan_text(made).startswith(
        "plan      triage · 4 folds, each of train 67 · dev 8 · test 100 in all"
    )


def test_a_learning_curve_is_planned(tmp_path: Path, tiny_model: Path) -> None:
    lora = {"name": "lora", "kind": "fine-tuned", "epochs": 1}
    curve = {"fractions": [0.25, 0.5, 1.0], "seeds": 2}
    experiment = write(tmp_path, backends=local(tiny_model), contenders=[lora], learning_curve=curve)
    (tuned,) = planned(experiment).contenders
    # Itself, 2 × (a quarter and a half), and the whole once more from the second seed.
    assert tuned.training is not None and tuned.training.trainings == 1 + 2 * 0.75 + 1
    assert tuned.requests == 20 * (1 + 2 * 2 + 1)


def test_data_in_several_files_has_one_design(tmp_path: Path) -> None:
    write(tmp_path)
    (made,) = planned(write(tmp_path, data={"train": "rows.jsonl", "test": "rows.jsonl"})).designs
    assert made.folds is None


# -- the whole command -------------------------------------------------------------------------------


def test_dry_run(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.cli import program

    monkeypatch.chdir(tmp_path)
    lora = {"name": "lora", "kind": "fine-tuned", "epochs": 1}
    write(tmp_path, backends=local(tiny_model), contenders=[ZERO, lora])
    result = CliRunner().invoke(program, ["run", "experiment.yaml", "--dry-run", "--offline"])
    assert (result.exit_code, result.exception) == (0, None)
    lines = result.stdout.splitlines()
    assert lines[0] == "plan      triage · train 70 · dev 10 · test 20"
    assert lines[4].split() == [
        "contender",
        "requests",
        "prompt",
        "answer",
        "tokens",
        "time",
        "memory",
        "cost",
    ]
    assert lines[7].startswith("training  lora: 70 rows, 9 steps, ")
    assert not (tmp_path / "runs").exists(), "a plan leaves nothing behind"
    result = CliRunner().invoke(program, ["run", "experiment.yaml", "--dry-run", "--format", "json"])
    answer = json.loads(result.stdout)
    assert answer["schema"] == "workbench.plan/1"
    assert set(answer) == {
        "schema", "experiment", "splits", "groups", "contenders", "minutes", "untimed", "usd", "budget_usd",
        "over_budget", "budgets", "test", "folds", "designs",
    }  # fmt: skip
    assert answer["contenders"][1]["training"]["rows"] == 70
