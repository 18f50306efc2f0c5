"""From documents to batches: one packed stream of ids, memory-mapped, shuffled without memory.

A shard is one file: a header of 96 bytes, then the ids. Batches are a pure function of the seed and
the step, so that a run that was interrupted goes on with the very batch that was due.
"""

import hashlib
import os
import struct
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import regex
import torch
from numpy.lib.stride_tricks import sliding_window_view

from lib.tokenizer import Tokenizer

END = "<|endoftext|>"

# --- Documents become a stream -------------------------------------------------------------------


def end_id_of(tokenizer: Tokenizer, end: str = END) -> int:
    """The id of the special token that closes a document; `ValueError` if there is none."""
    if end not in tokenizer.special_tokens:
        raise ValueError(
            f"this tokenizer has no special token {end!r}, only {list(tokenizer.special_tokens)}; "
            f"train it with special_tokens=[{end!r}], or pass end= with one that it has"
        )
    return tokenizer.special_tokens[end]


def encode_documents(
    tokenizer: Tokenizer, documents: Iterable[str], end: str = END
) -> Iterator[list[int]]:
    """Yield the ids of each document, closed by the end-of-text token.

    A document that contains the characters of a special token is encoded as plain text: only this
    function closes a document. `ValueError` for an empty document.

    >>> from lib.tokenizer import train_tokenizer
    >>> list(encode_documents(train_tokenizer(["a b"], 257), ["ab", "b"]))
    [[65, 66, 0], [66, 0]]
    """
    end_id = end_id_of(tokenizer, end)
    if isinstance(documents, (str, bytes)):
        raise ValueError("documents must be an iterable of texts; pass [text] for a single one")
    for i, text in enumerate(documents):
        if not isinstance(text, str):
            raise ValueError(
                f"document {i} is {type(text).__name__}, but text is needed; decode bytes first, "
                "and pass the text of a record, not the record"
            )
        if not text:
            raise ValueError(
                f"document {i} is empty and would teach the model to end at once; leave it out"
            )
        yield [*tokenizer.encode(text), end_id]


# --- Shards --------------------------------------------------------------------------------------

MAGIC = b"LLMSHARD"
FIELDS = struct.Struct("<8sIIQII32s")  # little-endian: magic ... hash of the tokenizer
HEADER_BYTES = FIELDS.size + 32  # and the checksum
BLOCK = 1 << 20  # ids read at once


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest unsigned type for ids below `vocab_size`: 2 bytes up to 65,536, else 4.

    >>> token_dtype(2048), token_dtype(151_936)
    (dtype('uint16'), dtype('uint32'))
    """
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


@dataclass(frozen=True)
class ShardHeader:
    """What the first 96 bytes of a shard say."""

    n_tokens: int  # ids in the file
    vocab_size: int  # every id is below it
    end_id: int  # the id that closes a document
    tokenizer_hash: str  # `Tokenizer.content_hash()`, 64 hexadecimal digits
    checksum: str  # SHA-256 of the ids and of the fields above, 64 hexadecimal digits

    def fields(self) -> bytes:
        """The header without its checksum, as bytes."""
        width = token_dtype(self.vocab_size).itemsize
        sizes = self.n_tokens, self.vocab_size, self.end_id
        return FIELDS.pack(MAGIC, 1, width, *sizes, bytes.fromhex(self.tokenizer_hash))

    def to_bytes(self) -> bytes:
        """The whole header, as it stands in the file."""
        return self.fields() + bytes.fromhex(self.checksum)


def read_header(path: str | os.PathLike) -> ShardHeader:
    """Read a shard's header and compare it with the size of the file.

    `ValueError` says whether the file is no shard, of another version, or cut short.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        data = file.read(HEADER_BYTES)
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError(f"{path} is no shard of ids; write one with write_shard")
    if len(data) < HEADER_BYTES:
        raise ValueError(
            f"{path} is cut short inside its header; copy or write it again (write_shard)"
        )
    _, version, width, *sizes, tokenizer_hash = FIELDS.unpack(data[: FIELDS.size])
    header = ShardHeader(*sizes, tokenizer_hash.hex(), data[FIELDS.size :].hex())
    if version != 1:
        raise ValueError(
            f"{path} is a shard of version {version}, and this library reads version 1; write it "
            "again from the documents"
        )
    if width != token_dtype(header.vocab_size).itemsize:
        raise ValueError(
            f"{path} has {width} bytes an id, which does not fit a vocabulary of "
            f"{header.vocab_size:,}; the header is damaged: copy or write the shard again"
        )
    if size != (expected := HEADER_BYTES + header.n_tokens * width):
        raise ValueError(
            f"{path} has {size:,} bytes, but its header promises {expected:,}; it was "
            f"{'cut short' if size < expected else 'added to'}: copy or write it again"
        )
    return header


