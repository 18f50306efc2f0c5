"""Checkpoints are whole or refused: after crashes, on full disks, with every kind of damage."""

import errno
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lib import checkpoint
from lib.checkpoint import (
    checkpoints,
    latest_checkpoint,
    load_checkpoint,
    load_model,
    model_tensors,
    newest,
    read_sealed,
    save_checkpoint,
    save_model,
    seal,
)
from lib.course.notebooks import ROOT
from lib.model import GPT, GPTConfig
from lib.optim import AdamW, Muon, hidden_matrices, parameter_groups
from lib.tokenizer import train_tokenizer

CONFIG = GPTConfig(vocab_size=31, context_length=8, n_layer=2, n_head=2, n_embd=16, dropout=0.1)
TOKENIZER, OTHER = (train_tokenizer(["the fox and the hen"], n) for n in (258, 259))


class Numbered:
    """Batches that are a function of their number."""

    def __init__(self, seed=0):
        self.seed, self.step = seed, 0

    def __next__(self):
        self.step += 1
        generator = torch.Generator().manual_seed(1000 * self.seed + self.step)
        ids = torch.randint(CONFIG.vocab_size, (4, 9), generator=generator)
        return ids[:, :-1], ids[:, 1:]

    def state_dict(self):
        return {"step": self.step, "seed": self.seed}

    def load_state_dict(self, state):
        if state["seed"] != self.seed:
            raise ValueError("the state was saved with another seed; use that one")
        self.step = state["step"]


def build(seed=0, config=CONFIG):
    """A model with two optimizers that have taken two steps."""
    torch.manual_seed(seed)
    model = GPT(config)
    hidden = hidden_matrices(model)
    optimizers = [Muon(hidden), AdamW(parameter_groups(model, 0.1, without=hidden), lr=1e-2)]
    for _ in range(2):
        model(torch.randint(config.vocab_size, (2, 8))).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return model, optimizers


def save_steps(folder, *steps, **options):
    """Checkpoints of models that differ, one for each step."""
    for step in steps:
        model, optimizers = build(seed=step)
        save_checkpoint(folder, step, model, optimizers, Numbered(), TOKENIZER, **options)


