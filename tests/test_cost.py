"""The bill of a tuning job."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from validators import auto_epochs, estimate_cost
from validators.assets import cached
from validators.cost import CostError
from validators.examples import Example, parse_example
from validators.prices import load_prices
from validators.reading import DataError
from workbench.cli.cost import cost

TODAY = date(2026, 11, 20)
ROW = {"messages": [{"role": "user", "content": "12345"}, {"role": "assistant", "content": "678"}]}


class Letters:
    """A tokenizer that counts letters."""

    name, kind, exact = "letters", "tiktoken", True

    def count_text(self, text: str) -> int:
        return len(text)

    def count_example(self, example: Example) -> int:
        return sum(len(message.text) for message in example.messages)


def bill(rows: int = 10, model: str = "gpt-4o-mini", **options: object):
    examples = [parse_example(ROW) for _ in range(rows)]
    return estimate_cost(examples, model, tokenizer=Letters(), today=TODAY, **options)


@pytest.mark.parametrize(
    ("examples", "epochs"),
    [
        (1, 25),
        (4, 25),
        (5, 20),
        (10, 10),
        (20, 5),
        (33, 3),
        (34, 3),
        (8333, 3),
        (8334, 2),
        (12500, 2),
        (12501, 1),
        (25001, 1),
    ],
)
def test_auto_epochs_by_the_published_rule(examples: int, epochs: int) -> None:
    assert auto_epochs(examples) == epochs


@given(st.integers(1, 10**7))
def test_auto_epochs_fall_with_the_examples(examples: int) -> None:
    assert 25 >= auto_epochs(examples) >= auto_epochs(examples + 1) >= 1


def test_no_examples_have_no_epochs_and_no_bill(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no examples"):
        auto_epochs(0)
    with pytest.raises(CostError, match="no examples"):
        bill(0)


@pytest.mark.parametrize(
    # 10 examples of 8 letters, 3 of them the reply; 3 USD a million
    ("epochs", "max_length", "total", "trained", "truncated", "billable"),
    [
        ("auto", None, 80, 30, 0, 800),
        (2, None, 80, 30, 0, 160),
        (2, 6, 80, 10, 20, 120),
        (1, 4, 80, 0, 40, 40),
    ],
)
def test_the_bill(
    epochs: object, max_length: int, total: int, trained: int, truncated: int, billable: int
) -> None:
    found = bill(epochs=epochs, max_length=max_length)
    assert (found.total, found.trained, found.truncated, found.billable_tokens) == (
        total,
        trained,
        truncated,
        billable,
    )
    assert found.usd_training == pytest.approx(billable * 3 / 1e6)


def test_the_json_object() -> None:
    found = json.loads(json.dumps(bill().as_dict(), allow_nan=False))
    assert found == {
        "schema": "workbench.cost/1",
        "model": "gpt-4o-mini-2024-07-18",
        "tokenizer": "letters",
        "exact": True,
        "examples": 10,
        "tokens": {"total": 80, "trained": 30, "truncated": 0},
        "epochs": 10,
        "billable_tokens": 800,
        "usd": {"training": pytest.approx(0.0024)},
        "price": {
            "as_of": "2026-04-30",
            "source": "https://tokenmix.ai/blog/openai-fine-tuning-pricing",
            "certainty": "disputed",
            "training_usd_per_million": 3.0,
            "stale": True,
        },
        "status": "closing",
        "tunable_until": "2027-01-06",
        "served_until": "2027-01-14",
    }


def test_an_unknown_price_is_null_with_a_reason() -> None:
    found = bill(model="gpt-4.1-mini").as_dict()
    assert (
        found["usd"] is None
        and "is not known" in found["reason"]
        and found["price"]["certainty"] == "unknown"
    )
    assert bill(model="brand-new-model").reason == "no price is known for brand-new-model"


@pytest.mark.parametrize("model", ["smollm2-135m-instruct", "owner/name", "."])
def test_a_local_model_has_no_price_but_a_reason(model: str) -> None:
    found = bill(model=model)
    assert (found.usd_training, found.state, found.stale) == (None, "local", False)
    assert "gpu_usd_per_hour" in str(found.reason)


def test_a_fine_tuned_model_costs_what_its_base_costs() -> None:
    assert bill(model="ft:gpt-4o-mini-2024-07-18:acme::x1").usd_training == bill().usd_training


@pytest.mark.parametrize(
    ("day", "state"),
    [
        ("2026-11-20", "closing"),
        ("2027-01-06", "closing"),
        ("2027-01-07", "closed"),
        ("2027-01-15", "retired"),
    ],
)
def test_a_model_leaves_on_its_dates(day: str, state: str) -> None:
    assert load_prices()["gpt-4o"].state(date.fromisoformat(day)) == state


@pytest.mark.parametrize(
    ("day", "stale"), [("2026-05-01", False), ("2026-07-29", False), ("2026-07-30", True)]
)
def test_a_price_is_stale_after_90_days(day: str, stale: bool) -> None:
    assert load_prices()["gpt-4o"].is_stale(date.fromisoformat(day)) is stale


def test_the_registry_never_guesses() -> None:
    for price in load_prices().values():
        known = price.training_usd_per_million is not None
        assert (price.source is not None) == known == (price.certainty != "unknown")
        assert known or price.note
        assert (price.max_example_tokens is None) == (price.limit_source is None)


def test_unknown_models_and_bad_rows_are_told(tmp_path: Path) -> None:
    with pytest.raises(CostError, match="Did you mean 'gpt-4o-mini'"):
        estimate_cost([parse_example(ROW)], "gpt-4o-mni")
    with pytest.raises(CostError, match="--tokenizer"):
        estimate_cost([parse_example(ROW)], "fireworks/up-to-16b")
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW) + '\n{"messages": []}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: no chat row: messages"):
        estimate_cost(tmp_path / "a.jsonl", "gpt-4o", tokenizer=Letters())


def test_files_and_examples_cost_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text((json.dumps(ROW) + "\n") * 4)
    (tmp_path / "b.jsonl").write_text((json.dumps(ROW) + "\n") * 6)
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    assert estimate_cost(paths, "gpt-4o-mini", tokenizer=Letters(), today=TODAY) == bill()


@pytest.mark.assets
@pytest.mark.skipif(cached("tiktoken") is None, reason="tiktoken's vocabularies are not fetched")
def test_tokens_by_the_chat_formula() -> None:
    # 3 for the example; 3 and the role for each message; "hello world" is 2 tokens, roles are 1 each.
    row = {
        "messages": [
            {"role": "user", "content": "hello world"},
            {"role": "assistant", "content": "hello world"},
        ]
    }
    found = estimate_cost([parse_example(row)], "gpt-4o-mini", today=TODAY)
    assert (found.tokenizer, found.total, found.trained, found.exact) == ("o200k_base", 15, 2, True)


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(cost)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    for flags, words in [
        (["--model", "gpt-4o-mni"], "Did you mean"),
        (["--model", "gpt-4o", "--epochs", "many"], "--epochs is 'auto' or"),
        (["--model", "together/17b-69b"], "--tokenizer"),
    ]:
        result = run(path, *flags)
        assert (result.exit_code, result.stdout) == (2, "") and words in result.stderr
    assert "workbench cost train.jsonl --model gpt-4o-mini" in run("--help").stdout


def test_the_command_prints_the_bill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validators.tokens.load_tokenizer", lambda name: Letters())
    path = tmp_path / "a.jsonl"
    path.write_text((json.dumps(ROW) + "\n") * 10)
    text = run(path, "--model", "gpt-4o-mini").stdout
    for words in (
        "80 by letters in 10 examples",
        "800 over 10 epochs",
        "$0.0024",
        "2026-05-07",
        "*stale*",
        "disputed",
        "2027-01-06",
    ):
        assert words in text
    assert "unknown:" in run(path, "--model", "gpt-4.1", "--epochs", "2").stdout
    assert (
        json.loads(run(path, "--model", "gpt-4o-mini", "--format", "json").stdout)["billable_tokens"] == 800
    )


def test_importing_is_light() -> None:
    heavy = (
        "torch",
        "transformers",
        "datasets",
        "evaluate",
        "sklearn",
        "streamlit",
        "polars",
        "tiktoken",
        "rich",
    )
    code = f"import sys, validators; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
