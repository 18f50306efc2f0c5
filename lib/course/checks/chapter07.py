"""The checks of chapter 07, Generation."""

import math

import torch
from torch.nn import functional as F

from lib.course.checks.engine import Probe, exercise, same


def distribution(*weights: float) -> torch.Tensor:
    """Probabilities in the proportion of some weights."""
    p = torch.tensor(weights, dtype=torch.float32)
    return p / p.sum()


def one_hot(i: int, V: int) -> torch.Tensor:
    return F.one_hot(torch.tensor(i), V).float()


# --- 7.1 -----------------------------------------------------------------------------------------


TEMPERATURE_MISTAKES = {
    "The probabilities were divided by the temperature, after the softmax. They no longer sum to "
    "one, and nothing was sharpened: divide the logits.": lambda x, t: x.softmax(-1) / t,
    "The temperature has no effect: probabilities that are divided by it and made to sum to one "
    "again are what they were, and so are logits from which it is subtracted. Divide the logits.": (
        lambda x, t: x.softmax(-1)
    ),
    "You multiplied the logits by the temperature; divide, so that a low temperature sharpens.": (
        lambda x, t: (x * t).softmax(-1)
    ),
    "The softmax was taken twice: probabilities are no logits.": (
        lambda x, t: (x.softmax(-1) / t).softmax(-1)
    ),
    "The logits are divided by the temperature, but they are no probabilities yet.": (
        lambda x, t: x / t
    ),
    "You returned log-probabilities.": lambda x, t: (x / t).log_softmax(-1),
    "You divided by the square root of the temperature.": (
        lambda x, t: (x / math.sqrt(t)).softmax(-1)
    ),
    "You divided by 1 + temperature.": lambda x, t: (x / (1 + t)).softmax(-1),
    "You divided by the square of the temperature.": lambda x, t: (x / t**2).softmax(-1),
    "These are powers p^temperature: the exponent is 1/temperature, and the powers have to be "
    "divided by their sum.": lambda x, t: x.softmax(-1) ** t,
    "The powers p^(1/temperature) are right, but do not sum to one: divide by their sum.": (
        lambda x, t: x.softmax(-1) ** (1 / t)
    ),
}


@exercise("7.1", "Temperature")
def temperature(probe: Probe) -> None:
    logits = torch.tensor([0.0, 1.0, 3.0])
    for t in (2.0, 0.5):
        probe.compare((logits, t), (logits / t).softmax(-1), TEMPERATURE_MISTAKES, 1e-5)
    probe.holds("temperature 2 flattens, 0.5 sharpens, and the sum is one")
    probe.compare((logits, 1.0), logits.softmax(-1), tolerance=1e-5)
    zero = {
        "At temperature 0 your answer is nan or 0: 1/0 has no meaning. Treat 0 by itself, as the "
        "limit: all probability on the likeliest id.": torch.full((3,), math.nan),
        "At temperature 0 you left the distribution as it is; the limit of ever lower temperatures "
        "puts everything on the likeliest id.": logits.softmax(-1),
        "At temperature 0 all ids became equally likely, which is the limit of high "
        "temperatures.": torch.full((3,), 1 / 3),
        "At temperature 0 you returned the id; return its probabilities, as for the others.": (
            torch.tensor(2)
        ),
        "At temperature 0 the probability went to the least likely id.": one_hot(0, 3),
        "At temperature 0 the likeliest id kept its logit; all probability on it means 1.": (
            3 * one_hot(2, 3)
        ),
        "At temperature 0 you returned logits, 0 for the likeliest id and -inf for the others; "
        "their softmax is what is asked for.": one_hot(2, 3).log(),
    }
    crash = "Temperature 0 is not treated by itself: all probability goes to the likeliest id."
    probe.compare((logits, 0), one_hot(2, 3), zero, 1e-5, on_crash=crash)
    swapped = torch.tensor([2.0, 5.0, -1.0])
    last = {
        "At temperature 0 the probability went to the last id; here that is not the likeliest.": (
            one_hot(2, 3)
        )
    }
    probe.compare((swapped, 0), one_hot(1, 3), last, 1e-5, on_crash=crash)
    near = torch.tensor([1.0, 1.01, 0.9])
    got = probe.call(near, 0)
    split = isinstance(got, torch.Tensor) and got.shape == near.shape and 0 < got[0] < got[1]
    probe.require(
        not split,
        "At temperature 0 a likely id besides the likeliest still has a probability: a small "
        "number in place of 0 is not yet the limit.",
        probe.describe(near, 0) + f"\nreturned  {got}",
    )
    probe.expect(got, one_hot(1, 3), {}, probe.describe(near, 0), 1e-5)
    probe.holds("temperature 0 is the likeliest id")
    large = torch.tensor([0.0, 90.0, 100.0])
    got = probe.call(large, 0.5)
    probe.require(
        not (isinstance(got, torch.Tensor) and got.isnan().any()),
        "Large logits give nan: exp of a large number is inf. Let `softmax` do it, or subtract the "
        "largest logit first.",
        probe.describe(large, 0.5),
    )
    probe.expect(got, (large / 0.5).softmax(-1), {}, probe.describe(large, 0.5), 1e-5)
    probe.holds("large logits do not overflow")


