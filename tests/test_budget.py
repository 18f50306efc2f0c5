"""The README's table of seconds and memory is written by a command, and is whole."""

import time

import nbformat
import pytest

from lib.course import budget, notebooks
from lib.course.budget import BEGIN, END, Cost

README = (notebooks.ROOT / "README.md").read_text(encoding="utf-8")
CHAPTERS = sorted((notebooks.ROOT / "chapters").glob("[0-9]*.ipynb"))


def test_the_readme_has_a_measured_row_for_every_chapter():
    assert list(budget.written(README)) == [f"chapters/{path.name}" for path in CHAPTERS]


def test_every_chapter_keeps_within_its_minutes_and_three_gigabytes():
    """Three minutes; six where models are fine-tuned; chapter 06, which trains one, has ten."""
    most = {"06": 600, "11": 360, "12": 360, "13": 360}
    for path, cost in budget.written(README).items():
        assert cost.seconds <= most.get(path.removeprefix("chapters/")[:2], 180), path
        assert cost.gigabytes <= 3, path


def test_a_written_table_reads_back_and_the_rest_stays():
    costs = {path: Cost(12.4, 0.53) for path in CHAPTERS}
    text = budget.replace_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", budget.table(costs))
    assert set(budget.written(text).values()) == {Cost(12, 0.5)}
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text


@pytest.mark.parametrize("text", ["", BEGIN, BEGIN + END + BEGIN + END])
def test_a_readme_without_its_marks_is_refused(text):
    with pytest.raises(ValueError, match=r"README\.md needs one"):
        budget.replace_table(text, "")


def test_measuring_takes_time_and_memory_and_leaves_the_file_alone(tmp_path):
    path = tmp_path / "01.ipynb"
    source = "block = bytearray(300_000_000)\nimport time\ntime.sleep(0.5)"
    cells = [nbformat.v4.new_code_cell(source)]
    notebooks.write(nbformat.v4.new_notebook(cells=cells), path)
    before, start = path.read_bytes(), time.perf_counter()
    cost = budget.measure(path)
    assert 0.5 <= cost.seconds <= time.perf_counter() - start
    assert cost.gigabytes > 0.3
    assert path.read_bytes() == before


def test_some_chapters_are_measured_and_the_rows_of_the_others_stay(tmp_path, monkeypatch):
    (tmp_path / "chapters").mkdir()
    for path in CHAPTERS[:3]:
        (tmp_path / "chapters" / path.name).write_bytes(path.read_bytes())
    rows = {path: Cost(10, 0.5) for path in CHAPTERS[:2]}  # the third one is new
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{budget.table(rows)}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(budget, "ROOT", tmp_path)
    monkeypatch.setattr(budget, "measure", lambda path: Cost(20, 0.7))
    assert budget.main([CHAPTERS[1].name[:2]]) == 0
    found = [cost.seconds for cost in budget.written(readme.read_text(encoding="utf-8")).values()]
    assert found == [10, 20, 20]
    with pytest.raises(SystemExit):
        budget.main(["99"])
