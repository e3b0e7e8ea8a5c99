"""What follows from a row: a single list, called in one place, in the transaction that wrote the row.

    follow(ViolationChange(violation, camera, bare_since, is_new=True))

A follow-up is a function of one change, and ignores changes that do not concern it. What it sends goes out on commit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cameras.models import Camera
from portal.events import feed
from portal.models import Passage, Violation
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
    """

    violation: Violation
    camera: Camera
    bare_since: datetime
    is_new: bool = False
    is_shown: bool = True


@dataclass(frozen=True)
class CameraChange:
    """A camera's state changed, or an outage began or ended."""

    camera: Camera


Change = PassageChange | ViolationChange | CameraChange


def tell_pages(change: Change) -> None:
    """Tell open pages through the site's feed."""
    match change:
        case ViolationChange(is_shown=True):
            feed.publish(change.violation, to_review=int(change.is_new))
        case CameraChange():
            feed.publish_camera(change.camera.pk, change.camera.site_id)


def remind(change: Change) -> None:
    """Decide whether the door says something."""
    match change:
        case ViolationChange():
            reminding.consider_violation(change.violation, change.camera, change.bare_since)
        case PassageChange():
            reminding.consider_passage(change.passage, change.camera)


FOLLOW_UPS: tuple[Callable[[Change], None], ...] = (tell_pages, remind)


def follow(change: Change) -> None:
    """Run all follow-ups of a row that was just written; call it within the transaction that wrote it."""
    for follow_up in FOLLOW_UPS:
        follow_up(change)
