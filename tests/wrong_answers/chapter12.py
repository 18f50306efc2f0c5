"""Plausible wrong answers to the exercises of chapter 12."""

import torch

from wrong_answers import wrong

# --- 12.1 Targets --------------------------------------------------------------------------------


@wrong("12.1", "The mask is shifted by one")
def mask_of_the_input(ids, mask):
    return ids[:-1], [ids[t + 1] if mask[t] else -100 for t in range(len(ids) - 1)]


@wrong("12.1", "The targets are the inputs themselves")
def no_shift(ids, mask):
    return ids[:-1], [i if m else -100 for i, m in zip(ids[:-1], mask[:-1], strict=True)]


@wrong("12.1", "shifted the other way")
def shifted_twice(ids, mask):
    return ids[:-1], [
        ids[t + 1] if mask[t + 2 : t + 3] == [True] else -100 for t in range(len(ids) - 1)
    ]


@wrong("12.1", "The loss is on the prompt")
def loss_on_the_prompt(ids, mask):
    return ids[:-1], ids[1:]


@wrong("12.1", "turned round")
def inverted(ids, mask):
    return ids[:-1], [-100 if m else i for i, m in zip(ids[1:], mask[1:], strict=True)]


@wrong("12.1", "the target 0")
def zero_for_nothing(ids, mask):
    return ids[:-1], [i * m for i, m in zip(ids[1:], mask[1:], strict=True)]


@wrong("12.1", "The last id is not an input")
def all_ids_are_inputs(ids, mask):
    return ids, [*(i if m else -100 for i, m in zip(ids[1:], mask[1:], strict=True)), -100]


@wrong("12.1", "Time runs backwards")
def backwards(ids, mask):
    return ids[1:], [i if m else -100 for i, m in zip(ids[:-1], mask[:-1], strict=True)]


@wrong("12.1", "left out of y")
def gaps_closed(ids, mask):
    return ids[:-1], [i for i, m in zip(ids[1:], mask[1:], strict=True) if m]


@wrong("12.1", "The inputs are masked too")
def inputs_masked(ids, mask):
    masked = [i if m else -100 for i, m in zip(ids, mask, strict=True)]
    return masked[:-1], masked[1:]


@wrong("12.1", "the end of the turn")
def end_of_turn_lost(ids, mask):
    y = [i if m else -100 for i, m in zip(ids[1:], mask[1:], strict=True)]
    return ids[:-1], [*y[:-1], -100]


@wrong("12.1", "the target None")
def none_for_nothing(ids, mask):
    return ids[:-1], [i if m else None for i, m in zip(ids[1:], mask[1:], strict=True)]


@wrong("12.1", "Return two lists: the inputs x, and the targets y")
def targets_alone(ids, mask):
    return [i if m else -100 for i, m in zip(ids[1:], mask[1:], strict=True)]


@wrong("12.1", "Return two lists: the inputs x, and the targets y")
def pairs_of_input_and_target(ids, mask):
    x, y = ids[:-1], [i if m else -100 for i, m in zip(ids[1:], mask[1:], strict=True)]
    return list(zip(x, y, strict=True))


@wrong("12.1", "return x first, then y")
def targets_first(ids, mask):
    return [i if m else -100 for i, m in zip(ids[1:], mask[1:], strict=True)], ids[:-1]


@wrong("12.1", "the target -1")
def minus_one_for_nothing(ids, mask):
    return ids[:-1], [i if m else -1 for i, m in zip(ids[1:], mask[1:], strict=True)]


@wrong("12.1", "ask the mask, not the id")
def id_0_is_taken_for_nothing(ids, mask):
    return ids[:-1], [(m and i) or -100 for i, m in zip(ids[1:], mask[1:], strict=True)]


@wrong("12.1", "Only the last answer is learned")
def back_to_the_last_question(ids, mask):
    y, t = [-100] * (len(ids) - 1), len(ids) - 1
    while t > 0 and not mask[t]:
        t -= 1
    while t > 0 and mask[t]:
        y[t - 1] = ids[t]
        t -= 1
    return ids[:-1], y


