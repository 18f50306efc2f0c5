"""The tokenizer against Hugging Face's `tokenizers`, against its own definition, and bad input."""

import hashlib
import itertools
import json
import os
import pickle
import random

import pytest
import regex
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from lib.course.corpora import load_sanguo, load_shakespeare
from lib.tokenizer import (
    BYTE_OF,
    BYTE_ORDER,
    PRETOKEN,
    STAND_IN,
    Tokenizer,
    Vocabulary,
    apply_merges,
    count_pretokens,
    load_tokenizer,
    save_tokenizer,
    spell,
    to_utf8,
    train_bpe,
    train_tokenizer,
    unspell,
)

hypothesis = pytest.importorskip("hypothesis", reason="install the dev extra")
example, given, settings = hypothesis.example, hypothesis.given, hypothesis.settings
st = hypothesis.strategies

END = "<|endoftext|>"
SPECIAL = [END, "<|user|>", "<|user|>s", "<|用户|>"]  # one is the beginning of another
CODE = 'def f(x):\r\n\treturn {"a": [x ** 2 // 3]}  # ok\r\n\r\n\r\nif __name__ == "a":\n    f(7)\n'
HOSTILE = [
    "",
    " ",
    "\n",
    "   \n \t\t  x",
    "a  b   c    ",
    "\u00a0\u2003\u3000 x\u2028y\u0085z\x1c\x1d\x1e\x1f",
    "\x00\x01\x02\x7f\x80\x9f",
    "it's we're I've I'm we'll he'd IT'S don''t ''s 'r 're '’s",
    "'l'll'v've's's",
    CODE,
    "line\r\nline\rline\n",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇨🇳🇬🇧 ☃️",
    "e\u0301 \u0301 a\u0308\u0323 ﷽ ﬁ ½ ² Ⅷ 一二三 ٣ ۴",
    "自然语言处理，从零开始。“你好”——世界！１２３",
    "naïve café Ĝis Ġthe ĊĊ Ā",
    "<|endoftext|> <|endoftext <|user|>s|> <|user|><|user|>s<|用户|>",
    "https://example.org/a?b=c&d=%20#e 3.14159 1,000,000 0x1F",
    "a" * 3000 + "ab" * 2000 + " " * 500 + "-" * 777 + "水" * 999,
    "\ufeffBOM \u200b\u200d\u202e \ufffd \U0010ffff \ue000",
]


def hugging_face(texts, vocab_size, special_tokens=(), min_frequency=2):
    """The oracle: a byte-level BPE tokenizer trained by an independent implementation."""
    oracle = tokenizers.Tokenizer(models.BPE())
    oracle.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    oracle.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=min_frequency,
        show_progress=False,
    )
    oracle.train_from_iterator(texts, trainer)
    return oracle


def as_plain_text(oracle):
    """A copy of the oracle that takes special tokens in a text for plain text."""
    plain = tokenizers.Tokenizer.from_str(oracle.to_str())
    plain.encode_special_tokens = True
    return plain


@pytest.fixture(scope="module")
def english():
    return [play.text for play in load_shakespeare()[:3]]


@pytest.fixture(scope="module")
def chinese():
    return load_sanguo()[:10]


@pytest.fixture(scope="module")
def mixed(english, chinese):
    return [english[0], *chinese[:5], *HOSTILE, CODE * 20]


@pytest.fixture(scope="module")
def oracle(mixed):
    return hugging_face(mixed, 2000, SPECIAL)


@pytest.fixture(scope="module")
def tokenizer(mixed):
    return train_tokenizer(mixed, 2000, SPECIAL)


# --- Bytes ---------------------------------------------------------------------------------------


