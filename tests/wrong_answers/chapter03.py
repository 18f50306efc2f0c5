"""Plausible wrong answers to the exercises of chapter 03."""

import math

import torch

from wrong_answers import wrong

# --- 3.1 Pack the documents ----------------------------------------------------------------------


@wrong("3.1", "no end-of-text at all")
def end_forgotten(documents, end_id):
    return [i for ids in documents for i in ids]


@wrong("3.1", "last document is not closed")
def only_between(documents, end_id):
    stream = []
    for i, ids in enumerate(documents):
        if i > 0:
            stream.append(end_id)
        stream += ids
    return stream


@wrong("3.1", "before each document")
def end_first(documents, end_id):
    return [i for ids in documents for i in (end_id, *ids)]


@wrong("3.1", "two ends between neighbours")
def both_sides(documents, end_id):
    return [i for ids in documents for i in (end_id, *ids, end_id)]


@wrong("3.1", "only once, behind all of them")
def one_end_for_all(documents, end_id):
    stream = []
    for ids in documents:
        stream.extend(ids)
    return [*stream, end_id]


@wrong("3.1", "one flat list")
def nested(documents, end_id):
    stream = []
    for ids in documents:
        stream.append([*ids, end_id])
    return stream


@wrong("3.1", "changes its argument")
def appends_in_place(documents, end_id):
    stream = []
    for ids in documents:
        ids.append(end_id)
        stream += ids
    return stream


@wrong("3.1", "whatever `end_id` is")
def always_zero(documents, end_id):
    return [i for ids in documents for i in (*ids, 0)]


@wrong("3.1", "is a `return` missing?")
def returns_nothing(documents, end_id):
    stream = []
    for ids in documents:
        stream += [*ids, end_id]


@wrong("3.1", "is the `return` inside the loop?")
def returns_in_the_loop(documents, end_id):
    stream = []
    for ids in documents:
        stream += [*ids, end_id]
        return stream


@wrong("3.1", "a list in a list")
def appends_the_lists(documents, end_id):
    stream = []
    for ids in documents:
        stream.append(ids)
        stream.append(end_id)
    return stream


@wrong("3.1", "behind every id")
def end_inside_the_inner_loop(documents, end_id):
    return [j for ids in documents for i in ids for j in (i, end_id)]


@wrong("3.1", "nothing to close")
def never_empty(documents, end_id):
    return [i for ids in documents for i in (*ids, end_id)] or [end_id]


# --- 3.2 Inputs and targets ----------------------------------------------------------------------


@wrong("3.2", "targets are the inputs themselves")
def not_shifted(stream, T):
    rows = [stream[i : i + T] for i in range(0, len(stream) - T, T)]
    return rows, list(rows)


@wrong("3.2", "have changed places")
def shifted_the_wrong_way(stream, T):
    starts = range(1, len(stream) - T + 1, T)
    return [stream[i : i + T] for i in starts], [stream[i - 1 : i - 1 + T] for i in starts]


@wrong("3.2", "two places later")
def shifted_by_two(stream, T):
    starts = range(0, len(stream) - T, T)
    return [stream[i : i + T] for i in starts], [stream[i + 2 : i + 2 + T] for i in starts]


@wrong("3.2", "begin at every place")
def every_start(stream, T):
    starts = range(len(stream) - T)
    return [stream[i : i + T] for i in starts], [stream[i + 1 : i + T + 1] for i in starts]


@wrong("3.2", "T + 1 apart")
def stride_of_the_whole_window(stream, T):
    windows = [stream[i : i + T + 1] for i in range(0, len(stream) - T, T + 1)]
    return [w[:-1] for w in windows], [w[1:] for w in windows]


@wrong("3.2", "begin less than T apart")
def overlap_by_one(stream, T):
    starts = range(0, len(stream) - T, max(T - 1, 1))
    return [stream[i : i + T] for i in starts], [stream[i + 1 : i + T + 1] for i in starts]


@wrong("3.2", "last window that fits is missing")
def last_window_dropped(stream, T):
    starts = range(0, len(stream) - T - 1, T)
    return [stream[i : i + T] for i in starts], [stream[i + 1 : i + T + 1] for i in starts]


