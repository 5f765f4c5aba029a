"""A limiter process as a user starts it, on free ports, and what it says over HTTP."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.servers import ROOT, Process, free_port, wait_for
from tests.streams.limiter.signals import Signals


def call(url: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """Status, body (JSON where it is) and headers; names of headers are given with ``_`` for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=body, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status, data, got = answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        status, data, got = error.code, error.read(), dict(error.headers)
    try:
        return status, json.loads(data), got
    except ValueError:
        return status, data.decode(), got


class LimiterProcess(Process):
    """``distilwatch limiter``; ready when it has read the signals."""

    def __init__(self, folder: Path, signals: Signals, **env: str) -> None:
        super().__init__(folder)
        self.grpc_port, self.http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.signals = signals
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DISTILWATCH_")}
        self.env = kept | {
            "DISTILWATCH_REDIS_URL": signals.url,
            "DISTILWATCH_TENANT": signals.tenant,
            "DISTILWATCH_LIMITER_TIMEOUT_MS": "1000",  # the tests' machine may be slow; 4 is for users
            "PYTHONPATH": str(ROOT),
        }
        self.env |= env

    def start(self) -> None:
        self.start_only()
        wait_for(self.ready, "the limiter's signals")

    def start_only(self) -> None:
        """Start, and wait for no signals: there may be no Redis."""
        ports = ["--grpc-port", str(self.grpc_port), "--http-port", str(self.http_port)]
        self.launch([sys.executable, "-m", "streams", "limiter", *ports], self.http_port, env=self.env)

    def ready(self) -> bool:
        return call(f"{self.url}/-/ready")[0] == 200

    def check(self, account: str, hits: int = 1) -> dict[str, Any]:
        status, answer, _ = call(f"{self.url}/v1/check/{account}?hits={hits}")
        assert status == 200, answer
        return dict(answer)

    def counted(self, metric: str, **labels: str) -> float:
        """The sum of a metric over the series with these labels."""
        total = 0.0
        for line in call(f"{self.url}/metrics")[1].splitlines():
            if line.startswith((f"{metric}{{", f"{metric} ")) and all(
                f'{name}="{value}"' in line for name, value in labels.items()
            ):
                total += float(line.rsplit(" ", 1)[1])
        return total
