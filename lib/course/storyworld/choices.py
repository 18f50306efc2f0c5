"""Choices with known probabilities: the only source of chance in the story world.

Everything that differs between two stories is the outcome of `choose(slot, among)`, where `slot`
names what is chosen ("name", "place", "phrase" ...) and `among` holds the options with their
weights. A chooser writes every choice on its tape, so the probability of a story is the product of
what stands there. Impossible options are left out before the choice is made, never drawn and
rejected: otherwise the probabilities would not be known.
"""

import math
import random
from bisect import bisect
from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple


class Among:
    """Options, each with a probability in proportion to its weight.

    >>> coin = Among(["heads", "tails"], [3, 1])
    >>> coin.probabilities, round(coin.entropy, 3)
    ([0.75, 0.25], 0.811)
    >>> coin.without({"heads"}).options
    ('tails',)
    """

    def __init__(self, options: Iterable[Hashable], weights: Sequence[float]):
        self.options, self.weights = tuple(options), tuple(weights)
        if len(self.options) != len(self.weights) or min(self.weights, default=0) <= 0:
            raise ValueError("every option needs a weight above 0, and there must be one")
        total = sum(self.weights)
        self.probabilities = [weight / total for weight in self.weights]
        self.cumulative = list(accumulate(self.probabilities))[:-1]
        self.bits = [-math.log2(p) for p in self.probabilities]
        self.index = {option: i for i, option in enumerate(self.options)}
        self.narrowed: dict[frozenset, Among] = {}

    @cached_property
    def entropy(self) -> float:
        """The expected number of bits of one choice."""
        return sum(p * b for p, b in zip(self.probabilities, self.bits, strict=True))

    def without(self, excluded: Iterable[Hashable]) -> "Among":
        """The same without some options; the others keep their proportions."""
        excluded = frozenset(excluded)
        if excluded not in self.narrowed:
            if len(self.narrowed) > 5_000:
                self.narrowed.clear()  # so that memory stays flat in the number of stories
            kept = [
                (option, weight)
                for option, weight in zip(self.options, self.weights, strict=True)
                if option not in excluded
            ]
            self.narrowed[excluded] = Among(*zip(*kept, strict=True)) if kept else None
        among = self.narrowed[excluded]
        if among is None:
            raise ValueError(f"nothing is left to choose from {self.options} without {excluded}")
        return among


def zipf(options: Iterable[Hashable], offset: float, exponent: float) -> Among:
    """Options whose k-th (from 1) has a probability in proportion to 1 / (k + offset)^exponent.

    Large offsets make the first options more equal, large exponents make the last ones rarer.
    (Mandelbrot, 1953.)
    """
    options = tuple(options)
    return Among(options, [(k + offset) ** -exponent for k in range(1, len(options) + 1)])


class Choice(NamedTuple):
    """One choice: its slot, the place of the chosen option in `among`, and `among`."""

    slot: str
    position: int
    among: Among


new_choice = tuple.__new__  # Choice(...) in half the time


class Sampler:
    """Draws every choice at random. `rng` is a seeded `random.Random`."""

    def __init__(self, rng: random.Random):
        self.random = rng.random
        self.tape: list[Choice] = []

    def choose(self, slot: str, among: Among):
        position = bisect(among.cumulative, self.random())
        self.tape.append(new_choice(Choice, (slot, position, among)))
        return among.options[position]


class Likeliest:
    """Makes the likeliest choice every time, the first one of several."""

    def choose(self, slot: str, among: Among):
        return among.options[among.weights.index(max(among.weights))]


class Impossible(Exception):
    """A recorded answer is not among the options: the text has probability 0."""


class Answers:
    """Makes the choices that it was given, in order: it replays a story, and so scores it."""

    def __init__(self, answers: Iterable[Hashable]):
        self.answers = iter(answers)
        self.tape: list[Choice] = []

    def choose(self, slot: str, among: Among):
        answer = next(self.answers, None)
        if answer not in among.index:
            raise Impossible(f"{answer!r} cannot be the {slot} here")
        self.tape.append(Choice(slot, among.index[answer], among))
        return answer


class Explorer:
    """Follows one path through the tree of choices; `next_path` is where to go after it."""

    def __init__(self, path: Sequence[int] = ()):
        self.path, self.tape = list(path), []

    def choose(self, slot: str, among: Among):
        depth = len(self.tape)
        position = self.path[depth] if depth < len(self.path) else 0
        self.tape.append(Choice(slot, position, among))
        return among.options[position]

    def next_path(self) -> list[int] | None:
        """The positions of the next path in depth-first order; None after the last."""
        positions = [choice.position for choice in self.tape]
        while positions:
            positions[-1] += 1
            if positions[-1] < len(self.tape[len(positions) - 1].among.options):
                return positions
            positions.pop()
        return None


def bits(tape: Iterable[Choice]) -> float:
    """Minus the binary logarithm of the probability of the choices on a tape."""
    return sum(choice.among.bits[choice.position] for choice in tape)


def expected_bits(tape: Iterable[Choice]) -> float:
    """The entropy of every choice point that a tape passed.

    Its mean over stories is the entropy of the world too, as the mean of `bits` is, but it
    scatters less: the chain rule of entropy, estimated path by path.
    """
    return sum(choice.among.entropy for choice in tape)


def bits_by_slot(tape: Iterable[Choice]) -> dict[str, float]:
    """The bits of a tape, added up for each kind of slot."""
    total: dict[str, float] = {}
    for choice in tape:
        total[choice.slot] = total.get(choice.slot, 0.0) + choice.among.bits[choice.position]
    return total
