"""Classification: padding never matters, metrics agree with scikit-learn, frozen is frozen."""

import numpy as np
import pytest
import torch
from torch import nn

from lib.classification import (
    Classifier,
    batches_by_length,
    bootstrap,
    confusion,
    expected_calibration_error,
    fit,
    last_token,
    macro_f1,
    mean_pool,
    near_duplicates,
    pad_right,
    part_of_model,
    precompute,
    predict,
    pseudo_labels,
    reliability,
    shingles,
    states_of,
    train_only_top,
)
from lib.llama import Llama, LlamaConfig
from lib.model import GPT, GPTConfig

POOLS = [last_token, mean_pool]


def gpt():
    torch.manual_seed(0)
    return GPT(GPTConfig(50, 32, n_layer=3, n_head=2, n_embd=16)).eval()


def llama():
    torch.manual_seed(0)
    config = LlamaConfig(50, 32, n_layer=4, n_head=2, n_kv_head=1, n_embd=16, n_hidden=24)
    return Llama(config).eval()


BODIES = [gpt, llama]


def random_rows(n=7, seed=0):
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 12, (n,), generator=g).tolist()
    return [torch.randint(0, 50, (length,), generator=g).tolist() for length in lengths]


def classifier_of(body, pool=last_token, n_classes=3):
    classifier = Classifier(body, n_classes, pool).eval()
    nn.init.normal_(classifier.head.weight)
    return classifier


# --- data ----------------------------------------------------------------------------------------


def test_the_similarity_is_the_share_of_common_runs():
    pair = ["call now to win", "call now to lose"]
    a, b = (shingles(text, 3) for text in pair)
    assert (len(a & b), len(a | b)) == (1, 3)
    assert near_duplicates(pair, least=1 / 3) == [0, 0]
    assert near_duplicates(pair, least=0.34) == [0, 1]


def test_copies_in_other_case_and_punctuation_are_found():
    assert near_duplicates(["What is a cat ?", "what is, a CAT"]) == [0, 0]


def test_groups_are_closed():
    texts = ["a b c d e f", "c d e f g h", "a b c d e f g h"]  # the third joins the first two
    assert near_duplicates(texts, least=0.6) == [0, 0, 0]
    assert near_duplicates(texts[:2], least=0.6) == [0, 1]


def test_short_texts_and_texts_without_words_are_compared_whole():
    assert near_duplicates(["ok", "Ok!", "no", ":-)", ":-)", ":-("]) == [0, 0, 2, 3, 3, 5]


@pytest.mark.parametrize("least", [0, -1, 1.1])
def test_a_share_that_makes_no_sense_is_refused(least):
    with pytest.raises(ValueError, match="choose a share above 0"):
        near_duplicates(["a"], least=least)


def test_rows_are_padded_on_the_right():
    ids, mask = pad_right([[3], [4, 5, 6], [7, 8]])
    assert mask.sum(1).tolist() == [1, 3, 2]
    assert ids[mask].tolist() == [3, 4, 5, 6, 7, 8]
    assert not ids[~mask].any()


@pytest.mark.parametrize("rows", [[], [[1], []]])
def test_an_empty_text_is_refused(rows):
    with pytest.raises(ValueError, match="leave it out"):
        pad_right(rows)


def test_batches_hold_every_row_once_and_rows_of_like_length():
    rows = random_rows(23)
    for generator in (None, torch.Generator().manual_seed(0)):
        batches = batches_by_length(rows, 4, generator)
        assert sorted(i for batch in batches for i in batch) == list(range(23))
        assert sum(len(batch) < 4 for batch in batches) == 1
        spreads = [max(len(rows[i]) for i in b) - min(len(rows[i]) for i in b) for b in batches]
        assert sum(spreads) <= 11


def test_batches_depend_on_the_generator_alone():
    rows = random_rows(23)
    a, b, c = (
        batches_by_length(rows, 4, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert a == b != c


def test_a_batch_size_of_zero_is_refused():
    with pytest.raises(ValueError, match="batch_size is 0"):
        batches_by_length([[1]], 0)


# --- pooling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True], ids=["right", "left"])
def test_pooling_looks_at_real_ids_alone(turned):
    hidden, mask = torch.randn(3, 4, 2), torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]])
    mask = mask.bool().flip(1) if turned else mask.bool()
    for row, real, last, mean in zip(
        hidden, mask, last_token(hidden, mask), mean_pool(hidden, mask), strict=True
    ):
        assert torch.equal(last, row[real][-1])
        assert torch.allclose(mean, row[real].mean(0))


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("body", BODIES)
def test_no_label_depends_on_the_batch(body, pool):
    classifier, rows = classifier_of(body(), pool), random_rows()
    ids, mask = pad_right(rows)
    alone = torch.cat([classifier(torch.tensor([row])) for row in rows])
    T = ids.shape[1]
    turn = torch.stack([torch.arange(T).roll(T - len(row)) for row in rows])
    left = classifier(ids.gather(1, turn), mask.gather(1, turn))
    wider = classifier(nn.functional.pad(ids, (0, 5), value=9), nn.functional.pad(mask, (0, 5)))
    for other in (classifier(ids, mask), left, wider):
        assert torch.allclose(alone, other, atol=1e-5)


