"""Plausible wrong answers to the exercises of chapter 07."""

import math

import torch
from torch.nn import functional as F

from wrong_answers import wrong

# --- 7.1 Temperature -----------------------------------------------------------------------------


def at_zero(logits):
    """The right answer at temperature 0, for those whose mistake is another."""
    return F.one_hot(logits.argmax(), len(logits)).float()


@wrong("7.1", "after the softmax")
def temperature_after_the_softmax(logits, temperature):
    return logits.softmax(-1) / temperature if temperature else at_zero(logits)


@wrong("7.1", "The temperature has no effect")
def temperature_undone(logits, temperature):
    p = logits.softmax(-1) / max(temperature, 1e-9)
    return p / p.sum()


@wrong("7.1", "You multiplied the logits")
def times_the_temperature(logits, temperature):
    return (logits * temperature).softmax(-1)


@wrong("7.1", "The softmax was taken twice")
def softmax_twice(logits, temperature):
    return (logits.softmax(-1) / temperature).softmax(-1)


@wrong("7.1", "no probabilities yet")
def logits_returned(logits, temperature):
    return logits / temperature


@wrong("7.1", "log-probabilities")
def logarithms_returned(logits, temperature):
    return (logits / temperature).log_softmax(-1)


@wrong("7.1", "You multiplied the logits")
def power_of_the_temperature(logits, temperature):
    p = logits.softmax(-1) ** temperature
    return p / p.sum()


@wrong("7.1", "do not sum to one")
def power_without_the_sum(logits, temperature):
    return logits.softmax(-1) ** (1 / temperature)


@wrong("7.1", "The temperature has no effect")
def temperature_subtracted(logits, temperature):
    return (logits - temperature).softmax(-1)


@wrong("7.1", "At temperature 0 your answer is nan")
def zero_forgotten(logits, temperature):
    return (logits / temperature).softmax(-1)


@wrong("7.1", "At temperature 0 you left the distribution")
def zero_taken_for_one(logits, temperature):
    return (logits / (temperature or 1)).softmax(-1)


@wrong("7.1", "At temperature 0 all ids became equally likely")
def zero_made_uniform(logits, temperature):
    return (logits / (temperature or 1e9)).softmax(-1)


@wrong("7.1", "At temperature 0 you returned the id")
def zero_gives_an_id(logits, temperature):
    return (logits / temperature).softmax(-1) if temperature else logits.argmax()


@wrong("7.1", "least likely id")
def zero_gives_the_least_likely(logits, temperature):
    if temperature == 0:
        return F.one_hot(logits.argmin(), len(logits)).float()
    return (logits / temperature).softmax(-1)


@wrong("7.1", "went to the last id")
def zero_gives_the_last(logits, temperature):
    if temperature == 0:
        return F.one_hot(torch.tensor(len(logits) - 1), len(logits)).float()
    return (logits / temperature).softmax(-1)


@wrong("7.1", "Large logits give nan")
def softmax_that_overflows(logits, temperature):
    if temperature == 0:
        return at_zero(logits)
    powers = (logits / temperature).exp()
    return powers / powers.sum()


@wrong("7.1", "is not yet the limit")
def zero_raised_to_a_floor(logits, temperature):
    return (logits / max(temperature, 0.1)).softmax(-1)


@wrong("7.1", "kept its logit")
def zero_keeps_the_logit(logits, temperature):
    if temperature == 0:
        return torch.where(logits == logits.max(), logits, 0.0)
    return (logits / temperature).softmax(-1)


@wrong("7.1", "their softmax is what is asked for")
def zero_gives_logits(logits, temperature):
    if temperature == 0:
        return torch.where(logits == logits.max(), 0.0, -math.inf)
    return (logits / temperature).softmax(-1)


@wrong("7.1", "the exponent is 1/temperature")
def power_of_the_temperature_without_the_sum(logits, temperature):
    return logits.softmax(-1) ** temperature


@wrong("7.1", "square of the temperature")
def divided_by_the_square(logits, temperature):
    return (logits / temperature**2).softmax(-1) if temperature else at_zero(logits)


# --- 7.2 Top-k -----------------------------------------------------------------------------------


