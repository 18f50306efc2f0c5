"""Renew `constraints.txt`: one exact version of every library, for every system and Python.

The versions are chosen by `uv pip compile --universal`, which resolves for Linux, macOS and Windows
and all Pythons at once and notes in a marker where they must differ.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

HEAD = """\
# The exact version of every library that the course installs, tested together. pip reads it as
# `-c constraints.txt`: it limits what is installed and installs nothing itself.
# Written by `python course.py constraints`; change pyproject.toml, not this file.
# The GPU libraries of torch are left out: each build of torch pins its own.
"""

OF_TORCH = ("nvidia-", "cuda-", "triton==")  # differ between the CPU build and each GPU build
ELSEWHERE = "sys_platform == 'emscripten'"  # a browser is no place to train a model in


def main(argv: list[str]) -> int:
    """Renew the file, or with `--check` say which libraries it lacks; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="course.py constraints", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--check", action="store_true", help="only check, change nothing")
    options = parser.parse_args(argv)
    file = ROOT / "constraints.txt"
    if options.check:
        missing = unpinned(ROOT)
        for name in missing:
            print(f"{name} has no version in constraints.txt: run `python course.py constraints`")
        return 1 if missing else 0
    try:
        text = tidy(resolve(ROOT))
    except RuntimeError as error:
        print(f"course.py constraints: {error}", file=sys.stderr)
        return 1
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    file.write_text(text, encoding="utf-8", newline="\n")
    print("\n".join(changes(before, text)) or "constraints.txt is up to date")
    return 0


def resolve(root: Path) -> str:
    """Return uv's choice of versions; RuntimeError names the remedy when uv cannot choose."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--universal"]
    command += ["--python-version", "3.10", "--extra", "dev", "--extra", "oracle"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    answer = subprocess.run(
        [*command, "--quiet"], cwd=root, capture_output=True, encoding="utf-8", errors="replace"
    )
    if answer.returncode:
        raise RuntimeError(
            f"{answer.stderr.strip()}\nuv found no versions: check the network (uv takes a mirror "
            f"from UV_DEFAULT_INDEX, not from pip's settings) or the bounds in pyproject.toml"
        )
    return answer.stdout


def tidy(resolved: str) -> str:
    """Drop what the file must not pin, and put the head above it.

    >>> print(tidy("a==1 ; sys_platform != 'emscripten'\\nnvidia-x==2\\n").splitlines()[-1])
    a==1
    """
    kept = []
    for line in resolved.splitlines():
        if line.startswith(OF_TORCH) or ELSEWHERE in line:
            continue
        line = re.sub(
            r" and sys_platform != 'emscripten'| ; sys_platform != 'emscripten'$", "", line
        )
        kept.append(line.replace("sys_platform != 'emscripten' and ", ""))
    return HEAD + "\n".join(kept) + "\n"


def pins(text: str) -> dict[str, str]:
    """Return the versions of each library, with their markers.

    >>> pins("# head\\na==1 ; os_name == 'nt'\\na==2 ; os_name != 'nt'\\n")
    {'a': "1 ; os_name == 'nt', 2 ; os_name != 'nt'"}
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, version = line.partition("==")
        if version and not line.startswith("#"):
            found[name] = f"{found[name]}, {version}" if name in found else version
    return found


def changes(before: str, after: str) -> list[str]:
    """Say in a line each what became of the libraries whose version changed.

    >>> changes("a==1\\nb==1\\n", "a==2\\nc==1\\n")
    ['a: 1 -> 2', 'b: 1 -> none', 'c: none -> 1']
    """
    old, new = pins(before), pins(after)
    return [
        f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]


def declared(root: Path) -> list[str]:
    """Return the names of all libraries that pyproject.toml asks for, in its order."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    asked = text[text.index("\ndependencies = [") : text.index("\n[tool.")]
    return re.findall(r'^    "([A-Za-z0-9_.-]+)', asked, re.MULTILINE)


def unpinned(root: Path) -> list[str]:
    """Return the libraries of pyproject.toml that constraints.txt does not pin."""
    pinned = pins((root / "constraints.txt").read_text(encoding="utf-8"))
    return [name for name in declared(root) if name.lower().replace("_", "-") not in pinned]
