"""LoRA: no effect at first, the same when merged, the same in peft, and clear refusals."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from lib.generation import Sampler, generate, is_plain
from lib.llama import Llama, LlamaConfig
from lib.lora import (
    FourBitLinear,
    LoRAConfig,
    LoRALinear,
    adapter_names,
    add_lora,
    hash_of_base,
    linear_layers,
    load_adapter,
    lora_layers,
    lora_parameters,
    merge,
    pack_four_bit,
    save_adapter,
    to_four_bit,
    unload,
    unmerge,
    unpack_four_bit,
    use_adapter,
)
from lib.model import GPT, GPTConfig
from lib.optim import AdamW, parameter_groups
from lib.pretrained import from_q4_1, save_for_transformers
from lib.training import train

GPT_SHAPE = GPTConfig(61, 16, n_layer=2, n_head=2, n_embd=32)
LLAMA_SHAPE = LlamaConfig(61, 16, n_layer=2, n_head=4, n_kv_head=2, n_embd=32, n_hidden=64)
IDS = torch.randint(61, (2, 9), generator=torch.Generator().manual_seed(0))


def gpt():
    torch.manual_seed(1)
    return GPT(GPT_SHAPE).eval()


def llama():
    torch.manual_seed(1)
    return Llama(LLAMA_SHAPE).eval()


MODELS = pytest.mark.parametrize("build", [gpt, llama])


def disturb(model, seed=2):
    """Give the active adapter an effect, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for matrix in lora_parameters(model):
            matrix.normal_(0.0, 0.2, generator=generator)


def adapted(build, **options):
    model = build()
    add_lora(model, LoRAConfig(**{"rank": 4, "alpha": 6.0} | options))
    disturb(model)
    return model


def logits(model):
    with torch.no_grad():
        return model(IDS)


# --- An adapter ----------------------------------------------------------------------------------


@MODELS
def test_a_new_adapter_has_no_effect_at_all(build):
    model = build()
    before = logits(model)
    add_lora(model, LoRAConfig(rank=4))
    assert torch.equal(logits(model), before)


@MODELS
def test_the_layer_computes_what_its_formula_says(build):
    model = adapted(build)
    for layer in lora_layers(model).values():
        x = torch.randn(2, 3, layer.base.in_features)
        adapter = layer.adapters["default"]
        weights = layer.base.weight + (6 / 4) * adapter.B @ adapter.A
        expected = nn.functional.linear(x, weights, layer.base.bias)
        assert torch.allclose(layer(x), expected, atol=1e-5)
        assert torch.allclose(adapter.delta(), weights - layer.base.weight, atol=1e-6)


def test_one_vector_and_many_dimensions_pass_through_a_layer():
    layer = LoRALinear(nn.Linear(6, 5))
    model = nn.Sequential(layer)
    add_lora(model, LoRAConfig(rank=2, targets=("0",)))
    disturb(model)
    x = torch.randn(2, 3, 4, 6)
    y = model(x)
    assert y.shape == (2, 3, 4, 5)
    assert torch.allclose(model(x[0, 1]), y[0, 1], atol=1e-6)
    assert torch.allclose(model(x[0, 1, 2]), y[0, 1, 2], atol=1e-6)
    assert model(x[:0]).shape == (0, 3, 4, 5)


@MODELS
def test_only_the_adapter_learns_and_the_base_stays_bit_for_bit(build):
    model = build()
    before = copy.deepcopy(model.state_dict())
    add_lora(model, LoRAConfig(rank=4))
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning
    assert all(".adapters.default." in name for name in learning)
    optimizer = AdamW(parameter_groups(model, 0.1), lr=1e-2)
    rows = iter([(IDS[:, :-1], IDS[:, 1:])] * 5)
    records = train(model, rows, optimizer, None, 5)
    assert records[-1]["loss"] < records[0]["loss"]
    assert len(optimizer.state) == len(learning)
    for name, layer in lora_layers(model).items():
        assert torch.equal(layer.base.weight, before[f"{name}.weight"])
        assert layer.adapters["default"].B.abs().max() > 0
        assert layer.base.weight.grad is None


