"""LoRA training of chapter 13 against peft: tokens a second and peak memory.

    python -m benchmarks.lora                Tale and SmolLM2's shape, about ten minutes
    python -m benchmarks.lora Tale           one of them: Tale or SmolLM2
    python -m benchmarks.lora --quick        Tale's shape only, short, nothing is written

It needs the oracle extra. Every measurement runs in a process of its own with all cores, in
float32, with random weights of the same shape, adapters of rank 8 on every linear layer of the
blocks, and the same batches of random ids; the contestants take turns, and the fastest step of all
rounds counts. A step is forward, loss, backward, clipping, AdamW. We use our own `train`, AdamW and
clipping around our own model. peft is measured twice: around transformers' model, as its users have
it, with torch's AdamW; and around our model, which shows the adapters alone. Memory is the peak of
the process above what it had with the model and its adapters built. Results go to
benchmarks/results/lora.json and lora.md. Run it on an otherwise idle machine.
"""

import json
import resource
import sys
import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import common
from benchmarks.common import Size
from lib.llama import Llama, LlamaConfig
from lib.lora import LoRAConfig, add_lora
from lib.model import GPT, PRESETS, GPTConfig
from lib.optim import AdamW, parameter_groups

MODULE = "benchmarks.lora"
RATE, RANK, ALPHA = 1e-3, 8, 16
SMOLLM2 = LlamaConfig(49152, 512, 30, 9, 3, 576, 1536, rope_base=100_000.0)


SIZES = {
    "Tale": Size(PRESETS["tale"], B=8, T=256, steps=25, rounds=5),
    "SmolLM2": Size(SMOLLM2, B=4, T=64, steps=4, rounds=3),
}
QUICK = Size(PRESETS["tale"], B=2, T=64, steps=3, rounds=1)


def our_model(size: Size) -> nn.Module:
    """Our own model, with random weights."""
    return GPT(size.config) if isinstance(size.config, GPTConfig) else Llama(size.config)


def their_model(size: Size) -> nn.Module:
    """The model of transformers in the same shape."""
    c = size.config
    if isinstance(c, GPTConfig):
        return common.transformers_gpt2(c, use_cache=False)
    import transformers

    shape = transformers.LlamaConfig(
        vocab_size=c.vocab_size,
        max_position_embeddings=c.context_length,
        num_hidden_layers=c.n_layer,
        num_attention_heads=c.n_head,
        num_key_value_heads=c.n_kv_head,
        hidden_size=c.n_embd,
        intermediate_size=c.n_hidden,
        tie_word_embeddings=c.tied,
        attn_implementation="sdpa",
        use_cache=False,
    )
    return transformers.LlamaForCausalLM(shape)


# --- The contestants: each returns a function that takes n steps and gives the seconds of each ----


def ours(size: Size) -> Callable[[int], list[float]]:
    model = our_model(size)
    add_lora(model, LoRAConfig(RANK, ALPHA))
    return common.our_loop(size, model, AdamW(parameter_groups(model, 0.0), lr=RATE))


def with_peft(model: nn.Module) -> nn.Module:
    """A model with peft's adapters on every linear layer but the head."""
    import peft

    layers = [n for n, m in model.named_modules() if "Linear" in type(m).__name__]
    layers += [n for n, m in model.named_modules() if type(m).__name__ == "Conv1D"]
    targets = [name for name in layers if "head" not in name]
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it takes GPT-2's layers the other way round
        return peft.get_peft_model(model, config)


def with_torch(size: Size, model: nn.Module, logits_of: Callable) -> Callable:
    """The usual loop around torch's AdamW."""
    learned = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=RATE, weight_decay=0.0)

    def loss_of(model, x, y):
        return F.cross_entropy(logits_of(x).flatten(0, 1), y.flatten())

    return common.torch_loop(size, model, optimizer, loss_of)


def peft_on_transformers(size: Size) -> Callable[[int], list[float]]:
    model = with_peft(their_model(size))
    return with_torch(size, model, lambda x: model(input_ids=x).logits)


def peft_on_ours(size: Size) -> Callable[[int], list[float]]:
    """peft's adapters in our model, which it wraps as any other."""
    model = with_peft(our_model(size))
    return with_torch(size, model, lambda x: model.base_model.model(x))


CONTESTANTS: dict[str, Callable] = {
    "ours": ours,
    "peft, transformers' model": peft_on_transformers,
    "peft, our model": peft_on_ours,
}


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def work(contestant: str, size: Size) -> dict:
    """Tokens a second in the fastest step, and the peak above the state before the first."""
    torch.manual_seed(0)
    run = CONTESTANTS[contestant](size)
    before = peak_bytes()
    seconds = min(run(2 + size.steps)[2:])  # the first ones are slower
    megabytes = (peak_bytes() - before) / 1e6
    return {"tokens_per_second": size.B * size.T / seconds, "megabytes": megabytes}


# --- Running and writing -------------------------------------------------------------------------


def compared(name: str, rounds: int, *arguments: str) -> dict[str, dict]:
    """Let the contestants take turns; keep each one's best rate and its smallest peak."""

    def one(contestant: str) -> dict:
        return common.in_own_process(MODULE, name, *arguments, "--work", contestant)

    found = {}
    for contestant, runs in common.in_turns(CONTESTANTS, rounds, one).items():
        rates = [run["tokens_per_second"] for run in runs]
        peak = min(run["megabytes"] for run in runs)
        found[contestant] = {"tokens_per_second": max(rates), "megabytes": round(peak, 1)}
        found[contestant]["all_rounds"] = [round(rate, 1) for rate in rates]
    return found


def main() -> None:
    options = common.read_options(__doc__, SIZES, CONTESTANTS)
    if options.work:
        size = QUICK if options.quick else SIZES[options.settings[0]]
        print(json.dumps(work(options.work, size)))
        return
    if options.quick:
        found = compared("Tale", QUICK.rounds, "--quick")
        for who, values in found.items():
            print(f"{who}: {values['tokens_per_second']:,.0f} tokens/s")
        return
    results = common.read_results("lora")
    for name in options.settings:
        print(name, flush=True)
        versions = common.versions(("torch", "transformers", "peft"))
        results[name] = compared(name, SIZES[name].rounds) | {"versions": versions}
        common.write_results("lora", results, report(results))


def report(results: dict) -> str:
    """The results as a page of Markdown."""
    lines = ["# LoRA (chapter 13)", "", f"`python -m {MODULE}`", ""]
    lines += [
        f"float32 on all cores, random weights of the same shape, rank {RANK} on every linear "
        "layer of the blocks; the fastest step of several rounds taken in turns, and the smallest "
        "peak of memory above the state before the first step.",
        "",
    ]
    for name in (name for name in SIZES if name in results):
        size, found = SIZES[name], results[name]
        lines += [common.heading(size.config, f"{size.B} × {size.T} ids a step"), ""]
        rate = "tokens_per_second"
        lines += common.rate_table(found, CONTESTANTS, rate, "tokens/s", "ours is faster")
        lines += ["| | peak above the start |", "|---|---:|"]
        lines += [f"| {who} | {found[who]['megabytes']:,.0f} MB |" for who in CONTESTANTS]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
