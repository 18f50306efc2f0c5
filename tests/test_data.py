"""Shards, batches, splits, the search for leaks: against brute force, torch, and bad input."""

import hashlib
import itertools
import json
import math
import os
import pickle
import random
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from lib.course.corpora import load_sanguo, shakespeare_split
from lib.course.notebooks import ROOT
from lib.data import (
    END,
    HEADER_BYTES,
    PADDING,
    POOL,
    Batches,
    DocumentBatches,
    Shard,
    Windows,
    comparable_units,
    document_numbers,
    document_starts,
    encode_documents,
    end_id_of,
    epoch_keys,
    gather_windows,
    hold_out_combinations,
    leaked_shares,
    ngram_hashes,
    part_of,
    permute,
    read_header,
    shuffled,
    sinusoidal_positions,
    split_documents,
    token_dtype,
    write_shard,
)
from lib.tokenizer import load_tokenizer, train_tokenizer

hypothesis = pytest.importorskip("hypothesis", reason="install the dev extra")
given, settings = hypothesis.given, hypothesis.settings
st = hypothesis.strategies

STORIES = [
    "the fox found a key.",
    "it rained, so the fox went home.",
    "狐狸找到了一把钥匙。",
    "the end",
]
TOKENIZER = train_tokenizer(STORIES, 300)


def numbered(vocab_size, name="numbered"):
    """What a shard needs to know of a tokenizer, for streams of plain numbers."""
    digest = hashlib.sha256(f"{name} {vocab_size}".encode()).hexdigest()
    return SimpleNamespace(
        vocab_size=vocab_size, special_tokens={END: 0}, content_hash=lambda: digest
    )


def shard_of(path, ids, vocab_size=None, name="numbered"):
    tokenizer = numbered(vocab_size or max(ids) + 1, name)
    write_shard(path, [ids], tokenizer)
    return Shard(path, tokenizer)


@pytest.fixture
def stories(tmp_path):
    path = tmp_path / "stories.bin"
    write_shard(path, encode_documents(TOKENIZER, STORIES), TOKENIZER)
    return path


# --- Documents -----------------------------------------------------------------------------------


def test_each_document_is_closed_by_one_end_of_text():
    pieces = list(encode_documents(TOKENIZER, STORIES))
    assert [TOKENIZER.decode(ids[:-1]) for ids in pieces] == STORIES
    assert [ids.count(end_id_of(TOKENIZER)) for ids in pieces] == [1] * len(STORIES)
    assert all(ids[-1] == end_id_of(TOKENIZER) for ids in pieces)


def test_the_characters_of_the_special_token_inside_a_document_close_nothing():
    [ids] = encode_documents(TOKENIZER, [f"a{END}b"])
    assert ids.count(end_id_of(TOKENIZER)) == 1
    assert TOKENIZER.decode(ids[:-1]) == f"a{END}b"


def test_documents_are_encoded_one_at_a_time():
    endless = encode_documents(TOKENIZER, itertools.repeat("the fox"))
    assert next(endless) == next(endless)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (["the fox", ""], "document 1 is empty .* leave it out"),
        ([b"the fox"], "document 0 is bytes, but text is needed; decode"),
        ([{"text": "the fox"}], "document 0 is dict, .* pass the text of a record"),
        ("the fox", r"pass \[text\] for a single one"),
    ],
)
def test_documents_that_are_no_texts_are_refused(documents, message):
    with pytest.raises(ValueError, match=message):
        list(encode_documents(TOKENIZER, documents))


def test_a_tokenizer_without_end_of_text_is_refused():
    plain = train_tokenizer(STORIES, 300, special_tokens=["<|stop|>"])
    with pytest.raises(ValueError, match=r"no special token '<\|endoftext\|>', only .*stop.*pass"):
        list(encode_documents(plain, STORIES))
    assert next(encode_documents(plain, ["a"], end="<|stop|>"))[-1] == 0


# --- Shards --------------------------------------------------------------------------------------


def test_a_shard_holds_exactly_the_ids_that_were_written(stories):
    shard = Shard(stories, TOKENIZER)
    expected = [i for ids in encode_documents(TOKENIZER, STORIES) for i in ids]
    assert shard.tokens.tolist() == expected
    assert len(shard) == len(expected) == shard.header.n_tokens
    assert stories.stat().st_size == HEADER_BYTES + 2 * len(expected)


def test_the_layout_of_the_file_is_fixed(tmp_path):
    """Read with `struct` alone, so that a change of the format cannot go unseen."""
    tokenizer = numbered(70_000)
    write_shard(tmp_path / "s.bin", [[5, 69_999], [0]], tokenizer)
    data = (tmp_path / "s.bin").read_bytes()
    magic, version, width, n, vocab_size, end, tokenizer_hash, checksum = struct.unpack(
        "<8sIIQII32s32s", data[:96]
    )
    assert (magic, version, width, n, vocab_size, end) == (b"LLMSHARD", 1, 4, 3, 70_000, 0)
    assert tokenizer_hash.hex() == tokenizer.content_hash()
    assert struct.unpack("<3I", data[96:]) == (5, 69_999, 0)
    assert checksum == hashlib.sha256(data[96:] + data[:64]).digest()