def threshold_of(x, k):
    return x.sort(-1, descending=True).values[..., min(k, x.shape[-1]) - 1, None]


@wrong("7.2", "The softmax came before the cut")
def softmax_before_top_k(logits, k):
    p = logits.softmax(-1)
    return torch.where(p >= threshold_of(p, k), p, 0.0)


@wrong("7.2", "became 0, which is a logit")
def zeros_for_logits(logits, k):
    return torch.where(logits >= threshold_of(logits, k), logits, 0.0).softmax(-1)


@wrong("7.2", "The softmax was taken twice")
def top_k_softmax_twice(logits, k):
    p = logits.softmax(-1)
    return torch.where(p >= threshold_of(p, k), p, 0.0).softmax(-1)


@wrong("7.2", "through a second softmax")
def top_k_of_probabilities(logits, k):
    p = logits.softmax(-1)
    return torch.where(p >= threshold_of(p, k), p, -math.inf).softmax(-1)


@wrong("7.2", "k least likely")
def bottom_k(logits, k):
    return torch.where(-logits >= threshold_of(-logits, k), logits, -math.inf).softmax(-1)


@wrong("7.2", "Every probability is nan")
def minus_infinity_for_all(logits, k):
    kept = logits > logits.amax(-1, keepdim=True)
    return torch.where(kept, logits, -math.inf).softmax(-1)


@wrong("7.2", "one too few")
def one_too_few(logits, k):
    kept = logits > threshold_of(logits, k)
    kept |= logits == logits.amax(-1, keepdim=True)
    return torch.where(kept, logits, -math.inf).softmax(-1)


@wrong("7.2", "one too many")
def one_too_many(logits, k):
    return torch.where(logits >= threshold_of(logits, k + 1), logits, -math.inf).softmax(-1)


@wrong("7.2", "Nothing was cut")
def cut_forgotten(logits, k):
    torch.where(logits >= threshold_of(logits, k), logits, -math.inf)
    return logits.softmax(-1)


@wrong("7.2", "became equally likely")
def uniform_over_the_best(logits, k):
    kept = (logits >= threshold_of(logits, k)).float()
    return kept / kept.sum(-1, keepdim=True)


@wrong("7.2", "asks for probabilities")
def logits_after_the_cut(logits, k):
    return torch.where(logits >= threshold_of(logits, k), logits, -math.inf)


@wrong("7.2", "nobody knows which id")
def only_the_best(logits, k):
    return logits.topk(k).values.softmax(-1)


@wrong("7.2", "of the whole batch")
def top_k_of_the_batch(logits, k):
    return torch.where(logits >= threshold_of(logits.flatten(), k), logits, -math.inf).softmax(-1)


@wrong("7.2", "that of the first row")
def threshold_of_the_first_row(logits, k):
    kept = logits >= threshold_of(logits[:1], k)
    return torch.where(kept, logits, -math.inf).softmax(-1)


@wrong("7.2", "ran over the sequences")
def softmax_over_the_batch(logits, k):
    cut = torch.where(logits >= threshold_of(logits, k), logits, -math.inf)
    return cut.softmax(0) if len(logits) > 1 else cut.softmax(-1)


@wrong("7.2", "above the number of ids is not an error")
def large_k_forgotten(logits, k):
    smallest = logits.topk(k).values[:, -1:]
    return torch.where(logits >= smallest, logits, -math.inf).softmax(-1)


@wrong("7.2", "above the number of ids is not an error")
def large_k_taken_for_one(logits, k):
    k = k if k <= logits.shape[-1] else 1
    return torch.where(logits >= threshold_of(logits, k), logits, -math.inf).softmax(-1)


@wrong("7.2", "in the order of their size")
def top_k_never_put_back(logits, k):
    values = logits.sort(-1, descending=True).values
    values[:, k:] = -math.inf
    return values.softmax(-1)


@wrong("7.2", "with 0 for the others; the exercise asks for probabilities")
def best_logits_scattered(logits, k):
    best = logits.topk(min(k, logits.shape[-1]))
    return torch.zeros_like(logits).scatter(1, best.indices, best.values)


@wrong("7.2", "at the ids that the first row keeps")
def places_of_the_first_row(logits, k):
    best = logits.topk(min(k, logits.shape[-1]))
    p = torch.zeros_like(logits)
    p[:, best.indices[0]] = best.values.softmax(-1)
    return p


