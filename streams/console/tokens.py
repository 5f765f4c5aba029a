"""The file of access tokens: names, roles and hashes, never the tokens.

What lives here: adding, removing and checking tokens. What does not: sessions and proxies (``identity``). A token is
256 random bits, so a plain SHA-256 cannot be turned round; slow password hashes are for secrets people choose.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import Annotated

import msgspec

from models.errors import ConfigError
from streams.console.roles import Role

FILE_BYTES_MAX = 1 << 20
TOKENS_MAX = 1_000
PREFIX = "dwc_"
"""Makes a token that leaks into a log or a repository easy to find."""
Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}\Z")]


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the file; times in ms, ``expires`` None for without end."""

    name: Name
    role: Role
    hash: Annotated[str, msgspec.Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
    created: int
    expires: int | None = None


_DECODER = msgspec.json.Decoder(list[Token])


def digest(token: str) -> str:
    """How a token is kept."""
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


def read_tokens(path: Path) -> list[Token]:
    """The tokens of a file.

    Raises:
        ConfigError: it cannot be read, is not such a file, or others than its owner may write it.
    """
    try:
        status = path.stat()
        data = path.read_bytes() if status.st_size <= FILE_BYTES_MAX else b""
        tokens = _DECODER.decode(data)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; add a token first: {_hint(path)}") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} is no file of tokens: {error}; {_hint(path)} makes one") from error
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{path} can be written by others: chmod 600 it")
    return tokens


def _hint(path: Path) -> str:
    return f"distilwatch console token add --name NAME --role admin --tokens {path}"


def _write(path: Path, tokens: list[Token]) -> None:
    """All or nothing, and readable by its owner alone."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(tokens), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def add_token(path: Path, name: str, role: Role, *, now_ms: int, expires: int | None) -> str:
    """Add a token for ``name`` and return it: the only moment it can be seen.

    Raises:
        ConfigError: the name is taken or no name, or the file cannot be used.
    """
    tokens = read_tokens(path) if path.exists() else []
    if any(token.name == name for token in tokens):
        raise ConfigError(f"{name} has a token: remove it first, or choose another name")
    if len(tokens) >= TOKENS_MAX:
        raise ConfigError(f"{path} holds {TOKENS_MAX:,} tokens, which is the most: remove some")
    text = PREFIX + secrets.token_urlsafe(32)
    fields = {"name": name, "role": role, "hash": digest(text), "created": now_ms, "expires": expires}
    try:
        tokens.append(msgspec.convert(fields, Token))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name!r} is no name: letters, digits and _ . @ + -, at most 64") from error
    _write(path, tokens)
    return text


def remove_token(path: Path, name: str) -> None:
    """Remove the token of ``name``; a running console ends its sessions within a second.

    Raises:
        ConfigError: nobody of that name has one.
    """
    tokens = read_tokens(path)
    kept = [token for token in tokens if token.name != name]
    if len(kept) == len(tokens):
        raise ConfigError(f"nobody called {name} has a token in {path}")
    _write(path, kept)


class TokenFile:
    """The tokens of a file, read again when it changes; a file that went bad lets nobody in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._tokens: dict[str, Token] = {token.hash: token for token in read_tokens(path)}

    def find(self, hashed: str, now_ms: int) -> Token | None:
        """The token with this hash, where it still counts."""
        self._refresh()
        token = self._tokens.get(hashed)
        return None if token is None or (token.expires is not None and now_ms >= token.expires) else token

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            version = status.st_mtime_ns, status.st_size, status.st_ino
            if version == self._version:
                return
            self._tokens = {token.hash: token for token in read_tokens(self._path)}
            self._version = version
        except (OSError, ConfigError):
            self._tokens, self._version = {}, None
