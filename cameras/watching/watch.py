"""One camera's loop: source → analyzer → spool and preview; it reconnects for ever.

A watch runs in its own thread and executes no SQL: what it reports goes to the worker's spool.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cameras.errors import CameraError, LoginError, StreamError
from cameras.reach.login import refused
from cameras.reach.login_guard import REFUSED_S
from cameras.settings import CameraSettings
from cameras.sources import Opening, Source, open_source
from cameras.states import CameraState
from cameras.watching.counts import WatchCounts
from cameras.watching.outages import OutageClock
from cameras.watching.preview import Offer
from cameras.watching.rest import Rest
from cameras.watching.stillness import Stillness
from detection import Analyzer, CarriedPerson, DetectionError, Finding, Image, make_key
from detection.spots import Spot
from detection.surroundings import Surroundings

BACKOFF_S = (1.0, 5.0)
PERMANENT_S = 30.0  # until an address that cannot be opened is tried again
BUSY_S = 1.0  # while another of us signs in at the same camera
BLACK_BELOW = 12  # mean brightness, out of 255
DARK_EVERY_S = 5.0  # from one look at the brightness to the next
CLOCK_STEP_S = 10.0  # from one frame to the next: beyond it, all known people are forgotten
CLOCK_BACK_S = 0.5
LEAST_GAP_S = 0.001
LATE_S = 2.0  # a frame that waited longer is not analysed: the next one is nearer to now
BLIND_S = 10.0  # with pictures, but without an analysis: then nobody is watched
BLACK = gettext_lazy("The picture is black. Is the lens covered, or the room dark?")
TURNED = gettext_lazy("The picture was rotated after zones were drawn on it. Draw them again.")
STILL = gettext_lazy("The picture has been the same for two minutes. Restart the camera if it hangs.")


class Outlet(Protocol):
    """Where a watch's reports go; the worker implements it."""

    def tell(self, finding: Finding) -> None: ...

    def tell_state(self, state: CameraState, detail: str) -> None: ...

    def tell_outage(self, began_at: float, reason: str) -> None: ...

    def tell_recovered(self, at: float) -> None: ...

    def tell_spot(self, spot: Spot) -> None: ...

    def login_wait_s(self) -> float: ...

    def signed_in(self) -> None: ...

    def login_refused(self) -> None: ...

    def wants_previews(self) -> bool: ...

    def offer_preview(self, offer: Offer) -> None: ...


def is_black(image_bgr: Image) -> bool:
    """Whether a picture shows next to nothing; only a few of its pixels are checked."""
    return bool(image_bgr[::16, ::16].mean() < BLACK_BELOW)


class AnalysisPace:
    """Which frames are analysed: the first at or after each tick of `per_second`."""

    def __init__(self, per_second: float) -> None:
        self._interval_s = 1 / per_second
        self._next_at: float | None = None

    def due(self, at: float) -> bool:
        """Whether a frame taken at this time should be analysed; call it once per frame."""
        if self._next_at is None or at - self._next_at > 10 * self._interval_s:
            self._next_at = at
        if at < self._next_at - 1e-6:
            return False
        self._next_at += self._interval_s
        if self._next_at < at:
            self._next_at = at + self._interval_s
        return True


