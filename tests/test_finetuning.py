"""Chapter 12's fine-tuning: batches hold what the mask says, and packing changes nothing."""

import pytest
import torch

from lib.chat import Rendered
from lib.data import PADDING
from lib.finetuning import (
    ExampleBatches,
    Packed,
    check_examples,
    collate,
    collate_packed,
    example_numbers,
    extend_vocabulary,
    first_fit,
    plain_example,
    positions_within,
    targets_of,
)
from lib.model import GPT, GPTConfig
from lib.optim import AdamW
from lib.training import backward, count_targets, next_token_loss, train

hypothesis = pytest.importorskip("hypothesis", reason="install the dev extra")
st = pytest.importorskip("hypothesis.strategies", reason="install the dev extra")

CONFIG = GPTConfig(vocab_size=20, context_length=16, n_layer=2, n_head=2, n_embd=16)


def make(config=CONFIG, seed=0):
    torch.manual_seed(seed)
    model = GPT(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights), alpha=0.2)
    return model


def example(*ids, learned=None):
    """An example that begins with id 0; learned: from which place on, by default the last id."""
    n = len(ids) if learned is None else learned
    return Rendered([0, *ids], [False] * n + [True] * (len(ids) + 1 - n))


@st.composite
def examples(draw, most=14):
    ids = draw(st.lists(st.integers(1, 19), min_size=1, max_size=most))
    mask = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    mask[draw(st.integers(0, len(ids) - 1))] = True
    return Rendered([0, *ids], [False, *mask])


# --- new rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_more_rows_change_no_logit_of_an_old_id(tied):
    model = make(GPTConfig(20, 16, 2, 2, 16, tied=tied))
    larger = extend_vocabulary(model, 23)
    ids = torch.tensor([[1, 5, 19, 3]])
    with torch.no_grad():
        before, after = model(ids), larger(ids)
    assert torch.allclose(before, after[..., :20], atol=1e-5)
    mean = before.mean(-1, keepdim=True).expand(-1, -1, 3)
    assert torch.allclose(after[..., 20:], mean, atol=1e-4)
    assert (
        larger.config.vocab_size == 23
        and (larger.head.weight is larger.token_embedding.weight) == tied
    )


def test_the_model_that_is_extended_stays_as_it_was():
    model = make()
    before = model.token_embedding.weight.clone()
    extend_vocabulary(model, 22).token_embedding.weight.data.zero_()
    assert torch.equal(before, model.token_embedding.weight)


def test_a_larger_model_keeps_dtype_and_mode():
    larger = extend_vocabulary(make().double().train(), 22)
    assert {weights.dtype for weights in larger.parameters()} == {torch.float64}
    assert larger.training and larger.head.weight is larger.token_embedding.weight


def test_no_new_id_is_likelier_than_an_average_one():
    with torch.no_grad():
        p = extend_vocabulary(make(), 23)(torch.tensor([[1, 5, 19, 3]])).softmax(-1)
    assert p[..., 20:].max() <= 1 / 23


@pytest.mark.parametrize("vocab_size", [19, 22.0, "22"])
def test_fewer_rows_are_refused(vocab_size):
    with pytest.raises(ValueError, match="has 20 ids already"):
        extend_vocabulary(make(), vocab_size)


# --- targets and collation -----------------------------------------------------------------------


def test_the_mask_belongs_to_the_id_that_is_predicted():
    assert targets_of(Rendered([5, 6, 7, 8], [False, False, True, True])) == [PADDING, 7, 8]


def test_a_plain_text_is_learned_with_its_end():
    assert targets_of(plain_example([5, 6], 0)) == [5, 6, 0]


@hypothesis.given(st.lists(examples(), min_size=1, max_size=5))
def test_a_batch_holds_every_example_and_every_target(some):
    x, y = collate(some, fill_id=0)
    assert x.shape == y.shape == (len(some), max(len(e.ids) for e in some) - 1)
    for row, e in enumerate(some):
        n = len(e.ids) - 1
        assert x[row, :n].tolist() == e.ids[:-1] and y[row, :n].tolist() == targets_of(e)
        assert (y[row, n:] == PADDING).all()
    assert count_targets(y) == sum(sum(e.mask[1:]) for e in some)


