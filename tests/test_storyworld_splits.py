"""What is held out of training stays out: no latent tuple leaks, and no text."""

import itertools
import random
from collections import Counter, defaultdict
from functools import cache

import pytest

from lib.course.storyworld import World
from lib.course.storyworld.choices import Explorer, Sampler
from lib.course.storyworld.lexicon import load_lexicon
from lib.course.storyworld.plots import Teller, all_steps, load_plots, plots_of, tagged
from lib.course.storyworld.splits import (
    ENGLISH_ONLY,
    SPLITS,
    VERBS,
    check_split,
    held_out,
    partners,
)

PAUSES = ("rest", "sing", "snack")
TRAINING = 20_000  # stories in each language: some 12 MB, the size of a corpus for training
HELD_OUT = ("verb_object", "character_place", "longer", "crosslingual")


@cache
def training(language: str) -> list:
    """The records of many training stories, not yet told."""
    choosers = (Sampler(random.Random(f"{language} {i}")) for i in range(TRAINING))
    return [Teller(c, "train", (language,), load_lexicon()).record for c in choosers]


@cache
def told(language: str) -> list:
    """Training stories that are told."""
    return list(World().stories(2_000, 41, "train", (language,)))


@cache
def test_stories(split: str, language: str = "en") -> list:
    return list(World().stories(300, 42, split, (language,)))


test_stories.__test__ = False


def verb_things(record) -> set[tuple[str, str]]:
    """Every (verb, thing) of the verbs whose pairs are held out."""
    return {
        (event.kind, arg)
        for event in record.events
        if event.kind in VERBS
        for arg in event.args
        if arg in record.looks
    }


def species_places(record) -> set[tuple[str, str]]:
    """Every (species, place): any character of the story with any place of it."""
    places = load_lexicon().words["places"]
    told = {arg for event in record.events for arg in event.args if arg in places}
    return {(who.species, place) for who in record.cast.values() for place in told}


def double_pauses(record) -> int:
    """How often two pauses follow each other."""
    pairs = itertools.pairwise(event.kind for event in record.events)
    return sum(a in PAUSES and b in PAUSES for a, b in pairs)


def kinds(record) -> set[str]:
    return {event.kind for event in record.events}


