"""Export: what ships answers as what was scored, merged or not, and another base's adapter is refused by name."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import ENVIRONMENT, workbench
from tests.conftest import make_tiny_model
from tests.judged_run import NOW, TODAY, Silent, chat, jsonl, label, question
from tests.test_backends import make_adapter
from tests.test_training import widened
from workbench.adapters import AdapterError, check_adapter, origin_of
from workbench.backends import Request
from workbench.backends.hf import HfBackend
from workbench.experiment import Experiment
from workbench.export import ExportError, export
from workbench.merging import drift_of, merge
from workbench.predictor import predict_text
from workbench.records import Prompt
from workbench.runner import Session, run
from workbench.runs import Run
from workbench.settings import HfBackend as HfSettings
from workbench.training import TrainingError

MESSAGES = chat("the pump", "silent")["messages"][:1]
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 2, "alpha": 4},
    "packed": {"method": "qlora", "rank": 2, "alpha": 4},
    "whole": {"method": "full", "learning_rate": 1e-3},
    "further": {"continue_from": "earlier"},
}


def play(folder: Path, *contenders: dict[str, Any], **changes: Any) -> Run:
    """Run an experiment over a tiny model that lies in `folder`."""
    tree: dict[str, Any] = {
        "name": "desk",
        "task": "classification",
        "data": {"path": "data.jsonl", "split": {"dev": 0.1, "test": 0.4}},
        "backends": {
            "local": {"kind": "hf", "model": "tiny", "device": "cpu", "dtype": "float32", "max_new_tokens": 8}
        },
        "contenders": [{"name": "zero-shot", "kind": "prompting"}, *contenders],
        "metrics": {"primary": "exact_match", "also": ["perplexity"]},
    }
    text = yaml.safe_dump(tree | changes, sort_keys=False)
    path = folder / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    asked = Session(
        experiment=Experiment.parse(text, path=path),
        path=path,
        text=text,
        runs=folder / "runs",
        report=Silent(),
        now=lambda: NOW,
        today=TODAY,
        offline=True,
    )
    return run(asked)[0]


def tuned(name: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "kind": "fine-tuned", "epochs": 2, "learning_rate": 3e-2, **settings}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a contender of every way of training; the base's licence lies beside it."""
    folder = tmp_path_factory.mktemp("made")
    jsonl(folder / "data.jsonl", [chat(question(i), label(i)) for i in range(50)])
    widened(folder / "tiny", 5)
    (folder / "tiny" / "LICENSE").write_text("Apache License\nVersion 2.0, January 2004\n")
    make_adapter(folder / "tiny", folder / "earlier")
    return play(folder, *(tuned(name, **settings) for name, settings in KINDS.items()))


def local(folder: Path, **settings: Any) -> HfBackend:
    plain: dict[str, Any] = {"kind": "hf", "model": str(folder), "device": "cpu", "dtype": "float32"}
    return HfBackend(HfSettings(**(plain | settings)), folder)


def out_of(made: Run, tmp_path: Path, name: str, **options: Any) -> Path:
    export(made.folder, tmp_path / name, contender=name, offline=True, **options)
    return tmp_path / name


def front(folder: Path) -> dict[str, Any]:
    """The YAML head of an export's model card."""
    head = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert isinstance(head, dict)
    return head


# -- what ships is what was scored ---------------------------------------------------------------------


def test_every_export_answers_in_a_fresh_process_as_it_was_scored(made: Run, tmp_path: Path) -> None:
    """By the code of its own model card, which knows nothing of the run: 20 prompts each, to the letter."""
    exports = {name: out_of(made, tmp_path, name) for name in KINDS}
    exports["merged"] = tmp_path / "merged"
    export(made.folder, exports["merged"], contender="lora", merged=True, offline=True)
    shutil.move(tmp_path, alone := tmp_path.with_name(tmp_path.name + "-alone"))
    script = ["import json, sys, pathlib", "answers = {}"]
    for name, folder in exports.items():
        card = (alone / folder.name / "README.md").read_text(encoding="utf-8")
        (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
        here = code.replace('folder = "."', f"folder = {str(alone / folder.name)!r}")
        source = made.prompts("lora" if name == "merged" else name)
        asked = [[{"role": m.role, "content": m.content} for m in p.messages] for p in source]
        script += [here, f"answers[{name!r}] = [answer(messages) for messages in {asked!r}]"]
    script += ["print('ANSWERS' + json.dumps(answers))"]
    (alone / "ask.py").write_text("\n".join(script), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(alone / "ask.py")],
        cwd=made.folder.parent.parent,  # where the base's name leads to it
        env=ENVIRONMENT | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.partition("ANSWERS")[2])
    for name, answers in found.items():
        scored = [p.prediction for p in made.predictions("lora" if name == "merged" else name)]
        assert len(scored) == 20 and answers == scored, name
    assert len({tuple(a) for a in found.values()}) == 4, "each way of training answers otherwise"


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_tells_its_origin(made: Run, tmp_path: Path, name: str) -> None:
    folder, base = out_of(made, tmp_path, name), made.folder.parent.parent / "tiny"
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "LICENSE"):
        assert (folder / file).read_bytes() == (base / file).read_bytes()
    origin, info = origin_of(folder), made.contender(name) or {}
    assert origin["base"] == {
        "model": "tiny",
        "revision": None,
        "sha256": info["model"]["sha256"],
        "licence": "apache-2.0",
    }
    assert origin["template"] == info["template"] and origin["four_bits"] is (name == "packed")
    assert origin["data"]["files"] == made.meta()["dataset"]["files"]
    assert origin["data"]["rows"] == len((made.splits() or {})["train"])
    assert info["model"]["name"] == "tiny"


