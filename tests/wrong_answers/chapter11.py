"""Plausible wrong answers to the exercises of chapter 11."""

import math
from collections import Counter

import numpy as np
import torch

from wrong_answers import wrong

# --- 11.1 Choose, then report --------------------------------------------------------------------


@wrong("11.1", "You chose by the test scores")
def chosen_on_the_test(scores):
    name = max(scores, key=lambda name: scores[name][1])
    return name, scores[name][1]


@wrong("11.1", "you report its validation score")
def validation_score_reported(scores):
    name = max(scores, key=lambda name: scores[name][0])
    return name, scores[name][0]


@wrong("11.1", "the best test score of all")
def best_test_score(scores):
    name = max(scores, key=lambda name: scores[name][0])
    return name, max(test for _, test in scores.values())


@wrong("11.1", "by the sum of both")
def sum_of_both(scores):
    name = max(scores, key=lambda name: sum(scores[name]))
    return name, scores[name][1]


@wrong("11.1", "the name, and the score")
def name_alone(scores):
    return max(scores, key=lambda name: scores[name][0])


@wrong("11.1", "Your function returned None")
def printed_only(scores):
    max(scores.values())


@wrong("11.1", "the other way round")
def chosen_by_test_and_reported_by_validation(scores):
    name = max(scores, key=lambda name: scores[name][1])
    return name, scores[name][0]


@wrong("11.1", "the mean of both scores")
def mean_of_both_reported(scores):
    name = max(scores, key=lambda name: scores[name][0])
    return name, sum(scores[name]) / 2


@wrong("11.1", "the largest name of the alphabet")
def largest_name(scores):
    return max(scores), scores[max(scores)][1]


@wrong("11.1", "the name first")
def score_before_the_name(scores):
    name = max(scores, key=lambda name: scores[name][0])
    return scores[name][1], name


@wrong("11.1", "you returned the pair")
def pair_in_place_of_the_score(scores):
    name = max(scores, key=lambda name: scores[name][0])
    return name, scores[name]


@wrong("11.1", "the name, and the score")
def score_alone(scores):
    return scores[max(scores, key=lambda name: scores[name][0])][1]


@wrong("11.1", "You took the last setting")
def last_setting(scores):
    name = list(scores)[-1]
    return name, scores[name][1]


# --- 11.2 The last real id -----------------------------------------------------------------------


@wrong("11.2", "You took the last column")
def last_column(hidden, mask):
    return hidden[:, -1]


@wrong("11.2", "n ids stand at 0 to n - 1")
def one_too_far(hidden, mask):
    return hidden[torch.arange(len(hidden)), mask.sum(1)]


@wrong("11.2", "only if the padding stands on the right")
def by_the_count(hidden, mask):
    return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]


@wrong("11.2", "You took the first real id")
def first_true(hidden, mask):
    return hidden[torch.arange(len(hidden)), mask.long().argmax(1)]


@wrong("11.2", "You took the first")
def first_column(hidden, mask):
    return hidden[:, 0]


@wrong("11.2", "One place was used for all texts")
def place_of_the_shortest(hidden, mask):
    return hidden[:, mask.sum(1).min() - 1]


@wrong("11.2", "The padding was set to 0")
def padding_zeroed(hidden, mask):
    return (hidden * mask[..., None])[:, -1]


@wrong("11.2", "the mean of the real ids")
def mean_instead(hidden, mask):
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


@wrong("11.2", "one state a text")
def dimension_kept(hidden, mask):
    places = torch.arange(mask.shape[1])
    last = (places * mask).argmax(1)
    return hidden[torch.arange(len(hidden)), last][:, None]


@wrong("11.2", "All real ids of the batch were joined")
def last_of_all(hidden, mask):
    return hidden[mask][-1]


@wrong("11.2", "the largest numbers of the real ids")
def largest_numbers(hidden, mask):
    return hidden.masked_fill(~mask[..., None], -math.inf).amax(1)


@wrong("11.2", "every place for every text")
def slice_in_place_of_two_tensors(hidden, mask):
    return hidden[:, (torch.arange(mask.shape[1]) * mask).argmax(1)]


@wrong("11.2", "the states of all real ids")
def all_real_states(hidden, mask):
    return hidden[mask]


@wrong("11.2", "the place before the last real id")
def one_too_early(hidden, mask):
    places = torch.arange(mask.shape[1])
    return hidden[torch.arange(len(hidden)), (places * mask).argmax(1) - 1]


