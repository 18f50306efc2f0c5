"""Checkpoints: all that a training run needs to go on, written so that no crash can lose it.

A checkpoint is a folder: tensors in the format of safetensors, the rest in JSON with a checksum of
everything. It is written under another name, flushed to the disk and renamed: it is there whole, or
not at all. Nothing is ever unpickled, for a pickle can run any code while it is read.
"""

import hashlib
import json
import operator
import os
import random
import re
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from lib.model import GPT, GPTConfig
from lib.tokenizer import Tokenizer

PART = ".part"  # ends the name of what is being written, or deleted

# --- Files that are whole, or refused ------------------------------------------------------------


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it: what is only in memory, a power cut takes."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names in a folder. Windows cannot be asked, and needs not be."""
    if os.name == "posix":
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def facts_of(data: bytes) -> dict:
    """What tells whether a file is still the one that was written."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def seal(content: Mapping, files: Mapping[str, bytes]) -> bytes:
    """JSON of `content` and the facts of some files, with a checksum of its own."""
    content = {**content, "format": 1, "files": {n: facts_of(data) for n, data in files.items()}}
    text = json.dumps(content, default=operator.index)  # NumPy's whole numbers are numbers too
    checksum = facts_of(text.encode("utf-8"))["sha256"]
    return f'{text[:-1]}, "checksum": "{checksum}"}}'.encode()


def read_sealed(folder: Path, index: str) -> tuple[dict, dict[str, bytes]]:
    """Read what `seal` has made, and the files that it names: `(content, files)`.

    `ValueError` names the file that is missing, cut short, changed, or something else.
    """
    remedy = "it was cut short, changed, or is something else: copy it again, or use an earlier one"
    path = folder / index
    try:
        content = json.loads(path.read_bytes())
        checksum = content.pop("checksum", None)
        if facts_of(json.dumps(content).encode("utf-8"))["sha256"] != checksum:
            raise ValueError("its checksum does not match")
        if content["format"] != 1:
            raise ValueError(f"it has format {content['format']}, but only 1 is known here")
        files = {}
        for name, facts in content["files"].items():
            path = folder / Path(name).name
            files[name] = path.read_bytes()
            if facts_of(files[name]) != facts:
                sizes = f"{len(files[name]):,} bytes of {facts['bytes']:,}"
                raise ValueError(f"{sizes}, and its checksum does not match")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path} is not whole ({reason}); {remedy}") from None
    return content, files


# --- Tensors -------------------------------------------------------------------------------------


def model_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Each tensor of a model under one name; one that has two, such as a tied matrix, is once."""
    found = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        found.setdefault(id(tensor), (name, tensor))
    return dict(found.values())


def to_bytes(tensors: Mapping[str, torch.Tensor], dtype: torch.dtype | None = None) -> bytes:
    """Tensors in the format of safetensors. dtype: what numbers with a fraction are rounded to."""
    kinds = {name: dtype if t.is_floating_point() else None for name, t in tensors.items()}
    return save({n: t.detach().to("cpu", kinds[n]).contiguous() for n, t in tensors.items()})


def from_bytes(data: bytes, path: Path) -> dict[str, torch.Tensor]:
    """The tensors in the bytes of a safetensors file; `ValueError` if they are anything else."""
    try:
        return load(data)
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"{path} is no safetensors file ({error}); pickles (.pt, .bin) are not read here, for "
            "reading one can run any code: save the model with save_model"
        ) from None


def check_shapes(wanted: Mapping[str, tuple], found: Mapping[str, tuple], path) -> None:
    """Refuse tensors that are missing, superfluous, or of another shape than the model's."""
    for name in [*wanted, *sorted(found)]:
        here, there = wanted.get(name, "no such tensor"), found.get(name, "no such tensor")
        if here != there:
            raise ValueError(
                f"{name}: the model of this config has {here}, but {path} has {there}; the config "
                "and the weights must be of the same model"
            )


def check_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse tensors that are not those of the model: by name, and by shape."""
    wanted, found = (
        {name: tuple(tensor.shape) for name, tensor in some.items()}
        for some in (model_tensors(model), tensors)
    )
    check_shapes(wanted, found, path)


@torch.no_grad()
def fill_model(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into the model, in the model's own dtype and on its device."""
    for name, tensor in model_tensors(model).items():
        tensor.copy_(tensors[name])


# --- A model alone -------------------------------------------------------------------------------


def check_same(saved: Mapping, here: Mapping, path: str | os.PathLike) -> None:
    """Refuse what differs from what was saved, and say in what. None fits everything."""
    for name in [*saved, *here]:
        was, now = saved.get(name), here.get(name)
        if was != now and None not in (was, now):
            raise ValueError(
                f"{path} was saved with {name} = {was!r}, but here it is {now!r}; use the same "
                "as then, or another folder"
            )


def hash_of(tokenizer: Tokenizer | None) -> str | None:
    """The hash of a tokenizer's content, None for none."""
    return None if tokenizer is None else tokenizer.content_hash()


