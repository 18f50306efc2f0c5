"""Every exercise stands once in its chapter and once in its solutions, and its check is proved.

The bank of wrong answers is the proof: each plausible mistake must be refused, with the message
that names it.
"""

import importlib
import re
from collections import Counter
from pathlib import Path

import pytest
from wrong_answers import BANK

from lib.course import notebooks
from lib.course.checks import check, engine

for file in sorted((Path(__file__).parent / "wrong_answers").glob("chapter[0-9][0-9].py")):
    importlib.import_module(f"wrong_answers.{file.stem}")

NUMBERS = engine.exercise_numbers()
HEADING = re.compile(r"^### Exercise (\d+\.\d+) · (.+)$", re.MULTILINE)
CHECK = re.compile(r'^check\("(\d+\.\d+)", (\w+)(, record=False)?\)$')
ABOVE = re.compile(r"\*difficulty [●○]{3} · \d+ minutes\*")
HINT = re.compile(r"<details>\s*<summary>Hint")


def cells(folder, number):
    """The cells of an exercise: from its heading to its check."""
    chapter = f"{int(number.split('.')[0]):02d}"
    for path in (notebooks.ROOT / folder).glob(f"{chapter}_*.ipynb"):
        found = []
        for cell in notebooks.read(path).cells:
            heading = HEADING.search(cell.source) if cell.cell_type == "markdown" else None
            if heading:
                found = [cell] if heading.group(1) == number else []
            elif found:
                found.append(cell)
            if found and cell.cell_type == "code" and CHECK.match(cell.source):
                return found
    return []


def sources(folder, kind):
    return [
        cell.source
        for path in sorted((notebooks.ROOT / folder).glob("[0-9]*.ipynb"))
        for cell in notebooks.read(path).cells
        if cell.cell_type == kind
    ]


@pytest.mark.parametrize("folder", notebooks.FOLDERS)
def test_each_exercise_has_one_heading_and_one_check_in(folder):
    headings = [
        found.group(1) for s in sources(folder, "markdown") for found in HEADING.finditer(s)
    ]
    checks = [found.group(1) for s in sources(folder, "code") if (found := CHECK.match(s))]
    assert Counter(headings) == Counter(checks) == Counter(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
class TestExercise:
    def test_its_title_is_the_same_everywhere(self, number):
        for folder in notebooks.FOLDERS:
            heading = HEADING.search(cells(folder, number)[0].source)
            assert heading.group(2).strip() == engine.EXERCISES[number].title

    def test_difficulty_minutes_and_two_hints_stand_in_the_chapter(self, number):
        prose = "\n".join(c.source for c in cells("chapters", number) if c.cell_type == "markdown")
        assert ABOVE.search(prose), "write `*difficulty ●●○ · 10 minutes*` below the heading"
        assert len(HINT.findall(prose)) >= 2, "an exercise has at least two folded hints"

    def test_the_chapter_shows_it_not_attempted(self, number):
        [output] = cells("chapters", number)[-1].outputs
        assert "not attempted" in output.data["text/plain"]

    def test_its_solution_is_correct_and_leaves_no_trace_in_the_progress(self, number):
        last = cells("solutions", number)[-1]
        assert "record=False" in last.source
        assert "· correct" in last.outputs[0].data["text/plain"]

    def test_the_same_name_is_checked_in_chapter_and_solution(self, number):
        names = {CHECK.match(cells(f, number)[-1].source).group(2) for f in notebooks.FOLDERS}
        assert len(names) == 1

    def test_it_has_at_least_three_wrong_answers(self, number):
        assert sum(answer.number == number for answer in BANK) >= 3


@pytest.mark.parametrize("answer", BANK, ids=lambda a: f"{a.number}-{a.name}")
def test_a_wrong_answer_is_refused_with_its_diagnosis(answer):
    outcome = check(answer.number, answer.answer, record=False)
    assert outcome.status in ("wrong", "crashed"), f"accepted: {outcome}"
    assert answer.diagnosis in outcome.message + outcome.example, str(outcome)


def test_the_bank_names_only_exercises_that_exist():
    assert {answer.number for answer in BANK} <= set(NUMBERS)
