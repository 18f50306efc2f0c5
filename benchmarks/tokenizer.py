"""The tokenizer of chapter 02 against Hugging Face, tiktoken and the chapter's own first drafts.

    python -m benchmarks.tokenizer                 everything, about ten minutes
    python -m benchmarks.tokenizer training        one part: training, ladder, encoding or memory

Every measurement runs in a process of its own, held to one thread; the contestants of a comparison
take turns, and the best of their rounds counts. Corpora are read and libraries imported before the
clock starts. Results go to benchmarks/results/tokenizer.json and tokenizer.md. Run it on an
otherwise idle machine.
"""

import argparse
import ast
import hashlib
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import nbformat

from lib.course.corpora import load_sanguo, load_shakespeare
from lib.tokenizer import (
    Tokenizer,
    count_pretokens,
    load_tokenizer,
    save_tokenizer,
    spell,
    train_bpe,
    train_tokenizer,
)

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
VOCAB_SIZE = 4096
NAIVE_MERGES = 64  # what the naive trainer does on all plays: all 3,840 would take hours
PLAY, PLAY_VOCAB_SIZE = "Macbeth", 2048
ROUNDS = 5
ONE_THREAD = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
MEGABYTE = 1_000_000


def digest(value: object) -> str:
    """A short hash by which results of different processes are compared."""
    return hashlib.sha256(json.dumps(value).encode("utf-8")).hexdigest()[:16]


def clock(function: Callable) -> tuple[dict, object]:
    """Seconds on the clock and of the processor, and what the function returns."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": wall, "cpu_seconds": cpu}, result


# --- What is measured: each of these runs in a process of its own --------------------------------


def plays() -> list[str]:
    return [play.text for play in load_shakespeare()]


def hugging_face(texts: list[str]):
    """Train the oracle as in chapter 02."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    oracle = tokenizers.Tokenizer(models.BPE())
    oracle.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    oracle.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    oracle.train_from_iterator(texts, trainer)
    return oracle


def train_ours() -> dict:
    texts = plays()
    times, (tokens, merges) = clock(lambda: train_bpe(count_pretokens(texts), VOCAB_SIZE))
    spelt = [[spell(tokens[left]), spell(tokens[right])] for left, right in merges]
    return times | {"result": digest(spelt), "merges": len(merges)}


def train_hugging_face() -> dict:
    texts = plays()
    times, oracle = clock(lambda: hugging_face(texts))
    merges = json.loads(oracle.to_str())["model"]["merges"]
    return times | {"result": digest(merges), "merges": len(merges)}


def chapter_drafts() -> dict[str, Callable]:
    """The trainers that the chapter writes on its way, out of the notebook itself."""
    notebook = nbformat.read(ROOT / "chapters" / "02_tokenizer.ipynb", as_version=4)
    cells = {cell.id: cell.source for cell in notebook.cells}
    names = ["imports", "pretoken-pattern", "count-pretokens", "to-utf8", "byte-stand-ins"]
    names += ["byte-tables", "initial-tokens-check", "trace-functions", "merge-in-place"]
    names += ["index-pairs", "train-bpe", "naive-trainer", "unique-trainer"]
    names += ["incremental-trainer", "indexed-trainer", "heap-rung"]
    space: dict = {}
    for name in names:
        tree = ast.parse(cells[name])
        tree.body = [node for node in tree.body if not isinstance(node, ast.Expr)]  # no calls
        exec(compile(tree, name, "exec"), space)
    rungs = ["naive", "unique", "incremental", "indexed", "heap"]
    return {rung: space[f"train_{rung}"] for rung in rungs}


def draft(rung: str, task: str) -> dict:
    """One rung of the chapter's ladder on a task: "play", "plays" or "start of plays"."""
    trainer = chapter_drafts()[rung]
    texts = [play.text for play in load_shakespeare() if task != "play" or play.title == PLAY]
    size = {"play": PLAY_VOCAB_SIZE, "plays": VOCAB_SIZE, "start of plays": 256 + NAIVE_MERGES}
    times, merges = clock(lambda: trainer(texts, size[task] - 256))
    return times | {"result": digest(merges), "merges": len(merges)}


def encode(contestant: str) -> dict:
    """Encode all plays as one text: with a fresh tokenizer, then again with what it has cached."""
    texts = plays()
    whole = "\n".join(texts)
    trained = train_tokenizer(texts, VOCAB_SIZE, [])
    if contestant == "ours":
        once = Tokenizer(trained.tokens, trained.merges).encode
    elif contestant == "tiktoken":
        import tiktoken

        from lib.tokenizer import PRETOKEN

        once = tiktoken.Encoding(
            "ours", pat_str=PRETOKEN.pattern, mergeable_ranks=trained.id_of, special_tokens={}
        ).encode_ordinary
    else:
        oracle = hugging_face(texts)
        oracle = type(oracle).from_str(oracle.to_str())  # nothing cached
        lines = whole.splitlines(keepends=True)
        once = {
            "hf encode": lambda text: oracle.encode(text).ids,
            "hf encode_batch_fast, by play": lambda text: [
                i for e in oracle.encode_batch_fast(separated(texts)) for i in e.ids
            ],
            "hf encode_batch_fast, by line": lambda text: [
                i for e in oracle.encode_batch_fast(lines) for i in e.ids
            ],
        }[contestant]
    times, ids = clock(lambda: once(whole))
    again, _ = clock(lambda: once(whole))
    return times | {"again": again["seconds"], "result": digest(ids), "ids": len(ids)}


