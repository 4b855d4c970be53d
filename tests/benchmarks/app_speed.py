"""How fast the app answers on a large run: server time of every page, and of one click on it.

    python -m tests.benchmarks.app_speed [--samples 100000] [--keep FOLDER]

Makes a run of that many samples by four contenders (minutes, 0.6 GB) and draws every page three times: cold (nothing
read yet), as a first paint of a new session after that, and again after two clicks: the first may work something out. Times are CPU seconds of the
process, so that a busy machine does not count, without the browser; memory is the resident set. Goals at 100,000 × 4:
a first paint under 2 s, a click under 0.3 s.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamlit.logger import set_log_level
from streamlit.testing.v1 import AppTest

from tests.example_run import make_run

MAIN = Path(__file__).resolve().parent.parent.parent / "apps" / "main.py"
VIEWS = ("decision", "scores", "examples", "cost", "training", "data", "rate", "runs", "start")


def labelled(elements: Any, label: str) -> Any:
    """The one element whose label begins so."""
    return next(e for e in elements if e.label.startswith(label))


# What is clicked on each page, twice; the others are drawn again as they are.
Click = Callable[[AppTest, int], Any]
CLICKS: dict[str, tuple[str, Click]] = {
    "decision": (
        "another margin",
        lambda at, turn: labelled(at.number_input, "Worth it").set_value(0.1 * turn),
    ),
    "scores": (
        "another baseline",
        lambda at, turn: labelled(at.selectbox, "Against").set_value(("", "lora", "rag")[turn]),
    ),
    "examples": ("find a word", lambda at, turn: at.text_input[0].set_value(("", "pumpe", "rückgabe")[turn])),
    "cost": (
        "another volume",
        lambda at, turn: labelled(at.number_input, "Requests").set_value(90_000.0 * turn),
    ),
}
AGAIN: tuple[str, Click] = ("drawn again", lambda at, turn: at)


def resident_mb() -> float:
    """Memory of this process, MB; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def timed(draw: Callable[[], AppTest]) -> tuple[float, AppTest]:
    """CPU seconds of one drawing. Raises what the page raised."""
    start = time.process_time()
    at = draw()
    took = time.process_time() - start
    if at.exception:
        raise RuntimeError(at.exception[0].value)
    return took, at


def opened(view: str) -> Callable[[], AppTest]:
    """A new session that goes straight to a page."""

    def draw() -> AppTest:
        at = AppTest.from_file(str(MAIN), default_timeout=900)
        at.switch_page(f"views/{view}.py")
        return at.run()

    return draw


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="where the run is made, or lies from the last time")
    asked = parser.parse_args()
    set_log_level("error")
    with tempfile.TemporaryDirectory() as scratch:
        root = asked.keep or Path(scratch)
        if not any(root.glob("*/run.json")):
            make_run(root, samples=asked.samples)
        os.environ["WORKBENCH_RUNS"] = str(root)
        print(f"{'page':<10}{'cold':>8}{'paint':>8}{'click':>8}{'click':>8}{'memory':>9}")
        for view in VIEWS:
            cold, _ = timed(opened(view))
            paint, at = timed(opened(view))
            words, click = CLICKS.get(view, AGAIN)
            first, at = timed(click(at, 1).run)
            second, at = timed(click(at, 2).run)
            times = "".join(f"{took:>8.2f}" for took in (cold, paint, first, second))
            print(f"{view:<10}{times}{resident_mb():>6.0f} MB  {words}", flush=True)


if __name__ == "__main__":
    main()
