"""The launcher, tried on a small project of its own with a pip that only notes what it is asked."""

import ast
import importlib.metadata
import importlib.util
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.course import cli

ROOT = Path(__file__).resolve().parents[1]

FAKE_PIP = """
import json, os, sys
with open(os.environ["FAKE_PIP_LOG"], "a", encoding="utf-8") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
trouble = json.loads(os.environ.get("FAKE_PIP_TROUBLE", "{}"))
for word, output in trouble.items():
    if word in sys.argv:
        sys.exit(output)
print("Collecting torch")
print("  Downloading torch-2.13.0-py3.whl (190.0 MB)")
print("Progress 95000000 of 190000000")
print("Installing collected packages: a, b")
"""

FAKE_CLI = """
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "prefix": sys.prefix}))
sys.exit(7)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of course.py in a folder with a space and Chinese, and what it touches outside."""
    root = tmp_path / "my course 课程"
    (root / "lib" / "course").mkdir(parents=True)
    shutil.copy(ROOT / "course.py", root)
    (root / "pyproject.toml").write_text('dependencies = ["torch==2.13.0"]', encoding="utf-8")
    (root / "constraints.txt").write_text("numpy==2.2.6\n", encoding="utf-8")
    (root / "lib" / "course" / "cli.py").write_text(
        f"def usage():\n    return {cli.usage()!r}\n\n"
        f"if __name__ == '__main__':\n    exec({FAKE_CLI!r})\n",
        encoding="utf-8",
    )
    (tmp_path / "fake" / "pip").mkdir(parents=True)
    (tmp_path / "fake" / "pip" / "__main__.py").write_text(FAKE_PIP, encoding="utf-8")
    log = tmp_path / "pip.log"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.setenv("FAKE_PIP_LOG", str(log))
    for name in ("COURSE_TORCH_INDEX", "COURSE_HERE", "FAKE_PIP_TROUBLE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)

    spec = importlib.util.spec_from_file_location("course_under_test", root / "course.py")
    course = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(course)
    handed = []
    monkeypatch.setattr(course, "hand_over", lambda *what: handed.append(what) or 0)
    real_run = course.run

    def run_quickly(command, verbose):
        real_run([*command, "--without-pip"] if "venv" in command else command, verbose)

    monkeypatch.setattr(course, "run", run_quickly)

    def asked():
        """What pip was asked to do since the last call, without the question for its version."""
        calls = (
            [json.loads(line) for line in log.read_text("utf-8").splitlines()]
            if log.exists()
            else []
        )
        log.unlink(missing_ok=True)
        return [call for call in calls if call != ["--version"]]

    return SimpleNamespace(root=root, course=course, handed=handed, asked=asked)


def trouble(monkeypatch, word: str, output: str) -> None:
    """Let pip fail with this output when this word is among its arguments."""
    monkeypatch.setenv("FAKE_PIP_TROUBLE", json.dumps({word: output}))


# --- an old Python --------------------------------------------------------------------------------


def test_python_3_6_can_parse_the_launcher():
    ast.parse((ROOT / "course.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_an_old_python_is_told_which_one_is_needed(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit, match=r"needs Python 3\.10 or newer, and this is Python 3\.9"):
        runpy.run_path(str(ROOT / "course.py"))


def test_the_version_is_checked_before_anything_but_sys_is_imported():
    body = ast.parse((ROOT / "course.py").read_text(encoding="utf-8")).body
    assert [type(node).__name__ for node in body[:3]] == ["Expr", "Import", "If"]
    assert [name.name for name in body[1].names] == ["sys"]


# --- set-up ---------------------------------------------------------------------------------------


def test_the_first_start_installs_pip_then_torch_then_everything(project):
    assert project.course.main(["setup"]) == 0
    raw = ["install", "--progress-bar", "raw"]
    assert project.asked() == [
        ["install", "-c", "constraints.txt", "pip"],
        [*raw, "-c", "constraints.txt", "torch==2.13.0"],
        [*raw, "-c", "constraints.txt", "-e", ".[dev,oracle]"],
    ]


def test_nothing_is_done_when_nothing_changed(project, monkeypatch):
    project.course.main(["setup"])
    project.asked()
    monkeypatch.setattr(project.course, "run", None)
    monkeypatch.setattr(subprocess, "run", None)
    assert project.course.main(["setup"]) == 0
    assert project.asked() == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_of_libraries_is_installed(project, name):
    project.course.main(["setup"])
    project.asked()
    with open(project.root / name, "a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    project.course.main(["setup"])
    assert len(project.asked()) == 3


def test_a_moved_project_is_set_up_again(project, monkeypatch):
    project.course.main(["setup"])
    before = project.course.fingerprint("")
    monkeypatch.setattr(project.course, "ROOT", project.root.parent)
    assert project.course.fingerprint("") != before


def test_another_python_in_the_environment_is_noticed(project):
    project.course.main(["setup"])
    before = project.course.fingerprint("")
    with open(project.course.ENV / "pyvenv.cfg", "a", encoding="utf-8") as file:
        file.write("version = 3.99.0\n")
    assert project.course.fingerprint("") != before


def test_an_environment_without_its_python_is_made_anew(project):
    project.course.main(["setup"])
    project.course.PYTHON.unlink()
    assert project.course.main(["setup"]) == 0
    assert project.course.PYTHON.exists()


def test_an_environment_with_a_broken_pip_is_made_anew(project, monkeypatch):
    project.course.main(["setup"])
    left_over = project.course.ENV / "left over"
    left_over.touch()
    project.course.STAMP.unlink()
    trouble(monkeypatch, "--version", "No module named pip")
    project.course.main(["setup"])
    assert not left_over.exists()


def test_a_set_up_that_failed_goes_on_at_the_next_start(project, monkeypatch):
    trouble(monkeypatch, "-e", "no luck")
    assert project.course.main(["setup"]) == 1
    assert project.handed == []
    monkeypatch.delenv("FAKE_PIP_TROUBLE")
    assert project.course.main(["setup"]) == 0
    assert len(project.handed) == 1


def test_an_update_that_was_interrupted_goes_on_at_the_next_start(project, monkeypatch):
    project.course.main(["setup"])
    (project.root / "constraints.txt").write_text("numpy==2.2.5\n", encoding="utf-8")
    trouble(monkeypatch, "-e", "no luck")
    project.course.main(["setup"])
    (project.root / "constraints.txt").write_text("numpy==2.2.6\n", encoding="utf-8")
    monkeypatch.delenv("FAKE_PIP_TROUBLE")
    project.asked()
    project.course.main(["setup"])
    assert len(project.asked()) == 3


def test_a_half_written_stamp_counts_as_none(project):
    project.course.main(["setup"])
    project.course.STAMP.write_text('{"fingerpr', encoding="utf-8")
    project.asked()
    project.course.main(["setup"])
    assert len(project.asked()) == 3


def test_control_c_says_that_nothing_is_lost(project, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(project.course, "run_pip", interrupted)
    assert project.course.main(["lab"]) == 130
    assert "Nothing is lost: start again" in capsys.readouterr().err


def test_the_steps_are_announced(project, capsys):
    project.course.main(["setup"])
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[1:4]] == ["1/3", "2/3", "3/3"]
    assert "Downloading" not in shown


def test_verbose_shows_all_that_pip_says(project, capsys):
    project.course.main(["--verbose", "setup"])
    assert "Downloading torch-2.13.0-py3.whl" in capsys.readouterr().out


def test_a_terminal_sees_how_far_the_download_is(project, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    project.course.show("Progress 95000000 of 190000000", ["  Downloading torch-2.13.0.whl"], False)
    assert "[##########..........] 95 of 190 MB  torch" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        "Collecting jupyter-core>=4.4 (from nbformat)",
        "Collecting jupyter-core[test]",
        "  Downloading jupyter-core-5.9.1-py3-none-any.whl (29 kB)",
        "Processing C:\\wheels\\jupyter-core-5.9.1-py3-none-any.whl",
        "Processing ./wheels/jupyter-core-5.9.1-py3-none-any.whl",
    ],
)
def test_the_status_names_the_library(project, line):
    assert project.course.library(line) == "jupyter-core"


# --- which build of torch -------------------------------------------------------------------------


def torch_call(project) -> list:
    """What pip was asked about torch."""
    return next(call for call in project.asked() if "torch==2.13.0" in call)


def test_torch_comes_from_the_index_that_the_option_names(project):
    project.course.main(["setup", "--torch-index", "file:///cpu"])
    calls = project.asked()
    assert ["--index-url" in call for call in calls] == [False, True, False]
    assert calls[1][calls[1].index("--index-url") + 1] == "file:///cpu"


def test_torch_comes_from_the_index_that_the_variable_names(project, monkeypatch):
    monkeypatch.setenv("COURSE_TORCH_INDEX", "file:///cpu")
    project.course.main(["setup"])
    assert "file:///cpu" in torch_call(project)


def test_the_choice_of_torch_is_remembered(project):
    project.course.main(["setup", "--torch-index", "file:///cpu"])
    project.asked()
    project.course.main(["setup"])
    assert project.asked() == []


def test_another_build_of_torch_replaces_the_one_that_is_there(project):
    project.course.main(["setup"])
    project.asked()
    project.course.main(["setup", "--torch-index", "file:///cpu"])
    assert "--force-reinstall" in torch_call(project)


def test_a_change_of_build_that_failed_is_tried_again(project, monkeypatch):
    project.course.main(["setup"])
    trouble(monkeypatch, "file:///cpu", "no luck")
    project.course.main(["setup", "--torch-index", "file:///cpu"])
    monkeypatch.delenv("FAKE_PIP_TROUBLE")
    project.asked()
    project.course.main(["setup", "--torch-index", "file:///cpu"])
    assert "--force-reinstall" in torch_call(project)


def test_the_word_default_takes_the_choice_back(project):
    project.course.main(["setup", "--torch-index", "file:///cpu"])
    project.asked()
    project.course.main(["setup", "--torch-index", "default"])
    call = torch_call(project)
    assert "--index-url" not in call and "--force-reinstall" in call


def test_a_torch_that_fits_is_kept(project):
    project.course.main(["setup"])
    assert "--force-reinstall" not in torch_call(project)


# --- what can go wrong ----------------------------------------------------------------------------

OFFLINE = """WARNING: Retrying (Retry(total=0)) after connection broken by 'NameResolutionError'
ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)
ERROR: No matching distribution found for torch==2.13.0"""
NO_TORCH = "ERROR: No matching distribution found for torch==2.13.0"


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("ERROR: [Errno 28] No space left on device", "the disk is full: free some GB"),
        (OFFLINE, "the package index cannot be reached: check the network"),
        ("SSLError(CERTIFICATE_VERIFY_FAILED)", "pip config set global.cert FILE"),
        (NO_TORCH, "use a 64-bit Python 3.10 to 3.13"),
        ("No matching distribution found for pip==26.3", "lacks a version that constraints.txt"),
        ("ERROR: [WinError 5] Access is denied", "close JupyterLab and other terminals"),
    ],
)
def test_pips_complaint_becomes_one_line_with_the_remedy(
    project, monkeypatch, capsys, output, told
):
    trouble(monkeypatch, "torch==2.13.0", output)
    assert project.course.main(["lab"]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1


def test_an_unknown_complaint_is_shown_with_a_way_on(project, monkeypatch, capsys):
    trouble(monkeypatch, "torch==2.13.0", "something unheard of")
    assert project.course.main(["lab"]) == 1
    error = capsys.readouterr().err
    assert "something unheard of" in error
    assert "start again with --verbose" in error


def test_too_little_space_is_said_before_the_download(project, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7e8))
    assert project.course.main(["lab"]) == 1
    assert "only 0.7 GB are free" in capsys.readouterr().err
    assert project.asked() == []


def test_an_update_needs_no_space_for_torch(project, monkeypatch):
    project.course.main(["setup"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7e8))
    (project.root / "constraints.txt").write_text("numpy==2.2.5\n", encoding="utf-8")
    assert project.course.main(["setup"]) == 0


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_is_told_what_to_install(project, monkeypatch, capsys, module):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == module else found(name)
    )
    assert project.course.main(["lab"]) == 1
    assert "sudo apt install python3-venv" in capsys.readouterr().err


