"""Generation: from logits to ids, and from ids to text as it arrives (chapter 07).

Shapes use B (sequences), T (positions) and V = vocab_size. Whatever is random takes a
`torch.Generator`; without one, PyTorch's own is used.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from numbers import Integral, Real
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from lib.attention import MultiHeadAttention
from lib.data import END, end_id_of
from lib.model import GELU, GPT, MLP, Block, LayerNorm
from lib.tokenizer import Tokenizer

# --- From logits to an id ------------------------------------------------------------------------


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """The likeliest id: logits (..., V) -> (...). Of equal ones, any.

    >>> greedy(torch.tensor([[0.5, 2.0, 1.0]]))
    tensor([1])
    """
    return logits.argmax(-1)


def scale_temperature(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Divide logits (..., V) by a temperature above 0: below 1 sharpens, above 1 flattens.

    The largest is subtracted first, which no softmax notices, so that nothing overflows.

    >>> scale_temperature(torch.tensor([1.0, 3.0]), 0.5)
    tensor([-4.,  0.])
    """
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def keep_top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and what equals the last of them; the others become -inf.

    logits (..., V) -> same. A k above V keeps all. (Fan, Lewis & Dauphin, 2018.)

    >>> keep_top_k(torch.tensor([1.0, 4.0, 2.0, 3.0]), 2)
    tensor([-inf, 4., -inf, 3.])
    """
    threshold = logits.topk(min(k, logits.shape[-1])).values[..., -1:]  # (..., 1)
    return logits.masked_fill(logits < threshold, -math.inf)


def keep_top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of likeliest ids whose probabilities reach p; the others become -inf.

    logits (..., V) -> same. The likeliest id always stays, also for p = 0. (Holtzman et al., 2020.)

    >>> keep_top_p(torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), 0.7).exp()
    tensor([0.5000, 0.3000, 0.0000, 0.0000])
    """
    ascending, order = logits.sort(dim=-1)
    tail = ascending.softmax(-1).cumsum(-1)  # of each id and all that are less likely
    drop = tail <= 1 - p  # without these, p is still reached
    drop[..., -1] = False
    return logits.masked_fill(drop.scatter(-1, order, drop), -math.inf)


def keep_min_p(logits: torch.Tensor, min_p: float) -> torch.Tensor:
    """Keep the ids that are at least min_p times as likely as the likeliest; the others: -inf.

    logits (..., V) -> same, min_p above 0. (Nguyen et al., 2024.)

    >>> keep_min_p(torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), 0.2).exp()
    tensor([0.5000, 0.3000, 0.1500, 0.0000])
    """
    threshold = logits.amax(-1, keepdim=True) + math.log(min_p)
    return logits.masked_fill(logits < threshold, -math.inf)