def test_the_run_and_its_exports_name_no_place_on_this_machine(made: Run, tmp_path: Path) -> None:
    for name in KINDS:
        out_of(made, tmp_path, name)
    here = str(made.folder.parent.parent.parent)
    for path in [*made.folder.rglob("*"), *tmp_path.rglob("*")]:
        assert not path.is_file() or here.encode() not in path.read_bytes(), path


def test_a_qlora_adapter_is_scored_on_the_base_that_it_was_trained_on(made: Run) -> None:
    import torch
    from peft import PeftModel

    from workbench.models import load_model

    base, adapter = made.folder.parent.parent / "tiny", made.adapter_folder("packed")
    (first,) = made.prompts("packed")[:1]
    request = Request(prompt=first, references=made.samples()[0].references)
    backend = local(base)
    scored = made.predictions("packed")[0].reference_nats
    assert scored == pytest.approx(next(iter(backend.answer([request], adapter=adapter))).reference_nats)
    logits = backend.reference_logits([request], adapter=adapter)[0]
    by_hand = {}
    for four_bits in (True, False):
        model = PeftModel.from_pretrained(load_model(base, "cpu", "float32", four_bits=four_bits), adapter)
        job: Any = backend._job(request)
        with torch.inference_mode():
            ids = torch.tensor([job.row.prompt + job.reference[:-1]])
            by_hand[four_bits] = model(ids).logits[0, -len(job.reference) :]
    assert torch.allclose(logits, by_hand[True], atol=1e-5)
    assert not torch.allclose(logits, by_hand[False], atol=1e-2)
    # The untuned base beside it stays what it is.
    plain = next(iter(backend.answer([request])))
    assert plain.reference_nats == pytest.approx(made.predictions("zero-shot")[0].reference_nats)


@pytest.mark.parametrize("name", ["packed", "whole", "further"])
def test_predict_uses_what_was_scored(made: Run, name: str) -> None:
    sample, answer = made.samples()[3], made.predictions(name)[3]
    said = predict_text(made.folder, sample.question, contender=name, experiment_path=None, offline=True)
    assert said == answer.prediction


# -- merged --------------------------------------------------------------------------------------------


def test_a_merged_export_is_a_whole_model_with_its_drift_told(made: Run, tmp_path: Path) -> None:
    for name in ("lora", "packed"):
        done = export(made.folder, tmp_path / name, contender=name, merged=True, offline=True)
        assert done.drift is not None and (done.drift.answers, done.drift.same_answers) == (20, 20)
        assert done.drift.mean < 1e-5 * done.drift.spread and done.drift.same_token == 1
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert "quantization_config" not in config and config["dtype"] == "float32"
        assert not (tmp_path / name / "adapter_config.json").exists()
        origin = origin_of(tmp_path / name)
        assert (
            origin["merged"]
            and not origin["four_bits"]
            and origin["method"] == {"packed": "qlora"}.get(name, name)
        )
        assert "20 of 20" in (tmp_path / name / "README.md").read_text(encoding="utf-8")


OPTIONS: dict[str, dict[str, Any]] = {
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "saved": {"modules_to_save": ["lm_head"]},
}


