"""The worker under a time of day that the test sets: it reads the seconds to add from the file ``SKEW_FILE``.

What lives here: the clock. What does not: the worker. Clocks of spans are left alone, as those of machines are.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from pathlib import Path

SKEW = Path(os.environ["SKEW_FILE"])
_time_ns = time.time_ns


def skewed_ns() -> int:
    return _time_ns() + int(SKEW.read_text()) * 1_000_000_000


if __name__ == "__main__":
    time.time_ns = skewed_ns
    time.time = lambda: skewed_ns() / 1e9
    sys.argv = ["distilwatch", "worker"]
    runpy.run_module("streams", run_name="__main__", alter_sys=True)
