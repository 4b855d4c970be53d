"""`workbench doctor`: what is there, what lacks, and the command that cures it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from validators.assets import ASSETS, STAMP, AssetError
from workbench import doctor as module
from workbench.cli.doctor import doctor
from workbench.doctor import Diagnosis, diagnose, fetch_missing, parse_requirement

SECRET = "hf_thisMustNeverBeShown"


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(doctor)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty asset cache of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("WORKBENCH_CACHE", str(folder))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    return folder


def put(cache: Path, name: str, size: int = 2_000_000) -> Path:
    folder = cache / f"{name}-{ASSETS[name].files[0].sha256[:8]}"
    folder.mkdir(parents=True)
    (folder / "data").write_bytes(b"x" * size)
    (folder / STAMP).touch()
    return folder


def found(diagnosis: Diagnosis, name: str) -> tuple[str, str, str | None]:
    check = next(c for c in diagnosis.checks if c.name == name)
    return check.status, check.detail, check.cure


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("numpy>=1.26", ("numpy", "1.26", "core")),
        ("torch>=2.6; extra == 'local'", ("torch", "2.6", "local")),
        ('rouge-score>=0.1.2 ; extra == "dev"', ("rouge-score", "0.1.2", "dev")),
        ("types-PyYAML; extra == 'dev'", ("types-PyYAML", None, "dev")),
        (
            "decide-before-you-tune[fast,local]; extra == 'all'",
            ("decide-before-you-tune", None, "all"),
        ),
    ],
)
def test_requirements(text: str, parts: tuple[str, str | None, str]) -> None:
    assert parse_requirement(text) == parts


@pytest.mark.parametrize(
    ("installed", "bound", "status"),
    [
        ("2.13.0+cpu", "2.6", "ok"),
        ("2.6", "2.6.0", "ok"),
        ("5.0.0rc1", "5.0", "ok"),
        ("1.9.0.post1", "1.10", "too old"),
        ("0.8", "0.8.1", "too old"),
    ],
)
def test_versions_against_lower_bounds(
    installed: str, bound: str, status: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.importlib.metadata, "version", lambda name: installed)
    said = diagnose({}, requirements=[f"torch>={bound}; extra == 'local'"])
    assert found(said, "torch")[0] == status
    assert said.works, "an extra's package is no need of the core"


def test_missing_packages_and_their_cures(cache: Path) -> None:
    said = diagnose(
        {}, requirements=["no-such-thing>=2", "nor-this>=1; extra == 'rag'", "other; extra == 'dev'"]
    )
    assert found(said, "no-such-thing") == ("missing", "from 2 on", "pip install 'no-such-thing>=2'")
    assert found(said, "nor-this") == ("missing", "from 1 on", "pip install 'decide-before-you-tune[rag]'")
    assert not any(c.name == "other" for c in said.checks)
    assert not said.works


def test_a_distribution_that_is_not_installed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DISTRIBUTION", "no-such-distribution")
    result = run()
    assert result.exit_code == 2
    assert "pip install no-such-distribution" in result.stdout
    assert "(needed)" in result.stdout


def test_text(cache: Path) -> None:
    put(cache, "minilm-l6-v2")
    result = run()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")][:2] == ["machine", "core packages"]
    assert any(line.split()[:4] == ["minilm-l6-v2", "ok", "2", "MB"] for line in lines)
    assert sum(line.strip() == "workbench doctor --fetch" for line in lines) == 2
    assert "\x1b[" not in result.stdout, "no colours where no terminal is"
    assert lines[-1].startswith("The core works")


def test_json(cache: Path) -> None:
    result = run("--format", "json")
    answer = json.loads(result.stdout)
    assert (answer["schema"], answer["works"]) == ("workbench.doctor/1", True)
    assert set(answer["checks"][0]) == {"topic", "name", "status", "detail", "cure", "needed"}
    names = {c["name"] for c in answer["checks"]}
    assert {"python", "cpu", "accelerator", "memory", "disk", "numpy", "torch", "HF_TOKEN", *ASSETS} <= names
    assert all(c["cure"] for c in answer["checks"] if c["status"] in ("missing", "too old"))


def test_the_token_is_never_shown(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(diagnose({}, requirements=[]), "HF_TOKEN")[0] == "note"
    monkeypatch.setenv("HF_TOKEN", SECRET)
    for result in (run(), run("--format", "json")):
        assert SECRET not in result.output
        assert "HF_TOKEN" in result.stdout
    assert found(diagnose({"HF_TOKEN": SECRET}, requirements=[]), "HF_TOKEN") == ("ok", "set", None)


def test_tiktoken_folder(cache: Path, tmp_path: Path) -> None:
    there = {"TIKTOKEN_CACHE_DIR": str(tmp_path)}
    gone = {"TIKTOKEN_CACHE_DIR": str(tmp_path / "gone")}
    assert found(diagnose({}, requirements=[]), "TIKTOKEN_CACHE_DIR")[0] == "note"
    assert found(diagnose(there, requirements=[]), "TIKTOKEN_CACHE_DIR") == ("ok", str(tmp_path), None)
    assert found(diagnose(gone, requirements=[]), "TIKTOKEN_CACHE_DIR")[2] == "unset TIKTOKEN_CACHE_DIR"


def test_a_full_disk_names_the_cure(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 5_000_000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    status, detail, cure = found(diagnose({}, requirements=[]), "disk")
    assert (status, cure) == ("missing", "export WORKBENCH_CACHE=FOLDER with room and write permission")
    assert "0.0 GB free, 1.2 GB needed" in detail


def test_fetch_takes_only_what_lacks(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cache, "minilm-l6-v2")
    fetched: list[str] = []
    monkeypatch.setattr(module, "fetch", lambda name: fetched.append(name) or put(cache, name))
    told: list[str] = []
    fetch_missing(told.append)
    assert fetched == ["smollm2-135m-instruct", "tiktoken"]
    assert told == ["1/2 smollm2-135m-instruct", "2/2 tiktoken"]
    fetch_missing(told.append)
    assert told[-1] == "all assets are there"


def test_a_failed_fetch_exits_2_and_still_shows_the_rest(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> Path:
        raise AssetError(f"no network for {name}")

    monkeypatch.setattr(module, "fetch", fail)
    result = run("--fetch")
    assert result.exit_code == 2
    assert "doctor: no network for smollm2-135m-instruct" in result.stderr
    assert "core packages" in result.stdout


def test_fetch_and_offline_exclude_each_other(cache: Path) -> None:
    assert run("--fetch", "--offline").exit_code == 2


def test_a_broken_torch_is_said_not_raised(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setitem(sys.modules, "torch", None)
    status, detail, cure = found(diagnose({}, requirements=[]), "accelerator")
    assert (status, cure) == ("missing", "pip install --force-reinstall torch")
    assert "torch cannot say more" in detail


def test_no_torch_is_loaded_where_no_accelerator_is() -> None:
    code = (
        "import sys; from workbench import doctor as d; d.shutil.which = lambda name: None;"
        "d.Path.exists = lambda self: False; d._accelerator(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent).returncode == 0