def check_ids(ids: Sequence[int], vocab_size: int, first: int = 0) -> np.ndarray:
    """The ids as an array of the smallest type; `ValueError` for one outside the vocabulary.

    first: the position of ids[0] in the stream, for the message.
    """
    array = np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"ids must be whole numbers in one dimension, but they have type {array.dtype} and "
            f"shape {array.shape}; pass the list that tokenizer.encode returns"
        )
    if array.size and not (array.min() >= 0 and array.max() < vocab_size):
        i = int(np.flatnonzero((array < 0) | (array >= vocab_size))[0])
        raise ValueError(
            f"id {array[i]} at position {first + i:,} is outside the vocabulary, whose ids are 0 "
            f"to {vocab_size - 1:,}; encode with the tokenizer that this data belongs to"
        )
    return array.astype(token_dtype(vocab_size))


def write_shard(
    path: str | os.PathLike, chunks: Iterable[Sequence[int]], tokenizer: Tokenizer, end: str = END
) -> ShardHeader:
    """Write chunks of ids, one after the other, as a shard: the whole file, or none.

    chunks: such as `encode_documents` yields; each is written as it comes, so memory holds one.
    Returns the header. `ValueError` for an id outside the vocabulary, and where there is none.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent} for {path.name}; create it first")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    sha256, n_tokens = hashlib.sha256(), 0
    facts = tokenizer.vocab_size, end_id_of(tokenizer, end), tokenizer.content_hash()
    try:
        with part.open("wb") as file:
            file.write(bytes(HEADER_BYTES))  # room for the header, which is known at the end
            for chunk in chunks:
                ids = check_ids(chunk, tokenizer.vocab_size, first=n_tokens).tobytes()
                file.write(ids)
                sha256.update(ids)
                n_tokens += len(chunk)
            if n_tokens == 0:
                raise ValueError("there are no documents, so no ids to write; pass at least one")
            sha256.update(ShardHeader(n_tokens, *facts, "").fields())
            header = ShardHeader(n_tokens, *facts, sha256.hexdigest())
            file.seek(0)
            file.write(header.to_bytes())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return header


def verify_ids(tokens: np.ndarray, header: ShardHeader, path: str | os.PathLike) -> None:
    """Read a shard's ids once, block by block, and compare them with vocabulary and checksum."""
    sha256 = hashlib.sha256()
    for i in range(0, len(tokens), BLOCK):
        block = tokens[i : i + BLOCK]
        check_ids(block, header.vocab_size, first=i)
        sha256.update(block.tobytes())
    sha256.update(header.fields())
    if sha256.hexdigest() != header.checksum:
        raise ValueError(
            f"{path} does not match its checksum: something in it has changed since it was "
            "written; copy it again, or write it again from the documents"
        )


class Shard:
    """A shard opened for reading. `tokens` is its stream of ids, mapped into memory, not read.

    `ValueError` if the file is no shard, damaged, or written with another tokenizer. verify=False
    leaves out the comparison with the checksum, which reads the whole file once.
    """

    def __init__(self, path: str | os.PathLike, tokenizer: Tokenizer, verify: bool = True):
        self.path, self.header = Path(path), read_header(path)
        if self.header.tokenizer_hash != tokenizer.content_hash():
            raise ValueError(
                f"{path} was written with another tokenizer (vocabulary of "
                f"{self.header.vocab_size:,}, hash {self.header.tokenizer_hash[:8]}) than the one "
                f"given ({tokenizer.vocab_size:,}, {tokenizer.content_hash()[:8]}), so its ids "
                "would mean other texts; load that tokenizer, or encode the documents again"
            )
        dtype = token_dtype(self.header.vocab_size)
        mapped = np.memmap(path, dtype, mode="r", offset=HEADER_BYTES, shape=len(self))
        self.tokens = np.asarray(mapped)  # (N,), a plain array over the same file
        if verify:
            verify_ids(self.tokens, self.header, path)

    def __len__(self) -> int:
        return self.header.n_tokens


