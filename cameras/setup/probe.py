"""The staged test of an address before it is saved: name, connection, login, video, picture, face.

It opens the camera with the same code that watches it, within PROBE_S in total. Each step says what was found, or what
is wrong and what to do; a face is not required: nobody may be there. The report grows in Redis while the test runs:

    probe:<id>          JSON: {"done": false, "steps": [{"name": "login", "status": "passed", "text": "…"}, …]}
    probe-picture:<id>  JPEG with boxes around faces, longer side at most 960 px

What was typed is passed as the id of a sealed row (ProbeRequest), never through the broker.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import cast
from uuid import UUID

from django.db import models
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from cameras.errors import CameraError
from cameras.models import ProbeRequest
from cameras.reach import login_guard
from cameras.reach.credentials import seal, unseal
from cameras.reach.place import Place
from cameras.redis import Errors, connection
from cameras.sources import Opening, Source, StreamFacts, open_source
from cameras.watching.watch import BLACK, is_black
from detection import Detector, Image, ModelError, draw, encode_jpeg, scaled_down
from detection.zones import NOWHERE, Zone, Zones

log = logging.getLogger(__name__)

PROBE_S = 14.0
FACE_S = 3.0  # for a face, after the first picture
KEPT = timedelta(minutes=15)
LEAST_FACE_PX = 10  # of the model's input: smaller ones do not vote
GOOD_FACE_PX = 16
RARE_KEYS_S = 5.0
SLOW_RATE = 2.5  # pictures a second
LOOK_EVERY_S = 0.3
MEASURE_S = 2.5  # of video, for its rate
CODECS = {"h264": "H.264", "hevc": "H.265", "mjpeg": "MJPEG"}
TURN_S = 5.0
PICTURE_PX = 960
WHO = "test"  # the name that signs in


class Step(models.TextChoices):
    """The steps, in order."""

    NAME = "name", gettext_lazy("Address")
    CONNECTION = "connection", gettext_lazy("Connection")
    LOGIN = "login", gettext_lazy("Login")
    VIDEO = "video", gettext_lazy("Video")
    PICTURE = "picture", gettext_lazy("Picture")
    FACE = "face", gettext_lazy("Face")


class Status(models.TextChoices):
    """How a step went. Each has its own shape and word on the page."""

    WAITING = "waiting", gettext_lazy("waiting")
    RUNNING = "running", gettext_lazy("running")
    PASSED = "passed", gettext_lazy("passed")
    REMARK = "remark", gettext_lazy("look at this")
    FAILED = "failed", gettext_lazy("failed")


@dataclass
class StepReport:
    name: str
    status: str = Status.WAITING.value
    text: str = ""


@dataclass
class Report:
    """What is known about a test so far."""

    steps: list[StepReport] = field(default_factory=lambda: [StepReport(step.value) for step in Step])
    done: bool = False
    picture: bool = False

    def step(self, name: str) -> StepReport:
        return next(step for step in self.steps if step.name == name)

    @property
    def current(self) -> StepReport:
        """The first step that has not passed."""
        waiting = (step for step in self.steps if step.status in {Status.WAITING, Status.RUNNING})
        return next(waiting, self.steps[-1])

    @property
    def passed(self) -> bool:
        return self.done and all(step.status != Status.FAILED for step in self.steps)

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: bytes | str) -> Report:
        """Raises ValueError, KeyError or TypeError if this is no report."""
        given = json.loads(text)
        steps = [StepReport(Step(step["name"]).value, Status(step["status"]).value, str(step["text"]))
                 for step in given["steps"]]  # fmt: skip
        return cls(steps, bool(given["done"]), bool(given["picture"]))


@dataclass(frozen=True)
class Typed:
    """What somebody wants to test."""

    place: Place
    view: int = 0
    model: str = "default"
    language: str = "en"
    zones: Zones = NOWHERE

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Typed:
        given = json.loads(text)
        zones = Zones(tuple(Zone.of(**each) for each in given["zones"]["zones"]))
        return cls(**given | {"place": Place(**given["place"]), "zones": zones})


# -- on its way -----------------------------------------------------------------------------------------------------


def ask(site_id: int, asked_by: int, typed: Typed) -> ProbeRequest:
    """Keep what was typed, sealed, for the worker that tests it; the report begins with all steps waiting."""
    request = ProbeRequest.objects.create(site_id=site_id, asked_by=asked_by, sealed=seal(typed.encode()))
    publish(request.pk, Report())
    return request


def drop_old() -> int:
    """Delete what was typed longer than 15 minutes ago."""
    return ProbeRequest.objects.filter(asked_at__lt=timezone.now() - KEPT).delete()[0]


def report_key(probe_id: UUID) -> str:
    return f"probe:{probe_id}"


def picture_key(probe_id: UUID) -> str:
    return f"probe-picture:{probe_id}"


def publish(probe_id: UUID, report: Report) -> None:
    connection().set(report_key(probe_id), report.encode(), ex=KEPT)


def read_report(probe_id: UUID) -> Report | None:
    """The current report; None once it has expired."""
    value = cast("bytes | None", connection().get(report_key(probe_id)))
    return None if value is None else Report.decode(value)


def read_picture(probe_id: UUID) -> bytes | None:
    return cast("bytes | None", connection().get(picture_key(probe_id)))


def fail(probe_id: UUID, text: str) -> None:
    """End a test that nobody will carry out, with the reason."""
    report = Report(done=True)
    report.steps[0].status, report.steps[0].text = Status.FAILED.value, text
    publish(probe_id, report)


# -- the test -------------------------------------------------------------------------------------------------------


def carry_out(probe_id: UUID, detector_for: Callable[[str, int], Detector]) -> None:
    """Test what was typed, and publish each step as it happens. Does nothing if the row is gone."""
    request = ProbeRequest.objects.filter(pk=probe_id).first()
    if request is None:
        return
    typed = Typed.decode(unseal(request.sealed))
    ProbeRequest.objects.filter(pk=probe_id).update(sealed="")  # it is needed only once

    def publish_all(report: Report, picture: Image | None) -> None:
        if picture is not None:
            jpeg = encode_jpeg(scaled_down(picture, PICTURE_PX), 80)
            connection().set(picture_key(probe_id), jpeg, ex=KEPT)
            report.picture = True
        publish(probe_id, report)

    with translation.override(typed.language):
        try:
            detector = detector_for(typed.model, typed.view)
        except ModelError as error:
            fail(probe_id, str(error))
            return
        Probe(typed, detector, publish_all, site_id=request.site_id).run()


class Probe:
    """One test. `tell` is called with the report after each step, and with the picture if there is a new one."""

    def __init__(
        self,
        typed: Typed,
        detector: Detector,
        tell: Callable[[Report, Image | None], None],
        within_s: float = PROBE_S,
        site_id: int = 0,
    ) -> None:
        self._typed = typed
        self._site_id = site_id
        self._detector = detector
        self._tell = tell
        self._stop = threading.Event()
        self._within_s = within_s
        self._video_at = time.monotonic()
        self.report = Report()

    def run(self) -> Report:
        self._begin(Step.NAME)
        try:
            with self._deadline():
                self._wait_for_turn()
                with closing(open_source(self._opening())) as source:
                    self._look_at(source)
        except CameraError as error:
            self._end(Status.FAILED, self._too_late() if self._stop.is_set() else str(error))
        except Exception:
            log.exception("a test failed")
            self._end(Status.FAILED, _("The portal failed while testing; its log says more."))
        self.report.done = True
        self._tell(self.report, None)
        return self.report

    def _opening(self) -> Opening:
        return Opening(self._typed.place, self._stop, self._reached, site_id=self._site_id)

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        timer = threading.Timer(self._within_s, self._stop.set)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _wait_for_turn(self) -> None:
        """A test and a watch do not sign in at the same time: the camera would take it for password guessing."""
        if not self._typed.place.user:
            return
        until = time.monotonic() + TURN_S
        try:
            while time.monotonic() < until and not login_guard.take_turn(self._typed.place, WHO):
                self._stop.wait(0.25)
        except Errors:
            return

    def _give_turn_back(self) -> None:
        try:
            login_guard.give_turn_back(self._typed.place, WHO)
        except Errors:
            log.debug("Redis does not answer; the turn expires by itself")

    # -- steps ------------------------------------------------------------------------------------------------------

    def _begin(self, step: Step) -> None:
        entry = self.report.step(step.value)
        entry.status = Status.RUNNING.value
        if step is Step.FACE:
            entry.text = _("Stand in front of the camera.")
        self._tell(self.report, None)

    def _end(self, status: Status, text: str) -> None:
        entry = self.report.current
        entry.status, entry.text = status.value, text

    def _set(self, step: Step, status: Status, text: str) -> None:
        entry = self.report.step(step.value)
        entry.status, entry.text = status.value, text

    def _reached(self, name: str) -> None:
        if self.report.step(name).status == Status.PASSED:
            return  # a second connection, to sign in
        said = {
            "name": _("The address can be opened."),
            "connection": _("The camera answers."),
            "login": _("The camera lets us in.") if self._typed.place.user else _("The camera asks for no login."),
        }
        self._set(Step(name), Status.PASSED, said[name])
        if name == "login":
            self._give_turn_back()
        self._begin(list(Step)[list(Step).index(Step(name)) + 1])
        self._video_at = time.monotonic()

    def _look_at(self, source: Source) -> None:
        """Read frames until a face has been seen and the rate measured, or FACE_S have passed."""
        facts = source.facts
        self._set(Step.VIDEO, Status.PASSED, describe(facts))
        self._begin(Step.PICTURE)
        first_at = looked_at = 0.0
        found = False
        for frame in source.frames(self._stop):
            now = time.monotonic()
            if first_at and (now - looked_at < LOOK_EVERY_S or found):
                if now - first_at > (MEASURE_S if found else FACE_S):
                    break
                continue
            image = self._typed.zones.black_out(frame.image_bgr())
            if not first_at:
                first_at = now
                self._set(Step.PICTURE, *judge_picture(image, now - self._video_at))
                self._begin(Step.FACE)
                self._tell(self.report, image)
            looked_at = now
            found = self._look_for_face(image)
        self._set(Step.VIDEO, *judge_video(facts))
        if not first_at:
            raise CameraError(self._too_late())
        if not found:
            self._set(
                Step.FACE,
                Status.REMARK,
                _("Nobody was seen. That is not an error: stand in front of the camera and test again, to see whether "
                  "your face is large enough."),
            )  # fmt: skip

    def _look_for_face(self, image: Image) -> bool:
        faces = self._detector.detect(image)
        if not faces:
            return False
        height = image.shape[0]
        tallest = max((face.box[3] - face.box[1]) * height for face in faces)
        at_input = tallest * self._detector.input_scale(image)
        self._set(Step.FACE, *judge_face(len(faces), tallest, at_input))
        self._tell(self.report, draw(image, faces))
        return True

    def _too_late(self) -> str:
        """What the test was waiting for when its time ran out."""
        if self.report.current.name in {Step.VIDEO, Step.PICTURE}:
            return _(
                "No picture yet: your camera sends a whole picture only every 10 s or so. "
                "Set its key-frame interval (I-frame interval, GOP) to 2 s, then test again."
            )
        return _("This took too long. Is the camera busy, or far away? Test again.")


def describe(facts: StreamFacts) -> str:
    """Codec, size, rate and key-frame interval, as far as they are known."""
    parts = [CODECS.get(facts.codec, facts.codec.upper())]
    if facts.width:
        parts.append(f"{facts.width}×{facts.height}")
    if rate := facts.packets_per_second:
        digits = f"{rate:.2g}" if rate < 5 else f"{rate:.0f}"  # measured in seconds, in which a late packet is a tenth
        parts.append(_("%(rate)s pictures a second") % {"rate": digits})
    if facts.key_frame_gap_s and facts.key_frame_gap_s > 1.5 / max(1.0, facts.packets_per_second):
        gap_s = facts.key_frame_gap_s
        if gap_s > 0.9:
            gap_s = round(2 * gap_s) / 2  # measured over one gap, so half seconds are what can be said
        parts.append(_("a whole one every %(gap)s s") % {"gap": f"{gap_s:.2g}"})
    return ", ".join(parts)


def judge_video(facts: StreamFacts) -> tuple[Status, str]:
    """What was measured, and what should be set differently on the camera."""
    said = describe(facts)
    if 0 < facts.packets_per_second < SLOW_RATE:
        return Status.REMARK, said + ". " + _("Few pictures: people pass unseen between them. Set 5 a second or more.")
    if (facts.key_frame_gap_s or 0) > RARE_KEYS_S:
        return Status.REMARK, said + ". " + _("Set its key-frame interval to 2 s, and the picture comes back faster.")
    return Status.PASSED, said


def judge_picture(image: Image, waited_s: float) -> tuple[Status, str]:
    """The first picture: is it black, did it take long?"""
    if is_black(image):
        return Status.REMARK, str(BLACK)
    if waited_s > RARE_KEYS_S:
        return Status.REMARK, _(
            "The first picture took %(seconds)d s: your camera sends a whole one only that rarely. "
            "Set its key-frame interval (I-frame interval, GOP) to 2 s."
        ) % {"seconds": round(waited_s)}
    return Status.PASSED, _("The picture comes in.")


def judge_face(count: int, height_px: float, at_input_px: float) -> tuple[Status, str]:
    """Whether the largest face is large enough for the model."""
    seen = ngettext("%(count)d face, %(px)d px tall.", "%(count)d faces, the largest %(px)d px tall.", count) % {
        "count": count,
        "px": round(height_px),
    }
    if at_input_px >= GOOD_FACE_PX:
        return Status.PASSED, seen + " " + _("That is large enough.")
    if at_input_px >= LEAST_FACE_PX:
        return Status.REMARK, seen + " " + _("That is just enough. Choose “wide lobby”, or move the camera closer.")
    return Status.REMARK, seen + " " + _(
        "That is too small to be sure of a mask. Choose “wide lobby”, or move it closer."
    )
