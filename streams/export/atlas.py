"""Names of the MITRE ATLAS techniques that alerts carry.

What lives here: the names. What does not: which alert carries which (``models.announce``, ``models.account_rules``).
"""

from __future__ import annotations

TECHNIQUES = {
    "AML.T0008.005": "AI Service Proxies",
    "AML.T0021": "Establish Accounts",
    "AML.T0024": "Exfiltration via AI Inference API",
    "AML.T0024.002": "Extract AI Model",
}
SOURCE = "mitre-atlas"


def technique_url(uid: str) -> str:
    """The page of a technique."""
    return f"https://atlas.mitre.org/techniques/{uid}"