@wrong("7.2", "the sum of the whole batch")
def divided_by_the_sum_of_the_batch(logits, k):
    p = torch.where(logits >= threshold_of(logits, k), logits.softmax(-1), 0.0)
    return p / p.sum()


# --- 7.3 Top-p -----------------------------------------------------------------------------------


def nucleus_of(p, kept_in_order):
    """Probabilities after a cut, from a mask in descending order."""
    order = p.argsort(descending=True, stable=True)
    kept = torch.zeros(len(p), dtype=torch.bool)
    kept[order[kept_in_order]] = True
    return torch.where(kept, p, 0.0)


def totals(p):
    return p.sort(descending=True, stable=True).values.cumsum(0)


def before(p):
    return totals(p) - p.sort(descending=True, stable=True).values


@wrong("7.3", "The token that crosses the threshold was dropped")
def crossing_token_dropped(p, threshold):
    cut = nucleus_of(p, totals(p) <= threshold)
    return cut / cut.sum()


@wrong("7.3", "One token more than needed")
def one_token_more(p, threshold):
    kept = before(p) < threshold
    kept = torch.cat([torch.tensor([True]), kept[:-1]])
    cut = nucleus_of(p, kept)
    return cut / cut.sum()


@wrong("7.3", "The kept probabilities do not sum to one")
def not_renormalised(p, threshold):
    return nucleus_of(p, before(p) < threshold)


@wrong("7.3", "what is left does not sum to one")
def dropped_and_not_renormalised(p, threshold):
    return nucleus_of(p, totals(p) <= threshold)


@wrong("7.3", "in sorted order")
def never_put_back(p, threshold):
    values = p.sort(descending=True).values
    cut = torch.where(values.cumsum(0) - values < threshold, values, 0.0)
    return cut / cut.sum()


@wrong("7.3", "from the least likely id on")
def from_the_tail(p, threshold):
    values, order = p.sort()
    kept = values.cumsum(0) - values < threshold
    cut = torch.zeros_like(p)
    cut[order[kept]] = values[kept]
    return cut / cut.sum()


@wrong("7.3", "in the order of their numbers")
def never_sorted(p, threshold):
    cut = torch.where(p.cumsum(0) - p < threshold, p, 0.0)
    return cut / cut.sum()


@wrong("7.3", "that is min-p")
def min_p_instead(p, threshold):
    cut = torch.where(p >= threshold * p.max(), p, 0.0)
    return cut / cut.sum()


@wrong("7.3", "a share of the ids")
def share_of_the_ids(p, threshold):
    n = max(1, round(threshold * len(p)))
    cut = torch.where(p >= p.topk(n).values[-1], p, 0.0)
    return cut / cut.sum()


@wrong("7.3", "went through a softmax")
def softmax_of_probabilities(p, threshold):
    cut = nucleus_of(p, before(p) < threshold)
    return torch.where(cut > 0, p, -math.inf).softmax(-1)


@wrong("7.3", "became equally likely")
def uniform_nucleus(p, threshold):
    kept = (nucleus_of(p, before(p) < threshold) > 0).float()
    return kept / kept.sum()


@wrong("7.3", "Nothing was cut")
def whole_distribution(p, threshold):
    return p


@wrong("7.3", "return their new probabilities")
def nucleus_as_a_mask(p, threshold):
    return nucleus_of(p, before(p) < threshold) > 0


@wrong("7.3", "With p = 0 nothing is left, and 0/0 is nan")
def nothing_left_at_zero(p, threshold):
    cut = nucleus_of(p, before(p) < threshold - 1e-7)
    return cut / cut.sum()


@wrong("7.3", "With p = 0 nothing was cut")
def zero_keeps_all(p, threshold):
    cut = nucleus_of(p, before(p) < (threshold or 1))
    return cut / cut.sum()


@wrong("7.3", "sorts once more")
def put_back_the_wrong_way(p, threshold):
    values, order = p.sort(descending=True)
    cut = torch.where(values.cumsum(0) - values < threshold, values, 0.0)
    return (cut / cut.sum())[order]


