"""LoRA: a frozen model learns through small matrices beside its own (chapter 13).

A linear layer y = x Wᵀ keeps its W and gets an update of low rank, W + (alpha / r) B A, whose A
(r, n_in) and B (n_out, r) are all that learns (Hu et al., 2021). The base can be stored in four
bits meanwhile (Dettmers et al., 2023).
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn
from torch.nn import functional as F

from lib.checkpoint import PART, from_bytes, model_tensors, sync_folder, write_durably
from lib.model import GPT
from lib.pretrained import transformers_names

# --- An adapter, and a layer that can wear it ----------------------------------------------------


@dataclass(frozen=True)
class LoRAConfig:
    """What an adapter is like. Raises ValueError for values that make no sense."""

    rank: int = 8  # r: rows of A and columns of B
    alpha: float = 16.0  # the update is (alpha / rank) B A
    targets: tuple[str, ...] = ("blocks",)  # parts of the names of the linear layers that learn
    dropout: float = 0.0  # share of an adapter's inputs set to zero in training

    def __post_init__(self):
        whole = isinstance(self.rank, Integral) and not isinstance(self.rank, bool)
        if not whole or self.rank < 1:
            raise ValueError(f"rank is {self.rank!r}; choose a whole number, 1 or more, such as 8")
        if not isinstance(self.alpha, Real) or not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha is {self.alpha!r}; choose a positive number, such as 16")
        if not isinstance(self.dropout, Real) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout!r}; choose a share from 0 to below 1")
        names = isinstance(self.targets, (tuple, list)) and self.targets
        if not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f'targets is {self.targets!r}; pass a tuple of names: ("attention",)')


class Adapter(nn.Module):
    """The update of one linear layer: B A, scaled by alpha / rank. A (r, n_in), B (n_out, r).

    B begins as zeros, so that the update does too, and A at random, so that B has a gradient.
    """

    def __init__(self, n_in: int, n_out: int, config: LoRAConfig, generator=None):
        super().__init__()
        self.config, self.scale = config, config.alpha / config.rank
        A = torch.empty(config.rank, n_in)
        self.A = nn.Parameter(A.uniform_(-1, 1, generator=generator) / math.sqrt(n_in))
        self.B = nn.Parameter(torch.zeros(n_out, config.rank))

    def delta(self) -> torch.Tensor:
        """The update as a matrix like the layer's own, (n_out, n_in)."""
        return self.scale * self.B @ self.A

    def add_to(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """y + x deltaᵀ, without ever making delta: y (N, n_out), x (N, n_in) -> (N, n_out)."""
        x = F.dropout(x, self.config.dropout, self.training) if self.config.dropout else x
        return torch.addmm(y, F.linear(x, self.A), self.B.T, alpha=self.scale)  # (N, r) in between


class LoRALinear(nn.Module):
    """A linear layer with any number of adapters by name, of which one or none is active.

    base: the layer, nn.Linear or `FourBitLinear`. While `merged`, the base holds the update.
    model_hash: `hash_of_base` of the model that the layer belongs to.
    """

    def __init__(self, base: nn.Module, model_hash: str = ""):
        super().__init__()
        self.base, self.adapters = base, nn.ModuleDict()
        self.active, self.merged, self.model_hash = None, False, model_hash

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., n_in) -> (..., n_out)."""
        if self.active is None or self.merged:
            return self.base(x)
        rows = x.reshape(-1, x.shape[-1])  # (..., n_in) -> (N, n_in)
        y = self.adapters[self.active].add_to(self.base(rows), rows)  # (N, n_out)
        return y.view(*x.shape[:-1], y.shape[-1])


# --- A model with adapters -----------------------------------------------------------------------


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that an adapter sits on, or could: all that have in_features and out_features."""
    found = {}
    for name, part in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        linear = hasattr(part, "in_features") and hasattr(part, "out_features")
        if (linear or isinstance(part, LoRALinear)) and not inside:
            found[name] = part
    return found


