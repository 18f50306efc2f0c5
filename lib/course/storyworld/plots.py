"""What stories are about: the plots, drawn event by event, and recognised again.

A plot (assets/storyworld/plots.yaml) is a small program of steps. `tell` runs it: every draw is a
choice with a known probability. `recognise` runs it backwards: it finds the choices that lead to
given events, all of them, so that a test can assert that there is one way only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import NamedTuple

from lib.course.storyworld.choices import Among, zipf
from lib.course.storyworld.lexicon import Lexicon, load_lexicon, read_yaml
from lib.course.storyworld.simulator import NUMBERS, Event, Problem, State, load_kinds, number_of
from lib.course.storyworld.splits import ENGLISH_ONLY, VERBS, check_split, partners

LISTS = {
    "A": "names", "B": "names", "C": "names", "T": "things", "U": "things",
    "P": "places", "Q": "places", "R": "places", "F": "foods",
}  # fmt: skip
PAUSES = Among(["none", "rest", "sing", "snack"], [11, 4, 3, 3])
SECOND_PAUSE = PAUSES.without({"none"})


class Step(NamedTuple):
    """One step of a plot: what to do, with which roles, and what it is about."""

    do: str  # an event's kind, or pick, less, pause, either, case
    roles: tuple[str, ...] = ()
    detail: object = None


class Plot(NamedTuple):
    """A plot: its name, topic and steps, and which verbs it may apply to each role."""

    name: str
    topic: str
    steps: tuple[Step, ...]
    verbs: dict[str, frozenset]
    kinds: frozenset


class Character(NamedTuple):
    name: str
    species: str
    trait: str


@dataclass
class Record:
    """What a story tells, in no language: the input of both realisers.

    cast maps each name to its Character, looks each thing to its look ("red").
    """

    plot: str
    topic: str
    split: str
    cast: dict[str, Character] = field(default_factory=dict)
    looks: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @cached_property
    def mood(self) -> str:
        """How the story ends: happy, sad or open."""
        kind = load_kinds()[self.events[-1].kind]
        return next(fact.letters[0] for fact in kind.then if fact.name == "mood")

    def states(self) -> Iterator[State]:
        """The state of the world after each event; one object, changed from event to event."""
        state = State()
        for event in self.events:
            state.happen(event)
            yield state

    def final_state(self) -> State:
        *_, state = self.states()
        return state

    def problems(self) -> list[Problem]:
        """What is inconsistent about the events; nothing, if a plot told them."""
        state = State()
        found = [problem for event in self.events for problem in state.happen(event)]
        return found + state.finish()


def parse_steps(entries: list) -> tuple[Step, ...]:
    """Steps from their YAML form."""
    return tuple(step for entry in entries for step in parse_step(entry))


def parse_step(entry) -> list[Step]:
    if isinstance(entry, str):
        do, *words = entry.split()
        if do != "pick":
            return [Step(do, tuple(words))]
        role, *limits = words
        verb = limits.pop() if limits[-2:-1] == ["for"] else None
        limits = [limit for limit in limits if limit != "for"]
        return [Step("pick", (role,), (" ".join(limits), verb))]
    (do, detail), *_ = entry.items()
    if do == "maybe":
        chance, *rest = detail
        return [Step("either", (), (Among([0, 1], [chance, 1 - chance]), (parse_steps(rest), ())))]
    if do == "either":
        weights, branches = zip(*((w, parse_steps(rest)) for w, *rest in detail), strict=True)
        return [Step("either", (), (Among(range(len(weights)), weights), branches))]
    role = do.removeprefix("case ")
    traits = load_lexicon().words["traits"]
    branches = {key: parse_steps(steps) for key, steps in detail.items()}
    by_trait = {trait: branches.get("else", ()) for trait in traits}
    for key, branch in branches.items():
        by_trait.update({trait: branch for trait in key.split() if key != "else"})
    return [Step("case", (role,), by_trait)]


def all_steps(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Every step of a plot, also those in its branches."""
    for step in steps:
        yield step
        if step.do == "either":
            branches = step.detail[1]
        elif step.do == "case":
            branches = {id(branch): branch for branch in step.detail.values()}.values()
        else:
            branches = ()
        for branch in branches:
            yield from all_steps(branch)


@cache
def load_plots() -> dict[str, Plot]:
    """Every plot by name, in the order of frequency."""
    plots = {}
    for name, entry in read_yaml("plots.yaml").items():
        steps = parse_steps(entry["steps"])
        inner = list(all_steps(steps))
        things = {step.roles[0] for step in inner if step.do == "pick"}
        verbs = {
            role: frozenset(s.do for s in inner if s.do in VERBS and role in s.roles)
            for role in things
        }
        kinds = frozenset(step.do for step in inner)
        plots[name] = Plot(name, entry["topic"], steps, verbs, kinds)
    return plots


