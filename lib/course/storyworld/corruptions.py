"""Stories with one mistake: almost right, and inconsistent by construction.

A corruption takes a story and changes one thing that matters: it leaves out the cause of an event,
exchanges two characters, lets a promise hang. None of them asks the simulator or the verifier
whether the result is wrong; what makes it wrong stands here, in tables of its own. So the bank
tests the verifier, and its pairs (story, corrupted story) can teach a model what is consistent.

    >>> from lib.course.storyworld.world import World
    >>> story = World().story(3)
    >>> found = corrupt(story, "en", random.Random(0), "no ending")
    >>> found.kind, story.text["en"].startswith(found.text)
    ('no ending', True)

Corruptions of facts are here; those of form (a wrong article, a lost word) are in `slips`.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from lib.course.storyworld.choices import Among, Sampler
from lib.course.storyworld.lexicon import load_lexicon
from lib.course.storyworld.plots import Character, Record
from lib.course.storyworld.realiser import realise
from lib.course.storyworld.simulator import NUMBERS, Event
from lib.course.storyworld.slips import SLIPS
from lib.course.storyworld.world import Story, World


class Corrupted(NamedTuple):
    """A corrupted story: what was done to it, its text, and the original text."""

    kind: str
    text: str
    original: str


class Edit(NamedTuple):
    """A record after a corruption: (event, number of the event that it was or None), cast, looks.

    The number lets the corrupted story keep the wording of all that was not touched.
    """

    events: list[tuple[Event, int | None]]
    cast: dict
    looks: dict


# effect -> cause: what the effect needs to have been told before. "_" stands for anybody.
CAUSES = {
    "get_wet A": "rain",
    "blow_away A T P": "wind",
    "fall_ill A": "get_wet A",
    "nurse A B": "fall_ill B",
    "rescue A B": "fall B _",
    "unlock A T P": "chest _ P",
    "inside A T P": "unlock _ _ P",
    "agree A B": "ask_help B A",
    "refuse A B": "ask_help B A",
    "return_stolen A B T": "steal A B T",
    "bloom A P": "plant A P",
    "neglect A P": "plant A P",
    "share A B K F M": "gather A _ F _",
    "forgive A B": "apologise B A",
    "wait A B P": "promise_meet B A P",
    "find_again A T P": "search A T _",
    "promise_back A B T": "lend B A T",
    "give_up A T": "search A T _",
}
# The same for promises: what is kept or broken must have been promised.
PROMISES = {
    "bring_back A B T": "promise_back A B T",
    "keep_thing A B T": "promise_back A B T",
    "arrive A B P": "promise_meet A B P",
    "stay_away A B P": "promise_meet A B P",
}
# A thing must be somebody's, or lie somewhere, before anything can be done with it.
ORIGINS = ("own", "discover", "make", "inside")
# What can be told only once of the same people and things.
ONCE = (
    "own", "drop", "blow_away", "find_again", "give", "lend", "bring_back", "keep_thing",
    "steal", "return_stolen", "break", "mend", "trade", "discover", "inside", "unlock",
    "arrive", "stay_away", "forgive", "fall", "rescue", "fall_ill", "nurse", "bloom", "neglect",
)  # fmt: skip
# Events in which the two characters cannot change places.
ONE_WAY = (
    "give", "lend", "promise_back", "bring_back", "keep_thing", "steal", "return_stolen",
    "agree", "refuse", "wait", "arrive", "stay_away", "forgive", "nurse", "rescue", "share",
)  # fmt: skip
# Events whose thing, or place, must be the one that the story is about.
OF_THING = (
    "drop", "blow_away", "notice", "search", "find_again", "give_up", "give", "lend",
    "promise_back", "bring_back", "keep_thing", "steal", "return_stolen", "break", "mend",
    "play", "unlock",
)  # fmt: skip
OF_PLACE = (
    "drop", "search", "find_again", "unlock", "inside", "gather", "fall", "chest", "wait",
    "arrive", "stay_away", "bloom", "neglect",
)  # fmt: skip
# Events in which only the holder of the thing can be the one who acts.
OF_HOLDER = ("drop", "blow_away", "break")
TRAVEL = ("go", "go_with")
ENDINGS = ("end_friends", "end_content", "end_sad", "end_open")


def numbered(record: Record) -> list[tuple[Event, int | None]]:
    return [(event, i) for i, event in enumerate(record.events)]


def edited(record: Record, events: Sequence) -> Edit:
    return Edit(list(events), dict(record.cast), dict(record.looks))


def without(record: Record, gone: set[int]) -> Edit:
    """The record without some events."""
    return edited(record, [pair for pair in numbered(record) if pair[1] not in gone])


def replaced(record: Record, i: int, *events: tuple[Event, int | None]) -> Edit:
    """The record with other events instead of event i."""
    pairs = numbered(record)
    return edited(record, pairs[:i] + list(events) + pairs[i + 1 :])


def at_end(record: Record) -> int:
    return len(record.events) - 1


def causes_of(record: Record, i: int, table: dict[str, str]) -> set[int]:
    """The events before event i that the table calls its causes."""
    event = record.events[i]
    for effect, cause in table.items():
        kind, *letters = effect.split()
        if kind == event.kind:
            role = dict(zip(letters, event.args, strict=True))
            wanted, *args = cause.split()
            return {
                j
                for j, other in enumerate(record.events[:i])
                if other.kind == wanted
                and all(a == "_" or role[a] == b for a, b in zip(args, other.args, strict=True))
            }
    return set()


def pick(rng: random.Random, options: Sequence):
    """One of the options, None if there is none."""
    return rng.choice(list(options)) if options else None


def of_kinds(record: Record, kinds: Sequence[str]) -> list[int]:
    return [i for i, event in enumerate(record.events) if event.kind in kinds]


def things(record: Record, event: Event) -> list:
    return [arg for arg in event.args if arg in record.looks]


def characters(record: Record, event: Event) -> list:
    return [arg for arg in event.args if arg in record.cast]


def places(event: Event) -> list:
    return [arg for arg in event.args if arg in load_lexicon().words["places"]]


def swap(event: Event, old, new) -> Event:
    """The event with one argument replaced."""
    return Event(event.kind, tuple([new if arg == old else arg for arg in event.args]))


# --- corruptions of facts: (record, rng) -> Edit, or None where they do not apply ----------------


def cause_missing(record: Record, rng: random.Random, table=CAUSES) -> Edit | None:
    effects = [i for i in range(len(record.events)) if causes_of(record, i, table)]
    effect = pick(rng, effects)
    return effect and without(record, causes_of(record, effect, table))


def promise_never_made(record: Record, rng: random.Random) -> Edit | None:
    return cause_missing(record, rng, PROMISES)


def rain_missing(record: Record, rng: random.Random) -> Edit | None:
    return cause_missing(record, rng, {"get_wet A": "rain"})


def effect_before_cause(record: Record, rng: random.Random) -> Edit | None:
    table = CAUSES | PROMISES
    effects = [i for i in range(len(record.events)) if causes_of(record, i, table)]
    effect = pick(rng, effects)
    if effect is None:
        return None
    pairs, first = numbered(record), min(causes_of(record, effect, table))
    moved = pairs.pop(effect)
    return edited(record, [*pairs[:first], moved, *pairs[first:]])


def thing_from_nowhere(record: Record, rng: random.Random) -> Edit | None:
    uses = [
        i
        for i in of_kinds(record, ORIGINS)
        if any(record.events[i].args[1] in later.args for later in record.events[i + 1 :])
    ]
    origin = pick(rng, uses)
    return origin and without(record, {origin})


def promise_left_open(record: Record, rng: random.Random) -> Edit | None:
    """End the story before the promise is kept or broken."""
    ends = [i for i in range(len(record.events)) if causes_of(record, i, PROMISES)]
    if not ends:
        return None
    ending = Event("end_content", (characters(record, record.events[0])[0],))
    return edited(record, [*numbered(record)[: ends[0]], (ending, None)])


def promise_kept_by_another(record: Record, rng: random.Random) -> Edit | None:
    keeping = pick(rng, of_kinds(record, ["bring_back", "arrive"]))
    other = newcomer(record, rng)
    if keeping is None or other is None:
        return None
    event = record.events[keeping]
    kept = swap(event, event.args[0], other.name)
    edit = replaced(record, keeping, (Event("meet", (event.args[1], other.name)), None), (kept, 0))
    edit.cast[other.name] = other
    return edit


def newcomer(record: Record, rng: random.Random) -> Character | None:
    """A character that the story does not have, of a new species."""
    words = load_lexicon().words
    species = set(words["species"]) - {other.species for other in record.cast.values()}
    return Character(
        pick(rng, sorted(set(words["names"]) - set(record.cast))),
        pick(rng, sorted(species)),
        pick(rng, sorted(words["traits"])),
    )


def told_twice(record: Record, rng: random.Random) -> Edit | None:
    i = pick(rng, of_kinds(record, ONCE))
    if i is None:
        return None
    event = record.events[i]
    return replaced(record, i, (event, i), (event, None))


def characters_exchanged(record: Record, rng: random.Random) -> Edit | None:
    i = pick(rng, of_kinds(record, ONE_WAY))
    if i is None:
        return None
    a, b, *rest = record.events[i].args
    return replaced(record, i, (Event(record.events[i].kind, (b, a, *rest)), i))


def acts_on_oneself(record: Record, rng: random.Random) -> Edit | None:
    i = pick(rng, of_kinds(record, [*ONE_WAY, "end_friends", "thank", "ask_help"]))
    if i is None:
        return None
    a, _, *rest = record.events[i].args
    return replaced(record, i, (Event(record.events[i].kind, (a, a, *rest)), i))


def not_the_holder(record: Record, rng: random.Random) -> Edit | None:
    """Somebody loses, breaks or gives away what another has."""
    options = []
    for i in of_kinds(record, OF_HOLDER):
        args = record.events[i].args
        known = {who for event in record.events[:i] for who in characters(record, event)}
        options += [
            (i, swap(record.events[i], args[0], other)) for other in sorted(known - {args[0]})
        ]
    found = pick(rng, options)
    return found and replaced(record, found[0], (found[1], found[0]))


def other_thing(record: Record, rng: random.Random) -> Edit | None:
    """Another thing at one mention, such that the story loses one and finds another."""
    i = pick(rng, of_kinds(record, OF_THING))
    if i is None:
        return None
    words = load_lexicon().words
    old = things(record, record.events[i])[0]
    new = pick(rng, sorted(set(words["things"]) - set(record.looks) - {"key"}))
    edit = replaced(record, i, (swap(record.events[i], old, new), i))
    edit.looks[new] = pick(rng, sorted(words["looks"]))
    return edit


def other_place(record: Record, rng: random.Random) -> Edit | None:
    """Something happens where nobody is."""
    i = pick(rng, of_kinds(record, OF_PLACE))
    if i is None:
        return None
    told = {place for event in record.events for place in places(event)}
    new = pick(rng, sorted(set(load_lexicon().words["places"]) - told))
    old = places(record.events[i])[0]
    return replaced(record, i, (swap(record.events[i], old, new), i))


def way_missing(record: Record, rng: random.Random) -> Edit | None:
    """Nobody went to the place where something happens."""
    options = []
    for i in of_kinds(record, ["drop", "search", "find_again", "gather", "fall", "chest", "plant"]):
        place = places(record.events[i])[0]
        ways = {j for j in of_kinds(record, TRAVEL) if j < i and place in record.events[j].args}
        if ways and place not in record.events[0].args:
            options.append(ways)
    ways = pick(rng, options)
    return ways and without(record, ways)


def wrong_sum(record: Record, rng: random.Random) -> Edit | None:
    i = pick(rng, of_kinds(record, ["share"]))
    if i is None:
        return None
    a, b, k, food, m = record.events[i].args
    wrong = pick(rng, [n for n in NUMBERS if n != m])
    return replaced(record, i, (Event("share", (a, b, k, food, wrong)), i))


def other_food(record: Record, rng: random.Random) -> Edit | None:
    i = pick(rng, of_kinds(record, ["share"]))
    if i is None:
        return None
    told = {arg for event in record.events for arg in event.args}
    new = pick(rng, sorted(set(load_lexicon().words["foods"]) - told))
    return replaced(record, i, (swap(record.events[i], record.events[i].args[3], new), i))


def introduced_twice(record: Record, rng: random.Random) -> Edit | None:
    i = rng.randrange(1, at_end(record))
    again = Event("intro", record.events[0].args)
    return replaced(record, i, (again, None), (record.events[i], i))


def met_twice(record: Record, rng: random.Random) -> Edit | None:
    meeting = pick(rng, of_kinds(record, ["meet"]))
    if meeting is None:
        return None
    i = rng.randrange(meeting + 1, len(record.events))
    return replaced(record, i, (record.events[meeting], None), (record.events[i], i))


def same_species(record: Record, rng: random.Random) -> Edit | None:
    if len(record.cast) < 2:
        return None
    first, second, *_ = record.cast.values()
    edit = edited(record, numbered(record))
    edit.cast[second.name] = second._replace(species=first.species)
    return edit


def no_ending(record: Record, rng: random.Random) -> Edit | None:
    return without(record, {at_end(record)})


def after_the_ending(record: Record, rng: random.Random) -> Edit | None:
    event = Event(*rng.choice([("rest", (record.events[0].args[0],)), ("sun", ()), ("rain", ())]))
    return edited(record, [*numbered(record), (event, None)])


def second_ending(record: Record, rng: random.Random) -> Edit | None:
    kinds = [kind for kind in ENDINGS[1:] if kind != record.events[-1].kind]
    event = Event(rng.choice(kinds), (record.events[0].args[0],))
    return edited(record, [*numbered(record), (event, None)])


def ending_too_early(record: Record, rng: random.Random) -> Edit | None:
    pairs = numbered(record)
    i = rng.randrange(len(pairs) // 2, at_end(record))
    return edited(record, [*pairs[:i], pairs[-1], *pairs[i:-1]])


def friends_unforgiven(record: Record, rng: random.Random) -> Edit | None:
    """Friends at the end, though the wrong was never forgiven."""
    gone = of_kinds(record, ["apologise", "forgive"])
    if not gone or record.events[-1].kind != "end_friends":
        return None
    return without(record, set(gone))


def trouble_left(record: Record, rng: random.Random) -> Edit | None:
    """The trouble is forgotten: ill, or deep in a hole, and yet all is well."""
    if record.events[-1].kind not in ENDINGS[:2]:
        return None
    gone = of_kinds(record, ["rescue", "nurse"])
    return without(record, {*gone, *of_kinds(record, ["thank"])}) if gone else None


def still_broken(record: Record, rng: random.Random) -> Edit | None:
    mending = pick(rng, of_kinds(record, ["mend"]))
    used = mending and of_kinds(record, ["bring_back"])
    return without(record, {mending}) if used else None


def sun_in_the_rain(record: Record, rng: random.Random) -> Edit | None:
    wet = pick(rng, of_kinds(record, ["get_wet"]))
    sun = Event("sun", ())
    return wet and replaced(record, wet, (sun, None), (record.events[wet], wet))


def walks_out_of_the_hole(record: Record, rng: random.Random) -> Edit | None:
    falling = pick(rng, of_kinds(record, ["fall"]))
    if falling is None:
        return None
    told = {place for event in record.events for place in places(event)}
    place = pick(rng, sorted(set(load_lexicon().words["places"]) - told))
    event = record.events[falling]
    going = Event("go", (event.args[0], place))
    return replaced(record, falling, (event, falling), (going, None))


def breaks_again(record: Record, rng: random.Random) -> Edit | None:
    """Somebody plays with, or gives away as it were whole, what was stolen from them."""
    stealing = pick(rng, of_kinds(record, ["steal"]))
    if stealing is None:
        return None
    event = record.events[stealing]
    _, owner, thing = event.args
    lost = Event("break", (owner, thing))
    return replaced(record, stealing, (event, stealing), (lost, None))


class Kind(NamedTuple):
    """A kind of corruption: what does it, and the kinds of problem that it should cause."""

    change: Callable
    causes: frozenset
    languages: tuple[str, ...] = ("en", "zh")


def kind(change: Callable, causes: str) -> Kind:
    return Kind(change, frozenset(causes.split()))


FACTS = {
    "cause missing": kind(cause_missing, "cause possession place number promise"),
    "rain missing": kind(rain_missing, "cause"),
    "effect before cause": kind(
        effect_before_cause, "cause possession place number promise character grammar"
    ),
    "thing from nowhere": kind(thing_from_nowhere, "grammar possession"),
    "promise never made": kind(promise_never_made, "promise"),
    "promise left open": kind(promise_left_open, "promise"),
    "promise kept by another": kind(promise_kept_by_another, "promise possession"),
    "told twice": kind(told_twice, "possession cause promise place character number grammar"),
    "characters exchanged": kind(
        characters_exchanged, "possession cause promise place character number"
    ),
    "acts on oneself": kind(acts_on_oneself, "possession cause promise place number"),
    "not the holder": kind(not_the_holder, "possession"),
    "other thing": kind(other_thing, "possession grammar promise cause"),
    "other place": kind(other_place, "place possession promise cause"),
    "way missing": kind(way_missing, "place"),
    "wrong sum": kind(wrong_sum, "number"),
    "other food": kind(other_food, "number"),
    "introduced twice": kind(introduced_twice, "character"),
    "met twice": kind(met_twice, "character"),
    "same species": kind(same_species, "character"),
    "no ending": kind(no_ending, "ending"),
    "after the ending": kind(after_the_ending, "ending"),
    "second ending": kind(second_ending, "ending"),
    "ending too early": kind(ending_too_early, "ending grammar"),
    "friends unforgiven": kind(friends_unforgiven, "cause"),
    "trouble left": kind(trouble_left, "cause place"),
    "still broken": kind(still_broken, "cause"),
    "sun in the rain": kind(sun_in_the_rain, "cause"),
    "walks out of the hole": kind(walks_out_of_the_hole, "cause"),
    "breaks what was stolen": kind(breaks_again, "possession"),
}
KINDS = FACTS | {name: Kind(*slip) for name, slip in SLIPS.items()}


class Rewording:
    """Tells an edited record with the words of the original, as far as they fit; draws the rest."""

    def __init__(self, story: Story, language: str, edit: Edit, rng: random.Random):
        parts: list[list] = []
        for choice in story.tapes[language]:
            if choice.slot == "phrase":
                parts.append([])
            parts[-1].append((choice.slot, choice.among.options[choice.position]))
        self.sources = iter([source for _, source in edit.events])
        self.parts, self.part, self.sampler = parts, iter(()), Sampler(rng)

    def choose(self, slot: str, among: Among):
        if slot == "phrase":
            source = next(self.sources)
            self.part = iter(self.parts[source] if source is not None else ())
        told, option = next(self.part, (None, None))
        if told == slot and option in among.index:
            return option
        self.part = iter(()) if slot == "phrase" else self.part
        return self.sampler.choose(slot, among)


def retell(story: Story, language: str, edit: Edit, rng: random.Random) -> str:
    """The text of an edited record, in the words of the original where they still fit."""
    record = Record("", "", story.record.split, edit.cast, edit.looks)
    record.events = [event for event, _ in edit.events]
    return realise(record, language, Rewording(story, language, edit, rng)).text


def corrupt(
    story: Story, language: str, rng: random.Random, kind: str | None = None
) -> Corrupted | None:
    """The story with one mistake, of the given kind or of any that fits; None if none fits."""
    if kind is not None and kind not in KINDS:
        raise ValueError(f"there is no corruption {kind!r}; choose one of {', '.join(KINDS)}")
    original = story.text[language]
    names = [name for name, entry in KINDS.items() if language in entry.languages]
    for name in [kind] if kind else rng.sample(names, len(names)):
        if name not in names:
            continue
        change = KINDS[name].change
        if name in FACTS:
            edit = change(story.record, rng)
            text = edit and retell(story, language, edit, rng)
        else:
            text = change(story.told[language], rng)
        if text and text != original:
            return Corrupted(name, text, original)
    return None


def bank(
    world: World, language: str, n: int, seed: int = 0, split: str = "train"
) -> Iterator[Corrupted]:
    """n corrupted stories, every kind as often as the others."""
    rng = random.Random(f"corruptions {language} {split} {seed}")
    names = [name for name, entry in KINDS.items() if language in entry.languages]
    stories = (world.story(f"{seed}:{i}", split, (language,)) for i in range(1_000_000))
    for i in range(n):
        name = names[i % len(names)]
        found = None
        while found is None:
            found = corrupt(next(stories), language, rng, name)
        yield found
