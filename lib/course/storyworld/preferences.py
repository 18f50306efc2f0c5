"""Pairs of continuations: one goes with the beginning of a story, the other is subtly wrong.

The wrong continuation is the end of a *counterfactual* story: the same story in the same words, but
with one fact changed from its first sentence on (another thing, the two places exchanged, the two
friends exchanged ...). For itself it is as good as the right one, so its length, its words and its
style give nothing away; only who has read the beginning can tell.

    >>> pair = preference(1, "en")
    >>> verify(pair.prompt + pair.chosen, "en").ok, verify(pair.prompt + pair.rejected, "en").ok
    (True, False)
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from lib.course.storyworld.choices import Sampler
from lib.course.storyworld.corruptions import Edit, Rewording
from lib.course.storyworld.lexicon import load_lexicon
from lib.course.storyworld.plots import Record, load_plots, tagged
from lib.course.storyworld.realiser import Text, realise
from lib.course.storyworld.simulator import NUMBERS, Event, load_kinds, number_of
from lib.course.storyworld.splits import held_out
from lib.course.storyworld.verifier import verify
from lib.course.storyworld.world import Story, World

TOLERANCE = 0.2  # by how much the lengths of the two continuations may differ


@dataclass(frozen=True)
class Preference:
    """The beginning of a story and two continuations.

    kind: the fact in which the rejected one contradicts the beginning: thing, look, place,
    character, number or food. problems: what the verifier finds wrong with it.
    """

    kind: str
    language: str
    prompt: str
    chosen: str
    rejected: str
    problems: tuple


def preference(
    seed: int | str, language: str, kind: str | None = None, split: str = "train"
) -> Preference:
    """The pair of a seed, of a kind if one is given. Stories that have none are passed over."""
    if kind not in (None, *CHANGES):
        raise ValueError(f"there is no kind {kind!r}; choose one of {', '.join(CHANGES)}")
    rng = random.Random(f"preference {language} {split} {kind} {seed}")
    wanted = kind or rng.choice(list(CHANGES))
    while True:
        story = World().story(f"preference {rng.random()}", split, (language,))
        found = pair_of(story, language, wanted, rng)
        if found:
            return found


def pair_of(story: Story, language: str, kind: str, rng: random.Random) -> Preference | None:
    """A pair of a kind from a story; None if it has none."""
    record = story.record
    other_record = CHANGES[kind](record, rng)
    if other_record is None:
        return None
    true, other = story.told[language], told_with(story, language, other_record, rng)
    known = all_known(record, other_record)
    cuts = [cut for cut in borders(true, other) if cut >= known]
    for cut in rng.sample(cuts, len(cuts)):
        prompt, chosen = split_at(true, cut)
        rejected = split_at(other, cut)[1]
        even = abs(len(chosen) - len(rejected)) <= TOLERANCE * min(len(chosen), len(rejected))
        if even and chosen != rejected:
            problems = verify(prompt + rejected, language).problems
            if problems:
                return Preference(kind, language, prompt, chosen, rejected, tuple(problems))
    return None


def told_with(story: Story, language: str, other: Record, rng: random.Random) -> Text:
    """Another record told in the words of a story, as far as they fit."""
    edit = Edit([(event, i) for i, event in enumerate(other.events)], other.cast, other.looks)
    return realise(other, language, Rewording(story, language, edit, rng))


def all_known(record: Record, other: Record) -> int:
    """How many events it takes until whatever the other record exchanges has been told."""
    first: dict = {}
    for i, event in enumerate(record.events):
        for arg in event.args:
            first.setdefault(arg, i + 1)
    pairs = zip(record.events, other.events, strict=True)
    new = {arg for one, another in pairs for arg in set(another.args) - set(one.args)}
    return max((first.get(arg, 0) for arg in new), default=0)


def borders(true: Text, other: Text) -> Iterator[int]:
    """The events, from the fourth to the last, that begin with a new sentence in both texts."""
    for i in range(3, len(true.starts)):
        if not (true.chained[i] or other.chained[i]):
            yield i


def split_at(text: Text, cut: int) -> tuple[str, str]:
    """The text before an event's sentence and from there on; a blank belongs to the second."""
    at = text.starts[cut]
    if text.pieces[at - 1][0] == " ":
        at -= 1
    words = [piece for piece, _ in text.pieces]
    return "".join(words[:at]), "".join(words[at:])


