"""What the learner has done: a small local file that the checks write, and a report over it.

One line of JSON an outcome is appended to `.progress.jsonl` at the root of the course, so that
two notebooks that write at once lose nothing. Deleting the file forgets the progress and
nothing else. The environment variable COURSE_PROGRESS names another file, or `off`.
"""

import json
import os
import warnings
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
STATUSES = ("not attempted", "correct", "wrong", "crashed")


def progress_file() -> Path | None:
    """Where outcomes are kept; None when they are not to be kept."""
    chosen = os.environ.get("COURSE_PROGRESS", "")
    if chosen == "off":
        return None
    return Path(chosen) if chosen else ROOT / ".progress.jsonl"


def record(number: str, status: str) -> None:
    """Append an outcome. A stub that is not attempted never hides what was done before.

    An exercise check must not fail because a file cannot be written: on a read-only disk the
    outcome is shown and a warning says that it was not kept.
    """
    file = progress_file()
    if file is None or status == "not attempted":
        return
    moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
    line = json.dumps({"exercise": number, "status": status, "at": moment})
    try:
        # Two notebooks may check an exercise at once, and neither may read half a line.
        with FileLock(f"{file}.lock", timeout=10):
            if latest().get(number) == status:
                return
            with file.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
    except OSError as error:
        warnings.warn(
            f"progress was not kept: {error}. Set COURSE_PROGRESS to a file that can be written, "
            "or to `off`.",
            stacklevel=3,
        )


def latest() -> dict[str, str]:
    """The last status of each exercise. A damaged file is set aside with a warning."""
    file = progress_file()
    if file is None or not file.exists():
        return {}
    statuses: dict[str, str] = {}
    good, damaged = [], 0
    for line in file.read_bytes().splitlines():
        try:
            entry = json.loads(line)
            number, status = entry["exercise"], entry["status"]
            if not isinstance(number, str) or status not in STATUSES:
                raise ValueError(status)
        except (ValueError, KeyError, TypeError):
            damaged += 1
            continue
        statuses[number] = status
        good.append(line)
    if damaged:
        set_aside(file, good, damaged)
    return statuses


def set_aside(file: Path, good: list[bytes], damaged: int) -> None:
    """Keep the damaged file under another name and go on with the lines that can be read."""
    aside = file.with_name(file.name + ".damaged")
    os.replace(file, aside)
    file.write_bytes(b"".join(line + b"\n" for line in good))
    warnings.warn(
        f"{damaged} unreadable line(s) in {file.name}: the file was set aside as {aside.name}; "
        f"{len(good)} readable line(s) were kept.",
        stacklevel=4,
    )


def report() -> str:
    """The exercises done, wrong and open, chapter by chapter, as text."""
    from lib.course.checks import engine  # the checks import this module to record

    statuses = latest()
    by_chapter: dict[int, list] = {}
    for number in engine.exercise_numbers():
        by_chapter.setdefault(int(number.split(".")[0]), []).append(engine.EXERCISES[number])
    lines, done, total = [], 0, 0
    for chapter, exercises in by_chapter.items():
        states = [statuses.get(e.number, "open") for e in exercises]
        correct = states.count("correct")
        done, total = done + correct, total + len(exercises)
        lines.append(f"Chapter {chapter:02d}: {correct} of {len(exercises)} done")
        for item, state in zip(exercises, states, strict=True):
            word = {"correct": "done", "crashed": "wrong"}.get(state, state)
            lines.append(f"    {word:5}  {item.number}  {item.title}")
    lines.append(f"{done} of {total} exercises done.")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """`course.py progress`: print the report."""
    if argv:
        print("progress takes no arguments")
        return 2
    print(report())
    return 0