def test_dropout_is_on_the_adapters_input_and_only_in_training():
    model = adapted(gpt, dropout=0.5)
    assert torch.equal(logits(model), logits(model))
    model.train()
    assert not torch.equal(logits(model), logits(model))
    use_adapter(model, None)
    assert torch.equal(logits(model), logits(model))


@MODELS
def test_generation_notices_the_adapter(build):
    model = adapted(build)
    assert not is_plain(model)
    greedy = Sampler(temperature=0)
    cached = generate(model, [[1, 2, 3]], 8, greedy)
    assert cached == generate(model, [[1, 2, 3]], 8, greedy, cached=False)
    merge(model)
    assert generate(model, [[1, 2, 3]], 8, greedy) == cached
    unload(model)
    assert is_plain(model) == isinstance(model, GPT)
    assert generate(model, [[1, 2, 3]], 8, greedy) == cached


# --- Targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "n"),
    [
        (("blocks",), 8),
        (("attention",), 4),
        (("mlp.fc",), 2),
        (("proj",), 4),
        (("attention.qkv", "mlp.proj"), 4),
        (("blocks.1",), 4),
        (("blocks.0.mlp.fc",), 1),
    ],
)
def test_targets_are_whole_parts_of_names(targets, n):
    model = gpt()
    assert len(add_lora(model, LoRAConfig(targets=targets))) == n
    assert len(lora_layers(model)) == n


def test_a_target_is_not_found_by_half_of_its_name():
    with pytest.raises(ValueError, match=r"'att'; there are attention.qkv, attention.proj, mlp.fc"):
        add_lora(gpt(), LoRAConfig(targets=("att",)))