@wrong("11.2", "the last of the longest")
def place_of_the_longest(hidden, mask):
    return hidden[:, mask.sum(1).max() - 1]


@wrong("11.2", "each text has its own mask")
def side_of_the_first_text(hidden, mask):
    if not mask[:, 0].all():  # the padding stands on the left, it seems
        return hidden[:, -1]
    return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]


# --- 11.3 The mean of the real ids ---------------------------------------------------------------


@wrong("11.3", "The padding went into the mean")
def mean_over_padding(hidden, mask):
    return hidden.mean(1)


@wrong("11.3", "not out of the count")
def masked_sum_over_all_places(hidden, mask):
    return (hidden * mask[..., None]).mean(1)


@wrong("11.3", "You returned the sum")
def masked_sum(hidden, mask):
    return (hidden * mask[..., None]).sum(1)


@wrong("11.3", "the number of real ids of the batch")
def divided_by_the_batch(hidden, mask):
    return (hidden * mask[..., None]).sum(1) / mask.sum()


@wrong("11.3", "The texts of the batch were mixed")
def one_mean_for_all(hidden, mask):
    return hidden[mask].mean(0)


@wrong("11.3", "the sum has the padding in it")
def padding_in_the_sum(hidden, mask):
    return hidden.sum(1) / mask.sum(1, keepdim=True)


@wrong("11.3", "over the texts of the batch")
def mean_over_the_batch(hidden, mask):
    return hidden.mean(0)


@wrong("11.3", "the largest number")
def largest_instead(hidden, mask):
    return hidden.masked_fill(~mask[..., None], -math.inf).amax(1)


@wrong("11.3", "by one too many")
def one_too_many(hidden, mask):
    return (hidden * mask[..., None]).sum(1) / (mask.sum(1, keepdim=True) + 1)


@wrong("11.3", "that was the exercise before")
def last_in_place_of_the_mean(hidden, mask):
    return torch.stack([row[real][-1] for row, real in zip(hidden, mask, strict=True)])


@wrong("11.3", "You counted the numbers that are not 0")
def zeros_not_counted(hidden, mask):
    kept = hidden * mask[..., None]
    return kept.sum(1) / (kept != 0).sum(1)


@wrong("11.3", "the middle of the first and the last")
def middle_of_the_ends(hidden, mask):
    ends = [(row[real][0] + row[real][-1]) / 2 for row, real in zip(hidden, mask, strict=True)]
    return torch.stack(ends)


@wrong("11.3", "only if the padding stands on the right")
def mean_of_the_first_n(hidden, mask):
    return torch.stack([row[: real.sum()].mean(0) for row, real in zip(hidden, mask, strict=True)])


@wrong("11.3", "The numbers of a state were averaged too")
def one_number_a_text(hidden, mask):
    return torch.stack([row[real].mean() for row, real in zip(hidden, mask, strict=True)])


@wrong("11.3", "the square root")
def divided_by_the_root(hidden, mask):
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).sqrt()


# --- 11.4 Macro-F1 -------------------------------------------------------------------------------


def parts(labels, predicted, k):
    both = sum(a == b == k for a, b in zip(labels, predicted, strict=True))
    return both, list(labels).count(k), list(predicted).count(k)


def f1(labels, predicted, k):
    both, true, given = parts(labels, predicted, k)
    return 2 * both / (true + given) if true + given else None


@wrong("11.4", "That is the accuracy")
def accuracy_instead(labels, predicted, n_classes):
    return sum(a == b for a, b in zip(labels, predicted, strict=True)) / len(labels)


@wrong("11.4", "You weighted each class")
def weighted_mean(labels, predicted, n_classes):
    scores = [f1(labels, predicted, k) or 0 for k in range(n_classes)]
    return sum(scores[label] for label in labels) / len(labels)


@wrong("11.4", "the mean precision")
def precision_instead(labels, predicted, n_classes):
    found = [parts(labels, predicted, k) for k in range(n_classes)]
    return sum(both / given if given else 0 for both, _, given in found) / n_classes


@wrong("11.4", "the mean recall")
def recall_instead(labels, predicted, n_classes):
    found = [parts(labels, predicted, k) for k in range(n_classes)]
    return sum(both / true if true else 0 for both, true, _ in found) / n_classes


