"""Image, compose file and manifests: what can be told of them without an engine."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams import cli
from streams.config import known_names
from streams.sinks.settings import load
from tests.test_docs import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
MANIFESTS = ROOT / "docker/kubernetes"
NEEDED = ("DISTILWATCH_SECRET", "WORKER_REDIS_PASSWORD", "LIMITER_REDIS_PASSWORD", "DISTILWATCH_LIMITER_TOKEN")


def documents() -> list[dict[str, Any]]:
    names = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    return [found for name in names for found in yaml.safe_load_all((MANIFESTS / name).read_text())]


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


# The image.


def test_the_image_is_pinned_and_not_root() -> None:
    lines = (ROOT / "docker/Dockerfile").read_text().splitlines()
    bases = {line.split()[1] for line in lines if line.startswith("FROM ")}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.1[1-3]\.\d+-slim-\w+", bases.pop())
    last = max(at for at, line in enumerate(lines) if line.startswith("USER "))
    assert lines[last] == "USER 10001"
    assert any("-c constraints.txt" in line for line in lines)
    for name in re.findall(r"^COPY (?!--from)(.+) \S+$", "\n".join(lines), re.MULTILINE):
        assert all((ROOT / part).exists() for part in name.split())


def parsed(arguments: list[str]) -> None:
    """Fails where our command line does not take the arguments."""
    assert cli._parser(arguments[0]).parse_args(arguments).command == arguments[0]


# The compose file.


def test_the_compose_file_keeps_to_this_machine_and_names_real_settings() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    named = {name for service in SERVICES.values() for name in service.get("environment", {})}
    assert {name for name in named if name.startswith("DISTILWATCH_")} <= known_names()
    assert set(OURS) >= {"topics", "worker", "limiter", "console", "traffic"}
    for service in OURS.values():
        parsed(service["command"])
        assert service["environment"]["DISTILWATCH_BROKERS"] == "kafka:19092"
        assert service["cap_drop"] == ["ALL"]


def test_the_sinks_of_the_compose_file_are_right() -> None:
    settings = load(ROOT / "docker/sinks.yaml", {})
    assert [sink.where for sink in settings.sinks] == ["http://alertmanager:9093"]
    assert f"--base-url={settings.console_url}" in SERVICES["console"]["command"]


def test_images_are_pinned_and_files_are_there() -> None:
    for name, service in SERVICES.items():
        assert name in OURS or re.search(r":v?\d+\.\d+", service["image"]), name
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            known = source in COMPOSE["volumes"] or (ROOT / "docker" / source).exists()
            assert known, (name, source)
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert {SERVICES[name]["profiles"][0] for name in ("traffic", "prometheus", "alertmanager", "grafana")} == {
        "demo", "monitoring",
    }  # fmt: skip


@pytest.mark.skipif(not has("compose"), reason="make check-deploy installs Docker Compose's parser")
def test_docker_compose_reads_it() -> None:
    command = [str(Path(sys.executable).parent / "docker-compose"), "-f", "docker/compose.yaml"]
    command += ["--profile", "demo", "--profile", "monitoring", "config", "--services"]
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **dict.fromkeys(NEEDED, "x")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(SERVICES)
    without = {name: value for name, value in env.items() if name != "WORKER_REDIS_PASSWORD"}
    missing = subprocess.run(command, cwd=ROOT, env=without, capture_output=True, text=True, timeout=60, check=False)
    assert missing.stdout == ""
    assert "WORKER_REDIS_PASSWORD is missing" in missing.stderr


# The manifests.


def configuration(name: str) -> dict[str, str]:
    """The data of a config map."""
    (found,) = [item["data"] for item in documents() if (item["kind"], item["metadata"]["name"]) == ("ConfigMap", name)]
    return dict(found)


def containers() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every pod specification with each of its containers."""
    pods = [found["spec"]["template"]["spec"] for found in documents() if "template" in found.get("spec", {})]
    return [(pod, container) for pod in pods for container in pod["containers"]]


