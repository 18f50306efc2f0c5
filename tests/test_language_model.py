"""Chapter 01's models against independent implementations, and what they must satisfy."""

import math
import random

import pytest
import torch

from lib.language_model import (
    CharacterVocabulary,
    MLPLanguageModel,
    NGramModel,
    count_ngrams,
    discount,
    make_windows,
    mlp_loss,
    ngram_losses,
    sample_text,
)

TEXT = "the cat sat on the mat; the rat ate the cheese that the cat sat on. " * 3 + "no more!"
SYMBOLS = "".join(sorted(set(TEXT)))


@pytest.fixture(scope="module")
def model():
    return NGramModel(TEXT, 4, len(SYMBOLS))


@pytest.mark.parametrize("context", ["", "t", "th", "the", "q", "zq!", "e ca"])
def test_each_order_is_a_distribution_over_the_vocabulary(model, context):
    sums = [sum(p) for p in zip(*(model.probabilities(s, context) for s in SYMBOLS), strict=True)]
    assert sums == pytest.approx([1] * 5)


def test_every_symbol_keeps_some_probability_in_every_context(model):
    for i in range(len(TEXT) - 4):
        assert min(model.probabilities(s, TEXT[i : i + 3])[-1] for s in SYMBOLS) > 0


def brute_force(text, symbol, context, k, vocab_size):
    """p_k by scanning the text anew for every quantity."""
    if k == 0:
        return 1 / vocab_size
    lower = brute_force(text, symbol, context, k - 1, vocab_size)
    if k - 1 > len(context):
        return lower
    history = context[len(context) - (k - 1) :]
    after = [text[i + k - 1] for i in range(len(text) - k + 1) if text.startswith(history, i)]
    if not after:
        return lower
    d = discount(count_ngrams(text, k))
    seen = max(after.count(symbol) - d, 0)
    return (seen + d * len(set(after)) * lower) / len(after)


@pytest.mark.parametrize("context", ["", "e", "th", "at ", "xyz", "the cat"])
def test_probabilities_equal_a_brute_force_count(model, context):
    for symbol in SYMBOLS:
        expected = [brute_force(TEXT, symbol, context, k, len(SYMBOLS)) for k in range(5)]
        assert model.probabilities(symbol, context) == pytest.approx(expected, rel=1e-12)


def test_probabilities_equal_those_of_nltk():
    """nltk has one discount for all orders and does not smooth the unigrams: both are set alike."""
    nltk_lm = pytest.importorskip("nltk.lm", reason="install the oracle extra")
    text, n, d = TEXT, 3, 0.6
    ours = NGramModel(text, n, len(SYMBOLS))
    ours.discounts = [0.0, d, d]
    theirs = nltk_lm.AbsoluteDiscountingInterpolated(n, discount=d)
    ngrams = [tuple(text[i : i + k]) for k in range(1, n + 1) for i in range(len(text) - k + 1)]
    theirs.fit([ngrams], vocabulary_text=list(text))
    for context in ["he", "at", "t ", " c"]:
        for symbol in SYMBOLS:
            expected = theirs.score(symbol, list(context))
            assert ours.probabilities(symbol, context)[-1] == pytest.approx(expected, rel=1e-9)


def test_a_model_works_on_ids_as_on_characters(model):
    vocabulary = CharacterVocabulary(TEXT)
    ids = tuple(vocabulary.encode(TEXT))
    on_ids = NGramModel(ids, 4, len(vocabulary))
    assert ngram_losses(on_ids, ids[:80]) == pytest.approx(ngram_losses(model, TEXT[:80]))


def test_the_loss_of_order_zero_is_the_logarithm_of_the_vocabulary(model):
    assert ngram_losses(model, "the cat")[0] == pytest.approx(math.log(len(SYMBOLS)))


def test_the_future_cannot_change_the_loss_of_what_came_before(model):
    """Total loss grows symbol by symbol, by -ln p of the new one given those before it."""
    before, after = (ngram_losses(model, text)[4] * len(text) for text in ("the ca", "the cat"))
    assert after - before == pytest.approx(-math.log(model.probabilities("t", "the ca")[4]))


