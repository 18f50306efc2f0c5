"""Plausible wrong answers to the exercises of chapter 10."""

import json
import struct

import numpy as np
import torch
from torch.nn import functional as F

from lib.pretrained import unpermute
from wrong_answers import wrong

# --- 10.1 Read a header --------------------------------------------------------------------------


def header_of(data):
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def tensors_of(data):
    return {name: entry for name, entry in header_of(data).items() if name != "__metadata__"}


def pairs_of(header):
    return {n: (e["dtype"], e["shape"]) for n, e in header.items() if n != "__metadata__"}


@wrong("10.1", "with the little end first")
def length_big_end_first(data):
    return pairs_of(json.loads(data[8 : 8 + int.from_bytes(data[:8], "big")]))


@wrong("10.1", "with the little end first")
def length_unpacked_big_end_first(data):
    (n,) = struct.unpack(">Q", data[:8])
    return pairs_of(json.loads(data[8 : 8 + n].decode("utf-8")))


@wrong("10.1", "Everything up to the end of the file")
def length_not_read(data):
    return pairs_of(json.loads(data[8:]))


@wrong("10.1", "begins at byte 8")
def length_of_four_bytes(data):
    n = int.from_bytes(data[:4], "little")
    return pairs_of(json.loads(data[4 : 4 + n]))


@wrong("10.1", "begins at byte 8")
def length_of_four_bytes_as_text(data):
    (n,) = struct.unpack("<I", data[:4])
    return pairs_of(json.loads(data[4 : 4 + n].decode()))


@wrong("10.1", "does not count the 8 bytes")
def length_counted_from_the_beginning(data):
    return pairs_of(json.loads(data[8 : int.from_bytes(data[:8], "little")]))


@wrong("10.1", "begins at byte 8")
def header_from_the_beginning(data):
    return pairs_of(json.loads(data[: int.from_bytes(data[:8], "little")].decode()))


@wrong("10.1", "cut short")
def length_of_one_byte(data):
    return pairs_of(json.loads(data[8 : 8 + data[0]]))


@wrong("10.1", "cut short")
def length_of_two_bytes(data):
    return pairs_of(json.loads(data[8 : 8 + int.from_bytes(data[:2], "little")]))


@wrong("10.1", "beyond the header")
def sixteen_bytes_too_many(data):
    return pairs_of(json.loads(data[8 : 16 + int.from_bytes(data[:8], "little")]))


@wrong("10.1", "cut short")
def up_to_the_first_two_brackets(data):
    return pairs_of(json.loads(data[8 : data.index(b"}}") + 2]))


@wrong("10.1", "has neither dtype nor shape")
def metadata_taken_for_a_tensor(data):
    return {n: (e["dtype"], e["shape"]) for n, e in header_of(data).items()}


@wrong("10.1", "`__metadata__` is no tensor")
def metadata_kept(data):
    return {n: (e.get("dtype"), e.get("shape")) for n, e in header_of(data).items()}


@wrong("10.1", "only where there is one")
def metadata_always_expected(data):
    header = header_of(data)
    del header["__metadata__"]
    return pairs_of(header)


@wrong("10.1", "make a pair (dtype, shape) of each")
def entries_of_the_json(data):
    return tensors_of(data)


@wrong("10.1", "first the dtype, then the shape")
def pair_turned_round(data):
    return {n: (e["shape"], e["dtype"]) for n, e in tensors_of(data).items()}


@wrong("10.1", "names alone")
def names_alone(data):
    return list(tensors_of(data))


@wrong("10.1", "shapes alone")
def shapes_alone(data):
    return {n: e["shape"] for n, e in tensors_of(data).items()}


@wrong("10.1", "in reverse order")
def dimensions_reversed(data):
    return {n: (e["dtype"], e["shape"][::-1]) for n, e in tensors_of(data).items()}


@wrong("10.1", "Where the numbers stand is not asked for")
def places_too(data):
    return {n: tuple(e.values()) for n, e in tensors_of(data).items()}


@wrong("10.1", "such as 'F32'")
def dtypes_of_torch(data):
    kinds = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    kinds |= {"I64": torch.int64, "U8": torch.uint8}
    return {n: (kinds[e["dtype"]], e["shape"]) for n, e in tensors_of(data).items()}


