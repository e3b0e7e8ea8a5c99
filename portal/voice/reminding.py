"""Whether a door speaks: the only place that makes a Reminder.

It is decided where a finding becomes a row, in the same transaction, and sent on commit; no queue is in between, so
nothing slow can hold it up. The analyzer reports every second that somebody is still without a mask; only this module
knows when to speak. A person is reminded when the stretch without a mask has lasted the camera's `reminder_after_s`,
and once more, in firmer words, AGAIN_AFTER later. A camera speaks to another person only COOLDOWN after it last began
to speak.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Exists, Min, OuterRef, Q
from django.utils import timezone

from cameras.models import Camera, Site
from portal.models import Passage, Phrase, Reminder, Silence, Violation, Voice, policy_of
from portal.voice import outputs, phrases

FRESH = timedelta(seconds=3)
COOLDOWN = timedelta(seconds=20)
AGAIN_AFTER = timedelta(seconds=12)

Step = Reminder.Step
AGAIN = {Phrase.NO_MASK: Phrase.NO_MASK_AGAIN, Phrase.INCORRECT: Phrase.INCORRECT_AGAIN}


def speaks(camera: Camera) -> bool:
    """Whether this camera's door says anything. Costs no query if the voice was selected with the camera."""
    voice = getattr(camera, "voice", None)
    return voice is not None and voice.output != Voice.Output.NOWHERE and not voice.is_muted


def _is_ours(camera: Camera) -> bool:
    """Whether we decide: a worker at the site lets its doors speak itself, but for pages, which are open here."""
    return speaks(camera) and (camera.voice.output in outputs.AT_PAGES or not camera.is_at_site)


def consider_violation(violation: Violation, camera: Camera, bare_since: datetime) -> Reminder | None:
    """Remind this person if it is time; call within the transaction that recorded the violation.

    Returns what was decided now, if anything was.

    Args:
        bare_since: when the person was last seen masked, or arrived; a reopened violation began before that.
    """
    if violation.ended_at is not None or violation.label not in AGAIN or not _is_ours(camera):
        return None
    if (violation.last_seen_at - bare_since).total_seconds() < camera.reminder_after_s - 0.001:
        return None
    said = {row.step: row for row in Reminder.objects.filter(passage_id=violation.passage_id)}
    phrase, now = Phrase(violation.label), timezone.now()
    if Step.FIRST not in said:
        return _decide(camera, Step.FIRST, phrase, violation.passage_id, violation.last_seen_at, violation)
    if Step.AGAIN not in said and (
        said[Step.FIRST].why_not == Silence.LATE or now - said[Step.FIRST].decided_at >= AGAIN_AFTER
    ):
        was_heard = not said[Step.FIRST].why_not
        phrase = AGAIN[phrase] if was_heard else phrase
        return _decide(camera, Step.AGAIN, phrase, violation.passage_id, violation.last_seen_at, violation, was_heard)
    return None


def consider_passage(passage: Passage, camera: Camera) -> None:
    """Thank this person, once; call within the transaction that recorded the passage."""
    if passage.ended_at is not None or passage.label != "mask" or not _is_ours(camera):
        return
    if not policy_of(camera.site).thanks:
        return
    said = {row.step: row for row in Reminder.objects.filter(passage_id=passage.pk)}
    if Step.THANKS not in said:
        was_asked = any(not row.why_not for row in said.values())
        _decide(camera, Step.THANKS, Phrase.THANKS, passage.pk, passage.last_seen_at, None, was_asked)


def _decide(
    camera: Camera,
    step: Reminder.Step,
    phrase: Phrase,
    passage_id: UUID,
    seen_at: datetime,
    violation: Violation | None,
    goes_on: bool = False,
) -> Reminder | None:
    """Record what is said, or why nothing is; None if that was decided before.

    `goes_on`: the door already speaks to this person, so no cooldown.
    """
    reason = _reason_against(camera, step, seen_at, goes_on)
    values = {
        "site": camera.site,
        "camera": camera,
        "violation": violation,
        "text": phrases.phrase_of(camera.site, phrase),
        "language": policy_of(camera.site).language,
        "output": camera.voice.output,
        "why_not": reason,
    }
    reminder, is_new = Reminder.objects.get_or_create(passage_id=passage_id, step=step, defaults=values)
    if is_new and not reason:
        transaction.on_commit(lambda: outputs.send(reminder, camera.voice, seen_at + FRESH), robust=True)
    return reminder if is_new else None


