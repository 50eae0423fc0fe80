"""The shape of the repository: what no test of behaviour would notice."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path
    for folder in ("cdc_actors", "http")
    for path in (ROOT / folder).rglob("*.py")
    if not path.stem.endswith("_pb2")
)
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40


def name(path: Path) -> str:
    """Return the path from the root on."""
    return str(path.relative_to(ROOT))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_nothing_hides_the_standard_librarys_http():
    """There is no http/__init__.py, no http.py, and no test below http/."""
    assert not (ROOT / "http" / "__init__.py").exists()
    assert not (ROOT / "http.py").exists()
    assert not list((ROOT / "http").rglob("*test*.py"))


def test_both_https_can_be_imported_from_the_root():
    """With the root on the path, as for whoever works there, both are found."""
    done = subprocess.run(
        [sys.executable, "-c", "import http.client, cdc_http"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_and_functions_are_short(path):
    """No module is longer than 400 lines and no function than 40."""
    text = path.read_text(encoding="utf-8")
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]

    assert len(text.splitlines()) <= MAX_MODULE_LINES
    long = [node.name for node in functions if length(node) > MAX_FUNCTION_LINES]
    assert long == []


@pytest.mark.parametrize(
    "module", [path.stem for path in (ROOT / "benchmarks").glob("*.py")]
)
def test_benchmarks_find_what_they_measure(module):
    """No test runs a benchmark, and none may name what is no longer there."""
    importlib.import_module(f"benchmarks.{module}")


def test_imports_point_one_way():
    """The contracts of import-linter in pyproject.toml are kept."""
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [command, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
