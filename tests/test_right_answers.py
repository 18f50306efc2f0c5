"""Right answers in an unusual style are accepted: a check judges what is done, not how."""

import copy
import math
from fractions import Fraction

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


@right("12.1")
def tensors_with_a_fill(ids, mask):
    ids, mask = torch.tensor(ids), torch.tensor(mask)
    return ids[:-1], ids[1:].masked_fill(~mask[1:], -100)


@right("12.1")
def arrays_in_one_stack(ids, mask):
    return np.stack([np.array(ids[:-1]), np.where(mask[1:], ids[1:], -100)])


@right("12.1")
def masked_first_then_shifted(ids, mask):
    y = [i if m else -100 for i, m in zip(ids, mask, strict=True)]
    y.pop(0)
    return tuple(ids[:-1]), tuple(y)


def rendered(messages, encode, start_id, end_id):
    ids, mask = [], []
    for m in messages:
        for i in [start_id, *encode(m["role"] + "\n")]:
            ids.append(i)
            mask.append(False)
        for i in [*encode(m["content"]), end_id]:
            ids.append(i)
            mask.append(m["role"] == "assistant")
        ids.extend(encode("\n"))
        mask.extend([False] * (len(ids) - len(mask)))
    return ids, mask


@right("12.2")
def tensors_of_ids_and_mask(*args):
    ids, mask = rendered(*args)
    return torch.tensor(ids), torch.tensor(mask)


@right("12.2")
def a_mask_of_zeros_and_ones(*args):
    ids, mask = rendered(*args)
    return [ids, list(map(int, mask))]


@right("12.2")
def pairs_taken_apart(*args):
    return [*zip(*zip(*rendered(*args), strict=True), strict=True)]


@right("12.3")
def gathered(logits, lengths):
    return logits.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, logits.shape[2]))[:, 0]


@right("12.3")
def rows_in_a_list(logits, lengths):
    return [row[n - 1].tolist() for row, n in zip(logits, lengths, strict=True)]


@right("12.3")
def weighted_by_one_and_zero(logits, lengths):
    return (logits.double() * F.one_hot(lengths - 1, logits.shape[1])[..., None]).sum(1)


@right("12.4")
def counted_in_a_list(ids, begin_id):
    places = []
    for i in ids:
        places.append(0 if i == begin_id or not places else places[-1] + 1)
    return places


@right("12.4")
def by_numpy(ids, begin_id):
    places = np.arange(len(ids))
    return places - np.maximum.accumulate(np.where(ids.numpy() == begin_id, places, 0))


@right("12.4")
def counted_in_a_matrix(ids, begin_id):
    numbers = (ids == begin_id).cumsum(0)
    return (numbers[:, None] == numbers).tril().sum(1).float() - 1


@right("12.5")
def lists_of_bools(numbers):
    row = numbers.tolist()
    return [[a == b != 0 and s <= t for s, b in enumerate(row)] for t, a in enumerate(row)]


@right("12.5")
def a_mask_in_numpy(numbers):
    row = numbers.numpy()
    return np.tril((row[:, None] == row) & (row != 0))


@right("12.5")
def example_by_example(numbers):
    mask = torch.zeros(len(numbers), len(numbers), dtype=torch.bool)
    for number in set(numbers.tolist()) - {0}:
        (places,) = (numbers == number).nonzero(as_tuple=True)
        for t in places:
            mask[t, places[places <= t]] = True
    return mask


@right("12.6")
def with_nan_for_nothing(losses, y):
    losses = losses.masked_fill(y == -100, math.nan)
    return losses.nanmean(), losses.nanmean(1).nanmean()


@right("12.6")
def both_in_one_tensor(losses, y):
    return torch.stack(with_nan_for_nothing(losses, y))


@right("12.6")
def by_loops(losses, y):
    rows = []
    for row, targets in zip(losses.tolist(), y.tolist(), strict=True):
        rows.append([x for x, target in zip(row, targets, strict=True) if target != -100])
    rows = [row for row in rows if row]
    every = [x for row in rows for x in row]
    return [sum(every) / len(every), sum(sum(row) / len(row) for row in rows) / len(rows)]


