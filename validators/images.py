"""Images written into a row: what they are and how large, from a few bytes of them."""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

_HEAD = re.compile(r"data:([^;,]{0,80})((?:;[^;,]{0,80}){0,5}),", re.IGNORECASE)
_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)
_HEIC = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
# Characters of base64 that hold every signature above.
_ENOUGH = 24


class Embedded(msgspec.Struct, frozen=True):
    """An image in a data URI: the type it says, the type its first bytes show (None: no image known), its bytes."""

    said: str
    shown: str | None
    size: int


def scheme_of(reference: str) -> str:
    """How a reference points to an image: data, http, gs, or path for everything else."""
    head = reference[:16].casefold()
    if head.startswith("data:"):
        return "data"
    if head.startswith(("http://", "https://")):
        return "http"
    return "gs" if head.startswith("gs://") else "path"


def is_embedded(text: str) -> bool:
    """Whether a text is a file in base64 and no text at all; one that only begins with `data:` is."""
    match = _HEAD.match(text)
    return match is not None and match[2].casefold().endswith(";base64")


def embedded_image(reference: str) -> Embedded | None:
    """Read a base64 data URI without decoding it whole; None where it is none."""
    match = _HEAD.match(reference)
    if match is None or not match[2].casefold().endswith(";base64"):
        return None
    start = match.end()
    padding = 2 - len(reference[-2:].rstrip("="))
    size = (len(reference) - start) * 3 // 4 - (padding if len(reference) > start else 0)
    return Embedded(match[1].casefold(), _shown(reference[start : start + _ENOUGH]), max(0, size))


def _shown(head: str) -> str | None:
    try:
        data = base64.b64decode(head[: len(head) // 4 * 4], validate=True)
    except (ValueError, binascii.Error):
        return None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return "heic" if data[8:12] in _HEIC else "avif" if data[8:12] == b"avif" else None
    return next((name for magic, name in _MAGIC if data.startswith(magic)), None)
