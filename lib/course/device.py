"""Does this machine calculate right? A self-test of the accelerator, and a look at the environment.

An accelerator that crashes is a nuisance; one that is silently wrong costs a learner days. Before
the course trusts one, `self_test` runs the operations that a GPT is made of on it and compares each
result with NumPy in double precision on the CPU. The CPU build of torch is tested the same way.

    device = best_device()          # the accelerator if it passes, else the CPU, with a warning
    print(self_test("cpu"))         # the table

The environment variable ``COURSE_DEVICE`` (``cpu``, ``cuda``, ``mps``, ``xpu`` …) overrides.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from lib.course.corpora import cache_folder

LEAST_PYTHON = (3, 10)
LEAST_MEMORY_GB = 4.0  # a chapter stays under 3 GB, and the browser wants some too
LEAST_DISK_GB = 1.0  # corpora and checkpoints


@dataclass(frozen=True)
class Operation:
    """One thing that a GPT does: on a device in single precision, and in NumPy in double.

    on_device takes the device and returns tensors; reference returns as many arrays of the same
    shapes. tolerance bounds |got - expected| / (1 + |expected|) for every element.
    """

    name: str
    on_device: Callable[[torch.device], Sequence[torch.Tensor]]
    reference: Callable[[], Sequence[np.ndarray]]
    tolerance: float


@dataclass(frozen=True)
class Result:
    """How one operation did. `error` is its largest error, infinite if it did not come out."""

    name: str
    error: float
    tolerance: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the operation came out within its tolerance."""
        return self.error <= self.tolerance  # False for NaN


@dataclass(frozen=True)
class Report:
    """The results of a self-test; printing it shows a table."""

    device: torch.device
    results: tuple[Result, ...]

    @property
    def failures(self) -> tuple[Result, ...]:
        """The operations that went wrong."""
        return tuple(result for result in self.results if not result.ok)

    @property
    def ok(self) -> bool:
        """Whether every operation came out right."""
        return not self.failures

    def __str__(self) -> str:
        width = max(len(result.name) for result in self.results)
        lines = [f"{'operation on ' + str(self.device):<{width}}  largest error    allowed"]
        for result in self.results:
            verdict = "ok" if result.ok else "WRONG"
            allowed = f"{result.tolerance:.0e}" if result.tolerance else "exact"
            lines.append(
                f"{result.name:<{width}}  {result.error:13.1e}  {allowed:>9}  {verdict}"
                + (f"  ({result.note})" if result.note else "")
            )
        return "\n".join(lines)


# ---------------------------------------------------------------- the operations


