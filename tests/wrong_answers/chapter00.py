"""Wrong answers to the exercises of chapter 00."""

import re
from collections import Counter
from itertools import pairwise

from wrong_answers import wrong, wrong_value

# ---------------------------------------------------------------- 0.1


@wrong("0.1", "divided by the length of the text")
def a_count(text, character):
    return text.count(character)


@wrong("0.1", "a share lies between 0 and 1")
def a_percentage(text, character):
    return 100 * text.count(character) / len(text)


@wrong("0.1", "a share needs `/`")
def floor_division(text, character):
    return text.count(character) // len(text)


@wrong("0.1", "number of different characters")
def divided_by_the_alphabet(text, character):
    return text.count(character) / len(set(text))


@wrong("0.1", "two characters")
def capitals_folded(text, character):
    return text.lower().count(character.lower()) / len(text)


@wrong("0.1", "a blank is a character like any other")
def blanks_left_out(text, character):
    return text.count(character) / len(text.replace(" ", ""))


@wrong("0.1", "ZeroDivisionError")
def no_thought_of_the_empty_text(text, character):
    return text.count(character) / len(text)


@wrong("0.1", "Printing a value does not return it")
def printed(text, character):
    text.count(character) / len(text)


# ---------------------------------------------------------------- 0.2

RIGHT = {
    "a": "supervised",
    "b": "self-supervised",
    "c": "unsupervised",
    "d": "reinforcement",
    "e": "semi-supervised",
    "f": "supervised",
}
wrong_value("0.2", "cut out of the text", RIGHT | {"b": "supervised"})
wrong_value("0.2", "there is an answer to compare with", RIGHT | {"b": "unsupervised"})
wrong_value("0.2", "how good an answer was", RIGHT | {"d": "supervised"})
wrong_value("0.2", "leave the 40,000 unmarked messages unused", RIGHT | {"e": "supervised"})
wrong_value("0.2", "Nobody says which families", RIGHT | {"c": "supervised"})
wrong_value("0.2", "somebody had to write it", RIGHT | {"f": "self-supervised"})
wrong_value("0.2", "Ask where the answers come from", RIGHT | {"a": "reinforcement"})
wrong_value("0.2", "not one of the five kinds", RIGHT | {"a": "deep learning"})
wrong_value("0.2", "No kind is given yet for: e, f", dict(list(RIGHT.items())[:4]))
wrong_value("0.2", "is a dictionary", "supervised")


# ---------------------------------------------------------------- 0.3


def best(counts):
    return min(counts, key=lambda c: (-counts[c], c)) if counts else ""


@wrong("0.3", "count only what follows")
def most_frequent_overall(text, character):
    return best(Counter(text))


@wrong("0.3", "which one comes after")
def the_one_before(text, character):
    return best(Counter(a for a, b in pairwise(text) if b == character))


@wrong("0.3", "count all of them")
def only_the_first_place(text, character):
    place = text.find(character)
    return text[place + 1 : place + 2] if place >= 0 else ""


@wrong("0.3", "looked at the last place")
def only_the_last_place(text, character):
    return next((b for a, b in reversed(list(pairwise(text))) if a == character), "")


@wrong("0.3", "returned the rarest")
def the_least_frequent(text, character):
    counts = Counter(b for a, b in pairwise(text) if a == character)
    return min(counts, key=lambda c: (counts[c], c)) if counts else ""


@wrong("0.3", "return the character itself")
def the_count(text, character):
    counts = Counter(b for a, b in pairwise(text) if a == character)
    return max(counts.values(), default=0)


@wrong("0.3", "return the smaller of them")
def whichever_came_first(text, character):
    counts = Counter(b for a, b in pairwise(text) if a == character)
    return counts.most_common(1)[0][0] if counts else ""


@wrong("0.3", "Pairs overlap")
def counted_without_overlap(text, character):
    return best({b: n for b in set(text) if (n := text.count(character + b))})


@wrong("0.3", "Pairs overlap")
def a_regular_expression(text, character):
    return best(Counter(re.findall(character + "(.)", text)))


@wrong("0.3", "A line break is a character")
def a_regular_expression_with_overlap(text, character):
    return best(Counter(re.findall(f"(?<={re.escape(character)}).", text)))


@wrong("0.3", "look for the full stop itself")
def a_regular_expression_not_escaped(text, character):
    return best(Counter(re.findall(f"(?s)(?<={character}).", text)))


@wrong("0.3", "Pairs overlap")
def split_at_the_character(text, character):
    pieces = text.split(character)[1:]
    return best(Counter(piece[0] for piece in pieces if piece))


@wrong("0.3", "IndexError")
def one_place_too_far(text, character):
    counts = Counter(text[i + 1] for i in range(len(text)) if text[i] == character)
    return best(counts)


# ---------------------------------------------------------------- 0.4


@wrong("0.4", "asked for are those that never do")
def pairs_that_occur(text):
    return len(set(pairwise(text)))


@wrong("0.4", "A character can follow itself")
def no_doubled_characters(text):
    seen = {(a, b) for a, b in pairwise(text) if a != b}
    n = len(set(text))
    return n * (n - 1) - len(seen)


@wrong("0.4", "A character can follow itself")
def doubled_only_among_the_seen(text):
    n = len(set(text))
    return n * (n - 1) - len(set(pairwise(text)))


@wrong("0.4", "two characters")
def never_seen_in_small_letters(text):
    return len(set(text.lower())) ** 2 - len(set(pairwise(text.lower())))


@wrong("0.4", "order matters")
def unordered_pairs(text):
    n = len(set(text))
    return n * (n + 1) // 2 - len({frozenset(pair) for pair in pairwise(text)})


@wrong("0.4", "A pair that occurs twice is one pair")
def places_taken_off(text):
    return len(set(text)) ** 2 - max(len(text) - 1, 0)


@wrong("0.4", "Pairs overlap")
def every_other_place(text):
    seen = {text[i : i + 2] for i in range(0, len(text) - 1, 2)}
    return len(set(text)) ** 2 - len(seen)
