"""GPT: the transformer of GPT-2, from its parts to the whole (chapter 05).

The design is that of Radford et al. (2019): learned positions, layer norm before each part, and an
output matrix that is the token embedding. Shapes use B (sequences), T (positions) and C = n_embd.
"""

import math
from dataclasses import dataclass, replace
from numbers import Integral

import torch
from torch import nn
from torch.nn import functional as F

from lib.attention import MultiHeadAttention, check_heads


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT. Raises ValueError for a shape that no model can have."""

    vocab_size: int  # how many different ids there are
    context_length: int  # the longest sequence: one learned position for each of its places
    n_layer: int  # blocks, one after the other
    n_head: int  # attention heads in each block
    n_embd: int  # width C of the residual stream, a multiple of n_head
    dropout: float = 0.0  # share of the activations set to zero in training
    bias: bool = True  # whether linear layers and layer norms add a learned vector
    tied: bool = True  # whether the output matrix is the token embedding itself

    def __post_init__(self):
        for name in ("vocab_size", "context_length", "n_layer", "n_head", "n_embd"):
            size = getattr(self, name)
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(f"{name} is {size!r}; choose a whole number, 1 or more")
        check_heads(self.n_embd, self.n_head, self.dropout)


PRESETS = {
    "tale-nano": GPTConfig(2048, 256, n_layer=2, n_head=2, n_embd=32),
    "tale": GPTConfig(2048, 256, n_layer=4, n_head=4, n_embd=128),
    "gpt2": GPTConfig(50257, 1024, n_layer=12, n_head=12, n_embd=768),
    "gpt2-medium": GPTConfig(50257, 1024, n_layer=24, n_head=16, n_embd=1024),
    "gpt2-large": GPTConfig(50257, 1024, n_layer=36, n_head=20, n_embd=1280),
    "gpt2-xl": GPTConfig(50257, 1024, n_layer=48, n_head=25, n_embd=1600),
}


def preset(name: str, **changes) -> GPTConfig:
    """The shape of that name in PRESETS, with changes. Raises ValueError for an unknown name.

    >>> preset("gpt2", dropout=0.1).n_embd
    768
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)


class LayerNorm(nn.Module):
    """Gives the numbers of each position mean 0 and variance 1, then a learned scale and shift.

    x (..., C) -> (..., C). eps, inside the root, keeps a position of equal numbers finite. (Ba,
    Kiros & Hinton, 2016.)
    """

    def __init__(self, n_embd: int, bias: bool = True, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.bias = nn.Parameter(torch.zeros(n_embd)) if bias else None
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class GELU(nn.Module):
    """A smooth gate: x times the chance that a normal random number is below x.

    In the tanh approximation that GPT-2 was trained with. (Hendrycks & Gimpel, 2016.)
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x, approximate="tanh")


class MLP(nn.Module):
    """Works on each position alone: four times as wide, a GELU, and back. x (B, T, C) -> same."""

    def __init__(self, n_embd: int, dropout: float = 0.0, bias: bool = True):
        super().__init__()
        self.fc = nn.Linear(n_embd, 4 * n_embd, bias=bias)
        self.gelu = GELU()
        self.proj = nn.Linear(4 * n_embd, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.gelu(self.fc(x))  # (B, T, C) -> (B, T, 4C)
        return self.dropout(self.proj(x))  # (B, T, 4C) -> (B, T, C)


class Block(nn.Module):
    """Attention, then the MLP; each reads a normalised copy of x and adds to x what it found.

    The norm stands before each part, as in GPT-2 (Radford et al., 2019). mask and cache go to
    `MultiHeadAttention`.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.norm1 = LayerNorm(config.n_embd, config.bias)
        self.attention = MultiHeadAttention(
            config.n_embd, config.n_head, config.dropout, config.bias
        )
        self.norm2 = LayerNorm(config.n_embd, config.bias)
        self.mlp = MLP(config.n_embd, config.dropout, config.bias)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, cache=None):
        x = x + self.attention(self.norm1(x), mask, cache)  # (B, T, C)
        return x + self.mlp(self.norm2(x))  # (B, T, C)


def kind_of(value) -> str:
    """What a value is, as error messages say it.

    >>> kind_of(torch.zeros(2, 3)), kind_of([1, 2])
    ('a tensor of shape (2, 3) and dtype torch.float32', 'of type list')
    """
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"of type {type(value).__name__}"


