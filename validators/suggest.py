"""Nearest known name for a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice

# Names come from the data as well: nobody mistypes a longer one, and to compare more takes for ever.
LONGEST = 200
MOST = 1000
FEW = 50


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known name, or "" when none is near."""
    if len(name) > LONGEST:
        return ""
    names = tuple(islice(known, MOST))
    return _nearest_again(name, names) if len(names) <= FEW else _nearest(name, names)


def _nearest(name: str, known: tuple[str, ...]) -> str:
    from .personal import without_personal

    folded = {k.casefold(): k for k in known}
    near = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f" Did you mean '{without_personal(folded[near[0]])}'?" if near else ""


# Who mistypes a name in one row does so in all.
_nearest_again = lru_cache(maxsize=1024)(_nearest)
