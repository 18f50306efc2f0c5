"""Training: loss and evaluation against loops, the loop against torch, resuming bit by bit."""

import errno
import json
import math
import os
import platform
import subprocess
import sys
import types
from dataclasses import replace
from functools import partial

import IPython
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from lib import checkpoint
from lib.checkpoint import checkpoints, latest_checkpoint, load_checkpoint
from lib.course.figures import LiveCurve
from lib.course.notebooks import ROOT
from lib.data import Batches, Shard, write_shard
from lib.model import GPT, GPTConfig
from lib.optim import AdamW, Muon, hidden_matrices, parameter_groups, warmup_cosine
from lib.tokenizer import train_tokenizer
from lib.training import (
    JsonLog,
    Lines,
    NonFinite,
    ProgressBar,
    Reporter,
    TensorBoard,
    backward,
    evaluate,
    keep_freed_memory,
    next_token_loss,
    read_log,
    train,
)

STORIES = ["the fox found a key.", "it rained, so the fox went home.", "狐狸找到了一把钥匙。"] * 30
TOKENIZER = train_tokenizer(STORIES, 280)
CONFIG = GPTConfig(vocab_size=280, context_length=8, n_layer=2, n_head=2, n_embd=16, dropout=0.1)


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "stories.bin"
    write_shard(path, (TOKENIZER.encode(text) for text in STORIES), TOKENIZER)
    return Shard(path, TOKENIZER)


class Rows:
    """Batches of rows of unequal length, padded: only what `train` needs, and no `__iter__`."""

    def __init__(self, seed=0, B=4):
        self.seed, self.B, self.step = seed, B, 0

    def rows(self, step):
        rng = np.random.default_rng([self.seed, step])
        for _ in range(self.B):
            yield rng.integers(CONFIG.vocab_size, size=rng.integers(2, 9)).tolist()

    def __next__(self):
        x, y = torch.zeros(self.B, 8, dtype=torch.long), torch.full((self.B, 8), -100)
        for i, row in enumerate(self.rows(self.step)):
            x[i, : len(row)] = torch.tensor(row)
            y[i, : len(row) - 1] = torch.tensor(row[1:])
        self.step += 1
        return x, y

    def state_dict(self):
        return {"step": self.step, "seed": self.seed}

    def load_state_dict(self, state):
        self.step = state["step"]


def batch(*rows):
    """A padded batch of the given rows of ids."""
    T = max(len(row) for row in rows) - 1
    x = torch.tensor([(row + [0] * T)[:T] for row in rows])
    y = torch.tensor([(row[1:] + [-100] * T)[:T] for row in rows])
    return x, y


def build(seed=0, **changes):
    torch.manual_seed(seed)
    return GPT(replace(CONFIG, **changes))


