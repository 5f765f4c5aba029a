"""Checks a second through the rate limit service, beside the same checks by the well-known ways.

What lives here: the processes, the clients and the figures. The limiter runs on one core (taskset) as a user starts it,
with 25,000 signals of one cluster and a real Redis; the client is another process that sends at a fixed rate whether
answers come or not, so that a wait is not hidden by a client that waits too. What does not: what is measured.

The peer: the same checks answered by ``grpc.aio`` with the same handler, at a rate that it can bear.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import redis
from envoy.service.ratelimit.v3 import rls_pb2

from bench.figures import Figure, report
from bench.traffic import ROOT
from models.alert import Signal
from models.budget import Lease, Taken, budget_of, milli_of
from streams.limiter.grpc_frames import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS_ACK, frame, head_of
from streams.limiter.ledger import TAKE
from streams.limiter.reader import Reader
from streams.limiter.rls import METHOD
from streams.redis_keys import cluster_key, index_key, signal_key
from streams.redis_signals import hash_fields
from tests.servers import RedisServer, free_port, wait_for

RATE = 10_000
"""Checks a second that one core must answer."""
P99_MS = 5.0
SECONDS = 10.0
MEMBERS = 25_000
ACCOUNTS = 100_000
"""Accounts asked for, a quarter of them members: most traffic of a fleet is nobody's campaign."""
WINDOW = 1 << 30


def fill(url: str) -> None:
    """The signals of one cluster, as the projection writes them."""
    client = redis.Redis.from_url(url)
    now = int(time.time() * 1000)
    pipe = client.pipeline(transaction=False)
    for number in range(MEMBERS):
        told = Signal(
            account_id=f"account-{number:06}", cluster_id="c-bench", action="throttle", multiplier=0.25, score=9.0,
            rule="campaign", alert_id="a-bench", mode="enforce", ts=now, expires=now + 3_600_000, seq=now,
        )  # fmt: skip
        key = signal_key("default", told.account_id)
        pipe.hset(key, mapping=hash_fields(told))
        pipe.pexpire(key, 3_600_000)
        pipe.zadd(index_key("default"), {told.account_id: told.expires})
    pipe.hset(cluster_key("default", "c-bench"), mapping=hash_fields(budget_of(told, 60)))
    pipe.execute()


def calls() -> list[bytes]:
    """The message of a check of every account."""
    made = []
    for number in range(ACCOUNTS):
        request = rls_pb2.RateLimitRequest(domain="bench")
        request.descriptors.add().entries.add(key="account_id", value=f"account-{number:06}")
        message = request.SerializeToString()
        made.append(b"\0" + len(message).to_bytes(4, "big") + message)
    return made


def _literal(name: bytes, value: bytes) -> bytes:
    return bytes((0, len(name))) + name + bytes((len(value),)) + value


