"""The exception tree.

- DistilwatchError
    - ConfigError: a setting or rule is wrong; the message names the fix
    - WireError: an envelope or snapshot cannot be read
"""


class DistilwatchError(Exception):
    """Base of all errors raised on purpose; ``retriable`` says whether trying again can help."""

    retriable = False


class ConfigError(DistilwatchError):
    """A setting, rule or argument is wrong; the message names the setting and the fix."""


class WireError(DistilwatchError):
    """A binary message or snapshot is torn, corrupt, or of a version this code does not read."""