def find_targets(model: nn.Module, targets: Iterable[str]) -> dict[str, nn.Module]:
    """The linear layers whose name contains one of the targets, in whole parts.

    "attention.qkv" finds blocks.0.attention.qkv and its like, "blocks.1" not blocks.10. ValueError
    for a target that finds nothing, and for a layer that shares its matrix with another part.
    """
    layers, found = linear_layers(model), {}
    for target in targets:
        new = {n: layer for n, layer in layers.items() if f".{target}." in f".{n}."}
        if not new:
            names = dict.fromkeys(re.sub(r".*\.\d+\.", "", name) for name in layers)
            raise ValueError(f"no linear layer is called {target!r}; there are {', '.join(names)}")
        found |= new
    owners = [id(part._parameters["weight"]) for part in model.modules() if has_weight(part)]
    for name, layer in found.items():
        if has_weight(layer) and owners.count(id(layer.weight)) > 1:
            raise ValueError(
                f"{name} shares its matrix with another part of the model, which a merged update "
                "would change too; leave it out of targets"
            )
    return {name: layer for name, layer in layers.items() if name in found}


def has_weight(part: nn.Module) -> bool:
    """Whether a part of a model has a matrix of its own that could be learned."""
    return part._parameters.get("weight") is not None


def add_lora(
    model: nn.Module, config: LoRAConfig, name: str = "default", generator=None
) -> list[str]:
    """Freeze a model and give it a new adapter, which has no effect yet and is the active one.

    Returns the names of the layers that wear it. Raises ValueError for a name that is taken or
    cannot be one, for targets as in `find_targets`, and while an adapter is merged.
    """
    if not re.fullmatch(r"\w[\w-]*", str(name)) or hasattr(nn.ModuleDict(), str(name)):
        raise ValueError(
            f"an adapter cannot be called {name!r}; take another word, such as 'poems'"
        )
    if name in adapter_names(model):
        raise ValueError(f"there is an adapter {name!r} already; choose another name")
    refuse_merged(model)
    found, model_hash = find_targets(model, config.targets), hash_of_base(model)
    for place, layer in found.items():
        if not isinstance(layer, LoRALinear):
            layer = LoRALinear(layer, model_hash).train(layer.training)
            model.set_submodule(place, layer)
        device = next(iter(layer.base.state_dict().values())).device
        sizes = layer.base.in_features, layer.base.out_features
        adapter = Adapter(*sizes, config, generator).to(device)
        layer.adapters[name] = adapter.train(layer.training)
    use_adapter(model, name)
    return list(found)


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """The layers that have adapters, by name."""
    return {name: part for name, part in model.named_modules() if isinstance(part, LoRALinear)}


def adapter_names(model: nn.Module) -> list[str]:
    """The names of a model's adapters."""
    return list(dict.fromkeys(n for layer in lora_layers(model).values() for n in layer.adapters))