def test_a_tied_head_cannot_wear_an_adapter_and_a_head_of_its_own_can():
    with pytest.raises(ValueError, match="head shares its matrix"):
        add_lora(gpt(), LoRAConfig(targets=("head",)))
    model = GPT(GPTConfig(61, 16, 1, 2, 32, tied=False))
    assert add_lora(model, LoRAConfig(targets=("head",))) == ["head"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank is 0; choose a whole number"),
        ({"rank": 2.0}, "rank is 2.0"),
        ({"alpha": 0}, "alpha is 0; choose a positive"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"dropout": 1.0}, "dropout is 1.0; choose a share"),
        ({"targets": "attention"}, "pass a tuple of names"),
        ({"targets": ()}, "pass a tuple of names"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LoRAConfig(**options)


@pytest.mark.parametrize("name", ["", "a.b", "keys", "training"])
def test_a_name_that_cannot_be_one_is_refused(name):
    with pytest.raises(ValueError, match="cannot be called"):
        add_lora(gpt(), LoRAConfig(), name)


# --- Several adapters ----------------------------------------------------------------------------


@MODELS
def test_adapters_share_one_base_and_are_switched(build):
    model = build()
    base = logits(model)
    add_lora(model, LoRAConfig(rank=2), "one")
    disturb(model, seed=3)
    one = logits(model)
    add_lora(model, LoRAConfig(rank=3, targets=("attention",)), "two")
    assert torch.equal(logits(model), base)
    disturb(model, seed=4)
    two = logits(model)
    assert adapter_names(model) == ["one", "two"]
    for name, expected in {"one": one, None: base, "two": two}.items():
        use_adapter(model, name)
        assert torch.equal(logits(model), expected)
        learning = [n for n, p in model.named_parameters() if p.requires_grad]
        assert all(f".adapters.{name}." in n for n in learning)
        assert bool(learning) == (name is not None)


def test_an_adapter_that_is_not_there_or_there_already_is_refused():
    model = adapted(gpt)
    with pytest.raises(ValueError, match="no adapter 'poems'; there are: default"):
        use_adapter(model, "poems")
    with pytest.raises(ValueError, match="already; choose another name"):
        add_lora(model, LoRAConfig())
    use_adapter(model, None)
    with pytest.raises(ValueError, match="no adapter is active"):
        lora_parameters(model)
    with pytest.raises(ValueError, match="there are: none"):
        use_adapter(gpt(), "default")


# --- Merged --------------------------------------------------------------------------------------


@MODELS
def test_merged_is_unmerged_and_back(build):
    model = adapted(build)
    before = logits(model)
    weights = {n: x.base.weight.clone() for n, x in lora_layers(model).items()}
    merge(model)
    assert torch.allclose(logits(model), before, atol=1e-5)
    assert not any(p.requires_grad for p in model.parameters())
    unmerge(model)
    for name, layer in lora_layers(model).items():
        assert torch.allclose(layer.base.weight, weights[name], atol=1e-6)
    assert torch.allclose(logits(model), before, atol=1e-5)
    assert all(p.requires_grad for p in lora_parameters(model))


@MODELS
def test_what_is_unloaded_is_a_plain_model_with_the_effect(build):
    model = adapted(build)
    before, names = logits(model), build().state_dict().keys()
    merge(model)
    unload(model)
    assert model.state_dict().keys() == names
    assert torch.allclose(logits(model), before, atol=1e-5)


def test_unloading_without_merging_gives_the_base_back():
    base = logits(gpt())
    model = adapted(gpt)
    unload(model)
    assert torch.equal(logits(model), base)


def test_merging_twice_and_switching_while_merged_are_refused():
    model = adapted(gpt)
    with pytest.raises(ValueError, match="nothing to take out"):
        unmerge(model)
    merge(model)
    again = {
        "merge": lambda: merge(model),
        "switch": lambda: use_adapter(model, None),
        "add": lambda: add_lora(model, LoRAConfig(), "other"),
    }
    for call in again.values():
        with pytest.raises(ValueError, match="call unmerge"):
            call()
    with pytest.raises(ValueError, match="no adapter is active"):
        merge(gpt())


# --- Files ---------------------------------------------------------------------------------------


@MODELS
def test_only_the_adapter_is_saved_and_comes_back(build, tmp_path):
    model = adapted(build, targets=("attention", "blocks.1.mlp"))
    save_adapter(tmp_path, model)
    n_parameters = sum(p.numel() for p in lora_parameters(model))
    size = (tmp_path / "adapter_model.safetensors").stat().st_size
    assert 4 * n_parameters < size < 4 * n_parameters + 4000
    fresh = build()
    config = load_adapter(tmp_path, fresh, "again")
    assert (config.rank, config.alpha) == (4, 6.0)
    assert set(config.targets) == lora_layers(model).keys()
    assert torch.equal(logits(fresh), logits(model))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is dep:FutureWarning")
@MODELS
def test_peft_loads_our_adapter_and_gives_the_same_logits(build, tmp_path):
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    model = adapted(build)
    expected = logits(model)
    save_adapter(tmp_path / "adapter", model, base="base")
    save_for_transformers(tmp_path / "base", build())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval()
    theirs = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    with torch.no_grad():
        found = theirs(IDS).logits
        assert torch.allclose(found, expected, atol=1e-4)
        merged = theirs.merge_and_unload()(IDS).logits
    assert torch.allclose(merged, expected, atol=1e-4)
    assert not torch.allclose(found, logits(build()), atol=1e-2)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is dep:FutureWarning")
@MODELS
def test_we_load_pefts_adapter_and_give_the_same_logits(build, tmp_path):
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    save_for_transformers(tmp_path / "base", build())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval()
    options = {"target_modules": "all-linear", "r": 3, "lora_alpha": 5, "task_type": "CAUSAL_LM"}
    options["fan_in_fan_out"] = build is gpt
    wrapped = peft.get_peft_model(theirs, peft.LoraConfig(**options)).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for name, matrix in wrapped.named_parameters():
            if "lora_" in name:
                matrix.normal_(0.0, 0.2)
        expected = wrapped(IDS).logits
    wrapped.save_pretrained(tmp_path / "adapter")
    model = build()
    load_adapter(tmp_path / "adapter", model)
    assert torch.allclose(logits(model), expected, atol=1e-4)


def changed_config(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "IA3"},
        {"use_dora": True},
        {"use_rslora": True},
        {"bias": "all"},
        {"alpha_pattern": {"c_attn": 4}},
    ],
)
def test_an_adapter_of_another_kind_is_refused(tmp_path, changes):
    save_adapter(tmp_path, adapted(gpt))
    changed_config(tmp_path, **changes)
    with pytest.raises(ValueError, match=f"{next(iter(changes))} = .*only plain LoRA"):
        load_adapter(tmp_path, gpt())