# --- 7.2 -----------------------------------------------------------------------------------------


def top_k_with(score=None, batch=False, low=False):
    """Top-k, with the usual mistakes as options."""

    def run(logits, k):
        k = min(k, logits.shape[-1])
        values = logits.flatten() if batch else logits
        threshold = values.topk(k).values[..., -1:]
        out = logits < threshold
        if low:
            out = logits > (-logits).topk(k).values[..., -1:].neg()
        return score(logits, out)

    return run


def renormalised(logits, out):
    return logits.masked_fill(out, -math.inf).softmax(-1)


def in_order(x, k):
    """The logits from the largest on, and which of them are cut."""
    return x.sort(-1, descending=True).values, torch.arange(x.shape[-1]).expand_as(x) >= k


def first_rows_places(x, k):
    """What each row keeps, put where the first row has its likeliest ids."""
    best = x.topk(k)
    return torch.zeros_like(x).scatter(
        1, best.indices[:1].expand_as(best.indices), best.values.softmax(-1)
    )


TOP_K_MISTAKES = {
    "The softmax came before the cut, and what is left does not sum to one: cut the logits first, "
    "or divide by the new sum.": top_k_with(lambda x, out: x.softmax(-1).masked_fill(out, 0)),
    "The logits of the others became 0, which is a logit like any other: e⁰ = 1. Make them -inf, "
    "whose exponential is 0.": top_k_with(lambda x, out: x.masked_fill(out, 0.0).softmax(-1)),
    "The softmax was taken twice: of the probabilities that are left, divide by the sum "
    "instead.": top_k_with(lambda x, out: x.softmax(-1).masked_fill(out, 0).softmax(-1)),
    "Probabilities went through a second softmax.": top_k_with(
        lambda x, out: x.softmax(-1).masked_fill(out, -math.inf).softmax(-1)
    ),
    "You kept the k least likely ids.": top_k_with(renormalised, low=True),
    "You kept what is larger than the k-th largest, so one too few.": lambda x, k: renormalised(
        x, x < x.topk(max(1, min(k, x.shape[-1]) - 1)).values[..., -1:]
    ),
    "You kept one too many.": lambda x, k: renormalised(
        x, x < x.topk(min(k + 1, x.shape[-1])).values[..., -1:]
    ),
    "Nothing was cut.": lambda x, k: x.softmax(-1),
    "The kept ids became equally likely; they keep their proportions.": top_k_with(
        lambda x, out: (~out).float() / (~out).sum(-1, keepdim=True)
    ),
    "You cut to the logits; the exercise asks for probabilities.": top_k_with(
        lambda x, out: x.masked_fill(out, -math.inf)
    ),
    "The probabilities came back in the order of their size: each has to go back to the place of "
    "its own id.": lambda x, k: renormalised(*in_order(x, k)),
    "You returned logits, with 0 for the others; the exercise asks for probabilities.": (
        top_k_with(lambda x, out: x.masked_fill(out, 0))
    ),
    "You returned the k probabilities alone, so that nobody knows which id each belongs to; return "
    "(B, V).": lambda x, k: x.topk(min(k, x.shape[-1])).values.softmax(-1),
    "The kept logits were divided by their sum: that is no softmax, and negative ones give "
    "nonsense.": top_k_with(lambda x, out: x.masked_fill(out, 0) / x.masked_fill(out, 0).sum()),
}
ROWS_MISTAKES = {
    "The k largest were taken of the whole batch, so that one sequence decides what another may "
    "say. Each row has its own.": top_k_with(renormalised, batch=True),
    "The threshold is that of the first row; each row has its own.": lambda x, k: renormalised(
        x, x < x[:1].topk(k).values[..., -1:]
    ),
    "Every row's probabilities stand at the ids that the first row keeps; each row has its "
    "own.": first_rows_places,
    "You divided by the sum of the whole batch; each row sums to one by itself.": top_k_with(
        lambda x, out: (lambda p: p / p.sum())(x.softmax(-1).masked_fill(out, 0))
    ),
    "The softmax ran over the sequences of the batch and not over the ids.": (
        lambda x, k: x.masked_fill(x < x.topk(k).values[..., -1:], -math.inf).softmax(0)
    ),
    "All rows together sum to one; each row should.": lambda x, k: (
        lambda y: y.flatten().softmax(0).view_as(y)
    )(x.masked_fill(x < x.topk(k).values[..., -1:], -math.inf)),
}