def hash_of_base(model: nn.Module) -> str:
    """SHA-256 of all weights of a model, as they were when it got its first adapter.

    Merging and unmerging rounds the weights, so the layers keep what was computed before.
    """
    for layer in lora_layers(model).values():
        return layer.model_hash
    digest = hashlib.sha256()
    for name, tensor in sorted(model_tensors(model).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def refuse_merged(model: nn.Module) -> None:
    """Refuse a model whose weights hold an adapter already."""
    if any(layer.merged for layer in lora_layers(model).values()):
        raise ValueError("an adapter is merged into the weights; call unmerge(model) first")


def use_adapter(model: nn.Module, name: str | None) -> None:
    """Make one adapter the active one, the only part of the model that learns; None: none.

    Raises ValueError for a name that there is not, and while an adapter is merged.
    """
    refuse_merged(model)
    if name is not None and name not in adapter_names(model):
        there = ", ".join(adapter_names(model)) or "none"
        raise ValueError(f"there is no adapter {name!r}; there are: {there}")
    model.requires_grad_(False)
    for layer in lora_layers(model).values():
        layer.active = name if name in layer.adapters else None
        if layer.active:
            layer.adapters[name].requires_grad_(True)


def active_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """The layers on which the active adapter sits; ValueError if none is active."""
    found = {name: layer for name, layer in lora_layers(model).items() if layer.active}
    if not found:
        raise ValueError("no adapter is active; call add_lora or use_adapter first")
    return found


def lora_parameters(model: nn.Module) -> list[nn.Parameter]:
    """A and B of every layer of the active adapter: all that an optimizer is to move."""
    layers = active_layers(model).values()
    return [matrix for layer in layers for matrix in layer.adapters[layer.active].parameters()]


# --- Merged: no adapter, no cost -----------------------------------------------------------------


@torch.no_grad()
def merge(model: nn.Module) -> None:
    """Add the active adapter's update to the weights. The outputs stay, the extra work goes.

    Raises ValueError if one is merged already, and where the base is stored in four bits.
    """
    refuse_merged(model)
    layers = active_layers(model)
    for name, layer in layers.items():
        if not isinstance(layer.base, nn.Linear):
            raise ValueError(
                f"{name} is stored in four bits, which would round the sum once more; keep the "
                "adapter beside it, or merge it into the model that was quantised"
            )
    for layer in layers.values():
        adapter = layer.adapters[layer.active]
        layer.base.weight.add_(adapter.delta())
        layer.merged = True
        adapter.requires_grad_(False)  # nothing flows through it now


@torch.no_grad()
def unmerge(model: nn.Module) -> None:
    """Take the update out of the weights again, up to rounding. ValueError if none is merged."""
    layers = [layer for layer in lora_layers(model).values() if layer.merged]
    if not layers:
        raise ValueError("no adapter is merged, so there is nothing to take out")
    for layer in layers:
        adapter = layer.adapters[layer.active]
        layer.base.weight.sub_(adapter.delta())
        layer.merged = False
        adapter.requires_grad_(True)


def unload(model: nn.Module) -> None:
    """Put the plain layers back, merged as they are; the adapters are gone. All stays frozen."""
    for name, layer in lora_layers(model).items():
        model.set_submodule(name, layer.base)


# --- Only the adapter is saved, in the layout of peft --------------------------------------------

FILES = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."  # what peft puts before each of transformers' names
HASH = "base_sha256"  # in the metadata of the tensors' file, which peft does not look at


def their_layers(model: nn.Module) -> dict[str, str]:
    """What transformers calls each linear layer of a model, by our name."""
    with torch.device("meta"):  # shapes without numbers: only the names are needed
        names = transformers_names(type(model)(model.config))
    ours = linear_layers(model)
    return {
        place: names[f"{place}.weight"].removesuffix(".weight")
        for place in ours
        if f"{place}.weight" in names
    }


def save_adapter(
    folder: str | os.PathLike,
    model: nn.Module,
    name: str = "default",
    base: str | os.PathLike = "",
) -> None:
    """Write one adapter, and nothing of the base, as peft does: two files in a folder.

    base: the folder or the name of the model that it belongs to, for peft's users. Its hash is
    written in any case (`hash_of_base`). Raises ValueError for a name that there is not.
    """
    names = their_layers(model)
    layers = {p: x.adapters[name] for p, x in lora_layers(model).items() if name in x.adapters}
    if not layers:
        there = ", ".join(adapter_names(model)) or "none"
        raise ValueError(f"there is no adapter {name!r}; there are: {there}")
    tensors = {}
    for place, adapter in layers.items():
        for letter in "AB":
            matrix = getattr(adapter, letter).detach().cpu()
            tensors[f"{PREFIX}{names[place]}.lora_{letter}.weight"] = matrix
    config = next(iter(layers.values())).config
    facts = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": int(config.rank),
        "lora_alpha": float(config.alpha),
        "lora_dropout": float(config.dropout),
        "target_modules": [names[place] for place in layers],
        "fan_in_fan_out": isinstance(model, GPT),  # GPT-2 of transformers stores Wᵀ
        "bias": "none",
        "inference_mode": True,
    }
    folder, text = Path(folder), json.dumps(facts, indent=1)
    matrices = save(tensors, {"format": "pt", HASH: hash_of_base(model)})
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in zip(FILES, (matrices, text.encode()), strict=True):
        write_durably(folder / (file + PART), data)
        os.replace(folder / (file + PART), folder / file)
    sync_folder(folder)