@pytest.mark.skipif(not has("kubernetes_validate"), reason="make check-deploy installs Kubernetes' schemas")
def test_manifests_are_of_kubernetes() -> None:
    import kubernetes_validate

    kinds = set()
    for found in documents():
        if not found["apiVersion"].startswith("keda.sh"):
            kubernetes_validate.validate(found, "1.30", strict=True)
            kinds.add(found["kind"])
    assert kinds >= {"StatefulSet", "Deployment", "Job", "PodDisruptionBudget", "NetworkPolicy", "Service"}


def test_every_manifest_is_listed() -> None:
    names = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    assert set(names) | {"kustomization.yaml"} == {path.name for path in MANIFESTS.iterdir()}


def test_containers_are_bounded_and_run_real_commands_without_rights() -> None:
    for pod, container in containers():
        parsed(container["args"])
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        settings = {item["name"] for item in container.get("env", [])}
        assert settings <= known_names()
    assert set(configuration("distilwatch")) <= known_names()


def test_long_running_containers_are_probed_and_drained() -> None:
    for found in documents():
        if found["kind"] in ("StatefulSet", "Deployment"):
            pod = found["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
            assert container["readinessProbe"]["httpGet"]["path"] == "/-/ready"
            assert container["livenessProbe"]["httpGet"]["path"] == "/-/healthy"
            # The worker ends itself after 25 s, whatever hangs; its supervisor must not be quicker.
            assert pod["terminationGracePeriodSeconds"] >= 30


def test_scaling_goes_by_a_metric_that_exists_and_no_further_than_partitions() -> None:
    from tests.test_docs import exported_metrics

    (scaled,) = [found["spec"] for found in documents() if found["kind"] == "ScaledObject"]
    (trigger,) = scaled["triggers"]
    assert set(re.findall(r"distilwatch_\w+", trigger["metadata"]["query"])) <= exported_metrics()[0]
    assert scaled["maxReplicaCount"] == int(configuration("distilwatch")["DISTILWATCH_PARTITIONS"])
    stateful = [found["metadata"]["name"] for found in documents() if found["kind"] == "StatefulSet"]
    assert stateful == [scaled["scaleTargetRef"]["name"]]


def test_nobody_comes_into_the_console_without_a_token_and_what_it_keeps_outlives_it(tmp_path: Path) -> None:
    pod, container = next(found for found in containers() if found[1]["args"][0] == "console")
    asked = cli._parser("console").parse_args(container["args"])
    mounted = {item["name"]: item["mountPath"] for item in container["volumeMounts"]}
    kept = {item["name"]: item for item in pod["volumes"]}
    assert str(asked.tokens) == f"{mounted['secrets']}/console-tokens"
    assert "console-tokens" in {item["path"] for item in kept["secrets"]["secret"]["items"]}
    assert "persistentVolumeClaim" in kept["kept"]
    (tmp_path / "sinks.yaml").write_text(configuration("sinks")["sinks.yaml"])
    sinks = load(tmp_path / "sinks.yaml", {})
    for path in (asked.state, sinks.outbox):
        assert Path(path).is_relative_to(mounted["kept"]), path
    assert sinks.console_url == asked.base_url
    ports = {item["containerPort"] for item in container["ports"]}
    settings = {item["name"]: item["value"] for item in container["env"]}
    assert ports == {int(asked.listen.rpartition(":")[2]), int(settings["DISTILWATCH_HTTP_PORT"])}
    (deployment,) = [
        item for item in documents() if item["metadata"]["name"] == "console" and item["kind"] == "Deployment"
    ]
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    workers = next(item for item in documents() if item["kind"] == "StatefulSet")["spec"]
    assert asked.worker == [f"http://worker-{at}.{workers['serviceName']}:8321" for at in range(workers["replicas"])]


def test_secrets_that_are_mounted_are_those_that_the_reader_is_told_to_make() -> None:
    told = set(re.findall(r"--from-(?:literal|file)=([\w-]+)=", (MANIFESTS / "kustomization.yaml").read_text()))
    used = {
        item["key"]
        for pod, _ in containers()
        for volume in pod.get("volumes", [])
        for item in volume.get("secret", {}).get("items", [])
    }
    assert used == told
