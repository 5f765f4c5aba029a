"""Names of the keys in Redis that workers write and limiters read.

What lives here: the names, without any client, so that a gateway imports nothing else. What does not: what is under
them.
"""

from __future__ import annotations


def signal_key(tenant: str, account_id: str) -> str:
    """The hash of one account; braces keep a tenant's keys in one slot of a Redis cluster."""
    return f"distilwatch:v1:signal:{{{tenant}}}:{account_id}"


def cluster_key(tenant: str, cluster_id: str) -> str:
    """The hash of one cluster's shared budget."""
    return f"distilwatch:v1:cluster:{{{tenant}}}:{cluster_id}"


def index_key(tenant: str) -> str:
    """The sorted set of accounts with a signal, by the wall clock's ms at which it ends."""
    return f"distilwatch:v1:index:{{{tenant}}}"


def changes_key(tenant: str) -> str:
    """The stream that names each account whose hash was just written or removed."""
    return f"distilwatch:v1:changes:{{{tenant}}}"