def test_an_adapter_of_another_model_is_refused_and_the_model_stays(tmp_path):
    save_adapter(tmp_path, adapted(gpt))
    wider = GPT(GPTConfig(61, 16, n_layer=2, n_head=2, n_embd=64))
    with pytest.raises(ValueError, match=r"this model needs \(4, 64\), but .* has \(4, 32\)"):
        load_adapter(tmp_path, wider)
    with pytest.raises(ValueError, match=r"no such tensor.*trained on"):
        load_adapter(tmp_path, llama())
    shallow = GPT(GPTConfig(61, 16, n_layer=1, n_head=2, n_embd=32))
    with pytest.raises(ValueError, match=r"h\.1\..*no such tensor"):
        load_adapter(tmp_path, shallow)
    assert not lora_layers(wider)
    assert not lora_layers(shallow)


def test_files_that_are_missing_or_damaged_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no adapter that can be read"):
        load_adapter(tmp_path, gpt())
    save_adapter(tmp_path, adapted(gpt))
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="no safetensors file"):
        load_adapter(tmp_path, gpt())
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(ValueError, match="no JSON object"):
        load_adapter(tmp_path, gpt())


def test_a_path_and_numpys_numbers_are_written_as_json(tmp_path):
    model = gpt()
    config = LoRAConfig(np.int64(2), np.float32(3), dropout=np.float32(0.5))
    add_lora(model, config)
    save_adapter(tmp_path, model, base=tmp_path / "base")
    facts = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (facts["r"], facts["lora_alpha"], facts["lora_dropout"]) == (2, 3.0, 0.5)
    assert facts["base_model_name_or_path"] == str(tmp_path / "base")


def test_an_adapter_that_is_not_there_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="no adapter 'poems'; there are: default"):
        save_adapter(tmp_path, adapted(gpt), "poems")


# --- The base that an adapter was trained beside -------------------------------------------------


def other_gpt():
    torch.manual_seed(2)
    return GPT(GPT_SHAPE).eval()


def test_an_adapter_of_other_weights_of_the_same_shape_is_refused_unless_asked_for(tmp_path):
    save_adapter(tmp_path, adapted(gpt), base="base-one")
    model = other_gpt()
    with pytest.raises(ValueError, match=r"other weights \(base-one\).*any_base=True"):
        load_adapter(tmp_path, model)
    assert not lora_layers(model)
    load_adapter(tmp_path, model, any_base=True)
    assert adapter_names(model) == ["default"]


@MODELS
def test_one_changed_number_of_the_base_is_noticed_wherever_it_is(build, tmp_path):
    save_adapter(tmp_path, adapted(build, targets=("mlp",)))
    for name in build().state_dict():
        model = build()
        with torch.no_grad():
            model.state_dict()[name].view(-1)[0] += 1e-3
        with pytest.raises(ValueError, match="beside other weights"):
            load_adapter(tmp_path, model)


def test_merging_and_unmerging_rounds_the_base_and_its_hash_stays(tmp_path):
    model = adapted(gpt)
    weight = lora_layers(model)["blocks.0.mlp.fc"].base.weight.clone()
    merge(model)
    unmerge(model)
    assert not torch.equal(lora_layers(model)["blocks.0.mlp.fc"].base.weight, weight)
    assert hash_of_base(model) == hash_of_base(gpt())
    add_lora(model, LoRAConfig(rank=2, targets=("attention",)), "second")
    save_adapter(tmp_path, model, "second")
    assert load_adapter(tmp_path, gpt()).rank == 2


def test_a_merged_and_unloaded_model_is_another_base(tmp_path):
    save_adapter(tmp_path, adapted(gpt))
    model = adapted(gpt)
    merge(model)
    unload(model)
    with pytest.raises(ValueError, match="beside other weights"):
        load_adapter(tmp_path, model)


