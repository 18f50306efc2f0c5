"""The checks of chapter 06, pretraining."""

import contextlib
import copy
import math

import torch
from torch import nn
from torch.nn import functional as F

from lib.course.checks.engine import Probe, evaluate, exercise, same

# --- 6.1 -----------------------------------------------------------------------------------------


class Small(nn.Module):
    """A model with every kind of parameter, named so that names give nothing away."""

    def __init__(self, frozen: bool = False, tied: bool = False):
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.ln = nn.LayerNorm(4)
        self.middle = nn.Linear(4, 4)
        self.filter = nn.Conv1d(4, 4, 2, bias=False)
        self.gain = nn.Parameter(torch.ones(64))
        self.positions = nn.Parameter(torch.zeros(3, 4))
        self.last = nn.Linear(4, 5, bias=False)
        self.middle.weight.requires_grad_(not frozen)
        if tied:
            self.last.weight = self.words.weight
        parts = [part for part, there in {"frozen": frozen, "tied": tied}.items() if there]
        self.__name__ = " ".join(["model", *(["with something", *parts] if parts else [])])


def named(model, **options):
    return list(model.named_parameters(**options))


DECAY_MISTAKES = {
    "Everything decays in your list. Biases and the scales of norms do not multiply anything that "
    "could grow: leave vectors alone.": lambda m: [n for n, _ in named(m)],
    "All parameters called `weight` decay in your list, and those of norms are among them. Look at "
    "the shape and not at the name.": lambda m: [n for n, _ in named(m) if n.endswith("weight")],
    "Only the biases are left out; the scales of norms are vectors too, and do not decay.": (
        lambda m: [n for n, _ in named(m) if not n.endswith("bias")]
    ),
    "It is the other way round: matrices decay, vectors do not.": (
        lambda m: [n for n, w in named(m) if w.ndim < 2 and w.requires_grad]
    ),
    "A frozen parameter is in your list. What is not trained must not shrink either: ask for "
    "`requires_grad`.": lambda m: [n for n, w in named(m) if w.ndim >= 2],
    "A tied matrix stands in your list under both of its names; it would decay twice a step.": (
        lambda m: [
            n for n, w in named(m, remove_duplicate=False) if w.ndim >= 2 and w.requires_grad
        ]
    ),
    "Only matrices of exactly two dimensions are in your list; a filter with three decays too.": (
        lambda m: [n for n, w in named(m) if w.ndim == 2 and w.requires_grad]
    ),
    "A matrix is missing that is not called `weight`: a parameter may have any name. Look at its "
    "shape alone.": lambda m: [
        n for n, w in named(m) if w.ndim >= 2 and w.requires_grad and n.endswith("weight")
    ],
    "More than two dimensions are asked for in your list; a matrix has two.": lambda m: [
        n for n, w in named(m) if w.ndim > 2 and w.requires_grad
    ],
    "These are not the names that `named_parameters()` gives: keep them whole, as `ln.weight`.": (
        lambda m: [n.split(".")[0] for n, w in named(m) if w.ndim >= 2 and w.requires_grad]
    ),
    "A long vector is in your list: what counts are the dimensions of a parameter, neither its "
    "size nor its name.": lambda m: [n for n, w in named(m) if w.numel() > 5 and w.requires_grad],
    "The embedding is missing: by the rule of this exercise everything with two or more dimensions "
    "decays.": lambda m: [
        n
        for n, w in named(m)
        if w.ndim >= 2 and w.requires_grad and (n != "words.weight" or m.last.weight is w)
    ],
    "Only the weights of `nn.Linear` are in your list; by the rule of this exercise everything "
    "with two or more dimensions decays.": lambda m: [
        f"{n}.weight"
        for n, part in m.named_modules()
        if isinstance(part, nn.Linear) and part.weight.requires_grad
    ],
}


def names_of(answer) -> object:
    """An answer as a sorted list of names, None where it is no collection of names."""
    if isinstance(answer, (list, tuple, set)) and all(isinstance(name, str) for name in answer):
        return sorted(answer)
    return None


@exercise("6.1", "What decays")
def decayed_names(probe: Probe) -> None:
    for model, claim in (
        (Small(), "matrices decay, biases and the scales of norms do not"),
        (Small(frozen=True), "what is frozen is left alone"),
        (Small(tied=True), "a tied matrix is counted once"),
    ):
        got = names_of(probe.call(model))
        example = probe.describe(model)
        probe.require(
            isinstance(got, list),
            "Return a list of names, as `model.named_parameters()` gives them.",
            probe.last,
        )
        expected = sorted(n for n, w in named(model) if w.ndim >= 2 and w.requires_grad)
        wrong = {
            text: (lambda f=f, model=model: sorted(f(model))) for text, f in DECAY_MISTAKES.items()
        }
        probe.expect(got, expected, wrong, example)
        probe.holds(claim)


# --- 6.2 -----------------------------------------------------------------------------------------


