"""The compiler wrapper: compiled where it can be, plain where it cannot, and never a reason to stop."""

import subprocess
import sys

from models.compiled import COMPILED, jit, jit_helper

WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None
from models.compiled import COMPILED, jit, jit_helper
from models.hashing import KeyedHash
from models.sketch import Sketcher
from models.strings import Strings
def plain(x): return x
assert not COMPILED and jit(plain) is plain and jit_helper(plain) is plain
texts = Strings.of(["Write a short poem about number 7, step by step.", "", "写一首诗"])
sketches = Sketcher(b"secret").sketch(texts)
print(KeyedHash(b"secret").strings(texts).tolist(), sketches.keys.tolist(), sketches.signature.sum())
"""


def test_a_kernel_is_compiled():
    @jit
    def double(value):
        return value * 2

    assert double(21) == 42
    assert hasattr(double, "py_func") == COMPILED


def test_a_kernel_that_cannot_be_cached_is_compiled_all_the_same():
    scope: dict = {}
    exec("def half(value):\n    return value / 2\n", scope)  # no file, so there is no place for a cache
    assert jit(scope["half"])(42) == 21


def test_a_helper_stays_callable_from_python_and_from_kernels():
    @jit_helper
    def twice(value):
        return value * 2

    @jit
    def total(count):
        sum_ = 0
        for index in range(count):
            sum_ += twice(index)
        return sum_

    assert twice("ab") == "abab"
    assert total(4) == 12


def test_without_numba_everything_gives_the_same_values():
    def run(code: str) -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    with_numba = "\n".join(
        line for line in WITHOUT_NUMBA.splitlines() if "sys.modules" not in line and "assert" not in line
    )
    assert run(WITHOUT_NUMBA) == run(with_numba) != ""
