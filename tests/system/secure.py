"""A broker with SASL_SSL, SCRAM and the StandardAuthorizer, and a Redis with TLS and ACL users, as production has them.

What lives here: certificates, users and the files of ``docker/security`` put in force. What does not: the tests.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

from tests.servers import ROOT, KafkaServer, Process, find_java, find_tls_redis, free_port

ROLES = ("admin", "gateway", "worker", "console", "limiter")
SECURE = """
listeners=SASL_SSL://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=SASL_SSL://127.0.0.1:{{port}}
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={login}
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.crt
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
allow.everyone.if.no.acl.found=false
"""
"""ANONYMOUS is who comes over the controller's listener, which is of this machine alone."""


def password_of(role: str) -> str:
    return f"password-of-{role}"


def login(role: str) -> str:
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    return f'{module} required username="{role}" password="{password_of(role)}";'


def certificates(folder: Path) -> None:
    """An authority of the test's own, and a server certificate for 127.0.0.1."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority of the tests")
    openssl(*new, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = ("x509", "-req", "-days", "2", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
    openssl(*signing, "-in", "server.csr", "-out", "server.crt", "-extfile", "names")
    (folder / "server.pem").write_text((folder / "server.key").read_text() + (folder / "server.crt").read_text())


class SecureKafka(KafkaServer):
    """A broker that knows its clients; ``env`` is what a role sets."""

    def __init__(self, folder: Path, certificates_in: Path) -> None:
        self.certificates = certificates_in
        more = SECURE.format(login=login("admin"), folder=certificates_in)
        users = [
            f"--add-scram=SCRAM-SHA-512=[name={role},password={password_of(role)},iterations=4096]" for role in ROLES
        ]
        super().__init__(folder, more, users)

    def env(self, role: str) -> dict[str, str]:
        password = self.folder / f"{role}.password"
        password.write_text(password_of(role) + "\n")
        return {
            "DISTILWATCH_BROKERS": self.bootstrap,
            "DISTILWATCH_KAFKA_PROTOCOL": "SASL_SSL",
            "DISTILWATCH_KAFKA_MECHANISM": "SCRAM-SHA-512",
            "DISTILWATCH_KAFKA_USERNAME": role,
            "DISTILWATCH_KAFKA_PASSWORD_FILE": str(password),
            "DISTILWATCH_KAFKA_CA_FILE": str(self.certificates / "ca.crt"),
        }

    def grant(self, prefix: str) -> None:
        """Run the shipped script, as an administrator would."""
        client = self.folder / "admin.properties"
        client.write_text(
            "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
            f"sasl.jaas.config={login('admin')}\n"
            f"ssl.truststore.type=PEM\nssl.truststore.location={self.certificates}/ca.crt\n"
        )
        command = self.folder / "kafka-acls.sh"
        command.write_text(
            f'#!/bin/sh\nexec {find_java()} -Xmx128m -XX:TieredStopAtLevel=1 -cp "{self.classpath}" '
            f'org.apache.kafka.tools.AclCommand "$@"\n'
        )
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        acls = f"{command} --bootstrap-server {self.bootstrap} --command-config {client}"
        env = {**os.environ, "KAFKA_ACLS": acls, "PREFIX": prefix, "GROUP": prefix}
        script = ROOT / "docker" / "security" / "kafka-acls.sh"
        done = subprocess.run(["sh", str(script)], env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


class SecureRedis(Process):
    """A Redis that speaks TLS alone, with the shipped users."""

    def __init__(self, folder: Path, certificates_in: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.certificates = certificates_in
        users = (ROOT / "docker" / "security" / "redis-users.acl").read_text()
        users = re.sub(r">change-(\w+)", lambda found: f">{password_of(found[1])}", users)
        (folder / "users.acl").write_text(users)

    def url(self, role: str) -> str:
        return f"rediss://{role}:{password_of(role)}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        options += ["--tls-cert-file", f"{self.certificates}/server.crt"]
        options += ["--tls-key-file", f"{self.certificates}/server.key"]
        options += ["--tls-ca-cert-file", f"{self.certificates}/ca.crt", "--tls-auth-clients", "no"]
        command, env = find_tls_redis()
        self.launch([command, *options, "--aclfile", str(self.folder / "users.acl")], self.port, env=env)
