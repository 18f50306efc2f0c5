"""The notebooks keep the policy, and the policy catches what it is there for."""

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from lib.course import notebooks

CHAPTERS_AND_SOLUTIONS = notebooks.notebook_paths()
MOST_IGNORED = 0.2  # of the code cells of a notebook may be left uncompared


def code(source, outputs=(), count=1, name="a", **metadata):
    cell = nbformat.v4.new_code_cell(source, execution_count=count, outputs=list(outputs))
    cell.id = name
    cell.metadata.update(metadata)
    return cell


def notebook(*cells):
    return nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


def figure(mime="image/png"):
    return nbformat.v4.new_output("display_data", data={mime: "aGk=", "text/plain": "<Figure>"})


def stream(name, text):
    return nbformat.v4.new_output("stream", name=name, text=text)


@pytest.mark.parametrize("path", CHAPTERS_AND_SOLUTIONS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_notebook_keeps_the_policy(path):
    assert notebooks.problems(notebooks.read(path)) == []


@pytest.mark.parametrize("path", CHAPTERS_AND_SOLUTIONS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_few_cells_escape_comparison(path):
    cells = notebooks.code_cells(notebooks.read(path))
    ignored = [c.id for c in cells if notebooks.tags(c) & notebooks.IGNORING_TAGS]
    assert len(ignored) <= MOST_IGNORED * len(cells), f"too many uncompared cells: {ignored}"


@pytest.mark.parametrize("path", CHAPTERS_AND_SOLUTIONS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_notebook_survives_the_round_trip_through_text(path):
    jupytext = pytest.importorskip("jupytext", reason="install the dev extra")
    before = notebooks.read(path)
    text = jupytext.writes(before, fmt="py:percent")
    again = jupytext.reads(text, fmt="py:percent")
    assert [c.source for c in again.cells] == [c.source for c in before.cells]


def test_every_solution_belongs_to_a_chapter():
    folders = {
        f: {p.name for p in CHAPTERS_AND_SOLUTIONS if p.parent.name == f} for f in notebooks.FOLDERS
    }
    assert folders["solutions"] <= folders["chapters"]


BROKEN = {
    "never run": [code("1", count=None)],
    "out of order": [code("1", count=2), code("2", count=1, name="b")],
    "occurs twice": [code("1"), code("2", count=2)],
    "unexpected ValueError": [
        code("1", [nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[])])
    ],
    "output on stderr": [code("1", [stream("stderr", "warning")])],
    "SVG output": [code("1", [figure("image/svg+xml")])],
    "figure without `alt`": [code("1", [figure()])],
    "trailing `;`": [code("plot(1);")],
    "magic": [code("%timeit 1")],
    "metadata ['execution']": [code("1", execution={"iopub.execute_input": "2026-01-01"})],
    "needs a `reason`": [code("1", tags=["nbval-ignore-output"])],
    "split it": [code("\n".join(["1"] * 30))],
    "address or a path": [
        code("object()", [stream("stdout", "<object object at 0x7f00deadbeef>")])
    ],
}


@pytest.mark.parametrize("complaint", BROKEN)
def test_the_policy_refuses(complaint):
    found = notebooks.problems(notebook(*BROKEN[complaint]))
    assert any(complaint in problem for problem in found), found


@pytest.mark.parametrize(
    "image", ["![x](https://a.example/b.png)", '<img src="http://a.example/b.png">']
)
def test_the_policy_refuses_remote_images(image):
    cell = nbformat.v4.new_markdown_cell(image)
    assert any("remote image" in p for p in notebooks.problems(notebook(cell)))


def test_the_policy_refuses_hints_that_would_not_fold():
    hint = "<details><summary>Hint 1</summary>\n{}Think.\n</details>\n\nAnd then."
    folded, unfolded = (nbformat.v4.new_markdown_cell(hint.format(gap)) for gap in ("", "\n"))
    assert notebooks.cell_problems(folded) == []
    assert "unfolded" in notebooks.cell_problems(unfolded)[0]


def test_a_good_notebook_has_no_problem():
    good = notebook(
        code("x = 1  # one; two", name="a"),
        code("x", [figure()], count=2, name="b", alt="a line that rises"),
        code("t", count=3, name="c", tags=["nbval-ignore-output"], reason="a timing"),
    )
    assert notebooks.problems(good) == []


def test_a_missing_cell_id_is_reported():
    broken = notebook(code("1"))
    del broken.cells[0]["id"]
    assert any("no id" in p for p in notebooks.problems(broken))


def test_a_file_that_is_no_notebook_is_refused(tmp_path):
    path = tmp_path / "01.ipynb"
    path.write_text('{"cells": [', encoding="utf-8")
    with pytest.raises(ValueError, match="is not a notebook"):
        notebooks.read(path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "01.ipynb"
    path.write_text("old", encoding="utf-8")

    def refuse(source, target):
        raise OSError("no space left")

    monkeypatch.setattr(notebooks.os, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        notebooks.replace_text(path, "new")
    assert [p.read_text(encoding="utf-8") for p in tmp_path.iterdir()] == ["old"]


def test_executing_stores_outputs_without_noise_and_records_no_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress"))
    path = tmp_path / "01.ipynb"
    source = "import os\nprint(os.environ['COURSE_PROGRESS'])\nprint('two')"
    notebooks.write(notebook(code(source, count=None, collapsed=True)), path)
    notebooks.execute(path)
    done = notebooks.read(path)
    assert done.cells[0].outputs == [stream("stdout", "off\ntwo\n")]
    assert notebooks.problems(done) == []


def test_a_notebook_that_fails_is_left_as_it_was(tmp_path):
    path = tmp_path / "01.ipynb"
    notebooks.write(notebook(code("1 / 0", count=None)), path)
    before = path.read_bytes()
    with pytest.raises(CellExecutionError):
        notebooks.execute(path)
    assert path.read_bytes() == before
