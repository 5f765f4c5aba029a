"""Who may do what: roles, what each allows, and what each action of a case asks for.

What lives here: the matrix. What does not: who somebody is (``identity``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Role = Literal["viewer", "analyst", "rules", "admin"]
Permission = Literal["read", "triage", "allow", "allow_wide", "undo", "audit", "rules"]

ROLES: tuple[Role, ...] = get_args(Role)
GRANTS: Mapping[Role, frozenset[Permission]] = {
    "viewer": frozenset({"read"}),
    "analyst": frozenset({"read", "triage", "allow", "undo", "audit"}),
    "rules": frozenset({"read", "allow", "allow_wide", "audit", "rules"}),
    "admin": frozenset(get_args(Permission)),
}
NEEDS: Mapping[str, Permission] = {
    "acknowledge": "triage",
    "close": "triage",
    "reopen": "triage",
    "silence": "triage",
    "unsilence": "triage",
    "allow": "allow",
    "disallow": "allow",
    "undo": "undo",
    "redo": "undo",
}
"""What each kind of action asks for. A kind that is not here cannot be done from the console."""


def needed(kind: str, subject: Mapping[str, str]) -> Permission | None:
    """The permission an action needs; None where the console does not offer it.

    To allow one account is the analyst's; an organisation or a template lets many go at once and is for ``rules``.
    """
    need = NEEDS.get(kind)
    return "allow_wide" if need == "allow" and set(subject) != {"account_id"} else need
