"""Templates of sentences: compiled once, then used to write a text and to read it again.

`assets/storyworld/english.yaml` and `chinese.yaml` give each kind of event its templates. A
template is compiled to pieces; each piece can write itself (`write`), has a regular expression with
as many groups as it needs (`pattern`), and can read what those groups matched (`read`). Writing and
reading make the same choices in the same order.

    {A} {B}             a character: the name, or "the fox"; at the start also He or She, or nothing
    {A.he} {A.his} ...  a pronoun          {A.name} {A.species} {A.trait}  the introduction
    {T} {a T}           a thing, with its look when it is first mentioned; with "a" or "an"
    {P} {P.at}          a place, a place with its preposition
    {N F} {a F}         a number with its food, one piece of it
    {A.mw} {T.mw} {F.mw} {A.他}            Chinese: measure words, 他 or 她
    [soon|at last]      a free choice of words
"""

import re
from functools import cache
from typing import NamedTuple

from lib.course.storyworld.choices import Among, zipf
from lib.course.storyworld.lexicon import Word, load_lexicon, read_yaml
from lib.course.storyworld.simulator import load_kinds

FILES = {"en": "english.yaml", "zh": "chinese.yaml"}
JOIN = {"en": " ", "zh": ""}  # between two units
STOP = {"en": ".", "zh": "。"}
CHAIN = {"en": " and", "zh": "，"}  # what stands for full stop and subject in a chained unit
COMPOUND = {
    "en": r",| and\b|;",
    "zh": "，.*，|；",
}  # a unit with these neither opens nor joins a chain
QUOTES = {"en": '"', "zh": "“”"}
PRONOUNS = {
    "en": {
        "he": {"m": "he", "f": "she"},
        "him": {"m": "him", "f": "her"},
        "his": {"m": "his", "f": "her"},
        "himself": {"m": "himself", "f": "herself"},
        "He": {"m": "He", "f": "She"},
        "His": {"m": "His", "f": "Her"},
    },
    "zh": {"他": {"m": "他", "f": "她"}},
}
START = {"en": PRONOUNS["en"]["He"], "zh": PRONOUNS["zh"]["他"]}
# How a character is referred to where the reader knows whom the story is about.
AT_START = {
    "en": Among(["pronoun", "name", "chain", "species"], [10, 6, 3, 1]),
    "zh": Among(["chain", "name", "pronoun", "species"], [8, 7, 4, 1]),
}
MENTION = Among(["name", "species"], [19, 1])
THING = Among(["bare", "full"], [11, 1])
PLACEHOLDER = re.compile(r"\{([^}]*)\}|\[([^\]]*)\]")
TYPES = dict.fromkeys("ABC", "character")
TYPES |= {**dict.fromkeys("TU", "thing"), "P": "place", "F": "food"}
TYPES |= dict.fromkeys("KMN", "number")


class Context:
    """What a reader of the story so far knows.

    cast: name to Character. looks: thing to look, for the things already mentioned. subject: who
    acted in the last unit, with `others`, the other characters in it; `open`: whether the last
    unit ends so that the next may be chained to it; `joins`: whether this template may be.
    """

    def __init__(self, language: str, cast: dict, looks: dict):
        self.language, self.cast, self.all_looks = language, cast, looks
        self.mentioned: set[str] = set()
        self.subject, self.others, self.open, self.joins = None, (), False, False
        self.words = load_lexicon().words
        self.args: dict = {}  # of the unit being written or read
        self.named: set[str] = set()  # the letters already mentioned in this unit
        self.problems: list[str] = []
        self.doubts: list[tuple] = []  # (piece, words) to be checked when the unit has been read

    def gender(self, name: str) -> str:
        return self.words["names"][name].gender

    def start_options(self, name: str) -> Among:
        """The ways to refer to the subject at the start of a unit."""
        excluded = []
        if name != self.subject:
            return MENTION
        if any(self.gender(other) == self.gender(name) for other in self.others):
            excluded.append("pronoun")
        if not (self.open and self.joins):
            excluded.append("chain")
        return AT_START[self.language].without(excluded) if excluded else AT_START[self.language]

    def leave(self, template: "Template", chained: bool) -> None:
        """Go on to the next unit."""
        args = self.args
        self.subject = args.get("A")
        self.others = tuple([args[letter] for letter in "BC" if letter in args])
        self.open = template.open and not chained


