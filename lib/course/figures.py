"""The style of the course's figures, and the two or three things that many of them need."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

STYLE = Path(__file__).resolve().parents[2] / "assets" / "course.mplstyle"

# Fonts with Chinese characters, as the usual systems and distributions name them.
CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti SC",
    "STHeiti",
    "Songti SC",
    "Microsoft YaHei",
    "SimHei",
    "SimSun",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Noto Serif CJK SC",
    "Noto Sans CJK JP",
    "Arial Unicode MS",
)

_VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥"}


def use_course_style() -> None:
    """Draw every figure from here on in the style of the course.

    Where the machine has a font with Chinese characters, it is used for what the normal font lacks.
    """
    import matplotlib.pyplot as plt

    plt.style.use(STYLE)
    font = chinese_font()
    plt.rcParams["font.family"] = ["DejaVu Sans", font] if font else ["DejaVu Sans"]


def chinese_font() -> str | None:
    """Name of an installed font with Chinese characters, or None."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return next((name for name in CHINESE_FONTS if name in installed), None)


def label(text: str, otherwise: str | None = None) -> str:
    """Text that this machine can draw: `text` itself, or `otherwise` where Chinese would be boxes.

    Without `otherwise`, characters that cannot be drawn become their code points.

    >>> label("Tale")
    'Tale'
    """
    if text.isascii() or chinese_font():
        return text
    if otherwise is not None:
        return otherwise
    return " ".join(c if ord(c) < 0x2E80 else f"U+{ord(c):04X}" for c in text)


def visible(character: str) -> str:
    """A character as it can be seen on an axis: blanks get a sign of their own.

    >>> [visible(c) for c in "a \\n"]
    ['a', '␣', '↵']
    """
    return _VISIBLE.get(character, character)


def heat_map(
    ax,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    colour_label: str,
    gamma: float = 1.0,
):
    """Draw a matrix as a heat map, dark for large values, with a label for each row and column.

    values: shape (len(rows), len(columns)). gamma: the colours follow values**gamma; below 1 it
    tells small values apart. Returns the image, for those who want to change it. Raises ValueError
    when the labels do not fit the matrix.
    """
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    values = np.asarray(values)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(
            f"values has shape {values.shape}, but there are {len(rows)} row labels and "
            f"{len(columns)} column labels; give one label for each row and each column."
        )
    colours = LinearSegmentedColormap.from_list("course", ["#f6f8fa", "#8fb0c9", "#12355b"])
    image = ax.imshow(
        values,
        cmap=colours,
        norm=PowerNorm(gamma, vmin=min(0.0, float(values.min()))),
        aspect="auto",
        interpolation="nearest",
    )
    ax.set_xticks(range(len(columns)), [visible(c) for c in columns])
    ax.set_yticks(range(len(rows)), [visible(r) for r in rows])
    ax.grid(False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, label=colour_label)
    bar.outline.set_visible(False)
    return image


class LiveCurve:
    """Draws the loss of a run while it goes on, in a notebook: a reporter for `lib.training.train`.

    every: seconds between two drawings. Raises ValueError where there is no notebook.
    """

    def __init__(self, every: float = 1.0):
        self.every = every

    def start(self, step: int, n_steps: int) -> None:
        import matplotlib.pyplot as plt
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is None:
            raise ValueError("a live curve needs a notebook; in a terminal, report with Lines()")
        self.records, self.drawn = [], time.monotonic()
        self.figure, self.ax = plt.subplots(figsize=(7, 3))
        self.ax.set(xlabel="step", ylabel="loss (nats a token)", xlim=(step, n_steps))
        self.lines = {
            "loss": self.ax.plot([], [], linewidth=0.8, label="training batches")[0],
            "validation": self.ax.plot([], [], "o-", label="validation")[0],
        }
        self.ax.legend()
        self.handle = display(self.figure, display_id=True)
        plt.close(self.figure)  # or the cell would show it a second time at its end

    def step(self, record: dict) -> None:
        self.records.append(record)
        if time.monotonic() - self.drawn > self.every:
            self.draw()

    def draw(self) -> None:
        """Put all records so far into the figure, and the figure in the place of the last one."""
        for name, line in self.lines.items():
            points = [(r["step"], r[name]) for r in self.records if name in r]
            line.set_data(*zip(*points, strict=True) if points else ([], []))
        self.ax.relim()
        self.ax.autoscale_view(scalex=False)
        self.handle.update(self.figure)
        self.drawn = time.monotonic()

    def stop(self) -> None:
        self.draw()
