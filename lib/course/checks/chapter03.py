"""The checks of chapter 03 · Data."""

import itertools
import math
import random

import torch

from lib.course.checks.engine import Probe, exercise

# --- 3.1 -----------------------------------------------------------------------------------------


def joined(documents, before=(), after=()):
    return [i for ids in documents for i in [*before, *ids, *after]]


PACK_MISTAKES = {
    "Each document became a list of its own; a stream is one flat list of ids.": (
        lambda documents, end: [[*ids, end] for ids in documents]
    ),
    "There is no end-of-text at all: the model could not tell where one document stops and the "
    "next, which has nothing to do with it, begins.": lambda documents, end: joined(documents),
    "The last document is not closed. End-of-text stands after every document, also after the "
    "last: it is what tells the model to stop.": (
        lambda documents, end: joined(documents, after=[end])[:-1]
    ),
    "End-of-text stands before each document instead of after it, so the last one never ends.": (
        lambda documents, end: joined(documents, before=[end])
    ),
    "There are two ends between neighbours, as if an empty document stood there; the model would "
    "learn to say nothing. One is enough: it ends one document and begins the next.": (
        lambda documents, end: joined(documents, before=[end], after=[end])
    ),
    "Where there are no documents, there is nothing to close: the stream is empty.": (
        lambda documents, end: joined(documents, after=[end]) or [end]
    ),
    "The documents run into each other; end-of-text stands only once, behind all of them.": (
        lambda documents, end: [*joined(documents), end]
    ),
    "You write the same token, 0, whatever `end_id` is.": (
        lambda documents, end: joined(documents, after=[0])
    ),
    "Each document went into the stream as one element, a list in a list: add its ids instead.": (
        lambda documents, end: [x for ids in documents for x in (ids, end)]
    ),
    "You stop after the first document: is the `return` inside the loop?": (
        lambda documents, end: joined(documents[:1], after=[end])
    ),
    "End-of-text stands behind every id; it closes a document.": (
        lambda documents, end: joined([[i] for ids in documents for i in ids], after=[end])
    ),
}


@exercise("3.1", "Pack the documents")
def packing(probe: Probe) -> None:
    for claim, documents, end in (
        ("two documents make one stream", [[5, 6], [7]], 9),
        ("a single document is closed too", [[5, 6]], 9),
        ("whatever the id of end-of-text", [[5], [6], [7, 8]], 3),
        ("no documents, no stream", [], 9),
    ):
        probe.compare((documents, end), joined(documents, after=[end]), PACK_MISTAKES)
        probe.holds(claim)


# --- 3.2 -----------------------------------------------------------------------------------------


def cut(stream, T, stride=None, shift=1, stop=None):
    """Windows of T beginning at every `stride`-th place, with targets `shift` places later."""
    stop = len(stream) - T if stop is None else stop
    starts = range(0, stop, stride or T)
    return (
        [stream[i : i + T] for i in starts],
        [stream[i + shift : i + shift + T] for i in starts],
    )


def shifted_back(stream, T):
    inputs, targets = cut(stream, T)
    return targets, inputs


def filled_up(stream, T):
    padded = [*stream, *[0] * T]
    return cut(padded, T, stop=len(stream) - 1)


