"""Instructions that a story meets, and a program that says whether a text complies.

An instruction is one to three constraints, such as "Write a story about a brave fox who loses a
red key. It ends sadly." Whatever a text says of its constraints can be read back from it, so a
reward needs the two texts only:

    >>> from lib.course.storyworld.world import World
    >>> story = World().story(7)
    >>> wanted = instruction(story, "en")
    >>> comply(wanted.text, story.text["en"], "en").ok
    True
    >>> comply(wanted.text, "Once upon a time.", "en").ok
    False
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from lib.course.storyworld.lexicon import load_lexicon
from lib.course.storyworld.plots import Record
from lib.course.storyworld.questions import arguments
from lib.course.storyworld.simulator import load_kinds
from lib.course.storyworld.splits import ENGLISH_ONLY
from lib.course.storyworld.verifier import verify
from lib.course.storyworld.wordings import LOOK_OF, load_wordings

# What somebody does in an instruction: the kinds of events that tell it, the letter of who does it,
# and the letter of the thing or food that the instruction names.
DEEDS = {
    "lose": ("drop blow_away", "A", "T"),
    "borrow": ("lend", "B", "T"),
    "lend": ("lend", "A", "T"),
    "steal": ("steal", "A", "T"),
    "robbed": ("steal", "B", "T"),
    "break": ("break", "A", "T"),
    "mend": ("mend", "A", "T"),
    "make": ("make", "A", "T"),
    "discover": ("discover", "A", "T"),
    "treasure": ("inside", "A", "T"),
    "give": ("give", "A", "T"),
    "receive": ("give", "B", "T"),
    "wish": ("wish", "A", "T"),
    "promise": ("promise_back promise_meet", "A", ""),
    "share": ("share", "A", "F"),
    "fall": ("fall", "A", ""),
    "rescue": ("rescue", "A", ""),
    "ill": ("fall_ill", "A", ""),
    "wet": ("get_wet", "A", ""),
    "forgive": ("forgive", "A", ""),
    "lie": ("lie", "A", ""),
    "confess": ("confess", "A", ""),
    "plant": ("plant", "A", ""),
}
OUTCOMES = {"kept": {"bring_back", "arrive"}, "broken": {"keep_thing", "stay_away"}}
# The letters and rules of the wordings that belong to each kind of constraint.
PARTS = {
    "hero": ("hero", "S", "R", "A"),
    "event": ("event", "by_hero", "T", "L", "F"),
    "mood": ("mood",),
    "place": ("P",),
    "thing": ("U", "O"),
    "friend": ("Z", "Y"),
    "name": ("B",),
    "promise": ("promised",),
    "weather": ("weather",),
}
SENTENCES = ("place", "thing", "friend", "name", "promise", "weather", "mood")
HEROES = {"plain": "S", "trait": "RS", "name": "AS", "both": "ARS"}
GAP = {"en": " ", "zh": ""}


class Constraint(NamedTuple):
    """One thing that an instruction asks for: its kind, and what is told of it."""

    kind: str
    told: tuple[tuple[str, object], ...]

    @property
    def values(self) -> dict:
        return dict(self.told)


@dataclass(frozen=True)
class Instruction:
    """An instruction: its text and its constraints, in the order of `PARTS`."""

    language: str
    text: str
    constraints: tuple[Constraint, ...]

    @property
    def crosslingual(self) -> bool:
        """Whether it asks for an event that training tells in English only."""
        deeds = [one.values["event"] for one in self.constraints if one.kind == "event"]
        return any(set(DEEDS[deed][0].split()) & ENGLISH_ONLY for deed in deeds)


@dataclass(frozen=True)
class Compliance:
    """Which constraints a text meets, and what the verifier says of its consistency."""

    met: tuple[tuple[Constraint, bool], ...]
    problems: list

    @property
    def consistent(self) -> bool:
        return not self.problems

    @property
    def ok(self) -> bool:
        """Whether the text is a consistent story that meets every constraint."""
        return self.consistent and all(met for _, met in self.met)

    @property
    def score(self) -> float:
        """The share of constraints that are met, 0 for an inconsistent text: a reward."""
        share = sum(met for _, met in self.met) / max(1, len(self.met))
        return share if self.consistent else 0.0


def constraint(kind: str, values: dict) -> Constraint:
    """A constraint of a kind, from all values of an instruction."""
    return Constraint(kind, tuple((part, values[part]) for part in PARTS[kind] if part in values))


def constraints_of(values: dict) -> tuple[Constraint, ...]:
    """The constraints that the values of an instruction make up."""
    return tuple(constraint(kind, values) for kind in PARTS if PARTS[kind][0] in values)


def instruction(story, language: str, seed: int = 0, n: int | None = None) -> Instruction:
    """An instruction of n constraints (one to three if None) that a story meets."""
    record = story.record
    key = crc32(repr((record.cast, record.looks, record.events)).encode())
    rng = random.Random(f"instruction {language} {seed} {key}")
    n = n or rng.choices([1, 2, 3], [1, 2, 2])[0]
    if not 1 <= n <= 3:
        raise ValueError(f"an instruction has one to three constraints, not {n}")
    offers = {kind: found for kind, found in offered(record) if found}
    values: dict = {}
    often = [*offers, *(offers.keys() & {"event"}), "hero", "mood"]
    for kind in list(dict.fromkeys(rng.sample(often, len(often))))[:n]:
        new = [offer for offer in offers[kind] if not repeats({**values, **offer})]
        values |= rng.choice(new) if new else {}
    if "event" in values and "hero" in values:
        values = by_hero(record, values, offers["event"], rng)
    return Instruction(language, write(values, language, rng), constraints_of(values))


def repeats(values: dict) -> bool:
    """Whether the same thing would be asked for twice."""
    return "T" in values and values.get("U") == values["T"]


def by_hero(record: Record, values: dict, events: list[dict], rng: random.Random) -> dict:
    """The values with a deed of the hero's, if there is one; without a deed if not."""
    hero = next(iter(record.cast))
    rest = {key: value for key, value in values.items() if key not in PARTS["event"]}
    own = [event for event in events if fulfils(record, {**event, "by_hero": True}, hero)]
    own = [event for event in own if not repeats({**rest, **event})]
    return {**rest, **rng.choice(own), "by_hero": True} if own else rest


