"""The speedrun's models against transformers, what each row must satisfy, and the results."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from benchmarks.speedrun import run as speedrun
from benchmarks.speedrun.model import HASHED, SpeedGPT, ngram_rows, rotary_table, rotate
from benchmarks.speedrun.recipe import Recipe, ladder, longer, tried
from lib.course.notebooks import ROOT

ROWS = {row.name: row for row in [*ladder(), *tried()]}
VOCABULARY = 65
FOUND = json.loads((ROOT / "benchmarks" / "results" / "speedrun.json").read_text(encoding="utf-8"))


def make(recipe, seed=0):
    """A model in which no part is zero, so that each has an effect."""
    torch.manual_seed(seed)
    model = SpeedGPT(recipe, VOCABULARY).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.1 * torch.randn_like(weights))
    return model


def some_ids(B=2, T=64, seed=1):
    return torch.randint(VOCABULARY, (B, T), generator=torch.Generator().manual_seed(seed))


# --- The baseline is nanoGPT's -------------------------------------------------------------------


def test_the_baseline_is_the_public_recipe():
    recipe = Recipe()
    assert (recipe.n_layer, recipe.n_head, recipe.n_embd, recipe.context_length) == (4, 4, 128, 64)
    assert (recipe.batch_size, recipe.steps, recipe.lr, recipe.betas) == (
        12,
        2000,
        1e-3,
        (0.9, 0.99),
    )
    assert (recipe.weight_decay, recipe.max_norm, recipe.schedule) == (0.1, 1.0, "cosine")
    assert [round(2000 * speedrun.rate(step, recipe)) for step in (0, 100, 1999)] == [20, 2000, 200]
    parameters = sum(w.numel() for w in SpeedGPT(recipe, VOCABULARY).parameters())
    assert parameters - 64 * 128 == pytest.approx(0.8e6, rel=0.01)  # nanoGPT: "0.80M"


def test_the_baseline_computes_what_transformers_gpt2_without_biases_computes():
    transformers = pytest.importorskip("transformers", reason="the oracle extra is not installed")
    shape = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=64,
        n_layer=4,
        n_head=4,
        n_embd=128,
        activation_function="gelu",
        bos_token_id=0,
        eos_token_id=0,
    )
    theirs, ours = transformers.GPT2LMHeadModel(shape).eval(), make(Recipe())
    weights = {name: torch.zeros_like(w) for name, w in theirs.state_dict().items()}
    names = {"attention.qkv": "attn.c_attn", "attention.proj": "attn.c_proj"}
    names |= {"mlp.fc": "mlp.c_fc", "mlp.proj": "mlp.c_proj", "norm1": "ln_1", "norm2": "ln_2"}
    for i, block in enumerate(ours.blocks):
        for name, w in block.named_parameters():
            part = names[name.removesuffix(".weight")]
            weights[f"transformer.h.{i}.{part}.weight"] = w.T if "norm" not in name else w
    weights["transformer.wte.weight"] = weights["lm_head.weight"] = ours.token_embedding.weight
    weights["transformer.wpe.weight"] = ours.position_embedding.weight
    weights["transformer.ln_f.weight"] = ours.norm.weight
    theirs.load_state_dict(weights)
    ids = some_ids()
    with torch.no_grad():
        expected = theirs(ids).logits
        assert (ours(ids) - expected).abs().max() <= 1e-5 * expected.std()


def test_rotary_positions_are_those_of_transformers_llama():
    llama = pytest.importorskip(
        "transformers.models.llama.modeling_llama", reason="the oracle extra is not installed"
    )
    q = torch.randn(2, 4, 64, 32, generator=torch.Generator().manual_seed(0))
    cos, sin = rotary_table(64, 32)
    theirs, _ = llama.apply_rotary_pos_emb(
        q, q, torch.cat([cos, cos], -1)[None], torch.cat([sin, sin], -1)[None]
    )
    torch.testing.assert_close(rotate(q, cos, sin), theirs, atol=1e-6, rtol=0)


# --- What every row must satisfy -----------------------------------------------------------------


def test_each_row_of_the_ladder_changes_one_setting_of_the_row_before():
    for before, row in zip(ladder(), ladder()[1:], strict=False):
        changed = {k for k, v in vars(row.recipe).items() if v != vars(before.recipe)[k]}
        assert len(changed - {"steps"}) == 1, row.name
        assert row.recipe.steps <= before.recipe.steps, row.name
        assert row.compared_with == before.name


@pytest.mark.parametrize("name", ROWS)
def test_no_row_looks_into_the_future(name):
    model, ids = make(ROWS[name].recipe), some_ids()
    with torch.no_grad():
        before = model(ids)
        ids[:, 40] = (ids[:, 40] + 1) % VOCABULARY
        after = model(ids)
    torch.testing.assert_close(before[:, :40], after[:, :40], atol=1e-5, rtol=1e-4)
    assert (before[:, 40] - after[:, 40]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ROWS)
def test_every_row_lowers_its_loss_on_a_repetitive_text(name):
    ids = torch.arange(20_000) % 7
    recipe = replace(ROWS[name].recipe, steps=8, batch_size=4)
    model, seconds = speedrun.train(recipe, (ids, ids, VOCABULARY), seed=0)
    loss = speedrun.held_out_loss(model, ids, recipe.context_length, n=8)
    assert seconds > 0
    assert loss < 0.9 * math.log(VOCABULARY)


def test_a_run_depends_on_its_seed_alone():
    ids = torch.randint(VOCABULARY, (5_000,), generator=torch.Generator().manual_seed(0))
    recipe = replace(ladder()[-1].recipe, steps=3)
    losses = [
        speedrun.held_out_loss(speedrun.train(recipe, (ids, ids, 65), seed)[0], ids, 64, n=4)
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_pairs_have_rows_of_their_own_and_longer_ngrams_look_exactly_n_back():
    ids = some_ids(B=8)
    pairs = ngram_rows(ids, 2, VOCABULARY)
    assert len(pairs.unique()) == len(
        {(a, b) for row in ids.tolist() for a, b in zip([VOCABULARY, *row], row, strict=False)}
    )
    for n in (3, 4, 5):
        rows = ngram_rows(ids, n, VOCABULARY)
        assert 0 <= rows.min() <= rows.max() < HASHED
        other = ids.clone()
        other[:, 10] = (other[:, 10] + 1) % VOCABULARY
        moved = (ngram_rows(other, n, VOCABULARY) != rows).any(0).nonzero().flatten()
        assert moved.tolist() == list(range(10, 10 + n))


def test_zero_initialised_blocks_begin_as_the_identity():
    model = SpeedGPT(ROWS["zero init"].recipe, VOCABULARY)
    x = torch.randn(1, 8, 128)
    assert torch.equal(model.blocks[0](x, (model.cos[:8], model.sin[:8])), x)


def test_the_held_out_loss_of_a_model_without_knowledge_is_that_of_guessing():
    model = SpeedGPT(ROWS["untied"].recipe, VOCABULARY)  # its head begins at zero
    ids = torch.randint(VOCABULARY, (5_000,))
    assert speedrun.held_out_loss(model, ids, 64, n=4) == pytest.approx(math.log(VOCABULARY))


def test_the_loss_of_a_whole_file_is_the_mean_over_its_windows():
    model, ids = make(Recipe()), torch.randint(VOCABULARY, (64 * 5 + 1,))
    with torch.no_grad():
        whole = F.cross_entropy(
            model(ids[:-1].view(5, 64)).flatten(0, 1), ids[1:].view(5, 64).flatten()
        )
    assert speedrun.held_out_loss(model, ids, 64, n=5) == pytest.approx(whole.item(), rel=1e-5)


# --- What was measured ---------------------------------------------------------------------------


def test_every_row_was_measured_with_three_seeds_and_the_ladder_reaches_the_target():
    for row in [*ladder(), *tried(), *longer()]:
        runs = FOUND["runs"][row.name]
        assert sorted(run["seed"] for run in runs) == [0, 1, 2], row.name
    for row in ladder():
        assert speedrun.mean(FOUND, row.name, "loss") <= speedrun.target(FOUND) + 1e-9, row.name
    last = ladder()[-1].name
    assert speedrun.reached(FOUND, last) == 3


def test_the_last_row_takes_at_most_a_quarter_of_the_baselines_time():
    slowest = max(run["seconds"] for run in FOUND["runs"][ladder()[-1].name])
    fastest = min(run["seconds"] for run in FOUND["runs"]["baseline"])
    assert slowest <= fastest / 4


def test_the_table_of_the_readme_is_what_was_measured():
    assert speedrun.report(FOUND) in speedrun.README.read_text(encoding="utf-8")


def test_the_readme_of_the_course_quotes_the_times():
    names = ("baseline", ladder()[-1].name)
    baseline, last = (speedrun.mean(FOUND, name, "seconds") for name in names)
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"after {baseline:.0f} seconds of training is reached in {last:.1f}" in text