@pytest.mark.parametrize(("vocab_size", "width"), [(257, 2), (65_536, 2), (65_537, 4)])
def test_ids_take_two_bytes_where_that_is_enough(tmp_path, vocab_size, width):
    assert token_dtype(vocab_size).itemsize == width
    shard = shard_of(tmp_path / "s.bin", [0, vocab_size - 1], vocab_size)
    assert shard.tokens.tolist() == [0, vocab_size - 1]


def test_the_same_documents_make_the_same_file_however_they_are_chunked(tmp_path):
    ids = [i for ids in encode_documents(TOKENIZER, STORIES) for i in ids]
    write_shard(tmp_path / "a", encode_documents(TOKENIZER, STORIES), TOKENIZER)
    write_shard(tmp_path / "b", [ids[:7], [], np.array(ids[7:])], TOKENIZER)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_stream_is_read_only(stories):
    with pytest.raises(ValueError, match="read-only"):
        Shard(stories, TOKENIZER).tokens[0] = 1


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(stories):
    before = stories.read_bytes()
    with pytest.raises(ValueError, match="document 1 is empty"):
        write_shard(stories, encode_documents(TOKENIZER, ["new", ""]), TOKENIZER)
    assert [path.read_bytes() for path in stories.parent.iterdir()] == [before]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no folder .*nowhere for s\.bin; create it first"):
        write_shard(tmp_path / "nowhere" / "s.bin", [[1]], TOKENIZER)


def test_an_empty_list_of_documents_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no documents, .* pass at least one"):
        write_shard(tmp_path / "s.bin", encode_documents(TOKENIZER, []), TOKENIZER)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, 300], "id 300 at position 12 is outside the vocabulary, whose ids are 0 to 299"),
        ([-1], "id -1 at position 10 .* encode with the tokenizer"),
        ([0.5], "whole numbers"),
        ([[1, 2]], "one dimension"),
    ],
)
def test_ids_beyond_the_vocabulary_are_refused_when_written(tmp_path, ids, message):
    with pytest.raises(ValueError, match=message):
        write_shard(tmp_path / "s.bin", [[1] * 10, ids], numbered(300))


def test_ids_beyond_the_vocabulary_are_refused_when_read_whatever_the_checksum_says(stories):
    data = bytearray(stories.read_bytes())
    data[HEADER_BYTES : HEADER_BYTES + 2] = struct.pack("<H", 300)
    data[64:96] = hashlib.sha256(data[96:] + data[:64]).digest()
    stories.write_bytes(data)
    with pytest.raises(ValueError, match="id 300 at position 0 is outside the vocabulary"):
        Shard(stories, TOKENIZER)


def test_a_shard_of_another_tokenizer_is_refused(stories):
    other = train_tokenizer([*STORIES, "another text another text"], 300)
    with pytest.raises(ValueError, match=r"written with another tokenizer .*encode the documents"):
        Shard(stories, other)
    with pytest.raises(ValueError, match="another tokenizer"):
        Shard(stories, other, verify=False)


def test_the_same_tokenizer_trained_twice_may_read_the_shard(stories):
    assert len(Shard(stories, train_tokenizer(STORIES, 300))) > 0


@pytest.mark.parametrize("length", [0, 5, 8, 50, 95])
def test_a_file_cut_inside_the_header_is_refused(stories, length):
    stories.write_bytes(stories.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"is no shard|cut short inside its header"):
        Shard(stories, TOKENIZER, verify=False)


@pytest.mark.parametrize("missing", [1, 2, 20])
def test_a_truncated_shard_is_refused_without_reading_it(stories, missing):
    stories.write_bytes(stories.read_bytes()[:-missing])
    with pytest.raises(ValueError, match="was cut short: copy or write it again"):
        Shard(stories, TOKENIZER, verify=False)


def test_bytes_added_at_the_end_are_refused(stories):
    stories.write_bytes(stories.read_bytes() + b"\0\0")
    with pytest.raises(ValueError, match="added to"):
        read_header(stories)


def test_every_single_flipped_bit_is_found(stories):
    write_shard(stories, encode_documents(TOKENIZER, ["狐狸"]), TOKENIZER)
    whole = stories.read_bytes()
    for place in range(8 * len(whole)):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        stories.write_bytes(data)
        with pytest.raises(ValueError, match=r"stories\.bin|outside the vocabulary"):
            Shard(stories, TOKENIZER)


def test_a_flipped_bit_that_leaves_a_valid_id_is_found_by_the_checksum(stories):
    data = bytearray(stories.read_bytes())
    data[HEADER_BYTES] ^= 1
    stories.write_bytes(data)
    with pytest.raises(ValueError, match=r"does not match its checksum.*copy it again"):
        Shard(stories, TOKENIZER)


@pytest.mark.parametrize(
    "content", [b"", b"once upon a time", pickle.dumps([1, 2]), b'{"ids": [1]}' * 20]
)
def test_a_file_of_another_kind_is_refused_and_never_unpickled(tmp_path, content):
    path = tmp_path / "other.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is no shard of ids; write one with write_shard"):
        Shard(path, TOKENIZER)


