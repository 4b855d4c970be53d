"""The model card of an export: what it is, how it was scored and trained, under which licence, how to load it.

Its head is what the hub reads, its text the run's own figures. Names come from an experiment file and texts
from data: all of them are escaped where they could be markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validators.assets import ASSETS, require
from validators.licences import licence_named, load_table

from . import card as words
from .document import Block, Document, Section, Table, Text, markdown
from .forgetting import forgetting_of
from .merging import Drift
from .recipe import Recipe
from .records import Verdict
from .runs import Run
from .settings import FineTuned

# Licences that the hub knows by these very ids; any other is `other` with its name.
_HUB_FAMILIES = ("llama", "gemma")
_SUMMARY = ("examples", "steps", "tokens", "trained_tokens", "best_step", "dev_loss", "packing")


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card is written from: a scored contender, its contender.json and origin, and what is shipped.

    `kind` is `adapter`, `merged model` or `model`, `folds` how many fits were tested together (0: one).
    """

    run: Run
    settings: FineTuned
    info: dict[str, Any]
    origin: dict[str, Any]
    kind: str
    drift: Drift | None
    folds: int

    @property
    def base(self) -> str:
        """The base model's name, without a place on this machine."""
        name = str(self.origin["base"]["model"])
        return Path(name).name if Path(name).is_absolute() else name

    @property
    def title(self) -> str:
        """What the export is called."""
        return f"{self.run.meta()['experiment']} {self.settings.name}"

    @property
    def prompt(self) -> str:
        """What stood before the questions when it was scored, beside the messages of the data."""
        return "retrieved passages, as with: rag puts them" if self.settings.with_ else ""


def model_card(facts: CardFacts) -> str:
    """README.md of the exported folder: the hub's YAML head, then Markdown."""
    verdict = facts.run.verdict()
    sections = (
        Section("scores", "Scores", tuple(_scores(facts, verdict))),
        Section("training", "Training", tuple(_training(facts))),
        Section("data", "Data", tuple(_data(facts))),
        Section("merge", "Merge", tuple(_merged(facts))),
        Section("limits", "Limits", tuple(_limits(facts, verdict))),
        Section("licence", "Licence", tuple(_licence(facts))),
    )
    text = markdown(Document(facts.title, tuple(_lead(facts, verdict)), sections, ""))
    return f"---\n{_head(facts)}---\n\n{text}\n## How to load\n\n{_loading(facts)}"


# -- the head ----------------------------------------------------------------------------------------


def _head(facts: CardFacts) -> str:
    hub = require("huggingface_hub", "a model card", "local")
    run, base, licence = facts.run, facts.origin["base"], facts.origin["base"].get("licence")
    known = licence in load_table().permissive or str(licence).startswith(_HUB_FAMILIES)
    results = [
        hub.EvalResult(
            task_type="text-generation",
            dataset_type=str(run.meta()["experiment"]),
            dataset_name=f"{run.meta()['experiment']}, test split",
            metric_type=name,
            metric_name=words.metric_label(name),
            metric_value=round(score["value"], 6),
        )
        for name, score in (run.scores(facts.settings.name) or {})["metrics"].items()
        if score["value"] is not None
    ]
    data = hub.ModelCardData(
        model_name=facts.title,
        # Only what came from the hub has a name there.
        base_model=base["model"] if base.get("revision") else None,
        library_name="peft" if facts.kind == "adapter" else "transformers",
        pipeline_tag="text-generation",
        license=(licence if known else "other") if licence else "unknown",
        license_name=licence if licence and not known else None,
        tags=[facts.settings.method, "decide-before-you-tune"],
        eval_results=results or None,
    )
    return str(data.to_yaml()) + "\n"


# -- the text ----------------------------------------------------------------------------------------