@right("13.1")
def by_eigenvectors(delta, r):
    A = torch.linalg.eigh(delta.T @ delta).eigenvectors[:, -r:].T
    return delta @ A.T, A


@right("13.1")
def roots_in_both_and_in_float64(delta, r):
    u, s, vt = np.linalg.svd(delta.numpy().astype(np.float64), full_matrices=False)
    return [u[:, :r] * s[:r] ** 0.5, torch.tensor(s[:r, None] ** 0.5 * vt[:r])]


@right("13.2")
def the_matrix_itself_without_dropout(x, W, A, B, alpha, dropout=0.0, training=False):
    delta = alpha / len(A) * B @ A
    if not training:
        return F.linear(x, W + delta)
    return F.linear(x, W) + F.linear(x * (torch.rand_like(x) >= dropout) / (1 - dropout), delta)


@right("13.2")
def with_numpy(x, W, A, B, alpha, dropout=0.0, training=False):
    x, W, A, B = (tensor.double().numpy() for tensor in (x, W, A, B))
    kept = x * (np.random.rand(*x.shape) >= dropout) / (1 - dropout) if training else x
    return x @ W.T + alpha / A.shape[0] * kept @ A.T @ B.T


@right("13.3")
def a_uniform(n_in, n_out, rank):
    return (2 * torch.rand(rank, n_in) - 1) * math.sqrt(3 / n_in), torch.zeros(n_out, rank)


@right("13.3")
def signs(n_in, n_out, rank):
    A = np.random.choice([-1.0, 1.0], (rank, n_in)) / math.sqrt(n_in)
    return [A, [[0.0] * rank for _ in range(n_out)]]


@right("13.4")
def with_tensors(shapes, rank):
    shapes = torch.tensor(shapes)
    n = rank * shapes.sum()
    return [n, n / shapes.prod(1).sum()]


@right("13.4")
def a_share_that_is_exact(shapes, rank):
    n = sum(torch.zeros(rank, i).numel() + torch.zeros(o, rank).numel() for o, i in shapes)
    return n, Fraction(n, sum(o * i for o, i in shapes))


@right("13.5")
def another_layer_is_returned(layer, wanted):
    layer = copy.copy(layer)
    sign = int(wanted) - int(layer.merged)
    layer.weight = layer.weight.double() + sign * layer.alpha * (layer.B @ layer.A) / len(layer.A)
    layer.merged = bool(wanted)
    return layer


@right("13.5")
def in_place(layer, wanted):
    if layer.merged != wanted:
        layer.weight += (1 if wanted else -1) * layer.alpha / layer.B.shape[1] * layer.B @ layer.A
        layer.merged = not layer.merged
    return layer


@right("13.6")
def one_group_for_each(model, rate):
    model.zero_grad()
    model.requires_grad_(False)
    groups = []
    for name, part in model.named_modules():
        if "lora_" in name:
            groups.append({"params": list(part.requires_grad_().parameters())})
    return torch.optim.AdamW(groups, lr=torch.tensor(rate), weight_decay=0.0)


@right("13.6")
def optimizer_first(model, rate):
    adapters = [(name, p) for name, p in model.named_parameters() if "lora_" in name]
    optimizer = torch.optim.AdamW(adapters, lr=rate)
    for name, weights in model.named_parameters():
        weights.requires_grad = "lora_" in name
    return optimizer


@right("13.7")
def factors_into_a_and_alpha_one(one, two):
    r = len(one[0]) + len(two[0])
    A = np.concatenate([r * alpha / len(A) * A.numpy() for A, _, alpha in (two, one)])
    return [A, torch.cat([two[1], one[1]], dim=1).tolist(), 1.0]


@right("13.7")
def pieces_of_the_sum(one, two):
    delta = sum(alpha / len(A) * B @ A for A, B, alpha in (one, two))
    u, s, vt = torch.linalg.svd(delta.double(), full_matrices=False)
    r = min(len(one[0]) + len(two[0]), len(s))
    return vt[:r], u[:, :r] * s[:r], r


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_of_another_style_is_accepted(name):
    number, answer = RIGHT[name]
    outcome = check(number, answer, record=False)
    assert outcome.status == "correct", str(outcome)
