"""Optimisation: AdamW and Muon from scratch, schedules, clipping (chapter 06).

An optimizer turns the gradients of a step into a change of the weights; a schedule says how large
the change may be; clipping bounds what one batch can do.
"""

import math
from collections.abc import Iterable
from numbers import Integral, Real

import torch
from torch import nn


def check_options(group: dict, below_one: str) -> None:
    """Refuse options of an optimizer that cannot be meant; the one named `below_one` is below 1."""
    for name in ("lr", "weight_decay", "eps", below_one):
        option, limit = group.get(name, 0.0), 1 if name == below_one else math.inf
        for value in option if isinstance(option, (tuple, list)) else [option]:
            if not isinstance(value, Real) or not 0 <= value < limit:
                allowed = "0 <= value < 1" if name == below_one else "0 or more, and finite"
                raise ValueError(f"{name} is {option!r}; choose {allowed}")


def check_gradient(weights: nn.Parameter) -> None:
    """Refuse gradients that the optimizers of this module do not know how to use."""
    if weights.grad.is_sparse or weights.is_complex():
        raise ValueError(
            f"a gradient of shape {tuple(weights.shape)} is sparse or complex; use dense real "
            "parameters (nn.Embedding with sparse=False)"
        )


class Optimizer(torch.optim.Optimizer):
    """Goes over all parameters that have a gradient; a subclass says how `update` changes one.

    PyTorch's base class keeps the groups of parameters with their options, the state of each
    parameter, `zero_grad`, `state_dict` and `load_state_dict`.
    """

    below_one = ""  # the option that must lie below 1

    def add_param_group(self, param_group: dict) -> None:
        """Take a group of parameters with options of its own; ValueError if one cannot be meant."""
        super().add_param_group(param_group)
        check_options(self.param_groups[-1], self.below_one)

    def update(self, weights: nn.Parameter, state: dict, group: dict) -> None:
        """Change the weights in place by one step; `state` is theirs to keep."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure=None):
        """One step for all parameters. closure: computes the loss anew, with its gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    check_gradient(weights)
                    self.update(weights, self.state[weights], group)
        return loss


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Kingma & Ba, 2015; Loshchilov & Hutter, 2019).

    params: parameters, or groups of them with options of their own. betas: how much the running
    means of the gradient and of its square keep at each step. amsgrad: divide by the largest mean
    square so far (Reddi, Kale & Kumar, 2018). maximize: climb instead of descending. Raises
    ValueError for options outside their range.
    """

    below_one = "betas"

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        maximize: bool = False,
    ):
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, options | {"amsgrad": amsgrad, "maximize": maximize})

    def update(self, weights, state, group):
        beta1, beta2 = group["betas"]
        gradient = -weights.grad if group["maximize"] else weights.grad
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(weights)  # of the gradient
            state["square"] = torch.zeros_like(weights)  # mean of the gradient's square
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - beta1)  # mean + (1 - beta1) (gradient - mean)
        state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        square = state["square"]
        if group["amsgrad"]:
            square = state["largest"] = torch.maximum(state.get("largest", square), square)
        root = (square / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
        step_size = group["lr"] / (1 - beta1 ** state["step"])
        weights.mul_(1 - group["lr"] * group["weight_decay"])  # decay: the gradient has no part
        weights.addcdiv_(state["mean"], root, value=-step_size)


def parameter_groups(
    model: nn.Module, weight_decay: float, without: Iterable[nn.Parameter] = ()
) -> list[dict]:
    """Two groups for AdamW: what decays, and what does not.

    Everything with two or more dimensions decays: the matrices of linear layers, and embeddings
    with them. Biases and the scales of norms never do. Frozen parameters and those in `without`
    are left out; a tied matrix stands there once. Raises ValueError when nothing is left.

    >>> groups = parameter_groups(nn.Linear(3, 5), weight_decay=0.1)
    >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
    [(1, 0.1), (1, 0.0)]
    """
    left_out = {id(weights) for weights in without}
    rest = [w for w in model.parameters() if w.requires_grad and id(w) not in left_out]
    if not rest:
        raise ValueError("no parameter is left to train; unfreeze some (requires_grad_(True))")
    return [
        {"params": [w for w in rest if w.ndim >= 2], "weight_decay": weight_decay},
        {"params": [w for w in rest if w.ndim < 2], "weight_decay": 0.0},
    ]


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> float:
    """Shrink all gradients by one factor, so that their common norm is at most max_norm.

    Returns the norm before. A norm that is not finite is returned and no gradient is touched:
    there is no direction to keep, so leave out the step, or stop. max_norm = math.inf measures
    only. Raises ValueError for a max_norm that is not positive. (Pascanu, Mikolov & Bengio, 2013.)
    """
    if not isinstance(max_norm, Real) or not max_norm > 0:
        raise ValueError(f"max_norm is {max_norm!r}; choose a positive number, such as 1.0")
    parameters = [parameters] if isinstance(parameters, torch.Tensor) else parameters
    gradients = [weights.grad for weights in parameters if weights.grad is not None]
    if not gradients:
        return 0.0
    norm = torch.stack([g.norm().to(gradients[0].device) for g in gradients]).norm().item()
    if math.isfinite(norm) and (factor := max_norm / (norm + 1e-6)) < 1:
        for gradient in gradients:
            gradient.mul_(factor)
    return norm


def check_schedule(step: int, n_steps: int, peak: float, final: float, **phases: int) -> None:
    """Refuse a step or a schedule that cannot be; `phases` are the lengths that must fit in."""
    counts = {"step": step, "n_steps": n_steps, **phases}
    for name, value in counts.items():
        if not isinstance(value, Integral) or value < (name == "n_steps"):
            raise ValueError(f"{name} is {value!r}; choose a whole number, counted from 0")
    if sum(phases.values()) > n_steps:
        raise ValueError(
            f"{' + '.join(phases)} is {sum(phases.values())} steps, but the run has {n_steps}; "
            "shorten them, or train for longer"
        )
    if not 0 <= final <= peak:
        raise ValueError(f"final is {final} and peak is {peak}; choose 0 <= final <= peak")


def warmup_cosine(
    step: int, n_steps: int, peak: float, warmup: int = 0, final: float = 0.0
) -> float:
    """The learning rate of a step: a straight rise to `peak`, then half a cosine down to `final`.

    Steps count from 0. Step `warmup` has `peak`; `final` is reached at n_steps, after the last
    step, and kept, so that no step of the run is lost. (Loshchilov & Hutter, 2017.) Raises
    ValueError for a step below 0 and a warm-up longer than the run.

    >>> [round(warmup_cosine(step, 6, peak=1.0, warmup=2), 2) for step in range(7)]
    [0.33, 0.67, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    check_schedule(step, n_steps, peak, final, warmup=warmup)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    progress = 1.0 if step >= n_steps else (step - warmup) / (n_steps - warmup)
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))


