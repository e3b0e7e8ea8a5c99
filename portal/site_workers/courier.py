"""The one process of a worker at a site that speaks with the portal; it calls, and is never called.

    python -m portal.site_workers.courier        with PORTAL and KEY set (make worker)

Each of its loops goes its own way, so that a slow picture holds up no lease, and no lease a finding. While the portal
cannot be reached, each tries again for ever, and what was recorded waits on the disk.
"""

from __future__ import annotations

import logging
import os
import signal
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import httpx

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

import django

if __name__ == "__main__":
    django.setup()

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.db.models import Max
from django.db.models.functions import Coalesce
from django.utils import timezone

from cameras import tasks
from cameras.models import Camera, CameraLease, Outage, ProbeRequest, Site
from cameras.reach.credentials import seal
from cameras.redis import LAST_PICTURES_KEY, Errors, connection, looked_at_key, preview_key
from cameras.setup import probe
from cameras.watching import leases, seen, spool
from cameras.watching.counts import read_counts
from cameras.watching.health import read_sums
from cameras.watching.preview import View, read_header
from cameras.watching.spool import Record
from cameras.watching.worker import refused_root
from portal import __version__
from portal.events import outgoing
from portal.models import Reminder
from portal.server import alive
from portal.site_workers import mirror
from portal.site_workers.messages import (
    MOST_BATCH_BYTES,
    MOST_BATCH_RECORDS,
    LastSeen,
    NotYet,
    Reported,
    Round,
    RoundAnswer,
    Spoken,
    SpokenReminders,
    State,
)
from portal.site_workers.rounds import spoken
from portal.site_workers.settings import digest
from portal.voice import outputs

log = logging.getLogger(__name__)

ROUND_S = 2.0
FINDINGS_S = 0.5
FINDINGS_WITHIN_S = 45.0  # a batch is recorded while we wait
PREVIEWS_S = 0.1
TESTS_S = 0.3
REMINDERS_S = 2.0
AWAY_S = (1.0, 15.0)  # from one try to the next while the portal does not answer: growing
SOON_AGAIN_S = (0.5, 2.0)  # the same for what may not wait: a lease ends after 8 s
REVOKED_S = 30.0
LOOKED_AT_S = 5
SLACK_S = 2.0 * ROUND_S  # a camera is online for so much longer there, as we say it less often
UNSENT_KEPT_S = 24 * 3600.0  # what a revoked key cannot send: for a new one of the same site
REMINDERS_OF = timedelta(days=2)
REMINDER_TRIES = 10
NO_WORKER = "no stream worker is running there"
REVOKED = "The portal does not know this key (any more): nothing is watched. Make a new one on the site's page."


class AwayError(Exception):
    """The portal did not take it; the text says why. It is tried again."""


class NotTakenError(Exception):
    """The portal will never take this; the text says why."""


class PortalLine:
    """The calls to the portal."""

    def __init__(self, portal: str, key: str, authority: str) -> None:
        self._client = httpx.Client(
            base_url=f"{portal}/api/v1/site-worker",
            headers={"Authorization": f"Bearer {key}", "User-Agent": f"mask-portal-worker/{__version__}"},
            verify=ssl.create_default_context(cafile=authority or None),
            timeout=httpx.Timeout(10.0, connect=5.0),
        )
        self.is_known = True  # our key, as of the last call

    def post(self, path: str, **body: Any) -> httpx.Response:
        """Raises AwayError or NotTakenError."""
        try:
            answer = self._client.post(path, **body)
        except (httpx.HTTPError, OSError) as error:
            raise AwayError(f"The portal cannot be reached ({type(error).__name__}).") from error
        self.is_known = answer.status_code != 401
        if answer.is_success:
            return answer
        why = f"{answer.status_code}: {answer.text[:300]}"
        if answer.status_code in {413, 422}:  # all else may be a proxy, or a portal of another version
            raise NotTakenError(why)
        raise AwayError(why)


