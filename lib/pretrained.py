"""Weights that others have trained, in the course's own models, and back (chapter 10).

Two kinds of files are read: safetensors, which training frameworks write, and GGUF, in which
quantised models travel. Neither can run code. What a file claims is checked before it is believed.
"""

import json
import math
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import regex
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from lib.checkpoint import PART, check_shapes, facts_of, model_tensors, write_durably
from lib.data import END
from lib.llama import Llama, LlamaConfig
from lib.model import GPT, GPTConfig
from lib.tokenizer import Tokenizer, allow_special, to_utf8, tokenizer_json, unspell

# --- Names ---------------------------------------------------------------------------------------

# What others call the parts of our models: "blocks.3.norm1.weight" is "transformer.h.3.ln_1.weight"
# in a file of GPT-2.
GPT2_PARTS = {
    "token_embedding": "transformer.wte",
    "position_embedding": "transformer.wpe",
    "blocks": "transformer.h",
    "norm1": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.proj": "attn.c_proj",
    "norm2": "ln_2",
    "mlp.fc": "mlp.c_fc",
    "mlp.proj": "mlp.c_proj",
    "norm": "transformer.ln_f",
    "head": "lm_head",
}
LLAMA_PARTS = {
    "token_embedding": "model.embed_tokens",
    "blocks": "model.layers",
    "norm1": "input_layernorm",
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.proj": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "norm2": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
    "norm": "model.norm",
    "head": "lm_head",
}
GGUF_PARTS = {
    "token_embedding": "token_embd",
    "blocks": "blk",
    "norm1": "attn_norm",
    "attention.q": "attn_q",
    "attention.k": "attn_k",
    "attention.v": "attn_v",
    "attention.proj": "attn_output",
    "attention.q_norm": "attn_q_norm",
    "attention.k_norm": "attn_k_norm",
    "norm2": "ffn_norm",
    "mlp.gate": "ffn_gate",
    "mlp.up": "ffn_up",
    "mlp.down": "ffn_down",
    "norm": "output_norm",
    "head": "output",
}


def rename(name: str, parts: Mapping[str, str]) -> str:
    """The name of one of our tensors in the words of `parts`.

    >>> rename("blocks.3.attention.q.weight", GGUF_PARTS)
    'blk.3.attn_q.weight'
    """
    part, kind = name.rsplit(".", 1)
    if not part.startswith("blocks."):
        return f"{parts[part]}.{kind}"
    _, i, part = part.split(".", 2)
    return f"{parts['blocks']}.{i}.{parts[part]}.{kind}"


def transformers_names(model: nn.Module) -> dict[str, str]:
    """For each tensor of a GPT or a Llama, by our name, the name that transformers gives it.

    Raises ValueError for a model of another kind.
    """
    parts = {GPT: GPT2_PARTS, Llama: LLAMA_PARTS}.get(type(model))
    if parts is None:
        raise ValueError(f"a {type(model).__name__} has no other names; pass a GPT or a Llama")
    return {name: rename(name, parts) for name in model_tensors(model)}


def is_transposed(model: nn.Module, name: str) -> bool:
    """Whether transformers keeps this matrix the other way round, as (in, out).

    GPT-2's layers do: they were written as convolutions of width one, once.
    """
    return type(model) is GPT and name.startswith("blocks.") and model_tensors(model)[name].ndim > 1


# --- From a file's tensors to a model ------------------------------------------------------------

# What a public file may hold besides weights: masks, and angles that are computed anew here.
NO_WEIGHTS = re.compile(r"\.attn\.(masked_)?bias$|\.rotary_emb\.inv_freq$")


def check_tensors(model: nn.Module, source, names: Mapping[str, str]) -> None:
    """`check_shapes` for a model and an opened file, whose tensors go by `names`."""
    ours = model_tensors(model)
    wanted = {
        names[n]: tuple(t.shape)[::-1] if is_transposed(model, n) else tuple(t.shape)
        for n, t in ours.items()
    }
    unused = {names[n] for n in names if n not in ours}  # a head that is the embedding
    found = {
        name: shape
        for name, shape in source.shapes.items()
        if not NO_WEIGHTS.search(name) and name not in unused
    }
    check_shapes(wanted, found, source.path)