@wrong("11.4", "F1 of the mean precision and the mean recall")
def f1_of_the_means(labels, predicted, n_classes):
    p, r = (f(labels, predicted, n_classes) for f in (precision_instead, recall_instead))
    return 2 * p * r / (p + r)


@wrong("11.4", "not (p + r) / 2")
def arithmetic_mean(labels, predicted, n_classes):
    p, r = (f(labels, predicted, n_classes) for f in (precision_instead, recall_instead))
    return (p + r) / 2


@wrong("11.4", "makes the precision 0/0")
def zero_over_zero(labels, predicted, n_classes):
    scores = []
    for k in range(n_classes):
        both, true, given = parts(labels, predicted, k)
        p, r = both / given, both / true
        scores.append(2 * p * r / (p + r))
    return sum(scores) / n_classes


@wrong("11.4", "predicted but does not occur was left out")
def classes_of_the_labels(labels, predicted, n_classes):
    kinds = set(labels)
    return sum(f1(labels, predicted, k) for k in kinds) / len(kinds)


@wrong("11.4", "occurs but is never predicted was left out")
def classes_of_the_predictions(labels, predicted, n_classes):
    kinds = set(predicted)
    return sum(f1(labels, predicted, k) for k in kinds) / len(kinds)


@wrong("11.4", "got an F1 of 0 and pulled the mean down")
def absent_classes_are_zero(labels, predicted, n_classes):
    return sum(f1(labels, predicted, k) or 0 for k in range(n_classes)) / n_classes


@wrong("11.4", "got an F1 of 1")
def absent_classes_are_one(labels, predicted, n_classes):
    scores = [f1(labels, predicted, k) for k in range(n_classes)]
    return sum(1 if score is None else score for score in scores) / n_classes


@wrong("11.4", "The 2 is missing")
def without_the_two(labels, predicted, n_classes):
    scores = [f1(labels, predicted, k) for k in range(n_classes)]
    scores = [score / 2 for score in scores if score is not None]
    return sum(scores) / len(scores)


@wrong("11.4", "class 1 alone")
def positive_class(labels, predicted, n_classes):
    return f1(labels, predicted, 1)


# --- 11.5 Calibration ----------------------------------------------------------------------------


def bins_of(confidence, n_bins):
    return (confidence * n_bins).astype(int).clip(max=n_bins - 1)


def gaps(labels, p, n_bins, confidence=None, bins=None):
    """(number of texts, confidence minus accuracy) of each bin, to spoil in one place."""
    labels = np.asarray(labels)
    confidence = p.max(1) if confidence is None else confidence
    bins = bins_of(confidence, n_bins) if bins is None else bins
    hit = p.argmax(1) == labels
    found = [bins == b for b in range(n_bins)]
    return [(b.sum(), confidence[b].mean() - hit[b].mean()) for b in found if b.any()]


def weighted(pairs):
    return float(sum(n * abs(gap) for n, gap in pairs) / sum(n for n, _ in pairs))


@wrong("11.5", "Every bin counted alike")
def bins_alike(labels, p, n_bins):
    return float(np.mean([abs(gap) for _, gap in gaps(labels, p, n_bins)]))


@wrong("11.5", "the number of bins, empty ones too")
def empty_bins_counted(labels, p, n_bins):
    return float(sum(abs(gap) for _, gap in gaps(labels, p, n_bins)) / n_bins)


@wrong("11.5", "the largest gap")
def largest_gap(labels, p, n_bins):
    return float(max(abs(gap) for _, gap in gaps(labels, p, n_bins)))


@wrong("11.5", "kept their signs")
def signed(labels, p, n_bins):
    return float(sum(n * gap for n, gap in gaps(labels, p, n_bins)) / len(labels))


@wrong("11.5", "that of the true class")
def of_the_true_class(labels, p, n_bins):
    confidence = p[np.arange(len(p)), labels]
    return weighted(gaps(labels, p, n_bins, confidence))


@wrong("11.5", "the probability of class 1")
def of_class_one(labels, p, n_bins):
    return weighted(gaps(labels, p, n_bins, p[:, 1]))


@wrong("11.5", "all texts went into one bin")
def one_bin(labels, p, n_bins):
    return weighted(gaps(labels, p, n_bins, bins=np.zeros(len(p), int)))


@wrong("11.5", "Every text made a bin of its own")
def a_bin_a_text(labels, p, n_bins):
    return float(np.abs(p.max(1) - (p.argmax(1) == np.asarray(labels))).mean())


