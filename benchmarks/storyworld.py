"""The story world: how fast it tells, how much chance is in its texts, how rich they are.

    python -m benchmarks.storyworld            everything, about six minutes
    python -m benchmarks.storyworld speed      one part: speed, floor, duplicates, richness or ngram

speed       megabytes generated a second, stories verified and scored a second
floor       the entropy floor in bits a character, estimated twice, and split by kind of slot
duplicates  stories told twice among 20,000 in each language, more than 10 MB
richness    types, distinct n-grams and gzip, beside Shakespeare and 三国演义 at the same length
ngram       how far above the floor a 5-gram model of characters stays on stories it has not seen

Every measurement runs in a process of its own, held to one thread; speeds are the best of several
rounds. Results go to benchmarks/results/storyworld.json and storyworld.md. Run it on an otherwise
idle machine.
"""

import argparse
import gzip
import hashlib
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from lib.course.corpora import load_sanguo, load_shakespeare
from lib.course.storyworld import VERSION, World, verify
from lib.language_model import NGramModel, ngram_losses, to_bits

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
LANGUAGES = {"en": "English", "zh": "Chinese"}
ROUNDS = 5
SPEED_STORIES = 4_000
FLOOR_STORIES = 20_000
DUPLICATE_STORIES = 20_000
RICH_UNITS = 200_000  # words of English, characters of Chinese
GZIP_BYTES = 1_000_000
NGRAM_CHARACTERS, HELD_OUT_CHARACTERS = 2_500_000, 250_000
MARGIN = 0.25  # bits a character: the world must be harder than that for a 5-gram model
MEGABYTE = 1_000_000
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


# --- What is measured: each of these runs in a process of its own --------------------------------


def clock(function: Callable) -> tuple[float, object]:
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def speed(language: str) -> dict:
    """Seconds for stories told, verified and scored; the templates are compiled before."""
    world = World()
    verify(world.story(0, languages=(language,)).text[language], language)
    cpu = time.process_time()
    seconds, texts = clock(lambda: list(world.texts(SPEED_STORIES, language, seed=1)))
    cpu = time.process_time() - cpu
    some = texts[: SPEED_STORIES // 4]
    verifying, reports = clock(lambda: [verify(text, language) for text in some])
    scoring, scores = clock(lambda: [score(text, language) for text in some])
    if not all(report.ok for report in reports) or math.inf in scores:
        raise RuntimeError("a generated story was not accepted")
    size = sum(len(text.encode("utf-8")) for text in texts)
    return {
        "seconds": seconds,
        "megabytes_a_second": size / MEGABYTE / seconds,
        "megabytes_a_cpu_second": size / MEGABYTE / cpu,
        "characters_a_second": sum(map(len, texts)) / seconds,
        "stories_a_second": len(texts) / seconds,
        "verified_a_second": len(some) / verifying,
        "scored_a_second": len(some) / scoring,
        "result": hashlib.sha256("\n".join(texts).encode("utf-8")).hexdigest()[:16],
    }


def score(text: str, language: str) -> float:
    return World().score(text, language)


def ratio(values: list[float], sizes: list[int]) -> tuple[float, float]:
    """Sum of values over sum of sizes, and its standard error (Cochran, 1977, chapter 6)."""
    rate = sum(values) / sum(sizes)
    rest = [value - rate * size for value, size in zip(values, sizes, strict=True)]
    return rate, statistics.stdev(rest) / math.sqrt(len(rest)) / statistics.fmean(sizes)


def floor(language: str) -> dict:
    """Bits of 20,000 stories, by two estimates, in several units, and by kind of slot."""
    bits, expected, by_slot = [], [], {}
    sizes: dict[str, list[int]] = {"character": [], "byte": [], "event": [], "story": []}
    for story in World().stories(FLOOR_STORIES, 2, "train", (language,)):
        text = story.text[language]
        bits.append(story.bits(language))
        expected.append(story.expected_bits(language))
        sizes["character"].append(len(text))
        sizes["byte"].append(len(text.encode("utf-8")))
        sizes["event"].append(len(story.record.events))
        sizes["story"].append(1)
        for slot, value in story.bits_by_slot(language).items():
            by_slot[slot] = by_slot.get(slot, 0.0) + value
    characters = sum(sizes["character"])
    difference = [a - b for a, b in zip(bits, expected, strict=True)]
    error = statistics.stdev(difference) / math.sqrt(len(difference))
    return {
        "stories": FLOOR_STORIES,
        "characters": characters,
        "expected_bits": {unit: ratio(expected, of) for unit, of in sizes.items()},
        "bits": {unit: ratio(bits, of) for unit, of in sizes.items()},
        "difference_in_standard_errors": statistics.fmean(difference) / error,
        "by_slot": {slot: value / characters for slot, value in sorted(by_slot.items())},
    }


def duplicates(language: str) -> dict:
    seen, size, twice = set(), 0, 0
    for text in World().texts(DUPLICATE_STORIES, language, seed=3):
        data = text.encode("utf-8")
        digest = hashlib.sha256(data).digest()
        twice += digest in seen
        seen.add(digest)
        size += len(data)
    return {"stories": DUPLICATE_STORIES, "megabytes": size / MEGABYTE, "told_twice": twice}


def tokens(text: str, language: str) -> list[str]:
    """Words of English in small letters, characters of Chinese."""
    if language == "en":
        return re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower())
    return re.findall(r"[\u4e00-\u9fff]", text)