# --- Batches -------------------------------------------------------------------------------------


ORDER_BLOCK = 4096  # windows whose order is computed at once


@lru_cache(maxsize=8)
def epoch_keys(seed: int, epoch: int) -> np.ndarray:
    """Eight random-looking 64-bit numbers for one epoch, the same on every machine."""
    digest = hashlib.sha512(f"{seed}, {epoch}".encode()).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)  # (8,)


def scramble(values: np.ndarray, key: np.uint64) -> np.ndarray:
    """Mix 64-bit numbers with a key, so that each bit changes many (cf. Steele et al., 2014)."""
    values = (values ^ key) * np.uint64(0xBF58476D1CE4E5B9)  # modulo 2**64
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def permute(indices: np.ndarray, n: int, keys: np.ndarray) -> np.ndarray:
    """Where a random permutation of 0, ..., n - 1 sends the indices, without storing it.

    A Feistel network permutes the numbers of as many bits as n - 1 has (Luby and Rackoff, 1988);
    a result of n or more is sent on until it is below n (Black and Rogaway, 2002).

    >>> sorted(permute(np.arange(5), 5, epoch_keys(seed=0, epoch=0)).tolist())
    [0, 1, 2, 3, 4]
    """
    indices = np.array(indices, dtype=np.uint64)  # (B,), a copy
    bits = max(2, int(n - 1).bit_length())
    widths = np.array([bits // 2, bits - bits // 2], dtype=np.uint64)  # of the two halves
    masks = (np.uint64(1) << widths) - np.uint64(1)
    todo = np.arange(indices.size)
    while todo.size:
        left, right = indices[todo] >> widths[1], indices[todo] & masks[1]
        for i, key in enumerate(keys):  # after each round the halves have changed places
            left, right = right, left ^ (scramble(right, key) & masks[i % 2])
        indices[todo] = (left << widths[(len(keys) + 1) % 2]) | right
        todo = todo[indices[todo] >= n]
    return indices.astype(np.int64)


@lru_cache(maxsize=8)
def shuffled_block(n: int, seed: int, epoch: int, block: int) -> np.ndarray:
    """Entries `block` * 4,096 and following of the epoch's permutation; the last few are kept."""
    entries = np.arange(block * ORDER_BLOCK, min((block + 1) * ORDER_BLOCK, n))
    return permute(entries, n, epoch_keys(seed, epoch)[:7])


def shuffled(n: int, seed: int, epoch: int, first: int, stop: int) -> np.ndarray:
    """Entries first, ..., stop - 1 of the epoch's permutation of 0, ..., n - 1.

    >>> shuffled(10, seed=0, epoch=0, first=4, stop=7).tolist()
    [1, 2, 7]
    """
    blocks = range(first // ORDER_BLOCK, (stop - 1) // ORDER_BLOCK + 1)
    entries = np.concatenate([shuffled_block(n, seed, epoch, block) for block in blocks])
    return entries[first - blocks[0] * ORDER_BLOCK :][: stop - first]


def gather_windows(view: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Copy the windows that begin at `starts`, (B,), around the end of the stream where need be.

    view: every window of the stream that needs no turn, in order, as `sliding_window_view` gives
    it without copying: (N - L + 1, L) for N ids. starts: each below N. Returns (B, L).

    >>> stream = sliding_window_view(np.array([10, 11, 12, 13]), 3)
    >>> gather_windows(stream, np.array([0, 3])).tolist()
    [[10, 11, 12], [13, 10, 11]]
    """
    last = len(view) - 1
    windows = view[np.minimum(starts, last)]  # (B, L)
    for row in np.flatnonzero(starts > last):
        behind = starts[row] - last  # so many ids come from the beginning of the stream
        windows[row] = np.concatenate([view[last, behind:], view[0, :behind]])
    return windows


def check_shards(shards: Sequence[Shard], context_length: int) -> None:
    """Refuse shards that hold no window, or that do not belong together."""
    if not shards:
        raise ValueError("there are no shards; pass at least one")
    for shard in shards:
        if not isinstance(shard, Shard):
            raise ValueError(f"{shard!r} is no open shard; pass Shard(path, tokenizer)")
        whole = isinstance(context_length, int | np.integer)
        if not whole or not 1 <= context_length < len(shard):
            raise ValueError(
                f"context_length is {context_length}, but {shard.path.name} has {len(shard)} ids; "
                f"choose a whole number from 1 to {len(shard) - 1}, or add documents"
            )
    if len({(shard.header.tokenizer_hash, shard.header.end_id) for shard in shards}) > 1:
        raise ValueError(
            "the shards were written with different tokenizers, or close documents with different "
            "tokens; write all of them in the same way"
        )


class Windows:
    """The windows of T + 1 ids of some shards, T = context_length, each served once an epoch.

    Every epoch bends each shard into a ring, cuts it at a new place into pieces of T, and serves
    the windows that begin there in a new order; fewer than T ids of a shard sit out.
    shuffle=False cuts at the start and serves in order. `len` is the number of windows an epoch.
    """

    def __init__(
        self, shards: Shard | Sequence[Shard], context_length: int, seed: int = 0, shuffle=True
    ):
        self.shards = list(shards) if isinstance(shards, (list, tuple)) else [shards]
        check_shards(self.shards, context_length)
        self.context_length, self.seed, self.shuffle = int(context_length), seed, shuffle
        self.views = [sliding_window_view(s.tokens, self.context_length + 1) for s in self.shards]
        counts = [len(shard) // self.context_length for shard in self.shards]
        self.bounds = np.cumsum([0, *counts])  # shard i has the windows bounds[i] : bounds[i + 1]

    def __len__(self) -> int:
        return int(self.bounds[-1])

    def served(self, epoch: int, first: int, stop: int) -> np.ndarray:
        """The windows that an epoch serves as number first, ..., stop - 1: (n, T + 1) ids."""
        T, numbers, offset = self.context_length, np.arange(first, stop), 0
        if self.shuffle:
            numbers = shuffled(len(self), self.seed, epoch, first, stop)  # (n,)
            offset = int(epoch_keys(self.seed, epoch)[7])
        place = np.searchsorted(self.bounds, numbers, side="right") - 1  # (n,): in which shard
        result = np.empty((len(numbers), T + 1), dtype=np.int64)
        for i in set(place.tolist()):
            rows, n_tokens = np.flatnonzero(place == i), len(self.shards[i])
            pieces = (numbers[rows] - self.bounds[i]) * T  # where the windows begin after the cut
            starts = (offset % n_tokens + pieces) % n_tokens
            result[rows] = gather_windows(self.views[i], starts)
        return result


def describe_windows(windows: Windows) -> dict:
    """Everything that decides which windows are served, as JSON can hold it."""
    names = ("context_length", "seed", "shuffle")
    data = [shard.header.checksum for shard in windows.shards]
    return {name: getattr(windows, name) for name in names} | {"data": data}


def check_state(state: Mapping, here: Mapping) -> None:
    """Refuse a saved state that was taken with other data or settings than there are here."""
    for name, value in here.items():
        if name not in state:
            raise ValueError(f"the state lacks {name!r}; pass what state_dict() returned")
        if name != "step" and state[name] != value:
            raise ValueError(
                f"the state was saved with {name} = {state[name]}, but here it is {value}, so "
                "other batches would follow; open the same data with the same settings"
            )
    if not isinstance(state["step"], int) or state["step"] < 0:
        raise ValueError(f"the state's step is {state['step']!r}; pass what state_dict() returned")


class Batches:
    """Endless batches `(x, y)` of shape (B, T), int64: inputs, and the ids one place later.

    B = batch_size, T = context_length; the other arguments as for `Windows`. A batch depends on
    the seed and the number of its step alone, so `load_state_dict` resumes exactly.
    """

    def __init__(
        self, shards, batch_size: int, context_length: int, seed: int = 0, shuffle: bool = True
    ):
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; choose a whole number, at least 1")
        self.windows = Windows(shards, context_length, seed, shuffle)
        self.batch_size, self.step = int(batch_size), 0

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Batch number `step`; it may hold the last windows of one epoch and some of the next."""
        if step < 0:
            raise ValueError(f"step is {step}; steps are counted from 0")
        first, stop, n = step * self.batch_size, (step + 1) * self.batch_size, len(self.windows)
        parts = [
            self.windows.served(epoch, max(first - epoch * n, 0), min(stop - epoch * n, n))
            for epoch in range(first // n, (stop - 1) // n + 1)
        ]
        ids = torch.from_numpy(np.concatenate(parts))  # (B, T + 1)
        return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.step += 1
        return self.batch(self.step - 1)

    def state_dict(self) -> dict:
        """Where we are and on what data, as a dictionary that JSON can hold."""
        return {"step": self.step, "batch_size": self.batch_size} | describe_windows(self.windows)

    def load_state_dict(self, state: Mapping) -> None:
        """Go on where `state` was taken; `ValueError` if data or settings are not the same."""
        check_state(state, self.state_dict())
        self.step = state["step"]


def document_numbers(x: torch.Tensor, end_id: int) -> torch.Tensor:
    """Number the documents within each row: 0 up to and with the first end-of-text, then 1, ...

    x: ids (..., T). Returns integers of the same shape. Two positions belong to the same document
    where their numbers agree: `n[:, :, None] == n[:, None, :]` is that as a mask (B, T, T).

    >>> document_numbers(torch.tensor([7, 0, 8, 9, 0, 7]), end_id=0).tolist()
    [0, 0, 1, 1, 1, 2]
    """
    is_end = (x == end_id).long()
    return is_end.cumsum(-1) - is_end


POOL = 16  # batches whose documents are sorted by length, so that rows of a batch are alike
PADDING = -100  # the target of a place that holds no id; PyTorch's losses leave it out


def document_starts(tokens: np.ndarray, end_id: int) -> np.ndarray:
    """Where the documents of a stream begin, and where the stream's last one ends: (n + 1,).

    Ids behind the last end-of-text token are no document.

    >>> document_starts(np.array([7, 0, 8, 9, 0, 7]), end_id=0).tolist()
    [0, 2, 5]
    """
    return np.concatenate([[0], np.flatnonzero(tokens == end_id) + 1])


class Documents:
    """The documents of a shard, dealt out in pools of POOL batches, each epoch in a new order.

    `len` is their number; `starts` and `lengths` (of the rows, in ids) have one entry for each.
    """

    def __init__(self, shard: Shard, batch_size: int, context_length: int, seed: int = 0):
        for name, value in {"batch_size": batch_size, "context_length": context_length}.items():
            if not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} is {value!r}; choose a whole number, at least 1")
        check_shards([shard], 1)
        self.shard, self.starts = shard, document_starts(shard.tokens, shard.header.end_id)
        if len(self.starts) == 1:
            raise ValueError(
                f"{shard.path.name} has no document that ends; write it with encode_documents"
            )
        self.lengths = np.diff(self.starts).clip(max=context_length)
        self.batch_size, self.seed = int(batch_size), seed

    def __len__(self) -> int:
        return len(self.lengths)

    def pool(self, number: int) -> np.ndarray:
        """The documents of POOL batches: (POOL, B), each row with documents of similar length."""
        first, n = number * POOL * self.batch_size, len(self)
        stop, parts = first + POOL * self.batch_size, []
        for epoch in range(first // n, (stop - 1) // n + 1):
            start, end = max(first - epoch * n, 0), min(stop - epoch * n, n)
            parts.append(shuffled(n, self.seed, epoch, start, end))
        documents = np.concatenate(parts)
        by_length = documents[np.argsort(self.lengths[documents], kind="stable")]
        order = shuffled(POOL, self.seed, number, 0, POOL)
        return by_length.reshape(POOL, self.batch_size)[order]


class DocumentBatches:
    """Endless batches `(x, y)` of shape (B, T), int64, whose rows are whole documents.

    A row of x is the end-of-text token and then a document, which y holds one place earlier, with
    its end-of-text token; shorter rows are filled up with that token in x and -100 in y. T is the
    longest row, cut at context_length. A batch depends on the seed and its step alone.
    """

    def __init__(self, shard: Shard, batch_size: int, context_length: int, seed: int = 0):
        self.documents = Documents(shard, batch_size, context_length, seed)
        self.batch_size, self.context_length = int(batch_size), int(context_length)
        self.seed, self.step = seed, 0

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Batch number `step`."""
        if step < 0:
            raise ValueError(f"step is {step}; steps are counted from 0")
        of, shard = self.documents, self.documents.shard
        numbers = of.pool(step // POOL)[step % POOL]
        shape = self.batch_size, int(of.lengths[numbers].max())
        x = np.full(shape, shard.header.end_id, dtype=np.int64)
        y = np.full(shape, PADDING, dtype=np.int64)
        for row, (start, n) in enumerate(zip(of.starts[numbers], of.lengths[numbers], strict=True)):
            y[row, :n] = shard.tokens[start : start + n]
            x[row, 1:n] = y[row, : n - 1]
        return torch.from_numpy(x), torch.from_numpy(y)

    def __iter__(self) -> "DocumentBatches":
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.step += 1
        return self.batch(self.step - 1)

    def state_dict(self) -> dict:
        """Where we are and on what data, as a dictionary that JSON can hold."""
        names = ("step", "batch_size", "context_length", "seed")
        data = self.documents.shard.header.checksum
        return {name: getattr(self, name) for name in names} | {"data": data}

    def load_state_dict(self, state: Mapping) -> None:
        """Go on where `state` was taken; `ValueError` if data or settings are not the same."""
        check_state(state, self.state_dict())
        self.step = state["step"]


# --- Splits --------------------------------------------------------------------------------------


def part_of(key: str, shares: Mapping[str, float]) -> str:
    """The part of a split that a key belongs to, today and for ever: the key's hash decides.

    shares: the share of each part; they sum to 1, else `ValueError`.

    >>> [part_of(key, {"train": 0.5, "test": 0.5}) for key in ("Lear", "Macbeth", "Othello")]
    ['train', 'train', 'test']
    """
    if not (all(share >= 0 for share in shares.values()) and abs(sum(shares.values()) - 1) < 1e-9):
        raise ValueError(
            f"the shares {dict(shares)} do not sum to 1; choose parts of the whole, such as "
            '{"train": 0.9, "validation": 0.05, "test": 0.05}'
        )
    if not isinstance(key, str):
        raise ValueError(f"the key {key!r} is no text; pass text, such as str(key)")
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64  # in [0, 1)
    for name, share in shares.items():
        place -= share
        if place < 0:
            return name
    return next(name for name in reversed(shares) if shares[name])  # rounding has left a crumb


def split_documents(
    documents: Iterable, shares: Mapping[str, float], key: Callable[[object], str] = str
) -> dict[str, list]:
    """Deal documents out by the hash of their key: all with the same key stay together.

    key: what a document must share with no other part, such as its author; by default its text,
    so that two equal documents stay together. Neither order nor later documents change a part.
    """
    parts = {name: [] for name in shares}
    for document in documents:
        parts[part_of(key(document), shares)].append(document)
    return parts


def hold_out_combinations(
    documents: Iterable[Iterable[tuple]], share: float, min_seen: int, seed: int = 0
) -> set[tuple]:
    """Choose combinations to hold out, while each of their parts stays in training.

    documents: for each, its combinations, such as `(verb, object)`. Combinations are held out in an
    order drawn from the seed until the documents that contain one are `share` of all, or none is
    left. Each part keeps `min_seen` training documents; `ValueError` if no choice allows that.

    >>> meals = [[("eat", "fish")], [("eat", "cake")], [("buy", "fish")], [("buy", "cake")]]
    >>> len(hold_out_combinations(meals, share=0.25, min_seen=1))
    1
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; choose a share of the documents, such as 0.1")
    where, seen, parts_of = {}, Counter(), []
    for i, combinations in enumerate(map(set, documents)):
        parts_of.append({part for c in combinations for part in enumerate(c)})
        seen.update(parts_of[i])
        for c in combinations:
            where.setdefault(c, set()).add(i)
    held_out, gone = set(), set()
    for c in sorted(where, key=lambda c: hashlib.sha256(f"{seed}, {c!r}".encode()).digest()):
        if len(gone) >= share * len(parts_of):
            break
        leaving = where[c] - gone
        lost = Counter(part for i in leaving for part in parts_of[i])
        if all(seen[part] - count >= min_seen for part, count in lost.items()):
            held_out.add(c)
            gone |= leaving
            seen -= lost
    if not held_out:
        raise ValueError(
            f"no combination can be held out while each part keeps {min_seen} documents; lower "
            "min_seen, or add documents"
        )
    return held_out


# --- Contamination -------------------------------------------------------------------------------

# A Chinese character by itself, any other run of letters, marks and digits as a word.
UNIT = regex.compile(r"\p{Han}|(?:(?!\p{Han})[\p{L}\p{M}\p{N}])+")
INSIDE_WORDS = regex.compile(r"[-'’‐‑]")  # apostrophes and hyphens: don't and dont are the same


def comparable_units(text: str) -> list[str]:
    """The words and Chinese characters of a text, without case, width, blanks and punctuation.

    >>> comparable_units("The KEY,\\n isn't lost!　钥匙丢了。")
    ['the', 'key', 'isnt', 'lost', '钥', '匙', '丢', '了']
    """
    return UNIT.findall(INSIDE_WORDS.sub("", unicodedata.normalize("NFKC", text).casefold()))


def ngram_hashes(text: str, n: int) -> np.ndarray:
    """A 64-bit number for each run of n comparable units of a text, (max(0, units - n + 1),).

    Equal runs have equal numbers, in this process. (Karp and Rabin, 1987.)
    """
    if n < 1:
        raise ValueError(f"n is {n}; choose n of at least 1 (13 is what Brown et al., 2020, took)")
    units = np.array([hash(unit) for unit in comparable_units(text)], dtype=np.int64)
    hashes = np.zeros(max(0, len(units) - n + 1), dtype=np.uint64)
    for i in range(n):
        window = units[i : i + len(hashes)].astype(np.uint64)
        hashes = scramble(hashes, np.uint64(i)) + window  # modulo 2**64
    return hashes


def leaked_shares(train: Iterable[str], held_out: Iterable[str], n: int = 13) -> np.ndarray:
    """For each held-out text, the share of its n-grams that training texts contain: 1 is a copy.

    Blind to case, blanks and punctuation. n counts words and Chinese characters; 13 is the choice
    of Brown et al. (2020). `ValueError` for a held-out text that is shorter.
    """
    nothing = np.zeros(0, dtype=np.uint64)
    known = np.unique(np.concatenate([nothing, *(ngram_hashes(text, n) for text in train)]))
    if not len(known):
        raise ValueError(
            f"no training text has {n} words or Chinese characters, so nothing could be found; "
            "choose a smaller n, or pass the training texts"
        )
    shares = []
    for i, text in enumerate(held_out):
        hashes = ngram_hashes(text, n)
        if not len(hashes):
            raise ValueError(
                f"held-out text {i} has {len(comparable_units(text))} words or Chinese characters, "
                f"fewer than n = {n}; choose a smaller n, or leave it out"
            )
        place = np.searchsorted(known, hashes).clip(max=len(known) - 1)
        shares.append((known[place] == hashes).mean())
    return np.array(shares)  # (number of held-out texts,)


# --- Positions -----------------------------------------------------------------------------------


def sinusoidal_positions(context_length: int, n_embd: int, base: float = 10_000.0) -> torch.Tensor:
    """A vector for each position, made of sines and cosines of many wavelengths.

    Columns 2i and 2i + 1 hold the sine and the cosine of position / base**(2i / n_embd). Returns
    (T, C), T = context_length, C = n_embd, which must be even. (Vaswani et al., 2017.)
    """
    if n_embd < 2 or n_embd % 2:
        raise ValueError(f"n_embd is {n_embd}, but sines and cosines come in pairs; choose it even")
    positions = torch.arange(context_length, dtype=torch.float64)[:, None]  # (T, 1)
    columns = torch.arange(0, n_embd, 2, dtype=torch.float64)  # (C / 2,)
    angles = positions / base ** (columns / n_embd)  # (T, C / 2)
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1)  # (T, C / 2, 2)
    return waves.flatten(1).float()  # (T, C / 2, 2) -> (T, C)
