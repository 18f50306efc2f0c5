"""Which latent tuples belong to training, and which are held out for testing.

A split decides before a choice which options it has, so the probability of a text within a split
stays exact. What is held out is decided by a checksum of the pair, not by chance:

    train            no held-out pair, no story longer than usual, and in Chinese none of the kinds
                     of events that only English tells
    iid              the same world as train, other seeds
    verb_object      the main verb and its thing are a held-out pair, such as (drop, kite)
    character_place  the first character's species and home are a held-out pair, such as (fox, mill)
    longer           two pauses at each place where training has at most one
    crosslingual     the kinds of events that training tells in English only
"""

from functools import cache
from zlib import crc32

from lib.course.storyworld.lexicon import load_lexicon

SPLITS = ("train", "iid", "verb_object", "character_place", "longer", "crosslingual")
VERBS = frozenset(
    ["drop", "lend", "blow_away", "break", "inside", "make", "steal", "trade", "give", "play"]
)  # whose pairs with a thing are held out
ENGLISH_ONLY = frozenset(
    ["trade", "plant", "bloom", "neglect"]
)  # kinds that Chinese training lacks

# Things that few events can have: without a pair of theirs they would hardly be met in training.
NEVER_HELD_OUT = frozenset(["key", "telescope", "trumpet"])


@cache
def held_out(left: str, right: str) -> bool:
    """Whether a pair (verb, thing) or (species, place) is kept out of training.

    >>> held_out("drop", "key")
    False
    """
    return right not in NEVER_HELD_OUT and crc32(f"{left} {right}".encode()) % 9 == 0


@cache
def partners(word: str, of: str) -> frozenset[str]:
    """The entries of a list that make a held-out pair with a word: the things of a verb, the
    places of a species, the species of a place.

    >>> partners("drop", "things") == {t for t in load_lexicon().words["things"]
    ...                                if held_out("drop", t)}
    True
    """
    entries = load_lexicon().words[of]
    if of == "species":
        return frozenset(entry for entry in entries if held_out(entry, word))
    return frozenset(entry for entry in entries if held_out(word, entry))


def check_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; choose one of {', '.join(SPLITS)}")