def richness(language: str) -> dict:
    """How many different words and runs of words there are, and what gzip makes of the text."""
    stories = "\n".join(World().texts(6_000, language, seed=4))
    if language == "en":
        others = "\n".join(play.text for play in load_shakespeare())
    else:
        others = "\n".join(load_sanguo())
    found = {}
    for name, text in (("story world", stories), ("book", others)):
        row = tokens(text, language)[:RICH_UNITS]
        if len(row) < RICH_UNITS:
            raise RuntimeError(f"{name} has only {len(row)} units")
        data = text.encode("utf-8")[:GZIP_BYTES]
        found[name] = {"types": len(set(row)), "gzip": len(gzip.compress(data, 9)) / len(data)}
        for n in (1, 2, 3):
            grams = list(zip(*[row[i:] for i in range(n)], strict=False))
            found[name][f"distinct-{n}"] = len(set(grams)) / len(grams)
    return found


def taken(stories: Iterable, language: str, characters: int) -> tuple[str, float]:
    """Stories, a line each, until there are so many characters; and their expected bits."""
    lines, bits, size = [], 0.0, 0
    for story in stories:
        lines.append(story.text[language] + "\n")
        bits += story.expected_bits(language)
        size += len(lines[-1])
        if size >= characters:
            break
    return "".join(lines), bits


def ngram(language: str) -> dict:
    """A 5-gram model of characters, trained on stories, on others of the same world.

    The end of a story is certain, so the line end after it adds a character but no bits.
    """
    world, many = World(), 100_000
    stories = (world.story(f"ngram {i}", "train", (language,)) for i in range(many))
    text, _ = taken(stories, language, NGRAM_CHARACTERS)
    stories = (world.story(f"ngram {i}", "iid", (language,)) for i in range(many))
    held_out, bits = taken(stories, language, HELD_OUT_CHARACTERS)
    model = NGramModel(text, 5, len(set(text + held_out)))
    losses = [to_bits(loss) for loss in ngram_losses(model, held_out)]
    lowest = bits / len(held_out)
    return {
        "training_characters": len(text),
        "training_megabytes": len(text.encode("utf-8")) / MEGABYTE,
        "held_out_characters": len(held_out),
        "bits_a_character": losses,
        "floor": lowest,
        "above_the_floor": losses[5] - lowest,
    }


# --- Running and writing -------------------------------------------------------------------------

PARTS = {
    "speed": speed,
    "floor": floor,
    "duplicates": duplicates,
    "richness": richness,
    "ngram": ngram,
}


def measured(part: str, language: str) -> dict:
    """Run one piece of work in a process of its own, on one thread."""
    command = [sys.executable, __file__, "--work", part, language]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{part} {language} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def run(part: str) -> dict:
    """A part in both languages; for speeds the best of several rounds, taken in turns."""
    rounds = ROUNDS if part == "speed" else 1
    runs: dict[str, list] = {language: [] for language in LANGUAGES}
    for _ in range(rounds):
        for language, of in runs.items():
            of.append(measured(part, language))
            print(f"  {language}: {json.dumps(of[-1])[:100]} ...", flush=True)
    best = {}
    for language, of in runs.items():
        best[language] = of[0]
        if part == "speed":
            best[language] = max(of, key=lambda found: found["megabytes_a_second"])
            for name in ("megabytes_a_cpu_second", "verified_a_second", "scored_a_second"):
                best[language][name] = max(found[name] for found in of)
    return best


def about() -> dict:
    return {"story world": VERSION, "python": platform.python_version(), "cores": os.cpu_count()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="default: " + ", ".join(PARTS))
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        part, language = options.work
        print(json.dumps(PARTS[part](language)))
        return
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {sorted(unknown)}; there are {', '.join(PARTS)}")
    path = RESULTS / "storyworld.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for part in options.parts or PARTS:
        print(part, flush=True)
        results[part] = run(part) | {"about": about()}
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8", newline="\n")
    page = RESULTS / "storyworld.md"
    page.write_text(report(results), encoding="utf-8", newline="\n")


