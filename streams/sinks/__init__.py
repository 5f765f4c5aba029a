"""Sinks: where notifications go that people must see (Alertmanager, PagerDuty, Slack, a webhook)."""
