"""The words of the story world, read from `assets/storyworld/`."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from lib.course.storyworld.choices import Among, zipf

FOLDER = Path(__file__).resolve().parents[3] / "assets" / "storyworld"
LANGUAGES = ("en", "zh")
DEALT = {"names": 2, "species": 2, "places": 1}  # names alternate between girls and boys


class Word(NamedTuple):
    """An entry of the lexicon; `id` (the English word) stands for it in events and facts."""

    id: str
    en: str
    zh: str
    measure: str = ""  # Chinese measure word
    tags: frozenset = frozenset()
    gender: str = ""  # of a name: f or m
    at: str = ""  # of a place: "by the lake"
    plural: str = ""  # of a food, in English


class Lexicon(NamedTuple):
    """All entries by list and id, and the frequency of each list's entries.

    sides: names, species and places, each dealt to two sides. Heroes and those whom they meet are
    of different sides, and so are two places that follow each other: then no draw depends on the
    one before it, and a learner need not find out what must not come again.
    """

    version: int
    words: dict[str, dict[str, Word]]
    among: dict[str, Among]
    sides: dict[str, tuple[frozenset, frozenset]]


MAKE_WORD = {
    "names": lambda en, zh, gender: Word(en, en, zh, gender=gender),
    "species": lambda en, zh, measure: Word(en, en, zh, measure),
    "traits": lambda en, zh: Word(en, en, zh),
    "looks": lambda en, zh: Word(en, en, zh),
    "things": lambda en, zh, measure, tags: Word(en, en, zh, measure, frozenset(tags.split())),
    "places": lambda en, at, zh, tags: Word(en, en, zh, tags=frozenset(tags.split()), at=at),
    "foods": lambda en, plural, zh, measure, tags="": Word(
        en, en, zh, measure, frozenset(tags.split()), plural=plural
    ),
    "numbers": lambda en, zh: Word(en, en, zh),
}


def check_language(language: str) -> None:
    if language not in LANGUAGES:
        raise ValueError(f"there is no language {language!r}; choose one of {LANGUAGES}")


def read_yaml(name: str) -> dict:
    """One of the files in `assets/storyworld/`."""
    with open(FOLDER / name, encoding="utf-8") as file:
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def deal(entries: Iterable[str], at_a_time: int) -> tuple[frozenset, frozenset]:
    """Entries dealt to two sides, some at a time.

    >>> [sorted(side) for side in deal("abcdef", 2)]
    [['a', 'b', 'e', 'f'], ['c', 'd']]
    """
    sides = [], []
    for i, entry in enumerate(entries):
        sides[i // at_a_time % 2].append(entry)
    return frozenset(sides[0]), frozenset(sides[1])


@cache
def load_lexicon() -> Lexicon:
    """The lexicon, read once."""
    data = read_yaml("lexicon.yaml")
    words = {
        name: {word.id: word for word in (make(*entry) for entry in data[name])}
        for name, make in MAKE_WORD.items()
    }
    among = {name: zipf(entries, offset=4, exponent=1.5) for name, entries in words.items()}
    sides = {name: deal(words[name], at_a_time) for name, at_a_time in DEALT.items()}
    return Lexicon(data["version"], words, among, sides)
