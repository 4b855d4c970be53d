"""The command line: a table of verbs, and one place where errors become messages."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from validators.findings import printable

# In the order of the workflow: this is what --help shows. Each is a module with a function of its name.
VERBS = (
    *("init", "run", "train", "decide", "predict", "export", "compare", "app", "report", "runs"),
    *("lint", "explain", "show", "cost", "convert", "split", "doctor"),
)


class _Verbs(TyperGroup):
    """The verbs. A module is imported when its verb is called; all are for --help and what is no verb."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for name in (cmd_name,) if cmd_name in VERBS else VERBS:
            if name not in self.commands:
                one = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
                one.command(name)(getattr(import_module(f".{name}", __name__), name))
                self.commands[name] = get_command(one)
        return self.commands.get(cmd_name)


program = typer.Typer(
    name="workbench",
    cls=_Verbs,
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
        # It doubts a file system on which two checkpoints are less than a second apart.
        logging.getLogger("transformers.trainer_utils").setLevel(logging.ERROR)
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
