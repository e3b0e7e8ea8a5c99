"""What messages to people say, in their language: the same for e-mail, push and chats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import formats
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from cameras.models import Site
from portal.models import Delivery
from portal.people.stored_words import in_own_language

Event = Delivery.Event
MOST_ITEMS = 20


@dataclass(frozen=True)
class Item:
    """One of several things of which a message tells."""

    text: str
    link: str = ""


@dataclass(frozen=True)
class Notification:
    """What is said. `subject` fits into a line; `link` leads to the page where something can be done about it."""

    subject: str
    text: str
    link: str
    action: str
    items: list[Item] = field(default_factory=list)
    more: int = 0  # items that are not listed


def word(batch: Sequence[Delivery]) -> Notification:
    """The message for deliveries that are sent together: of one lane, event and site, and one camera if it is known.

    Call it with the receiver's language activated.
    """
    event = Event(batch[0].event)
    if event in VIOLATION_EVENTS:
        return _violations(batch)
    if event in OUTAGE_SUBJECTS:
        return _outages(batch)
    return _OTHERS[event](batch[-1])


def link_of(delivery: Delivery) -> str:
    """A link that notes that its receiver has seen it, and then leads on."""
    return f"{settings.BASE_URL}{reverse('told', args=[delivery.key])}"


def clock(site: Site, moment: datetime) -> str:
    """A time of day at the site."""
    return f"{site.local(moment):%H:%M}"


def moment(site: Site, at: datetime) -> str:
    return f"{formats.date_format(site.local(at), 'SHORT_DATE_FORMAT')}, {clock(site, at)}"


VIOLATION_EVENTS = frozenset(
    {Event.VIOLATION_OPENED, Event.VIOLATION_UPDATED, Event.VIOLATION_CLOSED, Event.VIOLATION_REVIEWED}
)


def _violations(batch: Sequence[Delivery]) -> Notification:
    last = batch[-1]
    names = names_of(last)
    if last.event == Event.VIOLATION_CLOSED:
        masked_at = last.violation and last.violation.masked_at
        subject = (
            _("Now with a mask: %(camera)s, %(site)s") if masked_at else _("Person has left: %(camera)s, %(site)s")
        )
        return Notification(_line(subject % names), _at(last), link_of(last), _("Review it"))
    if len(batch) == 1:
        wrong = last.violation is not None and last.violation.label == "incorrect"
        subject = _("Mask worn wrongly: %(camera)s, %(site)s") if wrong else _("No mask: %(camera)s, %(site)s")
        return Notification(_line(subject % names), _at(last), link_of(last), _("Review it"))
    subject = ngettext(
        "%(count)d person without a mask: %(camera)s, %(site)s",
        "%(count)d people without a mask: %(camera)s, %(site)s",
        len(batch),
    )  # fmt: skip
    first_at, last_at = clock(last.site, batch[0].happened_at), clock(last.site, last.happened_at)
    text = _("Between %(first)s and %(last)s (%(zone)s).") % {
        "first": first_at, "last": last_at, "zone": last.site.time_zone,
    }  # fmt: skip
    items = [Item(clock(row.site, row.happened_at), link_of(row)) for row in batch[-MOST_ITEMS:]]
    said = _line(subject % (names | {"count": len(batch)}))
    return Notification(said, text, link_of(last), _("Review it"), items, len(batch) - len(items))


def _at(delivery: Delivery) -> str:
    violation = delivery.violation
    at = violation.started_at if violation else delivery.happened_at
    words = {"at": moment(delivery.site, at), "zone": delivery.site.time_zone}
    if violation is not None and violation.ended_at is not None:
        return _("From %(at)s until %(end)s (%(zone)s).") % (words | {"end": clock(delivery.site, violation.ended_at)})
    return _("Since %(at)s (%(zone)s).") % words


# Of one camera, by its name; and of several.
OUTAGE_SUBJECTS = {
    Event.OUTAGE_BEGAN: (
        gettext_lazy("%(camera)s at %(site)s is down"),
        ngettext_lazy("%(count)d camera at %(site)s is down", "%(count)d cameras at %(site)s are down", "count"),
    ),
    Event.OUTAGE_HOUR: (
        gettext_lazy("%(camera)s at %(site)s has been down for an hour"),
        ngettext_lazy(
            "%(count)d camera at %(site)s has been down for an hour",
            "%(count)d cameras at %(site)s have been down for an hour",
            "count",
        ),
    ),
    Event.OUTAGE_DAY: (
        gettext_lazy("%(camera)s at %(site)s has been down for a day"),
        ngettext_lazy(
            "%(count)d camera at %(site)s has been down for a day",
            "%(count)d cameras at %(site)s have been down for a day",
            "count",
        ),
    ),
    Event.OUTAGE_ENDED: (
        gettext_lazy("%(camera)s at %(site)s is back"),
        ngettext_lazy("%(count)d camera at %(site)s is back", "%(count)d cameras at %(site)s are back", "count"),
    ),
}


def _outages(batch: Sequence[Delivery]) -> Notification:
    last = batch[-1]
    subject = OUTAGE_SUBJECTS[Event(last.event)][len(batch) > 1] % (names_of(last) | {"count": len(batch)})
    if len(batch) == 1:
        return Notification(_line(subject), _outage(last), link_of(last), _("Look at the camera"))
    items = [Item(f"{row.camera}: {_outage(row)}", link_of(row)) for row in batch[:MOST_ITEMS]]
    text = _("They failed together: it may be the network, a switch, or power.") if together(batch) else ""
    if last.event == Event.OUTAGE_ENDED:
        text = _("Their pictures are back.")
    return Notification(_line(subject), text, link_of(last), _("Look at the camera"), items, len(batch) - len(items))


def together(batch: Sequence[Delivery]) -> bool:
    """Whether these outages began within a minute of each other."""
    began = [row.outage.began_at for row in batch if row.outage is not None]
    return bool(began) and (max(began) - min(began)).total_seconds() < 60


def _outage(delivery: Delivery) -> str:
    outage, site = delivery.outage, delivery.site
    if outage is None:
        return ""
    words = {"began": moment(site, outage.began_at), "zone": site.time_zone, "reason": in_own_language(outage.reason)}
    if outage.ended_at is not None:
        words["ended"] = moment(site, outage.ended_at)
        return _("It was down from %(began)s until %(ended)s (%(zone)s). %(reason)s") % words
    return (_("Nothing has been seen there since %(began)s (%(zone)s). %(reason)s") % words).strip()


def _repeated(delivery: Delivery) -> Notification:
    subject = _("Again and again without a mask: %(camera)s, %(site)s") % names_of(delivery)
    count = int(delivery.body.get("violations", 0))
    text = ngettext(
        "One violation within the last hour.", "%(count)d violations within the last hour.", count
    ) % {"count": count}  # fmt: skip
    return Notification(_line(subject), text, link_of(delivery), _("Review them"))


def _no_worker(delivery: Delivery) -> Notification:
    subject = _("The cameras at %(site)s are not being watched") % names_of(delivery)
    text = _(
        "No worker is running for them, so nothing that happens there now is seen. The operator of the "
        "portal can start one."
    )
    return Notification(_line(subject), text, link_of(delivery), _("Look at the cameras"))


def _portal(delivery: Delivery) -> Notification:
    return Notification(
        _("The mask portal needs attention"), str(delivery.body.get("text", "")), link_of(delivery), _("Open it")
    )


def _figures(delivery: Delivery) -> Notification:
    body, site = delivery.body, delivery.site
    first, last = (date.fromisoformat(body[name]) for name in ("first_day", "last_day"))
    days = formats.date_format(first, "SHORT_DATE_FORMAT")
    if last != first:
        days = f"{days} – {formats.date_format(last, 'SHORT_DATE_FORMAT')}"
    subject = _("%(site)s, %(days)s") % {"site": site.name, "days": days}
    items = [Item(text) for text in _to_look_at(body)]
    return Notification(_line(subject), " ".join(_sentences(body)), link_of(delivery), _("Open the figures"), items)


def _sentences(body: dict[str, Any]) -> list[str]:
    seen, masked = int(body["seen"]), int(body["masked"])
    if not seen:
        found = [_("Nobody was seen.")]
    else:
        share = _("%(masked)d of %(seen)d people seen wore a mask (%(share)s%%; the goal is %(goal)d%%).")
        words = {"masked": masked, "seen": seen, "share": formats.localize(body["percent"]), "goal": body["goal"]}
        found = [share % words]
    if body.get("change"):
        change = formats.localize(abs(body["change"]))
        more, less = _("%(points)s points more than before."), _("%(points)s points less than before.")
        found.append((more if body["change"] >= 0 else less) % {"points": change})
    if body.get("coverage") is not None:
        found.append(
            _("The cameras were watching for %(share)s%% of the time.") % {"share": formats.localize(body["coverage"])}
        )
    if body["to_review"]:
        found.append(
            ngettext("One violation needs review.", "%(count)d violations need review.", body["to_review"])
            % {"count": body["to_review"]}
        )
    return found


def _to_look_at(body: dict[str, Any]) -> list[str]:
    """What to do something about: the worst hours, cameras that were down, spots dismissed again and again."""
    found = []
    for each in body.get("worst_hours", []):
        said = _("%(day)s, %(hour)d:00: %(bare)d of %(seen)d without a mask")
        found.append(said % {**each, "day": WEEKDAYS[each["weekday"]]})
    for each in body.get("cameras_down", []):
        said = ngettext(
            "%(name)s was down once, for %(hours)s hours", "%(name)s was down %(times)d times, for "
                                        "%(hours)s hours in all",
            each["times"],
        )  # fmt: skip
        found.append(said % {**each, "hours": formats.localize(each["hours"])})
    for each in body.get("dismissed_at", []):
        said = _("%(name)s: %(times)d dismissed. Is there a poster, a mirror or a shadow in its picture?")
        found.append(said % each)
    return found


def _test(delivery: Delivery) -> Notification:
    subject = _("A test from %(site)s") % names_of(delivery)
    return Notification(
        _line(subject), _("It arrived: messages from this site will reach you here."), link_of(delivery), _("Open it")
    )


_OTHERS = {
    Event.REPEATED: _repeated, Event.NO_WORKER: _no_worker, Event.PORTAL: _portal, Event.DAILY: _figures,
    Event.WEEKLY: _figures, Event.TEST: _test,
}  # fmt: skip


def names_of(delivery: Delivery) -> dict[str, Any]:
    return {"camera": delivery.camera.name if delivery.camera else "", "site": delivery.site.name}


def _line(text: str) -> str:
    """In one line: a name may hold a line break, and a header must not."""
    return " ".join(text.split())


def target_of(delivery: Delivery) -> str:
    """The path of the page where something can be done about it."""
    event = Event(delivery.event)
    if delivery.violation_id is not None:
        return reverse("violation", args=[delivery.violation_id])
    if event == Event.REPEATED and delivery.camera_id:
        return f"{reverse('violations')}?status=open&camera={delivery.camera_id}"
    if event in (Event.DAILY, Event.WEEKLY):
        return str(delivery.body.get("path") or reverse("figures"))
    if delivery.camera_id is not None:
        return reverse("camera", args=[delivery.camera_id])
    return reverse("dashboard")
