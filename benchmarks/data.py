"""The batches of chapter 03: how many tokens a second, in how much memory.

    python -m benchmarks.data                 everything, about five minutes
    python -m benchmarks.data batching        one part: batching or memory

Two shards of random ids, of 20 and of 200 million tokens, are made for the purpose in a temporary
folder and deleted afterwards. Every measurement runs in a process of its own, on one core and one
thread; contestants take turns, and the best of their rounds counts. Results go to
benchmarks/results/data.json and data.md. Run it on an otherwise idle machine.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import torch

from lib.data import END, Batches, Shard, write_shard

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MILLION = 1_000_000
SMALL, LARGE = 20 * MILLION, 200 * MILLION
SHAPES = [(32, 256), (64, 256), (16, 1024), (256, 256)]  # (B, T)
TOKENS = 20 * MILLION  # served in one measurement of speed
ROUNDS = 5
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# What a shard needs to know of a tokenizer: the size is that of GPT-2's.
TOKENIZER = SimpleNamespace(
    vocab_size=50_257,
    special_tokens={END: 50_256},
    content_hash=lambda: hashlib.sha256(b"benchmark").hexdigest(),
)


def make_shard(path: Path, n_tokens: int) -> None:
    """Random ids, a million at a time; an end-of-text after every hundred."""
    rng = np.random.default_rng(0)

    def chunks():
        for _ in range(n_tokens // MILLION):
            ids = rng.integers(0, 50_256, MILLION, dtype=np.uint16)
            ids[99::100] = 50_256
            yield ids

    write_shard(path, chunks(), TOKENIZER)


# --- What is measured: each of these runs in a process of its own --------------------------------


def ours(path: Path, B: int, T: int):
    batches = Batches(Shard(path, TOKENIZER), B, T)
    return lambda: next(batches)


def random_starts(path: Path, B: int, T: int):
    """The usual short loop: B random starts, each window converted and stacked by itself."""
    tokens = Shard(path, TOKENIZER).tokens
    generator = torch.Generator().manual_seed(0)

    def batch():
        starts = torch.randint(len(tokens) - T, (B,), generator=generator).tolist()
        x = torch.stack([torch.from_numpy(tokens[i : i + T].astype(np.int64)) for i in starts])
        y = torch.stack(
            [torch.from_numpy(tokens[i + 1 : i + T + 1].astype(np.int64)) for i in starts]
        )
        return x, y

    return batch


def data_loader(path: Path, B: int, T: int):
    """torch's DataLoader in this process, with its shuffling sampler."""
    tokens = Shard(path, TOKENIZER).tokens

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return (len(tokens) - 1) // T

        def __getitem__(self, i):
            window = torch.from_numpy(tokens[i * T : (i + 1) * T + 1].astype(np.int64))
            return window[:-1], window[1:]

    loader = iter(torch.utils.data.DataLoader(Rows(), batch_size=B, shuffle=True))
    return lambda: next(loader)


CONTESTANTS = {"ours": ours, "random starts": random_starts, "DataLoader": data_loader}


def speed(contestant: str, B: int, T: int, path: Path) -> dict:
    """Tokens a second over TOKENS tokens, the first batches not counted."""
    batch = CONTESTANTS[contestant](path, B, T)
    for _ in range(10):
        batch()
    steps = TOKENS // (B * T)
    began = time.perf_counter()
    for _ in range(steps):
        x, y = batch()
    seconds = time.perf_counter() - began
    assert x.shape == y.shape == (B, T) and x.dtype == torch.int64
    return {"seconds": seconds, "tokens": steps * B * T, "rate": steps * B * T / seconds}


def memory(path: Path) -> dict:
    """Memory after an epoch, above what the process held before it opened the shard.

    Pages of the file that the system maps count as shared; what the process needs for itself is
    resident minus shared.
    """
    torch.zeros(1)
    process, held = psutil.Process(), []
    start = process.memory_info()
    batches = Batches(Shard(path, TOKENIZER), 64, 256)
    steps = len(batches.windows) // 64
    for step in range(steps):
        next(batches)
        if step % 50 == 0:
            now = process.memory_info()
            held.append((now.rss - now.shared) - (start.rss - start.shared))
    end = process.memory_info()
    return {
        "tokens": steps * 64 * 256,
        "file_megabytes": path.stat().st_size / 1e6,
        "own_peak_megabytes": max(held) / 1e6,
        "mapped_megabytes": (end.shared - start.shared) / 1e6,
    }


# --- Running and writing -------------------------------------------------------------------------


