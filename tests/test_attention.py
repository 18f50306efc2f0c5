"""Attention against PyTorch's own, its properties, and what it says to wrong input."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.attention import (
    MultiHeadAttention,
    attention,
    attention_weights,
    causal_mask,
)

hypothesis = pytest.importorskip("hypothesis", reason="install the dev extra")
given, settings = hypothesis.given, hypothesis.settings
st = hypothesis.strategies

CLOSE = {"atol": 1e-6, "rtol": 0.0}
SHAPES = [(1, 1, 4, 1), (2, 5, 12, 3), (3, 17, 32, 4), (2, 64, 48, 6)]  # B, T, C, n_head


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_mask(*shape, seed=0, share=0.5):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def module(n_embd=24, n_head=3, seed=0, **options):
    """A module in evaluation mode with weights large enough for sharp attention."""
    built = MultiHeadAttention(n_embd, n_head, **options).eval()
    with torch.no_grad():
        for i, parameter in enumerate(built.parameters()):
            parameter.copy_(0.3 * random(*parameter.shape, seed=seed + i))
    return built


class MockCache:
    """Keys and values of all calls so far: what chapter 07 will write with more care."""

    def __init__(self):
        self.k = self.v = None

    def update(self, k, v):
        self.k = k if self.k is None else torch.cat([self.k, k], dim=2)
        self.v = v if self.v is None else torch.cat([self.v, v], dim=2)
        return self.k, self.v


# --- The causal mask -----------------------------------------------------------------------------


@given(T_query=st.integers(0, 12), before=st.integers(0, 12))
def test_the_causal_mask_lets_the_last_queries_see_their_past_and_themselves(T_query, before):
    mask = causal_mask(T_query, before + T_query)
    assert mask.dtype == torch.bool
    for i in range(T_query):
        assert mask[i].tolist() == [j <= before + i for j in range(before + T_query)]


def test_fewer_keys_than_queries_are_refused():
    with pytest.raises(ValueError, match=r"4 queries but only 3 keys.*pass T_key ="):
        causal_mask(4, 3)


# --- The functions, against the fused kernel -----------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(
    B=st.integers(1, 3),
    n_head=st.integers(1, 3),
    T_query=st.integers(1, 9),
    T_key=st.integers(1, 9),
    head_dim=st.integers(1, 9),
    masked=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_attention_and_its_gradients_equal_the_fused_kernel(
    B, n_head, T_query, T_key, head_dim, masked, seed
):
    q = random(B, n_head, T_query, head_dim, seed=seed).requires_grad_()
    k = random(B, n_head, T_key, head_dim, seed=seed + 1).requires_grad_()
    v = random(B, n_head, T_key, head_dim, seed=seed + 2).requires_grad_()
    mask = random_mask(B, 1, T_query, T_key, seed=seed) if masked else None
    ours, fused = attention(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, mask)
    torch.testing.assert_close(ours, fused, **CLOSE)
    upstream = random(*ours.shape, seed=seed + 3)
    for a, b in zip(
        torch.autograd.grad(ours, (q, k, v), upstream),
        torch.autograd.grad(fused, (q, k, v), upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0.0)


def test_the_values_may_have_another_width_than_the_keys():
    q, k, v = random(2, 5, 8), random(2, 7, 8, seed=1), random(2, 7, 3, seed=2)
    expected = F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(attention(q, k, v), expected, **CLOSE)


@given(T=st.integers(1, 12), scale=st.sampled_from([0.01, 1.0, 100.0]), seed=st.integers(0, 9999))
def test_rows_sum_to_one_and_nothing_is_taken_from_what_is_hidden(T, scale, seed):
    q, k = scale * random(T, 4, seed=seed), scale * random(T, 4, seed=seed + 1)
    mask = random_mask(T, T, seed=seed) | torch.eye(T, dtype=torch.bool)
    weights = attention_weights(q, k, mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(T))
    assert (weights >= 0).all()
    assert (weights[~mask] == 0).all()


def test_a_query_that_may_look_at_nothing_gets_zeros_and_finite_gradients():
    q, k, v = (random(4, 3, seed=seed).requires_grad_() for seed in range(3))
    mask = torch.tensor([[False] * 4, [True] * 4, [False, True, False, False], [False] * 4])
    result = attention(q, k, v, mask)
    assert (result[[0, 3]] == 0).all() and (result[[1, 2]] != 0).all()
    for gradient in torch.autograd.grad(result.square().sum(), (q, k, v)):
        assert gradient.isfinite().all()
    with torch.no_grad():
        torch.testing.assert_close(result, F.scaled_dot_product_attention(q, k, v, mask), **CLOSE)


def test_huge_scores_do_not_overflow():
    q = torch.tensor([[1e19, 0.0]])
    k = torch.tensor([[1e19, 0.0], [0.0, 1.0]])
    assert attention_weights(q, k).tolist() == [[1.0, 0.0]]


def test_gradcheck_of_attention_in_float64():
    q, k, v = (random(2, 3, 4, seed=s, dtype=torch.float64).requires_grad_() for s in range(3))
    assert torch.autograd.gradcheck(attention, (q, k, v))
    hides_all = torch.tensor([[True, False, False], [False] * 3, [True] * 3])
    assert torch.autograd.gradcheck(lambda *qkv: attention(*qkv, hides_all), (q, k, v))


@pytest.mark.parametrize(
    "mask", [torch.ones(3, 3), torch.ones(3, 3, dtype=torch.long), np.ones((3, 3), bool), [[True]]]
)
def test_attention_refuses_a_mask_that_is_not_boolean(mask):
    with pytest.raises(ValueError, match="pass a boolean tensor, True = may look"):
        attention(random(3, 2), random(3, 2), random(3, 2), mask)


# --- The module, against nn.MultiheadAttention ---------------------------------------------------


def torch_twin(ours):
    """PyTorch's module with the same weights."""
    twin = nn.MultiheadAttention(
        ours.n_embd, ours.n_head, bias=ours.qkv.bias is not None, batch_first=True
    ).eval()
    with torch.no_grad():
        twin.in_proj_weight.copy_(ours.qkv.weight)
        twin.out_proj.weight.copy_(ours.proj.weight)
        if ours.qkv.bias is not None:
            twin.in_proj_bias.copy_(ours.qkv.bias)
            twin.out_proj.bias.copy_(ours.proj.bias)
    return twin


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("B, T, C, n_head", SHAPES)
def test_output_and_gradients_equal_those_of_torch(B, T, C, n_head, causal, bias):
    ours = module(C, n_head, causal=causal, bias=bias)
    twin = torch_twin(ours)
    x = random(B, T, C, seed=50)
    upstream = random(B, T, C, seed=51) / (B * T * C) ** 0.5
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    hidden = ~causal_mask(T) if causal else None  # torch's mask says what is hidden
    outputs = [
        ours(inputs[0]),
        twin(inputs[1], inputs[1], inputs[1], attn_mask=hidden, need_weights=False)[0],
    ]
    torch.testing.assert_close(outputs[0], outputs[1], **CLOSE)
    for output in outputs:
        output.backward(upstream)
    pairs = [(inputs[0].grad, inputs[1].grad), (ours.qkv.weight.grad, twin.in_proj_weight.grad)]
    pairs += [(ours.proj.weight.grad, twin.out_proj.weight.grad)]
    if bias:
        pairs += [(ours.qkv.bias.grad, twin.in_proj_bias.grad)]
        pairs += [(ours.proj.bias.grad, twin.out_proj.bias.grad)]
    for a, b in pairs:
        torch.testing.assert_close(a, b, **CLOSE)


