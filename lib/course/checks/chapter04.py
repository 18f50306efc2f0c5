"""The checks of chapter 04 · Attention."""

import gc
import math
import tracemalloc
import weakref

import torch

from lib.attention import attention, causal_mask
from lib.course.checks.engine import Probe, exercise


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def need_tensor(probe: Probe, got: object, called: str) -> None:
    """Stop unless a tensor came back (a missing return is the engine's to report)."""
    if got is not None:
        probe.require(
            isinstance(got, torch.Tensor), "Return a tensor, as PyTorch's operations give.", called
        )


def need_boolean(probe: Probe, got: object, called: str) -> None:
    need_tensor(probe, got, called)
    if got is not None:
        probe.require(
            got.dtype == torch.bool,
            f"The mask has dtype {str(got.dtype).removeprefix('torch.')}; a boolean one is needed, "
            "True = may look. A comparison such as `a <= b` gives one.",
            called,
        )


# --- 4.1 -----------------------------------------------------------------------------------------


def mixture_of(weigh):
    """A wrong answer to 4.1 that differs from the right one in how scores become weights."""
    return lambda query, keys, values: weigh(keys @ query, query, keys) @ values


def exponential_without_softmax(scores, query, keys):
    return (scores / math.sqrt(len(query))).exp()


ATTEND_MISTAKES = {
    "The scores are not scaled: divide them by the square root of head_dim.": mixture_of(
        lambda s, q, k: s.softmax(0)
    ),
    "You divide by head_dim itself; the standard deviation of a score is its square root.": (
        mixture_of(lambda s, q, k: (s / len(q)).softmax(0))
    ),
    "You divide by the root of the number of keys; what spreads the scores is head_dim, the number "
    "of products in each of them.": mixture_of(lambda s, q, k: (s / math.sqrt(len(k))).softmax(0)),
    "You multiply by the square root of head_dim; the scores must become smaller.": mixture_of(
        lambda s, q, k: (s * math.sqrt(len(q))).softmax(0)
    ),
    "You mix with the scores themselves; the softmax turns them into weights that sum to one.": (
        mixture_of(lambda s, q, k: s / math.sqrt(len(q)))
    ),
    "Your weights do not sum to one: divide the exponentials by their sum.": mixture_of(
        exponential_without_softmax
    ),
    "You divide the scores by their sum, without exponentials: that is no softmax, and fails where "
    "scores are negative.": mixture_of(lambda s, q, k: s / s.sum()),
    "You returned the weights; mix the values with them.": lambda q, k, v: (
        k @ q / math.sqrt(len(q))
    ).softmax(0),
    "You mix the keys; the mixture is of the values.": lambda q, k, v: (
        (k @ q / math.sqrt(len(q))).softmax(0) @ k
    ),
    "You return the value of the best key alone; every key gives its share.": lambda q, k, v: v[
        (k @ q).argmax()
    ],
}


@exercise("4.1", "One query")
def one_query(probe: Probe) -> None:
    keys = torch.tensor([[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]])
    values = torch.tensor([[1.0, 0], [0, 1], [0, 0]])
    for seed, (T, head_dim, value_dim) in enumerate([(3, 4, 2), (5, 4, 3), (6, 9, 5), (1, 2, 1)]):
        args = (random(head_dim, seed=seed), random(T, head_dim, seed=seed + 9))
        args = (*args, random(T, value_dim, seed=seed + 20))
        if seed == 0:
            args = (torch.tensor([2.0, 1.0, 0.0, 0.0]), keys, values)
        got = probe.call(*args)
        need_tensor(probe, got, probe.describe(*args))
        mistakes = {why: (lambda f=f, a=args: f(*a)) for why, f in ATTEND_MISTAKES.items()}
        probe.expect(got, attention(args[0][None], *args[1:])[0], mistakes, probe.describe(*args))
    probe.holds("scaled by the root of head_dim, weights that sum to one, values mixed")
    huge = (torch.tensor([100.0, 0.0]), torch.tensor([[80.0, 0.0], [-80.0, 0.0]]), values[:2])
    why = "Scores in the thousands overflow: subtract the largest before taking exponentials, or "
    why += "leave it to PyTorch's softmax."
    got = probe.call(*huge, on_crash=why)
    need_tensor(probe, got, probe.describe(*huge))
    probe.require(
        got is None or bool(got.isfinite().all()), why, f"{probe.describe(*huge)} gave {got}"
    )
    probe.expect(got, torch.tensor([1.0, 0.0]), example=probe.describe(*huge))
    near = (
        torch.tensor([128.0, 0, 0, 0]),
        torch.tensor([[64.0, 0, 0, 0], [63.96875, 0, 0, 0]]),
        values[:2],
    )
    for args in (near, (near[0], -near[1], near[2])):  # scores of 4096 and 4094, then negative
        got = probe.call(*args, on_crash=why)
        need_tensor(probe, got, probe.describe(*args))
        cut = {
            "Two different large scores get equal weights: subtract the largest score, rather than "
            "cut the scores off or mend the result.": lambda v=args[2]: v.mean(0),
            why: lambda v=args[2]: v.sum(0),
        }
        if got is not None:
            finite = bool(got.isfinite().all())
            probe.require(finite, why, f"{probe.describe(*args)} gave {got}")
        expected = attention(args[0][None], *args[1:])[0]
        probe.expect(got, expected, cut, probe.describe(*args), tolerance=1e-4)
    probe.holds("scores in the thousands do no harm")


