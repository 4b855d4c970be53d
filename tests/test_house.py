"""The house rules: which floor may import which, what stays light, what never appears in the tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("validators", "metrics", "workbench", "apps")

# Every module by its longest prefix here. Imports go to the same or a lower floor.
FLOORS: dict[int, tuple[str, ...]] = {
    0: ("validators", "metrics"),
    1: (
        *("experiment", "experiment_file", "sections", "settings", "recipe"),
        *(
            "adapters",
            "amounts",
            "files",
            "records",
            "runs",
            "splits",
            "splitting",
            "data",
            "models",
            "spending",
        ),
        *("hosted_price", "checkup", "lengths", "shapes", "forecast"),
    ),
    2: ("answers", "backends", "hosted", "personal_data", "retrieval", "training"),
    3: ("pairing", "contenders", "judge", "forgetting", "merging"),
    4: (
        *(
            "compare",
            "compare_text",
            "scoring",
            "evidence",
            "difference",
            "failures",
            "gates",
            "money",
            "odds",
            "table",
            "caveats",
            "comparisons",
            "advice",
            "verdict",
            "harm",
            "licence",
            "curve",
            "card",
            "charts",
            "charts_data",
            "charts_money",
            "charts_scores",
            "charts_runs",
            "charts_training",
            "document",
            "choosing",
            "consent",
            "contest",
            "provenance",
            "designs",
            "curve",
        ),
        *("judging", "judge_facts", "ratings", "calibrating", "human", "blind", "across"),
        *(
            "report",
            "report_facts",
            "report_choices",
            "report_figures",
            "report_harm",
            "report_money",
            "report_samples",
            "report_scores",
            "plan",
            "plan_contender",
            "plan_prompts",
            "plan_text",
            "plan_training",
            "model_card",
        ),
        *("estimates", "inference", "margins", "means", "shelf", "doctor"),
        *("proposal", "proposal_columns", "proposal_text", "draft"),
    ),
    5: ("session", "logbook", "runner", "answers_run", "predictor", "tuning", "export"),
    6: ("cli", "__main__", "apps"),
}
FLOOR_OF = {
    name if name in PACKAGES else f"workbench.{name}": floor
    for floor, names in FLOORS.items()
    for name in names
}
HEAVY = ("torch", "transformers", "datasets", "evaluate", "sklearn", "streamlit", "polars", "altair")


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def floor_of(module: str) -> int | None:
    prefixes = (module.rsplit(".", cut)[0] for cut in range(module.count(".") + 1))
    return next((FLOOR_OF[prefix] for prefix in prefixes if prefix in FLOOR_OF), None)


def imports(module: str, *, everywhere: bool = True) -> Iterator[tuple[str, int, int]]:
    """(imported module of ours or package of others, level of the relative import, line)."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            named = [f"{base}.{alias.name}" for alias in node.names]
            inner = [name for name in named if name in MODULES]
            yield from ((name, node.level, node.lineno) for name in inner)
            if len(inner) < len(named):
                yield base, node.level, node.lineno


# -- floors ----------------------------------------------------------------------------------------


def test_every_module_is_on_a_floor() -> None:
    homeless = [m for m in MODULES if m != "workbench" and floor_of(m) is None]
    assert not homeless, (
        f"{homeless} stand on no floor. Add each to FLOORS in tests/test_house.py: 1 reads files, 2 loads models, "
        "3 answers, 4 judges and shows, 5 runs the whole, 6 talks to people. Take the lowest that its imports allow."
    )


def test_no_floor_is_kept_for_a_module_that_is_gone() -> None:
    gone = [name for name in FLOOR_OF if name not in MODULES]
    assert not gone, f"FLOORS in tests/test_house.py names {gone}, which are not in the tree"


@pytest.mark.parametrize("module", [m for m in MODULES if m != "workbench"])
def test_imports_go_down(module: str) -> None:
    own = floor_of(module)
    if own is None:
        pytest.skip("told by test_every_module_is_on_a_floor")
    for target, _, line in imports(module):
        theirs = floor_of(target) if target in MODULES else None
        assert theirs is None or theirs <= own, (
            f"{MODULES[module].relative_to(ROOT)}:{line}: floor {own} imports {target} on floor {theirs}: "
            "imports go down. Move the shared part to the lower floor."
        )


@pytest.mark.parametrize("package", ["validators", "metrics"])
def test_ground_floor_packages_import_only_themselves(package: str) -> None:
    for module in (m for m in MODULES if m.split(".")[0] == package):
        for target, level, line in imports(module):
            place = f"{MODULES[module].relative_to(ROOT)}:{line}"
            assert target.split(".")[0] not in {*PACKAGES} - {package}, f"{place}: imports {target}"
            inside = target.split(".")[0] == package
            assert not inside or level, f"{place}: import {target} relatively; the name may be another's"


