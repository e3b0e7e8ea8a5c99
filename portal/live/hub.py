"""What all pages' sockets of one web process share: previews for those looking, rights, and heartbeats."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from channels.db import database_sync_to_async
from django.contrib.sessions.models import Session
from django.utils import timezone
from redis.exceptions import RedisError

from cameras.redis import looked_at_key, preview_key
from cameras.watching.preview import View, read_header
from portal.events import messages
from portal.live.sockets import Member, Sockets, redis_connection
from portal.models import User
from portal.people import access
from portal.people.access import Scope

LOOK_MARK_S = 1.0  # how often the web process says that somebody is looking
LOOK_MARK_TIME_TO_LIVE_S = 4
RIGHTS_EVERY_S = 2.0
HEARTBEAT_S = 10.0
PULSE_S = 1.0
PULSE_WITHIN_S = 2.0
MISSED_PULSES = 2  # so that one slow answer is no alarm; pages know within seven seconds


class LiveSocket(Member, Protocol):
    """What the hub requires of a socket; LiveConsumer implements it."""

    user_id: int
    session_key: str
    session_hash: str
    scope_now: Scope

    def looks_at(self) -> frozenset[View]: ...

    async def preview_came(self, camera_id: int, number: int, preview: bytes) -> None: ...

    async def heartbeat(self, feeds: dict[str, dict[str, int]]) -> None: ...

    async def tell_cameras(self, cameras: list[dict[str, Any]]) -> None: ...


class Hub(Sockets[LiveSocket]):
    """The pages' sockets of one event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.lookers: dict[View, set[LiveSocket]] = defaultdict(set)
        self.newest: dict[View, tuple[int, bytes]] = {}
        self._tokens: dict[int, int] = {}
        self._changed = asyncio.Event()
        self._missed_pulses = 0

    @property
    def is_redis_away(self) -> bool:
        return self._missed_pulses >= MISSED_PULSES

    def rounds(self) -> Sequence[Coroutine[Any, Any, None]]:
        return (
            self.follow(self._channels, self._preview_published),
            self.every(LOOK_MARK_S, self._mark_looked_at, sooner=self._changed),
            self.every(RIGHTS_EVERY_S, self._compare_rights),
            self.every(HEARTBEAT_S, self._beat),
            self.every(PULSE_S, self._feel_pulse),
        )

    def leave(self, member: LiveSocket) -> None:
        self.look(member, frozenset())
        super().leave(member)
        if self.is_idle:
            self.newest.clear()
            self._tokens.clear()

    def look(self, socket: LiveSocket, views: frozenset[View]) -> None:
        """From now on this socket gets the previews of these views, and no others."""
        for view in list(self.lookers):
            if view not in views:
                self.lookers[view].discard(socket)
                if not self.lookers[view]:
                    del self.lookers[view]
                    self.newest.pop(view, None)
        for view in views:
            self.lookers[view].add(socket)
        self._changed.set()

    # -- rounds -----------------------------------------------------------------------------------------------------

    async def _mark_looked_at(self) -> None:
        """Say which cameras are being looked at: those whose sockets still acknowledge what they get."""
        looked_at = {view for socket in self.members for view in socket.looks_at()}
        if not looked_at:
            return
        pipeline = redis_connection().pipeline(transaction=False)
        for view in looked_at:
            pipeline.set(looked_at_key(*view), "1", ex=LOOK_MARK_TIME_TO_LIVE_S)
        await pipeline.execute()

    async def _beat(self) -> None:
        feeds = await database_sync_to_async(messages.feeds)(self._site_ids())
        await self.each(list(self.members), lambda socket: socket.heartbeat(feeds))

    async def _feel_pulse(self) -> None:
        """While Redis hangs, no picture and no state comes: pages are told so, and when it is over."""
        was_away = self.is_redis_away
        try:
            async with asyncio.timeout(PULSE_WITHIN_S):
                await redis_connection().ping()
            self._missed_pulses = 0
        except (RedisError, OSError):  # TimeoutError is one
            self._missed_pulses += 1
        if was_away != self.is_redis_away:
            cameras = await database_sync_to_async(messages.cameras)(self._site_ids())
            told = [messages.not_known(each) for each in cameras] if self.is_redis_away else cameras
            await self.each(list(self.members), lambda socket: socket.tell_cameras(told))

    def _site_ids(self) -> frozenset[int]:
        """The sites that somebody here may see."""
        return frozenset(site_id for socket in self.members for site_id in socket.scope_now.site_ids)

    async def _compare_rights(self) -> None:
        """End the sockets of people who signed out, were deactivated, or have other roles than when they connected."""
        sockets = list(self.members)
        signed_in = await database_sync_to_async(read_signed_in)(
            [socket.user_id for socket in sockets], [socket.session_key for socket in sockets]
        )
        gone = [socket for socket in sockets if not signed_in.has(socket)]
        changed = [
            socket for socket in sockets if socket not in gone and signed_in.scopes[socket.user_id] != socket.scope_now
        ]
        await self.each(gone, lambda socket: socket.end(messages.CLOSE_SIGNED_OUT))
        await self.each(changed, lambda socket: socket.end(messages.CLOSE_NO_RIGHT))

    # -- previews ---------------------------------------------------------------------------------------------------

    def _channels(self) -> list[str]:
        return [preview_key(*view) for view in self.lookers]

    async def _preview_published(self, channel: str, _number: bytes) -> None:
        camera_id = int(channel.rpartition(":")[2])
        view = View(camera_id, pixelated=channel == preview_key(camera_id, pixelated=True))
        preview = await redis_connection().get(channel)
        if not isinstance(preview, bytes):
            return
        header = read_header(preview)
        if header["token"] < self._tokens.get(camera_id, 0):
            return  # from a worker that no longer holds the camera
        self._tokens[camera_id] = header["token"]
        self.newest[view] = (header["number"], preview)
        lookers = list(self.lookers.get(view, ()))
        await self.each(lookers, lambda socket: socket.preview_came(camera_id, header["number"], preview))


@dataclass(frozen=True)
class SignedInNow:
    """Who is still signed in, and what they may see, as read at one moment."""

    scopes: dict[int, Scope]
    hashes: dict[int, str]
    sessions: frozenset[str]

    def has(self, socket: LiveSocket) -> bool:
        return (
            socket.user_id in self.scopes
            and socket.session_key in self.sessions
            and self.hashes.get(socket.user_id) == socket.session_hash
        )


def read_signed_in(user_ids: list[int], session_keys: list[str]) -> SignedInNow:
    """Four queries, five with a superuser, for any number of sockets."""
    users = User.objects.filter(pk__in=user_ids, is_active=True).only("pk", "password", "session_epoch")
    sessions = Session.objects.filter(session_key__in=session_keys, expire_date__gt=timezone.now())
    return SignedInNow(
        access.scopes(user_ids),
        {user.pk: user.get_session_auth_hash() for user in users},
        frozenset(sessions.values_list("session_key", flat=True)),
    )


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]


def now_s() -> float:
    """Seconds on a clock that only grows."""
    return time.monotonic()