def weights_of(model):
    return {name: t.detach().clone() for name, t in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def flat(value):
    """Everything in a state_dict that can be compared, tensors as lists."""
    if isinstance(value, torch.Tensor):
        return (value.dtype, value.tolist())
    if isinstance(value, dict):
        return {key: flat(v) for key, v in value.items()}
    return [flat(v) for v in value] if isinstance(value, list | tuple) else value


# --- What is saved comes back --------------------------------------------------------------------


def test_everything_comes_back_bit_by_bit(tmp_path):
    model, optimizers = build(seed=1)
    batches = Numbered()
    next(batches)
    path = save_checkpoint(
        tmp_path, 7, model, optimizers, batches, TOKENIZER, progress={"seconds": 0.1}
    )
    drawn = torch.rand(3), random.random(), np.random.random()
    again, others, position = *build(seed=2), Numbered()
    content = load_checkpoint(path, again, others, position, TOKENIZER)
    assert same(weights_of(model), weights_of(again))
    for mine, theirs in zip(optimizers, others, strict=True):
        assert flat(mine.state_dict()) == flat(theirs.state_dict())
    assert position.step == 1
    assert content["step"] == 7 and content["progress"] == {"seconds": 0.1}
    assert torch.equal(torch.rand(3), drawn[0])
    assert (random.random(), np.random.random()) == drawn[1:]


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad])
def test_optimizers_of_pytorch_come_back_too(tmp_path, kind):
    def one():
        layer = nn.Linear(3, 2)
        optimizer = kind(layer.parameters(), lr=0.1)
        return layer, optimizer

    def step(layer, optimizer):
        layer(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    layer, optimizer = one()
    step(layer, optimizer)
    path = save_checkpoint(tmp_path, 1, layer, [optimizer])
    again, other = one()
    load_checkpoint(path, again, [other])
    for pair in ((layer, optimizer), (again, other)):
        step(*pair)
    assert same(weights_of(layer), weights_of(again))


def test_a_tied_matrix_is_stored_once_and_stays_tied(tmp_path):
    model, _ = build()
    assert "head.weight" not in model_tensors(model)
    save_model(tmp_path, model)
    again = load_model(tmp_path)
    assert again.head.weight is again.token_embedding.weight
    assert torch.equal(again.head.weight, model.head.weight)


def test_equal_states_give_equal_files(tmp_path):
    for name in ("a", "b"):
        save_steps(tmp_path / name, 1)
    for file in ("model.safetensors", "optimizer.safetensors"):
        a, b = ((tmp_path / name / "step-00000001" / file).read_bytes() for name in ("a", "b"))
        assert a == b


def test_only_the_weights_are_loaded_without_optimizers(tmp_path):
    save_steps(tmp_path, 1)
    model = GPT(CONFIG)
    load_checkpoint(latest_checkpoint(tmp_path), model)
    assert same(weights_of(model), weights_of(build(seed=1)[0]))


# --- The newest are kept --------------------------------------------------------------------------


def test_the_newest_are_kept(tmp_path):
    save_steps(tmp_path, 1, 2, 3, 10, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000010"]
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000003", "step-00000010"]


def test_an_old_checkpoint_goes_only_when_the_new_one_is_whole(tmp_path, monkeypatch):
    save_steps(tmp_path, 1, keep=1)

    def look(path):
        found = checkpoints(path.parent)
        assert latest_checkpoint(path.parent).name == "step-00000002"
        assert len(found) == 2

    monkeypatch.setattr(checkpoint, "discard", look)
    save_steps(tmp_path, 2, keep=1)


def test_steps_beyond_eight_digits_stay_in_order(tmp_path):
    save_steps(tmp_path, 99_999_999, 100_000_000)
    assert latest_checkpoint(tmp_path).name == "step-100000000"


def test_a_whole_checkpoint_is_never_replaced(tmp_path):
    save_steps(tmp_path, 1)
    with pytest.raises(ValueError, match="is there already; delete it, or choose"):
        save_steps(tmp_path, 1)


def test_a_damaged_checkpoint_is_replaced(tmp_path):
    save_steps(tmp_path, 1)
    (tmp_path / "step-00000001" / "model.safetensors").unlink()
    save_steps(tmp_path, 1)
    assert latest_checkpoint(tmp_path)


def test_leftovers_of_a_killed_run_go_with_the_next_save(tmp_path):
    (tmp_path / "step-00000009.part").mkdir(parents=True)
    (tmp_path / "step-00000009.part" / "model.safetensors").write_bytes(b"half")
    save_steps(tmp_path, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_an_empty_folder_and_none_at_all_have_no_latest_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path) is latest_checkpoint(tmp_path / "nowhere") is None


# --- Damage --------------------------------------------------------------------------------------

FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


def refused(path):
    model, optimizers = build(seed=5)
    before = weights_of(model), flat(optimizers[1].state_dict()), torch.get_rng_state()
    with pytest.raises(ValueError) as caught:
        load_checkpoint(path, model, optimizers, Numbered(), TOKENIZER)
    assert same(before[0], weights_of(model)), "a refused checkpoint has changed the model"
    assert before[1] == flat(optimizers[1].state_dict())
    assert torch.equal(before[2], torch.get_rng_state())
    return str(caught.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused_and_the_one_before_is_used(tmp_path, name, share):
    save_steps(tmp_path, 1, 2)
    file = tmp_path / "step-00000002" / name
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    assert f"{name} is not whole" in refused(file.parent)
    with pytest.warns(UserWarning, match=f"skipped: .*{name} is not whole"):
        assert latest_checkpoint(tmp_path).name == "step-00000001"


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_refused(tmp_path, name):
    save_steps(tmp_path, 1)
    file = tmp_path / "step-00000001" / name
    data, rng = bytearray(file.read_bytes()), random.Random(name)
    for place in [0, len(data) - 1, *(rng.randrange(len(data)) for _ in range(60))]:
        bit = 1 << rng.randrange(8)
        data[place] ^= bit
        file.write_bytes(data)
        with pytest.raises(ValueError, match=f"{name} is not whole"):
            read_sealed(file.parent, "state.json")
        data[place] ^= bit
    file.write_bytes(data)
    assert read_sealed(file.parent, "state.json")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(tmp_path, name):
    save_steps(tmp_path, 1)
    (tmp_path / "step-00000001" / name).unlink()
    assert f"{name} is not whole" in refused(tmp_path / "step-00000001")


def test_files_of_two_checkpoints_do_not_mix(tmp_path):
    save_steps(tmp_path, 1, 2)
    shutil.copy(tmp_path / "step-00000001" / FILES[0], tmp_path / "step-00000002" / FILES[0])
    assert "its checksum does not match" in refused(tmp_path / "step-00000002")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"null", b'{"checksum": 3}', b"\xff\xfe", b"PK\x03\x04"]
)
def test_a_foreign_folder_of_the_same_name_is_refused(tmp_path, content):
    save_steps(tmp_path, 1)
    foreign = tmp_path / "step-00000002"
    foreign.mkdir()
    (foreign / "state.json").write_bytes(content)
    assert "or is something else" in refused(foreign)
    with pytest.warns(UserWarning, match="a checkpoint was skipped"):
        assert latest_checkpoint(tmp_path).name == "step-00000001"


def test_another_format_is_refused(tmp_path):
    save_steps(tmp_path, 1)
    file = tmp_path / "step-00000001" / "state.json"
    content = json.loads(file.read_bytes()) | {"format": 2}
    del content["checksum"]
    checksum = checkpoint.facts_of(json.dumps(content).encode())["sha256"]
    file.write_text(json.dumps(content | {"checksum": checksum}), encoding="utf-8")
    assert "it has format 2, but only 1 is known" in refused(file.parent)


@pytest.mark.filterwarnings("ignore:a checkpoint was skipped")
def test_if_all_are_refused_the_newest_says_why(tmp_path):
    save_steps(tmp_path, 1, 2)
    for path in checkpoints(tmp_path):
        (path / "state.json").unlink()
    with pytest.raises(ValueError, match=r"none of the 2 checkpoints .*step-00000002.*not whole"):
        latest_checkpoint(tmp_path)


# --- Nothing is unpickled ------------------------------------------------------------------------


class Bomb:
    def __reduce__(self):
        return (os._exit, (42,))


@pytest.mark.parametrize("write", [lambda p: p.write_bytes(pickle.dumps(Bomb())), None])
def test_a_pickle_in_place_of_the_tensors_is_refused(tmp_path, write):
    save_steps(tmp_path, 1)
    path = tmp_path / "step-00000001"
    (write or (lambda p: torch.save({"bomb": Bomb()}, p)))(path / FILES[0])
    assert "not whole" in refused(path)
    content, files = json.loads((path / FILES[2]).read_bytes()), {}
    for name in FILES[:2]:
        files[name] = (path / name).read_bytes()
    del content["checksum"], content["files"], content["format"]
    (path / FILES[2]).write_bytes(seal(content, files))  # as one who knows the format would do
    assert "is no safetensors file" in refused(path)
    assert "can run any code" in refused(path)


def test_the_module_never_unpickles():
    source = (ROOT / "lib" / "checkpoint.py").read_text(encoding="utf-8")
    assert "torch.load" not in source and "import pickle" not in source
    assert "from safetensors.torch import load" in source


# --- What does not fit ---------------------------------------------------------------------------


def test_another_config_is_refused_by_its_name(tmp_path):
    save_steps(tmp_path, 1)
    path = latest_checkpoint(tmp_path)
    model, optimizers = build(config=replace(CONFIG, n_embd=32))
    with pytest.raises(ValueError, match="saved with n_embd = 16, but here it is 32; use the same"):
        load_checkpoint(path, model, optimizers)
    with pytest.raises(ValueError, match=r"saved with dropout = 0.1, but here it is 0.0"):
        load_checkpoint(path, GPT(replace(CONFIG, dropout=0.0)))


def test_another_tokenizer_is_refused(tmp_path):
    save_steps(tmp_path, 1)
    model, optimizers = build()
    with pytest.raises(ValueError, match=r"saved with tokenizer = '[0-9a-f]{64}', but here it is"):
        load_checkpoint(latest_checkpoint(tmp_path), model, optimizers, None, OTHER)
    load_checkpoint(latest_checkpoint(tmp_path), model, optimizers, None, TOKENIZER)


def test_other_optimizers_are_refused(tmp_path):
    save_steps(tmp_path, 1)
    path, (model, optimizers) = latest_checkpoint(tmp_path), build()
    with pytest.raises(ValueError, match=r"Muon of 8 tensors.*but here it is .*AdamW of 28"):
        load_checkpoint(path, model, [AdamW(model.parameters())])
    with pytest.raises(ValueError, match="saved with optimizers"):
        load_checkpoint(path, model, optimizers[::-1])
    hidden = [*hidden_matrices(model)[1:], model.position_embedding.weight]
    other = [Muon(hidden), AdamW(parameter_groups(model, 0.1, without=hidden))]
    with pytest.raises(ValueError, match=r"moved blocks.0.attention.qkv.weight, this one does not"):
        load_checkpoint(path, model, other)


def test_an_optimizer_of_another_model_is_refused(tmp_path):
    model, _ = build()
    with pytest.raises(ValueError, match="no parameters of the model; build it from"):
        save_checkpoint(tmp_path, 1, model, [AdamW(GPT(CONFIG).parameters())])


def test_other_data_is_refused_before_anything_changes(tmp_path):
    save_steps(tmp_path, 1)
    model, optimizers = build(seed=3)
    before = weights_of(model)
    with pytest.raises(ValueError, match="saved with another seed"):
        load_checkpoint(latest_checkpoint(tmp_path), model, optimizers, Numbered(seed=1))
    assert same(before, weights_of(model))


def test_newest_goes_on_to_a_checkpoint_that_fits(tmp_path):
    save_steps(tmp_path, 1)
    wide, _ = build(config=replace(CONFIG, n_embd=32))
    save_checkpoint(tmp_path, 2, wide)
    model, optimizers = build(seed=3)
    with pytest.warns(UserWarning, match="saved with n_embd = 32"):
        content = newest(tmp_path, lambda path: load_checkpoint(path, model, optimizers))
    assert content["step"] == 1


# --- Models alone --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_a_model_comes_back_in_float32(tmp_path, dtype):
    model, _ = build()
    save_model(tmp_path, model, TOKENIZER, dtype)
    again = load_model(tmp_path, TOKENIZER)
    assert again.config == model.config and not again.training
    for name, t in weights_of(again).items():
        assert t.dtype == torch.float32
        assert torch.equal(t, model.state_dict()[name].to(dtype or torch.float32).float())
    size = (tmp_path / "model.safetensors").stat().st_size
    assert size < (2 if dtype else 4) * sum(p.numel() for p in model.parameters()) + 4000


def test_a_model_can_be_saved_over_an_older_one_beside_other_files(tmp_path):
    (tmp_path / "README.md").write_text("card", encoding="utf-8")
    for seed in (1, 2):
        save_model(tmp_path, build(seed)[0])
    assert same(weights_of(load_model(tmp_path)), weights_of(build(2)[0]))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def rewrite(folder, **changes):
    """Change the config as someone who edits it and renews the checksums."""
    content, files = read_sealed(folder, "config.json")
    content["config"].update(changes)
    (folder / "config.json").write_bytes(seal(content, files))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_embd": 32}, r"token_embedding.weight: .* has \(31, 32\), but .* \(31, 16\)"),
        ({"n_layer": 3}, r"blocks.2.norm1.weight: .* has \(16,\), but .* has no such tensor; the"),
        (
            {"n_layer": 1},
            r"blocks.1.attention.proj.bias: .* has no such tensor, but .* has \(16,\)",
        ),
        ({"tied": False}, r"head.weight: .* has \(31, 16\), but .* has no such tensor"),
        ({"colour": 1}, "no GPT of this course .*colour"),
        ({"n_head": 3}, "n_embd"),
    ],
)
def test_a_config_that_does_not_match_the_weights_is_refused(tmp_path, changes, message):
    save_model(tmp_path, build()[0])
    rewrite(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path)