def test_stand_ins_are_those_of_hugging_face():
    assert set(STAND_IN.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    whole = "".join(chr(i) for i in range(0xD800)) + "\U0010ffff"
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    assert spell(whole.encode()) == "".join(p for p, _ in pieces.pre_tokenize_str(whole))


@given(st.binary())
def test_unspell_undoes_spell(token):
    assert unspell(spell(token)) == token
    assert spell(token).isprintable()


def test_byte_order_is_the_order_of_the_stand_ins():
    assert sorted(BYTE_ORDER) == list(range(256))
    assert [STAND_IN[byte] for byte in BYTE_ORDER] == sorted(BYTE_OF)


# --- Pre-tokens ----------------------------------------------------------------------------------


EVERY_CHARACTER = "".join(chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000)


def oracle_class(outside):
    """Every character that the oracle's regular expressions put into the complement of a class."""
    split = pre_tokenizers.Split(Regex(f"{outside}+"), "removed")
    blocks = (EVERY_CHARACTER[i : i + 16_384] for i in range(0, len(EVERY_CHARACTER), 16_384))
    return set("".join(piece for block in blocks for piece, _ in split.pre_tokenize_str(block)))


@pytest.fixture(scope="module")
def disputed():
    """Characters on whose class the two regex engines disagree: they know different Unicodes."""
    classes = {r"\p{L}": r"\P{L}", r"\p{N}": r"\P{N}", r"\s": r"\S"}
    return set().union(
        *(set(regex.findall(i, EVERY_CHARACTER)) ^ oracle_class(o) for i, o in classes.items())
    )


def test_engines_disagree_only_on_characters_too_new_for_one_of_them(disputed):
    unassigned = set(regex.findall(r"\p{Cn}", EVERY_CHARACTER)) | oracle_class(r"\P{Cn}")
    assert disputed <= unassigned


@pytest.mark.parametrize("text", HOSTILE)
def test_pretokens_are_those_of_hugging_face(text):
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
    assert [spell(p.encode()) for p in PRETOKEN.findall(text)] == [p for p, _ in pieces]


@given(st.text())
def test_pretokens_join_to_the_text(text):
    assert "".join(PRETOKEN.findall(text)) == text


def test_counting_takes_an_iterable_of_texts_once():
    assert count_pretokens(iter(["a b", "a b"])) == {"a": 2, " b": 2}


def test_counting_refuses_a_single_string():
    with pytest.raises(ValueError, match=r"pass \[text\]"):
        count_pretokens("a text, not a list of texts")


# --- Training ------------------------------------------------------------------------------------


def assert_same_training(texts, vocab_size, special_tokens=(), min_frequency=2):
    expected = json.loads(hugging_face(texts, vocab_size, special_tokens, min_frequency).to_str())[
        "model"
    ]
    tokens, merges = train_bpe(count_pretokens(texts), vocab_size, special_tokens, min_frequency)
    names = list(special_tokens) + [spell(token) for token in tokens[len(special_tokens) :]]
    assert [[names[left], names[right]] for left, right in merges] == expected["merges"]
    assert {name: i for i, name in enumerate(names)} == expected["vocab"]
    return merges


@pytest.mark.parametrize("vocab_size", [256, 257, 300, 1000, 4096, 16384])
@pytest.mark.parametrize("language", ["english", "chinese", "mixed"])
def test_merges_are_those_of_hugging_face(language, vocab_size, request):
    assert_same_training(request.getfixturevalue(language), vocab_size)


def test_special_tokens_come_first_as_in_hugging_face(mixed):
    assert_same_training(mixed, 700, SPECIAL)


@pytest.mark.parametrize("min_frequency", [0, 1, 2, 3, 10])
def test_training_stops_at_min_frequency_as_hugging_face_does(min_frequency):
    merges = assert_same_training(HOSTILE, 10_000, min_frequency=min_frequency)
    assert len(merges) < 10_000 - 256


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("aab cd\n"), max_size=60), min_size=1, max_size=8),
    st.integers(256, 340),
    st.integers(0, 3),
)
def test_ties_and_overlaps_are_resolved_as_in_hugging_face(texts, vocab_size, min_frequency):
    if any(texts):
        assert_same_training(texts, vocab_size, min_frequency=min_frequency)


