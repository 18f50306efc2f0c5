"""Classification: from a language model to a decision, and how far to trust it (chapter 11).

Shapes use B (texts), T (positions), C = n_embd and K (classes). Labels are whole numbers 0 … K - 1.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from numbers import Integral

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lib.data import comparable_units, ngram_hashes
from lib.llama import Llama
from lib.model import GPT, kind_of
from lib.optim import AdamW, clip_gradients, parameter_groups, warmup_cosine
from lib.training import evaluating

# --- Data ----------------------------------------------------------------------------------------


def shingles(text: str, n: int) -> set[int]:
    """The runs of n words of a text, as numbers; of a shorter text, all of its words as one run.

    Blind to case, blanks and punctuation, as `comparable_units` is. (Broder, 1997.)
    """
    n_units = len(comparable_units(text))
    if not n_units:  # nothing but signs, such as ":-)"
        return {hash(text)}
    return set(ngram_hashes(text, min(n, n_units)).tolist())


def near_duplicates(texts: Sequence[str], n: int = 3, least: float = 0.5) -> list[int]:
    """For each text the number of the first text of its group: its own, if it is like none before.

    Two texts are alike if, of all their different runs of n words, the share `least` is in both;
    groups are closed: what is like a member belongs to the group. Raises ValueError for a share
    outside (0, 1], and for one text in place of a list.

    >>> near_duplicates(["Win a car now, call 0800", "Hello", "WIN a car: now call 0900!"])
    [0, 1, 0]
    """
    if not 0 < least <= 1:
        raise ValueError(f"least is {least}; choose a share above 0 and at most 1, such as 0.5")
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise ValueError("texts is to be a list of strings; leave out what is missing (nan, None)")
    group, sizes, holders = list(range(len(texts))), [], defaultdict(list)

    def first(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    for i, text in enumerate(texts):
        runs = shingles(text, n)
        shared = Counter(j for run in runs for j in holders[run])
        for j, both in shared.items():
            if both >= least * (len(runs) + sizes[j] - both):
                a, b = sorted((first(i), first(j)))
                group[b] = a
        sizes.append(len(runs))
        for run in runs:
            holders[run].append(i)
    return [first(i) for i in range(len(texts))]


def pad_right(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of unequal length as ids (B, T), and a mask (B, T), True for ids and False for padding.

    Raises ValueError for no rows, for an empty one, which has nothing to classify, and for rows
    that are not ids.

    >>> pad_right([[5, 6], [7]])
    (tensor([[5, 6],
            [7, 0]]), tensor([[ True,  True],
            [ True, False]]))
    """
    if len(rows) == 0 or not all(len(row) for row in rows):
        raise ValueError("every text needs an id, and there is an empty one or none; leave it out")
    if not all(isinstance(i, Integral) for row in rows for i in row):
        raise ValueError("a row is a list of whole numbers; encode the texts with the tokenizer")
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]  # (B, T)
    ids = torch.zeros(mask.shape, dtype=torch.int64)
    ids[mask] = torch.tensor([int(i) for row in rows for i in row])
    return ids, mask


def batches_by_length(
    rows: Sequence[Sequence[int]], batch_size: int, generator: torch.Generator | None = None
) -> list[list[int]]:
    """The numbers of the rows in batches of similar length, so that there is little padding.

    With a generator: rows of equal length and the order of the batches are shuffled.

    >>> batches_by_length([[1], [1, 2, 3], [1, 2]], 2)
    [[0, 2], [1]]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; choose a whole number, at least 1")
    if len(rows) == 0:
        raise ValueError("there are no rows; pass one text or more")
    order = list(range(len(rows)))
    if generator is not None:
        order = torch.randperm(len(rows), generator=generator).tolist()
    order.sort(key=lambda i: len(rows[i]))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    if generator is not None:
        batches = [batches[i] for i in torch.randperm(len(batches), generator=generator)]
    return batches


# --- Pooling, and a head -------------------------------------------------------------------------


def check_pooling(hidden: torch.Tensor, mask: torch.Tensor) -> None:
    """Refuse a mask that does not belong to the states, and a row without any real id."""
    boolean = isinstance(mask, torch.Tensor) and mask.dtype == torch.bool
    if not boolean or mask.shape != hidden.shape[:2]:
        raise ValueError(
            f"the mask is {kind_of(mask)}; pass a boolean one of shape {tuple(hidden.shape[:2])}, "
            "True for real ids"
        )
    if not mask.any(1).all():
        raise ValueError("a row of the mask is all padding; leave out texts without ids")


def last_token(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The state of each text's last real id, padding on either side: (B, T, C) -> (B, C).

    It is the only one that has seen the whole text. mask (B, T): True for real ids.
    """
    check_pooling(hidden, mask)
    places = torch.arange(mask.shape[1], device=mask.device)  # (T,)
    last = (places * mask).argmax(1)  # (B,): the largest place that is real
    return hidden[torch.arange(len(hidden), device=mask.device), last]


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean state of each text's real ids: (B, T, C) -> (B, C). mask (B, T)."""
    check_pooling(hidden, mask)
    real = hidden.masked_fill(~mask[..., None], 0)  # (B, T, C), whatever stood in the padding
    return real.sum(1) / mask.sum(1, keepdim=True)


