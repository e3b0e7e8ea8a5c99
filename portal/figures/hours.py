"""Counts what was seen into hours and days of each site's own clock.

    count(site, start, end)          # every hour from one moment to another, anew; days and the site's sums with them
    count_new(now)                   # run each minute: since the last round, and what has changed in older hours

An hour is always counted from its passages, violations, outages and pauses, never added to: so it does not matter in
which order findings come, or how often an hour is counted. Hours of which passages were deleted already are left as
they are: figures outlive faces.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, Min, OuterRef, Q, Subquery, Sum
from django.utils import timezone

from cameras.models import Camera, Outage, Reign, Site
from portal.models import Figures, FiguresState, LateHour, Passage, Pause, Reminder, Violation, policy_of

AN_HOUR = timedelta(hours=1)
STEP = timedelta(days=7)  # of a long time that is counted
Span, Status, Step = Figures.Span, Violation.Status, Reminder.Step
COUNTED_AS = {Violation.Reason.MASKED: "mask", Violation.Reason.UNCLEAR: "unsure"}  # who was dismissed as that
Key = tuple[int, datetime]  # a camera and the beginning of its hour
Counts = dict[str, int]


Stretch = tuple[datetime, datetime]  # began, ended


def hour_of(site: Site, moment: datetime) -> datetime:
    """When the hour of the site's clock began in which this moment lies, in UTC."""
    local = site.local(moment)
    past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    return (moment - past).astimezone(UTC)


# -- when -------------------------------------------------------------------------------------------------------------


def count_new(now: datetime | None = None) -> int:
    """Count what is new, or has changed; returns how many stretches of time were counted."""
    now = now or timezone.now()
    done = 0
    for site in Site.objects.filter(cameras__isnull=False).select_related("policy", "figures_state").distinct():
        state = getattr(site, "figures_state", None)
        since = state.until - AN_HOUR if state else first_moment(site, now)
        done += count(site, since, now, now)
        late = list(LateHour.objects.filter(site=site))  # what is noted while they are counted stays for the next round
        for start in sorted({row.start for row in late}):
            done += count(site, start, start, now)
        LateHour.objects.filter(pk__in=[row.pk for row in late]).delete()
        FiguresState.objects.update_or_create(site=site, defaults={"until": hour_of(site, now)})
    return done


def first_moment(site: Site, now: datetime) -> datetime:
    first = Passage.objects.filter(site=site).order_by("started_at").values_list("started_at", flat=True).first()
    cameras = Camera.objects.filter(site=site).order_by("created_at").values_list("created_at", flat=True).first()
    return min(each for each in (first, cameras, now) if each is not None)


def note_late(site_id: int, moment: datetime, now: datetime | None = None) -> None:
    """Something of this moment has changed. What is younger than an hour is counted anyway. In its transaction."""
    if (now or timezone.now()) - moment < AN_HOUR:
        return
    site = Site.objects.get(pk=site_id)
    LateHour.objects.create(site=site, start=hour_of(site, moment))


def note_late_people(passage_ids: Sequence[UUID]) -> None:
    """Violations of these people have changed: they count in the hour in which each came."""
    old = Passage.objects.filter(pk__in=passage_ids, started_at__lte=timezone.now() - AN_HOUR)
    rows = old.select_related("site")
    LateHour.objects.bulk_create([LateHour(site=row.site, start=hour_of(row.site, row.started_at)) for row in rows])


def count_all_anew(site: Site) -> None:
    """From the next round on: its clock is another one now, so its hours and days are too."""
    FiguresState.objects.filter(site=site).delete()


# -- what -------------------------------------------------------------------------------------------------------------


def count(site: Site, start: datetime, end: datetime, now: datetime | None = None) -> int:
    """Count every hour that touches this time, in steps of a week; returns how many steps."""
    now = now or timezone.now()
    kept_since = now - timedelta(days=policy_of(site).retention_days)
    start = max(hour_of(site, start), hour_of(site, kept_since) + AN_HOUR)  # of an older hour, passages may be gone
    end, steps = min(end, now), 0
    while start <= end:
        until = min(hour_of(site, start + STEP), hour_of(site, end) + AN_HOUR)
        _count_step(site, start, until, now)
        start, steps = until, steps + 1
    return steps


