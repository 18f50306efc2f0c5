"""Right answers in an unusual style are accepted: a check judges what is done, not how."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lib.course.checks import check

RIGHT = {}


def right(number):
    def register(answer):
        RIGHT[f"{number}-{answer.__name__}"] = number, answer
        return answer

    return register


@right("6.1")
def a_set(model):
    return {n for n, w in model.named_parameters() if w.requires_grad and w.dim() > 1}


@right("6.2")
def with_corrections_as_pytorch_has_them(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = mean.lerp(g, 1 - beta1), square + (1 - beta2) * (g * g - square)
    root = square.sqrt() / math.sqrt(1 - beta2**step) + eps
    return [w - lr * decay * w - lr / (1 - beta1**step) * mean / root, mean, square]


@right("6.3")
def in_float32(step, n_steps, peak, warmup, decay):
    rise = min(1, (step + 1) / (warmup + 1))
    progress = max(0, step - n_steps + decay) / max(decay, 1)
    return torch.tensor(peak * rise * (1 - math.sqrt(progress)))


@right("6.4")
def gradients_divided_at_the_end(model, parts, optimizer):
    optimizer.zero_grad()
    n, total = sum(ids[:, 1:].numel() for ids in parts), 0.0
    for ids in parts:
        logits = model(ids)[:, :-1].transpose(1, 2)  # (B, V, T)
        loss = F.cross_entropy(logits, ids[:, 1:], reduction="sum")
        loss.backward()
        total += loss.detach()
    for weights in model.parameters():
        weights.grad /= n
    optimizer.step()
    return total / n


@right("6.5")
def on_a_copy_of_the_model(model, batches, n_characters):
    twin, nats = copy.deepcopy(model).eval(), 0.0
    with torch.inference_mode():
        for x, y in batches:
            nats += F.cross_entropy(twin(x).transpose(1, 2), y, reduction="sum")
    return nats / math.log(2) / n_characters


@right("6.6")
def with_an_error_that_says_more(disk, name, data):
    try:
        disk.write(name + "~", data)
    except OSError as error:
        disk.delete(name + "~")
        raise OSError(f"no room for {name}") from error
    disk.flush(name + "~")
    disk.rename(name + "~", name)


@right("6.7")
def all_attributes_copied(fresh, old):
    vars(fresh).update(copy.deepcopy(vars(old)))
    return fresh


@right("11.1")
def a_loop_and_a_list(scores):
    best = None
    for name, (validation, _) in scores.items():
        if best is None or validation > scores[best][0]:
            best = name
    return [best, np.float64(scores[best][1])]


@right("11.1")
def sorted_by_both(scores):
    name, (_, test) = max(scores.items(), key=lambda item: item[1])
    return name, torch.tensor(test)


@right("11.2")
def first_of_the_mask_turned_round(hidden, mask):
    last = mask.shape[1] - 1 - mask.flip(1).int().argmax(1)
    return hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[2]))[:, 0]


@right("11.2")
def the_place_before_the_padding(hidden, mask):
    return hidden[torch.arange(len(hidden)), (~mask).long().argmax(1) - 1]  # -1 is the last one


@right("11.2")
def lists_in_double_precision(hidden, mask):
    return [row[real][-1].double().tolist() for row, real in zip(hidden, mask, strict=True)]


@right("11.3")
def mean_that_leaves_nan_out(hidden, mask):
    return hidden.masked_fill(~mask[..., None], math.nan).nanmean(1)


@right("11.3")
def product_of_matrices(hidden, mask):
    weights = mask.float() / mask.sum(1, keepdim=True)
    return (weights[:, None] @ hidden)[:, 0].numpy()


@right("11.3")
def count_that_cannot_be_zero(hidden, mask):
    return (hidden * mask[..., None]).sum(1) / (mask.sum(1, keepdim=True) + 1e-9)


@right("11.4")
def from_a_confusion_matrix(labels, predicted, n_classes):
    counts = torch.zeros(n_classes, n_classes)
    for label, guess in zip(labels, predicted, strict=True):
        counts[label, guess] += 1
    total = counts.sum(0) + counts.sum(1)
    return (2 * counts.diag() / total)[total > 0].mean()


@right("11.4")
def from_precision_and_recall(labels, predicted, n_classes):
    scores = []
    for k in {*labels, *predicted}:
        hits = sum(a == b == k for a, b in zip(labels, predicted, strict=True))
        p, r = hits / max(predicted.count(k), 1), hits / max(labels.count(k), 1)
        scores.append(2 * p * r / (p + r) if hits else 0)
    return np.mean(scores)


@right("11.5")
def sums_of_each_bin(labels, p, n_bins):
    gap = p.max(1) - (p.argmax(1) == np.array(labels))
    bins = np.digitize(p.max(1), np.linspace(0, 1, n_bins + 1)[1:-1])
    return np.abs(np.bincount(bins, gap, n_bins)).sum() / len(gap)


@right("11.5")
def in_pytorch(labels, p, n_bins):
    top = torch.tensor(p).max(1)
    gap = top.values - (top.indices == torch.tensor(labels)).double()
    bins = (top.values * n_bins).long().clamp(max=n_bins - 1)
    return torch.zeros(n_bins, dtype=gap.dtype).index_add(0, bins, gap).abs().sum() / len(gap)


@right("11.6")
def draw_by_draw(a, b, draws):
    values = [sum(a[i] - b[i] for i in draw) / len(draw) for draw in draws]
    return [np.percentile(values, 2.5), np.percentile(values, 97.5)]


@right("11.6")
def an_array_of_two(a, b, draws):
    return np.quantile((np.array(a) - b)[draws].mean(-1), [0.025, 0.975])


@right("11.7")
def lists_of_lists(train, test):
    words = sorted(set().union(*train))
    df = {word: sum(word in text for text in train) for word in words}
    return [[t.count(w) * math.log(len(train) / df[w]) for w in words] for t in test]


@right("11.7")
def filled_word_by_word(train, test):
    words = sorted(set().union(*train))
    rows = torch.zeros(len(test), len(words))
    for row, text in zip(rows, test, strict=True):
        for word in filter(words.__contains__, text):
            row[words.index(word)] += math.log(len(train) / sum(word in t for t in train))
    return rows


@right("11.8")
def weight_by_weight(model, n):
    for i, block in enumerate(model.blocks):
        for weights in block.parameters():
            weights.requires_grad = i >= len(model.blocks) - n
    return [model, torch.optim.SGD([w for w in model.parameters() if w.requires_grad], lr=0.1)]


@right("11.8")
def groups_before_the_freezing(model, n):
    cut = len(model.blocks) - n
    groups = [
        {"params": [*model.head.parameters()]},
        {"params": [*model.blocks[cut:].parameters()]},
    ]
    optimizer = torch.optim.Adam(groups, lr=0.1)
    model.blocks[:cut].requires_grad_(False)
    return model, optimizer


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_of_another_style_is_accepted(name):
    number, answer = RIGHT[name]
    outcome = check(number, answer, record=False)
    assert outcome.status == "correct", str(outcome)
