"""The image is built from docker/Dockerfile and run: user, entry point, health checks, and an end that is clean.

By buildah, without a container engine's daemon. Where no registry of images is reached, the base is made of Debian by
debootstrap, with Debian's own Python in place of the one that the Dockerfile names; every step of ours is the same.
Run by ``make check-image``: it installs everything anew, which takes minutes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import absent
from tests.docker.test_deploy import OURS
from tests.servers import ROOT, Missing, free_port, install_packages, wait_for
from tests.streams.limiter.process import call

pytestmark = [pytest.mark.image, pytest.mark.timeout(1500)]

BASE = next(
    line.split()[1] for line in (ROOT / "docker/Dockerfile").read_text().splitlines() if line.startswith("FROM")
)
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Image:
    """The image in a store of its own, and commands run in a container of it."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            raise Missing("images are built as root here")
        if shutil.which("buildah") is None or shutil.which("debootstrap") is None:
            install_packages("buildah", "debootstrap")
        if shutil.which("buildah") is None:
            raise Missing("no buildah: apt-get install buildah debootstrap")
        self.folder = folder
        self.stores = ["buildah", "--root", str(folder / "store"), "--runroot", str(folder / "run")]
        self.env = os.environ | {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}

    def buildah(self, *words: str) -> str:
        done = subprocess.run(
            [*self.stores, *words], cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=1200, check=False
        )
        assert done.returncode == 0, f"{words[:2]}: {done.stderr[-3000:]}"
        return done.stdout.strip()

    def build(self) -> None:
        """Pull the base or make it, and build."""
        pulled = subprocess.run(
            [*self.stores, "pull", BASE], env=self.env, capture_output=True, timeout=600, check=False
        )
        if pulled.returncode:
            self._make_base()
        self.buildah("bud", "--pull-never", "--network", "host", "-f", "docker/Dockerfile", "-t", "distilwatch", ".")
        self.container = self.buildah("from", "--pull-never", "localhost/distilwatch")

    def _make_base(self) -> None:
        root = self.folder / "base"
        command = ["debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm"]
        done = subprocess.run([*command, str(root)], capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise Missing(f"no base image, and Debian is not reached: {done.stdout[-300:]}")
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        shutil.copy(BUNDLE, root / "etc/ssl/certs")
        (root / "etc/pip.conf").write_text(f"[global]\ncert = {BUNDLE}\n")
        bare = self.buildah("from", "scratch")
        self.buildah("add", "-q", bare, str(root), "/")
        self.buildah("config", "--env", f"PATH={PATHS}", bare)
        self.buildah("commit", "-q", bare, f"docker.io/library/{BASE}")
        self.buildah("rm", bare)

    def configuration(self) -> dict[str, Any]:
        """User, entry point and so on."""
        return dict(json.loads(self.buildah("inspect", "--type", "image", "localhost/distilwatch"))["OCIv1"]["config"])

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A command in the container, to its end."""
        return subprocess.run(
            self._command(*words, **env), env=self.env, capture_output=True, text=True, timeout=120, check=False
        )

    def _command(self, *words: str, **env: str) -> list[str]:
        given = [item for name, value in env.items() for item in ("--env", f"{name}={value}")]
        return [*self.stores, "run", "--network", "host", *given, self.container, "--", *words]

    @contextmanager
    def running(self, *arguments: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """The entry point with these arguments, ended by SIGTERM to it, as an engine does; it must end with 0."""
        words = [*self.configuration()["Entrypoint"], *arguments]
        log = (self.folder / "container.log").open("wb")
        process = subprocess.Popen(self._command(*words, **env), env=self.env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            wait_for(lambda: bool(descendants(process.pid, arguments[0])), "the process in the container", 20)
            for inside in descendants(process.pid, arguments[0]):
                os.kill(inside, signal.SIGTERM)
            code = process.wait(60)
            log.close()
        assert code == 0, (self.folder / "container.log").read_text()[-3000:]


def descendants(pid: int, word: str) -> list[int]:
    """The processes below one that run our command with this first argument, the innermost alone."""
    found: list[int] = []
    for path in Path("/proc").glob(f"{pid}/task/*/children"):
        for child in map(int, path.read_text().split()):
            below = descendants(child, word)
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            mine = len(words) > 2 and words[1].endswith(b"/distilwatch") and words[2] == word.encode()
            found += below or ([child] if mine else [])
    return found


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    try:
        image = Image(tmp_path_factory.mktemp("image"))
        image.build()
    except Missing as reason:
        absent(reason)
    return image


def health_check(service: str, port: int) -> list[str]:
    """The compose file's own check of a service, at the port of this run."""
    test = OURS[service]["healthcheck"]["test"]
    assert test[0] == "CMD"
    return [re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", word) for word in test[1:]]


def test_it_runs_as_nobody_and_writes_only_where_it_may(image: Image) -> None:
    kept = image.configuration()
    assert (kept["User"], kept["Entrypoint"], kept["Cmd"]) == ("10001", ["distilwatch"], ["worker"])
    assert image.run("id", "-u").stdout.strip() == "10001"
    assert image.run("distilwatch", "--version").stdout.startswith("distilwatch ")
    assert image.run("touch", "/var/lib/distilwatch/x").returncode == 0
    assert image.run("touch", "/opt/distilwatch/env/x").returncode != 0


@pytest.mark.servers
def test_a_worker_in_it_is_healthy_and_ends_clean(image: Image, kafka: str, redis_url: str) -> None:
    port = free_port()
    env = {
        "DISTILWATCH_BROKERS": kafka,
        "DISTILWATCH_TOPIC_PREFIX": f"image{port}",
        "DISTILWATCH_SECRET": "a secret of the image's tests",
        "DISTILWATCH_REDIS_URL": redis_url,
        "DISTILWATCH_HTTP_PORT": str(port),
    }
    created = image.run("distilwatch", "topics", "create", **env)
    assert created.returncode == 0, created.stderr
    assert image.run(*health_check("worker", port)).returncode != 0
    with image.running(*image.configuration()["Cmd"], **env):
        wait_for(lambda: call_or_none(f"http://127.0.0.1:{port}/-/ready") == 200, "the worker in the container", 90)
        done = image.run(*health_check("worker", port))
        assert done.returncode == 0, done.stderr


@pytest.mark.servers
def test_a_limiter_in_it_is_healthy_and_ends_clean(image: Image, redis_url: str) -> None:
    port = free_port()
    words = ["limiter", "--grpc-port", str(free_port()), "--http-port", str(port)]
    with image.running(*words, DISTILWATCH_REDIS_URL=redis_url):
        wait_for(lambda: call_or_none(f"http://127.0.0.1:{port}/-/ready") == 200, "the limiter in the container", 60)
        done = image.run(*health_check("limiter", port))
        assert done.returncode == 0, done.stderr


@pytest.mark.servers
def test_a_console_in_it_asks_for_a_token(image: Image, kafka: str) -> None:
    port = free_port()
    env = {"DISTILWATCH_BROKERS": kafka, "DISTILWATCH_TOPIC_PREFIX": f"console{port}"}
    assert image.run("distilwatch", "topics", "create", **env).returncode == 0
    adding = "distilwatch console token add --name kim --role admin --tokens tokens.json"
    given = image.run(*shlex.split(adding))
    assert given.stdout.startswith("dwc_"), given.stderr
    url = f"http://127.0.0.1:{port}"
    words = ["console", f"--listen=0.0.0.0:{port}", f"--base-url={url}", "--tokens=tokens.json", "--state=kept"]
    with image.running(*words, **env):
        wait_for(lambda: call_or_none(f"{url}/-/ready") == 200, "the console in the container", 60)
        known = {"Authorization": f"Bearer {given.stdout.strip()}"}
        assert "token" in call(f"{url}/")[1].lower()
        status, page, _ = call(f"{url}/audit", **known)
        assert (status, "kim" in page) == (200, True)


def call_or_none(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except (urllib.error.URLError, OSError):
        return None