class Spent:
    """The processor's and the wall's time of this thread."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.thread_time(), time.monotonic()

    def since(self) -> dict[str, float]:
        """Seconds since the last call; none of a time in which the machine slept, or the camera was silent."""
        cpu, wall = time.thread_time(), time.monotonic()
        spent = {"cpu": cpu - self._cpu, "wall": wall - self._wall}
        self._cpu, self._wall = cpu, wall
        return spent if spent["wall"] < BLIND_S else {}


class Watch:
    """Watches one camera under one token until `stop` is set."""

    def __init__(
        self,
        settings: CameraSettings,
        token: int,
        make_analyzer: Callable[[], Analyzer],
        outlet: Outlet,
        stop: threading.Event,
        counts: WatchCounts | None = None,
        carried: Sequence[CarriedPerson] = (),
    ) -> None:
        """`make_analyzer` makes one with an empty memory, for each connection and after each step of the clock.

        Args:
            carried: people in view of whoever watched before; they go on with the first connection.
        """
        self._settings = settings
        self._token = token
        self._surroundings = Surroundings(make_key, settings.spots)
        self._make_analyzer = make_analyzer
        self._analyzer = self._fresh_analyzer()
        self._analyzer.take_over(carried)
        self.in_view: Sequence[CarriedPerson] = carried  # after the last analysis; others read it
        self._outlet = outlet
        self._stop = stop
        self._counts = counts or WatchCounts()
        self._log = logging.getLogger(f"cameras.watch.{settings.camera_id}")
        self._state: tuple[CameraState, str] | None = None
        self._state_lock = threading.Lock()
        self._outage = OutageClock(outlet.tell_outage, outlet.tell_recovered)
        self._dark_at = float("-inf")
        self._is_black = False

    def _fresh_analyzer(self) -> Analyzer:
        """One that knows nobody yet, but what was learned of the place."""
        analyzer = self._make_analyzer()
        analyzer.surroundings = self._surroundings
        return analyzer

    def run(self) -> None:
        """Connect, watch, wait a little, and repeat."""
        while not self._stop.is_set():
            pause_s = self.watch_once()
            self._flush()
            self._wait(pause_s)
            if not self._stop.is_set():
                self._counts.reconnect(self._settings.camera_id)

    def _wait(self, seconds: float) -> None:
        """Wait until the next try."""
        until = time.monotonic() + seconds
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            self._outage.tick()
            self._stop.wait(min(left, 1.0))

    def tick(self) -> float | None:
        """Called by the worker every second, from a thread of its own: a watch that waits cannot say that it is blind.

        Returns for how many seconds more the camera counts as online without another picture; None if it is not.
        """
        self._outage.tick()
        silent_s, most = self._outage.silent_s, self._outage.longest_gap_s
        with self._state_lock:
            is_online = self._state is not None and self._state[0] is CameraState.ONLINE
            if is_online and silent_s > most:
                self._tell(CameraState.OFFLINE, _("No picture has come for %(seconds)d s.") % {"seconds": silent_s})
                return None
        return most - silent_s if is_online else None

    @property
    def is_calm(self) -> bool:
        """Whether nobody is in view."""
        return not self._analyzer.is_busy()

    @property
    def silent_s(self) -> float:
        """How long ago the last picture was analysed; infinite before the first."""
        return self._outage.silent_s

    def watch_once(self) -> float:
        """One connection, from its opening to its end; returns how long to wait before the next."""
        if self._state is None:
            self._tell_state(CameraState.CONNECTING, "")
        if wait_s := self._outlet.login_wait_s():
            if wait_s > BUSY_S:
                self._login_failed(refused())
            return wait_s
        try:
            with closing(open_source(self._opening())) as source:
                self._follow(source)
        except LoginError as error:
            self._outlet.login_refused()
            self._login_failed(error)
            return REFUSED_S
        except CameraError as error:
            return self._failed(error)
        except Exception:
            self._log.exception("the watch failed; it starts again")
            return self._failed(CameraError(_("The portal failed while watching; its log says more.")))
        return 0.0

    def _opening(self) -> Opening:
        settings = self._settings
        return Opening(settings.place, self._stop, self._reached, settings.camera_id, settings.site_id)

    def _reached(self, step: str) -> None:
        if step == "login" and self._settings.place.user:
            self._outlet.signed_in()

    def _follow(self, source: Source) -> None:
        pace, last = AnalysisPace(self._settings.analyses_per_second), float("-inf")
        still, rest, analysed_at = Stillness(), Rest(), time.monotonic()
        counts, camera_id, zoning = self._counts, self._settings.camera_id, self._settings.zoning
        spent, arrived_at = Spent(), analysed_at
        for frame in source.frames(self._stop):
            counts.frame(camera_id, "received")
            now = time.monotonic()
            if now - arrived_at > LATE_S:
                analysed_at += now - arrived_at  # nothing came meanwhile: it was silent, and this watch not blind
            arrived_at = now
            if not -CLOCK_BACK_S < frame.captured_at - last < CLOCK_STEP_S:
                if last > float("-inf"):
                    self._flush()  # the people there are gone, or the clock was set: their times are no guide
                pace = AnalysisPace(self._settings.analyses_per_second)
                last = float("-inf")
            at = last = max(frame.captured_at, last + LEAST_GAP_S)  # within a track no time runs backwards
            is_due = pace.due(at) or frame.answer is not None
            is_late = time.time() - frame.captured_at > LATE_S
            if not is_due or is_late:
                if is_due:
                    counts.frame(camera_id, "late")
                self._check_not_blind(time.monotonic() - analysed_at)
                continue
            is_needed = rest.needs(frame, at, self._analyzer.is_busy())
            source.may_rest = rest.is_resting(at)
            if not is_needed:
                counts.frame(camera_id, "skipped")
                continue
            began = time.perf_counter()
            whole = frame.image_bgr()
            self._analyzer.zones = zones = zoning.at(frame.captured_at)
            image = zones.black_out(whole)
            decoded = time.perf_counter()
            try:
                findings = self._analyzer.analyse(image, at, frame.is_broken)
            except DetectionError as error:
                counts.frame(camera_id, "refused")
                self._log.warning("a frame was left out: %s", error)
                if frame.refuse is not None:
                    frame.refuse(str(error))
                continue
            detect_s = self._analyzer.detect_s
            counts.frame(camera_id, "analysed")
            stages = {
                "decode": decoded - began, "detect": detect_s, "follow": time.perf_counter() - decoded - detect_s
            }  # fmt: skip
            for stage, seconds in stages.items():
                counts.stage(stage, seconds)
            took = stages | spent.since()
            counts.health.add(camera_id, {name: seconds * 1e6 for name, seconds in took.items()})
            counts.health.add_faces(camera_id, self._analyzer.qualities())
            for finding in findings:
                self._outlet.tell(finding)
            self.in_view = self._analyzer.people_in_view()
            for spot in self._surroundings.spots.take_changes():
                self._outlet.tell_spot(spot)
            if frame.answer is not None:
                frame.answer(self._analyzer.sightings())
            analysed_at = time.monotonic()
            self._outage.picture()
            self._tell_state(CameraState.ONLINE, self._remark(whole, still.has_lasted(whole, analysed_at)))
            if self._outlet.wants_previews():
                sightings = self._analyzer.sightings()
                faces = self._analyzer.possible_faces()
                self._outlet.offer_preview(Offer(camera_id, self._token, at, image, sightings, faces))

    def _remark(self, image: Image, is_still: bool) -> str:
        """What is wrong with a picture that came: checked on the first one, and now and then."""
        if time.monotonic() - self._dark_at >= DARK_EVERY_S:
            self._dark_at = time.monotonic()
            self._is_black = is_black(image)
        if self._settings.zoning.drawn.is_turned(image):
            return str(TURNED)
        return str(BLACK) if self._is_black else str(STILL) if is_still else ""

    def _check_not_blind(self, seconds: float) -> None:
        """Whatever the cause: a watch to which pictures come, but which looks at none, opens the stream again."""
        if seconds > max(BLIND_S, 3 / self._settings.analyses_per_second):
            raise StreamError(
                _("Pictures come in, but too late to be looked at. This machine or the network is too busy.")
            )

    def _login_failed(self, error: CameraError) -> None:
        again = _(
            "It is retried only every 10 minutes, so that the camera does not lock the account; after a "
            "change, at once."
        )
        self._failed(CameraError(f"{error} {again}"))

    def _failed(self, error: CameraError) -> float:
        self._log.info("offline: %s", error)
        self._outage.fault(str(error))
        self._tell_state(CameraState.OFFLINE, str(error))
        return PERMANENT_S if error.permanent else random.uniform(*BACKOFF_S)  # noqa: S311 - jitter, no secret

    def _flush(self) -> None:
        """Everybody leaves; the memory is empty afterwards."""
        for finding in self._analyzer.flush():
            self._outlet.tell(finding)
        self._analyzer = self._fresh_analyzer()
        if not self._stop.is_set():  # else they may still be there, and another worker goes on
            self.in_view = ()

    def _tell_state(self, state: CameraState, detail: str) -> None:
        with self._state_lock:
            self._tell(state, detail)

    def _tell(self, state: CameraState, detail: str) -> None:
        if self._state != (state, detail):
            self._state = (state, detail)
            self._outlet.tell_state(state, detail)
