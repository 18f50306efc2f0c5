"""The checks of chapter 01, Language models."""

import math
from collections import Counter

import torch

from lib.course.checks.engine import Probe, exercise


@exercise("1.1", "Perplexity")
def perplexity(probe: Probe) -> None:
    nats = lambda p: -sum(map(math.log, p)) / len(p)  # noqa: E731
    mistakes = {
        "This is the mean surprise in bits. Perplexity is 2 to that power.": lambda p: (
            nats(p) / math.log(2)
        ),
        "This is the mean surprise in nats. Perplexity is e to that power.": nats,
        "The bases differ: 2 to a power goes with log2, e to a power with the natural log.": (
            lambda p: 2 ** nats(p)
        ),
        "The bases differ: e to a power goes with the natural log, 2 with log2.": lambda p: (
            math.exp(nats(p) / math.log(2))
        ),
        "You added up the surprises, so this grows with the length of the text; "
        "perplexity uses their mean.": lambda p: 1 / math.prod(p),
        "The sign is lost: surprise is minus the logarithm.": lambda p: math.exp(-nats(p)),
        "You averaged the probabilities. Average their logarithms: the mean is geometric.": (
            lambda p: len(p) / sum(p)
        ),
        "You averaged 1/p. Average the logarithms: the mean is geometric.": lambda p: (
            sum(1 / x for x in p) / len(p)
        ),
    }
    weighted = (
        "Each surprise was weighted with its own p. That is the entropy of a distribution; here "
    )
    weighted += "every symbol that came counts once."
    mistakes[weighted] = lambda p: math.exp(-sum(x * math.log(x) for x in p))
    probe.compare(([0.5],), 2.0, mistakes)
    probe.compare(([0.25, 0.25],), 4.0, mistakes)
    probe.holds("V equally likely symbols have perplexity V")
    probe.compare(([0.25, 1.0],), 2.0, mistakes)
    probe.holds("it is the geometric mean of 1/p")
    probe.compare(([1.0, 1.0, 1.0],), 1.0, mistakes)
    probe.holds("certainty has perplexity 1")
    vanishes = "The product of 2,000 probabilities is 0 in floating point. Add logarithms instead."
    probe.compare(([0.1] * 2000,), 10.0, {vanishes: math.inf, **mistakes}, on_crash=vanishes)
    probe.holds(
        "it works for long texts, where the product of probabilities is 0 in floating point"
    )


@exercise("1.2", "Bits per byte")
def bits_per_byte(probe: Probe) -> None:
    n_bytes = lambda tokens: len("".join(tokens).encode("utf-8"))  # noqa: E731
    bits = lambda losses: sum(losses) / math.log(2)  # noqa: E731
    mistakes = {
        "These are nats per byte: a bit is ln 2 nats, so divide by ln 2.": lambda losses, tokens: (
            sum(losses) / n_bytes(tokens)
        ),
        "The conversion is upside down: one bit is ln 2 nats, so divide by ln 2.": (
            lambda losses, tokens: sum(losses) * math.log(2) / n_bytes(tokens)
        ),
        "These are bits per token: divide by bytes instead of tokens.": lambda losses, tokens: (
            bits(losses) / len(tokens)
        ),
        "These are bits per character: a character can take up to four bytes in UTF-8.": (
            lambda losses, tokens: bits(losses) / len("".join(tokens))
        ),
        "The mean surprise a token was divided by all the bytes; use the total surprise.": (
            lambda losses, tokens: bits(losses) / len(losses) / n_bytes(tokens)
        ),
        "This is the mean of each token's own ratio. Add up first, divide once: long tokens "
        "count for more.": lambda losses, tokens: (
            sum(bits([x]) / n_bytes([t]) for x, t in zip(losses, tokens, strict=True)) / len(losses)
        ),
        "This is bytes per bit, upside down.": lambda losses, tokens: (
            n_bytes(tokens) / bits(losses)
        ),
    }
    probe.compare(([math.log(2)], ["the "]), 0.25, mistakes)
    probe.holds("one bit over four bytes is a quarter of a bit a byte")
    probe.compare(([math.log(2), 5 * math.log(2)], ["a", "bcd"]), 1.5, mistakes)
    probe.holds("totals are divided, not ratios averaged")
    once = "A token that came twice was counted once."
    same_token = ([math.log(2), math.log(2)], ["ha", "ha"])
    probe.compare(same_token, 0.5, {once: 1.0, **mistakes})
    probe.compare(([12 * math.log(2)], ["长江"]), 2.0, mistakes)
    probe.compare(([6 * math.log(2), 5 * math.log(2)], ["长江", "é, naïve"]), 11 / 16, mistakes)
    probe.holds("bytes are those of UTF-8, also for Chinese and accents")