# What an adapter_config.json may say of the start, and what it must not say at all: adapters that
# compute something else than (alpha / r) B A, or sit on a base that was changed for them.
PLAIN_STARTS = [True, False, None, "gaussian", "eva", "orthogonal", "mica"]
OTHER_KINDS = (
    *("use_dora", "use_rslora", "use_qalora", "use_bdlora", "rank_pattern", "alpha_pattern"),
    *("modules_to_save", "layer_replication", "alora_invocation_tokens", "lora_bias"),
    *("kasa_config", "monteclora_config", "arrow_config"),
)


def read_adapter(folder: str | os.PathLike) -> tuple[dict, dict[str, torch.Tensor], str]:
    """The config, the tensors and the hash of the base that `save_adapter` or peft wrote.

    The hash is "" if the file has none, as peft's. ValueError if the files are not there or
    damaged, and for kinds of adapters that this module lacks.
    """
    folder = Path(folder)
    try:
        data, facts = (folder / FILES[0]).read_bytes(), json.loads((folder / FILES[1]).read_bytes())
        if not isinstance(facts, dict):
            raise ValueError(f"{FILES[1]} is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{folder} holds no adapter that can be read ({reason}); it needs {FILES[0]} and "
            f"{FILES[1]}, as save_adapter and peft write them"
        ) from None
    plain = {"peft_type": ["LORA"], "bias": ["none"], "init_lora_weights": PLAIN_STARTS}
    strange = [key for key, values in plain.items() if facts.get(key, values[0]) not in values]
    strange += [key for key in OTHER_KINDS if facts.get(key)]
    if strange or not {"peft_type", "r", "lora_alpha"} <= facts.keys():
        what = ", ".join(f"{key} = {facts[key]!r}" for key in strange)
        what = what or "no peft_type, no r or no lora_alpha"
        raise ValueError(f"{folder}: {what}; only plain LoRA without biases can be loaded here")
    tensors = from_bytes(data, folder / FILES[0])
    if not all(t.is_floating_point() and t.isfinite().all() for t in tensors.values()):
        raise ValueError(
            f"{folder} holds numbers that are not finite, or whole ones; take an earlier state of "
            "the run that made it"
        )
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return facts, tensors, header.get("__metadata__", {}).get(HASH, "")


@torch.no_grad()
def load_adapter(
    folder: str | os.PathLike, model: nn.Module, name: str = "default", any_base: bool = False
) -> LoRAConfig:
    """Give a model an adapter that `save_adapter` or peft wrote, and make it the active one.

    any_base: also if the file says that it was trained beside other weights. ValueError for such
    a file otherwise, and for tensors that do not fit the model; then the model is as it was.
    """
    facts, tensors, base_hash = read_adapter(folder)
    rank = LoRAConfig(facts["r"], facts["lora_alpha"]).rank  # refused, if it is no rank
    found, wanted = {}, {}
    for place, theirs in their_layers(model).items():
        pair = [f"{PREFIX}{theirs}.lora_{letter}.weight" for letter in "AB"]
        if tensors.keys() & set(pair):
            found[place] = pair
            layer = linear_layers(model)[place]
            layer = layer.base if isinstance(layer, LoRALinear) else layer
            shapes = (rank, layer.in_features), (layer.out_features, rank)
            wanted |= dict(zip(pair, shapes, strict=True))
    for key in [*wanted, *sorted(tensors)]:
        here = wanted.get(key, "no such tensor")
        there = tuple(tensors[key].shape) if key in tensors else "no such tensor"
        if here != there:
            raise ValueError(
                f"{key}: this model needs {here}, but {folder} has {there}; load the adapter into "
                "the model that it was trained on"
            )
    if base_hash not in ("", hash_of_base(model)) and not any_base:
        raise ValueError(
            f"{folder} was trained beside other weights ({facts.get('base_model_name_or_path')}) "
            "than this model's; load it into those, or pass any_base=True if they may differ"
        )
    if not found:
        raise ValueError(f"{folder} has no tensor at all; save the adapter again")
    config = LoRAConfig(rank, facts["lora_alpha"], tuple(found), facts.get("lora_dropout", 0.0))
    add_lora(model, config, name)
    for place, pair in found.items():
        adapter = lora_layers(model)[place].adapters[name]
        for own, key in zip((adapter.A, adapter.B), pair, strict=True):
            own.copy_(tensors[key])
    return config


