"""Notifications in browsers and on phones that are closed: Web Push (RFC 8030), by the browser's maker's own service.

The text is encrypted for that browser alone (RFC 8291), and the portal signs for itself (RFC 8292) with a key that is
made once in DATA_DIR/keys. The service's address comes from the browser, so it is a door like any other: only the known
services are called, and those of PUSH_SERVICES. A notification holds no face; who switched that on has it fetched from
the portal by their own browser, as the person who is signed in there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import http_ece  # type: ignore[import-untyped]
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from py_vapid import Vapid02  # type: ignore[import-untyped]

from portal.alerts.channels import Batch, SendError, register
from portal.alerts.channels.calls import ask, judge
from portal.alerts.wording import VIOLATION_EVENTS, word
from portal.models import Delivery, PushSubscription
from portal.people import access
from portal.people.access import Right

SERVICES = ("fcm.googleapis.com", "push.services.mozilla.com", "push.apple.com", "notify.windows.com")
KEPT_S = 24 * 3600  # by the service, for a phone that sleeps
SIGNED_FOR_S = 12 * 3600
MOST_CHARACTERS = 1000  # of a text: the whole must fit into 4 KB
MOST_BYTES = 3500  # of a notification: a service takes 4 KB with what encryption adds
GONE = frozenset({404, 410})


@register(Delivery.Channel.PUSH)
def send(batch: Batch) -> None:
    subscription = PushSubscription.objects.filter(pk=batch[0].lane.partition(":")[2]).select_related("user").first()
    if subscription is None or subscription.user_id != batch[0].receiver_id:  # somebody else's by now
        raise SendError(_("This browser no longer accepts notifications."), permanent=True)
    if not is_known(subscription.endpoint):
        raise SendError(_("The portal may not call the address of this browser's notifications."), permanent=True)
    with translation.override(subscription.user.reads):
        told = payload(batch, subscription)
    send_to(subscription, told)


def send_to(subscription: PushSubscription, told: dict[str, Any]) -> None:
    """Encrypt and send; raises SendError. A subscription that is gone is forgotten."""
    headers = {
        "TTL": str(KEPT_S),
        "Urgency": "high",
        "Topic": topic(told["tag"]),
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
    } | signature(subscription.endpoint)
    text = json.dumps(told, ensure_ascii=False).encode()
    if len(text) > MOST_BYTES:
        over = len(text) - MOST_BYTES
        told = told | {"body": told["body"].encode()[: -over or None].decode(errors="ignore")}
        text = json.dumps(told, ensure_ascii=False).encode()
    answer = ask("POST", subscription.endpoint, headers, encrypt(text, subscription))
    if answer.status in GONE:
        subscription.delete()
        raise SendError(_("This browser no longer accepts notifications."), permanent=True)
    judge(answer.status)


def try_out(subscription: PushSubscription) -> str:
    """Send a test now; returns how it went, as a sentence."""
    told = {"title": _("It works"), "body": _("Notifications from the mask portal reach this browser."), "tag": "test",
            "link": f"{settings.BASE_URL}{reverse('profile')}", "silent": False}  # fmt: skip
    try:
        if not is_known(subscription.endpoint):
            raise SendError(_("The portal may not call the address of this browser's notifications."))
        send_to(subscription, told)
    except SendError as error:
        return str(error)
    return _("Sent. The browser will show it within seconds.")


def is_known(endpoint: str) -> bool:
    """Whether this is the address of a push service that the portal may call."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if host in settings.PUSH_SERVICES:
        return parts.scheme in {"https", "http"}
    return parts.scheme == "https" and any(host == known or host.endswith(f".{known}") for known in SERVICES)


def payload(batch: Batch, subscription: PushSubscription) -> dict[str, Any]:
    """What the service worker shows (portal/static/portal/push-worker.js)."""
    message, first = word(batch), batch[0]
    several = [item.text for item in message.items[:5]]
    told: dict[str, Any] = {
        "title": message.subject,
        "body": "\n".join([message.text, *several])[:MOST_CHARACTERS],
        "link": message.link,
        "tag": tag_of(first) if len(batch) == 1 else f"camera-{first.camera_id}",
        "silent": first.event == Delivery.Event.VIOLATION_CLOSED,
    }
    about_camera = first.camera_id is not None and first.event != Delivery.Event.OUTAGE_ENDED
    if about_camera and access.may(subscription.user, Right.REVIEW, first.site_id):
        told["quiet"] = _("Mute alerts for an hour")
    if subscription.with_picture and first.violation_id and first.event in VIOLATION_EVENTS:
        told["image"] = reverse("thumbnail", args=[first.violation_id])
    return told


def tag_of(delivery: Delivery) -> str:
    """What is told of the same thing replaces what lies on the screen."""
    if delivery.violation_id:
        return f"violation-{delivery.violation_id}"
    return f"outage-{delivery.outage_id}" if delivery.outage_id else f"{delivery.event}-{delivery.about}"


def topic(tag: str) -> str:
    """At most 32 characters (RFC 8030, section 5.4): a waiting message of the same topic is replaced."""
    return hashlib.sha256(tag.encode()).hexdigest()[:32]


# -- keys -------------------------------------------------------------------------------------------------------------


def encrypt(data: bytes, subscription: PushSubscription) -> bytes:
    try:
        return bytes(
            http_ece.encrypt(
                data, private_key=ec.generate_private_key(ec.SECP256R1()), dh=unpadded(subscription.p256dh),
                auth_secret=unpadded(subscription.auth), version="aes128gcm",
            )
        )  # fmt: skip
    except (ValueError, http_ece.ECEException) as error:
        raise SendError(_("The browser's key cannot be used. Switch notifications off there, and on again."),
                        permanent=True) from error  # fmt: skip


def signature(endpoint: str) -> dict[str, str]:
    parts = urlsplit(endpoint)
    contact = settings.BASE_URL if settings.BASE_URL.startswith("https://") else "mailto:portal@localhost"
    claims = {
        "aud": f"{parts.scheme}://{parts.netloc}",
        "exp": str(int(time.time()) + SIGNED_FOR_S),
        "sub": contact,
    }
    return dict(vapid(key_path()).sign(claims))


def public_key() -> str:
    """What a browser subscribes with, base64url without padding."""
    raw = vapid(key_path()).public_key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def key_path() -> Path:
    return Path(settings.DATA_DIR) / "keys" / "push.pem"


@cache
def vapid(path: Path) -> Vapid02:
    """The portal's key, made once, 0600. Two processes may do so at once: the one that links its file first wins."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = Vapid02()
        made.generate_keys()
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(made.private_pem())
        try:
            os.link(scratch, path)
        except FileExistsError:
            pass
        finally:
            scratch.unlink()
    return Vapid02.from_file(str(path))


def unpadded(text: str) -> bytes:
    """base64url, with or without padding, as bytes; raises ValueError."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
