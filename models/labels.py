"""Labels: what people say about alerts, clusters and accounts, as records of the labels topic.

What lives here: the form of a record, its checks, and the key under which a newer one takes its place. What does not:
what follows from one (``desk`` for people, ``orders`` for the detector).

Records are compacted by key, so whatever must not undo one another has another key: acknowledging a case never
replaces its verdict, and silencing a cluster never replaces the order to let it go.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, get_args

import msgspec

from models.errors import ConfigError

Kind = Literal[
    "acknowledge",
    "close",
    "reopen",
    "silence",
    "unsilence",
    "allow",
    "disallow",
    "undo",
    "redo",
    "profile",
    "unprofile",
]
Verdict = Literal["confirmed", "false_positive", "benign_automation"]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]

Limit = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]

LABEL_BYTES_MAX = 16_384
SECRET_KEYS = ("sk-", "sk_", "Bearer ")
"""How keys themselves begin: a record of the labels topic is read by many, so none may hold one."""
SUBJECTS: dict[str, frozenset[str]] = {
    "case": frozenset({"dedup_key"}),
    "silence": frozenset({"dedup_key", "cluster_id", "rule", "severity", "account_id"}),
    "allow": frozenset({"account_id", "org_id", "api_key_id", "template"}),
    "undo": frozenset({"cluster_id"}),
    "profile": frozenset({"account_id", "org_id"}),
}
"""What a record may be about, by what it does; a silence may name several, and then all must match."""
FAMILIES: dict[str, tuple[str, str]] = {
    "acknowledge": ("acknowledge", "case"),
    "close": ("verdict", "case"),
    "reopen": ("verdict", "case"),
    "silence": ("silence", "silence"),
    "unsilence": ("silence", "silence"),
    "allow": ("allow", "allow"),
    "disallow": ("allow", "allow"),
    "undo": ("undo", "undo"),
    "redo": ("undo", "undo"),
    "profile": ("profile", "profile"),
    "unprofile": ("profile", "profile"),
}
"""For each kind: the family within which a newer record replaces an older, and what it may be about."""
FAMILY_NAMES = tuple(dict.fromkeys(family for family, _ in FAMILIES.values()))
TAKES_BACK = frozenset({"unsilence", "disallow", "redo", "unprofile"})
"""Kinds that lift what another said; these and acknowledging need no reason, all others do."""


class Seen(msgspec.Struct, frozen=True):
    """What the person had before them: an acknowledgement or verdict reaches this far and no further."""

    alert_id: Annotated[str, msgspec.Meta(max_length=256)] = ""
    severity: Literal["info", "low", "medium", "high", "critical"] = "info"
    accounts: Annotated[int, msgspec.Meta(ge=0)] = 0
    cluster_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where account rules trip for a known bulk user; None leaves a rule as it is for everybody."""

    requests_24h: Limit | None = None
    reasoning_24h: Limit | None = None
    networks_day: Annotated[int, msgspec.Meta(ge=1, le=62)] | None = None  # hash buckets of 61; 62 is never reached
    requests_times: Annotated[float, msgspec.Meta(ge=1.0, le=1_000.0)] | None = None
    """Requests may also grow to this many times the account's own busiest day of the week before."""


class Label(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing one person said; times are ms since the epoch, ``expires`` None for without end."""

    action_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    ts: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
    who: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    kind: Kind
    subject: Annotated[dict[str, Text], msgspec.Meta(min_length=1, max_length=8)]
    reason: Annotated[str, msgspec.Meta(max_length=1_000)] = ""
    expires: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] | None = None
    verdict: Verdict | None = None
    seen: Seen | None = None
    limits: Limits | None = None

    @property
    def family(self) -> str:
        """Within a family and for one subject the newest record counts."""
        return FAMILIES[self.kind][0]

    @property
    def key(self) -> str:
        """The key of the record: family and subject."""
        return label_key(self.family, self.subject)

    @property
    def takes_back(self) -> bool:
        """Whether it lifts what another record said."""
        return self.kind in TAKES_BACK

    def ended(self, now_ms: int) -> bool:
        """Whether its time is over."""
        return self.expires is not None and now_ms >= self.expires


_DECODER = msgspec.json.Decoder(Label)
_ENCODER = msgspec.json.Encoder()


def label_key(family: str, subject: dict[str, str]) -> str:
    """The key of what is said in a family about a subject, whatever the order of the subject's parts."""
    return f"{family} {msgspec.json.encode(dict(sorted(subject.items()))).decode()}"


def entry_digest(key: str) -> str:
    """The key of a label as a digest, for those who may know how often it was met and not whom it names."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def encode_label(label: Label) -> bytes:
    """A label as one JSON object."""
    return _ENCODER.encode(label)


def read_label(data: bytes) -> Label | None:
    """The label in a record; None where it is none, which callers count."""
    if len(data) > LABEL_BYTES_MAX:
        return None
    try:
        label = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return label if problem(label) is None else None


def problem(label: Label) -> str | None:
    """What is wrong with a label, in words that name the fix; None where nothing is."""
    allowed = SUBJECTS[FAMILIES[label.kind][1]]
    unknown = sorted(label.subject.keys() - allowed)
    if unknown:
        return f"{label.kind} cannot be about {', '.join(unknown)}; name {' or '.join(sorted(allowed))}"
    if len(label.subject) > 1 and label.family != "silence":
        return f"{label.kind} is about one of {', '.join(sorted(allowed))}, not several"
    if label.subject.get("api_key_id", "").startswith(SECRET_KEYS):
        return "api_key_id names a key by its id or digest, as events do; this looks like the key itself"
    if not label.reason.strip() and not label.takes_back and label.kind != "acknowledge":
        return f"{label.kind} needs a reason"
    if (label.kind == "close") != (label.verdict is not None):
        return f"close, and only close, needs a verdict: one of {', '.join(get_args(Verdict))}"
    if label.expires is not None and (label.takes_back or label.expires <= label.ts):
        return "expires must lie after ts, and only what can be lifted has one"
    if (label.kind == "profile") != (label.limits is not None):
        return "profile, and only profile, needs limits"
    if label.limits == Limits():
        return "profile needs at least one of requests_24h, requests_times, reasoning_24h, networks_day"
    return None


def checked(label: Label) -> Label:
    """The same label where it is right; raises ConfigError, which names what is wrong, where it is not."""
    wrong = problem(label)
    if wrong is not None:
        raise ConfigError(wrong)
    return label
