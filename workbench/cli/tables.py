"""Flags that turn table rows into chats, for the verbs that read data files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from validators.columns import Columns

KEYS = ("input", "output", "system")


def columns_of(pairs: str | None, template: str | None) -> Columns | None:
    """`--columns input=question,output=answer` and `--template` as one; None where neither is given.

    `system` is the text of a system message for every row, not a column. Raises ValueError.
    """
    from validators.columns import Columns
    from validators.suggest import did_you_mean

    if pairs is None and template is None:
        return None
    given: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in (pairs or "").split(","))):
        key, equals, value = pair.partition("=")
        if not equals or key not in KEYS or not value:
            raise ValueError(
                f"--columns takes input=NAME,output=NAME, not '{pair}'.{did_you_mean(key, KEYS) if equals else ''}"
            )
        given[key] = value
    if ("input" in given) == (template is not None):
        raise ValueError(
            "name either an input column (--columns input=NAME) or a --template, one of the two."
        )
    return Columns(template=template, **given)