def separated(texts: list[str]) -> list[str]:
    """The plays, each but the last with the line end that joins them."""
    return [text + "\n" for text in texts[:-1]] + texts[-1:]


def memory() -> dict:
    """Stream a file of 100 MB, full of words never met before, in a process that has done nothing
    else: memory that training has left free would hide what streaming takes."""
    tokenizer = train_tokenizer(plays() + load_sanguo(), VOCAB_SIZE, [])
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(tokenizer, Path(folder) / "tokenizer.json")
        write_large_file(Path(folder) / "large.txt", 100 * MEGABYTE)
        command = [sys.executable, __file__, "--stream", folder]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def stream(folder: Path) -> dict:
    """Encode large.txt with tokenizer.json and watch the resident memory."""
    import psutil

    tokenizer = load_tokenizer(folder / "tokenizer.json")
    process, held, n_ids, began = psutil.Process(), [], 0, time.perf_counter()
    start = process.memory_info().rss
    with (folder / "large.txt").open(encoding="utf-8", newline="") as file:
        chunks = iter(lambda: file.read(65_536), "")
        for n_ids, _ in enumerate(tokenizer.encode_iterable(chunks), start=1):
            if n_ids % 100_000 == 0:
                held.append((process.memory_info().rss - start) / MEGABYTE)
        size = file.tell()
    quarters = [max(held[i * len(held) // 4 : (i + 1) * len(held) // 4]) for i in range(4)]
    return {
        "file_megabytes": size / MEGABYTE,
        "ids": n_ids,
        "seconds": time.perf_counter() - began,
        "start_megabytes": start / MEGABYTE,
        "peak_above_start_megabytes": max(held),
        "peak_of_each_quarter_megabytes": quarters,
        "pretokens_held_at_the_end": len(tokenizer.cache),
    }


def write_large_file(path: Path, size: int) -> int:
    """Shakespeare and 三国演义 over and over, with a new word of nonsense in every line."""
    rng, written = random.Random(0), 0
    lines = "\n".join(plays() + load_sanguo()).splitlines()
    with path.open("w", encoding="utf-8", newline="") as file:
        while written < size:
            for line in lines:
                word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=8))
                text = f"{line} {word}\r\n"
                file.write(text)
                written += len(text.encode("utf-8"))
                if written >= size:
                    break
    return written


# --- Running and writing -------------------------------------------------------------------------

WORK = {
    "train ours": train_ours,
    "train hf": train_hugging_face,
    "memory": memory,
    **{
        f"draft {rung} on {task}": (lambda rung=rung, task=task: draft(rung, task))
        for rung in ("naive", "unique", "incremental", "indexed", "heap")
        for task in ("play", "plays", "start of plays")
    },
    **{
        f"encode {name}": (lambda name=name: encode(name))
        for name in (
            "ours",
            "tiktoken",
            "hf encode",
            "hf encode_batch_fast, by play",
            "hf encode_batch_fast, by line",
        )
    },
}


def measured(name: str) -> dict:
    """Run one piece of work in a process of its own, on one thread."""
    command = [sys.executable, __file__, "--work", name]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    result = json.loads(done.stdout)
    print(f"  {name}: {result['seconds']:.2f} s", flush=True)
    return result


def compared(names: list[str], rounds: int = ROUNDS, same: bool = True) -> dict[str, dict]:
    """Let the contestants take turns; keep the best round of each, and insist on one result."""
    runs = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            runs[name].append(measured(name))
    results = {run["result"] for name in names for run in runs[name]}
    if same and len(results) != 1:
        raise RuntimeError(f"{names} do not agree")
    best = {}
    for name in names:
        best[name] = min(runs[name], key=lambda run: run["seconds"])
        best[name]["all_seconds"] = [round(run["seconds"], 3) for run in runs[name]]
    return best


def training() -> dict:
    return compared(["train ours", "train hf"])


def ladder() -> dict:
    rungs = ("naive", "unique", "incremental", "indexed", "heap")
    on_play = compared([f"draft {rung} on play" for rung in rungs], rounds=1)
    on_plays = compared([f"draft {r} on plays" for r in rungs[2:]], rounds=1)
    start = compared([f"draft {rung} on start of plays" for rung in rungs], rounds=1)
    return on_play | on_plays | start


def encoding() -> dict:
    names = [name for name in WORK if name.startswith("encode ")]
    by_line = "encode hf encode_batch_fast, by line"  # cuts differ at line ends, so ids do too
    return compared([name for name in names if name != by_line]) | compared([by_line], same=False)


PARTS = {
    "training": training,
    "ladder": ladder,
    "encoding": encoding,
    "memory": lambda: {"memory": measured("memory")},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="default: " + ", ".join(PARTS))
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--stream", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stream:
        print(json.dumps(stream(options.stream)))
        return
    if options.work:
        print(json.dumps(WORK[options.work]()))
        return
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {sorted(unknown)}; there are {', '.join(PARTS)}")
    path = RESULTS / "tokenizer.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for part in options.parts or PARTS:
        print(part, flush=True)
        results[part] = PARTS[part]() | {"versions": versions()}
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "tokenizer.md").write_text(report(results), encoding="utf-8")