def _reason_against(camera: Camera, step: Reminder.Step, seen_at: datetime, goes_on: bool) -> Silence | str:
    """Why nothing is said, if so. A thank-you waits after whatever was said; a reminder not after a thank-you."""
    now = timezone.now()
    if now - seen_at > FRESH:
        return Silence.LATE
    if not policy_of(camera.site).reminds_at(now):
        return Silence.HOURS
    if goes_on:
        return ""
    counting = [Step.FIRST, Step.AGAIN, *([Step.THANKS] if step is Step.THANKS else [])]
    spoke = Reminder.objects.filter(camera=camera, decided_at__gt=now - COOLDOWN, why_not="", step__in=counting)
    return Silence.COOLDOWN if spoke.exists() else ""


def play_by_hand(camera: Camera) -> Reminder:
    """Say the reminder now, whoever is there; the row says how it went."""
    text = phrases.phrase_of(camera.site, Phrase.NO_MASK)
    reminder = Reminder.objects.create(
        site=camera.site, camera=camera, step=Step.TRIAL, text=text, language=policy_of(camera.site).language,
        output=camera.voice.output,
    )  # fmt: skip
    transaction.on_commit(lambda: outputs.send_by_hand(reminder, camera.voice), robust=True)
    return reminder


# -- how it went ------------------------------------------------------------------------------------------------------


def note_heard(reminder_id: UUID, camera_id: int, why_not: str) -> bool:
    """Note what a door reports about a reminder of its camera: played to its end, or why not. The first report counts.

    A page that could not play it counts only as long as no other page reports that it did.
    """
    mine = Reminder.objects.filter(pk=reminder_id, camera_id=camera_id, played_at__isnull=True)
    if why_not:
        return bool(mine.filter(why_not="").update(why_not=Silence(why_not)))
    return bool(mine.update(played_at=timezone.now(), why_not="", detail=""))


def masked_after_s(violation: Violation, spoken: Iterable[Reminder]) -> int | None:
    """Seconds from when the door last began to speak to this person to the mask; None: no mask, or not asked."""
    masked_at = violation.masked_at
    if masked_at is None:
        return None
    asked = [each.sent_at for each in spoken if each.was_said and each.sent_at and each.sent_at < masked_at]
    return round((masked_at - max(asked)).total_seconds()) if asked else None


def persuaded(site: Site, since: datetime) -> dict[str, int]:
    """What the voice achieved: how many of those reminded put a mask on, and of those not reminded. Three queries.

    It counts from the first reminder, or the first person seen putting a mask on: before that, it was not recorded.
    """
    known = [
        Reminder.objects.filter(site=site).aggregate(first=Min("decided_at"))["first"],
        Violation.objects.filter(site=site, masked_at__isnull=False).aggregate(first=Min("started_at"))["first"],
    ]
    since = max([since, *([min(moments)] if (moments := [at for at in known if at]) else [timezone.now()])])
    said = Reminder.objects.filter(Reminder.said(), violation=OuterRef("pk"), step__in=[Step.FIRST, Step.AGAIN])
    asked, masked = Q(was_reminded=True), Q(masked_at__isnull=False)
    rows = Violation.objects.filter(site=site, started_at__gte=since).exclude(status=Violation.Status.DISMISSED)
    return rows.annotate(was_reminded=Exists(said)).aggregate(
        reminded=Count("pk", filter=asked),
        reminded_masked=Count("pk", filter=asked & masked),
        unasked=Count("pk", filter=~asked),
        unasked_masked=Count("pk", filter=~asked & masked),
    )