@wrong("10.1", "such as 'F32'")
def dtypes_as_torch_prints_them(data):
    return {n: (str(dtype), shape) for n, (dtype, shape) in dtypes_of_torch(data).items()}


@wrong("10.1", "how many numbers")
def sizes_for_shapes(data):
    return {n: (e["dtype"], int(np.prod(e["shape"]))) for n, e in tensors_of(data).items()}


@wrong("10.1", "the header is UTF-8")
def header_as_latin_1(data):
    n = int.from_bytes(data[:8], "little")
    return pairs_of(json.loads(data[8 : 8 + n].decode("latin-1")))


@wrong("10.1", "before you make text of them")
def text_cut_instead_of_bytes(data):
    n = int.from_bytes(data[:8], "little")
    return pairs_of(json.loads(data.decode("utf-8", "ignore")[8 : 8 + n]))


# --- 10.2 Count a Llama --------------------------------------------------------------------------


def by_parts(c, attention=None, mlp=None, norms=None, last=None, tables=None):
    """The right count, but for what is passed."""
    C, D = c.n_embd, c.head_dim
    right = 2 * C * D * (c.n_head + c.n_kv_head)
    block = right if attention is None else attention
    block += 3 * C * c.n_hidden if mlp is None else mlp
    block += 2 * C + 2 * D * c.qk_norm if norms is None else norms
    both = c.vocab_size * C * (2 - c.tied) if tables is None else tables
    return both + c.n_layer * block + (C if last is None else last)


@wrong("10.2", "not as wide as the queries")
def keys_of_full_width(c):
    return by_parts(c, attention=4 * c.n_embd * c.n_head * c.head_dim)


@wrong("10.2", "which need not be n_embd / n_head")
def attention_of_gpt2_with_groups(c):
    D = c.n_embd // c.n_head
    return by_parts(c, attention=2 * c.n_embd * D * (c.n_head + c.n_kv_head))


@wrong("10.2", "you counted one for both")
def keys_alone(c):
    return by_parts(c, attention=c.n_embd * c.head_dim * (2 * c.n_head + c.n_kv_head))


@wrong("10.2", "from the heads back to the width")
def projection_forgotten(c):
    return by_parts(c, attention=c.n_embd * c.head_dim * (c.n_head + 2 * c.n_kv_head))


@wrong("10.2", "three matrices: gate, up and down")
def mlp_of_two_matrices(c):
    return by_parts(c, mlp=2 * c.n_embd * c.n_hidden)


@wrong("10.2", "as in GPT-2")
def mlp_of_gpt2(c):
    return by_parts(c, mlp=8 * c.n_embd**2)


@wrong("10.2", "although it is tied")
def tied_head_counted(c):
    return by_parts(c, tables=2 * c.vocab_size * c.n_embd)


@wrong("10.2", "This model is not tied")
def untied_head_forgotten(c):
    return by_parts(c, tables=c.vocab_size * c.n_embd)


@wrong("10.2", "although it is tied")
def tied_the_wrong_way_round(c):
    return by_parts(c, tables=c.vocab_size * c.n_embd * (1 + c.tied))


@wrong("10.2", "for the width of the stream")
def heads_taken_for_the_width(c):
    C = c.n_head * c.head_dim
    block = 2 * C * c.head_dim * (c.n_head + c.n_kv_head) + 3 * C * c.n_hidden + 2 * C
    block += 2 * c.head_dim * c.qk_norm
    return c.vocab_size * C * (2 - c.tied) + c.n_layer * block + C


@wrong("10.2", "The norms are missing")
def norms_forgotten(c):
    return by_parts(c, norms=0, last=0)


@wrong("10.2", "The norm after the last block is missing")
def last_norm_forgotten(c):
    return by_parts(c, last=0)


@wrong("10.2", "and no bias")
def norms_with_biases(c):
    return by_parts(c, norms=4 * c.n_embd, last=2 * c.n_embd)


@wrong("10.2", "`qk_norm` each block has two norms more")
def head_norms_forgotten(c):
    return by_parts(c, norms=2 * c.n_embd)


@wrong("10.2", "`qk_norm` is set")
def head_norms_always(c):
    return by_parts(c, norms=2 * c.n_embd + 2 * c.head_dim)


