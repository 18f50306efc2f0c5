"""Conversations of the story world: what a chat model is taught, and how its answers are judged.

A task is what the user says, an answer that is right, and what a program needs to judge another
one. Four kinds: a story that meets an instruction, a question about a story, the mood of its end,
and puzzles, with numbers or about who and what is where.

    >>> from lib.course.storyworld import World
    >>> task = story_task(World().story(7, languages=("en",)), "en")
    >>> complies(task, task.answer), complies(task, "Once upon a time.")
    (True, False)
"""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lib.course.storyworld import (
    Story,
    World,
    check_answer,
    comply,
    instruction,
    puzzle,
    questions,
    verify_solution,
)
from lib.course.storyworld.instructions import PARTS, Instruction
from lib.course.storyworld.puzzles import KINDS as PUZZLE_KINDS
from lib.course.storyworld.puzzles import Puzzle
from lib.course.storyworld.questions import Question

KINDS = ("story", "question", "mood", "puzzle")
PUZZLES = (*PUZZLE_KINDS, *("row", "line") * 2)  # of training: the hardest three times as often
HAPPENS = ("event", "mood", "promise", "weather")  # constraints that shape what happens in a story
ENDS = HAPPENS[1:]  # those that a story may meet by chance, and that are heeded last
ALONE = ("alone",)  # as a wish, beside one of ENDS when nothing else is to happen
CHOICE = 12  # stories that a rarely wished one is chosen from
LABELS = {"en": ("Task:\n", "Answer:\n"), "zh": ("任务：\n", "回答：\n")}  # in a plain text


@dataclass(frozen=True)
class Task:
    """What a user asks, an answer that is right, and what an answer is judged by."""

    kind: str  # of KINDS
    language: str
    text: str  # what the user says
    answer: str
    wanted: Instruction | Question | Puzzle

    @property
    def messages(self) -> list[dict[str, str]]:
        """The question alone, as a conversation."""
        return [{"role": "user", "content": self.text}]


def story_task(story, language: str, seed: int = 0) -> Task:
    """An instruction that a story meets, and the story in its likeliest words.

    An instruction asks for what happens. Words chosen by chance would be two fifths of the bits of
    an answer, and hide how the rest depends on what was asked.
    """
    wanted = instruction(story, language, seed)
    return Task("story", language, wanted.text, story.plainly(language), wanted)


def question_tasks(story, language: str, seed: int = 0, told: bool = True) -> list[Task]:
    """All questions about a story in random order; told: the story stands before each question."""
    before = story.text[language] + "\n" if told else ""
    found = []
    for question in questions(story, language, seed):
        kind = "mood" if question.kind == "mood" else "question"
        found.append(Task(kind, language, before + question.text, question.short, question))
    random.Random(f"order {language} {seed} {story.text[language]}").shuffle(found)
    return found


def puzzle_task(
    seed: int | str, language: str, split: str = "train", kind: str | None = None
) -> Task:
    """A puzzle, of a kind if one is given, with its solution in steps."""
    wanted = puzzle(seed, language, split, kind)
    return Task("puzzle", language, wanted.text, wanted.solution, wanted)


def complies(task: Task, answer: str) -> bool:
    """Whether an answer does what its task asks for, by the programs of the story world."""
    if task.kind == "story":
        return comply(task.wanted, answer, task.language).ok
    if task.kind == "puzzle":
        return verify_solution(task.wanted, answer).right
    return check_answer(task.wanted, answer)


def exchange(text: str, answer: str) -> list[dict[str, str]]:
    """A question and its answer, as two messages."""
    return [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]


def transcript(messages: list[dict[str, str]], language: str) -> list[tuple[str, bool]]:
    """A conversation as a plain text without special tokens, in pieces, and which are answers.

    Every piece ends with a line end; what a user says may have lines of its own.

    >>> transcript(exchange("Was Tom a frog?", "Yes"), "en")
    [('Task:\\nWas Tom a frog?\\nAnswer:\\n', False), ('Yes\\n', True)]
    """
    task, answer = LABELS[language]
    pieces = []
    for message in messages:
        text = message["content"] + "\n"
        asked = message["role"] == "user"
        pieces.append((f"{task}{text}{answer}", False) if asked else (text, True))
    return pieces


def grow(messages: list, tasks: list[Task], fits: Callable[[list], bool]) -> list:
    """Add questions with their answers to a conversation, as long as it fits."""
    for task in tasks:
        longer = messages + exchange(task.text, task.answer)
        if not fits(longer):
            break
        messages = longer
    return messages


