"""Chapter 05's GPT against transformers and PyTorch, and what it must satisfy."""

import json
import math
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lib.model import (
    GELU,
    GPT,
    MLP,
    PRESETS,
    Block,
    GPTConfig,
    LayerNorm,
    count_positions,
    flops_per_token,
    initialise,
    parameter_counts,
    preset,
    training_memory,
)

SMALL = GPTConfig(vocab_size=97, context_length=32, n_layer=3, n_head=4, n_embd=32)


def make(config=SMALL, seed=0, spread=10):
    """A model whose weights are large enough for every part to matter, in evaluation mode."""
    torch.manual_seed(seed)
    model = GPT(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights), alpha=0.005 * spread)
    return model


def some_ids(B, T, config=SMALL, seed=1):
    return torch.randint(config.vocab_size, (B, T), generator=torch.Generator().manual_seed(seed))


# --- Oracle: GPT-2 of transformers, weights copied over -------------------------------------------


def gpt2_names(config):
    """Our name of each weight -> its name in transformers, and whether it lies transposed there."""
    names = {
        "token_embedding.weight": ("transformer.wte.weight", False),
        "position_embedding.weight": ("transformer.wpe.weight", False),
        "norm.weight": ("transformer.ln_f.weight", False),
        "norm.bias": ("transformer.ln_f.bias", False),
    }
    parts = {"norm1": "ln_1", "attention.qkv": "attn.c_attn", "attention.proj": "attn.c_proj"}
    parts |= {"norm2": "ln_2", "mlp.fc": "mlp.c_fc", "mlp.proj": "mlp.c_proj"}
    for i in range(config.n_layer):
        for ours, theirs in parts.items():
            for kind in ("weight", "bias"):
                transposed = kind == "weight" and "norm" not in ours
                name = f"transformer.h.{i}.{theirs}.{kind}"
                names[f"blocks.{i}.{ours}.{kind}"] = (name, transposed)
    return names


def gpt2(model, attention="sdpa"):
    """transformers' GPT-2 with the weights of a model of ours."""
    transformers = pytest.importorskip("transformers", reason="install the oracle extra")
    c = model.config
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=c.vocab_size,
            n_positions=c.context_length,
            n_layer=c.n_layer,
            n_head=c.n_head,
            n_embd=c.n_embd,
            bos_token_id=0,
            eos_token_id=0,
            attn_implementation=attention,
        )
    ).eval()
    weights, found = dict(theirs.named_parameters()), dict(model.named_parameters())
    names = gpt2_names(c)
    assert found.keys() == names.keys() and len(weights) == len(names)
    with torch.no_grad():
        for ours, (name, transposed) in names.items():
            weights[name].copy_(found[ours].T if transposed else found[ours])
    return theirs


SHAPES = [
    SMALL,
    GPTConfig(50, 16, n_layer=1, n_head=1, n_embd=8),
    GPTConfig(300, 64, n_layer=2, n_head=3, n_embd=48),
    PRESETS["tale-nano"],
    PRESETS["tale"],
]


@pytest.mark.parametrize("config", SHAPES, ids=lambda c: f"{c.n_layer}x{c.n_embd}")
class TestAgainstTransformers:
    def test_logits_are_the_same(self, config):
        model, ids = make(config), some_ids(3, min(config.context_length, 40), config)
        for attention in ("sdpa", "eager"):
            theirs = gpt2(model, attention)(ids).logits
            assert theirs.std() > 0.1
            torch.testing.assert_close(model(ids), theirs, atol=1e-5, rtol=1e-5)

    def test_loss_and_gradients_are_the_same(self, config):
        model, ids = make(config), some_ids(3, min(config.context_length, 40), config)
        theirs = gpt2(model)
        their_loss = theirs(ids, labels=ids).loss
        loss = F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        their_loss.backward()
        loss.backward()
        torch.testing.assert_close(loss, their_loss, atol=1e-5, rtol=1e-5)
        ours, weights = dict(model.named_parameters()), dict(theirs.named_parameters())
        for name, (there, transposed) in gpt2_names(config).items():
            expected = weights[there].grad.T if transposed else weights[there].grad
            torch.testing.assert_close(ours[name].grad, expected, atol=1e-5, rtol=1e-4)