class Classifier(nn.Module):
    """A language model with a head for K classes in place of the one for the next id.

    body: a model with `hidden_states(ids, mask)` and `config.n_embd`. pool: `last_token` or
    `mean_pool`. The head starts at 0, so that all classes begin equally likely.
    """

    def __init__(self, body: GPT | Llama, n_classes: int, pool: Callable = last_token):
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"n_classes is {n_classes}; a choice needs at least 2")
        self.body, self.pool = body, pool
        self.norm = nn.LayerNorm(body.config.n_embd, elementwise_affine=False)
        self.head = nn.Linear(body.config.n_embd, n_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """ids (B, T), mask (B, T), True for real ids; None: all are -> logits (B, K)."""
        hidden = self.body.hidden_states(ids, mask)  # (B, T, C)
        mask = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
        return self.head(self.norm(self.pool(hidden, mask)))


def train_only_top(classifier: Classifier, n_blocks: int) -> int:
    """Freeze all but the head, the last n_blocks blocks and the norm after them.

    Returns how many parameters are left to train. Call it before the optimizer is built. With
    n_blocks = 0 the head alone is trained. Raises ValueError for more blocks than there are.
    """
    blocks = classifier.body.blocks
    if not 0 <= n_blocks <= len(blocks):
        raise ValueError(f"n_blocks is {n_blocks}, but there are {len(blocks)}; choose 0 to that")
    classifier.requires_grad_(False)
    classifier.head.requires_grad_(True)
    if n_blocks:
        classifier.body.norm.requires_grad_(True)
        blocks[len(blocks) - n_blocks :].requires_grad_(True)
    return sum(w.numel() for w in classifier.parameters() if w.requires_grad)


# --- Computing what is frozen once ---------------------------------------------------------------


def part_of_model(model: Llama, first: int, stop: int, embedding, norm) -> Llama:
    """A model of the blocks from `first` to before `stop`, with the embedding and norm given.

    Nothing is copied: the parts are those of the model itself.
    """
    if not isinstance(model, Llama):
        raise ValueError(
            f"the model is a {type(model).__name__}; pass a Llama, whose positions enter in every "
            "block anew (a GPT is given them once, at the bottom)"
        )
    if not 0 <= first < stop <= model.config.n_layer:
        raise ValueError(
            f"blocks {first} to {stop} of {model.config.n_layer}; leave one block or more on each "
            "side of the cut"
        )
    config = replace(
        model.config, n_layer=stop - first, vocab_size=embedding.num_embeddings, tied=False
    )
    with torch.device("meta"):  # the shape alone, without memory
        part = Llama(config)
    part.token_embedding, part.blocks = embedding, model.blocks[first:stop]
    part.norm, part.head = norm, nn.Identity()
    return part.train(model.training)


def states_of(model, rows: Sequence[Sequence[int]], batch_size: int = 16) -> list[torch.Tensor]:
    """`hidden_states` of each row: a list of tensors (length of the row, C), without padding.

    Without dropout. Raises ValueError if there are no rows.
    """
    found = [torch.empty(0)] * len(rows)
    with evaluating(model):
        for batch in batches_by_length(rows, batch_size):
            ids, mask = pad_right([rows[i] for i in batch])
            hidden = model.hidden_states(ids, None if mask.all() else mask)  # (B, T, C)
            for i, states in zip(batch, hidden, strict=True):
                found[i] = states[: len(rows[i])].clone()
    return found


def precompute(
    model: Llama, rows: Sequence[Sequence[int]], n_frozen: int, batch_size: int = 16
) -> tuple[Llama, list[list[int]]]:
    """Run the first n_frozen blocks once: a model of the others, and new rows of ids for it.

    To the upper blocks a state is what an embedding is. So every place of every row gets an id of
    its own, whose embedding is its state after the frozen blocks; `hidden_states` of the model
    returned, of the new rows, is that of the whole model. Its blocks and norm are copies.
    Raises ValueError if no block is left below or above.
    """
    part_of_model(model, n_frozen, model.config.n_layer, model.token_embedding, model.norm)
    lower = part_of_model(model, 0, n_frozen, model.token_embedding, nn.Identity())
    states = torch.cat(states_of(lower, rows, batch_size))  # (places, C)
    table = nn.Embedding.from_pretrained(states, freeze=True)
    upper = part_of_model(model, n_frozen, model.config.n_layer, table, model.norm)
    upper.blocks, upper.norm = deepcopy(upper.blocks), deepcopy(upper.norm)
    ids = iter(range(len(states)))
    return upper, [[next(ids) for _ in row] for row in rows]


# --- Training and prediction ---------------------------------------------------------------------


def check_labels(labels: Sequence[int], n_texts: int, n_classes: int) -> None:
    """Refuse labels that are not one class a text."""
    if len(labels) != n_texts:
        raise ValueError(f"there are {n_texts} texts but {len(labels)} labels; pass one a text")
    if n_texts and np.asarray(labels).dtype.kind not in "iu":
        raise ValueError(f"labels are to be whole numbers, from 0 to {n_classes - 1}")
    if not all(0 <= label < n_classes for label in labels):
        raise ValueError(
            f"labels reach from {min(labels)} to {max(labels)}, but the classes are 0 to "
            f"{n_classes - 1}; number the classes from 0"
        )


def fit(
    classifier: Classifier,
    rows: Sequence[Sequence[int]],
    labels: Sequence[int],
    n_epochs: int,
    lr: float,
    batch_size: int = 16,
    weight_decay: float = 0.01,
    head_lr: float | None = None,
    seed: int = 0,
) -> Iterator[float]:
    """Train what is not frozen; yield the mean loss of each epoch, in nats a text.

    A generator: nothing is trained before its values are asked for, as `list(fit(...))` does. The
    learning rate rises over a tenth of the steps and falls as a cosine; the head, which starts from
    nothing, has its own (ten times lr, by default).
    """
    check_labels(labels, len(rows), classifier.head.out_features)
    head = list(classifier.head.parameters())
    groups = parameter_groups(classifier.head, weight_decay)
    rates = [10 * lr if head_lr is None else head_lr] * len(groups)
    if any(w.requires_grad for w in classifier.body.parameters()):
        groups += parameter_groups(classifier, weight_decay, without=head)
        rates += [lr] * (len(groups) - len(rates))
    optimizer, generator = AdamW(groups, lr), torch.Generator().manual_seed(seed)
    n_steps, step = n_epochs * len(batches_by_length(rows, batch_size)), 0
    for _ in range(n_epochs):
        classifier.train()
        total = 0.0
        for batch in batches_by_length(rows, batch_size, generator):
            ids, mask = pad_right([rows[i] for i in batch])
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = warmup_cosine(step, n_steps, rate, warmup=n_steps // 10)
            logits = classifier(ids, None if mask.all() else mask)  # (B, K)
            loss = F.cross_entropy(logits, torch.tensor([labels[i] for i in batch]))
            optimizer.zero_grad()
            loss.backward()
            clip_gradients(classifier.parameters(), 1.0)
            optimizer.step()
            total, step = total + loss.item() * len(batch), step + 1
        classifier.eval()
        yield total / len(rows)


def predict(
    classifier: Classifier, rows: Sequence[Sequence[int]], batch_size: int = 16
) -> np.ndarray:
    """The probabilities of the classes, (number of rows, K), without dropout."""
    found = {}
    with evaluating(classifier):
        for batch in batches_by_length(rows, batch_size):
            ids, mask = pad_right([rows[i] for i in batch])
            p = classifier(ids, None if mask.all() else mask).softmax(-1)  # (B, K)
            found.update(zip(batch, p.double().numpy(), strict=True))
    return np.stack([found[i] for i in range(len(rows))])


# --- Judging -------------------------------------------------------------------------------------


def confusion(labels: Sequence[int], predicted: Sequence[int], n_classes: int) -> np.ndarray:
    """How often each class (row) was given each label (column): (K, K) whole numbers.

    >>> confusion([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
    """
    check_labels(predicted, len(labels), n_classes)
    check_labels(labels, len(labels), n_classes)
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (np.asarray(labels), np.asarray(predicted)), 1)
    return counts


def macro_f1(counts: np.ndarray) -> float:
    """The mean over the classes of F1 = 2 · hits / (true + predicted), from a confusion matrix.

    Every class counts alike, however rare. One that neither occurs nor is predicted is left out.

    >>> macro_f1(np.array([[9, 0], [1, 0]]))  # always the frequent class
    0.47368421052631576
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or len(counts) != counts.shape[1] or not (counts >= 0).all():
        raise ValueError(f"counts has shape {counts.shape}; pass what `confusion` returns, (K, K)")
    total = counts.sum(0) + counts.sum(1)  # (K,)
    hits = 2 * np.diag(counts)
    if not total.any():
        raise ValueError("the confusion matrix is all zero; pass that of one text or more")
    return float((hits[total > 0] / total[total > 0]).mean())


def check_probabilities(p: np.ndarray) -> np.ndarray:
    """p as an array (N, K). Refuse what is not one row of probabilities for each text."""
    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 2 or not p.size:
        raise ValueError(f"p has shape {p.shape}; pass (number of texts, classes), a row a text")
    if not ((p >= 0).all() and np.allclose(p.sum(1), 1, atol=1e-3)):
        raise ValueError("a row of p does not add up to 1; pass probabilities, such as softmax's")
    return p


def reliability(
    labels: Sequence[int], p: np.ndarray, n_bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort predictions into bins of equal width by their confidence, the largest probability.

    p (N, K). Returns for each bin that is not empty: how many, the mean confidence, the accuracy.
    """
    p, labels = check_probabilities(p), np.asarray(labels)
    check_labels(labels, *p.shape)
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}; choose a whole number, at least 1")
    confidence, hit = p.max(1), p.argmax(1) == labels
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)  # confidence 1: the last one
    used = [bins == b for b in range(n_bins) if (bins == b).any()]
    columns = [(b.sum(), confidence[b].mean(), hit[b].mean()) for b in used]
    return tuple(np.array(column) for column in zip(*columns, strict=True))


