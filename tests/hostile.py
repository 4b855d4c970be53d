"""A run folder whose every text is an attack: on the page, on the report, on a terminal, on a spreadsheet."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec

from tests.example_run import make_run
from validators.examples import Message
from workbench.report import write_report
from workbench.runs import Run

OWN = "window.owned=1;document.title='owned'"
PAYLOADS = (
    f"<script>{OWN}</script>",
    f'<img src=x onerror="{OWN}">',
    f'<svg onload="{OWN}"><circle r=9></svg>',
    '"><iframe srcdoc="<script>parent.owned=1</script>"></iframe>',
    f"</title></style></textarea><script>{OWN}</script>",
    f"[click](javascript:{OWN})",
    f'![x](https://evil.example/x.png"onerror="{OWN})',
    '<a href="https://evil.example">here</a> <https://evil.example> [x]: https://evil.example',
    ":material/home: :red[red] :streamlit: :red-badge[x]",
    f"$\\href{{javascript:{OWN}}}{{x}}$ $$\\unicode{{x}}$$",
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\u202egnp.exe",
    '=HYPERLINK("https://evil.example","x")',
    f'{{{{constructor.constructor("{OWN}")()}}}} ${{{OWN}}} <%= x %>',
    f"'-alert(1)-' `{OWN}` | a | b |\n|---|---|\n# head\n***\n<!-- {OWN} -->",
    f"<base href=https://evil.example><meta http-equiv=refresh content='0;url=javascript:{OWN}'>",
    f'<form action=javascript:{OWN}><input autofocus onfocus="{OWN}"><details open ontoggle="{OWN}">',
)


def hostile_run(root: Path, name: str = "hostile-0000000f") -> Run:
    """Write the run and its report, a payload in every place that data, models, servers or files fill."""
    run = make_run(root, name=name)
    turn = itertools.cycle(PAYLOADS)
    every = "\n".join(PAYLOADS)
    samples = [
        msgspec.structs.replace(
            sample,
            messages=tuple(Message(m.role, f"{m.text}\n{every}") for m in sample.messages),
            references=(next(turn),),
            group=next(turn),
            tags={"language": next(turn)},
        )
        for sample in run.samples()
    ]
    run.write_splits(run.splits() or {}, samples)
    for contender in run.contenders():
        _contender(run, contender, turn, every)
    lint: dict[str, Any] = run.lint() or {}
    findings = [
        {**f, **{key: next(turn) for key in ("path", "where", "message", "help", "name") if f.get(key)}}
        for f in run.findings()
    ]
    files = [{**file, "path": next(turn), "format": next(turn)} for file in lint["files"]]
    run.write_lint({**lint, "files": files, "findings": findings})
    run.write_cost({**(run.cost() or {}), "reason": next(turn), "tokenizer": next(turn), "model": next(turn)})
    verdict = run.verdict()
    assert verdict is not None
    texts = {"sentence": every, "experiment": next(turn), "next": next(turn)}
    run.write_verdict(msgspec.structs.replace(verdict, caveats=PAYLOADS, flips=PAYLOADS, **texts))  # type: ignore[arg-type]
    meta = run.meta()
    run.write_meta({**meta, "status": "error", "error": every, "experiment": next(turn), "task": next(turn)})
    write_report(run)
    return run


def _contender(run: Run, name: str, turn: Any, every: str) -> None:
    about: dict[str, Any] = run.contender(name) or {}
    run.write_contender(name, {**about, "model": {**about["model"], "name": next(turn)}, "kind": next(turn)})
    run.write_predictions(
        name,
        [
            msgspec.structs.replace(
                p, prediction=next(turn) if p.error is None else None, error=p.error and every
            )
            for p in run.predictions(name)
        ],
    )
    run.write_prompts(
        name,
        [
            msgspec.structs.replace(
                p,
                messages=tuple(Message(m.role, every) for m in p.messages),
                passages=tuple(
                    msgspec.structs.replace(q, document=next(turn), text=every) for q in p.passages
                ),
            )
            for p in run.prompts(name)
        ],
    )
    if about["tuned"]:
        pieces = [{"text": text, "trained": bool(i % 2)} for i, text in enumerate(PAYLOADS)]
        row = {"id": next(turn), "line": 1, "tokens": 9, "trained": 4, "pieces": pieces}
        batch = {"tokenizer": next(turn), "batching": next(turn), "sequences": [{"rows": [row]}]}
        run.write_first_batch(name, batch)