def test_a_read_only_folder_is_told_to_be_copied(project, monkeypatch, capsys):
    monkeypatch.setattr(project.course, "LOCK", project.root / "missing" / "lock")
    assert project.course.main(["lab"]) == 1
    assert "copy the course to a folder of your own" in capsys.readouterr().err


def test_a_line_without_a_library_is_no_trouble(project):
    assert project.course.library("") == ""


def test_a_path_too_long_for_windows_is_said(project, monkeypatch, capsys):
    def too_long(*_, **__):
        raise FileNotFoundError(206, "The filename or extension is too long")

    monkeypatch.setattr(project.course, "WINDOWS", True)
    monkeypatch.setattr(Path, "mkdir", too_long)
    assert project.course.main(["lab"]) == 1
    assert "too long for Windows: move the course to a short one" in capsys.readouterr().err


def test_a_folder_that_no_environment_can_live_in_is_said(project, monkeypatch, capsys):
    monkeypatch.setattr(project.course.os, "pathsep", "课")
    assert project.course.main(["lab"]) == 1
    assert "may not contain" in capsys.readouterr().err


# --- two at once ----------------------------------------------------------------------------------


def launch(project, *arguments: str, **options) -> subprocess.Popen:
    """Start the project's course.py as a user does."""
    return subprocess.Popen(
        [sys.executable, str(project.root / "course.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        **options,
    )


def test_a_second_launcher_waits_and_then_finds_everything_done(project):
    course = project.course
    course.main(["setup"])
    stamp = course.STAMP.read_text(encoding="utf-8")
    project.asked()
    course.write_stamp("", "")
    with course.only_one():
        second = launch(project, "device")
        assert "waiting" in second.stdout.readline()
        course.STAMP.write_text(stamp, encoding="utf-8")
    assert json.loads(second.communicate()[0])["argv"] == ["device"]
    assert second.returncode == 7
    assert project.asked() == []


def test_the_lock_of_a_launcher_that_was_killed_is_free(project):
    code = f"import sys; sys.path.insert(0, {str(project.root)!r}); import course\n"
    code += "with course.only_one():\n    print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline().strip() == b"held"
    with open(project.course.LOCK, "w", encoding="utf-8") as handle:
        assert not project.course.take(handle)
        holder.kill()
        holder.communicate()
        assert project.course.take(handle)


# --- verbs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_verb_without_setting_up(project, capsys, words):
    assert project.course.main(words) == 0
    shown = capsys.readouterr().out
    for verb in ("lab", "test", "setup", "python", *cli.VERBS):
        assert f"\n  {verb} " in shown
    assert not project.course.ENV.exists()


def test_an_unknown_verb_is_refused_without_setting_up(project, capsys):
    assert project.course.main(["tset"]) == 2
    assert "there is no verb 'tset'; the verbs are" in capsys.readouterr().err
    assert not project.course.ENV.exists()


def test_lab_opens_chapter_00_in_the_project(project):
    project.course.main(["lab", "--no-browser"])
    command, _ = project.handed[0]
    assert command[:3] == [str(project.course.PYTHON), "-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={project.root}" in command
    assert "--LabApp.default_url=/lab/tree/chapters/00_start_here.ipynb" in command
    assert command[-1] == "--no-browser"


def test_test_runs_pytest_with_nbval_on_two_cores(project, monkeypatch):
    monkeypatch.setattr(project.course.os, "cpu_count", lambda: 4)
    project.course.main(["test", "-k", "tokenizer"])
    command, variables = project.handed[0]
    assert command[1:] == [
        *["-m", "pytest", "--nbval", "-n", "2", "--dist", "loadfile", "-k", "tokenizer"]
    ]
    assert variables["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize("argument", ["-n0", "--pdb", "--numprocesses=1"])
def test_test_leaves_the_parallel_run_to_who_asks_for_another(project, monkeypatch, argument):
    monkeypatch.setattr(project.course.os, "cpu_count", lambda: 4)
    project.course.main(["test", argument])
    assert "loadfile" not in project.handed[0][0]


def test_one_core_runs_one_thing_at_a_time(project, monkeypatch):
    monkeypatch.setattr(project.course.os, "cpu_count", lambda: 1)
    project.course.main(["test"])
    assert "loadfile" not in project.handed[0][0]


def test_python_is_the_environments_own(project):
    project.course.main(["python", "-m", "jupytext", "--version"])
    assert project.handed[0][0] == [str(project.course.PYTHON), "-m", "jupytext", "--version"]


def test_a_terminal_inside_jupyterlab_finds_the_environment_first(project):
    project.course.main(["lab"])
    variables = project.handed[0][1]
    assert variables["PATH"].startswith(str(project.course.PYTHON.parent))
    assert variables["VIRTUAL_ENV"] == str(project.course.ENV)


def test_what_follows_two_dashes_belongs_to_the_verb(project, capsys):
    project.course.main(["python", "--", "tool.py", "--verbose", "--here"])
    assert project.handed[0][0][1:] == ["tool.py", "--verbose", "--here"]


def test_every_other_verb_gets_its_words_and_gives_its_exit_status(project):
    project.course.main(["setup"])
    process = launch(project, "fetch", "--to", "a folder 课", cwd=project.root.parent)
    told = json.loads(process.communicate()[0])
    assert process.returncode == 7
    assert told["argv"] == ["fetch", "--to", "a folder 课"]
    assert Path(told["cwd"]) == project.root
    assert Path(told["prefix"]).resolve() == project.course.ENV.resolve()


def test_windows_waits_for_the_command_and_gives_its_exit_status(project, monkeypatch):
    spec = importlib.util.spec_from_file_location("course_on_windows", project.root / "course.py")
    course = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(course)
    monkeypatch.setattr(course, "WINDOWS", True)
    command = [sys.executable, "-c", "import os, sys; sys.exit(int(os.environ['CODE']))"]
    assert course.hand_over(command, {**course.os.environ, "CODE": "5"}) == 5


# --- an environment that is there already ---------------------------------------------------------


def test_here_uses_this_python_and_installs_nothing(project, monkeypatch):
    installed = lambda name, path: [name]  # noqa: E731 - stands for importlib's function
    monkeypatch.setattr(importlib.metadata, "distributions", installed)
    project.course.main(["progress", "--here"])
    assert project.handed[0][0] == [sys.executable, "-m", "lib.course.cli", "progress"]
    assert not project.course.ENV.exists()


def test_here_without_the_course_says_how_to_install_it(project, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_HERE", "1")
    monkeypatch.setattr(importlib.metadata, "distributions", lambda name, path: [])
    assert project.course.main(["progress"]) == 1
    assert "run `pip install -c constraints.txt -e .` in it" in capsys.readouterr().err