WINDOW_MISTAKES = {
    "Your targets are the inputs themselves: a model could copy its input and learn nothing. The "
    "target of each position is the id one place *later*.": lambda s, T: cut(s, T, shift=0),
    "Inputs and targets have changed places: the target would be the id one place *earlier*, which "
    "the model has already read.": shifted_back,
    "Your targets lie two places later; each is the very next id.": lambda s, T: cut(s, T, shift=2),
    "You return the windows of T + 1 ids; cut each into inputs (all but the last) and targets "
    "(all but the first).": lambda s, T: [s[i : i + T + 1] for i in range(0, len(s) - T, T)],
    "Your windows begin at every place, so that each id is a target T times in one pass; the next "
    "window begins where the targets have not been yet, T places on.": (
        lambda s, T: cut(s, T, stride=1)
    ),
    "Your windows are T + 1 apart, so one id between two windows is never a target. Neighbouring "
    "windows of T + 1 ids share one id: it is the last target here and the first input there.": (
        lambda s, T: cut(s, T, stride=T + 1)
    ),
    "Your windows overlap: they begin less than T apart, and some ids are targets twice.": (
        lambda s, T: cut(s, T, stride=T - 1)
    ),
    "The last window that fits is missing: a window needs T + 1 ids, and no more.": (
        lambda s, T: cut(s, T, stop=len(s) - T - 1)
    ),
    "The last window has no complete targets: the stream ends before its last target. Leave it "
    "out; rows of different lengths make no tensor.": (lambda s, T: cut(s, T, stop=len(s) - T + 1)),
    "The last window is shorter than T. Leave it out; rows of different lengths make no tensor.": (
        lambda s, T: cut(s, T, stop=len(s) - 1)
    ),
    "The last window is shorter than T; leave it out.": lambda s, T: cut(s, T, stop=len(s)),
    "You give one target a window, as in chapter 01. Here each of the T positions has a target: "
    "the id one place later.": lambda s, T: (
        cut(s, T)[0],
        [row[-1] for row in cut(s, T)[1]],
    ),
    "Your targets are the next window. The target of each position is the very next id, so the "
    "targets are the inputs moved on by one place.": lambda s, T: cut(s, T, shift=T),
    "A target is missing in each row: there are T inputs and T targets, taken from T + 1 ids.": (
        lambda s, T: (cut(s, T)[0], [row[:-1] for row in cut(s, T)[1]])
    ),
    "Your windows hold T ids in all, so that T - 1 are inputs; T counts the inputs.": (
        lambda s, T: cut(s, T - 1, stop=len(s) - T + 1)
    ),
    "You fill the last window up; no id stands there to be predicted. Leave it out.": filled_up,
    "Your last target is the first id of the stream: it does not follow there. Leave such a window "
    "out.": lambda s, T: (cut(s, T, stop=len(s) - T + 1)[0], cut([*s, s[0]], T)[1]),
    "Inputs and targets stand in one list; return two.": lambda s, T: [
        *cut(s, T)[0],
        *cut(s, T)[1],
    ],
    "You return flat lists; cut them into windows of T.": lambda s, T: tuple(
        [i for row in rows for i in row] for rows in cut(s, T)
    ),
    "You return pairs, one for each window; asked for are all inputs, and all targets.": (
        lambda s, T: list(zip(*cut(s, T), strict=True))
    ),
}


@exercise("3.2", "Inputs and targets")
def inputs_and_targets(probe: Probe) -> None:
    for claim, stream, T in (
        ("inputs and targets of one window", [10, 11, 12, 13], 3),
        ("every window, the last one too", [10, 11, 12, 13, 14, 15, 16], 3),
        ("a rest that is too short is left out", [10, 11, 12, 13, 14, 15, 16, 17], 3),
        ("a window without its last target is left out", [10, 11, 12, 13, 14, 15], 3),
        ("windows of one", [4, 5, 6], 1),
        ("a longer stream", list(range(50, 80)), 7),
    ):
        probe.compare((stream, T), cut(stream, T), WINDOW_MISTAKES)
        probe.holds(claim)


# --- 3.3 -----------------------------------------------------------------------------------------


def order(epoch):
    """The order of an epoch, as the exercise hands it to the learner."""
    return random.Random(epoch + 3).sample(range(order.n), order.n)