def whole_numbers(value) -> bool:
    """Whether a value is a tensor that an embedding can look up."""
    return isinstance(value, torch.Tensor) and value.dtype in (torch.int64, torch.int32)


def check_ids(ids: torch.Tensor, mask: torch.Tensor | None, n_cached: int, context_length: int):
    """Refuse ids and masks of a wrong kind, a wrong shape or too great a length."""
    if not whole_numbers(ids) or ids.ndim != 2:
        raise ValueError(
            f"ids is {kind_of(ids)}; pass a tensor of int64 ids of shape (B, T): "
            "torch.tensor([ids]) makes one sequence a batch"
        )
    B, T = ids.shape
    boolean = isinstance(mask, torch.Tensor) and mask.dtype == torch.bool
    if mask is not None and (not boolean or mask.shape != (B, n_cached + T)):
        raise ValueError(
            f"the mask is {kind_of(mask)}; pass a boolean one of shape {(B, n_cached + T)}, True "
            "for real ids and False for padding (what the caches hold comes first)"
        )
    if mask is None and n_cached + T > context_length:
        raise ValueError(
            f"context_length is {context_length}, but there are {n_cached + T} positions "
            f"({n_cached} of them in the caches); keep the last ones, such as "
            f"ids[:, -{context_length}:], or build a model with a larger context_length"
        )


def count_positions(ids: torch.Tensor, mask: torch.Tensor | None, n_cached: int) -> torch.Tensor:
    """Number the ids: each one's position is how many real ids came before it.

    ids (B, T). mask (B, n_cached + T) or None, True for real ids. Returns (T,), or (B, T) with a
    mask. Padding gets the position of a neighbour; nobody looks at it.

    >>> mask = torch.tensor([[False, False, True, True]])
    >>> count_positions(torch.zeros(1, 4), mask, 0).tolist()
    [[0, 0, 0, 1]]
    """
    T = ids.shape[1]
    if mask is None:
        return torch.arange(n_cached, n_cached + T, device=ids.device)
    return (mask.cumsum(1) - 1).clamp(min=0)[:, n_cached:]


def find_positions(ids, mask, positions, caches, config: GPTConfig) -> torch.Tensor:
    """The positions to use, after a check that all arguments of `GPT.forward` fit together."""
    if len(caches) != config.n_layer:
        raise ValueError(f"there are {len(caches)} caches; pass {config.n_layer}, one a layer")
    n_cached = 0 if caches[0] is None else len(caches[0])
    check_ids(ids, mask, n_cached, config.context_length)
    if positions is None:
        return count_positions(ids, mask, n_cached)
    if not whole_numbers(positions) or positions.shape not in (ids.shape, ids.shape[1:]):
        raise ValueError(
            f"positions is {kind_of(positions)}; pass one position an id, an int64 tensor of shape "
            f"{tuple(ids.shape)}, or one row for all sequences, {tuple(ids.shape[1:])}"
        )
    return positions


def look_up(table: nn.Embedding, ids: torch.Tensor, what: str, remedy: str) -> torch.Tensor:
    """The rows of a table: ids (...) -> (..., C). ValueError, with the remedy, if there is none.

    On a GPU the kernel reports the mistake itself, later: a check would have to wait for it.
    """
    try:
        return table(ids)
    except IndexError:
        raise ValueError(
            f"{what} must lie between 0 and {table.num_embeddings - 1}, but they reach from "
            f"{ids.min().item()} to {ids.max().item()}; {remedy}"
        ) from None