def adamw(
    w, g, mean, square, step, lr, beta1, beta2, eps, decay, *, correct=(True, True), variant=""
):
    """One step of AdamW, with the usual mistakes as options."""
    if variant == "betas exchanged":
        beta1, beta2 = beta2, beta1
    old, before = w, (mean, square)
    if variant == "L2":
        g = g + decay * w
    if variant == "L2 in the mean":
        mean = beta1 * mean + (1 - beta1) * (g + decay * w)
    elif variant == "old and new exchanged":
        mean = (1 - beta1) * mean + beta1 * g
    elif variant == "not weighed":
        mean = beta1 * mean + g
    else:
        mean = beta1 * mean + (1 - beta1) * g
    if variant == "old and new exchanged":
        square = (1 - beta2) * square + beta2 * g**2
    elif variant == "not weighed":
        square = beta2 * square + g**2
    elif variant == "not squared":
        square = beta2 * square + (1 - beta2) * g.abs()
    elif variant == "square of the mean":
        square = beta2 * square + (1 - beta2) * mean**2
    else:
        square = beta2 * square + (1 - beta2) * g**2
    t = {"from 0": step - 1, "one more": step + 1, "no power": 1}.get(variant, step)
    m = mean / (1 - beta1**t) if correct[0] else mean
    v = square / (1 - beta2**t) if correct[1] else square
    if variant == "means of before":
        m, v = before[0] / (1 - beta1**t), before[1] / (1 - beta2**t)
    if variant == "times t":
        m, v = mean / (1 - beta1 * t), square / (1 - beta2 * t)
    if variant == "corrected is kept":
        mean, square = m, v
    m = g if variant == "no mean" else m
    root = v.sqrt() + eps
    if variant == "eps inside":
        root = (v + eps).sqrt()
    if variant == "eps corrected":
        root = (square.sqrt() + eps) / math.sqrt(1 - beta2**t)
    if variant == "no root":
        root = v + eps
    if variant == "no eps":
        root = v.sqrt()
    change = m / root if variant == "no lr" else lr * m / root
    if variant == "means exchanged":
        mean, square = square, mean
    if variant == "means not renewed":
        mean, square = before
    if variant == "change alone":
        return change, mean, square
    if variant == "decay without lr":
        return old * (1 - decay) - change, mean, square
    if variant in ("L2", "L2 in the mean", "no decay"):
        return old - change, mean, square
    if variant == "decay by a constant":
        return old - lr * decay - change, mean, square
    if variant == "decay afterwards":
        return (old - change) * (1 - lr * decay), mean, square
    if variant == "decay grows":
        return old * (1 + lr * decay) - change, mean, square
    if variant == "climbs":
        return old * (1 - lr * decay) + change, mean, square
    if variant == "decay of the change":
        return old - change * (1 - lr * decay), mean, square
    return old * (1 - lr * decay) - change, mean, square


def variant(name):
    return lambda *a: adamw(*a, variant=name)


ADAMW_MISTAKES = {
    "The bias correction is missing. Both means begin at 0, so the first ones are far too small: "
    "divide each by 1 − βᵗ.": lambda *a: adamw(*a, correct=(False, False)),
    "The mean of the gradient is not corrected for its start at 0; divide it by 1 − β₁ᵗ.": (
        lambda *a: adamw(*a, correct=(False, True))
    ),
    "The mean square is not corrected for its start at 0; divide it by 1 − β₂ᵗ.": (
        lambda *a: adamw(*a, correct=(True, False))
    ),
    "The decay is added to the gradient (L2). It then passes through the means and is divided by "
    "the root, so that weights with large gradients hardly decay. Decoupled: shrink w itself, "
    "by the factor 1 − lr · decay.": variant("L2"),
    "The decay goes into the mean of the gradient. Decoupled means that the means know nothing of "
    "it: shrink w itself, by the factor 1 − lr · decay.": variant("L2 in the mean"),
    "eps is inside the root; here it is added to the root: √v + eps.": variant("eps inside"),
    "eps is missing: it keeps the division finite where all gradients were 0.": variant("no eps"),
    "You divided by the mean square; divide by its root.": variant("no root"),
    "The weights do not decay: shrink w by the factor 1 − lr · decay.": variant("no decay"),
    "The decay does not know the learning rate: the factor is 1 − lr · decay.": (
        variant("decay without lr")
    ),
    "You took the step first and shrank the result. Shrink the weights that came in, then take the "
    "step.": variant("decay afterwards"),
    "Your decay takes the same from every weight, not a share: the factor is 1 − lr · decay.": (
        variant("decay by a constant")
    ),
    "Your decay makes the weights grow: the factor is 1 − lr · decay.": variant("decay grows"),
    "The decay was applied to the change instead of the weights.": variant("decay of the change"),
    "You go uphill: the change is subtracted.": variant("climbs"),
    "β₁ and β₂ are exchanged: β₁ belongs to the mean of the gradient, β₂ to that of its square.": (
        variant("betas exchanged")
    ),
    "Old and new are exchanged: β is the share of the old mean, 1 − β that of the new gradient.": (
        variant("old and new exchanged")
    ),
    "The new gradient is added whole; a mean takes the share 1 − β of it.": variant("not weighed"),
    "The second mean is that of the gradient's *square*.": variant("not squared"),
    "The second mean takes the square of the gradient, not that of the first mean.": (
        variant("square of the mean")
    ),
    "You step along the gradient of this step alone; Adam steps along its corrected mean.": (
        variant("no mean")
    ),
    "At the first step your weights do not move. Do you step along the means of before it? First "
    "let them take in the new gradient.": variant("means of before"),
    "The learning rate is missing in the change.": variant("no lr"),
    "The change is returned in place of the new weights: subtract it from them.": (
        variant("change alone")
    ),
    "The two means are exchanged in what you return: first that of the gradient, then that of its "
    "square.": variant("means exchanged"),
    "The means that came in are returned; return the new ones, or all that was seen is lost.": (
        variant("means not renewed")
    ),
    "The corrected means are returned. The correction is for this step alone; keep the means as "
    "they are, or the next step corrects them again.": variant("corrected is kept"),
    "Steps count from 1 here: the first step divides by 1 − β, not by 0.": variant("from 0"),
    "The correction is that of the step after this one: steps count from 1, and this is step "
    "`step`.": variant("one more"),
    "In 1 − βᵗ the step is an exponent; you multiplied β by it.": variant("times t"),
    "eps is divided by the correction too: first correct the mean square, then take the root, then "
    "add eps.": variant("eps corrected"),
    "The correction always divides by 1 − β; it fades with the steps: 1 − βᵗ.": (
        variant("no power")
    ),
}


