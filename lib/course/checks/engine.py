"""The engine of the exercise checks: it runs a learner's answer and says what it found.

The checks of chapter 1 live in `lib/course/checks/chapter01.py`. Each is a function of one
`Probe`, registered under the number and title that its exercise has in the notebook:

    @exercise("1.2", "Perplexity")
    def perplexity(probe):
        probe.compare(([0.5, 0.5],), 2.0, mistakes={
            "You returned the entropy in bits; perplexity is 2 to that power.": 1.0,
        })
        probe.holds("two equally likely outcomes have perplexity 2")

Go from the smallest input to the largest, so that the example shown on failure is the smallest
one that fails. `mistakes` maps a diagnosis to the value (or to a function of the arguments) that
a learner with that misconception would get: when the answer equals it, the diagnosis is shown.
`probe.require` states a property in words. `probe.holds` records what has been established.

    probe.compare(args, expected, mistakes={}, tolerance=1e-6)   call, compare, diagnose
        (on_crash="..." says what to tell where an error is the expected slip; also in `call`)
    probe.call(*args)                  call the answer on copies of args, return its value
    probe.require(condition, diagnosis, example="")              a property, or the diagnosis
    probe.expect(got, expected, mistakes={}, example="...")      compare a value you already have
    probe.value()                      the answer of an exercise that asks for a value
    probe.holds("claim")               what the lines above have established

A check never prints and never raises for a wrong answer: it returns an `Outcome`, which the
notebook shows. The same outcome is what the bank of wrong answers is tested against.
"""

import copy
import html
import importlib
import math
import os
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lib.course import progress

NOT_ATTEMPTED, CORRECT, WRONG, CRASHED = "not attempted", "correct", "wrong", "crashed"
COLOURS = {NOT_ATTEMPTED: "#7a7a7a", CORRECT: "#2b7a4b", WRONG: "#b3541e", CRASHED: "#a3263a"}
CHECKS_FOLDER = Path(__file__).parent
LIBRARY_FOLDERS = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]


@dataclass(frozen=True)
class Exercise:
    """One exercise: its number and title as in the notebook, and the function that probes it."""

    number: str
    title: str
    probe: Callable


EXERCISES: dict[str, Exercise] = {}


def exercise(number: str, title: str) -> Callable:
    """Register the decorated function as the check of exercise `number` ("chapter.position")."""

    def register(function: Callable) -> Callable:
        if number in EXERCISES and EXERCISES[number].probe.__module__ != function.__module__:
            raise ValueError(f"exercise {number} is registered twice; give one another number")
        EXERCISES[number] = Exercise(number, title, function)
        return function

    return register