@transaction.atomic
def _count_step(site: Site, start: datetime, end: datetime, now: datetime) -> None:
    counts: dict[Key, Counts] = defaultdict(lambda: dict.fromkeys(Figures.COUNTS, 0))
    _add_people(site, start, end, counts)
    _add_violations(site, start, end, counts)
    _add_coverage(site, start, min(end, now), counts)
    Figures.objects.filter(site=site, span=Span.HOUR, start__gte=start, start__lt=end).delete()
    rows = [_row(site, camera, Span.HOUR, hour, values) for (camera, hour), values in counts.items()]
    by_hour: dict[datetime, Counts] = defaultdict(lambda: dict.fromkeys(Figures.COUNTS, 0))
    for (_camera, hour), values in counts.items():
        for name, value in values.items():
            by_hour[hour][name] += value
    rows += [_row(site, None, Span.HOUR, hour, values) for hour, values in by_hour.items()]
    Figures.objects.bulk_create(rows, batch_size=500)
    _sum_days(site, start, end)


def _row(site: Site, camera: int | None, span: Figures.Span, start: datetime, values: Counts) -> Figures:
    local = site.local(start)
    hour = local.hour if span == Span.HOUR else 0
    return Figures(
        site=site, camera_id=camera, span=span, start=start, day=local.date(), hour=hour, weekday=local.weekday(),
        **values,
    )  # fmt: skip


def _sum_days(site: Site, start: datetime, end: datetime) -> None:
    """The days that this time touches, as the sums of their hours."""
    first, last = site.local(start).date(), site.local(end - timedelta(microseconds=1)).date()
    Figures.objects.filter(site=site, span=Span.DAY, day__gte=first, day__lte=last).delete()
    hours = Figures.objects.filter(site=site, span=Span.HOUR, day__gte=first, day__lte=last)
    totals = {f"sum_{name}": Sum(name) for name in Figures.COUNTS}
    sums: Iterable[Any] = hours.values("camera_id", "day").annotate(**totals)
    Figures.objects.bulk_create(
        [
            _row(
                site, each["camera_id"], Span.DAY, site.midnight(each["day"]),
                {name: each[f"sum_{name}"] for name in Figures.COUNTS},
            )
            for each in sums
        ],
        batch_size=500,
    )  # fmt: skip


def _add_people(site: Site, start: datetime, end: datetime, counts: dict[Key, Counts]) -> None:
    """By what was last seen of each person; of whom a reviewer said that it was no violation, neither nor, unless that
    was for a mask after all, or as nobody can tell.

    People who were only where masks are not required say nothing about how well masks are worn: they do not count.
    """
    of_passage = Violation.objects.filter(passage=OuterRef("pk"))
    dismissed = Exists(of_passage.filter(status=Status.DISMISSED)) & ~Exists(
        of_passage.exclude(status=Status.DISMISSED)
    )
    rows = Passage.asked().filter(site=site, started_at__gte=start, started_at__lt=end)
    reason = of_passage.filter(status=Status.DISMISSED).order_by("-reviewed_at").values("reason")[:1]
    seen = rows.annotate(is_dismissed=dismissed, why=Subquery(reason))
    for camera, label, at, is_dismissed, why in seen.values_list(
        "camera_id", "label", "started_at", "is_dismissed", "why"
    ).iterator(2000):
        counts[camera, hour_of(site, at)][COUNTED_AS.get(why, "dismissed") if is_dismissed else label] += 1


def _add_violations(site: Site, start: datetime, end: datetime, counts: dict[Key, Counts]) -> None:
    """What reminders achieved: each violation counts in the hour in which its person came."""
    said = Reminder.objects.filter(Reminder.said(), violation=OuterRef("pk"), step__in=[Step.FIRST, Step.AGAIN])
    rows = Violation.objects.filter(site=site, passage__started_at__gte=start, passage__started_at__lt=end)
    found = rows.exclude(status=Status.DISMISSED).annotate(was_reminded=Exists(said))
    for camera, at, masked_at, was_reminded in found.values_list(
        "camera_id", "passage__started_at", "masked_at", "was_reminded"
    ):
        values = counts[camera, hour_of(site, at)]
        kind = "reminded" if was_reminded else "unasked"
        values[kind] += 1
        values[f"{kind}_masked"] += masked_at is not None


