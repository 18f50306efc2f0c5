"""Plausible wrong answers to the exercises of chapter 06."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from wrong_answers import wrong

# --- 6.1 What decays -----------------------------------------------------------------------------


@wrong("6.1", "Everything decays")
def decays_everything(model):
    return [name for name, _ in model.named_parameters()]


@wrong("6.1", "the scales of norms are vectors too")
def all_but_biases(model):
    return [name for name, _ in model.named_parameters() if not name.endswith("bias")]


@wrong("6.1", "those of norms are among them")
def whatever_is_called_weight(model):
    return [name for name, _ in model.named_parameters() if "weight" in name]


@wrong("6.1", "the other way round")
def vectors_decay(model):
    return [name for name, w in model.named_parameters() if w.ndim == 1]


@wrong("6.1", "A frozen parameter")
def the_frozen_too(model):
    return [name for name, w in model.named_parameters() if w.ndim >= 2]


@wrong("6.1", "under both of its names")
def the_tied_twice(model):
    every = model.named_parameters(remove_duplicate=False)
    return [name for name, w in every if w.ndim >= 2 and w.requires_grad]


@wrong("6.1", "exactly two dimensions")
def two_dimensions(model):
    return [name for name, w in model.named_parameters() if w.ndim == 2]


@wrong("6.1", "The embedding is missing")
def without_the_embedding(model):
    every = model.named_parameters()
    return [name for name, w in every if w.ndim >= 2 and not name.startswith("words")]


@wrong("6.1", "Only the weights of `nn.Linear`")
def linear_layers(model):
    every = model.named_modules()
    return [f"{name}.weight" for name, part in every if isinstance(part, nn.Linear)]


@wrong("6.1", "Return a list of names")
def how_many_decay(model):
    return sum(w.ndim >= 2 for w in model.parameters())


@wrong("6.1", "Return a list of names")
def the_parameters_themselves(model):
    return [w for w in model.parameters() if w.ndim >= 2]


# --- 6.2 One step of AdamW -----------------------------------------------------------------------


def means(g, mean, square, beta1, beta2):
    return beta1 * mean + (1 - beta1) * g, beta2 * square + (1 - beta2) * g**2


def corrected(mean, square, step, beta1, beta2):
    return mean / (1 - beta1**step), square / (1 - beta2**step)


@wrong("6.2", "The bias correction is missing")
def without_correction(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    return w * (1 - lr * decay) - lr * mean / (square.sqrt() + eps), mean, square


@wrong("6.2", "The mean of the gradient is not corrected")
def only_the_square_corrected(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    _, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * mean / (v.sqrt() + eps), mean, square


@wrong("6.2", "The mean square is not corrected")
def only_the_mean_corrected(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, _ = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * m / (square.sqrt() + eps), mean, square


@wrong("6.2", "added to the gradient (L2)")
def l2_instead_of_decay(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g + decay * w, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w - lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "The decay goes into the mean of the gradient")
def decay_with_the_gradient(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    _, square = means(g, mean, square, beta1, beta2)
    mean, _ = means(g + decay * w, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w - lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "eps is inside the root")
def eps_inside_the_root(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * m / (v + eps).sqrt(), mean, square


@wrong("6.2", "divide by its root")
def divided_by_the_square(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * m / (v + eps), mean, square


@wrong("6.2", "The weights do not decay")
def plain_adam(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w - lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "does not know the learning rate")
def decay_without_the_rate(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - decay) - lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "Shrink the weights that came in")
def decay_afterwards(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    w = w - lr * m / (v.sqrt() + eps)
    return w - lr * decay * w, mean, square


@wrong("6.2", "You go uphill")
def uphill(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) + lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "Old and new are exchanged")
def shares_exchanged(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean = (1 - beta1) * mean + beta1 * g
    square = (1 - beta2) * square + beta2 * g**2
    m, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "The new gradient is added whole")
def sums_instead_of_means(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = beta1 * mean + g, beta2 * square + g**2
    m, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "The corrected means are returned")
def corrected_means_kept(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    mean, square = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * mean / (square.sqrt() + eps), mean, square


@wrong("6.2", "the step after this one")
def correction_one_step_late(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step + 1, beta1, beta2)
    return w * (1 - lr * decay) - lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "it fades with the steps")
def correction_that_never_fades(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, 1, beta1, beta2)
    return w * (1 - lr * decay) - lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "along the gradient of this step alone")
def without_momentum(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    _, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * g / (v.sqrt() + eps), mean, square


@wrong("6.2", "Return three things")
def only_the_weights(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    return plain_adam(w, g, mean, square, step, lr, beta1, beta2, eps, decay)[0]


@wrong("6.2", "changes its argument")
def in_place(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean.lerp_(g, 1 - beta1)
    square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * m / (v.sqrt() + eps), mean, square


# --- 6.3 Warm-up, plateau, descent ---------------------------------------------------------------


def descent(step, n_steps, peak, decay):
    if step < n_steps - decay:
        return peak
    return peak * (1 - math.sqrt((step - n_steps + decay) / decay))


@wrong("6.3", "your first step has rate 0")
def first_step_lost(step, n_steps, peak, warmup, decay):
    return peak * step / warmup if step < warmup else descent(step, n_steps, peak, decay)


@wrong("6.3", "the peak is reached one step early")
def peak_one_step_early(step, n_steps, peak, warmup, decay):
    return peak * (step + 1) / warmup if step < warmup else descent(step, n_steps, peak, decay)


@wrong("6.3", "There is no warm-up")
def cold_start(step, n_steps, peak, warmup, decay):
    return descent(step, n_steps, peak, decay)


def warm(function):
    """A warm-up as it should be, before a descent that is wrong."""

    def rate(step, n_steps, peak, warmup, decay):
        if step < warmup:
            return peak * (step + 1) / (warmup + 1)
        return function(step, n_steps, peak, warmup, decay)

    rate.__name__ = function.__name__
    return rate


@wrong("6.3", "begins a step too late")
@warm
def descent_a_step_late(step, n_steps, peak, warmup, decay):
    begin = n_steps - decay
    return peak if step <= begin else peak * (1 - math.sqrt((step - begin - 1) / decay))


@wrong("6.3", "begins a step too early")
@warm
def zero_at_the_last_step(step, n_steps, peak, warmup, decay):
    begin = n_steps - decay
    return peak if step < begin else peak * (1 - math.sqrt((step - begin + 1) / decay))


@wrong("6.3", "Your last step has rate 0")
@warm
def ends_one_step_early(step, n_steps, peak, warmup, decay):
    begin = n_steps - decay
    return peak if step < begin else peak * (1 - math.sqrt((step - begin) / (decay - 1)))


@wrong("6.3", "a straight line")
@warm
def straight_descent(step, n_steps, peak, warmup, decay):
    return peak * min(1, (n_steps - step) / decay)


@wrong("6.3", "stays high and falls at the end")
@warm
def root_of_what_is_left(step, n_steps, peak, warmup, decay):
    return peak * math.sqrt(min(1, (n_steps - step) / decay))


@wrong("6.3", "half a cosine")
@warm
def cosine_descent(step, n_steps, peak, warmup, decay):
    progress = max(0, (step - n_steps + decay) / decay)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


@wrong("6.3", "The descent begins right after the warm-up")
@warm
def no_plateau(step, n_steps, peak, warmup, decay):
    return peak * (1 - math.sqrt((step - warmup) / (n_steps - warmup)))


@wrong("6.3", "that of the whole run")
@warm
def progress_of_the_run(step, n_steps, peak, warmup, decay):
    return peak if step < n_steps - decay else peak * (1 - math.sqrt(step / n_steps))


@wrong("6.3", "There is no descent")
@warm
def no_descent(step, n_steps, peak, warmup, decay):
    return peak


@wrong("6.3", "a division by a length that may be 0")
@warm
def descent_of_no_length(step, n_steps, peak, warmup, decay):
    progress = (step - n_steps + decay) / decay
    return peak * (1 - math.sqrt(max(0, progress)))


# --- 6.4 Many parts, one step --------------------------------------------------------------------


def loss_of(model, ids, reduction="mean"):
    logits = model(ids[:, :-1]).flatten(0, 1)
    return F.cross_entropy(logits, ids[:, 1:].flatten(), reduction=reduction)


def n_targets(ids):
    return ids[:, 1:].numel()


@wrong("6.4", "`zero_grad` is forgotten")
def zero_grad_forgotten(model, parts, optimizer):
    n, total = sum(map(n_targets, parts)), 0.0
    for ids in parts:
        loss = loss_of(model, ids, "sum") / n
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@wrong("6.4", "The targets are not shifted")
def targets_not_shifted(model, parts, optimizer):
    optimizer.zero_grad()
    n, total = sum(map(n_targets, parts)), 0.0
    for ids in parts:
        x = y = ids[:, :-1]
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum") / n
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@wrong("6.4", "the mean of the parts' means")
def mean_of_means(model, parts, optimizer):
    optimizer.zero_grad()
    total = 0.0
    for ids in parts:
        loss = loss_of(model, ids) / len(parts)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@wrong("6.4", "the step grows with the number of parts")
def means_added_up(model, parts, optimizer):
    optimizer.zero_grad()
    total = 0.0
    for ids in parts:
        loss = loss_of(model, ids)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total / len(parts)


@wrong("6.4", "The loss was divided twice")
def averaged_twice(model, parts, optimizer):
    optimizer.zero_grad()
    losses = [loss_of(model, ids) / len(parts) for ids in parts]
    loss = torch.stack(losses).mean()
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("6.4", "The loss was divided twice")
def averaged_over_targets_and_parts(model, parts, optimizer):
    optimizer.zero_grad()
    n, total = sum(map(n_targets, parts)), 0.0
    for ids in parts:
        loss = loss_of(model, ids, "sum") / n / len(parts)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@wrong("6.4", "not divided by their number")
def never_divided(model, parts, optimizer):
    optimizer.zero_grad()
    for ids in parts:
        loss_of(model, ids, "sum").backward()
    optimizer.step()
    return 0.0


@wrong("6.4", "A row of T + 1 ids has T targets")
def weighed_by_ids(model, parts, optimizer):
    optimizer.zero_grad()
    n, total = sum(ids.numel() for ids in parts), 0.0
    for ids in parts:
        loss = loss_of(model, ids) * ids.numel() / n
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@wrong("6.4", "weighed by their rows")
def weighed_by_rows(model, parts, optimizer):
    optimizer.zero_grad()
    n, total = sum(len(ids) for ids in parts), 0.0
    for ids in parts:
        loss = loss_of(model, ids) * len(ids) / n
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@wrong("6.4", "Only the last part has an effect")
def zero_grad_before_every_part(model, parts, optimizer):
    total = 0.0
    for ids in parts:
        optimizer.zero_grad()
        loss = loss_of(model, ids)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total / len(parts)


@wrong("6.4", "2 steps were taken")
def a_step_after_every_part(model, parts, optimizer):
    total = 0.0
    for ids in parts:
        optimizer.zero_grad()
        loss = loss_of(model, ids)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(parts)


@wrong("6.4", "No step was taken")
def the_step_forgotten(model, parts, optimizer):
    optimizer.zero_grad()
    n = sum(map(n_targets, parts))
    loss = sum(loss_of(model, ids, "sum") for ids in parts) / n
    loss.backward()
    return loss.item()


@wrong("6.4", "erased after they were computed")
def zero_grad_before_the_step(model, parts, optimizer):
    n = sum(map(n_targets, parts))
    loss = sum(loss_of(model, ids, "sum") for ids in parts) / n
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


@wrong("6.4", "The loss that you return is the mean of the parts' means")
def reports_the_mean_of_means(model, parts, optimizer):
    optimizer.zero_grad()
    n = sum(map(n_targets, parts))
    (sum(loss_of(model, ids, "sum") for ids in parts) / n).backward()
    reported = sum(loss_of(model, ids).item() for ids in parts) / len(parts)
    optimizer.step()
    return reported


@wrong("6.4", "a `return` missing")
def returns_nothing(model, parts, optimizer):
    optimizer.zero_grad()
    n = sum(map(n_targets, parts))
    (sum(loss_of(model, ids, "sum") for ids in parts) / n).backward()
    optimizer.step()