@wrong("3.2", "last window that fits is missing")
def counts_windows_one_short(stream, T):
    n = (len(stream) - 2) // T
    return (
        [stream[i * T : i * T + T] for i in range(n)],
        [stream[i * T + 1 : i * T + T + 1] for i in range(n)],
    )


@wrong("3.2", "no complete targets")
def last_target_missing(stream, T):
    starts = range(0, len(stream) - T + 1, T)
    return [stream[i : i + T] for i in starts], [stream[i + 1 : i + T + 1] for i in starts]


@wrong("3.2", "shorter than T")
def rest_kept(stream, T):
    starts = range(0, len(stream) - 1, T)
    return [stream[i : i + T] for i in starts], [stream[i + 1 : i + T + 1] for i in starts]


@wrong("3.2", "one for each window")
def pairs_of_rows(stream, T):
    starts = range(0, len(stream) - T, T)
    return [(stream[i : i + T], stream[i + 1 : i + T + 1]) for i in starts]


@wrong("3.2", "one target a window, as in chapter 01")
def single_target(stream, T):
    starts = range(0, len(stream) - T, T)
    return [stream[i : i + T] for i in starts], [stream[i + T] for i in starts]


@wrong("3.2", "the next window")
def next_window_as_target(stream, T):
    starts = range(0, len(stream) - T, T)
    return [stream[i : i + T] for i in starts], [stream[i + T : i + 2 * T] for i in starts]


@wrong("3.2", "A target is missing in each row")
def targets_cut_at_the_window(stream, T):
    starts = range(0, len(stream) - T, T)
    return [stream[i : i + T] for i in starts], [stream[i + 1 : i + T] for i in starts]


@wrong("3.2", "T counts the inputs")
def windows_of_t_ids_in_all(stream, T):
    windows = [stream[i : i + T] for i in range(0, len(stream) - T + 1, max(T - 1, 1))]
    return [w[:-1] for w in windows], [w[1:] for w in windows]


@wrong("3.2", "first id of the stream")
def targets_wrap_around(stream, T):
    starts, moved = range(0, len(stream) - T + 1, T), stream[1:] + stream[:1]
    return [stream[i : i + T] for i in starts], [moved[i : i + T] for i in starts]


@wrong("3.2", "fill the last window up")
def padded_with_zeros(stream, T):
    starts, padded = range(0, len(stream) - 1, T), stream + [0] * T
    return [padded[i : i + T] for i in starts], [padded[i + 1 : i + T + 1] for i in starts]


@wrong("3.2", "in one list; return two")
def one_list(stream, T):
    starts = range(0, len(stream) - T, T)
    return [stream[i : i + T] for i in starts] + [stream[i + 1 : i + T + 1] for i in starts]


# --- 3.3 The batch that was due ------------------------------------------------------------------


def numbers(step, batch_size):
    return range(step * batch_size, (step + 1) * batch_size)


@wrong("3.3", "the same order here")
def same_permutation_each_epoch(step, batch_size, n_windows, order):
    first = order(0)
    return [first[i % n_windows] for i in numbers(step, batch_size)]


@wrong("3.3", "look them up")
def order_ignored(step, batch_size, n_windows, order):
    return [i % n_windows for i in numbers(step, batch_size)]