def sketch(config: GPTConfig | LlamaConfig, source) -> GPT | Llama:
    """The model of a config without memory for its numbers: what it claims, to be checked.

    Raises ValueError if an opened file has fewer tensors than the model has blocks.
    """
    if config.n_layer > len(source.shapes):
        raise ValueError(
            f"the config says {config.n_layer:,} blocks, but {source.path} has only "
            f"{len(source.shapes)} tensors; the config and the weights must be of the same model"
        )
    with torch.device("meta"):
        return GPT(config) if isinstance(config, GPTConfig) else Llama(config)


@torch.no_grad()
def fill_from(model: nn.Module, source, names: Mapping[str, str], change: Callable | None = None):
    """Copy the tensors of an opened file into a GPT or a Llama, one at a time.

    source: has `path`, `shapes` (name -> shape) and `read(name)`. names: theirs for each of ours.
    change(name, tensor): what their tensor is in our order. Raises ValueError, before anything is
    read, if a tensor is missing, superfluous or of another shape.
    """
    check_tensors(model, source, names)
    for name, weights in model_tensors(model).items():
        tensor = source.read(names[name])
        tensor = tensor.T if is_transposed(model, name) else tensor
        weights.copy_(change(name, tensor) if change else tensor)


# --- safetensors ---------------------------------------------------------------------------------


def read_json(path: Path) -> dict:
    """A JSON file that holds an object; ValueError if it is missing, or anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path} cannot be read ({reason}); fetch the whole model again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object; fetch the whole model again")
    return content


def object_in(content: Mapping, name: str, path) -> Mapping:
    """The JSON object of that name, empty if there is none; ValueError if it is no object."""
    found = content.get(name)
    if found is not None and not isinstance(found, Mapping):
        raise ValueError(f"{path} has no JSON object in {name}; fetch the whole model again")
    return found or {}


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: one, or, where that is missing, those of its index.

    Raises ValueError if there is none, or if one of them is not there.
    """
    index, names = folder / "model.safetensors.index.json", ["model.safetensors"]
    if index.exists() and not (folder / names[0]).exists():
        listed = object_in(read_json(index), "weight_map", index)
        names = sorted({str(name) for name in listed.values()})
    files = [folder / Path(name).name for name in names]
    missing = [path.name for path in files if not path.is_file()]
    if missing or not files:
        raise ValueError(
            f"{folder} lacks {', '.join(missing) or 'weights'}; fetch the whole model, in "
            "safetensors: a pickle (pytorch_model.bin) can run any code, and is not read here"
        )
    return files


class Safetensors:
    """The tensors of one or more safetensors files: their `shapes`, and `read` for one of them.

    Raises ValueError for a file of another kind, or one that is cut short.
    """

    def __init__(self, files: Sequence[Path]):
        self.path, self.files, self.shapes = files[0].parent, {}, {}
        for path in files:
            try:
                opened = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise ValueError(
                    f"{path} is no whole safetensors file ({error}); fetch it again, and take no "
                    "pickle in its place"
                ) from None
            for name in opened.keys():  # noqa: SIM118 - it is no dictionary
                if name in self.files:
                    raise ValueError(f"{name} stands in two files of {self.path}; keep one of them")
                self.files[name] = opened
                self.shapes[name] = tuple(opened.get_slice(name).get_shape())

    def read(self, name: str) -> torch.Tensor:
        """The tensor of that name, in the file's own dtype; ValueError for whole numbers."""
        tensor = self.files[name].get_tensor(name)
        if not tensor.is_floating_point():
            raise ValueError(
                f"{name} of {self.path} holds whole numbers ({tensor.dtype}), which are no "
                "weights; fetch the model as it was before it was quantised"
            )
        return tensor