def weights_of(model):
    return {name: t.detach().clone() for name, t in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- Loss and evaluation -------------------------------------------------------------------------


def loss_by_loops(model, batches):
    """Mean of -ln p over all targets, one at a time."""
    total = n = 0
    for x, y in batches:
        for ids, targets in zip(x, y, strict=True):
            p = model(ids[None])[0].softmax(-1)
            for t, target in enumerate(targets.tolist()):
                if target != -100:
                    total -= math.log(p[t, target].item())
                    n += 1
    return total / n


UNEQUAL = [batch([1, 2, 3, 4, 5], [6, 7]), batch([8, 9, 1]), batch([3, 3, 3, 3], [4, 5, 6, 7])]


def test_the_loss_is_the_mean_over_all_targets_and_no_padding():
    model = build().eval()
    got = next_token_loss(model, *UNEQUAL[0]).item()
    assert got == pytest.approx(loss_by_loops(model, UNEQUAL[:1]), abs=1e-5)


def test_evaluation_weights_batches_by_their_targets():
    model = build()
    right = loss_by_loops(model.eval(), UNEQUAL)
    mean_of_means = sum(loss_by_loops(model, [b]) for b in UNEQUAL) / 3
    assert evaluate(model, UNEQUAL) == pytest.approx(right, abs=1e-5)
    assert abs(mean_of_means - right) > 1e-4


def test_evaluation_leaves_no_trace():
    for training in (True, False):
        model = build(dropout=0.5).train(training)
        state = torch.get_rng_state()
        assert evaluate(model, UNEQUAL) == evaluate(model, UNEQUAL)
        assert model.training is training
        assert torch.equal(torch.get_rng_state(), state)
        assert all(p.grad is None for p in model.parameters())


def test_the_mode_comes_back_after_an_error():
    model = build().train()
    with pytest.raises(ValueError):
        evaluate(model, [batch([999, 1])])
    assert model.training


@pytest.mark.parametrize("batches", [[], [(torch.zeros(1, 2).long(), torch.full((1, 2), -100))]])
def test_nothing_to_evaluate_is_refused(batches):
    with pytest.raises(ValueError, match="nothing to evaluate on; pass a list of batches"):
        evaluate(build(), batches)


# --- The loop ------------------------------------------------------------------------------------


def gradients(model):
    return [p.grad.clone() for p in model.parameters()]


def test_accumulated_parts_give_the_gradient_of_the_large_batch():
    rows = [[1, 2, 3, 4, 5], [6, 7], [8, 9, 1], [3, 3, 3, 3]]
    model = build(dropout=0.0)
    loss = backward(model, [batch(*rows)])
    large = gradients(model)
    for parts in ([rows[:1], rows[1:]], [rows[:2], rows[2:3], rows[3:]]):
        model.zero_grad()
        assert backward(model, [batch(*part) for part in parts]) == pytest.approx(loss, rel=1e-6)
        for mine, theirs in zip(gradients(model), large, strict=True):
            assert torch.allclose(mine, theirs, atol=1e-6)


def test_a_part_of_padding_alone_does_not_matter():
    nothing = (torch.zeros(1, 2).long(), torch.full((1, 2), -100))
    model = build(dropout=0.0)
    losses = [backward(model, parts) for parts in (UNEQUAL[:1], [nothing, *UNEQUAL[:1], nothing])]
    assert losses[0] == losses[1]


def test_the_loop_is_the_loop_written_out():
    model, ours = build(), build()
    schedule = partial(warmup_cosine, n_steps=5, peak=1e-2, warmup=2)
    optimizer, batches = torch.optim.AdamW(model.parameters(), lr=1e-2), Rows()
    torch.manual_seed(7)
    losses = []
    for step in range(5):
        optimizer.param_groups[0]["lr"] = schedule(step)
        optimizer.zero_grad()
        loss = next_token_loss(model, *next(batches))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    torch.manual_seed(7)
    own = torch.optim.AdamW(ours.parameters(), lr=1e-2)
    records = train(ours, Rows(), own, schedule, 5, max_norm=0.5)
    assert [r["loss"] for r in records] == pytest.approx(losses, rel=1e-5)
    assert [r["lr"] for r in records] == [schedule(step) for step in range(5)]
    for mine, theirs in zip(ours.parameters(), model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_records_count_steps_and_targets():
    batches, model = Rows(), build()
    assert train(model, batches, AdamW(model.parameters()), None, 0) == []
    records = train(model, batches, AdamW(model.parameters()), None, 3, accumulate=2)
    assert [r["step"] for r in records] == [1, 2, 3]
    counts = [sum(len(row) - 1 for row in Rows().rows(i)) for i in range(6)]
    assert [r["tokens"] for r in records] == np.cumsum(counts)[1::2].tolist()
    assert batches.step == 6
    seconds = [r["seconds"] for r in records]
    assert 0 < seconds[0] < seconds[1] < seconds[2]


def test_validation_is_looked_at_when_due_and_at_the_end():
    model = build()
    records = train(
        model, Rows(), AdamW(model.parameters()), None, 5, validation=UNEQUAL, evaluate_every=2
    )
    assert [r["step"] for r in records if "validation" in r] == [2, 4, 5]
    assert records[-1]["validation"] == evaluate(model, UNEQUAL)


def test_looking_changes_nothing(tmp_path):
    """Evaluation, reports and checkpoints leave the course of the run as it would be."""
    ends = []
    for options in (
        {},
        {"validation": UNEQUAL, "evaluate_every": 1, "reporters": [Lines(1)]},
        {"folder": tmp_path, "save_every": 1},
    ):
        model = build(dropout=0.3)
        train(model, Rows(), AdamW(model.parameters()), None, 4, **options)
        ends.append(weights_of(model))
    assert same(ends[0], ends[1]) and same(ends[0], ends[2])


def test_each_optimizer_follows_its_schedule():
    model = build()
    hidden = hidden_matrices(model)
    optimizers = [Muon(hidden), AdamW(parameter_groups(model, 0.1, without=hidden))]
    rates = []

    class Look(Reporter):
        def step(self, record):
            rates.append([g["lr"] for o in optimizers for g in o.param_groups])

    schedules = [lambda step: 0.1 * (step + 1), lambda step: 0.001]
    train(model, Rows(), optimizers, schedules, 2, reporters=[Look()])
    assert rates == [[0.1, 0.001, 0.001], [0.2, 0.001, 0.001]]


# --- What does not fit ---------------------------------------------------------------------------


class Ends(Rows):
    def __next__(self):
        if self.step == 2:
            raise StopIteration
        return super().__next__()


class Padding(Rows):
    def __next__(self):
        x, y = super().__next__()
        return x, torch.full_like(y, -100)


REFUSED = {
    "ended": (lambda m: {"batches": Ends()}, "the batches ended; pass endless ones"),
    "padding": (lambda m: {"batches": Padding()}, "no target but padding.*leave such rows out"),
    "nobody": (
        lambda m: {"optimizer": AdamW([m.head.weight])},
        "position_embedding.weight belongs to 0 optimizers; give each parameter to exactly one",
    ),
    "twice": (
        lambda m: {"optimizer": [AdamW(m.parameters()), AdamW([m.norm.bias])]},
        "norm.bias belongs to 2 optimizers",
    ),
    "schedules": (lambda m: {"schedule": [None, None]}, "1 optimizers and 2 schedules; pass one"),
    "validation": (lambda m: {"evaluate_every": 1}, "nothing to evaluate on; pass validation"),
    "resume": (lambda m: {"resume": True}, "nothing to resume from; pass the folder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    model = build()
    changes, message = REFUSED[name]
    arguments = {
        "batches": Rows(),
        "optimizer": AdamW(model.parameters()),
        "schedule": None,
        "n_steps": 3,
    } | changes(model)
    with pytest.raises(ValueError, match=message):
        train(model, **arguments)


def test_rows_longer_than_the_context_are_refused(shard):
    model = build(context_length=4)
    with pytest.raises(
        ValueError, match="rows of 8 ids, but the model's context_length is 4; make"
    ):
        train(model, Batches(shard, 2, 8), AdamW(model.parameters()), None, 1)


def test_an_empty_dataset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there are no shards; pass at least one"):
        Batches([], 2, 8)
    with pytest.raises(ValueError, match="no documents, so no ids"):
        write_shard(tmp_path / "empty.bin", [], TOKENIZER)


def test_frozen_parameters_may_stay_out():
    model = build(tied=False)
    model.token_embedding.weight.requires_grad_(False)
    learning = [p for p in model.parameters() if p.requires_grad]
    before = model.token_embedding.weight.clone()
    train(model, Rows(), AdamW(learning), None, 2)
    assert torch.equal(before, model.token_embedding.weight)


# --- Numbers that are none -----------------------------------------------------------------------


def poisoned(model, when):
    """A hook that makes the loss NaN in forward pass number `when`."""
    count = 0

    def hook(module, arguments, output):
        nonlocal count
        count += module.training
        return output * math.nan if module.training and count == when else output

    return model.register_forward_hook(hook)


def test_a_loss_that_is_no_number_stops_says_where_and_keeps_the_last_good_state(tmp_path):
    cut, model = build(), build()
    train(cut, Rows(), AdamW(cut.parameters()), None, 4)
    poisoned(model, when=5)
    torch.manual_seed(0)
    GPT(CONFIG)  # draws what `build` has drawn
    with pytest.raises(NonFinite) as caught:
        train(model, Rows(), AdamW(model.parameters()), None, 9, folder=tmp_path, save_every=2)
    message = str(caught.value)
    assert (
        "step 5 (batch 4, counted from 0): the loss is nan; the weights were not moved" in message
    )
    assert "begin a run in another folder from the last good weights, with a lower" in message
    assert f"The last good checkpoint is {tmp_path / 'step-00000004'}." in message
    assert caught.value.step == 5
    assert same(weights_of(cut), weights_of(model))
    assert latest_checkpoint(tmp_path).name == "step-00000004"
    assert all(p.grad is None for p in model.parameters())


def test_the_batches_of_the_failed_step_are_named_and_kept():
    model = build()
    poisoned(model, when=6)
    with pytest.raises(NonFinite, match=r"step 3 \(batches 4 to 5, counted from 0\)") as caught:
        train(model, Rows(), AdamW(model.parameters()), None, 9, accumulate=2)
    due, batches = caught.value.parts, Rows()
    batches.step = 4
    for x, y in due:
        expected = next(batches)
        assert torch.equal(x, expected[0]) and torch.equal(y, expected[1])


def test_a_gradient_that_is_no_number_stops_too():
    model = build()
    before = weights_of(model)
    model.norm.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NonFinite, match=r"step 1 .*norm of the gradient is (inf|nan)"):
        train(model, Rows(), AdamW(model.parameters()), None, 3)
    assert same(before, weights_of(model))


def test_weights_that_have_exploded_are_not_saved(tmp_path):
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    rates = [1e-3, 1e-3, 1e38]
    with pytest.raises(
        NonFinite, match=r"step 3 .*so nothing was saved.*step-00000002\."
    ) as caught:
        train(model, Rows(), optimizer, lambda s: rates[s], 3, folder=tmp_path, save_every=1)
    assert caught.value.step == 3
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000001", "step-00000002"]


def test_a_full_disk_stops_the_run_with_the_last_good_checkpoint(tmp_path, monkeypatch):
    write, calls = checkpoint.write_durably, []

    def fills(path, data):
        calls.append(path)
        if len(calls) == 8:
            path.write_bytes(data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(checkpoint, "write_durably", fills)
    model = build()
    with pytest.raises(OSError, match=r"step-00000003 was not saved .*make room on the disk"):
        train(model, Rows(), AdamW(model.parameters()), None, 9, folder=tmp_path, save_every=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
    assert latest_checkpoint(tmp_path).name == "step-00000002"


# --- Resuming ------------------------------------------------------------------------------------


def one(model):
    schedule = partial(warmup_cosine, n_steps=12, peak=1e-2, warmup=3)
    return {"optimizer": AdamW(parameter_groups(model, 0.1), amsgrad=True), "schedule": schedule}


def two(model):
    hidden = hidden_matrices(model)
    rest = parameter_groups(model, 0.1, without=hidden)
    schedules = [partial(warmup_cosine, n_steps=12, peak=p, warmup=2) for p in (0.02, 0.01)]
    return {"optimizer": [Muon(hidden), AdamW(rest)], "schedule": schedules}


def pytorchs(model):
    return {"optimizer": torch.optim.AdamW(model.parameters(), lr=1e-2), "schedule": None}


@pytest.mark.parametrize("kind", [one, two, pytorchs])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_run_cut_anywhere_equals_the_uncut_one(tmp_path, shard, kind, accumulate):
    """Weights, optimizer, dropout, data position, records: every bit."""

    def run(folder, n_steps, seed):
        model = build(seed, dropout=0.2)
        batches = Batches(shard, 3, 8, seed=1)
        options = {"accumulate": accumulate, "validation": UNEQUAL, "evaluate_every": 4}
        options |= {"folder": folder, "save_every": 1, "resume": True, "tokenizer": TOKENIZER}
        return train(model, batches, **kind(model), n_steps=n_steps, **options), model

    def clean(records):
        return [{k: v for k, v in r.items() if k != "seconds"} for r in records]

    uncut, model = run(tmp_path / "uncut", 12, seed=0)
    for cut in (1, 5, 11):
        folder = tmp_path / str(cut)
        first, _ = run(folder, cut, seed=0)
        torch.manual_seed(99)  # whatever happens in between
        rest, again = run(folder, 12, seed=5)
        assert same(weights_of(model), weights_of(again))
        together = [r for r in first + rest if "validation" not in r or r["step"] % 4 == 0]
        expected = [r for r in uncut if "validation" not in r or r["step"] % 4 == 0]
        if cut % 4:
            expected = [r for r in expected if r["step"] != cut]
        assert clean(together) == clean(expected)
        for name in ("model.safetensors", "optimizer.safetensors"):
            a, b = (latest_checkpoint(f) / name for f in (folder, tmp_path / "uncut"))
            assert a.read_bytes() == b.read_bytes()


def start(folder, n_steps=4, **options):
    model = build(options.pop("seed", 0))
    optimizer = options.pop("optimizer", AdamW)(model.parameters())
    schedule = options.pop("schedule", None)
    return train(model, Rows(), optimizer, schedule, n_steps, folder=folder, **options)


def test_the_same_command_begins_and_goes_on(tmp_path):
    assert len(start(tmp_path, 4, resume=True)) == 4
    assert len(start(tmp_path, 6, resume=True)) == 2
    assert start(tmp_path, 6, resume=True) == []


def test_a_new_run_does_not_write_among_the_checkpoints_of_another(tmp_path):
    start(tmp_path)
    with pytest.raises(ValueError, match="has checkpoints of a run; pass resume=True to go on"):
        start(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 2}, "saved with accumulate = 1, but here it is 2"),
        ({"max_norm": 0.5}, "saved with max_norm = 1.0, but here it is 0.5"),
        (
            {"schedule": lambda step: 2e-3},
            r"saved with rates = \[0.001\], but here it is \[0.002\]",
        ),
        ({"optimizer": torch.optim.SGD}, "saved with optimizers = .*AdamW.*SGD"),
    ],
)
@pytest.mark.filterwarnings("ignore:a checkpoint was skipped")
def test_a_run_is_not_resumed_with_other_settings(tmp_path, options, message):
    start(tmp_path, schedule=lambda step: 1e-3)
    with pytest.raises(ValueError, match=message):
        start(tmp_path, resume=True, **({"schedule": lambda step: 1e-3} | options))


def test_a_damaged_checkpoint_is_skipped_and_the_run_ends_as_if_nothing_had_been(tmp_path):
    start(tmp_path / "uncut", 6, save_every=1)
    start(tmp_path / "cut", 5, save_every=1)
    file = tmp_path / "cut" / "step-00000005" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.warns(UserWarning, match=r"step-00000005.*model\.safetensors is not whole"):
        assert len(start(tmp_path / "cut", 6, resume=True, save_every=1, seed=3)) == 2
    a, b = (tmp_path / name / "step-00000006" / file.name for name in ("cut", "uncut"))
    assert a.read_bytes() == b.read_bytes()


KILLED_WHILE_TRAINING = """
import hashlib, multiprocessing, os, random, sys, warnings
from pathlib import Path
import torch
from lib.checkpoint import checkpoints, latest_checkpoint
from lib.model import GPT, GPTConfig
from lib.optim import AdamW
from lib.training import JsonLog, read_log, train

class Rows:
    step = 0
    def __next__(self):
        self.step += 1
        generator = torch.Generator().manual_seed(self.step)
        ids = torch.randint(50, (4, 9), generator=generator)
        return ids[:, :-1], ids[:, 1:]
    def state_dict(self):
        return {"step": self.step}
    def load_state_dict(self, state):
        self.step = state["step"]

def run(folder, n_steps):
    warnings.simplefilter("error")
    torch.manual_seed(0)
    model = GPT(GPTConfig(50, 8, n_layer=1, n_head=2, n_embd=16, dropout=0.1))
    options = {"folder": folder / "run", "save_every": 1, "resume": True}
    log = JsonLog(folder / "log.jsonl")
    train(model, Rows(), AdamW(model.parameters()), None, n_steps, reporters=[log], **options)

if __name__ == "__main__":
    torch.set_num_threads(1)
    rng, folder = random.Random(1), Path(sys.argv[1])
    for name in ("cut", "uncut"):
        (folder / name).mkdir(parents=True)
    method = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    run(folder / "cut", 1)  # so that what PyTorch loads at its first step is there for all children
    kills = 0
    while kills < 20:
        before = os.listdir(folder / "cut" / "run")
        child = context.Process(target=run, args=[folder / "cut", 10**6])
        child.start()
        child.join(timeout=rng.uniform(0.01, 0.2))
        while method == "spawn" and os.listdir(folder / "cut" / "run") == before:
            child.join(timeout=0.1)  # it is still starting
        child.kill()
        child.join()
        assert child.exitcode not in (0, 1), "it was not killed, it ended by itself"
        kills += 1
    n = int(latest_checkpoint(folder / "cut" / "run").name[5:]) + 3
    run(folder / "cut", n)
    run(folder / "uncut", n)
    for name in ("model.safetensors", "optimizer.safetensors"):
        a, b = (latest_checkpoint(folder / f / "run") / name for f in ("cut", "uncut"))
        assert a.read_bytes() == b.read_bytes()
    logs = [read_log(folder / name / "log.jsonl") for name in ("cut", "uncut")]
    for log in logs:
        for record in log:
            del record["seconds"]
    assert logs[0] == logs[1] and len(logs[0]) == n
    print(kills, "kills,", n, "steps")
"""


def test_a_run_killed_twenty_times_equals_the_run_that_was_not(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED_WHILE_TRAINING, encoding="utf-8")
    command = [sys.executable, str(script), str(tmp_path / "runs")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    assert done.returncode == 0, done.stderr
    assert "20 kills" in done.stdout


# --- Memory --------------------------------------------------------------------------------------

PAGES = """
import resource, torch
from lib.training import keep_freed_memory

def step():
    return [torch.ones(2**21) for _ in range(6)]  # 8 MiB each

def pages():
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = pages()
print(keep_freed_memory(), given_back, pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_stays_with_the_process():
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, cwd=ROOT)
    told, given_back, kept = done.stdout.split()
    assert told == "True" and int(kept) < 0.05 * int(given_back), done.stderr


def test_another_c_library_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: types.SimpleNamespace())
    assert keep_freed_memory() is False


# --- Reporters -----------------------------------------------------------------------------------


def test_the_log_has_a_line_for_each_step(tmp_path):
    log = tmp_path / "log.jsonl"
    records = start(None, reporters=[JsonLog(log)])
    assert read_log(log) == records
    assert all(json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())


def test_a_resumed_log_has_no_step_twice(tmp_path):
    log = tmp_path / "log.jsonl"
    start(tmp_path / "run", 3, save_every=2, reporters=[JsonLog(log)])
    for path in checkpoints(tmp_path / "run")[1:]:
        checkpoint.discard(path)  # the run was killed after step 3, whose checkpoint came too late
    start(tmp_path / "run", 5, resume=True, reporters=[JsonLog(log)])
    assert [r["step"] for r in read_log(log)] == [1, 2, 3, 4, 5]


def test_a_line_that_a_killed_run_left_half_written_is_ignored(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n{"ste', encoding="utf-8")
    assert [r["step"] for r in read_log(log)] == [1, 2]
    reporter = JsonLog(log)
    reporter.start(1, 5)
    reporter.stop()
    assert read_log(log) == [{"step": 1}]


def test_a_new_run_begins_its_log_anew(tmp_path):
    log = tmp_path / "log.jsonl"
    for _ in range(2):
        start(None, 3, reporters=[JsonLog(log)])
    assert [r["step"] for r in read_log(log)] == [1, 2, 3]


def test_plain_lines_say_what_is_due(capsys):
    start(None, 4, validation=UNEQUAL, evaluate_every=3, reporters=[Lines(2)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["2", "3", "4"]
    assert "validation" in lines[1] and "validation" not in lines[0]
    assert lines[0].startswith("step 2  loss ") and "  lr 0.001  norm " in lines[0]


def test_the_bar_shows_where_the_run_stands(capsys):
    start(None, 4, reporters=[ProgressBar()])
    shown = capsys.readouterr().err
    assert "4/4" in shown and "loss=" in shown


def test_reporters_are_closed_after_an_error():
    closed = []

    class Closes(Reporter):
        def stop(self):
            closed.append(True)

    model = build()
    with pytest.raises(ValueError, match="the batches ended"):
        train(model, Ends(), AdamW(model.parameters()), None, 9, reporters=[Closes()])
    assert closed == [True]


def test_tensorboard_gets_every_number(tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            written.append(("open", folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append("closed")

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    [record] = start(None, 1, reporters=[TensorBoard(tmp_path)])
    assert written[0] == ("open", str(tmp_path), 1) and written[-1] == "closed"
    del record["step"]
    assert sorted(written[1:-1]) == sorted((name, value, 1) for name, value in record.items())


def test_without_tensorboard_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match="pip install tensorboard`, or use JsonLog"):
        TensorBoard(tmp_path)


def test_the_last_good_weights_can_begin_another_run_with_a_lower_rate(tmp_path):
    """What the message of `NonFinite` advises."""
    start(tmp_path / "first", 3, schedule=lambda step: 1e-2)
    model, batches = build(seed=4), Rows()
    optimizers = [AdamW(model.parameters())]
    load_checkpoint(latest_checkpoint(tmp_path / "first"), model, optimizers, batches)
    options = {"folder": tmp_path / "second"}
    records = train(model, batches, optimizers, lambda step: 1e-3, 2, **options)
    assert batches.step == 5 and [r["lr"] for r in records] == [1e-3, 1e-3]


def test_a_live_curve_is_drawn_anew_in_its_place(monkeypatch):
    plt.switch_backend("Agg")
    shown = []

    class Handle:
        def update(self, figure):
            loss, validation = (line.get_xdata() for line in figure.axes[0].lines)
            shown.append((list(loss), list(validation)))

    monkeypatch.setattr(IPython, "get_ipython", lambda: object())
    monkeypatch.setattr(IPython.display, "display", lambda figure, display_id: Handle())
    options = {"validation": UNEQUAL, "evaluate_every": 2, "reporters": [LiveCurve(every=0.0)]}
    start(None, 3, **options)
    assert shown[-1] == ([1, 2, 3], [2, 3]) and len(shown) >= 2


def test_without_a_notebook_a_live_curve_names_the_remedy():
    with pytest.raises(ValueError, match=r"needs a notebook; in a terminal, report with Lines\(\)"):
        start(None, 1, reporters=[LiveCurve()])
