"""Chapter 10's reading and writing of public weights, against transformers and the gguf package."""

import hashlib
import json
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lib.course.corpora import load_smollm2_gguf
from lib.course.notebooks import ROOT
from lib.generation import Sampler, generate
from lib.llama import Llama, LlamaConfig
from lib.model import GPT, GPTConfig
from lib.pretrained import (
    BLOCK_FORMATS,
    GGUF,
    DigitTokenizer,
    config_of_gguf,
    load_gguf,
    load_pretrained,
    save_for_transformers,
    tokenizer_of_gguf,
    transformers_names,
    unpermute,
)
from lib.tokenizer import train_tokenizer

transformers = pytest.importorskip("transformers", reason="install the oracle extra")
gguf = pytest.importorskip("gguf", reason="install the oracle extra")


def their_config(kind: str):
    """A small model of each kind, with sizes that no two quantities share."""
    if kind == "gpt2":
        return transformers.GPT2Config(
            vocab_size=61, n_positions=32, n_embd=24, n_layer=2, n_head=3,
            bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
    sizes = {"vocab_size": 61, "max_position_embeddings": 32, "hidden_size": 24}
    sizes |= {"intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 6}
    sizes |= {"num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 0}
    sizes |= {"pad_token_id": None}
    if kind == "llama":
        return transformers.LlamaConfig(**sizes, rms_norm_eps=1e-4, tie_word_embeddings=False)
    rope = {"rope_type": "default", "rope_theta": 5000.0}
    return transformers.Qwen3Config(
        **sizes, head_dim=8, rope_parameters=rope, tie_word_embeddings=True
    )


def their_model(kind: str, seed: int = 0):
    """A model of transformers whose weights are all random, biases and norms too."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(their_config(kind)).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
    return model


KINDS = ["gpt2", "llama", "qwen3"]
IDS = torch.randint(1, 61, (3, 17), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=KINDS)
def pair(request, tmp_path):
    """(theirs, ours): the same weights, handed over through their files."""
    theirs = their_model(request.param)
    theirs.save_pretrained(tmp_path)
    return theirs, load_pretrained(tmp_path)


# --- From transformers, and back -----------------------------------------------------------------


@torch.no_grad()
def test_the_logits_are_those_of_transformers(pair):
    theirs, ours = pair
    torch.testing.assert_close(ours(IDS), theirs(IDS).logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_greedy_text_is_that_of_transformers(pair):
    theirs, ours = pair
    prompt = IDS[:1, :5]
    text = theirs.generate(
        prompt, max_new_tokens=20, do_sample=False, eos_token_id=None,
        pad_token_id=0, attention_mask=torch.ones_like(prompt),
    )  # fmt: skip
    assert generate(ours, prompt.tolist(), 20, Sampler(temperature=0)) == [text[0, 5:].tolist()]


@torch.no_grad()
def test_what_is_saved_computes_the_same_in_transformers(pair, tmp_path):
    _, ours = pair
    save_for_transformers(tmp_path / "back", ours)
    theirs, facts = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "back", output_loading_info=True
    )
    assert not any(facts.values())
    torch.testing.assert_close(theirs.eval()(IDS).logits, ours(IDS), atol=1e-5, rtol=0)


def test_what_is_saved_is_read_again(pair, tmp_path):
    _, ours = pair
    save_for_transformers(tmp_path / "back", ours)
    again = load_pretrained(tmp_path / "back")
    assert again.config == ours.config
    for name, weights in again.state_dict().items():
        assert torch.equal(weights, ours.state_dict()[name])


@torch.no_grad()
@pytest.mark.parametrize("changes", [{"bias": False}, {"tied": False}])
def test_a_gpt_of_any_shape_can_be_saved(tmp_path, changes):
    torch.manual_seed(0)
    ours = GPT(GPTConfig(61, 32, 2, 3, 24, **changes)).eval()
    save_for_transformers(tmp_path, ours)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(theirs(IDS).logits, ours(IDS), atol=1e-5, rtol=0)


@torch.no_grad()
def test_gpt2_is_read_as_it_was_published(tmp_path):
    """Without the prefix and the head, with the masks of its attention."""
    theirs = their_model("gpt2")
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors = {name.removeprefix("transformer."): t.clone() for name, t in tensors.items()}
    tensors |= {f"h.{i}.attn.bias": torch.ones(1, 1, 32, 32) for i in range(2)}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    torch.testing.assert_close(
        load_pretrained(tmp_path)(IDS), theirs(IDS).logits, atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_weights_in_several_files_are_read(tmp_path):
    theirs = their_model("llama")
    theirs.save_pretrained(tmp_path, max_shard_size=5_000)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    torch.testing.assert_close(
        load_pretrained(tmp_path)(IDS), theirs(IDS).logits, atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_a_model_saved_over_one_in_several_files_is_the_one_that_is_read(tmp_path):
    their_model("llama").save_pretrained(tmp_path, max_shard_size=5_000)
    model = load_pretrained(tmp_path)
    for weights in model.parameters():
        weights += 1
    save_for_transformers(tmp_path, model)
    again = load_pretrained(tmp_path).state_dict()
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items())


def test_tale_and_its_tokenizer_are_found_by_transformers(tmp_path):
    tokenizer = train_tokenizer(["the fox and the bear 狐狸和熊"] * 9, 300)
    torch.manual_seed(0)
    save_for_transformers(tmp_path, GPT(GPTConfig(300, 32, 1, 2, 8)), tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "the bear, 狐狸 42"
    assert theirs(text)["input_ids"] == tokenizer.encode(text)
    assert theirs.decode(tokenizer.encode(text)) == text
    assert theirs.eos_token == "<|endoftext|>" and theirs.model_max_length == 32
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.config.eos_token_id == 0


def test_every_tensor_has_a_name_of_theirs():
    for model in (GPT(GPTConfig(9, 8, 1, 1, 4)), Llama(LlamaConfig(9, 8, 1, 2, 1, 4, 8))):
        names = transformers_names(model)
        assert len(set(names.values())) == len(names)
    with pytest.raises(ValueError, match="Linear has no other names"):
        transformers_names(torch.nn.Linear(2, 2))


# --- What does not fit is refused ----------------------------------------------------------------


def saved_gpt(folder) -> dict[str, torch.Tensor]:
    their_model("gpt2").save_pretrained(folder)
    return {n: t.clone() for n, t in load_file(folder / "model.safetensors").items()}


def test_another_shape_is_told_by_name_with_both_shapes(tmp_path):
    tensors = saved_gpt(tmp_path)
    tensors["transformer.h.1.mlp.c_fc.weight"] = torch.zeros(24, 95)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"h\.1\.mlp\.c_fc\.weight.*\(24, 96\).*\(24, 95\)"):
        load_pretrained(tmp_path)


def test_missing_and_superfluous_tensors_are_told(tmp_path):
    tensors = saved_gpt(tmp_path)
    taken = tensors.pop("transformer.ln_f.bias")
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"ln_f\.bias.*\(24,\).*no such tensor"):
        load_pretrained(tmp_path)
    save_file(
        tensors | {"transformer.ln_f.bias": taken, "other.weight": taken.clone()},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(ValueError, match=r"other\.weight.*no such tensor.*\(24,\)"):
        load_pretrained(tmp_path)


def test_what_is_no_folder_of_a_model_is_refused_with_the_remedy(tmp_path):
    saved_gpt(tmp_path)
    with pytest.raises(ValueError, match="pass the folder that it lies in, or use load_gguf"):
        load_pretrained(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="read it with load_model"):
        load_pretrained(ROOT / "assets" / "checkpoints" / "tale-base")
    for path in (tmp_path, tmp_path / "missing.gguf"):
        with pytest.raises(ValueError, match="pass a GGUF file, or its bytes"):
            load_gguf(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 64])
def test_other_files_are_no_safetensors(tmp_path, content):
    saved_gpt(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_pretrained(tmp_path)


def test_a_truncated_file_is_refused(tmp_path):
    saved_gpt(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_pretrained(tmp_path)


def test_pickles_are_not_read(tmp_path):
    saved_gpt(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="can run any code"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("gpt2", {"activation_function": "relu"}, "activation_function = 'relu'"),
        ("gpt2", {"n_inner": 50}, "not four times as wide"),
        ("gpt2", {"model_type": "bert"}, "of type 'bert'"),
        ("llama", {"attention_bias": True}, "attention_bias = True"),
        ("llama", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "rope_type"),
        ("llama", {"num_key_value_heads": 4}, "multiple of n_kv_head"),
        ("qwen3", {"hidden_size": None}, "n_embd is None"),
    ],
)
def test_models_that_would_compute_something_else_are_refused(tmp_path, kind, changes, words):
    their_model(kind).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=words):
        load_pretrained(tmp_path)


def test_a_config_that_is_cut_short_is_refused(tmp_path):
    saved_gpt(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(ValueError, match="cannot be read"):
        load_pretrained(tmp_path)


class Hub:
    """The hub as `fetch_from_hub` sees it, with one model in a folder and no network."""

    def __init__(self, folder, monkeypatch, online=True):
        self.folder, self.online, self.asked = folder, online, []
        self.sha256 = "not fetched"
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: self)
        monkeypatch.setattr("huggingface_hub.snapshot_download", self.download)

    def model_info(self, name, **_):
        if not self.online:
            raise ConnectionError("no network")
        lfs = SimpleNamespace(sha256=self.sha256)
        files = [SimpleNamespace(rfilename="model.safetensors", lfs=lfs)]
        return SimpleNamespace(sha="abc", siblings=files)

    def download(self, name, revision=None, allow_patterns=(), local_files_only=False):
        self.asked.append((name, revision, local_files_only))
        if self.folder is None:
            raise FileNotFoundError("nothing here")
        return str(self.folder)


def test_a_name_that_the_hub_does_not_give_says_what_to_do(monkeypatch):
    Hub(None, monkeypatch, online=False)
    with pytest.raises(ValueError, match=r"someone/gpt is no folder here.*pass the folder"):
        load_pretrained("someone/gpt")


def test_a_name_of_the_hub_is_fetched_compared_and_read(tmp_path, monkeypatch):
    saved_gpt(tmp_path)
    hub = Hub(tmp_path, monkeypatch)
    hub.sha256 = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert load_pretrained("someone/gpt").config.n_embd == 24
    assert hub.asked == [("someone/gpt", "abc", False)]
    hub.sha256 = "0" * 64
    with pytest.raises(ValueError, match="its hash is not the hub's"):
        load_pretrained("someone/gpt")


def test_what_was_fetched_before_serves_offline(tmp_path, monkeypatch):
    saved_gpt(tmp_path)
    hub = Hub(tmp_path, monkeypatch, online=False)
    assert load_pretrained("someone/gpt").config.n_embd == 24
    assert hub.asked == [("someone/gpt", None, True)]


# --- GGUF ----------------------------------------------------------------------------------------


def small_gguf(path, **formats) -> dict[str, np.ndarray]:
    """A GGUF file by the gguf package, with one tensor in each format; return the numbers."""
    writer, numbers = gguf.GGUFWriter(path, "llama"), {}
    writer.add_string("a.text", "水")
    writer.add_array("a.list", [3, 1, 4])
    writer.add_float32("a.number", 0.5)
    writer.add_bool("a.fact", True)
    rng = np.random.default_rng(0)
    for name, kind in formats.items():
        x = rng.normal(size=(6, 64)).astype(np.float32)
        quantised = gguf.quantize(x, kind)
        writer.add_tensor(name, quantised, raw_dtype=kind)
        numbers[name] = gguf.dequantize(quantised, kind)
    for step in ("header", "kv_data", "tensors"):
        getattr(writer, f"write_{step}_to_file")()
    writer.close()
    return numbers


FORMATS = {kind.name: kind for kind in map(gguf.GGMLQuantizationType, BLOCK_FORMATS)}


def test_every_format_is_read_exactly_as_by_the_gguf_package(tmp_path):
    numbers = small_gguf(tmp_path / "small.gguf", **FORMATS)
    for source in (tmp_path / "small.gguf", (tmp_path / "small.gguf").read_bytes()):
        file = GGUF(source)
        assert file.metadata["a.text"] == "水" and file.metadata["a.list"] == [3, 1, 4]
        assert file.metadata["a.number"] == 0.5 and file.metadata["a.fact"] is True
        for name, expected in numbers.items():
            assert file.shapes[name] == (6, 64)
            assert np.array_equal(file.read(name).numpy(), expected), name


def test_a_file_of_another_kind_is_refused_before_it_is_read(tmp_path):
    for content in (b"", b"PK\x03\x04" + b"\0" * 40, b"GGUF" + struct.pack("<I", 2) + b"\0" * 40):
        with pytest.raises(ValueError, match="no GGUF file of version 3"):
            GGUF(content)


def test_every_cut_of_a_file_is_refused(tmp_path):
    small_gguf(tmp_path / "small.gguf", **FORMATS)
    data = (tmp_path / "small.gguf").read_bytes()
    whole = GGUF(data)
    stop = max(whole.begin + whole.infos[n].start + whole.blocks(n).nbytes for n in whole.shapes)
    for length in [*range(24, 700, 13), stop - 1]:
        with pytest.raises(ValueError, match=r"cut short|no GGUF file|damaged"):
            GGUF(data[:length])


def test_a_file_that_promises_more_than_it_has_is_refused():
    head = b"GGUF" + struct.pack("<IQQ", 3, 2**40, 2**40)
    with pytest.raises(ValueError, match="cut short"):
        GGUF(head + b"\1" * 64)


def test_an_unknown_format_is_told(tmp_path):
    x = np.zeros((1, 256), np.float32)
    writer = gguf.GGUFWriter(tmp_path / "k.gguf", "llama")
    kind = gguf.GGMLQuantizationType.Q4_0
    writer.add_tensor("x", gguf.quantize(x, kind), raw_dtype=kind)
    for step in ("header", "kv_data", "tensors"):
        getattr(writer, f"write_{step}_to_file")()
    writer.close()
    with pytest.raises(ValueError, match=r"x of .* is stored in format 2"):
        GGUF(tmp_path / "k.gguf")


def test_unpermuting_undoes_what_the_converter_does():
    weights = torch.randn(3 * 8, 5)
    converted = weights.reshape(3, 2, 4, 5).swapaxes(1, 2).reshape(24, 5)
    assert torch.equal(unpermute(converted, 3), weights)
    assert not torch.equal(converted, weights)


# --- SmolLM2 -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smollm2_bytes():
    return load_smollm2_gguf()


@pytest.fixture(scope="module")
def smollm2(smollm2_bytes):
    return load_gguf(smollm2_bytes, context_length=512)


def test_smollm2_has_the_weights_that_the_gguf_package_reads(smollm2, smollm2_bytes, tmp_path):
    model, _ = smollm2
    (tmp_path / "model.gguf").write_bytes(smollm2_bytes)
    theirs = {t.name: t for t in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert sum(w.numel() for w in model.parameters()) == 134_515_008
    for ours, name in {
        model.token_embedding.weight: "token_embd.weight",
        model.blocks[7].mlp.down.weight: "blk.7.ffn_down.weight",
        model.blocks[29].attention.v.weight: "blk.29.attn_v.weight",
        model.norm.weight: "output_norm.weight",
    }.items():
        expected = gguf.dequantize(theirs[name].data, theirs[name].tensor_type)
        assert np.array_equal(ours.detach().numpy(), expected), name


@torch.no_grad()
def test_smollm2_knows_the_capital_of_france(smollm2):
    model, tokenizer = smollm2
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer.encode(prompt, allowed_special="all")
    end_id = tokenizer.special_tokens["<|im_end|>"]
    (answer,) = generate(model, [ids], 16, Sampler(temperature=0), end_id)
    assert "Paris" in tokenizer.decode(answer)


def test_smollm2s_ids_are_those_of_hugging_face(smollm2, tmp_path):
    _, tokenizer = smollm2
    save_for_transformers(tmp_path, GPT(GPTConfig(9, 8, 1, 1, 4)), tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [
        "Hello, world! It's 12:45 on 2026-11-28, isn't it?",
        "  two  spaces\n\n and\ttabs 3.14159 x2 ²½ ٣",
        "<|im_start|>user\nhi 7<|im_end|>\n",
        "naïve café — 水 и мир 🦊",
        "",
    ]
    for text in texts:
        ids = tokenizer.encode(text, allowed_special="all")
        assert ids == theirs(text)["input_ids"], text
        assert tokenizer.decode(ids) == text
        assert list(tokenizer.encode_iterable([text[:5], text[5:]], "all")) == ids
    plain = tokenizer.encode("<|im_end|>")
    assert len(plain) > 1 and tokenizer.decode(plain) == "<|im_end|>"


def test_a_text_that_needs_a_missing_byte_is_refused(smollm2):
    _, tokenizer = smollm2
    missing = {bytes([b]) for b in range(256)} - set(tokenizer.tokens[: tokenizer.vocab_size])
    assert tokenizer.vocab_size == 49_152 and len(missing) == 21
    assert not any(byte.decode("latin1").isprintable() and byte < b"\x7f" for byte in missing)
    character = next(c for c in map(chr, range(0x80, 0x110000)) if not 0xD800 <= ord(c) < 0xE000
                     and any(bytes([b]) in missing for b in c.encode()))  # fmt: skip
    with pytest.raises(ValueError, match="which this vocabulary lacks"):
        tokenizer.encode(f"a {character} b")


def test_a_tokenizer_of_another_kind_is_refused(tmp_path):
    small_gguf(tmp_path / "small.gguf")
    with pytest.raises(ValueError, match=r"tokenizer of kind \(None, None\)"):
        tokenizer_of_gguf(GGUF(tmp_path / "small.gguf"))
    with pytest.raises(ValueError, match="does not say"):
        load_gguf(tmp_path / "small.gguf")


def test_digits_stand_alone():
    base = train_tokenizer(["a 12 b 12 c 12"] * 5, 262)
    tokenizer = DigitTokenizer(base.tokens, base.merges, ["<|endoftext|>"])
    assert len(base.encode("12")) < 2 == len(tokenizer.encode("12"))


# --- Files that lie ------------------------------------------------------------------------------


def gguf_of(entries=(), tensors=(), data=b"") -> bytes:
    """A GGUF file by hand. entries: (name, type, bytes); tensors: (name, shape, format, start)."""

    def text(content) -> bytes:
        raw = content if isinstance(content, bytes) else content.encode()
        return struct.pack("<Q", len(raw)) + raw

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries))
    for name, kind, value in entries:
        head += text(name) + struct.pack("<I", kind) + value
    for name, shape, kind, start in tensors:
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", kind, start)
    return head + bytes(-len(head) % 32) + data


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


ONE = ("x", (4,), 0, 0)
LISTS = b"".join(struct.pack("<IQ", 9, 1) for _ in range(5_000))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gguf_of([("general.alignment", 4, u32(0))], [ONE], bytes(16)), "general.alignment = 0"),
        (gguf_of([("general.alignment", 6, struct.pack("<f", 0.5))]), "general.alignment = 0.5"),
        (gguf_of([("general.alignment", 10, b"\xff" * 8)], [ONE], bytes(16)), "does not fit"),
        (gguf_of([(b"\xff\xfe", 4, u32(1))]), "no UTF-8"),
        (gguf_of([], [(b"\xc3", (4,), 0, 0)], bytes(16)), "no UTF-8"),
        (gguf_of([("deep", 9, LISTS)]), "list of lists"),
        (gguf_of([("a", 4, u32(1)), ("a", 4, u32(2))]), "says a twice"),
        (gguf_of([], [ONE, ONE], bytes(16)), "has x twice"),
        (gguf_of([("a", 77, u32(1))]), "unknown kind 77"),
        (gguf_of([], [("x", (2**62, 2**62), 0, 0)], bytes(16)), "does not fit"),
        (gguf_of([], [("x", (4,), 0, 2**64 - 8)], bytes(16)), "does not fit"),
    ],
)
def test_a_gguf_file_that_lies_is_refused_in_words(data, words):
    with pytest.raises(ValueError, match=words):
        GGUF(data)


FACTS = {
    "general.architecture": "llama",
    "llama.attention.head_count": 2,
    "llama.context_length": 8,
    "llama.block_count": 1,
    "llama.embedding_length": 4,
    "llama.feed_forward_length": 8,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
}


@pytest.mark.parametrize(
    ("changes", "shape", "words"),
    [
        ({"llama.rope.scaling.type": "linear"}, (9, 4), "stretched rotary waves"),
        ({"llama.attention.head_count": [2, 2]}, (9, 4), r"n_head is \[2, 2\]"),
        ({"llama.embedding_length": "4"}, (9, 4), "n_embd is '4'"),
        ({"llama.rope.freq_base": "fast"}, (9, 4), "rope_base is 'fast'"),
        ({"llama.rope.dimension_count": 1}, (9, 4), "turns 1 of the 2 numbers"),
        ({}, (), "vocab_size is 0"),
    ],
)
def test_wrong_facts_of_a_gguf_are_told(changes, shape, words):
    file = SimpleNamespace(
        metadata=FACTS | changes, shapes={"token_embd.weight": shape}, path="file"
    )
    assert config_of_gguf(
        SimpleNamespace(metadata=FACTS, shapes={"token_embd.weight": (9, 4)}, path="file")
    )
    with pytest.raises(ValueError, match=words):
        config_of_gguf(file)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"tokens": ["a"], "token_type": [1, 1], "merges": []},
        {"tokens": 3, "token_type": [1], "merges": []},
        {"tokens": ["a", 7], "token_type": [1, 1], "merges": []},
        {"tokens": ["水"], "token_type": [1], "merges": []},
        {"tokens": ["a", "b"], "token_type": [1, 1], "merges": ["a c"]},
        {"tokens": ["a", "b"], "token_type": [1, 1], "merges": ["a b a"]},
    ],
)
def test_a_damaged_tokenizer_is_told(facts):
    names = {"model": "gpt2", "pre": "smollm"} | facts
    file = SimpleNamespace(metadata={f"tokenizer.ggml.{n}": v for n, v in names.items()}, path="f")
    with pytest.raises(ValueError, match="damaged tokenizer"):
        tokenizer_of_gguf(file)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("gpt2", {"model_type": ["gpt2"]}),
        ("gpt2", {"n_embd": None}),
        ("gpt2", {"n_embd": "24", "n_inner": 96}),
        ("gpt2", {"n_layer": 10**9}),
        ("gpt2", {"vocab_size": 10**13}),
        ("gpt2", {"tie_word_embeddings": "false"}),
        ("gpt2", {"quantization_config": {"bits": 4}}),
        ("llama", {"hidden_size": None}),
        ("llama", {"hidden_size": "24"}),
        ("llama", {"hidden_size": 25}),
        ("llama", {"num_attention_heads": None, "num_key_value_heads": None}),
        ("llama", {"intermediate_size": 10**13}),
        ("llama", {"rms_norm_eps": "1e-5"}),
        ("llama", {"rope_parameters": "default"}),
        ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": None}}),
        ("llama", {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}),
    ],
)
def test_a_config_that_lies_is_refused_in_words(tmp_path, kind, changes):
    their_model(kind).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{next(iter(changes))}|choose|config|say"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["n_embd", "vocab_size"])
def test_a_size_that_is_missing_is_told(tmp_path, name):
    their_model("gpt2").save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    del content[name]
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"does not say '{name}'"):
        load_pretrained(tmp_path)


def test_json_as_deep_as_a_well_is_refused(tmp_path):
    saved_gpt(tmp_path)
    (tmp_path / "config.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="cannot be read"):
        load_pretrained(tmp_path)


def test_an_index_that_is_no_index_is_refused(tmp_path):
    saved_gpt(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model-1.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": ["model.safetensors"]}')
    with pytest.raises(ValueError, match="no JSON object in weight_map"):
        load_pretrained(tmp_path)


def test_a_tensor_in_two_files_is_refused(tmp_path):
    tensors = saved_gpt(tmp_path)
    name = "transformer.ln_f.bias"
    save_file({name: tensors[name]}, tmp_path / "more.safetensors")
    (tmp_path / "model.safetensors").rename(tmp_path / "most.safetensors")
    index = {"weight_map": {name: "more.safetensors", "other": "most.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"ln_f\.bias stands in two files"):
        load_pretrained(tmp_path)


def test_whole_numbers_are_no_weights(tmp_path):
    tensors = saved_gpt(tmp_path)
    tensors["transformer.ln_f.bias"] = torch.ones(24, dtype=torch.int8)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"ln_f\.bias.*whole numbers.*quantised"):
        load_pretrained(tmp_path)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_read_into_float32(tmp_path, kind, dtype):
    their_model(kind).to(dtype).save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path)
    assert {w.dtype for w in ours.parameters()} == {torch.float32}
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    torch.testing.assert_close(ours(IDS), theirs.eval()(IDS).logits, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt2", "qwen3"])
def test_the_head_of_a_tied_model_is_its_embedding_even_if_the_file_has_another(tmp_path, kind):
    theirs = their_model(kind)
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"lm_head.weight": torch.ones(61, 24)}, tmp_path / "model.safetensors")
    ours = load_pretrained(tmp_path)
    torch.testing.assert_close(ours(IDS), theirs(IDS).logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_config_may_leave_the_width_of_heads_open(tmp_path):
    theirs = their_model("llama")
    theirs.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text()) | {"head_dim": None}
    (tmp_path / "config.json").write_text(json.dumps(content))
    torch.testing.assert_close(
        load_pretrained(tmp_path)(IDS), theirs(IDS).logits, atol=1e-5, rtol=0
    )
