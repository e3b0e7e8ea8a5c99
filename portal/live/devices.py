"""The socket of a device that is a camera: JPEG frames in, what was found back. Read at its other end by device.js.

Device to server:

    binary                                                 one JPEG frame; at most two may be unacknowledged
    {"type": "word", "word": "asleep"}                     why no frames come now (cameras/states.py: DeviceWord)

Server to device, JSON:

    {"type": "settings", "camera": "Phone", "site": …, "rate": 5, "paused": false}    at first, and when they change
    {"type": "ack"}                                        a frame was taken, the next may come
    {"type": "answer", "number": 7, "faces": [{"box": …, "label": "mask", "confidence": …, "key": …}]}
    {"type": "trouble", "text": …}                         the frame was lost on our side; go on

The device's token comes in its cookie. What is wrong closes this socket, with a reason: 4401 the token is good no more,
4413 a frame is too large, 4415 it is no JPEG, 4429 they come too fast, 4400 a message that cannot be understood.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import weakref
from dataclasses import asdict, dataclass, field
from typing import Any

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import DatabaseError
from redis.exceptions import RedisError

from cameras import device_frames
from cameras.models import Camera
from cameras.redis import Errors, device_answer_key
from cameras.states import DeviceWord
from portal import pairing, pushing
from portal.live.hub import redis_connection
from portal.memberships import hash_of
from portal.models import DeviceToken
from portal.pushing import FrameError

log = logging.getLogger(__name__)

STANDING_EVERY_S = 2.0
CLOSE_UNPAIRED = 4401
CLOSE_NONSENSE = 4400
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

    def message(self) -> dict[str, Any]:
        return {"type": "settings"} | {key: value for key, value in asdict(self).items() if key != "camera_id"}


def standing_of(camera: Camera) -> Standing:
    return Standing(camera.pk, camera.name, camera.site.name, camera.analyses_per_second, camera.paused)


def read_standings(token_hashes: list[str]) -> dict[str, Standing]:
    """Of those tokens that are still good. One query for any number of devices."""
    rows = DeviceToken.objects.filter(pairing.good_tokens(), token_hash__in=token_hashes)
    return {row.token_hash: standing_of(row.camera) for row in rows.select_related("camera__site")}


class DeviceConsumer(AsyncWebsocketConsumer):
    """One device's socket."""

    standing: Standing | None = None
    token_hash = ""
    word: DeviceWord | None = None
    answers: asyncio.Task[None] | None = None
    gone = False

    async def connect(self) -> None:
        token = self.scope["cookies"].get(pairing.COOKIE, "")
        camera = await database_sync_to_async(pairing.camera_of)(token) if token else None
        await self.accept()
        if camera is None:
            await self.close(CLOSE_UNPAIRED)
            return
        self.token_hash, self.standing = hash_of(token), standing_of(camera)
        await in_thread(device_frames.say, camera.pk, None)
        await self.tell(self.standing.message())
        self.answers = asyncio.ensure_future(self._follow_answers(camera.pk))
        sockets().join(self)

    async def disconnect(self, code: int) -> None:
        self.gone = True
        sockets().leave(self)
        if self.answers is not None:
            self.answers.cancel()
        if self.standing is not None and self.word is None and code in LEFT:
            await in_thread(device_frames.say, self.standing.camera_id, DeviceWord.CLOSED)

    async def tell(self, body: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps(body))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.standing is None:
            return
        if bytes_data is None:
            await self._hear_word(text_data or "")
        elif not self.standing.paused:
            await self._take(self.standing.camera_id, bytes_data)

    async def _take(self, camera_id: int, data: bytes) -> None:
        if self.word is not None:
            self.word = None
            await in_thread(device_frames.say, camera_id, None)
        try:
            pushing.check_frame(data)
            await sync_to_async(take, thread_sensitive=False)(camera_id, self.standing_rate, data)
        except FrameError as error:
            await self.close(CLOSE_OF[error.status], reason=str(error)[:120])
            return
        except Errors:
            await self.tell({"type": "trouble", "text": "Redis does not answer."})
        await self.tell({"type": "ack"})

    @property
    def standing_rate(self) -> float:
        return self.standing.rate if self.standing else 1.0

    async def _hear_word(self, text: str) -> None:
        try:
            given = json.loads(text)
            word = DeviceWord(given["word"])
        except (ValueError, TypeError, KeyError, RecursionError):
            await self.close(CLOSE_NONSENSE, reason="A message is a word of the device, as JSON.")
            return
        if self.standing is not None:
            self.word = word
            await in_thread(device_frames.say, self.standing.camera_id, word)

    async def _follow_answers(self, camera_id: int) -> None:
        while not self.gone:  # a cancellation alone can be lost inside of redis-py, while it connects
            try:
                async with redis_connection().pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(device_answer_key(camera_id))
                    while not self.gone:
                        message = await pubsub.get_message(timeout=STANDING_EVERY_S)
                        if message is not None:
                            await self.tell({"type": "answer"} | json.loads(message["data"]))
            except (RedisError, OSError):
                await asyncio.sleep(1.0)

    # -- from the round ------------------------------------------------------------------------------------------------

    async def stand(self, standing: Standing | None) -> None:
        """The camera as it now is; None: the token is good no more."""
        if standing is None:
            camera_id, self.word = self.standing.camera_id if self.standing else 0, DeviceWord.UNPAIRED
            self.standing = None
            await in_thread(device_frames.say, camera_id, DeviceWord.UNPAIRED)
            await self.close(CLOSE_UNPAIRED)
        elif standing != self.standing:
            self.standing = standing
            await self.tell(standing.message())


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
    """All sockets of devices in one event loop, and their one round: who is still paired, and with what settings."""

    members: set[DeviceConsumer] = field(default_factory=set)
    round: asyncio.Task[None] | None = None

    def join(self, socket: DeviceConsumer) -> None:
        self.members.add(socket)
        if self.round is None:
            self.round = asyncio.ensure_future(self._rounds())

    def leave(self, socket: DeviceConsumer) -> None:
        self.members.discard(socket)
        if not self.members and self.round is not None:
            self.round.cancel()
            self.round = None

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(STANDING_EVERY_S)
            members = list(self.members)
            try:
                found = await database_sync_to_async(read_standings)([each.token_hash for each in members])
            except DatabaseError as error:
                log.warning("devices' pairings could not be read: %s", type(error).__name__)
                continue
            for each in members:
                with contextlib.suppress(Exception):  # it went away meanwhile; its own disconnect says so
                    await each.stand(found.get(each.token_hash))


_sockets: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, DeviceSockets] = weakref.WeakKeyDictionary()


def sockets() -> DeviceSockets:
    """Those of the running event loop."""
    return _sockets.setdefault(asyncio.get_running_loop(), DeviceSockets())