@wrong("7.3", "the mask was laid over the ids")
def mask_never_put_back(p, threshold):
    cut = torch.where(before(p) < threshold, p, 0.0)
    return cut / cut.sum()


# --- 7.4 A step with a cache ---------------------------------------------------------------------


def decode(model, prompt, n, caches, next_ids, next_place):
    """A loop whose later calls are made by two functions of what is known."""
    ids, places, new = list(prompt), list(range(len(prompt))), []
    for _ in range(n):
        logits = model(torch.tensor([ids]), positions=torch.tensor(places), caches=caches)
        new.append(logits[0, -1].argmax().item())
        ids = next_ids(prompt, new)
        places = next_place(prompt, new)
    return new


def last(prompt, new):
    return new[-1:]


@wrong("7.4", "the whole sequence again")
def everything_again(model, prompt, n, caches):
    return decode(
        model, prompt, n, caches, lambda p, new: p + new, lambda p, new: list(range(len(p + new)))
    )


@wrong("7.4", "positions are off by one, too large")
def position_one_too_far(model, prompt, n, caches):
    return decode(model, prompt, n, caches, last, lambda p, new: [len(p) + len(new)])


@wrong("7.4", "that of the id before")
def position_of_the_id_before(model, prompt, n, caches):
    return decode(model, prompt, n, caches, last, lambda p, new: [len(p) + len(new) - 2])


@wrong("7.4", "at position 0")
def position_always_zero(model, prompt, n, caches):
    return decode(model, prompt, n, caches, last, lambda p, new: [0])


@wrong("7.4", "counts the new ids alone")
def position_of_the_new_ids(model, prompt, n, caches):
    return decode(model, prompt, n, caches, last, lambda p, new: [len(new)])


@wrong("7.4", "stays the same from call to call")
def position_that_stays(model, prompt, n, caches):
    return decode(model, prompt, n, caches, last, lambda p, new: [len(p)])


@wrong("7.4", "the last id of the prompt again")
def last_id_of_the_prompt_again(model, prompt, n, caches):
    return decode(
        model, prompt, n, caches, lambda p, new: p[-1:], lambda p, new: [len(p) + len(new) - 1]
    )


@wrong("7.4", "with the largest logit")
def least_likely_id(model, prompt, n, caches):
    ids, new = list(prompt), []
    places = list(range(len(prompt)))
    for step in range(n):
        logits = model(torch.tensor([ids]), positions=torch.tensor(places), caches=caches)
        new.append(logits[0, -1].argmin().item())
        ids, places = new[-1:], [len(prompt) + step]
    return new


@wrong("7.4", "No positions were passed")
def without_positions(model, prompt, n, caches):
    ids, places, new = list(prompt), torch.arange(len(prompt)), []
    for _ in range(n):
        logits = model(torch.tensor([ids]), positions=places, caches=caches)
        new.append(logits[0, -1].argmax().item())
        ids, places = new[-1:], None
    return new


@wrong("7.4", "without `caches`")
def without_the_cache(model, prompt, n, caches):
    new = []
    for _ in range(n):
        ids = torch.tensor([prompt + new])
        new.append(model(ids, positions=torch.arange(ids.shape[1]))[0, -1].argmax().item())
    return new


@wrong("7.4", "The first call read the last id of the prompt alone")
def prompt_never_read(model, prompt, n, caches):
    new = []
    for step in range(n):
        ids, place = [(prompt + new)[-1]], [len(prompt) + step - 1]
        logits = model(torch.tensor([ids]), positions=torch.tensor(place), caches=caches)
        new.append(logits[0, -1].argmax().item())
    return new


@wrong("7.4", "once more than needed")
def one_call_too_many(model, prompt, n, caches):
    return decode(model, prompt, n + 1, caches, last, lambda p, new: [len(p) + len(new) - 1])[:n]


@wrong("7.4", "only the new ids are asked for")
def prompt_returned_too(model, prompt, n, caches):
    new = decode(model, prompt, n, caches, last, lambda p, new: [len(p) + len(new) - 1])
    return prompt + new


@wrong("7.4", "is a bound off by one")
def one_id_too_few(model, prompt, n, caches):
    return decode(
        model, prompt, max(1, n - 1), caches, last, lambda p, new: [len(p) + len(new) - 1]
    )