def test_padding_means_the_same_as_in_torch():
    ours = module()
    x, real = random(3, 8, 24), torch.arange(8) < torch.tensor([[8], [5], [1]])
    twin_out, _ = torch_twin(ours)(
        x, x, x, attn_mask=~causal_mask(8), key_padding_mask=~real, need_weights=False
    )
    torch.testing.assert_close(ours(x, real[:, None, None, :]), twin_out, **CLOSE)


def test_gradcheck_of_the_module_in_float64():
    ours = module(6, 2).double()
    x = random(2, 4, 6, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(ours, (x,))
    padding = torch.tensor([[True, True, False, False], [False, True, True, True]])
    assert torch.autograd.gradcheck(lambda x: ours(x, padding[:, None, None, :]), (x,))


def test_the_module_computes_what_the_functions_say():
    ours, x = module(), random(2, 7, 24, seed=9)
    q, k, v = ours.heads(x)
    by_functions = attention(q, k, v, causal_mask(7)).transpose(1, 2).reshape(2, 7, 24)
    torch.testing.assert_close(ours(x), ours.proj(by_functions), **CLOSE)


def test_queries_keys_and_values_lie_in_the_order_of_gpt2():
    ours, x = module(4, 2), random(1, 3, 4)
    fused = F.linear(x, ours.qkv.weight, ours.qkv.bias)  # (1, 3, 12)
    for i, part in enumerate(ours.heads(x)):
        torch.testing.assert_close(part[0, 1], fused[0, :, 4 * i + 2 : 4 * i + 4], **CLOSE)


def test_parameters_have_the_expected_names_and_shapes():
    shapes = {name: tuple(p.shape) for name, p in MultiHeadAttention(8, 2).named_parameters()}
    assert shapes == {
        "qkv.weight": (24, 8),
        "qkv.bias": (24,),
        "proj.weight": (8, 8),
        "proj.bias": (8,),
    }
    assert [n for n, _ in MultiHeadAttention(8, 2, bias=False).named_parameters()] == [
        "qkv.weight",
        "proj.weight",
    ]


# --- Properties ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(T=st.integers(2, 16), seed=st.integers(0, 9999), data=st.data())
def test_the_future_cannot_change_the_past(T, seed, data):
    cut = data.draw(st.integers(1, T - 1))
    ours, x = module(), random(2, T, 24, seed=seed)
    other = x.clone()
    other[:, cut:] = 100 * random(2, T - cut, 24, seed=seed + 1)
    before, after = ours(x), ours(other)
    assert torch.equal(before[:, :cut], after[:, :cut])
    assert not torch.equal(before[:, cut:], after[:, cut:])


def test_no_gradient_flows_from_the_past_to_the_future():
    x = random(1, 6, 24).requires_grad_()
    [gradient] = torch.autograd.grad(module()(x)[0, 2].sum(), x)
    assert (gradient[0, 3:] == 0).all() and (gradient[0, :3] != 0).all()


def test_without_the_causal_mask_the_future_does_change_the_past():
    ours, x = module(causal=False), random(1, 6, 24)
    other = x.clone()
    other[:, 5] += 1
    assert not torch.allclose(ours(x)[:, :5], ours(other)[:, :5])


@settings(deadline=None, max_examples=25)
@given(order=st.permutations(range(7)), seed=st.integers(0, 9999))
def test_without_a_mask_attention_does_not_know_the_order(order, seed):
    ours, x = module(causal=False).double(), random(2, 7, 24, seed=seed, dtype=torch.float64)
    torch.testing.assert_close(ours(x[:, order]), ours(x)[:, order])


@pytest.mark.parametrize("causal", [True, False])
def test_padding_on_the_right_changes_nothing(causal):
    ours, x = module(causal=causal).double(), random(1, 5, 24, dtype=torch.float64)
    padded = torch.cat([x, torch.full((1, 3, 24), 100.0, dtype=torch.float64)], dim=1)
    real = torch.arange(8) < 5
    torch.testing.assert_close(ours(padded, real[None, None, None, :])[:, :5], ours(x))


@pytest.mark.parametrize("causal", [True, False])
def test_padding_on_the_left_changes_nothing_and_yields_no_nan(causal):
    ours, x = module(causal=causal).double(), random(1, 5, 24, dtype=torch.float64)
    padding = torch.full((1, 3, 24), 100.0, dtype=torch.float64)
    padded = torch.cat([padding, x], dim=1).requires_grad_()
    real = torch.arange(8) >= 3
    output = ours(padded, real[None, None, None, :])
    torch.testing.assert_close(output[:, 3:], ours(x))
    assert output.isfinite().all()
    [gradient] = torch.autograd.grad(output[:, 3:].square().sum(), padded)
    assert gradient.isfinite().all() and (gradient[:, :3] == 0).all()


def test_a_position_that_may_look_at_nothing_takes_nothing():
    ours, x = module(), random(2, 4, 24)
    nothing = torch.zeros(1, 1, 1, 4, dtype=torch.bool)
    torch.testing.assert_close(ours(x, nothing), ours.proj.bias.expand(2, 4, 24), **CLOSE)


def test_heads_can_have_masks_of_their_own():
    ours, x = module(), random(2, 6, 24)
    window = causal_mask(6) & ~causal_mask(6).tril(-2)  # the last two positions only
    mask = torch.stack([causal_mask(6), window, causal_mask(6)])[None]  # (1, n_head, T, T)
    q, k, v = ours.heads(x)
    expected = ours.proj(attention(q, k, v, mask).transpose(1, 2).flatten(2))
    torch.testing.assert_close(ours(x, mask), expected, **CLOSE)


# --- The cache -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    steps=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    padded=st.booleans(),
    seed=st.integers(0, 9999),
)
def test_with_a_cache_the_output_is_the_same(steps, padded, seed):
    T, ours = sum(steps), module().double()
    x = random(2, T, 24, seed=seed, dtype=torch.float64)
    real = torch.arange(T) >= torch.tensor([[0], [T // 2]])  # the second text starts later
    cache, pieces, start = MockCache(), [], 0
    for step in steps:
        seen = real[:, None, None, : start + step] if padded else None
        pieces.append(ours(x[:, start : start + step], seen, cache))
        start += step
    whole = ours(x, real[:, None, None, :] if padded else None)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)
    assert cache.k.shape == (2, 3, T, 8)


def test_a_mask_that_forgets_the_cached_keys_is_refused():
    ours, cache = module(), MockCache()
    ours(random(1, 4, 24), cache=cache)
    with pytest.raises(ValueError, match="counts the keys kept from before too"):
        ours(random(1, 2, 24), torch.ones(1, 1, 1, 2, dtype=torch.bool), cache)


# --- Dropout -------------------------------------------------------------------------------------


def test_dropout_acts_in_training_only():
    ours, x = module(dropout=0.5), random(1, 6, 24)
    assert torch.equal(ours(x), ours(x))
    torch.testing.assert_close(ours(x), module(dropout=0.0)(x))
    ours.train()
    assert not torch.equal(ours(x), ours(x))


def test_dropout_zeroes_outputs_and_scales_up_the_others():
    torch.manual_seed(0)
    ours = module(dropout=0.25).train()
    ours.requires_grad_(False)
    ours.proj.weight.zero_()
    ours.proj.bias.fill_(3.0)  # whatever the weights do, the output before dropout is 3
    output = ours(random(8, 64, 24))
    assert set(output.unique().tolist()) == {0.0, 4.0}
    assert (output == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_dropout_acts_on_the_weights_too():
    torch.manual_seed(0)
    ours = module(4, 1, dropout=0.5, causal=False).train()
    ours.requires_grad_(False)
    ours.qkv.weight.zero_()
    ours.qkv.bias.copy_(torch.tensor([0.0] * 8 + [1.0] * 4))  # equal weights, every value is 1
    ours.proj.weight.copy_(torch.eye(4))
    ours.proj.bias.zero_()
    kept = ours(random(64, 4, 4)).unique()
    # 0 to 4 of the four keys are kept, each worth 1/4, doubled by both dropouts
    assert kept.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_the_mean_over_many_dropouts_is_the_output_without():
    torch.manual_seed(0)
    ours, x = module(dropout=0.2), random(1, 5, 24).expand(4000, 5, 24)
    without = ours(x)[0]
    torch.testing.assert_close(ours.train()(x).mean(0), without, atol=0.05, rtol=0.05)


def test_padding_yields_no_nan_under_dropout():
    ours = module(dropout=0.5).train()
    mask = torch.tensor([False, False, True, True])[None, None, None, :]
    output = ours(random(2, 4, 24).requires_grad_(), mask)
    output.sum().backward()
    assert output.isfinite().all()
    assert all(p.grad.isfinite().all() for p in ours.parameters())


# --- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_embd, n_head", [(10, 3), (4, 8), (0, 1), (8, 0), (8, -2)])
def test_a_width_that_the_heads_cannot_share_is_refused(n_embd, n_head):
    with pytest.raises(ValueError, match="choose an n_embd that is a multiple of n_head"):
        MultiHeadAttention(n_embd, n_head)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5, float("nan")])
def test_a_dropout_out_of_range_is_refused(dropout):
    with pytest.raises(ValueError, match="choose a share from 0 to below 1"):
        MultiHeadAttention(8, 2, dropout=dropout)


@pytest.mark.parametrize("shape", [(2, 5, 23), (5, 24), (2, 3, 5, 24)])
def test_an_input_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"pass one of \(B, T, 24\)"):
        module()(random(*shape))


@pytest.mark.parametrize(
    "mask", [torch.zeros(1, 1, 5, 5), torch.ones(1, 1, 5, 5).long(), np.ones((1, 1, 5, 5), bool)]
)
def test_a_mask_that_is_not_boolean_is_refused(mask):
    with pytest.raises(ValueError, match="pass a boolean tensor, True = may look"):
        module()(random(2, 5, 24), mask)


@pytest.mark.parametrize(
    "shape", [(2, 5), (5, 5), (2, 1, 5), (2, 1, 1, 4), (2, 2, 5, 5), (3, 1, 5, 5), (1, 1, 4, 5)]
)
def test_a_mask_that_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match=r"mask\[:, None, None, :\]"):
        module()(random(2, 5, 24), torch.ones(shape, dtype=torch.bool))
