"""The GPT of chapter 05 against transformers' GPT-2 and the package llms-from-scratch.

    python -m benchmarks.model                 everything, about fifteen minutes
    python -m benchmarks.model 1M 124M         some of the sizes: 1M, 10M, 124M

It needs the oracle extra, and `python -m pip install --no-deps llms-from-scratch`: with its
dependencies, that package would replace the torch and the NumPy of the course.

Every measurement runs in a process of its own with all cores, in float32, with the same shapes and
without dropout; the contestants take turns, and the best of their rounds counts. A step is forward,
cross-entropy and backward; memory is the peak of its allocations, with the weights, as PyTorch's
profiler records them. Results go to benchmarks/results/model.json and model.md. Run it on an
otherwise idle machine.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from benchmarks import common
from lib.model import GPT, PRESETS, GPTConfig

MODULE = "benchmarks.model"

# What all contestants leave to the same kernels of PyTorch: matrix products, and attention.
SHARED = ("aten::mm", "aten::addmm", "aten::bmm", "aten::_scaled_dot_product_flash")


@dataclass(frozen=True)
class Size:
    """A shape, the batch it is measured with, and how often."""

    config: GPTConfig
    B: int
    T: int
    repeats: int
    rounds: int


SIZES = {
    "1M": Size(PRESETS["tale"], B=8, T=256, repeats=10, rounds=5),
    "10M": Size(GPTConfig(4096, 256, 7, 10, 320), B=8, T=256, repeats=4, rounds=5),
    "124M": Size(PRESETS["gpt2"], B=2, T=256, repeats=2, rounds=3),
}


# --- The contestants: each a module from ids (B, T) to logits (B, T, vocab_size) -----------------


def ours(config: GPTConfig) -> nn.Module:
    return GPT(config)


def hugging_face(config: GPTConfig) -> nn.Module:
    """GPT-2 of transformers with the fused attention kernel."""

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = common.transformers_gpt2(config, use_cache=False)

        def forward(self, ids):
            return self.model(ids).logits

    return Logits()


def llms_from_scratch(config: GPTConfig, name: str) -> nn.Module:
    """The model of the book, or its faster variant. Its head is not tied: it has more weights."""
    from llms_from_scratch import ch04

    return getattr(ch04, name)(common.llms_from_scratch_shape(config))


CONTESTANTS: dict[str, Callable] = {
    "ours": ours,
    "transformers": hugging_face,
    "llms-from-scratch GPTModel": lambda config: llms_from_scratch(config, "GPTModel"),
    "llms-from-scratch GPTModelFast": lambda config: llms_from_scratch(config, "GPTModelFast"),
}


# --- What is measured: each of these runs in a process of its own ---------------------------------


def work(contestant: str, size: Size) -> dict:
    """Seconds of the fastest forward pass and step, and the memory of a step."""
    torch.manual_seed(0)
    model = CONTESTANTS[contestant](size.config)
    batch = torch.randint(size.config.vocab_size, (size.B, size.T + 1))
    ids, targets = batch[:, :-1].contiguous(), batch[:, 1:].flatten()

    @torch.no_grad()
    def forward():
        model(ids)

    def step():
        model.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets)
        loss.backward()
        return loss.item()

    loss = step()  # the first one is slower, and not counted
    seconds = {"forward": [], "step": []}
    for _ in range(size.repeats):
        for name, function in (("forward", forward), ("step", step)):
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    best = {name: min(times) for name, times in seconds.items()}
    weights = sum(p.numel() for p in model.parameters())
    model.zero_grad(set_to_none=True)
    return best | profiled(step) | {"parameters": weights, "loss": loss}


def profiled(step: Callable) -> dict:
    """Peak of what a step allocates, and the share of its time in kernels that all share."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    events = record.profiler.kineto_results.events()
    changes = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    now = peak = 0
    for _, size in sorted(changes):
        now += size
        peak = max(peak, now)
    times = {e.key: e.self_cpu_time_total for e in record.key_averages()}
    shared = sum(t for name, t in times.items() if name.startswith(SHARED))
    return {"allocated": peak, "shared_kernels": shared / sum(times.values())}


# --- Running and writing -------------------------------------------------------------------------


def compared(name: str) -> dict[str, dict]:
    """Let the contestants take turns; keep the best forward pass and the best step of each."""
    size = SIZES[name]
    runs = common.in_turns(
        CONTESTANTS,
        size.rounds,
        lambda contestant: common.in_own_process(MODULE, name, "--work", contestant),
    )
    found = {}
    for contestant, all_runs in runs.items():
        best = {key: min(run[key] for run in all_runs) for key in ("forward", "step")}
        tokens = size.B * size.T
        found[contestant] = all_runs[0] | {
            "forward_tokens_per_second": tokens / best["forward"],
            "step_tokens_per_second": tokens / best["step"],
            "megabytes": (4 * all_runs[0]["parameters"] + all_runs[0]["allocated"]) / 1e6,
            "all_step_seconds": [round(run["step"], 4) for run in all_runs],
            **best,
        }
    return found


def main() -> None:
    options = common.read_options(__doc__, SIZES, CONTESTANTS)
    if options.work:
        print(json.dumps(work(options.work, SIZES[options.settings[0]])))
        return
    if options.quick:
        print(common.in_own_process(MODULE, "1M", "--work", "ours"))
        return
    results = common.read_results("model")
    for name in options.settings:
        print(name, flush=True)
        results[name] = compared(name) | {"versions": common.versions()}
        common.write_results("model", results, report(results))


def report(results: dict) -> str:
    """The results as a page of Markdown."""
    lines = ["# GPT (chapter 05)", "", "`python -m benchmarks.model`", ""]
    lines += [
        "float32 on all cores, the same shapes, no dropout; best of several rounds taken in turns. "
        "A step is forward, cross-entropy and backward; memory is the peak of a step, with the "
        "weights. `GPTModel` is the module of the book behind `llms-from-scratch`, `GPTModelFast` "
        "its variant with PyTorch's own norm, GELU and fused attention. Neither ties its head, "
        "hence more parameters.",
        "",
    ]
    for name in (n for n in SIZES if n in results):
        lines += [*report_size(name, results[name]), ""]
    return "\n".join(lines)


def report_size(name: str, found: dict) -> list[str]:
    size, runs = SIZES[name], {who: found[who] for who in CONTESTANTS}
    lines = [
        common.heading(size.config, f"batch {size.B} × {size.T}"),
        "",
        "| | parameters | forward, tokens/s | step, tokens/s | memory, MB "
        "| ours is faster: forward | step |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for who, run in runs.items():
        ratios = [run[key] / runs["ours"][key] for key in ("forward", "step")]
        lines.append(
            f"| {who} | {run['parameters']:,} | {run['forward_tokens_per_second']:,.0f} "
            f"| {run['step_tokens_per_second']:,.0f} | {run['megabytes']:,.0f} "
            f"| {ratios[0]:.2f} × | {ratios[1]:.2f} × |"
        )
    shared = runs["ours"]["shared_kernels"]
    return [
        *lines,
        "",
        f"Of our step, {shared:.0%} is spent in matrix products and fused attention, kernels of "
        f"PyTorch that all contestants call with the same shapes. Were all the rest free, the step "
        f"would be {1 / shared:.2f} times as fast.",
        "",
        common.about(found),
    ]


if __name__ == "__main__":
    main()
