"""Chapter 06's optimizers, schedules and clipping against PyTorch's, and what they must satisfy."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.model import GPT, PRESETS, GPTConfig
from lib.optim import (
    NEWTON_SCHULZ,
    AdamW,
    Muon,
    clip_gradients,
    hidden_matrices,
    orthogonalise,
    parameter_groups,
    warmup_cosine,
    warmup_stable_decay,
)

hypothesis = pytest.importorskip("hypothesis", reason="install the dev extra")
given, settings = hypothesis.given, hypothesis.settings
st = hypothesis.strategies

SMALL = GPTConfig(vocab_size=97, context_length=16, n_layer=2, n_head=2, n_embd=16)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small_model(seed=0):
    torch.manual_seed(seed)
    return GPT(SMALL)


def give_gradients(model, step):
    """The gradients of a batch that depends on the number of the step alone."""
    ids = torch.randint(97, (4, 17), generator=torch.Generator().manual_seed(step))
    model.zero_grad()
    F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()


def run(model, optimizer, steps, first=0):
    for step in range(first, first + steps):
        give_gradients(model, step)
        optimizer.step()


def largest_gap(model, other):
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


# --- AdamW: oracle torch.optim.AdamW -------------------------------------------------------------

OPTIONS = [
    {},
    {"lr": 1e-2},
    {"betas": (0.8, 0.95)},
    {"betas": (0.0, 0.0)},
    {"eps": 1e-3},
    {"weight_decay": 0.5},
    {"weight_decay": 0.0},
    {"amsgrad": True},
    {"maximize": True},
    {"lr": 3e-3, "betas": (0.7, 0.9), "eps": 1e-5, "weight_decay": 0.3, "amsgrad": True},
    {"amsgrad": True, "maximize": True, "weight_decay": 0.2},
]


def recorded_gradients(weights, step):
    """Gradients that shrink and grow by powers of ten, as those of a training run do."""
    return noise(*weights.shape, seed=step) * 10.0 ** ((step % 9) - 5)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_adamw_equals_torch_for_a_hundred_steps(options):
    ours, theirs = (nn.Linear(6, 4), nn.Linear(6, 4))
    theirs.load_state_dict(ours.state_dict())
    optimizers = (
        AdamW(ours.parameters(), **options),
        torch.optim.AdamW(theirs.parameters(), **options),
    )
    for step in range(100):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            for weights in model.parameters():
                weights.grad = recorded_gradients(weights, step)
            optimizer.step()
        assert largest_gap(ours, theirs) <= 1e-6


def test_adamw_equals_torch_on_a_model_that_learns():
    ours, theirs = small_model(), small_model()
    run(ours, AdamW(parameter_groups(ours, 0.1), lr=1e-3), 30)
    run(theirs, torch.optim.AdamW(parameter_groups(theirs, 0.1), lr=1e-3), 30)
    assert largest_gap(ours, theirs) <= 1e-5


def test_the_learning_rate_of_a_group_may_change_between_steps():
    ours, theirs = nn.Linear(6, 4), nn.Linear(6, 4)
    theirs.load_state_dict(ours.state_dict())
    optimizers = AdamW(ours.parameters()), torch.optim.AdamW(theirs.parameters())
    for step in range(30):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            for weights in model.parameters():
                weights.grad = noise(*weights.shape, seed=step)
            optimizer.param_groups[0]["lr"] = warmup_cosine(step, 30, 1e-2, warmup=5)
            optimizer.step()
    assert largest_gap(ours, theirs) <= 1e-6


def test_one_step_of_adamw_by_hand():
    weights = nn.Parameter(torch.tensor([1.0, -2.0]))
    weights.grad = torch.tensor([0.3, -5.0])
    AdamW([weights], lr=0.1, weight_decay=0.5).step()
    # both corrected means are g and g²: the step is lr · sign(g), after a decay of 5 %
    assert torch.allclose(weights, torch.tensor([0.95 - 0.1, -1.9 + 0.1]), atol=1e-6)


def test_parameters_without_a_gradient_stay_as_they_are():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    used.grad = torch.ones(2)
    AdamW([used, unused], weight_decay=0.5).step()
    assert torch.equal(unused, torch.ones(2)) and not torch.equal(used, torch.ones(2))


@pytest.mark.parametrize("make", [AdamW, Muon])
def test_a_closure_is_called_with_gradients_on(make):
    weights = nn.Parameter(torch.ones(2, 2))
    optimizer = make([weights])

    def closure():
        optimizer.zero_grad()
        loss = weights.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert not torch.equal(weights, torch.ones(2, 2))


# --- State ---------------------------------------------------------------------------------------


def make_adamw(model):
    return [AdamW(parameter_groups(model, 0.1), lr=1e-3, amsgrad=True)]


def make_muon(model):
    hidden = hidden_matrices(model)
    return [Muon(hidden), AdamW(parameter_groups(model, 0.1, without=hidden))]


@pytest.mark.parametrize("make", [make_adamw, make_muon])
def test_a_run_that_is_saved_and_loaded_equals_the_one_that_was_not(make):
    model = small_model()
    optimizers = make(model)
    for step in range(6):
        if step == 3:
            saved = copy.deepcopy([o.state_dict() for o in optimizers])
            other = copy.deepcopy(model)
        run_all(model, optimizers, step)
    resumed = make(other)
    for optimizer, state in zip(resumed, saved, strict=True):
        optimizer.load_state_dict(state)
    for step in range(3, 6):
        run_all(other, resumed, step)
    assert largest_gap(model, other) == 0.0


def run_all(model, optimizers, step):
    give_gradients(model, step)
    for optimizer in optimizers:
        optimizer.step()


def test_a_copy_of_an_optimizer_is_independent():
    model = small_model()
    optimizer = AdamW(model.parameters())
    run(model, optimizer, 1)
    pair = copy.deepcopy((model, optimizer))
    run(*pair, 1, first=1)
    assert next(iter(optimizer.state.values()))["step"] == 1


@pytest.mark.parametrize("make", [AdamW, Muon])
def test_the_state_is_the_weights_own_type(make):
    weights = nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    weights.grad = torch.ones(2, 2, dtype=torch.float64)
    optimizer = make([weights])
    optimizer.step()
    assert optimizer.state[weights]["mean"].dtype == torch.float64


# --- Groups --------------------------------------------------------------------------------------


def test_only_matrices_decay():
    model = small_model()
    decayed, rest = parameter_groups(model, 0.1)
    names = {id(weights): name for name, weights in model.named_parameters()}
    assert all("weight" in names[id(w)] and "norm" not in names[id(w)] for w in decayed["params"])
    assert all("norm" in names[id(w)] or "bias" in names[id(w)] for w in rest["params"])
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)


@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_is_in_one_group_once(tied):
    torch.manual_seed(0)
    model = GPT(GPTConfig(97, 16, 2, 2, 16, tied=tied))
    groups = parameter_groups(model, 0.1)
    found = [id(w) for group in groups for w in group["params"]]
    assert len(found) == len(set(found))
    assert set(found) == {id(w) for w in model.parameters()}


def test_frozen_parameters_are_left_out():
    model = small_model()
    model.token_embedding.weight.requires_grad_(False)
    found = [id(w) for group in parameter_groups(model, 0.1) for w in group["params"]]
    assert id(model.head.weight) not in found


def test_muon_and_adamw_share_the_parameters_without_rest():
    model = small_model()
    hidden = hidden_matrices(model)
    rest = [w for g in parameter_groups(model, 0.1, without=hidden) for w in g["params"]]
    assert {id(w) for w in [*hidden, *rest]} == {id(w) for w in model.parameters()}
    assert len(hidden) == 4 * SMALL.n_layer and not {id(w) for w in hidden} & {id(w) for w in rest}
    assert id(model.head.weight) in {id(w) for w in rest}


def test_nothing_left_to_train_is_refused():
    with pytest.raises(ValueError, match="requires_grad_"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), 0.1)


def test_a_model_without_blocks_is_refused():
    with pytest.raises(ValueError, match="list its hidden matrices"):
        hidden_matrices(nn.Linear(2, 2))


# --- Clipping: oracle torch.nn.utils.clip_grad_norm_ ---------------------------------------------


def parameters_with_gradients(scale, seed=0):
    shapes = [(3, 4), (5,), (2, 2), (1,)]
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for i, weights in enumerate(parameters[:-1]):  # the last one has no gradient
        weights.grad = scale * noise(*weights.shape, seed=seed + i)
    return parameters


@given(
    scale=st.floats(1e-6, 1e6),
    max_norm=st.floats(1e-3, 1e3) | st.just(math.inf),
    seed=st.integers(0, 99),
)
@settings(max_examples=100, deadline=None)
def test_clipping_equals_torch(scale, max_norm, seed):
    ours, theirs = (parameters_with_gradients(scale, seed) for _ in range(2))
    norm = clip_gradients(ours, max_norm)
    assert norm == pytest.approx(nn.utils.clip_grad_norm_(theirs, max_norm).item(), rel=1e-5)
    for a, b in zip(ours[:-1], theirs[:-1], strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-5, atol=0)


def test_small_gradients_are_not_touched():
    parameters = parameters_with_gradients(1e-3)
    before = parameters[0].grad.clone()
    clip_gradients(parameters, 1.0)
    assert torch.equal(parameters[0].grad, before)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_norm_that_is_not_finite_is_returned_and_nothing_touched(bad):
    parameters = parameters_with_gradients(1.0)
    parameters[1].grad[2] = bad
    before = [weights.grad.clone() for weights in parameters[:-1]]
    assert not math.isfinite(clip_gradients(parameters, 1.0))
    for weights, gradient in zip(parameters[:-1], before, strict=True):
        assert torch.equal(weights.grad.nan_to_num(7.0), gradient.nan_to_num(7.0))


def test_without_gradients_the_norm_is_zero():
    assert clip_gradients([nn.Parameter(torch.ones(2))], 1.0) == 0.0


def test_one_tensor_and_an_iterator_will_do():
    one = parameters_with_gradients(10.0)[0]
    expected = one.grad.norm().item()
    assert clip_gradients(one, 1.0) == pytest.approx(expected)
    assert clip_gradients(iter([one]), 1.0) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("max_norm", [0, -1.0, math.nan, "1", None])
def test_a_limit_that_is_not_positive_is_refused(max_norm):
    with pytest.raises(ValueError, match="positive"):
        clip_gradients([], max_norm)


# --- Schedules: oracle torch.optim.lr_scheduler --------------------------------------------------


def torch_rates(n_steps, peak, first, second, warmup):
    """The rates of PyTorch's schedulers, one after the other, at the steps of a run."""
    weights = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weights], lr=peak)
    parts = [first(optimizer), second(optimizer)]
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, parts, milestones=[warmup])
    rates = []
    for _ in range(n_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def linear(start, end, steps):
    return lambda o: torch.optim.lr_scheduler.LinearLR(o, start, end, total_iters=steps)


@pytest.mark.parametrize("n_steps, warmup", [(100, 10), (7, 3), (50, 49)])
@pytest.mark.parametrize("final", [0.0, 0.03])
def test_warmup_cosine_equals_torch(n_steps, warmup, final):
    def cosine(optimizer):
        return torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, n_steps - warmup, eta_min=final
        )

    expected = torch_rates(n_steps, 0.3, linear(1 / (warmup + 1), 1.0, warmup), cosine, warmup)
    ours = [warmup_cosine(step, n_steps, 0.3, warmup, final) for step in range(n_steps)]
    assert ours == pytest.approx(expected, rel=1e-9)


