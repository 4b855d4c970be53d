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
from validators.charges import Hardware, Serving
from validators.cost import Cost, CostError
from validators.examples import Example, parse_example
from validators.prices import FACTS, PriceError, load_prices, with_own
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


def bill(rows: int = 10, model: str = "gpt-4o-mini", **options: object) -> Cost:
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
    (charge,) = found.pop("charges")
    assert (charge["name"], charge["quantity"], charge["unit"]) == ("training", 800, "tokens")
    assert charge["rate"]["read"] == "2026-11-20" and charge["rate"]["stale"] is True
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
            "read": "2026-11-20",
            "source": "https://tokenmix.ai/blog/openai-fine-tuning-pricing",
            "certainty": "disputed",
            "training_usd_per_million": 3.0,
            "stale": True,
        },
        "status": "closing",
        "tunable": "existing customers",
        "tunable_until": "2027-01-06",
        "served_until": "2027-01-14",
        "region": None,
        "licence": None,
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
    timed = bill(model=model, hardware=Hardware(tokens_per_second=2.0))
    assert timed.charges[0].quantity == pytest.approx(800 / 2 / 3600)
    assert timed.usd_training is None and "--gpu-usd-per-hour" in str(timed.reason)
    priced = bill(model=model, hardware=Hardware(2.0, 3.6), serving=Serving(1000, hours=100))
    assert priced.usd_training == pytest.approx(0.4) and priced.usd_per_month == pytest.approx(360)


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


def test_azures_own_example() -> None:
    # A month of a deployed model: 1.70 USD an hour, 20 M tokens at 1.10 and 40 M at 4.40.
    serving = Serving(10_000, prompt_tokens=2_000, completion_tokens=4_000)
    found = bill(model="azure/o4-mini", serving=serving)
    usd = {charge.name: charge.usd for charge in found.charges}
    assert usd["hosting_per_month"] == pytest.approx(1.70 * 720)
    assert usd["input_per_month"] == pytest.approx(22) and usd["output_per_month"] == pytest.approx(176)
    assert found.usd_per_month == pytest.approx(1422.00)
    assert found.usd_training is None and "billed by time" in str(found.reason)


OWN = {
    "provider": "ours",
    "title": "Our contract",
    "models": [
        {
            "model": "house-model",
            "tokenizer": "o200k_base",
            "facts": {
                name: {"value": value, "source": "contract 7", "read": "2026-10-01", "certainty": "own"}
                for name, value in {
                    "training_usd_per_million": 2.0,
                    "validation_billed": True,
                    "input_usd_per_million": 1.0,
                    "cached_input_usd_per_million": 0.25,
                    "output_usd_per_million": 4.0,
                    "hosting_usd_per_hour": 0.5,
                    "max_example_tokens": 6,
                    "tunable": "open",
                }.items()
            },
        }
    ],
}


def own(tmp_path: Path, **facts: object) -> Path:
    changed = json.loads(json.dumps(OWN))
    for name, fact in facts.items():
        changed["models"][0]["facts"][name] = fact
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(changed))
    return path


def test_a_bill_by_hand(tmp_path: Path) -> None:
    # 10 examples of 8 letters cut at 6: 60; 10 epochs: 600 tokens at 2 USD a million.
    # Validation: 5 examples of 6 letters, twice. A month: 1,000 requests of 5 letters (half of them cached)
    # and 3 of the answer, 720 hours.
    found = bill(
        model="house-model",
        prices=with_own(own(tmp_path)),
        validation=[parse_example(ROW) for _ in range(5)],
        evaluations=2,
        serving=Serving(1_000, cached_share=0.5),
    )
    assert found.as_dict()["usd"] == pytest.approx(
        {
            "training": 0.0012,
            "validation": 0.00012,
            "input_per_month": 0.0025,
            "cached_input_per_month": 0.000625,
            "output_per_month": 0.012,
            "hosting_per_month": 360.0,
            "per_month": 360.015125,
        }
    )
    assert (found.prompt_tokens, found.completion_tokens, found.validation_tokens) == (5, 3, 30)
    assert (found.state, found.stale, found.price and found.price.provider) == ("open", False, "ours")


