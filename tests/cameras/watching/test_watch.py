from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.errors import AddressError, CameraError, StreamError
from cameras.reach.addresses import clip_path, clips_folder
from cameras.reach.place import Place
from cameras.redis import ENCODED_KEY, looked_at_key, preview_key
from cameras.settings import CameraSettings
from cameras.sources import Frame, Opening, StreamFacts, open_source
from cameras.sources.base import register
from cameras.states import CameraState
from cameras.watching import watch
from cameras.watching.preview import LEAST_GAP_S, Offer, PreviewWriter, encode_preview, encoded_counts, read_header
from cameras.watching.watch import AnalysisPace, Watch
from detection import Analyzer, Detector, Image, PassageFinding, decode_picture
from tests.cameras.watching.notes import Notes
from tests.conftest import DEMO_CLIPS
from tests.portal_process import wait_for

DETECTOR = Detector.load()


@pytest.fixture
def clips(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return clips_folder()


@pytest.fixture
def watching(clips: Path, watches: Callable[[CameraSettings], Notes]) -> Callable[[str, str], Notes]:
    """Starts the watch of a camera of this kind and address."""
    return lambda kind, address: watches(CameraSettings(1, "Front door", Place(kind, address)))


def test_a_clip_is_a_live_camera_at_its_own_pace(clips: Path, watching: Any) -> None:
    shutil.copy(DEMO_CLIPS / "harbour-house.mp4", clips / "a.mp4")
    began = time.time()
    notes = watching("clip", "a.mp4")
    wait_for(lambda: notes.findings, 15, "a finding")
    assert notes.states == [(CameraState.CONNECTING, ""), (CameraState.ONLINE, "")]
    assert isinstance(notes.findings[0], PassageFinding)
    assert 1.0 < notes.findings[0].started_at - began < 4.0, "the first walks in after a second, not at once"
    gaps = np.diff([offer.captured_at for offer in notes.offers])
    assert 0.18 < np.median(gaps) < 0.22, "five analyses a second"


def test_who_is_in_the_picture_when_a_watch_ends_is_closed(clips: Path) -> None:
    shutil.copy(DEMO_CLIPS / "harbour-house.mp4", clips / "a.mp4")
    notes, stop = Notes(), threading.Event()
    settings = CameraSettings(1, "Front door", Place("clip", "a.mp4"))
    thread = threading.Thread(target=Watch(settings, 1, lambda: Analyzer(DETECTOR), notes, stop).run)
    thread.start()
    wait_for(lambda: notes.findings, 15, "a finding")
    stop.set()
    thread.join(5)
    assert {f.key: f for f in notes.findings}[notes.findings[0].key].ended_at is not None


def test_after_the_clock_was_set_a_camera_is_watched_on(
    clips: Path, watching: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(DEMO_CLIPS / "harbour-house.mp4", clips / "a.mp4")
    notes = watching("clip", "a.mp4")
    wait_for(lambda: len(notes.offers) > 3, 10, "the watch")
    real = time.time
    for step in (3600.0, -7200.0):
        monkeypatch.setattr(time, "time", lambda step=step: real() + step)
        seen = len(notes.offers)
        wait_for(lambda seen=seen: len(notes.offers) > seen + 3, 5, "analyses after the step")  # type: ignore[misc]
        assert abs(notes.offers[-1].captured_at - time.time()) < 2


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "There is no such clip"), (b"", "not a video"), (b"no clip" * 99, "not a video")],
    ids=["missing", "empty", "text"],
)
def test_a_clip_that_cannot_be_played_is_offline_with_a_plain_reason(
    clips: Path, watching: Any, content: bytes | None, says: str
) -> None:
    if content is not None:
        (clips / "a.mp4").write_bytes(content)
    notes = watching("clip", "a.mp4")
    wait_for(lambda: len(notes.states) == 2, 5, "the state")
    state, detail = notes.states[1]
    assert state is CameraState.OFFLINE and says in detail