def test_a_shard_of_a_later_version_says_so(stories):
    data = bytearray(stories.read_bytes())
    data[8] = 2
    stories.write_bytes(data)
    with pytest.raises(ValueError, match="version 2, and this library reads version 1"):
        read_header(stories)


# --- The order of an epoch -----------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(n=st.integers(1, 3000), seed=st.integers(-5, 2**70), epoch=st.integers(0, 10**6))
def test_the_order_is_a_permutation(n, seed, epoch):
    order = permute(np.arange(n), n, epoch_keys(seed, epoch)[:7])
    assert sorted(order.tolist()) == list(range(n))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 9, 4096, 4097, 65_535, 65_536, 65_537, 10**6])
def test_the_order_is_a_permutation_at_the_edges(n):
    order = permute(np.arange(n), n, epoch_keys(1, 2)[:7])
    assert np.array_equal(np.sort(order), np.arange(n))


def test_an_order_of_more_windows_than_any_memory_holds_is_computed_where_it_is_asked_for():
    n = 10**15
    some = permute(np.arange(n - 1000, n), n, epoch_keys(0, 0)[:7])
    assert len(set(some.tolist())) == 1000
    assert some.min() >= 0
    assert some.max() < n
    assert abs(some.mean() / n - 0.5) < 0.05  # spread over the whole


