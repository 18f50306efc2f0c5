"""The checks of chapter 11, Classification."""

import math
from collections import Counter

import numpy as np
import torch
from torch import nn

from lib.course.checks.engine import Probe, as_array, exercise, show

# --- 11.1 ----------------------------------------------------------------------------------------


def best(scores, part):
    return max(scores, key=lambda name: scores[name][part])


REPORT_MISTAKES = {
    "You chose by the test scores. The best of several noisy scores is lucky as well as good, so "
    "what you report is too high: the validation texts are there for choosing.": lambda s: (
        best(s, 1),
        s[best(s, 1)][1],
    ),
    "The choice is right, but you report its validation score, which is the best of several and so "
    "too high. The test texts have not been used yet: now is their time.": lambda s: (
        best(s, 0),
        s[best(s, 0)][0],
    ),
    "You report the best test score of all, whoever has it; the test score of the setting that was "
    "chosen is asked for.": lambda s: (best(s, 0), max(test for _, test in s.values())),
    "You chose by the sum of both scores: then the test texts have taken part in the choice.": (
        lambda s: (
            max(s, key=lambda name: sum(s[name])),
            s[max(s, key=lambda name: sum(s[name]))][1],
        )
    ),
    "You took the worst validation score.": lambda s: (
        min(s, key=lambda name: s[name][0]),
        s[min(s, key=lambda name: s[name][0])][1],
    ),
    "You took the first setting: nothing was chosen.": lambda s: (
        next(iter(s)),
        next(iter(s.values()))[1],
    ),
    "You took the last setting: nothing was chosen.": lambda s: (
        list(s)[-1],
        list(s.values())[-1][1],
    ),
    "You chose by the test scores and report a validation score: the other way round. The "
    "validation texts choose, the test texts are for the report.": lambda s: (
        best(s, 1),
        s[best(s, 1)][0],
    ),
    "You report the mean of both scores; the validation score is the best of several, and half of "
    "its luck is in that mean.": lambda s: (best(s, 0), sum(s[best(s, 0)]) / 2),
    "You took the largest name of the alphabet: `max(scores)` compares the keys. Give it a key.": (
        lambda s: (max(s), s[max(s)][1])
    ),
    "Return the name first, then the score.": lambda s: (s[best(s, 0)][1], best(s, 0)),
    "Report one number, the test score; you returned the pair.": lambda s: (
        best(s, 0),
        s[best(s, 0)],
    ),
}


@exercise("11.1", "Choose, then report")
def choose_then_report(probe: Probe) -> None:
    for scores in (
        {
            "C = 3": (0.70, 0.71),
            "C = 10": (0.75, 0.72),
            "C = 1": (0.60, 0.64),
            "C = 30": (0.71, 0.74),
            "C = 5": (0.66, 0.68),
            "C = 0.1": (0.63, 0.66),
        },
        {"a": (0.80, 0.60), "b": (0.70, 0.74), "c": (0.60, 0.75)},
        {"a": (0.62, 0.60), "b": (0.71, 0.66), "c": (0.69, 0.74), "d": (0.50, 0.70)},
    ):
        got = probe.call(scores)
        example = probe.describe(scores)
        probe.require(
            got is None or (isinstance(got, (tuple, list)) and len(got) == 2),
            "Return two things: the name, and the score that you report.",
            f"{example}\nreturned  {show(got)}",
        )
        mistakes = {text: (lambda w=w, s=scores: w(s)) for text, w in REPORT_MISTAKES.items()}
        probe.expect(got, (best(scores, 0), scores[best(scores, 0)][1]), mistakes, example)
    probe.holds("the validation texts choose, and the test texts have the last word")


# --- 11.2 and 11.3 -------------------------------------------------------------------------------

RIGHT = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]).bool()
LEFT = RIGHT.flip(1)
MIXED = torch.stack([RIGHT[1], LEFT[2], RIGHT[0]])


def states(mask: torch.Tensor, C: int = 2) -> torch.Tensor:
    """Small numbers where the mask is True, also 0, and large ones for padding: (B, T, C).

    In no order, so that the last of a text is neither its largest nor its smallest.
    """
    B, T = mask.shape
    numbers = (torch.arange(B * T * C) * 7 % 11).float().view(B, T, C)
    return torch.where(mask[..., None], numbers, 100 * numbers + 500)


def at(hidden, places):
    return hidden[torch.arange(len(hidden)), places]


def last_real(hidden, mask):
    return torch.stack([row[real][-1] for row, real in zip(hidden, mask, strict=True)])


