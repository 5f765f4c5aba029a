"""A slice of the simulated stream: events of all groups in time order, as columns, JSON lines or an ``EventBatch``.

What lives here: the columns of a slice and their two outer forms, which agree field by field. What does not: how
the events came about. Nothing in a slice says which accounts belong to a campaign.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.columns import EventColumns
from models.event import EventBatch
from models.hashing import KeyedHash
from models.strings import Strings
from streams.simulator.accounts import ABSENT, CLIENTS, COUNTRIES, DAY_MS, DOMAINS, EPOCH, PLANS, RELEASE_H, Accounts
from streams.simulator.groups import Batch
from streams.simulator.ragged import rendered
from streams.simulator.text import Library

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]

MODELS = ("frontier-4", "frontier-3", "frontier-3-mini", "frontier-3-code", "frontier-2", "embed-chat-1")
"""Model names; the first is released during the run."""
_EARLY_SHARE = 0.35
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


class Line(msgspec.Struct, omit_defaults=True):
    """A request event as it is written to files and topics."""

    event_id: str
    ts: int
    account_id: str
    model: str
    prompt: str
    api_key_id: str
    turn: int
    input_tokens: int
    output_tokens: int
    latency_ms: int
    status: int
    org_id: str | None = None
    conversation_id: str | None = None
    system: str | None = None
    client_ip: str | None = None
    user_agent: str | None = None
    ja4: str | None = None
    payment_id: str | None = None
    email_domain: str | None = None
    account_created: int | None = None
    country: str | None = None
    plan: str | None = None
    tools: bool = False
    refused: bool = False


class Tables:
    """Texts of the accounts' attributes, made once a run."""

    def __init__(self, accounts: Accounts, library: Library) -> None:
        self.accounts = accounts
        self.library = library
        self.name = hexadecimal(accounts.name)
        self.key = Strings(self.name.data.reshape(-1, 16)[:, :12].ravel(), np.arange(len(self.name) + 1) * 12)
        self.plans = Strings.of([*PLANS, ""])
        self.org = hexadecimal(accounts.org)
        self.payment = hexadecimal(accounts.payment)
        self.agents = Strings.of([*_user_agents(), ""])
        self.fingerprints = Strings.of([*_fingerprints(), ""])
        self.domains = Strings.of([*_domains(), ""])
        self.systems = Strings.of(library.systems)
        self.models = Strings.of(MODELS)


@dataclass(slots=True)
class Slice:
    """Events with ``start <= ts < end`` in time order; arrays of shape ``(n,)``."""

    start: int
    end: int
    batch: Batch
    event: UInt64  # random event names
    noise: npt.NDArray[np.float64]  # one uniform number an event, for small attributes
    tables: Tables

    def __len__(self) -> int:
        return len(self.batch.events)

    @property
    def account(self) -> Int64:
        """Account index of each event."""
        return self.batch.events.account

    def texts(self) -> dict[str, Strings]:
        """The text columns by field name; an empty text is an absent field."""
        tables, events, account = self.tables, self.batch.events, self.account
        owner = tables.accounts
        absent = owner.absent[account]
        without = {name: (absent >> bit) & 1 == 1 for bit, name in enumerate(ABSENT)}
        client = owner.client[account].astype(np.int64)
        no_org = owner.org[account] == 0
        conversation = hexadecimal(events.conversation)
        return {
            "event_id": hexadecimal(self.event),
            "account_id": tables.name.take(account),
            "org_id": _blanked(tables.org, account, no_org),
            "prompt": rendered(tables.library.fragments, self.batch.texts),
            "system": tables.systems.take(self.batch.system),
            "conversation_id": _blanked(conversation, np.arange(len(self)), without["conversation_id"]),
            "model": tables.models.take(self.models()),
            "client_ip": _dotted(np.where(without["client_ip"], np.uint32(0), self._address())),
            "user_agent": tables.agents.take(np.where(without["user_agent"], CLIENTS, client)),
            "ja4": tables.fingerprints.take(np.where(without["ja4"], CLIENTS, client)),
            "payment_id": _blanked(tables.payment, account, without["payment_id"]),
            "email_domain": tables.domains.take(np.where(without["email_domain"], DOMAINS, owner.domain[account])),
            "api_key_id": tables.key.take(account),
            "plan": tables.plans.take(np.where(without["plan"], len(PLANS), owner.plan[account].astype(np.int64))),
        }  # fmt: skip

    def numbers(self, prompt_bytes: Int64) -> dict[str, npt.NDArray[Any]]:
        """The numeric columns by field name; -1 is an absent field."""
        events = self.batch.events
        owner = self.tables.accounts
        unknown = (owner.absent[events.account] >> ABSENT.index("account_created")) & 1 == 1
        ok = events.status == 200
        system_bytes = self.tables.systems.lengths[self.batch.system]
        return {
            "ts": events.ts,
            "turn": events.turn,
            "account_created": np.where(unknown, -1, owner.created[events.account]),
            "input_tokens": (prompt_bytes + system_bytes) // 4 + 1 + 300 * (events.turn - 1),
            "output_tokens": np.where(ok, np.exp(5.3 + 1.4 * (self.noise - 0.5)).astype(np.int64), 0),
            "status": events.status,
            "refused": ok & ((self.noise * 997) % 1 < 0.004),
            "tools": self.batch.tools,
        }

    def models(self) -> Int64:
        """Index into ``MODELS`` of each event."""
        events = self.batch.events
        taste = self.tables.accounts.taste[events.account]
        liked = 1 + np.searchsorted([0.45, 0.7, 0.85, 0.97], taste)
        early = (taste * 1013) % 1 < _EARLY_SHARE
        adopted = EPOCH + RELEASE_H * 3_600_000 + ((taste * 7919) % 1) ** 2 * DAY_MS
        default = np.where(early & (events.ts > adopted), 0, liked)
        return np.where(self.batch.model >= 0, self.batch.model, default)

    def lines(self) -> bytes:
        """The slice as canonical JSON lines."""
        return msgspec.json.Encoder().encode_lines(self.rows())

    def rows(self) -> list[Line]:
        """The slice's events as structs that encode to canonical JSON objects."""
        texts = self.texts()
        numbers = self.numbers(texts["prompt"].lengths)
        values: dict[str, list[Any]] = {name: _optional(column) for name, column in texts.items()}
        values.update({name: column.tolist() for name, column in numbers.items()})
        owner = self.tables.accounts
        values["account_created"] = [None if value < 0 else value for value in values["account_created"]]
        values["latency_ms"] = (300 + numbers["output_tokens"] * (8 + 6 * self.noise)).astype(np.int64).tolist()
        values["country"] = [COUNTRIES[index] for index in owner.country[self.account]]
        columns = [values[name] for name in Line.__struct_fields__]
        return [Line(*row) for row in zip(*columns, strict=True)]

    def _address(self) -> npt.NDArray[np.uint32]:
        """Mostly the usual place, in a third of conversations the other one."""
        events = self.batch.events
        other = (events.conversation >> np.uint64(40)) % np.uint64(3) == 0
        address: npt.NDArray[np.uint32] = self.tables.accounts.address[events.account, other.astype(np.int64)]
        return address