def feistel_by_definition(i, n, keys):
    """The same network in Python's whole numbers, one index at a time."""
    bits = max(2, (n - 1).bit_length())
    full = 2**64 - 1
    while True:
        widths = [bits // 2, bits - bits // 2]
        left, right = i >> widths[1], i % 2 ** widths[1]
        for key in keys:
            mixed = (right ^ key) * 0xBF58476D1CE4E5B9 & full
            mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & full
            left, right = right, left ^ (mixed ^ mixed >> 31) % 2 ** widths[0]
            widths.reverse()
        i = left << widths[1] | right
        if i < n:
            return i


@pytest.mark.parametrize("n", [1, 2, 6, 100, 5000])
@pytest.mark.parametrize("rounds", [1, 2, 7, 8])
def test_the_vectorised_network_is_the_one_of_the_definition(n, rounds):
    keys = epoch_keys(3, 4)[:rounds]
    by_hand = [feistel_by_definition(i, n, [int(key) for key in keys]) for i in range(n)]
    assert permute(np.arange(n), n, keys).tolist() == by_hand


def test_blocks_of_the_order_fit_together():
    n = 10_000
    whole = permute(np.arange(n), n, epoch_keys(0, 1)[:7]).tolist()
    for first, stop in [(0, 1), (4095, 4097), (0, n), (9_999, n), (3, 9_000)]:
        assert shuffled(n, 0, 1, first, stop).tolist() == whole[first:stop]


def test_orders_are_as_different_as_random_ones():
    """A random permutation has one fixed point on average, and about n / 2 ascents."""
    n, trials = 1000, 200
    orders = [permute(np.arange(n), n, epoch_keys(0, epoch)[:7]) for epoch in range(trials)]
    fixed = np.mean([(order == np.arange(n)).sum() for order in orders])
    ascents = np.mean([(np.diff(order) > 0).mean() for order in orders])
    agree = np.mean([(a == b).sum() for a, b in itertools.pairwise(orders)])
    assert 0.7 < fixed < 1.3
    assert 0.495 < ascents < 0.505
    assert 0.7 < agree < 1.3


def test_every_small_permutation_comes_up_about_equally_often():
    counts = {}
    for epoch in range(6000):
        order = tuple(permute(np.arange(3), 3, epoch_keys(0, epoch)[:7]).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert all(800 < count < 1200 for count in counts.values())


def test_the_order_is_the_same_on_every_machine():
    assert shuffled(20, 0, 0, 0, 20).tolist() == [
        18,
        0,
        3,
        13,
        6,
        8,
        11,
        16,
        15,
        2,
        19,
        10,
        7,
        9,
        1,
        5,
        4,
        17,
        12,
        14,
    ]
    assert epoch_keys(0, 0)[:2].tolist() == [14398306415879987854, 11201509956755755725]


# --- Windows and batches -------------------------------------------------------------------------


def ring_windows(ids, T, offset):
    """Brute force: every piece of T ids of the ring, with the id after each, as lists."""
    ring = ids[offset:] + ids[:offset]
    endless = ring + ring
    return [endless[i * T : (i + 1) * T + 1] for i in range(len(ids) // T)]


@settings(deadline=None, max_examples=60)
@given(n=st.integers(2, 200), data=st.data())
def test_an_epoch_serves_the_windows_of_a_ring_each_once(tmp_path_factory, n, data):
    T = data.draw(st.integers(1, n - 1))
    ids = list(range(n))  # every id names its place
    windows = Windows(
        shard_of(tmp_path_factory.mktemp("s") / "s", ids), T, data.draw(st.integers())
    )
    for epoch in (0, 1):
        served = windows.served(epoch, 0, len(windows)).tolist()
        assert any(sorted(ring_windows(ids, T, cut)) == sorted(served) for cut in range(n))


@pytest.mark.parametrize(("n", "T"), [(12, 3), (13, 3), (14, 3), (50, 49), (100, 7), (9, 1)])
def test_batches_equal_those_of_a_brute_force_batcher(tmp_path, n, T):
    """Lists and Python's whole numbers only: epochs, order, ring, targets, all by definition."""
    ids = random.Random(0).choices(range(1000), k=n)
    seed, B = 5, 4
    shard = shard_of(tmp_path / "s", ids, 1000)
    rows = []
    for epoch in range(40):
        keys = [int(key) for key in epoch_keys(seed, epoch)]
        cut = ring_windows(ids, T, keys[7] % n)
        rows += [cut[feistel_by_definition(i, n // T, keys[:7])] for i in range(n // T)]
    batches = Batches(shard, B, T, seed)
    for step in range(len(rows) // B):
        x, y = next(batches)
        expected = rows[step * B : (step + 1) * B]
        assert x.tolist() == [row[:-1] for row in expected]
        assert y.tolist() == [row[1:] for row in expected]


def test_batches_have_the_shape_and_type_that_torch_needs(stories):
    x, y = next(Batches(Shard(stories, TOKENIZER), 3, 8))
    assert x.shape == y.shape == (3, 8)
    assert x.dtype == y.dtype == torch.int64
    assert x.is_contiguous() and y.is_contiguous()


def test_the_targets_are_the_ids_one_place_later(tmp_path):
    x, y = next(Batches(shard_of(tmp_path / "s", list(range(100))), 5, 9))
    assert torch.equal(y, (x + 1) % 100)
    assert torch.equal(x[:, 1:], y[:, :-1])


def test_every_id_is_a_target_exactly_once_an_epoch_if_windows_fill_the_ring(tmp_path):
    shard = shard_of(tmp_path / "s", list(range(60)))
    batches = Batches(shard, 3, 5, seed=1)
    for _ in range(3):
        targets = torch.cat([next(batches)[1] for _ in range(4)]).flatten()
        assert sorted(targets.tolist()) == list(range(60))


def test_another_epoch_has_another_order_and_other_cuts(tmp_path):
    windows = Windows(shard_of(tmp_path / "s", list(range(1000))), 10)
    first, second = (windows.served(epoch, 0, 100) for epoch in (0, 1))
    assert first[0, 0] % 10 != second[0, 0] % 10
    assert (np.argsort(first[:, 0]) != np.argsort(second[:, 0])).any()


def test_another_seed_gives_other_batches_and_the_same_seed_the_same(tmp_path):
    shard = shard_of(tmp_path / "s", list(range(1000)))
    batch = [next(Batches(shard, 4, 10, seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(batch[0], batch[1])
    assert not torch.equal(batch[0], batch[2])


def test_without_shuffling_windows_come_in_order_from_the_start(tmp_path):
    batches = Batches(shard_of(tmp_path / "s", list(range(11))), 2, 5, shuffle=False)
    assert next(batches)[0].tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert next(batches)[0].tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_several_shards_are_shuffled_together_and_no_window_crosses_between_them(tmp_path):
    sizes = [30, 7, 101]
    shards, begin = [], 0
    for i, size in enumerate(sizes):
        shards.append(shard_of(tmp_path / str(i), list(range(begin, begin + size)), 1000))
        begin += size
    windows = Windows(shards, 5)
    served = windows.served(0, 0, len(windows))
    owner = np.searchsorted(np.cumsum(sizes), served, side="right")
    assert len(windows) == 6 + 1 + 20
    assert (owner == owner[:, :1]).all()
    assert np.bincount(owner[:, 0]).tolist() == [6, 1, 20]
    assert len(np.unique(served[:, 1:])) == 5 * 27
    assert (np.diff(owner[:, 0]) != 0).sum() > 3


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(6, 300),
    T=st.integers(1, 5),
    B=st.integers(1, 9),
    steps=st.integers(0, 40),
    seed=st.integers(0, 2**40),
)
def test_a_resumed_iterator_gives_the_batches_that_were_due(tmp_path_factory, n, T, B, steps, seed):
    shard = shard_of(tmp_path_factory.mktemp("s") / "s", list(range(n)))
    batches = Batches(shard, B, T, seed)
    for _ in range(steps):
        next(batches)
    state = json.loads(json.dumps(batches.state_dict()))
    resumed = Batches(shard, B, T, seed)
    resumed.load_state_dict(state)
    for _ in range(5):
        for a, b in zip(next(batches), next(resumed), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("batch_size", {"batch_size": 3}),
        ("context_length", {"context_length": 6}),
        ("seed", {"seed": 1}),
        ("shuffle", {"shuffle": False}),
    ],
)
def test_a_state_of_other_settings_is_refused(stories, name, change):
    usual = {"batch_size": 2, "context_length": 5}
    shard = Shard(stories, TOKENIZER)
    state = Batches(shard, **(usual | change)).state_dict()
    with pytest.raises(ValueError, match=f"saved with {name} = .* the same settings"):
        Batches(shard, **usual).load_state_dict(state)


def test_a_state_of_other_data_is_refused(tmp_path):
    shards = [shard_of(tmp_path / str(i), [i, *range(50)]) for i in (1, 2)]
    with pytest.raises(ValueError, match=r"saved with data = .* open the same data"):
        Batches(shards[1], 2, 5).load_state_dict(Batches(shards[0], 2, 5).state_dict())


def test_a_state_that_lacks_something_is_refused(stories):
    with pytest.raises(ValueError, match="lacks 'batch_size'; pass what state_dict"):
        Batches(Shard(stories, TOKENIZER), 2, 5).load_state_dict({"step": 3})


@pytest.mark.parametrize("T", [0, -1, 20, 21])
def test_a_context_that_the_data_cannot_fill_is_refused(tmp_path, T):
    shard = shard_of(tmp_path / "s", list(range(20)))
    with pytest.raises(ValueError, match=f"context_length is {T}, .* from 1 to 19, or add doc"):
        Batches(shard, 1, T)


def test_what_is_no_open_shard_is_refused(stories):
    for shards in (stories, [str(stories)]):
        with pytest.raises(ValueError, match=r"is no open shard; pass Shard\(path, tokenizer\)"):
            Batches(shards, 2, 5)


@pytest.mark.parametrize("step", [-3, 1.5, "3", None])
def test_a_state_whose_step_is_no_step_is_refused(stories, step):
    batches = Batches(Shard(stories, TOKENIZER), 2, 5)
    with pytest.raises(ValueError, match=r"step is .* pass what state_dict"):
        batches.load_state_dict(batches.state_dict() | {"step": step})
    assert batches.step == 0


def test_a_step_before_the_first_is_refused(stories):
    with pytest.raises(ValueError, match="step is -1; steps are counted from 0"):
        Batches(Shard(stories, TOKENIZER), 2, 5).batch(-1)


def test_whole_numbers_of_any_type_are_taken_and_others_refused(stories):
    shard = Shard(stories, TOKENIZER)
    state = Batches(shard, np.int64(2), np.int32(5)).state_dict()
    assert json.loads(json.dumps(state)) == Batches(shard, 2, 5).state_dict()
    for batch_size, T, name in (
        (2.5, 5, "batch_size"),
        ("2", 5, "batch_size"),
        (2, 5.0, "context"),
    ):
        with pytest.raises(ValueError, match=f"{name}.* whole number"):
            Batches(shard, batch_size, T)


def test_batches_of_no_rows_or_no_shards_are_refused(stories):
    with pytest.raises(ValueError, match="batch_size is 0; choose a whole number, at least 1"):
        Batches(Shard(stories, TOKENIZER), 0, 4)
    with pytest.raises(ValueError, match="no shards; pass at least one"):
        Batches([], 1, 4)


def test_shards_of_different_tokenizers_are_refused(tmp_path):
    shards = [shard_of(tmp_path / name, list(range(20)), name=name) for name in "ab"]
    with pytest.raises(ValueError, match="different tokenizers"):
        Windows(shards, 4)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_windows_around_the_end_of_the_ring(length):
    ids = np.array([3, 1, 4, 1, 5])
    expected = [[int(ids[(s + j) % 5]) for j in range(length)] for s in range(5)]
    view = sliding_window_view(ids, length)
    assert gather_windows(view, np.arange(5)).tolist() == expected


def test_nothing_of_the_stream_is_copied_when_a_shard_is_opened(tmp_path):
    shard = shard_of(tmp_path / "s", list(range(50)))
    assert not shard.tokens.flags.owndata
    assert isinstance(shard.tokens.base, np.memmap)


# --- Documents in a batch ------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=4))
def test_document_numbers_count_the_ends_before_each_position(rows):
    expected = [[row[:i].count(0) for i in range(len(row))] for row in rows]
    assert document_numbers(torch.tensor(rows), 0).tolist() == expected


# --- Splits --------------------------------------------------------------------------------------

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def test_the_parts_hold_every_document_once_in_about_the_wanted_shares():
    documents = [f"story {i}" for i in range(5000)]
    parts = split_documents(documents, SHARES)
    assert sorted(itertools.chain(*parts.values())) == sorted(documents)
    for name, share in SHARES.items():
        assert abs(len(parts[name]) / 5000 - share) < 0.02


def test_neither_order_nor_new_documents_move_a_document_to_another_part():
    documents = [f"story {i}" for i in range(500)]
    before = {d: name for name, part in split_documents(documents, SHARES).items() for d in part}
    more = [f"new {i}" for i in range(500)] + documents[::-1]
    after = {d: name for name, part in split_documents(more, SHARES).items() for d in part}
    assert all(after[d] == before[d] for d in documents)


def test_documents_with_one_key_stay_together():
    documents = [(f"author {i % 40}", i) for i in range(1000)]
    parts = split_documents(documents, SHARES, key=lambda d: d[0])
    authors = [{author for author, _ in part} for part in parts.values()]
    assert sum(map(len, authors)) == len(set.union(*authors)) == 40


def test_the_part_of_a_key_is_the_same_on_every_machine():
    shares = {"a": 0.25, "b": 0.25, "c": 0.5}
    keys = ("a", "b", "c", "d", "狐狸", "\ud83d")
    assert "".join(part_of(key, shares) for key in keys) == "caaaab"


@pytest.mark.parametrize("shares", [{"train": 0.9}, {"a": 1.5, "b": -0.5}, {}, {"a": math.nan}])
def test_shares_that_do_not_make_a_whole_are_refused(shares):
    with pytest.raises(ValueError, match="do not sum to 1; choose"):
        part_of("a", shares)


def test_a_key_that_is_no_text_is_refused():
    with pytest.raises(ValueError, match=r"key 7 is no text; pass text, such as str\(key\)"):
        split_documents([7], {"train": 1.0}, key=lambda document: document)


def pairs(n_documents, seed=0, n_verbs=6, n_objects=8):
    rng = random.Random(seed)
    pair = lambda: (f"verb {rng.randrange(n_verbs)}", f"object {rng.randrange(n_objects)}")  # noqa: E731
    return [[pair() for _ in range(rng.randint(1, 3))] for _ in range(n_documents)]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), share=st.floats(0.01, 0.3), min_seen=st.integers(1, 30))
def test_no_held_out_combination_is_trained_on_but_each_of_its_parts_is(seed, share, min_seen):
    documents = pairs(400, seed)
    held_out = hold_out_combinations(documents, share, min_seen, seed)
    train = [d for d in documents if not held_out & set(d)]
    assert len(train) < len(documents)
    for position in (0, 1):
        for part in {c[position] for c in held_out}:
            assert sum(any(c[position] == part for c in d) for d in train) >= min_seen


def test_about_the_wanted_share_is_held_out_and_the_seed_decides_which():
    documents = pairs(2000)
    chosen = [hold_out_combinations(documents, 0.2, 5, seed) for seed in (0, 0, 1)]
    for held_out in chosen:
        share = sum(bool(held_out & set(d)) for d in documents) / len(documents)
        assert 0.2 <= share < 0.3
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_combination_whose_part_would_become_rare_is_not_held_out():
    often = [[c] for c in itertools.product(("eat", "buy"), ("cake", "fish"))] * 9
    for seed in range(20):
        held_out = hold_out_combinations([*often, [("lose", "key")]], 0.25, 1, seed)
        assert ("lose", "key") not in held_out


def test_documents_that_can_be_read_only_once_are_held_out_alike():
    documents = pairs(400)
    once = (iter(document) for document in documents)
    assert hold_out_combinations(once, 0.1, 50) == hold_out_combinations(documents, 0.1, 50)


@pytest.mark.parametrize("share", [0, 1, -0.1, math.nan])
def test_a_share_that_holds_out_nothing_or_all_is_refused(share):
    with pytest.raises(ValueError, match="choose a share of the documents"):
        hold_out_combinations(pairs(20), share, 1)


def test_where_nothing_can_be_held_out_the_error_says_what_to_do():
    with pytest.raises(ValueError, match="lower min_seen, or add documents"):
        hold_out_combinations([[("eat", "cake")]], 0.5, 1)


# --- Contamination -------------------------------------------------------------------------------


def plays():
    train, held_out = shakespeare_split()
    return [play.text for play in train], [play.text for play in held_out]


def passages(texts, n_characters=1500, step=20_000):
    return [t[i : i + n_characters] for t in texts for i in range(0, len(t) - n_characters, step)]


def without_signs(text):
    """Apostrophes and hyphens vanish, other punctuation becomes a blank."""
    return "".join(c if c.isalnum() else "" if c in "-'’" else " " for c in text)


DISGUISES = {
    "exact": str,
    "upper case": str.upper,
    "white space": lambda text: "\n\n  ".join(text.split()),
    "no punctuation": without_signs,
    "full width": lambda text: text.translate({c: c + 0xFEE0 for c in range(0x21, 0x7F)}),
    "inside another text": lambda text: f"Something new came first. {text} And something after it.",
}


@pytest.fixture(scope="module")
def shares_of():
    """The leaked shares of clean passages, and of copies in every disguise."""
    train, held_out = plays()
    copies = passages(train)[::10]
    texts = {"clean": passages(held_out)}
    texts |= {name: [f(text) for text in copies] for name, f in DISGUISES.items()}
    shares = iter(leaked_shares(train, itertools.chain(*texts.values())))
    return {name: np.array([next(shares) for _ in part]) for name, part in texts.items()}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_planted_copies_are_found_in_every_disguise(shares_of, disguise):
    assert shares_of[disguise].min() > 0.9 > 0.5 > shares_of["clean"].max()


def test_clean_text_raises_few_false_alarms(shares_of):
    assert (shares_of["clean"] > 0.1).mean() < 0.05


def test_an_excerpt_of_some_lines_is_found():
    train, held_out = plays()
    victim = held_out[0][5000:6500]
    shares = leaked_shares(train, [victim, victim + train[3][7000:7400]])
    assert shares[0] < 0.05 < 0.1 < shares[1]


def test_chinese_copies_are_found_without_blanks_between_words():
    chapters = load_sanguo()
    copy = chapters[3][100:400].replace("，", " ").replace("。", "\n")
    shares = leaked_shares(chapters[:100], [chapters[110][:300], copy])
    assert shares[1] > 0.95 > 0.3 > shares[0]


@settings(max_examples=60)
@given(
    train=st.lists(st.sampled_from("abc"), min_size=3, max_size=40),
    text=st.lists(st.sampled_from("abc"), min_size=3, max_size=40),
    n=st.integers(1, 3),
)
def test_the_share_is_that_of_brute_force(train, text, n):
    known = {tuple(train[i : i + n]) for i in range(len(train) - n + 1)}
    runs = [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
    [share] = leaked_shares([" ".join(train)], [" ".join(text)], n)
    assert share == pytest.approx(sum(run in known for run in runs) / len(runs))


def test_the_order_of_words_matters_to_the_hash():
    assert len(set(ngram_hashes("a b c a c b", 3).tolist())) == 4


def test_comparable_units_fold_case_width_and_signs():
    assert comparable_units("Straße, ＡＢＣ—x²！ 天下大势") == ["strasse", "abc", "x2", *"天下大势"]


@pytest.mark.parametrize(
    ("train", "held_out", "n", "message"),
    [
        (["a b c d"], ["a b"], 3, "held-out text 0 has 2 words .* choose a smaller n"),
        (["a"], ["a b c"], 3, "no training text has 3 words .* choose a smaller n"),
        ([], ["a b c"], 3, "or pass the training texts"),
        (["a b c"], ["a b c"], 0, "n is 0; choose n of at least 1"),
    ],
)
def test_texts_too_short_to_compare_are_refused(train, held_out, n, message):
    with pytest.raises(ValueError, match=message):
        leaked_shares(train, held_out, n)


# --- Embeddings and positions --------------------------------------------------------------------


def test_a_lookup_is_a_product_with_one_hot_rows_in_values_and_gradients():
    """What chapter 03 shows, against torch's own embedding."""
    embedding = nn.Embedding(11, 5)
    weight = embedding.weight.detach().clone().requires_grad_()
    ids = torch.tensor([[1, 4, 4], [10, 0, 1]])
    one_hot = nn.functional.one_hot(ids, 11).float()  # (B, T, V)
    upstream = torch.randn(2, 3, 5)
    (embedding(ids) * upstream).sum().backward()
    (one_hot @ weight * upstream).sum().backward()
    assert torch.equal(embedding(ids), one_hot @ weight)
    torch.testing.assert_close(embedding.weight.grad, weight.grad, atol=1e-6, rtol=0)


def test_sinusoidal_positions_follow_the_formula_of_the_paper():
    table = sinusoidal_positions(50, 16)
    for position, i in itertools.product((0, 1, 17, 49), range(8)):
        angle = position / 10_000 ** (2 * i / 16)
        assert table[position, 2 * i].item() == pytest.approx(np.sin(angle), abs=1e-6)
        assert table[position, 2 * i + 1].item() == pytest.approx(np.cos(angle), abs=1e-6)
    assert table.shape == (50, 16) and table.dtype == torch.float32


def test_the_dot_product_of_two_positions_depends_on_their_distance_alone():
    table = sinusoidal_positions(200, 64).double()
    dots = table @ table.T
    for distance in (0, 1, 5, 60):
        diagonal = dots.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=0)


@pytest.mark.parametrize("n_embd", [0, 1, 7])
def test_an_odd_number_of_columns_is_refused(n_embd):
    with pytest.raises(ValueError, match="come in pairs; choose it even"):
        sinusoidal_positions(10, n_embd)


def test_opening_a_shard_leaves_no_file_behind(tmp_path):
    shard_of(tmp_path / "s", list(range(20)))
    assert os.listdir(tmp_path) == ["s"]


# --- What was made and measured ------------------------------------------------------------------


def test_the_tokenizer_of_tale_has_2048_ids_and_an_end_of_text():
    tokenizer = load_tokenizer(ROOT / "assets" / "tokenizers" / "tale.json")
    assert tokenizer.vocab_size == 2048
    assert end_id_of(tokenizer) == 0
    assert token_dtype(tokenizer.vocab_size).itemsize == 2


def measured(part):
    path = ROOT / "benchmarks" / "results" / "data.json"
    return json.loads(path.read_text(encoding="utf-8"))[part]


def test_at_least_fifty_million_tokens_a_second_came_out_of_a_shard_of_200_million():
    ours = {name: run for name, run in measured("batching").items() if name.startswith("ours")}
    assert len(ours) >= 4
    assert min(run["rate"] for run in ours.values()) >= 50e6


def test_memory_did_not_grow_with_the_shard():
    memory = measured("memory")
    small, large = memory["small"], memory["large"]
    assert large["tokens"] > 9 * small["tokens"]
    assert large["own_peak_megabytes"] < small["own_peak_megabytes"] + 10


# --- Batches of whole documents ------------------------------------------------------------------


def document_shard(tmp_path, lengths, unfinished=0):
    """Documents of so many ids each (the last one 0), all other ids different."""
    ids, fresh = [], itertools.count(1)
    for length in lengths:
        ids += [*itertools.islice(fresh, length - 1), 0]
    ids += itertools.islice(fresh, unfinished)
    return shard_of(tmp_path / "documents.shard", ids, 1 + sum(lengths) + unfinished), ids


def documents_of(x, y, end_id=0):
    """The documents that a batch serves, after a check that inputs and targets fit together."""
    for inputs, targets in zip(x.tolist(), y.tolist(), strict=True):
        row = [target for target in targets if target != PADDING]
        assert targets == row + [PADDING] * (len(targets) - len(row))
        assert inputs == [end_id, *row[:-1]] + [end_id] * (len(targets) - len(row))
        yield tuple(row)


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=40), B=st.integers(1, 5))
def test_an_epoch_serves_every_whole_document_once(tmp_path_factory, lengths, B):
    shard, ids = document_shard(tmp_path_factory.mktemp("shard"), lengths)
    batches = DocumentBatches(shard, B, context_length=9, seed=3)
    n_pools = -(-len(lengths) // (POOL * B))
    numbers = np.concatenate([batches.documents.pool(i).flatten() for i in range(n_pools)])
    assert len(batches.documents) == len(lengths)
    assert set(range(len(lengths))) == set(numbers.tolist())
    served = [row for step in range(POOL * n_pools) for row in documents_of(*batches.batch(step))]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    wanted = [tuple(ids[starts[i] : starts[i + 1]]) for i in numbers]
    assert sorted(served) == sorted(wanted)


def test_documents_longer_than_the_context_are_cut_and_an_unfinished_one_is_left_out(tmp_path):
    shard, ids = document_shard(tmp_path, [12, 3], unfinished=4)
    x, y = DocumentBatches(shard, 2, context_length=5).batch(0)
    assert x.shape == y.shape and x.shape[1] <= 5
    served = set(documents_of(*DocumentBatches(shard, 2, context_length=5).batch(0)))
    assert served <= {tuple(ids[:5]), tuple(ids[12:15])}


def test_rows_of_a_batch_have_similar_lengths(tmp_path):
    lengths = [2 + (i * 37) % 60 for i in range(640)]
    shard, _ = document_shard(tmp_path, lengths)
    batches = DocumentBatches(shard, 16, context_length=64)
    padding = [float((batches.batch(step)[1] == PADDING).float().mean()) for step in range(40)]
    assert np.mean(padding) < 0.1
    unsorted_rows = 1 - np.mean(lengths) / np.mean(
        [max(lengths[i : i + 16]) for i in range(0, 640, 16)]
    )
    assert unsorted_rows > 0.3


def test_lengths_are_not_served_in_order(tmp_path):
    shard, _ = document_shard(tmp_path, [2 + i % 50 for i in range(800)])
    widths = [DocumentBatches(shard, 4, 64).batch(step)[0].shape[1] for step in range(POOL)]
    assert widths != sorted(widths) and widths != sorted(widths, reverse=True)


def test_a_batch_of_documents_depends_on_seed_and_step_alone(tmp_path):
    shard, _ = document_shard(tmp_path, range(2, 100))
    one, other = DocumentBatches(shard, 4, 64, seed=5), DocumentBatches(shard, 4, 64, seed=5)
    for _ in range(20):
        next(one)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert all(torch.equal(a, b) for a, b in zip(next(one), next(other), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(one.batch(20), other.batch(20), strict=True))
    another = DocumentBatches(shard, 4, 64, seed=6)
    assert list(documents_of(*one.batch(0))) != list(documents_of(*another.batch(0)))


@pytest.mark.parametrize("changes", [{"batch_size": 3}, {"seed": 1}, {"context_length": 32}])
def test_a_state_of_other_document_batches_is_refused(tmp_path, changes):
    shard, _ = document_shard(tmp_path, range(2, 60))
    arguments = {"batch_size": 4, "context_length": 64, "seed": 0}
    state = DocumentBatches(shard, **arguments).state_dict()
    with pytest.raises(ValueError, match="other batches would follow"):
        DocumentBatches(shard, **arguments | changes).load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0, "context_length": 8}, "batch_size is 0"),
        ({"batch_size": 2, "context_length": 0}, "context_length is 0"),
        ({"batch_size": 2, "context_length": 2.5}, "context_length is 2.5"),
    ],
)
def test_sizes_that_cannot_be_are_refused(tmp_path, arguments, message):
    shard, _ = document_shard(tmp_path, [5, 5])
    with pytest.raises(ValueError, match=message):
        DocumentBatches(shard, **arguments)


def test_a_shard_without_a_whole_document_and_a_negative_step_are_refused(tmp_path):
    shard, _ = document_shard(tmp_path, [], unfinished=5)
    with pytest.raises(ValueError, match="no document that ends"):
        DocumentBatches(shard, 2, 8)
    shard, _ = document_shard(tmp_path, [5, 5])
    with pytest.raises(ValueError, match="steps are counted from 0"):
        DocumentBatches(shard, 2, 8).batch(-1)


def test_documents_start_behind_the_end_of_text_tokens():
    assert document_starts(np.array([1, 2, 0, 0, 3, 0]), 0).tolist() == [0, 3, 4, 6]
