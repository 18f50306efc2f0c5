"""Questions about a story, with answers that its record decides, and labels.

`questions(story, language)` asks whatever the story answers in one way only. `check_answer` says
by program whether a text answers a question: it accepts short answers and full sentences, and
refuses another name, two names at once, a denial, or a detail that is not so.

A question can be read back from its text, so `ask` needs only the story's record and the question:

    >>> from lib.course.storyworld.world import World
    >>> story = World().story(7)
    >>> question = questions(story, "en")[0]
    >>> ask(story.record, "en", question.text).short == question.short
    True
    >>> check_answer(question, question.full), check_answer(question, "I do not know.")
    (True, False)
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from zlib import crc32

from lib.course.storyworld.lexicon import load_lexicon
from lib.course.storyworld.plots import Record
from lib.course.storyworld.simulator import NUMBERS, State, load_kinds
from lib.course.storyworld.splits import ENGLISH_ONLY
from lib.course.storyworld.wordings import LISTS, LOOK_OF, load_wordings

# Questions that one kind of event answers: its kinds, the letters that the question tells, and the
# letter that it asks for. Where the same question has two answers in a story, it is not asked.
FROM_EVENTS = {
    "first_owner": ("own", "T", "A"),
    "who_gave": ("give", "B T", "A"),
    "who_borrowed": ("lend", "T", "B"),
    "who_lent": ("lend", "B T", "A"),
    "who_stole": ("steal", "T", "A"),
    "who_broke": ("break", "T", "A"),
    "who_mended": ("mend", "T", "A"),
    "who_helped": ("agree rescue nurse", "B", "A"),
    "who_lied": ("lie", "B", "A"),
    "who_forgave": ("forgive", "B", "A"),
    "what_lost": ("drop blow_away", "A", "T"),
    "what_made": ("make", "A", "T"),
    "what_wished": ("wish", "A", "T"),
    "what_given": ("give", "A B", "T"),
    "what_stolen": ("steal", "A B", "T"),
    "what_traded": ("trade", "A T", "U"),
    "in_chest": ("inside", "A", "T"),
    "what_ate": ("snack", "A", "F"),
    "where_lived": ("intro", "A", "P"),
    "where_lost": ("drop", "A T", "P"),
    "where_found": ("find_again", "A T", "P"),
    "where_discovered": ("discover", "A T", "P"),
    "where_chest": ("chest", "A", "P"),
    "where_fell": ("fall", "A", "P"),
    "where_planted": ("plant", "A", "P"),
    "how_many_gathered": ("gather", "A F", "N"),
    "how_many_given": ("share", "A B F", "K"),
}
# Which character is sad because of the event, and who or what else was part of it.
CAUSES = {
    "keep_thing": ("B", {"B": "A", "T": "T"}),
    "stay_away": ("B", {"B": "A", "P": "P"}),
    "give_up": ("A", {"T": "T"}),
    "neglect": ("A", {}),
    "wish": ("A", {"T": "T"}),
}
# Who has reason to be sad because of an event; with two reasons, nobody asks for the one.
TROUBLES = {
    **{kind: who for kind, (who, _) in CAUSES.items()},
    **{"refuse": "B", "lie": "B", "steal": "B", "fall": "A", "fall_ill": "A", "break": "A"},
}


@dataclass(frozen=True)
class Question:
    """A question about a story.

    text: the question. short, full: its answer as a phrase and as a sentence. given, answer: what
    the question tells and what it asks for, by letter or rule of the wordings. details: what an
    answer may mention besides, such as the look of a thing.
    """

    kind: str
    language: str
    text: str
    short: str
    full: str
    given: dict
    answer: dict
    details: dict

    @property
    def crosslingual(self) -> bool:
        """Whether it is about a kind of event that training tells in English only."""
        return self.kind in CROSSLINGUAL


CROSSLINGUAL = frozenset(
    ["did_grow", *(k for k, entry in FROM_EVENTS.items() if set(entry[0].split()) & ENGLISH_ONLY)]
)


def answers(record: Record) -> Iterator[tuple[str, dict, dict]]:
    """(kind, given, answer) of every question that a record decides."""
    for kind, (kinds, given, asked) in FROM_EVENTS.items():
        yield from from_events(record, kind, kinds.split(), given.split(), asked)
    state = record.final_state()
    yield from at_the_end(record, state)
    for name, character in record.cast.items():
        yield "species", {"A": name}, {"S": character.species}
        yield "trait", {"A": name}, {"R": character.trait}
    told = {arg for event in record.events for arg in event.args}
    yield from (("look", {"T": t}, {"L": look}) for t, look in record.looks.items() if t in told)
    yield from promises(record)
    yield from sadness(record, state)
    yield "mood", {}, {"mood": record.mood}
    if record.topic:
        yield "topic", {}, {"topic": record.topic}


def from_events(record: Record, kind, kinds, given, asked) -> Iterator[tuple[str, dict, dict]]:
    found: dict[tuple, set] = {}
    for event in record.events:
        if event.kind in kinds:
            args = arguments(event)
            found.setdefault(tuple(args[letter] for letter in given), set()).add(args[asked])
    for values, answer in found.items():
        if len(answer) == 1:
            yield kind, dict(zip(given, values, strict=True)), {asked: answer.pop()}


def arguments(event) -> dict:
    """The arguments of an event by their letters."""
    return dict(zip(load_kinds()[event.kind].letters, event.args, strict=True))


def at_the_end(record: Record, state: State) -> Iterator[tuple[str, dict, dict]]:
    """What the final state answers."""
    for thing in record.looks:
        if state.holder(thing):
            yield "who_has", {"T": thing}, {"A": state.holder(thing)}
        elif ("lies", thing) in state.facts:
            yield "where_is", {"T": thing}, {"P": state.facts["lies", thing]}
    shared = [arguments(event) for event in record.events if event.kind == "share"]
    for who, food in {(args["A"], args["F"]) for args in shared[-1:]}:
        yield "how_many_left", {"A": who, "F": food}, {"M": state.facts["count", who, food]}
    for event in record.events:
        if event.kind in ("bloom", "neglect"):
            grew = "yes" if event.kind == "bloom" else "no"
            yield "did_grow", {"A": event.args[0]}, {"grew": grew}


def promises(record: Record) -> Iterator[tuple[str, dict, dict]]:
    """What was promised, and whether it was kept, where a pair has one promise."""
    made: dict[tuple, list] = {}
    for event in record.events:
        if event.kind in ("promise_back", "promise_meet"):
            made.setdefault(event.args[:2], []).append(event)
    for pair, events in made.items():
        if len(events) > 1:
            continue
        args = arguments(events[0])
        given, what = {"A": pair[0], "B": pair[1]}, {k: args[k] for k in "TP" if k in args}
        yield "promise", given, {"promise": events[0].kind, **what}
        told = {event.kind for event in record.events if event.args[:2] == pair}
        kept, broken = told & {"bring_back", "arrive"}, told & {"keep_thing", "stay_away"}
        if bool(kept) != bool(broken):
            yield "kept", given, {"kept": "yes" if kept else "no"}


def sadness(record: Record, state: State) -> Iterator[tuple[str, dict, dict]]:
    """Why the last character is sad, where there is one reason."""
    *before, last = record.events
    if last.kind != "end_sad":
        return
    who, reasons = last.args[0], []
    for event in before:
        args = arguments(event)
        fulfilled = event.kind == "wish" and ("wants", *event.args) not in state.facts
        if event.kind in TROUBLES and args[TROUBLES[event.kind]] == who and not fulfilled:
            reasons.append((event.kind, args))
    if len(reasons) == 1 and reasons[0][0] in CAUSES:
        kind, args = reasons[0]
        others = {letter: args[old] for letter, old in CAUSES[kind][1].items()}
        yield "why_sad", {"A": who}, {"cause": kind, **others}


def questions(story, language: str, seed: int = 0) -> list[Question]:
    """Every question that a story decides, each in a wording drawn by the seed."""
    record = story.record
    rng = random.Random(f"questions {seed} {crc32(repr(record.events).encode())}")
    return [make(record, language, *found, rng) for found in answers(record)]


def make(record: Record, language: str, kind: str, given: dict, answer: dict, rng) -> Question:
    """One question with its answers."""
    words, details = load_wordings(language), details_of(record, {**given, **answer})
    values = {**details, **given, **answer}
    return Question(
        kind,
        language,
        words.write(f"{kind}.ask", values, rng),
        sentence(words.write(f"{kind}.short", values, None), stop=""),
        sentence(words.write(f"{kind}.full", values, None), stop=""),
        given,
        answer,
        details,
    )


def details_of(record: Record, values: dict) -> dict:
    """What is true of the things and characters of a question, by letter."""
    details = {}
    for letter, look in LOOK_OF.items():
        if letter in values and look not in values:
            details[look] = record.looks[values[letter]]
    if set(values) & {"S", "R"}:
        character = record.cast[values["A"]]
        details |= {"S": character.species, "R": character.trait}
    return {letter: value for letter, value in details.items() if letter not in values}


def sentence(text: str, stop: str) -> str:
    """A text with a capital at its start and a stop at its end."""
    return text[:1].upper() + text[1:] + stop


def parse_question(text: str, language: str) -> list[tuple[str, dict]]:
    """(kind, given) of every meaning of a question's text: one for those made here, else none."""
    words, given = load_wordings(language), []
    for rule in words.rules:
        if rule.endswith(".ask"):
            given += [(rule.removesuffix(".ask"), found) for found in words.read(rule, text)]
    return given


