"""The common base of all sockets of an event loop: its members, rounds while there are any, one subscription, and the
removal of slow members.

    class Hub(Sockets[LiveSocket]):
        def rounds(self):
            return [self.every(2.0, self.compare_rights), self.follow(self.channels, self.heard)]

Nothing runs while no socket is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

from django.conf import settings
from django.db import DatabaseError
from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError

from portal.events import messages

log = logging.getLogger(__name__)

SLOW_S = 1.0  # a page that takes nothing for this long is not reading
RETRY_S = 1.0
POLL_S = 0.1


class Member(Protocol):
    """What `Sockets` requires of a socket."""

    async def end(self, code: int) -> None: ...


M = TypeVar("M", bound=Member)


class Sockets(Generic[M]):
    """The sockets of one event loop."""

    def __init__(self) -> None:
        self.members: set[M] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: set[asyncio.Future[None]] = set()

    def rounds(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What runs while there are members."""
        raise NotImplementedError

    def join(self, member: M) -> None:
        self.members.add(member)
        if not self._tasks:
            self._tasks = [asyncio.ensure_future(each) for each in self.rounds()]

    def leave(self, member: M) -> None:
        self.members.discard(member)
        if not self.members:
            for task in self._tasks:
                task.cancel()
            self._tasks = []

    @property
    def is_idle(self) -> bool:
        return not self._tasks

    def goes_on(self) -> bool:
        """Whether the calling round should continue: a cancellation alone can be lost inside redis-py."""
        return asyncio.current_task() in self._tasks

    # -- rounds -----------------------------------------------------------------------------------------------------

    async def every(
        self, seconds: float, step: Callable[[], Awaitable[None]], sooner: asyncio.Event | None = None
    ) -> None:
        """Call `step` repeatedly, at once if `sooner` is set; an exception in it does not end the round."""
        while self.goes_on():
            try:
                await step()
            except (RedisError, OSError, DatabaseError) as error:
                log.warning("a round of sockets failed: %s", type(error).__name__)
            except Exception:  # whatever it was, a revoked right must not stay valid because of it
                log.exception("a round of sockets failed")
            if sooner is None:
                await asyncio.sleep(seconds)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(sooner.wait(), seconds)
            sooner.clear()

    async def follow(
        self, wanted: Callable[[], Collection[str]], heard: Callable[[str, bytes], Awaitable[None]]
    ) -> None:
        """Listen to the Redis channels that are wanted at each moment, with one subscription."""
        while self.goes_on():
            try:
                await self._follow(wanted, heard)
            except (RedisError, OSError) as error:
                log.warning("sockets wait for Redis: %s", type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def _follow(
        self, wanted: Callable[[], Collection[str]], heard: Callable[[str, bytes], Awaitable[None]]
    ) -> None:
        subscribed: set[str] = set()
        async with redis_connection().pubsub(ignore_subscribe_messages=True) as pubsub:
            while self.goes_on():
                now = set(wanted())
                if more := now - subscribed:
                    await pubsub.subscribe(*more)
                if fewer := subscribed - now:
                    await pubsub.unsubscribe(*fewer)
                subscribed = now
                if not subscribed:
                    await asyncio.sleep(POLL_S)
                    continue
                message = await pubsub.get_message(timeout=POLL_S)
                if message is not None:
                    await heard(message["channel"].decode(), message["data"])

    # -- each -------------------------------------------------------------------------------------------------------

    async def each(self, members: Collection[M], step: Callable[[M], Awaitable[None]]) -> None:
        """Do this with each of them, all at once. One that cannot be written to within SLOW_S, or at all, is dropped:
        a page that stops reading must not hold up the others.
        """
        tasks = {asyncio.ensure_future(step(member)): member for member in members}
        if not tasks:
            return
        _done, slow = await asyncio.wait(tasks, timeout=SLOW_S)
        for task in slow:
            task.cancel()
        for task, member in tasks.items():
            if task in slow or task.exception() is not None:
                log.info("a page has gone away, or is not reading")
                self._let_go(member)

    def _let_go(self, member: M) -> None:
        self.leave(member)
        closing = asyncio.ensure_future(member.end(messages.CLOSE_SLOW))
        self._closing.add(closing)
        closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Future[None]) -> None:
        self._closing.discard(closing)
        if not closing.cancelled():
            closing.exception()  # it was already gone


# -- one per event loop ---------------------------------------------------------------------------------------------

_connections: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, redis_asyncio.Redis] = weakref.WeakKeyDictionary()


def redis_connection() -> redis_asyncio.Redis:
    """The running event loop's connection to Redis."""
    loop = asyncio.get_running_loop()
    if loop not in _connections:
        _connections[loop] = redis_asyncio.Redis.from_url(
            settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=2
        )
    return _connections[loop]
