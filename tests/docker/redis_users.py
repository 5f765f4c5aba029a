"""A real Redis started by the script that the containers start it with, under its users."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.servers import ROOT, Process, find_redis, free_port


class GuardedRedis(Process):
    """Its users are ``worker`` and ``limiter``; the default one is off."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        for name in ("worker", "limiter"):
            (folder / f"redis_{name}_password").write_text(f"password-of-{name}\n")
        self.worker_url = self.url_of("worker", "password-of-worker")
        self.limiter_url = self.url_of("limiter", "password-of-limiter")
        # The script calls it by the name that it has in the image.
        (folder / "bin").mkdir()
        (folder / "bin" / "redis-server").symlink_to(Path(shutil.which(find_redis()) or find_redis()))

    def url_of(self, user: str, password: str) -> str:
        return f"redis://127.0.0.1:{self.port}/0?username={user}&password={password}"

    def start(self) -> None:
        """Start it, empty."""
        settings = [
            f"SECRETS={self.folder}",
            f"USERS={ROOT}/docker/security/redis-users.acl",
            f"ACCESS_LIST={self.folder}/users.acl",
            f"PATH={self.folder}/bin:/usr/bin:/bin",
        ]
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.launch(["env", *settings, "/bin/sh", str(ROOT / "docker/redis/start.sh"), *options], self.port)