@wrong("11.5", "fallen out of the last bin")
def certainty_lost(labels, p, n_bins):
    confidence, hit = p.max(1), p.argmax(1) == np.asarray(labels)
    error = 0.0
    for b in range(n_bins):
        inside = (confidence >= b / n_bins) & (confidence < (b + 1) / n_bins)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - hit[inside].mean())
    return float(error)


@wrong("11.5", "You squared the gaps")
def squared(labels, p, n_bins):
    return float(sum(n * gap**2 for n, gap in gaps(labels, p, n_bins)) / len(labels))


@wrong("11.5", "You rounded to the nearest border")
def rounded(labels, p, n_bins):
    bins = np.round(p.max(1) * n_bins).astype(int)
    return weighted(gaps(labels, p, n_bins + 1, bins=bins))


@wrong("11.5", "but one more")
def one_bin_more(labels, p, n_bins):
    return weighted(gaps(labels, p, n_bins + 1))


@wrong("11.5", "begin at 1/K")
def bins_from_chance(labels, p, n_bins):
    least = 1 / p.shape[1]
    return weighted(gaps(labels, p, n_bins, bins=bins_of((p.max(1) - least) / (1 - least), n_bins)))


@wrong("11.5", "always 10")
def always_ten_bins(labels, p, n_bins):
    return weighted(gaps(labels, p, 10))


@wrong("11.5", "The middle of the bin")
def middle_of_the_bin(labels, p, n_bins):
    bins = bins_of(p.max(1), n_bins)
    return weighted(gaps(labels, p, n_bins, (bins + 0.5) / n_bins, bins))


@wrong("11.5", "above one half")
def right_if_above_one_half(labels, p, n_bins):
    confidence, hit = p.max(1), p[np.arange(len(p)), labels] > 0.5
    bins = bins_of(confidence, n_bins)
    error = [abs((confidence - hit)[bins == b].sum()) for b in range(n_bins)]
    return float(sum(error) / len(p))


@wrong("11.5", "without their weights")
def sum_of_the_gaps(labels, p, n_bins):
    return float(sum(abs(gap) for _, gap in gaps(labels, p, n_bins)))


@wrong("11.5", "a bin of its own; the last bin goes up")
def certainty_alone(labels, p, n_bins):
    bins = (p.max(1) * n_bins).astype(int)
    return weighted(gaps(labels, p, n_bins + 1, bins=bins))


@wrong("11.5", "went into the lower one")
def border_below(labels, p, n_bins):
    return weighted(gaps(labels, p, n_bins, bins=np.ceil(p.max(1) * n_bins).astype(int) - 1))


# --- 11.6 Is it really better? -------------------------------------------------------------------


def ends(values, low=2.5, high=97.5):
    return tuple(np.percentile(values, [low, high]).tolist())


def pair(a, b):
    return np.asarray(a), np.asarray(b)


@wrong("11.6", "Each method got its own draws")
def own_draws(a, b, draws):
    a, b = pair(a, b)
    return ends(a[draws].mean(1) - b[draws[::-1]].mean(1))


@wrong("11.6", "subtracted their ends")
def ends_subtracted(a, b, draws):
    a, b = pair(a, b)
    (low_a, high_a), (low_b, high_b) = ends(a[draws].mean(1)), ends(b[draws].mean(1))
    return low_a - high_b, high_a - low_b


@wrong("11.6", "subtracted the lower ends")
def like_ends_subtracted(a, b, draws):
    a, b = pair(a, b)
    (low_a, high_a), (low_b, high_b) = ends(a[draws].mean(1)), ends(b[draws].mean(1))
    return low_a - low_b, high_a - high_b


@wrong("11.6", "percentiles over the texts")
def over_the_texts(a, b, draws):
    a, b = pair(a, b)
    return ends(a - b)


@wrong("11.6", "take the mean of each draw (axis 1)")
def over_the_draws(a, b, draws):
    a, b = pair(a, b)
    return ends((a[draws] - b[draws]).mean(0))


@wrong("11.6", "No mean was taken")
def without_a_mean(a, b, draws):
    a, b = pair(a, b)
    return ends(a[draws] - b[draws])


@wrong("11.6", "lie 90% of the draws")
def ninety(a, b, draws):
    a, b = pair(a, b)
    return ends((a - b)[draws].mean(1), 5, 95)


@wrong("11.6", "the smallest and the largest")
def extremes(a, b, draws):
    a, b = pair(a, b)
    values = (a - b)[draws].mean(1)
    return values.min(), values.max()


