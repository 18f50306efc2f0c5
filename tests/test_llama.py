"""Chapter 10's Llama against transformers' Llama and Qwen3, and what it must satisfy."""

import pytest
import torch

from lib.generation import KVCache, Sampler, generate
from lib.llama import (
    GroupedQueryAttention,
    Llama,
    LlamaConfig,
    RMSNorm,
    SwiGLU,
    rotary_waves,
    rotate,
)

SMALL = LlamaConfig(
    vocab_size=61, context_length=24, n_layer=2, n_head=6, n_kv_head=2, n_embd=48, n_hidden=80
)


def small(seed: int = 0, **changes) -> Llama:
    """A small Llama with weights large enough for every part to matter."""
    torch.manual_seed(seed)
    model = Llama(LlamaConfig(**{**vars(SMALL), **changes}))
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
    return model.eval()


def ids_of(B: int, T: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(61, (B, T), generator=torch.Generator().manual_seed(seed))


# --- Parts ---------------------------------------------------------------------------------------


def test_the_norm_is_that_of_its_formula():
    x, norm = torch.randn(3, 5, 8), RMSNorm(8, eps=1e-3)
    norm.weight.data = torch.randn(8)
    by_hand = x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), by_hand)


def test_a_rotated_product_depends_on_the_distance_alone():
    q, k = torch.randn(2, 1, 16, dtype=torch.float64)

    def product(m, n):
        return (
            rotate(q, rotary_waves(torch.tensor([m]), 16).double())
            * rotate(k, rotary_waves(torch.tensor([n]), 16).double())
        ).sum()

    torch.testing.assert_close(product(9, 4), product(105, 100), atol=1e-4, rtol=0)
    assert (product(9, 4) - product(9, 5)).abs() > 1e-2


def test_rotation_keeps_lengths_and_position_zero():
    x = torch.randn(2, 3, 7, 16)
    turned = rotate(x, rotary_waves(torch.arange(7), 16))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])


def test_grouped_heads_equal_full_heads_whose_keys_are_repeated():
    grouped = small().blocks[0].attention
    full = GroupedQueryAttention(LlamaConfig(**{**vars(SMALL), "n_kv_head": 6}))
    full.load_state_dict(
        grouped.state_dict()
        | {
            f"{part}.weight": getattr(grouped, part)
            .weight.unflatten(0, (2, 8))
            .repeat_interleave(3, 0)
            .flatten(0, 1)
            for part in "kv"
        }
    )
    x, waves = torch.randn(2, 5, 48), rotary_waves(torch.arange(5), 8)
    torch.testing.assert_close(grouped(x, waves), full(x, waves))


def test_the_gated_mlp_is_that_of_its_formula():
    mlp, x = SwiGLU(6, 10), torch.randn(2, 3, 6)
    gate = x @ mlp.gate.weight.T
    by_hand = (gate * gate.sigmoid() * (x @ mlp.up.weight.T)) @ mlp.down.weight.T
    torch.testing.assert_close(mlp(x), by_hand)


# --- The whole model -----------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"qk_norm": True, "head_dim": 12}])
def test_future_tokens_cannot_change_the_past(changes):
    model, ids = small(**changes), ids_of(2, 10)
    before = model(ids)
    ids[:, 6] = (ids[:, 6] + 1) % 61
    torch.testing.assert_close(model(ids)[:, :6], before[:, :6])
    assert not torch.allclose(model(ids)[:, 6:], before[:, 6:])


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(side):
    model, ids = small(), ids_of(1, 7)
    pad = torch.full((1, 4), 5)
    parts = [pad, ids] if side == "left" else [ids, pad]
    mask = torch.cat([p == p if p is ids else p != p for p in parts], dim=1)
    real = slice(4, 11) if side == "left" else slice(0, 7)
    padded = model(torch.cat(parts, dim=1), mask)[:, real]
    torch.testing.assert_close(padded, model(ids), atol=1e-5, rtol=1e-5)


def test_a_cache_changes_nothing():
    model, ids = small(), ids_of(2, 12)
    caches = [KVCache(24) for _ in range(2)]
    parts = [model(part, caches=caches) for part in ids.split([5, 1, 4, 2], dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(ids), atol=1e-5, rtol=1e-5)
    assert caches[0].keys.shape[1] == SMALL.n_kv_head


def test_generation_of_chapter_07_works_with_and_without_cache_beyond_the_context():
    model, prompts = small(), [[3, 4, 5], [9]]
    greedy = Sampler(temperature=0)
    with_cache = generate(model, prompts, 40, greedy)
    without = generate(model, prompts, 40, greedy, cached=False)
    assert with_cache == without and len(with_cache[0]) >= 40


def test_every_parameter_gets_a_gradient():
    model = small(tied=False, qk_norm=True)
    model(ids_of(2, 8)).logsumexp(-1).sum().backward()
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in model.parameters())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_kv_head": 4}, "multiple of n_kv_head"),
        ({"head_dim": 7}, "even number"),
        ({"n_layer": 0}, "n_layer is 0"),
        ({"n_head": 0}, "n_head is 0"),
        ({"rope_base": 0.0}, "rope_base"),
        ({"norm_eps": -1.0}, "norm_eps"),
    ],
)
def test_impossible_shapes_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        LlamaConfig(**{**vars(SMALL), **changes})


def test_ids_and_lengths_are_refused_as_by_a_gpt():
    with pytest.raises(ValueError, match="use the tokenizer of this model"):
        small()(torch.tensor([[61]]))
    with pytest.raises(ValueError, match="context_length is 24"):
        small()(ids_of(1, 25))
