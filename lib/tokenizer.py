"""Byte-level byte-pair encoding: text to ids and back, exactly reversible.

The method is Gage's compression (1994), brought to words by Sennrich, Haddow and Birch (2016) and
to bytes by Radford et al. (2019). Merges, ids and files agree with Hugging Face's `tokenizers`.
"""

import codecs
import hashlib
import heapq
import json
import operator
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path

import regex

# --- Bytes and their printable stand-ins ---------------------------------------------------------


def byte_stand_ins() -> dict[int, str]:
    """Give each of the 256 bytes one printable character (Radford et al., 2019).

    A byte that prints as itself in Latin-1 keeps its character; the 68 others (controls, spaces and
    the soft hyphen) take the characters from U+0100 on, in order.

    >>> stand_ins = byte_stand_ins()
    >>> stand_ins[ord("A")], stand_ins[ord(" ")], stand_ins[ord("\\n")]
    ('A', 'Ġ', 'Ċ')
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    stand_ins = {byte: chr(byte) for byte in printable}
    stand_ins.update({byte: chr(0x100 + i) for i, byte in enumerate(others)})
    return stand_ins


STAND_IN = byte_stand_ins()
BYTE_OF = {character: byte for byte, character in STAND_IN.items()}
BYTE_ORDER = sorted(range(256), key=STAND_IN.get)


def spell(token: bytes) -> str:
    """Write a byte string with one printable stand-in a byte; `unspell` reads it back.

    >>> spell(b" the"), unspell("Ġthe")
    ('Ġthe', b' the')
    """
    return "".join([STAND_IN[byte] for byte in token])


def unspell(spelling: str) -> bytes:
    """Read a byte string that `spell` wrote; `KeyError` if a character stands for no byte."""
    return bytes([BYTE_OF[character] for character in spelling])


# --- Training ------------------------------------------------------------------------------------

# The pattern of GPT-2. What counts as a letter depends on the Unicode edition that `regex` knows.
PRETOKEN = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


def count_pretokens(texts: Iterable[str]) -> Counter[str]:
    """Count the pre-tokens of an iterable of texts: the only thing that training looks at.

    >>> count_pretokens(["To be, or not to be"]).most_common(2)
    [(' be', 2), ('To', 1)]
    """
    if isinstance(texts, (str, bytes)):
        raise ValueError("count_pretokens needs an iterable of texts; pass [text] for a single one")
    counts = Counter()
    for text in texts:
        counts.update(PRETOKEN.findall(text))
    return counts


def to_utf8(text: str) -> bytes:
    """Encode to UTF-8; `ValueError` if `text` holds half of a surrogate pair, which has no bytes.

    >>> to_utf8("水")
    b'\\xe6\\xb0\\xb4'
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text holds the lone surrogate U+{ord(text[error.start]):04X}, which is no "
            "character and has no UTF-8 form; read the source with the right encoding, or replace "
            'it first: text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")'
        ) from None


def initial_tokens(special_tokens: Sequence[str]) -> list[bytes]:
    """List the tokens before the first merge: the special tokens, then the 256 bytes.

    >>> initial_tokens(["<|end|>"])[:3], len(initial_tokens([]))
    ([b'<|end|>', b'!', b'"'], 256)
    """
    if isinstance(special_tokens, str):
        raise ValueError(f"special_tokens must be a list of strings; pass [{special_tokens!r}]")
    for token, count in Counter(special_tokens).items():
        if not token:
            raise ValueError("a special token is empty; remove it or give it a name like <|end|>")
        if count > 1:
            raise ValueError(f"special token {token!r} is listed {count} times; list it once")
        if token in BYTE_OF:
            raise ValueError(
                f"special token {token!r} is spelt like a single byte; use a longer name like "
                f"<|{token}|>"
            )
    return [to_utf8(token) for token in special_tokens] + [bytes([byte]) for byte in BYTE_ORDER]


