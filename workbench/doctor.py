"""What this machine can do: device, memory, packages, offline assets; and what cures each lack."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from validators.assets import ASSETS, cache_folder, cached, fetch

from .models import _cpu_has_bf16, _cpu_name

DISTRIBUTION = "decide-before-you-tune"
# What `dev` and `all` name is not what a user's machine lacks.
EXTRAS = ("fast", "local", "rag", "app", "qlora", "track")
Status = Literal["ok", "missing", "too old", "note"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the diagnosis. `cure` is the exact command for what is not ok; `needed`: the core fails."""

    topic: str
    name: str
    status: Status
    detail: str
    cure: str | None = None
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All checks, in the order in which they are shown."""

    checks: tuple[Check, ...]

    @property
    def works(self) -> bool:
        """Whether everything that the core needs is there."""
        return all(c.status in ("ok", "note") for c in self.checks if c.needed)

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as the `workbench.doctor/1` object."""
        return {
            "schema": "workbench.doctor/1",
            "works": self.works,
            "checks": [asdict(c) for c in self.checks],
        }


def diagnose(environment: Mapping[str, str], *, requirements: Iterable[str] | None = None) -> Diagnosis:
    """Look at the machine. `requirements` replaces what the installed distribution asks for."""
    return Diagnosis(
        (
            *_system(),
            *_packages(requirements),
            *(_asset(name) for name in ASSETS),
            *_settings(environment),
        )
    )


def fetch_missing(tell: Callable[[str], None]) -> None:
    """Fetch every asset that is not there; `tell` hears what happens. Raises AssetError."""
    wanted = [name for name in ASSETS if cached(name) is None]
    for number, name in enumerate(wanted, 1):
        tell(f"{number}/{len(wanted)} {name}")
        fetch(name)
    if not wanted:
        tell("all assets are there")


# -- the machine -------------------------------------------------------------------------------------


def _system() -> list[Check]:
    version = platform.python_version()
    old = sys.version_info < (3, 11)
    bf16 = "bf16 products in hardware" if _cpu_has_bf16() else "no bf16 products: float32 is used"
    cpu = f"{_cpu_name()}, {_cores()} cores, {bf16}"
    total, available = memory()
    return [
        Check(
            "machine",
            "python",
            "too old" if old else "ok",
            f"{version} ({sys.prefix})",
            "install Python 3.11 or newer, then: python3.11 -m venv .venv" if old else None,
            needed=True,
        ),
        Check("machine", "cpu", "ok", cpu),
        _accelerator(),
        Check("machine", "memory", "ok" if total else "note", _memory_text(total, available)),
        _disk(),
    ]


def _cores() -> int:
    """Cores this process may use, which a container can make fewer than there are."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _accelerator() -> Check:
    """CUDA or MPS, asked of torch; without an NVIDIA driver or a Mac there is nothing to import it for."""
    mac = sys.platform == "darwin" and platform.machine() == "arm64"
    if not (
        mac or Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists() or shutil.which("nvidia-smi")
    ):
        return Check("machine", "accelerator", "note", "none: models run on the CPU")
    try:
        import torch

        if torch.cuda.is_available():
            cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
            words = ", ".join(f"{c.name} ({_gb(c.total_memory)})" for c in cards)
            return Check("machine", "accelerator", "ok", f"cuda: {words}")
        if torch.backends.mps.is_available():
            return Check("machine", "accelerator", "ok", "mps: the GPU shares the machine's memory")
    except Exception as error:  # a broken torch raises ImportError, OSError or RuntimeError by its cause
        first = (str(error).splitlines() or [type(error).__name__])[0]
        cure = "pip install --force-reinstall torch"
        return Check(
            "machine", "accelerator", "missing", f"one is here, but torch cannot say more: {first}", cure
        )
    cure = "install torch's build for your CUDA version (its installation page names the pip command)"
    return Check("machine", "accelerator", "missing", "one is here, but this torch cannot use it", cure)


def memory() -> tuple[int | None, int | None]:
    """Bytes of memory: (total, available); None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {
            k: int(v.split()[0]) * 1024 for k, _, v in (line.partition(":") for line in lines) if v.strip()
        }
        return sizes.get("MemTotal"), sizes.get("MemAvailable")
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    except (OSError, ValueError):
        return None, None


