"""Training with the loop of chapter 06 against transformers' GPT-2 and llms-from-scratch.

    python -m benchmarks.training            1 and 10 million parameters, about ten minutes
    python -m benchmarks.training 1M         one of them: 1M or 10M
    python -m benchmarks.training --quick    Tale's shape only, short, nothing is written

It needs the oracle extra, and `python -m pip install --no-deps llms-from-scratch`: with its
dependencies, that package would replace the torch and the NumPy of the course.

Every measurement runs in a process of its own with all cores, in float32, without dropout, on the
same batches of random ids; the contestants take turns, and the fastest step of all rounds counts. A
step is all that a step of training needs: a batch, forward, loss, backward, clipping, AdamW. We use
our own `train` with our own AdamW and clipping. It also lets freed memory stay with the process;
two more rows show what that is worth, to us and to transformers. The others use what their
documentation uses: the model's own loss (transformers) or cross-entropy (llms-from-scratch),
`clip_grad_norm_`, and torch.optim.AdamW, as it comes and fused. Results go to
benchmarks/results/training.json and training.md. Run it on an otherwise idle machine.
"""

import json
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import common
from benchmarks.common import Size
from lib import training
from lib.model import GPT, PRESETS, GPTConfig
from lib.optim import AdamW, parameter_groups

MODULE = "benchmarks.training"
RATE, DECAY = 1e-3, 0.1


SIZES = {
    "1M": Size(PRESETS["tale"], B=8, T=256, steps=25, rounds=5),
    "10M": Size(GPTConfig(4096, 256, 7, 10, 320), B=8, T=256, steps=8, rounds=3),
}
QUICK = Size(PRESETS["tale"], B=2, T=64, steps=3, rounds=1)


# --- The contestants: each returns a function that takes n steps and gives the seconds of each ----


def ours(size: Size, keep: bool = True) -> Callable[[int], list[float]]:
    """keep=False: without the call by which `train` keeps freed memory."""
    if not keep:
        training.keep_freed_memory = lambda: False
    model = GPT(size.config)
    return common.our_loop(size, model, AdamW(parameter_groups(model, DECAY), lr=RATE))


def with_torch(size: Size, model: nn.Module, loss_of: Callable, fused: bool) -> Callable:
    """The usual loop around torch's AdamW."""
    optimizer = torch.optim.AdamW(parameter_groups(model, DECAY), lr=RATE, fused=fused or None)
    return common.torch_loop(size, model, optimizer, loss_of)


def hugging_face(size: Size, fused: bool = False, keep: bool = False) -> Callable:
    """GPT-2 of transformers with the loss that it computes from labels itself.

    It moves the labels by one place, so it is given all of a row, and learns T - 1 targets of it.
    keep: whether freed memory stays with the process, as with our `train`.
    """
    if keep:
        training.keep_freed_memory()
    model = common.transformers_gpt2(size.config, use_cache=False)
    return with_torch(size, model, lambda model, x, y: model(x, labels=x).loss, fused)


def llms_from_scratch(size: Size, name: str, fused: bool = False) -> Callable:
    """The model of the book, or its faster variant, with the loss of its training function."""
    from llms_from_scratch import ch04

    def loss_of(model, x, y):
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    model = getattr(ch04, name)(common.llms_from_scratch_shape(size.config))
    return with_torch(size, model, loss_of, fused)


CONTESTANTS: dict[str, Callable] = {
    "ours": ours,
    "ours, freed memory given back": partial(ours, keep=False),
    "transformers": hugging_face,
    "transformers, fused AdamW": partial(hugging_face, fused=True),
    "transformers, fused AdamW, freed memory kept": partial(hugging_face, fused=True, keep=True),
    "llms-from-scratch GPTModel": partial(llms_from_scratch, name="GPTModel"),
    "llms-from-scratch GPTModelFast": partial(llms_from_scratch, name="GPTModelFast"),
    "llms-from-scratch GPTModelFast, fused AdamW": partial(
        llms_from_scratch, name="GPTModelFast", fused=True
    ),
}


def work(contestant: str, size: Size) -> dict:
    """Tokens a second in the fastest step, as other work can only slow one down."""
    torch.manual_seed(0)
    run = CONTESTANTS[contestant](size)
    seconds = min(run(2 + size.steps)[2:])  # the first ones are slower
    return {"tokens_per_second": size.B * size.T / seconds, "seconds": seconds}


# --- Running and writing -------------------------------------------------------------------------


def compared(name: str, rounds: int, *arguments: str) -> dict[str, dict]:
    """Let the contestants take turns; keep the best round of each."""
    arguments = [name, *arguments]
    return common.best_rounds(MODULE, "tokens_per_second", arguments, CONTESTANTS, rounds)


def main() -> None:
    options = common.read_options(__doc__, SIZES, CONTESTANTS)
    if options.work:
        size = QUICK if options.quick else SIZES[options.settings[0]]
        print(json.dumps(work(options.work, size)))
        return
    if options.quick:
        compared("1M", QUICK.rounds, "--quick")
        return
    results = common.read_results("training")
    for name in options.settings:
        print(name, flush=True)
        results[name] = compared(name, SIZES[name].rounds) | {"versions": common.versions()}
        common.write_results("training", results, report(results))


def report(results: dict) -> str:
    """The results as a page of Markdown."""
    lines = ["# Training (chapter 06)", "", f"`python -m {MODULE}`", ""]
    lines += [
        "float32 on all cores, the same shapes, no dropout: batch, forward, loss, backward, "
        "clipping and AdamW; the fastest step of several rounds taken in turns. We: "
        "`train`, `AdamW` and `clip_gradients` of `lib/`; `train` lets freed memory stay with the "
        "process, and two rows show what that is worth. The others: torch.optim.AdamW and "
        "`clip_grad_norm_`; transformers with `labels=`. The head of `llms-from-scratch` is not "
        "tied.",
        "",
    ]
    for name in (name for name in SIZES if name in results):
        size, found = SIZES[name], results[name]
        lines += [common.heading(size.config, f"batch {size.B} × {size.T}"), ""]
        columns = "tokens_per_second", "tokens/s", "ours is faster"
        lines += common.rate_table(found, CONTESTANTS, *columns)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