class Literal:
    """Words that always stand there."""

    label = "phrase"

    def __init__(self, text: str):
        self.text, self.pattern, self.groups = text, re.escape(text), 0

    def write(self, context: Context, choose) -> str:
        return self.text

    def read(self, context: Context, found: tuple) -> list:
        return []


class Pool:
    """A free choice of words."""

    label = "filler"

    def __init__(self, options: list[str]):
        self.among, self.groups = zipf(options, offset=0, exponent=3), 1
        self.pattern = "(" + alternatives(options) + ")"

    def write(self, context: Context, choose) -> str:
        return choose("filler", self.among)

    def read(self, context: Context, found: tuple) -> list:
        return [found[0]]


def alternatives(options) -> str:
    """A regular expression for one of the options, longest first."""
    return "|".join(re.escape(o) for o in sorted(set(options), key=lambda o: (-len(o), o)))


class Surface:
    """How the words of one list look in one language, and back."""

    def __init__(self, words: dict[str, Word], language: str, attribute: str = ""):
        self.of = {id: getattr(word, attribute or language) for id, word in words.items()}
        self.back = {text: id for id, text in self.of.items()}
        self.pattern = alternatives(self.of.values())


@cache
def surface(name: str, language: str, attribute: str = "") -> Surface:
    return Surface(load_lexicon().words[name], language, attribute)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class Slot:
    """The base of the pieces that tell an argument of the event."""

    label = "phrase"
    groups = 1
    list = ""  # of the lexicon, for a word that depends on a character's species or on a noun

    def __init__(self, letter: str, language: str, upper: bool = False):
        self.letter, self.language, self.upper = letter, language, upper

    def bind(self, context: Context, value) -> None:
        """Take note of an argument that was read; a contradiction is a mismatch."""
        if context.args.setdefault(self.letter, value) != value:
            raise Mismatch


class Mismatch(Exception):
    """The words that matched a template cannot mean one event of its kind."""


class Mention(Slot):
    """A character: the name, or the species where it may be used."""

    label = "name"

    def __init__(self, letter: str, language: str, upper: bool, fixed: bool, first: bool):
        super().__init__(letter, language, upper)
        self.fixed, self.first = fixed, first
        self.names, self.species = surface("names", language), surface("species", language)
        the = "" if language == "zh" else ("The " if upper else "the ")
        self.kinds = {the + text: id for text, id in self.species.back.items()}
        options = [*self.names.back, *(() if fixed else self.kinds)]
        self.start = {}
        if first:
            self.start = {text: gender for gender, text in START[language].items()}
        self.pattern = "(" + alternatives([*options, *self.start]) + ")"
        self.the = the

    def write(self, context: Context, choose) -> str:
        name = context.args[self.letter]
        if self.fixed:
            return self.names.of[name]
        if self.first:
            how = choose("mention", context.start_options(name))
        else:
            how = choose("mention", MENTION)
        if how == "name":
            return self.names.of[name]
        if how == "species":
            return self.the + self.species.of[context.cast[name].species]
        return START[self.language][context.gender(name)] if how == "pronoun" else ""

    def read(self, context: Context, found: tuple) -> list:
        text = found[0]
        if text is None:  # chained
            self.bind(context, context.subject)
            return ["chain"]
        if text in self.names.back:
            self.bind(context, self.names.back[text])
            return [] if self.fixed else ["name"]
        if text in self.start:
            if context.subject is None:
                raise Mismatch
            if context.gender(context.subject) != self.start[text]:
                context.problems.append(f"{text} for {context.subject}")
            self.bind(context, context.subject)
            return ["pronoun"]
        species = self.kinds[text]
        who = [c.name for c in context.cast.values() if c.species == species]
        if not who:
            raise Mismatch
        self.bind(context, who[0])
        return ["species"]