# ------------------------------------------------------------ training


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_held_out_verb_and_thing_meet_in_training(language):
    for record in training(language):
        assert not [pair for pair in verb_things(record) if held_out(*pair)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_held_out_species_and_place_meet_in_training(language):
    for record in training(language):
        assert not [pair for pair in species_places(record) if held_out(*pair)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_training_story_pauses_twice_in_a_row(language):
    assert not [record for record in training(language) if double_pauses(record)]


def test_chinese_training_has_none_of_the_kinds_that_only_english_tells():
    assert not [record for record in training("zh") if kinds(record) & ENGLISH_ONLY]
    both = World().stories(500, 43, "train", ("en", "zh"))
    assert not [story for story in both if kinds(story.record) & ENGLISH_ONLY]


def test_english_training_tells_each_of_those_kinds():
    seen = Counter(kind for record in training("en") for kind in kinds(record))
    assert all(seen[kind] >= 50 for kind in ENGLISH_ONLY), seen


# ------------------------------------------------------------ what is held out is in its split


def test_each_story_of_verb_object_has_a_held_out_pair_as_its_main_one():
    for story in test_stories("verb_object"):
        assert [pair for pair in verb_things(story.record) if held_out(*pair)]


def test_each_story_of_character_place_begins_with_a_held_out_pair():
    for story in test_stories("character_place"):
        who, home = story.record.events[0].args
        assert held_out(story.record.cast[who].species, home)


def test_each_longer_story_pauses_twice_in_a_row():
    for story in test_stories("longer"):
        assert double_pauses(story.record)


def test_longer_stories_have_more_events_on_average():
    mean = {
        split: sum(len(story.record.events) for story in test_stories(split)) / 300
        for split in ("longer", "iid")
    }
    assert mean["longer"] > mean["iid"] + 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_crosslingual_story_tells_what_chinese_training_lacks(language):
    for story in test_stories("crosslingual", language):
        assert kinds(story.record) & ENGLISH_ONLY


def test_iid_stories_have_no_held_out_tuple():
    for story in test_stories("iid"):
        assert not [p for p in verb_things(story.record) if held_out(*p)]
        assert not [p for p in species_places(story.record) if held_out(*p)]
        assert not double_pauses(story.record)


@pytest.mark.parametrize("split", HELD_OUT)
def test_a_split_holds_out_one_thing_at_a_time(split):
    """So that what a model fails at is known: the other tuples are those of training."""
    for story in test_stories(split):
        record = story.record
        if split != "verb_object":
            assert not [p for p in verb_things(record) if held_out(*p)]
        if split != "character_place":
            assert not [p for p in species_places(record) if held_out(*p)]
        if split != "longer":
            assert not double_pauses(record)


# ------------------------------------------------------------ the parts are known


def possible_pairs() -> set[tuple[str, str]]:
    """The held-out pairs (verb, thing) that the plots can tell as their main ones."""
    pairs = set()
    for plot in load_plots().values():
        for step in all_steps(plot.steps):
            if step.do == "pick" and step.detail[1] in VERBS:
                tag, verb = step.detail
                options = tagged("things", tag).options
                pairs |= {(verb, thing) for thing in options if held_out(verb, thing)}
    return pairs


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_part_of_a_held_out_verb_and_thing_is_frequent_in_training(language):
    """In 20,000 stories, at least 50 times each; the verb with other things, too."""
    verbs, things = Counter(), Counter()
    others = defaultdict(set)
    for record in training(language):
        for verb, thing in verb_things(record):
            verbs[verb] += 1
            others[verb].add(thing)
        things.update(list(record.looks))
    pairs = {pair for pair in possible_pairs() if language == "en" or pair[0] not in ENGLISH_ONLY}
    assert len(pairs) > 20
    assert not {verb: verbs[verb] for verb, _ in pairs if verbs[verb] < 50}
    assert not {thing: things[thing] for _, thing in pairs if things[thing] < 50}
    assert min(len(others[verb]) for verb, _ in pairs) >= 5


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_part_of_a_held_out_species_and_place_is_frequent_in_training(language):
    """In 20,000 stories, at least 50 times each."""
    words, parts = load_lexicon().words, Counter()
    for record in training(language):
        pairs = species_places(record)
        parts.update({species for species, _ in pairs} | {place for _, place in pairs})
    pairs = [p for p in itertools.product(words["species"], words["places"]) if held_out(*p)]
    assert len(pairs) > 30
    assert not {part: parts[part] for pair in pairs for part in pair if parts[part] < 50}


# ------------------------------------------------------------ texts


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_text_is_shared_between_splits(language):
    seen: dict[str, str] = {story.text[language]: "train" for story in told(language)}
    for split in SPLITS[1:]:
        for text in {story.text[language] for story in test_stories(split, language)}:
            assert seen.setdefault(text, split) == split


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_story_comes_twice(language):
    """Of 10 MB, no story comes twice either: see benchmarks/storyworld.py."""
    texts = [story.text[language] for story in told(language)]
    assert len(set(texts)) == len(texts)


# ------------------------------------------------------------ the plan is one, and always possible


class Plans(Explorer):
    """Follows the choices that decide what happens, with one trait for each way to go on.

    Whatever else is chosen stands in the text and leads to no other events, so the first will do.
    """

    def choose(self, slot, among):
        if slot == "trait":
            among = among.without(set(among.options) - set(self.traits(among.options)))
        if slot in ("plot", "branch", "pause", "trait"):
            return super().choose(slot, among)
        return among.options[0]

    def traits(self, options) -> list[str]:
        plot = load_plots()[self.tape[0].among.options[self.tape[0].position]]
        cases = [step.detail for step in all_steps(plot.steps) if step.do == "case"]
        ways = {tuple(id(case[trait]) for case in cases): trait for trait in reversed(options)}
        return list(ways.values())

    def plan(self) -> tuple:
        return tuple(
            choice.among.options[choice.position] for choice in self.tape if choice.slot != "trait"
        )


@pytest.mark.parametrize("split", ["train", "longer", "crosslingual"])
def test_no_two_plans_tell_the_same_sequence_of_events(split):
    """Whoever and whatever they are about: a story has one plot, and one way through it."""
    plans, path = defaultdict(set), []
    while path is not None:
        explorer = Plans(path)
        record = Teller(explorer, split, ("en",), load_lexicon()).record
        roles: dict = {}
        shape = tuple(
            (event.kind, *[roles.setdefault(arg, len(roles)) for arg in event.args])
            for event in record.events
        )
        plans[shape].add(explorer.plan())
        path = explorer.next_path()
    assert len(plans) > 20
    assert not [ways for ways in plans.values() if len(ways) > 1]


def test_there_is_always_something_left_to_choose():
    """For any three places a species, for any three species a place, for any plot a thing.

    A plot has at most three characters and three places, so two of them may be taken.
    """
    for plot in load_plots().values():
        picked = {step.roles[0] for step in all_steps(plot.steps) if step.do == "pick"}
        assert len(picked & set("ABC")) <= 3 and len(picked & set("PQR")) <= 3
    words = load_lexicon().words
    for three in itertools.combinations(words["places"], 3):
        clashing = set().union(*[partners(place, "species") for place in three])
        assert len(words["species"]) - len(clashing) >= 4
    for three in itertools.combinations(words["species"], 3):
        clashing = set().union(*[partners(species, "places") for species in three])
        for tag in ("", "path", "soil"):
            assert len(set(tagged("places", tag).options) - clashing) >= 3, (three, tag)
    for plot in load_plots().values():
        for step in all_steps(plot.steps):
            if step.do == "pick" and step.roles[0] in "TU":
                verbs = plot.verbs.get(step.roles[0], ())
                clashing = set().union(*[partners(verb, "things") for verb in verbs])
                left = set(tagged("things", step.detail[0]).options) - clashing
                assert len(left) >= (1 if step.detail[0] == "key" else 3), (plot.name, step)


@pytest.mark.parametrize("split", SPLITS)
def test_every_plot_of_a_split_is_told(split):
    plots = set(plots_of(split, ("en",)).options)
    seen = {story.record.plot for story in World().stories(1_000, 44, split, ("en",))}
    assert seen == plots


def test_held_out_pairs_are_the_same_everywhere():
    """A checksum decides, not the order of a set or the seed of a hash."""
    assert held_out("fox", "village") == held_out("fox", "village")
    pairs = sorted(p for p in possible_pairs())
    assert all(held_out(*pair) for pair in pairs)
    assert not any(held_out(verb, "key") for verb in VERBS)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="there is no split 'dev'; choose one of train, iid"):
        check_split("dev")