def _lead(facts: CardFacts, verdict: Verdict | None) -> Iterator[Block]:
    how = {
        "adapter": f"A LoRA adapter of {facts.base}",
        "merged model": f"{facts.base} with a LoRA adapter merged into it",
        "model": f"{facts.base}, all weights of it trained",
    }[facts.kind]
    if facts.origin["four_bits"]:
        how += ", trained and scored on that base in 4 bits (NF4, double quantisation)"
    elif facts.settings.method == "qlora" and facts.drift:
        how += ", which was trained and scored in 4 bits and is unpacked here"
    yield Text(f"{how}. It ships as it was scored.")
    if verdict is None:
        return
    yield Text(f"Verdict of the run: {words.headline(verdict)}. {verdict.sentence}")
    if verdict.choice != facts.settings.name:
        chosen = f"chose {verdict.choice}" if verdict.choice else "chose nothing"
        yield Text(f"The verdict {chosen}: this model was exported all the same.", "warning")


def _scores(facts: CardFacts, verdict: Verdict | None) -> Iterator[Block]:
    run, name = facts.run, facts.settings.name
    rows = [
        (
            words.metric_label(metric),
            words.number(score["value"], metric) if score["value"] is not None else "none",
            words.interval(score["interval"], metric) or score.get("reason") or "",
            words.count(score["n"]),
        )
        for metric, score in (run.scores(name) or {})["metrics"].items()
    ]
    yield Table(("metric, test split", "score", "interval", "samples"), tuple(rows))
    if verdict is not None and verdict.contenders:
        best = words.best_first(verdict.contenders, verdict.higher_is_better)
        others = [
            (
                c.name,
                words.number(c.score, verdict.metric) if c.score is not None else "none",
                words.interval(c.interval, verdict.metric),
            )
            for c in best
        ]
        head = (words.metric_label(verdict.metric, verdict.higher_is_better), "score", "interval")
        yield Table(head, tuple(others), strong=name)
    seeds = facts.info.get("seeds") or ()
    if len(seeds) > 1:
        yield Text(
            f"Scores are means over the training seeds {', '.join(map(str, seeds))}; this is the first's."
        )
    if facts.folds:
        yield Text(
            f"Scores are of {facts.folds} fits, each tested on its own fold; this is the first of them."
        )


def _training(facts: CardFacts) -> Iterator[Block]:
    if facts.settings.adapter is not None:
        yield Text("The adapter was trained elsewhere and brought to the run.")
        return
    recipe, summary = facts.info["settings"], facts.info.get("training") or {}
    rows = [(key.replace("_", " "), _plain(recipe[key])) for key in Recipe.model_fields if key in recipe]
    rows += [(key.replace("_", " "), _plain(summary.get(key))) for key in _SUMMARY]
    rows += [("time", words.seconds(summary.get("seconds"))), ("number format", str(facts.origin["dtype"]))]
    rows += [("hardware", str(facts.info["hardware"].get("name")))]
    rows += [(name, version) for name, version in facts.run.meta().get("versions", {}).items()]
    yield Table(("setting", ""), tuple(row for row in rows if row[1]), numeric=9)


def _data(facts: CardFacts) -> Iterator[Block]:
    run, data = facts.run, facts.origin.get("data") or {}
    splits = run.splits() or {}
    rows = [(f"sha256 of {name}", sha) for name, sha in run.meta()["dataset"]["files"].items()]
    if data:
        rows += [("rows trained on", words.count(data["rows"]))]
        rows += [("sha256 of their tokens and labels", data["sha256"])]
    rows += [("split", words.DOT.join(f"{name} {len(ids):,}" for name, ids in splits.items()))]
    rows += [("seed of the split", str(run.meta()["seed"]))]
    yield Table(("data", ""), tuple(rows), numeric=9)


def _merged(facts: CardFacts) -> Iterator[Block]:
    if (drift := facts.drift) is None:
        return
    base = "the base unpacked from 4 bits" if facts.settings.method == "qlora" else "the base"
    yield Text(
        f"The adapter was added to {base} in {facts.origin['dtype']}, and the result held against what was scored, on "
        "prompts of the test split."
    )
    rows = (
        ("greedy answers that are the same", f"{drift.same_answers} of {drift.answers}"),
        ("largest difference of a logit", f"{drift.largest:.4g}"),
        ("mean difference of a logit", f"{drift.mean:.4g}, where logits spread by {drift.spread:.3g}"),
        ("tokens at which the likeliest is the same", f"{drift.same_token:.1%} of {drift.positions:,}"),
    )
    yield Table(("merged against scored", ""), rows, numeric=9)