@wrong("3.3", "the batch after")
def one_step_ahead(step, batch_size, n_windows, order):
    return [order(i // n_windows)[i % n_windows] for i in numbers(step + 1, batch_size)]


@wrong("3.3", "the batch before")
def repeats_the_last_batch(step, batch_size, n_windows, order):
    before = max(step - 1, 0)
    return [order(i // n_windows)[i % n_windows] for i in numbers(before, batch_size)]


@wrong("3.3", "begin a new epoch before the old one is used up")
def rest_of_the_epoch_dropped(step, batch_size, n_windows, order):
    per_epoch = max(n_windows // batch_size, 1)
    epoch, place = divmod(step, per_epoch)
    return order(epoch)[place * batch_size : (place + 1) * batch_size]


@wrong("3.3", "shorter where an epoch ends")
def short_batch_at_the_end(step, batch_size, n_windows, order):
    epoch, place = divmod(step * batch_size, n_windows)
    return order(epoch)[place : place + batch_size]


@wrong("3.3", "go on in the old epoch's order")
def wraps_within_the_epoch(step, batch_size, n_windows, order):
    epoch = step * batch_size // n_windows
    return [order(epoch)[i % n_windows] for i in numbers(step, batch_size)]


@wrong("3.3", "Epochs are numbered from 0")
def epochs_from_one(step, batch_size, n_windows, order):
    return [order(i // n_windows + 1)[i % n_windows] for i in numbers(step, batch_size)]


@wrong("3.3", "first batch of the epoch again")
def position_not_kept(step, batch_size, n_windows, order):
    return order(step * batch_size // n_windows)[:batch_size]


@wrong("3.3", "you gave it that of the step")
def order_of_the_step(step, batch_size, n_windows, order):
    return [order(step)[i % n_windows] for i in numbers(step, batch_size)]


@wrong("3.3", "more than two epochs")
def two_epochs_only(step, batch_size, n_windows, order):
    epoch, place = divmod(step * batch_size, n_windows)
    return (order(epoch) + order(epoch + 1))[place : place + batch_size]


@wrong("3.3", "go on in the middle")
def next_epoch_from_the_same_place(step, batch_size, n_windows, order):
    epoch, place = divmod(step * batch_size, n_windows)
    batch = order(epoch)[place : place + batch_size]
    return batch + order(epoch + 1)[place : place + batch_size - len(batch)]


@wrong("3.3", "begin every epoch with a new batch")
def epochs_rounded_up(step, batch_size, n_windows, order):
    epoch, place = divmod(step, -(-n_windows // batch_size))
    return order(epoch)[place * batch_size : (place + 1) * batch_size]


@wrong("3.3", "at which place a window stands")
def inverse_order(step, batch_size, n_windows, order):
    return [order(i // n_windows).index(i % n_windows) for i in numbers(step, batch_size)]


@wrong("3.3", "everything from the order of epoch 0")
def epochs_forgotten(step, batch_size, n_windows, order):
    return order(0)[step * batch_size : (step + 1) * batch_size]


@wrong("3.3", "pairs of epoch and place")
def not_looked_up(step, batch_size, n_windows, order):
    return [divmod(i, n_windows) for i in numbers(step, batch_size)]


# --- 3.4 Who may look at whom --------------------------------------------------------------------


def document_of(x, end_id):
    is_end = (x == end_id).long()
    return is_end.cumsum(0) - is_end


@wrong("3.4", "look at later ones")
def not_causal(x, end_id):
    n = document_of(x, end_id)
    return n[:, None] == n


@wrong("3.4", "sees the documents before its own")
def causal_only(x, end_id):
    return torch.ones(len(x), len(x)).tril().bool()


@wrong("3.4", "have changed places")
def upper_triangle(x, end_id):
    n = document_of(x, end_id)
    return (n[:, None] == n).triu()


@wrong("3.4", "hides the position itself")
def strictly_before(x, end_id):
    n = document_of(x, end_id)
    return (n[:, None] == n).tril(diagonal=-1)


@wrong("3.4", "inverted")
def true_means_forbidden(x, end_id):
    n = document_of(x, end_id)
    return (n[:, None] != n) | torch.ones(len(x), len(x)).triu(1).bool()


@wrong("3.4", "belongs to the one that it closes")
def end_opens_the_next(x, end_id):
    n = (x == end_id).cumsum(0)
    return (n[:, None] == n).tril()


@wrong("3.4", "other numbers than 0 and 1")
def additive_mask(x, end_id):
    n = document_of(x, end_id)
    allowed = (n[:, None] == n).tril()
    return torch.zeros(len(x), len(x)).masked_fill(~allowed, -math.inf)


def hide_before(x, ends):
    mask = torch.ones(len(x), len(x)).tril().bool()
    for k in ends:
        mask[k + 1 :, : k + 1] = False
    return mask


@wrong("3.4", "Only the first border")
def first_border_only(x, end_id):
    return hide_before(x, (x == end_id).nonzero().flatten().tolist()[:1])


@wrong("3.4", "Only the last border")
def last_border_only(x, end_id):
    return hide_before(x, (x == end_id).nonzero().flatten().tolist()[-1:])


@wrong("3.4", "for the number 0")
def end_is_always_zero(x, end_id):
    n = document_of(x, 0)
    return (n[:, None] == n).tril()


@wrong("3.4", "only hides the end-of-text itself")
def hides_the_column_of_the_end(x, end_id):
    return torch.ones(len(x), len(x)).tril().bool() & (x != end_id)


@wrong("3.4", "its row is empty")
def hides_the_row_of_the_end(x, end_id):
    n = document_of(x, end_id)
    return (n[:, None] == n).tril() & (x != end_id)[:, None]


@wrong("3.4", "numbers of the documents")
def numbers_only(x, end_id):
    return document_of(x, end_id)


# --- 3.5 A fair test of combining ----------------------------------------------------------------


def known_parts(train):
    combinations = {c for document in train for c in document}
    return combinations, {a for a, _ in combinations}, {b for _, b in combinations}


@wrong("3.5", "one of its parts never occurs")
def only_new(train, held_out):
    combinations, _, _ = known_parts(train)
    return [i for i, document in enumerate(held_out) if document - combinations]


@wrong("3.5", "not whether the combination is new")
def only_known_parts(train, held_out):
    _, first, second = known_parts(train)
    return [i for i, doc in enumerate(held_out) if any(a in first and b in second for a, b in doc)]


@wrong("3.5", "in another role")
def roles_ignored(train, held_out):
    combinations, first, second = known_parts(train)
    words = first | second
    return [
        i
        for i, doc in enumerate(held_out)
        if any(c not in combinations and set(c) <= words for c in doc)
    ]


@wrong("3.5", "one is enough")
def all_must_be_new(train, held_out):
    combinations, first, second = known_parts(train)
    return [
        i
        for i, doc in enumerate(held_out)
        if all(c not in combinations and c[0] in first and c[1] in second for c in doc)
    ]


@wrong("3.5", "compare whole documents")
def new_documents(train, held_out):
    return [i for i, document in enumerate(held_out) if document not in train]


@wrong("3.5", "positions in `held_out`")
def documents_themselves(train, held_out):
    combinations, first, second = known_parts(train)
    return [
        doc
        for doc in held_out
        if any(c not in combinations and c[0] in first and c[1] in second for c in doc)
    ]


@wrong("3.5", "another one has known parts")
def new_and_known_of_different_pairs(train, held_out):
    pairs, first, second = known_parts(train)
    return [
        i
        for i, doc in enumerate(held_out)
        if any(c not in pairs for c in doc) and any(a in first and b in second for a, b in doc)
    ]


@wrong("3.5", "*all* pairs of the document have known parts")
def some_new_but_all_known(train, held_out):
    pairs, first, second = known_parts(train)
    return [
        i
        for i, doc in enumerate(held_out)
        if any(c not in pairs for c in doc) and all(a in first and b in second for a, b in doc)
    ]


@wrong("3.5", "One known part is not enough")
def one_known_part(train, held_out):
    pairs, first, second = known_parts(train)
    return [
        i
        for i, doc in enumerate(held_out)
        if any(c not in pairs and (c[0] in first or c[1] in second) for c in doc)
    ]


def fair_pairs_of(train, held_out):
    pairs, first, second = known_parts(train)
    return [
        (i, c)
        for i, doc in enumerate(held_out)
        for c in sorted(doc)
        if c not in pairs and c[0] in first and c[1] in second
    ]


@wrong("3.5", "list it once")
def once_for_each_pair(train, held_out):
    return [i for i, _ in fair_pairs_of(train, held_out)]


@wrong("3.5", "asked for")
def the_pairs_themselves(train, held_out):
    return [c for _, c in fair_pairs_of(train, held_out)]


@wrong("3.5", "`index` finds the first")
def position_by_index(train, held_out):
    fair = {i for i, _ in fair_pairs_of(train, held_out)}
    return [held_out.index(doc) for i, doc in enumerate(held_out) if i in fair]


@wrong("3.5", "the other way round")
def pairs_without_order(train, held_out):
    pairs, _, _ = known_parts(train)
    both = pairs | {c[::-1] for c in pairs}
    fair = fair_pairs_of(train, held_out)
    return sorted({i for i, c in fair if c not in both})


@wrong("3.5", "True or False for each document")
def flags(train, held_out):
    fair = {i for i, _ in fair_pairs_of(train, held_out)}
    return [i in fair for i in range(len(held_out))]


# --- 3.6 The gradient of a lookup ----------------------------------------------------------------


@wrong("3.6", "Its gradients must be summed")
def assigned(ids, upstream, vocab_size):
    gradient = torch.zeros(vocab_size, upstream.shape[-1], dtype=upstream.dtype)
    for b in range(ids.shape[0]):
        for t in range(ids.shape[1]):
            gradient[ids[b, t]] = upstream[b, t]
    return gradient


@wrong("3.6", "writes each row once")
def fancy_index_adds_once(ids, upstream, vocab_size):
    gradient = torch.zeros(vocab_size, upstream.shape[-1], dtype=upstream.dtype)
    gradient[ids.flatten()] += upstream.flatten(0, 1)
    return gradient


@wrong("3.6", "transposed")
def one_hot_transposed(ids, upstream, vocab_size):
    one_hot = torch.nn.functional.one_hot(ids.flatten(), vocab_size).to(upstream.dtype)
    return upstream.flatten(0, 1).T @ one_hot


@wrong("3.6", "average over the occurrences")
def averaged(ids, upstream, vocab_size):
    gradient = torch.zeros(vocab_size, upstream.shape[-1], dtype=upstream.dtype)
    gradient.index_add_(0, ids.flatten(), upstream.flatten(0, 1))
    return gradient / ids.flatten().bincount(minlength=vocab_size).clamp(min=1)[:, None]


@wrong("3.6", "a row for each position")
def rows_of_positions(ids, upstream, vocab_size):
    return upstream.reshape(-1, upstream.shape[-1])


@wrong("3.6", "Rows are missing")
def rows_that_occur(ids, upstream, vocab_size):
    gradient = torch.zeros(vocab_size, upstream.shape[-1], dtype=upstream.dtype)
    gradient.index_add_(0, ids.flatten(), upstream.flatten(0, 1))
    return gradient[ids.unique()]


@wrong("3.6", "If two shapes do not fit")
def one_hot_in_the_wrong_order(ids, upstream, vocab_size):
    one_hot = torch.nn.functional.one_hot(ids, vocab_size).to(upstream.dtype)  # (B, T, V)
    return one_hot.flatten(0, 1) @ upstream.flatten(0, 1)


@wrong("3.6", "zeros of the type of `upstream`")
def zeros_of_another_type(ids, upstream, vocab_size):
    gradient = torch.zeros(vocab_size, upstream.shape[-1])
    return gradient.index_add_(0, ids.flatten(), upstream.flatten(0, 1))


@wrong("3.6", "Only the first row of the batch")
def first_row_only(ids, upstream, vocab_size):
    gradient = torch.zeros(vocab_size, upstream.shape[-1], dtype=upstream.dtype)
    return gradient.index_add_(0, ids[0], upstream[0])


@wrong("3.6", "a table for each row")
def batch_axis_kept(ids, upstream, vocab_size):
    gradient = torch.zeros(len(ids), vocab_size, upstream.shape[-1], dtype=upstream.dtype)
    for b in range(len(ids)):
        gradient[b].index_add_(0, ids[b], upstream[b])
    return gradient


@wrong("3.6", "number of rows of the batch")
def mean_over_the_batch(ids, upstream, vocab_size):
    gradient = torch.zeros(vocab_size, upstream.shape[-1], dtype=upstream.dtype)
    return gradient.index_add_(0, ids.flatten(), upstream.flatten(0, 1)) / len(ids)


@wrong("3.6", "rounded to whole ones")
def whole_numbers(ids, upstream, vocab_size):
    gradient = torch.zeros(vocab_size, upstream.shape[-1], dtype=torch.long)
    return gradient.index_add_(0, ids.flatten(), upstream.flatten(0, 1).long())


# --- 3.7 A vector for a position -----------------------------------------------------------------


def pairs_of(position, n_embd, exponent, base=10_000):
    return [position / base ** exponent(i) for i in range(n_embd // 2)]


@wrong("3.7", "changed places")
def cosine_first(position, n_embd):
    angles = pairs_of(position, n_embd, lambda i: 2 * i / n_embd)
    return [f(a) for a in angles for f in (math.cos, math.sin)]


@wrong("3.7", "all sines and then all cosines")
def two_halves(position, n_embd):
    angles = pairs_of(position, n_embd, lambda i: 2 * i / n_embd)
    return torch.tensor([math.sin(a) for a in angles] + [math.cos(a) for a in angles])


@wrong("3.7", "too slowly")
def half_the_exponent(position, n_embd):
    angles = pairs_of(position, n_embd, lambda i: i / n_embd)
    return [f(a) for a in angles for f in (math.sin, math.cos)]


@wrong("3.7", "different frequencies")
def exponent_of_the_column(position, n_embd):
    return [
        (math.sin if c % 2 == 0 else math.cos)(position / 10_000 ** (c / n_embd))
        for c in range(n_embd)
    ]


@wrong("3.7", "dividing by it")
def multiplied(position, n_embd):
    angles = [position * 10_000 ** (2 * i / n_embd) for i in range(n_embd // 2)]
    return [f(a) for a in angles for f in (math.sin, math.cos)]


@wrong("3.7", "The base is 10,000")
def wrong_base(position, n_embd):
    angles = pairs_of(position, n_embd, lambda i: 2 * i / n_embd, base=1000)
    return [f(a) for a in angles for f in (math.sin, math.cos)]


@wrong("3.7", "counted from 0")
def positions_from_one(position, n_embd):
    angles = pairs_of(position + 1, n_embd, lambda i: 2 * i / n_embd)
    return [f(a) for a in angles for f in (math.sin, math.cos)]


@wrong("3.7", "same wavelength")
def integer_division(position, n_embd):
    angles = pairs_of(position, n_embd, lambda i: 2 * i // n_embd)
    return [f(a) for a in angles for f in (math.sin, math.cos)]


@wrong("3.7", "half of the columns")
def sines_only(position, n_embd):
    return [math.sin(a) for a in pairs_of(position, n_embd, lambda i: 2 * i / n_embd)]


@wrong("3.7", "twice too large")
def twice_the_column(position, n_embd):
    return [
        (math.sin if c % 2 == 0 else math.cos)(position / 10_000 ** (2 * c / n_embd))
        for c in range(n_embd)
    ]


@wrong("3.7", "reaches the base itself")
def last_pair_at_the_base(position, n_embd):
    angles = pairs_of(position, n_embd, lambda i: i / max(n_embd // 2 - 1, 1))
    return [f(a) for a in angles for f in (math.sin, math.cos)]


@wrong("3.7", "Set brackets")
def brackets_forgotten(position, n_embd):
    angles = [position / 10_000**2 * i / n_embd for i in range(n_embd // 2)]
    return [f(a) for a in angles for f in (math.sin, math.cos)]


@wrong("3.7", "it is an exponent")
def exponent_as_factor(position, n_embd):
    angles = [position / 10_000 * (2 * i / n_embd) for i in range(n_embd // 2)]
    return [f(a) for a in angles for f in (math.sin, math.cos)]


@wrong("3.7", "cuts the angle down")
def whole_division(position, n_embd):
    angles = [position // 10_000 ** (2 * i / n_embd) for i in range(n_embd // 2)]
    return [f(a) for a in angles for f in (math.sin, math.cos)]


@wrong("3.7", "one flat list")
def list_of_pairs(position, n_embd):
    angles = pairs_of(position, n_embd, lambda i: 2 * i / n_embd)
    return [(math.sin(a), math.cos(a)) for a in angles]


@wrong("3.7", "2π does not come into it")
def full_turns(position, n_embd):
    angles = pairs_of(2 * math.pi * position, n_embd, lambda i: 2 * i / n_embd)
    return [f(a) for a in angles for f in (math.sin, math.cos)]


@wrong("3.7", "a pair for each column")
def pair_for_each_column(position, n_embd):
    angles = [position / 10_000 ** (2 * i / n_embd) for i in range(n_embd)]
    return [f(a) for a in angles for f in (math.sin, math.cos)]


# --- 3.8 A step is a rotation --------------------------------------------------------------------


def blocks(k, n_embd, block, exponent=lambda i, n_embd: 2 * i / n_embd):
    matrix = torch.zeros(n_embd, n_embd)
    for i in range(n_embd // 2):
        angle = k / 10_000 ** exponent(i, n_embd)
        matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor(
            block(math.sin(angle), math.cos(angle))
        )
    return matrix


@wrong("3.8", "steps backwards")
def other_direction(k, n_embd):
    return blocks(k, n_embd, lambda s, c: [[c, -s], [s, c]])


@wrong("3.8", "same angle")
def one_angle_for_all(k, n_embd):
    return blocks(k, n_embd, lambda s, c: [[c, s], [-s, c]], lambda i, n_embd: 0)


@wrong("3.8", "other frequencies")
def exponent_halved(k, n_embd):
    return blocks(k, n_embd, lambda s, c: [[c, s], [-s, c]], lambda i, n_embd: i / n_embd)


@wrong("3.8", "all sines first")
def sines_before_cosines(k, n_embd):
    half = n_embd // 2
    matrix = torch.zeros(n_embd, n_embd)
    for i in range(half):
        angle = k / 10_000 ** (2 * i / n_embd)
        matrix[i, i] = matrix[half + i, half + i] = math.cos(angle)
        matrix[i, half + i], matrix[half + i, i] = math.sin(angle), -math.sin(angle)
    return matrix


@wrong("3.8", "one step, whatever k is")
def step_of_one(k, n_embd):
    return blocks(1 if k else 0, n_embd, lambda s, c: [[c, s], [-s, c]])


@wrong("3.8", "must not depend on the position")
def fits_position_zero(k, n_embd):
    angles = [k / 10_000 ** (2 * i / n_embd) for i in range(n_embd // 2)]
    if k == 0:
        return torch.eye(n_embd)
    column = torch.tensor([f(a) for a in angles for f in (math.sin, math.cos)])
    start = torch.tensor([0.0, 1.0] * (n_embd // 2))
    return torch.outer(column, start) / (n_embd // 2)


@wrong("3.8", "square matrix of shape")
def a_list_of_angles(k, n_embd):
    return [k / 10_000 ** (2 * i / n_embd) for i in range(n_embd // 2)]


@wrong("3.8", "keep the sign of k")
def distance_without_sign(k, n_embd):
    return blocks(abs(k), n_embd, lambda s, c: [[c, s], [-s, c]])


@wrong("3.8", "only its diagonal")
def cosines_only(k, n_embd):
    return blocks(k, n_embd, lambda s, c: [[c, 0.0], [0.0, c]])


@wrong("3.8", "does nothing")
def identity(k, n_embd):
    return torch.eye(n_embd)


@wrong("3.8", "cut down to whole numbers")
def integer_matrix(k, n_embd):
    return blocks(k, n_embd, lambda s, c: [[c, s], [-s, c]]).long()


@wrong("3.8", "have changed places in your blocks")
def sines_on_the_diagonal(k, n_embd):
    return blocks(k, n_embd, lambda s, c: [[s, c], [c, -s]])


@wrong("3.8", "moved the columns along")
def columns_rolled(k, n_embd):
    return torch.roll(torch.eye(n_embd), k, 0)


@wrong("3.8", "divide by it, as in the table")
def angles_multiplied(k, n_embd):
    return blocks(k, n_embd, lambda s, c: [[c, s], [-s, c]], lambda i, n_embd: -2 * i / n_embd)
