"""A small GPT whose parts can be chosen, for the speedrun.

With the defaults of `Recipe` it is the model of nanoGPT (Karpathy, 2022): the GPT of chapter 05
without biases, with the exact GELU. Each other part names who described it. Shapes use B, T and C
as in the chapters.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.speedrun.recipe import Recipe

HASHED = 1 << 15  # rows of a table of n-grams with n > 2


class LayerNorm(nn.Module):
    """Layer norm with a scale and no shift (Ba, Kiros & Hinton, 2016)."""

    def __init__(self, n_embd: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))

    def forward(self, x):
        return F.layer_norm(x, x.shape[-1:], self.weight)


class RMSNorm(nn.Module):
    """Divides by the root mean square, with nothing learned (Zhang & Sennrich, 2019)."""

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:])


def rotary_table(T: int, size: int, base: float = 10_000.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines, (T, size / 2) each, of the angles of positions (Su et al., 2021)."""
    frequencies = base ** (-torch.arange(0, size, 2) / size)
    angles = torch.arange(T)[:, None] * frequencies
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn each pair of numbers of x (..., T, size) by its position's angle (Su et al., 2021)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Attention(nn.Module):
    """Causal attention with rotary positions and normalised queries and keys if asked for."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.recipe, C = recipe, recipe.n_embd
        self.qkv = nn.Linear(C, 3 * C, bias=False)
        self.proj = nn.Linear(C, C, bias=False)

    def forward(self, x, turn, extra=None):
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.recipe.n_head, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)  # (B, n_head, T, C / n_head) each
        if extra is not None:
            v = v + extra
        if self.recipe.qk_norm:  # Henry et al., 2020
            q, k = F.rms_norm(q, q.shape[-1:]), F.rms_norm(k, k.shape[-1:])
        if self.recipe.positions == "rotary":
            q, k = rotate(q, *turn), rotate(k, *turn)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    """Four times as wide and back: GELU (Hendrycks & Gimpel, 2016), ReLU² (So et al., 2021)."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.fc = nn.Linear(recipe.n_embd, 4 * recipe.n_embd, bias=False)
        self.proj = nn.Linear(4 * recipe.n_embd, recipe.n_embd, bias=False)
        self.activation = recipe.activation

    def forward(self, x):
        x = self.fc(x)
        return self.proj(F.gelu(x) if self.activation == "gelu" else F.relu(x).square())


class Block(nn.Module):
    def __init__(self, recipe: Recipe):
        super().__init__()
        self.norm1, self.attention = make_norm(recipe), Attention(recipe)
        self.norm2, self.mlp = make_norm(recipe), MLP(recipe)

    def forward(self, x, turn, extra=None):
        x = x + self.attention(self.norm1(x), turn, extra)
        return x + self.mlp(self.norm2(x))


def make_norm(recipe: Recipe) -> nn.Module:
    return LayerNorm(recipe.n_embd) if recipe.norm == "layer" else RMSNorm()


def ngram_rows(ids: torch.Tensor, n: int, vocab_size: int) -> torch.Tensor:
    """The row in its table of the n-gram that ends at each position; ids (B, T) -> (B, T).

    Before the beginning stands an id of its own, vocab_size. Pairs have a row each; longer n-grams
    share `HASHED` rows by a hash (Svenstrup, Hansen & Winther, 2017).
    """
    row, base = ids, vocab_size + 1
    for back in range(1, n):
        before = F.pad(ids, (back, 0), value=vocab_size)[:, : ids.shape[1]]
        row = row + before * base**back
    return row if n <= 2 else (row * 0x9E3779B1 % ((1 << 31) - 1)) % HASHED


class NGramEmbeddings(nn.Module):
    """One learned vector for each n-gram that ends here, of several lengths n, summed."""

    def __init__(self, recipe: Recipe, vocab_size: int):
        super().__init__()
        self.ngrams, self.vocab_size = recipe.ngrams, vocab_size
        sizes = [(vocab_size + 1) ** 2 if n == 2 else HASHED for n in recipe.ngrams]
        self.tables = nn.ModuleList(
            nn.Embedding(size, recipe.n_embd, sparse=True) for size in sizes
        )

    def forward(self, ids):
        rows = [ngram_rows(ids, n, self.vocab_size) for n in self.ngrams]
        return sum(table(row) for table, row in zip(self.tables, rows, strict=True))


class SpeedGPT(nn.Module):
    """ids (B, T) -> logits (B, T, vocab_size)."""

    def __init__(self, recipe: Recipe, vocab_size: int):
        super().__init__()
        self.recipe, C = recipe, recipe.n_embd
        self.token_embedding = nn.Embedding(vocab_size, C)
        if recipe.positions == "learned":
            self.position_embedding = nn.Embedding(recipe.context_length, C)
        if recipe.ngrams:
            self.ngram_embeddings = NGramEmbeddings(recipe, vocab_size)
        if recipe.smear:
            self.smear = nn.Parameter(torch.zeros(C))
        if recipe.value_ngrams:
            self.value_scale = nn.Parameter(torch.zeros(recipe.n_layer))
        self.blocks = nn.ModuleList([Block(recipe) for _ in range(recipe.n_layer)])
        self.norm = make_norm(recipe)
        self.head = nn.Linear(C, vocab_size, bias=False)
        if recipe.tied:
            self.head.weight = self.token_embedding.weight  # Press & Wolf, 2017
        cos, sin = rotary_table(recipe.context_length, C // recipe.n_head)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        initialise(self)

    def forward(self, ids):
        T, recipe = ids.shape[1], self.recipe
        x = self.token_embedding(ids)
        if recipe.positions == "learned":
            x = x + self.position_embedding.weight[:T]
        grams = self.ngram_embeddings(ids) if recipe.ngrams else None
        if grams is not None:
            x = x + grams
        if recipe.smear:
            x = x + self.smear * F.pad(x, (0, 0, 1, 0))[:, :T]
        if recipe.norm == "rms":
            x = self.norm(x)
        extra = None
        if recipe.value_ngrams:
            extra = grams.unflatten(-1, (recipe.n_head, -1)).transpose(1, 2)
        turn = self.cos[:T], self.sin[:T]
        for i, block in enumerate(self.blocks):
            x = block(x, turn, None if extra is None else self.value_scale[i] * extra)
        logits = self.head(self.norm(x))
        if recipe.softcap:  # Gemma Team, 2024
            logits = recipe.softcap * torch.tanh(logits / recipe.softcap)
        return logits


@torch.no_grad()
def initialise(model: SpeedGPT, std: float = 0.02) -> None:
    """Draw the weights as nanoGPT does (Radford et al., 2019), or with zeros where asked for.

    zero_init: the matrices that write into the residual stream begin as zeros, so that every block
    begins as the identity (Goyal et al., 2017; Zhang et al., 2019; Yang et al., 2022).
    """
    recipe = model.recipe
    for name, weights in model.named_parameters():
        if name.endswith("proj.weight"):
            spread = 0.0 if recipe.zero_init else std / math.sqrt(2 * recipe.n_layer)
            weights.normal_(0.0, spread) if spread else weights.zero_()
        elif name == "head.weight" or "ngram" in name:
            weights.zero_()
        elif weights.ndim == 2:
            weights.normal_(0.0, std)