def warmup_stable_decay(
    step: int, n_steps: int, peak: float, warmup: int, decay: int, final: float = 0.0
) -> float:
    """The learning rate of a step: a rise, a plateau at `peak`, a straight descent to `final`.

    The descent takes the last `decay` steps; until it begins, n_steps need not be known. Steps
    count as in `warmup_cosine`, and the errors are the same. (Hu et al., 2024.)

    >>> [round(warmup_stable_decay(s, 8, 1.0, warmup=1, decay=4), 2) for s in range(9)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    check_schedule(step, n_steps, peak, final, warmup=warmup, decay=decay)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    left = max(n_steps - step, 0)
    return peak if left > decay else final + (peak - final) * left / max(decay, 1)


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The matrices inside the blocks of a model: those that Muon is for.

    Not the embeddings and not the head, although they are matrices: their rows belong to single
    ids. Raises ValueError for a model without `blocks`.
    """
    if not isinstance(getattr(model, "blocks", None), nn.Module):
        raise ValueError(f"{type(model).__name__} has no blocks; list its hidden matrices yourself")
    return [w for w in model.blocks.parameters() if w.ndim == 2 and w.requires_grad]


# Each step of `orthogonalise` sends a singular value s to a s + b s³ + c s⁵ (Jordan et al., 2024):
# steep at 0, so that small ones grow fast, and bounded near 1, without ever settling there.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Bring all singular values of a matrix near 1 and keep its singular vectors.

    matrix: (m, n). Returns (m, n), a new tensor. After five steps, singular values that were at
    least 0.002 of the matrix's norm lie between 0.68 and 1.21; a matrix of zeros stays one. Only
    products of matrices are needed, no decomposition. Raises ValueError for another shape.
    (Jordan et al., 2024; the iteration goes back to Newton and to Schulz, 1933.)
    """
    if matrix.ndim != 2 or not matrix.is_floating_point():
        raise ValueError(
            f"matrix has shape {tuple(matrix.shape)} and dtype {matrix.dtype}; pass one real "
            "matrix (m, n), and leave vectors to AdamW"
        )
    a, b, c = NEWTON_SCHULZ
    x = matrix / matrix.norm().clamp(min=1e-7)  # no singular value is above 1 now
    x = x.T if matrix.shape[0] > matrix.shape[1] else x  # (min, max): the smaller product
    for _ in range(steps):
        gram = x @ x.T  # (min, min): squares of the singular values
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Muon(Optimizer):
    """Momentum, orthogonalised, for the hidden matrices of a model (Jordan et al., 2024).

    params: matrices (m, n) alone, such as `hidden_matrices(model)`; AdamW takes the rest. The
    change of a matrix has all singular values near lr √max(1, m/n). nesterov: look one step ahead
    with the momentum. steps: of `orthogonalise`. weight_decay is decoupled, as in AdamW. Raises
    ValueError for options outside their range and for parameters that are no matrices.
    """

    below_one = "momentum"

    def __init__(
        self,
        params,
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        steps: int = 5,
    ):
        options = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "steps": steps}
        super().__init__(params, options | {"weight_decay": weight_decay})

    def add_param_group(self, param_group: dict) -> None:
        """Take a group of matrices with options of its own; ValueError for other parameters."""
        super().add_param_group(param_group)
        for weights in self.param_groups[-1]["params"]:
            if weights.ndim != 2:
                raise ValueError(
                    f"a parameter has shape {tuple(weights.shape)}; Muon takes matrices, such as "
                    "hidden_matrices(model): leave the rest to AdamW"
                )

    def update(self, weights, state, group):
        gradient, beta = weights.grad, group["momentum"]
        if not state:
            state["mean"] = torch.zeros_like(weights)
        state["mean"].lerp_(gradient, 1 - beta)
        direction = gradient.lerp(state["mean"], beta) if group["nesterov"] else state["mean"]
        scale = math.sqrt(max(1, weights.shape[0] / weights.shape[1]))
        weights.mul_(1 - group["lr"] * group["weight_decay"])
        weights.add_(orthogonalise(direction, group["steps"]), alpha=-group["lr"] * scale)