class Courier:
    """All that goes between this worker and the portal."""

    def __init__(self, line: PortalLine) -> None:
        self._line = line
        self._instance = uuid4().hex[:12]
        self._beat = 0
        self._digest = ""
        self._judge = seen.Judge()
        self._views: tuple[frozenset[View], float] = (frozenset(), 0.0)
        self._shown: dict[View, int] = {}
        self._tests: dict[UUID, str] = {}
        self._said: dict[UUID, Spoken] = {}
        self._too_early: Counter[UUID] = Counter()  # how often the portal did not know of whom a reminder speaks
        self._counted: tuple[dict[str, int], dict[str, int]] | None = None  # what the portal knows of our counts
        self.stopping = threading.Event()
        self.rounds: dict[str, float] = {}
        self._threads = [
            threading.Thread(target=self._loop, args=(step, every_s), name=title, daemon=True)
            for step, every_s, title in (
                (self.round, ROUND_S, "round"),
                (self.send_findings, FINDINGS_S, "findings"),
                (self.send_previews, PREVIEWS_S, "previews"),
                (self.send_reports, TESTS_S, "tests"),
                (self.send_reminders, REMINDERS_S, "reminders"),
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _loop(self, step: Callable[[], object], every_s: float) -> None:
        """Call `step` until the end. Longer and longer pauses while the portal is away; each cause is logged once."""
        pause_s, told = every_s, ""
        while not self.stopping.is_set():
            self.rounds[threading.current_thread().name] = time.monotonic()
            close_old_connections()
            try:
                pause_s, why = (0.0 if step() is True else every_s), ""
            except AwayError as error:
                least, most = AWAY_S if step == self.send_findings else SOON_AGAIN_S
                pause_s = max(least, min(most, 1.5 * pause_s)) if self._line.is_known else REVOKED_S
                why = str(error)
            except (*Errors, DatabaseError, NotTakenError, OSError) as error:
                pause_s, why = AWAY_S[0], f"{type(error).__name__}: {error}"
            except Exception:
                log.exception("a round failed")
                pause_s, why = AWAY_S[0], ""
            if why and why != told:
                log.warning("%s", why)
            told = why
            close_old_connections()
            self.stopping.wait(pause_s)

    # -- a round ------------------------------------------------------------------------------------------------------

    def round(self) -> None:
        """Say that we are alive, and how our cameras are; hear what is new."""
        told, counted = self._told(), (read_counts(), read_sums())
        if self._counted is not None:
            told.counts, told.health = (grown(*each) for each in zip(self._counted, counted, strict=True))
        try:
            answer = RoundAnswer.model_validate_json(self._line.post("/round", json=told.model_dump()).content)
        except AwayError:
            if not self._line.is_known:
                self._digest = ""
                if mirror.forget():
                    log.error(REVOKED)
                outgoing.drop_old(outgoing.root(), time.time() - UNSENT_KEPT_S)
            raise
        self._counted = counted
        if answer.settings is not None:
            mirror.apply(answer.settings)
            self._digest = digest(answer.settings)
        self._look_at(frozenset(View(each.camera, each.pixelated) for each in answer.looked_at))
        for test in answer.tests:
            self._begin_test(test.id, test.typed)
        for each in answer.say:
            self._say(each)

    def _told(self) -> Round:
        self._beat += 1
        rows = list(CameraLease.objects.filter(Camera.wanted("camera__")))
        held = {row.camera_id: row for row in rows if row.worker}
        alive_ones = leases.alive_leases((row.camera_id, row.worker, row.token) for row in held.values())
        watching = sorted(camera_id for camera_id, _token in alive_ones)
        out = set(Outage.objects.filter(ended_at=None).values_list("camera_id", flat=True))
        workers, now = leases.living_workers(), timezone.now()
        well_since = Coalesce(Max("outages__ended_at"), "created_at")
        well = dict(Camera.objects.annotate(well=well_since).values_list("pk", "well"))
        return Round(
            instance=self._instance,
            version=__version__,
            beat=self._beat,
            capacity=sum(worker.capacity for worker in workers),
            load=max((worker.load for worker in workers), default=0.0),
            trouble=next((worker.trouble for worker in workers if worker.trouble), "") if workers else NO_WORKER,
            dropped=sum(worker.dropped for worker in workers),
            watching=watching,
            calm=[camera_id for worker in workers for camera_id in worker.calm],
            seen=list(self._seen(watching)),
            states=[
                State(
                    camera=row.camera_id,
                    state=row.state,
                    detail=row.state_detail,
                    for_s=max(0.0, (now - (row.state_since or now)).total_seconds()),
                    is_out=row.camera_id in out,
                    well_s=max(0.0, (now - well.get(row.camera_id, now)).total_seconds()),
                )
                for row in rows
            ],
            settings=self._digest,
        )

    def _seen(self, watching: list[int]) -> Iterator[LastSeen]:
        """Which cameras are online, by our own clock."""
        online, now = self._judge.online(watching), time.time()
        values = cast("dict[bytes, bytes]", connection().hgetall(LAST_PICTURES_KEY)) if online else {}
        for camera_id in online:
            at, left_s = values[str(camera_id).encode()].split()
            yield LastSeen(camera=camera_id, left_s=float(left_s) + SLACK_S, age_s=max(0.0, now - float(at)))

    # -- live pictures ------------------------------------------------------------------------------------------------

    def _look_at(self, views: frozenset[View]) -> None:
        self._views = views, time.monotonic()
        for view in views:
            connection().set(looked_at_key(*view), "1", ex=LOOKED_AT_S)

    def send_previews(self) -> None:
        """The newest picture of each camera that somebody looks at."""
        views, asked_at = self._views
        if time.monotonic() - asked_at > LOOKED_AT_S:
            return
        for view in sorted(views):
            preview = cast("bytes | None", connection().get(preview_key(*view)))
            if preview is None:
                continue
            number = int(read_header(preview)["number"])
            if self._shown.get(view) != number:
                self._shown[view] = number
                self._line.post(f"/previews/{view.camera_id}", params={"pixelated": view.pixelated}, content=preview)

    # -- findings -----------------------------------------------------------------------------------------------------

    def send_findings(self) -> bool:
        """Some of what was recorded, in order; a file is deleted once the portal has all of it. True if more waits."""
        files = outgoing.waiting(outgoing.root())
        batch: list[bytes] = []
        whole: list[Path] = []
        for path in files:
            if len(batch) > MOST_BATCH_RECORDS / 2:
                break
            for record in outgoing.read(path):
                data = record.encode()
                if batch and (sum(map(len, batch)) + len(data) > MOST_BATCH_BYTES or len(batch) >= MOST_BATCH_RECORDS):
                    self._send(batch)
                    batch = []
                batch.append(data)
            whole.append(path)
            if sum(map(len, batch)) > MOST_BATCH_BYTES / 2:
                break
        self._send(batch)
        for path in whole:
            path.unlink(missing_ok=True)
        return len(files) > len(whole)

    def _send(self, batch: list[bytes]) -> None:
        """A batch; if the portal will never take it, each record of it by itself, and what it refuses is set aside."""
        if not batch:
            return
        try:
            self._line.post("/findings", content=b"".join(batch), timeout=FINDINGS_WITHIN_S)
        except NotTakenError as error:
            if len(batch) > 1:
                for data in batch:
                    self._send([data])
                return
            record = _decoded(batch[0])
            log.error("the portal refused a %s of camera %s: %s", record.kind, record.camera_id, error)
            spool.refuse(refused_root(), record, str(error))

    # -- tests of cameras ---------------------------------------------------------------------------------------------

    def _begin_test(self, test: UUID, typed: str) -> None:
        site_id = Site.objects.values_list("pk", flat=True).get(archived_at=None)
        ProbeRequest.objects.create(pk=test, site_id=site_id, asked_by=0, sealed=seal(typed))
        probe.publish(test, probe.Report())
        self._tests[test] = ""
        if not tasks.send_probe(test, site_id, at_site=False):
            probe.fail(test, "The worker at this site is just starting. Test again.")

    def send_reports(self) -> None:
        for test, told in list(self._tests.items()):
            report = probe.read_report(test)
            if report is None:
                self._tests.pop(test)
                continue
            if (now := report.encode()) == told:
                continue
            if report.picture and (picture := probe.read_picture(test)):
                self._line.post(f"/tests/{test}/picture", content=picture)
            self._line.post(f"/tests/{test}", json=Reported(report=now).model_dump())
            self._tests[test] = now
            if report.done:
                self._tests.pop(test)

    # -- the doors ----------------------------------------------------------------------------------------------------

    def _say(self, asked: Spoken) -> None:
        """Somebody plays a reminder by hand."""
        camera = Camera.objects.select_related("site", "voice").filter(pk=asked.camera, deleted_at=None).first()
        if camera is None:
            return
        values = asked.model_dump(include={"step", "text", "language", "output"})
        reminder, is_new = Reminder.objects.get_or_create(
            pk=asked.id, defaults=values | {"site": camera.site, "camera": camera}
        )
        if is_new:
            outputs.send_by_hand(reminder, camera.voice)

    def send_reminders(self) -> None:
        """What the doors said since; after the findings, of which they speak."""
        recent = Reminder.objects.filter(decided_at__gte=timezone.now() - REMINDERS_OF).order_by("decided_at")
        oldest = outgoing.oldest_at(outgoing.root())
        now = {each.pk: spoken(each) for each in recent if each.decided_at.timestamp() < oldest}
        new = [each for key, each in now.items() if self._said.get(key) != each][:100]
        if not new:
            return
        answer = self._line.post("/reminders", json=SpokenReminders(reminders=new).model_dump(mode="json"))
        self._too_early.update(not_yet := NotYet.model_validate_json(answer.content).reminders)
        waiting = {key for key in not_yet if self._too_early[key] < REMINDER_TRIES}
        self._said |= {each.id: each for each in new if each.id not in waiting}
        known = set(recent.values_list("pk", flat=True))
        self._said = {key: each for key, each in self._said.items() if key in known}
        self._too_early = Counter({key: tries for key, tries in self._too_early.items() if key in waiting})


def grown(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    """By how much counts have grown; one that is smaller than before was begun again."""
    new = {field: value - before.get(field, 0) for field, value in now.items()}
    return {field: by if by > 0 else now[field] for field, by in new.items() if by}


def _decoded(data: bytes) -> Record:
    return spool.decode_record(data[spool.FRAME_BYTES :])


def main() -> None:
    line = PortalLine(settings.PORTAL, settings.KEY, settings.PORTAL_AUTHORITY)
    courier = Courier(line)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: courier.stopping.set())
    courier.start()
    alive.beat_while(lambda: list(courier.rounds.values()))
    courier.stopping.wait()
    with suppress(Exception):  # the rest goes with the next start
        courier.send_findings()


if __name__ == "__main__":
    main()