@wrong("11.6", "The sign is wrong")
def other_way_round(a, b, draws):
    a, b = pair(a, b)
    return ends((b - a)[draws].mean(1))


@wrong("11.6", "left out the texts on which both agree")
def disagreements_alone(a, b, draws):
    a, b = pair(a, b)
    values = []
    for draw in draws:
        differ = a[draw] != b[draw]
        if differ.any():
            values.append((a[draw] - b[draw])[differ].mean())
    return ends(values)


def around_the_mean(a, b, draws, width):
    a, b = pair(a, b)
    values = (a - b)[draws].mean(1)
    return values.mean() - width * values.std(), values.mean() + width * values.std()


@wrong("11.6", "two standard deviations")
def normal_interval(a, b, draws):
    return around_the_mean(a, b, draws, 2)


@wrong("11.6", "Return both ends")
def mean_difference(a, b, draws):
    a, b = pair(a, b)
    return float((a - b)[draws].mean())


@wrong("11.6", "counts from 0 to 100")
def shares_in_place_of_percents(a, b, draws):
    a, b = pair(a, b)
    return ends((a - b)[draws].mean(1), 0.025, 0.975)


@wrong("11.6", "how many texts more are right")
def sums_of_draws(a, b, draws):
    a, b = pair(a, b)
    return ends((a - b)[draws].sum(1))


@wrong("11.6", "The low end comes first")
def high_before_low(a, b, draws):
    a, b = pair(a, b)
    return ends((a - b)[draws].mean(1))[::-1]


@wrong("11.6", "The sign was dropped")
def without_the_sign(a, b, draws):
    a, b = pair(a, b)
    return ends(abs((a - b)[draws].mean(1)))


@wrong("11.6", "1.96 standard deviations")
def normal_formula(a, b, draws):
    return around_the_mean(a, b, draws, 1.96)


@wrong("11.6", "Return both ends")
def low_end_alone(a, b, draws):
    a, b = pair(a, b)
    return np.percentile((a - b)[draws].mean(1), 2.5)


# --- 11.7 TF-IDF without a look at the test ------------------------------------------------------


def table(train, test, columns, counted, weight=lambda N, d: math.log(N / d) if d else 0.0):
    words = sorted({word for text in columns for word in text})
    df = Counter(word for text in counted for word in set(text))
    return np.array([[t.count(w) * weight(len(counted), df[w]) for w in words] for t in test])


@wrong("11.7", "The test texts were counted too")
def fitted_on_both(train, test):
    return table(train, test, train + test, train + test)


@wrong("11.7", "counted in N and df")
def weights_of_both(train, test):
    return table(train, test, train, train + test)


@wrong("11.7", "words of the test texts got columns")
def columns_of_both(train, test):
    return table(train, test, train + test, train)


@wrong("11.7", "You fitted it anew")
def fitted_on_the_test(train, test):
    return table(train, test, test, test)


@wrong("11.7", "The fraction is upside down")
def upside_down(train, test):
    return table(train, test, train, train, lambda N, d: math.log(d / N))


@wrong("11.7", "The logarithm is missing")
def without_the_logarithm(train, test):
    return table(train, test, train, train, lambda N, d: N / d)


@wrong("11.7", "these are counts")
def counts_alone(train, test):
    return table(train, test, train, train, lambda N, d: 1.0)


@wrong("11.7", "you counted its occurrences")
def occurrences_counted(train, test):
    words = sorted({word for text in train for word in text})
    total = Counter(word for text in train for word in text)
    return np.array([[t.count(w) * math.log(len(train) / total[w]) for w in words] for t in test])


@wrong("11.7", "Each word counted once")
def words_once(train, test):
    return table(train, [list(set(text)) for text in test], train, train)


@wrong("11.7", "the order in which the words were met")
def columns_as_met(train, test):
    words = list(dict.fromkeys(word for text in train for word in text))
    df = Counter(word for text in train for word in set(text))
    return np.array([[t.count(w) * math.log(len(train) / df[w]) for w in words] for t in test])


@wrong("11.7", "nothing to stumble over")
def stumbles_over_new_words(train, test):
    words = sorted({word for text in train for word in text})
    place = {word: i for i, word in enumerate(words)}
    df = Counter(word for text in train for word in set(text))
    rows = np.zeros((len(test), len(words)))
    for row, text in zip(rows, test, strict=True):
        for word in text:
            row[place[word]] += math.log(len(train) / df[word])
    return rows


