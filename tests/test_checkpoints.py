"""The committed checkpoints: they load, fit in a clone, and are as good as their cards say."""

import re

import pytest

from lib.checkpoint import load_model
from lib.course.notebooks import ROOT
from lib.course.storyworld import World
from lib.data import DocumentBatches, Shard, encode_documents, write_shard
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