LAST_MISTAKES = {
    "You took the last column. In every text that is shorter than the longest of its batch, that "
    "is padding: its label would depend on its neighbours.": lambda h, m: h[:, -1],
    "That is the place after the last real id: n ids stand at 0 to n - 1.": lambda h, m: at(
        h, m.sum(1).clamp(max=m.shape[1] - 1)
    ),
    "The number of real ids tells where the last one is only if the padding stands on the right. "
    "Let the mask say which places are real, and take the largest of them.": lambda h, m: at(
        h, m.sum(1) - 1
    ),
    "You took the first real id: `argmax` of a mask finds its first True. The first id has seen "
    "nothing of the text that follows.": lambda h, m: at(h, m.long().argmax(1)),
    "You took the first column.": lambda h, m: h[:, 0],
    "You took the mean of the real ids; that is the next exercise.": lambda h, m: mean_of(h, m),
    "One place was used for all texts, that of the shortest; each text ends at its own.": (
        lambda h, m: h[:, m.sum(1).min() - 1]
    ),
    "The padding was set to 0, and then the last column was taken.": lambda h, m: (
        h * m[..., None]
    )[:, -1],
    "All real ids of the batch were joined, and the last of all was taken.": lambda h, m: h[m][-1],
    "You returned the last two dimensions of one text too many: one state a text, (B, C).": (
        lambda h, m: last_real(h, m)[:, None]
    ),
    "You took the largest numbers of the real ids; the last id's state is asked for.": (
        lambda h, m: h.masked_fill(~m[..., None], -math.inf).amax(1)
    ),
    "`hidden[:, places]` takes every place for every text. Index with two tensors, one for the "
    "rows and one for the places.": lambda h, m: h[:, (torch.arange(m.shape[1]) * m).argmax(1)],
    "These are the states of all real ids; one state a text is asked for, (B, C).": (
        lambda h, m: h[m]
    ),
    "That is the place before the last real id.": lambda h, m: at(
        h, (torch.arange(m.shape[1]) * m).argmax(1) - 1
    ),
    "One place was used for all texts, the last of the longest; each text ends at its own.": (
        lambda h, m: h[:, m.sum(1).max() - 1]
    ),
}


SIDE = (
    "You looked at the batch as a whole, or at one of its texts, to tell on which side the padding "
    "stands; each text has its own mask."
)


@exercise("11.2", "The last real id")
def last_real_id(probe: Probe) -> None:
    crash = (
        "An index lies outside the text: n real ids stand at the places 0 to n - 1, so the last is "
        "at n - 1."
    )
    full = torch.ones(2, 3, dtype=torch.bool)
    for mask in (RIGHT[1:], RIGHT):
        h = states(mask)
        probe.compare((h, mask), last_real(h, mask), LAST_MISTAKES, on_crash=crash)
    probe.holds("with padding on the right")
    h = states(LEFT)
    probe.compare((h, LEFT), last_real(h, LEFT), LAST_MISTAKES, on_crash=crash)
    probe.holds("with padding on the left, as generation has it")
    h = states(MIXED)
    got = probe.call(h, MIXED, on_crash=crash)
    sides = (h[:, -1], at(h, MIXED.sum(1) - 1))
    one_side = any(np.array_equal(as_array(got), side) for side in sides)
    probe.require(not one_side, SIDE, probe.last)
    probe.compare((h, MIXED), last_real(h, MIXED), LAST_MISTAKES, on_crash=crash)
    probe.holds("with padding on the right of one text, on the left of another")
    probe.compare((states(full), full), states(full)[:, -1], LAST_MISTAKES, on_crash=crash)
    probe.holds("without padding")


def mean_of(hidden, mask):
    return torch.stack([row[real].mean(0) for row, real in zip(hidden, mask, strict=True)])


def total(hidden, mask):
    return (hidden * mask[..., None]).sum(1)


MEAN_MISTAKES = {
    "The padding went into the mean: the same text gets another state in the company of a longer "
    "one.": lambda h, m: h.mean(1),
    "The padding is left out of the sum, but not out of the count: you divided by T. Short texts "
    "get small states.": lambda h, m: total(h, m) / m.shape[1],
    "You returned the sum: long texts get large states. Divide by the number of real ids.": total,
    "You divided by the number of real ids of the batch; each text has its own.": lambda h, m: (
        total(h, m) / m.sum()
    ),
    "You divided by the mean number of real ids; each text has its own.": lambda h, m: (
        total(h, m) / m.sum(1).float().mean()
    ),
    "You divided by the number of real ids, but the sum has the padding in it.": lambda h, m: (
        h.sum(1) / m.sum(1, keepdim=True)
    ),
    "You divided by one too many.": lambda h, m: total(h, m) / (m.sum(1, keepdim=True) + 1),
    "The texts of the batch were mixed: one mean for all.": lambda h, m: h[m].mean(0),
    "The mean ran over the texts of the batch, not over the places of each.": lambda h, m: h.mean(
        0
    ),
    "You took the largest number of the real ids, not the mean.": lambda h, m: h.masked_fill(
        ~m[..., None], -math.inf
    ).amax(1),
    "The mask was used the wrong way round: you averaged the padding.": lambda h, m: (
        total(h, ~m) / (~m).sum(1, keepdim=True)
    ),
    "You took the last real id; that was the exercise before.": last_real,
    "You counted the numbers that are not 0; a state may have a 0 in it, too. Count the mask.": (
        lambda h, m: total(h, m) / (total(h, m) * 0 + (h * m[..., None] != 0).sum(1))
    ),
    "That is the middle of the first and the last real id; all of them belong in the mean.": (
        lambda h, m: torch.stack([(a[b][0] + a[b][-1]) / 2 for a, b in zip(h, m, strict=True)])
    ),
    "The number of real ids tells which they are only if the padding stands on the right.": (
        lambda h, m: torch.stack([a[: b.sum()].mean(0) for a, b in zip(h, m, strict=True)])
    ),
    "The numbers of a state were averaged too: it has C numbers, and each keeps its own mean.": (
        lambda h, m: torch.stack([a[b].mean() for a, b in zip(h, m, strict=True)])
    ),
    "You divided by the square root of the number of real ids.": lambda h, m: (
        total(h, m) / m.sum(1, keepdim=True).sqrt()
    ),
}