def check_training(pretoken_counts: Mapping, vocab_size: int, n_initial: int) -> None:
    """Refuse an empty corpus and a vocabulary too small for what must be in it."""
    if not pretoken_counts:
        raise ValueError(
            "the corpus is empty: there is nothing to learn merges from; pass some text"
        )
    if vocab_size < n_initial:
        raise ValueError(
            f"vocab_size is {vocab_size}, but the 256 bytes and {n_initial - 256} special tokens "
            f"already need {n_initial}; choose at least that many"
        )


def merge_in_place(
    word: list[int], pair: tuple[int, int], new_id: int
) -> list[tuple[tuple[int, int], int]]:
    """Replace every `pair` in `word`, left to right, and list the neighbouring pairs that changed.

    Returns a list of `(pair, change)`, change -1 for a pair that went and +1 for one that came.

    >>> word = [7, 1, 2, 9]
    >>> merge_in_place(word, (1, 2), 3), word
    ([((7, 1), -1), ((7, 3), 1), ((2, 9), -1), ((3, 9), 1)], [7, 3, 9])
    """
    left, right = pair
    changes = []
    i = 0
    while i < len(word) - 1:
        if word[i] == left and word[i + 1] == right:
            if i > 0:
                before = word[i - 1]
                changes += [((before, left), -1), ((before, new_id), 1)]
            word[i : i + 2] = [new_id]
            if i < len(word) - 1:
                after = word[i + 1]
                changes += [((right, after), -1), ((new_id, after), 1)]
        i += 1
    return changes


def index_pairs(words: list[list[int]], counts: list[int]) -> tuple[dict, dict]:
    """Count every pair of neighbouring ids, and note in which words it stands.

    >>> pair_counts, where = index_pairs([[1, 2], [1, 2, 1]], [10, 3])
    >>> dict(pair_counts), where[1, 2]
    ({(1, 2): 13, (2, 1): 3}, {0, 1})
    """
    pair_counts, where = defaultdict(int), defaultdict(set)
    for i, word in enumerate(words):
        for pair in pairwise(word):
            pair_counts[pair] += counts[i]
            where[pair].add(i)
    return pair_counts, where


def train_bpe(
    pretoken_counts: Mapping[str, int], vocab_size: int, special_tokens=(), min_frequency=2
) -> tuple[list[bytes], list[tuple[int, int]]]:
    """Learn merges until `vocab_size` tokens exist or no pair occurs `min_frequency` times.

    Returns `(tokens, merges)`: the byte string of every id, and the merged pairs of ids in order.
    The most frequent pair goes first; among equals, the smaller pair of ids.

    >>> tokens, merges = train_bpe({"abab": 3, "abc": 2}, vocab_size=258)
    >>> tokens[256:]
    [b'ab', b'abab']
    """
    tokens = initial_tokens(special_tokens)
    check_training(pretoken_counts, vocab_size, len(tokens))
    byte_id = {token[0]: i for i, token in enumerate(tokens) if i >= len(special_tokens)}
    words = [[byte_id[byte] for byte in to_utf8(pretoken)] for pretoken in pretoken_counts]
    counts = list(pretoken_counts.values())
    pair_counts, where = index_pairs(words, counts)
    heap = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(heap)
    merges = []
    while heap and len(tokens) < vocab_size:
        claim, pair = heapq.heappop(heap)
        if -claim != pair_counts[pair]:  # an old claim: the pair has become rarer since
            heapq.heappush(heap, (-pair_counts[pair], pair))
            continue
        if -claim < max(min_frequency, 1):
            break
        new_id = len(tokens)
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        merges.append(pair)
        born = set()
        for i in where.pop(pair):
            for neighbour, change in merge_in_place(words[i], pair, new_id):
                pair_counts[neighbour] += change * counts[i]
                if change > 0:
                    where[neighbour].add(i)
                    born.add(neighbour)
        for neighbour in born:
            heapq.heappush(heap, (-pair_counts[neighbour], neighbour))
    return tokens, merges