@wrong("7.4", "take the largest logit of the last position")
def logits_of_the_first_position(model, prompt, n, caches):
    ids, new = list(prompt), []
    for step in range(n):
        places = torch.arange(len(prompt)) if step == 0 else torch.tensor([len(prompt) + step - 1])
        logits = model(torch.tensor([ids]), positions=places, caches=caches)
        new.append(logits[0, 0].argmax().item())
        ids = new[-1:]
    return new


@wrong("7.4", "pass the same one")
def another_cache_every_time(model, prompt, n, caches):
    ids, new = list(prompt), []
    for step in range(n):
        places = torch.arange(len(prompt)) if step == 0 else torch.tensor([len(prompt) + step - 1])
        logits = model(torch.tensor([ids]), positions=places, caches=[])
        new.append(logits[0, -1].argmax().item())
        ids = new[-1:]
    return new


# --- 7.5 Left padding ----------------------------------------------------------------------------


def by_hand(rows, pad=0):
    """The right answer, to spoil in one place."""
    T = max(map(len, rows))
    ids = torch.tensor([[pad] * (T - len(row)) + row for row in rows])
    mask = torch.tensor([[i >= T - len(row) for i in range(T)] for row in rows])
    positions = torch.tensor([[max(0, i - T + len(row)) for i in range(T)] for row in rows])
    return ids, mask, positions


@wrong("7.5", "The padding stands on the right")
def padding_on_the_right(rows):
    T = max(map(len, rows))
    ids = torch.tensor([row + [0] * (T - len(row)) for row in rows])
    mask = torch.tensor([[i < len(row) for i in range(T)] for row in rows])
    return ids, mask, torch.arange(T).expand(len(rows), -1)


@wrong("7.5", "The mask says that padding stands on the right")
def mask_on_the_right(rows):
    ids, mask, positions = by_hand(rows)
    return ids, mask.flip(1), positions


@wrong("7.5", "The mask is the wrong way round")
def mask_inverted(rows):
    ids, mask, positions = by_hand(rows)
    return ids, ~mask, positions


@wrong("7.5", "make it boolean")
def mask_of_numbers(rows):
    ids, mask, positions = by_hand(rows)
    return ids, mask.long(), positions


@wrong("7.5", "True everywhere")
def mask_of_ones(rows):
    ids, mask, positions = by_hand(rows)
    return ids, torch.ones_like(mask), positions


@wrong("7.5", "A real id 0 was taken for padding")
def mask_from_the_ids(rows):
    ids, _, positions = by_hand(rows)
    return ids, ids != 0, positions


@wrong("7.5", "The positions count the padding too")
def positions_of_the_columns(rows):
    ids, mask, _ = by_hand(rows)
    return ids, mask, torch.arange(ids.shape[1]).expand(len(rows), -1)


@wrong("7.5", "The positions begin at 1")
def positions_from_one(rows):
    ids, mask, _ = by_hand(rows)
    return ids, mask, mask.cumsum(1)


@wrong("7.5", "negative positions")
def positions_below_zero(rows):
    ids, mask, _ = by_hand(rows)
    return ids, mask, mask.cumsum(1) - 1


@wrong("7.5", "with padding every row has its own")
def one_row_of_positions(rows):
    ids, mask, _ = by_hand(rows)
    return ids, mask, torch.arange(ids.shape[1])


@wrong("7.5", "whole numbers")
def positions_as_floats(rows):
    ids, mask, positions = by_hand(rows)
    return ids, mask, positions.float()


@wrong("7.5", "counted backwards")
def positions_backwards(rows):
    ids, mask, positions = by_hand(rows)
    lengths = torch.tensor([[len(row)] for row in rows])
    return ids, mask, (lengths - 1 - positions).clamp(min=0)


@wrong("7.5", "cut to the length of the shortest")
def cut_to_the_shortest(rows):
    n = min(map(len, rows))
    return by_hand([row[-n:] for row in rows])


@wrong("7.5", "The rows were reversed")
def rows_reversed(rows):
    return by_hand([row[::-1] for row in rows])


@wrong("7.5", "Return three tensors")
def positions_left_out(rows):
    return by_hand(rows)[:2]


