"""Who speaks in each of many chats: few sequences of roles, and the number of each row's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

Order = tuple[str, ...]

SYSTEM = ("system", "developer")
ROLES = (*SYSTEM, "user", "assistant")
_CODES = {role: code for code, role in enumerate(ROLES, 1)}
# Of roles at three bits each so many go into 64 bits.
_CODED = 20


class Orders(msgspec.Struct, frozen=True):
    """The sequences that occur, in the order in which they first do, and (an array) the number of each row's."""

    known: list[Order]
    number: Any

    def __len__(self) -> int:
        return len(self.number)

    def __getitem__(self, row: int) -> Order:
        return self.known[int(self.number[row])]

    def counts(self) -> Iterator[tuple[Order, int]]:
        """Each sequence with how many rows have it."""
        import numpy as np

        yield from zip(self.known, np.bincount(self.number).tolist(), strict=True)

    def of_each(self, values: Sequence[int], kind: Any = None) -> Any:
        """A value of each sequence, row by row, as an array of that kind."""
        import numpy as np

        return np.array(values, kind)[self.number]

    def begins(self) -> Any:
        """Which message is the first of each row."""
        import numpy as np

        count = self.of_each([len(order) for order in self.known])
        return np.cumsum(count) - count

    def said_by(self, *roles: str) -> Any:
        """Which messages these speak."""
        import numpy as np

        marks = [bytes(role in roles for role in order) for order in self.known]
        return np.frombuffer(b"".join([marks[number] for number in self.number.tolist()]), bool)


def numbered(orders: Sequence[Order]) -> Orders:
    """The sequences of roles of rows."""
    import numpy as np

    numbers: dict[Order, int] = {}
    number = [numbers.setdefault(order, len(numbers)) for order in orders]
    return Orders(list(numbers), np.array(number))


def numbered_at_once(roles: Sequence[str], counts: Sequence[int]) -> Orders:
    """The same from the roles of all messages, of ROLES, and how many each row has."""
    import numpy as np

    count = np.array(counts)
    end = np.cumsum(count)
    begin = end - count
    if count.max() > _CODED:
        spans = zip(begin.tolist(), end.tolist(), strict=True)
        return numbered([tuple(roles[a:b]) for a, b in spans])
    codes = np.frombuffer(bytes(map(_CODES.__getitem__, roles)), np.uint8).astype(np.int64)
    place = np.arange(len(codes)) - np.repeat(begin, count)
    keys = np.add.reduceat(codes << 3 * place, begin)
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.argsort(first)
    known = [tuple(roles[begin[row] : end[row]]) for row in first[rank].tolist()]
    return Orders(known, np.argsort(rank)[number])