FIELDS = b"\x20\x83\x86" + b"".join(
    _literal(name, value)
    for name, value in (
        (b":path", METHOD.encode()),
        (b":authority", b"bench"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
)
"""The headers of every call, in a block that needs no table."""


class Client:
    """One connection; sends on time, notes when each answer ended."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        window = (WINDOW - 65_535).to_bytes(4, "big")
        large = frame(4, 0, 0, b"\0\x04" + WINDOW.to_bytes(4, "big") + b"\0\x01\0\0\0\0")
        self.socket.sendall(PREFACE + large + frame(8, 0, 0, window))
        self.socket.setblocking(False)
        self.buffer = bytearray()

    def answered(self) -> Iterator[int]:
        """Streams whose last frame has come."""
        try:
            self.buffer += self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        at = 0
        while len(self.buffer) - at >= 9:
            size, kind, flags, stream = head_of(self.buffer, at)
            if len(self.buffer) - at < 9 + size:
                break
            at += 9 + size
            if kind == HEADERS and flags & END_STREAM:
                yield stream
            elif kind == 4 and not flags:
                self.send(SETTINGS_ACK)
        del self.buffer[:at]

    def send(self, data: bytes) -> None:
        """Everything, waiting for room where there is none."""
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                time.sleep(0.0002)


def drive(port: int, rate: float, seconds: float) -> tuple[float, float, float, int]:
    """Send at ``rate`` and give answers a second, their median and 99th percentile in ms, and how many are missing.

    A wait is counted from when a check was due, so that a client that falls behind makes it longer, not shorter.
    """
    made = calls()
    client, total = Client(port), int(rate * seconds)
    order = np.random.default_rng(5).integers(0, len(made), total)
    ended = np.zeros(total)
    sent = done = 0
    started = time.perf_counter()
    while done < total and time.perf_counter() - started < seconds + 5:
        due = min(total, int((time.perf_counter() - started) * rate))
        if due > sent:
            frames = []
            for number in range(sent, due):
                frames.append(frame(HEADERS, END_HEADERS, 2 * number + 1, FIELDS))
                frames.append(frame(DATA, END_STREAM, 2 * number + 1, made[order[number]]))
            client.send(b"".join(frames))
            sent = due
        for stream in client.answered():
            ended[stream // 2] = time.perf_counter() - started
            done += 1
        time.sleep(0.0002)
    waits = (ended - np.arange(total) / rate)[ended > 0] * 1000
    middle, high = np.percentile(waits, [50, 99]) if len(waits) else (np.inf, np.inf)
    return float(done / max(ended.max(), 1e-9)), float(middle), float(high), total - done


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(command: list[str], port: int, env: dict[str, str]) -> Iterator[int]:
    """A process on the first core of this machine."""
    pinned = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command] if shutil.which("taskset") else command
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(pinned, cwd=ROOT, env=os.environ | env, stdout=log, stderr=log)
        try:
            wait_for(lambda: _listens(port), " ".join(command[1:4]))
            yield process.pid
        finally:
            process.terminate()
            process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def measured(port: int, pid: int, rate: float, seconds: float) -> tuple[float, float, float, int, float]:
    """``drive`` after a short run that warms caches, and the server's processor time a check in microseconds."""
    run = [sys.executable, "-m", "bench.limiter", "--drive", str(port)]
    subprocess.run([*run, str(rate / 4), "2"], cwd=ROOT, check=True, capture_output=True)
    before = cpu_seconds(pid)
    done = subprocess.run([*run, str(rate), str(seconds)], cwd=ROOT, check=True, capture_output=True, text=True)
    spent = cpu_seconds(pid) - before
    answers, middle, high, missing = done.stdout.split()
    total = int(rate * seconds) - int(missing)
    return float(answers), float(middle), float(high), int(missing), spent / max(total, 1) * 1e6


async def peer(url: str, port: int) -> None:
    """The same handler behind ``grpc.aio``."""
    import grpc
    import redis.asyncio as aredis

    from streams.limiter.checks import Checks
    from streams.limiter.ledger import Ledger
    from streams.limiter.metrics import LimiterMetrics
    from streams.limiter.replica import Replica
    from streams.limiter.rls import RateLimits

    metrics = LimiterMetrics()
    replica = Replica(aredis.Redis.from_url(url), "default", metrics)
    follow = asyncio.create_task(replica.run())
    while not replica.loaded:
        await asyncio.sleep(0.05)
    ledger = Ledger(aredis.Redis.from_url(url), "default", 4, lambda _: None)
    limits = RateLimits(Checks(replica, ledger, metrics, tenant="default", limits=(60, 60)))

    async def answer(message: bytes, _: object) -> bytes:
        found = limits.should_rate_limit(message)
        return found if isinstance(found, bytes) else await found

    service, _, method = METHOD[1:].partition("/")
    handler = grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(answer)})
    listening = grpc.aio.server()
    listening.add_generic_rpc_handlers((handler,))
    listening.add_insecure_port(f"127.0.0.1:{port}")
    await listening.start()
    await follow


def let_through(url: str) -> float:
    """What 25,000 accounts get of an hour's budget through three limiters, by the script in a real Redis.

    The hour is the script's argument and not the wall's; an account asks six times in it.
    """
    client, draw = redis.Redis.from_url(url), random.Random(9)
    take, milli = client.register_script(TAKE), milli_of(15)
    leases, keys = [Lease(milli) for _ in range(3)], ["bench:bucket", "bench:no-record"]
    started, passed = 1_700_000_000_000, 0
    for at in sorted(draw.randrange(3_600_000) for _ in range(6 * MEMBERS)):
        lease, now = draw.choice(leases), started + at
        spent = lease.spend(1, now)
        if spent is None:
            granted, wait_ms, _ = take(keys=keys, args=[lease.size(1, now), milli, now])
            lease.credit(Taken(granted, wait_ms), now, draw.random())
            spent = lease.spend(1, now)
        passed += bool(spent)
    return passed / (15 * 60)


