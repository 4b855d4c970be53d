"""`--redact`: the same value has the same placeholder, and nothing personal is left."""

import json
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from validators.parts import Source
from validators.reading import DataError
from validators.redaction import Placeholders, redact_files, redact_line
from workbench.cli.lint import lint as lint_verb

HI = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}'


def source(path: Path) -> Source:
    return Source(path, str(path))


def personal_file(path: Path) -> Path:
    rows = [
        {"messages": [{"role": "user", "content": "I am ann.smith@mail.com, key AKIAQYLPMN5HFIQR7XYA"}], "n": 1.50},
        {"messages": [{"role": "user", "content": "Call +44 20 7946 0958"}], "by": "Ann.Smith@mail.com"},
        {"text": "joe@mail.com or +44 (20) 7946 0958, once <EMAIL_4>; help@example.com"},
    ]  # fmt: skip
    path.write_text("\n".join(json.dumps(row).replace("1.5", "1.50") for row in rows))
    return path


def test_the_same_value_has_the_same_placeholder(tmp_path: Path) -> None:
    path = personal_file(tmp_path / "a.jsonl")
    done = redact_files([(source(path), tmp_path / "b.jsonl")])
    assert (tmp_path / "b.jsonl").read_text() == (
        '{"messages": [{"role": "user", "content": "I am <EMAIL_5>, key <SECRET_1>"}], "n": 1.50}\n'
        '{"messages": [{"role": "user", "content": "Call <PHONE_1>"}], "by": "<EMAIL_5>"}\n'
        '{"text": "<EMAIL_6> or <PHONE_1>, once <EMAIL_4>; help@example.com"}'
    )
    assert done.replaced == {"EMAIL": 3, "PHONE": 2, "SECRET": 1}
    again = redact_files([(source(tmp_path / "b.jsonl"), tmp_path / "c.jsonl")])
    assert again.replaced == {} and (tmp_path / "c.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_private_key_goes_to_its_last_line() -> None:
    body = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDGl9Yd" for _ in range(4)])
    text = f"x -----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY----- y"
    assert Placeholders().redact(text) == "x <SECRET_1> y"
    assert Placeholders().redact(json.dumps(text)) == '"x <SECRET_1> y"'


def test_keys_of_objects_are_redacted_and_embedded_files_are_not() -> None:
    row = b'{"joe@mail.com":  1, "image": "data:text/plain;base64,am9lQG1haWwuY29t"}\r\n'
    assert redact_line(
        row, Placeholders()
    ) == b'{"<EMAIL_1>":1,"image": "data:text/plain;base64,am9lQG1haWwuY29t"}\r\n' or (
        json.loads(redact_line(row, Placeholders()))
        == {"<EMAIL_1>": 1, "image": "data:text/plain;base64,am9lQG1haWwuY29t"}
    )


def test_json_in_a_text_stays_json() -> None:
    arguments = '{"card": 4111111111111111, "to": "joe@mail.com",  "n": 1.50}'
    redacted = json.loads(redact_line(json.dumps({"a": arguments}).encode(), Placeholders()))["a"]
    assert redacted == '{"card": "<CARD_1>", "to": "<EMAIL_1>",  "n": 1.50}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": "x", "a": "joe@mail.com"}\n', r"a\.jsonl:1: the key .* is there already"),
        (HI + b"\n{joe@mail.com}\n", r"a\.jsonl:2"),
        (b"PK\x03\x04", "zip"),
    ],
)
def test_what_could_hide_something_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as told:
        redact_files([(source(path), tmp_path / "b.jsonl")])
    assert "joe@" not in str(told.value) and not (tmp_path / "b.jsonl").exists()
    with pytest.raises(DataError, match="this is the input"):
        path.write_bytes(HI)
        redact_files([(source(path), path)])


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(["joe@mail.com", "+44 20 7946 0958", "4111 1111 1111 1111", "DE89370400440532013000",
       "078-05-1120", "<EMAIL_1>", "@", ".", " ", "-", "1", "a"]), max_size=8))  # fmt: skip
def test_nothing_personal_is_left(pieces: list[str]) -> None:
    from validators.personal import find_personal

    text = Placeholders().redact("".join(pieces))
    assert find_personal(text) == []


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    app = typer.Typer()
    app.command()(lint_verb)
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def test_redact_writes_copies(tmp_path: Path) -> None:
    path = personal_file(tmp_path / "a.jsonl")
    result = run(path, "--redact", tmp_path / "b.jsonl", "--select", "PII")
    assert result.exit_code == 0 and "EMAIL 3, PHONE 2, SECRET 1" in result.stderr
    (tmp_path / "c.jsonl").write_text('{"text": "ann.smith@mail.com"}\n')
    result = run(path, tmp_path / "c.jsonl", "--redact", tmp_path / "out", "--select", "PII")
    assert result.exit_code == 0 and (tmp_path / "out" / "c.jsonl").read_text() == '{"text": "<EMAIL_5>"}\n'
    assert run(path, "--redact", tmp_path / "d.jsonl", "--fix").exit_code == 2