@exercise("11.3", "The mean of the real ids")
def mean_of_the_real(probe: Probe) -> None:
    for mask in (RIGHT[1:], RIGHT, LEFT, MIXED):
        h = states(mask)
        probe.compare((h, mask), mean_of(h, mask), MEAN_MISTAKES, 1e-5)
    probe.holds("the mean of each text's real ids, padding on either side")
    h = states(LEFT)
    h[~LEFT] = -7.0
    probe.compare((h, LEFT), mean_of(h, LEFT), MEAN_MISTAKES, 1e-5)
    probe.holds("whatever stands in the padding")


# --- 11.4 ----------------------------------------------------------------------------------------


def rates(labels, predicted, n):
    """Of each class: precision, recall, F1 (nan where 0/0), how often it occurs and is given."""
    rows = []
    for k in range(n):
        both = sum(a == b == k for a, b in zip(labels, predicted, strict=True))
        true, given = list(labels).count(k), list(predicted).count(k)
        p = both / given if given else math.nan
        r = both / true if true else math.nan
        f = 2 * both / (true + given) if true + given else math.nan
        rows.append((p, r, f, true, given))
    return np.array(rows)


def mean_without_nan(values):
    return float(values[~np.isnan(values)].mean())


def f1_with(combine):
    return lambda labels, predicted, n: combine(rates(labels, predicted, n))


def harmonic(p, r):
    return 2 * p * r / (p + r) if p + r else 0.0


MACRO_MISTAKES = {
    "That is the accuracy, which is also micro-F1: every text counts alike, so the frequent class "
    "decides. Take F1 of each class, then their mean.": lambda y, q, n: (
        sum(a == b for a, b in zip(y, q, strict=True)) / len(y)
    ),
    "You weighted each class by how often it occurs, so the frequent class decides again: macro "
    "means that every class counts alike.": f1_with(
        lambda t: float((np.nan_to_num(t[:, 2]) * t[:, 3]).sum() / t[:, 3].sum())
    ),
    "That is the mean precision: it does not see which texts of a class were missed.": f1_with(
        lambda t: float(np.nan_to_num(t[:, 0]).mean())
    ),
    "That is the mean recall: it does not see how many wrong texts were swept in.": f1_with(
        lambda t: float(np.nan_to_num(t[:, 1]).mean())
    ),
    "You took F1 of the mean precision and the mean recall; take F1 of each class, then the "
    "mean.": f1_with(
        lambda t: harmonic(np.nan_to_num(t[:, 0]).mean(), np.nan_to_num(t[:, 1]).mean())
    ),
    "F1 is the harmonic mean of precision and recall, 2pr / (p + r), not (p + r) / 2: one of them "
    "near 0 brings it near 0.": f1_with(
        lambda t: float(((np.nan_to_num(t[:, 0]) + np.nan_to_num(t[:, 1])) / 2).mean())
    ),
    "The 2 is missing: F1 = 2 · hits / (true + predicted).": f1_with(
        lambda t: mean_without_nan(t[:, 2]) / 2
    ),
    "That is the sum over the classes; take the mean.": f1_with(
        lambda t: float(np.nansum(t[:, 2]))
    ),
    "That is F1 of class 1 alone; macro-F1 is the mean over all classes.": f1_with(
        lambda t: float(t[1, 2])
    ),
}
ABSENT_MISTAKES = {
    "A class that neither occurs nor is predicted got an F1 of 0 and pulled the mean down; nobody "
    "made a mistake there. Leave it out.": f1_with(lambda t: float(np.nan_to_num(t[:, 2]).mean())),
    "A class that neither occurs nor is predicted got an F1 of 1 and pulled the mean up. Leave it "
    "out.": f1_with(lambda t: float(np.nan_to_num(t[:, 2], nan=1.0).mean())),
}
PREDICTED_MISTAKES = {
    "A class that is predicted but does not occur was left out. All those predictions are wrong: "
    "its F1 is 0, and it counts.": f1_with(
        lambda t: float(np.nan_to_num(t[t[:, 3] > 0, 2]).mean())
    ),
    "A class that occurs but is never predicted was left out. All its texts were missed: its F1 is "
    "0, and it counts.": f1_with(lambda t: float(np.nan_to_num(t[t[:, 4] > 0, 2]).mean())),
}