def save_model(
    folder: str | os.PathLike, model: GPT, tokenizer: Tokenizer | None = None, dtype=None
) -> None:
    """Write `config.json` and `model.safetensors` into a folder, for `load_model`.

    tokenizer: its hash is kept. dtype: such as torch.float16, to halve the file. After a crash
    between the two files, `load_model` refuses the pair.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = {"config": asdict(model.config), "tokenizer": hash_of(tokenizer)}
    files = {"model.safetensors": to_bytes(model_tensors(model), dtype)}
    for name, data in [*files.items(), ("config.json", seal(content, files))]:
        part = folder / (name + PART)
        try:
            write_durably(part, data)
            os.replace(part, folder / name)
        finally:
            part.unlink(missing_ok=True)
    sync_folder(folder)


def load_model(folder: str | os.PathLike, tokenizer: Tokenizer | None = None) -> GPT:
    """The GPT that `save_model` wrote, in float32 and in evaluation mode.

    `ValueError` for damaged files, for weights that are not of the config's shapes, and for
    another tokenizer than that of training.
    """
    folder = Path(folder)
    content, files = read_sealed(folder, "config.json")
    check_same({"tokenizer": content["tokenizer"]}, {"tokenizer": hash_of(tokenizer)}, folder)
    try:
        model = GPT(GPTConfig(**content["config"]))
    except TypeError as error:
        raise ValueError(f"{folder} holds no GPT of this course ({error}); see GPTConfig") from None
    tensors = from_bytes(files["model.safetensors"], folder / "model.safetensors")
    check_tensors(model, tensors, folder)
    fill_model(model, tensors)
    return model.eval()


# --- What else a run needs -----------------------------------------------------------------------


def random_states() -> dict:
    """Where the random generators stand, as JSON can hold it: PyTorch's, Python's and NumPy's."""
    name, keys, *rest = np.random.get_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    states = [bytes(state.tolist()).hex() for state in (torch.get_rng_state(), *on_gpus)]
    return {"torch": states, "python": random.getstate(), "numpy": [name, keys.tolist(), *rest]}


def restore_random_states(states: Mapping) -> None:
    """Put the generators where `random_states` found them; of GPUs, those that are there."""
    on_cpu, *on_gpus = (
        torch.tensor(list(bytes.fromhex(s)), dtype=torch.uint8) for s in states["torch"]
    )
    torch.set_rng_state(on_cpu)
    for i, state in enumerate(on_gpus[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, i)
    version, numbers, rest = states["python"]
    random.setstate((version, tuple(numbers), rest))
    np.random.set_state(tuple(states["numpy"]))


def describe_run(model: nn.Module, optimizers: Sequence, tokenizer: Tokenizer | None) -> dict:
    """What must be the same for a run to go on, as JSON can hold it."""
    config = getattr(model, "config", None)
    kinds = [
        f"{type(o).__name__} of {' + '.join(str(len(g['params'])) for g in o.param_groups)} tensors"
        for o in optimizers
    ]
    facts = {"model": type(model).__name__, "tokenizer": hash_of(tokenizer)}
    return facts | {"optimizers": kinds or None} | (asdict(config) if is_dataclass(config) else {})


def parameter_names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """The names of an optimizer's parameters, in the order in which its state counts them."""
    names = {id(p): name for name, p in model.named_parameters()}
    moved = [id(p) for group in optimizer.param_groups for p in group["params"]]
    if set(moved) - set(names):
        raise ValueError(
            "the optimizer moves tensors that are no parameters of the model; build it from the "
            "parameters of this very model"
        )
    return [names[i] for i in moved]


def pack_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict, dict]:
    """An optimizer's state, taken apart: options and numbers for JSON, and tensors.

    Both go by the name of the parameter, such as "norm.weight/mean".
    """
    state, names = optimizer.state_dict(), parameter_names(model, optimizer)
    entries = {f"{names[i]}/{k}": v for i, s in state["state"].items() for k, v in s.items()}
    tensors = {key: v for key, v in entries.items() if isinstance(v, torch.Tensor)}
    numbers = {key: v for key, v in entries.items() if key not in tensors}
    return {"groups": state["param_groups"], "numbers": numbers}, tensors


def unpack_optimizer(model: nn.Module, optimizer, packed: Mapping, tensors: Mapping) -> dict:
    """What `pack_optimizer` has taken apart, as a `state_dict` again."""
    index = {name: i for i, name in enumerate(parameter_names(model, optimizer))}
    state = {}
    for key, value in {**packed["numbers"], **tensors}.items():
        name, entry = key.rsplit("/", 1)
        if name not in index:
            raise ValueError(f"the saved optimizer moved {name}, this one does not; build it alike")
        state.setdefault(index[name], {})[entry] = value
    groups = [  # JSON has no tuples, such as betas
        {k: tuple(v) if isinstance(v, list) and k != "params" else v for k, v in group.items()}
        for group in packed["groups"]
    ]
    return {"state": state, "param_groups": groups}


# --- Checkpoints ---------------------------------------------------------------------------------