def ask(record: Record, language: str, text: str) -> Question | None:
    """The question of a text with its answer by a record; None if the record does not decide it."""
    meant = parse_question(text, language)
    for kind, given, answer in answers(record):
        if any(kind == k and found.items() <= given.items() for k, found in meant):
            question = make(record, language, kind, given, answer, random.Random(0))
            return Question(**{**question.__dict__, "text": text})
    return None


def check_answer(question: Question, text: str) -> bool:
    """Whether a text answers a question rightly, and says nothing else that is wrong."""
    words = load_wordings(question.language)
    text = " ".join(text.split()).strip(' "“”').rstrip(".。!！ ")
    truth = {**question.details, **question.given, **question.answer}
    readings = [
        found
        for part in ("short", "full")
        for ending in ("", ".", "。")
        for found in words.read(f"{question.kind}.{part}", text + ending, dict(question.given))
    ]
    if readings:
        return any(
            found.items() <= truth.items() and question.answer.keys() & found.keys()
            and (not labels(question) or labels(question) <= found.keys())
            for found in readings
        )  # fmt: skip
    return bool(question.answer.keys() & LISTS.keys()) and says_only(question, text)


def labels(question: Question) -> set:
    """The rules that an answer must decide, such as "kept"."""
    return question.answer.keys() - LISTS.keys()


