"""The sockets of the pages at a door: the device that is a camera, and the loudspeaker beside one.

The messages are in messages.py; a loudspeaker sends only "heard", and gets only "settings" and "say". The token comes
in a cookie. An error closes the socket, with a reason: 4401 the token is no longer valid, 4413 a frame is too large,
4415 it is not a JPEG, 4429 frames come too fast, 4400 a message cannot be understood, 4408 the page does not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import weakref
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import DatabaseError

from cameras.models import Camera, CameraZone
from cameras.redis import Errors, device_answer_key, door_channel
from cameras.sources import device_frames
from cameras.states import DeviceWord
from portal.devices import messages, pairing, pushing
from portal.devices.messages import DoorSettings, FrameAck, Heard, PrivateZone, ToDoor, Trouble, Word
from portal.devices.pushing import FrameError
from portal.live.sockets import Sockets
from portal.models import DeviceToken, Purpose, Voice
from portal.people.memberships import hash_of
from portal.voice import reminding

STANDING_EVERY_S = 2.0
TOLD_EVERY_ROUNDS = 5
CLOSE_UNPAIRED = 4401
CLOSE_NONSENSE = 4400
CLOSE_OF = {413: 4413, 415: 4415, 429: 4429}
LEFT = {1000, 1001}  # the page went away of its own accord (RFC 6455, section 7.4.1)


@dataclass(frozen=True)
class Door:
    """What a paired device must know about its camera."""

    camera_id: int
    camera: str
    site: str
    rate: float
    paused: bool
    output: str
    private: tuple[PrivateZone, ...] = ()

    def settings(self, purpose: Purpose) -> DoorSettings:
        speaks = self.output == OUTPUTS[purpose]
        return DoorSettings(self.camera, self.site, self.rate, self.paused, speaks, self.private)


OUTPUTS = {Purpose.CAMERA: Voice.Output.DEVICE, Purpose.LOUDSPEAKER: Voice.Output.LOUDSPEAKER}


def door_of(camera: Camera) -> Door:
    voice = getattr(camera, "voice", None)
    output = voice.output if voice else Voice.Output.NOWHERE.value
    private = tuple(
        PrivateZone(tuple((x, y) for x, y in zone.points), zone.aspect)
        for zone in camera.zones.all()  # fetched with the camera
        if zone.kind == CameraZone.Kind.PRIVACY
    )
    return Door(camera.pk, camera.name, camera.site.name, camera.analyses_per_second, camera.paused, output, private)


def read_door(token: str, purpose: Purpose) -> Door | None:
    """The door that a token is valid for."""
    camera = pairing.camera_of(token, purpose)
    return None if camera is None else door_of(camera)


def read_doors(token_hashes: list[str]) -> dict[str, Door]:
    """The doors of those tokens that are still valid. Two queries for any number of devices."""
    rows = DeviceToken.objects.filter(pairing.good_tokens(), token_hash__in=token_hashes)
    rows = rows.select_related("camera__site", "camera__voice").prefetch_related("camera__zones")
    return {row.token_hash: door_of(row.camera) for row in rows}


class DoorConsumer(AsyncWebsocketConsumer):
    """The socket of a page at a door."""

    purpose: ClassVar[Purpose]
    door: Door | None = None
    token_hash = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """However a socket ends, even by an error while sending, it is removed from the shared ones."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.door = None
            sockets().leave(self)

    async def connect(self) -> None:
        token = self.scope["cookies"].get(pairing.COOKIES[self.purpose], "")
        door = await database_sync_to_async(read_door)(token, self.purpose) if token else None
        await self.accept()
        if door is None:
            await self.close(CLOSE_UNPAIRED)
            return
        self.token_hash, self.door = hash_of(token), door
        await self.begin(self.door)
        await self.tell(self.door.settings(self.purpose))
        sockets().join(self)

    async def begin(self, door: Door) -> None:
        """The device has connected with a valid token."""

    async def unpaired(self, door: Door) -> None:
        """Its token was revoked."""

    def channels(self) -> set[str]:
        """The Redis channels whose messages are for this page."""
        if self.door is None:
            return set()
        return {door_channel(self.door.camera_id, OUTPUTS[self.purpose])}

    async def end(self, code: int, reason: str = "") -> None:
        """Close; anything received after that is ignored."""
        self.door = None
        sockets().leave(self)
        await self.close(code, reason=reason[:120])

    async def tell(self, message: ToDoor) -> None:
        await self.send(text_data=messages.encode(message))

    async def hand_on(self, text: str) -> None:
        """Pass on what a worker or the voice says, unchanged."""
        await self.send(text_data=text)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.door is None:
            return
        try:
            if bytes_data is not None:
                await self.hear_frame(self.door, bytes_data)
            else:
                await self.hear(self.door, messages.decode(text_data or ""))
        except (ValueError, TypeError, KeyError, RecursionError):
            await self.end(CLOSE_NONSENSE, "A message is JSON: a word of the device, or how a reminder went.")

    async def hear(self, door: Door, message: Word | Heard) -> None:
        """Handle a message; raises ValueError for one that this kind of page does not send."""
        if not isinstance(message, Heard):
            raise ValueError
        with contextlib.suppress(DatabaseError):
            await database_sync_to_async(reminding.note_heard)(message.reminder, door.camera_id, message.why)

    async def hear_frame(self, door: Door, data: bytes) -> None:
        raise ValueError

    async def stand(self, door: Door | None, again: bool) -> None:
        """Update to the camera as it now is; None: the token is no longer valid. `again`: send it even if unchanged."""
        before = self.door
        if before is None:
            return
        if door is None:
            await self.unpaired(before)
            await self.end(CLOSE_UNPAIRED)
        elif again or door != before:
            self.door = door
            await self.tell(door.settings(self.purpose))