def test_warmup_stable_decay_equals_torch():
    rise = linear(1 / 11, 1.0, 10)
    expected = torch_rates(80, 0.3, rise, lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1), 10)
    descent = torch_rates(20, 0.3, linear(1.0, 0.1, 20), linear(0.1, 0.1, 1), 20)
    ours = [warmup_stable_decay(s, 100, 0.3, 10, 20, final=0.03) for s in range(100)]
    assert ours == pytest.approx(expected + descent, rel=1e-9)


CALLS = st.tuples(st.integers(1, 200), st.integers(0, 200), st.integers(0, 200)).filter(
    lambda sizes: sizes[1] + sizes[2] <= sizes[0]
)


@given(CALLS, st.floats(1e-5, 1.0), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_schedules_rise_once_then_fall_and_reach_their_ends(sizes, peak, share):
    n_steps, warmup, decay = sizes
    final = share * peak
    cosine = [warmup_cosine(s, n_steps, peak, warmup, final) for s in range(n_steps + 3)]
    stable = [warmup_stable_decay(s, n_steps, peak, warmup, decay, final) for s in range(n_steps)]
    for rates in (cosine, stable):
        assert all(0 < rate <= peak * (1 + 1e-9) for rate in rates[:n_steps])
        rising, falling = rates[: min(warmup + 1, n_steps)], rates[warmup:]
        assert all(a < b for a, b in itertools.pairwise(rising))
        assert all(a >= b - 1e-12 for a, b in itertools.pairwise(falling))
    assert cosine[n_steps:] == pytest.approx([final] * 3)
    if warmup < n_steps:
        assert cosine[warmup] == pytest.approx(peak) and stable[warmup] == pytest.approx(peak)


def test_a_longer_run_has_the_same_beginning_on_the_plateau():
    short = [warmup_stable_decay(s, 50, 1.0, 5, 10) for s in range(40)]
    assert short == [warmup_stable_decay(s, 500, 1.0, 5, 100) for s in range(40)]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((-1, 10, 1.0), "step is -1"),
        ((0.5, 10, 1.0), "step is 0.5"),
        ((0, 0, 1.0), "n_steps is 0"),
        ((0, 10, 1.0, 11), "warmup is 11 steps, but the run has 10"),
        ((0, 10, 1.0, -1), "warmup is -1"),
        ((0, 10, 1.0, 2, 2.0), "final is 2.0"),
        ((0, 10, math.nan, 2), "peak is nan"),
    ],
)
def test_schedules_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        warmup_cosine(*arguments)


