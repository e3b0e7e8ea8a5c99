"""What a peer may cost us before it is known: how large a head may be, how long it may take, how many may come.

uvicorn's own protocol, with bounds, none of which needs the application or a thread:

    a head      64 KiB and 100 fields, else 431 (RFC 6585, section 5) while it still arrives; 10 s, else 408
    a body      30 s without progress or five minutes in all, else 408; its size is body_limit.py's
    a reader    30 s in which nothing of an answer is taken, then the connection is cut
    idle        15 s between requests (`--timeout-keep-alive`, portal/server/run.py)
    connections 1,000 of an address and 4,000 in all, sockets included, else 503

Addresses in TRUSTED_PROXIES have everybody behind them, so for those `FairShare` counts requests by the client's
address instead. deploy/Caddyfile sets the same bounds where Caddy comes first.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import uvloop
from uvicorn.config import Config
from uvicorn.middleware.proxy_headers import _TrustedHosts
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from portal.server import variables
from portal.server.body_limit import answer

HEAD_BYTES = 64 * 1024
HEAD_FIELDS = 100
HEAD_S = 10.0
BODY_PAUSE_S = 30.0
BODY_WHOLE_S = 300.0  # 2 MB, at the pace of the slowest line that a phone may have
READER_S = 30.0
IDLE_S = 15
LINGER_S = 1.0  # a refused peer has so long to read why; closing over what it still sends would destroy the answer
MOST_OF_AN_ADDRESS = 1_000  # an office of 150 people behind one address, each with a few pages open
MOST_IN_ALL = 4_000
SPARE_FILES = 200  # the process' own: database, Redis, logs

WHY = {
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"The head of a request may have {HEAD_BYTES // 1024} KB and "
    f"{HEAD_FIELDS} fields at most.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not arrive in time. Send it again.",
    HTTPStatus.SERVICE_UNAVAILABLE: "There are too many connections at the moment. Try again in a minute.",
}


@dataclass
class Census:
    """How many connections, or requests, are open: in all, and of each address."""

    most: int = MOST_IN_ALL
    most_of_an_address: int = MOST_OF_AN_ADDRESS
    trusted: _TrustedHosts = field(default_factory=lambda: _TrustedHosts(variables.read("TRUSTED_PROXIES")))
    count: int = 0
    of_address: Counter[str] = field(default_factory=Counter)

    def enter(self, address: str) -> bool:
        """Whether one more may come from here; it is counted if so, until `leave`."""
        if self.count >= self.most or (
            self.of_address[address] >= self.most_of_an_address and address not in self.trusted
        ):
            return False
        self.count += 1
        self.of_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        self.count -= 1
        self.of_address[address] -= 1
        if not self.of_address[address]:
            del self.of_address[address]  # no address is remembered for longer than it is here


def most_in_all() -> int:
    """As many connections as this process may have files."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_IN_ALL if soft == resource.RLIM_INFINITY else max(SPARE_FILES, min(MOST_IN_ALL, soft - SPARE_FILES))


connections = Census(most_in_all())
requests = Census(most_in_all())