@exercise("11.4", "Macro-F1")
def macro_f1(probe: Probe) -> None:
    crash = (
        "A class without predictions makes the precision 0/0. Use F1 = 2 · hits / (true + "
        "predicted), which has a value whenever the class occurs or is predicted."
    )

    def compare(labels, predicted, n, extra):
        expected = mean_without_nan(rates(labels, predicted, n)[:, 2])
        got = probe.call(labels, predicted, n, on_crash=crash)
        example = probe.describe(labels, predicted, n)
        number = isinstance(got, (float, np.floating, torch.Tensor))
        probe.require(not (number and math.isnan(float(got))), crash, example)
        mistakes = {
            text: (lambda w=w: w(labels, predicted, n))
            for text, w in (extra | MACRO_MISTAKES).items()
        }
        probe.expect(got, expected, mistakes, example)

    compare([0, 0, 0, 0, 1], [0, 0, 1, 1, 1], 2, {})
    compare([0, 0, 0, 0, 1, 1, 2], [0, 1, 0, 0, 1, 2, 2], 3, {})
    probe.holds("F1 of each class, then the mean: every class counts alike")
    compare([0, 0, 0, 1], [0, 0, 0, 0], 2, PREDICTED_MISTAKES)
    compare([0, 0, 1, 1], [0, 2, 1, 1], 3, PREDICTED_MISTAKES)
    probe.holds("a class that is never predicted, or does not occur, has F1 = 0")
    compare([0, 0, 2], [0, 2, 2], 4, ABSENT_MISTAKES)
    probe.holds("a class that is nowhere is left out")


# --- 11.5 ----------------------------------------------------------------------------------------


def ece_with(
    confidence=lambda labels, p: p.max(1),
    gap=abs,
    average=lambda n, gaps: (n * gaps).sum() / n.sum(),
    closed=True,
    bins_of=None,
    hit_of=lambda labels, p: p.argmax(1) == labels,
    more=0,
):
    """The expected calibration error, with the usual mistakes as options."""

    def run(labels, p, n_bins):
        labels = np.asarray(labels)
        c, hit = confidence(labels, p), hit_of(labels, p)
        bins = (c * n_bins).astype(int)
        if closed:
            bins = bins.clip(max=n_bins - 1)
        if bins_of is not None:
            bins = bins_of(p, n_bins)
        used = [bins == b for b in range(n_bins + more) if (bins == b).any()]
        n = np.array([b.sum() for b in used])
        gaps = np.array([gap(c[b].mean() - hit[b].mean()) for b in used])
        return float(average(n, gaps))

    return run


ECE_MISTAKES = {
    "Every bin counted alike, so that a bin with one text weighs as much as one with hundreds. "
    "Weigh each by its number of texts.": ece_with(average=lambda n, gaps: gaps.mean()),
    "You divided by the number of bins, empty ones too, and did not weigh them by their texts.": (
        lambda y, p, k: ece_with(average=lambda n, gaps: gaps.sum() / k)(y, p, k)
    ),
    "You returned the largest gap of a bin (the maximum calibration error); the expected one is "
    "the mean.": ece_with(average=lambda n, gaps: gaps.max()),
    "Bins that are too sure and bins that are too modest cancel: the gaps kept their signs, or "
    "all texts went into one bin. Take the absolute value of each bin's gap.": ece_with(
        gap=lambda d: d
    ),
    "The gaps have kept their signs, or all texts went into one bin: bins that are too sure and "
    "bins that are too modest cancel. Take the absolute value of each bin's gap.": ece_with(
        gap=lambda d: -d
    ),
    "You squared the gaps; take their absolute value.": ece_with(gap=lambda d: d * d),
    "The confidence is the probability of the class that the model chose, the largest; you took "
    "that of the true class, which the model does not know.": ece_with(
        confidence=lambda y, p: p[np.arange(len(p)), y]
    ),
    "You took the probability of class 1 for the confidence; it is that of the chosen class, the "
    "largest.": ece_with(confidence=lambda y, p: p[:, 1]),
    "Every text made a bin of its own: then a correct guess at 0.7 counts as an error of 0.3. Only "
    "the accuracy of several texts can be compared with a confidence.": ece_with(
        bins_of=lambda p, k: np.arange(len(p)), more=1000
    ),
    "That is the accuracy.": lambda y, p, k: float((p.argmax(1) == np.asarray(y)).mean()),
    "That is the mean confidence.": lambda y, p, k: float(p.max(1).mean()),
    "You rounded to the nearest border, which makes one bin more, and the first and the last half "
    "as wide. Cut off the decimals of confidence · n_bins.": ece_with(
        bins_of=lambda p, k: np.round(p.max(1) * k).astype(int), more=1
    ),
    "These are not `n_bins` bins from 0 to 1, but one more.": ece_with(
        bins_of=lambda p, k: (p.max(1) * (k + 1)).astype(int).clip(max=k), more=1
    ),
    "The bins begin at 1/K, the smallest confidence that there can be; here they reach from 0 to "
    "1.": ece_with(
        bins_of=lambda p, k: (
            ((p.max(1) - 1 / p.shape[1]) / (1 - 1 / p.shape[1]) * k).astype(int).clip(0, k - 1)
        )
    ),
    "The number of bins is always 10 in your function; take `n_bins`.": lambda y, p, k: ece_with()(
        y, p, 10
    ),
    "The bins hold equally many texts; here they are equally wide.": lambda y, p, k: float(
        sum(
            abs(part.sum())
            for part in np.array_split(
                (p.max(1) - (p.argmax(1) == np.asarray(y)))[np.argsort(p.max(1), kind="stable")], k
            )
        )
        / len(p)
    ),
    "The middle of the bin stood for its confidence; take the mean confidence of its texts.": (
        lambda y, p, k: ece_with(
            confidence=lambda y, p: ((p.max(1) * k).astype(int).clip(max=k - 1) + 0.5) / k,
            bins_of=lambda p, k: (p.max(1) * k).astype(int).clip(max=k - 1),
        )(y, p, k)
    ),
    "A guess was called right when the true class has a probability above one half; with three "
    "classes it may be the largest below that.": ece_with(
        hit_of=lambda y, p: p[np.arange(len(p)), y] > 0.5
    ),
    "The guess is the class of the largest probability, for any number of classes; you asked "
    "whether class 1 has more than one half.": ece_with(
        hit_of=lambda y, p: (p[:, 1] > 0.5).astype(int) == y
    ),
    "The sum runs over the bins without their weights n_b / N.": ece_with(
        average=lambda n, gaps: gaps.sum()
    ),
}
BORDER_MISTAKES = {
    "A confidence on the border of two bins went into the lower one; a bin holds its lower "
    "border.": ece_with(bins_of=lambda p, k: (np.ceil(p.max(1) * k) - 1).astype(int)),
}
CERTAIN_MISTAKES = {
    "A confidence of exactly 1 has fallen out of the last bin: it goes up to and with 1.": (
        lambda y, p, k: (
            ece_with(closed=False)(y, p, k) * (p.max(1) < 1).mean() if (p.max(1) < 1).any() else 0.0
        )
    ),
    "A confidence of exactly 1 has fallen out of the last bin, which goes up to and with 1; it was "
    "left out of the count, too.": ece_with(closed=False),
    "A confidence of exactly 1 got a bin of its own; the last bin goes up to and with 1.": ece_with(
        closed=False, more=1
    ),
}


