"""The sockets of the pages at a door: the device that is a camera, and the loudspeaker beside one.

Read at their other end by door.js and speaker.js. Device to server:

    binary                                                 one JPEG frame; at most two may be unacknowledged
    {"type": "word", "word": "asleep"}                     why no frames come now (cameras/states.py: DeviceWord)
    {"type": "heard", "reminder": …, "why": ""}            a reminder was said to its end; or why not, as "locked"

Server to device, JSON:

    {"type": "settings", "camera": "Phone", "site": …, "rate": 5, "paused": false, "speaks": true}    at first, when
                                                           they change, and every 10 s: a page that hears nothing
                                                           connects anew
    {"type": "ack"}                                        a frame was taken, the next may come
    {"type": "answer", "number": 7, "faces": [{"box": …, "label": "mask", "confidence": …, "key": …}]}
    {"type": "say", "reminder": …, "text": …, "language": "en", "direction": "ltr", "audio": …}    say it now
    {"type": "trouble", "text": …}                         the frame was lost on our side; go on

A loudspeaker sends only "heard", and gets only "settings" and "say". The token comes in a cookie. What is wrong closes
this socket, with a reason: 4401 the token is good no more, 4413 a frame is too large, 4415 it is no JPEG, 4429 they
come too fast, 4400 a message that cannot be understood.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import weakref
from collections.abc import Coroutine
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import DatabaseError
from redis.exceptions import RedisError

from cameras.models import Camera
from cameras.redis import Errors, device_answer_key, door_channel
from cameras.sources import device_frames
from cameras.states import DeviceWord
from portal.devices import pairing, pushing
from portal.devices.pushing import FrameError
from portal.live.hub import redis_connection
from portal.models import DeviceToken, Purpose, Silence, Voice
from portal.people.memberships import hash_of
from portal.voice import reminding

log = logging.getLogger(__name__)

STANDING_EVERY_S = 2.0
TOLD_EVERY_ROUNDS = 5
SLOW_S = 1.0
CLOSE_UNPAIRED = 4401
CLOSE_NONSENSE = 4400
WHY_UNHEARD = {"", Silence.LOCKED, Silence.UNPLAYED, Silence.LATE}
CLOSE_OF = {413: 4413, 415: 4415, 429: 4429}
LEFT = {1000, 1001}  # the page went away by itself (RFC 6455, section 7.4.1)


@dataclass(frozen=True)
class Standing:
    """What a paired device must know of its camera."""

    camera_id: int
    camera: str
    site: str
    rate: float
    paused: bool
    output: str

    def message(self, purpose: Purpose) -> dict[str, Any]:
        told = {key: value for key, value in asdict(self).items() if key not in {"camera_id", "output"}}
        return {"type": "settings", "speaks": self.output == OUTPUTS[purpose]} | told


OUTPUTS = {Purpose.CAMERA: Voice.Output.DEVICE, Purpose.LOUDSPEAKER: Voice.Output.LOUDSPEAKER}


def standing_of(camera: Camera) -> Standing:
    voice = getattr(camera, "voice", None)
    output = voice.output if voice else Voice.Output.NOWHERE.value
    return Standing(camera.pk, camera.name, camera.site.name, camera.analyses_per_second, camera.paused, output)


def read_standings(token_hashes: list[str]) -> dict[str, Standing]:
    """Of those tokens that are still good. One query for any number of devices."""
    rows = DeviceToken.objects.filter(pairing.good_tokens(), token_hash__in=token_hashes)
    return {row.token_hash: standing_of(row.camera) for row in rows.select_related("camera__site", "camera__voice")}


class DoorConsumer(AsyncWebsocketConsumer):
    """The socket of a page at a door."""

    purpose: ClassVar[Purpose]
    standing: Standing | None = None
    token_hash = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Whatever ends a socket, an error while something is sent too: the others forget it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.standing = None
            sockets().leave(self)

    async def connect(self) -> None:
        token = self.scope["cookies"].get(pairing.COOKIES[self.purpose], "")
        camera = await database_sync_to_async(pairing.camera_of)(token, self.purpose) if token else None
        await self.accept()
        if camera is None:
            await self.close(CLOSE_UNPAIRED)
            return
        self.token_hash, self.standing = hash_of(token), standing_of(camera)
        await self.begin(self.standing)
        await self.tell(self.standing.message(self.purpose))
        sockets().join(self)

    async def begin(self, standing: Standing) -> None:
        """It is there, and good."""

    async def unpaired(self, standing: Standing) -> None:
        """Its token was taken back."""

    def channels(self) -> set[str]:
        """Those of Redis whose messages are for this page."""
        if self.standing is None:
            return set()
        return {door_channel(self.standing.camera_id, OUTPUTS[self.purpose])}

    async def end(self, code: int, reason: str = "") -> None:
        """Close; what comes after is not looked at any more."""
        self.standing = None
        sockets().leave(self)
        await self.close(code, reason=reason[:120])

    async def tell(self, body: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps(body))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.standing is None:
            return
        try:
            if bytes_data is not None:
                await self.hear_frame(self.standing, bytes_data)
            else:
                await self.hear(self.standing, json.loads(text_data or ""))
        except (ValueError, TypeError, KeyError, RecursionError):
            await self.end(CLOSE_NONSENSE, "A message is a word of the device, or of what it said, as JSON.")

    async def hear(self, standing: Standing, message: dict[str, Any]) -> None:
        """A message; raises ValueError, TypeError or KeyError where it cannot be understood."""
        reminder_id, why = UUID(str(message["reminder"])), message["why"]
        if message["type"] != "heard" or why not in WHY_UNHEARD:
            raise ValueError
        with contextlib.suppress(DatabaseError):
            await database_sync_to_async(reminding.note_heard)(reminder_id, standing.camera_id, why)

    async def hear_frame(self, standing: Standing, data: bytes) -> None:
        raise ValueError

    async def stand(self, standing: Standing | None, again: bool) -> None:
        """The camera as it now is; None: the token is good no more. `again`: tell it even if it is as before."""
        before = self.standing
        if before is None:
            return
        if standing is None:
            await self.unpaired(before)
            await self.end(CLOSE_UNPAIRED)
        elif again or standing != before:
            self.standing = standing
            await self.tell(standing.message(self.purpose))


class SpeakerConsumer(DoorConsumer):
    """The loudspeaker beside a camera."""

    purpose = Purpose.LOUDSPEAKER


class DeviceConsumer(DoorConsumer):
    """A device that is a camera."""

    purpose = Purpose.CAMERA
    word: DeviceWord | None = None

    async def begin(self, standing: Standing) -> None:
        await in_thread(device_frames.say, standing.camera_id, None)

    async def unpaired(self, standing: Standing) -> None:
        await in_thread(device_frames.say, standing.camera_id, DeviceWord.UNPAIRED)

    def channels(self) -> set[str]:
        answers = {device_answer_key(self.standing.camera_id)} if self.standing else set()
        return super().channels() | answers

    async def disconnect(self, code: int) -> None:
        """A page that goes away is hidden first, and says "asleep" then: it is closed all the same."""
        if self.standing is not None and self.word in {None, DeviceWord.ASLEEP} and code in LEFT:
            await in_thread(device_frames.say, self.standing.camera_id, DeviceWord.CLOSED)

    async def hear(self, standing: Standing, message: dict[str, Any]) -> None:
        if message["type"] != "word":
            await super().hear(standing, message)
            return
        self.word = DeviceWord(message["word"])
        await in_thread(device_frames.say, standing.camera_id, self.word)

    async def hear_frame(self, standing: Standing, data: bytes) -> None:
        if standing.paused:
            return
        if self.word is not None:
            self.word = None
            await in_thread(device_frames.say, standing.camera_id, None)
        try:
            pushing.check_frame(data)
            await sync_to_async(take, thread_sensitive=False)(standing.camera_id, standing.rate, data)
        except FrameError as error:
            await self.end(CLOSE_OF[error.status], str(error))
            return
        except Errors:
            await self.tell({"type": "trouble", "text": "Redis does not answer."})
        if self.standing is not None:
            await self.tell({"type": "ack"})


def take(camera_id: int, rate: float, data: bytes) -> None:
    """Count a checked frame and hand it on; raises FrameError and cameras.redis.Errors."""
    pushing.check_pace(camera_id, rate)
    device_frames.push(camera_id, data)


async def in_thread(step: Any, *arguments: Any) -> None:
    """What may fail while Redis is away, and matters less than the socket."""
    with contextlib.suppress(*Errors):
        await sync_to_async(step, thread_sensitive=False)(*arguments)


@dataclass
class DeviceSockets:
    """All sockets of doors in one event loop: one round for who is still paired, one subscription for all they hear."""

    members: set[DoorConsumer] = field(default_factory=set)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def join(self, socket: DoorConsumer) -> None:
        self.members.add(socket)
        if not self.tasks:
            self.tasks = [asyncio.ensure_future(step) for step in (self._rounds(), self._answers())]

    def leave(self, socket: DoorConsumer) -> None:
        self.members.discard(socket)
        if not self.members:
            for task in self.tasks:
                task.cancel()
            self.tasks = []

    async def _rounds(self) -> None:
        for number in count(1):
            await asyncio.sleep(STANDING_EVERY_S)
            try:
                await self.compare(again=number % TOLD_EVERY_ROUNDS == 0)
            except Exception:  # whatever it was: a token that was taken back must not stay good for it
                log.exception("devices' pairings could not be compared; it is tried again")

    async def compare(self, again: bool) -> None:
        """Tell each device how its camera stands; end those that are not paired any more."""
        members = list(self.members)
        found = await database_sync_to_async(read_standings)([each.token_hash for each in members])
        await self._each([each.stand(found.get(each.token_hash), again) for each in members])

    async def _each(self, steps: list[Coroutine[Any, Any, None]]) -> None:
        """All of them at once. One that does not read is left behind: it must not hold up the others."""
        if not steps:
            return
        done, slow = await asyncio.wait([asyncio.ensure_future(step) for step in steps], timeout=SLOW_S)
        for task in slow:
            task.cancel()
        for task in done:
            task.exception()  # it went away meanwhile; its own end sees to the rest

    def _goes_on(self) -> bool:
        return asyncio.current_task() in self.tasks

    async def _answers(self) -> None:
        while self._goes_on():  # a cancellation alone can be lost inside of redis-py, while it connects
            try:
                await self._follow_answers()
            except (RedisError, OSError) as error:
                log.warning("devices' answers wait for Redis: %s", type(error).__name__)
                await asyncio.sleep(1.0)

    async def _follow_answers(self) -> None:
        subscribed: set[str] = set()
        async with redis_connection().pubsub(ignore_subscribe_messages=True) as pubsub:
            while self._goes_on():
                wanted = {channel for each in self.members for channel in each.channels()}
                if more := wanted - subscribed:
                    await pubsub.subscribe(*more)
                if fewer := subscribed - wanted:
                    await pubsub.unsubscribe(*fewer)
                subscribed = wanted
                if not subscribed:
                    await asyncio.sleep(0.1)
                    continue
                message = await pubsub.get_message(timeout=0.1)
                if message is not None:
                    channel, body = message["channel"].decode(), {"type": "answer"} | json.loads(message["data"])
                    await self._each([each.tell(body) for each in self.members if channel in each.channels()])


_sockets: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, DeviceSockets] = weakref.WeakKeyDictionary()


def sockets() -> DeviceSockets:
    """Those of the running event loop."""
    return _sockets.setdefault(asyncio.get_running_loop(), DeviceSockets())
