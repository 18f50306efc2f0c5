"""What holds in the world, what an event needs, and what it changes.

Facts are tuples such as ("has", "Mia", "kite"). Some have one value at a time (a character is in
one place, a thing has one holder), so a new value replaces the old. The generator and the verifier
use the same rules, so a story that the generator tells cannot break them.
"""

from functools import cache
from typing import NamedTuple

from lib.course.storyworld.lexicon import read_yaml


class Event(NamedTuple):
    """Something that happened: its kind, and who, what and where, as ids in the kind's order."""

    kind: str
    args: tuple


class Problem(NamedTuple):
    """A mistake in a story: its kind, where (the number of the event, from 0), and what."""

    kind: str
    where: int
    what: str


class Condition(NamedTuple):
    """`fact` with letters for the arguments, negated or not."""

    negated: bool
    name: str
    letters: tuple[str, ...]

    def bind(self, roles: dict) -> tuple:
        """The condition's arguments, each letter replaced by what it stands for."""
        return tuple([roles.get(letter, letter) for letter in self.letters])


class Kind(NamedTuple):
    """A kind of event: its letters, what it needs, what it changes, and what it tells."""

    name: str
    letters: tuple[str, ...]
    needs: tuple[Condition, ...]
    then: tuple[Condition, ...]
    gloss: str


def parse_condition(text: str) -> Condition:
    negated = text.startswith(("-", "not "))
    name, *letters = text.removeprefix("not ").removeprefix("-").split()
    return Condition(negated, name, tuple(letters))


@cache
def load_kinds() -> dict[str, Kind]:
    """Every kind of event by name."""
    return {
        name: Kind(
            name,
            tuple(entry["args"].split()),
            tuple(map(parse_condition, entry["needs"])),
            tuple(map(parse_condition, entry["then"])),
            entry["gloss"],
        )
        for name, entry in read_yaml("events.yaml").items()
    }


# How many leading arguments of a fact determine the last one.
ONE_VALUE = {"at": 1, "home": 1, "lies": 1, "weather": 0, "mood": 0, "count": 2}

# What is wrong with a story in which a condition does not hold.
KIND_OF_PROBLEM = {
    **dict.fromkeys(("known", "new"), "character"),
    **dict.fromkeys(("has", "lies", "nobody", "owns", "lost", "wants", "iskey"), "possession"),
    **dict.fromkeys(("at", "together"), "place"),
    **dict.fromkeys(("promised", "waited"), "promise"),
    **dict.fromkeys(("count", "sum"), "number"),
}


class State:
    """The facts that hold at one moment of a story.

    >>> state = State()
    >>> for event in [Event("intro", ("Mia", "lake")), Event("own", ("Mia", "kite"))]:
    ...     problems = state.happen(event)
    >>> state.holder("kite"), state.place("Mia")
    ('Mia', 'lake')
    >>> [problem.kind for problem in state.happen(Event("search", ("Mia", "kite", "lake")))]
    ['possession']
    """

    def __init__(self):
        self.facts: dict[tuple, object] = {}
        self.events = 0

    def place(self, character: str):
        return self.facts.get(("at", character))

    def holder(self, thing: str):
        return self.facts.get(("has", thing))

    def open_promises(self) -> list[tuple]:
        return [fact for fact in self.facts if fact[0] == "promised"]

    def __contains__(self, fact: tuple) -> bool:
        name, *args = fact
        computed = COMPUTED.get(name)
        if computed:
            return computed(self, *args)
        if name == "has":
            return self.facts.get(("has", args[1])) == args[0]
        if name in ONE_VALUE:
            return self.facts.get((name, *args[:-1])) == args[-1]
        return fact in self.facts

    def add(self, name: str, args: tuple) -> None:
        facts = self.facts
        if name == "has":
            facts["has", args[1]] = args[0]
            facts.pop(("lies", args[1]), None)
        elif name == "joins":
            facts["at", args[0]] = facts.get(("at", args[1]))
        elif name == "blame":
            for lender in [f[1] for f in facts if f[0] == "lent" and f[2:] == args]:
                facts["wronged", args[0], lender] = True
        elif name in ONE_VALUE:
            facts[(name, *args[:-1])] = args[-1]
            if name == "lies":
                facts.pop(("has", args[0]), None)
        else:
            facts[(name, *args)] = True

    def missing(self, event: Event) -> list[Condition]:
        """The needs of an event that do not hold now."""
        kind = load_kinds()[event.kind]
        roles = dict(zip(kind.letters, event.args, strict=True))
        return [
            condition
            for condition in kind.needs
            if ((condition.name, *condition.bind(roles)) in self) == condition.negated
        ]

    def happen(self, event: Event) -> list[Problem]:
        """Let an event happen; what it lacked is returned, and it happens all the same."""
        kind = load_kinds()[event.kind]
        roles = dict(zip(kind.letters, event.args, strict=True))
        problems = [self.problem(condition, roles, event) for condition in self.missing(event)]
        if ("over",) in self.facts:
            problems.append(Problem("ending", self.events, f"{event.kind} after the ending"))
        for condition in kind.then:
            args = condition.bind(roles)
            if condition.negated:
                self.facts.pop((condition.name, *args), None)
            else:
                self.add(condition.name, args)
        for arg in event.args:
            self.facts["mentioned", arg] = True
        self.events += 1
        return problems

    def problem(self, condition: Condition, roles: dict, event: Event) -> Problem:
        what = " ".join(map(str, (condition.name, *condition.bind(roles))))
        text = f"{event.kind} {' '.join(map(str, event.args))}: needs "
        text += f"that not {what}" if condition.negated else what
        return Problem(KIND_OF_PROBLEM.get(condition.name, "cause"), self.events, text)

    def finish(self) -> list[Problem]:
        """What is wrong with a story that ends now."""
        problems = [
            Problem("promise", self.events, f"the promise {' '.join(fact[1:])} is left open")
            for fact in self.open_promises()
        ]
        if ("over",) not in self.facts:
            problems.append(Problem("ending", self.events, "the story has no ending"))
        return problems


def is_guilty(state: State, character: str, thing: str) -> bool:
    facts = state.facts
    stole = any(f[0] == "stole" and f[1] == character and f[3] == thing for f in facts)
    borrowed = any(f[0] == "lent" and f[2:] == (character, thing) for f in facts)
    spoilt = ("broken", thing) in facts or ("lost", character, thing) in facts
    return stole or (borrowed and spoilt)


def has_trouble(state: State, character: str) -> bool:
    facts = state.facts
    return any(f[0] in ("lost", "ill", "trapped") and f[1] == character for f in facts) or any(
        f[0] == "broken" and state.holder(f[1]) == character for f in facts
    )


def number_of(word) -> int:
    return NUMBERS.index(word) + 1 if word in NUMBERS else 0


NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

COMPUTED = {
    "new": lambda state, x: ("mentioned", x) not in state.facts,
    "nobody": lambda state, thing: (
        ("has", thing) not in state.facts and ("lies", thing) not in state.facts
    ),
    "together": lambda state, a, b: (
        a != b and state.place(a) is not None and state.place(a) == state.place(b)
    ),
    "trouble": has_trouble,
    "guilty": is_guilty,
    "iskey": lambda state, thing: thing == "key",
    "sum": lambda state, a, food, k, m: (
        number_of(state.facts.get(("count", a, food))) == number_of(k) + number_of(m)
        and number_of(m) > 0
    ),
}
