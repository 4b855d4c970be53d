"""Nearest known name for a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

# Names come from the data as well: nobody mistypes a longer one, and to compare more takes for ever.
LONGEST = 200
MOST = 1000


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known name, or "" when none is near."""
    if len(name) > LONGEST:
        return ""
    folded = {k.casefold(): k for k in islice(known, MOST)}
    near = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f" Did you mean '{folded[near[0]]}'?" if near else ""
