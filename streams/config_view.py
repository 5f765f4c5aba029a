"""Settings as people and programs read them; secrets never.

What lives here: the two forms. What does not: reading settings (``config``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec

from streams.config import Secret, Settings


def shown(settings: Settings, output: str) -> str:
    """Every setting, one ``section.name = value`` a line, or for ``json`` as one object of these names."""
    values = dict(_flat(settings, ""))
    if output == "json":
        return msgspec.json.format(msgspec.json.encode(values), indent=2).decode() + "\n"
    return "".join(f"{name} = {'' if value is None else value}\n" for name, value in values.items())


def _flat(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for field in fields(node):
        value = getattr(node, field.name)
        # A secret is a dataclass too: it is asked for before the walk could go into it.
        if isinstance(value, Secret):
            yield prefix + field.name, "***"
        elif is_dataclass(value):
            yield from _flat(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, str(value) if isinstance(value, Path) else value
