"""Fine-tuning: examples with a loss mask become batches, padded or packed (chapter 12).

The training loop is that of chapter 06: what is learned is decided by the targets, which are -100
wherever the loss must not look.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from lib.chat import Rendered
from lib.data import PADDING, POOL, check_state, shuffled
from lib.model import GPT, look_up

# --- New words for a trained model ---------------------------------------------------------------


@torch.no_grad()
def extend_vocabulary(model: GPT, vocab_size: int) -> GPT:
    """A copy of a trained model with rows for more ids, behind those that it has.

    A new row is the mean of all rows, the same for each, so that no new id is likelier than an
    average one before it is learned (Hewitt, 2021). Raises ValueError for fewer ids than there are.
    """
    old = model.config.vocab_size
    if not isinstance(vocab_size, int) or vocab_size < old:
        raise ValueError(
            f"vocab_size is {vocab_size!r}, and the model has {old} ids already; pass the "
            "vocab_size of a tokenizer that has all of them"
        )
    larger = type(model)(replace(model.config, vocab_size=vocab_size))
    larger.to(model.token_embedding.weight)  # the same device and dtype
    weights = larger.state_dict()
    for name, tensor in model.state_dict().items():
        weights[name][: len(tensor)] = tensor
        if len(weights[name]) > len(tensor):  # the token embedding, and a head that is not tied
            weights[name][len(tensor) :] = tensor.mean(0)
    larger.load_state_dict(weights)
    return larger.train(model.training)


# --- Examples ------------------------------------------------------------------------------------


def plain_example(ids: Sequence[int], begin_id: int) -> Rendered:
    """A text as in pretraining: after begin_id, and closed by it, everything is learned.

    >>> plain_example([5, 6], begin_id=0)
    Rendered(ids=[0, 5, 6, 0], mask=[False, True, True, True])
    """
    return Rendered([begin_id, *ids, begin_id], [False] + [True] * (len(ids) + 1))


def check_examples(examples: Sequence[Rendered], context_length: int) -> None:
    """Refuse examples that are too long, that teach nothing, or whose mask does not fit."""
    if isinstance(examples, Rendered) or not examples:
        raise ValueError("there are no examples; pass a list of what ChatTemplate.render returns")
    for i, (ids, mask) in enumerate(examples):
        if len(ids) != len(mask):
            raise ValueError(
                f"example {i} has {len(ids)} ids and a mask of {len(mask)}; pass one entry an id"
            )
        if len(ids) - 1 > context_length:
            raise ValueError(
                f"example {i} has {len(ids)} ids, but context_length is {context_length}; leave it "
                "out, or a turn of it: cutting it would take away the answer"
            )
        if not any(mask[1:]):
            raise ValueError(
                f"example {i} has nothing to learn behind its first id; leave it out, or add the "
                "assistant's answer"
            )


def targets_of(example: Rendered) -> list[int]:
    """For each id but the last the one that follows, or -100 where that is not to be learned.

    >>> targets_of(Rendered([7, 8, 9], [False, False, True]))
    [-100, 9]
    """
    following = zip(example.ids[1:], example.mask[1:], strict=True)
    return [i if learned else PADDING for i, learned in following]


def collate(examples: Sequence[Rendered], fill_id: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch (x, y) of shape (B, T), one example a row, filled up behind its end.

    T: ids of the longest example, less one. x is filled with fill_id and y with -100: the model is
    causal, so what stands behind an example cannot change it. Raises ValueError for no examples,
    and for one that is too short to predict anything.

    >>> collate([Rendered([7, 8, 9], [False, False, True]), Rendered([7, 8], [False, True])])
    (tensor([[7, 8],
            [7, 0]]), tensor([[-100,    9],
            [   8, -100]]))
    """
    lengths = [len(example.ids) for example in examples]
    if min(lengths, default=0) < 2:
        raise ValueError(
            f"the examples have {lengths} ids; pass one example or more, each of at least two ids, "
            "one that is read and one that is predicted"
        )
    T = max(lengths) - 1
    x = torch.full((len(examples), T), fill_id)
    y = torch.full((len(examples), T), PADDING)
    for row, example in enumerate(examples):
        n = len(example.ids) - 1
        x[row, :n] = torch.tensor(example.ids[:-1])
        y[row, :n] = torch.tensor(targets_of(example))
    return x, y


# --- Batches -------------------------------------------------------------------------------------


def checksum_of(examples: Sequence[Rendered], fill_id: int) -> str:
    """SHA-256 of all that examples hold."""
    facts = [[list(map(int, ids)), list(map(int, mask))] for ids, mask in examples]
    return hashlib.sha256(json.dumps([facts, fill_id]).encode()).hexdigest()