@wrong("7.5", "Your ids are floats")
def ids_as_floats(rows):
    ids, mask, positions = by_hand(rows)
    return ids.float(), mask, positions


@wrong("7.5", "One of the three is None")
def no_mask_where_none_is_needed(rows):
    ids, mask, positions = by_hand(rows)
    return ids, None if mask.all() else mask, positions


@wrong("7.5", "exchanged")
def mask_and_positions_exchanged(rows):
    ids, mask, positions = by_hand(rows)
    return ids, positions, mask


# --- 7.6 Stop strings across borders --------------------------------------------------------------


def holding(pieces, stop):
    """The right answer, to spoil in one place."""
    held, out = "", []
    for piece in pieces:
        held += piece
        if stop in held:
            return [*out, held.split(stop)[0]]
        k = len(held)
        while not stop.startswith(held[len(held) - k :]):
            k -= 1
        out.append(held[: len(held) - k])
        held = held[len(held) - k :]
    return [*out, held]


@wrong("7.6", "in each piece by itself")
def within_a_piece(pieces, stop):
    out = []
    for piece in pieces:
        if stop in piece:
            return [*out, piece[: piece.index(stop)]]
        out.append(piece)
    return out


@wrong("7.6", "The stop string itself was given out")
def stop_string_included(pieces, stop):
    out = holding(pieces, stop)
    return [*out, stop] if stop in "".join(pieces) else out


@wrong("7.6", "The stop string itself was given out")
def checked_after_giving_out(pieces, stop):
    out = []
    for piece in pieces:
        for character in piece:
            out.append(character)
            if "".join(out).endswith(stop):
                return out
    return out


@wrong("7.6", "the text went on behind it")
def stop_strings_removed(pieces, stop):
    return ["".join(pieces).replace(stop, "")]


@wrong("7.6", "at the last occurrence")
def last_occurrence(pieces, stop):
    return ["".join(pieces).rpartition(stop)[0] if stop in "".join(pieces) else "".join(pieces)]


@wrong("7.6", "was dropped")
def piece_dropped(pieces, stop):
    out = []
    for piece in pieces:
        if stop in "".join([*out, piece]):
            return out
        out.append(piece)
    return out


@wrong("7.6", "held back at the end of the text was lost")
def rest_lost(pieces, stop):
    out = holding(pieces, stop)
    return out if stop in "".join(pieces) else out[:-1]


@wrong("7.6", "The whole text came at the end")
def all_at_the_end(pieces, stop):
    return ["".join(pieces).split(stop)[0]]


@wrong("7.6", "pieces come late or too small")
def always_held_back(pieces, stop):
    held, out = "", []
    for piece in pieces:
        held += piece
        if stop in held:
            return [*out, held.split(stop)[0]]
        border = max(0, len(held) - len(stop) + 1)
        out.append(held[:border])
        held = held[border:]
    return [*out, held]


@wrong("7.6", "One character too many")
def one_character_too_many(pieces, stop):
    text = "".join(pieces)
    return [text[: text.find(stop) - 1]] if stop in text else holding(pieces, stop)


@wrong("7.6", "One character of the stop string")
def one_character_too_few(pieces, stop):
    text = "".join(pieces)
    return [text[: text.find(stop) + 1]] if stop in text else holding(pieces, stop)


@wrong("7.6", "Nothing was cut")
def never_cut(pieces, stop):
    return list(pieces)


@wrong("7.6", "Return a list of strings")
def one_string(pieces, stop):
    return "".join(holding(pieces, stop))


def holding_back(pieces, stop, end_of):
    """Gives out all but the end that `end_of(held)` names."""
    held, out = "", []
    for piece in pieces:
        held += piece
        if stop in held:
            return [*out, held.split(stop)[0]]
        k = end_of(held)
        out.append(held[: len(held) - k])
        held = held[len(held) - k :]
    return [*out, held]


@wrong("7.6", "hold back the longest")
def shortest_end_held_back(pieces, stop):
    return holding_back(
        pieces,
        stop,
        lambda held: next((k for k in range(1, len(stop)) if held.endswith(stop[:k])), 0),
    )


