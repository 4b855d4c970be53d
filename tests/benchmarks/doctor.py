"""Does the training doctor name what is wrong, and keep quiet where nothing is? All from real trainings.

    python -m tests.benchmarks.doctor [NAME …]

Prints a line a training: what was done to it, what the doctor says, whether that is right. A fault counts as named
where the first symptom has its name (one of its names) and its cure says the word that would mend it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.trainings import BROKEN, HEALTHY, Case, make_base, train
from workbench.checkup import examine


def verdict(case: Case, base: Path, folder: Path) -> tuple[bool, str]:
    """Whether the doctor is right about a training, and what it says."""
    done = train(case, base, folder)
    found = examine(done.log, done.facts)
    if case.expected is None:
        return not found and done.error is None, "; ".join(map(str, found)) or done.error or "nothing"
    name, word = case.expected
    named = bool(found) and found[0].name in name and word in found[0].cure
    return named, str(found[0]) if found else f"nothing ({done.error})"


def main(names: list[str]) -> None:
    """Train and judge."""
    with tempfile.TemporaryDirectory() as scratch:
        base = make_base(Path(scratch))
        for kind, cases in (("broken", BROKEN), ("healthy", HEALTHY)):
            chosen = [case for case in cases if not names or case.name in names]
            right = 0
            for case in chosen:
                begun = time.process_time()
                good, said = verdict(case, base, Path(scratch) / case.name)
                right += good
                took = time.process_time() - begun
                print(
                    f"{kind:<8} {case.name:<24} {'right' if good else 'WRONG'}  {took:4.1f} s  {said}",
                    flush=True,
                )
            print(f"{kind}: {right} of {len(chosen)} right\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
