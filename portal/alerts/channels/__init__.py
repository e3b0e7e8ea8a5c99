"""The ways in which people and systems are told elsewhere: a file each, which registers what sends deliveries.

@register(Delivery.Channel.EMAIL)
def send(batch): ...       # one message; returns when the other side has taken it, or raises SendError
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from portal.models import Delivery

Batch = Sequence[Delivery]  # never empty; several only if people read them (portal/alerts/outbox.py)
Send = Callable[[Batch], None]
_SENDERS: dict[str, Send] = {}


class SendError(Exception):
    """It was not taken. The text is a sentence for managers; a permanent one is not tried again."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


def register(channel: Delivery.Channel) -> Callable[[Send], Send]:
    def note(send: Send) -> Send:
        _SENDERS[channel.value] = send
        return send

    return note


def send(batch: Batch) -> None:
    """Hand deliveries to their channel; raises SendError."""
    from portal.alerts.channels import destinations, mail, push  # noqa: F401 - each registers itself

    _SENDERS[batch[0].channel](batch)
