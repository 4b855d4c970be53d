"""The report: complete, self-contained, deterministic, and deaf to what data and models say."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from tests.example_run import STAGES, make_run
from validators.examples import Message
from workbench import card as words
from workbench.cli.report import report as report_command
from workbench.document import Card, Cell, Document, Section, Table, Text, html, markdown
from workbench.records import Forgetting, Harm, Passage, SliceChange
from workbench.report import write_report
from workbench.runs import Run

PAYLOADS = (
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)><a xlink:href='https://evil.example/'>",
    "<iframe src='https://evil.example/'></iframe><base href='//evil.example'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "[click](javascript:alert(1)) ![x](https://evil.example/pixel.png) <https://evil.example>",
    "| a | b |\n| --- | --- |\n# heading `code` **bold**",
    "\x1b]8;;https://evil.example\x07link\x1b]8;;\x07 \x1b[2J \x9b31m",
    "\u202etxt.exe\u2066 \u2028 \x00",
    "```\n</details>\n~~~ &lt;script&gt; $x^2$ :red[red]",
)

SLICES = (
    SliceChange(slice="language=de", n=22, estimate=-0.2, interval=(-0.31, -0.09)),
    SliceChange(slice="language=en", n=70, estimate=0.1, interval=(0.05, 0.15)),
    SliceChange(slice="language=fr", n=40, estimate=0.0, interval=(-0.2, 0.2)),
    SliceChange(slice="language=it", n=3, estimate=1.0, interval=None, reason="3 samples, under 10"),
)
FORGOT = Forgetting(before=1.25, after=1.3, change=0.04, interval=(0.03, 0.05), passages=61)

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of the page: elements, attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def assert_harmless(page: Page) -> None:
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "img", "link", "object", "embed", "base", "form", "foreignobject"}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        for name in ("href", "xlink:href", "src", "action", "xmlns"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert "refresh" not in {a.get("http-equiv") for t, a in page.elements if t == "meta"}


def poison(run: Run) -> None:
    """Put the payloads everywhere that data, a model, a server or a person can write."""
    load = "\n".join(PAYLOADS)
    samples = [
        msgspec.structs.replace(
            s, messages=(Message("user", load),), references=(load,), group=load, tags={"<b>": load}
        )
        for s in run.samples()
    ]
    run.write_splits(run.splits() or {}, samples)
    for name in run.contenders():
        run.write_predictions(
            name,
            [
                msgspec.structs.replace(p, prediction=load if i % 2 else None, error=load)
                for i, p in enumerate(run.predictions(name))
            ],
        )
        passages = (Passage(load, load, 1.0),)
        run.write_prompts(name, [msgspec.structs.replace(p, passages=passages) for p in run.prompts(name)])
        run.write_contender(
            name, {**(run.contender(name) or {}), "model": {"name": load}, "hardware": {load: load}}
        )
        scores = run.scores(name) or {}
        for score in scores["metrics"].values():
            score["signature"] = load
        run.write_scores(name, scores)
    finding = {
        "code": load,
        "name": load,
        "severity": "error",
        "path": load,
        "line": 1,
        "message": load,
        "help": load,
    }
    run.write_lint({**(run.lint() or {}), "findings": [finding]})
    meta = run.meta()
    run.write_meta({**meta, "experiment": load, "versions": {load: load}, "dataset": {"files": {load: load}}})
    verdict = run.verdict()
    assert verdict is not None
    texts = {"sentence": load, "experiment": load, "caveats": (load,), "flips": (load,), "next": load}
    harm = Harm(
        against="rag", slices=tuple(msgspec.structs.replace(s, slice=load, reason=load) for s in SLICES)
    )
    run.write_verdict(msgspec.structs.replace(verdict, **texts, harm=harm))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = make_run(tmp_path_factory.mktemp("runs"), samples=40)
    write_report(made)
    return made


def read(run: Run) -> tuple[str, str]:
    return run.report_path("html").read_text(encoding="utf-8"), run.report_path("md").read_text(
        encoding="utf-8"
    )


def test_every_score_of_every_contender_is_on_both(run: Run) -> None:
    page, text = read(run)
    for name in run.contenders():
        for metric, score in (run.scores(name) or {})["metrics"].items():
            assert words.number(score["value"], metric, 3) in page
            assert words.interval(score["interval"], metric, 3) in Page(page).text
            assert words.number(score["value"], metric, 3) in text


def test_the_page_says_what_the_folder_says(run: Run) -> None:
    page, text = Page(read(run)[0]).text, read(run)[1]
    verdict = run.verdict()
    assert verdict is not None
    head, why = words.headline(verdict).split(words.DOT)
    for expected in (
        head,
        why,
        verdict.sentence,
        "DUP005",
        "tickets.jsonl:31",
        "12fd25f",
        "64 tokens at most",
    ):
        assert expected in page
        assert expected in text
    assert next(iter(run.meta()["dataset"]["files"].values())) in page
    assert "passages retrieved" in page


def test_the_page_is_self_contained_and_guarded(run: Run) -> None:
    page = Page(read(run)[0])
    assert_harmless(page)
    policy = next(
        a["content"] or "" for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script" not in policy
    assert "unsafe" not in policy
    assert "http" not in read(run)[0].replace("http-equiv", "").replace("HTTP", "").replace("127.0.0.1", "")


def test_harm_has_a_section_with_every_slice_and_what_was_forgotten(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    verdict = run.verdict()
    assert verdict is not None
    write_report(run)
    charts = read(run)[0].count("<svg")
    assert "<h2>Harm</h2>" not in read(run)[0]
    harm = Harm(against="few-shot", slices=SLICES, forgetting=FORGOT)
    run.write_verdict(msgspec.structs.replace(verdict, harm=harm))
    write_report(run)
    source, text = read(run)
    assert source.count("<svg") == charts + 1 and "<h2>Harm</h2>" in source
    for row in (
        r"| language=de | 22 | −0.200 \[−0.310, −0.090\] | worse |",
        r"| language=en | 70 | +0.100 \[+0.050, +0.150\] | better |",
        r"| language=fr | 40 | 0.000 \[−0.200, +0.200\] |  |",
        r"| language=it | 3 | +1.000 3 samples, under 10 |  |",
        r"| change | +4.0 % \[+3.0 %, +5.0 %\] |",
        r"| bits per byte after | 1.300 |",
    ):
        assert row in text
    assert "worse on language=de −0.20 [−0.31, −0.09]" in Page(source).text
    run.write_verdict(msgspec.structs.replace(verdict, harm=Harm(against=None, forgetting=FORGOT)))
    write_report(run)
    assert read(run)[0].count("<svg") == charts and "bits per byte before" in read(run)[1]


@pytest.mark.parametrize(
    ("costs", "fields", "told"),
    [
        ({"saving_usd_per_month": None}, {"payback_months": None}, "unknown: a price is missing"),
        (
            {"saving_usd_per_month": -4.0},
            {"payback_months": None, "usd_per_point": 7.0},
            "each point costs a month | $7.00",
        ),
        (
            {
                "saving_usd_per_month": 9.0,
                "payback_probability": 0.91,
                "payback_months_low": 2.0,
                "payback_months_high": None,
            },
            {"payback_months": 4.0},
            "pays back in | 4 months (2 months to never)",
        ),
        (
            {"saving_usd_per_month": 9.0, "payback_probability": 0.91},
            {"payback_months": 4.0},
            "payback probability | 0.91",
        ),
    ],
)
def test_the_money_in_the_report(
    tmp_path: Path, costs: dict[str, float | None], fields: dict[str, float | None], told: str
) -> None:
    run = make_run(tmp_path)
    verdict = run.verdict()
    assert verdict is not None
    run.write_verdict(msgspec.structs.replace(verdict, costs=costs, **fields))
    write_report(run)
    assert told.replace("$", "\\$") in read(run)[1]


def test_charts_are_drawn_with_readable_text(run: Run) -> None:
    page = Page(read(run)[0])
    assert sum(tag == "svg" for tag, _ in page.elements) == 4
    assert "worth it from +0.05" in page.text
    assert "kept: step 30" in page.text


def test_two_writes_give_the_same_bytes(run: Run) -> None:
    before = read(run)
    write_report(run)
    assert read(run) == before


def test_payloads_stay_text(tmp_path: Path) -> None:
    poisoned = make_run(tmp_path, samples=24)
    poison(poisoned)
    write_report(poisoned)
    source, text = read(poisoned)
    page = Page(source)
    assert_harmless(page)
    assert "<script>alert(1)</script>" in page.text
    for written in (source, text):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", written)
    assert not re.search(r"<(?!br>)", text)
    assert not re.search(
        r"(?<!\\)(\]\(|!\[|`|\*\*(?!CAN|DON|TUNE))", re.sub(r"^\*\*.*\*\*$", "", text, flags=re.M)
    )
    assert "://" not in text


def test_a_table_keeps_its_shape_in_markdown() -> None:
    table = Table(("a|b", "c"), (("x|y\nz", Cell("1", "<i>")),))
    page = markdown(Document("t", (), (Section("s", "S", (table,)),), ""))
    assert page.splitlines()[-3:] == [r"| a\|b | c |", "| --- | --: |", r"| x\|y<br>z | 1 &lt;i&gt; |"]


def test_a_caption_cannot_leave_its_attribute() -> None:
    lead = (Card('"><script>', "A · <b>", "'", "&", (("next", "<x>"),)), Text("<p>", "note"))
    page = Page(html(Document("</title>", lead, (), "")))
    assert_harmless(page)
    assert "</title>" in page.text


@pytest.mark.parametrize("until", STAGES[:-1])
@pytest.mark.parametrize("status", ["started", "error"])
def test_a_run_that_is_not_done_says_so(tmp_path: Path, until: str, status: str) -> None:
    write_report(make_run(tmp_path, until=until, status=status))
    source, _ = read(Run(tmp_path / "triage-1f2e9a07"))
    page = Page(source)
    assert_harmless(page)
    assert "NO VERDICT YET" in page.text
    assert ("127.0.0.1:8000 went away" in page.text) == (status == "error")
    assert ("0.700" in page.text or "exact match" in page.text) == (until == "contenders")


def test_a_failed_contender_is_shown_with_its_reason(tmp_path: Path) -> None:
    run = make_run(tmp_path, until="contenders")
    failed = {**(run.contender("rag") or {}), "status": "error", "error": "no space left"}
    run.remove_contender("rag")
    run.write_contender("rag", failed)
    write_report(run)
    page, text = read(run)
    assert "it failed: no space left" in Page(page).text
    assert "| rag | no score it failed: no space left |" in text


def test_no_value_is_its_reason_and_signatures_stay_apart(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    scores = run.scores("lora") or {}
    scores["metrics"]["macro_f1"] |= {"value": None, "interval": None, "reason": "no label was predicted"}
    scores["metrics"]["perplexity"]["signature"] = "another tokenizer"
    run.write_scores("lora", scores)
    write_report(run)
    page = Page(read(run)[0]).text
    assert "no label was predicted" in page
    assert "perplexity (lower is better) (2)" in page
    assert "measured otherwise" in page


def test_without_the_drawing_packages_the_report_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    write_report(make_run(tmp_path))
    source, _ = read(Run(tmp_path / "triage-1f2e9a07"))
    assert "<svg" not in source
    assert "pip install &#x27;decide-before-you-tune[app]&#x27;" in source


def test_the_command_prints_the_two_paths(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    app = typer.Typer()
    app.command()(report_command)
    done = CliRunner().invoke(app, [str(run.folder)])
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [str(run.report_path("html")), str(run.report_path("md"))]
    missing = CliRunner().invoke(app, [str(tmp_path / "nowhere")])
    assert missing.exit_code == 2
    assert "no such folder" in missing.output
