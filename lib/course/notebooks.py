"""Notebooks as the course keeps them: read, executed without noise, and held to the policy.

The policy makes a notebook a test: outputs are stored, complete, in order and the same on every
machine. `problems` lists what breaks it, each with what to do; `execute` makes it true.
"""

import argparse
import os
import re
import sys
from collections import Counter
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("chapters", "solutions")
IGNORING_TAGS = {"nbval-ignore-output", "nbval-skip", "skip-execution", "raises-exception"}
KEPT_CELL_METADATA = {"tags", "reason", "alt"}
LONGEST_CELL, LONGEST_PROMOTED_CELL = 20, 45  # lines
PROMOTION_MARK = re.compile(r"^# (lib/\w+\.py)$")
BLANK_IN_DETAILS = re.compile(r"<details>(?:(?!</details>).)*?\n\s*\n", re.DOTALL)
REMOTE_IMAGE = re.compile(r"!\[[^\]]*\]\(\s*(https?:)?//|<img[^>]+src\s*=\s*[\"']?(https?:)?//")


def notebook_paths() -> list[Path]:
    """Every notebook of the course, chapters before solutions, in order."""
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("[0-9]*.ipynb"))]


def read(path: Path) -> NotebookNode:
    """Read a notebook as it is: nothing is upgraded, and duplicate cell ids are not renamed.

    Raises ValueError when the file is not a notebook of format 4.
    """
    try:
        notebook = nbformat.v4.reads(path.read_text(encoding="utf-8"))
        if notebook.nbformat != 4:
            raise ValueError(f"it has format {notebook.nbformat}, not 4")
        return notebook
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not a notebook ({error}); restore it with git") from error


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook atomically: a crash leaves the old file whole."""
    replace_text(path, nbformat.writes(notebook).rstrip("\n") + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, with the permissions that new files have here."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells that hold any code."""
    return [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def promoted_module(cell: NotebookNode) -> str | None:
    """The `lib/<module>.py` that a cell promotes to, None for any other cell."""
    if cell.cell_type != "code":
        return None
    found = PROMOTION_MARK.match(cell.source.split("\n", 1)[0])
    return found.group(1) if found else None


def client_for(notebook: NotebookNode, path: Path, timeout: int) -> NotebookClient:
    """A client that runs a notebook in its own folder, without timestamps and kernel messages."""
    return NotebookClient(
        notebook,
        timeout=timeout,
        record_timing=False,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )


def execute(path: Path, timeout: int = 600) -> None:
    """Run a notebook from top to bottom and store its outputs, without timestamps.

    The exercises' outcomes are not recorded as the learner's progress. On an error the file
    stays as it was, and the error is raised.
    """
    notebook = read(path)
    client = client_for(notebook, path, timeout)
    before = os.environ.get("COURSE_PROGRESS")
    os.environ["COURSE_PROGRESS"] = "off"
    try:
        client.execute()
    finally:
        if before is None:
            del os.environ["COURSE_PROGRESS"]
        else:
            os.environ["COURSE_PROGRESS"] = before
    clean(notebook)
    write(notebook, path)


def clean(notebook: NotebookNode) -> None:
    """Drop the metadata that editors and kernels add, and join streams split by buffering."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        for key in set(cell.metadata) - KEPT_CELL_METADATA:
            del cell.metadata[key]
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs with neighbouring pieces of one stream made one."""
    result: list[NotebookNode] = []
    for output in outputs:
        last = result[-1] if result else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            result.append(output)
    return result


def problems(notebook: NotebookNode) -> list[str]:
    """Everything in a notebook that breaks the policy, each with what to do about it."""
    found = id_problems(notebook) + order_problems(notebook)
    for cell in notebook.cells:
        complaints = cell_problems(cell)
        if cell.cell_type == "code":
            complaints += code_problems(cell)
            complaints += [c for output in cell.outputs for c in output_problems(cell, output)]
        found += [f"cell {cell.get('id', '?')}: {complaint}" for complaint in complaints]
    return found


def id_problems(notebook: NotebookNode) -> list[str]:
    """Missing and duplicate cell ids: translations and solutions refer to cells by id."""
    ids = [cell.get("id") for cell in notebook.cells]
    found = ["a cell has no id: give it a short readable one"] if not all(ids) else []
    twice = [name for name, count in Counter(ids).items() if name and count > 1]
    return found + [f"cell id {name} occurs twice: rename one" for name in twice]


def order_problems(notebook: NotebookNode) -> list[str]:
    """Cells never run, or run in another order than they stand in."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if any(count is None for count in counts):
        return ["some code cells were never run: execute the notebook with `course.py run`"]
    if counts != list(range(1, len(counts) + 1)):
        return ["cells were run out of order: execute the notebook with `course.py run`"]
    return []


def cell_problems(cell: NotebookNode) -> list[str]:
    """What any cell may get wrong: noisy metadata, tags without a reason, remote images."""
    found = []
    extra = set(cell.metadata) - KEPT_CELL_METADATA
    if extra:
        found.append(f"metadata {sorted(extra)}: remove it (`course.py run` does)")
    if tags(cell) & IGNORING_TAGS and not str(cell.metadata.get("reason", "")).strip():
        found.append(f"tag {sorted(tags(cell) & IGNORING_TAGS)} needs a `reason` in the metadata")
    if cell.cell_type == "markdown" and REMOTE_IMAGE.search(cell.source):
        found.append("a remote image: put the file into assets/figures")
    if cell.cell_type == "markdown" and BLANK_IN_DETAILS.search(cell.source):
        found.append("a blank line inside <details>: HTML pages would show the hint unfolded")
    return found


def code_problems(cell: NotebookNode) -> list[str]:
    """What a code cell may get wrong in its text."""
    found = []
    lines = cell.source.strip().split("\n")
    if lines[-1].split("#")[0].rstrip().endswith(";"):
        found.append("a trailing `;`: nbval misreads it; write `_ = …` or `plt.show()`")
    if any(line.startswith(("%", "!")) for line in lines):
        found.append("a shell or kernel magic: write Python")
    limit = LONGEST_PROMOTED_CELL if promoted_module(cell) else LONGEST_CELL
    if len(lines) > limit:
        found.append(f"{len(lines)} lines, at most {limit}: split it, with prose between")
    return found


def output_problems(cell: NotebookNode, output: NotebookNode) -> list[str]:
    """What a stored output may get wrong."""
    found = []
    if output.output_type == "error" and "raises-exception" not in tags(cell):
        found.append(f"an unexpected {output.ename}: mend it and execute again")
    if output.output_type == "stream" and output.name == "stderr":
        found.append("output on stderr: remove its cause (a warning, a progress bar)")
    data = output.get("data", {})
    if "image/svg+xml" in data:
        found.append("an SVG output, which differs at every run: draw it as PNG")
    if "image/png" in data and not str(cell.metadata.get("alt", "")).strip():
        found.append("a figure without `alt` text in the cell's metadata: say what it shows")
    text = str(output.get("text", "")) + str(data.get("text/plain", ""))
    if re.search(r" at 0x[0-9a-fA-F]{6,}|/tmp/|/home/|[A-Z]:\\\\", text) and not (
        tags(cell) & {"nbval-ignore-output"}
    ):
        found.append("an address or a path of this machine in the output: print something stable")
    return found


def main(argv: list[str]) -> int:
    """`course.py run`: execute notebooks in place; `--check`: hold them to the policy."""
    parser = argparse.ArgumentParser(prog="course.py run", description=main.__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: every notebook")
    parser.add_argument("--check", action="store_true", help="execute nothing, list the problems")
    options = parser.parse_args(argv)
    failed = False
    for path in [path.resolve() for path in options.notebooks] or notebook_paths():
        if not options.check:
            print(f"running {path.name} …", flush=True)
            try:
                execute(path)
            except CellExecutionError as error:
                print(f"{path.name} was left as it was:\n{error}", file=sys.stderr)
                failed = True
                continue
        found = problems(read(path))
        failed = failed or bool(found)
        for problem in found:
            print(f"{path.parent.name}/{path.name}: {problem}")
    return 1 if failed else 0