THREE = "Return three things: the new weights and the two new means."


@exercise("6.2", "One step of AdamW")
def adamw_step(probe: Probe) -> None:
    def compare(w, g, mean, square, *rest):
        tensors = [torch.tensor(value, dtype=torch.float64) for value in (w, g, mean, square)]
        args = (*tensors, *rest)
        probe.compare(args, adamw(*args), ADAMW_MISTAKES, 1e-7)

    start = [torch.tensor(v, dtype=torch.float64) for v in ([1.0, 1.0], [2.0, -0.5], [0.0, 0.0])]
    args = (*start, start[2], 1, 0.1, 0.5, 0.9, 1e-8, 0.0)
    got = probe.call(*args)
    probe.require(isinstance(got, (tuple, list)) and len(got) == 3, THREE, probe.last)
    wrong = {text: (lambda f=f: f(*args)[0]) for text, f in ADAMW_MISTAKES.items()}
    probe.expect(got[0], adamw(*args)[0], wrong, probe.describe(*args) + "[0]", 1e-7)
    probe.holds("the first step is lr in size for every weight, whatever its gradient")
    compare([1.0, 2.0], [1.0, -3.0], [1.0, 0.5], [2.0, 0.5], 3, 0.1, 0.5, 0.9, 1e-8, 0.0)
    compare([1.0, 2.0], [1.0, -3.0], [1.0, 0.5], [2.0, 0.5], 7, 0.1, 0.5, 0.9, 1e-8, 0.0)
    probe.holds("means of the gradient and of its square, corrected for their start at 0")
    compare([1.0, -2.0], [1.0, -3.0], [1.0, 0.5], [2.0, 0.5], 3, 0.1, 0.5, 0.9, 1e-8, 0.5)
    probe.holds("the decay shrinks the weights and leaves the means alone")
    compare([1.0, 2.0], [0.0, 1e-3], [0.0, 0.0], [0.0, 0.0], 1, 0.1, 0.5, 0.9, 1e-2, 0.0)
    compare([[1.0, 2.0]], [[0.3, 4.0]], [[0.1, 2.0]], [[0.2, 9.0]], 3, 0.01, 0.9, 0.999, 1e-8, 0.1)
    probe.holds("eps stands beside the root, and any shape will do")


# --- 6.3 -----------------------------------------------------------------------------------------


def cooldown(step, n_steps, peak, warmup, decay, *, rise="right", fall="right"):
    """Warm-up, plateau, 1 − √ descent, with the usual mistakes as options."""
    if fall == "no peak":
        peak = 1.0
    if fall == "from 1":
        step += 1
    if step < warmup:
        share = {"zero": step / warmup, "early": (step + 1) / warmup}
        share |= {"none": 1.0, "from the peak": 1 - step / warmup}
        return peak * share.get(rise, (step + 1) / (warmup + 1))
    begin = n_steps - decay
    if fall == "late":
        begin += 1
    if fall == "from the warm-up":
        begin = warmup
    if step < begin:
        return peak
    progress = (step - begin) / decay
    if fall == "of the run":
        progress = step / n_steps
    if fall == "from the warm-up":
        progress = (step - begin) / (n_steps - begin)
    if fall == "one more":
        progress = (step - begin + 1) / decay
    if fall == "last is zero":
        progress = (step - begin) / (decay - 1)
    shapes = {
        "linear": 1 - progress,
        "root of the rest": math.sqrt(1 - progress),
        "upwards": math.sqrt(progress),
        "square": 1 - progress**2,
        "square of the rest": (1 - progress) ** 2,
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "no descent": 1.0,
    }
    if fall == "brackets":
        return 1 - math.sqrt(progress) * peak
    return peak * shapes.get(fall, 1 - math.sqrt(progress))


def falls(name):
    return lambda *a: cooldown(*a, fall=name)


