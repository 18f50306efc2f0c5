"""Checks of the exercises in chapter 00."""

from collections import Counter
from itertools import pairwise

from lib.course.checks.engine import exercise


@exercise("0.1", "The share of a character")
def share(probe):
    percentage = "You returned a percentage; a share lies between 0 and 1."
    probe.compare(("a", "a"), 1.0, mistakes={percentage: 100.0})
    probe.compare(
        ("abba", "a"),
        0.5,
        mistakes={
            "You returned how often the character occurs; its share is that number divided by the "
            "length of the text.": 2,
            "You divided with `//`, which throws the fraction away; a share needs `/`.": 0,
            "You divided by the number of different characters; divide by the length of the "
            "text.": 1.0,
        },
    )
    probe.holds("a share lies between 0 and 1")
    folded = (
        "You counted capitals and small letters as one character; to a program `A` and `a` are "
        "two characters."
    )
    probe.compare(("Aa", "a"), 0.5, mistakes={folded: 1.0})
    blanks = "You left the blanks out of the length; a blank is a character like any other."
    probe.compare(("a b", "a"), 1 / 3, mistakes={blanks: 0.5})
    probe.compare(("a b", " "), 1 / 3)
    probe.holds("capitals, small letters and blanks are characters of their own")
    probe.compare(("abc", "z"), 0.0)
    probe.compare(("", "a"), 0.0)
    probe.holds("a character that does not occur has share 0, in the empty text too")
    text = "to be or not to be"
    total = sum(probe.call(text, character) for character in set(text))
    probe.require(
        abs(total - 1) < 1e-9,
        "The shares of all characters of a text must add up to 1.",
        f"over {text!r} they add up to {total:.6g}",
    )
    probe.holds("the shares of all characters of a text add up to 1")


KINDS = ("supervised", "semi-supervised", "unsupervised", "self-supervised", "reinforcement")
ANSWERS = {
    "a": "supervised",
    "b": "self-supervised",
    "c": "unsupervised",
    "d": "reinforcement",
    "e": "semi-supervised",
    "f": "supervised",
}
MISTAKEN_KINDS = {
    ("a", "self-supervised"): "Nothing in a message itself says whether it is spam: people had to "
    "mark each one.",
    ("a", "semi-supervised"): "Every message is marked here, so none is left that has no answer.",
    ("b", "supervised"): "There are answers, but nobody wrote them down: each is cut out of the "
    "text, and that has a name of its own.",
    ("b", "unsupervised"): "Nobody marked anything, true, but there is an answer to compare with: "
    "the next character stands in the text.",
    ("c", "supervised"): "Nobody says which families there are, so there is no answer to learn "
    "from.",
    ("c", "self-supervised"): "No part of a play is hidden and predicted here; the plays are only "
    "compared with one another.",
    ("d", "supervised"): "The program says how good an answer was, and never what the right one "
    "would have been.",
    ("d", "self-supervised"): "The answer is not cut from a text: the model makes one up, and is "
    "told how good it was.",
    ("e", "supervised"): "That would leave the 40,000 unmarked messages unused.",
    ("e", "unsupervised"): "That would leave the 100 marks unused.",
    ("f", "self-supervised"): "The translation is not a part of the English sentence: somebody had "
    "to write it.",
    ("f", "unsupervised"): "Each sentence comes with its answer: the translation.",
}


@exercise("0.2", "Which kind of learning?")
def kinds_of_learning(probe):
    kinds = probe.value()
    probe.require(
        isinstance(kinds, dict),
        "The answer is a dictionary from the letter of a task to a kind of learning.",
        'for example {"a": "supervised", …}',
    )
    missing = [letter for letter in ANSWERS if kinds.get(letter) in (None, "", ...)]
    probe.require(not missing, f"No kind is given yet for: {', '.join(missing)}.")
    for letter, expected in ANSWERS.items():
        given = str(kinds[letter]).strip().lower().removesuffix("learning").strip()
        probe.require(
            given in KINDS,
            f"{kinds[letter]!r} is not one of the five kinds.",
            "the kinds are: " + ", ".join(KINDS),
        )
        diagnosis = MISTAKEN_KINDS.get((letter, given), "Ask where the answers come from.")
        probe.require(given == expected, f"Task {letter}: {diagnosis}", f"you wrote {given!r}")
        probe.holds(f"task {letter} is {expected}")