def _add_coverage(site: Site, start: datetime, end: datetime, counts: dict[Key, Counts]) -> None:
    """How long each camera watched in each hour, and how long it should have and did not.

    It watched while a worker held it, but for outages and pauses. While nobody held it (the portal was off, or no
    worker had room), it lost that time like in an outage.
    """
    cameras = Camera.objects.filter(site=site, created_at__lt=end).exclude(deleted_at__lte=start)
    there = {each.pk: (max(start, each.created_at), min(end, each.deleted_at or end)) for each in cameras}
    known = stretches(there, start, end)
    for camera, (begins, ends) in there.items():
        hour = hour_of(site, begins)
        while hour < ends:
            span = (max(hour, begins), min(hour + AN_HOUR, ends))
            paused = overlap(span, known["pauses"][camera])
            unwatched = [
                *known["outages"][camera],
                *known["pauses"][camera],
                *gaps(span, known["held"][camera]),
            ]
            watched = seconds(span) - overlap(span, unwatched)
            lost = seconds(span) - paused - watched
            if watched or lost > 0:
                counts[camera, hour]["watched_s"], counts[camera, hour]["lost_s"] = round(watched), round(lost)
            hour += AN_HOUR


def stretches(cameras: Iterable[int], start: datetime, end: datetime) -> dict[str, dict[int, list[Stretch]]]:
    """When each camera was paused, had an outage, and was held by a worker: by "pauses", "outages", "held"."""
    there = list(cameras)
    found: dict[str, dict[int, list[Stretch]]] = {name: defaultdict(list) for name in ("pauses", "outages", "held")}
    touching = Q(began_at__lt=end) & (Q(ended_at=None) | Q(ended_at__gt=start))
    for name, rows in (("pauses", Pause.objects.filter(touching)), ("outages", Outage.objects.filter(touching))):
        for camera, began_at, ended_at in rows.filter(camera__in=there).values_list(
            "camera_id", "began_at", "ended_at"
        ):
            found[name][camera].append((began_at, ended_at or end))
    held = Q(taken_at__lt=end) & (Q(ended_at=None) | Q(ended_at__gt=start))
    reigns = Reign.objects.filter(held, camera__in=there).values_list("camera_id", "taken_at", "ended_at")
    for camera, taken_at, ended_at in reigns:
        found["held"][camera].append((taken_at, ended_at or end))
    for camera, known_since in first_known(there).items():  # who held it before is not known any more
        found["held"][camera].append((min(start, known_since), known_since))
    return found


def seconds(span: tuple[datetime, datetime]) -> float:
    return max(0.0, (span[1] - span[0]).total_seconds())


def first_known(cameras: Iterable[int]) -> dict[int, datetime]:
    """Since when it is known who held each camera, for those of which the earliest reigns were deleted."""
    first = Reign.objects.filter(camera__in=cameras).order_by().values("camera_id")
    rows = first.annotate(since=Min("taken_at"), token=Min("token")).values_list("camera_id", "since", "token")
    return {camera: since for camera, since, token in rows if token > 1}


def gaps(span: tuple[datetime, datetime], held: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The parts of `span` in which none of these lasts."""
    found, reached = [], span[0]
    for began, ended in sorted(held):
        if began > reached:
            found.append((reached, min(began, span[1])))
        reached = max(reached, ended)
    return [*found, (reached, span[1])] if reached < span[1] else found


def overlap(span: tuple[datetime, datetime], others: Iterable[tuple[datetime, datetime]]) -> float:
    """For how many seconds of `span` at least one of the others lasts."""
    total, reached = 0.0, span[0]
    for began, ended in sorted(others):
        began, ended = max(began, reached), min(ended, span[1])
        if ended > began:
            total += (ended - began).total_seconds()
            reached = ended
    return total