@wrong("12.1", "left out of x and y")
def gaps_closed_in_both(ids, mask):
    pairs = [(ids[t - 1], ids[t]) for t in range(1, len(ids)) if mask[t]]
    return [x for x, _ in pairs], [y for _, y in pairs]


@wrong("12.1", "x has one id more than y")
def x_with_its_last_id(ids, mask):
    return ids, [i if m else -100 for i, m in zip(ids[1:], mask[1:], strict=True)]


@wrong("12.1", "changes its argument")
def written_over_the_ids(ids, mask):
    x = ids[:-1]
    for t, m in enumerate(mask):
        if not m:
            ids[t] = -100
    return x, ids[1:]


# --- 12.2 A template -----------------------------------------------------------------------------


def written(messages, encode, start_id, end_id, learned):
    """The ids of a conversation; learned(message, part) says what is learned."""
    ids, mask = [], []
    for message in messages:
        parts = {
            "opening": [start_id, *encode(message["role"] + "\n")],
            "content": encode(message["content"]),
            "end": [end_id],
            "line": encode("\n"),
        }
        for name, part in parts.items():
            ids += part
            mask += [bool(learned(message, name))] * len(part)
    return ids, mask


def assistant(message):
    return message["role"] == "assistant"


@wrong("12.2", "no end of turn")
def no_end_of_turn(messages, encode, start_id, end_id):
    ids, mask = [], []
    for m in messages:
        opening, content = [start_id, *encode(m["role"] + "\n")], encode(m["content"])
        ids += opening + content + encode("\n")
        mask += [False] * len(opening) + [assistant(m)] * len(content) + [False]
    return ids, mask


@wrong("12.2", "end of turn is not learned")
def end_not_learned(messages, encode, start_id, end_id):
    return written(messages, encode, start_id, end_id, lambda m, p: assistant(m) and p == "content")


@wrong("12.2", "line end behind the assistant's turn is learned")
def line_end_learned(messages, encode, start_id, end_id):
    return written(messages, encode, start_id, end_id, lambda m, p: assistant(m) and p != "opening")


@wrong("12.2", "opening of the assistant's turn is learned")
def opening_learned(messages, encode, start_id, end_id):
    return written(messages, encode, start_id, end_id, lambda m, p: assistant(m) and p != "line")


@wrong("12.2", "The user's words are learned")
def user_learned(messages, encode, start_id, end_id):
    return written(messages, encode, start_id, end_id, lambda m, p: p in ("content", "end"))


@wrong("12.2", "All ids are learned")
def everything_learned(messages, encode, start_id, end_id):
    return written(messages, encode, start_id, end_id, lambda m, p: True)


@wrong("12.2", "The user's end of turn is learned")
def ends_of_all_learned(messages, encode, start_id, end_id):
    def learned(m, part):
        return part == "end" or (assistant(m) and part == "content")

    return written(messages, encode, start_id, end_id, learned)


@wrong("12.2", "turned round")
def roles_exchanged(messages, encode, start_id, end_id):
    def learned(m, part):
        return not assistant(m) and part in ("content", "end")

    return written(messages, encode, start_id, end_id, learned)


@wrong("12.2", "Only the last turn is learned")
def only_the_last(messages, encode, start_id, end_id):
    def learned(m, part):
        return m is messages[-1] and part in ("content", "end")

    return written(messages, encode, start_id, end_id, learned)


@wrong("12.2", "a turn was forged")
def marks_allowed(messages, encode, start_id, end_id):
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    ids = encode(text, allowed_special="all")
    mask, inside, header = [], False, []
    for i in ids:
        if i == start_id:
            header, inside = [], False
        else:
            header.append(i)
        mask.append(inside and i != start_id)
        if header == encode("assistant\n"):
            inside = True
        if i == end_id:
            inside = False
    return ids, mask


@wrong("12.2", "The user's text was changed")
def marks_removed(messages, encode, start_id, end_id):
    clean = [
        {**m, "content": m["content"].replace("<|im_end|>", "").replace("<|im_start|>", "")}
        for m in messages
    ]
    return written(
        clean, encode, start_id, end_id, lambda m, p: assistant(m) and p in ("content", "end")
    )


