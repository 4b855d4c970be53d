"""The key of a server: where it comes from, and that it is never shown."""

from __future__ import annotations

import os
from pathlib import Path

from ..settings import OpenAIBackend as Settings
from . import BackendError

# What a client sends to a server that wants no key.
NO_KEY = "none"


class ApiKey:
    """Read anew each time: a file may be changed while a run goes on, a variable cannot."""

    def __init__(self, settings: Settings, base: Path) -> None:
        self._file = base / Path(settings.api_key_file).expanduser() if settings.api_key_file else None
        self._variable = settings.api_key_env
        self._seen: dict[str, None] = {}
        # In words, for whoever has to mend it.
        self.place = settings.api_key_file or f"the variable {settings.api_key_env}"
        if self.read() == NO_KEY and (self._file or settings.base_url is None):
            raise BackendError(f"model {settings.model!r} needs an API key: {self.cure}")

    @property
    def cure(self) -> str:
        """What to do where the key is missing or wrong."""
        return f"put it into {self.place}" if self._file else f"set {self.place}"

    def read(self) -> str:
        """The key as it stands now; NO_KEY where there is none. Raises BackendError for an unreadable file."""
        key = os.environ.get(self._variable, "").strip() if self._file is None else self._in_file(self._file)
        if not key.isascii() or not key.isprintable():
            raise BackendError(f"the key in {self.place} holds characters that no key has: copy it again")
        if key:
            self._seen[key] = None
        # A file that is just being written anew is empty or gone: the last key goes on for that moment.
        return key or next(reversed(self._seen), NO_KEY)

    def _in_file(self, file: Path) -> str:
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            if self._seen:
                return ""
            why = getattr(error, "strerror", None) or "it is no text"
            raise BackendError(f"api_key_file {self.place} cannot be read: {why}") from None

    def hide(self, text: str) -> str:
        """The text without any key that was read, which some servers repeat."""
        for key in self._seen:
            text = text.replace(key, "[key]")
        return text
