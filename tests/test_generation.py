"""Chapter 07's generation against transformers, and what it must satisfy."""

import math
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from test_model import gpt2
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lib.data import END
from lib.generation import (
    Decoder,
    KVCache,
    PlainStep,
    Sampler,
    accept_or_replace,
    beam_search,
    draw_from,
    generate,
    generate_steps,
    greedy,
    is_plain,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    log_probabilities,
    pad_left,
    penalise_repetition,
    scale_temperature,
    speculative_generate,
    stream,
    until_stop,
    window_start,
)
from lib.model import GPT, Block, GPTConfig, count_positions
from lib.tokenizer import Tokenizer, initial_tokens, train_tokenizer

hypothesis = pytest.importorskip("hypothesis", reason="install the dev extra")
st = pytest.importorskip("hypothesis.strategies", reason="install the dev extra")

SMALL = GPTConfig(vocab_size=60, context_length=32, n_layer=3, n_head=4, n_embd=32)
GREEDY = Sampler(temperature=0)


def make(config=SMALL, seed=0, spread=0.15):
    """A model whose weights are large enough for its predictions to be far from uniform."""
    torch.manual_seed(seed)
    model = GPT(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights), alpha=spread)
    return model


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def some_ids(n, seed=1, config=SMALL):
    return torch.randint(config.vocab_size, (n,), generator=seeded(seed)).tolist()


def noise(*shape, seed=0):
    return 3 * torch.randn(shape, generator=seeded(seed))


class Table(nn.Module):
    """A model of a few lines: the logits depend on the last id alone, by a table."""

    def __init__(self, logits, context_length=64):
        super().__init__()
        self.table = nn.Parameter(torch.as_tensor(logits, dtype=torch.float32))
        self.config = GPTConfig(len(logits), context_length, n_layer=1, n_head=1, n_embd=1)
        self.head = nn.Identity()

    def hidden_states(self, ids, mask=None, positions=None, caches=None):
        if caches is not None:
            kept = ids[:, None, :, None].float()  # (B, 1, T, 1)
            caches[0].update(kept, kept)
        return self.table[ids]

    def forward(self, ids, mask=None, positions=None, caches=None):
        return self.hidden_states(ids, mask, positions, caches)


def cycle(n=5):
    """After id i comes i + 1, and after the last comes 0: nearly always."""
    return Table(torch.eye(n).roll(1, 1) * 20).eval()


def frequencies(draws, V):
    return torch.bincount(torch.as_tensor(draws), minlength=V) / len(draws)


def chi_square(draws, p):
    """Pearson's statistic in spreads above its mean: draws of ids against their probabilities.

    Ids that are expected fewer than five times are counted together.
    """
    expected = p * len(draws)
    observed = frequencies(draws, len(p)) * len(draws)
    rare = expected < 5
    assert observed[p == 0].sum() == 0
    pairs = [(observed[~rare], expected[~rare])]
    pairs.append((observed[rare].sum()[None], expected[rare].sum().clamp(min=1e-9)[None]))
    o, e = (torch.cat(x) for x in zip(*pairs, strict=True))
    degrees = max(1, len(o) - 1)
    return (((o - e).square() / e)[e > 1].sum().item() - degrees) / math.sqrt(2 * degrees)


# --- Oracle: the logits processors of transformers ------------------------------------------------


def processors():
    return pytest.importorskip(
        "transformers.generation.logits_process", reason="install the oracle extra"
    )


@pytest.mark.parametrize("k", [1, 2, 7, 59, 60, 1000])
def test_top_k_is_that_of_transformers(k):
    logits = noise(5, 60)
    assert torch.equal(keep_top_k(logits, k), processors().TopKLogitsWarper(k)(None, logits))


@pytest.mark.parametrize("p", [0.0, 1e-4, 0.1, 0.5, 0.9, 0.95, 0.999])
def test_top_p_is_that_of_transformers(p):
    for seed in range(20):
        logits = noise(5, 60, seed=seed)
        assert torch.equal(keep_top_p(logits, p), processors().TopPLogitsWarper(p)(None, logits))


@pytest.mark.parametrize("min_p", [1e-4, 0.05, 0.1, 0.5, 1.0])
def test_min_p_is_that_of_transformers(min_p):
    for seed in range(20):
        logits = noise(5, 60, seed=seed)
        expected = processors().MinPLogitsWarper(min_p)(None, logits)
        assert torch.equal(keep_min_p(logits, min_p), expected)


@pytest.mark.parametrize("penalty", [0.5, 1.2, 3.0])
def test_the_repetition_penalty_is_that_of_transformers(penalty):
    logits, ids = noise(3, 60), torch.tensor([some_ids(9, seed) for seed in range(3)])
    seen = torch.zeros(3, 60, dtype=torch.bool).scatter(1, ids, True)
    theirs = processors().RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)
    assert torch.equal(penalise_repetition(logits, seen, penalty), theirs)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.5, 10.0])
def test_temperature_gives_the_distribution_of_transformers(temperature):
    logits = noise(5, 60)
    theirs = processors().TemperatureLogitsWarper(temperature)(None, logits).softmax(-1)
    torch.testing.assert_close(scale_temperature(logits, temperature).softmax(-1), theirs)