@dataclass(frozen=True)
class Outcome:
    """What a check found, in the words that the learner reads."""

    number: str
    title: str
    status: str
    message: str = ""
    example: str = ""
    held: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = [f"Exercise {self.number} · {self.title} · {self.status}"]
        lines += [self.message] if self.message else []
        lines += ["    " + line for line in self.example.splitlines()]
        lines += [
            ("  + " if self.status == CORRECT else "  + already right: ") + h for h in self.held
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        colour = COLOURS[self.status]
        parts = [
            f'<div style="border-left:4px solid {colour};padding:2px 12px">',
            f"<b>Exercise {self.number} · {html.escape(self.title)} ·</b> ",
            f'<b style="color:{colour}">{self.status}</b>',
        ]
        if self.message:
            parts.append(f"<div>{_inline_code(self.message)}</div>")
        if self.example:
            parts.append(
                f'<pre style="margin:4px 0;font-family:monospace">{html.escape(self.example)}</pre>'
            )
        if self.held:
            parts.append(
                "<div>Established:</div>" if self.status == CORRECT else "<div>Already right:</div>"
            )
            items = "".join(f"<li>{_inline_code(h)}</li>" for h in self.held)
            parts.append(f'<ul style="margin:0">{items}</ul>')
        return "".join(parts) + "</div>"


class Stop(Exception):
    """Ends a check early; carries the status, the diagnosis and the example to show."""

    def __init__(self, status: str, message: str, example: str = ""):
        super().__init__(message)
        self.status, self.message, self.example = status, message, example


class Probe:
    """Runs one learner's answer for one check, and collects what held."""

    def __init__(self, answer: object):
        self.answer = answer
        self.held: list[str] = []
        self.last = ""  # the last call and what it returned, for answers of a surprising kind

    def holds(self, claim: str) -> None:
        """Record a property that the lines of the check above this one have established."""
        self.held.append(claim)

    def value(self) -> object:
        """The answer itself, for an exercise that asks for a value and not for a function."""
        if callable(self.answer):
            raise Stop(WRONG, "This exercise asks for a value, but you passed a function.")
        return self.answer

    def call(self, *args, on_crash: str = "", **kwargs) -> object:
        """Call the learner's function on copies of the arguments and return what it returns.

        on_crash: what to say, instead of the general remark, when the function raises an error.
        """
        if not callable(self.answer):
            raise Stop(
                WRONG,
                "The check needs your function itself: pass its name, without brackets after it.",
                f"it was given {show(self.answer)}",
            )
        copies = copy.deepcopy((args, kwargs))
        called = self.describe(*args, **kwargs)
        try:
            result = self.answer(*copies[0], **copies[1])
        except NotImplementedError as error:
            if not self.held:
                raise Stop(NOT_ATTEMPTED, "") from error
            message = "One path through your function still raises NotImplementedError."
            raise Stop(WRONG, message, called) from error
        except Exception as error:
            message = on_crash or "Your function raised an error before it returned anything."
            raise Stop(CRASHED, message, f"{called}\n{shortened(error)}") from error
        if changed([*args, *kwargs.values()], [*copies[0], *copies[1].values()]):
            message = (
                "Your function changes its argument; work on a copy, so that callers keep theirs."
            )
            raise Stop(WRONG, message, called)
        self.last = f"{called}\nreturned  {show(result)}"
        return result

    def compare(
        self,
        args: tuple,
        expected: object,
        mistakes: Mapping[str, object] | None = None,
        tolerance: float = 1e-6,
        on_crash: str = "",
    ) -> object:
        """Call with `args`, compare with `expected`, name the misconception on a difference."""
        got = self.call(*args, on_crash=on_crash)
        lazy = {
            diagnosis: (lambda wrong=wrong: wrong(*copy.deepcopy(args)))
            if callable(wrong)
            else wrong
            for diagnosis, wrong in (mistakes or {}).items()
        }
        self.expect(got, expected, lazy, self.describe(*args), tolerance)
        return got

    def expect(
        self,
        got: object,
        expected: object,
        mistakes: Mapping[str, object] | None = None,
        example: str = "your answer",
        tolerance: float = 1e-6,
    ) -> None:
        """Compare a value with the expected one; `mistakes` values may be functions of nothing."""
        if same(got, expected, tolerance):
            return
        shown = f"{example}\nreturned  {show(got)}\nexpected  {show(expected)}"
        for diagnosis, wrong in (mistakes or {}).items():
            if same(got, evaluate(wrong), tolerance):
                raise Stop(WRONG, diagnosis, shown)
        raise Stop(WRONG, difference(got, expected), shown)

    def require(self, condition: object, diagnosis: str, example: str = "") -> None:
        """Stop with the diagnosis unless the condition holds."""
        if not condition:
            raise Stop(WRONG, diagnosis, example)

    def describe(self, *args, **kwargs) -> str:
        """The call as one would type it, long arguments shortened."""
        shown = [show(a, 60) for a in args] + [f"{k}={show(v, 60)}" for k, v in kwargs.items()]
        return f"{getattr(self.answer, '__name__', 'your function')}({', '.join(shown)})"


def check(number: str, answer: object, *, record: bool = True) -> Outcome:
    """Check the answer to an exercise and return the outcome.

    number: "chapter.position", as in the heading of the exercise. answer: the function that you
    wrote (or the value that you computed). record: keep the outcome for the progress report.
    Raises ValueError when there is no exercise of that number.
    """
    known = find(number)
    probe = Probe(answer)
    try:
        if answer is Ellipsis:
            raise Stop(NOT_ATTEMPTED, "")
        known.probe(probe)
        outcome = Outcome(number, known.title, CORRECT, held=tuple(probe.held))
    except Stop as stop:
        message = stop.message
        if stop.status == NOT_ATTEMPTED:
            message = "Write your answer in the cell above, run it, then run this cell again."
        outcome = Outcome(
            number, known.title, stop.status, message, stop.example, tuple(probe.held)
        )
    except Exception:
        if not probe.last:
            raise  # nothing of the learner's has run: the check itself is broken
        message = "Your function returned something of another kind than the exercise asks for."
        outcome = Outcome(number, known.title, WRONG, message, probe.last, tuple(probe.held))
    if record:
        progress.record(number, outcome.status)
    return outcome


def find(number: str) -> Exercise:
    """The exercise of that number. Raises ValueError, listing the numbers that there are."""
    chapter = str(number).split(".")[0]
    load_chapter(chapter)
    if number not in EXERCISES:
        there = [n for n in EXERCISES if n.split(".")[0] == chapter] or exercise_numbers()
        raise ValueError(
            f"there is no exercise {number!r}; write its number as a string, one of: "
            + ", ".join(there)
        )
    return EXERCISES[number]


def load_chapter(chapter: str) -> None:
    """Import the checks of a chapter ("1" or "01"), if it has any."""
    name = f"chapter{chapter.zfill(2)}"
    if (CHECKS_FOLDER / f"{name}.py").exists():
        importlib.import_module(f"lib.course.checks.{name}")


def exercise_numbers() -> list[str]:
    """Load every chapter's checks and return all exercise numbers in course order."""
    for file in sorted(CHECKS_FOLDER.glob("chapter[0-9][0-9].py")):
        load_chapter(file.stem.removeprefix("chapter"))
    return sorted(EXERCISES, key=lambda n: tuple(int(part) for part in n.split(".")))


def same(got: object, expected: object, tolerance: float) -> bool:
    """Whether two answers are equal, floats and arrays within an absolute-or-relative tolerance.

    >>> same([1, 2.0000000001], (1, 2), 1e-6), same(3, 3.1, 1e-6), same({"a": 1}, {"a": 1}, 0.0)
    (True, False, True)
    """
    if isinstance(got, (torch.Tensor, np.ndarray)) or isinstance(
        expected, (torch.Tensor, np.ndarray)
    ):
        return same_array(got, expected, tolerance)
    if isinstance(expected, (float, np.floating)) or isinstance(got, (float, np.floating)):
        return is_number(got) and is_number(expected) and close(got, expected, tolerance)
    if isinstance(expected, (list, tuple)) and isinstance(got, (list, tuple)):
        pairs = zip(got, expected, strict=False)
        return len(got) == len(expected) and all(same(g, e, tolerance) for g, e in pairs)
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        return got.keys() == expected.keys() and all(
            same(got[key], expected[key], tolerance) for key in expected
        )
    try:
        return bool(got == expected)
    except Exception:
        return False


def same_array(got: object, expected: object, tolerance: float) -> bool:
    """`same` for tensors and arrays: equal shapes, values within tolerance, NaN equal to NaN."""
    try:
        got, expected = as_array(got), as_array(expected)
        if got.shape != expected.shape:
            return False
        return bool(np.allclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True))
    except (TypeError, ValueError):
        return False


