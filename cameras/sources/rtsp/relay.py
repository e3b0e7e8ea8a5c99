"""The relay: a thread that carries one camera's RTSP connection to FFmpeg, on loopback."""

from __future__ import annotations

import logging
import secrets
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import cast

from django.utils.translation import gettext as _

from cameras.errors import CameraError, StreamError
from cameras.reach import addresses
from cameras.reach.addresses import TICK_S, IpAddress, NetworkAddress
from cameras.reach.login import Login
from cameras.sources.base import Opening
from cameras.sources.carrier import Watchdog
from cameras.sources.rtsp.conversation import ANSWER_S, CHUNK, KEEPING_ALIVE, Conversation, Exchange, fault_of
from cameras.sources.rtsp.media import Media
from cameras.sources.rtsp.messages import Message, Packet, ProtocolFault, Reader
from cameras.sources.rtsp.sdp import AddressTable

log = logging.getLogger(__name__)

TO_CAMERA = ("accept", "session", "range", "scale", "content-type")
TO_FFMPEG = ("public", "session", "content-type", "scale")
RECONNECTS = 2  # to a camera that hangs up when it asks for a login


class Relay(threading.Thread):
    """Carries one camera's RTSP connection; ends when either side does, on `stop`, or after too long a silence."""

    def __init__(self, opening: Opening, address: NetworkAddress, checked: list[IpAddress]) -> None:
        """Connects to the first of the checked addresses that answers; raises StreamError if none does."""
        super().__init__(name="rtsp-relay", daemon=True)
        self.watchdog = Watchdog()
        self.holes: deque[float] = deque(maxlen=1000)
        self.stop = opening.stop
        self._opening = opening
        self._address = address
        self._checked = checked
        self._camera = addresses.connect(checked, address.port, opening.stop)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        own = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/{secrets.token_hex(8)}"
        self.url = f"{own}/0"
        self._addresses = AddressTable(own, address)
        self._media = Media(self._camera, opening.place.transport, self.holes)
        self._conversation = Conversation(self._camera, Login(opening.place.user, opening.place.password))
        self._fault: CameraError | None = None
        self._ending = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._is_described = False
        self._reconnects = 0

    @property
    def fault(self) -> CameraError | None:
        return self._fault and self._fault.fresh()

    def taken_at(self, pts_s: float) -> float | None:
        return self._media.taken_at(pts_s)

    # -- life -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        client = None
        try:
            client = self._accept()
            if client is not None:
                self._carry(client)
        except ProtocolFault as error:
            log.info("the relay ends: %s", error)
            text = _("The answer from there is not RTSP. Is this the camera's RTSP port (usually 554)?")
            self._fail(StreamError(text))
        except CameraError as error:
            self._fail(error)
        except OSError as error:
            log.info("the relay ends: %s", type(error).__name__)
        except Exception:
            log.exception("the relay failed")
        finally:
            self._conversation.say_goodbye(self._addresses.whole)
            self._selector.close()
            self._media.close()
            for each in (self._camera, self._listener, client):
                if each is not None:
                    each.close()

    def close(self) -> None:
        self._ending.set()
        if self.is_alive():
            self.join(2.0)

    def _fail(self, fault: CameraError) -> None:
        self._fault = self._fault or fault.fresh()

    def _accept(self) -> socket.socket | None:
        """Accept FFmpeg's connection, and no other afterwards."""
        self._listener.settimeout(TICK_S)
        until = time.monotonic() + ANSWER_S
        while not self._is_over() and time.monotonic() < until:
            try:
                client, _peer = self._listener.accept()
            except TimeoutError:
                continue
            self._listener.close()
            client.settimeout(ANSWER_S)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return client
        return None

    def _is_over(self) -> bool:
        return self._ending.is_set() or self.stop.is_set()

    def _carry(self, client: socket.socket) -> None:
        readers = {client: Reader(), self._camera: Reader()}
        for each in readers:
            self._selector.register(each, selectors.EVENT_READ)
        while not self._is_over():
            for key, _events in self._selector.select(self._media.due_in_s(TICK_S)):
                one = cast("socket.socket", key.fileobj)
                if one not in readers:
                    self._hand_on(self._media.from_socket(one), client)
                elif one is client:
                    if not self._read(one, readers[one], client):
                        return
                elif not self._read_camera(readers, client):
                    return
            self._hand_on(self._media.give_up_holes(), client)
            self._look_at_the_clock()

    def _read_camera(self, readers: dict[socket.socket, Reader], client: socket.socket) -> bool:
        """Read what the camera sent; False if it hung up, and not only to be asked again with the login."""
        try:
            if self._read(self._camera, readers[self._camera], client):
                return True
        except ConnectionError:
            if not self._conversation.is_asked_to_sign_in:
                raise
        if not self._conversation.is_asked_to_sign_in or self._reconnects == RECONNECTS or len(self._media):
            return False
        self._reconnects += 1
        self._selector.unregister(self._camera)
        del readers[self._camera]
        self._camera.close()
        self._camera = addresses.connect(self._checked, self._address.port, self.stop)
        readers[self._camera] = Reader()
        self._selector.register(self._camera, selectors.EVENT_READ)
        self._media.move(self._camera)
        self._conversation.move(self._camera)
        return True

    def _read(self, one: socket.socket, reader: Reader, client: socket.socket) -> bool:
        """Read what is waiting there; False if that side hung up."""
        data = one.recv(CHUNK)
        if not data:
            if one is not client and not self._conversation.has_answered:
                text = _(
                    "It ended the connection without an answer. Is this the camera's RTSP port (usually 554)? "
                    "If so, restart it."
                )
                raise StreamError(text)
            return False
        reader.feed(data)
        while (part := reader.next()) is not None:
            if one is client:
                self._from_ffmpeg(part)
            else:
                self._from_camera(part, client)
        return True

    def _look_at_the_clock(self) -> None:
        if self._is_playing:
            if self.watchdog.is_due:
                raise self.watchdog.fault()
            self._conversation.abandon_overdue()
        elif self._conversation.is_overdue:
            raise StreamError(_("The camera accepted the connection, but does not answer. Restart it."))

    @property
    def _is_playing(self) -> bool:
        return bool(self._conversation.session and len(self._media))

    # -- FFmpeg to camera -------------------------------------------------------------------------------------------

    def _from_ffmpeg(self, part: Message | Packet) -> None:
        if isinstance(part, tuple):
            self._media.report(part)
            return
        method, _space, rest = part.start.partition(" ")
        if method == "TEARDOWN":
            self._ending.set()
            return
        headers = [(name, value) for name, value in part.headers if name in TO_CAMERA]
        medium, uri = None, rest.rpartition(" ")[0]
        if method == "SETUP":
            medium, transport = self._media.offer(part.get("transport"), self._addresses.rate(uri))
            headers.append(("transport", transport))
        request = Message("", headers, part.body)
        self._conversation.ask(Exchange(part.get("cseq"), method, self._addresses.behind(uri), request, medium))

    # -- camera to FFmpeg -------------------------------------------------------------------------------------------

    def _from_camera(self, part: Message | Packet, client: socket.socket) -> None:
        if isinstance(part, tuple):
            self._hand_on(self._media.from_connection(part), client)
        elif part.is_answer:  # else a request of the camera's own, like ANNOUNCE: not for us
            exchange = self._conversation.answered(part)
            if exchange is not None and not self._is_asked_otherwise(part, exchange):
                self._answer(part, exchange, client)

    def _hand_on(self, parts: Iterable[tuple[bytes, bool]], client: socket.socket) -> None:
        for packet, has_picture in parts:
            if has_picture:
                self.watchdog.heard()
            client.sendall(packet)

    def _is_asked_otherwise(self, answer: Message, exchange: Exchange) -> bool:
        """461: ask for the other transport, if the choice is ours."""
        if answer.status != 461 or exchange.medium is None:
            return False
        other = self._media.offer_other(exchange.medium)
        if other is None:
            return False
        exchange.medium, transport = other
        headers = [(name, value) for name, value in exchange.request.headers if name != "transport"]
        exchange.request.headers = [*headers, ("transport", transport)]
        self._conversation.ask(exchange)
        return True

    def _answer(self, answer: Message, exchange: Exchange, client: socket.socket) -> None:
        if not 200 <= answer.status < 300:
            if exchange.method not in KEEPING_ALIVE:
                raise fault_of(answer.status, exchange.method)
            public = [("public", "DESCRIBE, SETUP, PLAY, TEARDOWN")]
            reply(client, exchange, Message("RTSP/1.0 200 OK", public))
            return
        headers = [(name, value) for name, value in answer.headers if name in TO_FFMPEG]
        body = b""
        if exchange.method == "DESCRIBE":
            body = self._describe(answer, exchange)
        elif exchange.method == "SETUP" and exchange.medium is not None:
            self._media.accept(exchange.medium, answer.get("transport"))
            for each in exchange.medium.sockets or ():
                self._selector.register(each, selectors.EVENT_READ)
            headers.append(("transport", exchange.medium.client_transport))
        elif exchange.method == "PLAY":
            self.watchdog.heard()
        reply(client, exchange, Message("RTSP/1.0 200 OK", headers, body))

    def _describe(self, answer: Message, exchange: Exchange) -> bytes:
        if not self._is_described:  # the camera lets us in
            self._is_described = True
            self._opening.reached("login")
        base = answer.get("content-base") or answer.get("content-location")
        return self._addresses.map_description(answer.body, base, exchange.uri)


def reply(client: socket.socket, exchange: Exchange, message: Message) -> None:
    message.headers.insert(0, ("cseq", exchange.client_cseq))
    client.sendall(message.encode())
