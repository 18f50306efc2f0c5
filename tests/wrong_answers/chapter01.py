"""Plausible wrong answers to the exercises of chapter 01."""

import math
from collections import Counter

import torch

from wrong_answers import wrong

# --- 1.1 Perplexity ------------------------------------------------------------------------------


@wrong("1.1", "mean surprise in bits")
def entropy_in_bits(probabilities):
    return -sum(math.log2(p) for p in probabilities) / len(probabilities)


@wrong("1.1", "mean surprise in nats")
def entropy_in_nats(probabilities):
    return -sum(math.log(p) for p in probabilities) / len(probabilities)


@wrong("1.1", "The bases differ: 2 to a power goes with log2")
def two_to_the_nats(probabilities):
    return 2 ** (-sum(math.log(p) for p in probabilities) / len(probabilities))


@wrong("1.1", "grows with the length of the text")
def sum_instead_of_mean(probabilities):
    return math.exp(-sum(math.log(p) for p in probabilities))


@wrong("1.1", "You averaged the probabilities")
def inverse_of_the_mean_probability(probabilities):
    return len(probabilities) / sum(probabilities)


@wrong("1.1", "You averaged 1/p")
def mean_of_the_inverse(probabilities):
    return sum(1 / p for p in probabilities) / len(probabilities)


@wrong("1.1", "The sign is lost")
def without_the_minus(probabilities):
    return math.exp(sum(math.log(p) for p in probabilities) / len(probabilities))


@wrong("1.1", "Add logarithms instead")
def root_of_the_product(probabilities):
    return (1 / math.prod(probabilities)) ** (1 / len(probabilities))


@wrong("1.1", "weighted with its own p")
def entropy_of_a_distribution(probabilities):
    return math.exp(-sum(p * math.log(p) for p in probabilities))


# --- 1.2 Bits per byte ---------------------------------------------------------------------------


@wrong("1.2", "nats per byte")
def nats_per_byte(losses, tokens):
    return sum(losses) / len("".join(tokens).encode())


@wrong("1.2", "upside down: one bit is ln 2 nats")
def multiplied_by_ln_2(losses, tokens):
    return sum(losses) * math.log(2) / len("".join(tokens).encode())


@wrong("1.2", "bits per character")
def bits_per_character(losses, tokens):
    return sum(losses) / math.log(2) / sum(len(token) for token in tokens)


@wrong("1.2", "bits per token")
def bits_per_token(losses, tokens):
    return sum(losses) / math.log(2) / len(tokens)


@wrong("1.2", "mean of each token's own ratio")
def mean_of_ratios(losses, tokens):
    ratios = [x / math.log(2) / len(t.encode()) for x, t in zip(losses, tokens, strict=True)]
    return sum(ratios) / len(ratios)


@wrong("1.2", "use the total surprise")
def mean_loss_over_total_bytes(losses, tokens):
    return sum(losses) / len(losses) / math.log(2) / len("".join(tokens).encode())


@wrong("1.2", "counted once")
def bytes_of_different_tokens(losses, tokens):
    return sum(losses) / math.log(2) / sum(len(token.encode()) for token in set(tokens))


@wrong("1.2", "upside down")
def bytes_per_bit(losses, tokens):
    return sum(len(token.encode()) for token in tokens) / (sum(losses) / math.log(2))


# --- 1.3 Draw a symbol ---------------------------------------------------------------------------


@wrong("1.3", "likeliest symbol whatever `u` is")
def argmax(probabilities, u):
    return max(probabilities, key=probabilities.get)


@wrong("1.3", "add the probabilities up")
def compares_single_probabilities(probabilities, u):
    return next((s for s, p in probabilities.items() if p > u), None)


@wrong("1.3", "a piece of the same size")
def uniform_choice(probabilities, u):
    return list(probabilities)[int(u * len(probabilities))]


@wrong("1.3", "At the border itself")
def reaches_instead_of_exceeds(probabilities, u):
    total = 0
    for symbol, p in probabilities.items():
        total += p
        if total >= u:
            return symbol


@wrong("1.3", "Rounding left the sum a little below `u`, and the loop ended")
def falls_off_the_end(probabilities, u):
    total = 0
    for symbol, p in probabilities.items():
        total += p
        if total > u:
            return symbol


@wrong("1.3", "the last symbol here has probability 0")
def returns_the_last_key(probabilities, u):
    total, answer = 0, None
    for symbol, p in probabilities.items():
        if total <= u:
            answer = symbol
        total += p
    return answer


@wrong("1.3", "sorted first")
def sorts_by_name(probabilities, u):
    total, answer = 0, None
    for symbol in sorted(probabilities):
        total += probabilities[symbol]
        if probabilities[symbol] > 0:
            answer = symbol
        if total > u:
            return symbol
    return answer


@wrong("1.3", "off by one")
def compares_before_adding(probabilities, u):
    total = 0
    for symbol, p in probabilities.items():
        if total > u:
            return symbol
        total += p


@wrong("1.3", "its piece is at the right end")
def falls_back_on_the_likeliest(probabilities, u):
    total = 0
    for symbol, p in probabilities.items():
        total += p
        if total > u:
            return symbol
    return max(probabilities, key=probabilities.get)


# --- 1.4 Another way to smooth -------------------------------------------------------------------


@wrong("1.4", "part of the probability must go")
def no_lower_order(counts, symbol, lower):
    return counts.get(symbol, 0) / (sum(counts.values()) + len(counts))


@wrong("1.4", "part of the probability must go")
def relative_frequency(counts, symbol, lower):
    return counts.get(symbol, 0) / sum(counts.values())


@wrong("1.4", "interpolate")
def backs_off_only_when_unseen(counts, symbol, lower):
    c, T = sum(counts.values()), len(counts)
    return counts[symbol] / (c + T) if symbol in counts else T / (c + T) * lower


