"""What is asked of the camera: requests in flight, one login, one session."""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from cameras.errors import StreamError
from cameras.reach.login import Login
from cameras.sources.carrier import fault_of_status
from cameras.sources.rtsp.media import Medium
from cameras.sources.rtsp.messages import Message

log = logging.getLogger(__name__)

ANSWER_S = 8.0  # for one answer from the camera
GOODBYE_S = 0.5
MOST_PENDING = 16


@dataclass
class Exchange:
    """A request on its way to the camera."""

    client_cseq: str
    method: str
    uri: str
    request: Message
    medium: Medium | None = None
    asked_at: float = field(default_factory=time.monotonic)
    is_repeated: bool = False


class Conversation:
    """Sends requests to one camera over one connection."""

    def __init__(self, camera: socket.socket, login: Login) -> None:
        self._camera = camera
        self._login = login
        self._pending: dict[str, Exchange] = {}
        self._cseq = 0
        self._login_worked = False
        self.session = ""
        self.has_answered = False

    @property
    def is_overdue(self) -> bool:
        """Whether the camera has owed an answer for too long."""
        return any(time.monotonic() - each.asked_at > ANSWER_S for each in self._pending.values())

    def ask(self, exchange: Exchange) -> None:
        headers = exchange.request.headers
        if header := self._login.header(exchange.method, exchange.uri):
            headers = [*headers, ("authorization", header)]
        cseq = self._send(exchange.method, exchange.uri, headers, exchange.request.body)
        exchange.asked_at = time.monotonic()
        self._pending[cseq] = exchange
        while len(self._pending) > MOST_PENDING:  # a camera that never answers "are you there" is not faulty
            del self._pending[next(iter(self._pending))]

    def answered(self, answer: Message) -> Exchange | None:
        """What this answers; None if it asks for a login, which is tried now, or answers nothing that was asked.

        Raises LoginError if the login is wrong, StreamError if the camera forgot it.
        """
        self.has_answered = True
        exchange = self._pending.pop(answer.get("cseq"), None)
        if exchange is None:
            return None
        if answer.status == 401:
            self._sign_in(exchange, answer)
            return None
        is_good = 200 <= answer.status < 300
        self._login_worked = self._login_worked or (self._login.is_used and is_good)
        if is_good and (session := answer.get("session")):
            self.session = session.partition(";")[0]
        return exchange

    def say_goodbye(self, uri: str) -> None:
        """Send TEARDOWN, so that the camera has room for the next viewer; nobody waits for the answer."""
        if not self.session:
            return
        try:
            self._camera.settimeout(GOODBYE_S)
            self._send("TEARDOWN", uri, [("session", self.session)])
        except OSError:
            log.debug("the camera hung up before the goodbye")

    def _send(self, method: str, uri: str, headers: list[tuple[str, str]], body: bytes = b"") -> str:
        self._cseq += 1
        cseq = str(self._cseq)
        start = f"{method} {uri} RTSP/1.0"
        self._camera.sendall(Message(start, [("cseq", cseq), ("user-agent", "mask-portal"), *headers], body).encode())
        return cseq

    def _sign_in(self, exchange: Exchange, answer: Message) -> None:
        """Answer a challenge. Some cameras change their nonce without saying that the old one is stale."""
        if self._login_worked:
            if exchange.is_repeated:
                raise StreamError(_("The camera no longer accepts our login. The stream is being reopened."))
            exchange.is_repeated = True
            self._login.forget()
        self._login.answer(exchange.method, exchange.uri, answer.all("www-authenticate"))
        self.ask(exchange)


def fault_of(status: int, method: str) -> StreamError:
    """What an answer other than 200 means, for people."""
    if (known := fault_of_status(status)) is not None:
        return known
    if status == 453 or status == 503:
        return StreamError(_("The camera has no room for another viewer. Close another one, or use its substream."))
    if status == 461:
        return StreamError(_("The camera does not support this transport. Choose the other one, TCP or UDP."))
    return StreamError(
        _("The camera answers %(method)s with error %(status)d. Restart it, or try its other stream.")
        % {"method": method, "status": status}
    )
