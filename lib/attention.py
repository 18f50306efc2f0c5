"""Attention: every position looks at the ones it may see and takes what it needs (chapter 04).

The method is that of Vaswani et al. (2017); the module has the layout of GPT-2 (Radford et al.,
2019). A mask is boolean everywhere in the course: True means *may look*.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def causal_mask(T_query: int, T_key: int | None = None, device=None) -> torch.Tensor:
    """Which keys each query may look at when nobody looks into the future: True = may look.

    Returns a boolean tensor (T_query, T_key). The queries are the *last* T_query of the T_key
    positions (T_key defaults to T_query), so that it also serves a model that keeps the keys of
    earlier calls. Raises ValueError when there are fewer keys than queries.

    >>> causal_mask(2, 4).int()
    tensor([[1, 1, 1, 0],
            [1, 1, 1, 1]], dtype=torch.int32)
    """
    T_key = T_query if T_key is None else T_key
    if T_key < T_query:
        raise ValueError(
            f"there are {T_query} queries but only {T_key} keys; every query needs at least its "
            "own key, so pass T_key = keys kept from before + T_query"
        )
    return torch.ones(T_query, T_key, dtype=torch.bool, device=device).tril(T_key - T_query)


def attention_weights(
    q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """How much each query takes from each key: softmax(q kᵀ / √head_dim), row by row.

    q: (..., T_query, head_dim). k: (..., T_key, head_dim). mask: None, or boolean and broadcastable
    to (..., T_query, T_key), True = may look. Returns (..., T_query, T_key). Each row sums to one,
    except that a query that may look at nothing gets a row of zeros. (Vaswani et al., 2017.)

    >>> q = k = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> attention_weights(q, k, causal_mask(2)).round(decimals=2)
    tensor([[1.0000, 0.0000],
            [0.0600, 0.9400]])
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., T_query, T_key)
    if mask is None:
        return scores.softmax(dim=-1)
    if getattr(mask, "dtype", None) != torch.bool:
        kind = getattr(mask, "dtype", "none")
        raise ValueError(
            f"the mask is a {type(mask).__name__} of dtype {kind}; pass a boolean tensor, "
            "True = may look"
        )
    weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)  # a row of -inf alone has become nan: nothing is taken


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Scaled dot-product attention: each query's weighted mean of the values.

    q, k, mask: as in `attention_weights`. v: (..., T_key, value_dim). Returns (..., T_query,
    value_dim). It holds all T_query × T_key weights in memory; `MultiHeadAttention` calls PyTorch's
    fused kernel, which does not.

    >>> v = torch.tensor([[0.0], [10.0]])
    >>> attention(torch.zeros(1, 3), torch.zeros(2, 3), v)  # equal scores: the plain mean
    tensor([[5.]])
    """
    return attention_weights(q, k, mask) @ v


def check_heads(n_embd: int, n_head: int, dropout: float) -> None:
    """Refuse a width that the heads cannot share, and a dropout that is not a share below 1."""
    if n_head < 1 or n_embd < 1 or n_embd % n_head:
        raise ValueError(
            f"n_embd is {n_embd} and n_head is {n_head}: the heads share the width equally, so "
            "choose an n_embd that is a multiple of n_head, both at least 1"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; choose a share from 0 to below 1, such as 0.1")


def check_mask(mask: torch.Tensor, B: int, n_head: int, T_query: int, T_key: int) -> None:
    """Refuse a mask that is not boolean or does not fit (B, n_head, T_query, T_key).

    All four dimensions are asked for, each of them full or 1: with fewer, padding marked as
    (B, T_key) would be taken for (T_query, T_key) whenever the sizes happen to agree.
    """
    if getattr(mask, "dtype", None) != torch.bool:
        kind = getattr(mask, "dtype", "none")
        raise ValueError(
            f"the mask is a {type(mask).__name__} of dtype {kind}; pass a boolean tensor, "
            "True = may look"
        )
    wanted = (B, n_head, T_query, T_key)
    if mask.ndim != 4 or any(n not in (1, w) for n, w in zip(mask.shape, wanted, strict=True)):
        raise ValueError(
            f"the mask has shape {tuple(mask.shape)}, but (B, n_head, T_query, T_key) is {wanted}, "
            "where each may be 1. For padding marked in a mask (B, T_key) pass "
            "mask[:, None, None, :]; with a cache, T_key counts the keys kept from before too"
        )


def joint_mask(
    mask: torch.Tensor | None, causal: bool, shape: tuple[int, int, int, int], device=None
) -> torch.Tensor | None:
    """Join a mask with the causal one; None when every query may look at every key.

    shape: (B, n_head, T_query, T_key), which the mask must fit (see `check_mask`).
    """
    if mask is not None:
        check_mask(mask, *shape)
    T_query, T_key = shape[2:]
    if not causal or T_query == 1:  # a single query is the last position: all keys are its past
        return mask
    triangle = causal_mask(T_query, T_key, device)
    return triangle if mask is None else mask & triangle


class MultiHeadAttention(nn.Module):
    """Self-attention with n_head heads that share the width, as in GPT-2 (Radford et al., 2019).

    n_embd: width C of input and output, a multiple of n_head. dropout: share of the weights, and of
    the outputs, set to zero in training. causal: nobody looks into the future. Raises ValueError
    for a width that the heads cannot share, and for an input or a mask of another shape.
    """

    def __init__(
        self, n_embd: int, n_head: int, dropout: float = 0.0, bias: bool = True, causal: bool = True
    ):
        super().__init__()
        check_heads(n_embd, n_head, dropout)
        self.n_embd, self.n_head, self.dropout, self.causal = n_embd, n_head, dropout, causal
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=bias)  # queries, then keys, then values
        self.proj = nn.Linear(n_embd, n_embd, bias=bias)

    def heads(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Queries, keys and values of every head: x (B, T, C) -> 3 × (B, n_head, T, head_dim)."""
        if x.ndim != 3 or x.shape[2] != self.n_embd:
            raise ValueError(f"x has shape {tuple(x.shape)}; pass one of (B, T, {self.n_embd})")
        parts = self.qkv(x).split(self.n_embd, dim=2)  # (B, T, 3C) -> 3 × (B, T, C)
        return [part.unflatten(2, (self.n_head, -1)).transpose(1, 2) for part in parts]

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, cache=None):
        """x (B, T, C) -> (B, T, C). mask: True = may look; boolean, shape as in `check_mask`.

        cache: an object whose update(k, v) keeps them and returns all so far, (B, n_head, T_key,
        head_dim), the T of this call last. A query that may look at nothing takes nothing.
        """
        q, k, v = self.heads(x)
        if cache is not None:
            k, v = cache.update(k, v)
        plain = self.causal and mask is None and k.shape[2] == q.shape[2]  # the kernel knows it
        if not plain:
            mask = joint_mask(mask, self.causal, (*q.shape[:3], k.shape[2]), x.device)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=plain)
        y = y.transpose(1, 2).flatten(2)  # (B, n_head, T, head_dim) -> (B, T, C)
        return F.dropout(self.proj(y), dropout)