SETTINGS = [
    {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.3},
    {"temperature": 1.4, "top_p": 0.9, "min_p": 0.05},
    {"top_k": 5, "min_p": 0.2, "repetition_penalty": 0.8},
    {"temperature": 0.3, "top_p": 0.3},
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_all_steps_together_are_those_of_transformers_in_the_same_order(setting):
    transformers = pytest.importorskip("transformers", reason="install the oracle extra")
    model = make()
    config = transformers.GenerationConfig(do_sample=True, **{"top_k": 0} | setting)
    config._eos_token_tensor = config._pad_token_tensor = None
    chain = gpt2(model)._get_logits_processor(config, input_ids_seq_length=9, device="cpu")
    logits, ids = noise(3, 60), torch.tensor([some_ids(9, seed) for seed in range(3)])
    seen = torch.zeros(3, 60, dtype=torch.bool).scatter(1, ids, True)
    ours = Sampler(**setting).logits(logits, seen).softmax(-1)
    theirs = chain(ids, logits).softmax(-1)
    assert torch.equal(ours == 0, theirs == 0)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


# --- Oracle: `generate` of transformers on the same weights ---------------------------------------


def hf_generate(model, prompts, n, **options):
    """The new ids that transformers gives to prompts of equal or unequal lengths."""
    ids, mask = pad_left(prompts)
    mask = torch.ones_like(ids) if mask is None else mask.long()
    theirs = gpt2(model)
    defaults = {"max_new_tokens": n, "pad_token_id": 0, "do_sample": False, "eos_token_id": None}
    theirs.generation_config.eos_token_id = None
    return theirs.generate(ids, attention_mask=mask, **defaults | options)[:, ids.shape[1] :]


@pytest.mark.parametrize("seed", range(4))
def test_greedy_ids_are_those_of_transformers(seed):
    model, prompts = make(seed=seed), [some_ids(5, seed=seed + 10)]
    assert generate(model, prompts, 27, GREEDY) == hf_generate(model, prompts, 27).tolist()


def test_greedy_ids_of_a_padded_batch_are_those_of_transformers():
    model, prompts = make(), [some_ids(n, seed=n) for n in (3, 9, 6)]
    assert generate(model, prompts, 20, GREEDY) == hf_generate(model, prompts, 20).tolist()


def test_greedy_ids_under_a_repetition_penalty_are_those_of_transformers():
    model, prompts = make(), [some_ids(5), some_ids(5, seed=2)]
    ours = generate(model, prompts, 20, Sampler(temperature=0, repetition_penalty=1.5))
    assert ours == hf_generate(model, prompts, 20, repetition_penalty=1.5).tolist()
    assert ours != generate(model, prompts, 20, GREEDY)


@pytest.mark.parametrize(
    ("seed", "n_beams", "length_penalty", "ends"),
    [*product(range(3), (1, 2, 5), (0.0, 1.0, 2.0), (True, False)), (7, 8, -1.0, True)],
)
def test_beam_search_finds_what_transformers_finds(seed, n_beams, length_penalty, ends):
    model, prompt, n = make(seed=seed, spread=0.1), some_ids(4, seed=seed), 12
    end_id = generate(model, [prompt], n, GREEDY)[0][6] if ends else None
    found = beam_search(model, prompt, n, n_beams, length_penalty, end_id)
    options = {"num_beams": n_beams, "length_penalty": length_penalty, "eos_token_id": end_id}
    if n_beams == 1:
        expected = hf_generate(model, [prompt], n, eos_token_id=end_id)
        assert found[0].ids == [i for i in expected[0].tolist() if i != end_id]
        return
    options |= {"num_return_sequences": n_beams, "return_dict_in_generate": True}
    theirs = gpt2(model)
    theirs.generation_config.eos_token_id = None
    theirs = theirs.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, 4, dtype=torch.long),
        max_new_tokens=n,
        pad_token_id=end_id if ends else 0,
        do_sample=False,
        output_scores=True,
        **options,
    )
    rows = [row[4:] for row in theirs.sequences.tolist()]
    rows = [row[: row.index(end_id)] if end_id in row else row for row in rows]
    assert [h.ids for h in found] == rows
    scores = torch.tensor([h.score for h in found])
    torch.testing.assert_close(scores, theirs.sequences_scores, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("setting", [{}, *SETTINGS[:3]], ids=str)
def test_sampled_ids_are_distributed_as_those_of_transformers(setting):
    """2,000 first ids of each, against the exact distribution."""
    model, prompt, n = make(spread=0.08), some_ids(4), 2000
    ours = generate(model, [prompt] * n, 1, Sampler(**setting), generator=seeded())
    torch.manual_seed(0)
    options = {"do_sample": True} | {"top_k": 0} | setting
    theirs = hf_generate(model, [prompt] * n, 1, **options)[:, 0]
    logits = model(torch.tensor([prompt]))[:, -1]
    seen = torch.zeros(1, 60, dtype=torch.bool)
    seen[0, prompt] = True
    p = Sampler(**setting).logits(logits, seen).softmax(-1)[0].detach()
    for draws in ([i for [i] in ours], theirs):
        assert chi_square(draws, p) < 4


# --- What the steps of the sampler do -------------------------------------------------------------

logit_rows = st.lists(st.floats(-30, 30, allow_nan=False, width=32), min_size=1, max_size=12).map(
    torch.tensor
)


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(logits=logit_rows, p=st.floats(0, 1, exclude_max=True))
def test_top_p_keeps_the_fewest_ids_that_reach_p(logits, p):
    kept = keep_top_p(logits, p) > -math.inf
    probabilities = logits.double().softmax(-1)
    assert kept.any() and probabilities[kept].max() == probabilities.max()
    assert probabilities[kept].sum() >= p - 1e-5
    assert probabilities[kept].sum() - probabilities[kept].min() <= p + 1e-5  # one fewer: too few
    if not kept.all():
        assert probabilities[kept].min() >= probabilities[~kept].max() - 1e-6


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(logits=logit_rows, k=st.integers(1, 20))
def test_top_k_keeps_k_ids_and_those_equal_to_the_last(logits, k):
    kept = keep_top_k(logits, k) > -math.inf
    smallest = logits[kept].min()
    assert (logits[kept] > smallest).sum() < k or kept.all()
    assert kept.sum() >= min(k, len(logits)) and (logits[~kept] < smallest).all()


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(logits=logit_rows, min_p=st.floats(1e-6, 1))
def test_min_p_keeps_the_likeliest_and_what_is_near_it(logits, min_p):
    kept = keep_min_p(logits, min_p) > -math.inf
    p = logits.double().softmax(-1)
    assert kept[greedy(logits)]
    assert (p[kept] >= min_p * p.max() * (1 - 1e-4)).all()
    assert (p[~kept] <= min_p * p.max() * (1 + 1e-4)).all()


samplers = st.builds(
    Sampler,
    temperature=st.sampled_from([0, 1e-30, 0.1, 1, 2.5, 1e6]),
    top_k=st.sampled_from([None, 1, 3, 99]),
    top_p=st.sampled_from([0, 0.3, 0.99, 1]),
    min_p=st.sampled_from([0, 1e-3, 1]),
    repetition_penalty=st.sampled_from([0.1, 1, 4]),
)


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(logits=logit_rows, sampler=samplers, data=st.data())
def test_whatever_the_setting_a_distribution_is_left(logits, sampler, data):
    seen = torch.tensor([data.draw(st.booleans()) for _ in logits])
    p = sampler.logits(logits[None], seen[None]).softmax(-1)
    assert torch.isfinite(p).all() and p.sum().item() == pytest.approx(1, abs=1e-4)
    new = sampler.draw(logits[None], seen[None], seeded())
    assert p[0, new] > 0


def test_the_token_that_crosses_the_threshold_stays():
    logits = torch.tensor([0.4, 0.35, 0.15, 0.1]).log()
    assert (keep_top_p(logits, 0.5) > -math.inf).tolist() == [True, True, False, False]


def test_top_p_returns_to_the_order_of_the_ids():
    logits = torch.tensor([[0.1, 0.6, 0.3], [0.6, 0.3, 0.1]]).log()
    kept = keep_top_p(logits, 0.8) > -math.inf
    assert kept.tolist() == [[False, True, True], [True, True, False]]


def test_temperature_zero_is_the_limit_of_small_temperatures():
    logits = noise(4, 60)
    at_zero = Sampler(temperature=0).logits(logits).softmax(-1)
    torch.testing.assert_close(at_zero, Sampler(temperature=1e-6).logits(logits).softmax(-1))


@pytest.mark.parametrize(
    "sampler", [GREEDY, Sampler(top_k=1), Sampler(top_p=0), Sampler(temperature=1e-30)], ids=str
)
def test_settings_that_leave_one_id_are_greedy(sampler):
    logits = noise(50, 60)
    assert torch.equal(sampler.draw(logits, generator=seeded()), logits.argmax(-1))


def test_temperature_raises_the_entropy():
    logits = noise(60)
    entropies = []
    for temperature in (0.2, 0.5, 1, 2, 5, 1e6):
        p = Sampler(temperature=temperature).logits(logits).softmax(-1)
        entropies.append(torch.special.entr(p).sum().item())
    assert entropies == sorted(entropies)
    assert entropies[-1] == pytest.approx(math.log(60), abs=1e-3)


def test_draws_follow_the_probabilities():
    logits = noise(1, 12)
    draws = Sampler(temperature=1.3).draw(logits.expand(20_000, -1), generator=seeded())
    assert chi_square(draws, (logits[0] / 1.3).softmax(-1)) < 4


@pytest.mark.parametrize("where", [0, 5, 59])
def test_what_has_no_probability_is_never_drawn(where):
    p = torch.zeros(1, 60)
    p[0, where] = 0.3  # they need not sum to one
    assert draw_from(p.expand(5000, -1), seeded()).unique().tolist() == [where]


@pytest.mark.parametrize(("point", "drawn"), [(0.0, 1), (1 - 2**-53, 3)])
def test_a_point_at_either_end_falls_on_an_id_that_can_be(monkeypatch, point, drawn):
    monkeypatch.setattr(torch, "rand", lambda *s, **o: torch.full(s, point, dtype=torch.double))
    p = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]])
    assert draw_from(p).tolist() == [drawn]


