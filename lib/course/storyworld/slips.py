"""Slips of the pen: corruptions of a text that leave its events alone, or hide one of them.

Each takes a `Text` and a random generator and returns the corrupted text, or None where it does
not apply. They know how the two languages are written, but not the templates: what they do is
wrong in any story.
"""

import random
import re
from collections.abc import Callable

from lib.course.storyworld.lexicon import load_lexicon
from lib.course.storyworld.realiser import Text
from lib.course.storyworld.templates import PRONOUNS, capital, with_article

OTHER_FORM = {
    "went": "gone", "saw": "seen", "came": "come", "gave": "given", "took": "taken", "did":
    "done", "began": "begun", "ate": "eaten", "fell": "fallen", "broke": "broken", "knew":
    "known", "stole": "stolen", "sang": "sung", "brought": "bring", "found": "find", "said":
    "say", "told": "tell", "made": "make", "lost": "lose", "thought": "think", "kept":
    "keep", "met": "meet", "heard": "hear", "lay": "lie", "sat": "sit", "was": "were",
    "had": "have",
}  # fmt: skip
HOMOPHONES = {
    "en": {"their": "there", "there": "their", "to": "too", "your": "you're", "then": "than",
           "too": "to", "its": "it's", "where": "were", "for": "four", "no": "know"},
    "zh": {"在": "再", "再": "在", "得": "的", "地": "得", "做": "作", "已": "己", "带": "戴",
           "们": "门", "那": "哪", "坐": "座"},
}  # fmt: skip


def replace_piece(text: Text, i: int, words: str) -> str:
    """The text with other words for piece i."""
    return "".join(words if j == i else old for j, (old, _) in enumerate(text.pieces))


def swap_piece(text: Text, rng: random.Random, label: str, change: Callable) -> str | None:
    """Change one piece with that label; `change` returns the words, or None to leave it."""
    options = [
        (i, new)
        for i, (words, of) in enumerate(text.pieces)
        if of == label and (new := change(words, i)) not in (None, words)
    ]
    return replace_piece(text, *rng.choice(options)) if options else None


def swap_match(text: str, rng: random.Random, pattern: str, new: Callable) -> str | None:
    """Change one match of a pattern."""
    found = list(re.finditer(pattern, text))
    if not found:
        return None
    match = rng.choice(found)
    return text[: match.start()] + new(match) + text[match.end() :]


def stranger(text: Text, rng: random.Random) -> str | None:
    """A name that was never introduced, at a later mention."""
    names = {getattr(word, text.language) for word in load_lexicon().words["names"].values()}
    told = {words for words, label in text.pieces if words in names}
    new = rng.choice(sorted(names - told))
    seen: set[str] = set()

    def change(words: str, i: int) -> str | None:
        later = words in seen
        seen.add(words)
        return new if words in names and later else None

    return swap_piece(text, rng, "name", lambda words, i: change(words, i))


def look_changed(text: Text, rng: random.Random) -> str | None:
    """A thing with another look than before."""
    words = load_lexicon().words
    looks = [getattr(word, text.language) for word in words["looks"].values()]
    nouns = [getattr(word, text.language) for word in words["things"].values()]
    gap = " " if text.language == "en" else ""
    article = "([Aa]n? )?" if text.language == "en" else "()"
    pattern = re.compile(
        f"{article}(?:({'|'.join(looks)}){gap})?({'|'.join(nouns)})", re.IGNORECASE
    )
    known: dict[str, str] = {}

    def change(piece: str, i: int) -> str | None:
        match = pattern.fullmatch(piece)
        if match is None:
            return None
        article, look, noun = match.groups()
        later = noun.lower() in known
        before = known.setdefault(noun.lower(), look)
        new = rng.choice([other for other in looks if other != before])
        new = with_article(new) if article else new
        new = capital(new) if piece[0].isupper() else new
        return new + gap + noun.lower() if later else None

    return swap_piece(text, rng, "thing", change)


def wrong_pronoun(text: Text, rng: random.Random) -> str | None:
    """She for he, his for her."""
    swaps = {}
    for form in PRONOUNS[text.language].values():
        swaps[form["m"]], swaps[form["f"]] = form["f"], form["m"]
    options = [
        (i, swaps[words])
        for i, (words, label) in enumerate(text.pieces)
        if label in ("pronoun", "name") and words in swaps
    ]
    return replace_piece(text, *rng.choice(options)) if options else None


def wrong_article(text: Text, rng: random.Random) -> str | None:
    other = {"a": "an", "an": "a", "A": "An", "An": "A"}
    return swap_match(
        text.text, rng, r"\b([Aa]n?) (?=[a-z])(?!hon|hou|use|one|once)", lambda m: f"{other[m[1]]} "
    )


def wrong_plural(text: Text, rng: random.Random) -> str | None:
    foods = load_lexicon().words["foods"].values()
    other = {word.en: word.plural for word in foods} | {word.plural: word.en for word in foods}
    return swap_piece(text, rng, "number", lambda w, i: f"{w.split()[0]} {other[w.split()[-1]]}")


def wrong_measure(text: Text, rng: random.Random) -> str | None:
    """一张小狐狸."""
    words = load_lexicon().words
    measures = sorted(
        {w.measure for of in ("species", "things", "foods") for w in words[of].values()}
    )

    def change(piece: str, i: int) -> str | None:
        label = text.pieces[i][1]
        new = rng.choice([m for m in measures if m not in piece])
        if label == "number":
            return piece[0] + new + piece[2:]
        return new if piece in measures and not (piece == "个" or new == "个") else None

    return swap_piece(text, rng, rng.choice(["phrase", "number"]), change)


