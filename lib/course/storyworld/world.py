"""The story world: stories by seed, in two languages, with their exact probability."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lib.course.storyworld.choices import (
    Choice,
    Likeliest,
    Sampler,
    bits,
    bits_by_slot,
    expected_bits,
)
from lib.course.storyworld.lexicon import LANGUAGES, load_lexicon
from lib.course.storyworld.plots import Record, Teller
from lib.course.storyworld.realiser import Text, realise
from lib.course.storyworld.splits import check_split
from lib.course.storyworld.verifier import derivations

VERSION = load_lexicon().version


@dataclass
class Story:
    """One record, told in one or both languages.

    told: the Text by language. tapes: by language the choices of its words; `plan`: those of what
    happens, shared by both languages.
    """

    record: Record
    told: dict[str, Text]
    plan: list[Choice]
    tapes: dict[str, list[Choice]]

    @cached_property
    def text(self) -> dict[str, str]:
        """The story in each language."""
        return {language: text.text for language, text in self.told.items()}

    @property
    def mood(self) -> str:
        return self.record.mood

    @property
    def topic(self) -> str:
        return self.record.topic

    def tape(self, language: str) -> list[Choice]:
        """All choices that led to the text in a language."""
        return self.plan + self.tapes[language]

    def bits(self, language: str) -> float:
        """-log2 of the probability of the text in a language."""
        return bits(self.tape(language))

    def expected_bits(self, language: str) -> float:
        """The entropies of the choices that the story passed, added up."""
        return expected_bits(self.tape(language))

    def bits_by_slot(self, language: str) -> dict[str, float]:
        return bits_by_slot(self.tape(language))

    def plainly(self, language: str) -> str:
        """What happens in the story, told in the likeliest words of a language."""
        return realise(self.record, language, Likeliest()).text

    def aligned(self) -> list[tuple[str, str]]:
        """Pairs (English, Chinese) of the same events, as short as both sentences allow."""
        english, chinese = self.told["en"], self.told["zh"]
        borders = [
            i
            for i, chained in enumerate(zip(english.chained, chinese.chained, strict=True))
            if not any(chained)
        ]
        return list(zip(english.sections(borders), chinese.sections(borders), strict=True))


class World:
    """The story world.

    >>> world = World()
    >>> story = world.story(7)
    >>> story.text["en"] == world.story(7).text["en"]
    True
    """

    def story(
        self, seed: int | str, split: str = "train", languages: tuple[str, ...] = LANGUAGES
    ) -> Story:
        """The story of a seed, the same on every machine.

        split: one of `splits.SPLITS`. languages: those that it is told in; the kinds of events
        that training tells in English only are left out where "zh" is among them.
        """
        check_split(split)
        unknown = set(languages) - set(LANGUAGES)
        if unknown or not languages:
            raise ValueError(f"languages are {LANGUAGES}, not {languages!r}; pass a tuple of them")
        told_in = "+".join(languages)
        rng = random.Random(f"story world {VERSION} {split} {told_in} {seed}")
        chooser = Sampler(rng)
        record = Teller(chooser, split, tuple(languages), load_lexicon()).record
        told, tapes = {}, {}
        for language in languages:
            words = Sampler(rng)
            told[language] = realise(record, language, words)
            tapes[language] = words.tape
        return Story(record, told, chooser.tape, tapes)

    def stories(
        self,
        n: int,
        seed: int = 0,
        split: str = "train",
        languages: tuple[str, ...] = LANGUAGES,
    ) -> Iterator[Story]:
        """n stories; those of another seed are others."""
        return (self.story(f"{seed}:{i}", split, languages) for i in range(n))

    def texts(self, n: int, language: str, seed: int = 0, split: str = "train") -> Iterator[str]:
        """n texts in one language."""
        return (story.text[language] for story in self.stories(n, seed, split, (language,)))

    def documents(self, n: int, seed: int = 0, split: str = "train") -> Iterator[str]:
        """n texts, English and Chinese in turn, each of a record of its own: no translations."""
        english = self.texts(n - n // 2, "en", seed, split)
        chinese = self.texts(n // 2, "zh", seed, split)
        return (next(chinese if i % 2 else english) for i in range(n))

    def score(
        self, text: str, language: str, split: str = "train", languages: tuple | None = None
    ) -> float:
        """-log2 of the probability of any text within a split; infinite outside the world.

        languages: those of the stories that the text could come from, by default its own alone.
        """
        tapes = list(derivations(text, language, split, languages or (language,)))
        if len(tapes) > 1:
            raise AssertionError(f"{len(tapes)} derivations of one text: {text!r}")
        return bits(tapes[0]) if tapes else float("inf")
