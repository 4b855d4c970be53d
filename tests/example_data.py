"""What the example run is made of: hand-written tickets and documents, a lint report, costs, a training log."""

from __future__ import annotations

import hashlib
import random
from typing import Any

PAYLOAD = "<script>document.title='owned';alert(1)</script>"
MARKUP = (
    "<img src=x onerror=\"document.title='owned'\"> **bold** [click](javascript:alert(1)) $x^2$ :red[red]"
)

LABELS = (
    "alarm/safety",
    "bed/care",
    "bench/light",
    "bench/water",
    "club/leave",
    "gate/login",
    "gate/pairing",
    "post/late",
    "post/wrong",
    "shop/advice",
    "till/charge",
    "till/refund",
)

# (customer, language, ticket, desk)
TICKETS: tuple[tuple[str, str, str, str], ...] = (
    ("Q-1001", "en", "still nothing. day 9. tracking has said 'label created' since the 4th", "post/late"),
    ("Q-1001", "en", "Parcel came at last! But one of the three basil pods is not in it.", "post/wrong"),
    (
        "Q-1002",
        "de",
        "Die Pumpe brummt seit gestern so laut, dass wir nachts die Küchentür zumachen.",
        "bench/water",
    ),
    (
        "Q-1003",
        "en",
        "You took 24.90 twice on the 2nd. My bank shows both, your invoice shows one.",
        "till/charge",
    ),
    (
        "Q-1003",
        "en",
        "Ok so the second charge — you promised it back within five days. It is day twelve.",
        "till/refund",
    ),
    (
        "Q-1004",
        "pl",
        "Sałata żółknie od spodu, chociaż daję odżywkę według kropelek z instrukcji 🌱",
        "bed/care",
    ),
    (
        "Q-1005",
        "en",
        "The brick is so hot I cannot hold it and it smells like a hair dryer. Also where is my refund?",
        "alarm/safety",
    ),
    (
        "Q-1006",
        "en",
        f"my display name is {MARKUP} and the app logs me out every time I save it",
        "gate/login",
    ),
    (
        "Q-1007",
        "fr",
        "Je voudrais quitter le club, les fraises n'ont jamais poussé. Merci quand même.",
        "club/leave",
    ),
    (
        "Q-1008",
        "en",
        "Does the small planter fit under a 38 cm shelf? And do you ship to Madeira?",
        "shop/advice",
    ),
    (
        "Q-1008",
        "en",
        "Ordered it. The app looks for it, spins, says no device found. Router is 2.4 and 5 mixed.",
        "gate/pairing",
    ),
    (
        "Q-1009",
        "en",
        "Light flickers whenever the fridge starts. I want my money back for the panel honestly.",
        "bench/light",
    ),
    (
        "Q-1010",
        "es",
        "Llevo tres días sin poder entrar: el código de dos pasos llega a un número que ya no uso.",
        "gate/login",
    ),
    ("Q-1010", "es", "Ya entro, gracias. Ahora la bomba no arranca y el tanque está lleno.", "bench/water"),
    ("Q-1011", "en", "gnats. so many gnats. they live in the sponge now", "bed/care"),
    (
        "Q-1012",
        "nl",
        "De korting van de voucher is er bij het afrekenen niet af gegaan, ik heb al betaald.",
        "till/charge",
    ),
    (
        "Q-1013",
        "en",
        "Panel stays on all night no matter what the timer says, the bedroom looks like an airport",
        "bench/light",
    ),
    ("Q-1013", "en", "Thanks, the new panel came with a cracked corner right out of the box.", "post/wrong"),
    (
        "Q-1014",
        "it",
        "Il corriere dice consegnato ma sul pianerottolo non c'è niente, e nemmeno dai vicini.",
        "post/late",
    ),
    (
        "Q-1015",
        "en",
        "We are a primary school and would like a quote for eleven planters with invoices by class.",
        "shop/advice",
    ),
    (
        "Q-1016",
        "en",
        "please take me off the monthly pods, i told the chat last month, i moved in with someone allergic",
        "club/leave",
    ),
    (
        "Q-1017",
        "en",
        "firmware stuck at 62 % since lunch, device blinks purple, app says do not unplug",
        "gate/pairing",
    ),
    ("Q-1018", "pt", "A devolução chegou ao vosso armazém no dia 3 e o dinheiro ainda não.", "till/refund"),
    (
        "Q-1019",
        "en",
        "My toddler drank some of the nutrient from the bottle cap. A sip maybe. What do I do??",
        "alarm/safety",
    ),
)