@pytest.mark.parametrize("fill_id", [0, 7])
def test_padding_changes_neither_the_loss_nor_the_gradient(fill_id):
    some = [example(3, 4, 5, learned=2), example(6, 7, 8, 9, 10, 11), example(2)]
    together, apart = make(), make()
    loss = backward(together, [collate(some, fill_id)])
    parts = backward(apart, [collate([e]) for e in some])
    assert loss == pytest.approx(parts, rel=1e-5)
    for a, b in zip(together.parameters(), apart.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-5)


def test_the_loss_looks_at_the_answer_alone():
    a, b = example(3, 4, 5, 9), example(3, 4, 5, 9)
    model = make()
    x, y = collate([a])
    by_hand = -model(torch.tensor([a.ids[:-1]]))[0, -1].log_softmax(-1)[9].item()
    assert next_token_loss(model, x, y).item() == pytest.approx(by_hand, rel=1e-5)
    assert b.mask == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ([], "no examples"),
        (Rendered([1, 2], [False, True]), "no examples"),
        ([Rendered([1, 2], [False])], "one entry an id"),
        ([example(*[1] * 17)], "cutting it would take away the answer"),
        ([Rendered([1, 2], [True, False])], "nothing to learn"),
    ],
)
def test_examples_that_teach_nothing_or_do_not_fit_are_refused(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        check_examples(wrong, 16)


@pytest.mark.parametrize("wrong", [[], [Rendered([], [])], [Rendered([1], [True])]])
def test_a_batch_of_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="each of at least two ids"):
        collate(wrong)


# --- batches -------------------------------------------------------------------------------------


def many(n=50):
    return [example(*[1 + i % 19] * (1 + i % 13)) for i in range(n)]


def test_an_epoch_serves_every_example_once():
    batches = ExampleBatches(many(64), 4, 16)
    found = sorted(
        [*x_row[: int((y_row != PADDING).nonzero().max()) + 1].tolist(), int(y_row.max())]
        for _ in range(16)
        for x_row, y_row in zip(*next(batches), strict=True)
    )
    assert found == sorted(e.ids for e in many(64))


def test_rows_of_a_batch_are_of_similar_length():
    batches, padded, used = ExampleBatches(many(400), 8, 16), 0, 0
    for _ in range(50):
        x, _ = next(batches)
        padded, used = padded + x.numel(), used + (x != 0).sum().item() + len(x)
    assert used > 0.9 * padded


def test_batches_resume_where_they_were():
    one, other = (ExampleBatches(many(), 4, 16, seed=3) for _ in range(2))
    for _ in range(21):
        next(one)
    other.load_state_dict(one.state_dict())
    for _ in range(20):
        assert all(torch.equal(a, b) for a, b in zip(next(one), next(other), strict=True))


def test_other_examples_are_refused_when_a_run_goes_on():
    state = ExampleBatches(many(50), 4, 16).state_dict()
    with pytest.raises(ValueError, match="data"):
        ExampleBatches(many(51), 4, 16).load_state_dict(state)


@pytest.mark.parametrize("size", [0, 1.5])
def test_a_batch_size_that_makes_no_sense_is_refused(size):
    with pytest.raises(ValueError, match="batch_size"):
        ExampleBatches(many(), size, 16)
    with pytest.raises(ValueError, match="counted from 0"):
        ExampleBatches(many(), 4, 16).batch(-1)


def test_training_on_examples_learns_the_answers_and_resumes_exactly(tmp_path):
    def run(n, folder, resume=False):
        model = make()
        optimizer = AdamW(model.parameters(), lr=1e-2)
        where = {"folder": folder, "save_every": 5, "resume": resume}
        train(model, ExampleBatches(many(), 8, 16), optimizer, None, n, **where)
        return model

    whole = run(20, tmp_path / "a")
    run(10, tmp_path / "b")
    resumed = run(20, tmp_path / "b", resume=True)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    batch = collate(many())
    assert next_token_loss(whole, *batch) < 0.5 * next_token_loss(make(), *batch)


