"""Wordings of questions, instructions and puzzles: written from values, and read back to them.

`assets/storyworld/tasks_en.yaml` and `tasks_zh.yaml` hold every wording as data. A wording is text
with slots; a slot stands for one or two words of the lexicon, whose letters say which list they are
from. Reading tries all ways, so a test can assert that a text has one meaning only.

    {A} {A.he} {A.his} ...   a name; its pronoun, only after the name (Chinese {A.他})
    {S} {a S} {R S} {a R S}  a species, also with its trait; with an article (Chinese: 一只)
    {T} {L T} {a T}          a thing; with its look, if that is given; the same with an article
    {P} {P.at}  {F} {a F}  {N} {N F}  {n} {n F}    places, foods, numbers in words and in digits
    [x|y]                    a free choice of words       <hero>  another rule of the file

A rule is a list of wordings, or one list for each of some labels: the rules `mood` and `mood_how`
both look up the value of "mood".
"""

import itertools
import random
import re
from collections.abc import Iterable, Iterator
from functools import cache

from lib.course.storyworld.lexicon import LANGUAGES, load_lexicon, read_yaml
from lib.course.storyworld.templates import PRONOUNS, with_article

LISTS = {
    **dict.fromkeys("ABCDE", "names"), **dict.fromkeys("SZ", "species"),
    **dict.fromkeys("RY", "traits"), **dict.fromkeys("TU", "things"),
    **dict.fromkeys("LO", "looks"), **dict.fromkeys("PQ", "places"), "F": "foods",
    **dict.fromkeys("NKM", "numbers"), **dict.fromkeys("nkm", "digits"),
}  # fmt: skip
LOOK_OF = {"T": "L", "U": "O"}  # a thing and its look
DIGITS = tuple(range(1, 21))
PIECE = re.compile(r"\{([^}]*)\}|<(\w+)>|\[([^\]]*)\]")


def entries(name: str) -> Iterable:
    """The ids of a list; of "digits" the numbers to twenty."""
    return DIGITS if name == "digits" else load_lexicon().words[name]


def say(lists: tuple[str, ...], form: str, ids: tuple, language: str) -> str:
    """The words for entries of lists in one of the forms that slots have."""
    if lists == ("digits",):
        return str(ids[0])
    words = [load_lexicon().words[name][id] if name != "digits" else id
             for name, id in zip(lists, ids, strict=True)]  # fmt: skip
    last = words[-1]
    if lists[0] in ("numbers", "digits") and lists[-1] == "foods":
        number = str(words[0]) if lists[0] == "digits" else getattr(words[0], language)
        if language == "zh":
            return number + last.measure + last.zh
        return f"{number} {last.en if number in ('1', 'one') else last.plural}"
    if form in PRONOUNS[language]:
        return PRONOUNS[language][form][last.gender]
    if form == "at":
        return last.at
    if form == "de":
        return last.zh if last.zh.endswith("的") else last.zh + "的"
    texts = [getattr(word, language) for word in words]
    if language == "zh":
        if lists == ("traits", "species"):
            texts.insert(1, "的")
        return ("一" + last.measure if form == "a" else "") + "".join(texts)
    if lists == ("foods",) and form != "a":
        return last.plural
    text = " ".join(texts)
    if form == "a":
        return with_article(texts[0]) + text.removeprefix(texts[0])
    return text


@cache
def table(lists: tuple[str, ...], form: str, language: str) -> tuple[dict, list[int]]:
    """From every text of a slot, in lower case, to its ids; and the lengths of the texts."""
    back: dict[str, list[tuple]] = {}
    for ids in itertools.product(*map(entries, lists)):
        back.setdefault(say(lists, form, ids, language).lower(), []).append(ids)
    return back, sorted({len(text) for text in back})


class Slot:
    """A place in a wording for the words of one or two values."""

    def __init__(self, source: str, language: str):
        base, _, self.form = source.partition(".")
        letters = base.split(" ")
        if letters[0] == "a":
            self.form = "a"
            letters = letters[1:]
        self.look = LOOK_OF.get(letters[-1])
        if not (self.form == "a" or letters[0] == self.look):
            self.look = None
        self.letters = tuple(letter for letter in letters if letter != self.look)
        self.language = language
        self.list = {letter: LISTS[letter] for letter in (*self.letters, self.look) if letter}

    def shapes(self) -> list[tuple[str, ...]]:
        return [self.letters, (self.look, *self.letters)] if self.look else [self.letters]

    def write(self, values: dict) -> str:
        letters = [s for s in self.shapes() if all(letter in values for letter in s)][-1]
        lists = tuple(self.list[letter] for letter in letters)
        return say(lists, self.form, tuple(values[letter] for letter in letters), self.language)

    def read(self, text: str, at: int, values: dict) -> Iterator[tuple[int, dict]]:
        """Every (end, values) of a reading that starts at `at`."""
        for letters in self.shapes():
            lists = tuple(self.list[letter] for letter in letters)
            back, lengths = table(lists, self.form, self.language)
            known = [values.get(letter) for letter in letters]
            if self.form in PRONOUNS[self.language] and None in known:
                continue
            for length in lengths:
                for ids in back.get(text[at : at + length], ()):
                    if all(k in (None, i) for k, i in zip(known, ids, strict=True)):
                        found = dict(zip(letters, ids, strict=True))
                        yield at + length, {**values, **found}