@wrong("1.4", "not the number of all occurrences")
def T_is_the_total(counts, symbol, lower):
    c = sum(counts.values())
    return (counts.get(symbol, 0) + c * lower) / (c + c)


@wrong("1.4", "multiply it by T")
def lower_order_without_weight(counts, symbol, lower):
    return (counts.get(symbol, 0) + lower) / (sum(counts.values()) + len(counts))


@wrong("1.4", "Without any counts")
def divides_by_zero_in_a_new_context(counts, symbol, lower):
    c, T = sum(counts.values()), len(counts)
    return (counts.get(symbol, 0) + T * lower) / (c + T)


@wrong("1.4", "The shares add up to more than one")
def adds_without_taking_away(counts, symbol, lower):
    c, T = sum(counts.values()), len(counts)
    return counts.get(symbol, 0) / c + T / (c + T) * lower


@wrong("1.4", "The two shares are swapped")
def swapped_shares(counts, symbol, lower):
    c, T = sum(counts.values()), len(counts)
    return T / (c + T) * counts.get(symbol, 0) / c + c / (c + T) * lower


@wrong("1.4", "may be missing from `counts`")
def looks_up_without_default(counts, symbol, lower):
    c, T = sum(counts.values()), len(counts)
    return (counts[symbol] + T * lower) / (c + T) if c else lower


@wrong("1.4", "multiply it by `lower`")
def lower_order_forgotten(counts, symbol, lower):
    c, T = sum(counts.values()), len(counts)
    return (counts.get(symbol, 0) + T) / (c + T)


# --- 1.5 The gradient for a batch ----------------------------------------------------------------


@wrong("1.5", "each position of a mean counts with weight 1/B")
def gradient_of_the_sum(logits, targets):
    gradient = logits.softmax(1)
    gradient[torch.arange(len(targets)), targets] -= 1
    return gradient


@wrong("1.5", "subtract 1 at the symbol that came")
def probabilities_only(logits, targets):
    return logits.softmax(1) / len(targets)


@wrong("1.5", "The sign is the other way round")
def came_minus_predicted(logits, targets):
    gradient = -logits.softmax(1)
    gradient[torch.arange(len(targets)), targets] += 1
    return gradient / len(targets)


@wrong("1.5", "Softmax was taken down the batch")
def softmax_over_the_batch(logits, targets):
    gradient = logits.softmax(0)
    gradient[torch.arange(len(targets)), targets] -= 1
    return gradient / len(targets)


@wrong("1.5", "1 was subtracted from whole columns")
def whole_columns(logits, targets):
    gradient = logits.softmax(1)
    gradient[:, targets] -= 1
    return gradient / len(targets)


@wrong("1.5", "exp(1000) overflows")
def naive_softmax(logits, targets):
    gradient = logits.exp() / logits.exp().sum(1, keepdim=True)
    gradient[torch.arange(len(targets)), targets] -= 1
    return gradient / len(targets)


@wrong("1.5", "changes its argument")
def works_in_place(logits, targets):
    logits -= logits.logsumexp(1, keepdim=True)
    logits.exp_()
    logits[torch.arange(len(targets)), targets] -= 1
    return logits / len(targets)


@wrong("1.5", "B · V")
def mean_over_all_entries(logits, targets):
    gradient = logits.softmax(1)
    gradient[torch.arange(len(targets)), targets] -= 1
    return gradient / gradient.numel()


@wrong("1.5", "Positions and targets index one entry")
def rows_and_columns_swapped(logits, targets):
    gradient = logits.softmax(1)
    gradient[targets, torch.arange(len(targets))] -= 1
    return gradient / len(targets)


@wrong("1.5", "The targets were ignored")
def diagonal(logits, targets):
    return (logits.softmax(1) - torch.eye(*logits.shape)) / len(targets)


@wrong("1.5", "each row's own largest logit")
def subtracts_the_largest_of_all(logits, targets):
    exponentials = (logits - logits.max()).exp()
    gradient = exponentials / exponentials.sum(1, keepdim=True)
    gradient[torch.arange(len(targets)), targets] -= 1
    return gradient / len(targets)


@wrong("1.5", "each row's own largest logit")
def clamps_the_logits(logits, targets):
    gradient = logits.clamp(max=80).softmax(1)
    gradient[torch.arange(len(targets)), targets] -= 1
    return gradient / len(targets)


# --- 1.6 A better lower order --------------------------------------------------------------------


@wrong("1.6", "This is how often the symbol occurs")
def unigram(text, symbol):
    return text.count(symbol) / len(text)


@wrong("1.6", "count those that come before")
def symbols_after(text, symbol):
    bigrams = {text[i : i + 2] for i in range(len(text) - 1)}
    return sum(b[0] == symbol for b in bigrams) / len(bigrams)


@wrong("1.6", "count each different one once")
def occurrences_of_bigrams(text, symbol):
    bigrams = Counter(text[i : i + 2] for i in range(len(text) - 1))
    return sum(n for b, n in bigrams.items() if b[1] == symbol) / sum(bigrams.values())


@wrong("1.6", "divide by the number of different bigrams")
def not_normalised(text, symbol):
    return len({text[i - 1] for i in range(1, len(text)) if text[i] == symbol})


@wrong("1.6", "divided by the size of the alphabet")
def over_the_alphabet(text, symbol):
    before = {text[i - 1] for i in range(1, len(text)) if text[i] == symbol}
    return len(before) / len(set(text))


@wrong("1.6", "divided by all occurrences")
def over_all_bigrams(text, symbol):
    before = {text[i - 1] for i in range(1, len(text)) if text[i] == symbol}
    return len(before) / (len(text) - 1)