def test_the_sampler_leaves_the_logits_as_they_are():
    logits = noise(2, 60)
    before, seen = logits.clone(), torch.ones(2, 60, dtype=torch.bool)
    Sampler(0.5, 10, 0.5, 0.1, 2.0).draw(logits, seen, seeded())
    assert torch.equal(logits, before)


# --- The cache, and the window --------------------------------------------------------------------


def logits_along(model, prompts, steps, cached):
    """The logits (B, n + 1, V) of a decoder that is given ids step by step."""
    decoder = Decoder(model, cached)
    rows = [decoder.start(prompts)]
    for ids in steps:
        rows.append(decoder.extend(torch.tensor(ids)[:, None])[:, -1])
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("lengths", [[1], [7], [32], [5, 5], [1, 9, 4], [32, 1], [20, 31, 2]])
@pytest.mark.parametrize("context_length", [32, 33])
def test_cache_and_no_cache_agree_also_far_past_the_context(lengths, context_length):
    config = GPTConfig(60, context_length, n_layer=3, n_head=4, n_embd=32)
    model, prompts = make(config), [some_ids(n, seed=n) for n in lengths]
    steps = [some_ids(len(lengths), seed=100 + i) for i in range(90)]
    ours = logits_along(model, prompts, steps, cached=True)
    plain = logits_along(model, prompts, steps, cached=False)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    assert ours.std() > 0.3