def deal(lengths: Sequence[int], batch_size: int, seed: int, number: int) -> list[list[int]]:
    """Pool `number` of an endless shuffle: POOL batches, each of things of similar lengths.

    Returns the numbers of the things. As `lib.data.Documents.pool`.

    >>> [len(batch) for batch in deal([3, 5, 2, 4], batch_size=2, seed=0, number=0)] == [2] * POOL
    True
    """
    n, size, chosen = len(lengths), POOL * batch_size, []
    first, stop = number * size, (number + 1) * size
    for epoch in range(first // n, (stop - 1) // n + 1):
        begin, end = max(first - epoch * n, 0), min(stop - epoch * n, n)
        chosen += shuffled(n, seed, epoch, begin, end).tolist()
    chosen.sort(key=lambda i: lengths[i])
    order = shuffled(POOL, seed, number, 0, POOL).tolist()
    return [chosen[i * batch_size : (i + 1) * batch_size] for i in order]


class ExampleBatches:
    """Endless batches (x, y) as `collate` makes them, each epoch in a new order.

    Examples of similar length stand together. A batch depends on the seed and its step alone, so
    `load_state_dict` resumes exactly. Raises ValueError for examples that `check_examples` refuses.
    """

    def __init__(
        self, examples: Sequence[Rendered], batch_size: int, context_length: int, seed=0, fill_id=0
    ):
        check_examples(examples, context_length)
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size is {batch_size!r}; choose a whole number, at least 1")
        self.examples, self.batch_size, self.seed = list(examples), batch_size, seed
        self.lengths, self.fill_id, self.step = [len(e.ids) for e in examples], fill_id, 0
        self.checksum = checksum_of(self.examples, fill_id)

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Batch number `step`."""
        if step < 0:
            raise ValueError(f"step is {step}; steps are counted from 0")
        pool = deal(self.lengths, self.batch_size, self.seed, step // POOL)
        return collate([self.examples[i] for i in pool[step % POOL]], self.fill_id)

    def __iter__(self) -> "ExampleBatches":
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.step += 1
        return self.batch(self.step - 1)

    def state_dict(self) -> dict:
        """Where we are and on what data, as a dictionary that JSON can hold."""
        names = ("step", "batch_size", "seed")
        return {name: getattr(self, name) for name in names} | {"data": self.checksum}

    def load_state_dict(self, state: Mapping) -> None:
        """Go on where `state` was taken; `ValueError` if data or settings are not the same."""
        check_state(state, self.state_dict())
        self.step = state["step"]


# --- Packing -------------------------------------------------------------------------------------


def first_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Share out things of some lengths on rows of a capacity: the number of each, row by row.

    The longest first, each into the first row that has room for it. (Johnson, 1973.) Raises
    ValueError for one that is longer than a row.

    >>> first_fit([3, 5, 2, 4], capacity=7)
    [[1, 2], [3, 0]]
    """
    rows, room = [], []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not 0 < lengths[i] <= capacity:
            raise ValueError(
                f"number {i} is {lengths[i]} long, and a row holds {capacity}; leave it out, or "
                "make the rows longer"
            )
        row = next((r for r, free in enumerate(room) if free >= lengths[i]), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(capacity)
        rows[row].append(i)
        room[row] -= lengths[i]
    return rows


def collate_packed(
    rows: Sequence[Sequence[Rendered]], fill_id: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch (x, y) of shape (B, T), several examples a row, one behind the other.

    Every example begins with the id fill_id, which is never learned there: so no example has to
    predict the next one, and `Packed` finds where they begin. T is the longest row, less one.
    """
    for example in (example for row in rows for example in row):
        if list(example.ids[:1]) != [fill_id] or example.mask[0]:
            raise ValueError(
                f"an example begins with the ids {list(example.ids[:1])}; all must begin with "
                f"{fill_id}, unlearned, to be told apart: pass begin= to the template"
            )
    joined = [
        Rendered([i for e in row for i in e.ids], [m for e in row for m in e.mask]) for row in rows
    ]
    return collate(joined, fill_id)


def example_numbers(x: torch.Tensor, begin_id: int) -> torch.Tensor:
    """Number the examples in each row: 1 from the first begin_id on, 2 from the second ... (B, T).

    >>> example_numbers(torch.tensor([[0, 7, 8, 0, 9]]), begin_id=0)
    tensor([[1, 1, 1, 2, 2]])
    """
    return (x == begin_id).cumsum(1)


def positions_within(numbers: torch.Tensor) -> torch.Tensor:
    """The place of each id in its own example: numbers (B, T) -> (B, T).

    >>> positions_within(torch.tensor([[1, 1, 1, 2, 2]]))
    tensor([[0, 1, 2, 0, 1]])
    """
    places = torch.arange(numbers.shape[1], device=numbers.device).expand_as(numbers)
    begins = numbers.diff(dim=1, prepend=numbers[:, :1] - 1) > 0
    return places - torch.where(begins, places, 0).cummax(1).values


class Packed(nn.Module):
    """A GPT that reads rows of several examples as if each stood alone.

    An id sees those of its own example only, and its position is counted from there, so a row may
    be longer than the context. The weights are those of the model itself. (Krell et al., 2021.)
    """

    def __init__(self, model: GPT, begin_id: int):
        super().__init__()
        if not isinstance(model, GPT):
            raise ValueError(f"the model is a {type(model).__name__}; Packed reads a GPT")
        self.model, self.begin_id = model, begin_id

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """ids (B, T) -> logits (B, T, vocab_size)."""
        numbers = example_numbers(ids, self.begin_id)  # (B, T)
        same = (numbers[:, :, None] == numbers[:, None, :])[:, None]  # (B, 1, T, T)
        places, remedy = positions_within(numbers), "no example may be longer than context_length"
        x = look_up(self.model.token_embedding, ids, "ids", "use the tokenizer of this model")
        x = x + look_up(self.model.position_embedding, places, "positions", remedy)
        x = self.model.dropout(x)  # (B, T, C)
        for block in self.model.blocks:
            x = block(x, same)  # attention adds the causal mask
        return self.model.head(self.model.norm(x))
