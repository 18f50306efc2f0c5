"""The bank of wrong answers: plausible mistakes, each with the diagnosis that it must trigger.

    @wrong("1.2", "entropy in bits")
    def forgot_to_exponentiate(probabilities):
        ...

The second argument is a fragment of the message that the check must show. `wrong_value` takes
the answer of an exercise that asks for a value.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class WrongAnswer:
    """One wrong answer: the exercise, the answer, a fragment of the diagnosis it must trigger."""

    number: str
    answer: object
    diagnosis: str
    name: str


BANK: list[WrongAnswer] = []


def wrong(number: str, diagnosis: str) -> Callable:
    """Register the decorated function as a wrong answer to exercise `number`."""

    def register(function: Callable) -> Callable:
        BANK.append(WrongAnswer(number, function, diagnosis, function.__name__))
        return function

    return register


def wrong_value(number: str, diagnosis: str, value: object) -> None:
    """Register a wrong value, for an exercise that asks for a value."""
    BANK.append(WrongAnswer(number, value, diagnosis, repr(value)))
