"""The checks of chapter 13, LoRA."""

import math
from numbers import Real
from types import SimpleNamespace

import torch
from torch import nn

from lib.course.checks.engine import Probe, exercise


def numbers(*size: int, seed: int = 0) -> torch.Tensor:
    """Random numbers, always the same."""
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def matrix(value) -> torch.Tensor:
    """A tensor, an array or nested lists as a tensor in float32: the kind is the learner's."""
    return torch.as_tensor(value).detach().float()


def two_matrices(probe: Probe, got, example: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The pair that an answer should be."""
    pair = isinstance(got, (tuple, list)) and len(got) == 2
    probe.require(pair, "Return two matrices.", example)
    return tuple(matrix(part) for part in got)


# --- 13.1 ----------------------------------------------------------------------------------------


def pieces(weigh=lambda s: s, last=False, more=0, begin=0):
    """A sum of r pieces of the singular value decomposition, with the usual mistakes as options."""

    def run(delta, r):
        u, s, vt = torch.linalg.svd(delta, full_matrices=False)
        r = min(r + more, len(s))
        part = slice(len(s) - r, len(s)) if last else slice(begin, begin + r)
        return u[:, part] * weigh(s[part]) @ vt[part]

    return run


LOW_RANK_MISTAKES = {
    "The singular values are missing: the pieces u vᵀ are of length one, and each has to be "
    "stretched by its own.": pieces(torch.ones_like),
    "The singular values went into both matrices, so that they count twice: into one of the two, "
    "or their roots into both.": pieces(torch.square),
    "Only the roots of the singular values are in the product: either all of s goes into one "
    "matrix, or the root of s into both.": pieces(torch.sqrt),
    "You kept the smallest pieces; they come in descending order, so the first r are the "
    "largest.": pieces(last=True),
    "The third thing that `torch.linalg.svd` returns is transposed already: its rows are the "
    "directions.": lambda delta, r: (lambda u, s, vt: u[:, :r] * s[:r] @ vt.T[:r])(
        *torch.linalg.svd(delta, full_matrices=False)
    ),
    "The first piece, the largest, is missing: Python counts from 0.": pieces(begin=1),
    "You kept one piece too many.": pieces(more=1),
    "You kept one piece too few.": pieces(more=-1),
    "The first r columns of the update were kept and the rest thrown away; that has rank r, but is "
    "not the best.": lambda delta, r: torch.cat([delta[:, :r], 0 * delta[:, r:]], 1),
    "The first r rows of the update were kept and the rest thrown away; that has rank r, but is "
    "not the best.": lambda delta, r: torch.cat([delta[:r], 0 * delta[r:]]),
    "The update came back as it was, with a larger rank than r.": lambda delta, r: delta,
}


@exercise("13.1", "The best of low rank")
def low_rank(probe: Probe) -> None:
    transposed = (
        "The shapes do not meet: B is (m, r), A is (r, n). Of the first thing that "
        "`torch.linalg.svd` returns, the columns are directions; the third is transposed already, "
        "so of it the rows are."
    )
    for size, r in [((5, 4), 2), ((4, 6), 1), ((4, 6), 3)]:
        delta = numbers(*size)
        example = probe.describe(delta, r)
        got = probe.call(delta, r, on_crash=transposed)
        B, A = two_matrices(probe, got, example)
        shapes = f"{example}\nreturned  shapes {tuple(B.shape)} and {tuple(A.shape)}"
        m, n = size
        probe.require(
            (tuple(B.shape), tuple(A.shape)) != ((r, n), (m, r)),
            "A came first; the exercise asks for B, then A.",
            shapes,
        )
        probe.require(B.ndim == 2 and A.ndim == 2 and B.shape[1] == A.shape[0], transposed, shapes)
        mistakes = {t: (lambda w=w, d=delta, r=r: w(d, r)) for t, w in LOW_RANK_MISTAKES.items()}
        product, best = B @ A, pieces()(delta, r)
        shown = f"B @ A of {example}"
        if product.shape == best.shape:
            far, near = ((delta - found).square().sum() for found in (product, best))
            shown += f"\nsquared difference {far:.4g}, the smallest possible {near:.4g}"
        probe.expect(product, best, mistakes, shown, 1e-4)
        wanted = (m, r), (r, n)
        probe.require(
            (tuple(B.shape), tuple(A.shape)) == wanted,
            f"The product is right, but the shapes should be {wanted[0]} and {wanted[1]}.",
            shapes,
        )
    probe.holds("B @ A is the nearest matrix of rank r, from r (m + n) numbers")


# --- 13.2 ----------------------------------------------------------------------------------------


def layer_with(factor, base=1.0):
    """The layer in evaluation mode, with another factor than alpha / r."""

    def run(x, W, A, B, alpha, *rest):
        return base * (x @ W.T) + factor(alpha, len(A)) * x @ A.T @ B.T

    return run


LAYER_MISTAKES = {
    "The update is not scaled: alpha / r is missing.": layer_with(lambda alpha, r: 1.0),
    "The update is scaled by alpha; it is alpha / r.": layer_with(lambda alpha, r: alpha),
    "The update is scaled by 1 / r; alpha is missing.": layer_with(lambda alpha, r: 1 / r),
    "The fraction is upside down: it is alpha / r.": layer_with(lambda alpha, r: r / alpha),
    "The update is scaled by alpha · r; it is alpha / r.": layer_with(lambda alpha, r: alpha * r),
    "You divided by the root of r. That exists (rsLoRA), but here it is alpha / r.": layer_with(
        lambda alpha, r: alpha / math.sqrt(r)
    ),
    "You divided by the width of the layer; r is the number of rows of A.": (
        lambda x, W, A, B, alpha, *rest: x @ W.T + alpha / A.shape[1] * x @ A.T @ B.T
    ),
    "The base is missing: this is the update alone.": layer_with(lambda a, r: a / r, base=0.0),
    "The adapter has no effect: this is the base alone.": layer_with(lambda alpha, r: 0.0),
    "The base was scaled too; alpha / r belongs to the update.": lambda x, W, A, B, alpha, *rest: (
        alpha / len(A) * (x @ W.T + x @ A.T @ B.T)
    ),
    "The update was subtracted.": layer_with(lambda alpha, r: -alpha / r),
    "The product is transposed: x @ W is not x @ W.T, and here only the square shape hides "
    "it.": lambda x, W, A, B, alpha, *rest: x @ W + alpha / len(A) * x @ A.T @ B.T,
    "The product of the adapter is transposed: x @ (B A) is not x @ (B A).T, and here only the "
    "square shape hides it.": lambda x, W, A, B, alpha, *rest: (
        x @ W.T + alpha / len(A) * x @ (B @ A)
    ),
}


@exercise("13.2", "The layer")
def layer(probe: Probe) -> None:
    crash = (
        "The shapes do not meet. A row of x is a vector, so a matrix W turns it into `x @ W.T`: "
        "first A, then B, each transposed."
    )
    for n_in, n_out, r, alpha in [(3, 3, 2, 5.0), (4, 3, 2, 6.0), (2, 6, 4, 3.0)]:
        args = numbers(5, n_in), numbers(n_out, n_in, seed=1), numbers(r, n_in, seed=2)
        args = (*args, numbers(n_out, r, seed=3), alpha)
        expected = layer_with(lambda alpha, r: alpha / r)(*args)
        probe.compare((*args, 0.0, False), expected, LAYER_MISTAKES, 1e-4, on_crash=crash)
    probe.holds("base and update, with alpha / r, for any shapes")
    quiet = matrix(probe.call(*args, 0.25, False))
    probe.require(
        torch.allclose(quiet, expected, atol=1e-4),
        "With training=False there is still dropout: `F.dropout` drops unless its argument "
        "`training` says otherwise. Such a layer never agrees with its merged self.",
        probe.describe(*args, 0.25, False),
    )
    probe.holds("no dropout outside training")
    x, W, A, B, alpha = args
    base = matrix(probe.call(x, W, A, 0 * B, alpha, 0.25, True))
    probe.require(
        torch.allclose(base, x @ W.T, atol=1e-4),
        "With B = 0 the answer should be the base's, in training too: dropout has reached the "
        "base.",
        probe.describe(x, W, A, 0 * B, alpha, 0.25, True),
    )
    ones = torch.ones(2000, 2), torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 1), 1.0
    updates = matrix(probe.call(*ones, 0.25, True)).flatten()
    found = set(updates.round(decimals=2).tolist())
    example = f"x of ones (2000, 2), W = 0, A = (1, 1), B = 1, dropout 0.25: {sorted(found)[:5]}"
    wrong = {
        "In training, nothing is dropped.": [2.0],
        "What was dropped is whole updates; dropout is for the adapter's input, each number by "
        "itself.": [0.0, 2.67],
        "What is kept is not scaled up: with a share p dropped, the rest is divided by 1 - p.": [
            *(0.0, 1.0, 2.0)
        ],
        "The share p was kept and the rest dropped; it is the other way round.": [0.0, 4.0, 8.0],
    }
    values = [round(value, 2) for value in sorted(found)]
    for diagnosis, value in wrong.items():
        probe.require(values != value, diagnosis, example)
    probe.require(
        len(values) > 1,
        "All rows of x lost the same numbers, or A did: each number of x is dropped by itself.",
        example,
    )
    probe.require(
        values == [0.0, 1.33, 2.67],
        "Each input is 0 or 1 / 0.75, so an update adds up to 0, 1.33 or 2.67. Is the share that "
        "was asked for the one that is dropped?",
        example,
    )
    kept = updates.mean().item() * 0.75 / 2
    shown = f"{example}\nshare of the inputs that was kept: {kept:.2f}"
    probe.require(
        abs(kept - 0.25) > 0.05,
        "The share p was kept and the rest dropped; it is the other way round.",
        shown,
    )
    probe.require(abs(kept - 0.75) < 0.05, "The share that is dropped is not `dropout`.", shown)
    again = matrix(probe.call(*ones, 0.25, True)).flatten()
    probe.require(
        not torch.equal(updates, again),
        "Every call drops the very same numbers: draw them anew, without a seed of your own.",
        example,
    )
    probe.holds("dropout in training, on the adapter's input alone")


# --- 13.3 ----------------------------------------------------------------------------------------


@exercise("13.3", "The start")
def start(probe: Probe) -> None:
    n_in, n_out, rank = 400, 30, 50
    example = probe.describe(n_in, n_out, rank)
    got = probe.call(n_in, n_out, rank)
    A, B = two_matrices(probe, got, example)
    shown = f"{example}\nreturned  shapes {tuple(A.shape)} and {tuple(B.shape)}"
    swapped = (tuple(A.shape), tuple(B.shape)) == ((n_out, rank), (rank, n_in))
    probe.require(not swapped, "B came first; return A, then B.", shown)
    turned = (tuple(A.shape), tuple(B.shape)) == ((n_in, rank), (rank, n_out))
    probe.require(not turned, "Both are transposed: A is (rank, n_in), B is (n_out, rank).", shown)
    right = (tuple(A.shape), tuple(B.shape)) == ((rank, n_in), (n_out, rank))
    probe.require(right, "A is (rank, n_in) and B is (n_out, rank).", shown)
    zero_A, zero_B = not A.any(), not B.any()
    probe.require(
        not (zero_A and zero_B),
        "Both are zero. Then the gradient of B, which has A x as a factor, is zero, and that of A, "
        "which has B, too: nothing would ever be learned.",
        example,
    )
    probe.require(
        not zero_A,
        "A is zero and B is random. That would learn too, but the exercise asks for A at random.",
        example,
    )
    probe.require(
        zero_B,
        "B A is not zero: the model would be another one before anything was learned, and worse. "
        "Not even small numbers will do.",
        f"{example}\nlargest number of B @ A: {(B @ A).abs().max():.3g}",
    )
    probe.require(
        all(part.is_floating_point() for part in got if isinstance(part, torch.Tensor)),
        "These are whole numbers (their dtype says so), which cannot learn.",
        example,
    )
    probe.holds("no effect at first, and B has a gradient")
    repeats = "A's rows are the same", "A's columns are the same"
    for dim, diagnosis in enumerate(repeats):
        n = len(torch.unique(A, dim=dim)) if dim == 0 else torch.unique(A, dim=1).shape[1]
        probe.require(
            n > 0.9 * A.shape[dim],
            f"Many of {diagnosis}: draw every number of A by itself.",
            f"{example}\n{n} of {A.shape[dim]} differ",
        )
    mean, variance = A.mean().item(), A.var().item() * n_in
    shown = f"{example}\nmean of A {mean:.4f}, variance of A times n_in {variance:.4f}"
    probe.require(
        abs(mean) < 5 / math.sqrt(n_in * A.numel()) or A.var() > 0.5,
        "The numbers of A do not have mean 0"
        + (": `torch.rand` gives none below 0." if A.min() >= 0 else "."),
        shown,
    )
    wrong = {
        "The variance is 1: then A x grows with n_in. Divide by √n_in.": n_in,
        "The standard deviation is 1 / n_in; the variance should be, so divide by the root.": (
            1 / n_in
        ),
        "The variance is 1 / rank; it is n_in numbers that A x adds up.": n_in / rank,
        "The variance is 1 / n_out; it is n_in numbers that A x adds up.": n_in / n_out,
        "The variance is 2 / (n_in + rank), as Xavier's: here it is 1 / n_in.": (
            2 * n_in / (n_in + rank)
        ),
        "The variance is a third of what it should be: a uniform number from -1 to 1 has variance "
        "1/3.": 1 / 3,
        "The variance is 2 / n_in. That belongs before a ReLU; here it is 1 / n_in.": 2.0,
    }
    for diagnosis, value in wrong.items():
        probe.require(not math.isclose(variance, value, rel_tol=0.06), diagnosis, shown)
    probe.require(math.isclose(variance, 1, rel_tol=0.06), "The variance is not 1 / n_in.", shown)
    rows = A.var(1) * n_in
    probe.require(
        rows.min() > 0.5 and rows.max() < 1.5,
        "Some rows of A are larger than others; all have variance 1 / n_in.",
        f"{example}\nvariance of a row times n_in: from {rows.min():.2f} to {rows.max():.2f}",
    )
    again, _ = two_matrices(probe, probe.call(n_in, n_out, rank), example)
    probe.require(
        not torch.equal(A, again), "Two adapters begin with the very same A: draw it anew.", example
    )
    probe.holds("A at random, with variance 1 / n_in")


# --- 13.4 ----------------------------------------------------------------------------------------


def counted(rule, share=lambda n, whole: n / whole):
    """A count by a rule for one layer, and a share."""

    def run(shapes, rank):
        n = sum(rule(n_out, n_in, rank) for n_out, n_in in shapes)
        return n, share(n, sum(n_out * n_in for n_out, n_in in shapes))

    return run


def one_layer(n_out, n_in, rank):
    return rank * (n_out + n_in)


COUNT_MISTAKES = {
    "A and B are added, not multiplied: rank · n_in + n_out · rank.": lambda o, i, r: r * o * i,
    "You counted A alone; B has rank · n_out numbers more.": lambda o, i, r: r * i,
    "You counted B alone; A has rank · n_in numbers more.": lambda o, i, r: r * o,
    "You took both to be as wide as the input; B has n_out rows.": lambda o, i, r: 2 * r * i,
    "You took both to be as wide as the output; A has n_in columns.": lambda o, i, r: 2 * r * o,
    "The rank is missing.": lambda o, i, r: o + i,
    "There is a bias for each output: LoRA has A and B only.": lambda o, i, r: r * (o + i) + o,
    "These are bytes; count numbers.": lambda o, i, r: 4 * r * (o + i),
    "There is an r × r matrix too many: LoRA has A and B only.": (
        lambda o, i, r: r * (o + i) + r * r
    ),
    "The frozen weights are counted too; they do not learn.": lambda o, i, r: o * i + r * (o + i),
}


@exercise("13.4", "Counting")
def counting(probe: Probe) -> None:
    for shapes, rank in [([(3, 7)], 2), ([(96, 40), (48, 32)], 8), ([(1536, 576)] * 3, 16)]:
        example = probe.describe(shapes, rank)
        got = probe.call(shapes, rank)
        pair = isinstance(got, (tuple, list)) and len(got) == 2
        probe.require(pair, "Return two numbers: the count and its share.", example)
        n, share = counted(one_layer)(shapes, rank)
        mistakes = {t: counted(rule)(shapes, rank)[0] for t, rule in COUNT_MISTAKES.items()}
        mistakes |= {
            "Only the first layer was counted, or layers of one shape only once.": one_layer(
                *shapes[0], rank
            ),
            "Only the last layer was counted.": one_layer(*shapes[-1], rank),
            "The share came first; return the count, then its share.": share,
        }
        got = [float(v) if isinstance(v, Real) and not isinstance(v, bool) else v for v in got]
        probe.expect(got[0], n, mistakes, f"count of {example}")
        whole = n / share
        wrong = {
            "The share is of all numbers, the adapter's own included; the exercise asks for the "
            "share of the matrices' own weights.": n / (n + whole),
            "The share is in percent; return the fraction.": 100 * share,
            "The fraction is upside down.": 1 / share,
            "This is the share of the first layer's weights; take those of all layers.": (
                n / (shapes[0][0] * shapes[0][1])
            ),
            "This is the mean of the layers' shares; large layers count for more.": sum(
                one_layer(o, i, rank) / (o * i) for o, i in shapes
            )
            / len(shapes),
        }
        wrong |= {
            f"The share is rounded to {digits} digits; return it as it is.": round(share, digits)
            for digits in (1, 2, 3, 4)
        }
        probe.expect(got[1], share, wrong, f"share of {example}")
    probe.holds("rank · (n_in + n_out) numbers a layer, and their share")


# --- 13.5 ----------------------------------------------------------------------------------------


def new_layer(merged: bool = False) -> SimpleNamespace:
    W, A, B = numbers(4, 4), numbers(2, 4, seed=1), numbers(4, 2, seed=2)
    weight = W + 1.5 * B @ A if merged else W
    return SimpleNamespace(weight=weight, A=A, B=B, alpha=3.0, merged=merged)


def merged_mistakes(start: torch.Tensor, sign: int) -> dict:
    A, B = new_layer().A, new_layer().B
    return {
        "The scale alpha / r is forgotten: the merged layer is another one than the unmerged.": (
            start + sign * B @ A
        ),
        "The update is divided by the width of the layer; r is the number of rows of A.": (
            start + sign * 0.75 * B @ A
        ),
        "The update is scaled by alpha and not divided by r.": start + sign * 3.0 * B @ A,
        "The product is transposed: it is B A, of the shape of the weight, and here only the "
        "square shape hides it.": start + sign * 1.5 * (B @ A).T,
        "The update took the weight's place; it is added to it.": 1.5 * B @ A,
        "The update was added where it has to be taken out, or the other way round.": (
            start - sign * 1.5 * B @ A
        ),
        "Nothing has happened to the weight.": start,
        "The update was counted twice.": start + sign * 3.0 * B @ A,
    }


@exercise("13.5", "Merge and unmerge")
def merge_and_unmerge(probe: Probe) -> None:
    def step(layer, wanted, mistakes):
        before = "merged" if layer.merged else "not merged"
        example = f"a layer that is {before}, wanted: {wanted}"
        got = probe.call(layer, wanted)
        layered = all(hasattr(got, name) for name in vars(layer))
        probe.require(layered, "Return the layer itself, with all that it had.", example)
        expected = new_layer(wanted).weight
        probe.expect(got.weight, expected, mistakes, f"weight of {example}", 1e-4)
        probe.require(
            got.merged == wanted,
            "`merged` does not say what was done: the next call would do it again.",
            example,
        )
        same = torch.equal(got.A, layer.A) and torch.equal(got.B, layer.B)
        probe.require(same, "A or B was changed; they are needed to take the update out.", example)
        return got

    plain, full = new_layer().weight, new_layer(True).weight
    layer = step(new_layer(), True, merged_mistakes(plain, 1))
    probe.holds("merged: W + alpha / r B A")
    twice = {
        "Asked to merge a layer that is merged, you merged it twice. Look at `merged` first.": (
            full + 1.5 * layer.B @ layer.A
        ),
        "Asked to merge a merged layer, you took the update out: this turns the state over and "
        "does not look at what is wanted.": plain,
    }
    layer = step(layer, True, twice)
    probe.holds("merging twice changes nothing")
    layer = step(layer, False, merged_mistakes(full, -1))
    probe.holds("unmerged: the old weight, up to rounding")
    taken = {
        "Asked to unmerge a layer that is not merged, you took the update out all the same.": (
            plain - 1.5 * layer.B @ layer.A
        ),
        "Asked to unmerge a layer that is not merged, you merged it.": full,
    }
    step(layer, False, taken)
    probe.holds("unmerging twice changes nothing")


# --- 13.6 ----------------------------------------------------------------------------------------


class Watched(nn.Module):
    """A small model with adapters and old gradients, which is handed over and not copied."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.norm = nn.Linear(4, 3), nn.LayerNorm(3)
        self.lora_A, self.lora_B = nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False)
        self(torch.ones(2, 4)).square().sum().backward()

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        return self.norm(self.layer(x) + self.lora_B(self.lora_A(x)))