# --- Encoding ------------------------------------------------------------------------------------


def apply_merges(ids: Iterable[int], merge_table: Mapping) -> list[int]:
    """Merge one pre-token as training would have: the earliest-learnt pair first, leftmost first.

    `merge_table` maps a pair of ids to `(rank, new_id)`. A heap and links to the neighbours make it
    O(n log n), so that a line of a million letters is no trap.

    >>> apply_merges([1, 2, 1, 2, 2], {(1, 2): (0, 3), (3, 3): (1, 4)})
    [4, 2]
    """
    ids = list(ids)
    before, after = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))
    heap = []
    for i, pair in enumerate(pairwise(ids)):
        if pair in merge_table:
            heap.append((*merge_table[pair], i, pair))
    heapq.heapify(heap)
    while heap:
        _, new_id, i, pair = heapq.heappop(heap)
        j = after[i]
        if j == len(ids) or (ids[i], ids[j]) != pair:  # one of the two has been merged already
            continue
        ids[i], ids[j] = new_id, None
        after[i] = after[j]
        if after[j] < len(ids):
            before[after[j]] = i
        for left, right in ((before[i], i), (i, after[i])):
            if left >= 0 and right < len(ids) and (ids[left], ids[right]) in merge_table:
                pair = ids[left], ids[right]
                heapq.heappush(heap, (*merge_table[pair], left, pair))
    return [i for i in ids if i is not None]


class PretokenCache(dict):
    """Ids of the pre-tokens met so far: `cache[pretoken]` computes what it does not hold yet.

    Bounded: a pre-token of more than `longest` characters is not kept, and when `limit` entries are
    held all are dropped; frequent ones are back within a few lines of text.
    """

    def __init__(
        self, byte_id: Mapping, merge_table: Mapping, limit: int = 65_536, longest: int = 64
    ):
        super().__init__()
        self.byte_id, self.merge_table = byte_id, merge_table
        self.limit, self.longest = limit, longest

    def __missing__(self, pretoken: str) -> list[int]:
        ids = apply_merges([self.byte_id[byte] for byte in to_utf8(pretoken)], self.merge_table)
        if len(pretoken) <= self.longest:
            if len(self) >= self.limit:
                self.clear()
            self[pretoken] = ids
        return ids


def check_vocabulary(tokens: list[bytes], id_of: Mapping, special_tokens: Sequence[str]) -> None:
    """Refuse a table in which an id, a byte or a special token is missing or ambiguous."""
    if len(id_of) < len(tokens):
        token, _ = Counter(tokens).most_common(1)[0]
        raise ValueError(
            f"token {token!r} has two ids; a special token must not be spelt like another token: "
            "rename it, for instance with the markers <| and |>"
        )
    missing = [byte for byte in range(256) if bytes([byte]) not in id_of]
    if missing:
        raise ValueError(
            f"{len(missing)} of the 256 bytes have no token, the first is {missing[0]:#04x}; train "
            "with the full byte alphabet (initial_alphabet=ByteLevel.alphabet() in `tokenizers`)"
        )
    for token in special_tokens:
        if not token or to_utf8(token) not in id_of:
            raise ValueError(f"special token {token!r} is not in the vocabulary; add it to tokens")
        if BYTE_OF.keys() >= set(token) and unspell(token) != to_utf8(token):
            raise ValueError(
                f"special token {token!r} reads like the spelling of the bytes {unspell(token)!r}; "
                "use ASCII letters and signs"
            )


