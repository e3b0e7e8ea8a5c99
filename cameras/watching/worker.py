"""One stream worker: its model, its spool, its previews, its leases, and a watch for each camera that it was given.

The process is Celery's (a thread per camera); this is what lives in it. portal/celery.py starts and ends it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.db.models import BooleanField, ExpressionWrapper

from cameras.models import Camera, CameraLease
from cameras.reach import login_guard
from cameras.redis import Errors, connection, ended_key
from cameras.settings import CameraSettings, read_settings
from cameras.states import CameraState
from cameras.watching import counts, crashes, handover, leases, memory, seen, uptime
from cameras.watching.counts import WatchCounts
from cameras.watching.findings import (
    GlimpseFinding,
    OutageFinding,
    RecoveryFinding,
    ReignFinding,
    SpotFinding,
    StateFinding,
    WatchFinding,
    encode,
    glimpses_of,
)
from cameras.watching.handover import Handover
from cameras.watching.leases import Reconciler, WorkerState
from cameras.watching.preview import Offer, PreviewWriter
from cameras.watching.spool import SpoolWriter, has_ended
from cameras.watching.watch import Watch
from detection import Analyzer, Detector, Finding, ModelError, PassageFinding, ViolationFinding
from detection.spots import Spot

log = logging.getLogger(__name__)

CLOSE_WITHIN_S = 2.0
LOAD_OVER_S = 2.0
UNREGISTERED_S = 0.5  # until the next try, while another worker of this name is alive, or seems to be


def spool_root() -> Path:
    return Path(settings.DATA_DIR) / "spool"


def refused_root() -> Path:
    return Path(settings.DATA_DIR) / "refused"


@dataclass
class Running:
    """A watch running in one of Celery's threads."""

    token: int
    version: int
    stop: threading.Event
    again: bool = False  # end it only to start it again with changed settings
    told: tuple[CameraState, str] | None = None  # its state, as last reported
    outlet: WorkerOutlet | None = None
    watch: Watch | None = None


@dataclass(frozen=True)
class WorkerOutlet:
    """Where one watch's reports go."""

    worker: StreamWorker
    camera_id: int
    token: int
    running: Running
    settings: CameraSettings

    def tell(self, finding: Finding) -> None:
        self.say(finding)
        for each in glimpses_of(finding) if isinstance(finding, ViolationFinding) else ():
            self.say(each)

    def say(self, finding: WatchFinding) -> None:
        """A violation that opens is on the disk when this returns, whatever it costs: it must not be lost."""
        is_urgent = isinstance(finding, ViolationFinding) and finding.seq == 1
        record = encode(self.camera_id, self.token, finding)
        if isinstance(finding, ViolationFinding | PassageFinding | GlimpseFinding):
            record.body.update(boot=uptime.boot_id(), uptime=uptime.uptime_at(finding.last_seen_at))
        self.worker.spool.put(record, is_urgent)

    def tell_state(self, state: CameraState, detail: str) -> None:
        self.running.told = (state, detail)
        self.say(StateFinding(state, detail, time.time()))

    def tell_outage(self, began_at: float, reason: str) -> None:
        self.say(OutageFinding(began_at, reason, time.time()))

    def tell_recovered(self, at: float) -> None:
        self.say(RecoveryFinding(at, time.time()))

    def tell_spot(self, spot: Spot) -> None:
        self.say(SpotFinding(spot.key, spot.box, spot.visits, spot.first_at, spot.last_at, spot.is_doubted))

    def login_wait_s(self) -> float:
        try:
            return login_guard.wait_s(self.settings.place, self.camera_id, self.settings.version)
        except Errors:
            return 0.0

    def signed_in(self) -> None:
        try:
            login_guard.give_turn_back(self.settings.place, login_guard.watcher(self.camera_id))
        except Errors:
            log.debug("Redis does not answer; the turn expires by itself")

    def login_refused(self) -> None:
        try:
            login_guard.note_refused(self.camera_id, self.settings.version)
        except Errors:
            log.warning("Redis does not answer; the refused login is remembered only by its watch")

    def wants_previews(self) -> bool:
        return self.worker.previews.wanted(self.camera_id)

    def offer_preview(self, offer: Offer) -> None:
        self.worker.previews.offer(offer)


class ProcessorUse:
    """How much of the machine's processors this process uses, as a mean that forgets within some rounds."""

    def __init__(self) -> None:
        self._cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._cpu, self._wall, self._share = time.process_time(), time.monotonic(), 0.0

    def share(self) -> float:
        """From 0 to 1; asked once a round."""
        cpu, wall = time.process_time(), time.monotonic()
        if wall - self._wall >= LOAD_OVER_S:
            now = (cpu - self._cpu) / (wall - self._wall) / self._cores
            self._share = now if not self._share else self._share + (now - self._share) / 3
            self._cpu, self._wall = cpu, wall
        return round(min(1.0, self._share), 3)


