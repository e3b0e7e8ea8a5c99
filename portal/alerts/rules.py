"""Who is told what: the only place that makes deliveries. Call it in the transaction of what happened.

    tell(Happening(site, Event.OUTAGE_BEGAN, topic=Topic.OUTAGE, about="17", camera=camera, outage=outage))

A site's rules say to whom. People get one message, and what follows at the same camera within WINDOW waits and becomes
one more (portal/alerts/outbox.py sends together what waits together): each happening has its row, so nothing is
dropped, and one camera's flood holds back no other's. Other systems get everything at once. No row is made for what
nobody asked for, and none twice: what a happening is about is told once in each lane.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, prefetch_related_objects
from django.utils import timezone

from cameras.models import Camera, Outage, Site
from portal.alerts import waking
from portal.models import CameraQuiet, Delivery, Membership, PushSubscription, Rule, Topic, User, Violation

Event: TypeAlias = Delivery.Event
Channel: TypeAlias = Delivery.Channel
WINDOW = timedelta(minutes=10)
OPENED, CLOSED = Event.VIOLATION_OPENED, Event.VIOLATION_CLOSED
WINDOWED = frozenset({OPENED, Event.OUTAGE_BEGAN, Event.OUTAGE_ENDED})
MQTT_LANE = "mqtt"
FOR_MQTT = frozenset({
    Event.VIOLATION_OPENED, Event.VIOLATION_UPDATED, Event.VIOLATION_CLOSED, Event.VIOLATION_REVIEWED,
    Event.OUTAGE_BEGAN, Event.OUTAGE_ENDED, Event.NO_WORKER, Event.PORTAL,
})  # fmt: skip


@dataclass(frozen=True)
class Happening:
    """Something that may be worth telling.

    Args:
        about: which one it is; the same event about the same thing is told once in each lane.
        body: what other systems get, as it is now.
        for_people: whether people are told too, or only other systems.
        after: people are told no sooner than this later, together with what else happens until then.
    """

    site: Site
    event: Delivery.Event
    topic: Topic
    about: str
    body: dict[str, Any] = field(default_factory=dict)
    camera: Camera | None = None
    violation: Violation | None = None
    outage: Outage | None = None
    at: datetime = field(default_factory=timezone.now)
    for_people: bool = True
    after: timedelta = timedelta(0)


def tell(*happenings: Happening) -> int:
    """Make the rows; returns how many. One query if no rule is about it, about ten for any number of happenings."""
    rules = rules_about(happenings)
    rows = [row for each in happenings for row in for_systems(each, rules)]
    if any(rules.values()):
        people = People({each.site.pk for each in happenings if rules[id(each)]})
        to_people = [(each, for_people(each, rules[id(each)], people)) for each in happenings]
        put_off(to_people)
        rows += [row for _happening, made in to_people for row in made]
    return write(rows)


def write(rows: list[Delivery]) -> int:
    """Store those that are new, and wake the sender when they are committed; returns how many. Two queries."""
    if not rows:
        return 0
    told = set(
        Delivery.objects.filter(
            lane__in={row.lane for row in rows}, event__in={row.event for row in rows},
            about__in={row.about for row in rows},
        ).values_list("lane", "event", "about")
    )  # fmt: skip
    new: dict[tuple[str, str, str], Delivery] = {}
    for row in rows:
        name = (row.lane, row.event, row.about)
        if name not in told:
            new.setdefault(name, row)
    if new:
        Delivery.objects.bulk_create(new.values(), ignore_conflicts=True)  # another process may be as quick
        transaction.on_commit(waking.wake, robust=True)
    return len(new)


def rules_about(happenings: Iterable[Happening]) -> dict[int, list[Rule]]:
    """The rules about each happening, by its identity; with what they lead to already fetched."""
    happenings = list(happenings)
    all_rules = Rule.objects.filter(site__in={each.site.pk for each in happenings}, is_on=True)
    by_site: dict[int, list[Rule]] = defaultdict(list)
    for rule in all_rules.select_related("site__policy"):
        by_site[rule.site_id].append(rule)
    found = {
        id(each): [rule for rule in by_site[each.site.pk] if each.topic in rule.topics and applies(rule, each)]
        for each in happenings
    }
    due = list({rule.pk: rule for rules in found.values() for rule in rules}.values())
    prefetch_related_objects(due, "cameras", "people", "stopped_by", "destinations")
    for each in happenings:
        if each.camera is not None:
            found[id(each)] = [rule for rule in found[id(each)] if concerns(rule, each.camera)]
    return found


def applies(rule: Rule, happening: Happening) -> bool:
    """Whether a rule is in force. Figures come in the morning, whatever its hours; repetition has the rule's number."""
    if happening.topic in (Topic.DAILY, Topic.WEEKLY):
        return True
    if happening.topic == Topic.REPEATED and happening.body.get("violations", 0) < rule.repeats:
        return False
    return rule.is_due(happening.at)


def concerns(rule: Rule, camera: Camera) -> bool:
    chosen = {each.pk for each in rule.cameras.all()}
    return not chosen or camera.pk in chosen


def for_systems(happening: Happening, rules: dict[int, list[Rule]]) -> list[Delivery]:
    """Rows for other systems: MQTT, and the webhooks of the rules."""
    rows = []
    if settings.MQTT_URL and happening.event in FOR_MQTT:
        row = new_row(happening, MQTT_LANE, Channel.MQTT)
        row.about = f"{happening.site.pk}:{row.about}"  # one lane for all sites, each of which has topics of its own
        rows.append(row)
    for rule in rules[id(happening)]:
        rows += for_destinations(happening, rule, machines=True)
    return rows