@exercise("7.2", "Top-k")
def top_k(probe: Probe) -> None:
    def compare(rows, k, extra=None, crash=""):
        args = (torch.tensor(rows), k)
        expected = top_k_with(renormalised)(*args)
        got = probe.call(*args, on_crash=crash)
        example = probe.describe(*args)
        bad = isinstance(got, torch.Tensor) and got.is_floating_point() and got.isnan().all()
        probe.require(
            not bad,
            "Every probability is nan: all logits of the row have become -inf, and 0/0 has no "
            "value. Which ones does your condition keep?",
            f"{example}\nexpected  {[round(v, 4) for v in expected[0].tolist()]}",
        )
        mistakes = {
            text: (lambda w=w: w(*args))
            for text, w in ({**(extra or {}), **TOP_K_MISTAKES}).items()
        }
        probe.expect(got, expected, mistakes, example, 1e-5)

    compare([[1.0, 3.0, 2.0, -1.0]], 2)
    compare([[-1.0, -3.0, -2.0, -4.0]], 2)
    probe.holds("the k likeliest ids stay, in their proportions, with sum one")
    compare([[1.0, 3.0, 2.0, -1.0], [9.0, 7.0, 5.0, 8.0]], 2, ROWS_MISTAKES)
    compare([[9.0, 7.0, 5.0, 8.0], [1.0, 3.0, 2.0, -1.0]], 3, ROWS_MISTAKES)
    probe.holds("each sequence of the batch by itself")
    compare([[1.0, 3.0, 2.0, -1.0]], 1)
    too_many = "A k above the number of ids is not an error: nothing is cut then."
    compare([[1.0, 3.0, 2.0]], 5, {too_many: lambda x, k: one_hot(1, 3)[None]}, crash=too_many)
    probe.holds("k = 1, and a k above V")


# --- 7.3 -----------------------------------------------------------------------------------------


def nucleus(p, threshold, keep="reach", order="descending"):
    """The mask of the ids that top-p keeps, with the usual mistakes as options."""
    values, places = p.sort(descending=order == "descending", stable=True)
    total = values.cumsum(-1)
    if keep == "reach":
        kept = total - values < threshold - 1e-7
        kept[0] = True
    elif keep == "below":
        kept = total <= threshold + 1e-7
    elif keep == "one more":
        kept = total - values < threshold - 1e-7
        kept[0] = True
        kept[min(int(kept.sum()), len(p) - 1)] = True
    mask = torch.zeros(len(p), dtype=torch.bool)
    mask[places[kept]] = True
    return mask


def shares(p, mask):
    kept = p * mask
    return kept / kept.sum()


def in_sorted_order(p, t):
    values, _ = p.sort(descending=True, stable=True)
    return shares(values, nucleus(values, t))


def put_back_twice(p, t):
    """Probabilities in sorted order, indexed by the order: that sorts instead of putting back."""
    values, places = p.sort(descending=True, stable=True)
    return shares(values, nucleus(values, t))[places]


def mask_in_sorted_order(p, t):
    values, _ = p.sort(descending=True, stable=True)
    return shares(p, nucleus(values, t))


TOP_P_MISTAKES = {
    "The token that crosses the threshold was dropped. Without it, what is left does not reach p: "
    "it belongs to the set.": lambda p, t: shares(p, nucleus(p, t, "below")),
    "One token more than needed was kept: the set had reached p before it.": (
        lambda p, t: shares(p, nucleus(p, t, "one more"))
    ),
    "The kept probabilities do not sum to one: divide by their sum.": (
        lambda p, t: p * nucleus(p, t)
    ),
    "The crossing token is dropped, and what is left does not sum to one.": (
        lambda p, t: p * nucleus(p, t, "below")
    ),
    "The probabilities came back in sorted order: each has to go back to its own id.": (
        in_sorted_order
    ),
    "The way back is wrong: `q[order]` sorts once more. The i-th of the sorted values belongs to "
    "the id `order[i]`, so write `result[order] = q`.": put_back_twice,
    "Which ids stay was decided in sorted order, but the mask was laid over the ids in their own "
    "order: put it back with what `sort` returned.": mask_in_sorted_order,
    "The set was gathered from the least likely id on; begin with the likeliest.": (
        lambda p, t: shares(p, nucleus(p, t, order="ascending"))
    ),
    "The ids were added up in the order of their numbers; sort by probability first.": (
        lambda p, t: shares(p, p.cumsum(-1) - p < t - 1e-7)
    ),
    "You kept ids that are each above the threshold; it is their sum that counts.": (
        lambda p, t: shares(p, p >= t)
    ),
    "You kept ids that are at least `threshold` times as likely as the likeliest: that is "
    "min-p.": lambda p, t: shares(p, p >= t * p.max()),
    "You took the threshold for a share of the ids: their number does not matter, their "
    "probability does.": lambda p, t: shares(p, p >= p.topk(max(1, round(t * len(p)))).values[-1]),
    "The kept probabilities went through a softmax; they are probabilities already: divide by "
    "their sum.": lambda p, t: p.masked_fill(~nucleus(p, t), -math.inf).softmax(-1),
    "The kept ids became equally likely; they keep their proportions.": (
        lambda p, t: nucleus(p, t) / nucleus(p, t).sum()
    ),
    "Nothing was cut.": lambda p, t: p,
    "You returned which ids are kept; return their new probabilities.": nucleus,
}