def lost_measure(text: Text, rng: random.Random) -> str | None:
    """一小狐狸."""
    words = load_lexicon().words
    measures = {w.measure for of in ("species", "things", "foods") for w in words[of].values()}
    return swap_piece(text, rng, "phrase", lambda piece, i: "" if piece in measures else None)


def wrong_form(text: Text, rng: random.Random) -> str | None:
    """She gone to the lake."""
    pattern = rf"\b({'|'.join(OTHER_FORM)})\b"
    return swap_match(text.text, rng, pattern, lambda m: OTHER_FORM[m[1]])


def homophone(text: Text, rng: random.Random) -> str | None:
    """Another word that sounds the same: to and too, 在 and 再."""
    other = HOMOPHONES[text.language]
    edge = r"\b" if text.language == "en" else ""
    return swap_match(text.text, rng, f"{edge}({'|'.join(other)}){edge}", lambda m: other[m[1]])


def lost_le(text: Text, rng: random.Random) -> str | None:
    """The particle 了 after a verb, before a number or the end of the sentence, is dropped."""
    return swap_match(text.text, rng, "了(?=[一两三四五六七八九十。])", lambda m: "")


def lost_little_word(text: Text, rng: random.Random) -> str | None:
    return swap_match(text.text, rng, r"\b(the|was|to) (?=[a-z])", lambda m: "")


def lost_noun(text: Text, rng: random.Random) -> str | None:
    """A thing or a place that is missing from its sentence."""
    label = rng.choice(["thing", "place"])
    return swap_piece(text, rng, label, lambda words, i: "")


def doubled(text: Text, rng: random.Random) -> str | None:
    """The same word twice in a row."""
    gap = " " if text.language == "en" else ""
    label = rng.choice(["thing", "place", "name"])
    return swap_piece(text, rng, label, lambda w, i: w + gap + w if w else None)


def cut_off(text: Text, rng: random.Random) -> str | None:
    """The story stops in the middle of a sentence."""
    whole = text.text
    return whole[: rng.randrange(len(whole) // 2, len(whole) - 2)].rstrip("." + "。")


def words_exchanged(text: Text, rng: random.Random) -> str | None:
    """Two neighbouring words in the wrong order."""
    return swap_match(text.text, rng, r"\b([a-z]+) ([a-z]+)\b", lambda m: f"{m[2]} {m[1]}")


def lost_stop(text: Text, rng: random.Random) -> str | None:
    """A sentence without its full stop."""
    stop = {"en": r"\.(?= )", "zh": "。(?=.)"}[text.language]
    return swap_match(text.text, rng, stop, lambda m: "")


def lost_quote(text: Text, rng: random.Random) -> str | None:
    return swap_match(text.text, rng, {"en": '"', "zh": "[“”]"}[text.language], lambda m: "")


def small_letter(text: Text, rng: random.Random) -> str | None:
    """A sentence that begins with a small letter."""
    return swap_match(text.text, rng, r"(?<=\. )[A-Z]", lambda m: m[0].lower())


def large_letter(text: Text, rng: random.Random) -> str | None:
    """A capital in the middle of a sentence."""
    return swap_match(text.text, rng, r"(?<=[a-z] )[a-z]", lambda m: m[0].upper())


def other_language(text: Text, rng: random.Random) -> str | None:
    """A thing that is named in the other language."""
    other = {"en": "zh", "zh": "en"}[text.language]
    words = load_lexicon().words["things"].values()
    back = {getattr(word, text.language): getattr(word, other) for word in words}
    return swap_piece(text, rng, "thing", lambda w, i: back.get(w))


ENGLISH, CHINESE, BOTH = ("en",), ("zh",), ("en", "zh")
GRAMMAR = frozenset(["grammar"])
SLIPS = {
    "stranger": (stranger, frozenset(["character"]), BOTH),
    "look changed": (look_changed, GRAMMAR, BOTH),
    "wrong pronoun": (wrong_pronoun, GRAMMAR, BOTH),
    "wrong article": (wrong_article, GRAMMAR, ENGLISH),
    "wrong plural": (wrong_plural, GRAMMAR, ENGLISH),
    "wrong measure word": (wrong_measure, GRAMMAR, CHINESE),
    "lost measure word": (lost_measure, GRAMMAR, CHINESE),
    "wrong form": (wrong_form, GRAMMAR, ENGLISH),
    "homophone": (homophone, GRAMMAR, BOTH),
    "lost 了": (lost_le, GRAMMAR, CHINESE),
    "lost little word": (lost_little_word, GRAMMAR, ENGLISH),
    "lost noun": (lost_noun, GRAMMAR, BOTH),
    "doubled word": (doubled, GRAMMAR, BOTH),
    "cut off": (cut_off, frozenset(["grammar", "ending"]), BOTH),
    "words exchanged": (words_exchanged, GRAMMAR, ENGLISH),
    "lost full stop": (lost_stop, GRAMMAR, BOTH),
    "lost quotation mark": (lost_quote, GRAMMAR, BOTH),
    "small letter": (small_letter, GRAMMAR, ENGLISH),
    "large letter": (large_letter, GRAMMAR, ENGLISH),
    "other language": (other_language, GRAMMAR, BOTH),
}