class Pronoun(Slot):
    """A pronoun that stands for a character of the same unit."""

    label = "pronoun"

    def __init__(self, letter: str, language: str, form: str, upper: bool):
        super().__init__(letter, language)
        self.forms = {
            gender: capital(text) if upper else text
            for gender, text in PRONOUNS[language][form].items()
        }
        self.pattern = "(" + alternatives(self.forms.values()) + ")"

    def write(self, context: Context, choose) -> str:
        return self.forms[context.gender(context.args[self.letter])]

    def read(self, context: Context, found: tuple) -> list:
        context.doubts.append((self, found[0]))
        return []


class Introduction(Slot):
    """The name, species or trait of a character that is introduced."""

    def __init__(self, letter: str, language: str, what: str, upper: bool, article: bool):
        super().__init__(letter, language, upper)
        self.what, self.label, self.article = what, what, article
        self.list = {"name": "names", "species": "species", "trait": "traits"}[what]
        self.surface = surface(self.list, language)
        self.texts = dict(self.surface.of)
        if article:
            self.texts = {id: with_article(text) for id, text in self.texts.items()}
        if upper:
            self.texts = {id: capital(text) for id, text in self.texts.items()}
        self.back = {text: id for id, text in self.texts.items()}
        self.pattern = "(" + alternatives(self.back) + ")"

    def write(self, context: Context, choose) -> str:
        return self.texts[getattr(context.cast[context.args[self.letter]], self.what)]

    def read(self, context: Context, found: tuple) -> list:
        value = self.back[found[0]]
        context.args.setdefault("introduced", {})[self.what] = value
        if self.what == "name":
            self.bind(context, value)
        return []


def with_article(text: str) -> str:
    return ("an " if text[0] in "aeiou" or text == "honest" else "a ") + text


class Measure(Slot):
    """A Chinese measure word."""

    def __init__(self, letter: str, language: str):
        super().__init__(letter, language)
        self.list = {"character": "species", "thing": "things", "food": "foods"}[TYPES[letter]]
        self.words = load_lexicon().words[self.list]
        self.pattern = "(" + alternatives(word.measure for word in self.words.values()) + ")"

    def write(self, context: Context, choose) -> str:
        value = context.args[self.letter]
        if self.list == "species":
            value = context.cast[value].species
        return self.words[value].measure

    def read(self, context: Context, found: tuple) -> list:
        context.doubts.append((self, found[0]))
        return []


class Thing(Slot):
    """A thing, with its look when it is new to the reader and now and then later."""

    label = "thing"
    groups = 3

    def __init__(self, letter: str, language: str, upper: bool, article: bool):
        super().__init__(letter, language, upper)
        self.article = article
        self.things, self.looks = surface("things", language), surface("looks", language)
        self.gap = " " if language == "en" else ""
        an = "([Aa]n? )" if article else "()"
        self.pattern = f"{an}(?:({self.looks.pattern}){self.gap})?({self.things.pattern})"

    def write(self, context: Context, choose) -> str:
        thing = context.args[self.letter]
        text = self.things.of[thing]
        full = thing not in context.mentioned or choose("mention", THING) == "full"
        if full:
            text = self.looks.of[context.all_looks[thing]] + self.gap + text
        context.mentioned.add(thing)
        text = with_article(text) if self.article else text
        return capital(text) if self.upper else text

    def read(self, context: Context, found: tuple) -> list:
        article, look, noun = found
        thing = self.things.back[noun]
        self.bind(context, thing)
        if self.article:
            right = with_article(look or noun).split(" ")[0] + " "
            if article != (capital(right) if self.upper else right):
                context.problems.append(f"{article}before {look or noun}")
        look = self.looks.back[look] if look else None
        if thing in context.mentioned:
            known = context.all_looks.get(thing)
            if look and known and look != known:
                context.problems.append(f"the {thing} was {known} and is {look}")
            return ["full" if look else "bare"]
        context.mentioned.add(thing)
        if look is None:
            context.problems.append(f"the {thing} is not known yet")
        else:
            context.all_looks[thing] = look
        return []