def _limits(facts: CardFacts, verdict: Verdict | None) -> Iterator[Block]:
    if facts.settings.constrain:
        yield Text(
            "It was scored with its answers held to the labels of the training split; weights alone do not do that."
        )
    if facts.prompt:
        yield Text(f"It was trained and scored with {facts.prompt}: asked without them it is another model.")
    forgetting = forgetting_of(facts.info.get("forgetting"))
    if forgetting is not None:
        change = words.percent(forgetting.change)
        yield Text(f"On general text it takes {change} bits per byte against its base.")
    if verdict is not None and verdict.tuned == facts.settings.name:
        worse = [change.slice for change in verdict.harm.worse] if verdict.harm else []
        if worse:
            yield Text(
                f"Worse than {verdict.harm.against if verdict.harm else ''} on: {', '.join(worse)}.",
                "warning",
            )
        if caveats := words.caveats(verdict):
            yield Text(f"Caveats of the verdict: {words.DOT.join(caveats)}.")


def _licence(facts: CardFacts) -> Iterator[Block]:
    named = facts.origin["base"].get("licence")
    if named is None:
        yield Text(f"The licence of {facts.base} is unknown: find it out before you pass this on.", "warning")
        return
    licence = licence_named(named, "the run")
    check = f" Before shipping: {licence.check}." if licence.check else ""
    yield Text(
        f"{facts.base} is under the {licence.title}.{check} What was trained follows from it and from your data, whose "
        "terms nobody here knows."
    )


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value in (None, (), []) else str(value)


# -- how to load it ----------------------------------------------------------------------------------


def _loading(facts: CardFacts) -> str:
    dtype, adapter = f"torch.{facts.origin['dtype']}", facts.kind == "adapter"
    lines = ["import torch", "import transformers"]
    lines += ["import peft"] if adapter else []
    lines += [
        '\nfolder = "."  # this folder',
        "tokenizer = transformers.AutoTokenizer.from_pretrained(folder)",
    ]
    if adapter:
        lines += _base_lines(facts, dtype)
        lines += ["model = peft.PeftModel.from_pretrained(base, folder).eval()"]
    else:
        lines += [f"model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype={dtype}).eval()"]
    tokens = facts.info["backend"]["max_new_tokens"]
    lines += [
        "\n\ndef answer(messages):",
        "    ids = tokenizer.apply_chat_template(",
        '        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True',
        "    ).to(model.device)",
        f"    out = model.generate(**ids, max_new_tokens={tokens}, do_sample=False)",
        '    return tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)',
        '\n\nprint(answer([{"role": "user", "content": "…"}]))',
    ]
    said = "Answers were the likeliest ones (greedy), asked through the chat template that lies here."
    return f"{said}\n\n```python\n" + "\n".join(lines) + "\n```\n"


def _base_lines(facts: CardFacts, dtype: str) -> list[str]:
    base = facts.origin["base"]
    where = repr(facts.base)
    lines = []
    if base["model"] in ASSETS:
        lines = ["from validators.assets import resolve_model  # pip install decide-before-you-tune\n"]
        where = f"resolve_model({where})"
    options = f", revision={base['revision']!r}" if base.get("revision") else ""
    options += f", dtype={dtype}"
    if facts.origin["four_bits"]:
        lines += [
            "packed = transformers.BitsAndBytesConfig(",
            '    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,',
            f"    bnb_4bit_compute_dtype={dtype},",
            ")",
        ]
        options += ", quantization_config=packed"
    lines += ["base = transformers.AutoModelForCausalLM.from_pretrained(", f"    {where}{options}", ")"]
    if facts.origin["four_bits"]:
        lines += [
            "for layer in base.modules():  # some CPUs would repack the weights and compute otherwise",
            '    if hasattr(layer, "support_avx512bf16_for_cpu"):',
            "        layer.support_avx512bf16_for_cpu = False",
        ]
    return lines
