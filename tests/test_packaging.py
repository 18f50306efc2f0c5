"""What the project says of itself in several places must agree, and hold on every machine."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from lib.course import constraints

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; pytest brings it there
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
NOT_OURS = {".git", ".venv", "__pycache__", ".ipynb_checkpoints", ".hypothesis", ".jupyter"}
NOT_OURS |= {".pytest_cache", ".ruff_cache", "node_modules"}


def read(name: str) -> str:
    """The text of a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def files() -> list[Path]:
    """Every text file of the project."""
    found = []
    for path in sorted(ROOT.rglob("*")):
        parts = set(path.relative_to(ROOT).parts)
        if path.is_file() and not parts & NOT_OURS and ".egg-info" not in str(path):
            found.append(path)
    return found


PROJECT = tomllib.loads(read("pyproject.toml"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [*PROJECT["dependencies"], *EXTRAS["dev"], *EXTRAS["oracle"]]
NAMES = [re.match(r"[A-Za-z0-9._-]+", requirement).group() for requirement in REQUIREMENTS]
PINS = [line for line in read("constraints.txt").splitlines() if not line.startswith("#")]
MATRIX = re.findall(
    r'"(3\.\d+)"', re.search(r"python: \[.*\]", read(".github/workflows/test.yml"))[0]
)


# --- one list of dependencies ---------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_dependency_has_its_reason_beside_it(name):
    line = next(line for line in read("pyproject.toml").splitlines() if f'"{name}' in line)
    assert len(line.partition("#")[2].split()) >= 2, f"say in a comment why {name} is needed"


def test_environment_yml_installs_the_project_and_repeats_no_dependency():
    lines = [line.strip() for line in read("environment.yml").splitlines()]
    listed = [line[2:] for line in lines if line.startswith("- ")]
    assert [re.split("[=<>]", entry)[0] for entry in listed] == ["python", "pip", "pip:", "-e ."]


def test_the_names_that_the_constraints_check_reads_are_all_of_pyproject():
    assert constraints.declared(ROOT) == NAMES


def test_every_dependency_has_an_exact_version():
    assert constraints.unpinned(ROOT) == [], "run `python course.py constraints`"


def test_a_constraint_is_a_name_an_exact_version_and_perhaps_a_marker():
    marker = r"[A-Za-z_]+ (==|!=|<|<=|>|>=) '[A-Za-z0-9_.*]+'"
    markers = rf"\(*{marker}\)*( (and|or) \(*{marker}\)*)*"
    pin = re.compile(rf"[a-z0-9-]+==[0-9][0-9a-z.]*( ; {markers})?")
    assert [line for line in PINS if not pin.fullmatch(line)] == []


def test_torch_is_the_same_in_every_list():
    torch = next(requirement for requirement in REQUIREMENTS if requirement.startswith("torch"))
    assert torch in PINS


# --- one range of Pythons -------------------------------------------------------------------------


def test_the_oldest_python_is_the_same_everywhere():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert MATRIX[0] == oldest
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in read("course.py")
    assert f"Python {oldest}" in read("README.md")
    assert f'target-version = "py{oldest.replace(".", "")}"' in read("pyproject.toml")


def test_the_newest_python_is_the_same_everywhere():
    newest = MATRIX[-1]
    assert f"Python 3.10 to {newest}" in read("course.py")
    assert f"3.10 to {newest}" in read("README.md")


def test_the_code_parses_on_the_oldest_python():
    for file in files():
        if file.suffix == ".py":
            ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 10))


# --- one way to test ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_the_test_command_is_the_same_everywhere(name):
    assert re.search(r"python3? course\.py test", read(name))


def test_the_workflow_runs_the_test_command_on_all_three_systems():
    workflow = read(".github/workflows/test.yml")
    assert "run: python course.py test\n" in workflow
    assert re.search(r"ubuntu-\S+ macos-\S+ windows-\S+\]", workflow)


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash to ask")
def test_the_ci_script_is_sound_and_stops_at_the_first_failure():
    script = ROOT / ".ci" / "run"
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", script.name], cwd=script.parent, check=True)


# --- on every machine -----------------------------------------------------------------------------

HOSTS = ["pypi" + ".org", "python" + "hosted.org", "pytorch" + ".org/whl", "anaconda" + ".org"]
HOSTS += ["conda" + ".io", "npmjs" + ".org", "tsinghua" + ".edu", "aliyun" + ".com"]


def test_no_file_names_a_package_index():
    named = [
        f"{file.relative_to(ROOT)}: {host}"
        for file in files()
        for host in HOSTS
        if host.encode() in file.read_bytes()
    ]
    assert named == [], "leave the choice of the index to the user's pip"


def test_no_file_names_a_path_of_one_machine():
    home = re.compile(rb"/(?:root|home/\w+|Users/\w+)/[\w.]|[A-Z]:\\\\?Users\\\\?\w")
    named = [str(file.relative_to(ROOT)) for file in files() if home.search(file.read_bytes())]
    assert named == [], "write paths relative to the project"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone of the repository")
def test_git_ignores_neither_lib_nor_the_notebooks():
    wanted = ["lib/new.py", "lib/course/new.py", "chapters/22_new.ipynb", "assets/new.svg"]
    answer = subprocess.run(["git", "check-ignore", *wanted], cwd=ROOT, capture_output=True)
    assert answer.stdout.decode() == ""


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone of the repository")
def test_git_ignores_what_one_machine_writes():
    written = [".venv/pyvenv.cfg", ".venv.lock", "uv.lock", ".progress.jsonl"]
    answer = subprocess.run(["git", "check-ignore", *written], cwd=ROOT, capture_output=True)
    assert answer.stdout.decode().split() == written


def test_lib_is_importable_from_any_directory(tmp_path):
    command = [sys.executable, "-c", "import lib.course; print(lib.__file__)"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert Path(answer.stdout.decode().strip()) == ROOT / "lib" / "__init__.py"


def test_every_package_of_lib_is_declared():
    declared = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]["packages"]
    found = [path.parent.relative_to(ROOT) for path in (ROOT / "lib").rglob("__init__.py")]
    assert sorted(".".join(path.parts) for path in found) == sorted(declared)


# --- with and without the extras ------------------------------------------------------------------

EXTRA_MODULES = {
    "hypothesis",
    "jupytext",
    "nltk",
    "tiktoken",
    "transformers",
    "uv",
    "pre_commit",
    "xdist",
}


def imported(source: str) -> set[str]:
    """The top-level modules that Python source imports with an import statement."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("file", sorted((ROOT / "tests").rglob("*.py")), ids=lambda f: f.stem)
def test_a_test_that_needs_an_extra_is_skipped_without_it(file):
    source = file.read_text(encoding="utf-8")
    for module in imported(source) & EXTRA_MODULES:
        assert f'importorskip("{module}"' in source, (
            f'`pytest.importorskip("{module}", reason="install the ... extra")` goes above the '
            f"import: `pip install -e .` alone brings no {module}"
        )


@pytest.mark.parametrize("folder", ["chapters", "solutions", "lib"])
def test_what_learners_run_needs_no_extra(folder):
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix == ".py":
            sources = [path.read_text(encoding="utf-8")]
        elif path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            sources = [cell.source for cell in cells if cell.cell_type == "code"]
        else:
            continue
        for source in sources:
            extra = imported(source) & EXTRA_MODULES
            assert not extra, f"{path.name} imports {extra}: make it a dependency, or go without"