def test_left_padding_gives_what_transformers_gives():
    model, ids = make(), some_ids(2, 12)
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[0, :5] = False
    theirs = gpt2(model)
    positions = count_positions(ids, mask, 0)
    expected = theirs(ids, attention_mask=mask.long(), position_ids=positions).logits
    torch.testing.assert_close(model(ids, mask)[mask], expected[mask], atol=1e-5, rtol=1e-5)


# --- Oracle: the parts in PyTorch itself ----------------------------------------------------------


def test_layer_norm_gives_each_position_mean_zero_and_variance_one():
    x = torch.randn(2, 3, 64) * 5 + 3
    y = LayerNorm(64)(x)
    assert torch.allclose(y.mean(-1), torch.zeros(2, 3), atol=1e-5)
    assert torch.allclose(y.var(-1, unbiased=False), torch.ones(2, 3), atol=1e-3)


def test_layer_norm_equals_its_formula_and_keeps_equal_numbers_finite():
    norm = LayerNorm(8)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x = torch.randn(4, 8)
    centred = x - x.mean(1, keepdim=True)
    by_hand = centred / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), by_hand * norm.weight + norm.bias)
    assert torch.equal(norm(torch.full((1, 8), 3.0)), norm.bias[None])


def test_gelu_is_the_tanh_form_of_gpt2():
    x = torch.linspace(-6, 6, 101)
    by_hand = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    torch.testing.assert_close(GELU()(x), by_hand)


def test_a_block_equals_the_encoder_layer_of_pytorch():
    torch.manual_seed(0)
    block = Block(SMALL).eval()
    gelu = partial(F.gelu, approximate="tanh")
    layer = nn.TransformerEncoderLayer(
        32, 4, 128, dropout=0.0, activation=gelu, batch_first=True, norm_first=True
    ).train()  # in evaluation it takes another road, which knows no such activation
    pairs = [(block.norm1, layer.norm1), (block.norm2, layer.norm2)]
    pairs += [(block.mlp.fc, layer.linear1), (block.mlp.proj, layer.linear2)]
    pairs += [(block.attention.proj, layer.self_attn.out_proj)]
    with torch.no_grad():
        for ours, theirs in pairs:
            theirs.weight.copy_(ours.weight)
            theirs.bias.copy_(ours.bias)
        layer.self_attn.in_proj_weight.copy_(block.attention.qkv.weight)
        layer.self_attn.in_proj_bias.copy_(block.attention.qkv.bias)
    x = torch.randn(2, 7, 32)
    forbidden = torch.ones(7, 7, dtype=torch.bool).triu(1)
    torch.testing.assert_close(block(x), layer(x, src_mask=forbidden), atol=1e-6, rtol=1e-5)


# --- Properties -----------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0, 1, 9, 18])
def test_future_tokens_cannot_change_the_past(t):
    model, ids = make(), some_ids(2, 19)
    other = ids.clone()
    other[:, t + 1 :] = (other[:, t + 1 :] + 1) % SMALL.vocab_size
    assert torch.equal(model(ids)[:, : t + 1], model(other)[:, : t + 1])


def test_every_earlier_token_can_change_the_last_logits():
    model, ids = make(), some_ids(1, 19)
    for t in range(19):
        other = ids.clone()
        other[0, t] = (other[0, t] + 1) % SMALL.vocab_size
        assert not torch.allclose(model(ids)[:, -1], model(other)[:, -1], atol=1e-4)