def naive_merges(words, n_merges):
    """The definition of BPE: count all pairs, merge the most frequent one, begin again."""
    words = [list(word) for word in words]
    merges = []
    for new_id in range(256, 256 + n_merges):
        counts = {}
        for word in words:
            for pair in itertools.pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for word in words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [new_id]
                i += 1
    return merges


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("aabc", min_size=1, max_size=20), min_size=1, max_size=12))
def test_incremental_training_finds_the_merges_of_the_definition(words):
    counts = {word: words.count(word) for word in words}
    order = {byte: i for i, byte in enumerate(BYTE_ORDER)}
    expected = naive_merges([[order[b] for b in word.encode()] for word in words], 30)
    assert train_bpe(counts, 286, min_frequency=1)[1] == expected


def test_training_leaves_the_counts_alone():
    counts = count_pretokens(["so so so"])
    before = dict(counts)
    train_bpe(counts, 300)
    assert counts == before


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_empty_corpus_is_refused(texts):
    with pytest.raises(ValueError, match=r"corpus is empty.*pass some text"):
        train_tokenizer(texts, 300)


@pytest.mark.parametrize(("special", "least"), [((), 256), ((END, "<|pad|>"), 258)])
def test_vocabulary_smaller_than_the_alphabet_is_refused(special, least):
    with pytest.raises(ValueError, match=f"already need {least}; choose at least"):
        train_bpe({"a": 1}, least - 1, special)
    assert len(train_bpe({"a": 1}, least, special)[0]) == least


@pytest.mark.parametrize(
    ("special", "message"),
    [
        ([END, END], "is listed 2 times; list it once"),
        (["<|a|>", ""], "is empty; remove it"),
        (["a"], r"spelt like a single byte; use a longer name like <\|a\|>"),
        ("<|a|>", "must be a list of strings; pass"),
        (["<|\ud800|>"], r"lone surrogate U\+D800"),
        (["hello"], r"b'hello' has two ids.*rename it"),
        (["Ġhello"], r"reads like the spelling of the bytes b' hello'; use ASCII"),
        (["<|é|>"], r"reads like the spelling of the bytes .*; use ASCII"),
    ],
)
def test_unusable_special_tokens_are_refused(special, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(["hello hello hello"], 300, special)


# --- Encoding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocab_size", [256, 600, 4096])
@pytest.mark.parametrize("language", ["english", "chinese", "mixed"])
def test_ids_are_those_of_hugging_face(language, vocab_size, request):
    texts = request.getfixturevalue(language)
    oracle = hugging_face(texts, vocab_size)
    tokenizer = train_tokenizer(texts, vocab_size, [])
    for text in [*texts, *HOSTILE, *load_sanguo()[40:42]]:
        assert tokenizer.encode(text) == oracle.encode(text).ids


# Characters of every kind, those that the pattern treats in a special way far more often.
TRICKY = st.sampled_from(
    [*" \t\n\r'sS0a-_\u00a0\u3000\u200d\ufe0f\x00é水", "  ", "'s", "'ll", "'re", "\r\n", "👩‍👧",
     "🇨🇳", "\u0301", "the ", " the", "<|", "|>", "endoftext", *SPECIAL, "def ", "    ",
     "。", "中文", "٣"]
)  # fmt: skip
TEXT = st.lists(TRICKY | st.text(max_size=8), max_size=30).map("".join)


@settings(max_examples=1500, deadline=None)
@given(TEXT)
@example(HOSTILE[-2])
def test_any_text_is_encoded_as_by_hugging_face(tokenizer, oracle, disputed, text):
    text = "".join(c for c in text if c not in disputed)
    assert tokenizer.encode(text) == as_plain_text_cached(oracle).encode(text).ids
    assert tokenizer.encode(text, allowed_special="all") == oracle.encode(text).ids


PLAIN = {}


def as_plain_text_cached(oracle):
    if id(oracle) not in PLAIN:
        PLAIN[id(oracle)] = as_plain_text(oracle)
    return PLAIN[id(oracle)]


@settings(max_examples=1000, deadline=None)
@given(TEXT, st.sampled_from([(), "all"]))
def test_any_text_comes_back_unchanged(tokenizer, text, allowed):
    assert tokenizer.decode(tokenizer.encode(text, allowed)) == text


def test_every_character_of_unicode_comes_back_unchanged(tokenizer):
    assert tokenizer.decode(tokenizer.encode(EVERY_CHARACTER)) == EVERY_CHARACTER


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=5), st.characters(categories=["Cs"]), st.text(max_size=5))
def test_lone_surrogates_are_refused(tokenizer, before, surrogate, after):
    with pytest.raises(ValueError, match=f"lone surrogate U\\+{ord(surrogate):04X}.*encoding"):
        tokenizer.encode(before + surrogate + after)


