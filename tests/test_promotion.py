"""The five promotion rules hold, and each of them catches what it is there for."""

import nbformat
import pytest

from lib.course import notebooks, promotion

LIB = '''"""A module."""

import math

# how many
LIMIT = 3


def double(x):
    """Twice x."""
    return 2 * x
'''


def code(source, name):
    cell = nbformat.v4.new_code_cell(source)
    cell.id = name
    return cell


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one lib module and as many notebooks as a test adds."""
    for folder in ("lib", "chapters", "solutions"):
        (tmp_path / folder).mkdir()
    (tmp_path / "lib" / "sums.py").write_text(LIB, encoding="utf-8")
    monkeypatch.setattr(promotion, "ROOT", tmp_path)

    def add(name, *sources, folder="chapters"):
        cells = [code(source, f"c{n}") for n, source in enumerate(sources)]
        path = tmp_path / folder / name
        notebooks.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    add.root = tmp_path
    return add


GOOD = (
    "# lib/sums.py\n# how many\nLIMIT = 3",
    '# lib/sums.py\ndef double(x):\n    """Twice x."""\n    return 2 * x',
)


@pytest.mark.parametrize("rule", promotion.RULES, ids=lambda rule: rule.__name__)
def test_the_course_keeps_the_promotion_rules(rule):
    assert rule() == []


def test_equal_cells_raise_no_problem(course):
    course("01_sums.ipynb", *GOOD)
    assert promotion.problems() == []


def test_a_cell_that_differs_from_lib_is_reported_and_sync_mends_it(course):
    path = course("01_sums.ipynb", GOOD[0], GOOD[1].replace("2 * x", "x + x"))
    assert "differs from lib/sums.py; edit lib/sums.py" in promotion.text_problems()[0]
    assert promotion.sync() == ["01_sums.ipynb: c1"]
    assert notebooks.read(path).cells[1].source == GOOD[1]
    assert promotion.problems() == []


def test_sync_changes_nothing_when_all_agrees(course):
    path = course("01_sums.ipynb", *GOOD)
    before = path.read_bytes()
    assert promotion.sync() == []
    assert path.read_bytes() == before


def test_a_promoted_cell_holds_nothing_but_definitions(course):
    course("01_sums.ipynb", GOOD[0], GOOD[1] + "\n\nprint(double(2))")
    assert "nothing else" in promotion.text_problems()[0]


def test_a_definition_that_lib_lacks_is_reported(course):
    course("01_sums.ipynb", *GOOD, "# lib/sums.py\ndef triple(x):\n    return 3 * x")
    assert "triple, which lib/sums.py lacks" in promotion.text_problems()[0]


def test_a_cell_for_a_module_that_does_not_exist_is_reported(course):
    course("01_sums.ipynb", *GOOD, "# lib/missing.py\ndef f():\n    return 1")
    assert "does not exist: create it" in promotion.text_problems()[0]


def test_a_definition_that_no_chapter_promotes_is_reported(course):
    course("01_sums.ipynb", GOOD[0])
    assert "`double` is promoted by no chapter cell" in promotion.coverage_problems()[0]


def test_a_definition_promoted_twice_is_reported(course):
    course("01_sums.ipynb", *GOOD)
    course("02_more.ipynb", GOOD[1])
    assert (
        "promoted twice (chapter 01 cell c1, chapter 02 cell c0)"
        in promotion.coverage_problems()[0]
    )


def test_a_chapter_cannot_import_what_it_promotes_itself(course):
    course("01_sums.ipynb", *GOOD, "from lib.sums import double")
    assert "which no earlier chapter promotes" in promotion.import_problems()[0]


def test_a_later_chapter_may_import_what_was_promoted(course):
    course("01_sums.ipynb", *GOOD)
    course("02_more.ipynb", "from lib.sums import LIMIT, double")
    assert promotion.import_problems() == []


@pytest.mark.parametrize("line", ["import lib.sums", "from lib import sums"])
def test_a_module_is_imported_by_its_names(course, line):
    course("01_sums.ipynb", *GOOD)
    course("02_more.ipynb", line)
    assert "import the names that it uses" in promotion.import_problems()[0]


def test_an_early_module_cannot_import_a_later_one(course):
    (course.root / "lib" / "late.py").write_text("def late():\n    return 1\n", encoding="utf-8")
    early = "from lib.late import late\n" + LIB.split('"""', 2)[2]
    (course.root / "lib" / "sums.py").write_text(early, encoding="utf-8")
    course("01_sums.ipynb", *GOOD)
    course("02_late.ipynb", "# lib/late.py\ndef late():\n    return 1")
    assert "imports lib/late.py, which a later chapter begins" in promotion.layer_problems()[0]


def test_what_the_learner_builds_does_not_lean_on_what_the_course_gives(course):
    path = course.root / "lib" / "sums.py"
    path.write_text("from lib.course import checks\n" + LIB, encoding="utf-8")
    assert "stands alone" in promotion.layer_problems()[0]


def test_a_solution_cannot_redefine_a_promoted_name(course):
    course("01_sums.ipynb", *GOOD)
    course("01_sums.ipynb", "def double(x):\n    return x + x", folder="solutions")
    assert "import it from lib" in promotion.solution_problems()[0]


def test_decorators_and_comments_belong_to_their_definition():
    source = "import functools\n\n\n# cached\n@functools.cache\ndef f(x):\n    return x\n"
    assert promotion.definitions(source) == {"f": source.split("\n\n\n")[1].rstrip("\n")}
