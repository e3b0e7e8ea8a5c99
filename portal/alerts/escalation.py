"""Nobody looked at it: the next person is asked, as the rule says, and after as long again the one after them.

Somebody has looked when a receiver opened the link of a message about it, when the violation is reviewed, or when the
camera is back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from portal.alerts.rules import WINDOW, People, for_person, put_off, write
from portal.alerts.rules import Happening as Told
from portal.models import Delivery, Rule, Topic, User, Violation

Event = Delivery.Event
DECIDED = (Violation.Status.CONFIRMED, Violation.Status.DISMISSED)
ASKED_ABOUT = (Event.VIOLATION_OPENED, Event.OUTAGE_BEGAN, Event.REPEATED, Event.NO_WORKER)


def consider(now: datetime | None = None) -> int:
    """Ask whoever is next; returns how many deliveries. One query if no rule asks for it."""
    now = now or timezone.now()
    rules = {
        rule.pk: rule
        for rule in Rule.objects.filter(is_on=True, next_after_min__isnull=False).prefetch_related("stopped_by")
        if rule.next_people
    }
    if not rules:
        return 0
    # By then everybody's turn has come. What nobody has to look at any more is not even read.
    longest = max((len(rule.next_people) + 1) * (rule.next_after_min or 1) for rule in rules.values())
    rows = Delivery.objects.filter(
        rule__in=rules, event__in=ASKED_ABOUT, created_at__gt=now - timedelta(minutes=longest) - 2 * WINDOW
    )
    rows = rows.exclude(outage__ended_at__isnull=False).exclude(violation__status__in=DECIDED)
    incidents: dict[tuple[int | None, str, str], list[Delivery]] = defaultdict(list)
    for row in rows.select_related("site", "camera", "violation", "outage").order_by("pk"):
        incidents[row.rule_id, row.event, row.about].append(row)
    waiting = [told for told in incidents.values() if not is_seen(told)]
    people = People({told[0].site_id for told in waiting})
    users = User.objects.in_bulk({pk for rule in rules.values() for pk in rule.next_people}) if waiting else {}
    made = [row for told in waiting for row in ask_next(told, rules[told[0].rule_id or 0], users, people, now)]
    with transaction.atomic():
        return write(made)


def is_seen(told: Iterable[Delivery]) -> bool:
    for row in told:
        if row.seen_at is not None:
            return True
        if row.violation is not None and row.violation.status != Violation.Status.OPEN:
            return True
        if row.outage is not None and row.outage.ended_at is not None:
            return True
    return False


def ask_next(
    told: list[Delivery], rule: Rule, users: dict[int, User], people: People, now: datetime
) -> Iterable[Delivery]:
    """Rows for those whose turn has come; who was told of it already gets no second message."""
    first = told[0]
    asked_at = min((row.sent_at or row.next_at for row in told if row.receiver_id is not None), default=None)
    if asked_at is None or first.camera_id in people.quiet:
        return
    turns = int((now - asked_at) / timedelta(minutes=rule.next_after_min or 1))
    stopped = {user.pk for user in rule.stopped_by.all()}
    reached = {row.receiver_id for row in told}
    for pk in rule.next_people[:turns]:
        user = users.get(pk)
        if user is None or pk in reached | stopped or not people.is_here(rule.site_id, user):
            continue
        happening = Told(
            first.site, Event(first.event), Topic.NO_MASK, first.about, first.body, first.camera, first.violation,
            first.outage, first.happened_at,
        )  # fmt: skip
        rows = for_person(happening, rule, user, people)
        put_off([(happening, rows)])
        yield from rows
