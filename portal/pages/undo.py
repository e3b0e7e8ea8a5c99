"""What can be undone for ten seconds: a message carries the address to which its “Undo” posts."""

from __future__ import annotations

PREFIX = "undo-by "


def undo_by(address: str) -> str:
    """The `extra_tags` of a message that is undone by a POST to this address."""
    return PREFIX + address


def undo_address(extra_tags: str | None) -> str:
    """The address from `undo_by`; empty if the message is about something that cannot be undone."""
    tags = extra_tags or ""
    return tags.removeprefix(PREFIX) if tags.startswith(PREFIX) else ""