class Vocabulary:
    """The table between ids and byte strings: all that decoding needs.

    `tokens[i]` is the byte string of id i; `special_tokens` names the tokens that no plain text
    produces.

    >>> vocabulary = Vocabulary(initial_tokens(["<|end|>"]), ["<|end|>"])
    >>> vocabulary.vocab_size, vocabulary.decode([42, 0])
    (257, 'J<|end|>')
    """

    def __init__(self, tokens: Sequence[bytes], special_tokens: Sequence[str] = ()):
        self.tokens = list(tokens)
        self.vocab_size = len(self.tokens)
        self.id_of = {token: i for i, token in enumerate(self.tokens)}
        check_vocabulary(self.tokens, self.id_of, special_tokens)
        self.special_tokens = {token: self.id_of[to_utf8(token)] for token in special_tokens}

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Join the byte strings of `ids`; `ValueError` names an id that is not in the table."""
        ids = [operator.index(i) for i in ids]
        unknown = next((i for i in ids if not 0 <= i < self.vocab_size), None)
        if unknown is not None:
            raise ValueError(
                f"id {unknown} is not in the vocabulary, whose ids are 0 to {self.vocab_size - 1}; "
                "decode with the tokenizer that encoded, or leave padding out first"
            )
        return b"".join([self.tokens[i] for i in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text.

        Bytes that are not UTF-8 become U+FFFD: one for each longest piece that begins a character
        but does not complete it, and one for each other wrong byte (the Unicode standard's rule).
        """
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_iterable(self, ids: Iterable[int]) -> Iterator[str]:
        """Yield text as ids arrive, holding back a character until its last byte is there."""
        utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        yield from filter(None, (utf8.decode(self.decode_bytes([i])) for i in ids))
        yield from filter(None, [utf8.decode(b"", final=True)])


def index_merges(tokenizer: "Tokenizer") -> dict[tuple[int, int], tuple[int, int]]:
    """Turn the list of merges into the table `{pair: (rank, new_id)}` of `apply_merges`."""
    tokens, special_ids = tokenizer.tokens, set(tokenizer.special_tokens.values())
    table = {}
    for rank, (left, right) in enumerate(tokenizer.merges):
        new_id = tokenizer.id_of.get(tokens[left] + tokens[right])
        if new_id is None or special_ids & {left, right, new_id}:
            raise ValueError(
                f"merge {rank} makes {tokens[left] + tokens[right]!r}, which is "
                + ("not in the vocabulary" if new_id is None else "part of a special token")
                + "; take tokens and merges from the same training, and rename special tokens "
                "that look like words"
            )
        table[left, right] = rank, new_id
    return table


def allow_special(
    special_tokens: Mapping[str, int], allowed: str | Iterable[str]
) -> dict[str, int]:
    """Pick the special tokens that a text may contain: "all", or a collection of their names."""
    if allowed == "all":
        return special_tokens
    if isinstance(allowed, str):
        raise ValueError(f'allowed_special must be "all" or a collection; pass {{{allowed!r}}}')
    for token in allowed:
        if token not in special_tokens:
            raise ValueError(
                f"{token!r} is not a special token of this tokenizer, which has "
                f"{list(special_tokens)}; name it when training, or leave it out"
            )
    return {token: special_tokens[token] for token in allowed}


def encode_part(
    text: str, cache: PretokenCache, special_ids: Mapping[str, int], final: bool
) -> tuple[list[int], str]:
    """Encode what no later text can change; return `(ids, rest)`, with an empty rest if `final`.

    Special tokens are cut out first, leftmost first and the longest of those. A later character can
    change at most the last two pre-tokens (`'` and `r` become `'re`), and can complete a special
    token that begins in the last few characters.
    """
    ids, start = [], 0
    border = len(text) if final else len(text) - max(map(len, special_ids), default=1) + 1
    if special_ids:
        longest_first = sorted(special_ids, key=len, reverse=True)
        for match in regex.finditer("|".join(map(regex.escape, longest_first)), text):
            if match.start() >= border:
                break
            for pretoken in PRETOKEN.findall(text, start, match.start()):
                ids += cache[pretoken]
            ids.append(special_ids[match.group()])
            start = match.end()
    pretokens = PRETOKEN.findall(text, start, max(start, border))
    if not final:
        del pretokens[-2:]
    ids.extend(chain.from_iterable(map(cache.__getitem__, pretokens)))
    return ids, "" if final else text[start + sum(map(len, pretokens)) :]


