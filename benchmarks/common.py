"""What the benchmarks of GPTs share: the other libraries' models, processes, turns and versions."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from lib.llama import LlamaConfig
from lib.model import GPTConfig
from lib.training import train

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def transformers_gpt2(config: GPTConfig, **options) -> nn.Module:
    """GPT-2 of transformers in our shape, without dropout, with the fused attention kernel."""
    import transformers

    shape = transformers.GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=config.context_length,
        n_layer=config.n_layer,
        n_head=config.n_head,
        n_embd=config.n_embd,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        attn_implementation="sdpa",
        **{"bos_token_id": 0, "eos_token_id": 0} | options,
    )
    return transformers.GPT2LMHeadModel(shape)


def llms_from_scratch_shape(config: GPTConfig) -> dict:
    """Our shape as the package llms-from-scratch names it. Its head is not tied."""
    return {
        "vocab_size": config.vocab_size,
        "context_length": config.context_length,
        "emb_dim": config.n_embd,
        "n_heads": config.n_head,
        "n_layers": config.n_layer,
        "drop_rate": 0.0,
        "qkv_bias": True,
    }


# --- Training: a step is batch, forward, loss, backward, clipping and the optimizer ---------------

MAX_NORM = 1.0  # of the gradients


@dataclass(frozen=True)
class Size:
    """A shape, the batch (B, T) it is trained with, and how often."""

    config: GPTConfig | LlamaConfig
    B: int
    T: int
    steps: int
    rounds: int


def random_rows(size: Size) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless rows of random ids, and those one place later, (B, T) each."""
    generator = torch.Generator().manual_seed(0)
    while True:
        rows = torch.randint(size.config.vocab_size, (size.B, size.T + 1), generator=generator)
        yield rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def our_loop(size: Size, model: nn.Module, optimizer) -> Callable[[int], list[float]]:
    """A function that takes n steps with our `train` and gives the seconds of each."""
    rows = random_rows(size)

    def run(n: int) -> list[float]:
        records = train(model, rows, optimizer, None, n, max_norm=MAX_NORM)
        ends = [record["seconds"] for record in records]  # since the first step
        return [end - start for start, end in zip([0.0, *ends], ends, strict=False)]

    return run


def torch_loop(size: Size, model: nn.Module, optimizer, loss_of: Callable) -> Callable:
    """A function that takes n steps as users of torch write them and gives the seconds of each."""
    rows = random_rows(size)
    learned = [weights for weights in model.parameters() if weights.requires_grad]

    def run(n: int) -> list[float]:
        seconds = []
        model.train()
        for _ in range(n):
            start = time.perf_counter()
            x, y = next(rows)
            optimizer.zero_grad()
            loss = loss_of(model, x, y)
            loss.backward()
            nn.utils.clip_grad_norm_(learned, MAX_NORM)
            optimizer.step()
            loss.item()
            seconds.append(time.perf_counter() - start)
        return seconds

    return run


# --- Processes and turns --------------------------------------------------------------------------


def in_own_process(module: str, *arguments: str) -> dict:
    """Run `python -m module arguments`; return the JSON of the last line that it prints."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(contestants: Iterable[str], rounds: int, measure: Callable) -> dict[str, list]:
    """What `measure(contestant)` gives in each round, all contestants before the next round."""
    runs = {contestant: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant, found in runs.items():
            found.append(measure(contestant))
            print(f"  {contestant}: {found[-1]}", flush=True)
    return runs


def best_rounds(module: str, key: str, arguments: list, contestants: Iterable, rounds: int) -> dict:
    """The largest `key` that each contestant reaches in a round of its own, and all rounds."""

    def one(contestant: str) -> float:
        return in_own_process(module, *arguments, "--work", contestant)[key]

    return {
        contestant: {key: max(found), "all_rounds": [round(value, 1) for value in found]}
        for contestant, found in in_turns(contestants, rounds, one).items()
    }


# --- The command line and the pages of results ----------------------------------------------------


def read_options(doc: str, settings: Iterable[str], contestants: Iterable[str]):
    """The command line: some of the settings (none: all), --quick, and --work for processes."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("settings", nargs="*", help="default: " + "; ".join(settings))
    parser.add_argument("--quick", action="store_true", help="short, and nothing is written")
    parser.add_argument("--work", choices=contestants, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.settings) - set(settings):
        parser.error(f"no setting {sorted(unknown)}; there are {'; '.join(settings)}")
    options.settings = options.settings or list(settings)
    return options


def heading(config: GPTConfig, rest: str) -> str:
    """The heading of a table: the shape of its model, and what is done with it."""
    shape = f"{config.n_layer} layers, width {config.n_embd}, vocabulary {config.vocab_size:,}"
    return f"## {shape}, {rest}"


def rate_table(found: dict, contestants: Iterable[str], key: str, unit: str, ours: str) -> list:
    """Lines of a table: the rate of each contestant, and how many times as fast ours is."""
    lines = [f"| | {unit} | {ours} |", "|---|---:|---:|"]
    for who in (who for who in contestants if who in found):
        rate = found[who][key]
        lines.append(f"| {who} | {rate:,.0f} | {found['ours'][key] / rate:.2f} × |")
    return [*lines, "", about(found), ""]


PEERS = ("torch", "transformers", "llms-from-scratch")


def versions(packages: Iterable[str] = PEERS) -> dict:
    """What the numbers depend on besides the machine's speed."""
    found = {name: version(name) for name in packages}
    return {"python": platform.python_version(), "cores": os.cpu_count(), **found}


def about(found: dict) -> str:
    """The versions behind a result, in one line."""
    return "(" + ", ".join(f"{key} {value}" for key, value in found["versions"].items()) + ")"


def read_results(name: str) -> dict:
    """The results so far of a benchmark; none yet: an empty one."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_results(name: str, results: dict, page: str) -> None:
    """Write the results as JSON and as a page of Markdown."""
    text = json.dumps(results, indent=1) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(page, encoding="utf-8")
