"""A small simulated world, told in English and Chinese; every text has a known probability."""

from lib.course.storyworld.instructions import comply, instruction, parse_instruction
from lib.course.storyworld.preferences import preference
from lib.course.storyworld.puzzles import parse_puzzle, puzzle, verify_solution
from lib.course.storyworld.questions import ask, check_answer, questions, story_labels
from lib.course.storyworld.verifier import Report, verify
from lib.course.storyworld.world import VERSION, Story, World

__all__ = [
    "VERSION",
    "Report",
    "Story",
    "World",
    "ask",
    "check_answer",
    "comply",
    "instruction",
    "parse_instruction",
    "parse_puzzle",
    "preference",
    "puzzle",
    "questions",
    "story_labels",
    "verify",
    "verify_solution",
]