def test_within_the_context_every_step_is_what_the_model_gives():
    model, ids = make(), some_ids(32)
    ours = logits_along(model, [ids[:3]], [[i] for i in ids[3:]], cached=True)
    torch.testing.assert_close(ours[0], model(torch.tensor([ids]))[0, 2:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n", [33, 40, 48, 49, 100])
def test_past_the_context_the_model_reads_the_window_that_the_rule_names(n):
    model, ids = make(), some_ids(n)
    ours = logits_along(model, [ids[:5]], [[i] for i in ids[5:]], cached=True)[0, -1]
    start = {33: 16, 40: 16, 48: 16, 49: 32, 100: 80}[n]
    assert window_start(n, 32) == start
    torch.testing.assert_close(
        ours, model(torch.tensor([ids[start:]]))[0, -1], atol=1e-5, rtol=1e-5
    )


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(n=st.integers(0, 500), context_length=st.integers(1, 40))
def test_a_window_fits_the_context_and_holds_at_least_half_of_it(n, context_length):
    start = window_start(n, context_length)
    assert 0 <= n - start <= context_length
    if start:
        assert n - start >= (context_length + 1) // 2
        assert start % max(1, context_length // 2) == 0


def test_a_context_of_one_works():
    model = make(GPTConfig(60, 1, n_layer=1, n_head=1, n_embd=8))
    assert len(generate(model, [[3]], 5, GREEDY)[0]) == 5


@pytest.mark.parametrize("lengths", [[4, 4], [1, 12, 5, 30]])
def test_a_sequence_does_not_depend_on_the_others_of_the_batch(lengths):
    model, prompts = make(), [some_ids(n, seed=n) for n in lengths]
    alone = [generate(model, [prompt], 60, GREEDY)[0] for prompt in prompts]
    assert generate(model, prompts, 60, GREEDY) == alone
    assert generate(model, prompts[::-1], 60, GREEDY) == alone[::-1]


def test_padding_stands_on_the_left_and_is_masked():
    ids, mask = pad_left([[5], [6, 7, 8]])
    assert ids[:, -1].tolist() == [5, 8] and mask.tolist() == [[False, False, True], [True] * 3]
    assert pad_left([[5, 6], [7, 8]])[1] is None


def test_what_the_padding_holds_changes_nothing():
    model, prompts = make(), [some_ids(3), some_ids(9)]
    ids, mask = pad_left(prompts)
    other = torch.where(mask, ids, 59)
    torch.testing.assert_close(model(ids, mask)[:, -1], model(other, mask)[:, -1])


def test_a_step_copies_neither_keys_nor_values_of_earlier_ones():
    cache = KVCache(8)
    k, v = noise(2, 3, 5, 4), noise(2, 3, 5, 4, seed=1)
    first, _ = cache.update(k, v)
    second, values = cache.update(k[:, :, :1], v[:, :, :1])
    assert first.data_ptr() == second.data_ptr() and len(cache) == 6
    assert torch.equal(second, torch.cat([k, k[:, :, :1]], 2))
    assert torch.equal(values, torch.cat([v, v[:, :, :1]], 2))


def test_a_cache_that_was_truncated_goes_on_from_there():
    cache, k = KVCache(4), noise(1, 1, 3, 2)
    cache.update(k, k)
    cache.truncate(1)
    cache.truncate(3)  # there are no three any more
    assert len(cache) == 1
    keys, _ = cache.update(2 * k, 2 * k)
    assert torch.equal(keys, torch.cat([k[:, :, :1], 2 * k], 2))


def test_a_full_cache_is_refused_and_stays_as_it_is():
    cache, k = KVCache(4), noise(1, 1, 3, 2)
    cache.update(k, k)
    with pytest.raises(ValueError, match="holds 3 of 4 positions, so 3 more do not fit; make it"):
        cache.update(k, k)
    assert len(cache) == 3


def test_a_decoder_that_is_rewound_reads_on_as_if_nothing_had_been():
    model, ids = make(), some_ids(80)
    for read, forget in [(10, 3), (40, 2), (34, 5), (50, 20), (70, 69)]:
        for cached in (True, False):
            decoder = Decoder(model, cached)
            decoder.start([ids[:1]])
            for i in ids[1:read]:
                decoder.extend(torch.tensor([[i]]))
            decoder.rewind(forget)
            got = decoder.extend(torch.tensor([[7]]))[0, -1]
            expected = Decoder(model).start([[*ids[: read - forget], 7]])[0]
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


class Copied(TorchDispatchMode):
    """Notes how many numbers each operation that picks rows gives."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.index.Tensor:
            self.sizes.append(out.numel())
        return out


def test_sequences_that_are_selected_go_on_each_by_itself_and_no_empty_place_is_copied():
    cache, k, new = KVCache(1000), noise(3, 2, 5, 4), noise(2, 2, 1, 4, seed=1)
    cache.update(k, 2 * k)
    with Copied() as copied:
        cache.select(torch.tensor([2, 2]))
    assert copied.sizes == [2 * 2 * 5 * 4] * 2  # keys and values of five positions
    keys, values = cache.update(new, 2 * new)
    assert torch.equal(keys, torch.cat([k[[2, 2]], new], 2)) and torch.equal(values, 2 * keys)


@dataclass(frozen=True)
class GroupedConfig:
    """All that generation may ask a model's config for."""

    vocab_size: int = 60
    context_length: int = 32
    n_layer: int = 2


class Grouped(nn.Module):
    """A model of another design: four heads of queries share two of keys and values."""

    def __init__(self, config=GroupedConfig(), D=8):
        super().__init__()
        self.config, self.D = config, D
        self.tokens = nn.Embedding(config.vocab_size, 4 * D)
        self.places = nn.Embedding(config.context_length, 4 * D)
        self.layers = nn.ModuleList([nn.Linear(4 * D, 8 * D) for _ in range(config.n_layer)])
        self.head = nn.Linear(4 * D, config.vocab_size, bias=False)

    def hidden_states(self, ids, mask=None, positions=None, caches=None):
        caches = [None] * len(self.layers) if caches is None else caches
        n = 0 if caches[0] is None else len(caches[0])
        x = self.tokens(ids) + self.places(count_positions(ids, mask, n))  # (B, T, C)
        see = torch.ones(ids.shape[1], n + ids.shape[1], dtype=torch.bool).tril(n)
        see = see if mask is None else see & mask[:, None, None, :]
        see = see | torch.eye(*see.shape[-2:], dtype=torch.bool).roll(n, 1)  # padding sees itself
        for layer, cache in zip(self.layers, caches, strict=True):
            q, k, v = layer(x).unflatten(2, (8, self.D)).transpose(1, 2).split([4, 2, 2], dim=1)
            k, v = (k, v) if cache is None else cache.update(k, v)  # (B, 2, T_key, D)
            y = F.scaled_dot_product_attention(q, k, v, see, enable_gqa=True)
            x = x + y.transpose(1, 2).flatten(2)
        return x

    def forward(self, ids, mask=None, positions=None, caches=None):
        return self.head(self.hidden_states(ids, mask, positions, caches))


def grouped(seed=0, **changes):
    torch.manual_seed(seed)
    return Grouped(GroupedConfig(**changes)).eval()


def test_fewer_heads_of_keys_than_of_queries_are_cached_as_they_are():
    model, prompts = grouped(), [some_ids(n, seed=n) for n in (3, 9)]
    decoder = Decoder(model)
    decoder.start(prompts)
    assert decoder.reader.caches[0].keys.shape == (2, 2, 32, 8) and not is_plain(model)


@pytest.mark.parametrize("lengths", [[5], [1, 9, 32]])
def test_a_model_of_another_design_needs_no_cache_for_the_same_logits(lengths):
    model, prompts = grouped(), [some_ids(n, seed=n) for n in lengths]
    steps = [some_ids(len(lengths), seed=100 + i) for i in range(70)]
    ours = logits_along(model, prompts, steps, cached=True)
    plain = logits_along(model, prompts, steps, cached=False)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    assert ours.std() > 0.3


def test_a_model_of_another_design_is_searched_and_speculated_with():
    model, draft, prompt = grouped(), grouped(3, context_length=24, n_layer=1), some_ids(5)
    expected = generate(model, [prompt], 60, GREEDY)[0]
    assert beam_search(model, prompt, 60, 1)[0].ids == expected
    assert speculative_generate(model, draft, prompt, 60, 3, GREEDY).ids == expected
    for found in beam_search(model, prompt, 10, 4):
        total = log_probabilities(model, [*prompt, *found.ids])[4:].sum().item()
        assert found.score == pytest.approx(total / 10, abs=1e-4)


# --- Whole sequences ------------------------------------------------------------------------------


def test_a_model_of_a_table_is_continued_as_the_table_says():
    assert generate(cycle(), [[0], [3]], 6, GREEDY) == [[1, 2, 3, 4, 0, 1], [4, 0, 1, 2, 3, 4]]


def test_sequences_end_before_the_end_id_each_by_itself():
    assert generate(cycle(), [[0], [3]], 6, GREEDY, end_id=4) == [[1, 2, 3], []]


def test_generation_stops_when_all_have_ended():
    model, calls = cycle(), []
    model.head.register_forward_hook(lambda *_: calls.append(1))
    generate(model, [[0], [3]], 50, GREEDY, end_id=4)
    assert len(calls) == 4


def test_no_tokens_may_be_asked_for():
    assert generate(cycle(), [[0], [3]], 0) == [[], []]


def test_the_same_seed_gives_the_same_ids_and_another_seed_others():
    model, prompts = make(), [some_ids(4)] * 3
    a, b, c = (generate(model, prompts, 20, generator=seeded(s)) for s in (5, 5, 6))
    assert a == b != c
    assert a[0] != a[1]  # sequences of a batch are drawn one by one


def test_a_generator_leaves_the_global_one_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    generate(make(seed=1), [some_ids(4)], 5, generator=seeded())
    torch.manual_seed(1)
    model = make(seed=1)
    state = torch.get_rng_state()
    generate(model, [some_ids(4)], 5, generator=seeded())
    assert torch.equal(torch.get_rng_state(), state) and before is not None


def test_prompts_may_be_tensors_arrays_or_tuples_and_are_not_changed():
    model, prompt = make(), some_ids(6)
    given = [list(prompt)]
    expected = generate(model, given, 5, GREEDY)
    for other in (torch.tensor(prompt), torch.tensor(prompt).numpy(), tuple(prompt)):
        assert generate(model, [other], 5, GREEDY) == expected
    assert given == [prompt]


def test_steps_come_one_by_one():
    model, calls = cycle(), []
    model.head.register_forward_hook(lambda *_: calls.append(1))
    steps = generate_steps(model, [[0]], 100, GREEDY)
    assert next(steps) == [1] and len(calls) == 1
    assert next(steps) == [2] and len(calls) == 2


def test_gradients_can_still_be_taken_after_generation():
    model = make()
    generate(model, [some_ids(4)], 3)
    F.cross_entropy(model(torch.tensor([some_ids(8)]))[0], torch.tensor(some_ids(8))).backward()
    assert model.head.weight.grad is not None


# --- Log-probabilities ----------------------------------------------------------------------------


def test_log_probabilities_within_the_context_are_the_losses_of_the_model():
    model, ids = make(), torch.tensor(some_ids(33))
    losses = F.cross_entropy(model(ids[None, :-1])[0], ids[1:], reduction="none")
    torch.testing.assert_close(log_probabilities(model, ids), -losses, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n", [2, 33, 34, 49, 50, 120])
def test_log_probabilities_are_those_that_generation_has_also_past_the_context(n):
    model, ids = make(), some_ids(n)
    along = logits_along(model, [ids[:1]], [[i] for i in ids[1:-1]], cached=True)[0]
    expected = along.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    torch.testing.assert_close(log_probabilities(model, ids), expected, atol=1e-5, rtol=1e-5)


def test_probabilities_of_all_continuations_sum_to_one():
    model = make(GPTConfig(4, 8, n_layer=1, n_head=1, n_embd=8), spread=0.5)
    texts = [[0, *rest] for rest in product(range(4), repeat=3)]
    total = sum(log_probabilities(model, text).sum().exp() for text in texts)
    assert total.item() == pytest.approx(1, abs=1e-5)


# --- Beam search ----------------------------------------------------------------------------------


def test_a_beam_as_wide_as_all_texts_finds_the_likeliest():
    model = make(GPTConfig(4, 8, n_layer=1, n_head=1, n_embd=8), spread=0.8)
    texts = list(product(range(4), repeat=4))
    scores = [log_probabilities(model, [0, *text]).sum().item() for text in texts]
    best = beam_search(model, [0], 4, n_beams=64, length_penalty=0.0)[0]
    assert best.ids == list(texts[scores.index(max(scores))])
    assert best.score == pytest.approx(max(scores), abs=1e-4)


def test_a_beam_finds_what_greedy_misses():
    """Greedy takes 1 (0.6) and then at most 0.5; by way of 2 (0.4) it would be 1."""
    table = torch.full((4, 4), 1e-9)
    table[0, 1], table[0, 2] = 0.6, 0.4
    table[1, 1], table[1, 3] = 0.5, 0.5
    table[2, 3] = 1.0
    model = Table(table.log()).eval()
    assert generate(model, [[0]], 2, GREEDY)[0][0] == 1
    found = beam_search(model, [0], 2, n_beams=2, length_penalty=0.0)
    assert found[0].ids == [2, 3] and found[0].score == pytest.approx(math.log(0.4), abs=1e-3)


def test_scores_of_beams_are_log_probabilities_of_their_ids():
    model, prompt = make(spread=0.08), some_ids(4)
    for found in beam_search(model, prompt, 10, 4, length_penalty=1.0):
        total = log_probabilities(model, [*prompt, *found.ids])[3:].sum().item()
        assert found.score == pytest.approx(total / 10, abs=1e-4)


def test_a_beam_of_one_is_greedy_also_past_the_context():
    model, prompt = make(), some_ids(30)
    assert beam_search(model, prompt, 40, 1)[0].ids == generate(model, [prompt], 40, GREEDY)[0]


# --- Speculative decoding -------------------------------------------------------------------------


def test_an_id_drawn_from_q_becomes_one_distributed_as_p():
    p, q = noise(8).softmax(-1), noise(8, seed=1).softmax(-1)
    g, draws = seeded(), []
    for proposed in q.multinomial(20_000, replacement=True, generator=g).tolist():
        draws.append(accept_or_replace(p, q, proposed, g)[0])
    assert chi_square(draws, p) < 4


def test_the_share_of_accepted_ids_is_what_p_and_q_have_in_common():
    p, q = noise(8).softmax(-1), noise(8, seed=1).softmax(-1)
    g = seeded()
    proposals = q.multinomial(20_000, replacement=True, generator=g).tolist()
    share = sum(accept_or_replace(p, q, i, g)[1] for i in proposals) / 20_000
    assert share == pytest.approx(torch.minimum(p, q).sum().item(), abs=0.015)


def test_an_id_that_the_model_forbids_is_never_accepted():
    p, q = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    assert all(accept_or_replace(p, q, 0, seeded(s)) == (1, False) for s in range(50))


DRAFT = GPTConfig(vocab_size=60, context_length=24, n_layer=1, n_head=2, n_embd=16)


@pytest.mark.parametrize("n_draft", [1, 3, 7])
@pytest.mark.parametrize("sampler", [GREEDY, Sampler(top_k=1, repetition_penalty=1.5)], ids=str)
def test_speculative_greedy_ids_are_the_greedy_ids_also_past_both_contexts(n_draft, sampler):
    model, draft, prompt = make(), make(DRAFT, seed=5), some_ids(5)
    expected = generate(model, [prompt], 100, sampler)[0]
    found = speculative_generate(model, draft, prompt, 100, n_draft, sampler)
    assert found.ids == expected
    assert found.n_accepted <= found.n_drafted


@pytest.mark.parametrize(
    "sampler", [Sampler(), Sampler(0.8, top_p=0.9), Sampler(repetition_penalty=2.0)], ids=str
)
def test_speculation_leaves_the_distribution_of_whole_continuations_unchanged(sampler):
    """1,500 continuations of three ids from a vocabulary of four, against exact probabilities."""
    small = GPTConfig(4, 8, n_layer=1, n_head=1, n_embd=8)
    model, draft, prompt = make(small, 1, 0.6), make(small, 2, 0.6), [0, 2]
    p = torch.zeros(64)
    for index, text in enumerate(product(range(4), repeat=3)):
        p[index] = 1.0
        for i in range(3):
            before = [*prompt, *text[:i]]
            seen = torch.zeros(1, 4, dtype=torch.bool)
            seen[0, before] = True
            logits = model(torch.tensor([before]))[:, -1].detach()
            p[index] *= sampler.logits(logits, seen).softmax(-1)[0, text[i]]
    assert p.sum().item() == pytest.approx(1, abs=1e-4)
    g, draws = seeded(), []
    for _ in range(1500):
        a, b, c = speculative_generate(model, draft, prompt, 3, 2, sampler, generator=g).ids
        draws.append(16 * a + 4 * b + c)
    assert chi_square(draws, p) < 4


def test_a_draft_that_is_the_model_itself_is_always_accepted():
    model, prompt = make(), some_ids(5)
    found = speculative_generate(model, model, prompt, 26, 4, generator=seeded())
    assert found.n_accepted == found.n_drafted and len(found.ids) == 26
    assert found.n_calls == 1 + 5  # one id from the prompt, then five each time


def test_speculation_ends_before_the_end_id():
    found = speculative_generate(cycle(), cycle(), [0], 50, 8, GREEDY, end_id=4)
    assert found.ids == [1, 2, 3]


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_speculation_gives_as_many_ids_as_asked_for(n):
    model, draft = make(), make(DRAFT, seed=5)
    assert len(speculative_generate(model, draft, some_ids(5), n, 4).ids) == n


# --- Text -----------------------------------------------------------------------------------------


def cut_at_once(text, stop):
    """What `until_stop` promises, character by character."""
    for end in range(1, len(text) + 1):
        found = [s for s in stop if text[:end].endswith(s)]
        if found:
            return text[: end - max(map(len, found))]
    return text


pieces_of_ab = st.lists(st.text("ab", max_size=4), max_size=8)
stops_of_ab = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(pieces=pieces_of_ab, stop=stops_of_ab)
def test_a_stop_string_is_found_wherever_the_pieces_are_cut(pieces, stop):
    assert "".join(until_stop(pieces, stop)) == cut_at_once("".join(pieces), stop)


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(pieces=pieces_of_ab, stop=stops_of_ab)
def test_no_more_is_held_back_than_could_begin_a_stop_string(pieces, stop):
    taken = []

    def watched():
        for piece in pieces:
            taken.append(piece)
            yield piece

    given = ""
    for piece in until_stop(watched(), stop):
        assert piece
        given += piece
        rest = "".join(taken)[len(given) :]
        if given != cut_at_once("".join(pieces), stop):
            assert rest == "" or any(s.startswith(rest) for s in stop)


def test_reading_stops_at_the_stop_string():
    pieces = iter(["one", "two", "three"])
    assert "".join(until_stop(pieces, ["etw"])) == "on"
    assert list(pieces) == ["three"]


class Scripted(nn.Module):
    """A model that says the same ids whatever it reads, one after the other."""

    def __init__(self, ids, vocab_size):
        super().__init__()
        self.ids, self.n = ids, 0
        self.config = GPTConfig(vocab_size, 1000, n_layer=1, n_head=1, n_embd=1)
        self.weight = nn.Parameter(torch.zeros(1))
        self.head = nn.Identity()

    def hidden_states(self, ids, mask=None, positions=None, caches=None):
        caches[0].update(*[ids[:, None, :, None].float()] * 2)
        self.n += 1
        logits = torch.zeros(1, ids.shape[1], self.config.vocab_size)
        logits[0, -1, self.ids[self.n - 1]] = 9.0
        return logits


BYTES = Tokenizer(initial_tokens([END]), [], [END])


def streamed(text, n=1000, **options):
    ids = [*BYTES.encode(text), BYTES.special_tokens[END]]
    model = Scripted(ids, BYTES.vocab_size).eval()
    return list(stream(model, BYTES, "", min(n, len(ids)), GREEDY, **options))


def test_characters_of_several_bytes_arrive_whole():
    assert streamed("小狐狸 is ⛵.") == ["小", "狐", "狸", *" is ", "⛵", "."]


def test_a_character_that_stays_incomplete_is_marked_at_the_end():
    assert streamed("狐狸", n=4) == ["狐", "\N{REPLACEMENT CHARACTER}"]


def test_the_stream_ends_with_the_text():
    assert "".join(streamed("To be.")) == "To be."


def test_a_stop_string_of_chinese_characters_is_found_across_tokens():
    assert "".join(streamed("从前有一只狐狸。", stop=["一只"])) == "从前有"
    assert "".join(streamed("The end. The end", stop=["d. T"])) == "The en"


def test_a_stream_gives_what_generate_gives():
    tokenizer = train_tokenizer(["a story of a fox and a hare, and of a kite"] * 3, 280)
    config = GPTConfig(tokenizer.vocab_size, 64, n_layer=2, n_head=2, n_embd=16)
    model, end_id = make(config), tokenizer.special_tokens[END]
    text = "".join(stream(model, tokenizer, "a fox", 40, generator=seeded()))
    prompt = [end_id, *tokenizer.encode("a fox")]
    [ids] = generate(model, [prompt], 40, end_id=end_id, generator=seeded())
    assert text == tokenizer.decode(ids)


# --- Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": -1}, r"temperature is -1; choose 0 \(always the likeliest id\) or more"),
        ({"temperature": math.nan}, "temperature is nan; choose 0"),
        ({"temperature": math.inf}, "temperature is inf; choose 0"),
        ({"temperature": "hot"}, "temperature is 'hot'; choose 0"),
        ({"temperature": None}, "temperature is None; choose 0"),
        ({"top_k": 0}, "top_k is 0; pass a whole number, 1 or more: so many ids are kept; None"),
        ({"top_k": -3}, "top_k is -3; pass a whole number"),
        ({"top_k": 2.5}, "top_k is 2.5; pass a whole number"),
        ({"top_k": True}, "top_k is True; pass a whole number"),
        ({"top_p": -0.1}, "top_p is -0.1; choose a probability from 0 to 1; 1 keeps all"),
        ({"top_p": 1.1}, "top_p is 1.1; choose a probability"),
        ({"top_p": 90}, "top_p is 90; choose a probability"),
        ({"min_p": 2}, "min_p is 2; choose a share from 0 to 1"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0; choose a number above 0"),
        ({"repetition_penalty": -1.2}, "repetition_penalty is -1.2; choose a number above 0"),
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_refused_with_the_remedy(setting, message):
    with pytest.raises(ValueError, match=message):
        Sampler(**setting)


RUNS = [
    lambda prompt: generate(make(), [prompt], 3),
    lambda prompt: beam_search(make(), prompt, 3, 2),
    lambda prompt: speculative_generate(make(), make(DRAFT), prompt, 3),
]


@pytest.mark.parametrize("run", RUNS)
def test_an_empty_prompt_is_refused_with_the_remedy(run):
    with pytest.raises(ValueError, match=r"prompt 0 is empty, .* pass the end-of-text id"):
        run([])


@pytest.mark.parametrize("run", RUNS)
def test_a_prompt_beyond_the_context_is_refused_with_the_remedy(run):
    message = r"prompt 0 has 33 ids, but context_length is 32: .* pass the end, prompt\[-32:\]"
    with pytest.raises(ValueError, match=message):
        run(some_ids(33))


def test_a_prompt_that_fills_the_context_is_continued():
    assert len(generate(make(), [some_ids(32)], 5)[0]) == 5


@pytest.mark.parametrize("prompts", [[], [1, 2, 3], ["To be"], "To be", None, 3, [None]])
def test_prompts_that_are_no_list_of_lists_are_refused(prompts):
    with pytest.raises(ValueError, match=r"pass \[ids\] for a single one, and encode texts first"):
        generate(make(), prompts, 3)


@pytest.mark.parametrize("n", [-1, 2.5, None])
def test_a_number_of_tokens_that_cannot_be_is_refused(n):
    with pytest.raises(ValueError, match=r"max_new_tokens is .*; pass a whole number, 0 or more"):
        generate(make(), [[1]], n)


def test_a_beam_of_none_and_a_draft_of_none_are_refused():
    with pytest.raises(ValueError, match="n_beams is 0; pass a whole number, 1 or more"):
        beam_search(make(), [1], 3, 0)
    with pytest.raises(ValueError, match="n_draft is 0; pass a whole number, 1 or more"):
        speculative_generate(make(), make(DRAFT), [1], 3, 0)


def test_a_length_penalty_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="length_penalty is nan; choose 0 to compare sums"):
        beam_search(make(), [1], 3, 2, math.nan)


def test_nothing_is_drawn_from_logits_that_are_no_numbers():
    with pytest.raises(ValueError, match=r"not all numbers.*load weights of before"):
        Sampler().draw(torch.full((1, 5), math.nan))


def test_a_draft_with_another_vocabulary_is_refused():
    other = make(GPTConfig(61, 8, n_layer=1, n_head=1, n_embd=8))
    with pytest.raises(ValueError, match="the draft has 61 ids and the model 60; use a draft"):
        speculative_generate(make(), other, [1], 3)


def test_a_model_in_training_mode_with_dropout_is_refused():
    config = GPTConfig(60, 32, n_layer=1, n_head=1, n_embd=8, dropout=0.1)
    for run in (lambda model: generate(model, [[1]], 3), lambda m: log_probabilities(m, [1, 2])):
        with pytest.raises(ValueError, match=r"training mode, .* call model.eval\(\) first"):
            run(make(config).train())
    assert generate(make(config), [[1]], 3)


def test_ids_outside_the_vocabulary_are_refused():
    with pytest.raises(ValueError, match="between 0 and 59"):
        generate(make(), [[60]], 3)


@pytest.mark.parametrize("ids", [[], [1], [[1, 2]]])
def test_a_text_without_anything_to_predict_is_refused(ids):
    with pytest.raises(ValueError, match="pass one text of two ids or more"):
        log_probabilities(make(), ids)


@pytest.mark.parametrize("stop", ["The end", [""], [3], None])
def test_stop_strings_of_another_kind_are_refused(stop):
    with pytest.raises(ValueError, match="pass a list of strings, none of them empty"):
        list(until_stop(["a"], stop))


# --- The step without modules ---------------------------------------------------------------------

VARIANTS = [
    SMALL,
    GPTConfig(60, 32, n_layer=1, n_head=1, n_embd=8, bias=False),
    GPTConfig(60, 32, n_layer=2, n_head=3, n_embd=48, tied=False),
]


@pytest.mark.parametrize("config", VARIANTS, ids=lambda c: f"{c.n_layer}x{c.n_embd}")
@pytest.mark.parametrize("B", [1, 3])
def test_the_plain_step_is_what_the_model_gives(config, B):
    model = make(config)
    for block in model.blocks:
        block.norm1.eps = 1e-2
    ids = torch.tensor([some_ids(20, seed, config) for seed in range(B)])
    caches = [KVCache(32) for _ in model.blocks]
    step = PlainStep(model)
    with torch.no_grad():
        got = torch.cat([step(column, caches) for column in ids.split(1, dim=1)], dim=1)
        torch.testing.assert_close(got, model.hidden_states(ids), atol=1e-5, rtol=1e-5)


def test_a_model_of_our_own_parts_is_plain():
    assert all(is_plain(make(config)) for config in VARIANTS)


def with_another_block(model):
    class PostNorm(Block):
        def forward(self, x, mask=None, cache=None):
            return self.norm2(super().forward(x, mask, cache))

    model.blocks[1] = PostNorm(model.config)


def with_another_linear_layer(model):
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model.blocks[0].mlp.fc = Doubled(32, 128)


def with_another_bend(model):
    model.blocks[0].mlp.gelu = nn.ReLU()


def with_a_hook(model):
    model.blocks[0].mlp.register_forward_hook(lambda part, args, x: 2 * x)


def with_a_hook_before(model):
    model.blocks[0].attention.register_forward_pre_hook(lambda part, args: (2 * args[0], *args[1:]))


def with_a_patched_part(model):
    model.blocks[2].norm1.forward = lambda x: 2 * x


CHANGES = [
    with_another_block,
    with_another_linear_layer,
    with_another_bend,
    with_a_hook,
    with_a_hook_before,
    with_a_patched_part,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_was_changed_is_not_plain_and_is_still_generated_from(change):
    model, ids = make(), some_ids(12)
    change(model.eval())
    assert not is_plain(model.eval())
    ours = logits_along(model, [ids[:3]], [[i] for i in ids[3:]], cached=True)[0]
    torch.testing.assert_close(ours, model(torch.tensor([ids]))[0, 2:], atol=1e-5, rtol=1e-5)


def test_a_decoder_may_start_again():
    model = make()
    decoder = Decoder(model)
    first = decoder.start([some_ids(5)])
    decoder.start([some_ids(9, seed=3)])
    torch.testing.assert_close(decoder.start([some_ids(5)]), first)