class Place(Slot):
    """A place, alone or with its preposition."""

    label = "place"

    def __init__(self, letter: str, language: str, attribute: str, upper: bool):
        super().__init__(letter, language, upper)
        self.surface = surface("places", language, attribute)
        self.texts = {id: capital(text) if upper else text for id, text in self.surface.of.items()}
        self.back = {text: id for id, text in self.texts.items()}
        self.pattern = "(" + alternatives(self.back) + ")"

    def write(self, context: Context, choose) -> str:
        return self.texts[context.args[self.letter]]

    def read(self, context: Context, found: tuple) -> list:
        self.bind(context, self.back[found[0]])
        return []


class Amount(Slot):
    """A number with its food, or one piece of a food."""

    label = "number"
    groups = 3

    def __init__(self, number: str, letter: str, language: str, upper: bool):
        super().__init__(letter, language, upper)
        self.number = number
        self.foods, self.numbers = load_lexicon().words["foods"], surface("numbers", language)
        if language == "en":
            one, many = surface("foods", "en"), surface("foods", "en", "plural")
            self.back = many.back | one.back
            count = self.numbers.pattern if number != "a" else "an?"
            self.pattern = f"((?i:{count}))()[ ]({alternatives(self.back)})"
        else:
            self.back = surface("foods", "zh").back
            measures = alternatives(word.measure for word in self.foods.values())
            count = self.numbers.pattern if number != "a" else "一"
            self.pattern = f"({count})({measures})({alternatives(self.back)})"

    def text(self, food: str, number: str) -> str:
        word = self.foods[food]
        if self.language == "zh":
            count = "一" if number == "a" else self.numbers.of[number]
            return count + word.measure + word.zh
        if number == "a":
            return with_article(word.en)
        return f"{number} {word.en if number == 'one' else word.plural}"

    def write(self, context: Context, choose) -> str:
        number = "a" if self.number == "a" else context.args[self.number]
        text = self.text(context.args[self.letter], number)
        return capital(text) if self.upper else text

    def read(self, context: Context, found: tuple) -> list:
        count, measure, noun = found
        food = self.back[noun]
        self.bind(context, food)
        number = "a"
        if self.number != "a":
            number = self.numbers.back[count.lower()]
            if context.args.setdefault(self.number, number) != number:
                raise Mismatch
        gap = " " if self.language == "en" else ""
        told, right = f"{count}{measure}{gap}{noun}", self.text(food, number)
        if told != (capital(right) if self.upper else right):
            context.problems.append(f"{told} for {right}")
        return []


class Template(NamedTuple):
    """A compiled template.

    open: a next unit may be chained to it. `plain` and `chained` are its regular expressions;
    `chained` is None if the template does not start with the subject.
    """

    kind: str
    number: int
    source: str
    pieces: tuple
    open: bool
    plain: re.Pattern
    chained: re.Pattern | None