@wrong("10.2", "shared by all heads")
def head_norms_for_each_head(c):
    more = (c.n_head + c.n_kv_head) * c.head_dim
    return by_parts(c, norms=2 * c.n_embd + c.qk_norm * more)


@wrong("10.2", "not n_embd")
def head_norms_of_full_width(c):
    return by_parts(c, norms=2 * c.n_embd + c.qk_norm * 2 * c.n_embd)


@wrong("10.2", "rotary positions have no weights")
def positions_counted(c):
    return by_parts(c) + c.context_length * c.n_embd


@wrong("10.2", "none")
def biases_counted(c):
    C, D = c.n_embd, c.head_dim
    return by_parts(c) + c.n_layer * ((c.n_head + 2 * c.n_kv_head) * D + 2 * C + 2 * c.n_hidden)


@wrong("10.2", "You counted one block")
def one_block_counted(c):
    return (by_parts(c) - by_parts(c, 0, 0, 0)) // c.n_layer + by_parts(c, 0, 0, 0)


# --- 10.3 Half a byte each -----------------------------------------------------------------------


def scales(blocks):
    return blocks[:, :2].copy().view("<f2").astype(np.float32)


def lower(blocks):
    return (blocks[:, 2:] & 15).astype(np.float32)


def upper(blocks):
    return (blocks[:, 2:] >> 4).astype(np.float32)


@wrong("10.3", "The 8 was not subtracted")
def eight_forgotten(blocks):
    return scales(blocks) * np.hstack([lower(blocks), upper(blocks)])


@wrong("10.3", "still unsigned bytes")
def unsigned_wrap_around(blocks):
    q = np.hstack([blocks[:, 2:] & 15, blocks[:, 2:] >> 4])
    return scales(blocks) * (q - 8)


@wrong("10.3", "after the scaling")
def eight_after_the_scaling(blocks):
    return scales(blocks) * np.hstack([lower(blocks), upper(blocks)]) - 8


@wrong("10.3", "put side by side. They are 16 places apart")
def halves_interleaved(blocks):
    q = np.empty((len(blocks), 32), np.float32)
    q[:, 0::2], q[:, 1::2] = lower(blocks), upper(blocks)
    return scales(blocks) * (q - 8)


@wrong("10.3", "side by side, the upper first")
def halves_interleaved_upper_first(blocks):
    q = np.empty((len(blocks), 32), np.float32)
    q[:, 0::2], q[:, 1::2] = upper(blocks), lower(blocks)
    return scales(blocks) * (q - 8)


@wrong("10.3", "The upper halves came first")
def upper_halves_first(blocks):
    return scales(blocks) * (np.hstack([upper(blocks), lower(blocks)]) - 8)


@wrong("10.3", "was not shifted down")
def upper_half_not_shifted(blocks):
    high = (blocks[:, 2:] & 0xF0).astype(np.float32)
    return scales(blocks) * (np.hstack([lower(blocks), high]) - 8)


@wrong("10.3", "mask it with")
def lower_half_not_masked(blocks):
    low = blocks[:, 2:].astype(np.float32)
    return scales(blocks) * (np.hstack([low, upper(blocks)]) - 8)


@wrong("10.3", "taken as signed")
def signed_bytes(blocks):
    q = blocks[:, 2:].view(np.int8)
    return scales(blocks) * (np.hstack([q & 15, q >> 4]).astype(np.float32) - 8)


@wrong("10.3", "took the four bits for a signed number")
def twos_complement(blocks):
    q = np.hstack([lower(blocks), upper(blocks)])
    return scales(blocks) * np.where(q >= 8, q - 16, q)


@wrong("10.3", "from four bytes")
def scale_of_four_bytes(blocks):
    scale = blocks[:, :4].copy().view(np.float32)
    return scale * (np.hstack([lower(blocks), upper(blocks)]) - 8)


@wrong("10.3", "with the big end first")
def scale_big_end_first(blocks):
    scale = blocks[:, :2].copy().view(">f2").astype(np.float32)
    return scale * (np.hstack([lower(blocks), upper(blocks)]) - 8)


