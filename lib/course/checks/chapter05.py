"""The checks of chapter 05, GPT."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from lib.course.checks.engine import Probe, exercise
from lib.model import GPTConfig, flops_per_token, parameter_counts


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random numbers that are the same in every check; rounded, so that examples stay short."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).round(decimals=1)


# --- 5.1 -----------------------------------------------------------------------------------------


def normalised(x, weight, bias, eps=1e-5, dim=-1, unbiased=False, centre=True, inside=True):
    """Layer norm, with the usual mistakes as options."""
    mean = x.mean(dim, keepdim=True) if centre else 0.0
    variance = x.var(dim, keepdim=True, unbiased=unbiased) if centre else x.square().mean(-1, True)
    root = (variance + eps).sqrt() if inside else variance.sqrt() + eps
    return (x - mean) / root * weight + bias


LAYER_NORM_MISTAKES = {
    "The variance divides by C − 1, as an estimate from a sample would. Layer norm describes these "
    "C numbers themselves: divide by C.": lambda *a: normalised(*a, unbiased=True),
    "Your mean and variance run over another dimension than the last: numbers of different "
    "positions or sequences are mixed.": lambda *a: normalised(*a, dim=0),
    "Your mean and variance run over the positions (dimension 1); each position is normalised over "
    "its own C numbers, the last dimension.": lambda *a: normalised(*a, dim=1),
    "One mean and variance were taken over the whole tensor; each position has its own.": (
        lambda x, w, b, eps=1e-5: (x - x.mean()) / (x.var(unbiased=False) + eps).sqrt() * w + b
    ),
    "The mean is not subtracted. That is another norm, RMSNorm, which comes in chapter 08.": (
        lambda *a: normalised(*a, centre=False)
    ),
    "You divided by the variance; divide by its root, the standard deviation.": (
        lambda x, w, b, eps=1e-5: (
            (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + eps) * w + b
        )
    ),
    "The bias is added before the weight multiplies; scale first, then shift.": (
        lambda x, w, b, eps=1e-5: (normalised(x, 1.0, 0.0, eps) + b) * w
    ),
    "The weight is missing: after normalising, each of the C numbers is scaled by its own.": (
        lambda x, w, b, eps=1e-5: normalised(x, 1.0, b, eps)
    ),
    "The bias is missing: after scaling, each of the C numbers is shifted by its own.": (
        lambda x, w, b, eps=1e-5: normalised(x, w, 0.0, eps)
    ),
    "Weight and bias are missing.": lambda x, w, b, eps=1e-5: normalised(x, 1.0, 0.0, eps),
}


def gradients_flow(probe: Probe) -> None:
    """The slope of one output at x, against that of PyTorch."""
    x, one, zero = torch.tensor([[1.0, 2.0, 6.0]]), torch.ones(3), torch.zeros(3)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    example = probe.describe(x, one, zero)
    try:  # not `probe.call`, which hands over copies: their gradient would not be seen here
        got = probe.answer(mine, one, zero)
    except Exception:
        got = None
    probe.require(
        isinstance(got, torch.Tensor) and got.requires_grad,
        "The result is right, but no gradient flows back through it: stay with tensor operations, "
        "without `.item()`, `.tolist()`, `.data` or `.detach()`.",
        example,
    )
    got[0, 0].backward()
    F.layer_norm(theirs, (3,))[0, 0].backward()
    shown = (
        f"{example}\nslope of the first number at x: {[round(v, 4) for v in mine.grad[0].tolist()]}"
    )
    probe.require(
        torch.allclose(mine.grad, theirs.grad, atol=1e-4),
        "The values are right, but the gradient is not: every x moves the mean and the variance "
        "too. Is one of them detached?",
        shown,
    )


@exercise("5.1", "Layer norm")
def layer_norm(probe: Probe) -> None:
    one, zero = torch.ones(3), torch.zeros(3)
    x = torch.tensor([[1.0, 2.0, 6.0]])
    probe.compare((x, one, zero), normalised(x, one, zero), LAYER_NORM_MISTAKES, 1e-4)
    x = torch.tensor([[1.0, 2.0, 6.0], [0.0, 5.0, 1.0]])
    probe.compare((x, one, zero), normalised(x, one, zero), LAYER_NORM_MISTAKES, 1e-4)
    probe.holds("each position has mean 0 and variance 1, by itself")
    args = (x, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.0, -1.0]))
    probe.compare(args, normalised(*args), LAYER_NORM_MISTAKES, 1e-4)
    probe.holds("weight scales and bias shifts")
    args = (noise(2, 4, 3), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.0, -1.0]))
    probe.compare(args, normalised(*args), LAYER_NORM_MISTAKES, 1e-4)
    probe.holds("any number of dimensions before the last")
    args = (torch.tensor([[2.0, 2.0, 2.0]]), one, zero)
    no_eps = "A row of equal numbers gives 0/0 without eps: add eps to the variance."
    probe.compare(args, zero[None], {no_eps: torch.full((1, 3), math.nan)}, 1e-4)
    args = (torch.tensor([[0.001, 0.002, 0.006]]), one, zero)
    outside = (
        "eps is outside the root: root(variance) + eps. It belongs inside, root(variance + eps), "
        "where it is felt as soon as the variance is as small as eps."
    )
    wrong = {outside: lambda *a: normalised(*a, inside=False)}
    wrong["eps is not used where the variance is small; add it to the variance, in the root."] = (
        lambda *a: normalised(*a, 0.0)
    )
    probe.compare(args, normalised(*args), wrong, 1e-4)
    fixed = {"eps is an argument; you took 10⁻⁵ whatever is passed.": normalised(*args)}
    probe.compare((*args, 1e-3), normalised(*args, 1e-3), fixed, 1e-4)
    probe.holds("eps keeps equal numbers finite, and stands inside the root")
    gradients_flow(probe)
    probe.holds("gradients flow through it as through PyTorch's own")


# --- 5.2 -----------------------------------------------------------------------------------------


EMBED_MISTAKES = {
    "The positions are missing: the same token has the same vector at every place.": (
        lambda ids, t, p: t[ids]
    ),
    "The tokens are missing: only the positions are left.": (
        lambda ids, t, p: p[: ids.shape[1]].expand(*ids.shape, -1)
    ),
    "The position table was indexed with the ids. A position is the place in the sequence: "
    "0, 1, 2, …": lambda ids, t, p: t[ids] + p[ids],
    "The positions count from 1; the first place is 0.": (
        lambda ids, t, p: t[ids] + p[1 : ids.shape[1] + 1]
    ),
    "You took the last T rows of the position table; a sequence begins at the first row.": (
        lambda ids, t, p: t[ids] + p[-ids.shape[1] :]
    ),
    "Every place got the same position.": lambda ids, t, p: t[ids] + p[0],
    "Every place got the position T, the length of the sequence.": (
        lambda ids, t, p: t[ids] + p[ids.shape[1]]
    ),
    "The position depends on the sequence in the batch and not on the place: (B, 1, C) was added "
    "where (T, C) is needed.": lambda ids, t, p: t[ids] + p[: len(ids), None],
    "Of the position table only the first T rows take part; you added all of them.": (
        lambda ids, t, p: t[ids] + p
    ),
    "The two embeddings are laid side by side; they are added.": lambda ids, t, p: torch.cat(
        [t[ids], p[: ids.shape[1]].expand(*ids.shape, -1)], dim=-1
    ),
    "The places are numbered from the end; the first id has place 0.": (
        lambda ids, t, p: t[ids] + p[: ids.shape[1]].flip(0)
    ),
    "The tokens were multiplied by √C. Vaswani et al. (2017) do that; here the rows are added as "
    "they are.": lambda ids, t, p: t[ids] * math.sqrt(t.shape[1]) + p[: ids.shape[1]],
    "The places go on from one sequence of the batch to the next; each sequence begins at 0.": (
        lambda ids, t, p: t[ids] + p[torch.arange(ids.numel()).view(ids.shape) % len(p)]
    ),
    "The two embeddings are multiplied; they are added.": (
        lambda ids, t, p: t[ids] * p[: ids.shape[1]]
    ),
}


@exercise("5.2", "Words and places")
def embed(probe: Probe) -> None:
    tokens = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]])
    places = torch.tensor([[0.0, 0.1], [0.0, 0.2], [0.0, 0.3], [0.0, 0.4], [0.0, 0.5]])

    def compare(ids, t=tokens, p=places):
        crash = (
            "The shapes did not fit. With fewer ids than context_length, only the first T rows of "
            "the position table take part."
        )
        args = (torch.tensor(ids), t, p)
        expected = t[args[0]] + p[: args[0].shape[1]]
        probe.compare(args, expected, EMBED_MISTAKES, on_crash=crash)

    compare([[3]])
    compare([[0, 1], [2, 1]])
    compare([[2, 0, 2]])
    probe.holds("the same token at another place is another vector")
    compare([[1, 0, 3], [2, 1, 1]])
    probe.holds("every sequence of the batch has the same places, also where B = T")
    compare([[1, 0, 3, 1, 2]])
    compare([[5, 1, 3], [0, 0, 6]], noise(7, 4), noise(8, 4, seed=1))
    probe.holds("any T up to context_length")


# --- 5.3 -----------------------------------------------------------------------------------------


def lone_parts(x, norm1, attention, norm2, mlp):
    return mlp(norm2(attention(norm1(x))))


def other_sums(which):
    """Blocks with the sums or the norms in other places."""

    def run(x, norm1, attention, norm2, mlp):
        if which == "post":
            x = norm1(x + attention(x))
            return norm2(x + mlp(x))
        if which == "no norms":
            x = x + attention(x)
            return x + mlp(x)
        if which == "normalised stream":
            x = norm1(x)
            x = x + attention(x)
            x = norm2(x)
            return x + mlp(x)
        if which == "parallel":
            return x + attention(norm1(x)) + mlp(norm2(x))
        if which == "first norm twice":
            x = x + attention(norm1(x))
            return x + mlp(norm1(x))
        if which == "second norm twice":
            x = x + attention(norm2(x))
            return x + mlp(norm2(x))
        if which == "norms exchanged":
            x = x + attention(norm2(x))
            return x + mlp(norm1(x))
        if which == "only the first norm":
            x = x + attention(norm1(x))
            return x + mlp(x)
        if which == "only the second norm":
            x = x + attention(x)
            return x + mlp(norm2(x))
        if which == "mlp reads the part":
            found = attention(norm1(x))
            return x + found + mlp(norm2(found))
        if which == "one norm more":
            x = x + attention(norm1(x))
            return norm2(x + mlp(norm2(x)))
        if which == "only the first sum":
            x = x + attention(norm1(x))
            return mlp(norm2(x))
        if which == "only the second sum":
            x = attention(norm1(x))
            return x + mlp(norm2(x))
        if which == "from the start":
            return x + mlp(norm2(x + attention(norm1(x))))
        if which == "mlp first":
            x = x + mlp(norm2(x))
            return x + attention(norm1(x))
        x = x + norm1(attention(x))  # norms behind the parts
        return x + norm2(mlp(x))

    return run


BLOCK_MISTAKES = {
    "Both residual sums are missing: each part replaces x instead of adding to it. A stack of such "
    "blocks forgets its input.": lone_parts,
    "The second sum is missing: what the MLP returns is to be added to x.": (
        other_sums("only the first sum")
    ),
    "The first sum is missing: what attention returns is to be added to x.": (
        other_sums("only the second sum")
    ),
    "This is post-norm: the norms come after the sums. In pre-norm each part reads a normalised "
    "copy, and the stream itself is never normalised.": other_sums("post"),
    "The norms are behind the parts; each part should read a normalised x.": (
        other_sums("norms behind")
    ),
    "The norms are missing: each part reads a normalised copy of x.": other_sums("no norms"),
    "You normalised the stream itself: the sum takes the normalised x instead of x. The norm is "
    "for the copy that a part reads.": other_sums("normalised stream"),
    "Both parts read the x that came in. The MLP comes second: it reads what attention has already "
    "added to.": other_sums("parallel"),
    "The MLP's result was added to the x that came in, so attention's own sum is lost.": (
        other_sums("from the start")
    ),
    "`norm1` stands before both parts; each part has its own norm, the second is `norm2`.": (
        other_sums("first norm twice")
    ),
    "The MLP comes before attention; it should be the other way round.": other_sums("mlp first"),
    "`norm2` stands before both parts; each part has its own norm, the first is `norm1`.": (
        other_sums("second norm twice")
    ),
    "The norms are exchanged: attention's is `norm1`, the MLP's `norm2`.": (
        other_sums("norms exchanged")
    ),
    "The MLP reads the stream as it is; it has a norm of its own.": (
        other_sums("only the first norm")
    ),
    "Attention reads the stream as it is; it has a norm of its own.": (
        other_sums("only the second norm")
    ),
    "The MLP reads only what attention returned; it should read the stream, with that added.": (
        other_sums("mlp reads the part")
    ),
    "One norm too many: the stream that leaves the block is not normalised.": (
        other_sums("one norm more")
    ),
}


@exercise("5.3", "Two sums")
def block_forward(probe: Probe) -> None:
    def norm1(x):
        return F.layer_norm(x, x.shape[-1:])

    def norm2(x):
        return 0.5 * F.layer_norm(x, x.shape[-1:]) + 0.25

    def attention(x):
        return 3 * x.cumsum(1)  # each position looks at all before it

    def mlp(x):
        return x.square() + 1

    def right(x, norm1, attention, norm2, mlp):
        x = x + attention(norm1(x))
        return x + mlp(norm2(x))

    def nothing(x):
        return torch.zeros_like(x)

    x = torch.tensor([[[1.0, 2.0, 6.0], [0.0, 5.0, 1.0]]])
    both = (x, norm1, attention, norm2, mlp)
    probe.compare(both, right(*both), BLOCK_MISTAKES, 1e-4)
    only_attention = (x, norm1, attention, norm2, nothing)
    probe.compare(only_attention, right(*only_attention), BLOCK_MISTAKES, 1e-4)
    only_mlp = (x, norm1, nothing, norm2, mlp)
    probe.compare(only_mlp, right(*only_mlp), BLOCK_MISTAKES, 1e-4)
    neither = (x, norm1, nothing, norm2, nothing)
    probe.compare(neither, x, BLOCK_MISTAKES, 1e-4)
    probe.holds("what a part returns is added; parts that return 0 change nothing")
    both = (noise(2, 3, 4), norm1, attention, norm2, mlp)
    probe.compare(both, right(*both), BLOCK_MISTAKES, 1e-4)
    probe.holds("each part reads its own normalised copy, the MLP after attention")


# --- 5.4 -----------------------------------------------------------------------------------------


class Ends(nn.Module):
    """The two ends of a language model."""

    def __init__(self, vocab_size: int, n_embd: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, n_embd)
        self.head = nn.Linear(n_embd, vocab_size, bias=False)
        with torch.no_grad():
            self.embedding.weight.copy_(noise(vocab_size, n_embd))
            self.head.weight.copy_(noise(vocab_size, n_embd, seed=1))
        self.__name__ = f"model with V = {vocab_size}, C = {n_embd}"  # as examples show it


@exercise("5.4", "One matrix, two names")
def tie(probe: Probe) -> None:
    for V, C in ((5, 3), (4, 4)):
        given = Ends(V, C)
        model = probe.call(
            given,
            on_crash="The embedding's matrix is V × C, and so is the head's, since `nn.Linear` "
            "keeps (out, in): no transposing is needed. And only a parameter can be assigned to a "
            "module's weight.",
        )
        called = probe.describe(given)
        probe.require(
            model is not None,
            "Your function returned None: return the model that it has tied.",
            called,
        )
        probe.require(
            isinstance(model, nn.Module) and hasattr(model, "head"),
            "The model itself is to be returned, with its embedding and its head.",
            called,
        )
        probe.require(
            isinstance(getattr(model, "embedding", None), nn.Embedding)
            and isinstance(model.head, nn.Linear),
            "The two layers must remain what they are, an embedding and a linear layer: only their "
            "matrix is shared.",
            f"{called}\nembedding: {getattr(model, 'embedding', None)}\nhead: {model.head}",
        )
        mine, other = model.embedding.weight, model.head.weight
        kept = given.embedding.weight
        shared = mine.data_ptr() == other.data_ptr()
        example = f"{called}\nparameters afterwards: {sum(p.numel() for p in model.parameters())}"
        if not shared:
            equal = mine.shape == other.shape and torch.equal(mine, other)
            probe.require(
                not equal,
                "The numbers were copied: the two matrices are equal now and part at the first "
                "step. Let both names hold the same tensor.",
                example,
            )
            probe.require(
                False, "The two are still different matrices; let both names hold one.", example
            )
        probe.require(
            mine.shape == other.shape == kept.shape,
            "The head's weight has another shape than (V, C): `nn.Linear` keeps (out, in).",
            example,
        )
        probe.require(
            mine is other,
            "The two parameters share their numbers but are two objects, so that an optimiser "
            "counts and steps them twice. Assign the parameter itself, not its data.",
            example,
        )
        probe.require(
            torch.equal(mine, kept),
            "The embedding's numbers should be kept; here they were replaced.",
            example,
        )
        probe.require(
            isinstance(mine, nn.Parameter) and mine.requires_grad,
            "The shared matrix can no longer learn: it must remain a parameter with a gradient.",
            example,
        )
        count = sum(p.numel() for p in model.parameters())
        probe.require(
            count == V * C,
            f"Afterwards there should be V × C = {V * C} parameters, and there are {count}: the "
            "model got something besides the shared matrix.",
            example,
        )
    probe.holds("both names hold one and the same parameter, counted once")
    probe.holds("it has the embedding's numbers, and can learn")


# --- 5.5 -----------------------------------------------------------------------------------------


def by_part(V, T, L, C, tables=(1, 1), attention=4, biases=9, norms=None, mlp=8, head=0):
    """The count, with the usual mistakes as options."""
    norms = 2 * L + 1 if norms is None else norms
    block = L * ((attention + mlp) * C * C + biases * C)
    return tables[0] * V * C + tables[1] * T * C + block + norms * 2 * C + head


COUNT_MISTAKES = {
    "The tied matrix was counted twice: the head is the token embedding and adds nothing.": (
        lambda V, T, L, C: by_part(V, T, L, C, head=V * C)
    ),
    "The tied matrix was counted twice, and the head got a bias; it has none.": (
        lambda V, T, L, C: by_part(V, T, L, C, head=V * C + V)
    ),
    "The head has no bias.": lambda V, T, L, C: by_part(V, T, L, C, head=V),
    "The position embedding is missing: context_length × C.": (
        lambda V, T, L, C: by_part(V, T, L, C, tables=(1, 0))
    ),
    "The norm before the head is missing: there are 2 in each block and one at the end.": (
        lambda V, T, L, C: by_part(V, T, L, C, norms=2 * L)
    ),
    "Each block has two norms, one before each part.": (
        lambda V, T, L, C: by_part(V, T, L, C, norms=L + 1)
    ),
    "A norm has 2C parameters, a scale and a shift for each number.": (
        lambda V, T, L, C: by_part(V, T, L, C) - (2 * L + 1) * C
    ),
    "The norms are missing.": lambda V, T, L, C: by_part(V, T, L, C, norms=0),
    "The biases of the matrices are missing: 3C and C in attention, 4C and C in the MLP.": (
        lambda V, T, L, C: by_part(V, T, L, C, biases=0)
    ),
    "Biases and norms are missing.": lambda V, T, L, C: by_part(V, T, L, C, biases=0, norms=0),
    "The matrix back from the heads is missing: attention has C × 3C and C × C.": (
        lambda V, T, L, C: by_part(V, T, L, C, attention=3, biases=8)
    ),
    "Attention has C × 3C for queries, keys and values together, and C × C back; you counted two "
    "C × C in all.": lambda V, T, L, C: by_part(V, T, L, C, attention=2, biases=7),
    "The MLP has two matrices, C × 4C and 4C × C.": (
        lambda V, T, L, C: by_part(V, T, L, C, mlp=4, biases=8)
    ),
    "The biases of the MLP are missing: 4C and C.": (
        lambda V, T, L, C: by_part(V, T, L, C, biases=4)
    ),
    "The biases of attention are missing: 3C and C.": (
        lambda V, T, L, C: by_part(V, T, L, C, biases=5)
    ),
    "The bias of queries, keys and values is missing: 3C.": (
        lambda V, T, L, C: by_part(V, T, L, C, biases=6)
    ),
    "The head was counted and the position embedding was not: the head is tied and adds nothing.": (
        lambda V, T, L, C: by_part(V, T, L, C, tables=(2, 0))
    ),
    "Only one block was counted; there are n_layer.": (
        lambda V, T, L, C: by_part(V, T, 1, C, norms=3)
    ),
}


@exercise("5.5", "Count the parameters")
def count_parameters(probe: Probe) -> None:
    for shape in ((10, 7, 3, 5), (11, 5, 4, 4), (300, 64, 1, 48)):
        expected = sum(parameter_counts(GPTConfig(*shape[:3], 1, shape[3])).values())
        got = probe.call(*shape)
        fraction = isinstance(got, float) or getattr(got, "is_floating_point", bool)()
        probe.require(
            not fraction or got != expected,
            "A count is a whole number; use `//` or whole factors, so that no float comes out.",
            probe.describe(*shape),
        )
        probe.expect(got, expected, lazy(COUNT_MISTAKES, shape), probe.describe(*shape), 0.0)
    probe.holds("tables, blocks and norms, the tied matrix once")
    probe.compare((50257, 1024, 12, 768), 124_439_808, COUNT_MISTAKES, 0.0)
    probe.compare((50257, 1024, 48, 1600), 1_557_611_200, COUNT_MISTAKES, 0.0)
    probe.holds("the published counts of the smallest and the largest GPT-2")


def lazy(mistakes, args):
    """The mistakes as functions of nothing, for `Probe.expect`."""
    return {why: (lambda f=f: f(*args)) for why, f in mistakes.items()}


# --- 5.6 -----------------------------------------------------------------------------------------


def days(V, L, C, T, n_tokens, speed, matrices=12, scores=2, head=1, factor=6.0):
    """The days, with the usual mistakes as options."""
    return (
        factor
        * (L * (matrices * C * C + scores * T * C) + head * C * V)
        * n_tokens
        / (speed * 86_400)
    )


DAY_MISTAKES = {
    "The backward pass is missing: it costs twice the forward one, so training costs three "
    "times.": lambda *a: days(*a, factor=2.0),
    "You have 4 where 6 is needed: the backward pass costs twice the forward one, so both together "
    "cost three times.": lambda *a: days(*a, factor=4.0),
    "A multiplication and its addition are two operations; you counted one.": (
        lambda *a: days(*a, factor=3.0)
    ),
    "Both factors are missing: 2 for a multiplication with its addition, and 3 for forward and "
    "backward.": lambda *a: days(*a, factor=1.0),
    "Attention's own products are missing: 2TC multiplications in each layer.": (
        lambda *a: days(*a, scores=0)
    ),
    "Only half of attention's products were counted. There are two, scores and sums of values, and "
    "all T × T pairs count, also the masked ones.": lambda *a: days(*a, scores=1),
    "The head is missing: C × V, although its matrix is tied.": lambda *a: days(*a, head=0),
    "The embedding was counted as a product. It is a look-up; only the head is one.": (
        lambda *a: days(*a, head=2)
    ),
    "A block has 12C² weights in its matrices, 4C² in attention and 8C² in the MLP; you have only "
    "those of the MLP.": lambda *a: days(*a, matrices=8),
    "A block has 12C² weights in its matrices, 4C² in attention and 8C² in the MLP; you have only "
    "those of attention.": lambda *a: days(*a, matrices=4),
    "The scores of a token are with T others, not T × T: 2TC multiplications for one token.": (
        lambda V, L, C, T, n, speed: days(V, L, C, T, n, speed, scores=2 * T)
    ),
    "The head is trained too: its product also costs three times its forward pass.": (
        lambda V, L, C, T, n, s: days(V, L, C, T, n, s, head=0) + 2 * C * V * n / (s * 86_400)
    ),
    "The days were rounded; return them with their fraction.": (lambda *a: days(*a) // 1),
    "The tokens were divided by T: the cost is that of one token, and n_tokens is how many.": (
        lambda V, L, C, T, n, speed: days(V, L, C, T, n, speed) / T
    ),
    "These are seconds; a day has 86,400.": lambda *a: days(*a) * 86_400,
    "These are hours; a day has 24.": lambda *a: days(*a) * 24,
    "Every token was counted with a whole sequence: the number of tokens already counts each "
    "place once.": lambda V, L, C, T, n, speed: days(V, L, C, T, n, speed) * T,
}


@exercise("5.6", "What a training run costs")
def training_days(probe: Probe) -> None:
    def right(V, L, C, T, n_tokens, speed):
        return n_tokens * flops_per_token(GPTConfig(V, T, L, 1, C), T) / speed / 86_400

    small = (11, 1, 2, 5, 86_400, 1.0)
    probe.compare(small, right(*small), DAY_MISTAKES)
    for args in ((16, 3, 2, 4, 1_000, 10.0), (300, 2, 48, 64, 1e6, 1e6)):
        probe.compare(args, right(*args), DAY_MISTAKES)
    probe.holds("matrices, head and attention, forward and backward")
    gpt2 = (50257, 12, 768, 1024, 10**10, 10**14)
    probe.compare(gpt2, right(*gpt2), DAY_MISTAKES)
    probe.holds(
        f"GPT-2 on ten billion tokens at 10^14 operations a second: {right(*gpt2):.1f} days"
    )


# --- 5.7 -----------------------------------------------------------------------------------------


def backward(x, g, eps=1e-5, direct=1.0, mean=1.0, spread=1.0, divide=True, summed=False):
    """The slope at x, with the usual mistakes as options."""
    s = (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()
    y = (x - x.mean(-1, keepdim=True)) / s
    add = torch.sum if summed else torch.mean
    slope = direct * g - mean * add(g, -1, keepdim=True)
    slope = slope - spread * y * add(g * y, -1, keepdim=True)
    return slope / s if divide else slope


BACKWARD_MISTAKES = {
    "Only the direct way is there: g/s. Every x also moves the mean and the spread, and with them "
    "all the other numbers of its position.": lambda *a: backward(*a, mean=0.0, spread=0.0),
    "The way through the mean is missing: your slope should have mean 0, since adding a constant "
    "to x changes nothing.": lambda *a: backward(*a, mean=0.0),
    "The way through the spread s is missing: multiplying x by a constant hardly changes x̂, so the "
    "slope should be all but orthogonal to x̂.": lambda *a: backward(*a, spread=0.0),
    "The division by s is missing.": lambda *a: backward(*a, divide=False),
    "You took sums of g and of g·x̂ where their means are needed: ∂μ/∂x is 1/C.": (
        lambda *a: backward(*a, summed=True)
    ),
    "You divided by s² and not by s: the second s is already in x̂.": (
        lambda x, g, eps=1e-5: (
            backward(x, g, eps) / (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()
        )
    ),
    "The sign of the way through the spread is turned round: it is subtracted.": (
        lambda *a: backward(*a, spread=-1.0)
    ),
    "The sign of the way through the mean is turned round: it is subtracted.": (
        lambda *a: backward(*a, mean=-1.0)
    ),
    "This is the forward pass; the slope is asked for.": (
        lambda x, g, eps=1e-5: F.layer_norm(x, x.shape[-1:], eps=eps)
    ),
    "The means run over another dimension than the last.": (
        lambda x, g, eps=1e-5: backward(x.transpose(0, -1), g.transpose(0, -1), eps).transpose(
            0, -1
        )
    ),
}


def with_x_itself(x, g, eps=1e-5):
    """x where the normalised x belongs."""
    s = (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()
    return (g - g.mean(-1, keepdim=True) - x * (g * x).mean(-1, keepdim=True)) / s


def with_sample_variance(x, g, eps=1e-5):
    """The variance divided by C − 1."""
    s = (x.var(-1, keepdim=True) + eps).sqrt()
    y = (x - x.mean(-1, keepdim=True)) / s
    return (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) / s


def with_deviations(x, g, eps=1e-5):
    """The deviations, not divided by s, where the normalised x belongs."""
    s = (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()
    c = x - x.mean(-1, keepdim=True)
    return (g - g.mean(-1, keepdim=True) - c * (g * c).mean(-1, keepdim=True)) / s


BACKWARD_MISTAKES["The variance divides by C − 1; that of layer norm divides by C."] = (
    with_sample_variance
)
BACKWARD_MISTAKES["In the last term you used x − μ; the normalised x̂ belongs there."] = (
    with_deviations
)
BACKWARD_MISTAKES["In the last term you used x itself; the normalised x̂ belongs there."] = (
    with_x_itself
)


def probe_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """An x of small spread, and a slope."""
    return torch.tensor([[0.1, 0.2, 0.6]]), torch.tensor([[1.0, 0.0, 0.0]])


@exercise("5.7", "Back through layer norm")
def layer_norm_backward(probe: Probe) -> None:
    x = torch.tensor([[1.0, 2.0, 6.0]])
    g = torch.tensor([[1.0, 0.0, 0.0]])
    probe.compare((x, g), backward(x, g), BACKWARD_MISTAKES, 1e-4)
    x, g = noise(2, 3) + 1, noise(2, 3, seed=1)
    probe.compare((x, g), backward(x, g), BACKWARD_MISTAKES, 1e-4)
    x, g = noise(2, 3, 5, seed=2), noise(2, 3, 5, seed=3)
    probe.compare((x, g), backward(x, g), BACKWARD_MISTAKES, 1e-4)
    leaf = x.clone().requires_grad_()
    F.layer_norm(leaf, (5,)).backward(g)
    probe.compare((x, g), leaf.grad, BACKWARD_MISTAKES, 1e-4)
    probe.holds("the same slope as autograd, through the mean and through the spread")
    x = torch.tensor([[0.001, 0.002, 0.006]])
    g = torch.tensor([[1.0, 0.0, 0.0]])
    small = "Where the variance is small, eps matters: s is the root of variance + eps."
    probe.compare((x, g), backward(x, g), {small: lambda x, g: backward(x, g, 0.0)}, 1e-3)
    fixed = "eps is an argument; you took 10⁻⁵ whatever is passed."
    args = (*probe_inputs(), 0.01)
    probe.compare(args, backward(*args), {fixed: lambda x, g, eps: backward(x, g)}, 1e-4)
    probe.holds("eps is part of s")
    with torch.no_grad():
        probe.call(
            *probe_inputs(),
            on_crash="Here autograd is switched off, and your function does not work without it. "
            "Write the slope itself, from the three ways.",
        )
    probe.holds("without autograd")