# What the config.json of a Llama or Qwen3 must say to be one of ours; None: nothing.
LLAMA_ONLY = {
    "hidden_act": [None, "silu"],
    "attention_bias": [None, False],
    "mlp_bias": [None, False],
    "rope_scaling": [None],
    "rope_type": [None, "default"],
    "use_sliding_window": [None, False],
    "partial_rotary_factor": [None, 1.0],
    "quantization_config": [None],
    "tie_word_embeddings": [None, False, True],
}
ONLY = {
    "gpt2": {
        "activation_function": [None, "gelu_new", "gelu_pytorch_tanh"],
        "layer_norm_epsilon": [None, 1e-5],
        "scale_attn_weights": [None, True],
        "scale_attn_by_inverse_layer_idx": [None, False],
        "add_cross_attention": [None, False],
        "quantization_config": [None],
        "tie_word_embeddings": [None, False, True],
    },
    "llama": LLAMA_ONLY,
    "qwen3": LLAMA_ONLY,
}


def check_kind(content: Mapping, path) -> None:
    """Refuse a config.json whose model ours would not compute alike, and say what it is in."""
    kind = content.get("model_type")
    if kind is None and "config" in content:
        raise ValueError(f"{path} was written by save_model; read it with load_model")
    if not isinstance(kind, str) or kind not in ONLY:
        raise ValueError(f"{path} is of type {kind!r}; those read here are {', '.join(ONLY)}")
    for name, allowed in ONLY[kind].items():
        if content.get(name) not in allowed:
            raise ValueError(
                f"{path} has {name} = {content[name]!r}, which the course's models do not have "
                f"(only {allowed[-1]!r}); load it with transformers"
            )
    n_inner, n_embd = content.get("n_inner"), content.get("n_embd")
    if kind == "gpt2" and isinstance(n_embd, int) and n_inner not in (None, 4 * n_embd):
        raise ValueError(f"{path}: the MLP is not four times as wide; load it with transformers")


def config_from(content: Mapping, path) -> GPTConfig | LlamaConfig:
    """The config of one of our models for the content of a transformers `config.json`.

    Raises ValueError for a model that ours would not compute alike, and for sizes that are missing.
    """
    content = {**content, **object_in(content, "rope_parameters", path)}
    check_kind(content, path)
    try:
        if content["model_type"] == "gpt2":
            sizes = ("vocab_size", "n_positions", "n_layer", "n_head", "n_embd")
            tied = content.get("tie_word_embeddings", True)
            return GPTConfig(*map(content.__getitem__, sizes), tied=tied)
        return LlamaConfig(
            vocab_size=content["vocab_size"],
            context_length=content["max_position_embeddings"],
            n_layer=content["num_hidden_layers"],
            n_head=content["num_attention_heads"],
            n_kv_head=content.get("num_key_value_heads") or content["num_attention_heads"],
            n_embd=content["hidden_size"],
            n_hidden=content["intermediate_size"],
            head_dim=content.get("head_dim"),
            rope_base=content.get("rope_theta", 10_000.0),
            norm_eps=content.get("rms_norm_eps", 1e-6),
            tied=content.get("tie_word_embeddings", False),
            qk_norm=content["model_type"] == "qwen3",
        )
    except KeyError as error:
        raise ValueError(f"{path} does not say {error}; fetch the whole model again") from None


