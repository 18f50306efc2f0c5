"""Train tale-base, the course's own base model, and write it beside this file.

    python assets/checkpoints/make_tale_base.py     train, or go on where it was stopped

Stories of the world's training split in English and Chinese, each row a whole one; Muon for the
matrices inside the blocks, AdamW for the rest. The folder `run` beside it holds the shard, the log
and the checkpoints; what later chapters load is `tale-base`.
"""

import argparse
import json
import math
from functools import partial
from pathlib import Path

import torch

from lib.checkpoint import save_model
from lib.course.storyworld import World, verify
from lib.data import DocumentBatches, Shard, encode_documents, sinusoidal_positions, write_shard
from lib.generation import Sampler, generate
from lib.model import GPT, preset
from lib.optim import AdamW, Muon, hidden_matrices, parameter_groups, warmup_stable_decay
from lib.tokenizer import load_tokenizer
from lib.training import JsonLog, Lines, train

HERE = Path(__file__).resolve().parent
RUN, TALE = HERE / "run", HERE / "tale-base"
N_STEPS, BATCH_SIZE, SEED = 10_000, 16, 0
ADAMW_RATE, MUON_RATE, WEIGHT_DECAY = 1e-3, 0.02, 0.05


@torch.no_grad()
def new_tale(seed: int = SEED) -> GPT:
    """A Tale before training: large embeddings, sinusoids as positions, blocks that do nothing.

    The embeddings are five times as large as GPT-2's, as small ones grow slowly at a rate as low
    as ADAMW_RATE. (At the higher rate of chapter 06 their size matters less.)
    """
    torch.manual_seed(seed)
    model = GPT(preset("tale"))
    model.token_embedding.weight.mul_(5)  # standard deviation 0.1
    waves = sinusoidal_positions(model.config.context_length, model.config.n_embd)
    model.position_embedding.weight.copy_(0.02 * math.sqrt(2) * waves)  # standard deviation 0.02
    for block in model.blocks:
        block.attention.proj.weight.zero_()
        block.mlp.proj.weight.zero_()
    return model


def optimizers_for(model: GPT, n_steps: int) -> tuple[list, list]:
    """Muon for the hidden matrices and AdamW for the rest, each with its schedule."""
    hidden = hidden_matrices(model)
    rest = parameter_groups(model, 0.0, without=hidden)
    optimizers = [
        Muon(hidden, lr=MUON_RATE, weight_decay=WEIGHT_DECAY),
        AdamW(rest, lr=ADAMW_RATE, betas=(0.9, 0.95)),
    ]
    shape = {"n_steps": n_steps, "warmup": 50, "decay": 3 * n_steps // 4}
    return optimizers, [
        partial(warmup_stable_decay, peak=peak, **shape) for peak in (MUON_RATE, ADAMW_RATE)
    ]


def stories_shard(path: Path, tokenizer, n_documents: int, seed: int = 0, split="train") -> Shard:
    """A shard of stories, English and Chinese in turn; written if it is not there yet."""
    if not path.exists():
        documents = World().documents(n_documents, seed, split)
        write_shard(path, encode_documents(tokenizer, documents), tokenizer)
    return Shard(path, tokenizer)


def accepted(model: GPT, tokenizer, temperature: float, n: int = 400) -> dict[str, tuple[int, int]]:
    """How many of n drawn texts the verifier accepts, by language: (accepted, drawn)."""
    prompts, generator = [[0]] * n, torch.Generator().manual_seed(SEED)
    length, sampler = model.config.context_length - 1, Sampler(temperature=temperature)
    found = {"en": [], "zh": []}
    for row in generate(model, prompts, length, sampler, 0, generator):
        text = tokenizer.decode(row)
        chinese = sum("一" <= c <= "鿿" for c in text) > len(text) / 3
        language = "zh" if chinese else "en"
        found[language].append(verify(text, language).ok)
    return {language: (sum(ok), len(ok)) for language, ok in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=N_STEPS)
    arguments = parser.parse_args()
    tokenizer = load_tokenizer(HERE.parent / "tokenizers" / "tale.json")
    RUN.mkdir(exist_ok=True)
    shard = stories_shard(RUN / "train.bin", tokenizer, arguments.steps * BATCH_SIZE)
    held_out = stories_shard(RUN / "iid.bin", tokenizer, 400, seed=1, split="iid")
    context = preset("tale").context_length
    validation = DocumentBatches(held_out, 25, context)
    model = new_tale()
    optimizers, schedules = optimizers_for(model, arguments.steps)
    records = train(
        model,
        DocumentBatches(shard, BATCH_SIZE, context, seed=SEED),
        optimizers,
        schedules,
        arguments.steps,
        validation=[validation.batch(step) for step in range(16)],
        evaluate_every=250,
        folder=RUN / "checkpoints",
        save_every=250,
        resume=True,
        tokenizer=tokenizer,
        reporters=[JsonLog(RUN / "log.jsonl"), Lines(250)],
    )
    save_model(TALE, model, tokenizer)
    print(json.dumps(records[-1]))
    for temperature in (0.4, 0.6, 0.8, 1.0):
        print(f"temperature {temperature}:", accepted(model.eval(), tokenizer, temperature))


if __name__ == "__main__":
    main()