COOLDOWN_MISTAKES = {
    "Off by one: your first step has rate 0 and changes nothing. Steps count from 0; let step "
    "`warmup` be the first with the peak: (step + 1) / (warmup + 1).": (
        lambda *a: cooldown(*a, rise="zero")
    ),
    "Off by one: the peak is reached one step early. Step `warmup` is the first with the peak.": (
        lambda *a: cooldown(*a, rise="early")
    ),
    "There is no warm-up: the first steps have the peak already.": (
        lambda *a: cooldown(*a, rise="none")
    ),
    "The warm-up goes down; it should rise to the peak.": (
        lambda *a: cooldown(*a, rise="from the peak")
    ),
    "Off by one: the descent begins a step too late. Of the last `decay` steps, the first has "
    "progress 0.": falls("late"),
    "Off by one: the descent begins a step too early. Its first step has progress 0 and so the "
    "peak still; 0 is reached at n_steps, after the last step.": falls("one more"),
    "Your last step has rate 0 and changes nothing; 0 is reached at n_steps, one step later.": (
        falls("last is zero")
    ),
    "Your descent is a straight line; it should be 1 − √progress.": falls("linear"),
    "You took √(1 − progress), which stays high and falls at the end; 1 − √progress falls at once "
    "and flattens.": falls("root of the rest"),
    "Your descent goes up: it begins at 0. It is 1 − √progress.": falls("upwards"),
    "You squared the progress; take its root: 1 − √progress.": falls("square"),
    "Your descent is the square of what is left; it should be 1 − √progress.": (
        falls("square of the rest")
    ),
    "Your descent is half a cosine; it should be 1 − √progress.": falls("cosine"),
    "There is no descent: the last `decay` steps keep the peak.": falls("no descent"),
    "The progress is that of the whole run; it should run from 0 to 1 within the last `decay` "
    "steps.": falls("of the run"),
    "The peak is missing: your rates are shares of it. Multiply by `peak`.": falls("no peak"),
    "Your steps seem to be counted from 1; step 0 is the first.": falls("from 1"),
    "Brackets are missing in the descent: the peak multiplies all of 1 − √progress.": (
        falls("brackets")
    ),
    "The descent begins right after the warm-up; before its last `decay` steps the run stays at "
    "the peak.": falls("from the warm-up"),
}


@exercise("6.3", "Warm-up, plateau, descent")
def learning_rate(probe: Probe) -> None:
    def rates(steps, *rest):
        for step in steps:
            args = (step, *rest)
            crash = "An error at this step: is there a division by a length that may be 0?"
            crash = crash if 0 in rest else ""
            wrong = {text: (lambda *a, f=f: f(*a)) for text, f in COOLDOWN_MISTAKES.items()}
            probe.compare(args, cooldown(*args), wrong, 1e-6, on_crash=crash)

    rates([0, 1, 2, 3], 12, 1.0, 3, 5)
    probe.holds("the warm-up: no step is lost, step `warmup` is the first with the peak")
    rates([5, 7, 10, 8, 9, 11, 6], 12, 1.0, 3, 5)
    probe.holds("the plateau, and the descent 1 − √progress")
    rates([0, 40, 79, 99], 100, 0.02, 10, 20)
    probe.holds("any peak and any lengths")
    rates([0, 4, 5], 6, 2.0, 0, 2)
    rates([0, 5], 6, 2.0, 2, 0)
    probe.holds("no warm-up, or no descent: without an error")


# --- 6.4 -----------------------------------------------------------------------------------------


class Pair(nn.Module):
    """The smallest language model: a table of logits for the next id. Its copies are itself."""

    def __init__(self, old_gradient: float):
        super().__init__()
        self.table = nn.Embedding(4, 4)
        with torch.no_grad():
            self.table.weight.copy_(torch.arange(16.0).view(4, 4).sin())
        self.table.weight.grad = torch.full((4, 4), old_gradient)
        self.waiting = self.most_waiting = 0  # forward passes whose backward pass is due
        self.table.weight.register_hook(self.note_backward)
        self.__name__ = "model"

    def note_backward(self, gradient):
        self.waiting = 0

    def forward(self, ids):
        self.waiting += torch.is_grad_enabled()
        self.most_waiting = max(self.most_waiting, self.waiting)
        return self.table(ids)

    def __deepcopy__(self, memo):
        return self


