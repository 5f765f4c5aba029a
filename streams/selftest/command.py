"""The command ``selftest``: its arguments, and which of the two runs they mean.

What lives here: no more than that.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Callable

from streams.config import Settings
from streams.selftest.hops import Way

TIMEOUT_S = 2_400.0
"""On live topics the alert comes 10 to 25 minutes after the canary began, which is the detector's own pace."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distilwatch selftest``."""
    parser.add_argument("--brokers", metavar="HOST:PORT,...", help="test a running worker on Kafka, not this process")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_S, metavar="S", help=f"seconds to wait for the alert ({TIMEOUT_S:.0f})"
    )
    parser.add_argument(
        "--isolated", action="store_true", help="the topics carry nothing else: do not wait for the clock"
    )
    parser.add_argument("-o", "--output", choices=("human", "json"), default="human", help="form of the answer")


def run(parsed: argparse.Namespace, *, settings: Callable[[], Settings], secret: Callable[[], bytes]) -> int:
    """Run the self-test; 0 where every hop was reached, 1 where one was not.

    Raises:
        ConfigError: settings are wrong, or ``--isolated`` on topics that hold requests.
    """
    way = Way(quiet=parsed.output == "json")
    if parsed.brokers is None:
        from streams.selftest import embedded

        embedded.run(way, secret())
        return way.told(parsed.output)
    from streams.selftest.live import LiveTest

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what goes wrong is told as a hop
    asyncio.run(LiveTest(settings(), way, timeout_s=parsed.timeout, isolated=parsed.isolated).run())
    return way.told(parsed.output)