class Phase(Enum):
    """What a connection waits for."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()  # ours; the peer owes nothing
    REFUSED = auto()


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 with the bounds of this module. One timer a connection; it is not touched by each packet."""

    def __init__(self, config: Config, *args: Any, **named: Any) -> None:
        super().__init__(config, *args, **named)
        self.ws_protocol_class = BoundedSocket
        self._phase = Phase.HEAD
        self._head_bytes = 0
        self._due: float | None = None  # when the phase is over, on the loop's clock
        self._whole_due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self._counted: str | None = None  # the address under which this connection is counted

    # -- the connection ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not connections.enter(address):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self._counted = address
        self._allow(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._reader_timer):
            if timer is not None:
                timer.cancel()
        if self._counted is not None:
            connections.leave(self._counted)
            self._counted = None
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """The socket's protocol goes on with the connection, and counts it out at its end."""
        if self._timer is not None:
            self._timer.cancel()
        self._counted = None
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.REFUSED or self.transport.is_closing():
            return
        if self._phase is Phase.BODY:
            self._due = self.loop.time() + BODY_PAUSE_S
        elif self._due is None:
            self._allow(HEAD_S)  # of the next request, from its first byte
        super().data_received(data)
        if self._phase is Phase.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    # -- what the parser found --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._phase is not Phase.REFUSED:
            self._phase, self._head_bytes = Phase.HEAD, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) > HEAD_FIELDS:
            return  # refused below, as soon as the head is over or too large
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_BYTES or len(self.headers) > HEAD_FIELDS:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self._phase is Phase.REFUSED:
            return
        self._phase = Phase.BODY
        self._whole_due = self.loop.time() + BODY_WHOLE_S
        self._allow(BODY_PAUSE_S)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._phase is not Phase.REFUSED:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._phase is Phase.REFUSED:
            return
        self._phase, self._due = Phase.ANSWER, None
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return self._phase is not Phase.REFUSED and super()._should_upgrade()

    def send_400_response(self, msg: str) -> None:
        if self._phase is not Phase.REFUSED:
            super().send_400_response(msg)

    # -- time -------------------------------------------------------------------------------------------------------

    def _allow(self, seconds: float) -> None:
        self._due = self.loop.time() + seconds
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._look_at_clock)

    def _look_at_clock(self) -> None:
        """The timer's time has come: the phase may have ended since, or the body may have gone on."""
        if self._due is None or self.transport.is_closing():
            return
        is_answering = self._phase is not Phase.BODY and self.cycle is not None and not self.cycle.response_complete
        if self.flow.read_paused or is_answering:
            self._allow(HEAD_S)  # we are the slow ones
            return
        now = self.loop.time()
        if now >= self._due or (self._phase is Phase.BODY and now >= self._whole_due):
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._timer = self.loop.call_at(self._due, self._look_at_clock)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader_timer = self.loop.call_later(READER_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    # -- the end ----------------------------------------------------------------------------------------------------

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer, unless an answer is on its way already, and hang up; nothing more is read."""
        cycle = self.cycle
        began = cycle is not None and cycle.response_started
        under_way = began and (self._phase is Phase.BODY or not cycle.response_complete)
        self._phase, self._due = Phase.REFUSED, None
        self._unset_keepalive_if_required()
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if under_way:
            self.transport.abort()
            return
        text = WHY[status].encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n"
            b"\r\n%s" % (status, status.phrase.encode(), len(text), text)
        )
        self.transport.pause_reading()
        self.loop.call_later(LINGER_S, self.transport.abort)


class BoundedSocket(WebSocketsSansIOProtocol):
    """A WebSocket, which counts as a connection until its end."""

    def connection_lost(self, exc: Exception | None) -> None:
        connections.leave(self.client[0] if self.client else "")
        super().connection_lost(exc)


class FairShare:
    """ASGI middleware: no address may have more requests and sockets open than a direct peer has connections.

    By the client's address as a trusted proxy tells it, which only uvicorn's application knows.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        if scope["type"] == "lifespan":
            return await self._application(scope, receive, send)
        address = (scope.get("client") or ("",))[0]
        if not requests.enter(address):
            return await turn_away(scope, send)
        try:
            return await self._application(scope, receive, send)
        finally:
            requests.leave(address)


async def turn_away(scope: dict[str, Any], send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013})  # "Try again later", in IANA's registry of close codes
        return
    await answer(send, 503, WHY[HTTPStatus.SERVICE_UNAVAILABLE].encode(), retry_after_s=60)


class _Loop(uvloop.Loop):
    async def create_server(self, *args: Any, **named: Any) -> Any:
        if named.get("ssl") is not None:
            named["ssl_handshake_timeout"] = HEAD_S  # a minute otherwise, in which it is no connection yet
        return await super().create_server(*args, **named)


def new_loop() -> asyncio.AbstractEventLoop:
    return _Loop()