def test_the_exact_base_is_another_one_than_that_in_four_bits(tmp_path):
    model = gpt()
    to_four_bit(model)
    add_lora(model, LoRAConfig(rank=4))
    save_adapter(tmp_path, model)
    with pytest.raises(ValueError, match="any_base=True"):
        load_adapter(tmp_path, gpt())
    load_adapter(tmp_path, gpt(), any_base=True)


def test_the_hash_does_not_ask_in_which_context_or_precision_a_model_is_used():
    short = GPT(GPTConfig(61, 16, n_layer=1, n_head=2, n_embd=32))
    assert hash_of_base(short) == hash_of_base(copy.deepcopy(short))
    assert hash_of_base(short) != hash_of_base(copy.deepcopy(short).bfloat16())
    model = llama()
    wider = Llama(dataclasses.replace(LLAMA_SHAPE, context_length=32)).eval()
    wider.load_state_dict(model.state_dict())
    assert hash_of_base(wider) == hash_of_base(model)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga"])
def test_an_adapter_whose_start_changed_the_base_is_refused(tmp_path, start):
    save_adapter(tmp_path, adapted(gpt))
    changed_config(tmp_path, init_lora_weights=start)
    with pytest.raises(ValueError, match=r"init_lora_weights = .*only plain LoRA"):
        load_adapter(tmp_path, gpt())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"r": "4"}, "rank is '4'"),
        ({"r": 4.0}, "rank is 4.0"),
        ({"lora_alpha": None}, "alpha is None"),
        ({"lora_dropout": "none"}, "dropout is 'none'"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
    ],
)
def test_settings_that_make_no_sense_are_refused_and_the_model_stays(tmp_path, changes, message):
    save_adapter(tmp_path, adapted(gpt))
    changed_config(tmp_path, **changes)
    model = gpt()
    with pytest.raises(ValueError, match=message):
        load_adapter(tmp_path, model)
    assert not lora_layers(model)


@pytest.mark.parametrize("start", [True, False, None, "gaussian", "eva"])
def test_a_start_that_leaves_the_base_alone_is_read(tmp_path, start):
    save_adapter(tmp_path, adapted(gpt))
    changed_config(tmp_path, init_lora_weights=start)
    assert load_adapter(tmp_path, gpt()).rank == 4


@pytest.mark.parametrize("change", ["nan", "whole", "empty"])
def test_numbers_that_are_none_are_refused(tmp_path, change):
    save_adapter(tmp_path, adapted(gpt))
    path = tmp_path / "adapter_model.safetensors"
    tensors = load(path.read_bytes())
    first = next(iter(tensors))
    if change == "empty":
        tensors = {}
    elif change == "whole":
        tensors[first] = tensors[first].long()
    else:
        tensors[first][0, 0] = float("nan")
    path.write_bytes(save(tensors))
    message = {"empty": "no tensor at all"}.get(change, "not finite, or whole ones")
    with pytest.raises(ValueError, match=message):
        load_adapter(tmp_path, gpt())