def to_events(part: Slice, keyed_hash: KeyedHash) -> EventBatch:
    """The columns a decoder would make of the slice's JSON lines, without the JSON."""
    texts = part.texts()
    return EventColumns(keyed_hash).batch(texts, part.numbers(texts["prompt"].lengths))


def hexadecimal(values: UInt64) -> Strings:
    """Each value as 16 hexadecimal digits."""
    raw = values.astype(">u8").view(np.uint8)
    digits = np.stack([_DIGITS[raw >> 4], _DIGITS[raw & 15]], axis=1).ravel()
    return Strings(digits, np.arange(len(values) + 1, dtype=np.int64) * 16)


def _blanked(texts: Strings, rows: Int64, gone: npt.NDArray[np.bool_]) -> Strings:
    """``texts`` at ``rows``, those ``gone`` left empty."""
    starts = texts.offsets[:-1][rows]
    lengths = np.where(gone, 0, texts.lengths[rows])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    gather = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return Strings(texts.data[gather], offsets)


def _dotted(addresses: npt.NDArray[np.uint32]) -> Strings:
    """Dotted IPv4 text; address 0 is an empty text."""
    octets = Strings.of(["", *(f"{value}." for value in range(256)), *(str(value) for value in range(256))])
    parts = addresses.astype(">u4").view(np.uint8).reshape(-1, 4).astype(np.int64) + np.array([1, 1, 1, 257])
    parts[addresses == 0] = 0
    pieces = octets.take(parts.ravel())
    return Strings(pieces.data, pieces.offsets[::4])


def _optional(column: Strings) -> list[str | None]:
    data = column.data.tobytes()
    offsets = column.offsets.tolist()
    if len(data) and column.data.max() < 128:
        whole = data.decode()
        return [whole[low:high] or None for low, high in pairwise(offsets)]
    return [data[low:high].decode() or None for low, high in pairwise(offsets)]


def _user_agents() -> list[str]:
    kits = (
        "sdk-python",
        "sdk-js",
        "python-requests",
        "okhttp",
        "chat-web",
        "curl",
        "sdk-go",
        "chat-ios",
        "axios",
        "langkit",
    )
    systems = ("linux x64", "macos arm64", "windows x64")
    return [
        f"{kits[index % 10]}/{1 + index % 3}.{index // 10}.{index % 7} ({systems[index // 7 % 3]})"
        for index in range(CLIENTS)
    ]


def _fingerprints() -> list[str]:
    return [f"t13d{15 + index % 4}{10 + index % 7}h2_{(index * 2654435761) % 2**48:012x}" for index in range(CLIENTS)]


def _domains() -> list[str]:
    popular = ["gmail.com", "outlook.com", "qq.com", "yahoo.com", "icloud.com", "proton.me", "163.com", "hotmail.com"]
    own = [f"{name}{index}.example" for index, name in enumerate(["mail", "corp", "studio", "lab"] * 75)]
    return [*popular, *own[: DOMAINS - 100 - len(popular)], *(f"campus{index}.edu.example" for index in range(100))]
