"""The engine of the checks: four outcomes, each with a message that a learner can act on."""

import random
from collections import Counter

import numpy as np
import pytest
import torch

from lib.course import progress
from lib.course.checks import check, engine


@pytest.fixture(autouse=True)
def exercise(monkeypatch):
    """Exercise 99.1: return the sum of a list of numbers."""
    engine.exercise_numbers()  # what a test loads first would be lost with the copy
    monkeypatch.setattr(engine, "EXERCISES", dict(engine.EXERCISES))

    @engine.exercise("99.1", "Sum")
    def total(probe):
        probe.compare(([1, 2],), 3, {"You multiplied.": 2, "You took the mean.": np.mean})
        probe.holds("adds two numbers")
        probe.compare(([],), 0)
        probe.holds("an empty list adds up to 0")


def outcome(answer):
    return check("99.1", answer, record=False)


def test_a_right_answer_says_what_held():
    result = outcome(sum)
    assert result.status == "correct"
    assert "an empty list adds up to 0" in repr(result)


def test_a_named_misconception_is_named_with_the_example():
    result = outcome(lambda numbers: numbers[0] * numbers[1])
    assert (result.status, result.message) == ("wrong", "You multiplied.")
    assert "([1, 2])\nreturned  2\nexpected  3" in result.example


def test_a_mistake_may_be_given_as_a_function_of_the_arguments():
    assert outcome(lambda numbers: 1.5).message == "You took the mean."


def test_what_was_already_right_is_said():
    result = outcome(lambda numbers: sum(numbers) or 7)
    assert result.held == ("adds two numbers",)
    assert "already right: adds two numbers" in repr(result)


def stub(numbers):
    raise NotImplementedError


@pytest.mark.parametrize("answer", [stub, ...], ids=["function", "value"])
def test_a_stub_is_not_attempted(answer):
    assert outcome(answer).status == "not attempted"


def test_a_path_left_open_is_wrong_and_not_unattempted():
    result = outcome(lambda numbers: sum(numbers) if numbers else stub(numbers))
    assert result.status == "wrong"
    assert "still raises NotImplementedError" in result.message


def test_a_crash_shows_the_learners_own_lines_only():
    def divide(numbers):
        return numbers[0] / 0

    result = outcome(divide)
    assert result.status == "crashed"
    assert "return numbers[0] / 0" in result.example
    assert "ZeroDivisionError: division by zero" in result.example
    assert "engine.py" not in result.example
    assert "divide([1, 2])" in result.example


def test_a_crash_inside_a_library_is_shown_at_the_learners_line():
    def count(numbers):
        return Counter(numbers[i + 1] for i in range(len(numbers)))

    result = outcome(count)
    assert "return Counter(" in result.example
    assert "in update" not in result.example
    assert "IndexError" in result.example


def test_lines_of_a_notebook_are_counted_from_the_top_of_their_cell():
    namespace = {}
    source = "def f(numbers):\n    return 1 / 0\n"
    exec(compile(source, "<ipython-input-3-abc>", "exec"), namespace)
    assert "line 2 of the cell, in f:" in outcome(namespace["f"]).example


GENERAL = [
    (lambda n: None, "is a `return` missing?"),
    (lambda n: float("nan"), "nan (not a number)"),
    (lambda n: [3], "a list, but a number is needed"),
    (lambda n: "3", "a str, but a number is needed"),
    (lambda n: 10, "not the expected one"),
    (lambda n: n.append(1) or 3, "changes its argument"),
    (7, "pass its name, without brackets"),
]


@pytest.mark.parametrize(("answer", "diagnosis"), GENERAL)
def test_common_slips_are_recognised_without_being_listed(answer, diagnosis):
    result = outcome(answer)
    assert result.status == "wrong"
    assert diagnosis in result.message


def test_shapes_and_lengths_are_compared_before_values():
    assert "shape is (2,)" in engine.difference(torch.zeros(2), torch.zeros(3))
    assert "length is 1" in engine.difference([1], [1, 2])


def test_a_generator_may_advance_without_counting_as_a_changed_argument():
    @engine.exercise("99.2", "Draw")
    def draw(probe):
        probe.compare((random.Random(0), 10), random.Random(0).randrange(10))

    assert check("99.2", lambda rng, n: rng.randrange(n), record=False).status == "correct"


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, 1.0, True),
        (True, 1, True),
        (torch.tensor(1.0), 1, True),
        (torch.ones(2), [1, 1], True),
        (torch.ones(2), torch.ones(2, 1), False),
        ([1, 2], (1, 2), True),
        ([1], [1, 2], False),
        ({"a": [1.0]}, {"a": [1.0 + 1e-9]}, True),
        ("a", 1.0, False),
        (float("nan"), float("nan"), True),
        (float("inf"), float("inf"), True),
        (None, 0, False),
    ],
)
def test_equality_is_that_of_a_teacher(a, b, equal):
    assert engine.same(a, b, 1e-6) is equal


def test_an_answer_of_a_surprising_kind_is_wrong_and_does_not_break_the_check():
    @engine.exercise("99.3", "Tensor")
    def tensor(probe):
        probe.require(probe.call([1, 2]).sum() == 3, "The sum is off.")

    result = check("99.3", list, record=False)
    assert result.status == "wrong"
    assert "another kind" in result.message
    assert "list([1, 2])\nreturned  [1, 2]" in result.example


def test_a_check_that_fails_by_itself_is_not_blamed_on_the_learner():
    @engine.exercise("99.4", "Broken")
    def broken(probe):
        raise KeyError("oops")

    with pytest.raises(KeyError):
        check("99.4", list, record=False)


def test_an_unknown_number_lists_those_that_exist():
    with pytest.raises(ValueError, match=r"99\.1"):
        check("99.7", sum)
    with pytest.raises(ValueError, match="no exercise"):
        check("soup", sum)


def test_two_exercises_cannot_share_a_number():
    def other(probe):
        pass

    other.__module__ = "elsewhere"
    with pytest.raises(ValueError, match="registered twice"):
        engine.exercise("99.1", "Other")(other)


def test_the_outcome_is_recorded_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "p"))
    check("99.1", sum, record=False)
    assert progress.latest() == {}
    check("99.1", sum)
    assert progress.latest() == {"99.1": "correct"}


def test_the_html_is_escaped():
    result = outcome(lambda n: "<script>")
    assert "<script>" not in result._repr_html_()
    assert "&lt;script&gt;" in result._repr_html_()
