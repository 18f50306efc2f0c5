"""Takes the figure of Tale's loss out of chapter 06, for the README.

python assets/figures/make_tale_curve.py          # writes tale_curve.png beside this script
"""

import base64
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
CHAPTER, CELL = HERE.parents[1] / "chapters" / "06_pretraining.ipynb", "tale-curve"


def figure() -> bytes:
    """The picture that the cell shows, as PNG."""
    cells = {cell.id: cell for cell in nbformat.read(CHAPTER, as_version=4).cells}
    pictures = [
        o.data["image/png"] for o in cells[CELL].outputs if "image/png" in o.get("data", {})
    ]
    return base64.b64decode(pictures[-1])


if __name__ == "__main__":
    (HERE / "tale_curve.png").write_bytes(figure())
