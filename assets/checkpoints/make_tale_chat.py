"""Train tale-base on to tale-mid and then tale-chat, the course's own chat model, beside this file.

    python assets/checkpoints/make_tale_chat.py             train, or go on where it was stopped
    python assets/checkpoints/make_tale_chat.py --judge     only judge the models that are there

First tasks of the story world as plain texts, for long, in five cycles: this is where most of what
they need is learned. Then twice as many layers, and the same kinds of tasks as conversations, in
two cycles. All are of the training split, in both languages, and mixed with plain stories; the loss
looks at the answers and the plain stories. Muon for the matrices inside the blocks, AdamW for the
rest. The folders `run-first` to `run-chat` hold logs and checkpoints; what later chapters load is
`tale-mid`, `tale-chat`, and `tale-chat.json` among the tokenizers.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from lib.chat import (
    TURN_END,
    TURN_START,
    ChatTemplate,
    Rendered,
    add_special_tokens,
    replies,
)
from lib.checkpoint import load_model, save_model
from lib.course.conversations import (
    ENDS,
    Task,
    complies,
    conversations,
    exchange,
    held_out_tasks,
    instructed,
    transcript,
)
from lib.course.storyworld import World
from lib.data import END
from lib.finetuning import ExampleBatches, collate, extend_vocabulary, plain_example
from lib.generation import Sampler, generate
from lib.model import GPT
from lib.optim import AdamW, Muon, hidden_matrices, parameter_groups, warmup_stable_decay
from lib.tokenizer import Tokenizer, load_tokenizer, save_tokenizer
from lib.training import JsonLog, Lines, evaluate, train

HERE = Path(__file__).resolve().parent
TOKENIZERS = HERE.parent / "tokenizers"
BATCH_SIZE, AT_ONCE = 16, 25


@dataclass(frozen=True)
class Stage:
    """What is trained on what, and for how long; so many stories that no example is read twice.

    start, result: folders of the models, beside this file.
    """

    name: str
    start: str
    result: str
    n_steps: int
    n_stories: int  # of each language
    muon_rate: float
    adamw_rate: float
    seed: int
    n_layer: int = 4  # of the model that is trained


FIRST = Stage("first", "tale-base", "run-first/model", 12_800, 53_600, 0.01, 2e-3, seed=0)
SECOND = Stage("second", "run-first/model", "run-second/model", 12_000, 43_000, 0.02, 2e-3, seed=4)
ENDS_ALONE = Stage("ends", "run-second/model", "run-ends/model", 1_500, 12_200, 0.01, 2e-3, seed=6)
FOURTH = Stage("fourth", "run-ends/model", "run-fourth/model", 4_000, 14_400, 0.02, 2e-3, seed=5)
MID = Stage("mid", "run-fourth/model", "tale-mid", 18_000, 65_000, 0.02, 2e-3, seed=7)
DEEP = Stage("deep", "tale-mid", "run-deep/model", 6_000, 21_500, 0.02, 2e-3, seed=3, n_layer=8)
CHAT = Stage("chat", "run-deep/model", "tale-chat", 3_000, 10_800, 0.02, 2e-3, seed=8, n_layer=8)
STAGES = FIRST, SECOND, ENDS_ALONE, FOURTH, MID, DEEP, CHAT
CHATS = DEEP.name, CHAT.name  # the others read plain texts


def optimizers_for(model, stage: Stage) -> tuple[list, list]:
    """Muon for the hidden matrices and AdamW for the rest, each with its schedule."""
    hidden = hidden_matrices(model)
    rest = parameter_groups(model, 0.0, without=hidden)
    optimizers = [Muon(hidden, lr=stage.muon_rate), AdamW(rest, stage.adamw_rate, (0.9, 0.95))]
    n_steps = stage.n_steps
    shape = {"n_steps": n_steps, "warmup": min(50, n_steps // 4), "decay": 3 * n_steps // 4}
    peaks = (stage.muon_rate, stage.adamw_rate)
    return optimizers, [partial(warmup_stable_decay, peak=peak, **shape) for peak in peaks]


@torch.no_grad()
def deepen(model: GPT, n_layer: int) -> GPT:
    """A copy with twice as many blocks, that gives the same logits; or the model as it is.

    Behind each block stands a copy of it whose output matrices are zero, so that it adds nothing
    until it is trained (Wu et al., 2024).
    """
    old = model.config.n_layer
    if n_layer == old:
        return model
    if n_layer != 2 * old:
        raise ValueError(f"n_layer is {n_layer}; a model of {old} layers grows to {2 * old}")
    deeper = type(model)(replace(model.config, n_layer=n_layer))
    deeper.load_state_dict(model.state_dict(), strict=False)  # all but the blocks stays
    for i, block in enumerate(model.blocks):
        for j in (2 * i, 2 * i + 1):
            deeper.blocks[j].load_state_dict(block.state_dict())
        for part in (deeper.blocks[j].attention.proj, deeper.blocks[j].mlp.proj):
            part.weight.zero_()
            part.bias.zero_()
    return deeper.train(model.training)


def as_plain_text(messages, language: str, tokenizer: Tokenizer) -> Rendered:
    """A conversation as plain text behind the end-of-text id; answers with their line end learned.

    No token of Tale's joins a line end with what follows, so pieces are encoded one by one.
    """
    ids, mask = [tokenizer.special_tokens[END]], [False]
    for text, learned in transcript(messages, language):
        piece = tokenizer.encode(text)
        ids, mask = ids + piece, mask + [learned] * len(piece)
    return Rendered(ids, mask)


def tokenizers() -> dict[str, Tokenizer]:
    """The tokenizer of each stage."""
    plain = load_tokenizer(TOKENIZERS / "tale.json")
    marked = add_special_tokens(plain, [TURN_START, TURN_END])
    return {stage.name: marked if stage.name in CHATS else plain for stage in STAGES}


def examples_in(language: str, stage: Stage, context_length: int) -> list[Rendered]:
    """The tasks of a stage in one language, and an eighth as many plain stories."""
    tokenizer = tokenizers()[stage.name]

    def render(messages) -> Rendered:
        if stage.name not in CHATS:
            return as_plain_text(messages, language, tokenizer)
        return ChatTemplate(tokenizer, begin=END).render(messages)

    def fits(messages) -> bool:
        return len(render(messages).ids) <= context_length + 1

    if stage.name == "ends":
        tasks = (task for _, task in instructed(stage.n_stories, language, stage.seed, (ENDS,)))
        asked = (exchange(task.text, task.answer) for task in tasks)
        return [render(messages) for messages in asked if fits(messages)]
    found = [render(m) for m in conversations(stage.n_stories, language, stage.seed, fits)]
    for text in World().texts(stage.n_stories // 4, language, stage.seed + 100):
        found.append(plain_example(tokenizer.encode(text), tokenizer.special_tokens[END]))
    return found


def training_examples(stage: Stage, context_length: int) -> list[Rendered]:
    """The examples of both languages, kept in the folder of the run for when it goes on."""
    path = HERE / f"run-{stage.name}" / f"examples-{stage.n_stories}.json"
    if not path.exists():
        make = partial(examples_in, stage=stage, context_length=context_length)
        with ProcessPoolExecutor(2) as pool:
            examples = [example for some in pool.map(make, ("en", "zh")) for example in some]
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(examples), encoding="utf-8")
    return [Rendered(*pair) for pair in json.loads(path.read_text(encoding="utf-8"))]


def fine_tune(stage: Stage) -> None:
    """Train one stage, or go on with it, and write its model."""
    folder, tokenizer = HERE / f"run-{stage.name}", tokenizers()[stage.name]
    before = next((one.name for one in STAGES if one.result == stage.start), FIRST.name)
    start = load_model(HERE / stage.start, tokenizers()[before])
    model = deepen(extend_vocabulary(start, tokenizer.vocab_size), stage.n_layer)
    context_length = model.config.context_length
    examples = training_examples(stage, context_length)
    optimizers, schedules = optimizers_for(model, stage)
    records = train(
        model,
        ExampleBatches(examples, BATCH_SIZE, context_length, seed=stage.seed),
        optimizers,
        schedules,
        stage.n_steps,
        folder=folder / "checkpoints",
        save_every=250,
        resume=True,
        tokenizer=tokenizer,
        reporters=[JsonLog(folder / "log.jsonl"), Lines(50)],
    )
    save_model(HERE / stage.result, model, tokenizer)
    print(stage.name, json.dumps(records[-1]) if records else "was trained before")


def plain_loss(model, tokenizer: Tokenizer) -> float:
    """The loss on 200 plain stories that training never held, in nats an id."""
    documents = World().documents(200, seed=1, split="iid")
    examples = [plain_example(tokenizer.encode(text), 0) for text in documents]
    return evaluate(model, [collate(examples[i : i + 25]) for i in range(0, 200, 25)])


def plain_answers(model, tokenizer: Tokenizer, tasks: list[Task]) -> list[str]:
    """What a model says behind each task as plain text, up to the line end."""
    (line_end,) = tokenizer.encode("\n")
    rows = [as_plain_text(task.messages, task.language, tokenizer).ids for task in tasks]
    order, said = sorted(range(len(rows)), key=lambda i: len(rows[i])), [""] * len(rows)
    for at in range(0, len(order), AT_ONCE):
        some = order[at : at + AT_ONCE]
        prompts = [rows[i] for i in some]
        room = model.config.context_length - len(prompts[0])
        for i, ids in zip(
            some, generate(model, prompts, room, Sampler(temperature=0), line_end), strict=True
        ):
            said[i] = tokenizer.decode(ids).split("\n")[0]
    return said


def chat_answers(model, template: ChatTemplate, tasks: list[Task]) -> list[str]:
    """What a model answers to each task as a conversation."""
    return replies(model, template, [task.messages for task in tasks])


def judge(
    answers: Callable, n: int, languages=("en", "zh"), seed: int = 4
) -> dict[str, dict[str, int]]:
    """How many of n held-out tasks of each kind a model's likeliest answers comply with.

    Rates, mixes of data and numbers of steps were compared on the tasks of seeds 3, 5 and 6.
    """
    found = {}
    for language in languages:
        tasks, right = held_out_tasks(n, language, seed), Counter()
        for task, answer in zip(tasks, answers(tasks), strict=True):
            right[task.kind] += complies(task, answer)
        found[language] = dict(right)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--judge", action="store_true", help="only judge the models that are there")
    parser.add_argument("--n", type=int, default=200, help="tasks of each kind and language")
    parser.add_argument("--seed", type=int, default=4, help="which tasks; those of the table: 4")
    arguments = parser.parse_args()
    plain, marked = tokenizers()["mid"], tokenizers()["chat"]
    if not arguments.judge:
        for stage in STAGES:
            fine_tune(stage)
        save_tokenizer(marked, TOKENIZERS / "tale-chat.json")
    for name, tokenizer in (("tale-mid", plain), ("tale-chat", marked)):
        model = load_model(HERE / name, tokenizer)
        if name == "tale-mid":
            answers = partial(plain_answers, model, plain)
        else:
            answers = partial(chat_answers, model, ChatTemplate(marked, begin=END))
        print(name, "loss on plain stories:", round(plain_loss(model, tokenizer), 4))
        found = judge(answers, arguments.n, seed=arguments.seed)
        print(name, f"of {arguments.n}:", json.dumps(found))


if __name__ == "__main__":
    main()
