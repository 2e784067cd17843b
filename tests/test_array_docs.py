"""What takes or gives an array says of which shape."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("app", "indexer", "training", "wildsat_core")

ARRAY = re.compile(r"NDArray|ArrayLike|Tensor")
NAMED_TENSORS = re.compile(r"dict\[str, (torch\.)?Tensor\]")  # weights or losses by name: each has a shape of its own
AXIS = r"(\.\.\.|count|size|slots|n|[A-Z0-9][\w ]*|1 \+ \w+)"
SHAPE = re.compile(rf"\({AXIS}(, ?[\w .*+/-]+)*,?\)|[Ss]calar|\bshapes?\b")


def array_functions(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name and docstring of each public function of a module that takes or gives an array."""
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
                types = [a.annotation for a in given if a.annotation] + ([node.returns] if node.returns else [])
                if ARRAY.search(NAMED_TENSORS.sub("", " ".join(map(ast.unparse, types)))):
                    yield node.name, ast.get_docstring(node) or ""


def test_every_public_function_with_an_array_says_its_shape():
    silent, count = [], 0
    for file in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for name, told in array_functions(ast.parse(file.read_text("utf-8"))):
            count += 1
            if not SHAPE.search(told):
                silent.append(f"{file.relative_to(ROOT)}: {name}")
    assert not silent, "\n".join(silent)
    assert count > 200


@pytest.mark.parametrize(
    ("told", "known"),
    [("(N, D) float32.", True), ("(count, 4) boxes", True), ("(..., 3)", True), ("(1 + D, D): sums", True),
     ("A scalar.", True), ("of the same shape", True), ("(R,) rows", True), ("Rows (ascending).", False), ("", False),
     ("By name (see below).", False)],
)  # fmt: skip
def test_a_shape_is_recognised(told, known):
    assert bool(SHAPE.search(told)) is known