def says_only(question: Question, text: str) -> bool:
    """Whether a text of no known form mentions the answer, nothing else of its list, nothing
    untrue, and denies nothing."""
    if labels(question) or denied(text, question.language):
        return False
    ((letter, value),) = question.answer.items()
    found = mentions(text, question.language)
    if found.pop(LISTS[letter], set()) != {value}:
        return False
    known = {**question.details, **question.given}
    return all(
        things <= {v for k, v in known.items() if LISTS.get(k) == name}
        for name, things in found.items()
    )


def denied(text: str, language: str) -> bool:
    """Whether a text denies or leaves open what it says."""
    words = load_wordings(language).rules["denial"][None]
    texts = [wording.source for wording in words]
    if language == "zh":
        return any(word in text for word in texts)
    return bool(re.search(rf"\b({'|'.join(texts)})\b|n't\b", text.lower()))


def mentions(text: str, language: str) -> dict[str, set]:
    """The entries of the lexicon, and other numbers in digits, that occur in a text, by list."""
    found: dict[str, set] = {}
    for match in mention_pattern(language).finditer(text.lower()):
        number = [("numbers", match.group())]  # one that the lexicon has no word for
        for name, id in vocabulary(language).get(match.group(), number):
            found.setdefault(name, set()).add(id)
    return found


@cache
def vocabulary(language: str) -> dict[str, list[tuple[str, str]]]:
    """From every word of the lexicon, in lower case, to its lists and ids."""
    back: dict[str, list[tuple[str, str]]] = {}
    for name, words in load_lexicon().words.items():
        for id, word in words.items():
            for text in {getattr(word, language), word.plural if language == "en" else ""} - {""}:
                back.setdefault(text.lower(), []).append((name, id))
    digits = {str(i): word for i, word in enumerate(NUMBERS, 1)} | {"二": "two"}
    back.update({text: [("numbers", word)] for text, word in digits.items()})
    return back


@cache
def mention_pattern(language: str) -> re.Pattern:
    texts = sorted(map(re.escape, vocabulary(language)), key=len, reverse=True)
    body = "|".join(texts)
    return re.compile(rf"\b(?:\d+|{body})\b" if language == "en" else rf"\d+|{body}")


def story_labels(story, language: str) -> dict[str, str]:
    """The mood of a story's ending and its topic, in words."""
    words = load_wordings(language)
    return {
        "mood": words.write("mood_is", {"mood": story.mood}, None),
        "topic": words.write("topic", {"topic": story.topic}, None),
    }