# --- packing -------------------------------------------------------------------------------------


@hypothesis.given(st.lists(st.integers(1, 16), max_size=40))
def test_every_thing_is_in_one_row_and_no_row_is_too_full(lengths):
    rows = first_fit(lengths, 16)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 16 for row in rows)
    if len(rows) > 1:  # at most one row is half empty
        assert sum(sum(lengths[i] for i in row) <= 8 for row in rows) <= 1


@pytest.mark.parametrize("length", [0, 17])
def test_what_fits_no_row_is_refused(length):
    with pytest.raises(ValueError, match="a row holds 16"):
        first_fit([3, length], 16)


def check_packed_as_alone(some):
    """In one packed row, each example has the logits and the targets that it has alone."""
    model = make()
    x, y = collate_packed([some], 0)
    with torch.no_grad():
        logits, at = Packed(model, 0)(x)[0], 0
        for e in some:
            alone = model(torch.tensor([e.ids[:-1]]))[0]
            assert torch.allclose(logits[at : at + len(alone)], alone, atol=1e-4)
            assert y[0, at : at + len(alone)].tolist() == targets_of(e)
            at += len(e.ids)
    assert count_targets(y) == sum(sum(e.mask) for e in some)


@hypothesis.settings(deadline=None)
@hypothesis.given(st.lists(examples(most=7), min_size=1, max_size=2))
def test_packed_examples_have_the_logits_that_they_have_alone(some):
    check_packed_as_alone(some)


def test_a_plain_text_that_ends_with_the_beginning_can_be_packed_too():
    check_packed_as_alone([plain_example([3, 4], 0), example(5, 6), plain_example([7], 0)])


def test_a_row_may_be_longer_than_the_context_and_an_example_may_not():
    ids = torch.tensor([[0, *range(1, 12)] * 2])
    assert Packed(make(), 0)(ids).shape == (1, 24, 20)
    with pytest.raises(ValueError, match="no example may be longer"):
        Packed(make(), 0)(torch.ones(1, 24, dtype=torch.int64))
    with pytest.raises(ValueError, match="use the tokenizer of this model"):
        Packed(make(), 0)(torch.tensor([[0, 20]]))


def test_packing_changes_neither_the_loss_nor_the_gradient():
    some = [example(3, 4, 5, learned=2), example(6, 7, 8, learned=1), example(2, 9)]
    packed, apart = make(), make()
    loss = backward(Packed(packed, 0), [collate_packed([some[:2], some[2:]], 0)])
    assert loss == pytest.approx(backward(apart, [collate(some)]), rel=1e-5)
    for a, b in zip(packed.parameters(), apart.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-5)


def test_without_mask_or_positions_a_packed_example_is_another():
    model, some = make(), [example(3, 4, 5), example(6, 7, 8)]
    x, _ = collate_packed([some], 0)
    alone = model(torch.tensor([some[1].ids[:-1]]))[0]
    places = positions_within(example_numbers(x, 0))
    for logits in (model(x)[0, 4:], model(x, positions=places)[0, 4:]):
        assert not torch.allclose(logits, alone, atol=1e-2)


@hypothesis.given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_positions_are_those_of_a_loop(row):
    places, at = [], -1
    for i in row:
        at = 0 if i == 0 else at + 1
        places.append(at)
    assert positions_within(example_numbers(torch.tensor([row]), 0)).tolist() == [places]


def test_examples_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="all must begin with 0"):
        collate_packed([[Rendered([1, 2], [False, True])]], 0)
    with pytest.raises(ValueError, match="all must begin with 0"):
        collate_packed([[Rendered([], [])]], 0)
    with pytest.raises(ValueError, match="unlearned"):
        collate_packed([[Rendered([0, 2], [True, True])]], 0)


def test_only_a_gpt_can_be_packed():
    with pytest.raises(ValueError, match="Packed reads a GPT"):
        Packed(torch.nn.Linear(2, 2), 0)
