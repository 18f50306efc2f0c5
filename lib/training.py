"""Training: the loop, its evaluation, and those who report on it (chapter 06).

One step: fetch the batches, set the learning rates, add up the gradients, clip them, look whether
they are finite, move the weights; then evaluate, report and save when it is time.
"""

import ctypes
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from lib.checkpoint import check_same, checkpoints, load_checkpoint, newest, save_checkpoint
from lib.data import PADDING
from lib.optim import clip_gradients

# --- Loss and evaluation -------------------------------------------------------------------------


def count_targets(y: torch.Tensor) -> int:
    """How many targets take part in the loss.

    >>> count_targets(torch.tensor([[5, 7, -100]]))
    2
    """
    return int((y != PADDING).sum())


def next_token_loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean of -ln p(target) over all targets that are not -100, in nats.

    x: ids (B, T). y: the ids one place later, (B, T); -100 marks padding. NaN without any target.
    """
    device = next(model.parameters()).device
    logits = model(x.to(device))  # (B, T, V)
    return F.cross_entropy(logits.flatten(0, 1), y.to(device).flatten(), ignore_index=PADDING)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout and without gradients; the model's mode is restored, also after an error."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def evaluate(model: nn.Module, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """The mean loss over every target of some batches (x, y), in nats, without dropout.

    batches: a list, so that the next evaluation sees the same ones. The model's mode is restored.
    """
    counts = [count_targets(y) for _, y in batches]
    if not sum(counts):
        raise ValueError("there is nothing to evaluate on; pass a list of batches with targets")
    total = 0.0
    with evaluating(model):
        for (x, y), n in zip(batches, counts, strict=True):
            total += n * next_token_loss(model, x, y).item() if n else 0.0
    return total / sum(counts)


# --- Reporters -----------------------------------------------------------------------------------


class Reporter:
    """Hears how a run goes. A record has the step, loss, lr, norm, tokens and seconds so far.

    Every few steps a record also has "validation", the loss on the validation batches.
    """

    def start(self, step: int, n_steps: int) -> None:
        """The run begins, or goes on, after `step` of `n_steps` steps."""

    def step(self, record: dict) -> None:
        """One step is done."""

    def stop(self) -> None:
        """The run has ended, in one way or another."""


def read_log(path: str | os.PathLike) -> list[dict]:
    """The records of a `JsonLog`, without a last line that a killed run left unfinished."""
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


class JsonLog(Reporter):
    """A text file with one JSON object a step. A run that is resumed goes on where it resumes."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def start(self, step: int, n_steps: int) -> None:
        records = read_log(self.path) if step and self.path.exists() else []
        part = self.path.with_name(self.path.name + ".part")
        kept = [json.dumps(record) + "\n" for record in records if record["step"] <= step]
        part.write_text("".join(kept), encoding="utf-8", newline="\n")
        os.replace(part, self.path)
        self.file = self.path.open("a", encoding="utf-8", newline="\n")

    def step(self, record: dict) -> None:
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def stop(self) -> None:
        self.file.close()


class ProgressBar(Reporter):
    """A bar that grows: in a notebook a widget, in a terminal one line (tqdm)."""

    def start(self, step: int, n_steps: int) -> None:
        self.bar = tqdm(total=n_steps, initial=step, unit="step")

    def step(self, record: dict) -> None:
        self.bar.set_postfix(loss=f"{record['loss']:.3f}", refresh=False)
        self.bar.update()

    def stop(self) -> None:
        self.bar.close()


class Lines(Reporter):
    """A plain line every few steps, for terminals and log files of a server."""

    def __init__(self, every: int = 100):
        self.every = every

    def step(self, record: dict) -> None:
        if record["step"] % self.every == 0 or "validation" in record:
            short = {n: f"{v:.4g}" if isinstance(v, float) else f"{v:,}" for n, v in record.items()}
            print(*(f"{name} {value}" for name, value in short.items()), sep="  ", flush=True)


class TensorBoard(Reporter):
    """Writes every number of every record for TensorBoard, which has to be installed."""

    def __init__(self, folder: str | os.PathLike):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError(
                "TensorBoard is not installed; run `pip install tensorboard`, or use JsonLog, "
                "which writes the same numbers and needs nothing"
            ) from None
        self.open = lambda step: SummaryWriter(str(folder), purge_step=step)

    def start(self, step: int, n_steps: int) -> None:
        self.writer = self.open(step + 1)

    def step(self, record: dict) -> None:
        for name in record.keys() - {"step"}:
            self.writer.add_scalar(name, record[name], record["step"])

    def stop(self) -> None:
        self.writer.close()


# --- One step ------------------------------------------------------------------------------------


