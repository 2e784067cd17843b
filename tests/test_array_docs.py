"""What takes or gives an array says of which shape, and in what unit."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("app", "indexer", "training", "wildsat_core")

ARRAY = re.compile(r"NDArray|ArrayLike|Tensor")
NAMED_TENSORS = re.compile(r"dict\[str, (torch\.)?Tensor\]")  # weights or losses by name: each has a shape of its own
AXIS = r"(\.\.\.|count|size|slots|px|n|[A-Z0-9][\w +]*|1 \+ \w+)"
MEASURE = re.compile(
    r"^(lon|lat|lon_lat|positions?|box(es)?|bbox|centres?|rings?|outlines?|edges?|sides?|heights?|areas?"
    r"|distances?|reflectances?|pixels|pictures?|chips)$"
)
UNIT = re.compile(
    r"\b[Dd]egrees?\b|radian|\bmetres?\b|\bkm\b|widths of the world|\bpixels\b(?! \()|of length 1|uint8|uint16"
    r"|as stored|\[0, 1\]|\[0, 255\]|0 to 255|reflectance|any scale|a model takes"
)
SHAPE = re.compile(rf"\({AXIS}(, ?[\w .*+/-]+)*,?\)|[Ss]calar|\bshapes?\b")


def names_of_arrays(tree: ast.Module) -> set[str]:
    """Names that a module gives to types of arrays, such as Vectors = NDArray[np.float32]."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript)
        for target in node.targets
        if isinstance(target, ast.Name) and ARRAY.search(array_part(ast.unparse(node.value)))
    }


def array_part(annotation: str) -> str:
    """A type without what only names its tensors, or is a function over arrays."""
    return NAMED_TENSORS.sub("", "" if annotation.startswith("Callable[") else annotation)


def names_in_force(tree: ast.Module, given: dict[str, set[str]]) -> set[str]:
    """A module's own names of arrays, and those that it imports; `given` has each module's own."""
    imported = {
        name.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
        if name.name in given.get(node.module or "", ())
    }
    return names_of_arrays(tree) | imported


@dataclass(frozen=True)
class ArrayFunction:
    """A public function that takes or gives an array: where it stands, names of its arrays, what it tells."""

    where: str
    arrays: tuple[str, ...]
    told: str


def array_functions(tree: ast.Module, names: set[str], where: str = "") -> Iterator[ArrayFunction]:
    """Those of a module, its types by themselves or by their names."""
    array = re.compile("|".join([ARRAY.pattern, *(rf"\b{name}\b" for name in sorted(names))]))
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    while scopes:
        scope = scopes.pop()
        for node in scope.body:
            if getattr(node, "name", "_").startswith("_"):
                continue
            if isinstance(node, ast.ClassDef):
                scopes.append(node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                types = [(a.arg, a.annotation) for a in given] + [(node.name, node.returns)]
                arrays = [name for name, kind in types if kind and array.search(array_part(ast.unparse(kind)))]
                if arrays:
                    yield ArrayFunction(f"{where}: {node.name}", tuple(arrays), ast.get_docstring(node) or "")


@pytest.fixture(scope="module")
def functions() -> list[ArrayFunction]:
    """All of them."""
    files = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    modules = {file: ast.parse((ROOT / file).read_text("utf-8")) for file in files}
    given = {".".join(file.with_suffix("").parts): names_of_arrays(tree) for file, tree in modules.items()}
    return [
        function
        for file, tree in modules.items()
        for function in array_functions(tree, names_in_force(tree, given), str(file))
    ]


def test_every_public_function_with_an_array_says_its_shape(functions):
    silent = [function.where for function in functions if not SHAPE.search(function.told)]
    assert not silent, "\n".join(silent)
    assert len(functions) > 370


def test_arrays_of_positions_and_measures_say_their_units(functions):
    measures = [function for function in functions if any(MEASURE.search(name) for name in function.arrays)]
    silent = [f"{f.where} ({', '.join(f.arrays)})" for f in measures if not UNIT.search(f.told)]
    assert not silent, "\n".join(silent)
    assert len(measures) > 40


@pytest.mark.parametrize(
    ("told", "known"),
    [("(N, D) float32.", True), ("(count, 4) boxes", True), ("(..., 3)", True), ("(1 + D, D): sums", True),
     ("A scalar.", True), ("of the same shape", True), ("(R,) rows", True), ("Rows (ascending).", False), ("", False),
     ("By name (see below).", False)],
)  # fmt: skip
def test_a_shape_is_recognised(told, known):
    assert bool(SHAPE.search(told)) is known