# --- counterfactuals: (record, rng) -> the record with one fact changed throughout, or None -------
#
# What replaces a value is drawn just as the value was, and nothing is done if it is the same: so
# (this, that) is as likely as (that, this), and no word is more at home in a right continuation.
# For the same reason, only characters or places of one side (see Lexicon) are exchanged.


def with_other(record: Record, new: dict, looks: dict | None = None) -> Record:
    """The record with things, places, characters or foods replaced, each with what it is like."""
    events = [
        Event(event.kind, tuple([new.get(arg, arg) for arg in event.args]))
        for event in record.events
    ]
    looks = looks or {new.get(thing, thing): look for thing, look in record.looks.items()}
    cast = {new.get(name, name): record.cast[new.get(name, name)] for name in record.cast}
    return Record(record.plot, record.topic, record.split, cast, looks, events)


def other_thing(record: Record, rng: random.Random) -> Record | None:
    """Another thing that the plot could have been about."""
    steps = [step for step in load_plots()[record.plot].steps if step.do == "pick"]
    tags = [s.detail[0] for s in steps if s.roles[0] in "TU" and s.detail[0] != "key"]
    old = [thing for thing in record.looks if thing != "key"]
    if not old or not tags:
        return None
    thing = rng.choice(old)
    new = Sampler(rng).choose("thing", tagged("things", tags[0]))
    verbs = frozenset().union(*load_plots()[record.plot].verbs.values())
    if new == "key" or new in record.looks or any(held_out(verb, new) for verb in verbs):
        return None
    return with_other(record, {thing: new})


def other_look(record: Record, rng: random.Random) -> Record | None:
    """The same thing in another look."""
    if not record.looks:
        return None
    thing = rng.choice(list(record.looks))
    new = Sampler(rng).choose("look", load_lexicon().among["looks"])
    if new == record.looks[thing] or "old" in (new, record.looks[thing]):
        return None  # not everything can be old
    return with_other(record, {}, {**record.looks, thing: new})


def other_place(record: Record, rng: random.Random) -> Record | None:
    """Two places of the story exchanged, such that all that happens could happen in both."""
    words = load_lexicon().words["places"]
    told = dict.fromkeys(arg for event in record.events for arg in event.args if arg in words)
    pairs = [
        (one, other)
        for one, other in same_side("places", told)
        if words[one].tags == words[other].tags
    ]
    return exchanged(record, rng.choice(pairs)) if pairs else None


def other_character(record: Record, rng: random.Random) -> Record | None:
    """Two of those whom the hero meets exchanged: each does what the other did."""
    pairs = same_side("names", record.cast)
    return exchanged(record, rng.choice(pairs)) if pairs else None


def same_side(name: str, values: Iterable[str]) -> list[tuple[str, str]]:
    """All pairs of names or of places that were dealt to the same side."""
    first, _ = load_lexicon().sides[name]
    return [pair for pair in combinations(values, 2) if len(first.intersection(pair)) != 1]


def exchanged(record: Record, pair: tuple) -> Record:
    first, second = pair
    return with_other(record, {first: second, second: first})


def other_number(record: Record, rng: random.Random) -> Record | None:
    """More or fewer gathered, and so more or fewer left."""
    gathered = next((event for event in record.events if event.kind == "gather"), None)
    if gathered is None:
        return None
    steps = load_plots()[record.plot].steps
    limits = next(s.detail[0] for s in steps if s.do == "pick" and s.roles == ("N",)).split("-")
    by = rng.randint(*map(int, limits)) - number_of(gathered.args[1])
    if by == 0:
        return None
    place = {"gather": 1, "share": 4}
    events = []
    for kind, args in record.events:
        if kind in place:
            at = place[kind]
            args = (*args[:at], NUMBERS[number_of(args[at]) + by - 1], *args[at + 1 :])
        events.append(Event(kind, args))
    return Record(record.plot, record.topic, record.split, record.cast, record.looks, events)


def other_food(record: Record, rng: random.Random) -> Record | None:
    """Another food gathered and shared."""
    gathered = next((event for event in record.events if event.kind == "gather"), None)
    if gathered is None:
        return None
    letters = load_kinds()["gather"].letters
    old = gathered.args[letters.index("F")]
    new = Sampler(rng).choose("food", load_lexicon().among["foods"])
    if any(new in event.args for event in record.events):
        return None
    return with_other(record, {old: new})


CHANGES = {
    "thing": other_thing,
    "look": other_look,
    "place": other_place,
    "character": other_character,
    "number": other_number,
    "food": other_food,
}
