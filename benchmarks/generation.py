"""Generation of chapter 07 against `generate` of transformers and the package llms-from-scratch.

    python -m benchmarks.generation                 everything, about ten minutes
    python -m benchmarks.generation "1M, 1"         one of the settings: 1M or 124M, batch 1 or 16
    python -m benchmarks.generation --quick         Tale's shape only, short, nothing is written

It needs the oracle extra, and `python -m pip install --no-deps llms-from-scratch`: with its
dependencies, that package would replace the torch and the NumPy of the course.

Each measurement runs in a process of its own with all cores, in float32, with random weights of
the same shapes: a prompt of 16 ids is continued greedily, with a cache, by the same number of ids.
The contestants take turns, and the best of their rounds counts. Results go to
benchmarks/results/generation.json and generation.md. Run it on an otherwise idle machine.
"""

import inspect
import json
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks import common
from lib.generation import Decoder, Sampler, generate
from lib.model import GPT, PRESETS, GPTConfig

MODULE = "benchmarks.generation"
PROMPT = 16  # ids
GREEDY = Sampler(temperature=0)


@dataclass(frozen=True)
class Setting:
    """A shape, how many sequences at once, how many ids each is continued by, and how often."""

    config: GPTConfig
    B: int
    n: int
    repeats: int
    rounds: int


SETTINGS = {
    "1M, 1": Setting(PRESETS["tale"], B=1, n=200, repeats=5, rounds=5),
    "1M, 16": Setting(PRESETS["tale"], B=16, n=200, repeats=3, rounds=5),
    "124M, 1": Setting(PRESETS["gpt2"], B=1, n=64, repeats=1, rounds=3),
    "124M, 16": Setting(PRESETS["gpt2"], B=16, n=32, repeats=1, rounds=3),
}
QUICK = Setting(PRESETS["tale"], B=1, n=100, repeats=2, rounds=1)


# --- The contestants: each returns a function that continues ids (B, T) by n ids ------------------


def ours(config: GPTConfig, sampler: Sampler = GREEDY) -> Callable:
    model = GPT(config).eval()
    return lambda ids, n: generate(model, ids.tolist(), n, sampler)


def ours_sampling(config: GPTConfig) -> Callable:
    """For comparison with ourselves: what the sampler takes."""
    return ours(config, Sampler(temperature=0.8, top_p=0.9))


def hugging_face(config: GPTConfig) -> Callable:
    """GPT-2 of transformers with the fused attention kernel and its default cache."""
    options = {"eos_token_id": None, "pad_token_id": 0}
    model = common.transformers_gpt2(config, **options).eval()

    def run(ids, n):
        mask = torch.ones_like(ids)
        return model.generate(ids, attention_mask=mask, max_new_tokens=n, do_sample=False)

    return run


def mend(attention: type, module) -> None:
    """Let the package's cached GPT-2 run: of its causal mask, it takes columns for rows.

    In version 1.0.19 the second id raises an error for that. Only this one index is changed.
    """
    source = textwrap.dedent(inspect.getsource(attention.forward))
    mended = source.replace("causal_mask[:, -num_tokens:]", "causal_mask[-num_tokens:]")
    if mended != source:
        namespace = vars(module)
        exec(compile(mended, "<mended>", "exec"), namespace)
        attention.forward = namespace.pop("forward")


def llms_from_scratch(config: GPTConfig) -> Callable:
    """The GPT-2 with a cache of the book's package, in the loop of its `generate_text_simple`.

    That loop itself cannot be called: it asks the model for a method that its GPT-2 has not.
    """
    from llms_from_scratch.kv_cache import gpt2
    from llms_from_scratch.kv_cache.utils import KVCache

    mend(gpt2.MultiHeadAttention, gpt2)
    model = gpt2.GPTModel(common.llms_from_scratch_shape(config)).eval()

    @torch.no_grad()
    def run(ids, n):
        cache, model.current_pos = KVCache(n_layers=config.n_layer), 0
        logits = model(ids, use_cache=True, cache=cache)
        for _ in range(n):
            new = logits[:, -1].argmax(dim=-1, keepdim=True)
            ids = torch.cat([ids, new], dim=1)
            if ids.shape[1] < PROMPT + n:
                logits = model(new, use_cache=True, cache=cache)
        return ids

    return run