def test_a_head_starts_with_all_classes_equally_likely():
    p = predict(Classifier(gpt(), 4), random_rows())
    assert np.allclose(p, 0.25)


@pytest.mark.parametrize("pool", POOLS)
def test_a_mask_that_does_not_fit_is_refused(pool):
    hidden = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match="pass a boolean one of shape"):
        pool(hidden, torch.ones(2, 3))
    with pytest.raises(ValueError, match="pass a boolean one of shape"):
        pool(hidden, torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="all padding"):
        pool(hidden, torch.tensor([[True, True, True], [False, False, False]]))


def test_a_choice_needs_two_classes():
    with pytest.raises(ValueError, match="at least 2"):
        Classifier(gpt(), 1)


# --- freezing and computing once -----------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("n_blocks", [0, 1, 3])
def test_only_the_top_is_trained(body, n_blocks):
    classifier = Classifier(body(), 3)
    before = {name: w.clone() for name, w in classifier.named_parameters()}
    n = train_only_top(classifier, n_blocks)
    assert n == sum(w.numel() for w in classifier.parameters() if w.requires_grad)
    rows = random_rows(20)
    list(fit(classifier, rows, [len(row) % 3 for row in rows], n_epochs=2, lr=1e-3))
    moved = {name for name, w in classifier.named_parameters() if not torch.equal(w, before[name])}
    n_layer = len(classifier.body.blocks)
    for name in before:
        top = name.startswith("head.") or (n_blocks and name.startswith("body.norm."))
        top |= any(name.startswith(f"body.blocks.{i}.") for i in range(n_layer - n_blocks, n_layer))
        assert (name in moved) == top, name


def test_more_blocks_than_there_are_cannot_be_trained():
    with pytest.raises(ValueError, match="n_blocks is 9, but there are 3"):
        train_only_top(Classifier(gpt(), 3), 9)


