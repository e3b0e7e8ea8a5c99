"""Where a reminder sounds: the only way to the outputs, which have a file each.

    outputs.send(reminder, voice, until)

Each output says a reminder or raises NotSaidError. Those that only send to a page at the door are quick, and run where
they are called. Those that reach into the camera's network, or play on the worker's machine, run there: in a few
threads of the stream worker that decided it, or in a task in that worker's own queue if a person in the portal
presses a button. None of this goes through the job queue.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from cameras import tasks
from cameras.redis import Errors
from portal.models import Reminder, Silence, Voice
from portal.voice import broker, call, door, local
from portal.voice.base import NotSaidError, Sender

log = logging.getLogger(__name__)

AT_PAGES: dict[str, Sender] = {Voice.Output.DEVICE: door.say, Voice.Output.LOUDSPEAKER: door.say}
AT_WORKER: dict[str, Sender] = {
    Voice.Output.CALL: call.say,
    Voice.Output.LOCAL: local.say,
    Voice.Output.MQTT: broker.say,
}
SAY = "portal.tasks.say_reminder"
THREADS = 32  # a slow or dead loudspeaker holds one for some seconds


def send(reminder: Reminder, voice: Voice, until: datetime) -> None:
    """Say what a stream worker decided, where the voice sounds, until this moment. Never raises: the row says all."""
    if voice.output in AT_PAGES:
        carry_out(reminder, voice)
    elif voice.output in AT_WORKER:
        _threads().submit(_in_thread, reminder, voice, until)


def send_by_hand(reminder: Reminder, voice: Voice) -> None:
    """The same for a person who asks for it, in a process that is not a stream worker."""
    if voice.output in AT_PAGES:
        carry_out(reminder, voice)
    else:
        _ask_worker(reminder)


def carry_out(reminder: Reminder, voice: Voice) -> None:
    """Say it here and now, and record how it went."""
    try:
        said = (AT_PAGES | AT_WORKER)[voice.output](reminder, voice)
        values: dict[str, Any] = {"sent_at": said.sent_at}
        if said.played_at is not None:  # a page may already have reported its end
            values["played_at"] = said.played_at
    except NotSaidError as error:
        values = {"why_not": error.why, "detail": str(error)[:300]}
        log.info("camera %s said nothing: %s", reminder.camera_id, error)
    except Exception as error:  # a fault in one loudspeaker must not end the thread that records
        log.exception("a reminder of camera %s failed", reminder.camera_id)
        values = {"why_not": Silence.UNREACHED, "detail": type(error).__name__}
    try:
        Reminder.objects.filter(pk=reminder.pk).update(**values)
    except DatabaseError as error:
        log.warning("the outcome of a reminder could not be recorded: %s", type(error).__name__)


def carry_out_by_hand(reminder_id: UUID) -> None:
    """What a worker does when asked by `send_by_hand`; nothing if it was deleted, or said meanwhile."""
    found = Reminder.objects.select_related("camera__voice", "site").filter(pk=reminder_id, sent_at=None).first()
    if found is not None:
        carry_out(found, found.camera.voice)


def _in_thread(reminder: Reminder, voice: Voice, until: datetime) -> None:
    """Say nothing to a person who may have left: if all threads were busy, it may be too late."""
    try:
        if timezone.now() <= until:
            carry_out(reminder, voice)
        else:
            Reminder.objects.filter(pk=reminder.pk).update(why_not=Silence.LATE)
    except DatabaseError as error:
        log.warning("that a reminder came too late could not be recorded: %s", type(error).__name__)
    finally:
        close_old_connections()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="voice")


def close() -> None:
    """The stream worker ends: what is not yet being said is dropped."""
    if _threads.cache_info().currsize:
        _threads().shutdown(wait=False, cancel_futures=True)
        _threads.cache_clear()


def _ask_worker(reminder: Reminder) -> None:
    why = ""
    try:
        worker = tasks.serving_worker(reminder.site_id, reminder.camera.is_at_site, reminder.camera_id)
        if not tasks.ask_worker(SAY, reminder.pk, worker):
            why = Silence.NO_WORKER
    except (*Errors, ConnectionError):
        why = Silence.UNREACHED
    if why:
        Reminder.objects.filter(pk=reminder.pk).update(why_not=why)