@exercise("7.3", "Top-p")
def top_p(probe: Probe) -> None:
    def compare(weights, t, extra=None):
        p = distribution(*weights)
        probe.compare((p, t), shares(p, nucleus(p, t)), {**(extra or {}), **TOP_P_MISTAKES}, 1e-5)

    compare((4, 3, 2, 1), 0.6)
    compare((1, 4, 2, 3), 0.6)
    compare((2, 3, 1, 4), 0.85)
    compare((3, 60, 2, 1, 12, 5, 4, 6), 0.5)
    compare((7, 9, 6, 5, 8, 1, 1, 1), 0.5)
    probe.holds("the fewest ids that reach p, each at its own place, with sum one")
    compare((9, 1), 0.5)
    probe.holds("one id, if it reaches p alone")
    none = {
        "With p = 0 nothing is left, and 0/0 is nan: the likeliest id always stays.": torch.full(
            (3,), math.nan
        ),
        "With p = 0 all probabilities are 0: the likeliest id always stays.": torch.zeros(3),
        "With p = 0 nothing was cut; the fewest likeliest ids are the likeliest alone.": (
            lambda p, t: p
        ),
    }
    compare((2, 5, 3), 0.0, none)
    compare((2, 5, 3), 1.0)
    probe.holds("p = 0 leaves the likeliest id, p = 1 leaves all")


# --- 7.4 -----------------------------------------------------------------------------------------


class Listening:
    """A model that says 3 x id + position + 1 (mod 11) at every place, and notes what it is asked.

    Without positions it counts from 0, which is right for the first call alone.
    """

    def __init__(self):
        self.calls, self.fault = [], ""

    def __call__(self, ids, positions=None, caches=None):
        if not isinstance(ids, torch.Tensor) or ids.ndim != 2 or len(ids) != 1:
            raise ValueError("the model reads a tensor of ids of shape (1, T)")
        if caches is None:
            self.fault = self.fault or "no cache"
            caches = []
        n = len(ids[0])
        places = None if positions is None else torch.as_tensor(positions).reshape(-1).tolist()
        if places is not None and len(places) != n:
            raise ValueError(f"there are {n} ids but {len(places)} positions; pass one an id")
        places = list(range(n)) if places is None and not self.calls else places
        self.calls.append((ids[0].tolist(), places, len(caches)))
        caches.extend(ids[0].tolist())
        said = (3 * ids[0] + torch.tensor(places or [0] * n) + 1) % 11  # (T,)
        return 5 * F.one_hot(said, 11).float()[None]  # (1, T, 11)


def expected_calls(prompt: list[int], n: int) -> tuple[list[int], list[tuple]]:
    """What the listening model must be asked, and the ids that come out."""
    model, caches, new = Listening(), [], []
    ids, start = prompt, 0
    for _ in range(n):
        places = torch.arange(start, start + len(ids))
        logits = model(torch.tensor([ids]), positions=places, caches=caches)
        start, ids = start + len(ids), [logits[0, -1].argmax().item()]
        new += ids
    return new, model.calls


def judge_calls(probe: Probe, calls, expected, new, prompt, example) -> None:
    """Say what is wrong with what the model was asked, call by call."""
    probe.require(calls, "The model was never called.", example)
    probe.require(
        calls[0][0] != prompt[-1:] or len(prompt) == 1,
        "The first call read the last id of the prompt alone: the rest of the prompt has not been "
        "read yet, and the cache is empty.",
        example,
    )
    probe.require(
        calls[0][0] == prompt, "The first call should read the whole prompt, in one go.", example
    )
    for i, (got, wanted) in enumerate(zip(calls, expected, strict=False)):
        shown = f"{example}\ncall {i + 1} read ids {got[0]} at positions {got[1]}"
        shown += f"\nexpected  ids {wanted[0]} at positions {wanted[1]}"
        again = i > 0 and len(got[0]) > 1
        probe.require(
            not (again and got[0][: len(prompt)] == prompt),
            "After the first call you read the whole sequence again. The cache has it already, so "
            "now it stands there twice: read the new id alone.",
            shown,
        )
        probe.require(not again, "After the first call, one new id is read at a time.", shown)
        probe.require(
            got[2] == wanted[2],
            "The list that you passed as `caches` does not hold what was read before: pass the "
            "same one, `caches`, every time.",
            f"{shown}\nthe list held {got[2]} ids, expected {wanted[2]}",
        )
        probe.require(
            got[1] is not None,
            "No positions were passed, so the new id was taken for the first of a text. Pass its "
            "place: the number of ids that the cache holds.",
            shown,
        )
        if got[1] != wanted[1]:
            off = got[1][0] - wanted[1][0]
            told = [
                (
                    got[1] == [0],
                    "The new id was put at position 0, as if the text began with it. What the "
                    "cache holds comes before it.",
                ),
                (
                    i > 1 and got[1] == calls[i - 1][1],
                    "The position stays the same from call to call; every id has its own.",
                ),
                (
                    len(prompt) > 1 and got[1] in ([i], [i - 1]),
                    "The position counts the new ids alone; the prompt stands before them.",
                ),
                (
                    off == 1,
                    "The positions are off by one, too large: they count from 0, so the first new "
                    "id stands at `len(prompt)`, the number of ids in the cache.",
                ),
                (
                    off == -1,
                    "The position is off by one: it is that of the id before. The cache holds n "
                    "ids at the places 0 to n - 1, so the new one is at n.",
                ),
                (True, "The positions are wrong: they go on where the cache ends."),
            ]
            probe.require(False, next(text for found, text in told if found), shown)
        if got[0] != wanted[0]:
            stale = {
                "You read the last id of the prompt again: it is in the cache since the first "
                "call. Read the id that was chosen last.": got[0] == prompt[-1:],
                "You read the id before the last one chosen: its successor is lost.": (
                    i > 1 and got[0] == calls[i - 1][0]
                ),
                "The id that was read is not the one chosen last: take the largest logit of the "
                "last position.": True,
            }
            probe.require(False, next(text for text, found in stale.items() if found), shown)