def fetch_from_hub(name: str) -> Path:
    """The folder of a public model of the Hugging Face hub, "owner/name", fetched if need be.

    Only configs, tokenizers and safetensors are fetched, and the weights compared with the hashes
    that the hub publishes. Offline, what was fetched before is used. Raises ValueError if it cannot
    be had, or if a hash differs.
    """
    from huggingface_hub import HfApi, snapshot_download  # only those who are online need it

    wanted = ["*.json", "*.safetensors"]
    try:
        info = HfApi().model_info(name, files_metadata=True, timeout=20)
        folder = Path(snapshot_download(name, revision=info.sha, allow_patterns=wanted))
    except Exception as error:  # whatever a network can throw
        try:
            return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
        except Exception:
            raise ValueError(
                f"{name} is no folder here, and the hub did not give it ({type(error).__name__}); "
                "check the name and the network, or pass the folder of a model"
            ) from error
    for file in info.siblings:
        path = folder / file.rfilename
        if file.lfs and path.exists() and facts_of(path.read_bytes())["sha256"] != file.lfs.sha256:
            raise ValueError(
                f"{path} is damaged: its hash is not the hub's; delete it, and {path.resolve()} "
                "where its bytes are kept, and try again"
            )
    return folder


def load_pretrained(where: str | os.PathLike) -> GPT | Llama:
    """A GPT-2, Llama or Qwen3 in transformers' format, as one of ours: float32, evaluation mode.

    where: a folder with config.json and safetensors, or, for those online, a name of the Hugging
    Face hub such as "openai-community/gpt2". Raises ValueError for anything that does not fit.
    """
    folder = Path(where)
    if folder.is_file():
        raise ValueError(
            f"{folder} is a file; pass the folder that it lies in, or use load_gguf for a GGUF"
        )
    if not folder.is_dir():
        folder = fetch_from_hub(str(where))
    config = config_from(read_json(folder / "config.json"), folder / "config.json")
    source = Safetensors(weight_files(folder))
    model = sketch(config, source)
    names = transformers_names(model) | {"head.weight": "lm_head.weight"}
    if isinstance(model, GPT) and "wte.weight" in source.shapes:  # as GPT-2 was published
        names = {ours: theirs.removeprefix("transformer.") for ours, theirs in names.items()}
    check_tensors(model, source, names)  # before there is memory for it
    model = type(model)(config)
    fill_from(model, source, names)
    return model.eval()


def config_for_transformers(model: GPT | Llama, end_id: int | None) -> dict:
    """What `config.json` says of one of our models, for transformers to build the same."""
    c, architecture = model.config, "GPT2LMHeadModel"
    content = {"vocab_size": c.vocab_size, "tie_word_embeddings": c.tied, "dtype": "float32"}
    content |= {"bos_token_id": end_id, "eos_token_id": end_id}
    if isinstance(model, GPT):
        dropout = {f"{part}_pdrop": c.dropout for part in ("resid", "embd", "attn")}
        content |= {"n_positions": c.context_length, "n_layer": c.n_layer, "n_head": c.n_head}
        content |= {"model_type": "gpt2", "n_embd": c.n_embd, **dropout}
    else:
        architecture = "Qwen3ForCausalLM" if c.qk_norm else "LlamaForCausalLM"
        content |= {
            "model_type": "qwen3" if c.qk_norm else "llama",
            "max_position_embeddings": c.context_length,
            "num_hidden_layers": c.n_layer,
            "num_attention_heads": c.n_head,
            "num_key_value_heads": c.n_kv_head,
            "hidden_size": c.n_embd,
            "intermediate_size": c.n_hidden,
            "head_dim": c.head_dim,
            "rope_theta": c.rope_base,
            "rms_norm_eps": c.norm_eps,
        }
    return content | {"architectures": [architecture]}


def tensors_for_transformers(model: GPT | Llama) -> dict[str, torch.Tensor]:
    """The tensors of one of our models by transformers' names and in its order.

    A GPT without biases gets biases of zero, for transformers' GPT-2 always has some.
    """
    tensors, names = model_tensors(model), transformers_names(model)
    found = {names[n]: t.T if is_transposed(model, n) else t for n, t in tensors.items()}
    if isinstance(model, GPT) and not model.config.bias:
        for name, tensor in list(found.items()):
            if ".h." in name or ".ln_f." in name:
                found[name.replace(".weight", ".bias")] = tensor.new_zeros(tensor.shape[-1])
    return {name: tensor.detach().contiguous() for name, tensor in found.items()}


