"""Plausible wrong answers to the exercises of chapter 04."""

import math

import torch

from wrong_answers import wrong

# --- 4.1 One query -------------------------------------------------------------------------------


@wrong("4.1", "The scores are not scaled")
def no_scale(query, keys, values):
    return torch.softmax(keys @ query, dim=0) @ values


@wrong("4.1", "You divide by head_dim itself")
def divided_by_head_dim(query, keys, values):
    return torch.softmax(keys @ query / query.shape[0], dim=0) @ values


@wrong("4.1", "the root of the number of keys")
def scaled_by_the_number_of_keys(query, keys, values):
    return torch.softmax(keys @ query / len(keys) ** 0.5, dim=0) @ values


@wrong("4.1", "the scores must become smaller")
def multiplied_by_the_root(query, keys, values):
    return torch.softmax(keys @ query * len(query) ** 0.5, dim=0) @ values


@wrong("4.1", "You mix with the scores themselves")
def no_softmax(query, keys, values):
    return keys @ query / len(query) ** 0.5 @ values


@wrong("4.1", "without exponentials")
def scores_over_their_sum(query, keys, values):
    scores = keys @ query / len(query) ** 0.5
    return scores / scores.sum() @ values


@wrong("4.1", "do not sum to one")
def not_normalised(query, keys, values):
    return (keys @ query / len(query) ** 0.5).exp() @ values


@wrong("4.1", "You returned the weights")
def weights_returned(query, keys, values):
    return torch.softmax(keys @ query / len(query) ** 0.5, dim=0)


@wrong("4.1", "You mix the keys")
def keys_mixed(query, keys, values):
    return torch.softmax(keys @ query / len(query) ** 0.5, dim=0) @ keys


@wrong("4.1", "Scores in the thousands overflow")
def exponentials_overflow(query, keys, values):
    e = torch.exp(keys @ query / math.sqrt(len(query)))
    return e / e.sum() @ values


@wrong("4.1", "Scores in the thousands overflow")
def exponentials_of_python_overflow(query, keys, values):
    e = [math.exp(k @ query / math.sqrt(len(query))) for k in keys]
    return torch.tensor(e) / sum(e) @ values


@wrong("4.1", "Two different large scores get equal weights")
def scores_cut_off(query, keys, values):
    scores = (keys @ query / math.sqrt(len(query))).clamp(max=80)
    return scores.exp() / scores.exp().sum() @ values


@wrong("4.1", "Scores in the thousands overflow")
def nan_mended(query, keys, values):
    e = torch.exp(keys @ query / math.sqrt(len(query)))
    return torch.nan_to_num(e / e.sum(), nan=1.0) @ values


@wrong("4.1", "is a `return` missing")
def printed_only(query, keys, values):
    torch.softmax(keys @ query, dim=0) @ values


# --- 4.2 A sliding window ------------------------------------------------------------------------


@wrong("4.2", "one position too wide")
def one_too_wide(T, window):
    return torch.ones(T, T).tril().triu(-window).bool()


@wrong("4.2", "whole past")
def window_forgotten(T, window):
    return torch.ones(T, T).tril().bool()


@wrong("4.2", "covers the future")
def both_sides(T, window):
    i = torch.arange(T)
    return (i[:, None] - i).abs() < window


@wrong("4.2", "transposed")
def queries_as_columns(T, window):
    return torch.ones(T, T).triu().tril(window - 1).bool()


@wrong("4.2", "hides each position from itself")
def self_hidden(T, window):
    return torch.ones(T, T).tril(-1).triu(1 - window).bool()


@wrong("4.2", "one position too narrow")
def one_too_narrow(T, window):
    return torch.ones(T, T).tril().triu(2 - window).bool()


