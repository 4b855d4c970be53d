"""The Data page: findings down to the marked place, lengths under a limit, files that somebody uploads."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("streamlit", reason="the app needs streamlit")

from streamlit.testing.v1 import AppTest

from apps.exports import csv_text, file_name
from apps.source_rows import Source, mark_bytes, mark_value, marked, source_of
from apps.uploads import laid_out, safe_name
from tests.example_data import PAYLOAD
from tests.example_run import make_run
from validators.examples import Example, parse_example
from validators.tokens import load_tokenizer
from workbench.charts_data import bars
from workbench.data import hash_files
from workbench.experiment import Experiment
from workbench.lengths import Cut, Lengths, measure
from workbench.records import RowLength
from workbench.runs import Run

MAIN = Path(__file__).resolve().parent.parent / "apps" / "main.py"


class Given:
    """A file as an upload widget hands it over."""

    def __init__(self, name: str, blob: bytes = b"x") -> None:
        self.name, self.file_id, self._blob = name, name, blob

    def getvalue(self) -> bytes:
        return self._blob


def page(root: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("WORKBENCH_RUNS", str(root))
    at = AppTest.from_file(str(MAIN), default_timeout=30).run()
    at.switch_page("views/data.py").run()
    assert not at.exception, at.exception
    return at


def said(at: AppTest) -> str:
    elements = [*at.title, *at.subheader, *at.markdown, *at.caption, *at.text, *at.code, *at.error]
    return "\n".join(str(e.value) for e in elements).replace("\\", "")


# -- a finding's row -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("messages[1].content", '"b"'),
        ("messages[1]", '{\n   "role": "assistant",\n   "content": "b"\n  }'),
        ("$.messages[0].role", '"user"'),
        ("messages[7].content", None),  # a place that the row has not: the part that it has
        (None, None),
        ("$", None),
    ],
)
def test_the_place_is_split_off_and_nothing_is_lost(where, place):
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    found = mark_value(row, where)
    assert json.loads(found.before + found.place + found.after) == row
    if place is not None:
        assert found.place == place


def test_a_broken_line_is_split_at_its_byte():
    found = mark_bytes('{"ä": nope}'.encode(), 8)
    assert (found.before, found.place, found.after) == ('{"ä": ', "n", "ope}")


def linted(root: Path, text: str) -> Run:
    """A run whose experiment and data lie beside the runs folder, as on disk after `workbench run`."""
    run = make_run(root / "runs")
    place = root / "experiment.yaml"
    (root / "tickets.jsonl").write_text(text, encoding="utf-8")
    place.write_text(run.experiment_text() or "")
    experiment = Experiment.parse(place.read_text(), path=place)
    files = {experiment.data.files[role]: sha for role, sha in hash_files(experiment).items()}
    run.write_meta({**run.meta(), "origin": "../experiment.yaml", "dataset": {"files": files, "rows": 1}})
    return run


ROW = json.dumps({"messages": [{"role": "user", "content": "hm"}, {"role": "assistant", "content": PAYLOAD}]})


class TestSource:
    def test_the_row_is_read_from_the_file_that_was_linted(self, tmp_path):
        source = source_of(linted(tmp_path, ROW + "\n"), "tickets.jsonl")
        assert source is not None
        found = marked(source, 1, None, "messages[1].content")
        assert found is not None
        assert json.loads(found.place) == PAYLOAD
        assert marked(source, 9, None, None) is None

    @pytest.mark.parametrize("name", ["../experiment.yaml", "/etc/passwd", "other.jsonl", ""])
    def test_no_other_file_is_opened(self, tmp_path, name):
        run = linted(tmp_path, ROW + "\n")
        assert source_of(run, name) is None
        # Not even where the run's own record names it, unless its bytes are known.
        run.write_meta({**run.meta(), "dataset": {"files": {name: "0" * 64}, "rows": 1}})
        assert source_of(run, name) is None

    def test_a_changed_or_missing_file_is_not_shown(self, tmp_path):
        run = linted(tmp_path, ROW + "\n")
        (tmp_path / "tickets.jsonl").write_text(ROW + "\n\n")
        assert source_of(run, "tickets.jsonl") is None
        (tmp_path / "tickets.jsonl").unlink()
        assert source_of(run, "tickets.jsonl") is None

    def test_a_row_that_is_no_json_is_shown_raw(self, tmp_path):
        (tmp_path / "x.jsonl").write_bytes(b'{"a": 1}\n{"a": \xff}\n')
        found = marked(Source(tmp_path / "x.jsonl", None), 2, 7, None)
        assert found is not None
        assert found.before == '{"a": '


def test_the_page_shows_the_row_with_its_place(tmp_path, monkeypatch):
    run = linted(tmp_path, ROW + "\n" + ROW + "\n")
    from validators import lint

    run.write_lint(lint([tmp_path / "tickets.jsonl"], select=["DUP", "TEXT"]).as_dict())
    for finding in (findings := run.findings()):
        finding["path"] = "tickets.jsonl"
    run.write_lint({**(run.lint() or {}), "findings": findings})
    at = page(tmp_path / "runs", monkeypatch)
    assert any(PAYLOAD in json.dumps(t.value) or PAYLOAD in t.value for t in at.text)
    assert "Duplicates and leaks" in said(at)


# -- lengths ---------------------------------------------------------------------------------------------


def test_a_limit_cuts_what_counting_row_by_row_says():
    generator = np.random.default_rng(3)
    rows = []
    for line in range(200):
        edges = sorted(generator.choice(90, 4, replace=False).tolist())
        spans = ((edges[0], edges[1]), (edges[2], edges[3])) if line % 9 else ()
        rows.append(RowLength(line=line + 1, tokens=edges[3] + 2, trained=spans))
    lengths = Lengths(rows)
    for limit in (1, 17, 40, 90, lengths.longest):
        tokens = [max(0, row.tokens - limit) for row in rows]
        kept = [sum(max(0, min(end, limit) - begin) for begin, end in row.trained) for row in rows]
        whole = [sum(end - begin for begin, end in row.trained) for row in rows]
        emptied = sum(not k and w > 0 for k, w in zip(kept, whole, strict=True))
        expected = Cut(sum(map(bool, tokens)), emptied, sum(tokens), sum(whole) - sum(kept))
        assert lengths.cut(limit) == expected
    assert sum(n for _, _, n, _ in bars(lengths.tokens, 40)) == len(rows)
    cut = sum(n for _, _, n, kind in bars(lengths.tokens, 40) if kind == "cut")
    assert cut == lengths.cut(40).rows


@pytest.mark.parametrize("name", ["tiny", "gpt-4o-mini"])
def test_measured_rows_are_what_the_encoder_counts(name, tiny_model):
    from validators import encode
    from validators.tokens import HuggingFaceTokenizer

    tokenizer = load_tokenizer(str(tiny_model) if name == "tiny" else name, offline=True)
    rows = [
        {"messages": [{"role": "user", "content": "the pump"}, {"role": "assistant", "content": text}]}
        for text in ("till/charge", "the tank leaks", "")
    ]
    examples: list[Example] = [parse_example(row, line) for line, row in enumerate(rows, 1)]
    measured = measure(examples, tokenizer)
    assert [row.line for row in measured] == [1, 2, 3]
    for example, row in zip(examples, measured, strict=True):
        assert row.tokens == tokenizer.count_example(example)
        if isinstance(tokenizer, HuggingFaceTokenizer):
            mask = encode(example, tokenizer).loss_mask
            assert [i for i, m in enumerate(mask) if m] == [i for a, b in row.trained for i in range(a, b)]
    assert [row.line for row in measure(examples * 4, tokenizer, most=5)] == [1, 1, 1, 1]


def test_the_slider_tells_what_is_lost(tmp_path, monkeypatch):
    run = make_run(tmp_path)
    run.write_lengths(
        [RowLength(line=i, tokens=10 * i, trained=((10 * i - 5, 10 * i),)) for i in range(1, 11)]
    )
    at = page(tmp_path, monkeypatch)
    assert at.slider[0].value == 100
    at.slider[0].set_value(50).run()
    words = said(at)
    assert "50.0% of the rows" in words
    assert "### 25 " in words + " " or "### 25\n" in words
    run.write_lengths([])
    assert "No lengths" in said(page(tmp_path, monkeypatch))


# -- uploads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("../../etc/passwd", "/etc/cron.d/x", "..\\..\\x.jsonl", "a\x00b.csv", ".bashrc", "..", ""),
        *(
            "x" * 400 + ".csv",
            "%2e%2e%2fx.json",
            "\\\\host\\share\\x.csv",
            "\x1b[31mred.csv",
            "a/../../b.jsonl",
        ),
    ],
)
def test_an_upload_stays_in_a_folder_that_goes(name):
    assert safe_name(Given(name)) == Path(safe_name(Given(name))).name
    with laid_out(Given(name)) as path:
        folder = path.parent
        assert list(folder.iterdir()) == [path]
        assert path.resolve().parent == folder.resolve()
    assert not folder.exists()


def test_a_file_is_linted_without_a_run(tmp_path, monkeypatch):
    at = page(tmp_path, monkeypatch)
    assert "No runs here yet" in said(at)
    at.file_uploader[0].set_value(("dirty.jsonl", b'{"messages": []}\nnot json\n', "application/json")).run()
    assert not at.exception
    words = said(at)
    assert "stop a run" in words
    assert "dirty.jsonl:2" in words
    at.file_uploader[0].set_value((f"{PAYLOAD}.parquet", b"no parquet", "")).run()
    assert not at.exception
    assert "cannot be read" in said(at) or "errors" in said(at)


# -- exports ---------------------------------------------------------------------------------------------


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n@x", "|x", "%0a=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text):
    rows = list(csv.reader(io.StringIO(csv_text([{text: text}]), newline="")))
    assert rows == [[f"'{text}"], [f"'{text}"]]


def test_numbers_and_plain_text_stay():
    text = csv_text([{"a": -1.5, "b": "x, y", "c": None, "d": "-0.25"}, {"e": [1, "=2"]}])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["a", "b", "c", "d", "e"],
        ["-1.5", "x, y", "", "-0.25", ""],
        ["", "", "", "", '[1, "=2"]'],
    ]


@pytest.mark.parametrize("text", ["../../x", "", ".hidden", "a/b", "=x", "\x1b[0m", "…"])
def test_a_file_name_is_one_plain_name(text):
    name = file_name(text, ".csv")
    assert Path(name).name == name
    assert not name.startswith(".")


def test_every_plot_can_be_a_png_and_a_run_be_taken_along(tmp_path):
    from apps import take_along
    from workbench.charts import png, scores_chart

    run = make_run(tmp_path)
    verdict = run.verdict()
    assert verdict is not None
    assert png(scores_chart(verdict.contenders, "exact_match")).startswith(b"\x89PNG")
    card = take_along.card_markdown(run)
    assert card.startswith("```text\n") and "CAN'T TELL" in card
    answers = list(take_along.answers(run))
    assert len(answers) == 24 * 4
    assert any(PAYLOAD in (row["prediction"] or "") for row in answers)
    assert {row["metric"] for row in take_along.scores(run)} >= {"exact_match"}
