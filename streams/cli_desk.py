"""Commands of the desk: what on-call looks at and says.

What lives here: how ``alerts``, ``explain`` and ``allow`` are called. What does not: what they do (``desk_command``,
``explain``).
"""

from __future__ import annotations

import argparse

from streams.cli_common import Command, core_settings, rules_of, secret_of, settings_of


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


def _declare_explain(parser: argparse.ArgumentParser) -> None:
    from streams import explain

    explain.add_arguments(parser)


def _explain(parsed: argparse.Namespace) -> int:
    from streams import explain

    if parsed.state is None:
        return explain.run(parsed, lambda: settings_of(parsed))
    core = core_settings()
    return explain.run_on_state(parsed, secret_of(core), core.tenant, rules_of(None, core))


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
    "explain": Command(
        "derive a verdict again from what was kept, with what would have changed it",
        _declare_explain,
        _explain,
        ("explain a-63f9c8be1cde9271 --alerts alerts.jsonl", "explain 93922befc2c065fa --state kept -o json"),
    ),
    "allow": Command(
        "keep an allowlist that wins over every decision, and baselines of bulk users",
        _declare_allow,
        _allow,
        ("allow add --org acme --reason contract --for 90d", "allow list -o json"),
    ),
}
"""Part of the list in ``cli``."""
