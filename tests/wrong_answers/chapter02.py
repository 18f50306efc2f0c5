"""Plausible wrong answers to the exercises of chapter 02."""

import math
from collections import Counter
from itertools import pairwise

from wrong_answers import wrong

# --- 2.1 UTF-8 by hand ---------------------------------------------------------------------------


@wrong("2.1", "One byte is enough only below 0x80")
def latin_1_is_enough(code_point):
    if code_point < 0x100:
        return [code_point]
    return list(chr(code_point).encode())


@wrong("2.1", "One byte is enough only below 0x80")
def bound_off_by_one(code_point):
    if code_point <= 0x80:
        return [code_point]
    return list(chr(code_point).encode())


@wrong("2.1", "groups of 8 bits")
def big_endian_number(code_point):
    n = max(1, (code_point.bit_length() + 7) // 8)
    return list(code_point.to_bytes(n, "big"))


@wrong("2.1", "lack their mark")
def no_mark_on_following_bytes(code_point):
    if code_point < 0x80:
        return [code_point]
    if code_point < 0x800:
        return [0b110_00000 | code_point >> 6, code_point & 0b111111]
    return list(chr(code_point).encode())


@wrong("2.1", "opens a new character")
def mark_of_a_first_byte(code_point):
    if code_point < 0x80:
        return [code_point]
    if code_point < 0x800:
        return [0b110_00000 | code_point >> 6, 0b11000000 | code_point & 0b111111]
    return list(chr(code_point).encode())


@wrong("2.1", "wrong order")
def lowest_bits_first(code_point):
    return list(chr(code_point).encode())[::-1]


@wrong("2.1", "keep only the lowest six bits")
def mask_forgotten(code_point):
    if code_point < 0x80:
        return [code_point]
    if code_point < 0x800:
        return [0b110_00000 | code_point >> 6, 0b10000000 | code_point]
    return list(chr(code_point).encode())


@wrong("2.1", "three bytes where two will do")
def two_bytes_forgotten(code_point):
    if code_point < 0x80:
        return [code_point]
    middle = 0b10000000 | code_point >> 6 & 0b111111
    return [0b1110_0000 | code_point >> 12, middle, 0b10000000 | code_point & 0b111111]


@wrong("2.1", "A list of numbers is asked for")
def bytes_object(code_point):
    return chr(code_point).encode()


@wrong("2.1", "as UTF-16 does")
def another_encoding(code_point):
    if code_point < 0x80:
        return [code_point]
    return list(chr(code_point).encode("utf-16-be"))


# --- 2.2 The next merge --------------------------------------------------------------------------


def counted(word_counts, weight=lambda count: count):
    pairs = Counter()
    for word, count in word_counts.items():
        for pair in pairwise(word):
            pairs[pair] += weight(count)
    return pairs


@wrong("2.2", "add its count")
def words_unweighted(word_counts):
    pairs = counted(word_counts, weight=lambda count: 1)
    return min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)


@wrong("2.2", "you return the one that was met first")
def first_of_equals(word_counts):
    pairs = counted(word_counts)
    return pairs.most_common(1)[0][0] if pairs else None


@wrong("2.2", "you return the larger one")
def larger_of_equals(word_counts):
    pairs = counted(word_counts)
    return max(pairs, key=lambda pair: (pairs[pair], pair), default=None)


@wrong("2.2", "counts several times")
def once_a_word(word_counts):
    pairs = Counter()
    for word, count in word_counts.items():
        for pair in set(pairwise(word)):
            pairs[pair] += count
    return min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)


@wrong("2.2", "overlapping or not")
def runs_without_overlap(word_counts):
    pairs = Counter()
    for word, count in word_counts.items():
        i = 0
        while i < len(word) - 1:
            pairs[word[i], word[i + 1]] += count
            i += 2 if word[i : i + 3] == (word[i],) * 3 else 1
    return min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)


@wrong("2.2", "across the border of two words")
def one_long_string(word_counts):
    text = [i for word, count in word_counts.items() for _ in range(count) for i in word]
    pairs = Counter(pairwise(text))
    return min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)