@pytest.mark.parametrize(
    ("billed", "usd"), [(True, 0.00012), (False, 0.0), (None, None)], ids=["billed", "free", "unknown"]
)
def test_validation_costs_what_the_provider_says(
    billed: bool | None, usd: float | None, tmp_path: Path
) -> None:
    certainty = "unknown" if billed is None else "own"
    fact = {"value": billed, "source": "contract 7", "read": "2026-10-01", "certainty": certainty}
    rows = [parse_example(ROW) for _ in range(5)]
    prices = with_own(own(tmp_path, validation_billed=fact))
    charge = bill(model="house-model", prices=prices, validation=rows, evaluations=2).charges[1]
    assert charge.usd == (None if usd is None else pytest.approx(usd))
    assert (charge.reason is None) == (usd is not None)


def test_a_part_that_is_unknown_makes_the_month_unknown() -> None:
    found = bill(serving=Serving(1_000), model="azure/gpt-4.1")
    assert found.usd_per_month is None and found.as_dict()["usd"]["hosting_per_month"] == pytest.approx(1224)
    assert set(found.as_dict()["unknown"]) == {"input_per_month", "output_per_month"}


def test_an_own_file_replaces_single_facts(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    fact = {"value": 1.25, "source": "invoice 12", "read": "2026-11-01", "certainty": "own"}
    entry = {"model": "gpt-4o-mini", "facts": {"training_usd_per_million": fact}}
    path.write_text(json.dumps({"provider": "openai", "title": "OpenAI", "models": [entry]}))
    found = bill(prices=with_own(path))
    assert found.usd_training == pytest.approx(800 * 1.25 / 1e6)
    assert found.price is not None and found.price.tunable_until == date(2027, 1, 6) and not found.stale


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ({"value": 1.0, "source": "x", "certainty": "own"}, "missing required field `read`"),
        ({"value": 1.0, "read": "2026-11-20", "certainty": "own"}, "missing required field `source`"),
        ({"value": 1.0, "source": "x", "read": "2026-11-20"}, "missing required field `certainty`"),
        ({"value": 1.0, "source": " ", "read": "2026-11-20", "certainty": "own"}, "names a source"),
        ({"value": None, "source": "x", "read": "2026-11-20", "certainty": "own"}, "null exactly where"),
        ({"value": 1.0, "source": "x", "read": "2026-11-20", "certainty": "unknown"}, "null exactly where"),
        ({"value": "3", "source": "x", "read": "2026-11-20", "certainty": "own"}, "Expected `float`"),
        ({"value": -1.0, "source": "x", "read": "2026-11-20", "certainty": "own"}, "negative"),
    ],
)
def test_an_entry_without_source_read_date_or_certainty_is_refused(
    fact: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(PriceError, match=words):
        with_own(own(tmp_path, training_usd_per_million=fact))


def test_unknown_facts_and_files_are_told(tmp_path: Path) -> None:
    fact = {"value": 1.0, "source": "x", "read": "2026-11-20", "certainty": "own"}
    with pytest.raises(PriceError, match="Did you mean 'hosting_usd_per_hour'"):
        with_own(own(tmp_path, hosting_usd_per_hours=fact))
    with pytest.raises(PriceError, match="cannot be read"):
        with_own(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("day", "stale"), [("2026-05-01", False), ("2026-07-29", False), ("2026-07-30", True)]
)
def test_a_price_is_stale_after_90_days(day: str, stale: bool) -> None:
    fact = load_prices()["gpt-4o"].facts["training_usd_per_million"]
    assert (fact.as_of, fact.is_stale(date.fromisoformat(day))) == (date(2026, 4, 30), stale)


def test_every_model_says_everything_with_source_read_date_and_certainty() -> None:
    # The reader refuses a fact without them; here none may be left out either, not even as unknown.
    for price in load_prices().values():
        assert set(price.facts) == set(FACTS), price.model
        for name, fact in price.facts.items():
            assert fact.source and date(2026, 1, 1) < fact.read, (price.model, name)
            assert (fact.value is None) == (fact.certainty == "unknown"), (price.model, name)


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
    row: dict = {
        "messages": [
            {"role": "user", "content": "hello world"},
            {"role": "assistant", "content": "hello world"},
        ]
    }
    found = estimate_cost([parse_example(row)], "gpt-4o-mini", today=TODAY)
    assert (found.tokenizer, found.total, found.trained, found.exact) == ("o200k_base", 15, 2, True)
    # user: 2 + 1 + 2 + 1; assistant: 2 + 1, then the reply's tokens are the 10th and 11th of 15.
    cut = estimate_cost([parse_example(row)], "gpt-4o-mini", max_length=10, today=TODAY)
    assert (cut.total, cut.truncated, cut.trained) == (15, 5, 1)
    row["messages"][1]["tool_calls"] = [{"function": {"name": "level", "arguments": "{}"}}]
    assert not estimate_cost([parse_example(row)], "gpt-4o-mini", today=TODAY).exact


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
        (["--model", "gpt-4o", "--prices", "none.json"], "none.json: the price file cannot be read"),
        ([], "name what would be tuned"),
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
        "licence     unknown: see",
    ):
        assert words in text
    month = run(
        path,
        "--model",
        "azure/o4-mini",
        "--requests",
        "10000",
        "--prompt-tokens",
        "2000",
        "--completion-tokens",
        "4000",
        "--validation",
        path,
    ).stdout
    for words in (
        "hosting     $1,224.00 for 720 hours at $1.70 an hour [",
        "a month     $1,422.00",
        "as of 2026-02-11",
        "validation  unknown: whether azure/o4-mini bills",
    ):
        assert words in month
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
    code = f"import sys\nfrom validators import encode, estimate_cost, lint\nprint([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_defaults_stand_in_a_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validators.tokens.load_tokenizer", lambda name: Letters())
    own(tmp_path)
    (tmp_path / "workbench.toml").write_text(
        '[cost]\nmodel = "house-model"\nepochs = 2\nprices = "prices.json"\n'
    )
    (tmp_path / "data").mkdir()
    path = tmp_path / "data/a.jsonl"
    path.write_text((json.dumps(ROW) + "\n") * 10)
    found = json.loads(run(path, "--format", "json").stdout)
    assert (found["model"], found["epochs"], found["billable_tokens"]) == ("house-model", 2, 120)
    assert json.loads(run(path, "--epochs", "1", "--format", "json").stdout)["epochs"] == 1
    (tmp_path / "workbench.toml").write_text('[cost]\nmodle = "house-model"\n')
    refused = run(path)
    assert refused.exit_code == 2 and "Did you mean 'model'" in refused.stderr


