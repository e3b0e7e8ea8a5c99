"""A device's frames, from the portal's end of Redis to the answer of a real watch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.reach.place import Place
from cameras.settings import CameraSettings
from cameras.sources import device, device_frames
from cameras.sources.decoding import DecodingTime
from cameras.sources.device_frames import Answer, DeviceFrame, Face, decode_answer, encode_answer, pack, unpack
from cameras.states import CameraState, DeviceWord
from detection import ViolationFinding
from tests.cameras.footage import door_frames
from tests.cameras.watching.notes import Notes
from tests.portal_process import wait_for

CAMERA = 7


@pytest.fixture
def notes(redis: Any, watches: Callable[[CameraSettings], Notes]) -> Iterator[Notes]:
    yield watches(CameraSettings(CAMERA, "Phone", Place("device", "")))


def push_until(notes: Notes, done: Callable[[], object], within_s: float = 20) -> list[Answer]:
    """Push the demo's door, five frames a second of the clip, until `done`; returns the answers."""
    answers, deadline = [], time.monotonic() + within_s
    for jpeg in door_frames():
        assert time.monotonic() < deadline, "it did not come in time"
        began = time.monotonic()
        if answer := device_frames.ask(CAMERA, jpeg, 2.0):
            answers.append(answer)
        if done():
            break
        time.sleep(max(0.0, 0.2 - (time.monotonic() - began)))  # the pace of the clip, not a wait
    return answers


def test_a_person_without_a_mask_before_a_device_is_a_violation(notes: Notes) -> None:
    answers = push_until(notes, lambda: any(isinstance(each, ViolationFinding) for each in notes.findings))
    assert (CameraState.ONLINE, "") in notes.states
    faces = [face for answer in answers for face in answer.faces]
    assert {face.label for face in faces} & {"no_mask", "unsure"} and len({face.key for face in faces}) < len(faces)
    assert all(0 <= value <= 1 for face in faces for value in (*face.box, face.confidence))
    assert [answer.number for answer in answers] == sorted({answer.number for answer in answers})


def test_a_frame_that_is_no_picture_is_answered_so_and_the_next_is_looked_at(notes: Notes) -> None:
    wait_for(lambda: notes.states, 5, "the watch")
    jpeg = next(iter(door_frames()))
    wait_for(lambda: device_frames.ask(CAMERA, jpeg, 1.0), 10, "an answer")
    refused = device_frames.ask(CAMERA, b"\xff\xd8 this is no picture", 2.0)
    assert refused is not None and "not a picture" in refused.fault and refused.faces == ()
    again = device_frames.ask(CAMERA, jpeg, 2.0)
    assert again is not None and again.number == refused.number + 1 and not again.fault


def test_a_device_whose_pictures_take_too_long_is_told_so_and_ended(
    notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for(lambda: notes.states, 5, "the watch")
    jpeg = next(iter(door_frames()))
    wait_for(lambda: device_frames.ask(CAMERA, jpeg, 1.0), 10, "an answer")
    monkeypatch.setattr(device, "TIMES", DecodingTime())
    device.TIMES.count(CAMERA, 0, 5.0)
    refused = device_frames.ask(CAMERA, jpeg, 2.0)
    assert refused is not None and refused.ends and "too long to decode" in refused.fault


def test_frames_of_a_deleted_camera_are_not_looked_at(notes: Notes) -> None:
    wait_for(lambda: notes.states, 5, "the watch")
    jpeg = next(iter(door_frames()))
    wait_for(lambda: device_frames.ask(CAMERA, jpeg, 1.0), 10, "an answer")
    device_frames.shut(CAMERA)
    assert device_frames.newest_frame(CAMERA) is None, "nor does a face stay in Redis"
    assert device_frames.ask(CAMERA, jpeg, 0.5) is None
    device_frames.open_again(CAMERA)
    assert device_frames.ask(CAMERA, jpeg, 2.0) is not None, "the deletion was undone"


def test_of_two_frames_the_newest_is_looked_at(redis: Any) -> None:
    first, second = device_frames.push(CAMERA, b"first"), device_frames.push(CAMERA, b"second")
    newest = device_frames.newest_frame(CAMERA)
    assert newest is not None and (newest.number, newest.jpeg) == (second, b"second") and second == first + 1
    assert abs(newest.arrived_at - time.time()) < 2
    assert 0 < redis.ttl(f"device-frame:{CAMERA}") <= device_frames.TIME_TO_LIVE_S, "no face stays in Redis"


def test_without_a_worker_there_is_no_answer(redis: Any) -> None:
    began = time.monotonic()
    assert device_frames.ask(CAMERA, b"x", 0.3) is None
    assert 0.25 < time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("word", "says"), [(None, "sends no pictures"), *((word, str(word.meaning)) for word in DeviceWord)]
)
def test_a_silent_device_is_offline_with_its_own_word(
    redis: Any, watches: Any, monkeypatch: pytest.MonkeyPatch, word: DeviceWord | None, says: str
) -> None:
    monkeypatch.setattr(device, "PATIENCE_S", 0.1)
    if word is not None:
        device_frames.say(CAMERA, word)
    notes = watches(CameraSettings(CAMERA, "Phone", Place("device", "")))
    wait_for(lambda: len(notes.states) == 2, 5, "the state")
    state, detail = notes.states[1]
    assert state is CameraState.OFFLINE and says in detail
    assert word is None or str(word.remedy) in detail, "and it says what to do"


boxes = st.tuples(*[st.floats(0, 1)] * 4)
faces = st.builds(Face, boxes, st.sampled_from(["mask", "no_mask", "unsure"]), st.floats(0, 1), st.text(max_size=6))


@given(st.integers(0, 2**64 - 1), st.floats(0, 2e9), st.binary(max_size=200))
def test_a_frame_comes_out_of_redis_as_it_went_in(number: int, arrived_at: float, jpeg: bytes) -> None:
    frame = DeviceFrame(number, arrived_at, jpeg)
    assert unpack(pack(frame)) == frame


@given(
    st.builds(
        Answer, st.integers(0, 2**63), st.lists(faces, max_size=4).map(tuple), st.text(max_size=20), st.booleans()
    )
)
def test_an_answer_comes_out_as_it_went_in(answer: Answer) -> None:
    assert decode_answer(encode_answer(answer)) == answer
