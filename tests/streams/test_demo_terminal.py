"""The demo in a terminal of its own: the story, the link, and Ctrl-C that ends it whenever it comes."""

from __future__ import annotations

import fcntl
import http.client
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.servers import ROOT
from tests.streams.test_cli import COMMAND, clean

pytestmark = pytest.mark.timeout(240)

CTRL_C = b"\x03"
SMALL = ("--scale", "0.004", "--seconds", "1")
PATIENCE_S = 120.0
END_S = 20.0
"""It ends at once; this is what a machine with other work may add to that."""


class Terminal:
    """A process with a terminal of its own, as a person has one."""

    def __init__(self, *words: str) -> None:
        self.screen, line = pty.openpty()
        self.text = ""

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(line, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [*COMMAND, *words], cwd=ROOT, env=clean(), stdin=line, stdout=line, stderr=line, preexec_fn=take_terminal
        )
        os.close(line)

    def _read(self) -> bool:
        """Take what is there; whether the other end is still open."""
        try:
            if select.select([self.screen], [], [], 0.1)[0]:
                self.text += os.read(self.screen, 1 << 16).decode(errors="replace").replace("\r\n", "\n")
        except OSError:  # the last process has closed its side
            return False
        return True

    def until(self, pattern: str) -> re.Match[str]:
        """Wait for a text on the screen."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and self._read():
            found = re.search(pattern, self.text)
            if found:
                return found
        pytest.fail(f"waited for {pattern!r}: {self.text}")

    def interrupted(self) -> tuple[int, str]:
        """Press Ctrl-C; the exit code and what the screen says in the end."""
        os.write(self.screen, CTRL_C)
        end = time.monotonic() + END_S
        while self.process.poll() is None and time.monotonic() < end:
            self._read()
        assert self.process.poll() is not None, f"Ctrl-C did not end it: {self.text}"
        while self._read() and select.select([self.screen], [], [], 0)[0]:
            pass
        return self.process.returncode, self.text

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        os.close(self.screen)


@pytest.fixture
def demo() -> Iterator[Terminal]:
    terminal = Terminal("demo", *SMALL)
    yield terminal
    terminal.close()


def test_ctrl_c_ends_the_demo_while_it_loads(demo: Terminal) -> None:
    demo.until("digests in the output are not private")
    code, text = demo.interrupted()
    assert code == 130, text
    assert "Traceback" not in text


def test_ctrl_c_ends_the_demo_in_the_middle_of_its_story(demo: Terminal) -> None:
    demo.until(r"Console: http://127\.0\.0\.1:\d+/")
    code, text = demo.interrupted()
    assert code == 130, text
    assert "Traceback" not in text


def test_from_the_story_to_the_verdict_and_ctrl_c_under_an_open_page(demo: Terminal) -> None:
    link = urlsplit(demo.until(r"why: (http://\S+)")[1])
    demo.until("Your turn: open the alert in the console, read why, and close it with a verdict")
    page = http.client.HTTPConnection(link.netloc, timeout=20)
    page.request("GET", f"{link.path}?{link.query}")
    text = page.getresponse().read().decode()
    for words in ("Why this is an alert", "Close with a verdict", "A real campaign.", "A false alarm."):
        assert words in text
    csrf, key = (re.search(f'name="{name}" value="([^"]+)"', text) for name in ("csrf", "dedup_key"))
    assert csrf is not None
    assert key is not None
    form = f"csrf={csrf[1]}&kind=close&verdict=confirmed&reason=same+work&dedup_key={key[1].replace('%', '%25')}"
    page.request("POST", "/act", form, {"Content-Type": "application/x-www-form-urlencoded"})
    assert page.getresponse().status == 303
    demo.until("Your verdict: a real campaign: same work")
    live = http.client.HTTPConnection(link.netloc, timeout=20)
    live.request("GET", "/live")
    assert live.getresponse().status == 200, "a tab that stays open"
    code, text = demo.interrupted()
    assert code == 0, text
    assert "Traceback" not in text