def test_no_gradient_reaches_a_later_token():
    model, ids = make(), some_ids(1, 12)
    x = model.token_embedding(ids).detach().requires_grad_()
    h = x + model.position_embedding(torch.arange(12))
    for block in model.blocks:
        h = block(h)
    model.head(model.norm(h))[0, 5].sum().backward()
    assert x.grad[0, :6].abs().sum(1).min() > 0 and x.grad[0, 6:].abs().max() == 0


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("padding", [1, 7])
def test_padding_on_either_side_changes_nothing(side, padding):
    model, ids = make(), some_ids(2, 10)
    pad = (padding, 0) if side == "left" else (0, padding)
    padded = F.pad(ids, pad, value=3)
    mask = F.pad(torch.ones_like(ids, dtype=torch.bool), pad, value=False)
    got = model(padded, mask)[mask].view(2, 10, -1)
    torch.testing.assert_close(got, model(ids), atol=1e-5, rtol=1e-5)
    assert torch.isfinite(model(padded, mask)).all()


def test_padding_may_exceed_the_context_as_long_as_the_real_ids_do_not():
    model, ids = make(), some_ids(1, 32)
    mask = F.pad(torch.ones_like(ids, dtype=torch.bool), (4, 0), value=False)
    got = model(F.pad(ids, (4, 0)), mask)[:, 4:]
    torch.testing.assert_close(got, model(ids), atol=1e-5, rtol=1e-5)


def test_sequences_of_a_batch_do_not_touch_each_other():
    model, ids = make(), some_ids(4, 11)
    alone = torch.cat([model(row[None]) for row in ids])
    torch.testing.assert_close(model(ids), alone, atol=1e-5, rtol=1e-5)


def test_positions_that_are_passed_replace_the_counted_ones():
    model, ids = make(), some_ids(2, 9)
    assert torch.equal(model(ids, positions=torch.arange(9)), model(ids))
    assert not torch.allclose(model(ids, positions=torch.arange(9) + 5), model(ids), atol=1e-3)


def test_order_matters_through_the_positions_alone():
    model, ids = make(), some_ids(1, 9)
    swapped = ids[:, [1, 0, *range(2, 9)]]
    assert not torch.allclose(model(ids)[:, -1], model(swapped)[:, -1], atol=1e-4)
    same = torch.zeros(9, dtype=torch.long)
    one_layer = make(replace(SMALL, n_layer=1))  # a second one sees who stood before whom
    last = [one_layer(i, positions=same)[:, -1] for i in (ids, swapped)]
    torch.testing.assert_close(*last, atol=1e-5, rtol=1e-5)


def test_dropout_is_random_in_training_and_off_in_evaluation():
    model, ids = make(replace(SMALL, dropout=0.2)), some_ids(2, 9)
    assert torch.equal(model(ids), model(ids))
    model.train()
    assert not torch.equal(model(ids), model(ids))
    assert torch.equal(model.eval()(ids), make()(ids))


class ListCache:
    """A cache of a few lines: it keeps every key and value it is shown."""

    def __init__(self):
        self.kept = None

    def __len__(self):
        return 0 if self.kept is None else self.kept[0].shape[2]

    def update(self, k, v):
        if self.kept is not None:
            k, v = (torch.cat(pair, dim=2) for pair in zip(self.kept, (k, v), strict=True))
        self.kept = k, v
        return k, v


@pytest.mark.parametrize("cuts", [[1] * 12, [5, 1, 1, 5], [11, 1], [3, 4, 5], [12]])
def test_a_cache_changes_no_logit(cuts):
    model, ids = make(), some_ids(2, 12)
    caches = [ListCache() for _ in range(SMALL.n_layer)]
    got = torch.cat([model(part, caches=caches) for part in ids.split(cuts, dim=1)], dim=1)
    torch.testing.assert_close(got, model(ids), atol=1e-5, rtol=1e-5)
    assert all(len(cache) == 12 for cache in caches)