def encode_chunks(
    chunks: Iterable[str], cache: PretokenCache, special_ids: Mapping, block: int, max_held: int
) -> Iterator[int]:
    """Yield the ids of the joined chunks; what may still change waits for the next chunk."""
    held, due = "", block
    for chunk in chunks:
        if not isinstance(chunk, str):
            raise ValueError(
                f"a chunk is {type(chunk).__name__}, but text is needed: open the file with "
                'encoding="utf-8", or decode the bytes first'
            )
        held += chunk
        if len(held) >= due:
            ids, held = encode_part(held, cache, special_ids, final=False)
            yield from ids
            if len(held) > max_held:
                raise ValueError(
                    f"a single pre-token is longer than {max_held:,} characters; break the text "
                    "with spaces or line ends, or raise max_held if the memory is there"
                )
            due = max(block, 2 * len(held))
    yield from encode_part(held, cache, special_ids, final=True)[0]


class Tokenizer(Vocabulary):
    """Byte-level BPE: `tokens` and `merges` as `train_bpe` returns them.

    >>> tokenizer = Tokenizer(*train_bpe({"low": 5, "lower": 2}, 259))
    >>> tokenizer.encode("lower, 水"), tokenizer.decode(tokenizer.encode("lower, 水"))
    ([257, 258, 11, 220, 162, 108, 112], 'lower, 水')
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        merges: Iterable[tuple[int, int]],
        special_tokens: Sequence[str] = (),
    ):
        super().__init__(tokens, special_tokens)
        self.merges = [tuple(pair) for pair in merges]
        byte_id = {byte: self.id_of[bytes([byte])] for byte in range(256)}
        self.cache = PretokenCache(byte_id, index_merges(self))

    def __repr__(self) -> str:
        return f"Tokenizer(vocab_size={self.vocab_size}, special_tokens={[*self.special_tokens]})"

    def encode(self, text: str, allowed_special: str | Iterable[str] = ()) -> list[int]:
        """Turn text into a list of ids. A special token counts as plain text unless allowed."""
        special_ids = allow_special(self.special_tokens, allowed_special)
        return encode_part(text, self.cache, special_ids, final=True)[0]

    def encode_iterable(
        self, chunks: Iterable[str], allowed_special=(), block=65_536, max_held=262_144
    ) -> Iterator[int]:
        """Yield the ids that `encode` gives for the joined chunks, wherever they are cut.

        Memory holds a block, a chunk and the pre-token at the end, in characters; `ValueError` if
        that pre-token grows beyond `max_held`.
        """
        special_ids = allow_special(self.special_tokens, allowed_special)
        return encode_chunks(chunks, self.cache, special_ids, block, max_held)

    def content_hash(self) -> str:
        """SHA-256 of all that fixes an id, up to characters new to one edition of `regex`."""
        content = [PRETOKEN.pattern, self.merges, list(self.special_tokens)]
        content.append([token.hex() for token in self.tokens])
        return hashlib.sha256(json.dumps(content).encode("utf-8")).hexdigest()


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    special_tokens: Sequence[str] = ("<|endoftext|>",),
    min_frequency: int = 2,
) -> Tokenizer:
    """Train on an iterable of texts: `count_pretokens`, then `train_bpe`, as a `Tokenizer`.

    >>> train_tokenizer(["to be or not to be"], 260)
    Tokenizer(vocab_size=260, special_tokens=['<|endoftext|>'])
    """
    counts = count_pretokens(texts)
    tokens, merges = train_bpe(counts, vocab_size, special_tokens, min_frequency)
    return Tokenizer(tokens, merges, special_tokens)


# --- Files ---------------------------------------------------------------------------------------


def tokenizer_json(tokenizer: Tokenizer) -> dict:
    """The content of a Hugging Face `tokenizer.json`: all that makes a byte-level BPE tokenizer."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False}
    byte_level |= {"trim_offsets": True, "use_regex": True}
    special = {i: token for token, i in tokenizer.special_tokens.items()}
    spelt = [special.get(i, spell(token)) for i, token in enumerate(tokenizer.tokens)]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": special[i], **plain, "special": True} for i in sorted(special)
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(spelt)},
            "merges": [[spelt[left], spelt[right]] for left, right in tokenizer.merges],
        },
    }


