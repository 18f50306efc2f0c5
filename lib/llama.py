"""Llama: the decoder-only transformer in the design that most models share today (chapter 10).

Four parts differ from GPT-2: RMSNorm in place of layer norm, rotary positions in place of learned
ones, a gated MLP, and keys and values that several heads share (Touvron et al., 2023). Shapes use
B (sequences), T (positions), C = n_embd and D = head_dim.
"""

from dataclasses import dataclass
from numbers import Integral

import torch
from torch import nn
from torch.nn import functional as F

from lib.attention import joint_mask
from lib.model import find_positions, initialise, look_up


@dataclass(frozen=True)
class LlamaConfig:
    """The shape of a Llama. Raises ValueError for a shape that no model can have."""

    vocab_size: int  # how many different ids there are
    context_length: int  # the longest sequence
    n_layer: int  # blocks, one after the other
    n_head: int  # heads of queries in each block
    n_kv_head: int  # heads of keys and values, each for n_head / n_kv_head heads of queries
    n_embd: int  # width C of the residual stream
    n_hidden: int  # width inside the MLP
    head_dim: int | None = None  # width D of a head, an even number; None: n_embd / n_head
    rope_base: float = 10_000.0  # the slowest rotary wave has a wavelength of nearly 2π rope_base
    norm_eps: float = 1e-5  # inside the root of the norms
    tied: bool = True  # whether the output matrix is the token embedding itself
    qk_norm: bool = False  # whether queries and keys are normalised, head by head (Qwen3)

    def __post_init__(self):
        if self.head_dim is None and isinstance(self.n_head, Integral) and self.n_head > 0:
            object.__setattr__(self, "head_dim", self.n_embd // self.n_head)
        sizes = "vocab_size context_length n_layer n_head n_kv_head n_embd n_hidden head_dim"
        for name in sizes.split():
            size = getattr(self, name)
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(f"{name} is {size!r}; choose a whole number, 1 or more")
        if self.n_head % self.n_kv_head:
            raise ValueError(
                f"n_head is {self.n_head} and n_kv_head is {self.n_kv_head}; choose an n_head that "
                "is a multiple of n_kv_head, for every head of keys serves as many heads of queries"
            )
        if self.head_dim % 2:
            raise ValueError(
                f"head_dim is {self.head_dim}; choose an even number, for rotary positions turn "
                "pairs of numbers"
            )
        for name in ("rope_base", "norm_eps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose a number above 0")


class RMSNorm(nn.Module):
    """Divides the numbers of each position by their root mean square, then scales each.

    x (..., C) -> (..., C). No mean is subtracted and nothing is added. eps stands inside the root.
    (Zhang & Sennrich, 2019.)
    """

    def __init__(self, n_embd: int, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def rotary_waves(positions: torch.Tensor, head_dim: int, base: float = 10_000.0) -> torch.Tensor:
    """Cosines and sines of the angles by which a position turns its pairs.

    positions (..., T) -> (2, ..., T, head_dim / 2): pair i turns by position / base**(2i /
    head_dim) radians. (Su et al., 2021.)

    >>> rotary_waves(torch.tensor([0, 1]), head_dim=2).flatten().round(decimals=2)
    tensor([1.0000, 0.5400, 0.0000, 0.8400])
    """
    pairs = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32)  # (D / 2,)
    angles = positions[..., None].float() / base ** (pairs / head_dim)  # (..., T, D / 2)
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: torch.Tensor, waves: torch.Tensor) -> torch.Tensor:
    """Turn each pair of numbers (x[i], x[i + D/2]) by the angle of its position.

    x (..., T, D). waves: from `rotary_waves`, whose dimensions after the first fit (..., T, D / 2).
    Returns a tensor like x. The product of two vectors so turned depends on the distance of their
    positions alone. (Su et al., 2021.)
    """
    cos, sin = waves.to(x.dtype)
    first, second = x.chunk(2, dim=-1)  # 2 × (..., T, D / 2)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class GroupedQueryAttention(nn.Module):
    """Causal self-attention whose heads share keys and values in groups (Ainslie et al., 2023).

    The heads of queries 0 … g - 1 use head 0 of the keys and values, the next g use head 1, and so
    on, g = n_head / n_kv_head. Positions enter by turning queries and keys (see `rotate`).
    """

    def __init__(self, config: LlamaConfig):
        super().__init__()
        C, D = config.n_embd, config.head_dim
        self.head_dim = D
        self.q = nn.Linear(C, config.n_head * D, bias=False)
        self.k = nn.Linear(C, config.n_kv_head * D, bias=False)
        self.v = nn.Linear(C, config.n_kv_head * D, bias=False)
        self.proj = nn.Linear(config.n_head * D, C, bias=False)
        self.q_norm = RMSNorm(D, config.norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(D, config.norm_eps) if config.qk_norm else nn.Identity()

    def heads(self, y: torch.Tensor) -> torch.Tensor:
        """(B, T, heads × D) -> (B, heads, T, D)."""
        return y.unflatten(2, (-1, self.head_dim)).transpose(1, 2)

    def forward(self, x, waves, mask: torch.Tensor | None = None, cache=None) -> torch.Tensor:
        """x (B, T, C) -> (B, T, C). waves as in `rotate`; mask and cache as in
        `MultiHeadAttention.forward`, the cache with n_kv_head heads.
        """
        q = rotate(self.q_norm(self.heads(self.q(x))), waves)  # (B, n_head, T, D)
        k = rotate(self.k_norm(self.heads(self.k(x))), waves)  # (B, n_kv_head, T, D)
        v = self.heads(self.v(x))  # (B, n_kv_head, T, D)
        if cache is not None:
            k, v = cache.update(k, v)
        plain = mask is None and k.shape[2] == q.shape[2]  # the kernel knows the causal mask
        if not plain:
            mask = joint_mask(mask, True, (*q.shape[:3], k.shape[2]), x.device)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=plain, enable_gqa=True)
        return self.proj(y.transpose(1, 2).flatten(2))  # (B, n_head, T, D) -> (B, T, C)