@wrong("2.2", "raised an error")
def nothing_to_merge(word_counts):
    pairs = counted(word_counts)
    return min(pairs, key=lambda pair: (-pairs[pair], pair))


@wrong("2.2", "the pair itself is asked for")
def the_count(word_counts):
    return max(counted(word_counts).values(), default=None)


def tied(word_counts, order):
    counts = Counter()
    for word, count in word_counts.items():
        for pair in pairwise(word):
            counts[pair] += count
    return min(counts, key=lambda pair: (-counts[pair], order(pair))) if counts else None


@wrong("2.2", "wrong part of the pair")
def tie_by_the_second_id(word_counts):
    return tied(word_counts, lambda pair: (pair[1], pair[0]))


@wrong("2.2", "sum of the two ids")
def tie_by_the_sum(word_counts):
    return tied(word_counts, sum)


@wrong("2.2", "Ties are broken as texts")
def tie_by_the_text(word_counts):
    return tied(word_counts, str)


@wrong("2.2", "first ids only")
def tie_by_the_first_id_only(word_counts):
    return tied(word_counts, lambda pair: pair[0])


@wrong("2.2", "two different pairs")
def unordered_pairs(word_counts):
    counts = Counter()
    for word, count in word_counts.items():
        for pair in pairwise(word):
            counts[min(pair), max(pair)] += count
    return min(counts, key=lambda pair: (-counts[pair], pair)) if counts else None


@wrong("2.2", "A pair that occurs once is a pair too")
def at_least_twice(word_counts):
    best = tied(word_counts, lambda pair: pair)
    total = sum(n for word, n in word_counts.items() for pair in pairwise(word) if pair == best)
    return best if total > 1 else None


# --- 2.3 Replaying the merges --------------------------------------------------------------------


@wrong("2.3", "from left to right whatever fits")
def leftmost_pair_first(ids, ranks):
    ids = list(ids)
    i = 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) in ranks:
            ids[i : i + 2] = [ranks[ids[i], ids[i + 1]][1]]
            i = 0
        else:
            i += 1
    return ids


@wrong("2.3", "must be merged first")
def a_single_scan(ids, ranks):
    merged = []
    for i in ids:
        while merged and (merged[-1], i) in ranks:
            i = ranks[merged.pop(), i][1]
        merged.append(i)
    return merged


@wrong("2.3", "rank 0 was learnt first")
def latest_first(ids, ranks):
    ids = list(ids)
    while True:
        found = [pair for pair in pairwise(ids) if pair in ranks]
        if not found:
            return ids
        best = max(found, key=lambda pair: ranks[pair][0])
        i = list(pairwise(ids)).index(best)
        ids[i : i + 2] = [ranks[best][1]]


@wrong("2.3", "never look at the pairs that a new id forms")
def no_second_look(ids, ranks):
    ids = list(ids)
    for pair in sorted(set(pairwise(ids)) & set(ranks), key=lambda pair: ranks[pair][0]):
        while pair in list(pairwise(ids)):
            i = list(pairwise(ids)).index(pair)
            ids[i : i + 2] = [ranks[pair][1]]
    return ids


@wrong("2.3", "one occurrence only")
def each_rule_once(ids, ranks):
    ids = list(ids)
    for pair in sorted(ranks, key=lambda pair: ranks[pair][0]):
        if pair in list(pairwise(ids)):
            i = list(pairwise(ids)).index(pair)
            ids[i : i + 2] = [ranks[pair][1]]
    return ids


@wrong("2.3", "the leftmost goes first")
def from_the_right(ids, ranks):
    ids = list(ids)
    while True:
        found = [(ranks[pair][0], -i) for i, pair in enumerate(pairwise(ids)) if pair in ranks]
        if not found:
            return ids
        i = -min(found)[1]
        ids[i : i + 2] = [ranks[ids[i], ids[i + 1]][1]]


@wrong("2.3", "changes its argument")
def in_the_callers_list(ids, ranks):
    while True:
        found = [(ranks[pair][0], i) for i, pair in enumerate(pairwise(ids)) if pair in ranks]
        if not found:
            return ids
        i = min(found)[1]
        ids[i : i + 2] = [ranks[ids[i], ids[i + 1]][1]]


