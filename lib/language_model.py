"""Language models that count, and the first one that learns (chapter 01).

Losses are in nats (natural logarithms) per symbol; `to_bits` converts them.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import nn


class CharacterVocabulary:
    """The characters of a text, numbered from 0 in the order of their code points.

    Raises ValueError for an empty text, and in `encode` for a character that the text had not.

    >>> vocabulary = CharacterVocabulary("abba!")
    >>> len(vocabulary), vocabulary.encode("bab"), vocabulary.decode([1, 0, 2])
    (3, [2, 1, 2], 'a!b')
    """

    def __init__(self, text: str):
        if not text:
            raise ValueError("the text is empty, so it has no characters; pass the training text")
        self.characters = sorted(set(text))
        self.ids = {character: i for i, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> list[int]:
        unknown = sorted(set(text) - set(self.characters))
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is not among the {len(self)} characters of this vocabulary; "
                "build the vocabulary on a text that has it, or leave it out"
            )
        return [self.ids[character] for character in text]

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.characters[i] for i in ids)


def to_bits(nats: float) -> float:
    """A loss in nats as bits: one bit is ln 2 ≈ 0.693 nats.

    >>> to_bits(math.log(8))
    3.0
    """
    return nats / math.log(2)


def count_ngrams(text: Sequence, n: int) -> Counter:
    """How often each run of n neighbouring symbols occurs in text.

    Works on a str, and on any sequence whose slices can be hashed (bytes, a tuple of ids).
    Raises ValueError when n is not between 1 and the length of the text.

    >>> count_ngrams("banana", 2).most_common(2)
    [('an', 2), ('na', 2)]
    """
    if not 1 <= n <= len(text):
        raise ValueError(
            f"n is {n} but the text has {len(text)} symbols; choose n from 1 to {len(text)}"
        )
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))


def discount(counts: Counter) -> float:
    """What to subtract from each count, estimated by leaving one occurrence out at a time.

    With n1 n-grams seen once and n2 seen twice, it is n1 / (n1 + 2 n2) (Ney, Essen & Kneser,
    1994), here with Laplace's rule of succession, which keeps it strictly between 0 and 1.

    >>> discount(Counter("mississippi!?"))  # m, ! and ? once, p twice: (3 + 1) / (5 + 2)
    0.5714285714285714
    """
    n1 = sum(count == 1 for count in counts.values())
    n2 = sum(count == 2 for count in counts.values())
    return (n1 + 1) / (n1 + 2 * n2 + 2)


class NGramModel:
    """Predicts a symbol from the n - 1 before it, by interpolated absolute discounting.

    text: the training text, as in `count_ngrams`. n: the length of the longest n-gram.
    vocab_size: how many symbols there are, also those that text lacks; at least as many as it
    has, else ValueError. (Ney, Essen & Kneser, 1994.)
    """

    def __init__(self, text: Sequence, n: int, vocab_size: int):
        if len(set(text)) > vocab_size:
            raise ValueError(
                f"vocab_size is too small: raise vocab_size to {len(set(text))} or more"
            )
        self.n, self.vocab_size = n, vocab_size
        self.discounts, self.followers, self.totals = [], [], []
        for k in range(1, n + 1):
            counts, followers = count_ngrams(text, k), {}
            for ngram, count in counts.items():
                followers.setdefault(ngram[:-1], {})[ngram[-1]] = count
            self.discounts.append(discount(counts))
            self.followers.append(followers)
            self.totals.append({context: sum(f.values()) for context, f in followers.items()})

    def probabilities(self, symbol, context: Sequence) -> list[float]:
        """The n + 1 estimates [p_0, ..., p_n] of p(symbol | context): p_k uses k - 1 symbols.

        Each refines the one before it. Where the context was never seen, it stays as it is.
        """
        estimates = [1 / self.vocab_size]
        for k in range(self.n):
            p, history = estimates[-1], context[len(context) - k :] if k <= len(context) else None
            followers = self.followers[k].get(history)
            if followers:
                d, total = self.discounts[k], self.totals[k][history]
                p = (max(followers.get(symbol, 0) - d, 0) + d * len(followers) * p) / total
            estimates.append(p)
        return estimates


def ngram_losses(model: NGramModel, text: Sequence) -> list[float]:
    """Mean loss on text, in nats a symbol, of the models of order 0, 1, ..., n inside `model`.

    Raises ValueError for an empty text.
    """
    if not text:
        raise ValueError("the text is empty, so it has no loss; pass some text")
    sums = [0.0] * (model.n + 1)
    for i, symbol in enumerate(text):
        context = text[max(0, i - model.n + 1) : i]
        for k, p in enumerate(model.probabilities(symbol, context)):
            sums[k] -= math.log(p)
    return [total / len(text) for total in sums]


def sample_text(model: NGramModel, symbols: str, length: int, n: int, rng: random.Random) -> str:
    """Draw `length` characters one by one, each from the order-n estimate given those before.

    symbols: the characters to draw from. n: at most model.n, else ValueError; a smaller n
    looks at a shorter context.
    """
    if not 1 <= n <= model.n:
        raise ValueError(f"n is {n}, but the model holds the orders 1 to {model.n}")
    text = ""
    for _ in range(length):
        context = text[max(0, len(text) - n + 1) :]
        weights = [model.probabilities(symbol, context)[n] for symbol in symbols]
        text += rng.choices(symbols, weights)[0]
    return text


def make_windows(ids: torch.Tensor, context_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every window of a stream of ids with the id that follows it: contexts and targets.

    ids: (N,). Returns contexts (N - T, T) and targets (N - T,), where T is context_length.
    Both are views: no id is copied. Raises ValueError when the stream has no window.

    >>> contexts, targets = make_windows(torch.tensor([5, 6, 7, 8]), 2)
    >>> contexts.tolist(), targets.tolist()
    ([[5, 6], [6, 7]], [7, 8])
    """
    if not 1 <= context_length < len(ids):
        raise ValueError(
            f"context_length is {context_length}, but the stream has {len(ids)} ids; "
            f"choose a context_length from 1 to {len(ids) - 1}"
        )
    contexts = ids.unfold(0, context_length, 1)[:-1]  # (N - T + 1, T) -> (N - T, T)
    return contexts, ids[context_length:]


