"""The hint changes no value, reaches the machine code, and is no obstacle where nothing is compiled."""

import subprocess
import sys

import numpy as np
import pytest

from models.compiled import COMPILED, jit
from models.prefetch import AHEAD, prefetch

FOLD = """
import sys, zlib
sys.modules.update(dict.fromkeys(sys.argv[1:]))
import numpy as np
from models.fanin import FanIn
from models.sighting import SIGHTING, SightingBatch
rng = np.random.default_rng(7)
rows = np.zeros(400, SIGHTING)
rows["at"] = rows["ts"] = 1_780_000_000_000 + np.sort(rng.integers(0, 3_600_000, 400))
rows["event"], rows["flags"] = np.arange(1, 401), 1
rows["customer"] = rows["account"] = rng.integers(1, 1 << 63, 60, dtype=np.uint64)[rng.integers(0, 60, 400)]
keys = rng.integers(1, 1 << 63, 90, dtype=np.uint64)[rng.integers(0, 90, 1200)]
fanin = FanIn()
fanin.process(SightingBatch(rows, keys, np.arange(0, 1201, 3)))
hubs = fanin.advance(int(rows["at"].max()) + 1)
print(len(hubs), zlib.crc32(hubs.rows.tobytes()), zlib.crc32(hubs.keys.tobytes()), zlib.crc32(hubs.offsets.tobytes()))
"""


@jit
def _total(table, rows):
    total = 0
    for at in range(rows.shape[0]):
        if at + AHEAD < rows.shape[0]:
            prefetch(table, rows[at + AHEAD])
        total += table[rows[at], 0]
    return total


def test_it_changes_no_value():
    rng = np.random.default_rng(1)
    table, rows = rng.integers(0, 9, (64, 8)), rng.integers(0, 64, 1000)
    assert _total(table, rows) == table[rows, 0].sum()
    assert _total(table[::2], rows // 2) == table[::2][rows // 2, 0].sum()


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled here")
def test_it_reaches_the_machine_code():
    from numba import njit

    fresh = njit(_total.py_func)  # a kernel that comes from the cache tells no instructions
    fresh(np.zeros((16, 8), np.int64), np.zeros(16, np.int64))
    assert "llvm.prefetch" in "".join(fresh.inspect_llvm().values())


def test_the_fan_in_pass_gives_the_same_uses_without_a_compiler():
    runs = [
        subprocess.run([sys.executable, "-c", FOLD, *absent], capture_output=True, text=True, check=True).stdout
        for absent in ([], ["numba"])
    ]
    assert runs[0] == runs[1]
    assert int(runs[0].split()[0]) > 0