@exercise("13.6", "What learns")
def what_learns(probe: Probe) -> None:
    for frozen_before in (False, True):
        model = Watched().requires_grad_(not frozen_before)
        untouched = {name: p.detach().clone() for name, p in model.named_parameters()}
        optimizer = probe.call(model, 0.5)
        example = "a layer, a norm, lora_A and lora_B"
        probe.require(
            isinstance(optimizer, torch.optim.Optimizer), "Return the optimizer.", example
        )
        probe.require(
            isinstance(optimizer, torch.optim.AdamW),
            f"This is {type(optimizer).__name__}; the exercise asks for `torch.optim.AdamW`.",
            example,
        )
        parameters = dict(model.named_parameters())
        other = [n for n, old in untouched.items() if not torch.equal(parameters[n], old)]
        probe.require(
            not other,
            "The numbers of the model are others than before: only say what learns, and leave "
            "what it has learned so far.",
            f"{example}\nchanged: {', '.join(other)}",
        )
        adapters = {name for name in parameters if "lora_" in name}
        learning = {name for name, p in parameters.items() if p.requires_grad}
        shown = f"{example}\nrequires_grad: {', '.join(sorted(learning)) or 'none'}"
        probe.require(
            adapters & learning,
            "Nothing of the adapters requires a gradient: they were frozen with the rest"
            + (" (here the whole model came frozen)." if frozen_before else "."),
            shown,
        )
        probe.require(adapters <= learning, "Only one of A and B learns; both do.", shown)
        left = learning - adapters
        names = ", ".join(sorted(left))
        probe.require(
            not left or any(name.endswith("weight") for name in left),
            f"The biases still require a gradient: {names}.",
            shown,
        )
        probe.require(not left, f"Still not frozen: {names}.", shown)
        held = [id(p) for group in optimizer.param_groups for p in group["params"]]
        moved = {name for name, p in parameters.items() if id(p) in held}
        shown = f"{example}\nthe optimizer has: {', '.join(sorted(moved)) or 'none'}"
        before = {name: p.detach().clone() for name, p in parameters.items()}
        optimizer.step()
        changed = {n for n, p in parameters.items() if not torch.equal(p, before[n])}
        probe.require(
            not changed - adapters,
            "Frozen weights were moved: the optimizer was built from all parameters, before they "
            "were frozen or without regard to it, and old gradients are still there. Give it the "
            "adapters alone.",
            f"{shown}\nmoved: {', '.join(sorted(changed))}",
        )
        probe.require(
            not moved - adapters, "The optimizer has frozen parameters on its list.", shown
        )
        probe.require(moved == adapters, "The optimizer lacks a part of the adapters.", shown)
        rates = {float(group["lr"]) for group in optimizer.param_groups}
        probe.require(rates == {0.5}, "The learning rate is not the one given.", f"lr {rates}")
    probe.holds("the adapters learn, all else is frozen, biases and norms too")
    probe.holds("the optimizer moves nothing but the adapters")