def test_lone_surrogates_are_refused_in_training():
    with pytest.raises(ValueError, match="lone surrogate"):
        train_tokenizer(["fine", "not \udc80"], 300)


def test_remedy_for_surrogates_that_the_message_names_works():
    text = "pair \ud83d\ude00, lone \ud83d"
    mended = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert mended == "pair 😀, lone \ufffd"
    assert to_utf8(mended)


def test_empty_text_has_no_ids(tokenizer):
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""


def test_long_pretokens_are_encoded_in_reasonable_time(tokenizer, oracle):
    text = "abracadabra" * 20_000
    assert tokenizer.encode(text) == oracle.encode(text).ids


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=40), st.permutations(range(12)), st.data())
def test_merges_apply_lowest_rank_first_and_leftmost_first(ids, ranks, data):
    pairs = [(a, b) for a in range(4) for b in range(4)][: len(ranks)]
    table = {pair: (rank, 4 + rank) for pair, rank in zip(pairs, ranks, strict=True)}
    for product in range(4, 8):
        partner = data.draw(st.integers(0, 7))
        table[product, partner] = 12 + product, 30 + product
    expected = list(ids)
    while True:
        neighbours = enumerate(itertools.pairwise(expected))
        found = [(table[pair][0], i) for i, pair in neighbours if pair in table]
        if not found:
            break
        _, i = min(found)
        expected[i : i + 2] = [table[expected[i], expected[i + 1]][1]]
    assert apply_merges(ids, table) == expected


@pytest.mark.parametrize("seed", range(40))
def test_merges_in_any_order_apply_as_in_hugging_face(seed, tmp_path):
    """A file from elsewhere may hold merges in an order that no training would give."""
    rng, tokens, merges = random.Random(seed), [bytes([byte]) for byte in range(256)], []
    for _ in range(rng.randint(1, 14)):
        made = [i for i, token in enumerate(tokens) if set(token) <= set(b"abc")]
        pair = rng.choice(made), rng.choice(made)
        product = tokens[pair[0]] + tokens[pair[1]]
        if product not in tokens:
            tokens.append(product)
        if pair not in merges:
            merges.append(pair)
    rng.shuffle(merges)
    tokenizer = Tokenizer(tokens, merges)
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    oracle = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for _ in range(30):
        text = "".join(rng.choices("abc", k=rng.randint(1, 25)))
        assert tokenizer.encode(text) == oracle.encode(text).ids


# --- Special tokens ------------------------------------------------------------------------------


def test_plain_text_never_yields_a_special_token(tokenizer):
    ids = tokenizer.encode(f"quote: {END}<|user|>")
    assert not set(ids) & set(tokenizer.special_tokens.values())


def test_only_the_allowed_special_tokens_are_recognised(tokenizer):
    ids = tokenizer.encode(f"{END}<|user|>", allowed_special={END})
    assert ids[0] == tokenizer.special_tokens[END]
    assert tokenizer.special_tokens["<|user|>"] not in ids[1:]


def test_longest_special_token_wins(tokenizer):
    assert tokenizer.encode("<|user|>s", "all") == [tokenizer.special_tokens["<|user|>s"]]