def instructed(
    n: int, language: str, seed: int = 0, turns: tuple = (None, HAPPENS, ENDS, ALONE)
) -> Iterator[tuple[Story, Task]]:
    """n stories of the training split, each with an instruction that it meets.

    A happy end is wished for hundreds of times as often as a lie, and a sad one mostly with what
    makes sad; a model that hardly ever meets a wish, or meets it only with what brings it about
    anyway, does not learn to heed it. turns: for one story after the other, the kinds of
    constraints by which it is chosen among CHOICE, as the one whose instruction asks for what was
    asked for least until then; with ALONE, of those that wish for an end and for nothing else that
    happens; with None it is taken as it comes.
    """
    asked: Counter = Counter()
    stories = World().stories(n * CHOICE, seed, "train", (language,))
    for i in range(n):
        kinds = turns[i % len(turns)]
        some = itertools.islice(stories, CHOICE if kinds else 1)
        found = [(story, story_task(story, language, i)) for story in some]
        story, task = min(found, key=lambda one: frequency(one[1].wanted, asked, kinds or ()))
        asked.update(wishes(task.wanted))
        yield story, task


def wishes(wanted: Instruction) -> list[tuple]:
    """What an instruction asks to happen, alone and two by two: ((kind of constraint, value), ...).

    >>> from lib.course.storyworld import parse_instruction
    >>> wishes(parse_instruction("Write a sad story about somebody who makes a promise.", "en"))
    [(('event', 'promise'),), (('mood', 'sad'),), (('event', 'promise'), ('mood', 'sad'))]
    >>> wishes(parse_instruction("Write a sad story.", "en"))
    [(('mood', 'sad'),), (('mood', 'sad'), ('alone', None))]
    """
    shapes = [one for one in wanted.constraints if one.kind in HAPPENS]
    values = sorted((one.kind, one.values[PARTS[one.kind][0]]) for one in shapes)
    beside = [(*ALONE, None)] if len(values) == 1 and values[0][0] in ENDS else []
    return [*((value,) for value in values), *itertools.combinations(values + beside, 2)]


def frequency(wanted: Instruction, asked: Counter, kinds: tuple) -> float:
    """How often the wishes with one of some kinds were asked for, as the mean of logarithms."""
    some = [wish for wish in wishes(wanted) if any(kind in kinds for kind, _ in wish)]
    return sum(math.log(1 + asked[wish]) for wish in some) / len(some) if some else math.inf


def conversations(
    n: int, language: str, seed: int = 0, fits: Callable[[list], bool] = lambda messages: True
) -> Iterator[list[dict[str, str]]]:
    """Conversations for training, two for each of n stories of the training split.

    An instruction, the story, and questions about it; and then a few puzzles, or every fourth time
    the story of the user and questions about it, of which every fourth has the mood first. Rows and
    lines of people, the hardest puzzles, are three times as frequent as other kinds. fits: whether
    a list of messages is short enough for the model; conversations are as long as it allows, and
    those that never fit are left out.
    """
    for i, (story, wanted) in enumerate(instructed(n, language, seed)):
        asked = question_tasks(story, language, i, told=False)
        if i % 16 == 0:
            asked.sort(key=lambda task: task.kind != "mood")
        first, *more = asked
        found = [(exchange(wanted.text, wanted.answer), asked[::-1])]
        if i % 4 == 0:
            told = f"{story.text[language]}\n{first.text}"
            found.append((exchange(told, first.answer), more))
        else:
            kinds = random.Random(f"kinds {language} {seed} {i}").choices(PUZZLES, k=4)
            riddle, *riddles = (
                puzzle_task(f"{seed}:{i}:{k}", language, kind=kind) for k, kind in enumerate(kinds)
            )
            found.append((exchange(riddle.text, riddle.answer), riddles))
        for messages, tasks in found:
            if fits(messages):
                yield grow(messages, tasks, fits)


def held_out_tasks(n: int, language: str, seed: int = 1) -> list[Task]:
    """n tasks of each kind of KINDS, of combinations that training never held."""
    half = World().stories(n - n // 2, seed, "verb_object", (language,))
    stories = [*half, *World().stories(n // 2, seed, "character_place", (language,))]
    tasks = [story_task(story, language) for story in stories]
    for kind in ("question", "mood"):
        for story in stories:
            tasks.append(next(t for t in question_tasks(story, language) if t.kind == kind))
    return tasks + [puzzle_task(f"{seed}:{i}", language, "held_out") for i in range(n)]