def save_for_transformers(
    folder: str | os.PathLike, model: GPT | Llama, tokenizer: Tokenizer | None = None
) -> None:
    """Write a model so that `AutoModelForCausalLM.from_pretrained(folder)` computes the same.

    With a tokenizer, `AutoTokenizer` finds it there too. Each file is whole, or not there; choose
    an empty folder, for what another model left there would stay beside this one. Raises ValueError
    for a model of another kind than GPT and Llama.
    """
    folder = Path(folder)
    tensors = tensors_for_transformers(model)
    end_id = None if tokenizer is None else tokenizer.special_tokens.get(END)
    files = {"config.json": config_for_transformers(model, end_id)}
    if tokenizer is not None:
        facts = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END}
        facts["model_max_length"] = model.config.context_length
        files |= {"tokenizer.json": describe_tokenizer(tokenizer), "tokenizer_config.json": facts}
    data = {n: json.dumps(f, ensure_ascii=False, indent=2).encode() for n, f in files.items()}
    data["model.safetensors"] = save(tensors, {"format": "pt"})
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in data.items():
        part = folder / (name + PART)
        try:
            write_durably(part, content)
            os.replace(part, folder / name)
        finally:
            part.unlink(missing_ok=True)


# --- SmolLM2's tokenizer -------------------------------------------------------------------------

DIGITS_ALONE = regex.compile(r"\p{N}|[^\p{N}]+")


class DigitTokenizer(Tokenizer):
    """Byte-level BPE in which every digit is a token of its own, and bytes may be missing.

    So SmolLM2 reads. A byte that its vocabulary lacks gets an id from vocab_size on; a text that
    needs one is refused with a ValueError.
    """

    def __init__(self, tokens: Sequence[bytes], merges, special_tokens: Sequence[str] = ()):
        known = set(tokens)
        missing = [bytes([byte]) for byte in range(256) if bytes([byte]) not in known]
        super().__init__([*tokens, *missing], merges, special_tokens)
        self.vocab_size = len(tokens)

    def encode(self, text: str, allowed_special=()) -> list[int]:
        """Turn text into a list of ids. A special token counts as plain text unless allowed."""
        special_ids, ids = allow_special(self.special_tokens, allowed_special), []
        longest_first = sorted(special_ids, key=len, reverse=True)
        cuts = "|".join(map(regex.escape, longest_first))
        for part in regex.split(f"({cuts})", text) if cuts else [text]:
            if part in special_ids:
                ids.append(special_ids[part])
            else:
                pieces = DIGITS_ALONE.findall(part)
                ids += [i for piece in pieces for i in Tokenizer.encode(self, piece)]
        unknown = {self.tokens[i] for i in ids if i >= self.vocab_size}
        if unknown:
            raise ValueError(
                f"the text needs the bytes {sorted(unknown)}, which this vocabulary lacks; leave "
                "out the characters that are spelt with them"
            )
        return ids

    def encode_iterable(self, chunks, allowed_special=(), block=0, max_held=0) -> Iterator[int]:
        """Yield the ids that `encode` gives for the joined chunks."""
        yield from self.encode("".join(chunks), allowed_special)


def describe_tokenizer(tokenizer: Tokenizer) -> dict:
    """The content of `tokenizer.json`, as `tokenizer_json`; a `DigitTokenizer`'s too."""
    content = tokenizer_json(tokenizer)
    if isinstance(tokenizer, DigitTokenizer):
        digits = {"type": "Digits", "individual_digits": True}
        pretokenizers = [digits, content["pre_tokenizer"]]
        content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": pretokenizers}
        vocab = content["model"]["vocab"]
        content["model"]["vocab"] = {t: i for t, i in vocab.items() if i < tokenizer.vocab_size}
    return content


# --- GGUF ----------------------------------------------------------------------------------------

