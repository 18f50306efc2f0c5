"""The committed checkpoints: they load, fit in a clone, and are as good as their cards say."""

import math
import re

import pytest
import torch

from lib.chat import ChatTemplate, replies
from lib.checkpoint import load_model
from lib.course.conversations import KINDS, complies, held_out_tasks
from lib.course.notebooks import ROOT
from lib.course.storyworld import World, verify
from lib.data import END, DocumentBatches, Shard, encode_documents, write_shard
from lib.finetuning import collate, plain_example
from lib.generation import Sampler, generate, log_probabilities
from lib.tokenizer import load_tokenizer
from lib.training import evaluate

FOLDER = ROOT / "assets" / "checkpoints"


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(ROOT / "assets" / "tokenizers" / "tale.json")


def test_tale_base_reaches_the_loss_of_its_card(tokenizer, tmp_path):
    card = (FOLDER / "tale-base" / "README.md").read_text(encoding="utf-8")
    (recorded,) = re.findall(r"held-out loss \| ([\d.]+) nats", card)
    documents = World().documents(400, seed=1, split="iid")
    write_shard(tmp_path / "iid.bin", encode_documents(tokenizer, documents), tokenizer)
    batches = DocumentBatches(Shard(tmp_path / "iid.bin", tokenizer), 25, 256)
    model = load_model(FOLDER / "tale-base", tokenizer)
    loss = evaluate(model, [batches.batch(step) for step in range(16)])
    assert loss == pytest.approx(float(recorded), abs=5e-4)


def test_tale_base_takes_at_most_8_megabytes():
    assert sum(f.stat().st_size for f in (FOLDER / "tale-base").iterdir()) <= 8e6


def accepted(model, tokenizer, temperature: float, n: int) -> dict[str, list[bool]]:
    """What the verifier says to n drawn texts, by language."""
    prompts, generator = [[0]] * n, torch.Generator().manual_seed(7)
    rows = generate(model, prompts, 255, Sampler(temperature=temperature), 0, generator)
    found = {"en": [], "zh": []}
    for text in map(tokenizer.decode, rows):
        chinese = sum("\u4e00" <= c <= "\u9fff" for c in text) > len(text) / 3
        language = "zh" if chinese else "en"
        found[language].append(verify(text, language).ok)
    return found


def test_stories_of_tale_base_are_consistent(tokenizer):
    model = load_model(FOLDER / "tale-base", tokenizer)
    found = accepted(model, tokenizer, 0.4, 200)
    assert min(map(len, found.values())) > 50
    assert sum(found["en"]) >= 0.95 * len(found["en"])  # 164 of 166 measured
    assert sum(found["zh"]) >= 0.95 * len(found["zh"])  # 234 of 234 measured


@pytest.mark.parametrize("language", ["en", "zh"])
def test_tale_base_is_near_the_floor(tokenizer, language):
    model = load_model(FOLDER / "tale-base", tokenizer)
    stories = list(World().stories(100, 1, "iid", (language,)))
    nats = 0.0
    for story in stories:
        ids = [0, *tokenizer.encode(story.text[language]), 0]
        nats -= log_probabilities(model, ids).sum().item()
    bits = nats / math.log(2) - sum(story.bits(language) for story in stories)
    assert 0 < bits / sum(len(story.text[language]) for story in stories) <= 0.06


# --- tale-chat -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template():
    chat = load_tokenizer(ROOT / "assets" / "tokenizers" / "tale-chat.json")
    return ChatTemplate(chat, begin=END)


@pytest.fixture(scope="module")
def tale_chat(template):
    return load_model(FOLDER / "tale-chat", template.tokenizer)


def test_tale_chat_takes_at_most_8_megabytes():
    assert sum(f.stat().st_size for f in (FOLDER / "tale-chat").iterdir()) <= 8e6


def test_tale_chat_reaches_the_loss_of_its_card(template, tale_chat):
    card = (FOLDER / "tale-chat" / "README.md").read_text(encoding="utf-8")
    (recorded,) = re.findall(r"loss on plain stories \| ([\d.]+) nats", card)
    texts = World().documents(200, seed=1, split="iid")
    examples = [plain_example(template.tokenizer.encode(text), 0) for text in texts]
    loss = evaluate(tale_chat, [collate(examples[i : i + 25]) for i in range(0, 200, 25)])
    assert loss == pytest.approx(float(recorded), abs=5e-4)


@pytest.mark.parametrize(("language", "column"), [("en", 0), ("zh", 1)])
def test_tale_chat_complies_as_often_as_its_card_says(template, tale_chat, language, column):
    card = (FOLDER / "tale-chat" / "README.md").read_text(encoding="utf-8")
    n = int(re.findall(r"Of (\d+) tasks", card)[0])
    tasks = held_out_tasks(n, language)
    answers = replies(tale_chat, template, [task.messages for task in tasks])
    for kind in KINDS:
        counts = re.findall(rf"^\| {kind} \| (\d+) \| (\d+) \|$", card, re.MULTILINE)[0]
        pairs = zip(tasks, answers, strict=True)
        right = sum(complies(task, answer) for task, answer in pairs if task.kind == kind)
        assert abs(right - int(counts[column])) <= 0.02 * n + 1, kind