def test_a_warmup_and_a_decay_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"warmup \+ decay is 12 steps, but the run has 10"):
        warmup_stable_decay(0, 10, 1.0, 6, 6)


# --- Orthogonalise: oracle the singular value decomposition --------------------------------------


def iterated(values, steps=5):
    """What the iteration makes of singular values (divided by the norm)."""
    a, b, c = NEWTON_SCHULZ
    for _ in range(steps):
        values = a * values + b * values**3 + c * values**5
    return values


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 7), st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_orthogonalise_equals_the_iteration_on_the_singular_values(m, n, steps, seed):
    matrix = noise(m, n, seed=seed).double()
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    expected = u @ torch.diag(iterated(s / s.norm(), steps)) @ vt
    assert torch.allclose(orthogonalise(matrix, steps), expected, atol=1e-6)


@given(st.lists(st.floats(0.003, 1.0), min_size=1, max_size=8), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_singular_values_end_in_the_known_band(values, seed):
    s = torch.tensor(values, dtype=torch.float64)
    s = s / s.norm()
    if s.min() < 0.002:
        return
    u, v = (torch.linalg.qr(noise(9, len(s), seed=seed + i).double())[0] for i in range(2))
    after = torch.linalg.svdvals(orthogonalise(u @ torch.diag(s) @ v.T))[: len(s)]
    assert after.min() >= 0.68 and after.max() <= 1.21


@pytest.mark.parametrize("shape", [(8, 8), (32, 8), (8, 32), (1, 5), (5, 1)])
def test_orthogonalise_knows_no_scale_and_transposes_with_its_argument(shape):
    matrix = noise(*shape)
    result = orthogonalise(matrix)
    assert result.shape == matrix.shape
    assert torch.allclose(orthogonalise(1e4 * matrix), result, atol=1e-4)
    assert torch.allclose(orthogonalise(matrix.T).T, result, atol=1e-4)


def test_zeros_stay_zeros_and_the_argument_stays_itself():
    assert torch.equal(orthogonalise(torch.zeros(3, 4)), torch.zeros(3, 4))
    matrix = noise(3, 4)
    orthogonalise(matrix)
    assert torch.equal(matrix, noise(3, 4))


@pytest.mark.parametrize(
    "matrix", [torch.ones(3), torch.ones(2, 2, 2), torch.ones(2, 2, dtype=torch.int64)]
)
def test_what_is_no_matrix_is_refused(matrix):
    with pytest.raises(ValueError, match="pass one real matrix"):
        orthogonalise(matrix)


# --- Muon: oracle torch.optim.Muon ---------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nesterov": False},
        {"momentum": 0.5, "lr": 0.1},
        {"weight_decay": 0.3},
        {"momentum": 0.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(12, 4), (4, 12), (6, 6)], ids=str)
