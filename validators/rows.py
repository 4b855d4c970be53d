"""Rows of data files, and the error for data that cannot be read."""

from __future__ import annotations

from typing import Any

import msgspec

BOM = b"\xef\xbb\xbf"
# A longer row is no example: it is told of, and not read.
MAX_ROW_BYTES = 64 * 1024 * 1024


class DataError(ValueError):
    """Data that cannot be read; the message names place, fault and cure."""


class Row(msgspec.Struct, frozen=True):
    """One row and where it begins: the 1-based line (for Parquet, which has no lines, the row)."""

    line: int
    value: dict[str, Any]