class Counting(torch.optim.SGD):
    """Gradient descent with rate 1 that counts its steps: the change is the gradient."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=1.0)
        self.n_steps = 0

    def step(self, closure=None):
        self.n_steps += 1
        return super().step(closure)

    def __deepcopy__(self, memo):
        return self

    def __repr__(self):
        return "SGD(lr=1)"


def part_loss(model, ids, slip=""):
    """The sum of the losses of a part, with the slips that leave its weight alone."""
    x, y = ids[:, :-1], ids[:, 1:]
    if slip == "not shifted":
        y = x
    if slip == "exchanged":
        x, y = y, x
    logits = model(x).softmax(-1) if slip == "softmax" else model(x)
    return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum")


def big_step(parts, old, *, weigh="targets", slip="", keep=False, reported=None):
    """Weights after the step and the loss, with the usual mistakes as options."""
    model = Pair(old)
    if not keep:
        model.zero_grad()
    if slip == "joined":
        parts = [torch.cat([ids.flatten() for ids in parts])[None]]
    sums = [part_loss(model, ids, slip) for ids in parts]
    n = [ids.shape[0] * (ids.shape[1] - 1) for ids in parts]
    means = [s / k for s, k in zip(sums, n, strict=True)]
    total = {
        "targets": sum(sums) / sum(n),
        "mean of means": sum(means) / len(means),
        "sum of means": sum(means),
        "twice": sum(means) / len(means) ** 2,
        "sum": sum(sums),
        "rows": sum(m * len(p) for m, p in zip(means, parts, strict=True))
        / sum(len(p) for p in parts),
        "ids": sum(m * p.numel() for m, p in zip(means, parts, strict=True))
        / sum(p.numel() for p in parts),
        "ids in a row": sum(m * p.shape[1] for m, p in zip(means, parts, strict=True))
        / sum(p.shape[1] for p in parts),
        "targets in a row": sum(m * (p.shape[1] - 1) for m, p in zip(means, parts, strict=True))
        / sum(p.shape[1] - 1 for p in parts),
        "last": means[-1],
        "targets twice": sum(sums) / sum(n) / len(n),
    }
    total[weigh].backward()
    with torch.no_grad():
        after = model.table.weight - model.table.weight.grad
    return after, total[reported or weigh].item()


STEP_MISTAKES = {
    "`zero_grad` is forgotten: gradients of an earlier step were still there, and were added.": {
        "keep": True
    },
    "The targets are not shifted: the model is asked to say again the id that it has just read.": {
        "slip": "not shifted"
    },
    "Inputs and targets are exchanged: the model is asked for the id *before* the one it read.": {
        "slip": "exchanged"
    },
    "`cross_entropy` takes logits and does the softmax itself; yours is done twice.": {
        "slip": "softmax"
    },
    "The rows were joined to one long row, so that the first id of each is a target of the row "
    "before it.": {"slip": "joined"},
    "You took the mean of the parts' means. The parts have different numbers of targets: a target "
    "in a short part then counts more than one in a long part.": {"weigh": "mean of means"},
    "The means of the parts were added up; the step grows with the number of parts.": {
        "weigh": "sum of means"
    },
    "The loss was divided twice: it was a mean over the parts already, and was divided by their "
    "number again.": {"weigh": "twice"},
    "The loss was divided twice: by the number of all targets, and by the number of parts.": {
        "weigh": "targets twice"
    },
    "The losses of all targets were added and not divided by their number.": {"weigh": "sum"},
    "The parts are weighed by their rows; rows of different parts have different numbers of "
    "targets.": {"weigh": "rows"},
    "The parts are weighed by the length of their rows; a part has B · T targets.": {
        "weigh": "targets in a row"
    },
    "The parts are weighed by the length of their rows; a part of shape (B, T + 1) has B · T "
    "targets.": {"weigh": "ids in a row"},
    "The parts are weighed by their ids. A row of T + 1 ids has T targets.": {"weigh": "ids"},
    "Only the last part has an effect: the gradients of the others were erased. Call `zero_grad` "
    "once, before the first part.": {"weigh": "last"},
}


def check_step(probe: Probe, parts: list, old: float) -> int:
    """Let the answer take one step on fresh weights and compare what became of them.

    Returns how many forward passes at most were waiting for their backward pass.
    """
    model = Pair(old)
    optimizer = Counting(model.parameters())
    got = probe.call(model, parts, optimizer)
    called = probe.describe(model, parts, optimizer)
    after, loss = big_step(parts, old)
    mine = model.table.weight.detach().clone()
    shown = f"{called}\nlargest error of a weight: {(mine - after).abs().max():.3g}"
    probe.require(
        optimizer.n_steps > 0, "No step was taken: call `optimizer.step()` at the end.", called
    )
    probe.require(
        optimizer.n_steps == 1,
        f"{optimizer.n_steps} steps were taken; the parts make up one batch and so one step, after "
        "the last of them.",
        called,
    )
    if not same(mine, after, 1e-5):
        start = Pair(old).table.weight.detach()
        probe.require(
            not same(mine, start, 1e-6),
            "The weights have not changed: are the gradients erased after they were computed, or "
            "is `backward` missing?",
            shown,
        )
        for text, options in STEP_MISTAKES.items():
            wrong = evaluate(lambda options=options: big_step(parts, old, **options)[0])
            probe.require(not same(mine, wrong, 1e-5), text, shown)
        probe.require(
            False, "The weights are not those of one step on all targets together.", shown
        )
    if isinstance(got, torch.Tensor) and got.ndim == 0:
        got = got.item()
    reports = {
        "The loss that you return is the mean of the parts' means; weigh them by their targets.": (
            lambda: big_step(parts, old, reported="mean of means")[1]
        ),
        "The loss that you return is that of the last part alone.": (
            lambda: big_step(parts, old, reported="last")[1]
        ),
        "The loss that you return is a sum and not a mean.": (
            lambda: big_step(parts, old, reported="sum")[1]
        ),
        "The loss that you return is the sum of the parts' means.": (
            lambda: big_step(parts, old, reported="sum of means")[1]
        ),
    }
    probe.expect(got, loss, reports, called, 1e-5)
    return model.most_waiting


@exercise("6.4", "Many parts, one step")
def train_step(probe: Probe) -> None:
    one = torch.tensor([[0, 1, 2, 1]])
    check_step(probe, [one], 0.0)
    probe.holds("one part: targets one place later, one step")
    check_step(probe, [one], 0.5)
    probe.holds("gradients of an earlier step have no effect")
    check_step(probe, [one, torch.tensor([[3, 0, 3, 2]])], 0.5)
    probe.holds("two parts of one size")
    unequal = [one, torch.tensor([[3, 0], [2, 2]]), torch.tensor([[1, 3, 0]])]
    waiting = check_step(probe, unequal, 0.5)
    probe.require(
        waiting < 2,
        "Loss and step are right, but all parts wait for one `backward` at the end, and their "
        "activations with them. Call `backward` after each part: gradients add up.",
        probe.last,
    )
    probe.holds("parts of different sizes: every target counts the same, one part at a time")


# --- 6.5 -----------------------------------------------------------------------------------------


class Weighing(nn.Module):
    """A model whose loss is known; with dropout, and with a memory of how it was called."""

    __name__ = "model"

    def __init__(self, V: int = 5, training: bool = True):
        super().__init__()
        self.table = nn.Embedding(V, V)
        scores = torch.randn(V, V, generator=torch.Generator().manual_seed(0))
        self.table.weight.data = 2 * scores
        self.dropout = nn.Dropout(0.5)
        self.seen = {"handed over": False, "gradients": False}  # copies add to it
        self.train(training)

    def forward(self, x):
        self.seen["gradients"] |= torch.is_grad_enabled()
        return self.dropout(self.table(x))

    def __deepcopy__(self, memo):
        if not self.seen["handed over"]:  # the check sees what the answer does to the model itself
            self.seen["handed over"] = True
            return self
        with torch.random.fork_rng(devices=[]):  # new weights draw numbers, as dropout would
            twin = Weighing(self.table.num_embeddings, self.training)
        twin.seen = self.seen
        return twin


def nats(model, batches, reduction="sum", softmax=False):
    """The loss of each batch, in nats."""
    was = model.training
    model.eval()
    with torch.no_grad():
        losses = []
        for x, y in batches:
            scores = model(x).softmax(-1) if softmax else model(x)
            loss = F.cross_entropy(scores.flatten(0, 1), y.flatten(), reduction=reduction)
            losses.append(loss.item())
    model.train(was)
    return losses


def targets(batches, padding=False):
    return [y.numel() if padding else int((y != -100).sum()) for _, y in batches]


def with_padding(model, batches, n):
    """Padding taken for the last id of the vocabulary, as indexing with -100 cannot be."""
    return sum(nats(model, [(x, y.clamp(min=0)) for x, y in batches])) / math.log(2) / n


BITS_MISTAKES = {
    "The result is in nats. A bit is ln 2 nats.": lambda m, b, n: sum(nats(m, b)) / n,
    "You multiplied by ln 2 where you should divide: a bit is smaller than a nat, so there are "
    "more of them.": lambda m, b, n: sum(nats(m, b)) * math.log(2) / n,
    "That is bits per token: divide by the number of characters, `n_characters`.": (
        lambda m, b, n: sum(nats(m, b)) / math.log(2) / sum(targets(b))
    ),
    "You took the mean of the batches' means. A batch with few targets counts as much as a full "
    "one then: add up over all targets.": (
        lambda m, b, n: sum(nats(m, b, "mean")) / len(b) * sum(targets(b)) / math.log(2) / n
    ),
    "You added up the batches' mean losses; each is to be multiplied by its number of targets, or "
    "added up with reduction='sum'.": (lambda m, b, n: sum(nats(m, b, "mean")) / math.log(2) / n),
    "Each batch's mean was multiplied by the number of all its places; padding has no loss.": (
        lambda m, b, n: (
            sum(v * k for v, k in zip(nats(m, b, "mean"), targets(b, padding=True), strict=True))
            / math.log(2)
            / n
        )
    ),
    "Padding has a share in your sum: targets of -100 are no id, they are to be left out.": (
        with_padding
    ),
    "That is the total of all bits; divide by `n_characters`.": (
        lambda m, b, n: sum(nats(m, b)) / math.log(2)
    ),
    "Only the first batch is in your sum.": lambda m, b, n: sum(nats(m, b[:1])) / math.log(2) / n,
    "Only the last batch is in your sum.": lambda m, b, n: sum(nats(m, b[-1:])) / math.log(2) / n,
    "The targets are moved once more: `y` is one place later than `x` already.": (
        lambda m, b, n: sum(nats(m, [(x[:, :-1], y[:, 1:]) for x, y in b])) / math.log(2) / n
    ),
    "You multiplied by `n_characters` where you should divide.": (
        lambda m, b, n: sum(nats(m, b)) / math.log(2) * n
    ),
    "`cross_entropy` takes logits and does the softmax itself; yours is done twice.": (
        lambda m, b, n: sum(nats(m, b, softmax=True)) / math.log(2) / n
    ),
    "Id 0 is left out of your sum. It is a target like any other; padding is -100 alone.": (
        lambda m, b, n: sum(nats(m, [(x, y.where(y != 0, -100)) for x, y in b])) / math.log(2) / n
    ),
    "The result is a perplexity; the logarithm is wanted.": (
        lambda m, b, n: math.exp(sum(nats(m, b)) / sum(targets(b)))
    ),
    "The sign is wrong: a loss is minus the logarithm of a probability.": (
        lambda m, b, n: -sum(nats(m, b)) / math.log(2) / n
    ),
}


def check_bits(probe: Probe, batches: list, n: int, training: bool) -> None:
    """One text: its bits per character, and what was done to the model."""
    model, undisturbed = Weighing(training=training), torch.get_rng_state()
    expected = sum(nats(model, batches)) / math.log(2) / n
    got = probe.call(model, batches, n)
    example, off = probe.describe(model, batches, n), not torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    probe.require(
        not off,
        "Gradients are switched off for good now, and nothing can be trained any more: use `with "
        "torch.no_grad():`, which ends by itself.",
        example,
    )
    got = got.item() if isinstance(got, torch.Tensor) and got.ndim == 0 else got
    drawn = not torch.equal(undisturbed, torch.get_rng_state())
    probe.require(
        not drawn,
        "Dropout was on while you measured: put the model into evaluation mode, `model.eval()`, "
        "whichever mode it comes in.",
        probe.last,
    )
    wrong = {text: (lambda f=f: f(model, batches, n)) for text, f in BITS_MISTAKES.items()}
    probe.expect(got, expected, wrong, example, 1e-5)
    probe.require(
        model.training is training,
        "The value is right, but the model came in "
        + ("training" if training else "evaluation")
        + " mode and has another one now. Note `model.training` first, and restore it.",
        example,
    )
    probe.require(
        not model.seen["gradients"],
        "The value is right, but PyTorch kept all activations for a backward pass: compute the "
        "loss under `torch.no_grad()`.",
        example,
    )


@exercise("6.5", "Bits per character")
def bits_per_character(probe: Probe) -> None:
    def pair(x, y):
        return torch.tensor(x), torch.tensor(y)

    one = pair([[0, 1, 2]], [[1, 2, 4]])
    check_bits(probe, [one], 7, training=False)
    probe.holds("one batch: all bits over all characters")
    check_bits(probe, [one], 7, training=True)
    probe.holds("dropout is off, the mode comes back, nothing is kept for a backward pass")
    padded = pair([[3, 0, 0], [2, 2, 1]], [[1, -100, -100], [2, 1, 0]])
    check_bits(probe, [padded], 11, training=True)
    probe.holds("padding does not count")
    short = pair([[4, 1]], [[1, 3]])
    check_bits(probe, [one, padded, short], 20, training=True)
    probe.holds("batches of different sizes: every target counts the same")


# --- 6.6 -----------------------------------------------------------------------------------------


class PowerCut(BaseException):
    """Ends a program as a power cut does: no `except Exception` is reached."""


class Disk:
    """Files in memory; the power goes before call number `cut`, or the disk is full at a write."""

    def __init__(self, files: dict, cut: int | None = None, room: int | None = None):
        self.files, self.safe = dict(files), set(files)
        self.cut, self.room, self.calls, self.log = cut, room, 0, []

    def __repr__(self):
        return "disk"

    def __deepcopy__(self, memo):
        return self

    def count(self, what: str) -> None:
        if self.cut is not None and self.calls >= self.cut:
            raise PowerCut
        self.calls += 1
        self.log.append(what)

    def need(self, name: str) -> None:
        if name not in self.files:
            raise FileNotFoundError(f"there is no file {name!r} on the disk")

    def write(self, name: str, data: bytes) -> None:
        self.count(f"write({name!r})")
        fits = data if self.room is None else data[: self.room]
        self.files[name] = fits
        self.safe.discard(name)
        if len(fits) < len(data):
            raise OSError(28, "No space left on device")

    def flush(self, name: str) -> None:
        self.count(f"flush({name!r})")
        self.need(name)
        self.safe.add(name)

    def rename(self, old: str, new: str) -> None:
        self.count(f"rename({old!r}, {new!r})")
        self.need(old)
        self.files[new] = self.files.pop(old)
        (self.safe.add if old in self.safe else self.safe.discard)(new)
        self.safe.discard(old)

    def delete(self, name: str) -> None:
        self.count(f"delete({name!r})")
        self.need(name)
        del self.files[name]
        self.safe.discard(name)

    def after_power_cut(self) -> dict:
        return {n: d if n in self.safe else d[: len(d) // 2] for n, d in self.files.items()}


def told(disk: Disk, end: str, found: object) -> str:
    """The calls so far, and what is on the disk then."""
    lines = ["before: 'model' holds b'old weights'", *disk.log, end]
    return "\n".join([*lines, f"afterwards 'model' holds {found!r}"])


def cut_power(probe: Probe, cut: int, old: bytes, new: bytes) -> None:
    """Run the answer until call number `cut`; the file must be whole then."""
    disk = Disk({"model": old}, cut=cut)
    with contextlib.suppress(PowerCut):
        probe.answer(disk, "model", new)
    found = disk.after_power_cut().get("model")
    done, shown = disk.log[-1] if disk.log else "", told(disk, "the power is cut", found)
    if found is None:
        probe.require(
            False,
            "There is a moment at which no file of that name exists. A rename replaces the old "
            "file by itself: neither delete it nor move it away first.",
            shown,
        )
    if done.startswith("rename") and found not in (old, new):
        probe.require(
            False,
            "The new content was renamed before it was flushed: after the power cut the name "
            "belongs to half a file. Flush first, then rename.",
            shown,
        )
    probe.require(
        found in (old, new),
        "You write over the old content, which is lost as soon as the writing begins. Write under "
        "another name first.",
        shown,
    )


def fill_disk(probe: Probe, room: int, old: bytes, new: bytes) -> None:
    """The disk is full in the middle of a write."""
    disk, raised = Disk({"model": old}, room=room), None
    try:
        probe.answer(disk, "model", new)
    except Exception as error:
        raised = error
    shown = told(disk, "the disk was full in a write", disk.files.get("model"))
    probe.require(
        disk.files.get("model") == old,
        "On a full disk the old content is gone. Delete what you were writing, not what was there.",
        shown,
    )
    probe.require(
        set(disk.files) == {"model"},
        "On a full disk half a file stays behind and keeps the disk full: delete it in `except "
        "OSError`, then `raise`.",
        shown + f"\nand the disk holds {sorted(disk.files)}",
    )
    cause, shown = raised, shown + f"\nthe caller gets {raised!r}" * (raised is not None)
    while cause is not None and getattr(cause, "errno", None) != 28:
        cause = cause.__cause__  # raise OSError("no room for ...") from error
    told_of = cause is not None and isinstance(raised, OSError)
    probe.require(
        raised is None or told_of,
        "The disk was full, and the caller gets another error: clean up, then pass the disk's own "
        "on with a bare `raise`.",
        shown,
    )
    probe.require(
        told_of,
        "The disk was full, and the caller hears nothing of it: the run goes on without its "
        "checkpoint. Clean up, then `raise` the error again.",
        shown,
    )


@exercise("6.6", "All or nothing")
def replace_file(probe: Probe) -> None:
    old, new = b"old weights", b"new weights, longer"
    disk = Disk({"model": old})
    probe.call(disk, "model", new)
    shown = told(disk, "", disk.files.get("model"))
    probe.require(
        "rename('model', " not in "".join(disk.log) or disk.files.get("model") == new,
        "The old file was moved away. `rename(old, new)` gives the file `old` the name `new`: the "
        "new content is to get the name of the old one.",
        shown,
    )
    probe.require(
        disk.files.get("model") == new,
        "When nothing goes wrong, the file should hold the new content; is a rename missing?",
        shown,
    )
    probe.require(
        set(disk.files) == {"model"},
        "When nothing goes wrong, no other file should be left.",
        shown + f"\nand the disk holds {sorted(disk.files)}",
    )
    probe.holds("without a mishap the new content is there")
    for cut in range(1, disk.calls + 1):
        cut_power(probe, cut, old, new)
    probe.require(
        disk.after_power_cut()["model"] == new,
        "Your function has returned, and the new content is still not safe: flush it, before the "
        "rename.",
        told(disk, "the power is cut", disk.after_power_cut()["model"]),
    )
    probe.holds("a power cut after any of the calls leaves the old content or the new")
    for room in (0, 5):
        fill_disk(probe, room, old, new)
    probe.holds("a full disk leaves the old content, nothing else, and the error")
    fresh = Disk({})
    probe.call(fresh, "model", new)
    probe.require(
        fresh.files == {"model": new},
        "The first time there is no old content yet; that should work too.",
        f"on an empty disk\n{fresh.log}\nleaves {fresh.files}",
    )
    probe.holds("the first time works too")


# --- 6.7 -----------------------------------------------------------------------------------------


class SmallRun:
    """The run of the exercise, as the chapter has it."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.weights = torch.randn(3, generator=self.generator)
        self.momentum = torch.zeros(3)
        self.step, self.position = 0, 5 * seed

    def take_step(self):
        x = torch.tensor([1.0, 2.0, 3.0]).roll(self.position)
        kept = torch.rand(3, generator=self.generator) > 0.25
        loss = ((self.weights * x * kept).sum() - 1) ** 2
        gradient = 2 * ((self.weights * x * kept).sum() - 1) * x * kept
        self.momentum.mul_(0.9).add_(gradient)
        self.weights.sub_(0.01 / (1 + self.step) * self.momentum)
        self.step, self.position = self.step + 1, self.position + 1
        return loss.item()

    def __repr__(self):
        return f"SmallRun at step {self.step}"

    def __deepcopy__(self, memo):
        return self


