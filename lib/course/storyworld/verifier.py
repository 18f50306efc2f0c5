"""From a text back to its events, and what is wrong with them.

`parses` finds every way in which a text can be cut into units of the templates. `verify` reports
what is inconsistent. `derivations` finds all the choices that lead to a text, so a test can assert
that there is one way only, and `Answers` can replay it for its exact probability.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from lib.course.storyworld.choices import Answers, Choice, Impossible
from lib.course.storyworld.lexicon import check_language, load_lexicon
from lib.course.storyworld.plots import Character, Record, Teller, recognise
from lib.course.storyworld.realiser import realise
from lib.course.storyworld.simulator import Event, Problem, State, load_kinds
from lib.course.storyworld.splits import check_split
from lib.course.storyworld.templates import (
    CHAIN,
    JOIN,
    Context,
    Literal,
    Mention,
    Mismatch,
    Template,
    load_templates,
)


@dataclass
class Reading:
    """A text as read up to `end`: its events, and the answers of the choices of words."""

    language: str
    end: int = 0
    cast: dict = field(default_factory=dict)
    looks: dict = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    answers: list = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    mentioned: frozenset = frozenset()
    subject: str | None = None
    others: tuple = ()
    open: bool = False

    def context(self) -> Context:
        context = Context(self.language, dict(self.cast), dict(self.looks))
        context.mentioned = set(self.mentioned)
        context.subject, context.others, context.open = self.subject, self.others, self.open
        return context


@dataclass
class Report:
    """What the verifier found; `ok` if nothing is wrong.

    problems: each with its kind (grammar, reference, character, possession, place, promise, number,
    cause or ending). events, cast and looks: what the text tells, as far as it could be read.
    """

    problems: list[Problem]
    events: list[Event]
    cast: dict
    looks: dict

    @property
    def ok(self) -> bool:
        return not self.problems

    def kinds(self) -> set[str]:
        return {problem.kind for problem in self.problems}

    def __str__(self) -> str:
        if self.ok:
            return f"consistent: {len(self.events)} events"
        return "; ".join(f"{p.kind} (event {p.where + 1}): {p.what}" for p in self.problems)


@cache
def heads(language: str) -> dict[re.Pattern, dict[str, list[Template]]]:
    """The templates by how they begin: a pattern, and the first characters after its match.

    Only a look at the right few of some five hundred templates makes reading fast. It is safe for
    names because none begins another; what is not sure stands under the empty string.
    """
    found: dict[re.Pattern, dict[str, list[Template]]] = {}
    for templates, _ in load_templates(language).values():
        for template in templates:
            first, *rest = template.pieces
            key = then = ""
            if isinstance(first, Literal):
                then = first.text[:2]
            elif isinstance(first, Mention) and isinstance(rest[0], Literal):
                key, then = first.pattern, rest[0].text[:3]
            found.setdefault(re.compile(key), {}).setdefault(then, []).append(template)
    return found


@cache
def chained_heads(language: str) -> dict[str, list[Template]]:
    """The templates that may continue a sentence, by the first characters after its end."""
    found: dict[str, list[Template]] = {}
    for by_start in heads(language).values():
        for start, templates in by_start.items():
            starts = [template for template in templates if template.chained]
            if starts:
                found[start] = found.get(start, []) + starts
    return found


def steps(reading: Reading, text: str) -> Iterator[Reading]:
    """Every reading that is one unit longer."""
    language, at = reading.language, reading.end
    gap, chain = JOIN[language], CHAIN[language]
    start = at + len(gap) if reading.events else at
    if not reading.events or text.startswith(gap, at):
        for head, by_start in heads(language).items():
            begun = head.match(text, start)
            for then, templates in by_start.items() if begun else ():
                if text.startswith(then, begun.end()):
                    for template in templates:
                        match = template.plain.match(text, start)
                        if match:
                            yield from read_unit(reading, template, match, False)
    if reading.open and text.startswith(chain, at):
        for then, templates in chained_heads(language).items():
            if text.startswith(then, at + len(chain)):
                for template in templates:
                    match = template.chained.match(text, at)
                    if match:
                        yield from read_unit(reading, template, match, True)


def read_unit(reading: Reading, template: Template, match, chained: bool) -> Iterator[Reading]:
    """The reading after a unit whose template matched, if its words mean one event."""
    context, groups, at = reading.context(), match.groups(), 0
    answers: list = [template.number]
    if chained:
        groups = (None, *groups)
    try:
        for piece in template.pieces:
            answers += piece.read(context, groups[at : at + piece.groups])
            at += piece.groups
    except Mismatch:
        return
    args, where = context.args, len(reading.events)
    letters = load_kinds()[template.kind].letters
    problems = [Problem("grammar", where, what) for what in context.problems]
    introduced = args.pop("introduced", None)
    if introduced:
        if any(other.species == introduced["species"] for other in context.cast.values()):
            problems.append(Problem("character", where, f"a second {introduced['species']}"))
        context.cast.setdefault(introduced["name"], Character(**introduced))
    problems += [Problem("grammar", where, what) for what in wrong_words(context)]
    for letter in "ABC":
        if letter in args and args[letter] not in context.cast:
            problems.append(Problem("character", where, f"who is {args[letter]}?"))
    event = Event(template.kind, tuple([args[letter] for letter in letters]))
    context.leave(template, chained)
    yield Reading(
        reading.language,
        match.end(),
        context.cast,
        context.all_looks,
        [*reading.events, event],
        [*reading.answers, *answers],
        reading.problems + problems,
        frozenset(context.mentioned),
        context.subject,
        context.others,
        context.open,
    )


def wrong_words(context: Context) -> list[str]:
    """Pronouns and measure words of the last unit that do not go with what they stand for."""
    wrong = []
    for slot, found in context.doubts:
        value = context.args.get(slot.letter)
        if slot.list != "species" or value in context.cast:
            right = slot.write(context, None)
            if found != right:
                wrong.append(f"{found} for {value}, not {right}")
    return wrong


def parses(text: str, language: str) -> Iterator[Reading]:
    """Every reading of the whole text in which no unit has a problem."""
    stack = [Reading(language)]
    while stack:
        reading = stack.pop()
        if reading.end == len(text):
            yield reading
        else:
            stack += [longer for longer in steps(reading, text) if not longer.problems]


def read_leniently(text: str, language: str) -> Reading:
    """One reading of a text that has mistakes: at each unit the one with the fewest."""
    reading = Reading(language)
    while reading.end < len(text):
        found = list(steps(reading, text))
        if found:
            reading = min(found, key=lambda r: (len(r.problems), -r.end))
            continue
        rest = text[reading.end :].strip()
        where = len(reading.events)
        reading.problems.append(Problem("grammar", where, f"no event is told so: {rest[:40]!r}"))
        break
    return reading


def verify(text: str, language: str) -> Report:
    """Read a story and report what is inconsistent in it.

    language is "en" or "zh". A text that is no story of this world is reported, not raised.
    """
    check_language(language)
    reading = next(parses(text, language), None) or read_leniently(text, language)
    state, problems = State(), list(reading.problems)
    for event in reading.events:
        problems += state.happen(event)
    if reading.end == len(text):
        problems += state.finish()
    return Report(problems, reading.events, reading.cast, reading.looks)


def derivations(text: str, language: str, split: str, languages) -> Iterator[list[Choice]]:
    """The tapes of all choices that generate a text: one for a text of the world, else none."""
    check_language(language)
    check_split(split)
    for reading in parses(text, language):
        record = Record("", "", split, reading.cast, reading.looks, reading.events)
        for answers in recognise(record):
            chooser = Answers([*answers, *reading.answers])
            try:
                told = Teller(chooser, split, languages, load_lexicon()).record
                again = realise(told, language, chooser).text
            except Impossible:
                continue
            if told.events == reading.events and again == text:
                yield chooser.tape
