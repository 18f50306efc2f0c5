"""The recipes of the speedrun: all settings of a run, and the ladder of rows that differ in one."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """Everything that can be set. The defaults are nanoGPT's public recipe for a CPU."""

    # the run: only its length follows from the other settings
    steps: int = 2000
    batch_size: int = 12
    context_length: int = 64
    # the model
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    positions: str = "learned"  # or "rotary"
    norm: str = "layer"  # or "rms"
    activation: str = "gelu"  # or "relu2"
    qk_norm: bool = False
    zero_init: bool = False
    tied: bool = True
    ngrams: tuple[int, ...] = ()  # lengths n of the n-grams that have embeddings of their own
    value_ngrams: bool = False  # whether the n-gram before a position also enters its values
    smear: bool = False
    softcap: float = 0.0  # 0: none
    # the optimisation
    optimizer: str = "adamw"  # or "muon": Muon for the matrices inside the blocks, AdamW otherwise
    fused: bool = False  # AdamW as one kernel
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.1
    max_norm: float = 1.0
    muon_lr: float = 0.02
    muon_iterations: int = 5
    table_lr: float = 0.01  # of the n-gram embeddings
    warmup: float = 0.05  # share of the steps: 100 of 2,000
    schedule: str = "cosine"  # to a tenth; or "linear", to zero
    dtype: str = "float32"  # or "bfloat16", in matrix products


@dataclass(frozen=True)
class Row:
    """A row of the table: a recipe, and what distinguishes it from the row it is compared with."""

    name: str
    what: str
    credit: str
    recipe: Recipe
    compared_with: str | None


# name, what, who described it, the one change, and the steps that reach the baseline's loss
CHANGES = [
    (
        "muon",
        "Muon for the matrices of the blocks",
        "Jordan et al., 2024",
        {"optimizer": "muon"},
        614,
    ),
    ("lr 3e-3", "three times the learning rate of AdamW", "tuned here", {"lr": 3e-3}, 553),
    (
        "3-grams",
        "embeddings of pairs of characters, and hashed ones of three",
        "Svenstrup et al., 2017; Clark et al., 2022",
        {"ngrams": (2, 3)},
        210,
    ),
    ("4-grams", "and of four", "Clark et al., 2022", {"ngrams": (2, 3, 4)}, 126),
    ("5-grams", "and of five", "Clark et al., 2022", {"ngrams": (2, 3, 4, 5)}, 115),
    ("batch 32", "batches of 32 rows", "McCandlish et al., 2018", {"batch_size": 32}, 51),
    ("lr 6e-3", "twice the learning rate of AdamW", "tuned here", {"lr": 6e-3}, 45),
    ("rotary", "rotary positions", "Su et al., 2021", {"positions": "rotary"}, 42),
    ("qk norm", "queries and keys normalised", "Henry et al., 2020", {"qk_norm": True}, 40),
    ("two layers", "two blocks in place of four", "tuned here", {"n_layer": 2}, 39),
    ("one layer", "one block in place of two", "tuned here", {"n_layer": 1}, 39),
]
# tried on the last row of the ladder
TRIED = [
    (
        "rms norm",
        "RMSNorm without a scale, after the embeddings too",
        "Zhang & Sennrich, 2019",
        {"norm": "rms"},
    ),
    ("relu2", "ReLU² in the MLP", "So et al., 2021", {"activation": "relu2"}),
    (
        "zero init",
        "output projections begin at zero",
        "Goyal et al., 2017; Yang et al., 2022",
        {"zero_init": True},
    ),
    ("untied", "a head of its own, from zero", "Jordan et al., 2024", {"tied": False}),
    ("linear", "linear descent to zero", "Defazio et al., 2023", {"schedule": "linear"}),
    ("muon lr 0.04", "twice the learning rate of Muon", "tuned here", {"muon_lr": 0.04}),
    ("bfloat16", "matrix products in bfloat16", "Kalamkar et al., 2019", {"dtype": "bfloat16"}),
    (
        "smear",
        "each embedding with a share of the one before",
        "Peng et al., 2023",
        {"smear": True},
    ),
    ("softcap", "logits softly limited to ±15", "Gemma Team, 2024", {"softcap": 15.0}),
    (
        "values",
        "n-gram embeddings added to the values",
        "Zhou et al., 2024",
        {"value_ngrams": True},
    ),
    ("no decay", "no weight decay", "tuned here", {"weight_decay": 0.0}),
    ("fused", "AdamW as one kernel", "PyTorch", {"fused": True}),
]
LONGER = {"qk norm": "four layers", "one layer": "one layer"}  # rows, by their depth


def ladder() -> list[Row]:
    """The baseline, then rows that are each the row before with one change (and fewer steps)."""
    rows = [Row("baseline", "nanoGPT's public recipe for a CPU", "Karpathy, 2022", Recipe(), None)]
    for name, what, credit, change, steps in CHANGES:
        recipe = replace(rows[-1].recipe, steps=steps, **change)
        rows.append(Row(name, what, credit, recipe, rows[-1].name))
    return rows


def tried() -> list[Row]:
    """One change each to the last row of the ladder, at its number of steps."""
    last = ladder()[-1]
    return [
        Row(name, what, credit, replace(last.recipe, **change), last.name)
        for name, what, credit, change in TRIED
    ]


def longer(steps: int = 400) -> list[Row]:
    """The ladder with four layers and with one, ten times as long: does depth still not pay?"""
    rows = {row.name: row for row in ladder()}
    return [
        replace(
            rows[name],
            name=f"{depth}, {steps} steps",
            what="the same, trained for longer",
            credit="tuned here",
            recipe=replace(rows[name].recipe, steps=steps),
            compared_with=name,
        )
        for name, depth in LONGER.items()
    ]