# --- 4.2 -----------------------------------------------------------------------------------------


def band(T, low, high):
    """True where low <= i - j <= high, i the query and j the key."""
    places = torch.arange(T)
    distance = places[:, None] - places
    return (distance >= low) & (distance <= high)


WINDOW_MISTAKES = {
    "Your mask lets every position look at its whole past; the window ends it.": lambda T, w: band(
        T, 0, T
    ),
    "Your window also covers the future, on the other side of the diagonal.": lambda T, w: band(
        T, 1 - w, w - 1
    ),
    "Your mask is transposed: rows are queries, and they look at keys further left.": lambda T, w: (
        band(T, 1 - w, 0)
    ),
    "Your window is one position too wide: it counts the position itself.": lambda T, w: band(
        T, 0, w
    ),
    "Your window is one position too narrow: it holds `window` positions, its own included.": (
        lambda T, w: band(T, 0, w - 2)
    ),
    "You cut the text into blocks; the window moves with each position.": lambda T, w: (
        band(T, 0, T) & (torch.arange(T)[:, None] // w == torch.arange(T) // w)
    ),
    "Your mask hides each position from itself.": lambda T, w: band(T, 1, w - 1),
    "Your mask hides each position from itself, and so begins one position too early.": (
        lambda T, w: band(T, 1, w)
    ),
    "Your mask is inverted: True means *may look*.": lambda T, w: ~band(T, 0, w - 1),
    "You kept what the window should cut off: the far past, and not the near.": lambda T, w: band(
        T, w, T
    ),
}


@exercise("4.2", "A sliding window")
def sliding_window(probe: Probe) -> None:
    for claim, cases in (
        ("each position sees itself and the positions before it in its window", [(5, 2), (6, 3)]),
        ("a window of 1 leaves each position alone with itself", [(4, 1)]),
        ("a window as wide as the text, or wider, is the causal mask", [(4, 4), (3, 7), (1, 1)]),
    ):
        for T, window in cases:
            got = probe.call(T, window)
            called = probe.describe(T, window)
            need_boolean(probe, got, called)
            mistakes = {
                why: (lambda f=f, T=T, w=window: f(T, w)) for why, f in WINDOW_MISTAKES.items()
            }
            probe.expect(got, band(T, 0, window - 1), mistakes, called)
        probe.holds(claim)


# --- 4.3 -----------------------------------------------------------------------------------------


def right_heads(x, n_head):
    return x.unflatten(2, (n_head, -1)).transpose(1, 2)


SPLIT_MISTAKES = {
    "A `view` or `reshape` straight to (B, n_head, T, head_dim) leaves the numbers in their order "
    "in memory: your head 0 holds whole early positions, and not its part of every position.": (
        lambda x, n: x.reshape(x.shape[0], n, x.shape[1], -1)
    ),
    "Your head takes every n_head-th number; its numbers lie side by side.": lambda x, n: (
        x.unflatten(2, (-1, n)).permute(0, 3, 1, 2)
    ),
    "The heads still stand behind the positions: exchange dimensions 1 and 2.": lambda x, n: (
        x.unflatten(2, (n, -1))
    ),
    "The last two dimensions are exchanged: head_dim comes last.": lambda x, n: right_heads(
        x, n
    ).transpose(2, 3),
    "The heads have been laid into the batch; they need a dimension of their own.": lambda x, n: (
        right_heads(x, n).flatten(0, 1)
    ),
    "You made heads of size n_head; n_head is how many there are.": lambda x, n: x.unflatten(
        2, (-1, n)
    ).transpose(1, 2),
}


@exercise("4.3", "Splitting the heads")
def splitting(probe: Probe) -> None:
    for claim, cases in (
        ("each head has its own part of every position", [(1, 2, 6, 3), (2, 3, 8, 2)]),
        (
            "so also for one head, one position, and heads of one number",
            [(2, 3, 4, 1), (1, 1, 6, 2)],
        ),
        ("and for a larger batch", [(3, 5, 12, 12), (4, 7, 12, 4)]),
    ):
        for B, T, C, n_head in cases:
            x = torch.arange(B * T * C).view(B, T, C)
            got = probe.call(x, n_head)
            called = probe.describe(x, n_head)
            need_tensor(probe, got, called)
            mistakes = {
                why: (lambda f=f, x=x, n=n_head: f(x, n)) for why, f in SPLIT_MISTAKES.items()
            }
            probe.expect(got, right_heads(x, n_head), mistakes, called)
        probe.holds(claim)


# --- 4.4 -----------------------------------------------------------------------------------------


def joined(ids, pad_id, triangle=None, hide="keys"):
    """The mask of 4.4 with another triangle, or with padding hidden along another dimension."""
    T = ids.shape[1]
    real = ids != pad_id
    triangle = causal_mask(T) if triangle is None else triangle
    keys = real[:, None, None, :].expand(-1, 1, T, T)
    queries = real[:, None, :, None].expand(-1, 1, T, T)
    return triangle & {"keys": keys, "queries": queries, "both": keys & queries}[hide]


def by_count(ids, pad_id, left):
    """The mask of 4.4 for one who counts the padding and assumes on which side it stands."""
    padding = (ids == pad_id).sum(dim=1)[:, None, None, None]
    places, T = torch.arange(ids.shape[1]), ids.shape[1]
    return causal_mask(T) & (places >= padding if left else places < T - padding)


def all_true(ids):
    return torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool)