@exercise("1.3", "Draw a symbol")
def draw(probe: Probe) -> None:
    half = {"a": 0.5, "b": 0.5}
    uneven = {"a": 0.2, "b": 0.7, "c": 0.1}
    likeliest = lambda p, u: max(p, key=p.get)  # noqa: E731
    mistakes = {
        "You return the likeliest symbol whatever `u` is; then nothing is random.": likeliest,
        "You compare `u` with each symbol's own probability; add the probabilities up.": (
            lambda p, u: next((s for s in p if p[s] > u), None)
        ),
        "`u` was compared with the sum before the symbol's own probability was added: "
        "off by one.": lambda p, u: next(
            (s for i, s in enumerate(p) if sum(list(p.values())[:i]) > u), None
        ),
        "Each symbol got a piece of the same size; a piece is as long as its probability.": (
            lambda p, u: list(p)[int(u * len(p))]
        ),
    }
    probe.compare((half, 0.25), "a", mistakes)
    probe.compare((half, 0.75), "b", mistakes)
    probe.compare((uneven, 0.1), "a", mistakes)
    probe.compare((uneven, 0.3), "b", mistakes)
    probe.compare((uneven, 0.85), "b", mistakes)
    probe.compare((uneven, 0.95), "c", mistakes)
    probe.holds("each symbol owns a piece of [0, 1) as long as its probability")
    border = (
        "At the border itself the sum must exceed `u`: with `u` = 0.5, `a` ends and `b` begins."
    )
    probe.compare((half, 0.5), "b", {border: "a"})
    probe.compare((half, 0.0), "a", mistakes)
    zero = (
        "This symbol has probability 0 and can never come: the sum must exceed `u`, not reach it."
    )
    probe.compare(({"a": 0.0, "b": 1.0}, 0.0), "b", {zero: "a"})
    probe.holds("a piece includes its left end and not its right one")
    backwards = {"b": 0.6, "a": 0.4}
    order = "The symbols were sorted first; go through them in the order in which they stand."
    probe.compare((backwards, 0.2), "b", {order: "a"})
    by_size = {"a": 0.3, "b": 0.7}
    probe.compare((by_size, 0.1), "a", {order: "b"})
    probe.holds("the symbols are taken in their own order")
    short = {"b": 0.3, "a": 0.5, "c": 0.199, "d": 0.0}
    rounding = (
        "Rounding left the sum a little below `u`, and the loop ended without an answer: "
        "return the last symbol that can come."
    )
    never = "Rounding left the sum a little below `u`; the last symbol here has probability 0."
    likely = "Rounding left the sum a little below `u`: its piece is at the right end, so return "
    likely += "the last symbol that can come."
    last = {rounding: None, never: "d", likely: "a"}
    probe.compare((short, 0.9995), "c", last, on_crash=rounding)
    probe.holds("rounding in the sum does no harm")
    drawn = Counter(probe.call(uneven, (i + 0.5) / 1000) for i in range(1000))
    probe.expect(dict(drawn), {"a": 200, "b": 700, "c": 100}, example="1000 evenly spaced u")
    probe.holds("over many u, each symbol comes as often as its probability says")


