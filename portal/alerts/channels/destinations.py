"""Calls to a site's destinations: webhooks for other systems, and chats for people.

A webhook is signed as Standard Webhooks writes it (standardwebhooks.com): HMAC-SHA256 over id, timestamp and body, so
that a receiver knows who sent it, and drops what is old or comes twice. Chats whose host is typed by people are calls
of ours; those at a vendor's own host are in vendors.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import Template
from typing import Any
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _

from cameras.errors import CameraError
from cameras.reach.credentials import unseal
from portal.alerts.channels import Batch, SendError, calls, register, vendors
from portal.alerts.channels.calls import Reply
from portal.alerts.happenings import iso
from portal.alerts.wording import Notification, word
from portal.models import Delivery, Destination
from portal.voice.call import escaping

Kind = Destination.Kind
WORDS = ("title", "text", "link", "site", "camera", "event")
MARK = "whsec_"


@dataclass(frozen=True)
class Posting:
    """One request; the body is JSON unless it is bytes."""

    method: str
    url: str
    body: Any
    headers: Mapping[str, str]

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body, ensure_ascii=False).encode()


@register(Delivery.Channel.DESTINATION)
def send(batch: Batch) -> None:
    answer = deliver(batch)
    calls.judge(answer.status)


def deliver(batch: Batch) -> Reply:
    """Make the call, and return whatever is answered. Raises SendError if nothing is."""
    destination = batch[0].destination
    if destination is None:
        raise SendError(_("There is nowhere to send it to."), permanent=True)
    try:
        address, secret = unseal(destination.sealed_address), unseal(destination.sealed_secret)
    except CameraError as error:
        told = _("Its address was sealed with a key that is missing here. Enter it again.")
        raise SendError(told, permanent=True) from error
    with translation.override(settings.LANGUAGE_CODE):
        if destination.kind == Kind.WEBHOOK:
            made = webhook(batch[0], address, secret)
        else:
            message = word(batch)
            if destination.kind == Kind.VENDOR:
                return vendors.notify(address, message)
            made = _CALLS[Kind(destination.kind)](destination, address, secret, message, batch[0])
    headers = {"Content-Type": "application/json"} | dict(made.headers)
    return calls.ask(made.method, made.url, headers, made.content)


# -- other systems ----------------------------------------------------------------------------------------------------


def new_secret() -> str:
    """A secret for signing, in the form that Standard Webhooks' libraries take."""
    return MARK + base64.b64encode(secrets.token_bytes(32)).decode()


def webhook(delivery: Delivery, address: str, secret: str, now: float | None = None) -> Posting:
    data = {"type": delivery.event, "timestamp": iso(delivery.happened_at), "data": delivery.body}
    body = json.dumps(data, ensure_ascii=False).encode()
    stamp = str(int(time.time() if now is None else now))
    return Posting("POST", address, body, {
        "webhook-id": str(delivery.key),
        "webhook-timestamp": stamp,
        "webhook-signature": sign(secret, str(delivery.key), stamp, body),
    })  # fmt: skip


def sign(secret: str, key: str, stamp: str, body: bytes) -> str:
    """The signature of a webhook, scheme v1."""
    raw = base64.b64decode(secret.removeprefix(MARK))
    digest = hmac.new(raw, f"{key}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


# -- chats ------------------------------------------------------------------------------------------------------------


def full_text(message: Notification) -> str:
    lines = [message.text, *(item.text for item in message.items)]
    if message.more:
        lines.append(_("and %(count)d more") % {"count": message.more})
    return "\n".join(line for line in lines if line)


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"} if secret else {}


def _ntfy(_destination: Destination, address: str, secret: str, message: Notification, _first: Delivery) -> Posting:
    """https://docs.ntfy.sh/publish/#publish-as-json: the topic is the address's path, JSON goes to the root."""
    parts = urlsplit(address)
    body = {"topic": parts.path.strip("/"), "title": message.subject, "message": full_text(message),
            "click": message.link}  # fmt: skip
    return Posting("POST", f"{parts.scheme}://{parts.netloc}/", body, _bearer(secret))


def _gotify(_destination: Destination, address: str, secret: str, message: Notification, _first: Delivery) -> Posting:
    """https://gotify.net/docs/pushmsg: the secret is the application's token."""
    extras = {"client::notification": {"click": {"url": message.link}}}
    body = {"title": message.subject, "message": full_text(message), "priority": 5, "extras": extras}
    return Posting("POST", f"{address.rstrip('/')}/message", body, {"X-Gotify-Key": secret})


def _matrix(_destination: Destination, address: str, secret: str, message: Notification, first: Delivery) -> Posting:
    """PUT /_matrix/client/v3/rooms/{room}/send/{type}/{transaction}: a transaction that comes twice counts once."""
    parts = urlsplit(address)
    room = quote(parts.path.strip("/") + (f"#{parts.fragment}" if parts.fragment else ""), safe="")
    path = f"/_matrix/client/v3/rooms/{room}/send/m.room.message/{first.key}"
    body = {"msgtype": "m.text", "body": f"{message.subject}\n{full_text(message)}\n{message.link}"}
    return Posting("PUT", f"{parts.scheme}://{parts.netloc}{path}", body, _bearer(secret))


def _teams(_destination: Destination, address: str, _secret: str, message: Notification, _first: Delivery) -> Posting:
    """An Adaptive Card, as Teams' Workflows take it from a webhook."""
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.2",
        "body": [
            {"type": "TextBlock", "text": message.subject, "weight": "bolder", "size": "medium", "wrap": True},
            {"type": "TextBlock", "text": full_text(message), "wrap": True},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": message.action, "url": message.link}],
    }  # fmt: skip
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return Posting("POST", address, {"type": "message", "attachments": [attachment]}, {})


def _own(destination: Destination, address: str, secret: str, message: Notification, first: Delivery) -> Posting:
    """A request that a person wrote, with placeholders: percent-encoded in the address, escaped in the body."""
    words = {
        "title": message.subject, "text": full_text(message), "link": message.link, "site": first.site.name,
        "camera": first.camera.name if first.camera else "", "event": first.event,
    }  # fmt: skip
    body = destination.body.strip()
    is_json = body[:1] in {"{", "["}
    content_type = "application/json" if is_json else "text/plain; charset=utf-8"
    escaped = escaping(content_type)
    filled = Template(body or "$title\n$text\n$link").safe_substitute(
        {name: escaped(value) for name, value in words.items()}
    )
    url = Template(address).safe_substitute({name: quote(value, safe="") for name, value in words.items()})
    return Posting("POST", url, filled.encode(), {"Content-Type": content_type} | _bearer(secret))


_CALLS: dict[Destination.Kind, Callable[[Destination, str, str, Notification, Delivery], Posting]] = {
    Kind.NTFY: _ntfy, Kind.GOTIFY: _gotify, Kind.MATRIX: _matrix, Kind.TEAMS: _teams, Kind.OWN: _own,
}  # fmt: skip


def try_out(destination: Destination) -> str:
    """Send a test now, and return what was answered, as a sentence. Nothing is stored."""
    site = destination.site
    body = {"event_type": "test", "site": {"id": site.pk, "name": site.name}}
    delivery = Delivery(
        site=site, destination=destination, event=Delivery.Event.TEST, channel=Delivery.Channel.DESTINATION, body=body
    )
    try:
        answer = deliver([delivery])
        calls.judge(answer.status)
    except SendError as error:
        return str(error)
    said = " ".join(answer.text.split())[:200]
    return _("It was accepted (%(status)d). %(said)s") % {"status": answer.status, "said": said}