def expected_calibration_error(labels: Sequence[int], p: np.ndarray, n_bins: int = 10) -> float:
    """How far confidence and accuracy are apart, on average over the texts. (Guo et al., 2017.)

    >>> expected_calibration_error([0, 1], np.array([[0.75, 0.25], [0.75, 0.25]]))
    0.25
    """
    n, confidence, accuracy = reliability(labels, p, n_bins)
    return float((n * abs(confidence - accuracy)).sum() / n.sum())


def bootstrap(
    statistic: Callable, *columns: Sequence, n: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """An interval for statistic(*columns), by drawing texts with replacement n times.

    columns: labels, predictions, … of the same texts; a draw takes the same texts from each, so
    that a difference of two methods is judged text by text. (Efron, 1979.)

    >>> bootstrap(lambda hits: hits.mean(), [1, 1, 1, 1])
    (1.0, 1.0)
    """
    columns = [np.asarray(column) for column in columns]
    if not columns or len({len(c) for c in columns}) > 1 or not len(columns[0]):
        raise ValueError(
            f"the columns have lengths {[len(c) for c in columns]}; pass as many of each, of the "
            "same texts in the same order"
        )
    if n < 1 or not 0 < level < 1:
        raise ValueError(f"n is {n} and level {level}; choose n from 1 up, level such as 0.95")
    rng, N = np.random.default_rng(seed), len(columns[0])
    draws = (rng.integers(0, N, N) for _ in range(n))
    values = [statistic(*(column[draw] for column in columns)) for draw in draws]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


# --- Few labels ----------------------------------------------------------------------------------


def pseudo_labels(p: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Take a model's confident guesses for labels: which texts, and their classes.

    p (N, K): probabilities of texts without labels. least: the confidence that is asked for.
    (Lee, 2013.)

    >>> pseudo_labels(np.array([[0.95, 0.05], [0.6, 0.4]]), 0.9)
    (array([0]), array([0]))
    """
    if not 0 <= least <= 1:
        raise ValueError(f"least is {least}; choose a probability, such as 0.9")
    p = check_probabilities(p)
    chosen = np.flatnonzero(p.max(1) >= least)
    return chosen, p[chosen].argmax(1)