def test_sampling_is_seeded_and_learns_the_alphabet(model):
    texts = [sample_text(model, SYMBOLS, 60, 3, random.Random(seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 60


def test_sampling_follows_the_estimated_distribution(model):
    text = sample_text(model, SYMBOLS, 20_000, 1, random.Random(0))
    for symbol in "t e":
        assert text.count(symbol) / len(text) == pytest.approx(
            model.probabilities(symbol, "")[1], abs=0.015
        )


@pytest.mark.parametrize("text", ["aabb", "abc", "aaaa"])
def test_the_discount_lies_strictly_between_zero_and_one(text):
    assert 0 < discount(count_ngrams(text, 1)) < 1


@pytest.mark.parametrize("n", [0, -1, 7])
def test_a_context_longer_than_the_text_is_refused(n):
    with pytest.raises(ValueError, match="choose n from 1 to 6"):
        count_ngrams("banana", n)


def test_empty_texts_are_refused(model):
    with pytest.raises(ValueError, match="choose n from"):
        NGramModel("", 1, 5)
    with pytest.raises(ValueError, match="pass some text"):
        ngram_losses(model, "")
    with pytest.raises(ValueError, match="pass the training text"):
        CharacterVocabulary("")


def test_a_vocabulary_smaller_than_the_text_is_refused():
    with pytest.raises(ValueError, match="raise vocab_size to 3 or more"):
        NGramModel("abcabc", 2, 2)


def test_sampling_an_order_that_the_model_lacks_is_refused(model):
    with pytest.raises(ValueError, match="orders 1 to 4"):
        sample_text(model, SYMBOLS, 5, 5, random.Random(0))


def test_a_character_outside_the_vocabulary_is_named():
    with pytest.raises(ValueError, match=r"'x' is not among the 3 characters"):
        CharacterVocabulary("abc").encode("abx")


def test_text_survives_encoding_and_decoding():
    vocabulary = CharacterVocabulary(TEXT)
    assert vocabulary.decode(vocabulary.encode(TEXT)) == TEXT


def test_windows_are_what_a_loop_would_cut():
    ids = torch.arange(10) * 3
    contexts, targets = make_windows(ids, 4)
    expected = [(ids[i : i + 4].tolist(), int(ids[i + 4])) for i in range(6)]
    assert [(c.tolist(), int(t)) for c, t in zip(contexts, targets, strict=True)] == expected
    assert contexts.data_ptr() == ids.data_ptr(), "windows are views"


@pytest.mark.parametrize("context_length", [0, 4, 9])
def test_a_window_that_does_not_fit_is_refused(context_length):
    with pytest.raises(ValueError, match="choose a context_length from 1 to 3"):
        make_windows(torch.arange(4), context_length)


def test_an_untrained_mlp_is_about_as_good_as_a_uniform_guess():
    torch.manual_seed(0)
    model = MLPLanguageModel(vocab_size=50, context_length=4, n_embd=8, n_hidden=32)
    ids = torch.randint(50, (2000,))
    assert mlp_loss(model, ids) == pytest.approx(math.log(50), rel=0.05)


def test_the_loss_does_not_depend_on_the_batch_size():
    torch.manual_seed(0)
    model = MLPLanguageModel(20, 3, 4, 16)
    ids = torch.randint(20, (500,))
    assert mlp_loss(model, ids, 7) == pytest.approx(mlp_loss(model, ids, 500), rel=1e-5)


def test_the_mlp_equals_its_formula_written_out():
    torch.manual_seed(0)
    model = MLPLanguageModel(6, 2, 3, 5).double()
    contexts = torch.tensor([[1, 4], [0, 0]])
    logits = []
    for row in contexts.tolist():
        x = torch.cat([model.embedding.weight[i] for i in row])
        h = torch.tanh(model.hidden.weight @ x + model.hidden.bias)
        logits.append(model.output.weight @ h + model.output.bias)
    assert torch.allclose(model(contexts), torch.stack(logits))
