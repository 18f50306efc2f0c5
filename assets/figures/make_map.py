"""Draws map_of_the_field.svg: AI, machine learning, deep learning and LLMs as nested regions.

    python assets/figures/make_map.py          # writes the file beside this script

Plain SVG from the standard library: text stays text, so it is sharp at any size, can be searched,
read aloud and translated.
"""

from pathlib import Path
from xml.sax.saxutils import escape

INK, SOFT = "#1d2733", "#55606e"
FONT = "font-family=\"'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif\""
KINDS = (
    ("supervised", "examples with", "their answers"),
    ("semi-supervised", "a few answers,", "many examples"),
    ("unsupervised", "examples, and", "no answers"),
    ("self-supervised", "the answer is cut", "from the example"),
    ("reinforcement", "tries, and a reward", "for each"),
)
WRITTEN = ("search", "logic", "planning", "grammars", "chess by looking ahead")
ROUTE = (  # x, heading, chapters
    (408, "build", ("02 tokenizer", "03 data", "04 attention", "05 GPT", "06 pretraining")),
    (538, "extend", ("07 generation", "08 modern parts", "09 scaling", "10 pretrained weights")),
    (
        708,
        "adapt",
        ("12 instructions", "13 LoRA", "14 translation", "15 preferences", "16 rewards"),
    ),
    (841, "release", ("17 evaluation", "18 quantization", "20 serving")),
)
BASELINES = (
    ("00 letter pairs", "a table of counts,", "neighbours, k-means"),
    ("01 n-grams", "longer memories,", "counted with care"),
    ("11 TF-IDF", "words counted", "and weighed"),
)


def text(x, y, words, size=13, fill=INK, weight="normal", anchor="start", style="normal"):
    """One line of text with its baseline at (x, y)."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" font-weight="{weight}" '
        f'font-style="{style}" text-anchor="{anchor}">{escape(words)}</text>'
    )


def region(x, y, width, height, fill, title, tagline, stroke, light=False):
    """A rounded region with its name and what makes it a region."""
    name, soft = ("#ffffff", "#d6e2ee") if light else (INK, SOFT)
    return [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="18" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="1.5"/>',
        text(x + 20, y + 31, title, 19, name, "bold"),
        text(x + 20, y + 51, tagline, 13, soft),
    ]


def stop(x, y, station, light=False):
    """A chapter on the map: its number in a badge and its subject beside it."""
    chapter, label = station.split(" ", 1)
    fill, ink, words = ("#ffffff", "#12355b", "#ffffff") if light else ("#12355b", "#ffffff", INK)
    return [
        f'<rect x="{x}" y="{y - 11}" width="30" height="22" rx="11" fill="{fill}"/>',
        text(x + 15, y + 4.5, chapter, 12, ink, "bold", "middle"),
        text(x + 38, y + 4.5, label, 13.5, words),
    ]


def route(x, y, heading, stations):
    """A column of chapters, in the order in which they are visited."""
    last = y + 30 * len(stations)
    parts = [
        text(x, y, heading, 13, "#9fc0dc", "bold"),
        f'<path d="M{x + 15} {y + 30}V{last}" stroke="#5f83a6" stroke-width="2"/>',
    ]
    for i, station in enumerate(stations, start=1):
        parts += stop(x, y + 30 * i, station, light=True)
    return parts


def kinds(x, y, width):
    """The five kinds of learning, side by side."""
    parts, gap = [], 10
    each = (width - gap * (len(KINDS) - 1)) / len(KINDS)
    for i, (name, first, second) in enumerate(KINDS):
        left = x + i * (each + gap)
        parts += [
            f'<rect x="{left:g}" y="{y}" width="{each:g}" height="70" rx="10" fill="#ffffff" '
            'stroke="#b9c7d3"/>',
            text(f"{left + each / 2:g}", y + 24, name, 14, INK, "bold", "middle"),
            text(f"{left + each / 2:g}", y + 43, first, 12, SOFT, anchor="middle"),
            text(f"{left + each / 2:g}", y + 58, second, 12, SOFT, anchor="middle"),
        ]
    return parts


def draw():
    """The whole map as SVG text."""
    parts = region(
        8, 8, 1004, 638, "#f5efe3", "Artificial intelligence",
        "programs that do what seems to need a mind", "#cdbf9f",
    )  # fmt: skip
    parts += [
        text(28, 118, "rules that", 13, SOFT),
        text(28, 136, "somebody wrote", 13, SOFT),
        *(text(28, 182 + 78 * i, word, 13, SOFT) for i, word in enumerate(WRITTEN)),
        text(28, 590, "not in this course,", 13, SOFT, style="italic"),
        text(28, 608, "but a good baseline", 13, SOFT, style="italic"),
    ]
    parts += region(
        190, 78, 808, 554, "#e3ebf1", "Machine learning",
        "programs whose behaviour is fitted to examples", "#a9bccb",
    )  # fmt: skip
    parts += kinds(210, 146, 768)
    parts += [text(210, 262, "without neural networks", 13, SOFT)]
    for i, (station, first, second) in enumerate(BASELINES):
        y = 308 + 108 * i
        parts += stop(210, y, station)
        parts += [text(248, y + 24, first, 12, SOFT), text(248, y + 41, second, 12, SOFT)]
    parts += region(
        372, 234, 612, 384, "#b9d0dd", "Deep learning",
        "many simple layers, fitted together by gradients", "#7f9fb4",
    )  # fmt: skip
    parts += stop(392, 314, "01 multilayer perceptron")
    parts += stop(595, 314, "11 classification")
    parts += stop(745, 314, "19 vision: digits, masks, video")
    parts += region(
        386, 340, 584, 264, "#12355b", "Large language models",
        "one network that predicts the next piece of text, and what follows from that",
        "#12355b", light=True,
    )  # fmt: skip
    for x, heading, stations in ROUTE:
        parts += route(x, 424, heading, stations)
    body = "\n".join(parts)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1020 654" width="1020" height="654" '
        f'role="img" aria-labelledby="title desc" {FONT}>\n'
        '<title id="title">A map of the field</title>\n'
        '<desc id="desc">Large language models lie inside deep learning, deep learning inside '
        "machine learning, machine learning inside artificial intelligence. Numbers are chapters "
        f"of this course.</desc>\n{body}\n</svg>\n"
    )


if __name__ == "__main__":
    target = Path(__file__).with_name("map_of_the_field.svg")
    target.write_text(draw(), encoding="utf-8", newline="\n")
    print(f"wrote {target.name}, {target.stat().st_size} bytes")