class SpeakerConsumer(DoorConsumer):
    """The loudspeaker beside a camera."""

    purpose = Purpose.LOUDSPEAKER


class DeviceConsumer(DoorConsumer):
    """A device that is a camera."""

    purpose = Purpose.CAMERA
    word: DeviceWord | None = None

    async def begin(self, door: Door) -> None:
        await in_thread(device_frames.say, door.camera_id, None)

    async def unpaired(self, door: Door) -> None:
        await in_thread(device_frames.say, door.camera_id, DeviceWord.UNPAIRED)

    def channels(self) -> set[str]:
        answers = {device_answer_key(self.door.camera_id)} if self.door else set()
        return super().channels() | answers

    async def disconnect(self, code: int) -> None:
        """A page that goes away is hidden first and then says "asleep": it counts as closed all the same."""
        if self.door is not None and self.word in {None, DeviceWord.ASLEEP} and code in LEFT:
            await in_thread(device_frames.say, self.door.camera_id, DeviceWord.CLOSED)

    async def hear(self, door: Door, message: Word | Heard) -> None:
        if isinstance(message, Heard):
            await super().hear(door, message)
            return
        self.word = message.word
        await in_thread(device_frames.say, door.camera_id, self.word)

    async def hear_frame(self, door: Door, data: bytes) -> None:
        if door.paused:
            return
        if self.word is not None:
            self.word = None
            await in_thread(device_frames.say, door.camera_id, None)
        try:
            pushing.check_frame(data)
            await sync_to_async(take, thread_sensitive=False)(door.camera_id, door.rate, data)
        except FrameError as error:
            await self.end(CLOSE_OF[error.status], str(error))
            return
        except Errors:
            await self.tell(Trouble("Redis does not answer."))
        if self.door is not None:
            await self.tell(FrameAck())


def take(camera_id: int, rate: float, data: bytes) -> None:
    """Count a checked frame and pass it on; raises FrameError and cameras.redis.Errors."""
    pushing.check_pace(camera_id, rate)
    device_frames.push(camera_id, data)


async def in_thread(step: Any, *arguments: Any) -> None:
    """Run a step that may fail while Redis is down, and that matters less than the socket."""
    with contextlib.suppress(*Errors):
        await sync_to_async(step, thread_sensitive=False)(*arguments)


class DoorSockets(Sockets[DoorConsumer]):
    """All sockets of doors in one event loop: which are still paired, and what they hear."""

    def rounds(self) -> Sequence[Coroutine[Any, Any, None]]:
        return (self.every(STANDING_EVERY_S, self._compare), self.follow(self._channels, self._heard))

    def __init__(self) -> None:
        super().__init__()
        self._count = count(1)

    async def _compare(self) -> None:
        """Tell each device how its camera is set; end those that are no longer paired."""
        again = next(self._count) % TOLD_EVERY_ROUNDS == 0
        members = list(self.members)
        found = await database_sync_to_async(read_doors)([each.token_hash for each in members])
        await self.each(members, lambda each: each.stand(found.get(each.token_hash), again))

    def _channels(self) -> set[str]:
        return {channel for each in self.members for channel in each.channels()}

    async def _heard(self, channel: str, data: bytes) -> None:
        said = json.loads(data)
        text = json.dumps({"type": "answer"} | said)
        hearers = [each for each in self.members if channel in each.channels()]
        await self.each(hearers, lambda each: each.hand_on(text))
        if said.get("ends"):
            await self.each(hearers, lambda each: each.end(CLOSE_OF[413], said["fault"]))


_sockets: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, DoorSockets] = weakref.WeakKeyDictionary()


def sockets() -> DoorSockets:
    """The sockets of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _sockets:
        _sockets[loop] = DoorSockets()
    return _sockets[loop]