@pytest.mark.parametrize("n_frozen", [1, 3])
def test_states_computed_once_are_those_of_the_whole_model(n_frozen):
    model, rows = llama(), random_rows()
    upper, ids = precompute(model, rows, n_frozen, batch_size=3)
    assert len(upper.blocks) == 4 - n_frozen
    assert [len(row) for row in ids] == [len(row) for row in rows]
    for a, b in zip(states_of(model, rows), states_of(upper, ids), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_training_the_upper_part_leaves_the_model_alone():
    model, rows = llama(), random_rows(20)
    before = [w.clone() for w in model.parameters()]
    upper, ids = precompute(model, rows, 2)
    table = upper.token_embedding.weight.clone()
    classifier = Classifier(upper, 2)
    train_only_top(classifier, 2)
    list(fit(classifier, ids, [0, 1] * 10, n_epochs=1, lr=1e-2))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(table, upper.token_embedding.weight)


def test_training_the_upper_part_is_training_the_top_of_the_whole():
    model, rows = llama(), random_rows(20)
    targets = [len(row) % 2 for row in rows]
    upper, ids = precompute(model, rows, 2)
    losses = []
    for body, texts in ((model, rows), (upper, ids)):
        classifier = Classifier(body, 2)
        train_only_top(classifier, 2)
        losses.append(list(fit(classifier, texts, targets, n_epochs=3, lr=1e-3)))
    assert np.allclose(*losses, atol=1e-4)


def test_a_gpt_cannot_be_cut_in_two():
    with pytest.raises(ValueError, match="pass a Llama"):
        precompute(gpt(), [[1]], 1)


@pytest.mark.parametrize("n_frozen", [0, 4, 7])
def test_a_cut_outside_the_model_is_refused(n_frozen):
    with pytest.raises(ValueError, match="on each side of the cut"):
        precompute(llama(), [[1]], n_frozen)


def test_a_part_of_a_model_is_no_copy():
    model = llama()
    part = part_of_model(model, 1, 3, model.token_embedding, nn.Identity())
    assert part.blocks[0] is model.blocks[1] and len(part.blocks) == 2


# --- training and prediction ---------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
def test_a_classifier_learns_a_rule(body):
    rows = [[i % 50, 3 + 2 * (i % 2), (7 * i) % 50] for i in range(60)]
    targets = [i % 2 for i in range(60)]
    classifier = Classifier(body(), 2)
    losses = list(fit(classifier, rows, targets, n_epochs=15, lr=3e-3))
    assert losses[0] > 0.5 and losses[-1] < 0.1
    assert (predict(classifier, rows).argmax(1) == targets).all()


def test_the_same_seed_trains_the_same_classifier():
    rows = random_rows(20)
    runs = [
        list(fit(Classifier(llama(), 2), rows, [0, 1] * 10, n_epochs=2, lr=1e-3, seed=seed))
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_predictions_come_in_the_order_of_the_rows_and_the_mode_is_kept():
    classifier, rows = classifier_of(gpt()).train(), random_rows()
    p = predict(classifier, rows, batch_size=2)
    assert classifier.training and np.allclose(p.sum(1), 1)
    classifier.eval()
    for row, found in zip(rows, p, strict=True):
        expected = classifier(torch.tensor([row])).softmax(-1).detach().numpy()[0]
        assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("targets", "message"),
    [([0, 1], "there are 3 texts but 2 labels"), ([1, 2, 3], "number the classes from 0")],
)
def test_labels_that_do_not_fit_are_refused(targets, message):
    with pytest.raises(ValueError, match=message):
        list(fit(Classifier(gpt(), 3), [[1], [2], [3]], targets, n_epochs=1, lr=1e-3))


# --- judging -------------------------------------------------------------------------------------


def test_confusion_and_macro_f1_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for K in (2, 3, 7):
        for _ in range(30):
            y, q = rng.integers(0, K, (2, 12))
            counts = confusion(y, q, K)
            assert (counts == metrics.confusion_matrix(y, q, labels=range(K))).all()
            assert macro_f1(counts) == pytest.approx(
                metrics.f1_score(y, q, average="macro", zero_division=0)
            )


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(ValueError, match="the classes are 0 to 1"):
        confusion([0, 2], [0, 1], 2)
    with pytest.raises(ValueError, match="2 texts but 1 labels"):
        confusion([0, 1], [0], 2)
    with pytest.raises(ValueError, match="all zero"):
        macro_f1(np.zeros((2, 2)))


def test_a_calibrated_classifier_has_no_error_and_a_sure_one_has():
    rng = np.random.default_rng(0)
    p1 = rng.random(200_000)
    labels = (rng.random(200_000) < p1).astype(int)
    p = np.stack([1 - p1, p1], 1)
    assert expected_calibration_error(labels, p) < 0.005
    sure = np.eye(2)[p.argmax(1)]
    wrong = (p.argmax(1) != labels).mean()
    assert expected_calibration_error(labels, sure) == pytest.approx(wrong)


def test_every_text_is_in_one_bin():
    p = np.array([[1.0, 0.0], [0.5, 0.5], [0.9, 0.1], [0.89, 0.11]])
    n, confidence, accuracy = reliability([0, 0, 1, 0], p, 10)
    assert n.tolist() == [1, 1, 2]
    assert np.allclose(confidence, [0.5, 0.89, 0.95]) and np.allclose(accuracy, [1, 1, 0.5])


def test_probabilities_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="a row a text"):
        reliability([0, 1], np.array([0.5, 0.5]))


def test_the_interval_of_a_mean_is_that_of_the_normal_formula():
    hits = np.array([1] * 160 + [0] * 40)
    low, high = bootstrap(np.mean, hits)
    assert (high - low) / 2 == pytest.approx(1.96 * (0.8 * 0.2 / 200) ** 0.5, rel=0.1)


def test_the_bootstrap_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        hits = rng.random(100) < 0.7
        low, high = bootstrap(np.mean, hits, n=200, seed=trial)
        covered += low <= 0.7 <= high
    assert 0.88 < covered / 200 < 0.99


def test_the_same_texts_are_drawn_for_all_columns():
    a = np.arange(50)
    assert bootstrap(lambda a, b: (a - b).max(), a, a) == (0.0, 0.0)


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="as many of each"):
        bootstrap(np.mean, [1, 2], [1])
    with pytest.raises(ValueError, match="as many of each"):
        bootstrap(np.mean, [])


# --- few labels ----------------------------------------------------------------------------------


