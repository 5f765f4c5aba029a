"""What operators decide as records of their topics, and the keys of those.

What lives here: which topic a decision goes to, and under what key. What does not: deciding, and when it is written.
"""

from __future__ import annotations

from models.announce import Decisions
from models.output import encode_alert, encode_signal
from streams.stage import Output
from streams.topics import Topics


def decided(topics: Topics, decisions: Decisions) -> list[Output]:
    """Alerts and signals as records of their topics; what rules in the shadow say has a topic of its own."""
    alerts = [
        Output(
            topics.shadow if alert.mode == "shadow" else topics.alerts,
            None,
            alert.dedup_key.encode(),
            encode_alert(alert),
        )
        for alert in decisions.alerts
    ]
    signals = [
        Output(topics.signals, None, account.encode(), encode_signal(signal)) for account, signal in decisions.signals
    ]
    early = [Output(topics.early, None, account.encode(), encode_signal(signal)) for account, signal in decisions.early]
    return alerts + signals + early


def known_key(tenant: str, cluster_id: str) -> str:
    """The key of a known campaign on the campaigns topic."""
    return f"{tenant}:{cluster_id}"