class NonFinite(RuntimeError):
    """A number has become infinite or no number, so training has stopped.

    step: the number of the step that failed. parts: its batches, a list of (x, y).
    """

    def __init__(self, what: str, step: int, parts: Sequence):
        first, last = (step - 1) * len(parts), step * len(parts) - 1
        which = f"batch {first}" if first == last else f"batches {first} to {last}"
        super().__init__(
            f"step {step} ({which}, counted from 0): {what}. Look at the batches (`.parts` of this "
            "error); then begin a run in another folder from the last good weights, with a lower "
            "learning rate, a longer warm-up or a lower max_norm."
        )
        self.step, self.parts = step, parts


def take_parts(model: nn.Module, batches: Iterator, n: int) -> list[tuple]:
    """The next n batches; `ValueError` if they end, are too long, or have no target at all."""
    try:
        parts = [next(batches) for _ in range(n)]
    except StopIteration:
        raise ValueError("the batches ended; pass endless ones, like lib.data.Batches") from None
    longest = max(x.shape[1] for x, _ in parts)
    limit = getattr(getattr(model, "config", None), "context_length", longest)
    if longest > limit:
        raise ValueError(
            f"the batches have rows of {longest} ids, but the model's context_length is {limit}; "
            "make shorter rows, or a model with a longer context"
        )
    if not sum(count_targets(y) for _, y in parts):
        raise ValueError("there is no target but padding in this step; leave such rows out")
    return parts


def backward(model: nn.Module, parts: Sequence) -> float:
    """Add up the gradient of the mean loss over all targets of all parts; return that loss.

    A part counts by its number of targets, so the result is that of one large batch.
    """
    n_targets, total = sum(count_targets(y) for _, y in parts), 0.0
    for x, y in parts:
        if n := count_targets(y):
            loss = next_token_loss(model, x, y) * (n / n_targets)
            loss.backward()
            total += loss.item()
    return total


def rates_at(step: int, schedules: Sequence) -> list[float | None]:
    """The learning rate that each schedule gives to step number `step`, counted from 0."""
    return [None if schedule is None else float(schedule(step)) for schedule in schedules]


def training_steps(
    model, batches, optimizers, schedules, steps: range, accumulate: int, max_norm: float
) -> Iterator[tuple[dict, list]]:
    """The loop: yields, after each step, what can be said of it, and its batches.

    `NonFinite` if loss or gradient is infinite or no number: then the weights were not moved.
    """
    for step in steps:
        began = time.perf_counter()
        # 1. the batches of this step, and its learning rates
        parts = take_parts(model, batches, accumulate)
        for optimizer, rate in zip(optimizers, rates_at(step, schedules), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] if rate is None else rate

        # 2. forward and backward: the gradients of the mean loss over all targets
        model.train()
        model.zero_grad()
        loss = backward(model, parts)

        # 3. gradients of a bounded length; a number that is none must not reach the weights
        norm = float(clip_gradients(model.parameters(), max_norm))
        for name, value in {"loss": loss, "norm of the gradient": norm}.items():
            if not math.isfinite(value):
                model.zero_grad()
                raise NonFinite(
                    f"the {name} is {value}; the weights were not moved", step + 1, parts
                )

        # 4. move the weights
        for optimizer in optimizers:
            optimizer.step()
        lr, n = optimizers[0].param_groups[0]["lr"], sum(count_targets(y) for _, y in parts)
        record = {"step": step + 1, "loss": loss, "lr": lr, "norm": norm, "tokens": n}
        yield record | {"seconds": time.perf_counter() - began}, parts


# --- The run -------------------------------------------------------------------------------------


def check_run(model: nn.Module, optimizers, schedules, validation, evaluate_every: int) -> None:
    """Each parameter that learns is to be moved once, each optimizer to have its schedule."""
    moved = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    for name, parameter in model.named_parameters():
        n = moved.count(id(parameter))
        if n > 1 or n < parameter.requires_grad:
            raise ValueError(
                f"{name} belongs to {n} optimizers; give each parameter to exactly one, or freeze "
                "it with requires_grad_(False)"
            )
    if len(schedules) != len(optimizers):
        raise ValueError(
            f"there are {len(optimizers)} optimizers and {len(schedules)} schedules; pass one "
            "schedule for all, or one for each"
        )
    if evaluate_every and not validation:
        raise ValueError("there is nothing to evaluate on; pass validation, a list of (x, y)")


def due(step: int, every: int, n_steps: int) -> bool:
    """Whether it is time for what is done every so many steps (0: never), and at the end."""
    return every > 0 and (step % every == 0 or step == n_steps)