def _numbers(*shape: int, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Normally distributed single-precision numbers, the same on every machine."""
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return (scale * values + shift).astype(np.float32)


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


_TOKENS = np.array([[3, 1, 3, 3, 0], [7, 3, 1, 7, 7]])  # (B, T) with repeats
_TARGETS = np.array([2, -100, 0, 5, -100, 5, 1])  # -100: not counted

# (left shape, right shape, right given transposed)
_MATMULS = (((64, 48), (48, 80), False), ((2, 3, 17, 33), (2, 3, 33, 5), False))
_MATMULS += (((129, 257), (65, 257), True), ((4, 1), (1, 6), False))


def _matmul(device):
    products = []
    for left, right, transposed in _MATMULS:
        a = torch.tensor(_numbers(*left)).to(device)
        b = torch.tensor(_numbers(*right, seed=1)).to(device)
        products.append(a @ (b.mT if transposed else b))  # b.mT is a view: not contiguous
    return products


def _matmul_reference():
    products = []
    for left, right, transposed in _MATMULS:
        a, b = _numbers(*left).astype(float), _numbers(*right, seed=1).astype(float)
        products.append(a @ (b.T if transposed else b))
    return products


def _softmax_input() -> np.ndarray:
    x = _numbers(6, 6, scale=3.0, shift=1e4)  # exp overflows unless the maximum is taken off
    x[np.triu_indices(6, k=1)] = -np.inf
    return x


def _layer_norm_input() -> np.ndarray:
    return _numbers(8, 64, scale=0.5, shift=30.0)  # mean far from zero: cancellation shows


def _layer_norm_reference():
    x = _layer_norm_input().astype(float)
    centred = x - x.mean(-1, keepdims=True)
    normed = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return [normed * _numbers(64, seed=1) + _numbers(64, seed=2)]


def _gelu_reference():
    x = _numbers(999, scale=3.0).astype(float)
    exact = 0.5 * x * (1 + np.array([math.erf(v / math.sqrt(2)) for v in x]))
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return [exact, 0.5 * x * (1 + np.tanh(inner))]


def _embedding(device):
    table = torch.tensor(_numbers(9, 4)).to(device).requires_grad_()
    tokens = torch.tensor(_TOKENS).to(device)
    rows = F.embedding(tokens, table)  # (B, T) -> (B, T, C)
    (rows * torch.tensor(_numbers(2, 5, 4, seed=1)).to(device)).sum().backward()
    return [rows.detach(), table.grad]


def _embedding_reference():
    gradient = np.zeros((9, 4))
    np.add.at(gradient, _TOKENS, _numbers(2, 5, 4, seed=1).astype(float))
    return [_numbers(9, 4)[_TOKENS], gradient]


def _cross_entropy(device):
    logits = torch.tensor(_numbers(7, 6, scale=4.0)).to(device).requires_grad_()
    loss = F.cross_entropy(logits, torch.tensor(_TARGETS).to(device), ignore_index=-100)
    loss.backward()
    return [loss.detach(), logits.grad]


def _cross_entropy_reference():
    p = _softmax(_numbers(7, 6, scale=4.0).astype(float))
    counted = np.flatnonzero(_TARGETS >= 0)
    loss = -np.log(p[counted, _TARGETS[counted]]).mean()
    gradient = np.zeros_like(p)
    gradient[counted] = p[counted] / len(counted)
    gradient[counted, _TARGETS[counted]] -= 1 / len(counted)
    return [np.array(loss), gradient]


def _sampling(device):
    p = torch.tensor(np.abs(_numbers(3, 50))).to(device)
    values, indices = torch.topk(p, 7, dim=-1)
    ordered, order = torch.sort(p, dim=-1, descending=True)
    kept = torch.where(p >= values[:, -1:], p, torch.zeros_like(p))
    generator = torch.Generator(device=device).manual_seed(0)
    drawn = torch.multinomial(kept, 2000, replacement=True, generator=generator)
    outside = (torch.gather(kept, 1, drawn) == 0).sum()  # tokens that have probability 0
    return [torch.cumsum(p, dim=-1), values, indices, ordered, order, outside]


def _sampling_reference():
    p = np.abs(_numbers(3, 50)).astype(float)
    order = np.argsort(-p, axis=-1)
    ordered = np.take_along_axis(p, order, axis=-1)
    return [p.cumsum(-1), ordered[:, :7], order[:, :7], ordered, order, np.array(0)]


_LARGE = np.array([2**40 + 1, -(2**40) - 3, 2**31, 2**53 - 1])  # none fits into 32 bits


def _int64(device):
    large = torch.tensor(_LARGE).to(device)
    places = torch.tensor([3, 0, 0, 2, 1]).to(device)
    grid = torch.arange(20, device=device).view(4, 5)
    picked = large[places]
    high, low = picked // 2**20, picked % 2**20  # small enough for an exact comparison
    return [high, low, grid[places[1:], places[:-1]], grid.gather(1, places.view(1, 5))]


def _int64_reference():
    places = np.array([3, 0, 0, 2, 1])
    grid = np.arange(20).reshape(4, 5)
    picked = _LARGE[places]
    return [picked // 2**20, picked % 2**20, grid[places[1:], places[:-1]], grid[[0], places][None]]


def _masking(device):
    x = torch.tensor(_numbers(7, 7)).to(device)
    mask = torch.ones(7, 7, dtype=torch.bool, device=device).tril()
    written = x.clone()
    written[~mask] = -1.0
    return [x[mask], x.masked_fill(~mask, 0.0), written, mask.sum(), torch.where(mask, x, -x)]


def _masking_reference():
    x, mask = _numbers(7, 7), np.tri(7, dtype=bool)
    below = np.where(mask, x, 0)
    return [x[mask], below, np.where(mask, x, -1), np.array(28), np.where(mask, x, -x)]


def _attention(device):
    # (B, T, n_head, head_dim) -> (B, n_head, T, head_dim), as a GPT does it: a view
    q, k, v = (torch.tensor(_numbers(2, 19, 3, 8, seed=s)).to(device) for s in range(3))
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return [F.scaled_dot_product_attention(q, k, v, is_causal=True)]


def _attention_reference():
    q, k, v = (_numbers(2, 19, 3, 8, seed=s).astype(float).swapaxes(1, 2) for s in range(3))
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(8)
    scores[..., ~np.tri(19, dtype=bool)] = -np.inf
    return [_softmax(scores) @ v]


def _adamw(device):
    start = torch.tensor(_numbers(6, 5)).to(device)
    weight = start.t().detach().requires_grad_()  # a view: in-place updates must respect strides
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.1)
    target = torch.tensor(_numbers(5, 6, seed=1)).to(device)
    for _ in range(5):
        optimizer.zero_grad()
        ((weight - target) ** 2).sum().backward()
        optimizer.step()
    return [weight.detach()]


def _adamw_reference():
    weight, target = _numbers(6, 5).T.astype(float), _numbers(5, 6, seed=1).astype(float)
    m = v = np.zeros_like(weight)
    for step in range(1, 6):
        gradient = 2 * (weight - target)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        weight = weight * (1 - 0.1 * 0.1)
        scale = np.sqrt(v / (1 - 0.999**step)) + 1e-8
        weight = weight - 0.1 * m / (1 - 0.9**step) / scale
    return [weight]


def _copy(device):
    x = torch.zeros(200_000, device=device)
    for _ in range(50):  # the device works on while Python goes on
        x = x + 1.0
    return [x.cpu()]  # must wait for all fifty


OPERATIONS: tuple[Operation, ...] = (
    Operation("matmul (batched, transposed)", _matmul, _matmul_reference, 1e-4),
    Operation(
        "softmax (large values, mask)",
        lambda device: [torch.softmax(torch.tensor(_softmax_input()).to(device), dim=-1)],
        lambda: [_softmax(_softmax_input().astype(float))],
        1e-5,
    ),
    Operation(
        "layer norm",
        lambda device: [
            F.layer_norm(
                torch.tensor(_layer_norm_input()).to(device),
                (64,),
                torch.tensor(_numbers(64, seed=1)).to(device),
                torch.tensor(_numbers(64, seed=2)).to(device),
            )
        ],
        _layer_norm_reference,
        1e-3,
    ),
    Operation(
        "GELU (exact and tanh)",
        lambda device: [
            F.gelu(torch.tensor(_numbers(999, scale=3.0)).to(device), approximate=kind)
            for kind in ("none", "tanh")
        ],
        _gelu_reference,
        1e-4,
    ),
    Operation("embedding and its gradient", _embedding, _embedding_reference, 1e-5),
    Operation("cross-entropy and its gradient", _cross_entropy, _cross_entropy_reference, 1e-5),
    Operation("cumsum, sort, top-k, multinomial", _sampling, _sampling_reference, 1e-5),
    Operation("64-bit integers, indexing", _int64, _int64_reference, 0.0),
    Operation("boolean masks", _masking, _masking_reference, 0.0),
    Operation("causal attention", _attention, _attention_reference, 1e-4),
    Operation("five steps of AdamW", _adamw, _adamw_reference, 1e-4),
    Operation("copy after queued work", _copy, lambda: [np.full(200_000, 50.0)], 0.0),
)


# ---------------------------------------------------------------- running them


def self_test(device: str | torch.device, operations: Sequence[Operation] = OPERATIONS) -> Report:
    """Run the operations on a device and compare each with NumPy in double precision.

    torch's own random generators are not touched. Raises ValueError for a device that this machine
    does not have.
    """
    device = _existing(device)
    return Report(device, tuple(_run(operation, device) for operation in operations))


def _run(operation: Operation, device: torch.device) -> Result:
    expected = operation.reference()
    try:
        got = [tensor.detach().cpu().numpy() for tensor in operation.on_device(device)]
    except Exception as error:  # whatever an accelerator may raise is a failed test, not a crash
        reason = (str(error).splitlines() or [""])[0][:80]
        note = f"{type(error).__name__}: {reason}"
        return Result(operation.name, math.inf, operation.tolerance, note)
    shapes = [g.shape for g in got], [e.shape for e in expected]
    if shapes[0] != shapes[1]:
        note = f"shapes {shapes[0]} instead of {shapes[1]}"
        return Result(operation.name, math.inf, operation.tolerance, note)
    if any(np.isnan(g).any() for g in got):
        return Result(operation.name, math.nan, operation.tolerance, "NaN in the result")
    with np.errstate(invalid="ignore"):
        errors = [np.abs(g - e) / (1 + np.abs(e)) for g, e in zip(got, expected, strict=True)]
    worst = max(float(error.max(initial=0.0)) for error in errors)
    return Result(operation.name, math.inf if math.isnan(worst) else worst, operation.tolerance)


def available_devices() -> list[str]:
    """The devices of this machine by the names that torch gives them, the CPU first."""
    if not torch.accelerator.is_available():
        return ["cpu"]
    kind = torch.accelerator.current_accelerator().type
    return ["cpu", *(f"{kind}:{i}" for i in range(torch.accelerator.device_count()))]


def _existing(device: str | torch.device) -> torch.device:
    there = available_devices()
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or not any(
        name == str(found) or (found.index is None and name.split(":")[0] == found.type)
        for name in ["cpu:0", *there]
    ):
        raise ValueError(f"There is no device {str(device)!r} here; there are: {', '.join(there)}.")
    return found


def best_device(
    prefer: str | torch.device | None = None, operations: Sequence[Operation] = OPERATIONS
) -> torch.device:
    """The device to calculate on: what was asked for, else a trustworthy accelerator, else the CPU.

    prefer: a device that must be used (otherwise ``COURSE_DEVICE`` counts). Raises ValueError if it
    does not exist and RuntimeError if it fails the self-test. An accelerator that nobody asked for
    and that fails is passed over with a warning.
    """
    asked = prefer or os.environ.get("COURSE_DEVICE")
    device = _existing(asked or available_devices()[-1].split(":")[0])
    report = self_test(device, operations)
    if report.ok:
        return device
    wrong = ", ".join(result.name for result in report.failures)
    remedy = "Update its driver and torch (README, section on torch builds)"
    if device.type == "cpu":
        raise RuntimeError(
            f"This build of torch calculates wrong on the CPU: {wrong}. Install torch again "
            "(`python course.py lab` after deleting the folder .venv).\n" + str(report)
        )
    if asked:
        raise RuntimeError(
            f"The device {device} was asked for, but calculates wrong: {wrong}. {remedy}, or set "
            "COURSE_DEVICE=cpu.\n" + str(report)
        )
    warnings.warn(
        f"The accelerator {device} calculates wrong ({wrong}), so the CPU is used instead. "
        f"{remedy}, or set COURSE_DEVICE=cpu to silence this warning.",
        stacklevel=2,
    )
    return torch.device("cpu")


# ---------------------------------------------------------------- the environment


@dataclass(frozen=True)
class Fact:
    """One line of the environment report: what was found, and what to do if it will not do."""

    name: str
    found: str
    remedy: str = ""  # empty: fine


@dataclass(frozen=True)
class Environment:
    """What the course runs on; printing it shows a table."""

    facts: tuple[Fact, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing needs to be done."""
        return not any(fact.remedy for fact in self.facts)

    def __str__(self) -> str:
        width = max(len(fact.name) for fact in self.facts)
        return "\n".join(
            f"{fact.name:<{width}}  {fact.found}" + (f"  <- {fact.remedy}" if fact.remedy else "")
            for fact in self.facts
        )


def environment() -> Environment:
    """Look at Python, the system, torch, memory, disk and the versions of the libraries."""
    import psutil

    memory = psutil.virtual_memory().total / 1e9
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    disk = shutil.disk_usage(folder).free / 1e9
    wanted = ".".join(map(str, LEAST_PYTHON))
    facts = [
        Fact(
            "Python",
            platform.python_version(),
            "" if sys.version_info >= LEAST_PYTHON else f"install Python {wanted} or later",
        ),
        Fact("system", f"{platform.system()}, {platform.machine()}"),
        Fact("torch", f"{torch.__version__}, {torch.get_num_threads()} threads"),
        Fact("devices", ", ".join(available_devices())),
        Fact(
            "memory",
            f"{memory:.1f} GB",
            "" if memory >= LEAST_MEMORY_GB else "close other programs; use the smallest settings",
        ),
        Fact(
            "free disk",
            f"{disk:.1f} GB where corpora are kept",
            "" if disk >= LEAST_DISK_GB else "free some, or point COURSE_CACHE at another disk",
        ),
    ]
    return Environment((*facts, *_package_facts()))


def _package_facts(requirements: Sequence[str] | None = None) -> list[Fact]:
    """One fact for each library that is missing or too old, or a single one that all are there."""
    from packaging.requirements import Requirement

    remedy = "run `python course.py lab` (or `pip install -e .`) again"
    if requirements is None:
        try:
            requirements = importlib.metadata.requires("from-zero-to-llm") or []
        except importlib.metadata.PackageNotFoundError:
            return [Fact("libraries", "the course itself is not installed", remedy)]
    facts, count = [], 0
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            facts.append(Fact(requirement.name, "missing", remedy))
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            found = f"{version}, but {requirement.specifier} is needed"
            facts.append(Fact(requirement.name, found, remedy))
    return facts or [Fact("libraries", f"all {count} in the versions that the course needs")]


def main(argv: list[str]) -> int:
    """`python course.py device`: look at the environment and test every kind of device here."""
    parser = argparse.ArgumentParser(prog="course.py device", description=main.__doc__)
    parser.add_argument("device", nargs="?", help="test only this one (cpu, cuda, mps …)")
    arguments = parser.parse_args(argv)
    surroundings = environment()
    print(surroundings)
    kinds = [arguments.device] if arguments.device else available_devices()
    reports = []
    for device in kinds:
        try:
            reports.append(self_test(device))
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        print(f"\n{reports[-1]}")
    return 0 if surroundings.ok and all(report.ok for report in reports) else 1