def compile_template(kind: str, number: int, source: str, language: str) -> Template:
    """Compile one template; ValueError says what is wrong with it."""
    text = source.replace(" ", "") if language == "zh" else source
    if language == "zh":
        text = re.sub(r"\{(\w)(\w)\}", r"{\1 \2}", text)
    pieces, end, seen = [], 0, set()
    for match in PLACEHOLDER.finditer(text):
        if match.start() > end:
            pieces.append(Literal(text[end : match.start()]))
        before, end = text[: match.start()], match.end()
        placeholder, pool = match.groups()
        if pool is not None:
            options = pool.split("|")
            pieces.append(Pool([capital(o) for o in options] if not before else options))
            continue
        pieces.append(make_slot(placeholder, before, seen, language, source))
        seen.update(re.findall(r"[A-Z]", placeholder.split(".")[0]))
    if end < len(text):
        pieces.append(Literal(text[end:]))
    if isinstance(pieces[0], Literal):
        pieces[0] = Literal(capital(pieces[0].text))
    missing = set(load_kinds()[kind].letters) - seen
    if missing:
        raise ValueError(f"{language} {kind}: {source!r} does not tell {' '.join(sorted(missing))}")
    return finish_template(kind, number, source, pieces, language)


def finish_template(kind: str, number: int, source: str, pieces: list, language: str) -> Template:
    stop, starts = STOP[language], isinstance(pieces[0], Mention) and pieces[0].first
    body = "".join(p.text for p in pieces if isinstance(p, Literal))
    quoted = any(quote in source for quote in QUOTES[language])
    sentences = len(re.findall("[.!?。！？]", body))
    one_clause = re.search(COMPOUND[language], body) is None
    is_open = starts and one_clause and not quoted and body.endswith(stop) and sentences == 1
    pattern = "".join(piece.pattern for piece in pieces)
    if is_open:
        chain = re.escape(CHAIN[language] + JOIN[language])
        pattern = pattern.removesuffix(re.escape(stop)) + f"(?:{re.escape(stop)}|(?={chain}))"
    chained = None
    if starts and one_clause:
        chained = re.compile(pattern.replace(pieces[0].pattern, re.escape(CHAIN[language]), 1))
    return Template(kind, number, source, tuple(pieces), is_open, re.compile(pattern), chained)


def is_quoted(before: str, language: str) -> bool:
    if language == "en":
        return before.count('"') % 2 == 1
    return before.count("“") > before.count("”")


def make_slot(placeholder: str, before: str, seen: set, language: str, source: str) -> Slot:
    """The piece that a placeholder stands for; `before` is the template's text up to it."""
    upper = language == "en" and (not before or re.search(r'[.]"? $', before) is not None)
    doubtful = language == "en" and re.search(r'[!?]"? $', before) is not None
    article = placeholder.startswith("a ")
    base, _, form = placeholder.removeprefix("a ").partition(".")
    kind = TYPES.get(base.split(" ")[-1])
    if kind == "character":
        if not form:
            fixed = is_quoted(before, language) or base in seen or doubtful
            return Mention(base, language, upper, fixed, first=not before and base == "A")
        if form in ("name", "species", "trait"):
            return Introduction(base, language, form, upper, article)
        if form in PRONOUNS[language]:
            return Pronoun(base, language, form, upper)
    if form == "mw" and language == "zh":
        return Measure(base, language)
    if kind == "thing" and not form:
        return Thing(base, language, upper, article)
    if kind == "place" and form in ("", "at"):
        return Place(base, language, "at" if form and language == "en" else "", upper)
    if kind == "food" and (article or " " in base):
        number, letter = ("a", base) if article else base.split(" ")
        return Amount(number, letter, language, upper)
    raise ValueError(f"{language}: {source!r} has the unknown placeholder {{{placeholder}}}")


@cache
def load_templates(language: str) -> dict[str, tuple[tuple[Template, ...], Among]]:
    """For each kind of event its templates, and how often each is used."""
    loaded = {}
    for kind, sources in read_yaml(FILES[language])["templates"].items():
        templates = tuple(
            compile_template(kind, number, source, language)
            for number, source in enumerate(sources)
        )
        loaded[kind] = templates, zipf(range(len(templates)), offset=0, exponent=2.5)
    missing = load_kinds().keys() - loaded.keys()
    if missing:
        raise ValueError(f"{FILES[language]} lacks templates for {', '.join(sorted(missing))}")
    return loaded