# --- 13.7 ----------------------------------------------------------------------------------------


def update_of(A, B, alpha):
    return alpha / len(A) * B @ A


def stack(one, two, factors=(1.0, 1.0)):
    """B A of the stacked matrices, each part with a factor."""
    return sum(f * B @ A for f, (A, B, _) in zip(factors, (one, two), strict=True))


JOIN_MISTAKES = {
    "The factors alpha / r of the two are forgotten.": lambda one, two: stack(one, two),
    "The old factors went into A and into B as well, so that they count twice.": (
        lambda one, two: stack(one, two, [(a / len(A)) ** 2 for A, B, a in (one, two)])
    ),
    "The alphas were added. Then both parts get (alpha₁ + alpha₂) / (r₁ + r₂), but each had a "
    "factor of its own.": lambda one, two: stack(
        one, two, [(one[2] + two[2]) / (len(one[0]) + len(two[0]))] * 2
    ),
    "The old alphas went in without being divided by their ranks.": lambda one, two: stack(
        one, two, [one[2], two[2]]
    ),
    "The old factors are in, and then the sum of the alphas over the sum of the ranks comes on "
    "top: choose alpha = r₁ + r₂, so that it is 1.": lambda one, two: (
        (update_of(*one) + update_of(*two)) * (one[2] + two[2]) / (len(one[0]) + len(two[0]))
    ),
    "The old factors are swapped: each belongs to its own part.": lambda one, two: stack(
        one, two, [two[2] / len(two[0]), one[2] / len(one[0])]
    ),
    "Only the first part got its old factor.": lambda one, two: stack(
        one, two, [one[2] / len(one[0]), 1.0]
    ),
    "Only the second part got its old factor.": lambda one, two: stack(
        one, two, [1.0, two[2] / len(two[0])]
    ),
    "Both parts got the factor of the first.": lambda one, two: stack(
        one, two, [one[2] / len(one[0])] * 2
    ),
    "The old factors are in, and then the new alpha / r comes on top: choose alpha = r₁ + r₂, so "
    "that it is 1.": lambda one, two: (
        (update_of(*one) + update_of(*two)) / (len(one[0]) + len(two[0]))
    ),
    "This is half of the sum of the two updates. Is the new alpha / r equal to 1?": (
        lambda one, two: (update_of(*one) + update_of(*two)) / 2
    ),
    "This is the first adapter alone.": lambda one, two: update_of(*one),
    "This is the second adapter alone.": lambda one, two: update_of(*two),
    "A was added to A and B to B: their product has terms that belong to neither, B₁A₂ and "
    "B₂A₁.": lambda one, two: update_of(one[0] + two[0], one[1] + two[1], one[2]),
    "A was added to A, B to B and alpha to alpha: the product has terms that belong to neither, "
    "B₁A₂ and B₂A₁.": lambda one, two: update_of(*(a + b for a, b in zip(one, two, strict=True))),
    "A was added to A and B to B, with the old factors: their product has terms that belong to "
    "neither, B₁A₂ and B₂A₁.": lambda one, two: (
        (one[2] / len(one[0]) * one[1] + two[2] / len(two[0]) * two[1]) @ (one[0] + two[0])
    ),
    "The parts are crossed: the columns of B₁ meet the rows of A₂.": lambda one, two: (
        one[2] / len(one[0]) * one[1] @ two[0] + two[2] / len(two[0]) * two[1] @ one[0]
    ),
}