TEXT_MASK_MISTAKES = {
    "Your mask forgets the past and the future: a query may look at no later key.": lambda i, p: (
        joined(i, p, all_true(i))
    ),
    "Your mask has the shape (B, 1, 1, T) of the padding alone; the causal mask is missing.": (
        lambda i, p: (i != p)[:, None, None, :]
    ),
    "Your mask forgets the padding: it is the causal mask alone.": lambda i, p: joined(
        i, p - p - 1
    ).expand(len(i), 1, -1, -1),
    "Your mask also hides real keys from the padding; what padding sees does not matter, but here "
    "only the keys were to be hidden.": lambda i, p: joined(i, p, hide="both"),
    "Your mask hides queries, not keys: padding sees nothing, and real tokens still see padding.": (
        lambda i, p: joined(i, p, hide="queries")
    ),
    "Your mask lets padding look at itself; it is no key for anyone. A row without any True "
    "does no harm: that query takes nothing.": lambda i, p: (
        joined(i, p) | torch.eye(i.shape[1], dtype=torch.bool)
    ),
    "You take the padding to stand on the right; it may also stand on the left.": lambda i, p: (
        by_count(i, p, left=False)
    ),
    "You take the padding to stand on the left; it may also stand on the right.": lambda i, p: (
        by_count(i, p, left=True)
    ),
    "You hide the id 0; what is padding, `pad_id` says.": lambda i, p: joined(i, 0),
    "Your mask is inverted: True means *may look*.": lambda i, p: ~joined(i, p),
    "Your mask lets queries look at padding only: compare with `!=`.": lambda i, p: (
        causal_mask(i.shape[1]) & (i == p)[:, None, None, :]
    ),
    "The triangle is transposed: a query sees keys further left, in the past.": lambda i, p: joined(
        i, p, causal_mask(i.shape[1]).T
    ),
    "Past and padding are joined by *or*; a key must be in the past *and* be real.": lambda i, p: (
        causal_mask(i.shape[1]) | (i != p)[:, None, None, :]
    ),
    "The dimension of the heads is missing: (B, 1, T, T).": lambda i, p: joined(i, p)[:, 0],
}