@wrong("11.7", "You added 1 to both numbers")
def smoothed(train, test):
    return table(train, test, train, train, lambda N, d: math.log((1 + N) / (1 + d)))


@wrong("11.7", "scikit-learn's formula")
def smoothed_and_raised(train, test):
    return table(train, test, train, train, lambda N, d: math.log((1 + N) / (1 + d)) + 1)


@wrong("11.7", "You added 1 to df")
def one_more_text(train, test):
    return table(train, test, train, train, lambda N, d: math.log(N / (1 + d)))


@wrong("11.7", "to the base 10")
def base_ten(train, test):
    return table(train, test, train, train, lambda N, d: math.log10(N / d))


@wrong("11.7", "divided by their lengths")
def rows_of_length_one(train, test):
    rows = table(train, test, train, train)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@wrong("11.7", "the number of texts; you took that of all words")
def words_in_place_of_texts(train, test):
    n_words = sum(map(len, train))
    return table(train, test, train, train, lambda N, d: math.log(n_words / d))


@wrong("11.7", "whether the text has them or not")
def weights_alone(train, test):
    words = sorted({word for text in train for word in text})
    df = Counter(word for text in train for word in set(text))
    return np.array([[math.log(len(train) / df[word]) for word in words] for _ in test])


# --- 11.8 Freeze, then build the optimizer -------------------------------------------------------


def optimizer_of(parameters):
    return torch.optim.AdamW(list(parameters), lr=0.1)


def freeze(model, n):
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    model.blocks[len(model.blocks) - n :].requires_grad_(True)


@wrong("11.8", "The optimizer holds frozen weights")
def optimizer_before_freezing(model, n):
    optimizer = optimizer_of(model.parameters())
    freeze(model, n)
    return model, optimizer


@wrong("11.8", "the optimizer does not have them")
def optimizer_of_the_head(model, n):
    freeze(model, n)
    return model, optimizer_of(model.head.parameters())


@wrong("11.8", "the optimizer does not have them")
def thawed_after_the_optimizer(model, n):
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    optimizer = optimizer_of(w for w in model.parameters() if w.requires_grad)
    model.blocks[len(model.blocks) - n :].requires_grad_(True)
    return model, optimizer


@wrong("11.8", "is all of them")
def minus_zero(model, n):
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    model.blocks[-n:].requires_grad_(True)
    return model, optimizer_of(w for w in model.parameters() if w.requires_grad)


@wrong("11.8", "Nothing is frozen")
def nothing_frozen(model, n):
    return model, optimizer_of(model.parameters())


@wrong("11.8", "makes a new attribute that nobody reads")
def attribute_of_the_module(model, n):
    for block in model.blocks[: len(model.blocks) - n]:
        block.requires_grad = False
    return model, optimizer_of(w for w in model.parameters() if w.requires_grad)


@wrong("11.8", "You train the first blocks")
def first_blocks(model, n):
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    model.blocks[:n].requires_grad_(True)
    return model, optimizer_of(w for w in model.parameters() if w.requires_grad)


@wrong("11.8", "The head is frozen too")
def head_frozen(model, n):
    model.requires_grad_(False)
    model.blocks[len(model.blocks) - n :].requires_grad_(True)
    return model, optimizer_of(w for w in model.parameters() if w.requires_grad)


@wrong("11.8", "One block too many")
def one_block_too_many(model, n):
    freeze(model, n + 1)
    return model, optimizer_of(w for w in model.parameters() if w.requires_grad)


@wrong("11.8", "the model, and the optimizer")
def model_alone(model, n):
    freeze(model, n)
    return model


@wrong("11.8", "Of one part some weights are frozen")
def biases_forgotten(model, n):
    for block in model.blocks[: len(model.blocks) - n]:
        block.weight.requires_grad_(False)
    return model, optimizer_of(w for w in model.parameters() if w.requires_grad)


@wrong("11.8", "Blocks are missing")
def frozen_blocks_removed(model, n):
    model.blocks = model.blocks[len(model.blocks) - n :]
    return model, optimizer_of(model.parameters())


@wrong("11.8", "the optimizer does not have them")
def copies_of_the_weights(model, n):
    freeze(model, n)
    kept = [w for w in model.parameters() if w.requires_grad]
    return model, optimizer_of(w.detach().clone().requires_grad_() for w in kept)
