"""`models/` is pure: it imports neither `streams` nor anything that reads a clock, files, sockets or chance."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE = {
    "__future__", "base64", "collections", "dataclasses", "datetime", "enum", "functools", "hashlib", "itertools",
    "math", "operator", "re", "struct", "typing", "unicodedata", "zlib",
    "datasketch", "models", "msgspec", "numpy",
}  # fmt: skip
"""All that `models/` may import; `datetime` for reading stamps, never for asking the time (`test_tidy`)."""
COMPILERS = {"numba": {"compiled", "prefetch"}, "llvmlite": {"prefetch"}}
"""The compiler has one home, and one instruction that needs its back end."""
IMPURE_NAMES = {"open", "input", "exec", "eval", "__import__", "breakpoint"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, in full; also inside functions and under `TYPE_CHECKING`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def foreign(path: Path) -> list[str]:
    roots = {name.split(".")[0] for name in imports(path)}
    return sorted(name for name in roots - PURE if path.stem not in COMPILERS.get(name, set()))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules("models"), ids=named)
def test_models_import_only_what_is_pure(path):
    assert foreign(path) == []


@pytest.mark.parametrize("path", modules("models"), ids=named)
def test_models_call_nothing_that_reaches_outside(path):
    called = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert called & IMPURE_NAMES == set()
    assert "numpy.random" not in set(imports(path))
    assert "np.random" not in path.read_text()


def test_a_clock_in_models_would_be_found(tmp_path):
    path = tmp_path / "clock.py"
    for line in (
        "import time",
        "from os import environ",
        "import streams.cli",
        "def f():\n    import random",
        "import numba",
    ):
        path.write_text(line)
        assert foreign(path)


def test_models_load_without_any_host():
    """The import graph as a process sees it: nothing of `streams`, Kafka or HTTP comes along.

    A Redis client may: datasketch loads one where it is installed, and never calls it here.
    """
    names = [
        "models." + ".".join(path.relative_to(ROOT / "models").with_suffix("").parts) for path in modules("models")
    ]
    names = [name.removesuffix(".__init__") for name in names]
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\nprint(*sorted(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=dict(os.environ)
    )
    roots = {name.split(".")[0] for name in found.stdout.split()}
    assert "models" in roots
    assert roots & {"streams", "tests", "bench", "faust", "aiokafka", "aiohttp", "prometheus_client"} == set()


@pytest.mark.parametrize("package", ["models", "streams"])
def test_what_is_shipped_imports_no_tests_or_benches(package):
    for path in modules(package):
        assert {name.split(".")[0] for name in imports(path)} & {"tests", "bench", "conftest"} == set(), named(path)
