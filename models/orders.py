"""Orders: what labels make the detector leave out, let go, or measure otherwise.

What lives here: the allowlist, clusters that are let go, verdicts that a cluster is no campaign, and baselines of known
bulk users. What does not: where they are applied (``campaigns``, ``announce``, ``account_rules``) and the form of a
label (``labels``). They end by event time, so that the same records give the same answers whenever they are read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.alert import Severity, more_severe
from models.columns import EventColumns
from models.event import EventBatch
from models.hashing import KeyedHash
from models.labels import Label, Limits, label_key, read_label
from models.strings import Strings

ORDERS_MAX = 100_000
DISMISSED = ("false_positive", "benign_automation")
FIELDS = ("account_id", "org_id", "api_key_id")
FAMILIES = ("allow", "undo", "verdict", "profile")
UInt64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Active:
    """Entries in force from ``since_ms`` to before ``until_ms``."""

    since_ms: int
    until_ms: int
    hashes: UInt64
    names: dict[str, str]  # with the key of their label
    keys: list[str]  # of the labels, as the hashes are


@dataclass(frozen=True, slots=True)
class _Keys:
    """API keys on the allowlist, by ascending hash: until when, and the keys of their labels."""

    hashes: UInt64
    ends: npt.NDArray[np.int64]
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Profile:
    """The own baseline of one account or organisation, by the hash of its id."""

    field: str
    value: int
    until_ms: int
    limits: Limits


class Orders:
    """The labels in force that change decisions, by family and key. Pure: ``now_ms`` is event time."""

    def __init__(self, keyed_hash: KeyedHash) -> None:
        self.hits: Counter[str] = Counter()  # requests left out, by the key of the entry
        self.refused = 0
        self._columns = EventColumns(keyed_hash)
        self._digests = keyed_hash.derive(b"alert")
        self._labels: dict[str, dict[str, Label]] = {family: {} for family in FAMILIES}
        self._active: dict[tuple[str, str], _Active] = {}
        self._by_key: _Keys | None = None  # made when it is needed after a label came
        self._digest_of: dict[int, str] = {}  # of template keys, made while any template is allowed

    def take(self, key: str, value: bytes) -> Label | None:
        """Take one record of the labels topic; gives the label that it sets or lifts, where that may change anything.

        An empty value deletes its key. A record that is no label is counted and changes nothing.
        """
        self._active.clear()
        self._by_key = None
        if not value:
            return next(filter(None, [labels.pop(key, None) for labels in self._labels.values()]), None)
        label = read_label(value)
        if label is None:
            self.refused += 1
            return None
        labels = self._labels.get(label.family)
        if labels is None:
            return None
        before = labels.pop(label.key, None)
        if label.takes_back:
            return before
        labels[label.key] = label
        if len(labels) > ORDERS_MAX:
            self.refused += 1
            del labels[next(iter(labels))]
        return label

    def _in_force(self, family: str, field: str, now_ms: int) -> _Active:
        """The entries about ``field`` that hold at ``now_ms``, kept until a label comes or the next one ends."""
        known = self._active.get((family, field))
        if known is not None and known.since_ms <= now_ms < known.until_ms:
            return known
        entries = [label for label in self._labels[family].values() if field in label.subject]
        ends = [label.expires for label in entries if label.expires is not None]
        entries = [label for label in entries if not label.ended(now_ms)]
        names = [label.subject[field] for label in entries]
        hashes = self._columns.hashes(field, Strings.of(names)) if field in FIELDS else np.zeros(0, np.uint64)
        found = _Active(
            max((end for end in ends if end <= now_ms), default=-(1 << 62)),
            min((end for end in ends if end > now_ms), default=1 << 62),
            hashes,
            {label.subject[field]: label.key for label in entries},
            [label.key for label in entries],
        )
        self._active[family, field] = found
        return found

    def allowed(self, accounts: UInt64, customers: UInt64, now_ms: int) -> Bools:
        """Which of the accounts are on the allowlist, by themselves or with their organisation."""
        mask = np.zeros(len(accounts), np.bool_)
        for field, values in zip(FIELDS, (accounts, customers), strict=False):
            mask |= self._listed(field, values, now_ms)
        return mask

    def allowed_rows(self, rows: npt.NDArray[Any], now_ms: int) -> Bools:
        """Which requests are left out, by their account, organisation or API key."""
        return self.allowed(rows["account"], rows["customer"], now_ms) | self._listed(
            "api_key_id", rows["api_key"], now_ms
        )

    def freed_by_key(self, rows: npt.NDArray[Any], now_ms: int) -> UInt64:
        """Accounts all of whose requests came under allowed keys: nothing is left that could be held against them."""
        under = self._listed("api_key_id", rows["api_key"], now_ms)
        freed: UInt64 = np.setdiff1d(rows["account"][under], rows["account"][~under])
        return freed

    def _listed(self, field: str, values: UInt64, now_ms: int) -> Bools:
        hashes = self._in_force("allow", field, now_ms).hashes
        return np.isin(values, hashes) if len(hashes) else np.zeros(len(values), np.bool_)

    def left_out(self, events: EventBatch) -> Bools:
        """Which requests came under an allowed API key, each at its own time; they are counted here."""
        left = np.zeros(len(events), np.bool_)
        keys = self._by_key = self._by_key or self._keys()
        if not len(keys.hashes) or not events.api_key.any():
            return left
        at = np.minimum(np.searchsorted(keys.hashes, events.api_key), len(keys.hashes) - 1)
        left |= (keys.hashes[at] == events.api_key) & (events.ts < keys.ends[at])
        found, counts = np.unique(at[left], return_counts=True)
        self.hits.update({keys.labels[which]: many for which, many in zip(found, counts.tolist(), strict=True)})
        return left

    def _keys(self) -> _Keys:
        labels = [label for label in self._labels["allow"].values() if "api_key_id" in label.subject]
        hashes = self._columns.hashes("api_key_id", Strings.of([label.subject["api_key_id"] for label in labels]))
        ends = [1 << 62 if label.expires is None else label.expires for label in labels]
        order = np.argsort(hashes)
        return _Keys(hashes[order], np.array(ends, np.int64)[order], [labels[at].key for at in order])

    def count(self, rows: npt.NDArray[Any], now_ms: int) -> None:
        """Count requests that the allowlist leaves out, each once for every entry that does."""
        for field, column in zip(FIELDS, ("account", "customer", "api_key"), strict=True):
            active = self._in_force("allow", field, now_ms)
            if len(active.hashes):
                values = rows[column]
                key_of = dict(zip(active.hashes.tolist(), active.keys, strict=True))
                found, counts = np.unique(values[np.isin(values, active.hashes)], return_counts=True)
                self.hits.update(dict(zip((key_of[value] for value in found.tolist()), counts.tolist(), strict=True)))

    def count_keys(self, keys: UInt64, now_ms: int) -> None:
        """Count uses of allowed template keys, as far as an evaluation has met them."""
        wanted = self._in_force("allow", "template", now_ms).names
        if wanted:
            known = {key: wanted[digest] for key, digest in self._digest_of.items() if digest in wanted}
            for key, entry in known.items():
                uses = int((keys == np.uint64(key)).sum())
                if uses:
                    self.hits[entry] += uses

    def hits_by_field(self) -> dict[str, int]:
        """The same by what the entries are about: a bounded number of figures, for metrics."""
        found: Counter[str] = Counter()
        for key, count in list(self.hits.items()):  # another thread may count while this one is asked
            found[next(field for field in (*FIELDS, "template") if f'"{field}"' in key)] += count
        return dict(found)

    def allowed_keys(self, keys: UInt64, now_ms: int) -> npt.NDArray[np.bool_]:
        """Which template keys carry a digest on the allowlist."""
        wanted = self._in_force("allow", "template", now_ms).names
        if not wanted:
            self._digest_of.clear()
            return np.zeros(len(keys), np.bool_)
        known = self._digest_of
        self._digest_of = {key: known.get(key) or self._digests.digest(key, "template") for key in keys.tolist()}
        return np.array([self._digest_of[key] in wanted for key in keys.tolist()], np.bool_)

    def is_undone(self, cluster_id: str, now_ms: int) -> bool:
        """Whether a person has let the whole cluster go."""
        label = self._labels["undo"].get(label_key("undo", {"cluster_id": cluster_id}))
        return label is not None and not label.ended(now_ms)

    def is_dismissed(self, cluster_id: str, severity: Severity) -> bool:
        """Whether the last verdict on the cluster is that it is no campaign, and it has not become more severe."""
        found: Label | None = None
        for label in self._labels["verdict"].values():
            if label.seen is not None and label.seen.cluster_id == cluster_id:
                found = label
        if found is None or found.seen is None or found.verdict not in DISMISSED:
            return False
        return not more_severe(severity, found.seen.severity)

    def profiles(self) -> list[Profile]:
        """The baselines of known bulk users; those of organisations first, so that what is said of an account wins."""
        found = []
        for label in sorted(self._labels["profile"].values(), key=lambda known: "account_id" in known.subject):
            ((field, name),) = label.subject.items()
            (value,) = self._columns.hashes(field, Strings.of([name]))
            until_ms = 1 << 62 if label.expires is None else label.expires
            found.append(Profile(field, int(value), until_ms, label.limits or Limits()))
        return found

    def snapshot(self) -> dict[str, Any]:
        """The state as plain values."""
        labels = [msgspec.to_builtins(label) for family in self._labels.values() for label in family.values()]
        return {"labels": labels, "hits": dict(self.hits), "refused": self.refused}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``snapshot`` gave."""
        self._active.clear()
        self._by_key = None
        self._labels = {family: {} for family in FAMILIES}
        for label in msgspec.convert(state["labels"], list[Label]):
            self._labels[label.family][label.key] = label
        self.hits, self.refused = Counter(state["hits"]), state["refused"]
