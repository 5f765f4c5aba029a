"""A hint to the processor: a row of a large table will be read soon, so that its fetch runs beside other work.

What lives here: the hint for compiled kernels. What does not: any table. It changes no value; without the compiler it
does nothing. A key table larger than the cache costs one miss a key, and a kernel that knows its next keys can have
eight of them under way at once.
"""

from __future__ import annotations

from typing import Any

from models.compiled import COMPILED

AHEAD = 8
"""Keys between hint and use: eight times 60 ns is a little more than one fetch from memory."""


def _prefetch(context: Any, array: Any, row: Any) -> Any:
    """The types of a hint, and the function that writes its one instruction."""
    from llvmlite import ir
    from numba.core import types

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        view = target.make_array(kind)(target, builder, arguments[0])
        at = target.cast(builder, arguments[1], signature.args[1], types.intp)
        stride = builder.extract_value(view.strides, 0)
        address, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        place = builder.gep(builder.bitcast(view.data, address), [builder.mul(at, stride)])
        form = ir.FunctionType(ir.VoidType(), [address, word, word, word])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [address], form)
        # For writing (1), to all levels of the cache (3), as data (1).
        builder.call(hint, [place, word(1), word(3), word(1)])
        return target.get_dummy_value()

    return types.void(array, row), generate


def _nothing(array: Any, row: Any) -> None:
    """An interpreter spends longer on the call than the fetch takes."""


prefetch: Any = _nothing
"""``prefetch(array, row)`` asks for the cache line in which row ``row`` of ``array`` begins."""
if COMPILED:
    from numba import config
    from numba.extending import intrinsic

    prefetch = _nothing if getattr(config, "DISABLE_JIT", False) else intrinsic(_prefetch)