@exercise("4.4", "Texts of unequal length")
def unequal_lengths(probe: Probe) -> None:
    for claim, cases in (
        ("padding on the left is hidden", [([[0, 5, 6]], 0), ([[0, 5, 6, 7], [0, 0, 0, 4]], 0)]),
        ("padding on the right is hidden", [([[5, 6, 0]], 0), ([[5, 6, 7], [8, 0, 0]], 0)]),
        ("without padding it is the causal mask", [([[5, 6, 7]], 0)]),
        ("whatever the id of the padding", [([[0, 3, 9], [0, 9, 9]], 9)]),
    ):
        for ids, pad_id in cases:
            ids = torch.tensor(ids)
            got = probe.call(ids, pad_id)
            called = probe.describe(ids, pad_id)
            need_boolean(probe, got, called)
            mistakes = {
                why: (lambda f=f, i=ids, p=pad_id: f(i, p)) for why, f in TEXT_MASK_MISTAKES.items()
            }
            probe.expect(got, joined(ids, pad_id), mistakes, called)
        probe.holds(claim)


# --- 4.5 -----------------------------------------------------------------------------------------


def root(n, up=False):
    return math.isqrt(n - 1) + 1 if up and n else math.isqrt(n)


LONGEST_MISTAKES = {
    "You count T weights a head; there are T for each of T queries.": lambda m, B, n, b: (
        m // (B * n * b)
    ),
    "Every head has its own table of weights; you count one table for all.": lambda m, B, n, b: (
        root(m // (B * b))
    ),
    "Every text of the batch has its own tables.": lambda m, B, n, b: root(m // (n * b)),
    "You count numbers, not bytes: each takes bytes_per_number.": lambda m, B, n, b: root(
        m // (B * n)
    ),
    "You count bits; one byte is 8 of them, and the sizes here are in bytes.": lambda m, B, n, b: (
        root(m // (8 * B * n * b))
    ),
    "A float holds only about 16 digits: the root of a very large number needs `math.isqrt`.": (
        lambda m, B, n, b: int(math.sqrt(m / (B * n * b)))
    ),
    "You rounded up (or to the nearest); then the weights no longer fit.": lambda m, B, n, b: root(
        m // (B * n * b), up=True
    ),
    "You count only the half below the diagonal; held at once is the whole square.": (
        lambda m, B, n, b: root(2 * m // (B * n * b))
    ),
}


@exercise("4.5", "How long a text fits?")
def how_long(probe: Probe) -> None:
    for claim, cases in (
        ("T² weights for each head of each text", [(1600, 1, 1, 4), (86_400, 2, 3, 4)]),
        ("rounded down where the root is not whole", [(3000, 1, 2, 4), (2**31, 8, 12, 4)]),
        ("numbers of two bytes", [(2**30, 4, 16, 2)]),
        ("exact for very large memories, and 0 where nothing fits", [(10**32 - 1, 1, 1, 1)]),
    ):
        for args in cases:
            memory, B, n_head, size = args
            got = probe.compare(
                args, math.isqrt(memory // (B * n_head * size)), LONGEST_MISTAKES, 0.0
            )
            probe.require(
                isinstance(got, int), "Return an int: a text has a whole number of tokens."
            )
        if "0 where" in claim:
            probe.compare((3, 1, 1, 4), 0)
        probe.holds(claim)


# --- 4.6 -----------------------------------------------------------------------------------------


def numbers_held():
    """How many numbers all tensors alive hold together."""
    return sum(thing.numel() for thing in gc.get_objects() if type(thing) is torch.Tensor)


class Pairs:
    """Pairs (key, value) that are made when asked for, and counts of how many are still alive.

    A store of pairs in another form shows elsewhere: `grown` is by how many bytes Python's objects
    (`tracemalloc`) and the numbers in tensors have grown from pair 200 to the last but 100.
    """

    def __init__(self, keys, values, name):
        self.keys, self.values, self.name, self.most_alive, self.passes = keys, values, name, 0, 0
        self.grown = (0, 0)

    def __iter__(self):
        self.passes += 1
        alive, self.grown = [], (0, 0)
        rows = zip(self.keys.tolist(), self.values.tolist(), strict=True)
        for place, (key, value) in enumerate(rows, start=1):
            key, value = torch.tensor(key), torch.tensor(value)
            alive = [ref for ref in alive if ref() is not None]
            alive += [weakref.ref(key), weakref.ref(value)]
            self.most_alive = max(self.most_alive, len(alive) // 2)
            yield key, value
            del key, value
            if len(self.keys) > 1000 and place in (200, len(self.keys) - 100):
                now = tracemalloc.get_traced_memory()[0], numbers_held()
                self.grown = tuple(n - b for n, b in zip(now, self.grown, strict=True))

    def __deepcopy__(self, memo):
        return self  # so that the check can read the counts after the call

    def __repr__(self):
        return self.name


def sums(query, pairs, rescale_total=True, rescale_mixture=True, maximum=True):
    """Streaming attention with one of its parts left out."""
    largest, total, mixture = torch.tensor(-math.inf), torch.tensor(0.0), torch.tensor(0.0)
    for key, value in zip(pairs.keys, pairs.values, strict=True):
        score = query @ key / math.sqrt(len(query))
        new = torch.maximum(largest, score) if maximum else torch.tensor(0.0)
        shrink = (largest - new).exp() if maximum else 1.0
        total = total * (shrink if rescale_total else 1.0) + (score - new).exp()
        mixture = mixture * (shrink if rescale_mixture else 1.0) + (score - new).exp() * value
        largest = new
    return mixture / total


def unscaled(query, pairs):
    return attention(query[None] * math.sqrt(len(query)), pairs.keys, pairs.values)[0]


def mean_of_values(query, pairs):
    return pairs.values.mean(0)


def undivided(query, pairs):
    scores = pairs.keys @ query / math.sqrt(len(query))
    return (scores - scores.max()).exp() @ pairs.values


STREAM_MISTAKES = {
    "When a larger score comes, the sum of the exponentials must shrink by the same factor as the "
    "mixture.": lambda q, p: sums(q, p, rescale_total=False),
    "When a larger score comes, the mixture must shrink by the same factor as the sum of the "
    "exponentials.": lambda q, p: sums(q, p, rescale_mixture=False),
    "When a larger score comes, what was summed so far is too large: both sums must shrink by "
    "exp(old largest - new largest).": lambda q, p: sums(
        q, p, rescale_total=False, rescale_mixture=False
    ),
    "The scores are not scaled: divide them by the square root of head_dim.": unscaled,
    "You return the plain mean of the values; each counts by its weight.": mean_of_values,
    "The mixture still has to be divided by the sum of the exponentials.": undivided,
}
OVERFLOW = (
    "Large scores overflow: keep the largest score so far, and take exponentials relative to it."
)


@exercise("4.6", "Attention without keeping the scores")
def streaming(probe: Probe) -> None:
    def run(query, pairs):
        got = probe.call(query, pairs, on_crash=OVERFLOW if "huge" in pairs.name else "")
        need_tensor(probe, got, probe.describe(query, pairs))
        expected = attention(query[None].double(), pairs.keys.double(), pairs.values.double())[0]
        called = probe.describe(query, pairs)
        if got is not None:
            finite = bool(torch.as_tensor(got).isfinite().all())
            probe.require(finite, OVERFLOW, f"{called} returned {got}")
        mistakes = {why: (lambda f=f: f(query, pairs)) for why, f in STREAM_MISTAKES.items()}
        probe.expect(got, expected.float(), mistakes, called, tolerance=1e-4)

    falling = torch.tensor([[2.0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    values = torch.tensor([[1.0, 0], [0, 1], [5, 5]])
    query = torch.tensor([2.0, 0.0, 0.0, 0.0])
    run(query, Pairs(falling, values, "three pairs, the largest score first"))
    probe.holds("right when the largest score comes first")
    run(query, Pairs(falling.flip(0), values, "three pairs, the largest score last"))
    run(query, Pairs(-falling, values, "three pairs, all scores negative or zero"))
    probe.holds("right when scores grow along the way, and when they are negative")
    many = Pairs(random(1500, 4, seed=1), random(1500, 3, seed=2), "1500 random pairs")
    gc.collect()
    was_tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        run(query, many)
    finally:
        if not was_tracing:
            tracemalloc.stop()
    probe.require(
        many.passes == 1, "You go through the pairs more than once; they come a single time."
    )
    probe.require(
        many.most_alive <= 64,  # a block of keys at a time is what the fused kernel does
        "You keep the keys or values that have gone by; keep only a few running quantities.",
        f"{many.most_alive} of 1500 pairs were held at once",
    )
    probe.require(
        many.grown[0] < 24_000 and many.grown[1] < 1000,
        "What you keep grows with the number of pairs: keep neither scores nor copies of the keys "
        "and values, only a few running quantities.",
        f"over 1200 pairs it grew by {many.grown[0]} bytes and {many.grown[1]} numbers in tensors",
    )
    probe.holds("one pass over 1500 pairs, without keeping them")
    keys = torch.linspace(-60, 60, 7)[:, None] * torch.tensor([100.0, 0, 0, 0])
    run(query, Pairs(keys, random(7, 2, seed=3), "seven pairs with huge growing scores"))
    run(query, Pairs(keys.flip(0), random(7, 2, seed=3), "seven pairs with huge falling scores"))
    run(query, Pairs(keys[:2], random(2, 2, seed=3), "two pairs with huge negative scores"))
    probe.holds("scores in the thousands do no harm")


# --- 4.7 -----------------------------------------------------------------------------------------


def shares(got, T):
    """The weights of the learner's head, causal, (T, T)."""
    W_q, W_k = (w.float() for w in got)
    scores = W_q @ W_k.T / math.sqrt(T)  # with one-hot input, q = W_q and k = W_k
    return scores.masked_fill(~causal_mask(T), -math.inf).softmax(dim=-1)


def weights_on(matrix, offset):
    return matrix.diagonal(offset).min().item() if matrix.shape[0] > abs(offset) else 1.0


@exercise("4.7", "A head built by hand")
def built_by_hand(probe: Probe) -> None:
    for T in (3, 2, 12, 64):
        got = probe.call(T)
        called = probe.describe(T)
        if got is None:
            probe.expect(got, (torch.eye(T), torch.eye(T)), example=called)
        pair = isinstance(got, (tuple, list)) and len(got) == 2
        probe.require(pair, "Return two matrices: `W_q, W_k`.", called)
        probe.require(
            all(isinstance(w, torch.Tensor) and w.shape == (T, T) for w in got),
            f"Both matrices must be tensors of shape ({T}, {T}).",
            called,
        )
        real = not any(w.is_complex() for w in got)
        probe.require(real, "Both matrices must hold real numbers.", called)
        finite = all(bool(w.isfinite().all()) for w in got)
        probe.require(finite, "Use finite numbers: an infinite weight gives nan.", called)
        w = shares(got, T)
        probe.require(w.isfinite().all(), "Your scores overflow: use smaller numbers.", called)
        shown = f"{called}: the last position gives {w[-1, -2]:.3f} to the one before it"
        shown += f", {w[-1, -1]:.3f} to itself"
        if weights_on(w, -1) >= 0.99:
            continue
        swapped = shares((got[1], got[0]), T)  # keys ask, queries answer
        probe.require(
            weights_on(w[1:, 1:], 0) < 0.51, "Your head looks at its own position; shift it.", shown
        )
        reversed_better = weights_on(swapped, -1) > max(0.5, weights_on(w, -1) + 0.1)
        probe.require(
            not reversed_better,
            "Your head asks for the *next* position, which the mask hides: shift the other way.",
            shown,
        )
        before = w.diagonal(-1)
        largest = w[1:].amax(dim=1)
        best = bool((before >= largest - 1e-6).all()) and bool((before > 1.5 * w[1:, 0])[1:].all())
        probe.require(
            not best,
            "The previous position has the largest score, but the softmax shares out too much of "
            "the weight: make that score larger, and remember the division by √T.",
            shown,
        )
        probe.require(False, "Not every position looks at the one before it.", shown)
    probe.holds("at least 0.99 of the weight on the previous position, for T of 2, 3, 12 and 64")