class StreamWorker:
    """Everything that the threads of one stream worker share."""

    def __init__(
        self, name: str, capacity: int, site_ids: tuple[int, ...], ring: leases.Ring, version: str = ""
    ) -> None:
        """Loads the model and opens a spool; raises ModelError if the model cannot be used."""
        self.name = name
        self.version = version
        self._use = ProcessorUse()
        self.instance = uuid4().hex[:12]
        self.capacity = capacity
        self.site_ids = site_ids
        self._detectors = {"default": Detector.load()}
        self._loading = threading.Lock()
        self.spool = SpoolWriter(spool_root() / f"{name}.{self.instance}")
        self.previews = PreviewWriter()
        self.counts = WatchCounts()
        self.reconciler = Reconciler(name, self.instance, ring)
        self.stopping = threading.Event()
        self._watches: dict[int, Running] = {}
        self._guard = threading.Lock()
        self._handover, self._handing_over = Handover(), threading.Lock()
        self._registered = False
        self._beat = 0
        self.rounds: dict[str, float] = {}  # when each loop began its last round, on the monotonic clock
        self._threads = [
            threading.Thread(target=self._loop, args=(step, every_s), name=title, daemon=True)
            for step, every_s, title in (
                (self.keep_leases, leases.RENEW_EVERY_S, "leases"),
                (self._reconcile, leases.RECONCILE_EVERY_S, "reconcile"),
                (self.note_pictures, seen.ROUND_S, "pictures"),
                (lambda: self.counts.push(self.name), counts.PUSH_EVERY_S, "counts"),
                (memory.trim, memory.TRIM_EVERY_S, "memory"),
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    # -- watching ---------------------------------------------------------------------------------------------------

    def watch(self, camera_id: int, token: int) -> bool:
        """Watch a camera until its lease ends; False at once if the lease is not ours, or it is watched already.

        The message that led here is only a doorbell: what counts is the row.
        """
        while self._registered and not self.stopping.is_set():
            found = read_settings(camera_id, token, self.name)
            if found is None:
                return False
            running = Running(token, found.version, threading.Event())
            with self._guard:
                if camera_id in self._watches or self.stopping.is_set():
                    return False
                self._watches[camera_id] = running
            try:
                self._run(found, running)
            finally:
                with self._guard:
                    self._watches.pop(camera_id, None)
            if not running.again:
                break
        return self._registered

    def _run(self, found: CameraSettings, running: Running) -> None:
        outlet = WorkerOutlet(self, found.camera_id, running.token, running, found)
        running.outlet = outlet
        self._safely(lambda: crashes.note_thread(self.spool.folder, found.camera_id))
        carried = handover.read(found.camera_id)
        outlet.say(ReignFinding(time.time(), tuple(person.key for person in carried)))
        self._safely(lambda: leases.renew(self.name, [(found.camera_id, running.token)]))
        self.previews.begin(found.camera_id)
        try:
            detector = self.detector_for(found.model, found.input_size)
            make = partial(Analyzer, detector)
            running.watch = Watch(found, running.token, make, outlet, running.stop, self.counts, carried)
            running.watch.run()
        except ModelError as error:
            outlet.tell_state(CameraState.OFFLINE, str(error))
            running.stop.wait()  # until the camera is edited, or goes to another worker
        finally:
            self.previews.end(found.camera_id)
            self._safely(self._hand_over)

    def detector_for(self, model: str, input_size: int) -> Detector:
        """A model, loaded once for all cameras that use it, at an input size; raises ModelError."""
        with self._loading:
            if model not in self._detectors:
                self._detectors[model] = Detector.named(model)
            return self._detectors[model].at(input_size)

    def watched(self) -> dict[int, Running]:
        with self._guard:
            return dict(self._watches)

    # -- leases -----------------------------------------------------------------------------------------------------

    def state(self) -> WorkerState:
        watching = tuple(sorted(self.watched()))
        spool = self.spool
        self._beat += 1
        calm = tuple(camera_id for camera_id in watching if self._is_calm(camera_id))
        return WorkerState(
            self.name, self.instance, self.capacity, self.site_ids, watching, spool.trouble, spool.dropped, self._beat,
            self._use.share(), calm, self.version,
        )  # fmt: skip

    def _is_calm(self, camera_id: int) -> bool:
        running = self.watched().get(camera_id)
        return running is not None and running.watch is not None and running.watch.is_calm

    def keep_leases(self) -> None:
        """One round: say that we and our cameras are alive, and end the watches that are no longer ours."""
        if not leases.announce(self.state(), self._has_ended):
            log.warning("another worker is called %s; waiting until it is gone", self.name)
            self._registered = False
            for running in self.watched().values():
                running.stop.set()
            return
        if not self._registered:
            leases.release_all(self.name, has_ended=True)
            self._registered = True
        watched = self.watched()
        pairs = [(camera_id, running.token) for camera_id, running in watched.items()]
        for camera_id in leases.renew(self.name, pairs):
            log.info("the lease of camera %s went to another", camera_id)
            watched[camera_id].stop.set()
        for camera_id in leases.asked_back(self.name) & watched.keys():
            self._give_back(camera_id, watched[camera_id], CameraState.WAITING)
        if watched:
            self._compare_with_rows(watched)

    def _has_ended(self, instance: str) -> bool:
        """Whether an earlier run of this worker has ended, as far as its spool on this machine tells."""
        folder = spool_root() / f"{self.name}.{instance}"
        return bool(connection().exists(ended_key(folder.name))) or has_ended(folder)

    def note_pictures(self) -> None:
        """One round: let each watch notice that it gets no pictures, and note for each of the others that it does."""
        now, noted = time.time(), []
        for camera_id, running in self.watched().items():
            watch = running.watch
            left_s = watch.tick() if watch is not None else None
            if watch is not None and left_s is not None:
                noted.append((camera_id, left_s, now - watch.silent_s))
        if noted:
            seen.note(noted)
        self._hand_over()

    def _compare_with_rows(self, watched: dict[int, Running]) -> None:
        """End a watch whose camera was paused, deleted or taken; restart it if the camera's settings changed.

        A row with a different state from the watch's was marked by others, as nothing was heard of it in time.
        """
        columns = ("camera_id", "token", "camera__version", "off", "state")
        off = ExpressionWrapper(~Camera.wanted("camera__"), output_field=BooleanField())
        rows = CameraLease.objects.filter(worker=self.name).annotate(off=off).values_list(*columns)
        held = {camera_id: rest for camera_id, *rest in rows}
        for camera_id, running in watched.items():
            token, version, off, state = held.get(camera_id, (0, 0, False, ""))
            if token != running.token:
                running.stop.set()
            elif off:
                self._give_back(camera_id, running, CameraState.PAUSED)
            elif version != running.version:
                running.again = True
                running.stop.set()
            elif running.told is not None and state != running.told[0] and running.outlet is not None:
                running.outlet.tell_state(*running.told)

    def _give_back(self, camera_id: int, running: Running, state: CameraState) -> None:
        """End a watch; what it still tells of the frames before counts."""
        running.stop.set()
        leases.release(camera_id, running.token, state)
        leases.forget(camera_id, self.name, running.token)

    def _reconcile(self) -> None:
        if self._registered:
            self.reconciler.step()

    # -- loops ------------------------------------------------------------------------------------------------------

    def _loop(self, step: Callable[[], object], every_s: float) -> None:
        """Call `step` until the worker stops. Redis or the database may be away: watching goes on meanwhile."""
        while not self.stopping.is_set():
            self.rounds[threading.current_thread().name] = time.monotonic()
            self._safely(step)
            self.stopping.wait(every_s if self._registered else min(every_s, UNREGISTERED_S))

    def _safely(self, step: Callable[[], object]) -> None:
        close_old_connections()
        try:
            step()
        except Errors as error:
            log.warning("Redis does not answer: %s", type(error).__name__)
        except DatabaseError as error:
            log.warning("the database does not answer: %s", type(error).__name__)
        except Exception:
            log.exception("a round of %s failed", threading.current_thread().name)
        finally:
            close_old_connections()

    def _hand_over(self) -> None:
        """Note who is in view of our cameras, for those who may watch them next."""
        watches = {camera_id: running.watch for camera_id, running in self.watched().items()}
        with self._handing_over:
            self._handover.note({camera_id: watch.in_view for camera_id, watch in watches.items() if watch is not None})

    # -- end --------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask all watches to end; returns at once, and may be called from a signal handler."""
        self.stopping.set()
        for running in list(self._watches.values()):
            running.stop.set()

    def close(self) -> None:
        """Give back what is held, and write what is waiting."""
        self.stop()
        if self._registered:
            self._safely(lambda: leases.release_all(self.name))
            self._safely(self.reconciler.resign)
            self._safely(lambda: leases.withdraw(self.state()))
        self.previews.close()
        self.spool.close(CLOSE_WITHIN_S)


_current: StreamWorker | None = None


def current() -> StreamWorker | None:
    """The stream worker of this process, if it is one."""
    return _current


def set_current(worker: StreamWorker | None) -> None:
    global _current
    _current = worker