def offered(record: Record) -> Iterator[tuple[str, list[dict]]]:
    """For each kind of constraint the values that a record meets."""
    hero, *others = record.cast.values()
    name = {"A": hero.name, "S": hero.species, "R": hero.trait}
    yield "hero", [{"hero": how, **{k: name[k] for k in ks}} for how, ks in HEROES.items()]
    yield "event", [found for event in record.events for found in deeds(record, event)]
    yield "mood", [{"mood": record.mood}]
    told = [arg for event in record.events for arg in event.args]
    places = load_lexicon().words["places"]
    yield "place", [{"P": place} for place in dict.fromkeys(told) if place in places]
    yield "thing", [{"U": t, "O": look} for t, look in record.looks.items() if t in told]
    yield "friend", [{"Z": other.species, "Y": other.trait} for other in others]
    yield "name", [{"B": other.name} for other in others]
    kinds = {event.kind for event in record.events}
    yield "promise", [{"promised": how} for how, ends in OUTCOMES.items() if kinds & ends]
    yield "weather", [{"weather": kind} for kind in ("rain", "wind", "sun") if kind in kinds]


def deeds(record: Record, event) -> Iterator[dict]:
    """The values of what is done in an event, with and without the look of its thing."""
    args = arguments(event)
    for deed, (kinds, _, what) in DEEDS.items():
        if event.kind in kinds.split():
            values = {"event": deed, **({what: args[what]} if what else {})}
            if what == "T":
                yield {**values, LOOK_OF["T"]: record.looks[args["T"]]}
            yield values


