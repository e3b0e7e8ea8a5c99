"""The ways in which people are told elsewhere: a file each, which registers what sends a delivery.

@register(Delivery.Channel.EMAIL)
def send(delivery): ...            # returns when the other side has taken it, or raises SendError
"""

from __future__ import annotations

from collections.abc import Callable

from portal.models import Delivery

Send = Callable[[Delivery], None]
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


def send(delivery: Delivery) -> None:
    """Hand a delivery to its channel; raises SendError."""
    from portal.alerts.channels import mail  # noqa: F401 - registers itself

    _SENDERS[delivery.channel](delivery)