def test_a_clip_that_breaks_off_is_offline_and_tried_again(
    clips: Path, watching: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BACKOFF_S", (0.1, 0.2))
    shutil.copy(DEMO_CLIPS / "harbour-house.mp4", clips / "a.mp4")
    clip, tries = clips / "a.mp4", []

    class Breaking:
        facts, may_rest = StreamFacts(), False

        def frames(self, stop: threading.Event) -> Iterator[Frame]:
            tries.append(1)
            if len(tries) < 3:
                raise StreamError("The stream ended.")
            yield from open_source(Opening(Place("clip", clip.name))).frames(stop)

        def close(self) -> None:
            pass

    register("breaking")(lambda opening: Breaking())
    notes = watching("breaking", "")
    wait_for(lambda: (CameraState.ONLINE, "") in notes.states, 10, "the camera to come back")
    assert notes.states[:2] == [(CameraState.CONNECTING, ""), (CameraState.OFFLINE, "The stream ended.")]


def test_a_fault_of_ours_in_one_watch_is_logged_and_tried_again(
    watching: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty:
        facts, may_rest = StreamFacts(), False

        def frames(self, stop: threading.Event) -> Iterator[Frame]:
            raise ZeroDivisionError

        def close(self) -> None:
            pass

    register("faulty")(lambda opening: Faulty())
    notes = watching("faulty", "")
    wait_for(lambda: len(notes.states) == 2, 5, "the state")
    assert notes.states[1][0] is CameraState.OFFLINE and "cameras.watch.1" in caplog.text


@given(st.lists(st.floats(0.001, 2.0), min_size=1, max_size=80), st.sampled_from([1.0, 5.0, 10.0]))
def test_frames_are_analysed_at_most_as_often_as_wanted(gaps: list[float], per_second: float) -> None:
    pace, times = AnalysisPace(per_second), np.cumsum(gaps)
    due = [at for at in times if pace.due(at)]
    assert due[0] == times[0]
    span = due[-1] - due[0]
    assert len(due) <= span * per_second + 1 + 1e-6
    for before, after in zip(due, due[1:], strict=False):
        skipped = [at for at in times if before < at < after]
        assert not skipped or skipped[-1] - before < 1 / per_second + 1e-6


# -- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["", ".", "..", "../secret-key", "/etc/passwd", "a/../../secret-key", "a.mp4\0", "link.mp4", "file:///etc/passwd",
     "http://127.0.0.1/", "concat:a.mp4", "x" * 400],
)  # fmt: skip
def test_only_files_below_the_folder_of_clips_are_opened(clips: Path, address: str) -> None:
    (clips.parent / "secret-key").write_text("secret")
    (clips / "link.mp4").symlink_to(clips.parent / "secret-key")
    with pytest.raises(AddressError):
        clip_path(address)
    with pytest.raises(CameraError):
        open_source(Opening(Place("clip", address)))


# -- previews -------------------------------------------------------------------------------------------------------


def offer(camera_id: int, at: float) -> Offer:
    return Offer(camera_id, 1, at, np.full((720, 1280, 3), 120, np.uint8), [])


def test_a_preview_says_its_camera_token_and_time_and_is_small() -> None:
    data = encode_preview(offer(7, 12.5), 3)
    assert read_header(data) == {"camera": 7, "token": 1, "number": 3, "captured_at": 12.5, "faces": []}
    length = int.from_bytes(data[:4], "big")
    assert decode_picture(data[4 + length :]).shape == (540, 960, 3)


def picture_of(data: bytes) -> Image:
    length = int.from_bytes(data[:4], "big")
    return decode_picture(data[4 + length :])


def test_every_possible_face_is_hidden_from_those_who_may_not_see_faces() -> None:
    noise = np.random.default_rng(3).integers(0, 255, (720, 1280, 3), np.uint8)
    box = (0.4, 0.3, 0.6, 0.7)
    given = Offer(7, 1, 1.0, noise, [], [box])
    sharp, hidden = (picture_of(encode_preview(given, 1, pixelated)) for pixelated in (False, True))
    face, beside = (slice(170, 370), slice(390, 570)), (slice(0, 540), slice(0, 300))
    assert sharp[face].std() > 30 and hidden[face].std() < 25 and hidden[beside].std() > 30
    assert hidden[face][:, :, 0].std(axis=1).mean() < 15, "what is left are a few squares"
    unknown = picture_of(encode_preview(Offer(7, 1, 1.0, noise, []), 1, pixelated=True))
    assert unknown.std() < 15, "where no face is known, everything is coarse"
    assert noise.std() > 60, "and the frame itself is as it was"


def test_each_kind_of_preview_is_encoded_only_for_those_who_get_it(redis: Any) -> None:
    redis.set(looked_at_key(7, pixelated=True), "1")
    writer = PreviewWriter()
    writer.begin(7)
    wait_for(lambda: writer.wanted(7), 3, "the worker to know that a viewer looks")
    writer.offer(offer(7, 1.0))
    wait_for(lambda: redis.exists(preview_key(7, pixelated=True)), 3, "the preview")
    assert not redis.exists(preview_key(7)), "no picture with faces was made"
    writer.close()


def test_nothing_is_encoded_while_nobody_looks(redis: Any) -> None:
    writer = PreviewWriter()
    writer.begin(7)
    for step in range(5):
        writer.offer(offer(7, step))
        wait_for(lambda: not writer._newest, 3, "the offer to be taken")
    assert encoded_counts([7]) == {7: 0}
    redis.set(looked_at_key(7), "1")

    def encoded() -> bool:
        writer.offer(offer(7, time.time()))
        return encoded_counts([7])[7] >= 2

    wait_for(encoded, 5, "a preview")
    redis.delete(looked_at_key(7))
    wait_for(lambda: not writer.wanted(7), 3, "the worker to know that nobody looks")
    before = redis.hget(ENCODED_KEY, "7")
    writer.offer(offer(7, time.time() + 1))
    wait_for(lambda: not writer._newest, 3, "the offer to be taken")
    assert redis.hget(ENCODED_KEY, "7") == before
    writer.close()


def test_at_most_five_previews_a_second_are_encoded(redis: Any) -> None:
    redis.set(looked_at_key(7), "1")
    writer = PreviewWriter()
    writer.begin(7)
    wait_for(lambda: writer.wanted(7), 3, "the worker to know that somebody looks")
    for step in range(31):
        writer.offer(offer(7, step / 15))
        wait_for(lambda: not writer._newest, 3, "the offer to be taken")
    writer.close()
    assert encoded_counts([7])[7] <= 2 / LEAST_GAP_S + 1
