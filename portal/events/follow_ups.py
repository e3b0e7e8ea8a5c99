"""What follows from a row: a single list, called in one place, in the transaction that wrote the row.

    follow(ViolationChange(violation, camera, bare_since, is_new=True))

Each follow-up ignores changes that do not concern it. What it sends goes out on commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from cameras.models import Camera
from detection.zones import NOT_REQUIRED, REQUIRED
from portal.alerts import happenings
from portal.events import feed
from portal.figures import counters, hours
from portal.models import Passage, Reminder, Violation
from portal.voice import reminding


@dataclass(frozen=True)
class PassageChange:
    """A person arrived, is still there, or left."""

    passage: Passage
    camera: Camera


@dataclass(frozen=True)
class ViolationChange:
    """A violation was opened, continues, or ended.

    Args:
        bare_since: when the person was last seen masked, or arrived; a reopened violation began before that.
        is_shown: whether something changed that a page shows; a person who merely stays unchanged is not news there.
        demand: where masks are only recommended, the door asks, and nobody is told.
    """

    violation: Violation
    camera: Camera
    bare_since: datetime
    is_new: bool = False
    is_shown: bool = True
    demand: str = REQUIRED


@dataclass(frozen=True)
class CameraChange:
    """A camera's state changed, or an outage began or ended."""

    camera: Camera


@dataclass(frozen=True)
class ReviewChange:
    """A person decided about violations of one site, given as they now are, with camera and site."""

    violations: tuple[Violation, ...]


Change = PassageChange | ViolationChange | CameraChange | ReviewChange


def follow(change: Change) -> None:
    """Do all that follows from a row that was just written; call it within the transaction that wrote it."""
    tell_pages(change)
    reminder = remind(change)
    tell_elsewhere(change, reminder)
    count_anew(change)
    count_for_monitors(change)


def tell_pages(change: Change) -> None:
    """Tell open pages through the site's feed. A review numbers all of its violations at once, by itself."""
    match change:
        case ViolationChange(is_shown=True):
            feed.publish(change.violation, to_review=int(change.is_new))
        case CameraChange():
            feed.publish_camera(change.camera.pk, change.camera.site_id)


def remind(change: Change) -> Reminder | None:
    """Decide whether the door says something about a violation; returns what was decided now."""
    match change:
        case ViolationChange():
            return reminding.consider_violation(change.violation, change.camera, change.bare_since)
        case PassageChange():
            reminding.consider_passage(change.passage, change.camera)
    return None


def tell_elsewhere(change: Change, reminder: Reminder | None) -> None:
    """Tell people and systems elsewhere, as the site's rules say. Outages are told by portal/alerts/outages.py."""
    match change:
        case ViolationChange():
            happenings.violation_changed(
                change.violation, change.camera, is_new=change.is_new, is_shown=change.is_shown, reminder=reminder,
                for_people=change.is_new and change.demand == REQUIRED,
            )  # fmt: skip
        case ReviewChange():
            happenings.violations_reviewed(change.violations)


def count_anew(change: Change) -> None:
    """Note that an hour whose figures were counted already has changed."""
    match change:
        case PassageChange():
            hours.note_late(change.passage.site_id, change.passage.started_at)
        case ViolationChange() if change.is_new or change.violation.ended_at is not None:
            hours.note_late_people([change.violation.passage_id])
        case ReviewChange():
            hours.note_late_people([each.passage_id for each in change.violations])


def count_for_monitors(change: Change) -> None:
    """Counts that only grow, for /metrics: people who have left, and violations that were opened."""
    match change:
        case PassageChange() if change.passage.ended_at is not None and change.passage.demand != NOT_REQUIRED:
            counters.add("passages", change.camera.pk, change.passage.label)
        case ViolationChange(is_new=True):
            counters.add("violations", change.camera.pk, change.violation.label)
            counters.observe("alert", (timezone.now() - change.violation.last_seen_at).total_seconds())