def test_muon_equals_torch_computing_in_float32(options, shape, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)  # theirs rounds to 8 bits
    options = {"lr": 0.02, "weight_decay": 0.0} | options
    ours, theirs = (nn.Parameter(noise(*shape)) for _ in range(2))
    optimizers = Muon([ours], **options), torch.optim.Muon([theirs], **options)
    for step in range(100):
        for weights, optimizer in zip((ours, theirs), optimizers, strict=True):
            weights.grad = noise(*shape, seed=step + 1)
            optimizer.step()
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_change_does_not_depend_on_the_size_of_the_gradient():
    pair = [nn.Parameter(torch.zeros(6, 6)) for _ in range(2)]
    for weights, scale in zip(pair, (1.0, 1e3), strict=True):
        weights.grad = scale * noise(6, 6)
        Muon([weights]).step()
    assert torch.allclose(*pair, atol=1e-6)


def test_muon_refuses_what_is_no_matrix():
    with pytest.raises(ValueError, match="leave the rest to AdamW"):
        Muon([nn.Parameter(torch.ones(3))])


# --- Options -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [AdamW, Muon])
@pytest.mark.parametrize(
    "options", [{"lr": -1e-3}, {"lr": math.nan}, {"lr": "1"}, {"weight_decay": -0.1}], ids=str
)
def test_options_out_of_range_are_refused(make, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        make([nn.Parameter(torch.ones(2, 2))], **options)


@pytest.mark.parametrize("options", [{"betas": (0.9, 1.0)}, {"betas": (-0.1, 0.9)}, {"eps": -1}])
def test_betas_and_eps_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AdamW([nn.Parameter(torch.ones(2))], **options)


def test_a_momentum_of_one_is_refused():
    with pytest.raises(ValueError, match="choose 0 <= value < 1"):
        Muon([nn.Parameter(torch.ones(2, 2))], momentum=1.0)


def test_the_options_of_a_group_are_checked_too():
    weights = nn.Parameter(torch.ones(2, 2))
    with pytest.raises(ValueError, match="weight_decay is -1"):
        AdamW([{"params": [weights], "weight_decay": -1}])


@pytest.mark.parametrize("make", [AdamW, Muon])
def test_sparse_gradients_are_refused(make):
    table = nn.Embedding(5, 3, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="sparse=False"):
        make(table.parameters()).step()


def test_tale_has_a_group_for_each_of_its_fifty_two_tensors():
    torch.manual_seed(0)
    model = GPT(PRESETS["tale"])
    assert [len(g["params"]) for g in parameter_groups(model, 0.1)] == [18, 34]