def served(step, batch_size, n_windows, order, shift=0, epoch_of=lambda epoch: epoch):
    """Window numbers of a batch, by counting through all epochs."""
    first = (step + shift) * batch_size
    numbers = range(first, first + batch_size)
    return [order(epoch_of(i // n_windows))[i % n_windows] for i in numbers]


def without_rest(step, batch_size, n_windows, order):
    per_epoch = n_windows // batch_size
    first = step % per_epoch * batch_size
    return order(step // per_epoch)[first : first + batch_size]


def stays_in_epoch(step, batch_size, n_windows, order):
    first = step * batch_size
    numbers = range(first, first + batch_size)
    return [order(first // n_windows)[i % n_windows] for i in numbers]


def cut_short(step, batch_size, n_windows, order):
    first = step * batch_size
    return order(first // n_windows)[first % n_windows :][:batch_size]


def other_place(step, batch_size, n_windows, order):
    epoch, place = divmod(step * batch_size, n_windows)
    numbers = order(epoch)[place : place + batch_size]
    return numbers + order(epoch + 1)[place : place + batch_size - len(numbers)]


def two_epochs(step, batch_size, n_windows, order):
    epoch, place = divmod(step * batch_size, n_windows)
    return [*order(epoch), *order(epoch + 1)][place : place + batch_size]


def rounded_up(step, batch_size, n_windows, order):
    epoch, place = divmod(step, -(-n_windows // batch_size))
    return order(epoch)[place * batch_size :][:batch_size]


def places_of(step, batch_size, n_windows):
    return range(step * batch_size, (step + 1) * batch_size)


BATCH_MISTAKES = {
    "These are places in the order, not the windows that stand there: look them up in "
    "`order(epoch)`.": lambda step, B, n, order: [i % n for i in range(step * B, (step + 1) * B)],
    "Every epoch has the same order here: ask `order` for the order of *this* epoch.": (
        lambda *a: served(*a, epoch_of=lambda epoch: 0)
    ),
    "That is the batch after the one asked for: step 0 is the first.": lambda *a: served(
        *a, shift=1
    ),
    "That is the batch before: after a break, the last batch would be served again.": (
        lambda *a: served(*a, shift=-1)
    ),
    "Epochs are numbered from 0.": lambda *a: served(*a, epoch_of=lambda epoch: epoch + 1),
    "You begin a new epoch before the old one is used up, so some windows are left out. A batch "
    "may hold the last windows of one epoch and the first of the next.": without_rest,
    "The batch is shorter where an epoch ends; fill it with the first windows of the next.": (
        cut_short
    ),
    "The batch crosses into the next epoch, but you go on in the old epoch's order, and some "
    "windows come twice in it.": stays_in_epoch,
    "`order` takes the number of an epoch, and you gave it that of the step.": (
        lambda step, B, n, order: [order(step)[i % n] for i in places_of(step, B, n)]
    ),
    "You ask at which place a window stands (`index`); asked is which window stands at a place.": (
        lambda step, B, n, order: [order(i // n).index(i % n) for i in places_of(step, B, n)]
    ),
    "The order of the windows is the point of it: do not sort them.": lambda *a: sorted(served(*a)),
    "These are places, and an epoch has no such place: find out for each which epoch it falls into "
    "and where.": lambda step, B, n, order: list(places_of(step, B, n)),
    "These are pairs of epoch and place; look up which window stands there.": (
        lambda step, B, n, order: [divmod(i, n) for i in places_of(step, B, n)]
    ),
    "You take everything from the order of epoch 0, which ends; then comes that of epoch 1.": (
        lambda step, B, n, order: order(0)[step * B : (step + 1) * B]
    ),
    "A batch may be so long that it spans more than two epochs.": two_epochs,
    "A new epoch begins with the first window of its order, and you go on in the middle.": (
        other_place
    ),
    "You begin every epoch with a new batch, so the last one of an epoch stays short.": rounded_up,
    "The order does not move on: this is the first batch of the epoch again.": (
        lambda step, B, n, order: order(step * B // n)[:B]
    ),
}


@exercise("3.3", "The batch that was due")
def batch_that_was_due(probe: Probe) -> None:
    for claim, n, batch_size, steps in (
        ("the first batch", 6, 2, [0]),
        ("the batches that follow", 6, 2, [2, 1]),
        ("a new epoch has a new order", 6, 2, [3, 5]),
        ("a batch may reach into the next epoch", 7, 3, [4, 2]),
        ("a batch may be longer than an epoch", 2, 5, [0, 3]),
        ("any step can be asked for at once", 7, 3, [1000]),
    ):
        order.n = n
        for step in steps:
            args = (step, batch_size, n, order)
            expected = served(*args)
            got = probe.call(*args)
            around = range(step * batch_size // n, ((step + 1) * batch_size - 1) // n + 1)
            shown = {epoch: order(epoch) for epoch in list(around)[:3]}
            example = f"step {step}, batch_size {batch_size}, n_windows {n}\n" + "\n".join(
                f"order({epoch}) = {numbers}" for epoch, numbers in shown.items()
            )
            lazy = {why: (lambda f=f, a=args: f(*a)) for why, f in BATCH_MISTAKES.items()}
            probe.expect(got, expected, lazy, example)
        probe.holds(claim)


# --- 3.4 -----------------------------------------------------------------------------------------


def numbers_of(x, end_id, end_opens=False):
    is_end = (x == end_id).long()
    return is_end.cumsum(0) - (0 if end_opens else is_end)


def mask_of(x, end_id, end_opens=False):
    number = numbers_of(x, end_id, end_opens)
    return (number[:, None] == number[None, :]).tril()


def no_documents(x, end_id):
    return torch.ones(len(x), len(x), dtype=torch.bool).tril()


def same_document(x, end_id):
    number = numbers_of(x, end_id)
    return number[:, None] == number[None, :]


def ends_of(x, end_id):
    return (x == end_id).nonzero().flatten().tolist()


def some_borders(x, ends):
    mask = no_documents(x, None)
    for k in ends:
        mask[k + 1 :, : k + 1] = False
    return mask


MASK_MISTAKES = {
    "Your mask lets a position look at later ones: they hold the very answers.": same_document,
    "Rows and columns have changed places: row i says what position i may look at, and that is "
    "never later than i.": lambda x, end: mask_of(x, end).T,
    "Your mask also hides the position itself; it may look at itself.": (
        lambda x, end: mask_of(x, end).tril(-1)
    ),
    "Your mask is inverted: True means *may look*.": lambda x, end: ~mask_of(x, end),
    "A position still sees the documents before its own: the mask only hides the future.": (
        no_documents
    ),
    "You count the end-of-text to the document that follows; it belongs to the one that it closes, "
    "and must see it to know that it is over.": lambda x, end: mask_of(x, end, end_opens=True),
    "Only neighbours are separated: compare the numbers of the documents, not the end-of-text "
    "tokens themselves.": lambda x, end: ((x[:, None] == end) == (x[None, :] == end)).tril(),
    "Only the first border of the row is kept: a row may hold more than two documents.": (
        lambda x, end: some_borders(x, ends_of(x, end)[:1])
    ),
    "Only the last border of the row is kept: a row may hold more than two documents.": (
        lambda x, end: some_borders(x, ends_of(x, end)[-1:])
    ),
    "The end-of-text is taken for the number 0, whatever `end_id` is.": lambda x, end: mask_of(
        x, 0
    ),
    "Your mask only hides the end-of-text itself; the documents before it stay visible.": (
        lambda x, end: no_documents(x, end) & (x != end)
    ),
    "The end-of-text must see its own document, to know that it is over; its row is empty here.": (
        lambda x, end: mask_of(x, end) & (x != end)[:, None]
    ),
    "The end-of-text may look at itself, as every position may.": (
        lambda x, end: mask_of(x, end) & (x != end)
    ),
    "These are the numbers of the documents; compare all pairs of them.": numbers_of,
    "The mask has an axis too many: x is one row, so (T, T) is asked for.": (
        lambda x, end: mask_of(x, end)[None]
    ),
    "The first document is visible to the later ones.": lambda x, end: (
        mask_of(x, end) | (numbers_of(x, end)[None, :] == 0).expand(len(x), -1)
    ).tril(),
}


@exercise("3.4", "Who may look at whom")
def who_may_look(probe: Probe) -> None:
    for claim, ids, end in (
        ("the past of one document, and no future", [5, 6, 7], 0),
        ("nothing of an earlier document", [5, 6, 0, 7, 8], 0),
        ("three documents, one of them cut off", [4, 9, 0, 6, 9, 7, 8], 9),
        ("ends in a row are documents by themselves", [0, 0, 3, 0], 0),
    ):
        x = torch.tensor(ids)
        got = probe.call(x, end)
        example = f"x = {ids}, end_id = {end}"
        if isinstance(got, torch.Tensor) and got.shape == (len(ids), len(ids)):
            probe.require(
                got.dtype == torch.bool or bool(((got == 0) | (got == 1)).all()),
                "The mask holds other numbers than 0 and 1; a boolean tensor is asked for.",
                example,
            )
            example += "\n" + rows_side_by_side(got, mask_of(x, end))
        lazy = {why: (lambda f=f, x=x, end=end: f(x, end)) for why, f in MASK_MISTAKES.items()}
        probe.expect(got, mask_of(x, end), lazy, example)
        probe.holds(claim)


def rows_side_by_side(got, expected):
    """Two masks as pictures of dots, for the eye."""
    lines = ["yours" + " " * len(got) + "  expected"]
    for a, b in zip(got.tolist(), expected.tolist(), strict=True):
        lines.append("".join("#" if v else "." for v in a) + " " * 7)
        lines[-1] += "".join("#" if v else "." for v in b)
    return "\n".join(lines)


# --- 3.5 -----------------------------------------------------------------------------------------


def fair(train, held_out, roles=True, parts=True, need=any, new=True):
    """Held-out documents with a combination that is new although both of its parts are known."""
    known = {c for document in train for c in document}
    seen = {part for c in known for part in (enumerate(c) if roles else c)}

    def good(c):
        its_parts = list(enumerate(c)) if roles else list(c)
        return ((c not in known) if new else True) and (
            not parts or all(part in seen for part in its_parts)
        )

    return [i for i, document in enumerate(held_out) if need([good(c) for c in document])]


def chosen(train, held_out, good):
    """The documents of which `good` says yes, given for each combination: itself, whether it is
    new, and for each of its parts whether it is known."""
    known = {c for document in train for c in document}
    seen = {part for c in known for part in enumerate(c)}
    facts = [
        [(c, c not in known, [part in seen for part in enumerate(c)]) for c in document]
        for document in held_out
    ]
    return [i for i, document in enumerate(facts) if good(document)]


def either_order(train, held_out):
    known = {c for document in train for c in document}
    return chosen(
        train,
        held_out,
        lambda d: any(new and all(parts) and c[::-1] not in known for c, new, parts in d),
    )


def fair_pairs(train, held_out):
    """The pairs that make documents fair, with the documents' positions."""
    return [
        (i, c)
        for i, document in enumerate(held_out)
        for c in sorted(document)
        if fair(train, [{c}])
    ]


FAIR_MISTAKES = {
    "The part was seen, but in another role: a verb that training has only as an object is not "
    "known as a verb. Compare first parts with first parts.": (
        lambda train, held_out: fair(train, held_out, roles=False)
    ),
    "One pair of the document must be new *and* have known parts; here one pair is new and another "
    "one has known parts.": lambda train, held_out: chosen(
        train,
        held_out,
        lambda d: any(new for _, new, _ in d) and any(all(parts) for *_, parts in d),
    ),
    "One known part is not enough: both must occur in training.": lambda train, held_out: chosen(
        train, held_out, lambda d: any(new and any(parts) for _, new, parts in d)
    ),
    "A combination counts although one of its parts never occurs in training: failing there says "
    "nothing about combining, for the model has never met that word.": (
        lambda train, held_out: fair(train, held_out, parts=False)
    ),
    "You ask only whether the parts are known, not whether the combination is new.": (
        lambda train, held_out: fair(train, held_out, new=False)
    ),
    "You ask that *all* pairs of the document have known parts; the one that is new is enough.": (
        lambda train, held_out: chosen(
            train,
            held_out,
            lambda d: any(new for _, new, _ in d) and all(all(parts) for *_, parts in d),
        )
    ),
    "You ask that *all* combinations of the document be new; one is enough to test with.": (
        lambda train, held_out: fair(
            train, held_out, need=lambda values: bool(values) and all(values)
        )
    ),
    "You compare whole documents. A document can be new while each of its combinations is known.": (
        lambda train, held_out: [i for i, d in enumerate(held_out) if d not in train]
    ),
    "A document is listed once for each of its pairs; list it once.": (
        lambda train, held_out: [i for i, _ in fair_pairs(train, held_out)]
    ),
    "Two equal documents have the same position here: `index` finds the first of them. Count the "
    "documents as you go through them.": lambda train, held_out: [
        held_out.index(held_out[i]) for i in fair(train, held_out)
    ],
    "A pair counts as known although training has it only the other way round.": either_order,
    "You return True or False for each document; the positions of the fair ones are asked for.": (
        lambda train, held_out: [i in fair(train, held_out) for i in range(len(held_out))]
    ),
    "You return the pairs; the positions in `held_out` of the documents are asked for.": (
        lambda train, held_out: [c for _, c in fair_pairs(train, held_out)]
    ),
    "You return the documents; their positions in `held_out` are asked for.": (
        lambda train, held_out: [held_out[i] for i in fair(train, held_out)]
    ),
    "You list the documents that are *no* fair test.": lambda train, held_out: [
        i for i in range(len(held_out)) if i not in fair(train, held_out)
    ],
    "Your list is empty, and there is a fair test: a pair that is new, of parts that are known.": (
        lambda train, held_out: [] if fair(train, held_out) else None
    ),
}


@exercise("3.5", "A fair test of combining")
def fair_test(probe: Probe) -> None:
    eat_cake, eat_fish, buy_cake, buy_fish = itertools.product(("eat", "buy"), ("cake", "fish"))
    train = [{eat_cake}, {buy_fish}]
    for claim, train_set, held_out in (
        ("known parts, new combination", train, [{eat_cake}, {buy_fish}, {eat_fish}]),
        ("known combinations test nothing", train, [{eat_cake}, {buy_cake}, {eat_cake, buy_fish}]),
        (
            "an unknown part is no fair test",
            train,
            [{("sing", "cake")}, {("eat", "song")}, {("sing", "song")}],
        ),
        ("one new combination is enough", train, [{eat_cake, eat_fish}, {("sing", "cake")}]),
        (
            "a part counts in its own role",
            [{eat_cake}, {("see", "fish")}, {("see", "watch")}],
            [{("watch", "cake")}, {eat_fish}],
        ),
        (
            "each pair by itself",
            train,
            [{eat_cake, ("sing", "song")}, {eat_fish, ("sing", "song")}],
        ),
        ("a document is listed once", train, [{eat_fish, buy_cake}]),
        ("equal documents have positions of their own", train, [{eat_fish}, {eat_fish}]),
        ("the parts of a pair have an order", [{("fish", "eat")}, *train], [{eat_fish}]),
        ("nothing held out, nothing to list", train, []),
    ):
        probe.compare((train_set, held_out), fair(train_set, held_out), FAIR_MISTAKES)
        probe.holds(claim)


# --- 3.6 -----------------------------------------------------------------------------------------


def gradient_of_lookup(ids, upstream, vocab_size):
    one_hot = torch.nn.functional.one_hot(ids.flatten(), vocab_size).to(upstream.dtype)
    return one_hot.T @ upstream.flatten(0, 1)


def last_one_wins(ids, upstream, vocab_size):
    result = torch.zeros(vocab_size, upstream.shape[-1], dtype=upstream.dtype)
    for i, row in zip(ids.flatten().tolist(), upstream.flatten(0, 1), strict=True):
        result[i] = row
    return result


def mean_of_rows(ids, upstream, vocab_size):
    counts = torch.bincount(ids.flatten(), minlength=vocab_size).clamp(min=1)
    return gradient_of_lookup(ids, upstream, vocab_size) / counts[:, None]


GRADIENT_MISTAKES = {
    "An id that occurs several times keeps only the gradient of one occurrence: `=` overwrites, "
    "and `gradient[ids] += …` writes each row once. Its gradients must be summed.": last_one_wins,
    "You average over the occurrences of an id; the gradient of a sum is the sum.": mean_of_rows,
    "The gradient is transposed: like the table, it has a row for each id, (V, C).": (
        lambda *a: gradient_of_lookup(*a).T
    ),
    "Every row receives the same: only the rows that were looked up have a gradient.": (
        lambda ids, upstream, V: upstream.flatten(0, 1).sum(0).expand(V, -1)
    ),
    "You count how often each id occurs; each occurrence counts with its upstream gradient.": (
        lambda ids, upstream, V: (
            torch.bincount(ids.flatten(), minlength=V)[:, None]
            .to(upstream.dtype)
            .expand(-1, upstream.shape[-1])
        )
    ),
    "There is a row for each position, (B · T, C); asked for is a row for each id, (V, C).": (
        lambda ids, upstream, V: upstream.flatten(0, 1)
    ),
    "Rows are missing: ids that do not occur have a gradient too, of zeros.": lambda ids, up, V: (
        gradient_of_lookup(ids, up, V)[sorted(set(ids.flatten().tolist()))]
    ),
    "Only the first row of the batch is used; all B rows add to the same table.": (
        lambda ids, up, V: gradient_of_lookup(ids[:1], up[:1], V)
    ),
    "There is a table for each row of the batch; there is one table, to which all add.": (
        lambda ids, up, V: torch.stack(
            [gradient_of_lookup(*pair, V) for pair in zip(ids[:, None], up[:, None], strict=True)]
        )
    ),
    "The gradient is summed over its columns; each column has its own.": lambda ids, up, V: (
        gradient_of_lookup(ids, up, V).sum(1)
    ),
    "The sign is turned: asked for is the gradient, not the step against it.": lambda ids, up, V: (
        -gradient_of_lookup(ids, up, V)
    ),
    "The numbers are rounded to whole ones: make the zeros in the type of `upstream`.": (
        lambda ids, up, V: gradient_of_lookup(ids, up.long(), V)
    ),
    "You return the gradient divided by the number of rows of the batch; `upstream` holds such "
    "factors already.": lambda ids, up, V: gradient_of_lookup(ids, up, V) / len(ids),
    "You return the gradient divided by the number of positions; `upstream` holds such factors "
    "already.": lambda ids, up, V: gradient_of_lookup(ids, up, V) / ids.numel(),
}


GRADIENT_CRASH = (
    "Your function raised an error. If two shapes do not fit: the result has a row for each id of "
    "the vocabulary, and every position of the batch adds its gradient to one of them. If two "
    "types do not fit: begin with zeros of the type of `upstream`, whatever it is."
)


@exercise("3.6", "The gradient of a lookup")
def lookup_gradient(probe: Probe) -> None:
    generator = torch.Generator().manual_seed(0)
    for claim, ids, vocab_size, C in (
        ("each row goes to its id", [[2, 0]], 4, 3),
        ("an id that occurs twice collects both", [[1, 3, 1]], 4, 2),
        ("over all rows of the batch", [[1, 2, 1], [0, 1, 2]], 5, 3),
    ):
        ids = torch.tensor(ids)
        upstream = torch.randint(1, 10, (*ids.shape, C), generator=generator).double()
        args = (ids, upstream, vocab_size)
        probe.compare(args, gradient_of_lookup(*args), GRADIENT_MISTAKES, on_crash=GRADIENT_CRASH)
        probe.holds(claim)
    embedding = torch.nn.Embedding(50, 8, dtype=torch.float64)
    ids = torch.randint(0, 50, (4, 30), generator=generator)
    upstream = torch.randn(4, 30, 8, generator=generator, dtype=torch.float64)
    (embedding(ids) * upstream).sum().backward()
    args = (ids, upstream, 50)
    probe.compare(args, embedding.weight.grad, GRADIENT_MISTAKES, on_crash=GRADIENT_CRASH)
    probe.holds("the gradient of torch's own Embedding, on 120 random ids")


# --- 3.7 -----------------------------------------------------------------------------------------


def waves(position, C, base=10_000.0, exponent=lambda i, C: 2 * i / C, first=math.sin):
    second = math.cos if first is math.sin else math.sin
    angles = [position / base ** exponent(i, C) for i in range(C // 2)]
    return [f(angle) for angle in angles for f in (first, second)]


WAVE_MISTAKES = {
    "Sine and cosine have changed places: the sine stands in the even columns.": (
        lambda p, C: waves(p, C, first=math.cos)
    ),
    "You list all sines and then all cosines; each pair stands side by side: sin, cos, sin, cos.": (
        lambda p, C: waves(p, C)[::2] + waves(p, C)[1::2]
    ),
    "The wavelengths grow too slowly: the exponent of pair i is 2i / n_embd, so that the last pair "
    "comes close to the base itself.": lambda p, C: waves(p, C, exponent=lambda i, C: i / C),
    "The wavelengths grow too fast: pair i takes up the columns 2i and 2i + 1, and its exponent is "
    "2i / n_embd.": lambda p, C: waves(p, C, exponent=lambda i, C: 4 * i / C),
    "Sine and cosine of a pair have different frequencies here: both use the exponent 2i / n_embd "
    "of their pair.": lambda p, C: [
        (math.cos if c % 2 else math.sin)(p / 10_000 ** (c / C)) for c in range(C)
    ],
    "i counts the pairs, 0, 1, 2, …: here it is the column, and the exponent is twice too large.": (
        lambda p, C: [
            (math.cos if c % 2 else math.sin)(p / 10_000 ** (2 * c / C)) for c in range(C)
        ]
    ),
    "Your last pair reaches the base itself; the exponent of pair i is 2i / n_embd, which stays "
    "below 1.": lambda p, C: waves(p, C, exponent=lambda i, C: i / (C // 2 - 1)),
    "Division binds from left to right: `10000 ** 2 * i / n_embd` is not 10000 to the power of "
    "2i / n_embd. Set brackets.": lambda p, C: [
        f(p / 10_000**2 * i / C) for i in range(C // 2) for f in (math.sin, math.cos)
    ],
    "You multiply by 2i / n_embd; it is an exponent: `10000 ** (2 * i / n_embd)`.": (
        lambda p, C: [
            f(p / 10_000 * (2 * i / C)) for i in range(C // 2) for f in (math.sin, math.cos)
        ]
    ),
    "Divide with `/`: `//` cuts the angle down to a whole number.": lambda p, C: [
        f(p // 10_000 ** (2 * i / C)) for i in range(C // 2) for f in (math.sin, math.cos)
    ],
    "You return pairs; asked for is one flat list: sin, cos, sin, cos.": (
        lambda p, C: list(zip(waves(p, C)[::2], waves(p, C)[1::2], strict=True))
    ),
    "Every column holds a sine; the odd ones hold the cosine of the same angle.": lambda p, C: (
        [math.sin(p / 10_000 ** (2 * (c // 2) / C)) for c in range(C)]
    ),
    "There are n_embd // 2 pairs: you list a pair for each column.": lambda p, C: [
        f(p / 10_000 ** (2 * i / C)) for i in range(C) for f in (math.sin, math.cos)
    ],
    "The angle is p / 10000 ** (2i / n_embd); 2π does not come into it.": (
        lambda p, C: waves(2 * math.pi * p, C)
    ),
    "You return a table of positions; asked for is the vector of one.": lambda p, C: [
        waves(q, C) for q in range(p + 1)
    ],
    "You multiply by base ** (2i / n_embd); dividing by it makes the waves longer.": (
        lambda p, C: waves(p, C, exponent=lambda i, C: -2 * i / C)
    ),
    "All pairs have the same wavelength.": lambda p, C: waves(p, C, exponent=lambda i, C: 0),
    "The base is 10,000.": lambda p, C: waves(p, C, base=1000.0),
    "Positions are counted from 0: at position 0 every sine is 0.": lambda p, C: waves(p + 1, C),
    "You fill only half of the columns.": lambda p, C: waves(p, C)[::2],
    "`math.sin` takes radians; the angle must not be turned into degrees.": lambda p, C: [
        f(math.radians(angle))
        for angle in (p / 10_000 ** (2 * i / C) for i in range(C // 2))
        for f in (math.sin, math.cos)
    ],
}


@exercise("3.7", "A vector for a position")
def position_vector(probe: Probe) -> None:
    for claim, position, C in (
        ("position 0 is 0, 1, 0, 1, …", 0, 4),
        ("the first pair turns by one radian a step, each other one slower", 1, 6),
        ("as far as the position says", 3, 6),
        ("a single pair", 3, 2),
        ("any position, any even width", 57, 16),
    ):
        got = probe.call(position, C)
        got = got.tolist() if hasattr(got, "tolist") else got
        lazy = {why: (lambda f=f, p=position, C=C: f(p, C)) for why, f in WAVE_MISTAKES.items()}
        probe.expect(got, waves(position, C), lazy, probe.describe(position, C), tolerance=1e-5)
        probe.holds(claim)


# --- 3.8 -----------------------------------------------------------------------------------------


def rotation(k, C, exponent=lambda i, C: 2 * i / C, sign=1):
    result = torch.zeros(C, C, dtype=torch.float64)
    for i in range(C // 2):
        angle = k / 10_000 ** exponent(i, C)
        sine, cosine = sign * math.sin(angle), math.cos(angle)
        result[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor(
            [[cosine, sine], [-sine, cosine]], dtype=torch.float64
        )
    return result


def halves(k, C):
    """The rotation for a table that holds all sines before all cosines."""
    places = [*range(0, C, 2), *range(1, C, 2)]
    return rotation(k, C)[places][:, places]


ROTATION_MISTAKES = {
    "A step backwards turns the other way: keep the sign of k.": lambda k, C: rotation(abs(k), C),
    "Your matrix steps backwards: it takes position p + k to p. Mind the sign of the sines (or "
    "have you built it for row vectors, to be multiplied from the right?).": (
        lambda k, C: rotation(k, C, sign=-1)
    ),
    "Every pair turns by the same angle; pair i turns by k / 10000 ** (2i / n_embd).": (
        lambda k, C: rotation(k, C, exponent=lambda i, C: 0)
    ),
    "Your angles belong to other frequencies than those of the table: pair i has the exponent "
    "2i / n_embd.": lambda k, C: rotation(k, C, exponent=lambda i, C: i / C),
    "Your matrix expects all sines first and then all cosines; in the table they alternate.": (
        halves
    ),
    "That is the matrix for one step, whatever k is.": lambda k, C: rotation(1, C),
    "Your matrix has only its diagonal. A sine must get something of the cosine beside it.": (
        lambda k, C: torch.diag(rotation(k, C).diagonal())
    ),
    "The matrix does nothing: it takes each vector to itself.": lambda k, C: torch.eye(C),
    "The entries are cut down to whole numbers: make the matrix of floats.": (
        lambda k, C: rotation(k, C).trunc()
    ),
    "Sines and cosines have changed places in your blocks: without a step (k = 0) the matrix must "
    "change nothing.": lambda k, C: torch.block_diag(
        *[
            b.flip(1)
            for b in rotation(k, C).unfold(0, 2, 2).unfold(1, 2, 2).diagonal().permute(2, 0, 1)
        ]
    ),
    "You moved the columns along; the position is in the angles, not in the columns' order.": (
        lambda k, C: torch.roll(torch.eye(C), k, 0)
    ),
    "You multiply k by base ** (2i / n_embd); divide by it, as in the table.": (
        lambda k, C: rotation(k, C, exponent=lambda i, C: -2 * i / C)
    ),
}


def shape_of(answer):
    """The shape of a tensor, an array or nested lists; () for what is none of these."""
    try:
        return tuple(torch.as_tensor(answer).shape)
    except (TypeError, ValueError, RuntimeError):
        return ()


@exercise("3.8", "A step is a rotation")
def step_is_a_rotation(probe: Probe) -> None:
    for claim, k, C in (
        ("no step, no change", 0, 4),
        ("one step of the fastest pair", 1, 2),
        ("several steps, several pairs", 3, 4),
        ("steps backwards", -5, 8),
        ("any distance", 100, 16),
    ):
        got = probe.call(k, C)
        example = probe.describe(k, C)
        shape = shape_of(got)
        probe.require(
            shape == (C, C),
            f"A square matrix of shape ({C}, {C}) is asked for, as a tensor.",
            f"{example}\nreturned something of shape {shape}" if shape else probe.last,
        )
        got = torch.as_tensor(got).double()
        lazy = {why: (lambda f=f, k=k, C=C: f(k, C)) for why, f in ROTATION_MISTAKES.items()}
        before, after = (
            torch.tensor([waves(p + shift, C) for p in (0, 1, 7, 50)], dtype=torch.float64)
            for shift in (0, k)
        )
        right = [torch.allclose(got @ a, b, atol=1e-4) for a, b in zip(before, after, strict=True)]
        lazy[
            "It fits one position and not the others: the matrix must not depend on the position."
        ] = got if any(right) and k else None
        if not all(right):
            probe.expect(got, rotation(k, C), lazy, example, tolerance=1e-5)
        probe.holds(claim)
