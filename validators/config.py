"""Defaults of `lint` and `cost` from the nearest pyproject.toml or workbench.toml.

`[tool.workbench.lint]` and `[tool.workbench.cost]` in the one, `[lint]` and `[cost]` in the other. Keys are the
flags' names. Flags win; what is unknown is refused.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from .findings import Severity, quoted
from .ignoring import Ignores, read_ignores
from .suggest import did_you_mean


class ConfigError(ValueError):
    """A configuration file is wrong; names the file, the key and the cure."""


class LintSettings(msgspec.Struct, frozen=True, rename="kebab"):
    """What `lint` runs with. `ignores` are the per-file ignores with the folder they count from."""

    target: str = "generic"
    input_format: str = "auto"
    model: str | None = None
    tokenizer: str | None = None
    max_length: int | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_file_ignores: dict[str, tuple[str, ...]] = {}
    fail_on: Severity = "error"
    exit_zero: bool = False
    max_findings: int = 1000
    jobs: int | None = None
    format: Literal["text", "json", "jsonl", "github", "sarif"] = "text"
    folder: Path = Path()

    @property
    def ignores(self) -> Ignores:
        """The per-file ignores. Raises RuleError for unknown codes."""
        return read_ignores(self.per_file_ignores, self.folder)


class CostSettings(msgspec.Struct, frozen=True, rename="kebab"):
    """What `cost` runs with. `prices` is a file; in a configuration its path counts from there."""

    model: str | None = None
    epochs: int | Literal["auto"] = "auto"
    tokenizer: str | None = None
    max_length: int | None = None
    prices: str | None = None
    folder: Path = Path()


TABLES: dict[str, type[LintSettings] | type[CostSettings]] = {"lint": LintSettings, "cost": CostSettings}
# Set by the reader, not by the user.
_NO_KEYS = ("folder",)

Settings = TypeVar("Settings", LintSettings, CostSettings)


def lint_settings(paths: Sequence[Path], given: Mapping[str, Any]) -> LintSettings:
    """The configuration for these files, overridden by the flags that were given (those not None).

    Raises ConfigError.
    """
    return _override(_read(paths, "lint", LintSettings), given)


def cost_settings(paths: Sequence[Path], given: Mapping[str, Any]) -> CostSettings:
    """The configuration for these files, overridden by the flags that were given (those not None).

    Raises ConfigError.
    """
    settings = _read(paths, "cost", CostSettings)
    if settings.prices is not None:
        settings = msgspec.structs.replace(settings, prices=str(settings.folder / settings.prices))
    return _override(settings, given)


def find_config(paths: Sequence[Path]) -> Path | None:
    """The file that holds the configuration: nearest upwards from the first data file, else from here."""
    # A name that no file can have is told of by the one who reads it.
    named = [path.expanduser().resolve() for path in paths if str(path) != "-" and "\0" not in str(path)][:1]
    for start in (*(path if path.is_dir() else path.parent for path in named), Path.cwd()):
        for folder in (start, *start.parents):
            own, project = folder / "workbench.toml", folder / "pyproject.toml"
            if own.is_file():
                return own
            if project.is_file() and "workbench" in _load(project).get("tool", {}):
                return project
    return None


def _override(settings: Settings, given: Mapping[str, Any]) -> Settings:
    return msgspec.structs.replace(settings, **{k: v for k, v in given.items() if v is not None})


def _read(paths: Sequence[Path], table: str, kind: type[Settings]) -> Settings:
    file = find_config(paths)
    if file is None:
        return kind()
    tables = _load(file)
    if file.name == "pyproject.toml":
        tables = tables["tool"]["workbench"]
    prefix = "tool.workbench." if file.name == "pyproject.toml" else ""
    if not isinstance(tables, dict):
        raise ConfigError(f"{file}: [tool.workbench] must be a table with {' and '.join(TABLES)}.")
    for name in tables:
        if name not in TABLES:
            hint = did_you_mean(name, TABLES)
            raise ConfigError(f"{file}: unknown table [{prefix}{name}]: known are {', '.join(TABLES)}.{hint}")
    values = tables.get(table, {})
    place = f"{file}: [{prefix}{table}]"
    if not isinstance(values, dict):
        raise ConfigError(f"{place} must be a table.")
    known = [field.encode_name for field in msgspec.structs.fields(kind) if field.name not in _NO_KEYS]
    keys = {key.replace("_", "-"): value for key, value in values.items()}
    for key in keys:
        if key not in known:
            raise ConfigError(
                f"{place}: unknown key {quoted(key)}: known are {', '.join(known)}.{did_you_mean(key, known)}"
            )
    try:
        settings = msgspec.convert(keys, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{place}: {error}.") from error
    _check_numbers(settings, place)
    return msgspec.structs.replace(settings, folder=file.parent)


def _check_numbers(settings: LintSettings | CostSettings, place: str) -> None:
    """The same limits that the flags have."""
    for name, least in (("max_length", 1), ("max_findings", 0), ("jobs", 1)):
        value = getattr(settings, name, None)
        if value is not None and value < least:
            raise ConfigError(f"{place}: {name.replace('_', '-')} must be at least {least}, not {value}.")


def _load(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: not a TOML file that can be read: {error}.") from error