@wrong("4.2", "cut the text into blocks")
def blocks(T, window):
    i = torch.arange(T)
    return (i[:, None] // window == i // window) & (i <= i[:, None])


@wrong("4.2", "begins one position too early")
def window_before_oneself(T, window):
    i = torch.arange(T)
    distance = i[:, None] - i
    return (distance >= 1) & (distance <= window)


@wrong("4.2", "inverted")
def true_means_hidden(T, window):
    i = torch.arange(T)
    return (i[:, None] < i) | (i[:, None] - i >= window)


@wrong("4.2", "The mask has dtype float32")
def floats(T, window):
    return torch.ones(T, T).tril().triu(1 - window)


@wrong("4.2", "Return a tensor")
def lists(T, window):
    return [[0 <= i - j < window for j in range(T)] for i in range(T)]


# --- 4.3 Splitting the heads ---------------------------------------------------------------------


@wrong("4.3", "A `view` or `reshape` straight to")
def reshaped_only(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, n_head, T, C // n_head)


@wrong("4.3", "every n_head-th number")
def strided(x, n_head):
    B, T, C = x.shape
    return x.view(B, T, C // n_head, n_head).permute(0, 3, 1, 2)


@wrong("4.3", "exchange dimensions 1 and 2")
def not_transposed(x, n_head):
    B, T, C = x.shape
    return x.view(B, T, n_head, C // n_head)


@wrong("4.3", "head_dim comes last")
def transposed_twice(x, n_head):
    B, T, C = x.shape
    return x.view(B, T, n_head, C // n_head).permute(0, 2, 3, 1)


@wrong("4.3", "laid into the batch")
def heads_in_the_batch(x, n_head):
    B, T, _ = x.shape
    return x.view(B, T, n_head, -1).transpose(1, 2).reshape(B * n_head, T, -1)


@wrong("4.3", "n_head is how many there are")
def number_and_size_exchanged(x, n_head):
    B, T, C = x.shape
    return x.view(B, T, C // n_head, n_head).transpose(1, 2)


@wrong("4.3", "Return a tensor")
def chunks(x, n_head):
    return x.chunk(n_head, dim=2)


# --- 4.4 Texts of unequal length -----------------------------------------------------------------


def triangle(ids):
    return torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()


@wrong("4.4", "the causal mask is missing")
def padding_only(ids, pad_id):
    return (ids != pad_id)[:, None, None, :]


@wrong("4.4", "may look at no later key")
def padding_expanded_only(ids, pad_id):
    B, T = ids.shape
    return (ids != pad_id)[:, None, None, :].expand(B, 1, T, T)


@wrong("4.4", "forgets the padding")
def causal_only(ids, pad_id):
    return triangle(ids).expand(len(ids), 1, -1, -1)


@wrong("4.4", "hides queries, not keys")
def queries_hidden(ids, pad_id):
    return triangle(ids) & (ids != pad_id)[:, None, :, None]


@wrong("4.4", "also hides real keys from the padding")
def both_hidden(ids, pad_id):
    real = ids != pad_id
    return triangle(ids) & real[:, None, None, :] & real[:, None, :, None]


@wrong("4.4", "True means *may look*")
def inverted(ids, pad_id):
    return ~(triangle(ids) & (ids != pad_id)[:, None, None, :])


@wrong("4.4", "look at padding only")
def equal_instead_of_unequal(ids, pad_id):
    return triangle(ids) & (ids == pad_id)[:, None, None, :]


@wrong("4.4", "triangle is transposed")
def upper_triangle(ids, pad_id):
    return triangle(ids).T & (ids != pad_id)[:, None, None, :]


@wrong("4.4", "joined by *or*")
def or_instead_of_and(ids, pad_id):
    return triangle(ids) | (ids != pad_id)[:, None, None, :]


@wrong("4.4", "dimension of the heads is missing")
def three_dimensions(ids, pad_id):
    return triangle(ids) & (ids != pad_id)[:, None, :]


@wrong("4.4", "dtype int64")
def product_of_numbers(ids, pad_id):
    return triangle(ids).long() * (ids != pad_id)[:, None, None, :]


@wrong("4.4", "lets padding look at itself")
def diagonal_kept(ids, pad_id):
    return (triangle(ids) & (ids != pad_id)[:, None, None, :]) | torch.eye(ids.shape[1]).bool()


@wrong("4.4", "to stand on the right")
def counted_from_the_left(ids, pad_id):
    lengths = (ids != pad_id).sum(dim=1)[:, None]
    return triangle(ids) & (torch.arange(ids.shape[1]) < lengths)[:, None, None, :]


@wrong("4.4", "to stand on the left")
def counted_from_the_right(ids, pad_id):
    padding = (ids == pad_id).sum(dim=1)[:, None]
    return triangle(ids) & (torch.arange(ids.shape[1]) >= padding)[:, None, None, :]


@wrong("4.4", "what is padding, `pad_id` says")
def padding_is_always_zero(ids, pad_id):
    return triangle(ids) & (ids != 0)[:, None, None, :]


# --- 4.5 How long a text fits? -------------------------------------------------------------------


@wrong("4.5", "there are T for each of T queries")
def linear(memory, B, n_head, bytes_per_number):
    return memory // (B * n_head * bytes_per_number)


@wrong("4.5", "Every head has its own table")
def heads_forgotten(memory, B, n_head, bytes_per_number):
    return math.isqrt(memory // (B * bytes_per_number))


@wrong("4.5", "Every text of the batch")
def batch_forgotten(memory, B, n_head, bytes_per_number):
    return math.isqrt(memory // (n_head * bytes_per_number))


@wrong("4.5", "not bytes")
def bytes_forgotten(memory, B, n_head, bytes_per_number):
    return math.isqrt(memory // (B * n_head))


@wrong("4.5", "You count bits")
def bits(memory, B, n_head, bytes_per_number):
    return math.isqrt(memory // (B * n_head * bytes_per_number * 8))


@wrong("4.5", "You rounded up")
def rounded_up(memory, B, n_head, bytes_per_number):
    return math.ceil((memory / (B * n_head * bytes_per_number)) ** 0.5)


@wrong("4.5", "half below the diagonal")
def half_a_square(memory, B, n_head, bytes_per_number):
    return math.isqrt(2 * memory // (B * n_head * bytes_per_number))


@wrong("4.5", "Return an int")
def floor_of_a_float(memory, B, n_head, bytes_per_number):
    return float(math.isqrt(memory // (B * n_head * bytes_per_number)))


@wrong("4.5", "math.isqrt")
def root_of_a_float(memory, B, n_head, bytes_per_number):
    return int(math.sqrt(memory / (B * n_head * bytes_per_number)))


# --- 4.6 Attention without keeping the scores ----------------------------------------------------


def score_of(query, key):
    return query @ key / math.sqrt(len(query))


@wrong("4.6", "Large scores overflow")
def without_a_maximum(query, pairs):
    total = mixture = 0.0
    for key, value in pairs:
        weight = torch.exp(score_of(query, key))
        total, mixture = total + weight, mixture + weight * value
    return mixture / total


@wrong("4.6", "Large scores overflow")
def first_score_as_the_maximum(query, pairs):
    first, total, mixture = None, 0.0, 0.0
    for key, value in pairs:
        first = score_of(query, key) if first is None else first
        weight = torch.exp(score_of(query, key) - first)
        total, mixture = total + weight, mixture + weight * value
    return mixture / total


def with_shrinking(shrink_total, shrink_mixture):
    def streaming_attention(query, pairs):
        largest, total, mixture = torch.tensor(-math.inf), 0.0, 0.0
        for key, value in pairs:
            score = score_of(query, key)
            new = torch.maximum(largest, score)
            shrink, weight = torch.exp(largest - new), torch.exp(score - new)
            total = (total * shrink if shrink_total else total) + weight
            mixture = (mixture * shrink if shrink_mixture else mixture) + weight * value
            largest = new
        return mixture / total

    return streaming_attention


@wrong("4.6", "both sums must shrink")
def nothing_shrinks(query, pairs):
    return with_shrinking(False, False)(query, pairs)


@wrong("4.6", "the sum of the exponentials must shrink")
def only_the_mixture_shrinks(query, pairs):
    return with_shrinking(False, True)(query, pairs)


@wrong("4.6", "the mixture must shrink")
def only_the_total_shrinks(query, pairs):
    return with_shrinking(True, False)(query, pairs)


@wrong("4.6", "keep the keys or values")
def everything_kept(query, pairs):
    keys, values = zip(*pairs, strict=True)
    keys, values = torch.stack(keys), torch.stack(values)
    return torch.softmax(keys @ query / math.sqrt(len(query)), dim=0) @ values


@wrong("4.6", "keep the keys or values")
def scores_and_values_kept(query, pairs):
    scores, values = zip(*((score_of(query, k), v) for k, v in pairs), strict=True)
    return torch.stack(scores).softmax(dim=0) @ torch.stack(values)


@wrong("4.6", "grows with the number of pairs")
def lists_of_numbers_kept(query, pairs):
    scores, values = [], []
    for key, value in pairs:
        scores.append(score_of(query, key).item())
        values.append(value.tolist())
    return torch.tensor(scores).softmax(dim=0) @ torch.tensor(values)


@wrong("4.6", "grows with the number of pairs")
def only_the_scores_kept(query, pairs):
    scores, mixture = [], 0.0
    for key, value in pairs:
        before = torch.tensor(scores).logsumexp(dim=0) if scores else torch.tensor(-math.inf)
        scores.append(score_of(query, key).item())
        after = torch.tensor(scores).logsumexp(dim=0)
        mixture = mixture * (before - after).exp() + (scores[-1] - after).exp() * value
    return mixture


@wrong("4.6", "grows with the number of pairs")
def keys_joined_to_one_tensor(query, pairs):
    table = torch.empty(0)
    for key, value in pairs:
        table = torch.cat([table.reshape(-1, len(key) + len(value)), torch.cat([key, value])[None]])
    keys, values = table[:, : len(query)], table[:, len(query) :]
    return torch.softmax(keys @ query / math.sqrt(len(query)), dim=0) @ values


@wrong("4.6", "more than once")
def two_passes(query, pairs):
    largest = max(score_of(query, key) for key, _ in pairs)
    total = mixture = 0.0
    for key, value in pairs:
        weight = torch.exp(score_of(query, key) - largest)
        total, mixture = total + weight, mixture + weight * value
    return mixture / total


@wrong("4.6", "The scores are not scaled")
def streaming_without_scale(query, pairs):
    return with_shrinking(True, True)(query * math.sqrt(len(query)), pairs)


@wrong("4.6", "plain mean")
def mean(query, pairs):
    n, total = 0, 0.0
    for _, value in pairs:
        n, total = n + 1, total + value
    return total / n


@wrong("4.6", "divided by the sum")
def never_divided(query, pairs):
    largest, mixture = torch.tensor(-math.inf), 0.0
    for key, value in pairs:
        new = torch.maximum(largest, score_of(query, key))
        mixture = mixture * torch.exp(largest - new)
        mixture, largest = mixture + torch.exp(score_of(query, key) - new) * value, new
    return mixture


# --- 4.7 A head built by hand --------------------------------------------------------------------


def shifted(T, by, size):
    return size * torch.eye(T).roll(by, dims=1)


@wrong("4.7", "too much of the weight")
def not_sharp_enough(T):
    return shifted(T, -1, 10.0), torch.eye(T)


@wrong("4.7", "remember the division by √T")
def root_of_T_forgotten(T):
    return shifted(T, -1, 12.0), torch.eye(T)


@wrong("4.7", "its own position")
def looks_at_itself(T):
    return 100 * torch.eye(T), torch.eye(T)


@wrong("4.7", "shift the other way")
def looks_at_the_next(T):
    return shifted(T, 1, 1000.0), torch.eye(T)


@wrong("4.7", "shift the other way")
def keys_shifted_like_queries_should(T):
    return 1000 * torch.eye(T), shifted(T, -1, 1.0)


@wrong("4.7", "shift the other way")
def next_without_wrapping(T):
    return torch.eye(T).roll(1, dims=1).triu() * 1000, torch.eye(T)


@wrong("4.7", "Your scores overflow")
def finite_but_too_large(T):
    return shifted(T, -1, 1e38), 100 * torch.eye(T)


@wrong("4.7", "Not every position")
def two_positions_back(T):
    return 1000 * torch.eye(T).roll(-2, dims=1).tril(), torch.eye(T)


@wrong("4.7", "real numbers")
def complex_numbers(T):
    return shifted(T, -1, 1000.0).to(torch.complex64), torch.eye(T)


@wrong("4.7", "Return two matrices")
def one_product(T):
    return shifted(T, -1, 1000.0)


@wrong("4.7", "tensors of shape")
def weights_as_lists(T):
    return shifted(T, -1, 1000.0).tolist(), torch.eye(T).tolist()


@wrong("4.7", "finite numbers")
def infinite(T):
    return shifted(T, -1, 1.0) * math.inf, torch.eye(T)


@wrong("4.7", "Not every position")
def looks_at_the_first(T):
    W_q = torch.zeros(T, T)
    W_q[:, 0] = 1000.0
    return W_q, torch.eye(T)