def test_a_cache_and_left_padding_work_together():
    model, ids = make(), some_ids(2, 12)
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[0, :4] = False
    caches = [ListCache() for _ in range(SMALL.n_layer)]
    ends = [6, 7, 8, 12]
    parts = [
        model(ids[:, start:end], mask[:, :end], caches=caches)
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    got = torch.cat(parts, dim=1)[0, 4:]
    torch.testing.assert_close(got, model(ids[:1, 4:])[0], atol=1e-5, rtol=1e-5)


def test_hidden_states_are_what_the_head_reads():
    model, ids = make(), some_ids(2, 9)
    hidden = model.hidden_states(ids)
    assert hidden.shape == (2, 9, SMALL.n_embd)
    assert torch.equal(model.head(hidden), model(ids))


def test_compiled_and_plain_model_agree():
    model, ids = make(), some_ids(2, 9)
    assert torch.equal(torch.compile(model, backend="eager")(ids), model(ids))


# --- Weights --------------------------------------------------------------------------------------


def test_tied_weights_are_one_tensor_that_learns_from_both_ends():
    model = make()
    assert model.head.weight is model.token_embedding.weight
    model(some_ids(1, 4)).sum().backward()
    assert (model.head.weight.grad.abs().sum(1) > 0).all()  # also rows of ids that did not occur


def test_untied_weights_are_two_tensors():
    model = GPT(replace(SMALL, tied=False))
    assert model.head.weight is not model.token_embedding.weight


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_the_count_by_part_is_the_count_of_the_model(name, bias, tied):
    config = preset(name, bias=bias, tied=tied)
    with torch.device("meta"):
        model = GPT(config)
    assert sum(parameter_counts(config).values()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
    ],
)
def test_presets_have_the_published_number_of_parameters(name, published):
    assert sum(parameter_counts(PRESETS[name]).values()) == published


def test_tale_fits_into_a_checkpoint_of_eight_megabytes():
    tale, nano = (sum(parameter_counts(PRESETS[n]).values()) for n in ("tale", "tale-nano"))
    assert 4 * tale <= 8e6
    assert 0.08 < nano / tale < 0.12