def _memory_text(total: int | None, available: int | None) -> str:
    if total is None:
        return "not known on this system"
    return _gb(total) + (f", {_gb(available)} available" if available is not None else "")


def _disk() -> Check:
    cache = cache_folder()
    there = next(p for p in (cache, *cache.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    needed = sum(a.needs_mb for name, a in ASSETS.items() if cached(name) is None) * 2**20
    writable = os.access(there, os.W_OK)
    if free >= needed and writable:
        return Check("machine", "disk", "ok", f"{_gb(free)} free for assets in {cache}")
    fault = f"{_gb(free)} free, {_gb(needed)} needed" if writable else "not writable"
    cure = "export WORKBENCH_CACHE=FOLDER with room and write permission"
    return Check("machine", "disk", "missing", f"{cache}: {fault}", cure)


# -- packages ----------------------------------------------------------------------------------------


def _packages(requirements: Iterable[str] | None) -> list[Check]:
    if requirements is None:
        try:
            requirements = importlib.metadata.requires(DISTRIBUTION) or []
        except importlib.metadata.PackageNotFoundError:
            cure = f"pip install {DISTRIBUTION} (in a checkout: pip install -e .)"
            return [Check("packages", DISTRIBUTION, "missing", "not installed", cure, needed=True)]
    return [
        _package(*parts) for parts in map(parse_requirement, requirements) if parts[2] in ("core", *EXTRAS)
    ]


def parse_requirement(text: str) -> tuple[str, str | None, str]:
    """A requirement of our own metadata as (name, lower bound or None, extra or "core").

    Only the forms that pyproject.toml uses: a name, `>=` bounds, an `extra ==` marker.
    """
    spec, _, marker = text.partition(";")
    name = re.match(r"[A-Za-z0-9._-]+", spec.strip())
    bound = re.search(r">=\s*([0-9][0-9.]*)", spec)
    extra = re.search(r"""extra\s*==\s*["']([^"']+)""", marker)
    return name[0] if name else spec, bound[1] if bound else None, extra[1] if extra else "core"


def _package(name: str, bound: str | None, extra: str) -> Check:
    topic = "core packages" if extra == "core" else f"extra {extra}"
    core = extra == "core"
    cure = f"pip install '{name}>={bound}'" if core and bound else f"pip install '{DISTRIBUTION}[{extra}]'"
    wanted = f"from {bound} on" if bound else "any version"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(topic, name, "missing", wanted, cure, needed=core)
    if bound and _release(version) < _release(bound):
        return Check(
            topic, name, "too old", f"{version}, needed {wanted}", f"pip install '{name}>={bound}'", core
        )
    return Check(topic, name, "ok", version, needed=core)


def _release(version: str) -> tuple[int, ...]:
    """`2.13.0+cpu` → (2, 13): numbers of the release, trailing zeros off, so that 5.0 equals 5."""
    numbers = [int(part) for part in re.match(r"[0-9.]*", version)[0].split(".") if part]  # type: ignore[index]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


# -- assets and settings -----------------------------------------------------------------------------


def _asset(name: str) -> Check:
    asset, folder = ASSETS[name], cached(name)
    if folder is None:
        detail = f"{asset.what}; {asset.download_mb} MB to download"
        return Check("assets", name, "missing", detail, "workbench doctor --fetch")
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    return Check("assets", name, "ok", f"{size / 1e6:,.0f} MB in {folder}")


def _settings(environment: Mapping[str, str]) -> list[Check]:
    token = environment.get("HF_TOKEN")
    said = "set" if token else "not set: gated hub models cannot be fetched"
    cure = None if token else "export HF_TOKEN=… (a token of your hub account)"
    checks = [Check("settings", "HF_TOKEN", "ok" if token else "note", said, cure)]
    folder = environment.get("TIKTOKEN_CACHE_DIR")
    if not folder:
        return [
            *checks,
            Check("settings", "TIKTOKEN_CACHE_DIR", "note", "not set: the embedded vocabularies are used"),
        ]
    if Path(folder).is_dir():
        return [*checks, Check("settings", "TIKTOKEN_CACHE_DIR", "ok", folder)]
    fault = f"{folder}: no such folder, tiktoken will try to download into it"
    return [*checks, Check("settings", "TIKTOKEN_CACHE_DIR", "missing", fault, "unset TIKTOKEN_CACHE_DIR")]


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"
