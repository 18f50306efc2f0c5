"""Faster than the public CPU recipe: the time in which each recipe reaches the baseline's loss.

    python -m benchmarks.speedrun.run                      all rows, three seeds, the baseline again
    python -m benchmarks.speedrun.run --row untied         one row, added to the results so far
    python -m benchmarks.speedrun.run --seeds 0 --row ...  fewer seeds; nothing is written
    python -m benchmarks.speedrun.run --quick              a few seconds, nothing is written

The target is the baseline's mean held-out loss after its 2,000 steps. A row's number of steps is
fixed in recipe.py so that all its seeds reach the target at the end of the schedule, and its time
is that of the whole run: training steps alone, without building the model and without evaluation,
for all rows alike. Results are written after each run to benchmarks/results/speedrun.json and
speedrun.md, and the table of benchmarks/speedrun/README.md is renewed. Run it on an otherwise idle
machine.
"""

import argparse
import json
import math
import platform
import re
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional as F

from benchmarks.speedrun.model import SpeedGPT
from benchmarks.speedrun.recipe import Recipe, Row, ladder, longer, tried
from lib.course.corpora import shakespeare_split
from lib.optim import Muon, hidden_matrices, parameter_groups, warmup_cosine, warmup_stable_decay

ROOT = Path(__file__).resolve().parents[2]
JSON, MARKDOWN = (ROOT / "benchmarks" / "results" / f"speedrun.{kind}" for kind in ("json", "md"))
README = Path(__file__).with_name("README.md")
SEEDS, WINDOWS = (0, 1, 2), 2048


def load_ids() -> tuple[torch.Tensor, torch.Tensor, int]:
    """Ids of the training and the held-out plays, and the number of different characters."""
    texts = ["\n".join(play.text for play in part) for part in shakespeare_split()]
    index = {c: i for i, c in enumerate(sorted(set("".join(texts))))}
    train, held_out = (torch.tensor([index[c] for c in text]) for text in texts)
    return train, held_out, len(index)