def test_no_special_token_is_the_product_of_a_merge(tokenizer):
    with pytest.raises(ValueError, match=r"part of a special token.*rename special tokens"):
        Tokenizer(tokenizer.tokens, tokenizer.merges, [tokenizer.tokens[-1].decode()])


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        ({"<|nobody|>"}, "not a special token of this tokenizer"),
        (END, 'must be "all" or a collection; pass'),
    ],
)
def test_unknown_allowed_special_is_refused(tokenizer, allowed, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.encode("x", allowed_special=allowed)
    with pytest.raises(ValueError, match=message):
        tokenizer.encode_iterable(["x"], allowed_special=allowed)


# --- Decoding ------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_decode_with_replacement(tokenizer, data):
    ids = [tokenizer.id_of[bytes([byte])] for byte in data]
    assert tokenizer.decode_bytes(ids) == data
    assert tokenizer.decode(ids) == data.decode("utf-8", errors="replace")


@settings(max_examples=500, deadline=None)
@given(st.lists(st.integers(0, 1999), max_size=40))
def test_any_ids_decode_as_by_hugging_face(tokenizer, oracle, ids):
    assert tokenizer.decode(ids) == oracle.decode(ids, skip_special_tokens=False)


@settings(max_examples=300)
@given(st.lists(st.integers(0, 1999), max_size=40))
def test_text_decoded_id_by_id_joins_to_the_whole(tokenizer, ids):
    pieces = list(tokenizer.decode_iterable(ids))
    assert "".join(pieces) == tokenizer.decode(ids)
    assert "" not in pieces


def test_a_character_is_held_back_until_its_last_byte():
    vocabulary = Vocabulary([bytes([byte]) for byte in range(256)])
    assert list(vocabulary.decode_iterable("水!".encode())) == ["水", "!"]
    assert list(vocabulary.decode_iterable("水".encode()[:2])) == ["\ufffd"]


@pytest.mark.parametrize("bad", [-1, 2000, 10**9])
def test_unknown_ids_are_refused(tokenizer, bad):
    with pytest.raises(ValueError, match=rf"id {bad} is not in the vocabulary.* 0 to 1999"):
        tokenizer.decode([5, bad])


def test_arrays_of_ids_decode_like_lists(tokenizer):
    numpy, torch = pytest.importorskip("numpy"), pytest.importorskip("torch")
    ids = tokenizer.encode("as lists do")
    assert (
        tokenizer.decode(numpy.array(ids)) == tokenizer.decode(torch.tensor(ids)) == "as lists do"
    )


# --- Streaming -----------------------------------------------------------------------------------


@settings(max_examples=600, deadline=None)
@given(TEXT, st.lists(st.integers(0, 200), max_size=12), st.sampled_from([(), "all"]),
       st.integers(1, 12))  # fmt: skip
def test_streaming_gives_the_ids_of_the_whole_text(tokenizer, text, cuts, allowed, block):
    cuts = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(cuts)]
    streamed = tokenizer.encode_iterable(chunks, allowed, block=block)
    assert list(streamed) == tokenizer.encode(text, allowed)


@pytest.mark.parametrize("text", HOSTILE)
def test_streaming_character_by_character_changes_nothing(tokenizer, text):
    for allowed in ((), "all", {"<|user|>"}):
        assert list(tokenizer.encode_iterable(text, allowed, block=1)) == tokenizer.encode(
            text, allowed
        )


def test_streaming_a_book_in_random_pieces_changes_nothing(tokenizer, english):
    text, rng = english[1], random.Random(1)
    cuts = [0, *sorted(rng.sample(range(len(text)), 300)), len(text)]
    chunks = (text[a:b] for a, b in itertools.pairwise(cuts))
    assert list(tokenizer.encode_iterable(chunks, block=100)) == tokenizer.encode(text)