class GPT(nn.Module):
    """A decoder-only transformer: ids in, a logit for every possible next id out.

    Raises ValueError for ids that the vocabulary lacks, for more ids than context_length, and for
    arguments that do not fit together. (Vaswani et al., 2017; Radford et al., 2019.)
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding = nn.Embedding(config.context_length, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.norm = LayerNorm(config.n_embd, config.bias)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.token_embedding.weight  # one matrix under two names
        initialise(self)

    def hidden_states(self, ids, mask=None, positions=None, caches=None) -> torch.Tensor:
        """What the head reads: arguments as in `forward`, returns (B, T, C)."""
        caches = [None] * len(self.blocks) if caches is None else caches
        places = find_positions(ids, mask, positions, caches, self.config)
        x = look_up(self.token_embedding, ids, "ids", "use the tokenizer of this model")
        x = x + look_up(self.position_embedding, places, "positions", "pass fewer ids, from 0 on")
        x = self.dropout(x)  # (B, T, C)
        mask = None if mask is None else mask[:, None, None, :]  # (B, T_key) -> (B, 1, 1, T_key)
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, mask, cache)
        return self.norm(x)

    def forward(self, ids, mask=None, positions=None, caches=None) -> torch.Tensor:
        """ids (B, T) -> logits (B, T, vocab_size): row t predicts the id after position t.

        mask: boolean (B, T_key), False for padding on either side. positions: (T,) or (B, T); by
        default each id's is the number of real ids before it. caches: one a layer, with `update`
        as in `MultiHeadAttention` and `len`, the number of positions kept; T_key counts them too.
        """
        return self.head(self.hidden_states(ids, mask, positions, caches))


@torch.no_grad()
def initialise(model: GPT, std: float = 0.02) -> None:
    """Draw the weights anew: N(0, std²), biases 0, norms the identity (Radford et al., 2019).

    The two matrices of a block that write into the residual stream get std / √(2 n_layer), so
    that the 2 n_layer sums do not make it grow with the depth.
    """
    for name, weights in model.named_parameters():
        if name.endswith("bias"):
            weights.zero_()
        elif weights.ndim == 1:
            weights.fill_(1.0)
        elif name.endswith("proj.weight"):
            weights.normal_(0.0, std / math.sqrt(2 * model.config.n_layer))
        else:
            weights.normal_(0.0, std)


def parameter_counts(config: GPTConfig) -> dict[str, int]:
    """How many parameters each kind of part has; the sum is what the model has.

    >>> sum(parameter_counts(PRESETS["gpt2"]).values())
    124439808
    """
    C, L, b = config.n_embd, config.n_layer, int(config.bias)
    return {
        "token embedding": config.vocab_size * C,
        "position embedding": config.context_length * C,
        "attention": L * (4 * C * C + b * 4 * C),  # to q, k, v: C × 3C; back: C × C
        "MLP": L * (8 * C * C + b * 5 * C),  # C × 4C and 4C × C
        "layer norms": (2 * L + 1) * (1 + b) * C,
        "head": 0 if config.tied else config.vocab_size * C,
    }


def check_batch(config: GPTConfig, B: int, T: int) -> None:
    """Refuse a batch that a model of this shape cannot be given."""
    if B < 1 or not 1 <= T <= config.context_length:
        raise ValueError(
            f"the batch is {B} × {T}; choose 1 or more sequences of 1 to {config.context_length} "
            "ids, the context_length of this model"
        )


def flops_per_token(config: GPTConfig, T: int, training: bool = True) -> int:
    """Floating-point operations for each token of a sequence of T: a multiplication or an addition.

    Counts the matrix products alone, and all T × T scores, as counters do. A matrix of m × n costs
    2mn a token forward. The backward pass costs twice the forward one, hence training three times.
    Raises ValueError for a T beyond context_length.

    >>> flops_per_token(PRESETS["gpt2"], 1024, training=False)
    284812800
    """
    check_batch(config, 1, T)
    C, L = config.n_embd, config.n_layer
    matrices = L * 12 * C * C + C * config.vocab_size
    scores = L * 2 * T * C  # q kᵀ, and its product with v: T × C multiplications each
    return (3 if training else 1) * 2 * (matrices + scores)


def training_memory(config: GPTConfig, B: int, T: int) -> dict[str, int]:
    """Bytes held at the peak of a step in float32 without dropout, with AdamW and cross-entropy.

    The activations are what the backward pass needs again, with the fused attention kernel, which
    does not keep the T × T weights. The peak is reached as the backward pass begins, with the
    gradients of an earlier step still there (zeroed, or added to); without them it is lower.
    Raises ValueError for a batch that the model cannot be given.
    """
    check_batch(config, B, T)
    C, L, n_parameters = config.n_embd, config.n_layer, sum(parameter_counts(config).values())
    block = 16 * C + 4 + config.n_head  # floats a token; the chapter has the list
    return {
        "weights": 4 * n_parameters,
        "gradients": 4 * n_parameters,
        "AdamW": 8 * n_parameters,  # two running means for every parameter
        "activations": 4 * B * T * (L * block + 2 * C + 2),
        "logits": 4 * B * T * 3 * config.vocab_size,  # log-probabilities, and two gradients
    }
