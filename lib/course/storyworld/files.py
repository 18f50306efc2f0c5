"""Stories in files: corpora as JSON lines, and the pages of samples in `assets/storyworld/`.

python course.py stories                     print a story in both languages
python course.py stories --seed 7 --n 3      others
python course.py stories --samples           renew the two pages of samples
python course.py stories --write FILE --n N  a corpus of N stories
"""

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from lib.course.storyworld.lexicon import FOLDER, LANGUAGES
from lib.course.storyworld.splits import SPLITS
from lib.course.storyworld.world import VERSION, Story, World

FORMAT = "stories of the story world"
PAGES = {
    "en": ("samples_en.md", "# Stories of the story world", "plot {}, ends {}, {:.0f} bits"),
    "zh": ("samples_zh.md", "# 故事世界的故事", "情节 {}，结局 {}，{:.0f} 比特"),
}
MOODS = {"en": {}, "zh": {"happy": "圆满", "sad": "悲伤", "open": "没有说完"}}
SAMPLES = 24


def write_whole(path: Path, lines: Iterable[str]) -> None:
    """Write a file under another name and rename it, so that there is never half of one."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(line + "\n" for line in lines)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def row(story: Story) -> dict:
    """A story as a JSON object: texts, labels, and the events that it tells."""
    record = story.record
    return {
        **story.text,
        "plot": record.plot,
        "topic": record.topic,
        "mood": record.mood,
        "cast": [list(character) for character in record.cast.values()],
        "looks": record.looks,
        "events": [[event.kind, *event.args] for event in record.events],
        "bits": {language: round(story.bits(language), 6) for language in story.told},
    }


def write_corpus(
    path: str | os.PathLike,
    n: int,
    split: str = "train",
    seed: int = 0,
    languages: tuple[str, ...] = LANGUAGES,
) -> None:
    """Write n stories as JSON lines; the first line says what made them, and by which version."""
    header = {"format": FORMAT, "version": VERSION, "split": split, "seed": seed, "n": n}
    header["languages"] = list(languages)
    stories = World().stories(n, seed, split, languages)
    rows = (json.dumps(row(story), ensure_ascii=False) for story in stories)
    write_whole(Path(path), [json.dumps(header), *tqdm(rows, total=n, unit=" stories")])


def read_corpus(path: str | os.PathLike) -> tuple[dict, list[dict]]:
    """The header and the rows of a file that `write_corpus` made.

    Raises ValueError if it is another file, is cut short, or was made by another version.
    """
    again = "make it again with `python course.py stories --write`"
    with open(path, encoding="utf-8") as file:
        try:
            header, *rows = [json.loads(line) for line in file]
        except ValueError as error:
            raise ValueError(f"{path} is damaged or no corpus of stories; {again}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path} holds no stories of the story world; {again}")
    if header["version"] != VERSION:
        raise ValueError(
            f"{path} was made by version {header['version']} of the story world, and this is "
            f"version {VERSION}; {again}"
        )
    if len(rows) != header["n"]:
        raise ValueError(f"{path} has {len(rows)} of its {header['n']} stories; {again}")
    return header, rows


def page(language: str) -> list[str]:
    """The lines of a page of samples in one language."""
    _, title, heading = PAGES[language]
    lines = [title, "", f"`python course.py stories --samples` (version {VERSION})", ""]
    for number, story in enumerate(World().stories(SAMPLES, seed=1), start=1):
        mood = MOODS[language].get(story.mood, story.mood)
        facts = heading.format(story.record.plot, mood, story.bits(language))
        lines += [f"**{number}** · {facts}", "", story.text[language], ""]
    return lines[:-1]


def main(argv: list[str]) -> int:
    """`python course.py stories`: show stories, write the pages of samples, or a corpus."""
    parser = argparse.ArgumentParser(prog="python course.py stories", description=main.__doc__)
    parser.add_argument("--seed", type=int, default=0, help="other seeds, other stories")
    parser.add_argument("--n", type=int, default=1, help="how many stories")
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--write", metavar="FILE", help="write the stories to a file (JSON lines)")
    parser.add_argument("--samples", action="store_true", help="renew the pages of samples")
    options = parser.parse_args(argv)
    if options.samples:
        for language, (name, *_) in PAGES.items():
            write_whole(FOLDER / name, page(language))
        return 0
    if options.write:
        write_corpus(options.write, options.n, options.split, options.seed)
        return 0
    for story in World().stories(options.n, options.seed, options.split):
        for language in LANGUAGES:
            print(story.text[language], end="\n\n")
    return 0