@pytest.mark.parametrize(
    ("name", "text", "flags"),
    [
        ("a.csv", "q,a\n" + "12345,678\n" * 10, ["--columns", "input=q,output=a"]),
        ("a.csv", "q,a\n" + "345,678\n" * 10, ["--template", "12{q}", "--columns", "output=a"]),
        ("a.jsonl", '{"prompt": "12345", "completion": "678"}\n' * 10, []),
        ("a.json", json.dumps([{"instruction": "12345", "input": "", "output": "678"}] * 10), []),
    ],
)
def test_tables_and_other_formats_cost_what_their_chats_cost(
    name: str, text: str, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validators.tokens.load_tokenizer", lambda name: Letters())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text(text)
    found = json.loads(run(tmp_path / "data", "--model", "gpt-4o-mini", "--format", "json", *flags).stdout)
    assert (found["examples"], found["tokens"]["total"], found["billable_tokens"]) == (10, 80, 800)


@pytest.mark.parametrize("flags", [["--columns", "inptu=q"], ["--columns", "q"], ["--columns", "output=a"]])
def test_bad_columns_are_told(flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("q,a\n1,2\n")
    result = run(tmp_path / "a.csv", "--model", "gpt-4o-mini", *flags)
    assert result.exit_code == 2 and "--columns" in result.stderr


def test_the_documented_price_file_works(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs/cost.md").read_text(encoding="utf-8")
    (tmp_path / "ours.json").write_text(text.split("```json\n")[1].split("```")[0])
    found = bill(prices=with_own(tmp_path / "ours.json"))
    assert found.usd_training == pytest.approx(800 * 2.5 / 1e6)
    assert all(f"`{name}`" in text for name in FACTS)