@exercise("1.4", "Another way to smooth")
def witten_bell(probe: Probe) -> None:
    total = lambda counts: sum(counts.values())  # noqa: E731
    mistakes = {
        "Symbols that were counted get a part from the lower order too: interpolate.": (
            lambda c, x, p: (
                c[x] / (total(c) + len(c)) if x in c else len(c) / (total(c) + len(c)) * p
            )
        ),
        "A symbol that was never seen here gets 0: part of the probability must go to the "
        "lower order.": lambda c, x, p: c.get(x, 0) / total(c),
        "The shares add up to more than one: the counted symbols keep only c / (c + T).": (
            lambda c, x, p: c.get(x, 0) / total(c) + len(c) / (total(c) + len(c)) * p
        ),
        "T is the number of different symbols seen here, not the number of all occurrences.": (
            lambda c, x, p: (c.get(x, 0) + total(c) * p) / (2 * total(c))
        ),
        "The lower order was not weighted: multiply it by T.": lambda c, x, p: (
            (c.get(x, 0) + p) / (total(c) + len(c))
        ),
        "This is add-one smoothing over the symbols seen here; use T and the lower order.": (
            lambda c, x, p: (c.get(x, 0) + 1) / (total(c) + len(c))
        ),
    }
    mistakes |= {
        "The two shares are swapped: T / (c + T) is the lower order's.": lambda c, x, p: (
            len(c) / (total(c) + len(c)) * c.get(x, 0) / total(c)
            + total(c) / (total(c) + len(c)) * p
        ),
        "The lower order's share T was given to this one symbol whole; multiply it by `lower`.": (
            lambda c, x, p: (c.get(x, 0) + len(c)) / (total(c) + len(c))
        ),
    }
    lacking = "The symbol may be missing from `counts`: it was then seen 0 times."
    counts = {"b": 5, "c": 2}
    probe.compare((counts, "z", 0.1), 0.2 / 9, mistakes, on_crash=lacking)
    probe.holds("an unseen symbol gets its share of the lower order")
    probe.compare((counts, "b", 0.1), 5.2 / 9, mistakes)
    probe.holds("seen 5 times out of 7, two different, lower order 0.1: (5 + 2 · 0.1) / 9")
    empty = "Without any counts there is only the lower order: return it."
    probe.compare(({}, "b", 0.125), 0.125, {empty: 0.0}, on_crash=empty)
    probe.holds("without counts the lower order is all we know")
    lower = {"b": 0.4, "c": 0.3, "d": 0.2, "e": 0.1}
    summed = sum(probe.call({"b": 5, "d": 2}, x, lower[x]) for x in lower)
    probe.expect(summed, 1.0, example="the sum over the vocabulary {b, c, d, e}")
    probe.holds("the probabilities add up to one")


