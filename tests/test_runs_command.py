"""`workbench runs`: the list, what is damaged, and what is removed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.example_run import make_run
from workbench.cli.runs import runs
from workbench.runs import Run
from workbench.shelf import folder_bytes, list_runs, remove_run, surplus


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(runs)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def make(root: Path, name: str, created: str, experiment: str = "triage") -> Run:
    """A small run folder: run.json, and splits."""
    folder = Run(root / name)
    folder.write_meta({"experiment": experiment, "status": "success", "created": created, "contenders": []})
    folder.write_splits({"train": ["a"], "dev": [], "test": ["b", "c"]}, [])
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three runs of one experiment, one of another."""
    make(tmp_path, "triage-00000001", "2026-11-01T10:00:00+00:00")
    make(tmp_path, "triage-00000002", "2026-11-02T10:00:00+00:00")
    make(tmp_path, "triage-00000003", "2026-11-03T10:00:00+00:00")
    make(tmp_path, "handbook-00000004", "2026-10-01T10:00:00+00:00", "handbook")
    return tmp_path


def names(root: Path) -> list[str]:
    return [line.name for line in list_runs(root)]


def test_list(root: Path) -> None:
    result = run(root)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].split() == ["run", "status", "created", "test", "verdict", "size"]
    assert [line.split()[0] for line in lines[1:]] == [
        "triage-00000003",
        "triage-00000002",
        "triage-00000001",
        "handbook-00000004",
    ]
    assert lines[1].split()[1:6] == ["success", "2026-11-03", "10:00", "2", "–"]


def test_a_finished_run_shows_its_verdict(tmp_path: Path) -> None:
    finished = make_run(tmp_path)
    verdict = finished.verdict()
    assert verdict is not None
    result = run(tmp_path, "--format", "json")
    answer = json.loads(result.stdout)
    assert answer["schema"] == "workbench.runs/1"
    assert answer["runs"] == [
        {
            "name": "triage-1f2e9a07",
            "experiment": "triage",
            "status": "success",
            "created": finished.meta()["created"],
            "test_samples": 24,
            "headline": verdict.headline,
            "reason": verdict.reason,
            "bytes": folder_bytes(finished.folder),
            "fault": None,
        }
    ]
    assert f"{verdict.headline} · {verdict.reason}" in run(tmp_path).stdout


def test_no_runs(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "gone"):
        result = run(place)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "no runs in" in result.stderr
        assert json.loads(run(place, "--format", "json").stdout)["runs"] == []


def test_a_file_or_one_run_is_no_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "not a folder" in run(tmp_path / "file").stderr
    result = run(root / "triage-00000001")
    assert result.exit_code == 2
    assert f"Give the folder that holds it: {root}" in result.stderr


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("run.json", "{torn", "damaged"),
        ("run.json", "[]", "schema None"),
        ("run.json", '{"schema": "workbench.run/9"}', "schema 'workbench.run/9'"),
        ("splits.json", '{"schema": "workbench.splits/1", "test": 5}', "splits.json: not as a run writes it"),
        ("verdict.json", '{"schema": "workbench.verdict/1"}', "headline"),
        ("verdict.json", "\udcff", "damaged"),
    ],
)
def test_damaged_folders_are_listed_with_their_fault(file: str, content: str, words: str, root: Path) -> None:
    (root / "triage-00000002" / file).write_bytes(content.encode("utf-8", "surrogateescape"))
    result = run(root)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 6
    line = next(line for line in list_runs(root) if line.name == "triage-00000002")
    assert line.fault is not None
    assert words in line.fault
    assert line.bytes > 0


def test_links_are_neither_listed_nor_followed_nor_removed(tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", "far-00000001", "2026-11-01T10:00:00+00:00")
    (outside.folder / "big").write_bytes(b"x" * 10_000)
    root = tmp_path / "runs"
    near = make(root, "near-00000001", "2026-11-01T10:00:00+00:00")
    before = folder_bytes(near.folder)
    (root / "link").symlink_to(outside.folder)
    (near.folder / "link").symlink_to(outside.folder)
    assert names(root) == ["near-00000001"]
    assert folder_bytes(near.folder) == before
    assert run(root, "--remove", "link", "--yes").exit_code == 2
    assert run(root, "--remove", "near-00000001", "--yes").exit_code == 0
    assert (outside.folder / "big").exists()
    assert names(root) == []


def test_keep_removes_the_older_of_each_experiment(root: Path) -> None:
    assert [line.name for line in surplus(list_runs(root), 2)] == ["triage-00000001"]
    result = run(root, "--keep", 1, "--yes")
    assert result.exit_code == 0
    assert result.stdout.startswith("removed 2 runs")
    assert names(root) == ["triage-00000003", "handbook-00000004"]
    assert run(root, "--keep", 1, "--yes").stdout.startswith("removed 0 runs")


def test_keep_leaves_damaged_folders_alone(root: Path) -> None:
    (root / "triage-00000001" / "run.json").write_text("{")
    run(root, "--keep", 1, "--yes")
    assert names(root) == ["triage-00000003", "handbook-00000004", "triage-00000001"]


def test_remove_wants_a_yes(root: Path) -> None:
    result = run(root, "--remove", "triage-00000001")
    assert result.exit_code == 2
    assert "Add --yes" in result.stderr
    assert len(names(root)) == 4
    answer = json.loads(run(root, "--remove", "triage-00000001", "--yes", "--format", "json").stdout)
    assert answer == {"schema": "workbench.removed/1", "removed": ["triage-00000001"], "faults": {}}
    assert len(names(root)) == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("triage-0000001", "Did you mean 'triage-00000001'?"),
        ("..", "There are: triage-00000003"),
        ("../elsewhere", "holds no run named"),
        ("/", "holds no run named"),
        ("", "holds no run named"),
    ],
)
def test_names_that_are_no_run(name: str, words: str, root: Path) -> None:
    result = run(root, "--remove", name, "--yes")
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(names(root)) == 4


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/tmp", ".hidden", "-rf", "a" * 90, "a\nb", ""])
def test_remove_run_takes_plain_names_only(name: str, tmp_path: Path) -> None:
    assert remove_run(tmp_path, name) == "not a run's name"


def test_a_run_in_use_stays(root: Path) -> None:
    code = (
        "import sys; from workbench.runs import Run\n"
        "with Run(__import__('pathlib').Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(root / "triage-00000001")],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    result = run(root, "--remove", "triage-00000001", "--yes")
    holder.communicate("")
    assert result.exit_code == 2
    assert "in use by another workbench process" in result.stderr
    assert "triage-00000001" in names(root)


def test_nothing_in_a_folder_drives_the_terminal(tmp_path: Path) -> None:
    make(tmp_path, "triage-00000001", "\x1b[31m2026-11-01")
    assert "\x1b" not in run(tmp_path).stdout