@wrong("7.6", "another one may begin inside")
def false_start_forgotten(pieces, stop):
    out, begun = [""], ""
    for character in "".join(pieces):
        begun += character
        if begun == stop:
            return out
        if not stop.startswith(begun):
            out.append(begun)
            begun = ""
    return [*out, begun]


@wrong("7.6", "`held[:-n]` is empty for n = 0")
def slice_up_to_minus_zero(pieces, stop):
    held, out = "", []
    for piece in pieces:
        held += piece
        if stop in held:
            return [*out, held.split(stop)[0]]
        k = max(k for k in range(len(stop)) if held.endswith(stop[:k]))
        out.append(held[:-k])
        held = held[-k:] if k else ""
    return [*out, held]


# --- 7.7 Accept or replace -----------------------------------------------------------------------


def right(p, q, i):
    more = (p - q).clamp(min=0)
    return min(1.0, (p[i] / q[i]).item()), more / more.sum() if more.sum() > 0 else p


@wrong("7.7", "The fraction is upside down")
def fraction_upside_down(p, q, i):
    return min(1.0, (q[i] / p[i]).item()), right(p, q, i)[1]


@wrong("7.7", "A chance is at most 1")
def chance_above_one(p, q, i):
    return (p[i] / q[i]).item(), right(p, q, i)[1]


@wrong("7.7", "the model's own probability")
def chance_of_the_model(p, q, i):
    return p[i].item(), right(p, q, i)[1]


@wrong("7.7", "multiplied the two")
def product_of_both(p, q, i):
    return (p[i] * q[i]).item(), right(p, q, i)[1]


@wrong("7.7", "the overlap of p and q")
def overlap(p, q, i):
    return torch.minimum(p, q).sum().item(), right(p, q, i)[1]


@wrong("7.7", "You accept or refuse for good")
def yes_or_no(p, q, i):
    return float(p[i] >= q[i]), right(p, q, i)[1]


@wrong("7.7", "the chance to refuse")
def chance_to_refuse(p, q, i):
    return 1 - right(p, q, i)[0], right(p, q, i)[1]


@wrong("7.7", "drawn from p itself")
def replacement_from_p(p, q, i):
    return right(p, q, i)[0], p


@wrong("7.7", "drawn from q, the draft")
def replacement_from_q(p, q, i):
    return right(p, q, i)[0], q


@wrong("7.7", "does not sum to one")
def rest_not_renormalised(p, q, i):
    return right(p, q, i)[0], (p - q).clamp(min=0)


@wrong("7.7", "without their sign")
def absolute_differences(p, q, i):
    d = (p - q).abs()
    return right(p, q, i)[0], d / d.sum()


@wrong("7.7", "the other way round")
def differences_the_other_way(p, q, i):
    more = (q - p).clamp(min=0)
    return right(p, q, i)[0], more / more.sum()


@wrong("7.7", "left out the refused id")
def without_the_refused(p, q, i):
    rest = p.clone()
    rest[i] = 0
    return right(p, q, i)[0], rest / rest.sum()


@wrong("7.7", "You took the softmax of the differences")
def softmax_of_the_differences(p, q, i):
    return right(p, q, i)[0], (p - q).softmax(-1)


@wrong("7.7", "yours is 0/0")
def zero_over_zero(p, q, i):
    more = (p - q).clamp(min=0)
    return min(1.0, (p[i] / q[i]).item()), more / more.sum()


@wrong("7.7", "makes all ids equally likely")
def uniform_where_equal(p, q, i):
    if torch.equal(p, q):
        return 1.0, torch.full_like(p, 1 / len(p))
    return right(p, q, i)


@wrong("7.7", "The two are exchanged")
def both_exchanged(p, q, i):
    return right(p, q, i)[::-1]


@wrong("7.7", "one for every id")
def all_chances(p, q, i):
    return (p / q).clamp(max=1), right(p, q, i)[1]


@wrong("7.7", "Every proposal is accepted")
def always_accepted(p, q, i):
    return 1.0, right(p, q, i)[1]


@wrong("7.7", "the chance that this id is refused")
def divided_by_its_own_refusal(p, q, i):
    chance, rest = right(p, q, i)
    return chance, (p - q).clamp(min=0) / (1 - chance) if chance < 1 else rest