# --- QLoRA's idea: the frozen base in four bits --------------------------------------------------

BLOCK = 32  # weights that share a scale and a lowest value


def pack_four_bit(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights (n_out, n_in) in blocks of 32, as GGUF's Q4_1: w ≈ low + scale · code, code 0 to 15.

    Returns codes (n_out, n_in / 32, 16), two in a byte: the first 16 weights of a block in the low
    halves, the others in the high ones; and scale and low (n_out, n_in / 32) in float16. Five bits
    a weight in all. Raises ValueError for an n_in that is no multiple of 32, and for a weight that
    is not finite.
    """
    if weights.ndim != 2 or weights.shape[1] % BLOCK:
        raise ValueError(
            f"the weights have shape {tuple(weights.shape)}; pass a matrix whose rows have a "
            f"multiple of {BLOCK} weights"
        )
    if not weights.isfinite().all():
        raise ValueError("some weights are infinite or no numbers; load the model anew")
    blocks = weights.detach().float().unflatten(1, (-1, BLOCK))  # (n_out, n_in / 32, 32)
    low, high = blocks.amin(2), blocks.amax(2)
    scale = (high - low) / 15
    codes = (blocks - low[..., None]) / scale[..., None].clamp(min=1e-12)
    codes = codes.round().clamp(0, 15).to(torch.uint8)
    return codes[..., :16] | codes[..., 16:] << 4, scale.half(), low.half()


def unpack_four_bit(codes: torch.Tensor, scale: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """The weights (n_out, n_in) in float32 that `pack_four_bit` has rounded.

    >>> unpack_four_bit(*pack_four_bit(torch.arange(32.0)[None]))[0, :4]
    tensor([0.0000, 0.0000, 2.0664, 2.0664])
    """
    halves = torch.cat([codes & 15, codes >> 4], dim=2)  # (n_out, n_in / 32, 32)
    return torch.addcmul(low.float()[..., None], scale.float()[..., None], halves).flatten(1)


class FourBitProduct(torch.autograd.Function):
    """x Wᵀ for a W in four bits, which is unpacked twice rather than kept for the backward pass."""

    @staticmethod
    def forward(ctx, x, codes, scale, low):
        """x (..., n_in) -> (..., n_out)."""
        ctx.save_for_backward(codes, scale, low)
        return F.linear(x, unpack_four_bit(codes, scale, low))

    @staticmethod
    def backward(ctx, gradient):
        """The gradient for x alone: W is frozen."""
        return gradient @ unpack_four_bit(*ctx.saved_tensors), None, None, None


class FourBitLinear(nn.Module):
    """A linear layer that does not learn, its matrix in four bits (`pack_four_bit`)."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        packed = pack_four_bit(linear.weight)
        for name, tensor in zip(("codes", "scale", "low"), packed, strict=True):
            self.register_buffer(name, tensor)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone())
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., n_in) -> (..., n_out)."""
        y = FourBitProduct.apply(x, self.codes, self.scale, self.low)
        return y if self.bias is None else y + self.bias


def to_four_bit(model: nn.Module, targets: Iterable[str] = ("blocks",)) -> list[str]:
    """Store the linear layers that `find_targets` finds in four bits; return their names.

    ValueError for layers that wear adapters already, which learned beside the exact weights.
    """
    found = {n: x for n, x in find_targets(model, targets).items() if type(x) is not FourBitLinear}
    if any(isinstance(layer, LoRALinear) for layer in found.values()):
        raise ValueError("some layers wear adapters already; call to_four_bit before add_lora")
    packed = {name: FourBitLinear(layer) for name, layer in found.items()}  # all of them, or none
    for name, layer in packed.items():
        model.set_submodule(name, layer)
    return list(found)