def test_a_model_with_another_tokenizer_is_refused(tmp_path):
    save_model(tmp_path, build()[0], TOKENIZER)
    with pytest.raises(ValueError, match="saved with tokenizer = "):
        load_model(tmp_path, OTHER)


def test_a_damaged_model_is_refused(tmp_path):
    save_model(tmp_path, build()[0])
    with (tmp_path / "model.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match=r"model.safetensors is not whole"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match=r"config.json is not whole .*No such file"):
        load_model(tmp_path / "nowhere")


# --- Full disks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_full_disk_leaves_the_last_good_checkpoint_and_nothing_else(tmp_path, monkeypatch, name):
    save_steps(tmp_path, 1)
    write = checkpoint.write_durably

    def full(path, data):
        write(path, data[: len(data) // 2] if path.name == name else data)
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_durably", full)
    with pytest.raises(OSError, match=r"step-00000002 was not saved \(No space left .* resume"):
        save_steps(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert latest_checkpoint(tmp_path)


def test_a_full_disk_leaves_the_old_model(tmp_path, monkeypatch):
    save_model(tmp_path, build(1)[0])

    def full(path, data):
        path.write_bytes(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_durably", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(tmp_path, build(2)[0])
    assert same(weights_of(load_model(tmp_path)), weights_of(build(1)[0]))
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_the_real_error_of_a_full_disk_is_passed_on(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught:
        checkpoint.write_durably(Path("/dev/full"), bytes(1000))
    assert caught.value.errno == errno.ENOSPC


# --- Crashes -------------------------------------------------------------------------------------

# In a process of its own a model of 40,000 numbers, all equal to the number of the step, is saved.
SAVER = """
import multiprocessing, os, random, shutil, sys, warnings
from pathlib import Path
import torch
from torch import nn
from lib import checkpoint
from lib.checkpoint import checkpoints, latest_checkpoint, load_checkpoint, save_checkpoint

def model_of(step):
    model = nn.Linear(200, 200, bias=False)
    nn.init.constant_(model.weight, step)
    return model

def save_for_ever(folder):
    step = int(latest_checkpoint(folder).name[5:])
    while True:
        step += 1
        save_checkpoint(folder, step, model_of(step), keep=2)

def whole(folder):
    path = latest_checkpoint(folder)  # a warning, which is an error here, if one is damaged
    model = model_of(0)
    step = load_checkpoint(path, model)["step"]
    assert path.name == f"step-{step:08d}" and (model.weight == step).all()
    return step
"""

KILLED_AT_RANDOM = """
if __name__ == "__main__":
    warnings.simplefilter("error")
    folder, rng = sys.argv[1], random.Random(0)
    method = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    save_checkpoint(folder, 1, model_of(1))
    steps, halves = [1], 0
    while len(steps) <= 25:
        child = context.Process(target=save_for_ever, args=[folder])
        child.start()
        child.join(timeout=rng.uniform(0.02, 0.2))
        while method == "spawn" and whole(folder) == steps[-1]:
            child.join(timeout=0.1)  # it has hardly started yet
        child.kill()
        child.join()
        assert child.exitcode not in (0, 1), "the child was not killed, it ended by itself"
        halves += any(name.endswith(".part") for name in os.listdir(folder))
        steps.append(whole(folder))
    save_checkpoint(folder, steps[-1] + 1, model_of(steps[-1] + 1), keep=2)
    left = sorted(os.listdir(folder))
    assert left == [path.name for path in checkpoints(folder)] and len(left) == 2, left
    assert steps == sorted(steps)
    print(len(steps) - 1, "kills,", steps[-1], "steps,", halves, "in the middle of writing")
"""

KILLED_AT_EVERY_CALL = """
count, limit = 0, 10**9

def dies(function, before=None):
    def call(*args, **kwargs):
        global count
        count += 1
        if count == limit:
            before and before(*args)
            os._exit(9)  # no exception, no cleaning up: as if the power had gone
        return function(*args, **kwargs)
    return call

def half(path, data):
    path.write_bytes(data[: len(data) // 2])

if __name__ == "__main__":
    warnings.simplefilter("error")
    folder = Path(sys.argv[1])
    checkpoint.write_durably = dies(checkpoint.write_durably, before=half)
    checkpoint.os.fsync = dies(os.fsync)
    checkpoint.Path.mkdir = dies(Path.mkdir)
    checkpoint.Path.rename = dies(Path.rename)
    checkpoint.shutil.rmtree = dies(shutil.rmtree)
    code, n, found = 9, 0, []
    save_checkpoint(folder, 1, model_of(1))
    while code == 9:
        n += 1
        child = os.fork()
        if not child:
            count, limit = 0, n
            save_checkpoint(folder, 2, model_of(2), keep=1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found.append(whole(folder))
        if whole(folder) == 1:
            assert len(checkpoints(folder)) == 1
        for path in list(folder.iterdir()):
            if path.name != "step-00000001":
                shutil.rmtree(path)
        if not (folder / "step-00000001").exists():
            save_checkpoint(folder, 1, model_of(1))
    assert code == 0 and found == sorted(found) and set(found) == {1, 2}, (code, found)
    print(len(found) - 1, "places:", found)
"""


def run_script(tmp_path, source):
    script = tmp_path / "script.py"
    script.write_text(source, encoding="utf-8")
    command = [sys.executable, str(script), str(tmp_path / "run")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_process_killed_at_random_moments_always_leaves_a_whole_checkpoint(tmp_path):
    assert "25 kills" in run_script(tmp_path, SAVER + KILLED_AT_RANDOM)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_process_killed_at_every_single_call_leaves_a_whole_checkpoint(tmp_path):
    output = run_script(tmp_path, SAVER + KILLED_AT_EVERY_CALL)
    assert int(output.split()[0]) >= 12, output