def test_confident_guesses_are_taken_and_the_others_left():
    p = np.array([[0.2, 0.8], [0.5, 0.5], [0.95, 0.05]])
    chosen, guess = pseudo_labels(p, 0.8)
    assert chosen.tolist() == [0, 2] and guess.tolist() == [1, 0]
    assert len(pseudo_labels(p, 0)[0]) == 3 and not len(pseudo_labels(p, 1)[0])


def test_a_confidence_above_one_is_refused():
    with pytest.raises(ValueError, match=r"choose a probability, such as 0\.9"):
        pseudo_labels(np.array([[0.5, 0.5]]), 90)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", ["one text", ["a", None], ["a", float("nan")]])
def test_what_is_no_list_of_texts_has_no_duplicates(texts):
    with pytest.raises(ValueError, match="a list of strings"):
        near_duplicates(texts)


@pytest.mark.parametrize("rows", [["a text"], [[1.5, 2.0]], [["5"]]])
def test_rows_that_are_not_ids_are_refused(rows):
    with pytest.raises(ValueError, match="encode the texts with the tokenizer"):
        pad_right(rows)


def test_rows_may_be_arrays():
    ids, mask = pad_right([np.array([3, 4]), np.array([5])])
    assert ids.tolist() == [[3, 4], [5, 0]] and mask.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize(
    "use",
    [
        lambda: predict(Classifier(gpt(), 2), []),
        lambda: states_of(gpt(), []),
        lambda: list(fit(Classifier(gpt(), 2), [], [], n_epochs=1, lr=1e-3)),
        lambda: precompute(llama(), [], 2),
    ],
    ids=["predict", "states_of", "fit", "precompute"],
)
def test_no_rows_are_refused(use):
    with pytest.raises(ValueError, match="pass one text or more"):
        use()


@pytest.mark.parametrize("labels", [[0.0, 1.0], ["ham", "spam"], [float("nan"), 1]])
def test_labels_that_are_not_whole_numbers_are_refused(labels):
    with pytest.raises(ValueError, match="whole numbers, from 0 to 1"):
        confusion(labels, [0, 1], 2)
    with pytest.raises(ValueError, match="whole numbers, from 0 to 1"):
        list(fit(Classifier(gpt(), 2), [[1], [2]], labels, n_epochs=1, lr=1e-3))


@pytest.mark.parametrize(
    "p", [[[2.0, -1.0]], [[0.2, 0.2]], [[float("nan"), 0.5]], [[80, 20]]], ids=str
)
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match="does not add up to 1"):
        reliability([0], p)
    with pytest.raises(ValueError, match="does not add up to 1"):
        pseudo_labels(p, 0.5)


@pytest.mark.parametrize("p", [[0.5, 0.5], np.zeros((0, 2))], ids=["a row", "empty"])
def test_probabilities_come_as_a_row_a_text(p):
    with pytest.raises(ValueError, match="a row a text"):
        pseudo_labels(p, 0.5)


def test_bins_labels_counts_and_draws_that_make_no_sense_are_refused():
    p = np.array([[0.5, 0.5]])
    with pytest.raises(ValueError, match="n_bins is 0"):
        reliability([0], p, 0)
    with pytest.raises(ValueError, match="number the classes from 0"):
        reliability([2], p)
    for counts in (np.zeros((2, 3)), [1, 2], [[1, float("nan")], [0, 1]]):
        with pytest.raises(ValueError, match="pass what `confusion` returns"):
            macro_f1(counts)
    for settings in ({"n": 0}, {"level": 95}, {"level": 0}):
        with pytest.raises(ValueError, match="choose n from 1 up"):
            bootstrap(np.mean, [0, 1], **settings)


def test_a_matrix_may_be_a_list():
    assert macro_f1([[9, 0], [1, 0]]) == pytest.approx(0.4736842)


@pytest.mark.parametrize("n_frozen", [0, 4])
def test_a_cut_without_a_block_on_each_side_is_refused_before_anything_is_computed(n_frozen):
    model = llama()
    model.hidden_states = None  # would fail if it were called
    with pytest.raises(ValueError, match="one block or more on each side"):
        precompute(model, random_rows(), n_frozen)


def test_states_are_those_without_dropout_and_the_mode_is_kept():
    torch.manual_seed(0)
    model, rows = GPT(GPTConfig(50, 32, n_layer=2, n_head=2, n_embd=16, dropout=0.5)), random_rows()
    found = states_of(model.train(), rows)
    assert model.training
    expected = states_of(model.eval(), rows)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_numbers_in_the_padding_do_not_reach_the_mean():
    hidden = torch.tensor([[[1.0], [3.0], [float("nan")]]])
    assert mean_pool(hidden, torch.tensor([[True, True, False]])).item() == 2