def sure_of(*pairs):
    """Probabilities of two classes from (class, its probability)."""
    p = np.zeros((len(pairs), 2))
    for i, (k, value) in enumerate(pairs):
        p[i, k], p[i, 1 - k] = value, 1 - value
    return p


def some_texts(n, seed):
    """Labels and probabilities of n texts and three classes; no confidence near a border."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([0.9] * 3, 400).round(2)
    p[:, 0] = (1 - p[:, 1] - p[:, 2]).round(2)
    first, second = np.sort(p, axis=1)[:, :-3:-1].T
    inside = (first * 4 % 1 > 0.01) & (first * 10 % 1 > 0.01) & (first * 5 % 1 > 0.01)
    p = p[inside & (first - second > 0.01) & (first < 0.99)][:n]
    return rng.integers(0, 3, n).tolist(), p


@exercise("11.5", "Calibration")
def calibration(probe: Probe) -> None:
    crash = "A confidence of exactly 1, or a bin without texts, is not provided for."

    def compare(labels, p, n_bins, extra=None):
        mistakes = {**(extra or {}), **ECE_MISTAKES}
        probe.compare((labels, p, n_bins), ece_with()(labels, p, n_bins), mistakes, on_crash=crash)

    compare([0, 0, 0, 1], sure_of((0, 0.75), (0, 0.75), (0, 0.75), (0, 0.75)), 10)
    probe.holds("three of four right at a confidence of 0.75: no error")
    for n_bins in (4, 10):
        compare(*some_texts(12, 113), n_bins)
    compare(*some_texts(40, 113), 5)
    probe.holds("the mean gap between confidence and accuracy, weighted by the texts of each bin")
    certain = sure_of((0, 1.0), (0, 1.0), (1, 0.83), (0, 1.0), (1, 0.92))
    compare([0, 1, 1, 0, 1], certain, 10, CERTAIN_MISTAKES)
    probe.holds("a confidence of exactly 1")
    border = sure_of((0, 0.75), (1, 0.625), (0, 0.875), (1, 0.75))
    compare([1, 1, 0, 0], border, 4, BORDER_MISTAKES)
    probe.holds("a confidence on the border of two bins")


# --- 11.6 ----------------------------------------------------------------------------------------


def means(hits, draws):
    return np.asarray(hits)[draws].mean(1)


def ends(values, low=2.5, high=97.5):
    return tuple(np.percentile(values, [low, high]).tolist())


def normal_interval(width):
    """The mean difference of the draws, plus and minus some standard deviations."""

    def interval(a, b, d):
        values = means(a, d) - means(b, d)
        half = width * values.std()
        return float(values.mean() - half), float(values.mean() + half)

    return interval


def of_differences(low=2.5, high=97.5):
    return lambda a, b, draws: ends(means(a, draws) - means(b, draws), low, high)


DRAW_MISTAKES = {
    "Each method got its own draws, so a hard text may fall into one's and not into the other's: "
    "that noise is not theirs. Use the same draw for both.": lambda a, b, d: ends(
        means(a, d) - means(b, d[::-1])
    ),
    "You made an interval for each method and subtracted their ends. The interval of a difference "
    "is narrower: subtract within each draw, then take the percentiles.": lambda a, b, d: (
        ends(means(a, d))[0] - ends(means(b, d))[1],
        ends(means(a, d))[1] - ends(means(b, d))[0],
    ),
    "You subtracted the lower ends, and the upper ends, of two intervals; subtract within each "
    "draw, then take the percentiles.": lambda a, b, d: (
        ends(means(a, d))[0] - ends(means(b, d))[0],
        ends(means(a, d))[1] - ends(means(b, d))[1],
    ),
    "The sign is wrong: how much better is the first method?": lambda a, b, d: ends(
        means(b, d) - means(a, d)
    ),
    "These are percentiles over the texts, which say how far single texts differ. How far does the "
    "mean differ from draw to draw?": lambda a, b, d: ends(np.asarray(a) - np.asarray(b)),
    "The mean ran over the draws and left one value a place; take the mean of each draw (axis 1), "
    "then the percentiles over the draws.": lambda a, b, d: ends(
        (np.asarray(a)[d] - np.asarray(b)[d]).mean(0)
    ),
    "No mean was taken: these are percentiles over the texts of all draws.": lambda a, b, d: ends(
        np.asarray(a)[d] - np.asarray(b)[d]
    ),
    "Between the 5th and the 95th percentile lie 90% of the draws; for 95% take 2.5 and 97.5.": (
        of_differences(5, 95)
    ),
    "These are the smallest and the largest of all draws, which move apart the more draws you "
    "make.": of_differences(0, 100),
    "These are the quartiles; for 95% take 2.5 and 97.5.": of_differences(25, 75),
    "That is an interval for the first method alone.": lambda a, b, d: ends(means(a, d)),
    "You left out the texts on which both agree: then the difference is not one of accuracies.": (
        lambda a, b, d: ends(
            [
                (np.asarray(a)[i] - np.asarray(b)[i])[np.asarray(a)[i] != np.asarray(b)[i]].mean()
                for i in d
                if (np.asarray(a)[i] != np.asarray(b)[i]).any()
            ]
        )
    ),
    "You took two standard deviations on each side; that is near, but the percentiles are asked "
    "for.": normal_interval(2),
    "You took 1.96 standard deviations on each side; that is near, but the percentiles are asked "
    "for.": normal_interval(1.96),
    "`np.percentile` counts from 0 to 100: 0.025 is a fortieth of one percent. Take 2.5 and 97.5, "
    "or `np.quantile`.": of_differences(0.025, 0.975),
    "That is how many texts more are right; divide by their number, for accuracies.": (
        lambda a, b, d: ends((means(a, d) - means(b, d)) * len(a))
    ),
    "In percent it would be a hundred times as much; here accuracies lie between 0 and 1.": (
        lambda a, b, d: ends((means(a, d) - means(b, d)) * 100)
    ),
    "The low end comes first.": lambda a, b, d: of_differences()(a, b, d)[::-1],
    "The sign was dropped; a difference below 0 says that the first method is worse.": (
        lambda a, b, d: ends(abs(means(a, d) - means(b, d)))
    ),
    "That is how often they differ, whoever is right.": lambda a, b, d: ends(
        (np.asarray(a)[d] != np.asarray(b)[d]).mean(1)
    ),
}


@exercise("11.6", "Is it really better?")
def is_it_better(probe: Probe) -> None:
    rng = np.random.default_rng(0)
    a = [1, 1, 0, 1, 1, 0, 1, 1, 1, 0]
    b = [1, 0, 0, 1, 0, 1, 1, 0, 1, 0]
    draws = rng.integers(0, 10, (50, 10))
    expected = of_differences()
    got = probe.call(a, b, draws)
    probe.require(
        got is None or (np.ndim(got) == 1 and len(got) == 2),
        "Return both ends of the interval, low and high.",
        f"{probe.describe(a, b, draws)}\nreturned  {show(got)}",
    )
    probe.compare((a, b, draws), expected(a, b, draws), DRAW_MISTAKES)
    probe.holds("the percentiles of the difference, each draw the same for both methods")
    low = probe.call(a, a, draws)
    probe.expect(low, (0.0, 0.0), {}, probe.describe(a, a, draws))
    probe.holds("a method is exactly as good as itself")
    hits = (rng.random((2, 60)) < [[0.9], [0.6]]).astype(int).tolist()
    draws = rng.integers(0, 60, (200, 60))
    probe.compare((*hits, draws), expected(*hits, draws), DRAW_MISTAKES)
    probe.holds("60 texts, 200 draws")


# --- 11.7 ----------------------------------------------------------------------------------------


def weigh_with(vocabulary=None, documents=None, idf=None, tf=None):
    """Counts times ln(N / df), with the usual mistakes as options."""

    def run(train, test):
        words = sorted(
            {word for text in (vocabulary or (lambda a, b: a))(train, test) for word in text}
        )
        counted = (documents or (lambda a, b: a))(train, test)
        df = Counter(word for text in counted for word in set(text))
        weight = idf or (lambda N, d, word: math.log(N / d))
        rows = []
        for text in test:
            counts = Counter(text)
            row = []
            for word in words:
                f = (tf or (lambda c, text: c))(counts[word], text)
                row.append(f * weight(len(counted), df[word], word) if f else 0.0)
            rows.append(row)
        return np.array(rows)

    return run


def both(train, test):
    return [*train, *test]


def test_only(train, test):
    return test


def occurrences(train, test):
    total = Counter(word for text in train for word in text)
    return weigh_with(idf=lambda N, d, word: math.log(N / total[word]))(train, test)


def by_appearance(train, test):
    """The right columns, in the order in which the words are met."""
    words = list(dict.fromkeys(word for text in train for word in text))
    rows = weigh_with()(train, test)
    return rows[:, [sorted(words).index(word) for word in words]]


def scaled(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


IDF_MISTAKES = {
    "The columns are in the order in which the words were met; the alphabetical order is asked "
    "for.": by_appearance,
    "The test texts were counted too: vocabulary and weights know what will be asked. All that is "
    "learned comes from the training texts alone.": weigh_with(both, both),
    "The vocabulary is that of training, but the test texts were counted in N and df, so their "
    "words weigh differently than they would for a text that comes alone.": weigh_with(
        documents=both
    ),
    "The weights are those of training, but words of the test texts got columns: no head that was "
    "trained has a weight for them.": weigh_with(
        vocabulary=both, idf=lambda N, d, word: math.log(N / d) if d else 0.0
    ),
    "You fitted it anew on the test texts: its columns are others than in training, and a head "
    "that was trained reads one word's column as another's.": weigh_with(test_only, test_only),
    "The weights were counted on the test texts; those of training belong here.": weigh_with(
        documents=test_only, idf=lambda N, d, word: math.log(N / d) if d else 0.0
    ),
    "The fraction is upside down: a word that is everywhere says little and should weigh little.": (
        weigh_with(idf=lambda N, d, word: math.log(d / N))
    ),
    "The logarithm is missing.": weigh_with(idf=lambda N, d, word: N / d),
    "The weights are missing: these are counts.": weigh_with(idf=lambda N, d, word: 1.0),
    "df is the number of texts with the word; you counted its occurrences.": occurrences,
    "You divided the counts by the length of the text; here the count itself is asked for.": (
        weigh_with(tf=lambda c, text: c / len(text))
    ),
    "Each word counted once; a word that stands twice in a text counts twice.": weigh_with(
        tf=lambda c, text: min(c, 1)
    ),
    "You returned the rows of the training texts.": lambda train, test: weigh_with()(train, train),
    "You took logarithms to the base 2; ln is asked for.": weigh_with(
        idf=lambda N, d, word: math.log2(N / d)
    ),
    "You took logarithms to the base 10; ln is asked for.": weigh_with(
        idf=lambda N, d, word: math.log10(N / d)
    ),
    "You added 1 to both numbers, as scikit-learn does against 0; here every word of the "
    "vocabulary stands in a training text, and ln(N / df) is asked for.": weigh_with(
        idf=lambda N, d, word: math.log((1 + N) / (1 + d))
    ),
    "That is scikit-learn's formula, ln((1 + N) / (1 + df)) + 1; ln(N / df) is asked for.": (
        weigh_with(idf=lambda N, d, word: math.log((1 + N) / (1 + d)) + 1)
    ),
    "You added 1 to df; every word of the vocabulary stands in a training text, so that it is not "
    "0.": weigh_with(idf=lambda N, d, word: math.log(N / (1 + d))),
    "The rows were divided by their lengths; leave them as they are.": lambda train, test: scaled(
        weigh_with()(train, test)
    ),
    "You took the logarithm of the counts, too.": weigh_with(
        tf=lambda c, text: 1 + math.log(c) if c else 0
    ),
    "N is the number of texts; you took that of all words.": lambda train, test: weigh_with(
        idf=lambda N, d, word: math.log(sum(map(len, train)) / d)
    )(train, test),
    "N is the number of training texts; you took that of the test texts.": lambda train, test: (
        weigh_with(idf=lambda N, d, word: math.log(len(test) / d))(train, test)
    ),
    "The counts are missing: these are the weights of all words, whether the text has them or "
    "not.": weigh_with(tf=lambda c, text: 1),
}


@exercise("11.7", "TF-IDF without a look at the test")
def tf_idf(probe: Probe) -> None:
    crash = (
        "A word of a test text that no training text has is nothing to stumble over: it has no "
        "column, and is left out."
    )
    train = [["win", "a", "car"], ["a", "cat"], ["win", "win", "a", "cat"]]
    for test in (
        [["win", "car", "zebra"], ["win"]],
        [["win", "win", "a"], ["cat", "zebra", "cat"]],
        [["car", "win", "win", "win"]],
    ):
        probe.compare((train, test), weigh_with()(train, test), IDF_MISTAKES, on_crash=crash)
    probe.holds("vocabulary and weights from the training texts alone")
    alone = weigh_with()(train, [["car", "car"]])
    together = probe.call(train, [["car", "car"], ["car"], ["car", "win"]], on_crash=crash)
    first = np.asarray(together)[:1]
    message = "The row of a text changes with the other test texts."
    probe.require(first.shape == alone.shape and np.allclose(first, alone), message)
    probe.holds("a text's row does not depend on the texts beside it")


# --- 11.8 ----------------------------------------------------------------------------------------


class Small(nn.Module):
    """Blocks and a head, as in a classifier, but of two numbers each."""

    def __init__(self, n_layer: int):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(n_layer))
        self.head = nn.Linear(2, 2)

    def forward(self, x):
        for block in self.blocks:
            x = torch.tanh(block(x))
        return self.head(x)


def parts_of(model) -> dict[str, nn.Module]:
    """The blocks and the head by their names."""
    return {f"block {i}": block for i, block in enumerate(model.blocks)} | {"head": model.head}


def trained_parts(model) -> list[str]:
    """The parts all of whose weights ask for gradients."""
    parts = parts_of(model).items()
    return [name for name, part in parts if all(w.requires_grad for w in part.parameters())]


def check_freezing(probe: Probe, n_layer: int, n: int) -> None:
    torch.manual_seed(0)
    before = Small(n_layer)
    got = probe.call(before, n)
    example = f"{n_layer} blocks, n = {n}"
    probe.require(
        isinstance(got, (tuple, list)) and len(got) == 2 and hasattr(got[1], "param_groups"),
        "Return two things: the model, and the optimizer.",
        example,
    )
    model, optimizer = got
    probe.require(
        len(getattr(model, "blocks", ())) == n_layer,
        "Blocks are missing: a frozen block is still run, so it has to stay in the model.",
        example,
    )
    torn = [
        name
        for name, part in parts_of(model).items()
        if len({w.requires_grad for w in part.parameters()}) > 1
    ]
    probe.require(
        not torn,
        "Of one part some weights are frozen and others not; a block has a weight and a bias, and "
        "both are frozen or trained.",
        f"{example}\ntorn      {', '.join(torn)}",
    )
    expected = [f"block {i}" for i in range(n_layer - n, n_layer)] + ["head"]
    trained = trained_parts(model)
    shown = (
        f"{example}\ntrained   {', '.join(trained) or 'nothing'}\nexpected  {', '.join(expected)}"
    )
    everything = [f"block {i}" for i in range(n_layer)] + ["head"]
    attribute = any("requires_grad" in vars(part) for part in model.modules())
    probe.require(
        not attribute,
        "`part.requires_grad = False` on a module makes a new attribute that nobody reads. The "
        "weights have to know: `part.requires_grad_(False)`.",
        shown,
    )
    for parts, diagnosis in (
        (
            [f"block {i}" for i in range(n)] + ["head"],
            "You train the first blocks; the last ones, near the head, are asked for.",
        ),
        (expected[:-1], "The head is frozen too: nothing could ever be decided."),
        (expected[1:], "One block too few is trained."),
        ([f"block {n_layer - n - 1}", *expected], "One block too many is trained."),
    ):
        probe.require(trained != parts or trained == expected, diagnosis, shown)
    if trained == everything != expected:
        text = "`blocks[-0:]` is all of them: count from the front, `blocks[len(blocks) - n:]`."
        text = text if n == 0 else "Nothing is frozen."
        probe.require(False, text, shown)
    probe.require(trained == expected, "Other parts are trained than the exercise asks for.", shown)
    held = {id(w) for group in optimizer.param_groups for w in group["params"]}
    wanted = {id(w) for w in model.parameters() if w.requires_grad}
    frozen = {id(w) for w in model.parameters()} - wanted
    probe.require(
        not held & frozen,
        "The optimizer holds frozen weights: it was built before the freezing, or from all "
        "parameters. It keeps memory for them, and moves them by an old gradient if there is one. "
        "Freeze first, then hand over what is left.",
        example,
    )
    probe.require(
        wanted <= held,
        "Some weights ask for gradients, but the optimizer does not have them: they are never "
        "moved, and no error says so. Build the optimizer after the last (un)freezing.",
        example,
    )
    names = {
        name
        for name, w in before.named_parameters()
        if not torch.equal(w, dict(model.named_parameters())[name])
    }
    probe.require(not names, "The weights themselves were changed.", example)
    nn.functional.cross_entropy(model(torch.tensor([[1.0, 2.0]])), torch.tensor([1])).backward()
    optimizer.step()
    same = all(
        torch.equal(a, b)
        for (name, a), b in zip(before.named_parameters(), model.parameters(), strict=True)
        if id(b) in frozen
    )
    probe.require(same, "A step of the optimizer has moved frozen weights.", example)
    moved = not torch.equal(before.head.weight, model.head.weight)
    probe.require(moved, "A step of the optimizer has not moved the head.", example)


@exercise("11.8", "Freeze, then build the optimizer")
def freeze_then_build(probe: Probe) -> None:
    check_freezing(probe, 4, 1)
    check_freezing(probe, 5, 3)
    probe.holds("the last n blocks and the head are trained, the others are not")
    probe.holds("the optimizer has exactly the weights that are trained")
    check_freezing(probe, 3, 0)
    check_freezing(probe, 3, 3)
    probe.holds("n = 0, and all blocks")
