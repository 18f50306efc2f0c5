"""Right answers in an unusual style are accepted: a check judges what is done, not how."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from lib.course.checks import check

RIGHT = {}


def right(number):
    def register(answer):
        RIGHT[f"{number}-{answer.__name__}"] = number, answer
        return answer

    return register


@right("6.1")
def a_set(model):
    return {n for n, w in model.named_parameters() if w.requires_grad and w.dim() > 1}


@right("6.2")
def with_corrections_as_pytorch_has_them(w, g, mean, square, step, lr, beta1, beta2, eps, decay):
    mean, square = mean.lerp(g, 1 - beta1), square + (1 - beta2) * (g * g - square)
    root = square.sqrt() / math.sqrt(1 - beta2**step) + eps
    return [w - lr * decay * w - lr / (1 - beta1**step) * mean / root, mean, square]


@right("6.3")
def in_float32(step, n_steps, peak, warmup, decay):
    rise = min(1, (step + 1) / (warmup + 1))
    progress = max(0, step - n_steps + decay) / max(decay, 1)
    return torch.tensor(peak * rise * (1 - math.sqrt(progress)))


@right("6.4")
def gradients_divided_at_the_end(model, parts, optimizer):
    optimizer.zero_grad()
    n, total = sum(ids[:, 1:].numel() for ids in parts), 0.0
    for ids in parts:
        logits = model(ids)[:, :-1].transpose(1, 2)  # (B, V, T)
        loss = F.cross_entropy(logits, ids[:, 1:], reduction="sum")
        loss.backward()
        total += loss.detach()
    for weights in model.parameters():
        weights.grad /= n
    optimizer.step()
    return total / n


@right("6.5")
def on_a_copy_of_the_model(model, batches, n_characters):
    twin, nats = copy.deepcopy(model).eval(), 0.0
    with torch.inference_mode():
        for x, y in batches:
            nats += F.cross_entropy(twin(x).transpose(1, 2), y, reduction="sum")
    return nats / math.log(2) / n_characters


@right("6.6")
def with_an_error_that_says_more(disk, name, data):
    try:
        disk.write(name + "~", data)
    except OSError as error:
        disk.delete(name + "~")
        raise OSError(f"no room for {name}") from error
    disk.flush(name + "~")
    disk.rename(name + "~", name)


@right("6.7")
def all_attributes_copied(fresh, old):
    vars(fresh).update(copy.deepcopy(vars(old)))
    return fresh


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_of_another_style_is_accepted(name):
    number, answer = RIGHT[name]
    outcome = check(number, answer, record=False)
    assert outcome.status == "correct", str(outcome)