def cut(ids: torch.Tensor, starts: torch.Tensor, T: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (len(starts), T) of ids, and those one further."""
    places = starts[:, None] + torch.arange(T)
    return ids[places], ids[places + 1]


@torch.no_grad()
def held_out_loss(model: SpeedGPT, ids: torch.Tensor, T: int, n: int = WINDOWS) -> float:
    """Mean loss in nats a character over n fixed windows, evenly spread over the held-out plays."""
    starts = torch.linspace(0, len(ids) - T - 1, n, dtype=torch.float64).long()
    total = 0.0
    for part in starts.split(128):
        x, y = cut(ids, part, T)
        total += F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
    return total / (n * T)


def optimizers(model: SpeedGPT, recipe: Recipe) -> list[tuple[torch.optim.Optimizer, float]]:
    """The optimizers of a model, each with its peak learning rate."""
    tables = [w for name, w in model.named_parameters() if "ngram" in name]
    matrices = hidden_matrices(model) if recipe.optimizer == "muon" else []
    groups = parameter_groups(model, recipe.weight_decay, [*matrices, *tables])
    adamw = torch.optim.AdamW(groups, recipe.lr, recipe.betas, fused=recipe.fused or None)
    found = [(adamw, recipe.lr)]
    if matrices:
        found.append((Muon(matrices, steps=recipe.muon_iterations), recipe.muon_lr))
    if tables:
        found.append((torch.optim.SparseAdam(tables, betas=recipe.betas), recipe.table_lr))
    return found


def rate(step: int, recipe: Recipe) -> float:
    """The share of the peak learning rates at a step."""
    warmup = round(recipe.warmup * recipe.steps)
    if recipe.schedule == "cosine":
        return warmup_cosine(step, recipe.steps, 1.0, warmup, final=0.1)
    return warmup_stable_decay(step, recipe.steps, 1.0, warmup, decay=recipe.steps - warmup)


def train(recipe: Recipe, data: tuple, seed: int) -> tuple[SpeedGPT, float]:
    """A trained model, and the seconds that its training steps took."""
    ids, _, vocab_size = data
    torch.manual_seed(seed)
    model, order = SpeedGPT(recipe, vocab_size), torch.Generator().manual_seed(seed)
    used = optimizers(model, recipe)
    clipped = [w for name, w in model.named_parameters() if "ngram" not in name]
    T, began = recipe.context_length, time.perf_counter()
    for step in range(recipe.steps):
        for optimizer, peak in used:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = peak * rate(step, recipe)
        starts = torch.randint(len(ids) - T, (recipe.batch_size,), generator=order)
        x, y = cut(ids, starts, T)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.dtype == "bfloat16"):
            logits = model(x)
        F.cross_entropy(logits.float().flatten(0, 1), y.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(clipped, recipe.max_norm)
        for optimizer, _ in used:
            optimizer.step()
    return model, time.perf_counter() - began


def measure(recipe: Recipe, data: tuple, seed: int, windows: int = WINDOWS) -> dict:
    """One run: its seed, its seconds and its held-out loss."""
    model, seconds = train(recipe, data, seed)
    loss = held_out_loss(model, data[1], recipe.context_length, windows)
    return {"seed": seed, "seconds": round(seconds, 2), "loss": round(loss, 4)}


# --- Results and the table -----------------------------------------------------------------------


def mean(found: dict, name: str, key: str) -> float:
    runs = found["runs"][name]
    return sum(run[key] for run in runs) / len(runs)


def target(found: dict) -> float:
    """The baseline's mean held-out loss."""
    return mean(found, "baseline", "loss")


def reached(found: dict, name: str) -> int:
    """How many seeds of a row reach the target; the baseline reaches it by definition."""
    if name == "baseline":
        return len(found["runs"][name])
    return sum(run["loss"] <= target(found) for run in found["runs"][name])


def table_line(row: Row, found: dict) -> str:
    """A row of the table: means, and the smallest and the largest over the seeds in brackets."""
    runs = found["runs"][row.name]
    losses, times = ([run[key] for run in runs] for key in ("loss", "seconds"))
    faster = mean(found, "baseline", "seconds") / mean(found, row.name, "seconds")
    return (
        f"| {row.name} | {row.what} ({row.credit}) | {row.recipe.steps:,} "
        f"| {mean(found, row.name, 'loss'):.3f} ({min(losses):.3f}–{max(losses):.3f}) "
        f"| {reached(found, row.name)} of {len(runs)} "
        f"| {mean(found, row.name, 'seconds'):.1f} ({min(times):.1f}–{max(times):.1f}) "
        f"| {faster:.1f} × |"
    )


def report(found: dict) -> str:
    """All results as Markdown: the ladder, and what was tried on its last row."""
    head = [
        "| row | what changes | steps | held-out loss | reach the target | seconds | faster |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    lines = [f"The target: {target(found):.3f} nats a character.", "", *head]
    lines += [table_line(row, found) for row in ladder() if row.name in found["runs"]]
    lines += ["", "Tried on the last row of the ladder, with its number of steps:", "", *head]
    lines += [table_line(row, found) for row in tried() if row.name in found["runs"]]
    lines += ["", "Ten times as long:", "", *head]
    lines += [table_line(row, found) for row in longer() if row.name in found["runs"]]
    if again := found["runs"].get("baseline again"):
        lines += [
            "",
            f"The baseline's first seed once more, at the end: {again[0]['seconds']:.1f} s.",
        ]
    about = ", ".join(f"{key} {value}" for key, value in found["versions"].items())
    return "\n".join([*lines, "", f"({about})", ""])


def write(found: dict) -> None:
    """Write the JSON, and the table into speedrun.md and the README."""
    JSON.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    table = report(found)
    title = "# Speedrun\n\n`python -m benchmarks.speedrun.run`\n\n"
    MARKDOWN.write_text(title + table, encoding="utf-8")
    marks = r"(<!-- table: begin -->\n).*?(<!-- table: end -->)"
    text = README.read_text(encoding="utf-8")
    text = re.sub(marks, lambda m: f"{m[1]}\n{table}\n{m[2]}", text, flags=re.DOTALL)
    README.write_text(text, encoding="utf-8", newline="\n")


def versions() -> dict:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


# --- The command ---------------------------------------------------------------------------------


def quick(data: tuple) -> None:
    """The first and the last row of the ladder, five steps each."""
    for row in (ladder()[0], ladder()[-1]):
        run = measure(replace(row.recipe, steps=5), data, seed=0, windows=16)
        if not math.isfinite(run["loss"]):
            raise RuntimeError(f"the loss of {row.name} is {run['loss']}; look at its recipe")
        print(row.name, run, flush=True)


def run_rows(rows: list[Row], seeds: list[int], data: tuple, found: dict, keep: bool) -> None:
    """Measure rows in turns, a seed at a time, so that a drift of the machine meets them all."""
    for seed in seeds:
        for row in rows:
            run = measure(row.recipe, data, seed)
            print(row.name, run, flush=True)
            before = [r for r in found["runs"].get(row.name, []) if r["seed"] != seed]
            found["runs"][row.name] = [*before, run]
            if keep and "baseline" in found["runs"]:
                write(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    rows = {row.name: row for row in [*ladder(), *tried(), *longer()]}
    parser.add_argument(
        "--row", action="append", choices=rows, help="only this row; may be given again"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--steps", type=int, help="another number of steps; nothing is written")
    parser.add_argument("--quick", action="store_true", help="a few seconds; nothing is written")
    options = parser.parse_args()
    data = load_ids()
    if options.quick:
        return quick(data)
    chosen = [rows[name] for name in options.row or rows]
    if options.steps:
        chosen = [replace(row, recipe=replace(row.recipe, steps=options.steps)) for row in chosen]
    keep = options.steps is None and tuple(options.seeds) == SEEDS
    found = {"versions": versions(), "runs": {}}
    if options.row and JSON.exists():
        found["runs"] = json.loads(JSON.read_text(encoding="utf-8"))["runs"]
    run_rows(chosen, options.seeds, data, found, keep)
    if not options.row and keep:
        found["runs"]["baseline again"] = [measure(Recipe(), data, SEEDS[0])]
        write(found)


if __name__ == "__main__":
    main()
