"""The only place where an event of a site gets its number and is sent to open pages.

    with transaction.atomic():
        ...                                   # change a violation
        feed.publish(violation, to_review=+1)

The number is raised inside the caller's transaction, so numbers come in the order of commits: a page that has seen
number n has seen everything up to n. The message goes out on commit, and may be lost; the heartbeat carries the latest
number, and a page that is behind asks for what it missed.
"""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from django.db.models import BigIntegerField, Case, F, Value, When
from redis.exceptions import RedisError

from cameras.models import Camera
from portal.events import messages
from portal.models import SiteFeed, Violation

log = logging.getLogger(__name__)


def site_group(site_id: int) -> str:
    """The Channels group of all pages that may see this site."""
    return f"site.{site_id}"


def advance(site_id: int, to_review: int = 0) -> int:
    """The next number of this site's feed; `to_review` is added to the count of violations to review. In a transaction.

    Two queries, and a lock on the site's feed until the transaction ends.
    """
    changed = SiteFeed.objects.filter(pk=site_id).update(number=F("number") + 1, to_review=F("to_review") + to_review)
    if not changed:
        SiteFeed.objects.get_or_create(pk=site_id)
        return advance(site_id, to_review)
    return int(SiteFeed.objects.values_list("number", flat=True).get(pk=site_id))


def publish(*violations: Violation, to_review: int = 0) -> None:
    """Number this change to violations of one site, as one event, and send it on commit.

    `event_number` and `version` are stored, and `opened_number` the first time. Three queries for any number of them.
    """
    if not violations:
        return
    site_id, keys = violations[0].site_id, [violation.pk for violation in violations]
    number = advance(site_id, to_review)
    rows = Violation.objects.filter(pk__in=keys)
    rows.update(
        event_number=number,
        version=F("version") + 1,
        opened_number=Case(
            When(opened_number=0, then=Value(number)), default=F("opened_number"), output_field=BigIntegerField()
        ),
    )
    transaction.on_commit(lambda: _send_violations(site_id, keys), robust=True)


def publish_gone(site_id: int, violation_ids: list[str], to_review: int) -> None:
    """Tell open pages that these violations were deleted; `to_review` of them were still to review."""
    number = advance(site_id, -to_review)
    transaction.on_commit(lambda: _send(site_id, messages.gone(site_id, violation_ids, number)), robust=True)


def publish_camera(camera_id: int, site_id: int) -> None:
    """Tell open pages the state of a camera; not numbered, since only the latest state counts."""
    transaction.on_commit(lambda: _send_camera(site_id, camera_id), robust=True)


def _send_violations(site_id: int, keys: list[UUID]) -> None:
    """One query per event here, and none for each page that receives it."""
    for found in messages.with_names(Violation.objects.filter(pk__in=keys)):
        _send(site_id, messages.violation(found))


def _send_camera(site_id: int, camera_id: int) -> None:
    camera = Camera.objects.select_related("lease").filter(pk=camera_id).first()
    if camera is not None:
        _send(site_id, messages.camera(camera))


def _send(site_id: int, body: dict[str, Any]) -> None:
    message = {"type": "site.event", "body": body}
    layer = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(site_group(site_id), message)
    except (RedisError, OSError) as error:
        log.warning("an event was not pushed, pages will fetch it: %s", type(error).__name__)