def test_a_config_nested_too_deep_is_refused(tmp_path):
    save_adapter(tmp_path, adapted(gpt))
    (tmp_path / "adapter_config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="holds no adapter that can be read"):
        load_adapter(tmp_path, gpt())


# --- Four bits -----------------------------------------------------------------------------------


def test_four_bits_are_unpacked_to_at_most_half_a_step_away():
    weights = torch.randn(7, 96, generator=torch.Generator().manual_seed(0))
    codes, scale, low = pack_four_bit(weights)
    assert (codes.shape, codes.dtype) == ((7, 3, 16), torch.uint8)
    error = (unpack_four_bit(codes, scale, low) - weights).abs().unflatten(1, (3, 32)).amax(2)
    assert (error <= 0.5 * scale.float() + 0.02).all()
    assert codes.nbytes + scale.nbytes + low.nbytes == 7 * 96 * 5 / 8


def test_the_blocks_are_those_of_gguf():
    weights = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    codes, scale, low = pack_four_bit(weights)
    raw = torch.cat(
        [scale[..., None].view(torch.uint8), low[..., None].view(torch.uint8), codes], dim=2
    )  # (4, 2, 20) bytes
    theirs = torch.tensor(from_q4_1(raw.reshape(-1, 20).numpy())).reshape(4, 64)
    assert torch.equal(unpack_four_bit(codes, scale, low), theirs)


def test_what_was_rounded_once_stays_under_a_second_rounding():
    weights = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    once = unpack_four_bit(*pack_four_bit(weights))
    assert torch.allclose(unpack_four_bit(*pack_four_bit(once)), once, atol=2e-3)


def test_a_block_of_equal_weights_is_kept():
    weights = torch.full((1, 32), 0.5)
    assert torch.equal(unpack_four_bit(*pack_four_bit(weights)), weights)


@pytest.mark.parametrize("bias", [True, False])
def test_a_four_bit_layer_computes_with_its_rounded_matrix_forward_and_backward(bias):
    linear = nn.Linear(64, 5, bias=bias)
    layer = FourBitLinear(linear)
    x = torch.randn(3, 4, 64, requires_grad=True)
    weights = unpack_four_bit(layer.codes, layer.scale, layer.low)
    expected = nn.functional.linear(x, weights, linear.bias)
    assert torch.allclose(layer(x), expected)
    [wanted] = torch.autograd.grad(expected.square().sum(), x)
    [found] = torch.autograd.grad(layer(x).square().sum(), x)
    assert torch.allclose(found, wanted, atol=1e-5)


@MODELS
def test_an_adapter_learns_beside_a_base_in_four_bits(build):
    model = build()
    names = to_four_bit(model)
    assert all(isinstance(linear_layers(model)[name], FourBitLinear) for name in names)
    before = logits(model)
    assert add_lora(model, LoRAConfig(rank=4)) == names
    assert torch.equal(logits(model), before)
    optimizer = AdamW(parameter_groups(model, 0.0), lr=1e-2)
    records = train(model, iter([(IDS[:, :-1], IDS[:, 1:])] * 5), optimizer, None, 5)
    assert records[-1]["loss"] < records[0]["loss"]
    with pytest.raises(ValueError, match="four bits, which would round"):
        merge(model)


def test_an_adapter_trained_beside_four_bits_is_saved_too(tmp_path):
    model = gpt()
    to_four_bit(model)
    add_lora(model, LoRAConfig(rank=4))
    disturb(model)
    save_adapter(tmp_path, model)
    fresh = gpt()
    to_four_bit(fresh)
    load_adapter(tmp_path, fresh)
    assert torch.equal(logits(fresh), logits(model))


def test_what_cannot_be_packed_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 40\).*multiple of 32"):
        pack_four_bit(torch.zeros(3, 40))
    with pytest.raises(ValueError, match="before add_lora"):
        to_four_bit(adapted(gpt))


def test_a_weight_that_is_no_number_cannot_be_packed():
    weights = torch.zeros(3, 32)
    weights[1, 2] = float("nan")
    with pytest.raises(ValueError, match="no numbers; load the model anew"):
        pack_four_bit(weights)


def test_all_layers_are_packed_or_none():
    model = nn.Sequential(nn.Linear(32, 40), nn.Linear(40, 8))
    with pytest.raises(ValueError, match="multiple of 32"):
        to_four_bit(model, ("0", "1"))
    assert [type(part) for part in model] == [nn.Linear, nn.Linear]


@pytest.mark.parametrize(("size", "least", "most"), [(1.0, 0.9, 1.1), (0.02, 0.0, 0.5)])
def test_rounding_swallows_an_update_that_is_small_beside_a_step(size, least, most):
    generator = torch.Generator().manual_seed(0)
    codes, scale, low = pack_four_bit(torch.randn(64, 64, generator=generator))
    weights = unpack_four_bit(codes, scale, low)
    update = size * scale.float().mean() * torch.randn(64, 64, generator=generator)
    left = unpack_four_bit(*pack_four_bit(weights + update)) - weights
    assert least < (left * update).sum() / update.square().sum() < most