@exercise("7.4", "A step with a cache")
def step_with_cache(probe: Probe) -> None:
    def run(prompt, n):
        model, caches = Listening(), []
        expected, calls = expected_calls(prompt, n)
        example = (
            f"{getattr(probe.answer, '__name__', 'your function')}(model, {prompt}, {n}, caches)"
        )
        # not `probe.call`, which hands over copies: what the copies were asked would not be seen
        got = probe.call(_Handle(model), list(prompt), n, _Handle(caches))
        probe.require(
            not model.fault,
            "The model was called without `caches`: it forgets everything from call to call.",
            example,
        )
        judge_calls(probe, model.calls, calls, expected, prompt, example)
        probe.require(
            len(model.calls) >= n,
            f"There were {len(model.calls)} calls for {n} new ids: is a bound off by one?",
            example,
        )
        probe.require(
            len(model.calls) <= n,
            "The model was called once more than needed: after the last id nobody asks what "
            "follows.",
            example,
        )
        if isinstance(got, torch.Tensor):
            got = got.flatten().tolist()
        mistakes = {
            "The prompt was returned too; only the new ids are asked for.": prompt + expected,
            "The last id is missing: it was chosen, but not kept.": expected[:-1],
            "The first new id, which follows the prompt, is missing.": expected[1:],
            "You returned the ids that were read; the last one chosen is missing.": (
                prompt + expected[:-1]
            ),
        }
        if isinstance(got, list) and len(got) == n and got != expected:
            mistakes[
                "An id that you return is not the one with the largest logit at the last "
                "position of its call."
            ] = got
        probe.expect(got, expected, mistakes, example)

    run([4], 1)
    run([4, 9, 6], 3)
    probe.holds("the prompt is read once, then every new id once")
    run([2, 7, 1, 5, 10], 6)
    probe.holds("positions go on where the cache ends")


class _Handle:
    """Passes an object through `probe.call` as it is: the same one, not a copy."""

    def __new__(cls, thing):
        if isinstance(thing, list):
            return _SharedList(thing)
        self = super().__new__(cls)
        self.thing = thing
        return self

    def __deepcopy__(self, memo):
        return self

    def __call__(self, *args, **kwargs):
        return self.thing(*args, **kwargs)

    def __repr__(self):
        return "model"

    __name__ = "model"


class _SharedList(list):
    """A list that is not copied."""

    def __deepcopy__(self, memo):
        return self


# --- 7.5 -----------------------------------------------------------------------------------------


def padded(rows, side="left", width=None):
    T = width or max(map(len, rows))
    gaps = [[0] * (T - len(row)) for row in rows]
    pairs = zip(rows, gaps, strict=True)
    return torch.tensor([gap + row if side == "left" else row + gap for row, gap in pairs])


def marked(rows, side="left"):
    ones = [[1] * len(row) for row in rows]
    return padded(ones, side).bool()


def numbered(mask):
    return (mask.long().cumsum(1) - 1).clamp(min=0)


