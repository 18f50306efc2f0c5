"""The checks of the exercises: `check("1.2", my_function)`."""

from lib.course.checks.engine import Outcome, check

__all__ = ["Outcome", "check"]