class Wording:
    """One wording: literal texts, choices, slots and other rules, one after the other."""

    def __init__(self, source: str, language: str):
        self.source, self.pieces, end = source, [], 0
        for match in PIECE.finditer(source):
            if match.start() > end:
                self.pieces.append([source[end : match.start()]])
            slot, rule, pool = match.groups()
            end = match.end()
            self.pieces.append(Slot(slot, language) if slot else rule if rule else pool.split("|"))
        if end < len(source):
            self.pieces.append([source[end:]])
        slots = [piece for piece in self.pieces if isinstance(piece, Slot)]
        self.letters = frozenset(letter for slot in slots for letter in slot.letters)
        self.rules = frozenset(piece for piece in self.pieces if isinstance(piece, str))


class Wordings:
    """All wordings of a language: writes and reads them by rule.

    >>> english = load_wordings("en")
    >>> english.write("topic", {"topic": "sharing"}, None)
    'sharing'
    >>> english.read("hero", "a brave fox")
    [{'hero': 'trait', 'R': 'brave', 'S': 'fox'}]
    """

    def __init__(self, rules: dict, language: str):
        self.language = language
        self.rules: dict[str, dict] = {}
        for name, entry in rules.items():
            by_label = entry if isinstance(entry, dict) else {None: entry}
            self.rules[name] = {
                label: [Wording(source, language) for source in sources]
                for label, sources in by_label.items()
            }

    def options(self, name: str, values: dict) -> list[Wording]:
        """The wordings of a rule whose letters all have values."""
        rule, label = self.rules[name], values.get(name.partition("_")[0])
        usable = rule.get(label, rule.get(None, ()))
        return [wording for wording in usable if wording.letters <= values.keys()]

    def write(self, name: str, values: dict, rng: random.Random | None) -> str:
        """A rule's text for values: a wording drawn with `rng`, or the first one for None."""
        options = self.options(name, values)
        if not options:
            raise ValueError(f"{self.language}: no wording of {name!r} for {values}")
        wording = rng.choice(options) if rng else options[0]
        parts = []
        for piece in wording.pieces:
            if isinstance(piece, Slot):
                parts.append(piece.write(values))
            elif isinstance(piece, str):
                parts.append(self.write(piece, values, rng))
            else:
                parts.append(rng.choice(piece) if rng else piece[0])
        return "".join(parts)

    def read(self, name: str, text: str, values: dict | None = None) -> list[dict]:
        """The values of every reading of a whole text, each once. Upper case does not matter."""
        text, found = text.lower(), []
        for end, got in self.read_from(name, text, 0, values or {}):
            if end == len(text) and got not in found:
                found.append(got)
        return found

    def read_from(self, name: str, text: str, at: int, values: dict) -> Iterator[tuple[int, dict]]:
        """Every (end, values) of a rule's readings from `at`; `text` is in lower case."""
        key = name.partition("_")[0]
        for label, wordings in self.rules[name].items():
            if label is not None and values.get(key, label) != label:
                continue
            got = values if label is None else {**values, key: label}
            for wording in wordings:
                yield from self.read_pieces(wording.pieces, text, at, got)

    def read_pieces(self, pieces, text: str, at: int, values: dict) -> Iterator[tuple[int, dict]]:
        if not pieces:
            yield at, values
            return
        first, rest = pieces[0], pieces[1:]
        if isinstance(first, Slot):
            ends = first.read(text, at, values)
        elif isinstance(first, str):
            ends = self.read_from(first, text, at, values)
        else:
            ends = ((at + len(o), values) for o in first if text.startswith(o.lower(), at))
        for end, got in ends:
            yield from self.read_pieces(rest, text, end, got)


@cache
def load_wordings(language: str) -> Wordings:
    """The wordings of a language, read once."""
    if language not in LANGUAGES:
        raise ValueError(f"there are tasks in {' and '.join(LANGUAGES)}, not in {language!r}")
    data = read_yaml(f"tasks_{language}.yaml")
    rules = {
        f"{kind}.{part}": wordings
        for kind, parts in data["questions"].items()
        for part, wordings in parts.items()
    }
    return Wordings(data["rules"] | rules, language)