def versions() -> dict:
    packages = {name: version(name) for name in ("tokenizers", "tiktoken", "regex")}
    return {"python": platform.python_version(), "cores": os.cpu_count(), **packages}


def report(results: dict) -> str:
    """The results as a page of Markdown."""
    lines = ["# Tokenizer (chapter 02)", "", "`python -m benchmarks.tokenizer`", ""]
    lines += ["Everything on one thread; best of several rounds taken in turns, in seconds.", ""]
    for part, write in (
        ("training", report_training),
        ("ladder", report_ladder),
        ("encoding", report_encoding),
        ("memory", report_memory),
    ):
        if part in results:
            about = ", ".join(f"{k} {v}" for k, v in results[part]["versions"].items())
            lines += [*write(results[part]), "", f"({about})", ""]
    return "\n".join(lines)


def report_training(found: dict) -> list[str]:
    ours, theirs = found["train ours"], found["train hf"]
    ratio = ours["seconds"] / theirs["seconds"]
    return [
        f"## Training, vocabulary {VOCAB_SIZE:,}, all 38 plays",
        "",
        "| | seconds | rounds |",
        "|---|---|---|",
        f"| `lib/tokenizer.py` | {ours['seconds']:.2f} | {ours['all_seconds']} |",
        f"| Hugging Face `tokenizers` | {theirs['seconds']:.2f} | {theirs['all_seconds']} |",
        "",
        f"{ratio:.2f} times the time of Hugging Face; all {ours['merges']:,} merges are the same.",
    ]


def report_ladder(found: dict) -> list[str]:
    names = {
        "naive": "naive",
        "unique": "+ unique pre-tokens",
        "incremental": "+ incremental counts",
        "indexed": "+ index from pairs to words",
        "heap": "+ lazy heap (`train_bpe`)",
    }
    lines = [
        "## The chapter's ladder of trainers",
        "",
        f"| one change a row | {PLAY}, vocabulary {PLAY_VOCAB_SIZE:,} "
        f"| 38 plays, first {NAIVE_MERGES} merges | 38 plays, vocabulary {VOCAB_SIZE:,} |",
        "|---|---|---|---|",
    ]
    tasks = ("play", "start of plays", "plays")
    for rung, name in names.items():
        row = []
        for task in tasks:
            run, naive = (found.get(f"draft {r} on {task}") for r in (rung, "naive"))
            gain = f" ({naive['seconds'] / run['seconds']:,.0f} x)" if run and naive else ""
            row.append(f"{run['seconds']:.2f}{gain}" if run else "not run")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    naive = found["draft naive on start of plays"]["seconds"]
    whole = found["draft heap on plays"]["seconds"]
    return [
        *lines,
        "",
        "The merges of a column are the same in all rows. The naive trainer was not run to the end "
        f"on all plays; its first {NAIVE_MERGES} of 3,840 merges alone take {naive / whole:.0f} "
        "times as long as the whole training with the last rung.",
    ]


def report_encoding(found: dict) -> list[str]:
    runs = {name: run for name, run in found.items() if name.startswith("encode ")}
    ours = runs["encode ours"]["seconds"]
    lines = [
        f"## Encoding all 38 plays ({runs['encode ours']['ids']:,} ids)",
        "",
        "| | seconds, fresh | seconds, again | fresh, against ours |",
        "|---|---|---|---|",
    ]
    for name, run in runs.items():
        label = name.removeprefix("encode ").replace("ours", "`lib/tokenizer.py`")
        lines.append(
            f"| {label} | {run['seconds']:.2f} | {run['again']:.2f} | {run['seconds'] / ours:.2f} |"
        )
    return [
        *lines,
        "",
        "The ids are the same in all rows but the last: cut into lines, a text has other "
        "pre-tokens at line ends. tiktoken is given our merges.",
    ]


def report_memory(found: dict) -> list[str]:
    run = found["memory"]
    quarters = ", ".join(f"{value:.1f}" for value in run["peak_of_each_quarter_megabytes"])
    return [
        f"## Streaming a file of {run['file_megabytes']:.0f} MB ({run['ids']:,} ids)",
        "",
        f"Peak above the start ({run['start_megabytes']:.0f} MB): "
        f"{run['peak_above_start_megabytes']:.1f} MB; in each quarter of the file: {quarters} MB. "
        f"{run['seconds']:.0f} seconds. Every line holds a word never met before, so the cache of "
        "pre-tokens is always full or filling.",
    ]


if __name__ == "__main__":
    main()
