"""Promotion: code written in a chapter becomes the learner's library, word for word.

A chapter cell whose first line is `# lib/attention.py` holds, after that line, one or more
definitions of that module exactly as the module has them. Five rules keep the two from drifting:

1. the text of a marked cell equals the text in lib;
2. every top-level definition in lib/*.py is promoted by exactly one chapter cell;
3. chapter N uses from lib only what chapters before N promoted;
4. a lib module imports only from modules that an earlier chapter began, or earlier in its own;
5. solutions import promoted names and never redefine them.

`problems` checks them all; `sync` rewrites the marked cells from lib (lib wins).
"""

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from lib.course import notebooks
from lib.course.notebooks import ROOT


@dataclass(frozen=True)
class Promoted:
    """A definition that a chapter promotes: where it goes and where it stands."""

    module: str  # "lib/tokenizer.py"
    name: str  # "train_bpe"
    chapter: int  # 2
    cell: str  # the cell's id


@dataclass(frozen=True)
class Definition:
    """A top-level definition: the names it defines and the lines [start, stop) it takes."""

    names: tuple[str, ...]
    start: int
    stop: int


def spans(source: str) -> list[Definition]:
    """Where each top-level definition of Python source stands.

    Functions and classes (with decorators) and assignments count; imports, the module docstring
    and expressions do not. Comment lines directly above a definition belong to it.
    """
    lines = source.split("\n")
    found: list[Definition] = []
    for node in ast.parse(source).body:
        if not (names := names_of(node)):
            continue
        start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        while start > 0 and lines[start - 1].startswith("#"):
            start -= 1
        found.append(Definition(tuple(names), start, node.end_lineno))
    return found


def definitions(source: str) -> dict[str, str]:
    """Each top-level definition of Python source, by name, with its exact text.

    >>> definitions("import os\\n\\n# an answer\\nANSWER = 42\\n\\ndef f():\\n    return ANSWER\\n")
    {'ANSWER': '# an answer\\nANSWER = 42', 'f': 'def f():\\n    return ANSWER'}
    """
    lines = source.split("\n")
    return {
        name: "\n".join(lines[span.start : span.stop])
        for span in spans(source)
        for name in span.names
    }


def names_of(node: ast.stmt) -> list[str]:
    """The names that a top-level statement defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [name.id for t in node.targets for name in ast.walk(t) if isinstance(name, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def body(cell: NotebookNode) -> str:
    """A marked cell's text without its first line."""
    return cell.source.split("\n", 1)[1].strip("\n") if "\n" in cell.source else ""


def chapter_number(path: Path) -> int:
    return int(path.name[:2])


def marked_cells(path: Path) -> Iterator[tuple[NotebookNode, str]]:
    """The cells of a notebook that promote, each with its module."""
    for cell in notebooks.read(path).cells:
        module = notebooks.promoted_module(cell)
        if module:
            yield cell, module


def chapters() -> list[Path]:
    return sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))


def promoted() -> list[Promoted]:
    """Everything that the chapters promote, in course order."""
    return [
        Promoted(module, name, chapter_number(path), cell.id)
        for path in chapters()
        for cell, module in marked_cells(path)
        for name in definitions(body(cell))
    ]


def library() -> dict[str, dict[str, str]]:
    """The definitions of each module of lib/: {"lib/tokenizer.py": {name: text}}."""
    files = sorted((ROOT / "lib").glob("[a-z]*.py"))
    return {f"lib/{f.name}": definitions(f.read_text(encoding="utf-8")) for f in files}


def expected_text(cell: NotebookNode, module: str, lib: dict[str, dict[str, str]]) -> str:
    """The text that a marked cell must have: each of its definitions as lib has it now."""
    if module not in lib:
        raise ValueError(f"cell {cell.id} promotes to {module}, which does not exist: create it")
    text = body(cell)
    lines, found = text.split("\n"), spans(text)
    missing = [name for span in found for name in span.names if name not in lib[module]]
    if missing:
        raise ValueError(
            f"cell {cell.id} defines {', '.join(missing)}, which {module} lacks: "
            f"add the definition to {module}, or drop it from the cell"
        )
    inside = {number for span in found for number in range(span.start, span.stop)}
    if not found or any(line.strip() for n, line in enumerate(lines) if n not in inside):
        raise ValueError(
            f"cell {cell.id} promotes to {module}: it must hold definitions and nothing else; "
            "move imports, calls and prints to a cell of their own"
        )
    for span in reversed(found):
        lines[span.start : span.stop] = lib[module][span.names[0]].split("\n")
    return f"# {module}\n" + "\n".join(lines)


def text_problems() -> list[str]:
    """Rule 1: marked cells equal lib's text."""
    found, lib = [], library()
    for path in chapters():
        for cell, module in marked_cells(path):
            try:
                if cell.source.rstrip("\n") != expected_text(cell, module, lib):
                    found.append(
                        f"{path.name}: cell {cell.id} differs from {module}; edit {module}, "
                        "then run `python course.py promote`"
                    )
            except ValueError as error:
                found.append(f"{path.name}: {error}")
    return found


