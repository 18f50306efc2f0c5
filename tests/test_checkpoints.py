"""The committed checkpoints: they load, fit in a clone, and are as good as their cards say."""

import importlib.util
import math
import re
import shutil
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch

from lib.chat import ChatTemplate
from lib.checkpoint import load_model
from lib.course.conversations import KINDS, exchange, held_out_tasks
from lib.course.notebooks import ROOT
from lib.course.storyworld import World, verify
from lib.data import END, DocumentBatches, Shard, encode_documents, write_shard
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


# --- tale-mid and tale-chat ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def template():
    chat = load_tokenizer(ROOT / "assets" / "tokenizers" / "tale-chat.json")
    return ChatTemplate(chat, begin=END)


@pytest.fixture(scope="module")
def models(tokenizer, template):
    return {
        "tale-mid": load_model(FOLDER / "tale-mid", tokenizer),
        "tale-chat": load_model(FOLDER / "tale-chat", template.tokenizer),
    }


BOTH_MODELS = pytest.mark.parametrize("name", ["tale-mid", "tale-chat"])


@pytest.fixture(scope="module")
def script():
    """The command that made both, as a module."""
    spec = importlib.util.spec_from_file_location("make_tale_chat", FOLDER / "make_tale_chat.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


@BOTH_MODELS
def test_a_fine_tuned_tale_takes_at_most_8_megabytes(name):
    assert sum(f.stat().st_size for f in (FOLDER / name).iterdir()) <= 8e6


@BOTH_MODELS
def test_a_fine_tuned_tale_reaches_the_loss_of_its_card(script, tokenizer, models, name):
    card = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    (recorded,) = re.findall(r"loss on plain stories \| ([\d.]+) nats", card)
    loss = script.plain_loss(models[name], tokenizer)
    assert loss == pytest.approx(float(recorded), abs=5e-4)


@BOTH_MODELS
@pytest.mark.parametrize(("language", "column"), [("en", 0), ("zh", 1)])
def test_a_fine_tuned_tale_complies_as_often_as_its_card_says(
    script, tokenizer, template, models, name, language, column
):
    card = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    n = int(re.findall(r"Of (\d+) tasks", card)[0])
    if name == "tale-mid":
        answers = partial(script.plain_answers, models[name], tokenizer)
    else:
        answers = partial(script.chat_answers, models[name], template)
    found = script.judge(answers, n, [language])[language]
    for kind in KINDS:
        counts = re.findall(rf"^\| {kind} \| (\d+) \| (\d+) \|$", card, re.MULTILINE)[0]
        assert abs(found.get(kind, 0) - int(counts[column])) <= 0.02 * n + 1, kind


def test_the_training_of_a_plain_task_looks_at_its_answer(script, tokenizer):
    (task,) = held_out_tasks(1, "en")[:1]
    messages = exchange(task.text, task.answer)
    ids, mask = script.as_plain_text(messages, "en", tokenizer)
    learned = [i for i, m in zip(ids, mask, strict=True) if m]
    assert tokenizer.decode(learned) == task.answer + "\n"
    assert tokenizer.decode(ids[1:]) == f"Task:\n{task.text}\nAnswer:\n{task.answer}\n"


def test_a_deeper_copy_gives_the_same_logits_and_all_of_it_can_learn(script, tokenizer, models):
    model = models["tale-mid"]
    deeper = script.deepen(model, 8)
    assert deeper.config == replace(model.config, n_layer=8)
    ids = torch.tensor([[0, *tokenizer.encode("Once upon a time there was a frog.")]])
    assert torch.equal(model(ids), deeper(ids))
    deeper(ids).logsumexp(-1).sum().backward()
    proj = [p.grad for name, p in deeper.named_parameters() if name.endswith("proj.weight")]
    assert len(proj) == 16 and all(grad.abs().max() > 0 for grad in proj)
    assert script.deepen(model, 4) is model
    with pytest.raises(ValueError, match="4 layers grows to 8"):
        script.deepen(model, 6)


@pytest.mark.parametrize("name", ["first", "ends", "deep", "chat"])
def test_a_stage_of_training_runs_and_goes_on(script, tmp_path, monkeypatch, name):
    stage = next(stage for stage in script.STAGES if stage.name == name)
    stage = replace(stage, n_steps=3, n_stories=8)
    start = "tale-chat" if name == "chat" else "tale-mid"
    shutil.copytree(FOLDER / start, tmp_path / stage.start)
    monkeypatch.setattr(script, "HERE", tmp_path)
    tokenizer = script.tokenizers()[name]
    script.fine_tune(stage)
    model = load_model(tmp_path / stage.result, tokenizer)
    assert model.config.vocab_size == tokenizer.vocab_size
    assert model.config.n_layer == (8 if name in script.CHATS else 4)
    script.fine_tune(stage)  # nothing is left to do, and nothing is lost
    again = load_model(tmp_path / stage.result, tokenizer).state_dict()
    assert all(torch.equal(again[key], value) for key, value in model.state_dict().items())


def test_the_stages_of_training_are_a_chain(script):
    stages = script.STAGES
    assert [stage.start for stage in stages[1:]] == [stage.result for stage in stages[:-1]]
    assert (stages[0].start, stages[-1].result) == ("tale-base", "tale-chat")
