"""Plausible wrong answers to the exercises of chapter 06."""

import copy
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


@wrong("6.1", "A long vector is in your list")
def the_large_ones(model):
    return [name for name, w in model.named_parameters() if w.numel() > 4 and w.requires_grad]


@wrong("6.1", "not called `weight`")
def matrices_called_weight(model):
    every = model.named_parameters()
    return [n for n, w in every if n.endswith("weight") and w.ndim >= 2 and w.requires_grad]


@wrong("6.1", "neither its size nor its name")
def neither_bias_nor_norm_by_name(model):
    every = model.named_parameters()
    return [n for n, w in every if w.requires_grad and not n.endswith("bias") and "ln" not in n]


@wrong("6.1", "More than two dimensions")
def more_than_two(model):
    return [n for n, w in model.named_parameters() if w.ndim > 2 and w.requires_grad]


@wrong("6.1", "keep them whole")
def names_of_the_modules(model):
    every = model.named_parameters()
    return [n.split(".")[0] for n, w in every if w.ndim >= 2 and w.requires_grad]


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


@wrong("6.2", "the factor is 1 − lr · decay")
def decay_by_a_constant(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w - lr * (m / (v.sqrt() + eps) + decay), mean, square


@wrong("6.2", "the step is an exponent")
def beta_times_the_step(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = mean / (1 - beta1 * step), square / (1 - beta2 * step)
    return w * (1 - lr * decay) - lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "eps is divided by the correction too")
def eps_corrected(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m = mean / (1 - beta1**step)
    root = (square.sqrt() + eps) / math.sqrt(1 - beta2**step)
    return w * (1 - lr * decay) - lr * m / root, mean, square


@wrong("6.2", "Return three things")
def only_the_weights(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    return plain_adam(w, g, mean, square, step, lr, beta1, beta2, eps, decay)[0]


@wrong("6.2", "changes its argument")
def in_place(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean.lerp_(g, 1 - beta1)
    square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "your weights do not move")
def means_of_the_step_before(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    m, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * m / (v.sqrt() + eps), *means(g, mean, square, beta1, beta2)


@wrong("6.2", "The learning rate is missing")
def without_the_rate(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - m / (v.sqrt() + eps), mean, square


@wrong("6.2", "The change is returned")
def the_change_alone(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return lr * m / (v.sqrt() + eps), mean, square


@wrong("6.2", "exchanged in what you return")
def square_before_mean(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = means(g, mean, square, beta1, beta2)
    m, v = corrected(mean, square, step, beta1, beta2)
    return w * (1 - lr * decay) - lr * m / (v.sqrt() + eps), square, mean


@wrong("6.2", "The means that came in are returned")
def forgets_the_new_means(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    m, v = corrected(*means(g, mean, square, beta1, beta2), step, beta1, beta2)
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


@wrong("6.3", "the square of what is left")
@warm
def square_of_what_is_left(step, n_steps, peak, warmup, decay):
    return peak * min(1, (n_steps - step) / decay) ** 2


@wrong("6.3", "There is no descent")
@warm
def no_descent(step, n_steps, peak, warmup, decay):
    return peak


@wrong("6.3", "a division by a length that may be 0")
@warm
def descent_of_no_length(step, n_steps, peak, warmup, decay):
    progress = (step - n_steps + decay) / decay
    return peak * (1 - math.sqrt(max(0, progress)))


@wrong("6.3", "The peak is missing")
def shares_of_the_peak(step, n_steps, peak, warmup, decay):
    return (step + 1) / (warmup + 1) if step < warmup else descent(step, n_steps, 1.0, decay)


@wrong("6.3", "counted from 1")
def counted_from_1(step, n_steps, peak, warmup, decay):
    step += 1
    return (
        peak * (step + 1) / (warmup + 1) if step < warmup else descent(step, n_steps, peak, decay)
    )


@wrong("6.3", "Brackets are missing")
@warm
def brackets_forgotten(step, n_steps, peak, warmup, decay):
    progress = (step - n_steps + decay) / decay
    return peak if progress <= 0 else 1 - math.sqrt(progress) * peak


@wrong("6.3", "raised an error")
def root_of_a_negative_progress(step, n_steps, peak, warmup, decay):
    progress = (step - n_steps + decay) / max(decay, 1)
    return peak * min((step + 1) / (warmup + 1), 1 - math.sqrt(progress))


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


@wrong("6.4", "weighed by the length of their rows")
def weighed_by_the_length_of_rows(model, parts, optimizer):
    optimizer.zero_grad()
    n, total = sum(ids.shape[1] for ids in parts), 0.0
    for ids in parts:
        loss = loss_of(model, ids) * ids.shape[1] / n
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


def with_loss(loss_of_part):
    """A step that is right but for the loss of a part."""

    def answer(model, parts, optimizer):
        optimizer.zero_grad()
        n, total = sum(map(n_targets, parts)), 0.0
        for ids in parts:
            loss = loss_of_part(model, ids) / n
            loss.backward()
            total += loss.item()
        optimizer.step()
        return total

    answer.__name__ = loss_of_part.__name__
    return answer


@wrong("6.4", "Inputs and targets are exchanged")
@with_loss
def backwards_in_time(model, ids):
    logits = model(ids[:, 1:]).flatten(0, 1)
    return F.cross_entropy(logits, ids[:, :-1].flatten(), reduction="sum")


@wrong("6.4", "does the softmax itself")
@with_loss
def softmax_twice(model, ids):
    probabilities = model(ids[:, :-1]).softmax(-1).flatten(0, 1)
    return F.cross_entropy(probabilities, ids[:, 1:].flatten(), reduction="sum")


@wrong("6.4", "The rows were joined to one long row")
def one_long_row(model, parts, optimizer):
    optimizer.zero_grad()
    loss = loss_of(model, torch.cat([ids.flatten() for ids in parts])[None])
    loss.backward()
    optimizer.step()
    return loss.item()


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


@wrong("6.4", "all parts wait for one `backward`")
def one_backward_at_the_end(model, parts, optimizer):
    optimizer.zero_grad()
    n = sum(map(n_targets, parts))
    loss = sum(loss_of(model, ids, "sum") for ids in parts) / n
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("6.4", "a `return` missing")
def returns_nothing(model, parts, optimizer):
    optimizer.zero_grad()
    n = sum(map(n_targets, parts))
    (sum(loss_of(model, ids, "sum") for ids in parts) / n).backward()
    optimizer.step()


# --- 6.5 Bits per character ----------------------------------------------------------------------


def total_nats(model, batches, reduction="sum"):
    """The loss of each batch in nats, without dropout and gradients; the mode comes back."""
    was = model.training
    model.eval()
    with torch.no_grad():
        losses = [
            F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction=reduction).item()
            for x, y in batches
        ]
    model.train(was)
    return losses


@wrong("6.5", "The result is in nats")
def nats_per_character(model, batches, n_characters):
    return sum(total_nats(model, batches)) / n_characters


@wrong("6.5", "multiplied by ln 2 where you should divide")
def times_ln_2(model, batches, n_characters):
    return sum(total_nats(model, batches)) * math.log(2) / n_characters


@wrong("6.5", "bits per token")
def bits_per_token(model, batches, n_characters):
    n = sum((y >= 0).sum().item() for _, y in batches)
    return sum(total_nats(model, batches)) / n / math.log(2)


@wrong("6.5", "mean of the batches' means")
def mean_of_the_means(model, batches, n_characters):
    means = total_nats(model, batches, "mean")
    n = sum((y >= 0).sum().item() for _, y in batches)
    return sum(means) / len(means) * n / math.log(2) / n_characters


@wrong("6.5", "added up the batches' mean losses")
def sum_of_means(model, batches, n_characters):
    return sum(total_nats(model, batches, "mean")) / math.log(2) / n_characters


@wrong("6.5", "padding has no loss")
def means_times_all_places(model, batches, n_characters):
    total = 0
    for (_, y), loss in zip(batches, total_nats(model, batches, "mean"), strict=True):
        total += loss * y.shape[0] * y.shape[1]
    return total / math.log(2) / n_characters


@wrong("6.5", "Padding has a share in your sum")
def padding_is_id_0(model, batches, n_characters):
    filled = [(x, y.masked_fill(y == -100, 0)) for x, y in batches]
    return sum(total_nats(model, filled)) / math.log(2) / n_characters


@wrong("6.5", "the total of all bits")
def total_bits(model, batches, n_characters):
    return sum(total_nats(model, batches)) / math.log(2)


@wrong("6.5", "moved once more")
def moved_twice(model, batches, n_characters):
    moved = [(x[:, :-1], y[:, 1:]) for x, y in batches]
    return sum(total_nats(model, moved)) / math.log(2) / n_characters


@wrong("6.5", "Only the first batch")
def returns_inside_the_loop(model, batches, n_characters):
    for batch in batches:
        return total_nats(model, [batch])[0] / math.log(2) / n_characters


@wrong("6.5", "Only the last batch")
def overwrites_the_total(model, batches, n_characters):
    for batch in batches:
        total = total_nats(model, [batch])[0]
    return total / math.log(2) / n_characters


@wrong("6.5", "The result is a perplexity")
def perplexity(model, batches, n_characters):
    n = sum((y >= 0).sum().item() for _, y in batches)
    return math.exp(sum(total_nats(model, batches)) / n)


@wrong("6.5", "The sign is wrong")
def log_probability(model, batches, n_characters):
    return -sum(total_nats(model, batches)) / math.log(2) / n_characters


@wrong("6.5", "yours is done twice")
def softmax_before_the_loss(model, batches, n_characters):
    was, total = model.training, 0.0
    model.eval()
    with torch.no_grad():
        for x, y in batches:
            p = model(x).softmax(-1).flatten(0, 1)
            total += F.cross_entropy(p, y.flatten(), reduction="sum").item()
    model.train(was)
    return total / math.log(2) / n_characters


@wrong("6.5", "Id 0 is left out")
def id_0_taken_for_padding(model, batches, n_characters):
    filled = [(x, y.masked_fill(y == 0, -100)) for x, y in batches]
    return sum(total_nats(model, filled)) / math.log(2) / n_characters


@wrong("6.5", "multiplied by `n_characters`")
def times_characters(model, batches, n_characters):
    return sum(total_nats(model, batches)) / math.log(2) * n_characters


@wrong("6.5", "under `torch.no_grad()`")
def keeps_the_graph_of_a_copy(model, batches, n_characters):
    twin, total = copy.deepcopy(model).eval(), 0.0
    for x, y in batches:
        total += F.cross_entropy(twin(x).flatten(0, 1), y.flatten(), reduction="sum").item()
    return total / math.log(2) / n_characters


@wrong("6.5", "Dropout was on")
def with_dropout(model, batches, n_characters):
    with torch.no_grad():
        losses = [
            F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
            for x, y in batches
        ]
    return sum(losses) / math.log(2) / n_characters


@wrong("6.5", "Note `model.training` first")
def stays_in_evaluation_mode(model, batches, n_characters):
    model.eval()
    return sum(total_nats(model, batches)) / math.log(2) / n_characters


@wrong("6.5", "Note `model.training` first")
def always_ends_in_training_mode(model, batches, n_characters):
    bits = sum(total_nats(model, batches)) / math.log(2) / n_characters
    model.train()
    return bits


@wrong("6.5", "under `torch.no_grad()`")
def keeps_the_graph(model, batches, n_characters):
    was, total = model.training, 0.0
    model.eval()
    for x, y in batches:
        total += F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
    model.train(was)
    return total / math.log(2) / n_characters


@wrong("6.5", "switched off for good")
def no_gradients_ever_again(model, batches, n_characters):
    torch.set_grad_enabled(False)
    return sum(total_nats(model, batches)) / math.log(2) / n_characters


# --- 6.6 All or nothing --------------------------------------------------------------------------


@wrong("6.6", "You write over the old content")
def writes_in_place(disk, name, data):
    disk.write(name, data)


@wrong("6.6", "You write over the old content")
def writes_in_place_and_flushes(disk, name, data):
    disk.write(name, data)
    disk.flush(name)


@wrong("6.6", "renamed before it was flushed")
def never_flushed(disk, name, data):
    try:
        disk.write(name + ".part", data)
    except OSError:
        disk.delete(name + ".part")
        raise
    disk.rename(name + ".part", name)


@wrong("6.6", "renamed before it was flushed")
def flushed_too_late(disk, name, data):
    disk.write(name + ".part", data)
    disk.rename(name + ".part", name)
    disk.flush(name)


@wrong("6.6", "no file of that name exists")
def deletes_first(disk, name, data):
    disk.write(name + ".part", data)
    disk.flush(name + ".part")
    disk.delete(name)
    disk.rename(name + ".part", name)


@wrong("6.6", "no file of that name exists")
def keeps_a_backup(disk, name, data):
    disk.rename(name, name + ".old")
    disk.write(name, data)
    disk.flush(name)
    disk.delete(name + ".old")


@wrong("6.6", "is a rename missing?")
def never_renamed(disk, name, data):
    disk.write(name + ".part", data)
    disk.flush(name + ".part")


@wrong("6.6", "no other file should be left")
def two_copies(disk, name, data):
    disk.write(name + ".part", data)
    disk.flush(name + ".part")
    disk.rename(name + ".part", name)
    disk.write(name + ".copy", data)


@wrong("6.6", "half a file stays behind")
def no_cleaning_up(disk, name, data):
    disk.write(name + ".part", data)
    disk.flush(name + ".part")
    disk.rename(name + ".part", name)


@wrong("6.6", "the caller hears nothing of it")
def swallows_the_error(disk, name, data):
    try:
        disk.write(name + ".part", data)
        disk.flush(name + ".part")
        disk.rename(name + ".part", name)
    except OSError:
        disk.delete(name + ".part")


@wrong("6.6", "the old content is gone")
def deletes_the_wrong_file(disk, name, data):
    try:
        disk.write(name + ".part", data)
        disk.flush(name + ".part")
        disk.rename(name + ".part", name)
    except OSError:
        disk.delete(name + ".part")
        disk.delete(name)
        raise


@wrong("6.6", "Your function raised an error")
def renames_the_wrong_way_round(disk, name, data):
    disk.write(name + ".part", data)
    disk.flush(name)
    disk.rename(name, name + ".part")
    disk.rename(name, name + ".part")


@wrong("6.6", "The first time")
def asks_for_the_old_one(disk, name, data):
    if name in disk.files:
        try:
            disk.write(name + ".part", data)
        except OSError:
            disk.delete(name + ".part")
            raise
        disk.flush(name + ".part")
        disk.rename(name + ".part", name)


@wrong("6.6", "The old file was moved away")
def names_exchanged_in_rename(disk, name, data):
    disk.write(name + ".part", data)
    disk.flush(name + ".part")
    disk.rename(name, name + ".part")


@wrong("6.6", "the caller gets another error")
def hides_the_error(disk, name, data):
    try:
        disk.write(name + ".part", data)
    except OSError:
        disk.delete(name + ".part")
        raise RuntimeError("something went wrong") from None
    disk.flush(name + ".part")
    disk.rename(name + ".part", name)


# --- 6.7 What a resume forgets -------------------------------------------------------------------


def resumed(fresh, old, without=(), shared=()):
    for name in ("weights", "momentum"):
        if name not in without:
            value = getattr(old, name)
            setattr(fresh, name, value if name in shared else value.clone())
    for name in ("step", "position"):
        if name not in without:
            setattr(fresh, name, getattr(old, name))
    if "generator" in shared:
        fresh.generator = old.generator
    elif "generator" not in without:
        fresh.generator.set_state(old.generator.get_state())
    return fresh


@wrong("6.7", "The weights are not those")
def nothing_at_all(fresh, old):
    return fresh


@wrong("6.7", "The momentum is missing")
def weights_alone(fresh, old):
    fresh.weights = old.weights.clone()
    return fresh


@wrong("6.7", "The step is missing")
def without_the_step(fresh, old):
    return resumed(fresh, old, without=["step"])


@wrong("6.7", "The position in the data is missing")
def without_the_position(fresh, old):
    return resumed(fresh, old, without=["position"])


@wrong("6.7", "The position in the data is missing")
def position_from_the_step(fresh, old):
    resumed(fresh, old, without=["position"])
    fresh.position = fresh.step
    return fresh


@wrong("6.7", "The generator's state is missing")
def without_the_generator(fresh, old):
    return resumed(fresh, old, without=["generator"])


@wrong("6.7", "The generator's state is missing")
def generator_of_the_same_seed(fresh, old):
    resumed(fresh, old, without=["generator"])
    fresh.generator = torch.Generator().manual_seed(old.generator.initial_seed())
    return fresh


@wrong("6.7", "Both runs hold the same weights")
def two_names_for_the_weights(fresh, old):
    return resumed(fresh, old, shared=["weights"])


@wrong("6.7", "Both runs hold the same weights")
def a_detached_view(fresh, old):
    resumed(fresh, old, shared=["momentum"])
    fresh.weights = old.weights.detach()
    return fresh


@wrong("6.7", "Both runs hold the same momentum")
def two_names_for_the_momentum(fresh, old):
    return resumed(fresh, old, shared=["momentum"])


@wrong("6.7", "Both runs hold the same generator")
def one_generator_for_both(fresh, old):
    return resumed(fresh, old, shared=["generator"])


@wrong("6.7", "Both runs hold the same weights")
def all_attributes_at_once(fresh, old):
    fresh.__dict__.update(old.__dict__)
    return fresh


@wrong("6.7", "is a `return` missing?")
def forgets_to_return(fresh, old):
    resumed(fresh, old)


@wrong("6.7", "Return `fresh` itself")
def the_old_one(fresh, old):
    return old


@wrong("6.7", "The old run was changed")
def the_wrong_direction(fresh, old):
    resumed(old, fresh)
    return fresh


@wrong("6.7", "The step is missing")
def one_step_too_far(fresh, old):
    resumed(fresh, old)
    fresh.step += 1
    return fresh