@wrong("10.3", "for a whole number")
def scale_as_a_whole_number(blocks):
    scale = blocks[:, :1].astype(np.float32) + 256 * blocks[:, 1:2].astype(np.float32)
    return scale * (np.hstack([lower(blocks), upper(blocks)]) - 8)


@wrong("10.3", "as a bfloat16")
def scale_as_bfloat16(blocks):
    scale = torch.tensor(blocks[:, :2].copy()).view(torch.bfloat16).float().numpy()
    return scale * (np.hstack([lower(blocks), upper(blocks)]) - 8)


@wrong("10.3", "The scale was left out")
def scale_forgotten(blocks):
    return np.hstack([lower(blocks), upper(blocks)]) - 8


@wrong("10.3", "the scale of the first")
def scale_of_the_first_block(blocks):
    return scales(blocks)[0] * (np.hstack([lower(blocks), upper(blocks)]) - 8)


@wrong("10.3", "rounded to float16")
def products_in_float16(blocks):
    q = np.hstack([lower(blocks), upper(blocks)]).astype(np.float16) - np.float16(8)
    return (blocks[:, :2].copy().view("<f2") * q).astype(np.float32)


@wrong("10.3", "float16; float32 is asked for")
def result_in_float16(blocks):
    q = np.hstack([lower(blocks), upper(blocks)]) - 8
    return (scales(blocks) * q).astype(np.float16)


@wrong("10.3", "float64; float32 is asked for")
def result_in_float64(blocks):
    return scales(blocks).astype(float) * (np.hstack([lower(blocks), upper(blocks)]) - 8)


@wrong("10.3", "The shape is")
def all_in_one_row(blocks):
    return (scales(blocks) * (np.hstack([lower(blocks), upper(blocks)]) - 8)).ravel()


@wrong("10.3", "You subtracted 7.5")
def middle_of_the_range(blocks):
    return scales(blocks) * (np.hstack([lower(blocks), upper(blocks)]) - np.float32(7.5))


@wrong("10.3", "return an array")
def lists_of_numbers(blocks):
    return (scales(blocks) * (np.hstack([lower(blocks), upper(blocks)]) - 8)).tolist()


# --- 10.4 The way back ---------------------------------------------------------------------------


def in_turn(n):
    """The order 0, n/2, 1, n/2 + 1, …"""
    return torch.arange(n).view(2, -1).T.flatten()


@wrong("10.4", "you go the other way")
def unpermute_itself(weight, n_head):
    return unpermute(weight, n_head)


@wrong("10.4", "you go the other way")
def even_rows_then_odd_rows(weight, n_head):
    heads = weight.view(n_head, -1, weight.shape[1])
    return torch.cat([heads[:, 0::2], heads[:, 1::2]], dim=1).flatten(0, 1)


@wrong("10.4", "treated as one head: the rows of a head")
def whole_matrix_at_once(weight, n_head):
    return weight[in_turn(len(weight))]


@wrong("10.4", "The rows are where they were")
def nothing_done(weight, n_head):
    return weight.clone()


@wrong("10.4", "The rows are where they were")
def cut_and_joined(weight, n_head):
    return weight.unflatten(0, (n_head, 2, -1)).flatten(0, 2)


@wrong("10.4", "You moved the columns")
def columns_moved(weight, n_head):
    return weight[:, in_turn(weight.shape[1])] if weight.shape[1] > 1 else weight[in_turn(6)]


@wrong("10.4", "The second half comes first")
def second_half_first(weight, n_head):
    D = len(weight) // n_head
    order = in_turn(D).view(-1, 2).flip(1).flatten()
    return torch.cat([head[order] for head in weight.split(D)])


@wrong("10.4", "Rows of different heads")
def heads_in_turn(weight, n_head):
    if n_head == 1:
        return weight[in_turn(len(weight))]
    return weight.unflatten(0, (n_head, -1)).transpose(0, 1).flatten(0, 1)


@wrong("10.4", "Only the first head")
def first_head_only(weight, n_head):
    D, result = len(weight) // n_head, weight.clone()
    result[:D] = weight[in_turn(D)]
    return result


@wrong("10.4", "for the number of rows of a head")
def heads_taken_for_rows(weight, n_head):
    D = n_head if n_head > 1 else len(weight)
    return torch.cat([head[in_turn(D)] for head in weight.split(D)])