def write(values: dict, language: str, rng: random.Random) -> str:
    """The text of an instruction: a first sentence, and one for each constraint not in it."""
    words, rest = load_wordings(language), [kind for kind in SENTENCES if PARTS[kind][0] in values]
    head = "plain"
    if "event" in values:
        head = "does" if "by_hero" in values else "event"
    elif "hero" in values:
        head = "hero"
    if "mood" in rest and (rng.random() < 0.5 or (head == "plain" and len(rest) == 1)):
        rest.remove("mood")
        sentences = [words.write(f"tone_{head}", values, rng)]
    else:
        sentences = [words.write(f"head_{head}", values, rng)]
    rng.shuffle(rest)
    sentences += [words.write(f"sentence_{kind}", values, rng) for kind in rest]
    return GAP[language].join(sentences)


def parse_instruction(text: str, language: str) -> Instruction:
    """The instruction that a text is; ValueError if it is none, or could be two."""
    found = readings(text, language)
    if len(found) != 1:
        what = "no instruction" if not found else f"an instruction with {len(found)} meanings"
        raise ValueError(f"this is {what}: {text!r}")
    return Instruction(language, text, found[0])


def readings(text: str, language: str) -> list[tuple[Constraint, ...]]:
    """The constraints of every reading of a text as an instruction, each once."""
    words, lower, found = load_wordings(language), text.lower(), []
    stack = []
    for head in ("plain", "hero", "does", "event"):
        for how in ("head", "tone"):
            for end, values in words.read_from(f"{how}_{head}", lower, 0, {}):
                stack.append((end, {**values, "by_hero": True} if head == "does" else values))
    while stack:
        at, values = stack.pop()
        if at == len(text):
            told = constraints_of(values)
            if told not in found:
                found.append(told)
        elif text.startswith(GAP[language], at):
            at += len(GAP[language])
            for kind in SENTENCES:
                if PARTS[kind][0] not in values:
                    stack += words.read_from(f"sentence_{kind}", lower, at, values)
    return found


def comply(wanted: Instruction | str, text: str, language: str) -> Compliance:
    """Read a story and report which constraints it meets, and whether it is consistent."""
    if isinstance(wanted, str):
        wanted = parse_instruction(wanted, language)
    report = verify(text, language)
    record = Record("", "", "", report.cast, report.looks, report.events)
    met = tuple((one, bool(report.events) and meets(record, one)) for one in wanted.constraints)
    return Compliance(met, report.problems)


def meets(record: Record, wanted: Constraint) -> bool:
    """Whether a record meets a constraint."""
    values, kinds = wanted.values, {event.kind for event in record.events}
    hero, *others = record.cast.values() or [None]
    if wanted.kind == "hero":
        parts = {"A": "name", "S": "species", "R": "trait"}
        return hero is not None and all(
            getattr(hero, parts[k]) == value for k, value in values.items() if k in parts
        )
    if wanted.kind == "event":
        return fulfils(record, values, hero.name if hero else "")
    if wanted.kind == "mood":
        return ending(record) == values["mood"]
    if wanted.kind == "friend":
        return any((o.species, o.trait) == (values["Z"], values["Y"]) for o in others)
    if wanted.kind == "promise":
        return bool(kinds & OUTCOMES[values["promised"]])
    if wanted.kind == "weather":
        return values["weather"] in kinds
    if wanted.kind == "name":
        return values["B"] in record.cast
    told = {arg for event in record.events for arg in event.args}
    if wanted.kind == "place":
        return values["P"] in told
    return values["U"] in told and record.looks.get(values["U"]) == values["O"]


def fulfils(record: Record, values: dict, hero: str) -> bool:
    """Whether somebody, or the hero where it must be him or her, does what is wanted."""
    kinds, who, what = DEEDS[values["event"]]
    for event in record.events:
        if event.kind in kinds.split():
            args = arguments(event)
            right = not what or args[what] == values[what]
            look = "L" not in values or record.looks.get(args["T"]) == values["L"]
            if right and look and (not values.get("by_hero") or args[who] == hero):
                return True
    return False


def ending(record: Record) -> str | None:
    """The mood of the last event; None if it is no ending."""
    kind = load_kinds()[record.events[-1].kind]
    return next((fact.letters[0] for fact in kind.then if fact.name == "mood"), None)
