"""Can a text be read in two ways? A proof that it cannot, from the templates alone.

A story is a row of units. If no unit's text is the beginning of another unit's text, a reader who
goes from left to right always knows where a unit ends and which template it is: the texts form a
prefix code (Sardinas & Patterson, 1953), and every story has one reading. A unit here is a template
on its own, or one that ends without its full stop and the template that is chained to it.

All texts that all templates can have are the paths through one graph of characters; words of the
lexicon are spelt out in it. `conflicts` walks through that graph on two paths at once that spell
the same characters, and reports where one of them comes to the end of a unit while the other is
still under way, or where the two meet.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

from lib.course.storyworld.templates import (
    CHAIN,
    STOP,
    Amount,
    Introduction,
    Literal,
    Measure,
    Mention,
    Place,
    Pool,
    Pronoun,
    Template,
    Thing,
    capital,
    load_templates,
    with_article,
)


class Conflict(NamedTuple):
    """A text that can be read in two ways, or of which a part is a unit of its own."""

    text: str
    first: str
    second: str


def texts_of(piece) -> set[str]:
    """Every text that a piece of a template can have."""
    if isinstance(piece, Literal):
        return {piece.text}
    if isinstance(piece, Pool):
        return set(piece.among.options)
    if isinstance(piece, Mention):
        return {*piece.names.back, *(() if piece.fixed else piece.kinds), *piece.start}
    if isinstance(piece, Pronoun):
        return set(piece.forms.values())
    if isinstance(piece, Measure):
        return {word.measure for word in piece.words.values()}
    if isinstance(piece, Introduction | Place):
        return set(piece.back)
    if isinstance(piece, Thing):
        texts = [*piece.things.back]
        texts += [look + piece.gap + thing for look in piece.looks.back for thing in texts]
        texts = map(with_article, texts) if piece.article else texts
    elif isinstance(piece, Amount):
        numbers = ["a"] if piece.number == "a" else piece.numbers.of
        texts = [piece.text(food, number) for food in piece.foods for number in numbers]
    else:
        raise TypeError(f"what are the texts of {piece!r}?")
    return {capital(text) if piece.upper else text for text in texts}


class Spelling:
    """The words of a slot, letter by letter; state 0 is before the first letter."""

    def __init__(self, words: Iterable[str]):
        self.next: list[dict[str, int]] = [{}]
        self.final = [False]
        for word in words:
            at = 0
            for letter in word:
                if letter not in self.next[at]:
                    self.next[at][letter] = len(self.next)
                    self.next.append({})
                    self.final.append(False)
                at = self.next[at][letter]
            self.final[at] = True


class Node:
    """A moment between two characters: where each character, and each slot, leads from here."""

    def __init__(self, name: str):
        self.name = name
        self.by_letter: dict[str, Node] = {}
        self.by_slot: dict[Spelling, Node] = {}
        self.units: list[str] = []  # those that end here
        self.chained: Node | None = None


class State(NamedTuple):
    """A node, or a place inside a slot that leaves it."""

    node: Node
    slot: Spelling | None = None
    at: int = 0


class Graph:
    """All texts of all templates of a language."""

    def __init__(self, templates: list[Template], language: str):
        self.spellings: dict[frozenset, Spelling] = {}
        self.root, self.chain = Node(""), Node("…" + CHAIN[language])
        for template in templates:
            *start, last = template.pieces
            name = f"{template.kind} {template.number + 1}"
            self.add(self.root, template.pieces).units.append(name)
            if template.chained:
                self.add(self.chain, template.pieces[1:]).units.append(f"chained {name}")
            if template.open:
                end = Literal(last.text.removesuffix(STOP[language]) + CHAIN[language])
                self.add(self.root, [*start, end]).chained = self.chain

    def add(self, node: Node, pieces: Iterable) -> Node:
        for piece in pieces:
            if isinstance(piece, Literal):
                for letter in piece.text:
                    node = node.by_letter.setdefault(letter, Node(node.name + letter))
            else:
                words = frozenset(texts_of(piece))
                spelling = self.spellings.setdefault(words, Spelling(sorted(words)))
                node = node.by_slot.setdefault(spelling, Node(node.name + "{}"))
        return node

    def nodes(self) -> Iterator[Node]:
        stack = [self.root, self.chain]
        while stack:
            node = stack.pop()
            yield node
            stack += [*node.by_letter.values(), *node.by_slot.values()]


def arrive(node: Node) -> list[State]:
    return [State(node), State(node.chained)] if node.chained else [State(node)]


def inside(node: Node, slot: Spelling, at: int) -> list[State]:
    """Where one is after some letters of a slot: inside it, or through it, or both."""
    states = [State(node, slot, at)] if slot.next[at] else []
    return states + arrive(node.by_slot[slot]) if slot.final[at] else states


def step(state: State, letter: str) -> list[State]:
    node, slot, at = state
    if slot is not None:
        return inside(node, slot, slot.next[at][letter]) if letter in slot.next[at] else []
    states = arrive(node.by_letter[letter]) if letter in node.by_letter else []
    for slot in node.by_slot:
        if letter in slot.next[0]:
            states += inside(node, slot, slot.next[0][letter])
    return states


def letters(state: State) -> set[str]:
    node, slot, at = state
    if slot is not None:
        return set(slot.next[at])
    return {*node.by_letter, *(letter for slot in node.by_slot for letter in slot.next[0])}


def forks(graph: Graph) -> Iterator[tuple[State, State, str]]:
    """Every two ways that part: two states behind the same characters."""
    for node in graph.nodes():
        yield from ((a, b, node.name) for a, b in combinations(arrive(node), 2))
        for letter in letters(State(node)):
            for a, b in combinations(step(State(node), letter), 2):
                yield a, b, node.name + letter
        for slot in node.by_slot:
            for at in range(1, len(slot.next)):
                for a, b in combinations(inside(node, slot, at), 2):
                    yield a, b, node.name + "{...}"


def conflicts(language: str, templates: list[Template] | None = None) -> Iterator[Conflict]:
    """Every way in which the units of a language fail to be a prefix code; none, if all is well.

    templates: those of the language's file, or others.
    """
    if templates is None:
        templates = [t for of_kind, _ in load_templates(language).values() for t in of_kind]
    graph = Graph(templates, language)
    for node in graph.nodes():
        if len(node.units) > 1:
            yield Conflict(node.name, *node.units[:2])
        if node.units and (node.by_letter or node.by_slot):
            yield Conflict(node.name, node.units[0], "another that begins so")
    queue, seen = deque(forks(graph)), set()
    while queue:
        a, b, text = queue.popleft()
        if frozenset((a, b)) in seen:
            continue
        seen.add(frozenset((a, b)))
        if a == b:
            yield Conflict(text, a.node.name, "the same on another way")
            continue
        for one, other in ((a, b), (b, a)):
            if one.slot is None and one.node.units:
                yield Conflict(text, one.node.units[0], f"{other.node.name}...")
        for letter in letters(a) & letters(b):
            queue += [(x, y, text + letter) for x in step(a, letter) for y in step(b, letter)]
