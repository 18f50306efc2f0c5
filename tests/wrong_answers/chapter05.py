"""Plausible wrong answers to the exercises of chapter 05."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from wrong_answers import wrong

# --- 5.1 Layer norm ------------------------------------------------------------------------------


def standardise(x, weight, bias, mean, variance, eps):
    return (x - mean) / (variance + eps).sqrt() * weight + bias


@wrong("5.1", "The variance divides by C − 1")
def unbiased_variance(x, weight, bias, eps=1e-5):
    return standardise(x, weight, bias, x.mean(-1, True), x.var(-1, keepdim=True), eps)


@wrong("5.1", "eps is outside the root")
def eps_outside_the_root(x, weight, bias, eps=1e-5):
    spread = x.std(-1, keepdim=True, unbiased=False)
    return (x - x.mean(-1, keepdim=True)) / (spread + eps) * weight + bias


@wrong("5.1", "another dimension than the last")
def over_the_batch(x, weight, bias, eps=1e-5):
    mean, variance = x.mean(0, keepdim=True), x.var(0, keepdim=True, unbiased=False)
    return standardise(x, weight, bias, mean, variance, eps)


@wrong("5.1", "run over the positions")
def over_the_positions(x, weight, bias, eps=1e-5):
    dim = 1 if x.ndim == 3 else -1
    mean, variance = x.mean(dim, keepdim=True), x.var(dim, keepdim=True, unbiased=False)
    return standardise(x, weight, bias, mean, variance, eps)


@wrong("5.1", "over the whole tensor")
def over_everything(x, weight, bias, eps=1e-5):
    return standardise(x, weight, bias, x.mean(), x.var(unbiased=False), eps)


@wrong("5.1", "The mean is not subtracted")
def root_mean_square(x, weight, bias, eps=1e-5):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight + bias


@wrong("5.1", "divided by the variance")
def divided_by_the_variance(x, weight, bias, eps=1e-5):
    variance = x.var(-1, keepdim=True, unbiased=False)
    return (x - x.mean(-1, keepdim=True)) / (variance + eps) * weight + bias


@wrong("5.1", "Weight and bias are missing")
def without_scale_and_shift(x, weight, bias, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], eps=eps)


@wrong("5.1", "The bias is missing")
def without_shift(x, weight, bias, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], weight, None, eps)


@wrong("5.1", "scale first, then shift")
def shifted_before_scaled(x, weight, bias, eps=1e-5):
    return (F.layer_norm(x, x.shape[-1:], eps=eps) + bias) * weight


@wrong("5.1", "0/0 without eps")
def without_eps(x, weight, bias, eps=1e-5):
    return standardise(x, weight, bias, x.mean(-1, True), x.var(-1, False, keepdim=True), 0.0)


@wrong("5.1", "Is one of them detached?")
def mean_and_variance_detached(x, weight, bias, eps=1e-5):
    mean = x.mean(-1, keepdim=True).detach()
    variance = x.var(-1, keepdim=True, unbiased=False).detach()
    return standardise(x, weight, bias, mean, variance, eps)


@wrong("5.1", "no gradient flows back")
def through_lists(x, weight, bias, eps=1e-5):
    return F.layer_norm(torch.tensor(x.tolist()), x.shape[-1:], weight, bias, eps)


@wrong("5.1", "whatever is passed")
def fixed_eps(x, weight, bias, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-5)


# --- 5.2 Words and places ------------------------------------------------------------------------


@wrong("5.2", "The positions are missing")
def tokens_alone(ids, token_table, position_table):
    return token_table[ids]


@wrong("5.2", "indexed with the ids")
def positions_of_the_ids(ids, token_table, position_table):
    return token_table[ids] + position_table[ids]


@wrong("5.2", "count from 1")
def counted_from_one(ids, token_table, position_table):
    T = ids.shape[1]
    return token_table[ids] + position_table[(torch.arange(T) + 1) % len(position_table)]


@wrong("5.2", "only the first T rows take part")
def whole_position_table(ids, token_table, position_table):
    return token_table[ids] + position_table


@wrong("5.2", "depends on the sequence in the batch")
def position_of_the_sequence(ids, token_table, position_table):
    return token_table[ids] + position_table[: ids.shape[0]].unsqueeze(1)


@wrong("5.2", "laid side by side")
def side_by_side(ids, token_table, position_table):
    places = position_table[: ids.shape[1]].expand(len(ids), -1, -1)
    return torch.cat([token_table[ids], places], dim=2)


@wrong("5.2", "took the last T rows")
def last_rows(ids, token_table, position_table):
    return token_table[ids] + position_table[-ids.shape[1] :]


@wrong("5.2", "they are added")
def multiplied(ids, token_table, position_table):
    return token_table[ids] * position_table[: ids.shape[1]]


@wrong("5.2", "multiplied by √C")
def tokens_scaled(ids, token_table, position_table):
    return token_table[ids] * token_table.shape[1] ** 0.5 + position_table[: ids.shape[1]]


@wrong("5.2", "numbered from the end")
def from_the_end(ids, token_table, position_table):
    return token_table[ids] + position_table[torch.arange(ids.shape[1] - 1, -1, -1)]


@wrong("5.2", "go on from one sequence")
def through_the_batch(ids, token_table, position_table):
    places = torch.arange(ids.numel()).reshape(ids.shape) % len(position_table)
    return token_table[ids] + position_table[places]


@wrong("5.2", "The value is not the expected one")
def order_of_the_ids(ids, token_table, position_table):
    return token_table[ids] + position_table[ids.argsort(dim=1)]


# --- 5.3 Two sums --------------------------------------------------------------------------------


@wrong("5.3", "Both residual sums are missing")
def no_residual(x, norm1, attention, norm2, mlp):
    return mlp(norm2(attention(norm1(x))))


@wrong("5.3", "The second sum is missing")
def no_second_sum(x, norm1, attention, norm2, mlp):
    x = x + attention(norm1(x))
    return mlp(norm2(x))


@wrong("5.3", "The first sum is missing")
def no_first_sum(x, norm1, attention, norm2, mlp):
    x = attention(norm1(x))
    return x + mlp(norm2(x))


@wrong("5.3", "This is post-norm")
def post_norm(x, norm1, attention, norm2, mlp):
    x = norm1(x + attention(x))
    return norm2(x + mlp(x))


@wrong("5.3", "You normalised the stream itself")
def normalised_stream(x, norm1, attention, norm2, mlp):
    x = norm1(x)
    x = x + attention(x)
    x = norm2(x)
    return x + mlp(x)


@wrong("5.3", "Both parts read the x that came in")
def parallel(x, norm1, attention, norm2, mlp):
    return x + attention(norm1(x)) + mlp(norm2(x))


@wrong("5.3", "attention's own sum is lost")
def added_to_the_start(x, norm1, attention, norm2, mlp):
    middle = x + attention(norm1(x))
    return x + mlp(norm2(middle))


@wrong("5.3", "The norms are missing")
def no_norms(x, norm1, attention, norm2, mlp):
    x = x + attention(x)
    return x + mlp(x)


@wrong("5.3", "`norm1` stands before both parts")
def first_norm_twice(x, norm1, attention, norm2, mlp):
    x = x + attention(norm1(x))
    return x + mlp(norm1(x))


@wrong("5.3", "changes its argument")
def in_place(x, norm1, attention, norm2, mlp):
    x += attention(norm1(x))
    return x + mlp(norm2(x))


@wrong("5.3", "The norms are exchanged")
def norms_exchanged(x, norm1, attention, norm2, mlp):
    x = x + attention(norm2(x))
    return x + mlp(norm1(x))


@wrong("5.3", "The MLP reads the stream as it is")
def first_norm_alone(x, norm1, attention, norm2, mlp):
    x = x + attention(norm1(x))
    return x + mlp(x)


@wrong("5.3", "Attention reads the stream as it is")
def second_norm_alone(x, norm1, attention, norm2, mlp):
    x = x + attention(x)
    return x + mlp(norm2(x))


@wrong("5.3", "`norm2` stands before both parts")
def second_norm_twice(x, norm1, attention, norm2, mlp):
    x = x + attention(norm2(x))
    return x + mlp(norm2(x))


@wrong("5.3", "only what attention returned")
def mlp_reads_what_attention_found(x, norm1, attention, norm2, mlp):
    found = attention(norm1(x))
    return x + found + mlp(norm2(found))


@wrong("5.3", "One norm too many")
def normalised_at_the_end(x, norm1, attention, norm2, mlp):
    x = x + attention(norm1(x))
    return norm2(x + mlp(norm2(x)))


# --- 5.4 One matrix, two names -------------------------------------------------------------------


@wrong("5.4", "The numbers were copied")
def copied(model):
    with torch.no_grad():
        model.head.weight.copy_(model.embedding.weight)
    return model


@wrong("5.4", "The numbers were copied")
def cloned(model):
    model.head.weight = nn.Parameter(model.embedding.weight.detach().clone())
    return model


@wrong("5.4", "share their numbers but are two objects")
def shared_data(model):
    model.head.weight.data = model.embedding.weight.data
    return model


@wrong("5.4", "The embedding's numbers should be kept")
def the_other_way_round(model):
    model.embedding.weight = model.head.weight
    return model


@wrong("5.4", "return the model that it has tied")
def returns_nothing(model):
    model.head.weight = model.embedding.weight


@wrong("5.4", "no transposing is needed")
def transposed(model):
    model.head.weight = model.embedding.weight.T
    return model


@wrong("5.4", "still different matrices")
def whole_layers(model):
    model.output = model.embedding
    return model


@wrong("5.4", "can no longer learn")
def frozen(model):
    model.head.weight = model.embedding.weight.requires_grad_(False)
    return model


@wrong("5.4", "The numbers were copied")
def deep_copy(model):
    model.head.weight = copy.deepcopy(model.embedding.weight)
    return model


@wrong("5.4", "must remain what they are")
def one_layer_for_both(model):
    model.head = model.embedding
    return model


@wrong("5.4", "something besides the shared matrix")
def head_with_a_bias(model):
    model.head = nn.Linear(*reversed(model.embedding.weight.shape))
    model.head.weight = model.embedding.weight
    return model


# --- 5.5 Count the parameters --------------------------------------------------------------------


@wrong("5.5", "The tied matrix was counted twice")
def tied_counted_twice(vocab_size, context_length, n_layer, n_embd):
    C = n_embd
    return (2 * vocab_size + context_length) * C + n_layer * (12 * C * C + 13 * C) + 2 * C


@wrong("5.5", "The position embedding is missing")
def without_positions(vocab_size, context_length, n_layer, n_embd):
    C = n_embd
    return vocab_size * C + n_layer * (12 * C * C + 13 * C) + 2 * C


@wrong("5.5", "The norm before the head is missing")
def without_the_last_norm(vocab_size, context_length, n_layer, n_embd):
    C = n_embd
    return (vocab_size + context_length) * C + n_layer * (12 * C * C + 13 * C)


@wrong("5.5", "The biases of the matrices are missing")
def without_biases(vocab_size, context_length, n_layer, n_embd):
    C = n_embd
    return (vocab_size + context_length) * C + n_layer * (12 * C * C + 4 * C) + 2 * C


@wrong("5.5", "Biases and norms are missing")
def rule_of_thumb(vocab_size, context_length, n_layer, n_embd):
    return (vocab_size + context_length) * n_embd + 12 * n_layer * n_embd**2


@wrong("5.5", "The matrix back from the heads is missing")
def without_the_way_back(vocab_size, context_length, n_layer, n_embd):
    C = n_embd
    return (vocab_size + context_length) * C + n_layer * (11 * C * C + 12 * C) + 2 * C


@wrong("5.5", "Each block has two norms")
def one_norm_a_block(vocab_size, context_length, n_layer, n_embd):
    C = n_embd
    return (vocab_size + context_length) * C + n_layer * (12 * C * C + 11 * C) + 2 * C


@wrong("5.5", "whole number")
def a_float(vocab_size, context_length, n_layer, n_embd):
    C = n_embd
    return (vocab_size + context_length) * C + n_layer * (24 * C * C / 2 + 13 * C) + 2 * C


@wrong("5.5", "The biases of the MLP are missing")
def without_biases_of_the_mlp(vocab_size, context_length, n_layer, n_embd):
    C = n_embd
    return (vocab_size + context_length) * C + n_layer * (12 * C * C + 8 * C) + 2 * C


@wrong("5.5", "The biases of attention are missing")
def without_biases_of_attention(vocab_size, context_length, n_layer, n_embd):
    C = n_embd
    return (vocab_size + context_length) * C + n_layer * (12 * C * C + 9 * C) + 2 * C


@wrong("5.5", "the position embedding was not")
def head_instead_of_positions(vocab_size, context_length, n_layer, n_embd):
    C = n_embd
    return 2 * vocab_size * C + n_layer * (12 * C * C + 13 * C) + 2 * C


@wrong("5.5", "whole number")
def a_float_tensor(vocab_size, context_length, n_layer, n_embd):
    C = n_embd
    count = (vocab_size + context_length) * C + n_layer * (12 * C * C + 13 * C) + 2 * C
    return torch.tensor(count, dtype=torch.float64)


# --- 5.6 What a training run costs ---------------------------------------------------------------


def operations(vocab_size, n_layer, n_embd, T):
    return 2 * (n_layer * (12 * n_embd**2 + 2 * T * n_embd) + n_embd * vocab_size)


@wrong("5.6", "The backward pass is missing")
def forward_alone(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    forward = operations(vocab_size, n_layer, n_embd, T)
    return forward * n_tokens / flops_per_second / 86_400


@wrong("5.6", "You have 4 where 6 is needed")
def backward_like_forward(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    forward = operations(vocab_size, n_layer, n_embd, T)
    return 2 * forward * n_tokens / flops_per_second / 86_400


@wrong("5.6", "A multiplication and its addition are two operations")
def multiplications_alone(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    forward = operations(vocab_size, n_layer, n_embd, T) / 2
    return 3 * forward * n_tokens / flops_per_second / 86_400


@wrong("5.6", "Attention's own products are missing")
def without_scores(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    forward = operations(vocab_size, n_layer, n_embd, 0)
    return 3 * forward * n_tokens / flops_per_second / 86_400


@wrong("5.6", "Only half of attention's products")
def the_causal_half(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    forward = operations(vocab_size, n_layer, n_embd, T / 2)
    return 3 * forward * n_tokens / flops_per_second / 86_400


@wrong("5.6", "The head is missing")
def without_the_head(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    forward = operations(0, n_layer, n_embd, T)
    return 3 * forward * n_tokens / flops_per_second / 86_400


@wrong("5.6", "It is a look-up")
def look_up_as_a_product(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    forward = operations(2 * vocab_size, n_layer, n_embd, T)
    return 3 * forward * n_tokens / flops_per_second / 86_400


@wrong("5.6", "These are seconds")
def seconds(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    return 3 * operations(vocab_size, n_layer, n_embd, T) * n_tokens / flops_per_second


@wrong("5.6", "with T others, not T × T")
def scores_of_a_sequence(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    forward = operations(vocab_size, n_layer, n_embd, T * T)
    return 3 * forward * n_tokens / flops_per_second / 86_400


@wrong("5.6", "The tokens were divided by T")
def sequences_for_tokens(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    forward = operations(vocab_size, n_layer, n_embd, T)
    return 3 * forward * (n_tokens / T) / flops_per_second / 86_400


@wrong("5.6", "The head is trained too")
def head_forward_alone(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    blocks, head = operations(0, n_layer, n_embd, T), 2 * n_embd * vocab_size
    return (3 * blocks + head) * n_tokens / flops_per_second / 86_400


@wrong("5.6", "The days were rounded")
def whole_days(vocab_size, n_layer, n_embd, T, n_tokens, flops_per_second):
    forward = operations(vocab_size, n_layer, n_embd, T)
    return 3 * forward * n_tokens // (flops_per_second * 86_400)


# --- 5.7 Back through layer norm -----------------------------------------------------------------


def parts(x, eps):
    s = (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()
    return s, (x - x.mean(-1, keepdim=True)) / s


@wrong("5.7", "Only the direct way is there")
def direct_alone(x, g, eps=1e-5):
    return g / parts(x, eps)[0]


@wrong("5.7", "The way through the spread s is missing")
def without_the_spread(x, g, eps=1e-5):
    return (g - g.mean(-1, keepdim=True)) / parts(x, eps)[0]


@wrong("5.7", "The way through the mean is missing")
def without_the_mean(x, g, eps=1e-5):
    s, y = parts(x, eps)
    return (g - y * (g * y).mean(-1, keepdim=True)) / s


@wrong("5.7", "The division by s is missing")
def not_divided(x, g, eps=1e-5):
    _, y = parts(x, eps)
    return g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)


@wrong("5.7", "You took sums")
def sums(x, g, eps=1e-5):
    s, y = parts(x, eps)
    return (g - g.sum(-1, keepdim=True) - y * (g * y).sum(-1, keepdim=True)) / s


@wrong("5.7", "used x itself")
def x_for_normalised_x(x, g, eps=1e-5):
    s, _ = parts(x, eps)
    return (g - g.mean(-1, keepdim=True) - x * (g * x).mean(-1, keepdim=True)) / s


@wrong("5.7", "This is the forward pass")
def forward_pass(x, g, eps=1e-5):
    return parts(x, eps)[1]


@wrong("5.7", "Where the variance is small, eps matters")
def backward_without_eps(x, g, eps=1e-5):
    s, y = parts(x, 0.0)
    return (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) / s


@wrong("5.7", "eps is an argument")
def backward_with_fixed_eps(x, g, eps=1e-5):
    s, y = parts(x, 1e-5)
    return (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) / s


@wrong("5.7", "autograd is switched off")
def through_autograd(x, g, eps=1e-5):
    leaf = x.clone().requires_grad_()
    F.layer_norm(leaf, leaf.shape[-1:], eps=eps).backward(g)
    return leaf.grad


@wrong("5.7", "divided by s²")
def divided_twice(x, g, eps=1e-5):
    s, y = parts(x, eps)
    return (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) / s**2


@wrong("5.7", "divides by C − 1")
def backward_of_the_sample_variance(x, g, eps=1e-5):
    s = (x.var(-1, keepdim=True) + eps).sqrt()
    y = (x - x.mean(-1, keepdim=True)) / s
    return (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) / s


@wrong("5.7", "you used x − μ")
def deviations_for_normalised_x(x, g, eps=1e-5):
    s, _ = parts(x, eps)
    c = x - x.mean(-1, keepdim=True)
    return (g - g.mean(-1, keepdim=True) - c * (g * c).mean(-1, keepdim=True)) / s