def penalise_repetition(logits: torch.Tensor, seen: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make ids that have occurred less likely: positive logits / penalty, negative ones * penalty.

    logits (B, V). seen: boolean (B, V), True where the id has occurred. (Keskar et al., 2019.)

    >>> penalise_repetition(torch.tensor([2.0, -2.0, 2.0]), torch.tensor([True, True, False]), 2.0)
    tensor([ 1., -4.,  2.])
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def draw_from(p: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Draw an id from each distribution: p (B, V) -> (B,).

    The probabilities are laid end to end, and one random point falls into one of them.

    >>> draw_from(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    tensor([1, 2])
    """
    ends = p.double().cumsum(-1)  # (B, V)
    if not ends[:, -1].isfinite().all():
        raise ValueError(
            "the model's logits are not all numbers, so nothing can be drawn; load weights of "
            "before its training diverged"
        )
    points = torch.rand(len(p), 1, dtype=ends.dtype, device=p.device, generator=generator)
    ids = torch.searchsorted(ends, points * ends[:, -1:], right=True)  # the first end beyond it
    return ids[:, 0].clamp(max=p.shape[-1] - 1)


def check_number(name: str, value, low: float, high: float, remedy: str) -> None:
    """Refuse a value that is no number from low to high (NaN is none); the message has a remedy."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not low <= value <= high or math.isinf(value):
        raise ValueError(f"{name} is {value!r}; {remedy}")


def check_count(name: str, value, low: int, what: str) -> None:
    """Refuse a value that is no whole number of at least low."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} is {value!r}; pass a whole number, {low} or more: {what}")


@dataclass(frozen=True)
class Sampler:
    """How the next id is chosen. The steps are applied in this order:

    repetition penalty, temperature, top-k, top-p, min-p, and then a draw from what is left.
    Raises ValueError for a value that makes no sense.
    """

    temperature: float = 1.0  # 0: always the likeliest id (greedy)
    top_k: int | None = None  # so many of the likeliest ids; None: all
    top_p: float = 1.0  # the likeliest ids that reach this probability; 0: the likeliest alone
    min_p: float = 0.0  # ids at least this share as likely as the likeliest; 0: all
    repetition_penalty: float = 1.0  # above 1: what has occurred becomes less likely

    def __post_init__(self):
        remedy = "choose 0 (always the likeliest id) or more; 1 leaves the model as it is"
        check_number("temperature", self.temperature, 0, math.inf, remedy)
        if self.top_k is not None:
            check_count("top_k", self.top_k, 1, "so many ids are kept; None keeps all")
        check_number("top_p", self.top_p, 0, 1, "choose a probability from 0 to 1; 1 keeps all")
        check_number("min_p", self.min_p, 0, 1, "choose a share from 0 to 1; 0 keeps all")
        remedy = "choose a number above 0; 1 changes nothing, 1.2 is a mild penalty"
        check_number("repetition_penalty", self.repetition_penalty, 1e-9, math.inf, remedy)

    def logits(self, logits: torch.Tensor, seen: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, V) after all steps, -inf for what is cut; seen as in `penalise_repetition`."""
        if self.repetition_penalty != 1 and seen is not None:
            logits = penalise_repetition(logits, seen, self.repetition_penalty)
        if self.temperature == 0:
            best = greedy(logits)[..., None]  # (B, 1)
            return torch.full_like(logits, -math.inf).scatter(-1, best, 0.0)
        if self.temperature != 1:
            logits = scale_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p < 1:
            logits = keep_top_p(logits, self.top_p)
        return keep_min_p(logits, self.min_p) if self.min_p > 0 else logits

    def draw(self, logits, seen=None, generator: torch.Generator | None = None) -> torch.Tensor:
        """One id a sequence: logits (B, V), and seen as in `logits` -> (B,)."""
        if self.temperature == 0 and self.repetition_penalty == 1:
            return greedy(logits)
        return draw_from(self.logits(logits, seen).softmax(-1), generator)


# --- Reading with a memory -----------------------------------------------------------------------


class KVCache:
    """The keys and values of one layer, kept from call to call: see `MultiHeadAttention.forward`.

    capacity: how many positions fit. The memory is taken once, at the first call; after that each
    call writes its own positions and copies no others. `len` is the number of positions kept.
    n_head is that of the keys, of which a model may have fewer than of queries (chapter 10).
    Raises ValueError when it is full. For use without gradients.
    """

    def __init__(self, capacity: int):
        self.capacity, self.length = capacity, 0
        self.keys = self.values = None  # (B, n_head, capacity, head_dim)

    def __len__(self) -> int:
        return self.length

    def update(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep k and v (B, n_head, T, head_dim); return all so far (B, n_head, len, head_dim)."""
        start, T = self.length, k.shape[2]
        if start + T > self.capacity:
            raise ValueError(
                f"the cache holds {start} of {self.capacity} positions, so {T} more do not fit; "
                "make it with a larger capacity, or truncate it"
            )
        if self.keys is None:
            B, n_head, _, head_dim = k.shape
            self.keys = k.new_empty(B, n_head, self.capacity, head_dim)
            self.values = torch.empty_like(self.keys)
        self.length = start + T
        self.keys.narrow(2, start, T).copy_(k)
        self.values.narrow(2, start, T).copy_(v)
        return self.keys.narrow(2, 0, self.length), self.values.narrow(2, 0, self.length)

    def truncate(self, length: int) -> None:
        """Forget all positions from `length` on."""
        self.length = min(self.length, length)

    def select(self, rows: torch.Tensor) -> None:
        """Go on with these sequences of the batch, (n,); one may be taken several times."""
        kept = [x.narrow(2, 0, self.length)[rows] for x in (self.keys, self.values)]
        self.keys, self.length = None, 0  # new memory, into which what is kept alone is copied
        self.update(*kept)


def window_start(n: int, context_length: int) -> int:
    """Where the model begins to read when n ids precede the one to predict.

    Up to context_length ids it reads all. Then it drops half a context at a time: the start moves
    by whole halves, so that what was computed serves for half a context of further ids.

    >>> [window_start(n, 8) for n in (7, 8, 9, 12, 13)]
    [0, 0, 4, 4, 8]
    """
    half = max(1, context_length // 2)
    return half * math.ceil(max(0, n - context_length) / half)


def pad_left(rows: Sequence[Sequence[int]], device=None):
    """Rows of unequal length as one tensor (B, T) with a mask, True for ids; None if all are equal.

    The padding stands on the left, so that the last id of every row is in the last column.

    >>> pad_left([[5, 6], [7]])
    (tensor([[5, 6],
            [0, 7]]), tensor([[ True,  True],
            [False,  True]]))
    """
    T = max(map(len, rows))
    ids = torch.tensor([[0] * (T - len(row)) + list(row) for row in rows], device=device)
    if all(len(row) == T for row in rows):
        return ids, None
    lengths = torch.tensor([[len(row)] for row in rows], device=device)  # (B, 1)
    return ids, torch.arange(T, device=device) >= T - lengths


def is_plain(model) -> bool:
    """Whether a model is a `GPT` of chapter 05's own parts, none of them changed or listened to."""
    parts = {GPT, Block, MultiHeadAttention, LayerNorm, MLP, GELU}
    parts |= {nn.Linear, nn.Embedding, nn.Dropout, nn.ModuleList}
    return all(
        type(part) in parts
        and not (part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part))
        for part in model.modules()
    )


class PlainStep:
    """What `GPT.hidden_states` gives for one more id a sequence, without a call for each part.

    For one sequence of a small model, the calls of its modules take as long as their arithmetic.
    Here it is alone, on the weights of a model that `is_plain`, without padding.
    """

    def __init__(self, model: GPT):
        def weights(part):
            if isinstance(part, LayerNorm):
                return part.weight.shape, part.weight, part.bias, part.eps
            return part.weight, part.bias

        self.tokens, self.places = model.token_embedding.weight, model.position_embedding.weight
        self.n_head, self.norm, self.blocks = model.config.n_head, weights(model.norm), []
        for b in model.blocks:
            parts = b.norm1, b.attention.qkv, b.attention.proj, b.norm2, b.mlp.fc, b.mlp.proj
            self.blocks.append([weights(part) for part in parts])

    def __call__(self, ids: torch.Tensor, caches: Sequence["KVCache"]) -> torch.Tensor:
        """ids (B, 1) -> (B, 1, C), as `Block.forward` and `MultiHeadAttention.forward` have it."""
        x = F.embedding(ids[:, 0], self.tokens) + self.places[len(caches[0])]  # (B, C)
        for (norm1, qkv, proj, norm2, fc, back), cache in zip(self.blocks, caches, strict=True):
            h = F.linear(F.layer_norm(x, *norm1), *qkv)  # (B, 3C)
            q, k, v = h.view(len(x), 3, self.n_head, 1, -1).unbind(1)  # (B, n_head, 1, head_dim)
            y = F.scaled_dot_product_attention(q, *cache.update(k, v))
            x = x + F.linear(y.flatten(1), *proj)
            h = F.linear(F.layer_norm(x, *norm2), *fc)  # (B, 4C)
            x = x + F.linear(F.gelu(h, approximate="tanh"), *back)
        return F.layer_norm(x, *self.norm)[:, None]


class Reader:
    """A model with a memory of what it has read of B sequences.

    `len` is the number of positions in its caches: always 0 with cached=False.
    """

    def __init__(self, model: GPT, cached: bool):
        self.model, self.cached, self.caches, self.mask = model, cached, [], None
        self.step = PlainStep(model) if is_plain(model) else None

    def __len__(self) -> int:
        return len(self.caches[0]) if self.caches else 0

    def begin(self, rows: Sequence[Sequence[int]], n: int) -> torch.Tensor:
        """Read rows of any lengths from their start; return the logits (B, n, V) at the last n."""
        ids, self.mask = pad_left(rows, next(self.model.parameters()).device)
        if self.cached:
            config = self.model.config
            self.caches = [KVCache(config.context_length) for _ in range(config.n_layer)]
        hidden = self.model.hidden_states(ids, self.mask, caches=self.caches or None)
        return self.model.head(hidden[:, -n:])

    def go_on(self, ids: torch.Tensor) -> torch.Tensor:
        """Read ids (B, T) after what is in the caches; return logits (B, T, V)."""
        if self.mask is not None:
            self.mask = F.pad(self.mask, (0, ids.shape[1]), value=True)
        elif self.step and ids.shape[1] == 1:
            return self.model.head(self.step(ids, self.caches))
        return self.model.head(self.model.hidden_states(ids, self.mask, caches=self.caches))

    def forget(self, n: int) -> None:
        """Forget the last n positions."""
        for cache in self.caches:
            cache.truncate(len(cache) - n)
        self.mask = None if self.mask is None else self.mask[:, : len(self)]

    def select(self, rows: torch.Tensor) -> None:
        """Go on with these sequences, (n,); one may be taken several times."""
        self.mask = None if self.mask is None else self.mask[rows]
        for cache in self.caches:
            cache.select(rows)


def check_mode(model) -> None:
    """Refuse a model in training mode, if it has dropout."""
    if model.training and getattr(model.config, "dropout", 0):
        raise ValueError(
            "the model is in training mode, where dropout makes every reading another; call "
            "model.eval() first"
        )


class Decoder:
    """B sequences (`rows`, all ids so far) and a model, which sees the window of `window_start`.

    cached=False reads the whole window at every step: the same logits, in more time.
    """

    def __init__(self, model: GPT, cached: bool = True):
        check_mode(model)
        self.reader, self.rows = Reader(model, cached), []
        self.context_length = model.config.context_length
        self.device = next(model.parameters()).device

    def starts(self) -> list[int]:
        """Where the window of each sequence begins."""
        return [window_start(len(row), self.context_length) for row in self.rows]

    def start(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Read the beginnings of B sequences; return the logits (B, V) of what follows."""
        self.rows = [list(prompt) for prompt in prompts]
        self.reader.forget(len(self.reader))
        return self.extend(torch.zeros(len(prompts), 0, dtype=torch.int64))[:, -1]

    @torch.inference_mode()
    def extend(self, ids: torch.Tensor) -> torch.Tensor:
        """Read ids (B, T) -> logits (B, T, V) of what follows each; T > 1 if no window moves."""
        for row, new in zip(self.rows, ids.tolist(), strict=True):
            row += new
        if 0 < len(self.reader) <= self.context_length - ids.shape[1]:
            return self.reader.go_on(ids)
        windows = [row[start:] for row, start in zip(self.rows, self.starts(), strict=True)]
        return self.reader.begin(windows, max(1, ids.shape[1]))

    def rewind(self, n: int) -> None:
        """Forget the last n ids of every sequence."""
        before = self.starts()
        self.rows = [row[: len(row) - n] for row in self.rows]
        self.reader.forget(n if self.starts() == before else len(self.reader))  # if moved: all

    def select(self, rows: torch.Tensor) -> None:
        """Go on with these sequences, (n,); one may be taken several times."""
        self.rows = [list(self.rows[i]) for i in rows.tolist()]
        self.reader.select(rows)


# --- Whole sequences -----------------------------------------------------------------------------


def check_prompts(prompts, context_length: int) -> list[list[int]]:
    """The prompts as lists of ids; ValueError for none, an empty one, or one that is too long."""
    several = isinstance(prompts, Iterable) and not isinstance(prompts, str)
    rows = [row.tolist() if hasattr(row, "tolist") else row for row in prompts] if several else []
    if not rows or not all(isinstance(row, (list, tuple)) for row in rows):
        raise ValueError(
            "prompts must be a list of lists of ids, one a sequence; pass [ids] for a single one, "
            "and encode texts first"
        )
    for i, row in enumerate(rows):
        if not row:
            raise ValueError(
                f"prompt {i} is empty, and a model needs an id to start from; pass the end-of-text "
                "id, after which a new text begins"
            )
        if len(row) > context_length:
            raise ValueError(
                f"prompt {i} has {len(row)} ids, but context_length is {context_length}: its "
                f"beginning would not be read; pass the end, prompt[-{context_length}:], or a "
                "shorter prompt"
            )
    return rows


def generate_steps(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampler: Sampler,
    generator: torch.Generator | None = None,
    cached: bool = True,
) -> Iterator[list[int]]:
    """Yield the next id of each sequence, (B,) as a list, max_new_tokens times."""
    check_count("max_new_tokens", max_new_tokens, 0, "so many ids are added at most")
    decoder = Decoder(model, cached)
    logits = decoder.start(check_prompts(prompts, decoder.context_length))  # (B, V)
    seen = None
    if sampler.repetition_penalty != 1:
        seen = torch.zeros_like(logits, dtype=torch.bool)
        for row, ids in zip(seen, decoder.rows, strict=True):
            row[ids] = True
    for step in range(max_new_tokens):
        if step:
            logits = decoder.extend(ids)[:, -1]
        ids = sampler.draw(logits, seen, generator)[:, None]  # (B, 1)
        if seen is not None:
            seen.scatter_(1, ids, True)
        yield ids[:, 0].tolist()


def generate(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampler: Sampler = Sampler(),
    end_id: int | None = None,
    generator: torch.Generator | None = None,
    cached: bool = True,
) -> list[list[int]]:
    """Continue B prompts, lists of ids of any lengths; return the new ids of each.

    A sequence ends before end_id, or after max_new_tokens. Beyond context_length the model reads
    through a window (see `window_start`). Without randomness, no sequence depends on the others.
    Raises ValueError for prompts that are empty or longer than context_length.
    """
    prompts = check_prompts(prompts, model.config.context_length)
    rows = [[] for _ in prompts]
    running = list(range(len(rows)))
    for ids in generate_steps(model, prompts, max_new_tokens, sampler, generator, cached):
        running = [i for i in running if ids[i] != end_id]
        for i in running:
            rows[i].append(ids[i])
        if not running:
            break
    return rows


@torch.no_grad()
def log_probabilities(model: GPT, ids: Sequence[int]) -> torch.Tensor:
    """ln p of each id of a text given those before it, in nats: n ids -> (n - 1,).

    The first has no context, so put the end-of-text id before a text that begins. The model reads
    through the window of `window_start`: these are the probabilities that generation has.
    """
    check_mode(model)
    ids = torch.as_tensor(ids, device=next(model.parameters()).device)
    if ids.ndim != 1 or len(ids) < 2:
        raise ValueError(
            f"ids has shape {tuple(ids.shape)}; pass one text of two ids or more, the first of "
            "which is only a beginning, such as the end-of-text id"
        )
    i, found = 1, []
    while i < len(ids):
        start = window_start(i, model.config.context_length)
        end = min(len(ids) - 1, start + model.config.context_length)  # predict ids i to end
        logits = model(ids[None, start:end])[0, i - 1 - start :]  # (end - i + 1, V)
        found.append(logits.log_softmax(-1).gather(1, ids[i : end + 1, None])[:, 0])
        i = end + 1
    return torch.cat(found)


# --- Beam search ---------------------------------------------------------------------------------


class Hypothesis(NamedTuple):
    """A continuation that beam search found."""

    ids: list[int]  # the new ids, without end_id
    score: float  # log-probability, in nats, over a power of the length


def best_extensions(
    totals: torch.Tensor, logits: torch.Tensor, n: int
) -> list[tuple[float, int, int]]:
    """The n best ways to extend some beams by one id: (new total, beam, id), best first.

    totals (beams,): the log-probabilities so far. logits (beams, V): what may follow each.

    >>> logits = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log()
    >>> [(beam, i) for total, beam, i in best_extensions(torch.tensor([-1.0, -1.0]), logits, 2)]
    [(0, 0), (1, 0)]
    """
    extended = totals[:, None] + logits.log_softmax(-1)  # (beams, V)
    best = extended.flatten().topk(min(n, extended.numel()))
    places = best.indices.tolist()
    return [
        (total, *divmod(place, logits.shape[-1]))
        for total, place in zip(best.values.tolist(), places, strict=True)
    ]


def beam_search(
    model: GPT,
    prompt: Sequence[int],
    max_new_tokens: int,
    n_beams: int,
    length_penalty: float = 1.0,
    end_id: int | None = None,
) -> list[Hypothesis]:
    """Look for likely continuations, keeping the n_beams best beginnings at each step.

    A continuation of n new ids (end_id counts) is scored by its log-probability over
    n ** length_penalty: 0 compares sums, which favours short ones, and 1 compares means. Returns
    at most n_beams, best first. It stops when the best beginning, scored as it stands, is no
    better than the worst of n_beams finished ones (as transformers does by default).
    """
    check_count("max_new_tokens", max_new_tokens, 1, "so many ids are added at most")
    check_count("n_beams", n_beams, 1, "so many beginnings are kept, and 1 is greedy")
    remedy = "choose 0 to compare sums of log-probabilities, 1 to compare means"
    check_number("length_penalty", length_penalty, -math.inf, math.inf, remedy)
    decoder = Decoder(model)
    logits = decoder.start(check_prompts([prompt], decoder.context_length))
    beams, totals, finished = [[]], torch.zeros(1, device=decoder.device), []
    for n in range(1, max_new_tokens + 1):
        best = best_extensions(totals, logits, 2 * n_beams)  # enough, if n_beams of them end
        for total, beam, new in best[:n_beams]:
            if new == end_id or n == max_new_tokens:
                ids = beams[beam] if new == end_id else [*beams[beam], new]
                finished.append(Hypothesis(ids, total / n**length_penalty))
        finished = sorted(finished, key=lambda h: -h.score)[:n_beams]
        going_on = [found for found in best if found[2] != end_id][:n_beams]
        enough = len(finished) == n_beams
        if not going_on or (enough and going_on[0][0] / n**length_penalty <= finished[-1].score):
            break
        if n < max_new_tokens:
            sums, parents, new = (
                torch.tensor(x, device=decoder.device) for x in zip(*going_on, strict=True)
            )
            beams = [[*beams[beam], i] for _, beam, i in going_on]
            decoder.select(parents)
            totals, logits = sums, decoder.extend(new[:, None])[:, -1]
    return finished


# --- Speculative decoding ------------------------------------------------------------------------


class Speculation(NamedTuple):
    """What `speculative_generate` returns."""

    ids: list[int]  # the new ids, without end_id
    n_drafted: int  # ids that the draft proposed
    n_accepted: int  # of these, how many the model accepted
    n_calls: int  # forward passes of the model


def accept_or_replace(
    p: torch.Tensor, q: torch.Tensor, proposed: int, generator: torch.Generator | None = None
) -> tuple[int, bool]:
    """Turn an id that was drawn from q into one that is distributed as p; p and q: (V,).

    It is accepted with probability min(1, p / q), else replaced by a draw from what p has more
    than q. Returns the id, and whether it is the proposed one. (Leviathan, Kalman & Matias, 2023;
    Chen et al., 2023.)
    """
    chance = torch.rand((), generator=generator, device=p.device)
    if chance * q[proposed] < p[proposed]:
        return proposed, True
    more = (p - q).clamp(min=0)
    more = more if more.any() else p  # p = q but for rounding
    return draw_from(more[None], generator).item(), False


def propose(
    decoder: Decoder, ids: list[int], n: int, sampler: Sampler, seen: torch.Tensor, generator
) -> tuple[list[int], list[torch.Tensor]]:
    """Draw n ids from a draft that is to continue `ids`; return them and their distributions (V,).

    seen (1, V): which ids have occurred. What the draft read beyond `ids` before is forgotten.
    """
    read = decoder.rows[0]
    agreed = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(read, ids, strict=False))
    )
    agreed = min(agreed, len(ids) - 1)  # at least the last one is read, for its logits
    if agreed < len(read):
        decoder.rewind(len(read) - agreed)
    unread, distributions, seen = ids[agreed:], [], seen.clone()
    for _ in range(n):
        for i in unread:
            logits = decoder.extend(torch.tensor([[i]], device=decoder.device))[:, -1]  # (1, V)
        q = sampler.logits(logits, seen).softmax(-1)
        unread = draw_from(q, generator).tolist()
        seen[0, unread] = True
        distributions.append(q[0])
        ids = ids + unread
    return ids[len(ids) - n :], distributions


def judge(
    logits: torch.Tensor, proposed, distributions, sampler: Sampler, seen: torch.Tensor, generator
) -> list[int]:
    """The ids that follow: the proposals up to the first that is replaced, or all and one more.

    logits (n + 1, V): the model's, before each proposal and after the last. seen (1, V) is changed.
    """
    chosen = []
    for row, new, q in zip(logits, proposed, distributions, strict=False):
        p = sampler.logits(row[None], seen).softmax(-1)[0]  # (V,)
        found, accepted = accept_or_replace(p, q, new, generator)
        chosen.append(found)
        seen[0, found] = True
        if not accepted:
            return chosen
    last = sampler.draw(logits[-1:], seen, generator)  # (1,)
    seen[0, last] = True
    return [*chosen, last.item()]


def speculative_generate(
    model: GPT,
    draft: GPT,
    prompt: Sequence[int],
    max_new_tokens: int,
    n_draft: int = 4,
    sampler: Sampler = Sampler(),
    end_id: int | None = None,
    generator: torch.Generator | None = None,
) -> Speculation:
    """Continue a prompt as `generate` does, with fewer calls of the model: a draft runs ahead.

    The draft, a smaller model with the same ids, proposes up to n_draft of them, and one call of
    the model judges all. The ids are distributed as those of the model alone. (Leviathan et al.,
    2023.) Raises ValueError for a draft with another vocab_size.
    """
    check_count("max_new_tokens", max_new_tokens, 1, "so many ids are added at most")
    check_count("n_draft", n_draft, 1, "so many ids are proposed at once")
    if model.config.vocab_size != draft.config.vocab_size:
        raise ValueError(
            f"the draft has {draft.config.vocab_size} ids and the model {model.config.vocab_size}; "
            "use a draft that was trained with the tokenizer of the model"
        )
    decoder, drafter = Decoder(model), Decoder(draft)
    [prompt] = check_prompts([prompt], decoder.context_length)
    logits = decoder.start([prompt])  # (1, V)
    drafter.start([prompt])
    seen = torch.zeros_like(logits, dtype=torch.bool)
    seen[0, prompt] = True
    ids, n_drafted, n_accepted, n_calls = judge(logits, [], [], sampler, seen, generator), 0, 0, 1
    while len(ids) < max_new_tokens and end_id not in ids:
        room = decoder.context_length - len(decoder.rows[0]) + decoder.starts()[0]
        n = max(0, min(n_draft, max_new_tokens - len(ids) - 1, room - 1))
        proposed, qs = propose(drafter, [*prompt, *ids], n, sampler, seen, generator)
        read = torch.tensor([[ids[-1], *proposed]], device=decoder.device)
        chosen = judge(decoder.extend(read)[0], proposed, qs, sampler, seen, generator)
        decoder.rewind(n + 1 - len(chosen))  # proposals that were replaced, or not looked at
        ids += chosen
        n_drafted, n_accepted, n_calls = n_drafted + n, n_accepted + len(chosen) - 1, n_calls + 1
    return Speculation(list(takewhile(lambda i: i != end_id, ids)), n_drafted, n_accepted, n_calls)


# --- From ids to text ----------------------------------------------------------------------------


def until_stop(pieces: Iterable[str], stop: Sequence[str]) -> Iterator[str]:
    """Pass on a text that comes in pieces, up to the first stop string, which may span pieces.

    The end of a piece that could be the beginning of a stop string is held back until that is
    known. The stop string that is complete first counts, and of several the longest. How the text
    is cut into pieces changes nothing.

    >>> list(until_stop(["one. T", "he e", "nd. And"], ["The end"]))
    ['one. ']
    """
    several = isinstance(stop, Sequence) and not isinstance(stop, str)
    if not several or not all(isinstance(s, str) and s for s in stop):
        raise ValueError(f"stop is {stop!r}; pass a list of strings, none of them empty")
    held = ""
    for piece in pieces:
        held += piece
        ends = [(held.find(s) + len(s), held.find(s)) for s in stop if s in held]
        if ends:
            held = held[: min(ends)[1]]
            break
        beginnings = (n for s in stop for n in range(1, len(s)) if held.endswith(s[:n]))
        border = len(held) - max(beginnings, default=0)
        if border:
            yield held[:border]
            held = held[border:]
    if held:
        yield held


def stream(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str,
    max_new_tokens: int,
    sampler: Sampler = Sampler(),
    stop: Sequence[str] = (),
    generator: torch.Generator | None = None,
    end: str = END,
) -> Iterator[str]:
    """Yield the continuation of a text, piece by piece, as soon as a piece is certain.

    A character is yielded when all of its bytes are there. The end-of-text token `end` is put
    before the prompt, as before every text in training, so the prompt may be empty; where the
    model produces it, the text ends, and before a stop string as well.
    """
    end_id = end_id_of(tokenizer, end)
    prompts = [[end_id, *tokenizer.encode(prompt)]]
    steps = generate_steps(model, prompts, max_new_tokens, sampler, generator)
    ids = takewhile(lambda i: i != end_id, (i for [i] in steps))
    yield from until_stop(tokenizer.decode_iterable(ids), stop)