@pytest.mark.parametrize("name", ["tale-nano", "tale"])
def test_the_first_loss_is_that_of_knowing_nothing(name):
    torch.manual_seed(0)
    config = PRESETS[name]
    ids = some_ids(8, 257, config)
    with torch.no_grad():
        loss = F.cross_entropy(GPT(config)(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(config.vocab_size), rel=0.02)


def test_initial_weights_have_the_spread_that_is_documented():
    torch.manual_seed(0)
    model = GPT(GPTConfig(500, 64, n_layer=8, n_head=4, n_embd=128))
    weights = dict(model.named_parameters())
    for name in ("token_embedding", "position_embedding", "blocks.3.mlp.fc"):
        assert weights[f"{name}.weight"].std().item() == pytest.approx(0.02, rel=0.05)
    for name in ("blocks.0.mlp.proj", "blocks.7.attention.proj"):
        assert weights[f"{name}.weight"].std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert all((weights[n] == 0).all() for n in weights if n.endswith("bias"))
    assert all((weights[n] == 1).all() for n in weights if "norm" in n and n.endswith("weight"))


def test_the_residual_stream_does_not_grow_with_depth_at_the_start():
    added = {}
    for n_layer in (2, 32):
        torch.manual_seed(0)
        model = GPT(GPTConfig(100, 32, n_layer=n_layer, n_head=2, n_embd=64))
        x = model.token_embedding(some_ids(4, 32, model.config)) + model.position_embedding.weight
        y = x
        for block in model.blocks:
            y = block(y)
        added[n_layer] = (y - x).std().item()
    assert added[32] == pytest.approx(added[2], rel=0.3)


def test_weights_drawn_anew_are_the_same_for_the_same_seed():
    model, drawn = make(), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        initialise(model)
        drawn.append(model.head.weight.clone())
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_a_step_on_real_text_lowers_the_loss():
    from lib.language_model import CharacterVocabulary

    text = "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer."
    vocabulary = CharacterVocabulary(text)
    ids = torch.tensor([vocabulary.encode(text)])
    torch.manual_seed(0)
    model = GPT(GPTConfig(len(vocabulary), 128, n_layer=2, n_head=2, n_embd=32))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(2):
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


def test_saved_weights_load_into_a_fresh_model(tmp_path):
    model, ids = make(), some_ids(1, 8)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = GPT(SMALL).eval()
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert other.head.weight is other.token_embedding.weight
    assert torch.equal(other(ids), model(ids))


# --- Operations and memory ------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("training", [False, True])
def test_operations_by_formula_are_those_that_torch_counts(name, training):
    """On the meta device: no memory, and attention as plain products, which the counter knows."""
    config, B = PRESETS[name], 2
    T = config.context_length
    with torch.device("meta"):
        model, ids = GPT(config), torch.zeros(B, T, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        logits = model(ids)
        if training:
            logits.sum().backward()
    assert counter.get_total_flops() == B * T * flops_per_token(config, T, training)


def saved_bytes(config, B, T):
    """Bytes of all tensors that autograd keeps for the backward pass, but for weights and ids."""
    model, ids = make(config).train(), some_ids(B, T, config)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.is_floating_point():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
    assert loss.grad_fn is not None
    return sum(kept.values()) - 4  # the total weight of the ids: one number


@pytest.mark.parametrize("config", SHAPES[:4], ids=lambda c: f"{c.n_layer}x{c.n_embd}")
def test_activations_by_formula_are_what_autograd_keeps(config):
    B, T = 3, 16
    expected = training_memory(config, B, T)
    log_probabilities = 4 * B * T * config.vocab_size
    assert saved_bytes(config, B, T) == expected["activations"] + log_probabilities


MEASURE = """
import json, sys
import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from lib.model import GPT, GPTConfig

B, T, *shape = json.loads(sys.argv[1])
config = GPTConfig(*shape)
model = GPT(config)
optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
ids = torch.randint(config.vocab_size, (B, T + 1))

def step():
    logits = model(ids[:, :-1]).flatten(0, 1)
    loss = F.cross_entropy(logits, ids[:, 1:].flatten())
    del logits
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)

step()
with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as p:
    step()
events = p.profiler.kineto_results.events()
now = peak = 0
for _, size in sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"):
    now += size
    peak = max(peak, now)
print(peak)
"""


@pytest.mark.parametrize(
    "shape", [(8, 256, 2048, 256, 4, 4, 128), (2, 64, 8000, 64, 6, 8, 256)], ids=str
)
def test_the_peak_of_a_step_is_within_two_percent_of_the_formula(shape):
    """What a second step allocates beyond weights, gradients and AdamW, as the profiler records."""
    command = [sys.executable, "-c", MEASURE, json.dumps(shape)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    B, T, *config = shape
    parts = training_memory(GPTConfig(*config), B, T)
    standing = parts["weights"] + parts["gradients"] + parts["AdamW"]
    assert standing + int(done.stdout) == pytest.approx(sum(parts.values()), rel=0.02)


# --- Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vocab_size", "context_length", "n_layer", "n_head", "n_embd"])
def test_a_size_below_one_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} is 0; choose a whole number"):
        replace(SMALL, **{name: 0})


@pytest.mark.parametrize("size", [2.5, 8.0, "8", None])
def test_a_size_that_is_no_whole_number_is_refused(size):
    with pytest.raises(ValueError, match=r"n_embd is .*; choose a whole number, 1 or more"):
        replace(SMALL, n_embd=size)


@pytest.mark.parametrize(("B", "T"), [(0, 8), (-1, 8), (2, 0), (2, -5), (2, 33)])
def test_a_batch_that_cannot_be_has_neither_operations_nor_memory(B, T):
    with pytest.raises(ValueError, match=f"the batch is {B} × {T}; .* of 1 to 32 ids"):
        training_memory(SMALL, B, T)
    if B > 0:
        with pytest.raises(ValueError, match="of 1 to 32 ids"):
            flops_per_token(SMALL, T)


def test_a_width_that_the_heads_cannot_share_is_refused():
    with pytest.raises(ValueError, match="multiple of n_head"):
        replace(SMALL, n_embd=30)


def test_a_dropout_of_one_is_refused():
    with pytest.raises(ValueError, match="dropout is 1"):
        replace(SMALL, dropout=1.0)


def test_a_shape_cannot_be_changed_under_a_model():
    with pytest.raises(FrozenInstanceError):
        make().config.n_layer = 5


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="choose one of tale-nano, tale, gpt2"):
        preset("gpt3")


@pytest.mark.parametrize("bad", [97, -1])
def test_ids_beyond_the_vocabulary_are_refused(bad):
    ids = some_ids(1, 5)
    ids[0, 3] = bad
    with pytest.raises(ValueError, match=r"between 0 and 96.*use the tokenizer of this model"):
        make()(ids)


def test_more_ids_than_positions_are_refused():
    with pytest.raises(ValueError, match=r"context_length is 32, but there are 33.*ids\[:, -32:\]"):
        make()(some_ids(1, 33))


def test_a_cache_that_is_full_is_refused():
    model, caches = make(), [ListCache() for _ in range(SMALL.n_layer)]
    model(some_ids(1, 30), caches=caches)
    with pytest.raises(ValueError, match=r"33 positions \(30 of them in the caches\)"):
        model(some_ids(1, 3), caches=caches)


def test_more_real_ids_than_positions_are_refused_with_a_mask_too():
    ids = some_ids(1, 33)
    with pytest.raises(ValueError, match=r"positions must lie between 0 and 31.*to 32; pass fewer"):
        make()(ids, torch.ones_like(ids, dtype=torch.bool))


@pytest.mark.parametrize(
    "ids",
    [
        torch.zeros(5, dtype=torch.long),
        torch.zeros(1, 5),
        torch.zeros(1, 1, 5).long(),
        torch.zeros(1, 5).long().numpy(),
        [[1, 2, 3]],
    ],
)
def test_ids_of_another_kind_are_refused(ids):
    with pytest.raises(ValueError, match="pass a tensor of int64 ids of shape"):
        make()(ids)


@pytest.mark.parametrize(
    "mask",
    [
        torch.ones(2, 5),
        torch.ones(2, 4, dtype=torch.bool),
        torch.ones(5, dtype=torch.bool),
        [[True] * 5] * 2,
    ],
)
def test_a_mask_of_another_kind_is_refused(mask):
    with pytest.raises(ValueError, match=r"pass a boolean one of shape \(2, 5\)"):
        make()(some_ids(2, 5), mask)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_a_number_of_caches_other_than_that_of_layers_is_refused(n):
    with pytest.raises(ValueError, match=f"there are {n} caches; pass 3, one a layer"):
        make()(some_ids(1, 5), caches=[ListCache() for _ in range(n)])


@pytest.mark.parametrize("shape", [(1,), (4,), (2, 1), (1, 5)])
def test_positions_that_do_not_fit_the_ids_are_refused(shape):
    with pytest.raises(ValueError, match="pass one position an id"):
        make()(some_ids(2, 5), positions=torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("positions", [torch.arange(5.0), [0, 1, 2, 3, 4]])
def test_positions_of_another_kind_are_refused(positions):
    with pytest.raises(ValueError, match=r"positions is .*; pass one position an id"):
        make()(some_ids(2, 5), positions=positions)


@pytest.mark.parametrize("shift", [-1, 28])
def test_positions_outside_the_table_are_refused(shift):
    with pytest.raises(ValueError, match="positions must lie between 0 and 31"):
        make()(some_ids(2, 5), positions=torch.arange(5) + shift)


def test_a_model_without_bias_has_none():
    model = GPT(replace(SMALL, bias=False))
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert model(some_ids(1, 5)).shape == (1, 5, 97)


def test_the_mlp_works_on_each_position_alone():
    mlp, x = MLP(8).eval(), torch.randn(1, 4, 8)
    torch.testing.assert_close(mlp(x)[:, 2], mlp(x[:, 2:3])[:, 0])
