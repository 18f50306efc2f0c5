"""Fine-tune tale-base to tale-chat, the course's own chat model, and write it beside this file.

    python assets/checkpoints/make_tale_chat.py             train, or go on where it was stopped
    python assets/checkpoints/make_tale_chat.py --judge     only judge the model that is there

Conversations of the story world's training split in both languages, mixed with plain stories; Muon
for the matrices inside the blocks, AdamW for the rest. The folder `run-chat` beside it holds the
log and the checkpoints; what later chapters load is `tale-chat`, and `tale-chat.json` among the
tokenizers.
"""

import argparse
import json
from collections import Counter
from functools import partial
from pathlib import Path

from lib.chat import (
    TURN_END,
    TURN_START,
    ChatTemplate,
    Rendered,
    add_special_tokens,
    replies,
)
from lib.checkpoint import load_model, save_model
from lib.course.conversations import complies, conversations, held_out_tasks
from lib.course.storyworld import World
from lib.data import END
from lib.finetuning import ExampleBatches, collate, extend_vocabulary, plain_example
from lib.optim import AdamW, Muon, hidden_matrices, parameter_groups, warmup_stable_decay
from lib.tokenizer import load_tokenizer, save_tokenizer
from lib.training import JsonLog, Lines, evaluate, train

HERE = Path(__file__).resolve().parent
RUN, BASE, CHAT = HERE / "run-chat", HERE / "tale-base", HERE / "tale-chat"
TOKENIZERS = HERE.parent / "tokenizers"
N_STEPS, N_STORIES, BATCH_SIZE, SEED = 12_000, 27_500, 16, 0
ADAMW_RATE, MUON_RATE = 2e-3, 0.01


def optimizers_for(model, n_steps: int) -> tuple[list, list]:
    """Muon for the hidden matrices and AdamW for the rest, each with its schedule."""
    hidden = hidden_matrices(model)
    rest = parameter_groups(model, 0.0, without=hidden)
    optimizers = [Muon(hidden, lr=MUON_RATE), AdamW(rest, lr=ADAMW_RATE, betas=(0.9, 0.95))]
    shape = {"n_steps": n_steps, "warmup": 50, "decay": 3 * n_steps // 4}
    return optimizers, [
        partial(warmup_stable_decay, peak=peak, **shape) for peak in (MUON_RATE, ADAMW_RATE)
    ]


def training_examples(template: ChatTemplate, n_stories: int, context_length: int) -> list:
    """Conversations about n_stories of each language, and half as many plain stories.

    They are kept in the folder of the run, for when it goes on.
    """
    path = RUN / f"examples-{n_stories}.json"
    if path.exists():
        return [Rendered(*pair) for pair in json.loads(path.read_text(encoding="utf-8"))]

    def fits(messages) -> bool:
        return len(template.render(messages).ids) <= context_length + 1

    examples = []
    for language in ("en", "zh"):
        found = conversations(n_stories, language, SEED, fits)
        examples += [template.render(messages) for messages in found]
        (begin_id,) = template.special(template.begin)
        for text in World().texts(n_stories // 2, language, SEED + 100):
            examples.append(plain_example(template.tokenizer.encode(text), begin_id))
    path.write_text(json.dumps(examples), encoding="utf-8")
    return examples


def plain_loss(model, tokenizer) -> float:
    """The loss on 200 plain stories that training never held, in nats an id."""
    documents = World().documents(200, seed=1, split="iid")
    examples = [plain_example(tokenizer.encode(text), 0) for text in documents]
    return evaluate(model, [collate(examples[i : i + 25]) for i in range(0, 200, 25)])


def judge(model, template: ChatTemplate, n: int) -> dict[str, dict[str, int]]:
    """How many of n held-out tasks of each kind the model's likeliest answers comply with."""
    found = {}
    for language in ("en", "zh"):
        tasks = held_out_tasks(n, language)
        answers = replies(model, template, [task.messages for task in tasks])
        right = Counter()
        for task, answer in zip(tasks, answers, strict=True):
            right[task.kind] += complies(task, answer)
        found[language] = dict(right)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=N_STEPS)
    parser.add_argument("--stories", type=int, default=N_STORIES, help="of each language")
    parser.add_argument("--judge", action="store_true", help="only judge the model that is there")
    parser.add_argument("--n", type=int, default=50, help="tasks of each kind and language")
    arguments = parser.parse_args()
    plain = load_tokenizer(TOKENIZERS / "tale.json")
    tokenizer = add_special_tokens(plain, [TURN_START, TURN_END])
    template = ChatTemplate(tokenizer, begin=END)
    if not arguments.judge:
        RUN.mkdir(exist_ok=True)
        model = extend_vocabulary(load_model(BASE, plain), tokenizer.vocab_size)
        context_length = model.config.context_length
        examples = training_examples(template, arguments.stories, context_length)
        optimizers, schedules = optimizers_for(model, arguments.steps)
        records = train(
            model,
            ExampleBatches(examples, BATCH_SIZE, context_length, seed=SEED),
            optimizers,
            schedules,
            arguments.steps,
            folder=RUN / "checkpoints",
            save_every=250,
            resume=True,
            tokenizer=tokenizer,
            reporters=[JsonLog(RUN / "log.jsonl"), Lines(50)],
        )
        save_tokenizer(tokenizer, TOKENIZERS / "tale-chat.json")
        save_model(CHAT, model, tokenizer)
        print(json.dumps(records[-1]))
    model = load_model(CHAT, tokenizer)
    print("loss on plain stories:", round(plain_loss(model, tokenizer), 4))
    print(f"of {arguments.n}:", json.dumps(judge(model, template, arguments.n)))


if __name__ == "__main__":
    main()
