"""Frames that a device pushes to the portal, and what its worker answers, through Redis: the newest wins.

Web and worker meet here, and nowhere else; neither waits for the other. For each camera there are

    device-frame:ID    the newest frame, with a time-to-live; its number is published on a channel of this name
    device-answer:ID   what was found in the newest one analysed, likewise
    device-shut:ID     the camera was deleted a moment ago: its worker gets no frame any more
    device-word:ID     why the device sends no frames, in its own word (cameras/states.py: DeviceWord)

A frame is its number (8 bytes, big-endian), its arrival time (8 bytes, a double, s since the epoch), and a JPEG.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, cast

from cameras.redis import (
    connection,
    device_answer_key,
    device_frame_key,
    device_number_key,
    device_shut_key,
    device_word_key,
    subscription,
)
from cameras.states import DeviceWord
from detection import Box, Sighting

TIME_TO_LIVE_S = 10
SHUT_S = 60  # by then its worker has let the camera go
WORD_TIME_TO_LIVE_S = 7 * 24 * 3600
_HEAD = struct.Struct(">Qd")


@dataclass(frozen=True)
class DeviceFrame:
    """One pushed frame. `number` grows for each camera; `arrived_at` is in s since the epoch."""

    number: int
    arrived_at: float
    jpeg: bytes


@dataclass(frozen=True)
class Face:
    """One face of an answer: `box` is x1, y1, x2, y2 from 0 to 1; `key` is the same for the same person."""

    box: Box
    label: str
    confidence: float
    key: str


@dataclass(frozen=True)
class Answer:
    """What was found in the frame with this number; `fault` says in a sentence why it could not be analysed.

    `ends` says that the device asked too much of its worker: its socket is closed with the fault.
    """

    number: int
    faces: tuple[Face, ...] = ()
    fault: str = ""
    ends: bool = False


def pack(frame: DeviceFrame) -> bytes:
    return _HEAD.pack(frame.number, frame.arrived_at) + frame.jpeg


def unpack(data: bytes) -> DeviceFrame:
    number, arrived_at = _HEAD.unpack_from(data)
    return DeviceFrame(number, arrived_at, data[_HEAD.size :])


def encode_answer(answer: Answer) -> bytes:
    return json.dumps(asdict(answer)).encode()


def decode_answer(data: bytes) -> Answer:
    given: dict[str, Any] = json.loads(data)
    faces = tuple(Face(_box(each["box"]), each["label"], each["confidence"], each["key"]) for each in given["faces"])
    return Answer(given["number"], faces, given["fault"], given.get("ends", False))


def _box(values: Iterable[float]) -> Box:
    x1, y1, x2, y2 = values
    return x1, y1, x2, y2


def _put(key: str, value: bytes, word: bytes | str) -> None:
    """Store a value in place of the previous one, and publish this word on the channel of the same name."""
    pipeline = connection().pipeline(transaction=False)
    pipeline.set(key, value, ex=TIME_TO_LIVE_S)
    pipeline.publish(key, word)
    pipeline.execute()


# -- the portal's end: blocking -------------------------------------------------------------------------------------


def push(camera_id: int, jpeg: bytes) -> int:
    """Store a frame in place of the previous one; returns its number. Raises cameras.redis.Errors."""
    number = int(connection().incr(device_number_key(camera_id)))
    _put(device_frame_key(camera_id), pack(DeviceFrame(number, time.time(), jpeg)), str(number))
    return number


def ask(camera_id: int, jpeg: bytes, within_s: float) -> Answer | None:
    """Push a frame and wait for its answer; None if none comes in time, or a newer frame was faster.

    Raises cameras.redis.Errors.
    """
    deadline = time.monotonic() + within_s
    with closing(subscription(device_answer_key(camera_id))) as pubsub:
        number = push(camera_id, jpeg)
        while (left := deadline - time.monotonic()) > 0:
            message = pubsub.get_message(timeout=left)
            if message is None:
                continue
            said = decode_answer(message["data"])
            if said.number >= number:
                return said if said.number == number else None
    return None


def say(camera_id: int, word: DeviceWord | None) -> None:
    """Keep why the device sends nothing, for anyone who asks; None if it does send. Raises cameras.redis.Errors."""
    if word is None:
        connection().delete(device_word_key(camera_id))
    else:
        connection().set(device_word_key(camera_id), word.value, ex=WORD_TIME_TO_LIVE_S)


def shut(camera_id: int) -> None:
    """The camera is deleted: from now on its worker gets none of its frames. Raises cameras.redis.Errors."""
    connection().set(device_shut_key(camera_id), b"1", ex=SHUT_S)
    connection().delete(device_frame_key(camera_id))


def open_again(camera_id: int) -> None:
    """Undo `shut`. Raises cameras.redis.Errors."""
    connection().delete(device_shut_key(camera_id))


# -- the worker's end: blocking -------------------------------------------------------------------------------------


def newest_frame(camera_id: int) -> DeviceFrame | None:
    data, is_shut = cast(
        "list[bytes | None]", connection().mget(device_frame_key(camera_id), device_shut_key(camera_id))
    )
    return unpack(data) if data is not None and is_shut is None else None


def answer(camera_id: int, number: int, sightings: Sequence[Sighting]) -> None:
    """Publish what was seen in a frame; raises cameras.redis.Errors."""
    faces = tuple(
        Face(_box(round(value, 4) for value in seen.box), seen.label, round(seen.confidence, 3), seen.key.hex[-6:])
        for seen in sightings
    )
    _tell(camera_id, Answer(number, faces))


def refuse(camera_id: int, number: int, fault: str, *, ends: bool = False) -> None:
    """Publish why a frame could not be analysed; raises cameras.redis.Errors."""
    _tell(camera_id, Answer(number, fault=fault, ends=ends))


def _tell(camera_id: int, said: Answer) -> None:
    data = encode_answer(said)
    _put(device_answer_key(camera_id), data, data)


def last_word(camera_id: int) -> DeviceWord | None:
    """Why the device sends nothing, if it said so."""
    data = connection().get(device_word_key(camera_id))
    word = data.decode() if isinstance(data, bytes) else ""
    return DeviceWord(word) if word in DeviceWord.values else None
