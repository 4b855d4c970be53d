"""Rules about texts: what they find, and above all what they leave alone."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators import lint
from validators.characters import garbled, invisible, mend_garbled, without_invisible
from validators.fingerprints import of_turns
from validators.json_scanner import join_path
from validators.language import UNKNOWN, language_of
from validators.passages import exchange, passages, strings
from validators.personal import EMAIL_BYTES, NUMBER_BYTES, SECRET_BYTES, find_personal, passes_luhn
from validators.rules import RULES, LineRule
from validators.text_facts import SAMPLE_SIZE, TextFacts

ROOT = Path(__file__).parent.parent
TEXTS = ["TEXT", "PII", "BAL", "DUP"]


def row(prompt: str, reply: str = "Let me look.", system: str | None = None) -> dict[str, Any]:
    turns = [("system", system)] if system is not None else []
    turns += [("user", prompt), ("assistant", reply)]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def write(path: Path, rows: list[dict[str, Any]], ascii: bool = False) -> Path:
    lines = (json.dumps(each, ensure_ascii=ascii) + "\n" for each in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def found(path: Path, rows: list[dict[str, Any]], **options: Any) -> list[tuple[str, int | None]]:
    report = lint(write(path, rows), select=options.pop("select", TEXTS), **options)
    return [(finding.code, finding.line) for finding in report.findings]


# -- clean texts stay clean ------------------------------------------------------------------------

CLEAN = [
    "هل تحتاج النعناع إلى الماء كل يوم؟ نعم، قليلاً.",
    "‏مرحبا\u200f (v2.0)\u200e שלום",
    "\u2067عنوان عربي\u2069 inside English \u2066and back\u2069.",
    "האם המשאבה צריכה לפעול בלילה?",
    "क्या तुलसी को रोज़ पानी चाहिए? क्‍ष और र्‍य ठीक हैं।",
    "می‌خواهم کتاب‌ها را ببینم؛ آیا پمپ‌ها روشن‌اند؟",
    "ശരി നന്‍ അവര്‍ പറഞ്ഞു",
    "👨‍👩‍👧‍👦 ❤️‍🔥 🏴‍☠️ 👩🏽‍💻 🏳️‍🌈 🙂‍↔️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣",
    "薄荷需要每天浇水吗？不用，三天一次即可。",
    "ミントは毎日水が必要ですか？いいえ、三日に一度です。",
    "ខ្មែរ\u200bភាសា និង ไทย\u200bภาษา",
    "NÃO É “AMANHÔ… SÃO JOÃO; MAÇû e irmã”",
    "„Spaß“ – Straße, Größe, Übermaß… „ß“",
    "«\u00a0voilà\u00a0» dit-il\u00a0; l’été à\u00a0«\u00a0La\u00a0» où…",
    "CAFÉ’S “DÉJÀ–VU” É… À® Û™ Ångström’s",
    "Ünïcödé ȧnd Žluťoučký kůň, Łódź, İstanbul, Þór",
    "tabs\tand\nnewlines\r\nand \u2028 separators\x85",
    "def f(x: dict) -> str:\n    return f\"{x['name']} {{literal}} {value}\"",
    "```jinja\nHello {{ name }}\n``` renders; inline `{{name}}` and ``{a_b}`` too",
    "\\frac{alpha}{beta} = {x | x > 0}, \\mathbb{R}^{nnn}, $x_{max}$",
    "const App = () => <div style={{color: 'red'}}>{user.name}</div>;",
    "body { color: red; } .a {margin: 0}\nif (a) { return {b}; }",
    'GET /users/{user_id}/posts, ${HOME}, %{count}, #{ruby}, {"json": {"a": 1}}',
    "{% for x in y %}{{ x }}{% endfor %}",
    "SELECT * FROM t WHERE a = '{{ ds }}'; -- 2026-11-20 10:15:33",
    "[INST] not a placeholder [/INST], [insertion], <your>, [1], [x](y)",
    "write to help@example.com, a.b@mail.example.org, root@localhost, x@y.test",
    "git@github.com:a/b.git, @user, m@self.weight, icon@2x.png, a@b.T, pkg@1.2.3",
    "sk-learn, risk-assessment, sk-your-api-key-goes-here, sk-xxxxxxxxxxxxxxxxxxxxxxxx, hf_hub_download",
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEF\n-----BEGIN PRIVATE KEY----- is a header",
    "uuid 550e8400-e29b-41d4-a716-446655440000, sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "isbn 978-3-16-148410-0, ean 4006381333931, order 4539578763621486123, ip 192.168.100.200:8080",
    "2026-11-20, 1,234,567,890.00, 3.14159265358979, 10 000 000, 1700000000000, v1.2.3.4",
    "4111 1111 1111 1112 and 1234-5678-9012-3456 fail the check",
    "GB82 WEST 1234 5698 7654 31 fails; 000-12-3456, 912-34-5678, 123-456-789, part 12-34-5678",
    "call 212-555-0123 or +1 (212) 555-0199 in the film; 2+12345678, a = +1234567890",
    "eyJhbGciOiJ.eyJzdWIi.abc is cut; data:image/png;base64,iVBORw0KGgo=",
    "I'm sorry to hear that. First, unplug the pump.",
]


@pytest.mark.parametrize("ascii", [False, True])
def test_clean_texts_of_many_languages_and_code_give_nothing(tmp_path: Path, ascii: bool) -> None:
    rows = [row(text, f"Reply {n}.", text) for n, text in enumerate(CLEAN)]
    report = lint(write(tmp_path / "a.jsonl", rows, ascii), select=["TEXT", "PII"])
    assert [(f.code, CLEAN[f.line - 1], f.message) for f in report.findings if f.line] == []
    assert not report.findings


@pytest.mark.parametrize("name", ["triage/tickets.jsonl", "handbook/questions.jsonl"])
def test_the_sample_data_is_clean(name: str) -> None:
    report = lint(ROOT / "sample_data" / name, select=TEXTS)
    assert [finding.as_dict() for finding in report.findings] == []


def test_our_own_source_code_as_rows_is_clean(tmp_path: Path) -> None:
    files = sorted((ROOT / "metrics").glob("*.py"))
    rows = [row(f"Explain {file.name}.", file.read_text(encoding="utf-8")) for file in files]
    assert found(tmp_path / "a.jsonl", rows, select=["TEXT", "PII"]) == []


# -- what is wrong is found ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("cafÃ© au lait", "café au lait"),
        ("Itâ€™s fine", "It’s fine"),
        ("22 Â°C", "22 °C"),
        ("Â£5 and â‚¬5", "£5 and €5"),
        ("GrÃ¶ÃŸe", "Größe"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет"),
        ("Å‚Ã³dÅº", "łódź"),
        ("ðŸ˜€ hi", "😀 hi"),
        ("Tiáº¿ng Viá»‡t", "Tiếng Việt"),
        ("CAFÃ‰", "CAFÉ"),
        ("ä½\xa0å¥½", "你好"),
    ],
)
def test_garbled_text_is_told_and_turned_back(text: str, mended: str) -> None:
    assert list(garbled(text))
    assert mend_garbled(text) == mended
    assert not list(garbled(mended))


@given(st.text(alphabet="abc éèüößñçãÃÂâ€™“”…àœŠ»«°\xa0ÐÑ\u200b\u200d\ufeff\u2066\u2069क्👩"))
def test_what_is_mended_stays_mended(text: str) -> None:
    assert not list(garbled(mend_garbled(text)))
    assert not invisible(without_invisible(text))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a\u200bb", "zero-width space"),
        ("\ufeffhi", "byte-order mark"),
        ("x\u202ey", "right-to-left override"),
        ("\u2066x", "never ends"),
        ("x\u2069", "never began"),
        ("a\u200db", "joiner where nothing joins"),
        ("ab\u200c cd", "non-joiner where nothing joins"),
        ("\x1b[31m", "U+001B"),
        ("\x0c", "U+000C"),
        ("\x9d", "U+009D"),
    ],
)
def test_invisible_characters_are_named(text: str, what: str, tmp_path: Path) -> None:
    (one,) = invisible(text)
    assert what in one.name
    assert invisible(without_invisible(text)) == []
    assert found(tmp_path / "a.jsonl", [row(text + " and more")]) == [("TEXT003", 1)]


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("Dear {{name}}, thanks", "warning"),
        ("Dear {{ first name }}, thanks", "warning"),
        ("Set it to <YOUR_API_KEY> first", "warning"),
        ("Dear [INSERT NAME HERE], thanks", "warning"),
        ("Dear [Insert name], thanks", "warning"),
        ("Dear {customer_name}, thanks", "info"),
    ],
)
def test_placeholders(text: str, severity: str, tmp_path: Path) -> None:
    (finding,) = lint(write(tmp_path / "a.jsonl", [row("Write.", text)]), select=["TEXT"]).findings
    assert (finding.code, finding.severity, finding.where) == ("TEXT004", severity, "messages[1].content")


def alphabet(length: int, seed: int, letters: str = string.ascii_letters + string.digits) -> str:
    rng = random.Random(seed)
    return "".join(rng.choice(letters) for _ in range(length))


HEX = "0123456789abcdef"
# Made here from random letters: no real key stands in the tree.
KEYS = {
    "an API key": "sk-" + alphabet(48, 1),
    "an OpenAI API key": "sk-proj-" + alphabet(60, 2),
    "an Anthropic API key": "sk-ant-api03-" + alphabet(80, 3),
    "an OpenRouter API key": "sk-or-v1-" + alphabet(64, 4, HEX),
    "an AWS access key": "AKIA" + alphabet(16, 5, "ABCDEFGHIJKLMNOP234567"),
    "an AWS secret key": "aws_secret_access_key = " + alphabet(40, 6),
    "an Azure storage key": "AccountKey=" + alphabet(86, 7) + "==",
    "a Google API key": "AIza" + alphabet(35, 8),
    "a GitHub token": "ghp_" + alphabet(36, 9),
    "a GitLab token": "glpat-" + alphabet(20, 10),
    "a Slack token": "xoxb-" + alphabet(12, 11, string.digits) + "-" + alphabet(24, 12),
    "a Stripe key": "sk_live_" + alphabet(24, 13),
    "a Hugging Face token": "hf_" + alphabet(34, 14),
    "an npm token": "npm_" + alphabet(36, 15),
    "a PyPI token": "pypi-AgEIcHlwaS5vcmc" + alphabet(60, 16),
    "a SendGrid key": "SG." + alphabet(22, 17) + "." + alphabet(43, 18),
    "a Groq API key": "gsk_" + alphabet(52, 19),
    "an xAI API key": "xai-" + alphabet(80, 20),
    "a Replicate token": "r8_" + alphabet(37, 21),
    "a DigitalOcean token": "dop_v1_" + alphabet(64, 22, HEX),
    "a Shopify token": "shpat_" + alphabet(32, 23, HEX),
    "a JSON web token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjMifQ." + alphabet(43, 24),
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA" + alphabet(40, 25),
}


@pytest.mark.parametrize("title", KEYS)
def test_secrets_are_told_by_kind_and_length_never_by_value(title: str, tmp_path: Path) -> None:
    key = KEYS[title]
    path = write(tmp_path / "a.jsonl", [row(f"Use {key} today"), row("nothing")])
    report = lint(path, select=["PII"])
    (finding,) = report.findings
    assert (finding.code, finding.severity, finding.line) == ("PII001", "error", 1)
    assert finding.message.startswith(f"{title} (")
    told = json.dumps(report.as_dict())
    assert not any(key[i : i + 12] in told for i in range(len(key) - 12))


@pytest.mark.parametrize(
    ("text", "code", "value"),
    [
        ("I am anna.b@quillmail.com", "PII002", "anna"),
        ("write Jo <jo@mail.co.uk>", "PII002", "jo@"),
        ("card 5500 0055 5555 5559 ok", "PII003", "5500"),
        ("card 5500-0055-5555-5559", "PII003", "5500"),
        ("amex 378282246310005.", "PII003", "3782"),
        ("call +49 30 901820 now", "PII004", "9018"),
        ("call (212) 736-5000", "PII004", "7365"),
        ("call 212-736-5000.", "PII004", "7365"),
        ("tel 01 44 55 66 77", "PII004", "44 55"),
        ("to DE89 3704 0044 0532 0130 00", "PII005", "3704"),
        ("to GB82WEST12345698765432", "PII005", "WEST"),
        ("ssn 123-45-6789", "PII005", "6789"),
    ],
)
def test_personal_data_is_told_without_its_value(text: str, code: str, value: str, tmp_path: Path) -> None:
    (finding,) = lint(write(tmp_path / "a.jsonl", [row(text)]), select=["PII"]).findings
    assert (finding.code, finding.where) == (code, "messages[0].content")
    assert value not in finding.message + finding.help


def test_personal_data_is_found_wherever_it_stands(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"to": "a@quill.de"}'}}
    value = row("Hi") | {"metadata": {"by": "b@quill.de"}}
    value["messages"][1] |= {"tool_calls": [call]}
    value["messages"][0]["content"] = [{"type": "text", "text": "c@quill.de"}]
    findings = lint(write(tmp_path / "a.jsonl", [value]), select=["PII"]).findings
    assert sorted(finding.where or "" for finding in findings) == [
        "messages[0].content[0].text",
        "messages[1].tool_calls[0].function.arguments",
        "metadata.by",
    ]


def test_finds_do_not_overlap_and_come_in_order() -> None:
    text = "DE89 3704 0044 0532 0130 00, 5500 0055 5555 5559 and a@quill.de"
    assert [each.kind for each in find_personal(text)] == ["iban", "card", "email"]


@pytest.mark.parametrize(("digits", "right"), [("79927398713", True), ("79927398710", False), ("0", True)])
def test_luhn(digits: str, right: bool) -> None:
    assert passes_luhn(digits) is right


# -- prefilters ------------------------------------------------------------------------------------


def test_no_rule_fires_on_a_line_that_its_bytes_do_not_let_through() -> None:
    texts = [*CLEAN, *KEYS.values(), "cafÃ© â€™ ðŸ˜€ 22 �C", "a\u200b\u202e\x7f\x9d\ufeff\u2066\x0c\b"]
    texts += ["{{name}} {name_of} <YOUR_KEY> [INSERT IT]", "a@quill.de 5500 0055 5555 5559 +49 30 901820"]
    finders = {"PII001": SECRET_BYTES, "PII002": EMAIL_BYTES, "PII003": NUMBER_BYTES}
    rules = {rule.code: rule for rule in RULES if isinstance(rule, LineRule) and rule.needs}
    assert all(rules[code].needs is needs for code, needs in finders.items())
    from validators.rules.subjects import read_line
    from validators.targets import load_target

    target = load_target("generic")
    for text in texts:
        raw = json.dumps(row(text), ensure_ascii=False).encode()
        line = read_line(1, raw, target)
        for rule in rules.values():
            if rule.code.startswith(("TEXT", "PII")) and any(rule.check(line, target)) and b"\\u" not in raw:
                assert rule.needs is not None and rule.needs.search(raw), (rule.code, text)


# -- sets ------------------------------------------------------------------------------------------


def test_refusals_and_constant_answers_need_rows_enough(tmp_path: Path) -> None:
    few = [row(f"Question {n}?", "I'm sorry, but I can't help with that.") for n in range(19)]
    assert found(tmp_path / "a.jsonl", few, select=["TEXT"]) == []
    assert found(tmp_path / "b.jsonl", [*few, row("One more?", "No.")], select=["TEXT"]) == [("TEXT005", 1)]
    many = [row(f"Question {n}?", "Fine.") for n in range(48)]
    assert found(tmp_path / "c.jsonl", [*many, row("A?", "B")], select=["TEXT"]) == [("TEXT007", None)]
    assert (
        found(tmp_path / "d.jsonl", [*many, *(row(f"{n}?", str(n)) for n in range(3))], select=["TEXT"]) == []
    )


def test_a_reply_in_the_system_prompt_is_no_echo(tmp_path: Path) -> None:
    long = "The pump hums at night because the tank under the lid runs dry"
    assert found(tmp_path / "a.jsonl", [row("Why?", long, f"Say: {long}")], select=["TEXT"]) == []
    assert found(tmp_path / "b.jsonl", [row(f"Say: {long}.", long)], select=["TEXT"]) == [("TEXT006", 1)]


def test_a_label_in_the_prompt_counts_where_no_other_label_stands(tmp_path: Path) -> None:
    rows = [row(f"Ticket {n} came", ("water", "light")[n % 2]) for n in range(40)]
    rows += [row("It needs water", "water"), row("Is it water or light?", "light"), row("light?", "water")]
    assert found(tmp_path / "a.jsonl", rows, select=["TEXT"]) == [("TEXT006", 41)]


def test_classes_missing_in_training_are_told_in_either_direction(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [row(f"{n}?", ("up", "down")[n % 2]) for n in range(40)])
    test = write(tmp_path / "test.jsonl", [row("a?", "up"), row("b?", "down"), row("c?", "left")])
    both = lint([test, train], select=["BAL003"]).findings
    assert [(f.path, f.message) for f in both] == [
        (str(test), "classes that the training split lacks: 'left' (1 rows)")
    ]
    assert "test.jsonl" in lint(train, against=test, select=["BAL003"]).findings[0].message
    assert [f.path for f in lint(test, against=train, select=["BAL003"]).findings] == [str(test)]


def test_free_text_is_no_class(tmp_path: Path) -> None:
    rows = [row(f"Question {n}?", f"Reply number {n} is longer than labels are.") for n in range(60)]
    assert found(tmp_path / "a.jsonl", rows, select=["BAL"]) == []


def test_shift_says_which_and_by_how_much_and_is_silent_between_halves(tmp_path: Path) -> None:
    tickets = (ROOT / "sample_data/triage/tickets.jsonl").read_text(encoding="utf-8").splitlines(True)
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text("".join(tickets[::2]), encoding="utf-8")
    other.write_text("".join(tickets[1::2]), encoding="utf-8")
    assert lint(one, against=other, select=["BAL004"]).findings == ()
    rows = [
        row(f"Zahnradbahn, Bergstation, Talstation, Fahrkartenschalter: und das ist {n}") for n in range(80)
    ]
    told = " ".join(f.message for f in lint(one, against=write(other, rows), select=["BAL004"]).findings)
    assert "the language 'de' has" in told and "100% there" in told
    assert "characters here and" in told and "of the words there" in told


def test_the_sample_hangs_on_the_rows_alone() -> None:
    turns = [[("user", f"Question number {n}?"), ("assistant", f"Reply {n}.")] for n in range(3000)]

    def facts(order: list[int], cuts: list[int]) -> TextFacts:
        whole = TextFacts()
        for lo, hi in zip([0, *cuts], [*cuts, len(order)], strict=True):
            part = TextFacts()
            for place, n in enumerate(order[lo:hi], 1):
                part.take(of_turns(turns[n], place), turns[n])
            whole.join(part, lo)
        return whole

    ordered = list(range(3000))
    one, other = facts(ordered, []), facts(ordered, [5, 700, 2500])
    assert one.sample == other.sample and one.below == other.below
    shuffled = random.Random(1).sample(ordered, 3000)
    assert facts(shuffled, [1000]).sample.keys() == one.sample.keys()
    assert SAMPLE_SIZE / 4 < len(one.sample) <= SAMPLE_SIZE


# -- passages and languages ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "row_format", "expected"),
    [
        (row("Q", "A", "S"), "chat", ("S", "Q", "A")),
        ({"prompt": "Q", "completion": "A"}, "prompt-completion", ("", "Q", "A")),
        ({"instruction": "Q", "input": "I", "output": "A"}, "alpaca", ("", "Q\nI", "A")),
        (
            {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
            "sharegpt",
            ("", "Q", "A"),
        ),
        (
            {
                "contents": [
                    {"role": "user", "parts": [{"text": "Q"}]},
                    {"role": "model", "parts": [{"text": "A"}]},
                ]
            },
            "gemini",
            ("", "Q", "A"),
        ),
        (
            {
                "input": {"messages": [{"role": "user", "content": "Q"}]},
                "preferred_output": [{"role": "assistant", "content": "A"}],
                "non_preferred_output": [{"role": "assistant", "content": "B"}],
            },
            "preference",
            ("", "Q", "A"),
        ),
        ({"prompt": "Q", "chosen": "A", "rejected": "B"}, "preference", ("", "Q", "A")),
        ({"messages": "no list"}, "chat", ("", "", "")),
        ({"messages": [None, {"role": 3, "content": 4}]}, "chat", ("", "", "")),
    ],
)
def test_a_row_of_any_format_is_question_and_answer(
    value: dict[str, Any], row_format: str, expected: tuple[str, str, str]
) -> None:
    assert tuple(exchange(value, row_format)) == expected
    for passage in passages(value, row_format):
        assert (passage.where, passage.text) in {
            (join_path([*parts]), text) for parts, text in strings(value)
        }


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How do I reset the pump of my garden?", "en"),
        ("Wie setze ich die Pumpe zurück und was ist das?", "de"),
        ("Comment réinitialiser la pompe ? Je ne sais pas", "fr"),
        ("¿Cómo puedo reiniciar la bomba de mi jardín? No sé qué hacer", "es"),
        ("Como posso reiniciar a bomba do meu jardim? Não sei", "pt"),
        ("Come posso riavviare la pompa del mio giardino? Non so", "it"),
        ("Hoe kan ik de pomp van mijn tuin resetten?", "nl"),
        ("Jak mam zresetować pompę? Nie wiem, co to jest", "pl"),
        ("Как сбросить насос?", "ru"),
        ("Як скинути насос і що це?", "uk"),
        ("كيف أعيد ضبط المضخة؟", "ar"),
        ("چگونه پمپ را تنظیم کنم؟", "fa"),
        ("איך מאפסים את המשאבה?", "he"),
        ("पंप को कैसे रीसेट करें? यह है", "hi"),
        ("如何重置水泵？", "zh"),
        ("ポンプを再設定するには？", "ja"),
        ("펌프를 어떻게 재설정하나요?", "ko"),
        ("def f(x): return x", UNKNOWN),
        ("Quillfern!", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language
