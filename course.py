"""The front door of the course: `python course.py lab`, `python course.py test`, and more.

It needs nothing but Python. What it installs lives in the folder `.venv` beside this file, and
deleting that folder undoes it. `python course.py --help` lists all verbs.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - before what an old Python stumbles over
    sys.exit(
        "course.py: the course needs Python 3.10 or newer, and this is Python "
        f"{sys.version_info[0]}.{sys.version_info[1]}: install a newer one and start with it, "
        f"for example `python3.12 course.py lab`"
    )

import argparse
import contextlib
import errno
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

WINDOWS = os.name == "nt"
ROOT = Path(__file__).resolve().parent
ENV = ROOT / ".venv"
STAMP = ENV / "course.json"  # written when torch is in, completed when everything is
LOCK = ROOT / ".venv.lock"
PYTHON = ENV / ("Scripts/python.exe" if WINDOWS else "bin/python")

SPACE = 2.0  # GB that the environment and its downloads need with a CPU build of torch
DEEPEST = 190  # characters of the longest path inside the environment

VERBS = """\
  lab          open JupyterLab at chapter 00; its options pass through (--no-browser)
  test         run every notebook and test with `pytest --nbval`; its options pass through
  setup        only set up, for a class or an image
  python       run the environment's Python (python course.py python -m jupytext ...)"""

HELP = """\
usage: python course.py [options] VERB [what the verb takes]

{verbs}

The first start makes the environment `.venv`, which takes some minutes; later starts find it
complete and take no time. Paths are understood from the course's own folder.

options, in front of the verb or behind it:
  --torch-index URL   take torch from this package index (or set COURSE_TORCH_INDEX). Left out, it
                      comes from the index that pip uses, which on Linux usually serves the build
                      for NVIDIA GPUs, several GB. The selector on PyTorch's "Get Started" page
                      shows the URL of every build, also the small one for the CPU. The choice
                      is remembered; `--torch-index default` takes it back.
  --here              use the environment that this Python belongs to, where the course is already
                      installed (conda, JupyterHub), and install nothing (or set COURSE_HERE=1)
  --verbose           show all that pip says
  --                  hand everything that follows to the verb
"""


REMEDIES = [  # what the output of a failed step says, and what to do
    (
        "No space left|Errno 28|WinError 112|not enough space",
        "the disk is full: free some GB (or point TMPDIR to another disk) and start again; "
        "what is downloaded is kept",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED|SSLError",
        "the package index's certificate is not trusted, as behind some company proxies: run "
        "`pip config set global.cert FILE` with your network's certificate and start again",
    ),
    (
        "connection broken by|Max retries|timed out",
        "the package index cannot be reached: check the network and start again; what is "
        "downloaded is kept (`pip config set global.index-url URL` sets a mirror, HTTPS_PROXY "
        "a proxy)",
    ),
    (
        "No matching distribution found for torch",
        f"there is no torch for {platform.system()} {platform.machine()} with Python "
        f"{platform.python_version()}: use a 64-bit Python 3.10 to 3.13, delete .venv and start "
        "again (and check the URL if you gave one with --torch-index)",
    ),
    (
        "ResolutionImpossible|No matching distribution found",
        "the package index lacks a version that constraints.txt names, as a mirror or a folder of "
        "wheels may: renew it, or name another index with `pip config set global.index-url URL`",
    ),
    (
        "Permission denied|Errno 13|WinError 5|WinError 32",
        "a file in .venv is in use or protected: close JupyterLab and other terminals and start "
        "again",
    ),
]


class CourseError(Exception):
    """What went wrong and, in the same line, what to do about it."""


def main(argv: list) -> int:
    """Do what the command line says; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a path in a script that the console does not know
    options, words = read_command_line(argv)
    verb = words[0] if words else "--help"
    try:
        verbs = known_verbs()
        if verb in ("-h", "--help", "help"):
            print(HELP.format(verbs=verbs), end="")
            return 0
        if not re.search(rf"^  {re.escape(verb)} ", verbs, re.MULTILINE):
            print(f"course.py: there is no verb {verb!r}; the verbs are\n{verbs}", file=sys.stderr)
            return 2
        python = this_environment() if options.here else set_up(options)
        return hand_over(*command_for(verb, words[1:], python, options.here))
    except CourseError as error:
        print(f"course.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ncourse.py: stopped. Nothing is lost: start again to go on.", file=sys.stderr)
        return 130


def read_command_line(argv: list) -> tuple:
    """Take out the launcher's own options; the first word left is the verb, the rest is its own."""
    parser = argparse.ArgumentParser(prog="course.py", add_help=False, allow_abbrev=False)
    parser.add_argument("--torch-index", default=os.environ.get("COURSE_TORCH_INDEX") or None)
    parser.add_argument("--here", action="store_true", default=os.environ.get("COURSE_HERE") == "1")
    parser.add_argument("--verbose", action="store_true")
    end = argv.index("--") if "--" in argv else len(argv)
    options, words = parser.parse_known_args(argv[:end])
    return options, words + argv[end + 1 :]


