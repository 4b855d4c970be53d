"""Members of a zip archive, read into memory one at a time and never further than a limit.

Nothing is written to disk, so a member's name leads nowhere; sizes that the archive claims are checked
before, and sizes that it turns out to have while decompressing. zstd (method 93), which Python's
zipfile reads only from 3.14 on, goes through zstandard.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import IO

from .types import AnswersError

MEMBER_BYTES = 256 * 2**20
TOTAL_BYTES = 8 * 2**30
ZSTD = 93
_LOCAL_HEADER = struct.Struct("<4s22xHH")


def check_sizes(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse an archive that claims more than the limits. Raises AnswersError."""
    total = 0
    for info in archive.infolist():
        total += info.file_size
        if info.file_size > MEMBER_BYTES or total > TOTAL_BYTES:
            raise _too_large(name, info.filename)


def read_member(archive: zipfile.ZipFile, member: str, name: str) -> bytes:
    """The bytes of one member, at most MEMBER_BYTES. Raises AnswersError for damage and bombs."""
    info = archive.getinfo(member)
    if info.flag_bits & 0x1:
        raise AnswersError(f"{name}: {member} is encrypted. Unpack it with its password first.")
    try:
        packed = _packed(archive, info)
        data = _unpack(info.compress_type, packed, MEMBER_BYTES + 1, name)
    except (OSError, ValueError, EOFError, zlib.error, struct.error) as error:
        if isinstance(error, AnswersError):
            raise
        raise AnswersError(f"{name}: {member} is damaged: {error}.") from None
    if len(data) > MEMBER_BYTES:
        raise _too_large(name, member)
    if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
        raise AnswersError(f"{name}: {member} is damaged: its checksum or size does not fit.")
    return data


def _packed(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    file: IO[bytes] | None = archive.fp
    assert file is not None
    file.seek(info.header_offset)
    magic, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if magic != b"PK\x03\x04":
        raise ValueError("there is no file header where one should be")
    file.seek(name_length + extra_length, io.SEEK_CUR)
    return file.read(info.compress_size)


def _unpack(method: int, packed: bytes, limit: int, name: str) -> bytes:
    if method == zipfile.ZIP_STORED:
        return packed[:limit]
    if method == zipfile.ZIP_DEFLATED:
        return zlib.decompressobj(-15).decompress(packed, limit)
    if method == ZSTD:
        return _unzstd(packed, limit)
    raise AnswersError(f"{name}: compressed by method {method}, which is not read. Pack it with deflate.")


def _unzstd(packed: bytes, limit: int) -> bytes:
    import zstandard

    try:
        reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        return bytes(reader.read(limit))
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None


def _too_large(name: str, member: str) -> AnswersError:
    return AnswersError(
        f"{name}: {member} would unpack to more than {MEMBER_BYTES // 2**20} MiB "
        f"(or all members to more than {TOTAL_BYTES // 2**30} GiB). This is no log that can be read."
    )