def checkpoints(folder: str | os.PathLike) -> list[Path]:
    """The checkpoints in a folder, oldest first, whether whole or damaged."""
    found = [p for p in Path(folder).glob("step-*") if re.fullmatch(r"step-\d{8,}", p.name)]
    return sorted(found, key=lambda path: int(path.name[5:]))


def discard(path: Path) -> None:
    """Delete a folder. It loses its name first, so that half of it is never taken for the whole."""
    doomed = path.with_name(path.name + PART)
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def clear_way(path: Path) -> None:
    """Remove what a killed run left behind; refuse to replace a checkpoint that is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f"step-*{PART}"):
        shutil.rmtree(leftover, ignore_errors=True)
    if path.exists():
        try:
            read_sealed(path, "state.json")
        except ValueError:
            return discard(path)
        raise ValueError(f"{path} is there already; delete it, or choose another folder")


def write_whole(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files under another name, then give it its own: all of it, or nothing."""
    clear_way(path)
    part = path.with_name(path.name + PART)
    try:
        part.mkdir()
        for name, data in files.items():
            write_durably(part / name, data)
        sync_folder(part)
        part.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        message = f"{path} was not saved ({error.strerror}); the checkpoints before it are whole: "
        raise OSError(error.errno, message + "make room on the disk, then resume") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)  # it is there only if something went wrong


def save_checkpoint(
    folder: str | os.PathLike,
    step: int,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer] = (),
    batches=None,
    tokenizer: Tokenizer | None = None,
    progress: Mapping | None = None,
    keep: int = 3,
) -> Path:
    """Save all that decides how a run goes on after `step` steps; return the checkpoint's path.

    batches: whose position is saved. progress: what else to remember, as JSON can hold it. When
    the checkpoint is whole, older ones go, except the newest `keep` - 1. `OSError` if it cannot be
    written, such as on a full disk: then those before it are whole, and nothing else is left.
    """
    packed = [pack_optimizer(model, optimizer) for optimizer in optimizers]
    tensors = {f"{i}/{k}": t for i, (_, some) in enumerate(packed) for k, t in some.items()}
    files = {
        "model.safetensors": to_bytes(model_tensors(model)),
        "optimizer.safetensors": to_bytes(tensors),
    }
    content = {
        "step": step,
        "run": describe_run(model, optimizers, tokenizer),
        "progress": dict(progress or {}),
        "batches": None if batches is None else batches.state_dict(),
        "random": random_states(),
        "optimizers": [facts for facts, _ in packed],
    }
    path = Path(folder) / f"step-{step:08d}"
    write_whole(path, files | {"state.json": seal(content, files)})
    older = [p for p in checkpoints(folder) if int(p.name[5:]) < step]
    for old in older[: max(0, len(older) - max(0, keep - 1))]:
        discard(old)
    return path


def load_checkpoint(
    path: str | os.PathLike,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer] = (),
    batches=None,
    tokenizer: Tokenizer | None = None,
) -> dict:
    """Put everything back as `save_checkpoint` found it; return its facts, among them "progress".

    Without optimizers only the model's weights and random states are. All is checked before
    anything is changed: `ValueError` for damaged files, and for another config, tokenizer, kind of
    optimizer, or other data than then.
    """
    path = Path(path)
    content, files = read_sealed(path, "state.json")
    check_same(content["run"], describe_run(model, optimizers, tokenizer), path)
    names = "model.safetensors", "optimizer.safetensors"
    tensors, states = (from_bytes(files[name], path / name) for name in names)
    check_tensors(model, tensors, path)
    unpacked = []
    for i, (optimizer, packed) in enumerate(zip(optimizers, content["optimizers"], strict=False)):
        own = {key.split("/", 1)[1]: t for key, t in states.items() if key.startswith(f"{i}/")}
        unpacked.append(unpack_optimizer(model, optimizer, packed, own))
    if batches is not None:
        batches.load_state_dict(content["batches"])  # refuses other data before it changes
    fill_model(model, tensors)
    for optimizer, state in zip(optimizers, unpacked, strict=True):
        optimizer.load_state_dict(state)
    restore_random_states(content["random"])
    return content


def newest(folder: str | os.PathLike, attempt: Callable[[Path], object]) -> object:
    """`attempt(path)` for the newest checkpoint that it does not refuse with a `ValueError`.

    None if there is none; a warning says why one is skipped; `ValueError` if all are refused.
    """
    refused = []
    for path in reversed(checkpoints(folder)):
        try:
            return attempt(path)
        except ValueError as error:
            refused.append(error)
            warnings.warn(f"a checkpoint was skipped: {error}", stacklevel=2)
    if refused:
        raise ValueError(
            f"none of the {len(refused)} checkpoints in {folder} can be used; the newest one: "
            f"{refused[0]}"
        )
    return None


def latest_checkpoint(folder: str | os.PathLike) -> Path | None:
    """The newest checkpoint in a folder that is whole; None if there is none."""
    return newest(folder, lambda path: read_sealed(path, "state.json") and path)
