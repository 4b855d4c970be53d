"""The command line: a table of verbs, and one place where errors become messages."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated

import typer

from validators.findings import printable

# Under other names than their modules: a function of that name would hide the module.
from .app import app as app_verb
from .compare import compare as compare_verb
from .convert import convert as convert_verb
from .cost import cost as cost_verb
from .decide import decide as decide_verb
from .doctor import doctor as doctor_verb
from .explain import explain as explain_verb
from .init import init as init_verb
from .lint import lint as lint_verb
from .predict import predict as predict_verb
from .report import report as report_verb
from .run import run as run_verb
from .runs import runs as runs_verb
from .show import show as show_verb
from .split import split as split_verb

# In the order of the workflow: this is what --help shows.
VERBS: dict[str, Callable[..., None]] = {
    "init": init_verb,
    "run": run_verb,
    "decide": decide_verb,
    "predict": predict_verb,
    "compare": compare_verb,
    "app": app_verb,
    "report": report_verb,
    "runs": runs_verb,
    "lint": lint_verb,
    "explain": explain_verb,
    "show": show_verb,
    "cost": cost_verb,
    "convert": convert_verb,
    "split": split_verb,
    "doctor": doctor_verb,
}

program = typer.Typer(
    name="workbench",
    epilog="Start here: workbench init DIR --data FILE, then workbench run DIR/experiment.yaml",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


# `main` reads the flag wherever it stands; here it is only told of.
@program.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error arose, and all warnings.")
    ] = False,
) -> None:
    """Decide whether to fine-tune a language model, before you spend: lint, compare, verdict."""


for _name, _verb in VERBS.items():
    program.command(name=_name)(_verb)

# Our own errors say what is wrong and what to do; anything else is a bug.
OUR_PACKAGES = ("workbench", "validators", "metrics")


def main() -> None:
    """Run a verb; exit 2 with a message for what a user can mend, 130 when interrupted."""
    # Spinning OpenMP threads make a run 30 times slower as soon as anything else uses the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The libraries' notes to their own developers; under --debug they are shown.
    debug = "--debug" in sys.argv
    if not debug:
        warnings.filterwarnings("ignore", category=FutureWarning)
        # It announces a missing optional kernel whenever peft imports it, used or not.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        program(args=arguments, prog_name="workbench")
    except (KeyboardInterrupt, SystemExit) as stop:
        # Typer turns Ctrl-C into this exit code without a word.
        if isinstance(stop, SystemExit) and stop.code != 130:
            raise
        print("\ninterrupted; finished work is kept, run the same command to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader (head, less) has left; that is no error of ours
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        ours = type(error).__module__.split(".")[0] in OUR_PACKAGES
        if ours:
            said = str(error)
        elif isinstance(error, OSError):
            said = f"{error.filename}: " * bool(error.filename) + (error.strerror or str(error))
        else:
            said = (
                f"unexpected {type(error).__name__}: {error}\n"
                "This is a bug in the workbench. --debug shows where; please report it."
            )
        # Messages quote data and servers: nothing of theirs may steer the terminal.
        print("error: " + "\n".join(map(printable, said.splitlines())), file=sys.stderr)
        sys.exit(2)