@exercise("7.5", "Left padding")
def left_padding(probe: Probe) -> None:
    def run(rows):
        example = probe.describe(rows)
        got = probe.call(rows)
        three = isinstance(got, (tuple, list)) and len(got) == 3
        probe.require(three, "Return three tensors: ids, mask and positions.", example)
        probe.require(
            all(x is not None for x in got),
            "One of the three is None; return all of them, also where no row needs padding.",
            f"{example}\nreturned  {got}",
        )
        ids, mask, positions = (
            torch.as_tensor(x) if not isinstance(x, torch.Tensor) else x for x in got
        )
        probe.require(
            not ids.is_floating_point(),
            "Your ids are floats, which no embedding looks up; make them whole numbers (int64).",
            f"{example}\nids have dtype {ids.dtype}",
        )
        probe.require(
            positions.dtype != torch.bool,
            "The mask and the positions are exchanged: return ids, mask, positions.",
            example,
        )
        wanted = padded(rows), marked(rows), numbered(marked(rows))
        ids_mistakes = {
            "The rows were reversed.": padded([row[::-1] for row in rows]),
            "The rows were cut to the length of the shortest; all ids of all rows stay.": (
                torch.tensor([row[-min(map(len, rows)) :] for row in rows])
            ),
            "The rows were cut to the length of the shortest, at the end.": (
                torch.tensor([row[: min(map(len, rows))] for row in rows])
            ),
            "There is a column more than the longest row needs.": padded(
                rows, width=max(map(len, rows)) + 1
            ),
        }
        where, right = marked(rows), marked(rows, "right")
        if ids.shape == where.shape and not torch.equal(where, right):
            probe.require(
                not torch.equal(ids.masked_fill(~right, 0), padded(rows, "right")),
                "The padding stands on the right, so that the last column of the shorter rows is "
                "padding, and the next id would be predicted from that.",
                f"{example}\nreturned  {ids.tolist()}",
            )
        if ids.shape == where.shape:  # any id may stand where there is padding
            probe.expect(ids.masked_fill(~where, 0), wanted[0], ids_mistakes, f"{example}\nids")
        else:
            probe.expect(ids, wanted[0], ids_mistakes, f"{example}\nids")
        probe.require(
            mask.dtype == torch.bool,
            f"The mask has dtype {mask.dtype}; make it boolean, True for real ids.",
            example,
        )
        mask_mistakes = {
            "The mask is the wrong way round: True means *may look*, so real ids are True.": ~where,
            "The mask says that padding stands on the right.": marked(rows, "right"),
            "The mask is True everywhere: nothing is hidden.": torch.ones_like(where),
            "A real id 0 was taken for padding: the mask has to come from the lengths, not from "
            "the ids.": wanted[0] != 0,
        }
        probe.expect(mask, where, mask_mistakes, f"{example}\nmask", 0)
        columns = torch.arange(where.shape[1])
        counted = where.long().cumsum(1)
        position_mistakes = {
            "The positions count the padding too: the first real id of every row is at 0.": (
                columns.expand(len(rows), -1)
            ),
            "The positions begin at 1; the first real id is at 0.": counted,
            "The positions count from the end of the row.": (
                counted.flip(1).cumsum(1).clamp(min=0)
            ),
            "The positions are those of padding on the right.": columns.expand(
                len(rows), -1
            ).masked_fill(~marked(rows, "right"), 0),
            "The positions were counted backwards.": (counted.amax(1, keepdim=True) - counted),
        }
        shown = f"{example}\npositions"
        probe.require(
            tuple(positions.shape) == tuple(where.shape),
            f"positions has shape {tuple(positions.shape)}; with padding every row has its own, "
            f"{tuple(where.shape)}.",
            shown,
        )
        probe.require(
            not positions.is_floating_point(), "Positions are whole numbers (int64).", shown
        )
        real = {t: (lambda w=w: w.masked_fill(~where, 0)) for t, w in position_mistakes.items()}
        probe.expect(positions.masked_fill(~where, 0), wanted[2], real, shown)
        probe.require(
            (positions >= 0).all(),
            "The padding has negative positions, which no table of embeddings has; use 0 there.",
            f"{shown}\nreturned  {positions.tolist()}",
        )
        probe.require(
            (positions < where.shape[1]).all(),
            "The padding has positions beyond the longest row; use 0 there.",
            f"{shown}\nreturned  {positions.tolist()}",
        )

    run([[5, 6, 7], [8]])
    run([[8], [5, 6, 7], [3, 4]])
    probe.holds("every row ends in the last column")
    run([[0, 5, 0], [9], [4, 0]])
    probe.holds("the mask comes from the lengths, positions count real ids from 0")
    run([[1, 2], [3, 4]])
    probe.holds("rows of equal length need no padding")


# --- 7.6 -----------------------------------------------------------------------------------------


def stream_until(pieces, stop):
    """What is given out, piece by piece."""
    held, given = "", []
    for piece in pieces:
        held += piece
        if stop in held:
            held = held[: held.index(stop)]
            break
        n = max((n for n in range(1, len(stop)) if held.endswith(stop[:n])), default=0)
        given.append(held[: len(held) - n])
        held = held[len(held) - n :]
    return [text for text in [*given, held] if text]


def by_piece(pieces, stop):
    given = []
    for piece in pieces:
        if stop in piece:
            return "".join([*given, piece[: piece.index(stop)]])
        given.append(piece)
    return "".join(given)


def minus_zero(pieces, stop):
    """What is left of the text where `held[:-n]` is given out, also for n = 0."""
    held, given = "", ""
    for piece in pieces:
        held += piece
        if stop in held:
            return given + held[: held.index(stop)]
        n = max((n for n in range(1, len(stop)) if held.endswith(stop[:n])), default=0)
        given, held = given + held[:-n], held[-n:] if n else ""
    return given + held