PARTS = {
    "weights": "The weights are not those of the old run.",
    "momentum": "The momentum is missing: the optimizer's running mean decides the next steps as "
    "much as the gradient does.",
    "step": "The step is missing: the schedule would begin anew, and with it the learning rate.",
    "position": "The position in the data is missing: the fresh run would see other data next.",
    "generator": "The generator's state is missing: dropout would draw other numbers.",
}


def state_of_part(run, name):
    value = getattr(run, name)
    return value.get_state() if name == "generator" else value


@exercise("6.7", "What a resume forgets")
def continue_from(probe: Probe) -> None:
    def pair(n_steps):
        old, fresh = SmallRun(seed=1), SmallRun(seed=2)
        for _ in range(n_steps):
            old.take_step()
        return fresh, old

    for n_steps in (4, 5):
        fresh, old = pair(n_steps)
        before = {name: copy.deepcopy(state_of_part(old, name)) for name in PARTS}
        got = probe.call(fresh, old)
        example = f"old has taken {n_steps} steps; fresh has another seed and has taken none"
        probe.require(got is not None, "Return the fresh run: is a `return` missing?", example)
        probe.require(
            got is fresh,
            "Return `fresh` itself, brought to where `old` stands, and no other run.",
            example,
        )
        for name, missing in PARTS.items():
            same_now = same(state_of_part(old, name), before[name], 0.0)
            probe.require(same_now, f"The old run was changed: its {name} is another now.", example)
            same_there = same(state_of_part(got, name), before[name], 0.0)
            probe.require(same_there, missing, f"{example}\nafterwards `{name}` differs")
        for name in ("weights", "momentum", "generator"):
            shared = getattr(got, name) is getattr(old, name)
            if name != "generator":
                shared |= getattr(got, name).data_ptr() == getattr(old, name).data_ptr()
            probe.require(
                not shared,
                f"Both runs hold the same {name} object: a step of one changes it for the other. "
                "Copy the content.",
                example,
            )
        losses = [[run.take_step() for _ in range(6)] for run in (got, old)]
        probe.expect(losses[0], losses[1], {}, f"{example}\nlosses of the next six steps", 0.0)
    probe.holds("the five things that a later step reads are those of the old run")
    probe.holds("both go on alike, and neither disturbs the other")