def as_array(value: object) -> np.ndarray:
    """A tensor, array, number or list as a NumPy array."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def changed(before: list, after: list) -> bool:
    """Whether a container among the arguments was changed (generators may advance freely)."""
    containers = (list, dict, set, np.ndarray, torch.Tensor)
    pairs = zip(before, after, strict=True)
    return any(isinstance(b, containers) and not same(b, a, 0.0) for b, a in pairs)


def is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def close(got: float, expected: float, tolerance: float) -> bool:
    if math.isnan(got) or math.isnan(expected):
        return math.isnan(got) and math.isnan(expected)
    return got == expected or math.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance)


def evaluate(wrong: object) -> object:
    """The value of a mistake; a mistake that cannot be computed on this input matches nothing."""
    if not callable(wrong):
        return wrong
    try:
        return wrong()
    except Exception:
        return object()


def difference(got: object, expected: object) -> str:
    """The most helpful general remark on a wrong value that no named mistake explains."""
    if got is None:
        return (
            "Your function returned None: is a `return` missing? "
            "Printing a value does not return it."
        )
    if is_number(got) and math.isnan(got):
        return "Your function returned nan (not a number): look for 0/0, log of 0 or inf - inf."
    shapes = [tuple(as_array(v).shape) if hasattr(v, "shape") else None for v in (got, expected)]
    if None not in shapes and shapes[0] != shapes[1]:
        return f"The shape is {shapes[0]}, but {shapes[1]} is needed."
    if shapes[0] is None and kind(got) != kind(expected):
        return f"Your function returned {kind(got)}, but {kind(expected)} is needed."
    if isinstance(expected, (list, tuple, str, Mapping)) and len(got) != len(expected):
        return f"The length is {len(got)}, but {len(expected)} is needed: is a bound off by one?"
    return "The value is not the expected one."


def kind(value: object) -> str:
    """What a value is, in words that do not split hairs between number types."""
    if isinstance(value, bool):
        return "a bool"
    if is_number(value) or (isinstance(value, torch.Tensor) and value.ndim == 0):
        return "a number"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, Mapping):
        return "a dictionary"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def show(value: object, limit: int = 160) -> str:
    """A short, stable, readable text for any value."""
    if isinstance(value, torch.Tensor):
        text = f"tensor({show(value.tolist(), limit)})"
    elif isinstance(value, np.ndarray):
        text = f"array({show(value.tolist(), limit)})"
    elif isinstance(value, (float, np.floating)):
        text = f"{float(value):.6g}"
    elif isinstance(value, np.integer):
        text = str(int(value))
    elif isinstance(value, (list, tuple)):
        inner = ", ".join(show(v, limit) for v in value[:50])
        text = f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{show(k)}: {show(v)}" for k, v in list(value.items())[:50]) + "}"
    elif callable(value):
        text = getattr(value, "__name__", "a function")
    else:
        text = repr(value)
    return text if len(text) <= limit else text[: limit - 2] + " …"


def shortened(error: BaseException) -> str:
    """The learner's own lines of a traceback, without those of the checks and of libraries."""
    summary = traceback.TracebackException.from_exception(error)
    outside = [f for f in summary.stack if not under(f.filename, str(CHECKS_FOLDER))]
    own = [f for f in outside if not under(f.filename, *LIBRARY_FOLDERS)] or outside
    shown = own if len(own) <= 5 else [*own[:3], *own[-2:]]
    lines = [
        f"line {f.lineno}{' of the cell' * in_notebook(f.filename)}, in {f.name}:  {f.line}"
        for f in shown
    ]
    return "\n".join([*lines, "".join(summary.format_exception_only()).strip()])


def under(filename: str, *folders: str) -> bool:
    """Whether a file lies in one of the folders."""
    path = os.path.normcase(filename)
    return any(path.startswith(os.path.normcase(folder) + os.sep) for folder in folders)


def in_notebook(filename: str) -> bool:
    """Whether code was run from a notebook cell: the kernel keeps such code under its own name."""
    return "ipykernel" in filename or filename.startswith("<ipython-input")


def _inline_code(text: str) -> str:
    """Escaped text with `code` between backquotes set as code."""
    pieces = html.escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(pieces))
