"""The one home of the just-in-time compiler: ``jit`` compiles a kernel, ``jit_helper`` a part of one.

What lives here: how kernels are compiled and cached. What does not: any kernel.

A compiled kernel and its plain form give the same values as long as the kernel keeps to what both know: numpy
arrays and integers that do not overflow. A kernel that needs wrapping 64-bit arithmetic brings a numpy form of its
own and asks ``COMPILED`` which of the two to call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

_njit: Any
_register: Any
try:
    from numba import njit as _njit
    from numba.extending import register_jitable as _register
except ImportError:  # no wheel for this platform, or a broken LLVM: everything still works, slower
    _njit = _register = None

COMPILED: bool = _njit is not None
"""True where kernels run as machine code."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def jit(function: _Function) -> _Function:
    """Compile ``function`` on its first call: no Python objects inside, the GIL released, the result kept on disk.

    The cache lies beside the module, or in the user's cache directory, or where ``NUMBA_CACHE_DIR`` says. Where none
    can be written (a read-only image without a warm cache) the kernel is compiled anew in every process.
    The cache is keyed by the kernel's own file: a kernel that calls compiled helpers of another module must be
    touched, or the cache emptied, when those change.
    """
    if _njit is None:
        return function
    try:
        compiled: _Function = _njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no directory it may write its cache to
        compiled = _njit(nogil=True, error_model="numpy")(function)
    return compiled


def jit_part(function: _Function) -> _Function:
    """Compile a function for kernels to call, which makes no array: it does not count references to those it is given.

    Counting costs a small function more than its work: without it the reader of records takes a quarter less time.
    """
    if _njit is None:
        return function
    compiled: _Function = _njit(nogil=True, error_model="numpy", _nrt=False)(function)
    return compiled


def jit_helper(function: _Function) -> _Function:
    """Let kernels call ``function``, which is compiled into them and stays plain Python for everyone else.

    So one text serves a kernel, which calls it with single words, and its numpy form, which calls it with arrays.
    """
    return function if _register is None else cast(_Function, _register(function))