def save_tokenizer(tokenizer: Tokenizer, path: str | os.PathLike) -> None:
    """Write `tokenizer.json` for us and for Hugging Face: the whole file, or the old one stays."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            json.dump(tokenizer_json(tokenizer), file, ensure_ascii=False, indent=2)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


# What the parts of a tokenizer.json must say for its ids to be ours; None stands for "absent".
LAYOUT = {
    "model.type": ["BPE"],
    "model.dropout": [None],
    "model.unk_token": [None],
    "model.continuing_subword_prefix": [None, ""],
    "model.end_of_word_suffix": [None, ""],
    "model.fuse_unk": [False, None],
    "model.byte_fallback": [False, None],
    "model.ignore_merges": [False, None],
    "normalizer": [None],
    "pre_tokenizer.type": ["ByteLevel"],
    "pre_tokenizer.add_prefix_space": [False],
    "pre_tokenizer.use_regex": [True, None],
    "post_processor.type": [None, "ByteLevel"],
    "decoder.type": ["ByteLevel"],
    "truncation": [None],
    "padding": [None],
}


def check_layout(data: dict, path: str | os.PathLike) -> None:
    """Refuse a file that is not the `tokenizer.json` of a byte-level BPE tokenizer."""
    for name, allowed in LAYOUT.items():
        value = data
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value not in allowed:
            raise ValueError(
                f"{path} has {name} = {json.dumps(value, ensure_ascii=False)[:60]}, where GPT-2's "
                f"kind of byte-level BPE has {json.dumps(allowed[0])}; read it with "
                "tokenizers.Tokenizer.from_file, or train a tokenizer of this kind"
            )
    for token in data.get("added_tokens", []):
        odd = [key for key in ("single_word", "lstrip", "rstrip", "normalized") if token.get(key)]
        if odd or not token.get("special"):
            raise ValueError(
                f"{path} has the added token {token.get('content')!r} with "
                f"{' and '.join(odd) or 'special = false'}, which is matched in plain text; "
                "add it with add_special_tokens instead"
            )


def load_tokenizer(path: str | os.PathLike) -> Tokenizer:
    """Read a `tokenizer.json` that `save_tokenizer` or Hugging Face wrote for byte-level BPE.

    `ValueError` says what is wrong with a file that is cut short, or of another kind.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not complete JSON ({error}); it may be cut short: save or download it again"
        ) from None
    check_layout(data, path)
    try:
        special = {token["content"]: token["id"] for token in data.get("added_tokens", [])}
        ids = {**data["model"]["vocab"], **special}
        if sorted(ids.values()) != list(range(len(ids))):
            raise ValueError(f"{path} leaves out ids, or uses one twice; number them from 0 on")
        by_id = sorted(ids, key=ids.get)
        tokens = [to_utf8(token) if token in special else unspell(token) for token in by_id]
        pairs = [
            pair.split(" ") if isinstance(pair, str) else pair for pair in data["model"]["merges"]
        ]
        merges = [(ids[left], ids[right]) for left, right in pairs]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} has a vocabulary or merges that are not spelt in byte stand-ins "
            f"({type(error).__name__}: {error}); train with the ByteLevel pre-tokenizer"
        ) from None
    return Tokenizer(tokens, merges, sorted(special, key=ids.get))