def merged_in_order(ids, pairs, ranks):
    for pair in pairs:
        merged = []
        for i in ids:
            if merged and (merged[-1], i) == pair:
                merged[-1] = ranks[pair][1]
            else:
                merged.append(i)
        ids = merged
    return ids


@wrong("2.3", "The rank decides")
def in_the_order_of_the_dictionary(ids, ranks):
    return merged_in_order(list(ids), list(ranks), ranks)


@wrong("2.3", "The rank decides")
def smallest_new_id_first(ids, ranks):
    return merged_in_order(list(ids), sorted(ranks, key=lambda pair: ranks[pair][1]), ranks)


@wrong("2.3", "does rank 0 count as found?")
def rank_zero_is_false(ids, ranks):
    ids = list(ids)
    while found := [pair for pair in pairwise(ids) if ranks.get(pair, (0,))[0]]:
        best = min(found, key=lambda pair: ranks[pair][0])
        i = list(pairwise(ids)).index(best)
        ids[i : i + 2] = [ranks[best][1]]
    return ids


# --- 2.4 A prompt that cannot be forged ----------------------------------------------------------


@wrong("2.4", "A stranger can forge your marks")
def joined_then_encoded(tokenizer, text):
    return tokenizer.encode(f"<|user|>{text}<|end|>", allowed_special="all")


@wrong("2.4", "came out as plain text")
def nothing_allowed(tokenizer, text):
    return tokenizer.encode(f"<|user|>{text}<|end|>")


@wrong("2.4", "It must come back unchanged: one may talk")
def marks_removed(tokenizer, text):
    text = text.replace("<|user|>", "").replace("<|end|>", "")
    return tokenizer.encode(f"<|user|>{text}<|end|>", allowed_special="all")


@wrong("2.4", "closing <|end|> is missing")
def no_end(tokenizer, text):
    return [tokenizer.special_tokens["<|user|>"], *tokenizer.encode(text)]


@wrong("2.4", "cut white space")
def stripped(tokenizer, text):
    special = tokenizer.special_tokens
    return [special["<|user|>"], *tokenizer.encode(text.strip()), special["<|end|>"]]


@wrong("2.4", "that nobody typed")
def blanks_around(tokenizer, text):
    return tokenizer.encode(f"<|user|> {text} <|end|>", allowed_special="all")


@wrong("2.4", "another tokenizer's")
def hard_coded_ids(tokenizer, text):
    return [0, *tokenizer.encode(text), 1]


@wrong("2.4", "Another special token can be forged")
def allows_the_other_special_tokens(tokenizer, text):
    marks = [tokenizer.special_tokens[name] for name in ("<|user|>", "<|end|>")]
    others = set(tokenizer.special_tokens) - {"<|user|>", "<|end|>"}
    return [marks[0], *tokenizer.encode(text, others), marks[1]]


@wrong("2.4", "You changed the stranger's marks")
def escaped(tokenizer, text):
    ids = tokenizer.encode(text.replace("<|", "< |"))
    return [tokenizer.special_tokens["<|user|>"], *ids, tokenizer.special_tokens["<|end|>"]]


@wrong("2.4", "it must come back unchanged, and as its own encoding")
def line_ends_normalised(tokenizer, text):
    ids = tokenizer.encode(text.replace("\r\n", "\n"))
    return [tokenizer.special_tokens["<|user|>"], *ids, tokenizer.special_tokens["<|end|>"]]


@wrong("2.4", "it must come back unchanged, and as its own encoding")
def character_by_character(tokenizer, text):
    ids = [i for character in text for i in tokenizer.encode(character)]
    return [tokenizer.special_tokens["<|user|>"], *ids, tokenizer.special_tokens["<|end|>"]]


# --- 2.5 Comparing models with different tokenizers ----------------------------------------------


@wrong("2.5", "divide by ln 2")
def nats_per_byte(nats_per_token, tokenizer, text):
    return nats_per_token * len(tokenizer.encode(text)) / len(text.encode())


