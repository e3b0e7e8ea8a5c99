"""What all sockets of one web process share: one Redis subscription for previews, one round for rights and heartbeats.

Nothing runs while no socket is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.utils import timezone
from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError

from cameras.redis import looked_at_key, preview_key
from cameras.watching.preview import read_header
from portal.events import messages
from portal.models import User
from portal.people import access
from portal.people.access import Scope

log = logging.getLogger(__name__)

LOOK_MARK_S = 1.0  # how often web says that somebody looks
LOOK_MARK_TIME_TO_LIVE_S = 4
RIGHTS_EVERY_S = 2.0
HEARTBEAT_S = 10.0
SLOW_S = 1.0  # a page that takes nothing for so long does not read


class Socket(Protocol):
    """What the hub asks of a socket; LiveConsumer implements it."""

    user_id: int
    session_key: str
    session_hash: str
    scope_now: Scope

    def looks_at(self) -> frozenset[int]: ...

    async def preview_came(self, camera_id: int, number: int, preview: bytes) -> None: ...

    async def heartbeat(self, feeds: dict[str, dict[str, int]]) -> None: ...

    async def end(self, code: int) -> None: ...


@dataclass
class Hub:
    """The sockets of one event loop."""

    sockets: set[Socket] = field(default_factory=set)
    lookers: dict[int, set[Socket]] = field(default_factory=lambda: defaultdict(set))
    newest: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    _tokens: dict[int, int] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: set[asyncio.Future[None]] = field(default_factory=set)

    def join(self, socket: Socket) -> None:
        self.sockets.add(socket)
        if not self._tasks:
            rounds = (
                self._previews(),
                self._round(self._marks, LOOK_MARK_S),
                self._round(self._rights, RIGHTS_EVERY_S),
            )
            heartbeats = self._round(self._heartbeats, HEARTBEAT_S)
            self._tasks = [asyncio.get_running_loop().create_task(step) for step in (*rounds, heartbeats)]

    def leave(self, socket: Socket) -> None:
        self.sockets.discard(socket)
        self.look(socket, frozenset())
        if not self.sockets:
            for task in self._tasks:
                task.cancel()
            self._tasks = []
            self.newest.clear()
            self._tokens.clear()

    def look(self, socket: Socket, cameras: frozenset[int]) -> None:
        """From now on this socket wants the previews of these cameras, and no others."""
        for camera_id in list(self.lookers):
            if camera_id not in cameras:
                self.lookers[camera_id].discard(socket)
                if not self.lookers[camera_id]:
                    del self.lookers[camera_id]
                    self.newest.pop(camera_id, None)
        for camera_id in cameras:
            self.lookers[camera_id].add(socket)
        self._changed.set()

    # -- rounds -----------------------------------------------------------------------------------------------------

    async def _round(self, step: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            try:
                await step()
            except (RedisError, OSError, DatabaseError) as error:
                log.warning("a round of live pages failed: %s", type(error).__name__)
            except Exception:
                log.exception("a round of live pages failed")
            with contextlib.suppress(TimeoutError):
                if step == self._marks:
                    await asyncio.wait_for(self._changed.wait(), every_s)
                    self._changed.clear()
                else:
                    await asyncio.sleep(every_s)

    async def _marks(self) -> None:
        """Say which cameras somebody looks at: those whose sockets still acknowledge what they got."""
        looked_at = {camera_id for socket in self.sockets for camera_id in socket.looks_at()}
        if not looked_at:
            return
        pipeline = self._redis().pipeline(transaction=False)
        for camera_id in looked_at:
            pipeline.set(looked_at_key(camera_id), "1", ex=LOOK_MARK_TIME_TO_LIVE_S)
        await pipeline.execute()

    async def _heartbeats(self) -> None:
        site_ids = frozenset(site_id for socket in self.sockets for site_id in socket.scope_now.site_ids)
        feeds = await database_sync_to_async(messages.feeds)(site_ids)
        await self._each(list(self.sockets), lambda socket: socket.heartbeat(feeds))

    async def _rights(self) -> None:
        """End the sockets of those who signed out, were switched off, or have other roles than when they came."""
        sockets = list(self.sockets)
        standing = await database_sync_to_async(read_standing)(
            [socket.user_id for socket in sockets], [socket.session_key for socket in sockets]
        )
        gone = [socket for socket in sockets if not standing.is_signed_in(socket)]
        changed = [
            socket for socket in sockets if socket not in gone and standing.scopes[socket.user_id] != socket.scope_now
        ]
        await self._each(gone, lambda socket: socket.end(messages.CLOSE_SIGNED_OUT))
        await self._each(changed, lambda socket: socket.end(messages.CLOSE_NO_RIGHT))

    async def _each(self, sockets: list[Socket], step: Callable[[Socket], Awaitable[None]]) -> None:
        """Do this with each socket. One that cannot be written to, or not within SLOW_S, is let go: a page that stops
        reading must not hold up the others.
        """
        tasks = {asyncio.ensure_future(step(socket)): socket for socket in sockets}
        if not tasks:
            return
        done, slow = await asyncio.wait(tasks, timeout=SLOW_S)
        for task in slow:
            task.cancel()
        for task, socket in tasks.items():
            if task in slow or task.exception() is not None:
                log.info("a page went away, or does not read")
                self.leave(socket)
                self._closing.add(closing := asyncio.ensure_future(socket.end(messages.CLOSE_SLOW)))
                closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Future[None]) -> None:
        self._closing.discard(closing)
        if not closing.cancelled():
            closing.exception()  # it was gone already

    # -- previews ---------------------------------------------------------------------------------------------------

    def _redis(self) -> redis_asyncio.Redis:
        return redis_connection()

    async def _previews(self) -> None:
        """One subscription for all: to a channel a camera, as long as somebody looks at it."""
        while True:
            try:
                await self._follow_previews()
            except (RedisError, OSError) as error:
                log.warning("previews wait for Redis: %s", type(error).__name__)
                await asyncio.sleep(1.0)

    async def _follow_previews(self) -> None:
        subscribed: set[int] = set()
        async with self._redis().pubsub() as pubsub:
            while True:
                wanted = set(self.lookers)
                if more := wanted - subscribed:
                    await pubsub.subscribe(*(preview_key(camera_id) for camera_id in more))
                if fewer := subscribed - wanted:
                    await pubsub.unsubscribe(*(preview_key(camera_id) for camera_id in fewer))
                subscribed = wanted
                if not subscribed:
                    await asyncio.sleep(0.1)
                    continue
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
                if message is not None:
                    await self._preview_published(int(message["channel"].decode().rpartition(":")[2]))

    async def _preview_published(self, camera_id: int) -> None:
        preview = await self._redis().get(preview_key(camera_id))
        if not isinstance(preview, bytes):
            return
        header = read_header(preview)
        if header["token"] < self._tokens.get(camera_id, 0):
            return  # of a worker that no longer holds the camera
        self._tokens[camera_id] = header["token"]
        self.newest[camera_id] = (header["number"], preview)
        sockets = list(self.lookers.get(camera_id, ()))
        await self._each(sockets, lambda socket: socket.preview_came(camera_id, header["number"], preview))


@dataclass(frozen=True)
class Standing:
    """Who is still signed in, and what they may see, as read at one moment."""

    scopes: dict[int, Scope]
    hashes: dict[int, str]
    sessions: frozenset[str]

    def is_signed_in(self, socket: Socket) -> bool:
        return (
            socket.user_id in self.scopes
            and socket.session_key in self.sessions
            and self.hashes.get(socket.user_id) == socket.session_hash
        )


def read_standing(user_ids: list[int], session_keys: list[str]) -> Standing:
    """Four queries, five with a superuser, for any number of sockets."""
    users = User.objects.filter(pk__in=user_ids, is_active=True).only("pk", "password", "session_epoch")
    sessions = Session.objects.filter(session_key__in=session_keys, expire_date__gt=timezone.now())
    return Standing(
        access.scopes(user_ids),
        {user.pk: user.get_session_auth_hash() for user in users},
        frozenset(sessions.values_list("session_key", flat=True)),
    )


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()
_connections: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, redis_asyncio.Redis] = weakref.WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())


def redis_connection() -> redis_asyncio.Redis:
    loop = asyncio.get_running_loop()
    if loop not in _connections:
        _connections[loop] = redis_asyncio.Redis.from_url(
            settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=2
        )
    return _connections[loop]


def now_s() -> float:
    """Seconds on a clock that only grows."""
    return time.monotonic()