@cache
def plots_of(split: str, languages: tuple[str, ...]) -> Among:
    """The plots that a split draws from."""
    check_split(split)
    plots = load_plots()

    def belongs(plot: Plot) -> bool:
        foreign = bool(plot.kinds & ENGLISH_ONLY)
        if split == "crosslingual":
            return foreign
        if split == "longer" and "pause" not in plot.kinds:
            return False
        if split == "verb_object" and not main_things(plot):
            return False
        return not (foreign and "zh" in languages)

    among = zipf(plots, offset=2, exponent=1.5)
    return among.without(name for name, plot in plots.items() if not belongs(plot))


def main_step(plot: Plot) -> Step | None:
    """The draw of the thing whose pairs with the plot's main verb are held out."""
    return next((s for s in plot.steps if s.do == "pick" and s.detail[1] in VERBS), None)


@cache
def tagged(role_list: str, tags: str) -> Among:
    """The entries of a list that have all the tags."""
    lexicon = load_lexicon()
    words = lexicon.words[role_list]
    return lexicon.among[role_list].without(
        word.id for word in words.values() if not word.tags.issuperset(tags.split())
    )


def main_things(plot: Plot) -> list[str]:
    """The things that make a held-out pair with the plot's main verb."""
    step = main_step(plot)
    if step is None:
        return []
    tag, verb = step.detail
    return [thing for thing in tagged("things", tag).options if thing in partners(verb, "things")]


