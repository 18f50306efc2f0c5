"""Plausible wrong answers to the exercises of chapter 13."""

import math

import torch
from torch.nn import functional as F

from wrong_answers import wrong

# --- 13.1 The best of low rank -------------------------------------------------------------------


def parts(delta):
    return torch.linalg.svd(delta, full_matrices=False)


@wrong("13.1", "singular values are missing")
def without_the_singular_values(delta, r):
    u, _, vt = parts(delta)
    return u[:, :r], vt[:r]


@wrong("13.1", "count twice")
def singular_values_in_both(delta, r):
    u, s, vt = parts(delta)
    return u[:, :r] * s[:r], s[:r, None] * vt[:r]


@wrong("13.1", "Only the roots")
def root_in_one_alone(delta, r):
    u, s, vt = parts(delta)
    return u[:, :r] * s[:r].sqrt(), vt[:r]


@wrong("13.1", "smallest pieces")
def last_pieces(delta, r):
    u, s, vt = parts(delta)
    return u[:, -r:] * s[-r:], vt[-r:]


@wrong("13.1", "one piece too many")
def off_by_one(delta, r):
    u, s, vt = parts(delta)
    return u[:, : r + 1] * s[: r + 1], vt[: r + 1]


@wrong("13.1", "transposed already")
def columns_of_vt(delta, r):
    u, s, vt = parts(delta)
    return u[:, :r] * s[:r], vt[:, :r]


@wrong("13.1", "transposed already")
def transposed_once_more(delta, r):
    u, s, vt = parts(delta)
    return u[:, :r] * s[:r], vt.T[:r]


@wrong("13.1", "A came first")
def a_before_b(delta, r):
    u, s, vt = parts(delta)
    return s[:r, None] * vt[:r], u[:, :r]


@wrong("13.1", "first r columns")
def first_columns(delta, r):
    return delta[:, :r], torch.eye(delta.shape[1])[:r]


@wrong("13.1", "larger rank")
def nothing_cut(delta, r):
    u, s, vt = parts(delta)
    return u * s, vt


@wrong("13.1", "but the shapes should be")
def zeros_instead_of_a_cut(delta, r):
    u, s, vt = parts(delta)
    s = s.clone()
    s[r:] = 0
    return u * s, vt


@wrong("13.1", "The first piece, the largest, is missing")
def counted_from_one(delta, r):
    u, s, vt = parts(delta)
    return u[:, 1 : r + 1] * s[1 : r + 1], vt[1 : r + 1]


@wrong("13.1", "The shape is (4, 4), but (5, 4) is needed")
def rows_of_u(delta, r):
    u, s, vt = parts(delta)
    return u[:r].T * s[:r], vt[:r]


@wrong("13.1", "not the expected one")
def best_for_random_rows(delta, r):
    A = torch.randn(r, delta.shape[1], generator=torch.Generator().manual_seed(0))
    return delta @ torch.linalg.pinv(A), A


@wrong("13.1", "Return two matrices")
def one_product(delta, r):
    u, s, vt = parts(delta)
    return u[:, :r] * s[:r] @ vt[:r]


# --- 13.2 The layer ------------------------------------------------------------------------------


def update(x, A, B, scale, dropout=0.0, training=False):
    return scale * F.dropout(x, dropout, training) @ A.T @ B.T