def report(results: dict) -> str:
    """The results as a page of Markdown."""
    lines = ["# The story world", "", "`python -m benchmarks.storyworld`", ""]
    for part, write in REPORTS.items():
        if part in results:
            notes = ", ".join(f"{k} {v}" for k, v in results[part]["about"].items())
            lines += [*write(results[part]), "", f"({notes})", ""]
    return "\n".join(lines)


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def report_speed(found: dict) -> list[str]:
    rows = [
        [
            name,
            f"{found[language]['megabytes_a_second']:.2f}",
            f"{found[language]['megabytes_a_cpu_second']:.2f}",
            f"{found[language]['characters_a_second']:,.0f}",
            f"{found[language]['stories_a_second']:,.0f}",
            f"{found[language]['verified_a_second']:,.0f}",
            f"{found[language]['scored_a_second']:,.0f}",
        ]
        for language, name in LANGUAGES.items()
    ]
    head = ["a second, on one core", "MB told", "MB, of the processor's time"]
    head += ["characters told", "stories told"]
    return [
        "## Speed",
        "",
        f"{SPEED_STORIES:,} stories a round, best of {ROUNDS} rounds.",
        "",
        *table([*head, "verified", "scored"], rows),
    ]


def report_floor(found: dict) -> list[str]:
    rows = []
    for language, name in LANGUAGES.items():
        of = found[language]
        cells = [
            f"{of['expected_bits'][unit][0]:.4f} ± {of['expected_bits'][unit][1]:.4f}"
            for unit in ("character", "byte", "event", "story")
        ]
        second = "{:.4f} ± {:.4f}".format(*of["bits"]["character"])
        rows.append([name, *cells, second, f"{of['difference_in_standard_errors']:+.1f}"])
    head = ["bits a ...", "character", "byte", "event", "story", "character, second estimate"]
    slots = sorted({slot for language in LANGUAGES for slot in found[language]["by_slot"]})
    by_slot = [
        [slot, *(f"{found[language]['by_slot'].get(slot, 0):.4f}" for language in LANGUAGES)]
        for slot in slots
    ]
    by_slot.append(
        ["all", *(f"{sum(found[language]['by_slot'].values()):.4f}" for language in LANGUAGES)]
    )
    return [
        "## Entropy floor",
        "",
        f"{FLOOR_STORIES:,} training stories a language, ± one standard error. First the mean of "
        "the entropies of the choices passed, then the mean of -log2 p of what was chosen; the "
        "last column is their difference in its standard errors.",
        "",
        *table([*head, "difference"], rows),
        "",
        "Bits a character by kind of slot (second estimate):",
        "",
        *table(["slot", *LANGUAGES.values()], by_slot),
    ]


def report_duplicates(found: dict) -> list[str]:
    rows = [
        [name, f"{of['stories']:,}", f"{of['megabytes']:.1f}", str(of["told_twice"])]
        for language, name in LANGUAGES.items()
        for of in [found[language]]
    ]
    return ["## Duplicates", "", *table(["", "stories", "MB", "told twice"], rows)]


def report_richness(found: dict) -> list[str]:
    names = {
        ("en", "story world"): "stories, English words",
        ("en", "book"): "Shakespeare, English words",
        ("zh", "story world"): "stories, Chinese characters",
        ("zh", "book"): "三国演义, Chinese characters",
    }
    rows = [
        [
            name,
            f"{found[language][source]['types']:,}",
            *(f"{found[language][source][f'distinct-{n}']:.4f}" for n in (1, 2, 3)),
            f"{found[language][source]['gzip']:.3f}",
        ]
        for (language, source), name in names.items()
    ]
    head = ["", "types", "distinct-1", "distinct-2", "distinct-3", "gzip, of 1"]
    return [
        "## Richness",
        "",
        f"The first {RICH_UNITS:,} words or characters; gzip of the first "
        f"{GZIP_BYTES / MEGABYTE:.0f} MB.",
        "",
        *table(head, rows),
    ]


def report_ngram(found: dict) -> list[str]:
    rows = [
        [
            name,
            f"{of['training_megabytes']:.1f}",
            *(f"{of['bits_a_character'][n]:.3f}" for n in range(1, 6)),
            f"{of['floor']:.3f}",
            f"**{of['above_the_floor']:.3f}**",
        ]
        for language, name in LANGUAGES.items()
        for of in [found[language]]
    ]
    head = ["bits a character", "trained on MB", *(f"{n}-gram" for n in range(1, 6))]
    return [
        "## N-gram models of characters",
        "",
        f"Trained on {NGRAM_CHARACTERS:,} characters, tested on {HELD_OUT_CHARACTERS:,} of other "
        f"stories. The 5-gram model should stay at least {MARGIN} bits above the floor.",
        "",
        *table([*head, "floor", "5-gram above it"], rows),
    ]


REPORTS = {
    "speed": report_speed,
    "floor": report_floor,
    "duplicates": report_duplicates,
    "richness": report_richness,
    "ngram": report_ngram,
}

if __name__ == "__main__":
    main()
