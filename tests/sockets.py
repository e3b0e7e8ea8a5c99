"""A page's socket without a browser: asgiref's communicator, with the messages of a WebSocket.

(channels.testing has one, but imports daphne, which we do not run.)
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.testing import ApplicationCommunicator


class SocketCommunicator(ApplicationCommunicator):
    """One socket to `path`."""

    def __init__(self, application: Any, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers, "subprotocols": []}
        super().__init__(application, scope)
        self.closed = False

    async def receive_output(self, timeout: float = 1) -> dict[str, Any]:
        got: dict[str, Any] = await super().receive_output(timeout)
        self.closed = self.closed or got["type"] == "websocket.close"
        return got

    async def connect(self) -> bool:
        await self.send_input({"type": "websocket.connect"})
        return bool((await self.receive_output(5))["type"] == "websocket.accept")

    async def say(self, message: object) -> None:
        await self.send_input({"type": "websocket.receive", "text": json.dumps(message)})

    async def say_raw(self, *, text: str | None = None, data: bytes | None = None) -> None:
        await self.send_input({"type": "websocket.receive", "text": text, "bytes": data})

    async def disconnect(self) -> None:
        """Disconnect as a browser does. Where the server closed the socket, its read of Redis (5 s) is not awaited:
        redis-py may lose a cancellation while it connects, so it is repeated.
        """
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        deadline = time.monotonic() + 10
        while self.closed and not self.future.done():
            if time.monotonic() > deadline:
                self.future.print_stack()
                raise AssertionError("a socket that the server closed did not end")
            self.future.cancel()
            await asyncio.wait({self.future}, timeout=0.05)
        await self.wait(5)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test as one coroutine; each has its own event loop, and so its own hub and Redis connections."""

    async def with_cleaning() -> None:
        from channels.layers import channel_layers

        from portal.live.sockets import redis_connection

        channel_layers.backends.clear()
        try:
            await test()
        finally:
            await redis_connection().aclose()
            for layer in channel_layers.backends.values():
                await layer.close_pools()
            channel_layers.backends.clear()

    asyncio.run(with_cleaning())


async def hear(communicator: SocketCommunicator, kind: str, within_s: float = 5) -> dict[str, Any]:
    """The next message of this type; others are skipped."""
    deadline = time.monotonic() + within_s
    while (left := deadline - time.monotonic()) > 0:
        got = await communicator.receive_output(timeout=left)
        if got["type"] == "websocket.close":
            raise AssertionError(f"closed with {got['code']}")
        if got.get("text") and (message := json.loads(got["text"]))["type"] == kind:
            return dict(message)
    raise AssertionError(f"no {kind} within {within_s} s")


async def closing_code(communicator: SocketCommunicator, within_s: float = 5) -> int:
    deadline = time.monotonic() + within_s
    while True:
        got = await communicator.receive_output(timeout=max(0.01, deadline - time.monotonic()))
        if got["type"] == "websocket.close":
            return int(got["code"])
