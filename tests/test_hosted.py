"""`kind: hosted`: whole commands against a provider on loopback, in the URLs of OpenAI and of Azure OpenAI."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.commands import ENVIRONMENT, die_at_write, workbench
from tests.fine_tuning_server import BOM, KEY, Provider, Trouble
from tests.judged_run import chat, jsonl, label, question
from validators.examples import Example, Message
from workbench.cli import main
from workbench.experiment import Experiment, ExperimentError
from workbench.hosted import HostedError, bills_text, training_bill
from workbench.hosted_price import at_tuned_price
from workbench.runs import Run
from workbench.settings import Hosted, OpenAIBackend

ROWS = 60
TRAINED = 30
# No registry knows it, so no day of the calendar ends it.
MODEL = "gpt-9-mini"
PRICES = {"training_price": 3.0, "price": [0.3, 1.2]}
TODAY = date(2026, 11, 20)


def right(text: str) -> str:
    """The right answer to a test question; what is no such question is only asked to see whether anyone answers."""
    return label(int(text.split()[2].rstrip(":"))) if text.startswith("Ticket") else text


def write(folder: Path, provider: Provider, *, rows: int = ROWS, **changes: Any) -> None:
    """An experiment of a prompted model and one that the provider tunes; `tuned` changes the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    jsonl(folder / "data.jsonl", [chat(question(i), label(i)) for i in range(rows)])
    backend: dict[str, Any] = {
        "kind": "openai",
        "model": changes.pop("model", "gpt-4.1-2025-04-14" if provider.azure else MODEL),
        "base_url": provider.url,
        "api_key_env": "TEST_KEY",
        "price": [0.15, 0.6],
    } | ({"api_version": "2024-10-21"} if provider.azure else {})
    tuned = {"name": "tuned", "kind": "hosted", "backend": "api", **PRICES} | changes.pop("tuned", {})
    tree: dict[str, Any] = {
        "name": "hosted",
        "task": "classification",
        "data": {"path": "data.jsonl", "split": {"dev": 0.1, "test": 0.4}},
        "backends": {"echo": {"kind": "echo"}, "api": backend},
        "contenders": [{"name": "parrot", "kind": "prompting"}, tuned],
        "metrics": {"primary": "exact_match", "also": []},
    } | changes
    (folder / "experiment.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


Command = Callable[..., "Done"]
RUN = ("run", "experiment.yaml")
PAID = (*RUN, "--yes-spend", "1")
PAUSES = {
    "job": {"FIRST_LOOK": 0.01, "LONGEST_LOOK": 0.01},
    "service": {"FIRST_PAUSE": 0.01, "LONGEST_PAUSE": 0.01, "PATIENCE_SECONDS": 30.0},
}


def ready() -> None:
    """The key and short pauses, in a process of its own."""
    os.environ["TEST_KEY"] = KEY
    for module, pauses in PAUSES.items():
        for name, seconds in pauses.items():
            setattr(import_module(f"workbench.hosted.{module}"), name, seconds)


def dying(write: int) -> None:
    """Ready, and killed at that write."""
    ready()
    die_at_write(write)


def dying_unheard() -> None:
    """Ready, and killed when the job was created and before its answer was read."""
    from openai.resources.fine_tuning.jobs import Jobs

    ready()
    create = Jobs.create

    def unheard(self: Any, **wanted: Any) -> None:
        create(self, **wanted)
        os.kill(os.getpid(), signal.SIGKILL)

    Jobs.create = unheard  # type: ignore[assignment,method-assign]


@dataclass(frozen=True)
class Done:
    """What a command said, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Whole commands in this process, which spares their imports; the key is told nowhere, whatever happens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEST_KEY", KEY)
    # Its figures take longer than all the rest; the process at a terminal writes them.
    monkeypatch.setattr("workbench.runner.write_report", lambda _: None)
    for module, pauses in PAUSES.items():
        for name, seconds in pauses.items():
            monkeypatch.setattr(f"workbench.hosted.{module}.{name}", seconds)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["workbench", *(arguments or RUN)])
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        said = capfd.readouterr()
        assert KEY not in said.out + said.err and "Traceback" not in said.err
        return Done(code, said.out, said.err)

    return run


def only_run(folder: Path) -> Run:
    (found,) = Run.all(folder / "runs")
    return found


def assert_no_key(folder: Path) -> None:
    for path in (p for p in folder.rglob("*") if p.is_file()):
        assert KEY.encode() not in path.read_bytes(), path


def message(done: Any) -> str:
    """What a command that was refused says."""
    assert done.returncode == 2, done.stderr
    return str(done.stderr[done.stderr.index("error: ") :])


# -- the whole way ---------------------------------------------------------------------------------------


def test_a_model_is_tuned_followed_and_asked(tmp_path: Path, command: Command) -> None:
    with Provider(answer=right) as provider:
        write(tmp_path, provider)
        done = command(*PAID)
        assert done.returncode == 0, done.stderr
        assert "job ftjob-1" in done.stderr
        # Nothing is trained, sent or asked twice.
        sent = len(provider.sent)
        assert command().returncode == 0 and len(provider.sent) == sent
        jsonl(tmp_path / "new.jsonl", [{"input": question(7)}])
        new = command("predict", "runs/" + only_run(tmp_path).name, "new.jsonl")
    assert json.loads(new.stdout)["prediction"] == label(7)
    assert provider.faults == []
    (job,) = provider.created
    # 30 rows × 3 epochs would be under 100 passes: OpenAI's rule gives them more.
    assert job["method"] == {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}
    assert (job["model"], job["suffix"], job["seed"]) == (MODEL, "tuned", 7)
    assert [f["filename"].split("-")[0] for f in provider.files.values()] == ["train", "dev"]
    assert {c["model"] for c in provider.chats} == {f"ft:{MODEL}:org::1"}
    check_folder(only_run(tmp_path))
    assert_no_key(tmp_path)


def check_folder(folder: Run) -> None:
    """What a run of one finished hosted training leaves."""
    info, record, verdict = folder.contender("tuned"), folder.job("tuned"), folder.verdict()
    assert info and record and verdict
    rows = len((folder.splits() or {})["train"])
    assert record["status"] == "succeeded" and record["train"]["rows"] == rows
    assert info["tuned"] and info["model"]["name"] == f"ft:{MODEL}:org::1"
    training = info["training"]
    assert training["usd"] == pytest.approx(rows * 40 * record["epochs"] * 3 / 1e6)
    assert (training["steps"], training["seconds"], training["job"]) == (6, 600.0, "ftjob-1")
    log = folder.training("tuned")
    assert [r["step"] for r in log if "loss" in r] == [1, 2, 3, 4, 5, 6]
    assert [(r["step"], r["dev_loss"]) for r in log if "dev_loss" in r] == [(3, 0.7333), (6, 0.3667)]
    assert [r["message"] for r in log if "message" in r] == ["Created fine-tuning job", "The job is done"]
    # A job's time is no time of this machine: only what was billed counts.
    assert (verdict.tuned, verdict.headline) == ("tuned", "tune")
    assert verdict.costs["training_usd"] == training["usd"]
    tuned = next(c for c in verdict.contenders if c.name == "tuned")
    assert tuned.usd_per_1000 == pytest.approx(1000 * (20 * 0.3 + 2 * 1.2) / 1e6)


def test_azure_is_deployed_before_it_is_asked(tmp_path: Path, command: Command) -> None:
    """Its file has the byte-order mark, its job waits for the file, its model for a deployment."""
    prices = {"training_price": None}
    with Provider(azure=True, answer=right) as provider:
        write(tmp_path, provider, tuned=prices)
        told = message(command(*PAID))
        assert (
            "job ftjob-1 is done" in told
            and "gpt-4.1-2025-04-14.ft-ftjob-1" in told
            and "$1.70 an hour" in told
        )
        write(tmp_path, provider, tuned=prices | {"deployment": "desk"})
        assert "--deployment-name desk" in message(command())
        provider.deployments["desk"] = "gpt-4.1-2025-04-14.ft-ftjob-1"
        done = command()
        assert done.returncode == 0, done.stderr
    assert provider.faults == [] and len(provider.created) == 1
    assert all(content.startswith(BOM) for content in provider.contents.values())
    assert provider.created[0]["hyperparameters"] == {"n_epochs": 3}
    verdict = only_run(tmp_path).verdict()
    assert verdict is not None and verdict.costs["hosting_usd_per_month"] == pytest.approx(1.7 * 720)
    # The registry's price of Azure's training.
    training = (only_run(tmp_path).contender("tuned") or {})["training"]
    assert training["usd"] == pytest.approx(training["tokens"] * 2.0 / 1e6)
    assert_no_key(tmp_path)


def test_training_goes_on_from_an_earlier_model(tmp_path: Path, command: Command) -> None:
    with Provider(answer=right) as provider:
        earlier = f"ft:{MODEL}:org::abc"
        write(tmp_path, provider, tuned={"from": earlier, "epochs": 2, "batch_size": 4, "suffix": "desk"})
        assert command(*PAID).returncode == 0
        # What a job is charged or called changes nothing that was answered.
        sent = len(provider.sent)
        write(
            tmp_path,
            provider,
            tuned={"from": earlier, "epochs": 2, "batch_size": 4, "suffix": "desk", "training_price": 9},
        )
        assert command().returncode == 0 and len(provider.sent) == sent
    (job,) = provider.created
    assert (job["model"], job["suffix"]) == (earlier, "desk")
    assert job["method"]["supervised"]["hyperparameters"] == {"n_epochs": 2, "batch_size": 4}


def test_each_fold_is_a_training_of_its_own(tmp_path: Path, command: Command) -> None:
    with Provider(answer=right) as provider:
        write(tmp_path, provider, data={"path": "data.jsonl", "split": {"folds": 2, "dev": 0.1}})
        done = command(*PAID)
        assert done.returncode == 0, done.stderr
    assert len(provider.created) == 2 and len({j["training_file"] for j in provider.created}) == 2
    verdict, info = only_run(tmp_path).verdict(), only_run(tmp_path).contender("tuned") or {}
    assert verdict is not None and verdict.n == ROWS
    billed = sum(job["trained_tokens"] for job in provider.jobs.values()) * 3 / 1e6
    assert verdict.costs["training_usd"] == pytest.approx(billed) == pytest.approx(info["training"]["usd"])


# -- before anything is spent ----------------------------------------------------------------------------


def test_a_dry_run_shows_the_bill_and_asks_nobody(tmp_path: Path, command: Command) -> None:
    with Provider() as provider:
        write(tmp_path, provider, decision={"budget_usd": 5})
        text = command(*RUN, "--dry-run")
        plan = command(*RUN, "--dry-run", "--format", "json")
    assert provider.sent == []
    assert "× 3 epochs" in text.stdout and "$3.00 a million (own: the experiment file" in text.stdout
    (tuned,) = [c for c in json.loads(plan.stdout)["contenders"] if c["name"] == "tuned"]
    training = tuned["training"]
    assert training["rows"] == TRAINED and training["steps"] is None
    # The dev rows may be billed too, so at most.
    assert training["tokens"] * 3 / 1e6 < training["usd"] < 1.5 * training["tokens"] * 3 / 1e6


def test_nothing_is_spent_without_leave(tmp_path: Path, command: Command) -> None:
    with Provider(answer=right) as provider:
        write(tmp_path, provider)
        told = message(command())
        assert "at most $" in told and "--yes-spend 0.0" in told
        assert "more than --yes-spend 0.0001" in message(command(*RUN, "--yes-spend", "0.0001"))
        write(tmp_path, provider, decision={"budget_usd": 0.001})
        assert "over decision.budget_usd (0.001)" in message(command(*PAID))
        write(tmp_path, provider, tuned={"training_price": None})
        assert "set training_price" in message(command(*PAID))
        assert not provider.sent
        # The others run meanwhile, and what was refused goes on once there is leave.
        write(tmp_path, provider)
        assert command(*RUN, "--only", "parrot").returncode == 0 and not provider.sent
        given = told.split("--yes-spend ")[1].split()[0]
        assert command(*RUN, "--yes-spend", given).returncode == 0
    assert len(provider.created) == 1 and provider.faults == []


def test_a_person_is_asked_at_the_terminal(tmp_path: Path) -> None:
    with Provider(answer=right) as provider:
        write(tmp_path, provider)
        shown, code = at_terminal(tmp_path, b"y\n")
    assert "Spend that? [y/N]" in shown and "× 3 epochs" in shown and KEY not in shown
    assert (len(provider.created), code) == (1, 0), shown


def test_a_person_who_says_no_has_spent_nothing(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.cli.progress.typer.confirm", lambda *_, **__: False)
    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    with Provider() as provider:
        write(tmp_path, provider)
        assert "not confirmed: nothing was sent" in message(command())
    assert provider.sent == []


def at_terminal(folder: Path, typed: bytes) -> tuple[str, int]:
    """`workbench run` at a pseudo-terminal: what it showed, and its exit code."""
    ours, theirs = pty.openpty()
    code = "from tests.test_hosted import ready; ready(); from workbench.cli import main; main()"
    command = [sys.executable, "-c", code, "run", "experiment.yaml"]
    child = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    return shown.decode(errors="replace"), child.wait(60)


def test_a_retired_target_is_refused_with_its_date(tmp_path: Path, command: Command) -> None:
    with Provider() as provider:
        write(tmp_path, provider, model="gpt-3.5-turbo-0125", tuned={"training_price": 1})
        for flags in (("--dry-run",), ("--yes-spend", "1")):
            told = message(command(*RUN, *flags))
            assert "gpt-3.5-turbo-0125 takes new jobs only until 2026-10-23" in told and "https://" in told
    assert provider.sent == []


def test_rows_that_the_provider_would_refuse_are_not_sent(tmp_path: Path, command: Command) -> None:
    with Provider() as provider:
        write(tmp_path, provider, rows=16)
        told = message(command(*PAID))
    assert "OpenAI would refuse the train split" in told and "FMT005" in told and "Nothing was sent" in told
    assert provider.sent == []


# -- started once ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("write_number", [11, 13, 14, 19])
def test_killed_anywhere_the_job_is_started_once(tmp_path: Path, command: Command, write_number: int) -> None:
    with Provider(answer=right) as provider:
        write(tmp_path, provider)
        killed = workbench(tmp_path, *PAID, "--only", "tuned", prepare=partial(dying, write_number))
        assert killed.returncode == -signal.SIGKILL
        done = command(*PAID)
        assert done.returncode == 0, done.stderr
    assert len(provider.created) == 1 and len(provider.uploads) == len(set(provider.uploads)) == 2
    assert provider.faults == []
    check_folder(only_run(tmp_path))


def test_killed_between_request_and_answer_the_job_is_found(tmp_path: Path, command: Command) -> None:
    with Provider(answer=right) as provider:
        write(tmp_path, provider)
        assert workbench(tmp_path, *PAID, prepare=dying_unheard).returncode == -signal.SIGKILL
        assert (only_run(tmp_path).job("tuned") or {})["status"] == "intended" and len(provider.created) == 1
        # It is agreed on already, so nobody is asked again.
        assert command().returncode == 0
    assert len(provider.created) == 1
    check_folder(only_run(tmp_path))


def meeting(troubles: Mapping[str, Sequence[int | str]]) -> Trouble:
    """The first requests of each kind meet these troubles, one each."""

    def trouble(method: str, path: str, number: int) -> int | str | None:
        due = troubles.get(f"{method} {path}", ())
        return due[number] if number < len(due) else None

    return trouble


@pytest.mark.parametrize(
    "trouble",
    [
        {"POST /files": ("drop", 500, 429), "POST /fine_tuning/jobs": ("drop",)},
        {"GET /files": (500, "html"), "POST /fine_tuning/jobs": (429, "lose", 500)},
        {"POST /fine_tuning/jobs": ("html",), "GET /fine_tuning/jobs": (503, "html", "lose")},
        {
            "GET /fine_tuning/jobs/ftjob-1": (503, "html", "lose", 429),
            "GET /fine_tuning/jobs/ftjob-1/events": (500, "drop", "html"),
        },
    ],
    ids=["unheard", "not-created", "garbled", "followed"],
)
def test_a_server_in_trouble_starts_no_second_job(
    tmp_path: Path, command: Command, trouble: dict[str, tuple[int | str, ...]]
) -> None:
    with Provider(answer=right, trouble=meeting(trouble)) as provider:
        write(tmp_path, provider)
        done = command(*PAID)
        assert done.returncode == 0, done.stderr
    assert len(provider.created) == 1 and provider.faults == []
    assert len(provider.uploads) == len(set(provider.uploads)) == 2
    check_folder(only_run(tmp_path))
    assert_no_key(tmp_path)


def test_an_interruption_leaves_the_job_running_and_says_so(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with Provider(answer=right, hold=True) as provider:
        write(tmp_path, provider)
        with monkeypatch.context() as patch:
            patch.setattr("workbench.hosted.job.time", SimpleNamespace(sleep=interrupt))
            done = command(*PAID)
        assert done.returncode == 130 and "job ftjob-1 goes on at the provider" in done.stderr
        # Neither starting over nor another recipe starts a second one beside it.
        assert "would pay twice" in message(command(*RUN, "--fresh", "--yes-spend", "1"))
        write(tmp_path, provider, tuned={"epochs": 5})
        assert "may still run and be billed" in message(command(*PAID))
        write(tmp_path, provider)
        provider.hold = False
        assert command().returncode == 0
    assert len(provider.created) == 1
    check_folder(only_run(tmp_path))


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (
            {"fails": ("invalid_training_file", "Line 3 has no reply")},
            ("failed: Line 3 has no reply", "Mend the training rows"),
        ),
        ({"fails": ("exceeded_quota", f"no credit for {KEY}")}, ("no credit for [key]", "Add credit")),
        ({"cancelled": True}, ("ftjob-1 was cancelled", "stopped from elsewhere")),
    ],
)
def test_a_job_that_ended_badly_says_why_and_is_not_repeated(
    tmp_path: Path, command: Command, ending: dict[str, Any], words: tuple[str, str]
) -> None:
    with Provider(answer=right, **ending) as provider:
        write(tmp_path, provider)
        for _ in range(2):
            told = message(command(*PAID))
            assert all(word in told for word in words) and "--fresh --only tuned" in told
        assert len(provider.created) == 1
        provider.fails, provider.cancelled = None, False
        assert "--yes-spend" in message(command(*RUN, "--fresh", "--only", "tuned"))
        assert command(*RUN, "--fresh", "--only", "tuned", "--yes-spend", "1").returncode == 0
    # The same bytes lie there already.
    assert len(provider.created) == 2 and len(provider.files) == 2
    assert_no_key(tmp_path)


def test_a_wrong_key_is_told_without_showing_it(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Provider() as provider:
        write(tmp_path, provider)
        monkeypatch.setenv("TEST_KEY", "sk-wrong-0123456789")
        told = message(command(*PAID))
    assert "TEST_KEY" in told and "sk-wrong" not in told and provider.created == []


# -- bills -----------------------------------------------------------------------------------------------


def bill(
    settings: dict[str, Any],
    *,
    model: str = "gpt-4o-mini",
    rows: int = 30,
    today: date = TODAY,
    **backend: Any,
) -> Any:
    rows_ = [
        Example((Message("user", "hello world"), Message("assistant", "hello world"))) for _ in range(rows)
    ]
    asked = OpenAIBackend.model_validate({"kind": "openai", "model": model, **backend})
    return training_bill(
        Hosted.model_validate({"name": "t", "kind": "hosted", **settings}),
        asked,
        rows_,
        rows_[:6],
        today=today,
    )


@pytest.mark.parametrize(("rows", "epochs"), [(12, 8), (30, 3), (33, 3), (34, 3), (100, 3)])
def test_epochs_follow_the_published_rule(rows: int, epochs: int) -> None:
    assert bill({}, rows=rows).cost.epochs == epochs
    assert bill({"epochs": 4}, rows=rows).cost.epochs == 4


def test_a_bill_is_at_most_and_names_its_sources() -> None:
    made = bill({})
    per_row = made.cost.total / 30
    assert made.usd == pytest.approx(3 * 36 * per_row * 3.0 / 1e6)
    text = bills_text([made])
    for words in (
        "disputed: https://tokenmix.ai",
        "2026-04-30",
        "Other public pages",
        "answers only until 2027-01-14",
    ):
        assert words in text
    assert bill({}, model="gpt-4.1-mini").usd is None and "Set training_price" in bills_text(
        [bill({}, model="gpt-4.1-mini")]
    )
    assert bill({"training_price": 5}, model="gpt-4.1-mini").usd == pytest.approx(made.usd * 5 / 3)
    assert bill({}, model="gpt-4o-mini", api_version="2024-10-21", base_url="http://a").hosting.value == 1.7


@pytest.mark.parametrize(
    ("model", "today", "words"),
    [
        ("gpt-4o-mini", date(2027, 1, 7), "takes new jobs only until 2027-01-06"),
        ("gpt-4o-mini", date(2027, 1, 6), None),
        ("ft:gpt-4o-mini:org::1", date(2027, 2, 1), "2027-01-06 (third party: https://"),
        ("gpt-3.5-turbo", TODAY, "2026-10-23"),
    ],
)
def test_what_has_ended_is_refused_and_what_ends_is_told(model: str, today: date, words: str | None) -> None:
    if words is None:
        assert "warning: " in bills_text([bill({"from": model}, today=today)])
    else:
        with pytest.raises(HostedError, match="Choose another base model") as caught:
            bill({"from": model}, today=today)
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("certainty", "days", "refused"),
    [
        ("documented", 89, True),
        ("documented", 90, False),
        ("third party", 5, False),
        ("third party", -1, True),
        ("disputed", -1, False),
    ],
)
def test_a_firm_end_refuses_earlier_than_a_disputed_one(
    monkeypatch: pytest.MonkeyPatch, certainty: str, days: int, refused: bool
) -> None:
    from validators.prices import Fact, load_prices

    known = load_prices()["gpt-4o-mini"]
    end = Fact(date.fromordinal(TODAY.toordinal() + days), "https://example.org", TODAY, certainty)  # type: ignore[arg-type]
    facts = {k: v for k, v in known.facts.items() if k != "tunable_until"} | {"served_until": end}
    changed = type(known)(known.model, known.provider, known.aliases, known.tokenizer, facts)
    monkeypatch.setattr("workbench.hosted_price.load_prices", lambda: {"gpt-4o-mini": changed})
    if refused:
        with pytest.raises(HostedError, match=str(end.value)):
            bill({})
    else:
        assert f"answers only until {end.value}" in bills_text([bill({})])


def test_a_tuned_models_tokens_have_their_own_price() -> None:
    backend = OpenAIBackend(kind="openai", model="gpt-4o-mini", price=(0.15, 0.6))
    plain, own = ({"name": "t", "kind": "hosted"} | more for more in ({}, {"price": [1, 2]}))
    assert at_tuned_price(backend, Hosted.model_validate(plain)).price == (0.3, 1.2)
    assert at_tuned_price(backend, Hosted.model_validate(own)).price == (1, 2)
    unknown = backend.model_copy(update={"model": MODEL})
    assert at_tuned_price(unknown, Hosted.model_validate(plain)).price is None


@pytest.mark.parametrize(
    ("backend", "tuned", "words"),
    [
        ({"kind": "echo"}, {}, "its backend must be one"),
        ({"kind": "openai", "model": "m", "api_version": "2024-10-21"}, {}, "needs base_url"),
        ({"kind": "openai", "model": "m", "price": [1, 1], "budget_usd": 1}, {}, "give the contender price"),
        ({"kind": "openai", "model": "m"}, {"suffix": "too long for a provider"}, "suffix"),
        ({"kind": "openai", "model": "m"}, {"epochs": 0}, "epochs"),
    ],
)
def test_what_cannot_be_hosted_is_a_fault_of_the_file(
    tmp_path: Path, backend: dict[str, Any], tuned: dict[str, Any], words: str
) -> None:
    tree = {
        "name": "x",
        "data": {"path": "data.jsonl"},
        "backends": {"api": backend},
        "contenders": [{"name": "tuned", "kind": "hosted"} | tuned],
    }
    with pytest.raises(ExperimentError, match=words):
        Experiment.parse(yaml.safe_dump(tree), path=tmp_path / "experiment.yaml")