@exercise("7.6", "Stop strings across borders")
def stop_strings(probe: Probe) -> None:
    def run(pieces, stop, complaint=""):
        example = probe.describe(pieces, stop)
        got = probe.call(pieces, stop)
        if got is not None and not isinstance(got, (str, list, tuple)) and hasattr(got, "__next__"):
            got = list(got)  # a generator is as good as a list
        probe.require(
            isinstance(got, (list, tuple)) and all(isinstance(t, str) for t in got),
            "Return a list of strings: what is given out after each piece, and at the end.",
            f"{example}\nreturned  {got!r}",
        )
        text, whole = "".join(got), "".join(pieces)
        wanted = "".join(stream_until(pieces, stop))
        first = whole.find(stop)
        held = wanted if first >= 0 else whole
        partial = max((n for n in range(1, len(stop)) if held.endswith(stop[:n])), default=0)
        mistakes = {
            "The stop string itself was given out; the text ends before it.": whole[:first] + stop,
            "The stop string was cut out, and the text went on behind it; it ends before the first "
            "one.": whole.replace(stop, ""),
            "The text was cut at the last occurrence of the stop string; it ends at the first.": (
                whole[: whole.rfind(stop)]
            ),
            "The stop string was looked for in each piece by itself; here it spans two or more of "
            "them.": by_piece(pieces, stop),
            "The whole piece in which the stop string is complete was dropped; what stands before "
            "the stop string belongs to the text.": "".join(
                pieces[: max(i for i in range(len(pieces) + 1) if stop not in "".join(pieces[:i]))]
            ),
            "What was held back at the end of the text was lost: nothing came after it, so it is "
            "text.": held[: len(held) - partial] if first < 0 else None,
            "One character too many was cut off before the stop string.": whole[: first - 1],
            "One character of the stop string was given out.": whole[: first + 1],
            "Nothing was cut: the stop string is in your text.": whole,
        }
        slips = {
            "A piece at whose end nothing was held back is lost: `held[:-n]` is empty for n = 0. "
            "Write `held[: len(held) - n]`.": minus_zero(pieces, stop)
        }
        if first < 0:
            for name in list(mistakes):
                if "held back" not in name and "each piece" not in name:
                    del mistakes[name]
        shown = f"{example}\ntext joined from the pieces"
        if complaint and text == whole != wanted:
            mistakes = {complaint: whole}
        probe.expect(text, wanted, mistakes | slips, shown)
        return got, example

    run(["one two", " or END three"], "END")
    run(["one END two", " END three"], "END")
    probe.holds("the text ends before the first stop string")
    run(["one E", "N", "D two"], "END")
    inside = (
        "The stop string was overlooked: where its beginning turns out to be a false start, "
        "another one may begin inside that. In 'aab' the second 'a' begins 'ab'."
    )
    run(["aab", "c"], "ab", inside)
    longest = (
        "The stop string was overlooked: 'aa' ends with 'a' and with 'aa', and both begin 'aab'. "
        "Of several ends that could become the stop string, hold back the longest."
    )
    run(["aa", "b c"], "aab", longest)
    probe.holds("also where it spans pieces")
    run(["one EN", "ough"], "END")
    run(["the EN"], "END")
    run(["aa", "ab"], "aab")
    probe.holds("what only looked like its beginning is text after all")
    for pieces, stop in (
        (["one ", "two ", "three ", "END"], "END"),
        (["a E", "b", "EN", "x"], "END"),
    ):
        wanted = stream_until(pieces, stop)
        got, example = run(pieces, stop)
        got = [text for text in got if text]
        shown = f"{example}\nreturned  {got}\nexpected  {wanted}"
        probe.require(
            len(got) > 1 or len(wanted) == 1,
            "The whole text came at the end. A reader wants each piece as soon as it is certain: "
            "hold back only what could be the beginning of the stop string.",
            shown,
        )
        probe.require(
            got == wanted,
            "The text is right, but its pieces come late or too small: after each piece, give out "
            "all but the longest end of it that the stop string begins with.",
            shown,
        )
    probe.holds("nothing is held back longer than it must be")


# --- 7.7 -----------------------------------------------------------------------------------------


def chance_of(p, q, i):
    return min(1.0, (p[i] / q[i]).item())


def positive(x):
    return x.clamp(min=0)


def sum_to_one(x):
    return x / x.sum()


