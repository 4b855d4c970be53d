"""The experiment file: what is right loads, what is wrong is told with place, fault and nearest right word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workbench.experiment import Experiment, ExperimentError, settings_hash
from workbench.settings import FineTuned, HfBackend, OpenAIBackend

SAMPLES = Path(__file__).resolve().parent.parent / "sample_data"

GOOD = """\
name: small
data:
  path: rows.jsonl
contenders:
  - name: zero
    kind: prompting
"""


def parse(text: str) -> Experiment:
    return Experiment.parse(text, path=Path("e.yaml"))


def told(text: str) -> str:
    with pytest.raises(ExperimentError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "primary", "contenders"),
    [
        ("triage", "exact_match", ["zero-shot", "few-shot", "rag", "lora"]),
        ("handbook", "token_f1", ["closed-book", "few-shot", "rag", "rag-oracle", "lora"]),
    ],
)
def test_sample_experiments_load(name: str, primary: str, contenders: list[str]) -> None:
    experiment = Experiment.load(SAMPLES / name / "experiment.yaml")
    assert (experiment.name, experiment.primary) == (name, primary)
    assert [c.name for c in experiment.contenders] == contenders
    for place in [*experiment.data.files.values(), experiment.data.corpus or ""]:
        assert experiment.resolve(place).exists()


def test_defaults() -> None:
    experiment = parse(GOOD)
    assert experiment.metric_names == ("rouge_l", "chrf", "bleu", "perplexity")
    assert experiment.backend_of(experiment.contenders[0]).model == "smollm2-135m-instruct"
    assert experiment.equivalent_within == experiment.decision.worth_it == 0.05
    assert experiment.data.files == {"all": "rows.jsonl"}


@pytest.mark.parametrize("page", ["contenders", "training"])
def test_contenders_of_the_docs_load(page: str) -> None:
    """Every list of contenders that a page shows, with what they may need around them."""
    text = (SAMPLES.parent / "docs" / f"{page}.md").read_text(encoding="utf-8")
    lists = re.findall(r"^```yaml\n((?:- \{.*\n)+)```$", text, re.MULTILINE)
    assert lists
    needed = "data: {path: rows.jsonl, corpus: pages, sources: metadata.page}"
    for written in lists:
        listed = written.replace("- {", "  - {")
        made = parse(GOOD.replace("data:\n  path: rows.jsonl", needed) + listed)
        assert len(made.contenders) == 1 + listed.count("name:")


def test_a_bare_on_or_off_is_the_word() -> None:
    lines = ("name: a", "kind: fine-tuned", "gradient_checkpointing: on", "packing: off")
    (tuned,) = (c for c in parse(with_contender(*lines)).contenders if isinstance(c, FineTuned))
    assert (tuned.gradient_checkpointing, tuned.packing) == ("on", "off")
    quoted = (line.replace(": on", ': "on"').replace(": off", ': "off"') for line in lines)
    assert parse(with_contender(*quoted)).contenders[-1] == tuned


def test_paths_start_at_the_file_but_absolute_ones_stay() -> None:
    experiment = Experiment.parse(GOOD, path=Path("deep/er/e.yaml"))
    assert experiment.resolve("rows.jsonl") == Path("deep/er/rows.jsonl")
    assert experiment.resolve("/data/rows.jsonl") == Path("/data/rows.jsonl")


def test_a_date_is_the_text_it_looks_like() -> None:
    assert parse(GOOD + "decision: {date: 2026-12-01}\n").decision.date == "2026-12-01"
    assert "7: decision.date: write the day as YYYY-MM-DD" in told(GOOD + "decision: {date: 2026-13-45}\n")


def with_contender(*lines: str) -> str:
    return GOOD + "".join(f"{'  - ' if i == 0 else '    '}{line}\n" for i, line in enumerate(lines))


FAULTS = {
    # what is wrong: (the file, the whole message after the path)
    "unknown key at top": (GOOD + "naem: x\n", "7: naem: unknown key (did you mean 'name'?)"),
    "unknown key in split": (
        GOOD.replace("rows.jsonl\n", "rows.jsonl\n  split:\n    tset: 0.2\n"),
        "5: data.split.tset: unknown key (did you mean 'test'?)",
    ),
    "unknown key in a contender": (
        with_contender("name: few", "kind: few-shot", "exmples: 3"),
        "9: contenders[1].exmples: unknown key (did you mean 'examples'?)",
    ),
    "key of another kind": (
        with_contender("name: few", "kind: few-shot", "top_k: 3"),
        "9: contenders[1].top_k: unknown key",
    ),
    "unknown key in a backend": (
        GOOD + "backends:\n  here: {kind: hf, model: m, batchsize: 2}\n",
        "8: backends.here.batchsize: unknown key (did you mean 'batch_size'?)",
    ),
    "number wanted": (
        GOOD + "decision:\n  alpha: small\n",
        "8: decision.alpha: a number is needed (found 'small')",
    ),
    "whole number wanted": (
        GOOD.replace("rows.jsonl\n", "rows.jsonl\n  split: {seed: x}\n"),
        "4: data.split.seed: a whole number is needed (found 'x')",
    ),
    "text wanted": (
        GOOD.replace("name: small", "name: no"),
        "1: name: text is needed; write it in quotes (found False)",
    ),
    "list wanted": (
        "name: x\ndata: {path: a}\ncontenders:\n  zero: {kind: prompting}\n",
        "3: contenders: a list is needed",
    ),
    "mapping wanted": (
        "name: x\ndata: a.jsonl\ncontenders: [{name: a, kind: prompting}]\n",
        "2: data: a mapping (key: value) is needed (found 'a.jsonl')",
    ),
    "contender as a word": (
        GOOD + "  - few-shot\n",
        "7: contenders[1]: a mapping (key: value) is needed (found 'few-shot')",
    ),
    "no contender": ("name: x\ndata: {path: a}\ncontenders: []\n", "3: contenders: at least one is needed"),
    "no backend": (GOOD + "backends: {}\n", "7: backends: at least one is needed"),
    "unknown kind": (
        with_contender("name: few", "kind: fewshot"),
        "8: contenders[1].kind: unknown kind 'fewshot' (did you mean 'few-shot'?). "
        "Known: prompting, few-shot, rag, fine-tuned, hosted, predictions",
    ),
    "no kind": (
        with_contender("name: few"),
        "7: contenders[1].kind: is missing; one of: prompting, few-shot, rag, fine-tuned, hosted, predictions",
    ),
    "unknown kind of backend": (
        GOOD + "backends:\n  here: {kind: opnai, model: m}\n",
        "8: backends.here.kind: unknown kind 'opnai' (did you mean 'openai'?). Known: hf, openai, echo, replay",
    ),
    "no kind of backend": (
        GOOD + "backends:\n  here: {model: m}\n",
        "8: backends.here.kind: is missing; one of: hf, openai, echo, replay",
    ),
    "choice": (
        GOOD + "task: clasification\n",
        "7: task: must be 'classification', 'extraction', 'qa', 'generation' or 'tools' "
        "(did you mean 'classification'?) (found 'clasification')",
    ),
    "word or number": (
        GOOD.replace("rows.jsonl\n", "rows.jsonl\n  answer: frist\n"),
        "4: data.answer: must be 'last' or 'all' or a whole number is needed (found 'frist')",
    ),
    "name that is a path": (
        GOOD.replace("name: zero", "name: ../zero"),
        "5: contenders[0].name: a name has letters a-z, digits and . _ + - only, starts with a letter or digit, "
        "and has at most 64 characters (found '../zero')",
    ),
    "out of range": (
        GOOD.replace("rows.jsonl\n", "rows.jsonl\n  split: {test: 1.5}\n"),
        "4: data.split.test: must be less than 1 (found 1.5)",
    ),
    "infinite margin": (
        GOOD + "decision: {worth_it: .inf}\n",
        "7: decision.worth_it: must be a finite number (found inf)",
    ),
    "no test split": (
        GOOD.replace("rows.jsonl\n", "rows.jsonl\n  split: {test: 0}\n"),
        "4: data.split: test must be over 0: without a test split nothing can be decided",
    ),
    "nothing to train on": (
        GOOD.replace("rows.jsonl\n", "rows.jsonl\n  split: {test: 0.5, dev: 0.5}\n"),
        "4: data.split: dev 0.5 and test 0.5 leave nothing to train on",
    ),
    "two forms of data": (
        GOOD.replace("rows.jsonl\n", "rows.jsonl\n  test: t.jsonl\n"),
        "2: data: give either path or train/dev/test, not both",
    ),
    "duplicate key": (GOOD + "name: again\n", "7: the key 'name' stands twice (first in line 1)"),
    "alias": (
        GOOD.replace("small", "&a small") + "task: *a\n",
        "7:7: cannot be read as YAML: aliases (*name) are not allowed here; write the value out",
    ),
    "duplicate contender": (
        with_contender("{name: zero, kind: few-shot}"),
        "7: contenders[1]: two contenders are called 'zero'; give each a name of its own",
    ),
    "names that differ in case share a folder on some disks": (
        with_contender("{name: Zero, kind: few-shot}"),
        "7: contenders[1]: two contenders are called 'Zero'; give each a name of its own",
    ),
    "unknown backend": (
        GOOD + "    backend: lcal\n",
        "7: contenders[0].backend: no backend is called 'lcal' (did you mean 'local'?); there are: local",
    ),
    "rag without corpus": (
        with_contender("name: rag", "kind: rag"),
        "7: contenders[1]: contender 'rag' retrieves, but data.corpus names no documents",
    ),
    "tuning a server's model": (
        with_contender("name: lora", "kind: fine-tuned") + "backends: {api: {kind: openai, model: m}}\n",
        "7: contenders[1]: contender 'lora' is tuned here, so its backend must be a local one (kind: hf); "
        "answers of a model tuned elsewhere come in as kind: predictions",
    ),
    "missing parts": (
        "name: x\n",
        "1: contenders: is missing\ne.yaml:1: data: is missing",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(fault: str) -> None:
    text, expected = FAULTS[fault]
    assert told(text) == f"e.yaml:{expected}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "this file is empty"),
        ("# only a comment\n", "this file is empty"),
        ("- a\n- b\n", "this file is a list"),
        ("just words", "this file is a single value"),
        ("name: [unclosed\n", "cannot be read as YAML"),
        ("name:\n\t- tab", "e.yaml:2:1: cannot be read as YAML"),
        ("a: 1\n---\nb: 2\n", "another document"),
        ("a: \0", "special characters are not allowed"),
        (GOOD + "task: !!python/object:os.system x\n", "could not determine a constructor"),
        (GOOD + "task: !!int x\n", "a value does not fit its type"),
        (GOOD + "task: !!timestamp x\n", "a value does not fit its type"),
        (GOOD + f"decision: {{worth_it: {'9' * 5000}}}\n", "a value does not fit its type"),
        (GOOD + "task: " + "[" * 5000, "nested too deeply"),
        (GOOD + "task: " + "{a: " * 2000 + "}" * 2000, "nested too deeply"),
        (GOOD + "1: x\n", "a key must be text"),
    ],
)
def test_what_is_no_experiment_at_all(text: str, words: str) -> None:
    message = told(text)
    assert message.startswith("e.yaml")
    assert words in message


def test_unknown_metrics_are_told_together() -> None:
    message = told(GOOD + "metrics: {primary: exact_mtach, also: [rogue_l]}\n")
    assert "unknown metric 'exact_mtach' (did you mean 'exact_match'?)" in message
    assert "unknown metric 'rogue_l' (did you mean 'rouge_l'?)" in message


def test_all_faults_are_listed_at_once() -> None:
    text = (
        with_contender("name: few", "kind: few-shot", "exmples: 3")
        + "naem: x\ndecision: {alpha: 7}\ntask: 3\n"
    )
    lines = told(text).splitlines()
    assert [line.split(":")[1] for line in lines] == ["9", "10", "11", "12"]
    assert len(told(with_contender("{name: zero, kind: rag, backend: x}")).splitlines()) == 3


def test_no_jargon_of_the_validator() -> None:
    jargon = (
        "Input should",
        "union",
        "discriminator",
        "tag '",
        "Tuple",
        "Extra inputs",
        "Value error",
        "pydantic",
        "literal[",
    )
    for text, _ in FAULTS.values():
        assert not [word for word in jargon if word in told(text)]


@pytest.mark.parametrize(("key", "read"), [("yes", "True"), ("no", "False"), ("1", "1")])
def test_a_label_that_yaml_reads_as_no_text_is_told(key: str, read: str, tmp_path: Path) -> None:
    """As a key of the matrix it would never meet the label "yes" of the data."""
    text = GOOD + f"metrics: {{options: {{cost_of_error: {{costs: {{{key}: {{till: 2}}}}}}}}}}\n"
    with pytest.raises(
        ExperimentError, match=f"cost_of_error.costs: YAML reads the key as {read}, .* quotes"
    ):
        Experiment.parse(text, path=tmp_path / "e.yaml")
    quoted = text.replace(f"{{{key}:", f'{{"{key}":')
    assert Experiment.parse(quoted, path=tmp_path / "e.yaml").metrics.options["cost_of_error"]["costs"][key]


# -- files -----------------------------------------------------------------------------------------


def test_a_folder_is_told_with_the_file_inside(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="this is a folder, not an experiment file"):
        Experiment.load(tmp_path)
    (tmp_path / "experiment.yaml").write_text(GOOD)
    with pytest.raises(ExperimentError, match=r"Did you mean .*experiment\.yaml"):
        Experiment.load(tmp_path)


def test_a_missing_file_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"no such file\. Make one: workbench init"):
        Experiment.load(tmp_path / "experiment.yaml")
    (tmp_path / "experiment.yaml").write_text(GOOD)
    with pytest.raises(ExperimentError, match=r"Did you mean .*experiment\.yaml"):
        Experiment.load(tmp_path / "experimnet.yaml")


def test_a_binary_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\xff\x00")
    with pytest.raises(ExperimentError, match=r"not a text file \(byte 0 is not UTF-8\)"):
        Experiment.load(tmp_path / "e.yaml")


def test_a_place_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExperimentError, match="cannot be read"):
        Experiment.load(tmp_path / "file" / "e.yaml")


# -- hashes ----------------------------------------------------------------------------------------


def test_settings_hash_is_stable() -> None:
    # Pinned: a changed hash would make every old run folder another folder.
    assert settings_hash({"b": 1, "a": [1.5, None, "ü"]}) == settings_hash({"a": [1.5, None, "ü"], "b": 1})
    assert settings_hash({"a": 1}) == "b713f6d2a989e907c58516a7c8bb487792c8785ddbf367b80dc774bf33b85a85"
    assert settings_hash(parse(GOOD).data) == settings_hash(
        parse(GOOD.replace("path: rows", "path:   rows")).data
    )


def test_settings_hash_tells_settings_apart() -> None:
    hf, api = HfBackend(kind="hf", model="m"), OpenAIBackend(kind="openai", model="m")
    all_of = [
        (hf,),
        (api,),
        (hf, api),
        (api, hf),
        (hf.model_copy(update={"dtype": "float32"}),),
        (),
        (None,),
        ("m",),
    ]
    assert len({settings_hash(*parts) for parts in all_of}) == len(all_of)