def test_streaming_holds_no_more_than_a_block_a_chunk_and_a_pretoken(tokenizer):
    given = returned = largest = 0

    def chunks():
        nonlocal given
        for i in range(2000):
            chunk = f"第{i}回，天下大势，分久必合。"  # no blank anywhere
            given += len(chunk.encode())
            yield chunk

    for token in tokenizer.encode_iterable(chunks(), block=100):
        largest = max(largest, given - returned)
        returned += len(tokenizer.tokens[token])
    assert returned == given
    assert largest <= 3 * (100 + 20 + 10)  # three bytes a character


def test_streaming_refuses_a_pretoken_without_end(tokenizer):
    endless = ("a" * 1000 for _ in range(1000))
    with pytest.raises(ValueError, match="longer than 5,000 characters; break the text"):
        list(tokenizer.encode_iterable(endless, block=100, max_held=5000))


def test_streaming_refuses_bytes(tokenizer):
    with pytest.raises(ValueError, match=r'a chunk is bytes.*encoding="utf-8"'):
        list(tokenizer.encode_iterable([b"bytes"]))


# --- The cache -----------------------------------------------------------------------------------


def test_the_cache_is_bounded_and_changes_no_id(tokenizer, english):
    expected = tokenizer.encode(english[0])
    small = Tokenizer(tokenizer.tokens, tokenizer.merges, SPECIAL)
    small.cache.limit, small.cache.longest = 50, 8
    assert small.encode(english[0]) == expected
    assert len(small.cache) <= 50
    assert max(map(len, small.cache)) <= 8


# --- Files ---------------------------------------------------------------------------------------


def test_saved_file_is_what_hugging_face_writes(tokenizer, oracle, tmp_path):
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    ours = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    theirs = json.loads(oracle.to_str())
    theirs["decoder"]["add_prefix_space"] = False  # changes nothing in a decoder
    assert ours == theirs


def test_hugging_face_reads_what_we_save(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in HOSTILE:
        assert theirs.encode(text).ids == tokenizer.encode(text, "all")
        assert as_plain_text(theirs).encode(text).ids == tokenizer.encode(text)
        ids = tokenizer.encode(text, "all")
        assert theirs.decode(ids, skip_special_tokens=False) == tokenizer.decode(ids) == text


@pytest.mark.parametrize("pretty", [True, False])
def test_we_read_what_hugging_face_saves(tokenizer, oracle, tmp_path, pretty):
    oracle.save(str(tmp_path / "tokenizer.json"), pretty=pretty)
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert loaded.content_hash() == tokenizer.content_hash()
    assert loaded.encode(CODE + END, "all") == tokenizer.encode(CODE + END, "all")


def test_we_read_special_tokens_that_were_added_after_training(english, tmp_path):
    oracle = hugging_face(english[:1], 500)
    oracle.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    oracle.post_processor = tokenizers.processors.ByteLevel()
    oracle.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert loaded.special_tokens == {"<|im_start|>": 500, "<|im_end|>": 501}
    text = "<|im_start|>user\nTo be<|im_end|>\n"
    assert loaded.encode(text, "all") == oracle.encode(text).ids


def test_we_read_merges_in_the_older_spelling(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path / "new.json")
    data = json.loads((tmp_path / "new.json").read_text(encoding="utf-8"))
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    (tmp_path / "old.json").write_text(json.dumps(data), encoding="utf-8")
    assert load_tokenizer(tmp_path / "old.json").content_hash() == tokenizer.content_hash()


def saved(tokenizer, path, **changes):
    """Save, then change entries of the file, named like `model.type`, keyed with __ for the dot."""
    save_tokenizer(tokenizer, path)
    data = json.loads(path.read_text(encoding="utf-8"))
    for name, value in changes.items():
        *outer, last = name.split("__")
        section = data
        for key in outer:
            section = section[key]
        section[last] = value
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__type": "WordPiece"}, 'model.type = "WordPiece".*has "BPE"; read it with'),
        ({"model__byte_fallback": True}, "model.byte_fallback = true"),
        ({"model__ignore_merges": True}, "model.ignore_merges = true"),
        ({"model__end_of_word_suffix": "</w>"}, "model.end_of_word_suffix"),
        ({"normalizer": {"type": "NFC"}}, "normalizer = "),
        ({"pre_tokenizer": None}, "pre_tokenizer.type = null"),
        ({"pre_tokenizer__add_prefix_space": True}, "pre_tokenizer.add_prefix_space = true"),
        ({"decoder": {"type": "Metaspace"}}, "decoder.type"),
        ({"truncation": {"max_length": 8}}, "truncation"),
        ({"model__vocab": {}}, "leaves out ids|not spelt"),
        ({"model__vocab": None}, "not spelt in byte stand-ins"),
        ({"model__merges": [["q", "nothere"]]}, "not spelt in byte stand-ins"),
        ({"model__merges": [["q", "x"]]}, r"b'qx', which is not in the vocabulary"),
        ({"added_tokens": [{"id": 0, "content": END, "special": False}]}, "special = false"),
        ({"added_tokens": [{"id": 0, "content": END, "special": True, "lstrip": True}]}, "lstrip"),
        ({"added_tokens": [{"id": 9999, "content": "<|x|>", "special": True}]}, "leaves out ids"),
    ],
)  # fmt: skip
def test_foreign_files_are_refused(tokenizer, tmp_path, changes, message):
    path = saved(tokenizer, tmp_path / "tokenizer.json", **changes)
    with pytest.raises(ValueError, match=message):
        load_tokenizer(path)