class MLPLanguageModel(nn.Module):
    """Predicts the next symbol from the embeddings of the T before it (Bengio et al., 2003).

    The T embeddings are laid side by side, mixed by one hidden layer with tanh, and turned into
    one logit a symbol.
    """

    def __init__(self, vocab_size: int, context_length: int, n_embd: int, n_hidden: int):
        super().__init__()
        self.context_length = context_length
        self.embedding = nn.Embedding(vocab_size, n_embd)
        self.hidden = nn.Linear(context_length * n_embd, n_hidden)
        self.output = nn.Linear(n_hidden, vocab_size)

    def forward(self, contexts: torch.Tensor) -> torch.Tensor:
        """contexts: ids (B, T). Returns logits (B, vocab_size)."""
        x = self.embedding(contexts)  # (B, T) -> (B, T, n_embd)
        x = x.flatten(1)  # (B, T, n_embd) -> (B, T * n_embd)
        x = torch.tanh(self.hidden(x))  # (B, n_hidden)
        return self.output(x)  # (B, vocab_size)


@torch.no_grad()
def mlp_loss(model: MLPLanguageModel, ids: torch.Tensor, batch_size: int = 16384) -> float:
    """Mean loss, in nats a symbol, over every window of a stream of ids (N,)."""
    contexts, targets = make_windows(ids, model.context_length)
    total = 0.0
    for start in range(0, len(targets), batch_size):
        batch = slice(start, start + batch_size)
        logits = model(contexts[batch])  # (B, vocab_size)
        total += nn.functional.cross_entropy(logits, targets[batch], reduction="sum").item()
    return total / len(targets)