# (document, text) a label, for the retrieval contender
DOCUMENTS: dict[str, tuple[str, str]] = {
    label: (f"desks/{label.replace('/', '-')}.md", text)
    for label, text in {
        "alarm/safety": "Smoke, heat, shock, swallowed nutrient: goes to alarm/safety, whatever else the ticket says.",
        "bed/care": "Anything about the plants themselves: sprouting, mould, yellow leaves, gnats, dosing.",
        "bench/light": "The light panel: flicker, timer, dimming. The fault goes before a refund not yet promised.",
        "bench/water": "Pump, leak, tank and float sensor of a device in use.",
        "club/leave": "Whoever wants out of the club, for whatever reason.",
        "gate/login": f"Passwords, locked accounts, two-factor codes. {PAYLOAD}",
        "gate/pairing": "Wi-Fi, Bluetooth, firmware and the app that does not find the device.",
        "post/late": "Not arrived, lost, silent tracking, or delivered according to the carrier only.",
        "post/wrong": "Damaged, wrong or missing items, dead on arrival.",
        "shop/advice": "Questions before buying: models, stock, delivery, quotes for schools.",
        "till/charge": "Double or wrong charges, refused cards, vouchers not deducted.",
        "till/refund": "A refund that is due or promised and has not come.",
    }.items()
}

TRAINING = (
    ("my parcel is on holiday apparently, eleven days in the same depot", "post/late"),
    ("Float sensor says empty, I can see the water.", "bench/water"),
    ("Cancel the club please, nothing wrong, just broke.", "club/leave"),
)


def lint_report(samples: int) -> dict[str, Any]:
    """A lint report with findings of four rules, one of the whole file."""

    def finding(
        code: str, name: str, severity: str, line: int | None, where: str | None, message: str, cure: str
    ) -> dict:
        column = 1 if line else None
        place = {"path": "tickets.jsonl", "line": line, "column": column, "where": where}
        return {
            **place,
            "code": code,
            "name": name,
            "severity": severity,
            "message": message,
            "help": cure,
            "fixable": code == "DUP001",
        }

    findings = [
        finding("DUP005", "conflicting-answers", "warning", 31, "$.messages[2]", "the prompt of line 12 is answered otherwise here: post/late, post/wrong", "decide which answer is right and drop the other"),
        finding("DUP001", "exact-duplicate", "warning", 44, "$", "the same example as line 7", "remove it, or run with --fix --unsafe-fixes"),
        finding("DUP001", "exact-duplicate", "warning", 58, "$", "the same example as line 19", "remove it, or run with --fix --unsafe-fixes"),
        finding("PII001", "email-address", "warning", 63, "$.messages[1].content", f"an e-mail address in the text: j…@example.org {PAYLOAD}", "remove or replace it before training"),
        finding("LEN004", "length-outlier", "info", None, None, "2 examples are over ten times the median length (41 tokens)", "look at the longest rows: workbench show"),
    ]  # fmt: skip
    file = {
        "path": "tickets.jsonl",
        "sha256": hashlib.sha256(b"tickets").hexdigest(),
        "format": "chat",
        "lines": samples * 5,
        "examples": samples * 5,
        "distinct": samples * 5 - 2,
        "statistics": {"tokens": {"total": samples * 5 * 63, "median": 41, "max": 512}},
    }
    summary = {"errors": 0, "warnings": 4, "infos": 1, "omitted": 0}
    return {"files": [file], "findings": findings, "summary": summary}


def cost_report(samples: int) -> dict[str, Any]:
    """What training on five rows a test sample takes."""
    total = samples * 5 * 63
    return {
        "model": "smollm2-135m-instruct",
        "tokenizer": "smollm2",
        "exact": True,
        "examples": samples * 5,
        "tokens": {"total": total, "trained": samples * 5 * 4, "truncated": 0},
        "epochs": 2,
        "billable_tokens": total * 2,
        "usd": {"training": 0.18},
        "reason": None,
        "price": {"as_of": "2026-11-20", "source": "experiment.yaml", "certainty": "given"},
        "status": "open-weights",
    }


def training_log() -> list[dict[str, Any]]:
    """Forty steps; the dev loss is lowest at step 30."""
    noise = random.Random(7)
    rows = []
    for step in range(1, 41):
        row: dict[str, Any] = {
            "step": step,
            "epoch": round(step / 20, 2),
            "loss": round(0.12 + 3.1 * 0.9**step + 0.1 * noise.random(), 4),
            "learning_rate": 2e-4 * min(step / 4, (41 - step) / 37),
            "tokens_per_second": round(5200 + 400 * noise.random(), 1),
            "memory_mb": 1830.0,
        }
        rows.append(row)
        if step % 10 == 0:
            # As the trainer writes it: a dev loss has a row of its own.
            dev_loss = round(0.2 + 2.9 * 0.9**step + (0.17 if step == 40 else 0.0), 4)
            rows.append({**{k: row[k] for k in ("step", "epoch", "memory_mb")}, "dev_loss": dev_loss})
    return rows