class SwiGLU(nn.Module):
    """An MLP with a gate: down(silu(gate(x)) · up(x)). x (B, T, C) -> same. (Shazeer, 2020.)"""

    def __init__(self, n_embd: int, n_hidden: int):
        super().__init__()
        self.gate = nn.Linear(n_embd, n_hidden, bias=False)
        self.up = nn.Linear(n_embd, n_hidden, bias=False)
        self.down = nn.Linear(n_hidden, n_embd, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))  # (B, T, n_hidden) inside


class LlamaBlock(nn.Module):
    """Attention, then the MLP, each on a normalised copy of x: as `Block`, of other parts."""

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.norm1 = RMSNorm(config.n_embd, config.norm_eps)
        self.attention = GroupedQueryAttention(config)
        self.norm2 = RMSNorm(config.n_embd, config.norm_eps)
        self.mlp = SwiGLU(config.n_embd, config.n_hidden)

    def forward(self, x, waves, mask: torch.Tensor | None = None, cache=None) -> torch.Tensor:
        x = x + self.attention(self.norm1(x), waves, mask, cache)  # (B, T, C)
        return x + self.mlp(self.norm2(x))  # (B, T, C)


class Llama(nn.Module):
    """A decoder-only transformer: ids in, a logit for every possible next id out.

    It takes the arguments of `GPT`, so all that reads, trains or generates with a GPT does so with
    a Llama, and raises the same errors. (Touvron et al., 2023; with qk_norm, Yang et al., 2025.)
    """

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.blocks = nn.ModuleList([LlamaBlock(config) for _ in range(config.n_layer)])
        self.norm = RMSNorm(config.n_embd, config.norm_eps)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.token_embedding.weight  # one matrix under two names
        initialise(self)

    def hidden_states(self, ids, mask=None, positions=None, caches=None) -> torch.Tensor:
        """What the head reads: arguments as in `forward`, returns (B, T, C)."""
        caches = [None] * len(self.blocks) if caches is None else caches
        places = find_positions(ids, mask, positions, caches, self.config)  # (T,) or (B, T)
        waves = rotary_waves(places, self.config.head_dim, self.config.rope_base)
        waves = waves if places.ndim == 1 else waves[:, :, None]  # (2, B, T, D/2): for all heads
        x = look_up(self.token_embedding, ids, "ids", "use the tokenizer of this model")
        mask = None if mask is None else mask[:, None, None, :]  # (B, T_key) -> (B, 1, 1, T_key)
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, waves, mask, cache)
        return self.norm(x)

    def forward(self, ids, mask=None, positions=None, caches=None) -> torch.Tensor:
        """ids (B, T) -> logits (B, T, vocab_size); the arguments are those of `GPT.forward`."""
        return self.head(self.hidden_states(ids, mask, positions, caches))
