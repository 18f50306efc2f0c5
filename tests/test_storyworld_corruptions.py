"""Stories with one mistake are found out, and the mistake is called by its name."""

import random
from collections import Counter, defaultdict
from functools import cache

import pytest

from lib.course.storyworld import World, verify
from lib.course.storyworld.corruptions import FACTS, KINDS, bank, corrupt
from lib.course.storyworld.lexicon import LANGUAGES
from lib.course.storyworld.slips import SLIPS
from lib.course.storyworld.splits import SPLITS

OF_EACH_KIND = 8


def kinds_in(language: str) -> list[str]:
    return [name for name, kind in KINDS.items() if language in kind.languages]


@cache
def corrupted(language: str) -> list:
    """(corrupted story, what the verifier says) for every kind of corruption."""
    n = OF_EACH_KIND * len(kinds_in(language))
    return [(found, verify(found.text, language)) for found in bank(World(), language, n, seed=51)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_bank_is_large_and_of_many_kinds(language):
    kinds = Counter(found.kind for found, _ in corrupted(language))
    assert len(kinds) >= 20 and kinds.total() >= 200
    assert set(kinds) == set(kinds_in(language))
    assert set(kinds.values()) == {OF_EACH_KIND}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_verifier_rejects_at_least_99_of_100_corrupted_stories(language):
    passed = [found for found, report in corrupted(language) if report.ok]
    rate = 1 - len(passed) / len(corrupted(language))
    assert rate >= 0.99, "\n\n".join(f"{found.kind}: {found.text}" for found in passed)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_original_is_accepted(language):
    assert all(verify(found.original, language).ok for found, _ in corrupted(language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_problem_named_is_of_the_kind_that_was_planted(language):
    wrong = defaultdict(list)
    for found, report in corrupted(language):
        if not report.ok and not report.kinds() & KINDS[found.kind].causes:
            wrong[found.kind].append(f"{report}\n{found.text}")
    assert not wrong


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "kind, problem",
    [
        ("promise never made", "promise"),
        ("promise left open", "promise"),
        ("not the holder", "possession"),
        ("way missing", "place"),
        ("wrong sum", "number"),
        ("stranger", "character"),
        ("met twice", "character"),
        ("same species", "character"),
        ("no ending", "ending"),
        ("after the ending", "ending"),
        ("rain missing", "cause"),
        ("sun in the rain", "cause"),
        ("wrong pronoun", "grammar"),
        ("look changed", "grammar"),
    ],
)
def test_the_first_problem_says_what_is_wrong(kind, problem, language):
    reports = [report for found, report in corrupted(language) if found.kind == kind]
    first = [report.problems[0].kind for report in reports]
    assert first.count(problem) >= 0.7 * len(first), first


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_corrupted_fact_leaves_the_other_sentences_as_they_were(language):
    """So that a pair of texts differs in what is wrong, and in little else."""
    shared = []
    for found, _ in corrupted(language):
        if found.kind in FACTS:
            split = ". " if language == "en" else "。"
            before, after = found.original.split(split), found.text.split(split)
            shared.append(len(set(before) & set(after)) / max(len(before), len(after)))
    assert sum(shared) / len(shared) > 0.6


@pytest.mark.parametrize("split", SPLITS)
def test_stories_of_every_split_can_be_corrupted(split):
    rng = random.Random(0)
    for story in World().stories(15, 52, split, ("en",)):
        found = corrupt(story, "en", rng)
        assert not verify(found.text, "en").ok, f"{found.kind}: {found.text}"


def test_what_does_not_apply_is_not_done():
    story = next(s for s in World().stories(100, 53) if s.record.plot == "sharing")
    assert corrupt(story, "en", random.Random(0), "promise never made") is None


def test_a_bank_is_the_same_again():
    first, again = ([*bank(World(), "en", 30, seed=3)] for _ in range(2))
    assert first == again != [*bank(World(), "en", 30, seed=4)]


def test_an_unknown_corruption_is_refused():
    with pytest.raises(ValueError, match="there is no corruption 'typo'; choose one of cause"):
        corrupt(World().story(1), "en", random.Random(0), "typo")


def test_no_corruption_of_facts_is_a_slip_and_each_has_a_cause():
    assert not FACTS.keys() & SLIPS.keys()
    problems = {"grammar", "character", "possession", "place", "promise", "number", "cause"}
    assert all(kind.causes and kind.causes <= problems | {"ending"} for kind in KINDS.values())