@pytest.mark.parametrize(
    ("option", "dtype"), [*((option, "float32") for option in OPTIONS), ("rslora", "bfloat16")]
)
def test_what_peft_can_put_on_can_be_merged(tmp_path: Path, option: str, dtype: str) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    base = widened(tmp_path / "base", 5)
    torch.manual_seed(1)
    config = peft.LoraConfig(
        target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM", **OPTIONS[option]
    )
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    model.save_pretrained(str(tmp_path / "adapter"))
    backend = local(base, dtype=dtype, max_new_tokens=4)
    merge(backend, tmp_path / "adapter", tmp_path / "merged")
    requests = [
        Request(prompt=Prompt(id=str(i), messages=_asked(i)), references=("bench",)) for i in range(3)
    ]
    drift = drift_of(backend, tmp_path / "adapter", tmp_path / "merged", requests)
    assert drift.positions > 3 and drift.mean < (1e-5 if dtype == "float32" else 0.03) * drift.spread
    plain = drift_of(backend, tmp_path / "adapter", base, requests)
    assert plain.mean > 3 * drift.mean, "the adapter does something"


def _asked(number: int) -> Any:
    from validators.examples import Message

    return (Message("user", question(number)),)


def test_a_merge_that_changes_the_answers_is_refused(
    made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter that the merge lost: the base alone was written."""

    def base_alone(backend: HfBackend, adapter: Path, out: Path) -> None:
        for path in backend.folder.iterdir():
            shutil.copyfile(path, out / path.name)

    monkeypatch.setattr("workbench.export.merge", base_alone)
    with pytest.raises(
        ExportError, match=r"no longer what was scored: \d+ of 20 answers .*\(leave out --merge\)"
    ):
        export(made.folder, tmp_path / "out", contender="lora", merged=True, offline=True)
    assert list(tmp_path.iterdir()) == []


# -- the card ------------------------------------------------------------------------------------------


def test_the_card_is_read_by_the_hub_and_tells_what_a_reader_needs(made: Run, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    folder = out_of(made, tmp_path, "lora")
    card = ModelCard.load(folder / "README.md")
    scores = (made.scores("lora") or {})["metrics"]
    results = {r.metric_type: r.metric_value for r in card.data.eval_results or ()}
    assert results == {k: round(v["value"], 6) for k, v in scores.items() if v["value"] is not None}
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "peft")
    assert "base_model" not in front(folder), "a folder's name is none on the hub"
    text = card.text.replace("\\", "")
    verdict = made.verdict()
    assert verdict is not None and verdict.sentence in text and "Apache License 2.0" in text
    for expected in (*made.meta()["dataset"]["files"].values(), origin_of(folder)["data"]["sha256"]):
        assert expected in text
    low, high = scores["exact_match"]["interval"]
    assert f"[{low:.2f}, {high:.2f}]" in text and "| rank | 2 |" in text


def test_the_card_of_a_qlora_adapter_loads_its_base_in_four_bits(made: Run, tmp_path: Path) -> None:
    text = (out_of(made, tmp_path, "packed") / "README.md").read_text(encoding="utf-8")
    assert "scored on that base in 4 bits" in text and 'bnb_4bit_quant_type="nf4"' in text
    assert front(tmp_path / "packed")["tags"][0] == "qlora"


def test_an_adapter_that_was_brought_leaves_whole(made: Run, tmp_path: Path) -> None:
    folder = made.folder.parent.parent
    shutil.copytree(folder / "tiny", tmp_path / "tiny")
    shutil.copyfile(folder / "data.jsonl", tmp_path / "data.jsonl")
    make_adapter(tmp_path / "tiny", tmp_path / "brought")
    ran = play(tmp_path, {"name": "brought", "kind": "fine-tuned", "adapter": "brought"})
    done = export(ran.folder, tmp_path / "out", contender="brought", offline=True)
    assert done.kind == "adapter" and {"tokenizer.json", "chat_template.jinja", "origin.json"} <= set(
        done.files
    )
    origin = origin_of(tmp_path / "out")
    assert origin["method"] == "brought" and origin["data"] is None
    assert "trained elsewhere" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


# -- refused by name -----------------------------------------------------------------------------------


def _other_weights(folder: Path) -> None:
    make_tiny_model(folder / "tiny", seed=9)


def _touched(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = next(folder.glob("runs/*/contenders/lora/adapter/adapter_model.safetensors"))
    save_file({k: v * 1.01 for k, v in load_file(path).items()}, path)


def _unfinished(folder: Path) -> None:
    made = Run.all(folder / "runs")[0]
    made.write_contender("lora", (made.contender("lora") or {}) | {"status": "started"})


def _gone(folder: Path) -> None:
    shutil.rmtree(Run.all(folder / "runs")[0].adapter_folder("lora"))


REFUSED: list[tuple[dict[str, Any], Callable[[Path], None] | None, str]] = [
    (
        {"contender": "lorra"},
        None,
        r"has no contender 'lorra'; fine-tuned here: lora, packed, whole, further",
    ),
    ({"contender": "zero-shot"}, None, r"'zero-shot' \(prompting\) has no weights of its own"),
    ({"contender": "whole", "merged": True}, None, r"'whole' was trained whole .* Leave out --merge"),
    ({"contender": "lora"}, _touched, r"does not hold the weights that were scored"),
    ({"contender": "lora", "merged": True}, _other_weights, r"the base tiny has other weights now"),
    ({"contender": "lora"}, _unfinished, r"'lora' was never scored"),
    ({"contender": "lora"}, _gone, r"adapter is gone"),
]


@pytest.mark.parametrize(("options", "spoil", "words"), REFUSED, ids=[r[2][:30] for r in REFUSED])
def test_what_cannot_ship_is_refused_and_leaves_nothing(
    made: Run, tmp_path: Path, options: dict[str, Any], spoil: Callable[[Path], None] | None, words: str
) -> None:
    folder = made.folder.parent.parent
    if spoil is not None:
        folder = Path(shutil.copytree(folder, tmp_path / "copy"))
        spoil(folder)
    with pytest.raises(ExportError, match=words):
        export(folder / "runs" / made.name, tmp_path / "out" / "model", offline=True, **options)
    assert not list(tmp_path.glob("out/*")) and not list(tmp_path.glob("out/.*"))


def test_the_command_never_writes_over_anything(made: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    folder = made.folder.parent.parent
    tell = ("export", f"runs/{made.name}", "--contender", "lora", "--offline")
    taken = workbench(folder, *tell, str(tmp_path / "taken"))
    assert taken.returncode == 2 and "is there already; name a new folder" in taken.stderr
    inside = workbench(folder, *tell, f"runs/{made.name}/contenders/out")
    assert inside.returncode == 2 and "lies in the run folder" in inside.stderr
    (tmp_path / "empty").mkdir()
    done = workbench(folder, *tell, str(tmp_path / "empty"), "--format", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["kind"], told["base"], told["drift"]) == ("adapter", "tiny", None)
    assert set(told["files"]) == {p.name for p in (tmp_path / "empty").iterdir()}
    assert "note: the verdict chose" in done.stderr


# -- an adapter of another base ------------------------------------------------------------------------


def _another(config: dict[str, Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        shape = LlamaConfig.from_pretrained(folder / "base", **config)
        LlamaForCausalLM(shape).save_pretrained(folder / "base")

    return change


def _origin(change: dict[str, Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        origin = {"schema": "workbench.origin/1", "base": {"model": "b"}, "four_bits": False} | change
        (folder / "adapter" / "origin.json").write_text(json.dumps(origin))

    return write


def _renamed(folder: Path) -> None:
    path = folder / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text()) | {"base_model_name_or_path": "owner/another-base"}
    path.write_text(json.dumps(config))


def _torn(folder: Path) -> None:
    path = folder / "adapter" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


FOREIGN: dict[str, tuple[Callable[[Path], None], str]] = {
    "narrower": (
        _another({"hidden_size": 16, "head_dim": 8}),
        r"of its 28 LoRA matrices have no place there, as .* of \d+ × \d+",
    ),
    "shallower": (_another({"num_hidden_layers": 1}), r"14 of its 28 LoRA matrices have no place there"),
    "renamed": (_renamed, r"is an adapter of owner/another-base, and the base here is base"),
    "weights": (
        _origin({"base": {"model": "b", "sha256": "0" * 64}}),
        r"with the weights 00000000, .* other weights",
    ),
    "template": (
        _origin({"template": "another"}),
        r"was trained with another chat template than base has now",
    ),
    "torn": (_torn, r"adapter_model.safetensors is damaged"),
    "newer": (_origin({"schema": "workbench.origin/9"}), r"origin.json"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_an_adapter_of_another_base_is_refused_by_name(tmp_path: Path, name: str) -> None:
    base = make_tiny_model(tmp_path / "base")
    make_adapter(base, tmp_path / "adapter")
    check_adapter(tmp_path / "adapter", "base", base, template="hash")
    spoil, words = FOREIGN[name]
    spoil(tmp_path)
    with pytest.raises(AdapterError, match=words):
        check_adapter(tmp_path / "adapter", "base", base, template="hash")


def test_continuing_from_it_is_refused_before_training(tmp_path: Path) -> None:
    from tests.test_training import examples, settings_for
    from validators.tokens import load_hf_tokenizer
    from workbench.training import fine_tune

    base = make_tiny_model(tmp_path / "base")
    make_adapter(base, tmp_path / "adapter")
    _another({"num_hidden_layers": 1})(tmp_path)
    settings = settings_for(base, model="base", continue_from=tmp_path / "adapter")
    with pytest.raises(TrainingError, match=r"continue_from: .* does not fit base"):
        fine_tune(
            settings, examples(), {}, load_hf_tokenizer("base", base), Run(tmp_path / "run"), lambda *_: None
        )