@wrong("13.2", "alpha / r is missing")
def scale_forgotten(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + update(x, A, B, 1, dropout, training)


@wrong("13.2", "scaled by alpha; it is alpha / r")
def alpha_alone(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + update(x, A, B, alpha, dropout, training)


@wrong("13.2", "upside down")
def rank_over_alpha(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + update(x, A, B, len(A) / alpha, dropout, training)


@wrong("13.2", "root of r")
def root_of_the_rank(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + update(x, A, B, alpha / math.sqrt(len(A)), dropout, training)


@wrong("13.2", "divided by the width")
def wrong_side_of_a(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + update(x, A, B, alpha / A.shape[1], dropout, training)


@wrong("13.2", "The base is missing")
def update_alone(x, W, A, B, alpha, dropout=0.0, training=False):
    return update(x, A, B, alpha / len(A), dropout, training)


@wrong("13.2", "The base was scaled too")
def base_scaled(x, W, A, B, alpha, dropout=0.0, training=False):
    return alpha / len(A) * (x @ W.T + update(x, A, B, 1, dropout, training))


@wrong("13.2", "x @ W is not x @ W.T")
def weight_not_transposed(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W + update(x, A, B, alpha / len(A), dropout, training)


@wrong("13.2", "x @ (B A) is not")
def product_not_transposed(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + alpha / len(A) * x @ (B @ A)


@wrong("13.2", "The shapes do not meet")
def a_and_b_swapped(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + alpha / len(A) * x @ (A @ B)


@wrong("13.2", "still dropout")
def dropout_always_on(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + alpha / len(A) * F.dropout(x, dropout) @ A.T @ B.T


@wrong("13.2", "reached the base")
def dropout_on_everything(x, W, A, B, alpha, dropout=0.0, training=False):
    x = F.dropout(x, dropout, training)
    return x @ W.T + update(x, A, B, alpha / len(A))


@wrong("13.2", "nothing is dropped")
def dropout_forgotten(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + update(x, A, B, alpha / len(A))


@wrong("13.2", "whole updates")
def dropout_on_the_update(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + F.dropout(update(x, A, B, alpha / len(A)), dropout, training)


@wrong("13.2", "not scaled up")
def dropout_without_scale(x, W, A, B, alpha, dropout=0.0, training=False):
    kept = x * (torch.rand_like(x) >= dropout) if training else x
    return x @ W.T + update(kept, A, B, alpha / len(A))


@wrong("13.2", "The share p was kept")
def dropout_of_the_other_share(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + update(x, A, B, alpha / len(A), 1 - dropout, training)


@wrong("13.2", "The share p was kept")
def other_share_with_this_scale(x, W, A, B, alpha, dropout=0.0, training=False):
    kept = x * (torch.rand_like(x) < dropout) / (1 - dropout) if training else x
    return x @ W.T + update(kept, A, B, alpha / len(A))


@wrong("13.2", "without a seed of your own")
def dropout_with_a_seed(x, W, A, B, alpha, dropout=0.0, training=False):
    torch.manual_seed(0)
    return x @ W.T + update(x, A, B, alpha / len(A), dropout, training)


@wrong("13.2", "or A did")
def dropout_of_the_matrix(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + update(x, F.dropout(A, dropout, training), B, alpha / len(A))


@wrong("13.2", "whole updates")
def dropout_between_a_and_b(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + alpha / len(A) * F.dropout(x @ A.T, dropout, training) @ B.T


@wrong("13.2", "the one that is dropped?")
def dropout_of_a_half(x, W, A, B, alpha, dropout=0.0, training=False):
    return x @ W.T + update(x, A, B, alpha / len(A), 0.5, training)


@wrong("13.2", "changes its argument")
def dropout_in_place(x, W, A, B, alpha, dropout=0.0, training=False):
    y = x @ W.T
    return y + update(F.dropout(x, dropout, training, inplace=True), A, B, alpha / len(A))


# --- 13.3 The start ------------------------------------------------------------------------------


def random_A(n_in, rank):
    return torch.randn(rank, n_in) / math.sqrt(n_in)


@wrong("13.3", "Both are zero")
def both_zero(n_in, n_out, rank):
    return torch.zeros(rank, n_in), torch.zeros(n_out, rank)


@wrong("13.3", "B A is not zero")
def both_random(n_in, n_out, rank):
    return random_A(n_in, rank), torch.randn(n_out, rank) / math.sqrt(rank)


@wrong("13.3", "Not even small numbers")
def both_random_one_small(n_in, n_out, rank):
    return random_A(n_in, rank), 1e-4 * torch.randn(n_out, rank)


@wrong("13.3", "asks for A at random")
def a_zero_b_random(n_in, n_out, rank):
    return torch.zeros(rank, n_in), torch.randn(n_out, rank)


@wrong("13.3", "The variance is 1: ")
def variance_one(n_in, n_out, rank):
    return torch.randn(rank, n_in), torch.zeros(n_out, rank)


@wrong("13.3", "divide by the root")
def deviation_one_over_n(n_in, n_out, rank):
    return torch.randn(rank, n_in) / n_in, torch.zeros(n_out, rank)


@wrong("13.3", "variance is 1 / rank")
def variance_by_the_rank(n_in, n_out, rank):
    return torch.randn(rank, n_in) / math.sqrt(rank), torch.zeros(n_out, rank)


@wrong("13.3", "a third")
def uniform_without_the_three(n_in, n_out, rank):
    A = (2 * torch.rand(rank, n_in) - 1) / math.sqrt(n_in)
    return A, torch.zeros(n_out, rank)


@wrong("13.3", "mean 0")
def never_below_zero(n_in, n_out, rank):
    return torch.rand(rank, n_in) / math.sqrt(n_in), torch.zeros(n_out, rank)


@wrong("13.3", "transposed")
def transposed_pair(n_in, n_out, rank):
    return random_A(n_in, rank).T, torch.zeros(rank, n_out)


@wrong("13.3", "B came first")
def b_before_a(n_in, n_out, rank):
    return torch.zeros(n_out, rank), random_A(n_in, rank)


@wrong("13.3", "the very same A")
def seeded_inside(n_in, n_out, rank):
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(rank, n_in, generator=generator) / math.sqrt(n_in)
    return A, torch.zeros(n_out, rank)


@wrong("13.3", "1 / n_out")
def variance_by_the_output(n_in, n_out, rank):
    return torch.randn(rank, n_in) / math.sqrt(n_out), torch.zeros(n_out, rank)


@wrong("13.3", "as Xavier's")
def as_xavier(n_in, n_out, rank):
    return torch.nn.init.xavier_normal_(torch.empty(rank, n_in)), torch.zeros(n_out, rank)


@wrong("13.3", "A's rows are the same")
def one_row_for_all(n_in, n_out, rank):
    return random_A(n_in, 1).repeat(rank, 1), torch.zeros(n_out, rank)


@wrong("13.3", "A's columns are the same")
def one_column_for_all(n_in, n_out, rank):
    return (torch.randn(rank, 1) / math.sqrt(n_in)).repeat(1, n_in), torch.zeros(n_out, rank)


@wrong("13.3", "Some rows of A are larger")
def rows_of_two_sizes(n_in, n_out, rank):
    A = random_A(n_in, rank)
    A[::2] *= math.sqrt(1.8)
    A[1::2] *= math.sqrt(0.2)
    return A, torch.zeros(n_out, rank)


@wrong("13.3", "do not have mean 0.")
def shifted(n_in, n_out, rank):
    return random_A(n_in, rank) + 0.5 / math.sqrt(n_in), torch.zeros(n_out, rank)


@wrong("13.3", "whole numbers")
def whole_zeros(n_in, n_out, rank):
    return random_A(n_in, rank), torch.zeros(n_out, rank, dtype=torch.long)


# --- 13.4 Counting -------------------------------------------------------------------------------


def with_rule(rule, shapes, rank):
    n = sum(rule(n_out, n_in, rank) for n_out, n_in in shapes)
    return n, n / sum(n_out * n_in for n_out, n_in in shapes)


@wrong("13.4", "added, not multiplied")
def product_of_all(shapes, rank):
    return with_rule(lambda o, i, r: r * o * i, shapes, rank)


@wrong("13.4", "You counted A alone")
def a_alone(shapes, rank):
    return with_rule(lambda o, i, r: r * i, shapes, rank)


@wrong("13.4", "as wide as the input")
def square_layers(shapes, rank):
    return with_rule(lambda o, i, r: 2 * r * i, shapes, rank)


@wrong("13.4", "The rank is missing")
def no_rank(shapes, rank):
    return with_rule(lambda o, i, r: o + i, shapes, rank)


@wrong("13.4", "r × r matrix too many")
def a_matrix_in_between(shapes, rank):
    return with_rule(lambda o, i, r: r * (o + i) + r * r, shapes, rank)


@wrong("13.4", "The frozen weights are counted too")
def frozen_counted(shapes, rank):
    return with_rule(lambda o, i, r: o * i + r * (o + i), shapes, rank)


@wrong("13.4", "Only the first layer")
def first_layer(shapes, rank):
    return with_rule(lambda o, i, r: r * (o + i), shapes[:1], rank)


@wrong("13.4", "the adapter's own included")
def share_of_everything(shapes, rank):
    n, _ = with_rule(lambda o, i, r: r * (o + i), shapes, rank)
    return n, n / (n + sum(o * i for o, i in shapes))


@wrong("13.4", "in percent")
def percent(shapes, rank):
    n, share = with_rule(lambda o, i, r: r * (o + i), shapes, rank)
    return n, 100 * share


@wrong("13.4", "mean of the layers' shares")
def mean_of_shares(shapes, rank):
    n, _ = with_rule(lambda o, i, r: r * (o + i), shapes, rank)
    return n, sum(rank * (o + i) / (o * i) for o, i in shapes) / len(shapes)


@wrong("13.4", "a bias for each output")
def biases_too(shapes, rank):
    return with_rule(lambda o, i, r: r * (o + i) + o, shapes, rank)


@wrong("13.4", "These are bytes")
def in_bytes(shapes, rank):
    return with_rule(lambda o, i, r: 4 * r * (o + i), shapes, rank)


@wrong("13.4", "layers of one shape only once")
def each_shape_once(shapes, rank):
    return with_rule(lambda o, i, r: r * (o + i), set(shapes), rank)


@wrong("13.4", "Only the last layer")
def last_layer(shapes, rank):
    return with_rule(lambda o, i, r: r * (o + i), shapes[-1:], rank)


@wrong("13.4", "rounded to 2 digits")
def rounded(shapes, rank):
    n, share = with_rule(lambda o, i, r: r * (o + i), shapes, rank)
    return n, round(share, 2)


@wrong("13.4", "share of the first layer's")
def share_of_the_first(shapes, rank):
    n, _ = with_rule(lambda o, i, r: r * (o + i), shapes, rank)
    return n, n / (shapes[0][0] * shapes[0][1])


@wrong("13.4", "The share came first")
def share_before_count(shapes, rank):
    return with_rule(lambda o, i, r: r * (o + i), shapes, rank)[::-1]


# --- 13.5 Merge and unmerge ----------------------------------------------------------------------


def put(layer, wanted, delta):
    """A right way of keeping the state, for those whose mistake is the update."""
    if wanted != layer.merged:
        layer.weight = layer.weight + (delta if wanted else -delta)
        layer.merged = wanted
    return layer


@wrong("13.5", "The scale alpha / r is forgotten")
def merged_without_scale(layer, wanted):
    return put(layer, wanted, layer.B @ layer.A)


@wrong("13.5", "not divided by r")
def merged_with_alpha(layer, wanted):
    return put(layer, wanted, layer.alpha * layer.B @ layer.A)


@wrong("13.5", "The product is transposed")
def merged_transposed(layer, wanted):
    return put(layer, wanted, layer.alpha / len(layer.A) * (layer.B @ layer.A).T)


@wrong("13.5", "width of the layer")
def merged_by_the_width(layer, wanted):
    return put(layer, wanted, layer.alpha / layer.A.shape[1] * layer.B @ layer.A)


@wrong("13.5", "took the weight's place")
def weight_replaced(layer, wanted):
    layer.weight = layer.alpha / len(layer.A) * layer.B @ layer.A
    layer.merged = wanted
    return layer


def delta_of(layer):
    return layer.alpha / len(layer.A) * layer.B @ layer.A


@wrong("13.5", "you merged it twice")
def merged_twice(layer, wanted):
    layer.weight = layer.weight + (delta_of(layer) if wanted else -delta_of(layer))
    layer.merged = wanted
    return layer


@wrong("13.5", "turns the state over")
def toggled(layer, wanted):
    layer.weight = layer.weight + (-delta_of(layer) if layer.merged else delta_of(layer))
    layer.merged = not layer.merged
    return layer


@wrong("13.5", "took the update out all the same")
def unmerged_twice(layer, wanted):
    if wanted and not layer.merged:
        layer.weight = layer.weight + delta_of(layer)
    elif not wanted:
        layer.weight = layer.weight - delta_of(layer)
    layer.merged = wanted
    return layer


@wrong("13.5", "does not say what was done")
def flag_forgotten(layer, wanted):
    if wanted != layer.merged:
        layer.weight = layer.weight + (delta_of(layer) if wanted else -delta_of(layer))
    return layer


@wrong("13.5", "Nothing has happened")
def flag_alone(layer, wanted):
    layer.merged = wanted
    return layer


@wrong("13.5", "A or B was changed")
def adapter_cleared(layer, wanted):
    put(layer, wanted, delta_of(layer))
    layer.B = torch.zeros_like(layer.B)
    return layer


@wrong("13.5", "Return the layer")
def nothing_returned(layer, wanted):
    put(layer, wanted, delta_of(layer))


@wrong("13.5", "added where it has to be taken out")
def sign_wrong(layer, wanted):
    return put(layer, wanted, -delta_of(layer))


@wrong("13.5", "Return the layer itself")
def weight_returned(layer, wanted):
    return put(layer, wanted, delta_of(layer)).weight


@wrong("13.5", "Nothing has happened")
def never_unmerged(layer, wanted):
    return put(layer, wanted, delta_of(layer)) if wanted else layer


@wrong("13.5", "The scale alpha / r is forgotten")
def scale_forgotten_on_the_way_back(layer, wanted):
    return put(layer, wanted, delta_of(layer) if wanted else layer.B @ layer.A)


@wrong("13.5", "A or B was changed")
def scale_put_into_a(layer, wanted):
    layer.A = layer.alpha / len(layer.A) * layer.A
    return put(layer, wanted, layer.B @ layer.A)


# --- 13.6 What learns ----------------------------------------------------------------------------


def freeze(model, learns=lambda name: "lora_" in name):
    for name, weights in model.named_parameters():
        weights.requires_grad_(learns(name))


@wrong("13.6", "before they were frozen")
def frozen_after_the_optimizer(model, rate):
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    freeze(model)
    return optimizer


@wrong("13.6", "without regard to it")
def optimizer_of_everything(model, rate):
    freeze(model)
    return torch.optim.AdamW(model.parameters(), lr=rate)


@wrong("13.6", "frozen with the rest")
def all_frozen(model, rate):
    model.requires_grad_(False)
    return torch.optim.AdamW([p for n, p in model.named_parameters() if "lora_" in n], lr=rate)


@wrong("13.6", "(here the whole model came frozen)")
def adapters_not_unfrozen(model, rate):
    adapters = []
    for name, weights in model.named_parameters():
        if "lora_" in name:
            adapters.append(weights)
        else:
            weights.requires_grad_(False)
    return torch.optim.AdamW(adapters, lr=rate)


@wrong("13.6", "Only one of A and B")
def b_alone(model, rate):
    freeze(model, lambda name: "lora_B" in name)
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)


@wrong("13.6", "The biases still require a gradient")
def biases_left(model, rate):
    freeze(model, lambda name: "lora_" in name or name.endswith("bias"))
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)


@wrong("13.6", "Still not frozen")
def nothing_frozen(model, rate):
    model.requires_grad_(True)
    return torch.optim.AdamW([p for n, p in model.named_parameters() if "lora_" in n], lr=rate)


@wrong("13.6", "Still not frozen")
def norms_left(model, rate):
    freeze(model, lambda name: "lora_" in name or "norm" in name)
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)


@wrong("13.6", "The optimizer lacks")
def optimizer_of_a_alone(model, rate):
    freeze(model)
    return torch.optim.AdamW([p for n, p in model.named_parameters() if "lora_A" in n], lr=rate)


@wrong("13.6", "learning rate is not the one")
def rate_forgotten(model, rate):
    freeze(model)
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])


@wrong("13.6", "Return the optimizer")
def parameters_returned(model, rate):
    freeze(model)
    return [p for p in model.parameters() if p.requires_grad]


def learning(model):
    freeze(model)
    return [p for p in model.parameters() if p.requires_grad]


@wrong("13.6", "This is SGD")
def another_optimizer(model, rate):
    return torch.optim.SGD(learning(model), lr=rate)


@wrong("13.6", "others than before")
def adapters_begun_anew(model, rate):
    for weights in learning(model):
        torch.nn.init.zeros_(weights)
    return torch.optim.AdamW(learning(model), lr=rate)


@wrong("13.6", "The optimizer lacks")
def copies_of_the_adapters(model, rate):
    copies = [p.detach().clone().requires_grad_() for p in learning(model)]
    return torch.optim.AdamW(copies, lr=rate)


@wrong("13.6", "Still not frozen")
def attribute_of_the_model(model, rate):
    model.requires_grad = False
    return torch.optim.AdamW([p for n, p in model.named_parameters() if "lora_" in n], lr=rate)


@wrong("13.6", "frozen parameters on its list")
def others_at_rate_zero(model, rate):
    adapters = learning(model)
    others = [p for p in model.parameters() if not p.requires_grad]
    return torch.optim.AdamW([{"params": adapters}, {"params": others, "lr": 0.0}], lr=rate)


@wrong("13.6", "learning rate is not the one")
def two_rates(model, rate):
    A, B = learning(model)
    return torch.optim.AdamW([{"params": [A]}, {"params": [B], "lr": 16 * rate}], lr=rate)


# --- 13.7 Two adapters in one --------------------------------------------------------------------


def stacked(one, two, f1=1.0, f2=1.0, alpha=None):
    A, B = torch.cat([one[0], two[0]]), torch.cat([f1 * one[1], f2 * two[1]], 1)
    return A, B, len(A) if alpha is None else alpha


def factor(adapter):
    return adapter[2] / len(adapter[0])


@wrong("13.7", "alpha / r of the two are forgotten")
def factors_forgotten(one, two):
    return stacked(one, two)


@wrong("13.7", "The alphas were added")
def alphas_added(one, two):
    return stacked(one, two, alpha=one[2] + two[2])


@wrong("13.7", "without being divided")
def alphas_for_factors(one, two):
    return stacked(one, two, one[2], two[2])


@wrong("13.7", "sum of the ranks comes on top")
def factors_and_alphas(one, two):
    return stacked(one, two, factor(one), factor(two), alpha=one[2] + two[2])


@wrong("13.7", "belong to neither")
def all_three_added(one, two):
    return one[0] + two[0], one[1] + two[1], one[2] + two[2]


@wrong("13.7", "factor of the first")
def first_factor_for_both(one, two):
    return stacked(one, two, factor(one), factor(one))


@wrong("13.7", "count twice")
def factors_twice(one, two):
    A, B, alpha = stacked(one, two, factor(one), factor(two))
    scale = torch.tensor([factor(one)] * len(one[0]) + [factor(two)] * len(two[0]))
    return scale[:, None] * A, B, alpha


@wrong("13.7", "the new alpha / r comes on top")
def alpha_of_one(one, two):
    return stacked(one, two, factor(one), factor(two), alpha=1.0)


@wrong("13.7", "B₁A₂")
def matrices_added(one, two):
    return one[0] + two[0], one[1] + two[1], one[2]


@wrong("13.7", "B₁A₂")
def scaled_matrices_added(one, two):
    A, B = one[0] + two[0], factor(one) * one[1] + factor(two) * two[1]
    return A, B, len(A)


@wrong("13.7", "crossed")
def order_turned(one, two):
    A = torch.cat([two[0], one[0]])
    B = torch.cat([factor(one) * one[1], factor(two) * two[1]], 1)
    return A, B, len(A)


@wrong("13.7", "These do not make an update")
def laid_the_other_way(one, two):
    return torch.cat([one[0], two[0]], 1), torch.cat([one[1], two[1]], 0), len(one[0])


@wrong("13.7", "is enough")
def whole_matrix(one, two):
    delta = factor(one) * one[1] @ one[0] + factor(two) * two[1] @ two[0]
    return torch.eye(5), delta, 5


@wrong("13.7", "first adapter alone")
def first_alone(one, two):
    return one


@wrong("13.7", "Only the first part")
def second_factor_forgotten(one, two):
    return stacked(one, two, factor(one))


@wrong("13.7", "The old factors are swapped")
def factors_swapped(one, two):
    return stacked(one, two, factor(two), factor(one))


@wrong("13.7", "half of the sum")
def rank_of_the_first(one, two):
    return stacked(one, two, factor(one), factor(two), alpha=len(one[0]))


@wrong("13.7", "Return three things")
def update_alone_of_both(one, two):
    return factor(one) * one[1] @ one[0] + factor(two) * two[1] @ two[0]


@wrong("13.7", "These do not make an update")
def b_came_first(one, two):
    A, B, alpha = stacked(one, two, factor(one), factor(two))
    return B, A, alpha