@dataclass
class Saver:
    """Saves a run when it is due, and finds where a run that was cut goes on."""

    folder: str | os.PathLike | None  # of the checkpoints; None: nothing is saved
    every: int  # steps between two checkpoints
    keep: int  # checkpoints
    n_steps: int
    state: tuple  # model, optimizers, batches, tokenizer
    settings: dict  # what must be the same when the run goes on
    schedules: list  # also, but only their rates at the step where it was cut

    def settings_at(self, step: int) -> dict:
        return self.settings | {"rates": rates_at(step, self.schedules)}

    def begin(self, resume: bool) -> dict:
        """Step 0, or where the newest good checkpoint stands, which is loaded."""
        if resume and self.folder is None:
            raise ValueError("there is nothing to resume from; pass the folder of checkpoints")
        if self.folder is None or not checkpoints(self.folder):
            return {"step": 0, "tokens": 0, "seconds": 0.0}
        if not resume:
            raise ValueError(
                f"{self.folder} has checkpoints of a run; pass resume=True to go on with it, or "
                "choose another folder"
            )
        here = newest(self.folder, lambda path: load_checkpoint(path, *self.state))["progress"]
        check_same(here["settings"], self.settings_at(here["step"] - 1), self.folder)
        return here

    def save(self, record: dict, parts: Sequence) -> None:
        """Save if it is due, and if the weights give a finite loss on the batches just learned."""
        step = record["step"]
        if self.folder is None or not due(step, self.every, self.n_steps):
            return
        if not math.isfinite(loss := evaluate(self.state[0], parts)):
            what = f"it made the loss of its own batches {loss}, so nothing was saved"
            raise NonFinite(what, step, parts)
        progress = record | {"settings": self.settings_at(step - 1)}
        save_checkpoint(self.folder, step, *self.state, progress, self.keep)


def follow(
    steps: Iterator, here: dict, look: Callable, saver: Saver, reporters: Sequence
) -> list[dict]:
    """Take the steps; after each, look at the model, report, and save, when it is time."""
    records, sums = [], {name: here[name] for name in ("tokens", "seconds")}
    try:
        for record, parts in steps:
            sums = {name: total + record[name] for name, total in sums.items()}
            record |= sums | look(record["step"])
            for reporter in reporters:
                reporter.step(record)
            records.append(record)
            saver.save(record, parts)  # last: random numbers that a reporter drew are behind it
    except NonFinite as error:
        if saver.folder is not None and (good := checkpoints(saver.folder)):
            error.args = (f"{error} The last good checkpoint is {good[-1]}.",)
        raise
    finally:
        for reporter in reporters:
            reporter.stop()
    return records


def keep_freed_memory() -> bool:
    """Let freed memory stay with this process; returns whether the C library could be told so.

    A step frees what the step before has freed. By default glibc gives it back to the system each
    time, and gets it again page by page, each of them filled with zeros. From now on blocks of up
    to 32 MiB, the most that glibc allows, stay. Other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, Windows
        return False
    trim_threshold, mmap_threshold = -1, -3  # as <malloc.h> numbers them
    kept = mallopt(mmap_threshold, 32 * 2**20), mallopt(trim_threshold, 2**31 - 1)
    return all(kept)


def train(
    model: nn.Module,
    batches: Iterator,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    schedule: Callable[[int], float] | Sequence | None,
    n_steps: int,
    *,
    accumulate: int = 1,
    max_norm: float = 1.0,
    validation: Sequence = (),
    evaluate_every: int = 0,
    folder: str | os.PathLike | None = None,
    save_every: int = 0,
    keep: int = 3,
    resume: bool = False,
    tokenizer=None,
    reporters: Sequence[Reporter] = (),
) -> list[dict]:
    """Train until `n_steps` steps are done; return the records of those done now (`Reporter`).

    batches: as lib.data.Batches. optimizer, schedule: one, or lists of as many; schedule(step)
    gives the learning rate. accumulate: batches a step. validation: a list of (x, y). folder: of
    checkpoints, saved every `save_every` steps and at the end; resume=True goes on, bit by bit, as
    if the run had not been cut. Raises `NonFinite`, and ValueError for what does not fit.
    """
    optimizers = list(optimizer) if isinstance(optimizer, Sequence) else [optimizer]
    schedules = list(schedule) if isinstance(schedule, Sequence) else [schedule] * len(optimizers)
    check_run(model, optimizers, schedules, validation, evaluate_every)
    keep_freed_memory()
    state = (model, optimizers, batches, tokenizer)
    settings = {"accumulate": accumulate, "max_norm": max_norm}
    saver = Saver(folder, save_every or n_steps, keep, n_steps, state, settings, schedules)
    here = saver.begin(resume)
    steps = range(here["step"], n_steps)
    loop = training_steps(model, batches, optimizers, schedules, steps, accumulate, max_norm)

    def look(step: int) -> dict:
        now = due(step, evaluate_every, n_steps)
        return {"validation": evaluate(model, validation)} if now else {}

    for reporter in reporters:
        reporter.start(here["step"], n_steps)
    return follow(loop, here, look, saver, reporters)