@wrong("12.2", "The marks do not occur")
def marks_spelt(messages, encode, start_id, end_id):
    ids, mask = [], []
    for m in messages:
        turn = encode(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n")
        ids, mask = ids + turn, mask + [assistant(m)] * len(turn)
    return ids, mask


@wrong("12.2", "The whole turn of the assistant")
def whole_turn_learned(messages, encode, start_id, end_id):
    return written(messages, encode, start_id, end_id, lambda m, p: assistant(m))


@wrong("12.2", "The line end behind the role is missing")
def no_line_end_behind_the_role(messages, encode, start_id, end_id):
    ids, mask = [], []
    for m in messages:
        opening, said = [start_id, *encode(m["role"])], [*encode(m["content"]), end_id]
        ids += opening + said + encode("\n")
        mask += [False] * len(opening) + [assistant(m)] * len(said) + [False]
    return ids, mask


@wrong("12.2", "What the system says is learned")
def all_but_the_user_learned(messages, encode, start_id, end_id):
    def learned(m, part):
        return m["role"] != "user" and part in ("content", "end")

    return written(messages, encode, start_id, end_id, learned)


@wrong("12.2", "one entry for every id")
def mask_of_the_messages(messages, encode, start_id, end_id):
    ids, _ = written(messages, encode, start_id, end_id, lambda m, p: False)
    return ids, [assistant(m) for m in messages]


def learned_as_asked(message, part):
    return assistant(message) and part in ("content", "end")


@wrong("12.2", "White space and capitals")
def stripped(messages, encode, start_id, end_id):
    clean = [{**m, "content": m["content"].strip()} for m in messages]
    return written(clean, encode, start_id, end_id, learned_as_asked)


@wrong("12.2", "White space and capitals")
def in_lower_case(messages, encode, start_id, end_id):
    clean = [{**m, "content": m["content"].lower()} for m in messages]
    return written(clean, encode, start_id, end_id, learned_as_asked)


@wrong("12.2", "The two marks are exchanged")
def marks_exchanged(messages, encode, start_id, end_id):
    return written(messages, encode, end_id, start_id, learned_as_asked)


@wrong("12.2", "one place too early")
def mask_shifted_already(messages, encode, start_id, end_id):
    ids, mask = written(messages, encode, start_id, end_id, learned_as_asked)
    return ids, [*mask[1:], False]


@wrong("12.2", "The two lists are exchanged")
def mask_first(messages, encode, start_id, end_id):
    return written(messages, encode, start_id, end_id, learned_as_asked)[::-1]


@wrong("12.2", "Only the end of the assistant's turn")
def content_not_learned(messages, encode, start_id, end_id):
    return written(messages, encode, start_id, end_id, lambda m, p: assistant(m) and p == "end")


@wrong("12.2", "An empty answer is a turn too")
def empty_messages_left_out(messages, encode, start_id, end_id):
    some = [m for m in messages if m["content"]]
    return written(some, encode, start_id, end_id, learned_as_asked)


@wrong("12.2", "That is for generation")
def ready_to_generate(messages, encode, start_id, end_id):
    ids, mask = written(messages, encode, start_id, end_id, learned_as_asked)
    opening = [start_id, *encode("assistant\n")]
    return ids + opening, mask + [False] * len(opening)


@wrong("12.2", "encode it with the role")
def line_end_before_the_content(messages, encode, start_id, end_id):
    ids, mask = [], []
    for m in messages:
        opening, said = [start_id, *encode(m["role"])], [*encode("\n" + m["content"]), end_id]
        ids += opening + said + encode("\n")
        mask += [False] * len(opening) + [assistant(m)] * len(said) + [False]
    return ids, mask


@wrong("12.2", "`join` sets one only between them")
def line_ends_between_turns(messages, encode, start_id, end_id):
    ids, mask = written(messages, encode, start_id, end_id, learned_as_asked)
    return ids[:-1], mask[:-1]


@wrong("12.2", "The role was changed")
def roles_in_capitals(messages, encode, start_id, end_id):
    named = [{**m, "role": m["role"].capitalize()} for m in messages]
    return written(
        named,
        encode,
        start_id,
        end_id,
        lambda m, p: m["role"] == "Assistant" and p in ("content", "end"),
    )


@wrong("12.2", "Every second message")
def every_second_message(messages, encode, start_id, end_id):
    numbers = {id(m): n for n, m in enumerate(messages)}

    def learned(m, part):
        return numbers[id(m)] % 2 == 1 and part in ("content", "end")

    return written(messages, encode, start_id, end_id, learned)


@wrong("12.2", "The message of the system was left out")
def without_the_system(messages, encode, start_id, end_id):
    some = [m for m in messages if m["role"] != "system"]
    return written(some, encode, start_id, end_id, learned_as_asked)


@wrong("12.2", "says True or False for each id")
def targets_for_a_mask(messages, encode, start_id, end_id):
    ids, mask = written(messages, encode, start_id, end_id, learned_as_asked)
    return ids, [i if learned else -100 for i, learned in zip(ids, mask, strict=True)]


@wrong("12.2", "The assistant's role is learned")
def all_behind_the_mark(messages, encode, start_id, end_id):
    ids, mask = written(
        messages, encode, start_id, end_id, lambda m, p: assistant(m) and p != "line"
    )
    return ids, [learned and i != start_id for i, learned in zip(ids, mask, strict=True)]


def line_end_in_the_turn(learned):
    def run(messages, encode, start_id, end_id):
        ids, mask = [], []
        for m in messages:
            opening, text = [start_id, *encode(m["role"] + "\n")], encode(m["content"])
            ids += [*opening, *text, *encode("\n"), end_id]
            mask += [False] * len(opening) + [assistant(m)] * len(text)
            mask += [assistant(m) and learned, assistant(m)]
        return ids, mask

    return run


wrong("12.2", "The line end stands before `end_id`")(line_end_in_the_turn(True))
wrong("12.2", "A line end stands before `end_id`")(line_end_in_the_turn(False))


@wrong("12.2", "Role and content were encoded in one piece")
def in_one_piece(messages, encode, start_id, end_id):
    ids, mask = [], []
    for m in messages:
        text = encode(f"{m['role']}\n{m['content']}")
        n = len(encode(f"{m['role']}\n"))
        ids += [start_id, *text, end_id, *encode("\n")]
        mask += [False] * (1 + n) + [assistant(m)] * (len(text) - n + 1) + [False]
    return ids, mask


# --- 12.3 The last real place --------------------------------------------------------------------


@wrong("12.3", "You took the last column")
def last_column(logits, lengths):
    return logits[:, -1]


@wrong("12.3", "One place too late")
def padding_begins(logits, lengths):
    return logits[torch.arange(len(logits)), lengths.clamp(max=logits.shape[1] - 1)]


@wrong("12.3", "place n may not exist")
def beyond_the_end(logits, lengths):
    return logits[torch.arange(len(logits)), lengths]


@wrong("12.3", "One place too early")
def one_too_early(logits, lengths):
    return logits[torch.arange(len(logits)), (lengths - 2).clamp(min=0)]


@wrong("12.3", "Each place was taken from every row")
def all_pairs(logits, lengths):
    return logits[:, lengths - 1]


@wrong("12.3", "where the shortest one ends")
def shortest(logits, lengths):
    return logits[:, lengths.min() - 1]


@wrong("12.3", "from the end of the padded row")
def from_the_end(logits, lengths):
    return logits[torch.arange(len(logits)), -lengths]


# --- 12.4 Positions in a packed row --------------------------------------------------------------


@wrong("12.4", "The positions go on")
def not_reset(ids, begin_id):
    return torch.arange(len(ids))


@wrong("12.4", "one place too late")
def reset_late(ids, begin_id):
    places, at = [], 0
    for i in ids.tolist():
        places.append(at)
        at = 0 if i == begin_id else at + 1
    return torch.tensor(places)


@wrong("12.4", "not from 1")
def from_one(ids, begin_id):
    places, at = [], 0
    for i in ids.tolist():
        at = 1 if i == begin_id else at + 1
        places.append(at)
    return torch.tensor(places)


@wrong("12.4", "number of the example of each id")
def example_of_each(ids, begin_id):
    return (ids == begin_id).cumsum(0)


@wrong("12.4", "where each example begins")
def beginning_of_each(ids, begin_id):
    return torch.where(ids == begin_id, torch.arange(len(ids)), 0).cummax(0).values


@wrong("12.4", "an example begins where the id is `begin_id`")
def reset_at_0(ids, begin_id):
    places, at = [], -1
    for i in ids.tolist():
        at = 0 if i == 0 else at + 1
        places.append(at)
    return torch.tensor(places)


@wrong("12.4", "Only a beginning itself was set to 0")
def beginnings_not_carried_on(ids, begin_id):
    places = torch.arange(len(ids))
    return places - torch.where(ids == begin_id, places, 0)


@wrong("12.4", "the sum of all beginnings")
def beginnings_added_up(ids, begin_id):
    places = torch.arange(len(ids))
    return places - torch.where(ids == begin_id, places, 0).cumsum(0)


@wrong("12.4", "Ids before the first beginning count from 0 too")
def nothing_before_the_first(ids, begin_id):
    places, at = [], None
    for i in ids.tolist():
        at = 0 if i == begin_id else at if at is None else at + 1
        places.append(at or 0)
    return torch.tensor(places)


@wrong("12.4", "Where does your counter begin?")
def a_counter_that_begins_at_0(ids, begin_id):
    places, at = [], 0
    for i in ids.tolist():
        at = 0 if i == begin_id else at + 1
        places.append(at)
    return torch.tensor(places)


@wrong("12.4", "every id has a position")
def beginnings_as_borders(ids, begin_id):
    starts = (ids == begin_id).nonzero()[:, 0].tolist()
    ends = [*starts[1:], len(ids)]
    return [n for a, z in zip(starts, ends, strict=True) for n in range(z - a)]


@wrong("12.4", "`.values` is the first")
def both_of_cummax(ids, begin_id):
    places = torch.arange(len(ids))
    return places - torch.where(ids == begin_id, places, 0).cummax(0)


# --- 12.5 Who may see whom -----------------------------------------------------------------------


@wrong("12.5", "Contamination")
def causal_alone(numbers):
    return torch.ones(len(numbers), len(numbers)).tril().bool()


@wrong("12.5", "sees the future")
def blocks_alone(numbers):
    real = numbers != 0
    return (numbers[:, None] == numbers) & real[:, None] & real


@wrong("12.5", "does not see itself")
def strictly_before(numbers):
    real = numbers != 0
    past = torch.ones(len(numbers), len(numbers)).tril(-1).bool()
    return (numbers[:, None] == numbers) & past & real[:, None] & real


@wrong("12.5", "are exchanged")
def transposed(numbers):
    real = numbers != 0
    future = torch.ones(len(numbers), len(numbers)).triu().bool()
    return (numbers[:, None] == numbers) & future & real[:, None] & real


@wrong("12.5", "Padding is an example of its own")
def padding_forgotten(numbers):
    past = torch.ones(len(numbers), len(numbers)).tril().bool()
    return (numbers[:, None] == numbers) & past


@wrong("12.5", "turned round")
def may_not_look(numbers):
    real = numbers != 0
    past = torch.ones(len(numbers), len(numbers)).tril().bool()
    return ~((numbers[:, None] == numbers) & past & real[:, None] & real)


@wrong("12.5", "must be boolean")
def zeros_and_ones(numbers):
    past = torch.ones(len(numbers), len(numbers)).tril()
    return (numbers[:, None] == numbers) * past


@wrong("12.5", "must be boolean")
def an_array_of_zeros_and_ones(numbers):
    return zeros_and_ones(numbers).int().numpy()


@wrong("12.5", "must be boolean")
def lists_of_zeros_and_ones(numbers):
    return zeros_and_ones(numbers).int().tolist()


@wrong("12.5", "padding may stand in front")
def as_many_as_are_real(numbers):
    T, n = len(numbers), int((numbers != 0).sum())
    mask = torch.zeros(T, T, dtype=torch.bool)
    mask[:n, :n] = ((numbers[:, None] == numbers) & (numbers != 0)).tril()[:n, :n]
    return mask


# --- 12.6 Two ways to take a mean ----------------------------------------------------------------


def two(losses, y):
    real = y != -100
    rows = torch.stack([r[s].mean() for r, s in zip(losses, real, strict=True) if s.any()])
    return losses[real].mean(), rows.mean()


@wrong("12.6", "The two means are exchanged")
def exchanged(losses, y):
    return two(losses, y)[::-1]


@wrong("12.6", "Both are the mean over targets")
def targets_twice(losses, y):
    return (two(losses, y)[0],) * 2


@wrong("12.6", "Both are the mean over examples")
def examples_twice(losses, y):
    return (two(losses, y)[1],) * 2


@wrong("12.6", "Places without a target were counted")
def padding_counted(losses, y):
    return losses.mean(), losses.mean(1).mean()


@wrong("12.6", "divided by all places")
def divided_by_all(losses, y):
    kept = losses * (y != -100)
    return kept.mean(), kept.mean(1).mean()


@wrong("12.6", "0/0 is nan")
def empty_rows_divided(losses, y):
    real = (y != -100).float()
    rows = (losses * real).sum(1) / real.sum(1)
    return (losses * real).sum() / real.sum(), rows.mean()


@wrong("12.6", "A row without a target counts as an example")
def empty_rows_counted(losses, y):
    real = (y != -100).float()
    rows = (losses * real).sum(1) / real.sum(1).clamp(min=1)
    return (losses * real).sum() / real.sum(), rows.mean()


@wrong("12.6", "the id 0 is a target like any other")
def positive_ids_alone(losses, y):
    real = y > 0
    rows = torch.stack([r[s].mean() for r, s in zip(losses, real, strict=True)])
    return losses[real].mean(), rows.nanmean()


@wrong("12.6", "These are sums")
def not_divided(losses, y):
    kept = losses * (y != -100)
    return kept.sum(), kept.sum(1).mean()


@wrong("12.6", "What is learned is told by y")
def losses_of_zero_left_out(losses, y):
    kept = losses * (y != -100)
    rows = [row[row != 0].mean() for row in kept if (row != 0).any()]
    return kept[kept != 0].mean(), torch.stack(rows).mean()


@wrong("12.6", "Which rows have targets is told by y")
def rows_of_zero_left_out(losses, y):
    real = (y != -100).float()
    rows = (losses * real).sum(1) / real.sum(1)
    return (losses * real).sum() / real.sum(), rows[rows > 0].mean()


@wrong("12.6", "column by column")
def means_of_columns(losses, y):
    return two(losses, y)[0], two(losses.T, y.T)[1]


@wrong("12.6", "a mean of sums")
def sums_of_examples(losses, y):
    return two(losses, y)[0], (losses * (y != -100)).sum() / (y != -100).any(1).sum()


@wrong("12.6", "Return two numbers")
def the_losses_themselves(losses, y):
    real = y != -100
    return losses[real], torch.stack([r[s].mean() for r, s in zip(losses, real, strict=True)])


@wrong("12.6", "added up and not divided")
def rows_added_up(losses, y):
    real = y != -100
    means = [row[some].mean() for row, some in zip(losses, real, strict=True) if some.any()]
    return losses[real].mean(), sum(means)


@wrong("12.6", "targets of the longest")
def divided_by_the_longest(losses, y):
    real = y != -100
    sums = [row[some].sum() for row, some in zip(losses, real, strict=True) if some.any()]
    return losses[real].mean(), sum(sums) / len(sums) / real.sum(1).max()


@wrong("12.6", "The id 0 is a target like any other")
def zero_is_padding(losses, y):
    real = y > 0
    means = [row[some].mean() for row, some in zip(losses, real, strict=True) if some.any()]
    return losses[real].mean(), torch.stack(means).mean()
