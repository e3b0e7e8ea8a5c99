"""What happens to violations, as it is told: to people in words, to other systems as data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from cameras.models import Camera
from portal.alerts.rules import Event, Happening, tell
from portal.models import Reminder, Rule, Topic, Violation
from portal.models.events import WearLabel
from portal.voice import reminding

AN_HOUR = timedelta(hours=1)


def violation_changed(
    violation: Violation,
    camera: Camera,
    *,
    is_new: bool,
    is_shown: bool,
    reminder: Reminder | None,
    for_people: bool,
) -> None:
    """Tell of a violation that was opened, goes on, or is over; in the transaction that wrote it.

    Args:
        for_people: else only other systems are told.
    """
    if is_new:
        event = Event.VIOLATION_OPENED
    elif is_shown and violation.ended_at is not None:
        event = Event.VIOLATION_CLOSED
    elif is_shown or (reminder is not None and not reminder.why_not):
        event = Event.VIOLATION_UPDATED
    else:
        return
    spoken = [reminder] if reminder is not None else []
    if not is_new:
        spoken = list(Reminder.objects.filter(violation=violation).order_by("decided_at"))
    about = str(violation.pk) if is_new else f"{violation.pk}:{violation.seq}"
    happening = Happening(
        camera.site, event, topic_of(violation), about, body_of(violation, camera, event, spoken), camera, violation,
        for_people=for_people,
    )  # fmt: skip
    again = repeated(violation, camera) if for_people else None
    tell(happening, *([again] if again else []))


def violations_reviewed(violations: Sequence[Violation]) -> None:
    """Tell other systems what a person decided; in the transaction of the review. Each is given as it now is."""
    spoken: dict[UUID | None, list[Reminder]] = defaultdict(list)
    for reminder in Reminder.objects.filter(violation__in=violations).order_by("decided_at"):
        spoken[reminder.violation_id].append(reminder)
    event = Event.VIOLATION_REVIEWED
    tell(
        *(
            Happening(
                each.camera.site, event, topic_of(each), f"{each.pk}:r{each.review_version}",
                body_of(each, each.camera, event, spoken[each.pk]), each.camera, each, for_people=False,
            )
            for each in violations
        )
    )  # fmt: skip


def repeated(violation: Violation, camera: Camera) -> Happening | None:
    """Once an hour: one camera sees people without a mask again and again. No query if no rule asks for it."""
    rules = [rule for rule in Rule.objects.filter(site=camera.site, is_on=True) if Topic.REPEATED in rule.topics]
    if not rules:
        return None
    now = timezone.now()
    lately = Violation.objects.filter(site=camera.site, camera=camera, started_at__gt=now - AN_HOUR).count()
    if lately < min(rule.repeats for rule in rules):
        return None
    body = {"event_type": "repeated", "camera": {"id": camera.pk, "name": camera.name}, "violations": lately}
    about = f"{camera.pk}:{now:%Y%m%d%H}"
    return Happening(camera.site, Event.REPEATED, Topic.REPEATED, about, body, camera)


def topic_of(violation: Violation) -> Topic:
    return Topic.INCORRECT if violation.label == WearLabel.INCORRECT else Topic.NO_MASK


def body_of(violation: Violation, camera: Camera, event: Event, spoken: Sequence[Reminder]) -> dict[str, Any]:
    """A violation as other systems get it (docs/mqtt.md): no face, and nothing that a person typed about it."""
    asked = [each.step for each in spoken if not each.why_not and each.step != Reminder.Step.THANKS]
    return {
        "event_type": event.value.rpartition(".")[2],
        "id": str(violation.pk),
        "site": {"id": camera.site.pk, "name": camera.site.name},
        "camera": {"id": camera.pk, "name": camera.name},
        "label": violation.label,
        "confidence": round(violation.confidence, 3),
        "box": [round(side, 4) for side in violation.box],
        "started_at": iso(violation.started_at),
        "ended_at": iso(violation.ended_at),
        "masked_at": iso(violation.masked_at),
        "reminder": asked[-1] if asked else None,
        "masked_after_s": reminding.masked_after_s(violation, spoken),
        "status": violation.status,
        "quiet": violation.quiet,
        "link": f"{settings.BASE_URL}{reverse('violation', args=[violation.pk])}",
    }


def iso(moment: datetime | None) -> str | None:
    """UTC with milliseconds (RFC 3339); None stays None."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds") if moment else None
