"""House rules that a machine can hold: sizes, docstrings, and what must not be written anywhere."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = ["models", "streams"]
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
NESTING_MAX = 3
ARGUMENTS_MAX = 6

DEEPER = {
    # Loops of kernels over rows, their keys and places: a call per step would hide what is one path through memory.
    "models/doorkeeper.py:touch": 4,
    "models/fanin_kernel.py:fold": 4,
    "models/clusters.py:_shared": 4,
    # A lock, then topics, their batches, the records of each.
    "streams/control.py:load": 4,
}
"""Functions nested deeper than the rest may be, with their depth: the list may only shrink."""

BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.AsyncFor, ast.AsyncWith)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef

MACHINE_PATH = re.compile(r"(?<![\w.])(?<!:/)/(?:work|home|root|Users|tmp/\w)[/\w]")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
REGISTRY = re.compile(r"(?:index-url|index_url|extra-index|trusted-host|artifactory|nexus\.|pypi\.(?!org\b))")
TEXTS = {".py", ".toml", ".md", ".txt", ".yml", ".yaml", ".cfg", ".sh", ".html", ".css", ".js", ".json", ""}
SKIPPED = {
    ".git",
    ".venv",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    "__pycache__",
    ".cache",
    "build",
}


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, FUNCTIONS))


def body_lines(function: Function) -> int:
    """Lines of the body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def nesting(node: ast.AST, depth: int = 0) -> int:
    """The deepest block inside ``node``; an `elif` is no deeper than its `if`, a function inside counts by itself."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.Lambda)):
            continue
        chained = isinstance(node, ast.If) and node.orelse == [child]
        deepest = max(deepest, nesting(child, depth + (isinstance(child, BLOCKS) and not chained)))
    return deepest


def public(path: Path) -> Iterator[Function | ast.ClassDef]:
    """Public classes and functions at module level and in public classes."""
    for node in tree(path).body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            yield node
            members = node.body if isinstance(node, ast.ClassDef) else []
            yield from (inner for inner in members if isinstance(inner, FUNCTIONS) and not inner.name.startswith("_"))


every = pytest.mark.parametrize("path", sources(*SHIPPED), ids=named)
with_bench = pytest.mark.parametrize("path", sources(*SHIPPED, "bench"), ids=named)


@with_bench
def test_modules_are_short_and_say_what_lives_in_them(path):
    assert path.read_text().count("\n") <= MODULE_LINES_MAX
    assert ast.get_docstring(tree(path)) or not path.read_text().strip()


@with_bench
def test_functions_are_short(path):
    assert {
        function.name: body_lines(function) for function in functions(path) if body_lines(function) > FUNCTION_LINES_MAX
    } == {}


@every
def test_functions_are_flat(path):
    deep = {f"{named(path)}:{function.name}": nesting(function) for function in functions(path)}
    assert {name: depth for name, depth in deep.items() if depth > DEEPER.get(name, NESTING_MAX)} == {}


def test_the_list_of_deeper_functions_is_no_longer_than_it_must_be():
    depths = {
        f"{named(path)}:{function.name}": nesting(function)
        for path in sources(*SHIPPED)
        for function in functions(path)
    }
    assert {name: depths.get(name) for name in DEEPER} == DEEPER
    assert len(DEEPER) <= 5


@every
def test_functions_take_few_arguments_and_name_most_of_them(path):
    for function in functions(path):
        arguments = [argument.arg for argument in function.args.args if argument.arg not in ("self", "cls")]
        assert len(arguments) + len(function.args.kwonlyargs) <= ARGUMENTS_MAX, function.name


@every
def test_public_things_have_docstrings(path):
    assert [node.name for node in public(path) if not ast.get_docstring(node)] == []


def used(path: Path) -> set[str]:
    """Every dotted name the code of a file mentions, and every module it imports."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute | ast.Name):
            names.add(ast.unparse(node))
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", sources(*SHIPPED, "bench", "tests"), ids=named)
def test_nothing_is_unpickled(path):
    banned = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
    assert {name.split(".")[0] for name in used(path)} & banned == set()
    assert not re.search(r"allow_pickle\s*=\s*True", path.read_text())


@every
def test_the_time_is_never_asked_of_datetime(path):
    asked = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now"}
    assert used(path) & asked == set()


@every
def test_only_the_command_line_prints(path):
    if path.stem in ("cli", "__main__"):
        return
    calls = [
        node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert calls == []


def test_every_module_is_imported_or_an_entry_point():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].values()
    wanted = {script.split(":")[0] for script in scripts}
    for path in sources(*SHIPPED, "bench", "tests"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                wanted.add(node.value)  # loaded by name
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sources(*SHIPPED)}
    alone = {name for name in modules - wanted if not name.endswith(("__init__", "__main__"))}
    assert alone == set()


def texts() -> list[Path]:
    """Every text of the repository, by its suffix."""
    found = []
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = SKIPPED.intersection(parts) or any(part.endswith(".egg-info") for part in parts)
        if path.is_file() and not hidden and path.suffix in TEXTS and path.stat().st_size < 1 << 20:
            found.append(path)
    return found


@pytest.mark.parametrize("rule", [MACHINE_PATH, UNFINISHED, REGISTRY], ids=["machine path", "unfinished", "registry"])
def test_nothing_unfinished_and_nothing_of_one_machine_is_kept(rule):
    others = (path for path in texts() if path != Path(__file__))  # this file holds the rules themselves
    found = Counter({named(path): len(rule.findall(path.read_text(errors="replace"))) for path in others})
    assert {name: count for name, count in found.items() if count} == {}


BAD = """import pickle

def f(a):
    for x in a:
        if x:
            while x:
                with x:
                    x = 1
"""


def test_the_rules_find_what_they_look_for(tmp_path):
    assert MACHINE_PATH.search("open('/home/someone/x')")
    assert UNFINISHED.search("# TODO: later")
    assert REGISTRY.search("--index-url https://example.org")
    path = tmp_path / "bad.py"
    path.write_text(BAD)
    (function,) = functions(path)
    assert (nesting(function), body_lines(function)) == (4, 5)
    assert "pickle" in used(path)
    assert [node.name for node in public(path) if not ast.get_docstring(node)] == ["f"]