def waits_without_redis() -> tuple[float, float]:
    """The longest of a reader's waits in ms once Redis was killed, and once it hangs."""
    found = []
    for fault in (signal.SIGKILL, signal.SIGSTOP):
        with tempfile.TemporaryDirectory() as folder:
            held = RedisServer(Path(folder))
            held.start()
            try:
                reader = Reader(held.url, cache_ms=0)
                for _ in range(20):
                    reader.check("somebody")
                held.signal(fault)
                found.append(max(_timed(reader) for _ in range(300)))
            finally:
                held.stop()
    return found[0], found[1]


def _timed(reader: Reader) -> float:
    started = time.perf_counter()
    reader.check("somebody")
    return (time.perf_counter() - started) * 1000


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.limiter", description=__doc__.partition("\n")[0])
    parser.add_argument("--drive", nargs=3, metavar=("PORT", "RATE", "SECONDS"), help=argparse.SUPPRESS)
    parser.add_argument("--peer", nargs=2, metavar=("URL", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.drive:
        port, rate, seconds = options.drive
        print(*drive(int(port), float(rate), float(seconds)))
        return 0
    if options.peer:
        asyncio.run(peer(options.peer[0], int(options.peer[1])))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        held = RedisServer(Path(folder))
        held.start()
        try:
            return report(figures(held))
        finally:
            held.stop()


def figures(held: RedisServer) -> list[Figure]:
    """All figures, from one Redis, which is killed at the end."""
    url, port, other = held.url, free_port(), free_port()
    fill(url)
    command = [sys.executable, "-m", "bench.limiter", "--peer", url, str(other)]
    with server(command, other, {}) as pid:
        theirs = measured(other, pid, RATE / 5, SECONDS)
    through = let_through(url)
    command = [sys.executable, "-m", "streams", "limiter", "--grpc-port", str(port), "--http-port", "-1"]
    with server(command, port, {"DISTILWATCH_REDIS_URL": url, "DISTILWATCH_TENANT": "default"}) as pid:
        time.sleep(8)  # until it has read its signals
        ours = measured(port, pid, RATE, SECONDS)
        held.kill()
        without = measured(port, pid, RATE, SECONDS)
    setting = f"{RATE:,} checks a second for {SECONDS:g} s, {ACCOUNTS:,} accounts, {MEMBERS:,} with a signal, one core"
    hour = f"{MEMBERS:,} accounts of one cluster, six requests each in an hour, three limiters, 15 a minute"
    killed, hung = waits_without_redis()
    aio = f"grpc.aio, same handler, at {RATE // 5:,} a second:"
    return [
        Figure(
            "checks answered",
            ours[0],
            "1/s",
            RATE * 0.98,
            setting=setting,
        ),
        Figure("checks unanswered", ours[3], "", 0, most=True, peer=f"{aio} {theirs[3]}"),
        Figure("wait, median", ours[1], "ms", peer=f"{aio} {theirs[1]:.3g} ms"),
        Figure("wait, 99 %", ours[2], "ms", P99_MS, most=True, peer=f"{aio} {theirs[2]:.3g} ms"),
        Figure("wait, 99 %, Redis killed", without[2], "ms", P99_MS, most=True),
        Figure("longest wait of a reader, Redis killed", killed, "ms", P99_MS, most=True, peer="redis-py alone raises"),
        Figure(
            "longest wait of a reader, Redis hangs", hung, "ms", P99_MS, most=True, peer="redis-py alone waits for ever"
        ),
        Figure("let through of a budget", through, "parts", 1.01, most=True, setting=hour),
        Figure("processor time", ours[4], "us a check", 1e6 / RATE, most=True, peer=f"{aio} {theirs[4]:.0f} us"),
    ]


if __name__ == "__main__":
    sys.exit(main())
