"""Names of topics, and what is published there now. Ids are those of the database: a rename changes none."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q

from cameras.models import Camera, Site
from cameras.states import CameraState
from portal.alerts.happenings import iso
from portal.models import Delivery, Passage, policy_of
from portal.models.events import WearLabel

VERSION = "v1"
ONLINE, OFFLINE, PAUSED = "online", "offline", "paused"
A_MINUTE, AN_HOUR = timedelta(minutes=1), timedelta(hours=1)
SURE = (WearLabel.MASK, WearLabel.NO_MASK, WearLabel.INCORRECT)


@dataclass(frozen=True)
class Publication:
    """One message."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False

    def under(self, prefix: str) -> Publication:
        return replace(self, topic=f"{prefix}/{VERSION}/{self.topic}")


def as_json(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def of_delivery(delivery: Delivery) -> Publication:
    """An event of the outbox, under its site, and its camera if it is about a violation."""
    body = delivery.body | {"delivery": str(delivery.key), "at": iso(delivery.happened_at)}
    if delivery.violation_id is not None:
        return Publication(f"{delivery.site_id}/{delivery.camera_id}/violation", as_json(body))
    return Publication(f"{delivery.site_id}/alarm", as_json(body))


def state_of(camera: Camera) -> str:
    """The state of a camera that was read with its lease, in the contract's three words."""
    if camera.paused:
        return PAUSED
    lease = getattr(camera, "lease", None)
    return ONLINE if lease is not None and lease.state == CameraState.ONLINE else OFFLINE


def speaks(camera: Camera) -> bool:
    """Whether its door speaks; read with its voice."""
    voice = getattr(camera, "voice", None)
    return voice is not None and voice.output != voice.Output.NOWHERE and not voice.is_muted


def present(cameras: Iterable[Camera]) -> list[Publication]:
    """What is retained of each camera, as it is now."""
    found = []
    for camera in cameras:
        base = f"{camera.site_id}/{camera.pk}"
        found.append(Publication(f"{base}/state", state_of(camera).encode(), retain=True))
        found.append(Publication(f"{base}/reminder", b"on" if speaks(camera) else b"off", retain=True))
    return found


def people(cameras: Iterable[Camera], now: datetime) -> list[Publication]:
    """Whom each camera saw in the last minute. One query."""
    counts: dict[int, dict[str, int]] = defaultdict(lambda: {label.value: 0 for label in WearLabel})
    ids = {camera.pk: camera.site_id for camera in cameras}
    rows = Passage.asked().filter(site__in=set(ids.values()), started_at__gt=now - A_MINUTE, started_at__lte=now)
    for camera_id, label, count in rows.values_list("camera_id", "label").annotate(Count("pk")):
        counts[camera_id][label] = count
    return [
        Publication(f"{site_id}/{pk}/people", as_json(counts[pk] | {"at": iso(now)}), qos=0)
        for pk, site_id in ids.items()
    ]


def compliance(sites: Iterable[Site], now: datetime) -> list[Publication]:
    """How many of the people seen wore a mask, in the last hour and in each site's own day. One query."""
    sites = list(sites)
    midnights = {site.pk: site.midnight(site.local(now).date()) for site in sites}
    today = Q(pk__in=[])
    for site_id, midnight in midnights.items():
        today |= Q(site=site_id, started_at__gte=min(midnight, now - AN_HOUR))
    hour, mask = Q(started_at__gt=now - AN_HOUR), Q(label=WearLabel.MASK)
    since_midnight = Q(pk__in=[])
    for site_id, midnight in midnights.items():
        since_midnight |= Q(site=site_id, started_at__gte=midnight)
    rows = Passage.asked().filter(today, label__in=SURE).values("site_id")
    counted: dict[int, Any] = {
        row["site_id"]: row
        for row in rows.annotate(
            hour=Count("pk", filter=hour), hour_masked=Count("pk", filter=hour & mask),
            day=Count("pk", filter=since_midnight), day_masked=Count("pk", filter=since_midnight & mask),
        )
    }  # fmt: skip
    found = []
    for site in sites:
        row = counted.get(site.pk, {})
        body = {
            "site": {"id": site.pk, "name": site.name},
            "goal": policy_of(site).mask_goal,
            "last_hour": share(row.get("hour", 0), row.get("hour_masked", 0)),
            "today": share(row.get("day", 0), row.get("day_masked", 0)),
        }
        found.append(Publication(f"{site.pk}/compliance", as_json(body), retain=True))
    return found


def share(seen: int, masked: int) -> dict[str, Any]:
    """Never a rate without its denominator; null if nobody was seen."""
    return {"seen": seen, "masked": masked, "percent": round(100 * masked / seen, 1) if seen else None}


def cameras_now() -> list[Camera]:
    """All cameras that there are, with what is published of them. One query."""
    rows = Camera.objects.filter(deleted_at=None, site__archived_at=None)
    return list(rows.select_related("site__policy", "lease", "voice").order_by("pk"))