# How a value of the metadata is stored, by its type; 8 is a text and 9 a list.
GGUF_VALUES = {
    **{0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"},
    **{10: "Q", 11: "q", 12: "d"},
}


class GGUFCursor:
    """Reads the values of a GGUF file one after the other; ValueError where the file ends first."""

    def __init__(self, data: memoryview, path):
        self.data, self.path, self.place = data, path, 0

    def take(self, size: int) -> memoryview:
        """The next `size` bytes."""
        if self.place + size > len(self.data):
            raise ValueError(
                f"{self.path} ends after {len(self.data):,} bytes, within its own description; it "
                "was cut short: fetch it again"
            )
        self.place += size
        return self.data[self.place - size : self.place]

    def number(self, kind: str):
        """A number, little end first; kind as in `struct`."""
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(kind)))[0]

    def text(self) -> str:
        """A text: its length in bytes, then the bytes."""
        try:
            return bytes(self.take(self.number("Q"))).decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{self.path} has a text that is no UTF-8; it is damaged") from None

    def value(self, kind: int):
        """A value of the metadata: a number, a text, or a list of one kind."""
        if kind == 8:
            return self.text()
        if kind == 9:
            kind, n = self.number("I"), self.number("Q")
            if kind == 9:
                raise ValueError(f"{self.path} has a list of lists, which is not read here")
            return [self.value(kind) for _ in range(n)]
        if kind not in GGUF_VALUES:
            raise ValueError(f"{self.path} has a value of unknown kind {kind}; it is damaged")
        return self.number(GGUF_VALUES[kind])


def from_f32(blocks: np.ndarray) -> np.ndarray:
    """Numbers of 4 bytes: (n, 4) bytes -> (n, 1)."""
    return blocks.view("<f4")


def from_f16(blocks: np.ndarray) -> np.ndarray:
    """Numbers of 2 bytes: (n, 2) bytes -> (n, 1)."""
    return blocks.view("<f2").astype(np.float32)


def from_q8_0(blocks: np.ndarray) -> np.ndarray:
    """32 numbers in 34 bytes: a scale, then one whole number each: (n, 34) bytes -> (n, 32)."""
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)  # (n, 1)
    return scale * blocks[:, 2:].view(np.int8)


def from_q4_1(blocks: np.ndarray) -> np.ndarray:
    """32 numbers in 20 bytes: a scale, a minimum, then half a byte each: (n, 20) -> (n, 32).

    A number is scale · q + minimum, q from 0 to 15. Byte i holds number i in its lower half and
    number i + 16 in its upper half.
    """
    scale, minimum = blocks[:, :4].copy().view("<f2").astype(np.float32).T[:, :, None]  # (n, 1)
    halves = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)  # (n, 32)
    return scale * halves + minimum


class BlockFormat(NamedTuple):
    """A way to store numbers in blocks, each on its own."""

    name: str
    n_numbers: int  # in a block
    n_bytes: int  # of a block
    decode: Callable  # blocks (n, n_bytes) -> numbers (n, n_numbers)


BLOCK_FORMATS = {
    0: BlockFormat("F32", 1, 4, from_f32),
    1: BlockFormat("F16", 1, 2, from_f16),
    3: BlockFormat("Q4_1", 32, 20, from_q4_1),
    8: BlockFormat("Q8_0", 32, 34, from_q8_0),
}


class TensorInfo(NamedTuple):
    """What a GGUF file says of a tensor."""

    shape: tuple[int, ...]  # as PyTorch has it: (out, in)
    kind: int  # a key of BLOCK_FORMATS
    start: int  # of its bytes, counted from where the tensors begin