def known_verbs() -> str:
    """Every verb with its purpose: the launcher's own and those of `lib/course/cli.py`."""
    from lib.course.cli import usage  # standard library only, found beside this file

    return f"{VERBS}\n{usage()}"


def command_for(verb: str, arguments: list, python: str, here: bool) -> tuple:
    """Return the command of a verb and the environment variables that it runs with."""
    variables = dict(os.environ)
    if not here:  # also for a terminal inside JupyterLab
        variables["PATH"] = f"{PYTHON.parent}{os.pathsep}{variables.get('PATH', '')}"
        variables["VIRTUAL_ENV"] = str(ENV)
    if verb == "setup":
        return [python, "-c", "print('The course is set up.')"], variables
    if verb == "python":
        return [python, *arguments], variables
    if verb == "lab":
        first = "--LabApp.default_url=/lab/tree/chapters/00_start_here.ipynb"
        root = f"--ServerApp.root_dir={ROOT}"
        return [python, "-m", "jupyterlab", root, first, *arguments], variables
    if verb == "test":
        command = [python, "-m", "pytest", "--nbval"]
        own_way = any(argument.startswith(("-n", "--numproc", "--pdb")) for argument in arguments)
        cores = os.cpu_count() or 1
        if cores > 1 and not own_way and not (here and not importlib.util.find_spec("xdist")):
            command += ["-n", "2", "--dist", "loadfile"]  # two notebooks at once, each whole
            variables.setdefault("OMP_NUM_THREADS", str(max(1, cores // 2)))
        return command + arguments, variables
    return [python, "-m", "lib.course.cli", verb, *arguments], variables


def hand_over(command: list, variables: dict) -> int:
    """Become the command or, on Windows, wait for it; return its exit status."""
    sys.stdout.flush()
    if not WINDOWS:
        os.chdir(ROOT)
        os.execve(command[0], command, variables)
    process = subprocess.Popen(command, cwd=ROOT, env=variables)
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # the command has heard it too and decides
            return process.wait()


def this_environment() -> str:
    """Return this Python, if the course is installed in its environment."""
    places = [place for place in sys.path if Path(place).resolve() != ROOT]
    if not any(importlib.metadata.distributions(name="from-zero-to-llm", path=places)):
        raise CourseError(
            f"the course is not installed in {sys.prefix}: run `pip install -c constraints.txt "
            f"-e .` in it, or leave out --here to let course.py make its own environment"
        )
    return sys.executable


# --- setting up -----------------------------------------------------------------------------------


def set_up(options: argparse.Namespace) -> str:
    """Install what is missing or outdated in `.venv`; return its Python."""
    torch_index = options.torch_index or read_stamp().get("torch_index", "")
    torch_index = "" if torch_index == "default" else torch_index
    if read_stamp().get("fingerprint") == fingerprint(torch_index):
        return str(PYTHON)
    with only_one():
        if read_stamp().get("fingerprint") != fingerprint(torch_index):  # nobody did it meanwhile
            start = time.monotonic()
            refuse_hopeless()
            install(torch_index, options.verbose)
            write_stamp(fingerprint(torch_index), torch_index)
            print(f"The course is set up ({time.monotonic() - start:.0f} s).", flush=True)
    return str(PYTHON)


def install(torch_index: str, verbose: bool) -> None:
    """Make the environment, then install torch, then everything else; each step can be repeated."""
    print("Setting up the course in .venv. Only the first time takes long.", flush=True)
    torch = re.search(r'"(torch==[^"]+)"', (ROOT / "pyproject.toml").read_text("utf-8")).group(1)
    exact = ["-c", "constraints.txt"]
    before = read_stamp().get("torch_index", "")
    if STAMP.exists():
        write_stamp("", before)  # from here on unfinished

    step("1/3", "the Python environment")
    make_environment(verbose)
    run_pip(["install", *exact, "pip"], verbose)

    step("2/3", torch.replace("==", " "))
    source = ["--index-url", torch_index] if torch_index else exact
    change = ["--force-reinstall"] if torch_index != before else []  # another build, same number
    run_pip(["install", "--progress-bar", "raw", *source, *change, torch], verbose)
    write_stamp("", torch_index)

    step("3/3", "the other libraries")
    run_pip(["install", "--progress-bar", "raw", *exact, "-e", ".[dev,oracle]"], verbose)


def fingerprint(torch_index: str) -> str:
    """Return a hash of all that decides what is installed: lists, Python, place, torch build."""
    parts = [str(ROOT), str(PYTHON.resolve()), torch_index]
    for file in (ROOT / "pyproject.toml", ROOT / "constraints.txt", ENV / "pyvenv.cfg"):
        parts.append(file.read_text("utf-8", errors="replace") if file.exists() else "missing")
    if not PYTHON.exists():
        parts.append("no Python")  # its base was removed or upgraded away
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def read_stamp() -> dict:
    """Return what the last set-up noted; nothing when there was none or it is unreadable."""
    try:
        stamp = json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(mark: str, torch_index: str) -> None:
    """Note the finished set-up's fingerprint (empty while unfinished) and the torch build."""
    note = {"fingerprint": mark, "torch_index": torch_index}
    STAMP.write_text(json.dumps(note), encoding="utf-8")


@contextlib.contextmanager
def only_one():
    """Wait until no other course.py sets up. The system frees the lock of a process that dies."""
    try:
        handle = open(LOCK, "w")  # noqa: SIM115 - closed by the `with` below
    except OSError:
        raise CourseError(
            f"nothing can be written in {ROOT}: copy the course to a folder of your own, for "
            f"example in your home folder, and start it there"
        ) from None
    with handle:
        # pip inherits the lock: killing course.py does not free it while pip still works
        os.set_inheritable(handle.fileno(), True)
        told = False
        while not take(handle):
            if not told:
                print("Another course.py is setting up; waiting for it.", flush=True)
            told = True
            time.sleep(0.2)
        yield


def take(handle) -> bool:
    """Try to lock an open file; a file system that knows no locks counts as locked."""
    try:
        if fcntl:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True


def refuse_hopeless() -> None:
    """Say at once, and not after minutes, what would fail."""
    if os.pathsep in str(ROOT):
        raise CourseError(f"the folder's name may not contain {os.pathsep!r}: rename {ROOT}")
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        raise CourseError(
            "this Python lacks the module venv: on Debian or Ubuntu run `sudo apt install "
            "python3-venv`, elsewhere install Python anew with all its parts"
        )
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < SPACE and not STAMP.exists():
        raise CourseError(
            f"only {free:.1f} GB are free for {ROOT}, and the course needs about {SPACE:.0f} GB: "
            f"free some space, or move the course to another disk"
        )
    if WINDOWS:
        refuse_long_path()


def refuse_long_path() -> None:
    """Try a path as long as the environment's longest: Windows refuses more than 260 characters."""
    deep = ENV / ("d" * (DEEPEST // 2)) / ("d" * (DEEPEST // 2))
    try:
        deep.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise CourseError(
            f"the path {ROOT} is too long for Windows: move the course to a short one such as "
            f"C:\\course, or turn on long paths in the Windows settings"
        ) from None
    finally:
        shutil.rmtree(deep.parent, ignore_errors=True)


def make_environment(verbose: bool) -> None:
    """Make `.venv`, or make it anew when its Python or its pip does not work."""
    with contextlib.suppress(OSError):  # there is no such Python, or not any more
        check = [str(PYTHON), "-m", "pip", "--version"]
        if subprocess.run(check, capture_output=True, cwd=ROOT).returncode == 0:
            return
    run([sys.executable, "-m", "venv", "--clear", str(ENV)], verbose)


def run_pip(arguments: list, verbose: bool) -> None:
    """Run the environment's pip."""
    run([str(PYTHON), "-m", "pip", *arguments], verbose)


def run(command: list, verbose: bool) -> None:
    """Run a command of the set-up; show how far it is; on failure raise the remedy."""
    variables = {**os.environ, "PYTHONUTF8": "1", "PIP_USER": "0"}
    variables["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    lines = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables,
        close_fds=False,  # keeps the lock
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stdout:
            if not line.startswith("Progress "):
                lines.append(line.rstrip())
            show(line, lines, verbose)
    if not verbose:
        status("")
    if process.returncode != 0:
        raise CourseError(remedy(lines))


# --- showing --------------------------------------------------------------------------------------


def step(number: str, what: str) -> None:
    """Announce a step of the set-up."""
    print(f"  {number}  {what}", flush=True)


def show(line: str, lines: list, verbose: bool) -> None:
    """Turn one line of pip's into the status line; `lines` holds what came before it."""
    progress = re.match(r"Progress (\d+) of ([1-9]\d*)", line)
    if verbose:
        print("       " + line.rstrip(), flush=True)
    elif progress:
        done, total = int(progress.group(1)), int(progress.group(2))
        bar = ("#" * round(20 * done / total)).ljust(20, ".")
        name = library(lines[-1] if lines else "")
        status(f"[{bar}] {done / 1e6:.0f} of {total / 1e6:.0f} MB  {name}")
    elif line.startswith(("Collecting", "Processing", "Obtaining")):
        status(f"looking at {library(line)}")
    elif line.startswith("Installing collected packages"):
        status(f"writing {line.count(',') + 1} libraries to disk")


def library(line: str) -> str:
    """Return the name in a line of pip's such as `Collecting numpy>=2.1 (from torch)`."""
    return re.sub(r".*[/\\]|-\d.*|[<>=!~;\[(].*", "", [*line.split(), "", ""][1])


def status(text: str) -> None:
    """Rewrite the line under the step; a stream that is no terminal gets none."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print("\r" + f"       {text}"[:width].ljust(width), end="\r", flush=True)


def remedy(lines: list) -> str:
    """Name the remedy for what the output of a failed step complains about."""
    output = "\n".join(lines)
    for pattern, advice in REMEDIES:
        if re.search(pattern, output, re.IGNORECASE):
            return advice
    print("\n".join("       " + line for line in lines[-12:]), file=sys.stderr)
    return "the set-up failed as shown above: start again with --verbose, or delete .venv first"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
