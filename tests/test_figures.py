"""The style of the figures: readable in greyscale, no boxes for Chinese, no effect on import."""

import itertools
import runpy
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lib.course import figures


@pytest.fixture(autouse=True)
def own_settings():
    with plt.rc_context():
        yield
    plt.close("all")


def lightness(colour):
    """CIE L* of a colour: what remains of it in a greyscale print, 0 (black) to 100 (white)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return 116 * luminance ** (1 / 3) - 16


def test_curves_stay_apart_in_greyscale():
    figures.use_course_style()
    styles = list(plt.rcParams["axes.prop_cycle"])
    for a, b in itertools.combinations(styles, 2):
        apart = abs(lightness(a["color"]) - lightness(b["color"]))
        assert apart > 15 or a["linestyle"] != b["linestyle"], (a, b)


def test_every_colour_stands_out_from_the_paper():
    figures.use_course_style()
    assert all(lightness(s["color"]) < 75 for s in plt.rcParams["axes.prop_cycle"])


def test_importing_changes_no_setting():
    program = (
        "import matplotlib; before = dict(matplotlib.rcParams)\n"
        "import lib.course.figures\n"
        "assert dict(matplotlib.rcParams) == before\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_does_not_load_matplotlib():
    program = "import sys, lib.course.figures; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_machine_without_a_chinese_font_gets_the_given_words(monkeypatch):
    monkeypatch.setattr(figures, "CHINESE_FONTS", ())
    assert figures.label("三国演义", "Three Kingdoms") == "Three Kingdoms"
    assert figures.label("三国") == "U+4E09 U+56FD"


def test_a_machine_with_a_chinese_font_gets_the_characters(monkeypatch):
    monkeypatch.setattr(figures, "CHINESE_FONTS", ("DejaVu Sans",))
    assert figures.label("三国演义", "Three Kingdoms") == "三国演义"


def test_labels_never_ask_for_a_missing_glyph():
    figures.use_course_style()
    _, ax = plt.subplots()
    ax.set_title(figures.label("三国演义") + " ␣ ↵ ⇥ → é — ≤ ×")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax.figure.canvas.draw()


def test_a_heat_map_labels_each_row_and_column():
    figures.use_course_style()
    _, ax = plt.subplots()
    figures.heat_map(ax, np.eye(2), ["a", " "], ["x", "\n"], "share")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["x", "↵"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "␣"]


def test_labels_that_do_not_fit_are_refused():
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="one label for each row"):
        figures.heat_map(ax, np.eye(2), ["a"], ["x", "y"], "share")


FIGURES = figures.STYLE.parent / "figures"


def test_the_map_of_the_field_is_what_its_script_draws():
    drawn = runpy.run_path(str(FIGURES / "make_map.py"))["draw"]()
    committed = (FIGURES / "map_of_the_field.svg").read_text(encoding="utf-8")
    assert drawn == committed, "run `python assets/figures/make_map.py` and commit the result"


def test_the_curve_of_the_readme_is_the_figure_of_chapter_06():
    drawn = runpy.run_path(str(FIGURES / "make_tale_curve.py"))["figure"]()
    committed = (FIGURES / "tale_curve.png").read_bytes()
    assert drawn == committed, "run assets/figures/make_tale_curve.py and commit the result"


def test_the_map_of_the_field_can_be_read_aloud():
    root = ElementTree.fromstring((FIGURES / "map_of_the_field.svg").read_text(encoding="utf-8"))
    words = " ".join(element.text or "" for element in root.iter())
    assert "Large language models lie inside deep learning" in words


def test_a_small_gamma_tells_small_values_apart():
    _, ax = plt.subplots()
    linear = figures.heat_map(ax, [[0.0, 0.01, 1.0]], ["a"], "xyz", "share")
    spread = figures.heat_map(ax, [[0.0, 0.01, 1.0]], ["a"], "xyz", "share", gamma=0.5)
    assert spread.norm(0.01) > 5 * linear.norm(0.01)
