"""From events to a text: one unit of text for each event, in English or in Chinese."""

import itertools
from dataclasses import dataclass, field
from functools import cached_property

from lib.course.storyworld.plots import Record
from lib.course.storyworld.simulator import load_kinds
from lib.course.storyworld.templates import CHAIN, JOIN, STOP, Context, load_templates


@dataclass
class Text:
    """A story as told in one language.

    pieces: (words, label) from the first to the last, where the label says what they tell: phrase,
    filler, name, pronoun, species, trait, thing, place or number. starts: the number of the first
    piece of each event's unit. chained: whether that unit continues the sentence before it.
    """

    language: str
    pieces: list[tuple[str, str]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    chained: list[bool] = field(default_factory=list)

    @cached_property
    def text(self) -> str:
        return "".join([words for words, _ in self.pieces])

    def spans(self) -> list[tuple[int, int, str]]:
        """(start, end, label) of every piece, in characters of the text."""
        spans, at = [], 0
        for words, label in self.pieces:
            spans.append((at, at + len(words), label))
            at += len(words)
        return spans

    def sections(self, borders: list[int]) -> list[str]:
        """The text of the units from each border to the next."""
        cuts = [self.starts[i] for i in borders] + [len(self.pieces)]
        return [
            "".join(words for words, _ in self.pieces[a:b]).strip()
            for a, b in itertools.pairwise(cuts)
        ]


def realise(record: Record, language: str, chooser) -> Text:
    """Tell a record in a language; every choice of words is drawn with `chooser`.

    No template is used twice in a story as long as there are others.
    """
    templates, kinds = load_templates(language), load_kinds()
    context, text = Context(language, record.cast, record.looks), Text(language)
    choose, pieces, used = chooser.choose, text.pieces, {}
    for event in record.events:
        of_kind, among = templates[event.kind]
        context.args = dict(zip(kinds[event.kind].letters, event.args, strict=True))
        before = used.get(event.kind, frozenset())
        number = choose("phrase", among.without(before) if before else among)
        used[event.kind] = before | {number} if len(before) + 1 < len(of_kind) else frozenset()
        template = of_kind[number]
        context.joins = template.chained is not None
        text.starts.append(len(pieces) + (1 if pieces and JOIN[language] else 0))
        if pieces and JOIN[language]:
            pieces.append((JOIN[language], "phrase"))
        chained = False
        for piece in template.pieces:
            words = piece.write(context, choose)
            if words:
                pieces.append((words, piece.label))
            else:
                chained = True
                chain(text)
        text.chained.append(chained)
        context.leave(template, chained)
    return text


def chain(text: Text) -> None:
    """Let the unit that begins now continue the sentence before it."""
    language, pieces = text.language, text.pieces
    if JOIN[language]:
        pieces.pop()
        text.starts[-1] -= 1
    words, label = pieces[-1]
    pieces[-1] = words.removesuffix(STOP[language]), label
    pieces.append((CHAIN[language], "phrase"))