@exercise("13.7", "Two adapters in one")
def two_in_one(probe: Probe) -> None:
    crash = (
        "The shapes do not meet: the ranks of the two differ, so nothing can be added. Lay the "
        "matrices beside and upon each other."
    )
    for r1, r2 in [(2, 2), (1, 3), (4, 2)]:
        one = numbers(r1, 5), numbers(6, r1, seed=1), 3.0
        two = numbers(r2, 5, seed=2), numbers(6, r2, seed=3), 8.0
        example = f"ranks {r1} and {r2}, alphas 3 and 8"
        got = probe.call(one, two, on_crash=crash)
        triple = isinstance(got, (tuple, list)) and len(got) == 3
        probe.require(triple, "Return three things: A, B and alpha.", example)
        A, B, alpha = matrix(got[0]), matrix(got[1]), got[2]
        shapes = f"{example}\nreturned  shapes {tuple(A.shape)} and {tuple(B.shape)}"
        meets = A.ndim == 2 and B.ndim == 2 and B.shape[1] == A.shape[0]
        fits = meets and (B.shape[0], A.shape[1]) == (6, 5)
        probe.require(
            fits,
            "These do not make an update: A is (r, n_in), so the two are laid one upon the other; "
            "B is (n_out, r), so they are laid side by side.",
            shapes,
        )
        mistakes = {t: (lambda w=w, a=one, b=two: w(a, b)) for t, w in JOIN_MISTAKES.items()}
        expected = update_of(*one) + update_of(*two)
        probe.expect(update_of(A, B, alpha), expected, mistakes, f"update of {example}", 1e-4)
        probe.require(
            len(A) <= r1 + r2,
            f"The sum is right, but of rank {len(A)}; r₁ + r₂ = {r1 + r2} is enough.",
            shapes,
        )
    probe.holds("one adapter of rank r₁ + r₂ is the sum of two, whatever their alphas")
