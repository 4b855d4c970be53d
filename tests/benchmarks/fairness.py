"""Is few-shot a fair baseline? Few-shot as `init` proposes it against the best of 20 hand-written prompts.

Both choose on dev and are scored on the test split of sample_data/triage, by the embedded model. Few-shot that
trails the best prompt by over 2 points is not fair yet. Interrupted, it goes on where it was.

    python tests/benchmarks/fairness.py [RUNS]
"""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from workbench.card import interval, number  # noqa: E402
from workbench.choosing import said  # noqa: E402
from workbench.cli.progress import Progress  # noqa: E402
from workbench.experiment import Experiment  # noqa: E402
from workbench.runner import Session, run  # noqa: E402
from workbench.runs import Run  # noqa: E402

TRAILS = 0.02
CODES = (
    "alarm/safety, bed/care, bench/light, bench/water, club/change, club/leave, gate/login, gate/pairing, post/late, "
    "post/wrong, shop/advice, till/charge, till/refund, vault/privacy"
)
SHORT = """alarm/safety: danger
vault/privacy: personal data
club/leave: ends the membership
club/change: changes the membership
till/charge: payments and invoices
till/refund: a refund is missing
post/late: parcel not arrived
post/wrong: parcel damaged or wrong
bench/water: pump and tank
bench/light: lamp and power
gate/pairing: Wi-Fi and app
gate/login: account and password
bed/care: plants
shop/advice: questions before buying"""
LONG = """alarm/safety: smoke, burning smell, shock, heat, something swallowed, a cut; goes before everything else
vault/privacy: personal data, its export or deletion, marketing mail
club/leave: wants to leave the Grow Club, for whatever reason
club/change: pause, skip, other tier or rhythm, points, gift membership
till/charge: unexpected, double or wrong charge, refused card, invoice, VAT
till/refund: a refund that is due has not come
post/late: parcel not arrived, stuck or lost
post/wrong: arrived damaged, wrong or incomplete
bench/water: pump, leak, tank, float sensor, water noise
bench/light: light panel, timer, no power
gate/pairing: Wi-Fi, app connection, firmware, notifications
gate/login: password, locked account, two-factor, e-mail of the account
bed/care: the plants themselves
shop/advice: questions before buying"""
BULLETS = "\n".join(f"- {line}" for line in SHORT.splitlines())
NUMBERS = "\n".join(f"{n}. {line}" for n, line in enumerate(LONG.splitlines(), 1))
TURNED = "\n".join(f"{what} -> {code}" for code, what in (line.split(": ", 1) for line in LONG.splitlines()))
ONLY = "Answer with exactly one desk code and nothing else."

PROMPTS = (
    f"You sort Quillfern support tickets. {ONLY}\n{LONG}",
    f"You sort Quillfern support tickets. {ONLY}\n{SHORT}",
    f"You sort Quillfern support tickets. Answer with exactly one of these desk codes and nothing else: {CODES}.",
    f"Classify the ticket. Labels: {CODES}. Reply with the label only.",
    f"Which desk handles this ticket? Choose from: {CODES}. {ONLY}",
    f"You are the dispatcher of a shop for indoor gardens. Read the ticket, find the desk that can help.\n{LONG}\n{ONLY}",
    f"You are an expert in customer support. Desks and what they handle:\n{BULLETS}\nName the desk. {ONLY}",
    f"Desks:\n{NUMBERS}\nRead the customer's message and write the code of the right desk, without its number.",
    f"Route each message by its subject:\n{TURNED}\n{ONLY}",
    f"{ONLY} The codes:\n{LONG}",
    f"{ONLY} The codes:\n{SHORT}",
    f"Text classification with 14 classes.\n{LONG}\nOutput: one class, in lower case, spelt as above.",
    f"Answer in the form part/part. Possible answers:\n{BULLETS}",
    f"Safety comes first: if anyone could be hurt, answer alarm/safety. Else choose the desk:\n{LONG}\n{ONLY}",
    f"Find out what the customer wants, not what happened before.\n{LONG}\nThen answer with the code of the desk only.",
    f"The tickets are in several languages; the codes never change.\n{LONG}\n{ONLY}",
    f"You are given a ticket. Do not answer it, do not explain. Write only its desk: {CODES}.",
    f"Codes and meanings:\n{SHORT}\n\nThe next message is a ticket. Its code is:",
    f"Each ticket belongs to exactly one desk. Compare it with every line, then take the closest one.\n{LONG}\n{ONLY}",
    f"Help us to send this ticket to the right team. Teams:\n{BULLETS}\nTeam (code only):",
)


def experiment(folder: Path) -> Path:
    """The sample experiment's data and split with these two contenders."""
    tree = yaml.safe_load((ROOT / "sample_data" / "triage" / "experiment.yaml").read_text(encoding="utf-8"))
    ours = f"You sort Quillfern support tickets. Answer with exactly one of these desk codes and nothing else: {CODES}."
    tree["name"] = "fairness"
    tree["data"] |= {"path": str(ROOT / "sample_data" / "triage" / "tickets.jsonl"), "corpus": None}
    tree["contenders"] = [
        {"name": "few-shot", "kind": "few-shot", "examples": [4, 8], "choose": "similar", "system": ours},
        {"name": "prompts", "kind": "prompting", "systems": list(PROMPTS)},
    ]
    tree["metrics"] = {"primary": "exact_match", "also": ["macro_f1"]}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fairness.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def table(made: Run) -> float:
    """Print every option on dev, the kept ones on test, and the difference; return few-shot less the prompt."""
    scores = {}
    for name in ("few-shot", "prompts"):
        (choice,) = (made.contender(name) or {})["choices"]
        for rank, option in enumerate(choice["options"]):
            kept = "kept" if rank == choice["kept"] else ""
            what = said(option) if name == "few-shot" else f"prompt {rank + 1}"
            span = interval(option["interval"], choice["metric"], 3)
            print(
                f"dev   {what:14} {number(option['value'], choice['metric'], 3)} {span} n {option['n']} {kept}"
            )
        score = scores[name] = (made.scores(name) or {})["metrics"]["exact_match"]
        print(
            f"test  {name:14} {score['value']:.3f} {interval(score['interval'], 'exact_match', 3)} n {score['n']}"
        )
    (pair,) = (made.comparison() or {})["pairs"]
    print(f"pair  {pair}")
    return float(scores["few-shot"]["value"] - scores["prompts"]["value"])


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/fairness")
    path = experiment(folder)
    with Progress() as progress:
        session = Session(
            Experiment.load(path),
            path,
            path.read_text(encoding="utf-8"),
            folder / "runs",
            progress,
            lambda: datetime.now(UTC).isoformat(timespec="seconds"),
            date.today(),
            offline=True,
        )
        made, _ = run(session)
    gain = table(made)
    print(f"few-shot {100 * gain:+.1f} points against the best of {len(PROMPTS)} prompts")
    sys.exit("few-shot is not fair yet" if gain < -TRAILS else 0)


if __name__ == "__main__":
    main()