def test_no_cycle_between_modules() -> None:
    """Module level only: an import inside a function waits until both sides are whole."""
    graph = {m: {t for t, _, _ in imports(m, everywhere=False) if t in MODULES} - {m} for m in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, "import cycle: " + " → ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_apps_import_no_models() -> None:
    for module in (m for m in MODULES if m.split(".")[0] == "apps"):
        for target, _, line in imports(module):
            top = target.split(".")[0]
            above = target.split(".")[1:2] and target.split(".")[1] in (
                "backends",
                "training",
                "retrieval",
                "contenders",
            )
            assert top not in ("torch", "transformers", "peft") and not (top == "workbench" and above), (
                f"{MODULES[module].relative_to(ROOT)}:{line}: apps read run folders, never {target}"
            )


# -- light imports -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what",
    [
        "import validators",
        "import metrics",
        "import workbench",
        "import workbench.training",
        "workbench --help",
    ],
)
def test_light_imports(what: str) -> None:
    help_ = "import sys, workbench.cli\nsys.argv = ['workbench', '--help']\ntry: workbench.cli.main()\nexcept SystemExit: pass"
    code = help_ if what == "workbench --help" else what
    code += f"\nimport sys; loaded = sorted({{m.split('.')[0] for m in sys.modules}} & set({HEAVY!r}))"
    code += "\nsys.exit('loaded: ' + ', '.join(loaded) if loaded else 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{what}: {done.stderr[-500:]}"


@pytest.mark.parametrize("name", ["validators", "metrics"])
def test_a_foreign_package_of_our_name_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import workbench"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"ImportError: the package {name!r} was found at {tmp_path}")
    assert f"pip uninstall {name}" in last


# -- names ---------------------------------------------------------------------------------------------


def test_no_public_function_shares_a_module_name() -> None:
    for package in PACKAGES:
        submodules = {m.split(".")[-1] for m in MODULES if m.count(".") == 1 and m.startswith(package + ".")}
        tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
        listed = [
            n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"
        ]
        names = set(ast.literal_eval(listed[0])) if listed else set()
        assert not names & submodules, f"`from {package} import {names & submodules}` could yield a module"


def test_no_catch_all_names() -> None:
    for module, path in MODULES.items():
        assert not {"utils", "helpers", "base", "common", "misc"} & set(module.split(".")), path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                assert not node.name.endswith(("Manager", "Helper", "Util")), (
                    f"{path}:{node.lineno}: {node.name}"
                )


def test_nothing_unpickles_and_yaml_is_safe() -> None:
    unsafe = ("pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal")
    for module, path in MODULES.items():
        for target, _, line in imports(module):
            assert target.split(".")[0] not in unsafe, f"{path}:{line}: {target} runs code from files"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called, text = ast.unparse(node.func), ast.unparse(node)
            place = f"{path}:{node.lineno}: {text[:80]}"
            assert called not in ("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"), place
            assert called not in ("eval", "exec"), place
            assert called != "torch.load" or "weights_only=True" in text, place
            assert "allow_pickle=True" not in text and "trust_remote_code=True" not in text, place
            assert "shell=True" not in text, place


# -- packaging -----------------------------------------------------------------------------------------

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", ["validators", "metrics", "workbench"])
def test_types_are_shipped(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"][package]


def test_requirements_have_no_upper_bounds() -> None:
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    assert not [r for r in wanted if re.search(r"<|==|~=", r)]
    assert "<" not in project["requires-python"]


def test_core_is_light() -> None:
    core = {re.split(r"[^\w-]", r)[0].lower() for r in PROJECT["project"]["dependencies"]}
    assert not core & {
        "torch",
        "transformers",
        "datasets",
        "evaluate",
        "scikit-learn",
        "streamlit",
        "litellm",
    }


def test_constraints_keep_the_intruder_out_and_pin_torch() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert "validators<0" in lines
    assert "torch==2.13.0" in lines
    pins = [line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line]
    assert len(pins) == len(set(pins)), "a package is pinned twice"
    assert not [line for line in lines if "+" in line or "@" in line or "/" in line], (
        "a pin only one machine can install"
    )
    assert not {"nvidia-cublas", "triton", "litellm", "validators"} & set(pins)


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_file_tells_of_the_machine_it_was_made_on() -> None:
    # Spelt in pieces, so that this file does not find itself.
    places = re.compile("|".join(["/" + "work/", "/ro" + "ot/", "/ho" + r"me/[a-z]", "/Us" + "ers/[A-Za-z]"]))
    hosts = re.compile("index-" + r"url|extra-" + r"index|artifact" + r"ory|--trusted-" + "host")
    guilty = []
    for path in tracked():
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if places.search(line) or hosts.search(line):
                guilty.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not guilty, "\n".join(guilty)