def followers(text, character):
    return Counter(b for a, b in pairwise(text) if a == character)


@exercise("0.3", "The most likely next character")
def most_likely_next(probe):
    predecessor = "You looked at the character before; the sampler asks which one comes after."
    number = "You returned how often it follows; return the character itself."
    overall = (
        "You returned the most frequent character of the whole text, whatever the character before "
        "it; count only what follows `character`."
    )
    mistakes = {predecessor: "x", number: 1, overall: "n"}
    probe.compare(("nnxay", "a"), "y", mistakes=mistakes)
    probe.holds("it looks at what comes after the character")
    first = "You looked at the first place where the character occurs; count all of them."
    last = "You looked at the last place where the character occurs; count all of them."
    rarest = (
        "You returned the rarest of the characters that follow; asked for is the most frequent."
    )
    mistakes = {overall: "x", first: "a", last: "d", rarest: "c"}
    probe.compare(("xaxaxbxcxbxbxdxd", "x"), "b", mistakes=mistakes)
    probe.holds("it counts every place, and only those after the character")
    tie = "Two characters follow equally often; return the smaller of them, as `min` would."
    probe.compare(("xbxaxbxa", "x"), "a", mistakes={tie: "b"})
    probe.holds("of equally frequent ones it takes the smaller")
    doubled = "Pairs overlap: in `bbba` the character `b` is followed by `b`, by `b` and by `a`."
    probe.compare(("cbbba", "b"), "b", mistakes={doubled: "a"})
    probe.holds("a character may follow itself")
    line_break = "A line break is a character like any other; count it when it follows."
    probe.compare(("x\nx\nxa", "x"), "\n", mistakes={line_break: "a"})
    pattern = (
        "In a regular expression `.` stands for every character; look for the full stop itself."
    )
    probe.compare(("bbb.c", "."), "c", mistakes={pattern: "b"})
    probe.holds("a line break and a full stop are characters like any other")
    probe.compare(("ab", "b"), "")
    probe.compare(("ab", "z"), "")
    probe.compare(("", "a"), "")
    probe.holds('where nothing ever follows it returns ""')
    text = "to be or not to be, that is the question"
    for character in "te ":
        counts = followers(text, character)
        probe.compare((text, character), min(counts, key=lambda c: (-counts[c], c)))
    probe.holds("it is right on a line of Hamlet")


@exercise("0.4", "Pairs that never occur")
def never_seen(probe):
    probe.compare(("",), 0)
    seen = "You counted the pairs that do occur; asked for are those that never do."
    itself = "A character can follow itself: count `aa` among the pairs too."
    probe.compare(("aa",), 0, mistakes={seen: 1, itself: -1})
    probe.compare(("a",), 1, mistakes={itself: 0})
    probe.holds("a character can follow itself")
    order = "The pair `ab` is not the pair `ba`: order matters."
    probe.compare(("ab",), 3, mistakes={order: 2, seen: 1})
    probe.holds("order matters")
    folded = (
        "You counted capitals and small letters as one character; to a program `A` and `a` are "
        "two characters."
    )
    probe.compare(("Aa",), 3, mistakes={folded: 0})
    probe.holds("capitals and small letters are different characters")
    twice = (
        "A pair that occurs twice is one pair: take off the number of different pairs, not the "
        "number of places."
    )
    jumps = "Pairs overlap: the second character of one pair is the first of the next."
    probe.compare(("abab",), 2, mistakes={twice: 1, jumps: 3})
    probe.holds("pairs overlap, and each is counted once")
    text = "to be or not to be"
    probe.compare((text,), len(set(text)) ** 2 - len(set(pairwise(text))))
    probe.holds("seen and never seen make up all pairs of the text's characters")
