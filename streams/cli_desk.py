"""Commands of the desk: what on-call looks at and says.

What lives here: how ``alerts`` and ``allow`` are called. What does not: what they do (``desk_command``).
"""

from __future__ import annotations

import argparse

from streams.cli_common import Command, settings_of


def _declare_alerts(parser: argparse.ArgumentParser) -> None:
    from streams import desk_command

    desk_command.add_alerts(parser)


def _alerts(parsed: argparse.Namespace) -> int:
    from streams import desk_command

    return desk_command.run_alerts(parsed, lambda: settings_of(parsed))


def _declare_allow(parser: argparse.ArgumentParser) -> None:
    from streams import desk_command

    desk_command.add_allow(parser)


def _allow(parsed: argparse.Namespace) -> int:
    from streams import desk_command

    return desk_command.run_allow(parsed, lambda: settings_of(parsed))


COMMANDS = {
    "alerts": Command(
        "list alerts, acknowledge, judge or silence them, and let a whole cluster go",
        _declare_alerts,
        _alerts,
        (
            "alerts list --status open",
            "alerts close c-edb12790a36a907f --verdict confirmed --reason revoked",
            "alerts undo c-edb12790a36a907f --reason honest",
        ),
    ),
    "allow": Command(
        "keep an allowlist that wins over every decision, and baselines of bulk users",
        _declare_allow,
        _allow,
        ("allow add --org acme --reason contract --for 90d", "allow list -o json"),
    ),
}
"""Part of the list in ``cli``."""
