"""What is asked of the camera: requests in flight, one login, one session."""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from dataclasses import dataclass

from django.utils.translation import gettext as _

from cameras.errors import LoginError, StreamError
from cameras.reach.login import Login
from cameras.sources.carrier import fault_of_status
from cameras.sources.rtsp.media import Medium
from cameras.sources.rtsp.messages import Message

log = logging.getLogger(__name__)

ANSWER_S = 8.0  # for one answer from the camera
GOODBYE_S = 0.5
CHUNK = 65_536
MOST_QUEUED = 16
KEEPING_ALIVE = frozenset({"OPTIONS", "GET_PARAMETER"})
NOT_FOUND = frozenset({400, 404, 451, 459, 460})  # under this address: another way of joining may be the right one


@dataclass
class Exchange:
    """A request on its way to the camera.

    Args:
        uris: addresses to ask for, one after the other, until one is found.
    """

    client_cseq: str
    method: str
    uris: list[str]
    request: Message
    medium: Medium | None = None
    asked_at: float = 0.0
    is_challenged: bool = False

    @property
    def uri(self) -> str:
        return self.uris[0]


class Conversation:
    """Sends requests to one camera, one at a time: many cameras number their answers wrongly, or not at all."""

    def __init__(self, camera: socket.socket, login: Login) -> None:
        self._camera = camera
        self._login = login
        self._open: Exchange | None = None
        self._queue: deque[Exchange] = deque(maxlen=MOST_QUEUED)
        self._abandoned: set[str] = set()
        self._cseq = 0
        self._login_worked = False  # the last one that was sent
        self.session = ""
        self.has_answered = False
        self.is_asked_to_sign_in = False  # by the last answer

    @property
    def is_overdue(self) -> bool:
        """Whether the camera has owed an answer for too long."""
        return self._open is not None and time.monotonic() - self._open.asked_at > ANSWER_S

    def ask(self, exchange: Exchange) -> None:
        """Send a request, as soon as the one before it is answered."""
        if self._open is None:
            self._send(exchange)
        else:
            self._queue.append(exchange)

    def abandon_overdue(self) -> None:
        """A camera that never answers "are you there" is not faulty: go on without its answer."""
        if self.is_overdue:
            self._abandoned.add(str(self._cseq))
            self._go_on()

    def answered(self, answer: Message) -> Exchange | None:
        """What this answers; None if another request follows from it, or it answers nothing that was asked.

        Raises LoginError if the login is wrong, StreamError if the camera forgot it.
        """
        self.has_answered = True
        exchange, cseq = self._open, answer.get("cseq")
        if exchange is None or answer.status < 200 or cseq in self._abandoned:
            self._abandoned.discard(cseq)
            return None
        self.is_asked_to_sign_in = answer.status == 401
        if answer.status == 401:
            self._sign_in(exchange, answer)
            return None
        if answer.status in NOT_FOUND and len(exchange.uris) > 1:
            exchange.uris.pop(0)
            self._send(exchange)
            return None
        is_good = answer.status < 300
        self._login_worked = self._login_worked or (exchange.is_challenged and is_good)
        if is_good and (session := answer.get("session").partition(";")[0].strip()):
            self.session = session
        self._go_on()
        return exchange

    def _go_on(self) -> None:
        self._open = None
        if self._queue:
            self._send(self._queue.popleft())

    def move(self, camera: socket.socket) -> None:
        """Go on over another connection, with the request that is open: some cameras hang up with each 401."""
        self._camera = camera
        self.is_asked_to_sign_in = False
        if self._open is not None:
            self._send(self._open)

    def say_goodbye(self, uri: str) -> None:
        """Send TEARDOWN, so that the camera has room for the next viewer.

        What it still sends is read for a moment, up to its answer: a connection that is closed over unread data is
        reset, and a camera then may not read the goodbye either.
        """
        if not self.session:
            return
        try:
            self._camera.settimeout(GOODBYE_S)
            self._send(Exchange("", "TEARDOWN", [uri], Message("", [("session", self.session)])))
            until = time.monotonic() + GOODBYE_S
            while (left_s := until - time.monotonic()) > 0:
                self._camera.settimeout(left_s)
                data = self._camera.recv(CHUNK)
                if not data or b"RTSP/" in data:
                    return
        except OSError:
            log.debug("the camera hung up before the goodbye")

    def _send(self, exchange: Exchange, authorization: str = "") -> None:
        self._cseq += 1
        headers = [("cseq", str(self._cseq)), ("user-agent", "mask-portal"), *exchange.request.headers]
        if header := authorization or self._login.header(exchange.method, exchange.uri):
            headers.append(("authorization", header))
        exchange.asked_at, self._open = time.monotonic(), exchange
        start = f"{exchange.method} {exchange.uri} RTSP/1.0"
        self._camera.sendall(Message(start, headers, exchange.request.body).encode())

    def _sign_in(self, exchange: Exchange, answer: Message) -> None:
        """Answer a challenge. Some cameras change their nonce while they play; then a new connection is in order."""
        try:
            header = self._login.answer(exchange.method, exchange.uri, answer.all("www-authenticate"))
        except LoginError:
            if self._login_worked and self._login.is_worn_out:
                raise StreamError(_("The camera no longer accepts our login. The stream is being reopened.")) from None
            raise
        self._login_worked = False
        exchange.is_challenged = True
        self._send(exchange, header)


def fault_of(status: int, method: str) -> StreamError:
    """What an answer other than 200 means, for people."""
    if (known := fault_of_status(status)) is not None:
        return known
    if status == 453 or status == 503:
        return StreamError(_("The camera has no room for another viewer. Close another one, or use its substream."))
    if status == 461:
        return StreamError(_("The camera does not support this connection type. Choose “Automatic”, or the other one."))
    return StreamError(
        _("The camera answers %(method)s with error %(status)d. Restart it, or try its other stream.")
        % {"method": method, "status": status}
    )