def whole_file(path: Path) -> bytes:
    """The bytes of a file; ValueError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({error.strerror}); pass a GGUF file, or its bytes"
        ) from None


def read_description(cursor: GGUFCursor) -> tuple[dict, dict[str, TensorInfo]]:
    """The metadata of a GGUF file and what it says of each tensor.

    Raises ValueError for a file of another kind, before anything else of it is read.
    """
    if len(cursor.data) < 24 or bytes(cursor.take(4)) != b"GGUF" or cursor.number("I") != 3:
        raise ValueError(f"{cursor.path} is no GGUF file of version 3; nothing of it was read")
    n_tensors, n_entries = cursor.number("Q"), cursor.number("Q")
    metadata, infos = {}, {}
    for _ in range(n_entries):
        name = cursor.text()
        if name in metadata:
            raise ValueError(f"{cursor.path} says {name} twice; it is damaged: fetch it again")
        metadata[name] = cursor.value(cursor.number("I"))
    for _ in range(n_tensors):
        name, n_dims = cursor.text(), cursor.number("I")
        if name in infos:
            raise ValueError(f"{cursor.path} has {name} twice; it is damaged: fetch it again")
        shape = tuple(cursor.number("Q") for _ in range(n_dims))[::-1]  # the fastest came first
        infos[name] = TensorInfo(shape, cursor.number("I"), cursor.number("Q"))
    return metadata, infos


class GGUF:
    """A GGUF file: `metadata`, the `shapes` of its tensors, and `read` for one of them.

    source: a path, or the bytes themselves. All is checked against the file's length before any
    tensor is read: ValueError for a file that is of another kind, damaged or cut short.
    """

    def __init__(self, source: str | os.PathLike | bytes):
        self.path = "the file" if isinstance(source, bytes) else Path(source)
        raw = source if isinstance(source, bytes) else whole_file(self.path)
        cursor = GGUFCursor(memoryview(raw), self.path)
        self.data = np.frombuffer(raw, np.uint8)
        self.metadata, self.infos = read_description(cursor)
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"{self.path} has general.alignment = {alignment!r}; it is damaged")
        self.begin = -(-cursor.place // alignment) * alignment  # rounded up
        self.shapes = {name: info.shape for name, info in self.infos.items()}
        for name in self.infos:
            self.blocks(name)

    def blocks(self, name: str) -> np.ndarray:
        """The blocks of a tensor, (number of blocks, bytes of one), without a copy."""
        shape, kind, start = self.infos[name]
        if kind not in BLOCK_FORMATS:
            known = ", ".join(f"{n} ({f.name})" for n, f in BLOCK_FORMATS.items())
            raise ValueError(
                f"{name} of {self.path} is stored in format {kind}; those read here are {known}: "
                "take the model in one of them"
            )
        block, n_numbers, start = BLOCK_FORMATS[kind], math.prod(shape), start + self.begin
        stop = start + n_numbers // block.n_numbers * block.n_bytes
        if n_numbers % block.n_numbers or stop > len(self.data):
            raise ValueError(
                f"{name} with shape {shape} does not fit into {self.path} of {len(self.data):,} "
                "bytes; it was cut short or changed: fetch it again"
            )
        return self.data[start:stop].reshape(-1, block.n_bytes)

    def read(self, name: str) -> torch.Tensor:
        """The tensor of that name, in float32."""
        numbers = BLOCK_FORMATS[self.infos[name].kind].decode(self.blocks(name))
        return torch.tensor(numbers.reshape(self.shapes[name]))


def unpermute(weight: torch.Tensor, n_head: int) -> torch.Tensor:
    """Put the rows of each head of a GGUF's queries or keys back into two halves.

    GGUF keeps the rows that rotate together side by side: 0, D/2, 1, D/2 + 1, … for a head of D
    rows. weight (n_head × D, C) -> same.

    >>> unpermute(torch.tensor([[0], [2], [1], [3]]), n_head=1).flatten().tolist()
    [0, 1, 2, 3]
    """
    pairs = weight.unflatten(0, (n_head, -1, 2))  # (n_head, D / 2, 2, C)
    return pairs.transpose(1, 2).flatten(0, 2)  # (n_head × D, C)


def config_of_gguf(file: GGUF, context_length: int | None = None) -> LlamaConfig:
    """The shape that a GGUF file's metadata describes; ValueError if it is no Llama."""
    facts = file.metadata
    if facts.get("general.architecture") != "llama":
        raise ValueError(
            f"{file.path} holds a model of type {facts.get('general.architecture')!r}; only "
            "'llama' is read here"
        )
    if facts.get("llama.rope.scaling.type", "none") != "none":
        raise ValueError(f"{file.path} has stretched rotary waves, which are not read here")
    try:
        n_head = facts["llama.attention.head_count"]
        config = LlamaConfig(
            vocab_size=(file.shapes["token_embd.weight"] or (0,))[0],
            context_length=context_length or facts["llama.context_length"],
            n_layer=facts["llama.block_count"],
            n_head=n_head,
            n_kv_head=facts.get("llama.attention.head_count_kv", n_head),
            n_embd=facts["llama.embedding_length"],
            n_hidden=facts["llama.feed_forward_length"],
            head_dim=facts.get("llama.attention.key_length"),
            rope_base=facts.get("llama.rope.freq_base", 10_000.0),
            norm_eps=facts["llama.attention.layer_norm_rms_epsilon"],
            tied="output.weight" not in file.shapes,
        )
    except KeyError as error:
        raise ValueError(f"{file.path} does not say {error}; fetch it again") from None
    turned = facts.get("llama.rope.dimension_count", config.head_dim)
    if turned != config.head_dim:
        raise ValueError(
            f"{file.path} turns {turned} of the {config.head_dim} numbers of a head by their "
            "position; only whole heads are read here"
        )
    return config


