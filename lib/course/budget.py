"""Minutes and memory of each chapter, measured, and written where the reader looks for them.

`course.py budget` executes each chapter in a fresh kernel, takes its wall time and the peak of
its resident memory, and writes the table between the two marks in README.md.
"""

import argparse
import os
import platform
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from lib.course import notebooks
from lib.course.notebooks import ROOT

BEGIN, END = "<!-- budget:begin -->", "<!-- budget:end -->"
HEADER = "| chapter | title | seconds | memory |\n|---|---|---:|---:|\n"
ROW = re.compile(
    r"^\| \[(\d\d)\]\((chapters/[\w.]+)\) \|.*\| (\d+) s \| ([\d.]+) GB \|$", re.MULTILINE
)


@dataclass(frozen=True)
class Cost:
    """What one run of a notebook took."""

    seconds: float
    gigabytes: float


class PeakMemory(threading.Thread):
    """Samples the resident memory of this process's kernels, and keeps the largest sum."""

    def __init__(self):
        super().__init__(daemon=True)
        self.bytes = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.05):
            self.bytes = max(self.bytes, sum(map(resident, psutil.Process().children(True))))


def resident(process: psutil.Process) -> int:
    """Resident bytes of a process; a process that has just ended counts nothing."""
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def measure(path: Path) -> Cost:
    """Execute a notebook in a fresh kernel and say what it took. The file is not changed."""
    notebook = notebooks.read(path)
    client = notebooks.client_for(notebook, path, timeout=900)
    memory = PeakMemory()
    memory.start()
    start = time.perf_counter()
    client.execute()
    seconds = time.perf_counter() - start
    memory.done.set()
    memory.join()
    return Cost(seconds, memory.bytes / 1e9)


def title(path: Path) -> str:
    """The first heading of a notebook, without its number."""
    for cell in notebooks.read(path).cells:
        found = re.search(r"^# (?:\d+ · )?(.+)$", cell.source, re.MULTILINE)
        if cell.cell_type == "markdown" and found:
            return found.group(1)
    raise ValueError(f"{path.name} has no heading; begin it with `# NN · Title`")


def table(costs: dict[Path, Cost]) -> str:
    """The Markdown table of the README, between its marks."""
    rows = [
        f"| [{path.name[:2]}](chapters/{path.name}) | {title(path)} "
        f"| {round(cost.seconds)} s | {cost.gigabytes:.1f} GB |\n"
        for path, cost in costs.items()
    ]
    machine = f"{psutil.cpu_count(logical=True)} CPU cores, Python {platform.python_version()}"
    note = f"\nEach chapter run from top to bottom on {machine}: `python course.py budget`.\n"
    return BEGIN + "\n" + HEADER + "".join(rows) + note + END


def replace_table(text: str, new: str) -> str:
    """The README's text with the table between the marks replaced; ValueError without marks."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(
            f"README.md needs one {BEGIN} and one {END}; put them where the table goes"
        )
    before, rest = text.split(BEGIN)
    return before + new + rest.split(END)[1]


def written(text: str) -> dict[str, Cost]:
    """The costs that a README states, by notebook path."""
    return {path: Cost(float(s), float(gb)) for _, path, s, gb in ROW.findall(text)}


def main(argv: list[str]) -> int:
    """`course.py budget`: measure chapters and write the table into README.md."""
    parser = argparse.ArgumentParser(prog="course.py budget", description=main.__doc__)
    paths = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
    numbers = [path.name[:2] for path in paths]
    help = "such as 06; the rows of the others are kept (default: all)"
    parser.add_argument("chapters", nargs="*", metavar="chapter", help=help)
    chosen = parser.parse_args(argv).chapters
    if unknown := set(chosen) - set(numbers):
        parser.error(f"no chapter {', '.join(sorted(unknown))}; there are {', '.join(numbers)}")
    os.environ["COURSE_PROGRESS"] = "off"
    readme = ROOT / "README.md"
    before, costs = written(readme.read_text(encoding="utf-8")), {}
    for path in paths:
        name = f"chapters/{path.name}"
        if chosen and path.name[:2] not in chosen and name in before:
            costs[path] = before[name]
            continue
        cost = costs[path] = measure(path)
        print(f"{path.name}: {cost.seconds:.1f} s, {cost.gigabytes:.2f} GB", flush=True)
    text = replace_table(readme.read_text(encoding="utf-8"), table(costs))
    notebooks.replace_text(readme, text)
    return 0