def coverage_problems() -> list[str]:
    """Rule 2: each definition of lib is promoted exactly once."""
    places: dict[tuple[str, str], list[str]] = {}
    for p in promoted():
        places.setdefault((p.module, p.name), []).append(f"chapter {p.chapter:02d} cell {p.cell}")
    found = [
        f"{module}: `{name}` is promoted by no chapter cell; write it in a cell that begins with "
        f"`# {module}`, or remove it"
        for module, defined in library().items()
        for name in defined
        if (module, name) not in places
    ]
    return found + [
        f"{module}: `{name}` is promoted twice ({', '.join(where)}); keep one"
        for (module, name), where in places.items()
        if len(where) > 1
    ]


def lib_imports(source: str) -> Iterator[tuple[str, str]]:
    """The (module, name) pairs that source imports from the learner's library."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lib"):
            for alias in node.names:
                full = node.module if node.module != "lib" else f"lib.{alias.name}"
                if not full.startswith("lib.course"):
                    name = alias.name if node.module != "lib" else "*"
                    yield full.replace(".", "/") + ".py", name
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("lib") and not alias.name.startswith("lib.course"):
                    yield alias.name.replace(".", "/") + ".py", "*"


def import_problems() -> list[str]:
    """Rule 3: a chapter imports from lib only what earlier chapters promoted."""
    found = []
    first = {(p.module, p.name): p.chapter for p in reversed(promoted())}
    for path in chapters():
        for cell in notebooks.code_cells(notebooks.read(path)):
            for module, name in lib_imports(cell.source):
                if name == "*":
                    found.append(
                        f"{path.name}: cell {cell.id} imports {module} whole; import the names "
                        "that it uses (`from lib.module import name`)"
                    )
                elif first.get((module, name), 99) >= chapter_number(path):
                    found.append(
                        f"{path.name}: cell {cell.id} imports `{name}` from {module}, which no "
                        "earlier chapter promotes; define it in the chapter, or promote it before"
                    )
    return found


def layer_problems() -> list[str]:
    """Rule 4: lib modules import from no later chapter, not one another, and never lib.course."""
    layer, found = {}, []
    for p in promoted():
        layer.setdefault(p.module, p.chapter)
    sources = {
        f"lib/{f.name}": f.read_text(encoding="utf-8") for f in (ROOT / "lib").glob("[a-z]*.py")
    }
    uses = {module: {used for used, _ in lib_imports(text)} for module, text in sources.items()}
    for module, source in sorted(sources.items()):
        found += [
            f"{module} imports {used}, which a later chapter begins; move the shared part earlier"
            for used in sorted(uses[module])
            if layer.get(used, 10**6) > layer.get(module, 10**6) or used not in layer
        ]
        found += [
            f"{module} and {used} import each other; move the shared part to an earlier module"
            for used in sorted(uses[module])
            if module in uses.get(used, ())
        ]
        if re.search(r"^\s*(from|import) lib\.course", source, re.MULTILINE):
            found.append(f"{module} imports lib.course; what the learner builds stands alone")
    return found


def solution_problems() -> list[str]:
    """Rule 5: solutions import promoted names and never define them again."""
    names = {p.name for p in promoted()}
    return [
        f"solutions/{path.name}: cell {cell.id} defines `{name}`, which the course promotes; "
        "import it from lib, or choose another name"
        for path in sorted((ROOT / "solutions").glob("[0-9]*.ipynb"))
        for cell in notebooks.code_cells(notebooks.read(path))
        for name in definitions(cell.source)
        if name in names
    ]


RULES = (text_problems, coverage_problems, import_problems, layer_problems, solution_problems)


def problems() -> list[str]:
    """Everything that breaks one of the five rules."""
    return [problem for rule in RULES for problem in rule()]


def sync() -> list[str]:
    """Rewrite every marked cell from lib; return the cells that changed. Outputs stay."""
    changed, lib = [], library()
    for path in chapters():
        notebook, before = notebooks.read(path), len(changed)
        for cell in notebook.cells:
            module = notebooks.promoted_module(cell)
            if not module:
                continue
            text = expected_text(cell, module, lib)
            if cell.source.rstrip("\n") != text:
                cell.source = text
                changed.append(f"{path.name}: {cell.id}")
        if len(changed) > before:
            notebooks.write(notebook, path)
    return changed


def main(argv: list[str]) -> int:
    """`course.py promote`: rewrite marked cells from lib; `--check`: only list what differs."""
    parser = argparse.ArgumentParser(prog="course.py promote", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, list the problems")
    options = parser.parse_args(argv)
    if not options.check:
        try:
            for cell in sync():
                print(f"rewritten from lib: {cell} (execute its notebook again)")
        except ValueError as error:
            print(error)
            return 1
    found = problems()
    for problem in found:
        print(problem)
    return 1 if found else 0