def test_a_vocabulary_without_all_bytes_is_refused(english, tmp_path):
    oracle = tokenizers.Tokenizer(models.BPE())
    oracle.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    oracle.decoder = decoders.ByteLevel()
    oracle.train_from_iterator(
        english[:1], trainers.BpeTrainer(vocab_size=300, show_progress=False)
    )
    oracle.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"bytes have no token.*initial_alphabet"):
        load_tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
def test_a_file_cut_short_is_refused(tokenizer, tmp_path, part):
    path = tmp_path / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ValueError, match=r"not complete JSON.*save or download it again"):
        load_tokenizer(path)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"[1, 2]", b"null", b"{}", b'"BPE"'])
def test_what_is_no_tokenizer_file_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"not complete JSON|model.type = null"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_a_failed_save_leaves_the_old_file_and_no_litter(tokenizer, tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_tokenizer(Tokenizer(tokenizer.tokens, [], SPECIAL), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["tokenizer.json"]


def test_hash_depends_on_every_part(tokenizer):
    hashes = {
        tokenizer.content_hash(),
        Tokenizer(tokenizer.tokens, tokenizer.merges[:-1], SPECIAL).content_hash(),
        Tokenizer(tokenizer.tokens, tokenizer.merges, SPECIAL[:-1]).content_hash(),
        Tokenizer([*tokenizer.tokens, b"new"], tokenizer.merges, SPECIAL).content_hash(),
    }
    assert len(hashes) == 4
    assert all(len(value) == hashlib.sha256().digest_size * 2 for value in hashes)


def test_a_tokenizer_survives_pickling(tokenizer):
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode(CODE) == tokenizer.encode(CODE)
    assert copy.content_hash() == tokenizer.content_hash()


# --- A second oracle -----------------------------------------------------------------------------


def test_tiktoken_gives_the_same_ids(tokenizer, mixed):
    special = tokenizer.special_tokens
    tiktoken = pytest.importorskip("tiktoken", reason="install the oracle extra")
    second = tiktoken.Encoding(
        "ours",
        pat_str=PRETOKEN.pattern,
        mergeable_ranks={token: i for token, i in tokenizer.id_of.items() if i >= len(special)},
        special_tokens=special,
    )
    for text in mixed:
        assert second.encode(text, disallowed_special=()) == tokenizer.encode(text)
        assert second.encode(text, allowed_special="all") == tokenizer.encode(text, "all")
