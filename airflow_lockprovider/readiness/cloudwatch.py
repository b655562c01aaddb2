"""Where people read the log of what AWS ran."""

from __future__ import annotations

from urllib.parse import quote


def log_link(group: str | None, stream: str | None, region: str) -> str:
    """`` (log group/stream: https://…)`` for the end of a message, or nothing if there is no log."""
    if not group or not stream:
        return ""
    # The console escapes its paths twice, and writes "$" for the second "%".
    parts = ("log-group", group, "log-events", stream)
    path = "/".join(quote(quote(part, safe=""), safe="").replace("%", "$") for part in parts)
    return (
        f" (log {group}/{stream}: https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#logsV2:log-groups/{path})"
    )