def tokenizer_of_gguf(file: GGUF) -> DigitTokenizer:
    """The tokenizer in a GGUF file of SmolLM2's kind; ValueError for another kind."""
    facts = {name.removeprefix("tokenizer.ggml."): v for name, v in file.metadata.items()}
    kind = facts.get("model"), facts.get("pre")
    if kind != ("gpt2", "smollm"):
        raise ValueError(
            f"{file.path} has a tokenizer of kind {kind}; only ('gpt2', 'smollm') is read here"
        )
    try:
        kinds = zip(facts["tokens"], facts["token_type"], strict=True)
        control = [token for token, kind in kinds if kind == 3]
        special = set(control)
        tokens = [to_utf8(t) if t in special else unspell(t) for t in facts["tokens"]]
        id_of = {token: i for i, token in enumerate(facts["tokens"])}
        merges = [tuple(id_of[part] for part in pair.split(" ")) for pair in facts["merges"]]
        return DigitTokenizer(tokens, merges, control)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{file.path} has a damaged tokenizer ({type(error).__name__}: {error}); fetch it again"
        ) from None


def load_gguf(
    source: str | os.PathLike | bytes, context_length: int | None = None
) -> tuple[Llama, DigitTokenizer]:
    """The model and the tokenizer in a GGUF file such as SmolLM2's: float32, evaluation mode.

    source: a path, or the bytes. context_length: less than the file's saves the memory of caches.
    Raises ValueError for a file that is damaged, or of another kind.
    """
    file = GGUF(source)
    config, tokenizer = config_of_gguf(file, context_length), tokenizer_of_gguf(file)
    if tokenizer.vocab_size != config.vocab_size:
        raise ValueError(
            f"{file.path} has {tokenizer.vocab_size} tokens, but embeddings for "
            f"{config.vocab_size}; it is damaged: fetch it again"
        )
    names = {name: rename(name, GGUF_PARTS) for name in model_tensors(sketch(config, file))}
    check_tensors(sketch(config, file), file, names)  # before there is memory for it
    model = Llama(config)
    n_heads = {"attention.q.weight": config.n_head, "attention.k.weight": config.n_kv_head}

    def change(name: str, tensor: torch.Tensor) -> torch.Tensor:
        n_head = n_heads.get(name.split(".", 2)[-1])
        return tensor if n_head is None else unpermute(tensor, n_head)

    fill_from(model, file, names, change)
    return model.eval(), tokenizer