def for_destinations(happening: Happening, rule: Rule, *, machines: bool) -> list[Delivery]:
    """Rows for the destinations of a rule: other systems, or chats that people read."""
    return [
        new_row(happening, f"{Channel.DESTINATION}:{each.pk}", Channel.DESTINATION, rule, destination=each)
        for each in rule.destinations.all()
        if each.is_machine == machines
    ]


def new_row(
    happening: Happening, lane: str, channel: Delivery.Channel, rule: Rule | None = None, **whom: Any
) -> Delivery:
    return Delivery(
        site_id=happening.site.pk, camera=happening.camera, violation=happening.violation, outage=happening.outage,
        event=happening.event, about=happening.about, body=happening.body, rule=rule, lane=lane, channel=channel,
        happened_at=happening.at, **whom,
    )  # fmt: skip


class People:
    """Who may be told at these sites, and by which browsers; read once for many happenings."""

    def __init__(self, site_ids: set[int]) -> None:
        members = Membership.objects.filter(site__in=site_ids, user__is_active=True).select_related("user")
        self._roles: dict[int, dict[int, tuple[User, str]]] = defaultdict(dict)
        for member in members:
            self._roles[member.site_id][member.user_id] = (member.user, member.role)
        self._push: dict[int, list[PushSubscription]] | None = None
        quiet = CameraQuiet.objects.filter(camera__site__in=site_ids, until__gt=timezone.now())
        self.quiet = set(quiet.values_list("camera_id", flat=True))

    def named_by(self, rule: Rule) -> list[User]:
        """The people whom a rule names by role or by name, who may still look at the site and have not stopped it."""
        here = self._roles[rule.site_id]
        stopped = {user.pk for user in rule.stopped_by.all()}
        by_role = [user for user, role in here.values() if role in rule.roles]
        by_name = [user for user in rule.people.all() if self.is_here(rule.site_id, user)]
        return [user for pk, user in {user.pk: user for user in (*by_role, *by_name)}.items() if pk not in stopped]

    def is_here(self, site_id: int, user: User) -> bool:
        return user.is_active and (user.is_superuser or user.pk in self._roles[site_id])

    def browsers(self, user: User) -> list[PushSubscription]:
        if self._push is None:
            self._push = defaultdict(list)
            for row in PushSubscription.objects.all() if len(self._roles) > 1 else self._of_site():
                self._push[row.user_id].append(row)
        return self._push.get(user.pk, [])

    def _of_site(self) -> Iterable[PushSubscription]:
        members = {pk for people in self._roles.values() for pk in people}
        return PushSubscription.objects.filter(user_id__in=members) | PushSubscription.objects.filter(
            user__is_superuser=True
        )


def for_people(happening: Happening, rules: list[Rule], people: People) -> list[Delivery]:
    """Rows for people, and for the chats that they read."""
    if happening.event == CLOSED and happening.violation is not None:
        return closing(happening)
    if not happening.for_people or (happening.camera and happening.camera.pk in people.quiet):
        return []
    rows: dict[str, Delivery] = {}
    for rule in rules:
        told = [row for user in people.named_by(rule) for row in for_person(happening, rule, user, people)]
        for row in (*told, *for_destinations(happening, rule, machines=False)):
            rows.setdefault(row.lane, row)
    return list(rows.values())


def for_person(happening: Happening, rule: Rule, user: User, people: People) -> list[Delivery]:
    """By what a rule tells a person: e-mail if the portal has a mail server, and each of their browsers."""
    rows = []
    if rule.by_email and settings.EMAIL_URL:
        rows.append(new_row(happening, f"{Channel.EMAIL}:{user.pk}", Channel.EMAIL, rule, receiver=user))
    if rule.by_push:
        for browser in people.browsers(user):
            rows.append(new_row(happening, f"{Channel.PUSH}:{browser.pk}", Channel.PUSH, rule, receiver=user))
    return rows


def put_off(told: Sequence[tuple[Happening, list[Delivery]]]) -> None:
    """What comes soon after the last message about a camera waits for the end of the window. One query."""
    now = timezone.now()
    for happening, rows in told:
        for row in rows:
            row.next_at = now + happening.after
    windowed = [row for happening, rows in told for row in rows if happening.event in WINDOWED]
    if not windowed:
        return
    lately = Delivery.objects.filter(
        lane__in={row.lane for row in windowed}, camera__in={row.camera_id for row in windowed},
        event__in={row.event for row in windowed}, created_at__gt=now - 2 * WINDOW,
    ).exclude(about__in={row.about for row in windowed})  # fmt: skip
    last = {tuple(key): at for *key, at in lately.values_list("lane", "camera_id", "event").annotate(Max("next_at"))}
    for row in windowed:
        before = last.get((row.lane, row.camera_id, row.event))
        if before is not None and before + WINDOW > now:
            row.next_at = before if before > now else before + WINDOW


def closing(happening: Happening) -> list[Delivery]:
    """A notification that lies on somebody's screen is replaced: this person is gone, or wears a mask.

    Only one that was sent, and alone: what still waits will say it, and one about several people stays.
    """
    together = Delivery.objects.filter(
        lane=OuterRef("lane"), camera=OuterRef("camera"), event=OPENED, sent_at=OuterRef("sent_at")
    ).exclude(pk=OuterRef("pk"))
    opened = Delivery.objects.filter(
        ~Exists(together), violation=happening.violation, event=OPENED, channel=Channel.PUSH,
        state=Delivery.State.SENT,
    )  # fmt: skip
    return [
        new_row(happening, row.lane, Channel.PUSH, row.rule, receiver=row.receiver)
        for row in opened.select_related("rule", "receiver")
    ]