CHANCE_MISTAKES = {
    "The fraction is upside down: an id that the draft proposes too often has to be refused more, "
    "so it is p / q.": lambda p, q, i: min(1.0, (q[i] / p[i]).item()),
    "A chance is at most 1: where the model likes the id more than the draft did, it is always "
    "accepted.": lambda p, q, i: (p[i] / q[i]).item(),
    "The chance is the model's own probability of the id; then too little is accepted, for the "
    "draft had to propose it first.": lambda p, q, i: p[i].item(),
    "The chance is the draft's own probability of the id.": lambda p, q, i: q[i].item(),
    "You multiplied the two probabilities.": lambda p, q, i: (p[i] * q[i]).item(),
    "The chance is that of any proposal, the overlap of p and q; this one has its own.": (
        lambda p, q, i: torch.minimum(p, q).sum().item()
    ),
    "You took the smaller of the two probabilities; it has to be divided by q, for the draft has "
    "proposed the id with probability q already.": lambda p, q, i: min(p[i], q[i]).item(),
    "You accept or refuse for good: whether p is above q. In between, chance decides.": (
        lambda p, q, i: float(p[i] >= q[i])
    ),
    "You subtracted: the chance to refuse is 1 - p / q.": (lambda p, q, i: 1 - chance_of(p, q, i)),
}
REST_MISTAKES = {
    "The replacement is drawn from p itself. Then the ids that were accepted before are counted "
    "twice: draw from what p has more than q.": lambda p, q, i: p,
    "The replacement is drawn from q, the draft.": lambda p, q, i: q,
    "What p has more than q is right, but it does not sum to one.": (
        lambda p, q, i: positive(p - q)
    ),
    "The differences were taken without their sign, so that ids come back that the draft proposes "
    "too often; negative differences are 0.": lambda p, q, i: sum_to_one((p - q).abs()),
    "It is the other way round: what p has more than q is missing, not what q has more.": (
        lambda p, q, i: sum_to_one(positive(q - p))
    ),
    "The negative differences are still there: they become 0.": lambda p, q, i: p - q,
    "You left out the refused id and drew from the rest of p.": lambda p, q, i: sum_to_one(
        p.index_fill(0, torch.tensor([i]), 0.0)
    ),
    "You took the softmax of the differences; they are (parts of) probabilities already.": (
        lambda p, q, i: (p - q).softmax(-1)
    ),
    "You took the softmax of what p has more; divide by the sum instead.": (
        lambda p, q, i: positive(p - q).softmax(-1)
    ),
    "You drew from what p and q have in common; that part has been accepted already.": (
        lambda p, q, i: sum_to_one(torch.minimum(p, q))
    ),
    "You divided by the chance that this id is refused; divide by the sum of what p has more, "
    "which is the chance that any proposal is.": lambda p, q, i: (
        positive(p - q) / (1 - chance_of(p, q, i))
    ),
    "You put everything on the id with the largest difference.": (
        lambda p, q, i: one_hot((p - q).argmax().item(), len(p))
    ),
}


@exercise("7.7", "Accept or replace")
def accept_or_replace(probe: Probe) -> None:
    def run(p, q, i):
        p, q = distribution(*p), distribution(*q)
        example = probe.describe(p, q, i)
        got = probe.call(p, q, i)
        pair = isinstance(got, (tuple, list)) and len(got) == 2
        probe.require(pair, "Return two things: the chance, and the distribution (V,).", example)
        chance, rest = got
        sizes = [torch.as_tensor(x).numel() for x in got]
        probe.require(
            sizes != [len(p), 1],
            "The two are exchanged: return the chance first, then the distribution.",
            f"{example}\nreturned  {got}",
        )
        probe.require(
            sizes[0] == 1,
            f"You returned {sizes[0]} chances, one for every id; only that of the proposed id `i` "
            "is asked for.",
            f"{example}\nreturned  {got}",
        )
        chance = chance.item() if isinstance(chance, torch.Tensor) else chance
        mistakes = {t: (lambda w=w: w(p, q, i)) for t, w in CHANCE_MISTAKES.items()}
        probe.expect(chance, chance_of(p, q, i), mistakes, f"{example}\nchance", 1e-5)
        rest = rest if isinstance(rest, torch.Tensor) else torch.as_tensor(rest)
        shown = f"{example}\nreplacement"
        if torch.equal(p, q):
            why = (
                "Where p = q nothing is ever refused, but rounding may ask for a replacement, and "
            )
            mistakes = {
                f"{why}yours is 0/0: return p then.": torch.full_like(p, math.nan),
                f"{why}yours has no probability at all: return p then.": torch.zeros_like(p),
                f"{why}yours makes all ids equally likely: return p then.": (
                    torch.full_like(p, 1 / len(p))
                ),
            }
            probe.expect(rest, p, mistakes, shown, 1e-5)
            return chance, rest
        mistakes = {t: (lambda w=w: w(p, q, i)) for t, w in REST_MISTAKES.items()}
        probe.expect(rest, sum_to_one(positive(p - q)), mistakes, shown, 1e-5)
        return chance, rest

    always = [probe.call(distribution(5, 3, 2), distribution(2, 3, 5), i) for i in (2, 0)]
    probe.require(
        not all(isinstance(got, (tuple, list)) and same(got[0], 1.0, 1e-6) for got in always),
        "Every proposal is accepted, so the ids are distributed as the draft's, q. One that the "
        "draft proposes more often than the model wants it must be refused now and then.",
        probe.describe(distribution(5, 3, 2), distribution(2, 3, 5), 2),
    )
    run((5, 3, 2), (2, 3, 5), 2)
    run((5, 3, 2), (2, 3, 5), 0)
    probe.holds("the chance is p / q, and at most 1")
    p, q = (1, 4, 2, 3), (4, 1, 3, 2)
    total = torch.zeros(4)
    for i in range(4):
        chance, rest = run(p, q, i)
        total += distribution(*q)[i] * (chance * one_hot(i, 4) + (1 - chance) * rest)
    probe.require(
        torch.allclose(total, distribution(*p), atol=1e-5),
        "Over all proposals, your ids are not distributed as p.",
        f"{total.tolist()}",
    )
    probe.holds("over all proposals of the draft, the ids are distributed exactly as p")
    run((0, 1, 1), (2, 1, 1), 0)
    run((1, 1, 2), (1, 1, 2), 1)
    probe.holds("ids that the model forbids are never accepted, and p = q is no 0/0")