@wrong("10.4", "The shape is")
def heads_left_apart(weight, n_head):
    return weight.unflatten(0, (n_head, 2, -1)).transpose(1, 2).flatten(1, 2)


@wrong("10.4", "changed places")
def halves_exchanged(weight, n_head):
    heads = weight.unflatten(0, (n_head, -1))
    return heads.roll(heads.shape[1] // 2, 1).flatten(0, 1)


@wrong("10.4", "Rows were torn apart")
def columns_not_kept(weight, n_head):
    return weight.reshape(n_head, 2, -1).transpose(1, 2).reshape(weight.shape)


# --- 10.5 Turn a vector --------------------------------------------------------------------------


def turned(x, angles):
    cos, sin = angles.cos(), angles.sin()
    a, b = x.chunk(2)
    return torch.cat([a * cos - b * sin, b * cos + a * sin])


def halves(x):
    return torch.arange(len(x) // 2)


def angles_of(x, position, base):
    return position / base ** (2 * halves(x) / len(x))


@wrong("10.5", "You paired neighbours")
def neighbours_paired(x, position, base):
    angles = angles_of(x, position, base)
    pairs = torch.view_as_complex(x.view(-1, 2)) * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(pairs).flatten()


@wrong("10.5", "turns the wrong way")
def turned_backwards(x, position, base):
    return turned(x, -angles_of(x, position, base))


@wrong("10.5", "The exponent is i/D")
def half_the_exponent(x, position, base):
    return turned(x, position / base ** (halves(x) / len(x)))


@wrong("10.5", "divided by D/2")
def twice_the_exponent(x, position, base):
    D = len(x) // 2
    return turned(x, position / base ** (2 * halves(x) / D))


@wrong("10.5", "without the division by D")
def exponent_not_divided(x, position, base):
    return turned(x, position / base ** (2.0 * halves(x)))


@wrong("10.5", "counts the pairs from 1")
def pairs_counted_from_one(x, position, base):
    return turned(x, position / base ** (2 * (halves(x) + 1) / len(x)))


@wrong("10.5", "The last pair got the exponent 1")
def exponents_by_linspace(x, position, base):
    return turned(x, position / base ** torch.linspace(0, 1, len(x) // 2))


@wrong("10.5", "convert nothing")
def angle_taken_for_degrees(x, position, base):
    return turned(x, torch.deg2rad(angles_of(x, position, base)))


@wrong("10.5", "turned into degrees")
def angle_made_degrees(x, position, base):
    return turned(x, torch.rad2deg(angles_of(x, position, base)))


@wrong("10.5", "multiplies the position")
def base_multiplied(x, position, base):
    return turned(x, position * base ** (2 * halves(x) / len(x)))


@wrong("10.5", "instead of the one that was passed")
def base_by_heart(x, position, base):
    return turned(x, angles_of(x, position, 10_000.0))


@wrong("10.5", "by the same angle")
def one_angle_for_all(x, position, base):
    return turned(x, torch.full((len(x) // 2,), float(position)))


@wrong("10.5", "counted from 1")
def positions_from_one_on(x, position, base):
    return turned(x, angles_of(x, position + 1, base))


@wrong("10.5", "have changed places")
def cosine_and_sine_exchanged(x, position, base):
    return turned(x, torch.pi / 2 - angles_of(x, position, base))


@wrong("10.5", "one minus")
def no_minus(x, position, base):
    angles = angles_of(x, position, base)
    a, b = x.chunk(2)
    return torch.cat([a * angles.cos() + b * angles.sin(), b * angles.cos() + a * angles.sin()])


@wrong("10.5", "keep both until both are computed")
def overwritten_too_early(x, position, base):
    cos, sin = angles_of(x, position, base).cos(), angles_of(x, position, base).sin()
    x, D = x.clone(), len(x) // 2
    x[:D] = x[:D] * cos - x[D:] * sin
    x[D:] = x[D:] * cos + x[:D] * sin
    return x


@wrong("10.5", "they were not mixed")
def waves_multiplied(x, position, base):
    angles = angles_of(x, position, base)
    return x * torch.cat([angles.cos(), angles.sin()])


@wrong("10.5", "The waves were added")
def waves_added(x, position, base):
    angles = angles_of(x, position, base)
    return x + torch.cat([angles.cos(), angles.sin()])


@wrong("10.5", "laid out for neighbours")
def angles_repeated_side_by_side(x, position, base):
    angles, D = angles_of(x, position, base).repeat_interleave(2), len(x)
    return x * angles.cos() + torch.cat([-x[D // 2 :], x[: D // 2]]) * angles.sin()


@wrong("10.5", "has their two numbers side by side")
def joined_side_by_side(x, position, base):
    return torch.stack(turned(x, angles_of(x, position, base)).chunk(2), dim=1).flatten()


@wrong("10.5", "turns the wrong way")
def minus_in_the_second_half(x, position, base):
    angles, D = angles_of(x, position, base).repeat(2), len(x)
    return x * angles.cos() + torch.cat([x[D // 2 :], -x[: D // 2]]) * angles.sin()


@wrong("10.5", "The shape is")
def first_halves_alone(x, position, base):
    return turned(x, angles_of(x, position, base)).chunk(2)[0]


# --- 10.6 Shared keys ----------------------------------------------------------------------------


def times(k, n_head):
    return n_head // k.shape[1]


@wrong("10.6", "in the wrong order")
def heads_tiled(k, n_head):
    return k.repeat(1, times(k, n_head), 1, 1)


@wrong("10.6", "in the wrong order")
def heads_expanded_in_front(k, n_head):
    B, n_kv_head, T, D = k.shape
    return k[:, None].expand(B, times(k, n_head), n_kv_head, T, D).reshape(B, n_head, T, D)


@wrong("10.6", "in the wrong order")
def heads_by_remainder(k, n_head):
    return k[:, torch.arange(n_head) % k.shape[1]]


@wrong("10.6", "The positions were repeated, and not the heads")
def positions_repeated(k, n_head):
    return k.repeat_interleave(times(k, n_head), dim=2)


@wrong("10.6", "The numbers within the heads were repeated, and not the heads")
def numbers_repeated(k, n_head):
    return k.repeat_interleave(times(k, n_head), dim=-1)


@wrong("10.6", "The sequences of the batch were repeated")
def sequences_repeated(k, n_head):
    return k.repeat_interleave(times(k, n_head), dim=0)


@wrong("10.6", "Each head was repeated n_head times")
def repeated_too_often(k, n_head):
    return k.repeat_interleave(n_head, dim=1)


@wrong("10.6", "each position was repeated and then all was cut")
def positions_repeated_and_reshaped(k, n_head):
    B, _, T, D = k.shape
    return k.repeat_interleave(times(k, n_head), dim=2).reshape(B, n_head, T, D)


@wrong("10.6", "each position was repeated and then all was cut")
def numbers_repeated_and_reshaped(k, n_head):
    B, _, T, D = k.shape
    return k.repeat(1, 1, 1, times(k, n_head)).view(B, n_head, T, D)


@wrong("10.6", "by the size of the group; copies are whole")
def keys_divided(k, n_head):
    return k.repeat_interleave(times(k, n_head), dim=1) / times(k, n_head)


@wrong("10.6", "by the root of the size")
def keys_divided_by_the_root(k, n_head):
    return k.repeat_interleave(times(k, n_head), dim=1) / times(k, n_head) ** 0.5


@wrong("10.6", "got the mean")
def mean_of_the_keys(k, n_head):
    return k.mean(dim=1, keepdim=True).expand(-1, n_head, -1, -1)


@wrong("10.6", "the first head of the keys")
def first_head_for_all(k, n_head):
    return k[:, :1].expand(-1, n_head, -1, -1)


@wrong("10.6", "are zero")
def zeros_for_the_rest(k, n_head):
    return torch.cat([k, torch.zeros_like(k[:, :1]).repeat(1, n_head - k.shape[1], 1, 1)], dim=1)


@wrong("10.6", "Nothing was repeated")
def keys_as_they_were(k, n_head):
    return k


@wrong("10.6", "The shape is")
def group_left_apart(k, n_head):
    return k[:, :, None].expand(-1, -1, times(k, n_head), -1, -1)


@wrong("10.6", "sequences of the batch are mixed")
def batch_repeated_and_reshaped(k, n_head):
    B, _, T, D = k.shape
    return k.repeat(times(k, n_head), 1, 1, 1).view(B, n_head, T, D) if B > 1 else (
        k.repeat_interleave(times(k, n_head), dim=1)
    )  # fmt: skip


@wrong("10.6", "Nothing was repeated")
def one_head_alone_repeated(k, n_head):
    return k.expand(-1, n_head, -1, -1) if k.shape[1] == 1 else k


@wrong("10.6", "The new heads are zero")
def padded_with_zeros(k, n_head):
    return F.pad(k, (0, 0, 0, 0, 0, n_head - k.shape[1]))


# --- 10.7 A prompt that cannot be confused -------------------------------------------------------

CHAT = "<|im_start|>{}\n{}<|im_end|>\n"
ANSWER = "<|im_start|>assistant\n"


def conversation(messages):
    return "".join(CHAT.format(*message) for message in messages) + ANSWER


def markers(tokenizer):
    return [tokenizer.special_tokens[token] for token in ("<|im_start|>", "<|im_end|>")]


def in_ids(tokenizer, messages, between="\n", after="\n", finish="assistant\n", allowed=()):
    start, end = markers(tokenizer)
    ids = []
    for role, text in messages:
        ids += [start, *tokenizer.encode(role + between + text, allowed), end]
        ids += tokenizer.encode(after)
    return [*ids, start, *tokenizer.encode(finish)] if finish else ids


@wrong("10.7", "became control tokens")
def all_special_allowed(tokenizer, messages):
    return tokenizer.encode(conversation(messages), allowed_special="all")


@wrong("10.7", "became control tokens")
def all_special_allowed_in_pieces(tokenizer, messages):
    return in_ids(tokenizer, messages, allowed="all")


@wrong("10.7", "became control tokens")
def two_special_allowed(tokenizer, messages):
    return in_ids(tokenizer, messages, allowed={"<|im_start|>", "<|im_end|>"})


@wrong("10.7", "were encoded as plain text")
def none_special_allowed(tokenizer, messages):
    return tokenizer.encode(conversation(messages))


@wrong("10.7", "look them up in")
def ids_of_another_tokenizer(tokenizer, messages):
    fox, found = tokenizer.encode("f")[0], in_ids(tokenizer, messages)
    return [fox if i in markers(tokenizer) else i for i in found]


@wrong("10.7", "A system message was added")
def default_system_message(tokenizer, messages):
    return in_ids(tokenizer, [("system", "the fox"), *messages])


@wrong("10.7", "line end after the role is missing")
def no_line_end_after_the_role(tokenizer, messages):
    return in_ids(tokenizer, messages, between="")


@wrong("10.7", "not a space")
def space_after_the_role(tokenizer, messages):
    return in_ids(tokenizer, messages, between=" ")


@wrong("10.7", "not a colon")
def colon_after_the_role(tokenizer, messages):
    return in_ids(tokenizer, messages, between=": ")


@wrong("10.7", "line end after `<|im_end|>` is missing")
def no_line_end_after_the_message(tokenizer, messages):
    return in_ids(tokenizer, messages, after="")


@wrong("10.7", "it comes after it")
def line_end_before_the_marker(tokenizer, messages):
    messages = [(role, text + "\n") for role, text in messages]
    return in_ids(tokenizer, messages, after="")


@wrong("10.7", "has to end with the beginning of the answer")
def no_beginning_of_the_answer(tokenizer, messages):
    return in_ids(tokenizer, messages, finish="")


@wrong("10.7", "the one after `assistant`")
def no_line_end_at_the_end(tokenizer, messages):
    return in_ids(tokenizer, messages, finish="assistant")


@wrong("10.7", "is for the model to write")
def answer_closed(tokenizer, messages):
    return [*in_ids(tokenizer, messages), markers(tokenizer)[1]]


@wrong("10.7", "is for the model to write")
def answer_as_an_empty_message(tokenizer, messages):
    return in_ids(tokenizer, [*messages, ("assistant", "")], finish="")


@wrong("10.7", "encoded apart")
def role_and_text_apart(tokenizer, messages):
    start, end = markers(tokenizer)
    ids = []
    for role, text in messages:
        ids += [start, *tokenizer.encode(role + "\n"), *tokenizer.encode(text), end]
        ids += tokenizer.encode("\n")
    return [*ids, start, *tokenizer.encode("assistant\n")]


@wrong("10.7", "cut out of the text")
def special_tokens_cut_out(tokenizer, messages):
    clean = []
    for role, text in messages:
        for token in tokenizer.special_tokens:
            text = text.replace(token, "")
        clean.append((role, text))
    return tokenizer.encode(conversation(clean), allowed_special="all")


@wrong("10.7", "lost its spaces")
def text_stripped(tokenizer, messages):
    return in_ids(tokenizer, [(role, text.strip()) for role, text in messages])


@wrong("10.7", "Only the last message")
def last_message_alone(tokenizer, messages):
    return in_ids(tokenizer, messages[-1:])


@wrong("10.7", "The role is missing")
def role_forgotten(tokenizer, messages):
    return in_ids(tokenizer, [("", text) for _, text in messages], between="")


@wrong("10.7", "before the messages")
def start_forgotten(tokenizer, messages):
    start, end = markers(tokenizer)
    ids = []
    for role, text in messages:
        ids += [*tokenizer.encode(f"{role}\n{text}"), end, *tokenizer.encode("\n")]
    return [*ids, start, *tokenizer.encode("assistant\n")]


@wrong("10.7", "after every message")
def answer_after_every_message(tokenizer, messages):
    if len(messages) <= 1:
        return in_ids(tokenizer, messages)
    return [i for message in messages for i in in_ids(tokenizer, [message])]


@wrong("10.7", "ids are asked for")
def text_returned(tokenizer, messages):
    return conversation(messages)


@wrong("10.7", "one flat list")
def a_list_for_each_message(tokenizer, messages):
    ids = [in_ids(tokenizer, [message], finish="") for message in messages]
    return [*ids, in_ids(tokenizer, [])]


@wrong("10.7", "do not say what the prompt should say")
def last_id_wrong(tokenizer, messages):
    return [*in_ids(tokenizer, messages)[:-1], 0]


@wrong("10.7", "do not say what the prompt should say")
def special_tokens_spaced_out(tokenizer, messages):
    messages = [(role, text.replace("<|", "< |")) for role, text in messages]
    return tokenizer.encode(conversation(messages), allowed_special="all")


@wrong("10.7", "other than the user's became control tokens")
def only_the_user_distrusted(tokenizer, messages):
    start, end = markers(tokenizer)
    ids = []
    for role, text in messages:
        allowed = () if role == "user" else "all"
        ids += [start, *tokenizer.encode(f"{role}\n{text}", allowed), end]
        ids += tokenizer.encode("\n")
    return [*ids, start, *tokenizer.encode("assistant\n")]


@wrong("10.7", "is no error")
def hostile_text_refused(tokenizer, messages):
    if any(token in text for token in tokenizer.special_tokens for _, text in messages):
        raise ValueError("the text contains a special token")
    return in_ids(tokenizer, messages)


@wrong("10.7", "of other pieces")
def encoded_line_by_line(tokenizer, messages):
    start, end = markers(tokenizer)
    ids = []
    for role, text in messages:
        lines = f"{role}\n{text}".splitlines(keepends=True)
        ids += [start, *(i for line in lines for i in tokenizer.encode(line)), end]
        ids += tokenizer.encode("\n")
    return [*ids, start, *tokenizer.encode("assistant\n")]


@wrong("10.7", "became a control token")
def start_and_text_in_one_piece(tokenizer, messages):
    start, end = markers(tokenizer)
    ids = []
    for role, text in messages:
        ids += tokenizer.encode(f"<|im_start|>{role}\n{text}", {"<|im_start|>"})
        ids += [end, *tokenizer.encode("\n")]
    return [*ids, start, *tokenizer.encode("assistant\n")]


@wrong("10.7", "A marker of yours was encoded as plain text")
def end_as_plain_text(tokenizer, messages):
    start, ids = markers(tokenizer)[0], []
    for role, text in messages:
        ids += [start, *tokenizer.encode(f"{role}\n{text}<|im_end|>\n")]
    return [*ids, start, *tokenizer.encode("assistant\n")]