def measured(*arguments: object) -> dict:
    """Run one piece of work in a process of its own, on one core and one thread."""
    command = [sys.executable, __file__, "--work", *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{arguments} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def work(kind: str, path: str, *arguments: str) -> dict:
    torch.set_num_threads(1)
    if hasattr(psutil.Process, "cpu_affinity"):  # Linux and Windows
        psutil.Process().cpu_affinity(psutil.Process().cpu_affinity()[:1])
    if kind == "memory":
        return memory(Path(path))
    contestant, B, T = arguments
    return speed(contestant, int(B), int(T), Path(path))


def batching(folder: Path) -> dict:
    """Rates by shape; for the first shape also those of the two usual ways."""
    tasks = [("ours", *shape) for shape in SHAPES]
    tasks += [(name, *SHAPES[0]) for name in CONTESTANTS if name != "ours"]
    found: dict = {}
    for _ in range(ROUNDS):
        for name, B, T in tasks:
            run = measured("speed", folder / "large.bin", name, B, T)
            print(f"  {name} {B} x {T}: {run['rate'] / MILLION:.1f} M tokens/s", flush=True)
            found.setdefault(f"{name} {B} x {T}", []).append(run)
    return {
        name: max(runs, key=lambda run: run["rate"])
        | {"all_rates": [round(run["rate"]) for run in runs]}
        for name, runs in found.items()
    }


def memories(folder: Path) -> dict:
    found = {name: measured("memory", folder / f"{name}.bin") for name in ("small", "large")}
    print("  ", found, flush=True)
    return found


PARTS = {"batching": batching, "memory": memories}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="default: " + ", ".join(PARTS))
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(*options.work)))
        return
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {sorted(unknown)}; there are {', '.join(PARTS)}")
    path = RESULTS / "data.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        make_shard(Path(folder) / "small.bin", SMALL)
        make_shard(Path(folder) / "large.bin", LARGE)
        for part in options.parts or PARTS:
            print(part, flush=True)
            results[part] = PARTS[part](Path(folder)) | {"versions": versions()}
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "data.md").write_text(report(results), encoding="utf-8")


def versions() -> dict:
    packages = {name: version(name) for name in ("torch", "numpy")}
    return {"python": platform.python_version(), "cores": os.cpu_count(), **packages}


def report(results: dict) -> str:
    """The results as a page of Markdown."""
    lines = ["# Data (chapter 03)", "", "`python -m benchmarks.data`", ""]
    lines += [
        "One core, one thread; the shard's pages are in the system's cache. Best of several rounds "
        "taken in turns.",
        "",
    ]
    for part, write in (("batching", report_batching), ("memory", report_memory)):
        if part in results:
            about = ", ".join(f"{k} {v}" for k, v in results[part]["versions"].items())
            lines += [*write(results[part]), "", f"({about})", ""]
    return "\n".join(lines)


def report_batching(found: dict) -> list[str]:
    lines = [
        "## Batches from a shard of 200 million tokens",
        "",
        "| | batch | million tokens a second | rounds |",
        "|---|---|---:|---|",
    ]
    names = {
        "ours": "`Batches`",
        "random starts": "random starts, window by window",
        "DataLoader": "torch `DataLoader`, same process",
    }
    for key, run in found.items():
        name = next((name for name in names if key.startswith(name)), None)
        if name:
            rounds = [round(rate / MILLION, 1) for rate in run["all_rates"]]
            shape = key.removeprefix(name).strip().replace("x", "×")
            lines.append(f"| {names[name]} | {shape} | {run['rate'] / MILLION:.1f} | {rounds} |")
    return [
        *lines,
        "",
        "Inputs and targets, int64, ready for torch. Random starts draw with replacement and have "
        "no epochs; only `Batches` resumes at a step without serving the ones before.",
    ]


def report_memory(found: dict) -> list[str]:
    lines = [
        "## Memory after a whole epoch",
        "",
        "| tokens served | file, MB | own memory, MB | mapped pages of the file, MB |",
        "|---:|---:|---:|---:|",
    ]
    for name in ("small", "large"):
        run = found[name]
        lines.append(
            f"| {run['tokens']:,} | {run['file_megabytes']:.0f} | "
            f"{run['own_peak_megabytes']:.1f} | {run['mapped_megabytes']:.0f} |"
        )
    return [
        *lines,
        "",
        "Own memory: the largest growth of resident minus shared memory while batches are served. "
        "Mapped pages belong to the system's cache of the file, which takes them back when memory "
        "is needed.",
    ]


if __name__ == "__main__":
    main()