class Teller:
    """Runs a plot, drawing with `chooser`; `record` is what happened.

    Raises ValueError when a plot tells an event whose needs are not met: a mistake in the plot.
    """

    def __init__(self, chooser, split: str, languages: tuple[str, ...], lexicon: Lexicon):
        self.choose, self.split, self.lexicon = chooser.choose, split, lexicon
        self.plot = load_plots()[self.choose("plot", plots_of(split, languages))]
        self.record = Record(self.plot.name, self.plot.topic, split)
        self.roles: dict[str, str] = {}
        self.places: list[str] = []
        self.state = State()
        self.run(self.plot.steps)

    def run(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            getattr(self, f"do_{step.do}", self.happen)(step)

    def happen(self, step: Step) -> None:
        event = Event(step.do, tuple([self.resolve(role) for role in step.roles]))
        problems = self.state.happen(event)
        if problems:
            raise ValueError(f"plot {self.plot.name}: {problems[0].what}")
        self.record.events.append(event)

    def resolve(self, role: str):
        return self.state.holder(self.roles[role[1:]]) if role[0] == "@" else self.roles[role]

    def do_pick(self, step: Step) -> None:
        role = step.roles[0]
        if role in LISTS:
            getattr(self, f"pick_{LISTS[role]}")(role, *step.detail)
        else:
            self.roles[role] = self.choose("number", numbers(*step.detail[0].split("-")))

    def pick_names(self, role: str, traits: str, _verb) -> None:
        words, among = self.lexicon.words, self.lexicon.among
        cast = self.record.cast
        sides, other = self.lexicon.sides, 1 if role == "A" else 0
        name = self.choose("name", among["names"].without(sides["names"][other] | set(cast)))
        taken = sides["species"][other] | {one.species for one in cast.values()}
        if self.split == "character_place":
            homes = sides["places"][0]
            taken = taken.union(
                who for who in words["species"] if not partners(who, "places") & homes
            )
        else:
            taken = taken.union(*[partners(place, "species") for place in self.places])
        species = self.choose("species", among["species"].without(taken))
        excluded = set(words["traits"]) - set(traits.split("|")) if traits else ()
        trait = self.choose("trait", among["traits"].without(excluded))
        cast[name] = Character(name, species, trait)
        self.roles[role] = name

    def pick_things(self, role: str, tag: str, verb) -> None:
        among = tagged("things", tag)
        excluded = set(self.record.looks)
        main = main_step(self.plot)
        if self.split == "verb_object":
            if verb == main.detail[1] and role == main.roles[0]:
                excluded.update(set(among.options) - partners(verb, "things"))
        else:
            verbs = self.plot.verbs.get(role, ())
            excluded.update(*[partners(verb, "things") for verb in verbs])
        thing = self.choose("thing", among.without(excluded))
        made = "handmade" in tag.split()  # nobody makes or wishes for something old
        looks = self.lexicon.among["looks"].without({"old"} if made else ())
        self.record.looks[thing] = self.choose("look", looks)
        self.roles[role] = thing

    def pick_places(self, role: str, tag: str, _verb) -> None:
        among = tagged("places", tag)
        species = [character.species for character in self.record.cast.values()]
        excluded = set(self.lexicon.sides["places"][1 - len(self.places) % 2]).union(self.places)
        if self.split == "character_place":
            if not self.places:
                excluded.update(set(among.options) - partners(species[0], "places"))
        else:
            excluded.update(*[partners(who, "places") for who in species])
        place = self.choose("place", among.without(excluded))
        self.places.append(place)
        self.roles[role] = place

    def pick_foods(self, role: str, tag: str, _verb) -> None:
        self.roles[role] = self.choose("food", tagged("foods", tag))

    def do_less(self, step: Step) -> None:
        rest, whole, part = step.roles
        left = number_of(self.roles[whole]) - number_of(self.roles[part])
        self.roles[rest] = NUMBERS[left - 1]

    def do_either(self, step: Step) -> None:
        among, branches = step.detail
        self.run(branches[self.choose("branch", among)])

    def do_case(self, step: Step) -> None:
        character = self.record.cast[self.roles[step.roles[0]]]
        self.run(step.detail[character.trait])

    def do_pause(self, step: Step) -> None:
        role = step.roles[0]
        first = self.choose("pause", SECOND_PAUSE if self.split == "longer" else PAUSES)
        self.pause(first, role)
        if self.split == "longer":
            self.pause(self.choose("pause", SECOND_PAUSE.without({first})), role)

    def pause(self, kind: str, role: str) -> None:
        if kind == "snack":
            self.pick_foods("snack", "", None)
            self.happen(Step("snack", (role, "snack")))
        elif kind != "none":
            self.happen(Step(kind, (role,)))


@cache
def numbers(least: str, most: str) -> Among:
    """Number words from `least` to `most`, all as likely."""
    words = NUMBERS[int(least) - 1 : int(most)]
    return Among(words, [1] * len(words))


def recognise(record: Record) -> Iterator[list]:
    """All ways to tell the record's events by plots: the answers of the planner's choices.

    Only the events, the cast and the looks of the record are used. Each result starts with the
    name of the plot and can be replayed by `Teller(Answers(result), ...)`.
    """
    state, holders = State(), []
    for event in record.events:
        holders.append({key[1]: who for key, who in state.facts.items() if key[0] == "has"})
        state.happen(event)
    told = {event.kind for event in record.events}
    for plot in load_plots().values():
        if told <= plot.kinds | {"rest", "sing", "snack"}:
            matcher = Matcher(record, holders)
            for roles, answers in matcher.walk((plot.steps, 0, None), 0, {}, ()):
                resolved = [value for answer in answers for value in matcher.values(answer, roles)]
                yield [plot.name, *resolved]


class Draw(NamedTuple):
    """An answer that is known only when the role has been met in an event."""

    role: str


class Matcher:
    """Finds the choices of a plot that tell given events."""

    def __init__(self, record: Record, holders: list[dict]):
        self.record, self.events, self.holders = record, record.events, holders

    def values(self, answer, roles: dict) -> list:
        """The answers that a draw stands for: a character is three choices, a thing is two."""
        if not isinstance(answer, Draw):
            return [answer]
        value = roles[answer.role]
        if LISTS.get(answer.role) == "names":
            return list(self.record.cast[value])
        if LISTS.get(answer.role) == "things":
            return [value, self.record.looks[value]]
        return [value]

    def walk(self, where: tuple, i: int, roles: dict, answers: tuple) -> Iterator[tuple]:
        """Every way from step `where` and event i to the end of both."""
        steps, k, rest = where
        while k == len(steps):
            if rest is None:
                if i == len(self.events):
                    yield roles, answers
                return
            steps, k, rest = rest
        step, after = steps[k], (steps, k + 1, rest)
        if step.do == "pick":
            yield from self.walk(after, i, roles, (*answers, Draw(step.roles[0])))
        elif step.do == "less":
            yield from self.walk(after, i, roles, answers)
        elif step.do == "either":
            for n, branch in enumerate(step.detail[1]):
                yield from self.walk((branch, 0, after), i, roles, (*answers, n))
        elif step.do == "case":
            branch = step.detail[self.record.cast[roles[step.roles[0]]].trait]
            yield from self.walk((branch, 0, after), i, roles, answers)
        elif step.do == "pause":
            times = 2 if self.record.split == "longer" else 1
            for end, found in self.pauses(i, roles[step.roles[0]], times):
                yield from self.walk(after, end, roles, (*answers, *found))
        else:
            bound = self.unify(step, i, roles)
            if bound is not None:
                yield from self.walk(after, i + 1, bound, answers)

    def pauses(self, i: int, who: str, times: int) -> Iterator[tuple[int, tuple]]:
        if times == 1 and self.record.split != "longer":
            yield i, ("none",)
        event = self.events[i]
        if event.kind in PAUSES.options and event.args[0] == who:
            found = (event.kind, *event.args[1:])
            if times == 1:
                yield i + 1, found
            else:
                yield from (
                    (end, (*found, *more)) for end, more in self.pauses(i + 1, who, times - 1)
                )

    def unify(self, step: Step, i: int, roles: dict) -> dict | None:
        """The roles after event i has been taken for this step; None if it cannot be."""
        if i == len(self.events) or self.events[i].kind != step.do:
            return None
        bound = dict(roles)
        for role, value in zip(step.roles, self.events[i].args, strict=True):
            if role[0] == "@":
                if self.holders[i].get(bound.get(role[1:])) != value:
                    return None
            elif bound.setdefault(role, value) != value:
                return None
        return bound