@exercise("1.5", "The gradient for a batch")
def cross_entropy_gradient(probe: Probe) -> None:
    def softmax_only(z, t):
        return z.softmax(1) / len(z)

    def one_hot(z, t):
        return torch.nn.functional.one_hot(t, z.shape[1]).to(z.dtype)

    mistakes = {
        "The gradient of the sum: each position of a mean counts with weight 1/B.": lambda z, t: (
            z.softmax(1) - one_hot(z, t)
        ),
        "These are the probabilities: subtract 1 at the symbol that came.": softmax_only,
        "These are the probabilities: subtract 1 at the symbol that came (and divide by B).": (
            lambda z, t: z.softmax(1)
        ),
        "The sign is the other way round: predicted minus came, not came minus predicted.": (
            lambda z, t: (one_hot(z, t) - z.softmax(1)) / len(z)
        ),
        "Softmax was taken down the batch; the probabilities of one position lie along dim 1.": (
            lambda z, t: (z.softmax(0) - one_hot(z, t)) / len(z)
        ),
        "You divided by B · V. The loss is a mean over the B positions only.": lambda z, t: (
            (z.softmax(1) - one_hot(z, t)) / z.numel()
        ),
        "The logits were used as if they were probabilities: softmax comes first.": lambda z, t: (
            (z - one_hot(z, t)) / len(z)
        ),
        "1 was subtracted before the softmax; subtract it from the probabilities.": lambda z, t: (
            (z - one_hot(z, t)).softmax(1) / len(z)
        ),
        "1 was subtracted from whole columns: index one entry in each row, "
        "with `torch.arange(B)` beside `targets`.": _whole_columns,
    }
    mistakes |= {
        "Rows and columns are swapped: the position comes first, then the target.": _swapped,
        "The targets were ignored: 1 was subtracted on the diagonal.": lambda z, t: (
            (z.softmax(1) - torch.eye(*z.shape)) / len(z)
        ),
    }
    generator = torch.Generator().manual_seed(0)
    for targets, V in (([1], 2), ([2, 0], 3), ([3, 0, 3, 1, 2], 7)):
        logits = torch.randn(len(targets), V, generator=generator, dtype=torch.float64)
        logits, targets = logits.mul(8).round().div(4), torch.tensor(targets)
        indices = "Positions and targets index one entry in each row: [position, target]."
        probe.compare((logits, targets), _autograd(logits, targets), mistakes, on_crash=indices)
    probe.holds("it equals what autograd finds, for several shapes")
    rows = probe.call(logits, targets).sum(1)
    probe.expect(rows, torch.zeros(5, dtype=torch.float64), example="the sum of each row")
    probe.holds("each row adds up to zero: what one logit gains, the others lose")
    overflow = (
        "exp(1000) overflows: use `torch.softmax`, or subtract each row's own largest logit first."
    )
    for large in ([[1000.0, 0.0]], [[1000.0, 999.0]], [[1000.0, 0.0], [0.0, -1.0]]):
        logits, targets = torch.tensor(large), torch.ones(len(large), dtype=torch.int64)
        got, expected = probe.call(logits, targets), _autograd(logits, targets)
        close = not torch.isnan(got).any() and torch.allclose(got, expected, atol=1e-5)
        probe.require(close, overflow, f"logits {large}\nreturned {got.tolist()}")
    probe.holds("large logits do not overflow")


def _autograd(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    leaf = logits.clone().requires_grad_()
    torch.nn.functional.cross_entropy(leaf, targets).backward()
    return leaf.grad


def _swapped(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    gradient = logits.softmax(1)
    gradient[targets, torch.arange(len(targets))] -= 1
    return gradient / len(logits)


def _whole_columns(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    gradient = logits.softmax(1)
    gradient[:, targets] -= 1
    return gradient / len(logits)


@exercise("1.6", "A better lower order")
def continuation_probability(probe: Probe) -> None:
    pairs = lambda text: {text[i : i + 2] for i in range(len(text) - 1)}  # noqa: E731
    before = lambda text, x: sum(p[1:] == x for p in pairs(text))  # noqa: E731
    mistakes = {
        "This is how often the symbol occurs. Count the different symbols before it.": (
            lambda text, x: text.count(x) / len(text)
        ),
        "You counted every bigram that ends in the symbol; count each different one once.": (
            lambda text, x: (
                sum(text[i + 1] == x for i in range(len(text) - 1)) / max(len(text) - 1, 1)
            )
        ),
        "Bigrams that end in the symbol were counted once each, but divided by all "
        "occurrences; divide by the number of different bigrams.": lambda text, x: (
            before(text, x) / (len(text) - 1)
        ),
        "You counted the symbols that come after it; count those that come before.": (
            lambda text, x: sum(p[:1] == x for p in pairs(text)) / len(pairs(text))
        ),
        "You divided by the size of the alphabet; divide by the number of different bigrams, "
        "so that all symbols together get 1.": lambda text, x: before(text, x) / len(set(text)),
        "This is the number of different symbols before it; divide by the number of "
        "different bigrams.": before,
    }
    probe.compare(("aaabbb", "b"), 2 / 3, mistakes)
    probe.holds("aa, ab, bb are three different bigrams; two of them end in b")
    text = "san francisco, san francisco, san francisco, an inn, a cask, on us"
    probe.compare((text, "c"), before(text, "c") / len(pairs(text)), mistakes)
    probe.holds("repetition of the same bigram counts once")
    probe.compare(("ab", "a"), 0.0, mistakes)
    probe.holds("a symbol that follows nothing has 0")
    summed = sum(probe.call(text, x) for x in sorted(set(text)))
    probe.expect(summed, 1.0, example="the sum over all symbols")
    probe.holds("the probabilities add up to one")