@wrong("2.5", "You multiply by ln 2")
def multiplied(nats_per_token, tokenizer, text):
    nats = nats_per_token * len(tokenizer.encode(text))
    return nats * math.log(2) / len(text.encode())


@wrong("2.5", "number of characters")
def per_character(nats_per_token, tokenizer, text):
    return nats_per_token * len(tokenizer.encode(text)) / math.log(2) / len(text)


@wrong("2.5", "bits per token")
def per_token(nats_per_token, tokenizer, text):
    return nats_per_token / math.log(2)


@wrong("2.5", "upside down")
def ratio_upside_down(nats_per_token, tokenizer, text):
    return nats_per_token / math.log(2) * len(text.encode()) / len(tokenizer.encode(text))


@wrong("2.5", "It is a logarithm already")
def logarithm_again(nats_per_token, tokenizer, text):
    return math.log2(nats_per_token) * len(tokenizer.encode(text)) / len(text.encode())


@wrong("2.5", "total of the whole text")
def total_bits(nats_per_token, tokenizer, text):
    return nats_per_token * len(tokenizer.encode(text)) / math.log(2)


# --- 2.6 The fewest tokens -----------------------------------------------------------------------


@wrong("2.6", "longest token that fits from the left")
def longest_match(data, tokens):
    count = 0
    while data:
        fits = [token for token in tokens if data.startswith(token)]
        if not fits:
            return None
        data, count = data[len(max(fits, key=len)) :], count + 1
    return count


@wrong("2.6", "longest token that fits from the right")
def longest_match_backwards(data, tokens):
    count = 0
    while data:
        fits = [token for token in tokens if data.endswith(token)]
        if not fits:
            return None
        data, count = data[: -len(max(fits, key=len))], count + 1
    return count


@wrong("2.6", "number of bytes")
def as_many_as_bytes(data, tokens):
    return len(data)


@wrong("2.6", "return None, so that no caller")
def infinite_where_impossible(data, tokens):
    best = [0] + [math.inf] * len(data)
    for end in range(1, len(data) + 1):
        for token in tokens:
            if data[:end].endswith(token):
                best[end] = min(best[end], best[end - len(token)] + 1)
    return best[-1]


@wrong("2.6", "their number is asked for")
def the_pieces(data, tokens):
    return [data] if data in tokens else [bytes([byte]) for byte in data]


@wrong("2.6", "one token too many")
def counted_from_one(data, tokens):
    best = [1] + [math.inf] * len(data)
    for end in range(1, len(data) + 1):
        for token in tokens:
            if data[:end].endswith(token):
                best[end] = min(best[end], best[end - len(token)] + 1)
    return best[-1] if best[-1] < math.inf else None


@wrong("2.6", "The answer is 0, not None")
def nothing_for_the_empty_string(data, tokens):
    best = [0] + [math.inf] * len(data)
    for end in range(1, len(data) + 1):
        for token in tokens:
            if data[:end].endswith(token):
                best[end] = min(best[end], best[end - len(token)] + 1)
    return best[-1] if 0 < best[-1] < math.inf else None


@wrong("2.6", "can still be beaten")
def better_of_both_directions(data, tokens):
    both = [longest_match(data, tokens), longest_match_backwards(data, tokens)]
    return min((n for n in both if n is not None), default=None)


@wrong("2.6", "the longest token anywhere")
def longest_anywhere_first(data, tokens):
    if not data:
        return 0
    fits = [token for token in tokens if token in data]
    if not fits:
        return None
    left, _, right = data.partition(max(fits, key=len))
    counts = [longest_anywhere_first(left, tokens), longest_anywhere_first(right, tokens)]
    return None if None in counts else 1 + sum(counts)


@wrong("2.6", "a token may be used several times")
def each_token_once(data, tokens):
    if not data:
        return 0
    counts = [
        each_token_once(data[len(token) :], tokens - {token})
        for token in tokens
        if data.startswith(token)
    ]
    return min((n + 1 for n in counts if n is not None), default=None)