CONTESTANTS: dict[str, Callable] = {
    "ours": ours,
    "ours, sampling with top-p": ours_sampling,
    "transformers": hugging_face,
    "llms-from-scratch": llms_from_scratch,
}


# --- What is measured: each of these runs in a process of its own ---------------------------------


def work(contestant: str, setting: Setting) -> dict:
    """Ids a second, of all sequences together, in the fastest run."""
    torch.manual_seed(0)
    run = CONTESTANTS[contestant](setting.config)
    ids = torch.randint(setting.config.vocab_size, (setting.B, PROMPT))
    run(ids, 4)  # the first one is slower, and not counted
    seconds = []
    for _ in range(setting.repeats):
        start = time.perf_counter()
        run(ids, setting.n)
        seconds.append(time.perf_counter() - start)
    return {"ids_per_second": setting.B * setting.n / min(seconds), "seconds": min(seconds)}


def growth(config: GPTConfig, lengths: list[int], repeats: int = 15) -> dict[str, list[float]]:
    """Seconds of one further id at each length, with the cache and without."""
    torch.manual_seed(0)
    model, found = GPT(config).eval(), {"cache": [], "no cache": []}
    for name, costs in found.items():
        decoder = Decoder(model, cached=name == "cache")
        for length in lengths:
            decoder.start([[1] * length])
            times = []
            for _ in range(repeats):
                start = time.perf_counter()
                decoder.extend(torch.tensor([[1]]))
                times.append(time.perf_counter() - start)
            costs.append(min(times))
    return found


# --- Running and writing -------------------------------------------------------------------------


def compared(name: str, rounds: int, *arguments: str) -> dict[str, dict]:
    """Let the contestants take turns; keep the best round of each."""
    arguments = [name, *arguments]
    return common.best_rounds(MODULE, "ids_per_second", arguments, CONTESTANTS, rounds)


def faster_by(found: dict) -> float:
    """How many times as fast as the faster of the two others we are."""
    others = max(found[who]["ids_per_second"] for who in ("transformers", "llms-from-scratch"))
    return found["ours"]["ids_per_second"] / others


def main() -> None:
    options = common.read_options(__doc__, SETTINGS, CONTESTANTS)
    if options.work:
        setting = QUICK if options.quick else SETTINGS[options.settings[0]]
        print(json.dumps(work(options.work, setting)))
        return
    if options.quick:
        found = compared("1M, 1", QUICK.rounds, "--quick")
        print(f"ours is {faster_by(found):.2f} times as fast as the faster of the others")
        return
    results = common.read_results("generation")
    for name in options.settings:
        print(name, flush=True)
        results[name] = compared(name, SETTINGS[name].rounds) | {"versions": common.versions()}
        common.write_results("generation", results, report(results))
    lengths = [1, *range(16, 241, 32)]
    results["growth"] = {"lengths": lengths} | growth(PRESETS["tale"], lengths)
    common.write_results("generation", results, report(results))


def report(results: dict) -> str:
    """The results as a page of Markdown."""
    lines = ["# Generation (chapter 07)", "", f"`python -m {MODULE}`", ""]
    lines += [
        f"float32 on all cores, random weights of the same shapes, a prompt of {PROMPT} ids "
        "continued greedily with a cache; best of several rounds taken in turns. Of "
        "`llms-from-scratch`, its GPT-2 with a cache, whose mask had to be mended before it ran "
        "(see `mend`).",
        "",
    ]
    for name in (name for name in SETTINGS if name in results):
        lines += report_setting(name, results[name])
    if "growth" in results:
        lines += report_growth(results["growth"])
    return "\n".join(lines)


def report_setting(name: str, found: dict) -> list[str]:
    setting = SETTINGS[name]
    return [
        common.heading(setting.config, f"{setting.B} × {setting.n} ids"),
        "",
        *common.rate_table(
            found, CONTESTANTS, "ids_per_second", "ids/s", "ours, greedy, is faster"
        ),
    ]


def report_growth(found: dict) -> list[str]:
    lines = ["## The cost of one further id, Tale's shape", "", "| ids so far | cache | no cache |"]
    lines.append("|---:|---:|---:|")
    for row in zip(found["lengths"], found["cache"], found["no cache"], strict=True):
        lines.append(f"| {row[0]} | {1000 * row[1]:.2f} ms | {1000 * row[2]:.2f} ms |")
    return [*lines, ""]


if __name__ == "__main__":
    main()
